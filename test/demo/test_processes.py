"""How a process with one node ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

PROGRAM = """
import argparse
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_msgs.msg import Header
from instance_seg_ros.demo.processes import run_node

def work(node, executor, options):
    publisher = node.create_publisher(Header, "~/header", 1)
    {line}
    publisher.publish(Header())
    return 3

raise SystemExit(run_node([], lambda args: argparse.Namespace(), lambda options: Node("ends"), work))
"""


@pytest.mark.parametrize(
    ("line", "status", "last_words"),
    [
        ("pass", 3, ""),
        ("executor.context.shutdown()  # as a signal does at any moment", 0, ""),
        ("raise ExternalShutdownException", 0, ""),
        ("raise KeyboardInterrupt", 0, ""),
        ("raise RuntimeError('a fault')", 1, "RuntimeError: a fault\n"),
    ],
)
def test_a_signal_ends_it_quietly_wherever_it_comes_and_a_fault_with_its_traceback(
    line: str, status: int, last_words: str
) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(line=line)], stderr=subprocess.PIPE, text=True)
    assert done.returncode == status
    assert done.stderr.endswith(last_words) if last_words else done.stderr == ""
