"""Mixed precision: which nodes become FP16, and that the results stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.files.captures import capture_folders, read_capture
from instance_seg_ros.segmentation import ModelError, default_model_path, read_model_info
from instance_seg_ros.segmentation.network import input_shapes, network_inputs
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, to_instances
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.half_precision import with_half_convolutions

REAL_FRAMES = Path(__file__).parents[4] / "shared" / "data" / "real_rgbd"
INPUTS = ("depth_m", "intrinsics", "color_rgb")
OUTPUTS = ["boxes_xyxy", "scores", "class_ids", "masks", "mask_scale", "mask_upsampling"]
SIZE_WH = (160, 120)
PROVIDERS = ["CPUExecutionProvider"]


def small_model() -> bytes:
    """conv, relu, conv, relu, then both a sigmoid, and a sum, its enlargement and a conv; outputs both ends."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(
            rng.normal(0, 0.3, (4, 1 if index == 0 else 4, 3, 3)).astype(np.float32), f"weight{index}"
        )
        for index in range(3)
    ]
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], dtype=np.float32), "scales")
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "weight0"], ["first"], **pads),
        helper.make_node("Relu", ["first"], ["first_relu"]),
        helper.make_node("Conv", ["first_relu", "weight1"], ["second"], **pads),
        helper.make_node("Relu", ["second"], ["second_relu"]),
        helper.make_node("Sigmoid", ["second_relu"], ["probability"]),
        helper.make_node("Add", ["second_relu", "second_relu"], ["sum"]),
        helper.make_node("Resize", ["sum", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Conv", ["large", "weight2"], ["third"], **pads),
    ]
    shapes = {"x": [1, 1, 6, 8], "probability": [1, 4, 6, 8], "third": [1, 4, 12, 16]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = helper.make_graph(nodes, "small", [values.pop("x")], list(values.values()), [*weights, scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type by name of every tensor that a node computes; raises where the types of a node do not fit."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    return {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}


def test_all_but_the_first_convolution_and_what_lies_between_become_half() -> None:
    model = onnx.load_from_string(with_half_convolutions(small_model()))
    onnx.checker.check_model(model, full_check=True)
    nodes = [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node]
    assert nodes == [
        ("Conv", ["x", "weight0"], ["first"]),
        ("Relu", ["first"], ["first_relu"]),
        ("Cast", ["first_relu"], ["first_relu/half"]),
        ("Conv", ["first_relu/half", "weight1/half"], ["second/half"]),
        ("Relu", ["second/half"], ["second_relu/half"]),
        ("Cast", ["second_relu/half"], ["second_relu"]),
        ("Sigmoid", ["second_relu"], ["probability"]),
        ("Add", ["second_relu/half", "second_relu/half"], ["sum/half"]),
        ("Resize", ["sum/half", "", "scales"], ["large/half"]),
        ("Conv", ["large/half", "weight2/half"], ["third/half"]),
        ("Cast", ["third/half"], ["third"]),
    ]
    initializers = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert initializers == {
        "weight0": TensorProto.FLOAT,
        "weight1/half": TensorProto.FLOAT16,
        "weight2/half": TensorProto.FLOAT16,
        "scales": TensorProto.FLOAT,
    }


def test_the_results_of_a_small_model_stay() -> None:
    feeds = {"x": np.random.default_rng(1).normal(0, 1, (1, 1, 6, 8)).astype(np.float32)}
    expected, actual = (
        onnxruntime.InferenceSession(model, providers=PROVIDERS).run(None, feeds)
        for model in (small_model(), with_half_convolutions(small_model()))
    )
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == other.dtype
        assert 0 < np.abs(one - other).max() < 5e-3


def test_a_weight_that_fp16_cannot_hold_is_refused_and_does_not_become_infinite() -> None:
    model = onnx.load_from_string(small_model())
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "weight1"]
    values = numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = -7e4
    weight.CopyFrom(numpy_helper.from_array(values, "weight1"))
    with pytest.raises(ModelError, match="weight1 holds 70000, which FP16 cannot; choose another precision"):
        with_half_convolutions(model.SerializeToString())
    with_half_convolutions(model.SerializeToString(), TensorProto.BFLOAT16)


@pytest.fixture(scope="module")
def shipped() -> tuple[bytes, bytes]:
    """The shipped model as exported and in mixed precision, for SIZE_WH."""
    model = with_fixed_sizes(default_model_path(), input_shapes(INPUTS, SIZE_WH))
    return model, with_half_convolutions(model)


def test_the_shipped_model_keeps_geometry_and_suppression_in_full_precision(shipped: tuple[bytes, bytes]) -> None:
    before, after = (onnx.load_from_string(model) for model in shipped)
    types = element_types(after)
    convolutions = [node for node in after.graph.node if node.op_type == "Conv"]
    full = [node for node in convolutions if types.get(node.output[0]) != TensorProto.FLOAT16]
    assert len(full) == 2  # what reads the depth channels, and what reads the colour
    assert len(convolutions) > 50
    for operator in ("MatMul", "Sigmoid", "AveragePool", "Sqrt", "TopK", "Greater"):
        count = sum(node.op_type == operator for node in before.graph.node)
        nodes = [node for node in after.graph.node if node.op_type == operator]
        assert len(nodes) == count > 0
        assert not any(name.endswith("/half") for node in nodes for name in node.input)
    assert [value.type for value in after.graph.output] == [value.type for value in before.graph.output]


def test_the_shipped_model_finds_the_same_on_synthetic_depth_in_mixed_precision(shipped: tuple[bytes, bytes]) -> None:
    depth_m = np.full(SIZE_WH[::-1], 0.9, dtype=np.float32)
    depth_m[30:80, 40:80] = 0.82
    depth_m[60:100, 100:140] = 0.78
    color_rgb = np.repeat((depth_m < 0.85)[..., None] * np.uint8(90) + np.uint8(80), 3, axis=2)
    feeds = {
        "depth_m": depth_m,
        "intrinsics": np.array([150, 150, 79.5, 59.5], dtype=np.float32),
        "color_rgb": color_rgb,
    }
    expected, actual = (
        dict(zip((output.name for output in session.get_outputs()), session.run(None, feeds), strict=True))
        for session in (onnxruntime.InferenceSession(model, providers=PROVIDERS) for model in shipped)
    )
    found = expected["scores"] > 0.5
    assert found.any()
    for name, tolerance in [("scores", 2e-3), ("boxes_xyxy", 0.5), ("masks", 0.05)]:
        np.testing.assert_allclose(actual[name][found], expected[name][found], atol=tolerance, err_msg=name)


_SCORE_TOLERANCE = 5e-3


@pytest.mark.skipif(not REAL_FRAMES.is_dir(), reason="the real frames beside the project are not here")
def test_the_shipped_model_finds_the_same_on_real_frames_in_mixed_precision() -> None:
    info = read_model_info(default_model_path())
    frames = [read_capture(folder).frame for folder in capture_folders(REAL_FRAMES)[::3]]
    sessions: dict[tuple[int, int], list[onnxruntime.InferenceSession]] = {}
    for frame in frames:
        size_wh = (frame.intrinsics.width, frame.intrinsics.height)
        if size_wh not in sessions:
            model = with_fixed_sizes(default_model_path(), input_shapes(INPUTS, size_wh))
            sessions[size_wh] = [
                onnxruntime.InferenceSession(version, providers=PROVIDERS)
                for version in (model, with_half_convolutions(model))
            ]
        full, half = (
            to_instances(
                NetworkOutput(**dict(zip(OUTPUTS, session.run(OUTPUTS, network_inputs(frame, INPUTS)), strict=True))),
                size_wh,
                info.class_names,
                info.score_threshold,
                info.mask_threshold,
                max_instances=50,
                min_mask_pixels=60,
            )
            for session in sessions[size_wh]
        )
        for one, other in ((full, half), (half, full)):
            # One whose score lies at the threshold may be on its other side in the other precision.
            sure = one.scores > info.score_threshold + _SCORE_TOLERANCE
            for score, mask in zip(one.scores[sure], one.masks[sure], strict=True):
                intersections = (mask & other.masks).sum(axis=(1, 2))
                overlaps = intersections / (mask | other.masks).sum(axis=(1, 2))
                assert overlaps.max() > 0.97
                assert abs(other.scores[overlaps.argmax()] - score) <= _SCORE_TOLERANCE
