"""rclpy's message factory for `instance_seg_ros.messages`.

The way in, messages to the core's types, needs no ROS: it is `instance_seg_ros.messages.incoming`.
"""

from __future__ import annotations

import array
import functools
import importlib
import importlib.util
from typing import Any

import numpy as np


def make_message(type_name: str, /, **fields: Any) -> Any:
    """A message by its type name (`geometry_msgs/msg/Point`), with NumPy arrays where the type has lists of numbers.

    Its constructor would make a default of each field before it takes the one that is given, images and clouds of each
    instance included, which takes half as long again. So the fields are set on a message that has none yet.

    Args:
        fields: all of its fields.
    """
    kind = message_class(type_name)
    message: Any = object.__new__(kind)
    message._check_fields = _checks_fields(kind)
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            # rclpy takes an array.array as it is; anything else it checks byte by byte, which takes a second for an
            # image. Where it checks types, an array of NumPy is no list to it.
            if value.dtype == np.uint8:
                value = array.array("B", value.tobytes())
            elif message._check_fields:
                value = value.tolist()
        setattr(message, name, value)
    return message


@functools.cache
def _checks_fields(kind: type) -> bool:
    """Whether messages check the types of what they are given, as ROS_PYTHON_CHECK_FIELDS says."""
    return bool(kind()._check_fields)


@functools.cache
def message_class(type_name: str) -> type:
    """The class of `package/msg/Name`."""
    package, kind, name = type_name.split("/")
    found: type = getattr(importlib.import_module(f"{package}.{kind}"), name)
    return found


def has_package(name: str) -> bool:
    """Whether a package of messages is installed."""
    return importlib.util.find_spec(name) is not None
