"""The Instances type on small literal masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.core.instances import MAX_STUFF_CLASS_ID, Instances, boxes_of_masks

LABELS = np.array([[0, 7, 7, 0], [0, 7, 0, 2], [0, 0, 0, 2]], dtype=np.uint16)


def test_from_labels_takes_every_value_above_0_in_ascending_order() -> None:
    instances = Instances.from_labels(LABELS, "thing")
    assert len(instances) == 2
    assert instances.masks[0].tolist() == (LABELS == 2).tolist()
    assert instances.boxes_xyxy.tolist() == [[3, 1, 4, 3], [1, 0, 3, 2]]
    assert instances.scores.tolist() == [1, 1]
    assert list(instances.names()) == ["thing", "thing"]
    assert instances.image_size_wh == (4, 3)


def test_label_image_numbers_the_instances_from_1() -> None:
    labels = Instances.from_labels(LABELS).label_image()
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[0, 2, 2, 0], [0, 2, 0, 1], [0, 0, 0, 1]]


def test_filtering_is_indexing() -> None:
    instances = Instances.from_labels(LABELS)
    assert instances[np.array([False, True])].boxes_xyxy.tolist() == [[1, 0, 3, 2]]
    assert instances[np.array([1, 0])].boxes_xyxy.tolist() == instances.boxes_xyxy[::-1].tolist()
    assert len(instances[:1]) == 1
    assert len(instances[instances.scores > 2]) == 0


def test_bounds_are_found_or_those_that_were_given_and_indexing_keeps_these() -> None:
    instances = Instances.from_labels(LABELS)
    assert instances.bounds == ((3, 1, 1, 2), (1, 0, 2, 2))
    given = replace(instances, bounds_xywh=np.array([[0, 0, 4, 3], [1, 0, 3, 3]]))
    assert (given.bounds, given[1:].bounds) == (((0, 0, 4, 3), (1, 0, 3, 3)), ((1, 0, 3, 3),))


def test_empty_has_the_images_size_and_no_instance() -> None:
    instances = Instances.empty(3, 4, ("object",))
    assert (len(instances), instances.image_size_wh) == (0, (4, 3))
    assert instances.label_image().tolist() == np.zeros((3, 4)).tolist()
    assert len(Instances.from_labels(np.zeros((3, 4), np.uint16))) == 0


def test_box_of_an_empty_mask_is_zero_and_pixels_have_a_width() -> None:
    masks = np.zeros((2, 3, 4), dtype=bool)
    masks[1, 2, 3] = True
    assert boxes_of_masks(masks).tolist() == [[0, 0, 0, 0], [3, 2, 4, 3]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.zeros((1, 3, 4), np.uint8)}, "bool"),
        ({"masks": np.zeros((3, 4), bool)}, r"masks must be \(N, H, W\) bool, not \(3, 4\) bool"),
        ({"masks": [[[True]]]}, "masks"),
        ({"scores": np.ones(2, np.float32)}, r"scores must be \(1,\) float32, not \(2,\) float32"),
        ({"bounds_xywh": np.zeros((2, 4), np.int64)}, r"bounds_xywh must be \(1, 4\) int64, not \(2, 4\) int64"),
        ({"scores": np.ones(1)}, r"scores must be \(1,\) float32, not \(1,\) float64"),
        ({"scores": [1.0]}, "scores must be .* not list"),
        ({"scores": np.array([1.5], np.float32)}, "\\[0, 1\\]"),
        ({"scores": np.array([np.nan], np.float32)}, "\\[0, 1\\]"),
        ({"boxes_xyxy": np.zeros((1, 3), np.float32)}, "boxes_xyxy must be"),
        ({"boxes_xyxy": np.zeros((1, 4), np.int64)}, "boxes_xyxy must be .* not .* int64"),
        ({"boxes_xyxy": np.array([[0, 0, np.inf, 1]], np.float32)}, "boxes_xyxy must be finite"),
        ({"boxes_xyxy": np.array([[0, 0, np.nan, 1]], np.float32)}, "boxes_xyxy must be finite"),
        ({"boxes_xyxy": np.array([[2, 0, 1, 1]], np.float32)}, "x0 <= x1"),
        ({"class_ids": np.array([1])}, "class_ids"),
        ({"class_ids": np.array([-1])}, "class_ids"),
        ({"class_ids": np.zeros(1, np.int32)}, "class_ids must be .* not .* int32"),
        ({"class_ids": np.zeros(1, np.float32)}, "class_ids must be .* not .* float32"),
        ({"class_names": ["object"]}, "class_names must be a tuple"),
        ({"class_names": "object"}, "class_names must be a tuple"),
        ({"class_names": (1,)}, "class_names must be a tuple"),
        ({"stuff": np.zeros((4, 3), np.int32)}, "stuff must be .* not .*int32"),
        ({"stuff": np.zeros((3, 4), np.int64)}, "stuff must be .* not .*int64"),
        ({"stuff": np.full((3, 4), -2, np.int32)}, "stuff must index the 1 class names, .* or be -1: -2 to -2"),
        ({"stuff": np.ones((3, 4), np.int32)}, "stuff must index the 1 class names"),
        (
            {"stuff": np.full((3, 4), MAX_STUFF_CLASS_ID + 1, np.int32), "class_names": ("a",) * 40_000},
            "stuff must index the 40000 class names, to 32764 at most, .*: 32765 to 32765",
        ),
    ],
)
def test_what_disagrees_is_refused(change: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {
        "masks": np.zeros((1, 3, 4), bool),
        "boxes_xyxy": np.zeros((1, 4), np.float32),
        "scores": np.ones(1, np.float32),
        "class_ids": np.zeros(1, np.int64),
        "class_names": ("object",),
    }
    Instances(**fields)
    with pytest.raises(ValueError, match=message):
        Instances(**{**fields, **change})
