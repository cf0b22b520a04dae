"""Grasp candidates: pairs of surface points that face each other, and the directions that the gripper may come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import length
from instance_seg_ros.core.rows import rows_of
from instance_seg_ros.grasping import pair_kernels
from instance_seg_ros.grasping.object_body import Body

FloatArray = NDArray[np.float64]

_MAX_SURFACE_POINTS = 240
_MAX_FEASIBLE = 1500
_MAX_PAIRS = 26
_APPROACH_TILTS_DEG = (0.0, -25.0, 25.0, -50.0, 50.0)
"""Turns of the approach about the closing axis, away from straight down (without a plane: from the line of sight)."""
_WIDEST_CONE_DEG = 90.0
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class ContactPairs:
    """Pairs of contacts, body frame.

    Attributes:
        first_m, second_m: (C, 3) float64; the closing axis runs from first to second.
        antipodality: (C,) cosine of the larger angle between closing axis and inward normals, 1 = they face each other.
        assumed: (C,) int64, how many of the two were completed, not measured, 0 to 2.
    """

    first_m: FloatArray
    second_m: FloatArray
    antipodality: FloatArray
    assumed: NDArray[np.int64]

    @property
    def width_m(self) -> FloatArray:
        """(C,) distance of the contacts, metres."""
        return np.asarray(length(self.second_m - self.first_m), dtype=np.float64)

    @property
    def middle_m(self) -> FloatArray:
        """(C, 3) midway between the contacts."""
        return (self.first_m + self.second_m) / 2

    def __len__(self) -> int:
        return len(self.assumed)

    def __getitem__(self, which: NDArray) -> ContactPairs:
        """Those at (K,) indices, or those that (C,) bool names."""
        return ContactPairs(*(rows_of(values, which) for values in vars(self).values()))

    def joined(self, *others: ContactPairs) -> ContactPairs:
        """With others behind them."""
        sets = (self, *others)
        return ContactPairs(*(np.concatenate([getattr(pairs, field.name) for pairs in sets]) for field in fields(self)))


def contact_pairs(body: Body, friction: float, max_opening_m: float) -> ContactPairs:
    """The most promising pairs on which two fingers close by friction, unlike each other, at most `_MAX_PAIRS`.

    Pairs of points on the measured surface, on the completed sides and on the outline straight down, which gives boxes
    their faces, and rims, limbs and handles their own.
    """
    own = _evenly(np.arange(len(body.points_m)), _MAX_SURFACE_POINTS)
    points_m, normals = rows_of(body.points_m, own), rows_of(body.normals, own)
    pairs = antipodal_pairs(points_m, normals, body.origin[own], friction, max_opening_m)
    half_m = max(math.hypot(*body.size_m[:2].tolist()) / 2, 1e-3)
    best = pair_kernels.most_promising(
        pairs.first_m,
        pairs.second_m,
        pairs.antipodality,
        pairs.assumed,
        body.centre_m,
        half_m,
        friction,
        max_opening_m,
        _MAX_PAIRS,
    )
    return pairs[best]


def _evenly(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of (N,) places, evenly over them in their order."""
    if len(places) <= most:
        return places
    return places[np.arange(most) * (len(places) - 1) // (most - 1)]


def antipodal_pairs(
    points_m: FloatArray, normals: FloatArray, origin: NDArray[np.int64], friction: float, max_opening_m: float
) -> ContactPairs:
    """Pairs of surface points on which two fingers close by friction (Nguyen's condition for two contacts).

    At both contacts the angle between the inward normal and the line to the other contact is at most atan(friction);
    the sign of the normals counts, so that two faces that look at each other across a gap are no pair.
    Of more than `_MAX_FEASIBLE` some are left out, evenly.
    """
    first, second, cosine = pair_kernels.facing_pairs(
        points_m, normals, math.cos(math.atan(friction)), max_opening_m, _MAX_FEASIBLE
    )
    assumed = (origin[first] > 0).astype(np.int64) + (origin[second] > 0)
    return ContactPairs(rows_of(points_m, first), rows_of(points_m, second), cosine, assumed)


@dataclass(frozen=True, eq=False)
class Poses:
    """Gripper poses, body frame.

    Attributes:
        origins_m: (C, 3) tool centre points.
        rotations: (C, 3, 3) body from grasp, columns x (closing), y, z (approach).
        openings_m: (C,) between the fingers on the approach.
    """

    origins_m: FloatArray
    rotations: FloatArray
    openings_m: FloatArray

    def __len__(self) -> int:
        return len(self.openings_m)

    def __getitem__(self, which: NDArray) -> Poses:
        """Those at (K,) indices, or those that (C,) bool names."""
        return Poses(*(rows_of(values, which) for values in vars(self).values()))

    def joined(self, *others: Poses) -> Poses:
        """With others behind them."""
        sets = (self, *others)
        return Poses(*(np.concatenate([getattr(poses, field.name) for poses in sets]) for field in fields(self)))


def poses_from_pairs(
    pairs: ContactPairs, up: FloatArray, max_opening_m: float, cone_deg: float = 90.0
) -> tuple[Poses, FloatArray]:
    """Every pair with every approach of `_APPROACH_TILTS_DEG`, fully opened, the origin midway between the contacts.

    Args:
        up: (3,) unit vector, body frame; the untilted approach is as close to -up as the closing axis allows.
        cone_deg: no approach is farther from -up than this; in a narrow cone the tilts are as wide as it is.

    Returns:
        poses: C of them.
        widths_m: (C,) distance of each pair's contacts.
    """
    count, widest_deg = len(_APPROACH_TILTS_DEG), max(_APPROACH_TILTS_DEG)
    tilts = np.radians(_APPROACH_TILTS_DEG) * min(1.0, cone_deg / widest_deg)
    rotations = pair_kernels.approaches(pairs.first_m, pairs.second_m, up, tilts)
    openings_m = np.full(count * len(pairs), max_opening_m)
    poses = Poses(np.concatenate([pairs.middle_m] * count), rotations, openings_m)
    widths_m = np.concatenate([pairs.width_m] * count)
    if cone_deg >= _WIDEST_CONE_DEG:
        return poses, widths_m
    inside = -(poses.rotations[:, :, 2] @ up) >= math.cos(math.radians(cone_deg)) - _ROUNDING
    return poses[inside], widths_m[inside]
