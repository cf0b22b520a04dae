"""Solids: the volume behind a measured surface, as a body of revolution or as columns that stand on the support."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import dot, length
from instance_seg_ros.lifting.completion import pixels_of
from instance_seg_ros.lifting.order_statistics import median, percentile, percentiles

FloatArray = NDArray[np.float64]

_BINS = 20
_MIN_BIN_POINTS = 4
_MIN_SIDE_POINTS = 60
_SIDE_SLOPE = 0.4
"""A point is on the side of a body when the horizontal part of its normal is longer than this."""
_FIT_STEPS = 3
_ROUND_RATIO = 0.035
_ROUND_M = 0.001
"""A body is one of revolution when its radii at a height scatter by less than the sum of these, the ratio times its
radius; those of a cube scatter by a tenth."""
_MIN_TURN_DEG = 70.0
"""A body of revolution shows normals over at least this angle; a narrower strip of it could be anything."""
_FREE_SHARE = 0.1
_FREE_M = 0.01
_INSIDE = 0.85
_RING = 48
_ANGLES = np.arange(_RING) * 2 * np.pi / _RING
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_INNER_SHARE = 0.04
"""A body is hollow when so many of its side points look towards its axis."""
_MIN_WALL_M, _WALL_M = 0.0015, 0.003
"""Walls are no thinner than the first; where only one side of a wall is seen, it is as thick as the second."""
_ELLIPSE_RATIO = 0.08
_GRID = 24
_MIN_CELL_M = 0.002


@dataclass(frozen=True, eq=False)
class Body:
    """What was measured of an object, in a frame whose z is up and 0 on the support (or at its own lowest point).

    Attributes:
        points_m: (N, 3) smoothed points.
        normals: (N, 3) unit, towards the camera; zeros where unknown.
        top_m: its height.
        basis, origin_m: camera coordinates are basis @ (x, y, z) + origin_m.
    """

    points_m: FloatArray
    normals: FloatArray
    top_m: float
    basis: FloatArray
    origin_m: FloatArray

    def in_camera(self, points_m: FloatArray) -> FloatArray:
        """(..., 3) points in the camera's optical frame."""
        return points_m @ self.basis.T + self.origin_m


@dataclass(frozen=True, eq=False)
class Revolution:
    """A body of revolution about a vertical axis.

    Attributes:
        axis_m: (2,) where the axis stands.
        heights_m, radii_m: (K,) the outer profile, from the bottom to the top, equally spaced.
        inner_m: (K,) radii of its cavity that opens upwards, 0 where there is none.
        scatter_m: standard deviation of the measured points about it.
    """

    axis_m: FloatArray
    heights_m: FloatArray
    radii_m: FloatArray
    inner_m: FloatArray
    scatter_m: float

    @property
    def centre_m(self) -> FloatArray:
        """(3,) centre of the volume."""
        areas = np.maximum(self.radii_m**2 - self.inner_m**2, 1e-12)
        return np.array([*self.axis_m, float((areas * self.heights_m).sum() / areas.sum())])

    def outline_m(self) -> FloatArray:
        """(R, 2) the outline seen from above."""
        return self.axis_m + self.radii_m.max() * _CIRCLE

    def inner_surface_m(self) -> FloatArray:
        """(K, R, 3) points all around, a little inside of it, where an outline's noise does not reach."""
        flat_m = self.axis_m + _INSIDE * self.radii_m[:, None, None] * _CIRCLE[::2]
        return np.concatenate([flat_m, np.broadcast_to(self.heights_m[:, None, None], (*flat_m.shape[:2], 1))], axis=2)


def fit_revolution(body: Body, frame: RgbdFrame, mask: NDArray[np.bool_]) -> Revolution | None:
    """The body of revolution about a vertical axis that an object is, or None for others.

    The axis is where horizontal normals meet, then that about which radii at equal heights scatter least (Gauss and
    Newton's method on the scatter within bins of height); the profile is free. Refuted where the camera sees free space
    inside of it.

    Args:
        mask: (H, W) bool, of the object.
    """
    flat_m, heights_m = body.points_m[:, :2], body.points_m[:, 2]
    across = body.normals[:, :2]
    steep = length(across)
    side = steep > _SIDE_SLOPE
    if np.count_nonzero(side) < _MIN_SIDE_POINTS or body.top_m <= 0:
        return None
    flat_m, heights_m, across = flat_m[side], heights_m[side], across[side] / steep[side, None]
    axis_m = _meeting_point(flat_m, across)
    if axis_m is None:
        return None
    inward = dot(flat_m - axis_m, across) < 0
    outward = np.where(inward[:, None], -across, across)
    if _turn_deg(outward) < _MIN_TURN_DEG:
        return None
    bins = np.clip((heights_m / body.top_m * _BINS).astype(np.int64), 0, _BINS - 1)
    found = _least_scatter(flat_m, bins + _BINS * inward, axis_m)
    if found is None:
        return None
    axis_m, scatter_m = found
    radii_m = length(flat_m - axis_m)
    hollow = np.count_nonzero(inward) > _INNER_SHARE * len(inward)
    inner_m = _profile(bins[inward], radii_m[inward]) if hollow else None
    outer_m = _profile(bins[~inward], radii_m[~inward])
    if outer_m is not None and inner_m is None:
        outer_m = _with_top(outer_m, body, axis_m, int(bins[~inward].max()))
    if outer_m is None and inner_m is not None:  # from above a bowl shows nothing but its inside
        outer_m = inner_m + _WALL_M
    if outer_m is None or scatter_m > _ROUND_M + _ROUND_RATIO * median(radii_m):
        return None
    middles_m = (np.arange(_BINS) + 0.5) / _BINS * body.top_m
    cavity_m = _cavity(body, axis_m, outer_m, inner_m, middles_m)
    revolution = Revolution(axis_m, middles_m, _as_ellipse(outer_m), cavity_m, scatter_m)
    return None if _sees_through(body.in_camera(revolution.inner_surface_m()), frame, mask) else revolution


def _with_top(profile_m: FloatArray, body: Body, axis_m: FloatArray, highest: int) -> FloatArray:
    """The profile with radii of what lies above the highest bin that has side points: a top that bends or is flat."""
    radii_m = length(body.points_m[:, :2] - axis_m)
    bins = np.clip((body.points_m[:, 2] / body.top_m * _BINS).astype(np.int64), 0, _BINS - 1)
    for index in range(highest + 1, _BINS):
        own_m = radii_m[bins == index]
        if len(own_m) >= _MIN_BIN_POINTS:
            profile_m[index] = percentile(own_m, 95)
    return profile_m


def _as_ellipse(profile_m: FloatArray) -> FloatArray:
    """The profile of a ball that rests on the support, when its upper part is one; its lower part is hidden."""
    places = 2 * (np.arange(_BINS) + 0.5) / _BINS - 1
    ellipse_m = profile_m.max() * np.sqrt(1 - places**2)
    upper = places > -0.3
    like = percentile(np.abs(profile_m - ellipse_m)[upper], 80) < _ELLIPSE_RATIO * profile_m.max()
    return np.asarray(ellipse_m if like else profile_m)


def _meeting_point(flat_m: FloatArray, across: FloatArray) -> FloatArray | None:
    """The point (2,) to which lines through points along their normals come nearest; None where they are parallel."""
    tangent_x, tangent_y = -across[:, 1], across[:, 0].copy()
    offset_m = tangent_x * flat_m[:, 0] + tangent_y * flat_m[:, 1]
    weight = np.ones(len(flat_m))
    point_m = None
    for _ in range(_FIT_STEPS):
        solved_m = _least_squares(tangent_x, tangent_y, offset_m, weight, 0.02)
        if solved_m is None:
            return point_m
        point_m = solved_m
        distance_m = np.abs(tangent_x * point_m[0] + tangent_y * point_m[1] - offset_m)
        weight = 1 / np.maximum(distance_m, 0.003)
    return point_m


def _least_squares(
    first: FloatArray, second: FloatArray, values: FloatArray, weight: FloatArray, least_share: float
) -> FloatArray | None:
    """The (2,) factors with which two columns (N,) sum up to values (N,), or None where these hardly tell them.

    Args:
        weight: (N,) of the squared errors.
        least_share: the least eigenvalue that the normal matrix must have, as a share of the sum of the weights.
    """
    weighted_first, weighted_second = weight * first, weight * second
    a, b, c = float(weighted_first @ first), float(weighted_first @ second), float(weighted_second @ second)
    if (a + c) / 2 - math.hypot((a - c) / 2, b) < least_share * float(weight.sum()):
        return None
    p, q = float(weighted_first @ values), float(weighted_second @ values)
    determinant = a * c - b * b
    return np.array([c * p - b * q, a * q - b * p]) / determinant


def _turn_deg(across: FloatArray) -> float:
    """The angle over which most horizontal directions are spread."""
    mean = across.mean(axis=0)
    around = np.arctan2(across[:, 1], across[:, 0]) - np.arctan2(mean[1], mean[0])
    around = (around + np.pi) % (2 * np.pi) - np.pi
    low, high = percentiles(around, 5, 95)
    return float(np.degrees(high - low))


def _least_scatter(flat_m: FloatArray, bins: NDArray[np.int64], axis_m: FloatArray) -> tuple[FloatArray, float] | None:
    """The axis about which the radii within each bin scatter least, and their robust scatter."""
    weight = np.ones(len(flat_m))
    for _ in range(_FIT_STEPS):
        offset_m = flat_m - axis_m
        radii_m = np.maximum(length(offset_m), 1e-6)
        total = np.maximum(np.bincount(bins, weight, _BINS), 1e-9)
        departure_m, centred_x, centred_y = (
            values - (np.bincount(bins, weight * values, _BINS) / total)[bins]
            for values in (radii_m, offset_m[:, 0] / radii_m, offset_m[:, 1] / radii_m)
        )
        step_m = _least_squares(centred_x, centred_y, departure_m, weight, 1e-3)
        if step_m is None:
            return None
        axis_m = axis_m + step_m
        scatter_m = 1.4826 * median(np.abs(departure_m))
        weight = 1 / np.maximum(np.abs(departure_m), max(2 * scatter_m, 1e-4))
        weight /= weight.max()
    return axis_m, percentile(np.abs(departure_m), 80) / 1.2816  # a handle's points are no noise


def _profile(bins: NDArray[np.int64], radii_m: NDArray[np.floating]) -> FloatArray | None:
    """(K,) median radius of each bin; between bins and beyond the last ones goes on as its neighbours do."""
    counts = np.bincount(bins, minlength=_BINS)
    known = np.flatnonzero(counts >= _MIN_BIN_POINTS)
    if len(known) < 2:
        return None
    ordered_m = radii_m[np.argsort(bins * (1 + 2 * radii_m.max()) + radii_m)]  # by bin, then by radius
    values_m = ordered_m[(np.cumsum(counts) - counts + counts // 2)[known]]
    profile_m = np.interp(np.arange(_BINS), known, values_m)
    low = known[: min(4, len(known))]
    places = low - low.mean()
    slope = float(places @ profile_m[low]) / float(places @ places)
    below = np.arange(known[0])
    # A body that narrows towards its foot goes on to narrow; one that widens stands on what is its widest yet.
    profile_m[: known[0]] = np.maximum(profile_m[known[0]] - max(slope, 0) * (known[0] - below), 0)
    return np.asarray(profile_m)


def _cavity(
    body: Body, axis_m: FloatArray, outer_m: FloatArray, inner_m: FloatArray | None, heights_m: FloatArray
) -> FloatArray:
    """(K,) radii of the cavity by the profile of its walls, down to the floor that is seen in it; 0 without one."""
    if inner_m is None:
        return np.zeros(_BINS)
    level = body.normals[:, 2] > 1 - _SIDE_SLOPE / 2
    from_axis_m = length(body.points_m[:, :2] - axis_m)
    floor = level & (from_axis_m < 0.6 * inner_m.max()) & (body.points_m[:, 2] < 0.9 * body.top_m)
    floor_m = median(body.points_m[floor, 2]) if np.count_nonzero(floor) >= _MIN_BIN_POINTS else _WALL_M
    return np.where(heights_m > floor_m, np.clip(inner_m, 0, np.maximum(outer_m - _MIN_WALL_M, 0)), 0)


def _sees_through(points_m: FloatArray, frame: RgbdFrame, mask: NDArray[np.bool_]) -> bool:
    """Whether the camera sees free space at a good part of points of the camera's frame."""
    rows, columns, inside = pixels_of(points_m, frame)
    seen_m = frame.depth_m[rows, columns]
    free = inside & (seen_m > points_m[..., 2] + _FREE_M) & ~mask[rows, columns]
    return bool(free.mean() > _FREE_SHARE)


def centre_of_columns_m(
    body: Body, axes: FloatArray, low_m: FloatArray, high_m: FloatArray, frame: RgbdFrame, mask: NDArray[np.bool_]
) -> FloatArray:
    """Centre (3,) of the volume below the measured surface and above the support.

    The outline's rectangle is divided into columns. A column is as high as what was measured in it; where nothing was,
    it is empty if the camera sees the support there, and otherwise as high as its counterpart by half a turn, or as the
    object if that is hidden, too.

    Args:
        axes: (2, 2) directions of the rectangle's sides as rows.
        low_m, high_m: (2,) its bounds along them.
    """
    size_m = np.maximum(high_m - low_m, _MIN_CELL_M)
    counts = np.clip(
        (size_m / _MIN_CELL_M).astype(np.int64), 1, np.ceil(_GRID * size_m / size_m.max()).astype(np.int64)
    )
    places = np.clip(((body.points_m[:, :2] @ axes.T - low_m) / size_m * counts).astype(np.int64), 0, counts - 1)
    tops_m = np.full(counts[0] * counts[1], -np.inf)
    np.maximum.at(tops_m, places[:, 0] * counts[1] + places[:, 1], body.points_m[:, 2])
    tops_m = tops_m.reshape(counts)
    across_m, along_m = (low_m[k] + (np.arange(counts[k]) + 0.5) / counts[k] * size_m[k] for k in (0, 1))
    flat_m = np.stack(np.meshgrid(across_m, along_m, indexing="ij"), axis=-1) @ axes
    seen = np.isfinite(tops_m)
    # The middle height of a column tells better than its foot, which noise of the support may hide.
    middle_m = np.concatenate([flat_m, np.full((*counts, 1), 0.5 * body.top_m)], axis=-1)
    middle_m = body.in_camera(middle_m)
    rows, columns, inside = pixels_of(middle_m, frame)
    empty = inside & ~mask[rows, columns] & (frame.depth_m[rows, columns] > middle_m[..., 2])
    turned = np.where(empty, 0, np.where(seen, tops_m, np.nan))[::-1, ::-1]
    filled_m = np.where(seen, tops_m, np.where(empty, 0, np.where(np.isnan(turned), body.top_m, turned)))
    filled_m = np.clip(filled_m, 0, body.top_m)
    total = filled_m.sum()
    if total <= 0:
        return np.array([*((low_m + high_m) / 2 @ axes), body.top_m / 2])
    flat = (flat_m * filled_m[..., None]).sum(axis=(0, 1)) / total
    return np.array([*flat, float((filled_m**2).sum() / (2 * total))])
