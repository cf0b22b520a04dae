"""From the network's fixed-size outputs to Instances in the camera's pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import NO_STUFF, Instances, boxes_of_masks
from instance_seg_ros.segmentation.mask_kernels import claim_pixels, find_extents, measure_owned, upsampled, widen
from instance_seg_ros.segmentation.model_file import ModelError

# A mask may reach past its box, because the box is regressed and the mask is not: by this share of the box's size and
# this many cells of the mask's grid. Farther out, what the mask head says is about other objects.
MARGIN_SHARE = 0.1
MARGIN_CELLS = 2.0

# An instance that keeps no larger share of its pixels than this describes the same object as those that got the others.
MIN_KEPT_SHARE = 0.4

Region = tuple[int, int, int, int]
"""Pixels from (x0, y0) to before (x1, y1)."""


class NotFiniteError(ModelError):
    """A network gives numbers that are none, as where a precision does not hold what it computes."""


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """What a model file's graph returns, K rows of which only those with a score above 0 mean anything.

    Attributes:
        boxes_xyxy: (K, 4) float32, camera pixels.
        scores: (K,) float32 in [0, 1], 0 for suppressed and empty rows.
        class_ids: (K,) int64.
        masks: (K, h, w) float16 or float32 probabilities on the mask grid.
        mask_scale, mask_offset: (2,) float32: camera pixel (x, y) has mask coordinates ((x + 0.5) * sx - 0.5 + ox,
            (y + 0.5) * sy - 0.5 + oy) in the mask, after its upsampling where there is one. Or (K, 2), of each mask,
            where masks lie over boxes; then there are regions.
        mask_upsampling: (9, f, f, h, w) float16 or float32, or None: sample (f y + a, f x + b) of a finer mask is the
            sum over n of [n, a, b, y, x] times the n-th of the 3 x 3 neighbours of cell (y, x), row by row.
        mask_regions_xyxy: (K, 4) int64, the camera's pixels, from (x0, y0) to before (x1, y1), that a mask may claim;
            None where these are the box and a margin, as they are where masks are upsampled.

    Raises:
        NotFiniteError: scores or boxes are not finite; whoever runs the network learns of it before the result is used.
        ModelError: the upsampling is not of the masks' grid.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    masks: NDArray[np.floating]
    mask_scale: NDArray[np.float32]
    mask_offset: NDArray[np.float32] = field(default_factory=lambda: np.zeros(2, dtype=np.float32))
    mask_upsampling: NDArray[np.floating] | None = None
    mask_regions_xyxy: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        require_finite("scores", self.scores)
        require_finite("boxes", self.boxes_xyxy)
        if self.mask_upsampling is not None:
            shape = self.mask_upsampling.shape
            if shape != (9, *shape[1:2], *shape[1:2], *self.masks.shape[1:]):  # the kernel would read beside them
                raise ModelError(f"the network's mask_upsampling {shape} does not fit its masks {self.masks.shape}")


@dataclass(frozen=True)
class Selection:
    """What of a network's output becomes instances.

    Attributes:
        score_threshold: rows below it are left out.
        mask_threshold: a mask claims the pixels whose probability is above it.
        max_instances: the best rows at most.
        min_mask_pixels: instances with fewer pixels are left out.
    """

    score_threshold: float
    mask_threshold: float
    max_instances: int
    min_mask_pixels: int


@dataclass(frozen=True, eq=False)
class SettledMasks:
    """A network's output after the masks were resized and their overlaps settled; K rows, best score first.

    Attributes:
        owner: (H, W) uint8 or int16 in camera pixels: index of the row that a pixel belongs to; K where there is none.
        claimed_px, own_px: (K,) int32, pixels that a row's mask claims, and those that it gets.
        own_boxes_xyxy: (K, 4) int32, around the pixels that a row gets; without meaning where there are none.
        scores: (K,) float32.
        class_ids: (K,) int64.
        boxes_xyxy: (K, 4) float32, of the network.
        masks_are_finite: (1,) bool.

    Raises:
        NotFiniteError: scores, boxes or masks are not finite.
    """

    owner: NDArray[np.integer]
    claimed_px: NDArray[np.int32]
    own_px: NDArray[np.int32]
    own_boxes_xyxy: NDArray[np.int32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    masks_are_finite: NDArray[np.bool_]

    def __post_init__(self) -> None:
        require_finite("scores", self.scores)
        require_finite("boxes", self.boxes_xyxy)
        if not self.masks_are_finite.all():
            raise _not_finite("masks")


def require_finite(what: str, values: NDArray[np.floating]) -> None:
    """Refuses what comparisons would take for "nothing there".

    Raises:
        NotFiniteError: a value is not finite.
    """
    if not np.isfinite(values).all():
        raise _not_finite(what)


def _not_finite(what: str) -> NotFiniteError:
    return NotFiniteError(
        f"the network's {what} are not finite: numbers of 16 bits overflow, or the model file or its runtime is "
        "broken; choose another precision or backend"
    )


def to_instances(
    output: NetworkOutput,
    image_size_wh: tuple[int, int],
    class_names: tuple[str, ...],
    score_threshold: float,
    mask_threshold: float,
    max_instances: int,
    min_mask_pixels: int,
    overlapping: bool = False,
) -> Instances:
    """The instances of the camera's image, best score first, masks at full resolution without overlap.

    Masks are resized inside their boxes only. A pixel that several masks claim goes to the one with the highest
    probability; an instance that loses most of its pixels in this way is a duplicate and is left out. With
    `overlapping`, every mask keeps what it claims: average precision judges each by itself.

    Raises:
        ModelError: a mask is not finite.
    """
    rows = np.argsort(-output.scores, kind="stable")
    rows = rows[_counts(output.scores[rows], score_threshold)][:max_instances]
    if overlapping:
        return _overlapping_instances(output, rows, image_size_wh, class_names, mask_threshold, min_mask_pixels)
    owner, claimed_px = _settle(output, rows, image_size_wh, mask_threshold)
    own_px, own_boxes_xyxy = np.empty(len(rows), np.int32), np.empty((len(rows), 4), np.int32)
    measure_owned(owner, own_px, own_boxes_xyxy)
    scores = output.scores[rows].astype(np.float32, copy=False)  # a runtime may give fewer bits than the file has
    class_ids, boxes_xyxy = output.class_ids[rows], output.boxes_xyxy[rows]
    settled = SettledMasks(
        owner, claimed_px, own_px, own_boxes_xyxy, scores, class_ids, boxes_xyxy, masks_are_finite=np.ones(1, bool)
    )
    return settled_instances(settled, class_names, min_mask_pixels)


def _counts(scores: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Which rows reach the threshold and mean anything: those with a score of 0 are none, also at a threshold of 0."""
    return (scores >= threshold) & (scores > 0)


def _overlapping_instances(
    output: NetworkOutput,
    rows: NDArray[np.int64],
    image_size_wh: tuple[int, int],
    class_names: tuple[str, ...],
    mask_threshold: float,
    min_mask_pixels: int,
) -> Instances:
    """The instances of rows, whose masks keep what they claim."""
    kept, found = [], []
    output = _with_wide_upsampling(output)
    regions = _regions(output, rows, image_size_wh, mask_threshold)
    for row, (x0, y0, x1, y1) in zip(rows.tolist(), regions, strict=True):
        if x1 <= x0 or y1 <= y0:
            continue
        probability = _probability(output, row, (x0, y0, x1, y1))
        require_finite("masks", probability)
        claim = probability > mask_threshold
        if np.count_nonzero(claim) >= max(min_mask_pixels, 1):
            kept.append(row)
            found.append((_slices((x0, y0, x1, y1)), claim))
    masks = np.zeros((len(kept), image_size_wh[1], image_size_wh[0]), dtype=bool)
    for mask, (here, claim) in zip(masks, found, strict=True):
        mask[here] = claim
    return Instances(
        masks,
        boxes_of_masks(masks),
        np.minimum(output.scores[kept], np.float32(1)).astype(np.float32, copy=False),
        output.class_ids[kept].astype(np.int64, copy=False),
        class_names,
    )


def without_classes(output: NetworkOutput, class_ids: Sequence[int]) -> NetworkOutput:
    """The same without the rows of some classes."""
    return replace(output, scores=np.where(np.isin(output.class_ids, class_ids), np.float32(0), output.scores))


def stuff_image(
    output: NetworkOutput,
    image_size_wh: tuple[int, int],
    class_ids: Sequence[int],
    score_threshold: float,
    mask_threshold: float,
) -> NDArray[np.int32]:
    """The class of stuff at each pixel, (H, W); NO_STUFF where there is none.

    A pixel that several masks claim goes to the one with the highest probability, as with objects.

    Args:
        output: of the network, in which stuff has rows as objects have.
        class_ids: those that are stuff.

    Raises:
        ModelError: a mask is not finite.
    """
    rows = np.argsort(-output.scores, kind="stable")
    rows = rows[_counts(output.scores[rows], score_threshold) & np.isin(output.class_ids[rows], class_ids)]
    owner, _ = _settle(output, rows, image_size_wh, mask_threshold)
    return np.append(output.class_ids[rows], NO_STUFF).astype(np.int32)[owner]


def settled_instances(settled: SettledMasks, class_names: tuple[str, ...], min_mask_pixels: int) -> Instances:
    """`to_instances` from where something else has settled the masks."""
    kept = _kept(settled.claimed_px, settled.own_px, min_mask_pixels)
    boxes = settled.own_boxes_xyxy[kept]
    masks = np.zeros((len(kept), *settled.owner.shape), dtype=bool)
    for mask, rank, box in zip(masks, kept.tolist(), boxes.tolist(), strict=True):
        here = _slices((box[0], box[1], box[2], box[3]))
        np.equal(settled.owner[here], rank, out=mask[here])
    return Instances(
        masks,
        boxes.astype(np.float32),
        np.minimum(settled.scores[kept], np.float32(1)),
        settled.class_ids[kept].astype(np.int64, copy=False),
        class_names,
        bounds_xywh=np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1, dtype=np.int64),
    )


def _kept(claimed_px: NDArray[np.integer], own_px: NDArray[np.integer], min_mask_pixels: int) -> NDArray[np.intp]:
    """The indices of the instances that are large enough and have lost not too much of what they claim."""
    return np.flatnonzero((own_px >= min_mask_pixels) & (own_px > MIN_KEPT_SHARE * claimed_px))


def _settle(
    output: NetworkOutput, rows: NDArray[np.int64], image_size_wh: tuple[int, int], mask_threshold: float
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Which of K rows gets each pixel.

    Returns:
        owner: (H, W), index of the row with the highest probability; K where none claims the pixel.
        claimed_px: (K,), how many pixels each claims.

    Raises:
        ModelError: a mask is not finite.
    """
    width, height = image_size_wh
    output = _with_wide_upsampling(output)
    best = np.full((height, width), mask_threshold, dtype=np.float32)
    owner = np.full((height, width), len(rows), dtype=np.int16)
    claimed_px = np.zeros(len(rows), dtype=np.int32)
    regions = _regions(output, rows, image_size_wh, mask_threshold)
    for index, (row, region) in enumerate(zip(rows, regions, strict=True)):
        x0, y0, x1, y1 = region
        if x1 <= x0 or y1 <= y0:
            continue
        claimed = claim_pixels(_probability(output, row, region), x0, y0, mask_threshold, index, best, owner)
        if claimed < 0:
            raise _not_finite("masks")
        claimed_px[index] = claimed
    return owner, claimed_px


def _probability(output: NetworkOutput, row: int, region_xyxy: Region) -> NDArray[np.float32]:
    """What a row's mask says at the pixels of a region that has some."""
    mask, scale, offset = output.masks[row], output.mask_scale, output.mask_offset
    if scale.ndim == 2:
        scale, offset = scale[row], offset[row]
    if output.mask_upsampling is not None:
        mask, offset = _fine_mask(mask, output.mask_upsampling, scale, offset, region_xyxy)
    return _resample(_as_float32(mask), scale, offset, region_xyxy)


def _regions(
    output: NetworkOutput, rows: NDArray[np.int64], image_size_wh: tuple[int, int], mask_threshold: float
) -> list[Region]:
    """The pixels, inside the image, in which each row's mask is looked at."""
    sides = np.array([*image_size_wh, *image_size_wh])
    if output.mask_regions_xyxy is None:
        boxes_xyxy = output.boxes_xyxy[rows]
        sizes_wh = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        margins = MARGIN_SHARE * sizes_wh + MARGIN_CELLS / output.mask_scale
        corners = np.floor(boxes_xyxy[:, :2] - margins), np.ceil(boxes_xyxy[:, 2:] + margins)
        regions = np.clip(np.concatenate(corners, axis=1), 0, sides).astype(np.int64)
    else:
        regions = output.mask_regions_xyxy[rows]
        if output.mask_scale.ndim == 1:
            everywhere = (regions == [0, 0, *image_size_wh]).all(axis=1)
            regions[everywhere] = _extents(output, rows[everywhere], image_size_wh, mask_threshold)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in regions.tolist()]


def _extents(
    output: NetworkOutput, rows: NDArray[np.int64], image_size_wh: tuple[int, int], mask_threshold: float
) -> NDArray[np.int64]:
    """The pixels (K, 4) outside which no cell of a row's mask is above the threshold."""
    sides = np.array(image_size_wh)
    # Cells behind the image's last pixel are not read.
    mask_wh = output.masks.shape[:0:-1]
    read = np.clip(np.ceil(sides * output.mask_scale + output.mask_offset) + 1, 0, mask_wh).astype(np.int64)
    extents = np.empty((len(rows), 4), dtype=np.int64)
    find_extents(_as_float32(output.masks), rows, read[1], read[0], mask_threshold, extents)
    # A cell's values reach into the next.
    first = np.floor((extents[:, :2] - 1 - output.mask_offset) / output.mask_scale)
    last = np.ceil((extents[:, 2:] + 1 - output.mask_offset) / output.mask_scale)
    regions = np.clip(np.concatenate((first, last), axis=1), 0, np.tile(sides, 2)).astype(np.int64)
    regions[extents[:, 2] == 0] = 0
    return regions


def _with_wide_upsampling(output: NetworkOutput) -> NetworkOutput:
    """The same with weights of 32 bits, which every mask reads."""
    if output.mask_upsampling is None:
        return output
    return replace(output, mask_upsampling=_as_float32(output.mask_upsampling))


def _as_float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Numbers of whatever type, contiguous."""
    if values.dtype != np.float16:
        return np.ascontiguousarray(values, dtype=np.float32)
    result = np.empty(values.shape, np.float32)
    widen(np.ascontiguousarray(values).reshape(-1).view(np.uint16), result.reshape(-1))
    return result


def _slices(region_xyxy: Region) -> tuple[slice, slice]:
    """A region as an index of (H, W) arrays."""
    x0, y0, x1, y1 = region_xyxy
    return slice(y0, y1), slice(x0, x1)


def _fine_mask(
    mask: NDArray[np.floating],
    weights: NDArray[np.float32],
    mask_scale: NDArray[np.float32],
    mask_offset: NDArray[np.float32],
    region_xyxy: Region,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A mask upsampled by the network's weights, around the region only, and the mask's offset there."""
    factor = weights.shape[1]
    height, width = mask.shape
    x0, y0, x1, y1 = region_xyxy
    (scale_x, scale_y), (offset_x, offset_y) = mask_scale.tolist(), mask_offset.tolist()
    # At least one cell, also for a region that lies beside the mask.
    first_x = min(max(math.floor((x0 * scale_x + offset_x) / factor) - 1, 0), width - 1)
    first_y = min(max(math.floor((y0 * scale_y + offset_y) / factor) - 1, 0), height - 1)
    end_x = min(max(math.ceil((x1 * scale_x + offset_x) / factor) + 1, 1), width)
    end_y = min(max(math.ceil((y1 * scale_y + offset_y) / factor) + 1, 1), height)
    fine = upsampled(_as_float32(mask), weights, first_x, first_y, end_x, end_y)
    return fine, mask_offset - np.array([factor * first_x, factor * first_y], dtype=np.float32)


def _resample(
    mask: NDArray[np.float32],
    mask_scale: NDArray[np.float32],
    mask_offset: NDArray[np.float32],
    region_xyxy: Region,
) -> NDArray[np.float32]:
    """The mask's probabilities at the region's pixels, bilinear, (y1 - y0, x1 - x0) float32."""
    x0, y0, x1, y1 = region_xyxy
    (scale_x, scale_y), (offset_x, offset_y) = mask_scale.tolist(), mask_offset.tolist()
    first_x, first_y = (x0 + 0.5) * scale_x - 0.5 + offset_x, (y0 + 0.5) * scale_y - 0.5 + offset_y
    to_mask = np.array([[scale_x, 0.0, first_x], [0.0, scale_y, first_y]], dtype=np.float64)
    probability = cv2.warpAffine(
        mask,
        to_mask,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(probability, dtype=np.float32)
