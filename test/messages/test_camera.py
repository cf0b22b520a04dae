"""A camera's messages: what goes in comes out of the way in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.camera import camera_info, color_image, depth_image
from instance_seg_ros.messages.incoming import RgbdMessages, frame_of
from instance_seg_ros.messages.lens import is_distorted
from instance_seg_ros.messages.outgoing import MessageFactory, header
from instance_seg_ros.messages.types import load_typestore, message_factory


@pytest.fixture(scope="module")
def make() -> MessageFactory:
    return message_factory(load_typestore())


def no_pose(*arguments: Any) -> Transform:
    raise AssertionError("depth is registered")


def test_a_frame_comes_back_from_its_messages(make: MessageFactory, make_frame: Callable[..., RgbdFrame]) -> None:
    frame = make_frame()
    stamped = header(make, frame.stamp_ns, frame.frame_id)
    assert frame.color_rgb is not None
    info = camera_info(make, stamped, frame.intrinsics)
    color, depth = color_image(make, stamped, frame.color_rgb), depth_image(make, stamped, frame.depth_m)

    came = frame_of(RgbdMessages(color, depth, info, info), no_pose)

    assert (came.stamp_ns, came.frame_id, came.intrinsics) == (frame.stamp_ns, frame.frame_id, frame.intrinsics)
    assert came.color_rgb is not None and np.array_equal(came.color_rgb, frame.color_rgb)
    np.testing.assert_allclose(came.depth_m, frame.depth_m, atol=0.0005)
    assert (depth.encoding, color.encoding) == ("16UC1", "rgb8")


def test_the_camera_is_that_of_raw_and_rectified_images_alike(
    make: MessageFactory, make_frame: Callable[..., RgbdFrame]
) -> None:
    frame = make_frame()
    info = camera_info(make, header(make, frame.stamp_ns, frame.frame_id), frame.intrinsics)

    fx, fy, cx, cy = 150.0, 150.0, 79.5, 59.5
    assert list(info.k) == [fx, 0, cx, 0, fy, cy, 0, 0, 1]
    assert list(info.p) == [fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]
    assert list(info.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert not is_distorted(info) and list(info.d) == [0] * 5
    roi = info.roi
    assert [info.binning_x, info.binning_y, roi.x_offset, roi.y_offset, roi.width, roi.height] == [0] * 6
    assert not roi.do_rectify
