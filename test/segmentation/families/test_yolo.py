"""YOLO's outputs, held against a reference written from the definition of its head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from instance_seg_ros.segmentation.families.decoding import MAX_ROWS
from instance_seg_ros.segmentation.families.family import Reading
from instance_seg_ros.segmentation.families.yolo import YOLO_SEG, YOLO_SEG_END2END
from instance_seg_ros.segmentation.postprocessing import NotFiniteError

NETWORK_WH = (320, 256)
CLASSES, PROTOTYPES = 5, 8


def iou(first: np.ndarray, second: np.ndarray) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = max(sides[0], 0) * max(sides[1], 0)
    return shared / (np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - shared)


def random_objects(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes xyxy in the network's pixels, scores, classes and coefficients; every third is a copy, moved a little."""
    rng = np.random.default_rng(seed)
    centers, sides = rng.uniform((0, 0), NETWORK_WH, (count, 2)), rng.uniform(20, 90, (count, 2))
    classes = rng.integers(0, CLASSES, count)
    for copy in range(2, count, 3):
        centers[copy], sides[copy] = centers[copy - 1] + rng.uniform(-6, 6, 2), sides[copy - 1]
        classes[copy] = classes[copy - 1] if copy % 2 else classes[copy]
    scores = rng.permutation(np.linspace(0.06, 0.97, count)) if count else np.zeros(0)
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    return boxes, scores, classes, rng.normal(size=(count, PROTOTYPES))


def reading_for(camera) -> Reading:
    placement = YOLO_SEG.image.placement(camera.size_wh, NETWORK_WH)
    return Reading(placement, CLASSES, 0.7)


def reference(camera, objects, prototypes, found, suppress: bool) -> list:
    """Greedy suppression inside a class; a mask is the weighted sum of the prototypes above 0 inside the box."""
    boxes, scores, classes, coefficients = objects
    kept: list[int] = []
    for one in np.argsort(-scores):
        better = [other for other in kept if classes[other] == classes[one]]
        if not suppress or all(iou(boxes[one], boxes[other]) <= 0.7 for other in better):
            kept.append(one)
    results = []
    for one in kept[:MAX_ROWS]:
        box = camera.box(boxes[one])
        logits = sum(weight * field.astype(float) for weight, field in zip(coefficients[one], prototypes, strict=True))
        results.append(found(box, scores[one], classes[one], camera.cropped(camera.sampled(logits) > 0, box)))
    return results


@pytest.mark.parametrize("count", [0, 1, 24])
def test_anchors_are_read_suppressed_and_masked(count: int, size_wh, camera_in, blobs, found, check: Callable) -> None:
    camera = camera_in(size_wh, NETWORK_WH, "letterbox")
    boxes, scores, classes, coefficients = objects = random_objects(count, seed=count)
    anchors = 200
    detections = np.zeros((4 + CLASSES + PROTOTYPES, anchors), dtype=np.float32)
    detections[4 : 4 + CLASSES] = 0.04  # below every threshold
    places = np.random.default_rng(1).permutation(anchors)[:count]
    detections[:2, places] = (boxes[:, :2] + boxes[:, 2:]).T / 2
    detections[2:4, places] = (boxes[:, 2:] - boxes[:, :2]).T
    detections[4 + classes, places] = scores
    detections[4 + CLASSES :, places] = coefficients.T
    prototypes = blobs(PROTOTYPES, NETWORK_WH[1] // 4, NETWORK_WH[0] // 4)
    expected = reference(camera, objects, prototypes, found, suppress=True)
    assert count < 2 or len(expected) < count  # something was suppressed
    check(YOLO_SEG, {"detections": detections[None], "prototypes": prototypes[None]}, reading_for(camera), expected)


@pytest.mark.parametrize("count", [0, 1, 40, MAX_ROWS])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_rows_are_read_as_they_are(count: int, kind: type, camera_in, blobs, found, check: Callable) -> None:
    camera = camera_in((97, 133), NETWORK_WH, "letterbox")
    boxes, scores, classes, coefficients = random_objects(count, seed=count)
    rows = np.zeros((MAX_ROWS, 6 + PROTOTYPES), dtype=kind)
    rows[:count] = np.column_stack([boxes, scores, classes, coefficients])
    prototypes = blobs(PROTOTYPES, NETWORK_WH[1] // 4, NETWORK_WH[0] // 4).astype(kind)
    as_given = rows[:count].astype(float)
    objects = as_given[:, :4], as_given[:, 4], classes, as_given[:, 6:]
    expected = reference(camera, objects, prototypes, found, suppress=False)
    outputs = {"detections": rows[None], "prototypes": prototypes[None]}
    check(YOLO_SEG_END2END, outputs, reading_for(camera), expected)


def test_more_anchors_than_can_be_kept_are_cut_to_the_best() -> None:
    columns = np.arange(2000)
    detections = np.zeros((4 + 1 + 1, 2000), dtype=np.float32)
    detections[:4] = columns % 50 * 20 + 10, columns // 50 * 20 + 10, np.full(2000, 10), np.full(2000, 10)
    detections[4] = np.linspace(0.1, 0.9, 2000)
    outputs = {"detections": detections[None], "prototypes": np.ones((1, 1, 8, 8), dtype=np.float32)}
    output = YOLO_SEG.decode(outputs, Reading(YOLO_SEG.image.placement((64, 64), (64, 64)), 1, 0.7))
    assert len(output.scores) == MAX_ROWS
    assert output.scores.min() == detections[4, -MAX_ROWS]


@pytest.mark.parametrize(("row", "value"), [(0, np.inf), (2, np.nan), (4, np.nan)])
def test_numbers_that_are_none_are_refused(row: int, value: float) -> None:
    detections = np.zeros((1, 6, 10), dtype=np.float32)
    detections[0, 4, 3] = 0.9
    detections[0, row, 3] = value
    outputs = {"detections": detections, "prototypes": np.ones((1, 1, 8, 8), dtype=np.float32)}
    with pytest.raises(NotFiniteError):
        YOLO_SEG.decode(outputs, Reading(YOLO_SEG.image.placement((64, 64), (64, 64)), 1, 0.7))
