"""The grasp: what this stage gives."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
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
        opening_m: between the fingers on the way in, for which that way was checked; at least `width_m`.
        quality: how likely it holds, 0 to 1.
        contacts_m: (2, 3) float64, the contact points at -x and +x, camera optical frame.
        approach_distance_m: free way along the approach, checked against the scene.
        lift_distance_m: how far to lift along the support's normal after closing.
        checked_against_scene: whether the whole way was checked against the measured points of the whole frame.
        marks: what the quality was computed from, in the order of `quality.MARKS`; empty for a grasp of another origin.

    Raises:
        ValueError: for a value that is not finite or out of its range.
    """

    T_camera_grasp: Transform
    width_m: float
    opening_m: float
    quality: float
    contacts_m: NDArray[np.float64]
    approach_distance_m: float
    lift_distance_m: float
    checked_against_scene: bool
    marks: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "contacts_m", frozen(self.contacts_m, (2, 3), "contacts_m"))
        if not 0 <= self.quality <= 1:  # True for NaN, too
            raise ValueError(f"quality must lie in [0, 1], not {self.quality}")
        if not self.width_m <= self.opening_m < inf:
            raise ValueError(f"opening_m must be finite and at least width_m, not {self.opening_m} and {self.width_m}")
        lengths_m = (self.width_m, self.approach_distance_m, self.lift_distance_m)
        if not all(0 <= length_m < inf for length_m in lengths_m):
            raise ValueError(f"width_m, approach_distance_m and lift_distance_m must not be negative, not {lengths_m}")


class Rejection(enum.Enum):
    """Why a pose is no grasp; the values are words for a person."""

    REACH = "palm or support in the way before the contacts"
    FIT = "the object does not fit between the fingers, or is in their way"
    SLIP = "surfaces turned too far from the closing direction to hold by friction"
    UNKNOWN = "a finger where the object may be and nothing was measured, or beyond the image's border"
    SCENE = "something else in the way"
    QUALITY = "less likely to hold than grasping.min_quality"


@dataclass(frozen=True, eq=False)
class InstanceGrasps:
    """The grasps of one instance, best first, and why there are none.

    Attributes:
        grasps: possibly empty.
        status: flags of this stage only (`NO_GRASP_CANDIDATE`, `NO_COLLISION_FREE_GRASP`, `GRASPING_DISABLED`).
        rejected: how many tried poses failed, by the step that they failed at; a pose is tried at up to two depths.

    Raises:
        ValueError: grasps with a reason why there are none, none without, or grasps in another order.
    """

    grasps: tuple[Grasp, ...]
    status: Status
    rejected: Mapping[Rejection, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.grasps) is not (self.status == Status.OK):
            raise ValueError(f"{len(self.grasps)} grasps contradict the status {self.status!r}")
        qualities = [grasp.quality for grasp in self.grasps]
        if qualities != sorted(qualities, reverse=True):
            raise ValueError(f"grasps must come best first, not with the qualities {qualities}")
