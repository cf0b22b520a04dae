"""The messages of an RGB-D camera, for any library of message classes: what a replayed camera publishes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.messages.outgoing import MessageFactory, image


def color_image(make: MessageFactory, header: Any, color_rgb: NDArray[np.uint8]) -> Any:
    """An rgb8 image from (H, W, 3) uint8."""
    return image(make, header, color_rgb, "rgb8")


def depth_image(make: MessageFactory, header: Any, depth_m: NDArray[np.float32]) -> Any:
    """A 16UC1 image in millimetres (REP-118) from float32 metres, 0 = no measurement."""
    return image(make, header, np.round(depth_m * 1000).astype(np.uint16), "16UC1")


def camera_info(make: MessageFactory, header: Any, intrinsics: Intrinsics) -> Any:
    """The CameraInfo of a camera without distortion."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=header,
        height=intrinsics.height,
        width=intrinsics.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1], dtype=np.float64),
        r=np.eye(3).reshape(9),
        p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0], dtype=np.float64),
        binning_x=0,
        binning_y=0,
        roi=make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )
