"""The Python planner of examples/ as a process of its own, over DDS."""

from __future__ import annotations

import contextlib
import itertools
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy

from instance_seg_ros.messages import outgoing
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.ros.convert import make_message

PLANNER = Path(__file__).resolve().parents[2] / "examples" / "planner.py"
TIMEOUT_S = 30.0


def test_the_python_planner_hears_scenes_and_says_what_it_would_do(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    blind = replace(make_scene(empty=True), frame=replace(scene.frame, depth_m=np.zeros_like(scene.frame.depth_m)))
    answers = [outgoing.instance_array(make_message, each) for each in (scene, blind)]
    wanted = {
        "grasp at (-0.187, -0.023, 0.750) m",
        "#6 object: no grasp: too few measured",
        "frame not used: the depth",
    }
    topic = f"/t{uuid.uuid4().hex}/instances"  # of this test alone, whatever else runs on the machine
    planner = subprocess.Popen(
        [sys.executable, str(PLANNER), "--ros-args", "--remap", f"/instance_seg/instances:={topic}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    assert planner.stdout is not None
    reader = threading.Thread(target=lambda: [lines.put(line) for line in planner.stdout or ()], daemon=True)
    reader.start()
    heard = ""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("scenes_for_the_planner", context=context)
    publisher = node.create_publisher(InstanceArray, topic, 5)
    deadline_s = time.monotonic() + TIMEOUT_S
    for answer in itertools.cycle(answers):  # in turn, until both were heard: the planner keeps the newest only
        publisher.publish(answer)
        with contextlib.suppress(queue.Empty):
            while True:
                heard += lines.get(timeout=0.1)
        if all(words in heard for words in wanted) or time.monotonic() > deadline_s:
            break
    node.destroy_node()
    rclpy.shutdown(context=context)
    planner.kill()  # how it ends is no part of this
    planner.wait(TIMEOUT_S)
    reader.join(TIMEOUT_S)
    assert all(words in heard for words in wanted), heard
