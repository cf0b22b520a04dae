"""Panoptic quality (Kirillov et al., *Panoptic Segmentation*, CVPR 2019), counted as panopticapi does.

A labelled and a predicted segment of one class match if their IoU, without pixels that nothing is known of, is above
0.5. PQ is the sum of the matches' IoU over the matches and half of all other segments; SQ is their mean IoU, and RQ the
F value of finding them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import NO_STUFF, Instances

VOID = 0
"""The label of pixels that nothing is known of."""
_MATCH_IOU = 0.5
_MAX_VOID_SHARE = 0.5


@dataclass(frozen=True)
class ClassCounts:
    """Of one class: the matches' summed IoU, the matches, and the predicted and labelled segments without a match."""

    iou_sum: float = 0.0
    matched: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: ClassCounts) -> ClassCounts:
        return ClassCounts(
            self.iou_sum + other.iou_sum,
            self.matched + other.matched,
            self.wrong + other.wrong,
            self.missed + other.missed,
        )


@dataclass(frozen=True)
class PanopticQuality:
    """Means over the classes that have segments, in [0, 1]; NaN where there are none.

    Attributes:
        classes: how many have segments.
    """

    pq: float
    sq: float
    rq: float
    classes: int


@dataclass(frozen=True)
class PanopticCounts:
    """Counts by class index; those of several images add up."""

    by_class: Mapping[int, ClassCounts] = field(default_factory=dict)

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        both = self.by_class.keys() | other.by_class.keys()
        none = ClassCounts()
        return PanopticCounts({key: self.by_class.get(key, none) + other.by_class.get(key, none) for key in both})

    def quality(self) -> PanopticQuality:
        """Over all classes."""
        counts = [count for count in self.by_class.values() if count.matched + count.wrong + count.missed]
        if not counts:
            nan = float("nan")
            return PanopticQuality(nan, nan, nan, 0)
        segments = [count.matched + (count.wrong + count.missed) / 2 for count in counts]
        return PanopticQuality(
            pq=float(np.mean([count.iou_sum / total for count, total in zip(counts, segments, strict=True)])),
            sq=float(np.mean([count.iou_sum / count.matched if count.matched else 0.0 for count in counts])),
            rq=float(np.mean([count.matched / total for count, total in zip(counts, segments, strict=True)])),
            classes=len(counts),
        )


def count_segments(
    truth: NDArray[np.integer],
    truth_classes: Mapping[int, int],
    predicted: NDArray[np.integer],
    predicted_classes: Mapping[int, int],
) -> PanopticCounts:
    """The counts of one image.

    Args:
        truth, predicted: (H, W), the segment of each pixel; VOID where nothing is known, or nothing predicted.
        truth_classes, predicted_classes: class index of each segment that has pixels.
    """
    pairs, sizes = np.unique(np.stack([truth.ravel(), predicted.ravel()]), axis=1, return_counts=True)
    common = {(int(one), int(other)): int(size) for (one, other), size in zip(pairs.T, sizes, strict=True)}
    truth_px, predicted_px = _pixels(truth), _pixels(predicted)
    counts: dict[int, ClassCounts] = {}

    def add(class_id: int, count: ClassCounts) -> None:
        counts[class_id] = counts.get(class_id, ClassCounts()) + count

    matched_truth, matched_predicted = set(), set()
    for (one, other), shared in common.items():
        if VOID in (one, other) or truth_classes[one] != predicted_classes[other]:
            continue
        iou = shared / (truth_px[one] + predicted_px[other] - shared - common.get((VOID, other), 0))
        if iou > _MATCH_IOU:
            add(truth_classes[one], ClassCounts(iou_sum=iou, matched=1))
            matched_truth.add(one)
            matched_predicted.add(other)
    for one in truth_px.keys() - matched_truth - {VOID}:
        add(truth_classes[one], ClassCounts(missed=1))
    for other in predicted_px.keys() - matched_predicted - {VOID}:
        if common.get((VOID, other), 0) <= _MAX_VOID_SHARE * predicted_px[other]:
            add(predicted_classes[other], ClassCounts(wrong=1))
    return PanopticCounts(counts)


def _pixels(labels: NDArray[np.integer]) -> dict[int, int]:
    values, sizes = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), sizes.tolist(), strict=True))


def count_things(
    truth: Instances, predicted: Instances, predicted_class_ids: NDArray[np.int64], void: NDArray[np.bool_]
) -> PanopticCounts:
    """The counts of things and stuff; what is neither is one segment that a prediction may be wrong on.

    Args:
        truth, predicted: of one image; where masks share a pixel, the first has it. Stuff, where both have it, is one
            segment of each class; that of the prediction in the truth's classes.
        predicted_class_ids: (M,) class of each prediction in the truth's classes.
        void: (H, W), where nothing is known; what is labelled is known all the same.
    """
    truth_labels, classes = _painted(truth, truth.class_ids)
    predicted_labels, of_predicted = _painted(predicted, predicted_class_ids)
    background = max(classes, default=VOID) + 1
    truth_labels[(truth_labels == VOID) & ~void] = background
    counts = count_segments(truth_labels, classes | {background: _NOT_LABELLED}, predicted_labels, of_predicted)
    return PanopticCounts({key: count for key, count in counts.by_class.items() if key != _NOT_LABELLED})


_NOT_LABELLED = -2


def _painted(instances: Instances, class_ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], dict[int, int]]:
    """(H, W): 1 and up by the index of the first mask that has a pixel, then by kinds of stuff, VOID elsewhere.

    With the class of each label.
    """
    masks, count = instances.masks, len(instances)
    classes = dict(enumerate(class_ids.tolist(), start=1))
    labels = np.full(masks.shape[1:], VOID, dtype=np.int32)
    if instances.stuff is not None:
        np.copyto(labels, count + 1 + instances.stuff, where=instances.stuff != NO_STUFF)
        classes |= {count + 1 + kind: kind for kind in np.unique(instances.stuff).tolist() if kind != NO_STUFF}
    for label in range(count, 0, -1):
        labels[masks[label - 1]] = label
    return labels, classes
