"""Objects to grasp of families that are kept for the next last run: nothing is to be tuned on them."""

from __future__ import annotations

import itertools

import numpy as np

from instance_seg_ros.learning.grasp_simulation.objects import (
    Family,
    FloatArray,
    Piece,
    block,
    bow,
    circle,
    hull,
    prism,
    turning,
)


def antiprism(rng: np.random.Generator) -> list[Piece]:
    """A block whose top is turned by half a side against its bottom."""
    r, sides = rng.uniform(0.024, 0.034), int(rng.integers(4, 7))
    turned = circle(r, 2 * sides)
    low = np.column_stack([turned[::2], np.zeros(sides)])
    return [hull(np.concatenate([low, np.column_stack([turned[1::2], np.full(sides, rng.uniform(0.05, 0.1))])]))]


def bulb(rng: np.random.Generator) -> list[Piece]:
    """A ball on a neck that widens into it, standing on the neck."""
    r, neck, h = rng.uniform(0.025, 0.034), rng.uniform(0.015, 0.019), rng.uniform(0.02, 0.035)
    start = -np.arccos(neck / r)
    ball = [(r * np.cos(a), h + r * (np.sin(a) - np.sin(start))) for a in np.linspace(start, 0.47 * np.pi, 9)]
    return [prism(circle(neck), 0.0, h), *turning(ball)]


def spray_bottle(rng: np.random.Generator) -> list[Piece]:
    """An oval bottle with a short neck and a head that reaches out to one side."""
    oval = circle(1.0) * [rng.uniform(0.026, 0.038), rng.uniform(0.018, 0.026)]
    h, neck, reach = rng.uniform(0.06, 0.09), rng.uniform(0.009, 0.012), rng.uniform(0.03, 0.045)
    head = block((reach, 0.018, 0.02), (reach / 2 - 0.012, 0.0, h + 0.022))
    shoulder = prism(oval, h, h + 0.01, shrink=0.5)
    return [prism(oval, 0.0, h), shoulder, prism(circle(neck), h + 0.01, h + 0.022), head]


def car(rng: np.random.Generator) -> list[Piece]:
    """A toy: a long body with a cabin on four wheels."""
    long, wide, wheel = rng.uniform(0.075, 0.11), rng.uniform(0.03, 0.044), rng.uniform(0.01, 0.014)
    chassis = block((long, wide, rng.uniform(0.014, 0.02)), (0.0, 0.0, 0.6 * wheel))
    top = float(np.asarray(chassis.mesh.vertices)[:, 2].max())
    cabin = prism(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * [0.24 * long, 0.46 * wide], top, top + 0.02, 0.8)
    wheels = [
        hull([(s * 0.3 * long + x, y, wheel + z) for y in (t * wide / 2, t * (wide / 2 + 0.007)) for x, z in rim])
        for rim in [circle(wheel, 20)]
        for s, t in itertools.product((-1, 1), repeat=2)
    ]
    return [chassis, cabin, *wheels]


def bridge(rng: np.random.Generator) -> list[Piece]:
    """A deck on two legs."""
    long, wide, h = rng.uniform(0.08, 0.12), rng.uniform(0.02, 0.036), rng.uniform(0.045, 0.07)
    leg, deck = rng.uniform(0.014, 0.022), rng.uniform(0.013, 0.02)
    legs = [block((leg, wide, h - deck), (sign * (long - leg) / 2, 0.0, 0.0)) for sign in (-1, 1)]
    return [*legs, block((long, wide, deck), (0.0, 0.0, h - deck))]


def banana(rng: np.random.Generator) -> list[Piece]:
    """A lying curved body, round, thinner towards both ends."""
    bend, half_turn, r = rng.uniform(0.05, 0.08), np.radians(rng.uniform(40, 60)), rng.uniform(0.014, 0.019)
    sections = []
    for share in np.linspace(-1, 1, 11):
        own, turn = r * (1 - 0.5 * share**2), share * half_turn
        # Every section touches the table, so that it lies firmly.
        sections.append(
            [((bend + x) * np.cos(turn) - bend, (bend + x) * np.sin(turn), own + z) for x, z in circle(own, 16)]
        )
    return [hull([*one, *other]) for one, other in itertools.pairwise(sections)]


def bolt(rng: np.random.Generator) -> list[Piece]:
    """A hexagonal head with a shaft, standing on the head."""
    head, thick = rng.uniform(0.022, 0.032), rng.uniform(0.012, 0.02)
    return [
        prism(circle(head, 6), 0.0, thick),
        prism(circle(rng.uniform(0.009, 0.014)), thick, thick + rng.uniform(0.045, 0.085)),
    ]


def basket(rng: np.random.Generator) -> list[Piece]:
    """An open box with a bow over it from side to side."""
    x, y, h = rng.uniform(0.06, 0.095), rng.uniform(0.045, 0.065), rng.uniform(0.028, 0.042)
    thick, rise = rng.uniform(0.004, 0.006), rng.uniform(0.035, 0.055)
    sides = [block((x, thick, h - thick), (0.0, sign * (y - thick) / 2, thick)) for sign in (-1, 1)]
    ends = [block((thick, y - 2 * thick, h - thick), (sign * (x - thick) / 2, 0.0, thick)) for sign in (-1, 1)]
    angle = np.linspace(0.0, np.pi, 13)
    path = np.column_stack([(x / 2 - 0.004) * np.cos(angle), np.zeros(13), h - 0.006 + rise * np.sin(angle)])
    return [block((x, y, thick)), *sides, *ends, *bow(path, (0.004, 0.007))]


def oval_tin(rng: np.random.Generator) -> list[Piece]:
    """An oval can with a lid that is a little wider."""
    oval = circle(1.0) * [rng.uniform(0.03, 0.048), rng.uniform(0.016, 0.029)]
    h = rng.uniform(0.03, 0.09)
    return [prism(oval, 0.0, h), prism(oval * 1.06, h, h + rng.uniform(0.006, 0.01))]


def horseshoe(rng: np.random.Generator) -> list[Piece]:
    """Two thirds of a lying ring of rectangular section."""
    inner, h = rng.uniform(0.02, 0.03), rng.uniform(0.018, 0.035)
    outer = inner + rng.uniform(0.011, 0.018)
    ends = np.linspace(-2 * np.pi / 3, 2 * np.pi / 3, 15)
    around = np.column_stack([np.cos(ends), np.sin(ends)])
    return [
        prism(np.array([inner * a, outer * a, outer * b, inner * b]), 0.0, h) for a, b in itertools.pairwise(around)
    ]


def jack(rng: np.random.Generator) -> list[Piece]:
    """Three round bars through each other at right angles, on three of their six ends."""
    half, r = rng.uniform(0.03, 0.042), rng.uniform(0.0065, 0.0095)
    # The axes' directions: alike in height, at equal angles from above.
    axes = [
        (np.sqrt(2 / 3) * np.cos(a), np.sqrt(2 / 3) * np.sin(a), np.sqrt(1 / 3)) for a in 2 * np.pi / 3 * np.arange(3)
    ]
    turn: FloatArray = np.array(axes)
    bar = np.array([(x, y, z) for z in (-half, half) for x, y in circle(r, 16)])
    bars = [np.roll(bar, axis, axis=1) @ turn for axis in range(3)]
    low = min(float(points[:, 2].min()) for points in bars)
    return [hull(points - [0.0, 0.0, low]) for points in bars]


def iron(rng: np.random.Generator) -> list[Piece]:
    """A pointed sole with a body on it and a handle above."""
    long, half, h = rng.uniform(0.08, 0.11), rng.uniform(0.022, 0.032), rng.uniform(0.018, 0.03)
    sole = np.array([(-0.5 * long, -half), (0.05 * long, -half), (0.5 * long, 0.0), (0.05 * long, half)])
    sole = np.concatenate([sole, [(-0.5 * long, half)]])
    angle = np.linspace(0.0, np.pi, 9)
    rise = rng.uniform(0.03, 0.042)
    path = np.column_stack([0.3 * long * np.cos(angle) - 0.15 * long, np.zeros(9), h - 0.006 + rise * np.sin(angle)])
    return [prism(sole, 0.0, h, shrink=0.92), *bow(path, (0.005, 0.009))]


RESERVED_FAMILIES: dict[str, Family] = {
    function.__name__: function
    for function in (
        antiprism,
        bulb,
        spray_bottle,
        car,
        bridge,
        banana,
        bolt,
        basket,
        oval_tin,
        horseshoe,
        jack,
        iron,
    )
}
