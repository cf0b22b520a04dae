"""What a scene is made of, and poses in it.

The world frame has z up and its origin at the middle of the support's surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, Vector
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance

FloatArray = npt.NDArray[np.float64]

SUPPORTS = ("table", "small_table", "desk", "floor", "tote", "shelf")


@dataclass(frozen=True)
class Placed:
    """A shape in the world. ``instance_id`` 0 is background; ``T_world_shape`` is (4, 4)."""

    shape: ObjectShape
    T_world_shape: FloatArray
    instance_id: int
    appearance: Appearance


@dataclass(frozen=True)
class Support:
    """What objects rest on and what stands around it, all of it background.

    Attributes:
        kind: one of :data:`SUPPORTS`.
        solid: parts that objects collide with.
        surroundings: parts that are only seen.
        half_wh_m: half extents in x and y of the area where objects are put.
        open_yaw: directions (low, high) in radians from which a camera may look, about +z from +x.
    """

    kind: str
    solid: tuple[Placed, ...]
    surroundings: tuple[Placed, ...]
    half_wh_m: tuple[float, float]
    open_yaw: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """A support with objects at rest; instance ids are 1.. in no order, with gaps where objects were removed."""

    support: Support
    objects: tuple[Placed, ...]

    def placed(self) -> tuple[Placed, ...]:
        """Everything that can be seen."""
        return (*self.support.solid, *self.support.surroundings, *self.objects)


@dataclass(frozen=True)
class View:
    """A camera: pinhole parameters (fx, fy, cx, cy) of its image and its (4, 4) pose in the world."""

    intrinsics_fxfycxcy: tuple[float, float, float, float]
    T_world_camera: FloatArray


def pose(position_m: Vector, rotation: FloatArray | None = None) -> FloatArray:
    """(4, 4) pose from a position and a (3, 3) rotation (identity when None)."""
    T = np.eye(4)
    T[:3, 3] = position_m
    if rotation is not None:
        T[:3, :3] = rotation
    return T


def yaw_rotation(angle: float) -> FloatArray:
    """(3, 3) rotation about z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def look_at(eye_m: FloatArray, target_m: FloatArray, roll: float = 0.0) -> FloatArray:
    """(4, 4) pose of an optical frame (x right, y down, z forward) at ``eye_m`` looking at ``target_m``.

    ``roll`` turns the camera about its axis, in radians. Looking straight down, the image's top is towards world +y.
    """
    forward = target_m - eye_m
    forward = forward / np.linalg.norm(forward)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.column_stack([right, np.cross(forward, right), forward])
    return pose(eye_m, rotation @ yaw_rotation(roll))
