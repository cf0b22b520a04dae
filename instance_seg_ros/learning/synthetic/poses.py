"""Poses in a synthetic scene, whose world frame has z up."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instance_seg_ros.core.geometry import Transform, cross

FloatArray = NDArray[np.float64]


def pose(position_m: ArrayLike, rotation: FloatArray | None = None) -> Transform:
    """Pose of a frame whose origin is at a position, turned by a (3, 3) rotation (None: not turned)."""
    return Transform(np.eye(3) if rotation is None else rotation, np.asarray(position_m, dtype=np.float64))


def yaw_rotation(angle_rad: float) -> FloatArray:
    """(3, 3) rotation about z."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def direction(elevation_rad: float, azimuth_rad: float) -> FloatArray:
    """(3,) unit vector at an angle above the horizontal and an angle about +z from +x."""
    return np.array(
        [
            np.cos(azimuth_rad) * np.cos(elevation_rad),
            np.sin(azimuth_rad) * np.cos(elevation_rad),
            np.sin(elevation_rad),
        ]
    )


def camera_pose(
    eye_m: FloatArray, target_m: FloatArray, roll_rad: float = 0.0, up: FloatArray | None = None
) -> Transform:
    """`T_world_camera` of an optical frame (x right, y down, z forward) at ``eye_m`` that looks at ``target_m``.

    Args:
        eye_m: (3,) position of the camera in the world.
        target_m: (3,) point on its optical axis.
        roll_rad: turn of the camera about its axis.
        up: (3,) direction that the image's top is towards before the roll; None for +z, or +y for a camera that looks
            almost straight up or down.
    """
    forward = target_m - eye_m
    forward = forward / np.linalg.norm(forward)
    if up is None:
        up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    right = cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.column_stack([right, cross(forward, right), forward])
    return Transform(rotation @ yaw_rotation(roll_rad), eye_m)
