"""Grasp candidates: pairs of surface points that face each other, and the directions that the gripper may come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import dot, length
from instance_seg_ros.grasping.object_body import Body

FloatArray = NDArray[np.float64]

_MIN_WIDTH_M = 0.003
_MAX_SURFACE_POINTS = 240
_MAX_FEASIBLE = 1500
_MAX_PAIRS = 26
_SPREAD_M = 0.012
_SPREAD_DEG = 30.0
_APPROACH_TILTS_DEG = (0.0, -25.0, 25.0, -50.0, 50.0)
"""Turns of the approach about the closing axis, away from straight down (without a plane: from the line of sight)."""
_WIDEST_CONE_DEG = 90.0
_ROUNDING = 1e-9
_MAX_CLOSING_SLOPE = 0.7
"""|cosine| between closing axis and vertical above which no approach from above is left."""


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
        return ContactPairs(*(values[which] for values in vars(self).values()))

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
    pairs = antipodal_pairs(body.points_m[own], body.normals[own], body.origin[own], friction, max_opening_m)
    return _spread(pairs, body, friction, max_opening_m)


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
    centred, turned = points_m.astype(np.float32), normals.astype(np.float32)
    squared, height = dot(centred, centred), dot(turned, centred)
    distance_m = np.sqrt((squared[:, None] + squared - 2 * centred @ centred.T).clip(min=1e-9))
    # Distance times cosine between the inward normal at one contact and the direction to the other.
    inward = height[:, None] - turned @ centred.T
    inward = np.minimum(inward, inward.T)
    feasible = inward >= float(np.cos(np.arctan(friction))) * distance_m
    feasible &= (distance_m >= _MIN_WIDTH_M) & (distance_m <= max_opening_m)
    number = np.arange(len(points_m), dtype=np.int32)
    feasible &= number[:, None] < number  # each pair once
    places = np.flatnonzero(feasible)
    first, second = np.divmod(_evenly(places, _MAX_FEASIBLE), len(points_m))
    cosine = (inward[first, second] / distance_m[first, second]).astype(np.float64)
    assumed = (origin[first] > 0).astype(np.int64) + (origin[second] > 0)
    return ContactPairs(points_m[first], points_m[second], cosine.clip(max=1.0), assumed)


def _spread(pairs: ContactPairs, body: Body, friction: float, max_opening_m: float) -> ContactPairs:
    """The best of the pairs that are near each other in place and direction, and of these the most promising."""
    closing = _unit(pairs.second_m - pairs.first_m)
    usable = np.abs(closing[:, 2]) <= _MAX_CLOSING_SLOPE
    pairs, closing = pairs[usable], closing[usable]
    if not len(pairs):
        return pairs
    tangent = np.sqrt(1 - pairs.antipodality**2) / pairs.antipodality
    offset_m = pairs.middle_m - body.centre_m
    aside_m = np.linalg.norm(offset_m[:, :2] - dot(offset_m, closing)[:, None] * closing[:, :2], axis=1)
    half_m = max(float(np.linalg.norm(body.size_m[:2])) / 2, 1e-3)
    promise = (1.05 - tangent / friction) * (1.2 - aside_m / half_m).clip(min=0.1)
    promise *= (0.3 + (max_opening_m - pairs.width_m) / max_opening_m).clip(max=0.6) * 0.9**pairs.assumed
    azimuth = np.degrees(np.arctan2(closing[:, 1], closing[:, 0])) % 180
    cells = np.column_stack([np.floor(pairs.middle_m / _SPREAD_M), np.floor(azimuth / _SPREAD_DEG)]).astype(np.int64)
    cells -= cells.min(axis=0)
    key = ((cells[:, 0] << 10 | cells[:, 1]) << 10 | cells[:, 2]) << 10 | cells[:, 3]
    order = np.argsort(-promise, kind="stable")
    best = np.sort(np.unique(key[order], return_index=True)[1])[:_MAX_PAIRS]
    return pairs[order[best]]


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / length(vectors).clip(min=1e-9)[..., None]


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
        return Poses(*(values[which] for values in vars(self).values()))

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
    closing = _unit(pairs.second_m - pairs.first_m)
    slope = dot(closing, up)
    down = _unit(slope[:, None] * closing - up)
    aside = np.cross(closing, down)
    rotations = []
    widest_deg = max(_APPROACH_TILTS_DEG)
    tilts_deg = [tilt_deg * min(1.0, cone_deg / widest_deg) for tilt_deg in _APPROACH_TILTS_DEG]
    for tilt in np.radians(tilts_deg).tolist():
        approach = math.cos(tilt) * down + math.sin(tilt) * aside
        # The vector product of approach and closing axis, since closing, down and aside are a right-handed frame.
        across = math.sin(tilt) * down - math.cos(tilt) * aside
        rotations.append(np.stack([closing, across, approach], axis=-1))
    count = len(_APPROACH_TILTS_DEG)
    openings_m = np.full(count * len(pairs), max_opening_m)
    poses = Poses(np.tile(pairs.middle_m, (count, 1)), np.concatenate(rotations), openings_m)
    widths_m = np.tile(pairs.width_m, count)
    if cone_deg >= _WIDEST_CONE_DEG:
        return poses, widths_m
    inside = -(poses.rotations[:, :, 2] @ up) >= math.cos(math.radians(cone_deg)) - _ROUNDING
    return poses[inside], widths_m[inside]
