"""The grasp: what this stage gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.geometry import Transform
from instance_seg_ros.lifting import Status


@dataclass(frozen=True, eq=False)
class Grasp:
    """A parallel-jaw grasp.

    Attributes:
        T_camera_grasp: pose of the tool centre point in the camera's optical frame: +z approaches the object, +x
            closes, the origin lies midway between the fingertips at contact.
        width_m: distance between the contacts along +x.
        quality: 0 (would slip or barely fits) to 1 (contacts face each other exactly, well supported).
        contacts_m: (2, 3) float64, the contact points at -x and +x, camera optical frame.
        approach_distance_m: free way along the approach, checked against the scene.
        lift_distance_m: how far to lift along the support's normal after closing.
        checked_against_scene: whether the gripper's whole way was checked against every measured point of the frame.
    """

    T_camera_grasp: Transform
    width_m: float
    quality: float
    contacts_m: NDArray[np.float64]
    approach_distance_m: float
    lift_distance_m: float
    checked_against_scene: bool


@dataclass(frozen=True, eq=False)
class InstanceGrasps:
    """The grasps of one instance, best first, and why there are none.

    Attributes:
        grasps: possibly empty.
        status: flags of this stage only (`NO_GRASP_CANDIDATE`, `NO_COLLISION_FREE_GRASP`, `GRASPING_DISABLED`).
    """

    grasps: tuple[Grasp, ...]
    status: Status
