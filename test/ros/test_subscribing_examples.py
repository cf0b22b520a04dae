"""The Python subscribers of examples/ as processes of their own, over DDS."""

from __future__ import annotations

import contextlib
import itertools
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy

from instance_seg_ros.messages import outgoing
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.ros.convert import make_message

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TIMEOUT_S = 30.0


def test_the_python_planner_hears_scenes_and_says_what_it_would_do(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    blind = replace(make_scene(empty=True), frame=replace(scene.frame, depth_m=np.zeros_like(scene.frame.depth_m)))
    wanted = {
        "#5 object, seen in 12 frames: grasp at (-0.187, -0.023, 0.750) m",
        "#6 object: no grasp: too few measured",
        "frame not used: the depth",
    }
    heard = heard_from("planner.py", [outgoing.instance_array(make_message, each) for each in (scene, blind)], wanted)
    assert all(words in heard for words in wanted), heard


def test_the_consumer_of_masks_tells_where_objects_are_in_the_image(make_scene: Callable[..., Scene]) -> None:
    pytest.importorskip("cv_bridge", exc_type=ImportError)
    scene = make_scene()
    wanted = set()
    for item, mask in zip(scene.objects(), scene.instances.masks, strict=True):
        parts, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        sizes, (x, y) = ", ".join(str(len(part)) for part in parts), parts[0][0, 0]
        wanted.add(f"#{item.track_id} object: {mask.sum()} pixels, outlines of {sizes} points, the first at ({x}, {y})")
    assert len(wanted) == 2
    heard = heard_from("masks.py", [outgoing.instance_array(make_message, scene)], wanted)
    assert all(words in heard for words in wanted), heard


def heard_from(example: str, answers: Sequence[InstanceArray], wanted: set[str]) -> str:
    """What an example says while it hears answers, until it has said all that is wanted."""
    topic = f"/t{uuid.uuid4().hex}/instances"  # of this test alone, whatever else runs on the machine
    listener = subprocess.Popen(
        [sys.executable, str(EXAMPLES / example), "--ros-args", "--remap", f"/instance_seg/instances:={topic}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    assert listener.stdout is not None
    reader = threading.Thread(target=lambda: [lines.put(line) for line in listener.stdout or ()], daemon=True)
    reader.start()
    heard = ""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("scenes_for_the_example", context=context)
    publisher = node.create_publisher(InstanceArray, topic, 5)
    deadline_s = time.monotonic() + TIMEOUT_S
    for answer in itertools.cycle(answers):  # in turn, until all were heard: an example keeps the newest only
        publisher.publish(answer)
        with contextlib.suppress(queue.Empty):
            while True:
                heard += lines.get(timeout=0.1)
        if all(words in heard for words in wanted) or time.monotonic() > deadline_s:
            break
    node.destroy_node()
    rclpy.shutdown(context=context)
    listener.kill()  # how it ends is no part of this
    listener.wait(TIMEOUT_S)
    reader.join(TIMEOUT_S)
    return heard
