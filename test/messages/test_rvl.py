"""RVL against an encoder written number by number after the paper."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from instance_seg_ros.messages.rvl import decode_rvl


def encode_rvl(image: NDArray[np.uint16]) -> bytes:
    nibbles: list[int] = []

    def write(number: int) -> None:
        while True:
            more = number > 7
            nibbles.append(number & 7 | (8 if more else 0))
            number >>= 3
            if not more:
                return

    pixels, place, previous = image.reshape(-1).tolist(), 0, 0
    while place < len(pixels):
        zeros = place
        while place < len(pixels) and pixels[place] == 0:
            place += 1
        write(place - zeros)
        first = place
        while place < len(pixels) and pixels[place] != 0:
            place += 1
        write(place - first)
        for value in pixels[first:place]:
            difference = value - previous
            write(2 * difference if difference >= 0 else -2 * difference - 1)
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{nibble:x}" for nibble in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)]
    return struct.pack("<II", image.shape[1], image.shape[0]) + struct.pack(f"<{len(words)}I", *words)


@given(arrays.arrays(np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 65535)))
def test_any_image_comes_back(image: NDArray[np.uint16]) -> None:
    assert np.array_equal(decode_rvl(encode_rvl(image)), image)


def test_a_depth_image_comes_back() -> None:
    rng = np.random.default_rng(0)
    image = (800 + 50 * np.sin(np.arange(320) / 40)[None] + rng.normal(0, 3, (240, 320))).astype(np.uint16)
    image[rng.random(image.shape) < 0.2] = 0
    assert np.array_equal(decode_rvl(encode_rvl(image)), image)


@pytest.mark.parametrize("behind", [b"\1", b"\1\2", b"\1\2\3", bytes(4)])
def test_bytes_behind_the_last_number_do_no_harm(behind: bytes) -> None:
    image = np.array([[0, 500], [1234, 9000]], dtype=np.uint16)
    assert np.array_equal(decode_rvl(encode_rvl(image) + behind), image)


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        (b"1234567", "truncated: 7 bytes do not hold their size"),
        (struct.pack("<II", 2, 2), "truncated: 0 of 4 pixels are there"),
        (struct.pack("<II", 100_000, 100_000) + bytes(8), "100000x100000 by its header"),
        (struct.pack("<II", 0, 2) + bytes(8), "0x2 by its header"),
        (struct.pack("<II", 2, 2) + bytes(4), "a run without pixels"),
        (struct.pack("<III", 2, 2, 0x05000000), "a run has more pixels than are there"),
        (struct.pack("<III", 2, 2, 0x50000000), "a run has more pixels than are there"),
        (struct.pack("<IIII", 2, 2, 0xFFFFFFFF, 0xF0000000), "longer than any can be"),
    ],
)
def test_damaged_data_are_refused(payload: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        decode_rvl(payload)


@given(st.binary(max_size=60), st.integers(0, 12), st.integers(0, 12))
def test_any_bytes_give_an_image_or_a_value_error(changed: bytes, first: int, last: int) -> None:
    """Within the words of an image of six runs, of which some of the changed are right as well."""
    image = np.array([[0, 900, 901, 0, 0], [905, 0, 880, 0, 900], [0, 0, 0, 0, 7], [8, 9, 0, 1, 2]], np.uint16)
    header, words = encode_rvl(image)[:8], encode_rvl(image)[8:]
    spoilt = header + words[:first] + changed + words[last:]
    try:
        found = decode_rvl(spoilt)
    except ValueError:
        assert spoilt != encode_rvl(image)
        return
    assert found.shape == (4, 5) and found.dtype == np.uint16
