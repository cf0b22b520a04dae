"""A thread that works on the newest item only. Needs no ROS."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestOnlyWorker(Generic[Item]):
    """Calls `process` with each submitted item in a thread of its own.

    An item that is still waiting when a newer one comes is dropped and counted, so the latency does not grow when items
    come faster than they are processed.

    Args:
        process: handles its own exceptions; one that escapes ends the thread.
        name: of the thread.
    """

    def __init__(self, process: Callable[[Item], None], name: str) -> None:
        self._process = process
        self._condition = threading.Condition()
        self._waiting: list[Item] = []
        self._dropped = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Items that were replaced by a newer one before their turn came."""
        with self._condition:
            return self._dropped

    def submit(self, item: Item) -> None:
        """Hand over an item; never blocks for long. After `stop` it is ignored."""
        with self._condition:
            if self._stopping:
                return
            self._dropped += len(self._waiting)
            self._waiting = [item]
            self._condition.notify()

    def stop(self, timeout_s: float) -> bool:
        """Finish the item at work, forget the waiting one and end the thread.

        Returns:
            Whether the thread ended within `timeout_s`.
        """
        with self._condition:
            self._stopping = True
            self._waiting = []
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or self._waiting)
                if self._stopping:
                    return
                item = self._waiting.pop()
            self._process(item)
