"""8-bit export: what is quantised and what is not, how near it stays, and how the loss is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.commands import export
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.learning.export.adelaidet import export_adelaidet_checkpoint
from instance_seg_ros.learning.export.adelaidet_checkpoint import AdelaiDetCheckpoint
from instance_seg_ros.learning.export.int8 import Agreement, agreement, quantise
from instance_seg_ros.learning.export.model_writer import ModelDescription
from instance_seg_ros.learning.models.adelaidet import AdelaiDetConfig


def two_convolutions() -> onnx.ModelProto:
    """An image's 3x3 convolution to 8 channels, ReLU, and from these a prediction of one channel."""
    rng = np.random.default_rng(0)
    weights = {
        "first": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "second": rng.normal(size=(1, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["color_rgb"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["channels"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["channels", "axis"], ["image"]),
        helper.make_node("Conv", ["image", "first"], ["hidden"], name="/net/tower/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Conv", ["active", "second"], ["prediction"], name="/net/head/ltrb_2/Conv"),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([0]), "axis"))
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("color_rgb", TensorProto.UINT8, [16, 20, 3])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [1, 1, 16, 20])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def predict(proto: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"color_rgb": image})[0]


def test_towers_are_quantised_and_predictions_stay_in_float() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (16, 20, 3), dtype=np.uint8) for _ in range(3)]
    proto = two_convolutions()
    quantised = quantise(proto, [{"color_rgb": image} for image in images[:2]])
    makers = {name: node.op_type for node in quantised.graph.node for name in node.output}
    weights_of = {node.name: makers.get(node.input[1], "") for node in quantised.graph.node if node.op_type == "Conv"}
    assert weights_of == {"/net/tower/Conv": "DequantizeLinear", "/net/head/ltrb_2/Conv": ""}
    expected, found = predict(proto, images[2]), predict(quantised, images[2])
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert 0 < error < 0.03


def test_calibration_needs_a_frame() -> None:
    with pytest.raises(ValueError, match="no frame to calibrate with"):
        quantise(two_convolutions(), [])


def instances(*objects: tuple[int, int, int]) -> Instances:
    """Vertical bars (first column, last column, class) of a 4x40 image."""
    masks = np.zeros((len(objects), 4, 40), dtype=bool)
    for mask, (first, last, _) in zip(masks, objects, strict=True):
        mask[:, first:last] = True
    count, classes = len(objects), [class_id for *_, class_id in objects]
    boxes, scores = np.tile(np.float32([0, 0, 1, 1]), (count, 1)), np.ones(count, np.float32)
    return Instances(masks, boxes, scores, np.array(classes, dtype=np.int64), ("bolt", "nut"))


@pytest.mark.parametrize(
    ("of_float", "of_int8", "expected"),
    [
        ([(0, 10, 0)], [(0, 10, 0)], Agreement(1, 1.0, 1.0)),
        ([(0, 10, 0)], [(0, 8, 0), (20, 30, 0)], Agreement(1, 1.0, 0.8)),
        ([(0, 10, 0), (20, 30, 0)], [(0, 10, 0), (20, 27, 0)], Agreement(2, 0.5, 1.0)),
        ([(0, 10, 0)], [(0, 10, 1)], Agreement(1, 0.0, 0.0)),
        ([(0, 10, 0)], [], Agreement(1, 0.0, 0.0)),
        ([], [(0, 10, 0)], Agreement(0, 0.0, 0.0)),
    ],
    ids=["equal", "near", "too small", "another class", "nothing found", "nothing there"],
)
def test_agreement_counts_what_is_found_again(of_float, of_int8, expected: Agreement) -> None:
    found = agreement([(instances(*of_float), instances(*of_int8))])
    assert found.instances == expected.instances
    assert found.found_share == pytest.approx(expected.found_share)
    assert found.mean_iou == pytest.approx(expected.mean_iou)


def test_an_agreement_over_nothing_is_not_told_as_a_share() -> None:
    assert export._told(Agreement(4, 0.75, 0.9)) == (
        "8 bits: 75% of 4 instances of the float network found, mean mask IoU 0.900"
    )
    assert "the loss is not known" in export._told(Agreement(0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("sizes_wh", "color", "message"),
    [
        ([(64, 48), (32, 24)], True, "has 32x24, but the network is exported for colour images of 64x48"),
        ([(64, 48), (64, 48)], False, "has no colour"),
        ([(64, 48)], True, "one frame is too few"),
    ],
)
def test_frames_that_cannot_calibrate_are_refused_before_the_export(
    tmp_path: Path, sizes_wh: list[tuple[int, int]], color: bool, message: str
) -> None:
    frames = [
        RgbdFrame(
            np.zeros((height, width, 3), np.uint8) if color else None,
            np.zeros((height, width), np.float32),
            Intrinsics(width, height, 50, 50, width / 2, height / 2),
        )
        for width, height in sizes_wh
    ]
    checkpoint = AdelaiDetCheckpoint(AdelaiDetConfig(num_classes=1), ("bolt",), {"none": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match=message):
        export_adelaidet_checkpoint(
            checkpoint, tmp_path / "m.onnx", ModelDescription(class_names=("bolt",)), (64, 48), frames
        )
