"""Poses of frames in each other, from tf where it is installed."""

from __future__ import annotations

from typing import Protocol

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from instance_seg_ros.geometry import Transform

LOOKUP_TIMEOUT_S = 0.1
"""tf arrives a little later than the images that it belongs to; a frame waits no longer than this for it."""


class TransformError(ValueError):
    """A pose is not known; the message names the frames, the cause and the cure."""


class TransformSource(Protocol):
    """Where poses come from."""

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Transform:
        """`T_target_source` at that time.

        Raises:
            TransformError: when it is not known.
        """


class NoTf:
    """For a machine without tf: every pose is unknown."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Transform:
        """Raises TransformError, always."""
        raise TransformError(f"the pose of {source_frame!r} in {target_frame!r} is not known: {self.reason}")


class Tf:
    """Listens to /tf and /tf_static on a node for as long as the object lives."""

    def __init__(self, node: Node) -> None:
        """Raises ImportError where tf2_ros is not installed."""
        import tf2_ros

        self._error = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Transform:
        """`T_target_source` at that time; waits up to `LOOKUP_TIMEOUT_S` for it, so not in the executor's thread.

        Raises:
            TransformError: when it is not known.
        """
        timeout = Duration(nanoseconds=round(LOOKUP_TIMEOUT_S * 1e9))
        try:
            found = self._buffer.lookup_transform(target_frame, source_frame, Time(nanoseconds=stamp_ns), timeout)
        except self._error as error:
            raise TransformError(
                f"tf does not know the pose of {source_frame!r} in {target_frame!r}: {error}"
            ) from error
        rotation, translation = found.transform.rotation, found.transform.translation
        return Transform.from_quaternion(
            (rotation.x, rotation.y, rotation.z, rotation.w), (translation.x, translation.y, translation.z)
        )


def transforms_of(node: Node) -> TransformSource:
    """tf, or `NoTf` where it is not installed."""
    try:
        return Tf(node)
    except ImportError:
        return NoTf("tf2_ros is not installed (apt install ros-$ROS_DISTRO-tf2-ros-py)")
