"""The latest inputs and results, kept for a bug report: `~/record` writes them."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.settings import SettingValue
from instance_seg_ros.ros.settings import NodeSettings

_SMALL_MESSAGE_BYTES = 2000
"""What a message, an instance or a grasp takes beside its images and clouds, about."""
_VERTEX_BYTES = 130
"""Of a completed shape: a message of its own."""
_BYTES_PER_MB = 1e6
_MOST_CHANGES, _MOST_POSES = 1000, 10_000
"""Changes of settings that are kept: while no message comes, none of them is let go for its time. And poses: as many as
of a minute's images, which is the longest time, at 60 Hz, and a few more."""


@dataclass(frozen=True)
class _Kept:
    topic: str
    time_ns: int
    message: Any
    size_bytes: int


@dataclass(frozen=True)
class _Pose:
    time_ns: int
    stamp_ns: int
    frames: tuple[str, str]
    T_parent_child: Transform


class Recorder:
    """Keeps references to messages for some seconds, within a limit of memory. Thread safe.

    Args:
        settings: gives the limits, as they are when a message comes.
    """

    def __init__(self, settings: Callable[[], NodeSettings]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._kept: deque[_Kept] = deque()
        self._changes: deque[tuple[int, Mapping[str, SettingValue]]] = deque(maxlen=_MOST_CHANGES)
        self._poses: deque[_Pose] = deque(maxlen=_MOST_POSES)
        self._size_bytes = 0
        # Never set back, as the computer's clock is when it is synchronised: what is kept would be so for as long.
        self._steady_to_clock_ns = time.time_ns() - time.monotonic_ns()

    @property
    def megabytes(self) -> float:
        """About what the kept messages take."""
        with self._lock:
            return self._size_bytes / _BYTES_PER_MB

    def take(self, topic: str, message: Any) -> None:
        """Keeps a message that came or was published just now."""
        settings, now_ns = self._settings(), self._now_ns()
        kept = _Kept(topic, now_ns, message, _size_bytes(message))
        with self._lock:
            self._kept.append(kept)
            self._size_bytes += kept.size_bytes
            oldest_ns = now_ns - round(settings.record_seconds * 1e9)
            most_bytes = settings.record_megabytes * _BYTES_PER_MB
            while self._kept and (self._kept[0].time_ns <= oldest_ns or self._size_bytes > most_bytes):
                self._size_bytes -= self._kept.popleft().size_bytes
            while self._changes and not (self._kept and self._changes[0][0] >= self._kept[0].time_ns):
                self._changes.popleft()
            while self._poses and not (self._kept and self._poses[0].time_ns >= self._kept[0].time_ns):
                self._poses.popleft()

    def take_change(self, before: Mapping[str, SettingValue]) -> None:
        """Keeps what settings were until now, by the names of the parameters."""
        if before:
            with self._lock:
                self._changes.append((self._now_ns(), before))

    def take_pose(self, stamp_ns: int, frames: tuple[str, str], T_parent_child: Transform) -> None:
        """Keeps the pose of the second frame in the first that an image of that stamp was answered with."""
        pose = _Pose(self._now_ns(), stamp_ns, frames, T_parent_child)
        with self._lock:
            self._poses.append(pose)

    def changed(self) -> dict[str, list[SettingValue]]:
        """The values that settings had while messages came that are kept, before those of now, oldest first."""
        changed: dict[str, list[SettingValue]] = {}
        with self._lock:
            for time_ns, before in self._changes:
                if self._kept and time_ns >= self._kept[0].time_ns:
                    for name, value in before.items():
                        changed.setdefault(name, []).append(value)
        return changed

    def _now_ns(self) -> int:
        return time.monotonic_ns() + self._steady_to_clock_ns

    def write(
        self,
        node: Node,
        settings_text: str,
        standing: Iterable[tuple[str, Any]],
        depth_camera: tuple[tuple[str, str], Transform] | None,
    ) -> tuple[Path, float]:
        """Writes what is kept as one MCAP file, poses in the fixed and the level frame of now as transforms on /tf.

        Args:
            settings_text: how the node is set, see `bags.recording`.
            standing: topics and messages that hold for all others, such as a CameraInfo that came once; each is written
                if no other message of its topic and frame_id is kept.
            depth_camera: the frame_ids of colour and depth and the pose by which depth is registered, if it is; written
                as a static transform.

        Returns:
            The file, and how many seconds it holds.

        Raises:
            ValueError: there is nothing to write.
            ImportError: rosbags is not installed.
            OSError: the file cannot be written.
        """
        from instance_seg_ros.bags.names import TF_STATIC_TOPIC, TF_TOPIC
        from instance_seg_ros.bags.recording import SETTINGS_TOPIC, Recorded, recorded_transform, write_recording
        from instance_seg_ros.messages.types import load_typestore

        settings = self._settings()
        with self._lock:
            kept, poses = list(self._kept), [pose for pose in self._poses if _is_told(pose.frames, settings)]
        if not kept:
            raise ValueError("no message came in the last seconds; record_seconds or record_megabytes may be 0")
        first_ns, last_ns = kept[0].time_ns, kept[-1].time_ns
        origins = {(each.topic, each.message.header.frame_id) for each in kept}
        kept += [
            _Kept(topic, first_ns, message, 0)
            for topic, message in standing
            if (topic, message.header.frame_id) not in origins
        ]
        kept.append(_Kept(SETTINGS_TOPIC, first_ns, String(data=settings_text), 0))
        path = self._folder() / f"{node.get_name()}_{time.strftime('%Y-%m-%dT%H-%M-%S')}_{last_ns % 10**9:09}.mcap"
        typestore = load_typestore()
        messages = [
            Recorded(each.topic, _type_name(each.message), each.time_ns, serialize_message(each.message))
            for each in kept
        ]
        if depth_camera is not None:
            messages.append(recorded_transform(typestore, TF_STATIC_TOPIC, first_ns, *depth_camera))
        messages += [
            recorded_transform(typestore, TF_TOPIC, each.time_ns, each.frames, each.T_parent_child, each.stamp_ns)
            for each in poses
        ]
        write_recording(path, messages, typestore)
        return path, (last_ns - first_ns) / 1e9

    def _folder(self) -> Path:
        folder = self._settings().record_folder
        if folder:
            return Path(folder).expanduser()
        ros_home = os.environ.get("ROS_HOME")
        return (Path(ros_home) if ros_home else Path.home() / ".ros") / "instance_seg_ros"


def _is_told(frames: tuple[str, str], settings: NodeSettings) -> bool:
    """Whether a pose is one for the frames that are set now, and its frames (parent, child) fit into one tree.

    As tf has it, a frame has one parent: the camera its fixed frame, or the level frame the camera; not both, where
    they are one frame.
    """
    parent, child = frames
    fixed, level = settings.fixed_frame, settings.level_frame
    return parent != child and (parent == fixed or (child == level and level != fixed))


def _size_bytes(message: Any) -> int:
    instances = getattr(message, "instances", ())
    contents = [message, *(part for each in instances for part in (each.mask, each.cloud))]
    small = 1 + len(instances) + sum(len(each.grasps) for each in instances)
    vertices = sum(len(each.shape.vertices) for each in instances)
    data = sum(len(getattr(content, "data", ())) for content in contents)
    return _SMALL_MESSAGE_BYTES * small + _VERTEX_BYTES * vertices + data


def _type_name(message: Any) -> str:
    """`package/msg/Name` of a message's class, whose module is package.msg._name."""
    package, kind, *_ = type(message).__module__.split(".")
    return f"{package}/{kind}/{type(message).__name__}"
