"""Surfaces on the organised depth image: depth steps, neighbourhoods, and least-squares planes around each pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.order_statistics import median_of_first

FloatArray = NDArray[np.float64]
Bounds = tuple[int, int, int, int]

_MIN_WINDOW_SHARE = 0.15
"""A window with fewer of its pixels measured than this gives no plane: what is fitted there is noise."""
_MIN_SPREAD = 1e-4
"""The determinant of the covariance of a window's pixels, in radii: with less they lie on a line."""
_DEPTH_BINS = 64
_STRAY_SHARE, _STRAY_REACH = 0.002, 0.2
"""Pixels are strays if no more than the first share of all make the object deeper by the second."""
_MAX_OUTLINE_POINTS, _MAX_FEW_POINTS = 800, 300
_GOLDEN = (5**0.5 - 1) / 2
_FEWEST_ALIKE = 3
"""So many of the eight pixels around one that is no mixture of two depths are as far off."""
_RIM_M, _RIM_UNSURE_PX = 0.004, 1
"""A local plane is trusted to go on by the first in pixels without depth, where they are more than the second from the
edge of the mask."""
_MIN_INVERSE_DEPTH = 1e-3
"""Per metre: a plane that would be farther away at its pixel, or behind the camera, is none."""


def depth_step_pixels(depth_m: NDArray[np.float32], step_m: float, step_ratio: float) -> NDArray[np.bool_]:
    """Pixels on either side of a depth step.

    Args:
        depth_m: (H, W) float32, metres, 0 = no measurement; a missing neighbour is no step.
        step_m, step_ratio: a jump between 4-neighbours is a step above max(step_m, step_ratio * depth).

    Returns:
        (H, W) bool.
    """
    return _find_steps(np.ascontiguousarray(depth_m), step_m, step_ratio)


@kernel("float32[:, ::1]", "float64", "float64")
def _find_steps(depth_m: NDArray[np.float32], step_m: float, step_ratio: float) -> NDArray[np.bool_]:
    """The pixels of `depth_step_pixels`."""
    steps = np.zeros(depth_m.shape, np.bool_)
    _mark_steps(depth_m, step_m, step_ratio, steps)
    return steps


def well_inside(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    step: tuple[float, float],
    erosion_px: int,
    least_share: float,
) -> NDArray[np.bool_]:
    """Measured pixels well inside a mask and away from depth steps; eased for masks too thin for that.

    Where a mask meets the image's border nothing is taken off.

    Args:
        depth_m: (h, w) float32, metres, 0 = no measurement; a missing neighbour is no step.
        inside: (h, w) bool, the mask.
        step: a jump between 4-neighbours is a step above the larger of the first, metres, and the second times the
            depth; a pixel is away from it when neither it nor any of the eight around it is on either side of one.
        erosion_px: at most so far inside.
        least_share: less far where not so much of the measured pixels is left; in the end all that are on no step.

    Returns:
        (h, w) bool.
    """
    core = np.empty(inside.shape, dtype=bool)
    _find_core(depth_m, inside, step[0], step[1], erosion_px, least_share, core)
    return core


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "float64", "float64", "int64", "float64", "boolean[:, ::1]"),
    writes=("core",),
)
def _find_core(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    step_m: float,
    step_ratio: float,
    erosion_px: int,
    least_share: float,
    core: NDArray[np.bool_],
) -> None:
    """Sets the pixels of `well_inside`."""
    steps, outside = np.zeros(depth_m.shape, np.bool_), np.empty(depth_m.shape, np.bool_)
    beside_step, beyond = np.empty(depth_m.shape, np.bool_), np.empty(depth_m.shape, np.bool_)
    _mark_steps(depth_m, step_m, step_ratio, steps)
    spread(steps, 1, beside_step)
    negate(inside.reshape(-1), outside.reshape(-1))
    measured = 0
    for depth_px in range(erosion_px, -1, -1):
        spread(outside, depth_px, beyond)
        measured, left = _take_measured(
            depth_m.reshape(-1), inside.reshape(-1), beside_step.reshape(-1), beyond.reshape(-1), core.reshape(-1)
        )
        if left >= least_share * measured:
            return
    _take_measured(depth_m.reshape(-1), inside.reshape(-1), steps.reshape(-1), steps.reshape(-1), core.reshape(-1))


# Images are gone through as one long row, in loops without branches, which the processor does for many pixels at a
# time, more than there are in most rows.
@inner
def _mark_steps(depth_m: NDArray[np.float32], step_m: float, step_ratio: float, steps: NDArray[np.bool_]) -> None:
    """Sets the pixels (h, w) on either side of a depth step."""
    height, width = depth_m.shape
    ratio, least_m = np.float32(step_ratio), np.float32(step_m)
    all_m, marked = depth_m.reshape(-1), steps.reshape(-1)
    between = np.empty(len(marked), np.bool_)
    _steps_between(all_m[1:], all_m[:-1], ratio, least_m, between)
    for y in range(1, height):  # no neighbours: the end of a row and the start of the next one
        between[y * width - 1] = False
    _mark_both(marked[1:], marked[:-1], between)
    _steps_between(all_m[width:], all_m[:-width], ratio, least_m, between)
    _mark_both(marked[width:], marked[:-width], between)


@inner
def _steps_between(
    first_m: NDArray[np.float32],
    second_m: NDArray[np.float32],
    step_ratio: np.float32,
    step_m: np.float32,
    between: NDArray[np.bool_],
) -> None:
    """Whether there is a step between pixels (N,) and their neighbours, into the first N of `between`."""
    for n in range(len(first_m)):
        tolerance_m = first_m[n] * step_ratio
        tolerance_m = tolerance_m if tolerance_m > step_m else step_m
        measured = (first_m[n] > 0) & (second_m[n] > 0)
        between[n] = measured & (abs(first_m[n] - second_m[n]) > tolerance_m)


@inner
def _mark_both(first: NDArray[np.bool_], second: NDArray[np.bool_], between: NDArray[np.bool_]) -> None:
    """Sets pixels (N,) and their neighbours where there is a step between them."""
    for n in range(len(first)):
        first[n] = first[n] | between[n]
    for n in range(len(second)):
        second[n] = second[n] | between[n]


@inner
def spread(marked: NDArray[np.bool_], radius_px: int, around: NDArray[np.bool_]) -> None:
    """Sets the pixels (h, w) in the squares of so many pixels to each side around those that are marked, no others."""
    height, width = marked.shape
    across = np.empty((height, width), np.bool_)
    flat, flat_across, flat_around = marked.reshape(-1), across.reshape(-1), around.reshape(-1)
    _copy(flat, flat_across)
    for d in range(1, min(radius_px, width - 1) + 1):
        _mark_also(flat_across[d:], flat[:-d])
        _mark_also(flat_across[:-d], flat[d:])
    for y in range(height):  # near the ends of rows, where that was reached from other rows
        for k in range(min(2 * radius_px, width)):
            x = k if k < radius_px else width - 1 - (k - radius_px)
            across[y, x] = False
            for beside in range(max(x - radius_px, 0), min(x + radius_px, width - 1) + 1):
                across[y, x] |= marked[y, beside]
    _copy(flat_across, flat_around)
    for d in range(1, min(radius_px, height - 1) + 1):
        _mark_also(flat_around[d * width :], flat_across[: -d * width])
        _mark_also(flat_around[: -d * width], flat_across[d * width :])


@inner
def _copy(pixels: NDArray[np.bool_], copies: NDArray[np.bool_]) -> None:
    for n in range(len(pixels)):
        copies[n] = pixels[n]


@inner
def negate(pixels: NDArray[np.bool_], others: NDArray[np.bool_]) -> None:
    for n in range(len(pixels)):
        others[n] = not pixels[n]


@inner
def _mark_also(marked: NDArray[np.bool_], others: NDArray[np.bool_]) -> None:
    """Sets pixels (N,) where others are."""
    for n in range(len(marked)):
        marked[n] |= others[n]


@inner
def _take_measured(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    taken: NDArray[np.bool_],
) -> tuple[int, int]:
    """Sets the measured pixels (N,) inside but for those in either of two; how many are measured, and how many set."""
    measured, count = 0, 0
    for n in range(len(taken)):
        own = inside[n] & (depth_m[n] > 0)
        taken[n] = own & (not (first[n] | second[n]))
        measured, count = measured + own, count + taken[n]
    return measured, count


@inner
def _count(pixels: NDArray[np.bool_]) -> int:
    count = 0
    for n in range(len(pixels)):
        count += pixels[n]
    return count


@kernel("float32[:, ::1]", "boolean[:, ::1]")
def depth_of(depth_m: NDArray[np.float32], pixels: NDArray[np.bool_]) -> tuple[int, float, float]:
    """Of some pixels (h, w): how many there are, their median depth, and how far the farthest of them departs from it.

    Zeros where there is none.
    """
    count, nearest_m, farthest_m = _span(depth_m.reshape(-1), pixels.reshape(-1))
    values = np.empty(pixels.size)
    _gather_first(depth_m.reshape(-1), pixels.reshape(-1), values)
    if not count:
        return 0, 0.0, 0.0
    median_m = median_of_first(values, count)
    return count, median_m, max(farthest_m - median_m, median_m - nearest_m)


@inner
def _span(depth_m: NDArray[np.float32], pixels: NDArray[np.bool_]) -> tuple[int, float, float]:
    """How many pixels (N,) are set, and the depth of the nearest and the farthest of them; infinite and 0 for none."""
    # As whole numbers, which are in the same order, and of which the processor compares several at a time.
    bits, last = depth_m.view(np.int32), np.array([np.inf], np.float32).view(np.int32)[0]
    count, least, most = 0, last, np.int32(0)
    for n in range(len(bits)):
        count += pixels[n]
        near, far = bits[n] if pixels[n] else last, bits[n] if pixels[n] else np.int32(0)
        least, most = near if near < least else least, far if far > most else most
    span = np.array([least, most]).view(np.float32)
    return count, np.float64(span[0]), np.float64(span[1])


@inner
def _gather_first(depth_m: NDArray[np.float32], pixels: NDArray[np.bool_], values: FloatArray) -> None:
    """Puts the depth of the pixels (N,) that are set first among the values (N,)."""
    count = 0
    for n in range(len(pixels)):
        values[count] = depth_m[n]
        count += pixels[n]


def bounds_of(mask: NDArray[np.bool_]) -> Bounds:
    """Left, top, width and height in pixels of the tight box of (H, W); width and height are 0 for an empty mask."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, width, height


def crop_around(bounds: Bounds, shape: tuple[int, ...], margin: int) -> tuple[slice, slice]:
    """Rows and columns of the bounds of a mask (H, W), wider by a margin inside it; one pixel for an empty mask."""
    left, top, width, height = bounds
    if not width:
        return slice(0, 1), slice(0, 1)
    return (
        slice(max(0, top - margin), min(shape[0], top + height + margin)),
        slice(max(0, left - margin), min(shape[1], left + width + margin)),
    )


def dilated(image: NDArray, side_px: int) -> NDArray:
    """The largest of the square of this odd side around each pixel of (H, W) bool, int16 or float32."""
    return _filtered(cv2.dilate, image, side_px)


def eroded(mask: NDArray[np.bool_], side_px: int) -> NDArray[np.bool_]:
    """The smallest likewise, of (H, W) bool; beyond the image's border all is true."""
    # OpenCV erodes from inside the image alone, so beyond its border all counts as true.
    return _filtered(cv2.erode, mask, side_px)


def _filtered(function: Callable[..., NDArray], image: NDArray, side_px: int) -> NDArray:
    """OpenCV's `dilate` or `erode`."""
    plane = image.view(np.uint8) if image.dtype == np.bool_ else image
    filtered = function(plane, _square(side_px))
    return filtered.view(np.bool_) if image.dtype == np.bool_ else filtered


@cache
def _square(side_px: int) -> NDArray[np.uint8]:
    return np.ones((side_px, side_px), np.uint8)


@dataclass(frozen=True, eq=False)
class KeptPoints:
    """The kept pixels of one instance, with the noise smoothed out of them.

    Attributes:
        points_m: (P, 3) float32, as measured.
        pixels: (P,) int64, index in the flattened image, ascending.
        few_m: (R, 3) float32, `_MAX_FEW_POINTS` of them at most, one in so many, smoothed: on the local plane of the
            pixel; the measurement where there is none.
        outline_m: (Q, 3) float64, smoothed likewise, about `_MAX_OUTLINE_POINTS` at most, evenly over the pixels.
        normals: (Q, 3) float64, those of the local planes there, towards the camera; zeros where there is none.
        rim_m: (R, 3) float64, where the local planes go on in pixels of the mask beside these that have no depth, as
            cameras lose it along an object's edges. The object reaches so far, but nothing was measured there.
        beside_steps: whether a good part of them is on depth steps, where cameras are often wrong: see
            `walls_beside_steps`.
    """

    points_m: NDArray[np.float32]
    pixels: NDArray[np.int64]
    few_m: NDArray[np.float32]
    outline_m: NDArray[np.float64]
    normals: NDArray[np.float64]
    rim_m: NDArray[np.float64]
    beside_steps: bool = False


@inner
def fit_windows(
    depth_m: NDArray[np.float32], keep: NDArray[np.bool_], wanted: NDArray[np.bool_], radius_px: int
) -> NDArray[np.float32]:
    """Planes (3, h, w) that are fitted around pixels to those of `keep` in a square window, for kernels.

    A plane is linear in inverse depth, 1 / z = inverse depth + slope_x * du + slope_y * dv, and the noise of the
    measurement is in z alone, so that ordinary least squares there has no bias towards the camera; and the fit says
    what depth the surface would have at a pixel that was not kept. First is the inverse depth at the pixel itself, 0
    where it is not wanted or its window holds too few pixels; then how it changes per pixel to the right and down.

    Args:
        depth_m: (h, w) metres, above 0 where `keep`.
        keep, wanted: (h, w) the pixels of one surface, and those that get a plane.
        radius_px: half the window's side, > 0; a window has 2 * radius + 1 pixels a side.

    The sums over a window of inverse depth b and of the offsets u and v from its middle follow from those of the window
    to its left and of the columns of its rows, and those of the columns from the row above: what a pixel costs does not
    grow with the radius. Where the last wanted pixel of the row is farther off than that, it begins anew.
    """
    height, width = keep.shape
    r, planes = radius_px, np.empty((3, height, width), dtype=np.float32)
    planes[0] = 0
    inverse = np.empty((height, width), dtype=np.float32)
    _invert(depth_m.reshape(-1), keep.reshape(-1), inverse.reshape(-1))
    # Of each column of the windows of a row, over the pixels that are kept: how many, v, v * v, b, and b * v.
    columns = np.zeros((5, width))
    least_count = max(6.0, _MIN_WINDOW_SHARE * (2 * r + 1) ** 2)
    nothing = np.zeros(width, dtype=np.float32)
    for y in range(-r, height):
        leaving = inverse[y - 1 - r] if y - 1 - r >= 0 else nothing
        entering = inverse[y + r] if y + r < height else nothing
        _move_down(leaving, entering, float(r), columns[0], columns[1], columns[2], columns[3], columns[4])
        if y < 0:
            continue
        n = su = sv = suu = suv = svv = sb = sbu = sbv = 0.0
        first, at = 0, -width - r  # the first of the columns that are in the window, and its middle
        for x in range(width):
            if not wanted[y, x]:
                continue
            if x - at > r:
                n = su = sv = suu = suv = svv = sb = sbu = sbv = 0.0
                first = max(x - r, 0)
                at = first - r - 1
            while at < x:
                at += 1
                left, right = at - 1 - r, at + r
                if left >= first:  # leaves at u = -r
                    c, cv, cb = columns[0, left], columns[1, left], columns[3, left]
                    n, su, suu = n - c, su + r * c, suu - r * r * c
                    sv, suv, svv = sv - cv, suv + r * cv, svv - columns[2, left]
                    sb, sbu, sbv = sb - cb, sbu + r * cb, sbv - columns[4, left]
                suu, su, suv, sbu = suu - 2 * su + n, su - n, suv - sv, sbu - sb
                if right < width:  # enters at u = r
                    c, cv, cb = columns[0, right], columns[1, right], columns[3, right]
                    n, su, suu = n + c, su + r * c, suu + r * r * c
                    sv, suv, svv = sv + cv, suv + r * cv, svv + columns[2, right]
                    sb, sbu, sbv = sb + cb, sbu + r * cb, sbv + columns[4, right]
            if n < least_count:
                continue
            # Cramer's rule on the normal equations about the window's mean.
            mu, mv, mb = su / n, sv / n, sb / n
            uu, uv, vv = suu - su * mu, suv - su * mv, svv - sv * mv
            bu, bv = sbu - su * mb, sbv - sv * mb
            determinant = uu * vv - uv * uv
            if determinant <= _MIN_SPREAD * (n * r * r) ** 2:
                continue
            along_x, along_y = (vv * bu - uv * bv) / determinant, (uu * bv - uv * bu) / determinant
            here = mb - mu * along_x - mv * along_y
            if here > _MIN_INVERSE_DEPTH:
                planes[0, y, x], planes[1, y, x], planes[2, y, x] = here, along_x, along_y
    return planes


# Loops without branches over arrays of their own, which the processor does for several pixels at a time.
@inner
def _invert(depth_m: NDArray[np.float32], keep: NDArray[np.bool_], inverse: NDArray[np.float32]) -> None:
    """1 / depth (N,) of the pixels that are kept, 0 of others."""
    for n in range(len(depth_m)):
        inverse[n] = np.float32(1) / depth_m[n] if keep[n] else np.float32(0)


@inner
def _move_down(
    leaving: NDArray[np.float32],
    entering: NDArray[np.float32],
    radius_px: float,
    count: NDArray[np.float64],
    v: NDArray[np.float64],
    vv: NDArray[np.float64],
    b: NDArray[np.float64],
    bv: NDArray[np.float64],
) -> None:
    """The sums (w,) over the columns of the windows around a row become those of the windows around the row below.

    Args:
        leaving, entering: (w,) inverse depth of the row that was at v = -radius, and of that which comes to v = radius.
    """
    for x in range(len(count)):
        old, new = np.float64(leaving[x]), np.float64(entering[x])
        old_kept, new_kept = 1.0 if old > 0 else 0.0, 1.0 if new > 0 else 0.0
        stays, stays_v, stays_b = count[x] - old_kept, v[x] + radius_px * old_kept, b[x] - old
        stays_vv, stays_bv = vv[x] - radius_px * radius_px * old_kept, bv[x] + radius_px * old
        count[x], b[x] = stays + new_kept, stays_b + new
        vv[x] = stays_vv + (stays - 2 * stays_v) + radius_px * radius_px * new_kept
        v[x] = stays_v - stays + radius_px * new_kept
        bv[x] = stays_bv - stays_b + radius_px * new


def grown_over_surface(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    core: NDArray[np.bool_],
    radius_px: int,
    tolerance: tuple[float, float],
) -> NDArray[np.bool_]:
    """(h, w) bool: a core, and the measured pixels of the mask that lie on its surface.

    Args:
        depth_m, inside, core: (h, w) crops of the depth, of the mask, and of the part of it that is kept anyhow.
        radius_px: of the windows of `fit_windows`, in which the surface of the core is looked at.
        tolerance: a pixel is on the surface within the larger of the first, metres, and the second times its depth.
    """
    return _grow(depth_m, inside, core, radius_px, tolerance[0], tolerance[1])


@kernel("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", "int64", "float64", "float64")
def _grow(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    core: NDArray[np.bool_],
    radius_px: int,
    tolerance_m: float,
    tolerance_ratio: float,
) -> NDArray[np.bool_]:
    """The pixels of `grown_over_surface`."""
    wanted, grown = np.empty(core.shape, np.bool_), np.empty(core.shape, np.bool_)
    _only_in_first(inside.reshape(-1), core.reshape(-1), wanted.reshape(-1))
    planes = fit_windows(depth_m, core, wanted, radius_px)
    for y in range(depth_m.shape[0]):
        for x in range(depth_m.shape[1]):
            own_m, kept = depth_m[y, x], core[y, x]
            if not kept and inside[y, x] and own_m > 0 and planes[0, y, x] > 0:
                off_m = abs(own_m - np.float32(1) / planes[0, y, x])
                kept = off_m < max(np.float32(tolerance_m), own_m * np.float32(tolerance_ratio))
            grown[y, x] = kept
    return grown


@inner
def _only_in_first(first: NDArray[np.bool_], second: NDArray[np.bool_], only: NDArray[np.bool_]) -> None:
    """Whether pixels (N,) are in the first and not in the second."""
    for n in range(len(only)):
        only[n] = first[n] & (not second[n])


def without_strays(
    depth_m: NDArray[np.float32], kept: NDArray[np.bool_], tolerance: tuple[float, float]
) -> NDArray[np.bool_]:
    """(h, w) bool: what is kept, but for a few pixels far behind all others.

    Where a camera draws a depth step out into a ramp of several pixels, the ramp leads from the object on to what is
    behind it, without a step. What has too few pixels for a side of its own is no part of the object, if it makes it
    much deeper. What is nearer than the others stays: a gripper would run into it.

    Args:
        depth_m, kept: (h, w) crops of the depth, and of what is kept of the mask.
        tolerance: of a depth step: the larger of the first, metres, and the second times the depth.
    """
    remaining = kept.copy()
    _drop_strays(depth_m, remaining, tolerance[0], tolerance[1])
    return remaining


@kernel("float32[:, ::1]", "boolean[:, ::1]", "float64", "float64", writes=("kept",))
def _drop_strays(
    depth_m: NDArray[np.float32], kept: NDArray[np.bool_], tolerance_m: float, tolerance_ratio: float
) -> None:
    """Unsets the pixels that `without_strays` leaves out."""
    height, width = depth_m.shape
    count, nearest_m, farthest_m = _span(depth_m.reshape(-1), kept.reshape(-1))
    step_m = max(tolerance_m, tolerance_ratio * farthest_m)
    if count == 0 or farthest_m - nearest_m <= step_m:
        return
    per_m = (_DEPTH_BINS - 1) / (farthest_m - nearest_m)
    counts = np.zeros(_DEPTH_BINS, np.int64)
    for y in range(height):
        for x in range(width):
            if kept[y, x]:
                counts[int((depth_m[y, x] - nearest_m) * per_m)] += 1
    behind, last = 0, _DEPTH_BINS - 1
    while behind + counts[last] <= _STRAY_SHARE * count:
        behind += counts[last]
        last -= 1
    rest_m = (last + 1) / per_m  # the depth of the others, from the nearest on
    if farthest_m - nearest_m - rest_m <= max(step_m, _STRAY_REACH * rest_m):
        return
    for y in range(height):
        for x in range(width):
            kept[y, x] = kept[y, x] and depth_m[y, x] - nearest_m <= rest_m


def walls_beside_steps(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    tolerance: tuple[float, float],
) -> tuple[int, NDArray[np.bool_]]:
    """The pixels of a mask that are left out of it for depth steps, but of which several in a row are as far off.

    Walls and rims that are seen along, as of a cup from above, are on steps all over, and so thin that nothing of them
    is left beside those. Where an edge mixes the depths on its two sides, hardly any two pixels are alike. What is on
    the mask's border, or farther than all that is kept, is none.

    Args:
        depth_m, inside, kept: (h, w) crops of the depth, of the mask, and of what is kept of it.
        tolerance: of a depth step: the larger of the first, metres, and the second times the depth.

    Returns:
        How many pixels are kept, and (h, w) bool.
    """
    return _find_walls(depth_m, inside, kept, tolerance[0], tolerance[1])


@kernel("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", "float64", "float64")
def _find_walls(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    tolerance_m: float,
    tolerance_ratio: float,
) -> tuple[int, NDArray[np.bool_]]:
    """What `walls_beside_steps` tells."""
    height, width = depth_m.shape
    walls = np.zeros((height, width), np.bool_)
    count, _, farthest_m = _span(depth_m.reshape(-1), kept.reshape(-1))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            own_m = depth_m[y, x]
            if kept[y, x] or not inside[y, x] or own_m <= 0:
                continue
            step_m = max(np.float32(tolerance_m), own_m * np.float32(tolerance_ratio))
            if own_m > farthest_m + step_m:
                continue
            alike, within = 0, True
            for row in range(y - 1, y + 2):
                for column in range(x - 1, x + 2):
                    within &= inside[row, column]
                    alike += depth_m[row, column] > 0 and abs(depth_m[row, column] - own_m) < step_m
            walls[y, x] = within and alike > _FEWEST_ALIKE
    return count, walls


def rim_beside(
    depth_m: NDArray[np.float32], inside: NDArray[np.bool_], kept: NDArray[np.bool_], median_m: float, focal_px: float
) -> NDArray[np.bool_]:
    """(h, w) bool: the pixels of a mask beside the kept ones that have no depth; see `KeptPoints.rim_m`.

    Args:
        depth_m, inside, kept: (h, w) crops of the depth, of the mask, and of what is kept of it.
        median_m: depth of most of it.
    """
    rim = np.empty(inside.shape, dtype=bool)
    if _mark_unmeasured(depth_m, inside, rim):
        reach_px = round(_RIM_M * focal_px / median_m)
        rim &= eroded(inside, 2 * _RIM_UNSURE_PX + 1) & dilated(kept, 2 * reach_px + 1)
    return rim


@kernel("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", writes=("unmeasured",))
def _mark_unmeasured(depth_m: NDArray[np.float32], inside: NDArray[np.bool_], unmeasured: NDArray[np.bool_]) -> bool:
    """Marks the pixels (h, w) of a mask without depth; whether there is any."""
    own_m, own, marked = depth_m.reshape(-1), inside.reshape(-1), unmeasured.reshape(-1)
    for n in range(len(marked)):
        marked[n] = own[n] & (own_m[n] == 0)
    return _count(marked) > 0


def kept_points(
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    radius_px: int,
    tolerance: tuple[float, float],
    corner_px: tuple[int, int],
    camera: Intrinsics,
    rim: NDArray[np.bool_],
) -> KeptPoints:
    """The kept pixels of an instance, and some of them with the noise smoothed out.

    Args:
        depth_m, kept: (h, w) crops of the depth, and of what is kept of the mask.
        radius_px: of the windows of `fit_windows`.
        tolerance: a measurement is moved on to its plane by less than the larger of the first, metres, and the second
            times its depth; farther off it lies beside an edge of the surface, and stays.
        corner_px: column and row of the crop in the image.
        rim: (h, w) crop of `rim_beside`.
    """
    corner = corner_px[0], corner_px[1], camera.width
    optics = camera.fx, camera.fy, camera.cx, camera.cy
    return KeptPoints(*_keep(depth_m, kept, rim, radius_px, tolerance, corner, optics))


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", "int64"),
    *("UniTuple(float64, 2)", "UniTuple(int64, 3)", "UniTuple(float64, 4)"),
)
def _keep(
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    rim: NDArray[np.bool_],
    radius_px: int,
    tolerance: tuple[float, float],
    corner: tuple[int, int, int],
    optics: tuple[float, float, float, float],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], FloatArray, FloatArray, FloatArray]:
    """What `KeptPoints` has.

    Args:
        corner: column and row of the crop in the image, and the width of that.
        optics: fx, fy, cx, cy.
    """
    wanted = rim.copy()
    count, outline_px, few_px = _choose(kept, wanted)
    planes = fit_windows(depth_m, kept, wanted, radius_px)  # for what is chosen and the rim alone
    pixels, measured_m = np.empty(count, np.int64), np.empty((count, 3), np.float32)
    few_m = np.empty((len(few_px), 3), np.float32)
    outline_m, normals = np.empty((len(outline_px), 3)), np.empty((len(outline_px), 3))
    _gather(
        *(depth_m, kept, planes, tolerance, corner, optics, outline_px, few_px),
        *(pixels, measured_m, few_m, outline_m, normals),
    )
    rim_m = np.empty((_count(rim.reshape(-1)), 3))
    rim_count = _gather_rim(depth_m, kept, rim, planes, tolerance, corner[0], corner[1], optics, rim_m)
    return measured_m, pixels, few_m, outline_m, normals, rim_m[:rim_count]


@inner
def _choose(kept: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Chooses about `_MAX_OUTLINE_POINTS` of the kept pixels (h, w) at most, evenly over rows and columns.

    One in so many of each row, and each row starts farther right than the one above it. And one in so many of all, row
    by row, `_MAX_FEW_POINTS` at most.

    Args:
        wanted: (h, w) of zeros, set where a pixel is chosen.

    Returns:
        How many are kept, and the indices of both choices in the flattened crop.
    """
    height, width = kept.shape
    count = _count(kept.reshape(-1))
    every, few_every = 1 + count // _MAX_OUTLINE_POINTS, 1 + count // _MAX_FEW_POINTS
    shift = _shift_of_rows(every)
    outline, few = np.empty(count, dtype=np.int64), np.empty(1 + count // few_every, dtype=np.int64)
    chosen, taken, to_next = 0, 0, 0
    for y in range(height):
        turn = shift * y % every  # counted on, since a division takes as long as all else
        for x in range(width):
            if kept[y, x]:
                outline[chosen] = y * width + x
                chosen += turn == 0
                if to_next == 0:
                    few[taken] = y * width + x
                    taken, to_next = taken + 1, few_every
                to_next -= 1
            turn = turn + 1 if turn + 1 < every else 0
    if not 2 * count <= 3 * every * chosen <= 4 * count:
        # The mask has a pattern of its own, such as a chessboard's, of which far more or none would be taken.
        chosen, seen = 0, 0
        for y in range(height):
            for x in range(width):
                if kept[y, x]:
                    if seen % every == 0:
                        outline[chosen] = y * width + x
                        chosen += 1
                    seen += 1
    for place in outline[:chosen]:
        wanted[place // width, place % width] = True
    for place in few[:taken]:
        wanted[place // width, place % width] = True
    return count, outline[:chosen].copy(), few[:taken].copy()


@inner
def _gather_rim(
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    rim: NDArray[np.bool_],
    planes: NDArray[np.float32],
    tolerance: tuple[float, float],
    left: int,
    top: int,
    optics: tuple[float, float, float, float],
    rim_m: NDArray[np.float64],
) -> int:
    """Fills in where planes (3, h, w) are at the pixels of a rim (h, w), as far as they go on there; and says how many.

    See `_goes_on` for the other arguments.
    """
    count = 0
    for y in range(rim.shape[0]):
        for x in range(rim.shape[1]):
            if rim[y, x] and planes[0, y, x] > 0:
                at_m = _on_plane(planes, x, y, x, y, left, top, optics)
                if _goes_on(at_m, depth_m, kept, planes, tolerance, x, y, left, top, optics):
                    rim_m[count, 0], rim_m[count, 1], rim_m[count, 2] = at_m
                    count += 1
    return count


@inner
def _goes_on(
    at_m: tuple[float, float, float],
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    planes: NDArray[np.float32],
    tolerance: tuple[float, float],
    x: int,
    y: int,
    left: int,
    top: int,
    optics: tuple[float, float, float, float],
) -> bool:
    """Whether the plane of a pixel holds a kept pixel that is no farther than `_RIM_M` from where it is itself.

    A plane that is seen at a grazing angle goes off by decimetres in a few pixels, and so does one from the edge of the
    object to the background, where a generous mask covers that.

    Args:
        at_m: of the pixel on its plane.
        tolerance: a kept pixel (h, w) lies on the plane within the larger of the first, metres, and the second times
            its depth.
        left, top: column and row of the crop in the image.
        optics: fx, fy, cx, cy.
    """
    reach_px = int(np.rint(_RIM_M * optics[0] / at_m[2]))
    for v in range(max(y - reach_px, 0), min(y + reach_px, kept.shape[0] - 1) + 1):
        for u in range(max(x - reach_px, 0), min(x + reach_px, kept.shape[1] - 1) + 1):
            if not kept[v, u]:
                continue
            beside_m = _on_plane(planes, x, y, u, v, left, top, optics)
            off_x, off_y, off_z = beside_m[0] - at_m[0], beside_m[1] - at_m[1], beside_m[2] - at_m[2]
            if off_x * off_x + off_y * off_y + off_z * off_z <= _RIM_M**2:
                own_m = float(depth_m[v, u])
                if abs(own_m - beside_m[2]) < max(tolerance[0], own_m * tolerance[1]):
                    return True
    return False


@inner
def _on_plane(
    planes: NDArray[np.float32],
    x: int,
    y: int,
    u: int,
    v: int,
    left: int,
    top: int,
    optics: tuple[float, float, float, float],
) -> tuple[float, float, float]:
    """Where the line of sight of pixel (u, v) of a crop meets the plane of pixel (x, y)."""
    inverse = float(planes[0, y, x]) + (u - x) * float(planes[1, y, x]) + (v - y) * float(planes[2, y, x])
    depth_m = 1.0 / max(inverse, _MIN_INVERSE_DEPTH)
    return (left + u - optics[2]) / optics[0] * depth_m, (top + v - optics[3]) / optics[1] * depth_m, depth_m


@inner
def _gather(
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    planes: NDArray[np.float32],
    tolerance: tuple[float, float],
    corner: tuple[int, int, int],
    optics: tuple[float, float, float, float],
    outline_px: NDArray[np.int64],
    few_px: NDArray[np.int64],
    pixels: NDArray[np.int64],
    measured_m: NDArray[np.float32],
    few_m: NDArray[np.float32],
    outline_m: NDArray[np.float64],
    normals: NDArray[np.float64],
) -> None:
    """Fills the arrays of `kept_points`.

    Args:
        corner: column and row of the crop in the image, and the width of that.
        optics: fx, fy, cx, cy.
        outline_px, few_px: (Q,) and (R,) indices of those that are smoothed, in the flattened crop.
    """
    height, width = depth_m.shape
    left, top, image_width = corner
    fx, fy, cx, cy = optics
    rays_x = np.empty(width, dtype=np.float32)
    for x in range(width):
        rays_x[x] = (np.float32(left + x) - np.float32(cx)) / np.float32(fx)
    count = 0
    for y in range(height):
        ray_y = (np.float32(top + y) - np.float32(cy)) / np.float32(fy)
        for x in range(width):
            if kept[y, x]:
                own_m = depth_m[y, x]
                pixels[count] = (top + y) * image_width + left + x
                measured_m[count, 0], measured_m[count, 1], measured_m[count, 2] = (
                    rays_x[x] * own_m,
                    ray_y * own_m,
                    own_m,
                )
                count += 1
    for k in range(len(few_px)):
        y, x = few_px[k] // width, few_px[k] % width
        ray_y = (np.float32(top + y) - np.float32(cy)) / np.float32(fy)
        smooth = _smoothed(depth_m[y, x], planes[0, y, x], tolerance)
        few_m[k, 0], few_m[k, 1], few_m[k, 2] = rays_x[x] * smooth, ray_y * smooth, smooth
    for k in range(len(outline_px)):
        y, x = outline_px[k] // width, outline_px[k] % width
        ray_y = (np.float32(top + y) - np.float32(cy)) / np.float32(fy)
        smooth = _smoothed(depth_m[y, x], planes[0, y, x], tolerance)
        outline_m[k, 0], outline_m[k, 1], outline_m[k, 2] = rays_x[x] * smooth, ray_y * smooth, smooth
        for axis in range(3):
            normals[k, axis] = 0
        if planes[0, y, x] > 0:
            # Towards the camera: n . ray = 1 / z > 0 points away from it.
            n_x, n_y = -planes[1, y, x] * fx, -planes[2, y, x] * fy
            n_z = -planes[0, y, x] - (left + x - cx) / fx * n_x - (top + y - cy) / fy * n_y
            size = max(np.sqrt(n_x * n_x + n_y * n_y + n_z * n_z), 1e-12)
            normals[k, 0], normals[k, 1] = n_x / size, n_y / size
            normals[k, 2] = n_z / size


@inner
def _smoothed(own_m: np.float32, inverse_depth: np.float32, tolerance: tuple[float, float]) -> np.float32:
    """The depth of a pixel on its plane; as measured where there is none, or where that is too far off."""
    if inverse_depth <= 0:
        return own_m
    fitted_m = np.float32(1) / inverse_depth
    near = abs(own_m - fitted_m) < max(np.float32(tolerance[0]), own_m * np.float32(tolerance[1]))
    return fitted_m if near else own_m


@inner
def _shift_of_rows(every: int) -> int:
    """By how much farther right each row begins than that above it, when one in so many of its pixels is taken.

    That no column is left out, both have no common divisor; about the golden section of `every` spreads them evenly.
    """
    shift = int(np.rint(_GOLDEN * every))
    while True:
        a, b = shift, every
        while b:
            a, b = b, a % b
        if a == 1:
            return shift
        shift += 1


def window_radius_px(depth_m: float, focal_px: float, half_side_m: float = 0.007) -> int:
    """Half the side in pixels, 3 to 8, of the window that spans twice `half_side_m` at this depth."""
    return min(max(round(half_side_m * focal_px / depth_m), 3), 8)
