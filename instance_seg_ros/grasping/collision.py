"""The collision check: the gripper's regions against every measured point of the frame and the support plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import FloatArray, Plane, dot
from instance_seg_ros.grasping.candidates import Candidates, ContactSurface, Target
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.lifting.completion import pixels_of
from instance_seg_ros.lifting.surface import depth_step_pixels, dilated

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
        owner_image: (H, W) int16, the same for each pixel.
        plane: the support plane, solid below; or None.
    """

    points_m: NDArray[np.float32]
    owner: NDArray[np.int64]
    owner_image: NDArray[np.int16]
    plane: Plane | None

    @classmethod
    def of_frame(cls, frame: RgbdFrame, labels: NDArray[np.int16], plane: Plane | None) -> Obstacles:
        """All measured points off the plane and away from depth steps.

        Space that the camera did not see, other than hidden sides that are added and below the plane, counts as free.

        Args:
            labels: (H, W) int16, 1 + index of the instance that a pixel was kept for, 0 for none.
        """
        owners = np.where(labels > 0, labels, dilated(labels, _RIM_PX))
        beside = dilated(depth_step_pixels(frame.depth_m, _EDGE_STEP_M, _EDGE_STEP_RATIO), 3)
        grid = (slice(None, None, _STRIDE_PX), slice(None, None, _STRIDE_PX))
        solid = (frame.depth_m[grid] > 0) & ~beside[grid]
        depth_m = frame.depth_m[grid][solid][:, None]
        points_m = np.concatenate([frame.intrinsics.rays[grid][solid] * depth_m, depth_m], axis=1)
        owner = owners[grid][solid].astype(np.int64)
        if plane is not None:
            above = _height_m(points_m, plane) > _PLANE_TOLERANCE_M
            points_m, owner = points_m[above], owner[above]
        return cls(points_m, owner, owners, plane)._thinned()

    def with_hidden_side(self, label: int, surface: ContactSurface) -> Obstacles:
        """With the completed hidden side of the object of this label."""
        hidden_m = surface.completed_m.astype(np.float32)
        points_m = np.concatenate([self.points_m, hidden_m])
        owner = np.concatenate([self.owner, np.full(len(hidden_m), label)])
        return Obstacles(points_m, owner, self.owner_image, self.plane)._thinned()

    def _thinned(self) -> Obstacles:
        """One point of each owner in each cell of `_VOXEL_M`."""
        cells = np.floor(self.points_m / _VOXEL_M).astype(np.int64) + 2**15
        key = ((self.owner << 17 | cells[:, 0]) << 17 | cells[:, 1]) << 17 | cells[:, 2]
        kept = np.unique(key, return_index=True)[1]
        return Obstacles(self.points_m[kept], self.owner[kept], self.owner_image, self.plane)

    def others_near(self, target: Target, radius_m: float) -> NDArray[np.float32]:
        """The points (P, 3) within a radius of the box's centre that do not belong to that instance."""
        offset_m = self.points_m - target.centre_m.astype(np.float32)
        return self.points_m[(dot(offset_m, offset_m) < radius_m**2) & (self.owner != target.label)]


def _height_m(points_m: FloatArray, plane: Plane) -> FloatArray:
    """Signed distance (...) of (..., 3) points above the plane, metres."""
    x, y, z = (points_m[..., axis] * float(plane.normal[axis]) for axis in range(3))
    return x + y + z + plane.offset_m


def above_plane(candidates: Candidates, gripper: Gripper, plane: Plane, clearance_m: float) -> NDArray[np.bool_]:
    """Which grasps (C,) keep the whole gripper above the plane; their way in descends and stays above it, too."""
    lowest_m = _height_m(candidates.origins_m, plane) - gripper.lowest_m(candidates.rotations, plane.normal)
    descends = dot(candidates.rotations[..., 2], plane.normal) <= 0
    return descends & (lowest_m >= clearance_m)


def free_of_scene(
    candidates: Candidates, gripper: Gripper, obstacles_m: NDArray[np.float32], clearance_m: float
) -> NDArray[np.bool_]:
    """Which grasps (C,) keep their distance from all points (P, 3), on the way in and while closing."""
    local_m = _in_grasp_frames(candidates, obstacles_m)
    between, fingers, palm = (
        region.grown(clearance_m).holds(local_m)
        for region in (gripper.between, gripper.fingers_on_approach, gripper.palm_on_approach)
    )
    return ~np.any(between | fingers | palm, axis=1)


def free_of_own_object(
    candidates: Candidates, gripper: Gripper, surface: ContactSurface
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which grasps (C,) meet the object at their contacts first, and how deep (C,) it lies between the fingers.

    The opened fingers and the palm must clear the object's own surface points on the way in, and nothing of it may
    stand out beyond the contacts where the fingers close. The depth is measured from the fingertips on, in metres.
    """
    local_m = _in_grasp_frames(candidates, surface.points_m[surface.valid].astype(np.float32))
    contact_x = (candidates.pairs.width_m / 2 + _CONTACT_TOLERANCE_M).astype(np.float32)
    between = gripper.between.holds(local_m)
    in_the_way = gripper.fingers_on_approach.holds(local_m) | gripper.palm_on_approach.holds(local_m)
    in_the_way |= between & (abs(local_m[:, 0]) > contact_x[:, None])
    depth_m = np.where(between, -local_m[:, 2], 0).max(axis=-1, initial=0)
    return ~np.any(in_the_way, axis=1), depth_m


def share_out_of_sight(
    candidates: Candidates, gripper: Gripper, frame: RgbdFrame, owner_image: NDArray[np.int16], own: int
) -> NDArray[np.float64]:
    """Share (C,) of places on the fingers, closed and opened, that lie behind something else or outside the image.

    There the camera saw neither the object's side nor what stands beside it. Space behind the object itself (`own`,
    its label) does not count: its hidden side is completed.
    """
    closed_m = candidates.pairs.width_m / 2
    opened_m = np.full_like(closed_m, gripper.fingers.outer_x)
    x_m = np.stack([-opened_m, -closed_m, closed_m, opened_m], axis=1)[..., None]
    tips_m = candidates.origins_m[:, None] + x_m * candidates.rotations[:, None, :, 0]
    above_tips_m = tips_m - gripper.finger_length_m / 3 * candidates.rotations[:, None, :, 2]
    points_m = np.concatenate([tips_m, above_tips_m], axis=1)
    rows, columns, inside = pixels_of(points_m, frame)
    seen_m = frame.depth_m[rows, columns]
    behind = (seen_m > 0) & (seen_m < points_m[..., 2] - _SIGHT_TOLERANCE_M)
    hidden = (behind & (owner_image[rows, columns] != own)) | ~inside
    return hidden.mean(axis=1)


def _in_grasp_frames(candidates: Candidates, points_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, 3, P) float32 coordinates of (P, 3) points in each grasp's frame."""
    rotations = np.swapaxes(candidates.rotations.astype(np.float32), 1, 2)
    origins_m = candidates.origins_m.astype(np.float32)
    origins = (rotations * origins_m[:, None]).sum(axis=-1)
    # One product of matrices for all grasps.
    local_m = (rotations.reshape(-1, 3) @ points_m.T).reshape(*origins.shape, len(points_m))
    return local_m - origins[..., None]
