"""The parts of finding supports, each at its limits: families of planes, the plane between the objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from level_planes import TOLERANCE_M, UP_BASIS, body, level

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.lifting.background_planes import (
    Level,
)
from instance_seg_ros.lifting.bodies import Body
from instance_seg_ros.lifting.rectangle import convex_hull
from instance_seg_ros.lifting.support import (
    Support,
    _between_objects,
    _highest_below,
    _Scene,
    _supporting_family,
    _told_support,
)


def amid(levels: Sequence[Level]) -> np.ndarray:
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


def some_of(whole: Level, count: int) -> Level:
    return Level(whole.plane, whole.points_m[:: len(whole.points_m) // count], whole.sigma_m)


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


@pytest.mark.parametrize(
    ("lowest_m", "main"),
    [
        ([0.008, 0.008, 0.05], 0),  # the last one is held
        ([0.008, 0.02, 0.02], 1),
        ([0.05, 0.05, 0.05], 1),  # none is seen to stand: the foot of each may be hidden
    ],
)
def test_what_is_held_above_all_planes_makes_none_the_main_one(lowest_m: list[float], main: int) -> None:
    """As the back of an arm that lies on the table is nearer to what another arm holds."""
    levels = [level(0.0), some_of(level(0.02), 60)]
    objects_m = [thing(own_m, x_m) for own_m, x_m in zip(lowest_m, (-0.1, 0.0, 0.1), strict=True)]
    assert _supporting_family(levels, objects_m, np.full(3, 0.01), amid(levels), TOLERANCE_M)[1] is levels[main]


@pytest.mark.parametrize(("far_m", "main"), [(0.25, 0), (0.1, 1)])
def test_a_wall_near_to_some_of_a_heap_and_far_from_others_is_not_what_they_stand_on(far_m: float, main: int) -> None:
    """All are 9 cm above the floor; one of three touches the wall, the others are so far from it."""
    floor, wall = level(0.0), Plane(np.array([1.0, 0.0, 0.0]), 0.3)
    of_wall_m = np.random.default_rng(0).uniform([-0.301, 0.2, 0.8], [-0.299, 0.5, 1.2], (300, 3))
    levels = [floor, Level(wall, of_wall_m.astype(np.float32), 0.001)]
    objects_m = [thing(0.09, gap_m - 0.27) for gap_m in (0.0, far_m, far_m)]
    assert _supporting_family(levels, objects_m, np.full(3, 0.01), amid(levels), TOLERANCE_M)[1] is levels[main]


@pytest.mark.parametrize(
    ("lowest_m", "points", "objects", "main"),
    [
        (0.25, 100, 1, 0),
        (0.25, 200, 1, 1),
        (0.215, 100, 1, 1),
        (0.25, 100, 3, 1),  # the floor of a tote below a heap that hides where it stands
    ],
)
def test_an_arm_below_what_it_holds_is_no_support_unless_that_reaches_down_to_it_or_much_of_it_is_seen(
    lowest_m: float, points: int, objects: int, main: int
) -> None:
    levels = [level(0.0), some_of(level(0.21, tilt_deg=20.0), points)]
    objects_m = [thing(lowest_m)] * objects
    found = _supporting_family(levels, objects_m, np.full(objects, 0.01), amid(levels), TOLERANCE_M)[1]
    assert found is levels[main]


@pytest.mark.parametrize(
    ("level_m", "points", "lowest_m", "height_m"),
    [
        (0.3, 4, 0.3, 0.3),
        (0.3, 3, 0.3, 0.0),
        (0.3, 4, 0.33, 0.0),  # it does not reach down to it
        (0.3, 40, 0.33, 0.3),
        (0.02, 4, 0.022, 0.0),  # a board beside a book, of which no more is seen than that
    ],
)
def test_a_shelf_s_level_bears_what_reaches_down_to_it_though_more_is_seen_of_the_level_below(
    level_m: float, points: int, lowest_m: float, height_m: float
) -> None:
    own, levels = body((-0.04, 0.96, lowest_m), (0.04, 1.04, lowest_m + 0.1)), [level(0.0), level(level_m)]
    near = [np.argsort(np.linalg.norm(each.points_m[:, [0, 2]] - [0, 1], axis=1)) for each in levels]
    flat_m = [
        each.points_m[rows[:count]] @ UP_BASIS[:, :2]
        for each, rows, count in zip(levels, near, (60, points), strict=True)
    ]
    frame = RgbdFrame(None, np.ones((4, 4), np.float32), Intrinsics(4, 4, 4.0, 4.0, 1.5, 1.5))
    scene = _Scene({0: own}, levels, flat_m, levels[0], UP_BASIS, frame, TOLERANCE_M)
    assert _highest_below(0, own, scene)[0] + 0.5 == pytest.approx(height_m, abs=1e-6)


@pytest.mark.parametrize(
    ("resting_m", "kind", "unseen_m"),
    [
        (0.0, Support.PLANE, 0.0),
        (0.004, Support.PLANE, 0.0),  # in doubt
        (0.012, Support.PLANE, 0.012),  # as a plate on another one, of which nothing is seen
        (0.03, Support.UNKNOWN, 0.0),
    ],
)
def test_what_ends_by_its_shape_a_little_above_a_plane_may_not_reach_down_to_it(
    resting_m: float, kind: Support, unseen_m: float
) -> None:
    own, floor = body((-0.04, 0.96, 0.03), (0.04, 1.04, 0.05)), level(0.0)
    frame = RgbdFrame(None, np.ones((4, 4), np.float32), Intrinsics(4, 4, 4.0, 4.0, 1.5, 1.5))
    scene = _Scene({0: own}, [floor], [floor.points_m @ UP_BASIS[:, :2]], floor, UP_BASIS, frame, TOLERANCE_M)
    support = _told_support(0, (resting_m - 0.5, resting_m - 0.5, False), scene, np.zeros((4, 4), dtype=bool))
    assert support.kind is kind
    assert support.unseen_m == pytest.approx(unseen_m, abs=1e-6)


def slanting(low_m: float, high_m: float) -> Body:
    """A board of 10 cm by 20 cm that rises from one height to the other."""
    across, along = (grid.reshape(-1) for grid in np.meshgrid(np.linspace(-0.05, 0.05, 10), np.linspace(0, 1, 30)))
    points_m = np.stack([0.2 * along - 0.1, 0.5 - low_m - along * (high_m - low_m), 1 + across], axis=1)
    return Body.of_points(points_m.astype(np.float32), UP_BASIS, 0.016)


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
    ("floor_m", "points", "noise_m", "moved_m"),
    [
        (0.008, 100, 0.0005, 0.008),  # the floor of a tote that stands on the table
        (0.008, 9, 0.0005, 0.0),  # too few to tell
        (0.003, 100, 0.0005, 0.0),  # as little as cameras err
        (-0.008, 100, 0.0005, 0.0),  # lower: totes stand on tables, and do not sink into them
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
