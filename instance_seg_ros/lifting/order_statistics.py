"""Median and percentiles of a few hundred numbers: those of NumPy, in a tenth to a third of its own functions' time.

And the same for kernels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner

FloatArray = NDArray[np.float64]

_NEAR = 0.1
"""A median is near a guess that it departs from by no more than this share."""
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


def robust_sigma(residuals: NDArray[np.floating]) -> float:
    """Standard deviation of normal residuals about 0, by the median of their sizes."""
    return 1.4826 * median(np.abs(residuals))


def share(true: NDArray[np.bool_]) -> float:
    """Of all that is true."""
    return int(np.count_nonzero(true)) / true.size


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
def median_near(values: FloatArray, count: int, guess: float, some: FloatArray) -> float:
    """`median_of_first` of values above 0, in a third of its time where it is near a guess; in that case they stay.

    Args:
        some: (N,) or more, written over.
    """
    low, high, below, between = guess * (1 - _NEAR), guess * (1 + _NEAR), 0, 0
    for i in range(count):
        value = values[i]
        some[between] = value
        below += value < low
        between += (value >= low) & (value <= high)
    upper, lower = count // 2 - below, (count - 1) // 2 - below  # the one or two in the middle, among those between
    if lower < 0 or upper >= between:
        return median_of_first(values, count)
    high = smallest_of_first(some, between, upper)
    return high if upper == lower else (largest(some[:upper]) + high) / 2


@inner
def median_is_below(values: FloatArray, count: int, limit: float) -> bool:
    """Whether that of the first so many is; most often without looking for it."""
    below = 0
    for i in range(count):
        below += values[i] < limit
    if below == count // 2 and count % 2 == 0:  # one of the two in the middle is, and the other one is not
        return median_of_first(values, count) < limit
    return below > count // 2


@inner
def percentile_of_first(values: FloatArray, count: int, percent: float) -> float:
    """Of the first so many, as `percentile`; they are put into another order."""
    low, high, share = neighbours_of_first(values, count, percent)
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


@inner
def neighbours_of_first(values: FloatArray, count: int, percent: float) -> tuple[float, float, float]:
    """The two of the first so many between which a percentile is, and how far from one to the other, as a share."""
    place = (count - 1) * (percent / 100)
    below = int(place)
    low = smallest_of_first(values, count, below)
    high = low if below + 1 >= count else values[below + 1]
    for i in range(below + 2, count):  # of those that are no smaller than it
        high = min(high, values[i])
    return low, high, place - below


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
