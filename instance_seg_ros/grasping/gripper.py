"""The gripper as boxes in the grasp's frame: what of it must stay free of what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.parameters import GripperSettings


@dataclass(frozen=True)
class Region:
    """A box in the grasp's frame (x closes, z approaches, origin between the fingertips), mirrored about x = 0.

    Holds the points with `inner_x <= |x| <= outer_x`, `|y| <= half_y` and `low_z <= z <= high_z`, metres.
    """

    inner_x: float
    outer_x: float
    half_y: float
    low_z: float
    high_z: float


@dataclass(frozen=True)
class Gripper:
    """The regions that a parallel-jaw gripper takes up, fully opened.

    Attributes:
        fingers: the two fingers at the grasp, from palm to tips.
        between: the fingers and all that is between them: what closing sweeps.
        fingers_on_approach, palm_on_approach: what they sweep on the straight way in, the grasp's own place included.
        palm: where it is at the grasp.
        max_opening_m, finger_length_m, finger_thickness_m: as in the settings.
    """

    fingers: Region
    between: Region
    fingers_on_approach: Region
    palm_on_approach: Region
    palm: Region
    max_opening_m: float
    finger_length_m: float
    finger_thickness_m: float

    @classmethod
    def from_settings(cls, settings: GripperSettings, approach_distance_m: float) -> Gripper:
        """The gripper of these settings, with a straight way in of this length."""
        inner, outer = settings.max_opening_m / 2, settings.max_opening_m / 2 + settings.finger_thickness_m
        half_y, knuckle_z = settings.finger_width_m / 2, -settings.finger_length_m
        back_z = knuckle_z - settings.palm_depth_m
        half_palm = (settings.palm_width_m / 2, settings.palm_height_m / 2)
        return cls(
            fingers=Region(inner, outer, half_y, knuckle_z, 0.0),
            between=Region(0.0, outer, half_y, knuckle_z, 0.0),
            fingers_on_approach=Region(inner, outer, half_y, knuckle_z - approach_distance_m, 0.0),
            palm_on_approach=Region(0.0, *half_palm, back_z - approach_distance_m, knuckle_z),
            palm=Region(0.0, *half_palm, back_z, knuckle_z),
            max_opening_m=settings.max_opening_m,
            finger_length_m=settings.finger_length_m,
            finger_thickness_m=settings.finger_thickness_m,
        )

    @cached_property
    def reach_m(self) -> float:
        """No part of the gripper, on its whole way in, is farther than this from the grasp's origin."""
        regions = (self.between, self.fingers_on_approach, self.palm_on_approach)
        return max(float(np.linalg.norm([r.outer_x, r.half_y, max(-r.low_z, r.high_z)])) for r in regions)

    @cached_property
    def palm_corners_m(self) -> NDArray[np.float64]:
        """(4, 3) corners of the palm at the grasp, where the fingers begin."""
        palm = self.palm
        return np.array([[x * palm.outer_x, y * palm.half_y, palm.high_z] for x in (-1, 1) for y in (-1, 1)])

    @cached_property
    def ways_m(self) -> NDArray[np.float64]:
        """(8,) what is swept on the way in: thickness and half the width of a finger, z where the fingers begin at the
        grasp and where they come from; half the sides of the palm in x and y, z where it comes from and where it ends.
        """
        fingers, palm = self.fingers_on_approach, self.palm_on_approach
        begin_z = self.fingers.low_z
        sweep = (fingers.half_y, begin_z, fingers.low_z, palm.outer_x, palm.half_y, palm.low_z, palm.high_z)
        return np.array([self.finger_thickness_m, *sweep])

    @cached_property
    def boxes_m(self) -> NDArray[np.float64]:
        """(2, 4) what fingers, with all between them, and palm take up at the grasp: half the sides in x and y, and z
        from where to where."""
        return np.array([[r.outer_x, r.half_y, r.low_z, r.high_z] for r in (self.between, self.palm)])
