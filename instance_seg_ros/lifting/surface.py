"""Surfaces on the organised depth image: depth steps, neighbourhoods, and least-squares planes around each pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import length

Bounds = tuple[int, int, int, int]

_MIN_WINDOW_SHARE = 0.15
"""A window with fewer of its pixels measured than this gives no plane: what is fitted there is noise."""


def step_tolerance_m(depth_m: NDArray[np.float32], step_m: float, step_ratio: float) -> NDArray[np.float32]:
    """The jump above which two neighbours belong to different surfaces, like `depth_m` in shape."""
    return np.maximum(depth_m * step_ratio, step_m)


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
    steps = np.zeros_like(measured)
    below, above, right, left = np.s_[1:], np.s_[:-1], np.s_[:, 1:], np.s_[:, :-1]
    for first, second in ((below, above), (right, left)):
        jump = abs(depth_m[first] - depth_m[second]) > tolerance_m[first]
        jump &= measured[first] & measured[second]
        steps[first] |= jump
        steps[second] |= jump
    return steps


def crop_of(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Rows and columns of the mask's tight box, wider by a margin inside the image; one pixel for an empty mask."""
    return crop_around(bounds_of(mask), mask.shape, margin)


def bounds_of(mask: NDArray[np.bool_]) -> Bounds:
    """Left, top, width and height in pixels of the tight box of (H, W); width and height are 0 for an empty mask."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, width, height


def crop_around(bounds: Bounds, shape: tuple[int, ...], margin: int) -> tuple[slice, slice]:
    """As `crop_of` a mask of the shape (H, W) whose bounds are known."""
    left, top, width, height = bounds
    if not width:
        return slice(0, 1), slice(0, 1)
    return (
        slice(max(0, top - margin), min(shape[0], top + height + margin)),
        slice(max(0, left - margin), min(shape[1], left + width + margin)),
    )


def dilated(image: NDArray, side_px: int) -> NDArray:
    """The largest of the square of this odd side around each pixel of (H, W) bool, int16 or float32."""
    return _filtered(cv2.dilate, image, side_px)


def eroded(mask: NDArray[np.bool_], side_px: int) -> NDArray[np.bool_]:
    """The smallest likewise, of (H, W) bool; beyond the image's border all is true."""
    # OpenCV erodes from inside the image alone, so beyond its border all counts as true.
    return _filtered(cv2.erode, mask, side_px)


def _filtered(function: Callable[..., NDArray], image: NDArray, side_px: int) -> NDArray:
    """OpenCV's `dilate` or `erode`."""
    plane = image.view(np.uint8) if image.dtype == np.bool_ else image
    return function(plane, np.ones((side_px, side_px), np.uint8)).astype(image.dtype, copy=False)


@dataclass(frozen=True, eq=False)
class LocalPlanes:
    """A plane for each pixel of an image, fitted to the kept pixels around it.

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
        """The depth of each plane at its pixel, float32 metres; 0 where there is no plane."""
        return np.where(self.valid, 1 / np.where(self.valid, self.inverse_depth, 1), 0)

    def at(self, places: NDArray[np.int64]) -> LocalPlanes:
        """Those at some pixels, of shape (K,), by (K,) indices into the flattened image."""
        return LocalPlanes(
            self.valid.reshape(-1)[places],
            self.inverse_depth.reshape(-1)[places],
            self.slope_x.reshape(-1)[places],
            self.slope_y.reshape(-1)[places],
        )

    def normals(self, rays: NDArray[np.float32], intrinsics: Intrinsics) -> NDArray[np.float32]:
        """Unit normals towards the camera, (..., 3) float32, camera optical frame; unspecified where not valid.

        Args:
            rays: (..., 2) of the planes' pixels.
        """
        x, y = self.slope_x * intrinsics.fx, self.slope_y * intrinsics.fy
        z = self.inverse_depth - rays[..., 0] * x - rays[..., 1] * y
        # n . ray = 1 / z > 0 points away from the camera.
        outward = -np.stack([x, y, z], axis=-1)
        return outward / length(outward).clip(min=1e-12)[..., None]


def fit_local_planes(depth_m: NDArray[np.float32], keep: NDArray[np.bool_], radius_px: int) -> LocalPlanes:
    """Fit a plane around every pixel to the pixels of `keep` in a square window, by separable filters.

    Args:
        depth_m: (h, w) float32, metres, above 0 where `keep`.
        keep: (h, w) bool, the pixels of one surface.
        radius_px: half the window's side, > 0; a window has 2 * radius + 1 pixels a side.
    """
    weight = keep.astype(np.float32)
    inverse = np.divide(weight, np.where(keep, depth_m, 1), dtype=np.float32)
    s, sx, sy, sxx, sxy, syy = _window_moments(weight, radius_px, ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)))
    b, bx, by = _window_moments(inverse, radius_px, ((0, 0), (1, 0), (0, 1)))
    # Cramer's rule on the symmetric 3x3 normal equations; centring first keeps float32 accurate.
    count = s.clip(min=1)
    mx, my, mb = sx / count, sy / count, b / count
    # In place: fresh memory for every product would take longer than the arithmetic.
    sxx -= sx * mx
    sxy -= sx * my
    syy -= sy * my
    bx -= sx * mb
    by -= sy * mb
    determinant = sxx * syy
    determinant -= sxy * sxy
    enough = max(6.0, _MIN_WINDOW_SHARE * (2 * radius_px + 1) ** 2)
    valid = (s >= enough) & (determinant > 1e-4 * count * count)
    determinant[~valid] = 1
    slope_x = syy * bx
    slope_x -= sxy * by
    slope_x /= determinant
    slope_y = sxx * by
    slope_y -= sxy * bx
    slope_y /= determinant
    mx *= slope_x
    my *= slope_y
    mb -= mx
    mb -= my
    valid &= mb > 1e-3
    scale = np.float32(1 / radius_px)
    slope_x *= scale
    slope_y *= scale
    return LocalPlanes(valid, inverse_depth=mb, slope_x=slope_x, slope_y=slope_y)


def _window_moments(
    image: NDArray[np.float32], radius_px: int, powers_xy: Sequence[tuple[int, int]]
) -> list[NDArray[np.float32]]:
    """For each (p, q) the sums of image * u^p * v^q over a square window around every pixel, (h, w) float32.

    Args:
        image: (h, w) float32, 0 beyond its border.
        radius_px: the window spans 2 radius + 1 pixels a side, over which u and v go from -1 to 1.
    """
    offset = (np.arange(-radius_px, radius_px + 1) / radius_px).astype(np.float32)
    return [
        cv2.sepFilter2D(image, cv2.CV_32F, offset**x, offset**y, borderType=cv2.BORDER_CONSTANT) for x, y in powers_xy
    ]


def window_radius_px(depth_m: float, focal_px: float, half_side_m: float = 0.007) -> int:
    """Half the side in pixels, 3 to 8, of the window that spans twice `half_side_m` at this depth."""
    return int(np.clip(round(half_side_m * focal_px / depth_m), 3, 8))
