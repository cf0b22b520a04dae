"""What is found together: the families of a desk, a kitchen, a workshop, a nursery, a laundry, a shop, a post room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NAMES = {
    "desk": (
        "pen marker rod book stapler mouse usb_stick mug tape_roll scissors remote small_box charger "
        "soft_case cable camera ring"
    ),
    "kitchen": (
        "fork knife spoon turner pan cooking_pot bowl plate cup mug brush jar vegetable fruit bread "
        "mushroom banana bottle can folded_cloth wine_glass tray"
    ),
    "workshop": (
        "screwdriver hammer pliers wrench power_drill bolt tape_roll torch bar ring brush spray_bottle "
        "padlock small_box cable composition prism rod marker"
    ),
    "nursery": (
        "toy_car toy_figure toy_animal ring_tower toy_brick soft_toy game_box composition sphere prism "
        "box book shoe cup"
    ),
    "laundry": "folded_cloth draped_cloth cloth shoe lump soft_toy soft_case pump_bottle basket",
    "groceries": (
        "carton can bottle jar pouch tube box fruit vegetable bunch bread paper_bag tied_bag "
        "spray_bottle small_box mushroom"
    ),
    "parcels": "box carton large_box small_box game_box book pouch tape_roll open_box",
    "slim": "pen marker rod screwdriver knife fork spoon brush turner bolt usb_stick book",
}
THEMES: dict[str, tuple[str, ...]] = {theme: tuple(names.split()) for theme, names in _NAMES.items()}
"""Families by theme; those that a data set leaves out are left out of its themes as well."""
_SHARE = 0.4
_FEWEST = 3


def sample_theme(rng: np.random.Generator, families: Sequence[str]) -> tuple[str, ...]:
    """The families of a theme that are among ``families``; all of them in three scenes of five or where few are."""
    if rng.random() >= _SHARE:
        return tuple(families)
    names = THEMES[str(rng.choice(list(THEMES)))]
    chosen = tuple(name for name in families if name in names)
    return chosen if len(chosen) >= _FEWEST else tuple(families)
