"""Runs a segmenter over labelled frames and summarises."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from instance_seg_ros.evaluation.average_precision import AveragePrecision
from instance_seg_ros.evaluation.metrics import ImageMetrics, image_metrics, without_clutter
from instance_seg_ros.evaluation.sources import LabelledFrame
from instance_seg_ros.instances import Instances
from instance_seg_ros.segmentation.segmenter import Segmenter

ENOUGH_FOUND = 2 / 3
SIZE_LIMITS = (0.0, 0.002, 0.005, 0.015, 1.0)
"""Limits of the size classes: shares of the image (0.002 is 154 px of 320x240, 614 px of 640x480)."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame, what was predicted in it and how good that is.

    Attributes:
        source: the frame with its objects.
        instances: everything the segmenter gave.
        counted: (M,) bool, the predictions that the metrics look at.
        metrics: of the frame.
        segment_ms: time of the segmenter.
    """

    source: LabelledFrame
    instances: Instances
    counted: np.ndarray
    metrics: ImageMetrics
    segment_ms: float


def evaluate_frame(segmenter: Segmenter, source: LabelledFrame) -> FrameResult:
    """Segments a frame and measures the result."""
    start = time.perf_counter()
    instances = segmenter.segment(source.frame)
    segment_ms = 1000 * (time.perf_counter() - start)
    counted = np.ones(len(instances), dtype=bool)
    if not source.complete:
        counted = without_clutter(source.truth, instances.masks)
    metrics = image_metrics(source.truth, instances.masks[counted])
    return FrameResult(source, instances, counted, metrics, segment_ms)


def mean_metrics(metrics: Iterable[ImageMetrics]) -> dict[str, float]:
    """Means over images, in per cent; NaN without images."""
    rows = [
        (
            m.overlap.precision,
            m.overlap.recall,
            m.overlap.f,
            m.boundary.precision,
            m.boundary.recall,
            m.boundary.f,
            m.good_share,
            m.found_share,
        )
        for m in metrics
    ]
    names = (
        "overlap_p",
        "overlap_r",
        "overlap_f",
        "boundary_p",
        "boundary_r",
        "boundary_f",
        "share_f_above_75",
        "found_share",
    )
    if not rows:
        return dict.fromkeys(names, float("nan"))
    return {name: float(100 * value) for name, value in zip(names, np.mean(rows, axis=0), strict=True)}


def found_by_size(metrics: Iterable[ImageMetrics]) -> dict[str, dict[str, int]]:
    """Labelled and found objects by the share of the image that they cover."""
    pairs = [pair for m in metrics for pair in zip(m.image_shares, m.objects_found, strict=True)]
    classes = {}
    for low, high in itertools.pairwise(SIZE_LIMITS):
        found = [hit for share, hit in pairs if low < share <= high]
        classes[f"{100 * low:g} to {100 * high:g} %"] = {"objects": len(found), "found": sum(found)}
    return classes


def summarise(results: list[FrameResult]) -> dict[str, Any]:
    """JSON-ready facts over all frames; mask AP only where pycocotools is installed."""
    metrics = [result.metrics for result in results]
    labelled = [m for m in metrics if m.labelled]
    summary: dict[str, Any] = {
        "frames": len(results),
        "frames_with_two_thirds_found": sum(m.found_share >= ENOUGH_FOUND - 1e-9 for m in labelled),
        "frames_with_labels": len(labelled),
        "objects": sum(m.labelled for m in metrics),
        "objects_found": sum(m.found for m in metrics),
        "found_by_size": found_by_size(metrics),
        "median_segment_ms": float(np.median([r.segment_ms for r in results])) if results else float("nan"),
        **mean_metrics(metrics),
    }
    if importlib.util.find_spec("pycocotools") is not None:
        precision = AveragePrecision()
        for result in results:
            kept = result.instances[result.counted]
            precision.add(result.source.truth, kept.masks, kept.scores)
        summary.update({f"mask_{name}": value for name, value in precision.result().items()})
    return summary
