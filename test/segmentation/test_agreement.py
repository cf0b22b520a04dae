"""Two networks' results for one frame: what is told of a difference, and what is put down to rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.agreement import disagreement, masks_disagreement
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

Row = tuple[int, float, int]
"""Column where the object begins, score, class."""


def output(*rows: Row) -> NetworkOutput:
    """Objects 8 pixels wide on an image of 40 x 4, its masks at half that size."""
    masks = np.zeros((len(rows), 2, 20), dtype=np.float16)
    boxes = np.zeros((len(rows), 4), dtype=np.float32)
    for mask, box, (x, _, _) in zip(masks, boxes, rows, strict=True):
        mask[:, x // 2 : x // 2 + 4], box[:] = 0.9, (x, 0, x + 8, 4)
    scores = np.array([score for _, score, _ in rows], dtype=np.float32)
    class_ids = np.array([class_id for *_, class_id in rows], dtype=np.int64)
    return NetworkOutput(boxes, scores, class_ids, masks, np.full(2, 0.5, dtype=np.float32))


TWO = ((0, 0.9, 0), (16, 0.8, 0))


@pytest.mark.parametrize(
    ("rows", "difference"),
    [
        (TWO, None),
        (TWO[::-1], None),
        (((2, 0.85, 0), (16, 0.49, 0)), None),
        ((*TWO, (30, 0.45, 0), (8, 0.0, 0)), None),
        ((TWO[0],), None),
        (((0, 0.9, 0), (16, 0.8, 0), (30, 0.9, 0)), None),
        ((), "it misses 2 of 2 objects"),
        (((8, 0.9, 0), (24, 0.8, 0)), "it misses 2 of 2 objects"),
        (((0, 0.9, 1), (16, 0.8, 1)), "it misses 2 of 2 objects"),
        (((0, 0.3, 0), (16, 0.3, 0)), "it misses 2 of 2 objects"),
        ((*TWO, (30, 0.9, 0), (24, 0.9, 0), (6, 0.9, 0)), "it invents 3 of 5 objects"),
    ],
)
def test_objects_that_either_is_sure_of_must_be_the_others(rows: Sequence[Row], difference: str | None) -> None:
    assert disagreement(output(*TWO), output(*rows)) == difference


def test_where_neither_is_sure_of_anything_they_agree() -> None:
    assert disagreement(output((0, 0.45, 0)), output()) is None


def test_a_box_without_its_mask_is_another_object() -> None:
    right, wrong = output(*TWO), output(*TWO)
    wrong.masks[:] = np.roll(wrong.masks, 4, axis=2)
    assert disagreement(right, wrong) == "it misses 2 of 2 objects"


@pytest.mark.parametrize(
    ("change_xyxy", "is_same"),
    [
        ((2, 0, 2, 0), True),  # 6 of 10 columns
        ((-3, 0, -3, 0), False),  # 5 of 11
        ((0, 1, 0, 1), True),  # 3 of 5 rows
        ((0, 2, 0, 2), False),  # 2 of 6
        ((0, 0, 8, 0), True),  # 8 of 16 columns
        ((0, 0, 9, 0), False),
        ((1, 1, -2, 0), False),  # 15 of 32 pixels
        ((60, 90, 60, 90), False),
    ],
)
def test_a_mask_without_its_box_is_another_object(change_xyxy: tuple[int, ...], is_same: bool) -> None:
    right, other = output(*TWO), output(*TWO)
    other.boxes_xyxy[:] += np.array(change_xyxy, np.float32)
    assert (disagreement(right, other) is None) is is_same


def strips(*ends: tuple[int, int]) -> Instances:
    """Instances of ten rows, from one column to before another."""
    labels = np.zeros((10, 100), dtype=np.int32)
    for label, (first, last) in enumerate(ends, start=1):
        labels[:, first:last] = label
    return Instances.from_labels(labels)


@pytest.mark.parametrize(
    ("trusted", "other", "difference"),
    [
        (((0, 40), (50, 90)), ((0, 40), (50, 90)), None),
        (((0, 40), (50, 90)), ((0, 38), (51, 90)), None),
        (((0, 40), (50, 90), (95, 98)), ((0, 40), (50, 90)), None),  # 30 of 830 pixels
        (((0, 40), (50, 90)), ((0, 40), (50, 90), (95, 98)), None),
        (((0, 40), (50, 90), (95, 100)), ((0, 40), (50, 90)), "misses 50 pixels"),
        (((0, 40), (50, 90)), ((0, 40), (50, 90), (95, 100)), "invents 50 pixels"),
        (((0, 40), (50, 90)), ((0, 40), (50, 80)), "misses 400 pixels"),
        ((), (), None),
        (((0, 40),), (), "misses 400 pixels"),
        ((), ((0, 40),), "invents 400 pixels"),
    ],
)
def test_masks_of_one_output_differ_by_little(trusted: tuple, other: tuple, difference: str | None) -> None:
    told = masks_disagreement(strips(*trusted), strips(*other))
    assert told is None if difference is None else told is not None and told.endswith(difference)
