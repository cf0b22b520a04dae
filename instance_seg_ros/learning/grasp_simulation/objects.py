"""Objects to grasp, of generated families: every one has a place that an 80 mm gripper can close on.

A shape is a set of convex pieces, and what the camera sees is exactly what collides. The families here are there to
work with; those of `FORMER_UNSEEN_FAMILIES` were written for a last run that has been looked at since.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.learning.synthetic.objects.shapes import (
    CollisionGeom,
    FloatArray,
    ObjectShape,
    Vector,
    box_geom,
    box_mesh,
    join,
    make_mesh,
)

_ROUND_SIDES = 40
_WALL_PIECES = 20
_FOOT_M = 0.001
"""Walls begin so far above the table: the bottom alone stands on it, which is fewer contacts to compute."""


@dataclass(frozen=True)
class Piece:
    """A convex part of an object: what is seen of it and what collides."""

    mesh: trimesh.Trimesh
    geom: CollisionGeom


Family = Callable[[np.random.Generator], list[Piece]]


def sample_graspable(rng: np.random.Generator, families: dict[str, Family]) -> ObjectShape:
    """An object of a family that is drawn uniformly; it stands on z = 0, its origin is inside its outline."""
    name = list(families)[int(rng.integers(len(families)))]
    return shape_of(name, families[name](rng))


def shape_of(name: str, pieces: Sequence[Piece]) -> ObjectShape:
    """The object that consists of these pieces."""
    return ObjectShape(name, join([piece.mesh for piece in pieces]), tuple(piece.geom for piece in pieces))


def hull(points_m: npt.ArrayLike) -> Piece:
    """The convex hull of (N, 3) points."""
    mesh = trimesh.convex.convex_hull(np.asarray(points_m, float))
    vertices_m = np.asarray(mesh.vertices, float)
    return Piece(make_mesh(vertices_m, mesh.faces), CollisionGeom("mesh", vertices_m=vertices_m))


def block(size_m: Vector, low_centre_m: Vector = (0.0, 0.0, 0.0)) -> Piece:
    """An upright cuboid by its full sides and the middle of its bottom."""
    half = np.asarray(size_m, float) / 2
    centre_m = np.asarray(low_centre_m, float) + np.array([0.0, 0.0, half[2]])
    return Piece(box_mesh(half, centre_m), box_geom(half, centre_m))


def prism(polygon_m: FloatArray, low_m: float, high_m: float, shrink: float = 1.0) -> Piece:
    """Upright prism over a convex polygon (N, 2); its top may be smaller, `shrink` times."""
    polygon_m = np.asarray(polygon_m, float)
    bottom = np.column_stack([polygon_m, np.full(len(polygon_m), low_m)])
    top = np.column_stack([polygon_m * shrink, np.full(len(polygon_m), high_m)])
    return hull(np.concatenate([bottom, top]))


def circle(radius_m: float, sides: int = _ROUND_SIDES) -> FloatArray:
    """(sides, 2) points."""
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    return radius_m * np.column_stack([np.cos(angle), np.sin(angle)])


def turning(levels_rz_m: Sequence[tuple[float, float]]) -> list[Piece]:
    """A solid of revolution about z: a truncated cone between each (radius, z) and the next."""
    return [
        hull(np.concatenate([np.column_stack([circle(r), np.full(_ROUND_SIDES, z)]) for r, z in (low, high)]))
        for low, high in itertools.pairwise(levels_rz_m)
    ]


def wall(radius_low_m: float, radius_high_m: float, thickness_m: float, low_m: float, high_m: float) -> list[Piece]:
    """A round, maybe conical, hollow wall by its outer radii."""
    angles = np.linspace(0.0, 2.0 * np.pi, _WALL_PIECES + 1)
    return [
        hull(
            [
                (r * np.cos(a), r * np.sin(a), z)
                for outer_m, z in ((radius_low_m, low_m), (radius_high_m, high_m))
                for a in pair
                for r in (outer_m - thickness_m, outer_m)
            ]
        )
        for pair in itertools.pairwise(angles)
    ]


def bow(path_m: FloatArray, half_m: tuple[float, float]) -> list[Piece]:
    """A bar of rectangular section along an (N, 3) path in the plane y = 0; half sizes in the plane and across it."""
    tangent = np.gradient(path_m, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.column_stack([-tangent[:, 2], np.zeros(len(path_m)), tangent[:, 0]])
    sections = [
        [point + a * half_m[0] * n + b * half_m[1] * np.array([0.0, 1.0, 0.0]) for a in (-1, 1) for b in (-1, 1)]
        for point, n in zip(path_m, normal, strict=True)
    ]
    return [hull(np.concatenate(pair)) for pair in itertools.pairwise(sections)]


def handle(radius_m: float, low_m: float, high_m: float, reach_m: float, half_m: tuple[float, float]) -> list[Piece]:
    """A bow at the side of a vessel of this radius."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    x = radius_m - half_m[0] + reach_m * np.cos(angle)
    z = (low_m + high_m) / 2 + (high_m - low_m) / 2 * np.sin(angle)
    return bow(np.column_stack([x, np.zeros(len(x)), z]), half_m)


# ---------------------------------------------------------------------------------------------------------------------
# Families to work with


def chamfered_block(rng: np.random.Generator) -> list[Piece]:
    """A cuboid with its edges cut off."""
    half = np.array([rng.uniform(0.015, 0.034), rng.uniform(0.015, 0.05), rng.uniform(0.02, 0.06)])
    cut = rng.uniform(0.1, 0.3) * half.min()
    corners = np.array(list(itertools.product((-1, 1), repeat=3)), float)
    lift_m = np.array([0.0, 0.0, half[2]])
    points = [corner * (half - cut * (1 - np.eye(3)[axis])) + lift_m for corner in corners for axis in range(3)]
    return [hull(points)]


def regular_prism(rng: np.random.Generator) -> list[Piece]:
    """An upright prism with five to eight sides."""
    return [prism(circle(rng.uniform(0.018, 0.036), int(rng.integers(5, 9))), 0.0, rng.uniform(0.04, 0.13))]


def frustum(rng: np.random.Generator) -> list[Piece]:
    """A cone without its tip."""
    radius_m = rng.uniform(0.025, 0.045)
    return turning([(radius_m, 0.0), (radius_m * rng.uniform(0.4, 0.85), rng.uniform(0.05, 0.12))])


def jar(rng: np.random.Generator) -> list[Piece]:
    """A round body with a shoulder, a neck and a lid."""
    r, h = rng.uniform(0.022, 0.036), rng.uniform(0.05, 0.11)
    neck, lid = r * rng.uniform(0.45, 0.75), rng.uniform(0.012, 0.03)
    return turning([(r, 0.0), (r, h), (neck, h + 0.012)]) + turning([(neck * 1.1, h + 0.012), (neck * 1.1, h + lid)])


def dumbbell(rng: np.random.Generator) -> list[Piece]:
    """Two octagonal ends with a bar between them, lying."""
    r, bar, half = rng.uniform(0.018, 0.03), rng.uniform(0.008, 0.013), rng.uniform(0.035, 0.06)
    end = rng.uniform(0.012, 0.02)
    pieces = []
    for radius_m, sides, low_m, high_m in (
        (r, 8, -half - end, -half),
        (bar, 16, -half, half),
        (r, 8, half, half + end),
    ):
        ring = circle(radius_m, sides)
        pieces.append(hull([(x, y, z + r) for x in (low_m, high_m) for y, z in ring]))
    return pieces


def cup(rng: np.random.Generator) -> list[Piece]:
    """A hollow vessel with a handle."""
    low, high = rng.uniform(0.026, 0.036), rng.uniform(0.032, 0.042)
    h, thick = rng.uniform(0.06, 0.1), rng.uniform(0.004, 0.006)
    side = (low + high) / 2
    grip = handle(side, 0.25 * h, 0.8 * h, rng.uniform(0.018, 0.028), (0.004, 0.006))
    return [prism(circle(low), 0.0, thick), *wall(low, high, thick, _FOOT_M, h), *grip]


def bowl(rng: np.random.Generator) -> list[Piece]:
    """A round vessel that is wider than the gripper opens."""
    rim, thick = rng.uniform(0.048, 0.065), rng.uniform(0.004, 0.006)
    foot, h = rim * rng.uniform(0.5, 0.75), rng.uniform(0.035, 0.055)
    belly = foot + 0.7 * (rim - foot)
    return [
        prism(circle(foot), 0.0, thick),
        *wall(foot, belly, thick, _FOOT_M, 0.45 * h),
        *wall(belly, rim, thick, 0.45 * h, h),
    ]


def bracket(rng: np.random.Generator) -> list[Piece]:
    """An L of two limbs."""
    thick, height = rng.uniform(0.018, 0.032), rng.uniform(0.02, 0.05)
    long, short = rng.uniform(0.07, 0.12), rng.uniform(0.05, 0.08)
    return [
        block((thick, long, height), (0.0, long / 5, 0.0)),
        block((short, thick, height), ((short + thick) / 2, thick / 2 - 0.3 * long, 0.0)),
    ]


def tee(rng: np.random.Generator) -> list[Piece]:
    """A T of two limbs."""
    thick, height = rng.uniform(0.018, 0.032), rng.uniform(0.02, 0.05)
    bar, stem = rng.uniform(0.08, 0.12), rng.uniform(0.05, 0.08)
    return [
        block((bar, thick, height), (0, stem / 3, 0)),
        block((thick, stem, height), (0, -stem / 6 - thick / 2, 0)),
    ]


def wedge(rng: np.random.Generator) -> list[Piece]:
    """A ramp."""
    long, wide, high = rng.uniform(0.06, 0.11), rng.uniform(0.03, 0.06), rng.uniform(0.03, 0.07)
    points = [(x, y, z) for y in (-wide / 2, wide / 2) for x, z in ((-long / 2, 0), (long / 2, 0), (long / 2, high))]
    return [hull([*points, *((long / 4, y, high) for y in (-wide / 2, wide / 2))])]


def egg(rng: np.random.Generator) -> list[Piece]:
    """An ellipsoid."""
    half = np.array([rng.uniform(0.02, 0.034), rng.uniform(0.025, 0.045), rng.uniform(0.018, 0.034)])
    sphere = trimesh.creation.icosphere(subdivisions=3).vertices
    return [hull(sphere * half + [0, 0, half[2]])]


def ring(rng: np.random.Generator) -> list[Piece]:
    """A ring of round section, lying."""
    tube, radius_m = rng.uniform(0.009, 0.014), rng.uniform(0.03, 0.05)
    section, angles = circle(tube, 12), np.linspace(0, 2 * np.pi, _WALL_PIECES + 1)
    return [
        hull([((radius_m + x) * np.cos(a), (radius_m + x) * np.sin(a), z + tube) for a in pair for x, z in section])
        for pair in itertools.pairwise(angles)
    ]


DEVELOPMENT_FAMILIES: dict[str, Family] = {
    function.__name__: function
    for function in (
        chamfered_block,
        regular_prism,
        frustum,
        jar,
        dumbbell,
        cup,
        bowl,
        bracket,
        tee,
        wedge,
        egg,
        ring,
    )
}


# ---------------------------------------------------------------------------------------------------------------------
# Families that were unseen until a run of before


def flask(rng: np.random.Generator) -> list[Piece]:
    """A bottle whose belly runs into a long neck."""
    r, neck = rng.uniform(0.024, 0.035), rng.uniform(0.009, 0.014)
    h, top = rng.uniform(0.05, 0.08), rng.uniform(0.11, 0.17)
    middle = (0.55 * r + 0.45 * neck, h + 0.35 * (top - h))
    return turning([(0.85 * r, 0.0), (r, 0.012), (r, h), middle, (neck, h + 0.6 * (top - h)), (neck, top)])


def cross(rng: np.random.Generator) -> list[Piece]:
    """Two bars that cross each other."""
    thick, height, long = rng.uniform(0.016, 0.028), rng.uniform(0.018, 0.04), rng.uniform(0.08, 0.12)
    side = (long - thick) / 2
    arms = [block((thick, side, height), (0, sign * (side + thick) / 2, 0)) for sign in (-1, 1)]
    return [block((long, thick, height)), *arms]


def channel(rng: np.random.Generator) -> list[Piece]:
    """A U: a floor with two walls."""
    wide, long = rng.uniform(0.05, 0.07), rng.uniform(0.06, 0.1)
    thick, high = rng.uniform(0.008, 0.012), rng.uniform(0.04, 0.06)
    sides = [block((thick, long, high), (sign * (wide - thick) / 2, 0, 0)) for sign in (-1, 1)]
    return [block((wide - 2 * thick, long, thick)), *sides]


def house(rng: np.random.Generator) -> list[Piece]:
    """A block with a gabled roof."""
    wide, long = rng.uniform(0.035, 0.065), rng.uniform(0.05, 0.09)
    eaves, ridge = rng.uniform(0.025, 0.05), rng.uniform(0.015, 0.03)
    outline = [(-wide / 2, 0), (wide / 2, 0), (wide / 2, eaves), (0, eaves + ridge), (-wide / 2, eaves)]
    return [hull([(x, y, z) for y in (-long / 2, long / 2) for x, z in outline])]


def tankard(rng: np.random.Generator) -> list[Piece]:
    """A heavy vessel that narrows upwards, with an angular handle."""
    low, thick, h = rng.uniform(0.034, 0.042), rng.uniform(0.005, 0.007), rng.uniform(0.075, 0.11)
    high, reach, grip = low * rng.uniform(0.75, 0.9), rng.uniform(0.022, 0.03), 0.009
    outer = (low + high) / 2 + reach
    bar = 0.012
    return [
        prism(circle(low), 0.0, 2 * thick),
        *wall(low, high, thick, _FOOT_M, h),
        block((grip, bar, 0.55 * h), (outer - grip / 2, 0, 0.22 * h)),
        *(block((outer - high, bar, grip), ((outer + high) / 2, 0, z * h)) for z in (0.22, 0.68)),
    ]


def mushroom(rng: np.random.Generator) -> list[Piece]:
    """A stem under a wide cap."""
    stem, cap = rng.uniform(0.012, 0.02), rng.uniform(0.026, 0.036)
    h, dome = rng.uniform(0.035, 0.06), rng.uniform(0.02, 0.03)
    return turning([(stem * 1.4, 0.0), (stem, 0.01), (stem, h)]) + turning(
        [(cap, h), (cap * 0.87, h + 0.5 * dome), (cap * 0.45, h + dome)]
    )


def mallet(rng: np.random.Generator) -> list[Piece]:
    """A hammer, lying."""
    long, wide, head = rng.uniform(0.09, 0.14), rng.uniform(0.016, 0.022), rng.uniform(0.024, 0.036)
    across = rng.uniform(0.06, 0.085)
    return [
        block((long, wide, wide), (-head / 2 - long / 2 + 0.04, 0, head / 2 - wide / 2)),
        block((head, across, head), (0.04, 0, 0)),
    ]


def pyramid(rng: np.random.Generator) -> list[Piece]:
    """A square pyramid without its tip."""
    half = rng.uniform(0.025, 0.04)
    square = half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
    return [prism(square, 0.0, rng.uniform(0.05, 0.1), shrink=rng.uniform(0.35, 0.75))]


def barrel(rng: np.random.Generator) -> list[Piece]:
    """A body of revolution that is widest in its middle."""
    r, h = rng.uniform(0.022, 0.036), rng.uniform(0.05, 0.11)
    end = rng.uniform(0.6, 0.85)
    z = np.linspace(0, 1, 8)
    radius = r * (1 - (1 - end) * (2 * z - 1) ** 2)
    points = [np.column_stack([circle(a), np.full(_ROUND_SIDES, b * h)]) for a, b in zip(radius, z, strict=True)]
    return [hull(np.concatenate(points))]


def dish(rng: np.random.Generator) -> list[Piece]:
    """A square dish with slanted walls, wider than the gripper opens."""
    foot, flare = rng.uniform(0.04, 0.05), rng.uniform(0.006, 0.014)
    thick, h = rng.uniform(0.004, 0.006), rng.uniform(0.028, 0.045)
    pieces = [block((2 * foot, 2 * foot, thick))]
    for turn in range(4):
        a = turn * np.pi / 2
        rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        points = []
        for reach, z in ((foot, 0.0), (foot + flare, h)):
            for inward in (0.0, thick):
                points += [(*(rotation @ [reach - inward, side * (reach - inward)]), z) for side in (-1, 1)]
        pieces.append(hull(points))
    return pieces


def star(rng: np.random.Generator) -> list[Piece]:
    """A star-shaped prism."""
    points, inner = int(rng.integers(5, 7)), rng.uniform(0.018, 0.026)
    outer, h = inner * rng.uniform(1.35, 1.6), rng.uniform(0.03, 0.08)
    core = circle(inner, points)
    tips = circle(1.0, 2 * points)[1::2] * outer
    spikes = [prism(np.stack([core[i], tips[i], core[(i + 1) % points]]), 0.0, h) for i in range(points)]
    return [prism(core, 0.0, h), *spikes]


def twisted_stack(rng: np.random.Generator) -> list[Piece]:
    """Blocks on each other, each turned and a little smaller."""
    half, layer, pieces = rng.uniform(0.024, 0.033), rng.uniform(0.02, 0.035), []
    for level in range(3):
        a = rng.uniform(0, np.pi / 2)
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        square = half * 0.85**level * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float) @ turn.T
        pieces.append(prism(square, level * layer, (level + 1) * layer))
    return pieces


FORMER_UNSEEN_FAMILIES: dict[str, Family] = {
    function.__name__: function
    for function in (
        flask,
        cross,
        channel,
        house,
        tankard,
        mushroom,
        mallet,
        pyramid,
        barrel,
        dish,
        star,
        twisted_stack,
    )
}
