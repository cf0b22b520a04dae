"""Overlap, boundary and found-share metrics of one image.

Overlap and boundary P/R/F and the share of objects above F 0.75 follow the protocol of unseen-object segmentation
(Xie et al., UOIS-Net, T-RO 2021, after Dave et al., 2019): objects and predictions are matched one to one by the
Hungarian method so that the summed F is largest, and values are taken per image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from instance_seg_ros.core.masks import Masks, mask_areas, mask_intersections

GOOD_F = 0.75
FOUND_IOU = 0.5
_BOUNDARY_TOLERANCE = 0.003
_PIECE_SHARE = 0.1


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall in [0, 1]."""

    precision: float
    recall: float

    @property
    def f(self) -> float:
        """Harmonic mean; 0 where both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total > 0 else 0.0


@dataclass(frozen=True)
class ImageMetrics:
    """Metrics of one image.

    Attributes:
        overlap, boundary: see the module.
        good_share: matched pairs with F > 0.75, divided by the number of objects ("%75"); see `image_metrics` for
            images without any.
        objects_iou: for each labelled object, the largest mask IoU of a prediction with it.
        objects_best: for each labelled object, the index of that prediction; None where nothing is predicted.
        objects_split: for each labelled object, whether it is several predictions: at least two lie mostly on it, and
            each covers a tenth of it.
        objects_merged: for each labelled object, whether a prediction covers most of it and of another one.
        predicted: number of predictions that counted.
    """

    overlap: PrecisionRecall
    boundary: PrecisionRecall
    good_share: float
    objects_iou: tuple[float, ...]
    objects_best: tuple[int | None, ...]
    objects_split: tuple[bool, ...]
    objects_merged: tuple[bool, ...]
    predicted: int

    @property
    def labelled(self) -> int:
        """Number of labelled objects."""
        return len(self.objects_iou)

    @property
    def found(self) -> int:
        """Number of labelled objects that were found: with a mask IoU > 0.5."""
        return sum(iou > FOUND_IOU for iou in self.objects_iou)

    @property
    def found_share(self) -> float:
        """Found by labelled objects; 1 for an image without any."""
        return self.found / self.labelled if self.labelled else 1.0


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The outer contours (H, W) of a mask's pieces, 1 px wide and inside them, also along the image's border.

    Holes have none, as in the published evaluation.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1) > 0


def boundary_tolerance_px(height: int, width: int) -> int:
    """ceil(0.003 x diagonal): 3 px at 640x480."""
    return math.ceil(_BOUNDARY_TOLERANCE * math.hypot(height, width))


def _dilated(mask: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    span = np.arange(-radius_px, radius_px + 1)
    disk = (span[:, None] ** 2 + span[None] ** 2 <= radius_px**2).astype(np.uint8)
    return cv2.dilate(mask.astype(np.uint8), disk) > 0


def match(f_values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns (K,) of the one-to-one assignment of (N, M) with the largest sum; pairs of 0 are left out."""
    rows, columns = linear_sum_assignment(f_values, maximize=True)
    matched = np.flatnonzero(f_values[rows, columns] > 0)
    return rows[matched], columns[matched]


def image_metrics(truth: Masks, predicted: Masks) -> ImageMetrics:
    """Metrics of one image.

    Args:
        truth: (N, H, W) bool masks of the objects.
        predicted: (M, H, W) bool masks.

    Without predictions but with objects P is 1 and R 0; with predictions but no objects the reverse; both have F and
    %75 of 0. For neither, everything is 1. This is how the published evaluation counts.
    """
    count, predictions = len(truth), len(predicted)
    truth_areas, predicted_areas = mask_areas(truth), mask_areas(predicted)
    if count == 0 or predictions == 0:
        nothing = PrecisionRecall(float(predictions == 0), float(count == 0))
        none = (False,) * count
        return ImageMetrics(nothing, nothing, nothing.f, (0.0,) * count, (None,) * count, none, none, predictions)
    common = mask_intersections(truth, predicted)
    totals = truth_areas[:, None] + predicted_areas[None]
    f_values = 2 * common / np.maximum(totals, 1)
    rows, columns = match(f_values)
    matched = common[rows, columns].sum()
    overlap = PrecisionRecall(matched / max(predicted_areas.sum(), 1), matched / max(truth_areas.sum(), 1))
    iou = common / np.maximum(totals - common, 1)
    of_truth = common / np.maximum(truth_areas[:, None], 1)
    is_piece = (common > 0.5 * predicted_areas[None]) & (of_truth >= _PIECE_SHARE)
    holds_most = of_truth > 0.5
    return ImageMetrics(
        overlap=overlap,
        boundary=_boundary_metrics(truth, predicted, rows, columns),
        good_share=float((f_values[rows, columns] > GOOD_F).sum() / count),
        objects_iou=tuple(iou.max(axis=1).tolist()),
        objects_best=tuple(iou.argmax(axis=1).tolist()),
        objects_split=tuple((is_piece.sum(axis=1) > 1).tolist()),
        objects_merged=tuple((holds_most & (holds_most.sum(axis=0) > 1)[None]).any(axis=1).tolist()),
        predicted=predictions,
    )


def _boundary_metrics(
    truth: Masks, predicted: Masks, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> PrecisionRecall:
    truth_edges = np.stack([boundary(mask) for mask in truth])
    predicted_edges = np.stack([boundary(mask) for mask in predicted])
    radius_px = boundary_tolerance_px(*truth.shape[1:])
    right = hit = 0
    for row, column in zip(rows, columns, strict=True):
        right += int(np.count_nonzero(predicted_edges[column] & _dilated(truth_edges[row], radius_px)))
        hit += int(np.count_nonzero(truth_edges[row] & _dilated(predicted_edges[column], radius_px)))
    return PrecisionRecall(right / max(int(predicted_edges.sum()), 1), hit / max(int(truth_edges.sum()), 1))
