"""A grasp planner's side in Python: takes the best grasp of every object. It needs this package's messages only."""

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.logging import get_logger

from instance_seg_ros.msg import InstanceArray

log = get_logger("planner")


def plan(scene: InstanceArray) -> None:
    """Called once for each processed frame, also when nothing was found or the frame could not be used."""
    if scene.status != InstanceArray.STATUS_OK:
        log.warning(f"frame not used: {scene.status_text}")
        return
    for instance in scene.instances:  # the highest score first
        name = f"#{instance.track_id} {instance.class_name}"
        if not instance.grasps:  # a valid result, with its reason
            log.info(f"{name}: no grasp: {instance.status_text}")
            continue
        grasp, frame = instance.grasps[0], scene.header.frame_id  # the best first; +z approaches, +x closes
        at = grasp.pose.position  # in that frame at scene.header.stamp: transform it with tf2
        where = f"({at.x:.3f}, {at.y:.3f}, {at.z:.3f}) m in {frame}"
        log.info(f"{name}, seen in {instance.sightings} frames: grasp at {where}, quality {grasp.quality:.2f}")


rclpy.init()
node = rclpy.create_node("planner")
node.create_subscription(InstanceArray, "/instance_seg/instances", plan, 1)  # 1: the newest scene, not every scene
with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
    rclpy.spin(node)
