"""The collision check: the gripper's regions against every measured point of the frame and the support plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instance_seg_ros.compute import Array, Compute, FrameArrays
from instance_seg_ros.compute.arrays import cast, dot, namespace
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.grasping.candidates import Candidates, ContactSurface, Targets
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.lifting.completion import pixels_of
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
_NOWHERE_M = 1e3
"""Coordinates for a point that is none: outside of every region."""


@dataclass(frozen=True, eq=False)
class Obstacles:
    """What the frame holds above its support plane, thinned to one point a 5 mm cell.

    Attributes:
        points_m: (M, 3) float32, camera optical frame.
        owner: (M,) int64, 1 + index of the instance that a point belongs to, 0 for none.
        owner_image: (H, W) int16, the same for each pixel.
        plane: the support plane, solid below; or None.
    """

    points_m: Array
    owner: Array
    owner_image: Array
    plane: Plane | None

    @classmethod
    def of_frame(cls, frame: FrameArrays, labels: Array, plane: Plane | None, compute: Compute) -> Obstacles:
        """All measured points off the plane and away from depth steps.

        Space that the camera did not see, other than hidden sides that are added and below the plane, counts as free.

        Args:
            labels: (H, W) int16, 1 + index of the instance that a pixel was kept for, 0 for none.
        """
        xp = namespace(frame.depth_m)
        owners = xp.where(labels > 0, labels, compute.dilated(labels, _RIM_PX))
        beside = compute.dilated(depth_step_pixels(frame.depth_m, _EDGE_STEP_M, _EDGE_STEP_RATIO), 3)
        grid = (slice(None, None, _STRIDE_PX), slice(None, None, _STRIDE_PX))
        solid = (frame.depth_m[grid] > 0) & ~beside[grid]
        depth_m = frame.depth_m[grid][solid][:, None]
        points_m = xp.concatenate([frame.rays[grid][solid] * depth_m, depth_m], axis=1)
        owner = cast(owners[grid][solid], "int64")
        if plane is not None:
            above = _height_m(points_m, plane) > _PLANE_TOLERANCE_M
            points_m, owner = points_m[above], owner[above]
        return cls(points_m, owner, owners, plane)._thinned(compute)

    def with_hidden_sides(self, targets: Targets, surface: ContactSurface, compute: Compute) -> Obstacles:
        """With the completed hidden sides of these objects."""
        xp, count = namespace(surface.valid), surface.samples
        hidden = surface.valid[:, count:]
        points_m = xp.concatenate([self.points_m, cast(surface.points_m[:, count:][hidden], "float32")], axis=0)
        owner = xp.concatenate([self.owner, (targets.label + 0 * cast(hidden, "int64"))[hidden]], axis=0)
        return Obstacles(points_m, owner, self.owner_image, self.plane)._thinned(compute)

    def _thinned(self, compute: Compute) -> Obstacles:
        """One point of each owner in each cell of `_VOXEL_M`."""
        xp = namespace(self.owner)
        cells = cast(xp.floor(self.points_m / _VOXEL_M), "int64") + 2**15
        key = ((self.owner << 17 | cells[:, 0]) << 17 | cells[:, 1]) << 17 | cells[:, 2]
        order = compute.stable_order(key)
        ordered = key[order]
        first = xp.ones_like(cast(ordered, "bool"))
        first[1:] = ordered[1:] != ordered[:-1]
        kept = order[first]
        return Obstacles(self.points_m[kept], self.owner[kept], self.owner_image, self.plane)

    def others_near(self, targets: Targets, radius_m: Array, compute: Compute) -> Array:
        """The points within a radius of each box's centre that do not belong to that instance.

        Args:
            radius_m: (B, 1).

        Returns:
            (B, P, 3) float32; P is the largest number, and what is too much for the others lies far away.
        """
        xp = namespace(self.points_m)
        offset_m = self.points_m - cast(targets.centre_m, "float32")[:, None]
        near = (dot(offset_m, offset_m) < radius_m**2) & (self.owner != targets.label)
        count = cast(near, "int64").sum(axis=1)[:, None]
        ranks = compute.array(np.arange(int(compute.host(count).max())))[None]
        valid = ranks < count
        points_m = self.points_m[compute.true_places(near, xp.where(valid, ranks, 0))]
        return xp.where(valid[..., None], points_m, _NOWHERE_M)


def _height_m(points_m: Array, plane: Plane) -> Array:
    """Signed distance (...) of (..., 3) points above the plane, metres."""
    x, y, z = (points_m[..., axis] * float(plane.normal[axis]) for axis in range(3))
    return x + y + z + plane.offset_m


def above_plane(candidates: Candidates, gripper: Gripper, plane: Plane, clearance_m: float) -> Array:
    """Which grasps (..., C) keep the whole gripper above the plane; their way in descends and stays above it, too."""
    normal = tuple(plane.normal.tolist())
    lowest_m = _height_m(candidates.origins_m, plane) - gripper.lowest_m(candidates.rotations, normal)
    approach = candidates.rotations[..., 2]
    descends = sum(approach[..., axis] * normal[axis] for axis in range(3)) <= 0
    return descends & (lowest_m >= clearance_m)


def free_of_scene(candidates: Candidates, gripper: Gripper, obstacles_m: Array, clearance_m: float) -> Array:
    """Which grasps (..., C) keep their distance from all points (..., P, 3), on the way in and while closing."""
    local_m = _in_grasp_frames(candidates, obstacles_m)
    between, fingers, palm = (
        region.grown(clearance_m).holds(local_m)
        for region in (gripper.between, gripper.fingers_on_approach, gripper.palm_on_approach)
    )
    return ~(between | fingers | palm).any(axis=-1)


def free_of_own_object(candidates: Candidates, gripper: Gripper, surface: ContactSurface) -> tuple[Array, Array]:
    """Which grasps (..., C) meet the object at their contacts first, and how deep (..., C) it lies between the fingers.

    The opened fingers and the palm must clear the object's own surface points on the way in, and nothing of it may
    stand out beyond the contacts where the fingers close. The depth is measured from the fingertips on, in metres.
    """
    xp = namespace(surface.valid)
    own_m = cast(xp.where(surface.valid[..., None], surface.points_m, _NOWHERE_M), "float32")
    local_m = _in_grasp_frames(candidates, own_m)
    contact_x = cast(candidates.pairs.width_m / 2 + _CONTACT_TOLERANCE_M, "float32")
    between = gripper.between.holds(local_m)
    in_the_way = gripper.fingers_on_approach.holds(local_m) | gripper.palm_on_approach.holds(local_m)
    in_the_way |= between & (abs(local_m[..., 0, :]) > contact_x[..., None])
    depth_m = xp.amax(xp.where(between, -local_m[..., 2, :], 0).clip(min=0), axis=-1)
    return ~in_the_way.any(axis=-1), depth_m


def share_out_of_sight(
    candidates: Candidates, gripper: Gripper, frame: FrameArrays, owner_image: Array, own: Array
) -> Array:
    """Share (..., C) of places on the fingers, closed and opened, that lie behind something else or outside the image.

    There the camera saw neither the object's side nor what stands beside it. Space behind the object itself (`own`,
    its label, which broadcasts to (..., C, 8)) does not count: its hidden side is completed.
    """
    xp = namespace(candidates.rotations)
    closed_m = candidates.pairs.width_m / 2
    opened_m = xp.full_like(closed_m, gripper.fingers.outer_x)
    x_m = xp.stack([-opened_m, -closed_m, closed_m, opened_m], axis=-1)[..., None]
    tips_m = candidates.origins_m[..., None, :] + x_m * candidates.rotations[..., None, :, 0]
    above_tips_m = tips_m - gripper.finger_length_m / 3 * candidates.rotations[..., None, :, 2]
    points_m = xp.concatenate([tips_m, above_tips_m], axis=tips_m.ndim - 2)
    rows, columns, inside = pixels_of(points_m, frame)
    seen_m = frame.depth_m[rows, columns]
    behind = (seen_m > 0) & (seen_m < points_m[..., 2] - _SIGHT_TOLERANCE_M)
    hidden = (behind & (owner_image[rows, columns] != own)) | ~inside
    return cast(hidden, "float64").sum(axis=-1) / 8


def _in_grasp_frames(candidates: Candidates, points_m: Array) -> Array:
    """(..., C, 3, P) float32 coordinates of (..., P, 3) points in each grasp's frame."""
    xp = namespace(points_m)
    rotations = xp.swapaxes(cast(candidates.rotations, "float32"), -1, -2)
    origins_m = cast(candidates.origins_m, "float32")
    origins = (rotations * origins_m[..., None, :]).sum(axis=-1)
    # One product of matrices for all grasps of an instance.
    rows = rotations.reshape(*origins.shape[:-2], 3 * origins.shape[-2], 3)
    local_m = (rows @ xp.swapaxes(points_m, -1, -2)).reshape(*origins.shape, points_m.shape[-2])
    return local_m - origins[..., None]
