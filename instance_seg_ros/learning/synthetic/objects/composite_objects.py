"""Object families of several bodies: toys, tools, gadgets and packages with parts that may differ in colour.

The bodies of a shape overlap a little where they meet, so that no gap shows; all of them are one object.
"""

from __future__ import annotations

import numpy as np
import trimesh

from instance_seg_ros.learning.synthetic.objects.families import family
from instance_seg_ros.learning.synthetic.objects.shapes import (
    CollisionGeom,
    FloatArray,
    ObjectShape,
    Vector,
    axis_quaternion,
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
    smooth_profile,
    superquadric_mesh,
    tube_capsules,
    tube_mesh,
    turned,
)

_ACROSS = (1.0, 0.0, 0.0)  # turned a quarter about this, what stands along z lies along y
_SIDEWAYS = (0.0, 1.0, 0.0)


class _Builder:
    """Collects the bodies of a shape, each with what it collides as."""

    def __init__(self) -> None:
        self.meshes: list[trimesh.Trimesh] = []
        self.geoms: list[CollisionGeom] = []

    def box(self, half_m: Vector, centre_m: Vector, turn_rad: float = 0.0, axis: Vector = _SIDEWAYS) -> None:
        """A cuboid, turned about an axis through its centre."""
        self.meshes.append(turned(box_mesh(half_m), turn_rad, axis, centre_m))
        self.geoms.append(CollisionGeom("box", floats(half_m), point(centre_m), axis_quaternion(turn_rad, axis)))

    def disc(
        self, radius_m: float, half_m: float, centre_m: Vector, turn_rad: float = 0.0, axis: Vector = _ACROSS
    ) -> None:
        """A cylinder along z, turned about an axis through its centre."""
        r, h = radius_m, half_m
        self.meshes.append(turned(lathe_mesh([[0, -h], [r, -h], [r, h], [0, h]], 20), turn_rad, axis, centre_m))
        self.geoms.append(CollisionGeom("cylinder", (r, h), point(centre_m), axis_quaternion(turn_rad, axis)))

    def ball(self, half_m: Vector, centre_m: Vector) -> None:
        """An ellipsoid."""
        mesh = superquadric_mesh(half_m, (1.0, 1.0))
        mesh.apply_translation(centre_m)
        self.meshes.append(mesh)
        self.geoms.append(CollisionGeom("ellipsoid", floats(half_m), point(centre_m)))

    def tube(self, path_m: FloatArray, radius_m: float, pieces: int) -> None:
        """A round bar along a path."""
        self.meshes.append(tube_mesh(path_m, radius_m, 8))
        self.geoms += tube_capsules(path_m, np.full(len(path_m), radius_m), pieces)

    def body(self, mesh: trimesh.Trimesh, geoms: tuple[CollisionGeom, ...] | None = None) -> None:
        """Any mesh, which collides as its convex hull unless told otherwise."""
        self.meshes.append(mesh)
        self.geoms += (hull_geom(mesh),) if geoms is None else geoms

    def shape(self, name: str) -> ObjectShape:
        """All of it."""
        return ObjectShape(name, join(self.meshes), tuple(self.geoms))


@family
def large_box(rng: np.random.Generator) -> ObjectShape:
    """Parcel, shoe box or kitchen appliance in its package."""
    half = np.array([rng.uniform(0.085, 0.16), rng.uniform(0.05, 0.13), rng.uniform(0.04, 0.12)])
    return ObjectShape("large_box", box_mesh(half), (box_geom(half),))


@family
def game_box(rng: np.random.Generator) -> ObjectShape:
    """Large flat box with a lid that overlaps its lower part: a board game, a puzzle, chocolates."""
    half = np.array([rng.uniform(0.08, 0.155), rng.uniform(0.06, 0.13), rng.uniform(0.015, 0.04)])
    rise = half[2] * rng.uniform(0.1, 0.6)
    lid = np.array([half[0] + 0.0015, half[1] + 0.0015, half[2] - rise / 2])
    parts = _Builder()
    parts.box(half, (0.0, 0.0, 0.0))
    parts.box(lid, (0.0, 0.0, rise / 2 + 0.001))
    return parts.shape("game_box")


@family
def jar(rng: np.random.Generator) -> ObjectShape:
    """Jar, tub or canister with a lid of another width."""
    r, h = rng.uniform(0.025, 0.06), rng.uniform(0.05, 0.16)
    neck = r * rng.uniform(0.75, 1.0)
    profile = smooth_profile([(0.9 * r, 0), (r, 0.08 * h), (r, 0.85 * h), (neck, h)], 14)
    parts = _Builder()
    parts.body(lathe_mesh(profile), disc_geoms(profile, 3))
    half = rng.uniform(0.005, 0.016)
    parts.disc(neck * rng.uniform(1.02, 1.12), half, (0.0, 0.0, h + 0.6 * half))
    return parts.shape("jar")


@family
def toy_car(rng: np.random.Generator) -> ObjectShape:
    """Car, lorry or locomotive on four wheels."""
    half = np.array([rng.uniform(0.035, 0.11), 0.0, rng.uniform(0.009, 0.022)])
    half[1] = half[0] * rng.uniform(0.35, 0.5)
    wheel, thick = half[2] * rng.uniform(0.8, 1.2), half[1] * rng.uniform(0.12, 0.25)
    floor = wheel * rng.uniform(1.0, 1.4)
    parts = _Builder()
    parts.box(half, (0.0, 0.0, floor + half[2]))
    cabin = half * [rng.uniform(0.25, 0.6), 0.9, rng.uniform(0.7, 1.4)]
    at = rng.uniform(-1.0, 1.0) * (half[0] - cabin[0])
    parts.box(cabin, (at, 0.0, floor + 2 * half[2] + cabin[2] - 0.001))
    if rng.random() < 0.4:
        load = half * [rng.uniform(0.2, 0.4), 0.8, rng.uniform(0.3, 1.2)]
        parts.box(load, (-np.sign(at) * (half[0] - load[0]), 0.0, floor + 2 * half[2] + load[2] - 0.001))
    for x in (-0.62, 0.62):
        for side in (-1, 1):
            parts.disc(wheel, thick, (x * half[0], side * (half[1] + 0.3 * thick), wheel), np.pi / 2)
    return parts.shape("toy_car")


@family
def toy_figure(rng: np.random.Generator) -> ObjectShape:
    """Doll, robot or building-block figure: trunk, head, arms and legs."""
    h = rng.uniform(0.07, 0.22)
    trunk = np.array([rng.uniform(0.13, 0.2), rng.uniform(0.07, 0.13), rng.uniform(0.14, 0.2)]) * h
    leg = np.array([trunk[0] * 0.42, trunk[1] * 0.85, h * 0.17])
    parts = _Builder()
    for side in (-1, 1):
        parts.box(leg, (side * trunk[0] * 0.52, 0.0, leg[2]))
    hip = 2 * leg[2]
    parts.box(trunk, (0.0, 0.0, hip + trunk[2] - 0.001))
    top = hip + 2 * trunk[2]
    head = h * rng.uniform(0.1, 0.16)
    if rng.random() < 0.6:
        parts.ball((head, head, head), (0.0, 0.0, top + 0.85 * head))
    else:
        parts.box((head, head * 0.85, head * 0.9), (0.0, 0.0, top + 0.88 * head))
    arm = np.array([0.045 * h, 0.05 * h, 0.16 * h])
    for side in (-1, 1):
        swing = side * rng.uniform(0.05, 0.7)
        reach = side * (trunk[0] + 0.8 * arm[0] + np.sin(abs(swing)) * arm[2])
        parts.box(arm, (reach, 0.0, top - 0.03 * h - np.cos(swing) * arm[2]), -swing)
    return parts.shape("toy_figure")


@family
def toy_animal(rng: np.random.Generator) -> ObjectShape:
    """Animal on four legs with a head, a snout and a tail."""
    length = rng.uniform(0.035, 0.085)
    half = length * np.array([1.0, rng.uniform(0.35, 0.55), rng.uniform(0.35, 0.55)])
    tall, r = length * rng.uniform(0.4, 0.9), length * rng.uniform(0.1, 0.17)
    parts = _Builder()
    middle = tall + 0.6 * half[2]
    parts.ball(half, (0.0, 0.0, middle))
    for x in (-0.6, 0.6):
        for side in (-1, 1):
            parts.disc(r, (tall + 0.2 * half[2]) / 2, (x * half[0], side * 0.55 * half[1], (tall + 0.2 * half[2]) / 2))
    head = length * rng.uniform(0.3, 0.45)
    at = np.array([half[0] + 0.3 * head, 0.0, middle + half[2] * rng.uniform(0.2, 1.3)])
    parts.tube(np.linspace([0.6 * half[0], 0.0, middle], at, 3), 0.45 * head, 1)
    parts.ball((head, 0.8 * head, 0.8 * head), at)
    parts.ball((0.5 * head, 0.4 * head, 0.4 * head), at + np.array([0.9, 0.0, -0.2]) * head)
    tail = np.array([[-0.9 * half[0], 0.0, middle], [-1.25 * half[0], 0.0, middle + rng.uniform(-0.3, 0.6) * length]])
    parts.tube(np.linspace(tail[0], tail[1], 3), 0.5 * r, 1)
    return parts.shape("toy_animal")


@family
def ring_tower(rng: np.random.Generator) -> ObjectShape:
    """Toy of discs of decreasing width on a base, each of a colour of its own; also a stack of beakers or a top."""
    r, count = rng.uniform(0.025, 0.055), int(rng.integers(3, 7))
    parts, z = _Builder(), 0.0
    for _ in range(count):
        half = rng.uniform(0.005, 0.013)
        parts.disc(r, half, (0.0, 0.0, z + half))
        r *= rng.uniform(0.7, 0.98)
        z += 2 * half - 0.0005
    if rng.random() < 0.6:
        parts.ball((0.6 * r, 0.6 * r, 0.6 * r), (0.0, 0.0, z + 0.4 * r))
    return parts.shape("ring_tower")


@family
def power_drill(rng: np.random.Generator) -> ObjectShape:
    """Drill, hot-glue gun or hair dryer: a barrel along x, a slanted grip below it, a battery or foot."""
    r, half = rng.uniform(0.018, 0.032), rng.uniform(0.05, 0.085)
    grip = np.array([rng.uniform(0.012, 0.02), rng.uniform(0.011, 0.017), rng.uniform(0.035, 0.06)])
    foot = np.array([rng.uniform(0.02, 0.042), rng.uniform(0.016, 0.032), rng.uniform(0.009, 0.02)])
    slant = rng.uniform(0.0, 0.3)
    parts = _Builder()
    parts.disc(r, half, (0.0, 0.0, 0.0), np.pi / 2, _SIDEWAYS)
    parts.disc(r * rng.uniform(0.35, 0.7), 0.016, (half + 0.014, 0.0, 0.0), np.pi / 2, _SIDEWAYS)
    parts.disc(rng.uniform(0.002, 0.005), 0.02, (half + 0.045, 0.0, 0.0), np.pi / 2, _SIDEWAYS)
    top = np.array([-half * rng.uniform(0.2, 0.8), 0.0, -0.7 * r])
    down = np.array([-np.sin(slant), 0.0, -np.cos(slant)])
    parts.box(grip, top + down * grip[2], slant)
    parts.box(foot, top + down * (2 * grip[2] + 0.6 * foot[2]))
    return parts.shape("power_drill")


@family
def pan(rng: np.random.Generator) -> ObjectShape:
    """Frying pan or ladle's bowl with a straight handle towards +x."""
    r, height, wall = rng.uniform(0.045, 0.09), rng.uniform(0.02, 0.05), 0.003
    bottom = 0.85 * r
    profile = np.array([[0, 0], [bottom, 0], [r, height], [r - wall, height], [bottom - wall, wall], [0, wall]])
    disc = CollisionGeom("cylinder", (bottom, wall / 2), (0.0, 0.0, wall / 2))
    parts = _Builder()
    parts.body(lathe_mesh(profile), (disc, *ring_geoms(bottom, r, 0.004, 0.0, height)))
    long = rng.uniform(0.07, 0.14)
    grip = np.array([long / 2, rng.uniform(0.007, 0.012), rng.uniform(0.004, 0.009)])
    rise = rng.uniform(0.0, 0.25)
    parts.box(grip, (r - 0.004 + np.cos(rise) * grip[0], 0.0, 0.8 * height + np.sin(rise) * grip[0]), -rise)
    return parts.shape("pan")


@family
def cooking_pot(rng: np.random.Generator) -> ObjectShape:
    """Pot with a lid, a knob and two handles."""
    r, h = rng.uniform(0.045, 0.085), rng.uniform(0.04, 0.1)
    parts = _Builder()
    parts.disc(r, h / 2, (0.0, 0.0, h / 2))
    for side in (-1, 1):
        parts.box((0.014, r * 0.35, 0.005), (side * (r + 0.011), 0.0, 0.75 * h))
    if rng.random() < 0.75:
        dome = lathe_mesh(
            [[0, h - 0.001], [1.03 * r, h - 0.001], [1.03 * r, h + 0.003], [0.5 * r, h + 0.014], [0, h + 0.016]]
        )
        parts.body(dome)
        knob = rng.uniform(0.008, 0.014)
        parts.ball((knob, knob, knob), (0.0, 0.0, h + 0.014 + 0.7 * knob))
    return parts.shape("cooking_pot")


@family
def brush(rng: np.random.Generator) -> ObjectShape:
    """Dish, paint or hair brush: a handle along x, a head, bristles below or in front of it."""
    length = rng.uniform(0.07, 0.15)
    handle = np.array([length / 2, rng.uniform(0.005, 0.011), rng.uniform(0.004, 0.009)])
    head = np.array([rng.uniform(0.02, 0.05), rng.uniform(0.012, 0.032), handle[2] * 1.1])
    parts = _Builder()
    parts.box(handle, (0.0, 0.0, 0.0))
    parts.box(head, (handle[0] + 0.9 * head[0], 0.0, 0.0))
    if rng.random() < 0.6:
        bristle = np.array([0.9 * head[0], 0.9 * head[1], rng.uniform(0.006, 0.014)])
        parts.box(bristle, (handle[0] + 0.9 * head[0], 0.0, -head[2] - 0.9 * bristle[2]))
    else:
        bristle = np.array([rng.uniform(0.012, 0.028), 0.95 * head[1], 0.8 * head[2]])
        parts.box(bristle, (handle[0] + 1.9 * head[0] + 0.95 * bristle[0], 0.0, 0.0))
    return parts.shape("brush")


@family
def turner(rng: np.random.Generator) -> ObjectShape:
    """Spatula, trowel or scraper: a round handle along x and a flat blade."""
    length, r = rng.uniform(0.09, 0.16), rng.uniform(0.005, 0.011)
    wide, thick = rng.uniform(0.015, 0.042), rng.uniform(0.0015, 0.003)
    long = rng.uniform(0.05, 0.1)
    x = np.linspace(-length / 2, length / 2, 5)
    parts = _Builder()
    parts.tube(np.column_stack([x, 0 * x, 0 * x]), r, 1)
    neck = np.array([length / 2 + 0.012, 0.0, 0.0])
    parts.box((0.02, 0.004, thick), neck)
    blade = prism_mesh([[0, -0.6 * wide], [long, -wide], [long, wide], [0, 0.6 * wide]], 2 * thick)
    blade.apply_translation([length / 2 + 0.028, 0.0, -thick])
    parts.body(blade)
    return parts.shape("turner")


@family
def torch(rng: np.random.Generator) -> ObjectShape:
    """Flashlight, microphone, shaver or plunger: a barrel along x with a wider head."""
    r, half = rng.uniform(0.009, 0.019), rng.uniform(0.04, 0.08)
    wide, deep = r * rng.uniform(1.2, 1.9), rng.uniform(0.01, 0.022)
    parts = _Builder()
    parts.disc(r, half, (0.0, 0.0, 0.0), np.pi / 2, _SIDEWAYS)
    parts.disc(wide, deep, (half + 0.9 * deep, 0.0, 0.0), np.pi / 2, _SIDEWAYS)
    if rng.random() < 0.5:
        parts.disc(1.08 * r, 0.3 * half, (-0.2 * half, 0.0, 0.0), np.pi / 2, _SIDEWAYS)
    return parts.shape("torch")


@family
def remote(rng: np.random.Generator) -> ObjectShape:
    """Remote control, calculator, phone or game pad: a slab with raised keys and maybe a display."""
    half = np.array([rng.uniform(0.05, 0.1), rng.uniform(0.018, 0.045), rng.uniform(0.005, 0.012)])
    parts = _Builder()
    parts.box(half, (0.0, 0.0, 0.0))
    display = rng.random() < 0.5
    if display:
        parts.box((0.18 * half[0], 0.8 * half[1], 0.0008), (0.7 * half[0], 0.0, half[2]))
    rows, columns = int(rng.integers(3, 7)), int(rng.integers(2, 5))
    end = 0.4 if display else 0.85
    pitch = np.array([(end + 0.85) * half[0] / rows, 1.7 * half[1] / columns])
    key = (0.35 * pitch[0], 0.35 * pitch[1], 0.0012)
    keys = [
        box_mesh(key, (-0.85 * half[0] + (a + 0.5) * pitch[0], -0.85 * half[1] + (b + 0.5) * pitch[1], half[2]))
        for a in range(rows)
        for b in range(columns)
    ]
    parts.meshes += keys  # too low to collide
    return parts.shape("remote")


@family
def camera(rng: np.random.Generator) -> ObjectShape:
    """Photo camera, projector or clock: a box with one round part in front and knobs on top."""
    half = np.array([rng.uniform(0.035, 0.075), rng.uniform(0.014, 0.03), rng.uniform(0.022, 0.048)])
    r, deep = half[2] * rng.uniform(0.45, 0.85), rng.uniform(0.008, 0.03)
    parts = _Builder()
    parts.box(half, (0.0, 0.0, 0.0))
    at = rng.uniform(-0.3, 0.3) * half[0]
    parts.disc(r, deep, (at, -half[1] - 0.9 * deep, 0.0), np.pi / 2)
    for _ in range(int(rng.integers(0, 3))):
        knob = rng.uniform(0.004, 0.009)
        parts.disc(knob, 0.004, (rng.uniform(-0.75, 0.75) * half[0], 0.0, half[2] + 0.003))
    return parts.shape("camera")


@family
def padlock(rng: np.random.Generator) -> ObjectShape:
    """Padlock, kettle bell or bag tag: a block with a bow."""
    half = np.array([rng.uniform(0.014, 0.035), rng.uniform(0.007, 0.018), rng.uniform(0.013, 0.032)])
    angle = np.linspace(0.0, np.pi, 9)
    reach, rise = 0.7 * half[0], rng.uniform(0.5, 1.6) * half[0]
    path = np.column_stack([reach * np.cos(angle), 0 * angle, half[2] - 0.004 + (rise + 0.004) * np.sin(angle)])
    parts = _Builder()
    parts.box(half, (0.0, 0.0, 0.0))
    parts.tube(path, 0.35 * half[1], 4)
    return parts.shape("padlock")


@family
def pump_bottle(rng: np.random.Generator) -> ObjectShape:
    """Soap, lotion or ketchup bottle with a collar, a stem and a spout that points to +x."""
    r, h = rng.uniform(0.024, 0.04), rng.uniform(0.08, 0.16)
    neck = r * rng.uniform(0.3, 0.5)
    profile = smooth_profile([(0.94 * r, 0), (r, 0.06 * h), (r, 0.8 * h), (neck, 0.96 * h), (neck, h)], 16)
    body = lathe_mesh(profile)
    body.vertices *= [1.0, rng.uniform(0.6, 1.0), 1.0]
    parts = _Builder()
    parts.body(body)
    parts.disc(1.15 * neck, 0.008, (0.0, 0.0, h + 0.003))
    stem = rng.uniform(0.008, 0.02)
    parts.disc(0.4 * neck, stem, (0.0, 0.0, h + 0.008 + stem))
    spout = np.array([rng.uniform(0.015, 0.028), 0.006, 0.005])
    parts.box(spout, (0.6 * spout[0], 0.0, h + 0.01 + 2 * stem))
    return parts.shape("pump_bottle")


@family
def stapler(rng: np.random.Generator) -> ObjectShape:
    """Stapler, hole punch or peg: two long bodies that open like a mouth."""
    half = np.array([rng.uniform(0.04, 0.085), rng.uniform(0.009, 0.018), rng.uniform(0.003, 0.007)])
    upper = half * [0.95, 0.95, rng.uniform(1.0, 1.8)]
    opening = rng.uniform(0.02, 0.25)
    parts = _Builder()
    parts.box(half, (0.0, 0.0, half[2]))
    hinge = np.array([-half[0], 0.0, 2 * half[2]])
    along = np.array([np.cos(opening), 0.0, np.sin(opening)])
    up = np.array([-np.sin(opening), 0.0, np.cos(opening)])
    parts.box(upper, hinge + along * upper[0] + up * 0.9 * upper[2], -opening)
    parts.box((0.012, 0.8 * half[1], 0.006), (-half[0] + 0.012, 0.0, 2 * half[2] + 0.003))
    return parts.shape("stapler")


@family
def bolt(rng: np.random.Generator) -> ObjectShape:
    """Large screw, tap, syringe or mallet: a head, a shaft and maybe a nut."""
    r, length = rng.uniform(0.004, 0.011), rng.uniform(0.03, 0.12)
    head, thick = r * rng.uniform(1.6, 2.4), rng.uniform(0.004, 0.01)
    angle = np.linspace(0.0, 2 * np.pi, 6, endpoint=False)
    parts = _Builder()
    hexagon = prism_mesh(np.column_stack([np.cos(angle), np.sin(angle)]) * head, 2 * thick)
    parts.body(hexagon)
    parts.disc(r, length / 2, (0.0, 0.0, 2 * thick + length / 2 - 0.001))
    if rng.random() < 0.5:
        nut = prism_mesh(np.column_stack([np.cos(angle), np.sin(angle)]) * head * 0.95, 1.6 * thick)
        nut.apply_translation([0.0, 0.0, 2 * thick + rng.uniform(0.2, 0.8) * length])
        parts.body(nut)
    return parts.shape("bolt")


@family
def charger(rng: np.random.Generator) -> ObjectShape:
    """Plug or small speaker with a short loose cable that lies in a bow."""
    half = np.array([rng.uniform(0.016, 0.034), rng.uniform(0.014, 0.026), rng.uniform(0.01, 0.02)])
    r = rng.uniform(0.0016, 0.003)
    turn = rng.uniform(1.5, 5.0) * rng.choice([-1.0, 1.0])
    t = np.linspace(0.0, 1.0, 24)
    reach = rng.uniform(0.025, 0.05)
    heading = turn * t
    step = reach * abs(turn) / len(t)
    x = half[0] - 0.002 + np.cumsum(np.cos(heading)) * step * 0.8
    y = np.cumsum(np.sin(heading)) * step * 0.8
    path = np.column_stack([x, y, np.interp(t, [0, 0.15, 1], [0.0, -half[2] + r, -half[2] + r])])
    parts = _Builder()
    parts.box(half, (0.0, 0.0, 0.0))
    parts.tube(path, r, 8)
    return parts.shape("charger")
