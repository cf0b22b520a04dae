from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.scene_frames import SceneFrames
from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID, Batch, FrameDataset, collate
from instance_seg_ros.learning.models.condinst import CondInst, DenseOutput
from instance_seg_ros.learning.models.configuration import MASK_HEADS, CondInstConfig
from instance_seg_ros.learning.models.losses import dice_loss, giou_loss, mask_cross_entropy
from instance_seg_ros.learning.models.mask_upsampling import upsample_masks
from instance_seg_ros.learning.synthetic.store import open_store
from instance_seg_ros.learning.training.objective import batch_losses
from instance_seg_ros.learning.training.settings import ObjectiveSettings
from instance_seg_ros.learning.training.targets import assign_locations, sample_positives

OBJECTIVE = ObjectiveSettings()
SEEDS = torch.tensor([10, 11, 12, 13])


@pytest.fixture(scope="module")
def batch(tiny_color_store: Path) -> Batch:
    data = FrameDataset(SceneFrames(open_store(tiny_color_store)), AugmentationSettings(), (96, 128), 4, seed=0)
    return collate([data[(0, slot)] for slot in range(4)])


def network(config: CondInstConfig) -> CondInst:
    torch.manual_seed(0)
    return CondInst(config).eval()


def part(values: Batch | DenseOutput, images: slice) -> Batch | DenseOutput:
    """Some images of a batch or of what a network says of it."""
    whole = {field.name: value for field in fields(values) if (value := getattr(values, field.name)) is not None}
    return replace(
        values,
        **{
            name: tuple(level[images] for level in value) if isinstance(value, tuple) else value[images]
            for name, value in whole.items()
        },
    )


def test_the_losses_of_processes_average_to_those_of_one_with_all_images(
    small_config: CondInstConfig, batch: Batch
) -> None:
    model = network(small_config)
    output = model(batch.depth_m, batch.intrinsics, batch.color_rgb)
    shares = [slice(0, 1), slice(1, 4)]  # which hold different numbers of objects
    counts: list[Tensor] = []
    for images in shares:
        batch_losses(
            model,
            part(output, images),
            part(batch, images),
            OBJECTIVE,
            SEEDS[images],
            lambda own: counts.append(own) or own,
        )
    mean = torch.stack(counts).mean(dim=0)
    losses = [
        batch_losses(model, part(output, images), part(batch, images), OBJECTIVE, SEEDS[images], lambda own: mean)
        for images in shares
    ]
    whole = batch_losses(model, output, batch, OBJECTIVE, SEEDS)
    assert counts[0].tolist() != counts[1].tolist()
    for name, value in whole.items():
        torch.testing.assert_close(sum(loss[name] for loss in losses) / len(shares), value, rtol=1e-4, atol=1e-6)


def test_every_output_takes_part_in_the_losses_without_any_object(small_config: CondInstConfig, batch: Batch) -> None:
    empty = replace(
        batch,
        ids=torch.zeros_like(batch.ids),
        boxes_xyxy=torch.zeros(4, 0, 4),
        anchors_xy=torch.zeros(4, 0, 2),
        class_ids=torch.zeros(4, 0, dtype=torch.int64),
    )
    model = network(small_config)
    losses = batch_losses(model, model(batch.depth_m, batch.intrinsics, batch.color_rgb), empty, OBJECTIVE, SEEDS)
    sum(losses.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert {name for name, value in losses.items() if value != 0} == {"class", "foreground"}


def test_the_class_loss_wants_each_objects_own_class(small_config: CondInstConfig, batch: Batch) -> None:
    model = network(replace(small_config, num_classes=3))
    output = model(batch.depth_m, batch.intrinsics, batch.color_rgb)
    of_class = {}
    for target in range(3):
        wanted = replace(batch, class_ids=torch.full_like(batch.class_ids, target))
        sure = replace(output, class_logits=torch.full_like(output.class_logits, -6.0))
        sure.class_logits[..., 1] = 0.0
        of_class[target] = float(batch_losses(model, sure, wanted, OBJECTIVE, SEEDS)["class"])
    assert of_class[0] == pytest.approx(of_class[2])
    assert of_class[1] < 0.7 * of_class[0]


def losses_image_by_image(model: CondInst, output: DenseOutput, batch: Batch) -> dict[str, Tensor]:
    """The box, centerness, dice and mask losses as their definitions say them, one image and one instance at a time."""
    assignment = assign_locations(model, batch.ids, batch.boxes_xyxy, batch.anchors_xy)
    chosen, counts = sample_positives(
        assignment.instance, OBJECTIVE.masks_per_instance, OBJECTIVE.masks_per_image, SEEDS
    )
    dice, mask, neighbours, box, centerness = [], [], [], [], []
    for image in range(len(batch.ids)):
        levels = [model.controller(level[image : image + 1]).flatten(2) for level in output.parameter_features]
        parameters = torch.cat(levels, dim=2)[0].T
        for index in chosen[image, counts[image]].tolist():
            at = torch.tensor([index])
            own_box = batch.boxes_xyxy[image, assignment.instance[image, index]][None]
            coarse = model.masks(output.mask_features[image], parameters[at], at, own_box)
            probabilities = upsample_masks(coarse, output.mask_upsampling[image])
            own = (batch.ids[image] == assignment.instance[image, index] + 1).float()
            target = F.avg_pool2d(own[None], model.config.mask_stride)
            highest, lowest = (F.max_pool2d(sign * target, 5, 1, 2) * sign for sign in (1, -1))
            weights = torch.where((highest > 0.5) & (lowest < 0.5), OBJECTIVE.boundary_weight, 1.0)
            dice.append(dice_loss(probabilities, target))
            mask.append(OBJECTIVE.mask_cross_entropy_weight * mask_cross_entropy(probabilities, target, weights))
            middle = model.config.mask_stride // 2
            ids = batch.ids[image, middle :: model.config.mask_stride, middle :: model.config.mask_stride]
            others = set(ids.unique().tolist()) - {0, IGNORE_ID, int(assignment.instance[image, index]) + 1}
            covered = [probabilities[0, ids == other].mean() for other in others if (ids == other).sum() >= 6]
            cost = sum((-torch.log(1 - 0.99 * share) for share in covered), torch.zeros(()))
            neighbours.append(OBJECTIVE.neighbour_weight * cost)
        for index in (assignment.instance[image] >= 0).nonzero().flatten().tolist():
            quality = assignment.quality[image, index]
            ltrb = [
                values[image, index][None] / model.location_stride[index]
                for values in (output.ltrb_px, assignment.ltrb_px)
            ]
            box.append((giou_loss(*ltrb, torch.ones(1)) * quality, quality))
            logit = output.centerness_logits[image, index]
            centerness.append(F.binary_cross_entropy_with_logits(logit, quality))
    return {
        "dice": torch.cat(dice).mean(),
        "mask": torch.cat(mask).mean(),
        "neighbours": torch.stack(neighbours).mean(),
        "box": sum(loss for loss, _ in box) / sum(quality for _, quality in box),
        "centerness": torch.stack(centerness).mean(),
    }


def test_the_foreground_loss_asks_each_cell_for_its_share_of_objects_but_those_with_ignored_pixels(
    small_config: CondInstConfig, batch: Batch
) -> None:
    model = network(small_config)
    output = model(batch.depth_m, batch.intrinsics, batch.color_rgb)
    ids = torch.zeros_like(batch.ids)
    ids[:, 16:32, 18:47], ids[1:, 60:66, 61:80], ids[0, 70:90, 5:15] = 1, IGNORE_ID, 2
    stride = small_config.stage_strides[0]
    logits = torch.randn(output.foreground_logits.shape, generator=torch.Generator().manual_seed(0))
    expected = []
    for image, row, column in np.ndindex(len(ids), *logits.shape[2:]):
        cell = ids[image, row * stride :, column * stride :][:stride, :stride]
        if not (cell == IGNORE_ID).any():
            share, sure = float((cell > 0).float().mean()), float(logits[image, 0, row, column].sigmoid())
            expected.append(-share * math.log(sure) - (1 - share) * math.log(1 - sure))
    assert len(expected) < logits.numel()

    losses = batch_losses(
        model,
        replace(output, foreground_logits=logits),
        replace(batch, ids=ids),
        replace(OBJECTIVE, foreground_weight=3.0),
        SEEDS,
    )
    assert float(losses["foreground"]) == pytest.approx(3 * np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("head", MASK_HEADS)
def test_the_losses_of_a_batch_are_those_of_its_images_one_by_one(
    head: str, small_config: CondInstConfig, batch: Batch
) -> None:
    model = network(replace(small_config, mask_head=head))
    for weights in (model.controller.weight, model.mask_upsampling.weights.weight):
        torch.nn.init.normal_(weights, std=0.1)
    output = model(batch.depth_m, batch.intrinsics, batch.color_rgb)
    whole = batch_losses(model, output, batch, OBJECTIVE, SEEDS)
    expected = losses_image_by_image(model, output, batch)
    parameters = [
        p for name, p in model.named_parameters() if name.startswith(("controller", "mask_", "head.box", "fpn"))
    ]
    for name, value in expected.items():
        torch.testing.assert_close(whole[name], value, rtol=1e-4, atol=1e-6)
        gradients = [
            torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
            for loss in (whole[name], value)
        ]
        for mine, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_a_true_box_costs_nothing_and_one_of_half_the_size_the_same_on_every_level(
    small_config: CondInstConfig, batch: Batch
) -> None:
    model = network(small_config)
    output = model(batch.depth_m, batch.intrinsics, batch.color_rgb)
    true_px = assign_locations(model, batch.ids, batch.boxes_xyxy, batch.anchors_xy).ltrb_px
    losses = [
        batch_losses(model, replace(output, ltrb_px=ltrb_px), batch, OBJECTIVE, SEEDS)["box"]
        for ltrb_px in (true_px, true_px / 2)
    ]
    assert float(losses[0]) == pytest.approx(0, abs=1e-5)
    assert float(losses[1]) == pytest.approx(0.75, abs=1e-5)  # 1 - IoU; the hull is the larger box
