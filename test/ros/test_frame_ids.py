"""Frame ids in which nobody would find the objects are named, with the cure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.ros.frame_ids import frame_id_fault


@pytest.mark.parametrize(
    ("frame_id", "fault"),
    [
        ("", "the frame_id of the colour image is empty"),
        ("/camera_optical", "starts with a slash, with which tf2 finds no frame; have the driver publish 'camera_op"),
        ("camera_link", "'camera_link', is by its name a link's frame (x forward)"),
        ("arm/camera_link", "by its name a link's frame"),
        ("link", "by its name a link's frame"),
        ("camera_color_optical_frame", None),
        ("zed_left_camera_frame_optical", None),
        ("rgb_camera_link", None),  # the Azure Kinect's optical frame
        ("blink", None),
        ("link_3_camera", None),
    ],
)
def test_a_frame_id_that_is_odd_is_told_with_its_cure(frame_id: str, fault: str | None) -> None:
    found = frame_id_fault("the colour image", frame_id)
    assert (found is None) if fault is None else (found is not None and fault in found)


def test_the_node_names_an_odd_frame_id_and_answers_all_the_same(
    stage: Any, make_frame: Callable[..., RgbdFrame]
) -> None:
    answer = stage.answer_to(stage.send_frame(replace(make_frame(), frame_id="camera_link")))

    assert (answer.status, len(answer.instances)) == (answer.STATUS_OK, 2)
    stage.wait(lambda: stage.log_lines("frame_id: the frame_id of the colour image, 'camera_link'"), "the log line")
    stage.wait(lambda: "a link's frame" in stage.probe.status_text("processing"), "the diagnostics")
