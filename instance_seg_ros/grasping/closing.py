"""Closing in thought: how deep the gripper can go, where its fingers meet the body, and whether its way is free."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import length
from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.object_body import Body

FloatArray = NDArray[np.float64]

_PALM_MARGIN_M = 0.004
_PATCH_M = 0.0025
"""Surface within this of a finger's first contact carries it."""
_LEAST_FACING = 0.3
"""Cosine between closing axis and inward normal below which a point is of another side than the one that is touched."""
_OWN_CLEARANCE_M = 0.001
_MIN_ROOM_M = 0.003
"""Of the opening beside each contact."""
_ASSUMED = np.array([0.0, 1.0, 2.0])
"""How much a point counts as assumed, by its origin: `MEASURED`, `TURNED`, `EXTRUDED`."""


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

    Only `free` says anything of poses that are not free.
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
        return Closed(*(values[which] for values in vars(self).values()))

    def joined(self, *others: Closed) -> Closed:
        """With others behind them."""
        sets = (self, *others)
        return Closed(*(np.concatenate([getattr(closed, field.name) for closed in sets]) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Column:
    """The few points of a body that lie where the fingers of (C,) poses come down, pose by pose.

    Attributes:
        count: C.
        pose: (M,) int64, index of the pose, ascending.
        point: (M,) int64, index of the body's point.
        x_m, y_m, z_m: (M,) float32, its coordinates in the pose's grasp frame.
    """

    count: int
    pose: NDArray[np.int64]
    point: NDArray[np.int64]
    x_m: NDArray[np.float32]
    y_m: NDArray[np.float32]
    z_m: NDArray[np.float32]

    @classmethod
    def of(cls, local_m: NDArray[np.float32], gripper: Gripper) -> Column:
        """From (C, 3, N) coordinates of the body's points in the grasps' frames, for every depth and opening."""
        count, _, points = local_m.shape
        inside = np.abs(local_m[:, 0]) <= _farthest_m(np.array([gripper.max_opening_m]), gripper)
        inside &= np.abs(local_m[:, 1]) <= gripper.fingers.half_y + _OWN_CLEARANCE_M
        flat = np.flatnonzero(inside)
        pose, point = np.divmod(flat, max(points, 1))
        first = flat + 2 * points * pose
        x_m, y_m, z_m = (local_m.reshape(-1).take(first + axis * points) for axis in range(3))
        return cls(count, pose, point, x_m, y_m, z_m)

    def of_poses(self, which: NDArray[np.int64]) -> Column:
        """That of the poses at (K,) ascending indices."""
        if len(which) == self.count:
            return self
        number = np.full(self.count, -1)
        number[which] = np.arange(len(which))
        pose = number.take(self.pose)
        kept = np.flatnonzero(pose >= 0)
        x_m, y_m, z_m = (values.take(kept) for values in (self.x_m, self.y_m, self.z_m))
        return Column(len(which), pose.take(kept), self.point.take(kept), x_m, y_m, z_m)

    def moved(self, depth_m: FloatArray) -> Column:
        """With each pose moved on along its approach by (C,), metres."""
        return replace(self, z_m=self.z_m - depth_m.astype(np.float32).take(self.pose))


def _farthest_m(openings_m: FloatArray, gripper: Gripper) -> NDArray[np.float32]:
    """How far (C,) the outer sides of the fingers, with their clearance, are from the middle between them."""
    inner_m = (openings_m / 2).astype(np.float32)
    return np.asarray(inner_m + gripper.finger_thickness_m + _OWN_CLEARANCE_M, dtype=np.float32)


def in_grasp_frames(poses: Poses, points_m: FloatArray) -> NDArray[np.float32]:
    """(C, 3, N) float32 coordinates of (N, 3) points in each grasp's frame."""
    rotations = np.swapaxes(poses.rotations.astype(np.float32), 1, 2)
    origins = (rotations * poses.origins_m.astype(np.float32)[:, None]).sum(axis=-1)
    if not len(points_m) or not len(poses):
        return np.zeros((*origins.shape, len(points_m)), dtype=np.float32)
    # One product of matrices for all grasps. OpenCV's: NumPy's starts threads for it, which on a busy machine wait for
    # each other much longer than the product takes.
    columns_m = np.ascontiguousarray(points_m.T, dtype=np.float32)
    local_m = cv2.gemm(rotations.reshape(-1, 3), columns_m, 1.0, None, 0.0).reshape(*origins.shape, len(points_m))
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


def close_on(body: Body, column: Column, poses: Poses, gripper: Gripper) -> Closed:
    """What closing gives at these poses, which are no deeper than `deepest_m` lets them.

    Args:
        column: the body's points where their fingers come down.
    """
    count, inner_m = len(poses), (poses.openings_m / 2).astype(np.float32)
    pose, x, z = column.pose, np.abs(column.x_m), column.z_m
    beside = (x <= _farthest_m(poses.openings_m, gripper).take(pose)) & (z <= _OWN_CLEARANCE_M)
    blocked = np.zeros(count, dtype=bool)
    blocked[pose[beside & (x >= (inner_m - _OWN_CLEARANCE_M).take(pose))]] = True
    between = np.flatnonzero(beside & (z <= 0) & ~blocked.take(pose))
    pose, x, z = pose.take(between), column.x_m.take(between), z.take(between)
    starts = _starts(pose)
    low_m, high_m = _of_each(np.minimum, x, pose, starts, count), _of_each(np.maximum, x, pose, starts, count)
    depth_m = -_of_each(np.minimum, z, pose, starts, count)
    # The pose is centred between the contacts afterwards, but the fingers come down where the pose is now.
    room_m = poses.openings_m / 2 - _MIN_ROOM_M
    free = np.zeros(count, dtype=bool)
    free[pose[starts]] = True
    free &= (high_m <= room_m) & (low_m >= -room_m)
    # The surface that carries the contact of the first finger, then that of the second.
    x = x.astype(np.float64)
    first = np.flatnonzero(x <= np.where(free, low_m + _PATCH_M, -np.inf).take(pose))
    second = np.flatnonzero(x >= np.where(free, high_m - _PATCH_M, np.inf).take(pose))
    carries = np.concatenate([first, second])
    contact, place = pose.take(carries), between.take(carries)
    contact[len(first) :] += count
    contact_m = np.concatenate([low_m, high_m])
    closing = np.concatenate([-poses.rotations[:, :, 0], poses.rotations[:, :, 0]])
    cosine, assumed, length_m, middle_m = _contacts(
        body, closing, contact, column.point.take(place), column.y_m.take(place), z.take(carries)
    )
    return Closed(
        free=free,
        low_m=low_m,
        high_m=high_m,
        cosine=np.minimum(cosine[:count], cosine[count:]),
        assumed=(assumed[:count] + assumed[count:]) / 2,
        overlap_m=np.minimum(length_m[:count], length_m[count:]),
        depth_m=depth_m,
        contacts_m=np.column_stack([contact_m, middle_m]).reshape(2, count, 3).swapaxes(0, 1),
    )


def _starts(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in (M,) ascending numbers of groups each group starts."""
    first = np.ones(len(group), dtype=bool)
    np.not_equal(group[1:], group[:-1], out=first[1:])
    return np.flatnonzero(first)


def _of_each(
    least_or_most: np.ufunc,
    values: NDArray[np.float32],
    group: NDArray[np.int64],
    starts: NDArray[np.int64],
    count: int,
) -> FloatArray:
    """(C,) the least or the greatest of the values (M,) of each group, 0 for a group without any."""
    result = np.zeros(count)
    if len(starts):
        result[group[starts]] = least_or_most.reduceat(values, starts)
    return result


def _contacts(
    body: Body,
    closing: FloatArray,
    contact: NDArray[np.int64],
    point: NDArray[np.int64],
    y_m: NDArray[np.float32],
    z_m: NDArray[np.float32],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The surfaces that carry (K,) contacts.

    Args:
        closing: (K, 3) unit vectors along the closing axis, outwards, body frame.
        contact: (M,) index of the contact that a point carries, ascending.
        point: (M,) index of the body's point.
        y_m, z_m: (M,) where it is in the grasp's frame.

    Returns:
        cosine between closing axis and inward normal, the share that is assumed, its length along the fingers, all
        (K,), and its middle in y and z (K, 2).
    """
    count = len(closing)

    def total(values: NDArray[np.floating]) -> FloatArray:
        return np.asarray(np.bincount(contact, values, count), dtype=np.float64)

    number = np.bincount(contact, minlength=count).clip(min=1)
    normals = body.normals.take(point, axis=0)
    # At an edge a finger touches the side, not the top.
    touched = (normals * closing.take(contact, axis=0)).sum(axis=1) > _LEAST_FACING
    normal = np.stack([total(normals[:, axis] * touched) for axis in range(3)], axis=1)
    towards = (normal * closing).sum(axis=1)
    starts = _starts(contact)
    length_m = _of_each(np.maximum, z_m, contact, starts, count) - _of_each(np.minimum, z_m, contact, starts, count)
    middle_m = np.stack([total(y_m) / number, total(z_m) / number], axis=1)
    share = total(_ASSUMED.take(body.origin.take(point))) / number
    return towards / length(normal).clip(min=1e-6), share, length_m, middle_m
