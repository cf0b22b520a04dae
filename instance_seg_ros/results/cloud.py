"""The coloured, labelled point cloud of a scene, for the cloud topic and the PLY file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.drawing import color_of_track

NO_COLOR_RGB = (160, 160, 160)
"""Background of a camera without colour."""


@dataclass(frozen=True, eq=False)
class SceneCloud:
    """P points in the frame's optical frame.

    Attributes:
        points_m: (P, 3) float32, metres.
        colors_rgb: (P, 3) uint8; the camera's colour, or for a camera without colour that of the instance.
        labels: (P,) uint16, the value in the label image; 0 = background.
    """

    points_m: NDArray[np.float32]
    colors_rgb: NDArray[np.uint8]
    labels: NDArray[np.uint16]


def cloud_of_objects(scene: Scene) -> SceneCloud:
    """The kept points of every instance, and nothing else."""
    lifted = scene.lifted.instances
    pixels = np.concatenate([np.zeros(0, dtype=np.int64), *(instance.pixels for instance in lifted)])
    points_m = np.concatenate([np.zeros((0, 3), dtype=np.float32), *(instance.points_m for instance in lifted)])
    counts = [len(instance.points_m) for instance in lifted]
    labels = np.repeat(np.arange(1, len(lifted) + 1, dtype=np.uint16), counts)
    return SceneCloud(points_m, _colors_rgb(scene, pixels, labels), labels)


def cloud_of_frame(scene: Scene) -> SceneCloud:
    """Every measured point of the frame; labelled where it is a kept point of an instance."""
    labels = np.zeros(scene.frame.depth_m.size, dtype=np.uint16)
    for label, instance in enumerate(scene.lifted.instances, start=1):
        labels[instance.pixels] = label
    pixels = np.flatnonzero(scene.frame.depth_m)
    points_m = scene.frame.points_m.reshape(-1, 3)[pixels]
    return SceneCloud(points_m, _colors_rgb(scene, pixels, labels[pixels]), labels[pixels])


def _colors_rgb(scene: Scene, pixels: NDArray[np.int64], labels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    if scene.frame.color_rgb is not None:
        return scene.frame.color_rgb.reshape(-1, 3)[pixels]
    palette = [NO_COLOR_RGB, *(color_of_track(track_id) for track_id in scene.track_ids)]
    return np.array(palette, dtype=np.uint8)[labels]
