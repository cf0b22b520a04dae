"""Level planes and boxes full of points before a camera that looks straight ahead."""

from __future__ import annotations

import numpy as np

from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.lifting.background_planes import (
    Level,
)
from instance_seg_ros.lifting.bodies import Body

TOLERANCE_M = 0.008
UP_BASIS = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Columns: to the right of the image, away from the camera, and up in the image."""


def level(
    height_m: float, sigma_m: float = 0.001, tilt_deg: float = 0.0, x_m: tuple[float, float] = (-0.3, 0.3)
) -> Level:
    """A level plane so high over the point 1 m in front of the camera and 0.5 m below it."""
    tilt = np.radians(tilt_deg)
    normal = np.array([np.sin(tilt), -np.cos(tilt), 0.0])
    plane = Plane(normal, -float(normal @ [0, 0.5 - height_m, 1]))
    flat_m = np.stack(np.meshgrid(np.linspace(*x_m, 25), np.linspace(0.8, 1.2, 20)), axis=-1).reshape(-1, 2)
    y_m = (-plane.offset_m - normal[0] * flat_m[:, 0] - normal[2] * flat_m[:, 1]) / normal[1]
    return Level(plane, np.column_stack([flat_m[:, 0], y_m, flat_m[:, 1]]).astype(np.float32), sigma_m)


def body(low_m: tuple[float, float, float], high_m: tuple[float, float, float]) -> Body:
    """A box full of points, from its least to its largest x, depth and height over the point of `level`."""
    grids = np.meshgrid(*(np.linspace(low, high, 9) for low, high in zip(low_m, high_m, strict=True)))
    x_m, z_m, height_m = (grid.reshape(-1) for grid in grids)
    return Body.of_points(np.stack([x_m, 0.5 - height_m, z_m], axis=1).astype(np.float32), UP_BASIS, 0.016)
