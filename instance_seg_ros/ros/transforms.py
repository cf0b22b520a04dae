"""Poses of frames in each other, from tf where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.incoming import transform_of

LOOKUP_TIMEOUT_S = 0.1
"""Transforms arrive a little later than the images that they belong to; a frame waits no longer than this for them."""
SET_BACK_NS = 500_000_000
"""A frame that is older than one before it by more comes from a recording that loops, or after a clock was set back."""


class TransformError(ValueError):
    """A pose is not known; the message names the frames, the cause and the cure."""


class NoTf:
    """For a machine without tf: every pose is unknown."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Transform:
        """Raises TransformError, always."""
        raise TransformError(f"the pose of {source_frame!r} in {target_frame!r} is not known: {self.reason}")


class Tf:
    """Listens to /tf and /tf_static once it is asked for something: on a robot that is much traffic, and few need it.

    From then on it listens as long as the node lives: tf's buffer adds a service to the node and never takes it back.

    Args:
        node: the node that subscribes.
        call_in_executor: runs a function in the thread of the node's executor, soon.

    Raises:
        ImportError: where tf2_ros is not installed.
    """

    def __init__(self, node: Node, call_in_executor: Callable[[Callable[[], None]], object]) -> None:
        import tf2_ros

        self._tf2_ros = tf2_ros
        self._node = node
        self._call_in_executor = call_in_executor
        self._buffer: Any = None
        self._listener: Any = None
        self._latest_ns = 0

    def start(self) -> None:
        """Listens from now on."""
        if self._buffer is None:
            buffer = self._tf2_ros.Buffer(node=self._node)
            self._listener = self._tf2_ros.TransformListener(buffer, self._node)
            self._buffer = buffer

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Transform:
        """`T_target_source` at that time; waits up to `LOOKUP_TIMEOUT_S` for it, so not in the executor's thread.

        Raises:
            TransformError: when it is not known.
        """
        wanted = f"the pose of {source_frame!r} in {target_frame!r}"
        if self._buffer is None:
            self._call_in_executor(self.start)
            raise TransformError(f"{wanted} is not known yet: tf is listened to from now on")
        self._forget_if_set_back(stamp_ns)
        timeout = Duration(nanoseconds=round(LOOKUP_TIMEOUT_S * 1e9))
        try:
            found = self._buffer.lookup_transform(target_frame, source_frame, Time(nanoseconds=stamp_ns), timeout)
        except self._tf2_ros.TransformException as error:
            raise TransformError(f"tf does not know {wanted}: {error}") from error
        return transform_of(found.transform)

    def _forget_if_set_back(self, stamp_ns: int) -> None:
        """Empties tf's buffer but for what is static when time went back.

        The buffer ignores poses that are ten seconds older than its latest, so it would know none until the time of
        before is reached again. Where the node's clock goes back, too (`use_sim_time`), it has emptied itself, and what
        came since is needed.
        """
        before_ns = self._latest_ns - SET_BACK_NS
        if 0 < stamp_ns < before_ns:
            clock = self._node.get_clock()
            if not (clock.ros_time_is_active and 0 < clock.now().nanoseconds < before_ns):
                self._buffer.clear()
            self._latest_ns = stamp_ns
        self._latest_ns = max(self._latest_ns, stamp_ns)


def transforms_of(node: Node, call_in_executor: Callable[[Callable[[], None]], object]) -> Tf | NoTf:
    """tf, or `NoTf` where it is not installed."""
    try:
        return Tf(node, call_in_executor)
    except ImportError:
        return NoTf("tf2_ros is not installed (apt install ros-$ROS_DISTRO-tf2-ros-py)")
