"""Bounds of a box: a smaller and a larger one between whose sides those of the object lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.core.geometry import OrientedBox

FloatArray = NDArray[np.float64]

SIGMAS_OF_90_PERCENT = 1.645
"""Within so many standard deviations to either side are 90 % of what is distributed normally."""


@dataclass(frozen=True, eq=False)
class SideBounds:
    """How far an object reaches out of the sides of its box, at the least and at the most.

    Attributes:
        beyond_m: (3, 2, 2) along x, y and z of the box, of the lower and the upper side, outwards; below zero it ends
            inside of the box. With 90 in 100 objects a side is between both.
    """

    beyond_m: FloatArray

    @classmethod
    def of_view(
        cls,
        sides_m: FloatArray,
        axes: FloatArray,
        box: OrientedBox,
        above_m: float | None = None,
        below_m: float | None = None,
    ) -> SideBounds:
        """Those that are known along the axes (3, 3), as rows, of a view, in any order and with any signs.

        Args:
            above_m: so much higher than is assumed the object may end, no lower.
            below_m: so far below what is seen of it, where its box ends, it may go on.
        """
        beyond_m = _along_box(np.ascontiguousarray(sides_m), np.ascontiguousarray(axes), box.T_camera_box.rotation)
        if above_m is not None:
            beyond_m[2, 0, 0] = min(beyond_m[2, 0, 0], -above_m)
        if below_m is not None:
            beyond_m[2, 0, 1] = max(beyond_m[2, 0, 1], below_m)
        return cls(beyond_m)

    def reaching(self, aside_m: FloatArray) -> SideBounds:
        """For an object that may reach (3,) farther out, along the axes of the box."""
        beyond_m = self.beyond_m.copy()
        beyond_m[..., 1] = np.maximum(beyond_m[..., 1], np.stack([-aside_m, aside_m], axis=1))
        return SideBounds(beyond_m)

    def widened(self, covariance_m2: FloatArray, box: OrientedBox) -> SideBounds:
        """For errors of the sides that are independent of these, with a covariance (3, 3) in the camera's frame."""
        return SideBounds(_widened(self.beyond_m, np.ascontiguousarray(covariance_m2), box.T_camera_box.rotation))

    def boxes(self, box: OrientedBox) -> tuple[OrientedBox, OrientedBox]:
        """The smaller and the larger box; the first lies in the second, and has no side shorter than nothing."""
        pose = box.T_camera_box
        middles_m, sizes_m = _middles_and_sizes(self.beyond_m, box.size_m, pose.rotation, pose.translation_m)
        inner, outer = (OrientedBox(pose.moved_to(middles_m[k]), sizes_m[k]) for k in (0, 1))
        return inner, outer


@kernel("float64[:, :, ::1]", "float64[::1]", "float64[:, ::1]", "float64[::1]")
def _middles_and_sizes(
    beyond_m: FloatArray, size_m: FloatArray, rotation: FloatArray, translation_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Middles (2, 3), in the camera's frame, and sizes (2, 3) of the smaller and of the larger box.

    Where the lower end of one would be the higher, as of what may be as short as nothing, both are halfway.

    Args:
        size_m, rotation, translation_m: of the box.
    """
    ends_m, middles_m, sizes_m = np.empty((2, 3, 2)), np.empty((2, 3)), np.empty((2, 3))
    for axis in range(3):
        for which in (1, 0):
            low_m = -size_m[axis] / 2 - beyond_m[axis, 0, which]
            high_m = size_m[axis] / 2 + beyond_m[axis, 1, which]
            if low_m > high_m:
                low_m = high_m = (low_m + high_m) / 2
            if which == 0:  # it lies in the larger one
                low_m = min(max(low_m, ends_m[1, axis, 0]), ends_m[1, axis, 1])
                high_m = min(max(high_m, ends_m[1, axis, 0]), ends_m[1, axis, 1])
            ends_m[which, axis, 0], ends_m[which, axis, 1] = low_m, high_m
            sizes_m[which, axis] = high_m - low_m
    for which in range(2):
        for k in range(3):
            middles_m[which, k] = translation_m[k]
            for axis in range(3):
                middles_m[which, k] += rotation[k, axis] * (ends_m[which, axis, 0] + ends_m[which, axis, 1]) / 2
    return middles_m, sizes_m


@kernel("float64[:, :, ::1]", "float64[:, ::1]", "float64[:, ::1]")
def _along_box(sides_m: FloatArray, axes: FloatArray, rotation: FloatArray) -> FloatArray:
    """Bounds (3, 2, 2) along the columns of a rotation, of those along axes (3, 3) that are these, or against them."""
    beyond_m = np.empty((3, 2, 2))
    for own in range(3):
        most = 0.0
        for axis in range(3):
            along = 0.0
            for k in range(3):
                along += axes[axis, k] * rotation[k, own]
            if abs(along) > abs(most):
                most = along
                for side in range(2):
                    for k in range(2):
                        beyond_m[own, side, k] = sides_m[axis, side if along > 0 else 1 - side, k]
    return beyond_m


@kernel("float64[:, :, ::1]", "float64[:, ::1]", "float64[:, ::1]")
def _widened(beyond_m: FloatArray, covariance_m2: FloatArray, rotation: FloatArray) -> FloatArray:
    """Bounds (3, 2, 2) along the columns of a rotation, farther from their middle for errors with a covariance."""
    wider_m = np.empty((3, 2, 2))
    for axis in range(3):
        variance_m2 = 0.0
        for i in range(3):
            for k in range(3):
                variance_m2 += rotation[i, axis] * covariance_m2[i, k] * rotation[k, axis]
        by_m = SIGMAS_OF_90_PERCENT * math.sqrt(max(variance_m2, 0.0))
        for side in range(2):
            middle_m = (beyond_m[axis, side, 0] + beyond_m[axis, side, 1]) / 2
            half_m = math.hypot(beyond_m[axis, side, 1] - middle_m, by_m)
            wider_m[axis, side, 0], wider_m[axis, side, 1] = middle_m - half_m, middle_m + half_m
    return wider_m
