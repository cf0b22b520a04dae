"""The training objective: targets and losses of one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID, Batch
from instance_seg_ros.learning.models.condinst import CondInst, DenseOutput
from instance_seg_ros.learning.models.losses import (
    boundary_weights,
    dice_loss,
    focal_loss,
    giou_loss,
    mask_cross_entropy,
    neighbour_loss,
)
from instance_seg_ros.learning.training.settings import ObjectiveSettings
from instance_seg_ros.learning.training.targets import IGNORED, Assignment, assign_locations, sample_positives


def mask_targets(ids: Tensor, image: Tensor, instance: Tensor, stride: int) -> Tensor:
    """Share of each mask cell that an instance covers.

    Args:
        ids: (B, H, W) uint8, 0 background, 1..N instances.
        image: (K,) int64, the image of each instance.
        instance: (K,) int64, its row there: its id less 1.
        stride: of the mask grid; cell j covers pixels [stride * j, stride * (j + 1)).

    Returns:
        (K, H / stride, W / stride) float32 in [0, 1].
    """
    own = (instance + 1).to(ids.dtype).view(-1, 1, 1)
    # Bytes, pixel by pixel of the cells: a pooling of numbers would move many times as much memory.
    places = [ids[:, row::stride, column::stride].contiguous() for row in range(stride) for column in range(stride)]
    # No copies of a single image.
    shares = [((one if len(ids) == 1 else one.index_select(0, image)) == own).to(torch.uint8) for one in places]
    return sum(shares[1:], start=shares[0]).float() / stride**2


@dataclass(frozen=True)
class _Term:
    """A loss before it is divided: a sum and what it is the sum of, both scalars."""

    total: Tensor
    count: Tensor


def _mask_terms(
    model: CondInst,
    output: DenseOutput,
    batch: Batch,
    assignment: Assignment,
    settings: ObjectiveSettings,
    seeds: Tensor,
) -> tuple[_Term, _Term, _Term]:
    """Dice, cross-entropy and what is covered of neighbours, over the sampled locations."""
    chosen, counts = sample_positives(assignment.instance, settings.masks_per_instance, settings.masks_per_image, seeds)
    instance = assignment.instance.gather(1, chosen).clamp(min=0)
    boxes = model.boxes_xyxy(assignment.ltrb_px)
    of_images = _sums_image_by_image if counts.device.type == "cpu" else _sums_at_once
    dice, cross_entropy, neighbours = of_images(model, output, batch.ids, boxes, settings, chosen, instance, counts)
    number = counts.sum().float()
    return (
        _Term(dice, number),
        _Term(settings.mask_cross_entropy_weight * cross_entropy, number),
        _Term(settings.neighbour_weight * neighbours, number),
    )


def _sums_image_by_image(
    model: CondInst,
    output: DenseOutput,
    ids: Tensor,
    boxes_xyxy: Tensor,
    settings: ObjectiveSettings,
    chosen: Tensor,
    instance: Tensor,
    counts: Tensor,
) -> Tensor:
    """`_sums_at_once` as a CPU has it: what one operation hands to the next stays in a cache.

    A GPU would have to wait for the numbers of what counts.
    """
    sums = []
    for row, own in enumerate(output.by_image()):
        counted, only = counts[row], slice(row, row + 1)
        places = [values[row, counted] for values in (torch.zeros_like(chosen), chosen, instance, counts)]
        sums.append(_mask_sums(model, own, ids[only], boxes_xyxy[only], settings, *places))
    return torch.stack(sums).sum(dim=0)


def _sums_at_once(
    model: CondInst,
    output: DenseOutput,
    ids: Tensor,
    boxes_xyxy: Tensor,
    settings: ObjectiveSettings,
    chosen: Tensor,
    instance: Tensor,
    counts: Tensor,
) -> Tensor:
    """`_mask_sums` over K locations of each image; those that do not count are computed in vain.

    Args:
        model, output, ids, boxes_xyxy, settings: as there.
        chosen, instance: (B, K) int64, locations and their instances.
        counts: (B, K) bool, which of them count.
    """
    image = torch.arange(len(chosen), device=chosen.device)[:, None].expand_as(chosen)
    places = [values.flatten() for values in (image, chosen, instance, counts)]
    return _mask_sums(model, output, ids, boxes_xyxy, settings, *places)


def _mask_sums(
    model: CondInst,
    output: DenseOutput,
    ids: Tensor,
    boxes_xyxy: Tensor,
    settings: ObjectiveSettings,
    image: Tensor,
    location: Tensor,
    instance: Tensor,
    counted: Tensor,
) -> Tensor:
    """Sums of the three losses over K masks.

    Args:
        model: the network.
        output: what it said of B images.
        ids: (B, H, W) uint8 of the images.
        boxes_xyxy: (B, L, 4) float32, of the instances that the locations are to find.
        settings: weights.
        image, location, instance: (K,) int64, of each mask.
        counted: (K,) bool, which of them count.

    Returns:
        (3,) float32: dice, cross-entropy and what is covered of neighbours, without their weights.
    """
    index = image * boxes_xyxy.shape[1] + location
    predicted = model.mask_probabilities(output, index, boxes_xyxy.flatten(0, 1)[index])
    stride = model.config.mask_stride
    targets = mask_targets(ids, image, instance, stride)
    weights = boundary_weights(targets, settings.boundary_weight)
    cells = ids[:, stride // 2 :: stride, stride // 2 :: stride].long()
    any_id = torch.arange(IGNORE_ID + 1, device=ids.device)
    is_object = (any_id > 0) & (any_id != IGNORE_ID)
    losses = (
        dice_loss(predicted, targets),
        mask_cross_entropy(predicted, targets, weights),
        neighbour_loss(predicted, cells, image, instance + 1, is_object),
    )
    return (torch.stack(losses) * counted).sum(dim=1)


def _foreground_term(logits: Tensor, ids: Tensor, stride: int, weight: float) -> _Term:
    """Cross-entropy of "some object is here" over the pixels that are not ignored."""
    target = F.avg_pool2d(((ids > 0) & (ids != IGNORE_ID)).float()[:, None], stride)
    counted = 1 - F.max_pool2d((ids == IGNORE_ID).float()[:, None], stride)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _Term(weight * (loss * counted).sum(), counted.sum())


def _class_targets(assignment: Assignment, class_ids: Tensor, class_count: int) -> Tensor:
    """(B, L, classes) float32: 1 for the class of each location's instance; `class_ids` (B, N) are the instances'."""
    instance = assignment.instance
    target = assignment.quality.new_zeros(*instance.shape, class_count)
    if class_ids.shape[1] == 0:
        return target
    own = class_ids.gather(1, instance.clamp(min=0)).unsqueeze(2)
    return target.scatter(2, own, (instance >= 0).to(target.dtype).unsqueeze(2))


def batch_losses(
    model: CondInst,
    output: DenseOutput,
    batch: Batch,
    settings: ObjectiveSettings,
    seeds: Tensor,
    mean_of_processes: Callable[[Tensor], Tensor] = lambda values: values,
) -> dict[str, Tensor]:
    """The weighted terms whose sum is minimised: class, box, centerness, dice, mask,
    neighbours, foreground (scalars).

    Args:
        model: the network.
        output: what it said of the batch.
        batch: images and targets.
        settings: weights.
        seeds: (B,) int64, of each image's random choices.
        mean_of_processes: of a tensor that each process of a training calls it with. Each loss is a sum over the images
            of this process, divided by the mean of what they count: the mean of the processes' gradients is then that
            of one process with all the images.
    """
    assignment = assign_locations(model, batch.ids, batch.boxes_xyxy, batch.anchors_xy)
    class_target = _class_targets(assignment, batch.class_ids, model.config.num_classes)
    class_weight = (assignment.instance != IGNORED).float().unsqueeze(2)
    positive = (assignment.instance >= 0).float()
    count = positive.sum()
    # Everywhere, with a weight of 0 where there is no object: choosing the locations would cost a GPU a pause.
    quality = assignment.quality * positive
    # GIoU is that of boxes in pixels as in strides.
    box = giou_loss(output.ltrb_px.flatten(0, 1), assignment.ltrb_px.flatten(0, 1), quality.flatten())
    nearness = F.binary_cross_entropy_with_logits(output.centerness_logits, quality, weight=positive, reduction="sum")
    dice, cross_entropy, neighbours = _mask_terms(model, output, batch, assignment, settings, seeds)
    terms = {
        "class": _Term(focal_loss(output.class_logits, class_target, class_weight), count),
        "box": _Term(box * quality.sum(), quality.sum()),
        "centerness": _Term(nearness, count),
        "dice": dice,
        "mask": cross_entropy,
        "neighbours": neighbours,
        "foreground": _foreground_term(
            output.foreground_logits, batch.ids, model.config.stage_strides[0], settings.foreground_weight
        ),
    }
    counts = mean_of_processes(torch.stack([term.count for term in terms.values()]))
    # Without objects, only the class loss has something to divide, because its sum includes the background.
    counts = torch.where(counts > 0, counts, 1.0)
    return {name: term.total / counts[index] for index, (name, term) in enumerate(terms.items())}
