"""What several families need to read their outputs: candidates, suppression, boxes, extents and prototypes of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from instance_seg_ros.segmentation.families.image_input import Placement
from instance_seg_ros.segmentation.mask_kernels import find_extents
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, require_finite

MIN_SCORE = 0.05
"""Candidates below it are not read at all, whatever the score threshold."""
MAX_CANDIDATES = 1000
MAX_ROWS = 300
"""After suppression."""

_BLOCK = 128


def best(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Indices of at most MAX_CANDIDATES scores (N,) of MIN_SCORE and more, best first.

    Raises:
        NotFiniteError: a score is not finite.
    """
    require_finite("scores", scores)
    candidates = np.flatnonzero(scores >= MIN_SCORE)
    if len(candidates) > MAX_CANDIDATES:
        candidates = candidates[np.argpartition(-scores[candidates], MAX_CANDIDATES)[:MAX_CANDIDATES]]
    return candidates[np.argsort(-scores[candidates], kind="stable")]


def suppressed(
    boxes_xyxy: NDArray[np.floating], class_ids: NDArray[np.integer], iou_threshold: float
) -> NDArray[np.int64]:
    """Indices that greedy non-maximum suppression inside each class leaves, at most MAX_ROWS.

    Args:
        boxes_xyxy: (N, 4), best first.
        class_ids: (N,).
        iou_threshold: a box that shares more than this with a better one of its class goes.
    """
    boxes = boxes_xyxy.astype(np.float32, copy=False)
    kept = np.zeros(0, dtype=np.int64)
    # In blocks: a table of all pairs would be large, and a pass for each box that stays slow.
    for begin in range(0, len(boxes), _BLOCK):
        block = np.arange(begin, min(begin + _BLOCK, len(boxes)))
        block = block[~overlap(boxes, class_ids, block, kept, iou_threshold).any(axis=1)]
        pairs = overlap(boxes, class_ids, block, block, iou_threshold)
        left_over = np.ones(len(block), dtype=bool)
        for place in np.flatnonzero(np.triu(pairs, k=1).any(axis=1)):
            if left_over[place]:
                left_over[place + 1 :] &= ~pairs[place, place + 1 :]
        kept = np.concatenate([kept, block[left_over]])
        if len(kept) >= MAX_ROWS:
            break
    return kept[:MAX_ROWS]


def overlap(
    boxes_xyxy: NDArray[np.float32],
    class_ids: NDArray[np.integer],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    iou_threshold: float,
) -> NDArray[np.bool_]:
    """(N, M): whether boxes of one class share more than the threshold, for indices (N,) and (M,)."""
    one, other = boxes_xyxy[first], boxes_xyxy[second]
    widths = np.minimum(one[:, None, 2], other[:, 2]) - np.maximum(one[:, None, 0], other[:, 0])
    heights = np.minimum(one[:, None, 3], other[:, 3]) - np.maximum(one[:, None, 1], other[:, 1])
    shared = np.maximum(widths, 0) * np.maximum(heights, 0)
    areas, other_areas = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other))
    same = shared > iou_threshold * (areas[:, None] + other_areas - shared)
    return np.asarray(same & (class_ids[first, None] == class_ids[second]))


def corners_of(centers_and_sizes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Boxes (N, 4) xyxy of boxes (N, 4) cx, cy, width, height."""
    centers, halves = centers_and_sizes[:, :2], centers_and_sizes[:, 2:] / 2
    return np.concatenate([centers - halves, centers + halves], axis=1).astype(np.float32, copy=False)


def pixels_in(boxes_xyxy: NDArray[np.floating], camera_wh: tuple[int, int]) -> NDArray[np.int64]:
    """The camera's pixels (K, 4), from (x0, y0) to before (x1, y1), whose upper left corners lie in boxes."""
    limits = np.array([*camera_wh, *camera_wh])
    return np.clip(np.ceil(boxes_xyxy), 0, limits).astype(np.int64)


def cells_around(boxes_xyxy: NDArray[np.floating], sides_xy: tuple[float, float], mask_wh: tuple[int, int]) -> NDArray:
    """Cells (K, 4), from (x0, y0) to before (x1, y1), that resampling masks inside boxes reads.

    Args:
        boxes_xyxy: (K, 4) pixels of the network's image.
        sides_xy: of a cell, in the same pixels.
        mask_wh: of the grid.
    """
    cells = boxes_xyxy / np.tile(np.array(sides_xy, dtype=np.float32), 2)
    cells[:, :2] = np.floor(cells[:, :2] - 1)
    cells[:, 2:] = np.ceil(cells[:, 2:] + 1)
    return np.clip(cells, 0, np.tile(mask_wh, 2)).astype(np.int64)


def prototype_masks(
    coefficients: NDArray[np.floating], prototypes: NDArray[np.floating], cells_xyxy: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Sums (K, h, w) of prototypes (M, h, w) weighted by coefficients (K, M), in these cells; 0 in all others."""
    count, (channels, height, width) = len(coefficients), prototypes.shape
    masks = np.zeros((count, height, width), dtype=np.float32)
    weights = coefficients.astype(np.float32, copy=False)
    for mask, weight, (x0, y0, x1, y1) in zip(masks, weights, cells_xyxy.tolist(), strict=True):
        window = prototypes[:, y0:y1, x0:x1].astype(np.float32, copy=False)
        mask[y0:y1, x0:x1] = (weight @ window.reshape(channels, -1)).reshape(window.shape[1:])
    return masks


def extents_of(
    masks: NDArray[np.floating], threshold: float, rows: NDArray[np.int64], cells_wh: tuple[int, int] | None = None
) -> NDArray[np.int64]:
    """Cells (K, 4), from (x0, y0) to before (x1, y1), outside which all of a mask is at most the threshold.

    All zeros where nothing is above it. What is no number counts as above: resampling finds it then.

    Args:
        masks: (N, h, w).
        rows: (K,), those of the masks that are looked at.
        cells_wh: the cells at the top left that count; all of them if None.
    """
    width, height = cells_wh or masks.shape[:0:-1]
    extents = np.empty((len(rows), 4), dtype=np.int64)
    contiguous = np.ascontiguousarray(masks, dtype=np.float32)
    find_extents(contiguous, rows.astype(np.int64, copy=False), height, width, threshold, extents)
    return extents


def pixels_over(cells_xyxy: NDArray[np.int64], placement: Placement, mask_wh: tuple[int, int]) -> NDArray[np.int64]:
    """The camera's pixels (K, 4) that resampling may find above a threshold, where cells outside are below it."""
    scale, offset = (np.tile(values, 2) for values in placement.mask_scale_and_offset(mask_wh))
    sides = np.array([-1, -1, 1, 1])  # half a cell would do, but for rounding
    pixels = (cells_xyxy + sides - offset) / scale
    pixels = np.where(sides < 0, np.floor(pixels), np.ceil(pixels))
    pixels[(cells_xyxy[:, 2:] <= cells_xyxy[:, :2]).any(axis=1)] = 0
    return np.clip(pixels, 0, np.tile(placement.camera_wh, 2)).astype(np.int64)


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Probabilities of logits, float32."""
    probabilities: NDArray[np.float32] = expit(logits.astype(np.float32, copy=False))
    return probabilities


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Probabilities (N, C) of class logits (N, C), float32; rows add up to 1.

    Raises:
        NotFiniteError: a logit is NaN or infinite; minus infinity is a class that cannot be, unless all are.
    """
    logits = logits.astype(np.float32, copy=False)
    highest = logits.max(axis=1, keepdims=True)
    require_finite("class logits", highest)
    powers = np.exp(logits - highest)
    probabilities: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def output_of(
    boxes_xyxy: NDArray[np.floating],
    scores: NDArray[np.floating],
    class_ids: NDArray[np.integer],
    masks: NDArray[np.floating],
    regions_xyxy: NDArray[np.int64],
    placement: Placement,
) -> NetworkOutput:
    """The rows in the camera's pixels; masks (K, h, w) cover the network's image.

    Raises:
        NotFiniteError: a score or a box is not finite.
    """
    height, width = masks.shape[1:]
    scale, offset = placement.mask_scale_and_offset((width, height))
    return NetworkOutput(
        boxes_xyxy.astype(np.float32, copy=False),
        scores.astype(np.float32, copy=False),
        class_ids.astype(np.int64, copy=False),
        masks,
        scale,
        offset,
        mask_regions_xyxy=regions_xyxy,
    )


def output_of_masks(masks: NDArray[np.floating], scores: NDArray[np.floating], placement: Placement) -> NetworkOutput:
    """The rows of a network that gives logits (K, h, w) of one class alone, as promptable ones do.

    Raises:
        NotFiniteError: a score is not finite.
    """
    regions = pixels_over(extents_of(masks, 0.0, np.arange(len(masks))), placement, (masks.shape[2], masks.shape[1]))
    class_ids = np.zeros(len(scores), np.int64)
    return output_of(regions.astype(np.float32), scores, class_ids, masks, regions, placement)
