"""Depth cameras that training never sees: for evaluation alone, so that its figures tell what a new camera does.

`published_noise` is the noise that published methods for unseen objects train with. It differs from `SensorSettings` in
kind: errors do not grow with the distance, the image bends by gradient noise, and edges have neither holes nor shadows.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]

# Pixels hold for an image 640 px wide and scale with the image's width.
_REFERENCE_WIDTH = 640.0
_SCALE_SHAPE = 1000.0
_MOST_NOISE_M = 0.005
_NOISE_CELL_PX = (12.0, 20.0)
_MEAN_ELLIPSES = 10.0
_ELLIPSE_SHAPE = 5.0
_MOST_WARP_PX = 10.0
_WARP_CELL_PX = (40.0, 160.0)


def published_noise(depth_m: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Depth with a gamma scale, Gaussian-process noise, lost ellipses (Xie et al., UOIS-Net, T-RO 2021), a Perlin warp.

    The scale is Gamma(1000, 0.001); the noise 0 to 5 mm on a coarse grid, upsampled; the ellipses are Poisson(10) with
    radii Gamma(5, 1) px; the warp reaches up to 10 px.

    Args:
        depth_m: (H, W) float32 clean z-depth in metres, 0 = nothing hit.
        rng: source of all randomness.

    Returns:
        (H, W) float32 metres, 0 = no measurement. A new array.
    """
    height, width = depth_m.shape
    scale = width / _REFERENCE_WIDTH
    measured = depth_m * np.float32(rng.gamma(_SCALE_SHAPE, 1 / _SCALE_SHAPE))
    cell_px = rng.uniform(*_NOISE_CELL_PX) * scale
    nodes = rng.normal(0, rng.uniform(0, _MOST_NOISE_M), _grid(depth_m.shape, cell_px)).astype(np.float32)
    measured += cv2.resize(nodes, (width, height), interpolation=cv2.INTER_CUBIC)
    measured[depth_m <= 0] = 0
    lost = np.zeros(depth_m.shape, np.uint8)
    for _ in range(int(rng.poisson(_MEAN_ELLIPSES))):
        centre = int(rng.integers(width)), int(rng.integers(height))
        radii = [int(np.ceil(radius * scale)) for radius in rng.gamma(_ELLIPSE_SHAPE, 1.0, 2)]
        cv2.ellipse(lost, centre, radii, float(rng.uniform(0, 360)), 0, 360, 1, -1)
    measured[lost > 0] = 0
    cell_px = rng.uniform(*_WARP_CELL_PX) * scale
    reach_px = np.float32(rng.uniform(0, _MOST_WARP_PX) * scale)
    columns = np.arange(width, dtype=np.float32)[None] + reach_px * perlin_noise(depth_m.shape, cell_px, rng)
    rows = np.arange(height, dtype=np.float32)[:, None] + reach_px * perlin_noise(depth_m.shape, cell_px, rng)
    warped = cv2.remap(measured, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.maximum(warped, np.float32(0)).astype(np.float32)


def perlin_noise(shape: tuple[int, int], cell_px: float, rng: np.random.Generator) -> Float32Array:
    """Gradient noise (H, W) float32 in [-1, 1] on a grid of square cells (Perlin, SIGGRAPH 2002)."""
    angles = rng.uniform(0, 2 * np.pi, _grid(shape, cell_px))
    gradients = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    y, x = np.arange(shape[0])[:, None] / cell_px, np.arange(shape[1])[None] / cell_px
    row, column = y.astype(int), x.astype(int)
    fraction_y, fraction_x = y - row, x - column

    def corner(down: int, right: int) -> NDArray[np.float64]:
        gradient = gradients[row + down, column + right]
        return gradient[..., 0] * (fraction_x - right) + gradient[..., 1] * (fraction_y - down)

    ease_y, ease_x = (t**3 * (t * (t * 6 - 15) + 10) for t in (fraction_y, fraction_x))
    upper = corner(0, 0) + ease_x * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + ease_x * (corner(1, 1) - corner(1, 0))
    # Unit gradients reach at most sqrt(1/2) at the middle of a cell.
    return np.asarray(np.sqrt(2) * (upper + ease_y * (lower - upper)), dtype=np.float32)


def _grid(shape: tuple[int, int], cell_px: float) -> tuple[int, int]:
    """Rows and columns of nodes of a grid of square cells that covers an image."""
    return int(shape[0] / cell_px) + 2, int(shape[1] / cell_px) + 2
