"""Ids while the camera moves, by the real tf, where tf2_ros is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_ros")

from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.ros.convert import make_message

SHIFT_PX = 16
DEPTH_M = 0.7
SECOND_NS = 10**9


def camera_at(x_m: float, stamp_ns: int) -> TransformStamped:
    moved = TransformStamped(header=header(make_message, stamp_ns, "map"), child_frame_id="camera_color_optical_frame")
    moved.transform.translation.x = x_m
    moved.transform.rotation.w = 1.0
    return moved


def test_ids_stay_with_objects_that_the_camera_passes_and_not_with_places_in_the_image(
    make_stage: Callable[..., Any], make_frame: Callable[..., RgbdFrame], messages_of: Callable[..., Any]
) -> None:
    stage = make_stage(fixed_frame="map")
    stage.start()
    publisher = stage.probe.create_publisher(TFMessage, "/tf", 10)
    stage.wait(lambda: publisher.get_subscription_count() > 0, "the listener of tf")
    first = make_frame()
    passed_m = SHIFT_PX * DEPTH_M / first.intrinsics.fx
    start_ns = stage.stamp_ns() - 2 * SECOND_NS
    end_ns = start_ns + 2 * SECOND_NS
    # Between the first two poses tf interpolates: the second frame's own time counts, not that of the newest pose.
    poses = ((0.0, start_ns), (2 * passed_m, start_ns + SECOND_NS), (2 * passed_m + 1.0, end_ns))
    publisher.publish(TFMessage(transforms=[camera_at(x_m, stamp_ns) for x_m, stamp_ns in poses]))

    def ids_of(shift_px: int, stamp_ns: int) -> list[int]:
        color, depth = (np.roll(image, -shift_px, axis=1) for image in (first.color_rgb, first.depth_m))
        info, color, depth = messages_of(replace(first, color_rgb=color, depth_m=depth, stamp_ns=stamp_ns))
        for name, message in (("color_info", info), ("color", color), ("depth", depth)):
            stage.probe.send(name, message)
        answer = stage.answer_to(stamp_ns)
        assert answer.status == answer.STATUS_OK, answer.status_text
        by_place = sorted(answer.instances, key=lambda instance: instance.region.x_offset)
        return [instance.track_id for instance in by_place]

    before = ids_of(0, start_ns)
    passing = ids_of(SHIFT_PX, start_ns + SECOND_NS // 2)
    elsewhere = ids_of(SHIFT_PX, end_ns)

    assert len(before) == 2
    assert passing == before
    assert len(elsewhere) == 2 and not set(elsewhere) & set(before)
