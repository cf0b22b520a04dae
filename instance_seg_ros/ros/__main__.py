"""Starts the node as a process: `python -m instance_seg_ros.ros`, `ros2 run instance_seg_ros instance_seg_node`."""

from __future__ import annotations

import sys

from instance_seg_ros.ros.memory import keep_one_heap


def main() -> int:
    """As `instance_seg_ros.ros.node.main`."""
    keep_one_heap()
    # After it: NumPy starts threads when it is imported.
    from instance_seg_ros.ros.node import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
