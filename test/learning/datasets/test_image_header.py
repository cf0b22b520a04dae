from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from instance_seg_ros.learning.datasets.image_header import DEPTH_KIND, ImageHeader, read_image_header

PIXELS = np.random.default_rng(0).integers(0, 255, (31, 47, 3), dtype=np.uint8)


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


def palette_png() -> bytes:
    content = io.BytesIO()
    Image.new("P", (2, 1)).save(content, "PNG")
    return content.getvalue()


def huge_png() -> bytes:
    """A whole PNG whose header says 60,000 x 60,000 pixels."""
    content = encoded(".png", PIXELS)
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (encoded(".png", PIXELS), ImageHeader(47, 31, "colour")),
        (encoded(".png", PIXELS[..., 0].astype(np.uint16)), ImageHeader(47, 31, DEPTH_KIND)),
        (encoded(".png", np.dstack((PIXELS, PIXELS[..., :1]))), ImageHeader(47, 31, "colour and alpha")),
        (encoded(".jpg", PIXELS), ImageHeader(47, 31, "colour")),
        (encoded(".jpg", PIXELS[..., 0]), ImageHeader(47, 31, "grey of 8 bits")),
        (encoded(".jpg", PIXELS, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), ImageHeader(47, 31, "colour")),
        (encoded(".jpg", PIXELS) + b"\0\0", ImageHeader(47, 31, "colour")),
        (encoded(".jpg", PIXELS) + b"behind it", ImageHeader(47, 31, "colour")),
        (encoded(".png", PIXELS) + b"behind it", ImageHeader(47, 31, "colour")),
        (palette_png(), ImageHeader(2, 1, "colour by a palette")),
    ],
)
def test_the_header_tells_size_and_kind(content: bytes, header: ImageHeader, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    assert read_image_header(path) == header


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "it starts with nothing"),
        (b"GIF89a....", "no PNG or JPEG"),
        (encoded(".png", PIXELS)[:20], "cut short"),
        (encoded(".png", PIXELS)[:-5], "end marker is missing"),
        (encoded(".jpg", PIXELS)[:-2], "end marker is missing"),
        (encoded(".jpg", PIXELS)[:10], "cut short"),
        (b"\xff\xd8\xff\xda\x00\x02", "header is damaged or cut short"),
        (b"\xff\xd8\xff\xe0\x00\x02\x00\x00", "header is damaged or cut short"),
        (huge_png(), "names too large an image"),
    ],
)
def test_a_file_that_is_no_whole_image_is_refused(content: bytes, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=cause):
        read_image_header(path)


def test_the_orientation_tag_is_read(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 3
    Image.fromarray(PIXELS).save(tmp_path / "turned.jpg", exif=tags)
    assert read_image_header(tmp_path / "turned.jpg") == ImageHeader(47, 31, "colour", orientation=3)


def test_no_pixel_is_decoded(tmp_path: Path) -> None:
    content = bytearray(encoded(".png", PIXELS))
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(20)
    (tmp_path / "damaged.png").write_bytes(content)
    assert read_image_header(tmp_path / "damaged.png") == ImageHeader(47, 31, "colour")
