"""How well the edges of a depth image lie on those of a colour image, where they are and moved a little."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WORKING_WIDTH = 320
"""Images are compared at about this width; an offset of one cell is `width / WORKING_WIDTH` pixels."""
REACH = 16
"""Offsets are tried up to this many pixels of the working size, to each side."""

_NOTHING_M = 1000.0
_STEP_RATIO = 1.04
_STEP_M = 0.015
"""Depth has an edge where it jumps by more than both."""
_NEAR_SIDE_RATIO = 1.02
_GRADIENT_WINDOW_PX = 31
_LEAST_GRADIENT = 4.0
"""Added to the mean gradient around, so that noise on a plain surface does not count as an edge."""
_PIXELS_OF_AN_EDGE = 4.0
"""About so many neighbouring pixels of an edge tell as much as one that stands alone."""


def edge_agreement(color_rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean gradient of colour under the edges of depth, moved by each offset, in standard deviations above chance.

    Edges of depth are the near sides of its jumps: the outlines of objects, where colour mostly changes, too. The
    gradient is divided by its mean around, so that strong patterns do not outweigh faint outlines.

    Args:
        color_rgb: (H, W, 3).
        depth_m: (H, W), metres, 0 = no measurement; of the same size.

    Returns:
        (2 REACH + 1, 2 REACH + 1) float32; element [REACH + dy, REACH + dx] is that of depth moved by dx to the right
        and dy down, in pixels of the working size. All 0 where depth has no edges.
    """
    height, width = depth_m.shape
    step = max(1, round(width / WORKING_WIDTH))
    size_wh = width // step, height // step
    grey = cv2.resize(cv2.cvtColor(color_rgb, cv2.COLOR_RGB2GRAY), size_wh, interpolation=cv2.INTER_AREA)
    edges = _near_sides(depth_m[step // 2 :: step, step // 2 :: step][: size_wh[1], : size_wh[0]])
    count = float(edges.sum())
    gradient = _gradient(grey)
    spread = float(gradient.std()) / np.sqrt(max(count, 1.0) / _PIXELS_OF_AN_EDGE)
    if count == 0 or spread == 0:
        return np.zeros((2 * REACH + 1, 2 * REACH + 1), np.float32)
    padded = np.pad(gradient - gradient.mean(), REACH)  # beyond the border, nothing speaks for an edge or against it
    return np.asarray(cv2.matchTemplate(padded, edges, cv2.TM_CCORR) / np.float32(count * spread))


def _near_sides(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 at the pixels on the near side of a jump between measurements, else 0."""
    square = np.ones((3, 3), np.uint8)
    measured = depth_m > 0
    farthest = cv2.dilate(np.ascontiguousarray(depth_m), square)
    nearest = cv2.erode(np.where(measured, depth_m, np.float32(_NOTHING_M)), square)
    jump = (farthest > _STEP_RATIO * nearest) & (farthest - nearest > _STEP_M)
    return (measured & jump & (depth_m < _NEAR_SIDE_RATIO * nearest)).astype(np.float32)


def _gradient(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    smooth = cv2.GaussianBlur(grey, (0, 0), 1).astype(np.float32)
    size = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    around = cv2.blur(size, (_GRADIENT_WINDOW_PX, _GRADIENT_WINDOW_PX))
    return np.asarray(size / (around + np.float32(_LEAST_GRADIENT)), np.float32)
