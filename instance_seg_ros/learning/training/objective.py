"""The training objective: targets and losses of one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID, Batch
from instance_seg_ros.learning.models.condinst import CondInst, DenseOutput
from instance_seg_ros.learning.models.losses import (
    boundary_weights,
    centerness_target,
    dice_loss,
    focal_loss,
    giou_loss,
    mask_cross_entropy,
)
from instance_seg_ros.learning.models.mask_upsampling import upsample_masks
from instance_seg_ros.learning.training.targets import IGNORED, Assignment, assign_locations, sample_positives


@dataclass(frozen=True)
class ObjectiveSettings:
    """Weights of the losses, and how many locations the mask loss looks at.

    Attributes:
        mask_cross_entropy_weight: of the mask's cross-entropy beside its dice loss.
        boundary_weight: of cells near a mask's boundary in its cross-entropy, where others weigh 1.
        foreground_weight: of the auxiliary foreground loss.
        masks_per_instance: positive locations of each instance in the mask loss.
        masks_per_image: at most so many in an image.
    """

    mask_cross_entropy_weight: float = 2.0
    boundary_weight: float = 4.0
    foreground_weight: float = 1.0
    masks_per_instance: int = 2
    masks_per_image: int = 24


def mask_targets(ids: Tensor, count: int, stride: int) -> Tensor:
    """Share of each mask cell that an instance covers.

    Args:
        ids: (H, W) uint8, 0 background, 1..count instances.
        count: number of instances.
        stride: of the mask grid; cell j covers pixels [stride * j, stride * (j + 1)).

    Returns:
        (count, H / stride, W / stride) float32 in [0, 1].
    """
    one_hot = (ids[None] == torch.arange(1, count + 1, dtype=ids.dtype, device=ids.device).view(-1, 1, 1)).float()
    return F.avg_pool2d(one_hot[:, None], stride).squeeze(1) if count else one_hot[:, ::stride, ::stride]


@dataclass(frozen=True)
class _Term:
    """A loss before it is divided: a sum and what it is the sum of, both scalars."""

    total: Tensor
    count: Tensor


def _mask_terms(
    model: CondInst,
    output: DenseOutput,
    batch: Batch,
    assignments: list[Assignment],
    settings: ObjectiveSettings,
    seeds: Sequence[int],
) -> tuple[_Term, _Term]:
    """Dice and cross-entropy over the sampled locations."""
    chosen = [
        sample_positives(
            assignment.instance,
            settings.masks_per_instance,
            settings.masks_per_image,
            torch.Generator().manual_seed(seed),
        )
        for assignment, seed in zip(assignments, seeds, strict=True)
    ]
    number = output.parameters.new_tensor(sum(len(index) for index in chosen))
    if number == 0:
        # All outputs take part: the gradients of several processes are added, and each must have all of them.
        zero = (output.mask_features.sum() + output.parameters.sum() + output.mask_upsampling.sum()) * 0.0
        return _Term(zero, number), _Term(zero, number)
    # One gather for the batch: indexing image by image, its backward would fill a full-size gradient for each image.
    count = output.parameters.shape[1]
    flat = torch.cat([index + i * count for i, index in enumerate(chosen)])
    parameters = output.parameters.flatten(0, 1)[flat].split([len(index) for index in chosen])
    probabilities, targets, weights = [], [], []
    for i, features in enumerate(output.mask_features.unbind()):
        coarse = model.masks(features, parameters[i], chosen[i]).sigmoid()
        probabilities.append(upsample_masks(coarse, output.mask_upsampling[i]))
        instance_masks = mask_targets(batch.ids[i], len(batch.boxes_xyxy[i]), model.config.mask_stride)
        instance = assignments[i].instance[chosen[i]]
        targets.append(instance_masks[instance])
        weights.append(boundary_weights(instance_masks, settings.boundary_weight)[instance])
    predicted, wanted = torch.cat(probabilities), torch.cat(targets)
    cross_entropy = settings.mask_cross_entropy_weight * mask_cross_entropy(predicted, wanted, torch.cat(weights))
    return _Term(dice_loss(predicted, wanted).sum(), number), _Term(cross_entropy.sum(), number)


def _foreground_term(logits: Tensor, ids: Tensor, stride: int, weight: float) -> _Term:
    """Cross-entropy of "some object is here" over the pixels that are not ignored."""
    target = F.avg_pool2d(((ids > 0) & (ids != IGNORE_ID)).float()[:, None], stride)
    counted = 1 - F.max_pool2d((ids == IGNORE_ID).float()[:, None], stride)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _Term(weight * (loss * counted).sum(), counted.sum())


def _class_targets(assignments: list[Assignment], batch: Batch, class_count: int) -> Tensor:
    """(B, L, classes) float32: 1 for the class of each location's instance."""
    rows = []
    for assignment, class_ids in zip(assignments, batch.class_ids, strict=True):
        target = assignment.ltrb_px.new_zeros(len(assignment.instance), class_count)
        positive = (assignment.instance >= 0).nonzero().flatten()
        target[positive, class_ids[assignment.instance[positive]]] = 1.0
        rows.append(target)
    return torch.stack(rows)


def batch_losses(
    model: CondInst,
    output: DenseOutput,
    batch: Batch,
    settings: ObjectiveSettings,
    seeds: Sequence[int],
    mean_of_processes: Callable[[Tensor], Tensor] = lambda values: values,
) -> dict[str, Tensor]:
    """The weighted terms whose sum is minimised: class, box, centerness, dice, mask, foreground (scalars).

    Args:
        model: the network.
        output: what it said of the batch.
        batch: images and targets.
        settings: weights.
        seeds: of each image's random choices.
        mean_of_processes: of a tensor that each process of a training calls it with. Each loss is a sum over the images
            of this process, divided by the mean of what they count: the mean of the processes' gradients is then that
            of one process with all the images.
    """
    assignments = [
        assign_locations(model, boxes, centroids, ids == IGNORE_ID)
        for boxes, centroids, ids in zip(batch.boxes_xyxy, batch.centroids_xy, batch.ids, strict=True)
    ]
    instance = torch.stack([a.instance for a in assignments])
    ltrb = torch.stack([a.ltrb_px for a in assignments])
    positive = instance >= 0
    count = positive.sum().float()

    class_weight = (instance != IGNORED).float().unsqueeze(2)
    class_target = _class_targets(assignments, batch, model.config.num_classes)
    centerness = centerness_target(ltrb[positive])
    stride = model.location_stride.view(1, -1, 1).expand(len(instance), -1, 1)[positive]
    box = giou_loss(output.ltrb_px[positive] / stride, ltrb[positive] / stride, centerness) * centerness.sum()
    found = F.binary_cross_entropy_with_logits(output.centerness_logits[positive], centerness, reduction="sum")
    dice, cross_entropy = _mask_terms(model, output, batch, assignments, settings, seeds)
    terms = {
        "class": _Term(focal_loss(output.class_logits, class_target, class_weight), count),
        "box": _Term(box, centerness.sum()),
        "centerness": _Term(found, count),
        "dice": dice,
        "mask": cross_entropy,
        "foreground": _foreground_term(
            output.foreground_logits, batch.ids, model.config.stage_strides[0], settings.foreground_weight
        ),
    }
    counts = mean_of_processes(torch.stack([term.count for term in terms.values()]))
    # Without any object there is nothing to divide by but for the class loss, whose sum is over the background, too.
    counts = torch.where(counts > 0, counts, 1.0)
    return {name: term.total / counts[index] for index, (name, term) in enumerate(terms.items())}
