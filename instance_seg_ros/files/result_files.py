"""The results of a frame as files: `instances.json`, `labels.png`, `overlay.png`, `scene.ply`, maybe `shapes.ply`."""

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

SHAPES_FILE = "shapes.ply"
"""Only there where objects have completed shapes."""
MEASURED_RGB, ASSUMED_RGB = (60, 170, 80), (170, 170, 170)

_PLY_TYPES = {"f4": "float", "u1": "uchar", "u2": "ushort"}


def write_results(scene: Scene, folder: Path, grasping: GraspingSettings = TOOL_CENTRE_POINT) -> list[Path]:
    """Writes all files of a scene, see `write_files`; before those, the completed shapes where objects have some.

    Args:
        grasping: names the robot's frame in which grasp poses are given.
    """
    labels, shapes = scene.instances.label_image(), folder / SHAPES_FILE
    folder.mkdir(parents=True, exist_ok=True)
    shapes.unlink(missing_ok=True)
    has_shapes = any(instance.mesh is not None for instance in scene.lifted.instances)
    if has_shapes:
        write_atomically(shapes, shapes_ply_bytes(scene))
    files = write_files(folder, draw_overlay(scene), labels, cloud_of_frame(scene), scene_document(scene, grasping))
    return [shapes, *files] if has_shapes else files


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
    # That of an earlier scene, whose other files are replaced one by one.
    (folder / INSTANCES_FILE).unlink(missing_ok=True)
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
    return _ply_bytes("metres, camera optical frame; label 0 is background", columns)


def shapes_ply_bytes(scene: Scene) -> bytes:
    """The completed shapes of a scene as one binary PLY file, in the camera's optical frame.

    Each vertex has its object's label and whether it was measured (1, drawn green) or assumed (0, grey).
    """
    vertices_m, triangles, labels, measured = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.int32)], [], []
    count = 0
    for label, instance in enumerate(scene.lifted.instances, start=1):
        if instance.mesh is None or instance.box is None:
            continue
        vertices_m.append(instance.box.T_camera_box.apply(instance.mesh.vertices_m))
        triangles.append(instance.mesh.triangles.astype(np.int32) + count)
        labels += [label] * len(instance.mesh.vertices_m)
        measured.append(instance.mesh.measured)
        count += len(instance.mesh.vertices_m)
    all_m, seen = np.concatenate(vertices_m), np.concatenate([np.zeros(0, bool), *measured])
    colors = np.where(seen[:, None], MEASURED_RGB, ASSUMED_RGB).astype(np.uint8)
    columns: dict[str, NDArray[Any]] = {
        **{axis: all_m[:, index] for index, axis in enumerate("xyz")},
        **{channel: colors[:, index] for index, channel in enumerate(("red", "green", "blue"))},
        "label": np.array(labels, dtype=np.uint16),
        "measured": seen.astype(np.uint8),
    }
    faces = np.empty(sum(map(len, triangles)), dtype=[("count", "u1"), ("indices", "<i4", 3)])
    faces["count"], faces["indices"] = 3, np.concatenate(triangles)
    return _ply_bytes("metres, camera optical frame; measured 0 is assumed", columns, faces)


def _ply_bytes(comment: str, columns: dict[str, NDArray[Any]], faces: NDArray[Any] | None = None) -> bytes:
    """A binary little-endian PLY file of vertices by their properties, and of triangles."""
    vertices = np.empty(
        len(columns["x"]), dtype=[(name, values.dtype.newbyteorder("<")) for name, values in columns.items()]
    )
    for name, values in columns.items():
        vertices[name] = values
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {comment}",
        f"element vertex {len(vertices)}",
        *(f"property {_PLY_TYPES[values.dtype.str[1:]]} {name}" for name, values in columns.items()),
    ]
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    content = vertices.tobytes() + (b"" if faces is None else faces.tobytes())
    return ("\n".join([*header, "end_header"]) + "\n").encode() + content


def _plain_message(type_name: str, /, **fields: Any) -> Any:
    """A message without a library of message classes: its fields."""
    return SimpleNamespace(**fields)
