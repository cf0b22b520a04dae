"""A point that is clicked in rviz, on real DDS: the object there, and what is no object."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import PointStamped

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros import clicks
from instance_seg_ros.ros.transforms import NoTf

MakeFrame = Callable[..., RgbdFrame]
OPTICAL = "camera_color_optical_frame"


@pytest.fixture
def click(stage: Any, make_frame: MakeFrame) -> Callable[..., None]:
    """Clicks on a point, and sends a frame once the node has heard of it."""
    stage.probe.listen("selected", InstanceArray)
    publisher = stage.probe.create_publisher(PointStamped, "/clicked_point", 5)

    def publish(x_m: float, y_m: float, z_m: float, frame_id: str = OPTICAL) -> None:
        message = PointStamped()
        message.header.frame_id = frame_id
        message.point.x, message.point.y, message.point.z = x_m, y_m, z_m
        stage.wait(lambda: publisher.get_subscription_count() > 0, "the node to listen to clicks")
        stage.wait(
            lambda: stage.node.count_subscribers("/instance_seg/selected") > 0, "the probe to listen to the selection"
        )
        publisher.publish(message)
        stage.wait(lambda: stage.node._clicks._latest is not None, "the click")
        stage.answer_to(stage.send_frame(make_frame()))

    return publish


@pytest.mark.parametrize(
    ("point_m", "lefts"),
    [
        ((-0.18, -0.02, 0.7), [20]),  # pixel (41, 55)
        ((0.14, -0.02, 0.7), [90]),
        ((0.0, 0.25, 0.8), []),
        ((30.0, 0.0, 0.8), []),
    ],
)
def test_the_object_at_a_click_is_published(
    point_m: tuple[float, float, float], lefts: list[int], click: Callable[..., None], stage: Any
) -> None:
    click(*point_m)
    stage.wait(lambda: stage.probe.received["selected"], "the selection")
    (chosen,) = stage.probe.received["selected"]
    assert [instance.region.x_offset for instance in chosen.instances] == lefts
    stage.wait(lambda: stage.log_lines("clicked at pixel" if lefts else "no object there"), "the line in the log")


@pytest.mark.parametrize(
    ("point_m", "reason"),
    [((0.0, 0.0, -1.0), "is behind the camera"), ((math.nan, 0.0, 1.0), "is not finite")],
)
def test_a_click_without_a_place_in_the_image_is_named_in_the_log(
    point_m: tuple[float, float, float], reason: str, click: Callable[..., None], stage: Any
) -> None:
    click(*point_m)
    stage.wait(lambda: stage.log_lines(reason), "the log")
    assert not stage.probe.received["selected"]


def test_a_click_that_waited_too_long_selects_nothing(
    click: Callable[..., None], stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clicks, "LONGEST_WAIT_S", 0.0)
    click(-0.18, -0.02, 0.7)
    stage.wait(lambda: stage.log_lines("no frame was used within 0 s of the click; click again"), "the log")
    assert not stage.probe.received["selected"]


def test_a_click_in_another_frame_is_looked_up_and_waited_for(
    click: Callable[..., None], stage: Any, make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    click(-0.18, -0.02, 1.7, "base")
    assert not stage.probe.received["selected"]  # tf does not know the frame
    asked = []

    def lookup(self: NoTf, target: str, source: str, stamp_ns: int) -> Transform:
        asked.append((target, source))
        return Transform(np.eye(3), np.array([0.0, 0.0, -1.0]))

    monkeypatch.setattr(type(stage.node._transforms), "lookup", lookup)
    stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: stage.probe.received["selected"], "the selection")
    assert asked == [(OPTICAL, "base")]
    assert len(stage.probe.received["selected"][0].instances) == 1
