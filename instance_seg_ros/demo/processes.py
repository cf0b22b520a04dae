"""The frame of a process with one node: from its command line to its exit status."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

AnyNode = TypeVar("AnyNode", bound=Node)


def run_node(
    args: list[str] | None,
    parse: Callable[[list[str]], argparse.Namespace],
    make: Callable[[argparse.Namespace], AnyNode],
    run: Callable[[AnyNode, SingleThreadedExecutor, argparse.Namespace], int],
) -> int:
    """Makes a node, runs it, and ends ROS whatever happens.

    Args:
        args: the command line; None takes that of the process.
        parse: gets it without ROS's own arguments.

    Returns:
        What `run` returns, or 0 where a signal ended it.
    """
    argv = sys.argv if args is None else [sys.argv[0], *args]
    options = parse(remove_ros_args(argv)[1:])
    rclpy.init(args=argv)
    node = make(options)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        return run(node, executor, options)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except RuntimeError:  # among them what rclpy raises where a signal has ended ROS between two calls of it
        if executor.context.ok():
            raise
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def wait_until(condition: Callable[[], bool], executor: SingleThreadedExecutor, timeout_s: float) -> bool:
    """Executes callbacks until the condition holds; False when it does not in time.

    Raises:
        ExternalShutdownException: when a signal ends the wait.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        if not executor.context.ok():
            raise ExternalShutdownException
        executor.spin_once(timeout_sec=min(left_s, 0.1))
    return True
