"""The registry of object families.

A family is a function ``(rng) -> ObjectShape`` registered under its name in :data:`FAMILIES`, so that a data set can be
restricted to some families and others held out. Shapes stand upright along +z in their own frame, in metres, and are
objects by the rule of :mod:`instance_seg_ros.learning.synthetic.rooms.fixtures`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape

Family = Callable[[np.random.Generator], ObjectShape]
FAMILIES: dict[str, Family] = {}


def family(function: Family) -> Family:
    """Register a family under its function's name."""
    FAMILIES[function.__name__] = function
    return function


def sample_object(rng: np.random.Generator, families: Sequence[str]) -> ObjectShape:
    """Draw a family uniformly from ``families`` and a shape from it."""
    return FAMILIES[families[int(rng.integers(len(families)))]](rng)
