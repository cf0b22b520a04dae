from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from instance_seg_ros.learning.datasets.scene_frames import SceneFrames
from instance_seg_ros.learning.datasets.training_samples import AugmentationSettings, Batch, FrameDataset, collate
from instance_seg_ros.learning.models.condinst import CondInst, DenseOutput
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.synthetic.store import open_store
from instance_seg_ros.learning.training.objective import ObjectiveSettings, batch_losses

OBJECTIVE = ObjectiveSettings()
SEEDS = (10, 11, 12, 13)


@pytest.fixture(scope="module")
def batch(tiny_color_store: Path) -> Batch:
    data = FrameDataset(SceneFrames(open_store(tiny_color_store)), AugmentationSettings(), (96, 128), 4, seed=0)
    return collate([data[(0, slot)] for slot in range(4)])


def network(config: CondInstConfig) -> CondInst:
    torch.manual_seed(0)
    return CondInst(config).eval()


def part(values: Batch | DenseOutput, images: slice) -> Batch | DenseOutput:
    """Some images of a batch or of what a network says of it."""
    return replace(values, **{field.name: getattr(values, field.name)[images] for field in fields(values)})


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
        boxes_xyxy=[torch.zeros(0, 4)] * 4,
        centroids_xy=[torch.zeros(0, 2)] * 4,
        class_ids=[torch.zeros(0, dtype=torch.int64)] * 4,
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
        wanted = replace(batch, class_ids=[torch.full_like(ids, target) for ids in batch.class_ids])
        sure = replace(output, class_logits=torch.full_like(output.class_logits, -6.0))
        sure.class_logits[..., 1] = 0.0
        of_class[target] = float(batch_losses(model, sure, wanted, OBJECTIVE, SEEDS)["class"])
    assert of_class[0] == pytest.approx(of_class[2])
    assert of_class[1] < 0.7 * of_class[0]
