"""Completion: what a single view cannot show of an object, as far as its shape and the support plane tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.lifting.order_statistics import percentile_of_first
from instance_seg_ros.lifting.sections import fit_resting_ellipse
from instance_seg_ros.lifting.solid import Body

FloatArray = NDArray[np.float64]

_PROFILE_SHARE = 0.1
"""Half the thickness of the slice that a profile is taken from, as a share of the body's width."""
_TRIM_PERCENT = 0.1
_LEAST_DEPTH_M = 1e-3


def hidden_from_view(points_m: FloatArray, frame: RgbdFrame, tolerance_m: float = 0.005) -> NDArray[np.bool_]:
    """Which of (..., 3) points the camera does not see, (...) bool.

    Those are behind what it measured (by more than minus the tolerance), where it measured nothing, or outside the
    image.
    """
    rows, columns, inside = pixels_of(points_m, frame)
    seen_m = frame.depth_m[rows, columns]
    return ~inside | (points_m[..., 2] <= _LEAST_DEPTH_M) | (seen_m == 0) | (points_m[..., 2] > seen_m - tolerance_m)


def pixels_of(points_m: FloatArray, frame: RgbdFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """The pixels that (..., 3) points fall into.

    Returns:
        rows, columns: (...) int64, those of some pixel where a point is outside the image.
        inside: (...) bool; what is beside or behind the camera counts as 1 mm in front of it.
    """
    camera, shape = frame.intrinsics, points_m.shape[:-1]
    places, inside = np.empty((2, math.prod(shape)), dtype=np.int64), np.empty(math.prod(shape), dtype=bool)
    flat_m = np.ascontiguousarray(points_m, dtype=np.float64).reshape(-1, 3)
    _project(flat_m, camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, places, inside)
    return places[0].reshape(shape), places[1].reshape(shape), inside.reshape(shape)


@kernel(
    *("float64[:, ::1]", "int64", "int64", "float64", "float64", "float64", "float64"),
    *("int64[:, ::1]", "boolean[::1]"),
    writes=("places", "inside"),
)
def _project(
    points_m: NDArray[np.float64],
    width: int,
    height: int,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    places: NDArray[np.int64],
    inside: NDArray[np.bool_],
) -> None:
    """Rows and columns (2, N) of `pixels_of`, and which are inside."""
    for i in range(len(points_m)):
        depth_m = points_m[i, 2]
        if depth_m < _LEAST_DEPTH_M:
            depth_m = _LEAST_DEPTH_M
        column, row = np.rint(points_m[i, 0] / depth_m * fx + cx), np.rint(points_m[i, 1] / depth_m * fy + cy)
        inside[i] = 0 <= column < width and 0 <= row < height  # not for NaN
        places[0, i], places[1, i] = (int(row), int(column)) if inside[i] else (0, 0)


def far_side_of_round_body(body: Body, frame: RgbdFrame, long_axis: FloatArray) -> FloatArray:
    """The far side of a round body, as its near side turned by half a turn about the vertical; empty for other bodies.

    A box or an upright can shows its whole outline in its top face, a ball or a lying can does not: its surface turns
    out of sight before the outline's far end. Where its upright profile (along the line of sight, or across a long
    body) is an ellipse that rests on the plane, its middle is known. Turned points that the camera would see in front
    of what it measured are refuted.

    Args:
        long_axis: (2,) direction of the outline's longer side, in the first two axes of the body's frame.

    Returns:
        (M, 3) points in the body's frame, of which it has M or more.
    """
    along_sight = _mean_of(body.points_m) + body.origin_m @ body.basis[:, :2]  # from below the camera
    longer_x, longer_y = long_axis.tolist()
    middles = [
        _middle_of_round_profile(body.points_m, along) for along in (along_sight.tolist(), (-longer_y, longer_x))
    ]
    departure_m, middle_m = min(middles, key=lambda middle: middle[0])
    if math.isinf(departure_m):
        return np.zeros((0, 3))
    turned_m = body.points_m * (-1.0, -1.0, 1.0) + (2 * middle_m[0], 2 * middle_m[1], 0.0)
    return turned_m[hidden_from_view(body.in_camera(turned_m), frame)]


@kernel("float64[:, ::1]")
def _mean_of(points_m: FloatArray) -> FloatArray:
    """The mean (2,) of the first two coordinates of (N, 3) points."""
    mean_m = np.zeros(2)
    for n in range(len(points_m)):
        mean_m[0] += points_m[n, 0]
        mean_m[1] += points_m[n, 1]
    return mean_m / len(points_m)


def _middle_of_round_profile(points_m: FloatArray, along: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """How far a body's upright profile in a direction departs from an ellipse (or inf), and its middle by that."""
    length = math.hypot(*along)
    if length < 1e-6:  # seen from straight above there is no direction, and nothing of the outline is hidden
        return math.inf, (0.0, 0.0)
    along_x, along_y = along[0] / length, along[1] / length
    middle_m, along_m, profile_m = _profile(points_m, along_x, along_y)
    centre_m, departure_m = fit_resting_ellipse(along_m, profile_m)
    return departure_m, (centre_m * along_x - middle_m * along_y, centre_m * along_y + middle_m * along_x)


@kernel("float64[:, ::1]", "float64", "float64")
def _profile(points_m: FloatArray, along_x: float, along_y: float) -> tuple[float, FloatArray, FloatArray]:
    """The thin slice along a direction through the middle of a body.

    Returns:
        Where that is across the direction; the places along it and the heights (M,) of the points (N, 3) in the slice.
    """
    count = len(points_m)
    across_m, values = np.empty(count), np.empty(count)
    for n in range(count):
        across_m[n] = points_m[n, 1] * along_x - points_m[n, 0] * along_y
        values[n] = across_m[n]
    left_m = percentile_of_first(values, count, _TRIM_PERCENT)
    right_m = percentile_of_first(values, count, 100 - _TRIM_PERCENT)
    middle_m, reach_m = (left_m + right_m) / 2, _PROFILE_SHARE * (right_m - left_m)
    along_m, profile_m, chosen = np.empty(count), np.empty(count), 0
    for n in range(count):
        if abs(across_m[n] - middle_m) < reach_m:
            along_m[chosen], profile_m[chosen] = points_m[n, 0] * along_x + points_m[n, 1] * along_y, points_m[n, 2]
            chosen += 1
    return middle_m, along_m[:chosen].copy(), profile_m[:chosen].copy()
