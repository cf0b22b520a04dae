"""ONNX Runtime behind the contract: a small real graph runs, and files that break the contract are refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.onnxruntime_backend import OnnxRuntimeNetwork

CONSTANTS = {
    "boxes_xyxy": np.array([[1, 2, 3, 4]], dtype=np.float32),
    "class_ids": np.array([0], dtype=np.int64),
    "masks": np.ones((1, 3, 4), dtype=np.float16),
    "mask_scale": np.array([0.5, 0.25], dtype=np.float32),
}


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


def test_outputs_come_back_by_name_for_any_image_size(tmp_path: Path) -> None:
    network = OnnxRuntimeNetwork(
        model_file(tmp_path, helper.make_node("ReduceMax", ["depth_m"], ["scores"], axes=[1], keepdims=0)), threads=1
    )
    for height, width in [(2, 3), (5, 7)]:
        depth_m = np.zeros((height, width), dtype=np.float32)
        depth_m[1, 2] = 0.75
        output = network(depth_m, np.ones(4, dtype=np.float32))
        assert output.scores.tolist() == [0, 0.75] + [0] * (height - 2)
        for name, value in CONSTANTS.items():
            assert np.array_equal(getattr(output, name), value)


def test_a_graph_with_other_inputs_is_refused(tmp_path: Path) -> None:
    path = model_file(tmp_path, helper.make_node("Identity", ["intrinsics"], ["scores"]), depth_name="image")
    with pytest.raises(ModelError, match=r"takes \['image', 'intrinsics'\].*the contract is"):
        OnnxRuntimeNetwork(path, threads=1)


def test_a_graph_that_loads_but_does_not_run_is_refused(tmp_path: Path) -> None:
    # Shapes (H, W) and (4,) broadcast for W = 4 only.
    path = model_file(tmp_path, helper.make_node("Add", ["depth_m", "intrinsics"], ["scores"]))
    with pytest.raises(ModelError, match="cannot run"):
        OnnxRuntimeNetwork(path, threads=1)


def test_bytes_that_are_no_graph_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match="cannot load"):
        OnnxRuntimeNetwork(path, threads=1)
