"""Scenes in the forms that grasp planners know: moveit_msgs, grasping_msgs, and GPD's input. Imports no ROS.

They say less than this package's messages: no status, no opening for which the way in was checked. Poses are in the
colour camera's optical frame. Those of grasps are turned and moved by `grasping.closing_axis` and
`grasping.tcp_to_flange_m`: once these are set for it, they are poses of the end effector's parent link, as moveit_msgs
has them. The joints of a gripper are not known here: the postures are empty, for whoever executes a grasp to fill in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.grasping.grasp import Grasp
from instance_seg_ros.grasping.robot import for_robot
from instance_seg_ros.messages.outgoing import (
    MessageFactory,
    header_of,
    point,
    point_cloud,
    transform_to_pose,
    vector,
    xyz_columns,
)
from instance_seg_ros.pipeline import Scene, SceneObject
from instance_seg_ros.results.cloud import cloud_of_frame

MOVEIT, GRASPING, GPD = "moveit_msgs", "grasping_msgs", "gpd_ros"
BOX = 1
"""Of shape_msgs/SolidPrimitive."""
MOST_POINTS, SAMPLES = 50_000, 100
"""Of the cloud that GPD gets, and on each object."""
_LEAST_SHARE_OF_APPROACH = 0.5


def moveit_grasps(make: MessageFactory, scene: Scene, grasping: GraspingSettings) -> list[Any]:
    """A moveit_msgs/Grasp for every grasp of every object, whose `id` is "track id/rank"."""
    return [
        _moveit_grasp(make, scene, scene_object, rank, grasping)
        for scene_object in scene.objects()
        for rank in range(len(scene_object.grasps))
    ]


def graspable_objects(make: MessageFactory, scene: Scene, grasping: GraspingSettings) -> list[Any]:
    """A grasping_msgs/GraspableObject for every object with a place in space, whose `name` is its track id."""
    return [
        make(
            f"{GRASPING}/msg/GraspableObject",
            object=_object(make, scene, scene_object),
            grasps=[
                _moveit_grasp(make, scene, scene_object, rank, grasping) for rank in range(len(scene_object.grasps))
            ],
        )
        for scene_object in scene.objects()
        if scene_object.lifted.box is not None
    ]


def gpd_samples(make: MessageFactory, scene: Scene) -> Any:
    """A gpd_ros/CloudSamples: the thinned cloud of the whole frame, and points on the objects to look for grasps at."""
    points_m = _thinned(cloud_of_frame(scene).points_m, MOST_POINTS)
    on_objects = [_thinned(each.lifted.points_m, SAMPLES) for each in scene.objects()]
    return make(
        f"{GPD}/msg/CloudSamples",
        cloud_sources=make(
            f"{GPD}/msg/CloudSources",
            cloud=point_cloud(make, header_of(make, scene), xyz_columns(points_m)),
            camera_source=[make("std_msgs/msg/Int64", data=0)] * len(points_m),
            view_points=[point(make, np.zeros(3))],
        ),
        samples=[point(make, point_m) for points in on_objects for point_m in points],
    )


def _moveit_grasp(
    make: MessageFactory, scene: Scene, scene_object: SceneObject, rank: int, grasping: GraspingSettings
) -> Any:
    grasp = scene_object.grasps[rank]
    stamped = header_of(make, scene)
    approach = grasp.T_camera_grasp.rotation[:, 2]

    def translation(direction: ArrayLike, distance_m: float, least_m: float) -> Any:
        return make(
            f"{MOVEIT}/msg/GripperTranslation",
            direction=make("geometry_msgs/msg/Vector3Stamped", header=stamped, vector=vector(make, direction)),
            desired_distance=float(distance_m),
            min_distance=float(least_m),
        )

    least_m = _LEAST_SHARE_OF_APPROACH * grasp.approach_distance_m
    posture = make("trajectory_msgs/msg/JointTrajectory", header=stamped, joint_names=[], points=[])
    return make(
        f"{MOVEIT}/msg/Grasp",
        id=f"{scene_object.track_id}/{rank}",
        pre_grasp_posture=posture,
        grasp_posture=posture,
        grasp_pose=make(
            "geometry_msgs/msg/PoseStamped",
            header=stamped,
            pose=transform_to_pose(make, for_robot(grasp.T_camera_grasp, grasping)),
        ),
        grasp_quality=float(grasp.quality),
        pre_grasp_approach=translation(approach, grasp.approach_distance_m, least_m),
        post_grasp_retreat=translation(_up(scene, grasp), grasp.lift_distance_m, 0.0),
        post_place_retreat=translation(-approach, grasp.approach_distance_m, least_m),
        max_contact_force=0.0,
        allowed_touch_objects=[],
    )


def _up(scene: Scene, grasp: Grasp) -> Any:
    """Where an object is lifted to, as in this package's Grasp."""
    plane = scene.lifted.support_plane
    return -grasp.T_camera_grasp.rotation[:, 2] if plane is None else plane.normal


def _object(make: MessageFactory, scene: Scene, scene_object: SceneObject) -> Any:
    box = scene_object.lifted.box
    assert box is not None, "asked for placed objects only"
    facts = {"class": scene_object.class_name, "score": f"{scene_object.score:.3f}", "status": scene_object.reason}
    solid = make(
        "shape_msgs/msg/SolidPrimitive",
        type=BOX,
        dimensions=np.asarray(box.size_m, np.float64),
        polygon=make("geometry_msgs/msg/Polygon", points=[]),
    )
    return make(
        f"{GRASPING}/msg/Object",
        header=header_of(make, scene),
        name=str(scene_object.track_id),
        support_surface="",
        properties=[make(f"{GRASPING}/msg/ObjectProperty", name=name, value=value) for name, value in facts.items()],
        point_cluster=point_cloud(make, header_of(make, scene), xyz_columns(scene_object.lifted.points_m)),
        primitives=[solid],
        primitive_poses=[transform_to_pose(make, box.T_camera_box)],
        meshes=[],
        mesh_poses=[],
        surface=make("shape_msgs/msg/Plane", coef=np.zeros(4)),
    )


def _thinned(points_m: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the points, evenly."""
    return points_m[:: max(1, -(-len(points_m) // most))]
