"""Size and kind of a PNG or JPEG file from a few of its bytes, so that a large data set is checked in seconds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PNG_SIGNATURE, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; a palette decodes to colour
_JPEG_SIGNATURE, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF markers: those three are tables and extensions
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its image.

    Attributes:
        width, height: in pixels, as stored, whatever an orientation tag says.
        channels: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha.
        bits: of each channel.
    """

    width: int
    height: int
    channels: int
    bits: int


def read_image_header(path: Path) -> ImageHeader:
    """The header of an image file whose end is there, too.

    Raises:
        FileNotFoundError: no file there.
        ValueError: neither PNG nor JPEG, or cut short; the message names the cause, not the file.
    """
    with path.open("rb") as file:
        signature = file.read(8)
        if signature == _PNG_SIGNATURE:
            header, end = _png_header(file), _PNG_END
        elif signature.startswith(_JPEG_SIGNATURE):
            header, end = _jpeg_header(file), _JPEG_END
        else:
            raise ValueError(f"it is no PNG or JPEG image; it starts with {signature.hex() or 'nothing'}")
        if header.width == 0 or header.height == 0:
            raise ValueError(f"its header says {header.width}x{header.height}")
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        if not file.read().rstrip(b"\0").endswith(end):
            raise ValueError("it is cut short: its end marker is missing")
    return header


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it is cut short within its header")
    return data


def _png_header(file: BinaryIO) -> ImageHeader:
    _, kind, width, height, bits, color_type = struct.unpack(">I4sIIBB", _read(file, 18))
    if kind != b"IHDR" or color_type not in _PNG_CHANNELS:
        raise ValueError("its PNG header is damaged")
    return ImageHeader(width, height, _PNG_CHANNELS[color_type], bits)


def _jpeg_header(file: BinaryIO) -> ImageHeader:
    file.seek(2)
    while True:
        if _read(file, 1) != b"\xff":
            raise ValueError("its JPEG markers are damaged")
        marker = 0xFF
        while marker == 0xFF:  # any number of fill bytes
            marker = _read(file, 1)[0]
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # these have no length
            continue
        length = struct.unpack(">H", _read(file, 2))[0]
        if marker in _JPEG_FRAMES:
            bits, height, width, channels = struct.unpack(">BHHB", _read(file, 6))
            return ImageHeader(width, height, channels, bits)
        if marker == 0xDA or length < 2:
            raise ValueError("it has no JPEG frame header")
        file.seek(length - 2, 1)
