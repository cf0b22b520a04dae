"""A real model file without training: one instance, everything that is clearly nearer than the image's mean depth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.segmentation.model_file import FORMAT, graph_digest


def write_tiny_model(path: Path) -> Path:
    """Writes the model to `path` with all metadata that the project's model files have."""

    def constant(name: str, values: object, dtype: type) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)

    nodes = [
        helper.make_node("ReduceMean", ["depth_m"], ["mean_m"], keepdims=0),
        helper.make_node("Mul", ["mean_m", "share"], ["limit_m"]),
        helper.make_node("Less", ["depth_m", "limit_m"], ["near"]),
        helper.make_node("Greater", ["depth_m", "zero"], ["measured"]),
        helper.make_node("And", ["near", "measured"], ["object"]),
        helper.make_node("Unsqueeze", ["object", "first_axis"], ["mask"]),
        helper.make_node("Cast", ["mask"], ["masks"], to=TensorProto.FLOAT16),
        helper.make_node("Shape", ["depth_m"], ["size_hw"]),
        helper.make_node("Gather", ["size_hw", "width_height"], ["size_wh"]),
        helper.make_node("Cast", ["size_wh"], ["corner_xy"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["origin_xy", "corner_xy"], ["box"], axis=0),
        helper.make_node("Unsqueeze", ["box", "first_axis"], ["boxes_xyxy"]),
        helper.make_node("Identity", ["score"], ["scores"]),
        helper.make_node("Identity", ["class_id"], ["class_ids"]),
        # The intrinsics are part of the contract; this model has no use for their values.
        helper.make_node("ReduceSum", ["intrinsics"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["one_one", "nothing"], ["mask_scale"]),
    ]
    constants = [
        constant("share", 0.95, np.float32),
        constant("zero", 0.0, np.float32),
        constant("first_axis", [0], np.int64),
        constant("width_height", [1, 0], np.int64),
        constant("origin_xy", [0, 0], np.float32),
        constant("score", [0.9], np.float32),
        constant("class_id", [0], np.int64),
        constant("one_one", [1, 1], np.float32),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("depth_m", TensorProto.FLOAT, ["H", "W"]),
            helper.make_tensor_value_info("intrinsics", TensorProto.FLOAT, [4]),
        ],
        [
            helper.make_tensor_value_info("boxes_xyxy", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("class_ids", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("masks", TensorProto.FLOAT16, [1, "H", "W"]),
            helper.make_tensor_value_info("mask_scale", TensorProto.FLOAT, [2]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata = {
        "format": FORMAT,
        "name": "tiny",
        "version": "1",
        "class_names": json.dumps(["object"]),
        "score_threshold": "0.5",
        "mask_threshold": "0.5",
        "digest": graph_digest(model.SerializeToString()),
    }
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path
