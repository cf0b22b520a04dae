"""The results of a frame as files: `instances.json`, `labels.png`, `overlay.png` and `scene.ply`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.files.captures import write_image
from instance_seg_ros.messages.instances_json import document_of
from instance_seg_ros.messages.outgoing import TOOL_CENTRE_POINT, instance_array
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.cloud import SceneCloud, cloud_of_frame
from instance_seg_ros.results.overlay import draw_overlay

INSTANCES_FILE, LABELS_FILE, OVERLAY_FILE, CLOUD_FILE = "instances.json", "labels.png", "overlay.png", "scene.ply"

_PLY_TYPES = {"f4": "float", "u1": "uchar", "u2": "ushort"}


def write_results(scene: Scene, folder: Path, grasping: GraspingSettings = TOOL_CENTRE_POINT) -> list[Path]:
    """Writes all files of a scene, see `write_files`.

    Args:
        grasping: names the robot's frame in which grasp poses are given.
    """
    labels = scene.instances.label_image()
    return write_files(folder, draw_overlay(scene), labels, cloud_of_frame(scene), scene_document(scene, grasping))


def write_files(
    folder: Path,
    overlay_rgb: NDArray[np.uint8],
    labels: NDArray[np.uint16],
    cloud: SceneCloud,
    document: dict[str, Any],
) -> list[Path]:
    """Writes the files of one frame into `folder`, which is made where it is missing; each appears whole or not at all.

    Args:
        overlay_rgb: (H, W, 3), the scene as a picture.
        labels: (H, W), 0 = background.
        document: what `instances.json` is to hold.

    Returns:
        The files, `instances.json` last: where it is, the others are complete and of the same scene.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INSTANCES_FILE).unlink(
        missing_ok=True
    )  # that of an earlier scene, whose other files are replaced one by one
    write_image(folder / OVERLAY_FILE, cv2.cvtColor(overlay_rgb, cv2.COLOR_RGB2BGR))
    write_image(folder / LABELS_FILE, labels)
    write_atomically(folder / CLOUD_FILE, ply_bytes(cloud))
    text = json.dumps(document, indent=1, allow_nan=False)
    write_atomically(folder / INSTANCES_FILE, (text + "\n").encode())
    return [folder / name for name in (OVERLAY_FILE, LABELS_FILE, CLOUD_FILE, INSTANCES_FILE)]


def scene_document(scene: Scene, grasping: GraspingSettings = TOOL_CENTRE_POINT) -> dict[str, Any]:
    """The scene as what `instances.json` holds: what its message says, and the version of the model."""
    document = document_of(instance_array(_plain_message, scene, grasping=grasping))
    document["model"]["version"] = scene.model.version
    return document


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


def _plain_message(type_name: str, /, **fields: Any) -> Any:
    """A message without a library of message classes: its fields."""
    return SimpleNamespace(**fields)
