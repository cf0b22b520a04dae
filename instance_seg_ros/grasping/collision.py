"""The collision check: the gripper's regions against every measured point of the frame and the support plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.camera import RgbdFrame
from instance_seg_ros.geometry import Plane
from instance_seg_ros.grasping.candidates import Candidates, ContactSurface
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.lifting import LiftedFrame
from instance_seg_ros.lifting.surface import depth_step_pixels

_STRIDE_PX = 2
_VOXEL_M = 0.005
_PLANE_TOLERANCE_M = 0.008
_EDGE_STEP_M = 0.01
_EDGE_STEP_RATIO = 0.02
_RIM_PX = 7
"""Unlabelled pixels this near to an object (side of the square) are its own rim: flying pixels, a tight mask."""
_CONTACT_TOLERANCE_M = 0.005
_SIGHT_TOLERANCE_M = 0.01


@dataclass(frozen=True, eq=False)
class Obstacles:
    """What the frame holds above its support plane, thinned to one point a 5 mm cell.

    Attributes:
        points_m: (M, 3) float32, camera optical frame.
        owner: (M,) int64, 1 + index of the instance that a point belongs to, 0 for none.
        owner_image: (H, W) uint16, the same for each pixel.
        plane: the support plane, solid below; or None.
    """

    points_m: NDArray[np.float32]
    owner: NDArray[np.int64]
    owner_image: NDArray[np.uint16]
    plane: Plane | None

    @classmethod
    def of_frame(cls, frame: RgbdFrame, lifted: LiftedFrame, surfaces: Sequence[ContactSurface]) -> Obstacles:
        """All measured points off the plane and away from depth steps, and the completed hidden sides of all objects.

        Space that the camera did not see, other than those hidden sides and below the plane, counts as free.
        """
        kept = np.zeros(frame.depth_m.shape, dtype=np.uint16)
        for index, instance in enumerate(lifted.instances, start=1):
            kept.reshape(-1)[instance.pixels] = index
        owners = np.where(kept > 0, kept, cv2.dilate(kept, np.ones((_RIM_PX, _RIM_PX), np.uint8)))
        steps = depth_step_pixels(frame.depth_m, _EDGE_STEP_M, _EDGE_STEP_RATIO).astype(np.uint8)
        beside = cv2.dilate(steps, np.ones((3, 3), np.uint8)).astype(bool)
        grid = (slice(None, None, _STRIDE_PX), slice(None, None, _STRIDE_PX))
        solid = (frame.depth_m[grid] > 0) & ~beside[grid]
        depth_m = frame.depth_m[grid][solid]
        points_m = np.concatenate([frame.intrinsics.rays[grid][solid] * depth_m[:, None], depth_m[:, None]], axis=1)
        owner = owners[grid][solid].astype(np.int64)
        if lifted.support_plane is not None:
            above = lifted.support_plane.height_m(points_m) > _PLANE_TOLERANCE_M
            points_m, owner = points_m[above], owner[above]
        hidden = [surface.points_m[~surface.measured].astype(np.float32) for surface in surfaces]
        hidden_owner = [np.full(len(points), index, dtype=np.int64) for index, points in enumerate(hidden, start=1)]
        points_m = np.concatenate([points_m, *hidden])
        owner = np.concatenate([owner, *hidden_owner])
        first = _first_of_each_cell(points_m, owner)
        return cls(points_m[first], owner[first], owners, lifted.support_plane)

    def others_near(self, own: int, centre_m: NDArray[np.float64], radius_m: float) -> NDArray[np.float32]:
        """The points within a radius that do not belong to instance `own` (1 + its index), (P, 3)."""
        near = ((self.points_m - centre_m.astype(np.float32)) ** 2).sum(axis=1) < radius_m**2
        return self.points_m[near & (self.owner != own)]


def _first_of_each_cell(points_m: NDArray[np.float32], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of one point of each owner in each cell of `_VOXEL_M`."""
    cells = np.floor(points_m / _VOXEL_M).astype(np.int64) + 2**15
    key = ((owner << 17 | cells[:, 0]) << 17 | cells[:, 1]) << 17 | cells[:, 2]
    return np.unique(key, return_index=True)[1]


def above_plane(candidates: Candidates, gripper: Gripper, plane: Plane, clearance_m: float) -> NDArray[np.bool_]:
    """Which grasps (C,) keep the whole gripper above the plane; their way in descends and so stays above it, too."""
    lowest_m = plane.height_m(candidates.origins_m) - gripper.lowest_m(candidates.rotations, plane.normal)
    descends = candidates.rotations[:, :, 2] @ plane.normal <= 0
    return np.asarray(descends & (lowest_m >= clearance_m), dtype=bool)


def free_of_scene(
    candidates: Candidates, gripper: Gripper, obstacles_m: NDArray[np.float32], clearance_m: float
) -> NDArray[np.bool_]:
    """Which grasps (C,) keep their distance from all points (P, 3), on the way in and while closing."""
    local_m = _in_grasp_frames(candidates, obstacles_m)
    regions = (gripper.between, gripper.fingers_on_approach, gripper.palm_on_approach)
    hit = np.zeros(local_m.shape[::2], dtype=bool)
    for region in regions:
        hit |= region.grown(clearance_m).holds(local_m)
    return np.count_nonzero(hit, axis=1) == 0


def free_of_own_object(
    candidates: Candidates, gripper: Gripper, own_m: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which grasps (C,) meet the object at their contacts first, and how deep (C,) it lies between the fingers, metres.

    The opened fingers and the palm must clear the object's own surface points (P, 3) on the way in, and nothing of it
    may stand out beyond the contacts where the fingers close. The depth is measured from the fingertips on.
    """
    local_m = _in_grasp_frames(candidates, own_m.astype(np.float32))
    contact_x = candidates.pairs.width_m[candidates.pair] / 2 + _CONTACT_TOLERANCE_M
    between = gripper.between.holds(local_m)
    in_the_way = gripper.fingers_on_approach.holds(local_m) | gripper.palm_on_approach.holds(local_m)
    in_the_way |= between & (np.abs(local_m[:, 0]) > contact_x[:, None])
    depth_m = np.where(between, -local_m[:, 2], 0).max(axis=1, initial=0)
    return np.count_nonzero(in_the_way, axis=1) == 0, depth_m


def share_out_of_sight(
    candidates: Candidates, gripper: Gripper, frame: RgbdFrame, obstacles: Obstacles, own: int
) -> NDArray[np.float64]:
    """Share (C,) of places on the fingers, closed and opened, that lie behind something else or outside the image.

    There the camera saw neither the object's side nor what stands beside it. Space behind the object itself (`own`,
    1 + its index) does not count: its hidden side is completed.
    """
    closed_m = candidates.pairs.width_m[candidates.pair] / 2
    opened_m = np.full_like(closed_m, gripper.fingers.outer_x)
    x_m = np.stack([-opened_m, -closed_m, closed_m, opened_m], axis=1)
    places = np.zeros((len(candidates), 2, 4, 3))
    places[..., 0] = x_m[:, None]
    places[:, 1, :, 2] = -gripper.finger_length_m / 3
    points_m = places.reshape(-1, 8, 3) @ np.swapaxes(candidates.rotations, 1, 2) + candidates.origins_m[:, None]
    points_m[..., 2] = np.maximum(points_m[..., 2], 1e-3)  # what is beside or behind the camera is outside the image
    columns, rows = np.moveaxis(np.rint(frame.intrinsics.project(points_m)), -1, 0)
    height, width = frame.depth_m.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    pixel = np.where(inside, rows, 0).astype(np.int64), np.where(inside, columns, 0).astype(np.int64)
    seen_m = frame.depth_m[pixel]
    behind = (seen_m > 0) & (seen_m < points_m[..., 2] - _SIGHT_TOLERANCE_M) & (obstacles.owner_image[pixel] != own)
    return np.asarray((behind | ~inside).mean(axis=1), dtype=np.float64)


def _in_grasp_frames(candidates: Candidates, points_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, 3, P) float32 coordinates of (P, 3) points in each grasp's frame."""
    rotations = candidates.rotations.astype(np.float32)
    origins = np.einsum("cij,ci->cj", rotations, candidates.origins_m.astype(np.float32))
    return np.swapaxes(rotations, 1, 2) @ points_m.T - origins[:, :, None]
