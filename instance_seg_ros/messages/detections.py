"""Scenes as vision_msgs detections, for consumers that know those and not this package's messages. Imports no ROS.

They say less: no mask, no grasps, no status. `id` is the track id, `class_id` the name of the class. The header is that
of the colour image, and poses are in its frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import boxes_of_masks
from instance_seg_ros.messages.outgoing import MessageFactory, header, transform_to_pose, vector
from instance_seg_ros.pipeline import Scene, SceneObject

PACKAGE = "vision_msgs"
"""Of version 4 (ROS 2 Humble) and newer: earlier ones have other fields."""


def detections_2d(make: MessageFactory, scene: Scene) -> Any:
    """A Detection2DArray: every instance with the tight box of its mask, in pixels; pixel i covers [i, i + 1)."""
    stamped = _header(make, scene)
    detections = []
    for scene_object, box_xyxy in zip(scene.objects(), boxes_of_masks(scene.instances.masks).tolist(), strict=True):
        x0, y0, x1, y1 = box_xyxy
        position = make(f"{PACKAGE}/msg/Point2D", x=(x0 + x1) / 2, y=(y0 + y1) / 2)
        center = make(f"{PACKAGE}/msg/Pose2D", position=position, theta=0.0)
        box = make(f"{PACKAGE}/msg/BoundingBox2D", center=center, size_x=x1 - x0, size_y=y1 - y0)
        detections.append(_detection(make, "Detection2D", stamped, scene_object, box))
    return make(f"{PACKAGE}/msg/Detection2DArray", header=stamped, detections=detections)


def detections_3d(make: MessageFactory, scene: Scene) -> Any:
    """A Detection3DArray: the oriented box of every instance that has one; one without a place in space is left out."""
    stamped = _header(make, scene)
    detections = []
    for scene_object in scene.objects():
        box = scene_object.lifted.box
        if box is not None:
            pose, size_m = transform_to_pose(make, box.T_camera_box), vector(make, box.size_m)
            message = make(f"{PACKAGE}/msg/BoundingBox3D", center=pose, size=size_m)
            detections.append(_detection(make, "Detection3D", stamped, scene_object, message))
    return make(f"{PACKAGE}/msg/Detection3DArray", header=stamped, detections=detections)


def _detection(make: MessageFactory, kind: str, stamped: Any, scene_object: SceneObject, box: Any) -> Any:
    """One hypothesis, at the pose of the oriented box; at the origin, as in a pose that is not filled in, without one.

    The covariance is 0: not known.
    """
    lifted_box = scene_object.lifted.box
    pose = transform_to_pose(make, Transform.identity() if lifted_box is None else lifted_box.T_camera_box)
    hypothesis = make(
        f"{PACKAGE}/msg/ObjectHypothesis", class_id=scene_object.class_name, score=float(scene_object.score)
    )
    result = make(
        f"{PACKAGE}/msg/ObjectHypothesisWithPose",
        hypothesis=hypothesis,
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
    )
    return make(f"{PACKAGE}/msg/{kind}", header=stamped, results=[result], bbox=box, id=str(scene_object.track_id))


def _header(make: MessageFactory, scene: Scene) -> Any:
    return header(make, scene.frame.stamp_ns, scene.frame.frame_id)
