"""Mask R-CNN as torchvision exports it: normalisation, suppression and masks of the whole image are in the graph.

Its graph takes one image without a batch, red, green and blue from 0 to 1, and gives everything in that image's pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.segmentation.families import coco
from instance_seg_ros.segmentation.families.decoding import MAX_ROWS, MIN_SCORE, output_of, pixels_in
from instance_seg_ros.segmentation.families.family import Family, OutputPattern, Reading, Sizes
from instance_seg_ros.segmentation.families.image_input import ImageInput
from instance_seg_ros.segmentation.families.signature import Signature
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, require_finite

_CELLS = 28
_CLASS_BIASES = "roi_heads.box_predictor.cls_score.bias"
"""A weight with a number for each class, the background first, which the exporter names as torchvision does."""


def decode(outputs: Mapping[str, NDArray], reading: Reading) -> NetworkOutput:
    """Reads "boxes" (N, 4) xyxy, "labels" (N,) from 1, "scores" (N,) and "masks" (N, 1, H, W) of probabilities."""
    placement = reading.placement
    scores = outputs["scores"]
    require_finite("scores", scores)
    # A slice, since the masks are large: the graph gives the best first.
    count = min(int(np.flatnonzero(scores >= MIN_SCORE).max(initial=-1)) + 1, MAX_ROWS)
    boxes = outputs["boxes"][:count].astype(np.float32, copy=False)
    require_finite("boxes", boxes)
    in_camera = placement.boxes_in_camera(boxes)
    # Masks of 28 x 28 cells are pasted with a cell of 0 around, and to whole pixels.
    beyond = np.tile((boxes[:, 2:] - boxes[:, :2]) / _CELLS + 2, 2) * np.array([-1, -1, 1, 1])
    regions = pixels_in(placement.boxes_in_camera(boxes + beyond), placement.camera_wh)
    masks = outputs["masks"][:count, 0]
    return output_of(in_camera, scores[:count], outputs["labels"][:count], masks, regions, placement)


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
    may_lack_a_name=False,
)
