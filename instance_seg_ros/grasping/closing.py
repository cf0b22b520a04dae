"""Closing in thought: how deep the gripper can go, where its fingers meet the body, and whether its way is free."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import length
from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.object_body import EXTRUDED, MEASURED, Body

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

    Less than 0 where it would have to stay farther out; -inf where it never gets there, from below a support.

    Args:
        local_m: (C, 3, N) the body's points in the grasps' frames.
    """
    # Behind the fingers, too, nothing can be: they are as long as this.
    half_x, half_y = (
        max(gripper.palm.outer_x, gripper.fingers.outer_x),
        max(gripper.palm.half_y, gripper.fingers.half_y),
    )
    behind = (np.abs(local_m[:, 0]) <= half_x) & (np.abs(local_m[:, 1]) <= half_y)
    nearest_m = np.where(behind, local_m[:, 2], np.inf).min(axis=1, initial=np.inf)
    depth_m = np.minimum(nearest_m + gripper.finger_length_m - _PALM_MARGIN_M, gripper.finger_length_m)
    if body.supported:
        up = np.array([0.0, 0.0, 1.0])
        height_m = poses.origins_m[:, 2] - gripper.lowest_m(poses.rotations, up) - clearance_m
        descent = -poses.rotations[:, 2, 2]
        depth_m = np.where(descent > 0.05, np.minimum(depth_m, height_m / descent.clip(min=0.05)), -np.inf)
    return np.asarray(depth_m, dtype=np.float64)


def close_on(body: Body, local_m: NDArray[np.float32], poses: Poses, gripper: Gripper) -> Closed:
    """What closing gives at these poses, which are no deeper than `deepest_m` lets them.

    Args:
        local_m: (C, 3, N) the body's points in the grasps' frames.
    """
    count, inner_m = len(poses), (poses.openings_m / 2).astype(np.float32)
    farthest_m = (inner_m + gripper.finger_thickness_m + _OWN_CLEARANCE_M).astype(np.float32)
    beside = np.abs(local_m[:, 0]) <= farthest_m[:, None]
    beside &= np.abs(local_m[:, 1]) <= gripper.fingers.half_y + _OWN_CLEARANCE_M
    beside &= local_m[:, 2] <= _OWN_CLEARANCE_M
    # From here on only the points that the fingers may meet: a few of all, in the order of the poses.
    pose, point = np.nonzero(beside)
    x, y, z = (local_m[pose, axis, point] for axis in range(3))
    blocked = np.zeros(count, dtype=bool)
    blocked[pose[np.abs(x) >= inner_m[pose] - _OWN_CLEARANCE_M]] = True
    between = (z <= 0) & ~blocked[pose]
    pose, point, x, y, z = pose[between], point[between], x[between], y[between], z[between]
    low_m, high_m = _least(x, pose, count), -_least(-x, pose, count)
    free = np.isfinite(low_m)
    low_m, high_m = np.where(free, low_m, 0.0), np.where(free, high_m, 0.0)
    depth_m = np.where(free, -_least(z, pose, count), 0.0)
    # The pose is centred between the contacts afterwards, but the fingers come down where the pose is now.
    room_m = poses.openings_m / 2 - _MIN_ROOM_M
    free &= (high_m <= room_m) & (low_m >= -room_m)
    sides = [
        _contact(body, poses, side * _PATCH_M, (pose, point, x, y, z), count, low_m if side < 0 else high_m)
        for side in (-1, 1)
    ]
    first, second = sides
    return Closed(
        free=free,
        low_m=low_m,
        high_m=high_m,
        cosine=np.minimum(first[0], second[0]),
        assumed=(first[1] + second[1]) / 2,
        overlap_m=np.minimum(first[2], second[2]),
        depth_m=depth_m,
        contacts_m=np.stack([first[3], second[3]], axis=1),
    )


def _least(values: NDArray[np.float32], pose: NDArray[np.int64], count: int) -> FloatArray:
    """(C,) the least of the values of each pose, inf for a pose without any; `pose` ascends."""
    least = np.full(count, np.inf)
    if len(pose):
        starts = np.flatnonzero(np.diff(pose, prepend=-1))
        least[pose[starts]] = np.minimum.reduceat(values, starts)
    return least


def _contact(
    body: Body,
    poses: Poses,
    patch_m: float,
    points: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    count: int,
    contact_m: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The surface that carries one contact of each pose.

    Args:
        patch_m: how thick it is; below 0 on the low side of the closing axis.
        points: pose, index and x, y, z of what is between the fingers.
        contact_m: (C,) where on the closing axis the finger meets it.

    Returns:
        cosine between closing axis and inward normal, the share that is assumed, its length along the fingers, all
        (C,), and its middle (C, 3).
    """
    side = np.sign(patch_m)
    carries = side * points[2] >= side * contact_m[points[0]] - abs(patch_m)
    pose, point, _, y, z = (values[carries] for values in points)

    def total(values: NDArray[np.floating]) -> FloatArray:
        return np.asarray(np.bincount(pose, values, count), dtype=np.float64)

    number = np.bincount(pose, minlength=count).clip(min=1)
    normal = np.stack([total(body.normals[point, axis]) for axis in range(3)], axis=1)
    towards = side * (normal * poses.rotations[:, :, 0]).sum(axis=1)
    weights = np.where(body.origin == MEASURED, 0.0, np.where(body.origin == EXTRUDED, 2.0, 1.0))
    length_m = -_least(-z, pose, count) - _least(z, pose, count)
    middle_m = np.stack([contact_m, total(y) / number, total(z) / number], axis=1)
    share = total(weights[point]) / number
    return towards / length(normal).clip(min=1e-6), share, np.where(np.isfinite(length_m), length_m, 0.0), middle_m
