"""A small camera, and the depth that it measures of a plane."""

from __future__ import annotations

import numpy as np

from instance_seg_ros.core.camera import Intrinsics

CAMERA = Intrinsics(60, 40, 80.0, 90.0, 29.5, 19.5)


def depth_of_plane(normal: np.ndarray, distance_m: float) -> np.ndarray:
    """Depth (40, 60) of the plane normal . p = distance."""
    rays = np.concatenate([CAMERA.rays, np.ones((40, 60, 1), np.float32)], axis=-1)
    return (distance_m / (rays @ normal)).astype(np.float32)
