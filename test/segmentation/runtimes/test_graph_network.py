"""Model files behind the contract: small real graphs run, and files that break it are refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import network_inputs
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import CPU_BACKENDS, load_cpu_network
from instance_seg_ros.segmentation.runtimes.graph_network import GraphNetwork

CONSTANTS = {
    "boxes_xyxy": np.array([[1, 2, 3, 4]], dtype=np.float32),
    "class_ids": np.array([0], dtype=np.int64),
    "masks": np.ones((1, 3, 4), dtype=np.float16),
    "mask_scale": np.array([0.5, 0.25], dtype=np.float32),
}


@pytest.fixture(params=CPU_BACKENDS)
def load(request: pytest.FixtureRequest) -> Callable[[Path], GraphNetwork]:
    """Loads a model file on each backend."""
    pytest.importorskip(request.param)
    return partial(load_cpu_network, request.param, settings=SegmentationSettings(threads=1))


def model_file(folder: Path, score_node: onnx.NodeProto, depth_name: str = "depth_m") -> Path:
    """A contract-keeping graph but for its scores, which `score_node` computes from the depth or the intrinsics."""
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in CONSTANTS.items()
    ]
    inputs = [
        helper.make_tensor_value_info(depth_name, TensorProto.FLOAT, ["H", "W"]),
        helper.make_tensor_value_info("intrinsics", TensorProto.FLOAT, [4]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in CONSTANTS.items()
    ] + [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)]
    graph = helper.make_graph([*nodes, score_node], "contract", inputs, outputs)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_outputs_come_back_by_name_for_any_image_size(tmp_path: Path, load: Callable[[Path], GraphNetwork]) -> None:
    network = load(model_file(tmp_path, helper.make_node("ReduceMax", ["depth_m"], ["scores"], axes=[1], keepdims=0)))
    for height, width in [(2, 3), (5, 7)]:
        depth_m = np.zeros((height, width), dtype=np.float32)
        depth_m[1, 2] = 0.75
        output = network({"depth_m": depth_m, "intrinsics": np.ones(4, dtype=np.float32)})
        assert output.scores.tolist() == [0, 0.75] + [0] * (height - 2)
        for name, value in CONSTANTS.items():
            assert np.array_equal(getattr(output, name), value)
        assert output.mask_offset.tolist() == [0, 0]


def test_a_graph_with_other_inputs_is_refused(tmp_path: Path, load: Callable[[Path], GraphNetwork]) -> None:
    path = model_file(tmp_path, helper.make_node("Identity", ["intrinsics"], ["scores"]), depth_name="image")
    with pytest.raises(ModelError, match=r"takes image \(float32\), intrinsics \(float32\).*the contract is"):
        load(path)


def test_a_graph_that_loads_but_does_not_run_is_refused(tmp_path: Path) -> None:
    # Shapes (H, W) and (4,) broadcast for W = 4 only; OpenVINO does not look.
    path = model_file(tmp_path, helper.make_node("Add", ["depth_m", "intrinsics"], ["scores"]))
    with pytest.raises(ModelError, match="cannot run"):
        load_cpu_network("onnxruntime", path, SegmentationSettings(threads=1))


def test_bytes_that_are_no_graph_are_refused(tmp_path: Path, load: Callable[[Path], GraphNetwork]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match="cannot load"):
        load(path)


def color_model_file(folder: Path) -> Path:
    """A graph for 4x3 colour images; its one score is the image's brightest value / 256."""
    constants = CONSTANTS | {"mask_offset": np.array([-0.125, 0.5], dtype=np.float32)}
    nodes = [
        *(
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
            for name, value in constants.items()
        ),
        helper.make_node("Cast", ["color_rgb"], ["color"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["levels"], value=numpy_helper.from_array(np.float32([256]))),
        helper.make_node("ReduceMax", ["color"], ["brightest"], keepdims=0),
        helper.make_node("Div", ["brightest", "levels"], ["scores"]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in constants.items()
    ] + [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1])]
    color = helper.make_tensor_value_info("color_rgb", TensorProto.UINT8, [3, 4, 3])
    graph = helper.make_graph(nodes, "color", [color], outputs)
    path = folder / "color.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def frame(width: int, height: int, color: bool = True) -> RgbdFrame:
    color_rgb = np.full((height, width, 3), 192, dtype=np.uint8) if color else None
    return RgbdFrame(color_rgb, np.ones((height, width), np.float32), Intrinsics(width, height, 5, 5, 1, 1))


def test_a_graph_for_colour_gets_the_colour_of_the_frame(tmp_path: Path, load: Callable[[Path], GraphNetwork]) -> None:
    network = load(color_model_file(tmp_path))
    assert network.input_names == ("color_rgb",)
    output = network(network_inputs(frame(4, 3), network.input_names))
    assert output.scores.tolist() == [0.75]
    assert output.mask_offset.tolist() == [-0.125, 0.5]


def test_a_graph_for_another_image_size_names_both_sizes(tmp_path: Path, load: Callable[[Path], GraphNetwork]) -> None:
    network = load(color_model_file(tmp_path))
    with pytest.raises(ModelError, match=r"shape \(3, 4, 3\) and the camera gives \(4, 6, 3\); export it"):
        network(network_inputs(frame(6, 4), network.input_names))


def test_a_camera_without_colour_is_black(tmp_path: Path, load: Callable[[Path], GraphNetwork]) -> None:
    network = load(color_model_file(tmp_path))
    inputs = network_inputs(frame(4, 3, color=False), network.input_names)
    assert inputs["color_rgb"].shape == (3, 4, 3)
    assert inputs["color_rgb"].dtype == np.uint8
    assert network(inputs).scores.tolist() == [0]


def test_results_of_one_frame_outlive_the_next(tmp_path: Path, load: Callable[[Path], GraphNetwork]) -> None:
    network = load(color_model_file(tmp_path))
    first = network(network_inputs(frame(4, 3), network.input_names))
    network(network_inputs(frame(4, 3, color=False), network.input_names))
    assert first.scores.tolist() == [0.75]
