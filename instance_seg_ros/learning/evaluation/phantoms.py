"""Phantoms: predictions where there is no object, on bare table, floor or wall.

Where every object is labelled, the labels tell (`on_no_object`). Where only some are, the depth must: `BareSurfaces`
asks whether what a mask covers stands out from the flat surfaces around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame

PHANTOM_SHARE = 0.1
"""A prediction with a smaller share of its pixels on objects counts as lying on none."""
BARE_SHARE = 0.8
"""Share of a mask's measured pixels that must lie on flat surfaces for it to be bare."""

# Pixels hold for an image 640 px wide and scale with the image's width.
_REFERENCE_WIDTH = 640.0
_EDGE_PX = 3.0
_RING_PX = (8.0, 40.0)
_RING_SHARE = 0.35
_FEWEST_POINTS = 15
_MEASURED_SHARE = 0.3
_POINTS_OF_MASK = 400
_POINTS_OF_RING = 500
_POINTS_OF_FRAME = 1500
_HYPOTHESES = 200
_INLIER_SHARE_OF_DEPTH = 0.01
_NOISE_FACTOR = 3.0
_LEAST_TOLERANCE = 0.003

Mask = NDArray[np.bool_]
_Floats = NDArray[np.float64]


class Surface(Enum):
    """What the depth says of the surface under a mask."""

    BARE = "bare"
    STANDS_OUT = "stands out"
    UNMEASURED = "unmeasured"


def on_no_object(objects: Mask, predicted: Mask) -> Mask:
    """Which predictions (M, H, W) have less than a tenth of their pixels on any of the objects (H, W)."""
    common = (predicted & objects).sum(axis=(1, 2))
    areas = predicted.sum(axis=(1, 2))
    result: Mask = common < PHANTOM_SHARE * np.maximum(areas, 1)
    return result


@dataclass(frozen=True, eq=False)
class _Plane:
    """A plane as a camera sees it: 1 / z = coefficients . (x / z, y / z, 1).

    Attributes:
        tolerance: a pixel whose depth differs by no more, as a share of its depth, lies on it.
    """

    coefficients: _Floats
    tolerance: float

    def holds(self, rays: _Floats, depth_m: _Floats) -> Mask:
        """Which measured pixels (N,) lie on it, given their rays (N, 3)."""
        return np.abs(depth_m * (rays @ self.coefficients) - 1) <= self.tolerance


class BareSurfaces:
    """The flat surfaces of one frame, and which masks lie on them with nothing between.

    A mask lies on bare surface when at least `BARE_SHARE` of its measured pixels lie on planes that were fitted without
    it: up to two planes through the ring around it (each holding a quarter of the ring's pixels), or up to four planes
    through the frame's background (each holding 8 %). A pixel lies on a plane if it differs from it, along the line of
    sight, by at most three times the noise of the plane's own pixels, or 0.3 % of the depth if that is more. So the
    rule follows the sensor's noise. Pixels within 3 px (at 640 px width) of the mask's outline are left out, since the
    edges of masks and depth may not coincide.

    What it misses: a mask that covers a surface which shows nowhere else (the whole side of a table), bare surfaces
    that are not flat, and whatever has no depth. What it takes for bare wrongly: things thinner than the noise, such as
    paper, or a pen in bad depth. `instance-seg eval` on a scene store prints how often it is right.

    Args:
        frame: of the camera.
        background: (H, W) bool, the pixels that are neither predicted nor labelled as objects.
    """

    def __init__(self, frame: RgbdFrame, background: Mask) -> None:
        self._frame = frame
        self._background = background & (frame.depth_m > 0)
        self._scale = frame.intrinsics.width / _REFERENCE_WIDTH
        points = _sample(frame, self._background, _POINTS_OF_FRAME)
        self._planes = _planes_through(*points, count=4, share=0.08)

    def judge(self, mask: Mask) -> Surface:
        """What the depth says of a mask (H, W); the mask may or may not be part of the background."""
        inner = _eroded(mask, _EDGE_PX * self._scale)
        if inner.sum() < (2 * _EDGE_PX * self._scale) ** 2:
            inner = mask
        measured = inner & (self._frame.depth_m > 0)
        if measured.sum() < max(_FEWEST_POINTS, _MEASURED_SHARE * inner.sum()):
            return Surface.UNMEASURED
        rays, depth_m = _sample(self._frame, measured, _POINTS_OF_MASK)
        ring = _sample(self._frame, self._ring(mask), _POINTS_OF_RING)
        around = _planes_through(*ring, count=2, share=0.25)
        flat = max(_share_on(planes, rays, depth_m) for planes in (around, self._planes))
        return Surface.BARE if flat >= BARE_SHARE else Surface.STANDS_OUT

    def _ring(self, mask: Mask) -> Mask:
        """The measured background around a mask, (H, W)."""
        gap_px = _EDGE_PX * self._scale
        narrowest_px, widest_px = (self._scale * px for px in _RING_PX)
        width_px = float(np.clip(_RING_SHARE * np.sqrt(mask.sum()), narrowest_px, widest_px))
        return _dilated(mask, gap_px + width_px) & ~_dilated(mask, gap_px) & self._background


def _sample(frame: RgbdFrame, pixels: Mask, most: int) -> tuple[_Floats, _Floats]:
    """Rays (N, 3) and depths (N,) of at most this many of these pixels, evenly spread."""
    at = np.flatnonzero(pixels)
    at = at[np.linspace(0, len(at) - 1, min(most, len(at))).astype(int)]
    rays = np.ones((len(at), 3))
    rays[:, :2] = frame.intrinsics.rays.reshape(-1, 2)[at]
    return rays, frame.depth_m.ravel()[at].astype(np.float64)


def _share_on(planes: list[_Plane], rays: _Floats, depth_m: _Floats) -> float:
    held = [plane.holds(rays, depth_m) for plane in planes]
    return float(np.any(held, axis=0).mean()) if held else 0.0


def _planes_through(rays: _Floats, depth_m: _Floats, count: int, share: float) -> list[_Plane]:
    """The planes that hold most pixels, one after the other, each at least `share` of all (RANSAC, Fischler 1981)."""
    rng = np.random.default_rng(0)
    needed = max(_FEWEST_POINTS, share * len(depth_m))
    planes: list[_Plane] = []
    while len(planes) < count and len(depth_m) >= needed:
        corners = rng.integers(len(depth_m), size=(_HYPOTHESES, 3))
        regular = np.abs(np.linalg.det(rays[corners])) > 1e-9
        if not regular.any():
            break
        corners = corners[regular]
        hypotheses = np.linalg.solve(rays[corners], 1 / depth_m[corners][..., None])[..., 0]
        errors = np.abs(depth_m * (hypotheses @ rays.T) - 1)
        inliers = (errors < _INLIER_SHARE_OF_DEPTH)[(errors < _INLIER_SHARE_OF_DEPTH).sum(axis=1).argmax()]
        for _ in range(2):
            coefficients = _least_squares_plane(rays[inliers], depth_m[inliers])
            errors = np.abs(depth_m * (rays @ coefficients) - 1)
            inliers = errors < _INLIER_SHARE_OF_DEPTH
        if inliers.sum() < needed:
            break
        noise = 1.4826 * float(np.median(errors[inliers]))
        planes.append(_Plane(coefficients, max(_NOISE_FACTOR * noise, _LEAST_TOLERANCE)))
        rays, depth_m = rays[~inliers], depth_m[~inliers]
    return planes


def _least_squares_plane(rays: _Floats, depth_m: _Floats) -> NDArray[Any]:
    """Coefficients (3,) of the plane, as in `_Plane`, from which points differ least, as a share of their depth."""
    return np.linalg.lstsq(rays * depth_m[:, None], np.ones(len(depth_m)), rcond=None)[0]


def moved_to_bare_surface(mask: Mask, clean: RgbdFrame, background: Mask, rng: np.random.Generator) -> Mask | None:
    """An object's mask (H, W) moved to where a generated scene is flat and bare, to check `BareSurfaces`.

    Args:
        mask: of the object.
        clean: the scene without noise.
        background: (H, W) bool, the pixels of no object.
        rng: decides where.

    Returns:
        The moved mask, wholly on background that one plane explains within 1 mm; None where 20 draws found no place.
    """
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    free = background & (clean.depth_m > 0)
    for _ in range(20):
        moved = np.zeros_like(mask)
        row = rows + rng.integers(-rows.min(), height - rows.max())
        column = columns + rng.integers(-columns.min(), width - columns.max())
        moved[row, column] = True
        if not free[moved].all():
            continue
        rays, depth_m = _sample(clean, moved, _POINTS_OF_MASK)
        coefficients = _least_squares_plane(rays, depth_m)
        if (np.abs(depth_m * (rays @ coefficients) - 1) * depth_m).max() < 0.001:
            return moved
    return None


def _disk(radius_px: float) -> NDArray[np.uint8]:
    size = 2 * round(radius_px) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)


def _eroded(mask: Mask, radius_px: float) -> Mask:
    return cv2.erode(mask.astype(np.uint8), _disk(radius_px)) > 0


def _dilated(mask: Mask, radius_px: float) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), _disk(radius_px)) > 0
