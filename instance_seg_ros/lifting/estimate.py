"""Where an object's centre and the sides of its box most likely are, and how far off both may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import OrientedBox
from instance_seg_ros.lifting.box_bounds import SideBounds
from instance_seg_ros.lifting.likely_centre import Likely, View
from instance_seg_ros.lifting.uncertainty import covariance_along_m2, with_unseen_foot_m

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Centre and sides of an object, each with its error.

    Attributes:
        box: of which the sides are.
        centre_m: (3,) float64, of the volume, camera optical frame.
        covariance_m2: (3, 3) float64, of the error of that.
        sides: how far the object reaches out of the sides of the box.

    Raises:
        ValueError: on a wrong shape, a value that is not finite, or a negative variance.
    """

    box: OrientedBox
    centre_m: FloatArray
    covariance_m2: FloatArray
    sides: SideBounds

    def __post_init__(self) -> None:
        if self.centre_m.shape != (3,) or self.covariance_m2.shape != (3, 3):
            raise ValueError(
                f"shapes must be (3,) and (3, 3), not {self.centre_m.shape} and {self.covariance_m2.shape}"
            )
        numbers = [*self.centre_m.tolist(), *self.covariance_m2.ravel().tolist()]
        if not math.isfinite(sum(numbers)) or min(numbers[3::4]) < 0:
            raise ValueError(f"must be finite and of no negative variance, not {numbers}")

    @classmethod
    def of_box(cls, box: OrientedBox) -> Estimate:
        """By the box alone, without any error."""
        return cls(box, box.T_camera_box.translation_m, np.zeros((3, 3)), SideBounds(np.zeros((3, 2, 2))))

    @classmethod
    def of_view(cls, box: OrientedBox, view: View, likely: Likely, unseen_m: float, is_completed: bool) -> Estimate:
        """By what was learned of objects that are seen alike.

        Args:
            likely: along the axes of the view.
            unseen_m: how much higher an object that is completed down to its support may end, or another one lower.
        """
        centre_m = view.centre_m + likely.offset_m @ view.axes
        covariance_m2 = covariance_along_m2(view.axes.T, with_unseen_foot_m(likely.deviation_m, unseen_m))
        # What is completed reaches down to its support; what is not ends where no more is seen of it.
        above_m, below_m = (unseen_m, None) if is_completed else (None, unseen_m)
        return cls(box, centre_m, covariance_m2, SideBounds.of_view(likely.sides_m, view.axes, box, above_m, below_m))

    def or_at(self, centre_m: FloatArray) -> Estimate:
        """For an object whose centre is as likely at (3,), to where it reaches then."""
        aside_m = centre_m - self.centre_m
        covariance_m2 = self.covariance_m2 + np.outer(aside_m, aside_m) / 2
        sides = self.sides.reaching(2 * aside_m @ self.box.T_camera_box.rotation)
        return Estimate(self.box, self.centre_m, covariance_m2, sides)

    def with_error(self, of_centre_m2: FloatArray, of_sides_m2: FloatArray) -> Estimate:
        """For further errors that are independent, with covariances (3, 3) in the camera's optical frame."""
        sides = self.sides.widened(of_sides_m2, self.box)
        return Estimate(self.box, self.centre_m, self.covariance_m2 + of_centre_m2, sides)
