"""A scene as a panoptic label image: each pixel is a thing, by its label, or stuff, told by the model or the depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import NO_STUFF
from instance_seg_ros.lifting.background_planes import dominant_plane
from instance_seg_ros.lifting.support import Support
from instance_seg_ros.pipeline import Scene

STUFF_OF_MODEL = 32_768
"""Stuff that a panoptic model found: this and more, by the class index."""
SUPPORT, WALL_OR_FLOOR, BACKGROUND = 65_533, 65_534, 65_535
"""Stuff by the depth: what objects stand on; another large plane; all else, and what has no depth.

Things have labels from 1.
"""

_TOLERANCE_M, _TOLERANCE_RATIO = 0.008, 0.008
"""How far a pixel of a plane may lie off it: so much, and this share of its depth besides."""
_MIN_PLANE_SHARE = 0.05
"""Of the image's pixels: smaller planes are no walls."""
_MAX_PLANES = 4
_STEP_PX = 4


def panoptic_image(scene: Scene) -> NDArray[np.uint16]:
    """(H, W) uint16: the label of the instance, as in the label image, or stuff.

    Stuff is STUFF_OF_MODEL and the class index where a panoptic model found some, elsewhere SUPPORT, WALL_OR_FLOOR or
    BACKGROUND.

    Supports are the planes that objects stand on, by lifting; walls and floors are those that it found parallel to
    them, and others that are looked for among what is left, by RANSAC.
    """
    points_m, depth_m = scene.frame.points_m, scene.frame.depth_m
    labels = scene.instances.label_image()
    stuff = scene.instances.stuff
    if stuff is not None:
        np.copyto(labels, (STUFF_OF_MODEL + stuff).astype(np.uint16), where=stuff != NO_STUFF)
    free = (labels == 0) & (depth_m > 0)
    labels[labels == 0] = BACKGROUND
    tolerance_m = _TOLERANCE_M + _TOLERANCE_RATIO * depth_m
    supports = [instance.support for instance in scene.lifted.instances]
    planes = [scene.lifted.support_plane, *(support.plane for support in supports if support.kind == Support.PLANE)]
    nearest_m = np.where(free, tolerance_m, 0)
    for surface in scene.lifted.surfaces:  # such as the floor beside a table
        _claim(labels, nearest_m, surface.plane, points_m, WALL_OR_FLOOR)
    for plane in planes:
        if plane is not None:
            _claim(labels, nearest_m, plane, points_m, SUPPORT)
    for _ in range(_MAX_PLANES):
        left = free & (labels == BACKGROUND)
        left_m = points_m[::_STEP_PX, ::_STEP_PX][left[::_STEP_PX, ::_STEP_PX]]
        least = _MIN_PLANE_SHARE * labels.size
        if len(left_m) * _STEP_PX**2 < least:
            break
        plane, _ = dominant_plane(left_m, float(np.median(tolerance_m[left])))
        if np.count_nonzero(left & (np.abs(plane.height_m(points_m)) < tolerance_m)) < least:
            break
        _claim(labels, nearest_m, plane, points_m, WALL_OR_FLOOR)
    return labels


def _claim(
    labels: NDArray[np.uint16],
    nearest_m: NDArray[np.floating],
    plane: Plane,
    points_m: NDArray[np.float32],
    value: int,
) -> None:
    """Gives the pixels that lie no farther from the plane than `nearest_m` (H, W) the value, in place."""
    distance_m = np.abs(plane.height_m(points_m))
    nearer = distance_m <= nearest_m
    nearer &= nearest_m > 0
    labels[nearer] = value
    nearest_m[nearer] = distance_m[nearer]
