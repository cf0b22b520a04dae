from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from instance_seg_ros.learning.datasets.image_header import ImageHeader, read_image_header

PIXELS = np.random.default_rng(0).integers(0, 255, (31, 47, 3), dtype=np.uint8)


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (encoded(".png", PIXELS), ImageHeader(47, 31, 3, 8)),
        (encoded(".png", PIXELS[..., 0].astype(np.uint16)), ImageHeader(47, 31, 1, 16)),
        (encoded(".png", np.dstack((PIXELS, PIXELS[..., :1]))), ImageHeader(47, 31, 4, 8)),
        (encoded(".jpg", PIXELS), ImageHeader(47, 31, 3, 8)),
        (encoded(".jpg", PIXELS[..., 0]), ImageHeader(47, 31, 1, 8)),
        (encoded(".jpg", PIXELS, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), ImageHeader(47, 31, 3, 8)),
        (encoded(".jpg", PIXELS) + b"\0\0", ImageHeader(47, 31, 3, 8)),
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
        (b"\xff\xd8\xff\xda\x00\x02", "no JPEG frame header"),
        (b"\xff\xd8\xff\xe0\x00\x02\x00\x00", "markers are damaged"),
    ],
)
def test_a_file_that_is_no_whole_image_is_refused(content: bytes, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=cause):
        read_image_header(path)
