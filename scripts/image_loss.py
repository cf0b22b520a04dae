"""Counts the pairs of images that reach the inputs from a camera in another process, by its QoS and DDS's profiles.

    source env.sh
    [RMW_IMPLEMENTATION=rmw_cyclonedds_cpp] python scripts/image_loss.py [--frames N]

The camera publishes colour and depth of noise at 30 Hz, as drivers do: reliably, or best effort. The inputs are those
of the node, with default settings, without the pipeline behind them. The profile is the package's own for the
middleware at work; without it, the middleware is as it comes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from tabulate import tabulate

from instance_seg_ros.demo.processes import wait_until
from instance_seg_ros.messages.incoming import RgbdMessages
from instance_seg_ros.ros.health import Health
from instance_seg_ros.ros.inputs import Inputs
from instance_seg_ros.ros.middleware import PROFILES
from instance_seg_ros.ros.settings import NodeSettings

RATE_HZ = 30.0
SETTLE_S = 3.0
"""Time for the inputs to follow the reliability of the camera, which they look at every second."""
TIMEOUT_S = 60.0


def camera(size_wh: tuple[int, int], reliable: bool, frames: int) -> None:
    """Publishes the frames, once both images have a subscriber."""
    node = Node("camera")
    policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    qos = QoSProfile(depth=5, reliability=policy)
    publishers = [node.create_publisher(Image, f"/inputs/{name}/image_raw", qos) for name in ("color", "depth")]
    images = [_noise(size_wh, "rgb8", 3), _noise(size_wh, "16UC1", 2)]
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    wait_until(lambda: all(each.get_subscription_count() for each in publishers), executor, TIMEOUT_S)
    wait_until(lambda: False, executor, SETTLE_S)
    for _ in range(frames):
        next_s = time.monotonic() + 1 / RATE_HZ
        stamp = node.get_clock().now().to_msg()
        for publisher, image in zip(publishers, images, strict=True):
            image.header.stamp = stamp
            publisher.publish(image)
        wait_until(lambda: time.monotonic() >= next_s, executor, 1 / RATE_HZ)  # noqa: B023 - called at once
    wait_until(lambda: False, executor, SETTLE_S)


def inputs(frames: int) -> None:
    """Prints how many pairs came, and the median and the largest age in milliseconds."""
    node = Node("inputs")
    ages_ms: list[float] = []

    def on_messages(messages: RgbdMessages) -> None:
        ages_ms.append((node.get_clock().now().nanoseconds - messages.stamp_ns) / 1e6)

    def report(cause: str, text: str) -> None:
        print(f"{cause}: {text}", file=sys.stderr)

    listening = Inputs(node, NodeSettings(), Health(), on_messages, report, lambda callback: callback)
    node.create_timer(1.0, listening.follow_publishers)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    wait_until(lambda: bool(ages_ms), executor, TIMEOUT_S)
    wait_until(lambda: len(ages_ms) == frames, executor, frames / RATE_HZ + 2 * SETTLE_S)
    print(len(ages_ms), statistics.median(ages_ms or [0.0]), max(ages_ms, default=0.0))


def measured(size: str, reliability: str, profile: str, frames: int) -> tuple[str, ...]:
    """One row: a camera and inputs in processes of their own."""
    isolated = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 101), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    plain = {**{key: value for key, value in os.environ.items() if key not in PROFILES}, **isolated}
    with_profile = {**plain, **PROFILES}
    command = [sys.executable, __file__, "--frames", str(frames)]
    listener = subprocess.Popen(
        [*command, "--role", "inputs"],
        env=plain if profile == "none" else with_profile,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    subprocess.run(
        [*command, "--role", "camera", "--size", size, "--reliability", reliability],
        env=with_profile if profile == "both" else plain,
        check=True,
    )
    pairs, median_ms, longest_ms = listener.communicate(timeout=TIMEOUT_S)[0].split()
    return (size, reliability, profile, f"{pairs} of {frames}", f"{float(median_ms):.0f}", f"{float(longest_ms):.0f}")


def _noise(size_wh: tuple[int, int], encoding: str, bytes_a_pixel: int) -> Image:
    width, height = size_wh
    pixels = np.random.default_rng(0).integers(0, 256, width * height * bytes_a_pixel, dtype=np.uint8)
    return Image(width=width, height=height, encoding=encoding, step=width * bytes_a_pixel, data=pixels.tobytes())


def main() -> None:
    """Prints the table, or plays one of the two roles."""
    parser = argparse.ArgumentParser(description="Counts the pairs of images that arrive from another process.")
    parser.add_argument("--frames", type=int, default=90, help="pairs that the camera publishes (default: %(default)s)")
    parser.add_argument("--role", choices=("camera", "inputs"), help=argparse.SUPPRESS)
    parser.add_argument("--size", default="640x480", help=argparse.SUPPRESS)
    parser.add_argument("--reliability", default="reliable", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role is None:
        cases = itertools.product(("640x480", "1280x720"), ("reliable", "best_effort"), ("none", "inputs", "both"))
        rows = [measured(*case, args.frames) for case in cases]
        headers = ("image", "the camera publishes", "profile in", "pairs", "median age ms", "largest age ms")
        print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
        return
    rclpy.init()
    if args.role == "camera":
        width, height = (int(side) for side in args.size.split("x"))
        camera((width, height), args.reliability == "reliable", args.frames)
    else:
        inputs(args.frames)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
