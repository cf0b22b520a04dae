"""The demo: a camera process, the lifecycle node and a planner-like subscriber over DDS, from one command.

    python -m instance_seg_ros.demo.demo [--frames-dir DIR | --bag PATH] [--frames N] [--out DIR]

Without a camera or a robot: the camera is a simulated tabletop, captures from disk, or a rosbag2. Ends by itself, with
exit status 0 only when instances arrived. The processes speak on a ROS domain of their own, on this machine only.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.files.captures import capture_folders
from instance_seg_ros.ros.middleware import with_profiles

DEFAULT_FRAMES = 30
"""Frames of a simulated camera, which never ends, and of a bag, which may take hours."""
LAST_FREE_DOMAIN = 101
"""Above this, ports of DDS may collide with those that Linux hands out to clients."""
START_TIMEOUT_S = 180.0
"""Before its first answer the node measures every runtime that is installed, which takes long on a busy machine; what
cannot work says so at once."""
FRAME_TIMEOUT_S = 20.0
END_TIMEOUT_S = 15.0
LOG_LINES_SHOWN = 15


class DemoError(Exception):
    """The demo cannot go on; the message names the cause."""


@dataclass(frozen=True)
class Child:
    """One process of the demo; its output is in `log`, or on the terminal where that is None."""

    name: str
    process: subprocess.Popen
    log: Path | None

    def log_tail(self) -> str:
        """The last lines of its log."""
        if self.log is None:
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:] or ["(nothing so far)"]
        return "\n".join(f"  {line}" for line in lines)


class Children:
    """The processes of the demo; they end with the `with` block, whatever ends it."""

    def __init__(self, environment: dict[str, str], log_folder: Path) -> None:
        self._environment = environment
        self._log_folder = log_folder
        self.started: list[Child] = []

    def start(self, name: str, module: str, *arguments: str, on_terminal: bool = False) -> Child:
        """Starts `python -m module arguments`."""
        command = [sys.executable, "-m", module, *arguments]
        # A session of its own: Ctrl-C reaches only the demo, which ends its children in order.
        if on_terminal:
            process = subprocess.Popen(command, env=self._environment, start_new_session=True)
            child = Child(name, process, None)
        else:
            log = self._log_folder / f"{name}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command, env=self._environment, start_new_session=True, stdout=output, stderr=subprocess.STDOUT
                )
            child = Child(name, process, log)
        self.started.append(child)
        return child

    def end(self) -> list[str]:
        """Asks what still runs to end, then forces it.

        Returns:
            Names of the processes that had to be forced.
        """
        for child in self.started:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGINT)
        deadline_s = time.monotonic() + END_TIMEOUT_S
        forced = []
        for child in self.started:
            try:
                child.process.wait(max(0.1, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
                forced.append(child.name)
        return forced


@contextmanager
def signals_noted() -> Iterator[threading.Event]:
    """Sets the event on SIGINT and SIGTERM, which otherwise do nothing meanwhile.

    An exception out of nowhere could fall between the start of a process and the note that it was started.
    """
    noted = threading.Event()
    before = {number: signal.signal(number, lambda *_: noted.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def children(environment: dict[str, str], log_folder: Path) -> Iterator[Children]:
    """The processes of the demo, ended at the end."""
    group = Children(environment, log_folder)
    try:
        yield group
    finally:
        forced = group.end()
        if forced:
            print(f"had to be forced to end: {', '.join(forced)}", file=sys.stderr)


def isolated_environment() -> dict[str, str]:
    """This process's variables with a ROS domain of its own, closed to other machines, and DDS set up for images."""
    return {
        **with_profiles(os.environ),
        "ROS_DOMAIN_ID": str(1 + os.getpid() % LAST_FREE_DOMAIN),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def frames_in(options: argparse.Namespace) -> int:
    """How many frames the demo will show.

    Raises:
        ValueError: when captures or bag cannot be read.
        DemoError: when the bag has no frame.
    """
    if options.frames_dir is not None:
        available = len(capture_folders(options.frames_dir))
        return min(options.frames or available, available)
    wanted: int = options.frames or DEFAULT_FRAMES
    if options.bag is None:
        return wanted
    # Imported here: only bags need rosbags.
    from instance_seg_ros.bags.reader import read_frames

    available = sum(1 for _ in itertools.islice(read_frames(options.bag), wanted))
    if available == 0:
        raise DemoError(f"{options.bag} gives no RGB-D frame; `instance-seg bag` says why")
    return available


def camera_arguments(options: argparse.Namespace, count: int) -> list[str]:
    """The camera process's part of the command line."""
    source = []
    if options.frames_dir is not None:
        source = ["--frames-dir", str(options.frames_dir)]
    elif options.bag is not None:
        source = ["--bag", str(options.bag)]
    # Node and planner both listen to the images, and nothing is sent before both do.
    waiting = ["--answers", "instance_seg/instances", "--subscribers", "2", "--timeout", str(START_TIMEOUT_S)]
    return [*source, "--count", str(count), *waiting]


def node_arguments(options: argparse.Namespace) -> list[str]:
    """The node's part of the command line."""
    parameters = ["input_reliability:=reliable"]
    if options.model is not None:
        parameters.append(f"model_path:={options.model}")
    topics = ("color/image_raw", "color/camera_info", "depth/image_raw")
    remappings = [f"~/{topic}:=/camera/{topic}" for topic in topics]
    return [
        "--ros-args",
        *itertools.chain.from_iterable(("-p", parameter) for parameter in parameters),
        *itertools.chain.from_iterable(("-r", remapping) for remapping in remappings),
    ]


def run(options: argparse.Namespace) -> int:
    """Runs the demo.

    Returns:
        0 when instances arrived.

    Raises:
        DemoError: naming the process and the cause.
    """
    count = frames_in(options)
    out: Path = options.out
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    environment = {**isolated_environment(), "PYTHONUNBUFFERED": "1"}
    with signals_noted() as interrupted, children(environment, logs) as group:
        print(f"demo: {count} frame(s), ROS domain {environment['ROS_DOMAIN_ID']}, logs in {logs}", flush=True)
        node = group.start("instance_seg", "instance_seg_ros.ros", *node_arguments(options))
        planner = group.start(
            "planner",
            "instance_seg_ros.demo.planner_example",
            *("--count", str(count), "--out", str(out), "--timeout", str(START_TIMEOUT_S)),
            on_terminal=True,
        )
        camera = group.start("camera", "instance_seg_ros.demo.camera_node", *camera_arguments(options, count))
        return watch(planner, (node, camera), START_TIMEOUT_S + count * FRAME_TIMEOUT_S, interrupted)


def watch(planner: Child, others: Sequence[Child], timeout_s: float, interrupted: threading.Event) -> int:
    """Waits for the planner to end.

    Returns:
        Its exit status.

    Raises:
        DemoError: when another process fails first, the planner fails, or time is up.
        KeyboardInterrupt: when `interrupted` is set.
    """
    deadline_s = time.monotonic() + timeout_s
    while planner.process.poll() is None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        for child in others:
            if child.process.poll() not in (None, 0):
                raise DemoError(f"{child.name} ended with status {child.process.returncode}:\n{child.log_tail()}")
        if time.monotonic() > deadline_s:
            raise DemoError(f"the planner did not end within {timeout_s:g} s; see the logs")
        try:
            planner.process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    if planner.process.returncode != 0:
        logs = "\n".join(f"{child.name}:\n{child.log_tail()}" for child in others)
        raise DemoError(f"the planner ended with status {planner.process.returncode}; the logs end with\n{logs}")
    return 0


def parse(args: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="demo", description="Camera, node and planner over ROS 2, from one command.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--frames-dir", type=Path, metavar="DIR", help="captures to replay: a folder of folders with meta.json"
    )
    source.add_argument("--bag", type=Path, metavar="PATH", help="rosbag2 to replay (sqlite3 or mcap)")
    parser.add_argument(
        "--frames",
        type=_positive,
        metavar="N",
        help=f"how many frames to show (default: all captures, else at most {DEFAULT_FRAMES})",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="model file (default: the shipped one)")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for results (default: %(default)s)")
    return parser.parse_args(args)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def main(args: list[str] | None = None) -> int:
    """Runs the demo; SIGINT and SIGTERM end all of its processes."""
    options = parse(args)
    try:
        return run(options)
    except (DemoError, InputError, ValueError, ImportError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
