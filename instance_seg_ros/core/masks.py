"""Sizes of masks and what pairs of them share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.bool_]


def mask_areas(masks: Masks) -> NDArray[np.float64]:
    """Pixels (N,) of masks (N, H, W)."""
    return masks.sum(axis=(1, 2), dtype=np.float64)


def mask_intersections(first: Masks, second: Masks) -> NDArray[np.float64]:
    """Common pixels (N, M) of masks (N, H, W) and (M, H, W)."""
    pixels = first.shape[1] * first.shape[2]
    # float32 counts exactly up to 2**24 pixels, and its product is much faster than that of integers.
    flat_first, flat_second = (masks.reshape(len(masks), pixels).astype(np.float32) for masks in (first, second))
    return (flat_first @ flat_second.T).astype(np.float64)


def mask_ious(first: Masks, second: Masks) -> NDArray[np.float64]:
    """Intersection over union (N, M) of masks (N, H, W) and (M, H, W), in [0, 1]; 0 for two empty ones."""
    common = mask_intersections(first, second)
    union = mask_areas(first)[:, None] + mask_areas(second) - common
    return common / np.maximum(union, 1)
