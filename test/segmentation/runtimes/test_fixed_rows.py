"""Mask R-CNN with a fixed number of rows finds what the graph finds that torchvision exported."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, inliner, numpy_helper

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.contract import GraphInput, contract_of
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, to_instances
from instance_seg_ros.segmentation.runtimes import fixed_rows
from instance_seg_ros.segmentation.runtimes.fixed_row_steps import DOMAIN, LARGEST_TABLE, function
from instance_seg_ros.segmentation.runtimes.fixed_rows import with_fixed_rows
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.tensorrt_check import check, check_obstacle

EXPORTED = Path(__file__).with_name("mask_rcnn_of_torchvision.onnx.gz")
"""See test/segmentation/families/torchvision_network.py."""
NAMES = ("background", "nut", "bolt", "cup")
MOST = 20
OPSET = 20


def file_with(background: float, folder: Path) -> Path:
    """The exported network, to whose score of the background this is added."""
    model = onnx.load_from_string(gzip.decompress(EXPORTED.read_bytes()))
    (bias,) = (one for one in model.graph.initializer if one.name == "roi_heads.box_predictor.cls_score.bias")
    values = numpy_helper.to_array(bias).copy()
    values[0] += background
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    path = folder / "model.onnx"
    onnx.save(model, path)
    path.with_suffix(".yaml").write_text(f"class_names: [{', '.join(NAMES)}]\n")
    return path


def image_of(size_wh: tuple[int, int]) -> np.ndarray:
    width, height = size_wh
    coarse = np.random.default_rng(3).integers(0, 256, (height // 12, width // 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC)


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def found(path: Path, model: bytes, color_rgb: np.ndarray) -> tuple[NetworkOutput, Instances]:
    """What a graph of the file says, and the instances with all that their masks claim."""
    contract, session = contract_of(path), session_of(model)
    inputs = {one.name: GraphInput("float32", tuple(one.shape)) for one in session.get_inputs()}
    names = contract.outputs_to_ask(inputs, [one.name for one in session.get_outputs()])
    arrays = {"color_rgb": color_rgb}
    results = session.run(list(names), contract.feeds(arrays, inputs))
    output = contract.read(dict(zip(names, results, strict=True)), {"color_rgb": color_rgb.shape})
    size_wh = color_rgb.shape[1], color_rgb.shape[0]
    return output, to_instances(output, size_wh, NAMES, 0.05, 0.5, 100, 1, overlapping=True)


@pytest.mark.parametrize(
    ("background", "camera_wh", "rows"),
    [
        (0.0, (160, 120), MOST),
        (0.0, (161, 121), MOST),
        (0.0, (97, 133), MOST),
        (0.0, (320, 240), MOST),
        (4.0, (160, 120), None),
        (4.0, (131, 300), None),
        (1000.0, (160, 120), 0),
    ],
)
def test_it_finds_what_the_exported_graph_finds(
    background: float, camera_wh: tuple[int, int], rows: int | None, tmp_path: Path
) -> None:
    path, color_rgb = file_with(background, tmp_path), image_of(camera_wh)
    exported = with_fixed_sizes(path, {"color_rgb": color_rgb.shape})
    fixed = with_fixed_rows(exported)
    onnx.checker.check_model(onnx.load_from_string(fixed))
    wanted, wanted_instances = found(path, exported, color_rgb)
    output, instances = found(path, fixed, color_rgb)

    assert {one.name: one.shape for one in session_of(fixed).get_outputs()}["masks"] == [MOST, 1, 28, 28]
    assert len(output.scores) == len(wanted.scores)
    assert len(output.scores) == rows or (rows is None and 0 < len(output.scores) < MOST)
    assert np.abs(output.boxes_xyxy - wanted.boxes_xyxy).max(initial=0) < 1e-3
    assert np.abs(output.scores - wanted.scores).max(initial=0) < 1e-5
    assert np.array_equal(output.class_ids, wanted.class_ids)
    assert len(instances) == len(wanted_instances)
    for mask, other in zip(instances.masks, wanted_instances.masks, strict=True):
        assert (mask & other).sum() > 0.99 * (mask | other).sum()


@pytest.mark.skipif(check_obstacle() is not None, reason=str(check_obstacle()))
def test_tensorrt_builds_it(tmp_path: Path) -> None:
    assert "builds it for 97x133" in check(file_with(0.0, tmp_path), (97, 133), "tf32", lambda line: None)


def older(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 15


def with_largest_samples(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "RoiAlign")
    next(one for one in node.attribute if one.name == "mode").s = b"max"


def with_rows_as_an_output(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "NonZero")
    model.graph.node.append(helper.make_node("Add", [node.output[0], node.output[0]], ["doubled"]))
    model.graph.output.append(helper.make_tensor_value_info("doubled", TensorProto.INT64, [1, "R"]))


def with_a_wider_border(model: onnx.ModelProto) -> None:
    node = [node for node in model.graph.node if node.op_type == "Pad"][-1]
    (pads,) = (one for one in model.graph.initializer if one.name == node.input[1])
    pads.CopyFrom(numpy_helper.from_array(np.array([0, 0, 2, 2, 0, 0, 2, 2]), pads.name))


def without_rows(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "NonZero":
            node.op_type = "Identity"


@pytest.mark.parametrize(
    "spoil", [older, with_largest_samples, with_rows_as_an_output, with_a_wider_border, without_rows]
)
def test_what_is_built_otherwise_is_left_as_it_is(spoil: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    path = file_with(0.0, tmp_path)
    model = onnx.load_from_string(with_fixed_sizes(path, {"color_rgb": (120, 160, 3)}))
    spoil(model)
    content = model.SerializeToString()
    assert with_fixed_rows(content) is content


def test_more_proposals_than_a_table_holds_are_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed_rows, "LARGEST_TABLE", 100)  # of 228 candidates 80 are wanted
    content = with_fixed_sizes(file_with(0.0, tmp_path), {"color_rgb": (120, 160, 3)})
    assert with_fixed_rows(content) is content


def run_step(name: str, arrays: dict[str, np.ndarray], **values: Any) -> np.ndarray:
    step = function(name, OPSET, **values)
    inputs = [
        helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for key, array in arrays.items()
    ]
    node = helper.make_node(name, list(arrays), ["result"], domain=DOMAIN)
    kind = TensorProto.FLOAT if name == "RoiAlign" else TensorProto.INT64
    output = helper.make_tensor_value_info("result", kind, None)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    graph = helper.make_graph([node], "step", inputs, [output])
    model = helper.make_model(graph, functions=[step], opset_imports=opsets, ir_version=8)
    result: np.ndarray = session_of(inliner.inline_local_functions(model).SerializeToString()).run(None, arrays)[0]
    return result


def suppressed_by_onnxruntime(boxes: np.ndarray, scores: np.ndarray, iou: float) -> np.ndarray:
    constants = {"most": np.array([10**6]), "iou": np.array([iou], np.float32)}
    graph = helper.make_graph(
        [helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["rows"])],
        "suppression",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, len(boxes), 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, len(boxes)]),
        ],
        [helper.make_tensor_value_info("rows", TensorProto.INT64, ["R", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    rows: np.ndarray = session_of(model.SerializeToString()).run(
        None, {"boxes": boxes[None], "scores": scores[None, None]}
    )[0]
    return rows[:, 2]


def chain(count: int) -> np.ndarray:
    """Boxes each of which overlaps the next one alone, by an IoU of 0.54."""
    starts = np.arange(count) * 3.0
    return np.stack([starts, np.zeros(count), starts + 10, np.full(count, 10.0)], axis=1)


@pytest.mark.parametrize(
    ("name", "boxes", "scores", "rows"),
    [
        ("one", chain(1), np.ones(1), 5),
        ("a chain in which each choice hangs on the one before", chain(300), np.linspace(0.9, 0.1, 300), 200),
        ("equal scores", chain(60), np.full(60, 0.5), 60),
        ("fewer rows than stay", chain(60), np.linspace(0.1, 0.9, 60), 7),
        ("anywhere", None, None, 1000),
        ("of no area", np.zeros((9, 4)), np.linspace(0.1, 0.9, 9), 9),
    ],
)
def test_suppression_by_a_table_is_onnx_runtimes(
    name: str, boxes: np.ndarray | None, scores: np.ndarray | None, rows: int
) -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 100, (600, 2))
    anywhere = np.concatenate([corners, corners + rng.uniform(0, 40, (600, 2))], axis=1)
    boxes = (anywhere if boxes is None else boxes).astype(np.float32)
    scores = (rng.uniform(0, 1, 600) if scores is None else scores).astype(np.float32)
    kept = run_step(
        "TableSuppression", {"boxes": boxes[None], "scores": scores, "limit": np.array([0.5], np.float32)}, rows=rows
    )
    wanted = suppressed_by_onnxruntime(boxes, scores, 0.5)[:rows]
    assert len(kept) == min(rows, len(boxes)), name
    assert np.array_equal(kept[: len(wanted)], wanted), name
    assert (kept[len(wanted) :] == len(boxes)).all(), name


def test_what_has_no_score_is_no_row() -> None:
    scores = np.array([0.5, -3e38, 0.7, -3e38], np.float32)
    arrays = {"boxes": chain(8)[None, ::2].astype(np.float32), "scores": scores, "limit": np.array([0.5], np.float32)}
    assert run_step("TableSuppression", arrays, rows=4).tolist() == [2, 0, 4, 4]


def test_of_very_many_candidates_the_best_are_looked_at() -> None:
    count = LARGEST_TABLE + 100
    boxes = chain(4 * count)[::4].astype(np.float32)
    scores = np.random.default_rng(1).permutation(count).astype(np.float32)
    arrays = {"boxes": boxes[None], "scores": scores, "limit": np.array([0.5], np.float32)}
    assert np.array_equal(run_step("TableSuppression", arrays, rows=50), np.argsort(-scores)[:50])


@pytest.mark.parametrize(("ratio", "bins_xy", "scale"), [(2, (7, 7), 0.25), (1, (3, 5), 0.1), (3, (2, 1), 1.0)])
def test_features_are_sampled_as_onnx_runtime_does(ratio: int, bins_xy: tuple[int, int], scale: float) -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(1, 3, 9, 13)).astype(np.float32)
    corners = rng.uniform(-3, 16, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 9, (60, 2))], axis=1)
    boxes[:2] = [[0, 0, 0, 0], [13, 9, 13, 9]]  # of no size
    boxes = (boxes / scale).astype(np.float32)
    attributes = {"output_width": bins_xy[0], "output_height": bins_xy[1], "sampling_ratio": ratio}
    mode = "output_half_pixel"
    node = helper.make_node(
        "RoiAlign",
        ["features", "boxes", "images"],
        ["aligned"],
        spatial_scale=scale,
        coordinate_transformation_mode=mode,
        **attributes,
    )
    arrays = {"features": features, "boxes": boxes}
    graph = helper.make_graph(
        [node],
        "align",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in arrays.items()],
        [helper.make_tensor_value_info("aligned", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(len(boxes), dtype=np.int64), "images")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    (wanted,) = session_of(model.SerializeToString()).run(None, arrays)
    samples = {f"samples_{side}": bins * ratio for side, bins in zip("xy", bins_xy, strict=True)}
    bins = {f"bins_{side}": bins for side, bins in zip("xy", bins_xy, strict=True)}
    aligned = run_step("RoiAlign", arrays, ratio=ratio, scale=scale, **samples, **bins)
    assert aligned.shape == wanted.shape
    assert np.abs(aligned - wanted).max() < 1e-4
