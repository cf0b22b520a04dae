"""Mean IoU on small class images counted by hand, and beside a confusion matrix computed another way."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.instances import Instances, boxes_of_masks
from instance_seg_ros.learning.evaluation.classes import UNKNOWN_CLASS
from instance_seg_ros.learning.evaluation.semantic_iou import (
    BACKGROUND,
    PixelCounts,
    SemanticCounts,
    count_pixels,
    count_things,
)

B, U = BACKGROUND, UNKNOWN_CLASS


@pytest.mark.parametrize(
    ("truth", "predicted", "void", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], {0: (2, 2), 1: (2, 2)}),
        ([0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0], {0: (1, 2), 1: (2, 3)}),
        ([0, 0, B, B], [0, B, 0, B], [0, 0, 0, 0], {0: (1, 3)}),
        ([0, 0, B, B], [U, 0, U, B], [0, 0, 0, 0], {0: (1, 2)}),  # of a class that the data do not have
        ([0, 0, B, B], [0, 0, 0, 1], [0, 0, 1, 1], {0: (2, 2)}),  # nothing is known of the last two
        ([B, B, B, B], [B, B, B, B], [0, 0, 0, 0], {}),
        ([B, B, B, 0], [3, B, B, 0], [0, 0, 0, 0], {3: (0, 1), 0: (1, 1)}),
    ],
)
def test_pixels_are_counted(
    truth: list[int], predicted: list[int], void: list[int], expected: dict[int, tuple[int, int]]
) -> None:
    counts = count_pixels(np.array([truth]), np.array([predicted]), np.array([void], dtype=bool))
    assert counts.by_class == {key: PixelCounts(*pair) for key, pair in expected.items()}


def test_the_mean_is_over_all_images_together_and_over_classes_with_pixels() -> None:
    """Two images with 1 of 2 and 3 of 4 pixels of one class are 4 of 6, not the mean of both."""
    one, other = SemanticCounts({0: PixelCounts(1, 2), 1: PixelCounts(1, 4)}), SemanticCounts({0: PixelCounts(3, 4)})
    quality = (one + other + SemanticCounts({2: PixelCounts(0, 0)})).quality()
    assert (quality.mean_iou, quality.classes) == (pytest.approx((4 / 6 + 1 / 4) / 2), 2)
    assert math.isnan(SemanticCounts().quality().mean_iou)


def test_it_is_the_mean_iou_of_a_confusion_matrix() -> None:
    """By the definition on the whole matrix: the diagonal over rows and columns without it counted twice."""
    rng = np.random.default_rng(0)
    counts, matrix = SemanticCounts(), np.zeros((5, 5))
    for _ in range(4):
        truth = rng.integers(0, 5, (20, 30))
        predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 5, truth.shape))
        counts += count_pixels(truth, predicted, np.zeros(truth.shape, bool))
        np.add.at(matrix, (truth, predicted), 1)
    iou = np.diag(matrix) / (matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix))
    assert counts.quality().mean_iou == pytest.approx(iou.mean())


def test_torchmetrics_gives_the_same() -> None:
    segmentation = pytest.importorskip("torchmetrics.segmentation")
    import torch

    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, (1, 20, 30))
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 4, truth.shape))
    theirs = segmentation.MeanIoU(num_classes=4, input_format="index")(
        torch.from_numpy(predicted), torch.from_numpy(truth)
    )
    ours = count_pixels(truth[0], predicted[0], np.zeros(truth.shape[1:], bool)).quality()
    assert ours.mean_iou == pytest.approx(float(theirs))


def test_things_are_painted_by_their_class_and_what_is_labelled_is_known() -> None:
    truth = instances([[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]], [0, 1])
    predicted = instances([[1, 0, 0, 0, 0, 1], [0, 1, 1, 1, 0, 0]], [0, 0])
    void = np.array([[1, 1, 1, 0, 0, 1]], dtype=bool)
    counts = count_things(truth, predicted, np.array([0, 1]), void)
    # Class 0: pixel 0 of 0 and 1. Class 1: pixel 2 of 1, 2 and 3. The last pixel is void.
    assert counts.by_class == {0: PixelCounts(1, 2), 1: PixelCounts(1, 3)}


def test_pixels_of_stuff_are_of_its_class() -> None:
    truth, predicted = instances([[1, 1, 0, 0, 0, 0]], [0]), instances([[1, 0, 0, 0, 0, 0]], [0])
    truth = replace(truth, stuff=np.array([[-1, -1, 1, 1, 1, -1]], dtype=np.int32))
    predicted = replace(predicted, stuff=np.array([[-1, 1, 1, 1, -1, 1]], dtype=np.int32))
    counts = count_things(truth, predicted, np.array([0]), np.zeros((1, 6), bool))
    assert counts.by_class == {0: PixelCounts(1, 2), 1: PixelCounts(2, 5)}


def instances(rows: list[list[int]], class_ids: list[int]) -> Instances:
    masks = np.array(rows, dtype=bool)[:, None]
    return Instances(
        masks, boxes_of_masks(masks), np.ones(len(rows), np.float32), np.array(class_ids, np.int64), ("a", "b")
    )
