"""RF-DETR-Seg: queries with boxes, logits of classes that exclude nothing, and logits of masks.

Robinson et al., RF-DETR (2025), Apache-2.0: the best pairs of query and class, by their probability.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.segmentation.families import coco
from instance_seg_ros.segmentation.families.decoding import (
    MAX_ROWS,
    best,
    corners_of,
    extents_of,
    output_of,
    pixels_over,
    sigmoid,
)
from instance_seg_ros.segmentation.families.family import Family, OutputPattern, Reading, Sizes
from instance_seg_ros.segmentation.families.image_input import ImageInput
from instance_seg_ros.segmentation.families.signature import Signature
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, require_finite

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the channels red, green and blue, for pixels of 0 to 1."""


def decode(outputs: Mapping[str, NDArray], reading: Reading) -> NetworkOutput:
    """Reads "boxes" (1, Q, 4) cx, cy, w, h of the image's sides, "logits" (1, Q, C) and "masks" (1, Q, h, w)."""
    placement, masks = reading.placement, outputs["masks"][0]
    # A network may have an output more than it has classes, which it was never trained to use.
    logits = outputs["logits"][0][:, : reading.class_count]
    require_finite("scores", logits)
    scores = sigmoid(logits)
    pairs = best(scores.ravel())[:MAX_ROWS]
    queries, class_ids = np.divmod(pairs, scores.shape[1])
    boxes = corners_of(outputs["boxes"][0][queries].astype(np.float32)) * np.tile(placement.network_wh, 2)
    found, rows = np.unique(queries, return_inverse=True)
    regions = pixels_over(extents_of(masks, 0.0, found), placement, masks.shape[:0:-1])[rows]
    return output_of(
        placement.boxes_in_camera(boxes), scores.ravel()[pairs], class_ids, masks[queries], regions, placement
    )


def _obstacle(signature: Signature, sizes: Sizes) -> str | None:
    if any(tensor.name == "dets" for tensor in signature.outputs) or "GridSample" in signature.operators:
        return None
    return "without deformable attention (GridSample) these outputs are DETR's"


def _class_count(signature: Signature, sizes: Sizes) -> int | None:
    return sizes["C"]


RF_DETR_SEG = Family(
    name="rf-detr-seg",
    title="RF-DETR-Seg",
    outputs=(
        OutputPattern("boxes", (1, "Q", 4), ("dets", "pred_boxes")),
        OutputPattern("logits", (1, "Q", "C"), ("labels", "logits")),
        OutputPattern("masks", (1, "Q", "h", "w"), ("masks", "pred_masks")),
    ),
    image=ImageInput(size_wh=None, resize="stretch", mean=IMAGENET_MEAN, std=IMAGENET_STD, multiple=56),
    score_threshold=0.5,
    mask_threshold=0.0,
    decode=decode,
    obstacle=_obstacle,
    class_count=_class_count,
    may_lack_a_name=True,
    class_names=coco.names_of,
)
