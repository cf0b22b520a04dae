"""The foot of an object: how far above its support it may end, by where its mask ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.lifting.solid import Body
from instance_seg_ros.lifting.surface import Bounds

FloatArray = NDArray[np.float64]


def lifted_m(body: Body, frame: RgbdFrame, mask: NDArray[np.bool_], bounds: Bounds, tolerance_m: float) -> float | None:
    """How far above a plane what has upright sides ends, by the lower edge of its mask; below zero, how far below it.

    What stands with upright sides hides the plane from its own front on. The higher it is, the farther back is the
    nearest that it hides: the line of sight there passes its front at the height where it ends. What narrows towards
    its foot, out of sight, may end lower than that. None where the camera looks straight down.

    Args:
        body: in the frame of the plane.
        mask: (H, W) bool.
        bounds: of the mask.
        tolerance_m: what is no higher is the plane's own, under a generous mask.
    """
    camera_m, camera = -(body.origin_m @ body.basis), frame.intrinsics
    away_m = body.points_m[:, :2].mean(axis=0) - camera_m[:2]
    left, top, width, height = bounds
    front_m, hidden_m = _fronts(
        frame.depth_m,
        mask,
        (top, top + height, left, left + width),
        (camera.fx, camera.fy, camera.cx, camera.cy),
        np.ascontiguousarray(body.basis),
        away_m / max(float(np.hypot(*away_m)), 1e-6),
        float(camera_m[2]),
        tolerance_m,
    )
    if not 0 < hidden_m < np.inf or front_m == np.inf:
        return None
    return (hidden_m - front_m) * float(camera_m[2]) / hidden_m


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "UniTuple(int64, 4)", "UniTuple(float64, 4)"),
    *("float64[:, ::1]", "float64[::1]", "float64", "float64"),
)
def _fronts(
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    crop: tuple[int, int, int, int],
    optics: tuple[float, float, float, float],
    basis: FloatArray,
    away: FloatArray,
    camera_height_m: float,
    tolerance_m: float,
) -> tuple[float, float]:
    """How far away the nearest of what was measured above a plane is, and the nearest of that which it hides.

    Both horizontally from the camera along a direction, infinite for none; whatever was measured counts, for the rim of
    a cup is dropped.

    Args:
        crop: rows and columns that hold the mask, from the first to before the last.
        optics: fx, fy, cx, cy.
        basis: (3, 3) of the plane's frame, the last column upwards.
        away: (2,) the direction, in the plane's frame.
        camera_height_m: above the plane.
    """
    top, bottom, left, right = crop
    fx, fy, cx, cy = optics
    front_m, hidden_m = np.inf, np.inf
    for row in range(top, bottom):
        for column in range(left, right):
            if not mask[row, column]:
                continue
            x, y = (column - cx) / fx, (row - cy) / fy
            along = away[0] * (basis[0, 0] * x + basis[1, 0] * y + basis[2, 0])
            along += away[1] * (basis[0, 1] * x + basis[1, 1] * y + basis[2, 1])
            down = -(basis[0, 2] * x + basis[1, 2] * y + basis[2, 2])
            z = float(depth_m[row, column])
            if z > 0 and camera_height_m - down * z > tolerance_m:
                front_m = min(front_m, along * z)
            if down > 0:
                hidden_m = min(hidden_m, along / down * camera_height_m)
    return front_m, hidden_m
