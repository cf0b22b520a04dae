"""Model graphs on PyTorch: each operator against ONNX Runtime, whole models by frames, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.learning.export.model_writer import export_graph
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import MASK_HEADS, SIZES
from instance_seg_ros.learning.models.exported_graph import DecodingSettings
from instance_seg_ros.segmentation import default_model_path
from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.half_precision import with_half_convolutions
from instance_seg_ros.segmentation.runtimes.torch_operators import UnsupportedOperatorError
from instance_seg_ros.segmentation.runtimes.torch_program import TorchProgram

IMAGE = np.random.default_rng(0).normal(0, 1, (1, 2, 6, 8)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(0, 1, (4, 2, 3, 3)).astype(np.float32)
BIAS = np.arange(4, dtype=np.float32)
MATRIX = np.random.default_rng(2).normal(0, 1, (3, 4)).astype(np.float32)
BYTES = np.arange(12, dtype=np.uint8).reshape(3, 4) * 21
INTEGERS = np.array([-7, -2, 0, 2, 7])
SMALL_INTEGERS = np.arange(-3, 7, dtype=np.int32).reshape(2, 5)
FLAGS = np.array([True, False, True, False])
HALF, LINEAR = {"coordinate_transformation_mode": "half_pixel"}, {"mode": "linear"}
ALIGNED = {"coordinate_transformation_mode": "align_corners", **LINEAR}
ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


# Operator, its inputs, of which the first alone is computed, and attributes.
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    *((operator, [MATRIX], {}) for operator in ("Abs", "Exp", "Floor", "Neg", "Relu", "Sigmoid", "Tanh")),
    *((operator, [np.abs(MATRIX) + 0.1], {}) for operator in ("Reciprocal", "Sqrt")),
    *((operator, [MATRIX, MATRIX[:, ::-1].copy()], {}) for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *((operator, [INTEGERS, ints(2, 3, 5, 2, -2)], {}) for operator in ("Div", "Mod", "Add")),
    *(
        (operator, [INTEGERS, ints(0, 0, 0, 0, 7)], {})
        for operator in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    ),
    *((operator, [FLAGS, FLAGS[::-1].copy()], {}) for operator in ("And", "Or", "Xor")),
    ("Not", [FLAGS], {}),
    ("Where", [FLAGS, MATRIX, np.zeros((3, 1), np.float32)], {}),
    ("Clip", [MATRIX, np.float32(-0.5), np.float32(0.5)], {}),
    ("Clip", [MATRIX, None, np.float32(0.5)], {}),
    ("Cast", [MATRIX], {"to": TensorProto.FLOAT16}),
    ("Cast", [MATRIX], {"to": TensorProto.INT64}),
    ("ArgMax", [MATRIX], {"axis": 1, "keepdims": 0}),
    ("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 0}),
    ("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "strides": [2, 2], "count_include_pad": 1}),
    ("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("BatchNormalization", [IMAGE, BIAS[1:3], BIAS[:2], BIAS[2:], BIAS[1:3]], {"epsilon": 1e-3}),
    ("Concat", [MATRIX, MATRIX], {"axis": -1}),
    ("Conv", [IMAGE, WEIGHT, BIAS], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", [IMAGE, WEIGHT[:, :1]], {"dilations": [2, 2], "group": 2}),
    ("DequantizeLinear", [BYTES, np.float32(0.5), np.uint8(128)], {}),
    ("DequantizeLinear", [BYTES.astype(np.int8), BIAS + 1, np.array([0, 1, 2, -3], np.int8)], {"axis": 1}),
    ("DequantizeLinear", [BYTES.astype(np.int32), np.float32(0.25)], {}),
    ("Expand", [MATRIX[:1], ints(2, 3, 1)], {}),
    ("Flatten", [IMAGE], {"axis": 2}),
    ("Gather", [MATRIX, np.array(-1)], {"axis": 1}),
    ("Gather", [MATRIX, ints(2, 0, 0)], {}),
    ("Gather", [MATRIX, np.array([[1, 0], [2, 2]])], {"axis": 1}),
    ("GatherElements", [MATRIX, np.array([[1, 0], [3, 3], [2, 0]])], {"axis": 1}),
    ("Gemm", [MATRIX, MATRIX, np.ones(3, np.float32)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", [MATRIX, MATRIX], {"transA": 1}),
    ("InstanceNormalization", [IMAGE, BIAS[1:3], BIAS[:2]], {"epsilon": 1e-3}),
    ("MatMul", [MATRIX, MATRIX.T.copy()], {}),
    ("Pad", [MATRIX, ints(1, 0, 2, 3), np.float32(7)], {"mode": "constant"}),
    ("Pad", [IMAGE, ints(0, 0, 1, 0, 0, 0, 2, 3)], {"mode": "edge"}),
    ("QuantizeLinear", [IMAGE, np.float32(0.01), np.uint8(128)], {}),
    ("QuantizeLinear", [MATRIX, np.array([0.5, 0.2, 0.01], np.float32), np.array([0, 5, 0], np.int8)], {"axis": 0}),
    ("QuantizeLinear", [MATRIX, np.float32(0.02)], {}),
    ("ReduceProd", [SMALL_INTEGERS], {"axes": [1], "keepdims": 0}),
    ("ReduceSum", [SMALL_INTEGERS, ints(1)], {"keepdims": 0}),
    ("ReduceSum", [IMAGE, ints(1, -1)], {"keepdims": 0}),
    ("ReduceSum", [IMAGE], {"keepdims": 0}),
    ("ReduceSum", [IMAGE], {"noop_with_empty_axes": 1}),
    ("ReduceMax", [IMAGE], {"axes": [1], "keepdims": 0}),
    ("ReduceMin", [IMAGE], {"axes": [1, 2], "keepdims": 1}),
    ("ReduceMean", [IMAGE], {"axes": [-1], "keepdims": 0}),
    ("ReduceProd", [IMAGE], {"axes": [0, 1], "keepdims": 0}),
    ("ReduceProd", [IMAGE], {"axes": [1, 3], "keepdims": 1}),  # of 2 factors, and of 8
    ("Reshape", [IMAGE, ints(0, 0, -1)], {}),
    ("Resize", [IMAGE, None, None, ints(1, 2, 12, 24)], {**HALF, **LINEAR}),
    ("Resize", [IMAGE, None, np.array([1, 1, 2, 2], np.float32)], {**HALF, **LINEAR}),
    ("Resize", [IMAGE, None, None, ints(1, 2, 13, 17)], ALIGNED),
    ("Resize", [IMAGE, None, np.array([1, 1, 2, 3], np.float32)], ASYMMETRIC),
    ("Slice", [IMAGE, ints(1, -3), ints(100, -1), ints(2, 3)], {}),
    ("Slice", [IMAGE, ints(0), ints(6), ints(2), ints(2)], {}),
    ("Slice", [IMAGE, ints(-1), ints(-(2**63)), ints(3), ints(-1)], {}),
    ("Slice", [IMAGE, ints(6), ints(1), ints(3), ints(-2)], {}),
    ("Softmax", [IMAGE], {"axis": 1}),
    ("Squeeze", [IMAGE, ints(0)], {}),
    ("TopK", [MATRIX, ints(3)], {"axis": -1, "largest": 1, "sorted": 1}),
    ("TopK", [MATRIX, ints(2)], {"axis": 0, "largest": 0, "sorted": 1}),
    ("Transpose", [IMAGE], {"perm": [0, 2, 3, 1]}),
    ("Transpose", [MATRIX], {}),
    ("Trilu", [MATRIX, np.array(1)], {"upper": 1}),
    ("Trilu", [MATRIX], {"upper": 0}),
    ("Unsqueeze", [MATRIX, ints(0, -1)], {}),
]


def model_of(
    operator: str, inputs: list[NDArray | None], attributes: Mapping[str, Any], outputs: int = 1, fed: int = 1
) -> bytes:
    """One operator; the first `fed` inputs are the graph's, the others constant."""
    names = [f"input{index}" if value is not None else "" for index, value in enumerate(inputs)]
    node = helper.make_node(operator, names, [f"output{index}" for index in range(outputs)], **attributes)
    values = list(zip(names, inputs, strict=True))
    feeds = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values[:fed]
        if value is not None
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in values[fed:] if value is not None]
    results = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "one", feeds, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).SerializeToString()


def run_both(model: bytes, feeds: dict[str, NDArray]) -> tuple[list[NDArray], list[NDArray]]:
    """What PyTorch and what ONNX Runtime make of it."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    program = TorchProgram(model, "cpu")
    results = program({name: torch.from_numpy(value.copy()) for name, value in feeds.items()})
    names = [output.name for output in session.get_outputs()]
    return [results[name].numpy() for name in names], session.run(names, feeds)


@pytest.mark.parametrize(("operator", "inputs", "attributes"), CASES)
def test_an_operator_gives_what_onnx_runtime_gives(
    operator: str, inputs: list[NDArray | None], attributes: dict[str, Any]
) -> None:
    model = model_of(operator, inputs, attributes, outputs=2 if operator == "TopK" else 1)
    assert inputs[0] is not None
    for actual, expected in zip(*run_both(model, {"input0": inputs[0]}), strict=True):
        assert actual.dtype == expected.dtype
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "fed", "message"),
    [
        ("Tan", [MATRIX], {}, 1, "does not know the operator Tan"),
        ("Cast", [MATRIX], {"to": TensorProto.UINT16}, 1, "output0 is of type 4"),
        ("Reshape", [MATRIX, ints(2, 6)], {}, 2, "cannot run Reshape whose input 1 is not constant"),
        ("MaxPool", [IMAGE], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, 1, r"padded by \(0, 0, 1, 1\)"),
        ("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, 1, "with auto_pad"),
        ("Pad", [IMAGE, ints(0, 0, 1, 0, 0, 0, 2, 3)], {"mode": "reflect"}, 1, "with mode reflect"),
        ("Resize", [IMAGE, None, None, ints(1, 2, 9, 9)], {**HALF, "mode": "cubic"}, 1, "mode cubic"),
        ("Gather", [MATRIX, ints(0, -1)], {}, 1, "Gather with places counted from the end"),
        ("Resize", [IMAGE, None, np.array([1, 1, 1.5, 2], np.float32)], {**HALF, **LINEAR}, 1, "round such factors"),
    ],
)
def test_what_it_does_not_run_is_refused_by_name(
    operator: str, inputs: list[NDArray | None], attributes: dict[str, Any], fed: int, message: str
) -> None:
    with pytest.raises(UnsupportedOperatorError, match=message):
        TorchProgram(model_of(operator, inputs, attributes, fed=fed), "cpu")


def depth_frame(width: int, height: int) -> dict[str, NDArray]:
    depth_m = np.full((height, width), 0.9, dtype=np.float32)
    depth_m[height // 4 : height // 2, width // 4 : width // 2] = 0.82
    depth_m[np.random.default_rng(3).random(depth_m.shape) < 0.05] = 0
    intrinsics = np.array([width, width, (width - 1) / 2, (height - 1) / 2], dtype=np.float32)
    return {"depth_m": depth_m, "intrinsics": intrinsics}


@pytest.fixture(scope="module")
def shipped() -> tuple[bytes, dict[str, NDArray]]:
    """The shipped model frozen for a small camera, and a frame of it."""
    names = tuple(value.name for value in onnx.load(default_model_path()).graph.input)
    frame = depth_frame(160, 120)
    frame["color_rgb"] = np.zeros((120, 160, 3), dtype=np.uint8)
    return with_fixed_sizes(default_model_path(), input_shapes(names, (160, 120))), {
        name: frame[name] for name in names
    }


def test_the_shipped_model_gives_what_onnx_runtime_gives(shipped: tuple[bytes, dict[str, NDArray]]) -> None:
    model, frame = shipped
    names = [output.name for output in onnx.load_from_string(model).graph.output]
    actual, expected = (dict(zip(names, results, strict=True)) for results in run_both(model, frame))
    found = expected["scores"] > 0
    assert found.any()
    np.testing.assert_allclose(actual["scores"], expected["scores"], atol=1e-4)
    for name, tolerance in [("boxes_xyxy", 0.05), ("masks", 5e-3)]:
        np.testing.assert_allclose(actual[name][found], expected[name][found], atol=tolerance, err_msg=name)


def test_a_run_leaves_nothing_behind_for_the_next(shipped: tuple[bytes, dict[str, NDArray]]) -> None:
    model, frame = shipped
    program = TorchProgram(model, "cpu")
    inputs = {name: torch.from_numpy(value) for name, value in frame.items()}
    first = program(inputs)
    other = program({**inputs, "depth_m": torch.full_like(inputs["depth_m"], 0.5)})
    again = program(inputs)
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(first["scores"], other["scores"])


def test_bf16_convolutions_are_near_and_what_measures_stays_in_fp32(shipped: tuple[bytes, dict[str, NDArray]]) -> None:
    model, frame = shipped
    half = with_half_convolutions(model, TensorProto.BFLOAT16)
    types = [value.dtype for value in TorchProgram(half, "cpu")._constants.values()]
    assert types.count(torch.bfloat16) > 50
    inputs = {name: torch.from_numpy(value) for name, value in frame.items()}
    expected, actual = (TorchProgram(version, "cpu")(inputs) for version in (model, half))
    assert {name: value.dtype for name, value in actual.items()} == {
        name: value.dtype for name, value in expected.items()
    }
    found = expected["scores"] > 0.5
    assert found.any()
    torch.testing.assert_close(actual["scores"][found], expected["scores"][found], atol=0.02, rtol=0)
    torch.testing.assert_close(actual["boxes_xyxy"][found], expected["boxes_xyxy"][found], atol=2.0, rtol=0)


@pytest.mark.parametrize("mask_head", MASK_HEADS)
def test_every_operator_of_a_network_as_it_is_exported_now_is_known(mask_head: str, tmp_path: Path) -> None:
    """The shipped model may be older than the export: what is trained next has to run, too."""
    torch.manual_seed(0)
    path = tmp_path / "model.onnx"
    onnx.save(
        export_graph(CondInst(dataclasses.replace(SIZES["small"], mask_head=mask_head)).eval(), DecodingSettings()),
        path,
    )
    names = tuple(value.name for value in onnx.load(path).graph.input)
    program = TorchProgram(with_fixed_sizes(path, input_shapes(names, (160, 120))), "meta")
    outputs = program(
        {
            name: torch.empty(value.shape, dtype=value.dtype, device="meta")
            for name, value in program.input_types.items()
        }
    )
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        name: value.shape for name, value in program.output_types.items()
    }
