"""Markers of a scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

pytest.importorskip("rclpy")

import numpy as np
from visualization_msgs.msg import Marker

from instance_seg_ros.core.geometry import OrientedBox
from instance_seg_ros.core.status import Status
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.drawing import color_of_track
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.markers import marker_array

LIFETIME_S = 7.5


def markers_of(scene: Scene) -> list[Marker]:
    stamped = header(make_message, scene.frame.stamp_ns, scene.frame.frame_id)
    return marker_array(scene, stamped, LIFETIME_S).markers


def test_the_first_marker_deletes_those_of_the_frame_before(make_scene: Callable[..., Scene]) -> None:
    for scene in (make_scene(), make_scene(empty=True)):
        assert markers_of(scene)[0].action == Marker.DELETEALL
    assert len(markers_of(make_scene(empty=True))) == 1


def test_markers_end_by_themselves_where_no_frame_follows(make_scene: Callable[..., Scene]) -> None:
    markers = markers_of(make_scene())[1:]
    assert {(marker.lifetime.sec, marker.lifetime.nanosec) for marker in markers} == {(7, 500_000_000)}


def test_an_object_has_a_box_axes_an_id_and_its_grasps_and_one_without_3d_nothing(
    make_scene: Callable[..., Scene],
) -> None:
    markers = markers_of(make_scene())[1:]

    assert Counter(marker.ns for marker in markers) == {"box": 1, "axes": 1, "id": 1, "grasp": 1, "more_grasps": 1}
    by_namespace = {marker.ns: marker for marker in markers}
    assert len(by_namespace["box"].points) == 24
    assert len(by_namespace["grasp"].points) == 3 * 24  # the edges of two fingers and the palm
    assert by_namespace["more_grasps"].color.a < by_namespace["grasp"].color.a == 1
    assert len(by_namespace["axes"].points) == len(by_namespace["axes"].colors) == 6
    assert by_namespace["id"].text.startswith("#5 object 1.00 ")
    assert len({(marker.ns, marker.id) for marker in markers}) == len(markers)
    red, green, blue = color_of_track(5)
    assert by_namespace["box"].color.r == pytest.approx(red / 255)
    assert by_namespace["box"].color.g == pytest.approx(green / 255)
    assert by_namespace["box"].color.b == pytest.approx(blue / 255)


def test_a_flagged_object_is_told_by_its_colour_and_by_its_flags_above_that(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    plain = {marker.ns: marker for marker in markers_of(scene)}
    [placed] = [index for index, each in enumerate(scene.lifted.instances) if each.box is not None]
    instances = list(scene.lifted.instances)
    instances[placed] = replace(instances[placed], status=Status.OCCLUDED | Status.CUT_BY_IMAGE_BORDER)
    flagged = {
        marker.ns: marker
        for marker in markers_of(replace(scene, lifted=replace(scene.lifted, instances=tuple(instances))))
    }

    assert "status" not in plain
    assert flagged["status"].text.split("\n") == ["cut by image border", "occluded"]
    assert flagged["status"].pose.position.y < flagged["id"].pose.position.y == plain["id"].pose.position.y
    assert (plain["id"].color.b, flagged["id"].color.b) == pytest.approx((1.0, 0.2))


def test_the_outer_box_is_fainter_than_the_box(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    instances = tuple(
        each if each.box is None else replace(each, outer_box=OrientedBox(each.box.T_camera_box, 2 * each.box.size_m))
        for each in scene.lifted.instances
    )
    markers = {
        marker.ns: marker for marker in markers_of(replace(scene, lifted=replace(scene.lifted, instances=instances)))
    }
    box, bounds = markers["box"], markers["bounds"]
    assert bounds.color.a < box.color.a and (bounds.color.r, bounds.color.g) == (box.color.r, box.color.g)
    spans = [np.ptp([[p.x, p.y, p.z] for p in marker.points], axis=0) for marker in (box, bounds)]
    np.testing.assert_allclose(spans[1], 2 * spans[0])


def test_spaces_of_texts_have_a_width_of_their_own(make_scene: Callable[..., Scene]) -> None:
    """rviz takes scale.x for it, and where that is 0 a space of text 1 m high."""
    [text] = [marker for marker in markers_of(make_scene()) if marker.type == Marker.TEXT_VIEW_FACING]
    assert 0.3 < text.scale.x / text.scale.z < 0.8


def test_the_red_green_and_blue_line_are_x_y_and_z_of_the_box(make_scene: Callable[..., Scene]) -> None:
    rotation = np.array([[-1, -44, 68], [76, 23, 16], [-28, 64, 41]]) / 81
    [axes] = [marker for marker in markers_of(make_scene(rotation=rotation)) if marker.ns == "axes"]
    ends_m = np.array([[point.x, point.y, point.z] for point in axes.points])
    ways = ends_m[1::2] - ends_m[::2]
    np.testing.assert_allclose(ways / np.linalg.norm(ways, axis=1)[:, None], rotation.T, atol=1e-9)
    strongest = [max("rgb", key=lambda name: getattr(color, name)) for color in axes.colors]
    assert strongest == ["r", "r", "g", "g", "b", "b"]


def test_every_marker_has_the_stamp_and_frame_of_its_image(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    for marker in markers_of(scene):
        assert (marker.header.stamp.sec, marker.header.stamp.nanosec) == divmod(scene.frame.stamp_ns, 10**9)
        assert marker.header.frame_id == scene.frame.frame_id


def test_edges_of_the_drawn_box_are_its_sides(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    points = next(marker.points for marker in markers_of(scene) if marker.ns == "box")
    ends_m = np.array([(point.x, point.y, point.z) for point in points]).reshape(12, 2, 3)

    lengths_m = np.linalg.norm(ends_m[:, 1] - ends_m[:, 0], axis=1)

    box = scene.lifted.instances[0].box
    assert box is not None
    np.testing.assert_allclose(np.sort(lengths_m), np.sort(np.repeat(box.size_m, 4)), atol=1e-9)
