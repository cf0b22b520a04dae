"""Scenes in the forms of other planners, encoded by the interfaces of their ROS 2 packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg

from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.grasping.robot import for_robot
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.grasp_forms import MOST_POINTS, SAMPLES, gpd_samples, graspable_objects, moveit_grasps
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Scene

MakeScene = Callable[..., Scene]
SETTINGS = GraspingSettings(closing_axis="y", tcp_to_flange_m=0.1)

FIELDS = {
    "moveit_msgs/msg/GripperTranslation": (
        "geometry_msgs/Vector3Stamped direction\nfloat32 desired_distance\nfloat32 min_distance"
    ),
    "moveit_msgs/msg/Grasp": (
        "string id\ntrajectory_msgs/JointTrajectory pre_grasp_posture\ntrajectory_msgs/JointTrajectory grasp_posture\n"
        "geometry_msgs/PoseStamped grasp_pose\nfloat64 grasp_quality\n"
        "moveit_msgs/GripperTranslation pre_grasp_approach\n"
        "moveit_msgs/GripperTranslation post_grasp_retreat\nmoveit_msgs/GripperTranslation post_place_retreat\n"
        "float32 max_contact_force\nstring[] allowed_touch_objects"
    ),
    "grasping_msgs/msg/ObjectProperty": "string name\nstring value",
    "grasping_msgs/msg/Object": (
        "std_msgs/Header header\nstring name\nstring support_surface\ngrasping_msgs/ObjectProperty[] properties\n"
        "sensor_msgs/PointCloud2 point_cluster\nshape_msgs/SolidPrimitive[] primitives\n"
        "geometry_msgs/Pose[] primitive_poses\nshape_msgs/Mesh[] meshes\ngeometry_msgs/Pose[] mesh_poses\n"
        "shape_msgs/Plane surface"
    ),
    "grasping_msgs/msg/GraspableObject": "grasping_msgs/Object object\nmoveit_msgs/Grasp[] grasps",
    "gpd_ros/msg/CloudSources": (
        "sensor_msgs/PointCloud2 cloud\nstd_msgs/Int64[] camera_source\ngeometry_msgs/Point[] view_points"
    ),
    "gpd_ros/msg/CloudSamples": "gpd_ros/CloudSources cloud_sources\ngeometry_msgs/Point[] samples",
}


@pytest.fixture(scope="module")
def make() -> outgoing.MessageFactory:
    """Makes messages that went through CDR, so that every field has been checked and encoded."""
    typestore = load_typestore()
    types: dict[str, Any] = {}
    for name, fields in FIELDS.items():
        types.update(get_types_from_msg(fields, name))
    typestore.register(types)
    factory = message_factory(typestore)

    def make(type_name: str, /, **fields: Any) -> Any:
        message = factory(type_name, **fields)
        if type_name.startswith(("std_msgs/msg/Int64", "geometry_msgs/msg/Point")):
            return message  # by the thousand; encoded with what holds them
        return typestore.deserialize_cdr(typestore.serialize_cdr(message, type_name), type_name)

    return make


def xyz(vector: Any) -> list[float]:
    return [vector.x, vector.y, vector.z]


def test_every_grasp_is_one_of_moveits(make: outgoing.MessageFactory, make_scene: MakeScene) -> None:
    scene = make_scene()
    [placed] = [each for each in scene.objects() if each.grasps]
    messages = moveit_grasps(make, scene, SETTINGS)
    assert [message.id for message in messages] == [f"{placed.track_id}/0", f"{placed.track_id}/1"]
    for message, grasp in zip(messages, placed.grasps, strict=True):
        pose = for_robot(grasp.T_camera_grasp, SETTINGS)
        assert xyz(message.grasp_pose.pose.position) == pytest.approx(pose.translation_m.tolist())
        assert message.grasp_pose.header.frame_id == scene.frame.frame_id
        assert message.grasp_quality == pytest.approx(grasp.quality)
        approach = message.pre_grasp_approach
        assert xyz(approach.direction.vector) == pytest.approx(grasp.T_camera_grasp.rotation[:, 2].tolist())
        assert approach.desired_distance == pytest.approx(grasp.approach_distance_m)
        assert 0 < approach.min_distance < approach.desired_distance
        lift = message.post_grasp_retreat
        assert lift.desired_distance == pytest.approx(grasp.lift_distance_m)
        assert xyz(lift.direction.vector) == [0, 0, -1], "away from the support, which faces the camera"
        assert (message.grasp_posture.joint_names, message.allowed_touch_objects) == ([], [])


def test_objects_have_their_box_their_points_and_their_grasps(
    make: outgoing.MessageFactory, make_scene: MakeScene
) -> None:
    scene = make_scene()
    [placed] = [each for each in scene.objects() if each.lifted.box is not None]
    [message] = graspable_objects(make, scene, SETTINGS)
    assert message.object.name == str(placed.track_id)
    assert message.object.point_cluster.width == len(placed.lifted.points_m)
    [solid], [pose] = message.object.primitives, message.object.primitive_poses
    assert (solid.type, list(solid.dimensions)) == (1, pytest.approx(placed.lifted.box.size_m.tolist()))
    assert xyz(pose.position) == pytest.approx(placed.lifted.box.T_camera_box.translation_m.tolist())
    assert {each.name: each.value for each in message.object.properties}["class"] == placed.class_name
    assert [grasp.id for grasp in message.grasps] == [f"{placed.track_id}/0", f"{placed.track_id}/1"]


def test_gpd_gets_the_whole_cloud_and_samples_on_the_objects(
    make: outgoing.MessageFactory, make_scene: MakeScene
) -> None:
    scene = make_scene()
    [placed] = [each for each in scene.objects() if each.lifted.box is not None]
    message = gpd_samples(make, scene)
    sources = message.cloud_sources
    assert np.count_nonzero(scene.frame.depth_m) / 2 <= sources.cloud.width <= MOST_POINTS
    assert len(sources.camera_source) == sources.cloud.width
    assert [xyz(place) for place in sources.view_points] == [[0, 0, 0]]
    samples_m = np.array([xyz(sample) for sample in message.samples])
    assert SAMPLES / 2 <= len(samples_m) <= SAMPLES
    assert {tuple(sample) for sample in samples_m.round(6)} <= {
        tuple(point) for point in placed.lifted.points_m.astype(float).round(6)
    }


def test_an_empty_scene_has_no_grasps(make: outgoing.MessageFactory, make_scene: MakeScene) -> None:
    scene = make_scene(empty=True)
    assert moveit_grasps(make, scene, SETTINGS) == graspable_objects(make, scene, SETTINGS) == []
    assert gpd_samples(make, scene).samples == []
