"""What of a model's masks is published as an object, against masks that are known."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.geometry_errors import scene_errors
from instance_seg_ros.learning.evaluation.geometry_scenes import TrueScene, geometry_scenes
from instance_seg_ros.learning.evaluation.published import Published, Shown, published, shown_by, shown_rows
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.segmentation.segmenter import Segmenter

LABELS = np.array([[0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0]], np.uint16)


@pytest.mark.parametrize(
    ("first", "last", "shown", "label"),
    [
        (2, 5, Shown.OBJECT, 1),
        (1, 6, Shown.OBJECT, 1),  # 4 of 6 pixels
        (2, 4, Shown.OBJECT, 1),  # 3 of 4
        (2, 3, Shown.PIECE, 1),  # 2 of 4
        (2, 9, Shown.SEVERAL, 1),
        (4, 7, Shown.PIECE, 1),  # half of either is not more than half
        (5, 9, Shown.OBJECT, 2),
        (10, 11, Shown.NOTHING, 0),
        (9, 11, Shown.NOTHING, 0),
    ],
)
def test_a_mask_shows_what_it_covers_more_than_half_of(first: int, last: int, shown: Shown, label: int) -> None:
    mask = np.zeros(LABELS.shape, dtype=bool)
    mask[0, first : last + 1] = True
    assert shown_by(mask, LABELS) == (shown, label)


@pytest.fixture(scope="module")
def table() -> TrueScene:
    (scene,) = geometry_scenes(1, 3, ("table",), colored=True)
    return scene


class Told:
    """Stands for a segmenter: gives masks that it is told."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def segment(self, frame: RgbdFrame) -> Instances:
        return Instances.from_labels(self.labels)


def found_in(scene: TrueScene, labels: np.ndarray) -> list[Published]:
    return published(scene, cast(Segmenter, Told(labels)), Lifter(LiftingSettings()))[0]


def test_under_true_masks_errors_are_those_of_lifting(table: TrueScene) -> None:
    found = found_in(table, table.labels)
    errors, _ = scene_errors(table, Lifter(LiftingSettings()))
    assert [each.error for each in found] == errors and len(errors) > 2
    assert [each.is_silent for each in found] == [error.verdict.is_silent for error in errors]


def test_what_is_no_object_has_no_error_and_is_wrong_in_silence_where_its_status_is_ok(table: TrueScene) -> None:
    first, second, *_ = (item.label for item in table.objects)
    joined = np.where(table.labels == second, first, table.labels)
    bare = np.zeros_like(joined)
    bare[-60:, :80] = np.where(table.labels[-60:, :80] == 0, 1, 0)
    (several,) = (each for each in found_in(table, joined) if each.shown is Shown.SEVERAL)
    (nothing,) = found_in(table, bare)
    for each in (several, nothing):
        assert each.error is None and each.is_silent == (each.status == Status.OK)
    assert nothing.shown is Shown.NOTHING and Status.FLUSH in nothing.status


def test_instances_are_counted_by_what_they_show() -> None:
    found = [
        Published(Shown.SEVERAL, Status.OK, None),
        Published(Shown.SEVERAL, Status.OCCLUDED, None),
        Published(Shown.NOTHING, Status.FLUSH, None),
    ]
    rows = {name: counts for name, *counts in shown_rows(found)}
    assert rows["all"] == [3, 1, 1] and rows["several objects as one"] == [2, 1, 1]
    assert rows["no object"] == [1, 0, 0] and rows["an object"] == [0, 0, 0]


def test_a_picture_changes_nothing_else_of_a_scene(table: TrueScene) -> None:
    (without,) = geometry_scenes(1, 3, ("table",))
    np.testing.assert_array_equal(table.frame.depth_m, without.frame.depth_m)
    np.testing.assert_array_equal(table.labels, without.labels)
    assert without.frame.color_rgb is None and table.frame.color_rgb is not None
    own = [table.frame.color_rgb[table.labels == item.label].mean(axis=0) for item in table.objects]
    assert np.ptp(own, axis=0).max() > 20  # of looks of their own
