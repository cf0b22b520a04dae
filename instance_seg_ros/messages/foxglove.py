"""Scenes as Foxglove shows them: outlines and names on the image, boxes and grasps in space. Imports no ROS.

The types are those of foxglove_msgs, as far as every version of it has them (https://docs.foxglove.dev/docs/sdk/schemas).
A recording carries its types' definitions with it, so nobody needs that package installed to look at one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

from instance_seg_ros.core.geometry import BOX_EDGES, OrientedBox, Transform
from instance_seg_ros.messages.outgoing import NS_PER_S, MessageFactory, point, transform_to_pose, vector
from instance_seg_ros.pipeline import Scene, SceneObject
from instance_seg_ros.results.drawing import (
    GRASPS_SHOWN,
    OPACITY_OF_OTHERS,
    color_of_tag,
    color_of_track,
    gripper_corners_m,
)
from instance_seg_ros.results.overlay import tag_of

PACKAGE = "foxglove_msgs"

_PRIMITIVE_END = "foxglove_msgs/Color color\n"
DEFINITIONS = {
    "Color": "float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n",
    "Point2": "float64 x\nfloat64 y\n",
    "KeyValuePair": "string key\nstring value\n",
    "CircleAnnotation": (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nfloat64 diameter\nfloat64 thickness\n"
        "foxglove_msgs/Color fill_color\nfoxglove_msgs/Color outline_color\n"
    ),
    "PointsAnnotation": (
        "builtin_interfaces/Time timestamp\nuint8 UNKNOWN=0\nuint8 POINTS=1\nuint8 LINE_LOOP=2\nuint8 LINE_STRIP=3\n"
        "uint8 LINE_LIST=4\nuint8 type\nfoxglove_msgs/Point2[] points\nfoxglove_msgs/Color outline_color\n"
        "foxglove_msgs/Color[] outline_colors\nfoxglove_msgs/Color fill_color\nfloat64 thickness\n"
    ),
    "TextAnnotation": (
        "builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nstring text\nfloat64 font_size\n"
        "foxglove_msgs/Color text_color\nfoxglove_msgs/Color background_color\n"
    ),
    "ImageAnnotations": (
        "foxglove_msgs/CircleAnnotation[] circles\nfoxglove_msgs/PointsAnnotation[] points\n"
        "foxglove_msgs/TextAnnotation[] texts\n"
    ),
    "ArrowPrimitive": (
        "geometry_msgs/Pose pose\nfloat64 shaft_length\nfloat64 shaft_diameter\nfloat64 head_length\n"
        f"float64 head_diameter\n{_PRIMITIVE_END}"
    ),
    "CubePrimitive": f"geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\n{_PRIMITIVE_END}",
    "SpherePrimitive": f"geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\n{_PRIMITIVE_END}",
    "CylinderPrimitive": (
        "geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\nfloat64 bottom_scale\nfloat64 top_scale\n"
        f"{_PRIMITIVE_END}"
    ),
    "LinePrimitive": (
        "uint8 LINE_STRIP=0\nuint8 LINE_LOOP=1\nuint8 LINE_LIST=2\nuint8 type\ngeometry_msgs/Pose pose\n"
        f"float64 thickness\nbool scale_invariant\ngeometry_msgs/Point[] points\n{_PRIMITIVE_END}"
        "foxglove_msgs/Color[] colors\nuint32[] indices\n"
    ),
    "TriangleListPrimitive": (
        f"geometry_msgs/Pose pose\ngeometry_msgs/Point[] points\n{_PRIMITIVE_END}"
        "foxglove_msgs/Color[] colors\nuint32[] indices\n"
    ),
    "TextPrimitive": (
        "geometry_msgs/Pose pose\nbool billboard\nfloat64 font_size\nbool scale_invariant\n"
        f"{_PRIMITIVE_END}string text\n"
    ),
    "ModelPrimitive": (
        f"geometry_msgs/Pose pose\ngeometry_msgs/Vector3 scale\n{_PRIMITIVE_END}bool override_color\nstring url\n"
        "string media_type\nuint8[] data\n"
    ),
    "SceneEntityDeletion": (
        "builtin_interfaces/Time timestamp\nuint8 MATCHING_ID=0\nuint8 ALL=1\nuint8 type\nstring id\n"
    ),
    "SceneEntity": (
        "builtin_interfaces/Time timestamp\nstring frame_id\nstring id\nbuiltin_interfaces/Duration lifetime\n"
        "bool frame_locked\nfoxglove_msgs/KeyValuePair[] metadata\nfoxglove_msgs/ArrowPrimitive[] arrows\n"
        "foxglove_msgs/CubePrimitive[] cubes\nfoxglove_msgs/SpherePrimitive[] spheres\n"
        "foxglove_msgs/CylinderPrimitive[] cylinders\nfoxglove_msgs/LinePrimitive[] lines\n"
        "foxglove_msgs/TriangleListPrimitive[] triangles\nfoxglove_msgs/TextPrimitive[] texts\n"
        "foxglove_msgs/ModelPrimitive[] models\n"
    ),
    "SceneUpdate": ("foxglove_msgs/SceneEntityDeletion[] deletions\nfoxglove_msgs/SceneEntity[] entities\n"),
}
"""The types by their names, each after those that it holds."""

LINE_LOOP, LINE_LIST, DELETE_ALL = 2, 2, 1
"""Of PointsAnnotation, of LinePrimitive and of SceneEntityDeletion."""
OUTLINE_PX, FONT_PX = 2.0, 14.0
BOX_OPACITY = 0.25
TEXT_HEIGHT_M, LINE_WIDTH_M = 0.02, 0.0015


def image_annotations(make: MessageFactory, scene: Scene) -> Any:
    """An ImageAnnotations for `label_image`, `overlay` or the rectified image: outlines of the masks, and their names.

    Foxglove's pixels begin at the top left corner of the first one, ours in its centre.
    """
    stamp, points, texts = _stamp(make, scene), [], []
    for scene_object, mask in zip(scene.objects(), scene.instances.masks, strict=True):
        color = _color(make, color_of_track(scene_object.track_id))
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            points.append(
                make(
                    f"{PACKAGE}/msg/PointsAnnotation",
                    timestamp=stamp,
                    type=LINE_LOOP,
                    points=[_point2(make, xy) for xy in contour.reshape(-1, 2) + 0.5],
                    outline_color=color,
                    outline_colors=[],
                    fill_color=_color(make, (0, 0, 0), 0.0),
                    thickness=OUTLINE_PX,
                )
            )
        if contours:
            corner = np.vstack([contour.reshape(-1, 2) for contour in contours]).min(axis=0)
            texts.append(
                make(
                    f"{PACKAGE}/msg/TextAnnotation",
                    timestamp=stamp,
                    position=_point2(make, corner + 0.5),
                    text=tag_of(scene_object),
                    font_size=FONT_PX,
                    text_color=_color(make, (255, 255, 255)),
                    background_color=color,
                )
            )
    return make(f"{PACKAGE}/msg/ImageAnnotations", circles=[], points=points, texts=texts)


def scene_update(make: MessageFactory, scene: Scene) -> Any:
    """A SceneUpdate with an entity for each object that has a place in space, in place of those of the frame before."""
    deletion = make(f"{PACKAGE}/msg/SceneEntityDeletion", timestamp=_stamp(make, scene), type=DELETE_ALL, id="")
    entities = [
        _entity(make, scene, scene_object, scene_object.lifted.box)
        for scene_object in scene.objects()
        if scene_object.lifted.box is not None
    ]
    return make(f"{PACKAGE}/msg/SceneUpdate", deletions=[deletion], entities=entities)


def _entity(make: MessageFactory, scene: Scene, scene_object: SceneObject, box: OrientedBox) -> Any:
    rgb = color_of_track(scene_object.track_id)
    edges_m = box.corners_m[np.array(BOX_EDGES)].reshape(-1, 3)
    cube = make(
        f"{PACKAGE}/msg/CubePrimitive",
        pose=transform_to_pose(make, box.T_camera_box),
        size=vector(make, box.size_m),
        color=_color(make, rgb, BOX_OPACITY),
    )
    # Above the box as the camera sees it: y points down in the optical frame.
    above_m = box.T_camera_box.translation_m.copy()
    above_m[1] = box.corners_m[:, 1].min() - TEXT_HEIGHT_M
    text = make(
        f"{PACKAGE}/msg/TextPrimitive",
        pose=transform_to_pose(make, Transform(np.eye(3), above_m)),
        billboard=True,
        font_size=TEXT_HEIGHT_M,
        scale_invariant=False,
        color=_color(make, color_of_tag(scene_object.status)),
        text=tag_of(scene_object),
    )
    record = scene.tracks.get(scene_object.track_id)
    facts = {
        "status": scene_object.reason,
        "grasps": str(len(scene_object.grasps)),
        "sightings": "0" if record is None else str(record.sightings),
    }
    return make(
        f"{PACKAGE}/msg/SceneEntity",
        timestamp=_stamp(make, scene),
        frame_id=scene.frame.frame_id,
        id=str(scene_object.track_id),
        lifetime=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
        frame_locked=False,
        metadata=[make(f"{PACKAGE}/msg/KeyValuePair", key=key, value=value) for key, value in facts.items()],
        arrows=[],
        cubes=[cube],
        spheres=[],
        cylinders=[],
        lines=[_lines(make, edges_m, _color(make, rgb)), *_grippers(make, scene, scene_object)],
        triangles=[],
        texts=[text],
        models=[],
    )


def _grippers(make: MessageFactory, scene: Scene, scene_object: SceneObject) -> Iterator[Any]:
    """The best grasps, from red (quality 0) to green (1); all but the best are faint."""
    for rank, grasp in enumerate(scene_object.grasps[:GRASPS_SHOWN]):
        edges_m = gripper_corners_m(grasp, scene.gripper)[:, np.array(BOX_EDGES)].reshape(-1, 3)
        rgb = (round(255 * (1 - grasp.quality)), round(255 * grasp.quality), 25)
        yield _lines(make, edges_m, _color(make, rgb, OPACITY_OF_OTHERS if rank else 1.0))


def _lines(make: MessageFactory, points_m: ArrayLike, color: Any) -> Any:
    return make(
        f"{PACKAGE}/msg/LinePrimitive",
        type=LINE_LIST,
        pose=transform_to_pose(make, Transform.identity()),
        thickness=LINE_WIDTH_M,
        scale_invariant=False,
        points=[point(make, each) for each in np.asarray(points_m)],
        color=color,
        colors=[],
        indices=np.zeros(0, np.uint32),
    )


def _stamp(make: MessageFactory, scene: Scene) -> Any:
    sec, nanosec = divmod(scene.frame.stamp_ns, NS_PER_S)
    return make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)


def _color(make: MessageFactory, rgb: tuple[int, int, int], opacity: float = 1.0) -> Any:
    red, green, blue = (value / 255 for value in rgb)
    return make(f"{PACKAGE}/msg/Color", r=red, g=green, b=blue, a=opacity)


def _point2(make: MessageFactory, xy: ArrayLike) -> Any:
    x, y = np.asarray(xy, np.float64).tolist()
    return make(f"{PACKAGE}/msg/Point2", x=x, y=y)
