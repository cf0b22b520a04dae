"""Solids: the volume behind a measured surface, as a body of revolution or one with oval sections."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

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
_MIN_WALL_M, _WALL_M, _MAX_WALL_M = 0.0015, 0.003, 0.008
"""A wall is as thick as the floor in it, within the first and the last, or as the second where no floor is seen: that
one radius is a little too large and the other too small, no single view tells apart from a shift of the axis."""
_ELLIPSE_RATIO = 0.08
_OVAL = (0.08, 0.75)
"""Bounds of (a^2 - b^2) / (a^2 + b^2) of an oval: below a circle does as well, and above a strip tells nothing."""
_NORMAL_NOISE = 0.1
_OVAL_NORMALS = 0.25
"""Sines: of the error that normals have anyhow, and which 70 % of an oval's may have."""
_GRAZING = 0.45
"""Cosine to the line of sight below which a normal is not trusted."""
_BODY_SHARE = 0.7
"""Bottles have heads, handles and triggers, which are not oval: ovals are fitted to the part below this."""


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
        stretch: (2, 2) of the level sections, which are ellipses: of determinant 1, the identity for circles.
    """

    axis_m: FloatArray
    heights_m: FloatArray
    radii_m: FloatArray
    inner_m: FloatArray
    scatter_m: float
    stretch: FloatArray = field(default_factory=lambda: np.eye(2))

    @property
    def is_round(self) -> bool:
        """Whether its level sections are circles, and not ovals."""
        return bool((self.stretch == np.eye(2)).all())

    @property
    def centre_m(self) -> FloatArray:
        """(3,) centre of the volume."""
        areas = np.maximum(self.radii_m**2 - self.inner_m**2, 1e-12)
        return np.array([*self.axis_m, float((areas * self.heights_m).sum() / areas.sum())])

    def outline_m(self) -> FloatArray:
        """(R, 2) the outline seen from above."""
        return self.axis_m + self.radii_m.max() * _CIRCLE @ self.stretch.T

    def inner_surface_m(self) -> FloatArray:
        """(K, R, 3) points all around, a little inside of it, where an outline's noise does not reach."""
        flat_m = self.axis_m + _INSIDE * self.radii_m[:, None, None] * (_CIRCLE[::2] @ self.stretch.T)
        return np.concatenate([flat_m, np.broadcast_to(self.heights_m[:, None, None], (*flat_m.shape[:2], 1))], axis=2)


def fit_revolution(body: Body, frame: RgbdFrame, mask: NDArray[np.bool_]) -> Revolution | None:
    """The body of revolution about a vertical axis that an object is, or one with oval sections, or None for others.

    The axis is where horizontal normals meet, then that about which radii at equal heights scatter least (Gauss and
    Newton's method on the scatter within bins of height); the profile is free. Where radii scatter too much for a
    circle, the ellipse is looked for that all level sections are alike (`_oval_stretch`), and what is left after its
    stretch is undone. Refuted where the camera sees free space inside of it.

    Args:
        mask: (H, W) bool, of the object.
    """
    if body.top_m <= 0:
        return None
    revolution = _fit_round(body)
    if revolution is not None and not _refuted(revolution, body, frame, mask):
        return revolution
    stretch = _oval_stretch(body)
    revolution = None if stretch is None else _fit_round(_unstretched(body, stretch), _BODY_SHARE)
    if stretch is None or revolution is None:
        return None
    revolution = replace(revolution, axis_m=stretch @ revolution.axis_m, stretch=stretch)
    return None if _refuted(revolution, body, frame, mask) else revolution


def _refuted(revolution: Revolution, body: Body, frame: RgbdFrame, mask: NDArray[np.bool_]) -> bool:
    """Whether the camera sees free space inside of it."""
    return _sees_through(body.in_camera(revolution.inner_surface_m()), frame, mask)


def _fit_round(body: Body, share: float = 1.0) -> Revolution | None:
    """The body of revolution that a body looks like.

    Args:
        share: of its height from below, where it is one; above goes what is there by its radii.
    """
    flat_m, heights_m = body.points_m[:, :2], body.points_m[:, 2]
    across = body.normals[:, :2]
    steep = length(across)
    side = steep > _SIDE_SLOPE
    if np.count_nonzero(side) < _MIN_SIDE_POINTS:
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
    low = heights_m <= share * body.top_m
    if np.count_nonzero(low) < _MIN_SIDE_POINTS:
        return None
    found = _least_scatter(flat_m[low], (bins + _BINS * inward)[low], axis_m)
    if found is None:
        return None
    axis_m, scatter_m = found
    radii_m = length(flat_m - axis_m)
    if scatter_m > _ROUND_M + _ROUND_RATIO * median(radii_m):
        return None
    hollow = np.count_nonzero(inward) > _INNER_SHARE * len(inward)
    inner_m = _profile(bins[inward], radii_m[inward]) if hollow else None
    outer_m = _profile(bins[~inward], radii_m[~inward])
    wall_m = floor_m = 0.0
    if inner_m is not None:
        floor_m = _floor_m(body, axis_m, inner_m)
        wall_m = min(max(floor_m, _MIN_WALL_M), _MAX_WALL_M)
        if outer_m is None:  # from above a bowl shows nothing but its inside
            outer_m = inner_m + wall_m
        else:
            both = np.minimum(np.bincount(bins[inward], minlength=_BINS), np.bincount(bins[~inward], minlength=_BINS))
            known = both >= _MIN_BIN_POINTS
            if known.any():
                outer_m = np.maximum(outer_m - (median((outer_m - inner_m)[known]) - wall_m) / 2, 0)
    elif outer_m is not None:
        outer_m = _with_top(outer_m, body, axis_m, int(bins[~inward].max()))
    if outer_m is None:
        return None
    middles_m = (np.arange(_BINS) + 0.5) / _BINS * body.top_m
    cavity_m = np.zeros(_BINS)
    if inner_m is not None:
        above_floor = np.clip((middles_m - floor_m) / body.top_m * _BINS + 0.5, 0, 1)
        cavity_m = np.sqrt(above_floor) * np.maximum(outer_m - wall_m, 0)
    return Revolution(axis_m, middles_m, _as_ellipse(outer_m), cavity_m, scatter_m)


def _floor_m(body: Body, axis_m: FloatArray, inner_m: FloatArray) -> float:
    """Height of the floor that is seen in a cavity, or of one as thick as walls are."""
    level = body.normals[:, 2] > 1 - _SIDE_SLOPE / 2
    from_axis_m = length(body.points_m[:, :2] - axis_m)
    floor = level & (from_axis_m < 0.6 * inner_m.max()) & (body.points_m[:, 2] < 0.9 * body.top_m)
    return median(body.points_m[floor, 2]) if np.count_nonzero(floor) >= _MIN_BIN_POINTS else _WALL_M


def _oval_stretch(body: Body) -> FloatArray | None:
    """The (2, 2) symmetric stretch of determinant 1 that makes circles of what a body's level sections are ellipses of.

    An ellipse x^2 + y^2 + p (x^2 - y^2) + 2 q x y + u x + v y = s of the same shape and place at all heights is linear
    in p, q, u, v, and s of each height falls out with the mean of each bin; that its normals are those measured is
    linear in the same, and tells more of a narrow strip. None where no ellipse, or a circle, fits.
    """
    across = body.normals[:, :2]
    steep = length(across)
    side = (steep > _SIDE_SLOPE) & (body.points_m[:, 2] < _BODY_SHARE * body.top_m)
    if np.count_nonzero(side) < _MIN_SIDE_POINTS:
        return None
    across = across[side] / steep[side, None]
    if _turn_deg(across) < _MIN_TURN_DEG:
        return None
    flat_m = body.points_m[side, :2]
    origin_m = flat_m.mean(axis=0)
    scale_m = float(length(flat_m - origin_m).max())
    x, y = ((flat_m - origin_m) / scale_m).T
    bins = np.clip((body.points_m[side, 2] / body.top_m * _BINS).astype(np.int64), 0, _BINS - 1)
    # Where the surface turns away from the camera, the windows of its normals are cut off on one side.
    towards_m = (-body.origin_m @ body.basis)[:2] - flat_m
    cosine = dot(towards_m, across) / np.maximum(length(towards_m), 1e-9)
    facing = np.maximum(cosine - _GRAZING, 1e-3) ** 2
    weight = facing
    n_x, n_y = across.T
    on_normals = np.stack([-2 * (n_x * y + n_y * x), 2 * (n_x * x - n_y * y), -n_y, n_x])
    of_normals = 2 * (n_y * x - n_x * y)
    on_places = np.stack([x * x - y * y, 2 * x * y, x, y])
    of_places = -(x * x + y * y)
    for _ in range(_FIT_STEPS):
        total = np.maximum(np.bincount(bins, weight, _BINS), 1e-9)
        centred = [row - (np.bincount(bins, weight * row, _BINS) / total)[bins] for row in (*on_places, of_places)]
        terms = np.concatenate([np.stack(centred[:4]), on_normals], axis=1)
        values = np.concatenate([centred[4], of_normals])
        weighted = terms * np.concatenate([weight, weight])
        try:
            p, q, u, v = np.linalg.solve(weighted @ terms.T, weighted @ values)
        except np.linalg.LinAlgError:
            return None
        if not _OVAL[0] < np.hypot(p, q) < _OVAL[1]:
            return None
        gradient = np.stack([2 * (1 + p) * x + 2 * q * y + u, 2 * (1 - p) * y + 2 * q * x + v])
        size = np.maximum(np.hypot(*gradient), 1e-6)
        off = np.abs(n_x * gradient[1] - n_y * gradient[0]) / size
        if median(off) > _OVAL_NORMALS:  # the faces of a box, most of the time
            return None
        weight = facing / (size**2 * np.maximum(off, _NORMAL_NOISE))
        weight /= weight.max()
    if percentile(off, 70) > _OVAL_NORMALS:
        return None
    form = np.array([[1 + p, q], [q, 1 - p]]) / math.sqrt(1 - p * p - q * q)
    values, axes = np.linalg.eigh(form)
    return np.asarray(axes @ np.diag(values**-0.5) @ axes.T)


def _unstretched(body: Body, stretch: FloatArray) -> Body:
    """The body before its level sections were stretched."""
    points_m, normals = body.points_m.copy(), body.normals.copy()
    points_m[:, :2] = points_m[:, :2] @ np.linalg.inv(stretch).T
    normals[:, :2] = normals[:, :2] @ stretch
    normals /= np.maximum(length(normals), 1e-9)[:, None]
    return replace(body, points_m=points_m, normals=normals)


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


def _sees_through(points_m: FloatArray, frame: RgbdFrame, mask: NDArray[np.bool_]) -> bool:
    """Whether the camera sees free space at a good part of points of the camera's frame."""
    rows, columns, inside = pixels_of(points_m, frame)
    seen_m = frame.depth_m[rows, columns]
    free = inside & (seen_m > points_m[..., 2] + _FREE_M) & ~mask[rows, columns]
    return int(np.count_nonzero(free)) > _FREE_SHARE * free.size
