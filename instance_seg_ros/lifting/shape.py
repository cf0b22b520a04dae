"""The completed shape of an object: its measured surface, and what completes it where the camera saw nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Transform, frozen, length
from instance_seg_ros.lifting import shape_kernels
from instance_seg_ros.lifting.columns import Columns
from instance_seg_ros.lifting.kept_points import KeptPoints
from instance_seg_ros.lifting.masks import Bounds, crop_around
from instance_seg_ros.lifting.order_statistics import percentile
from instance_seg_ros.lifting.solid import Body, Revolution

FloatArray = NDArray[np.float64]

MEASURED, TURNED, EXTRUDED = 0, 1, 2
"""Where a point of the surface comes from: the camera, half a turn about an upright axis or an upright mirror, or the
outline straight down."""

THIN_M = 0.02
"""Of a body that is not higher, the windows that normals are fitted in never see a side alone; and nobody can tell a
mirror that it has from one that it has not."""
_MOST_REFUTED = 0.04
"""A symmetry of which a larger share of the turned points is seen to be free does not hold."""
_TURN = np.array([-1.0, -1.0, 1.0])
_AXIS_SHIFTS_M = np.arange(0.0, 0.0181, 0.003)
"""How far behind the middle of the box, away from the camera, the axis of a symmetry is looked for."""
_TURNS = np.tile(_TURN, (len(_AXIS_SHIFTS_M), 1))
_MOST_REFUTED_MIRROR = 0.03
_MIRROR_SHIFTS_M = (0.012, 0.009, 0.006, 0.003, 0.0)
_MIRROR_TOLERANCE_M = 0.004
"""Mirrored points are refuted where the camera looks through them by more than this: near the far contour of a round
body, noise alone takes them across it."""
_BESIDE_BOX_M = 0.005
_CELL_M = 0.0025
_RIM_CELLS = 4
"""Wider than what the filters over the cells reach."""
_LEVEL_STEP_M = 0.008
_MAX_LEVELS = 24
_LEAN_SHARE = 0.7
_LEAN_TOLERANCE_M = 0.00375
_THIN_LEVELS = 6
_THIN_PERCENT = 70
_MAX_CELLS = 320
_SQUARE = np.ones((3, 3), np.uint8)
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class ShapeSurface:
    """Points on the whole surface of an object, as far as it is known, measured and assumed ones apart.

    Attributes:
        points_m: (N, 3) float64, frame of the shape.
        normals: (N, 3) float64, unit, outwards.
        origin: (N,) int64, `MEASURED`, `TURNED` or `EXTRUDED`.
    """

    points_m: FloatArray
    normals: FloatArray
    origin: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CompletedShape:
    """What was measured of an object, and what it is completed by: lifting makes it, meshes and grasps are made of it.

    Its frame has z up from what the object stands on, 0 there (without a support, at the lower side of its box), and
    the x and y of the box, whose middle they start from.

    Attributes:
        T_camera_shape: pose of that frame.
        size_m: (3,) float64, of the box.
        points_m: (N, 3) float64, points of the measured surface with the noise smoothed out of them, evenly over it.
        normals: (N, 3) float64, unit, towards the camera.
        middle_m: (2,) float64, where the vertical goes through z = 0 about which the object is assumed to be the same
            after half a turn: its axis where it is one of revolution; None where there is none.
        is_round: whether it is one of revolution about that.
        mirror: without a middle, the axis of the frame, 0 or 1, across which it is assumed to be the same in a mirror,
            and where on that axis the mirror stands; None where there is none either.

    Raises:
        ValueError: on a wrong shape, a value that is not finite, a round shape without an axis, or two symmetries.
    """

    T_camera_shape: Transform
    size_m: FloatArray
    points_m: FloatArray
    normals: FloatArray
    middle_m: FloatArray | None
    is_round: bool
    mirror: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_m", frozen(self.size_m, (3,), "size_m"))
        for name in ("points_m", "normals"):
            values = getattr(self, name)
            if values.shape != (len(self.points_m), 3) or not np.isfinite(values).all():
                raise ValueError(f"{name} must be ({len(self.points_m)}, 3) and finite, not {values.shape}")
        if self.middle_m is not None:
            object.__setattr__(self, "middle_m", frozen(self.middle_m, (2,), "middle_m"))
        elif self.is_round:
            raise ValueError("a round shape has an axis")
        if self.mirror is not None and self.middle_m is not None:
            raise ValueError("a shape is completed by half a turn or by a mirror, not by both")

    def is_in(self, box: OrientedBox) -> bool:
        """Whether this is the shape of the object in this box: of its size and axes, upwards from its lower side."""
        own, other = self.T_camera_shape, box.T_camera_box
        off_m = own.translation_m + own.rotation[:, 2] * self.size_m[2] / 2 - other.translation_m
        off = [*off_m.tolist(), *(self.size_m - box.size_m).tolist()]
        if own.rotation is not other.rotation:
            off += (own.rotation - other.rotation).ravel().tolist()
        return max(map(abs, off)) <= _SAME

    @classmethod
    def of(
        cls,
        surface: KeptPoints,
        box: OrientedBox,
        completed: tuple[Revolution | Columns, Body] | None,
        lies_round: bool,
        frame: RgbdFrame,
    ) -> CompletedShape:
        """The shape of an object in its box.

        Args:
            surface: of the object.
            completed: the solid that completes it and the body whose frame that is in; None where nothing does.
            lies_round: whether it is something round on its side, whose far side its box holds already.
            frame: that it was lifted from.
        """
        size_m, T_camera_box = np.array(box.size_m), box.T_camera_box
        low_m = T_camera_box.translation_m - T_camera_box.rotation[:, 2] * size_m[2] / 2
        T_camera_shape = T_camera_box.moved_to(low_m)
        T_shape_camera = T_camera_shape.inverse()
        points_m, normals = np.empty((2, len(surface.outline_m), 3))
        fitted = shape_kernels.turned(
            surface.outline_m,
            surface.normals,
            T_shape_camera.rotation,
            T_shape_camera.translation_m,
            points_m,
            normals,
        )
        points_m, normals = points_m[:fitted], normals[:fitted]
        if completed is None:
            return cls(T_camera_shape, size_m, points_m, normals, None, False)
        solid, body = completed
        if isinstance(solid, Revolution):
            axis_m = T_shape_camera.apply(body.in_camera(np.append(solid.axis_m, 0.0)))
            middle_m = np.array(axis_m[:2], dtype=np.float64)
            return cls(T_camera_shape, size_m, points_m, normals, middle_m, solid.is_round)
        view = T_camera_shape, T_shape_camera.translation_m, frame
        found_m = _symmetry_axis(points_m, normals, *view)
        shifts_m = (0.0,) if lies_round else _MIRROR_SHIFTS_M
        # Of a thin body they are in front of what it stands on by less than what refutes them, wherever a mirror is.
        mirror = _mirror(points_m, normals, *view, shifts_m) if found_m is None and size_m[2] > THIN_M else None
        return cls(T_camera_shape, size_m, points_m, normals, found_m, False, mirror)

    def surface(self, frame: RgbdFrame, mask: NDArray[np.bool_], bounds: Bounds) -> ShapeSurface:
        """The measured surface and the sides that complete it.

        Sides that the camera did not see come from the measured ones, by half a turn about the middle or in the mirror;
        and from the outline of what was seen at each height, straight down. Whatever the camera sees to be free is left
        out.

        Args:
            frame: that the object was lifted from.
            mask: (H, W) bool, the object's mask.
            bounds: of the mask.
        """
        turned_m, turned_normals = np.zeros((0, 3)), np.zeros((0, 3))
        if self.middle_m is not None:
            shift_m = np.array([*(2 * self.middle_m).tolist(), 0.0])
            turned_m, turned_normals = self._unseen(self.points_m, self.normals, _TURN, shift_m, 0.0, frame)
        elif self.mirror is not None:
            axis, place_m = self.mirror
            flip, shift_m = np.ones(3), np.zeros(3)
            flip[axis], shift_m[axis] = -1.0, 2 * place_m
            # Looked at so far below the surface that its noise does not take them out of it.
            mapping = flip, shift_m, _MIRROR_TOLERANCE_M
            turned_m, turned_normals = self._unseen(self.points_m, self.normals, *mapping, frame)
        known_m = self._all_points(frame, mask, bounds, turned_m)
        walls_m, wall_normals = self._unseen(
            *outline_walls(known_m, float(self.size_m[2])), np.ones(3), np.zeros(3), 0.0, frame
        )
        counts = [len(self.points_m), len(turned_m), len(walls_m)]
        return ShapeSurface(
            np.concatenate([self.points_m, turned_m, walls_m]),
            np.concatenate([self.normals, turned_normals, wall_normals]),
            np.repeat([MEASURED, TURNED, EXTRUDED], counts),
        )

    def _unseen(
        self,
        points_m: FloatArray,
        normals: FloatArray,
        flip: FloatArray,
        shift_m: FloatArray,
        inwards_m: float,
        frame: RgbdFrame,
    ) -> tuple[FloatArray, FloatArray]:
        """`shape_kernels.unseen_counterparts` in the frame of the shape."""
        return shape_kernels.unseen_counterparts(
            np.ascontiguousarray(points_m),
            np.ascontiguousarray(normals),
            flip,
            shift_m,
            inwards_m,
            np.ascontiguousarray(self.T_camera_shape.rotation),
            self.T_camera_shape.translation_m,
            frame.depth_m,
            frame.intrinsics.fx_fy_cx_cy,
        )

    def _all_points(
        self, frame: RgbdFrame, mask: NDArray[np.bool_], bounds: Bounds, others_m: FloatArray
    ) -> FloatArray:
        """Every measured point of the mask in the box and beside it, thin rims, too, that lifting drops; and others."""
        rows, columns = crop_around(bounds, mask.shape, 0)
        T_shape_camera = self.T_camera_shape.inverse()
        most = (rows.stop - rows.start) * (columns.stop - columns.start)
        points_m = np.empty((most + len(others_m), 3))
        count = shape_kernels.points_in_box(
            frame.depth_m,
            mask,
            (rows.start, rows.stop, columns.start, columns.stop),
            frame.intrinsics.fx_fy_cx_cy,
            np.ascontiguousarray(T_shape_camera.rotation),
            T_shape_camera.translation_m,
            self.size_m * (0.5, 0.5, 1.0) + _BESIDE_BOX_M,
            points_m,
        )
        points_m[count : count + len(others_m)] = others_m
        return points_m[: count + len(others_m)]


def _symmetry_axis(
    points_m: FloatArray, normals: FloatArray, T_camera_shape: Transform, camera_m: FloatArray, frame: RgbdFrame
) -> FloatArray | None:
    """Where the vertical goes, (2,), about which half a turn maps the points to where the camera cannot refute them.

    The nearest such place to the middle of the box, which lies too near to the camera where a body bulges out of sight;
    None where there is none: an L or a wedge has no such symmetry, and what has no points is not known to have one.
    """
    away = -camera_m[:2]
    away = away / max(math.hypot(*away.tolist()), 1e-6)
    axes_m, shifts_m = _AXIS_SHIFTS_M[:, None] * away, np.zeros((len(_AXIS_SHIFTS_M), 3))
    shifts_m[:, :2] = 2 * axes_m
    found = _first_unrefuted(points_m, normals, _TURNS, shifts_m, 0.0, _MOST_REFUTED, T_camera_shape, frame)
    return None if found is None else np.asarray(axes_m[found])


def _mirror(
    points_m: FloatArray,
    normals: FloatArray,
    T_camera_shape: Transform,
    camera_m: FloatArray,
    frame: RgbdFrame,
    places_m: Sequence[float],
) -> tuple[int, float] | None:
    """The upright mirror along an axis of the box of a body, as a lying bottle or cone has one.

    At one of these places behind the middle of the box. Where both axes will do it is the one that shows more of the
    far side, and of the places that the camera does not refute the first, which may be the farthest: a finger on the
    far side must not meet what is not known. None where the camera refutes every mirror.
    """
    away = -camera_m[:2] / max(math.hypot(*camera_m[:2].tolist()), 1e-6)
    mirrors = [
        (axis, float(place_m * away[axis])) for axis in np.argsort(-np.abs(away)).tolist() for place_m in places_m
    ]
    flips, shifts_m = np.ones((len(mirrors), 3)), np.zeros((len(mirrors), 3))
    for k, (axis, place_m) in enumerate(mirrors):
        flips[k, axis], shifts_m[k, axis] = -1, 2 * place_m
    most = _MOST_REFUTED_MIRROR
    found = _first_unrefuted(points_m, normals, flips, shifts_m, _MIRROR_TOLERANCE_M, most, T_camera_shape, frame)
    return None if found is None else mirrors[found]


def _first_unrefuted(
    points_m: FloatArray,
    normals: FloatArray,
    flips: FloatArray,
    shifts_m: FloatArray,
    inwards_m: float,
    most: float,
    T_camera_shape: Transform,
    frame: RgbdFrame,
) -> int | None:
    """The first of some symmetries (`shape_kernels.first_unrefuted`); None for no points, too."""
    if not len(points_m):
        return None
    found = shape_kernels.first_unrefuted(
        np.ascontiguousarray(points_m),
        np.ascontiguousarray(normals),
        flips,
        shifts_m,
        inwards_m,
        most,
        np.ascontiguousarray(T_camera_shape.rotation),
        T_camera_shape.translation_m,
        frame.depth_m,
        frame.intrinsics.fx_fy_cx_cy,
    )
    return found if found >= 0 else None


def outline_walls(points_m: FloatArray, height_m: float) -> tuple[FloatArray, FloatArray]:
    """The outline of the points at each height, straight down: walls of what stands under the points.

    Args:
        points_m: (N, 3), frame of the shape.
        height_m: of the body.

    Returns:
        points_m: (M, 3) on the outlines.
        normals: (M, 3), level; those of a body not above `THIN_M` lean with its outlines.
    """
    if not len(points_m):
        return np.zeros((0, 3)), np.zeros((0, 3))
    low_x_m, low_y_m, top_m = shape_kernels.heights_over_cells(points_m, _CELL_M, _RIM_CELLS, _MAX_CELLS)
    if not top_m.size:
        return np.zeros((0, 3)), np.zeros((0, 3))
    thin = height_m <= THIN_M
    if thin:
        # Noise is a good part of such a height: outlines of what most of the top reaches.
        top_m = cv2.medianBlur(top_m, 3)
        height_m = min(height_m, percentile(top_m[top_m > 0], _THIN_PERCENT)) if top_m.any() else height_m
    levels = max(_THIN_LEVELS if thin else 1, min(_MAX_LEVELS, round(height_m / _LEVEL_STEP_M)))
    heights_m = (np.arange(levels) + 0.5) * height_m / levels
    # Each height's region is closed: so are the heights themselves, which does that for all of them.
    closed_m = cv2.morphologyEx(top_m, cv2.MORPH_CLOSE, _SQUARE)
    walls_m, normals, cell = shape_kernels.outlines(
        closed_m, cv2.erode(closed_m, _SQUARE), heights_m, low_x_m, low_y_m, _CELL_M
    )
    if not thin:
        return walls_m, normals
    # A thin body's sides are known by their walls alone. A wall leans by how far the outline is set back a little
    # higher and reaches out a little lower, beyond what cells can tell: a lens has no upright side.
    rises_m, falls_m = _LEAN_SHARE * (height_m - heights_m), _LEAN_SHARE * heights_m
    # All heights below each other in one image: the empty rim of each is wider than what the filters reach.
    higher, lower = (
        (top_m >= level_m[:, None, None]).view(np.uint8).reshape(-1, top_m.shape[1])
        for level_m in (heights_m + rises_m, heights_m - falls_m)
    )
    set_back_m, reach_m = (
        cv2.distanceTransform(region, cv2.DIST_L2, 3).take(cell) * _CELL_M for region in (1 - higher, lower)
    )
    normals *= (rises_m + falls_m)[cell // top_m.size, None]
    normals[:, 2] = (set_back_m + reach_m - _LEAN_TOLERANCE_M).clip(min=0)
    return walls_m, normals / length(normals).clip(min=1e-9)[:, None]
