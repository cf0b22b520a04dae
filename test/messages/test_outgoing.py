from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import OrientedBox, Plane
from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting import Completion, ObjectSupport, ShapeMesh, Support
from instance_seg_ros.lifting.support import Surface
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.incoming import time_ns_of
from instance_seg_ros.messages.types import interface_files, load_typestore, message_factory
from instance_seg_ros.pipeline import Scene

MakeScene = Callable[..., Scene]


@pytest.fixture(scope="module")
def typestore() -> Any:
    return load_typestore()


@pytest.fixture(scope="module")
def make(typestore: Any) -> outgoing.MessageFactory:
    """Makes messages that went through CDR, so that every field has been checked and encoded."""
    factory = message_factory(typestore)

    def make(type_name: str, /, **fields: Any) -> Any:
        message = factory(type_name, **fields)
        return typestore.deserialize_cdr(typestore.serialize_cdr(message, type_name), type_name)

    return make


def columns_of(cloud: Any) -> NDArray[Any]:
    """A PointCloud2 as a structured array, by its own fields."""
    types = {6: "<u4", 7: "<f4"}
    dtype = np.dtype(
        {
            "names": [field.name for field in cloud.fields],
            "formats": [types[field.datatype] for field in cloud.fields],
            "offsets": [field.offset for field in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    assert cloud.row_step == cloud.width * cloud.point_step == len(cloud.data)
    return np.frombuffer(cloud.data.tobytes(), dtype=dtype)


def test_every_interface_is_found() -> None:
    assert {file.stem for file in interface_files()} == {
        "Grasp",
        "Instance",
        "InstanceArray",
        "OrientedBox",
        "Shape",
        "StageTime",
        "SupportSurface",
        "UnseenTrack",
    }


def test_constants_of_the_interface_are_those_of_the_core(typestore: Any) -> None:
    instance = typestore.types["instance_seg_ros/msg/Instance"]
    for name, flag in Status.__members__.items():
        assert getattr(instance, f"STATUS_{name}") == flag.value
    for completion in Completion:
        assert getattr(instance, f"COMPLETION_{completion.name}") == completion.value
    array = typestore.types["instance_seg_ros/msg/InstanceArray"]
    assert array.STATUS_OK == outgoing.FRAME_OK
    assert array.STATUS_NO_DEPTH == outgoing.FRAME_NO_DEPTH
    assert array.STATUS_INVALID_INPUT == outgoing.FRAME_INVALID_INPUT


def test_the_array_carries_stamp_camera_plane_model_and_times(make: Any, make_scene: MakeScene) -> None:
    array = outgoing.instance_array(make, make_scene(), frame_age_s=0.25)
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert array.header.frame_id == "camera_color_optical_frame"
    assert (array.image_width, array.image_height) == (160, 120)
    assert (array.fx, array.fy, array.cx, array.cy) == (150, 150, 79.5, 59.5)
    assert array.has_support_plane
    assert array.support_plane.tolist() == [0, 0, -1, 0.8]
    assert (array.model_name, array.model_digest) == ("by_hand", "0" * 64)
    assert [stage.name for stage in array.stages] == ["segment", "lift", "grasp", "track"]
    assert array.stages[0].duration_s == pytest.approx(0.05)
    assert array.frame_age_s == pytest.approx(0.25)
    assert (array.status, array.status_text) == (outgoing.FRAME_OK, "")


def test_an_instance_carries_identity_mask_space_and_grasps(make: Any, make_scene: MakeScene) -> None:
    block, _ = outgoing.instance_array(make, make_scene()).instances
    assert (block.label, block.track_id, block.class_name, block.class_index, block.score) == (1, 5, "object", 0, 1.0)
    region = block.region
    assert (region.x_offset, region.y_offset, region.width, region.height) == (20, 30, 40, 50)
    assert (block.mask.width, block.mask.height, block.mask.encoding, block.mask.step) == (40, 50, "mono8", 40)
    assert (block.mask.data == 255).all()
    assert (block.points_kept, block.points_rejected) == (2000, 7)
    assert block.centroid.z == pytest.approx(0.75)
    assert block.surface_centroid.z == pytest.approx(0.7)
    assert block.completion == Completion.SUPPORT_PLANE
    assert block.covariance.reshape(3, 3)[2, 2] == pytest.approx(0, abs=1e-12)
    assert block.box.size.z == pytest.approx(0.1)
    assert (block.status, block.status_text) == (0, "")
    best, second = block.grasps
    assert (best.quality, second.quality) == (pytest.approx(0.9), pytest.approx(0.4))
    assert best.contacts[1].x - best.contacts[0].x == pytest.approx(best.width_m, abs=1e-6)
    assert (best.lift_direction.x, best.lift_direction.y, best.lift_direction.z) == (0, 0, -1)
    assert best.checked_against_scene


def test_an_instance_tells_how_often_and_since_when_it_was_seen(make: Any, make_scene: MakeScene) -> None:
    array = outgoing.instance_array(make, make_scene())
    assert [(each.track_id, each.sightings, time_ns_of(each.first_seen)) for each in array.instances] == [
        (5, 12, 1_699_999_999_000_000_001),
        (6, 1, 1_700_000_000_123_456_789),
    ]
    [unseen] = array.unseen_tracks
    assert (unseen.track_id, unseen.sightings, unseen.seen_empty) == (3, 7, 2)
    assert (time_ns_of(unseen.first_seen), time_ns_of(unseen.last_seen)) == (1_000_000_002, 3_000_000_004)


def test_what_is_no_track_was_seen_no_time(make: Any, make_scene: MakeScene) -> None:
    array = outgoing.instance_array(make, replace(make_scene(), tracks={}))
    assert [(each.sightings, time_ns_of(each.first_seen)) for each in array.instances] == [(0, 0)] * 2
    assert array.unseen_tracks == []


def test_surfaces_and_what_hides_and_carries_an_object_are_published(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene()
    block, unknown = scene.lifted.instances
    mesh = ShapeMesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.uint16), np.array([True, False, False]))
    under = replace(
        block, amodal_xyxy=(-3.2, 30.0, 70.1, 1e9), occluded_by=(1,), mesh=mesh, support=ObjectSupport(Support.PLANE)
    )
    above = replace(unknown, support=ObjectSupport(Support.INSTANCE, Plane(np.array([0.0, 0, -1]), 0.7), 0))
    surface = Surface(Plane(np.array([0.0, 0, -1]), 0.8), np.array([[0.0, 0, 0.8], [1, 0, 0.8], [0, 1, 0.8]]))
    array = outgoing.instance_array(
        make, replace(scene, lifted=replace(scene.lifted, instances=(under, above), surfaces=(surface,)))
    )
    first, second = array.instances
    assert array.support_surfaces[0].plane.tolist() == [0, 0, -1, 0.8]
    assert [(corner.x, corner.y, corner.z) for corner in array.support_surfaces[0].border] == [
        *((0, 0, 0.8), (1, 0, 0.8), (0, 1, 0.8))
    ]
    assert first.amodal_xyxy.tolist() == [-4, 30, 71, 10**6]
    assert (first.occluded_by.tolist(), second.occluded_by.tolist()) == ([2], [])
    assert (first.removal_order, second.removal_order) == (2, 1)
    assert (first.supported_by, second.supported_by) == (0, 1)
    assert [(vertex.x, vertex.y, vertex.z) for vertex in first.shape.vertices] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert (first.shape.triangles.tolist(), first.shape.measured.tolist()) == ([0, 1, 2], [True, False, False])
    assert (second.shape.vertices, len(second.shape.triangles)) == ([], 0)
    region = second.region
    expected = [region.x_offset, region.y_offset, region.x_offset + region.width, region.y_offset + region.height]
    assert second.amodal_xyxy.tolist() == expected, "where nothing is known in space"


def test_of_objects_that_seem_to_lie_on_each_other_the_message_says_that_their_order_is_a_guess(
    make: Any, make_scene: MakeScene
) -> None:
    scene = make_scene()
    block, _ = scene.lifted.instances
    ring = tuple(
        replace(block, support=ObjectSupport(Support.INSTANCE, block.support.plane, other, top_m=top_m))
        for other, top_m in ((1, 0.1), (0, 0.2))
    )
    first, second = outgoing.instance_array(
        make, replace(scene, lifted=replace(scene.lifted, instances=ring))
    ).instances
    assert (first.removal_order, second.removal_order) == (2, 1)
    assert first.status_text == "its step of removal is a guess: it seems to lie on what lies on it, too"
    assert second.status_text.endswith("; " + first.status_text), "after the reasons of its status"


def test_how_well_the_centre_is_known_is_published_and_zero_where_it_is_not(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene()
    block, unknown = scene.lifted.instances
    measured = replace(block, centroid_covariance_m2=np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]]))
    scene = replace(scene, lifted=replace(scene.lifted, instances=(measured, unknown)))
    known, none = outgoing.instance_array(make, scene).instances
    assert known.centroid_covariance.tolist() == [1, 2, 3, 2, 4, 5, 3, 5, 6]
    assert none.centroid_covariance.tolist() == [0] * 9
    assert none.covariance.tolist() == [0] * 9


def test_bounds_of_a_box_are_published_as_a_smaller_and_a_larger_one(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene()
    block, unknown = scene.lifted.instances
    pose, size_m = block.box.T_camera_box, block.box.size_m
    bounds = {name: OrientedBox(pose, times * size_m) for name, times in (("inner_box", 0.5), ("outer_box", 2.0))}
    scene = replace(scene, lifted=replace(scene.lifted, instances=(replace(block, **bounds), unknown)))
    known, none = outgoing.instance_array(make, scene).instances
    for own, times in ((known.inner_box, 0.5), (known.outer_box, 2.0)):
        assert own.pose == known.box.pose
        assert (own.size.x, own.size.y, own.size.z) == pytest.approx((times * size_m).tolist())
    for own in (none.inner_box, none.outer_box):
        assert np.isnan(own.pose.position.x)
        assert own.size == none.box.size


def test_a_region_is_one_of_the_image_as_it_was_taken(make: Any, make_scene: MakeScene) -> None:
    assert [each.region.do_rectify for each in outgoing.instance_array(make, make_scene()).instances] == [False, False]


def test_grasps_are_published_in_the_robots_frame(make: Any, make_scene: MakeScene) -> None:
    plain = outgoing.instance_array(make, make_scene()).instances[0].grasps[0].pose
    flange = outgoing.instance_array(make, make_scene(), grasping=GraspingSettings(tcp_to_flange_m=0.1))
    assert plain.position.z - flange.instances[0].grasps[0].pose.position.z == pytest.approx(0.1)


def test_without_a_plane_the_lift_goes_back_along_the_approach(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene()
    array = outgoing.instance_array(make, replace(scene, lifted=replace(scene.lifted, support_plane=None)))
    assert not array.has_support_plane
    assert array.support_plane.tolist() == [0, 0, 0, 0]
    assert array.instances[0].grasps[0].lift_direction.z == -1


def test_what_is_not_known_in_space_is_nan_and_says_why(make: Any, make_scene: MakeScene) -> None:
    _, unknown = outgoing.instance_array(make, make_scene()).instances
    assert unknown.status == Status.TOO_FEW_POINTS | Status.NO_GRASP_CANDIDATE
    assert "too few measured points" in unknown.status_text
    for position in (unknown.centroid, unknown.surface_centroid, unknown.box.pose.position):
        assert all(math.isnan(value) for value in (position.x, position.y, position.z))
    assert unknown.box.pose.orientation.w == 1
    assert unknown.box.size.x == 0
    assert unknown.grasps == []
    assert unknown.cloud.width == 0


def test_too_few_points_to_place_an_object_are_no_cloud(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene()
    block, unknown = scene.lifted.instances
    few = replace(unknown, points_m=block.points_m[:3], pixels=block.pixels[:3])
    scene = replace(scene, lifted=replace(scene.lifted, instances=(block, few)))
    _, message = outgoing.instance_array(make, scene, include_clouds=True).instances
    assert (message.points_kept, message.cloud.width) == (3, 0)


def test_clouds_are_carried_on_request(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene()
    without, _ = outgoing.instance_array(make, scene).instances
    with_cloud, _ = outgoing.instance_array(make, scene, include_clouds=True).instances
    assert (without.cloud.width, with_cloud.cloud.width) == (0, 2000)
    for cloud in (without.cloud, with_cloud.cloud):
        assert (cloud.height, cloud.is_bigendian, cloud.is_dense) == (1, False, True)
    points = columns_of(with_cloud.cloud)
    np.testing.assert_array_equal(points["z"], scene.lifted.instances[0].points_m[:, 2])


def test_a_frame_without_depth_says_so(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene(empty=True)
    blind = replace(scene, frame=replace(scene.frame, depth_m=np.zeros_like(scene.frame.depth_m)))
    array = outgoing.instance_array(make, blind)
    assert array.status == outgoing.FRAME_NO_DEPTH
    assert "no measurement" in array.status_text
    assert array.instances == []


def test_a_frame_that_could_not_be_used_is_answered_with_its_stamp(make: Any, make_scene: MakeScene) -> None:
    model = make_scene().model
    array = outgoing.invalid_instance_array(make, 5_000_000_007, "camera", model, "depth image: truncated")
    assert (array.header.stamp.sec, array.header.stamp.nanosec, array.header.frame_id) == (5, 7, "camera")
    assert (array.status, array.status_text) == (outgoing.FRAME_INVALID_INPUT, "depth image: truncated")
    assert (array.model_name, array.model_digest) == (model.name, model.digest)
    camera = [array.image_width, array.image_height, array.fx, array.fy, array.cx, array.cy]
    assert [*camera, *array.support_plane] == [0] * 10
    assert math.isnan(array.frame_age_s)
    assert (array.has_support_plane, array.instances, array.stages) == (False, [], [])


def test_the_label_image_is_mono16(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene()
    image = outgoing.label_image(make, scene)
    assert (image.encoding, image.step, image.is_bigendian) == ("mono16", 320, 0)
    labels = np.frombuffer(image.data.tobytes(), dtype="<u2").reshape(120, 160)
    assert np.array_equal(labels, scene.instances.label_image())


def test_the_overlay_is_bgr8(make: Any, make_scene: MakeScene) -> None:
    image = outgoing.overlay_image(make, make_scene(), np.full((120, 160, 3), (1, 2, 3), dtype=np.uint8))
    assert (image.encoding, image.width, image.height, image.step) == ("bgr8", 160, 120, 480)
    assert image.data[:3].tolist() == [3, 2, 1]


def test_the_cloud_has_colour_and_label_of_every_object_point(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene()
    points = columns_of(outgoing.cloud(make, scene))
    assert points.dtype.names == ("x", "y", "z", "rgb", "label")
    assert len(points) == 2000
    assert (points["label"] == 1).all()
    assert (points["rgb"].view("<u4") == (200 << 16 | 40 << 8 | 40)).all()


def test_an_empty_scene_gives_valid_empty_messages(make: Any, make_scene: MakeScene) -> None:
    scene = make_scene(empty=True)
    assert outgoing.instance_array(make, scene).instances == []
    assert outgoing.cloud(make, scene).width == 0
