"""The body of an object as grasping sees it: its measured surface, and what completes it where the camera saw nothing.

The body lives in a frame of its own: z points up from the support, z = 0 is the support (without one, the lowest point
of the box), x and y are those of the oriented box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Plane, Transform, length
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping import body_kernels, pair_kernels, scene_kernels
from instance_seg_ros.lifting import Completion, Instance3D
from instance_seg_ros.lifting.order_statistics import median
from instance_seg_ros.lifting.support import Support
from instance_seg_ros.lifting.surface import fit_local_planes, window_radius_px

FloatArray = NDArray[np.float64]

MEASURED, TURNED, EXTRUDED = 0, 1, 2
"""Where a point of the body comes from: the camera, a half turn about the vertical axis or an upright mirror, or the
outline straight down."""

_MAX_SAMPLES = 320
_VOXEL_M = np.array([0.006, 0.006, 0.006])
_MOST_REFUTED = 0.04
"""A symmetry of which a larger share of the turned points is seen to be free does not hold."""
_TURN = np.array([-1.0, -1.0, 1.0])
_MOST_REFUTED_MIRROR = 0.03
_MIRROR_SHIFTS_M = (0.012, 0.009, 0.006, 0.003, 0.0)
_MIRROR_TOLERANCE_M = 0.004
"""Mirrored points are refuted where the camera looks through them by more than this: near the far contour of a round
body, noise alone takes them across it."""
_AXIS_SHIFTS_M = np.arange(0.0, 0.0181, 0.003)
"""How far behind the middle of the box, away from the camera, the axis of a symmetry is looked for."""
_CELL_M = 0.0025
_RIM_CELLS = 4
"""Wider than what the filters over the cells reach."""
_LEVEL_STEP_M = 0.008
_MAX_LEVELS = 24
_LEAN_SHARE = 0.7
_LEAN_TOLERANCE_M = 0.00375
_THIN_M = 0.02
"""Of a body that is not higher, the windows that normals are fitted in never see a side alone."""
_THIN_LEVELS = 6
_THIN_PERCENT = 70
_THIN_VOXEL_M = np.array([0.006, 0.006, 0.001])
_MAX_CELLS = 320
_KNOWN_NEAR_M = 0.006


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
        round: whether level slices are circles about one upright axis.
        cut: whether part of the object is beyond the image's border or without depth, so that what is completed may lie
            inside it.
        support: the plane of the scene that it stands on, camera optical frame; None where that is another instance or
            not known.
    """

    label: int
    T_camera_body: Transform
    points_m: FloatArray
    normals: FloatArray
    origin: NDArray[np.int64]
    centre_m: FloatArray
    size_m: FloatArray
    supported: bool
    round: bool
    cut: bool = False
    support: Plane | None = None

    @classmethod
    def of_instance(
        cls,
        label: int,
        instance: Instance3D,
        frame: RgbdFrame,
        labels: NDArray[np.int16],
        mask: NDArray[np.bool_],
        crop: tuple[slice, slice],
    ) -> Body | None:
        """The body of an instance that has a box; None where its pixels are too thin or too scattered for a surface.

        Sides that the camera did not see come from the measured ones, turned by half a turn about the axis of an
        upright round body, or about the middle of the box where that does not contradict what was seen, or else in an
        upright mirror through it; and from the outline of what was seen at each height, straight down. Whatever the
        camera sees to be free is left out.

        Args:
            labels: (H, W) int16, the label of the instance that a pixel was kept for.
            mask: (H, W) bool, the instance's mask.
            crop: rows and columns that hold it.

        Raises:
            ValueError: the instance has no box.
        """
        if instance.box is None:
            raise ValueError("an instance without a box has no body")
        supported = instance.completion is Completion.SUPPORT_PLANE
        T_camera_box, size_m = instance.box.T_camera_box, np.array(instance.box.size_m)
        low_m = T_camera_box.translation_m - T_camera_box.rotation[:, 2] * size_m[2] / 2
        T_camera_body = Transform(T_camera_box.rotation, low_m)
        T_body_camera = T_camera_body.inverse()
        measured_m, normals = _measured(label, instance, frame, labels, crop, T_body_camera)
        axis_m = round_axis(measured_m, normals) if supported else None
        middle_m = (
            axis_m
            if axis_m is not None or not supported
            else _symmetry_axis(measured_m, T_camera_body, T_body_camera.translation_m, frame)
        )
        if middle_m is not None:
            turned_m, turned_normals = _half_turn(measured_m, middle_m), normals * _TURN
            kept_turned = ~_seen_free(turned_m, T_camera_body, frame)
            turned_m, turned_normals = turned_m[kept_turned], turned_normals[kept_turned]
        elif supported:
            turned_m, turned_normals = _mirrored(measured_m, normals, T_camera_body, T_body_camera.translation_m, frame)
        else:
            turned_m = turned_normals = np.zeros((0, 3))
        known_m = np.concatenate([_all_points(frame, mask, crop, T_body_camera, size_m), turned_m])
        walls_m, wall_normals = outline_walls(known_m, float(size_m[2]))
        seen = _seen_free(walls_m, T_camera_body, frame)
        walls_m, wall_normals = walls_m[~seen], wall_normals[~seen]
        points_m = np.concatenate([measured_m, turned_m, walls_m])
        if not len(points_m):
            return None
        counts = [len(measured_m), len(turned_m), len(walls_m)]
        origin = np.repeat([MEASURED, TURNED, EXTRUDED], counts)
        all_normals = np.concatenate([normals, turned_normals, wall_normals])
        thin = bool(size_m[2] <= _THIN_M)
        rank, voxel_m = (-origin, _THIN_VOXEL_M) if thin else (origin, _VOXEL_M)
        kept = pair_kernels.one_of_each_cell(points_m, np.zeros_like(rank), rank, voxel_m)
        # Where a surface was measured, or follows from one that was, its own slope counts, not that of a wall; but of a
        # thin body what was measured of its sides is mixed with its top, and walls count.
        extruded = origin[kept] == EXTRUDED
        known, doubtful = kept[~extruded], kept[extruded]
        if thin:
            side = np.abs(all_normals[known, 2]) < body_kernels.UPRIGHT_SLOPE
            known, doubtful = np.concatenate([known[~side], doubtful]), known[side]
        if len(known) and len(doubtful):
            near = body_kernels.any_near(points_m[doubtful], points_m[known], _KNOWN_NEAR_M)
            kept = np.concatenate([known, doubtful[~near]])
        bounds_m = np.stack([points_m[:, :2].min(axis=0), points_m[:, :2].max(axis=0)])
        middle_xy = bounds_m.mean(axis=0) if axis_m is None else axis_m
        return cls(
            label=label,
            T_camera_body=T_camera_body,
            points_m=points_m[kept],
            normals=all_normals[kept],
            origin=origin[kept],
            centre_m=np.array([*middle_xy, size_m[2] / 2]),
            size_m=np.array([*np.ptp(bounds_m, axis=0), size_m[2]]),
            supported=supported,
            round=axis_m is not None,
            cut=bool(instance.status & (Status.CUT_BY_IMAGE_BORDER | Status.PARTLY_MEASURED)),
            support=instance.support.plane if instance.support.kind is Support.PLANE else None,
        )

    @property
    def camera_m(self) -> FloatArray:
        """(3,) where the camera is, body frame."""
        return self.T_camera_body.inverse().translation_m

    @property
    def hidden_m(self) -> FloatArray:
        """(M, 3) the points that were completed, camera optical frame."""
        return np.asarray(self.T_camera_body.apply(self.points_m[self.origin != MEASURED]))


def _measured(
    label: int,
    instance: Instance3D,
    frame: RgbdFrame,
    labels: NDArray[np.int16],
    crop: tuple[slice, slice],
    T_body_camera: Transform,
) -> tuple[FloatArray, FloatArray]:
    """Points of the measured surface, evenly over its pixels, on their local planes, and their normals; body frame."""
    depth_m = frame.depth_m[crop]
    keep = (labels[crop] == label) & (depth_m > 0)
    radius_px = window_radius_px(median(instance.points_m[:, 2]), frame.intrinsics.fx)
    planes = fit_local_planes(depth_m, keep, radius_px)
    places = np.flatnonzero(keep & planes.valid)
    if len(places) > _MAX_SAMPLES:
        places = places[np.arange(_MAX_SAMPLES) * (len(places) - 1) // (_MAX_SAMPLES - 1)]
    rays = frame.intrinsics.rays[crop].reshape(-1, 2)[places]
    planes = planes.at(places)
    smooth_m = planes.depth_m.astype(np.float64)
    points_m = np.concatenate([rays * smooth_m[:, None], smooth_m[:, None]], axis=1)
    normals = planes.normals(rays, frame.intrinsics).astype(np.float64)
    return np.asarray(T_body_camera.apply(points_m)), normals @ T_body_camera.rotation.T


def _all_points(
    frame: RgbdFrame, mask: NDArray[np.bool_], crop: tuple[slice, slice], T_body_camera: Transform, size_m: FloatArray
) -> FloatArray:
    """Every measured point of the mask inside the box (and 5 mm around it): thin rims, too, that lifting drops."""
    rows, columns = crop
    return body_kernels.points_in_box(
        frame.depth_m,
        mask,
        rows.start,
        rows.stop,
        columns.start,
        columns.stop,
        frame.intrinsics.fx_fy_cx_cy,
        np.ascontiguousarray(T_body_camera.rotation),
        T_body_camera.translation_m,
        size_m * (0.5, 0.5, 1.0) + 0.005,
    )


def _symmetry_axis(
    points_m: FloatArray, T_camera_body: Transform, camera_m: FloatArray, frame: RgbdFrame
) -> FloatArray | None:
    """Where the vertical goes, (2,), about which half a turn maps the points to where the camera cannot refute them.

    The nearest such place to the middle of the box, which lies too near to the camera where a body bulges out of sight;
    None where there is none: an L or a wedge has no such symmetry, and what has no points is not known to have one.
    """
    if not len(points_m):
        return None
    away = -camera_m[:2]
    away = away / max(math.hypot(*away.tolist()), 1e-6)
    for shift_m in _AXIS_SHIFTS_M:
        axis_m = shift_m * away
        if float(_seen_free(_half_turn(points_m, axis_m), T_camera_body, frame).mean()) <= _MOST_REFUTED:
            return np.asarray(axis_m)
    return None


def _mirrored(
    points_m: FloatArray, normals: FloatArray, T_camera_body: Transform, camera_m: FloatArray, frame: RgbdFrame
) -> tuple[FloatArray, FloatArray]:
    """The far side of a body with an upright mirror along an axis of its box, as a lying bottle or cone has one.

    Where both axes will do it is the one that shows more of the far side, and of the places of the mirror that the
    camera does not refute the farthest: a finger on the far side must not meet what is not known.

    Returns:
        points_m: (M, 3), M <= N; none where the camera refutes every mirror.
        normals: (M, 3).
    """
    away = -camera_m[:2] / max(math.hypot(*camera_m[:2].tolist()), 1e-6)
    for axis in np.argsort(-np.abs(away)) if len(points_m) else ():
        flip = np.ones(3)
        flip[axis] = -1.0
        mirrored_normals = normals * flip
        for shift_m in _MIRROR_SHIFTS_M:
            mirrored_m = points_m * flip
            mirrored_m[:, axis] += 2 * shift_m * away[axis]
            free = _seen_free(mirrored_m - _MIRROR_TOLERANCE_M * mirrored_normals, T_camera_body, frame)
            if free.mean() <= _MOST_REFUTED_MIRROR:
                return mirrored_m[~free], mirrored_normals[~free]
    return np.zeros((0, 3)), np.zeros((0, 3))


def _half_turn(points_m: FloatArray, middle_m: FloatArray) -> FloatArray:
    """(N, 3) points turned by half a turn about the vertical through (2,)."""
    return np.column_stack([2 * middle_m - points_m[:, :2], points_m[:, 2]])


def _seen_free(points_m: FloatArray, T_camera_body: Transform, frame: RgbdFrame) -> NDArray[np.bool_]:
    """Which points (N,) the camera looks through: it measured something well behind them."""
    rotation = np.ascontiguousarray(T_camera_body.rotation)
    return scene_kernels.seen_free(
        points_m, rotation, T_camera_body.translation_m, frame.depth_m, frame.intrinsics.fx_fy_cx_cy
    )


def round_axis(points_m: FloatArray, normals: FloatArray) -> FloatArray | None:
    """Where the upright axis of a body of revolution goes through the support, (2,), or None for another body."""
    found, x_m, y_m = body_kernels.upright_axis(points_m, normals)
    return np.array([x_m, y_m]) if found else None


def outline_walls(points_m: FloatArray, height_m: float) -> tuple[FloatArray, FloatArray]:
    """The outline of the points at each height, straight down: walls of what stands under the points.

    Args:
        points_m: (N, 3), body frame.
        height_m: of the body.

    Returns:
        points_m: (M, 3) on the outlines.
        normals: (M, 3), level; those of a body not above `_THIN_M` lean with its outlines.
    """
    if not len(points_m):
        return np.zeros((0, 3)), np.zeros((0, 3))
    low_x_m, low_y_m, top_m = body_kernels.heights_over_cells(points_m, _CELL_M, _RIM_CELLS, _MAX_CELLS)
    if not top_m.size:
        return np.zeros((0, 3)), np.zeros((0, 3))
    low_m, shape = np.array([low_x_m, low_y_m]), top_m.shape
    thin = height_m <= _THIN_M
    if thin:
        # Noise is a good part of such a height: outlines of what most of the top reaches.
        top_m = cv2.medianBlur(top_m, 3)
        height_m = min(height_m, float(np.percentile(top_m[top_m > 0], _THIN_PERCENT))) if top_m.any() else height_m
    levels = max(_THIN_LEVELS if thin else 1, min(_MAX_LEVELS, round(height_m / _LEVEL_STEP_M)))
    heights_m = (np.arange(levels) + 0.5) * height_m / levels
    # All levels below each other in one image: the empty rim of each is wider than what the filters reach.
    region = (top_m >= heights_m[:, None, None]).astype(np.uint8).reshape(-1, shape[1])
    kernel = np.ones((3, 3), np.uint8)
    region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, kernel)
    edge = np.flatnonzero(region & ~cv2.erode(region, kernel))
    smooth = cv2.GaussianBlur(region.astype(np.float32), (7, 7), 0)
    gradient = np.stack([cv2.Sobel(smooth, cv2.CV_32F, *order).take(edge) for order in ((0, 1), (1, 0))], axis=1)
    outward = -gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-6)
    row, column = np.divmod(edge, shape[1])
    level, row = np.divmod(row, shape[0])
    walls_m, normals = np.empty((len(edge), 3)), np.zeros((len(edge), 3))
    walls_m[:, :2] = low_m + (np.stack([row, column], axis=1) + 0.5) * _CELL_M + 0.3 * _CELL_M * outward
    walls_m[:, 2] = heights_m[level]
    normals[:, :2] = outward
    if not thin:
        return walls_m, normals
    # A thin body's sides are known by their walls alone. A wall leans by how far the outline is set back a little
    # higher and reaches out a little lower, beyond what cells can tell: a lens has no upright side.
    rises_m, falls_m = _LEAN_SHARE * (height_m - heights_m), _LEAN_SHARE * heights_m
    higher, lower = (
        (top_m >= level_m[:, None, None]).astype(np.uint8).reshape(-1, shape[1])
        for level_m in (heights_m + rises_m, heights_m - falls_m)
    )
    set_back_m, reach_m = (
        cv2.distanceTransform(region, cv2.DIST_L2, 3).take(edge) * _CELL_M for region in (1 - higher, lower)
    )
    normals *= (rises_m + falls_m)[level, None]
    normals[:, 2] = (set_back_m + reach_m - _LEAN_TOLERANCE_M).clip(min=0)
    return walls_m, normals / length(normals).clip(min=1e-9)[:, None]
