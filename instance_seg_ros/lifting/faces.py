"""Upright faces of a box: which way they are turned and where they are, by all points on them, not by the outermost.

The outermost points are a camera's noise, which neighbours share, so that no smoothing takes it away: a rectangle
around them is turned by some degrees, and its near sides lie in front of the faces. On a face there are many points,
and little of the noise is left in their mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.order_statistics import median_of_first
from instance_seg_ros.lifting.rectangle import area_of, smallest_rectangle
from instance_seg_ros.lifting.solid import Body

FloatArray = NDArray[np.float64]

_STEEP, _MIN_FACE_POINTS, _MIN_FACE_SHARE = 0.9, 30, 0.1
"""The upright faces of a box are those points whose normals are level within 26 degrees, if there are so many."""
_SURE, _LIKELY, _AS_SMALL = 0.85, 0.6, 1.1
"""The normals are those of a box when the fourth powers of their directions, as complex numbers, have a mean of the
first length; of the second, when a rectangle that is turned like them is hardly larger than the smallest."""
_TRIMMED, _NEVER_TRIMMED_M = 2.5, 1e-4
"""Of a face count the points within so many standard deviations of its median, and all within the second."""
_LINE_STEPS = 2
_OUTER = 0.3
"""A face is on the outside when it is nearer to the bound than this share of the side: others are those of a notch."""
_FLAT, _FLAT_M = 0.02, 0.001
"""A face is flat when its points scatter by less than this share of the side and the second; of what is curved the
outermost counts."""
_NOISE, _NOISE_M, _FEW = 3.0, 0.002, 0.003
"""What is farther from a flat face than so many standard deviations and the second sticks out of it, where it is more
than this share of the points; fewer, and all that was not measured, are what a mask covers beside the object."""


@dataclass(frozen=True, eq=False)
class Rectangle:
    """A rectangle seen from above.

    Attributes:
        axes: (2, 2), its sides' directions as rows, the longer side first, right-handed.
        low_m, high_m: (2,) bounds along those axes.
        by_faces: whether upright faces tell how it is turned.
    """

    axes: FloatArray
    low_m: FloatArray
    high_m: FloatArray
    by_faces: bool


def rectangle_around(outline_m: FloatArray, body: Body) -> Rectangle:
    """The rectangle around an outline (N, 2), N > 0, in a body's frame, by the body's upright faces where it has some.

    The smallest rectangle around two faces of a box whose top is not seen may lie across its corner.
    """
    length, turn = _fourfold_turn(body.normals)
    axes, low_m, high_m = smallest_rectangle(outline_m, turn if length > _SURE else None)
    if length <= _LIKELY:
        return Rectangle(axes, low_m, high_m, False)
    if length <= _SURE:
        turned = smallest_rectangle(outline_m, turn)
        if area_of(turned) > _AS_SMALL * area_of((axes, low_m, high_m)):
            return Rectangle(axes, low_m, high_m, False)
        axes, low_m, high_m = turned
    turn = _turn_of_lines(body.points_m, body.normals, np.ascontiguousarray(axes), low_m, high_m)
    axes, low_m, high_m = smallest_rectangle(outline_m, turn)
    _move_to_faces(body.points_m, body.normals, np.ascontiguousarray(axes), low_m, high_m)
    return Rectangle(axes, low_m, high_m, True)


@kernel("float64[:, ::1]")
def _fourfold_turn(normals: FloatArray) -> tuple[float, float]:
    """How far the level ones of the normals (N, 3) point in four directions at right angles, and which these are.

    The length of the mean of the fourth powers of their directions, as complex numbers, and a quarter of its angle; 0
    where too few are level.
    """
    count, real, imaginary = 0, 0.0, 0.0
    for n in range(len(normals)):
        x, y = normals[n, 0], normals[n, 1]
        square = x * x + y * y
        if square > _STEEP**2:
            twice_x, twice_y = (x * x - y * y) / square, 2 * x * y / square
            real += twice_x * twice_x - twice_y * twice_y
            imaginary += 2 * twice_x * twice_y
            count += 1
    if count < max(_MIN_FACE_POINTS, _MIN_FACE_SHARE * len(normals)):
        return 0.0, 0.0
    return math.sqrt(real * real + imaginary * imaginary) / count, math.atan2(imaginary, real) / 4


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "float64[::1]")
def _turn_of_lines(
    points_m: FloatArray, normals: FloatArray, axes: FloatArray, low_m: FloatArray, high_m: FloatArray
) -> float:
    """The turn for which points (N, 3) on faces, seen from above, lie on lines at right angles, by least squares.

    Args:
        axes, low_m, high_m: (2, 2), (2,) and (2,) of a rectangle that is turned nearly so.
    """
    turn = math.atan2(axes[0, 1], axes[0, 0])
    places = np.empty(len(points_m), np.int64)
    away_m, values = np.empty(len(points_m)), np.empty(len(points_m))
    for _ in range(_LINE_STEPS):
        slope, spread = 0.0, 0.0
        for side in range(4):
            axis = side % 2
            bound_m = high_m[axis] if side < 2 else -low_m[axis]
            least_m = bound_m - _OUTER * (high_m[axis] - low_m[axis])
            out_x, out_y = math.cos(turn + side * math.pi / 2), math.sin(turn + side * math.pi / 2)
            count = _on_face(points_m, normals, out_x, out_y, least_m, places, away_m)
            if count < _MIN_FACE_POINTS:
                continue
            middle_m, scatter_m = _middle_and_scatter(away_m, count, values)
            reach_m, few, mean_along_m, mean_away_m = _TRIMMED * scatter_m + _NEVER_TRIMMED_M, 0, 0.0, 0.0
            for k in range(count):
                if abs(away_m[k] - middle_m) <= reach_m:
                    few += 1
                    mean_along_m += points_m[places[k], 1] * out_x - points_m[places[k], 0] * out_y
                    mean_away_m += away_m[k]
            mean_along_m, mean_away_m = mean_along_m / few, mean_away_m / few
            for k in range(count):
                if abs(away_m[k] - middle_m) <= reach_m:
                    along_m = points_m[places[k], 1] * out_x - points_m[places[k], 0] * out_y - mean_along_m
                    slope += along_m * (away_m[k] - mean_away_m)
                    spread += along_m * along_m
        if spread > 0:
            turn -= math.atan2(slope, spread)
    return turn


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "float64[::1]"),
    writes=("low_m", "high_m"),
)
def _move_to_faces(
    points_m: FloatArray, normals: FloatArray, axes: FloatArray, low_m: FloatArray, high_m: FloatArray
) -> None:
    """Moves the bounds (2,) of a rectangle on to the flat faces of a body whose points and normals are (N, 3)."""
    places = np.empty(len(points_m), np.int64)
    away_m, values = np.empty(len(points_m)), np.empty(len(points_m))
    for axis in range(2):
        side_m = high_m[axis] - low_m[axis]
        for sign in (-1.0, 1.0):
            bound_m = high_m[axis] if sign > 0 else -low_m[axis]
            out_x, out_y = sign * axes[axis, 0], sign * axes[axis, 1]
            count = _on_face(points_m, normals, out_x, out_y, bound_m - _OUTER * side_m, places, away_m)
            if count < _MIN_FACE_POINTS:
                continue
            middle_m, scatter_m = _middle_and_scatter(away_m, count, values)
            farther_m, farther = middle_m + _NOISE * scatter_m + _NOISE_M, 0
            for n in range(len(points_m)):
                farther += points_m[n, 0] * out_x + points_m[n, 1] * out_y > farther_m
            is_flat = scatter_m < _FLAT * side_m + _FLAT_M
            if is_flat and bound_m > middle_m and farther <= _FEW * len(points_m):
                if sign > 0:
                    high_m[axis] = middle_m
                else:
                    low_m[axis] = -middle_m


@inner
def _on_face(
    points_m: FloatArray,
    normals: FloatArray,
    out_x: float,
    out_y: float,
    least_m: float,
    places: NDArray[np.int64],
    away_m: FloatArray,
) -> int:
    """How many points (N, 3) have a level normal within 26 degrees of a direction and are farther along it than that.

    Args:
        places, away_m: (N,) filled with their indices and how far along it they are.
    """
    count = 0
    for n in range(len(points_m)):
        x, y = normals[n, 0], normals[n, 1]
        level = math.sqrt(x * x + y * y)
        own_m = points_m[n, 0] * out_x + points_m[n, 1] * out_y
        if level > _STEEP and x * out_x + y * out_y > _STEEP * level and own_m > least_m:
            places[count], away_m[count] = n, own_m
            count += 1
    return count


@inner
def _middle_and_scatter(away_m: FloatArray, count: int, values: FloatArray) -> tuple[float, float]:
    """The median of the first so many, and their standard deviation by the median of the distances from that.

    Args:
        values: (N,) or more, to work with.
    """
    values[:count] = away_m[:count]
    middle_m = median_of_first(values, count)
    for k in range(count):
        values[k] = abs(away_m[k] - middle_m)
    return middle_m, 1.4826 * median_of_first(values, count)
