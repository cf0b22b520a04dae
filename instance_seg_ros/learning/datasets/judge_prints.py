"""Prints that training never paints, to judge with: dead leaves on the surfaces of a generated frame.

A dead-leaves image is what discs and polygons of all sizes leave that fall onto each other; it has the edges and the
spectrum of photographs (Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001). Training paints flat
patches, lettering and stripes in the picture's plane, and textures of noise and drawings on bodies; these pictures lie
on the surfaces, in metres, and are of another kind.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.core.camera import Intrinsics

Image = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

_SIZE_PX = 256
_LEAVES = 350
_RADIUS_PX = (3.5, 80.0)
_GROUND_LEAVES = 60
_GROUND_RADIUS_PX = (30.0, 80.0)
_TILE_M = (0.1, 0.5)
_BACKGROUND_TILE_M = (0.3, 1.2)
_STRENGTH = (0.7, 1.0)
_BACKGROUND_SHARE = 0.4


def dead_leaves(rng: np.random.Generator) -> Image:
    """A dead-leaves picture, (256, 256, 3) uint8 RGB, of a random palette; repeated, it has seams."""
    picture = np.full((_SIZE_PX, _SIZE_PX, 3), 127, np.uint8)
    low, high = _RADIUS_PX
    hue, spread = rng.random(), rng.uniform(0.05, 0.5)
    # Areas with the density of r^-3 look alike at all scales.
    radii = (low**-2 - rng.random(_LEAVES) * (low**-2 - high**-2)) ** -0.5
    # So few of them leave gaps, which large ones fill.
    for radius in [*rng.uniform(*_GROUND_RADIUS_PX, _GROUND_LEAVES), *radii]:
        centre = rng.uniform(-20, _SIZE_PX + 20, 2)
        r, g, b = colorsys.hsv_to_rgb((hue + spread * rng.normal()) % 1.0, rng.beta(1.5, 1.5), rng.beta(1.2, 1.0))
        color = [int(255 * c) for c in (r, g, b)]
        if rng.random() < 0.5:
            cv2.circle(picture, (int(centre[0]), int(centre[1])), max(1, int(radius)), color, -1, cv2.LINE_AA)
        else:
            angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = centre + radius * np.column_stack([np.cos(angle), np.sin(angle)])
            cv2.fillPoly(picture, [corners.astype(np.int32)], color, cv2.LINE_AA)
    return picture


def print_on_surfaces(
    color_rgb: Image,
    depth_m: npt.NDArray[np.float32],
    ids: npt.NDArray[np.uint8],
    camera: Intrinsics,
    rotation_world_camera: FloatArray,
    rng: np.random.Generator,
) -> Image:
    """A picture whose every object is printed all over with a picture of its own, and two backgrounds in five are.

    Light and shadow stay: the print takes the brightness of the picture relative to the mean of its region.

    Args:
        color_rgb: (H, W, 3) uint8 RGB; not changed.
        depth_m: (H, W) float32 exact depth, 0 = nothing.
        ids: (H, W) uint8, 0 = background.
        camera: of the frame.
        rotation_world_camera: (3, 3), so that prints do not bend where the camera turns.
        rng: source of all randomness.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    points = camera.back_project(depth_m) @ rotation_world_camera.T
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    axis = np.abs(normal).argmax(axis=-1)
    brightness = color_rgb.astype(np.float32).mean(axis=-1)
    printed = color_rgb.copy()
    for value in np.flatnonzero(np.bincount(ids.ravel(), minlength=256)):
        region = (ids == value) & (depth_m > 0)
        if not region.any() or (value == 0 and rng.random() > _BACKGROUND_SHARE):
            continue
        picture = dead_leaves(rng)
        tile_m = rng.uniform(*(_TILE_M if value else _BACKGROUND_TILE_M))
        offset_m, strength = rng.uniform(0, tile_m, 3), rng.uniform(*_STRENGTH)
        at, which = points[region] + offset_m, axis[region]
        across = np.where(which == 0, at[:, 1], at[:, 0])
        along = np.where(which == 2, at[:, 1], at[:, 2])
        column, row = (np.floor(v / tile_m * _SIZE_PX).astype(int) % _SIZE_PX for v in (across, along))
        shade = brightness[region] / max(float(brightness[region].mean()), 1.0)
        ink = picture[row, column] * np.clip(shade, 0.3, 2.0)[:, None]
        mixed = strength * ink + (1 - strength) * color_rgb[region]
        printed[region] = np.clip(mixed, 0, 255).astype(np.uint8)
    return printed
