"""Recordings made by hand: the messages of two cameras, written to a bag and read from one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import Reader, Writer
from rosbags.typesys.store import Typestore

from instance_seg_ros.bags.storage import STORAGES
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.parameters import PipelineSettings
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.camera import camera_info, color_image, depth_image
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Pipeline

COLOR, COLOR_INFO = "/camera/color/image_raw", "/camera/color/camera_info"
ALIGNED, ALIGNED_INFO = "/camera/aligned_depth_to_color/image_raw", "/camera/aligned_depth_to_color/camera_info"
DEPTH, DEPTH_INFO = "/camera/depth/image_rect_raw", "/camera/depth/camera_info"
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 33_000_000

Stamped = tuple[str, int, Any]
"""Topic, stamp in nanoseconds, message."""


@pytest.fixture(scope="session")
def typestore() -> Typestore:
    return load_typestore()


@pytest.fixture(scope="session")
def make(typestore: Typestore) -> outgoing.MessageFactory:
    return message_factory(typestore)


@pytest.fixture(scope="session")
def pipeline(block_model_path: Path) -> Pipeline:
    return Pipeline.from_settings(PipelineSettings(), block_model_path)


@pytest.fixture
def frames(make_frame: Callable[..., RgbdFrame]) -> list[RgbdFrame]:
    return [make_frame(stamp_ns=START_NS + index * PERIOD_NS) for index in range(4)]


@pytest.fixture
def recorded(make: outgoing.MessageFactory, frames: list[RgbdFrame]) -> list[Stamped]:
    """The frames as a RealSense with aligned depth records them: infos, colour and depth of each."""
    messages = []
    for frame in frames:
        assert frame.color_rgb is not None
        header = outgoing.header(make, frame.stamp_ns, frame.frame_id)
        messages += [
            (COLOR_INFO, frame.stamp_ns, camera_info(make, header, frame.intrinsics)),
            (ALIGNED_INFO, frame.stamp_ns, camera_info(make, header, frame.intrinsics)),
            (COLOR, frame.stamp_ns, color_image(make, header, frame.color_rgb)),
            (ALIGNED, frame.stamp_ns, depth_image(make, header, frame.depth_m)),
        ]
    return messages


@pytest.fixture
def unregistered(make: outgoing.MessageFactory, frames: list[RgbdFrame], recorded: list[Stamped]) -> list[Stamped]:
    """The same with depth of twice the resolution, from a camera 5 cm to the left in a frame of its own."""
    messages = [stamped for stamped in recorded if stamped[0] in (COLOR, COLOR_INFO)]
    for frame in frames:
        depth_m = np.full((240, 320), 0.8, dtype=np.float32)
        depth_m[60:160, 61:141] = 0.7  # the first block, moved right by 0.05 m * 300 px / 0.7 m = 21 px
        header = outgoing.header(make, frame.stamp_ns, "depth")
        messages += [
            (DEPTH_INFO, frame.stamp_ns, camera_info(make, header, frame.intrinsics.resized(320, 240))),
            (DEPTH, frame.stamp_ns, outgoing.image(make, header, depth_m, "32FC1")),
        ]
    return messages


@pytest.fixture(scope="session")
def transform_message(make: outgoing.MessageFactory) -> Callable[..., Any]:
    """Makes a TFMessage with one transform that does not turn."""

    def make_message(
        parent: str, child: str, translation_m: tuple[float, float, float], stamp_ns: int = START_NS
    ) -> Any:
        quaternion = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
        stamped = make(
            "geometry_msgs/msg/TransformStamped",
            header=outgoing.header(make, stamp_ns, parent),
            child_frame_id=child,
            transform=make(
                "geometry_msgs/msg/Transform", translation=outgoing.vector(make, translation_m), rotation=quaternion
            ),
        )
        return make("tf2_msgs/msg/TFMessage", transforms=[stamped])

    return make_message


@pytest.fixture
def write_bag(tmp_path: Path, typestore: Typestore) -> Callable[..., Path]:
    """Writes a bag named `in` in the order of the stamps, 5 ms after them; of the messages in `cut` nine bytes only."""

    def write(recorded: Iterable[Stamped], storage: str = "sqlite3", cut: Iterable[Stamped] = ()) -> Path:
        path = tmp_path / "in"
        messages = [(*stamped, 9) for stamped in cut] + [(*stamped, None) for stamped in recorded]
        with Writer(path, version=9, storage_plugin=STORAGES[storage]) as writer:
            connections: dict[str, Any] = {}
            for topic, stamp_ns, message, length in sorted(messages, key=lambda entry: entry[1]):
                msgtype = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, msgtype, typestore=typestore)
                raw = typestore.serialize_cdr(message, msgtype)[:length]
                writer.write(connections[topic], stamp_ns + 5_000_000, raw)
        return path

    return write


@pytest.fixture(scope="session")
def read_bag(typestore: Typestore) -> Callable[[Path], dict[str, list[Any]]]:
    """The messages of a bag by topic."""

    def read(path: Path) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        with Reader(path) as reader:
            for connection, _, raw in reader.messages():
                found.setdefault(connection.topic, []).append(typestore.deserialize_cdr(raw, connection.msgtype))
        return found

    return read
