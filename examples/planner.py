"""A grasp planner's side in Python: takes the best grasp of every object. It needs this package's messages only."""

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from instance_seg_ros.msg import InstanceArray


class Planner(Node):
    """Subscribes to the instances."""

    def __init__(self) -> None:
        super().__init__("planner")
        # Depth 1: a planner wants the newest scene, not every scene.
        self.create_subscription(InstanceArray, "/instance_seg/instances", self.plan, 1)

    def plan(self, scene: InstanceArray) -> None:
        """Called once for each processed frame, also when nothing was found or the frame could not be used."""
        if scene.status != InstanceArray.STATUS_OK:
            self.get_logger().warning(f"frame not used: {scene.status_text}")
            return
        for instance in scene.instances:  # the highest score first
            name = f"#{instance.track_id} {instance.class_name}"
            if not instance.grasps:  # a valid result, with its reason
                self.get_logger().info(f"{name}: no grasp: {instance.status_text}")
                continue
            grasp = instance.grasps[0]  # the best first
            # All poses are in scene.header.frame_id, the camera's optical frame, at the time scene.header.stamp:
            # transform them with tf2. Of the grasp, +z approaches, +x closes; start approach_distance_m back along z.
            position = grasp.pose.position
            self.get_logger().info(
                f"{name}: grasp at ({position.x:.3f}, {position.y:.3f}, {position.z:.3f}) m "
                f"in {scene.header.frame_id}, opening {grasp.width_m * 100:.1f} cm, quality {grasp.quality:.2f}"
            )


def main() -> None:
    """Runs until interrupted."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Planner())
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
