"""Scenes with exact truth for judging geometry: what an object's centre, box, support and visible share really are.

The scenes are made of the families of generated objects, placed by arithmetic and cast as rays; no code of lifting has
a part in them, and lifting was not written on their seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, box_mesh, join, lathe_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance, object_appearance
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.physics import settle
from instance_seg_ros.learning.synthetic.rooms.placing import place_objects, sample_shapes
from instance_seg_ros.learning.synthetic.rooms.room import Room
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.world import Placed
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS, SensorSettings, simulate_depth

FloatArray = NDArray[np.float64]

KINDS = ("table", "crowd", "stack", "shelf", "two tables", "board", "tote", "held", "border")
"""What the scenes are, one after the other."""

CAMERA = Intrinsics(640, 480, 600.0, 600.0, 319.5, 239.5)
NOISE_M = (0.001, 0.003)
"""Standard deviation of depth at 1 m, from the best to the worst sensor; it grows with the square of the distance."""
PLAIN_SENSOR, ANY_SENSOR = "plain", "any"
SENSORS = (PLAIN_SENSOR, *(name for name in PRESETS if name != "ideal"), ANY_SENSOR)
"""What scenes are seen through: noise that hardly a neighbour shares, which averages out over an object, or a camera
whose noise neighbours share, whose depth lies beside the labels, and which loses what is dark, shiny or grazing; of the
last one each scene has another."""
_AS_STRONG = 0.5
"""Such a camera's depth lies so far beside, and swells so much, as those of `SensorSettings.sample` do, on which a
network for masks is trained: some of those are worse than any that one would buy."""
FEWEST_PX = 200
"""Of what is seen with fewer pixels nothing is asked."""
_LOST_AT_STEPS = 0.5
_STEP_M = 0.02
_FLAT_TOPPED = ("box", "carton", "book", "can", "cylinder")
_LYING = ("can", "cylinder", "bottle", "box", "carton")
NAMES = (
    *("box", "carton", "book", "can", "cylinder", "sphere", "bottle", "lathe", "bowl", "cup", "mug", "plate", "prism"),
    *("banana", "spray_bottle", "cone", "bowl upside down", "L"),
)
"""Shapes that they are of: families of generated objects, and some that are made here."""
PLAIN = Appearance("plain", (0.5, 0.5, 0.5))
_LINES = 40
"""The volume is integrated along this many vertical lines a side of its outline."""
_NO_AREA_M2 = 1e-14
"""A triangle of no more than twice this, seen from above, is upright: no vertical line goes through it."""


@dataclass(frozen=True, eq=False)
class TrueObject:
    """What is true of one object, in the camera's optical frame.

    Attributes:
        label: in the label image.
        family: what kind of shape it is.
        centre_m: (3,) centre of the volume of its material.
        box: with its z along the true vertical and the smallest outline around the object seen from above.
        bottom_height_m: of its lowest point above the world's origin.
        support: "plane", "object" (rests on another one), "nothing" (is held) or "heap" (fell into a tote onto whatever
            lay there).
        visible: pixels of it in the image, as a share of those that it would have alone in an endless image.
        cut: share of those that lie beyond the image's border.
        distance_m: from the camera.
        vertices_m: (V, 3) of its mesh.
    """

    label: int
    family: str
    centre_m: FloatArray
    box: OrientedBox
    bottom_height_m: float
    support: str
    visible: float
    cut: float
    distance_m: float
    vertices_m: FloatArray


@dataclass(frozen=True, eq=False)
class TrueScene:
    """A frame and all that is true of it.

    Attributes:
        kind: one of `KINDS`.
        noise_m: standard deviation of its depth at 1 m.
        labels: (H, W) uint16 true labels.
        T_world_camera: the world's z points up.
        support_height_m: height of the one plane that objects stand on; None where there is not just one.
    """

    kind: str
    frame: RgbdFrame
    noise_m: float
    labels: NDArray[np.uint16]
    T_world_camera: Transform
    objects: tuple[TrueObject, ...]
    support_height_m: float | None


def geometry_scenes(
    count: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    names: Sequence[str] = NAMES,
    elevation_deg: tuple[float, float] | None = None,
    sensor: str = PLAIN_SENSOR,
    colored: bool = False,
) -> Iterator[TrueScene]:
    """So many scenes, kind by kind; scene i of a seed and of the same other arguments is always the same.

    Args:
        names: of shapes: some of `NAMES`, or families of generated objects.
        elevation_deg: lowest and highest of the camera above the objects; as is usual for each kind without it.
        sensor: one of `SENSORS`, which alone changes nothing else of a scene. The scale of its depth is right: a wrong
            one moves all objects alike, and is the camera's.
        colored: whether frames have a picture, which changes nothing else.
    """
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        yield _scene(kinds[index % len(kinds)], rng, names, elevation_deg, sensor, colored)


def _scene(
    kind: str,
    rng: np.random.Generator,
    names: Sequence[str],
    elevation_deg: tuple[float, float] | None,
    sensor: str,
    colored: bool,
) -> TrueScene:
    room = Room(rng)
    placed, supports, single = _ARRANGE[kind](rng, room, names)
    T_world_camera = _view(rng, kind, placed, elevation_deg)
    noise_m = float(rng.uniform(*NOISE_M))
    cast = RayCaster([*room.solid, *room.surroundings, *placed]).cast(CAMERA, T_world_camera)
    if sensor == PLAIN_SENSOR:
        depth_m = measured(rng, cast.depth_m, noise_m)
    else:
        settings = replace(_any_camera(rng) if sensor == ANY_SENSOR else PRESETS[sensor], scale_error=0.0)
        depth_m = simulate_depth(cast.depth_m, CAMERA.fx, rng, settings)
        noise_m = float(np.hypot(settings.smooth_noise, settings.white_noise))
    objects = []
    for item, support in zip(placed, supports, strict=True):
        seen = int(np.count_nonzero(cast.ids == item.instance_id))
        if seen >= FEWEST_PX:
            objects.append(truth_of(item, support, seen, T_world_camera))
    return TrueScene(
        kind,
        RgbdFrame(_picture(rng, room, placed, T_world_camera) if colored else None, depth_m, CAMERA),
        noise_m,
        np.where(np.isin(cast.ids, [true.label for true in objects]), cast.ids, 0).astype(np.uint16),
        T_world_camera,
        tuple(objects),
        single,
    )


def _picture(
    rng: np.random.Generator, room: Room, placed: Sequence[Placed], T_world_camera: Transform
) -> NDArray[np.uint8]:
    """What a colour camera sees; each object has a look of its own, but not glass or chrome, which depth would show."""
    seen = []
    for item in placed:
        look = object_appearance(rng, item.shape)
        seen.append(replace(item, appearance=replace(look, kind="plain") if look.is_clear or look.is_mirror else look))
    caster = RayCaster([*room.solid, *room.surroundings, *seen])
    return caster.shade(caster.cast(CAMERA, T_world_camera), CAMERA, T_world_camera)


def _any_camera(rng: np.random.Generator) -> SensorSettings:
    own = SensorSettings.sample(rng)
    weaker = {name: _AS_STRONG * getattr(own, name) for name in ("warp_px", "shift_px", "smooth_noise")}
    return replace(own, crop_probability=0.0, **weaker)


def measured(rng: np.random.Generator, depth_m: NDArray[np.float32], noise_m: float) -> NDArray[np.float32]:
    """Depth with noise that neighbours share in part, in whole millimetres, half of it lost beside steps."""
    noise = cv2.GaussianBlur(rng.normal(size=depth_m.shape), (0, 0), 0.7)
    noisy_m = depth_m + noise / noise.std() * noise_m * depth_m**2
    near = cv2.erode(depth_m, np.ones((3, 3), np.uint8))
    far = cv2.dilate(depth_m, np.ones((3, 3), np.uint8))
    lost = (far - near > _STEP_M) & (rng.random(depth_m.shape) < _LOST_AT_STEPS)
    return np.where((depth_m > 0) & (depth_m < 6) & ~lost, np.round(noisy_m, 3), 0).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# What is true of an object


def truth_of(item: Placed, support: str, seen: int, T_world_camera: Transform) -> TrueObject:
    vertices_m = _vertices_m(item)
    T_camera_world = T_world_camera.inverse()
    alone, inside = _pixels_alone(item, vertices_m, T_world_camera)
    low_m, high_m = vertices_m[:, 2].min(), vertices_m[:, 2].max()
    (x_m, y_m), sides_m, degrees = cv2.minAreaRect(vertices_m[:, :2].astype(np.float32))
    T_world_box = Transform(yaw_rotation(np.radians(degrees)), np.array([x_m, y_m, (low_m + high_m) / 2]))
    box = OrientedBox(T_camera_world @ T_world_box, np.array([*sides_m, high_m - low_m]))
    centre_m = T_camera_world.apply(volume_centre_m(vertices_m, np.asarray(item.shape.mesh.faces)))
    return TrueObject(
        item.instance_id,
        item.shape.family,
        np.asarray(centre_m, dtype=np.float64),
        box,
        float(low_m),
        support,
        seen / max(alone, 1),
        1 - inside / max(alone, 1),
        float(np.linalg.norm(centre_m)),
        np.asarray(T_camera_world.apply(vertices_m), dtype=np.float64),
    )


def _pixels_alone(item: Placed, vertices_m: FloatArray, T_world_camera: Transform) -> tuple[int, int]:
    """Pixels of an object with nothing else there: in an image without end, and of those inside the real one."""
    local_m = T_world_camera.inverse().apply(vertices_m)
    depth_m = np.maximum(local_m[:, 2], 0.05)
    columns = local_m[:, 0] / depth_m * CAMERA.fx + CAMERA.cx
    rows = local_m[:, 1] / depth_m * CAMERA.fy + CAMERA.cy
    left, top = int(np.floor(columns.min())) - 1, int(np.floor(rows.min())) - 1
    width, height = int(np.ceil(columns.max())) + 2 - left, int(np.ceil(rows.max())) + 2 - top
    cx, cy = CAMERA.cx - left, CAMERA.cy - top
    # A camera's principal point lies not far outside its image.
    width, height = max(width, int(-cx) + 1, int(cx / 2) + 1), max(height, int(-cy) + 1, int(cy / 2) + 1)
    camera = Intrinsics(width, height, CAMERA.fx, CAMERA.fy, cx, cy)
    ids = RayCaster([item]).cast(camera, T_world_camera).ids > 0
    row, column = np.nonzero(ids)
    inside = (row + top >= 0) & (row + top < CAMERA.height) & (column + left >= 0) & (column + left < CAMERA.width)
    return len(row), int(np.count_nonzero(inside))


def _vertices_m(item: Placed) -> FloatArray:
    return np.asarray(item.T_world_shape.apply(np.asarray(item.shape.mesh.vertices)), dtype=np.float64)


def volume_centre_m(vertices_m: FloatArray, faces: NDArray[np.integer]) -> FloatArray:
    """Centre of the volume that is inside of at least one of a mesh's closed parts, (3,).

    Integrated along vertical lines: where one enters a part, one more is entered than left, whatever overlaps.
    """
    low_m, high_m = vertices_m.min(axis=0), vertices_m.max(axis=0)
    # A little beside the middle of each cell, so that no line runs through an edge, which two triangles share.
    places = (np.arange(_LINES) + np.array([[0.5137], [0.4931]])) / _LINES
    x_m, y_m = (low_m[axis] + places[axis] * (high_m[axis] - low_m[axis]) for axis in (0, 1))
    moments = np.zeros(4)
    _integrate(np.ascontiguousarray(_facing_outwards(vertices_m, faces)), x_m, y_m, moments)
    return moments[:3] / moments[3] if moments[3] > 0 else (low_m + high_m) / 2


@kernel("float64[:, :, ::1]", "float64[::1]", "float64[::1]", "float64[::1]", writes=("moments",))
def _integrate(corners_m: FloatArray, x_m: FloatArray, y_m: FloatArray, moments: FloatArray) -> None:
    """Adds the first moments and, last, the volume inside of triangles (F, 3, 3), in the area of a line.

    Args:
        x_m, y_m: (L,) where the lines stand, every x with every y.
        moments: (4,).
    """
    near = np.empty(len(corners_m), np.int64)
    heights_m, into = np.empty(len(corners_m)), np.empty(len(corners_m))
    for x in x_m:
        count = 0
        for face in range(len(corners_m)):
            a, b, c = corners_m[face, 0, 0], corners_m[face, 1, 0], corners_m[face, 2, 0]
            if min(a, b, c) <= x <= max(a, b, c):
                near[count] = face
                count += 1
        for y in y_m:
            hits = 0
            for face in near[:count]:
                first, second, third = corners_m[face]
                x1, y1, x2, y2 = second[0] - first[0], second[1] - first[1], third[0] - first[0], third[1] - first[1]
                area = x1 * y2 - y1 * x2
                if abs(area) <= _NO_AREA_M2:
                    continue
                u = ((x - first[0]) * y2 - (y - first[1]) * x2) / area
                v = (x1 * (y - first[1]) - y1 * (x - first[0])) / area
                if u >= 0 and v >= 0 and u + v <= 1:
                    heights_m[hits] = first[2] + u * (second[2] - first[2]) + v * (third[2] - first[2])
                    into[hits] = -1.0 if area > 0 else 1.0  # a face that looks down is entered from below
                    hits += 1
            order, within = np.argsort(heights_m[:hits]), 0.0
            for k in range(hits - 1):
                low_m, high_m = heights_m[order[k]], heights_m[order[k + 1]]
                within += into[order[k]]
                if within > 0:
                    length_m = high_m - low_m
                    moments[0] += x * length_m
                    moments[1] += y * length_m
                    moments[2] += length_m * (low_m + high_m) / 2
                    moments[3] += length_m


def _facing_outwards(vertices_m: FloatArray, faces: NDArray[np.integer]) -> FloatArray:
    """The triangles' corners (F, 3, 3), in an order that is anticlockwise from outside, part by part."""
    corners = vertices_m[faces]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (len(vertices_m), len(vertices_m)))
    count, part = connected_components(graph, directed=False)
    sixfold = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    inverted = np.bincount(part[faces[:, 0]], sixfold, count) < 0
    return np.where(inverted[part[faces[:, 0]]][:, None, None], corners[:, [0, 2, 1]], corners)


# ---------------------------------------------------------------------------------------------------------------------
# Objects and where they are put


def _shape(rng: np.random.Generator, names: Sequence[str]) -> ObjectShape:
    return shape_named(rng, names[int(rng.integers(len(names)))])


def shape_named(rng: np.random.Generator, name: str) -> ObjectShape:
    """One of `NAMES`, or of another family of generated objects, drawn anew."""
    if name == "cone":
        radius, height, top = rng.uniform(0.025, 0.06), rng.uniform(0.06, 0.16), rng.uniform(0.0, 0.6)
        return ObjectShape("cone", lathe_mesh(np.array([[0, 0], [radius, 0], [radius * top, height], [0, height]])), ())
    if name == "L":
        long, thick, height = rng.uniform(0.1, 0.16), rng.uniform(0.025, 0.04), rng.uniform(0.02, 0.05)
        foot = rng.uniform(0.07, 0.1)
        arms = [
            box_mesh((long / 2, thick / 2, height / 2), (long / 2, thick / 2, height / 2)),
            box_mesh((thick / 2, foot / 2, height / 2), (thick / 2, foot / 2, height / 2)),
        ]
        mesh = join(arms)
        mesh.apply_translation([-long / 3, -foot / 3, 0])
        return ObjectShape("L", mesh, ())
    if name == "bowl upside down":
        shape = FAMILIES["bowl"](rng)
        mesh = shape.mesh.copy()
        mesh.apply_transform(np.diag([1.0, -1.0, -1.0, 1.0]))
        return ObjectShape(name, mesh, ())
    return FAMILIES[name](rng)


class _Spots:
    """Places on horizontal surfaces that keep objects apart.

    Args:
        gap_m: between the circles around any two objects.
    """

    def __init__(self, rng: np.random.Generator, gap_m: float) -> None:
        self.placed: list[Placed] = []
        self.supports: list[str] = []
        self._rng, self._gap_m = rng, gap_m
        self._taken: list[tuple[FloatArray, float]] = []

    def stand(
        self, shape: ObjectShape, height_m: float, centre_m: tuple[float, float], half_m: tuple[float, float]
    ) -> Placed | None:
        """Puts a shape, sometimes lying, into a rectangle at this height; None where there is no room."""
        rng = self._rng
        rotation = yaw_rotation(rng.uniform(0, 2 * np.pi))
        if shape.family in _LYING and rng.random() < 0.3:
            lying = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
            rotation = rotation @ lying
        turned = np.asarray(shape.mesh.vertices) @ rotation.T
        middle = (turned[:, :2].max(axis=0) + turned[:, :2].min(axis=0)) / 2
        radius = float(np.linalg.norm(turned[:, :2] - middle, axis=1).max())
        for _ in range(40):
            xy = np.array(centre_m) + rng.uniform(-1, 1, 2) * np.maximum(np.array(half_m) - radius, 0.0)
            if all(np.linalg.norm(xy - other) > radius + r + self._gap_m for other, r in self._taken):
                self._taken.append((xy, radius))
                return self._add(
                    shape, Transform(rotation, np.array([*(xy - middle), height_m - turned[:, 2].min()])), "plane"
                )
        return None

    def on_top(self, shape: ObjectShape, below: Placed) -> Placed:
        """Puts a shape on top of another one, over its middle."""
        rotation = yaw_rotation(self._rng.uniform(0, 2 * np.pi))
        turned = np.asarray(shape.mesh.vertices) @ rotation.T
        lower = _vertices_m(below)
        xy = (lower[:, :2].max(axis=0) + lower[:, :2].min(axis=0)) / 2 + self._rng.normal(0, 0.005, 2)
        middle = (turned[:, :2].max(axis=0) + turned[:, :2].min(axis=0)) / 2
        height_m = lower[:, 2].max() - turned[:, 2].min()
        return self._add(shape, Transform(rotation, np.array([*(xy - middle), height_m])), "object")

    def hold(self, shape: ObjectShape, centre_m: FloatArray) -> Placed:
        """Puts a shape into the air."""
        rotation = yaw_rotation(self._rng.uniform(0, 2 * np.pi))
        return self._add(shape, Transform(rotation, centre_m), "nothing")

    def _add(self, shape: ObjectShape, T_world_shape: Transform, support: str) -> Placed:
        self.placed.append(Placed(shape, T_world_shape, len(self.placed) + 1, PLAIN))
        self.supports.append(support)
        return self.placed[-1]


_Arranged = tuple[Sequence[Placed], Sequence[str], float | None]


def _add_table(room: Room, half_m: tuple[float, float] = (0.6, 0.45), floor: bool = True) -> None:
    room.add_box((*half_m, 0.02), (0.0, 0.0, -0.02), solid=True)
    if floor:
        room.add_box((3.0, 3.0, 0.05), (0.0, 0.0, -0.8))
    if room.rng.random() < 0.3:
        room.add_box((3.0, 0.05, 1.5), (0.0, half_m[1] + 0.1, 0.3))


def _table(rng: np.random.Generator, room: Room, names: Sequence[str]) -> _Arranged:
    _add_table(room)
    spots = _Spots(rng, 0.03)
    for _ in range(int(rng.integers(3, 8))):
        spots.stand(_shape(rng, names), 0.0, (0.0, 0.0), (0.28, 0.22))
    return spots.placed, spots.supports, 0.0


def _crowd(rng: np.random.Generator, room: Room, names: Sequence[str]) -> _Arranged:
    _add_table(room)
    spots = _Spots(rng, 0.002)
    for _ in range(int(rng.integers(9, 14))):
        spots.stand(_shape(rng, names), 0.0, (0.0, 0.0), (0.22, 0.18))
    return spots.placed, spots.supports, 0.0


def _stack(rng: np.random.Generator, room: Room, names: Sequence[str]) -> _Arranged:
    _add_table(room)
    spots = _Spots(rng, 0.03)
    for _ in range(int(rng.integers(2, 5))):
        below = spots.stand(_shape(rng, _FLAT_TOPPED), 0.0, (0.0, 0.0), (0.26, 0.2))
        upright = below is not None and abs(below.T_world_shape.rotation[2, 2]) > 0.5
        if below is not None and (upright or below.shape.family in ("box", "carton", "book")):
            spots.on_top(_shape(rng, names), below)
    return spots.placed, spots.supports, 0.0


def _shelf(rng: np.random.Generator, room: Room, names: Sequence[str]) -> _Arranged:
    height_m = float(rng.uniform(0.25, 0.35))
    for level_m in (0.0, height_m, 2 * height_m):
        room.add_box((0.4, 0.15, 0.008), (0.0, 0.0, level_m - 0.008))
    room.add_box((0.4, 0.008, 0.5), (0.0, 0.158, 0.35))
    spots = {level: _Spots(rng, 0.01) for level in (0, 1)}
    placed: list[Placed] = []
    for level, own in spots.items():
        for _ in range(int(rng.integers(2, 5))):
            own.stand(_shape(rng, names), level * height_m, (0.0, -0.02), (0.3, 0.12))
        placed += own.placed
    numbered = [Placed(item.shape, item.T_world_shape, index + 1, PLAIN) for index, item in enumerate(placed)]
    return numbered, ["plane"] * len(numbered), None


def _two_tables(rng: np.random.Generator, room: Room, names: Sequence[str]) -> _Arranged:
    drop_m = float(rng.uniform(0.04, 0.3))
    room.add_box((0.3, 0.45, 0.02), (-0.3, 0.0, -0.02))
    room.add_box((0.3, 0.45, 0.02), (0.31, 0.0, -drop_m - 0.02))
    room.add_box((3.0, 3.0, 0.05), (0.0, 0.0, -0.8))
    spots = _Spots(rng, 0.02)
    for index in range(int(rng.integers(4, 8))):
        side = -1 if index % 2 else 1
        spots.stand(_shape(rng, names), 0.0 if side < 0 else -drop_m, (side * 0.16, 0.0), (0.13, 0.2))
    return spots.placed, spots.supports, None


def _board(rng: np.random.Generator, room: Room, names: Sequence[str]) -> _Arranged:
    _add_table(room)
    thick_m = float(rng.uniform(0.012, 0.03))
    room.add_box((0.14, 0.18, thick_m / 2), (-0.15, 0.0, thick_m / 2))
    spots = _Spots(rng, 0.02)
    for index in range(int(rng.integers(4, 8))):
        on_board = index % 2 == 0
        spots.stand(_shape(rng, names), thick_m if on_board else 0.0, (-0.15 if on_board else 0.14, 0.0), (0.13, 0.17))
    return spots.placed, spots.supports, None


def _tote(rng: np.random.Generator, room: Room, names: Sequence[str]) -> _Arranged:
    support = sample_support(rng, "tote")
    own = tuple(name for name in names if name in FAMILIES)
    shapes = sample_shapes(rng, own, int(rng.integers(5, 12)), "dropped")
    placed = settle(support, place_objects(rng, shapes, support, "dropped"))
    room.solid += support.solid
    room.surroundings += support.surroundings
    return placed, ["heap"] * len(placed), None


def _held(rng: np.random.Generator, room: Room, names: Sequence[str]) -> _Arranged:
    _add_table(room)
    spots = _Spots(rng, 0.03)
    for _ in range(int(rng.integers(0, 3))):
        spots.stand(_shape(rng, names), 0.0, (0.0, 0.15), (0.28, 0.1))
    spots.hold(_shape(rng, names), np.array([*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.12, 0.3)]))
    return spots.placed, spots.supports, 0.0


_ARRANGE = {
    "table": _table,
    "crowd": _crowd,
    "stack": _stack,
    "shelf": _shelf,
    "two tables": _two_tables,
    "board": _board,
    "tote": _tote,
    "held": _held,
    "border": _table,
}


def _view(
    rng: np.random.Generator, kind: str, placed: Sequence[Placed], elevation_deg: tuple[float, float] | None
) -> Transform:
    """`T_world_camera` of a camera at 0.5 to 1.2 m that looks at the objects."""
    middles = np.array([item.T_world_shape.translation_m for item in placed])
    target = middles.mean(axis=0) + rng.normal(0, 0.02, 3) if len(middles) else np.zeros(3)
    distance = float(rng.uniform(0.55, 1.2))
    low, high = elevation_deg or {"shelf": (3, 30), "tote": (45, 88), "crowd": (18, 50)}.get(kind, (22, 75))
    elevation = np.radians(rng.uniform(low, high))
    yaw = -np.pi / 2 + rng.uniform(-0.5, 0.5) * (0.7 if kind == "shelf" else 1.0)
    away = direction(elevation, yaw)
    if kind == "border":  # an object's middle about on the border of the image
        distance, chosen = float(rng.uniform(0.5, 0.8)), middles[int(rng.integers(len(middles)))]
        aside = np.cross(away, [0, 0, 1]) / np.linalg.norm(np.cross(away, [0, 0, 1]))
        target = chosen + rng.choice([-1, 1]) * aside * distance * CAMERA.cx / CAMERA.fx * rng.uniform(0.85, 1.05)
    return camera_pose(target + distance * away, target, float(rng.normal(0, 0.05)))
