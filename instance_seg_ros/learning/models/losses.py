"""Losses of FCOS and CondInst."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_EPS = 1e-5
_INDEX_BYTES = 2**26
"""Indices of cells are made for so many masks at a time: for all masks of 64 images of 640x480 they would be 1 GB."""


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
    intersection = _area(smaller[:, :2] + smaller[:, 2:])
    hull = _area(larger[:, :2] + larger[:, 2:])
    union = _area(predicted_wh) + _area(target_wh) - intersection
    giou = intersection / union.clamp(min=_EPS) - (hull - union) / hull.clamp(min=_EPS)
    return (weights * (1 - giou)).sum() / weights.sum().clamp(min=_EPS)


def _area(wh: Tensor) -> Tensor:
    """(N,) of (N, 2). Not by `prod`, whose gradient waits for the GPU to see whether a factor is 0."""
    return wh[:, 0] * wh[:, 1]


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
    return near_boundary.to(targets.dtype).mul_(weight - 1).add_(1)  # many times as fast as a choice of two numbers


def _dilated(masks: Tensor, radius: int) -> Tensor:
    """Whether any cell of a square window around each is set, (N, h, w) bool: along the columns, then the rows."""
    height, width = masks.shape[1:]
    padded = F.pad(masks, (radius, radius, radius, radius))
    columns = reduce(torch.bitwise_or, [padded[:, :, i : i + width] for i in range(2 * radius + 1)])
    return reduce(torch.bitwise_or, [columns[:, i : i + height] for i in range(2 * radius + 1)])


def mask_cross_entropy(probabilities: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy per instance.

    Args:
        probabilities: (N, h, w), taken as at least 1e-5 away from 0 and 1, and as 0.5 where they are no numbers: the
            dice loss tells of those.
        targets: (N, h, w) in [0, 1].
        weights: (N, h, w) of the cells; None is 1.

    Returns:
        (N,).
    """
    means: Tensor = _CrossEntropy.apply(probabilities, targets, weights)
    return means


class _CrossEntropy(torch.autograd.Function):
    """`mask_cross_entropy`. torch's own takes a logarithm at a time, and autograd walks over each step by itself."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        ctx.save_for_backward(probabilities, targets, weights)
        sure = _inner(probabilities)
        costs = torch.lerp((1 - sure).log_(), sure.log_(), targets)
        return -(costs if weights is None else costs.mul_(weights)).flatten(1).mean(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None]:
        probabilities, targets, weights = ctx.saved_tensors
        sure = _inner(probabilities)
        own = (
            (sure - targets)
            .div_((1 - sure).mul_(sure))
            .mul_((slopes / (targets.shape[1] * targets.shape[2])).view(-1, 1, 1))
        )
        own = own if weights is None else own.mul_(weights)
        # No slope where the limits hold: a pass without a mask.
        return torch.ops.aten.hardtanh_backward(own, probabilities, _EPS, 1 - _EPS), None, None


def _inner(probabilities: Tensor) -> Tensor:
    """At least `_EPS` away from 0 and 1; 0.5 for what is no number."""
    return probabilities.nan_to_num(nan=0.5).clamp(_EPS, 1 - _EPS)


class _SumsByLabel(torch.autograd.Function):
    """Sums of (K, C) values over the cells of each label: (K, I).

    Labels are those (B, C) int64 of each row's image (K,) int64, each below I. Autograd would keep a copy of the labels
    for every row until the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, labels: Tensor, image: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(labels, image)
        sums = values.new_zeros(len(values), count)
        for rows in _row_blocks(values):
            sums[rows].scatter_add_(1, _own_labels(labels, image[rows]), values[rows])
        return sums

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        labels, image = ctx.saved_tensors
        own = slopes.new_empty(len(image), labels.shape[1])
        for rows in _row_blocks(own):
            torch.gather(slopes[rows], 1, _own_labels(labels, image[rows]), out=own[rows])
        return own, None, None, None


def _own_labels(labels: Tensor, image: Tensor) -> Tensor:
    """(K, C) of labels (B, C) by the image (K,) of each row; no copies of those of a single image."""
    return labels.expand(len(image), -1) if len(labels) == 1 else labels[image]


def _row_blocks(values: Tensor) -> Iterator[slice]:
    """Of (K, C): rows whose indices are `_INDEX_BYTES` together, or single rows where those of one are more."""
    count, cells = values.shape
    step = max(1, _INDEX_BYTES // (cells * torch.int64.itemsize))
    return (slice(first, first + step) for first in range(0, count, step))


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
    covered: Tensor = _SumsByLabel.apply(probabilities.flatten(1), labels, image, len(is_object))
    # Less than the whole, so that the loss of what is covered whole stays finite, and has a slope.
    share = 0.99 * covered / areas.clamp(min=1.0)[image]
    counts = (is_object & (areas >= least_cells))[image].scatter(1, own_id[:, None], False)
    return torch.where(counts, -torch.log1p(-share), 0.0).sum(dim=1)
