"""The smallest rectangle around an outline, with the outermost points, which are noise, left out."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

FloatArray = NDArray[np.float64]
Sides = tuple[FloatArray, FloatArray, FloatArray]
"""Of a rectangle: their directions (2, 2) as rows, and lower and upper bounds (2,) along these."""

_LEFT_OUT = 0.001
"""Extents leave out this share of the points at either end, as percentiles do: between two of them."""
_ALIKE = 1e-6
"""Sides that differ by no larger share are as long: of those around what is round the last bit of a sum would tell."""


def smallest_rectangle(points: FloatArray, turn: float | None = None) -> Sides:
    """The rectangle of least area around (N, 2) points, or the one that is turned by so many radians.

    Returns:
        axes: (2, 2), its sides' directions as rows, right-handed, the longer side first; of a square that which lies in
            the direction of the turn.
        low, high: (2,) bounds of the points along those axes.

    Raises:
        ValueError: there is no point.
    """
    if not len(points):
        raise ValueError("no rectangle lies around no points")
    if turn is None:
        turn = math.radians(cv2.minAreaRect(_outermost(points, True))[2])
    cosine, sine = math.cos(turn), math.sin(turn)
    low_x, high_x, low_y, high_y = _extents(points, cosine, sine)
    if high_y - low_y > (1 + _ALIKE) * (high_x - low_x):
        return np.array([[-sine, cosine], [-cosine, -sine]]), np.array([low_y, -high_x]), np.array([high_y, -low_x])
    return np.array([[cosine, sine], [-sine, cosine]]), np.array([low_x, low_y]), np.array([high_x, high_y])


def area_of(sides: Sides) -> float:
    """Of a rectangle; for two numbers NumPy's product takes longer."""
    first, second = (sides[2] - sides[1]).tolist()
    return float(first * second)


def convex_hull(points: FloatArray) -> NDArray[np.float32]:
    """The corners (E, 1, 2) of the convex hull of (N, 2) points, as OpenCV has them."""
    return cv2.convexHull(_outermost(points, False))


@kernel("float64[:, :]", "boolean")
def _outermost(points: FloatArray, centred: bool) -> NDArray[np.float32]:
    """Points (N, 2) but for most of those that are on no convex hull, in their order.

    Those lie inside the octagon of the outermost points in eight directions (Akl and Toussaint, 1978).

    Args:
        centred: whether from their mean, where float32 is fine enough.
    """
    count, mean_x, mean_y = len(points), 0.0, 0.0
    if centred:
        for i in range(count):
            mean_x += points[i, 0]
            mean_y += points[i, 1]
    x, y = np.empty(count, np.float32), np.empty(count, np.float32)
    corners, farthest = np.zeros(8, np.int64), np.full(8, -np.inf)
    for i in range(count):
        x[i], y[i] = points[i, 0] - mean_x / count, points[i, 1] - mean_y / count
        own_x, own_y = float(x[i]), float(y[i])
        reaches = (own_x, own_x + own_y, own_y, own_y - own_x, -own_x, -own_x - own_y, -own_y, own_x - own_y)
        for k in range(8):
            if reaches[k] > farthest[k]:
                corners[k], farthest[k] = i, reaches[k]
    inside, has_sides = np.ones(count, np.bool_), False  # without any, all points are one
    for k in range(8):
        here, there = corners[k], corners[(k + 1) % 8]
        if x[here] != x[there] or y[here] != y[there]:
            has_sides = True
            # In 64 bits, which float() is not in a kernel: the direction is no multiple of what 32 bits can tell.
            from_x, from_y = np.float64(x[here]), np.float64(y[here])
            _keep_left_of(x, y, from_x, from_y, np.float64(x[there]), np.float64(y[there]), inside)
    outermost, left = np.empty((count, 2), np.float32), 0
    for i in range(count):
        outermost[left, 0], outermost[left, 1] = x[i], y[i]
        left += not (inside[i] and has_sides)
    return outermost[:left]


# A loop without branches over arrays of their own, which the processor does for several points at a time.
@inner
def _keep_left_of(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    from_x: float,
    from_y: float,
    to_x: float,
    to_y: float,
    kept: NDArray[np.bool_],
) -> None:
    """Unsets those of the points (N,) that are not to the left of the line from one place to another."""
    along_x, along_y = to_x - from_x, to_y - from_y
    for i in range(len(x)):
        kept[i] &= along_x * (np.float64(y[i]) - from_y) - along_y * (np.float64(x[i]) - from_x) > 0


@kernel("float64[:, :]", "float64", "float64")
def _extents(points: FloatArray, cosine: float, sine: float) -> tuple[float, float, float, float]:
    """From where to where (N, 2) points reach in the direction of an angle, and at a right angle to that."""
    low_x, high_x = _extent(points, cosine, sine)
    low_y, high_y = _extent(points, -sine, cosine)
    return low_x, high_x, low_y, high_y


@inner
def _extent(points: FloatArray, along_x: float, along_y: float) -> tuple[float, float]:
    """From where to where (N, 2) points reach in a direction."""
    last = len(points) - 1
    place = last * _LEFT_OUT
    below = int(place)
    few = min(below + 2, last + 1)
    lowest, highest = np.full(few, np.inf), np.full(few, np.inf)
    for i in range(last + 1):
        value = along_x * points[i, 0] + along_y * points[i, 1]
        _keep_least(lowest, value)
        _keep_least(highest, -value)
    share = place - below
    low, next_low = lowest[below], lowest[min(below + 1, few - 1)]
    high, next_high = -highest[below], -highest[min(below + 1, few - 1)]
    return low + (next_low - low) * share, high + (next_high - high) * share


@inner
def _keep_least(least: FloatArray, value: float) -> None:
    """Puts a value among the least ones, in ascending order, where it is one of them."""
    if value >= least[-1]:
        return
    k = len(least) - 1
    while k > 0 and least[k - 1] > value:
        least[k] = least[k - 1]
        k -= 1
    least[k] = value
