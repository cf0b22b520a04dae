"""Depth in a wrong unit or in a wrong place: named in log and diagnostics, with the cure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import CameraInfo, Image

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.messages.camera import depth_image
from instance_seg_ros.messages.outgoing import image
from instance_seg_ros.ros.convert import make_message

MessagesOf = Callable[[RgbdFrame], tuple[CameraInfo, Image, Image]]
MakeFrame = Callable[..., RgbdFrame]

POSE_50_MM_ASIDE = "-0.05 0 0 0 0 0 1"


@pytest.fixture
def send_depth(make_frame: MakeFrame, messages_of: MessagesOf) -> Callable[..., int]:
    """Sends the usual colour with another depth image; returns the stamp."""

    def send(stage: Any, depth: Callable[[Any, RgbdFrame], Image], depth_frame: str = "") -> int:
        frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
        info, color, usual = messages_of(frame)
        message = depth(usual.header, frame)
        message.header = type(usual.header)(stamp=usual.header.stamp, frame_id=depth_frame or usual.header.frame_id)
        stage.probe.send("color_info", info)
        stage.probe.send("depth_info", CameraInfo(**{**fields(info), "header": message.header}))
        stage.probe.send("color", color)
        stage.probe.send("depth", message)
        return frame.stamp_ns

    return send


def fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.get_fields_and_field_types()}


def in_unit(unit_m: float) -> Callable[[Any, RgbdFrame], Image]:
    return lambda header, frame: image(make_message, header, np.rint(frame.depth_m / unit_m).astype(np.uint16), "16UC1")


def float_millimetres(header: Any, frame: RgbdFrame) -> Image:
    return image(make_message, header, frame.depth_m * np.float32(1000), "32FC1")


@pytest.mark.parametrize(
    ("depth", "told"),
    [
        (
            in_unit(0.0001),
            "lies beyond 7 m, and nothing farther than 3 m can be grasped from here; is the",
        ),
        (in_unit(1.0), "lies within 1 mm, nearer than a depth camera can measure; is the depth's unit right?"),
        (float_millimetres, "nearly all values lie beyond 65 m, half of them beyond 800: are they millimetres?"),
    ],
    ids=["tenths of millimetres", "whole metres", "floating-point millimetres"],
)
def test_a_wrong_unit_of_depth_is_named(stage: Any, send_depth: Any, depth: Any, told: str) -> None:
    stage.answer_to(send_depth(stage, depth))

    stage.wait(lambda: stage.log_lines(told), "the log line")
    stage.wait(lambda: told in stage.probe.status_text("processing"), "the diagnostics")


def test_a_k_of_another_resolution_is_named(stage: Any, make_frame: MakeFrame, messages_of: MessagesOf) -> None:
    frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
    info, color, depth = messages_of(frame)
    info.k = [300.0, 0.0, 159.5, 0.0, 300.0, 119.5, 0.0, 0.0, 1.0]
    for name, message in (("color_info", info), ("color", color), ("depth", depth)):
        stage.probe.send(name, message)
    stage.answer_to(frame.stamp_ns)

    told = "the principal point (159.5, 119.5) of colour is far from the middle of its 160x120 image"
    stage.wait(lambda: stage.log_lines(told), "the log line")
    stage.wait(lambda: told in stage.probe.status_text("processing"), "the diagnostics")


def test_depth_that_the_node_registers_is_said_to_be_with_its_pose(make_stage: Any, send_depth: Any) -> None:
    stage = make_stage(depth_camera_pose=POSE_50_MM_ASIDE)
    stage.start()
    for _ in range(2):
        stage.answer_to(send_depth(stage, lambda header, frame: depth_image(make_message, header, frame.depth_m)))

    told = "lies at -0.0500 0.0000 0.0000 m in camera_color_optical_frame, turned by 0.00 degrees"
    stage.wait(lambda: stage.log_lines(told), "the log line")
    assert len(stage.log_lines("depth is registered to colour here: ")) == 1, "once, not with every frame"
    stage.wait(lambda: told in facts(stage).get("depth registered here", ""), "the diagnostics")


def test_aligned_depth_is_not_said_to_be_registered(stage: Any, make_frame: MakeFrame) -> None:
    stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: facts(stage).get("depth registered here") == "no", "the diagnostics")


def test_aligned_depth_with_a_given_pose_is_told_from_the_images(make_stage: Any, send_depth: Any) -> None:
    stage = make_stage(depth_camera_pose=POSE_50_MM_ASIDE)
    stage.start()
    stage.answer_to(send_depth(stage, lambda header, frame: depth_image(make_message, header, frame.depth_m)))

    told = "it seems to be aligned to colour already; leave the pose empty"
    stage.wait(lambda: stage.log_lines(told), "the log line")
    stage.wait(lambda: told in stage.probe.status_text("processing"), "the diagnostics")


def facts(stage: Any) -> dict[str, str]:
    status = stage.probe.status("inputs")
    return {} if status is None else {value.key: value.value for value in status.values}
