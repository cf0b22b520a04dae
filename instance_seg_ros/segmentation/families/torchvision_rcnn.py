"""Mask R-CNN as torchvision exports it: normalisation, suppression and masks of the whole image are in the graph.

Its graph takes one image without a batch, red, green and blue from 0 to 1, and gives everything in that image's pixels.
An engine of it gives the cells of which the masks are made, and rows of zeros behind those that it has found.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.segmentation.families import coco
from instance_seg_ros.segmentation.families.decoding import MAX_ROWS, MIN_SCORE, output_of, pixels_in
from instance_seg_ros.segmentation.families.family import Family, OutputPattern, Reading, Sizes
from instance_seg_ros.segmentation.families.image_input import ImageInput, Placement
from instance_seg_ros.segmentation.families.signature import Signature
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, require_finite

_CELLS = 28
_CLASS_BIASES = "roi_heads.box_predictor.cls_score.bias"
"""A weight with a number for each class, the background first, which the exporter names as torchvision does."""


def decode(outputs: Mapping[str, NDArray], reading: Reading) -> NetworkOutput:
    """Reads "boxes" (N, 4) xyxy, "labels" (N,) from 1, "scores" (N,) and "masks" of probabilities.

    Masks are (N, 1, H, W), of the image's size, or else (N, 1, h, w), over the boxes.
    """
    placement = reading.placement
    scores = outputs["scores"]
    require_finite("scores", scores)
    # A slice, since the masks are large: the graph gives the best first.
    count = min(int(np.flatnonzero(scores >= MIN_SCORE).max(initial=-1)) + 1, MAX_ROWS)
    boxes = outputs["boxes"][:count].astype(np.float32, copy=False)
    require_finite("boxes", boxes)
    in_camera = placement.boxes_in_camera(boxes)
    masks = outputs["masks"][:count, 0]
    if count and masks.shape[:0:-1] != placement.network_wh:
        return _output_of_cells(boxes, scores[:count], outputs["labels"][:count], masks, placement)
    # Masks of 28 x 28 cells are pasted with a cell of 0 around, and to whole pixels.
    beyond = np.tile((boxes[:, 2:] - boxes[:, :2]) / _CELLS + 2, 2) * np.array([-1, -1, 1, 1])
    regions = pixels_in(placement.boxes_in_camera(boxes + beyond), placement.camera_wh)
    return output_of(in_camera, scores[:count], outputs["labels"][:count], masks, regions, placement)


def _output_of_cells(
    boxes: NDArray[np.float32],
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    masks: NDArray[np.floating],
    placement: Placement,
) -> NetworkOutput:
    """Rows with masks (K, h, w) over boxes (K, 4) in the network's pixels, which lie as torchvision pastes them.

    That is with a cell of 0 around, from a whole pixel to a whole pixel.
    """
    cells = np.array(masks.shape[:0:-1]) + 2
    halves = (boxes[:, 2:] - boxes[:, :2]) * np.float32(0.5) * np.float32(cells[0] / (cells[0] - 2))
    centers = (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5)
    first = np.trunc(centers - halves)
    sides = np.maximum(np.trunc(centers + halves) - first + 1, 1)
    gain, offset = np.array(placement.gain_xy), np.array(placement.offset_xy)
    corners = (np.concatenate([first, first + sides], axis=1) - np.tile(offset, 2)) / np.tile(gain, 2)
    return NetworkOutput(
        placement.boxes_in_camera(boxes),
        scores.astype(np.float32, copy=False),
        labels.astype(np.int64, copy=False),
        np.pad(masks, ((0, 0), (1, 1), (1, 1))),
        mask_scale=(gain * cells / sides).astype(np.float32),
        mask_offset=((offset - first) * cells / sides).astype(np.float32),
        mask_regions_xyxy=pixels_in(corners - 0.5, placement.camera_wh),
    )


def _class_count(signature: Signature, sizes: Sizes) -> int | None:
    shape = signature.weights.get(_CLASS_BIASES)
    return shape[0] if shape else None


def _class_names(count: int | None) -> tuple[str, ...]:
    names = coco.by_category_id()
    # With 80 outputs a network has 79 classes behind the background: none of those of COCO.
    return names if count in (None, len(names)) else tuple(f"class {index}" for index in range(count))


TORCHVISION_MASK_RCNN = Family(
    name="torchvision-mask-rcnn",
    title="Mask R-CNN of torchvision",
    outputs=(
        OutputPattern("boxes", ("N", 4)),
        OutputPattern("labels", ("N",), is_float=False),
        OutputPattern("scores", ("N",)),
        OutputPattern("masks", ("N", 1, "h", "w")),
    ),
    image=ImageInput(size_wh=None, resize="fit"),
    score_threshold=0.5,
    mask_threshold=0.5,
    decode=decode,
    class_count=_class_count,
    class_names=_class_names,
)
