"""YOLACT, exported with its raw outputs: anchors with box regressions, class probabilities and mask coefficients.

Bolya et al., *YOLACT: Real-time Instance Segmentation* (ICCV 2019): boxes as in SSD, Fast NMS, and masks that are the
sigmoid of the prototypes' weighted sum, cut out by the box on the prototypes' grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.segmentation.families import coco
from instance_seg_ros.segmentation.families.decoding import (
    best,
    corners_of,
    output_of,
    overlap,
    pixels_over,
    prototype_masks,
    sigmoid,
    softmax,
)
from instance_seg_ros.segmentation.families.family import Family, OutputPattern, Reading, Sizes
from instance_seg_ros.segmentation.families.image_input import ImageInput
from instance_seg_ros.segmentation.families.signature import Signature
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

_CENTER_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
_STRIDES = (8, 16, 32, 64, 128)
_ANCHOR_SIDES_PX = (24.0, 48.0, 96.0, 192.0, 384.0)
_ANCHOR_RATIOS = (1.0, 0.5, 2.0)
_MAX_PER_CLASS = 200
_MAX_ROWS = 100


def decode(outputs: Mapping[str, NDArray], reading: Reading) -> NetworkOutput:
    """Reads "regressions" (1, A, 4), "classes" (1, A, 1 + C), "coefficients" (1, A, M) and "prototypes" (1, h, w, M).

    The first class is "nothing".

    Raises:
        ModelError: there are other anchors than those of YOLACT's published models.
    """
    placement = reading.placement
    regressions, classes, coefficients = (outputs[role][0] for role in ("regressions", "classes", "coefficients"))
    prototypes = outputs["prototypes"][0].transpose(2, 0, 1)
    anchors = _anchors_of(placement.network_wh)
    if len(anchors) != len(regressions):
        raise ModelError(
            f"{len(regressions)} anchors were found and {len(anchors)} expected: three on each cell of the strides "
            f"{', '.join(map(str, _STRIDES))} of an image of {placement.network_wh[0]}x{placement.network_wh[1]}"
        )
    classes = _probabilities(classes)
    promising = best(1 - classes[:, 0])  # no class of it can have more
    candidates = promising[best(classes[promising, 1:].max(axis=1))]
    probabilities = classes[candidates, 1:]
    boxes = _boxes(regressions[candidates], anchors[candidates])
    rows, class_ids = _fast_suppressed(boxes, probabilities, reading.nms_iou)
    height, width = prototypes.shape[1:]
    cells = _cut(boxes[rows], (width, height))
    masks = prototype_masks(coefficients[candidates[rows]], prototypes, cells)
    for mask, (x0, y0, x1, y1) in zip(masks, cells.tolist(), strict=True):
        mask[y0:y1, x0:x1] = sigmoid(mask[y0:y1, x0:x1])
    scores = probabilities[rows, class_ids]
    in_camera = placement.boxes_in_camera(boxes[rows] * np.tile(placement.network_wh, 2))
    regions = pixels_over(cells, placement, (width, height))
    return output_of(in_camera, scores, class_ids, masks, regions, placement)


def _probabilities(classes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Some exports end before the softmax."""
    first = classes[:1]
    is_done = first.min() >= 0 and np.allclose(first.sum(axis=1, dtype=np.float64), 1, atol=0.01)
    return classes if is_done else softmax(classes)


@cache
def _anchors_of(network_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Anchors (A, 4) cx, cy, width, height in shares of the image's sides, row by row on each level.

    All are squares, as in the published models, whose configuration keeps that for compatibility.
    """
    levels = []
    for stride, side_px in zip(_STRIDES, _ANCHOR_SIDES_PX, strict=True):
        columns, rows = (-(-side // stride) for side in network_wh)
        y, x = np.divmod(np.arange(rows * columns), columns)
        level = np.empty((rows * columns, len(_ANCHOR_RATIOS), 4), dtype=np.float32)
        level[..., 0] = ((x + 0.5) / columns)[:, None]
        level[..., 1] = ((y + 0.5) / rows)[:, None]
        level[..., 2:] = (side_px * np.sqrt(_ANCHOR_RATIOS) / max(network_wh))[:, None]
        levels.append(level.reshape(-1, 4))
    return np.concatenate(levels)


def _boxes(regressions: NDArray[np.floating], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (N, 4) xyxy in shares of the image's sides."""
    regressions = regressions.astype(np.float32, copy=False)
    centers = anchors[:, :2] + regressions[:, :2] * _CENTER_VARIANCE * anchors[:, 2:]
    # What overflows is refused with the boxes, which are not finite then.
    with np.errstate(over="ignore"):
        sizes = anchors[:, 2:] * np.exp(regressions[:, 2:] * _SIZE_VARIANCE)
    return corners_of(np.concatenate([centers, sizes], axis=1))


def _fast_suppressed(
    boxes_xyxy: NDArray[np.float32], probabilities: NDArray[np.floating], iou_threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fast NMS (section 4.3): indices into the boxes, and their classes, best first.

    A box goes where a better one of its class shares too much with it, whether that one stays or not.
    """
    class_count = probabilities.shape[1]
    pairs = best(probabilities.ravel())
    pairs = pairs[np.argsort(pairs % class_count, kind="stable")]  # by class, in each the best first
    class_ids = pairs % class_count
    begins = np.searchsorted(class_ids, class_ids)
    pairs = pairs[np.arange(len(pairs)) - begins < _MAX_PER_CLASS]
    rows, class_ids = np.divmod(pairs, class_count)
    everything = np.arange(len(rows))
    worse = np.triu(overlap(boxes_xyxy[rows], class_ids, everything, everything, iou_threshold), k=1).any(axis=0)
    rows, class_ids = rows[~worse], class_ids[~worse]
    order = np.argsort(-probabilities[rows, class_ids], kind="stable")[:_MAX_ROWS]
    return rows[order], class_ids[order]


def _cut(boxes_xyxy: NDArray[np.float32], mask_wh: tuple[int, int]) -> NDArray[np.int64]:
    """Cells (K, 4) of the prototypes' grid that a box leaves of its mask: its own, and one more on each side."""
    sides = np.tile(mask_wh, 2)
    cells = boxes_xyxy.astype(np.float64) * sides + np.array([-1, -1, 1, 1])
    # Rounded as the project does: down from, and up to.
    return np.clip(np.concatenate([np.ceil(cells[:, :2]), np.ceil(cells[:, 2:])], axis=1), 0, sides).astype(np.int64)


def _class_count(signature: Signature, sizes: Sizes) -> int | None:
    classes = sizes["C"]
    return None if classes is None else classes - 1


YOLACT = Family(
    name="yolact",
    title="YOLACT with raw outputs",
    outputs=(
        OutputPattern("regressions", (1, "A", 4), ("loc",)),
        OutputPattern("classes", (1, "A", "C"), ("conf",)),
        OutputPattern("coefficients", (1, "A", "M"), ("mask",)),
        OutputPattern("prototypes", (1, "h", "w", "M"), ("proto",)),
    ),
    image=ImageInput((550, 550), "stretch", "rgb", 1.0, (123.68, 116.78, 103.94), (58.40, 57.12, 57.38)),
    score_threshold=0.3,
    mask_threshold=0.5,
    decode=decode,
    class_count=_class_count,
    class_names=coco.names_of,
    nms_iou=0.5,
)
