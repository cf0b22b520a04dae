"""COCO's mask average precision and Boundary AP, over all classes as one and by class, by faster-coco-eval.

Boundary AP (Cheng et al., "Boundary IoU", CVPR 2021) is the same with the smaller of mask IoU and boundary IoU in place
of the mask IoU. Boundary IoU compares what lies within d of each mask's outline, d being 2 % of the image's diagonal.

Small, medium and large objects are COCO's (below 32 x 32 px, below 96 x 96 px), counted as in an image of 640x480, so
that a camera's resolution does not change an object's class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.learning.evaluation.classes import UNKNOWN_CLASS, class_ids_in

_REFERENCE_PIXELS = 640 * 480
_BOUNDARY_SHARE = 0.02
_IOU_THRESHOLDS = (0.5, 0.75, 0.9)

Region = dict[str, Any]


@dataclass(frozen=True)
class EncodedImage:
    """One image's objects and predictions in COCO's run-length code.

    Attributes:
        size_hw: of the image.
        truth: regions of the objects.
        predicted: those of the predictions.
        truth_classes: class indices of the objects.
        predicted_classes: those of the predictions, among the objects' classes; UNKNOWN_CLASS for any other.
        scores: of the predictions.
    """

    size_hw: tuple[int, int]
    truth: tuple[Region, ...]
    predicted: tuple[Region, ...]
    truth_classes: tuple[int, ...]
    predicted_classes: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class ClassPrecision:
    """Average precision of one class, or the mean over several; in [0, 1], NaN without objects.

    Attributes:
        ap, ap50, ap75: over IoU 0.5:0.95, at 0.5, at 0.75.
        boundary_ap: Boundary AP over IoU 0.5:0.95.
    """

    ap: float
    ap50: float
    ap75: float
    boundary_ap: float


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision in [0, 1]; NaN without objects.

    Attributes:
        curves: for each IoU threshold, the precision (101,) at the recalls 0, 0.01, ... 1, interpolated as COCO does;
            empty without objects.
        ap, ap50, ap75: over IoU 0.5:0.95, at 0.5, at 0.75.
        ap_small, ap_medium, ap_large: over IoU 0.5:0.95, by size.
        ar100: recall over IoU 0.5:0.95 with at most 100 predictions an image.
        boundary_ap, boundary_ap50, boundary_ap75: Boundary AP.
    """

    curves: dict[float, tuple[float, ...]]
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar100: float
    boundary_ap: float
    boundary_ap50: float
    boundary_ap75: float

    def values(self) -> dict[str, float]:
        """The figures by name, without the curves."""
        return {name: value for name, value in vars(self).items() if name != "curves"}


def encode(truth: Instances, predicted: Instances) -> EncodedImage:
    """One image: its objects and what was predicted. Classes are the same where their names are.

    Raises:
        ImportError: faster-coco-eval is not installed.
    """
    return EncodedImage(
        size_hw=truth.image_size_wh[::-1],
        truth=tuple(_encoded(mask) for mask in truth.masks),
        predicted=tuple(_encoded(mask) for mask in predicted.masks),
        truth_classes=tuple(truth.class_ids.tolist()),
        predicted_classes=tuple(class_ids_in(predicted, truth.class_names).tolist()),
        scores=tuple(predicted.scores.tolist()),
    )


def _encoded(mask: NDArray[np.bool_]) -> Region:
    from faster_coco_eval.core import mask as coco_mask

    region: Region = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return region


def average_precision(images: Sequence[EncodedImage]) -> AveragePrecision:
    """Average precision over all of some images together, whatever the classes.

    Raises:
        ImportError: faster-coco-eval is not installed.
    """
    one_class = [_as_one_class(image) for image in images]
    mask, boundary = (_evaluated(one_class, 1, of_boundary) for of_boundary in (False, True))
    # The library says -1 where there is nothing to measure.
    stats = [float("nan") if value < 0 else float(value) for value in mask.stats]
    edges = [float("nan") if value < 0 else float(value) for value in boundary.stats]
    thresholds = mask.params.iouThrs
    curves = {
        iou: tuple(mask.eval["precision"][int(np.abs(thresholds - iou).argmin()), :, 0, 0, -1].tolist())
        for iou in _IOU_THRESHOLDS
        if any(image.truth for image in images)
    }
    return AveragePrecision(curves, *[*stats[:6], stats[8], *edges[:3]])


def class_precisions(images: Sequence[EncodedImage], classes: int) -> list[ClassPrecision]:
    """Average precision of each class, over all of some images together; predictions of an unknown class are left out.

    Args:
        images: of `encode`.
        classes: number of classes.

    Raises:
        ImportError: faster-coco-eval is not installed.
    """
    mask, boundary = (_evaluated(images, classes, of_boundary).eval["precision"] for of_boundary in (False, True))
    at_50, at_75 = 0, 5  # of COCO's IoU thresholds, 0.5, 0.55, ... 0.95
    return [
        ClassPrecision(
            _mean_precision(mask[:, :, index]),
            _mean_precision(mask[at_50, :, index]),
            _mean_precision(mask[at_75, :, index]),
            _mean_precision(boundary[:, :, index]),
        )
        for index in range(classes)
    ]


def mean_over_classes(precisions: Sequence[ClassPrecision]) -> ClassPrecision:
    """The mean over the classes that have an object, as COCO computes it; NaN where none has."""
    values = np.array([astuple(each) for each in precisions if not math.isnan(each.ap)])
    return ClassPrecision(*(values.mean(axis=0).tolist() if len(values) else 4 * [float("nan")]))


def _mean_precision(precision: NDArray[np.float64]) -> float:
    """Over thresholds and recalls of the library's (..., areas, detections), for all areas and 100 detections."""
    value = float(precision[..., 0, -1].mean())
    return float("nan") if value < 0 else value  # -1 everywhere without objects


def _as_one_class(image: EncodedImage) -> EncodedImage:
    return replace(image, truth_classes=(0,) * len(image.truth), predicted_classes=(0,) * len(image.predicted))


def _evaluated(images: Sequence[EncodedImage], classes: int, of_boundary: bool) -> Any:
    """A finished evaluation, by mask IoU or by the smaller of mask and boundary IoU."""
    from faster_coco_eval import COCO, COCOeval_faster

    def dataset(annotations: list[dict[str, Any]]) -> Any:
        result = COCO()
        result.dataset = {
            "info": {},
            "images": [{"id": i, "height": image.size_hw[0], "width": image.size_hw[1]} for i, image in entries],
            "annotations": annotations,
            "categories": [{"id": index + 1, "name": str(index)} for index in range(classes)],
        }
        result.createIndex()
        return result

    entries = list(enumerate(images, start=1))
    evaluation = COCOeval_faster(
        dataset(_annotations(entries, predicted=False)),
        dataset(_annotations(entries, predicted=True)),
        "boundary" if of_boundary else "segm",
        print_function=lambda text: None,
        boundary_dilation_ratio=_BOUNDARY_SHARE,
    )
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def _annotations(entries: Sequence[tuple[int, EncodedImage]], predicted: bool) -> list[dict[str, Any]]:
    """COCO's annotations of the objects, or of the predictions of known classes.

    Ids count from 1, because 0 means unmatched there.
    """
    from faster_coco_eval.core import mask as coco_mask

    annotations: list[dict[str, Any]] = []
    for image_id, image in entries:
        regions = zip(image.predicted, image.predicted_classes, image.scores, strict=True)
        if not predicted:
            regions = zip(image.truth, image.truth_classes, [1.0] * len(image.truth), strict=True)
        for region, class_index, score in regions:
            if class_index == UNKNOWN_CLASS:
                continue
            area = float(coco_mask.area(region)) * _REFERENCE_PIXELS / math.prod(image.size_hw)
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": class_index + 1, "score": score}
            annotations.append({**entry, "iscrowd": 0, "area": area, "segmentation": region})
    return annotations
