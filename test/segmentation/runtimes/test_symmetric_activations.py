"""8-bit graphs for TensorRT: what it takes, and that the same is computed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.segmentation.model_file import default_model_path, path_in_8_bits
from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.symmetric_activations import with_symmetric_activations

WEIGHTS = np.array([[[[100]], [[-50]]], [[[7]], [[127]]]], dtype=np.int8)
CONSTANTS = {
    "scale": np.float32(0.02),
    "zero": np.uint8(55),  # from -1.1 to 4.0
    "weights": WEIGHTS,
    "weight_scale": np.array([0.01, 0.002], dtype=np.float32),
    "weight_zero": np.zeros(2, dtype=np.int8),
    "bias": np.array([1000, -20000], dtype=np.int32),
    "bias_scale": np.array([2e-4, 4e-5], dtype=np.float32),
    "bias_zero": np.zeros(2, dtype=np.int32),
}


@pytest.fixture(scope="module")
def model() -> bytes:
    """A convolution in 8 bits as `instance-seg export --int8` writes it."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x_8"]),
        helper.make_node("DequantizeLinear", ["x_8", "scale", "zero"], ["x_d"]),
        helper.make_node("DequantizeLinear", ["weights", "weight_scale", "weight_zero"], ["w_d"], axis=0),
        helper.make_node("DequantizeLinear", ["bias", "bias_scale", "bias_zero"], ["b_d"], axis=0),
        helper.make_node("Conv", ["x_d", "w_d", "b_d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "a",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4, 5])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_zero_points_are_0_weights_are_rounded_by_a_pair_and_biases_are_float(model: bytes) -> None:
    graph = onnx.load_from_string(with_symmetric_activations(model)).graph
    onnx.checker.check_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    (convolution,) = (node for node in graph.node if node.op_type == "Conv")
    for name in convolution.input[:2]:
        dequantise = makers[name]
        quantise = makers[dequantise.input[0]]
        assert [quantise.op_type, dequantise.op_type] == ["QuantizeLinear", "DequantizeLinear"]
        assert list(quantise.input[1:]) == list(dequantise.input[1:])
        zero_point = constants[quantise.input[2]]
        assert zero_point.dtype == np.int8 and not zero_point.any()
        assert constants[quantise.input[1]].shape == zero_point.shape
    np.testing.assert_allclose(constants[convolution.input[2]], [0.2, -0.8], rtol=1e-5)
    assert constants[makers[makers[convolution.input[0]].input[0]].input[1]] == pytest.approx(0.02 * 200 / 127)


def test_the_same_is_computed_but_for_steps_of_the_activations(model: bytes) -> None:
    x = np.random.default_rng(0).uniform(-1, 3.9, (1, 2, 4, 5)).astype(np.float32)
    results = []
    for content in (model, with_symmetric_activations(model)):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        results.append(session.run(None, {"x": x})[0])
    weight_sum = np.abs(WEIGHTS[..., 0, 0] * CONSTANTS["weight_scale"][:, None]).sum(axis=1).max()
    assert 0 < np.abs(results[0] - results[1]).max() <= 1.01 * weight_sum * (0.02 + 0.02 * 200 / 127) / 2


def test_the_shipped_file_becomes_what_tensorrt_takes() -> None:
    shapes = input_shapes(("depth_m", "intrinsics", "color_rgb"), (640, 480))
    frozen = with_fixed_sizes(path_in_8_bits(default_model_path()), shapes)
    graph = onnx.load_from_string(with_symmetric_activations(frozen)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node.op_type for node in graph.node for name in node.output}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 100
    assert all(constants[node.input[2]].dtype == np.int8 and not constants[node.input[2]].any() for node in pairs)
    assert {makers.get(node.input[0]) for node in pairs if node.op_type == "DequantizeLinear"} == {"QuantizeLinear"}
    inputs = {
        "depth_m": np.full(shapes["depth_m"], 0.8, dtype=np.float32),
        "intrinsics": np.array([600, 600, 319.5, 239.5], dtype=np.float32),
        "color_rgb": np.full(shapes["color_rgb"], 128, dtype=np.uint8),
    }
    inputs["depth_m"][200:300, 250:350] = 0.7
    best = []
    for content in (frozen, with_symmetric_activations(frozen)):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        best.append(float(session.run(["scores"], inputs)[0].max()))
    assert best[1] == pytest.approx(best[0], abs=0.1)
