"""Malformed messages by the thousand: each becomes a valid frame or a ValueError, soon, and leaves no memory behind."""

from __future__ import annotations

import copy
import gc
import struct
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.image_codec import COLOR_ENCODINGS, DEPTH_ENCODINGS
from instance_seg_ros.messages.incoming import RgbdMessages, distortion_of, frame_of
from instance_seg_ros.messages.registration import Registration

EXAMPLES, HUNTED = 1200, 100_000
LONGEST_S = 1.0
"""Of CPU time, as the machine may be busy: a malformed frame of this size is refused in milliseconds."""
WIDTH, HEIGHT = 24, 18
MAX_PIXELS = 1_000_000

HOSTILE_INTEGERS = (0, 1, 2, 3, WIDTH - 1, WIDTH + 1, 255, 256, 65_535, 2**31 - 1, 2**32 - 1)
HOSTILE_FLOATS = (0.0, -1.0, 1e-300, 1e-6, 0.5, 1e6, 1e30, 1e308, np.nan, np.inf, -np.inf)
TEXTS = st.sampled_from(("", "\0", "é/\n", "/camera", "depth", "x" * 100_000)) | st.text(max_size=20)


def header(frame_id: str = "color") -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=5, nanosec=7), frame_id=frame_id)


def raw(encoding: str) -> Any:
    bytes_a_pixel = {"16UC1": 2, "mono16": 2, "32FC1": 4}.get(encoding, 3)
    step = WIDTH * bytes_a_pixel
    data = np.full(HEIGHT * step, 3, np.uint8).tobytes()
    fields = {"height": HEIGHT, "width": WIDTH, "encoding": encoding, "is_bigendian": 0, "step": step, "data": data}
    return SimpleNamespace(header=header(), **fields)


def compressed(suffix: str, pixels: np.ndarray, format: str, before: bytes = b"") -> Any:
    content = cv2.imencode(suffix, pixels)[1].tobytes()
    return SimpleNamespace(header=header(), format=format, data=before + content)


def rvl() -> Any:
    body = struct.pack("<II", WIDTH, HEIGHT) + np.full(200, 0x71, np.uint8).tobytes()
    return SimpleNamespace(header=header(), format="16UC1; compressedDepth rvl", data=bytes(12) + body)


def colors() -> list[Any]:
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    files = [compressed(suffix, pixels, "bgr8; compressed") for suffix in (".jpg", ".png", ".tiff")]
    return [raw(encoding) for encoding in COLOR_ENCODINGS] + files


def depths() -> list[Any]:
    pixels = np.full((HEIGHT, WIDTH), 800, np.uint16)
    files = [
        compressed(".png", pixels, "16UC1; compressedDepth png", bytes(12)),
        compressed(".png", pixels, "32FC1; compressedDepth png", struct.pack("<iff", 0, 2.0, 100.0)),
        compressed(".png", pixels, "png"),
        rvl(),
    ]
    return [raw(encoding) for encoding in DEPTH_ENCODINGS] + files


COLORS, DEPTHS = colors(), depths()


def info() -> Any:
    return SimpleNamespace(
        header=header(),
        width=WIDTH,
        height=HEIGHT,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[20.0, 0, WIDTH / 2, 0, 20.0, HEIGHT / 2, 0, 0, 1],
        r=[1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        p=[20.0, 0, WIDTH / 2, 0, 0, 20.0, HEIGHT / 2, 0, 0, 0, 1, 0],
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )


def spoil_bytes(draw: Any, data: bytes) -> bytes:
    """Cut, prolonged, emptied, or with some bytes changed, with and without a right checksum of a PNG's header."""
    how = draw(st.sampled_from(("cut", "more", "none", "bits", "header", "bits")))
    if how == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if how == "more":
        return data + draw(st.binary(max_size=50))
    if how == "none":
        return b""
    spoilt = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        if spoilt:
            spoilt[draw(st.integers(0, len(spoilt) - 1))] = draw(st.integers(0, 255))
    png = data.find(b"\x89PNG")
    if how == "header" and 0 <= png <= len(data) - 33:  # a part spoilt before may end within its header
        spoilt = bytearray(data)
        struct.pack_into(
            ">II",
            spoilt,
            png + 16,
            draw(st.sampled_from(HOSTILE_INTEGERS)),
            draw(st.sampled_from(HOSTILE_INTEGERS)),
        )
        struct.pack_into(">I", spoilt, png + 29, zlib.crc32(bytes(spoilt[png + 12 : png + 29])))
    return bytes(spoilt)


def spoil_header(draw: Any, stamped: Any) -> None:
    stamped.frame_id = draw(TEXTS)
    stamped.stamp.sec = draw(st.sampled_from((-(2**31), -1, 0, 5, 2**31 - 1)))
    stamped.stamp.nanosec = draw(st.sampled_from((0, 999_999_999, 10**9, 2**32 - 1)))


def spoil_image(draw: Any, image: Any) -> None:
    field = draw(st.sampled_from([*vars(image), "data"]))
    if field == "header":
        spoil_header(draw, image.header)
    elif field == "data":
        image.data = spoil_bytes(draw, image.data)
    elif field in ("encoding", "format"):
        known = st.sampled_from((*COLOR_ENCODINGS, *DEPTH_ENCODINGS, "16UC1; compressedDepth rvl", "jpeg"))
        setattr(image, field, draw(TEXTS | known))
    else:
        setattr(image, field, draw(st.sampled_from(HOSTILE_INTEGERS)))


def spoil_info(draw: Any, camera: Any) -> None:
    field = draw(st.sampled_from(list(vars(camera))))
    if field == "header":
        spoil_header(draw, camera.header)
    elif field == "distortion_model":
        camera.distortion_model = draw(TEXTS | st.sampled_from(("rational_polynomial", "equidistant")))
    elif field == "roi":
        for name in vars(camera.roi):
            setattr(camera.roi, name, draw(st.sampled_from(HOSTILE_INTEGERS)))
    elif field == "d":
        camera.distortion_model = draw(st.sampled_from(("plumb_bob", "rational_polynomial", "equidistant")))
        camera.d = draw(st.lists(st.sampled_from((0.0, -0.3, 0.1, *HOSTILE_FLOATS)), max_size=15))
    elif field in ("k", "r", "p"):
        values = list(getattr(camera, field))
        for _ in range(draw(st.integers(1, 3))):
            values[draw(st.integers(0, len(values) - 1))] = draw(st.sampled_from(HOSTILE_FLOATS))
        setattr(camera, field, values)
    else:
        setattr(camera, field, draw(st.sampled_from(HOSTILE_INTEGERS)))


@st.composite
def malformed(draw: Any) -> tuple[RgbdMessages, Transform | None]:
    """Messages of one moment with one to four faults, and the pose of the depth camera, if one is given."""
    parts: dict[str, Any] = {
        "color": copy.deepcopy(COLORS[draw(st.integers(0, len(COLORS) - 1))]),
        "depth": copy.deepcopy(DEPTHS[draw(st.integers(0, len(DEPTHS) - 1))]),
        "color_info": info(),
        "depth_info": info() if draw(st.booleans()) else None,
    }
    for _ in range(draw(st.integers(1, 4))):
        part = draw(st.sampled_from(list(parts)))
        if part in ("color", "depth"):
            spoil_image(draw, parts[part])
        elif parts[part] is not None:
            spoil_info(draw, parts[part])
    pose = None
    if draw(st.booleans()):
        pose = Transform(np.eye(3), np.array(draw(st.tuples(*[st.sampled_from((0.0, 0.05, -3.0, 1e6))] * 3))))
    return RgbdMessages(**parts), pose


def at_origin(color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
    return Transform.identity()


def check(messages: RgbdMessages, pose: Transform | None) -> None:
    start_s = time.process_time()
    try:
        frame = frame_of(messages, at_origin, pose, Registration(), MAX_PIXELS)
        distortion_of(messages).fault("/camera/image_rect", "rectified_inputs")
    except ValueError:
        pass
    else:
        assert isinstance(frame, RgbdFrame)  # which has checked itself
    assert time.process_time() - start_s < LONGEST_S


def resident_pages() -> int:
    """The memory of this process, once what nobody holds any more is given back."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1])


QUIETLY = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def test_malformed_messages_become_a_frame_or_a_refusal() -> None:
    @settings(max_examples=EXAMPLES, **QUIETLY)
    @given(malformed())
    def run(case: tuple[RgbdMessages, Transform | None]) -> None:
        check(*case)

    run()  # what the first round takes for good, such as caches, is no leak
    before = resident_pages()
    run()
    assert resident_pages() < 1.1 * before


@pytest.mark.hunt
def test_hunt_for_malformed_messages_that_do_harm() -> None:
    @settings(max_examples=HUNTED, **{**QUIETLY, "derandomize": False})
    @given(malformed())
    def run(case: tuple[RgbdMessages, Transform | None]) -> None:
        check(*case)

    run()
