"""Runs the node for minutes at 30 Hz with a fault every 20 seconds, and says what it lost on the way.

    source env.sh
    python scripts/soak.py [--minutes 30] [--size 640x480] [--model FILE] [--backend NAME]

The node is a process of its own, this one plays camera, planner and operator. At the end every frame that was received
must be accounted for, every answer must have arrived, none may tell of an internal error, memory must not have grown by
more than 1 % since the fourth minute (the first half of a shorter run), and no thread, file handle or transition may be
lost. Exit status 1 otherwise.
Ctrl-C, or SIGTERM, ends it early, after the fault at work, with a verdict on what it has seen until then.
Memory is what the process has for itself: pages of files, such as libraries and models, come and go with what else the
machine does, and would hide a leak. Shared memory counts as it is mapped: of the camera's the node sees as many pages
as frames ever waited for it at once, so that half a second in which it stood still would look like a leak of 20 MB. It
cannot grow, and what is lost in it are frames and answers, which are counted. Memory falls while the model is loaded
anew, and is a hundredth more or less after it, so the most of the last third is held against the most of the first. The
recorder is kept so small that it is full at any rate of frames. On a busy machine name a backend: which one is the
fastest changes there, and each takes memory of its own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.demo.demo import isolated_environment
from instance_seg_ros.demo.processes import wait_until
from instance_seg_ros.messages.camera import camera_info, color_image, depth_image
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros.answers import INTERNAL_ERROR
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.health import ANSWERED, FATES, RECEIVED, UNUSABLE
from instance_seg_ros.srv import Segment

RATE_HZ = 30.0
FAULT_EVERY_S = 20.0
REPORT_EVERY_S = 60.0
SETTLE_S = 5.0
START_TIMEOUT_S = 120.0
CALL_TIMEOUT_S = 180.0
"""A configure loads the model and measures every runtime, which takes long on a busy machine."""
WARM_UP_S = 240.0
MOST_GROWTH = 0.01
CALLS_AT_ONCE = 30
RECORDED_MB = 32
SHARED_MEMORY = ("/dev/shm/", "/memfd:", "/dev/zero", "/SYSV")
"""How the names of mapped memory begin that belongs to no file of a disk and is shared by processes."""


@dataclass(frozen=True)
class Usage:
    """What a process holds: memory of its own, of which `shared_megabytes` is shared memory, threads, file handles."""

    megabytes: float
    shared_megabytes: float
    threads: int
    handles: int


def usage_of(pid: int) -> Usage:
    """Of a process on Linux: the pages of its own that it has touched, and shared memory in full as it is mapped."""
    process = Path(f"/proc/{pid}")
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    private_mb = int(fields["RssAnon"].split()[0]) * 1024 / 1e6
    shared_mb = shared_bytes((process / "maps").read_text()) / 1e6
    threads, handles = (sum(1 for _ in (process / name).iterdir()) for name in ("task", "fd"))
    return Usage(private_mb + shared_mb, shared_mb, threads, handles)


def shared_bytes(maps: str) -> int:
    """The size of all shared memory that is mapped, touched or not, as /proc/PID/maps has it."""
    total = 0
    for line in maps.splitlines():
        addresses, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights.endswith("s") and name and name[0].startswith(SHARED_MEMORY):
            begin, end = (int(address, 16) for address in addresses.split("-"))
            total += end - begin
    return total


def growth_of(megabytes: Sequence[float]) -> float:
    """How much more memory is at its highest in the last third of some samples than in the first, as a share."""
    third = max(1, len(megabytes) // 3)
    return max(megabytes[-third:]) / max(megabytes[:third]) - 1


class Player(Node):
    """Camera, planner and operator."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
        super().__init__("soak")
        reliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self.color, self.depth, self.info, self.depth_info = (
            self.create_publisher(kind, f"/instance_seg/{name}", reliable)
            for kind, name in (
                (Image, "color/image_raw"),
                (Image, "depth/image_raw"),
                (CameraInfo, "color/camera_info"),
                (CameraInfo, "depth/camera_info"),
            )
        )
        self.answers: Counter[int] = Counter()
        self.internal_errors: Counter[str] = Counter()
        self.diagnostics: DiagnosticArray | None = None
        deep = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(InstanceArray, "/instance_seg/instances", self._on_answer, deep)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, deep)
        self.change_state = self.create_client(ChangeState, "/instance_seg/change_state")
        self.get_state = self.create_client(GetState, "/instance_seg/get_state")
        self.set_enabled = self.create_client(SetBool, "/instance_seg/set_enabled")
        # All answers to calls that are made at once come at once.
        self.segment = self.create_client(Segment, "/instance_seg/segment", qos_profile=deep)
        self.frames = _frames(size_wh)
        self.sent = 0
        self.depth_is_on = True
        self.spoil: Callable[[dict[str, Any]], None] | None = None

    def send_frame(self, delay_s: float = 0.0) -> None:
        """Sends the next frame, stamped as long ago as the delay."""
        self.sent += 1
        stamp_ns = self.get_clock().now().nanoseconds - round(delay_s * 1e9)
        stamped = header(make_message, stamp_ns, "camera_color_optical_frame")
        camera, color_rgb, depth_m = next(self.frames)
        parts = {
            "info": camera_info(make_message, stamped, camera),
            "color": color_image(make_message, stamped, color_rgb),
            "depth": depth_image(make_message, stamped, depth_m),
        }
        if self.spoil is not None:
            self.spoil(parts)
        self.info.publish(parts["info"])
        self.color.publish(parts["color"])
        if self.depth_is_on:
            self.depth.publish(parts["depth"])

    def counts(self) -> dict[str, int]:
        """The node's frames by what became of them, as its latest diagnostics have it."""
        statuses = self.diagnostics.status if self.diagnostics is not None else []
        facts = {
            value.key: value.value
            for status in statuses
            if status.name.endswith("instance_seg: processing")
            for value in status.values
        }
        return {name: int(facts.get(name, 0)) for name in (RECEIVED, *FATES)}

    def _on_answer(self, answer: InstanceArray) -> None:
        self.answers[answer.status] += 1
        if answer.status_text.startswith(INTERNAL_ERROR):
            self.internal_errors[answer.status_text] += 1

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        self.diagnostics = array


class Soak:
    """One run.

    Attributes:
        lost: what was lost, in words.
    """

    def __init__(self, player: Player, executor: SingleThreadedExecutor) -> None:
        self._player = player
        self._executor = executor
        self.lost: list[str] = []
        self._calls = 0
        self._faults = itertools.cycle(
            (
                self._short_data,
                self._no_depth,
                self._restart,
                self._rest,
                self._nonsense_camera,
                self._clock_set_back,
                self._reconfigure,
                self._many_calls,
                self._bytes_that_are_no_message,
            )
        )

    def fault(self) -> str:
        """Makes the next fault and undoes it; its name."""
        make = next(self._faults)
        make()
        return make.__name__.strip("_").replace("_", " ")

    def play(self, seconds: float, delay_s: float = 0.0) -> None:
        """Sends frames for a while."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            next_s = time.monotonic() + 1 / RATE_HZ
            self._player.send_frame(delay_s)
            self.wait(next_s - time.monotonic())

    def settled_usage(self, pid: int) -> Usage:
        """What the process holds at rest after some frames."""
        self.play(SETTLE_S)
        self.wait(SETTLE_S)
        return usage_of(pid)

    def wait(self, seconds: float) -> None:
        """Executes callbacks for a while."""
        wait_until(lambda: False, self._executor, seconds)

    def call(self, client: Any, request: Any) -> Any:
        """The answer of a service; a call without one is lost."""
        self._calls += 1
        if client.wait_for_service(timeout_sec=CALL_TIMEOUT_S):
            future = client.call_async(request)
            if wait_until(future.done, self._executor, CALL_TIMEOUT_S):
                return future.result()
        self.lost.append(f"a call of {client.srv_name} was not answered")
        return None

    def _transition(self, number: int, state: int) -> None:
        answer = self.call(self._player.change_state, ChangeState.Request(transition=Transition(id=number)))
        found = self.call(self._player.get_state, GetState.Request())
        if answer is None or not answer.success or found is None or found.current_state.id != state:
            self.lost.append(f"transition {number} did not lead to state {state}")

    def _spoilt(self, spoil: Callable[[dict[str, Any]], None]) -> None:
        self._player.spoil = spoil
        self.play(1.0)
        self._player.spoil = None

    def _short_data(self) -> None:
        def spoil(parts: dict[str, Any]) -> None:
            parts["color"].data = parts["color"].data[:100]

        self._spoilt(spoil)

    def _nonsense_camera(self) -> None:
        def spoil(parts: dict[str, Any]) -> None:
            parts["info"].k = np.full(9, np.nan)

        self._spoilt(spoil)

    def _no_depth(self) -> None:
        self._player.depth_is_on = False
        self.play(2.0)
        self._player.depth_is_on = True

    def _clock_set_back(self) -> None:
        self.play(1.0, delay_s=3600.0)

    def _rest(self) -> None:
        for enabled in (False, True):
            self.call(self._player.set_enabled, SetBool.Request(data=enabled))
            self.play(1.0)

    def _restart(self) -> None:
        self._transition(Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE)
        self.play(1.0)
        self._transition(Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE)

    def _reconfigure(self) -> None:
        self._transition(Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE)
        self._transition(Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED)
        self._transition(Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE)
        self._transition(Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE)

    def _many_calls(self) -> None:
        futures = [
            self._player.segment.call_async(Segment.Request(timeout_s=CALL_TIMEOUT_S)) for _ in range(CALLS_AT_ONCE)
        ]
        self._calls += len(futures)
        end_s = time.monotonic() + CALL_TIMEOUT_S
        while not all(future.done() for future in futures) and time.monotonic() < end_s:
            self.play(0.2)
        unanswered = sum(not future.done() for future in futures)
        if unanswered:
            self.lost.append(f"{unanswered} of {CALLS_AT_ONCE} calls of segment were not answered")

    def _bytes_that_are_no_message(self) -> None:
        rng = np.random.default_rng(0)
        for publisher in (self._player.depth_info, self._player.depth):
            for _ in range(10):
                publisher.publish(rng.integers(0, 256, 300, dtype=np.uint8).tobytes())
        self.play(1.0)


def _frames(size_wh: tuple[int, int]) -> Iterator[tuple[Intrinsics, np.ndarray, np.ndarray]]:
    """Blocks on a table, which move from frame to frame, endlessly."""
    width, height = size_wh
    camera = Intrinsics(width, height, 0.95 * width, 0.95 * width, width / 2, height / 2)
    rng, scenes = np.random.default_rng(0), []
    side = height // 6
    for index in range(8):
        color_rgb = rng.integers(90, 110, (height, width, 3), dtype=np.uint8)
        depth_m = np.full((height, width), 0.8, np.float32)
        for number in range(5):
            x, y = width // 12 + number * width // 6 + 2 * index, height // 4 + (number % 2) * height // 3
            color_rgb[y : y + side, x : x + side] = ((200, 40, 40), (40, 60, 200))[number % 2]
            depth_m[y : y + side, x : x + side] = 0.72
        scenes.append((camera, color_rgb, depth_m))
    return itertools.cycle(scenes)


def run(minutes: float, size_wh: tuple[int, int], model: str, backend: str) -> int:
    """Runs the node and prints a line a minute and the verdict; the exit status."""
    parameters = [f"segmentation.backend:={backend}", f"record_megabytes:={RECORDED_MB}"]
    if model:
        parameters.append(f"model_path:={model}")
    command = [sys.executable, "-m", "instance_seg_ros.ros", "--ros-args"]
    command += itertools.chain.from_iterable(("-p", parameter) for parameter in parameters)
    os.environ.update(isolated_environment())  # another node of this name, or another camera, would be heard
    cut_short = threading.Event()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cut_short.set())
    player = Player(size_wh)
    executor = SingleThreadedExecutor()
    executor.add_node(player)
    # In a session of its own, so that a terminal's Ctrl-C does not end it before it was judged.
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            soak = Soak(player, executor)
            is_ready = wait_until(lambda: player.color.get_subscription_count() > 0, executor, START_TIMEOUT_S)
            if not is_ready:
                soak.lost.append("the node did not become active")
            else:
                _run(soak, player, process, 60 * minutes, cut_short)
        finally:
            process.terminate()
            process.wait()
    player.destroy_node()
    rclpy.try_shutdown()
    print("\n".join(soak.lost) or "nothing was lost")
    return 1 if soak.lost else 0


def _run(
    soak: Soak, player: Player, process: subprocess.Popen[bytes], seconds: float, cut_short: threading.Event
) -> None:
    started_s = time.monotonic()
    warm_s = min(WARM_UP_S, seconds / 2)
    warm: Usage | None = None
    samples: list[float] = []
    faults: Counter[str] = Counter()
    reported_s = started_s
    while time.monotonic() - started_s < seconds and process.poll() is None and not cut_short.is_set():
        soak.play(FAULT_EVERY_S)
        if warm is not None and process.poll() is None:
            samples.append(usage_of(process.pid).megabytes)
        faults[soak.fault()] += 1
        elapsed_s = time.monotonic() - started_s
        if warm is None and elapsed_s >= warm_s:
            warm = soak.settled_usage(process.pid)
        if time.monotonic() - reported_s >= REPORT_EVERY_S and process.poll() is None:
            reported_s = time.monotonic()
            used = usage_of(process.pid)
            state = (
                f"{used.megabytes:.0f} MB, {used.shared_megabytes:.0f} of it shared, {used.threads} threads, "
                f"{used.handles} handles, {len(soak.lost)} lost"
            )
            print(f"{elapsed_s:5.0f} s: {state}", flush=True)
    if process.poll() is not None:
        soak.lost.append(f"the node ended with {process.poll()}")
        return
    last = soak.settled_usage(process.pid)
    _judge_counts(soak, player)
    if warm is None or len(samples) < 2:
        print("cut short before it was warm: memory, threads and handles were not judged")
    else:
        _judge_usage(soak, warm, last, samples)
    seconds = time.monotonic() - started_s
    print(f"{seconds / 60:.1f} minutes")
    print(f"{player.sent / seconds:.1f} frames a second were sent, {player.counts()[ANSWERED] / seconds:.1f} answered")
    print(f"faults: {', '.join(f'{count} {name}' for name, count in faults.items())}")


def _judge_counts(soak: Soak, player: Player) -> None:
    counts = player.counts()
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    if counts[RECEIVED] != sum(counts[fate] for fate in FATES):
        soak.lost.append(f"{counts[RECEIVED] - sum(counts[fate] for fate in FATES)} frames are not accounted for")
    answered, arrived = counts[ANSWERED] + counts[UNUSABLE], sum(player.answers.values())
    print(f"{arrived} of {answered} answers arrived, {counts[ANSWERED]} of them with results")
    if arrived != answered:
        soak.lost.append(f"{answered - arrived} answers did not arrive")
    soak.lost += [f"{count} frames: {text}" for text, count in player.internal_errors.items()]


def _judge_usage(soak: Soak, warm: Usage, last: Usage, megabytes: Sequence[float]) -> None:
    growth = growth_of(megabytes)
    print(
        f"memory of its own after warming up: {np.median(megabytes):.1f} MB, {min(megabytes):.1f} to "
        f"{max(megabytes):.1f}; {100 * growth:+.2f} % from the first third to the last"
    )
    if growth >= MOST_GROWTH:
        soak.lost.append(f"memory grew by {100 * growth:.1f} %")
    if (last.threads, last.handles) != (warm.threads, warm.handles):
        soak.lost.append(f"threads and handles were {warm.threads}, {warm.handles}, are {last.threads}, {last.handles}")


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="default: %(default)s")
    parser.add_argument("--size", default="640x480", help="of the images; default: %(default)s")
    parser.add_argument("--model", default="", help="a model file; default: the shipped one")
    parser.add_argument("--backend", default="auto", help="segmentation.backend; default: %(default)s")
    args = parser.parse_args()
    width, _, height = args.size.partition("x")
    return run(args.minutes, (int(width), int(height)), args.model, args.backend)


if __name__ == "__main__":
    sys.exit(main())
