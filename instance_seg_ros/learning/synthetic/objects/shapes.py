"""What shapes are made of: triangle meshes to look at and convex pieces to collide with.

Everything is in the shape's own frame, z up, in metres.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import trimesh

FloatArray = npt.NDArray[np.float64]
Vector = Sequence[float] | FloatArray

_SEGMENTS = 28
_RING_PIECES = 10


@dataclass(frozen=True)
class CollisionGeom:
    """One convex MuJoCo geom, in the shape's frame.

    Attributes:
        kind: MuJoCo geom type: ``box``, ``sphere``, ``capsule``, ``cylinder``, ``ellipsoid`` or ``mesh``.
        size_m: half sizes as MuJoCo orders them; empty for ``mesh``.
        position_m: centre of the geom.
        quaternion_wxyz: its rotation, MuJoCo's order.
        vertices_m: (N, 3) points whose convex hull collides, for ``mesh`` only.
    """

    kind: str
    size_m: tuple[float, ...] = ()
    position_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quaternion_wxyz: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    vertices_m: FloatArray | None = None


@dataclass(frozen=True)
class ObjectShape:
    """A rigid shape: its surface, its collision pieces and how it stands.

    Attributes:
        family: name of the family that made it.
        mesh: surface in the shape's frame, metres, z up when upright.
        geoms: convex collision pieces, which together cover the surface.
        rolls: True where the upright shape would roll away (spheres and the like).
    """

    family: str
    mesh: trimesh.Trimesh
    geoms: tuple[CollisionGeom, ...]
    rolls: bool = False

    @cached_property
    def bodies(self) -> tuple[trimesh.Trimesh, ...]:
        """The bodies of :func:`join` that the surface is made of, in their order; one for a surface of one piece."""
        faces = np.asarray(self.mesh.faces)
        # Joined bodies share no vertices, and each has its vertices and its faces together.
        highest = np.maximum.accumulate(faces.max(axis=1))
        lowest = np.minimum.accumulate(faces.min(axis=1)[::-1])[::-1]
        starts = [0, *(np.flatnonzero(highest[:-1] < lowest[1:]) + 1).tolist(), len(faces)]
        if len(starts) == 2:
            return (self.mesh,)
        found = []
        for first, last in itertools.pairwise(starts):
            own = faces[first:last]
            low = own.min()
            found.append(make_mesh(np.asarray(self.mesh.vertices)[low : own.max() + 1], own - low))
        return tuple(found)

    @property
    def bottom_m(self) -> float:
        """Lowest z of the surface."""
        return float(self.mesh.vertices[:, 2].min())

    @property
    def height_m(self) -> float:
        """Extent along z."""
        return float(np.ptp(self.mesh.vertices[:, 2]))

    @property
    def footprint_radius_m(self) -> float:
        """Radius of the vertical cylinder about the origin that holds the shape."""
        return float(np.hypot(self.mesh.vertices[:, 0], self.mesh.vertices[:, 1]).max())


# ---------------------------------------------------------------------------------------------------------------------
# Surfaces


def make_mesh(vertices: npt.ArrayLike, faces: npt.ArrayLike) -> trimesh.Trimesh:
    """Mesh of (N, 3) points and (M, 3) triangles, kept as they are: no merging, no checks."""
    return trimesh.Trimesh(np.asarray(vertices, float), np.asarray(faces, np.int64), process=False, validate=False)


def join(meshes: Sequence[trimesh.Trimesh]) -> trimesh.Trimesh:
    """One mesh of several; overlapping parts stay, a ray sees the outermost."""
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    faces = [np.asarray(m.faces) + offset for m, offset in zip(meshes, offsets, strict=True)]
    return make_mesh(np.vstack([m.vertices for m in meshes]), np.vstack(faces))


def turned(mesh: trimesh.Trimesh, angle: float, axis: Vector, centre_m: Vector = (0.0, 0.0, 0.0)) -> trimesh.Trimesh:
    """The same mesh, turned in place about an axis through the origin and then moved to ``centre_m``."""
    mesh.apply_transform(trimesh.transformations.rotation_matrix(angle, axis))
    mesh.apply_translation(centre_m)
    return mesh


_BOX_QUADS = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])
_BOX_FACES = np.vstack([_BOX_QUADS[:, [0, 1, 2]], _BOX_QUADS[:, [0, 2, 3]]])
_BOX_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


def box_mesh(half_m: Vector, centre_m: Vector = (0.0, 0.0, 0.0)) -> trimesh.Trimesh:
    """Axis-aligned box from half sizes and centre."""
    return make_mesh(_BOX_CORNERS * np.asarray(half_m) + np.asarray(centre_m), _BOX_FACES)


def grid_faces(rows: int, columns: int) -> npt.NDArray[np.int64]:
    """Triangles of a (rows, columns) vertex grid whose columns close into a ring."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a = row * columns + column
    b = row * columns + (column + 1) % columns
    quads = np.stack([a, b, b + columns, a, b + columns, a + columns], axis=-1)
    return quads.reshape(-1, 3)


def lathe_mesh(profile_rz: npt.ArrayLike, segments: int = _SEGMENTS) -> trimesh.Trimesh:
    """Surface of revolution about z of an (N, 2) profile of (radius, z), bottom to top when it is solid."""
    profile = np.asarray(profile_rz, float)
    angle = np.linspace(0.0, 2.0 * np.pi, segments, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    xy = profile[:, None, :1] * ring[None]
    z = np.broadcast_to(profile[:, None, 1:], (*xy.shape[:2], 1))
    return make_mesh(np.concatenate([xy, z], axis=-1).reshape(-1, 3), grid_faces(len(profile), segments))


def tube_mesh(path_m: npt.ArrayLike, radius_m: npt.ArrayLike, sides: int = 12) -> trimesh.Trimesh:
    """Round tube along an (N, 3) path with one radius per point; the ends are closed flat."""
    path = np.asarray(path_m, float)
    radius = np.broadcast_to(np.asarray(radius_m, float), len(path))
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.eye(3)[int(np.argmin(np.abs(tangent).max(axis=0)))]
    side = np.cross(tangent, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(tangent, side)
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    wall = path[:, None] + radius[:, None, None] * ring
    ends = [np.repeat(path[:1], sides, axis=0)[None], wall, np.repeat(path[-1:], sides, axis=0)[None]]
    return make_mesh(np.concatenate(ends).reshape(-1, 3), grid_faces(len(path) + 2, sides))


def prism_mesh(polygon_xy_m: npt.ArrayLike, height_m: float) -> trimesh.Trimesh:
    """Prism over a convex polygon (N, 2), from z = 0 to ``height_m``."""
    polygon = np.asarray(polygon_xy_m, float)
    centre = np.repeat(polygon.mean(axis=0)[None], len(polygon), axis=0)
    layers = [(centre, 0.0), (polygon, 0.0), (polygon, height_m), (centre, height_m)]
    rings = [np.column_stack([xy, np.full(len(xy), z)]) for xy, z in layers]
    return make_mesh(np.vstack(rings), grid_faces(4, len(polygon)))


def superquadric_mesh(half_m: Vector, roundness: tuple[float, float]) -> trimesh.Trimesh:
    """Superquadric with exponents ``roundness`` (1 = ellipsoid, towards 0 = box), Barr 1981."""
    eta = np.linspace(-np.pi / 2, np.pi / 2, 17)[:, None]
    omega = np.linspace(-np.pi, np.pi, _SEGMENTS, endpoint=False)[None]

    def power(x: FloatArray, e: float) -> FloatArray:
        return np.sign(x) * np.abs(x) ** e

    e1, e2 = roundness
    x = power(np.cos(eta), e1) * power(np.cos(omega), e2)
    y = power(np.cos(eta), e1) * power(np.sin(omega), e2)
    z = power(np.sin(eta), e1) * np.ones_like(omega)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3) * np.asarray(half_m)
    return make_mesh(vertices, grid_faces(17, _SEGMENTS))


def loft_mesh(sections_m: FloatArray) -> trimesh.Trimesh:
    """Closed surface through (N, M, 3) rings of points; the ends are closed at the first and last ring's middle."""
    count, points, _ = sections_m.shape
    first, last = (np.repeat(sections_m[i].mean(axis=0)[None, None], points, axis=1) for i in (0, -1))
    return make_mesh(np.concatenate([first, sections_m, last]).reshape(-1, 3), grid_faces(count + 2, points))


def smooth_profile(levels: Sequence[tuple[float, float]], count: int = 14) -> FloatArray:
    """(N, 2) profile: (radius, z) control points joined by a smoothed polyline, closed on the axis at both ends."""
    r, z = np.asarray(levels, float).T
    fine = np.linspace(z[0], z[-1], count)
    inner = np.interp(fine, z, r)
    kernel = np.array([0.25, 0.5, 0.25])
    inner[1:-1] = np.convolve(inner, kernel, mode="valid")
    return np.vstack([[0.0, z[0]], np.column_stack([inner, fine]), [0.0, z[-1]]])


def smooth_noise(points: FloatArray, rng: np.random.Generator, frequencies: Sequence[float]) -> FloatArray:
    """(N,) smooth random function of (N, 3) points of unit size, of zero mean; higher frequencies are weaker."""
    wave = np.zeros(len(points))
    for frequency in frequencies:
        direction = rng.normal(size=(2, 3))
        wave += np.sin(points @ direction.T * frequency / 2 + rng.uniform(0, 6.28, 2)).prod(axis=1) / frequency
    return wave


# ---------------------------------------------------------------------------------------------------------------------
# Collision pieces


def box_geom(half_m: Vector, centre_m: Vector = (0.0, 0.0, 0.0), yaw: float = 0.0) -> CollisionGeom:
    """Box collision piece, turned about z by ``yaw`` radians."""
    quaternion = (float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2)))
    return CollisionGeom("box", floats(half_m), point(centre_m), quaternion)


def floats(values: Vector) -> tuple[float, ...]:
    """Values as a tuple of Python floats."""
    return tuple(float(v) for v in values)


def point(values: Vector) -> tuple[float, float, float]:
    """Three values as a tuple of Python floats."""
    x, y, z = (float(v) for v in values)
    return x, y, z


def z_to(direction: FloatArray) -> tuple[float, float, float, float]:
    """Quaternion (w, x, y, z) that turns +z onto a unit ``direction``."""
    w = 1.0 + direction[2]
    if w < 1e-6:
        return 0.0, 1.0, 0.0, 0.0
    quaternion = np.array([w, -direction[1], direction[0], 0.0])
    quaternion /= np.linalg.norm(quaternion)
    return tuple(float(v) for v in quaternion)  # type: ignore[return-value]


def axis_quaternion(angle: float, axis: Vector) -> tuple[float, float, float, float]:
    """Quaternion (w, x, y, z) of a turn by ``angle`` radians about ``axis``."""
    w, x, y, z = (float(v) for v in trimesh.transformations.quaternion_about_axis(angle, axis))
    return w, x, y, z


def tube_capsules(path: FloatArray, radius: FloatArray, pieces: int) -> tuple[CollisionGeom, ...]:
    """``pieces`` capsules along an (N, 3) path; each takes the mean radius of its stretch."""
    knots = np.linspace(0, len(path) - 1, pieces + 1).round().astype(int)
    geoms = []
    for first, last in itertools.pairwise(knots):
        start, end = path[first], path[last]
        length = float(np.linalg.norm(end - start))
        r = float(radius[first : last + 1].mean())
        half = max(length / 2 - (r if pieces == 1 else 0.0), 1e-4)
        geoms.append(CollisionGeom("capsule", (r, half), point((start + end) / 2), z_to((end - start) / length)))
    return tuple(geoms)


def disc_geoms(profile_rz: FloatArray, pieces: int) -> tuple[CollisionGeom, ...]:
    """Cylinders stacked along z that cover a solid of revolution."""
    z = profile_rz[:, 1]
    levels = np.linspace(z.min(), z.max(), pieces + 1)
    geoms = []
    for low, high in itertools.pairwise(levels):
        r = float(np.interp(np.linspace(low, high, 5), z, profile_rz[:, 0]).mean())
        if r > 1e-3:
            geoms.append(CollisionGeom("cylinder", (r, float(high - low) / 2), (0.0, 0.0, float(low + high) / 2)))
    return tuple(geoms)


def ring_geoms(radius_bottom: float, radius_top: float, thickness: float, z0: float, z1: float) -> list[CollisionGeom]:
    """Hulls of wall pieces: a hollow, maybe conical, round wall."""
    angles = np.linspace(0.0, 2.0 * np.pi, _RING_PIECES + 1)
    geoms = []
    for a0, a1 in itertools.pairwise(angles):
        corners = []
        for radius, z in ((radius_bottom, z0), (radius_top, z1)):
            for a in (a0, a1):
                for r in (radius - thickness, radius):
                    corners.append((r * np.cos(a), r * np.sin(a), z))
        geoms.append(CollisionGeom("mesh", vertices_m=np.array(corners)))
    return geoms


def hull_geom(mesh: trimesh.Trimesh) -> CollisionGeom:
    """Convex hull of a mesh, of its outermost points in evenly spread directions when it has many."""
    vertices = np.asarray(mesh.vertices, float)
    if len(vertices) > len(_DIRECTIONS):
        # In units of its extents, so that flat and long shapes keep as many points along every side.
        scaled = vertices / np.ptp(vertices, axis=0)
        vertices = vertices[np.unique((scaled @ _DIRECTIONS.T).argmax(axis=0))]
    return CollisionGeom("mesh", vertices_m=vertices)


def _sphere_directions(count: int) -> FloatArray:
    """(count + 6, 3) unit vectors: a Fibonacci lattice and the six axis directions."""
    index = np.arange(count) + 0.5
    z, angle = 1.0 - 2.0 * index / count, np.pi * (1.0 + np.sqrt(5.0)) * index
    r = np.sqrt(1.0 - z**2)
    lattice = np.column_stack([r * np.cos(angle), r * np.sin(angle), z])
    return np.vstack([lattice, np.eye(3), -np.eye(3)])


_DIRECTIONS = _sphere_directions(120)
