"""Where objects start before physics: side by side, in rows, in piles, leaning, inside each other, or in the air."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects import sample_object
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape
from instance_seg_ros.learning.synthetic.pictures.appearance import (
    Appearance,
    body_appearances,
    object_appearance,
    sample_material,
)
from instance_seg_ros.learning.synthetic.poses import pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.world import Placed, Support

FloatArray = npt.NDArray[np.float64]

ARRANGEMENTS = (
    "packed",
    "dropped",
    "stacked",
    "rows",
    "filled",
    "leaning",
    "mixed",
    "piled",
    "flush",
    "behind",
    "grouped",
)
_ARRANGEMENT_SHARES = (0.11, 0.11, 0.05, 0.07, 0.06, 0.05, 0.13, 0.11, 0.11, 0.07, 0.13)
_IN_GROUPS = ("piled", "flush", "behind")
_CONTAINERS = ("bowl", "tray", "open_box", "cup", "mug", "plate")
_THIN_ROUND = ("ring", "plate", "tape_roll")  # a row of them on edge would fall over
_PACKAGES_AND_VESSELS = (
    "box",
    "carton",
    "small_box",
    "book",
    "can",
    "cylinder",
    "cup",
    "mug",
    "bowl",
    "bottle",
    "plate",
)
# As often as they are named here.
_BOXES = ("box", "box", "carton", "carton", "small_box", "book", "book", "large_box", "game_box")
_LARGE = ("large_box", "game_box", "carton", "book", "tray", "plate", "paper_bag")
_FLUSH = ("box", "carton", "small_box", "book", "can", "cylinder", "bottle", "tape_roll", "cup", "toy_brick", "marker")


def sample_arrangement(rng: np.random.Generator, support_kind: str) -> str:
    """One of :data:`ARRANGEMENTS` that suits the kind of support."""
    if support_kind == "tote":
        return str(rng.choice(["dropped", "rows", "flush", "piled"], p=[0.66, 0.16, 0.1, 0.08]))
    if support_kind == "shelf":
        return str(rng.choice(["packed", "rows", "flush", "piled"], p=[0.4, 0.25, 0.25, 0.1]))
    return str(rng.choice(ARRANGEMENTS, p=_ARRANGEMENT_SHARES))


def sample_shapes(rng: np.random.Generator, families: Sequence[str], count: int, arrangement: str) -> list[ObjectShape]:
    """Shapes of ``families`` for an arrangement: in rows the same one several times over, containers first.

    One scene in four keeps to a few families, and one in seven to packages and vessels. Piles and flush groups are
    mostly of boxes, and behind small things stand large ones.
    """
    chance = rng.random()
    if chance < 0.25:
        families = tuple(rng.choice(families, int(rng.integers(1, 5))))
    elif chance < 0.4:
        families = [name for name in families if name in _PACKAGES_AND_VESSELS] or families
    if arrangement in (*_IN_GROUPS, "grouped"):
        boxes = [name for name in _BOXES if name in families] or families
        large = [name for name in families if name in _LARGE] or families
        boxy = 0.45 if arrangement in ("behind", "grouped") else 0.85
        kinds = [boxes if rng.random() < boxy else large if rng.random() < 0.25 else families for _ in range(count)]
        return [sample_object(rng, kind) for kind in kinds]
    if arrangement == "rows":
        flush = [name for name in families if name in _FLUSH] or families
        shapes: list[ObjectShape] = []
        while len(shapes) < count:
            alike = int(rng.integers(2, 13)) if rng.random() < 0.8 else 1
            shapes += [sample_object(rng, flush if alike > 1 else families)] * alike
        return shapes[:count]
    shapes = [sample_object(rng, families) for _ in range(count)]
    if arrangement in ("filled", "mixed"):
        shapes.sort(key=lambda shape: shape.family not in _CONTAINERS)
    return shapes


def place_objects(
    rng: np.random.Generator, shapes: Sequence[ObjectShape], support: Support, arrangement: str
) -> tuple[Placed, ...]:
    """Poses before physics; instance ids count from 1.

    Args:
        rng: source of all randomness.
        shapes: what to place; neighbours that are the same object make a block when arranged in rows.
        support: where.
        arrangement: one of :data:`ARRANGEMENTS`.
    """
    placer = _Placer(rng, support)
    if arrangement in (*_IN_GROUPS, "grouped"):
        placer.groups(shapes, arrangement)
        return tuple(placer.placed)
    index = 0
    while index < len(shapes):
        end = index + 1
        while arrangement == "rows" and end < len(shapes) and shapes[end] is shapes[index]:
            end += 1
        if end - index > 1:
            placer.block(shapes[index], end - index)
        else:
            placer.single(shapes[index], arrangement)
        index = end
    return tuple(placer.placed)


class _Placer:
    """Places shapes one by one and remembers what stands where."""

    def __init__(self, rng: np.random.Generator, support: Support) -> None:
        self.placed: list[Placed] = []
        self._rng = rng
        self._tote = support.kind == "tote"
        self._walled = support.kind in ("tote", "shelf")
        self._half = half = np.asarray(support.half_wh_m)
        dense = rng.uniform(0.06, 0.35, 2)
        self._spread = half * 0.9 if self._tote else np.minimum(half * rng.uniform(0.6, 1.0), dense)
        if support.kind == "shelf":
            self._spread = half * 0.85
        self._packing = float(rng.uniform(0.5, 1.05))
        self._heap = float(rng.uniform(0.1, 0.6))
        self._standing: list[tuple[FloatArray, float, float]] = []
        self._containers: dict[int, ObjectShape] = {}
        self._air_z = 0.06
        self._looks: list[Appearance] = [item.appearance for item in support.solid]

    def single(self, shape: ObjectShape, arrangement: str) -> None:
        """Place one shape the way the arrangement says, or let it fall where there is no room for that."""
        rng = self._rng
        way = arrangement
        if way == "mixed":
            way = str(rng.choice(["packed", "dropped", "stacked", "filled", "leaning"], p=[0.4, 0.2, 0.15, 0.15, 0.1]))
        if way == "filled" and not self._containers:
            way = "packed"
        tries = {
            "packed": self._beside,
            "rows": self._beside,
            "stacked": self._on_top,
            "filled": self._inside,
            "leaning": self._leaning,
        }
        T = tries[way](shape) if way in tries else None
        if T is None and way in ("stacked", "filled", "leaning"):
            T = self._beside(shape)
        self._add(shape, self._falling(shape) if T is None else T)

    def block(self, shape: ObjectShape, count: int) -> None:
        """Equal shapes flush in rows, maybe in layers; what does not fit falls."""
        rng = self._rng
        rotation = np.eye(3) if shape.family in _THIN_ROUND else _toppled(rng)
        extent = np.ptp(np.asarray(shape.mesh.vertices) @ rotation.T, axis=0)
        pitch = extent + rng.uniform(0.0003, 0.004)
        layers = int(rng.integers(1, 4)) if count > 3 and extent[2] < 0.09 and not shape.rolls else 1
        most = np.maximum((2 * self._spread / pitch[:2]).astype(int), 1)
        columns = int(np.clip(round(np.sqrt(count / layers) * rng.uniform(0.5, 1.8)), 1, most[0]))
        rows = int(np.clip(-(-count // (columns * layers)), 1, most[1]))
        radius = float(np.hypot(columns * pitch[0], rows * pitch[1])) / 2
        yaw = float(rng.normal(0.0, 0.03)) if self._walled else float(rng.uniform(0, 2 * np.pi))
        centre = self._free_spot(radius, np.array([columns, rows]) * pitch[:2] / 2 if self._walled else radius)
        for index in range(count):
            column, row, layer = index % columns, index // columns % rows, index // (columns * rows)
            if centre is None or layer >= layers:
                self._add(shape, self._falling(shape))
                continue
            at = np.array([column - (columns - 1) / 2, row - (rows - 1) / 2]) * pitch[:2]
            xy = centre + yaw_rotation(yaw)[:2, :2] @ at
            T = _resting(shape, yaw_rotation(yaw + rng.normal(0, 0.004)) @ rotation, xy, 0.002 + layer * pitch[2])
            self._add(shape, T)
        if centre is not None:
            self._standing.append((centre, radius, layers * float(pitch[2])))

    def groups(self, shapes: Sequence[ObjectShape], arrangement: str) -> None:
        """Piles, flush groups or large things behind small ones, mixed where the arrangement is ``grouped``.

        Each group takes the next few shapes; what does not fit stands somewhere or falls.
        """
        rng = self._rng
        if not self._walled:
            self._spread = np.minimum(0.95 * self._half, rng.uniform(0.25, 0.5, 2))
        index = 0
        while index < len(shapes):
            way = arrangement
            if way == "grouped":
                way = str(rng.choice(["piled", "flush", "behind", "packed"], p=[0.3, 0.25, 0.25, 0.2]))
            size = 1 if way == "packed" else int(rng.integers(2, 7))
            group = shapes[index : index + size]
            index += len(group)
            ways = {"piled": self._pile, "flush": self._flush, "behind": self._behind}
            rest = ways[way](group) if way in ways and len(group) > 1 else group
            for shape in rest:
                self.single(shape, "packed")

    def _pile(self, shapes: Sequence[ObjectShape]) -> Sequence[ObjectShape]:
        """On top of each other, larger ones mostly below, in line or turned; returns what has no place."""
        rng = self._rng
        lying = [_lying(rng, shape, 0.8) for shape in shapes]
        sizes = [np.ptp(np.asarray(s.mesh.vertices) @ r.T, axis=0) for s, r in zip(shapes, lying, strict=True)]
        order = np.argsort([-size[0] * size[1] * rng.uniform(0.7, 1.4) for size in sizes])
        reach = float(np.hypot(*np.max([size[:2] for size in sizes], axis=0))) / 2
        centre = self._free_spot(reach, reach)
        if centre is None:
            return shapes
        yaw = float(rng.uniform(0, 2 * np.pi))
        aligned, corner = rng.random() < 0.6, rng.random() < 0.35
        highest, z, below = float(rng.uniform(0.15, 0.4)), 0.002, None
        left = []
        for k in order:
            size = sizes[k]
            if below is not None and z + size[2] > highest:
                left.append(shapes[k])
                continue
            turn = yaw + float(rng.normal(0, 0.02) if aligned else rng.uniform(0, 2 * np.pi))
            if below is not None:
                # Its middle stays well above the one below, so that it does not tip over.
                room = (below[:2] - size[:2]) / 2 if corner and aligned else 0.22 * np.minimum(below[:2], size[:2])
                room = np.clip(room, -0.3 * below[:2], 0.3 * below[:2])
                centre = centre + yaw_rotation(yaw)[:2, :2] @ (rng.uniform(-1, 1, 2) * room)
            self._add(shapes[k], _resting(shapes[k], yaw_rotation(turn) @ lying[k], centre, z))
            z += float(size[2]) + 0.0008
            below = size
        self._standing.append((centre, reach, z))
        return left

    def _flush(self, shapes: Sequence[ObjectShape]) -> Sequence[ObjectShape]:
        """Side by side with hardly a gap, fronts in line, lying or standing; returns what has no place."""
        rng = self._rng
        flat = 0.75 if rng.random() < 0.5 else 0.2
        turns = [_lying(rng, shape, flat) for shape in shapes]
        sizes = np.array(
            [np.ptp(np.asarray(s.mesh.vertices) @ r.T, axis=0) for s, r in zip(shapes, turns, strict=True)]
        )
        fits = np.cumsum(sizes[:, 0]) < 2 * float(self._spread[0]) + sizes[0, 0]
        count = int(fits.sum())
        widths = sizes[:count, 0]
        gaps = rng.uniform(0.0003, 0.003, count) if rng.random() < 0.7 else rng.uniform(0.002, 0.012, count)
        length, depth = float((widths + gaps).sum()), float(sizes[:count, 1].max())
        radius = float(np.hypot(length, depth)) / 2
        yaw = float(rng.normal(0.0, 0.03)) if self._walled else float(rng.uniform(0, 2 * np.pi))
        centre = self._free_spot(radius, np.array([length, depth]) / 2 if self._walled else radius)
        if centre is None:
            return shapes
        left_edge = -length / 2
        uneven = 0.002 if rng.random() < 0.6 else 0.015
        for k in range(count):
            at = np.array([left_edge + widths[k] / 2, -depth / 2 + sizes[k, 1] / 2 + abs(rng.normal(0, uneven))])
            turn = yaw_rotation(yaw + float(rng.normal(0, 0.002)))
            xy = centre + yaw_rotation(yaw)[:2, :2] @ at
            self._add(shapes[k], _resting(shapes[k], turn @ turns[k], xy, 0.002))
            left_edge += float(widths[k] + gaps[k])
        self._standing.append((centre, radius, float(sizes[:count, 2].max())))
        return shapes[count:]

    def _behind(self, shapes: Sequence[ObjectShape]) -> Sequence[ObjectShape]:
        """The largest stands, and the others stand or lie close before it; returns what has no place."""
        rng = self._rng
        order = np.argsort([-float(np.prod(np.sort(shape.mesh.extents)[1:])) for shape in shapes])
        large, others = shapes[order[0]], [shapes[k] for k in order[1:]]
        rotation = _upright(rng, large)
        size = np.ptp(np.asarray(large.mesh.vertices) @ rotation.T, axis=0)
        radius = float(np.hypot(size[0], size[1])) / 2 + 0.05
        centre = self._free_spot(radius, radius)
        if centre is None:
            return shapes
        yaw = float(rng.uniform(0, 2 * np.pi)) if not self._walled else float(rng.normal(0, 0.2))
        turn = yaw_rotation(yaw)
        self._add(large, _resting(large, turn @ rotation, centre, 0.002))
        side = -1.0 if self._walled else float(rng.choice([-1.0, 1.0]))
        taken: list[tuple[FloatArray, float]] = []
        left = []
        for shape in others:
            own = yaw_rotation(float(rng.uniform(0, 2 * np.pi))) @ _toppled(rng)
            reach = float(np.hypot(*np.ptp(np.asarray(shape.mesh.vertices) @ own.T, axis=0)[:2])) / 2
            for _ in range(8):
                along = rng.uniform(-0.6, 0.6) * size[0]
                away = size[1] / 2 + reach + float(rng.exponential(0.03)) + 0.003
                xy = centre + turn[:2, :2] @ np.array([along, side * away])
                clear = all(np.linalg.norm(xy - other) > reach + r for other, r in taken)
                if clear and (np.abs(xy) < self._half - 0.5 * reach).all():
                    self._add(shape, _resting(shape, own, xy, 0.002))
                    taken.append((xy, reach))
                    break
            else:
                left.append(shape)
        self._standing.append((centre, radius, float(size[2])))
        self._standing += [(xy, r, 0.1) for xy, r in taken]
        return left

    def _add(self, shape: ObjectShape, T_world_shape: Transform) -> None:
        look = object_appearance(self._rng, shape, self._looks)
        look = sample_material(self._rng, look, shape.family)
        self._looks.append(look)
        bodies = () if look.is_clear or look.is_mirror else body_appearances(shape, look)
        self.placed.append(Placed(shape, T_world_shape, len(self.placed) + 1, look, bodies))

    def _free_spot(self, radius: float, reach: float | FloatArray) -> FloatArray | None:
        """A place for a disc that keeps away from what stands, or None after some tries.

        ``reach`` is how far the shape may extend in x and y: it stays inside the support's area.
        """
        room = np.maximum(np.minimum(self._spread - 0.5 * radius, self._half - 0.98 * reach), 0.005)
        for _ in range(12):
            xy = self._rng.uniform(-1, 1, 2) * room
            if all(np.linalg.norm(xy - other) > self._packing * (radius + r) for other, r, _ in self._standing):
                return np.asarray(xy)
        return None

    def _beside(self, shape: ObjectShape) -> Transform | None:
        rng = self._rng
        upright = shape.family in _CONTAINERS and rng.random() < 0.7
        rotation = yaw_rotation(float(rng.uniform(0, 2 * np.pi)))
        rotation = rotation if upright else rotation @ _toppled(rng)
        extent = np.ptp(np.asarray(shape.mesh.vertices) @ rotation.T, axis=0)
        radius = float(np.hypot(extent[0], extent[1])) / 2
        xy = self._free_spot(radius, radius)
        if xy is None:
            return None
        if upright:
            self._containers[len(self._standing)] = shape
        self._standing.append((xy, radius, float(extent[2])))
        return _resting(shape, rotation, xy, 0.002)

    def _on_top(self, shape: ObjectShape) -> Transform | None:
        if not self._standing:
            return None
        rng = self._rng
        slot = int(rng.integers(len(self._standing)))
        xy, radius, top = self._standing[slot]
        rotation = yaw_rotation(float(rng.uniform(0, 2 * np.pi))) @ _toppled(rng)
        height = float(np.ptp(np.asarray(shape.mesh.vertices) @ rotation[2]))
        self._standing[slot] = (xy, radius, top + 0.004 + height)
        return _resting(shape, rotation, xy + rng.normal(0, 0.15 * radius, 2), top + 0.004)

    def _inside(self, shape: ObjectShape) -> Transform | None:
        """Above a container, from where it falls in; long things on end above cups."""
        rng = self._rng
        slot = list(self._containers)[int(rng.integers(len(self._containers)))]
        container = self._containers[slot]
        xy, radius, top = self._standing[slot]
        long = float(shape.mesh.extents.max())
        deep = container.family in ("cup", "mug")
        if long > 2.2 * container.footprint_radius_m and not deep:
            return None
        rotation = _on_end(rng, shape, float(rng.uniform(0.0, 0.12))) if deep else _random_rotation(rng)
        height = float(np.ptp(np.asarray(shape.mesh.vertices) @ rotation[2]))
        self._standing[slot] = (xy, radius, top + 0.004 + height)
        offset = rng.uniform(-1, 1, 2) * (0.15 if deep else 0.35) * container.footprint_radius_m
        return _resting(shape, rotation, xy + offset, top + 0.004)

    def _leaning(self, shape: ObjectShape) -> Transform | None:
        """On end next to something, tilted towards it."""
        if not self._standing:
            return None
        rng = self._rng
        xy, radius, _ = self._standing[int(rng.integers(len(self._standing)))]
        tilt, direction = float(rng.uniform(0.12, 0.45)), float(rng.uniform(0, 2 * np.pi))
        rotation = yaw_rotation(direction) @ _on_end(rng, shape, tilt)
        towards = yaw_rotation(direction)[:2, 0]
        along = np.asarray(shape.mesh.vertices) @ rotation.T[:, :2] @ towards
        return _resting(shape, rotation, xy - towards * (0.8 * radius + along.max() + 0.002), 0.002)

    def _falling(self, shape: ObjectShape) -> Transform:
        rng = self._rng
        rotation = _random_rotation(rng)
        extent = np.ptp(np.asarray(shape.mesh.vertices) @ rotation.T, axis=0)
        radius = float(np.hypot(extent[0], extent[1])) / 2
        clear = max([top for _, _, top in self._standing], default=0.0)
        z = self._air_z = max(self._air_z, clear + 0.03)
        limit = np.maximum(self._spread - radius, 0.01) if self._tote else self._heap * self._spread
        self._air_z += float(extent[2]) + 0.005
        return _resting(shape, rotation, rng.uniform(-1, 1, 2) * limit, z)


def _random_rotation(rng: np.random.Generator) -> FloatArray:
    return np.asarray(trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3])


def _toppled(rng: np.random.Generator) -> FloatArray:
    """Rotation that keeps a shape upright, or lays it on a side or its head one time in four."""
    if rng.random() < 0.75:
        return np.eye(3)
    axis = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]][int(rng.integers(2))]
    return np.asarray(trimesh.transformations.rotation_matrix(np.pi / 2 * rng.integers(1, 4), axis)[:3, :3])


def _lying(rng: np.random.Generator, shape: ObjectShape, flat: float) -> FloatArray:
    """Rotation onto the largest side with probability ``flat``, else onto another side; the long side along x or y."""
    order = np.argsort(shape.mesh.extents)
    up = int(order[0]) if rng.random() < flat else int(order[int(rng.integers(1, 3))])
    return _axes_to(rng, up, int(rng.choice([k for k in range(3) if k != up])))


def _upright(rng: np.random.Generator, shape: ObjectShape) -> FloatArray:
    """Rotation that shows a broad side: the shortest axis along y, either of the others up."""
    order = np.argsort(shape.mesh.extents)
    across, up = (int(k) for k in rng.permutation(order[1:]))
    return _axes_to(rng, up, across)


def _axes_to(rng: np.random.Generator, up: int, across: int) -> FloatArray:
    """Rotation that turns one axis of a shape up or down, and another along x."""
    rotation = np.zeros((3, 3))
    rotation[[0, 1, 2], [across, 3 - up - across, up]] = 1.0
    rotation[2] *= rng.choice([-1.0, 1.0])
    rotation[1] *= np.linalg.det(rotation)
    return rotation


def _on_end(rng: np.random.Generator, shape: ObjectShape, tilt: float) -> FloatArray:
    """Rotation that puts the longest side up and the shortest along x, then tilts it by ``tilt`` towards +x."""
    order = np.argsort(shape.mesh.extents)
    upright = np.zeros((3, 3))
    upright[[0, 1, 2], order] = 1.0
    upright[2] *= rng.choice([-1.0, 1.0])
    upright[1] *= np.linalg.det(upright)
    c, s = np.cos(tilt), np.sin(tilt)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]) @ upright


def _resting(shape: ObjectShape, rotation: FloatArray, xy: FloatArray, z: float) -> Transform:
    """Pose whose lowest point is at ``z``."""
    lowest = float((np.asarray(shape.mesh.vertices) @ rotation[2]).min())
    return pose((xy[0], xy[1], z - lowest), rotation)
