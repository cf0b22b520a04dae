"""The optional outputs, where vision_msgs is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("vision_msgs")

from vision_msgs.msg import Detection2DArray, Detection3DArray

from instance_seg_ros.messages.incoming import stamp_ns_of


def test_detections_come_with_the_stamp_of_the_frame(stage: Any, make_frame: Callable[..., Any]) -> None:
    stage.probe.listen("detections_2d", Detection2DArray)
    stage.probe.listen("detections_3d", Detection3DArray)
    stage.wait(lambda: stage.connected(), "the listeners")
    stamp_ns = stage.send_frame(make_frame())
    instances = stage.answer_to(stamp_ns).instances
    for name in ("detections_2d", "detections_3d"):
        stage.wait(lambda name=name: stage.probe.received[name], name)
        array = stage.probe.received[name][-1]
        assert stamp_ns_of(array.header) == stamp_ns
        assert [each.id for each in array.detections] == [str(each.track_id) for each in instances]
    centre = stage.probe.received["detections_3d"][-1].detections[0].bbox.center
    assert centre == instances[0].box.pose
