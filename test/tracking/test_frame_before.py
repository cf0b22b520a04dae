"""What masks of two frames have in common, and which pieces are the largest."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances, boxes_of_masks
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.tracking.frame_before import FrameBefore, Shared
from instance_seg_ros.tracking.sightings import Sightings, sightings_of

CAMERA = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
HERE = Transform.identity()
ODD_BOUNDS = (slice(101, 140), slice(33, 72)), (slice(101, 120), slice(60, 61)), (slice(130, 240), slice(51, 320))


@pytest.mark.parametrize(
    ("both", "before", "now", "smaller"),
    [
        ([[100]], [100], [100], [[False]]),
        ([[60, 40]], [100], [60, 40], [[False, True]]),  # a mask broke
        ([[50, 0], [0, 30]], [100, 30], [50, 200], [[False, False], [False, False]]),  # each on its own
        ([[60, 20]], [100], [60, 200], [[False, False]]),  # the other is elsewhere for the most part
    ],
)
def test_smaller_pieces(both: ArrayLike, before: ArrayLike, now: ArrayLike, smaller: ArrayLike) -> None:
    shared = Shared(*(np.asarray(value, dtype=np.float64) for value in (both, before, now)))
    np.testing.assert_array_equal(shared.smaller_pieces(), smaller)


@pytest.mark.parametrize(
    ("both", "before", "often", "smaller"),
    [
        ([[60], [40]], [60, 40], [9, 9], [[False], [True]]),
        ([[60], [40]], [60, 40], [9, 20], [[False], [True]]),
        ([[55], [45]], [55, 45], [9, 20], [[True], [False]]),  # about as large: the older one
        ([[60], [40]], [60, 40], [3, 20], [[True], [False]]),  # a hand that came in beside an object
        ([[60], [10]], [60, 40], [3, 20], [[False], [False]]),  # of which it has little
    ],
)
def test_smaller_parts_of_masks_that_ran_together(
    both: ArrayLike, before: ArrayLike, often: ArrayLike, smaller: ArrayLike
) -> None:
    shared = Shared(*(np.asarray(value, dtype=np.float64) for value in (both, before, [100])))
    np.testing.assert_array_equal(shared.smaller_parts(np.asarray(often)), smaller)


def seen(columns: tuple[int, ...], depth_m: float = 1.0) -> tuple[RgbdFrame, Instances, Sightings]:
    """Squares of 40 px in a row on a wall; without 3D, but measured."""
    frame = RgbdFrame(None, np.full((240, 320), depth_m, dtype=np.float32), CAMERA)
    labels = np.zeros((240, 320), dtype=np.uint16)
    for label, column in enumerate(columns, start=1):
        labels[100:140, column : column + 40] = label
    instances = Instances.from_labels(labels)
    lifted = Lifter(LiftingSettings(min_points=5000)).lift(frame, instances)
    return frame, instances, sightings_of(frame, instances, lifted, all_masks=False)


IDS = np.array([7, 8])


def test_each_kept_pixel_has_the_label_of_the_last_mask_that_holds_it() -> None:
    masks = np.zeros((3, 240, 320), dtype=bool)
    for mask, (rows, columns) in zip(masks, ODD_BOUNDS, strict=True):
        mask[rows, columns] = True
    scores, class_ids = np.ones(3, np.float32), np.zeros(3, np.int64)
    instances = Instances(masks, boxes_of_masks(masks), scores, class_ids, ("object",))
    frame = RgbdFrame(None, np.ones((240, 320), np.float32), CAMERA)
    before = FrameBefore.of(frame, instances, np.array([7, 8, 9]), HERE, 0)
    expected = instances.label_image()[::2, ::2]
    np.testing.assert_array_equal(before.labels, expected)
    np.testing.assert_array_equal(before.pixels, 4 * np.bincount(expected.ravel(), minlength=4)[1:])


def test_a_frame_that_showed_what_is_known_by_other_ids_showed_these() -> None:
    frame, instances, sightings = seen((50, 150))
    before = FrameBefore.of(frame, instances, np.array([3, 4]), HERE, 0).renamed({4: 1, 7: 2})
    shared = before.shared(np.array([3, 1, 4]), sightings)
    np.testing.assert_array_equal(shared.both > 0, [[True, False], [False, True], [False, False]])


@pytest.mark.parametrize(
    ("columns", "depth_m", "T_map_camera", "iou"),
    [
        ((100, 200), 1.0, HERE, [[1, 0], [0, 1]]),
        ((120, 200), 1.0, HERE, [[1 / 3, 0], [0, 1]]),
        ((80, 180), 1.0, Transform(np.eye(3), np.array([20 / 300, 0, 0])), [[1, 0], [0, 1]]),  # the camera moved
        ((100, 200), 0.9, HERE, [[0, 0], [0, 0]]),  # something nearer, as a hand, is there
    ],
)
def test_masks_overlap_where_the_same_surface_is_seen(
    columns: tuple[int, ...], depth_m: float, T_map_camera: Transform, iou: ArrayLike
) -> None:
    frame, instances, _ = seen((100, 200))
    before = FrameBefore.of(frame, instances, IDS, HERE, 1)
    now = seen(columns, depth_m)[2].moved(T_map_camera)
    np.testing.assert_allclose(before.shared(IDS, now).iou, iou, atol=0.06)
    # Tracks that the frame before did not show have nothing in common with anything.
    np.testing.assert_allclose(before.shared(np.array([9, 8]), now).iou, [[0, 0], iou[1]], atol=0.06)  # type: ignore[index]
    T_new_map = Transform.from_quaternion([0.0, 0.0, 0.6, 0.8], np.array([0.3, -0.2, 1.0]))
    moved = before.moved(T_new_map, 2)
    assert moved.map_number == 2
    np.testing.assert_allclose(moved.shared(IDS, now.moved(T_new_map)).iou, iou, atol=0.06)


def test_nothing_in_common_with_nothing() -> None:
    frame, instances, now = seen((100, 200))
    none = np.zeros(0, dtype=np.int64)
    assert FrameBefore.of(frame, instances[none], none, HERE, 1).shared(none, now).both.shape == (0, 2)
    assert FrameBefore.of(frame, instances, IDS, HERE, 1).shared(IDS, seen(())[2]).both.shape == (2, 0)
