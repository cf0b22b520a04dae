"""What `instance-seg bag` writes without ROS is what ROS reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import deserialize_message, serialize_message

from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.types import interface_files, load_typestore, message_factory
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.ros.convert import make_message

TYPE = "instance_seg_ros/msg/InstanceArray"


def test_a_scene_written_without_ros_is_read_by_ros(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    typestore = load_typestore()
    written = outgoing.instance_array(message_factory(typestore), scene, frame_age_s=0.5, include_clouds=True)
    read = deserialize_message(bytes(typestore.serialize_cdr(written, TYPE)), InstanceArray)
    made_with_ros = outgoing.instance_array(make_message, scene, frame_age_s=0.5, include_clouds=True)
    made_with_ros = deserialize_message(serialize_message(made_with_ros), InstanceArray)
    # Compared as text: NaN, for what is not known, does not equal itself, and of the bytes that rclpy writes those that
    # fill up to a number's place are whatever was in memory.
    assert repr(read) == repr(made_with_ros)


def test_the_types_in_bags_have_the_hashes_of_the_built_interfaces() -> None:
    prefixes = [Path(prefix) for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep)]
    described = [prefix / "share" / "instance_seg_ros" / "msg" / "InstanceArray.json" for prefix in prefixes]
    description = json.loads(next(path for path in described if path.is_file()).read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    typestore = load_typestore()
    for file in interface_files():
        type_name = f"instance_seg_ros/msg/{file.stem}"
        assert typestore.hash_rihs01(type_name) == hashes[type_name]
