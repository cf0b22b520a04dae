"""The foot of an object: how far above its support it may end, by where its mask ends."""

from __future__ import annotations

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
    camera_m, camera = -(body.origin_m @ body.basis), frame.intrinsics
    height_m, away_m = float(camera_m[2]), body.points_m[:, :2].mean(axis=0) - camera_m[:2]
    aside_m = float(np.hypot(*away_m))
    distance_m = float(np.hypot(aside_m, height_m))
    pixel_m = distance_m / camera.fx
    left, top, width, height = bounds
    front_m, hidden_m, is_covered = _fronts(
        np.ascontiguousarray(frame.depth_m),
        np.ascontiguousarray(mask),
        (top, top + height, left, left + width),
        (camera.fx, camera.fy, camera.cx, camera.cy),
        np.ascontiguousarray(body.basis),
        away_m / max(aside_m, 1e-6),
        (height_m, tolerance_m, _EDGE_PX * pixel_m * distance_m / max(height_m, 1e-6)),
    )
    if is_covered or not 0 < hidden_m < np.inf or front_m == np.inf or pixel_m * height_m > _COARSEST_M * hidden_m:
        return None, is_covered
    return (hidden_m - front_m) * height_m / hidden_m, False


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "UniTuple(int64, 4)", "UniTuple(float64, 4)"),
    *("float64[:, ::1]", "float64[::1]", "UniTuple(float64, 3)"),
)
def _fronts(
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    crop: tuple[int, int, int, int],
    optics: tuple[float, float, float, float],
    basis: FloatArray,
    away: FloatArray,
    lengths_m: tuple[float, float, float],
) -> tuple[float, float, bool]:
    """How far away the nearest of what was measured above a plane is, and the nearest of that which it hides.

    Both horizontally from the camera along a direction, infinite for none; whatever was measured counts, for the rim of
    a cup is dropped. And whether something else stands out from the plane right below the latter.

    Args:
        crop: rows and columns that hold the mask, from the first to before the last.
        optics: fx, fy, cx, cy.
        basis: (3, 3) of the plane's frame, the last column upwards.
        away: (2,) the direction, in the plane's frame.
        lengths_m: how high the camera is above the plane, and what is above it at least; how much nearer than the edge
            what is below that meets the plane.
    """
    top, bottom, left, right = crop
    camera_height_m, tolerance_m, edge_m = lengths_m
    front_m, hidden_m, at_row, at_column = np.inf, np.inf, top, left
    for row in range(top, bottom):
        for column in range(left, right):
            if not mask[row, column]:
                continue
            along, down = _sight(row, column, optics, basis, away)
            z = float(depth_m[row, column])
            if z > 0 and camera_height_m - down * z > tolerance_m:
                front_m = min(front_m, along * z)
            if down > 0 and along / down * camera_height_m < hidden_m:
                hidden_m, at_row, at_column = along / down * camera_height_m, row, column
    is_covered = False
    for row in range(max(0, at_row - _AROUND_PX), min(depth_m.shape[0], at_row + _AROUND_PX + 1)):
        for column in range(max(0, at_column - _AROUND_PX), min(depth_m.shape[1], at_column + _AROUND_PX + 1)):
            along, down = _sight(row, column, optics, basis, away)
            is_below = down > 0 and along / down * camera_height_m < hidden_m - edge_m and not mask[row, column]
            z = float(depth_m[row, column])
            is_covered |= is_below and z > 0 and camera_height_m - down * z > tolerance_m
    return front_m, hidden_m, is_covered


@inner
def _sight(
    row: int, column: int, optics: tuple[float, float, float, float], basis: FloatArray, away: FloatArray
) -> tuple[float, float]:
    """How far along a horizontal direction, and how far down, a line of sight goes for each metre of depth."""
    x, y = (column - optics[2]) / optics[0], (row - optics[3]) / optics[1]
    along = away[0] * (basis[0, 0] * x + basis[1, 0] * y + basis[2, 0])
    along += away[1] * (basis[0, 1] * x + basis[1, 1] * y + basis[2, 1])
    return along, -(basis[0, 2] * x + basis[1, 2] * y + basis[2, 2])
