"""YOLOv8-seg and YOLO11-seg, whose boxes overlap, and YOLO26-seg, which is read end to end.

Written from the layout of the exported outputs: a column or row an object, with its box, class scores and the
coefficients of its mask; and prototypes, of which a mask is the weighted sum, above 0 inside its box.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.segmentation.families import coco
from instance_seg_ros.segmentation.families.decoding import (
    best,
    cells_around,
    corners_of,
    output_of,
    pixels_in,
    prototype_masks,
    suppressed,
)
from instance_seg_ros.segmentation.families.family import Family, OutputPattern, Reading, Sizes
from instance_seg_ros.segmentation.families.image_input import ImageInput
from instance_seg_ros.segmentation.families.signature import Signature
from instance_seg_ros.segmentation.model_file import MAX_CLASSES
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, require_finite

_BOX = 4
_BOX_SCORE_CLASS = 6

_PROTOTYPES = OutputPattern("prototypes", (1, "M", "h", "w"))
_IMAGE = ImageInput(size_wh=(640, 640), resize="letterbox", fill=114.0)


def decode_anchors(outputs: Mapping[str, NDArray], reading: Reading) -> NetworkOutput:
    """Reads "detections" (1, 4 + classes + M, anchors) and "prototypes" (1, M, h, w); suppresses per class."""
    detections, prototypes = outputs["detections"][0], outputs["prototypes"][0]
    class_scores = detections[_BOX : len(detections) - len(prototypes)]
    scores = class_scores.max(axis=0)
    candidates = best(scores)
    boxes = corners_of(detections[:_BOX, candidates].T.astype(np.float32))
    require_finite("boxes", boxes)
    class_ids = class_scores[:, candidates].argmax(axis=0)
    kept = suppressed(boxes, class_ids, reading.nms_iou)
    rows = candidates[kept]
    coefficients = detections[len(detections) - len(prototypes) :, rows].T
    return _output(boxes[kept], scores[rows], class_ids[kept], coefficients, prototypes, reading)


def decode_rows(outputs: Mapping[str, NDArray], reading: Reading) -> NetworkOutput:
    """Reads "detections" (1, rows, 6 + M) x0, y0, x1, y1, score, class, coefficients, and "prototypes" (1, M, h, w)."""
    detections, prototypes = outputs["detections"][0], outputs["prototypes"][0]
    rows = detections[best(detections[:, _BOX])].astype(np.float32, copy=False)
    boxes, scores, class_ids = rows[:, :_BOX], rows[:, _BOX], rows[:, _BOX + 1]
    require_finite("boxes", boxes)
    require_finite("classes", class_ids)
    return _output(
        boxes, scores, class_ids.clip(-1, MAX_CLASSES).round(), rows[:, _BOX_SCORE_CLASS:], prototypes, reading
    )


def _output(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.floating],
    class_ids: NDArray,
    coefficients: NDArray[np.floating],
    prototypes: NDArray[np.floating],
    reading: Reading,
) -> NetworkOutput:
    placement = reading.placement
    height, width = prototypes.shape[1:]
    cell_xy = placement.network_wh[0] / width, placement.network_wh[1] / height
    inside = np.clip(boxes_xyxy, 0, np.tile(placement.network_wh, 2))
    masks = prototype_masks(coefficients, prototypes, cells_around(inside, cell_xy, (width, height)))
    in_camera = placement.boxes_in_camera(boxes_xyxy)
    regions = pixels_in(in_camera, placement.camera_wh)
    return output_of(in_camera, scores, class_ids.astype(np.int64), masks, regions, placement)


def _anchors_obstacle(signature: Signature, sizes: Sizes) -> str | None:
    features, anchors, prototypes = sizes["D"], sizes["A"], sizes["M"]
    if features is None or prototypes is None:
        return "the file leaves open how many numbers an anchor has"
    if anchors == _BOX_SCORE_CLASS + prototypes:
        return f"rows of {anchors} numbers are those of the form that is read end to end"
    if features <= _BOX + prototypes:
        return f"{features} numbers an anchor leave no class beside a box and {prototypes} coefficients"
    return None


def _rows_obstacle(signature: Signature, sizes: Sizes) -> str | None:
    features, prototypes = sizes["D"], sizes["M"]
    if features is None or prototypes is None:
        return "the file leaves open how many numbers a row has"
    if features != _BOX_SCORE_CLASS + prototypes:
        return f"rows of {features} numbers are not a box, a score, a class and {prototypes} coefficients"
    return None


def _class_count(signature: Signature, sizes: Sizes) -> int | None:
    features, prototypes = sizes["D"], sizes["M"]
    return None if features is None or prototypes is None else features - _BOX - prototypes


YOLO_SEG = Family(
    name="yolo-seg",
    title="YOLOv8-seg, YOLO11-seg, YOLO26-seg with overlapping boxes",
    outputs=(OutputPattern("detections", (1, "D", "A")), _PROTOTYPES),
    image=_IMAGE,
    score_threshold=0.25,
    mask_threshold=0.0,
    decode=decode_anchors,
    obstacle=_anchors_obstacle,
    class_count=_class_count,
    class_names=coco.names_of,
)

YOLO_SEG_END2END = Family(
    name="yolo-seg-end2end",
    title="YOLO26-seg end to end, and YOLO-seg exported with its own suppression",
    outputs=(OutputPattern("detections", (1, "N", "D")), _PROTOTYPES),
    image=_IMAGE,
    score_threshold=0.25,
    mask_threshold=0.0,
    decode=decode_rows,
    obstacle=_rows_obstacle,
    class_names=coco.names_of,
)
