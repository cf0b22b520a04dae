"""Masks as images: bounds, crops, growing and shrinking them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner

Bounds = tuple[int, int, int, int]


def bounds_of(mask: NDArray[np.bool_]) -> Bounds:
    """Left, top, width and height in pixels of the tight box of (H, W); width and height are 0 for an empty mask."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, width, height


def crop_around(bounds: Bounds, shape: tuple[int, ...], margin: int) -> tuple[slice, slice]:
    """Rows and columns of the bounds of a mask (H, W), wider by a margin inside it; one pixel for an empty mask."""
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
    filtered = function(plane, _square(side_px))
    return filtered.view(np.bool_) if image.dtype == np.bool_ else filtered


@cache
def _square(side_px: int) -> NDArray[np.uint8]:
    return np.ones((side_px, side_px), np.uint8)


@inner
def spread(marked: NDArray[np.bool_], radius_px: int, around: NDArray[np.bool_]) -> None:
    """Sets the pixels (h, w) in the squares of so many pixels to each side around those that are marked, no others."""
    height, width = marked.shape
    across = np.empty((height, width), np.bool_)
    flat, flat_across, flat_around = marked.reshape(-1), across.reshape(-1), around.reshape(-1)
    _copy(flat, flat_across)
    for d in range(1, min(radius_px, width - 1) + 1):
        _mark_also(flat_across[d:], flat[:-d])
        _mark_also(flat_across[:-d], flat[d:])
    for y in range(height):  # near the ends of rows, where that was reached from other rows
        for k in range(min(2 * radius_px, width)):
            x = k if k < radius_px else width - 1 - (k - radius_px)
            across[y, x] = False
            for beside in range(max(x - radius_px, 0), min(x + radius_px, width - 1) + 1):
                across[y, x] |= marked[y, beside]
    _copy(flat_across, flat_around)
    for d in range(1, min(radius_px, height - 1) + 1):
        _mark_also(flat_around[d * width :], flat_across[: -d * width])
        _mark_also(flat_around[: -d * width], flat_across[d * width :])


@inner
def _copy(pixels: NDArray[np.bool_], copies: NDArray[np.bool_]) -> None:
    for n in range(len(pixels)):
        copies[n] = pixels[n]


@inner
def _mark_also(marked: NDArray[np.bool_], others: NDArray[np.bool_]) -> None:
    """Sets pixels (N,) where others are."""
    for n in range(len(marked)):
        marked[n] |= others[n]


@inner
def negate(pixels: NDArray[np.bool_], others: NDArray[np.bool_]) -> None:
    for n in range(len(pixels)):
        others[n] = not pixels[n]


@inner
def count_of(pixels: NDArray[np.bool_]) -> int:
    count = 0
    for n in range(len(pixels)):
        count += pixels[n]
    return count
