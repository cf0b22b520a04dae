"""Completion: what a single view cannot show of an object, as far as its shape and the support plane tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import FloatArray, Plane
from instance_seg_ros.lifting.order_statistics import percentile, percentiles

_PROFILE_SHARE = 0.1
"""Half the thickness of the slice that a profile is taken from, as a share of the body's width."""
_MIN_PROFILE_POINTS = 15
_FIT_STEPS = 3
_MAX_ASPECT = 2.5
_PROFILE_TOLERANCE_M = 0.0005
_PROFILE_TOLERANCE_RATIO = 0.08
"""A profile is an ellipse when 90 % of it departs from it by less than the sum of these (the second times its size)."""
_TRIM_PERCENT = 0.1


def hidden_from_view(points_m: FloatArray, frame: RgbdFrame, tolerance_m: float = 0.005) -> NDArray[np.bool_]:
    """Which of (..., 3) points the camera does not see, (...) bool.

    Those are behind what it measured (by more than minus the tolerance), where it measured nothing, or outside the
    image.
    """
    rows, columns, inside = pixels_of(points_m, frame)
    seen_m = frame.depth_m[rows, columns]
    return ~inside | (points_m[..., 2] <= 1e-3) | (seen_m == 0) | (points_m[..., 2] > seen_m - tolerance_m)


def pixels_of(points_m: FloatArray, frame: RgbdFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """The pixels that (..., 3) points fall into.

    Returns:
        rows, columns: (...) int64, those of some pixel where a point is outside the image.
        inside: (...) bool; what is beside or behind the camera counts as 1 mm in front of it.
    """
    camera = frame.intrinsics
    depth_m = np.maximum(points_m[..., 2], 1e-3)
    columns = np.round(points_m[..., 0] / depth_m * camera.fx + camera.cx)
    rows = np.round(points_m[..., 1] / depth_m * camera.fy + camera.cy)
    inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    return np.where(inside, rows, 0).astype(np.int64), np.where(inside, columns, 0).astype(np.int64), inside


def far_side_of_round_body(
    points_m: NDArray[np.float64], plane: Plane, frame: RgbdFrame, long_axis: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The far side of a round body, as its near side turned by half a turn about the vertical; empty for other bodies.

    A box or an upright can shows its whole outline in its top face, a ball or a lying can does not: its surface turns
    out of sight before the outline's far end. Where its upright profile (along the line of sight, or across a long
    body) is an ellipse that rests on the plane, its middle is known. Turned points that the camera would see in front
    of what it measured are refuted.

    Args:
        points_m: (N, 3) points of the object above the plane, camera optical frame, little noise.
        long_axis: (3,) horizontal direction of the outline's longer side.

    Returns:
        (M, 3) points, M <= N.
    """
    basis = plane.basis()[:, :2]
    flat_m, heights_m = points_m @ basis, plane.height_m(points_m)
    longer = long_axis @ basis
    middles = [
        _middle_of_round_profile(flat_m, heights_m, along)
        for along in (flat_m.mean(axis=0), np.array([-longer[1], longer[0]]))
    ]
    departure_m, middle_m = min(middles, key=lambda middle: middle[0])
    if np.isinf(departure_m):
        return np.zeros((0, 3))
    turned_m = (2 * middle_m - flat_m) @ basis.T + np.outer(heights_m - plane.offset_m, plane.normal)
    return turned_m[hidden_from_view(turned_m, frame)]


def _middle_of_round_profile(
    flat_m: NDArray[np.float64], heights_m: NDArray[np.floating], along: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """How far a body's upright profile in a direction departs from an ellipse (or inf), and its middle (2,) by that."""
    length = float(np.linalg.norm(along))
    if length < 1e-6:  # seen from straight above there is no direction, and nothing of the outline is hidden
        return np.inf, flat_m[0]
    along = along / length
    across = np.array([-along[1], along[0]])
    along_m, across_m = flat_m @ along, flat_m @ across
    left_m, right_m = percentiles(across_m, _TRIM_PERCENT, 100 - _TRIM_PERCENT)
    slice_ = np.abs(across_m - (left_m + right_m) / 2) < _PROFILE_SHARE * (right_m - left_m)
    centre_m, departure_m = _fit_resting_ellipse(along_m[slice_], heights_m[slice_])
    return departure_m, centre_m * along + (left_m + right_m) / 2 * across


def _fit_resting_ellipse(along_m: NDArray[np.float64], heights_m: NDArray[np.floating]) -> tuple[float, float]:
    """Centre along a profile of the ellipse that reaches from height 0 to the top, and the departure from it (or inf).

    With b = top / 2, s the place along and v the height above b, both in b, the ellipse (s - c)^2 = a^2 (1 - v^2)
    is linear in c, a^2 and c^2. Weights by the gradient turn that algebraic error into a distance, step by step.
    """
    if len(along_m) < _MIN_PROFILE_POINTS:
        return 0.0, np.inf
    origin_m, b = along_m.mean(), percentile(heights_m, 99) / 2
    if b <= 0:
        return 0.0, np.inf
    s, v = (along_m - origin_m) / b, heights_m / b - 1
    terms = np.stack([2 * s, 1 - v**2, -np.ones_like(s)])
    weight = np.ones_like(s)
    for _ in range(_FIT_STEPS):
        weighted = terms * weight
        try:
            centre, a_squared, _ = np.linalg.solve(weighted @ weighted.T, weighted @ (s**2 * weight))
        except np.linalg.LinAlgError:  # all of the profile at one place
            return 0.0, np.inf
        a = np.sqrt(max(a_squared, 0.0))
        if not 1 / _MAX_ASPECT < a < _MAX_ASPECT:
            return 0.0, np.inf
        weight = 1 / np.maximum(np.hypot(s - centre, a * a * v), 1e-3)
    smaller_m = min(a, 1.0) * b
    departure_m = percentile(np.abs(np.hypot((s - centre) / a, v) - 1), 90) * smaller_m
    if departure_m > _PROFILE_TOLERANCE_M + _PROFILE_TOLERANCE_RATIO * smaller_m:
        return 0.0, np.inf
    return float(origin_m + centre * b), departure_m
