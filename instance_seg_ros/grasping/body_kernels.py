"""Loops over the points of a body: its neighbours, its heights, and the axis that it is round about."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

UPRIGHT_SLOPE = 0.75
"""|z| of a normal above which a point is on top rather than on a side."""
_SLICE_M = 0.006
_CIRCLE_STEPS = 4
_CIRCLE_TOLERANCE_M = 0.0012
_CIRCLE_TOLERANCE_RATIO = 0.04
_MIN_ROUND_POINTS = 40
_MIN_ROUND_SHARE = 0.7
_MIN_OUTWARD_SHARE = 0.8
_MIN_ARC = math.radians(90.0)
_FARTHEST_AXIS_M = 0.2
_ROUNDING = 1e-9


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64")
def any_near(points_m: Floats, others_m: Floats, radius_m: float) -> Flags:
    """Which points (N,) have one of the others (M, 3) within a radius."""
    near = np.zeros(len(points_m), np.bool_)
    if not len(others_m):
        return near
    # Only those are looked at that are no farther than the radius along the axis on which the others are spread most.
    axis, widest_m = 0, -np.inf
    for own in range(3):
        wide_m = others_m[:, own].max() - others_m[:, own].min()
        if wide_m > widest_m:
            axis, widest_m = own, wide_m
    ordered_m = others_m[np.argsort(others_m[:, axis])]
    along_m, reach_m = ordered_m[:, axis].copy(), radius_m * (1 + _ROUNDING)
    begins = np.searchsorted(along_m, points_m[:, axis] - reach_m)
    ends = np.searchsorted(along_m, points_m[:, axis] + reach_m)
    for n in range(len(points_m)):
        for m in range(begins[n], ends[n]):
            squared_m2 = 0.0
            for own in range(3):
                squared_m2 += (points_m[n, own] - ordered_m[m, own]) ** 2
            if squared_m2 <= radius_m * radius_m:
                near[n] = True
                break
    return near


@kernel(
    "float32[:, ::1]",
    "boolean[:, ::1]",
    "int64",
    "int64",
    "int64",
    "int64",
    "float32[::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float64[::1]",
)
def points_in_box(
    depth_m: NDArray[np.float32],
    mask: Flags,
    top: int,
    bottom: int,
    left: int,
    right: int,
    camera: NDArray[np.float32],
    rotation: Floats,
    translation_m: Floats,
    far_m: Floats,
) -> Floats:
    """Every measured point of a mask inside a box that stands on z = 0 of a frame, in that frame.

    Args:
        depth_m, mask: (H, W).
        top, bottom, left, right: rows and columns that hold the mask, from the first to before the last.
        camera: fx, fy, cx, cy.
        rotation, translation_m: (3, 3) and (3,) of the camera in the frame of the box.
        far_m: (3,) half the sides of the box, and its height.
    """
    found_m = np.empty(((bottom - top) * (right - left), 3))
    count = 0
    for row in range(top, bottom):
        for column in range(left, right):
            c_z = float(depth_m[row, column])
            if not mask[row, column] or c_z == 0:
                continue
            c_x, c_y = (column - camera[2]) / camera[0] * c_z, (row - camera[3]) / camera[1] * c_z
            x = rotation[0, 0] * c_x + rotation[0, 1] * c_y + rotation[0, 2] * c_z + translation_m[0]
            y = rotation[1, 0] * c_x + rotation[1, 1] * c_y + rotation[1, 2] * c_z + translation_m[1]
            z = rotation[2, 0] * c_x + rotation[2, 1] * c_y + rotation[2, 2] * c_z + translation_m[2]
            if abs(x) <= far_m[0] and abs(y) <= far_m[1] and 0 < z <= far_m[2]:
                found_m[count, 0], found_m[count, 1], found_m[count, 2] = x, y, z
                count += 1
    return found_m[:count].copy()


@kernel("float64[:, ::1]", "float64", "int64", "int64")
def heights_over_cells(
    points_m: Floats, cell_m: float, rim: int, most: int
) -> tuple[float, float, NDArray[np.float32]]:
    """The height z of the highest point over each cell of a level grid.

    Args:
        points_m: (N, 3), N > 0.
        cell_m: side of a cell.
        rim: cells without points all around.
        most: a grid of more cells than this along a side is left empty.

    Returns:
        low_x_m, low_y_m: where the grid begins.
        heights_m: (I, J) float32, 0 over cells without a point above 0; (0, 0) for a grid that is too large.
    """
    low_x_m, low_y_m, high_x_m, high_y_m = np.inf, np.inf, -np.inf, -np.inf
    for n in range(len(points_m)):
        low_x_m, high_x_m = min(low_x_m, points_m[n, 0]), max(high_x_m, points_m[n, 0])
        low_y_m, high_y_m = min(low_y_m, points_m[n, 1]), max(high_y_m, points_m[n, 1])
    low_x_m, low_y_m = low_x_m - rim * cell_m, low_y_m - rim * cell_m
    sides = max(high_x_m - low_x_m, high_y_m - low_y_m) / cell_m + 1 + rim
    if sides > most:
        return low_x_m, low_y_m, np.zeros((0, 0), np.float32)
    shape = int((high_x_m - low_x_m) / cell_m) + 1 + rim, int((high_y_m - low_y_m) / cell_m) + 1 + rim
    heights_m = np.zeros(shape, np.float32)
    for n in range(len(points_m)):
        i, j = int((points_m[n, 0] - low_x_m) / cell_m), int((points_m[n, 1] - low_y_m) / cell_m)
        heights_m[i, j] = max(heights_m[i, j], np.float32(points_m[n, 2]))
    return low_x_m, low_y_m, heights_m


@inner
def _means(values: Floats, slices: Ints, inlier: Flags, means: Floats, counts: Floats) -> None:
    """The mean of the inliers of each slice, 0 where there is none, into `means`."""
    means[:], counts[:] = 0.0, 0.0
    for n in range(len(values)):
        if inlier[n]:
            means[slices[n]] += values[n]
            counts[slices[n]] += 1
    for k in range(len(means)):
        means[k] /= max(counts[k], 1.0)


@kernel("float64[:, ::1]", "float64[:, ::1]")
def upright_axis(points_m: Floats, normals: Floats) -> tuple[bool, float, float]:
    """Whether a body is one of revolution about an upright axis, and where that is in x and y.

    Circles with a common centre and a radius for each height are fitted to level slices of the sides: with m the means
    over a slice, 2 c (p - m) = |p|^2 - mean |p|^2, which is linear in the centre c. What lies off its slice's circle,
    a handle, is left out, step by step.

    Args:
        points_m, normals: (N, 3), z up.
    """
    sides = np.flatnonzero(np.abs(normals[:, 2]) < UPRIGHT_SLOPE)
    count = len(sides)
    if count < _MIN_ROUND_POINTS:
        return False, 0.0, 0.0
    x_m, y_m = points_m[:, 0][sides], points_m[:, 1][sides]
    slices = np.floor(points_m[:, 2][sides] / _SLICE_M).astype(np.int64)
    slices -= slices.min()
    squared_m2 = x_m * x_m + y_m * y_m
    means = np.empty((3, slices.max() + 1))
    counts = np.empty(means.shape[1])
    inlier, off_m, tolerance_m = np.ones(count, np.bool_), np.empty(count), np.empty(count)
    centre_x, centre_y = x_m.mean(), y_m.mean()
    for _ in range(_CIRCLE_STEPS):
        _means(x_m, slices, inlier, means[0], counts)
        _means(y_m, slices, inlier, means[1], counts)
        _means(squared_m2, slices, inlier, means[2], counts)
        a, b, c, p, q = 0.0, 0.0, 0.0, 0.0, 0.0
        for n in range(count):
            if inlier[n]:
                left_x, left_y = 2 * (x_m[n] - means[0, slices[n]]), 2 * (y_m[n] - means[1, slices[n]])
                right = squared_m2[n] - means[2, slices[n]]
                a, b, c = a + left_x * left_x, b + left_x * left_y, c + left_y * left_y
                p, q = p + left_x * right, q + left_y * right
        radius = math.hypot((a - c) / 2, b)  # the eigenvalues are (a + c) / 2 plus and minus this
        if (a + c) / 2 + radius >= 1e6 * ((a + c) / 2 - radius):
            return False, 0.0, 0.0
        determinant = a * c - b * b
        centre_x, centre_y = (c * p - b * q) / determinant, (a * q - b * p) / determinant
        for n in range(count):
            off_m[n] = math.hypot(x_m[n] - centre_x, y_m[n] - centre_y)
        _means(off_m, slices, inlier, means[0], counts)
        inliers = 0
        for n in range(count):
            radius_m = means[0, slices[n]]
            off_m[n] = abs(off_m[n] - radius_m)
            tolerance_m[n] = _CIRCLE_TOLERANCE_M + _CIRCLE_TOLERANCE_RATIO * radius_m
            inlier[n] = off_m[n] <= 1.5 * tolerance_m[n]
            inliers += inlier[n]
        if inliers < _MIN_ROUND_POINTS:
            return False, 0.0, 0.0
    angles = np.empty(inliers)
    within, outward, k = 0, 0, 0
    for n in range(count):
        if inlier[n]:
            x, y = x_m[n] - centre_x, y_m[n] - centre_y
            within += off_m[n] <= tolerance_m[n]
            # The inside of a vessel has its normals the other way.
            outward += x * normals[sides[n], 0] + y * normals[sides[n], 1] > 0
            angles[k] = math.atan2(y, x)
            k += 1
    if within < _MIN_ROUND_SHARE * count or outward < _MIN_OUTWARD_SHARE * inliers:
        return False, 0.0, 0.0
    angles.sort()
    gap = angles[0] + 2 * math.pi - angles[-1]
    for k in range(1, inliers):
        gap = max(gap, angles[k] - angles[k - 1])
    far = math.hypot(centre_x - x_m.mean(), centre_y - y_m.mean()) > _FARTHEST_AXIS_M
    return not (far or 2 * math.pi - gap < _MIN_ARC), centre_x, centre_y
