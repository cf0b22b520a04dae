"""What rviz shows of a scene: a box, its axes, an id and its flags for each object, and its best grasps as grippers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import ArrayLike, NDArray
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from instance_seg_ros.core.geometry import BOX_EDGES, OrientedBox
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.pipeline import Scene, SceneObject
from instance_seg_ros.results.drawing import (
    GRASPS_SHOWN,
    OPACITY_OF_OTHERS,
    Rgb,
    color_of_tag,
    color_of_track,
    flags_of,
    gripper_corners_m,
)
from instance_seg_ros.results.overlay import tag_of

LINE_WIDTH_M = 0.0015
AXES_BEYOND_BOX_M = 0.02
"""The axes of a box end so far outside, where the cloud does not hide them."""
ID_HEIGHT_M, STATUS_HEIGHT_M = 0.015, 0.01
STATUS_LINE_M = 2 * STATUS_HEIGHT_M + 0.01
"""As far apart are two lines of a text in rviz."""
SPACE_WIDTH = 0.5
"""Width of a space over the text's height. Where scale.x is 0, rviz's spaces are as wide as those of text 1 m high."""

_RGB = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def marker_array(scene: Scene, header: Header, lifetime_s: float) -> MarkerArray:
    """All markers of a scene; the first one deletes those of the frame before, so nothing stale stays.

    Where no frame follows, as after a crash, rviz takes them away by itself after `lifetime_s`.

    Namespaces, to be switched in rviz: box, bounds (of the box, the outer one), axes, id (amber where an object is
    flagged), status (its flags), grasp (the best) and more_grasps.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for scene_object in scene.objects():
        markers += _object_markers(scene_object, header, scene.gripper)
    lifetime = Duration(seconds=lifetime_s).to_msg()
    for marker in markers[1:]:
        marker.lifetime = lifetime
    return MarkerArray(markers=markers)


def _object_markers(scene_object: SceneObject, header: Header, gripper: GripperSettings) -> Iterator[Marker]:
    box = scene_object.lifted.box
    if box is None:
        return
    color, label = _color(color_of_track(scene_object.track_id)), scene_object.label
    yield _lines(header, "box", label, _edges_m(box), [color])
    if scene_object.lifted.outer_box is not None:
        fainter = ColorRGBA(r=color.r, g=color.g, b=color.b, a=OPACITY_OF_OTHERS)
        yield _lines(header, "bounds", label, _edges_m(scene_object.lifted.outer_box), [fainter])
    yield _axes(header, label, box)
    yield from _texts(header, label, scene_object, box)
    for rank, grasp in enumerate(scene_object.grasps[:GRASPS_SHOWN]):
        shade = ColorRGBA(r=1.0 - grasp.quality, g=float(grasp.quality), b=0.1, a=OPACITY_OF_OTHERS if rank else 1.0)
        edges_m = gripper_corners_m(grasp, gripper)[:, np.array(BOX_EDGES)].reshape(-1, 3)
        yield _lines(header, "more_grasps" if rank else "grasp", label * 100 + rank, edges_m, [shade])


def _edges_m(box: OrientedBox) -> NDArray[np.float64]:
    """(24, 3) both ends of each edge."""
    return box.corners_m[np.array(BOX_EDGES)].reshape(-1, 3)


def _axes(header: Header, label: int, box: OrientedBox) -> Marker:
    origin = box.T_camera_box.translation_m
    lengths_m = np.asarray(box.size_m) / 2 + AXES_BEYOND_BOX_M
    tips = origin + box.T_camera_box.rotation.T * lengths_m[:, None]
    points = [point for tip in tips for point in (origin, tip)]
    return _lines(header, "axes", label, points, [ColorRGBA(r=r, g=g, b=b, a=1.0) for r, g, b in _RGB for _ in (0, 1)])


def _texts(header: Header, label: int, scene_object: SceneObject, box: OrientedBox) -> Iterator[Marker]:
    """The tag of an object, amber where it is flagged, and above that one line for each flag."""
    color = _color(color_of_tag(scene_object.status))
    flags = flags_of(scene_object.status)
    # Above the box as the camera sees it: y points down in the optical frame.
    above_m = box.T_camera_box.translation_m.copy()
    above_m[1] = box.corners_m[:, 1].min() - ID_HEIGHT_M
    yield _text(header, "id", label, above_m, tag_of(scene_object), ID_HEIGHT_M, color)
    if flags:
        above_m[1] -= ID_HEIGHT_M + len(flags) * STATUS_LINE_M / 2
        yield _text(header, "status", label, above_m, "\n".join(flags), STATUS_HEIGHT_M, color)


def _color(rgb: Rgb) -> ColorRGBA:
    red, green, blue = rgb
    return ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=1.0)


def _text(
    header: Header, namespace: str, label: int, middle_m: ArrayLike, text: str, height_m: float, color: ColorRGBA
) -> Marker:
    marker = Marker(header=header, ns=namespace, id=label, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    x, y, z = np.asarray(middle_m, dtype=np.float64).tolist()
    marker.pose.position = Point(x=x, y=y, z=z)
    marker.pose.orientation.w = 1.0
    marker.scale.x, marker.scale.z = SPACE_WIDTH * height_m, height_m
    marker.color = color
    marker.text = text
    return marker


def _lines(header: Header, namespace: str, marker_id: int, points_m: ArrayLike, colors: list[ColorRGBA]) -> Marker:
    """A LINE_LIST, in one colour or with a colour for each point."""
    marker = Marker(header=header, ns=namespace, id=marker_id, type=Marker.LINE_LIST, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.x = LINE_WIDTH_M
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in np.asarray(points_m, dtype=np.float64).tolist()]
    if len(colors) == 1:
        marker.color = colors[0]
    else:
        marker.colors = colors
    return marker
