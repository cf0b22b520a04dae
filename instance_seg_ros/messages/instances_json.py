"""What `instances.json` holds, from an InstanceArray of any library of message classes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from instance_seg_ros.core.status import Status, names_of
from instance_seg_ros.lifting import Completion, Support
from instance_seg_ros.messages.incoming import stamp_ns_of, time_ns_of


def document_of(answer: Any) -> dict[str, Any]:
    """An InstanceArray as plain values, null for what is not known; poses are in the frame `frame_id`."""
    return {
        "image": [answer.image_width, answer.image_height],
        "stamp_ns": stamp_ns_of(answer.header),
        "frame_id": answer.header.frame_id,
        "intrinsics": {key: _number(getattr(answer, key)) for key in ("fx", "fy", "cx", "cy")},
        "model": {"name": answer.model_name, "digest": answer.model_digest},
        "support_plane": _plane(answer.support_plane) if answer.has_support_plane else None,
        "stage_times_s": {stage.name: _number(stage.duration_s) for stage in answer.stages},
        "support_surfaces": [
            {**_plane(surface.plane), "border_m": [_xyz(corner) for corner in surface.border]}
            for surface in answer.support_surfaces
        ],
        "instances": [_instance(instance) for instance in answer.instances],
        "unseen_tracks": [
            {
                "track_id": track.track_id,
                "sightings": track.sightings,
                "first_seen_ns": time_ns_of(track.first_seen),
                "last_seen_ns": time_ns_of(track.last_seen),
                "seen_empty": track.seen_empty,
            }
            for track in answer.unseen_tracks
        ],
    }


def _instance(instance: Any) -> dict[str, Any]:
    region = instance.region
    x0, y0 = region.x_offset, region.y_offset
    known = math.isfinite(instance.centroid.x)
    return {
        "label": instance.label,
        "track_id": instance.track_id,
        "sightings": instance.sightings,
        "first_seen_ns": time_ns_of(instance.first_seen),
        "class": instance.class_name,
        "score": _number(instance.score),
        "bbox_xyxy": [x0, y0, x0 + region.width, y0 + region.height],
        "amodal_xyxy": [int(value) for value in instance.amodal_xyxy],
        "occluded_by": [int(label) for label in instance.occluded_by],
        "pixels": int(np.count_nonzero(np.frombuffer(instance.mask.data, dtype=np.uint8))),
        "points": instance.points_kept,
        "points_rejected": instance.points_rejected,
        "centroid_m": _xyz(instance.centroid) if known else None,
        "centroid_covariance_m2": [_number(value, 12) for value in instance.centroid_covariance] if known else None,
        "surface_centroid_m": _xyz(instance.surface_centroid) if known else None,
        "completion": Completion(instance.completion).name.lower(),
        "support": Support(instance.support).name.lower(),
        "supported_by": instance.supported_by or None,
        "removal_order": instance.removal_order,
        "box": _box(instance.box),
        "inner_box": _box(instance.inner_box),
        "outer_box": _box(instance.outer_box),
        "grasps": [_grasp(grasp) for grasp in instance.grasps],
        "status": names_of(Status(instance.status)),
        "reason": instance.status_text or None,
    }


def _box(box: Any) -> dict[str, Any] | None:
    if not math.isfinite(box.pose.position.x):
        return None
    return {
        "center_m": _xyz(box.pose.position),
        "quaternion_xyzw": _xyzw(box.pose.orientation),
        "size_m": _xyz(box.size),
    }


def _grasp(grasp: Any) -> dict[str, Any]:
    return {
        "position_m": _xyz(grasp.pose.position),
        "quaternion_xyzw": _xyzw(grasp.pose.orientation),
        "width_m": _number(grasp.width_m),
        "opening_m": _number(grasp.opening_m),
        "quality": _number(grasp.quality),
        "contacts_m": [_xyz(contact) for contact in grasp.contacts],
        "approach_distance_m": _number(grasp.approach_distance_m),
        "lift_distance_m": _number(grasp.lift_distance_m),
        "checked_against_scene": bool(grasp.checked_against_scene),
    }


def _plane(normal_and_offset_m: Iterable[float]) -> dict[str, Any]:
    *normal, offset_m = (_number(value) for value in normal_and_offset_m)
    return {"normal": normal, "offset_m": offset_m}


def _xyz(vector: Any) -> list[float]:
    return [_number(vector.x), _number(vector.y), _number(vector.z)]


def _xyzw(quaternion: Any) -> list[float]:
    return [*_xyz(quaternion), _number(quaternion.w)]


def _number(value: float, decimals: int = 6) -> float:
    """Micrometres and millionths are more than any camera gives; of squares it takes twice the decimals."""
    return round(float(value), decimals)
