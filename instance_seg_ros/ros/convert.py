"""rclpy's message factory for `instance_seg_ros.messages`, and the messages of a camera. Pure functions.

The way in, messages to the core's types, needs no ROS: it is `instance_seg_ros.messages.incoming`.
"""

from __future__ import annotations

import array
import functools
import importlib
import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from instance_seg_ros.core.camera import Intrinsics


def make_message(type_name: str, /, **fields: Any) -> Any:
    """A message by its type name (`geometry_msgs/msg/Point`), with NumPy arrays where the type has lists of numbers."""
    return message_class(type_name)(**{name: _field_value(value) for name, value in fields.items()})


@functools.cache
def message_class(type_name: str) -> type:
    """The class of `package/msg/Name`."""
    package, kind, name = type_name.split("/")
    found: type = getattr(importlib.import_module(f"{package}.{kind}"), name)
    return found


def has_package(name: str) -> bool:
    """Whether a package of messages is installed."""
    return importlib.util.find_spec(name) is not None


def _field_value(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        # rclpy takes an array.array as it is; anything else it checks byte by byte, which takes a second for an image.
        return array.array("B", value.tobytes())
    return value


def color_image(header: Header, color_rgb: NDArray[np.uint8]) -> Image:
    """An rgb8 image from (H, W, 3) uint8."""
    return _image(header, color_rgb, "rgb8")


def depth_image(header: Header, depth_m: NDArray[np.float32]) -> Image:
    """A 16UC1 image in millimetres (REP-118) from float32 metres, 0 = no measurement."""
    return _image(header, np.round(depth_m * 1000).astype(np.uint16), "16UC1")


def _image(header: Header, image: NDArray[Any], encoding: str) -> Image:
    message = Image(header=header, height=image.shape[0], width=image.shape[1], encoding=encoding)
    message.step = image.nbytes // image.shape[0]
    message.data = array.array("B", image.tobytes())
    return message


def camera_info(header: Header, intrinsics: Intrinsics) -> CameraInfo:
    """The CameraInfo of a camera without distortion."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return CameraInfo(
        header=header,
        width=intrinsics.width,
        height=intrinsics.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
