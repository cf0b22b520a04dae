"""From this project's grasp frame to the one that a robot's driver expects."""

from __future__ import annotations

import numpy as np

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import GraspingSettings


def for_robot(T_camera_grasp: Transform, settings: GraspingSettings) -> Transform:
    """The pose to publish: `closing_axis` closes, and the origin lies `tcp_to_flange_m` back along the approach.

    With `closing_axis` y the frame is turned by a quarter about z, so that its +y is the grasp's +x. +z approaches
    always.

    Args:
        T_camera_grasp: +z approaches, +x closes, origin midway between the fingertips.
    """
    # Columns are the published axes in the grasp's frame; for y these are x' = -y and y' = x.
    quarter = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turn = quarter if settings.closing_axis == "y" else np.eye(3)
    return T_camera_grasp @ Transform(turn, np.array([0.0, 0.0, -settings.tcp_to_flange_m]))
