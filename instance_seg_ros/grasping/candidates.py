"""Grasp candidates: pairs of contacts that face each other, and the directions from which the gripper may come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.compute import Array, Compute, FrameArrays
from instance_seg_ros.compute.arrays import cast, cross, dot, length, namespace
from instance_seg_ros.compute.windows import Windows
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
class Targets:
    """What the candidates are made for: B instances that have a box.

    Attributes:
        label: (B, 1) int64, 1 + index of the instance.
        rotation: (B, 3, 3) float64, camera from box; the box's z points up.
        centre_m, size_m: (B, 3) float64, the box's centre and full sides.
        up: (B, 3) float64 unit vector from the support to its free side; without a support plane, to the camera.
        completed: (B, 1) bool, whether the box was completed down to the support plane.
    """

    label: Array
    rotation: Array
    centre_m: Array
    size_m: Array
    up: Array
    completed: Array

    @classmethod
    def of_instances(cls, labels: Sequence[int], instances: Sequence[Instance3D]) -> Targets:
        """Arrays of NumPy; every instance has a box."""
        boxes = [instance.box for instance in instances if instance.box is not None]
        rotation = np.stack([box.T_camera_box.rotation for box in boxes])
        centre_m = np.stack([box.T_camera_box.translation_m for box in boxes])
        completed = np.array([[instance.completion is Completion.SUPPORT_PLANE] for instance in instances])
        to_camera = -centre_m / np.linalg.norm(centre_m, axis=1, keepdims=True)
        return cls(
            np.array(labels, dtype=np.int64)[:, None],
            rotation,
            centre_m,
            np.stack([box.size_m for box in boxes]),
            np.where(completed, rotation[:, :, 2], to_camera),
            completed,
        )

    def on(self, compute: Compute) -> Targets:
        """The same as arrays of another library."""
        return Targets(*(compute.array(getattr(self, field.name)) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class ContactSurface:
    """Sampled points of objects' surfaces with outward normals: N = 2 S, the measured ones and these on the far side.

    Attributes:
        points_m: (B, N, 3) float64, camera optical frame. The first S are measured, the others completed.
        normals: (B, N, 3) float64, unit, out of the object.
        valid: (B, N) bool, which of them there are; the others' points and normals mean nothing.
    """

    points_m: Array
    normals: Array
    valid: Array

    @property
    def samples(self) -> int:
        """S."""
        return self.valid.shape[-1] // 2


@dataclass(frozen=True, eq=False)
class ContactPairs:
    """Pairs of contacts, C of them for each instance.

    Attributes:
        first_m, second_m: (..., C, 3) float64, camera optical frame; the closing axis runs from first to second.
        antipodality: (..., C) cosine of the larger angle between closing axis and inward normals, 1 = they face each
            other.
        measured: (..., C) int64, how many of the two were measured, 0 to 2.
        valid: (..., C) bool, which of them there are.
    """

    first_m: Array
    second_m: Array
    antipodality: Array
    measured: Array
    valid: Array

    @property
    def width_m(self) -> Array:
        """(..., C) distance of the contacts, metres."""
        return length(self.second_m - self.first_m)

    @property
    def middle_m(self) -> Array:
        """(..., C, 3) midway between the contacts."""
        return (self.first_m + self.second_m) / 2

    def on(self, compute: Compute) -> ContactPairs:
        """The same as arrays of another library."""
        return ContactPairs(*(compute.array(getattr(self, field.name)) for field in fields(self)))

    def joined(self, others: Sequence[ContactPairs]) -> ContactPairs:
        """With others of the same instances behind them."""
        sets = (self, *others)
        xp, axis = namespace(self.valid), self.valid.ndim - 1
        return ContactPairs(
            *(xp.concatenate([getattr(pairs, field.name) for pairs in sets], axis=axis) for field in fields(self))
        )


@dataclass(frozen=True, eq=False)
class Candidates:
    """Gripper poses, C of them for each instance.

    Attributes:
        pairs: the contacts of each; the origin is midway between them.
        rotations: (..., C, 3, 3) camera from grasp, columns x (closing), y, z (approach).
    """

    pairs: ContactPairs
    rotations: Array

    @property
    def valid(self) -> Array:
        """(..., C) bool, which of them there are."""
        return self.pairs.valid

    @property
    def origins_m(self) -> Array:
        """(..., C, 3) midway between the contacts."""
        return self.pairs.middle_m

    def where(self, valid: Array) -> Candidates:
        """Only those that this (..., C) bool names, too; the others keep their places."""
        own = self.pairs
        pairs = ContactPairs(own.first_m, own.second_m, own.antipodality, own.measured, own.valid & valid)
        return Candidates(pairs, self.rotations)

    def on_host(self, compute: Compute) -> list[Candidates]:
        """Those of each instance, (C, ...), as arrays of NumPy."""
        pairs = [compute.host(getattr(self.pairs, field.name)) for field in fields(self.pairs)]
        rotations = compute.host(self.rotations)
        return [Candidates(ContactPairs(*(array[row] for array in pairs)), own) for row, own in enumerate(rotations)]

    def taken(self, compute: Compute, index: Array) -> Candidates:
        """Those at (B, K) indices."""
        pairs = (compute.rows(getattr(self.pairs, field.name), index) for field in fields(self.pairs))
        return Candidates(ContactPairs(*pairs), compute.rows(self.rotations, index))


def contact_surfaces(
    frame: FrameArrays, labels: Array, targets: Targets, instances: Sequence[Instance3D], compute: Compute
) -> ContactSurface:
    """The measured surfaces with their normals, and their hidden sides where the objects were completed.

    The hidden side is the measured one turned by half a turn about the vertical axis of the completed box, which maps
    boxes, cans, balls and bowls onto themselves. Turned points that the camera would see are refuted and left out.

    Args:
        labels: (H, W) int16, the label of the instance that a pixel was kept for.
        targets, instances: the same ones, each with kept pixels.
    """
    xp = namespace(frame.depth_m)
    image_wh = frame.intrinsics.width, frame.intrinsics.height
    windows = Windows.around([_crop_of(instance, image_wh[0]) for instance in instances], image_wh[::-1], compute)
    depth_m = windows.depth_m(frame)
    keep = (labels[windows.rows, windows.columns] == targets.label[:, :, None]) & (depth_m > 0)
    radii_px = [
        window_radius_px(float(np.median(instance.points_m[:, 2])), frame.intrinsics.fx) for instance in instances
    ]
    planes = fit_local_planes(depth_m, keep, radii_px, compute)
    places, measured = _evenly(xp, (keep & planes.valid).reshape(len(keep), -1), compute)
    rays = compute.rows(windows.rays(frame).reshape(len(keep), -1, 2), places)
    planes = planes.at(compute, places)
    depth_m = cast(planes.depth_m, "float64")
    points_m = xp.concatenate([rays * depth_m[..., None], depth_m[..., None]], axis=2)
    normals = cast(planes.normals(rays, frame.intrinsics), "float64")
    axis, centre_m = targets.rotation[:, None, :, 2], targets.centre_m[:, None]
    turned_m = _half_turn(points_m - centre_m, axis) + centre_m
    completed = measured & targets.completed & hidden_from_view(turned_m, frame)
    return ContactSurface(
        xp.concatenate([points_m, turned_m], axis=1),
        xp.concatenate([normals, _half_turn(normals, axis)], axis=1),
        xp.concatenate([measured, completed], axis=1),
    )


def _crop_of(instance: Instance3D, image_width: int) -> tuple[slice, slice]:
    """Rows and columns that an instance's pixels span."""
    rows, columns = np.divmod(instance.pixels, image_width)
    return slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)


def _evenly(xp: Any, mask: Array, compute: Compute) -> tuple[Array, Array]:
    """At most `_MAX_SAMPLES` true places of (B, N) bool, evenly over them in their order.

    Returns:
        places: (B, `_MAX_SAMPLES`) int64.
        valid: likewise, bool; there may be fewer.
    """
    count = cast(mask, "int64").sum(axis=1)[:, None]
    ranks = compute.array(np.arange(_MAX_SAMPLES))[None]
    spread = ranks * (count - 1).clip(min=0) // (_MAX_SAMPLES - 1)
    wanted = xp.where(count > _MAX_SAMPLES, spread, ranks)
    return compute.true_places(mask, wanted), ranks < count


def _half_turn(vectors: Array, axis: Array) -> Array:
    """(..., 3) vectors turned by half a turn about unit axes."""
    return 2 * dot(vectors, axis)[..., None] * axis - vectors


@lru_cache(maxsize=1)
def _pair_order() -> NDArray[np.int64]:
    """A random order of the pairs of `_MAX_SAMPLES` measured points with all points, flattened.

    One order for all: what is drawn from the pairs of an instance then depends on each pair by itself, so a pair more
    or less, of a rounding, does not exchange all the others.
    """
    order = np.random.default_rng(0).permutation(2 * _MAX_SAMPLES**2)
    order.setflags(write=False)
    return order


def antipodal_pairs(surface: ContactSurface, friction: float, max_opening_m: float, compute: Compute) -> ContactPairs:
    """Pairs of surface points on which two fingers close by friction (Nguyen's condition for two contacts).

    At both contacts the angle between the inward normal and the line to the other contact is at most atan(friction);
    the sign of the normals counts, so that two faces that look at each other across a gap are no pair. Of more than
    `_MAX_PAIRS` pairs a random sample is kept.
    """
    xp, count = namespace(surface.valid), surface.samples
    # Two completed points repeat two measured ones, so the first of a pair is measured; float32 keeps these tables
    # small, about any point near the object.
    centred = cast(surface.points_m - surface.points_m[:, :1], "float32")
    normals = cast(surface.normals, "float32")
    to_columns, to_normals = (xp.swapaxes(table, 1, 2) for table in (centred, normals))
    height, squared = dot(normals, centred), dot(centred, centred)
    distance_m = squared[:, :count, None] + squared[:, None] - 2 * centred[:, :count] @ to_columns
    distance_m = xp.sqrt(distance_m.clip(min=1e-9))
    # Distance times cosine between the inward normal at one contact and the direction to the other.
    inward = height[:, :count, None] - normals[:, :count] @ to_columns
    inward = xp.minimum(inward, height[:, None] - centred[:, :count] @ to_normals)
    feasible = inward >= float(np.cos(np.arctan(friction))) * distance_m
    feasible &= (distance_m >= _MIN_WIDTH_M) & (distance_m <= max_opening_m)
    feasible &= surface.valid[:, :count, None] & surface.valid[:, None]
    numbers = compute.array(np.arange(2 * count))
    feasible &= (numbers[:count, None] < numbers) | (numbers >= count)
    order = compute.constant(_pair_order())
    drawn = feasible.reshape(len(feasible), -1)[:, order]
    ranks = compute.array(np.arange(_MAX_PAIRS))[None]
    valid = ranks < cast(drawn, "int64").sum(axis=1)[:, None]
    chosen = order[compute.true_places(drawn, xp.where(valid, ranks, 0))]
    first, second = chosen // (2 * count), chosen % (2 * count)
    first_m, second_m = (compute.rows(surface.points_m, index) for index in (first, second))
    closing = _unit(second_m - first_m)
    at_first, at_second = (dot(compute.rows(surface.normals, index), closing) for index in (first, second))
    measured = 1 + cast(second < count, "int64")
    return ContactPairs(first_m, second_m, xp.minimum(-at_first, at_second).clip(max=1.0), measured, valid)


def _unit(vectors: Array) -> Array:
    return vectors / length(vectors).clip(min=1e-9)[..., None]


def box_pairs(targets: Targets, lowest_m: float, finger_length_m: float, max_opening_m: float) -> ContactPairs:
    """Contacts on opposite upright faces of the box, at a few heights and places: the plain grasp of box-like objects.

    Args:
        targets: arrays of NumPy.
        lowest_m: contacts stay this far above the bottom of a box that was completed down to its support.
        finger_length_m: contacts stay within a finger's length of the box's top.

    Returns:
        Arrays of NumPy.
    """
    half = targets.size_m[:, None] / 2  # (B, 1, 3)
    top_m = half[..., 2] - np.minimum(_TOP_MARGIN_M, half[..., 2] / 2)
    bottom_m = np.maximum(np.where(targets.completed, lowest_m, 0.0) - half[..., 2], half[..., 2] - finger_length_m)
    axis, level, offset = (
        grid.reshape(-1) for grid in np.meshgrid((1, 0), np.linspace(0, 1, _BOX_LEVELS), _BOX_OFFSETS, indexing="ij")
    )
    across, along = np.stack([axis == 0, axis == 1], axis=1), np.stack([axis == 1, axis == 0], axis=1)
    height_m = (bottom_m + level * (top_m - bottom_m))[..., None]
    aside_m, ahead_m = across * half[..., :2], 2 * offset[:, None] * along * half[..., :2]
    first_m, second_m = (
        np.concatenate([ahead_m + sign * aside_m, height_m], axis=2) @ np.swapaxes(targets.rotation, 1, 2)
        + targets.centre_m[:, None]
        for sign in (-1, 1)
    )
    size_m = (across * targets.size_m[:, None, :2]).sum(axis=2)
    valid = (size_m <= max_opening_m) & (size_m >= _MIN_WIDTH_M) & (bottom_m <= top_m)
    return ContactPairs(first_m, second_m, np.ones(valid.shape), np.zeros(valid.shape, dtype=np.int64), valid)


def candidates_from_pairs(pairs: ContactPairs, up: Array) -> Candidates:
    """Every pair with every approach of `_APPROACH_TILTS_DEG`, where the closing axis leaves room to come from above.

    Args:
        up: (..., 3) unit vectors, the support's normal; the untilted approach is as close to -up as the closing axis
            allows.
    """
    xp, up = namespace(up), up[..., None, :]
    closing = _unit(pairs.second_m - pairs.first_m)
    slope = dot(closing, up)
    down = _unit(slope[..., None] * closing - up)
    aside = cross(closing, down)
    rotations = []
    for tilt in np.radians(_APPROACH_TILTS_DEG).tolist():
        approach = math.cos(tilt) * down + math.sin(tilt) * aside
        # The vector product of approach and closing axis, since closing, down and aside are a right-handed frame.
        across = math.sin(tilt) * down - math.cos(tilt) * aside
        rotations.append(xp.stack([closing, across, approach], axis=-1))
    every = pairs.joined([pairs] * (len(rotations) - 1))
    usable = xp.concatenate([abs(slope) <= _MAX_CLOSING_SLOPE] * len(rotations), axis=slope.ndim - 1)
    return Candidates(every, xp.concatenate(rotations, axis=slope.ndim - 1)).where(usable)
