"""RTMDet-Ins and SOLOv2 as MMDeploy exports them: suppression is in the graph, masks are probabilities.

Lyu et al., *RTMDet* (2022); Wang et al., *SOLOv2* (NeurIPS 2020), whose objects have no boxes but their masks'. Both
graphs take images that are normalised already, the first in the order blue, green, red.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.segmentation.families import coco
from instance_seg_ros.segmentation.families.decoding import MAX_ROWS, best, output_of
from instance_seg_ros.segmentation.families.family import Family, OutputPattern, Reading, Sizes
from instance_seg_ros.segmentation.families.image_input import ImageInput
from instance_seg_ros.segmentation.families.signature import Signature
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, require_finite

_MEAN_RGB, _STD_RGB = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_OUTPUTS = (
    OutputPattern("detections", (1, "N", 5), ("dets",)),
    OutputPattern("labels", (1, "N"), ("labels",), is_float=False),
    OutputPattern("masks", (1, "N", "h", "w"), ("masks",)),
)


def decode(outputs: Mapping[str, NDArray], reading: Reading) -> NetworkOutput:
    """Reads "detections" (1, N, 5) x0, y0, x1, y1, score, "labels" (1, N), -1 for none, and "masks" (1, N, h, w)."""
    placement = reading.placement
    detections, labels, masks = (outputs[role][0] for role in ("detections", "labels", "masks"))
    rows = best(np.where(labels >= 0, detections[:, 4], 0))[:MAX_ROWS]
    boxes = placement.boxes_in_camera(detections[rows, :4])
    require_finite("boxes", boxes)
    # The masks are as large as the image: copied only where the graph's order is not by score.
    in_order = len(rows) > 0 and np.array_equal(rows, np.arange(len(rows)))
    chosen = masks[: len(rows)] if in_order else masks[rows]
    regions = np.tile([0, 0, *placement.camera_wh], (len(rows), 1))
    return output_of(boxes, detections[rows, 4], labels[rows], chosen, regions, placement)


def _rtmdet_obstacle(signature: Signature, sizes: Sizes) -> str | None:
    if any("RoiAlign" in operator for operator in signature.operators):
        return "RoiAlign is of another detector of MMDetection, whose normalisation the file does not tell"
    if not any("NMS" in operator or "NonMaxSuppression" in operator for operator in signature.operators):
        return "without suppression of boxes in the graph these outputs are SOLOv2's"
    return None


def _solo_obstacle(signature: Signature, sizes: Sizes) -> str | None:
    if any("NMS" in operator or "NonMaxSuppression" in operator for operator in signature.operators):
        return "suppression of boxes in the graph is RTMDet-Ins's"
    return None


RTMDET_INS = Family(
    name="rtmdet-ins",
    title="RTMDet-Ins by MMDeploy",
    outputs=_OUTPUTS,
    image=ImageInput((640, 640), "fit", "bgr", 1.0, _MEAN_RGB[::-1], _STD_RGB[::-1], fill=114.0),
    score_threshold=0.3,
    mask_threshold=0.5,
    decode=decode,
    obstacle=_rtmdet_obstacle,
    class_names=coco.names_of,
)

SOLOV2 = Family(
    name="solov2",
    title="SOLOv2 by MMDeploy",
    outputs=_OUTPUTS,
    image=ImageInput((1344, 800), "fit", "rgb", 1.0, _MEAN_RGB, _STD_RGB, fill=None),
    score_threshold=0.3,
    mask_threshold=0.5,
    decode=decode,
    obstacle=_solo_obstacle,
    class_names=coco.names_of,
)
