"""Bounds of a box: a smaller and a larger one between whose sides those of the object lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import OrientedBox, Transform

FloatArray = NDArray[np.float64]

SIGMAS_OF_90_PERCENT = 1.645


@dataclass(frozen=True, eq=False)
class SideBounds:
    """How far an object reaches out of the sides of its box, at the least and at the most.

    Attributes:
        beyond_m: (3, 2, 2) along x, y and z of the box, of the lower and the upper side, outwards; below zero it ends
            inside of the box. With 90 in 100 objects a side is between both.
    """

    beyond_m: FloatArray

    @classmethod
    def of_view(cls, sides_m: FloatArray, axes: FloatArray, box: OrientedBox) -> SideBounds:
        """Those that are known along the axes (3, 3), as rows, of a view, in any order and with any signs."""
        along = axes @ box.T_camera_box.rotation
        order = np.abs(along).argmax(axis=0)
        beyond_m = sides_m[order]
        turned = along[order, np.arange(3)] < 0
        beyond_m[turned] = beyond_m[turned, ::-1]
        return cls(beyond_m)

    def with_foot_above(self, unseen_m: float) -> SideBounds:
        """For an object that may end so much higher than is assumed."""
        beyond_m = self.beyond_m.copy()
        beyond_m[2, 0, 0] = min(beyond_m[2, 0, 0], -unseen_m)
        return SideBounds(beyond_m)

    def reaching(self, aside_m: FloatArray) -> SideBounds:
        """For an object that may reach (3,) farther out, along the axes of the box."""
        beyond_m = self.beyond_m.copy()
        beyond_m[..., 1] = np.maximum(beyond_m[..., 1], np.stack([-aside_m, aside_m], axis=1))
        return SideBounds(beyond_m)

    def widened(self, deviations_m: FloatArray) -> SideBounds:
        """For errors that are independent of these, with standard deviations (3,) along the axes of the box."""
        middle_m = self.beyond_m.mean(axis=2, keepdims=True)
        half_m = np.hypot(self.beyond_m[..., 1:] - middle_m, SIGMAS_OF_90_PERCENT * deviations_m[:, None, None])
        return SideBounds(np.concatenate([middle_m - half_m, middle_m + half_m], axis=2))

    def boxes(self, box: OrientedBox) -> tuple[OrientedBox, OrientedBox]:
        """The smaller and the larger box; the first has no side shorter than nothing."""
        inner_m, outer_m = (self.beyond_m[..., which] * [-1, 1] + np.outer(box.size_m, [-0.5, 0.5]) for which in (0, 1))
        return _box_between(box, inner_m), _box_between(box, outer_m)


def _box_between(box: OrientedBox, ends_m: FloatArray) -> OrientedBox:
    """The box between ends (3, 2) along the axes of another one, beside its middle."""
    pose = box.T_camera_box
    size_m = np.maximum(ends_m[:, 1] - ends_m[:, 0], 0.0)
    middle_m = np.asarray(pose.apply(ends_m.mean(axis=1)), dtype=np.float64)
    return OrientedBox(Transform(pose.rotation, middle_m), size_m)
