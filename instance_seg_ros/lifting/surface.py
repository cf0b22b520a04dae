"""Surfaces on the organised depth image: depth steps, and least-squares planes in a window around each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instance_seg_ros.compute import Array, Compute
from instance_seg_ros.compute.arrays import cast, length, namespace
from instance_seg_ros.core.camera import Intrinsics

_MIN_WINDOW_SHARE = 0.15
"""A window with fewer of its pixels measured than this gives no plane: what is fitted there is noise."""


def step_tolerance_m(depth_m: Array, step_m: float, step_ratio: float) -> Array:
    """The jump above which two neighbours belong to different surfaces, like `depth_m` in shape."""
    return (depth_m * step_ratio).clip(min=step_m)


def depth_step_pixels(depth_m: Array, step_m: float, step_ratio: float) -> Array:
    """Pixels on either side of a depth step.

    Args:
        depth_m: (..., H, W) float32, metres, 0 = no measurement; a missing neighbour is no step.
        step_m, step_ratio: a jump between 4-neighbours is a step above max(step_m, step_ratio * depth).

    Returns:
        (..., H, W) bool.
    """
    measured = depth_m > 0
    tolerance_m = step_tolerance_m(depth_m, step_m, step_ratio)
    steps = namespace(depth_m).zeros_like(measured)
    for first, second in (
        ((..., slice(1, None), slice(None)), (..., slice(None, -1), slice(None))),
        ((..., slice(1, None)), (..., slice(None, -1))),
    ):
        jump = abs(depth_m[first] - depth_m[second]) > tolerance_m[first]
        jump &= measured[first] & measured[second]
        steps[first] |= jump
        steps[second] |= jump
    return steps


@dataclass(frozen=True, eq=False)
class LocalPlanes:
    """A plane for each pixel of image windows, fitted to the kept pixels around it.

    A plane is linear in inverse depth, 1 / z = inverse_depth + slope_x * du + slope_y * dv, and the noise of the
    measurement is in z alone, so that ordinary least squares there has no bias towards the camera; and the fit says
    what depth the surface would have at a pixel that was not kept.

    Attributes:
        valid: (B, h, w) bool, where the window held enough pixels for a plane.
        inverse_depth: (B, h, w) float32, 1 / metres at the pixel itself; unspecified where not valid.
        slope_x, slope_y: (B, h, w) float32, change of inverse depth per pixel to the right and down.
    """

    valid: Array
    inverse_depth: Array
    slope_x: Array
    slope_y: Array

    @property
    def depth_m(self) -> Array:
        """The depth of each plane at its pixel, float32 metres; 0 where there is no plane."""
        xp = namespace(self.valid)
        return xp.where(self.valid, 1 / xp.where(self.valid, self.inverse_depth, 1), 0)

    def at(self, compute: Compute, places: Array) -> LocalPlanes:
        """Those at some pixels, of shape (B, K), by (B, K) indices into the flattened windows."""
        images = (self.valid, self.inverse_depth, self.slope_x, self.slope_y)
        return LocalPlanes(*(compute.rows(image.reshape(len(image), -1), places) for image in images))

    def normals(self, rays: Array, intrinsics: Intrinsics) -> Array:
        """Unit normals towards the camera, (..., 3) float32, camera optical frame; unspecified where not valid.

        Args:
            rays: (..., 2) of the planes' pixels.
        """
        xp = namespace(rays)
        x, y = self.slope_x * intrinsics.fx, self.slope_y * intrinsics.fy
        z = self.inverse_depth - rays[..., 0] * x - rays[..., 1] * y
        # n . ray = 1 / z > 0 points away from the camera.
        outward = -xp.stack([x, y, z], axis=-1)
        return outward / length(outward).clip(min=1e-12)[..., None]


def fit_local_planes(depth_m: Array, keep: Array, radii_px: Sequence[int], compute: Compute) -> LocalPlanes:
    """Fit a plane around every pixel to the pixels of `keep` in a square window, by separable filters.

    Args:
        depth_m: (B, h, w) float32, metres, above 0 where `keep`.
        keep: (B, h, w) bool, the pixels of one surface in each.
        radii_px: half the windows' sides, B of them, > 0; a window has 2 * radius + 1 pixels a side.
    """
    xp = namespace(depth_m)
    weight = cast(keep, "float32")
    inverse = weight / xp.where(keep, depth_m, 1)
    s, sx, sy, sxx, sxy, syy = compute.window_moments(
        weight, radii_px, ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    )
    b, bx, by = compute.window_moments(inverse, radii_px, ((0, 0), (1, 0), (0, 1)))
    # Cramer's rule on the symmetric 3x3 normal equations; centring first keeps float32 accurate.
    count = s.clip(min=1)
    mx, my, mb = sx / count, sy / count, b / count
    cxx, cxy, cyy = sxx - sx * mx, sxy - sx * my, syy - sy * my
    cxb, cyb = bx - sx * mb, by - sy * mb
    determinant = cxx * cyy - cxy * cxy
    radii = np.array(radii_px, dtype=np.float32)[:, None, None]
    enough = compute.array(np.maximum(6, np.float32(_MIN_WINDOW_SHARE) * (2 * radii + 1) ** 2))
    valid = (s >= enough) & (determinant > 1e-4 * count * count)
    safe = xp.where(valid, determinant, 1)
    slope_x = (cyy * cxb - cxy * cyb) / safe
    slope_y = (cxx * cyb - cxy * cxb) / safe
    inverse_depth = mb - slope_x * mx - slope_y * my
    valid &= inverse_depth > 1e-3
    scale = compute.array(1 / radii)
    return LocalPlanes(valid, inverse_depth, slope_x * scale, slope_y * scale)


def window_radius_px(depth_m: float, focal_px: float, half_side_m: float = 0.007) -> int:
    """Half the side in pixels, 3 to 8, of the window that spans twice `half_side_m` at this depth."""
    return int(np.clip(round(half_side_m * focal_px / depth_m), 3, 8))
