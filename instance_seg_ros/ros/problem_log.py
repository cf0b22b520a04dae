"""Problems of the node: each is counted for /diagnostics, and logged at most once in a while."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from instance_seg_ros.ros.health import ERROR, Health


class ProblemLog:
    """Logs and counts what goes wrong. Thread safe.

    Args:
        node: whose logger writes.
        health: counts, and says whether a problem was logged just before.
    """

    def __init__(self, node: Node, health: Health) -> None:
        self._node = node
        self._health = health

    def report(self, cause: str, text: str) -> None:
        """A warning: the problem's short name, and what happened, why and what helps."""
        if self._health.problem(cause, text):
            self._node.get_logger().warning(f"{cause}: {text}")

    def unexpected(self, what: str) -> None:
        """For an except clause: an error with its traceback."""
        if not self._node.context.ok():
            return  # a signal shut the context down during the call, which is not to blame
        error = sys.exc_info()[1]
        if self._health.problem(f"unexpected {type(error).__name__}", f"{what}: {error!r}", ERROR):
            self._node.get_logger().error(f"{what}:\n{traceback.format_exc()}")

    def guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """The callback with its exceptions logged and counted instead of ending the executor."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception:
                self.unexpected("a callback failed")

        return guarded
