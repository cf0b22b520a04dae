"""An object with its unseen parts: the solid from its plane up to its top, and the box around it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform, cross
from instance_seg_ros.lifting.columns import Columns, Underside, fill_columns, has_flat_top, leans
from instance_seg_ros.lifting.completion import far_side_of_round_body
from instance_seg_ros.lifting.faces import rectangle_around
from instance_seg_ros.lifting.foot import Foot
from instance_seg_ros.lifting.hidden_ends import HiddenEnds, likely_ends
from instance_seg_ros.lifting.kept_points import KeptPoints
from instance_seg_ros.lifting.masks import Bounds
from instance_seg_ros.lifting.rectangle import Sides, area_of, smallest_rectangle
from instance_seg_ros.lifting.solid import Ball, Body, Revolution, fit_revolution
from instance_seg_ros.lifting.standing import Standing
from instance_seg_ros.lifting.visibility import Visibility

FloatArray = NDArray[np.float64]

_LEVEL, _TOP_SEEN = 0.9, 0.1
"""What lies below others is seen from its side alone when fewer than so many of its normals point up by the first."""
_FRONT_ASPECT, _UPWARDS, _TOP_OF_FRONT = 0.2, 0.5, 0.03
"""Only the front of an object is seen when its outline is narrower than this share of its length, and hardly any of its
normals point up."""
_FOOT_UNSEEN, _ROUND_UNSEEN, _ROUND_BELOW, _FOOT_UNSEEN_M = 0.4, 0.6, 0.5, 0.04
"""The foot of an object is not seen when nothing is of so much of its height from below; of what is round below, at its
lowest narrower than the third times its width, the lower half is never seen from above. And when nothing is of the
last, whatever its height, of what is no body of revolution: it may lean on what it hides. That is at 1 m and nearer;
beyond it grows with the distance, since a few pixels are as much of what is large and far."""
_UPRIGHT, _SIDES, _SIDES_SEEN = 0.9, 0.2, 0.6
"""A body of revolution has upright sides, or is widest below, when its lowest third is so wide, as a share of it;
another one with a flat top, or when more than the third of its normals point up or down by less than the second."""
_TILTED, _TILTED_SHARE = (0.2, 0.9), 0.6
"""A body is tilted, and hides what lies below the half of its height, when the vertical parts of so many of its normals
lie within these: it lies on its side, or on an edge, on others."""
_AS_SMALL = 1.05
"""A rectangle is as good as the smallest one for what is round up to so many times its area."""
_OVERHEAD = 0.1
"""A camera looks straight down on what is no farther aside than this share of how far below it is: 6 degrees."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One object as the camera sees it.

    Attributes:
        frame: that it is in; where something without depth may hide what goes on beside it, as if that were near.
        mask: (H, W) bool.
        bounds: of the mask.
        surface: its kept points.
        visibility: what hides a part of it.
        covered_m: (K, 3) points of its top that what stands on it hides, camera optical frame.

    Raises:
        ValueError: for a mask of another size than the frame's, or no points.
    """

    frame: RgbdFrame
    mask: NDArray[np.bool_]
    bounds: Bounds
    surface: KeptPoints
    visibility: Visibility
    covered_m: FloatArray

    def __post_init__(self) -> None:
        if self.mask.shape != self.frame.depth_m.shape:
            raise ValueError(f"mask must be {self.frame.depth_m.shape} as the frame, not {self.mask.shape}")
        if not len(self.surface.points_m):
            raise ValueError("nothing was kept of the mask")

    @property
    def in_part(self) -> bool:
        """Whether something hides a part of it."""
        return bool(self.visibility.status)

    @property
    def is_covered(self) -> bool:
        """Whether another object stands on it."""
        return len(self.covered_m) > 0


@dataclass(frozen=True, eq=False)
class Whole:
    """An object with its unseen parts.

    Attributes:
        box: around it; of what is seen in part a lower bound.
        solid: in the frame of `body`.
        body: what was measured of it, and its far side where that is known.
        front_only: whether all that was seen is one upright face.
        flush: whether it hardly stands out from its plane.
        round_below: whether it narrows towards its foot.
        unseen_m: how much of its height from below is hidden by what lies above it.
        ends: of one that is seen in part, where it most likely ends.
        if_hidden_m: of what would be round if something without depth hid a part of it, the centre (3,) that it would
            have, in the body's frame.
    """

    box: OrientedBox
    solid: Revolution | Columns
    body: Body
    front_only: bool
    flush: bool
    round_below: bool
    unseen_m: float
    ends: HiddenEnds | None
    if_hidden_m: FloatArray | None

    @cached_property
    def centre_m(self) -> FloatArray:
        """(3,) of the volume, in the body's frame; it goes on above what was seen as it is below that."""
        if self.ends is None:
            return self.solid.centre_m
        return self.solid.centre_m + np.array([0.0, 0.0, self.ends.rise_m / 2])

    @property
    def is_round(self) -> bool:
        """Whether it is a body of revolution with circles as its sections."""
        return isinstance(self.solid, Revolution) and self.solid.is_round

    @property
    def lies_round(self) -> bool:
        """Whether it is something round on its side."""
        return isinstance(self.solid, Columns) and self.round_below

    @property
    def unseen_limit_m(self) -> float:
        """How much of it may not be seen from below before its foot counts as not seen."""
        share_m = self.body.top_m * (_ROUND_UNSEEN if self.round_below else _FOOT_UNSEEN)
        return min(share_m, foot_unseen_m(float(self.box.T_camera_box.translation_m[2])))


def foot_unseen_m(depth_m: float) -> float:
    """How much of an object so far away may not be seen from below, whatever its height."""
    return _FOOT_UNSEEN_M * max(1.0, depth_m)


@dataclass(frozen=True, eq=False)
class Fitted:
    """An object on a plane, and the body of revolution that it may be, before it is completed.

    Attributes:
        plane: that it stands on.
        standing: what of it stands out from that.
        body: that of `standing`; a ball's is as high as the ball.
        revolution: the body of revolution that it is; None for others, and where that is doubted.
        is_ball: whether that is a ball.
        if_hidden_m: of what would be round if something without depth hid a part of it, the centre (3,) that it would
            have, in the body's frame.
    """

    plane: Plane
    standing: Standing
    body: Body
    revolution: Revolution | None
    is_ball: bool
    if_hidden_m: NDArray[np.float64] | None

    @classmethod
    def on(cls, seen: Seen, plane: Plane, tolerance_m: float) -> Fitted | None:
        """An object on a plane; None where it is not above that.

        Args:
            tolerance_m: see `Standing.on`.
        """
        standing = Standing.on(seen.surface, plane, tolerance_m)
        if standing is None:
            return None
        body = standing.body
        ball = Ball.of(standing.points_m, standing.normals)
        revolution = None if ball is None else ball.resting(body, seen.frame, seen.mask, seen.in_part)
        is_ball = revolution is not None and not revolution.doubted
        if revolution is not None and is_ball:
            top_m = float(1.5 * revolution.heights_m[-1] - 0.5 * revolution.heights_m[-2])
            body = replace(body, top_m=top_m)
        else:
            revolution = fit_revolution(body, seen.frame, seen.mask, seen.in_part) or revolution
        if revolution is not None and revolution.doubted:
            return cls(plane, standing, body, None, False, revolution.centre_m)
        return cls(plane, standing, body, revolution, is_ball, None)

    @property
    def is_block(self) -> bool:
        """Whether it is one with a level top, such as a carton."""
        return self.revolution is None and has_flat_top(self.body)

    @property
    def is_upright(self) -> bool:
        """Whether what is seen of it tells that it is no narrower at its foot: it ends where its edge does."""
        if self.revolution is None:
            upwards = np.abs(self.body.normals[:, 2])
            return self.is_block or bool(np.count_nonzero(upwards < _SIDES) > _SIDES_SEEN * len(upwards))
        radii_m = self.revolution.radii_m
        return bool(radii_m[: len(radii_m) // 3].mean() > _UPRIGHT * radii_m.max())

    def hanging_m(self, foot: Foot) -> float:
        """How far above the plane a block ends, if that is so far that it hangs; 0 of all else."""
        lifted_m = foot.lifted_m or 0.0
        return lifted_m if lifted_m > foot_unseen_m(self.standing.depth_m) and self.is_block else 0.0


def completed(fitted: Fitted, seen: Seen) -> Whole:
    """The object from its plane up to its top.

    Its solid is a body of revolution about the plane's normal, where the surface is one; otherwise, or where that is
    doubted, that of columns from the plane up to the surface.
    """
    outline_m = _outline_from_above(fitted, seen)
    if fitted.revolution is not None:
        return _as_revolution(fitted, fitted.revolution, outline_m, seen)
    return _as_columns(fitted, outline_m, seen)


def _outline_from_above(fitted: Fitted, seen: Seen) -> FloatArray:
    """Points (N, 2) of the object's outline, in the frame of its body: measured ones, and what it reaches beyond."""
    body, rim_m = fitted.body, seen.surface.rim_m
    parts_m = [body.points_m[:, :2]]
    if len(rim_m):
        rim_m = (rim_m - body.origin_m) @ body.basis
        parts_m.append(rim_m[rim_m[:, 2] > max(fitted.standing.least_m, 0.0), :2])
    if seen.is_covered and np.count_nonzero(body.normals[:, 2] > _LEVEL) < _TOP_SEEN * len(body.normals):
        parts_m.append((seen.covered_m - body.origin_m) @ body.basis[:, :2])
    return np.concatenate(parts_m) if len(parts_m) > 1 else parts_m[0]


def _as_revolution(fitted: Fitted, solid: Revolution, outline_m: FloatArray, seen: Seen) -> Whole:
    """A body of revolution in its box."""
    body, ends = fitted.body, None
    sides = _rectangle_of_round(np.concatenate([outline_m, solid.outline_m()]), body)
    if seen.in_part:
        ends = likely_ends(body, *sides, seen.frame, seen.mask, True, fitted.is_ball or seen.is_covered)
    return Whole(
        box=_box_around(body, fitted.plane, sides),
        solid=solid,
        body=body,
        front_only=False,
        flush=fitted.standing.flush,
        round_below=bool(solid.radii_m[0] < _ROUND_BELOW * solid.radii_m.max()),
        unseen_m=0.0,
        ends=ends,
        if_hidden_m=fitted.if_hidden_m,
    )


def _as_columns(fitted: Fitted, outline_m: FloatArray, seen: Seen) -> Whole:
    """What is no body of revolution in its box."""
    body, sides, underside = _with_far_side(fitted, outline_m, seen.frame)
    axes, low_m, high_m = sides
    front_only, flush, ends = _is_front(body, high_m - low_m), fitted.standing.flush, None
    front_only &= not flush
    # The box stays a lower bound; the volume goes on where it most likely does.
    bounds_m = low_m, high_m
    if seen.in_part or front_only:
        ends = likely_ends(body, *sides, seen.frame, seen.mask, False, seen.is_covered, front_only)
        bounds_m = ends.low_m, ends.high_m
    return Whole(
        box=_box_around(body, fitted.plane, sides),
        solid=fill_columns(body, axes, *bounds_m, seen.frame, seen.mask, underside),
        body=body,
        front_only=front_only,
        flush=flush,
        round_below=underside is Underside.ROUND,
        unseen_m=_unseen_below_m(body, underside, fitted.standing.depth_m),
        ends=ends,
        if_hidden_m=fitted.if_hidden_m,
    )


def _with_far_side(fitted: Fitted, outline_m: FloatArray, frame: RgbdFrame) -> tuple[Body, Sides, Underside]:
    """The body, with the far side of what is round and lies; the rectangle around it, and what it is like below."""
    body, sides = fitted.body, _rectangle(outline_m, fitted.body)
    far_m = np.zeros((0, 3))
    if not has_flat_top(body):
        far_m = far_side_of_round_body(body, frame, sides[0][0])
    if not len(far_m):
        return body, sides, Underside.TURNED if leans(body) else Underside.FLAT
    points_m, normals = np.concatenate([body.points_m, far_m]), np.concatenate([body.normals, np.zeros_like(far_m)])
    sides = smallest_rectangle(np.concatenate([outline_m, far_m[:, :2]]))
    return replace(body, points_m=points_m, normals=normals), sides, Underside.ROUND


def _is_front(body: Body, size_m: FloatArray) -> bool:
    """Whether all that is seen of a body is one upright face, by the size (2,) of the rectangle around it."""
    if size_m[1] >= _FRONT_ASPECT * size_m[0]:
        return False
    return bool(np.count_nonzero(body.normals[:, 2] > _UPWARDS) <= _TOP_OF_FRONT * len(body.normals))


def _unseen_below_m(body: Body, underside: Underside, depth_m: float) -> float:
    """How much of a body's height from below is hidden by what lies above it."""
    if underside is Underside.TURNED:
        return body.top_m
    half_m = body.top_m / 2
    return half_m if underside is Underside.FLAT and half_m > foot_unseen_m(depth_m) and _is_tilted(body) else 0.0


def _rectangle(outline_m: FloatArray, body: Body) -> Sides:
    """The rectangle around the outline (N, 2) of what is no body of revolution, but whose top may be a circle."""
    rectangle = rectangle_around(outline_m, body)
    sides = rectangle.axes, rectangle.low_m, rectangle.high_m
    if not rectangle.by_faces and _is_circle(outline_m, sides):
        return _rectangle_of_round(outline_m, body)  # such as the top of a can
    return sides


def _rectangle_of_round(outline_m: FloatArray, body: Body) -> Sides:
    """The rectangle around the outline (N, 2) of what is round seen from above; see `smallest_rectangle`.

    Around a circle all are alike, and the smallest would turn with the last bit of a sum. It lies along the line of
    sight then, so that box and likely centre stay from frame to frame; not where something, such as a handle, sticks
    out. Seen from straight above there is no such line, and it lies along the image's rows.
    """
    smallest = axes, low_m, high_m = smallest_rectangle(outline_m)
    camera_m = -(body.origin_m @ body.basis)
    away_m = (low_m + high_m) / 2 @ axes - camera_m[:2]
    if np.hypot(*away_m) < _OVERHEAD * (camera_m[2] - body.top_m):
        away_m = body.basis[0, :2]
    along_sight = smallest_rectangle(outline_m, math.atan2(away_m[1], away_m[0]))
    return along_sight if area_of(along_sight) < _AS_SMALL * area_of(smallest) else smallest


def _is_circle(outline_m: FloatArray, smallest: Sides) -> bool:
    """Whether a smallest rectangle around an outline (N, 2) is a square that may be turned as one likes."""
    axes, low_m, high_m = smallest
    longer_m, shorter_m = (high_m - low_m).tolist()
    if longer_m > _AS_SMALL * shorter_m:
        return False
    turned = smallest_rectangle(outline_m, math.atan2(axes[0, 1], axes[0, 0]) + math.pi / 4)
    return area_of(turned) < _AS_SMALL * area_of(smallest)


def _is_tilted(body: Body) -> bool:
    """Whether most of what is seen of a body is neither its top nor upright sides, and so overhangs what lies below."""
    upwards = body.normals[body.normals.any(axis=1), 2]  # normals that are not known are zeros
    tilted = int(np.count_nonzero((upwards > _TILTED[0]) & (upwards < _TILTED[1])))
    return tilted > _TILTED_SHARE * len(upwards) and not has_flat_top(body)


def _box_around(body: Body, plane: Plane, sides: Sides) -> OrientedBox:
    """The box above a rectangle, from the plane of a body up to its top."""
    axes, low_m, high_m = sides
    middle_m = np.array([*((low_m + high_m) / 2 @ axes), body.top_m / 2])
    pose = box_pose(body.basis[:, :2] @ axes[0], plane.normal, body.in_camera(middle_m))
    return OrientedBox(pose, np.array([*(high_m - low_m), body.top_m]))


def box_pose(x_axis: FloatArray, z_axis: FloatArray, centre_m: FloatArray) -> Transform:
    """A pose from two orthogonal axes; of the two signs of x, the one that points to the right of the image."""
    x_axis = x_axis if x_axis[0] >= 0 else -x_axis
    rotation = np.empty((3, 3))
    rotation[:, 0], rotation[:, 1], rotation[:, 2] = x_axis, cross(z_axis, x_axis), z_axis
    return Transform(rotation, centre_m)
