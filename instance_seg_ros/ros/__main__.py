"""Starts the node as a process: `python -m instance_seg_ros.ros`, `ros2 run instance_seg_ros instance_seg_node`."""

from __future__ import annotations

import os
import sys

from instance_seg_ros.ros.memory import keep_one_heap


def main() -> None:
    """As `instance_seg_ros.ros.node.main`; ends the process."""
    keep_one_heap()
    # After it: NumPy starts threads when it is imported.
    from instance_seg_ros.ros.node import main as run

    status = run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by way of the libraries' own ends: a thread that a signal met while it loaded a model may still be inside one,
    # which then aborts the process.
    os._exit(status)


if __name__ == "__main__":
    main()
