"""Object families: solids, boxes, vessels, tools, fruit and lumps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import trimesh

from instance_seg_ros.learning.synthetic.objects.families import family
from instance_seg_ros.learning.synthetic.objects.shapes import (
    CollisionGeom,
    FloatArray,
    ObjectShape,
    Vector,
    box_geom,
    box_mesh,
    disc_geoms,
    floats,
    hull_geom,
    join,
    lathe_mesh,
    point,
    prism_mesh,
    ring_geoms,
    smooth_noise,
    smooth_profile,
    superquadric_mesh,
    tube_capsules,
    tube_mesh,
    z_to,
)


def _cuboid(name: str, size_m: Vector) -> ObjectShape:
    half = np.asarray(size_m, float) / 2
    return ObjectShape(name, box_mesh(half), (box_geom(half),))


def _solid_lathe(name: str, profile: FloatArray, pieces: int) -> ObjectShape:
    return ObjectShape(name, lathe_mesh(profile), disc_geoms(profile, pieces))


@family
def box(rng: np.random.Generator) -> ObjectShape:
    """Any cuboid."""
    return _cuboid("box", rng.uniform(0.03, 0.16, 3))


@family
def carton(rng: np.random.Generator) -> ObjectShape:
    """Standing package, such as for cereals or crackers."""
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
    mesh = lathe_mesh(np.array([[0, 0], [r, 0], [r, h], [0, h]]))
    return ObjectShape("cylinder", mesh, (CollisionGeom("cylinder", (r, h / 2), (0, 0, h / 2)),))


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
    geom = CollisionGeom("ellipsoid", floats(half))
    return ObjectShape("ellipsoid", superquadric_mesh(half, (1.0, 1.0)), (geom,), rolls=True)


@family
def capsule(rng: np.random.Generator) -> ObjectShape:
    """Cylinder with round ends, lying along x."""
    r, half = rng.uniform(0.01, 0.04), rng.uniform(0.02, 0.09)
    angle = np.linspace(0.0, np.pi / 2, 6)
    top = np.column_stack([r * np.cos(angle), half + r * np.sin(angle)])
    mesh = lathe_mesh(np.vstack([top[::-1] * [1, -1], top]))
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
    geom = CollisionGeom("capsule", (r, half), quaternion_wxyz=z_to(np.array([1.0, 0.0, 0.0])))
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
    geoms += ring_geoms(outer_r[0], outer_r[split], thick, 0.0, height * t[split]) if curve > 1.0 else []
    low, low_z = (outer_r[split], height * t[split]) if curve > 1.0 else (outer_r[0], 0.0)
    geoms += ring_geoms(low, outer_r[-1], thick, low_z, height)
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
    profile = smooth_profile(levels, 22)
    squash = rng.uniform(0.5, 0.85) if rng.random() < 0.4 else 1.0
    mesh = lathe_mesh(profile)
    mesh.vertices *= [1.0, squash, 1.0]
    if squash == 1.0:
        return ObjectShape("bottle", mesh, disc_geoms(profile, 5))
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
    profile = smooth_profile(list(zip(radii, np.linspace(0, h, count), strict=True)), 20)
    return _solid_lathe("lathe", profile, 6)


@family
def prism(rng: np.random.Generator) -> ObjectShape:
    """Prism over a random convex polygon: wedges, hexagons, cheese."""
    count = int(rng.integers(3, 8))
    angle = np.sort((np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count)
    polygon = np.column_stack([np.cos(angle), np.sin(angle)]) * rng.uniform(0.02, 0.08, 2)
    mesh = prism_mesh(polygon, rng.uniform(0.012, 0.16))
    return ObjectShape("prism", mesh, (hull_geom(mesh),))


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


def stick(name: str, length: float, radii: Sequence[float], sides: int) -> ObjectShape:
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
    return stick("pen", rng.uniform(0.1, 0.18), radii, int(rng.choice([6, 12])))


@family
def screwdriver(rng: np.random.Generator) -> ObjectShape:
    """Thick grip and thin shaft."""
    grip, shaft = rng.uniform(0.01, 0.018), rng.uniform(0.003, 0.006)
    radii = [grip * 0.8, grip, grip * 0.85, grip, shaft, shaft, shaft, shaft, shaft]
    return stick("screwdriver", rng.uniform(0.12, 0.27), radii, 10)


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
    geom = CollisionGeom("ellipsoid", floats(end), (length / 2, 0.0, 0.0))
    return ObjectShape("spoon", join([tube_mesh(path, r, 8), head]), (*tube_capsules(path, np.full(7, r), 1), geom))


@family
def superquadric(rng: np.random.Generator) -> ObjectShape:
    """Rounded box, pillow, soap, lozenge."""
    half = rng.uniform(0.015, 0.08, 3)
    mesh = superquadric_mesh(half, (rng.uniform(0.15, 1.2), rng.uniform(0.15, 1.2)))
    return ObjectShape("superquadric", mesh, (hull_geom(mesh),))


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
    return ObjectShape("fruit", mesh, (hull_geom(mesh),), rolls=True)


@family
def lump(rng: np.random.Generator) -> ObjectShape:
    """Soft thing in a heap: a bag, a pair of socks, a cloth, a plush toy."""
    half = np.array([rng.uniform(0.03, 0.1), rng.uniform(0.03, 0.08), rng.uniform(0.012, 0.05)])
    mesh = superquadric_mesh((1.0, 1.0, 1.0), (rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0)))
    wave = smooth_noise(np.asarray(mesh.vertices), rng, (2.0, 4.0, 7.0))
    mesh.vertices *= (1.0 + rng.uniform(0.1, 0.4) * wave)[:, None] * half
    return ObjectShape("lump", mesh, (hull_geom(mesh),))


@family
def ring(rng: np.random.Generator) -> ObjectShape:
    """Roll of tape, nut, bracelet: a hollow cylinder."""
    outer, height = rng.uniform(0.025, 0.07), rng.uniform(0.008, 0.06)
    wall = outer * rng.uniform(0.12, 0.5)
    inner = outer - wall
    profile = np.array([[inner, 0], [outer, 0], [outer, height], [inner, height], [inner, 0]])
    return ObjectShape("ring", lathe_mesh(profile), tuple(ring_geoms(outer, outer, wall, 0.0, height)))


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
            geoms.append(CollisionGeom("cylinder", (r, h), point(centre)))
        step = np.zeros(3)
        step[int(rng.integers(3))] = rng.choice([-1.0, 1.0])
        centre = centre + step * half * rng.uniform(0.6, 1.3)
    return ObjectShape("composition", join(meshes), tuple(geoms))
