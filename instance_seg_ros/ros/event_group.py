"""When the executor looks at events of QoS: once a second, as each that it waits for costs time in every turn of it."""

from __future__ import annotations

from typing import Any

from rclpy.event_handler import EventHandler
from rclpy.node import Node

from instance_seg_ros.ros.concurrent_group import ConcurrentGroup

_FRAMES = 2
"""A turn of the executor that began between two frames has looked."""


class EventGroup(ConcurrentGroup):
    """The events of a node's publishers and subscriptions; the middleware keeps each until somebody looks at it.

    A node has some thirty of them, rclpy's own included, which were most of what a turn takes (0.14 ms, with this group
    0.06), and a frame takes up to three turns.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._frames_left = 0

    def look(self) -> None:
        """From now on until two frames came, the executor takes events. To be called now and then."""
        for waitable in list(self._node.waitables):
            if isinstance(waitable, EventHandler) and waitable.callback_group is not self:
                waitable.callback_group = self
                self.add_entity(waitable)
        self._frames_left = _FRAMES

    def frame_came(self) -> None:
        """To be called with each frame."""
        self._frames_left = max(0, self._frames_left - 1)

    def can_execute(self, entity: Any) -> bool:
        """Whether the executor is to wait for an event, and to take it."""
        return self._frames_left > 0
