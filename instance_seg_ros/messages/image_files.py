"""PNG, JPEG and TIFF files in memory, checked before they are decoded.

The codecs paint missing parts grey, and a header may name a size that takes all memory, so a file's structure is
walked through first. Bytes after a file's end, which some drivers send, do no harm.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 1 << 26
"""The largest image that is decoded: 8192 x 8192, more than any robot's camera gives."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_JPEG_SIGNATURE = b"\xff\xd8\xff"
_TIFF_SIGNATURES = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_SIZE_TAGS = (256, 257)
_TIFF_TYPES = {3: "H", 4: "I"}
# SOF markers, which hold the size; the three excluded ones are tables and extensions.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_JPEG_END = b"\xff\xd9"


def decode_image_file(data: Any, flags: int, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """A file as OpenCV decodes it with `flags` (so colour is BGR).

    Raises:
        ValueError: for other, truncated or damaged data, and for an image of more than `max_pixels`.
    """
    payload = bytes(data)
    if payload.startswith(PNG_SIGNATURE):
        name, size_wh = "PNG", _png_size(payload)
    elif payload.startswith(_JPEG_SIGNATURE):
        name, size_wh = "JPEG", _jpeg_size(payload)
    elif payload[:4] in _TIFF_SIGNATURES:
        name, size_wh = "TIFF", _tiff_size(payload)
    else:
        raise ValueError(f"the data are no PNG, JPEG or TIFF image; they start with {payload[:8].hex() or 'nothing'}")
    check_size(*size_wh, f"the {name} image", max_pixels)
    try:
        image = cv2.imdecode(np.frombuffer(payload, dtype=np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"the {name} image is damaged: {error}") from error
    if image is None:
        raise ValueError(f"the {name} image is damaged: it cannot be decoded")
    return np.asarray(image)


def check_size(width: int, height: int, what: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raises ValueError for an image that is empty or too large to be decoded."""
    if width * height > max_pixels or width <= 0 or height <= 0:
        raise ValueError(f"{what} is {width}x{height} by its header; at most {max_pixels} pixels are read")


def _truncated(name: str, payload: bytes) -> ValueError:
    return ValueError(f"the {name} image is truncated: its end marker is missing after {len(payload)} bytes")


def _png_size(payload: bytes) -> tuple[int, int]:
    """Width and height, once all chunks are there; the last is IEND."""
    position = len(PNG_SIGNATURE)
    while payload[position + 4 : position + 8] != b"IEND":
        if position + 12 > len(payload):
            raise _truncated("PNG", payload)
        position += 12 + int.from_bytes(payload[position : position + 4], "big")
    if position + 12 > len(payload):
        raise _truncated("PNG", payload)
    # IHDR is the first chunk: type and 13 bytes of data at 12..29, then their checksum.
    if payload[12:16] != b"IHDR" or zlib.crc32(payload[12:29]) != int.from_bytes(payload[29:33], "big"):
        raise ValueError("the PNG image is damaged: the checksum of its header is wrong")
    width, height = struct.unpack_from(">II", payload, 16)
    return width, height


def _jpeg_size(payload: bytes) -> tuple[int, int]:
    """Width and height, once the end is there; thumbnails with their own ends lie in earlier segments."""
    position, size_wh = 2, None
    while position + 4 <= len(payload):
        if payload[position] != 0xFF:
            raise ValueError("the JPEG image is damaged: its markers are")
        marker = payload[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        length = int.from_bytes(payload[position + 2 : position + 4], "big")
        if marker in _JPEG_FRAMES and position + 9 <= len(payload):
            height, width = struct.unpack_from(">HH", payload, position + 5)
            size_wh = width, height
        position += 2 + length
        if marker == _JPEG_SCAN:
            if payload.find(_JPEG_END, position) < 0:
                raise _truncated("JPEG", payload)
            if size_wh is None:
                raise ValueError("the JPEG image is damaged: it has no frame header")
            return size_wh
    raise _truncated("JPEG", payload)


def _tiff_size(payload: bytes) -> tuple[int, int]:
    """Width and height of the first image; a TIFF file has its directory anywhere, and no end to look for."""
    order = _TIFF_SIGNATURES[payload[:4]]
    sizes = {}
    try:
        (directory,) = struct.unpack_from(f"{order}I", payload, 4)
        (entries,) = struct.unpack_from(f"{order}H", payload, directory)
        for place in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", payload, place)
            if tag in _TIFF_SIZE_TAGS and kind in _TIFF_TYPES:
                (sizes[tag],) = struct.unpack_from(f"{order}{_TIFF_TYPES[kind]}", payload, place + 8)
        width, height = (sizes[tag] for tag in _TIFF_SIZE_TAGS)
    except (struct.error, KeyError) as error:
        raise ValueError("the TIFF image is truncated or damaged: its directory cannot be read") from error
    return width, height
