"""The foot of an object: how far above its support it may end, by where its mask ends."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.solid import Body
from instance_seg_ros.lifting.surface import Bounds

FloatArray = NDArray[np.float64]

_EDGE_PX, _AROUND_PX = 3, 7
"""What stands out within these distances below the edge of a mask hides what goes on below it; nearer to it depth is
that of the object as well."""
_COARSEST_M = 0.012
"""Where a pixel at the lower edge of a mask is worth more height than this, it is seen too steeply to tell."""


def lifted_m(
    body: Body, frame: RgbdFrame, mask: NDArray[np.bool_], bounds: Bounds, tolerance_m: float
) -> tuple[float | None, bool]:
    """How far above a plane what has upright sides ends, by the lower edge of its mask; below zero, how far below it.

    None where something in front hides the edge, and where the camera looks so steeply down that it cannot tell. And
    whether something in front hides it.

    What stands with upright sides hides the plane from its own front on. The higher it is, the farther back is the
    nearest that it hides: the line of sight there passes its front at the height where it ends. What narrows towards
    its foot, out of sight, may end lower than that.

    Args:
        body: in the frame of the plane.
        mask: (H, W) bool.
        bounds: of the mask.
        tolerance_m: what is no higher is the plane's own, under a generous mask.
    """
    camera = frame.intrinsics
    left, top, width, height = bounds
    front_m, hidden_m, is_covered, height_m, pixel_m = _fronts(
        np.ascontiguousarray(frame.depth_m),
        np.ascontiguousarray(mask),
        (top, top + height, left, left + width),
        (camera.fx, camera.fy, camera.cx, camera.cy),
        body.points_m,
        body.pose,
        tolerance_m,
    )
    if is_covered or not 0 < hidden_m < np.inf or front_m == np.inf or pixel_m * height_m > _COARSEST_M * hidden_m:
        return None, is_covered
    return (hidden_m - front_m) * height_m / hidden_m, False


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "UniTuple(int64, 4)", "UniTuple(float64, 4)"),
    *("float64[:, :]", "float64[:, ::1]", "float64"),
)
def _fronts(
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    crop: tuple[int, int, int, int],
    optics: tuple[float, float, float, float],
    points_m: FloatArray,
    pose: FloatArray,
    tolerance_m: float,
) -> tuple[float, float, bool, float, float]:
    """How far away the nearest of what was measured above a plane is, and the nearest of that which it hides.

    Both horizontally from the camera towards the object, infinite for none; whatever was measured counts, for the rim
    of a cup is dropped. And whether something else stands out from the plane right below the latter.

    Args:
        crop: rows and columns that hold the mask, from the first to before the last.
        optics: fx, fy, cx, cy.
        points_m: (N, 3) of the object, in the plane's frame.
        pose: (4, 3) the basis of that, the last column upwards, and its origin.
        tolerance_m: how high what is above the plane is at least.

    Returns:
        Those three; how high the camera is above the plane; and how wide a pixel is at the object.
    """
    top, bottom, left, right = crop
    front_m, hidden_m, at_row, at_column = np.inf, np.inf, top, left
    camera_m, middle_m = np.zeros(3), np.zeros(2)
    for axis in range(3):
        for k in range(3):
            camera_m[axis] -= pose[3, k] * pose[k, axis]
    for n in range(len(points_m)):
        middle_m[0] += points_m[n, 0]
        middle_m[1] += points_m[n, 1]
    away_x, away_y, height_m = (
        middle_m[0] / len(points_m) - camera_m[0],
        middle_m[1] / len(points_m) - camera_m[1],
        camera_m[2],
    )
    aside_m = math.sqrt(away_x * away_x + away_y * away_y)
    distance_m = math.sqrt(aside_m * aside_m + height_m * height_m)
    pixel_m = distance_m / optics[0]
    away = away_x / max(aside_m, 1e-6), away_y / max(aside_m, 1e-6)
    # What is nearer to the edge than this, by where it meets the plane, is at the edge.
    edge_m = _EDGE_PX * pixel_m * distance_m / max(height_m, 1e-6)
    for row in range(top, bottom):
        along, along_step, down, down_step = _sights(row, optics, pose, away)
        for column in range(left, right):
            if not mask[row, column]:
                continue
            own_along, own_down = along + column * along_step, down + column * down_step
            z = float(depth_m[row, column])
            if z > 0 and height_m - own_down * z > tolerance_m:
                front_m = min(front_m, own_along * z)
            if own_down > 0 and own_along * height_m < hidden_m * own_down:
                hidden_m, at_row, at_column = own_along / own_down * height_m, row, column
    is_covered = False
    for row in range(max(0, at_row - _AROUND_PX), min(depth_m.shape[0], at_row + _AROUND_PX + 1)):
        along, along_step, down, down_step = _sights(row, optics, pose, away)
        for column in range(max(0, at_column - _AROUND_PX), min(depth_m.shape[1], at_column + _AROUND_PX + 1)):
            own_along, own_down = along + column * along_step, down + column * down_step
            is_below = own_down > 0 and own_along / own_down * height_m < hidden_m - edge_m and not mask[row, column]
            z = float(depth_m[row, column])
            is_covered |= is_below and z > 0 and height_m - own_down * z > tolerance_m
    return front_m, hidden_m, is_covered, height_m, pixel_m


@inner
def _sights(
    row: int, optics: tuple[float, float, float, float], basis: FloatArray, away: tuple[float, float]
) -> tuple[float, float, float, float]:
    """How far the line of sight of a row's first pixel goes along a horizontal direction for each metre of depth, and
    how much more that of each next one; and both downwards."""
    x, y, step = -optics[2] / optics[0], (row - optics[3]) / optics[1], 1 / optics[0]
    aside = away[0] * basis[0, 0] + away[1] * basis[0, 1]
    along = (
        aside * x + (away[0] * basis[1, 0] + away[1] * basis[1, 1]) * y + away[0] * basis[2, 0] + away[1] * basis[2, 1]
    )
    down = -(basis[0, 2] * x + basis[1, 2] * y + basis[2, 2])
    return along, aside * step, down, -basis[0, 2] * step
