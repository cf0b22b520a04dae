"""The worker that takes the newest item only."""

from __future__ import annotations

import threading

from instance_seg_ros.ros.worker import NewestOnlyWorker

TIMEOUT_S = 10.0


class Slow:
    """A process function that holds each item until it is released."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.release = threading.Semaphore(0)
        self.processed: list[int] = []

    def __call__(self, item: int) -> None:
        self.started.release()
        assert self.release.acquire(timeout=TIMEOUT_S)
        self.processed.append(item)


def test_only_the_newest_waiting_item_is_processed_and_the_others_are_counted() -> None:
    slow = Slow()
    worker = NewestOnlyWorker(slow, "test")
    worker.submit(1)
    assert slow.started.acquire(timeout=TIMEOUT_S)
    for item in (2, 3, 4):
        worker.submit(item)
    slow.release.release(2)
    assert slow.started.acquire(timeout=TIMEOUT_S)

    assert worker.stop(TIMEOUT_S)
    assert (slow.processed, worker.dropped) == ([1, 4], 2)


def test_stopping_finishes_the_item_at_work_and_forgets_the_waiting_one() -> None:
    slow = Slow()
    worker = NewestOnlyWorker(slow, "test")
    worker.submit(1)
    assert slow.started.acquire(timeout=TIMEOUT_S)
    worker.submit(2)

    assert not worker.stop(0.01)
    slow.release.release()

    assert worker.stop(TIMEOUT_S)
    worker.submit(3)
    assert slow.processed == [1]
