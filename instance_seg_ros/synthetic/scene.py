"""Random scenes: a support with its surroundings, objects that MuJoCo let fall and settle, cameras that look at them.

The world frame has z up and its origin at the middle of the support's surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.synthetic import objects
from instance_seg_ros.synthetic.appearance import Appearance, background_appearance, object_appearance
from instance_seg_ros.synthetic.objects import FAMILIES, CollisionGeom, ObjectShape, Vector, sample_object
from instance_seg_ros.synthetic.render import RayCaster

FloatArray = npt.NDArray[np.float64]

SUPPORTS = ("table", "small_table", "desk", "floor", "tote", "shelf")
ARRANGEMENTS = ("packed", "dropped", "stacked", "mixed")
_SUPPORT_SHARES = (0.34, 0.12, 0.14, 0.16, 0.16, 0.08)
_ARRANGEMENT_SHARES = (0.3, 0.3, 0.12, 0.28)
_TIMESTEP_S = 0.004
_NEAREST_M = 0.18


@dataclass(frozen=True)
class Placed:
    """A shape in the world. ``instance_id`` 0 is background; ``T_world_shape`` is (4, 4)."""

    shape: ObjectShape
    T_world_shape: FloatArray
    instance_id: int
    appearance: Appearance


@dataclass(frozen=True)
class Support:
    """What objects rest on and what stands around it, all of it background.

    Attributes:
        kind: one of :data:`SUPPORTS`.
        solid: parts that objects collide with.
        surroundings: parts that are only seen.
        half_wh_m: half extents in x and y of the area where objects are put.
        open_yaw: directions (low, high) in radians from which a camera may look, about +z from +x.
    """

    kind: str
    solid: tuple[Placed, ...]
    surroundings: tuple[Placed, ...]
    half_wh_m: tuple[float, float]
    open_yaw: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """A support with objects at rest; instance ids are 1.. in no order, with gaps where objects were removed."""

    support: Support
    objects: tuple[Placed, ...]

    def placed(self) -> tuple[Placed, ...]:
        """Everything that can be seen."""
        return (*self.support.solid, *self.support.surroundings, *self.objects)


@dataclass(frozen=True)
class View:
    """A camera: pinhole parameters (fx, fy, cx, cy) of its image and its (4, 4) pose in the world."""

    intrinsics_fxfycxcy: tuple[float, float, float, float]
    T_world_camera: FloatArray


# ---------------------------------------------------------------------------------------------------------------------
# Poses


def pose(position_m: Vector, rotation: FloatArray | None = None) -> FloatArray:
    """(4, 4) pose from a position and a (3, 3) rotation (identity when None)."""
    T = np.eye(4)
    T[:3, 3] = position_m
    if rotation is not None:
        T[:3, :3] = rotation
    return T


def yaw_rotation(angle: float) -> FloatArray:
    """(3, 3) rotation about z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _random_rotation(rng: np.random.Generator) -> FloatArray:
    return np.asarray(trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3])


def look_at(eye_m: FloatArray, target_m: FloatArray, roll: float = 0.0) -> FloatArray:
    """(4, 4) pose of an optical frame (x right, y down, z forward) at ``eye_m`` looking at ``target_m``.

    ``roll`` turns the camera about its axis, in radians. Looking straight down, the image's top is towards world +y.
    """
    forward = target_m - eye_m
    forward = forward / np.linalg.norm(forward)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.column_stack([right, np.cross(forward, right), forward])
    return pose(eye_m, rotation @ yaw_rotation(roll))


# ---------------------------------------------------------------------------------------------------------------------
# Supports


class _Room:
    """Collects background parts while a support is being built."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.solid: list[Placed] = []
        self.surroundings: list[Placed] = []

    def add_box(
        self,
        half_m: Vector,
        centre_m: Vector,
        solid: bool = False,
        yaw: float = 0.0,
        surface: str = "furniture",
    ) -> None:
        """A cuboid."""
        shape = ObjectShape("part", objects.box_mesh(half_m), (objects.box_geom(half_m),))
        self.add(shape, pose(centre_m, yaw_rotation(yaw)), solid, surface)

    def add(
        self, shape: ObjectShape, T_world_shape: FloatArray, solid: bool = False, surface: str = "furniture"
    ) -> None:
        """Any shape."""
        look = background_appearance(self.rng, surface)
        (self.solid if solid else self.surroundings).append(Placed(shape, T_world_shape, 0, look))


def _add_floor_and_walls(room: _Room, floor_z: float, reach_m: float) -> None:
    """Floor, and sometimes walls, of a room at least ``reach_m`` from the origin to each side."""
    rng = room.rng
    room.add_box((6.0, 6.0, 0.05), (0.0, 0.0, floor_z - 0.05), surface="floor")
    for side in range(4):
        if rng.random() < 0.45:
            away = reach_m + rng.uniform(0.3, 3.0)
            direction = np.array([np.cos(side * np.pi / 2), np.sin(side * np.pi / 2)])
            half = (0.05, 6.0, 1.6) if side % 2 == 0 else (6.0, 0.05, 1.6)
            room.add_box(half, (*(direction * (away + 0.05)), floor_z + 1.6), surface="wall")


def _add_furniture(room: _Room, floor_z: float, keep_out_m: float, count: int) -> None:
    """Boxes, chairs, cabinets and big clutter on the floor, outside a circle about the origin."""
    rng = room.rng
    for _ in range(count):
        angle = rng.uniform(0, 2 * np.pi)
        size = rng.uniform(0.28, 0.6, 3)
        distance = keep_out_m + float(np.hypot(size[0], size[1])) / 2 + rng.uniform(0.02, 1.5)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        yaw = float(rng.uniform(0, np.pi))
        kind = rng.integers(4)
        if kind == 0:
            _add_chair(room, floor_z, (x, y), yaw)
        elif kind == 1:
            height = rng.uniform(0.4, 1.8)
            room.add_box((size[0] / 2, size[1] / 2, height / 2), (x, y, floor_z + height / 2), yaw=yaw)
        elif kind == 2:
            room.add_box(size / 2, (x, y, floor_z + size[2] / 2), yaw=yaw)
        else:
            shape = sample_object(rng, ("lathe", "lump", "bottle", "composition", "bowl", "cylinder"))
            factor = rng.uniform(4.0, 8.0)
            shape = replace(shape, mesh=shape.mesh.copy(), geoms=())
            shape.mesh.apply_scale(factor)
            room.add(shape, pose((x, y, floor_z - shape.bottom_m), yaw_rotation(yaw)))


def _add_chair(room: _Room, floor_z: float, xy: tuple[float, float], yaw: float) -> None:
    rng = room.rng
    width, depth, seat = rng.uniform(0.36, 0.5), rng.uniform(0.36, 0.5), rng.uniform(0.38, 0.5)
    rotation = yaw_rotation(yaw)
    parts = [((width / 2, depth / 2, 0.02), (0.0, 0.0, seat))]
    back = rng.uniform(0.15, 0.3)
    parts.append(((width / 2, 0.015, back), (0.0, depth / 2, seat + back + rng.uniform(0.0, 0.1))))
    for sx in (-1, 1):
        for sy in (-1, 1):
            parts.append(((0.018, 0.018, seat / 2), (sx * (width / 2 - 0.02), sy * (depth / 2 - 0.02), seat / 2)))
    for half, centre in parts:
        turned = rotation @ np.asarray(centre)
        room.add_box(half, (xy[0] + turned[0], xy[1] + turned[1], floor_z + turned[2]), yaw=yaw)


def _add_table(room: _Room, half_w: float, half_d: float, height: float) -> None:
    """A rectangular or round top whose surface is z = 0, on legs, a column or a solid body."""
    rng = room.rng
    thickness = rng.uniform(0.012, 0.05)
    if rng.random() < 0.15:
        radius = max(half_w, half_d)
        shape = ObjectShape(
            "part",
            objects.lathe_mesh(np.array([[0, -thickness], [radius, -thickness], [radius, 0], [0, 0]]), 48),
            (CollisionGeom("cylinder", (radius, thickness / 2), (0.0, 0.0, -thickness / 2)),),
        )
        room.add(shape, np.eye(4), solid=True, surface="top")
        room.add_box((0.05, 0.05, height / 2), (0, 0, -height / 2 - thickness))
        return
    room.add_box((half_w, half_d, thickness / 2), (0, 0, -thickness / 2), solid=True, surface="top")
    if rng.random() < 0.35:
        inset = rng.uniform(0.0, 0.06)
        room.add_box((half_w - inset, half_d - inset, (height - thickness) / 2), (0, 0, -(height + thickness) / 2))
        return
    leg = rng.uniform(0.015, 0.04)
    for sx in (-1, 1):
        for sy in (-1, 1):
            room.add_box((leg, leg, height / 2), (sx * (half_w - leg), sy * (half_d - leg), -height / 2 - thickness))


def _add_sheets(room: _Room, half_w: float, half_d: float) -> None:
    """Paper, mats or cloths lying on the support: too flat to be objects."""
    rng = room.rng
    for _ in range(int(rng.integers(1, 4))):
        half = (*rng.uniform(0.05, 0.25, 2), rng.uniform(0.0001, 0.0008))
        reach = float(np.hypot(half[0], half[1]))
        if reach < min(half_w, half_d):
            x, y = rng.uniform(-1, 1, 2) * (half_w - reach, half_d - reach)
            room.add_box(half, (x, y, half[2]), yaw=float(rng.uniform(0, np.pi)), surface="sheet")


def _add_wall_behind(room: _Room, half_d: float) -> None:
    """A wall along +y, at the support's edge or a little behind it."""
    gap = 0.0 if room.rng.random() < 0.5 else room.rng.uniform(0.0, 0.3)
    room.add_box((3.0, 0.05, 1.5), (0.0, half_d + gap + 0.05, 0.9), solid=True, surface="wall")


_ALL_ROUND = (-np.pi, np.pi)
_FROM_FRONT = (-np.pi / 2 - 1.1, -np.pi / 2 + 1.1)


def sample_support(rng: np.random.Generator, kind: str) -> Support:
    """A random support of one of :data:`SUPPORTS`.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind not in SUPPORTS:
        raise ValueError(f"no support named {kind!r}; choose one of {', '.join(SUPPORTS)}")
    room = _Room(rng)
    if kind == "tote":
        return _sample_tote(room)
    if kind == "shelf":
        return _sample_shelf(room)
    open_yaw = _ALL_ROUND
    if kind == "floor":
        half_w = half_d = float(rng.uniform(0.3, 0.6))
        room.add_box((6.0, 6.0, 0.05), (0.0, 0.0, -0.05), solid=True, surface="floor")
        _add_furniture(room, 0.0, 1.5 * half_w, int(rng.integers(0, 6)))
    else:
        low, high = {"table": (0.35, 0.9), "small_table": (0.2, 0.35), "desk": (0.7, 1.3)}[kind]
        half_w, half_d = (float(v) for v in rng.uniform(low, high, 2))
        height = float(rng.uniform(0.35, 1.1))
        _add_table(room, half_w, half_d, height)
        _add_floor_and_walls(room, -height, float(np.hypot(half_w, half_d)))
        _add_furniture(room, -height, float(np.hypot(half_w, half_d)) * 0.9, int(rng.integers(0, 9)))
        if rng.random() < 0.25:
            _add_wall_behind(room, half_d)
            open_yaw = _FROM_FRONT
    if rng.random() < 0.3:
        _add_sheets(room, half_w, half_d)
    return Support(kind, tuple(room.solid), tuple(room.surroundings), (half_w, half_d), open_yaw)


def _sample_tote(room: _Room) -> Support:
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
        mesh = trimesh.Trimesh(vertices, objects.box_mesh((1, 1, 1)).faces, process=False)
        walls.append(
            Placed(ObjectShape("part", mesh, (CollisionGeom("mesh", vertices_m=vertices),)), np.eye(4), 0, look)
        )
    below = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.3, 1.0))
    bottom = wall / 2
    room.add_box((half_w + wall, half_d + wall, bottom), (0, 0, -bottom), solid=True, surface="tote")
    if below == 0.0:
        room.add_box((6.0, 6.0, 0.05), (0.0, 0.0, -2 * bottom - 0.05), solid=True, surface="floor")
    else:
        table = rng.uniform(0.35, 0.9, 2)
        room.add_box((*table, 0.02), (*rng.uniform(-0.1, 0.1, 2), -2 * bottom - 0.02), solid=True, surface="top")
        room.add_box((6.0, 6.0, 0.05), (0.0, 0.0, -below - 0.1), surface="floor")
    _add_furniture(room, -below - 2 * bottom, 0.9 if below else 0.6, int(rng.integers(0, 5)))
    return Support("tote", (*walls, *room.solid), tuple(room.surroundings), (half_w, half_d), _ALL_ROUND)


def _sample_shelf(room: _Room) -> Support:
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
    _add_floor_and_walls(room, floor_z, 1.0)
    return Support("shelf", tuple(room.solid), tuple(room.surroundings), (half_w, half_d), _FROM_FRONT)


# ---------------------------------------------------------------------------------------------------------------------
# Placing and settling


def _upright(rng: np.random.Generator, shape: ObjectShape) -> FloatArray:
    """Rotation of a standing, toppled or lying object, at any yaw."""
    rotation = yaw_rotation(float(rng.uniform(0, 2 * np.pi)))
    if rng.random() < 0.25:
        axis = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]][int(rng.integers(2))]
        turn = trimesh.transformations.rotation_matrix(np.pi / 2 * rng.integers(1, 4), axis)[:3, :3]
        rotation = rotation @ turn
    return rotation


def _resting(shape: ObjectShape, rotation: FloatArray, xy: FloatArray, z: float) -> FloatArray:
    """Pose whose lowest point is at ``z``."""
    lowest = float((np.asarray(shape.mesh.vertices) @ rotation[2]).min())
    return pose((xy[0], xy[1], z - lowest), rotation)


def place_objects(
    rng: np.random.Generator, shapes: Sequence[ObjectShape], support: Support, arrangement: str
) -> tuple[Placed, ...]:
    """Poses before physics: standing side by side, stacked, or in the air without touching each other."""
    half = np.asarray(support.half_wh_m)
    spread = half * rng.uniform(0.5, 1.0) if support.kind in ("table", "small_table", "shelf") else half * 0.85
    if support.kind in ("desk", "floor"):
        spread = np.minimum(half, rng.uniform(0.2, 0.45))
    packing = float(rng.uniform(0.55, 1.1))
    heap = float(rng.uniform(0.1, 0.6))
    standing: list[tuple[FloatArray, float, float]] = []
    air_z = 0.06
    looks = [item.appearance for item in support.solid]
    placed = []
    for index, shape in enumerate(shapes):
        way = arrangement
        if way == "mixed":
            way = str(rng.choice(["packed", "dropped", "stacked"], p=[0.5, 0.3, 0.2]))
        rotation = _random_rotation(rng) if way == "dropped" else _upright(rng, shape)
        extent = np.ptp(np.asarray(shape.mesh.vertices) @ rotation.T, axis=0)
        radius = float(np.hypot(extent[0], extent[1])) / 2
        T = None
        if way == "packed":
            for _ in range(12):
                xy = rng.uniform(-1, 1, 2) * np.maximum(spread - 0.5 * radius, 0.02)
                if all(np.linalg.norm(xy - other) > packing * (radius + r) for other, r, _ in standing):
                    T = _resting(shape, rotation, xy, 0.002)
                    standing.append((xy, radius, float(extent[2])))
                    break
        elif way == "stacked" and standing:
            slot = int(rng.integers(len(standing)))
            xy, base_radius, top = standing[slot]
            T = _resting(shape, rotation, xy + rng.normal(0, 0.15 * base_radius, 2), top + 0.004)
            standing[slot] = (xy, base_radius, top + 0.004 + float(extent[2]))
        if T is None:
            clear = max([top for _, _, top in standing], default=0.0)
            air_z = max(air_z, clear + 0.03)
            limit = np.maximum(spread - radius, 0.01) if support.kind == "tote" else heap * spread
            T = _resting(shape, rotation, rng.uniform(-1, 1, 2) * limit, air_z)
            air_z += 0.55 * float(extent[2]) + 0.01 if support.kind != "tote" else float(extent[2]) + 0.005
        looks.append(object_appearance(rng, shape, looks))
        placed.append(Placed(shape, T, index + 1, looks[-1]))
    return tuple(placed)


def _geom_xml(geom: CollisionGeom, name: str, attributes: str) -> tuple[str, str]:
    """MJCF of one geom and of its mesh asset, if it needs one."""
    where = f'pos="{_numbers(geom.position_m)}" quat="{_numbers(geom.quaternion_wxyz)}"'
    if geom.vertices_m is None:
        return f'<geom type="{geom.kind}" size="{_numbers(geom.size_m)}" {where} {attributes}/>', ""
    asset = f'<mesh name="{name}" vertex="{_numbers(geom.vertices_m.ravel())}" inertia="convex"/>'
    return f'<geom type="mesh" mesh="{name}" {where} {attributes}/>', asset


def _numbers(values: Vector) -> str:
    return " ".join(f"{v:.6g}" for v in values)


def physics_model(support: Support, placed: Sequence[Placed]) -> mujoco.MjModel:
    """MuJoCo model of a support and free bodies; free joint i belongs to ``placed[i]``."""
    try:
        return mujoco.MjModel.from_xml_string(_physics_xml(support, placed))
    except ValueError as error:
        if "qhull" not in str(error):
            raise
        # Qhull gives up on some sets with nearly coincident points; without those it succeeds.
        return mujoco.MjModel.from_xml_string(_physics_xml(support, [_without_close_points(item) for item in placed]))


def _without_close_points(item: Placed, distance_m: float = 1e-4) -> Placed:
    """The same body with the points of its convex pieces merged where they are closer than ``distance_m``."""
    geoms = tuple(
        geom
        if geom.vertices_m is None
        else replace(geom, vertices_m=np.unique(np.round(geom.vertices_m / distance_m), axis=0) * distance_m)
        for geom in item.shape.geoms
    )
    return replace(item, shape=replace(item.shape, geoms=geoms))


def _physics_xml(support: Support, placed: Sequence[Placed]) -> str:
    """MJCF of a support and free bodies."""
    assets, bodies = [], []
    groups = [("fixed", support.solid), ("free", placed)]
    for group, items in groups:
        attributes = 'friction="0.8 0.01 0.002"' + (' density="600"' if group == "free" else "")
        for index, item in enumerate(items):
            parts = [_geom_xml(g, f"{group}{index}_{k}", attributes) for k, g in enumerate(item.shape.geoms)]
            assets += [asset for _, asset in parts if asset]
            position = _numbers(item.T_world_shape[:3, 3])
            quaternion = _numbers(trimesh.transformations.quaternion_from_matrix(item.T_world_shape))
            joint = '<joint type="free" damping="0.0002"/>' if group == "free" else ""
            geoms = "".join(geom for geom, _ in parts)
            bodies.append(f'<body pos="{position}" quat="{quaternion}">{joint}{geoms}</body>')
    return (
        f'<mujoco><option timestep="{_TIMESTEP_S}" integrator="implicitfast" iterations="15"/>'
        '<default><geom condim="4" solref="0.012 1"/></default>'
        f"<asset>{''.join(assets)}</asset><worldbody>{''.join(bodies)}</worldbody></mujoco>"
    )


def settle(support: Support, placed: Sequence[Placed], duration_s: float = 2.0) -> tuple[Placed, ...]:
    """Let bodies fall and come to rest; those that leave the support are removed.

    Stops early when everything is at rest.
    """
    if not placed:
        return ()
    model = physics_model(support, placed)
    data = mujoco.MjData(model)
    check_every = 50
    for step in range(round(duration_s / _TIMESTEP_S)):
        mujoco.mj_step(model, data)
        if step % check_every == check_every - 1 and step > 2 * check_every and np.abs(data.qvel).max() < 0.02:
            break
    return moved(support, placed, data.qpos)


def moved(support: Support, placed: Sequence[Placed], qpos: FloatArray) -> tuple[Placed, ...]:
    """The bodies at MuJoCo's joint positions, without those off the support."""
    limit = np.asarray(support.half_wh_m) + (0.6 if support.kind in ("floor", "desk") else 0.1)
    result = []
    for item, q in zip(placed, qpos.reshape(-1, 7), strict=True):
        T = trimesh.transformations.quaternion_matrix(q[3:])
        T[:3, 3] = q[:3]
        lowest = float((np.asarray(item.shape.mesh.vertices) @ T[2, :3]).min() + T[2, 3])
        if np.isfinite(q).all() and lowest > -0.012 and (np.abs(q[:2]) < limit).all() and lowest < 0.8:
            result.append(replace(item, T_world_shape=T))
    return tuple(result)


def sample_scene(
    rng: np.random.Generator,
    families: Sequence[str] | None = None,
    max_objects: int = 20,
    support_kind: str | None = None,
) -> Scene:
    """A random settled scene.

    Args:
        rng: source of all randomness; the same state gives the same scene.
        families: object families to draw from, all when None.
        max_objects: bodies at most; some scenes have none at all.
        support_kind: one of :data:`SUPPORTS`, random when None.
    """
    kind = support_kind or str(rng.choice(SUPPORTS, p=_SUPPORT_SHARES))
    support = sample_support(rng, kind)
    arrangement = "dropped" if kind == "tote" else str(rng.choice(ARRANGEMENTS, p=_ARRANGEMENT_SHARES))
    if kind == "shelf":
        arrangement = "packed"
    fewest = min(6, max_objects) if kind == "tote" else min(1, max_objects)
    most = max_objects if kind == "tote" or rng.random() < 0.75 else min(6, max_objects)
    if kind in ("small_table", "shelf"):
        most = min(most, 9)
    count = int(rng.integers(fewest, most + 1)) if rng.random() < 0.97 else 0
    names = tuple(families or FAMILIES)
    shapes = [sample_object(rng, names) for _ in range(count)]
    placed = place_objects(rng, shapes, support, arrangement)
    return Scene(support, settle(support, placed))


# ---------------------------------------------------------------------------------------------------------------------
# Cameras


def sample_view(rng: np.random.Generator, scene: Scene, caster: RayCaster, size_wh: tuple[int, int]) -> View:
    """A random camera with nothing right in front of it that sees some of the scene's objects.

    One view in twenty looks at the surroundings instead, with or without objects in it.
    """
    aside = rng.random() < 0.05
    view = _random_view(rng, scene, size_wh, aside)
    for _ in range(12):
        small = tuple(v / 8 for v in view.intrinsics_fxfycxcy)
        cast = caster.cast(small, (size_wh[0] // 8, size_wh[1] // 8), view.T_world_camera)
        seen = (cast.ids > 0).mean()
        near = cast.depth_m[cast.depth_m > 0]
        enough = seen > 0.02 or not scene.objects or aside
        if enough and near.size and near.min() > _NEAREST_M and seen < 0.9:
            break
        view = _random_view(rng, scene, size_wh, aside)
    return view


def _random_view(rng: np.random.Generator, scene: Scene, size_wh: tuple[int, int], aside: bool) -> View:
    distance = float(np.exp(rng.uniform(np.log(0.28), np.log(1.7))))
    target = _random_target(rng, scene)
    if aside:
        target = target + rng.normal(0, 0.8, 3) * [1, 1, 0.4]
        distance += 0.3
    elevation = _random_elevation(rng, scene.support.kind)
    yaw = rng.uniform(*scene.support.open_yaw)
    away = np.array([np.cos(yaw) * np.cos(elevation), np.sin(yaw) * np.cos(elevation), np.sin(elevation)])
    roll = rng.normal(0, 0.06) if rng.random() < 0.9 else rng.uniform(-np.pi, np.pi)
    T = look_at(target + distance * away, target, float(roll))
    off_axis = rng.normal(0, 0.08, 2)
    tilt = trimesh.transformations.euler_matrix(off_axis[0], off_axis[1], 0.0)
    return View(_random_intrinsics(rng, size_wh, distance), T @ tilt)


def _random_target(rng: np.random.Generator, scene: Scene) -> FloatArray:
    """A point between the middle of the objects and one of them, or anywhere on the support."""
    half = np.asarray(scene.support.half_wh_m)
    target = np.array([*(rng.uniform(-0.5, 0.5, 2) * half), 0.03])
    if scene.objects and rng.random() < 0.9:
        chosen = scene.objects[int(rng.integers(len(scene.objects)))].T_world_shape[:3, 3]
        middle = np.mean([item.T_world_shape[:3, 3] for item in scene.objects], axis=0)
        target = middle + rng.uniform(0, 1) * (chosen - middle)
    return np.asarray(target + rng.normal(0, 0.05, 3) * [1, 1, 0.3])


def _random_elevation(rng: np.random.Generator, support_kind: str) -> float:
    """Angle above the horizon in radians; a quarter of the views graze the support."""
    if support_kind == "shelf":
        return float(np.deg2rad(rng.uniform(3.0, 40.0)))
    if support_kind == "tote":
        return float(np.deg2rad(rng.uniform(28.0, 89.0)))
    low, high = ((8.0, 28.0), (25.0, 70.0), (60.0, 89.0))[int(rng.choice(3, p=(0.25, 0.55, 0.2)))]
    return float(np.deg2rad(rng.uniform(low, high)))


def _random_intrinsics(
    rng: np.random.Generator, size_wh: tuple[int, int], distance_m: float
) -> tuple[float, float, float, float]:
    """Pinhole parameters: from wide time-of-flight cameras (f / width = 0.5) to industrial structured light (1.8).

    Long lenses are likelier far away, as they are in use.
    """
    width, height = size_wh
    usual = 1.05 * (distance_m / 0.3) ** 0.4
    focal = width * float(np.clip(usual * np.exp(rng.normal(0.0, 0.35)), 0.5, 1.8))
    centre = np.array([width, height]) / 2 - 0.5 + rng.normal(0, 0.02, 2) * width
    return focal, focal * float(rng.normal(1.0, 0.002)), float(centre[0]), float(centre[1])
