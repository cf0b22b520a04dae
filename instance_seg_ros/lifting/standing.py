"""An object on a plane: its points that stand out from that, in the frame of the plane, and how high they reach."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.lifting.kept_points import KeptPoints
from instance_seg_ros.lifting.order_statistics import median_is_below, median_of_first, percentile_of_first
from instance_seg_ros.lifting.solid import Body

FloatArray = NDArray[np.float64]

TOP_PERCENTILE = 99.0
"""An object's top is this percentile of its points' heights: the very highest of thousands is noise."""
_TOP_COSINE, _MIN_TOP_POINTS, _MIN_TOP_SHARE = math.cos(math.radians(15.0)), 30, 0.3
_ALL_BUT_NOISE, _NOISE_SIGMAS = 97.0, 3.0
"""A top is flat when so many of the normals lie within 15 degrees of straight up, and so many per cent of all points
are not more than so many standard deviations above the plane through them; what is higher lies beside depth edges."""
_LEANS_OTHERWISE = math.tan(math.radians(5.0))
"""The plane through a flat top and the normals of it agree within this slope."""
_FLUSH_M, _FLUSH_NOISE_M = 0.003, 0.003
"""What stands out by less than the larger of these, the second at 1 m and growing with the square of the distance, may
be flat: so much is left of a sensor's noise."""
_ROUNDING_M = 1e-6
"""What lies in a plane is not below it for rounding."""
_ENOUGH_POINTS = 100
"""Between so many points and twice as many tell how high an object reaches, as far as others are compared with it."""
_FEWEST_ABOVE = 5
"""Fewer points than this that stand out from a plane are noise as well: among few points the highest are no more."""


@dataclass(frozen=True, eq=False)
class Standing:
    """The points of an object that stand out from a plane.

    Attributes:
        points_m, normals: (N, 3) of them, camera optical frame.
        body: the same in the frame of the plane, and how high they reach.
        depth_m: from the camera, of most of them.
        flush: whether the object hardly stands out; then all of its points count.
        least_m: what is no higher above the plane than this is taken for the plane's own.
    """

    points_m: FloatArray
    normals: FloatArray
    body: Body
    depth_m: float
    flush: bool
    least_m: float

    @classmethod
    def on(cls, surface: KeptPoints, plane: Plane, tolerance_m: float) -> Standing | None:
        """The object of this surface on a plane; None where most of it is not above that.

        Args:
            tolerance_m: what is no higher than this is the plane's own, under a generous mask, unless the object itself
                is that flat.
        """
        rotation, origin_m = plane.basis(), -plane.offset_m * plane.normal
        points_m, normals, local_m, local_normals = np.empty((4, len(surface.outline_m), 3))
        count, top_m, depth_m, flush, least_m = _stand(
            surface.outline_m,
            surface.normals,
            rotation,
            origin_m,
            plane.offset_m,
            tolerance_m,
            points_m,
            normals,
            local_m,
            local_normals,
        )
        if not count:
            return None
        body = Body(local_m[:count], local_normals[:count], top_m, rotation, origin_m)
        return cls(points_m[:count], normals[:count], body, depth_m, flush, least_m)


@kernel("float64[:, ::1]", "float64[::1]", "float64")
def heights_above_m(points_m: FloatArray, normal: FloatArray, offset_m: float) -> tuple[float, float, float]:
    """How high above a plane the lowest, the middle and the top of points (N, 3) are, by some of them; NaN of none."""
    step = 1 + len(points_m) // _ENOUGH_POINTS
    heights_m, count = np.empty(len(points_m)), 0
    for n in range(0, len(points_m), step):
        x, y, z = points_m[n, 0], points_m[n, 1], points_m[n, 2]
        heights_m[count] = normal[0] * x + normal[1] * y + normal[2] * z + offset_m
        count += 1
    if not count:
        return np.nan, np.nan, np.nan
    lowest_m = percentile_of_first(heights_m, count, 100 - TOP_PERCENTILE)
    middle_m = percentile_of_first(heights_m, count, 50.0)
    return lowest_m, middle_m, percentile_of_first(heights_m, count, TOP_PERCENTILE)


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "float64", "float64"),
    *("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]"),
    writes=("points_m", "normals", "local_m", "local_normals"),
)
def _stand(
    outline_m: FloatArray,
    outline_normals: FloatArray,
    basis: FloatArray,
    origin_m: FloatArray,
    offset_m: float,
    tolerance_m: float,
    points_m: FloatArray,
    normals: FloatArray,
    local_m: FloatArray,
    local_normals: FloatArray,
) -> tuple[int, float, float, bool, float]:
    """The points (N, 3) of an outline that stand out from a plane, and both in the plane's frame.

    Args:
        basis, origin_m, offset_m: of the plane, whose normal is the last column of the first.

    Returns:
        How many there are, 0 for what is below the plane; their height, their depth, whether they are all flush, and
        above which height they are.
    """
    heights_m, values, count = np.empty(len(outline_m)), np.empty(len(outline_m)), len(outline_m)
    for n in range(count):
        heights_m[n] = outline_m[n, 0] * basis[0, 2] + outline_m[n, 1] * basis[1, 2] + outline_m[n, 2] * basis[2, 2]
        heights_m[n] += offset_m
    values[:] = heights_m
    top_m = percentile_of_first(values, count, TOP_PERCENTILE)
    if top_m < -_ROUNDING_M or median_is_below(values, count, -tolerance_m - _ROUNDING_M):
        return 0, 0.0, 0.0, False, 0.0
    top_m = max(top_m, _ROUNDING_M)
    least_m, higher, farthest_m = min(tolerance_m, 0.5 * top_m), 0, 0.0
    for n in range(count):
        values[n] = outline_m[n, 2]
        farthest_m = max(farthest_m, outline_m[n, 2])
        higher += heights_m[n] > least_m
    # What is no noise where it is farthest is none anywhere, which is quicker told than how far off it is.
    flush = _is_flush(top_m, farthest_m) and _is_flush(top_m, median_of_first(values, count))
    flush = flush or higher < _FEWEST_ABOVE
    least_m, k = -np.inf if flush else least_m, 0
    for n in range(count):
        if heights_m[n] <= least_m:
            continue
        x, y, z = outline_m[n, 0] - origin_m[0], outline_m[n, 1] - origin_m[1], outline_m[n, 2] - origin_m[2]
        n_x, n_y, n_z = outline_normals[n, 0], outline_normals[n, 1], outline_normals[n, 2]
        for axis in range(3):
            points_m[k, axis], normals[k, axis] = outline_m[n, axis], outline_normals[n, axis]
            local_m[k, axis] = x * basis[0, axis] + y * basis[1, axis] + z * basis[2, axis]
            local_normals[k, axis] = n_x * basis[0, axis] + n_y * basis[1, axis] + n_z * basis[2, axis]
        values[k] = outline_m[n, 2]
        k += 1
    depth_m = median_of_first(values, k)
    height_m = _height_of_flat_top(local_m[:k], local_normals[:k], top_m, depth_m, values)
    return k, height_m, depth_m, flush, least_m


@inner
def _height_of_flat_top(
    local_m: FloatArray, normals: FloatArray, top_m: float, depth_m: float, values: FloatArray
) -> float:
    """The height of a top that is flat, or `top_m` of another one.

    The highest of the points of a flat top are the noise of it, which makes thin objects half as high again: they are
    replaced by the plane through its points, as long as hardly any point departs from that by more than noise. Not so
    where tops lie at several heights: a plane through them leans although none of them does, or departs from all.

    Args:
        local_m: (N, 3) points, z up and 0 on the support.
        normals: (N, 3) at them.
        top_m: the height of the highest of them.
        depth_m: from the camera, of most of them.
        values: (N,) or more, to work with.
    """
    top = np.flatnonzero(normals[:, 2] > _TOP_COSINE)
    count = len(top)
    if count < max(_MIN_TOP_POINTS, _MIN_TOP_SHARE * len(local_m)):
        return top_m
    found, departure, middle_x, middle_y, mean_m, slope_x, slope_y = _plane_through(local_m, normals, top)
    if not found or departure > _LEANS_OTHERWISE:
        return top_m
    fitted_m = np.empty(count)
    for k in range(count):
        n = top[k]
        fitted_m[k] = mean_m + (local_m[n, 0] - middle_x) * slope_x + (local_m[n, 1] - middle_y) * slope_y
        values[k] = abs(local_m[n, 2] - fitted_m[k])
    sigma_m = 1.4826 * median_of_first(values, count)
    if not _is_flush(sigma_m, depth_m):
        return top_m
    fitted_top_m = percentile_of_first(fitted_m, count, TOP_PERCENTILE)
    for n in range(len(local_m)):
        values[n] = local_m[n, 2]
    is_noise = percentile_of_first(values, len(local_m), _ALL_BUT_NOISE) < fitted_top_m + _NOISE_SIGMAS * sigma_m
    return min(fitted_top_m, top_m) if is_noise and fitted_top_m > 0 else top_m


@inner
def _plane_through(
    points_m: FloatArray, normals: FloatArray, chosen: NDArray[np.int64]
) -> tuple[bool, float, float, float, float, float, float]:
    """The plane of least squared height through some, at least one, of the points (N, 3), z up.

    Returns:
        Whether there is one: not where all points lie on a line; the larger difference, in x and in y, between its
        slope and that of the mean normal; the mean of the points; the slopes along x and y.
    """
    count = len(chosen)
    middle_x, middle_y, mean_m, n_x, n_y, n_z = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in chosen:
        middle_x, middle_y, mean_m = middle_x + points_m[n, 0], middle_y + points_m[n, 1], mean_m + points_m[n, 2]
        n_x, n_y, n_z = n_x + normals[n, 0], n_y + normals[n, 1], n_z + normals[n, 2]
    middle_x, middle_y, mean_m = middle_x / count, middle_y / count, mean_m / count
    xx, xy, yy, xz, yz = 0.0, 0.0, 0.0, 0.0, 0.0
    for n in chosen:
        x, y, z = points_m[n, 0] - middle_x, points_m[n, 1] - middle_y, points_m[n, 2] - mean_m
        xx, xy, yy, xz, yz = xx + x * x, xy + x * y, yy + y * y, xz + x * z, yz + y * z
    determinant = xx * yy - xy * xy
    if determinant == 0:
        return False, 0.0, middle_x, middle_y, mean_m, 0.0, 0.0
    slope_x, slope_y = (yy * xz - xy * yz) / determinant, (xx * yz - xy * xz) / determinant
    departure = max(abs(slope_x + n_x / n_z), abs(slope_y + n_y / n_z))
    return True, departure, middle_x, middle_y, mean_m, slope_x, slope_y


@inner
def _is_flush(top_m: float, depth_m: float) -> bool:
    """Whether a top so high may be the noise of what it lies on."""
    return top_m < max(_FLUSH_M, _FLUSH_NOISE_M * depth_m**2)
