"""The body of an object as grasping sees it: points of its completed shape, thinned out.

The body lives in the frame of the shape: z points up from the support, z = 0 is the support (without one, the lowest
point of the box), x and y are those of the oriented box.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Plane, Transform
from instance_seg_ros.core.rows import rows_of
from instance_seg_ros.core.status import PARTLY_SEEN, Status
from instance_seg_ros.grasping import pair_kernels, scene_kernels
from instance_seg_ros.lifting import Completion, Instance3D
from instance_seg_ros.lifting.masks import Bounds
from instance_seg_ros.lifting.shape import EXTRUDED, MEASURED, THIN_M
from instance_seg_ros.lifting.support import Support

FloatArray = NDArray[np.float64]

_VOXEL_M = np.array([0.006, 0.006, 0.006])
_THIN_VOXEL_M = np.array([0.006, 0.006, 0.001])
_UPRIGHT_SLOPE = 0.75
"""|z| of a normal above which a point is on top rather than on a side."""
_KNOWN_NEAR_M = 0.006
_SURE_MARGIN_M = 0.015
"""So far beyond its box everything may reach to: fingers have more room beside it."""
_DOUBT_STEP_M, _MOST_DOUBTS = 0.008, 2000
"""Between places that may be in an object, which leaves no room for a finger; of large boxes there are so many."""
_LEVEL_M = 0.004
"""What stands no lower than this below a plane stands on it."""
_ACROSS_COSINE = math.cos(math.radians(1.0))
"""The box of what stands on nothing known has the plane's normal as z axis, where there is a plane."""


@dataclass(frozen=True, eq=False)
class Body:
    """Points on the whole surface of an object, as far as it is known.

    Attributes:
        label: 1 + index of the instance.
        T_camera_body: pose of the body's frame.
        points_m: (N, 3) float64, body frame.
        normals: (N, 3) float64, unit, outwards.
        origin: (N,) int64, `MEASURED`, `TURNED` or `EXTRUDED`.
        centre_m: (3,) float64, middle of the body; on its axis where it is round.
        size_m: (3,) float64, extents along the axes of the frame.
        supported: whether z = 0 is a measured support.
        cut: whether part of the object is beyond the image's border or without depth, so that what is completed may lie
            inside it.
        beyond_border: whether part of it is beyond the image's border.
        above: a plane that no grasp reaches below, camera optical frame: the one that it stands on, or else the scene's
            support plane; None where the object itself lies below that.
        floor_m: without a support, z of the scene's support plane, if there is one across z; else -inf.
        find_doubtful: finds `doubtful_m`.
    """

    label: int
    T_camera_body: Transform
    points_m: FloatArray
    normals: FloatArray
    origin: NDArray[np.int64]
    centre_m: FloatArray
    size_m: FloatArray
    supported: bool
    cut: bool = False
    beyond_border: bool = False
    above: Plane | None = None
    floor_m: float = -math.inf
    find_doubtful: Callable[[], FloatArray] = lambda: np.zeros((0, 3))

    @classmethod
    def of_instance(
        cls,
        label: int,
        instance: Instance3D,
        frame: RgbdFrame,
        mask: NDArray[np.bool_],
        bounds: Bounds,
        scene_plane: Plane | None = None,
    ) -> Body | None:
        """The body of an instance that has a box; None where its pixels are too thin or too scattered for a surface.

        Args:
            mask: (H, W) bool, the instance's mask.
            bounds: of the mask.
            scene_plane: the main support plane of the scene, camera optical frame.

        Raises:
            ValueError: the instance has no box.
        """
        shape = instance.shape
        if shape is None:
            raise ValueError("an instance without a box has no body")
        surface = shape.surface(frame, mask, bounds)
        points_m, origin = surface.points_m, surface.origin
        if not len(points_m):
            return None
        thin = bool(shape.size_m[2] <= THIN_M)
        rank, voxel_m = (-origin, _THIN_VOXEL_M) if thin else (origin, _VOXEL_M)
        kept = pair_kernels.one_of_each_cell(points_m, np.zeros_like(rank), rank, voxel_m)
        # Where a surface was measured, or follows from one that was, its own slope counts, not that of a wall; but of a
        # thin body what was measured of its sides is mixed with its top, and walls count.
        extruded = origin[kept] == EXTRUDED
        known, doubtful = kept[~extruded], kept[extruded]
        if thin:
            side = np.abs(surface.normals[known, 2]) < _UPRIGHT_SLOPE
            known, doubtful = np.concatenate([known[~side], doubtful]), known[side]
        if len(known) and len(doubtful):
            near = pair_kernels.any_near(rows_of(points_m, doubtful), rows_of(points_m, known), _KNOWN_NEAR_M)
            kept = np.concatenate([known, doubtful[~near]])
        low_x_m, high_x_m, low_y_m, high_y_m = pair_kernels.level_extents(points_m)
        middle_m = shape.middle_m
        if middle_m is None or not shape.is_round:
            middle_m = np.array([(low_x_m + high_x_m) / 2, (low_y_m + high_y_m) / 2])
        supported = instance.completion is Completion.SUPPORT_PLANE
        floor_m = _floor_m(scene_plane, shape.T_camera_shape)
        above = scene_plane if -math.inf < floor_m and (floor_m <= 0 or not supported) else None
        return cls(
            label=label,
            T_camera_body=shape.T_camera_shape,
            points_m=rows_of(points_m, kept),
            normals=rows_of(surface.normals, kept),
            origin=origin[kept],
            centre_m=np.array([*middle_m, shape.size_m[2] / 2]),
            size_m=np.array([high_x_m - low_x_m, high_y_m - low_y_m, shape.size_m[2]]),
            supported=supported,
            cut=bool(instance.status & (Status.CUT_BY_IMAGE_BORDER | Status.PARTLY_MEASURED)),
            beyond_border=Status.CUT_BY_IMAGE_BORDER in instance.status,
            above=instance.support.plane if instance.support.kind is Support.PLANE else above,
            floor_m=-math.inf if supported else floor_m,
            find_doubtful=lambda: _doubtful_m(instance, frame, shape.T_camera_shape),
        )

    @property
    def camera_m(self) -> FloatArray:
        """(3,) where the camera is, body frame."""
        return self.T_camera_body.inverse().translation_m

    def is_above(self, plane: Plane | None) -> bool:
        """Whether no grasp of it reaches below a plane of the scene, camera optical frame, within a few millimetres."""
        if plane is None or self.above is None or self.above is plane:
            return self.above is not None
        return float(plane.normal @ self.T_camera_body.translation_m + plane.offset_m) > -_LEVEL_M

    @cached_property
    def doubtful_m(self) -> FloatArray:
        """(D, 3) float64, body frame: places that were not seen and that the object may reach to by its box's bounds,
        though what is known of it does not. Of what no gripper spans nobody asks for them."""
        return self.find_doubtful()

    @property
    def hidden_m(self) -> FloatArray:
        """(M, 3) camera optical frame: what was completed, and where else it may be that the border of the image cuts.

        Of what something else hides that would leave every tenth object of a heap without a grasp, for nothing.
        """
        hidden_m = rows_of(self.points_m, self.origin != MEASURED)
        if self.beyond_border:
            hidden_m = np.concatenate([hidden_m, self.doubtful_m])
        return np.asarray(self.T_camera_body.apply(hidden_m))


def _doubtful_m(instance: Instance3D, frame: RgbdFrame, T_camera_body: Transform) -> FloatArray:
    """(D, 3) body frame: where an object may reach to and it was not seen that it does not.

    That is what is in the larger box of its bounds and lies behind something, or beyond the image's border; of one of
    which everything but its far side was seen only what is well beyond its box, in which it was completed.
    """
    box, outer = instance.box, instance.outer_box
    if box is None or outer is None:
        return np.zeros((0, 3))
    half_m, known_half_m, margin_m = np.array(outer.size_m) / 2, np.array(box.size_m) / 2, _SURE_MARGIN_M
    known_m = np.ascontiguousarray(
        (box.T_camera_box.translation_m - outer.T_camera_box.translation_m) @ outer.T_camera_box.rotation
    )
    if instance.status & PARTLY_SEEN:
        known_half_m, margin_m = np.zeros(3), -1.0
    elif max((np.abs(known_m) + half_m - known_half_m).tolist()) <= margin_m:
        return np.zeros((0, 3))
    step_m = max(_DOUBT_STEP_M, float(np.cbrt(np.prod(2 * half_m) / _MOST_DOUBTS)))
    places_m = scene_kernels.unseen_in_box(
        half_m,
        known_m,
        known_half_m,
        step_m,
        margin_m,
        np.ascontiguousarray(outer.T_camera_box.rotation),
        outer.T_camera_box.translation_m,
        frame.depth_m,
        frame.intrinsics.fx_fy_cx_cy,
    )
    return np.ascontiguousarray(T_camera_body.inverse().apply(places_m), dtype=np.float64)


def _floor_m(plane: Plane | None, T_camera_shape: Transform) -> float:
    """z of a plane in a frame whose z axis is its normal; -inf where there is none, or it is not."""
    if plane is None or float(plane.normal @ T_camera_shape.rotation[:, 2]) < _ACROSS_COSINE:
        return -math.inf
    return -float(plane.normal @ T_camera_shape.translation_m + plane.offset_m)
