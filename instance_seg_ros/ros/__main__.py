"""Starts the node as a process: `python -m instance_seg_ros.ros`, `ros2 run instance_seg_ros instance_seg_node`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from instance_seg_ros.ros.memory import keep_one_heap


def main() -> None:
    """As `instance_seg_ros.ros.node.main`; ends the process."""
    found = {number: signal.signal(number, _end_at_once) for number in (signal.SIGINT, signal.SIGTERM)}
    keep_one_heap()
    # After it: NumPy starts threads when it is imported.
    from instance_seg_ros.ros.node import main as run

    for number, handler in found.items():
        signal.signal(number, handler)
    status = run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by way of the libraries' own ends: a thread that a signal met while it loaded a model may still be inside one,
    # which then aborts the process.
    os._exit(status)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """While libraries are imported, which takes a second, there is nothing to close yet."""
    os._exit(0)


if __name__ == "__main__":
    main()
