"""Points that a person clicks in rviz ("Publish Point"): the object there is published by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages import outgoing
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.ros.inputs import Report
from instance_seg_ros.ros.requests import selected
from instance_seg_ros.ros.transforms import NoTf, Tf, TransformError
from instance_seg_ros.segmentation.prompts import Prompts
from instance_seg_ros.srv import Segment

LONGEST_WAIT_S = 5.0
"""A click that no frame was used for by then, or whose pose is not known in the camera's frame, is given up."""


@dataclass(frozen=True)
class _Click:
    point: PointStamped
    since_s: float


class Clicks:
    """Subscribes to `clicked_point` and publishes `~/selected` while the node lives; answered by the next frame.

    Args:
        node: the node.
        transforms: poses of frames in each other.
        report: takes the short name and the text of a problem.
    """

    def __init__(self, node: Node, transforms: Tf | NoTf, report: Report) -> None:
        self._node = node
        self._transforms = transforms
        self._report = report
        self._lock = threading.Lock()
        self._latest: _Click | None = None
        self._selected = node.create_publisher(InstanceArray, "~/selected", QoSProfile(depth=5))
        node.create_subscription(PointStamped, "clicked_point", self._on_click, QoSProfile(depth=5))

    def _on_click(self, message: PointStamped) -> None:
        with self._lock:
            self._latest = _Click(message, time.monotonic())

    def answer(
        self, answer: InstanceArray, scene: Scene, cut_out: Callable[[Prompts], InstanceArray] | None = None
    ) -> None:
        """Publishes what lies at the latest click, if there was one since the last call; in the worker's thread.

        An empty array, and a line in the log, says that nothing does.

        Args:
            answer, scene: of the frame.
            cut_out: asks a promptable model; None: the object is one of those in the answer.
        """
        with self._lock:
            click, self._latest = self._latest, None
        if click is None:
            return
        is_late = time.monotonic() - click.since_s > LONGEST_WAIT_S
        try:
            pixel = self._pixel(click.point, scene)
        except TransformError as error:
            if not is_late:
                with self._lock:
                    self._latest = self._latest or click
            else:
                self._report("clicked point", str(error))
            return
        except ValueError as error:
            self._report("clicked point", str(error))
            return
        if is_late:  # the node rested, or no frame could be used: something else may be there by now
            self._report("clicked point", f"no frame was used within {LONGEST_WAIT_S:g} s of the click; click again")
            return
        if cut_out is not None:
            chosen = cut_out(Prompts(points_xy=(pixel,)))
        else:
            chosen = selected(answer, Segment.Request(points=[Point(x=pixel[0], y=pixel[1])]))
        self._selected.publish(chosen)
        unanswered = chosen.status_text if chosen.status == outgoing.FRAME_INVALID_INPUT else ""
        found = ", ".join(f"#{one.track_id} {one.class_name} {one.score:.2f}" for one in chosen.instances)
        self._node.get_logger().info(
            f"clicked at pixel ({pixel[0]:.0f}, {pixel[1]:.0f}): {found or unanswered or 'no object there'}"
        )

    def _pixel(self, message: PointStamped, scene: Scene) -> tuple[float, float]:
        """Where the camera sees the point.

        Raises:
            TransformError: its pose is not known, yet or at all.
            ValueError: it is not finite, or not in front of the camera.
        """
        frame = scene.frame
        point_m = np.array([message.point.x, message.point.y, message.point.z])
        if not np.isfinite(point_m).all():
            raise ValueError(f"the clicked point is not finite: {point_m.tolist()}")
        T_camera_point = Transform.identity()
        if message.header.frame_id != frame.frame_id:
            T_camera_point = self._transforms.lookup(frame.frame_id, message.header.frame_id, frame.stamp_ns)
        in_camera_m = T_camera_point.apply(point_m[None])[0]
        if in_camera_m[2] <= 0:
            raise ValueError(f"the clicked point is behind the camera: {in_camera_m.tolist()} in {frame.frame_id}")
        x, y = frame.intrinsics.project(in_camera_m).tolist()
        return x, y
