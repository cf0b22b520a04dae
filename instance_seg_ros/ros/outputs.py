"""The node's publishers. What takes time to draw is drawn only while somebody listens.

Forms for consumers that know other packages' messages are published where those packages are installed; nothing else
needs them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.messages import detections, grasp_forms, outgoing
from instance_seg_ros.messages.camera import camera_info
from instance_seg_ros.messages.outgoing import MessageFactory
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.overlay import draw_overlay
from instance_seg_ros.results.panoptic import panoptic_image
from instance_seg_ros.ros.convert import has_package, make_message, message_class
from instance_seg_ros.ros.inputs import Report, publisher_events
from instance_seg_ros.ros.markers import marker_array

QUEUE_DEPTH = 5


class Outputs:
    """Publishes what a scene became, under the node's name. Reliable, so that every kind of subscriber is served.

    Args:
        node: the node.
        report: called when a subscriber's QoS does not fit.
        longest_gap_s: gives the longest time between two results that is usual; markers are gone after it.
    """

    def __init__(self, node: Node, report: Report, longest_gap_s: Callable[[], float]) -> None:
        def publisher(message_type: type, topic: str) -> Publisher:
            events = publisher_events(node.resolve_topic_name(topic), report)
            return node.create_publisher(message_type, topic, QoSProfile(depth=QUEUE_DEPTH), event_callbacks=events)

        self._node = node
        self._lock = threading.Lock()  # a transition may close it in a thread beside
        self._closed = False
        self._instances = publisher(InstanceArray, "~/instances")
        self._markers = publisher(MarkerArray, "~/markers")
        self._pictures: dict[Publisher, Callable[[Scene], Any]] = {
            publisher(Image, "~/label_image"): lambda scene: outgoing.label_image(make_message, scene),
            publisher(Image, "~/panoptic_image"): lambda scene: outgoing.panoptic_image(
                make_message, scene, panoptic_image(scene)
            ),
            publisher(Image, "~/overlay"): lambda scene: outgoing.overlay_image(
                make_message, scene, draw_overlay(scene)
            ),
            publisher(CameraInfo, "~/camera_info"): _camera_info,
            publisher(PointCloud2, "~/cloud"): lambda scene: outgoing.cloud(make_message, scene),
            self._markers: lambda scene: marker_array(
                scene, outgoing.header(make_message, scene.frame.stamp_ns, scene.frame.frame_id), longest_gap_s()
            ),
        }
        self._series: dict[Publisher, Callable[[MessageFactory, Scene, GraspingSettings], Sequence[Any]]] = {
            publisher(message_class(type_name), f"~/{topic}"): make_series
            for type_name, topic, make_series in (
                (f"{grasp_forms.MOVEIT}/msg/Grasp", "moveit_grasps", grasp_forms.moveit_grasps),
                (f"{grasp_forms.GRASPING}/msg/GraspableObject", "graspable_objects", grasp_forms.graspable_objects),
            )
            if has_package(type_name.partition("/")[0])
        }
        if has_package(grasp_forms.GPD):
            samples = publisher(message_class(f"{grasp_forms.GPD}/msg/CloudSamples"), "~/gpd_samples")
            self._pictures[samples] = lambda scene: grasp_forms.gpd_samples(make_message, scene)
        if has_package(detections.PACKAGE):
            two_d, three_d = (message_class(f"{detections.PACKAGE}/msg/Detection{n}DArray") for n in (2, 3))
            self._pictures |= {
                publisher(two_d, "~/detections_2d"): lambda scene: detections.detections_2d(make_message, scene),
                publisher(three_d, "~/detections_3d"): lambda scene: detections.detections_3d(make_message, scene),
            }

    def publish_answer(self, answer: InstanceArray) -> None:
        """Publishes the instances: first, because a planner waits for them."""
        self._publish(self._instances, answer)

    def publish_pictures(self, scene: Scene, grasping: GraspingSettings) -> None:
        """Publishes all else that a scene becomes, each only while it has a subscriber.

        Args:
            grasping: names the robot's frame in which grasp poses are published.
        """
        for publisher, make_picture in self._pictures.items():
            if self._count(publisher) > 0:
                self._publish(publisher, make_picture(scene))
        for publisher, make_series in self._series.items():
            if self._count(publisher) > 0:
                for message in make_series(make_message, scene, grasping):
                    self._publish(publisher, message)

    def take_markers_away(self) -> None:
        """Empties rviz, which would go on showing what was there when the last frame came."""
        self._publish(self._markers, MarkerArray(markers=[Marker(action=Marker.DELETEALL)]))

    def subscribers(self) -> dict[str, int]:
        """How many subscribers each topic is connected to, by its full name; empty after `close`."""
        with self._lock:
            publishers = () if self._closed else (self._instances, *self._pictures, *self._series)
            return {publisher.topic_name: publisher.get_subscription_count() for publisher in publishers}

    def close(self) -> None:
        """Destroys the publishers; what is still to be published is dropped."""
        with self._lock:
            self._closed = True
            for publisher in (self._instances, *self._pictures, *self._series):
                self._node.destroy_publisher(publisher)

    def _count(self, publisher: Publisher) -> int:
        with self._lock:
            return 0 if self._closed else int(publisher.get_subscription_count())

    def _publish(self, publisher: Publisher, message: Any) -> None:
        with self._lock:
            if not self._closed:
                publisher.publish(message)


def _camera_info(scene: Scene) -> CameraInfo:
    header = outgoing.header(make_message, scene.frame.stamp_ns, scene.frame.frame_id)
    return camera_info(make_message, header, scene.frame.intrinsics)
