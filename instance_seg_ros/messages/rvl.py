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

from instance_seg_ros.messages.image_files import MAX_PIXELS, check_size

_SIZE = struct.Struct("<II")
_MAX_NIBBLES = 8  # of one number, 24 bits: the differences of 16-bit values have 17
_CONTINUES, _PAYLOAD = 0b1000, 0b0111


def decode_rvl(payload: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint16]:
    """(H, W) uint16 from what `compressedDepth` has behind its header: width, height, then the words.

    Raises:
        ValueError: for truncated or damaged data.
    """
    if len(payload) < _SIZE.size:
        raise ValueError(f"the RVL data are truncated: {len(payload)} bytes do not hold their size")
    width, height = _SIZE.unpack_from(payload)
    check_size(width, height, "the RVL image", max_pixels)
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
    starts, counts, places = np.array([run for run in runs if run[1] > 0], dtype=np.int64).reshape(-1, 3).T
    coded = numbers[_within(places, counts, len(numbers))]
    differences = (coded >> 1) ^ -(coded & 1)
    image = np.zeros(pixels, dtype=np.uint16)
    image[_within(starts, counts, pixels)] = np.cumsum(differences).astype(np.uint16)
    return image.reshape(height, width)


def _within(starts: NDArray[np.int64], counts: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Which of so many places lie in one of the runs; these have places and do not overlap."""
    steps = np.zeros(length + 1, dtype=np.int8)
    steps[starts] += 1
    steps[starts + counts] -= 1
    return np.cumsum(steps[:-1], dtype=np.int8) > 0


def _numbers(payload: bytes) -> NDArray[np.int32]:
    """All numbers in the words; what is cut off at the end is left out."""
    words = np.frombuffer(payload[: len(payload) // 4 * 4], dtype="<u4")
    octets = words.astype(">u4").view(np.uint8)
    nibbles = np.stack([octets >> 4, octets & 0b1111], axis=1).reshape(-1)
    ends = np.flatnonzero((nibbles & _CONTINUES) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    lengths = ends + 1 - starts
    if lengths.max(initial=0) > _MAX_NIBBLES:
        raise ValueError("the RVL data are damaged: a number is longer than any can be")
    payloads = (nibbles & _PAYLOAD).astype(np.int32)
    numbers = payloads[starts]
    longer, place = np.flatnonzero(lengths > 1), 1
    while len(longer):
        numbers[longer] |= payloads[starts[longer] + place] << 3 * place
        longer, place = longer[lengths[longer] > place + 1], place + 1
    return numbers
