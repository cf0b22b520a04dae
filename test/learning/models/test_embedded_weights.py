from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.export.model_writer import ModelDescription, describe, export_checkpoint
from instance_seg_ros.learning.models.checkpoint import Checkpoint
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.models.embedded_weights import read_network
from instance_seg_ros.learning.models.exported_graph import DecodingSettings
from instance_seg_ros.segmentation.model_file import NETWORK_KEY


@pytest.fixture(scope="module")
def network(small_config: CondInstConfig) -> CondInst:
    """Random weights with statistics as training leaves them."""
    torch.manual_seed(0)
    model = CondInst(small_config).train()
    with torch.no_grad():
        model.head.scales.copy_(torch.tensor([0.9, 1.0, 1.2345678]))
        for _ in range(3):
            model(torch.rand(2, 1, 96, 128) + 0.5, torch.full((2, 4), 60.0), torch.randint(0, 256, (2, 3, 96, 128)))
    return model.eval()


@pytest.fixture(scope="module")
def model_path(network: CondInst, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    state = network.state_dict()
    checkpoint = Checkpoint(network.config, state, state, {}, 5, 1.0, {})
    export_checkpoint(checkpoint, path, ModelDescription(), DecodingSettings(), commit="")
    return path


def test_a_model_file_holds_its_network(network: CondInst, model_path: Path) -> None:
    config, weights = read_network(model_path)
    assert config == network.config
    own = network.state_dict()
    assert weights.keys() == own.keys()
    for name, value in own.items():
        if name.endswith("num_batches_tracked"):
            continue
        # Large weights were rounded to float16, small ones and statistics are as they were.
        rounded = value.half().float() if value.numel() >= 1024 else value
        torch.testing.assert_close(weights[name], rounded, rtol=0, atol=0, msg=name)


def test_a_network_out_of_a_file_computes_the_same(network: CondInst, model_path: Path) -> None:
    config, weights = read_network(model_path)
    model = CondInst(config).eval()
    model.load_state_dict(weights)
    inputs = (torch.full((1, 1, 96, 128), 0.8), torch.full((1, 4), 60.0), torch.randint(0, 256, (1, 3, 96, 128)))
    with torch.no_grad():
        first, second = network(*inputs), model(*inputs)
    torch.testing.assert_close(first.class_logits, second.class_logits, atol=2e-3, rtol=0)
    torch.testing.assert_close(first.mask_features, second.mask_features, atol=5e-3, rtol=2e-3)


def test_a_file_of_another_origin_is_refused(model_path: Path, tmp_path: Path) -> None:
    content = describe(onnx.load(model_path), ModelDescription(), {}, {})
    (tmp_path / "foreign.onnx").write_bytes(content)
    with pytest.raises(InputError, match="foreign.onnx cannot be trained on"):
        read_network(tmp_path / "foreign.onnx")


def test_a_file_that_lacks_a_weight_is_refused(model_path: Path, tmp_path: Path) -> None:
    proto = onnx.load(model_path)
    network = next(entry.value for entry in proto.metadata_props if entry.key == NETWORK_KEY)
    next(tensor for tensor in proto.graph.initializer if tensor.name == "model.head.ltrb.bias").name = "other"
    (tmp_path / "lacking.onnx").write_bytes(describe(proto, ModelDescription(), {}, {}, network))
    with pytest.raises(InputError, match=r"lacking.onnx lacks the weight head\.ltrb\.bias"):
        read_network(tmp_path / "lacking.onnx")
