"""A model file frozen for one size of the images: the same results, and nothing left to compute from the shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from instance_seg_ros.segmentation import ModelError, default_model_path
from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes

INPUTS = ("depth_m", "intrinsics", "color_rgb")
# Inputs that TensorRT's ONNX parser wants as constants, by operator.
CONSTANT_INPUTS = {
    "Clip": (1, 2),
    "Conv": (1, 2),
    "Expand": (1,),
    "Pad": (1, 2),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Squeeze": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
}


@pytest.fixture(scope="module")
def frozen() -> onnx.ModelProto:
    """The shipped model for 640x480."""
    return onnx.load_from_string(with_fixed_sizes(default_model_path(), input_shapes(INPUTS, (640, 480))))


def test_only_standard_operators_are_left_and_none_of_shapes_or_branches(frozen: onnx.ModelProto) -> None:
    assert {node.domain for node in frozen.graph.node} == {""}
    operators = {node.op_type for node in frozen.graph.node}
    assert not operators & {"Shape", "Size", "ConstantOfShape", "Range", "If", "Loop", "Scan", "NonZero"}


def test_every_shape_is_fixed(frozen: onnx.ModelProto) -> None:
    for value in [*frozen.graph.input, *frozen.graph.output]:
        assert all(side.dim_value > 0 for side in value.type.tensor_type.shape.dim), value.name


def test_what_tensorrt_wants_constant_is_constant(frozen: onnx.ModelProto) -> None:
    constants = {tensor.name for tensor in frozen.graph.initializer} | {""}
    constants |= {node.output[0] for node in frozen.graph.node if node.op_type == "Constant"}
    computed = [
        f"{node.op_type} {node.name} input {index}"
        for node in frozen.graph.node
        for index in CONSTANT_INPUTS.get(node.op_type, ())
        if index < len(node.input) and node.input[index] not in constants
    ]
    assert computed == []


def test_the_results_are_those_of_the_model_file() -> None:
    size_wh = (212, 120)
    rng = np.random.default_rng(3)
    depth_m = np.full(size_wh[::-1], 0.9, dtype=np.float32)
    depth_m[30:80, 40:110] = 0.82
    depth_m[60:100, 120:180] = 0.78
    depth_m[rng.random(depth_m.shape) < 0.05] = 0
    feeds = {
        "depth_m": depth_m,
        "intrinsics": np.array([200, 200, 105.5, 59.5], dtype=np.float32),
        "color_rgb": rng.integers(0, 256, (*depth_m.shape, 3), dtype=np.uint8),
    }
    model = with_fixed_sizes(default_model_path(), input_shapes(INPUTS, size_wh))
    providers = ["CPUExecutionProvider"]
    expected = onnxruntime.InferenceSession(str(default_model_path()), providers=providers).run(None, feeds)
    actual = onnxruntime.InferenceSession(model, providers=providers).run(None, feeds)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_a_model_of_fixed_size_refuses_another(tmp_path: Path, block_model_path: Path) -> None:
    fixed = tmp_path / "fixed.onnx"
    fixed.write_bytes(with_fixed_sizes(block_model_path, input_shapes(INPUTS, (160, 120))))
    assert with_fixed_sizes(fixed, input_shapes(INPUTS, (160, 120)))
    with pytest.raises(ModelError, match=r"depth_m of shape \(120, 160\), not \(480, 640\)"):
        with_fixed_sizes(fixed, input_shapes(INPUTS, (640, 480)))


def test_colour_is_converted_before_anything_else_which_is_all_that_tensorrt_does_with_bytes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from instance_seg_ros.learning.export.model_writer import trace
    from instance_seg_ros.learning.models.adelaidet import AdelaiDetConfig
    from instance_seg_ros.learning.models.adelaidet_inference import ImageInput

    class Graph(ImageInput):
        """With its output in a tuple, as graphs of several outputs have them."""

        def forward(self, color_rgb: torch.Tensor) -> tuple[torch.Tensor]:
            return (super().forward(color_rgb),)

    image_input = Graph(AdelaiDetConfig(), camera_wh=(64, 48), resized_wh=(128, 96))
    color_rgb = torch.zeros((48, 64, 3), dtype=torch.uint8)
    path = tmp_path / "image_input.onnx"
    onnx.save(trace(image_input, (color_rgb,), ["color_rgb"], {}, ["image"]), path)
    frozen = onnx.load_from_string(with_fixed_sizes(path, input_shapes(("color_rgb",), (64, 48))))
    assert [node.op_type for node in frozen.graph.node if "color_rgb" in node.input] == ["Cast"]
