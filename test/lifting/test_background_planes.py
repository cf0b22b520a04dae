"""Planes of the background, each rule at its limits: remnants of noise, slices through walls, samples."""

from __future__ import annotations

import numpy as np
import pytest
from level_planes import TOLERANCE_M, level

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances, boxes_of_masks
from instance_seg_ros.lifting.background_planes import (
    Level,
    _is_remnant,
    _is_slice,
    background_of,
    background_planes,
    dominant_plane,
    sampled_points_m,
    told_by_all,
)


@pytest.mark.parametrize(
    ("other", "remnant"),
    [
        (level(0.0), False),  # 6 cm below
        (level(0.045), True),  # within 2.5 tolerances, its points in between
        (level(0.035, sigma_m=0.001), False),
        (level(0.035, sigma_m=0.006), True),  # within 5 of its sigmas
        (level(0.045, tilt_deg=5.0), True),
        (level(0.045, tilt_deg=7.0), False),  # not parallel
        (level(0.045, x_m=(0.5, 1.1)), False),  # beside it: a board
    ],
    ids=["far below", "close", "not close", "close for its noise", "a little tilted", "tilted", "beside"],
)
def test_a_parallel_plane_amid_a_larger_one_is_the_tail_of_its_noise(other: Level, remnant: bool) -> None:
    scattered = level(0.06)
    rng = np.random.default_rng(0)
    few = rng.choice(len(scattered.points_m), 60, replace=False)
    assert _is_remnant(Level(scattered.plane, scattered.points_m[few], 0.001), other, TOLERANCE_M) is remnant


def walls() -> np.ndarray:
    """Points on two upright walls of 20 cm, 1 m before the camera."""
    x_m, y_m, z_m = np.meshgrid([-0.2, 0.2], np.linspace(0.3, 0.5, 21), np.linspace(0.9, 1.1, 21))
    return np.stack([x_m, y_m, z_m], axis=-1).reshape(-1, 3).astype(np.float32)


def test_a_plane_through_walls_is_a_slice_and_a_rim_is_none() -> None:
    plane = Plane(np.array([0.0, -1.0, 0.0]), 0.4)
    slice_of_walls = walls()[np.abs(plane.height_m(walls())) < 0.006]
    rim = np.random.default_rng(0).uniform([-0.23, 0.399, 0.9], [-0.2, 0.401, 1.1], (100, 3)).astype(np.float32)
    assert _is_slice(Level(plane, slice_of_walls, 0.002), walls(), TOLERANCE_M)
    beside_walls = np.concatenate([walls() + np.float32([0, 0.12, 0]), rim])
    assert not _is_slice(Level(plane, rim, 0.001), beside_walls, TOLERANCE_M)
    assert not _is_slice(Level(plane, walls(), 0.002), walls(), TOLERANCE_M), "a large one"


def test_depth_without_noise_makes_no_slice_of_a_board() -> None:
    """Its points scatter by what single precision rounds them to."""
    tilted = level(0.0, tilt_deg=7.0)
    board = Level(tilted.plane, tilted.points_m, 1e-9)
    assert not _is_slice(board, np.concatenate([board.points_m, *[walls()] * 3]), TOLERANCE_M)


@pytest.mark.parametrize(
    ("up", "found"),
    [
        (None, {"floor", "wall"}),
        ([0.0, -1.0, 0.0], {"floor"}),
        ([0.0, -np.cos(0.5), -np.sin(0.5)], {"floor"}),  # a slope of 29 degrees
        ([0.0, -np.cos(0.7), -np.sin(0.7)], set()),
        ([0.0, 1.0, 0.0], set()),  # upside down
        ([-1.0, 0.0, 0.0], {"wall"}),
    ],
)
def test_where_up_is_known_nothing_steep_is_a_support(up: list[float] | None, found: set[str]) -> None:
    rng = np.random.default_rng(0)
    of_wall_m = rng.uniform([0.299, 0.0, 0.8], [0.301, 0.49, 1.2], (1500, 3)).astype(np.float32)
    background_m = np.concatenate([of_wall_m, level(0.0).points_m])
    levels = background_planes(background_m, TOLERANCE_M, None if up is None else np.array(up))
    assert {"floor" if abs(own.plane.normal[1]) > 0.99 else "wall" for own in levels} == found
    assert len(levels) == len(found)


@pytest.mark.parametrize(("tolerance_m", "share"), [(0.008, 0.6), (0.008, 0.3), (0.002, 0.6)])
@pytest.mark.parametrize("tilt_deg", [0.0, 30.0, 80.0])
def test_the_plane_with_the_most_points_is_found_to_a_tenth_of_its_noise(
    tolerance_m: float, share: float, tilt_deg: float
) -> None:
    rng, true = np.random.default_rng(1), level(0.0, tilt_deg=tilt_deg)
    own_m = np.concatenate([true.points_m] * 4) + rng.normal(0, 0.1 * tolerance_m, (2000, 1)) * true.plane.normal
    others_m = rng.uniform([-0.3, -0.4, 0.8], [0.3, 0.4, 1.2], (int(2000 * (1 - share) / share), 3))
    points_m = np.concatenate([own_m, others_m]).astype(np.float32)
    plane, inliers = dominant_plane(points_m, tolerance_m)
    assert np.degrees(np.arccos(min(1.0, float(plane.normal @ true.plane.normal)))) < 0.1
    assert plane.offset_m == pytest.approx(true.plane.offset_m, abs=0.03 * tolerance_m)
    assert inliers[: len(own_m)].mean() > 0.95  # 98.8 % of a normal distribution lie within 2.5 sigma
    assert inliers[len(own_m) :].mean() < 0.05


@pytest.mark.parametrize("from_m", [-0.2, 0.0, 0.15])
@pytest.mark.parametrize("thick_m", [0.006, 0.009, 0.013, 0.02])
def test_a_thin_board_and_the_table_beside_it_are_two_levels_and_none_aslant_through_both(
    thick_m: float, from_m: float
) -> None:
    rng = np.random.default_rng(0)
    sides = [level(0.0, x_m=(-0.3, from_m)), level(thick_m, x_m=(from_m, 0.3))]
    counts = [round(2000 * (from_m + 0.3) / 0.6), round(2000 * (0.3 - from_m) / 0.6)]
    own_m = [side.points_m[rng.integers(500, size=count)] for side, count in zip(sides, counts, strict=True)]
    points_m = np.concatenate(own_m) + rng.normal(0, 0.0005, (2000, 1)) * [0, 1, 0]
    levels = background_planes(points_m.astype(np.float32), TOLERANCE_M, None)
    normals = np.array([own.plane.normal for own in levels])
    assert np.degrees(np.arccos(np.minimum(1, -normals[:, 1]))).max() < 0.2
    assert sorted(own.plane.offset_m for own in levels) == pytest.approx([0.5 - thick_m, 0.5], abs=0.0005)


@pytest.mark.parametrize("thick_m", [0.02, 0.022])
def test_a_board_is_told_from_a_table_of_which_as_much_is_seen(thick_m: float) -> None:
    """The edge between them runs across the view; a plane aslant through both is within 0.6 of its own scatter."""
    rng = np.random.default_rng(0)
    xz_m = rng.uniform([-0.3, 0.8], [0.3, 1.2], (2000, 2))
    is_board = 0.3 * xz_m[:, 0] + xz_m[:, 1] > 0.98
    y_m = 0.5 - thick_m * is_board + rng.normal(0, 0.0005, 2000)
    points_m = np.column_stack([xz_m[:, 0], y_m, xz_m[:, 1]]).astype(np.float32)
    levels = background_planes(points_m, TOLERANCE_M, None)
    assert sorted(own.plane.offset_m for own in levels) == pytest.approx([0.5 - thick_m, 0.5], abs=0.0005)


@pytest.mark.parametrize(
    ("around", "tilt_deg"),
    [
        (level(0.0), 0.0),
        (level(0.0, tilt_deg=0.2), 0.2),
        (level(-0.006), 0.8),  # the table under a board: too far from it
        (level(0.0, tilt_deg=6.0), 0.8),  # another table
        (level(0.0, x_m=(0.0, 0.01)), 0.8),  # hardly any of it
    ],
    ids=["all", "tilted", "below", "another", "hardly any"],
)
def test_all_of_a_plane_tells_how_it_is_tilted_and_what_is_near_the_objects_how_high_it_is(
    around: Level, tilt_deg: float
) -> None:
    """What is near them is 12 cm wide, and 0.3 mm too high and turned by 0.8 degrees by errors of the camera."""
    bent = level(0.0003, tilt_deg=0.8, x_m=(-0.06, 0.06))
    noise_m = np.random.default_rng(0).normal(0, 0.0008, (len(bent.points_m), 1)).astype(np.float32)
    near = Level(bent.plane, bent.points_m + noise_m * bent.plane.normal.astype(np.float32), 0.0008)
    every = 60 if around.points_m[:, 0].max() < 0.02 else 1
    told = told_by_all(near, around.points_m[::every].copy(), TOLERANCE_M).plane
    assert np.degrees(np.arccos(-told.normal[1])) == pytest.approx(tilt_deg, abs=0.05)
    assert told.height_m(np.array([[0, 0.5, 1]]))[0] == pytest.approx(-0.0003, abs=1e-4)


@pytest.mark.parametrize(
    "points_m", [[(0, 0, 1)] * 9, [(0.01 * x, 0, 1) for x in range(9)]], ids=["one place", "a line"]
)
def test_points_on_a_line_have_no_plane(points_m: list[tuple[float, float, float]]) -> None:
    assert not dominant_plane(np.array(points_m, dtype=np.float32), 0.01)[1].any()


def test_background_is_taken_around_boxes_beside_masks_where_there_is_depth() -> None:
    """Against a plain way to say so, of two masks of which one meets the image's border."""
    depth_m = np.ones((123, 162), dtype=np.float32)
    depth_m[40:60, 60:80] = 0
    masks = np.zeros((2, 123, 162), dtype=bool)
    masks[0, 50:75, 41:66] = True
    masks[1, 110:, 130:] = True
    frame = RgbdFrame(None, depth_m, Intrinsics(162, 123, 150.0, 150.0, 80.0, 61.0))
    names = ("object",)
    instances = Instances(masks, boxes_of_masks(masks), np.ones(2, np.float32), np.zeros(2, np.int64), names)
    expected = []
    for row in range(0, 123, 4):
        for column in range(0, 162, 4):
            around = masks[:, max(row - 4, 0) : row + 5 : 4, max(column - 4, 0) : column + 5 : 4]
            near = any(
                x0 - 0.5 * max(x1 - x0, y1 - y0) - 32 < column < x1 + 0.5 * max(x1 - x0, y1 - y0) + 32
                and y0 - 0.5 * max(x1 - x0, y1 - y0) - 32 < row < y1 + 0.5 * max(x1 - x0, y1 - y0) + 32
                for x0, y0, x1, y1 in instances.boxes_xyxy
            )
            if near and depth_m[row, column] > 0 and not around.any():
                expected.append((row, column))
    assert 0 < len(expected) < (depth_m[::4, ::4] > 0).sum() - masks[:, ::4, ::4].sum()
    near_px, farther_px = background_of(frame, instances)
    found = near_px.T.tolist()
    assert {tuple(own) for own in found} >= set(expected)
    beyond = {tuple(own) for own in found} - set(expected)  # what is near is told in whole strides
    assert len(beyond) < 0.1 * len(expected)
    assert all(depth_m[row, column] > 0 and not masks[:, row, column].any() for row, column in beyond)
    everywhere = [
        (row, column)
        for row in range(0, 123, 4)
        for column in range(0, 162, 4)
        if depth_m[row, column] > 0
        and not masks[:, max(row - 4, 0) : row + 5 : 4, max(column - 4, 0) : column + 5 : 4].any()
    ]
    assert sorted(found + farther_px.T.tolist()) == [list(own) for own in everywhere]
    assert farther_px[0].tolist() == sorted(farther_px[0].tolist()), "row by row"


@pytest.mark.parametrize("count", [1, 30, 2000, 2001, 4567])
def test_points_are_taken_evenly_from_the_first_to_the_last(count: int) -> None:
    depth_m = np.arange(1, 5001, dtype=np.float32).reshape(50, 100) * 0.001
    frame = RgbdFrame(None, depth_m, Intrinsics(100, 50, 100.0, 100.0, 50.0, 25.0))
    pixels = np.stack(np.nonzero(depth_m))[:, :count]
    chosen = np.linspace(0, count - 1, min(count, 2000)).astype(int)
    np.testing.assert_array_equal(sampled_points_m(frame, pixels)[:, 2], depth_m[tuple(pixels[:, chosen])])
