"""Events of QoS are told within a second of frames, and cost the executor's turns between them nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from instance_seg_ros.demo.processes import wait_until
from instance_seg_ros.ros.event_group import EventGroup

TIMEOUT_S = 10.0


class Mismatch:
    """A publisher and a subscription whose QoS does not fit, and what the publisher's node was told of it."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.context = Context()
        rclpy.init(context=self.context)
        self.node, self.other = (Node(name, context=self.context) for name in ("publishing", "subscribing"))
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.group = EventGroup(self.node)
        events = PublisherEventCallbacks(incompatible_qos=lambda event: self.told.append(event.total_count))
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.node.create_publisher(String, "words", best_effort, event_callbacks=events)
        self.group.look()

    def subscribe(self) -> None:
        """Reliably."""
        self.other.create_subscription(String, "words", print, QoSProfile(depth=1))

    def turns(self, seconds: float) -> None:
        """Of the executor, for so long or until something is told."""
        wait_until(lambda: bool(self.told), self.executor, seconds)


@pytest.fixture
def mismatch() -> Iterator[Mismatch]:
    made = Mismatch()
    yield made
    made.executor.shutdown()
    made.node.destroy_node()
    made.other.destroy_node()
    rclpy.shutdown(context=made.context)


@pytest.mark.parametrize("frames", [0, 1])
def test_until_two_frames_came_events_are_taken(mismatch: Mismatch, frames: int) -> None:
    for _ in range(frames):
        mismatch.group.frame_came()
    mismatch.subscribe()
    mismatch.turns(TIMEOUT_S)
    assert mismatch.told == [1]


def test_between_frames_events_wait_for_the_next_look(mismatch: Mismatch) -> None:
    for _ in range(3):
        mismatch.group.frame_came()
    mismatch.subscribe()
    mismatch.turns(0.5)
    assert not mismatch.told
    mismatch.group.look()
    mismatch.turns(TIMEOUT_S)
    assert mismatch.told == [1]
