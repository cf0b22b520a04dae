"""Grasp candidates: pairs of contacts that face each other, and the directions from which the gripper may come."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import dot, length
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
class Target:
    """What the candidates are made for: an instance that has a box.

    Attributes:
        label: 1 + index of the instance.
        rotation: (3, 3) float64, camera from box; the box's z points up.
        centre_m, size_m: (3,) float64, the box's centre and full sides.
        up: (3,) float64 unit vector from the support to its free side; without a support plane, to the camera.
        completed: whether the box was completed down to the support plane.
    """

    label: int
    rotation: NDArray[np.float64]
    centre_m: NDArray[np.float64]
    size_m: NDArray[np.float64]
    up: NDArray[np.float64]
    completed: bool

    @classmethod
    def of_instance(cls, label: int, instance: Instance3D) -> Target:
        """That of an instance with a box.

        Raises:
            ValueError: it has none.
        """
        if instance.box is None:
            raise ValueError("an instance without a box is no target")
        rotation, centre_m = instance.box.T_camera_box.rotation, instance.box.T_camera_box.translation_m
        completed = instance.completion is Completion.SUPPORT_PLANE
        up = rotation[:, 2] if completed else -centre_m / np.linalg.norm(centre_m)
        return cls(label, rotation, centre_m, instance.box.size_m, up, completed)


@dataclass(frozen=True, eq=False)
class ContactSurface:
    """Sampled points of an object's surface with outward normals: N = 2 S, the measured ones and these on the far side.

    Attributes:
        points_m: (N, 3) float64, camera optical frame. The first S are measured, the others completed.
        normals: (N, 3) float64, unit, out of the object.
        valid: (N,) bool, which of them there are; the others' points and normals mean nothing.
    """

    points_m: NDArray[np.float64]
    normals: NDArray[np.float64]
    valid: NDArray[np.bool_]

    @property
    def samples(self) -> int:
        """S."""
        return len(self.valid) // 2

    @property
    def completed_m(self) -> NDArray[np.float64]:
        """(H, 3) the points on the far side that there are."""
        return self.points_m[self.samples :][self.valid[self.samples :]]


@dataclass(frozen=True, eq=False)
class ContactPairs:
    """Pairs of contacts.

    Attributes:
        first_m, second_m: (C, 3) float64, camera optical frame; the closing axis runs from first to second.
        antipodality: (C,) cosine of the larger angle between closing axis and inward normals, 1 = they face each other.
        measured: (C,) int64, how many of the two were measured, 0 to 2.
    """

    first_m: NDArray[np.float64]
    second_m: NDArray[np.float64]
    antipodality: NDArray[np.float64]
    measured: NDArray[np.int64]

    @property
    def width_m(self) -> NDArray[np.float64]:
        """(C,) distance of the contacts, metres."""
        return np.asarray(length(self.second_m - self.first_m), dtype=np.float64)

    @property
    def middle_m(self) -> NDArray[np.float64]:
        """(C, 3) midway between the contacts."""
        return (self.first_m + self.second_m) / 2

    def __len__(self) -> int:
        return len(self.measured)

    def __getitem__(self, which: NDArray) -> ContactPairs:
        """Those at (K,) indices, or those that (C,) bool names."""
        return ContactPairs(*(getattr(self, field.name)[which] for field in fields(self)))

    def joined(self, *others: ContactPairs) -> ContactPairs:
        """With others behind them."""
        sets = (self, *others)
        return ContactPairs(*(np.concatenate([getattr(pairs, field.name) for pairs in sets]) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Candidates:
    """Gripper poses.

    Attributes:
        pairs: the contacts of each, C of them; the origin is midway between them.
        rotations: (C, 3, 3) camera from grasp, columns x (closing), y, z (approach).
    """

    pairs: ContactPairs
    rotations: NDArray[np.float64]

    @property
    def origins_m(self) -> NDArray[np.float64]:
        """(C, 3) midway between the contacts."""
        return self.pairs.middle_m

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, which: NDArray) -> Candidates:
        """Those at (K,) indices, or those that (C,) bool names."""
        return Candidates(self.pairs[which], self.rotations[which])


def contact_surface(
    frame: RgbdFrame, labels: NDArray[np.int16], target: Target, instance: Instance3D
) -> ContactSurface:
    """The measured surface with its normals, and its hidden side where the object was completed.

    The hidden side is the measured one turned by half a turn about the vertical axis of the completed box, which maps
    boxes, cans, balls and bowls onto themselves. Turned points that the camera would see are refuted and left out.

    Args:
        labels: (H, W) int16, the label of the instance that a pixel was kept for.
        target, instance: the same one, which has kept pixels.
    """
    crop = _crop_of(instance, frame.intrinsics.width)
    depth_m = frame.depth_m[crop]
    keep = (labels[crop] == target.label) & (depth_m > 0)
    radius_px = window_radius_px(float(np.median(instance.points_m[:, 2])), frame.intrinsics.fx)
    planes = fit_local_planes(depth_m, keep, radius_px)
    places, measured = _evenly(np.flatnonzero(keep & planes.valid))
    rays = frame.intrinsics.rays[crop].reshape(-1, 2)[places]
    planes = planes.at(places)
    depth_m = planes.depth_m.astype(np.float64)
    points_m = np.concatenate([rays * depth_m[:, None], depth_m[:, None]], axis=1)
    normals = planes.normals(rays, frame.intrinsics).astype(np.float64)
    axis = target.rotation[:, 2]
    turned_m = _half_turn(points_m - target.centre_m, axis) + target.centre_m
    completed = measured & target.completed & hidden_from_view(turned_m, frame)
    return ContactSurface(
        np.concatenate([points_m, turned_m]),
        np.concatenate([normals, _half_turn(normals, axis)]),
        np.concatenate([measured, completed]),
    )


def _crop_of(instance: Instance3D, image_width: int) -> tuple[slice, slice]:
    """Rows and columns that an instance's pixels span."""
    rows, columns = np.divmod(instance.pixels, image_width)
    return slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)


def _evenly(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`_MAX_SAMPLES` of (N,) places, evenly over them in their order; fewer are padded.

    Returns:
        places: (`_MAX_SAMPLES`,) int64.
        valid: likewise, bool, false where padded.
    """
    ranks = np.arange(_MAX_SAMPLES)
    if len(places) > _MAX_SAMPLES:
        return places[ranks * (len(places) - 1) // (_MAX_SAMPLES - 1)], np.ones(_MAX_SAMPLES, dtype=bool)
    padded = np.zeros(_MAX_SAMPLES, dtype=np.int64)
    padded[: len(places)] = places
    return padded, ranks < len(places)


def _half_turn(vectors: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) vectors turned by half a turn about a unit axis."""
    return 2 * dot(vectors, axis)[:, None] * axis - vectors


@lru_cache(maxsize=1)
def _pair_order() -> NDArray[np.int64]:
    """A random order of the pairs of `_MAX_SAMPLES` measured points with all points, flattened.

    One order for all: what is drawn from the pairs of an instance then depends on each pair by itself, so a pair more
    or less, of a rounding, does not exchange all the others.
    """
    order = np.random.default_rng(0).permutation(2 * _MAX_SAMPLES**2)
    order.setflags(write=False)
    return order


def antipodal_pairs(surface: ContactSurface, friction: float, max_opening_m: float) -> ContactPairs:
    """Pairs of surface points on which two fingers close by friction (Nguyen's condition for two contacts).

    At both contacts the angle between the inward normal and the line to the other contact is at most atan(friction);
    the sign of the normals counts, so that two faces that look at each other across a gap are no pair. Of more than
    `_MAX_PAIRS` pairs a random sample is kept.
    """
    count = surface.samples
    # Two completed points repeat two measured ones, so the first of a pair is measured; float32 keeps these tables
    # small, about any point near the object.
    centred = (surface.points_m - surface.points_m[0]).astype(np.float32)
    normals = surface.normals.astype(np.float32)
    height, squared = dot(normals, centred), dot(centred, centred)
    distance_m = squared[:count, None] + squared - 2 * centred[:count] @ centred.T
    distance_m = np.sqrt(distance_m.clip(min=1e-9))
    # Distance times cosine between the inward normal at one contact and the direction to the other.
    inward = height[:count, None] - normals[:count] @ centred.T
    inward = np.minimum(inward, height - centred[:count] @ normals.T)
    feasible = inward >= float(np.cos(np.arctan(friction))) * distance_m
    feasible &= (distance_m >= _MIN_WIDTH_M) & (distance_m <= max_opening_m)
    feasible &= surface.valid[:count, None] & surface.valid
    numbers = np.arange(2 * count)
    feasible &= (numbers[:count, None] < numbers) | (numbers >= count)
    order = _pair_order()
    chosen = order[np.flatnonzero(feasible.reshape(-1)[order])[:_MAX_PAIRS]]
    first, second = chosen // (2 * count), chosen % (2 * count)
    first_m, second_m = surface.points_m[first], surface.points_m[second]
    closing = _unit(second_m - first_m)
    at_first, at_second = dot(surface.normals[first], closing), dot(surface.normals[second], closing)
    measured = 1 + (second < count).astype(np.int64)
    return ContactPairs(first_m, second_m, np.minimum(-at_first, at_second).clip(max=1.0), measured)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / length(vectors).clip(min=1e-9)[..., None]


def box_pairs(target: Target, lowest_m: float, finger_length_m: float, max_opening_m: float) -> ContactPairs:
    """Contacts on opposite upright faces of the box, at a few heights and places: the plain grasp of box-like objects.

    Args:
        lowest_m: contacts stay this far above the bottom of a box that was completed down to its support.
        finger_length_m: contacts stay within a finger's length of the box's top.
    """
    half = target.size_m / 2
    top_m = half[2] - min(_TOP_MARGIN_M, half[2] / 2)
    bottom_m = max((lowest_m if target.completed else 0.0) - half[2], half[2] - finger_length_m)
    axis, level, offset = (
        grid.reshape(-1) for grid in np.meshgrid((1, 0), np.linspace(0, 1, _BOX_LEVELS), _BOX_OFFSETS, indexing="ij")
    )
    across, along = np.stack([axis == 0, axis == 1], axis=1), np.stack([axis == 1, axis == 0], axis=1)
    height_m = (bottom_m + level * (top_m - bottom_m))[:, None]
    aside_m, ahead_m = across * half[:2], 2 * offset[:, None] * along * half[:2]
    first_m, second_m = (
        np.concatenate([ahead_m + sign * aside_m, height_m], axis=1) @ target.rotation.T + target.centre_m
        for sign in (-1, 1)
    )
    size_m = (across * target.size_m[:2]).sum(axis=1)
    valid = (size_m <= max_opening_m) & (size_m >= _MIN_WIDTH_M) & (bottom_m <= top_m)
    return ContactPairs(first_m, second_m, np.ones(len(valid)), np.zeros(len(valid), dtype=np.int64))[valid]


def candidates_from_pairs(pairs: ContactPairs, up: NDArray[np.float64]) -> Candidates:
    """Every pair with every approach of `_APPROACH_TILTS_DEG`, where the closing axis leaves room to come from above.

    Args:
        up: (3,) unit vector, the support's normal; the untilted approach is as close to -up as the closing axis allows.
    """
    closing = _unit(pairs.second_m - pairs.first_m)
    slope = dot(closing, up)
    down = _unit(slope[:, None] * closing - up)
    aside = np.cross(closing, down)
    rotations = []
    for tilt in np.radians(_APPROACH_TILTS_DEG).tolist():
        approach = math.cos(tilt) * down + math.sin(tilt) * aside
        # The vector product of approach and closing axis, since closing, down and aside are a right-handed frame.
        across = math.sin(tilt) * down - math.cos(tilt) * aside
        rotations.append(np.stack([closing, across, approach], axis=-1))
    every = Candidates(pairs.joined(*[pairs] * (len(rotations) - 1)), np.concatenate(rotations))
    return every[np.tile(abs(slope) <= _MAX_CLOSING_SLOPE, len(rotations))]
