"""Closing in thought: how deep the gripper can go, where its fingers meet the body, and whether its way is free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.rows import rows_of
from instance_seg_ros.grasping import pose_kernels
from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.object_body import Body

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Closed:
    """What gripping gives at each of (C,) poses.

    Attributes:
        values: (C, 12) float64, what the properties name, in their order.
    """

    values: FloatArray

    @property
    def low_m(self) -> FloatArray:
        """(C,) where on the closing axis the first finger meets the body."""
        return self.values[:, 0]

    @property
    def high_m(self) -> FloatArray:
        """(C,) where on the closing axis the second finger meets the body."""
        return self.values[:, 1]

    @property
    def cosine(self) -> FloatArray:
        """(C,) of the larger angle between closing axis and inward normals of the surface that carries a contact."""
        return self.values[:, 2]

    @property
    def assumed(self) -> FloatArray:
        """(C,) share of that surface that was completed, not measured: the mean of both contacts; what was extruded
        counts double.
        """
        return self.values[:, 3]

    @property
    def overlap_m(self) -> FloatArray:
        """(C,) how long the shorter of the two contacts is along the fingers."""
        return self.values[:, 4]

    @property
    def depth_m(self) -> FloatArray:
        """(C,) how deep the body lies between the fingers, from their tips on."""
        return self.values[:, 5]

    @property
    def contacts_m(self) -> FloatArray:
        """(C, 2, 3) the middles of the contacts, in the frame of the grasp."""
        return self.values[:, 6:].reshape(-1, 2, 3)

    @property
    def width_m(self) -> FloatArray:
        """(C,) between the contacts along the closing axis."""
        return self.high_m - self.low_m

    def __getitem__(self, which: NDArray) -> Closed:
        """Those at (K,) indices, or those that (C,) bool names."""
        return Closed(rows_of(self.values, which))

    def joined(self, *others: Closed) -> Closed:
        """With others behind them."""
        return Closed(np.concatenate([self.values, *(own.values for own in others)]))


def deepest_m(poses: Poses, body: Body, gripper: Gripper, clearance_m: float) -> FloatArray:
    """How far (C,) each pose can move on along its approach until the palm meets the body or the gripper its support.

    Of what stands on nothing that is known, it is the scene's support plane that the gripper stays above. Less than 0
    where it would have to stay farther out; -inf where it never gets there, from below a support.
    """
    return pose_kernels.deepest(
        poses.rotations,
        poses.origins_m,
        body.points_m,
        gripper.boxes_m,
        gripper.finger_length_m,
        body.supported,
        _floor_m(body),
        clearance_m,
    )


def stays_above(poses: Poses, body: Body, gripper: Gripper, way_m: float, clearance_m: float) -> NDArray[np.bool_]:
    """(C,) whether the gripper keeps so far above what `deepest_m` keeps it above, on its way in and at its end.

    Where it rises to what is held, it starts lower; and where its closing axis leans, centring between the contacts has
    moved one finger downwards.

    Args:
        way_m: how far it comes straight in.
    """
    lowest_m = pose_kernels.lowest_m(poses.rotations, poses.origins_m, gripper.boxes_m)
    lowest_m -= way_m * np.maximum(poses.rotations[:, 2, 2], 0.0)
    return np.asarray(lowest_m >= _floor_m(body) + clearance_m)


def _floor_m(body: Body) -> float:
    return 0.0 if body.supported else body.floor_m


def close_on(
    body: Body,
    poses: Poses,
    depth_m: FloatArray,
    openings_m: FloatArray,
    gripper: Gripper,
    friction: float,
) -> tuple[Poses, Closed, int, int]:
    """What closing gives at poses that move on along their approach, where they fit and hold.

    Args:
        poses: (C,) before they move, fully opened.
        depth_m: (C,) how far they move, no deeper than `deepest_m` lets them.
        openings_m: (C,) how far they are opened where they do not fit in fully opened.
        friction: that grasps rely on.

    Returns:
        poses: (K,) those that fit and hold, moved in and centred between their contacts.
        closed: (K,) what they close on, from where they were before they were centred.
        unfit, slip: how many of the others do not fit, and how many do not hold.
    """
    origins_m, rotations, opened_m, values, unfit, slip = pose_kernels.close_fingers(
        depth_m,
        openings_m,
        gripper.max_opening_m,
        poses.rotations,
        poses.origins_m,
        body.points_m,
        body.normals,
        body.origin,  # so much is assumed of it: what was extruded counts double
        gripper.finger_thickness_m,
        gripper.fingers.half_y,
        gripper.finger_length_m,
        friction,
    )
    return Poses(origins_m, rotations, opened_m), Closed(values), unfit, slip
