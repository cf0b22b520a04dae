"""Loops over the cells and pixels of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel


@inner
def _is_any_above(cells: NDArray[np.float32], threshold: float) -> bool:
    """Without a way out, and in numbers as wide as the cells, so that the processor compares several at a time."""
    above = np.int32(0)
    for x in range(len(cells)):
        above |= np.int32(0) if cells[x] <= threshold else np.int32(1)
    return above != 0


@kernel("float32[:, :, ::1]", "int64[::1]", "int64", "int64", "float32", "int64[:, ::1]", writes=("extents_xyxy",))
def find_extents(
    masks: NDArray[np.float32],
    rows: NDArray[np.int64],
    height: int,
    width: int,
    threshold: float,
    extents_xyxy: NDArray[np.int64],
) -> None:
    """Where masks (N, h, w) are above a threshold; what is no number counts as above.

    Args:
        rows: (K,) of the masks.
        height, width: of the cells that are looked at, from the upper left one.
        extents_xyxy: (K, 4), set to the cells from (x0, y0) to before (x1, y1); zeros where nothing is above.
    """
    for place in range(len(rows)):
        x0, y0, x1, y1 = width, -1, 0, 0
        for y in range(height):
            cells = masks[rows[place], y, :width]
            if not _is_any_above(cells, threshold):
                continue
            y0, y1 = y if y0 < 0 else y0, y + 1
            # Usually the mask's edge in this row is near that in the row before.
            while 0 < x0 < x1 and not (cells[x0 - 1] <= threshold):
                x0 -= 1
            while x0 < x1 < width and not (cells[x1] <= threshold):
                x1 += 1
            if _is_any_above(cells[:x0], threshold):
                x0 = 0
                while cells[x0] <= threshold:
                    x0 += 1
            if _is_any_above(cells[x1:], threshold):
                x1 = width
                while cells[x1 - 1] <= threshold:
                    x1 -= 1
        if y0 < 0:
            x0, y0 = 0, 0
        extents_xyxy[place, 0], extents_xyxy[place, 1] = x0, y0
        extents_xyxy[place, 2], extents_xyxy[place, 3] = x1, y1


@kernel(
    "float32[:, ::1]",
    "int64",
    "int64",
    "float32",
    "int64",
    "float32[:, ::1]",
    "int16[:, ::1]",
    writes=("best", "owner"),
)
def claim_pixels(
    probability: NDArray[np.float32],
    x0: int,
    y0: int,
    threshold: float,
    index: int,
    best: NDArray[np.float32],
    owner: NDArray[np.int16],
) -> int:
    """Gives a mask the pixels at which its probability is higher than that of those before it.

    Args:
        probability: (h, w), at the pixels from (x0, y0) on.
        index: of the mask.
        best: (H, W), the highest probability so far, at least the threshold.
        owner: (H, W), whose it is.

    Returns:
        How many pixels are above the threshold; -1 where a probability is not finite.
    """
    claimed, not_finite = 0, 0
    own = np.int16(index)
    height, width = probability.shape
    for y in range(height):
        row, best_row = probability[y], best[y0 + y, x0 : x0 + width]
        owner_row = owner[y0 + y, x0 : x0 + width]
        for x in range(width):
            value = row[x]
            not_finite += value - value != 0
            claimed += value > threshold
            wins = value > best_row[x]
            best_row[x] = value if wins else best_row[x]
            owner_row[x] = own if wins else owner_row[x]
    return -1 if not_finite else claimed


@kernel("int16[:, ::1]", "int32[::1]", "int32[:, ::1]", writes=("own_px", "boxes_xyxy"))
def measure_owned(owner: NDArray[np.int16], own_px: NDArray[np.int32], boxes_xyxy: NDArray[np.int32]) -> None:
    """What each of K masks has got.

    Args:
        owner: (H, W), 0 to K - 1, or K for nobody's.
        own_px: (K,), set to the number of pixels.
        boxes_xyxy: (K, 4), set to the pixels around, from (x0, y0) to before (x1, y1); zeros where there are none.
    """
    height, width = owner.shape
    nobody = len(own_px)
    own_px[:] = 0
    boxes_xyxy[:] = 0
    for y in range(height):
        row = owner[y]
        x = 0
        while x < width:
            index, first = row[x], x
            while x < width and row[x] == index:
                x += 1
            if index == nobody:
                continue
            box = boxes_xyxy[index]
            if own_px[index] == 0:
                box[0], box[1], box[2] = first, y, x
            own_px[index] += x - first
            box[0], box[2], box[3] = min(box[0], first), max(box[2], x), y + 1


@kernel("uint16[::1]", "float32[::1]", writes=("values",))
def widen(halves: NDArray[np.uint16], values: NDArray[np.float32]) -> None:
    """Numbers of 16 bits as 32, which NumPy takes eight times as long for; what is not finite stays so.

    Args:
        halves: (N,), the bits of float16.
        values: (N,), set to the same numbers.
    """
    for index in range(len(halves)):
        half = np.uint32(halves[index])
        bits = (half & np.uint32(0x7FFF)) << np.uint32(13)
        if half & np.uint32(0x7C00) == np.uint32(0x7C00):
            bits |= np.uint32(0x7F800000)
        value = np.uint32(bits).view(np.float32) * np.float32(2.0**112)  # from the exponents of 5 bits to those of 8
        values[index] = -value if half & np.uint32(0x8000) else value


@kernel("float32[:, ::1]", "float32[:, :, :, :, ::1]", "int64", "int64", "int64", "int64")
def upsampled(
    mask: NDArray[np.float32], weights: NDArray[np.float32], x0: int, y0: int, x1: int, y1: int
) -> NDArray[np.float32]:
    """A finer mask: each of its samples is a weighted sum of the nine cells around the one that it lies in.

    Args:
        mask: (h, w); beyond its border the cells are those at the border.
        weights: (9, f, f, h, w), of the cells row by row.
        x0, y0, x1, y1: the cells that are made finer, from (x0, y0) to before (x1, y1).

    Returns:
        (f (y1 - y0), f (x1 - x0)).
    """
    factor, width = weights.shape[2], x1 - x0
    last_row, last_column = mask.shape[0] - 1, mask.shape[1] - 1
    fine = np.empty((factor * (y1 - y0), factor * width), np.float32)
    # The three rows around one, with one more cell on each side.
    around = np.empty((3, width + 2), np.float32)
    row = np.empty(width, np.float32)
    for y in range(y0, y1):
        for below in range(3):
            cells = mask[min(max(y + below - 1, 0), last_row)]
            around[below, 1 : width + 1] = cells[x0:x1]
            around[below, 0], around[below, width + 1] = cells[max(x0 - 1, 0)], cells[min(x1, last_column)]
        for a in range(factor):
            for b in range(factor):
                row[:] = 0
                for neighbour in range(9):
                    own, shares = around[neighbour // 3], weights[neighbour, a, b, y, x0:x1]
                    for x in range(width):
                        row[x] += shares[x] * own[x + neighbour % 3]
                for x in range(width):
                    fine[factor * (y - y0) + a, factor * x + b] = row[x]
    return fine
