"""One message must not cost a robot: what is huge or impossible is refused at once, the next good frame answered."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import CameraInfo, CompressedImage

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.messages.camera import camera_info, depth_image
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros import answers
from instance_seg_ros.ros.convert import make_message

MakeStage = Callable[..., Any]
MakeFrame = Callable[..., RgbdFrame]
Messages = dict[str, Any]
QUICK_S = 1.0
"""Refusing takes milliseconds; the machine may be busy."""


def wide_depth_camera(messages: Messages) -> None:
    """Depth of another size, whose focal length would have each pixel splatted over 36 million others."""
    stamped = messages["depth"].header
    messages["depth_info"] = camera_info(make_message, stamped, Intrinsics(80, 60, 75.0, 75.0, 39.5, 29.5))
    messages["depth_info"].k[0] = messages["depth_info"].k[4] = 0.025
    messages["depth"] = depth_image(make_message, stamped, np.full((60, 80), 0.8, np.float32))


def long_encoding(messages: Messages) -> None:
    messages["color"].encoding = "x" * 1_000_000


def long_frame_id(messages: Messages) -> None:
    messages["color"].header.frame_id = messages["depth"].header.frame_id = "y" * 1_000_000


def impossible_stamp(messages: Messages) -> None:
    messages["color"].header.stamp.nanosec = messages["depth"].header.stamp.nanosec = 4_000_000_000


def huge_size(messages: Messages) -> None:
    messages["color"].width, messages["color"].height = 2**32 - 1, 2**32 - 1


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (wide_depth_camera, "than 178 degrees, which no pinhole camera has"),
        (long_encoding, "unknown colour encoding 'xxx"),
        (long_frame_id, "its frame_id has 1000000 characters, more than 255"),
        (impossible_stamp, "a stamp cannot have 4000000000 nanoseconds"),
        (huge_size, "the image is 4294967295x4294967295 by its header; at most 20000000 pixels are read"),
    ],
)
def test_a_hostile_message_is_refused_at_once(
    stage: Any, make_frame: MakeFrame, messages_of: Any, spoil: Callable[[Messages], None], cause: str
) -> None:
    messages = dict(zip(("color_info", "color", "depth"), messages_of(replace(make_frame(), stamp_ns=1)), strict=True))
    spoil(messages)
    stage.wait(lambda: stage.probe.subscribers("depth_info", CameraInfo), "the depth camera's subscription")
    for name in ("color_info", "depth_info", "color", "depth"):
        if name in messages:
            stage.probe.send(name, messages[name])

    stage.wait(lambda: stage.probe.answers, "the refusal")
    [refusal] = stage.probe.answers
    assert refusal.status == InstanceArray.STATUS_INVALID_INPUT
    assert cause in refusal.status_text
    assert len(refusal.status_text) < 1100 and len(refusal.header.frame_id) <= 255
    assert refusal.header.stamp == messages["color"].header.stamp
    stage.wait(lambda: stage.log_lines(cause[:40]), "the log line")
    assert max(len(line) for line in stage.log_lines("")) < 1300
    good = replace(make_frame(), stamp_ns=stage.stamp_ns())
    stage.probe.send("depth_info", messages_of(good)[0])
    assert len(stage.answer_to(stage.send_frame(make_frame())).instances) == 2


def png_header(width: int, height: int) -> bytes:
    """A PNG of these sizes, whole by its chunks' checksums, whose pixels would all be 0: a bomb of a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_compressed_bomb_is_refused_before_it_is_decoded(
    make_stage: MakeStage, make_frame: MakeFrame, messages_of: Any
) -> None:
    stage = make_stage(color_transport="compressed")
    stage.start(color=CompressedImage)
    frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
    info, color, depth = messages_of(frame)
    stage.probe.send("color_info", info)
    stage.probe.send("color", CompressedImage(header=color.header, format="png", data=png_header(30_000, 30_000)))
    stage.probe.send("depth", depth)

    refusal = stage.answer_to(frame.stamp_ns)

    assert "is 30000x30000 by its header; at most 20000000 pixels are read" in refusal.status_text


@pytest.mark.parametrize("error", [OverflowError("too large"), MemoryError(), RecursionError()])
def test_an_error_of_any_kind_is_answered(
    stage: Any, make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(answers, "frame_of", fail)
        refusal = stage.answer_to(stage.send_frame(make_frame()))

    assert refusal.status == InstanceArray.STATUS_INVALID_INPUT
    assert f"internal error: {error!r}" in refusal.status_text
    assert len(stage.answer_to(stage.send_frame(make_frame())).instances) == 2


def test_use_sim_time_without_a_clock_is_named(make_stage: MakeStage, make_frame: MakeFrame, messages_of: Any) -> None:
    stage = make_stage(use_sim_time=True)
    stage.start()
    frame = replace(make_frame(), stamp_ns=1_700_000_000_000_000_000)

    def answered() -> Any:
        for name, message in zip(("color_info", "color", "depth"), messages_of(frame), strict=True):
            stage.probe.send(name, message)
        return stage.probe.answers

    stage.wait(answered, "an answer")
    assert np.isnan(stage.probe.answers[0].frame_age_s)
    stage.wait(lambda: stage.log_lines("no clock: use_sim_time is set but nothing has come on /clock"), "the log line")
    assert not stage.log_lines("behind the node's clock")
    stage.wait(lambda: "nothing has come on /clock" in stage.probe.status_text("inputs"), "the diagnostics")


def test_refusing_takes_no_time(stage: Any, make_frame: MakeFrame, messages_of: Any) -> None:
    messages = dict(zip(("color_info", "color", "depth"), messages_of(make_frame()), strict=True))
    wide_depth_camera(messages)
    stage.wait(lambda: stage.probe.subscribers("depth_info", CameraInfo), "the depth camera's subscription")
    start_s = time.process_time()
    for name in ("color_info", "depth_info", "color", "depth"):
        stage.probe.send(name, messages[name])
    stage.wait(lambda: stage.probe.answers, "the refusal")

    assert time.process_time() - start_s < QUICK_S
