"""A thread that works on the newest item only. Needs no ROS."""

from __future__ import annotations

import threading
import time
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
        self._at_work: tuple[Item, float] | None = None
        self._dropped = self._left = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Items that were replaced by a newer one before their turn came."""
        with self._condition:
            return self._dropped

    @property
    def left(self) -> int:
        """Items that still waited when it was stopped."""
        with self._condition:
            return self._left

    @property
    def at_work(self) -> tuple[Item, float] | None:
        """The item at work and for how many seconds it has been, None between two."""
        with self._condition:
            return None if self._at_work is None else (self._at_work[0], time.monotonic() - self._at_work[1])

    def submit(self, item: Item) -> bool:
        """Hand over an item; never blocks for long.

        Returns:
            Whether it was taken: not after `stop`.
        """
        with self._condition:
            if self._stopping:
                return False
            self._dropped += len(self._waiting)
            self._waiting = [item]
            self._condition.notify()
            return True

    def stop(self, timeout_s: float) -> bool:
        """Finish the item at work, forget the waiting one and end the thread.

        Returns:
            Whether the thread ended within `timeout_s`.
        """
        with self._condition:
            self._stopping = True
            self._left += len(self._waiting)
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
                self._at_work = item, time.monotonic()
            try:
                self._process(item)
            finally:
                with self._condition:
                    self._at_work = None
