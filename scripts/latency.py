"""Prints how old a result is when another process gets it, beside another network's forward pass in the same run.

    source env.sh
    python scripts/latency.py [--beside FILE.onnx] [--backend onnxruntime] [--threads 2]

A camera, the node and a planner are processes of their own. The camera stamps each pair of images, of eight blocks on a
table, just before it publishes them; the planner takes the age of each InstanceArray when it has it as a Python object.
The network of --beside runs alone before, between and after. Printed, too: from the start of the node's process to the
first answer, beside a process that only imports the node and loads the model.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from tabulate import tabulate

from instance_seg_ros.commands.bench import made_up_frame
from instance_seg_ros.commands.helpers.runtime_timing import other_network
from instance_seg_ros.demo.processes import wait_until
from instance_seg_ros.messages.camera import camera_info, color_image, depth_image
from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.inputs import FASTDDS_PROFILE, FASTDDS_VARIABLES

RATES_HZ = (10.0, 30.0)
UNCOUNTED = 10
"""The first answers of each rate: caches fill, and the first one waits for the subscriptions."""
PASSES = 20
TIMEOUT_S = 120.0
SILENCE_S = 5.0
LOADED = (
    "import sys, instance_seg_ros.ros.node as node\n"
    "from instance_seg_ros.core.parameters import PipelineSettings, SegmentationSettings\n"
    "segmentation = SegmentationSettings(backend=sys.argv[1], threads=int(sys.argv[2]))\n"
    "node.Pipeline.from_settings(PipelineSettings(segmentation=segmentation))"
)


def camera(rate_hz: float, seconds: float) -> None:
    """Publishes frames from when the node has subscribed on."""
    node = Node("camera")
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    info, color, depth = (
        node.create_publisher(kind, f"/instance_seg/{topic}", qos)
        for kind, topic in ((CameraInfo, "color/camera_info"), (Image, "color/image_raw"), (Image, "depth/image_raw"))
    )
    frame = made_up_frame(640, 480, rows=2)
    assert frame.color_rgb is not None
    unstamped = header(make_message, 0, "camera_color_optical_frame")
    messages = (
        camera_info(make_message, unstamped, frame.intrinsics),
        color_image(make_message, unstamped, frame.color_rgb),
        depth_image(make_message, unstamped, frame.depth_m),
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    is_heard = wait_until(
        lambda: all(each.get_subscription_count() for each in (info, color, depth)), executor, TIMEOUT_S
    )
    assert is_heard, "nobody subscribed to the camera"
    next_s = time.monotonic()
    end_s = next_s + seconds + UNCOUNTED / rate_hz
    while next_s < end_s:
        stamp = node.get_clock().now().to_msg()
        for publisher, message in zip((info, color, depth), messages, strict=True):
            message.header.stamp = stamp
            publisher.publish(message)
        next_s += 1 / rate_hz
        wait_until(lambda: False, executor, next_s - time.monotonic())


def planner() -> None:
    """Prints the time of the first answer, and when no more come, the ages in seconds and the mean count of objects."""
    node = Node("planner")
    ages_s: list[float] = []
    objects: list[int] = []

    def on_answer(answer: InstanceArray) -> None:
        now_ns = time.time_ns()
        ages_s.append((now_ns - stamp_ns_of(answer.header)) / 1e9)
        objects.append(len(answer.instances))
        if len(ages_s) == 1:
            print(now_ns / 1e9, flush=True)

    node.create_subscription(InstanceArray, "/instance_seg/instances", on_answer, 10)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    wait_until(lambda: bool(ages_s), executor, TIMEOUT_S)
    counted = -1
    while counted < len(ages_s):
        counted = len(ages_s)
        wait_until(lambda: len(ages_s) > counted, executor, SILENCE_S)  # noqa: B023 - called at once
    print(json.dumps({"ages_s": ages_s, "objects": float(np.mean(objects or [0]))}))


def line_of(stream: IO[str] | None) -> str:
    """The next line of a role's process.

    Raises:
        RuntimeError: it ended without one.
    """
    assert stream is not None
    line = stream.readline()
    if not line:
        raise RuntimeError("the planner ended without an answer")
    return line


def compare(seconds: float, backend: str, threads: int, beside: Path | None) -> None:
    """Runs the processes and prints the tables."""
    environment = {
        **os.environ,
        **dict.fromkeys(FASTDDS_VARIABLES, str(FASTDDS_PROFILE)),
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 101),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    role = [sys.executable, __file__, "--seconds", str(seconds), "--role"]
    started: list[subprocess.Popen[Any]] = []

    def start(*command: str, **options: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen(command, env=environment, **options))
        return started[-1]

    load = [sys.executable, "-c", LOADED, backend, str(threads)]
    subprocess.run(load, env=environment, check=True)  # compiles what is not compiled yet
    passes_ms: list[float] = []
    run_pass = None if beside is None else other_network("onnxruntime", beside, threads)
    rows, node, startup_s = [], None, 0.0
    try:
        for rate_hz in RATES_HZ:
            passes_ms += times_ms(run_pass)
            listener = start(*role, "planner", stdout=subprocess.PIPE, text=True)
            source = start(*role, "camera", "--rate", str(rate_hz))
            if node is None:
                time.sleep(SILENCE_S)  # so that only the node's own start is timed
                started_s = time.time()
                parameters = (f"segmentation.backend:={backend}", f"segmentation.threads:={threads}")
                options = [word for parameter in parameters for word in ("-p", parameter)]
                command = [sys.executable, "-m", "instance_seg_ros.ros", "--ros-args", *options]
                node = start(*command, stderr=subprocess.DEVNULL)
                startup_s = float(line_of(listener.stdout)) - started_s
            else:
                line_of(listener.stdout)
            found = json.loads(line_of(listener.stdout))
            source.wait()
            rows.append((rate_hz, 1e3 * np.array(found["ages_s"][UNCOUNTED:]), found["objects"]))
        passes_ms += times_ms(run_pass)
    finally:
        for process in started:
            process.terminate()
            process.wait()
    began_s = time.time()
    subprocess.run(load, env=environment, check=True)
    loading_s = time.time() - began_s
    report(rows, passes_ms)
    print(
        f"first answer {startup_s:.1f} s after the node's start; importing and loading alone take {loading_s:.1f} s. "
        f"Load of the machine (1 minute): {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )


def times_ms(run_pass: Callable[[int], object] | None) -> list[float]:
    """Of some passes, after one that does not count; none where there is nothing to run."""
    if run_pass is None:
        return []
    times_s = []
    for turn in range(PASSES + 1):
        begin_s = time.perf_counter()
        run_pass(turn)
        times_s.append(time.perf_counter() - begin_s)
    return [1e3 * each for each in times_s[1:]]


def report(rows: list[tuple[float, np.ndarray, float]], passes_ms: list[float]) -> None:
    """Prints the ages at each rate, and how many forward passes they are."""
    one_ms = float(np.median(passes_ms)) if passes_ms else None
    lines = []
    for rate_hz, ages_ms, objects in rows:
        if not len(ages_ms):
            lines.append((f"{rate_hz:g}", "none", "none", "", 0, f"{objects:.1f}"))
            continue
        median_ms, high_ms = np.percentile(ages_ms, [50, 99])
        in_passes = "" if one_ms is None else f"{median_ms / one_ms:.2f}"
        lines.append((f"{rate_hz:g}", f"{median_ms:.1f}", f"{high_ms:.1f}", in_passes, len(ages_ms), f"{objects:.1f}"))
    headers = ("camera Hz", "median ms", "p99 ms", "median in forward passes", "answers", "objects")
    print(tabulate(lines, headers, tablefmt="github", disable_numparse=True))
    if not all(len(ages_ms) for _, ages_ms, _ in rows):
        print(f"the first {UNCOUNTED} answers of each rate do not count, and at one there were no more: more --seconds")
    if one_ms is not None:
        print(f"one forward pass of the other network: {one_ms:.1f} ms (p99 {np.percentile(passes_ms, 99):.1f} ms)")


def main() -> None:
    """Prints the tables, or plays one of the roles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, metavar="FILE", help="an ONNX network with fixed input shapes")
    parser.add_argument("--backend", default="onnxruntime", help="segmentation.backend (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of both networks (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="at each rate (default: %(default)s)")
    parser.add_argument("--role", choices=("camera", "planner"), help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=RATES_HZ[0], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role is None:
        compare(args.seconds, args.backend, args.threads, args.beside)
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a role ends at once and says nothing
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    if args.role == "camera":
        camera(args.rate, args.seconds)
    else:
        planner()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
