"""Objects to grasp of families that were written for last runs; those have been looked at since."""

from __future__ import annotations

import numpy as np

from instance_seg_ros.learning.grasp_simulation.objects import (
    Family,
    Piece,
    block,
    circle,
    handle,
    hull,
    prism,
    turning,
    wall,
)

_FOOT_M = 0.001

# ---------------------------------------------------------------------------------------------------------------------
# For the first such run


def spool(rng: np.random.Generator) -> list[Piece]:
    """Two flanges with a core between them, standing."""
    flange, core = rng.uniform(0.024, 0.037), rng.uniform(0.01, 0.02)
    h, thick = rng.uniform(0.045, 0.09), rng.uniform(0.006, 0.012)
    return [
        prism(circle(flange), 0.0, thick),
        prism(circle(core), thick, h - thick),
        prism(circle(flange), h - thick, h),
    ]


def hourglass(rng: np.random.Generator) -> list[Piece]:
    """A body of revolution that is narrowest in its middle."""
    r, h = rng.uniform(0.024, 0.037), rng.uniform(0.06, 0.12)
    waist = r * rng.uniform(0.45, 0.7)
    return turning([(r, 0.0), (r, 0.15 * h), (waist, 0.5 * h), (r, 0.85 * h), (r, h)])


def capsule(rng: np.random.Generator) -> list[Piece]:
    """A lying rod with round ends."""
    r, long = rng.uniform(0.014, 0.03), rng.uniform(0.04, 0.09)
    rings = [(long / 2 + r * np.sin(a), r * np.cos(a)) for a in np.linspace(0, np.pi / 2 - 0.05, 6)]
    sections = [(-x, s) for x, s in reversed(rings)] + rings
    return [hull([(x, y * s / r, z * s / r + r) for x, s in sections for y, z in circle(r, 20)])]


def notebook(rng: np.random.Generator) -> list[Piece]:
    """A thin block, standing on its edge."""
    return [block((rng.uniform(0.06, 0.11), rng.uniform(0.014, 0.03), rng.uniform(0.06, 0.11)))]


def zigzag(rng: np.random.Generator) -> list[Piece]:
    """Blocks in a row, each set off to the other side."""
    a, h = rng.uniform(0.022, 0.034), rng.uniform(0.022, 0.05)
    return [block((a, 1.6 * a, h), ((i - 1) * a, (-1) ** i * 0.3 * a, 0.0)) for i in range(3)]


def gutter(rng: np.random.Generator) -> list[Piece]:
    """Half of a pipe, open upwards."""
    r, long, thick = rng.uniform(0.024, 0.036), rng.uniform(0.06, 0.11), rng.uniform(0.005, 0.008)
    angles = np.linspace(np.pi, 2 * np.pi, 11)
    return [
        hull(
            [
                (x, q * np.cos(a), r + q * np.sin(a))
                for x in (-long / 2, long / 2)
                for a in angles[i : i + 2]
                for q in (r - thick, r)
            ]
        )
        for i in range(10)
    ]


def knob(rng: np.random.Generator) -> list[Piece]:
    """A square foot with a ball on it."""
    foot, r = rng.uniform(0.045, 0.065), rng.uniform(0.018, 0.03)
    thick = rng.uniform(0.012, 0.025)
    share = np.linspace(-0.8, 0.98, 8)
    ball = [(r * np.sqrt(1 - s**2), thick + r * (s + 0.8)) for s in share]
    return [block((foot, foot, thick)), *turning(ball)]


def leaning_prism(rng: np.random.Generator) -> list[Piece]:
    """A block whose sides lean to one side."""
    x, y, h = rng.uniform(0.022, 0.032), rng.uniform(0.025, 0.045), rng.uniform(0.04, 0.08)
    lean = rng.uniform(0.15, 0.35) * h
    return [hull([(u * x + (lean if z else 0.0), v * y, z) for u in (-1, 1) for v in (-1, 1) for z in (0.0, h)])]


def trivet(rng: np.random.Generator) -> list[Piece]:
    """Three arms at equal angles."""
    long, wide, h = rng.uniform(0.045, 0.065), rng.uniform(0.009, 0.014), rng.uniform(0.018, 0.04)
    pieces = []
    for turn in np.arange(3) * 2 * np.pi / 3:
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        arm = np.array([(0.0, -wide), (long, -wide), (long, wide), (0.0, wide)]) @ rotation.T
        pieces.append(prism(arm, 0.0, h))
    return pieces


def pot(rng: np.random.Generator) -> list[Piece]:
    """A wide vessel with straight walls and two handles, wider than the gripper opens."""
    r, thick, h = rng.uniform(0.046, 0.058), rng.uniform(0.004, 0.006), rng.uniform(0.04, 0.07)
    grip = handle(r, 0.45 * h, 0.85 * h, rng.uniform(0.014, 0.02), (0.004, 0.007))
    other = [hull(np.asarray(piece.mesh.vertices) * [-1.0, 1.0, 1.0]) for piece in grip]
    return [prism(circle(r), 0.0, thick), *wall(r, r, thick, _FOOT_M, h), *grip, *other]


def stairs(rng: np.random.Generator) -> list[Piece]:
    """Steps up to one side."""
    step, wide = rng.uniform(0.02, 0.028), rng.uniform(0.035, 0.06)
    rise = rng.uniform(0.014, 0.025)
    return [block((step, wide, (i + 1) * rise), ((i - 1) * step, 0.0, 0.0)) for i in range(3)]


def tablet(rng: np.random.Generator) -> list[Piece]:
    """A lying plate with cut corners, 8 to 18 mm thick."""
    x, y, cut = rng.uniform(0.05, 0.08), rng.uniform(0.024, 0.033), rng.uniform(0.006, 0.012)
    corner = [(x - cut, y), (x, y - cut)]
    outline = [*corner, *((a, -b) for a, b in reversed(corner)), *((-a, -b) for a, b in corner)]
    outline += [(-a, b) for a, b in reversed(corner)]
    return [prism(np.array(outline), 0.0, rng.uniform(0.008, 0.018))]


# ---------------------------------------------------------------------------------------------------------------------
# For the second


def roof_bar(rng: np.random.Generator) -> list[Piece]:
    """A lying bar of triangular section, whose sides lean by less than friction holds."""
    wide, high, long = rng.uniform(0.025, 0.036), rng.uniform(0.045, 0.07), rng.uniform(0.06, 0.12)
    section = [(-wide / 2, 0.0), (wide / 2, 0.0), (0.0, high)]
    return [hull([(x, y, z) for y in (-long / 2, long / 2) for x, z in section])]


def candlestick(rng: np.random.Generator) -> list[Piece]:
    """A foot, a stem and a small cup on it."""
    foot, stem, cup = rng.uniform(0.026, 0.036), rng.uniform(0.008, 0.012), rng.uniform(0.015, 0.022)
    thick, h = rng.uniform(0.006, 0.01), rng.uniform(0.06, 0.11)
    return [prism(circle(foot), 0.0, thick), *turning([(stem, thick), (stem, h), (cup, h + 0.012), (cup, h + 0.03)])]


def frame(rng: np.random.Generator) -> list[Piece]:
    """Four bars around a hole, lying."""
    long, wide = rng.uniform(0.07, 0.11), rng.uniform(0.05, 0.08)
    bar, h = rng.uniform(0.012, 0.02), rng.uniform(0.015, 0.03)
    across = [block((bar, wide, h), (sign * (long - bar) / 2, 0.0, 0.0)) for sign in (-1, 1)]
    along = [block((long - 2 * bar, bar, h), (0.0, sign * (wide - bar) / 2, 0.0)) for sign in (-1, 1)]
    return across + along


def chest(rng: np.random.Generator) -> list[Piece]:
    """A block with half a cylinder as its lid."""
    r, long, h = rng.uniform(0.02, 0.035), rng.uniform(0.05, 0.09), rng.uniform(0.02, 0.04)
    lid = [(r * np.cos(a), h + r * np.sin(a)) for a in np.linspace(0.0, np.pi, 16)]
    return [hull([(x, y, z) for y in (-long / 2, long / 2) for x, z in [(-r, 0.0), (r, 0.0), *lid]])]


def funnel(rng: np.random.Generator) -> list[Piece]:
    """A hollow cone on its rim, with a spout on top."""
    rim, spout = rng.uniform(0.036, 0.05), rng.uniform(0.009, 0.014)
    cone, h, thick = rng.uniform(0.035, 0.055), rng.uniform(0.07, 0.1), 0.005
    return [*wall(rim, spout + thick, thick, 0.0, cone), prism(circle(spout), cone - _FOOT_M, h)]


def bone(rng: np.random.Generator) -> list[Piece]:
    """A lying rod with a thick knob at each end."""
    rod, knob, long = rng.uniform(0.009, 0.014), rng.uniform(0.018, 0.027), rng.uniform(0.07, 0.12)
    angles, share = np.linspace(0, 2 * np.pi, 16, endpoint=False), np.linspace(-0.98, 0.98, 9)
    ball = [
        (knob * s, knob * np.sqrt(1 - s * s) * np.cos(a), knob + knob * np.sqrt(1 - s * s) * np.sin(a))
        for s in share
        for a in angles
    ]
    bar = [(x, rod * np.cos(a), knob + rod * np.sin(a)) for x in (-long / 2, long / 2) for a in angles]
    knobs = [hull(np.array(ball) + np.array([sign * long / 2, 0.0, 0.0])) for sign in (-1, 1)]
    return [hull(bar), *knobs]


def spout_jug(rng: np.random.Generator) -> list[Piece]:
    """An upright can with a wedge for a spout at its side."""
    r, h = rng.uniform(0.022, 0.032), rng.uniform(0.06, 0.11)
    reach, wide = rng.uniform(0.014, 0.024), rng.uniform(0.008, 0.012)
    spout = [(r - 0.004, y, z * h) for y in (-wide, wide) for z in (0.5, 0.95)]
    return [prism(circle(r), 0.0, h), hull([*spout, *((r + reach, y / 2, 0.92 * h) for y in (-wide, wide))])]


def nut(rng: np.random.Generator) -> list[Piece]:
    """A lying hexagonal ring."""
    inner = rng.uniform(0.016, 0.024)
    outer, h = inner + rng.uniform(0.01, 0.016), rng.uniform(0.018, 0.035)
    corners = circle(1.0, 6)
    pairs = [(corners[i], corners[(i + 1) % 6]) for i in range(6)]
    return [prism(np.array([inner * a, outer * a, outer * b, inner * b]), 0.0, h) for a, b in pairs]


def bow_tie(rng: np.random.Generator) -> list[Piece]:
    """Two wedges, tip to tip, seen from above."""
    half, waist, h = rng.uniform(0.035, 0.055), rng.uniform(0.008, 0.014), rng.uniform(0.02, 0.045)
    wide = waist + rng.uniform(0.2, 0.35) * half  # at most 20 degrees
    right = np.array([(0.0, -waist), (half, -wide), (half, wide), (0.0, waist)])
    return [prism(right, 0.0, h), prism(right * [-1.0, 1.0], 0.0, h)]


def shoe(rng: np.random.Generator) -> list[Piece]:
    """A sole with a high heel part and a low toe."""
    long, wide = rng.uniform(0.08, 0.12), rng.uniform(0.034, 0.05)
    heel, toe = rng.uniform(0.04, 0.06), rng.uniform(0.014, 0.022)
    low, middle = -0.5 * long, -0.05 * long
    toes = [(x, y, z) for y in (-wide / 2, wide / 2) for x, z in ((middle, 0.0), (0.5 * long, 0.0), (0.48 * long, toe))]
    top = [(middle, y, 1.4 * toe) for y in (-wide / 2, wide / 2)]
    return [block((middle - low, wide, heel), ((low + middle) / 2, 0.0, 0.0)), hull([*toes, *top])]


def cog(rng: np.random.Generator) -> list[Piece]:
    """A disc with square teeth, thick enough to be gripped across."""
    r, h, teeth = rng.uniform(0.02, 0.028), rng.uniform(0.02, 0.05), int(rng.integers(6, 9))
    tooth = rng.uniform(0.006, 0.009)
    pieces = [prism(circle(r), 0.0, h)]
    for turn in np.arange(teeth) * 2 * np.pi / teeth:
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        corner = np.array(
            [(0.9 * r, -tooth / 2), (r + tooth, -tooth / 2), (r + tooth, tooth / 2), (0.9 * r, tooth / 2)]
        )
        pieces.append(prism(corner @ rotation.T, 0.0, h))
    return pieces


def lectern(rng: np.random.Generator) -> list[Piece]:
    """A slab that leans on a foot of blocks."""
    wide, deep, h = rng.uniform(0.05, 0.08), rng.uniform(0.03, 0.05), rng.uniform(0.04, 0.07)
    foot, thick = rng.uniform(0.02, 0.03), rng.uniform(0.01, 0.016)
    low = [(x, y, z) for x in (-wide / 2, wide / 2) for y, z in ((-deep / 2, 0.4 * h), (deep / 2, h))]
    slab = [*low, *((x, y, z + thick) for x, y, z in low)]
    return [block((foot, deep, 0.4 * h)), block((foot, 0.4 * deep, 0.8 * h), (0.0, 0.3 * deep, 0.0)), hull(slab)]


FORMER_RESERVED_FAMILIES: dict[str, Family] = {
    function.__name__: function
    for function in (
        spool,
        hourglass,
        capsule,
        notebook,
        zigzag,
        gutter,
        knob,
        leaning_prism,
        trivet,
        pot,
        stairs,
        tablet,
        roof_bar,
        candlestick,
        frame,
        chest,
        funnel,
        bone,
        spout_jug,
        nut,
        bow_tie,
        shoe,
        cog,
        lectern,
    )
}
