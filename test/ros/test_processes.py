"""The node and the demo as processes of their own: how they start, end and fail."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

import cv2
from rclpy.serialization import serialize_message
from rosbags.typesys import Stores, get_typestore

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.files.captures import write_capture

pytestmark = pytest.mark.slow

TIMEOUT_S = 90
NODE = [sys.executable, "-m", "instance_seg_ros.ros"]
DEMO = [sys.executable, "-m", "instance_seg_ros.demo.demo"]


@pytest.fixture
def captures(make_frame: Callable[..., RgbdFrame], tmp_path: Path) -> Path:
    """A folder of three captures of two blocks."""
    for index in range(3):
        write_capture(tmp_path / "captures" / f"{index}", make_frame())
    return tmp_path / "captures"


def read_until(process: subprocess.Popen, text: str) -> str:
    """Reads the process's stderr up to a line with that text; it ends when the process does."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            break
    return "".join(lines)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_active_node_quietly(block_model_path: Path, signal_number: int) -> None:
    command = [*NODE, "--ros-args", "-p", f"model_path:={block_model_path}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        started = read_until(process, "activate: done")
        process.send_signal(signal_number)
        _, rest = process.communicate(timeout=TIMEOUT_S)

    assert "activate: done" in started
    assert "Traceback" not in rest
    assert process.returncode == 0


def test_without_its_model_the_node_waits_unconfigured_and_ends_quietly(tmp_path: Path) -> None:
    command = [*NODE, "--ros-args", "-p", f"model_path:={tmp_path / 'absent.onnx'}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        started = read_until(process, "cannot configure")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=TIMEOUT_S)

    assert "absent.onnx" in started
    assert "Traceback" not in started + rest
    assert process.returncode == 0


def test_a_letter_that_yaml_takes_for_a_truth_value_is_told_with_the_cure() -> None:
    command = [sys.executable, "-m", "instance_seg_ros.ros", "--ros-args", "-p"]
    bare = subprocess.run([*command, "grasping.closing_axis:=y"], capture_output=True, text=True, timeout=TIMEOUT_S)
    # Beside a name that there is none of, which ends the node, too, but only where the letter is taken.
    quoted = [*command, 'grasping.closing_axis:="y"', "-p", "no_such_name:=1"]
    cured = subprocess.run(quoted, capture_output=True, text=True, timeout=TIMEOUT_S)

    assert bare.returncode == cured.returncode == 1
    assert "without quotes YAML takes y, n, yes, no, on and off for true and false" in bare.stderr
    assert "there is no parameter no_such_name" in cured.stderr and "closing_axis" not in cured.stderr


@pytest.mark.parametrize("module", ["instance_seg_ros.ros", "instance_seg_ros.ros.node"])
def test_a_parameter_that_cannot_be_ends_the_node_with_its_name(module: str) -> None:
    command = [sys.executable, "-m", module, "--ros-args", "-p", "depth_camera_pose:=nowhere"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)

    assert ended.returncode == 1
    assert "depth_camera_pose must be 'x y z qx qy qz qw', not 'nowhere'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_demo_answers_every_capture_and_writes_its_files(
    captures: Path, block_model_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = subprocess.run(
        [*DEMO, "--frames-dir", str(captures), "--model", str(block_model_path), "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 frame(s) answered, 6 instance(s)" in ended.stdout
    assert cv2.imread(str(out / "overlay.png")).shape == (120, 160, 3)
    assert set(cv2.imread(str(out / "labels.png"), cv2.IMREAD_UNCHANGED).flat) == {0, 1, 2}
    assert (out / "scene.ply").read_bytes().startswith(b"ply\nformat binary_little_endian")
    document = json.loads((out / "instances.json").read_text())
    assert document["image"] == [160, 120]
    assert [instance["label"] for instance in document["instances"]] == [1, 2]


def test_the_demo_replays_a_bag(
    make_frame: Callable[..., RgbdFrame], messages_of: Any, block_model_path: Path, tmp_path: Path
) -> None:
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    bag = tmp_path / "bag"
    start_ns, period_ns = 1_700_000_000_000_000_000, 100_000_000
    with rosbag2.Writer(bag, version=9, storage_plugin=rosbag2.StoragePlugin.SQLITE3) as writer:
        typestore = get_typestore(Stores.ROS2_JAZZY)
        topics = {
            topic: writer.add_connection(topic, f"sensor_msgs/msg/{name}", typestore=typestore)
            for topic, name in (
                ("/camera/color/camera_info", "CameraInfo"),
                ("/camera/color/image_raw", "Image"),
                ("/camera/depth/image_raw", "Image"),
            )
        }
        for stamp_ns in range(start_ns, start_ns + 3 * period_ns, period_ns):
            for connection, message in zip(topics.values(), messages_of(make_frame(stamp_ns=stamp_ns)), strict=True):
                writer.write(connection, stamp_ns, serialize_message(message))

    ended = subprocess.run(
        [*DEMO, "--bag", str(bag), "--frames", "2", "--model", str(block_model_path), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 frame(s) answered, 4 instance(s)" in ended.stdout


def test_the_demo_names_the_cause_when_the_node_cannot_work(captures: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            *DEMO,
            "--frames-dir",
            str(captures),
            "--model",
            str(tmp_path / "absent.onnx"),
            "--out",
            str(tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert ended.returncode == 1
    assert "instance_seg: model: cannot read the model file" in ended.stderr


def test_the_demo_refuses_a_folder_without_captures(tmp_path: Path) -> None:
    ended = subprocess.run([*DEMO, "--frames-dir", str(tmp_path)], capture_output=True, text=True, timeout=TIMEOUT_S)

    assert (ended.returncode, "holds no capture" in ended.stderr) == (1, True)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_behind(
    block_model_path: Path, captures: Path, tmp_path: Path, signal_number: int
) -> None:
    # The model's own path marks the node, and the folder of the results the planner, among all processes.
    model = tmp_path / "model.onnx"
    model.write_bytes(block_model_path.read_bytes())
    out = tmp_path / "out"
    command = [*DEMO, "--frames-dir", str(captures), "--model", str(model), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ROS domain" in process.stdout.readline()
        process.send_signal(signal_number)
        _, errors = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 130, errors
    assert "demo: interrupted" in errors
    assert not processes_with(str(tmp_path))


def processes_with(text: str) -> list[str]:
    """The command lines that hold the text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if text in command:
            found.append(command)
    return found
