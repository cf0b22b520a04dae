"""A consumer like a grasp planner: subscribes, takes each object's best grasp, prints a table for each frame.

    python -m instance_seg_ros.demo.planner_example [--count N] [--out DIR]

For a planner of your own, `on_answer` is the part to read. With --out the latest frame with an instance is written at
the end: overlay.png and labels.png as they came over the topics, instances.json, scene.ply from the camera's images.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from tabulate import tabulate

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.status import Status, names_of
from instance_seg_ros.demo.processes import run_node, wait_until
from instance_seg_ros.files.result_files import (
    CLOUD_FILE,
    INSTANCES_FILE,
    LABELS_FILE,
    OVERLAY_FILE,
    write_files,
)
from instance_seg_ros.messages.incoming import color_of, depth_m_of, stamp_ns_of
from instance_seg_ros.messages.instances_json import document_of
from instance_seg_ros.msg import Instance, InstanceArray
from instance_seg_ros.results.cloud import SceneCloud

NODE_NAME = "planner_example"
QUEUE_DEPTH = 10
FRAMES_KEPT = 20
AGES_KEPT = 1000
PICTURES_TIMEOUT_S = 5.0

HEADERS = ("id", "class", "score", "distance", "size (cm)", "best grasp", "status")


@dataclass
class ReceivedFrame:
    """Everything that came with one stamp."""

    answer: InstanceArray | None = None
    images: dict[str, Image] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the answer and all images are there."""
        return self.answer is not None and self.images.keys() == IMAGE_TOPICS.keys()

    @property
    def refused(self) -> bool:
        """Whether the node could not use the frame; no pictures come then."""
        return self.answer is not None and self.answer.status == InstanceArray.STATUS_INVALID_INPUT


IMAGE_TOPICS = {
    "overlay": "instance_seg/overlay",
    "labels": "instance_seg/label_image",
    "color": "camera/color/image_raw",
    "depth": "camera/depth/image_raw",
}


class PlannerExample(Node):
    """Prints each answer and remembers what the summary and the files need.

    Attributes:
        answers: how many came.
        instances: how many instances they carried, over all frames.
        grasps: how many instances had a grasp.
        ages_s: ages of the latest frames when their answers were published.
        failure: why the segmentation node cannot work, from its diagnostics; None while it can.
    """

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        qos = QoSProfile(depth=QUEUE_DEPTH)
        self.answers = 0
        self.instances = 0
        self.grasps = 0
        self.ages_s: deque[float] = deque(maxlen=AGES_KEPT)
        self.failure: str | None = None
        self.first_s = self.last_s = 0.0
        self._frames: OrderedDict[int, ReceivedFrame] = OrderedDict()
        self._to_write: ReceivedFrame | None = None
        self._segmentation_node = self.resolve_topic_name("instance_seg")
        self.create_subscription(InstanceArray, "instance_seg/instances", self.on_answer, qos)
        for name, topic in IMAGE_TOPICS.items():
            self.create_subscription(Image, topic, lambda image, name=name: self._on_image(name, image), qos)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos)

    def on_answer(self, answer: InstanceArray) -> None:
        """One frame: every object, best score first, each with its grasps, the best first."""
        self.last_s = time.monotonic()
        self.first_s = self.first_s or self.last_s
        self.answers += 1
        self.instances += len(answer.instances)
        self.grasps += sum(bool(instance.grasps) for instance in answer.instances)
        self.ages_s.append(answer.frame_age_s)
        print(table_of(answer, self.answers), flush=True)
        self._frame(answer.header).answer = answer

    def frame_to_write(self) -> ReceivedFrame | None:
        """The latest complete frame with an instance."""
        return self._to_write

    def latest_is_complete(self) -> bool:
        """Whether the images of the latest answer have also come."""
        answered = [frame for frame in self._frames.values() if frame.answer is not None]
        return bool(answered) and (answered[-1].complete or answered[-1].refused)

    def _on_image(self, name: str, image: Image) -> None:
        self._frame(image.header).images[name] = image
        self._remember()

    def _frame(self, header: Any) -> ReceivedFrame:
        frame = self._frames.setdefault(stamp_ns_of(header), ReceivedFrame())
        while len(self._frames) > FRAMES_KEPT:
            self._frames.popitem(last=False)
        return frame

    def _remember(self) -> None:
        for frame in self._frames.values():
            if frame.complete and frame.answer is not None and frame.answer.instances:
                self._to_write = frame

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        self.failure = failure_of(array, self._segmentation_node) or self.failure


def failure_of(array: DiagnosticArray, node: str) -> str | None:
    """Why a node, by its full name, cannot work; None where it can. Others on the robot write there, too."""
    failed = [each for each in array.status if each.level == DiagnosticStatus.ERROR and each.hardware_id == node]
    return f"{failed[0].name}: {failed[0].message}" if failed else None


def table_of(answer: InstanceArray, number: int) -> str:
    """The table of one answer with its headline."""
    stamp = answer.header.stamp
    headline = (
        f"frame {number}, stamp {stamp.sec}.{stamp.nanosec:09d}: {len(answer.instances)} instance(s), "
        f"age {answer.frame_age_s * 1e3:.0f} ms"
    )
    stages = ", ".join(f"{stage.name} {stage.duration_s * 1e3:.0f}" for stage in answer.stages)
    if stages:
        headline += f" ({stages} ms)"
    if answer.status_text:
        headline += f": {answer.status_text}"
    if not answer.instances:
        return f"\n{headline}"
    rows = [_row(instance) for instance in answer.instances]
    # Text as it is: a column like "1.0 m" is no number to be reformatted.
    table = tabulate(rows, headers=HEADERS, tablefmt="simple", disable_numparse=True)
    return f"\n{headline}\n{table}"


def _row(instance: Instance) -> tuple[str, ...]:
    centroid, size = instance.centroid, instance.box.size
    distance_m = math.sqrt(centroid.x**2 + centroid.y**2 + centroid.z**2)
    known = math.isfinite(distance_m)
    grasp = instance.grasps[0] if instance.grasps else None
    return (
        str(instance.track_id),
        instance.class_name,
        f"{instance.score:.2f}",
        f"{distance_m:.2f} m" if known else "unknown",
        " x ".join(f"{side * 100:.1f}" for side in (size.x, size.y, size.z)) if known else "unknown",
        f"quality {grasp.quality:.2f}, width {grasp.width_m * 100:.1f} cm" if grasp is not None else "none",
        ", ".join(names_of(Status(instance.status))) or "ok",
    )


def write_frame(frame: ReceivedFrame, folder: Path) -> None:
    """Writes overlay.png, labels.png, scene.ply and instances.json of a complete frame."""
    if frame.answer is None:
        raise ValueError("a frame without an answer cannot be written")
    labels = label_image_of(frame.images["labels"])
    overlay_rgb = color_of(frame.images["overlay"])
    write_files(folder, overlay_rgb, labels, _cloud_of(frame, labels), document_of(frame.answer))


def label_image_of(image: Image) -> np.ndarray:
    """(H, W) uint16 from the node's mono16 label image."""
    dtype = np.dtype(">u2" if image.is_bigendian else "<u2")
    rows = np.frombuffer(image.data, dtype=dtype).reshape(image.height, image.step // 2)
    return rows[:, : image.width].astype(np.uint16)


def _cloud_of(frame: ReceivedFrame, labels: np.ndarray) -> SceneCloud:
    answer = frame.answer
    assert answer is not None
    camera = Intrinsics(answer.image_width, answer.image_height, answer.fx, answer.fy, answer.cx, answer.cy)
    depth_m = depth_m_of(frame.images["depth"])
    measured = depth_m > 0
    points_m = camera.back_project(depth_m)[measured]
    return SceneCloud(points_m, color_of(frame.images["color"])[measured], labels[measured])


def parse(args: list[str]) -> argparse.Namespace:
    """The command line without ROS's own arguments."""
    parser = argparse.ArgumentParser(
        description="Prints the objects and grasps of each frame, as a planner reads them."
    )
    parser.add_argument("--count", type=int, help="end after this many answers (default: never)")
    parser.add_argument("--out", type=Path, help="folder for the pictures, the cloud and the instances of a frame")
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="end with an error after this many seconds of silence"
    )
    return parser.parse_args(args)


def summary_of(node: PlannerExample, out: Path | None) -> str:
    """The last lines: answers, objects, ages, rate and where the files are."""
    duration_s = node.last_s - node.first_s
    rate = f", {(node.answers - 1) / duration_s:.1f} frames/s" if node.answers > 1 and duration_s > 0 else ""
    age = f", median age {statistics.median(node.ages_s) * 1e3:.0f} ms" if node.ages_s else ""
    where = (
        f"\nwritten to {out}: {OVERLAY_FILE}, {LABELS_FILE}, {INSTANCES_FILE} (with each status in words), {CLOUD_FILE}"
        if out is not None
        else ""
    )
    counts = f"{node.answers} frame(s) answered, {node.instances} instance(s), {node.grasps} with a grasp"
    return f"\n{counts}{age}{rate}{where}"


def main(args: list[str] | None = None) -> int:
    """Prints answers until the count is reached or a signal comes.

    Returns:
        0, or 1 when no answers come, no instance arrived, or the segmentation node cannot work.
    """
    return run_node(args, parse, lambda options: PlannerExample(), _run)


def _run(node: PlannerExample, executor: SingleThreadedExecutor, options: argparse.Namespace) -> int:
    while options.count is None or node.answers < options.count:
        before = node.answers
        if not wait_until(lambda: node.answers > before or node.failure is not None, executor, options.timeout):  # noqa: B023
            print(f"no answer within {options.timeout:g} s after {node.answers} frame(s)", file=sys.stderr)
            return 1
        if node.failure is not None:
            print(node.failure, file=sys.stderr)
            return 1
    if node.instances == 0:
        print(summary_of(node, None), flush=True)
        print("no instance arrived", file=sys.stderr)
        return 1
    out = options.out
    if out is not None:
        wait_until(node.latest_is_complete, executor, PICTURES_TIMEOUT_S)
        frame = node.frame_to_write()
        if frame is None:
            print(f"the images of no frame with an instance came within {PICTURES_TIMEOUT_S:g} s", file=sys.stderr)
            return 1
        write_frame(frame, out)
    print(summary_of(node, out), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
