"""Losses of FCOS and CondInst."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-5


def focal_loss(logits: Tensor, targets: Tensor, weights: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sum of the sigmoid focal loss (Lin et al., ICCV 2017).

    Args:
        logits: (...) float32.
        targets: (...) float32 in {0, 1}.
        weights: (...) float32; 0 ignores an element.
        alpha: weight of the positives.
        gamma: how fast easy elements fade.

    Returns:
        Scalar.
    """
    probabilities = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = probabilities * (1 - targets) + (1 - probabilities) * targets
    balance = alpha * targets + (1 - alpha) * (1 - targets)
    return (weights * balance * missed**gamma * cross_entropy).sum()


def giou_loss(predicted_ltrb: Tensor, target_ltrb: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of 1 - GIoU (Rezatofighi et al., CVPR 2019) of boxes around common locations.

    Args:
        predicted_ltrb: (N, 4) distances >= 0.
        target_ltrb: (N, 4) distances >= 0.
        weights: (N,), in FCOS the target's centre-ness, here the location's quality.

    Returns:
        Scalar; 0 for N = 0.
    """
    predicted_wh = predicted_ltrb[:, :2] + predicted_ltrb[:, 2:]
    target_wh = target_ltrb[:, :2] + target_ltrb[:, 2:]
    smaller = torch.minimum(predicted_ltrb, target_ltrb)
    larger = torch.maximum(predicted_ltrb, target_ltrb)
    intersection = (smaller[:, :2] + smaller[:, 2:]).prod(dim=1)
    hull = (larger[:, :2] + larger[:, 2:]).prod(dim=1)
    union = predicted_wh.prod(dim=1) + target_wh.prod(dim=1) - intersection
    giou = intersection / union.clamp(min=_EPS) - (hull - union) / hull.clamp(min=_EPS)
    return (weights * (1 - giou)).sum() / weights.sum().clamp(min=_EPS)


def dice_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Dice loss with squared denominators (Milletari et al., 3DV 2016), one value per instance.

    Args:
        probabilities: (N, h, w) in [0, 1].
        targets: (N, h, w) in [0, 1].

    Returns:
        (N,) in [0, 1].
    """
    probabilities, targets = probabilities.flatten(1), targets.flatten(1)
    intersection = (probabilities * targets).sum(dim=1)
    denominator = (probabilities * probabilities).sum(dim=1) + (targets * targets).sum(dim=1) + _EPS
    return 1 - 2 * intersection / denominator


def boundary_weights(targets: Tensor, weight: float, radius: int = 2) -> Tensor:
    """`weight` for cells within `radius` of a mask's boundary, 1 for the others.

    Args:
        targets: (N, h, w) in [0, 1].
        weight: of the boundary's cells.
        radius: in cells, by the larger of the offsets along rows and columns.

    Returns:
        (N, h, w).
    """
    near_boundary = _dilated(targets > 0.5, radius) & _dilated(targets < 0.5, radius)
    return torch.where(near_boundary, weight, 1.0)


def _dilated(masks: Tensor, radius: int) -> Tensor:
    """Whether any cell of a square window around each is set, (N, h, w) bool: along the columns, then the rows."""
    height, width = masks.shape[1:]
    padded = F.pad(masks, (radius, radius, radius, radius))
    columns = reduce(torch.logical_or, [padded[:, :, i : i + width] for i in range(2 * radius + 1)])
    return reduce(torch.logical_or, [columns[:, i : i + height] for i in range(2 * radius + 1)])


def mask_cross_entropy(probabilities: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy per instance.

    Args:
        probabilities: (N, h, w), taken as at least 1e-5 away from 0 and 1, and as 0.5 where they are no numbers: the
            dice loss tells of those, where a GPU's cross-entropy would end the process.
        targets: (N, h, w) in [0, 1].
        weights: (N, h, w) of the cells; None is 1.

    Returns:
        (N,).
    """
    probabilities = probabilities.nan_to_num(nan=0.5).clamp(_EPS, 1 - _EPS)
    return F.binary_cross_entropy(probabilities, targets, weights, reduction="none").flatten(1).mean(dim=1)


def neighbour_loss(
    probabilities: Tensor, ids: Tensor, image: Tensor, own_id: Tensor, is_object: Tensor, least_cells: int = 6
) -> Tensor:
    """How much of the other objects a mask covers: the sum over them of -log(1 - mean probability on their cells).

    Dice and cross-entropy weigh cells, and so hardly notice a small object that is taken into the mask of a large one;
    here each neighbour weighs the same, whatever its size.

    Args:
        probabilities: (K, h, w) in [0, 1].
        ids: (B, h, w) int64, the id of each cell.
        image: (K,) int64, the image of each mask.
        own_id: (K,) int64, the id that each mask is of.
        is_object: (I,) bool, which ids are objects.
        least_cells: an object of fewer cells does not count.

    Returns:
        (K,) >= 0.
    """
    labels = ids.flatten(1)
    areas = probabilities.new_zeros(len(ids), len(is_object))
    areas.scatter_add_(1, labels, torch.ones_like(labels, dtype=areas.dtype))
    covered = probabilities.new_zeros(len(image), len(is_object))
    covered = covered.scatter_add(1, labels[image], probabilities.flatten(1))
    # Less than the whole, so that the loss of what is covered whole stays finite, and has a slope.
    share = 0.99 * covered / areas.clamp(min=1.0)[image]
    counts = (is_object & (areas >= least_cells))[image].scatter(1, own_id[:, None], False)
    return torch.where(counts, -torch.log1p(-share), 0.0).sum(dim=1)
