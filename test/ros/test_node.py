"""The node on real DDS: what it answers, publishes and serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")

import numpy as np
from sensor_msgs.msg import Image

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.messages import outgoing
from instance_seg_ros.ros import outputs

MakeFrame = Callable[..., RgbdFrame]


def test_a_frame_is_answered_with_its_own_stamp_and_objects(stage: Any, make_frame: MakeFrame) -> None:
    frame = make_frame()

    answer = stage.answer_to(stage.send_frame(frame))

    assert answer.status == answer.STATUS_OK
    assert answer.header.frame_id == frame.frame_id
    assert (answer.image_width, answer.image_height, answer.fx) == (160, 120, 150.0)
    assert len(answer.instances) == 2
    assert sorted(instance.label for instance in answer.instances) == [1, 2]
    assert all(instance.track_id > 0 for instance in answer.instances)
    assert 0 <= answer.frame_age_s < 10
    assert [stage_time.name for stage_time in answer.stages] == ["segment", "lift", "grasp", "track"]
    assert (answer.model_name, answer.model_digest) == ("blobs", "f" * 64)


def test_an_empty_scene_is_answered_with_no_instances(stage: Any, make_frame: MakeFrame) -> None:
    frame = make_frame()
    empty = RgbdFrame(frame.color_rgb, np.full_like(frame.depth_m, 0.8), frame.intrinsics, frame_id=frame.frame_id)

    answer = stage.answer_to(stage.send_frame(empty))

    assert (answer.status, len(answer.instances)) == (answer.STATUS_OK, 0)


def test_pictures_have_the_stamp_of_the_frame(stage: Any, make_frame: MakeFrame) -> None:
    pictures = ("label_image", "overlay", "cloud")
    received = stage.probe.received
    answer = stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: all(received[name] for name in (*pictures, "markers")), "the pictures")

    for name in pictures:
        assert received[name][0].header == answer.header
    labels, overlay, cloud = (received[name][0] for name in pictures)
    assert (labels.encoding, labels.width, labels.height) == ("mono16", 160, 120)
    assert (overlay.encoding, len(overlay.data)) == ("bgr8", 160 * 120 * 3)
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", "label"]
    assert cloud.width == sum(instance.points_kept for instance in answer.instances)
    namespaces = {marker.ns for marker in received["markers"][0].markers}
    assert {"box", "axes", "id"} <= namespaces


def test_a_picture_is_made_only_while_it_has_a_subscriber(
    make_stage: Callable[..., Any], make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def spy(module: Any, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *arguments: made.append(name) or real(*arguments))

    for module, name in (
        (outgoing, "label_image"),
        (outputs, "draw_overlay"),
        (outgoing, "cloud"),
        (outputs, "marker_array"),
    ):
        spy(module, name)
    stage = make_stage()
    stage.start()
    stage.answer_to(stage.send_frame(make_frame()))
    # The pictures of a frame come after its answer and before those of the next.
    stage.answer_to(stage.send_frame(make_frame()))
    assert made == []

    stage.probe.listen("overlay", Image)
    stage.wait(lambda: stage.connected(), "the connection of the overlay")
    stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: stage.probe.received["overlay"], "the overlay")
    assert made == ["draw_overlay"]
