"""Flat and lying objects to grasp, to work with: what an upright view of a table has most of."""

from __future__ import annotations

import numpy as np

from instance_seg_ros.learning.grasp_simulation.objects import Family, Piece, block, circle, hull, prism, turning


def slab(rng: np.random.Generator) -> list[Piece]:
    """A plate with square edges, 6 to 20 mm thick."""
    return [block((rng.uniform(0.06, 0.16), rng.uniform(0.025, 0.068), rng.uniform(0.006, 0.02)))]


def ruler(rng: np.random.Generator) -> list[Piece]:
    """A long thin bar, 5 to 8 mm thick."""
    return [block((rng.uniform(0.12, 0.2), rng.uniform(0.02, 0.035), rng.uniform(0.005, 0.008)))]


def pen(rng: np.random.Generator) -> list[Piece]:
    """A lying rod with a tip."""
    r, long = rng.uniform(0.005, 0.009), rng.uniform(0.09, 0.14)
    ring = circle(r, 16)
    rod = hull([(x, y, z + r) for x in (-long / 2, long / 2) for y, z in ring])
    tip = hull([*((long / 2, y, z + r) for y, z in ring), (long / 2 + 2 * r, 0.0, r)])
    return [rod, tip]


def lying_box(rng: np.random.Generator) -> list[Piece]:
    """A carton on its largest side."""
    return [block((rng.uniform(0.09, 0.17), rng.uniform(0.05, 0.07), rng.uniform(0.025, 0.045)))]


def disc(rng: np.random.Generator) -> list[Piece]:
    """A round plate with an upright edge, 6 to 15 mm high."""
    return [prism(circle(rng.uniform(0.016, 0.034)), 0.0, rng.uniform(0.006, 0.015))]


def lens(rng: np.random.Generator) -> list[Piece]:
    """A round plate whose upper side falls off to a thin edge: nothing upright to hold at its rim."""
    r, high = rng.uniform(0.022, 0.034), rng.uniform(0.01, 0.02)
    share = np.linspace(1.0, 0.15, 5)
    return turning([(r, 0.0), *((r * a, high * (1 - a**2) + 0.001) for a in share)])


def spanner(rng: np.random.Generator) -> list[Piece]:
    """A flat tool: a narrow shaft with a wide head, 6 to 12 mm thick."""
    long, wide, thick = rng.uniform(0.09, 0.14), rng.uniform(0.01, 0.018), rng.uniform(0.006, 0.012)
    head = circle(rng.uniform(0.016, 0.024), 12) + np.array([long / 2, 0.0])
    return [block((long, wide, thick)), prism(head, 0.0, thick)]


def tile(rng: np.random.Generator) -> list[Piece]:
    """A plate with slanted edges, wider below than above."""
    wide, high = rng.uniform(0.02, 0.034), rng.uniform(0.008, 0.018)
    outline = np.array([(-1.6, -1), (1.6, -1), (1.6, 1), (-1.6, 1)]) * wide
    return [prism(outline, 0.0, high, shrink=rng.uniform(0.85, 0.95))]


FLAT_FAMILIES: dict[str, Family] = {
    function.__name__: function for function in (slab, ruler, pen, lying_box, disc, lens, spanner, tile)
}
