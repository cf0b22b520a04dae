"""Random scenes: a support with its surroundings, objects that MuJoCo let fall and settle, cameras that look at them.

The world frame has z up and its origin at the middle of the support's surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import mujoco
import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.synthetic import fixtures, objects
from instance_seg_ros.synthetic.appearance import Appearance, background_appearance
from instance_seg_ros.synthetic.objects import FAMILIES, CollisionGeom, ObjectShape, Vector, sample_object
from instance_seg_ros.synthetic.placing import place_objects, sample_arrangement, sample_shapes
from instance_seg_ros.synthetic.render import RayCaster
from instance_seg_ros.synthetic.world import SUPPORTS, Placed, Scene, Support, View, look_at, pose, yaw_rotation

FloatArray = npt.NDArray[np.float64]

_SUPPORT_SHARES = (0.32, 0.14, 0.12, 0.12, 0.22, 0.08)
_TIMESTEP_S = 0.004
_NEAREST_M = 0.18
_DEEPEST_M = 0.05  # beside a board or a tote on the table, not on the floor


# ---------------------------------------------------------------------------------------------------------------------
# Supports


class Room:
    """Collects background parts while a support is being built."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.solid: list[Placed] = []
        self.surroundings: list[Placed] = []
        self._looks: dict[str, Appearance] | None = None

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
        look = self._look(surface)
        (self.solid if solid else self.surroundings).append(Placed(shape, T_world_shape, 0, look))

    def _look(self, surface: str) -> Appearance:
        if self._looks is None:
            return background_appearance(self.rng, surface)
        if surface not in self._looks or self.rng.random() < 0.15:
            self._looks[surface] = background_appearance(self.rng, surface)
        return self._looks[surface]

    def add_fixture(self, fixture: fixtures.Fixture, T_world_fixture: FloatArray) -> None:
        """A fixture, most of whose parts look alike."""
        self._looks = {}
        fixture(self, T_world_fixture)
        self._looks = None


def _add_floor(room: Room, floor_z: float, solid: bool = False) -> None:
    """The floor of a room, with its surface at ``floor_z``."""
    room.add_box((6.0, 6.0, 0.05), (0.0, 0.0, floor_z - 0.05), solid, surface="floor")


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
            wall = ObjectShape("part", objects.box_mesh((6.0, 0.05, 1.6)), ())
            room.add(wall, T @ pose((0.0, away_m[side] + 0.05, 1.6)), surface="wall")
            if rng.random() < 0.6:
                fixtures.skirting(room, T @ pose((0.0, away_m[side], 0.0)), 6.0)
    return away_m


def _add_furniture(room: Room, floor_z: float, keep_out_m: float, away_m: FloatArray, count: int) -> None:
    """Fixtures and big clutter on the floor, outside a circle about the origin, facing it more or less.

    Those that would reach through a wall at a distance of ``away_m`` (see :func:`_add_walls`) are left out.
    """
    rng = room.rng
    for _ in range(count):
        angle = rng.uniform(0, 2 * np.pi)
        distance = keep_out_m + rng.uniform(0.3, 1.9)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        if (np.array([y, -x, -y, x]) > away_m - 0.3).any():
            continue
        T = pose((x, y, floor_z), yaw_rotation(angle - np.pi / 2 + rng.normal(0, 0.5)))
        if rng.random() < 0.85:
            room.add_fixture(fixtures.ON_FLOOR[int(rng.integers(len(fixtures.ON_FLOOR)))], T)
            continue
        shape = sample_object(rng, ("lathe", "lump", "bottle", "composition", "bowl", "cylinder"))
        shape = replace(shape, mesh=shape.mesh.copy(), geoms=())
        shape.mesh.apply_scale(rng.uniform(4.0, 8.0))
        room.add(shape, T @ pose((0.0, 0.0, -shape.bottom_m)))


def _add_table(room: Room, half_w: float, half_d: float, top_z: float, height: float) -> None:
    """A table whose top covers at least the given half extents, on legs, a column or a solid body.

    Rectangular tops may reach further back, where fixtures stand, may have a wing at one side or a cloth on them.
    """
    rng = room.rng
    thickness = rng.uniform(0.012, 0.05)
    if rng.random() < 0.15:
        radius = max(half_w, half_d)
        shape = ObjectShape(
            "part",
            objects.lathe_mesh(np.array([[0, -thickness], [radius, -thickness], [radius, 0], [0, 0]]), 48),
            (CollisionGeom("cylinder", (radius, thickness / 2), (0.0, 0.0, -thickness / 2)),),
        )
        room.add(shape, pose((0.0, 0.0, top_z)), solid=True, surface="top")
        room.add_box((0.05, 0.05, height / 2), (0, 0, top_z - height / 2 - thickness))
        return
    back = rng.uniform(0.2, 0.45) if rng.random() < 0.65 and half_w > 0.3 else 0.0
    room.add_box((half_w, half_d + back / 2, thickness / 2), (0, back / 2, top_z - thickness / 2), True, surface="top")
    if back > 0.0:
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
        return
    if rng.random() < 0.6:
        fixtures.underframe(room, half_w, half_d, bottom, height)
    leg = rng.uniform(0.015, 0.04)
    looks = [(sx, sy) for sx in (-1, 1) for sy in (-1, 1)]
    legs = [
        objects.box_mesh(
            (leg, leg, height / 2), (sx * (half_w - leg), sy * (half_d - leg) + back / 2, bottom - height / 2)
        )
        for sx, sy in looks
    ]
    room.add(ObjectShape("part", objects.join(legs), ()), np.eye(4))


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


def _add_sheets(room: Room, half_w: float, half_d: float) -> None:
    """Paper, mats or cloths lying on the support: too flat to be objects."""
    rng = room.rng
    for _ in range(int(rng.integers(1, 4))):
        half = (*rng.uniform(0.05, 0.25, 2), rng.uniform(0.0001, 0.0008))
        reach = float(np.hypot(half[0], half[1]))
        if reach < min(half_w, half_d):
            x, y = rng.uniform(-1, 1, 2) * (half_w - reach, half_d - reach)
            room.add_box(half, (x, y, half[2]), yaw=float(rng.uniform(0, np.pi)), surface="sheet")


def _add_wall_behind(room: Room, half_d: float) -> None:
    """A wall along +y, at the support's edge or behind it."""
    gap = 0.0 if room.rng.random() < 0.4 else room.rng.uniform(0.0, 0.5)
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
    room = Room(rng)
    if kind == "tote":
        return _sample_tote(room)
    if kind == "shelf":
        return _sample_shelf(room)
    open_yaw = _ALL_ROUND
    if kind == "floor":
        half_w = half_d = float(rng.uniform(0.3, 0.6))
        _add_floor(room, 0.0, solid=True)
        away_m = _add_walls(room, 0.0, half_w)
        _add_furniture(room, 0.0, 1.5 * half_w, away_m, int(rng.integers(0, 7)))
    else:
        low, high = {"table": (0.3, 0.8), "small_table": (0.18, 0.32), "desk": (0.6, 1.1)}[kind]
        half_w, half_d = (float(v) for v in rng.uniform(low, high, 2))
        height = float(rng.uniform(0.35, 1.1))
        reach = float(np.hypot(half_w, half_d))
        on_board = rng.random() < 0.15
        thickness = float(rng.uniform(0.002, 0.025)) if on_board else 0.0
        _add_table(room, half_w, half_d, -thickness, height)
        _add_floor(room, -height - thickness)
        away_m = _add_walls(room, -height - thickness, reach)
        _add_furniture(room, -height - thickness, reach * 0.9, away_m, int(rng.integers(0, 9)))
        if half_w > 0.6 and rng.random() < 0.4:
            half_w = _add_side_fixture(room, half_w, half_d, -thickness)
        if rng.random() < 0.2:
            _add_wall_behind(room, half_d)
            open_yaw = _FROM_FRONT
        if on_board:
            half_w, half_d = min(half_w, float(rng.uniform(0.19, 0.35))), min(half_d, float(rng.uniform(0.14, 0.25)))
            fixtures.board(room, half_w, half_d, thickness, float(rng.uniform(0.008, 0.03)) * (rng.random() < 0.5))
    if rng.random() < 0.3:
        _add_sheets(room, half_w, half_d)
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
        mesh = trimesh.Trimesh(vertices, objects.box_mesh((1, 1, 1)).faces, process=False)
        walls.append(
            Placed(ObjectShape("part", mesh, (CollisionGeom("mesh", vertices_m=vertices),)), np.eye(4), 0, look)
        )
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
    _add_furniture(room, -2 * bottom - below, 0.9 * reach, away_m, int(rng.integers(0, 7)))
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


# ---------------------------------------------------------------------------------------------------------------------
# Settling


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
        if np.isfinite(q).all() and lowest > -_DEEPEST_M and (np.abs(q[:2]) < limit).all() and lowest < 0.8:
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
    names = tuple(families or FAMILIES)
    count = _random_count(rng, kind, max_objects)
    arrangement = sample_arrangement(rng, kind)
    shapes = sample_shapes(rng, names, count, arrangement)
    objects_at_rest = settle(support, place_objects(rng, shapes, support, arrangement))
    if kind not in ("tote", "shelf") and rng.random() < 0.12:
        support = _with_folds(rng, support, objects_at_rest)
    return Scene(support, objects_at_rest)


def _random_count(rng: np.random.Generator, kind: str, max_objects: int) -> int:
    """Number of bodies to place: mostly many, sometimes few or none."""
    if rng.random() < 0.04:
        return 0
    crowd = rng.random() < (0.8 if kind == "tote" else 0.55)
    low, high = (9, 20) if crowd else (1, 9)
    if kind in ("small_table", "shelf"):
        low, high = min(low, 6), min(high, 12)
    return int(rng.integers(min(low, max_objects), min(high, max_objects) + 1))


def _with_folds(rng: np.random.Generator, support: Support, bodies: Sequence[Placed]) -> Support:
    """The support with a rumpled cloth or paper around what lies on it."""
    near = []
    for body in bodies:
        points = body.shape.mesh.vertices @ body.T_world_shape[:3, :3].T + body.T_world_shape[:3, 3]
        near.append(points[points[:, 2] < 0.05][:, :2])
    room = Room(rng)
    half_w, half_d = (half * float(rng.uniform(0.5, 0.98)) for half in support.half_wh_m)
    fixtures.folds(room, half_w, half_d, np.concatenate(near) if near else np.zeros((0, 2)))
    return replace(support, surroundings=(*support.surroundings, *room.surroundings))


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
    """Half of the views frame the group of objects; the others are anywhere, close up or far away."""
    distance = float(np.exp(rng.uniform(np.log(0.28), np.log(1.7))))
    focal = _random_focal(rng, distance)
    target = _random_target(rng, scene)
    if aside:
        target = target + rng.normal(0, 0.8, 3) * [1, 1, 0.4]
        distance += 0.3
    elif scene.objects and rng.random() < 0.5:
        centres = np.array([item.T_world_shape[:3, 3] for item in scene.objects])
        middle = np.median(centres, axis=0)
        reach = float(np.percentile(np.linalg.norm(centres - middle, axis=1), 80)) + 0.06
        target = middle + rng.normal(0, 0.3, 3) * reach * [1, 1, 0.3]
        focal = max(0.5, focal * float(rng.uniform(0.55, 1.0)))  # a wide lens close by shows the room as well
        distance = float(np.clip(focal * reach / rng.uniform(0.34, 0.78), 0.28, 1.7))
    elevation = _random_elevation(rng, scene.support.kind)
    yaw = rng.uniform(*scene.support.open_yaw)
    away = np.array([np.cos(yaw) * np.cos(elevation), np.sin(yaw) * np.cos(elevation), np.sin(elevation)])
    roll = rng.normal(0, 0.06) if rng.random() < 0.9 else rng.uniform(-np.pi, np.pi)
    T = look_at(target + distance * away, target, float(roll))
    off_axis = rng.normal(0, 0.08, 2)
    tilt = trimesh.transformations.euler_matrix(off_axis[0], off_axis[1], 0.0)
    centre = np.array(size_wh) / 2 - 0.5 + rng.normal(0, 0.02, 2) * size_wh[0]
    focal_x = focal * size_wh[0]
    focal_y = focal_x * float(rng.normal(1.0, 0.002))
    return View((focal_x, focal_y, float(centre[0]), float(centre[1])), T @ tilt)


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
    """Angle above the horizon in radians; three views in ten graze the support."""
    if support_kind == "shelf":
        return float(np.deg2rad(rng.uniform(3.0, 40.0)))
    if support_kind == "tote":
        return float(np.deg2rad(rng.uniform(28.0, 89.0)))
    low, high = ((8.0, 28.0), (25.0, 70.0), (60.0, 89.0))[int(rng.choice(3, p=(0.3, 0.52, 0.18)))]
    return float(np.deg2rad(rng.uniform(low, high)))


def _random_focal(rng: np.random.Generator, distance_m: float) -> float:
    """Focal length over image width: from wide time-of-flight cameras (0.5) to industrial structured light (1.8).

    Long lenses are likelier far away, as they are in use.
    """
    usual = 1.15 * (distance_m / 0.3) ** 0.4
    return float(np.clip(usual * np.exp(rng.normal(0.0, 0.35)), 0.5, 1.8))
