"""Grasp candidates: pairs of contacts that face each other, and the directions from which the gripper may come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.camera import RgbdFrame
from instance_seg_ros.geometry import OrientedBox
from instance_seg_ros.lifting import Completion, Instance3D
from instance_seg_ros.lifting.completion import hidden_from_view
from instance_seg_ros.lifting.surface import fit_local_planes, window_radius_px

_MAX_SAMPLES = 200
_MAX_PAIRS = 100
_MIN_WIDTH_M = 0.003
_APPROACH_TILTS_DEG = (0.0, -25.0, 25.0, -50.0, 50.0, -75.0, 75.0)
"""Turns of the approach about the closing axis, away from straight down (without a plane: from the line of sight)."""
_MAX_CLOSING_SLOPE = 0.7
"""|cosine| between closing axis and vertical above which no approach from above is left."""
_BOX_LEVELS = 4
_BOX_OFFSETS = (-0.3, 0.0, 0.3)
_TOP_MARGIN_M = 0.005
"""Box grasps stay this far below the object's top, so that the pads touch something."""


@dataclass(frozen=True, eq=False)
class ContactSurface:
    """Sampled points of an object's surface with outward normals.

    Attributes:
        points_m: (N, 3) float64, camera optical frame.
        normals: (N, 3) float64, unit, out of the object.
        measured: (N,) bool, False for the hidden side as completed.
    """

    points_m: NDArray[np.float64]
    normals: NDArray[np.float64]
    measured: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ContactPairs:
    """Pairs of contacts, C of them.

    Attributes:
        first_m, second_m: (C, 3) float64, camera optical frame; the closing axis runs from first to second.
        antipodality: (C,) cosine of the larger angle between closing axis and inward normals, 1 = they face each other.
        measured: (C,) how many of the two were measured, 0 to 2.
    """

    first_m: NDArray[np.float64]
    second_m: NDArray[np.float64]
    antipodality: NDArray[np.float64]
    measured: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first_m)

    @property
    def width_m(self) -> NDArray[np.float64]:
        """(C,) distance of the contacts, metres."""
        return np.linalg.norm(self.second_m - self.first_m, axis=1)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Gripper poses, C of them.

    Attributes:
        rotations: (C, 3, 3) camera from grasp, columns x (closing), y, z (approach).
        pair: (C,) int64, index of each pose's contacts in `pairs`; the origin is midway between them.
    """

    pairs: ContactPairs
    rotations: NDArray[np.float64]
    pair: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pair)

    def __getitem__(self, index: NDArray) -> Candidates:
        return Candidates(self.pairs, self.rotations[index], self.pair[index])

    @property
    def origins_m(self) -> NDArray[np.float64]:
        """(C, 3) midway between the contacts."""
        return (self.pairs.first_m[self.pair] + self.pairs.second_m[self.pair]) / 2


def contact_surface(frame: RgbdFrame, instance: Instance3D) -> ContactSurface:
    """The measured surface with its normals, and its hidden side where the object was completed.

    The hidden side is the measured one turned by half a turn about the vertical axis of the completed box, which maps
    boxes, cans, balls and bowls onto themselves. Turned points that the camera would see are refuted and left out.
    """
    if instance.box is None:
        nothing = np.zeros((0, 3))
        return ContactSurface(nothing, nothing, np.zeros(0, dtype=bool))
    rows, columns = np.divmod(instance.pixels, frame.intrinsics.width)
    top, left = int(rows.min()), int(columns.min())
    crop = (slice(top, int(rows.max()) + 1), slice(left, int(columns.max()) + 1))
    keep = np.zeros((crop[0].stop - top, crop[1].stop - left), dtype=bool)
    keep[rows - top, columns - left] = True
    radius_px = window_radius_px(float(np.median(instance.points_m[:, 2])), frame.intrinsics.fx)
    planes = fit_local_planes(frame.depth_m[crop], keep, radius_px)
    rows, columns = np.nonzero(keep & planes.valid)
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), _MAX_SAMPLES)).astype(np.int64)
    rows, columns = rows[chosen], columns[chosen]
    rays = frame.intrinsics.rays[crop]
    depth_m = planes.depth_m[rows, columns].astype(np.float64)
    points_m = np.concatenate([rays[rows, columns] * depth_m[:, None], depth_m[:, None]], axis=1)
    normals = planes.normals(rows, columns, rays, frame.intrinsics).astype(np.float64)
    measured = np.ones(len(points_m), dtype=bool)
    if instance.completion is Completion.NONE:
        return ContactSurface(points_m, normals, measured)
    half_turn = 2 * np.outer(
        instance.box.T_camera_box.rotation[:, 2], instance.box.T_camera_box.rotation[:, 2]
    ) - np.eye(3)
    centre_m = instance.box.T_camera_box.translation_m
    turned_m = (points_m - centre_m) @ half_turn + centre_m
    hidden = hidden_from_view(turned_m, frame)
    return ContactSurface(
        np.concatenate([points_m, turned_m[hidden]]),
        np.concatenate([normals, (normals @ half_turn)[hidden]]),
        np.concatenate([measured, np.zeros(np.count_nonzero(hidden), dtype=bool)]),
    )


def antipodal_pairs(
    surface: ContactSurface, friction: float, max_opening_m: float, rng: np.random.Generator
) -> ContactPairs:
    """Pairs of surface points on which two fingers close by friction (Nguyen's condition for two contacts).

    At both contacts the angle between the inward normal and the line to the other contact is at most atan(friction);
    the sign of the normals counts, so that two faces that look at each other across a gap are no pair. Of more than
    `_MAX_PAIRS` pairs a random sample is kept.
    """
    rows, columns = np.flatnonzero(surface.measured), np.arange(len(surface.points_m))
    # Two completed points repeat two measured ones, so one of a pair is measured; float32 keeps these tables small.
    centred = (surface.points_m - surface.points_m.mean(axis=0) if len(columns) else surface.points_m).astype(
        np.float32
    )
    normals = surface.normals.astype(np.float32)
    height = (normals * centred).sum(axis=1)
    squared = (centred**2).sum(axis=1)
    distance_m = np.sqrt(np.maximum(squared[rows, None] + squared - 2 * centred[rows] @ centred.T, 1e-9))
    # Distance times cosine between the inward normal at one contact and the direction to the other.
    here = height[rows, None] - normals[rows] @ centred.T
    there = height - centred[rows] @ normals.T
    inward = np.minimum(here, there)
    feasible = inward >= np.float32(np.cos(np.arctan(friction))) * distance_m
    feasible &= (distance_m >= _MIN_WIDTH_M) & (distance_m <= max_opening_m)
    feasible &= (rows[:, None] < columns) | ~surface.measured
    first, second = np.nonzero(feasible)
    if len(first) > _MAX_PAIRS:
        chosen = rng.choice(len(first), _MAX_PAIRS, replace=False)
        first, second = first[chosen], second[chosen]
    cosine = (inward[first, second] / distance_m[first, second]).astype(np.float64)
    return _pairs_at(surface, rows[first], columns[second], np.minimum(cosine, 1.0))


def _pairs_at(
    surface: ContactSurface, first: NDArray[np.int64], second: NDArray[np.int64], antipodality: NDArray[np.float64]
) -> ContactPairs:
    measured = surface.measured.astype(np.int64)
    return ContactPairs(
        surface.points_m[first], surface.points_m[second], antipodality, measured[first] + measured[second]
    )


def box_pairs(box: OrientedBox, lowest_m: float, finger_length_m: float, max_opening_m: float) -> ContactPairs:
    """Contacts on opposite upright faces of the box, at a few heights and places: the plain grasp of box-like objects.

    Args:
        box: its z axis points up (without a support plane: towards the camera).
        lowest_m: contacts stay this far above the box's bottom.
        finger_length_m: contacts stay within a finger's length of the box's top.
    """
    half = box.size_m / 2
    top_m = half[2] - min(_TOP_MARGIN_M, half[2] / 2)
    bottom_m = max(-half[2] + lowest_m, half[2] - finger_length_m)
    firsts, seconds = [], []
    for axis in (1, 0):
        if box.size_m[axis] > max_opening_m or box.size_m[axis] < _MIN_WIDTH_M or bottom_m > top_m:
            continue
        for height_m in np.linspace(bottom_m, top_m, _BOX_LEVELS):
            for offset in _BOX_OFFSETS:
                contact = np.zeros(3)
                contact[axis], contact[1 - axis], contact[2] = half[axis], offset * 2 * half[1 - axis], height_m
                opposite = contact.copy()
                opposite[axis] = -half[axis]
                firsts.append(opposite)
                seconds.append(contact)
    if not firsts:
        return ContactPairs(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=np.int64))
    count = len(firsts)
    return ContactPairs(
        np.asarray(box.T_camera_box.apply(np.array(firsts)), dtype=np.float64),
        np.asarray(box.T_camera_box.apply(np.array(seconds)), dtype=np.float64),
        np.ones(count),
        np.zeros(count, dtype=np.int64),
    )


def concatenated(first: ContactPairs, second: ContactPairs) -> ContactPairs:
    """Both sets of pairs as one."""
    return ContactPairs(
        np.concatenate([first.first_m, second.first_m]),
        np.concatenate([first.second_m, second.second_m]),
        np.concatenate([first.antipodality, second.antipodality]),
        np.concatenate([first.measured, second.measured]),
    )


def candidates_from_pairs(pairs: ContactPairs, up: NDArray[np.float64]) -> Candidates:
    """Every pair with every approach of `_APPROACH_TILTS_DEG`, where the closing axis leaves room to come from above.

    Args:
        up: (3,) unit vector, the support's normal; the untilted approach is as close to -up as the closing axis allows.
    """
    closing = (pairs.second_m - pairs.first_m) / np.maximum(pairs.width_m, 1e-9)[:, None]
    slope = closing @ up
    usable = np.flatnonzero(np.abs(slope) <= _MAX_CLOSING_SLOPE)
    closing, slope = closing[usable], slope[usable]
    down = -(up - slope[:, None] * closing)
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    aside = np.cross(closing, down)
    rotations = []
    for tilt in np.radians(_APPROACH_TILTS_DEG):
        approach = np.cos(tilt) * down + np.sin(tilt) * aside
        rotations.append(np.stack([closing, np.cross(approach, closing), approach], axis=2))
    stacked = np.concatenate(rotations) if len(usable) else np.zeros((0, 3, 3))
    return Candidates(pairs, stacked, np.tile(usable, len(_APPROACH_TILTS_DEG)) if len(usable) else usable)
