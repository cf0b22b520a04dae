"""YOLACT's outputs, held against a reference from the paper: SSD's boxes, Fast NMS, masks cut by their boxes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from instance_seg_ros.segmentation.families.family import Reading
from instance_seg_ros.segmentation.families.yolact import YOLACT
from instance_seg_ros.segmentation.model_file import ModelError

SIDE = 138  # of a network's square image: 18 + 9 + 5 + 3 + 2 cells a side
CLASSES, PROTOTYPES = 3, 8


def anchors() -> np.ndarray:
    """cx, cy, w, h in shares of the image: three squares on each cell of five levels."""
    rows = []
    for cells, side in zip((18, 9, 5, 3, 2), (24, 48, 96, 192, 384), strict=True):
        for j, i in product(range(cells), range(cells)):
            for ratio in (1, 1 / 2, 2):
                rows.append(((i + 0.5) / cells, (j + 0.5) / cells, *[side * ratio**0.5 / SIDE] * 2))
    return np.array(rows)


def random_outputs(count: int, blobs, as_logits: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(count)
    total = len(anchors())
    logits = np.full((total, 1 + CLASSES), -5.0)
    logits[:, 0] = 5
    logits[rng.permutation(total - 40)[:count]] = rng.normal(0, 2, (count, 1 + CLASSES))
    classes = logits if as_logits else torch.softmax(torch.tensor(logits), dim=1).numpy()
    return {
        "regressions": rng.normal(0, 1, (1, total, 4)).astype(np.float32),
        "classes": classes[None].astype(np.float32),
        "coefficients": np.tanh(rng.normal(size=(1, total, PROTOTYPES))).astype(np.float32),
        "prototypes": np.abs(blobs(PROTOTYPES, 35, 35)).transpose(1, 2, 0)[None],
    }


def reference(outputs: dict[str, np.ndarray], camera, found) -> list:
    prior, regression = anchors(), outputs["regressions"][0].astype(float)
    centers = prior[:, :2] + regression[:, :2] * 0.1 * prior[:, 2:]
    sides = prior[:, 2:] * np.exp(regression[:, 2:] * 0.2)
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    classes = torch.tensor(outputs["classes"][0].astype(float))
    probabilities = (classes if classes.min() >= 0 else torch.softmax(classes, dim=1)).numpy()[:, 1:]
    results = []
    for class_id in range(CLASSES):
        order = [one for one in np.argsort(-probabilities[:, class_id]) if probabilities[one, class_id] >= 0.05]
        for place, one in enumerate(order):
            if all(iou(boxes[one], boxes[better]) <= 0.5 for better in order[:place]):
                results.append((probabilities[one, class_id], class_id, one))
    objects = []
    for score, class_id, one in sorted(results, reverse=True)[:100]:
        logits = outputs["prototypes"][0].astype(float) @ outputs["coefficients"][0, one].astype(float)
        probability = 1 / (1 + np.exp(-logits))
        rows, columns = np.indices(probability.shape)
        x0, y0, x1, y1 = boxes[one] * 35 + [-1, -1, 1, 1]
        probability[~((columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1))] = 0
        whole = F.interpolate(torch.tensor(probability)[None, None], size=camera.size_wh[::-1], mode="bilinear")
        mask = whole[0, 0].numpy() > 0.5
        objects.append(found(camera.box(boxes[one] * SIDE), score, class_id, mask))
    return objects


def iou(first: np.ndarray, second: np.ndarray) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = max(sides[0], 0) * max(sides[1], 0)
    return shared / (np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - shared)


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("as_logits", [True, False])
def test_anchors_are_read_suppressed_and_masked(
    count: int, as_logits: bool, size_wh, camera_in, blobs, found, check: Callable
) -> None:
    camera = camera_in(size_wh, (SIDE, SIDE), "stretch")
    outputs = random_outputs(count, blobs, as_logits)
    expected = reference(outputs, camera, found)
    assert count < 2 or len(expected) > 5
    check(YOLACT, outputs, Reading(YOLACT.image.placement(size_wh, (SIDE, SIDE)), CLASSES, 0.5), expected)


def test_other_anchors_are_refused_with_both_numbers(blobs) -> None:
    outputs = {name: array[:, :-3] for name, array in random_outputs(1, blobs, True).items() if name != "prototypes"}
    outputs["prototypes"] = np.zeros((1, 35, 35, PROTOTYPES), dtype=np.float32)
    total = len(anchors())
    with pytest.raises(ModelError, match=f"{total - 3} anchors were found and {total} expected"):
        YOLACT.decode(outputs, Reading(YOLACT.image.placement((64, 48), (SIDE, SIDE)), CLASSES, 0.5))
