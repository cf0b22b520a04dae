"""Surfaces on the organised depth image: depth steps, and least-squares planes in a window around each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.camera import Intrinsics

Float32Array = NDArray[np.float32]

_MIN_WINDOW_SHARE = 0.15
"""A window with fewer of its pixels measured than this gives no plane: what is fitted there is noise."""


def step_tolerance_m(depth_m: NDArray[np.float32], step_m: float, step_ratio: float) -> NDArray[np.float32]:
    """The jump above which two neighbours belong to different surfaces, like `depth_m` in shape."""
    return np.maximum(np.float32(step_m), depth_m * np.float32(step_ratio))


def depth_step_pixels(depth_m: NDArray[np.float32], step_m: float, step_ratio: float) -> NDArray[np.bool_]:
    """Pixels on either side of a depth step.

    Args:
        depth_m: (H, W) float32, metres, 0 = no measurement; a missing neighbour is no step.
        step_m, step_ratio: a jump between 4-neighbours is a step above max(step_m, step_ratio * depth).

    Returns:
        (H, W) bool.
    """
    measured = depth_m > 0
    tolerance_m = step_tolerance_m(depth_m, step_m, step_ratio)
    steps = np.zeros(depth_m.shape, dtype=bool)
    for first, second in (
        ((slice(1, None),), (slice(None, -1),)),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        jump = np.abs(depth_m[first] - depth_m[second]) > tolerance_m[first]
        jump &= measured[first] & measured[second]
        steps[first] |= jump
        steps[second] |= jump
    return steps


@dataclass(frozen=True, eq=False)
class LocalPlanes:
    """A plane for each pixel of an image crop, fitted to the kept pixels of a window around it.

    A plane is linear in inverse depth, 1 / z = inverse_depth + slope_x * du + slope_y * dv, and the noise of the
    measurement is in z alone, so that ordinary least squares there has no bias towards the camera; and the fit says
    what depth the surface would have at a pixel that was not kept.

    Attributes:
        valid: (h, w) bool, where the window held enough pixels for a plane.
        inverse_depth: (h, w) float32, 1 / metres at the pixel itself; unspecified where not valid.
        slope_x, slope_y: (h, w) float32, change of inverse depth per pixel to the right and down.
    """

    valid: NDArray[np.bool_]
    inverse_depth: NDArray[np.float32]
    slope_x: NDArray[np.float32]
    slope_y: NDArray[np.float32]

    @property
    def depth_m(self) -> NDArray[np.float32]:
        """(h, w) float32, the depth of each plane at its pixel, metres; 0 where there is no plane."""
        return np.divide(1, self.inverse_depth, out=np.zeros_like(self.inverse_depth), where=self.valid)

    def normals(
        self, rows: NDArray[np.integer], columns: NDArray[np.integer], rays: NDArray[np.float32], intrinsics: Intrinsics
    ) -> NDArray[np.float32]:
        """Unit normals towards the camera at some pixels of the crop, (N, 3) float32, camera optical frame.

        Args:
            rows, columns: (N,) pixel indices in the crop, valid there.
            rays: (h, w, 2) the crop's rays.
        """
        x = self.slope_x[rows, columns] * np.float32(intrinsics.fx)
        y = self.slope_y[rows, columns] * np.float32(intrinsics.fy)
        ray = rays[rows, columns]
        z = self.inverse_depth[rows, columns] - ray[:, 0] * x - ray[:, 1] * y
        # n . ray = 1 / z > 0 points away from the camera.
        outward = -np.stack([x, y, z], axis=1)
        return outward / np.linalg.norm(outward, axis=1, keepdims=True)


def fit_local_planes(depth_m: NDArray[np.float32], keep: NDArray[np.bool_], radius_px: int) -> LocalPlanes:
    """Fit a plane around every pixel of a crop to the pixels of `keep` in a square window, by separable filters.

    Args:
        depth_m: (h, w) float32, metres, above 0 where `keep`.
        keep: (h, w) bool, the pixels of one surface.
        radius_px: half the window's side, > 0; the window has 2 * radius_px + 1 pixels a side.
    """
    weight = keep.astype(np.float32)
    inverse = np.divide(1, depth_m, out=np.zeros_like(depth_m), where=keep)
    one = np.ones(2 * radius_px + 1, dtype=np.float32)
    offset = (np.arange(-radius_px, radius_px + 1) / radius_px).astype(np.float32)

    def moment(image: Float32Array, along_x: Float32Array, along_y: Float32Array) -> Float32Array:
        return cv2.sepFilter2D(image, cv2.CV_32F, along_x, along_y, borderType=cv2.BORDER_CONSTANT)

    s, sx, sy = moment(weight, one, one), moment(weight, offset, one), moment(weight, one, offset)
    sxx, sxy, syy = moment(weight, offset**2, one), moment(weight, offset, offset), moment(weight, one, offset**2)
    b, bx, by = moment(inverse, one, one), moment(inverse, offset, one), moment(inverse, one, offset)
    # Cramer's rule on the symmetric 3x3 normal equations; centring first keeps float32 accurate.
    count = np.maximum(s, 1)
    mx, my, mb = sx / count, sy / count, b / count
    cxx, cxy, cyy = sxx - sx * mx, sxy - sx * my, syy - sy * my
    cxb, cyb = bx - sx * mb, by - sy * mb
    determinant = cxx * cyy - cxy * cxy
    valid = (s >= max(6.0, _MIN_WINDOW_SHARE * one.size**2)) & (determinant > 1e-4 * count * count)
    safe = np.where(valid, determinant, 1)
    slope_x = (cyy * cxb - cxy * cyb) / safe
    slope_y = (cxx * cyb - cxy * cxb) / safe
    inverse_depth = mb - slope_x * mx - slope_y * my
    valid &= inverse_depth > 1e-3
    scale = np.float32(1 / radius_px)
    fit = (plane.astype(np.float32) for plane in (inverse_depth, slope_x * scale, slope_y * scale))
    return LocalPlanes(valid, *fit)


def window_radius_px(depth_m: float, focal_px: float, half_side_m: float = 0.007) -> int:
    """Half the side in pixels, 3 to 8, of the window that spans twice `half_side_m` at this depth."""
    return int(np.clip(round(half_side_m * focal_px / depth_m), 3, 8))
