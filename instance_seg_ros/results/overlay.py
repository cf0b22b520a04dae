"""The picture of a scene: masks, outlines, labels, boxes and the best grasp of each object, drawn over colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import BOX_EDGES, OrientedBox
from instance_seg_ros.grasping.grasp import Grasp
from instance_seg_ros.pipeline import Scene, SceneObject
from instance_seg_ros.results.drawing import (
    AMBER,
    WHITE,
    Rgb,
    color_of_track,
    depth_picture,
    draw_outline,
    fill_mask,
    gripper_corners_m,
)

Rectangle = tuple[int, int, int, int]

BLACK: Rgb = (0, 0, 0)

_NEAR_M = 0.02
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SUBPIXEL_BITS = 4


def draw_overlay(scene: Scene) -> NDArray[np.uint8]:
    """The scene as a picture, (H, W, 3) uint8 RGB of the size of the frame.

    Each object in the colour of its track: mask, outline, oriented box, its best grasp as a gripper (white) and a label
    with track id, class, score and distance, with an amber rim where the object is flagged. A frame without colour is
    drawn over its depth.
    """
    frame = scene.frame
    canvas = depth_picture(frame.depth_m) if frame.color_rgb is None else frame.color_rgb.copy()
    objects = scene.objects()
    for mask, track_id in zip(scene.instances.masks, scene.track_ids, strict=True):
        fill_mask(canvas, mask, color_of_track(track_id))
    scale = _text_scale(frame)
    for scene_object in objects:
        color = color_of_track(scene_object.track_id)
        draw_outline(canvas, scene.instances.masks[scene_object.label - 1], color)
        if scene_object.lifted.box is not None:
            _draw_box(canvas, frame.intrinsics, scene_object.lifted.box, color)
    for scene_object in objects:
        if scene_object.grasps:
            _draw_grasp(canvas, scene, scene_object.grasps[0], color_of_track(scene_object.track_id))
    _draw_tags(canvas, scene, objects, scale)
    return canvas


def tag_of(scene_object: SceneObject) -> str:
    """The label's text: track id, class, score and distance, such as "#3 object 0.92 0.61 m"."""
    text = f"#{scene_object.track_id} {scene_object.class_name} {scene_object.score:.2f}"
    centroid_m = scene_object.lifted.centroid_m
    return text if centroid_m is None else f"{text} {np.linalg.norm(centroid_m):.2f} m"


def _text_scale(frame: RgbdFrame) -> float:
    return float(np.clip(frame.intrinsics.height / 480, 0.6, 2.0))


def _draw_box(canvas: NDArray[np.uint8], camera: Intrinsics, box: OrientedBox, color: Rgb) -> None:
    corners_m = box.corners_m
    if (corners_m[:, 2] < _NEAR_M).any():
        return  # a corner behind the camera has no place in the picture
    corners_px = camera.project(corners_m)
    for start, end in BOX_EDGES:
        _line(canvas, corners_px[start], corners_px[end], color, 1)


def _gripper_outlines_px(scene: Scene, grasp: Grasp) -> list[NDArray[np.float32]]:
    """The outlines (K, 2) of fingers and palm in the picture; a box that reaches behind the camera has none, (0, 2)."""
    return [
        cv2.convexHull(scene.frame.intrinsics.project(corners_m).astype(np.float32)).reshape(-1, 2)
        if (corners_m[:, 2] > _NEAR_M).all()
        else np.zeros((0, 2), dtype=np.float32)
        for corners_m in gripper_corners_m(grasp, scene.gripper)
    ]


def _draw_grasp(canvas: NDArray[np.uint8], scene: Scene, grasp: Grasp, color: Rgb) -> None:
    *fingers_px, palm_px = _gripper_outlines_px(scene, grasp)
    # White with a dark rim reads on light and on dark; the palm, which is large, stays thin.
    for outlines_px, strokes in (([palm_px], ((2, BLACK), (1, WHITE))), (fingers_px, ((5, BLACK), (2, WHITE)))):
        for thickness, stroke in strokes:
            for outline_px in outlines_px:
                for start, end in zip(outline_px, np.roll(outline_px, -1, axis=0), strict=True):
                    _line(canvas, start, end, stroke, thickness)
    for contact_m in grasp.contacts_m:
        if contact_m[2] > _NEAR_M:
            _dot(canvas, scene.frame.intrinsics.project(contact_m), color)


@dataclass(frozen=True)
class _Tag:
    text: str
    color: Rgb
    is_flagged: bool
    anchor_xy: tuple[float, float]


def _draw_tags(canvas: NDArray[np.uint8], scene: Scene, objects: tuple[SceneObject, ...], scale: float) -> None:
    """Tags beside their objects, each moved to the nearest free place so that no two overlap where there is room."""
    taken: list[Rectangle] = []
    for scene_object in objects:
        anchor_xy = _tag_anchor_xy(scene, scene_object)
        color = color_of_track(scene_object.track_id)
        tag = _Tag(tag_of(scene_object), color, bool(scene_object.status), anchor_xy)
        taken.append(_draw_tag(canvas, tag, scale, taken))


def _tag_anchor_xy(scene: Scene, scene_object: SceneObject) -> tuple[float, float]:
    """Middle of the object's upper edge; above the fingers of its grasp where they do not leave the picture."""
    x0, y0, x1, _ = scene.instances.boxes_xyxy[scene_object.label - 1].tolist()
    top = y0
    for grasp in scene_object.grasps[:1]:
        fingers_px = np.concatenate(_gripper_outlines_px(scene, grasp)[:2])
        top = float(fingers_px[:, 1].min(initial=top))
    return (x0 + x1) / 2, top if top > 0 else y0


def _draw_tag(canvas: NDArray[np.uint8], tag: _Tag, scale: float, taken: list[Rectangle]) -> Rectangle:
    font_scale, pad = 0.42 * scale, round(3 * scale)
    (text_width, text_height), baseline = cv2.getTextSize(tag.text, _FONT, font_scale, 1)
    size_wh = (text_width + 2 * pad, text_height + baseline + pad)
    place = _free_place(tag.anchor_xy, size_wh, (canvas.shape[1], canvas.shape[0]), taken)
    x0, y0, x1, y1 = place
    cv2.rectangle(canvas, (x0, y0), (x1, y1), tag.color, cv2.FILLED, cv2.LINE_AA)
    if tag.is_flagged:
        for inwards_px in range(pad - 1):
            _rim(canvas, place, AMBER, inwards_px)
        _rim(canvas, place, BLACK, pad - 1)  # the tag itself may be amber
    ink = BLACK if _luminance(tag.color) > 110 else WHITE
    cv2.putText(canvas, tag.text, (x0 + pad, y1 - baseline), _FONT, font_scale, ink, 1, cv2.LINE_AA)
    return place


def _rim(canvas: NDArray[np.uint8], rectangle: Rectangle, color: Rgb, inwards_px: int) -> None:
    """Draws the border of a rectangle, one pixel wide, so far inside."""
    x0, y0, x1, y1 = rectangle
    x0, y0, x1, y1 = x0 + inwards_px, y0 + inwards_px, x1 - inwards_px, y1 - inwards_px
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.int32)
    cv2.polylines(canvas, [corners], True, color)


def _free_place(
    anchor_xy: tuple[float, float], size_wh: tuple[int, int], image_wh: tuple[int, int], taken: list[Rectangle]
) -> Rectangle:
    """The rectangle of this size inside the image, above the anchor or as near to there as others leave room."""
    width, height = size_wh

    def at_row(row: int) -> Rectangle:
        x0 = int(np.clip(anchor_xy[0] - width / 2, 0, max(image_wh[0] - width - 1, 0)))
        y0 = int(np.clip(anchor_xy[1] - height - 2 + row * (height + 1), 0, max(image_wh[1] - height - 1, 0)))
        return x0, y0, x0 + width, y0 + height

    rows = sorted(range(-12, 13), key=abs)  # upwards first, then downwards, farther and farther
    candidates = [at_row(row) for row in rows]
    return next((place for place in candidates if not any(_overlap(place, other) for other in taken)), candidates[0])


def _overlap(first: Rectangle, second: Rectangle) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _luminance(color: Rgb) -> float:
    """Perceived brightness, 0 to 255 (ITU-R BT.601)."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def _line(canvas: NDArray[np.uint8], start_px: NDArray, end_px: NDArray, color: Rgb, thickness: int) -> None:
    cv2.line(canvas, _fixed_point(start_px), _fixed_point(end_px), color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dot(canvas: NDArray[np.uint8], center_px: NDArray, color: Rgb) -> None:
    radius = 3 << _SUBPIXEL_BITS
    cv2.circle(canvas, _fixed_point(center_px), radius, color, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed_point(point_px: NDArray) -> tuple[int, int]:
    """OpenCV's sub-pixel coordinates; what lies far outside is pulled near, because its integers have 32 bits."""
    x, y = np.clip(np.asarray(point_px, dtype=np.float64), -1e5, 1e5) * (1 << _SUBPIXEL_BITS)
    return round(float(x)), round(float(y))
