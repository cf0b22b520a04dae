"""What a model becomes for OpenVINO, against the model as it was."""

from __future__ import annotations

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")

from openvino import opset13  # noqa: E402

from instance_seg_ros.segmentation.runtimes.openvino_graph import choose_before_adding  # noqa: E402


def rows_and_columns(
    second_rows: tuple[int, ...] = (1, 3),
    other_image: bool = False,
    column_axis: int = 1,
    read_whole: bool = False,
    size: int = -1,
) -> openvino.Model:
    """Sums of rows (0, 2) and others of an image, and columns of these sums."""
    images = [opset13.parameter([-1, size, 3], np.uint8, name=name) for name in ("first", "second")]
    axis = opset13.constant(np.int64(0))
    terms = [
        opset13.convert(opset13.gather(image, opset13.constant(np.array(rows)), axis), "f32")
        for image, rows in ((images[0], (0, 2)), (images[1 if other_image else 0], second_rows))
    ]
    total = opset13.add(*terms)
    columns = opset13.constant(np.array([1, 0]))
    results = [opset13.gather(total, columns, opset13.constant(np.int64(column_axis)))]
    results.append(opset13.gather(total, opset13.constant(np.array([0, 0])), opset13.constant(np.int64(1))))
    if read_whole:
        results.append(opset13.relu(total))
    return openvino.Model([opset13.result(each) for each in results], images)


def answers(model: openvino.Model) -> list[list[float]]:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    compiled = openvino.Core().compile_model(model, "CPU")
    return [answer.tolist() for answer in compiled(list(images)).values()]


def adds_in_fixed_sizes(model: openvino.Model) -> bool:
    added = [node for node in model.get_ordered_ops() if node.get_type_name() == "Add"]
    return all(node.get_output_partial_shape(0).is_static for node in added)


def test_columns_are_chosen_before_rows_are_added_up() -> None:
    model = rows_and_columns()
    before = answers(model)
    assert not adds_in_fixed_sizes(model)
    choose_before_adding(model)
    assert adds_in_fixed_sizes(model)
    assert answers(model) == before


@pytest.mark.parametrize(
    "differently",
    [
        {"second_rows": (1,)},  # a row that is added to two
        {"other_image": True},  # which may be as wide as one column
        {"column_axis": 0},
        {"read_whole": True},
    ],
)
def test_sums_of_another_kind_stay(differently: dict) -> None:
    model = rows_and_columns(**differently)
    nodes, before = len(model.get_ordered_ops()), answers(model)
    choose_before_adding(model)
    assert len(model.get_ordered_ops()) == nodes
    assert answers(model) == before


def test_sums_of_a_fixed_size_stay() -> None:
    model = rows_and_columns(size=5)
    nodes = len(model.get_ordered_ops())
    choose_before_adding(model)
    assert len(model.get_ordered_ops()) == nodes
