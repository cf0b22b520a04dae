"""Mask R-CNN of torchvision, RTMDet-Ins and SOLOv2: graphs that give whole masks and have suppressed already."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from instance_seg_ros.segmentation.families.family import Family, Reading
from instance_seg_ros.segmentation.families.mmdeploy import RTMDET_INS, SOLOV2
from instance_seg_ros.segmentation.families.torchvision_rcnn import TORCHVISION_MASK_RCNN
from instance_seg_ros.segmentation.postprocessing import NotFiniteError

NETWORK_WH = (192, 128)
CLASSES = 4


def reading_for(family: Family, camera) -> Reading:
    return Reading(family.image.placement(camera.size_wh, NETWORK_WH), CLASSES, 0.7)


def random_rows(count: int, blobs: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes xyxy, scores, classes, and masks of probabilities that are 0 outside the boxes, of the network's size."""
    rng = np.random.default_rng(count)
    corners = rng.uniform((0, 0), np.array(NETWORK_WH) - 40, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 40, (count, 2))], axis=1).astype(np.float32)
    masks = 1 / (1 + np.exp(-blobs(count, NETWORK_WH[1], NETWORK_WH[0], sigma=4.0)))
    rows, columns = np.indices(NETWORK_WH[::-1])
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[(columns < int(x0)) | (columns > int(x1)) | (rows < int(y0)) | (rows > int(y1))] = 0
    scores = np.linspace(0.9, 0.06, count).astype(np.float32)
    return boxes, scores, rng.integers(0, CLASSES, count), masks.astype(np.float32)


def expected_of(camera, rows, found, threshold: float = 0.5) -> list:
    return [
        found(camera.box(box), score, class_id, camera.sampled(mask) > threshold)
        for box, score, class_id, mask in zip(*rows, strict=True)
    ]


@pytest.mark.parametrize("count", [0, 1, 12])
def test_mask_rcnn_is_read_as_it_is(count: int, size_wh, camera_in, blobs, found, check: Callable) -> None:
    camera = camera_in(size_wh, NETWORK_WH, "fit")
    boxes, scores, classes, masks = rows = random_rows(count, blobs)
    outputs = {"boxes": boxes, "labels": classes, "scores": scores, "masks": masks[:, None]}
    check(TORCHVISION_MASK_RCNN, outputs, reading_for(TORCHVISION_MASK_RCNN, camera), expected_of(camera, rows, found))


def pasted(cells: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A mask of the network's size, as torchvision makes it of 28 x 28 cells (`paste_mask_in_image`)."""
    around = F.pad(torch.tensor(cells)[None, None], (1, 1, 1, 1))
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * 30 / 28
    (x0, y0), (x1, y1) = (center - half).astype(int), (center + half).astype(int)
    inside = F.interpolate(around, size=(y1 - y0 + 1, x1 - x0 + 1), mode="bilinear", align_corners=False)[0, 0].numpy()
    width, height = NETWORK_WH
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1 + 1, width), min(y1 + 1, height)
    mask = np.zeros((height, width), dtype=np.float32)
    mask[top:bottom, left:right] = inside[top - y0 : bottom - y0, left - x0 : right - x0]
    return mask


@pytest.mark.parametrize("count", [1, 12])
def test_mask_rcnn_of_an_engine_is_pasted(count: int, size_wh, camera_in, found, check: Callable) -> None:
    camera = camera_in(size_wh, NETWORK_WH, "fit")
    rng = np.random.default_rng(count)
    corners = rng.uniform((-8, -8), np.array(NETWORK_WH) - 40, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(30, 70, (count, 2))], axis=1).astype(np.float32)
    # Smooth ones: the reference resamples once more, so that it has other fringes where a box cuts a mask.
    y, x = np.indices((28, 28)) - 13.5
    tilts = rng.uniform(0, np.pi, (count, 1, 1))
    long, across = x * np.cos(tilts) + y * np.sin(tilts), y * np.cos(tilts) - x * np.sin(tilts)
    cells = (1 / (1 + np.exp(np.hypot(long, 1.5 * across) - 11))).astype(np.float32)
    scores = np.linspace(0.9, 0.06, count).astype(np.float32)
    classes = rng.integers(0, CLASSES, count)
    nothing = {"boxes": (5, 4), "labels": (5,), "scores": (5,), "masks": (5, 1, 28, 28)}
    outputs = {
        role: np.concatenate([rows, np.zeros(nothing[role], dtype=rows.dtype)])
        for role, rows in {"boxes": boxes, "labels": classes, "scores": scores, "masks": cells[:, None]}.items()
    }
    masks = [pasted(mask, box) for mask, box in zip(cells, boxes, strict=True)]
    rows = boxes, scores, classes, masks
    check(TORCHVISION_MASK_RCNN, outputs, reading_for(TORCHVISION_MASK_RCNN, camera), expected_of(camera, rows, found))


@pytest.mark.parametrize("count", [0, 1, 12])
@pytest.mark.parametrize("in_order", [True, False])
def test_rtmdet_ins_is_read_without_its_empty_rows(
    count: int, in_order: bool, size_wh, camera_in, blobs, found, check: Callable
) -> None:
    camera = camera_in(size_wh, NETWORK_WH, "fit")
    boxes, scores, classes, masks = rows = random_rows(count, blobs)
    order = np.arange(count) if in_order else np.random.default_rng(1).permutation(count)
    outputs = {
        "detections": np.zeros((1, count + 5, 5), dtype=np.float32),
        "labels": np.full((1, count + 5), -1),
        "masks": np.zeros((1, count + 5, *NETWORK_WH[::-1]), dtype=np.float32),
    }
    outputs["detections"][0, :count] = np.column_stack([boxes, scores])[order]
    outputs["labels"][0, :count] = classes[order]
    outputs["masks"][0, :count] = masks[order]
    check(RTMDET_INS, outputs, reading_for(RTMDET_INS, camera), expected_of(camera, rows, found))


def test_solov2_finds_objects_without_boxes(camera_in, blobs, found, check: Callable) -> None:
    camera = camera_in((97, 133), NETWORK_WH, "fit")
    rows = random_rows(6, blobs)
    boxes, scores, classes, masks = rows
    detections = np.column_stack([np.zeros_like(boxes), scores])[None].astype(np.float32)
    outputs = {"detections": detections, "labels": classes[None], "masks": masks[None]}
    check(SOLOV2, outputs, reading_for(SOLOV2, camera), expected_of(camera, rows, found), box_of_mask=True)


@pytest.mark.parametrize(("column", "value"), [(1, np.inf), (4, np.nan)])
def test_numbers_that_are_none_are_refused(column: int, value: float, camera_in, blobs) -> None:
    boxes, scores, classes, masks = random_rows(3, blobs)
    detections = np.column_stack([boxes, scores]).astype(np.float32)
    detections[1, column] = value
    reading = reading_for(RTMDET_INS, camera_in((64, 48), NETWORK_WH, "fit"))
    with pytest.raises(NotFiniteError):
        RTMDET_INS.decode({"detections": detections[None], "labels": classes[None], "masks": masks[None]}, reading)
    outputs = {"boxes": detections[:, :4], "labels": classes, "scores": detections[:, 4], "masks": masks[:, None]}
    with pytest.raises(NotFiniteError):
        TORCHVISION_MASK_RCNN.decode(outputs, reading)
