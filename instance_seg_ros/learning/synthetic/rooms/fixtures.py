"""Things in a scene that are not objects: screens, lamps, robot arms, furniture, people, cables, cloths.

An object, here and in the labels, is a separate thing that a gripper could lift from the support and whose longest side
is at most about 35 cm. Everything else is background: what is fixed, furniture, screens and keyboards, people, cables
that lead somewhere, and the large flat boards, trays and cloths that objects lie on.

Every function adds parts to a `Room` (room.py); ``T`` is the pose in the world of a frame on the ground, z up, whose -y
faces the user.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects.shapes import (
    CollisionGeom,
    ObjectShape,
    Vector,
    box_geom,
    box_mesh,
    join,
    lathe_mesh,
    smooth_noise,
    superquadric_mesh,
    tube_capsules,
    tube_mesh,
)
from instance_seg_ros.learning.synthetic.poses import pose
from instance_seg_ros.learning.synthetic.rooms.room import Fixture, Room
from instance_seg_ros.learning.synthetic.rooms.world import ROBOT

FloatArray = npt.NDArray[np.float64]

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def _shift(x: float, y: float, z: float) -> Transform:
    return pose((x, y, z))


def _turn(angle_rad: float, axis: Vector) -> Transform:
    return Transform.from_matrix(trimesh.transformations.rotation_matrix(angle_rad, axis))


def _block(room: Room, T: Transform, half_m: Vector, solid: bool = True, surface: str = "furniture") -> None:
    """A cuboid centred on ``T``."""
    room.add(ObjectShape("part", box_mesh(half_m), (box_geom(half_m),)), T, solid, surface)


def _round(room: Room, T: Transform, profile_rz: npt.ArrayLike, solid: bool = True) -> None:
    """A solid of revolution about the z axis of ``T``; it collides as the cylinder around it."""
    profile = np.asarray(profile_rz, float)
    low, high, r = profile[:, 1].min(), profile[:, 1].max(), profile[:, 0].max()
    geom = CollisionGeom("cylinder", (float(r), float(high - low) / 2), (0.0, 0.0, float(low + high) / 2))
    room.add(ObjectShape("part", lathe_mesh(profile), (geom,)), T, solid, "furniture")


def _seen(room: Room, T: Transform, meshes: Sequence[trimesh.Trimesh], surface: str = "furniture") -> None:
    """Meshes that nothing collides with."""
    room.add(ObjectShape("part", join(list(meshes)), ()), T, False, surface)


# ---------------------------------------------------------------------------------------------------------------------
# On a table


def monitor(room: Room, T: Transform) -> None:
    """Screen on a foot; sometimes on a stand as well."""
    rng = room.rng
    half_w = rng.uniform(0.19, 0.35)
    half_h = half_w * rng.uniform(0.5, 0.65)
    lift = rng.uniform(0.06, 0.18)
    if rng.random() < 0.3:
        height = rng.uniform(0.04, 0.12)
        _block(room, T @ _shift(0, 0, height - 0.01), (rng.uniform(0.2, 0.3), 0.12, 0.01))
        for side in (-1, 1):
            _block(room, T @ _shift(0.18 * side, 0, height / 2 - 0.01), (0.01, 0.11, height / 2 - 0.01))
        T = T @ _shift(0, 0, height)
    foot = (rng.uniform(0.09, 0.16), rng.uniform(0.07, 0.11), rng.uniform(0.004, 0.012))
    _block(room, T @ _shift(0, 0, foot[2]), foot)
    _block(room, T @ _shift(0, 0.03, (lift + half_h) / 2), (0.03, 0.015, (lift + half_h) / 2))
    tilt = _turn(rng.uniform(-0.25, 0.1), _X)
    _block(room, T @ _shift(0, 0.0, lift + half_h) @ tilt, (half_w, rng.uniform(0.008, 0.03), half_h))


def laptop(room: Room, T: Transform) -> None:
    """Open laptop."""
    rng = room.rng
    half = np.array([rng.uniform(0.15, 0.19), rng.uniform(0.1, 0.13), rng.uniform(0.007, 0.012)])
    _block(room, T @ _shift(0, 0, half[2]), half)
    keys = [box_mesh((0.85 * half[0], 0.012, 0.001), (0.0, 0.02 * k, 2 * half[2])) for k in range(-1, 4)]
    _seen(room, T, keys)
    lid = _turn(-rng.uniform(0.05, 0.6), _X) @ _shift(0, 0, half[1])
    _block(room, T @ _shift(0, half[1], 2 * half[2]) @ lid, (half[0], 0.004, half[1]))


def keyboard(room: Room, T: Transform) -> None:
    """Keyboard with rows of keys."""
    rng = room.rng
    half = np.array([rng.uniform(0.18, 0.23), rng.uniform(0.06, 0.08), rng.uniform(0.004, 0.012)])
    _block(room, T @ _shift(0, 0, half[2]), half)
    x, y = np.meshgrid(np.linspace(-0.92, 0.92, 15) * half[0], np.linspace(-0.8, 0.8, 5) * half[1])
    key = (0.42 * 2 * half[0] / 15, 0.36 * 2 * half[1] / 5, 0.003)
    at = zip(x.ravel(), y.ravel(), strict=True)
    _seen(room, T, [box_mesh(key, (float(a), float(b), 2 * half[2])) for a, b in at])


def lamp(room: Room, T: Transform) -> None:
    """Desk lamp: foot, two arms, shade."""
    rng = room.rng
    _round(room, T, np.array([[0, 0], [1, 0], [1, 0.2], [0, 0.2]]) * rng.uniform(0.06, 0.11))
    elbow = np.array([rng.uniform(-0.12, 0.12), 0.05, rng.uniform(0.25, 0.4)])
    head = elbow + np.array([rng.uniform(-0.1, 0.1), -rng.uniform(0.05, 0.2), rng.uniform(0.02, 0.2)])
    arms = tube_mesh(np.array([[0, 0, 0.01], elbow * 0.5, elbow, (elbow + head) / 2, head]), 0.008, 8)
    shade = lathe_mesh(np.array([[0.09, -0.1], [0.04, 0.0], [0.0, 0.02], [0.035, 0.0], [0.085, -0.1]]))
    shade.apply_transform(_turn(rng.uniform(-0.6, 0.2), _X).matrix)
    shade.apply_translation(head)
    _seen(room, T, [arms, shade])


def robot_arm(room: Room, T: Transform) -> None:
    """Jointed arm on a base, with a two-finger gripper; it stays clear of what lies in front of it."""
    rng = room.rng
    r = rng.uniform(0.035, 0.065)
    base = rng.uniform(0.05, 0.25)
    profile = [(0.0, 0.0), (1.5 * r, 0.0), (1.5 * r, 0.03), (1.1 * r, 0.05), (1.1 * r, base), (0.0, base)]
    _round(room, T, np.array(profile))
    joints = [np.array([0.0, 0.0, base])]
    yaw = rng.uniform(-0.9, 0.9) - np.pi / 2
    for rise, length in ((rng.uniform(0.9, 2.0), 0.35), (rng.uniform(-0.2, 0.9), 0.3), (rng.uniform(-0.6, 0.6), 0.1)):
        step = np.array([np.cos(rise) * np.cos(yaw), np.cos(rise) * np.sin(yaw), np.sin(rise)])
        joints.append(joints[-1] + step * length * rng.uniform(0.7, 1.2))
    meshes = []
    for k, (start, end) in enumerate(itertools.pairwise(joints)):
        thick = r * (1.0 - 0.2 * k)
        meshes.append(tube_mesh(np.linspace(start, end, 3), thick * rng.uniform(0.7, 0.95), 14))
        ball = superquadric_mesh((thick * 1.2, thick * 1.2, thick * 1.2), (1.0, 1.0))
        ball.apply_translation(start)
        meshes.append(ball)
    for side in (-1, 1):
        meshes.append(box_mesh((0.012, 0.008, 0.05), joints[-1] + [0.035 * side, 0.0, -0.05]))
    meshes.append(box_mesh((0.055, 0.03, 0.02), joints[-1]))
    room.add(ObjectShape(ROBOT, join(meshes), ()), T, False, "robot")


def power_strip(room: Room, T: Transform) -> None:
    """Socket strip with a cable that leaves to the back."""
    rng = room.rng
    half = np.array([rng.uniform(0.18, 0.3), rng.uniform(0.022, 0.03), rng.uniform(0.015, 0.025)])
    _block(room, T @ _shift(0, 0, half[2]), half)
    sockets = [box_mesh((0.016, 0.016, 0.002), (x, 0, 2 * half[2])) for x in np.linspace(-0.75, 0.75, 5) * half[0]]
    _seen(room, T, sockets)
    lying_cable(room, T @ _shift(half[0], 0, 0))


def lying_cable(room: Room, T: Transform) -> None:
    """Cable that winds along the support and leads somewhere else."""
    rng = room.rng
    r, length = rng.uniform(0.002, 0.004), rng.uniform(0.4, 0.9)
    t = np.linspace(0.0, 1.0, 25)
    bend = rng.uniform(0.0, 0.05) * np.sin(t * rng.uniform(4, 12)) + rng.uniform(0.0, 0.08) * np.sin(t * 3.0)
    path = np.column_stack([length * t, bend - bend[0], np.full(25, r)])
    shape = ObjectShape("part", tube_mesh(path, r, 6), tube_capsules(path, np.full(25, r), 8))
    room.add(shape, T @ _turn(rng.uniform(-0.5, 0.5), _Z), True, "furniture")


def open_bin(room: Room, T: Transform) -> None:
    """Empty tote or crate, longer than an object may be."""
    rng = room.rng
    half = np.array([rng.uniform(0.18, 0.32), rng.uniform(0.13, 0.22), rng.uniform(0.04, 0.14)])
    wall = rng.uniform(0.002, 0.008)
    _block(room, T @ _shift(0, 0, wall), (half[0], half[1], wall), surface="tote")
    for axis in (0, 1):
        for side in (-1, 1):
            size, centre = half.copy(), np.array([0.0, 0.0, half[2]])
            size[axis], centre[axis] = wall, side * (half[axis] - wall)
            _block(room, T @ _shift(*centre), size, surface="tote")


def appliance(room: Room, T: Transform) -> None:
    """Printer, microwave oven, computer tower: a box with a recessed front, too large to be an object."""
    rng = room.rng
    half = np.array([rng.uniform(0.18, 0.26), rng.uniform(0.12, 0.2), rng.uniform(0.1, 0.22)])
    _block(room, T @ _shift(0, 0, half[2]), half)
    panel = [box_mesh((half[0] * 0.6, 0.006, half[2] * 0.7), (-half[0] * 0.25, -half[1], half[2]))]
    panel.append(box_mesh((0.012, 0.01, half[2] * 0.4), (half[0] * 0.6, -half[1], half[2])))
    _seen(room, T, panel)


ON_TABLE: tuple[Fixture, ...] = (
    monitor,
    laptop,
    keyboard,
    lamp,
    robot_arm,
    power_strip,
    lying_cable,
    open_bin,
    appliance,
)

# ---------------------------------------------------------------------------------------------------------------------
# On the floor


def person(room: Room, T: Transform) -> None:
    """Somebody who stands or sits: legs, trunk, arms, head."""
    rng = room.rng
    hip, width = rng.uniform(0.45, 0.95), rng.uniform(0.17, 0.24)
    meshes = []
    for side in (-1, 1):
        knee = np.array([0.1 * side, rng.uniform(-0.25, 0.05), hip * 0.5])
        leg = np.array([[0.11 * side, 0.0, hip], knee, [0.11 * side, knee[1] + 0.05, 0.03]])
        meshes.append(tube_mesh(leg, [0.08, 0.06, 0.05], 10))
        shoulder = np.array([width * side, 0.0, hip + 0.5])
        hand = shoulder + np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.45, 0.05), rng.uniform(-0.55, -0.15)])
        elbow = (shoulder + hand) / 2 + np.array([0.06 * side, 0.05, -0.05])
        meshes.append(tube_mesh(np.array([shoulder, elbow, hand]), [0.05, 0.042, 0.03], 10))
        palm = superquadric_mesh((0.045, 0.06, 0.02), (0.8, 0.8))
        palm.apply_translation(hand)
        meshes.append(palm)
    trunk = superquadric_mesh((width, 0.13, 0.34), (0.6, 0.8))
    trunk.apply_translation([0.0, 0.0, hip + 0.25])
    head = superquadric_mesh((0.08, 0.1, 0.12), (1.0, 1.0))
    head.apply_translation([0.0, 0.0, hip + 0.75])
    _seen(room, T, [*meshes, trunk, head])


def shelf_unit(room: Room, T: Transform) -> None:
    """Open shelf of boards, with large boxes on some of them."""
    rng = room.rng
    half_w, half_d, height = rng.uniform(0.3, 0.6), rng.uniform(0.13, 0.25), rng.uniform(0.8, 2.0)
    boards = int(rng.integers(3, 6))
    levels = np.linspace(0.03, height, boards)
    meshes = [box_mesh((half_w, half_d, 0.012), (0.0, 0.0, float(z))) for z in levels]
    for side in (-1, 1):
        meshes.append(box_mesh((0.012, half_d, height / 2), (side * half_w, 0.0, height / 2)))
    _seen(room, T, meshes)
    for z in levels[:-1]:
        if rng.random() < 0.6:
            half = np.array([rng.uniform(0.18, 0.25), half_d * 0.8, rng.uniform(0.05, 0.1)])
            _block(room, T @ _shift(rng.uniform(-0.2, 0.2) * half_w, 0.0, float(z) + half[2] + 0.012), half, False)


def drawers(room: Room, T: Transform) -> None:
    """Chest of drawers with handles."""
    rng = room.rng
    half_w, half_d, height = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.3), rng.uniform(0.45, 1.2)
    _block(room, T @ _shift(0, 0, height / 2), (half_w, half_d, height / 2), False)
    fronts = drawer_fronts(rng, half_w, height)
    _seen(room, T @ _shift(0, -half_d, 0), fronts)


def drawer_fronts(rng: np.random.Generator, half_w: float, height: float) -> list[trimesh.Trimesh]:
    """Fronts with handles on the plane y = 0, which faces -y."""
    count = int(rng.integers(2, 5))
    meshes = []
    for k in range(count):
        z = (k + 0.5) * height / count
        meshes.append(box_mesh((half_w * 0.94, 0.01, 0.44 * height / count), (0.0, 0.0, z)))
        meshes.append(box_mesh((half_w * 0.25, 0.012, 0.008), (0.0, -0.025, z)))
    return meshes


def curtain(room: Room, T: Transform) -> None:
    """Wavy cloth that hangs down."""
    rng = room.rng
    x = np.linspace(-1.0, 1.0, 60) * rng.uniform(0.4, 1.2)
    wave = rng.uniform(0.02, 0.06) * np.sin(x * rng.uniform(20, 50)) + 0.02 * np.sin(x * 13.0)
    height = rng.uniform(1.2, 2.4)
    front = np.stack([np.column_stack([x, wave * s, np.full(60, z)]) for z, s in ((0.0, 1.2), (height, 0.7))])
    _seen(room, T, [sheet_mesh(front)], surface="wall")


def sheet_mesh(grid_m: FloatArray) -> trimesh.Trimesh:
    """Open surface through a (rows, columns, 3) grid of points."""
    rows, columns, _ = grid_m.shape
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (row * columns + column).ravel()
    faces = np.concatenate([[a, a + 1, a + columns + 1], [a, a + columns + 1, a + columns]], axis=1).T
    return trimesh.Trimesh(grid_m.reshape(-1, 3), faces, process=False, validate=False)


def door(room: Room, T: Transform) -> None:
    """Door frame with a door that stands more or less open."""
    rng = room.rng
    half_w, height = rng.uniform(0.38, 0.5), rng.uniform(1.9, 2.1)
    meshes = [box_mesh((0.05, 0.08, height / 2), (s * (half_w + 0.05), 0.0, height / 2)) for s in (-1, 1)]
    meshes.append(box_mesh((half_w + 0.1, 0.08, 0.05), (0.0, 0.0, height + 0.05)))
    _seen(room, T, meshes)
    leaf = _shift(-half_w, 0, 0) @ _turn(rng.uniform(-1.8, 0.0), _Z) @ _shift(half_w, 0, height / 2)
    _block(room, T @ leaf, (half_w, 0.02, height / 2), False)


def step(room: Room, T: Transform) -> None:
    """Platform, stair or ledge."""
    rng = room.rng
    rise, half_w = rng.uniform(0.05, 0.2), rng.uniform(0.4, 1.2)
    for k in range(int(rng.integers(1, 4))):
        _block(room, T @ _shift(0, 0.3 * k, rise * (k + 0.5)), (half_w, 0.3, rise / 2), False)


def pillar(room: Room, T: Transform) -> None:
    """Column, pipe, tripod's or lamp's pole."""
    rng = room.rng
    r, height = rng.uniform(0.015, 0.2), rng.uniform(0.8, 2.4)
    _round(room, T, [[1.8 * r, 0], [1.8 * r, 0.03], [r, 0.04], [r, height], [0, height]], False)


def chair(room: Room, T: Transform) -> None:
    """Chair or stool with four legs or a column, with or without a back."""
    rng = room.rng
    w, d, seat = (float(v) for v in rng.uniform((0.17, 0.17, 0.38), (0.26, 0.26, 0.52)))
    parts = [((w, d, 0.02), (0.0, 0.0, seat))]
    if rng.random() < 0.8:
        back = rng.uniform(0.12, 0.3)
        parts.append(((w, 0.015, back), (0.0, d, seat + back + rng.uniform(0.0, 0.12))))
        parts += [((0.015, 0.012, 0.15), (s * w * 0.8, d, seat + 0.13)) for s in (-1, 1)]
    if rng.random() < 0.6:
        parts += [
            ((0.018, 0.018, seat / 2), (a * (w - 0.02), b * (d - 0.02), seat / 2)) for a in (-1, 1) for b in (-1, 1)
        ]
    else:
        parts += [((0.025, 0.025, seat / 2), (0.0, 0.0, seat / 2)), ((w, 0.03, 0.03), (0.0, 0.0, 0.05))]
        parts.append(((0.03, d, 0.03), (0.0, 0.0, 0.05)))
    _seen(room, T, [box_mesh(half, centre) for half, centre in parts])


def crate(room: Room, T: Transform) -> None:
    """Large box or cabinet."""
    rng = room.rng
    half = np.array([*rng.uniform(0.18, 0.3, 2), rng.uniform(0.18, 0.8)])
    _block(room, T @ _shift(0, 0, half[2]), half, False)


ON_FLOOR: tuple[Fixture, ...] = (
    chair,
    chair,
    crate,
    person,
    shelf_unit,
    drawers,
    curtain,
    door,
    step,
    pillar,
    open_bin,
    appliance,
)


# ---------------------------------------------------------------------------------------------------------------------
# Parts of a table


def underframe(room: Room, half_w: float, half_d: float, top_z: float, height: float) -> None:
    """Something under a rectangular table top besides its legs: an apron, cross bars, drawers or a modesty panel."""
    rng = room.rng
    inset = rng.uniform(0.0, 0.08)
    w, d = half_w - inset, half_d - inset
    kind = int(rng.integers(4))
    if kind == 0:
        deep = rng.uniform(0.02, 0.06)
        for side in (-1, 1):
            _block(room, _shift(0, side * d, top_z - deep), (w, 0.01, deep), False)
            _block(room, _shift(side * w, 0, top_z - deep), (0.01, d, deep), False)
    elif kind == 1:
        z = top_z - height * rng.uniform(0.6, 0.9)
        _block(room, _shift(0, 0, z), (w, 0.02, 0.02), False)
        for side in (-1, 1):
            _block(room, _shift(side * w, 0, z), (0.02, d, 0.02), False)
    elif kind == 2:
        wide, tall = rng.uniform(0.15, 0.25), height * rng.uniform(0.4, 0.95)
        side = rng.choice([-1, 1]) * max(w - wide, 0.0)
        T = _shift(side, 0.0, top_z - tall)
        _block(room, T @ _shift(0, 0, tall / 2), (wide, d * 0.95, tall / 2), False)
        _seen(room, T @ _shift(0, -d * 0.95, 0), drawer_fronts(rng, wide, tall))
    else:
        tall = height * rng.uniform(0.3, 0.9)
        _block(room, _shift(0, d * rng.uniform(0.2, 0.9), top_z - tall / 2), (w, 0.01, tall / 2), False)


def tablecloth(room: Room, half_w: float, half_d: float) -> None:
    """Cloth over a rectangular top at z = 0, which hangs down over its edges in folds."""
    rng = room.rng
    drop, lift = rng.uniform(0.08, 0.4), 0.0012
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * (half_w + 0.004, half_d + 0.004)
    t = np.linspace(0.0, 4.0, 161)
    path = np.column_stack([np.interp(t, np.arange(5), corners[:, k]) for k in (0, 1)])
    outward = path / np.linalg.norm(path, axis=1, keepdims=True)
    fold = 1.0 + np.sin(t * rng.uniform(15, 35) + np.sin(t * 5.0))
    rows = [(0.0, lift), (0.002, 0.0), (0.015, -0.4 * drop), (0.03, -drop)]
    grid = [np.column_stack([path + reach * fold[:, None] * outward, np.full(161, z)]) for reach, z in rows]
    top = box_mesh((half_w + 0.004, half_d + 0.004, lift / 2), (0.0, 0.0, lift / 2))
    _seen(room, Transform.identity(), [sheet_mesh(np.stack(grid)), top], surface="sheet")


def board(room: Room, half_w: float, half_d: float, thickness: float, rim: float) -> None:
    """Cutting board, mat or large tray whose upper face is z = 0, with a rim of height ``rim`` if any."""
    _block(room, _shift(0, 0, -thickness / 2), (half_w, half_d, thickness / 2), surface="top")
    if rim > 0.0:
        for side in (-1, 1):
            _block(room, _shift(side * half_w, 0, rim / 2), (0.004, half_d, rim / 2), surface="tote")
            _block(room, _shift(0, side * half_d, rim / 2), (half_w, 0.004, rim / 2), surface="tote")


def folds(room: Room, half_w: float, half_d: float, contacts_xy_m: FloatArray) -> None:
    """Rumpled cloth or paper on the support, smooth where something rests on it.

    Args:
        room: takes the part.
        half_w: half its extent along x.
        half_d: the same along y.
        contacts_xy_m: (N, 2) points of the support that objects touch or cover.
    """
    rng = room.rng
    count = 48
    x, y = np.meshgrid(np.linspace(-half_w, half_w, count), np.linspace(-half_d, half_d, count))
    points = np.column_stack([x.ravel(), y.ravel(), 0 * x.ravel()])
    waves = np.abs(smooth_noise(points / rng.uniform(0.08, 0.2), rng, (4.0, 7.0, 11.0))).reshape(x.shape)
    covered = np.zeros((count, count), np.uint8)
    scale = np.array([half_w, half_d])
    cells = np.rint((contacts_xy_m / scale + 1.0) / 2.0 * (count - 1)).astype(int)
    cells = cells[((cells >= 0) & (cells < count)).all(axis=1)]
    covered[cells[:, 1], cells[:, 0]] = 1
    distance = cv2.distanceTransform(1 - covered, cv2.DIST_L2, 3) * (2.0 * scale.min() / count)
    free = np.clip((distance - 0.01) / 0.05, 0.0, 1.0)
    z = 0.0012 + rng.uniform(0.006, 0.03) * free * waves
    _seen(room, Transform.identity(), [sheet_mesh(np.stack([x, y, z], axis=-1))], surface="sheet")


def skirting(room: Room, T: Transform, half_w: float) -> None:
    """Board along the foot of a wall that faces -y, with a socket now and then."""
    rng = room.rng
    height = rng.uniform(0.03, 0.07)
    meshes = [box_mesh((half_w, rng.uniform(0.006, 0.012), height), (0.0, 0.0, height))]
    if rng.random() < 0.5:
        meshes.append(box_mesh((0.04, 0.008, 0.04), (rng.uniform(-1, 1), 0.0, rng.uniform(0.2, 1.2))))
    _seen(room, T, meshes)
