"""The network inside a model file: weights that the graph holds by name, and facts in the file's metadata.

The exporter folds constants where it can, and a parameter that was folded has no name in the graph. These few numbers
and the network's sizes are in the file's metadata.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import torch
from torch import Tensor

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.segmentation.model_file import NETWORK_KEY, read_metadata, read_model_info

HALF_SUFFIX = "_half"
_PREFIX = "model."  # of the network inside `exported_graph.ExportedModel`
_COUNTER = "num_batches_tracked"  # a counter of batch normalisation that means nothing outside of training


def network_facts(model: CondInst, proto: onnx.ModelProto) -> str:
    """What the graph cannot tell of its network, as JSON: its sizes, and the parameters without a name in the graph.

    Args:
        model: the network.
        proto: the graph that was exported from it, before or after its weights became float16.
    """
    named = {tensor.name for tensor in proto.graph.initializer}
    folded = {
        name: value.tolist()
        for name, value in model.state_dict().items()
        if not {_PREFIX + name, _PREFIX + name + HALF_SUFFIX} & named and not name.endswith(_COUNTER)
    }
    return json.dumps({"config": model.config.to_dict(), "folded": folded})


def read_network(path: Path) -> tuple[CondInstConfig, dict[str, Tensor]]:
    """Sizes and state dict of the network in a model file; large weights are rounded to float16 there.

    Raises:
        InputError: the file is damaged, or holds no network of this project that can be trained.
    """
    read_model_info(path)
    content = path.read_bytes()
    facts = read_metadata(content).get(NETWORK_KEY)
    if facts is None:
        raise InputError(
            f"{path} cannot be trained on: it is not an export of `instance-seg train`, or was made by an older version"
        )
    described = json.loads(facts)
    config = CondInstConfig.from_dict(described["config"])
    tensors = {tensor.name: tensor for tensor in onnx.load_from_string(content).graph.initializer}
    weights: dict[str, Tensor] = {}
    for name, own in CondInst(config).state_dict().items():
        stored = tensors.get(_PREFIX + name, tensors.get(_PREFIX + name + HALF_SUFFIX))
        if stored is not None:
            weights[name] = torch.from_numpy(onnx.numpy_helper.to_array(stored).copy()).to(own.dtype)
        elif name in described["folded"]:
            weights[name] = torch.tensor(described["folded"][name], dtype=own.dtype)
        elif name.endswith(_COUNTER):
            weights[name] = torch.zeros_like(own)
        else:
            raise InputError(f"{path} lacks the weight {name}; export it again")
        if weights[name].shape != own.shape:
            raise InputError(f"{path}: the weight {name} is of shape {tuple(weights[name].shape)}")
    return config, weights
