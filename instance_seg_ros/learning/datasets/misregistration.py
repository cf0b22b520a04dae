"""Colour that lies beside the depth, as an inexact calibration between the two cameras leaves it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.settings import Settings, setting

WINDOW_SHARE = 0.075
"""Width of the window, as a share of the image's, in which depth is missing or not."""
SETTLED_SHARE = 0.25
"""From this share of missing depth on, colour stays in place."""


@dataclass(frozen=True)
class MisregistrationSettings(Settings):
    """How often and how far colour is moved."""

    probability: float = setting(0.4, "Probability that the colour of a frame is moved.", minimum=0.0, maximum=1.0)
    largest_share: float = setting(
        0.01,
        "Largest distance, along rows and along columns, as a share of the image's width.",
        minimum=0.0,
        maximum=0.5,
    )


def misregister(
    color_rgb: NDArray[np.uint8], measured: NDArray[np.bool_], shift_xy: tuple[float, float]
) -> NDArray[np.uint8]:
    """A picture moved against the depth, as by a wrong extrinsic calibration, but not where depth is missing.

    Where the depth is whole, its edges are the objects' and those of the colour must not be followed. Where a quarter
    of it is missing around, the labels can be known from the colour alone, which stays in place there.

    Args:
        color_rgb: (H, W, 3) uint8.
        measured: (H, W) bool, where there is depth.
        shift_xy: pixels to the right and down.

    Returns:
        (H, W, 3) uint8; the border is repeated.
    """
    height, width = measured.shape
    window_px = max(round(WINDOW_SHARE * width), 1)
    missing = 1 - cv2.blur(measured.astype(np.float32), (window_px, window_px), borderType=cv2.BORDER_REPLICATE)
    amount = np.clip(1 - missing / SETTLED_SHARE, 0.0, 1.0).astype(np.float32)
    columns = np.arange(width, dtype=np.float32)[None] - np.float32(shift_xy[0]) * amount
    rows = np.arange(height, dtype=np.float32)[:, None] - np.float32(shift_xy[1]) * amount
    moved = cv2.remap(color_rgb, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
