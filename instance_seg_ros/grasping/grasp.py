"""The grasp: what this stage gives."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import Transform, frozen
from instance_seg_ros.core.status import Status


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
        checked_against_scene: whether the whole way was checked against the measured points of the whole frame.

    Raises:
        ValueError: for a value that is not finite or out of its range.
    """

    T_camera_grasp: Transform
    width_m: float
    quality: float
    contacts_m: NDArray[np.float64]
    approach_distance_m: float
    lift_distance_m: float
    checked_against_scene: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "contacts_m", frozen(self.contacts_m, (2, 3), "contacts_m"))
        if not 0 <= self.quality <= 1:  # True for NaN, too
            raise ValueError(f"quality must lie in [0, 1], not {self.quality}")
        lengths_m = (self.width_m, self.approach_distance_m, self.lift_distance_m)
        if not all(0 <= length_m < inf for length_m in lengths_m):
            raise ValueError(f"width_m, approach_distance_m and lift_distance_m must not be negative, not {lengths_m}")


@dataclass(frozen=True, eq=False)
class InstanceGrasps:
    """The grasps of one instance, best first, and why there are none.

    Attributes:
        grasps: possibly empty.
        status: flags of this stage only (`NO_GRASP_CANDIDATE`, `NO_COLLISION_FREE_GRASP`, `GRASPING_DISABLED`).

    Raises:
        ValueError: grasps with a reason why there are none, none without, or grasps in another order.
    """

    grasps: tuple[Grasp, ...]
    status: Status

    def __post_init__(self) -> None:
        if bool(self.grasps) is not (self.status == Status.OK):
            raise ValueError(f"{len(self.grasps)} grasps contradict the status {self.status!r}")
        qualities = [grasp.quality for grasp in self.grasps]
        if qualities != sorted(qualities, reverse=True):
            raise ValueError(f"grasps must come best first, not with the qualities {qualities}")
