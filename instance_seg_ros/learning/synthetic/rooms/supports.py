"""What objects rest on, and the room around it: tables, desks, floors, totes and shelves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects import sample_object
from instance_seg_ros.learning.synthetic.objects.shapes import (
    CollisionGeom,
    ObjectShape,
    box_mesh,
    join,
    lathe_mesh,
    make_mesh,
)
from instance_seg_ros.learning.synthetic.pictures.appearance import background_appearance
from instance_seg_ros.learning.synthetic.poses import pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms import fixtures
from instance_seg_ros.learning.synthetic.rooms.prints import lay_prints
from instance_seg_ros.learning.synthetic.rooms.room import Room
from instance_seg_ros.learning.synthetic.rooms.world import SUPPORTS, Placed, Support

FloatArray = npt.NDArray[np.float64]

_ALL_ROUND = (-np.pi, np.pi)
_FROM_FRONT = (-np.pi / 2 - 1.1, -np.pi / 2 + 1.1)
_UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # turns a plane's z axis to face -y
_DEEPEST_FIXTURE_M = 0.3  # half of the depth of the deepest fixture


def sample_support(rng: np.random.Generator, kind: str, with_prints: bool = False) -> Support:
    """A random support of one of :data:`SUPPORTS`.

    Args:
        rng: source of all randomness.
        kind: one of :data:`SUPPORTS`.
        with_prints: whether flat things (see :mod:`.prints`) lie on it, on the floor and on the walls.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind not in SUPPORTS:
        raise ValueError(f"no support named {kind!r}; choose one of {', '.join(SUPPORTS)}")
    room = Room(rng, with_prints)
    if kind == "tote":
        support = _sample_tote(room)
    elif kind == "shelf":
        support = _sample_shelf(room)
    else:
        support = _sample_floor(room) if kind == "floor" else _sample_table(room, kind)
    if not with_prints:
        return support
    surface = Room(rng)
    lay_prints(surface, Transform.identity(), support.half_wh_m, int(rng.integers(1, 10)), 1.0)
    return replace(support, surroundings=(*support.surroundings, *surface.surroundings))


def _sample_floor(room: Room) -> Support:
    """A patch of the floor of a room."""
    rng = room.rng
    half = float(rng.uniform(0.3, 0.6))
    _add_floor(room, 0.0, solid=True)
    away_m = _add_walls(room, 0.0, half)
    _add_within(room, _furniture(rng, 0.0, 1.5 * half, away_m, int(rng.integers(0, 7))), away_m)
    _maybe_add_sheets(room, half, half)
    return Support("floor", tuple(room.solid), tuple(room.surroundings), (half, half), _ALL_ROUND)


def _sample_table(room: Room, kind: str) -> Support:
    """A table in a room; sometimes against a wall, sometimes with a board or a large tray that objects lie on."""
    rng = room.rng
    low, high = {"table": (0.3, 0.8), "small_table": (0.18, 0.32), "desk": (0.6, 1.1)}[kind]
    half_w, half_d = (float(v) for v in rng.uniform(low, high, 2))
    height = float(rng.uniform(0.35, 1.1))
    reach = float(np.hypot(half_w, half_d))
    on_board = rng.random() < 0.15
    thickness = float(rng.uniform(0.002, 0.025)) if on_board else 0.0
    back_m = _add_table(room, half_w, half_d, -thickness, height)
    _add_floor(room, -height - thickness)
    away_m = _add_walls(room, -height - thickness, reach)
    furniture = _furniture(rng, -height - thickness, reach * 0.9, away_m, int(rng.integers(0, 9)))
    if half_w > 0.6 and rng.random() < 0.4:
        half_w = _add_side_fixture(room, half_w, half_d, -thickness)
    open_yaw = _ALL_ROUND
    if rng.random() < 0.2:
        away_m[0] = min(away_m[0], _add_wall_behind(room, back_m))
        open_yaw = _FROM_FRONT
    _add_within(room, furniture, away_m)
    if on_board:
        half_w, half_d = min(half_w, float(rng.uniform(0.19, 0.35))), min(half_d, float(rng.uniform(0.14, 0.25)))
        fixtures.board(room, half_w, half_d, thickness, float(rng.uniform(0.008, 0.03)) * (rng.random() < 0.5))
    _maybe_add_sheets(room, half_w, half_d)
    return Support(kind, tuple(room.solid), tuple(room.surroundings), (half_w, half_d), open_yaw)


def _sample_tote(room: Room) -> Support:
    """An open bin on a table or the floor; its thin, maybe slanted walls are background."""
    rng = room.rng
    half_w, half_d = (float(v) for v in rng.uniform(0.14, 0.32, 2))
    height, wall = float(rng.uniform(0.06, 0.25)), float(rng.uniform(0.002, 0.012))
    flare = float(rng.uniform(0.0, 0.04)) if rng.random() < 0.6 else 0.0
    look = background_appearance(rng, "tote")
    walls = []
    for sx, sy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        base, along = (half_w, half_d) if sx else (half_d, half_w)
        corners = []
        for out, z in ((0.0, 0.0), (flare, height)):
            for thick in (0.0, wall):
                for end in (-1, 1):
                    away, side = base + out + thick, end * (along + out + wall)
                    corners.append((sx * away - sy * side, sy * away + sx * side, z))
        vertices = np.array(corners)
        mesh = make_mesh(vertices, box_mesh((1, 1, 1)).faces)
        shape = ObjectShape("part", mesh, (CollisionGeom("mesh", vertices_m=vertices),))
        walls.append(Placed(shape, Transform.identity(), 0, look))
    below = 0.0 if rng.random() < 0.35 else float(rng.uniform(0.3, 1.0))
    bottom = wall / 2
    room.add_box((half_w + wall, half_d + wall, bottom), (0, 0, -bottom), solid=True, surface="tote")
    if below == 0.0:
        _add_floor(room, -2 * bottom, solid=True)
        reach = 0.6
    else:
        table_w, table_d = (float(v) for v in rng.uniform(0.35, 0.8, 2))
        _add_table(room, table_w, table_d, -2 * bottom, below)
        _add_floor(room, -2 * bottom - below)
        reach = float(np.hypot(table_w, table_d))
    if rng.random() < 0.3:
        beside = (half_w + rng.uniform(0.3, 0.45)) * rng.choice([-1.0, 1.0])
        room.add_fixture(
            fixtures.open_bin, pose((beside, rng.uniform(-0.1, 0.1), -2 * bottom), yaw_rotation(np.pi / 2))
        )
    away_m = _add_walls(room, -2 * bottom - below, reach)
    _add_within(room, _furniture(rng, -2 * bottom - below, 0.9 * reach, away_m, int(rng.integers(0, 7))), away_m)
    return Support("tote", (*walls, *room.solid), tuple(room.surroundings), (half_w, half_d), _ALL_ROUND)


def _sample_shelf(room: Room) -> Support:
    """A compartment of a shelf: board, back, sides, and often a board above."""
    rng = room.rng
    half_w, half_d = float(rng.uniform(0.25, 0.6)), float(rng.uniform(0.12, 0.25))
    height, thick = float(rng.uniform(0.25, 0.5)), float(rng.uniform(0.008, 0.02))
    room.add_box((half_w, half_d, thick), (0, 0, -thick), solid=True, surface="top")
    room.add_box((half_w, thick, height), (0, half_d + thick, height), solid=True)
    for side in (-1, 1):
        if rng.random() < 0.7:
            room.add_box((thick, half_d, height), (side * (half_w + thick), 0, height), solid=True)
    if rng.random() < 0.6:
        room.add_box((half_w, half_d, thick), (0, 0, height + thick))
    room.add_box((half_w, half_d, thick), (0, 0, -height))
    floor_z = -float(rng.uniform(0.4, 1.2))
    _add_floor(room, floor_z)
    _add_walls(room, floor_z, 1.0)
    return Support("shelf", tuple(room.solid), tuple(room.surroundings), (half_w, half_d), _FROM_FRONT)


def _add_floor(room: Room, floor_z: float, solid: bool = False) -> None:
    """The floor of a room, with its surface at ``floor_z``."""
    room.add_box((6.0, 6.0, 0.05), (0.0, 0.0, floor_z - 0.05), solid, surface="floor")
    if room.with_prints:
        lay_prints(room, pose((0.0, 0.0, floor_z)), (2.0, 2.0), int(room.rng.integers(0, 12)), 2.0)


def _add_walls(room: Room, floor_z: float, reach_m: float) -> FloatArray:
    """Walls on some sides of a room, at least ``reach_m`` from the origin.

    Returns:
        (4,) metres to the walls at +y, -x, -y and +x; infinite where there is none.
    """
    rng = room.rng
    away_m = np.full(4, np.inf)
    for side in range(4):
        if rng.random() < 0.5:
            away_m[side] = reach_m + rng.uniform(0.3, 3.0)
            T = pose((0.0, 0.0, floor_z), yaw_rotation(side * np.pi / 2 + rng.normal(0, 0.05)))
            wall = ObjectShape("part", box_mesh((6.0, 0.05, 1.6)), ())
            room.add(wall, T @ pose((0.0, away_m[side] + 0.05, 1.6)), surface="wall")
            if room.with_prints:
                T_prints = T @ pose((0.0, away_m[side], 1.1), _UPRIGHT)
                lay_prints(room, T_prints, (1.8, 0.9), int(rng.integers(0, 8)), 2.0)
            if rng.random() < 0.6:
                fixtures.skirting(room, T @ pose((0.0, away_m[side], 0.0)), 6.0)
    return away_m


def _furniture(
    rng: np.random.Generator, floor_z: float, keep_out_m: float, away_m: FloatArray, count: int
) -> list[Room]:
    """Fixtures and big clutter on the floor, outside a circle about the origin, facing it more or less.

    Pieces whose middle would be near or behind a wall, ``away_m`` from the origin (see :func:`_add_walls`), are left
    out.
    """
    pieces = []
    for _ in range(count):
        angle = rng.uniform(0, 2 * np.pi)
        distance = keep_out_m + rng.uniform(0.3, 1.9)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        if (np.array([y, -x, -y, x]) > away_m - 0.3).any():
            continue
        piece = Room(rng)
        T = pose((x, y, floor_z), yaw_rotation(angle - np.pi / 2 + rng.normal(0, 0.5)))
        if rng.random() < 0.85:
            piece.add_fixture(fixtures.ON_FLOOR[int(rng.integers(len(fixtures.ON_FLOOR)))], T)
        else:
            shape = sample_object(rng, ("lathe", "lump", "bottle", "composition", "bowl", "cylinder"))
            shape = replace(shape, mesh=shape.mesh.copy(), geoms=())
            shape.mesh.apply_scale(rng.uniform(4.0, 8.0))
            piece.add(shape, T @ pose((0.0, 0.0, -shape.bottom_m)))
        pieces.append(piece)
    return pieces


def _add_within(room: Room, pieces: Sequence[Room], away_m: FloatArray) -> None:
    """Add what is in other rooms, except rooms with something that would reach through a wall."""
    for piece in pieces:
        if not any(_reaches_through(part, away_m) for part in (*piece.solid, *piece.surroundings)):
            room.solid += piece.solid
            room.surroundings += piece.surroundings


def _reaches_through(part: Placed, away_m: FloatArray) -> bool:
    """Whether a part reaches through a wall at y, -x, -y or x = ``away_m``."""
    T_world_part = part.T_world_shape
    points = np.asarray(part.shape.mesh.vertices) @ T_world_part.rotation[:2].T + T_world_part.translation_m[:2]
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    # Walls stand a little askew.
    return bool((np.array([y1, -x0, -y0, x1]) > away_m - 0.1).any())


def _add_table(room: Room, half_w: float, half_d: float, top_z: float, height: float) -> float:
    """A table whose top covers at least the given half extents, on legs, a column or a solid body.

    Rectangular tops may reach further back, where fixtures stand, may have a wing at one side or a cloth on them.

    Returns:
        The y coordinate behind which there is nothing of the table or of what stands on it.
    """
    rng = room.rng
    thickness = rng.uniform(0.012, 0.05)
    if rng.random() < 0.15:
        radius = max(half_w, half_d)
        shape = ObjectShape(
            "part",
            lathe_mesh(np.array([[0, -thickness], [radius, -thickness], [radius, 0], [0, 0]]), 48),
            (CollisionGeom("cylinder", (radius, thickness / 2), (0.0, 0.0, -thickness / 2)),),
        )
        room.add(shape, pose((0.0, 0.0, top_z)), solid=True, surface="top")
        room.add_box((0.05, 0.05, height / 2), (0, 0, top_z - height / 2 - thickness))
        return radius
    back = rng.uniform(0.2, 0.45) if rng.random() < 0.65 and half_w > 0.3 else 0.0
    room.add_box((half_w, half_d + back / 2, thickness / 2), (0, back / 2, top_z - thickness / 2), True, surface="top")
    behind = half_d
    if back > 0.0:
        behind += max(back, back / 2 + _DEEPEST_FIXTURE_M)
        _add_back_row(room, half_w, half_d + back / 2, top_z)
    if rng.random() < 0.1:
        wing = rng.uniform(0.2, 0.4)
        side = rng.choice([-1.0, 1.0]) * (half_w + wing)
        room.add_box((wing, half_d + 0.4, thickness / 2), (side, -0.4, top_z - thickness / 2), surface="top")
    elif rng.random() < 0.12 and back == 0.0 and top_z == 0.0:
        fixtures.tablecloth(room, half_w, half_d)
    bottom = top_z - thickness
    if rng.random() < 0.25:
        inset = rng.uniform(0.0, 0.06)
        room.add_box(
            (half_w - inset, half_d - inset, (height - thickness) / 2), (0, 0, bottom - (height - thickness) / 2)
        )
        return behind
    if rng.random() < 0.6:
        fixtures.underframe(room, half_w, half_d, bottom, height)
    leg = rng.uniform(0.015, 0.04)
    half_leg = (leg, leg, height / 2)
    legs = [
        box_mesh(half_leg, (sx * (half_w - leg), sy * (half_d - leg) + back / 2, bottom - height / 2))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    room.add(ObjectShape("part", join(legs), ()), Transform.identity())
    return behind


def _add_back_row(room: Room, half_w: float, y: float, top_z: float) -> None:
    """Fixtures side by side along the back of a table."""
    rng = room.rng
    x = -half_w + rng.uniform(0.1, 0.3)
    while x < half_w:
        chosen = fixtures.ON_TABLE[int(rng.integers(len(fixtures.ON_TABLE)))]
        if rng.random() < 0.7:
            room.add_fixture(chosen, pose((x, y, top_z), yaw_rotation(rng.normal(0, 0.25))))
        x += rng.uniform(0.45, 0.8)


def _add_side_fixture(room: Room, half_w: float, half_d: float, top_z: float) -> float:
    """A fixture at one end of a wide table.

    Returns:
        Half the width that it leaves free.
    """
    rng = room.rng
    x = rng.choice([-1.0, 1.0]) * (half_w - 0.2)
    T = pose((x, rng.uniform(-0.5, 0.5) * half_d, top_z), yaw_rotation(rng.normal(0, 0.4)))
    room.add_fixture(fixtures.ON_TABLE[int(rng.integers(len(fixtures.ON_TABLE)))], T)
    return half_w - 0.45


def _maybe_add_sheets(room: Room, half_w: float, half_d: float) -> None:
    """Paper, mats or cloths lying on three supports in ten: too flat to be objects."""
    rng = room.rng
    if rng.random() >= 0.3:
        return
    for _ in range(int(rng.integers(1, 4))):
        half = (*rng.uniform(0.05, 0.25, 2), rng.uniform(0.0001, 0.0008))
        reach = float(np.hypot(half[0], half[1]))
        if reach < min(half_w, half_d):
            x, y = rng.uniform(-1, 1, 2) * (half_w - reach, half_d - reach)
            room.add_box(half, (x, y, half[2]), yaw=float(rng.uniform(0, np.pi)), surface="sheet")


def _add_wall_behind(room: Room, back_m: float) -> float:
    """A wall along +y, at the edge of a table that reaches back to y = ``back_m``, or behind it.

    Returns:
        Its distance from the origin.
    """
    away_m = back_m + (0.0 if room.rng.random() < 0.4 else float(room.rng.uniform(0.0, 0.5)))
    room.add_box((3.0, 0.05, 1.5), (0.0, away_m + 0.05, 0.9), solid=True, surface="wall")
    if room.with_prints:
        lay_prints(room, pose((0.0, away_m, 0.45), _UPRIGHT), (1.0, 0.4), int(room.rng.integers(0, 7)), 1.5)
    return away_m
