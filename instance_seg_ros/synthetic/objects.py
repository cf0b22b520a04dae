"""Procedural object families: a triangle mesh to look at and convex pieces to collide with.

A family is a function ``(rng) -> ObjectShape`` registered under its name in :data:`FAMILIES`, so that a data set can be
restricted to some families and others held out. Shapes stand upright along +z in their own frame, in metres.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


Family = Callable[[np.random.Generator], ObjectShape]
FAMILIES: dict[str, Family] = {}


def family(function: Family) -> Family:
    """Register a family under its function's name."""
    FAMILIES[function.__name__] = function
    return function


def sample_object(rng: np.random.Generator, families: Sequence[str]) -> ObjectShape:
    """Draw a family uniformly from ``families`` and a shape from it."""
    return FAMILIES[families[int(rng.integers(len(families)))]](rng)


# ---------------------------------------------------------------------------------------------------------------------
# Surfaces


def _mesh(vertices: npt.ArrayLike, faces: npt.ArrayLike) -> trimesh.Trimesh:
    return trimesh.Trimesh(np.asarray(vertices, float), np.asarray(faces, np.int64), process=False, validate=False)


def join(meshes: Sequence[trimesh.Trimesh]) -> trimesh.Trimesh:
    """One mesh of several; overlapping parts stay, a ray sees the outermost."""
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    faces = [np.asarray(m.faces) + offset for m, offset in zip(meshes, offsets, strict=True)]
    return _mesh(np.vstack([m.vertices for m in meshes]), np.vstack(faces))


_BOX_QUADS = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])
_BOX_FACES = np.vstack([_BOX_QUADS[:, [0, 1, 2]], _BOX_QUADS[:, [0, 2, 3]]])
_BOX_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


def box_mesh(half_m: Vector, centre_m: Vector = (0.0, 0.0, 0.0)) -> trimesh.Trimesh:
    """Axis-aligned box from half sizes and centre."""
    return _mesh(_BOX_CORNERS * np.asarray(half_m) + np.asarray(centre_m), _BOX_FACES)


def _grid_faces(rows: int, columns: int) -> npt.NDArray[np.int64]:
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
    return _mesh(np.concatenate([xy, z], axis=-1).reshape(-1, 3), _grid_faces(len(profile), segments))


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
    return _mesh(np.concatenate(ends).reshape(-1, 3), _grid_faces(len(path) + 2, sides))


def prism_mesh(polygon_xy_m: npt.ArrayLike, height_m: float) -> trimesh.Trimesh:
    """Prism over a convex polygon (N, 2), from z = 0 to ``height_m``."""
    polygon = np.asarray(polygon_xy_m, float)
    centre = np.repeat(polygon.mean(axis=0)[None], len(polygon), axis=0)
    layers = [(centre, 0.0), (polygon, 0.0), (polygon, height_m), (centre, height_m)]
    rings = [np.column_stack([xy, np.full(len(xy), z)]) for xy, z in layers]
    return _mesh(np.vstack(rings), _grid_faces(4, len(polygon)))


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
    return _mesh(vertices, _grid_faces(17, _SEGMENTS))


# ---------------------------------------------------------------------------------------------------------------------
# Collision pieces


def box_geom(half_m: Vector, centre_m: Vector = (0.0, 0.0, 0.0), yaw: float = 0.0) -> CollisionGeom:
    """Box collision piece, turned about z by ``yaw`` radians."""
    quaternion = (float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2)))
    return CollisionGeom("box", _floats(half_m), _point(centre_m), quaternion)


def _floats(values: Vector) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _point(values: Vector) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _z_to(direction: FloatArray) -> tuple[float, float, float, float]:
    """Quaternion (w, x, y, z) that turns +z onto a unit ``direction``."""
    w = 1.0 + direction[2]
    if w < 1e-6:
        return 0.0, 1.0, 0.0, 0.0
    quaternion = np.array([w, -direction[1], direction[0], 0.0])
    quaternion /= np.linalg.norm(quaternion)
    return tuple(float(v) for v in quaternion)  # type: ignore[return-value]


def tube_capsules(path: FloatArray, radius: FloatArray, pieces: int) -> tuple[CollisionGeom, ...]:
    """``pieces`` capsules along an (N, 3) path; each takes the mean radius of its stretch."""
    knots = np.linspace(0, len(path) - 1, pieces + 1).round().astype(int)
    geoms = []
    for first, last in itertools.pairwise(knots):
        start, end = path[first], path[last]
        length = float(np.linalg.norm(end - start))
        r = float(radius[first : last + 1].mean())
        half = max(length / 2 - (r if pieces == 1 else 0.0), 1e-4)
        geoms.append(CollisionGeom("capsule", (r, half), _point((start + end) / 2), _z_to((end - start) / length)))
    return tuple(geoms)


def _discs(profile_rz: FloatArray, pieces: int) -> tuple[CollisionGeom, ...]:
    """Cylinders stacked along z that cover a solid of revolution."""
    z = profile_rz[:, 1]
    levels = np.linspace(z.min(), z.max(), pieces + 1)
    geoms = []
    for low, high in itertools.pairwise(levels):
        r = float(np.interp(np.linspace(low, high, 5), z, profile_rz[:, 0]).mean())
        if r > 1e-3:
            geoms.append(CollisionGeom("cylinder", (r, float(high - low) / 2), (0.0, 0.0, float(low + high) / 2)))
    return tuple(geoms)


def _ring(radius_bottom: float, radius_top: float, thickness: float, z0: float, z1: float) -> list[CollisionGeom]:
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


def _hull(mesh: trimesh.Trimesh) -> CollisionGeom:
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


# ---------------------------------------------------------------------------------------------------------------------
# Families


def _cuboid(name: str, size_m: Vector) -> ObjectShape:
    half = np.asarray(size_m, float) / 2
    return ObjectShape(name, box_mesh(half), (box_geom(half),))


def _solid_lathe(name: str, profile: FloatArray, pieces: int) -> ObjectShape:
    return ObjectShape(name, lathe_mesh(profile), _discs(profile, pieces))


def _smooth_profile(levels: Sequence[tuple[float, float]], count: int = 14) -> FloatArray:
    """(radius, z) control points joined by a monotone-ish smooth curve and closed on the axis at both ends."""
    r, z = np.asarray(levels, float).T
    fine = np.linspace(z[0], z[-1], count)
    inner = np.interp(fine, z, r)
    kernel = np.array([0.25, 0.5, 0.25])
    inner[1:-1] = np.convolve(inner, kernel, mode="valid")
    return np.vstack([[0.0, z[0]], np.column_stack([inner, fine]), [0.0, z[-1]]])


@family
def box(rng: np.random.Generator) -> ObjectShape:
    """Any cuboid."""
    return _cuboid("box", rng.uniform(0.03, 0.16, 3))


@family
def carton(rng: np.random.Generator) -> ObjectShape:
    """Standing package, as of cereals or crackers."""
    height = rng.uniform(0.1, 0.26)
    return _cuboid("carton", (height * rng.uniform(0.45, 0.8), rng.uniform(0.025, 0.09), height))


@family
def small_box(rng: np.random.Generator) -> ObjectShape:
    """Match box, soap, die."""
    return _cuboid("small_box", rng.uniform(0.018, 0.06, 3))


@family
def book(rng: np.random.Generator) -> ObjectShape:
    """Flat cuboid: a book, a phone, a chocolate bar."""
    length = rng.uniform(0.1, 0.28)
    return _cuboid("book", (length * rng.uniform(0.45, 0.85), length, rng.uniform(0.006, 0.04)))


@family
def cylinder(rng: np.random.Generator) -> ObjectShape:
    """Any upright cylinder."""
    r, h = rng.uniform(0.015, 0.07), rng.uniform(0.02, 0.2)
    profile = np.array([[0, 0], [r, 0], [r, h], [0, h]])
    return _solid_lathe("cylinder", profile, 1)


@family
def can(rng: np.random.Generator) -> ObjectShape:
    """Tin or drink can with a recessed lid and rounded rims."""
    r, h = rng.uniform(0.026, 0.052), rng.uniform(0.06, 0.17)
    lip = rng.uniform(0.001, 0.004)
    bottom = [[0, 0.002], [r - 3 * lip, 0], [r - lip, 0], [r, lip]]
    lid = [[r, h - 2 * lip], [r - lip, h], [r - 2 * lip, h], [r - 2 * lip, h - 2 * lip], [0, h - 2 * lip]]
    return ObjectShape("can", lathe_mesh([*bottom, *lid]), (CollisionGeom("cylinder", (r, h / 2), (0, 0, h / 2)),))


@family
def sphere(rng: np.random.Generator) -> ObjectShape:
    """Ball."""
    r = rng.uniform(0.018, 0.07)
    return ObjectShape("sphere", superquadric_mesh((r, r, r), (1.0, 1.0)), (CollisionGeom("sphere", (r,)),), rolls=True)


@family
def ellipsoid(rng: np.random.Generator) -> ObjectShape:
    """Egg, stone, lemon."""
    half = rng.uniform(0.015, 0.07, 3)
    half = np.maximum(half, 0.3 * half.max())
    geom = CollisionGeom("ellipsoid", _floats(half))
    return ObjectShape("ellipsoid", superquadric_mesh(half, (1.0, 1.0)), (geom,), rolls=True)


@family
def capsule(rng: np.random.Generator) -> ObjectShape:
    """Cylinder with round ends, lying along x."""
    r, half = rng.uniform(0.01, 0.04), rng.uniform(0.02, 0.09)
    angle = np.linspace(0.0, np.pi / 2, 6)
    top = np.column_stack([r * np.cos(angle), half + r * np.sin(angle)])
    mesh = lathe_mesh(np.vstack([top[::-1] * [1, -1], top]))
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
    geom = CollisionGeom("capsule", (r, half), quaternion_wxyz=_z_to(np.array([1.0, 0.0, 0.0])))
    return ObjectShape("capsule", mesh, (geom,), rolls=True)


def _vessel(
    name: str, bottom_r: float, top_r: float, height: float, wall: float, curve: float
) -> tuple[trimesh.Trimesh, list[CollisionGeom]]:
    """Hollow open vessel; ``curve`` > 1 bellies the wall outwards (a bowl), 1 keeps it straight (a cup)."""
    t = np.linspace(0.0, 1.0, 8)
    outer_r = bottom_r + (top_r - bottom_r) * t ** (1.0 / curve)
    outer = np.column_stack([outer_r, height * t])
    inner = outer[::-1] - [wall, 0.0]
    inner[:, 1] = np.maximum(inner[:, 1], wall)
    profile = np.vstack([[0.0, 0.0], outer, inner, [0.0, wall]])
    split = 4
    geoms = [CollisionGeom("cylinder", (bottom_r, wall / 2), (0.0, 0.0, wall / 2))]
    thick = max(wall, 0.004)
    geoms += _ring(outer_r[0], outer_r[split], thick, 0.0, height * t[split]) if curve > 1.0 else []
    low, low_z = (outer_r[split], height * t[split]) if curve > 1.0 else (outer_r[0], 0.0)
    geoms += _ring(low, outer_r[-1], thick, low_z, height)
    return lathe_mesh(profile), geoms


@family
def bowl(rng: np.random.Generator) -> ObjectShape:
    """Open bowl."""
    top = rng.uniform(0.05, 0.11)
    mesh, geoms = _vessel(
        "bowl", top * rng.uniform(0.35, 0.65), top, top * rng.uniform(0.4, 1.0), rng.uniform(0.002, 0.006), 2.0
    )
    return ObjectShape("bowl", mesh, tuple(geoms))


@family
def cup(rng: np.random.Generator) -> ObjectShape:
    """Beaker, glass or paper cup without handle."""
    top = rng.uniform(0.025, 0.05)
    mesh, geoms = _vessel(
        "cup", top * rng.uniform(0.65, 1.0), top, rng.uniform(0.05, 0.16), rng.uniform(0.0015, 0.004), 1.0
    )
    return ObjectShape("cup", mesh, tuple(geoms))


@family
def mug(rng: np.random.Generator) -> ObjectShape:
    """Mug with a handle on +x."""
    top, height = rng.uniform(0.033, 0.055), rng.uniform(0.07, 0.12)
    bottom = top * rng.uniform(0.75, 1.0)
    mesh, geoms = _vessel("mug", bottom, top, height, rng.uniform(0.003, 0.005), 1.0)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    reach, span, r = rng.uniform(0.018, 0.035), height * rng.uniform(0.25, 0.38), rng.uniform(0.003, 0.007)
    path = np.column_stack([reach * np.cos(angle), 0 * angle, height * 0.52 + span * np.sin(angle)])
    path[:, 0] += (bottom + top) / 2 - 0.003
    handle = tube_mesh(path, r, sides=8)
    return ObjectShape("mug", join([mesh, handle]), (*geoms, *tube_capsules(path, np.full(9, r), 4)))


@family
def plate(rng: np.random.Generator) -> ObjectShape:
    """Plate or saucer: nearly flat, open."""
    r = rng.uniform(0.05, 0.14)
    mesh, geoms = _vessel("plate", r * 0.6, r, rng.uniform(0.012, 0.028), rng.uniform(0.002, 0.004), 0.7)
    return ObjectShape("plate", mesh, tuple(geoms))


@family
def bottle(rng: np.random.Generator) -> ObjectShape:
    """Bottle with a shoulder, a neck and a cap; round or squashed."""
    r, h = rng.uniform(0.022, 0.05), rng.uniform(0.1, 0.28)
    neck, shoulder = r * rng.uniform(0.25, 0.5), h * rng.uniform(0.5, 0.78)
    waist = r * rng.uniform(0.82, 1.0)
    levels = [(r * 0.93, 0), (r, 0.06 * h), (waist, 0.5 * shoulder), (r, 0.95 * shoulder)]
    levels += [(neck, shoulder + 0.4 * (h - shoulder)), (neck, 0.93 * h), (neck * 1.15, 0.94 * h), (neck * 1.15, h)]
    profile = _smooth_profile(levels, 22)
    squash = rng.uniform(0.5, 0.85) if rng.random() < 0.4 else 1.0
    mesh = lathe_mesh(profile)
    mesh.vertices *= [1.0, squash, 1.0]
    if squash == 1.0:
        return ObjectShape("bottle", mesh, _discs(profile, 5))
    body = mesh.vertices[mesh.vertices[:, 2] <= shoulder]
    top = mesh.vertices[mesh.vertices[:, 2] >= 0.95 * shoulder]
    hulls = tuple(CollisionGeom("mesh", vertices_m=np.asarray(v[::2])) for v in (body, top))
    return ObjectShape("bottle", mesh, hulls)


@family
def lathe(rng: np.random.Generator) -> ObjectShape:
    """Random solid of revolution: vases, jars, chess pieces, bulbs."""
    h, r = rng.uniform(0.05, 0.22), rng.uniform(0.02, 0.06)
    count = int(rng.integers(3, 6))
    radii = r * rng.uniform(0.35, 1.0, count)
    radii[0] = max(radii[0], 0.6 * r)
    profile = _smooth_profile(list(zip(radii, np.linspace(0, h, count), strict=True)), 20)
    return _solid_lathe("lathe", profile, 6)


@family
def prism(rng: np.random.Generator) -> ObjectShape:
    """Prism over a random convex polygon: wedges, hexagons, cheese."""
    count = int(rng.integers(3, 8))
    angle = np.sort((np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count)
    polygon = np.column_stack([np.cos(angle), np.sin(angle)]) * rng.uniform(0.02, 0.08, 2)
    mesh = prism_mesh(polygon, rng.uniform(0.012, 0.16))
    return ObjectShape("prism", mesh, (_hull(mesh),))


@family
def bar(rng: np.random.Generator) -> ObjectShape:
    """Profile of L, T, U or step shape, made of two or three cuboids."""
    length, thick = rng.uniform(0.05, 0.18), rng.uniform(0.012, 0.04)
    width, height = rng.uniform(0.03, 0.1), rng.uniform(0.03, 0.1)
    base = (np.array([width, length, thick]) / 2, np.array([0.0, 0.0, thick / 2]))
    parts = [base]
    for side in (-1, 1) if rng.random() < 0.4 else (rng.choice([-1.0, 0.0, 1.0]),):
        half = np.array([thick, length * rng.choice([0.3, 1.0]), height]) / 2
        parts.append((half, np.array([side * (width - thick) / 2, 0.0, thick + height / 2])))
    mesh = join([box_mesh(half, centre) for half, centre in parts])
    return ObjectShape("bar", mesh, tuple(box_geom(half, centre) for half, centre in parts))


def _stick(name: str, length: float, radii: Sequence[float], sides: int) -> ObjectShape:
    """Long round thing along x whose radius is given at even steps."""
    x = np.linspace(-length / 2, length / 2, 13)
    r = np.interp(x, np.linspace(-length / 2, length / 2, len(radii)), radii)
    path = np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])
    return ObjectShape(name, tube_mesh(path, r, sides), tube_capsules(path, r, 3), rolls=sides > 6)


@family
def pen(rng: np.random.Generator) -> ObjectShape:
    """Pen, pencil or marker."""
    r = rng.uniform(0.0035, 0.011)
    cap = r * rng.uniform(1.0, 1.25)
    radii = [r * rng.uniform(0.3, 1.0), r, r, r, r, cap, cap]
    return _stick("pen", rng.uniform(0.1, 0.18), radii, int(rng.choice([6, 12])))


@family
def screwdriver(rng: np.random.Generator) -> ObjectShape:
    """Thick grip and thin shaft."""
    grip, shaft = rng.uniform(0.01, 0.018), rng.uniform(0.003, 0.006)
    radii = [grip * 0.8, grip, grip * 0.85, grip, shaft, shaft, shaft, shaft, shaft]
    return _stick("screwdriver", rng.uniform(0.12, 0.27), radii, 10)


@family
def hammer(rng: np.random.Generator) -> ObjectShape:
    """Handle along x with a head across its end."""
    length, r = rng.uniform(0.15, 0.3), rng.uniform(0.008, 0.014)
    x = np.linspace(-length / 2, length / 2, 7)
    path = np.column_stack([x, 0 * x, 0 * x])
    head = np.array([rng.uniform(0.01, 0.02), rng.uniform(0.03, 0.06), rng.uniform(0.01, 0.02)])
    centre = np.array([length / 2, rng.uniform(-0.015, 0.015), 0.0])
    mesh = join([tube_mesh(path, r, 10), box_mesh(head, centre)])
    return ObjectShape("hammer", mesh, (*tube_capsules(path, np.full(7, r), 1), box_geom(head, centre)))


@family
def pliers(rng: np.random.Generator) -> ObjectShape:
    """Two crossed flat bars: scissors, pliers, clamps, tongs."""
    length, half_w, half_t = rng.uniform(0.1, 0.24), rng.uniform(0.005, 0.014), rng.uniform(0.003, 0.012)
    opening, pivot = rng.uniform(0.12, 0.5), rng.uniform(-0.2, 0.3) * length
    meshes, geoms = [], []
    for sign in (-1, 1):
        yaw = sign * opening
        half = np.array([length / 2, half_w, half_t])
        centre = np.array([-pivot * np.cos(yaw), -pivot * np.sin(yaw), sign * half_t * 0.3])
        mesh = box_mesh(half)
        mesh.apply_transform(trimesh.transformations.rotation_matrix(yaw, [0, 0, 1]))
        mesh.apply_translation(centre)
        meshes.append(mesh)
        geoms.append(box_geom(half, centre, yaw))
    return ObjectShape("pliers", join(meshes), tuple(geoms))


@family
def spoon(rng: np.random.Generator) -> ObjectShape:
    """Cutlery: a thin handle and a flat, wide end."""
    length, r = rng.uniform(0.11, 0.24), rng.uniform(0.003, 0.006)
    end = np.array([rng.uniform(0.02, 0.04), rng.uniform(0.012, 0.03), rng.uniform(0.003, 0.008)])
    x = np.linspace(-length / 2, length / 2 - 0.8 * end[0], 7)
    path = np.column_stack([x, 0 * x, 0 * x])
    head = superquadric_mesh(end, (1.0, rng.uniform(0.3, 1.0)))
    head.apply_translation([length / 2, 0.0, 0.0])
    geom = CollisionGeom("ellipsoid", _floats(end), (length / 2, 0.0, 0.0))
    return ObjectShape("spoon", join([tube_mesh(path, r, 8), head]), (*tube_capsules(path, np.full(7, r), 1), geom))


@family
def superquadric(rng: np.random.Generator) -> ObjectShape:
    """Rounded box, pillow, soap, lozenge."""
    half = rng.uniform(0.015, 0.08, 3)
    mesh = superquadric_mesh(half, (rng.uniform(0.15, 1.2), rng.uniform(0.15, 1.2)))
    return ObjectShape("superquadric", mesh, (_hull(mesh),))


@family
def banana(rng: np.random.Generator) -> ObjectShape:
    """Bent body that tapers at its ends, lying in the xy plane."""
    radius, arc = rng.uniform(0.06, 0.14), rng.uniform(0.8, 2.2)
    thick = rng.uniform(0.012, 0.024)
    angle = np.linspace(-arc / 2, arc / 2, 13)
    path = np.column_stack([radius * np.sin(angle), radius * (np.cos(angle) - np.cos(arc / 4)), 0 * angle])
    shape = np.linspace(-1.0, 1.0, 13)
    r = thick * np.sqrt(np.clip(1.0 - 0.85 * np.abs(shape) ** rng.uniform(2.0, 6.0), 0.03, 1.0))
    return ObjectShape("banana", tube_mesh(path, r, 10), tube_capsules(path, r, 5))


@family
def fruit(rng: np.random.Generator) -> ObjectShape:
    """Apple, pear, pepper: a lathe with lobes."""
    r, h = rng.uniform(0.028, 0.05), rng.uniform(0.05, 0.11)
    t = np.linspace(0.0, np.pi, 16)
    pear = rng.uniform(0.0, 0.5)
    radius = r * np.sin(t) ** 0.8 * (1.0 + pear * np.cos(t)) / (1.0 + 0.4 * pear)
    mesh = lathe_mesh(np.column_stack([radius, -h / 2 * np.cos(t)]))
    angle = np.arctan2(mesh.vertices[:, 1], mesh.vertices[:, 0])
    lobes = 1.0 + rng.uniform(0.0, 0.08) * np.cos(int(rng.integers(2, 6)) * angle)
    mesh.vertices *= np.column_stack([lobes, lobes, np.ones_like(lobes)])
    return ObjectShape("fruit", mesh, (_hull(mesh),), rolls=True)


@family
def lump(rng: np.random.Generator) -> ObjectShape:
    """Soft thing in a heap: a bag, a pair of socks, a cloth, a plush toy."""
    half = np.array([rng.uniform(0.03, 0.1), rng.uniform(0.03, 0.08), rng.uniform(0.012, 0.05)])
    mesh = superquadric_mesh((1.0, 1.0, 1.0), (rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0)))
    wave = smooth_noise(np.asarray(mesh.vertices), rng, (2.0, 4.0, 7.0))
    mesh.vertices *= (1.0 + rng.uniform(0.1, 0.4) * wave)[:, None] * half
    return ObjectShape("lump", mesh, (_hull(mesh),))


@family
def ring(rng: np.random.Generator) -> ObjectShape:
    """Roll of tape, nut, bracelet: a hollow cylinder."""
    outer, height = rng.uniform(0.025, 0.07), rng.uniform(0.008, 0.06)
    wall = outer * rng.uniform(0.12, 0.5)
    inner = outer - wall
    profile = np.array([[inner, 0], [outer, 0], [outer, height], [inner, height], [inner, 0]])
    return ObjectShape("ring", lathe_mesh(profile), tuple(_ring(outer, outer, wall, 0.0, height)))


@family
def composition(rng: np.random.Generator) -> ObjectShape:
    """Two or three primitives fused at random: toys, dispensers, adapters."""
    meshes, geoms = [], []
    centre = np.zeros(3)
    for _ in range(int(rng.integers(2, 4))):
        half = rng.uniform(0.012, 0.05, 3)
        if rng.random() < 0.5:
            meshes.append(box_mesh(half, centre))
            geoms.append(box_geom(half, centre))
        else:
            r, h = float(half[0]), float(half[2])
            part = lathe_mesh([[0, -h], [r, -h], [r, h], [0, h]])
            part.apply_translation(centre)
            meshes.append(part)
            geoms.append(CollisionGeom("cylinder", (r, h), _point(centre)))
        step = np.zeros(3)
        step[int(rng.integers(3))] = rng.choice([-1.0, 1.0])
        centre = centre + step * half * rng.uniform(0.6, 1.3)
    return ObjectShape("composition", join(meshes), tuple(geoms))


def _turned(mesh: trimesh.Trimesh, angle: float, axis: Vector, centre_m: Vector = (0.0, 0.0, 0.0)) -> trimesh.Trimesh:
    """The mesh turned about an axis through the origin, then moved to ``centre_m``."""
    mesh.apply_transform(trimesh.transformations.rotation_matrix(angle, axis))
    mesh.apply_translation(centre_m)
    return mesh


def _axis_quaternion(angle: float, axis: Vector) -> tuple[float, float, float, float]:
    w, x, y, z = (float(v) for v in trimesh.transformations.quaternion_about_axis(angle, axis))
    return w, x, y, z


def _loft(sections_m: FloatArray) -> trimesh.Trimesh:
    """Closed surface through (N, M, 3) rings of points; the ends are closed at the first and last ring's middle."""
    count, points, _ = sections_m.shape
    first, last = (np.repeat(sections_m[i].mean(axis=0)[None, None], points, axis=1) for i in (0, -1))
    return _mesh(np.concatenate([first, sections_m, last]).reshape(-1, 3), _grid_faces(count + 2, points))


def smooth_noise(points: FloatArray, rng: np.random.Generator, frequencies: Sequence[float]) -> FloatArray:
    """(N,) smooth random function of (N, 3) points of unit size, of zero mean; higher frequencies are weaker."""
    wave = np.zeros(len(points))
    for frequency in frequencies:
        direction = rng.normal(size=(2, 3))
        wave += np.sin(points @ direction.T * frequency / 2 + rng.uniform(0, 6.28, 2)).prod(axis=1) / frequency
    return wave


@family
def cable(rng: np.random.Generator) -> ObjectShape:
    """Cable wound up to a loose coil, with a free end."""
    radius, thick, turns = rng.uniform(0.03, 0.07), rng.uniform(0.002, 0.0045), rng.uniform(2.0, 4.0)
    angle = np.linspace(0.0, 2 * np.pi * turns, int(20 * turns))
    height = thick * rng.uniform(2.0, 5.0)
    reach = radius * (1.0 + 0.12 * np.sin(angle * rng.uniform(0.3, 1.7) + rng.uniform(0, 6)))
    z = thick + height * (0.5 + 0.5 * np.sin(angle * rng.uniform(0.2, 0.6)))
    coil = np.column_stack([reach * np.cos(angle), reach * np.sin(angle), z])
    along = np.linspace(0.0, rng.uniform(0.02, 0.1), 6)[1:]
    forward = np.array([-np.sin(angle[-1]), np.cos(angle[-1])])
    outward = np.array([np.cos(angle[-1]), np.sin(angle[-1])])
    end = coil[-1, :2] + along[:, None] * forward + (6.0 * along**2)[:, None] * outward
    tail = np.column_stack([end, np.interp(along, [0.0, along[-1]], [coil[-1, 2], thick])])
    mesh = tube_mesh(np.vstack([coil, tail]), thick, sides=6)
    wall = max(float(np.ptp(reach)), 2 * thick)
    ring_geoms = _ring(reach.max() + thick, reach.max() + thick, wall, 0.0, height + 2 * thick)
    return ObjectShape("cable", mesh, (*ring_geoms, *tube_capsules(tail, np.full(len(tail), thick), 1)))


@family
def shoe(rng: np.random.Generator) -> ObjectShape:
    """Shoe or slipper, toe towards +x, with a hollow for the foot."""
    length, ratio = rng.uniform(0.14, 0.29), rng.uniform(0.32, 0.42)
    heel, toe = length * rng.uniform(0.25, 0.45), length * rng.uniform(0.13, 0.2)
    t = np.linspace(0.0, 1.0, 15)
    half_w = (
        length * ratio / 2 * np.interp(t, [0, 0.08, 0.3, 0.45, 0.75, 0.95, 1], [0.35, 0.7, 0.78, 0.75, 1, 0.6, 0.25])
    )
    height = np.interp(t, [0, 0.05, 0.35, 0.6, 0.9, 1], [0.7 * heel, heel, heel * 0.9, toe * 1.3, toe, 0.5 * toe])
    angle = np.linspace(0.0, 2 * np.pi, 20, endpoint=False)
    y = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.6
    z = np.where(np.sin(angle) > 0, np.abs(np.sin(angle)) ** 0.6, 0.0)
    sections = np.stack(
        [
            np.broadcast_to((t[:, None] - 0.5) * length, (15, 20)),
            half_w[:, None] * y,
            height[:, None] * z,
        ],
        axis=-1,
    )
    hollow = np.exp(-(((t[:, None] - 0.28) / 0.16) ** 4)) * (np.abs(y) < 0.75)[None] * (z > 0)[None]
    sections[..., 2] -= hollow * (sections[..., 2] - 0.02)
    mesh = _loft(sections)
    back, front = sections[:8].reshape(-1, 3), sections[7:].reshape(-1, 3)
    hulls = tuple(CollisionGeom("mesh", vertices_m=np.array(part)) for part in (back, front))
    return ObjectShape("shoe", mesh, hulls)


@family
def wrench(rng: np.random.Generator) -> ObjectShape:
    """Flat spanner along x: a closed ring at one end, open jaws at the other."""
    length, thick = rng.uniform(0.1, 0.26), rng.uniform(0.004, 0.012)
    half_w, head = length * rng.uniform(0.03, 0.05), length * rng.uniform(0.07, 0.11)
    handle = (np.array([length / 2 - head, half_w, thick / 2]), np.array([0.0, 0.0, thick / 2]))
    end = lathe_mesh(np.array([[0.55, 0], [1, 0], [1, 1], [0.55, 1], [0.55, 0]]) * [head, thick * 1.2], 20)
    end.apply_translation([-length / 2 + head / 2, 0.0, 0.0])
    parts = [handle]
    for side in (-1, 1):
        jaw = np.array([head * 0.8, head * 0.28, thick * 0.6])
        parts.append((jaw, np.array([length / 2, side * head * 0.75, thick * 0.6])))
    parts.append((np.array([head * 0.35, head, thick * 0.6]), np.array([length / 2 - head * 0.75, 0.0, thick * 0.6])))
    mesh = join([*(box_mesh(half, centre) for half, centre in parts), end])
    geoms = tuple(box_geom(half, centre) for half, centre in parts)
    disc = CollisionGeom("cylinder", (head, thick * 0.6), (-length / 2 + head / 2, 0.0, thick * 0.6))
    return ObjectShape("wrench", mesh, (*geoms, disc))


@family
def scissors(rng: np.random.Generator) -> ObjectShape:
    """Two crossed pointed blades with a ring for the fingers at the end of each."""
    length, thick = rng.uniform(0.1, 0.23), rng.uniform(0.003, 0.007)
    half_w, grip = length * rng.uniform(0.03, 0.05), length * rng.uniform(0.11, 0.16)
    opening, back = rng.uniform(0.1, 0.5), length * rng.uniform(0.3, 0.4)
    meshes, geoms = [], []
    for sign in (-1, 1):
        blade = np.array(
            [[-back, -half_w], [0.55 * length, -0.3 * half_w], [0.6 * length, 0.0], [0.5 * length, half_w]]
        )
        level = thick * (0.5 + 0.5 * sign)
        part = prism_mesh(np.vstack([blade, [-back, half_w]]) * [1, sign], thick)
        hollow = lathe_mesh(np.array([[0.62, 0], [1, 0], [1, 1], [0.62, 1], [0.62, 0]]) * [grip, 2 * thick], 16)
        hollow.vertices *= [1.25, 0.8, 1.0]
        hollow.apply_translation([-back - grip, 0.0, -level])
        both = _turned(join([part, hollow]), sign * opening, (0, 0, 1), (0.0, 0.0, level))
        both.apply_translation([-0.15 * length, 0.0, 0.0])
        meshes.append(both)
        geoms += [CollisionGeom("mesh", vertices_m=np.asarray(both.vertices[s])) for s in _split(part, both)]
    return ObjectShape("scissors", join(meshes), tuple(geoms))


def _split(first: trimesh.Trimesh, joined: trimesh.Trimesh) -> tuple[slice, slice]:
    """Vertex ranges of the first and of the other parts of a joined mesh."""
    return slice(0, len(first.vertices)), slice(len(first.vertices), len(joined.vertices))


@family
def wine_glass(rng: np.random.Generator) -> ObjectShape:
    """Stemmed glass: foot, thin stem, open bowl."""
    bowl_r, height = rng.uniform(0.025, 0.048), rng.uniform(0.11, 0.23)
    foot, stem = bowl_r * rng.uniform(0.75, 1.0), rng.uniform(0.003, 0.006)
    low = height * rng.uniform(0.3, 0.55)
    t = np.linspace(0.0, 1.0, 8)
    width = bowl_r * np.interp(t, [0, 0.15, 0.45, 1], [0.15, 0.7, 1.0, rng.uniform(0.7, 1.0)])
    outer = np.column_stack([width, low + (height - low) * t])
    inner = np.column_stack([np.maximum(width - 0.0015, 0.0), np.maximum(outer[:, 1], low + 0.003)])[::-1]
    base = [[0, 0], [foot, 0], [foot, 0.002], [stem * 1.6, 0.006], [stem, 0.012], [stem, low - 0.004]]
    profile = np.vstack([np.array(base), outer, inner, [[0.0, low + 0.003]]])
    geoms = [CollisionGeom("cylinder", (foot, 0.002), (0.0, 0.0, 0.002))]
    geoms.append(CollisionGeom("cylinder", (stem, low / 2), (0.0, 0.0, low / 2)))
    geoms += _ring(width[1], width[4], 0.004, outer[0, 1], outer[4, 1])
    geoms += _ring(width[4], width[-1], 0.004, outer[4, 1], height)
    return ObjectShape("wine_glass", lathe_mesh(profile), tuple(geoms))


@family
def teapot(rng: np.random.Generator) -> ObjectShape:
    """Pot with a lid, a knob, a spout on +x and a handle on -x."""
    r, h = rng.uniform(0.045, 0.075), rng.uniform(0.07, 0.13)
    levels = [(0.7 * r, 0), (0.95 * r, 0.25 * h), (r, 0.5 * h), (0.8 * r, 0.8 * h), (0.45 * r, 0.95 * h), (0.15 * r, h)]
    profile = _smooth_profile(levels, 16)
    knob_r = rng.uniform(0.008, 0.014)
    knob = superquadric_mesh((knob_r, knob_r, knob_r), (1.0, 1.0))
    knob.apply_translation([0.0, 0.0, h + 0.5 * knob_r])
    reach, rise = r * rng.uniform(0.6, 0.9), h * rng.uniform(0.4, 0.65)
    t = np.linspace(0.0, 1.0, 8)
    spout = np.column_stack([0.8 * r + reach * t, 0 * t, 0.3 * h + rise * t**1.6])
    spout_r = np.interp(t, [0, 1], [0.2 * r + 0.004, 0.006])
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    handle = np.column_stack([-0.85 * r - 0.6 * r * np.cos(angle), 0 * angle, h * (0.5 + 0.3 * np.sin(angle))])
    handle_r = np.full(9, rng.uniform(0.004, 0.007))
    meshes = [lathe_mesh(profile), knob, tube_mesh(spout, spout_r, 10), tube_mesh(handle, handle_r, 8)]
    geoms = (*_discs(profile, 5), *tube_capsules(spout, spout_r, 2), *tube_capsules(handle, handle_r, 4))
    return ObjectShape("teapot", join(meshes), geoms)


@family
def toy_brick(rng: np.random.Generator) -> ObjectShape:
    """Building brick with a grid of round studs on its top."""
    pitch = rng.uniform(0.008, 0.032)
    columns, rows = int(rng.integers(1, 3)), int(rng.integers(2, 5))
    half = np.array([columns, rows, rng.choice([0.4, 1.2])]) * pitch / 2
    stud_r, stud_h = 0.3 * pitch, 0.22 * pitch
    meshes, geoms = [box_mesh(half)], [box_geom(half)]
    for column in range(columns):
        for row in range(rows):
            x, y = (column + 0.5) * pitch - half[0], (row + 0.5) * pitch - half[1]
            stud = lathe_mesh([[stud_r, 0], [stud_r, stud_h], [0, stud_h]], 14)
            stud.apply_translation([x, y, half[2]])
            meshes.append(stud)
            geoms.append(CollisionGeom("cylinder", (stud_r, stud_h / 2), (float(x), float(y), half[2] + stud_h / 2)))
    return ObjectShape("toy_brick", join(meshes), tuple(geoms))


@family
def tape_roll(rng: np.random.Generator) -> ObjectShape:
    """Roll of tape or wire: windings on a thinner, slightly wider core."""
    outer, width = rng.uniform(0.025, 0.065), rng.uniform(0.01, 0.055)
    core = outer * rng.uniform(0.45, 0.8)
    wall, lip = 0.1 * core, rng.uniform(0.0, 0.12) * width
    top = width - lip
    rims = [[core - wall, 0], [core, 0], [core, lip], [outer, lip], [outer, top], [core, top], [core, width]]
    profile = np.array([*rims, [core - wall, width], [core - wall, 0]])
    geoms = _ring(outer, outer, outer - core + wall, lip, top)
    return ObjectShape("tape_roll", lathe_mesh(profile), (*geoms, *_ring(core, core, wall + 0.002, 0.0, width)))


@family
def open_box(rng: np.random.Generator) -> ObjectShape:
    """Open cardboard box: a bottom, four walls, and flaps or a hinged lid."""
    half = np.array([*rng.uniform(0.035, 0.085, 2), rng.uniform(0.02, 0.06)])
    wall = rng.uniform(0.0015, 0.004)
    parts = [(np.array([half[0], half[1], wall]), np.array([0.0, 0.0, wall]), 0.0, 0)]
    lids = rng.random(4) < 0.7 if rng.random() < 0.5 else np.arange(4) == rng.integers(4)
    for index, (axis, sign) in enumerate(((0, 1), (0, -1), (1, 1), (1, -1))):
        size = np.array([half[0], half[1], half[2]])
        size[axis] = wall
        centre = np.array([0.0, 0.0, half[2]])
        centre[axis] = sign * (half[axis] - wall)
        parts.append((size, centre, 0.0, axis))
        if lids[index]:
            reach = half[axis] if lids.sum() == 1 else 0.45 * half[axis]
            reach = min(reach, 0.06)
            open_angle = rng.uniform(0.2, 1.9)
            flap = size.copy()
            flap[2] = reach
            outward = np.zeros(3)
            outward[axis] = sign * np.sin(open_angle)
            outward[2] = np.cos(open_angle)
            hinge = np.array([centre[0], centre[1], 2 * half[2]])
            # About y a turn takes z towards +x, about x it takes z towards -y.
            turn = sign * open_angle if axis == 0 else -sign * open_angle
            parts.append((flap, hinge + outward * reach, turn, axis))
    meshes, geoms = [], []
    for size, centre, turn, axis in parts:
        about = (0.0, 1.0, 0.0) if axis == 0 else (1.0, 0.0, 0.0)
        meshes.append(_turned(box_mesh(size), turn, about, centre))
        geoms.append(CollisionGeom("box", _floats(size), _point(centre), _axis_quaternion(turn, about)))
    return ObjectShape("open_box", join(meshes), tuple(geoms))


@family
def pouch(rng: np.random.Generator) -> ObjectShape:
    """Filled bag of crisps, coffee or rice: a wrinkled pillow that thins out to seams at two ends."""
    half = np.array([rng.uniform(0.045, 0.12), rng.uniform(0.03, 0.085), rng.uniform(0.012, 0.04)])
    mesh = superquadric_mesh((1.0, 1.0, 1.0), (rng.uniform(0.6, 1.1), rng.uniform(0.15, 0.4)))
    unit = np.array(mesh.vertices)
    thin = 1.0 - 0.93 * np.abs(np.clip(unit[:, 0], -1, 1)) ** rng.uniform(3.0, 8.0)
    unit[:, 2] *= thin * (1.0 + 0.5 * smooth_noise(unit, rng, (3.0, 7.0, 12.0)))
    unit[:, 2] += 0.25 * rng.normal() * unit[:, 0] ** 2
    mesh.vertices = unit * half
    return ObjectShape("pouch", mesh, (_hull(mesh),))


@family
def cloth(rng: np.random.Generator) -> ObjectShape:
    """Crumpled cloth, glove or sheet of paper: an irregular outline with folds."""
    rings, spokes = 11, 32
    angle = np.linspace(0.0, 2 * np.pi, spokes, endpoint=False)
    reach = 1.0 + sum(rng.uniform(0, 0.18) * np.sin(k * angle + rng.uniform(0, 6.28)) for k in (2, 3, 5))
    r = np.linspace(1.0, 0.0, rings)[:, None]
    xy = np.stack([r * reach * np.cos(angle), r * reach * np.sin(angle)], axis=-1)
    flat = np.concatenate([xy, np.zeros((rings, spokes, 1))], axis=-1).reshape(-1, 3)
    folds = np.abs(smooth_noise(flat, rng, (4.0, 8.0, 14.0))).reshape(rings, spokes)
    height = (0.25 + rng.uniform(0.5, 1.2) * folds / max(float(folds.max()), 1e-6)) * np.sqrt(1.0 - r**4)
    height[-1] = height[-1].mean()
    half_w, half_d, top = rng.uniform(0.04, 0.11), rng.uniform(0.04, 0.09), rng.uniform(0.012, 0.05)
    upper = np.concatenate([xy, height[..., None]], axis=-1)
    ground = np.concatenate([0 * xy[:1], np.zeros((1, spokes, 1))], axis=-1)
    rim = np.concatenate([xy[:1], np.zeros((1, spokes, 1))], axis=-1)
    vertices = np.concatenate([ground, rim, upper]).reshape(-1, 3) * [half_w, half_d, top]
    mesh = _mesh(vertices, _grid_faces(rings + 2, spokes))
    core = mesh.vertices[np.hypot(vertices[:, 0] / half_w, vertices[:, 1] / half_d) < 1.05]
    return ObjectShape("cloth", mesh, (CollisionGeom("mesh", vertices_m=np.asarray(core)),))


@family
def mouse(rng: np.random.Generator) -> ObjectShape:
    """Computer mouse or another flat-bottomed rounded gadget."""
    half = np.array([rng.uniform(0.035, 0.065), rng.uniform(0.02, 0.036), rng.uniform(0.012, 0.024)])
    mesh = superquadric_mesh((1.0, 1.0, 1.0), (rng.uniform(0.6, 0.9), rng.uniform(0.5, 0.9)))
    unit = np.array(mesh.vertices)
    unit[:, 2] = np.maximum(unit[:, 2], -0.25) * (1.0 - 0.35 * np.clip(unit[:, 0], -1, 1))
    mesh.vertices = unit * half
    return ObjectShape("mouse", mesh, (_hull(mesh),))


@family
def usb_stick(rng: np.random.Generator) -> ObjectShape:
    """Small gadget with a plug: memory stick, key fob, adapter, lighter."""
    half = np.array([rng.uniform(0.014, 0.035), rng.uniform(0.007, 0.016), rng.uniform(0.0035, 0.01)])
    plug = np.array([rng.uniform(0.006, 0.014), half[1] * rng.uniform(0.5, 0.9), half[2] * rng.uniform(0.4, 0.9)])
    centre = np.array([half[0] + plug[0] * 0.9, 0.0, 0.0])
    mesh = join([box_mesh(half), box_mesh(plug, centre)])
    return ObjectShape("usb_stick", mesh, (box_geom(half), box_geom(plug, centre)))


@family
def rod(rng: np.random.Generator) -> ObjectShape:
    """Thin straight stick: chopstick, straw, pencil, dowel, hex key's length."""
    r = rng.uniform(0.002, 0.0055)
    return _stick("rod", rng.uniform(0.09, 0.28), [r * rng.uniform(0.7, 1.0), r], int(rng.choice([4, 6, 8])))


@family
def marker(rng: np.random.Generator) -> ObjectShape:
    """Thick felt-tip pen, glue stick or lipstick with a cap of another width."""
    r = rng.uniform(0.006, 0.014)
    cap = r * rng.uniform(1.02, 1.2)
    radii = [r * 0.9, r, r, r, r, r, r, cap, cap, cap, cap, cap * 0.7]
    return _stick("marker", rng.uniform(0.07, 0.16), radii, 12)


def _cutlery(name: str, rng: np.random.Generator, tines: int) -> ObjectShape:
    """Flat handle along x and a head at +x: ``tines`` prongs, or a blade when 0."""
    length, thick = rng.uniform(0.13, 0.24), rng.uniform(0.003, 0.006)
    half_w, head = length * rng.uniform(0.025, 0.05), length * rng.uniform(0.3, 0.5)
    split = length / 2 - head
    parts = [(np.array([(length - head) / 2, half_w, thick / 2]), np.array([-head / 2, 0.0, 0.0]))]
    meshes: list[trimesh.Trimesh] = []
    outline: list[CollisionGeom] = []
    if tines == 0:
        blade = prism_mesh(
            [[split, -half_w], [length / 2 - 0.3 * head, -half_w], [length / 2, 0.3 * half_w], [split, half_w]],
            0.6 * thick,
        )
        blade.apply_translation([0.0, 0.0, -0.3 * thick])
        meshes.append(blade)
        outline.append(_hull(blade))
    else:
        palm = np.array([0.22 * head, 1.3 * half_w, thick / 2])
        parts.append((palm, np.array([split + palm[0], 0.0, 0.0])))
        reach = (head - 2 * palm[0]) / 2
        for y in np.linspace(-1.0, 1.0, tines) * (1.3 * half_w - 0.0012):
            parts.append((np.array([reach, 0.0012, thick / 2]), np.array([length / 2 - reach, y, 0.0])))
        reach_half = (reach, 1.3 * half_w, thick / 2)
        outline.append(box_geom(reach_half, (length / 2 - reach, 0.0, 0.0)))
    meshes += [box_mesh(half, centre) for half, centre in parts]
    geoms = [box_geom(half, centre) for half, centre in parts[:2]]
    return ObjectShape(name, join(meshes), (*geoms, *outline))


@family
def fork(rng: np.random.Generator) -> ObjectShape:
    """Fork of three or four tines."""
    return _cutlery("fork", rng, int(rng.integers(3, 5)))


@family
def knife(rng: np.random.Generator) -> ObjectShape:
    """Table knife, spatula or letter opener."""
    return _cutlery("knife", rng, 0)


@family
def tray(rng: np.random.Generator) -> ObjectShape:
    """Small open tray, food container or drawer organiser."""
    half = np.array([rng.uniform(0.05, 0.15), rng.uniform(0.04, 0.1), rng.uniform(0.008, 0.035)])
    wall = rng.uniform(0.0015, 0.003)
    parts = [(np.array([half[0], half[1], wall]), np.array([0.0, 0.0, wall]))]
    for axis in (0, 1):
        for sign in (-1, 1):
            size, centre = half.copy(), np.array([0.0, 0.0, half[2]])
            size[axis], centre[axis] = wall, sign * (half[axis] - wall)
            parts.append((size, centre))
    mesh = join([box_mesh(size, centre) for size, centre in parts])
    return ObjectShape("tray", mesh, tuple(box_geom(size, centre) for size, centre in parts))


@family
def spray_bottle(rng: np.random.Generator) -> ObjectShape:
    """Bottle with a trigger head that points to +x."""
    r, h = rng.uniform(0.026, 0.042), rng.uniform(0.1, 0.18)
    neck = r * rng.uniform(0.3, 0.45)
    profile = _smooth_profile([(r * 0.95, 0), (r, 0.1 * h), (r, 0.65 * h), (neck, 0.9 * h), (neck, h)], 16)
    body = lathe_mesh(profile)
    squash = rng.uniform(0.6, 1.0)
    body.vertices *= [1.0, squash, 1.0]
    head = np.array([rng.uniform(0.025, 0.045), 0.011, rng.uniform(0.009, 0.015)])
    centre = np.array([0.35 * head[0], 0.0, h + head[2] + 0.008])
    collar = np.array([neck * 1.1, neck * 1.1, 0.006])
    trigger = np.array([0.003, 0.006, rng.uniform(0.016, 0.028)])
    below = np.array([centre[0] + 0.5 * head[0], 0.0, centre[2] - head[2] - 0.6 * trigger[2]])
    lever = _turned(box_mesh(trigger), -0.35, (0, 1, 0), below)
    meshes = [body, box_mesh(head, centre), box_mesh(collar, (0.0, 0.0, h + 0.004)), lever]
    lever_geom = CollisionGeom("box", _floats(trigger), _point(below), _axis_quaternion(-0.35, (0, 1, 0)))
    return ObjectShape("spray_bottle", join(meshes), (_hull(body), box_geom(head, centre), lever_geom))


@family
def tube(rng: np.random.Generator) -> ObjectShape:
    """Tube of toothpaste or cream: round at its cap (-x), pinched to a flat seam at +x."""
    length, r = rng.uniform(0.09, 0.19), rng.uniform(0.012, 0.024)
    t = np.linspace(0.0, 1.0, 10)
    angle = np.linspace(0.0, 2 * np.pi, 16, endpoint=False)
    thick = r * np.interp(t, [0, 0.3, 1], [1.0, rng.uniform(0.75, 1.0), 0.08])
    wide = r * np.interp(t, [0, 1], [1.0, 1.45])
    x = np.broadcast_to((t[:, None] - 0.5) * length, (10, 16))
    body = _loft(np.stack([x, wide[:, None] * np.cos(angle), thick[:, None] * np.sin(angle)], axis=-1))
    cap_r, cap_h = r * rng.uniform(0.5, 0.95), rng.uniform(0.006, 0.014)
    cap = _turned(
        lathe_mesh([[0, -cap_h], [cap_r, -cap_h], [cap_r, cap_h], [0, cap_h]], 16),
        np.pi / 2,
        (0, 1, 0),
        (-length / 2 - cap_h, 0, 0),
    )
    return ObjectShape("tube", join([body, cap]), (_hull(body), _hull(cap)))
