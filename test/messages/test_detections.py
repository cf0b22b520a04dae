"""Detections of vision_msgs from scenes, encoded by the interface of its version 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rosbags.typesys import get_types_from_msg

from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.detections import PACKAGE, detections_2d, detections_3d
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Scene

MakeScene = Callable[..., Scene]

FIELDS = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    **{
        f"Detection{n}D": f"std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        f"vision_msgs/BoundingBox{n}D bbox\nstring id"
        for n in (2, 3)
    },
    **{f"Detection{n}DArray": f"std_msgs/Header header\nvision_msgs/Detection{n}D[] detections" for n in (2, 3)},
}


@pytest.fixture(scope="module")
def make() -> outgoing.MessageFactory:
    """Makes messages that went through CDR, so that every field has been checked and encoded."""
    typestore = load_typestore()
    types: dict[str, Any] = {}
    for name, fields in FIELDS.items():
        types.update(get_types_from_msg(fields, f"{PACKAGE}/msg/{name}"))
    typestore.register(types)
    factory = message_factory(typestore)

    def make(type_name: str, /, **fields: Any) -> Any:
        message = factory(type_name, **fields)
        return typestore.deserialize_cdr(typestore.serialize_cdr(message, type_name), type_name)

    return make


def test_every_instance_has_the_box_of_its_mask(make: outgoing.MessageFactory, make_scene: MakeScene) -> None:
    array = detections_2d(make, make_scene())
    block, unknown = array.detections
    assert (array.header.stamp.sec, array.header.frame_id) == (1_700_000_000, "camera_color_optical_frame")
    assert block.header == array.header
    centre = block.bbox.center
    assert (centre.position.x, centre.position.y, centre.theta) == (40, 55, 0)  # x 20 to 60, y 30 to 80
    assert (block.bbox.size_x, block.bbox.size_y) == (40, 50)
    assert (block.id, unknown.id) == ("5", "6")
    (result,) = block.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("object", 1.0)
    assert result.pose.pose.position.z == pytest.approx(0.75)
    (result,) = unknown.results
    assert (result.pose.pose.position.z, result.pose.pose.orientation.w) == (0, 1)


def test_every_instance_with_a_place_has_its_oriented_box(make: outgoing.MessageFactory, make_scene: MakeScene) -> None:
    scene = make_scene()
    (block,) = detections_3d(make, scene).detections
    box = scene.lifted.instances[0].box
    assert box is not None
    centre, size = block.bbox.center, block.bbox.size
    assert [centre.position.x, centre.position.y, centre.position.z] == box.T_camera_box.translation_m.tolist()
    assert [size.x, size.y, size.z] == box.size_m.tolist()
    assert block.results[0].pose.pose == centre
    assert not block.results[0].pose.covariance.any()
    assert block.id == "5"


def test_an_empty_scene_has_no_detections(make: outgoing.MessageFactory, make_scene: MakeScene) -> None:
    scene = make_scene(empty=True)
    assert detections_2d(make, scene).detections == detections_3d(make, scene).detections == []
