"""Planes in what is measured of the background around the objects, by RANSAC and least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.rows import rows_of
from instance_seg_ros.lifting.masks import Bounds
from instance_seg_ros.lifting.moments import moments
from instance_seg_ros.lifting.order_statistics import median, median_of_first, robust_sigma, share
from instance_seg_ros.lifting.search_tree import search_tree

FloatArray = NDArray[np.float64]

_STRIDE_PX = 4
_MAX_SAMPLES = 2000
_HYPOTHESES = 150
_VOTERS = 500
_LEAST_AREA_M2 = 1e-8
"""Twice the area of the smallest triangle that tells a plane."""
_MAX_PLANES = 6
_MIN_INLIERS = 60
_MIN_INLIER_SHARE = 0.03
_MIN_CAMERA_HEIGHT_M = 0.03
_REFIT_SIGMA = 2.5
LEAST_BAND = 0.3
"""A plane's band is no narrower than this share of the tolerance, however smooth it is."""
TAKEN_SIGMA = 3.0
_REMOVED_SIGMA = 5.0
REMOVED_TOLERANCES = 2.5
"""A plane takes what lies within 3 sigma; a parallel one within so many sigma or tolerances may be its noise's tail."""
_APART_SHARE = 0.6
"""A parallel plane so near is one of its own, such as a board on a table, when so much around its points is its own."""
_SLICE_SHARE, _FLAT_SHARE = 0.2, 0.7
"""A plane of less of the background than the first is but a slice through something steep when less around its points
than the second lies in it."""
_NEIGHBOURS = 12
_STEEPEST_COS = math.cos(math.radians(35.0))
"""Where up is known, nothing steeper is a support: most things slide off it."""
_PARALLEL_DEG = 6.0
"""Within this of another one a plane may be the tail of its noise."""
_LARGEST_SIGMA = 1.25
"""What scatters by more than so many tolerances is no plane, but a rim or some slope that RANSAC laid one through."""
_FLAT_SIGMA, _FINER, _ONE_SIGMA = 0.05, (0.6, 0.3), (0.7, 0.4)
"""Two levels in one, as a thin board and its table, aslant through both, scatter by more than either does: one of them
is found within the second of their sigma, and scatters by less than the third of that. One level is found alike both
ways: hardly ever by less than 0.74 times (over 250 scenes of boards and cameras, by a script). Of two that are 17 mm
apart and alike large a plane aslant may be within that, too: what is rough is looked at once more, by the second
numbers. What scatters by less than the first number, in tolerances, is one.
"""
_AS_GOOD = 1.3
"""The points near the objects scatter by no more than so many times as much about the tilt that all points tell."""
_ROUGH, _AS_FLAT = 0.7, 4.0
"""What scatters by more tolerances and so many times more than the largest plane is laid aslant through several things.
"""


@dataclass(frozen=True, eq=False)
class Level:
    """A plane of the background.

    Attributes:
        plane: oriented towards the camera.
        points_m: (N, 3) its points.
        sigma_m: robust standard deviation of their distance from it.
    """

    plane: Plane
    points_m: NDArray[np.float32]
    sigma_m: float


def background_of(frame: RgbdFrame, instances: Instances) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns (2, N) of measured pixels, one in `_STRIDE_PX` each way, outside all masks: around their boxes,
    and in the rest of the image."""
    bounds = np.array(instances.bounds, dtype=np.int64)
    return _find_background(np.ascontiguousarray(frame.depth_m), instances.masks, instances.boxes_xyxy, bounds)


@kernel("float32[:, ::1]", "boolean[:, :, :]", "float32[:, :]", "int64[:, ::1]")
def _find_background(
    depth_m: NDArray[np.float32],
    masks: NDArray[np.bool_],
    boxes_xyxy: NDArray[np.float32],
    bounds_xywh: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels of `background_of`, row by row."""
    height, width = (depth_m.shape[0] - 1) // _STRIDE_PX + 1, (depth_m.shape[1] - 1) // _STRIDE_PX + 1
    near, masked = np.zeros((height, width), np.bool_), np.zeros((height + 2, width + 2), np.bool_)  # and a border
    for n in range(len(masks)):
        x0, y0, x1, y1 = boxes_xyxy[n] / np.float32(_STRIDE_PX)
        margin = np.float32(0.5) * max(x1 - x0, y1 - y0) + np.float32(8)
        near[
            max(0, int(y0 - margin)) : max(0, int(y1 + margin) + 1),
            max(0, int(x0 - margin)) : max(0, int(x1 + margin) + 1),
        ] = True
        left, top, across, down = bounds_xywh[n]
        for row in range(top // _STRIDE_PX, (top + down - 1) // _STRIDE_PX + 1):
            for column in range(left // _STRIDE_PX, (left + across - 1) // _STRIDE_PX + 1):
                masked[row + 1, column + 1] |= masks[n, row * _STRIDE_PX, column * _STRIDE_PX]
    # Those near from the front, the others from the back: both in the order of the rows after that is turned around.
    pixels, count, first = np.empty((2, height * width), np.int64), 0, height * width
    for row in range(height):
        for column in range(width):
            if depth_m[row * _STRIDE_PX, column * _STRIDE_PX] > 0:
                beside = False
                for above in range(3):
                    for aside in range(3):
                        beside |= masked[row + above, column + aside]
                if not beside:
                    place = count if near[row, column] else first - 1
                    pixels[0, place], pixels[1, place] = row * _STRIDE_PX, column * _STRIDE_PX
                    count, first = (count + 1, first) if near[row, column] else (count, first - 1)
    return pixels[:, :count].copy(), pixels[:, first:][:, ::-1].copy()


def amid(pixels: NDArray[np.int64], bounds: Sequence[Bounds]) -> NDArray[np.int64]:
    """Those of pixels (2, N) that lie inside the rectangle around all objects."""
    left, top = min(left for left, _, _, _ in bounds), min(top for _, top, _, _ in bounds)
    right = max(left + width for left, _, width, _ in bounds)
    bottom = max(top + height for _, top, _, height in bounds)
    # The rows are in ascending order.
    first, last = np.searchsorted(pixels[0], (top, bottom)).tolist()
    columns = pixels[1, first:last]
    # For pairs of numbers NumPy's indexing takes five times as long.
    return pixels[:, first:last].compress((columns >= left) & (columns < right), axis=1)


def sampled_points_m(frame: RgbdFrame, pixels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The points (N, 3) at most `_MAX_SAMPLES` of pixels (2, M), evenly."""
    points_m = np.empty((min(pixels.shape[1], _MAX_SAMPLES), 3), np.float32)
    _back_project(np.ascontiguousarray(frame.depth_m), pixels, frame.intrinsics.fx_fy_cx_cy, points_m)
    return points_m


@kernel("float32[:, ::1]", "int64[:, :]", "float32[::1]", "float32[:, ::1]", writes=("points_m",))
def _back_project(
    depth_m: NDArray[np.float32],
    pixels: NDArray[np.int64],
    camera: NDArray[np.float32],
    points_m: NDArray[np.float32],
) -> None:
    """The points (N, 3) of `sampled_points_m`, the first and last pixels among them; `camera` is fx, fy, cx, cy."""
    last = pixels.shape[1] - 1
    step = last / max(len(points_m) - 1, 1)
    for n in range(len(points_m)):
        k = min(int(n * step), last) if n + 1 < len(points_m) else last
        row, column = pixels[0, k], pixels[1, k]
        z_m = depth_m[row, column]
        points_m[n, 0] = (np.float32(column) - camera[2]) / camera[0] * z_m
        points_m[n, 1] = (np.float32(row) - camera[3]) / camera[1] * z_m
        points_m[n, 2] = z_m


def background_planes(points_m: NDArray[np.float32], tolerance_m: float, up: FloatArray | None) -> list[Level]:
    """Planes of the background that the camera looks down on, at most `_MAX_PLANES`, the largest first.

    Args:
        up: (3,) unit vector; no steep planes are returned where it is known.
    """
    background_m, minimum = points_m, max(_MIN_INLIERS, int(_MIN_INLIER_SHARE * len(points_m)))
    levels: list[Level] = []
    for _ in range(_MAX_PLANES):
        if len(points_m) < minimum:
            break
        level, inliers = _finest_level(points_m, tolerance_m, minimum)
        if len(level.points_m) < minimum:
            break
        as_flat_m = max(_ROUGH * tolerance_m, _AS_FLAT * levels[0].sigma_m if levels else np.inf)
        if level.sigma_m > min(_LARGEST_SIGMA * tolerance_m, as_flat_m):
            points_m = points_m[~inliers]
            continue
        plane = level.plane
        distance_m = np.abs(plane.height_m(points_m))
        points_m = points_m[distance_m > max(LEAST_BAND * tolerance_m, TAKEN_SIGMA * level.sigma_m)]
        if (
            plane.offset_m > _MIN_CAMERA_HEIGHT_M
            and (up is None or plane.normal @ up > _STEEPEST_COS)
            and not any(_is_remnant(level, other, tolerance_m) for other in levels)
            and not _is_slice(level, background_m, tolerance_m)
        ):
            levels.append(level)
    return levels


def told_by_all(level: Level, around_m: NDArray[np.float32], tolerance_m: float) -> Level:
    """A level whose tilt is told by all that is measured of it in the image, and its height by its own points.

    A camera errs alike over many pixels, so that what is near the objects may be too small to tell how it is tilted. It
    stays as it was where its own points lie worse in that: the rest is another plane, or the camera bends it.

    Args:
        around_m: (N, 3) points of the background of the whole image.
    """
    within_m = max(_REFIT_SIGMA * level.sigma_m, LEAST_BAND * tolerance_m)
    found, normal = _tilt_within(around_m, level.plane.normal, level.plane.offset_m, within_m)
    if not found:
        return level
    along_m = level.points_m @ normal
    offset_m = -median(along_m)
    sigma_m = robust_sigma(along_m + offset_m)
    return replace(level, plane=Plane(normal, offset_m)) if sigma_m < _AS_GOOD * level.sigma_m else level


@kernel("float32[:, ::1]", "float64[::1]", "float64", "float64")
def _tilt_within(
    points_m: NDArray[np.float32], normal: FloatArray, offset_m: float, within_m: float
) -> tuple[bool, FloatArray]:
    """The normal (3,) of the plane of least squares through what of points (N, 3) lies so near to it, from another one.

    False where that is hardly anything.
    """
    count = len(points_m)
    off_m, inliers, own_m = np.empty(count, np.float32), np.empty(count, np.bool_), np.empty((count, 3), np.float32)
    for _ in range(2):
        _distances(points_m, normal, offset_m, off_m)
        inside = _take_near(points_m, off_m, np.float32(within_m), inliers, own_m)
        if inside < _MIN_INLIERS:
            return False, normal
        normal, offset_m = _least_squares_plane(own_m[:inside])
    return True, normal


def _finest_level(points_m: NDArray[np.float32], tolerance_m: float, minimum: int) -> tuple[Level, NDArray[np.bool_]]:
    """The `_largest_level`; where that is two in one, the larger one, of so many points at least."""
    level, inliers = _largest_level(points_m, tolerance_m)
    while level.sigma_m > _FLAT_SIGMA * tolerance_m:
        for within, most in zip(_FINER, _ONE_SIGMA, strict=True):
            finer, finer_inliers = _largest_level(points_m, within * level.sigma_m)
            is_finer = len(finer.points_m) >= minimum and finer.sigma_m < most * level.sigma_m
            if is_finer or level.sigma_m < _ROUGH * tolerance_m:
                break
        if not is_finer:
            break
        level, inliers = finer, finer_inliers
    return level, inliers


def _largest_level(points_m: NDArray[np.float32], tolerance_m: float) -> tuple[Level, NDArray[np.bool_]]:
    """The `dominant_plane` as a level, and its inliers (N,) bool."""
    plane, inliers = dominant_plane(points_m, tolerance_m)
    own_m = rows_of(points_m, inliers)
    return Level(plane, own_m, robust_sigma(plane.height_m(own_m)) if len(own_m) else 0.0), inliers


def _is_remnant(level: Level, other: Level, tolerance_m: float) -> bool:
    """Whether a plane is but the tail of the noise of a larger one: near it, parallel, and in between its points."""
    if level.plane.normal @ other.plane.normal < np.cos(np.radians(_PARALLEL_DEG)):
        return False
    gap_m = median(np.abs(other.plane.height_m(level.points_m)))
    if gap_m > max(REMOVED_TOLERANCES * tolerance_m, _REMOVED_SIGMA * other.sigma_m):
        return False
    both_m = np.concatenate([level.points_m, other.points_m])
    neighbours = search_tree(both_m).query(level.points_m, min(_NEIGHBOURS, len(both_m)))[1]
    return share(neighbours < len(level.points_m)) < _APART_SHARE


def _is_slice(level: Level, background_m: NDArray[np.float32], tolerance_m: float) -> bool:
    """Whether a small plane is but a slice through something steep, as through the walls of a tote, that goes on."""
    if len(level.points_m) > _SLICE_SHARE * len(background_m):
        return False
    near = search_tree(background_m).query(level.points_m, min(_NEIGHBOURS, len(background_m)))[1]
    band_m = max(LEAST_BAND * tolerance_m, TAKEN_SIGMA * level.sigma_m)
    return share(np.abs(level.plane.height_m(background_m[near])) <= band_m) < _FLAT_SHARE


def dominant_plane(points_m: NDArray[np.float32], tolerance_m: float) -> tuple[Plane, NDArray[np.bool_]]:
    """The plane with the most inliers, oriented towards the camera, and its inliers (N,) bool."""
    inliers, drawn = np.zeros(len(points_m), dtype=bool), _drawn_corners(len(points_m))
    found, normal, offset_m = _find_plane(np.ascontiguousarray(points_m, np.float32), drawn, tolerance_m, inliers)
    if not found:  # fewer than three distinct points, or all on a line
        return Plane(np.array([0.0, 0.0, -1.0]), 0.0), inliers
    return Plane(normal, offset_m), inliers


@lru_cache(maxsize=256)
def _drawn_corners(count: int) -> NDArray[np.int64]:
    """Indices (_HYPOTHESES, 3) of so many points, at random and always the same; most frames have as many of them."""
    corners = np.random.default_rng(0).integers(count, size=(_HYPOTHESES, 3))
    corners.setflags(write=False)
    return corners


@kernel("float32[:, ::1]", "int64[:, ::1]", "float64", "boolean[::1]", writes=("inliers",))
def _find_plane(
    points_m: NDArray[np.float32], corners: NDArray[np.int64], tolerance_m: float, inliers: NDArray[np.bool_]
) -> tuple[bool, FloatArray, float]:
    """The `dominant_plane` of points (N, 3) through three of which at least it goes.

    Args:
        corners: (K, 3) indices of the points that planes are laid through, to be voted on.
        inliers: (N,) of zeros, set where points lie in the plane.

    Returns:
        Whether there is one, its normal (3,) and its offset.
    """
    found, a, b, c, offset = _most_voted(points_m, corners, np.float32(tolerance_m))
    if not found:
        return False, np.zeros(3), 0.0
    count = len(points_m)
    off_m, values, own_m = np.empty(count, np.float32), np.empty(count), np.empty((count, 3), np.float32)
    _distances(points_m, np.array([a, b, c], np.float64), float(-offset), off_m)
    inside = _take_near(points_m, off_m, np.float32(tolerance_m), inliers, own_m)
    normal, offset_m = _least_squares_plane(own_m[:inside])
    near_m = np.float32(REMOVED_TOLERANCES * tolerance_m)
    for _ in range(3):
        _distances(points_m, normal, offset_m, off_m)
        near = 0
        for n in range(count):
            values[near] = abs(off_m[n])
            near += abs(off_m[n]) < near_m
        within_m = tolerance_m
        if near:
            within_m = max(_REFIT_SIGMA * (1.4826 * median_of_first(values, near)), LEAST_BAND * tolerance_m)
        inside = _take_near(points_m, off_m, np.float32(within_m), inliers, own_m)
        if inside < 3:
            break
        normal, offset_m = _least_squares_plane(own_m[:inside])
    return True, normal, offset_m


@inner
def _most_voted(
    points_m: NDArray[np.float32], corners: NDArray[np.int64], tolerance_m: np.float32
) -> tuple[bool, np.float32, np.float32, np.float32, np.float32]:
    """Whether three of the corners are no line, and of the planes through such the one near which the most points lie.

    Of some of the points, evenly; the first of several planes. That is (a, b, c) . p = offset.
    """
    every = 1 + len(points_m) // _VOTERS
    x_m, y_m, z_m = points_m[::every, 0].copy(), points_m[::every, 1].copy(), points_m[::every, 2].copy()
    zero = np.float32(0)
    most, best = -1, (zero, zero, zero, zero)
    for k in range(len(corners)):
        first, second, third = points_m[corners[k, 0]], points_m[corners[k, 1]], points_m[corners[k, 2]]
        u_x, u_y, u_z = second[0] - first[0], second[1] - first[1], second[2] - first[2]
        v_x, v_y, v_z = third[0] - first[0], third[1] - first[1], third[2] - first[2]
        a, b, c = u_y * v_z - u_z * v_y, u_z * v_x - u_x * v_z, u_x * v_y - u_y * v_x
        size = np.sqrt(a * a + b * b + c * c)
        if not size > _LEAST_AREA_M2:
            continue
        a, b, c = a / size, b / size, c / size
        offset = a * first[0] + b * first[1] + c * first[2]
        votes = _votes(x_m, y_m, z_m, a, b, c, offset, tolerance_m)
        if votes > most:
            most, best = votes, (a, b, c, offset)
    return most >= 0, best[0], best[1], best[2], best[3]


# Loops without branches over arrays of their own, which the processor does for several points at a time.
@inner
def _votes(
    x_m: NDArray[np.float32],
    y_m: NDArray[np.float32],
    z_m: NDArray[np.float32],
    a: np.float32,
    b: np.float32,
    c: np.float32,
    offset: np.float32,
    tolerance_m: np.float32,
) -> int:
    """How many points (V,) lie near a plane."""
    votes = np.int32(0)
    for i in range(len(x_m)):
        votes += np.int32(abs(a * x_m[i] + b * y_m[i] + c * z_m[i] - offset) < tolerance_m)
    return int(votes)


@inner
def _distances(points_m: NDArray[np.float32], normal: FloatArray, offset_m: float, off_m: NDArray[np.float32]) -> None:
    """How far points (N, 3) lie above the plane normal . p + offset = 0, (N,)."""
    a, b, c, offset = np.float32(normal[0]), np.float32(normal[1]), np.float32(normal[2]), np.float32(offset_m)
    for n in range(len(points_m)):
        off_m[n] = a * points_m[n, 0] + b * points_m[n, 1] + c * points_m[n, 2] + offset


@inner
def _take_near(
    points_m: NDArray[np.float32],
    off_m: NDArray[np.float32],
    within_m: np.float32,
    inliers: NDArray[np.bool_],
    own_m: NDArray[np.float32],
) -> int:
    """Marks the points (N, 3) that are less far off, puts them into the first rows of `own_m`, and counts them."""
    count = 0
    for n in range(len(points_m)):
        inliers[n] = abs(off_m[n]) < within_m
        for axis in range(3):
            own_m[count, axis] = points_m[n, axis]
        count += inliers[n]
    return count


@inner
def _least_squares_plane(points_m: NDArray[np.float32]) -> tuple[FloatArray, float]:
    """The plane of least squared distance to (N, 3) points, the camera (the origin) on its free side.

    Returns:
        Its normal (3,), of length 1, and its offset.
    """
    mean, covariance_m2 = moments(points_m)
    normal = np.ascontiguousarray(np.linalg.eigh(covariance_m2)[1][:, 0])
    offset_m = -(normal[0] * mean[0] + normal[1] * mean[1] + normal[2] * mean[2])
    return (normal, offset_m) if offset_m >= 0 else (-normal, -offset_m)
