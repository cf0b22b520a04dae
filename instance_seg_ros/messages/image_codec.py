"""Decodes the image encodings of ROS 2 from a message's plain fields; node and bag reader use the same functions.

Colour becomes (H, W, 3) uint8 RGB, depth (H, W) float32 metres with 0 for no measurement. The common encodings are read
as NumPy views of the message's data, so a returned colour image may share memory with it and may be read-only.

The layouts are those of `sensor_msgs/Image` (REP-118 for depth) and of the image_transport plugins `compressed` and
`compressedDepth`. Every function raises ValueError naming the cause for data that are not what they claim to be.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.depth import decode_depth
from instance_seg_ros.messages.image_files import MAX_PIXELS, PNG_SIGNATURE, decode_image_file
from instance_seg_ros.messages.rvl import decode_rvl


class _Layout(NamedTuple):
    """How the pixels of an encoding lie in a row."""

    channels: int
    to_rgb: int | None
    """OpenCV's conversion to RGB; None where none is needed."""
    bits: int = 8
    is_semi_planar: bool = False
    """Below the rows of brightness, half as many rows hold colours, each for four pixels."""
    is_full_planar: bool = False
    """Below the rows of brightness, twice as many rows hold the two colours of each pixel, one after the other."""
    is_mosaic: bool = False
    """Each pixel has one colour of a pattern of 2 x 2."""


_COLOR_LAYOUTS = {
    "rgb8": _Layout(3, None),
    "bgr8": _Layout(3, cv2.COLOR_BGR2RGB),
    "8UC3": _Layout(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout(4, cv2.COLOR_BGRA2RGB),
    "8UC4": _Layout(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout(1, cv2.COLOR_GRAY2RGB),
    "8UC1": _Layout(1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Layout(3, None, bits=16),
    "bgr16": _Layout(3, cv2.COLOR_BGR2RGB, bits=16),
    "rgba16": _Layout(4, cv2.COLOR_RGBA2RGB, bits=16),
    "bgra16": _Layout(4, cv2.COLOR_BGRA2RGB, bits=16),
    "mono16": _Layout(1, cv2.COLOR_GRAY2RGB, bits=16),
    "yuv422_yuy2": _Layout(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Layout(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422": _Layout(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Layout(2, cv2.COLOR_YUV2RGB_UYVY),
    "nv12": _Layout(1, cv2.COLOR_YUV2RGB_NV12, is_semi_planar=True),
    "nv21": _Layout(1, cv2.COLOR_YUV2RGB_NV21, is_semi_planar=True),
    "nv24": _Layout(1, None, is_full_planar=True),
    **{
        f"bayer_{pattern}{bits}": _Layout(1, to_rgb, bits, is_mosaic=True)
        for pattern, to_rgb in (
            ("rggb", cv2.COLOR_BayerRGGB2RGB),
            ("bggr", cv2.COLOR_BayerBGGR2RGB),
            ("gbrg", cv2.COLOR_BayerGBRG2RGB),
            ("grbg", cv2.COLOR_BayerGRBG2RGB),
        )
        for bits in (8, 16)
    },
}
_DEPTH_TYPES = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}

COLOR_ENCODINGS = tuple(_COLOR_LAYOUTS)
"""Encodings that `decode_color` reads."""
DEPTH_ENCODINGS = tuple(_DEPTH_TYPES)
"""Encodings that `decode_depth_image` reads."""

_COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")
"""compressedDepth's ConfigHeader: compression format (an enum), then the quantisation parameters A and B."""
_MIN_MOSAIC_SIDE = 3  # OpenCV looks at the neighbours of every pixel


_TEXT_SHOWN = 60


def decode_color(height: int, width: int, encoding: str, is_bigendian: bool, step: int, data: Any) -> NDArray[np.uint8]:
    """Colour of a `sensor_msgs/Image`.

    Args:
        is_bigendian: has no meaning for encodings with one byte per channel.
        step: bytes from one row to the next.
        data: a buffer of bytes (bytes, array.array("B"), a NumPy array or a memoryview).

    Returns:
        (height, width, 3) uint8 RGB; grey is repeated over the channels, alpha is dropped, and of 16 bits the upper 8
        are kept.

    Raises:
        ValueError: for an encoding that is not in `COLOR_ENCODINGS`, or a step or length that does not fit.
    """
    layout = _COLOR_LAYOUTS.get(encoding)
    if layout is None:
        raise ValueError(_unknown_encoding("colour", encoding, COLOR_ENCODINGS, DEPTH_ENCODINGS))
    if (layout.channels == 2 or layout.is_semi_planar) and width % 2:
        raise ValueError(f"{encoding} holds pixels in pairs, but the image is {width} pixels wide")
    if layout.is_semi_planar and height % 2:
        raise ValueError(f"{encoding} holds rows in pairs, but the image is {height} pixels high")
    if layout.is_mosaic and min(width, height) < _MIN_MOSAIC_SIDE:
        raise ValueError(f"an image of {encoding} cannot be {width}x{height}")
    rows_stored = height * 3 // 2 if layout.is_semi_planar else height * 3 if layout.is_full_planar else height
    rows = _rows(rows_stored, width, width * layout.channels * layout.bits // 8, step, data)
    if layout.bits == 16:
        values = np.ascontiguousarray(rows).view(">u2" if is_bigendian else "<u2")
        rows = (values >> 8).astype(np.uint8)
    if layout.is_full_planar:
        return _full_planar_to_rgb(rows)
    image = rows if layout.channels == 1 else rows.reshape(height, width, layout.channels)
    return image if layout.to_rgb is None else np.asarray(cv2.cvtColor(image, layout.to_rgb), dtype=np.uint8)


def _full_planar_to_rgb(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """nv24 as nv12 of twice the size, which OpenCV converts: each pixel then is four of one colour."""
    height, width = rows.shape[0] // 3, rows.shape[1]
    brightness = rows[:height].repeat(2, axis=0).repeat(2, axis=1)
    colors = np.ascontiguousarray(rows[height:]).reshape(height, 2 * width)
    doubled = cv2.cvtColor(np.concatenate([brightness, colors]), cv2.COLOR_YUV2RGB_NV12)
    return np.ascontiguousarray(doubled[::2, ::2])


def decode_depth_image(
    height: int, width: int, encoding: str, is_bigendian: bool, step: int, data: Any
) -> NDArray[np.float32]:
    """Depth of a `sensor_msgs/Image`: `16UC1` and `mono16` are millimetres, `32FC1` metres with NaN for none (REP-118).

    Returns:
        (height, width) float32 metres, 0 = no measurement.

    Raises:
        ValueError: for an encoding that is not in `DEPTH_ENCODINGS`, or a step or length that does not fit.
    """
    if encoding not in _DEPTH_TYPES:
        raise ValueError(_unknown_encoding("depth", encoding, DEPTH_ENCODINGS, COLOR_ENCODINGS))
    dtype = np.dtype((">" if is_bigendian else "<") + _DEPTH_TYPES[encoding])
    rows = _rows(height, width, width * dtype.itemsize, step, data)
    return decode_depth(np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="), copy=False))


def decode_compressed_color(format: str, data: Any, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Colour of a `sensor_msgs/CompressedImage`: JPEG, PNG or TIFF.

    Args:
        format: the message's field, such as "jpeg" or "rgb8; jpeg compressed bgr8".

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: for other data, truncated or damaged.
    """
    image = decode_image_file(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, max_pixels)
    # The codec's channels are in the order BGR, unless the publisher handed it RGB, which the format then says.
    stored_rgb = "compressed rgb" in format
    return image if stored_rgb else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_compressed_depth(format: str, data: Any, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Depth of a `sensor_msgs/CompressedImage`: compressedDepth with PNG or RVL, or a plain 16-bit PNG in millimetres.

    The data decide what it is, whatever a plain PNG's `format` says. compressedDepth of a 32FC1 image holds quantised
    inverse depth: depth = A / (value - B) with A and B in its header.

    Args:
        format: the message's field, such as "16UC1; compressedDepth png", "16UC1; png compressed" or "png".

    Returns:
        (H, W) float32 metres, 0 = no measurement.

    Raises:
        ValueError: for JPEG, another encoding, truncated or damaged data.
    """
    payload = bytes(data)
    if payload.startswith(PNG_SIGNATURE):
        return decode_depth(_decode_png16(payload, max_pixels))
    encoding = format.split(";")[0].strip()
    if encoding not in _DEPTH_TYPES or "compressedDepth" not in format:
        raise ValueError(
            f"compressed depth must be a 16-bit PNG, or compressedDepth of {' or '.join(DEPTH_ENCODINGS)}; its format "
            f"says {_shown(format)}, and the data start with {payload[:4].hex() or 'nothing'}"
        )
    if len(payload) < _COMPRESSED_DEPTH_HEADER.size:
        raise ValueError(f"compressedDepth is truncated: {len(payload)} bytes do not hold its header")
    _, quant_a, quant_b = _COMPRESSED_DEPTH_HEADER.unpack_from(payload)
    image = payload[_COMPRESSED_DEPTH_HEADER.size :]
    decode = decode_rvl if "rvl" in format.lower() else _decode_png16
    stored = decode(image, max_pixels)
    if _DEPTH_TYPES[encoding] == "u2":
        return decode_depth(stored)
    if not (np.isfinite([quant_a, quant_b]).all() and quant_a > 0):
        raise ValueError(f"compressedDepth's header has unusable quantisation parameters {quant_a}, {quant_b}")
    quantised = stored.astype(np.float32)
    measured = (quantised > 0) & (quantised > quant_b)
    depth_m = np.zeros_like(quantised)
    np.divide(np.float32(quant_a), quantised - np.float32(quant_b), out=depth_m, where=measured)
    return decode_depth(depth_m)


def _rows(height: int, width: int, row_bytes: int, step: int, data: Any) -> NDArray[np.uint8]:
    """(height, row_bytes) view of an image's data without the padding at the rows' ends."""
    if height <= 0 or width <= 0:
        raise ValueError(f"the image is empty: {width}x{height}")
    if step < row_bytes:
        raise ValueError(f"step is {step} bytes, but a row of {width} pixels needs {row_bytes}")
    buffer = np.frombuffer(data, dtype=np.uint8)
    if buffer.size != height * step:
        fault = "truncated" if buffer.size < height * step else "too long"
        raise ValueError(f"data are {fault}: {buffer.size} bytes where {height} rows of {step} make {height * step}")
    return buffer.reshape(height, step)[:, :row_bytes]


def _decode_png16(payload: bytes, max_pixels: int) -> NDArray[np.uint16]:
    image = decode_image_file(payload, cv2.IMREAD_UNCHANGED, max_pixels)
    if image.ndim != 2 or image.dtype != np.uint16:
        raise ValueError(f"compressed depth must hold a 16-bit PNG of one channel, not {image.dtype} {image.shape}")
    return image


def _unknown_encoding(kind: str, encoding: str, known: tuple[str, ...], others: tuple[str, ...]) -> str:
    """That images of a kind are not of this encoding, and whether the topics may have been exchanged."""
    if encoding in others:
        return f"{encoding} is no encoding of {kind}: are the topics of colour and depth exchanged?"
    return f"unknown {kind} encoding {_shown(encoding)}; known are {', '.join(known)}"


def _shown(text: str) -> str:
    """A text of a message as it may stand in a log: quoted, and cut where it is long."""
    return repr(text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}... ({len(text)} characters)")
