"""The worker that takes the newest item only."""

from __future__ import annotations

import math
import threading

import pytest

from instance_seg_ros.ros.worker import NewestOnlyWorker, worth_waiting_s

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


@pytest.mark.parametrize(
    ("age_s", "period_s", "wait_s"),
    [
        pytest.param(0.0, 0.1, 0.0, id="it has just come"),
        pytest.param(0.024, 0.1, 0.0, id="it is young"),
        pytest.param(0.026, 0.1, 0.084, id="it is as old as a quarter of the time between two"),
        pytest.param(0.1, 0.1, 0.0, id="the next is late already"),
        pytest.param(0.2, math.nan, 0.0, id="it is the first"),
    ],
)
def test_an_item_that_is_no_longer_young_is_left_waiting_for_the_next_one(
    age_s: float, period_s: float, wait_s: float
) -> None:
    assert worth_waiting_s(age_s, period_s) == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("period_s", "comes", "processed"),
    [
        pytest.param(1000.0, True, [1, 3], id="the next comes in time"),
        pytest.param(0.01, False, [1, 2], id="none comes"),
    ],
)
def test_a_waiting_item_is_left_for_the_next_one_and_taken_where_none_comes(
    period_s: float, comes: bool, processed: list[int]
) -> None:
    slow, now_s = Slow(), [0.0]
    worker = NewestOnlyWorker(slow, "test", lambda: now_s[0])
    worker.submit(1)
    assert slow.started.acquire(timeout=TIMEOUT_S)
    now_s[0] = period_s
    worker.submit(2)
    now_s[0] = 1.7 * period_s
    slow.release.release(2)
    if comes:
        assert not slow.started.acquire(timeout=0.05)
        now_s[0] = 2 * period_s
        worker.submit(3)
    assert slow.started.acquire(timeout=TIMEOUT_S)

    assert worker.stop(TIMEOUT_S)
    assert (slow.processed, worker.dropped) == (processed, int(comes))


def test_one_that_waits_for_the_next_item_stops_at_once() -> None:
    slow, now_s = Slow(), [0.0]
    worker = NewestOnlyWorker(slow, "test", lambda: now_s[0])
    worker.submit(1)
    assert slow.started.acquire(timeout=TIMEOUT_S)
    now_s[0] = 1000.0
    worker.submit(2)
    now_s[0] = 1700.0
    slow.release.release()
    assert not slow.started.acquire(timeout=0.05)

    assert worker.stop(TIMEOUT_S)
    assert (slow.processed, worker.left) == ([1], 1)
