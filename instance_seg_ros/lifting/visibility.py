"""Which objects the camera sees in part only: cut by the image's border, behind something nearer, without depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.core.geometry import OrientedBox, Plane
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting.masks import Bounds, bounds_of, crop_around, dilated, negate, spread

_MIN_BORDER_PX = 3
"""A mask that touches the border with fewer pixels than this, or than the share below of its outline, is whole."""
_MIN_OUTLINE_SHARE = 0.05
_MIN_HIDDEN_PX = 6
_MIN_DEPTH_M = 0.01
_MIN_OCCLUDER_PX = 6
_UNMEASURED_SHARE = 0.2
"""Objects lose a rim of their depth to their edges; more than this is a part that is missing."""
_REACH_PX = 5
"""An occluder is looked for up to this many pixels beyond the mask, behind the rim without depth."""
_REACHED = np.ones((2 * _REACH_PX + 1, 2 * _REACH_PX + 1), np.uint8)
_VOID_SIDE = 0.035
"""A region without depth into which a square of this side fits, as a share of the focal length, is no rim beside an
edge, as projectors and second cameras leave in their shadows: something that is too near may be there."""
_BEHIND = 1.15
"""What lacks depth may as well be the background where the plane below is more than so many times as far as an object.
"""
_BLOCK_PX = 4
_AROUND_BLOCK = np.ones((2 * _BLOCK_PX + 1, 2 * _BLOCK_PX + 1), np.uint8)
"""Regions without depth are looked for in blocks of this side."""
_TOO_NEAR_M = 0.01
_FARTHEST_M = 1e3
_ROUNDING_M = 1e-5
"""So much nearer is no matter of the last bit of depth."""
_STEPS = 2.0
"""Something is nearer than the object when it is so by this multiple of a depth step."""


@dataclass(frozen=True, eq=False)
class Visibility:
    """How much of an object's outline was seen.

    Attributes:
        status: flags of what hides a part of it, `Status.OK` for one that is seen as a whole.
        hidden_share: of its outline in the image that is no edge of its own: at the border, or beside something nearer.
        unmeasured_share: of its pixels that have no depth.
        nearer_px: (K,) int64, indices in the flattened image of the pixels of what hides a part of it, beside the mask.
        pixels: of its mask.
        beside_void: whether much of its outline lies where something without depth may hide what goes on there.
    """

    status: Status
    hidden_share: float
    unmeasured_share: float
    nearer_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pixels: int = 0
    beside_void: bool = False


def partly_seen(
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    step_m: float,
    step_ratio: float,
    bounds: Bounds | None = None,
    standing: Sequence[NDArray[np.bool_]] = (),
    kept_px: NDArray[np.int64] | None = None,
    voids: Voids | None = None,
) -> Visibility:
    """What hides a part of an object.

    Args:
        depth_m: (H, W) float32, metres, 0 = no measurement.
        mask: (H, W) bool, of the object.
        step_m, step_ratio: a jump between neighbours is a depth step above max(step_m, step_ratio * depth).
        bounds: of the mask, where they are known.
        standing: masks (H, W) bool of what may stand on it: where they touch it no depth step tells that they are in
            front.
        kept_px: (P,) ascending indices in the flattened image of the measured pixels that are known to be the object's,
            all of the mask without it: a generous mask covers a rim of what hides the object, too.
        voids: something without depth may hide what is beside them.
    """
    bounds = bounds or bounds_of(mask)
    crop = crop_around(bounds, mask.shape, _REACH_PX + 1)
    inside, crop_m = np.ascontiguousarray(mask[crop]), np.ascontiguousarray(depth_m[crop])
    outline, nearer = np.empty((2, *inside.shape), dtype=bool)
    count, outline_px, unmeasured_px, may_be_nearer = _look_at(crop_m, inside, step_m, step_ratio, outline)
    if not count:
        return Visibility(Status.OK, 0.0, 0.0)
    status = Status.OK
    least_px = max(_MIN_BORDER_PX, _MIN_OUTLINE_SHARE * outline_px)
    left, top, width, height = bounds
    touches = top == 0, top + height == mask.shape[0], left == 0, left + width == mask.shape[1]
    border_px = []
    if any(touches):
        border = mask[0], mask[-1], mask[:, 0], mask[:, -1]
        border_px = [int(np.count_nonzero(side)) for side, touched in zip(border, touches, strict=True) if touched]
    if max(border_px, default=0) > least_px:
        status |= Status.CUT_BY_IMAGE_BORDER
    unmeasured_share = unmeasured_px / count
    if unmeasured_share > _UNMEASURED_SHARE:
        status |= Status.PARTLY_MEASURED
    any_nearer = False
    if kept_px is None:
        kept_px = np.flatnonzero(mask & (depth_m > 0))
    if (standing and outline_px) or may_be_nearer:
        kept, own_m = np.empty(inside.shape, dtype=bool), np.empty_like(crop_m)
        _take_kept(crop_m, kept_px, (crop[0].start, crop[1].start, mask.shape[1]), kept, own_m)
        # The nearest of the object around each pixel beyond it: what is nearer than that is in front of the object.
        nearest_m = cv2.erode(own_m, _REACHED)
        covered_m = own_m  # not needed any more
        any_nearer, any_covered = _mark_nearer(crop_m, inside, kept, nearest_m, step_m, step_ratio, nearer, covered_m)
        if any_covered:  # what goes on from there beyond the mask lies in front as well
            goes_on_m = dilated(covered_m, 2 * _REACH_PX - 1) * (1 + step_ratio)
            nearer |= ~inside & (crop_m > 0) & (crop_m < goes_on_m)
            any_nearer = bool(nearer.any())
    if standing and outline_px:
        # In the middle of a top it hides nothing of the outline, and what is farther off does not touch it.
        above = np.any([own[crop] for own in standing], axis=0)
        touching = above & (crop_m < nearest_m + _STEPS * np.maximum(step_m, step_ratio * nearest_m))
        nearer |= touching & dilated(outline & _convex_edge(outline), 2 * _REACH_PX - 1)
        any_nearer = bool(nearer.any())
    occluded_px = int(np.count_nonzero(dilated(nearer, 2 * _REACH_PX - 1) & outline)) if any_nearer else 0
    nearer_px, least_px = np.zeros(0, np.int64), max(_MIN_HIDDEN_PX, _MIN_OUTLINE_SHARE * outline_px)
    if occluded_px > least_px:
        status |= Status.OCCLUDED
        at_row, at_column = np.nonzero(nearer)
        nearer_px = (at_row + crop[0].start) * mask.shape[1] + at_column + crop[1].start
    beside_void = False
    farthest_m = depth_m.take(kept_px).max() if voids is not None and len(kept_px) else 0.0
    if voids is not None and (own_void_m := voids.plane_m[crop]).min() < _BEHIND * farthest_m:
        # Blocks that have some depth at their edge are left out of them.
        beyond = (cv2.erode(own_void_m, _AROUND_BLOCK) < _BEHIND * farthest_m) & (crop_m == 0) & ~inside
        hides = nearer | beyond if any_nearer else beyond
        hidden_px = int(np.count_nonzero(dilated(hides, 2 * _REACH_PX - 1) & outline))
        if hidden_px - occluded_px > least_px:
            status, beside_void, occluded_px = status | Status.PARTLY_MEASURED, True, hidden_px
    hidden_share = min((sum(border_px) + occluded_px) / max(outline_px, 1), 1.0)
    return Visibility(status, hidden_share, unmeasured_share, nearer_px, count, beside_void)


@dataclass(frozen=True, eq=False)
class Voids:
    """Wide regions of a frame without depth, where something such as a finger that is too near may hide what is there.

    Attributes:
        frame: that they are in.
        plane_m: (H, W) float32, metres, how far the plane is there that most objects stand on; infinite elsewhere and
            where the line of sight never meets it.
    """

    frame: RgbdFrame
    plane_m: NDArray[np.float32]

    @classmethod
    def of(cls, frame: RgbdFrame, plane: Plane) -> Voids | None:
        """Those of a frame, or None.

        Args:
            plane: that most objects stand on.
        """
        height, width = frame.depth_m.shape
        rows, columns = height // _BLOCK_PX, width // _BLOCK_PX
        side = max(1, round(_VOID_SIDE * frame.intrinsics.fx / _BLOCK_PX))
        if not rows or not columns:
            return None
        # Where not a pixel of a block has depth; one in sixteen tells that of most blocks.
        missing = frame.depth_m[: rows * _BLOCK_PX : _BLOCK_PX, : columns * _BLOCK_PX : _BLOCK_PX] == 0
        square = np.ones((side, side), np.uint8)
        if not cv2.countNonZero(cv2.morphologyEx(missing.view(np.uint8), cv2.MORPH_OPEN, square)):
            return None
        blocks = frame.depth_m[: rows * _BLOCK_PX, : columns * _BLOCK_PX].reshape(rows, _BLOCK_PX, columns, _BLOCK_PX)
        for row in range(_BLOCK_PX):
            for column in range(_BLOCK_PX):
                missing &= blocks[:, row, :, column] == 0
        wide = cv2.morphologyEx(missing.view(np.uint8), cv2.MORPH_OPEN, square)
        if not cv2.countNonZero(wide):
            return None
        camera, (x, y, z) = frame.intrinsics, plane.normal
        across, along = ((np.arange(count) + 0.5) * _BLOCK_PX - 0.5 for count in (columns, rows))
        down = -(x * (across - camera.cx) / camera.fx + (y * (along - camera.cy) / camera.fy)[:, None] + z)
        void_m = np.full((rows, columns), np.inf, np.float32)
        np.divide(plane.offset_m, down, out=void_m, where=(wide > 0) & (down > 0), casting="same_kind")
        shape = columns * _BLOCK_PX, rows * _BLOCK_PX
        whole_m = np.full((height, width), np.inf, np.float32)
        whole_m[: shape[1], : shape[0]] = cv2.resize(void_m, shape, interpolation=cv2.INTER_NEAREST)
        return cls(frame, whole_m)

    @cached_property
    def taken_for_near(self) -> RgbdFrame:
        """The frame as if something in front of everything were there."""
        # Kept, since it is that of all objects beside a void.
        depth_m = np.where(self.plane_m < np.inf, np.float32(_TOO_NEAR_M), self.frame.depth_m)
        return replace(self.frame, depth_m=depth_m)


@kernel(
    *("float32[:, ::1]", "int64[::1]", "UniTuple(int64, 3)", "boolean[:, ::1]", "float32[:, ::1]"),
    writes=("kept", "own_m"),
)
def _take_kept(
    depth_m: NDArray[np.float32],
    pixels: NDArray[np.int64],
    corner: tuple[int, int, int],
    kept: NDArray[np.bool_],
    own_m: NDArray[np.float32],
) -> None:
    """Marks some pixels of a crop (h, w), and takes their depth, `_FARTHEST_M` elsewhere.

    Args:
        pixels: (P,) their indices in the flattened image, ascending.
        corner: row and column of the crop in the image, and how many columns that has.
    """
    top, left, columns = corner
    kept[:] = False
    own_m[:] = np.float32(_FARTHEST_M)
    row, first = 0, top * columns + left  # counted on, since a division takes as long as all else
    for pixel in pixels:
        while pixel >= first + columns:
            row, first = row + 1, first + columns
        kept[row, pixel - first] = True
        own_m[row, pixel - first] = depth_m[row, pixel - first]


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "float64", "float64", "boolean[:, ::1]"),
    writes=("outline",),
)
def _look_at(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    step_m: float,
    step_ratio: float,
    outline: NDArray[np.bool_],
) -> tuple[int, int, int, bool]:
    """Marks a mask's outermost pixels.

    Args:
        depth_m, inside: (h, w) crops of the depth and of the mask; where that goes on at their border is no outline.

    Returns:
        How many pixels the mask, its outline, and what of it has no depth have; and of `_may_be_nearer`.
    """
    outside, beyond = np.empty(inside.shape, np.bool_), np.empty(inside.shape, np.bool_)
    negate(inside.reshape(-1), outside.reshape(-1))
    spread(outside, 1, beyond)
    count, outline_px, unmeasured_px = _count_own(
        depth_m.reshape(-1), inside.reshape(-1), beyond.reshape(-1), outline.reshape(-1)
    )
    return count, outline_px, unmeasured_px, _may_be_nearer(depth_m, inside, step_m, step_ratio)


# A loop without branches, which the processor does for several pixels at a time.
@inner
def _count_own(
    depth_m: NDArray[np.float32], inside: NDArray[np.bool_], beyond: NDArray[np.bool_], outline: NDArray[np.bool_]
) -> tuple[int, int, int]:
    """How many pixels (N,) are inside, how many of them are marked as outline, and how many have no depth."""
    count, outline_px, measured = 0, 0, 0
    for n in range(len(inside)):
        outline[n] = inside[n] & beyond[n]
        count, outline_px = count + inside[n], outline_px + outline[n]
        measured += inside[n] & (depth_m[n] > 0)
    return count, outline_px, count - measured


@inner
def _may_be_nearer(depth_m: NDArray[np.float32], inside: NDArray[np.bool_], step_m: float, step_ratio: float) -> bool:
    """Whether `_mark_nearer` may find something: in most crops (h, w) nothing beside an object is nearer than even the
    farthest of the rows of it around."""
    height = len(depth_m)
    farthest_m = np.zeros(height, np.float32)
    for y in range(height):
        farthest_m[y] = _farthest(depth_m[y], inside[y])
    least_m, ratio = np.float32(step_m), np.float32(step_ratio)
    for y in range(height):
        object_m = np.float32(0)
        for row in range(max(y - _REACH_PX, 0), min(y + _REACH_PX, height - 1) + 1):
            object_m = max(object_m, farthest_m[row])
        before_m = object_m - np.float32(_STEPS) * max(least_m, ratio * object_m) + np.float32(_ROUNDING_M)
        if _any_before(depth_m[y], inside[y], before_m):
            return True
    return False


@inner
def _farthest(depth_m: NDArray[np.float32], inside: NDArray[np.bool_]) -> np.float32:
    """The largest depth (w,) of what is inside; 0 for nothing."""
    # As whole numbers, which are in the same order, and of which the processor compares several at a time.
    bits, most = depth_m.view(np.int32), np.int32(0)
    for x in range(len(bits)):
        own = bits[x] if inside[x] else np.int32(0)
        most = own if own > most else most
    farthest = np.array([most]).view(np.float32)
    return farthest[0]


@inner
def _any_before(depth_m: NDArray[np.float32], inside: NDArray[np.bool_], before_m: np.float32) -> bool:
    """Whether something measured (w,) that is not inside is nearer than this."""
    found = False
    for x in range(len(depth_m)):
        found |= (depth_m[x] > 0) & (depth_m[x] < before_m) & (not inside[x])
    return found


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", "float32[:, ::1]", "float64", "float64"),
    *("boolean[:, ::1]", "float32[:, ::1]"),
    writes=("nearer", "covered_m"),
)
def _mark_nearer(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    nearest_m: NDArray[np.float32],
    step_m: float,
    step_ratio: float,
    nearer: NDArray[np.bool_],
    covered_m: NDArray[np.float32],
) -> tuple[bool, bool]:
    """Marks the pixels beside an object that are in front of the nearest of it around them; whether there are any.

    And the depth of those that are, and yet within the mask, 0 elsewhere; whether there are any.
    """
    return _mark_in_front(
        depth_m.reshape(-1),
        inside.reshape(-1),
        kept.reshape(-1),
        nearest_m.reshape(-1),
        (np.float32(step_m), np.float32(step_ratio)),
        nearer.reshape(-1),
        covered_m.reshape(-1),
    )


# A loop without branches, which the processor does for several pixels at a time.
@inner
def _mark_in_front(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    nearest_m: NDArray[np.float32],
    step: tuple[np.float32, np.float32],
    nearer: NDArray[np.bool_],
    covered_m: NDArray[np.float32],
) -> tuple[bool, bool]:
    """`_mark_nearer` of pixels (N,)."""
    found, found_inside = False, False
    for n in range(len(depth_m)):
        step_m = step[1] * nearest_m[n]
        step_m = step_m if step_m > step[0] else step[0]
        in_front = (depth_m[n] > 0) & (not kept[n]) & (nearest_m[n] < np.float32(_FARTHEST_M))
        in_front &= depth_m[n] < nearest_m[n] - np.float32(_STEPS) * step_m
        nearer[n] = in_front & (not inside[n])
        covered_m[n] = depth_m[n] if in_front & inside[n] else np.float32(0)
        found |= in_front & (not inside[n])
        found_inside |= in_front & inside[n]
    return found, found_inside


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "UniTuple(int64, 4)", "int64[::1]", "UniTuple(float64, 4)"),
    *("float64[:, ::1]", "float64[::1]", "float64[::1]", "float64", "float64", "float64"),
)
def rejected_beside(
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    crop: tuple[int, int, int, int],
    kept_px: NDArray[np.int64],
    optics: tuple[float, float, float, float],
    rotation: NDArray[np.float64],
    translation_m: NDArray[np.float64],
    size_m: NDArray[np.float64],
    tolerance_m: float,
    least: float,
    most: float,
) -> tuple[int, int, NDArray[np.float64]]:
    """The measured points of a mask that were rejected, and those of them beside a box.

    Args:
        depth_m, mask: (H, W).
        crop: rows and columns that hold the mask, from the first to before the last.
        kept_px: (P,) ascending, the indices of all other measured ones in the flattened image.
        optics: fx, fy, cx, cy.
        rotation, translation_m: (3, 3) and (3,), the pose of the box.
        size_m: (3,) of the box.
        tolerance_m: a point is above the box's lower side by more than this, and not above its upper one by more.
        least, most: how far out of the box a point lies beside it, as shares of the longer side of the two in x and y.

    Returns:
        measured, rejected: how many pixels of the mask have depth, and how many of these were rejected.
        beyond: (K,) how far out of the box those lie that are beside it, as such shares.
    """
    top, bottom, left, right = crop
    fx, fy, cx, cy = optics
    longer_m, half_m, middle_m = max(size_m[0], size_m[1]), size_m / 2, np.zeros(3)
    for axis in range(3):  # the middle of the box along its own axes
        for k in range(3):
            middle_m[axis] += rotation[k, axis] * translation_m[k]
    beyond = np.empty((bottom - top) * (right - left))
    rejected, count, kept = 0, 0, 0
    for row in range(top, bottom):
        for column in range(left, right):
            if kept < len(kept_px) and kept_px[kept] == row * depth_m.shape[1] + column:
                kept += 1
                continue
            z = float(depth_m[row, column])
            if not mask[row, column] or z <= 0:
                continue
            rejected += 1
            x, y = (column - cx) / fx * z, (row - cy) / fy * z
            x_m = abs(rotation[0, 0] * x + rotation[1, 0] * y + rotation[2, 0] * z - middle_m[0])
            y_m = abs(rotation[0, 1] * x + rotation[1, 1] * y + rotation[2, 1] * z - middle_m[1])
            z_m = rotation[0, 2] * x + rotation[1, 2] * y + rotation[2, 2] * z - middle_m[2]
            share = max(x_m - half_m[0], y_m - half_m[1]) / longer_m
            own = abs(z_m) < half_m[2] + tolerance_m and z_m > tolerance_m - half_m[2]
            if own and least < share < most:
                beyond[count] = share
                count += 1
    return len(kept_px) + rejected, rejected, beyond[:count].copy()


def _convex_edge(outline: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels (h, w) on the edge of the convex hull of an outline, and those beside them."""
    rows, columns = np.nonzero(outline)
    hull = cv2.convexHull(np.stack([columns, rows], axis=1).astype(np.int32))
    return cv2.polylines(np.zeros(outline.shape, np.uint8), [hull], True, 1, 3).view(np.bool_)


def may_touch(first: Bounds, second: Bounds) -> bool:
    """Whether the bounds of two masks are so near each other that one may hide a part of the other's outline."""
    gaps_px = [
        max(first[axis], second[axis]) - min(first[axis] + first[axis + 2], second[axis] + second[axis + 2])
        for axis in (0, 1)
    ]
    return max(gaps_px) <= _REACH_PX


def occluders(visibility: Visibility, masks: NDArray[np.bool_]) -> tuple[int, ...]:
    """Indices of the masks (N, H, W) of what hides a part of an object; what no mask covers is none of them."""
    if not len(visibility.nearer_px):
        return ()
    return tuple(np.flatnonzero(_count_covered(masks, visibility.nearer_px) >= _MIN_OCCLUDER_PX).tolist())


@kernel("boolean[:, :, :]", "int64[::1]")
def _count_covered(masks: NDArray[np.bool_], pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of pixels (K,), indices in the flattened image, each of the masks (N, H, W) covers, (N,)."""
    covered = np.zeros(len(masks), np.int64)
    for k in range(len(pixels)):
        row, column = pixels[k] // masks.shape[2], pixels[k] % masks.shape[2]
        for n in range(len(masks)):
            covered[n] += masks[n, row, column]
    return covered


def amodal_xyxy(box: OrientedBox, bounds: Bounds, intrinsics: Intrinsics) -> tuple[float, float, float, float] | None:
    """Pixels (x0, y0, x1, y1) around an object's box and mask, maybe beyond the image; pixel i covers [i, i + 1).

    None where a corner of the box lies at the camera or behind it.

    Args:
        bounds: of the mask.
    """
    pose, camera = box.T_camera_box, intrinsics
    behind, low_x, low_y, high_x, high_y = _seen_corners(
        pose.rotation, pose.translation_m, box.size_m, camera.fx, camera.fy, camera.cx, camera.cy
    )
    left, top, width, height = bounds
    if behind:
        return None
    return (
        min(low_x, float(left)),
        min(low_y, float(top)),
        max(high_x, float(left + width)),
        max(high_y, float(top + height)),
    )


@kernel("float64[:, :]", "float64[::1]", "float64[::1]", "float64", "float64", "float64", "float64")
def _seen_corners(
    rotation: NDArray[np.float64],
    translation_m: NDArray[np.float64],
    size_m: NDArray[np.float64],
    fx: float,
    fy: float,
    cx: float,
    cy: float,
) -> tuple[bool, float, float, float, float]:
    """Whether a corner of a box is at the camera or behind it; x0, y0, x1, y1 around all corners in the image."""
    low_x, low_y, high_x, high_y = np.inf, np.inf, -np.inf, -np.inf
    for corner in range(8):
        a = size_m[0] / 2 if corner & 1 else -size_m[0] / 2
        b = size_m[1] / 2 if corner & 2 else -size_m[1] / 2
        c = size_m[2] / 2 if corner & 4 else -size_m[2] / 2
        x = rotation[0, 0] * a + rotation[0, 1] * b + rotation[0, 2] * c + translation_m[0]
        y = rotation[1, 0] * a + rotation[1, 1] * b + rotation[1, 2] * c + translation_m[1]
        z = rotation[2, 0] * a + rotation[2, 1] * b + rotation[2, 2] * c + translation_m[2]
        if z < _MIN_DEPTH_M:
            return True, 0.0, 0.0, 0.0, 0.0
        column, row = x / z * fx + cx + 0.5, y / z * fy + cy + 0.5
        low_x, high_x = min(low_x, column), max(high_x, column)
        low_y, high_y = min(low_y, row), max(high_y, row)
    return False, low_x, low_y, high_x, high_y
