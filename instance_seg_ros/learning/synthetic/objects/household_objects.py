"""Object families of more detail: cables, shoes, cutlery, stemmed glasses, pouches, cloths, boxes with lids."""

from __future__ import annotations

import numpy as np
import trimesh

from instance_seg_ros.learning.synthetic.objects.basic_objects import stick
from instance_seg_ros.learning.synthetic.objects.families import family
from instance_seg_ros.learning.synthetic.objects.shapes import (
    CollisionGeom,
    ObjectShape,
    axis_quaternion,
    box_geom,
    box_mesh,
    disc_geoms,
    floats,
    grid_faces,
    hull_geom,
    join,
    lathe_mesh,
    loft_mesh,
    make_mesh,
    point,
    prism_mesh,
    ring_geoms,
    smooth_noise,
    smooth_profile,
    superquadric_mesh,
    tube_capsules,
    tube_mesh,
    turned,
)


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
    around = ring_geoms(reach.max() + thick, reach.max() + thick, wall, 0.0, height + 2 * thick)
    return ObjectShape("cable", mesh, (*around, *tube_capsules(tail, np.full(len(tail), thick), 1)))


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
    mesh = loft_mesh(sections)
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
        both = turned(join([part, hollow]), sign * opening, (0, 0, 1), (0.0, 0.0, level))
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
    geoms += ring_geoms(width[1], width[4], 0.004, outer[0, 1], outer[4, 1])
    geoms += ring_geoms(width[4], width[-1], 0.004, outer[4, 1], height)
    return ObjectShape("wine_glass", lathe_mesh(profile), tuple(geoms))


@family
def teapot(rng: np.random.Generator) -> ObjectShape:
    """Pot with a lid, a knob, a spout on +x and a handle on -x."""
    r, h = rng.uniform(0.045, 0.075), rng.uniform(0.07, 0.13)
    levels = [(0.7 * r, 0), (0.95 * r, 0.25 * h), (r, 0.5 * h), (0.8 * r, 0.8 * h), (0.45 * r, 0.95 * h), (0.15 * r, h)]
    profile = smooth_profile(levels, 16)
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
    geoms = (*disc_geoms(profile, 5), *tube_capsules(spout, spout_r, 2), *tube_capsules(handle, handle_r, 4))
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
    geoms = ring_geoms(outer, outer, outer - core + wall, lip, top)
    return ObjectShape("tape_roll", lathe_mesh(profile), (*geoms, *ring_geoms(core, core, wall + 0.002, 0.0, width)))


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
        meshes.append(turned(box_mesh(size), turn, about, centre))
        geoms.append(CollisionGeom("box", floats(size), point(centre), axis_quaternion(turn, about)))
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
    return ObjectShape("pouch", mesh, (hull_geom(mesh),))


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
    mesh = make_mesh(vertices, grid_faces(rings + 2, spokes))
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
    return ObjectShape("mouse", mesh, (hull_geom(mesh),))


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
    return stick("rod", rng.uniform(0.09, 0.28), [r * rng.uniform(0.7, 1.0), r], int(rng.choice([4, 6, 8])))


@family
def marker(rng: np.random.Generator) -> ObjectShape:
    """Thick felt-tip pen, glue stick or lipstick with a cap of another width."""
    r = rng.uniform(0.006, 0.014)
    cap = r * rng.uniform(1.02, 1.2)
    radii = [r * 0.9, r, r, r, r, r, r, cap, cap, cap, cap, cap * 0.7]
    return stick("marker", rng.uniform(0.07, 0.16), radii, 12)


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
        outline.append(hull_geom(blade))
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
    profile = smooth_profile([(r * 0.95, 0), (r, 0.1 * h), (r, 0.65 * h), (neck, 0.9 * h), (neck, h)], 16)
    body = lathe_mesh(profile)
    squash = rng.uniform(0.6, 1.0)
    body.vertices *= [1.0, squash, 1.0]
    head = np.array([rng.uniform(0.025, 0.045), 0.011, rng.uniform(0.009, 0.015)])
    centre = np.array([0.35 * head[0], 0.0, h + head[2] + 0.008])
    collar = np.array([neck * 1.1, neck * 1.1, 0.006])
    trigger = np.array([0.003, 0.006, rng.uniform(0.016, 0.028)])
    below = np.array([centre[0] + 0.5 * head[0], 0.0, centre[2] - head[2] - 0.6 * trigger[2]])
    lever = turned(box_mesh(trigger), -0.35, (0, 1, 0), below)
    meshes = [body, box_mesh(head, centre), box_mesh(collar, (0.0, 0.0, h + 0.004)), lever]
    lever_geom = CollisionGeom("box", floats(trigger), point(below), axis_quaternion(-0.35, (0, 1, 0)))
    return ObjectShape("spray_bottle", join(meshes), (hull_geom(body), box_geom(head, centre), lever_geom))


@family
def tube(rng: np.random.Generator) -> ObjectShape:
    """Tube of toothpaste or cream: round at its cap (-x), pinched to a flat seam at +x."""
    length, r = rng.uniform(0.09, 0.19), rng.uniform(0.012, 0.024)
    t = np.linspace(0.0, 1.0, 10)
    angle = np.linspace(0.0, 2 * np.pi, 16, endpoint=False)
    thick = r * np.interp(t, [0, 0.3, 1], [1.0, rng.uniform(0.75, 1.0), 0.08])
    wide = r * np.interp(t, [0, 1], [1.0, 1.45])
    x = np.broadcast_to((t[:, None] - 0.5) * length, (10, 16))
    body = loft_mesh(np.stack([x, wide[:, None] * np.cos(angle), thick[:, None] * np.sin(angle)], axis=-1))
    cap_r, cap_h = r * rng.uniform(0.5, 0.95), rng.uniform(0.006, 0.014)
    cap = turned(
        lathe_mesh([[0, -cap_h], [cap_r, -cap_h], [cap_r, cap_h], [0, cap_h]], 16),
        np.pi / 2,
        (0, 1, 0),
        (-length / 2 - cap_h, 0, 0),
    )
    return ObjectShape("tube", join([body, cap]), (hull_geom(body), hull_geom(cap)))
