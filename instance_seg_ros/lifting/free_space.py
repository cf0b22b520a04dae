"""Whether the camera sees that nothing is below an object."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.lifting.bodies import FAR_GAP_M, Body

FloatArray = NDArray[np.float64]

_FREE_SHARE = 0.1
_MIN_FREE_M = 0.02
"""An object is held when this share, and so much, of a vertical between it and what is below is seen to be empty."""
_VERTICALS, _HEIGHT_STEP_M = 20, 0.004
_LEAST_DEPTH_M = 1e-3
"""What lies beside the camera or behind it counts as so far in front of it."""
_INNER_SHARE = 0.6
"""Verticals through points of the object that are drawn to its middle by this: a round body overhangs its foot."""
_HIGH, _HIGH_SHARE = 1.5, 0.8
"""By no more than the second where it would reach down by more than so many of its radii: hardly any body does that."""


def free_below(
    body: Body, height_m: float, basis: FloatArray, frame: RgbdFrame, mask: NDArray[np.bool_], tolerance_m: float
) -> bool:
    """Whether the camera sees free space between a body and something at a height below its middle."""
    inner_share = _HIGH_SHARE if body.lowest_m - height_m > max(_HIGH * body.radius_m, FAR_GAP_M) else _INNER_SHARE
    camera = frame.intrinsics
    share = _most_free(
        body.flat_m,
        body.middle_m,
        inner_share,
        basis,
        (height_m + tolerance_m, body.lowest_m - tolerance_m, body.extent_m[2][1], 2 * tolerance_m),
        np.ascontiguousarray(frame.depth_m),
        mask,
        (camera.fx, camera.fy, camera.cx, camera.cy),
    )
    return bool(share >= _FREE_SHARE and share * (body.lowest_m - height_m) >= _MIN_FREE_M)


@kernel(
    *("float64[:, :]", "float64[::1]", "float64", "float64[:, ::1]", "UniTuple(float64, 4)"),
    *("float32[:, ::1]", "boolean[:, :]", "UniTuple(float64, 4)"),
)
def _most_free(
    flat_m: FloatArray,
    middle_m: FloatArray,
    inner_share: float,
    basis: FloatArray,
    heights_m: tuple[float, float, float, float],
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    optics: tuple[float, float, float, float],
) -> float:
    """How much of a vertical below a body the camera sees to be free, of that of which it is most.

    A vertical that is free as high as the body reaches, too, goes through its hole or beside its arms, not below it.

    Args:
        flat_m: (N, 2) points of the body along the first two columns of the basis.
        middle_m: (2,) to which the verticals are drawn by a share.
        heights_m: from where to before where a vertical reaches; how high the body does; and how far behind a vertical
            what is seen lies at least.
        depth_m, mask: (H, W), of the whole image.
        optics: fx, fy, cx, cy.
    """
    first_m, last_m, top_m, behind_m = heights_m
    places, most = math.ceil((last_m - first_m) / _HEIGHT_STEP_M), 0
    if places <= 0:
        return 0.0
    higher = math.ceil((top_m - last_m) / _HEIGHT_STEP_M)
    for n in range(0, len(flat_m), 1 + len(flat_m) // _VERTICALS):
        along_m = middle_m[0] + inner_share * (flat_m[n, 0] - middle_m[0])
        aside_m = middle_m[1] + inner_share * (flat_m[n, 1] - middle_m[1])
        free, below = 0, False
        for k in range(places + higher):
            height_m = first_m + k * _HEIGHT_STEP_M
            x_m = along_m * basis[0, 0] + aside_m * basis[0, 1] + height_m * basis[0, 2]
            y_m = along_m * basis[1, 0] + aside_m * basis[1, 1] + height_m * basis[1, 2]
            z_m = along_m * basis[2, 0] + aside_m * basis[2, 1] + height_m * basis[2, 2]
            away_m = max(z_m, _LEAST_DEPTH_M)
            column, row = np.rint(x_m / away_m * optics[0] + optics[2]), np.rint(y_m / away_m * optics[1] + optics[3])
            apart_m, is_own = 0.0, False
            if 0 <= column < depth_m.shape[1] and 0 <= row < depth_m.shape[0]:
                v, u = int(row), int(column)
                apart_m, is_own = depth_m[v, u] - z_m, mask[v, u]
            if k < places:
                free += apart_m > behind_m and not is_own
            elif apart_m <= behind_m / 2:
                below = True
                break
        if below:
            most = max(most, free)
    return most / places
