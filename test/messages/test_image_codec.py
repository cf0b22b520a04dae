from __future__ import annotations

import array
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from instance_seg_ros.messages.image_codec import (
    COLOR_ENCODINGS,
    DEPTH_ENCODINGS,
    decode_color,
    decode_compressed_color,
    decode_compressed_depth,
    decode_depth_image,
)


def png(image: NDArray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image_bgr: NDArray) -> bytes:
    return cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.mark.parametrize(
    ("encoding", "pixels", "rgb"),
    [
        ("rgb8", [1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]),
        ("bgr8", [3, 2, 1, 6, 5, 4], [[1, 2, 3], [4, 5, 6]]),
        ("8UC3", [3, 2, 1, 6, 5, 4], [[1, 2, 3], [4, 5, 6]]),
        ("rgba8", [1, 2, 3, 99, 4, 5, 6, 99], [[1, 2, 3], [4, 5, 6]]),
        ("bgra8", [3, 2, 1, 99, 6, 5, 4, 99], [[1, 2, 3], [4, 5, 6]]),
        ("8UC4", [3, 2, 1, 99, 6, 5, 4, 99], [[1, 2, 3], [4, 5, 6]]),
        ("mono8", [7, 9], [[7, 7, 7], [9, 9, 9]]),
        ("8UC1", [7, 9], [[7, 7, 7], [9, 9, 9]]),
        ("yuv422_yuy2", [235, 128, 16, 128], [[255, 255, 255], [0, 0, 0]]),
        ("yuyv", [235, 128, 16, 128], [[255, 255, 255], [0, 0, 0]]),
        ("yuv422", [128, 235, 128, 16], [[255, 255, 255], [0, 0, 0]]),
        ("uyvy", [128, 235, 128, 16], [[255, 255, 255], [0, 0, 0]]),
        ("rgb16", [9, 1, 9, 2, 9, 3, 9, 4, 9, 5, 9, 6], [[1, 2, 3], [4, 5, 6]]),
        ("bgr16", [9, 3, 9, 2, 9, 1, 9, 6, 9, 5, 9, 4], [[1, 2, 3], [4, 5, 6]]),
        ("rgba16", [9, 1, 9, 2, 9, 3, 9, 9, 9, 4, 9, 5, 9, 6, 9, 9], [[1, 2, 3], [4, 5, 6]]),
        ("bgra16", [9, 3, 9, 2, 9, 1, 9, 9, 9, 6, 9, 5, 9, 4, 9, 9], [[1, 2, 3], [4, 5, 6]]),
        ("mono16", [9, 7, 200, 9], [[7, 7, 7], [9, 9, 9]]),
    ],
)
def test_every_colour_encoding_becomes_rgb(encoding: str, pixels: list[int], rgb: list[list[int]]) -> None:
    image = decode_color(1, 2, encoding, False, len(pixels), bytes(pixels))
    assert image.dtype == np.uint8
    assert image.tolist() == [rgb]


def test_yuv_colours_are_not_swapped() -> None:
    red_yuv = (81, 90, 240)  # BT.601, limited range
    y, u, v = red_yuv
    assert decode_color(1, 2, "yuyv", False, 4, bytes([y, u, y, v]))[0, 0] == pytest.approx([254, 0, 0], abs=3)
    assert decode_color(1, 2, "uyvy", False, 4, bytes([u, y, v, y]))[0, 1] == pytest.approx([254, 0, 0], abs=3)


def test_16_bits_are_read_in_the_messages_byte_order() -> None:
    assert decode_color(1, 1, "rgb16", True, 6, bytes([1, 9, 2, 9, 3, 9])).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(("encoding", "chroma"), [("nv12", [90, 240]), ("nv21", [240, 90])])
def test_semi_planar_colours_are_read_with_their_rows_padding(encoding: str, chroma: list[int]) -> None:
    # The upper half is red, the lower half of the same chroma but black in its brightness.
    luma = [[81, 81, 81, 81, 0, 0]] * 2 + [[16, 16, 16, 16, 0, 0]] * 2
    rows = [*luma, [*chroma, *chroma, 0, 0], [128, 128, 128, 128, 0, 0]]
    image = decode_color(4, 4, encoding, False, 6, np.array(rows, np.uint8).tobytes())
    assert image.shape == (4, 4, 3)
    assert image[0, 0] == pytest.approx([254, 0, 0], abs=3)
    assert image[3, 3] == pytest.approx([0, 0, 0], abs=3)


def test_nv24_has_two_colours_for_each_pixel_and_rows_padding() -> None:
    # Red, black above; black, red below: V4L2_PIX_FMT_NV24, a plane of brightness and one of Cb, Cr pairs.
    luma = [[81, 16, 0], [16, 81, 0]]
    red, grey = [90, 240, 0], [128, 128, 0]
    image = decode_color(2, 2, "nv24", False, 3, np.array([*luma, red, grey, grey, red], np.uint8).tobytes())
    assert image[0, 0] == pytest.approx([254, 0, 0], abs=3)
    assert image[1, 1] == pytest.approx([254, 0, 0], abs=3)
    assert image[0, 1] == pytest.approx([0, 0, 0], abs=3)
    assert image[1, 0] == pytest.approx([0, 0, 0], abs=3)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_mosaic_of_one_colour_becomes_that_colour(pattern: str, bits: int) -> None:
    rgb = {"r": 200, "g": 120, "b": 40}
    cell = np.array([rgb[letter] for letter in pattern], dtype=np.uint16).reshape(2, 2)
    mosaic = np.tile(cell, (4, 4))
    stored = mosaic.astype(np.uint8) if bits == 8 else (mosaic << 8 | 77).astype("<u2")
    image = decode_color(8, 8, f"bayer_{pattern}{bits}", False, bits, stored.tobytes())
    assert image[2:-2, 2:-2].reshape(-1, 3).tolist() == [[200, 120, 40]] * 16


def test_the_smallest_mosaic_that_can_be_read_is_3x3() -> None:
    image = decode_color(3, 3, "bayer_rggb8", False, 3, bytes([9] * 9))
    assert image.tolist() == [[[9, 9, 9]] * 3] * 3


def test_rgb8_is_a_view_of_the_message() -> None:
    data = np.arange(12, dtype=np.uint8)
    assert np.shares_memory(decode_color(2, 2, "rgb8", False, 6, data), data)


@pytest.mark.parametrize("container", [bytes, lambda raw: array.array("B", raw), memoryview, bytearray])
def test_every_container_of_bytes_is_read(container: type) -> None:
    assert decode_color(1, 1, "rgb8", False, 3, container(b"\x01\x02\x03")).tolist() == [[[1, 2, 3]]]


def test_padding_at_the_ends_of_rows_is_left_out() -> None:
    padded = bytes([1, 2, 3, 0, 4, 5, 6, 0])
    assert decode_color(2, 1, "bgr8", False, 4, padded).tolist() == [[[3, 2, 1]], [[6, 5, 4]]]
    depth = struct.pack("<HHHH", 1000, 9, 2000, 9)
    assert decode_depth_image(2, 1, "16UC1", False, 4, depth).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_16_bit_depth_is_millimetres(encoding: str, is_bigendian: bool) -> None:
    data = struct.pack(">3H" if is_bigendian else "<3H", 0, 1, 1500)
    depth_m = decode_depth_image(1, 3, encoding, is_bigendian, 6, data)
    assert depth_m.dtype == np.float32
    np.testing.assert_allclose(depth_m, [[0, 0.001, 1.5]], rtol=1e-6)


@pytest.mark.parametrize("is_bigendian", [False, True])
def test_float_depth_is_metres_and_nan_no_measurement(is_bigendian: bool) -> None:
    data = struct.pack(">4f" if is_bigendian else "<4f", float("nan"), 1.25, float("inf"), -1.0)
    depth_m = decode_depth_image(1, 4, "32FC1", is_bigendian, 16, data)
    assert depth_m.dtype == np.float32
    assert depth_m.dtype.isnative
    assert depth_m.tolist() == [[0, 1.25, 0, 0]]


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ((2, 2, "rgb8", False, 6, bytes(11)), "truncated: 11 bytes where 2 rows of 6 make 12"),
        ((2, 2, "rgb8", False, 6, b""), "truncated: 0 bytes"),
        ((2, 2, "rgb8", False, 6, bytes(13)), "too long"),
        ((2, 2, "rgb8", False, 5, bytes(10)), "step is 5 bytes, but a row of 2 pixels needs 6"),
        ((2, 2, "rgb8", False, 0, bytes(12)), "step is 0"),
        ((0, 2, "rgb8", False, 6, b""), "empty: 2x0"),
        ((2, 2, "nv99", False, 2, bytes(6)), "unknown colour encoding 'nv99'; known are rgb8"),
        (
            (2, 2, "16UC1", False, 4, bytes(8)),
            "16UC1 is no encoding of colour: are the topics of colour and depth exch",
        ),
        ((2, 2, "nv24", False, 2, bytes(6)), "truncated: 6 bytes where 6 rows of 2 make 12"),
        ((2, 2, "nv12", False, 2, bytes(4)), "truncated: 4 bytes where 3 rows of 2 make 6"),
        ((3, 2, "nv12", False, 2, bytes(8)), "rows in pairs, but the image is 3 pixels high"),
        ((2, 3, "nv21", False, 3, bytes(9)), "pixels in pairs, but the image is 3 pixels wide"),
        ((2, 2, "bayer_rggb8", False, 2, bytes(4)), "bayer_rggb8 cannot be 2x2"),
        ((2, 3, "bayer_rggb8", False, 3, bytes(6)), "bayer_rggb8 cannot be 3x2"),
        ((3, 2, "bayer_rggb8", False, 2, bytes(6)), "bayer_rggb8 cannot be 2x3"),
        ((1, 3, "yuyv", False, 6, bytes(6)), "pairs"),
    ],
)
def test_a_wrong_colour_image_is_refused_with_its_cause(fields: tuple, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        decode_color(*fields)


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ((2, 2, "16UC1", False, 4, bytes(7)), "truncated: 7 bytes"),
        ((2, 2, "16UC1", False, 2, bytes(4)), "step is 2 bytes, but a row of 2 pixels needs 4"),
        ((2, 2, "64FC1", False, 16, bytes(32)), "unknown depth encoding '64FC1'; known are 16UC1"),
        ((2, 2, "rgb8", False, 6, bytes(12)), "rgb8 is no encoding of depth: are the topics of colour and depth exch"),
        ((2, 2, "", False, 4, bytes(8)), "unknown depth encoding ''"),
    ],
)
def test_a_wrong_depth_image_is_refused_with_its_cause(fields: tuple, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        decode_depth_image(*fields)


COLOR_BLOCKS = np.kron(np.array([[[200, 30, 40], [20, 180, 60]]], dtype=np.uint8), np.ones((16, 16, 1), np.uint8))


@pytest.mark.parametrize("format", ["png", "rgb8; png compressed bgr8", "bgr8; png compressed bgr8"])
def test_png_colour_is_exact(format: str) -> None:
    stored_bgr = cv2.cvtColor(COLOR_BLOCKS, cv2.COLOR_RGB2BGR)
    assert np.array_equal(decode_compressed_color(format, png(stored_bgr)), COLOR_BLOCKS)


def test_jpeg_colour_is_near() -> None:
    stored_bgr = cv2.cvtColor(COLOR_BLOCKS, cv2.COLOR_RGB2BGR)
    image = decode_compressed_color("rgb8; jpeg compressed bgr8", array.array("B", jpeg(stored_bgr)))
    assert np.abs(image.astype(int) - COLOR_BLOCKS).mean() < 3


def test_a_file_that_holds_rgb_and_says_so_is_not_swapped() -> None:
    assert np.array_equal(decode_compressed_color("rgb8; png compressed rgb8", png(COLOR_BLOCKS)), COLOR_BLOCKS)


DEPTH_MM = np.array([[0, 500], [1234, 9000]], dtype=np.uint16)
UNUSED_HEADER = struct.pack("<iff", 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("format", "header"),
    [
        ("16UC1; compressedDepth", UNUSED_HEADER),
        ("16UC1; compressedDepth png", UNUSED_HEADER),
        ("16UC1; png compressed", b""),
        ("png", b""),
        ("", b""),
        ("mono16; png compressed ", b""),
    ],
)
def test_compressed_16_bit_depth_is_millimetres(format: str, header: bytes) -> None:
    depth_m = decode_compressed_depth(format, header + png(DEPTH_MM))
    np.testing.assert_allclose(depth_m, DEPTH_MM * 0.001, rtol=1e-6)


@pytest.mark.parametrize("format", ["16UC1; compressedDepth rvl", "16UC1; compressedDepth RVL"])
def test_rvl_depth_is_millimetres(format: str) -> None:
    # 2 x 2: one zero, then three others: 500, 1234, 9000, as differences with the sign below: 1000, 1468, 15532.
    numbers = [1, 3, 1000, 1468, 15532]
    nibbles = ""
    for number in numbers:
        digits = []
        while True:
            digits.append(number & 7 | (8 if number > 7 else 0))
            number >>= 3
            if not number:
                break
        nibbles += "".join(f"{digit:x}" for digit in digits)
    words = [int(nibbles[start : start + 8].ljust(8, "0"), 16) for start in range(0, len(nibbles), 8)]
    payload = UNUSED_HEADER + struct.pack("<II", 2, 2) + struct.pack(f"<{len(words)}I", *words)
    np.testing.assert_allclose(decode_compressed_depth(format, payload), DEPTH_MM * 0.001, rtol=1e-6)


def test_compressed_float_depth_is_inverse_quantised() -> None:
    # A 32FC1 publisher stores round(A / depth + B): 0.5 m and 2 m with A = 1000 and B = 1 are 2001 and 501.
    payload = struct.pack("<iff", 0, 1000.0, 1.0) + png(np.array([[0, 2001, 501, 1]], dtype=np.uint16))
    np.testing.assert_allclose(decode_compressed_depth("32FC1; compressedDepth png", payload), [[0, 0.5, 2.0, 0]])


def test_the_smallest_quantised_value_is_a_measurement() -> None:
    payload = struct.pack("<iff", 0, 10.0, -1.0) + png(np.array([[0, 1]], dtype=np.uint16))
    np.testing.assert_allclose(decode_compressed_depth("32FC1; compressedDepth png", payload), [[0, 5.0]])


@pytest.mark.parametrize(
    ("format", "payload", "cause"),
    [
        ("16UC1; compressedDepth rvl", UNUSED_HEADER + b"any", "RVL data are truncated"),
        (
            "png",
            UNUSED_HEADER + png(DEPTH_MM),
            "must be a 16-bit PNG, or compressedDepth of 16UC1 .* format says 'png'",
        ),
        ("16UC1; compressedDepth png", UNUSED_HEADER[:7], "7 bytes do not hold its header"),
        ("16UC1; compressedDepth png", UNUSED_HEADER + png(DEPTH_MM)[:-6], "truncated"),
        ("16UC1; compressedDepth png", UNUSED_HEADER + png(DEPTH_MM.astype(np.uint8)), "16-bit PNG"),
        ("32FC1; compressedDepth png", UNUSED_HEADER + png(DEPTH_MM), "quantisation parameters 0.0, 0.0"),
        (
            "bgr8; jpeg compressed bgr8",
            jpeg(np.zeros((8, 8, 3), np.uint8)),
            "its format says 'bgr8.* data start with ffd8",
        ),
    ],
)
def test_wrong_compressed_depth_is_refused_with_its_cause(format: str, payload: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        decode_compressed_depth(format, payload)


@given(st.data(), st.integers(-1, 6), st.integers(-1, 6), st.sampled_from(COLOR_ENCODINGS), st.booleans())
def test_any_colour_fields_give_an_image_of_their_size_or_a_value_error(
    data: st.DataObject, height: int, width: int, encoding: str, is_bigendian: bool
) -> None:
    step = data.draw(st.integers(1, 4).map(lambda channels: channels * width) | st.integers(-2, 40), label="step")
    fitting = max(height * step, 0)
    payload = data.draw(st.binary(min_size=fitting, max_size=fitting) | st.binary(max_size=160), label="data")
    try:
        image = decode_color(height, width, encoding, is_bigendian, step, payload)
    except ValueError:
        return
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert len(payload) == (height * 3 // 2 if encoding.startswith("nv") else height) * step


@given(
    st.data(), st.integers(1, 6), st.integers(1, 6), st.sampled_from(DEPTH_ENCODINGS), st.booleans(), st.integers(0, 9)
)
def test_any_depth_bits_give_finite_metres(
    data: st.DataObject, height: int, width: int, encoding: str, is_bigendian: bool, padding: int
) -> None:
    if encoding == "32FC1":  # bytes alone are hardly ever NaN or infinite
        pixel = st.floats(width=32).map(struct.Struct(">f" if is_bigendian else "<f").pack)
    else:
        pixel = st.binary(min_size=2, max_size=2)
    row = st.lists(pixel, min_size=width, max_size=width).map(lambda pixels: b"".join(pixels) + bytes(padding))
    rows = data.draw(st.lists(row, min_size=height, max_size=height))
    depth_m = decode_depth_image(height, width, encoding, is_bigendian, len(rows[0]), b"".join(rows))
    assert depth_m.shape == (height, width)
    assert np.isfinite(depth_m).all()
    assert (depth_m >= 0).all()


FILES = {
    "jpeg": jpeg(COLOR_BLOCKS),
    "png": png(COLOR_BLOCKS),
    "16UC1; compressedDepth png": UNUSED_HEADER + png(DEPTH_MM),
    "32FC1; compressedDepth png": struct.pack("<iff", 0, 1000.0, 1.0) + png(DEPTH_MM),
}


@given(st.sampled_from(sorted(FILES)), st.data())
def test_flipped_bytes_in_a_file_give_an_image_or_a_value_error(format: str, data: st.DataObject) -> None:
    payload = bytearray(FILES[format])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    depth = "compressedDepth" in format
    try:
        image = (decode_compressed_depth if depth else decode_compressed_color)(format, payload)
    except ValueError:
        return
    assert image.ndim == (2 if depth else 3)
    assert np.isfinite(image).all()
