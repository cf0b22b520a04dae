from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from instance_seg_ros.messages.image_files import decode_image_file

NOISE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def png(image: NDArray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image: NDArray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def progressive_jpeg(image: NDArray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def jpeg_with_thumbnail(image: NDArray) -> bytes:
    """A JPEG whose EXIF segment holds a whole JPEG, with an end of its own."""
    inner = jpeg(image[:8, :8])
    content = jpeg(image)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner + content[2:]


def tiff(image: NDArray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image[..., ::-1].copy()).save(content, "TIFF")
    return content.getvalue()


ENCODERS = [png, jpeg, progressive_jpeg, jpeg_with_thumbnail, tiff]
Encoder = Callable[[NDArray], bytes]


@pytest.mark.parametrize("encode", ENCODERS)
def test_a_file_becomes_its_pixels(encode: Encoder) -> None:
    decoded = decode_image_file(encode(NOISE), cv2.IMREAD_COLOR)
    assert decoded.shape == NOISE.shape
    if encode in (png, tiff):
        assert np.array_equal(decoded, NOISE)


@pytest.mark.parametrize("encode", ENCODERS)
@pytest.mark.parametrize("behind", [b"\0" * 10, b"ten bytes.", b"\xff" * 10])
def test_bytes_behind_the_end_do_no_harm(encode: Encoder, behind: bytes) -> None:
    alone, followed = (decode_image_file(encode(NOISE) + rest, cv2.IMREAD_COLOR) for rest in (b"", behind))
    assert np.array_equal(alone, followed)


@pytest.mark.parametrize("encode", [png, jpeg, progressive_jpeg, jpeg_with_thumbnail])
@pytest.mark.parametrize("kept_share", [0.999, 0.9, 0.5, 0.2])
def test_a_truncated_file_is_refused(encode: Encoder, kept_share: float) -> None:
    payload = encode(NOISE)
    with pytest.raises(ValueError, match="truncated: its end marker is missing"):
        decode_image_file(payload[: int(len(payload) * kept_share)], cv2.IMREAD_COLOR)


@pytest.mark.parametrize("kept", range(3, 9))
def test_a_jpeg_that_ends_in_or_behind_its_first_segment_is_truncated(kept: int) -> None:
    with pytest.raises(ValueError, match="truncated: its end marker is missing"):
        decode_image_file(b"\xff\xd8\xff\xe0\x00\x04\x00\x00"[:kept], cv2.IMREAD_COLOR)


def test_a_truncated_tiff_is_refused() -> None:
    with pytest.raises(ValueError, match="TIFF image is (truncated|damaged)"):
        decode_image_file(tiff(NOISE)[:100], cv2.IMREAD_COLOR)


def test_a_damaged_file_is_refused() -> None:
    payload = bytearray(png(NOISE))
    payload[16:29] = bytes(13)
    with pytest.raises(ValueError, match="damaged: the checksum of its header is wrong"):
        decode_image_file(payload, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("payload", [b"", b"GIF89a..."])
def test_other_data_are_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="no PNG, JPEG or TIFF"):
        decode_image_file(payload, cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    ("further", "behind"),
    [
        ([], struct.pack("<I", 0)),
        # What follows the last entry looks like one more, with a size of 4294967295.
        ([], struct.pack("<HHiI", 256, 4, 1, 0xFFFFFFFF)),
        ([], struct.pack("<HHiI", 257, 4, 1, 0xFFFFFFFF)),
        # A second width of a type that a width cannot have.
        ([(256, 2, 1, 9)], struct.pack("<I", 0)),
    ],
)
def test_only_entries_of_a_tiffs_directory_tell_its_size(further: list[tuple[int, ...]], behind: bytes) -> None:
    pixels = bytes([10, 20, 30, 40, 50, 60])
    entries = [(256, 3, 1, 3), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 6)]
    directory = b"".join(
        struct.pack("<HHII", *entry) for entry in sorted([*entries, *further], key=lambda entry: entry[0])
    )
    count = struct.pack("<H", len(entries) + len(further))
    payload = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + count + directory + behind
    assert decode_image_file(payload, cv2.IMREAD_UNCHANGED).tolist() == [[10, 20, 30], [40, 50, 60]]


def png_of_size(width: int, height: int) -> bytes:
    """A whole PNG of another size than its header says."""
    content = png(NOISE)
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def jpeg_of_size(width: int, height: int) -> bytes:
    content = jpeg(NOISE)
    frame = content.index(b"\xff\xc0")
    return content[: frame + 5] + struct.pack(">HH", height, width) + content[frame + 9 :]


def tiff_of_size(width: int, height: int) -> bytes:
    content = tiff(NOISE)
    entries = struct.pack("<HHII", 256, 4, 1, NOISE.shape[1]), struct.pack("<HHII", 257, 4, 1, NOISE.shape[0])
    assert all(entry in content for entry in entries)
    content = content.replace(entries[0], struct.pack("<HHII", 256, 4, 1, width))
    return content.replace(entries[1], struct.pack("<HHII", 257, 4, 1, height))


@pytest.mark.parametrize("bomb", [png_of_size, jpeg_of_size, tiff_of_size])
def test_an_image_larger_than_any_cameras_is_refused_before_it_is_decoded(bomb: Callable[[int, int], bytes]) -> None:
    started_s = time.perf_counter()
    with pytest.raises(ValueError, match="is 30000x30000 by its header; at most 67108864 pixels are read"):
        decode_image_file(bomb(30_000, 30_000), cv2.IMREAD_COLOR)
    assert time.perf_counter() - started_s < 1
