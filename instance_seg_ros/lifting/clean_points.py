"""The clean points of a mask: without its edges, what lies behind or in front of its object, and pieces that part."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting.depth_steps import depth_of, walls_beside_steps, well_inside, without_strays
from instance_seg_ros.lifting.kept_points import KeptPoints, kept_points, rim_beside
from instance_seg_ros.lifting.local_planes import grown_over_surface, window_radius_px
from instance_seg_ros.lifting.masks import Bounds, crop_around, dilated, eroded
from instance_seg_ros.lifting.order_statistics import median, median_of_first

_MIN_KEPT_SHARE = 0.3
"""Erosion and edge removal are eased until this share of a mask's measured pixels is left: thin objects stay."""
_MIN_PIECE_SHARE, _MIN_CUT_SHARE = 0.1, 0.03
"""Besides the largest connected piece, pieces of the first share of it are kept, unless far behind or in front of it;
of the second where the mask, less its rim, is in two there: what hides an object cuts its mask, and where one spills
over onto a neighbour it does not part."""
_DEEPEST, _STEP_REACH_PX = 1.5, 2
"""Walls rise by no more than the first of their mask's longer side; and beyond the erosion of the mask by the second,
pixels count as on a depth step."""
_MIN_WALL_SHARE, _NEARER_SHARE, _WIDER = 0.2, 0.85, 1.25
"""Pixels on depth steps are kept as well where there are so many of them, of all that is kept, most of them are nearer
than that, and the hull of both is that much larger: without its walls a cup seen from above is but its floor."""


def clean_points(frame: RgbdFrame, mask: NDArray[np.bool_], bounds: Bounds, settings: LiftingSettings) -> KeptPoints:
    """The pixels of a mask that are the object's, and what is smoothed of them.

    Args:
        mask: (H, W) bool.
        bounds: of the mask.
    """
    focal_px = frame.intrinsics.fx
    crop = crop_around(bounds, mask.shape, settings.mask_erosion_px + 2)
    depth_m, inside = np.ascontiguousarray(frame.depth_m[crop]), np.ascontiguousarray(mask[crop])
    step = settings.depth_step_m, settings.depth_step_ratio
    off_steps = well_inside(depth_m, inside, step, settings.mask_erosion_px, _MIN_KEPT_SHARE)
    near, median_m = _within_depth_gate(depth_m, off_steps, settings.outlier_mad_factor, focal_px)
    core = _largest_piece(near, inside, settings.mask_erosion_px, depth_m, focal_px)
    if core is not near:
        _, median_m, _ = depth_of(depth_m, core)
    radius_px = window_radius_px(median_m, focal_px)
    tolerance = 0.5 * settings.depth_step_m, 0.5 * settings.depth_step_ratio
    kept = grown_over_surface(depth_m, inside, core, radius_px, tolerance)
    kept = without_strays(depth_m, kept, step)
    beside_steps = False
    if np.count_nonzero(inside & (depth_m > 0)) >= (1 + _MIN_WALL_SHARE) * np.count_nonzero(kept):
        # What is on no step and so far before the object is another one, as are its edges.
        before = off_steps & ~kept & (depth_m < median_m * (1 - _DEEPEST * max(bounds[2:]) / focal_px))
        reach_px = 2 * (settings.mask_erosion_px + _STEP_REACH_PX) + 1
        kept, beside_steps = _with_walls(depth_m, inside & ~dilated(before, reach_px), kept, step)
    # Windows without the rim that was given back reach past the core's edge: their planes lie off what bends there.
    rim = rim_beside(depth_m, inside, kept, median_m, focal_px)
    points = kept_points(depth_m, kept, radius_px, tolerance, (crop[1].start, crop[0].start), frame.intrinsics, rim)
    return replace(points, beside_steps=True) if beside_steps else points


def _with_walls(
    depth_m: NDArray[np.float32], inside: NDArray[np.bool_], kept: NDArray[np.bool_], step: tuple[float, float]
) -> tuple[NDArray[np.bool_], bool]:
    """What is kept of a mask, with its `walls_beside_steps` where these rise around it; and whether they do."""
    kept_px, walls = walls_beside_steps(depth_m, inside, kept, step)
    if not kept_px or np.count_nonzero(walls) < _MIN_WALL_SHARE * kept_px:
        return kept, False
    if np.count_nonzero(depth_m[walls] < median(depth_m[kept])) < _NEARER_SHARE * np.count_nonzero(walls):
        return kept, False
    both = kept | walls
    if _hull_px(both) <= _WIDER * _hull_px(kept):
        return kept, False
    return both, True


def _hull_px(pixels: NDArray[np.bool_]) -> float:
    """The area of the convex hull of pixels (h, w)."""
    return cv2.contourArea(cv2.convexHull(cv2.findNonZero(pixels.view(np.uint8))))


def _within_depth_gate(
    depth_m: NDArray[np.float32], core: NDArray[np.bool_], mad_factor: float, focal_px: float
) -> tuple[NDArray[np.bool_], float]:
    """The core without what lies far in front of or behind its median depth, and the median depth of that.

    The gate never gets narrower than the mask is wide: a face towards the camera has hardly any spread in depth,
    and the sides that belong to it reach as far back as objects are wide. What goes on beyond it without a step
    stays, so long as most of it is within: a long thing that points away from the camera. Of no pixel the median
    counts as 1 m.
    """
    count, median_m, farthest_m = depth_of(depth_m, core)
    if not count:
        return core, 1.0
    wide_m = max(core.shape) * median_m / focal_px
    if farthest_m <= wide_m:
        return core, median_m
    deviations_m = np.abs(depth_m[core] - median_m)
    gate_m = max(mad_factor * (1.4826 * median(deviations_m)), wide_m)
    within = core & (abs(depth_m - median_m) <= gate_m)
    left_out = core & ~within
    if not left_out.any():
        return core, median_m
    pieces = np.zeros(core.shape, np.int32)
    areas = _find_pieces(core, pieces)
    within |= left_out & (2 * np.bincount(pieces[within], minlength=len(areas)) > areas)[pieces]
    count, median_m, _ = depth_of(depth_m, within)
    return within, median_m if count else 1.0


def _largest_piece(
    core: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    rim_px: int,
    depth_m: NDArray[np.float32],
    focal_px: float,
) -> NDArray[np.bool_]:
    """The largest 4-connected piece, and the sizeable pieces that are nearer to it in depth than it is wide.

    An occluder cuts objects in two, and a step parts the inside of a mug from its outside; what lies behind a handle or
    under the rim of a generous mask is smaller or farther. The more pixels a piece has, the less it is such a spill,
    and the farther off it may be: one of as many as the largest by twice as much, as a bottle's body below its head,
    seen from above.

    Args:
        core: (h, w) the pixels to choose from.
        inside: (h, w) the mask, measured or not.
        rim_px: what a mask is not trusted with: what hangs together by less than twice that is in two.
        depth_m: (h, w).
    """
    labels = np.zeros(core.shape, np.int32)
    areas = _find_pieces(core, labels)
    if len(areas) <= 2:
        return core
    largest = int(np.argmax(areas))
    in_largest, least_px = labels == largest, _MIN_CUT_SHARE * areas[largest]
    if np.count_nonzero(areas >= least_px) == 1:
        return in_largest
    depths_m, shares = _median_depths(depth_m, labels, areas, least_px), areas / areas[largest]
    sides_px = cv2.boundingRect(in_largest.view(np.uint8))[2:]
    reach_m = max(sides_px) * depths_m[largest] / focal_px
    kept = np.abs(depths_m - depths_m[largest]) <= (1 + shares) * reach_m
    small = np.flatnonzero(kept & (shares < _MIN_PIECE_SHARE)).tolist()
    if small:
        parts = cv2.connectedComponents(eroded(inside, 2 * rim_px + 1).view(np.uint8), connectivity=4)[1]
        main_part = parts[in_largest].max()
        for label in small:
            kept[label] = parts[labels == label].max() != main_part
    pixels = np.empty(core.shape, dtype=bool)
    _take_pieces(labels, kept, pixels)
    return pixels


@kernel("float32[:, ::1]", "int32[:, ::1]", "int64[::1]", "float64")
def _median_depths(
    depth_m: NDArray[np.float32], labels: NDArray[np.int32], areas: NDArray[np.int64], least_px: float
) -> NDArray[np.float64]:
    """The median depth (1 + P,) of each of P pieces by its label (h, w); NaN for the smaller ones, and at 0.

    Args:
        areas: (1 + P,) of the pieces, in pixels; 0 at 0.
        least_px: the smallest ones that count.
    """
    medians_m, ends = np.full(len(areas), np.nan), np.zeros(len(areas), np.int64)
    for label in range(1, len(areas)):
        ends[label] = ends[label - 1] + areas[label]
    values, places = np.empty(ends[-1]), ends - areas
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label > 0:
                values[places[label]] = depth_m[y, x]
                places[label] += 1
    for label in range(1, len(areas)):
        if areas[label] >= least_px:
            medians_m[label] = median_of_first(values[ends[label] - areas[label] : ends[label]], areas[label])
    return medians_m


@kernel("int32[:, ::1]", "boolean[::1]", "boolean[:, ::1]", writes=("pixels",))
def _take_pieces(labels: NDArray[np.int32], kept: NDArray[np.bool_], pixels: NDArray[np.bool_]) -> None:
    """Sets the pixels (h, w) of some of P pieces, `kept` (1 + P,) by their labels, and no others."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            pixels[y, x] = kept[labels[y, x]]


@kernel("boolean[:, ::1]", "int32[:, ::1]", writes=("labels",))
def _find_pieces(pixels: NDArray[np.bool_], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many pixels each of the 4-connected pieces of (h, w) has, from the first of them, at 1, on; 0 at 0.

    Most masks are one piece, which its rows' runs tell in a third of the time that OpenCV takes to label each pixel.

    Args:
        labels: (h, w) of zeros, in which pixels get the numbers of their pieces; those of a single one may stay so.
    """
    height, width = pixels.shape
    most = height * (width + 1) // 2
    rows, starts, ends, first = np.empty((4, most), np.int32)  # of the runs, and an earlier one of the same piece
    count, row_start = 0, 0
    for y in range(height):
        x, above, last = 0, row_start, count  # the runs of the row above are from one to before the other
        row_start = count
        while x < width:
            if not pixels[y, x]:
                x += 1
                continue
            start = x
            while x < width and pixels[y, x]:
                x += 1
            rows[count], starts[count], ends[count], first[count] = y, start, x, count
            while above < last and ends[above] <= start:
                above += 1
            beside = above
            while beside < last and starts[beside] < x:
                _join(first, beside, count)
                beside += 1
            count += 1
    return _number(rows[:count], starts[:count], ends[:count], first, labels)


@inner
def _first_of(first: NDArray[np.int32], run: int) -> int:
    """The first run of a piece; the way there is halved, as it may grow long in masks like stairs or noise."""
    while first[run] != run:
        first[run] = first[first[run]]
        run = first[run]
    return run


@inner
def _join(first: NDArray[np.int32], run: int, other: int) -> None:
    """Makes one piece of those of two runs."""
    a, b = _first_of(first, run), _first_of(first, other)
    first[max(a, b)] = min(a, b)


@inner
def _number(
    rows: NDArray[np.int32],
    starts: NDArray[np.int32],
    ends: NDArray[np.int32],
    first: NDArray[np.int32],
    labels: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Numbers the pieces of runs (R,) in the order of their first ones, and adds up what each has."""
    numbers, areas, pieces = np.empty(len(rows), np.int32), np.zeros(1 + len(rows), np.int64), 0
    for run in range(len(rows)):
        own = _first_of(first, run)
        if own == run:
            pieces += 1
            numbers[run] = pieces
        numbers[run] = numbers[own]
        areas[numbers[run]] += ends[run] - starts[run]
    if pieces > 1:
        for run in range(len(rows)):
            for x in range(starts[run], ends[run]):
                labels[rows[run], x] = numbers[run]
    return areas[: 1 + pieces].copy()
