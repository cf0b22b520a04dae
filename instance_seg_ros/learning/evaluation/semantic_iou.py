"""Mean IoU of classes over pixels, as PASCAL VOC defines it (Everingham et al., IJCV 2010): whose pixels are whose.

The IoU of a class is the number of pixels that are labelled and predicted so, over those that are one or the other, in
all images together; the mean is over the classes that have pixels. The background counts for no class of its own: what
is predicted there is wrong, and what is missed there is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import NO_STUFF, Instances
from instance_seg_ros.learning.evaluation.classes import UNKNOWN_CLASS

BACKGROUND = -2
"""What is no thing: a value of class images beside the indices of classes and UNKNOWN_CLASS."""


@dataclass(frozen=True)
class PixelCounts:
    """Of one class: the pixels that are labelled and predicted so, and those that are one or the other."""

    shared: int = 0
    either: int = 0

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(self.shared + other.shared, self.either + other.either)


@dataclass(frozen=True)
class SemanticQuality:
    """The mean IoU over so many classes that have pixels, in [0, 1]; NaN where there are none."""

    mean_iou: float
    classes: int


@dataclass(frozen=True)
class SemanticCounts:
    """Counts by class index; those of several images add up."""

    by_class: Mapping[int, PixelCounts] = field(default_factory=dict)

    def __add__(self, other: SemanticCounts) -> SemanticCounts:
        both = self.by_class.keys() | other.by_class.keys()
        none = PixelCounts()
        return SemanticCounts({key: self.by_class.get(key, none) + other.by_class.get(key, none) for key in both})

    def quality(self) -> SemanticQuality:
        """Over all classes."""
        ious = [count.shared / count.either for count in self.by_class.values() if count.either]
        return SemanticQuality(float(np.mean(ious)) if ious else float("nan"), len(ious))


def count_pixels(truth: NDArray[np.integer], predicted: NDArray[np.integer], void: NDArray[np.bool_]) -> SemanticCounts:
    """The counts of one image.

    Args:
        truth, predicted: (H, W), the class index of each pixel, or BACKGROUND, or UNKNOWN_CLASS for a prediction of a
            class that the labels do not have.
        void: (H, W), where nothing is known; such pixels count for nothing.
    """
    pairs, sizes = np.unique(np.stack([truth[~void], predicted[~void]]), axis=1, return_counts=True)
    counts = SemanticCounts()
    for (one, other), size in zip(pairs.T.tolist(), sizes.tolist(), strict=True):
        shared = size if one == other else 0
        for class_id in {one, other} - {BACKGROUND, UNKNOWN_CLASS}:
            counts += SemanticCounts({class_id: PixelCounts(shared, size)})
    return counts


def count_things(
    truth: Instances, predicted: Instances, predicted_class_ids: NDArray[np.int64], void: NDArray[np.bool_]
) -> SemanticCounts:
    """The counts of the classes of things and stuff.

    Args:
        truth, predicted: of one image; where masks share a pixel, the first has it. Stuff of the prediction is in the
            truth's classes.
        predicted_class_ids: (M,) class of each prediction in the truth's classes, or UNKNOWN_CLASS.
        void: (H, W), where nothing is known; what is labelled is known all the same.
    """
    labelled = _classes(truth, truth.class_ids)
    return count_pixels(labelled, _classes(predicted, predicted_class_ids), void & (labelled == BACKGROUND))


def _classes(instances: Instances, class_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """(H, W): the class of the first mask that has a pixel, or of stuff, BACKGROUND elsewhere."""
    masks, stuff = instances.masks, instances.stuff
    classes = np.full(masks.shape[1:], BACKGROUND, dtype=np.int64)
    if stuff is not None:
        np.copyto(classes, stuff, where=stuff != NO_STUFF)
    for mask, class_id in zip(masks[::-1], class_ids[::-1], strict=True):
        classes[mask] = class_id
    return classes
