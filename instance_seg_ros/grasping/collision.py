"""The collision check: the gripper's regions against every measured point of the frame and the support plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Plane, Transform
from instance_seg_ros.core.rows import rows_of
from instance_seg_ros.grasping import pair_kernels, scene_kernels
from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.lifting.depth_steps import depth_step_pixels
from instance_seg_ros.lifting.masks import Bounds, crop_around, dilated, eroded

FloatArray = NDArray[np.float64]

_STRIDE_PX = 2
_VOXEL_M = 0.005
_PLANE_TOLERANCE_M = 0.008
_EDGE_STEP_M = 0.01
_EDGE_STEP_RATIO = 0.02
_SHADOW_STEP_M, _SHADOW_M = 0.012, 0.3
"""How densely, where most of the frame is, and how far shadows of what is nobody's are filled: a finger is wider."""
_RIM_PX = 7
"""Unlabelled pixels this near to an object (side of the square) are its own rim: flying pixels, a tight mask."""
_SMALLEST_HOLE_PX = 5
"""Pixels without depth in an object's mask count where a square of this side fits between them."""
_MOST_IN_HOLES = 0.05
"""Of a finger's volume that may be in the lines of sight of such pixels, anywhere on its way from opened to closed."""


@dataclass(frozen=True, eq=False)
class Obstacles:
    """What the frame holds above what no grasp reaches below, thinned to one point a 5 mm cell.

    Attributes:
        points_m: (M, 3) float64, camera optical frame.
        owner: (M,) int64, 1 + index of the instance that a point belongs to, 0 for none.
        owner_image: (H, W) int16, the same for each pixel.
    """

    points_m: NDArray[np.float64]
    owner: NDArray[np.int64]
    owner_image: NDArray[np.int16]

    @classmethod
    def of_frame(
        cls,
        frame: RgbdFrame,
        labels: NDArray[np.int16],
        plane: Plane | None,
        hidden_m: Mapping[int, NDArray[np.float64]] | None = None,
    ) -> Obstacles:
        """All measured points off the plane and away from depth steps, what they hide, and hidden sides of objects.

        Behind what is nobody's, a wall or the board above a shelf, there may be more of it. Other space that the camera
        did not see, but for hidden sides and what is below the plane, counts as free.

        Args:
            labels: (H, W) int16, 1 + index of the instance that a pixel was kept for, 0 for none.
            plane: that no grasp of the frame reaches below; None for none.
            hidden_m: (N, 3) of the object of each label, camera optical frame.
        """
        owners = dilated(labels, _RIM_PX)
        scene_kernels.put_own(labels, owners)
        beside = dilated(depth_step_pixels(frame.depth_m, _EDGE_STEP_M, _EDGE_STEP_RATIO), 3)
        points_m, owner = scene_kernels.points_off_plane(
            frame.depth_m,
            beside,
            owners,
            _STRIDE_PX,
            frame.intrinsics.fx_fy_cx_cy,
            plane is not None,
            _plane_numbers(plane),
            _PLANE_TOLERANCE_M,
        )
        shadow_m = scene_kernels.behind_nobodys(
            frame.depth_m,
            beside,
            owners,
            _pixels_of(_SHADOW_STEP_M, frame),
            frame.intrinsics.fx_fy_cx_cy,
            plane is not None,
            _plane_numbers(plane),
            _PLANE_TOLERANCE_M,
            _SHADOW_STEP_M,
            _SHADOW_M,
        )
        hidden_m = hidden_m or {}
        points_m = np.concatenate([points_m, shadow_m, *hidden_m.values()])
        owner = np.concatenate(
            [
                owner,
                np.zeros(len(shadow_m), np.int64),
                *(np.full(len(own_m), label) for label, own_m in hidden_m.items()),
            ]
        )
        kept = pair_kernels.one_of_each_cell(points_m, owner, np.zeros_like(owner), np.full(3, _VOXEL_M))
        return cls(rows_of(points_m, kept), owner[kept], owners)

    def others_near(
        self, centre_m: FloatArray, radius_m: float, label: int, above: Plane | None, T_other_camera: Transform
    ) -> NDArray[np.float64]:
        """The points (P, 3) within a radius of a place (3,) that do not belong to the instance of this label.

        Args:
            centre_m: camera optical frame.
            above: a plane that no grasp of the instance reaches below: what belongs to no instance and lies in it or
                below is in no way.
            T_other_camera: of the frame that the points are to be in.
        """
        return scene_kernels.others_near(
            self.points_m,
            self.owner,
            centre_m,
            radius_m,
            label,
            above is not None,
            _plane_numbers(above),
            _PLANE_TOLERANCE_M,
            np.ascontiguousarray(T_other_camera.rotation),
            T_other_camera.translation_m,
        )


def _pixels_of(length_m: float, frame: RgbdFrame) -> int:
    """How many pixels a length across the view is where half of the frame is nearer; at least 1."""
    measured_m = frame.depth_m[::8, ::8]
    measured_m = measured_m[measured_m > 0]
    return max(1, round(length_m * frame.intrinsics.fx / float(np.median(measured_m)))) if len(measured_m) else 1


def _plane_numbers(plane: Plane | None) -> NDArray[np.float64]:
    """(4,) normal and offset; zeros for none."""
    return np.zeros(4) if plane is None else np.array([*plane.normal.tolist(), plane.offset_m])


@dataclass(frozen=True, eq=False)
class Sight:
    """What the camera saw where the fingers go.

    Attributes:
        unknown: (C,) bool, whether a finger goes where the object may be and nothing was measured: on its way from
            opened to closed into the lines of sight of places of its mask without depth, or beyond the image's border.
        hidden: (C,) share of the fingers' places behind something else.
        shadowed: (C,) share of them behind the object itself, where no more is known of it than its completion.
        below_unseen: (C,) bool, whether above a place behind the object it was not seen, either, that the object ends:
            there the image does, or something else or a hole in the object's depth is.
        under: (C,) bool, whether a place is hidden under a measured surface that is nobody's.
    """

    unknown: NDArray[np.bool_]
    hidden: NDArray[np.float64]
    shadowed: NDArray[np.float64]
    below_unseen: NDArray[np.bool_]
    under: NDArray[np.bool_]


def sight_of(
    poses: Poses,
    width_m: FloatArray,
    gripper: Gripper,
    frame: RgbdFrame,
    T_camera_poses: Transform,
    owner_image: NDArray[np.int16],
    unmeasured: NDArray[np.int16],
    holes: FloatArray,
    own: int,
    up: FloatArray,
) -> Sight:
    """What the camera saw where the fingers are, opened, closed and between.

    Space behind the object itself (`own`, its label) counts apart: its far side is completed.

    Args:
        width_m: (C,) between the contacts.
        T_camera_poses: of the frame that the poses are in.
        unmeasured: (H, W) int16, of `unmeasured_parts`.
        holes: (L, 3), of `rays_of_holes`.
        up: (3,) unit vector, in the frame of the poses.
    """
    thick_m, length_m = gripper.finger_thickness_m, gripper.finger_length_m
    unknown, hidden, shadowed, below_unseen, under = scene_kernels.sight_of_fingers(
        poses.rotations,
        poses.origins_m,
        width_m,
        poses.openings_m,
        thick_m,
        length_m,
        np.ascontiguousarray(T_camera_poses.rotation),
        T_camera_poses.translation_m,
        frame.depth_m,
        frame.intrinsics.fx_fy_cx_cy,
        owner_image,
        unmeasured,
        own,
        T_camera_poses.rotation @ up,
    )
    if len(holes):
        fx, fy = frame.intrinsics.fx_fy_cx_cy[:2].tolist()
        in_holes_m3 = scene_kernels.volume_of_sight(
            poses.rotations,
            poses.origins_m,
            width_m / 2,
            poses.openings_m / 2 + thick_m,
            gripper.fingers.half_y,
            length_m,
            T_camera_poses.inverse().translation_m,
            holes,
            _STRIDE_PX**2 / (fx * fy),
        )
        finger_m3 = thick_m * 2 * gripper.fingers.half_y * length_m
        unknown |= in_holes_m3 > _MOST_IN_HOLES * finger_m3
    return Sight(unknown, hidden, shadowed, below_unseen, under)


def palm_beyond_border(
    poses: Poses, gripper: Gripper, frame: RgbdFrame, T_camera_poses: Transform, up: FloatArray, below_m: float
) -> NDArray[np.bool_]:
    """(C,) whether a corner of the palm, at the grasp, is beyond the image's border and low.

    Args:
        T_camera_poses: of the frame that the poses are in.
        up: (3,) unit vector, in the frame of the poses.
        below_m: as high, along that, as what is seen: what is not seen may be, too.
    """
    return scene_kernels.beyond_border(
        poses.rotations,
        poses.origins_m,
        gripper.palm_corners_m,
        np.ascontiguousarray(T_camera_poses.rotation),
        T_camera_poses.translation_m,
        frame.intrinsics.fx_fy_cx_cy,
        frame.intrinsics.width,
        frame.intrinsics.height,
        up,
        below_m,
    )


def rays_of_holes(
    frame: RgbdFrame, unmeasured: NDArray[np.int16], bounds: Bounds, own: int, T_camera_other: Transform
) -> NDArray[np.float64]:
    """(L, 3) the lines of sight of the pixels in a mask's unmeasured parts, in every second row and column.

    Args:
        unmeasured: (H, W) int16, of `unmeasured_parts`.
        bounds: of the mask.
        own: 1 + index of the mask.
        T_camera_other: of the frame that the lines are to be in.

    Returns:
        Where each is at a depth of 1 m, seen from the camera.
    """
    rays = scene_kernels.rays_of_part(unmeasured, bounds, own, _STRIDE_PX, frame.intrinsics.fx_fy_cx_cy)
    return np.ascontiguousarray(rays @ T_camera_other.rotation)


def unmeasured_parts(
    frame: RgbdFrame,
    masks: NDArray[np.bool_],
    bounds: Sequence[Bounds],
    smallest_px: int = _SMALLEST_HOLE_PX,
) -> NDArray[np.int16]:
    """(H, W) int16: 1 + index of the mask at pixels without depth, where so many lie together; 0 elsewhere.

    Where masks overlap it is `scene_kernels.OF_SEVERAL`.

    Args:
        bounds: of each mask.
    """
    owners = np.zeros(frame.depth_m.shape, dtype=np.int16)
    missing = frame.depth_m == 0
    for index, mask in enumerate(masks):
        # The margin keeps holes away from the crop's border, beyond which all counts as one.
        crop = crop_around(bounds[index], mask.shape, smallest_px)
        holes = mask[crop] & missing[crop]
        if holes.any():
            part = dilated(eroded(holes, smallest_px), smallest_px) & holes
            owners[crop][part] = np.where(owners[crop][part] == 0, index + 1, scene_kernels.OF_SEVERAL)
    return owners
