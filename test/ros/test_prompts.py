"""Points, words and rectangles in calls of `segment`, on real DDS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Point
from sensor_msgs.msg import RegionOfInterest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.ros.outputs import Outputs
from instance_seg_ros.srv import Segment

MakeFrame = Callable[..., RgbdFrame]


@pytest.fixture
def ask(stage: Any, make_frame: MakeFrame) -> Callable[[Segment.Request], Segment.Response]:
    """Calls `segment`, and sends frames until it is answered."""

    def call(request: Segment.Request) -> Segment.Response:
        client = stage.probe.create_client(Segment, "/instance_seg/segment")
        stage.wait(client.service_is_ready, "the service")
        future = client.call_async(request)
        stage.wait(stage.node.waits_for_a_frame, "the call")
        stage.send_frame(make_frame())
        stage.wait(future.done, "the answer")
        stage.probe.destroy_client(client)
        return future.result()

    return call


def box(x0: int, y0: int, x1: int, y1: int) -> RegionOfInterest:
    return RegionOfInterest(x_offset=x0, y_offset=y0, width=x1 - x0, height=y1 - y0)


@pytest.mark.parametrize(
    ("request_", "lefts"),
    [
        (Segment.Request(points=[Point(x=40.0, y=50.0)]), [20]),
        (Segment.Request(points=[Point(x=100.0, y=50.0), Point(x=0.0, y=0.0)]), [90]),
        (Segment.Request(points=[Point(x=0.0, y=0.0)]), []),
        (Segment.Request(text="any object please"), [20, 90]),
        (Segment.Request(text="cup"), []),
    ],
)
def test_points_and_words_select_among_what_the_network_found(
    request_: Segment.Request, lefts: list[int], ask: Callable[[Segment.Request], Segment.Response]
) -> None:
    response = ask(request_)
    assert response.success
    assert sorted(instance.region.x_offset for instance in response.result.instances) == lefts


def test_a_rectangle_cuts_an_object_out_that_has_everything_but_a_track(
    ask: Callable[[Segment.Request], Segment.Response],
) -> None:
    response = ask(Segment.Request(boxes=[box(10, 20, 70, 90), box(0, 0, 15, 25)], class_names=["not used"]))
    assert response.success
    (instance,) = response.result.instances  # nothing stands out in the second rectangle
    assert (instance.class_name, instance.score, instance.track_id, instance.label) == ("object", 1.0, 0, 1)
    sides = instance.region.x_offset, instance.region.y_offset, instance.region.width, instance.region.height
    assert np.abs(np.array(sides) - (20, 30, 40, 50)).max() <= 1
    center = instance.centroid.x, instance.centroid.y, instance.centroid.z
    assert np.allclose(center, (-0.184, -0.021, 0.75), atol=0.01)
    assert instance.points_kept > 1000


def test_a_call_is_answered_although_a_picture_cannot_be_drawn(
    ask: Callable[[Segment.Request], Segment.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outputs, "publish_pictures", lambda *arguments: 1 / 0)
    response = ask(Segment.Request())
    assert response.success
    assert len(response.result.instances) == 2


def test_a_call_with_too_many_rectangles_is_refused_at_once(stage: Any) -> None:
    client = stage.probe.create_client(Segment, "/instance_seg/segment")
    stage.wait(client.service_is_ready, "the service")
    future = client.call_async(Segment.Request(boxes=[box(0, 0, 9, 9)] * 101))
    stage.wait(future.done, "the answer")
    assert not future.result().success
    assert future.result().message == "101 boxes are more than the 100 of a call; split it"
    stage.probe.destroy_client(client)


def test_a_rectangle_that_cannot_be_worked_on_is_answered_with_the_reason(
    ask: Callable[[Segment.Request], Segment.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pipeline, "cut_out", lambda *arguments: 1 / 0)
    response = ask(Segment.Request(boxes=[box(10, 20, 70, 90)]))
    assert not response.success
    assert "ZeroDivisionError" in response.message
