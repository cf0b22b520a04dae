"""What TensorRT's real parser and builder say of the graphs that they are given; TensorRT for RTX needs no GPU for it.

Every graph is built for the compute capabilities 8.6, 8.9 and 12.0 at once. CondInst-R50, and R101 with `-m large`,
are in `test/learning/export/test_adelaidet.py`, whose export command asks the same builder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.segmentation.model_file import default_model_path, path_in_8_bits, shipped_models
from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.runtimes.engine_builder import EngineError, build_engine, load_library
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.tensorrt_check import CHECKED_CAPABILITIES, check, check_obstacle
from instance_seg_ros.segmentation.runtimes.tensorrt_graph import graph_for_tensorrt, in_accepted_form

FLOAT, IN_8_BITS = default_model_path(), path_in_8_bits(default_model_path())
FINE, SMALL = shipped_models()["tabletop_rgbd_fine"], shipped_models()["tabletop_rgbd_small"]
RGBD = ("depth_m", "intrinsics", "color_rgb")

# Those of our graphs and CondInst's, each with its types found in what TensorRT 10.1 says that it takes:
# https://github.com/onnx/onnx-tensorrt/blob/release/10.1-GA/docs/operators.md
OPERATORS_IN_10_1 = """
    Add And ArgMax AveragePool Cast Clip Concat Conv DequantizeLinear Div Equal Exp Expand Flatten Floor Gather
    GatherElements Gemm Greater GreaterOrEqual InstanceNormalization Less LessOrEqual MatMul Max MaxPool Min Mod Mul
    Neg Not Or Pad QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceProd ReduceSum Relu Reshape Resize Sigmoid
    Slice Sqrt Squeeze Sub TopK Transpose Trilu Unsqueeze Where Xor
"""

needs_builder = pytest.mark.skipif(check_obstacle() is not None, reason=str(check_obstacle()))


def ignore(line: str) -> None:
    """A report that nobody reads."""


@needs_builder
@pytest.mark.parametrize(
    ("path", "precision", "size_wh"),
    [
        (path, precision, size_wh)
        for path, precision in ((FLOAT, "tf32"), (FLOAT, "fp16"), (FLOAT, "bf16"), (IN_8_BITS, "tf32"))
        for size_wh in ((640, 480), (1280, 720))
        if precision != "bf16" or size_wh == (640, 480)
    ]
    + [
        (FINE, "tf32", (640, 480)),
        (FINE, "fp16", (1280, 720)),
        (path_in_8_bits(FINE), "tf32", (640, 480)),
        (SMALL, "tf32", (640, 480)),
    ],
)
def test_tensorrt_builds_what_is_shipped(path: Path, precision: str, size_wh: tuple[int, int]) -> None:
    assert check(path, size_wh, precision, ignore).startswith("TensorRT for RTX 1.")


@needs_builder
@pytest.mark.parametrize(
    ("color_channels", "num_classes", "mask_head"),
    [((16, 16, 16), 5, "condinst"), ((), 1, "condinst"), ((16, 16, 16), 1, "prototypes"), ((16, 16, 16), 1, "kernels")],
    ids=["5 classes", "depth", "prototypes", "kernels"],
)
def test_tensorrt_builds_what_is_trained_here(
    color_channels: tuple[int, ...], num_classes: int, mask_head: str, small_config: object, tmp_path: Path
) -> None:
    import dataclasses

    from instance_seg_ros.learning.export.model_writer import (
        ModelDescription,
        describe,
        export_graph,
        input_contract,
        store_weights_as_half,
    )
    from instance_seg_ros.learning.models.condinst import CondInst
    from instance_seg_ros.learning.models.exported_graph import DecodingSettings

    changes = {"color_channels": color_channels, "num_classes": num_classes, "mask_head": mask_head}
    model = CondInst(dataclasses.replace(small_config, **changes))
    proto = export_graph(model, DecodingSettings(candidates=16, max_instances=8))
    store_weights_as_half(proto)
    description = ModelDescription(class_names=tuple(f"class {index}" for index in range(num_classes)))
    path = tmp_path / "trained.onnx"
    path.write_bytes(describe(proto, description, {}, input_contract(model)))
    assert check(path, (640, 480), "tf32", ignore).startswith("TensorRT for RTX 1.")


@needs_builder
@pytest.mark.parametrize(
    ("path", "words"),
    [(FLOAT, "Gather .*Found unsupported input type of UINT8"), (IN_8_BITS, "")],
    ids=["float", "8 bits"],
)
def test_without_the_rewriting_the_parser_refuses_the_graph_in_its_words(path: Path, words: str) -> None:
    library = load_library("tensorrt-rtx")
    with pytest.raises(EngineError, match=f"TensorRT for RTX 1.* cannot read the model: {words}") as caught:
        build_engine(
            library, with_fixed_sizes(path, input_shapes(RGBD, (640, 480))), "tf32", ignore, CHECKED_CAPABILITIES
        )
    assert "cudaError" not in str(caught.value)


@needs_builder
def test_a_gpu_that_the_library_is_not_for_is_named() -> None:
    library = load_library("tensorrt-rtx")
    with pytest.raises(EngineError, match=r"is not for GPUs of compute capability 9.0, but for 7.5, 8.0, 8.6, 8.9, 12"):
        library.compute_capability("9.0")


@pytest.mark.parametrize(("path", "precision"), [(FLOAT, "tf32"), (FLOAT, "fp16"), (IN_8_BITS, "tf32")])
def test_bytes_are_converted_first_no_name_is_given_twice_and_tensorrt_10_1_knows_the_operators(
    path: Path, precision: str
) -> None:
    graph = onnx.load_from_string(graph_for_tensorrt(path, input_shapes(RGBD, (640, 480)), precision)).graph
    assert {node.op_type for node in graph.node if "color_rgb" in node.input} == {"Cast"}
    assert {node.op_type for node in graph.node} <= set(OPERATORS_IN_10_1.split())
    names = [node.name for node in graph.node if node.name] + [tensor.name for tensor in graph.initializer]
    assert len(names) == len(set(names))


def test_the_shipped_graph_computes_the_same_to_the_bit() -> None:
    shapes = input_shapes(RGBD, (320, 240))
    rng = np.random.default_rng(1)
    feeds = {
        "depth_m": rng.uniform(0.5, 1.0, shapes["depth_m"]).astype(np.float32),
        "intrinsics": np.array([300, 300, 159.5, 119.5], dtype=np.float32),
        "color_rgb": rng.integers(0, 256, shapes["color_rgb"], dtype=np.uint8),
    }
    results = [
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feeds)
        for model in (with_fixed_sizes(FLOAT, shapes), graph_for_tensorrt(FLOAT, shapes, "tf32"))
    ]
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_largest_element_of_a_vector_is_looked_for_in_a_row(keepdims: int) -> None:
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["y"], name="largest", axis=0, keepdims=keepdims)],
        "a",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1] * keepdims)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    changed = in_accepted_form(model)
    assert changed != model
    session = onnxruntime.InferenceSession(changed, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.array([3, 9, 1, 9], dtype=np.float32)})
    assert found.tolist() == ([1] if keepdims else 1)
    if check_obstacle() is None:
        with pytest.raises(EngineError, match="ArgMax largest: .*at least 2 dimensions"):
            build_engine(load_library("tensorrt-rtx"), model, "fp32", ignore, CHECKED_CAPABILITIES)
        assert build_engine(load_library("tensorrt-rtx"), changed, "fp32", ignore, CHECKED_CAPABILITIES)


@pytest.mark.parametrize(
    ("count", "axis", "kind", "lowest"),
    [
        (5000, 0, np.float32, None),
        (8000, 1, np.float32, None),
        (8000, 1, np.float32, -np.inf),
        (8000, 0, np.float16, -np.inf),
        (5000, 1, np.int32, None),
        (8000, 1, np.int64, -(2**63)),
    ],
)
def test_many_largest_elements_are_taken_in_parts(
    count: int, axis: int, kind: type[np.generic], lowest: float | None
) -> None:
    shape = (8400, 2) if axis == 0 else (2, 8400)
    largest = (count, 2) if axis == 0 else (2, count)
    graph = helper.make_graph(
        [helper.make_node("TopK", ["x", "k"], ["values", "places"], name="many", axis=axis)],
        "a",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)],
        [
            helper.make_tensor_value_info("values", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), largest),
            helper.make_tensor_value_info("places", TensorProto.INT64, largest),
        ],
        [numpy_helper.from_array(np.array([count]), "k")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8).SerializeToString()
    changed = in_accepted_form(model)
    x = np.random.default_rng(1).integers(-500, 500, shape).astype(kind)  # most of them several times
    if lowest is not None:
        x[x < 0] = lowest  # more than are left out
    expected, found = (
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]).run(None, {"x": x})
        for one in (model, changed)
    )
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    if check_obstacle() is None:
        with pytest.raises(EngineError, match=r"K exceeds the maximum value allowed \(3840\)"):
            build_engine(load_library("tensorrt-rtx"), model, "fp32", ignore, CHECKED_CAPABILITIES)
        assert build_engine(load_library("tensorrt-rtx"), changed, "fp32", ignore, CHECKED_CAPABILITIES)


def test_a_graph_without_any_of_that_is_left_as_it_is(block_model_path: Path) -> None:
    model = block_model_path.read_bytes()
    assert in_accepted_form(model) is model
