"""Suppression with a fixed number of rows chooses what ONNX Runtime's NonMaxSuppression chooses, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.segmentation.families.decoding import MAX_ROWS
from instance_seg_ros.segmentation.runtimes.engine_builder import build_engine, load_library
from instance_seg_ros.segmentation.runtimes.fixed_suppression import with_fixed_suppression
from instance_seg_ros.segmentation.runtimes.tensorrt_check import CHECKED_CAPABILITIES, check_obstacle

NO_OBJECT = -10_000.0


def suppression(
    shape: tuple[int, int, int],
    limit: int | None = 50,
    iou: float | None = 0.5,
    least: float | None = 0.05,
    opset: int = 17,
    reads_scores: bool = True,
    reads_turned: bool = False,
    **attributes: Any,
) -> onnx.ModelProto:
    """A graph that suppresses boxes (1, N, 4) with scores (B, C, N) and looks up the scores of the rows.

    Scores are turned for the suppression alone and looked up before that, as MMDeploy does it.
    """
    images, classes, count = shape
    constants = {"limit": (limit, np.int64), "iou": (iou, np.float32), "least": (least, np.float32)}
    given = {name: np.array([value], kind) for name, (value, kind) in constants.items() if value is not None}
    inputs = ["boxes", "turned", *(name if name in given else "" for name in constants)]
    nodes = [
        helper.make_node("Transpose", ["scores"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("NonMaxSuppression", inputs, ["rows"], **attributes),
    ]
    outputs = [helper.make_tensor_value_info("rows", TensorProto.INT64, ["R", 3])]
    if reads_scores:
        nodes.append(helper.make_node("Gather", ["rows", "places"], ["places_in_scores"], axis=1))
        nodes.append(helper.make_node("GatherND", ["scores", "places_in_scores"], ["row_scores"]))
        given["places"] = np.array([0, 2, 1])
        outputs.append(helper.make_tensor_value_info("row_scores", TensorProto.FLOAT, ["R"]))
    if reads_turned:
        nodes.append(helper.make_node("GatherND", ["turned", "rows"], ["turned_row_scores"]))
        outputs.append(helper.make_tensor_value_info("turned_row_scores", TensorProto.FLOAT, ["R"]))
    graph = helper.make_graph(
        nodes,
        "suppression",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [images, count, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [images, count, classes]),
        ],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in given.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def of_no_known_shape(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with scores whose number of axes only a run tells."""
    graph = model.graph
    graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, ["S"]))
    graph.node[0].output[0] = "before"
    graph.node.insert(1, helper.make_node("Reshape", ["before", "shape"], ["turned"]))
    graph.node.append(helper.make_node("Identity", ["turned"], ["read"]))
    graph.output.append(helper.make_tensor_value_info("read", TensorProto.FLOAT, None))
    return model


def run(model: onnx.ModelProto, boxes: np.ndarray, scores: np.ndarray) -> list[np.ndarray]:
    """Rows, and their scores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {"boxes": boxes.astype(np.float32), "scores": scores.transpose(0, 2, 1).astype(np.float32)}
    results: list[np.ndarray] = session.run(None, feeds)
    return results


def assert_same(model: onnx.ModelProto, boxes: np.ndarray, scores: np.ndarray) -> int:
    """Both give the same best rows in the same order, then rows that are no objects; how many there are."""
    rows, row_scores = run(model, boxes, scores)
    changed = with_fixed_suppression(model)
    onnx.checker.check_model(changed, full_check=True)
    assert all(node.op_type != "NonMaxSuppression" for node in changed.graph.node)
    fixed_rows, fixed_scores = run(changed, boxes, scores)
    best = np.sort(np.argsort(-row_scores, kind="stable")[:MAX_ROWS])
    assert np.array_equal(fixed_rows[: len(best)], rows[best])
    assert np.array_equal(fixed_scores[: len(best)], row_scores[best])
    assert (fixed_scores[len(best) :] == NO_OBJECT).all()
    return len(rows)


def chain(count: int) -> np.ndarray:
    """Boxes (1, count, 4) each of which overlaps the next one alone, by an IoU of 0.54."""
    starts = np.arange(count) * 3.0
    return np.stack([np.zeros(count), starts, np.full(count, 10.0), starts + 10], axis=1)[None]


def anywhere(rng: np.random.Generator, count: int) -> np.ndarray:
    """Boxes (1, count, 4) whose corners come in any order."""
    return rng.uniform(0, 100, (1, count, 4))


@pytest.mark.parametrize("center_point_box", [0, 1])
@pytest.mark.parametrize("opset", [11, 13, 18, 20])
def test_any_boxes_and_scores_with_and_without_equal_ones(center_point_box: int, opset: int) -> None:
    rng = np.random.default_rng(opset)
    for classes, count, limit, least in [(1, 1, 1, 0.5), (3, 60, 50, 0.05), (5, 40, 4, 0.6), (2, 30, 30, None)]:
        model = suppression((1, classes, count), limit, 0.3, least, opset, center_point_box=center_point_box)
        scores = rng.uniform(0, 1, (1, classes, count))
        assert_same(model, anywhere(rng, count), scores)
        assert_same(model, np.round(anywhere(rng, count) / 25) * 25, np.round(scores * 4) / 4)


@pytest.mark.parametrize(
    ("name", "classes", "scores", "kept"),
    [
        ("best first, every second one goes", 1, np.linspace(0.9, 0.1, 90), 45),
        ("worst first", 1, np.linspace(0.1, 0.9, 90), 45),
        ("all equal", 1, np.full(90, 0.5), 45),
        ("classes do not suppress each other", 2, np.linspace(0.9, 0.1, 90), 90),
    ],
)
def test_a_chain_in_which_each_choice_hangs_on_the_one_before(
    name: str, classes: int, scores: np.ndarray, kept: int
) -> None:
    of_classes = np.tile(scores, (1, classes, 1))
    assert assert_same(suppression((1, classes, 90)), chain(90), of_classes) == kept, name


@pytest.mark.parametrize(
    ("name", "scores", "kept"),
    [
        ("nothing", 0.01, 0),
        ("a score at the threshold is not above it", 0.05, 0),
        ("every pair, so that none is left for rows that would be empty", 0.5, 12),
    ],
)
def test_none_or_all_of_some_boxes_apart(name: str, scores: float, kept: int) -> None:
    boxes = chain(12)[:, ::4]  # three of them, which do not touch
    assert assert_same(suppression((1, 4, 3)), boxes, np.full((1, 4, 3), scores)) == kept, name


def test_scores_that_are_read_in_both_orders_are_marked_in_both() -> None:
    rng = np.random.default_rng(4)
    scores = rng.uniform(0, 1, (1, 3, 40)).transpose(0, 2, 1).astype(np.float32)
    feeds = {"boxes": anywhere(rng, 40).astype(np.float32), "scores": scores}
    model = with_fixed_suppression(suppression((1, 3, 40), least=0.9, reads_turned=True))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    _, row_scores, turned = session.run(None, feeds)
    assert (row_scores == NO_OBJECT).sum() > 0
    assert np.array_equal(turned, row_scores)


def test_of_more_rows_than_are_read_the_best_stay() -> None:
    count = 4 * MAX_ROWS
    boxes = chain(4 * count)[:, ::4]
    scores = np.random.default_rng(1).uniform(0.1, 1, (1, 2, count))
    assert assert_same(suppression((1, 2, count), limit=count), boxes, scores) == 2 * count


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("nothing reads the scores afterwards", suppression((1, 2, 9), reads_scores=False)),
        ("several images", suppression((2, 2, 9))),
        ("no rows are asked for", suppression((1, 2, 9), limit=None)),
        ("scores of no known shape", of_no_known_shape(suppression((1, 2, 9)))),
        ("older operators", suppression((1, 2, 9), opset=10, reads_scores=False)),
    ],
)
def test_what_cannot_be_replaced_is_left_as_it_is(name: str, model: onnx.ModelProto) -> None:
    assert with_fixed_suppression(model) is model, name


@pytest.mark.skipif(check_obstacle() is not None, reason=str(check_obstacle()))
def test_tensorrt_builds_it() -> None:
    model = with_fixed_suppression(suppression((1, 5, 200))).SerializeToString()
    assert build_engine(load_library("tensorrt-rtx"), model, "fp32", lambda line: None, CHECKED_CAPABILITIES)
