"""The referee's own check: grasps that hold by statics hold, and those that cannot hold do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.learning.grasp_simulation.objects import (
    DEVELOPMENT_FAMILIES,
    Piece,
    block,
    circle,
    hull,
    prism,
    shape_of,
    turning,
)
from instance_seg_ros.learning.grasp_simulation.world import Attempt, Block, Cause, GraspWorld

BOX = [block((0.05, 0.08, 0.07))]
CAN = [prism(circle(0.03), 0.0, 0.1)]
HEXAGON = [prism(circle(0.03, 6), 0.0, 0.08)]
BOWL = DEVELOPMENT_FAMILIES["bowl"](np.random.default_rng(1))
RING = DEVELOPMENT_FAMILIES["ring"](np.random.default_rng(1))


def wedge(slope_deg: float) -> list[Piece]:
    """A ridge whose two sides lean inwards by so much from upright."""
    top_m = 0.033 - 0.04 * np.tan(np.radians(slope_deg))
    return [
        hull([(x, y, z) for y in (-0.03, 0.03) for x, z in ((-0.033, 0), (0.033, 0), (top_m, 0.04), (-top_m, 0.04))])
    ]


def slab(width_m: float) -> list[Piece]:
    """An upright block as a mesh, which MuJoCo treats otherwise than a box."""
    corners = itertools.product((-width_m / 2, width_m / 2), (-0.04, 0.04), (0.0, 0.06))
    return [hull(list(corners))]


EGG = [hull(trimesh.creation.icosphere(subdivisions=3).vertices * [0.028, 0.035, 0.028] + [0, 0, 0.028])]


def from_above(x_m: float, y_m: float, z_m: float, yaw_deg: float = 0.0) -> NDArray[np.float64]:
    """The pose of a grasp straight down; without a turn it closes along the world's x."""
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    return np.array([[c, s, 0, x_m], [s, -c, 0, y_m], [0, 0, -1, z_m], [0, 0, 0, 1.0]])


def attempt(pieces: list[Piece], T_world_grasp: NDArray[np.float64], opening_m: float = 0.08) -> Attempt:
    """A grasp of a single object that stands in the middle of the table."""
    world = GraspWorld([shape_of("test", pieces)], np.eye(4)[None], GripperSettings(), friction=0.5)
    world.settle()
    return world.attempt(T_world_grasp, opening_m, approach_m=0.08)


@pytest.mark.parametrize(
    ("pieces", "place"),
    [
        pytest.param(BOX, from_above(0, 0, 0.035), id="box across its middle"),
        pytest.param(BOX, from_above(0, 0.02, 0.035), id="box beside its middle"),
        pytest.param(CAN, from_above(0, 0, 0.06), id="can from above"),
        pytest.param(CAN, from_above(0, 0, 0.06, 37), id="can from above, turned"),
        pytest.param(HEXAGON, from_above(0, 0, 0.045), id="hexagon across corners"),
        pytest.param(HEXAGON, from_above(0, 0, 0.045, 30), id="hexagon across faces"),
        pytest.param(wedge(10), from_above(0, 0, 0.015), id="sides well inside the friction cone"),
        pytest.param(wedge(23), from_above(0, 0, 0.015), id="sides just inside the friction cone of 26.6 degrees"),
        pytest.param(turning([(0.03, 0.0), (0.02, 0.08)]), from_above(0, 0, 0.04), id="frustum"),
        pytest.param(slab(0.01), from_above(0.004, 0, 0.02), id="thin slab as a mesh, off its middle"),
        pytest.param(slab(0.02), from_above(0, 0, 0.02), id="slab as a mesh"),
        pytest.param(slab(0.04), from_above(0, 0, 0.057), id="the uppermost 3 mm of a block"),
        pytest.param(
            EGG, from_above(0, 0, 0.028 * (1 + np.sin(np.radians(20)))), id="egg above its equator, inside the cone"
        ),
        pytest.param(BOWL, from_above(0.0537, 0, 0.039), id="rim of a bowl"),
        pytest.param(RING, from_above(0.05, 0, 0.006), id="one side of a ring"),
    ],
)
def test_a_good_grasp_holds(pieces: list[Piece], place: NDArray[np.float64]) -> None:
    result = attempt(pieces, place)
    assert (result.cause, result.held, result.touched) == (Cause.HELD, 0, "nothing")
    assert result.success and {"at the grasp", "closed", "taken away", "shaken"} == set(result.moments)


@pytest.mark.parametrize(
    ("pieces", "place", "causes"),
    [
        pytest.param(BOX, from_above(0, 0, 0.09), {Cause.MISSED}, id="above the object"),
        pytest.param(BOX, from_above(0.2, 0, 0.03), {Cause.MISSED}, id="beside the object"),
        pytest.param(BOX, from_above(0, 0, 0.035, 60), {Cause.TOUCHED}, id="wider than the gripper at this angle"),
        pytest.param([block((0.1, 0.1, 0.07))], from_above(0, 0, 0.03), {Cause.TOUCHED}, id="too wide"),
        pytest.param(BOX, from_above(0.2, 0, -0.01), {Cause.TOUCHED}, id="into the table"),
        pytest.param(BOX, from_above(0, 0, 0.15) @ np.diag([1.0, -1, -1, 1]), {Cause.NO_ROOM}, id="through the object"),
        pytest.param(wedge(30), from_above(0, 0, 0.015), {Cause.SLIPPED}, id="sides outside the friction cone"),
        pytest.param(EGG, from_above(0, 0, 0.0428), {Cause.SLIPPED}, id="egg by its top, 32 degrees"),
        pytest.param(wedge(36), from_above(0, 0, 0.015), {Cause.SLIPPED, Cause.SQUEEZED_OUT}, id="roof"),
        pytest.param(CAN, from_above(0, 0.027, 0.06), {Cause.SLIPPED, Cause.SQUEEZED_OUT}, id="the back of a can"),
    ],
)
def test_a_bad_grasp_does_not_hold(pieces: list[Piece], place: NDArray[np.float64], causes: set[Cause]) -> None:
    result = attempt(pieces, place)
    assert result.cause in causes and not result.success and result.held is None


def test_the_approach_stops_at_what_it_touches() -> None:
    result = attempt([block((0.1, 0.1, 0.07))], from_above(0, 0, 0.03))
    assert result.touched == "object 0"
    assert result.moments["at the grasp"].T_world_gripper[2, 3] == pytest.approx(0.07, abs=0.004)
    assert attempt(BOX, from_above(0.2, 0, -0.01)).touched == "table"


BOARD = Block((0.4, 0.4, 0.02), (0.0, 0.0, 0.2))
WALL = Block((0.02, 0.4, 0.2), (0.09, 0.0, 0.1))


def attempt_between(
    walls: list[Block], T_world_grasp: NDArray[np.float64], *way_out_m: tuple[float, float, float]
) -> Attempt:
    """As `attempt`, of a box 70 mm high with walls around it."""
    shapes = [shape_of("test", BOX)]
    world = GraspWorld(shapes, np.eye(4)[None], GripperSettings(), 0.5, walls=walls, way_out_m=way_out_m)
    world.settle()
    return world.attempt(T_world_grasp, 0.08, approach_m=0.05)


def test_under_a_board_what_is_held_is_taken_out_to_the_front_and_not_through_it() -> None:
    place, out_m = from_above(0, 0, 0.035), ((0.0, 0.0, 0.01), (0.0, -0.4, 0.0))
    held = attempt_between([Block(BOARD.size_m, (0.0, 0.0, 0.225))], place, *out_m)
    assert held.success and held.moments["taken away"].T_world_object[0, :3, 3] == pytest.approx(
        [0, -0.4, 0.01], abs=0.01
    )
    above = attempt_between([Block(BOARD.size_m, (0.0, 0.0, 0.225))], place, (0.0, 0.0, 0.2))
    assert above.cause in (Cause.SLIPPED, Cause.SHAKEN_OFF)


@pytest.mark.parametrize(
    ("wall", "cause", "touched"),
    [
        pytest.param(BOARD, Cause.NO_ROOM, "wall", id="the palm begins in the board"),
        pytest.param(WALL, Cause.NO_ROOM, "wall", id="the palm begins in the wall"),
        pytest.param(Block(WALL.size_m, (0.12, 0.0, 0.1)), Cause.HELD, "nothing", id="a wall beside it"),
    ],
)
def test_walls_are_in_the_gripper_s_way(wall: Block, cause: Cause, touched: str) -> None:
    result = attempt_between([wall], from_above(0, 0, 0.035), (0.0, 0.0, 0.2))
    assert (result.cause, result.touched) == (cause, touched)


def test_fingers_close_as_far_as_the_object_is_wide() -> None:
    assert attempt(BOX, from_above(0, 0, 0.035)).opening_m == pytest.approx(0.05, abs=0.001)


def test_a_removed_object_is_gone_and_the_others_stay() -> None:
    shapes = [shape_of("a", BOX), shape_of("b", CAN)]
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 0.15
    world = GraspWorld(shapes, poses, GripperSettings(), friction=0.5)
    world.settle()
    world.remove(0)
    world.settle()
    assert world.present == [False, True]
    np.testing.assert_allclose(world.poses()[1, :3, 3], [0.15, 0, 0], atol=0.002)
    assert world.attempt(from_above(0, 0, 0.035), 0.08, 0.08).cause is Cause.MISSED
