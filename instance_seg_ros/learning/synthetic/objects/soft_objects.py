"""Object families of soft and grown things: bags, folded cloth, bread, vegetables, bunches."""

from __future__ import annotations

import numpy as np

from instance_seg_ros.learning.synthetic.objects.families import family
from instance_seg_ros.learning.synthetic.objects.shapes import (
    CollisionGeom,
    ObjectShape,
    floats,
    grid_faces,
    hull_geom,
    join,
    lathe_mesh,
    loft_mesh,
    make_mesh,
    point,
    ring_geoms,
    smooth_noise,
    superquadric_mesh,
    tube_capsules,
    tube_mesh,
)


@family
def folded_cloth(rng: np.random.Generator) -> ObjectShape:
    """Folded towel or shirt: layers with round edges, each slightly askew, over each other."""
    half = np.array([rng.uniform(0.05, 0.13), rng.uniform(0.04, 0.1)])
    count, thick = int(rng.integers(2, 6)), rng.uniform(0.003, 0.008)
    meshes = []
    for k in range(count):
        size = half * rng.uniform(0.93, 1.0, 2)
        mesh = superquadric_mesh((1.0, 1.0, 1.0), (0.5, 0.2))
        unit = np.array(mesh.vertices)
        sag = 0.35 * smooth_noise(unit, rng, (2.0, 3.0, 5.0)) if k == count - 1 else 0.0
        unit[:, 2] += sag * (unit[:, 2] > 0)
        mesh.vertices = unit * [size[0], size[1], 1.15 * thick]
        mesh.apply_translation([*rng.normal(0.0, 0.002, 2), (2 * k + 1) * thick])
        meshes.append(mesh)
    cloth = join(meshes)
    return ObjectShape("folded_cloth", cloth, (hull_geom(cloth),))


@family
def draped_cloth(rng: np.random.Generator) -> ObjectShape:
    """Towel, glove or wipe that lies spread out in soft waves and folds; a height field with a flat back."""
    rows, columns = 22, 22
    half_w, half_d, top = rng.uniform(0.06, 0.15), rng.uniform(0.05, 0.12), rng.uniform(0.012, 0.04)
    v, u = np.meshgrid(np.linspace(-1.0, 1.0, rows), np.linspace(-1.0, 1.0, columns), indexing="ij")
    flat = np.column_stack([u.ravel(), v.ravel(), 0 * u.ravel()])
    folds = np.abs(smooth_noise(flat, rng, (3.0, 6.0, 10.0)) + 0.3 * np.sin(flat @ rng.normal(0, 5.0, 3)))
    rim = np.clip(1.0 - np.maximum(np.abs(u), np.abs(v)) ** 6, 0.0, 1.0)
    height = 0.0025 + top * rim * folds.reshape(u.shape) / max(float(folds.max()), 1e-6)
    bend = 0.08 * np.sin(2.5 * v + rng.uniform(0, 6.28)) + 0.05 * np.sin(5.0 * v)
    x, y = half_w * (u + bend), half_d * (v + 0.06 * np.sin(3.0 * u + rng.uniform(0, 6.28)))
    upper = np.stack([x, y, height], axis=-1).reshape(-1, 3)
    lower = np.stack([x, y, 0 * height], axis=-1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (row * columns + column).ravel()
    sheet = np.concatenate([[a, a + 1, a + columns + 1], [a, a + columns + 1, a + columns]], axis=1).T
    edge = np.concatenate(
        [
            np.arange(columns - 1),
            np.arange(rows - 1) * columns + columns - 1,
            np.arange(rows * columns - 1, (rows - 1) * columns, -1),
            np.arange((rows - 1) * columns, 0, -columns),
        ]
    )
    following = np.roll(edge, -1)
    count = rows * columns
    side = np.concatenate([[edge + count, following + count, following], [edge + count, following, edge]], axis=1).T
    mesh = make_mesh(np.vstack([upper, lower]), np.vstack([sheet, sheet[:, ::-1] + count, side]))
    return ObjectShape("draped_cloth", mesh, (hull_geom(mesh),))


@family
def paper_bag(rng: np.random.Generator) -> ObjectShape:
    """Open or rolled-up paper bag, or a gift bag with handles: a creased box that narrows to its top."""
    half = np.array([rng.uniform(0.04, 0.09), rng.uniform(0.025, 0.055)])
    h = rng.uniform(0.09, 0.22)
    corner = np.array([[-1, -1], [0, -1.0], [1, -1], [1, 0], [1, 1], [0, 1.0], [-1, 1], [-1, 0]], float)
    levels = np.array([0.0, 0.33, 0.66, 1.0]) * h
    pinch = np.interp(levels / h, [0, 0.5, 1], [1.0, rng.uniform(0.9, 1.02), rng.uniform(0.25, 1.0)])
    rings = []
    for z, narrow in zip(levels, pinch, strict=True):
        ring = corner * half * [1.0, narrow]
        ring[[3, 7], 0] *= 1.0 - 0.5 * (1.0 - narrow)  # gussets fold inwards
        ring += rng.normal(0.0, 0.0015, ring.shape) * (z > 0)
        rings.append(np.column_stack([ring, np.full(8, z)]))
    outer = np.stack(rings)
    wall = outer[::-1].copy()
    middle = wall[..., :2].mean(axis=1, keepdims=True)
    wall[..., :2] = middle + (wall[..., :2] - middle) * 0.97
    wall[-1, :, 2] = 0.002
    bottom = np.zeros((1, 8, 3)), np.tile([[[0.0, 0.0, 0.002]]], (1, 8, 1))
    mesh = make_mesh(np.concatenate([bottom[0], outer, wall, bottom[1]]).reshape(-1, 3), grid_faces(10, 8))
    meshes, geoms = [mesh], [hull_geom(mesh)]
    if rng.random() < 0.5:
        angle = np.linspace(0.0, np.pi, 9)
        rise = rng.uniform(0.02, 0.05)
        for side in (-1, 1):
            y = side * half[1] * pinch[-1]
            path = np.column_stack([0.5 * half[0] * np.cos(angle), 0 * angle + y, h - 0.004 + rise * np.sin(angle)])
            meshes.append(tube_mesh(path, 0.0022, 6))
            geoms += tube_capsules(path, np.full(9, 0.0022), 4)
    return ObjectShape("paper_bag", join(meshes), tuple(geoms))


@family
def tied_bag(rng: np.random.Generator) -> ObjectShape:
    """Bag of fruit, sand or waste, gathered at its neck and open above it."""
    r, h = rng.uniform(0.035, 0.075), rng.uniform(0.06, 0.12)
    neck = r * rng.uniform(0.15, 0.3)
    z = np.array([0.0, 0.0, 0.12, 0.45, 0.75, 1.0, 1.08, 1.3]) * h
    radius = np.array([0.0, 0.7 * r, 0.95 * r, r, 0.7 * r, neck, neck, neck * rng.uniform(1.5, 3.0)])
    mesh = lathe_mesh(np.vstack([np.column_stack([radius, z]), [0.0, 1.22 * h]]))
    vertices = np.array(mesh.vertices)
    around = np.arctan2(vertices[:, 1], vertices[:, 0])
    pleats = 1.0 + rng.uniform(0.02, 0.1) * np.sin(int(rng.integers(7, 13)) * around) * np.clip(
        vertices[:, 2] / h, 0, 1
    )
    lumps = 1.0 + 0.25 * smooth_noise(vertices / r, rng, (3.0, 6.0)) * (vertices[:, 2] > 1e-6)
    vertices[:, :2] *= (pleats * lumps)[:, None] * [1.0, rng.uniform(0.75, 1.0)]
    mesh.vertices = vertices
    return ObjectShape("tied_bag", mesh, (hull_geom(mesh),))


@family
def bread(rng: np.random.Generator) -> ObjectShape:
    """Loaf, roll or cake: flat below, domed above, with cuts across."""
    half = np.array([rng.uniform(0.04, 0.13), rng.uniform(0.03, 0.055), rng.uniform(0.025, 0.05)])
    mesh = superquadric_mesh((1.0, 1.0, 1.0), (0.8, rng.uniform(0.5, 1.0)))
    unit = np.array(mesh.vertices)
    unit[:, 2] = np.maximum(unit[:, 2], -0.35)
    cuts = 1.0 - rng.uniform(0.0, 0.12) * np.clip(np.cos(unit[:, 0] * rng.uniform(6, 14) + unit[:, 1]), 0, 1)
    unit[:, 2] *= np.where(unit[:, 2] > 0, cuts, 1.0)
    mesh.vertices = unit * half
    return ObjectShape("bread", mesh, (hull_geom(mesh),))


@family
def vegetable(rng: np.random.Generator) -> ObjectShape:
    """Carrot, cucumber, leek, corn or aubergine: a tapering body along x, some with a green end."""
    length, thick = rng.uniform(0.08, 0.24), rng.uniform(0.011, 0.028)
    x = np.linspace(-length / 2, length / 2, 13)
    t = np.linspace(0.0, 1.0, 13)
    r = thick * np.interp(t, [0, 0.07, 0.3, 0.8, 0.96, 1], [0.3, 0.8, 1.0, rng.uniform(0.35, 1.05), 0.3, 0.1])
    bend = rng.normal(0.0, 0.25) * length
    path = np.column_stack([x, bend * (t - 0.5) ** 2, 0 * x])
    meshes, geoms = [tube_mesh(path, r, 12)], [*tube_capsules(path, r, 4)]
    if rng.random() < 0.5:
        leaf = np.linspace(path[0], path[0] - [rng.uniform(0.015, 0.07), rng.normal(0.0, 0.008), 0.0], 4)
        meshes.append(tube_mesh(leaf, [0.3 * thick, 0.5 * thick, 0.45 * thick, 0.1 * thick], 8))
        geoms += tube_capsules(leaf, np.full(4, 0.35 * thick), 1)
    return ObjectShape("vegetable", join(meshes), tuple(geoms))


@family
def bunch(rng: np.random.Generator) -> ObjectShape:
    """Bunch of grapes, garlic or flower heads: many small balls that touch, on a stem."""
    r, count = rng.uniform(0.007, 0.014), int(rng.integers(9, 19))
    centres = [np.zeros(3)]
    for _ in range(count - 1):
        near = centres[int(rng.integers(len(centres)))]
        way = rng.normal(size=3) * [1.3, 1.0, 0.6]
        centres.append(near + 1.6 * r * way / np.linalg.norm(way))
    ball = superquadric_mesh((r, r, r), (1.0, 1.0))
    meshes, geoms = [], []
    for centre in centres:
        mesh = ball.copy()
        mesh.apply_translation(centre)
        meshes.append(mesh)
        geoms.append(CollisionGeom("sphere", (r,), point(centre)))
    return ObjectShape("bunch", join(meshes), tuple(geoms))


@family
def mushroom(rng: np.random.Generator) -> ObjectShape:
    """Mushroom, broccoli or lollipop: a stem with a lumpy crown."""
    crown = np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.4, 0.8)]) * rng.uniform(0.02, 0.05)
    stem, long = crown[0] * rng.uniform(0.25, 0.5), crown[0] * rng.uniform(0.8, 1.6)
    mesh = superquadric_mesh((1.0, 1.0, 1.0), (1.0, 1.0))
    unit = np.array(mesh.vertices)
    unit *= 1.0 + rng.uniform(0.0, 0.3) * smooth_noise(unit, rng, (5.0, 9.0))[:, None]
    mesh.vertices = unit * crown + [0.0, 0.0, long]
    foot = lathe_mesh([[0, 0], [stem, 0], [0.85 * stem, long], [0, long]], 16)
    cylinder = CollisionGeom("cylinder", (float(stem), float(long) / 2), (0.0, 0.0, float(long) / 2))
    return ObjectShape("mushroom", join([mesh, foot]), (hull_geom(mesh), cylinder))


@family
def soft_toy(rng: np.random.Generator) -> ObjectShape:
    """Plush animal that lies or sits: lumpy trunk, head, ears, limbs."""
    scale = rng.uniform(0.03, 0.06)
    parts = [
        (np.array([1.0, 0.85, 0.8]), np.zeros(3)),
        (np.array([0.75, 0.75, 0.7]), np.array([1.45, 0.0, rng.uniform(0.0, 0.25)])),
    ]
    for side in (-1, 1):
        parts.append((np.array([0.22, 0.2, 0.3]), np.array([1.55, 0.5 * side, 0.65])))
        parts.append((np.array([0.55, 0.25, 0.25]), np.array([0.75, side * 0.95, -0.4 + rng.uniform(-0.1, 0.2)])))
        parts.append((np.array([0.65, 0.3, 0.3]), np.array([-0.95, side * 0.55, -0.45])))
    meshes, geoms = [], []
    for half, centre in parts:
        mesh = superquadric_mesh((1.0, 1.0, 1.0), (1.0, 1.0))
        unit = np.array(mesh.vertices)
        unit *= 1.0 + 0.2 * smooth_noise(unit, rng, (3.0, 5.0))[:, None]
        mesh.vertices = (unit * half + centre) * scale
        meshes.append(mesh)
        geoms.append(hull_geom(mesh))
    return ObjectShape("soft_toy", join(meshes), tuple(geoms))


@family
def basket(rng: np.random.Generator) -> ObjectShape:
    """Basket, bucket or watering can: an open vessel with a bow over it."""
    top, h = rng.uniform(0.04, 0.075), rng.uniform(0.04, 0.1)
    low, wall = top * rng.uniform(0.65, 0.95), 0.003
    profile = np.array([[0, 0], [low, 0], [top, h], [top - wall, h], [low - wall, wall], [0, wall]])
    angle = np.linspace(0.0, np.pi, 11)
    rise = rng.uniform(0.4, 1.2) * top
    r = rng.uniform(0.0025, 0.005)
    path = np.column_stack([(top - 0.001) * np.cos(angle), 0 * angle, h - 0.006 + rise * np.sin(angle)])
    disc = CollisionGeom("cylinder", floats((low, wall / 2)), (0.0, 0.0, wall / 2))
    geoms = (disc, *ring_geoms(low, top, 0.004, 0.0, h), *tube_capsules(path, np.full(11, r), 5))
    return ObjectShape("basket", join([lathe_mesh(profile), tube_mesh(path, r, 8)]), geoms)


@family
def soft_case(rng: np.random.Generator) -> ObjectShape:
    """Pencil case, purse or wallet: a soft flat body with a seam or a zip along it."""
    half = np.array([rng.uniform(0.05, 0.11), rng.uniform(0.025, 0.05), rng.uniform(0.008, 0.024)])
    count = 14
    t = np.linspace(-1.0, 1.0, count)
    angle = np.linspace(0.0, 2 * np.pi, 20, endpoint=False)
    puff = 1.0 - 0.75 * np.abs(t) ** rng.uniform(3.0, 7.0)
    y = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.7
    z = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.9
    sections = np.stack(
        [
            np.broadcast_to(t[:, None] * half[0], (count, 20)),
            np.broadcast_to(half[1] * y, (count, 20)),
            half[2] * puff[:, None] * z,
        ],
        axis=-1,
    ).copy()
    sections[..., 2] *= 1.0 + 0.3 * smooth_noise(sections.reshape(-1, 3) / half.max(), rng, (4.0, 8.0)).reshape(
        count, 20
    )
    body = loft_mesh(sections)
    seam = np.column_stack([0.9 * half[0] * t, 0 * t, half[2] * puff * 1.02])
    return ObjectShape("soft_case", join([body, tube_mesh(seam, 0.0016, 6)]), (hull_geom(body),))
