"""The clean points of a mask: without its edges, what lies behind or in front of its object, and pieces that part."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting.order_statistics import median
from instance_seg_ros.lifting.surface import (
    Bounds,
    KeptPoints,
    crop_around,
    depth_of,
    eroded,
    fit_local_planes,
    grown_over_surface,
    kept_points,
    rim_beside,
    well_inside,
    window_radius_px,
    without_strays,
)

_MIN_KEPT_SHARE = 0.3
"""Erosion and edge removal are eased until this share of a mask's measured pixels is left: thin objects stay."""
_MIN_PIECE_SHARE, _MIN_CUT_SHARE = 0.1, 0.03
"""Besides the largest connected piece, pieces of the first share of it are kept, unless far behind or in front of it;
of the second where the mask, less its rim, is in two there: what hides an object cuts its mask, and where one spills
over onto a neighbour it does not part."""


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
    core = well_inside(depth_m, inside, step, settings.mask_erosion_px, _MIN_KEPT_SHARE)
    near, median_m = _within_depth_gate(depth_m, core, settings.outlier_mad_factor, focal_px)
    core = _largest_piece(near, inside, settings.mask_erosion_px, depth_m, focal_px)
    if core is not near:
        _, median_m, _ = depth_of(depth_m, core)
    radius_px = window_radius_px(median_m, focal_px)
    planes = fit_local_planes(depth_m, core, radius_px, inside & ~core)
    tolerance = 0.5 * settings.depth_step_m, 0.5 * settings.depth_step_ratio
    kept = grown_over_surface(depth_m, inside, core, planes, tolerance)
    kept = without_strays(depth_m, kept, step)
    # Windows without the rim that was given back reach past the core's edge: their planes lie off what bends there.
    rim = rim_beside(depth_m, inside, kept, median_m, focal_px)
    return kept_points(depth_m, kept, radius_px, tolerance, (crop[1].start, crop[0].start), frame.intrinsics, rim)


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
    count, pieces = cv2.connectedComponents(core.view(np.uint8), connectivity=4)
    mostly_within = 2 * np.bincount(pieces[within], minlength=count) > np.bincount(pieces[core], minlength=count)
    within |= left_out & mostly_within[pieces]
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
    count, labels = cv2.connectedComponents(core.view(np.uint8), connectivity=4)
    if count <= 2:
        return core
    areas = _areas(labels, count)[1:]
    largest = 1 + int(np.argmax(areas))
    in_largest = labels == largest
    sizeable = 1 + np.flatnonzero(areas >= _MIN_CUT_SHARE * areas[largest - 1])
    if len(sizeable) == 1:
        return in_largest
    depth_of_largest_m = median(depth_m[in_largest])
    sides_px = cv2.boundingRect(in_largest.view(np.uint8))[2:]
    reach_m = max(sides_px) * depth_of_largest_m / focal_px
    shares = areas / areas.max()
    parts = cv2.connectedComponents(eroded(inside, 2 * rim_px + 1).view(np.uint8), connectivity=4)[1]
    main_part = parts[in_largest].max()
    kept = np.zeros(count, dtype=bool)
    for label in sizeable:
        share, own = shares[label - 1], labels == label
        is_cut = parts[own].max() != main_part
        away_m = abs(median(depth_m[own]) - depth_of_largest_m)
        kept[label] = (share >= _MIN_PIECE_SHARE or is_cut) and away_m <= (1 + share) * reach_m
    return kept[labels]


@kernel("int32[:, ::1]", "int64")
def _areas(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """How many pixels (h, w) have each of so many labels, from 0 on; NumPy takes longer than OpenCV to find them."""
    areas, run, last = np.zeros(count, np.int64), 0, labels[0, 0]
    for label in labels.reshape(-1):
        if label != last:
            areas[last] += run
            run, last = 0, label
        run += 1
    areas[last] += run
    return areas
