"""Depth steps and what of a mask is on them, in closed form and by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from instance_seg_ros.lifting.depth_steps import (
    depth_of,
    depth_step_pixels,
    walls_beside_steps,
    well_inside,
    without_strays,
)
from instance_seg_ros.lifting.masks import dilated, eroded


@pytest.mark.parametrize(
    ("row", "step_pixels"),
    [
        ([1.0, 1.0, 1.0, 1.0], [0, 0, 0, 0]),
        ([1.0, 1.0, 1.1, 1.1], [0, 1, 1, 0]),
        ([1.0, 1.007, 1.014, 1.021], [0, 0, 0, 0]),  # a slope below the tolerance
        ([1.0, 0.0, 1.1, 1.1], [0, 0, 0, 0]),  # nothing measured between: no step is known
        ([4.0, 4.05, 4.05, 4.2], [0, 0, 1, 1]),  # at 4 m the tolerance is 1.5 %, 6 cm
    ],
)
def test_steps_are_jumps_between_measured_neighbours(row: list[float], step_pixels: list[int]) -> None:
    row_image = np.array([row], dtype=np.float32)
    assert depth_step_pixels(row_image, 0.008, 0.015).astype(int).tolist() == [step_pixels]
    assert depth_step_pixels(row_image.T.copy(), 0.008, 0.015).astype(int).T.tolist() == [step_pixels]


def test_the_end_of_a_row_and_the_start_of_the_next_are_no_neighbours() -> None:
    slope_m = np.tile(np.linspace(0.5, 0.6, 40, dtype=np.float32), (5, 1))
    assert not depth_step_pixels(slope_m, 0.008, 0.015).any()


@pytest.mark.parametrize(
    ("erosion_px", "least_share", "left_px"),
    [(0, 0.3, 0), (1, 0.3, 1), (2, 0.3, 2), (2, 0.9, 1), (2, 0.99, 0)],
    ids=["not eroded", "by one", "by two", "eased once", "eased twice"],
)
def test_a_core_is_as_far_inside_as_the_size_of_a_mask_allows(
    erosion_px: int, least_share: float, left_px: int
) -> None:
    inside = np.zeros((40, 50), dtype=bool)
    inside[10:, 5:45] = True  # nothing is taken off at the lower border
    core = well_inside(np.ones((40, 50), np.float32), inside, (0.008, 0.015), erosion_px, least_share)
    np.testing.assert_array_equal(core, eroded(inside, 2 * left_px + 1))


@pytest.mark.parametrize("seed", range(4))
def test_a_core_is_away_from_depth_steps_and_from_what_is_not_measured(seed: int) -> None:
    """By OpenCV's filters, over masks and steps of any shape."""
    rng = np.random.default_rng(seed)
    inside = cv2.GaussianBlur(rng.random((60, 80)), (0, 0), 4.0) > 0.48
    depth_m = np.where(cv2.GaussianBlur(rng.random((60, 80)), (0, 0), 6.0) > 0.5, 0.8, 1.0).astype(np.float32)
    depth_m[rng.random((60, 80)) < 0.05] = 0
    steps = depth_step_pixels(depth_m, 0.008, 0.015)
    expected = eroded(inside, 5) & (depth_m > 0) & ~dilated(steps, 3)
    assert 100 < np.count_nonzero(expected) < np.count_nonzero(eroded(inside, 5))
    np.testing.assert_array_equal(well_inside(depth_m, inside, (0.008, 0.015), 2, 0.0), expected)


def test_of_a_mask_with_nothing_away_from_steps_those_pixels_are_left_that_are_on_none() -> None:
    depth_m = np.tile(np.array([1.0, 1.0, 1.0, 1.5], dtype=np.float32), (6, 3))
    core = well_inside(depth_m, np.ones((6, 12), dtype=bool), (0.008, 0.015), 2, 0.3)
    np.testing.assert_array_equal(core, ~depth_step_pixels(depth_m, 0.008, 0.015))
    assert core.any()


@pytest.mark.parametrize("count", [0, 1, 2, 99, 100])
def test_the_depth_of_pixels_is_their_median_and_how_far_the_farthest_is_from_it(count: int) -> None:
    depth_m = np.random.default_rng(count).uniform(0.5, 2.0, (10, 20)).astype(np.float32)
    pixels = np.zeros((10, 20), dtype=bool)
    pixels.reshape(-1)[np.random.default_rng(1).permutation(200)[:count]] = True
    own_m = depth_m[pixels].astype(np.float64)
    expected = (count, np.median(own_m), np.abs(own_m - np.median(own_m)).max()) if count else (0, 0.0, 0.0)
    assert depth_of(depth_m, pixels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("at_m", "pixels", "left"),
    [
        (0.57, 4, 0),  # a step drawn out to what is behind: 4 pixels of 2,004
        (0.552, 4, 0),
        (0.57, 40, 40),  # so many are a side of it
        (0.547, 4, 4),  # less than a depth step
        (0.47, 4, 4),  # in front of it: a knob, which a gripper would run into
    ],
)
def test_a_few_pixels_far_behind_all_others_are_left_out(at_m: float, pixels: int, left: int) -> None:
    depth_m = np.full((40, 60), 0.5, dtype=np.float32)
    depth_m[:, :50] += np.linspace(0, 0.04, 50, dtype=np.float32)
    kept = np.zeros((40, 60), dtype=bool)
    kept[:, :50] = True
    depth_m[:pixels, 50], kept[:pixels, 50] = at_m, True
    remaining = without_strays(depth_m, kept, (0.008, 0.015))
    assert np.count_nonzero(remaining[:, 50]) == left
    assert np.array_equal(remaining[:, :50], kept[:, :50])


@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_of_hardly_any_pixels_none_is_left_out(pixels: int) -> None:
    depth_m, kept = np.full((4, 4), 0.5, dtype=np.float32), np.zeros((4, 4), dtype=bool)
    kept[0, :pixels], depth_m[0, 0] = True, 0.8
    assert np.array_equal(without_strays(depth_m, kept, (0.008, 0.015)), kept)


def test_walls_are_pixels_on_steps_that_are_as_far_off_as_some_beside_them() -> None:
    """A rim two pixels wide around a floor, and, between floor and rim to the left, pixels that mix both."""
    depth_m = np.full((12, 12), 0.7, np.float32)
    inside = np.zeros((12, 12), bool)
    inside[1:11, 1:11] = True
    depth_m[1:11, 1:11] = 0.6
    depth_m[3:9, 3:9] = 0.69
    depth_m[3:9, 3] = [0.61, 0.66, 0.63, 0.67, 0.62, 0.65]
    depth_m[5, 10] = 0.8  # behind all, on the border of the mask
    kept = np.zeros((12, 12), bool)
    kept[4:8, 4:8] = True
    count, walls = walls_beside_steps(depth_m, inside, kept, (0.008, 0.015))
    expected = inside & ~kept
    expected[[1, 10]] = expected[:, [1, 10]] = False  # the border of the mask
    expected[3:9, 3] = False
    assert count == 16
    np.testing.assert_array_equal(walls, expected)
