"""The Python planner of examples/ as a process of its own, over DDS."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy

from instance_seg_ros import messages
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.ros.convert import make_message

PLANNER = Path(__file__).resolve().parents[2] / "examples" / "planner.py"
TIMEOUT_S = 30.0


def test_the_python_planner_hears_scenes_and_says_what_it_would_do(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    blind = replace(make_scene(empty=True), frame=replace(scene.frame, depth_m=np.zeros_like(scene.frame.depth_m)))
    answers = [messages.instance_array(make_message, each) for each in (scene, blind)]
    wanted = {
        "grasp at (-0.187, -0.023, 0.750) m",
        "#6 object: no grasp: too few measured",
        "frame not used: the depth",
    }
    planner = subprocess.Popen(
        [sys.executable, str(PLANNER)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: queue.Queue[str] = queue.Queue()
    assert planner.stdout is not None
    reader = threading.Thread(target=lambda: [lines.put(line) for line in planner.stdout or ()], daemon=True)
    reader.start()
    heard = ""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("scenes_for_the_planner", context=context)
    publisher = node.create_publisher(InstanceArray, "/instance_seg/instances", 5)
    deadline_s = time.monotonic() + TIMEOUT_S
    while not all(words in heard for words in wanted) and time.monotonic() < deadline_s:
        for answer in answers:  # again and again: the planner keeps the newest only, and may not be there yet
            publisher.publish(answer)
        try:
            heard += lines.get(timeout=0.2)
        except queue.Empty:
            continue
    node.destroy_node()
    rclpy.shutdown(context=context)
    planner.terminate()
    planner.wait(TIMEOUT_S)
    reader.join(TIMEOUT_S)
    assert all(words in heard for words in wanted), heard
