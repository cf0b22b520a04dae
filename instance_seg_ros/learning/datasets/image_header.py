"""Size and kind of a PNG or JPEG file without decoding it, so that a large data set is checked in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.ExifTags import Base

_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_TAIL_BYTES = 4096

DEPTH_KIND = "grey of 16 bits"
_KINDS = {
    "1": "black and white",
    "L": "grey of 8 bits",
    "LA": "grey and alpha",
    "P": "colour by a palette",
    "RGB": "colour",
    "RGBA": "colour and alpha",
}


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its image.

    Attributes:
        width, height: in pixels, as stored, whatever an orientation tag says.
        kind: of the pixels, in words; `DEPTH_KIND` for one channel of 16 bits.
        orientation: the EXIF tag: 1 as stored, 2 to 4 mirrored or upside down, 5 to 8 turned on a side.
    """

    width: int
    height: int
    kind: str
    orientation: int = 1


def read_image_header(path: Path) -> ImageHeader:
    """The header of an image file that is not cut short.

    Raises:
        OSError: no file there, or it cannot be read.
        ValueError: neither PNG nor JPEG, or cut short; the message names the cause, not the file.
    """
    with path.open("rb") as file:
        signature = file.read(8)
        if not signature.startswith(_SIGNATURES):
            raise ValueError(f"it is no PNG or JPEG image; it starts with {signature.hex() or 'nothing'}")
        file.seek(0)
        try:
            with Image.open(file, formats=tuple(_ENDS)) as image:
                end = _ENDS[str(image.format)]
                kind = DEPTH_KIND if image.mode.startswith("I") else _KINDS.get(image.mode, image.mode)
                # Without tags in front of the pixels, Pillow would decode a PNG to look for them behind.
                tags = image.getexif() if "exif" in image.info else {}
                orientation = int(tags.get(Base.Orientation, 1))
                header = ImageHeader(image.width, image.height, kind, orientation)
        except Image.DecompressionBombError as error:
            raise ValueError(f"its header names too large an image: {error}") from error
        except (OSError, SyntaxError, EOFError, ValueError, TypeError) as error:  # of Pillow, for what it cannot read
            raise ValueError("its header is damaged or cut short") from error
    # A second look at the file, because Pillow closes it.
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        if end not in file.read():
            raise ValueError("it is cut short: its end marker is missing")
    return header
