"""Median and percentiles of a few hundred numbers: those of NumPy, in a tenth to a third of its own functions' time.

And the same for kernels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner

FloatArray = NDArray[np.float64]

_MANY, _FEW_SMALLER = 40, 8
"""Of so many values the pivot is the middle one of three; and one in so many smaller than it are few."""


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


@inner
def median_of_first(values: FloatArray, count: int) -> float:
    """Of the first so many, which are put into another order."""
    upper = smallest_of_first(values, count, count // 2)
    return upper if count % 2 else (largest(values[: count // 2]) + upper) / 2


@inner
def percentile_of_first(values: FloatArray, count: int, percent: float) -> float:
    """Of the first so many, as `percentile`; they are put into another order."""
    place = (count - 1) * (percent / 100)
    below = int(place)
    share = place - below
    low = smallest_of_first(values, count, below)
    high = low if below + 1 >= count else values[below + 1]
    for i in range(below + 2, count):  # of those that are no smaller than it
        high = min(high, values[i])
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


@inner
def smallest_of_first(values: FloatArray, count: int, k: int) -> float:
    """The k-th smallest, from 0, of the first so many, after which none before it is larger and none behind smaller.

    Hoare's selection with Lomuto's partition: which numbers are smaller no processor foresees, so there is no branch.
    """
    low, high = 0, count - 1
    while low < high:
        place = _pivot(values, low, high)
        pivot = values[place]
        values[place] = values[high]
        smaller = low
        for i in range(low, high):
            value = values[i]
            values[i], values[smaller] = values[smaller], value
            smaller += value < pivot
        values[high], values[smaller] = values[smaller], pivot
        if k == smaller:
            return pivot
        if k < smaller:
            high = smaller - 1
            continue
        few = _FEW_SMALLER * (smaller - low) < high - low
        low = smaller + 1
        if few:  # as where many are equal to the pivot, which go to the front then
            equal = low
            for i in range(low, high + 1):
                value = values[i]
                values[i], values[equal] = values[equal], value
                equal += value <= pivot
            if k < equal:
                return pivot
            low = equal
    return values[k]


@inner
def _pivot(values: FloatArray, low: int, high: int) -> int:
    """Where the middle one is of three values between two places; of few, that halfway."""
    middle, quarter = (low + high) // 2, (high - low) // 4
    if high - low < _MANY:
        return middle
    first, second, third = values[middle - quarter], values[middle], values[middle + quarter]
    if (second < first) != (second < third):
        return middle
    return middle - quarter if (first < second) != (first < third) else middle + quarter


@inner
def largest(values: FloatArray) -> float:
    most = values[0]
    for value in values:
        most = max(most, value)
    return most
