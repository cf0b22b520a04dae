"""From the network's fixed-size outputs to Instances in the camera's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import NO_STUFF, Instances
from instance_seg_ros.segmentation.model_file import ModelError

# A mask may reach past its box, because the box is regressed and the mask is not: by this share of the box's size and
# this many cells of the mask's grid. Farther out, what the mask head says is about other objects.
MARGIN_SHARE = 0.1
MARGIN_CELLS = 2.0

# An instance that lost at least this share of its pixels to others describes the same object as they do.
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
            (y + 0.5) * sy - 0.5 + oy) in the mask, after its upsampling where there is one.
        mask_upsampling: (9, f, f, h, w) float16 or float32, or None: sample (f y + a, f x + b) of a finer mask is the
            sum over n of [n, a, b, y, x] times the n-th of the 3 x 3 neighbours of cell (y, x), row by row.
        mask_regions_xyxy: (K, 4) int64, the camera's pixels, from (x0, y0) to before (x1, y1), that a mask may claim;
            None where these are the box and a margin.

    Raises:
        NotFiniteError: scores or boxes are not finite; whoever runs the network learns of it before the result is used.
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
    rows = rows[(output.scores[rows] >= score_threshold) & (output.scores[rows] > 0)][:max_instances]
    regions = [_region(output, row, image_size_wh, mask_threshold) for row in rows]
    claims, owner = _claims(output, rows, regions, image_size_wh, mask_threshold)
    own = claims if overlapping else [owner[_slices(region)] == index for index, region in enumerate(regions)]
    claimed, pixels = (np.array([np.count_nonzero(mask) for mask in of], dtype=np.int64) for of in (claims, own))
    kept = _kept(claimed, pixels, min_mask_pixels)
    masks = np.zeros((len(kept), *owner.shape), dtype=bool)
    boxes_xyxy = np.zeros((len(kept), 4), dtype=np.float32)
    for mask, box, index in zip(masks, boxes_xyxy, kept.tolist(), strict=True):
        mask[_slices(regions[index])] = own[index]
        x, y, box_width, box_height = cv2.boundingRect(own[index].view(np.uint8))
        left, top = regions[index][0] + x, regions[index][1] + y
        box[:] = left, top, left + box_width, top + box_height
    return Instances(
        masks,
        boxes_xyxy,
        np.minimum(output.scores[rows[kept]], np.float32(1)).astype(np.float32, copy=False),  # a runtime may give fewer
        output.class_ids[rows[kept]].astype(np.int64, copy=False),  # bits than the file has
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
    rows = rows[(output.scores[rows] >= score_threshold) & np.isin(output.class_ids[rows], class_ids)]
    regions = [_region(output, row, image_size_wh, mask_threshold) for row in rows]
    _, owner = _claims(output, rows, regions, image_size_wh, mask_threshold)
    return np.append(output.class_ids[rows], NO_STUFF).astype(np.int32)[owner]  # owner is -1 where none claims it


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
    )


def _kept(claimed_px: NDArray[np.integer], own_px: NDArray[np.integer], min_mask_pixels: int) -> NDArray[np.intp]:
    """The indices of the instances that are large enough and have lost not too much of what they claim."""
    return np.flatnonzero((own_px >= min_mask_pixels) & (own_px > MIN_KEPT_SHARE * claimed_px))


def _claims(
    output: NetworkOutput,
    rows: NDArray[np.int64],
    regions_xyxy: Sequence[Region],
    image_size_wh: tuple[int, int],
    mask_threshold: float,
) -> tuple[list[NDArray[np.bool_]], NDArray[np.int16]]:
    """The pixels that each row's mask claims in its region, and which of the rows gets each pixel.

    Returns:
        claims: of each row, of its region's size.
        owner: (H, W), index of the row with the highest probability; -1 where none claims the pixel.

    Raises:
        ModelError: a mask is not finite.
    """
    width, height = image_size_wh
    best = np.full((height, width), mask_threshold, dtype=np.float32)
    owner = np.full((height, width), -1, dtype=np.int16)
    claims = [np.zeros_like(owner[_slices(region)], dtype=bool) for region in regions_xyxy]
    for index, (row, region) in enumerate(zip(rows, regions_xyxy, strict=True)):
        here = _slices(region)
        if best[here].size == 0:
            continue
        mask, offset = output.masks[row], output.mask_offset
        if output.mask_upsampling is not None:
            mask, offset = _fine_mask(mask, output.mask_upsampling, output.mask_scale, offset, region)
        probability = _resample(mask.astype(np.float32, copy=False), output.mask_scale, offset, region)
        require_finite("masks", probability)
        claims[index] = probability > mask_threshold
        wins = probability > best[here]
        np.copyto(best[here], probability, where=wins)
        np.copyto(owner[here], np.int16(index), where=wins)
    return claims, owner


def _region(output: NetworkOutput, row: int, image_size_wh: tuple[int, int], mask_threshold: float) -> Region:
    """The pixels, inside the image, in which an instance's mask is looked at."""
    if output.mask_regions_xyxy is not None:
        x0, y0, x1, y1 = output.mask_regions_xyxy[row].tolist()
        everywhere = (x0, y0, x1, y1) == (0, 0, *image_size_wh)
        return _extent(output, row, image_size_wh, mask_threshold) if everywhere else (x0, y0, x1, y1)
    box_xyxy, mask_scale = output.boxes_xyxy[row], output.mask_scale
    size_wh = box_xyxy[2:] - box_xyxy[:2]
    margin = MARGIN_SHARE * size_wh + MARGIN_CELLS / mask_scale
    first = np.clip(np.floor(box_xyxy[:2] - margin), 0, image_size_wh).astype(int)
    last = np.clip(np.ceil(box_xyxy[2:] + margin), 0, image_size_wh).astype(int)
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def _extent(output: NetworkOutput, row: int, image_size_wh: tuple[int, int], mask_threshold: float) -> Region:
    """The pixels outside which no cell of the mask is above the threshold."""
    # Written so that what is not a number counts, and is found when the mask is resampled.
    above = ~(output.masks[row] <= mask_threshold)
    first, last = np.zeros(2), np.zeros(2)
    for axis in (0, 1):  # x, y
        hits = np.flatnonzero(above.any(axis=axis))
        if len(hits) == 0:
            return 0, 0, 0, 0
        first[axis], last[axis] = hits[0] - 1, hits[-1] + 2  # a cell's values reach into the next
    sides = np.array(image_size_wh)
    x0, y0 = np.clip(np.floor((first - output.mask_offset) / output.mask_scale), 0, sides).astype(int)
    x1, y1 = np.clip(np.ceil((last - output.mask_offset) / output.mask_scale), 0, sides).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


def _slices(region_xyxy: Region) -> tuple[slice, slice]:
    """A region as an index of (H, W) arrays."""
    x0, y0, x1, y1 = region_xyxy
    return slice(y0, y1), slice(x0, x1)


def _fine_mask(
    mask: NDArray[np.floating],
    weights: NDArray[np.floating],
    mask_scale: NDArray[np.float32],
    mask_offset: NDArray[np.float32],
    region_xyxy: Region,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A mask upsampled by the network's weights, around the region only, and the mask's offset there."""
    factor = weights.shape[1]
    corners = (np.array(region_xyxy).reshape(2, 2) * mask_scale + mask_offset) / factor
    x0, y0 = np.clip(np.floor(corners[0]) - 1, 0, None).astype(int)
    x1, y1 = (np.ceil(corners[1]) + 1).astype(int)
    # One cell more on each side: replicated at the mask's border, real cells elsewhere.
    rows, columns = (
        np.clip(np.arange(first - 1, min(last, length) + 1), 0, length - 1)
        for first, last, length in ((y0, y1, mask.shape[0]), (x0, x1, mask.shape[1]))
    )
    padded = mask[rows[:, None], columns].astype(np.float32)
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    shares = weights[..., y0 : y0 + height, x0 : x0 + width].astype(np.float32)
    fine = np.zeros((factor, factor, height, width), dtype=np.float32)
    for neighbour, share in enumerate(shares):
        row_offset, column_offset = divmod(neighbour, 3)
        fine += share * padded[row_offset : row_offset + height, column_offset : column_offset + width]
    fine = fine.transpose(2, 0, 3, 1)
    offset = mask_offset - np.array([factor * x0, factor * y0], dtype=np.float32)
    return fine.reshape(factor * height, factor * width), offset


def _resample(
    mask: NDArray[np.float32],
    mask_scale: NDArray[np.float32],
    mask_offset: NDArray[np.float32],
    region_xyxy: Region,
) -> NDArray[np.float32]:
    """The mask's probabilities at the region's pixels, bilinear, (y1 - y0, x1 - x0) float32."""
    x0, y0, x1, y1 = region_xyxy
    scale_x, scale_y = (float(scale) for scale in mask_scale)
    first_x, first_y = (np.array([x0, y0]) + 0.5) * mask_scale - 0.5 + mask_offset
    to_mask = np.array([[scale_x, 0.0, first_x], [0.0, scale_y, first_y]], dtype=np.float64)
    probability = cv2.warpAffine(
        mask,
        to_mask,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(probability, dtype=np.float32)
