"""Depth steps, and what of a mask is on them: its core, strays behind it, walls that are seen along."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.masks import negate, spread
from instance_seg_ros.lifting.order_statistics import median_of_first

FloatArray = NDArray[np.float64]
_DEPTH_BINS = 64
_STRAY_SHARE, _STRAY_REACH = 0.002, 0.2
"""Pixels are strays if no more than the first share of all make the object deeper by the second."""
_FEWEST_ALIKE = 3
"""So many of the eight pixels around one that is no mixture of two depths are as far off."""


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
