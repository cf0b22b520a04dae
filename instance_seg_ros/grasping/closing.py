"""Closing in thought: how deep the gripper can go, where its fingers meet the body, and whether its way is free."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import length
from instance_seg_ros.grasping.body import EXTRUDED, MEASURED, Body
from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.gripper import Gripper

FloatArray = NDArray[np.float64]

_PALM_MARGIN_M = 0.004
_PATCH_M = 0.0025
"""Surface within this of a finger's first contact carries it."""
_OWN_CLEARANCE_M = 0.001
_MIN_ROOM_M = 0.003
"""Of the opening beside each contact."""


@dataclass(frozen=True, eq=False)
class Closed:
    """What gripping gives at each of (C,) poses.

    Attributes:
        free: (C,) bool, whether the opened gripper gets there without meeting the body, which it has between its
            fingers, with room on both sides.
        low_m, high_m: (C,) where on the closing axis the two fingers meet the body.
        cosine: (C,) of the larger angle between closing axis and inward normals of the surface that carries a contact.
        assumed: (C,) share of that surface that was completed, not measured: the mean of both contacts; what was
            extruded counts double.
        overlap_m: (C,) how long the shorter of the two contacts is along the fingers.
        depth_m: (C,) how deep the body lies between the fingers, from their tips on.
        contacts_m: (C, 2, 3) the middles of the contacts, in the frame of the grasp.
    """

    free: NDArray[np.bool_]
    low_m: FloatArray
    high_m: FloatArray
    cosine: FloatArray
    assumed: FloatArray
    overlap_m: FloatArray
    depth_m: FloatArray
    contacts_m: FloatArray

    @property
    def width_m(self) -> FloatArray:
        """(C,) between the contacts along the closing axis."""
        return self.high_m - self.low_m

    def __getitem__(self, which: NDArray) -> Closed:
        """Those at (K,) indices, or those that (C,) bool names."""
        return Closed(*(getattr(self, field.name)[which] for field in fields(self)))

    def joined(self, *others: Closed) -> Closed:
        """With others behind them."""
        sets = (self, *others)
        return Closed(*(np.concatenate([getattr(closed, field.name) for closed in sets]) for field in fields(self)))


def in_grasp_frames(poses: Poses, points_m: FloatArray) -> NDArray[np.float32]:
    """(C, 3, N) float32 coordinates of (N, 3) points in each grasp's frame."""
    rotations = np.swapaxes(poses.rotations.astype(np.float32), 1, 2)
    origins = (rotations * poses.origins_m.astype(np.float32)[:, None]).sum(axis=-1)
    # One product of matrices for all grasps.
    local_m = (rotations.reshape(-1, 3) @ points_m.astype(np.float32).T).reshape(*origins.shape, len(points_m))
    local_m -= origins[..., None]
    return local_m


def deepest_m(
    poses: Poses, local_m: NDArray[np.float32], body: Body, gripper: Gripper, clearance_m: float
) -> FloatArray:
    """How far (C,) the gripper can move on along its approach: until the palm meets the body or any part the support.

    Args:
        local_m: (C, 3, N) the body's points in the grasps' frames.
    """
    x, y, z = np.abs(local_m[:, 0]), np.abs(local_m[:, 1]), local_m[:, 2]
    under_palm = (x <= gripper.palm.outer_x) & (y <= gripper.palm.half_y)
    nearest_m = np.where(under_palm, z, np.inf).min(axis=1, initial=np.inf)
    depth_m = np.minimum(nearest_m + gripper.finger_length_m - _PALM_MARGIN_M, gripper.finger_length_m)
    if body.supported:
        up = np.array([0.0, 0.0, 1.0])
        height_m = poses.origins_m[:, 2] - gripper.lowest_m(poses.rotations, up) - clearance_m
        descent = -poses.rotations[:, 2, 2]
        depth_m = np.where(descent > 0.05, np.minimum(depth_m, height_m / descent.clip(min=0.05)), -np.inf)
    return np.asarray(depth_m, dtype=np.float64)


def close_on(body: Body, local_m: NDArray[np.float32], poses: Poses, gripper: Gripper) -> Closed:
    """What closing gives at these poses.

    Args:
        local_m: (C, 3, N) the body's points in the grasps' frames.
    """
    x, y, z = local_m[:, 0], np.abs(local_m[:, 1]), local_m[:, 2]
    aside = np.abs(x)
    inner_m = (poses.openings_m / 2).astype(np.float32)[:, None]
    thick_m, length_m = gripper.finger_thickness_m, gripper.finger_length_m
    beside = y <= gripper.fingers.half_y + _OWN_CLEARANCE_M
    fingers = beside & (z <= _OWN_CLEARANCE_M) & (z >= gripper.fingers_on_approach.low_z)
    fingers &= (aside >= inner_m - _OWN_CLEARANCE_M) & (aside <= inner_m + thick_m + _OWN_CLEARANCE_M)
    palm = gripper.palm_on_approach.holds(local_m)
    blocked = (fingers | palm).any(axis=1)
    strip = beside & (z <= 0) & (z >= -length_m) & (aside < inner_m)
    high_m = np.where(strip, x, -np.inf).max(axis=1, initial=-np.inf)
    low_m = np.where(strip, x, np.inf).min(axis=1, initial=np.inf)
    free = ~blocked & np.isfinite(high_m)
    high_m, low_m = np.where(free, high_m, 0.0), np.where(free, low_m, 0.0)
    half_opening_m = poses.openings_m / 2
    # The pose is centred between the contacts afterwards, but the fingers come down where the pose is now.
    free &= (high_m <= half_opening_m - _MIN_ROOM_M) & (low_m >= -half_opening_m + _MIN_ROOM_M)
    patches = (
        strip & (x <= (low_m + _PATCH_M).astype(np.float32)[:, None]),
        strip & (x >= (high_m - _PATCH_M).astype(np.float32)[:, None]),
    )
    normals = body.normals.astype(np.float32)
    weights = np.where(body.origin == MEASURED, 0.0, np.where(body.origin == EXTRUDED, 2.0, 1.0)).astype(np.float32)
    cosines, shares, overlaps, contacts = [], [], [], []
    for side, patch in zip((-1.0, 1.0), patches, strict=True):
        count = patch.sum(axis=1).clip(min=1)
        mean = patch.astype(np.float32) @ normals
        towards = side * (mean * poses.rotations[:, :, 0]).sum(axis=1)
        cosines.append(towards / np.maximum(length(mean), 1e-6))
        shares.append(patch.astype(np.float32) @ weights / count)
        low_z = np.where(patch, z, np.inf).min(axis=1, initial=np.inf)
        high_z = np.where(patch, z, -np.inf).max(axis=1, initial=-np.inf)
        overlaps.append(np.where(free, high_z - low_z, 0.0))
        middle = [np.where(patch, local_m[:, axis], 0).sum(axis=1) / count for axis in (1, 2)]
        contacts.append(np.stack([low_m if side < 0 else high_m, *middle], axis=1))
    depth_m = np.where(strip, -z, 0.0).max(axis=1, initial=0.0)
    return Closed(
        free=free,
        low_m=low_m.astype(np.float64),
        high_m=high_m.astype(np.float64),
        cosine=np.minimum(*cosines).astype(np.float64),
        assumed=((shares[0] + shares[1]) / 2).astype(np.float64),
        overlap_m=np.minimum(*overlaps).astype(np.float64),
        depth_m=depth_m.astype(np.float64),
        contacts_m=np.stack(contacts, axis=1).astype(np.float64),
    )
