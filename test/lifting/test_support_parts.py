"""The parts of finding supports, each at its limits: remnants of noise, families of planes, free space below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances, boxes_of_masks
from instance_seg_ros.lifting.rectangle import convex_hull
from instance_seg_ros.lifting.support import (
    Support,
    _background_near,
    _background_planes,
    _between_objects,
    _Body,
    _free_below,
    _highest_below,
    _is_remnant,
    _is_slice,
    _is_tilted,
    _Level,
    _points_m,
    _Scene,
    _supporting_family,
    _top_below,
    dominant_plane,
)

TOLERANCE_M = 0.008
UP_BASIS = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Columns: to the right of the image, away from the camera, and up in the image."""


def level(
    height_m: float, sigma_m: float = 0.001, tilt_deg: float = 0.0, x_m: tuple[float, float] = (-0.3, 0.3)
) -> _Level:
    """A level plane so high over the point 1 m in front of the camera and 0.5 m below it."""
    tilt = np.radians(tilt_deg)
    normal = np.array([np.sin(tilt), -np.cos(tilt), 0.0])
    plane = Plane(normal, -float(normal @ [0, 0.5 - height_m, 1]))
    flat_m = np.stack(np.meshgrid(np.linspace(*x_m, 25), np.linspace(0.8, 1.2, 20)), axis=-1).reshape(-1, 2)
    y_m = (-plane.offset_m - normal[0] * flat_m[:, 0] - normal[2] * flat_m[:, 1]) / normal[1]
    return _Level(plane, np.column_stack([flat_m[:, 0], y_m, flat_m[:, 1]]).astype(np.float32), sigma_m)


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
def test_a_parallel_plane_amid_a_larger_one_is_the_tail_of_its_noise(other: _Level, remnant: bool) -> None:
    scattered = level(0.06)
    rng = np.random.default_rng(0)
    few = rng.choice(len(scattered.points_m), 60, replace=False)
    assert _is_remnant(_Level(scattered.plane, scattered.points_m[few], 0.001), other, TOLERANCE_M) is remnant


def amid(levels: Sequence[_Level]) -> np.ndarray:
    """What is seen of them between the objects: all."""
    return np.concatenate([own.points_m for own in levels])


def thing(lowest_m: float, x_m: float = 0.0) -> np.ndarray:
    """An object of 6 cm whose lowest point is so far over that point."""
    xyz = np.stack(np.meshgrid([-0.03, 0, 0.03], np.linspace(0, 0.06, 30), [-0.03, 0.03]), axis=-1).reshape(-1, 3)
    return (np.array([x_m, 0.5 - lowest_m, 1.0]) + xyz * [1, -1, 1]).astype(np.float32)


@pytest.mark.parametrize(
    ("heights_m", "tilts_deg", "lowest_m", "members", "main"),
    [
        ([0.0], [0], [0.0], [0], 0),
        ([0.0, 0.1], [0, 0], [0.0, 0.1, 0.1], [0, 1], 1),  # most stand on the second
        ([0.0, 0.1], [0, 0], [0.0, 0.0, 0.1], [0, 1], 0),
        ([0.0, 0.0], [0, 45], [0.0, 0.0], [0], 0),  # a ramp through both is a worse fit
        ([0.0], [0], [0.39], [0], 0),
        ([0.0], [0], [0.45], [], None),  # the floor, far below
        ([0.0], [0], [0.0, 0.0, 0.0, 0.45], [0], 0),  # three quarters stand on it
        ([0.0], [0], [0.0, 0.0, 0.45, 0.45], [], None),
        ([0.0], [0], [-0.015], [0], 0),  # a little below: noise
        ([0.0], [0], [-0.02], [], None),
    ],
)
def test_the_planes_that_carry_the_objects_are_a_family_and_the_one_with_most_is_its_main_one(
    heights_m: list[float], tilts_deg: list[float], lowest_m: list[float], members: list[int], main: int | None
) -> None:
    levels = [level(height_m, tilt_deg=tilt) for height_m, tilt in zip(heights_m, tilts_deg, strict=True)]
    objects_m = [thing(own_m, 0.1 * index - 0.1) for index, own_m in enumerate(lowest_m)]
    family, found = _supporting_family(levels, objects_m, np.full(len(objects_m), 0.01), amid(levels), TOLERANCE_M)
    assert [next(i for i, each in enumerate(levels) if each is own) for own in family] == members
    assert found is (None if main is None else levels[main])


def some_of(whole: _Level, count: int) -> _Level:
    return _Level(whole.plane, whole.points_m[:: len(whole.points_m) // count], whole.sigma_m)


@pytest.mark.parametrize(
    ("lowest_m", "aslant_m", "members"),
    [
        ([0.006, 0.009, 0.005], 0.003, [0, 2]),  # seen to stand on all three planes
        ([0.006, 0.011, 0.005], 0.003, [0, 2]),  # one is a little too high for the table
        ([0.05, 0.06, 0.05], 0.048, [1]),  # far from the table
    ],
)
def test_a_plane_aslant_through_several_things_is_not_what_objects_on_the_table_stand_on(
    lowest_m: list[float], aslant_m: float, members: list[int]
) -> None:
    """As a keyboard and the desk in front of it make one, while a part of the desk lies 4 mm higher."""
    levels = [level(0.0), some_of(level(aslant_m, tilt_deg=10.0), 170), some_of(level(0.004), 30)]
    objects_m = [thing(own_m, x_m) for own_m, x_m in zip(lowest_m, (-0.02, 0.0, 0.02), strict=True)]
    family, _ = _supporting_family(levels, objects_m, np.full(3, 0.01), amid(levels), TOLERANCE_M)
    assert [next(i for i, each in enumerate(levels) if each is own) for own in family] == members


@pytest.mark.parametrize(("height_m", "main"), [(0.004, 0), (0.012, 0), (0.03, 1)])
def test_of_planes_that_objects_may_stand_on_alike_that_is_the_main_one_which_most_is_seen_of(
    height_m: float, main: int
) -> None:
    levels = [level(0.0), some_of(level(height_m), 30)]
    objects_m = [thing(height_m + 0.002, x_m) for x_m in (-0.1, 0.0, 0.1)]
    family, found = _supporting_family(levels, objects_m, np.full(3, 0.01), amid(levels), TOLERANCE_M)
    assert found is levels[main] and len(family) == 2


@pytest.mark.parametrize(("far_m", "main"), [(0.25, 0), (0.1, 1)])
def test_a_wall_near_to_some_of_a_heap_and_far_from_others_is_not_what_they_stand_on(far_m: float, main: int) -> None:
    """All are 9 cm above the floor; one of three touches the wall, the others are so far from it."""
    floor, wall = level(0.0), Plane(np.array([1.0, 0.0, 0.0]), 0.3)
    of_wall_m = np.random.default_rng(0).uniform([-0.301, 0.2, 0.8], [-0.299, 0.5, 1.2], (300, 3))
    levels = [floor, _Level(wall, of_wall_m.astype(np.float32), 0.001)]
    objects_m = [thing(0.09, gap_m - 0.27) for gap_m in (0.0, far_m, far_m)]
    assert _supporting_family(levels, objects_m, np.full(3, 0.01), amid(levels), TOLERANCE_M)[1] is levels[main]


def walls() -> np.ndarray:
    """Points on two upright walls of 20 cm, 1 m before the camera."""
    x_m, y_m, z_m = np.meshgrid([-0.2, 0.2], np.linspace(0.3, 0.5, 21), np.linspace(0.9, 1.1, 21))
    return np.stack([x_m, y_m, z_m], axis=-1).reshape(-1, 3).astype(np.float32)


def test_a_plane_through_walls_is_a_slice_and_a_rim_is_none() -> None:
    plane = Plane(np.array([0.0, -1.0, 0.0]), 0.4)
    slice_of_walls = walls()[np.abs(plane.height_m(walls())) < 0.006]
    rim = np.random.default_rng(0).uniform([-0.23, 0.399, 0.9], [-0.2, 0.401, 1.1], (100, 3)).astype(np.float32)
    assert _is_slice(_Level(plane, slice_of_walls, 0.002), walls())
    assert not _is_slice(_Level(plane, rim, 0.001), np.concatenate([walls() + np.float32([0, 0.12, 0]), rim]))
    assert not _is_slice(_Level(plane, walls(), 0.002), walls()), "a large one"


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
    levels = _background_planes(background_m, TOLERANCE_M, None if up is None else np.array(up))
    assert {"floor" if abs(own.plane.normal[1]) > 0.99 else "wall" for own in levels} == found
    assert len(levels) == len(found)


def body(low_m: tuple[float, float, float], high_m: tuple[float, float, float]) -> _Body:
    """A box full of points, from its least to its largest x, depth and height over the point of `level`."""
    grids = np.meshgrid(*(np.linspace(low, high, 9) for low, high in zip(low_m, high_m, strict=True)))
    x_m, z_m, height_m = (grid.reshape(-1) for grid in grids)
    return _Body.of_points(np.stack([x_m, 0.5 - height_m, z_m], axis=1).astype(np.float32), UP_BASIS, 0.016)


def slanting(low_m: float, high_m: float) -> _Body:
    """A board of 10 cm by 20 cm that rises from one height to the other."""
    across, along = (grid.reshape(-1) for grid in np.meshgrid(np.linspace(-0.05, 0.05, 10), np.linspace(0, 1, 30)))
    points_m = np.stack([0.2 * along - 0.1, 0.5 - low_m - along * (high_m - low_m), 1 + across], axis=1)
    return _Body.of_points(points_m.astype(np.float32), UP_BASIS, 0.016)


@pytest.mark.parametrize(
    ("lowest_m", "block_m", "kind"),
    [
        (0.040, 0.035, Support.INSTANCE),
        (0.033, 0.035, Support.INSTANCE),  # within the noise of both
        (0.020, 0.035, Support.PLANE),  # its lower end is beside the block and lower
        (0.003, 0.012, Support.PLANE),
    ],
)
def test_an_object_whose_end_is_lower_than_another_one_s_top_does_not_stand_on_that(
    lowest_m: float, block_m: float, kind: Support
) -> None:
    bodies = {0: slanting(lowest_m, lowest_m + 0.12), 1: body((-0.04, 0.96, 0.0), (0.04, 1.04, block_m))}
    floor = level(0.0)
    frame = RgbdFrame(None, np.ones((4, 4), np.float32), Intrinsics(4, 4, 4.0, 4.0, 1.5, 1.5))
    scene = _Scene(bodies, [floor], [floor.points_m @ UP_BASIS[:, :2]], floor, UP_BASIS, frame, TOLERANCE_M)
    assert _highest_below(0, bodies[0], scene)[1].kind is kind


@pytest.mark.parametrize(
    ("above_m", "reach_m", "stands"),
    [
        (0.002, 0.06, True),  # a quarter of the upper one is above what is seen of the lower one
        (-0.006, 0.06, True),
        (0.002, 0.09, False),  # hardly any of it
        (0.011, 0.06, False),  # it ends higher up
    ],
)
def test_what_is_mostly_hidden_carries_what_ends_at_its_top(above_m: float, reach_m: float, stands: bool) -> None:
    """Of the lower one a strip is seen that reaches so far under the upper one from the side."""
    upper = body((-0.1, 0.9, 0.05 + above_m), (0.1, 1.1, 0.1))
    lower = body((reach_m, 0.9, 0.0), (0.3, 1.1, 0.05))
    assert (_top_below(upper, lower, upper.least_m + 0.008) is not None) is stands


def turned(*degrees: float) -> np.ndarray:
    """Normals that are so far from straight up."""
    return np.stack([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees)), np.zeros(len(degrees))], axis=1)


@pytest.mark.parametrize(
    ("normals", "tilted"),
    [
        (turned(*[0.0] * 50, *[90.0] * 50), False),  # a box that stands
        (turned(*[30.0] * 50, *[60.0] * 50), True),  # one that leans
        (turned(*[90.0] * 90, *[60.0] * 10), False),  # seen from its side alone
        (turned(*np.linspace(0.0, 90.0, 100)), False),  # a ball
        (turned(*np.linspace(25.0, 90.0, 100)), True),  # a cylinder that leans
        (turned(*[5.0] * 15, *[40.0] * 85), False),  # a part of it is level
        (np.zeros((20, 3)), False),  # nothing is known
        (np.concatenate([np.zeros((80, 3)), turned(*[40.0] * 20)]), True),
        (turned(*[40.0] * 95, *[5.0] * 5)[:, [2, 1, 0]], True),  # towards the camera, none of it to a side
    ],
)
def test_a_body_without_level_or_upright_sides_is_tilted(normals: np.ndarray, tilted: bool) -> None:
    assert _is_tilted(normals, np.array([0.0, -1.0, 0.0])) == tilted


@pytest.mark.parametrize(
    ("floor_m", "points", "noise_m", "moved_m"),
    [
        (0.008, 100, 0.0005, 0.008),  # the floor of a tote that stands on the table
        (0.008, 9, 0.0005, 0.0),  # too few to tell
        (0.002, 100, 0.0005, 0.0),  # within the noise of planes
        (0.03, 100, 0.0005, 0.0),  # a level of its own
        (0.008, 100, 0.004, 0.0),  # no plane: the rim of a bowl, which the mask leaves out
    ],
)
def test_the_main_plane_goes_through_what_is_measured_between_the_objects(
    floor_m: float, points: int, noise_m: float, moved_m: float
) -> None:
    table = level(0.0)
    floor = level(floor_m, x_m=(-0.1, 0.1)).points_m
    floor[:, 1] += np.random.default_rng(0).normal(0, noise_m, len(floor))
    beside = table.points_m[np.abs(table.points_m[:, 0]) > 0.12]
    background_m = np.concatenate([beside, floor[np.linspace(0, len(floor) - 1, points).astype(int)]])
    objects_m = np.concatenate([[x, 0.4, z] for x in (-0.11, 0.11) for z in (0.7, 1.3)]).reshape(-1, 3)
    outline_m = convex_hull(objects_m @ table.plane.basis()[:, :2])
    main, family = _between_objects(table, [table], background_m, outline_m, TOLERANCE_M)
    assert main.plane.offset_m == pytest.approx(table.plane.offset_m - moved_m, abs=2e-4)
    assert family == [main]


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
    found = _background_near(frame, instances).T.tolist()
    assert {tuple(own) for own in found} >= set(expected)
    beyond = {tuple(own) for own in found} - set(expected)  # what is near is told in whole strides
    assert len(beyond) < 0.1 * len(expected)
    assert all(depth_m[row, column] > 0 and not masks[:, row, column].any() for row, column in beyond)


@pytest.mark.parametrize("count", [1, 30, 2000, 2001, 4567])
def test_points_are_taken_evenly_from_the_first_to_the_last(count: int) -> None:
    depth_m = np.arange(1, 5001, dtype=np.float32).reshape(50, 100) * 0.001
    frame = RgbdFrame(None, depth_m, Intrinsics(100, 50, 100.0, 100.0, 50.0, 25.0))
    pixels = np.stack(np.nonzero(depth_m))[:, :count]
    chosen = np.linspace(0, count - 1, min(count, 2000)).astype(int)
    np.testing.assert_array_equal(_points_m(frame, pixels)[:, 2], depth_m[tuple(pixels[:, chosen])])


@pytest.mark.parametrize(("gap_m", "free"), [(0.2, True), (0.09, False)])
def test_what_would_reach_far_down_hangs_where_the_space_below_its_rim_is_empty(gap_m: float, free: bool) -> None:
    """Of a standing bowl the space below the rim is empty, too."""
    points_m = np.stack(
        np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.08, 0, 9), np.linspace(0.99, 1.01, 2)), axis=-1
    ).reshape(-1, 3)
    body = _Body.of_points(points_m.astype(np.float32), UP_BASIS, 0.01)
    depth_m = np.full((400, 400), 2.0, dtype=np.float32)
    depth_m[:, 199 - round(350 * 0.032) : 201 + round(350 * 0.032)] = 1.0
    frame = RgbdFrame(None, depth_m, Intrinsics(400, 400, 350.0, 350.0, 199.5, 40.0))
    mask = np.zeros((400, 400), dtype=bool)
    assert _free_below(body, body.lowest_m - gap_m, UP_BASIS, frame, mask, 0.004) is free


@pytest.mark.parametrize(
    ("gap_m", "free_share", "free"),
    [
        (0.10, 1.0, True),
        (0.10, 0.0, False),
        (0.04, 1.0, True),
        (0.03, 0.5, False),  # half of 3 cm is less than 2
        (0.018, 1.0, False),
        (0.50, 0.08, False),  # 4 cm of it, but less than a tenth
        (0.50, 0.15, True),
        (0.01, 1.0, False),
        (0.007, 1.0, False),  # within the tolerances of both
    ],
)
def test_an_object_hangs_where_enough_of_the_space_below_it_is_seen_to_be_empty(
    gap_m: float, free_share: float, free: bool
) -> None:
    """The camera looks at it from the side; behind so much of the space below, from above, the wall is 1 m farther."""
    points_m = np.stack(
        np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.08, 0, 9), np.linspace(0.99, 1.01, 2)), axis=-1
    ).reshape(-1, 3)
    body = _Body.of_points(points_m.astype(np.float32), UP_BASIS, 0.01)
    camera = Intrinsics(400, 400, 350.0, 350.0, 199.5, 40.0)
    depth_m = np.full((400, 400), 1.0, dtype=np.float32)
    if free_share:
        depth_m[: round(40 + 350 * gap_m * free_share)] = 2.0
    lowest_m = body.lowest_m
    mask = np.zeros((400, 400), dtype=bool)
    assert _free_below(body, lowest_m - gap_m, UP_BASIS, RgbdFrame(None, depth_m, camera), mask, 0.004) is free
    mask[:] = True
    assert not _free_below(body, lowest_m - gap_m, UP_BASIS, RgbdFrame(None, depth_m, camera), mask, 0.004)
