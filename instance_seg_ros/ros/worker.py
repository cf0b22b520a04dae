"""A thread that works on the newest item only. Needs no ROS."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

_YIELD_S = 2e-3
"""Whoever hands over to an idle worker goes on after this, when a frame has become the network's input: otherwise it
takes Python's lock for its own work, and the frame waits half a millisecond for nothing."""
_OLD_SHARE = 0.25
"""An item that has waited for this share of the time between two is left for the next one. Against half of that time,
where items come up to 1.5 times as fast as they are processed, a result comes a tenth sooner (2 % where both times vary
by a tenth), there are up to a quarter fewer of them, and the newest one at any moment is as old on average, to 4 % (all
three by simulation)."""
_LATE_SHARE = 0.1
"""The next item may be later than its time by this share of the time between two."""


class NewestOnlyWorker(Generic[Item]):
    """Calls `process` with each submitted item in a thread of its own.

    An item that is still waiting when a newer one comes is dropped and counted, so the latency does not grow when items
    come faster than they are processed. For a newer one that is about to come (`worth_waiting_s`) it is left waiting.

    Args:
        process: handles its own exceptions; one that escapes ends the thread.
        name: of the thread.
        clock: seconds, for the times between items.
    """

    def __init__(self, process: Callable[[Item], None], name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._process = process
        self._clock = clock
        self._condition = threading.Condition()
        self._waiting: list[Item] = []
        self._came_s = math.nan
        self._period_s = math.nan
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
            return None if self._at_work is None else (self._at_work[0], self._clock() - self._at_work[1])

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
            now_s = self._clock()
            self._came_s, self._period_s = now_s, now_s - self._came_s
            self._condition.notify()
            is_idle = self._at_work is None
        if is_idle:
            time.sleep(_YIELD_S)
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
                came_s = self._came_s
                self._condition.wait_for(
                    lambda: self._stopping or self._came_s > came_s,  # noqa: B023 - called at once
                    worth_waiting_s(self._clock() - came_s, self._period_s),
                )
                if self._stopping:
                    return
                item = self._waiting.pop()
                self._at_work = item, self._clock()
            try:
                self._process(item)
            finally:
                with self._condition:
                    self._at_work = None


def worth_waiting_s(age_s: float, period_s: float) -> float:
    """How long an item is left waiting in the hope of the next one: 0, or until that is due and a little longer.

    Args:
        age_s: how long the item has waited.
        period_s: between the last two items; NaN when there was but one.
    """
    due_s = period_s - age_s
    return due_s + _LATE_SHARE * period_s if due_s > 0 and age_s > _OLD_SHARE * period_s else 0.0
