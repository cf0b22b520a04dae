"""Loops over the points of a shape: those of a mask in a box, their heights, and what the camera looks through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SEEN_FREE_M = 0.006
"""A point so far in front of what the camera measured there is seen to be free."""
_LEAST_DEPTH_M = 1e-3
"""What lies beside the camera or behind it counts as so far in front of it."""
_OUTWARDS = 0.3
"""An outline lies so many cells farther out than the middles of the outermost cells."""


def _of_patterns(last: tuple[int, ...]) -> NDArray[np.int64]:
    """(512,) a Gauss filter over seven cells, in 64ths, and then one over three, of each pattern of nine in a row."""
    weights = np.convolve((2, 7, 14, 18, 14, 7, 2), last).tolist()
    return np.array([sum(own for k, own in enumerate(weights) if code & 256 >> k) for code in range(512)])


_SMOOTH, _RISE = _of_patterns((1, 2, 1)), _of_patterns((-1, 0, 1))
"""Of a pattern, the bits of whose number are its cells, the first bit 8: Sobel's filters of what is smoothed."""


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "UniTuple(int64, 4)", "float32[::1]"),
    *("float64[:, ::1]", "float64[::1]", "float64[::1]", "float64[:, ::1]"),
    writes=("found_m",),
)
def points_in_box(
    depth_m: NDArray[np.float32],
    mask: Flags,
    crop: tuple[int, int, int, int],
    camera: NDArray[np.float32],
    rotation: Floats,
    translation_m: Floats,
    far_m: Floats,
    found_m: Floats,
) -> int:
    """Every measured point of a mask inside a box that stands on z = 0 of a frame, in that frame; how many there are.

    Args:
        depth_m, mask: (H, W).
        crop: rows and columns that hold the mask, from the first to before the last.
        camera: fx, fy, cx, cy.
        rotation, translation_m: (3, 3) and (3,) of the camera in the frame of the box.
        far_m: (3,) half the sides of the box, and its height.
        found_m: (N, 3), no fewer than the pixels of the crop, to be filled from the first row on.
    """
    top, bottom, left, right = crop
    rays_x = np.empty(right - left)
    for column in range(left, right):
        rays_x[column - left] = (column - camera[2]) / camera[0]
    count = 0
    for row in range(top, bottom):
        ray_y = (row - camera[3]) / camera[1]
        for column in range(left, right):
            c_z = float(depth_m[row, column])
            if not mask[row, column] or c_z == 0:
                continue
            c_x, c_y = rays_x[column - left] * c_z, ray_y * c_z
            x = rotation[0, 0] * c_x + rotation[0, 1] * c_y + rotation[0, 2] * c_z + translation_m[0]
            y = rotation[1, 0] * c_x + rotation[1, 1] * c_y + rotation[1, 2] * c_z + translation_m[1]
            z = rotation[2, 0] * c_x + rotation[2, 1] * c_y + rotation[2, 2] * c_z + translation_m[2]
            if abs(x) <= far_m[0] and abs(y) <= far_m[1] and 0 < z <= far_m[2]:
                found_m[count, 0], found_m[count, 1], found_m[count, 2] = x, y, z
                count += 1
    return count


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "float64[:, ::1]", "float64[:, ::1]"),
    writes=("turned_m", "turned_normals"),
)
def turned(
    points_m: Floats, normals: Floats, rotation: Floats, translation_m: Floats, turned_m: Floats, turned_normals: Floats
) -> int:
    """The points (N, 3) that have a normal, and it, in another frame.

    Args:
        normals: (N, 3), zeros where there is none.
        rotation, translation_m: (3, 3) and (3,) of the frame of the points, in the other one.
        turned_m, turned_normals: (N, 3), to be filled from the first row on.

    Returns:
        How many there are.
    """
    count = 0
    for n in range(len(points_m)):
        n_x, n_y, n_z = normals[n, 0], normals[n, 1], normals[n, 2]
        if n_x == 0 and n_y == 0 and n_z == 0:
            continue
        x, y, z = points_m[n, 0], points_m[n, 1], points_m[n, 2]
        for axis in range(3):
            a, b, c = rotation[axis, 0], rotation[axis, 1], rotation[axis, 2]
            turned_m[count, axis] = x * a + y * b + z * c + translation_m[axis]
            turned_normals[count, axis] = n_x * a + n_y * b + n_z * c
        count += 1
    return count


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


@kernel("float32[:, ::1]", "float32[:, ::1]", "float64[::1]", "float64", "float64", "float64")
def outlines(
    top_m: NDArray[np.float32],
    inner_m: NDArray[np.float32],
    heights_m: Floats,
    low_x_m: float,
    low_y_m: float,
    cell_m: float,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """The outline at each of some heights of what reaches so high, and its directions.

    Those are of the gradient of all that reaches so high, 1, in what does not, 0, smoothed.

    Args:
        top_m: (I, J) the heights of the cells of a level grid; at its sides there are some of 0.
        inner_m: (I, J) the least of the nine cells around each.
        heights_m: (L,) above 0.
        low_x_m, low_y_m, cell_m: where the grid begins, and the side of a cell.

    Returns:
        points_m, outward: (E, 3), height by height; `outward` is level and of length 1.
        cell: (E,) the index of each in the L grids, flattened.
    """
    rows, columns = top_m.shape
    count = 0
    for level_m in heights_m:
        for i in range(rows):
            for j in range(columns):
                count += (top_m[i, j] >= level_m) & (inner_m[i, j] < level_m)
    points_m, outward, cell = np.empty((count, 3)), np.zeros((count, 3)), np.empty(count, np.int64)
    patterns = np.empty((rows, columns), np.int64)
    n = 0
    for level in range(len(heights_m)):
        level_m = heights_m[level]
        for i in range(rows):
            pattern = 0
            for j in range(-4, columns):
                pattern = (pattern << 1) & 511
                if j + 4 < columns and top_m[i, j + 4] >= level_m:
                    pattern |= 1
                if j >= 0:
                    patterns[i, j] = pattern
        for i in range(rows):
            for j in range(columns):
                if not (top_m[i, j] >= level_m and inner_m[i, j] < level_m):
                    continue
                down, right = 0, 0
                for k in range(max(0, 4 - i), min(9, rows + 4 - i)):
                    pattern = patterns[i + k - 4, j]
                    down += _RISE[256 >> k] * _SMOOTH[pattern]
                    right += _SMOOTH[256 >> k] * _RISE[pattern]
                # Gradients in float32 hold these whole numbers of 4096ths as they are.
                rise_x, rise_y = np.float32(down / 4096), np.float32(right / 4096)
                rise = max(np.sqrt(rise_x * rise_x + rise_y * rise_y), np.float32(1e-6))
                out_x, out_y = -rise_x / rise, -rise_y / rise
                beyond_m = np.float32(_OUTWARDS * cell_m)
                points_m[n, 0] = low_x_m + (i + 0.5) * cell_m + beyond_m * out_x
                points_m[n, 1] = low_y_m + (j + 0.5) * cell_m + beyond_m * out_y
                points_m[n, 2] = level_m
                outward[n, 0], outward[n, 1] = out_x, out_y
                cell[n] = (level * rows + i) * columns + j
                n += 1
    return points_m, outward, cell


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "float64[::1]", "float64"),
    *("float64[:, ::1]", "float64[::1]", "float32[:, ::1]", "float32[::1]"),
)
def unseen_counterparts(
    points_m: Floats,
    normals: Floats,
    flip: Floats,
    shift_m: Floats,
    inwards_m: float,
    rotation: Floats,
    translation_m: Floats,
    depth_m: NDArray[np.float32],
    camera: NDArray[np.float32],
) -> tuple[Floats, Floats]:
    """Where a symmetry maps the points of a surface, but for what the camera looks through.

    Args:
        points_m, normals: (N, 3) of the surface, in any frame.
        flip, shift_m: (3,) a point is mapped to flip * point + shift, a normal to flip * normal.
        inwards_m: the mapped points are looked at so far below their surface.
        rotation, translation_m: (3, 3) and (3,) of the frame of the points, in the camera's.
        depth_m: (H, W).
        camera: fx, fy, cx, cy.

    Returns:
        (M, 3) points and (M, 3) normals, in their order.
    """
    mapped_m, mapped_normals = np.empty(points_m.shape), np.empty(points_m.shape)
    count = 0
    for n in range(len(points_m)):
        x, y, z = points_m[n, 0] * flip[0], points_m[n, 1] * flip[1], points_m[n, 2] * flip[2]
        x, y, z = x + shift_m[0], y + shift_m[1], z + shift_m[2]
        n_x, n_y, n_z = normals[n, 0] * flip[0], normals[n, 1] * flip[1], normals[n, 2] * flip[2]
        is_free = _is_free(
            x - inwards_m * n_x,
            y - inwards_m * n_y,
            z - inwards_m * n_z,
            rotation,
            translation_m,
            depth_m,
            camera,
        )
        if not is_free:
            mapped_m[count, 0], mapped_m[count, 1], mapped_m[count, 2] = x, y, z
            mapped_normals[count, 0], mapped_normals[count, 1], mapped_normals[count, 2] = n_x, n_y, n_z
            count += 1
    return mapped_m[:count].copy(), mapped_normals[:count].copy()


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64", "float64"),
    *("float64[:, ::1]", "float64[::1]", "float32[:, ::1]", "float32[::1]"),
)
def first_unrefuted(
    points_m: Floats,
    normals: Floats,
    flips: Floats,
    shifts_m: Floats,
    inwards_m: float,
    most: float,
    rotation: Floats,
    translation_m: Floats,
    depth_m: NDArray[np.float32],
    camera: NDArray[np.float32],
) -> int:
    """The first of some symmetries that the camera does not refute, or -1.

    Args:
        points_m, normals: (N, 3) of a surface, N > 0, in any frame.
        flips, shifts_m: (K, 3) a symmetry maps a point to flip * point + shift, and a normal to flip * normal.
        inwards_m: the mapped points are looked at so far below their surface.
        most: the share of points that the camera may look through.
        rotation, translation_m, depth_m, camera: as `unseen_counterparts`.
    """
    for k in range(len(flips)):
        free, n = 0, 0
        while n < len(points_m) and free / len(points_m) <= most:
            free += _is_free(
                points_m[n, 0] * flips[k, 0] + shifts_m[k, 0] - inwards_m * (normals[n, 0] * flips[k, 0]),
                points_m[n, 1] * flips[k, 1] + shifts_m[k, 1] - inwards_m * (normals[n, 1] * flips[k, 1]),
                points_m[n, 2] * flips[k, 2] + shifts_m[k, 2] - inwards_m * (normals[n, 2] * flips[k, 2]),
                rotation,
                translation_m,
                depth_m,
                camera,
            )
            n += 1
        if free / len(points_m) <= most:
            return k
    return -1


@inner
def _is_free(
    p_x: float,
    p_y: float,
    p_z: float,
    rotation: Floats,
    translation_m: Floats,
    depth_m: NDArray[np.float32],
    camera: NDArray[np.float32],
) -> bool:
    """Whether the camera looks through a point."""
    height, width = depth_m.shape
    x = rotation[0, 0] * p_x + rotation[0, 1] * p_y + rotation[0, 2] * p_z + translation_m[0]
    y = rotation[1, 0] * p_x + rotation[1, 1] * p_y + rotation[1, 2] * p_z + translation_m[1]
    z = rotation[2, 0] * p_x + rotation[2, 1] * p_y + rotation[2, 2] * p_z + translation_m[2]
    away_m = max(z, _LEAST_DEPTH_M)
    column, row = np.rint(x / away_m * camera[0] + camera[2]), np.rint(y / away_m * camera[1] + camera[3])
    if not (0 <= column < width and 0 <= row < height):
        return False
    seen_m = depth_m[int(row), int(column)]
    return seen_m > 0 and z < seen_m - _SEEN_FREE_M
