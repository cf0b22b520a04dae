"""Mask2Former, MaskFormer, OneFormer, EoMT and DETR with masks, as the library transformers has them.

Cheng et al., *Masked-attention Mask Transformer* (CVPR 2022), section 4.1: the best pairs of query and class; the score
is the class's probability times the mean probability of the mask's pixels. Kerssies et al., *EoMT* (CVPR 2025): with
the best class of each query alone. Carion et al., *DETR* (ECCV 2020): the same class, where it is not "nothing".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.segmentation.families import coco
from instance_seg_ros.segmentation.families.decoding import (
    MIN_SCORE,
    best,
    corners_of,
    extents_of,
    output_of,
    pixels_over,
    softmax,
)
from instance_seg_ros.segmentation.families.family import Family, OutputPattern, Reading, Sizes
from instance_seg_ros.segmentation.families.image_input import ImageInput, Placement
from instance_seg_ros.segmentation.families.rf_detr import IMAGENET_MEAN, IMAGENET_STD
from instance_seg_ros.segmentation.families.signature import Signature
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, require_finite

_MASK2FORMER_SIDE = 384
"""Mask2Former's masks are weighed on a square grid of this side by transformers, whatever size the image went in at."""


def decode_pairs(
    outputs: Mapping[str, NDArray], reading: Reading, grid_side: int | None = None, eomt: bool = False
) -> NetworkOutput:
    """Reads "logits" (1, Q, C + 1), the last of which is "nothing", and "masks" (1, Q, h, w).

    Args:
        grid_side: of the square that masks are resized to before they are weighed; None for their own grid.
        eomt: a query stands for its best class alone, and its mask is weighed at the camera's size instead.
    """
    placement, whole = reading.placement, outputs["masks"][0]
    whole_wh = whole.shape[2], whole.shape[1]
    masks = _without_padding(whole, placement)
    probabilities = softmax(outputs["logits"][0])[:, :-1]
    if eomt:
        others = np.arange(probabilities.shape[1]) != probabilities.argmax(axis=1)[:, None]
        probabilities[others] = 0
    pairs = best(probabilities.ravel())[: len(masks)]
    queries, class_ids = np.divmod(pairs, probabilities.shape[1])
    found, rows = np.unique(queries, return_inverse=True)
    cells = extents_of(whole, 0.0, found, (masks.shape[2], masks.shape[1]))
    windows = pixels_over(cells, placement, whole_wh)
    if eomt:
        inside = _above_zero_in_camera(whole, found, windows, placement)
    elif grid_side is not None and masks.shape[1:] != (grid_side, grid_side):
        inside = _above_zero_in_square(masks, found, cells, grid_side)
    else:
        windows_of_cells = ((slice(y0, y1), slice(x0, x1)) for x0, y0, x1, y1 in cells.tolist())
        own = [masks[query][window] for query, window in zip(found.tolist(), windows_of_cells, strict=True)]
        inside = [logits[~(logits <= 0)] for logits in own]
    scores = probabilities.ravel()[pairs] * _certainties(inside)[rows]
    require_finite("masks", scores)
    kept = np.flatnonzero(scores >= MIN_SCORE)
    kept = kept[np.argsort(rows[kept], kind="stable")]  # in the order of the masks, so that few are copied
    rows = rows[kept]
    regions = windows[rows]
    scale, offset = placement.mask_scale_and_offset(whole_wh)
    return NetworkOutput(
        regions.astype(np.float32),
        scores[kept].astype(np.float32, copy=False),
        class_ids[kept],
        masks if np.array_equal(found[rows], np.arange(len(masks))) else masks[found[rows]],
        scale,
        offset,
        mask_regions_xyxy=regions,
    )


def _without_padding(masks: NDArray[np.floating], placement: Placement) -> NDArray[np.floating]:
    """The cells (Q, h, w) on which there is something of an image that lies at the top left of the network's."""
    if placement.inner_xy != (0, 0):
        return masks
    height, width = masks.shape[1:]
    inner, whole = placement.inner_wh, placement.network_wh
    return masks[:, : -(-inner[1] * height // whole[1]), : -(-inner[0] * width // whole[0])]


def decode_best(outputs: Mapping[str, NDArray], reading: Reading) -> NetworkOutput:
    """Reads "logits" (1, Q, C + 1), the last of which is "nothing", "boxes" (1, Q, 4) and "masks" (1, Q, h, w)."""
    placement, masks = reading.placement, outputs["masks"][0]
    probabilities = softmax(outputs["logits"][0])
    class_ids = probabilities.argmax(axis=1)
    scores = probabilities.max(axis=1)
    require_finite("scores", scores)
    queries = best(np.where(class_ids < probabilities.shape[1] - 1, scores, 0))
    boxes = corners_of(outputs["boxes"][0][queries].astype(np.float32)) * np.tile(placement.network_wh, 2)
    chosen = masks[queries]
    regions = pixels_over(extents_of(chosen, 0.0, np.arange(len(chosen))), placement, (masks.shape[2], masks.shape[1]))
    return output_of(placement.boxes_in_camera(boxes), scores[queries], class_ids[queries], chosen, regions, placement)


def _certainties(inside: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """The mean probability (K,) of the pixels of masks, from their logits above 0, which no exponential overflows.

    Args:
        inside: of each mask; taken for the result of each step, mask by mask, while the processor has it at hand.
    """
    means = np.zeros(len(inside))
    for place, values in enumerate(inside):
        if len(values):
            np.negative(values, out=values)
            np.exp(values, out=values)
            values += 1
            np.reciprocal(values, out=values)
            means[place] = values.sum(dtype=np.float64) / len(values)
    return means


def _above_zero_in_camera(
    masks: NDArray[np.floating],
    queries: NDArray[np.int64],
    windows_xyxy: NDArray[np.int64],
    placement: Placement,
) -> list[NDArray[np.floating]]:
    """The logits above 0 of masks, resized to the network's image, cut to what the camera's fills, resized to that.

    Args:
        masks: (Q, h, w).
        queries: (K,), those of the masks that count.
        windows_xyxy: (K, 4), the camera's pixels outside which there are none.
    """
    x, y = map(_Resizing.of, masks.shape[:0:-1], placement.network_wh, placement.inner_wh, placement.camera_wh)
    return _above_zero(masks, queries, windows_xyxy, x, y)


def _above_zero_in_square(
    masks: NDArray[np.floating], queries: NDArray[np.int64], cells_xyxy: NDArray[np.int64], side: int
) -> list[NDArray[np.floating]]:
    """The logits above 0 of masks that are resized to a square.

    Args:
        masks: (Q, h, w).
        queries: (K,), those of the masks that count.
        cells_xyxy: (K, 4), outside which no cell is above 0; all zeros where none is.
    """
    cells_wh = masks.shape[:0:-1]
    x, y = (_Resizing.of(cells, side, side, side) for cells in cells_wh)
    # One cell more on each side, which those between are resampled of.
    more, scale = np.array([-1, -1, 1, 1]), np.tile(side / np.array(cells_wh), 2)
    windows = (cells_xyxy + more) * scale
    windows = np.where(more < 0, np.floor(windows), np.ceil(windows))
    windows[(cells_xyxy[:, 2:] <= cells_xyxy[:, :2]).any(axis=1)] = 0
    return _above_zero(masks, queries, np.clip(windows, 0, side).astype(np.int64), x, y)


def _above_zero(
    masks: NDArray[np.floating],
    queries: NDArray[np.int64],
    windows_xyxy: NDArray[np.int64],
    x: _Resizing,
    y: _Resizing,
) -> list[NDArray[np.floating]]:
    """The logits above 0 of masks (Q, h, w) in windows (K, 4) of what they are resized to, and what is no number."""
    inside: list[NDArray[np.floating]] = []
    for query, (x0, y0, x1, y1) in zip(queries.tolist(), windows_xyxy.tolist(), strict=True):
        columns, rows = x.used(x0, x1), y.used(y0, y1)
        window = masks[query, rows, columns].astype(np.float32, copy=False)
        logits = y.shares[y0:y1, rows] @ window @ x.shares[x0:x1, columns].T
        inside.append(logits[~(logits <= 0)])
    return inside


@dataclass(frozen=True)
class _Resizing:
    """What a row of the camera's image takes of a row of cells.

    Attributes:
        shares: (camera, cells).
        ends: (camera, 2), the cells from and to before which a pixel takes some.
    """

    shares: NDArray[np.float32]
    ends: NDArray[np.int64]

    @staticmethod
    @lru_cache(maxsize=8)
    def of(cells: int, network: int, inner: int, camera: int) -> _Resizing:
        """Of cells that are resized to the network's pixels, cut to the inner ones and resized to the camera's."""
        shares = _linear(inner, camera) @ _linear(cells, network)[:inner]
        some = shares > 0
        return _Resizing(shares, np.stack([some.argmax(axis=1), cells - some[:, ::-1].argmax(axis=1)], axis=1))

    def used(self, first: int, last: int) -> slice:
        """The cells that pixels from `first` to before `last` take some of; none for no pixels."""
        return slice(self.ends[first, 0], self.ends[last - 1, 1]) if last > first else slice(0, 0)


def _linear(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): the shares that resizing a row of cells takes of them, linear between their centres."""
    places = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(old))).astype(np.float32)


def _mask2former_obstacle(signature: Signature, sizes: Sizes) -> str | None:
    if "GridSample" not in signature.operators:
        return "without deformable attention (GridSample) these outputs are MaskFormer's"
    return None


def _maskformer_obstacle(signature: Signature, sizes: Sizes) -> str | None:
    if "GridSample" in signature.operators:
        return "deformable attention (GridSample) is Mask2Former's"
    return None


def _detr_obstacle(signature: Signature, sizes: Sizes) -> str | None:
    if "GridSample" in signature.operators:
        return "deformable attention (GridSample) is not DETR's; RF-DETR has these outputs, too"
    return None


def _class_count(signature: Signature, sizes: Sizes) -> int | None:
    classes = sizes["C"]
    return None if classes is None else classes - 1


_IMAGE = ImageInput(size_wh=(384, 384), resize="stretch", mean=IMAGENET_MEAN, std=IMAGENET_STD)

_PAIRS = (
    OutputPattern("logits", (1, "Q", "C"), ("class_queries_logits",)),
    OutputPattern("masks", (1, "Q", "h", "w"), ("masks_queries_logits",)),
)

MASK2FORMER = Family(
    name="mask2former",
    title="Mask2Former",
    outputs=_PAIRS,
    image=_IMAGE,
    score_threshold=0.5,
    mask_threshold=0.0,
    decode=partial(decode_pairs, grid_side=_MASK2FORMER_SIDE),
    obstacle=_mask2former_obstacle,
    class_count=_class_count,
    class_names=coco.names_of,
)

EOMT = Family(
    name="eomt",
    title="EoMT",
    outputs=_PAIRS,
    image=ImageInput(size_wh=(640, 640), resize="fit", mean=IMAGENET_MEAN, std=IMAGENET_STD),
    score_threshold=0.5,
    mask_threshold=0.0,
    decode=partial(decode_pairs, eomt=True),
    class_count=_class_count,
    class_names=coco.names_of,
)
"""Loaded only: nothing in a graph tells it from MaskFormer."""

MASKFORMER = Family(
    name="maskformer",
    title="MaskFormer",
    outputs=_PAIRS,
    image=_IMAGE,
    score_threshold=0.5,
    mask_threshold=0.0,
    decode=decode_pairs,
    obstacle=_maskformer_obstacle,
    class_count=_class_count,
    class_names=coco.names_of,
)

DETR = Family(
    name="detr",
    title="DETR with masks",
    outputs=(
        OutputPattern("logits", (1, "Q", "C"), ("logits",)),
        OutputPattern("boxes", (1, "Q", 4), ("pred_boxes",)),
        OutputPattern("masks", (1, "Q", "h", "w"), ("pred_masks",)),
    ),
    image=ImageInput(size_wh=(800, 800), resize="stretch", mean=IMAGENET_MEAN, std=IMAGENET_STD),
    score_threshold=0.5,
    mask_threshold=0.0,
    decode=decode_best,
    obstacle=_detr_obstacle,
    class_count=_class_count,
    class_names=coco.names_of,
)
