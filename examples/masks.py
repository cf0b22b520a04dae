"""A consumer of masks in Python: the outline of every object in the colour image, with OpenCV through cv_bridge."""

import contextlib

import cv2
import rclpy
from cv_bridge import CvBridge
from rclpy.executors import ExternalShutdownException
from rclpy.logging import get_logger

from instance_seg_ros.msg import InstanceArray

log, bridge = get_logger("masks"), CvBridge()


def outline(scene: InstanceArray) -> None:
    """Called once for each processed frame; one that could not be used has no instances."""
    for instance in scene.instances:
        mask = bridge.imgmsg_to_cv2(instance.mask, "mono8")  # 255 on the object, cropped to its region
        corner = instance.region.x_offset, instance.region.y_offset  # of the region in the colour image
        parts, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=corner)
        pixels, sizes = cv2.countNonZero(mask), ", ".join(str(len(part)) for part in parts)
        x, y = parts[0][0, 0]  # (N, 1, 2) pixels of each part that is seen
        name = f"#{instance.track_id} {instance.class_name}"
        log.info(f"{name}: {pixels} pixels, outlines of {sizes} points, the first at ({x}, {y})")


rclpy.init()
node = rclpy.create_node("masks")
node.create_subscription(InstanceArray, "/instance_seg/instances", outline, 1)  # 1: the newest scene, not every scene
with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
    rclpy.spin(node)
