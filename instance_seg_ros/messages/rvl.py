"""RVL, the lossless coding of depth that `compressedDepth` has beside PNG.

A. D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017. The image is a series of runs: how many pixels are 0,
how many are not, then the differences of those, each to the one before it, with the sign in the lowest bit. Every
number is written three bits at a time, the lowest first, in nibbles of which the highest bit says that more follow;
eight nibbles make a little-endian word, the first in its highest bits.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.messages.image_files import check_size

_SIZE = struct.Struct("<II")
_MAX_NIBBLES = 8  # of one number, 24 bits: the differences of 16-bit values have 17
_CONTINUES, _PAYLOAD = 0b1000, 0b0111


def decode_rvl(payload: bytes) -> NDArray[np.uint16]:
    """(H, W) uint16 from what `compressedDepth` has behind its header: width, height, then the words.

    Raises:
        ValueError: for truncated or damaged data.
    """
    if len(payload) < _SIZE.size:
        raise ValueError(f"the RVL data are truncated: {len(payload)} bytes do not hold their size")
    width, height = _SIZE.unpack_from(payload)
    check_size(width, height, "the RVL image")
    numbers = _numbers(payload[_SIZE.size :])
    values, pixels = numbers.tolist(), width * height
    runs: list[tuple[int, int, int]] = []  # first pixel, how many, where their differences begin
    pixel = place = 0
    while pixel < pixels:
        if place + 2 > len(values):
            raise ValueError(f"the RVL data are truncated: {pixel} of {pixels} pixels are there")
        zeros, count = values[place], values[place + 1]
        place += 2
        if zeros + count == 0:
            raise ValueError("the RVL data are damaged: a run without pixels")
        pixel += zeros
        runs.append((pixel, count, place))
        pixel += count
        place += count
    if pixel > pixels or place > len(values):
        raise ValueError("the RVL data are truncated or damaged: a run has more pixels than are there")
    starts, counts, places = np.array(runs).T
    # Position i of the concatenated runs, from the start of its own run.
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    coded = numbers[np.repeat(places, counts) + within]
    differences = (coded >> 1) ^ -(coded & 1)
    image = np.zeros(pixels, dtype=np.uint16)
    image[np.repeat(starts, counts) + within] = np.cumsum(differences).astype(np.uint16)
    return image.reshape(height, width)


def _numbers(payload: bytes) -> NDArray[np.int64]:
    """All numbers in the words; what is cut off at the end is left out."""
    words = np.frombuffer(payload[: len(payload) // 4 * 4], dtype="<u4")
    nibbles = (words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32) & 0b1111).reshape(-1).astype(np.int64)
    ends = np.flatnonzero((nibbles & _CONTINUES) == 0)
    if len(ends) == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends + 1 - starts
    if lengths.max() > _MAX_NIBBLES:
        raise ValueError("the RVL data are damaged: a number is longer than any can be")
    order = np.arange(ends[-1] + 1) - np.repeat(starts, lengths)
    return np.asarray(np.add.reduceat((nibbles[: ends[-1] + 1] & _PAYLOAD) << 3 * order, starts))
