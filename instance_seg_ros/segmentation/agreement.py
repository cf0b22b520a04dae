"""Whether two networks find the same in a frame, apart from differences that rounding explains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.masks import mask_ious
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

_SURE = 0.5
"""Objects of this score and above are compared; others come and go with the rounding."""
_MIN_SCORE_SHARE = 0.5
_MIN_IOU = 0.5
_MAX_MISSING_SHARE = 0.5
"""Networks that compute in 16 bits differ in an object now and then; a broken one shares hardly any."""

_SAME_MASK_IOU = 0.9
_MAX_ALONE_SHARE = 0.05


def disagreement(trusted: NetworkOutput, other: NetworkOutput) -> str | None:
    """How the other network's result for a frame differs by more than rounding explains; None where they agree.

    An object is the same if its class is the same, its box and its mask have an IoU of 0.5, and its score is at least
    half of the other one. Of the objects that either network is sure of, half must be found by the other as well. Where
    neither is sure of any, they agree.
    """
    same = trusted.class_ids[:, None] == other.class_ids
    same &= _iou_of_boxes(trusted.boxes_xyxy, other.boxes_xyxy) >= _MIN_IOU
    same &= mask_ious(trusted.masks > 0.5, other.masks > 0.5) >= _MIN_IOU
    for one, second, pairs, verb in ((trusted, other, same, "misses"), (other, trusted, same.T, "invents")):
        found = (pairs & (second.scores >= _MIN_SCORE_SHARE * one.scores[:, None])).any(axis=1)
        sure = one.scores >= _SURE
        missing, count = np.count_nonzero(sure & ~found), np.count_nonzero(sure)
        if missing > _MAX_MISSING_SHARE * count:
            return f"it {verb} {missing} of {count} objects"
    return None


def masks_disagreement(trusted: Instances, other: Instances) -> str | None:
    """How masks that were settled from one and the same output differ by more than rounding explains, or None.

    Masks with an IoU of 0.9 are the same. A twentieth of the pixels of either may lie in masks that only one has, since
    an instance that just keeps enough of its pixels, or just not, comes and goes with a pixel.
    """
    same = mask_ious(trusted.masks, other.masks) >= _SAME_MASK_IOU
    for instances, is_shared, verb in ((trusted, same.any(axis=1), "misses"), (other, same.any(axis=0), "invents")):
        pixels = instances.masks.sum(axis=(1, 2))
        alone = int(pixels[~is_shared].sum())
        if alone > _MAX_ALONE_SHARE * pixels.sum():
            return f"its masks differ from those that the CPU makes of its output: it {verb} {alone} pixels"
    return None


def _iou_of_boxes(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, L) of (K, 4) and (L, 4) xyxy."""
    sides = np.minimum(first[:, None, 2:], second[:, 2:]) - np.maximum(first[:, None, :2], second[:, :2])
    shared = sides.clip(min=0).prod(axis=2)
    first_area, second_area = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second))
    return shared / np.maximum(first_area[:, None] + second_area - shared, 1e-9)
