"""Flags of what is seen in part."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform
from instance_seg_ros.core.status import PARTLY_SEEN, Status
from instance_seg_ros.lifting.masks import bounds_of, dilated
from instance_seg_ros.lifting.visibility import Visibility, Voids, amodal_xyxy, may_touch, occluders, partly_seen

NEAR_M, OBJECT_M, FAR_M = 0.5, 0.7, 0.9


def flags(place: tuple[slice, slice], beside: tuple[slice, slice] | None, beside_m: float) -> Status:
    """Of a rectangle in front of a wall, with another rectangle of some depth over the image."""
    depth_m, mask = np.full((60, 80), FAR_M, dtype=np.float32), np.zeros((60, 80), dtype=bool)
    depth_m[place], mask[place] = OBJECT_M, True
    if beside is not None:
        depth_m[beside] = beside_m
        mask[beside] &= beside_m == 0  # what hides an object takes pixels from its mask; missing depth does not
    return partly_seen(depth_m, mask, 0.008, 0.015).status


@pytest.mark.parametrize(
    ("place", "beside", "beside_m", "expected"),
    [
        (np.s_[20:40, 20:50], None, 0.0, Status.OK),
        (np.s_[20:40, 0:30], None, 0.0, Status.CUT_BY_IMAGE_BORDER),
        (np.s_[40:60, 20:50], None, 0.0, Status.CUT_BY_IMAGE_BORDER),
        (np.s_[20:40, 20:50], np.s_[0:60, 10:25], NEAR_M, Status.OCCLUDED),
        (np.s_[20:40, 20:50], np.s_[0:60, 10:25], FAR_M, Status.OK),  # it merely ends there
        (np.s_[20:40, 20:50], np.s_[0:60, 10:25], OBJECT_M, Status.OK),  # something at the same depth touches it
        (np.s_[20:40, 20:50], np.s_[0:60, 10:35], 0.0, Status.PARTLY_MEASURED),
        (np.s_[20:40, 20:50], np.s_[0:60, 10:22], 0.0, Status.OK),  # a rim without depth
        (np.s_[20:40, 0:50], np.s_[0:60, 40:60], NEAR_M, Status.CUT_BY_IMAGE_BORDER | Status.OCCLUDED),
    ],
)
def test_what_hides_a_part_is_told(
    place: tuple[slice, slice], beside: tuple[slice, slice] | None, beside_m: float, expected: Status
) -> None:
    assert flags(place, beside, beside_m) == expected
    assert expected in PARTLY_SEEN or expected == Status.OK


@pytest.mark.parametrize(
    ("beside_m", "grown_px", "expected"),
    [(NEAR_M, 0, Status.OCCLUDED), (NEAR_M, 3, Status.OCCLUDED), (FAR_M, 3, Status.OK), (OBJECT_M, 3, Status.OK)],
)
def test_a_generous_mask_does_not_hide_what_is_in_front(beside_m: float, grown_px: int, expected: Status) -> None:
    depth_m, own = np.full((60, 80), FAR_M, np.float32), np.zeros((60, 80), dtype=bool)
    own[20:40, 30:60] = True
    depth_m[own] = OBJECT_M
    depth_m[:, 10:30] = beside_m
    mask = dilated(own, 2 * grown_px + 1)
    assert partly_seen(depth_m, mask, 0.008, 0.015, kept_px=np.flatnonzero(own)).status == expected


CAMERA = Intrinsics(80, 60, 100.0, 100.0, 39.5, 29.5)
BELOW = Plane(np.array([0.0, -np.sqrt(0.5), -np.sqrt(0.5)]), 0.6)
"""Of a camera that looks down on it by 45 degrees; straight ahead it is 0.85 m away."""


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        (np.s_[10:60, 10:30], Status.PARTLY_MEASURED),  # as of a finger that is too near
        (np.s_[10:60, 28:30], Status.OK),  # a rim in the shadow of an edge
        (np.s_[0:20, 0:80], Status.OK),  # behind the object, where the plane is far: maybe the background
    ],
)
def test_what_has_no_depth_may_hide_a_part_where_the_support_would_have_some(
    beside: tuple[slice, slice], expected: Status
) -> None:
    depth_m, mask = np.full((60, 80), 1.2, np.float32), np.zeros((60, 80), dtype=bool)
    mask[20:40, 30:60] = True
    depth_m[mask] = OBJECT_M + 0.1
    depth_m[beside] = 0
    voids = Voids.of(RgbdFrame(None, depth_m, CAMERA), BELOW)
    visibility = partly_seen(depth_m, mask, 0.008, 0.015, voids=voids)
    assert visibility.status == expected and visibility.beside_void == (expected == Status.PARTLY_MEASURED)
    assert (visibility.hidden_share > 0.1) == visibility.beside_void


def test_an_empty_mask_has_no_flags() -> None:
    nothing = partly_seen(np.ones((8, 8), np.float32), np.zeros((8, 8), dtype=bool), 0.008, 0.015)
    assert (nothing.status, nothing.hidden_share, nothing.unmeasured_share) == (Status.OK, 0.0, 0.0)
    assert occluders(nothing, np.ones((2, 8, 8), dtype=bool)) == ()


def seen(
    place: tuple[slice, slice], changes: Sequence[tuple[tuple[slice, slice], float]] = (), depth_m: float = OBJECT_M
) -> Visibility:
    """Of a rectangle in front of a wall, after some depths around or in it were changed."""
    image_m, mask = np.full((60, 80), 2.0, dtype=np.float32), np.zeros((60, 80), dtype=bool)
    image_m[place], mask[place] = depth_m, True
    for where, changed_m in changes:
        image_m[where] = changed_m
    return partly_seen(image_m, mask, 0.008, 0.015)


@pytest.mark.parametrize(
    ("place", "cut"),
    [
        (np.s_[0:9, 20:23], False),  # 3 pixels at the border
        (np.s_[0:9, 20:24], True),  # 4 of them
        (np.s_[51:60, 20:24], True),
        (np.s_[20:24, 0:9], True),
        (np.s_[20:24, 71:80], True),
        (np.s_[1:10, 20:24], False),  # one pixel away from it
        (np.s_[0:59, 20:24], False),  # 4 of an outline of 120: less than 5 in 100
        (np.s_[0:30, 20:24], True),  # 4 of 64
    ],
)
def test_what_touches_the_border_with_a_few_pixels_is_whole(place: tuple[slice, slice], cut: bool) -> None:
    assert (seen(place).status == Status.CUT_BY_IMAGE_BORDER) is cut


@pytest.mark.parametrize(("columns", "partly"), [(4, False), (5, True)])  # 20 and 25 in 100
def test_a_fifth_of_the_pixels_may_have_no_depth(columns: int, partly: bool) -> None:
    visibility = seen(np.s_[20:40, 20:40], [(np.s_[20:40, 28 : 28 + columns], 0.0)])
    assert visibility.unmeasured_share == columns / 20
    assert (visibility.status == Status.PARTLY_MEASURED) is partly


@pytest.mark.parametrize(
    ("object_m", "nearer_m", "occluded"),
    [
        (0.4, 0.015, False),  # two steps of 8 mm
        (0.4, 0.017, True),
        (1.0, 0.028, False),  # two steps of 1.5 in 100 of the distance
        (1.0, 0.032, True),
        (1.0, -0.2, False),  # farther off
    ],
)
def test_two_depth_steps_nearer_is_in_front(object_m: float, nearer_m: float, occluded: bool) -> None:
    beside = (np.s_[20:40, 10:20], object_m - nearer_m)
    assert (seen(np.s_[20:40, 20:50], [beside], object_m).status == Status.OCCLUDED) is occluded


@pytest.mark.parametrize(
    ("gap_px", "rows", "occluded"),
    [(3, 20, True), (4, 20, False), (0, 1, True), (9, 20, False)],
)
def test_an_occluder_is_looked_for_a_few_pixels_beyond_the_mask(gap_px: int, rows: int, occluded: bool) -> None:
    end = 20 - gap_px
    gap, beside = (np.s_[20:40, end:20], 0.0), (np.s_[25 : 25 + rows, 5:end], NEAR_M)
    assert (seen(np.s_[20:40, 20:50], [gap, beside]).status == Status.OCCLUDED) is occluded


@pytest.mark.parametrize(
    ("place", "standing_m", "occluded"),
    [
        (np.s_[20:40, 10:20], OBJECT_M, True),
        (np.s_[20:40, 10:17], OBJECT_M, True),
        (np.s_[20:40, 5:15], OBJECT_M, False),  # 5 pixels away
        (np.s_[20:40, 10:20], FAR_M, False),  # behind it
        (np.s_[27:33, 30:40], OBJECT_M, False),  # in the middle, where it hides nothing of the outline
    ],
)
def test_what_may_stand_on_an_object_hides_it_where_they_touch(
    place: tuple[slice, slice], standing_m: float, occluded: bool
) -> None:
    depth_m, mask = np.full((60, 80), FAR_M, dtype=np.float32), np.zeros((60, 80), dtype=bool)
    depth_m[20:40, 20:50], mask[20:40, 20:50] = OBJECT_M, True
    depth_m[place], mask[place] = standing_m, False
    standing, elsewhere = np.zeros((2, 60, 80), dtype=bool)
    standing[place], elsewhere[:5] = True, True
    visibility = partly_seen(depth_m, mask, 0.008, 0.015, standing=[elsewhere, standing])
    assert (visibility.status == Status.OCCLUDED) is occluded
    assert partly_seen(depth_m, mask, 0.008, 0.015).status == Status.OK


def test_of_what_fills_the_image_nothing_is_hidden_by_what_stands_on_it() -> None:
    """It has no outline in the image."""
    everything = np.ones((8, 8), dtype=bool)
    assert partly_seen(np.ones((8, 8), np.float32), everything, 0.008, 0.015, standing=[everything]).hidden_share == 1


@pytest.mark.parametrize(
    ("bounds", "touch"),
    [
        ((0, 0, 15, 60), True),  # 5 columns between them
        ((0, 0, 14, 60), False),
        ((55, 0, 9, 60), True),
        ((56, 0, 9, 60), False),
        ((30, 45, 1, 1), True),
        ((30, 46, 1, 1), False),
        ((30, 5, 1, 9), False),
        ((25, 25, 2, 2), True),
        ((0, 0, 80, 60), True),
    ],
)
def test_masks_touch_whose_bounds_are_a_few_pixels_apart(bounds: tuple[int, int, int, int], touch: bool) -> None:
    own = (20, 20, 30, 20)
    assert may_touch(own, bounds) is may_touch(bounds, own) is touch


@pytest.mark.parametrize("seed", range(12))
def test_what_hides_a_slanting_object_is_all_that_is_nearer_than_what_is_near_of_it(seed: int) -> None:
    """Against a plain way to say so, blobs before and behind what is 10 cm farther at one side."""
    rng = np.random.default_rng(seed)
    mask = cv2.GaussianBlur(rng.random((60, 80)), (0, 0), 6.0) > 0.5
    slope_m = np.linspace(0, 0.1, 80) if seed % 2 else np.linspace(0.1, 0, 60)[:, None]
    around_m = np.where(cv2.GaussianBlur(rng.random((60, 80)), (0, 0), 5.0) > 0.51, rng.uniform(-0.08, 0.0), 0.05)
    depth_m = (OBJECT_M + slope_m + np.where(mask, 0, around_m)).astype(np.float32)
    depth_m[rng.random((60, 80)) < 0.1] = 0
    expected = []
    for row, column in np.argwhere(~mask & (depth_m > 0)):
        near = np.s_[max(row - 5, 0) : row + 6, max(column - 5, 0) : column + 6]
        own_m = depth_m[near][mask[near] & (depth_m[near] > 0)]
        if len(own_m) and depth_m[row, column] < own_m.min() - 2 * max(0.008, 0.015 * own_m.min()):
            expected.append(row * 80 + column)
    visibility = partly_seen(depth_m, mask, 0.008, 0.015)
    assert visibility.pixels == np.count_nonzero(mask)
    if Status.OCCLUDED in visibility.status:
        assert visibility.nearer_px.tolist() == expected
    else:
        assert len(expected) < 20


def test_the_hidden_share_is_that_of_the_outline() -> None:
    assert seen(np.s_[20:40, 20:50]).hidden_share == 0.0
    assert seen(np.s_[20:40, 0:31]).hidden_share == pytest.approx(
        20 / (2 * 31 + 18 - 0)
    )  # the border's side is no edge
    both = seen(np.s_[20:40, 0:31], [(np.s_[20:40, 31:41], NEAR_M)])
    assert both.hidden_share == pytest.approx((20 + 26) / 80)  # the occluder is 4 pixels wider than it is seen
    assert seen(np.s_[0:60, 0:80]).hidden_share == 1.0


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (NEAR_M, FAR_M, (1,)),
        (NEAR_M, NEAR_M, (1, 2)),
        (FAR_M, NEAR_M, (2,)),
        (FAR_M, FAR_M, ()),
        (0.0, NEAR_M, (2,)),  # without depth nobody knows
    ],
)
def test_what_lies_nearer_beside_an_object_hides_it(left: float, right: float, expected: tuple[int, ...]) -> None:
    depth_m, masks = np.full((60, 80), FAR_M, dtype=np.float32), np.zeros((4, 60, 80), dtype=bool)
    depth_m[20:40, 20:60], masks[0, 20:40, 20:60] = OBJECT_M, True
    for index, columns, own_m in ((1, np.s_[10:30], left), (2, np.s_[50:70], right), (3, np.s_[0:5], NEAR_M)):
        depth_m[10:50, columns] = own_m
        masks[0, 10:50, columns], masks[index, 10:50, columns] = False, True
    assert occluders(partly_seen(depth_m, masks[0], 0.008, 0.015), masks) == expected


@pytest.mark.parametrize(
    ("centre_m", "columns", "expected"),
    [
        # A cube of 20 cm whose front is 0.9 m away: 20 cm are 200 / 0.9 pixels there.
        ((0, 0, 1.0), np.s_[90:110], (100 - 1000 / 9, 100 - 1000 / 9, 100 + 1000 / 9, 100 + 1000 / 9)),
        ((0.1, 0, 1.0), np.s_[90:200], (90.0, 100 - 1000 / 9, 100 + 2000 / 9, 100 + 1000 / 9)),
        ((0, 0, 0.05), np.s_[90:110], None),  # around the camera
    ],
)
def test_the_whole_object_covers_its_box_and_its_mask(
    centre_m: tuple[float, float, float], columns: slice, expected: tuple[float, ...] | None
) -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[95:105, columns] = True
    box = OrientedBox(Transform(np.eye(3), np.array(centre_m)), np.full(3, 0.2))
    found = amodal_xyxy(box, bounds_of(mask), Intrinsics(200, 200, 1000.0, 1000.0, 99.5, 99.5))
    assert found is None if expected is None else found == pytest.approx(expected)
