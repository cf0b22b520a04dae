"""The collision check: the gripper's regions against every measured point of the frame and the support plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import FloatArray, Plane, dot
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.lifting.completion import pixels_of
from instance_seg_ros.lifting.surface import crop_of, depth_step_pixels, dilated, eroded

_STRIDE_PX = 2
_VOXEL_M = 0.005
_PLANE_TOLERANCE_M = 0.008
_EDGE_STEP_M = 0.01
_EDGE_STEP_RATIO = 0.02
_RIM_PX = 7
"""Unlabelled pixels this near to an object (side of the square) are its own rim: flying pixels, a tight mask."""
_SMALLEST_HOLE_PX = 5
"""Pixels without depth in an object's mask count where a square of this side fits between them."""
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
        rows, columns = np.nonzero((frame.depth_m[grid] > 0) & ~beside[grid])
        places = _STRIDE_PX * (rows * frame.intrinsics.width + columns)
        points_m = np.empty((len(places), 3), dtype=np.float32)
        points_m[:, 2] = frame.depth_m.reshape(-1).take(places)
        rays = frame.intrinsics.rays.reshape(-1, 2).take(places, axis=0)
        np.multiply(rays, points_m[:, 2:], out=points_m[:, :2])
        owner = owners.reshape(-1).take(places).astype(np.int64)
        if plane is not None:
            above = _height_m(points_m, plane) > _PLANE_TOLERANCE_M
            points_m, owner = points_m[above], owner[above]
        return cls(points_m, owner, owners, plane).thinned()

    def with_hidden_side(self, label: int, hidden_m: NDArray[np.float64]) -> Obstacles:
        """With the completed hidden side (M, 3) of the object of this label, camera optical frame."""
        points_m = np.concatenate([self.points_m, hidden_m.astype(np.float32)])
        owner = np.concatenate([self.owner, np.full(len(hidden_m), label)])
        return Obstacles(points_m, owner, self.owner_image, self.plane)

    def thinned(self) -> Obstacles:
        """One point of each owner in each cell of `_VOXEL_M`."""
        cells = np.floor(self.points_m / _VOXEL_M).astype(np.int64) + 2**15
        key = ((self.owner << 17 | cells[:, 0]) << 17 | cells[:, 1]) << 17 | cells[:, 2]
        kept = np.unique(key, return_index=True)[1]
        return Obstacles(self.points_m[kept], self.owner[kept], self.owner_image, self.plane)

    def others_near(
        self, centre_m: FloatArray, radius_m: float, label: int, support: Plane | None = None
    ) -> NDArray[np.float32]:
        """The points (P, 3) within a radius of a place (3,) that do not belong to the instance of this label.

        Args:
            support: the plane that the instance stands on: what belongs to no instance and lies in it or below it is
                that support, which a grasp stays above anyway. The frame's main plane was taken out for all.
        """
        offset_m = self.points_m - centre_m.astype(np.float32)
        others = np.flatnonzero((dot(offset_m, offset_m) < radius_m**2) & (self.owner != label))
        points_m = self.points_m.take(others, axis=0)
        if support is None:
            return points_m
        above = _height_m(points_m, support) > _PLANE_TOLERANCE_M
        return points_m[above | (self.owner.take(others) > 0)]


def _height_m(points_m: FloatArray, plane: Plane) -> FloatArray:
    """Signed distance (...) of (..., 3) points above the plane, metres."""
    x, y, z = (points_m[..., axis] * float(plane.normal[axis]) for axis in range(3))
    return x + y + z + plane.offset_m


def free_of_scene(
    local_m: NDArray[np.float32], openings_m: NDArray[np.float64], gripper: Gripper, clearance_m: float
) -> NDArray[np.bool_]:
    """Which grasps (C,) keep their distance from all points, on the way in and while closing.

    Args:
        local_m: (C, 3, P) the points in the grasps' frames.
        openings_m: (C,) between the fingers on the approach.
    """
    count, _, points = local_m.shape
    inner_m = (openings_m / 2).astype(np.float32)
    outer_m = inner_m + np.float32(gripper.finger_thickness_m + clearance_m)
    palm = gripper.palm_on_approach.grown(clearance_m)
    half_y_m = gripper.fingers.half_y + clearance_m
    # Only the few points near the gripper's way are looked at more closely.
    near = np.abs(local_m[:, 0]) <= max(palm.outer_x, float(outer_m.max(initial=0)))
    near &= np.abs(local_m[:, 1]) <= max(palm.half_y, half_y_m)
    near &= local_m[:, 2] <= max(palm.high_z, clearance_m)
    flat = np.flatnonzero(near)
    pose = flat // max(points, 1)
    first = flat + 2 * points * pose
    x, y, z = (local_m.reshape(-1).take(first + axis * points) for axis in range(3))
    x, y = np.abs(x), np.abs(y)
    beside = (y <= half_y_m) & (z <= clearance_m) & (x <= outer_m.take(pose))
    closing = beside & (z >= gripper.fingers.low_z - clearance_m)
    approach = beside & (z >= gripper.fingers_on_approach.low_z - clearance_m)
    approach &= x >= (inner_m - clearance_m).take(pose)
    in_palm = (x <= palm.outer_x) & (y <= palm.half_y) & (z >= palm.low_z) & (z <= palm.high_z)
    free = np.ones(count, dtype=bool)
    free[pose[closing | approach | in_palm]] = False
    return free


@dataclass(frozen=True, eq=False)
class Sight:
    """What the camera saw where the fingers go.

    Attributes:
        unknown: (C,) bool, whether a finger goes where the object may be and nothing was measured: a place of its mask
            without depth, or beyond the image's border.
        hidden: (C,) share of the fingers' places behind something else.
        shadowed: (C,) share of them behind the object itself, where no more is known of it than its completion.
    """

    unknown: NDArray[np.bool_]
    hidden: NDArray[np.float64]
    shadowed: NDArray[np.float64]

    def __getitem__(self, which: NDArray) -> Sight:
        """That of the grasps at (K,) indices, or of those that (C,) bool names."""
        return Sight(self.unknown[which], self.hidden[which], self.shadowed[which])


def sight_of(
    points_m: NDArray[np.float64],
    frame: RgbdFrame,
    owner_image: NDArray[np.int16],
    unmeasured: NDArray[np.int16],
    own: int,
) -> Sight:
    """What the camera saw at (C, K, 3) places on the fingers, camera optical frame.

    Space behind the object itself (`own`, its label) counts apart: its far side is completed.

    Args:
        unmeasured: (H, W) int16, the label of the mask that a pixel without depth belongs to, 0 for none.
    """
    rows, columns, inside = pixels_of(points_m, frame)
    seen_m = frame.depth_m[rows, columns]
    unknown = ~inside | (unmeasured[rows, columns] == own)
    behind = inside & (seen_m > 0) & (seen_m < points_m[..., 2] - _SIGHT_TOLERANCE_M)
    own_shadow = owner_image[rows, columns] == own
    return Sight(unknown.any(axis=1), (behind & ~own_shadow).mean(axis=1), (behind & own_shadow).mean(axis=1))


def rows_of(mask: NDArray[np.bool_]) -> slice:
    """The rows of a mask (H, W) between its first pixel and its last: a small part of the picture for most."""
    rows = np.flatnonzero(mask.any(axis=1))
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)


def unmeasured_parts(
    frame: RgbdFrame, masks: NDArray[np.bool_], smallest_px: int = _SMALLEST_HOLE_PX
) -> NDArray[np.int16]:
    """(H, W) int16: 1 + index of the mask at pixels without depth, where so many lie together; 0 elsewhere."""
    owners = np.zeros(frame.depth_m.shape, dtype=np.int16)
    missing = frame.depth_m == 0
    for index, mask in enumerate(masks):
        rows = rows_of(mask)
        if (mask[rows] & missing[rows]).any():
            holes = mask & missing
            crop = crop_of(holes, smallest_px)
            holes = holes[crop].copy()
            owners[crop][dilated(eroded(holes, smallest_px), smallest_px) & holes] = index + 1
    return owners
