from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest
import torch

from instance_seg_ros.errors import InputError
from instance_seg_ros.models.configuration import CondInstConfig
from instance_seg_ros.synthetic.store import open_store
from instance_seg_ros.training import cli
from instance_seg_ros.training.checkpoint import averaged_model, load_checkpoint, save_atomically
from instance_seg_ros.training.dataset import Batch, collate
from instance_seg_ros.training.train import (
    BAD_BATCH_NAME,
    CHECKPOINT_NAME,
    CURVE_NAME,
    LOG_NAME,
    Trainer,
    TrainingDivergedError,
    TrainingSettings,
    WeightAverage,
)

CONFIG = CondInstConfig(
    input_hw=(96, 128),
    stem_channels=8,
    stage_channels=(8, 8, 16, 16),
    stage_blocks=(1, 1, 1, 1),
    fpn_channels=16,
    head_depth=1,
    mask_channels=8,
    mask_depth=1,
)


def settings(steps: int, **changes: float) -> TrainingSettings:
    return TrainingSettings(steps=steps, batch_size=2, workers=0, threads=1, warmup_steps=2, **changes)


def trainer(store: Path, out: Path, steps: int, **changes: float) -> Trainer:
    return Trainer(settings(steps, **changes), open_store(store), out, CONFIG)


def first_batch(run: Trainer) -> Batch:
    return collate([run.dataset[(0, slot)] for slot in range(2)])


def test_a_training_writes_checkpoint_log_and_curve(tiny_store: Path, tmp_path: Path) -> None:
    trainer(tiny_store, tmp_path, 3).run()
    records = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 2, 3]
    assert all(math.isfinite(r["total"]) for r in records)
    assert (tmp_path / CURVE_NAME).stat().st_size > 1000
    checkpoint = load_checkpoint(tmp_path / CHECKPOINT_NAME)
    assert checkpoint.step == 3
    assert checkpoint.config == CONFIG
    assert checkpoint.recipe["frames"] == 12
    averaged_model(checkpoint)
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_killed_training_resumes_exactly(tiny_store: Path, tmp_path: Path) -> None:
    whole = trainer(tiny_store, tmp_path / "whole", 4)
    whole.run()

    stopped = trainer(tiny_store, tmp_path / "stopped", 4)
    real_step = stopped.train_step

    def killed_in_the_fourth_step(batch: Batch) -> dict[str, float]:
        if stopped.step == 2:
            stopped.save()
        if stopped.step == 3:
            raise KeyboardInterrupt
        return real_step(batch)

    stopped.train_step = killed_in_the_fourth_step  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    resumed = trainer(tiny_store, tmp_path / "stopped", 4)
    assert resumed.step == 2
    resumed.run()

    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)
    for name, value in whole.average.state.items():
        torch.testing.assert_close(resumed.average.state[name], value, rtol=0, atol=0)
    steps = [json.loads(line)["step"] for line in (tmp_path / "stopped" / LOG_NAME).read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_the_loss_falls_on_a_repeated_batch(tiny_store: Path, tmp_path: Path) -> None:
    run = trainer(tiny_store, tmp_path, 40)
    batch = first_batch(run)
    totals = []
    for _ in range(25):
        totals.append(run.train_step(batch)["total"])
        run.step += 1
    assert totals[-1] < 0.75 * totals[0]


def test_a_loss_that_is_no_number_stops_and_keeps_the_batch(tiny_store: Path, tmp_path: Path) -> None:
    run = trainer(tiny_store, tmp_path, 4)
    batch = first_batch(run)
    with torch.no_grad():
        run.model.head.class_logits.bias.fill_(float("nan"))
    before = run.model.backbone.stem[0].weight.clone()
    with pytest.raises(TrainingDivergedError, match="step 0"):
        run.train_step(batch)
    assert torch.equal(run.model.backbone.stem[0].weight, before)
    saved = torch.load(tmp_path / BAD_BATCH_NAME, weights_only=True)
    assert torch.equal(saved["batch"]["depth_m"], batch.depth_m)


def test_a_batch_without_objects_gives_finite_losses(tiny_store: Path, tmp_path: Path) -> None:
    run = trainer(tiny_store, tmp_path, 4)
    batch = first_batch(run)
    empty = Batch(
        depth_m=batch.depth_m,
        intrinsics=batch.intrinsics,
        ids=torch.zeros_like(batch.ids),
        boxes_xyxy=[torch.zeros(0, 4)] * 2,
        centroids_xy=[torch.zeros(0, 2)] * 2,
        color_rgb=batch.color_rgb,
    )
    assert all(math.isfinite(value) for value in run.train_step(empty).values())


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_NAME
    save_atomically({"step": 1}, path)
    with pytest.raises(AttributeError):
        save_atomically({"step": 2, "unpicklable": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}


def test_a_checkpoint_of_other_sizes_is_refused(tiny_store: Path, tmp_path: Path) -> None:
    trainer(tiny_store, tmp_path, 1).run()
    other = CondInstConfig(**{**CONFIG.to_dict(), "fpn_channels": 8})
    with pytest.raises(ValueError, match="other sizes"):
        Trainer(settings(4), open_store(tiny_store), tmp_path, other)


def test_a_training_with_colour_starts_from_weights_of_depth_alone(
    tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = CondInstConfig(**{**CONFIG.to_dict(), "color_channels": ()})
    first = Trainer(settings(1), open_store(tiny_store), tmp_path / "first", blind)
    first.run()
    initial = load_checkpoint(tmp_path / "first" / CHECKPOINT_NAME)
    del initial.average["mask_upsampling.depth_guide.bias"]
    second = Trainer(settings(1), open_store(tiny_store), tmp_path / "second", CONFIG, initial=initial)
    name = "fpn.lateral.0.weight"
    assert torch.equal(second.model.state_dict()[name], initial.average[name])
    assert "lacks color_encoder, color_to_backbone, color_to_masks, mask_upsampling: random" in capsys.readouterr().out


def test_a_training_starts_from_the_averaged_weights_of_another(tiny_store: Path, tmp_path: Path) -> None:
    trainer(tiny_store, tmp_path / "first", 2).run()
    first = load_checkpoint(tmp_path / "first" / CHECKPOINT_NAME)
    second = Trainer(settings(1), open_store(tiny_store), tmp_path / "second", CONFIG, initial=first)
    assert second.step == 0
    for name, value in first.average.items():
        assert torch.equal(second.model.state_dict()[name], value)
    second.run()
    recipe = load_checkpoint(tmp_path / "second" / CHECKPOINT_NAME).recipe
    assert recipe["started_from"] == {"steps": 2, "recipe": first.recipe}


def test_weights_of_a_network_of_other_sizes_are_refused(tiny_store: Path, tmp_path: Path) -> None:
    trainer(tiny_store, tmp_path / "first", 1).run()
    first = load_checkpoint(tmp_path / "first" / CHECKPOINT_NAME)
    other = CondInstConfig(**{**CONFIG.to_dict(), "fpn_channels": 8})
    with pytest.raises(ValueError, match="do not fit the network: fpn.lateral.0.weight"):
        Trainer(settings(1), open_store(tiny_store), tmp_path / "second", other, initial=first)


def test_a_store_of_another_image_size_is_refused(tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the network takes"):
        Trainer(settings(4), open_store(tiny_store), tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    save_atomically({"weights": 1}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "missing.pt")


@pytest.mark.parametrize(
    ("step", "progress", "share"), [(0, 0.0, 0.1), (9, 0.0, 1.0), (50, 0.5, 0.505), (99, 1.0, 0.01)]
)
def test_the_learning_rate_warms_up_and_follows_a_cosine(step: int, progress: float, share: float) -> None:
    recipe = TrainingSettings(steps=100, learning_rate=1.0, warmup_steps=10)
    assert recipe.rate(step, progress) == pytest.approx(share)


def test_progress_is_by_steps_or_by_the_clock() -> None:
    assert TrainingSettings(steps=100).progress(25, 1e9) == 0.25
    assert TrainingSettings(minutes=10).progress(10**9, 300) == 0.5
    assert TrainingSettings(minutes=10).progress(0, 700) == 1.0


@pytest.mark.parametrize("budget", [{}, {"steps": 1, "minutes": 1.0}])
def test_one_budget_is_needed(budget: dict) -> None:
    with pytest.raises(ValueError, match="either steps or minutes"):
        TrainingSettings(**budget)


def test_the_average_starts_near_the_weights_and_then_lags() -> None:
    average = WeightAverage({"w": torch.zeros(1), "n": torch.tensor(0)}, decay=0.9)
    average.update({"w": torch.ones(1), "n": torch.tensor(5)}, step=0)
    assert average.state["w"].item() == pytest.approx(0.9)
    assert average.state["n"].item() == 5
    average.update({"w": torch.zeros(1), "n": torch.tensor(6)}, step=1000)
    assert average.state["w"].item() == pytest.approx(0.81)


def test_the_command_reports_a_store_that_does_not_fit(tiny_store: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    args = parser.parse_args(["--store", str(tiny_store), "--out", str(tmp_path), "--steps", "1"])
    with pytest.raises(InputError, match="the network takes"):
        cli.run(args)
