"""The optional outputs, each where its package of messages is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.ros.convert import message_class


def test_detections_come_with_the_stamp_of_the_frame(stage: Any, make_frame: Callable[..., Any]) -> None:
    pytest.importorskip("vision_msgs")
    stage.probe.listen("detections_2d", message_class("vision_msgs/msg/Detection2DArray"))
    stage.probe.listen("detections_3d", message_class("vision_msgs/msg/Detection3DArray"))
    stage.wait(lambda: stage.connected(), "the listeners")
    stamp_ns = stage.send_frame(make_frame())
    instances = stage.answer_to(stamp_ns).instances
    for name in ("detections_2d", "detections_3d"):
        stage.wait(lambda name=name: stage.probe.received[name], name)
        array = stage.probe.received[name][-1]
        assert stamp_ns_of(array.header) == stamp_ns
        assert [each.id for each in array.detections] == [str(each.track_id) for each in instances]
    centre = stage.probe.received["detections_3d"][-1].detections[0].bbox.center
    assert centre == instances[0].box.pose


@pytest.fixture
def wide_stage(make_stage: Callable[..., Any]) -> Any:
    """The node with a gripper that is wide enough for the blocks."""
    stage = make_stage(gripper__max_opening_m=0.2, grasping__min_quality=0.0)
    stage.start()
    return stage


def test_grasps_come_one_by_one_in_moveits_form(wide_stage: Any, make_frame: Callable[..., Any]) -> None:
    pytest.importorskip("moveit_msgs")
    stage = wide_stage
    stage.probe.listen("moveit_grasps", message_class("moveit_msgs/msg/Grasp"))
    stage.wait(lambda: stage.connected(), "the listener")
    stamp_ns = stage.send_frame(make_frame())
    grasps = {
        f"{instance.track_id}/{rank}": grasp
        for instance in stage.answer_to(stamp_ns).instances
        for rank, grasp in enumerate(instance.grasps)
    }
    received = stage.probe.received["moveit_grasps"]
    stage.wait(lambda: len(received) >= len(grasps) > 0, "the grasps")
    assert [message.id for message in received] == list(grasps)
    for message in received:
        assert stamp_ns_of(message.grasp_pose.header) == stamp_ns
        assert message.grasp_pose.pose == grasps[message.id].pose
        assert message.grasp_quality == pytest.approx(grasps[message.id].quality)


def test_objects_come_one_by_one_with_their_grasps_in_the_form_of_grasping_msgs(
    wide_stage: Any, make_frame: Callable[..., Any]
) -> None:
    pytest.importorskip("grasping_msgs")
    stage = wide_stage
    stage.probe.listen("graspable_objects", message_class("grasping_msgs/msg/GraspableObject"))
    stage.wait(lambda: stage.connected(), "the listener")
    stamp_ns = stage.send_frame(make_frame())
    instances = stage.answer_to(stamp_ns).instances
    received = stage.probe.received["graspable_objects"]
    stage.wait(lambda: len(received) == len(instances) > 0, "the objects")
    for message, instance in zip(received, instances, strict=True):
        assert stamp_ns_of(message.object.header) == stamp_ns
        assert message.object.name == str(instance.track_id)
        assert message.object.primitive_poses[0] == instance.box.pose
        assert len(message.grasps) == len(instance.grasps) > 0


def test_gpd_gets_the_cloud_and_samples_on_the_objects(stage: Any, make_frame: Callable[..., Any]) -> None:
    pytest.importorskip("gpd_ros")
    stage.probe.listen("gpd_samples", message_class("gpd_ros/msg/CloudSamples"))
    stage.wait(lambda: stage.connected(), "the listener")
    stamp_ns = stage.send_frame(make_frame())
    instances = stage.answer_to(stamp_ns).instances
    stage.wait(lambda: stage.probe.received["gpd_samples"], "the samples")
    [message] = stage.probe.received["gpd_samples"]
    assert stamp_ns_of(message.cloud_sources.cloud.header) == stamp_ns
    assert message.cloud_sources.cloud.width > 1000
    tops_m = {round(instance.surface_centroid.z, 1) for instance in instances}
    assert {round(sample.z, 1) for sample in message.samples} == tops_m
