"""The executor, where other threads destroy what it is about to wait for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from instance_seg_ros.ros.node import NodeExecutor


@pytest.fixture
def half_gone() -> Iterator[Node]:
    """A node with a publisher whose event is destroyed, as it is for a moment while another thread destroys that."""
    context = Context()
    rclpy.init(context=context)
    node = Node("half_gone", context=context)
    events = PublisherEventCallbacks(incompatible_qos=print)
    publisher = node.create_publisher(String, "words", QoSProfile(depth=1), event_callbacks=events)
    for handler in publisher.event_handlers:
        handler.destroy()
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_what_is_destroyed_before_it_is_waited_for_is_no_failure(half_gone: Node) -> None:
    executor = NodeExecutor(context=half_gone.context)
    executor.add_node(half_gone)
    executor.spin_once(timeout_sec=0.1)

    plain = SingleThreadedExecutor(context=half_gone.context)
    half_gone.executor = None
    plain.add_node(half_gone)
    with pytest.raises(InvalidHandle):  # once rclpy does without, NodeExecutor can go
        plain.spin_once(timeout_sec=0.1)


def turns(executor: NodeExecutor, count: int) -> None:
    for _ in range(count):
        executor.spin_once(timeout_sec=0.1)


def test_a_callback_that_uses_what_is_destroyed_fails(half_gone: Node) -> None:
    def use() -> None:
        raise InvalidHandle("destroyed")

    for publisher in list(half_gone.publishers):
        half_gone.destroy_publisher(publisher)
    executor = NodeExecutor(context=half_gone.context)
    executor.add_node(half_gone)
    half_gone.create_timer(0.001, use)
    with pytest.raises(InvalidHandle):
        turns(executor, 20)
