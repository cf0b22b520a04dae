"""Writes the model file: the graph, its metadata and its digest."""

from __future__ import annotations

import contextlib
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.learning.export.int8 import ONE_FRAME, Agreement, measured_agreement, quantise
from instance_seg_ros.learning.models.checkpoint import Checkpoint, averaged_model
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.embedded_weights import HALF_SUFFIX, network_facts
from instance_seg_ros.learning.models.exported_graph import DecodingSettings, ExportedModel
from instance_seg_ros.segmentation.model_file import (
    CALIBRATION_KEY,
    FORMAT,
    MASK_HEAD_KEY,
    NETWORK_KEY,
    QUANTISED_FROM_KEY,
    graph_digest,
    mask_head_of,
    read_metadata,
)
from instance_seg_ros.segmentation.network import network_inputs
from instance_seg_ros.segmentation.score_calibration import ScoreCalibration

OPSET = 17
_HALF_MIN_ELEMENTS = 1024
OUTPUT_NAMES = ("boxes_xyxy", "scores", "class_ids", "masks", "mask_scale")
TRAINED_OUTPUT_NAMES = (*OUTPUT_NAMES, "mask_upsampling")
"""Outputs of this project's own networks."""
DEPTH_CONTRACT = {
    "depth_m": "float32 [H, W], metres along the optical axis, 0 = no measurement, any size",
    "intrinsics": "float32 [4], fx fy cx cy in pixels of that image",
}
RGBD_CONTRACT = {
    **DEPTH_CONTRACT,
    "color_rgb": "uint8 [H, W, 3], of the same size as depth_m; black throughout where there is no colour",
}


@dataclass(frozen=True)
class ModelDescription:
    """What the file says of itself.

    Attributes:
        name, version: of the model.
        class_names: one per class of the network.
        score_threshold: default below which instances are better left out.
        mask_threshold: probability above which a pixel belongs to an instance.

    Raises:
        ValueError: a threshold is outside [0, 1], so that the file would be refused.
    """

    name: str = "tabletop_rgbd"
    version: str = "1"
    class_names: tuple[str, ...] = ("object",)
    score_threshold: float = 0.5
    mask_threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("score_threshold", "mask_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], not {getattr(self, name)}")


def trace(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    input_names: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    output_names: Sequence[str] = OUTPUT_NAMES,
    keep_norms: bool = False,
) -> onnx.ModelProto:
    """A module with the contract's outputs as a checked ONNX graph; the outputs' shapes are static.

    Args:
        graph: its forward takes `example` and returns the outputs in the order of `output_names`.
        example: inputs to trace it with.
        input_names: of those inputs.
        dynamic_axes: names of the dynamic axes of each input.
        output_names: of the graph.
        keep_norms: leave it to the runtimes to fold batch normalisation into convolutions, as all of them do; every
            weight then keeps the name that it has in the module.

    Raises:
        onnx.checker.ValidationError: the graph is not valid ONNX.
    """
    content = io.BytesIO()
    # The tracer warns that the camera's size may become a constant; it is named dynamic, and the parity test varies it.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            example,
            content,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_axes=dynamic_axes,
            do_constant_folding=True,
            training=torch.onnx.TrainingMode.PRESERVE if keep_norms else torch.onnx.TrainingMode.EVAL,
        )
    proto = onnx.load_from_string(content.getvalue())
    with torch.no_grad():
        results = graph(*example)
    # The tracer names the sizes that it cannot infer; no output's size depends on the input's.
    for output, result in zip(proto.graph.output, results, strict=True):
        for dimension, size in zip(output.type.tensor_type.shape.dim, result.shape, strict=True):
            dimension.dim_value = size
    onnx.checker.check_model(proto, full_check=True)
    return proto


def store_weights_as_half(proto: onnx.ModelProto) -> None:
    """Stores large float32 weights as float16 with a Cast behind each, in place; arithmetic stays float32.

    This halves the file, and a runtime folds the casts when it loads it.

    Raises:
        ValueError: a weight exceeds float16's range.
    """
    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or math.prod(tensor.dims) < _HALF_MIN_ELEMENTS:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ValueError(f"{tensor.name} holds {np.abs(values).max():g}, which float16 cannot; training diverged?")
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), name + HALF_SUFFIX))
        casts.append(onnx.helper.make_node("Cast", [name + HALF_SUFFIX], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.checker.check_model(proto, full_check=True)


def input_contract(model: CondInst) -> dict[str, str]:
    """The inputs of the network's graph."""
    return RGBD_CONTRACT if model.config.color_channels else DEPTH_CONTRACT


def export_graph(model: CondInst, decoding: DecodingSettings) -> onnx.ModelProto:
    """The network with its pre- and post-processing as an ONNX graph; only the input's height and width are dynamic.

    Raises:
        onnx.checker.ValidationError: the graph is not valid ONNX.
    """
    examples = {
        "depth_m": torch.full((48, 64), 0.7),
        "intrinsics": torch.tensor([60.0, 60.0, 31.5, 23.5]),
        "color_rgb": torch.full((48, 64, 3), 128, dtype=torch.uint8),
    }
    names = list(input_contract(model))
    size = {0: "height", 1: "width"}
    return trace(
        ExportedModel(model, decoding),
        tuple(examples[name] for name in names),
        names,
        {name: size for name in names if name != "intrinsics"},
        TRAINED_OUTPUT_NAMES,
        keep_norms=True,
    )


def describe(
    proto: onnx.ModelProto,
    description: ModelDescription,
    trained_on: Mapping[str, object],
    inputs: Mapping[str, str],
    network: str = "",
) -> bytes:
    """The serialised model with its metadata and digest; `network` is what `network_facts` says of a trainable one."""
    facts = {
        "format": FORMAT,
        "name": description.name,
        "version": description.version,
        "class_names": json.dumps(list(description.class_names)),
        "input_contract": json.dumps(dict(inputs)),
        "score_threshold": str(description.score_threshold),
        "mask_threshold": str(description.mask_threshold),
        "trained_on": json.dumps(dict(trained_on)),
    }
    return _with_facts(proto, facts | {NETWORK_KEY: network} if network else facts)


def _with_facts(proto: onnx.ModelProto, facts: Mapping[str, str]) -> bytes:
    """The serialised model with these facts and its digest as its only metadata."""
    del proto.metadata_props[:]
    digest = graph_digest(proto.SerializeToString(deterministic=True))
    for key, value in (*facts.items(), ("digest", digest)):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    return proto.SerializeToString(deterministic=True)


def in_8_bits(content: bytes, calibration: Sequence[RgbdFrame]) -> tuple[bytes, Agreement]:
    """A model file with its convolutions in 8 bits, see `int8.quantise`; no training can start from it.

    Args:
        content: of a float model file.
        calibration: frames of the cameras that it will run on; every second one sets the ranges, on the others the
            agreement is measured.

    Returns:
        The file's content, which names the digest of the float one, and the agreement with it, which the file also
        records.

    Raises:
        ValueError: there are fewer than two frames, or the file is in 8 bits already.
    """
    if len(calibration) < 2:
        raise ValueError(ONE_FRAME)
    facts = read_metadata(content)
    if QUANTISED_FROM_KEY in facts:
        raise ValueError("the model file is in 8 bits already; give the float one")
    names = tuple(json.loads(facts["input_contract"]))
    quantised = quantise(onnx.load_from_string(content), [network_inputs(frame, names) for frame in calibration[::2]])
    head = mask_head_of(facts)
    facts = {key: value for key, value in facts.items() if key not in (NETWORK_KEY, "digest")}
    if head:
        facts[MASK_HEAD_KEY] = head
    facts[QUANTISED_FROM_KEY] = read_metadata(content)["digest"]
    agreed = measured_agreement(content, _with_facts(quantised, facts), calibration[1::2])
    measured = {"calibration_frames": len(calibration[::2]), "agreement_with_float": asdict(agreed)}
    facts["trained_on"] = json.dumps(json.loads(facts["trained_on"]) | measured)
    return _with_facts(quantised, facts), agreed


def with_calibration(
    content: bytes, calibration: ScoreCalibration, score_threshold: float, record: Mapping[str, object]
) -> bytes:
    """A model file with calibrated scores; its graph and digest stay.

    Args:
        content: of a model file, calibrated or not.
        calibration: of the network's scores.
        score_threshold: the recommended one, of the published scores.
        record: of how the calibration was found, JSON-ready, for `trained_on`.
    """
    facts = {key: value for key, value in read_metadata(content).items() if key != "digest"}
    facts |= {
        CALIBRATION_KEY: calibration.to_text(),
        "score_threshold": str(round(score_threshold, 4)),
        "trained_on": json.dumps(json.loads(facts["trained_on"]) | {"calibration": dict(record)}),
    }
    return _with_facts(onnx.load_from_string(content), facts)


def write_model_file(content: bytes, path: Path) -> None:
    """Writes a model file whole or not at all; makes its folder where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def export_checkpoint(
    checkpoint: Checkpoint,
    path: Path,
    description: ModelDescription,
    decoding: DecodingSettings,
    commit: str,
    calibration: Sequence[RgbdFrame] = (),
) -> Agreement | None:
    """Writes a checkpoint's averaged network as a model file.

    Args:
        checkpoint: finished or not.
        path: of the file.
        description: what the file says of itself.
        decoding: how predictions become instances.
        commit: of this project, for the record; empty if unknown.
        calibration: frames of the cameras that it will run on; with any, the network is written in 8 bits, see
            `in_8_bits`.

    Returns:
        For 8 bits, the agreement with the float network.

    Raises:
        ValueError: the description names another number of classes than the network has, or there is one frame only.
    """
    if len(description.class_names) != checkpoint.config.num_classes:
        raise ValueError(
            f"{len(description.class_names)} class names for a network of {checkpoint.config.num_classes} classes"
        )
    store = checkpoint.recipe.get("store", {})
    trained_on: dict[str, object] = {
        "steps": checkpoint.step,
        "commit": commit,
        "store_seed": store.get("seed"),
        "frames": checkpoint.recipe.get("frames"),
        "seed": checkpoint.recipe.get("training", {}).get("seed"),
    }
    model = averaged_model(checkpoint)
    proto = export_graph(model, decoding)
    store_weights_as_half(proto)
    content = describe(proto, description, trained_on, input_contract(model), network_facts(model, proto))
    agreed = None
    if calibration:
        content, agreed = in_8_bits(content, calibration)
    write_model_file(content, path)
    return agreed
