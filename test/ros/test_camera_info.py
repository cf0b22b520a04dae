"""The CameraInfo of a camera that publishes it once, keeps it for late subscribers, or publishes it seldom."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros.inputs import KEPT_QOS

MakeStage = Callable[..., Any]
MakeFrame = Callable[..., RgbdFrame]
MessagesOf = Callable[[RgbdFrame], tuple[CameraInfo, Image, Image]]


@pytest.fixture
def send_images(make_frame: MakeFrame, messages_of: MessagesOf) -> Callable[[Any], int]:
    """Sends colour and depth without their CameraInfo; returns the stamp."""

    def send(stage: Any) -> int:
        frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
        _, color, depth = messages_of(frame)
        stage.probe.send("color", color)
        stage.probe.send("depth", depth)
        return frame.stamp_ns

    return send


def test_one_that_was_published_before_the_node_started_is_received(
    ros: None, make_stage: MakeStage, make_frame: MakeFrame, messages_of: MessagesOf, send_images: Any
) -> None:
    camera = Node("camera")
    publisher = camera.create_publisher(CameraInfo, "/instance_seg/color/camera_info", KEPT_QOS)
    publisher.publish(messages_of(make_frame())[0])
    stage = make_stage()
    stage.start()
    # Found as soon as the publisher is discovered, within a period of the diagnostics.
    stage.wait(lambda: stage.counted("camera_info: received"), "the CameraInfo")

    answer = stage.answer_to(send_images(stage))

    assert answer.status == InstanceArray.STATUS_OK, answer.status_text
    assert answer.fx == make_frame().intrinsics.fx
    camera.destroy_node()


def test_one_that_came_once_serves_after_a_deactivation_too(
    stage: Any, make_frame: MakeFrame, send_images: Any
) -> None:
    stage.answer_to(stage.send_frame(make_frame()))
    stage.node.trigger_deactivate()
    stage.node.trigger_activate()
    stage.wait(lambda: stage.connected(), "the connections")

    assert stage.answer_to(send_images(stage)).status == InstanceArray.STATUS_OK


def test_one_from_before_a_cleanup_serves_no_more_as_the_camera_may_be_another(
    stage: Any, make_frame: MakeFrame, send_images: Any
) -> None:
    stage.answer_to(stage.send_frame(make_frame()))
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert getattr(stage.node, f"trigger_{transition}")().name == "SUCCESS"
    stage.wait(lambda: stage.connected(), "the connections")

    refused = stage.answer_to(send_images(stage))

    assert refused.status == InstanceArray.STATUS_INVALID_INPUT
    assert "no CameraInfo of the colour camera has arrived" in refused.status_text
    assert stage.answer_to(stage.send_frame(make_frame())).status == InstanceArray.STATUS_OK


def test_one_that_comes_seldom_is_no_fault(make_stage: MakeStage, make_frame: MakeFrame, send_images: Any) -> None:
    stage = make_stage(input_timeout_s=0.5)
    stage.start()
    stage.answer_to(stage.send_frame(make_frame()))
    stage.probe.received["diagnostics"].clear()
    end_s = time.monotonic() + 2.5

    def sent_for_a_while() -> bool:
        stage.answer_to(send_images(stage))
        return time.monotonic() > end_s and stage.probe.status("inputs") is not None

    stage.wait(sent_for_a_while, "diagnostics that are later than the CameraInfo's silence")

    status = stage.probe.status("inputs")
    assert (status.level, status.message) == (DiagnosticStatus.OK, "receiving")
    assert not stage.log_lines("no frames")


def test_one_that_never_came_is_named(make_stage: MakeStage, send_images: Any) -> None:
    stage = make_stage(input_timeout_s=0.2)
    stage.start()

    def named() -> bool:
        send_images(stage)
        status = stage.probe.status("inputs")
        return status is not None and "nothing arrives on /instance_seg/color/camera_info" in status.message

    stage.wait(named, "the diagnostics")
