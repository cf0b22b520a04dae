"""Depth steps and local planes against closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.lifting.surface import (
    depth_of,
    depth_step_pixels,
    dilated,
    eroded,
    fit_windows,
    grown_over_surface,
    kept_points,
    rim_beside,
    walls_beside_steps,
    well_inside,
    window_radius_px,
    without_strays,
)

CAMERA = Intrinsics(60, 40, 80.0, 90.0, 29.5, 19.5)


def depth_of_plane(normal: np.ndarray, distance_m: float) -> np.ndarray:
    """Depth (40, 60) of the plane normal . p = distance."""
    rays = np.concatenate([CAMERA.rays, np.ones((40, 60, 1), np.float32)], axis=-1)
    return (distance_m / (rays @ normal)).astype(np.float32)


@kernel("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", "int64")
def _fit(depth_m: np.ndarray, keep: np.ndarray, wanted: np.ndarray, radius_px: int) -> np.ndarray:
    return fit_windows(depth_m, keep, wanted, radius_px)


def planes_everywhere(depth_m: np.ndarray, keep: np.ndarray, radius_px: int) -> np.ndarray:
    return _fit(depth_m, keep, np.ones(keep.shape, dtype=bool), radius_px)


def depth_of_planes(planes: np.ndarray) -> np.ndarray:
    """The depth of each plane (3, h, w) at its pixel, metres; 0 where there is none."""
    valid = planes[0] > 0
    return np.where(valid, 1 / np.where(valid, planes[0], 1), 0)


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


@pytest.mark.parametrize("side_px", [1, 3, 7])
def test_images_grow_and_shrink_with_nothing_taken_off_at_the_border(side_px: int) -> None:
    rng = np.random.default_rng(side_px)
    mask, labels = rng.random((12, 17)) > 0.2, rng.integers(0, 900, (12, 17)).astype(np.int16)
    margin = side_px // 2
    for image, function, of_window, beyond in (
        (mask, dilated, np.max, False),
        (labels, dilated, np.max, 0),
        (mask, eroded, np.min, True),
    ):
        padded = np.pad(image, margin, constant_values=beyond)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side_px, side_px))
        result = function(image, side_px)
        assert result.dtype == image.dtype
        np.testing.assert_array_equal(result, of_window(windows, axis=(2, 3)))


@pytest.mark.parametrize("normal", [[0, 0, -1], [0.5, 0.2, -1], [-0.8, 0.6, -1], [0, -2, -1]])
def test_a_plane_is_fitted_exactly_and_its_normal_looks_at_the_camera(normal: list[float]) -> None:
    unit = np.array(normal) / np.linalg.norm(normal)
    depth_m = depth_of_plane(unit, -0.8 * abs(unit[2]))
    keep = np.ones_like(depth_m, dtype=bool)
    planes = planes_everywhere(depth_m, keep, 3)
    assert (planes[0] > 0).all()
    np.testing.assert_allclose(depth_of_planes(planes), depth_m, rtol=1e-4)
    kept = kept_points(depth_m, keep, 3, (0.004, 0.007), (0, 0), CAMERA, np.zeros_like(keep))
    assert len(kept.normals) > 500 and (kept.normals @ unit).min() > np.cos(np.radians(1))


def test_noise_is_averaged_out_without_a_bias() -> None:
    unit = np.array([0.0, -0.6, -0.8])
    truth_m = depth_of_plane(unit, -0.5)
    noisy_m = truth_m + np.random.default_rng(0).normal(0, 0.002, truth_m.shape).astype(np.float32)
    error_m = depth_of_planes(planes_everywhere(noisy_m, np.ones(truth_m.shape, dtype=bool), 5)) - truth_m
    assert abs(error_m.mean()) < 0.0001
    assert error_m[8:-8, 8:-8].std() < 0.0004


def test_the_fit_says_what_depth_a_pixel_that_was_not_kept_would_have() -> None:
    unit = np.array([0.0, -0.6, -0.8])
    depth_m = depth_of_plane(unit, -0.5)
    keep = np.ones(depth_m.shape, dtype=bool)
    keep[:, 30:] = False
    planes = planes_everywhere(np.where(keep, depth_m, 9.0).astype(np.float32), keep, 4)
    np.testing.assert_allclose(depth_of_planes(planes)[:, 31], depth_m[:, 31], rtol=1e-3)
    assert not planes[0][:, 36:].any()
    assert (depth_of_planes(planes)[:, 36:] == 0).all()


@pytest.mark.parametrize(
    "columns",
    [[5], [0, -1], [4, 5, 6, 7], [5, 8, 12], [5, 9, 13], [0, 3, 20, 24, 28, -1]],
    ids=["one", "ends", "beside each other", "a radius apart", "farther apart", "some of each"],
)
def test_planes_are_fitted_where_they_are_wanted(columns: list[int]) -> None:
    depth_m = depth_of_plane(np.array([0.0, -0.6, -0.8]), -0.5)
    keep, wanted = np.random.default_rng(0).random(depth_m.shape) < 0.8, np.zeros(depth_m.shape, dtype=bool)
    wanted[10:20, columns] = True
    everywhere, some = planes_everywhere(depth_m, keep, 3), _fit(depth_m, keep, wanted, 3)
    np.testing.assert_array_equal(some[0] > 0, wanted)
    np.testing.assert_allclose(some[:, wanted], everywhere[:, wanted], rtol=1e-5, atol=1e-9)


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


def test_too_few_or_collinear_pixels_give_no_plane() -> None:
    depth_m, keep = np.full((20, 20), 0.5, np.float32), np.zeros((20, 20), bool)
    keep[10, :] = True
    assert not planes_everywhere(depth_m, keep, 3)[0].any()
    keep[:] = False
    assert not planes_everywhere(depth_m, keep, 3)[0].any()


@pytest.mark.parametrize(("depth_m", "radius_px"), [(0.1, 8), (0.7, 6), (1.0, 4), (10.0, 3)])
def test_the_window_shrinks_with_distance(depth_m: float, radius_px: int) -> None:
    assert window_radius_px(depth_m, 600.0) == radius_px


def test_kept_points_lie_on_their_planes_and_their_outline_is_spread_evenly() -> None:
    unit = np.array([0.0, -0.6, -0.8])
    depth_m = depth_of_plane(unit, -0.5)
    noisy_m = depth_m + np.random.default_rng(0).normal(0, 0.001, depth_m.shape).astype(np.float32)
    noisy_m[:, 50] += 0.1  # far behind, inside the mask
    inside = np.zeros(depth_m.shape, dtype=bool)
    inside[5:35, 4:56] = True
    core = inside & (np.arange(60) < 40)
    corner_px, camera = (100, 200), Intrinsics(640, 480, 80.0, 90.0, 129.5, 219.5)
    grown = grown_over_surface(noisy_m, inside, core, 5, (0.004, 0.007))
    kept = kept_points(noisy_m, grown, 5, (0.004, 0.007), corner_px, camera, ~inside)
    rows, columns = np.divmod(kept.pixels, 640)
    here = rows - 200, columns - 100
    assert inside[here].all() and len(kept.pixels) > np.count_nonzero(core)
    assert not (here[1] == 50).any() and here[1].max() >= 43
    np.testing.assert_array_equal(kept.points_m[:, 2], noisy_m[here])
    off_m, *smooth_off_m = (
        np.median(abs(points_m @ unit + 0.5)) for points_m in (kept.points_m, kept.few_m, kept.outline_m)
    )
    assert max(smooth_off_m) < off_m / 2
    rays = (columns - 129.5) / 80, (rows - 219.5) / 90
    np.testing.assert_allclose(kept.points_m[:, :2].T / kept.points_m[:, 2], rays, atol=1e-6)
    assert (kept.normals @ unit).min() > 0.98
    assert 500 < len(kept.outline_m) < 800
    assert 200 < len(kept.few_m) <= 300
    few = slice(None, None, -(-len(kept.pixels) // len(kept.few_m)))  # on the same lines of sight
    np.testing.assert_allclose(kept.few_m[:, :2] / kept.few_m[:, 2:], np.array(rays).T[few], atol=1e-6)
    of_outline = kept.outline_m[:, 1::-1] / kept.outline_m[:, 2:] * [90, 80] + [19.5, 29.5]
    of_rows, of_columns = (np.bincount(each) for each in np.rint(of_outline).astype(int).T)
    assert (of_rows[6:34] > 10).all() and (of_columns[5:44] > 8).all()


@pytest.mark.parametrize("side_px", [20, 44, 60, 110])
@pytest.mark.parametrize("first", [0, 1])
def test_masks_like_chessboards_have_an_outline(side_px: int, first: int) -> None:
    depth_m = np.full((side_px, side_px), 0.5, dtype=np.float32)
    rows, columns = np.indices(depth_m.shape)
    mask = (rows + columns) % 2 == first
    camera = Intrinsics(640, 480, 80.0, 90.0, 129.5, 219.5)
    kept = kept_points(depth_m, mask, 3, (0.004, 0.007), (100, 200), camera, np.zeros_like(mask))
    assert len(kept.pixels) == side_px**2 // 2
    assert min(len(kept.pixels), 400) <= len(kept.outline_m) <= 800


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


SLANTED, GRAZING = np.array([-0.6, 0.0, -0.8]), np.array([4.0, 0.0, -1.0]) / 17**0.5
"""Normals of planes on which neighbouring columns are 1.7 mm apart, and 5 mm."""


def columns_of(points_m: np.ndarray) -> list[int]:
    return np.unique(np.rint(points_m[:, 0] / points_m[:, 2] * CAMERA.fx + CAMERA.cx)).astype(int).tolist()


@pytest.mark.parametrize(
    ("unit", "kept_until", "mask_until", "depth_beyond", "rim"),
    [
        (SLANTED, 28, 28, False, []),
        (SLANTED, 27, 28, False, []),  # the last pixels of a mask are not trusted
        (SLANTED, 25, 28, False, [25, 26]),
        (SLANTED, 20, 28, False, [20, 21]),  # 4 mm
        (SLANTED, 25, 28, True, []),  # something else was measured there
        (GRAZING, 28, 34, False, []),
    ],
)
def test_a_surface_goes_on_a_little_in_pixels_of_the_mask_without_depth(
    unit: np.ndarray, kept_until: int, mask_until: int, depth_beyond: bool, rim: list[int]
) -> None:
    offset_m = 0.1 * unit[2]
    depth_m = depth_of_plane(unit, offset_m)
    inside, kept = np.zeros((2, *depth_m.shape), dtype=bool)
    inside[5:35, 4:mask_until] = kept[5:35, 4:kept_until] = True
    if not depth_beyond:
        depth_m[~kept] = 0
    found = rim_beside(depth_m, inside, kept, 0.1, CAMERA.fx)
    rim_m = kept_points(depth_m, kept, 5, (0.004, 0.007), (0, 0), CAMERA, found).rim_m
    assert columns_of(rim_m) == rim
    assert len(rim_m) == 28 * len(rim)
    np.testing.assert_allclose(rim_m @ unit, offset_m, atol=1e-5)


def test_between_an_edge_and_the_background_under_a_generous_mask_nothing_goes_on() -> None:
    depth_m = np.zeros((40, 60), np.float32)
    depth_m[5:35, 4:20], depth_m[5:35, 23:40] = 0.1, 0.12
    inside = np.zeros(depth_m.shape, dtype=bool)
    inside[5:35, 4:40] = True
    found = rim_beside(depth_m, inside, depth_m > 0, 0.1, CAMERA.fx)
    assert np.unique(np.nonzero(found)[1]).tolist() == [20, 21, 22]
    assert columns_of(kept_points(depth_m, depth_m > 0, 5, (0.004, 0.007), (0, 0), CAMERA, found).rim_m) == []


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
