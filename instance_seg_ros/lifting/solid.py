"""Solids: the volume behind a measured surface, as a body of revolution or one with oval sections."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.lifting.sections import BINS, BODY_SHARE, fit_ball, fit_circles, fit_ellipses

FloatArray = NDArray[np.float64]

_WIDEST = 1.0
"""The radius of a body is no more than this share of the diagonal of what is seen of it: a short arc of a thin edge
tells no axis."""
_FREE_SHARE = 0.1
_FREE_M = 0.01
_INSIDE = 0.85
_LEAST_DEPTH_M = 1e-3
"""What lies beside the camera or behind it counts as so far in front of it."""
_SEEN_BELOW, _LEAST_LEVEL = 0.3, 0.4
"""Of a ball whose points reach lower than the first of what a camera that looks level would see below its middle, at a
view whose level part is at least the second, the lower side is known."""
_RESTS, _SEEN_ABOVE = 0.08, 0.15
"""A ball rests on a support that it touches within the first share of its radius, and is seen higher than its middle by
the second: a bowl is like its lower half."""
_MIDDLES = (np.arange(BINS) + 0.5) / BINS
"""Of the bins of height."""
_RING = 48
_ANGLES = np.arange(_RING) * 2 * np.pi / _RING
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


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

    @cached_property
    def pose(self) -> FloatArray:
        """(4, 3) `basis` and, below it, `origin_m`."""
        return np.concatenate([self.basis, self.origin_m[None]])

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
        doubted: whether nothing but what has no depth may hide what of it is not in the mask, if anything is there.
    """

    axis_m: FloatArray
    heights_m: FloatArray
    radii_m: FloatArray
    inner_m: FloatArray
    scatter_m: float
    stretch: FloatArray = field(default_factory=lambda: np.eye(2))
    doubted: bool = False

    @property
    def is_round(self) -> bool:
        """Whether its level sections are circles, and not ovals."""
        return bool(self.stretch.tolist() == [[1.0, 0.0], [0.0, 1.0]])

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
        points_m = np.empty((len(self.radii_m), len(_CIRCLE) // 2, 3))
        _lay_around(self.axis_m, self.heights_m, self.radii_m, self.stretch, _CIRCLE, points_m)
        return points_m


@kernel(
    *("float64[::1]", "float64[::1]", "float64[::1]", "float64[:, :]", "float64[:, ::1]", "float64[:, :, ::1]"),
    writes=("points_m",),
)
def _lay_around(
    axis_m: FloatArray,
    heights_m: FloatArray,
    radii_m: FloatArray,
    stretch: FloatArray,
    circle: FloatArray,
    points_m: FloatArray,
) -> None:
    """The points (K, R, 3) of `Revolution.inner_surface_m`, at every other place of a circle (2 R, 2)."""
    for r in range(points_m.shape[1]):
        x, y = circle[2 * r, 0], circle[2 * r, 1]
        along, aside = x * stretch[0, 0] + y * stretch[0, 1], x * stretch[1, 0] + y * stretch[1, 1]
        for k in range(len(radii_m)):
            points_m[k, r, 0] = axis_m[0] + _INSIDE * radii_m[k] * along
            points_m[k, r, 1] = axis_m[1] + _INSIDE * radii_m[k] * aside
            points_m[k, r, 2] = heights_m[k]


def fit_revolution(
    body: Body, frame: RgbdFrame, mask: NDArray[np.bool_], partly_seen: bool = False
) -> Revolution | None:
    """The body of revolution about a vertical axis that an object is, or one with oval sections, or None for others.

    The axis is where horizontal normals meet, then that about which radii at equal heights scatter least (Gauss and
    Newton's method on the scatter within bins of height); the profile is free. Where radii scatter too much for a
    circle, the ellipse is looked for that all level sections are alike (`_oval_stretch`), and what is left after its
    stretch is undone. Refuted where the camera sees free space inside of it; doubted where nothing is measured there,
    and nothing that is measured hides a part of it.

    Args:
        mask: (H, W) bool, of the object.
        partly_seen: whether something hides a part of it.
    """
    if body.top_m <= 0:
        return None
    revolution = _fit_round(body, partly_seen=partly_seen)
    if revolution is not None:
        revolution = _judged(revolution, body, frame, mask, partly_seen)
    if revolution is not None and not revolution.doubted:
        return revolution
    stretch = _oval_stretch(body)
    oval = None if stretch is None else _fit_round(_unstretched(body, stretch), BODY_SHARE)
    if stretch is None or oval is None:
        return revolution
    oval = _judged(replace(oval, axis_m=stretch @ oval.axis_m, stretch=stretch), body, frame, mask, partly_seen)
    return revolution if oval is None or (oval.doubted and revolution is not None) else oval


@dataclass(frozen=True)
class Ball:
    """A ball in the camera's optical frame: its centre (3,) and its radius."""

    centre_m: FloatArray
    radius_m: float

    @classmethod
    def of(cls, points_m: FloatArray, normals: FloatArray) -> Ball | None:
        """The ball that points (N, 3) with normals lie on, or None."""
        found, x_m, y_m, z_m, radius_m = fit_ball(np.ascontiguousarray(points_m), np.ascontiguousarray(normals))
        return cls(np.array([x_m, y_m, z_m]), radius_m) if found else None

    def lowest_m(self, plane: Plane, seen_m: float) -> float:
        """Its lowest height above a plane, where what was seen of it goes on to where it turns out of sight.

        A bowl that is held upside down is like the upper half of a ball: of a ball, though, the camera sees more than
        that, and of which nothing tells apart from that, the lowest height that was seen is returned.

        Args:
            seen_m: the lowest height that was seen.
        """
        height_m = float(plane.height_m(self.centre_m))
        towards = -self.centre_m / max(float(np.linalg.norm(self.centre_m)), 1e-9)
        level = math.sqrt(max(1 - float(towards @ plane.normal) ** 2, 0.0))
        turns_m = height_m - _SEEN_BELOW * level * self.radius_m
        return min(height_m - self.radius_m, seen_m) if level > _LEAST_LEVEL and seen_m < turns_m else seen_m

    def resting(
        self, body: Body, frame: RgbdFrame, mask: NDArray[np.bool_], partly_seen: bool = False
    ) -> Revolution | None:
        """The ball as a body that rests on its support; None where it does not, or where it is refuted.

        See `fit_revolution`.
        """
        x_m, y_m, z_m = ((self.centre_m - body.origin_m) @ body.basis).tolist()
        if abs(z_m - self.radius_m) > _RESTS * self.radius_m or body.top_m < z_m + _SEEN_ABOVE * self.radius_m:
            return None
        heights_m = _MIDDLES * (z_m + self.radius_m)
        radii_m = np.sqrt(np.maximum(self.radius_m**2 - (heights_m - z_m) ** 2, 0.0))
        ball = Revolution(np.array([x_m, y_m]), heights_m, radii_m, np.zeros(BINS), 0.0)
        return _judged(ball, body, frame, mask, partly_seen)


def _judged(
    revolution: Revolution, body: Body, frame: RgbdFrame, mask: NDArray[np.bool_], partly_seen: bool
) -> Revolution | None:
    """It, and whether it is doubted; None where it is far wider than what was measured of it, or where the camera sees
    free space inside of it.
    """
    if revolution.radii_m.max() > _WIDEST * _diagonal_m(body.points_m):
        return None
    inside_m = revolution.inner_surface_m().reshape(-1, 3)
    depth_m, own = np.ascontiguousarray(frame.depth_m), np.ascontiguousarray(mask)
    camera = frame.intrinsics
    optics = camera.fx, camera.fy, camera.cx, camera.cy
    free, unknown = _count_free(inside_m, body.basis, body.origin_m, depth_m, own, *optics)
    most = _FREE_SHARE * len(inside_m)
    if free > most:
        return None
    return replace(revolution, doubted=True) if not partly_seen and free + unknown > most else revolution


@kernel("float64[:, ::1]")
def _diagonal_m(points_m: FloatArray) -> float:
    """Of the rectangle along the axes around points (N, 3) seen from above."""
    low_x, high_x, low_y, high_y = points_m[0, 0], points_m[0, 0], points_m[0, 1], points_m[0, 1]
    for n in range(1, len(points_m)):
        x, y = points_m[n, 0], points_m[n, 1]
        low_x, high_x, low_y, high_y = min(low_x, x), max(high_x, x), min(low_y, y), max(high_y, y)
    return math.sqrt((high_x - low_x) ** 2 + (high_y - low_y) ** 2)


def _fit_round(body: Body, share: float = 1.0, partly_seen: bool = False) -> Revolution | None:
    """The body of revolution that a body looks like.

    Args:
        share: of its height from below, where it is one; above goes what is there by its radii.
    """
    profile_m = np.empty((2, BINS))
    found, x_m, y_m, scatter_m = fit_circles(body.points_m, body.normals, body.top_m, share, partly_seen, profile_m)
    if not found:
        return None
    return Revolution(np.array([x_m, y_m]), _MIDDLES * body.top_m, profile_m[0], profile_m[1], scatter_m)


def _oval_stretch(body: Body) -> FloatArray | None:
    """The (2, 2) symmetric stretch of determinant 1 that makes circles of what a body's level sections are ellipses of.

    None where no ellipse, or a circle, fits.
    """
    camera_m = -body.origin_m @ body.basis
    found, p, q = fit_ellipses(body.points_m, body.normals, body.top_m, camera_m[0], camera_m[1])
    if not found:
        return None
    # The inverse square root of the ellipse's form, a matrix of determinant 1, by Cayley and Hamilton.
    scale = math.sqrt(1 - p * p - q * q)
    return np.array([[(1 - p) / scale + 1, -q / scale], [-q / scale, (1 + p) / scale + 1]]) / math.sqrt(2 / scale + 2)


def _unstretched(body: Body, stretch: FloatArray) -> Body:
    """The body before its level sections were stretched."""
    points_m, normals = _undone(body.points_m, body.normals, stretch)
    return replace(body, points_m=points_m, normals=normals)


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]")
def _undone(points_m: FloatArray, normals: FloatArray, stretch: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points (N, 3) and normals before a stretch (2, 2) of determinant 1 of the first two axes."""
    (a, b), (c, d) = (stretch[0, 0], stretch[0, 1]), (stretch[1, 0], stretch[1, 1])
    before_m, own_normals = np.empty_like(points_m), np.empty_like(normals)
    for n in range(len(points_m)):
        x, y, n_x, n_y = points_m[n, 0], points_m[n, 1], normals[n, 0], normals[n, 1]
        before_m[n, 0], before_m[n, 1], before_m[n, 2] = d * x - b * y, a * y - c * x, points_m[n, 2]
        n_x, n_y, n_z = n_x * a + n_y * c, n_x * b + n_y * d, normals[n, 2]
        size = max(math.sqrt(n_x * n_x + n_y * n_y + n_z * n_z), 1e-9)
        own_normals[n, 0], own_normals[n, 1], own_normals[n, 2] = n_x / size, n_y / size, n_z / size
    return before_m, own_normals


@kernel(
    *("float64[:, ::1]", "float64[:, :]", "float64[:]", "float32[:, ::1]", "boolean[:, ::1]"),
    *("float64", "float64", "float64", "float64"),
)
def _count_free(
    points_m: FloatArray,
    basis: FloatArray,
    origin_m: FloatArray,
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    fx: float,
    fy: float,
    cx: float,
    cy: float,
) -> tuple[int, int]:
    """At how many points (N, 3) of the body's frame, beside the mask, the camera sees free space, and nothing at all.

    Args:
        depth_m, mask: (H, W), of the whole image.
    """
    height, width = depth_m.shape
    free, unknown = 0, 0
    for n in range(len(points_m)):
        x, y, z = points_m[n, 0], points_m[n, 1], points_m[n, 2]
        x_m = x * basis[0, 0] + y * basis[0, 1] + z * basis[0, 2] + origin_m[0]
        y_m = x * basis[1, 0] + y * basis[1, 1] + z * basis[1, 2] + origin_m[1]
        z_m = x * basis[2, 0] + y * basis[2, 1] + z * basis[2, 2] + origin_m[2]
        away_m = max(z_m, _LEAST_DEPTH_M)
        column, row = np.rint(x_m / away_m * fx + cx), np.rint(y_m / away_m * fy + cy)
        if 0 <= column < width and 0 <= row < height and not mask[int(row), int(column)]:
            seen_m = depth_m[int(row), int(column)]
            free += seen_m > z_m + _FREE_M
            unknown += seen_m == 0
    return free, unknown
