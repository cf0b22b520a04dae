"""A scene as files: `instances.json`, `labels.png`, `overlay.png` and `scene.ply`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.config import GraspingSettings
from instance_seg_ros.core.geometry import OrientedBox, Plane
from instance_seg_ros.core.status import names_of, reason_of
from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.files.captures import write_image
from instance_seg_ros.grasping.grasp import Grasp
from instance_seg_ros.grasping.robot import for_robot
from instance_seg_ros.messages.outgoing import TOOL_CENTRE_POINT
from instance_seg_ros.pipeline import Scene, SceneObject
from instance_seg_ros.results.cloud import SceneCloud, cloud_of_frame
from instance_seg_ros.results.overlay import draw_overlay

INSTANCES_FILE, LABELS_FILE, OVERLAY_FILE, CLOUD_FILE = "instances.json", "labels.png", "overlay.png", "scene.ply"

_PLY_TYPES = {"f4": "float", "u1": "uchar", "u2": "ushort"}


def write_results(scene: Scene, folder: Path, grasping: GraspingSettings = TOOL_CENTRE_POINT) -> list[Path]:
    """Writes all files of a scene into `folder`, which is made where it is missing; each appears whole or not at all.

    Args:
        grasping: names the robot's frame in which grasp poses are given.

    Returns:
        The files, `instances.json` last: where it is, the others are complete and of the same scene.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INSTANCES_FILE).unlink(missing_ok=True)  # of a scene before, whose other files are replaced one by one
    overlay_bgr = cv2.cvtColor(draw_overlay(scene), cv2.COLOR_RGB2BGR)
    write_image(folder / OVERLAY_FILE, overlay_bgr)
    write_image(folder / LABELS_FILE, scene.instances.label_image())
    write_atomically(folder / CLOUD_FILE, ply_bytes(cloud_of_frame(scene)))
    document = json.dumps(scene_document(scene, grasping), indent=1, allow_nan=False)
    write_atomically(folder / INSTANCES_FILE, (document + "\n").encode())
    return [folder / name for name in (OVERLAY_FILE, LABELS_FILE, CLOUD_FILE, INSTANCES_FILE)]


def scene_document(scene: Scene, grasping: GraspingSettings = TOOL_CENTRE_POINT) -> dict[str, Any]:
    """The scene as what `instances.json` holds: plain values, null for what is not known, in the optical frame."""
    camera = scene.frame.intrinsics
    return {
        "image": [camera.width, camera.height],
        "stamp_ns": scene.frame.stamp_ns,
        "frame_id": scene.frame.frame_id,
        "intrinsics": {key: _number(getattr(camera, key)) for key in ("fx", "fy", "cx", "cy")},
        "model": {"name": scene.model.name, "version": scene.model.version, "digest": scene.model.digest},
        "support_plane": _plane(scene.lifted.support_plane),
        "stage_times_s": {stage: round(duration_s, 6) for stage, duration_s in scene.stage_times_s.items()},
        "instances": [_instance(scene, scene_object, grasping) for scene_object in scene.objects()],
    }


def ply_bytes(cloud: SceneCloud) -> bytes:
    """The cloud as a binary little-endian PLY file: x, y, z float; red, green, blue uchar; label ushort."""
    columns: dict[str, NDArray[Any]] = {
        **{axis: cloud.points_m[:, index] for index, axis in enumerate("xyz")},
        **{channel: cloud.colors_rgb[:, index] for index, channel in enumerate(("red", "green", "blue"))},
        "label": cloud.labels,
    }
    vertices = np.empty(
        len(cloud.points_m), dtype=[(name, values.dtype.newbyteorder("<")) for name, values in columns.items()]
    )
    for name, values in columns.items():
        vertices[name] = values
    properties = [f"property {_PLY_TYPES[values.dtype.str[1:]]} {name}" for name, values in columns.items()]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment metres, camera optical frame; label 0 is background",
        f"element vertex {len(vertices)}",
        *properties,
        "end_header",
    ]
    return ("\n".join(header) + "\n").encode() + vertices.tobytes()


def _instance(scene: Scene, scene_object: SceneObject, grasping: GraspingSettings) -> dict[str, Any]:
    lifted = scene_object.lifted
    return {
        "label": scene_object.label,
        "track_id": scene_object.track_id,
        "class": scene_object.class_name,
        "score": _number(scene_object.score),
        "bbox_xyxy": _numbers(scene.instances.boxes_xyxy[scene_object.label - 1]),
        "pixels": int(np.count_nonzero(scene.instances.masks[scene_object.label - 1])),
        "points": len(lifted.points_m),
        "points_rejected": int(lifted.rejected),
        "centroid_m": _numbers(lifted.centroid_m),
        "surface_centroid_m": _numbers(lifted.surface_centroid_m),
        "completion": lifted.completion.name.lower(),
        "box": _box(lifted.box),
        "grasps": [_grasp(grasp, grasping) for grasp in scene_object.grasps],
        "status": names_of(scene_object.status),
        "reason": reason_of(scene_object.status) or None,
    }


def _box(box: OrientedBox | None) -> dict[str, Any] | None:
    if box is None:
        return None
    return {
        "center_m": _numbers(box.T_camera_box.translation_m),
        "quaternion_xyzw": _numbers(box.T_camera_box.quaternion_xyzw),
        "size_m": _numbers(box.size_m),
    }


def _grasp(grasp: Grasp, grasping: GraspingSettings) -> dict[str, Any]:
    T_camera_robot_grasp = for_robot(grasp.T_camera_grasp, grasping)
    return {
        "position_m": _numbers(T_camera_robot_grasp.translation_m),
        "quaternion_xyzw": _numbers(T_camera_robot_grasp.quaternion_xyzw),
        "width_m": _number(grasp.width_m),
        "quality": _number(grasp.quality),
        "contacts_m": [_numbers(contact_m) for contact_m in grasp.contacts_m],
        "approach_distance_m": _number(grasp.approach_distance_m),
        "lift_distance_m": _number(grasp.lift_distance_m),
        "checked_against_scene": bool(grasp.checked_against_scene),
    }


def _plane(plane: Plane | None) -> dict[str, Any] | None:
    return None if plane is None else {"normal": _numbers(plane.normal), "offset_m": _number(plane.offset_m)}


def _numbers(values: Iterable[float] | None) -> list[float] | None:
    return None if values is None else [_number(value) for value in values]


def _number(value: float) -> float:
    """Micrometres and millionths are more than any camera gives."""
    return round(float(value), 6)
