"""Prints how old a result is when another process gets it, beside another network's forward pass in the same run.

    source env.sh
    python scripts/latency.py [--beside FILE.onnx] [--backend auto] [--threads 2]

A camera, the node and a planner are processes of their own. The camera stamps each pair of images, of eight blocks on a
table, just before it publishes them; the planner takes the age of each InstanceArray when it has it as a Python object.
The stages' times are those that the messages carry; what they leave of the age is messages, conversions and waiting.
The network of --beside runs alone in ONNX Runtime before, between and after, pass after pass and at the first of the
camera's rates, at which caches and threads go to rest between two of them. Printed, too: from the start of the node's
process to the first answer, beside a process that only imports the node and loads the model.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from tabulate import tabulate

from instance_seg_ros.commands.bench import made_up_frame
from instance_seg_ros.commands.helpers.runtime_timing import other_network
from instance_seg_ros.demo.demo import isolated_environment
from instance_seg_ros.demo.processes import wait_until
from instance_seg_ros.messages.camera import camera_info, color_image, depth_image
from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros.convert import make_message

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
    """Prints the time of the first answer, and when no more come, the ages and stages' times in seconds and the mean
    count of objects."""
    node = Node("planner")
    ages_s: list[float] = []
    stages_s: list[dict[str, float]] = []
    objects: list[int] = []

    def on_answer(answer: InstanceArray) -> None:
        now_ns = time.time_ns()
        if answer.status == InstanceArray.STATUS_INVALID_INPUT:
            raise RuntimeError(f"a frame was not processed, so that its time says nothing: {answer.status_text}")
        ages_s.append((now_ns - stamp_ns_of(answer.header)) / 1e9)
        stages_s.append({stage.name: stage.duration_s for stage in answer.stages})
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
    print(json.dumps({"ages_s": ages_s, "stages_s": stages_s, "objects": float(np.mean(objects or [0]))}))


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
    environment = isolated_environment()
    role = [sys.executable, __file__, "--seconds", str(seconds), "--role"]
    started: list[subprocess.Popen[Any]] = []

    def start(*command: str, **options: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen(command, env=environment, **options))
        return started[-1]

    load = [sys.executable, "-c", LOADED, backend, str(threads)]
    subprocess.run(load, env=environment, check=True)  # compiles what is not compiled yet
    passes_ms: dict[float | None, list[float]] = {None: [], RATES_HZ[0]: []}
    run_pass = None if beside is None else other_network("onnxruntime", beside, threads)
    rows, node, startup_s = [], None, 0.0
    try:
        for rate_hz in RATES_HZ:
            time_passes(run_pass, passes_ms)
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
            rows.append(Answers.of(rate_hz, found))
        time_passes(run_pass, passes_ms)
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


def time_passes(run_pass: Callable[[int], object] | None, times_ms: dict[float | None, list[float]]) -> None:
    """Adds times of some passes in ms, at each rate in Hz, None for one after the other.

    Nothing where there is nothing to run.
    """
    if run_pass is None:
        return
    for rate_hz, own_ms in times_ms.items():
        begun_s = time.monotonic()
        for turn in range(PASSES + 1):
            if rate_hz is not None:
                time.sleep(max(0.0, begun_s + turn / rate_hz - time.monotonic()))
            begin_s = time.perf_counter()
            run_pass(turn)
            if turn > 0:
                own_ms.append(1e3 * (time.perf_counter() - begin_s))


@dataclass(frozen=True)
class Answers:
    """What a planner received at one rate of the camera, without the first few.

    Attributes:
        ages_ms: of each answer.
        stages_ms: the median of each stage.
        objects: in an answer on average.
    """

    rate_hz: float
    ages_ms: NDArray[np.float64]
    stages_ms: Mapping[str, float]
    objects: float

    @classmethod
    def of(cls, rate_hz: float, found: Mapping[str, Any]) -> Answers:
        """From the last line of a planner."""
        counted = [stages_s for stages_s in found["stages_s"][UNCOUNTED:] if stages_s]  # refusals have none
        names = counted[0] if counted else ()
        stages_ms = {name: 1e3 * float(np.median([each[name] for each in counted])) for name in names}
        return cls(rate_hz, 1e3 * np.array(found["ages_s"][UNCOUNTED:]), stages_ms, found["objects"])


def report(rows: Sequence[Answers], passes_ms: Mapping[float | None, Sequence[float]]) -> None:
    """Prints the ages at each rate, where they come from, and how many forward passes they are."""
    pass_ms = {rate_hz: float(np.median(times_ms)) for rate_hz, times_ms in passes_ms.items() if times_ms}
    headers = ["camera Hz", "median ms", "p99 ms", *(f"in passes {pace(rate_hz)}" for rate_hz in pass_ms)]
    stages = next((list(row.stages_ms) for row in rows if row.stages_ms), [])  # one with refusals alone has none
    lines = []
    for row in rows:
        if not len(row.ages_ms):
            lines.append([f"{row.rate_hz:g}", "none"])
            continue
        median_ms, high_ms = np.percentile(row.ages_ms, [50, 99])
        rest_ms = median_ms - sum(row.stages_ms.values())
        stages_ms = [row.stages_ms.get(name, math.nan) for name in stages]
        shown = [f"{value:.1f}" for value in (*stages_ms, rest_ms, row.objects)]
        in_passes = [f"{median_ms / own_ms:.2f}" for own_ms in pass_ms.values()]
        lines.append(
            [f"{row.rate_hz:g}", f"{median_ms:.1f}", f"{high_ms:.1f}", *in_passes, *shown, str(len(row.ages_ms))]
        )
    headers += [*(f"{name} ms" for name in stages), "rest ms", "objects", "answers"]
    print(tabulate(lines, headers, tablefmt="github", disable_numparse=True))
    if not all(len(row.ages_ms) for row in rows):
        print(f"the first {UNCOUNTED} answers of each rate do not count, and at one there were no more: more --seconds")
    for rate_hz, own_ms in pass_ms.items():
        high_ms = np.percentile(passes_ms[rate_hz], 99)
        print(f"one forward pass of the other network, {pace(rate_hz)}: {own_ms:.1f} ms (p99 {high_ms:.1f} ms)")


def pace(rate_hz: float | None) -> str:
    """How passes follow each other, in words."""
    return "in a row" if rate_hz is None else f"at {rate_hz:g} Hz"


def main() -> None:
    """Prints the tables, or plays one of the roles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, metavar="FILE", help="an ONNX network with fixed input shapes")
    parser.add_argument("--backend", default="auto", help="segmentation.backend (default: %(default)s)")
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
