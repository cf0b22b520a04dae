from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from instance_seg_ros.commands import train
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.datasets.scene_frames import SceneFrames
from instance_seg_ros.learning.datasets.training_samples import Batch, collate
from instance_seg_ros.learning.models.checkpoint import averaged_model, load_checkpoint, save_atomically
from instance_seg_ros.learning.models.configuration import MASK_HEADS, CondInstConfig
from instance_seg_ros.learning.synthetic.store import open_store
from instance_seg_ros.learning.training.initial import read_initial_weights, without_mask_head
from instance_seg_ros.learning.training.log import LOG_NAME
from instance_seg_ros.learning.training.settings import ObjectiveSettings, TrainingSettings
from instance_seg_ros.learning.training.step import WeightAverage
from instance_seg_ros.learning.training.train import (
    BAD_BATCH_NAME,
    CHECKPOINT_NAME,
    CURVE_NAME,
    Trainer,
    TrainingDivergedError,
)


def settings(steps: int, **changes: float) -> TrainingSettings:
    return TrainingSettings(steps=steps, batch_size=2, workers=0, threads=1, warmup_steps=2, **changes)


MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def trainer(tiny_store: Path, small_config: CondInstConfig) -> MakeTrainer:
    """Makes the trainer of a small network into a folder."""

    def make(out: Path, steps: int, **options: Any) -> Trainer:
        options.setdefault("config", small_config)
        recipe = options.pop("settings", settings(steps))
        return Trainer(recipe, SceneFrames(open_store(tiny_store)), out, **options)

    return make


def first_batch(run: Trainer) -> Batch:
    return collate([run.dataset[(0, slot)] for slot in range(2)])


def test_a_training_writes_checkpoint_log_and_curve(
    trainer: MakeTrainer, small_config: CondInstConfig, tmp_path: Path
) -> None:
    trainer(tmp_path, 3).run()
    records = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 2, 3]
    assert all(math.isfinite(r["total"]) for r in records)
    assert (tmp_path / CURVE_NAME).stat().st_size > 1000
    checkpoint = load_checkpoint(tmp_path / CHECKPOINT_NAME)
    assert checkpoint.step == 3
    assert checkpoint.config == small_config
    assert checkpoint.recipe["frames"] == 12
    averaged_model(checkpoint)
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_killed_training_resumes_exactly(trainer: MakeTrainer, tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", 4)
    whole.run()

    stopped = trainer(tmp_path / "stopped", 4)
    real_step = stopped.start_step

    def killed_in_the_fourth_step(batch: Batch) -> None:
        if stopped.step == 2:
            stopped.save()
        if stopped.step == 3:
            raise KeyboardInterrupt
        real_step(batch)

    stopped.start_step = killed_in_the_fourth_step  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    resumed = trainer(tmp_path / "stopped", 4)
    assert resumed.step == 2
    resumed.run()

    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)
    for name, value in whole.average.state.items():
        torch.testing.assert_close(resumed.average.state[name], value, rtol=0, atol=0)
    steps = [json.loads(line)["step"] for line in (tmp_path / "stopped" / LOG_NAME).read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_a_training_that_goes_on_remembers_its_start_and_tells_of_other_data(
    trainer: MakeTrainer, tiny_store: Path, small_config: CondInstConfig, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    trainer(tmp_path / "first", 1).run()
    initial = read_initial_weights(tmp_path / "first" / CHECKPOINT_NAME)
    trainer(tmp_path / "second", 1, initial=initial).run()
    capsys.readouterr()
    same = trainer(tmp_path / "second", 2)
    assert same.recipe["started_from"] == initial.origin
    assert (same.step, same.is_finished) == (1, False)
    assert "the data have changed" not in capsys.readouterr().out
    fewer = SceneFrames(open_store(tiny_store), holdout_every=2)
    assert Trainer(settings(1), fewer, tmp_path / "second", config=small_config).is_finished
    assert "was written (frames, frames_held_out): this training goes on with the new ones" in capsys.readouterr().out


@pytest.mark.parametrize("mask_head", MASK_HEADS)
def test_the_loss_falls_on_a_repeated_batch(
    mask_head: str, trainer: MakeTrainer, small_config: CondInstConfig, tmp_path: Path
) -> None:
    run = trainer(tmp_path, 40, config=replace(small_config, mask_head=mask_head))
    batch = first_batch(run)
    totals = []
    for _ in range(25):
        totals.append(run.train_step(batch)["total"])
        run.step += 1
    assert totals[-1] < 0.75 * totals[0]


def test_a_loss_that_is_no_number_stops_and_keeps_the_batch(trainer: MakeTrainer, tmp_path: Path) -> None:
    run = trainer(tmp_path, 4)
    batch = first_batch(run)
    with torch.no_grad():
        run.model.head.class_logits.bias.fill_(float("nan"))
    before = run.model.backbone.stem[0].weight.clone()
    with pytest.raises(TrainingDivergedError, match="step 0"):
        run.train_step(batch)
    assert torch.equal(run.model.backbone.stem[0].weight, before)
    saved = torch.load(tmp_path / BAD_BATCH_NAME, weights_only=True)
    assert torch.equal(saved["batch"]["depth_m"], batch.depth_m)


def test_a_batch_without_objects_gives_finite_losses(trainer: MakeTrainer, tmp_path: Path) -> None:
    run = trainer(tmp_path, 4)
    batch = first_batch(run)
    empty = Batch(
        depth_m=batch.depth_m,
        intrinsics=batch.intrinsics,
        ids=torch.zeros_like(batch.ids),
        boxes_xyxy=torch.zeros(2, 0, 4),
        anchors_xy=torch.zeros(2, 0, 2),
        class_ids=torch.zeros(2, 0, dtype=torch.int64),
        color_rgb=batch.color_rgb,
    )
    assert all(math.isfinite(value) for value in run.train_step(empty).values())


@pytest.mark.parametrize("mask_head", MASK_HEADS)
def test_every_tensor_of_a_step_is_made_on_the_device_of_the_training(
    mask_head: str, trainer: MakeTrainer, small_config: CondInstConfig, tmp_path: Path
) -> None:
    run = trainer(tmp_path, 4, config=replace(small_config, mask_head=mask_head))
    run.train_step(first_batch(run))  # the optimiser makes its state on its own
    run.step += 1
    batch = first_batch(run)
    with torch.device("meta"):  # what names no device lands there, and cannot meet the others
        values = run.train_step(batch)
    assert all(math.isfinite(value) for value in values.values())


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_NAME
    save_atomically({"step": 1}, path)
    with pytest.raises(AttributeError):
        save_atomically({"step": 2, "unpicklable": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}


def test_a_checkpoint_of_other_sizes_is_refused(
    trainer: MakeTrainer, small_config: CondInstConfig, tmp_path: Path
) -> None:
    trainer(tmp_path, 1).run()
    with pytest.raises(
        ValueError,
        match="of other sizes: fpn_channels 16, now 8; mask_head condinst, now kernels; choose another folder",
    ):
        trainer(tmp_path, 4, config=replace(small_config, fpn_channels=8, mask_head="kernels"))


def test_settings_that_changed_are_told_and_hold_from_there_on(
    trainer: MakeTrainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path, 1).run()
    capsys.readouterr()
    changed = settings(3, weight_decay=0.3, average_decay=0.9, clip_norm=1.0)
    resumed = trainer(tmp_path, 3, settings=changed, objective=ObjectiveSettings(boundary_weight=2.0))
    told = "steps 1, now 3; weight_decay 0.02, now 0.3; clip_norm 5.0, now 1.0; average_decay 0.998, now 0.9; "
    assert f"{told}boundary_weight 4.0, now 2.0. From here on the new ones hold" in capsys.readouterr().out
    assert resumed.average.decay == 0.9


def test_a_weight_decay_that_changed_shrinks_the_weights_from_there_on(trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer(tmp_path, 1).run()
    shutil.copytree(tmp_path, tmp_path.with_name("decaying"))
    plain, decaying = (
        trainer(folder, 2, settings=settings(2, weight_decay=decay))
        for folder, decay in ((tmp_path, 0.02), (tmp_path.with_name("decaying"), 1.0))
    )
    name, step = "fpn.output.0.weight", first_batch(plain)
    before = plain.model.state_dict()[name].clone()
    rates = [run.train_step(step)["learning_rate"] for run in (plain, decaying)]
    difference = plain.model.state_dict()[name] - decaying.model.state_dict()[name]
    torch.testing.assert_close(difference, rates[0] * (1.0 - 0.02) * before, atol=1e-6, rtol=1e-2)


def test_a_folder_that_started_from_other_weights_is_not_continued(trainer: MakeTrainer, tmp_path: Path) -> None:
    for steps in (1, 2):
        trainer(tmp_path / str(steps), steps).run()
    first, other = (read_initial_weights(tmp_path / name / CHECKPOINT_NAME) for name in ("1", "2"))
    trainer(tmp_path / "run", 1, initial=first).run()
    assert trainer(tmp_path / "run", 2, initial=first).step == 1
    for wrong in (other, without_mask_head(first)):
        with pytest.raises(ValueError, match="did not start from these weights; choose another folder"):
            trainer(tmp_path / "run", 2, initial=wrong)


def test_a_training_starts_from_the_averaged_weights_of_another(trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer(tmp_path / "first", 2).run()
    first = load_checkpoint(tmp_path / "first" / CHECKPOINT_NAME)
    initial = read_initial_weights(tmp_path / "first" / CHECKPOINT_NAME)
    second = trainer(tmp_path / "second", 1, initial=initial)
    assert second.step == 0
    for name, value in first.average.items():
        assert torch.equal(second.model.state_dict()[name], value)
    second.run()
    recipe = load_checkpoint(tmp_path / "second" / CHECKPOINT_NAME).recipe
    assert recipe["started_from"] == {"steps": 2, "recipe": first.recipe}


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    save_atomically({"weights": 1}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="not a checkpoint of format 1.*instance-seg train.*import-weights"):
        load_checkpoint(tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "missing.pt")


def test_a_damaged_or_foreign_file_is_no_checkpoint(
    trainer: MakeTrainer, small_config: CondInstConfig, tmp_path: Path
) -> None:
    path = tmp_path / CHECKPOINT_NAME
    trainer(tmp_path, 1).run()
    whole = path.read_bytes()
    for content in (b"", b"text\n", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a checkpoint, or damaged"):
            load_checkpoint(path)
    for content in ({"config": small_config.to_dict()}, {"config": {"layers": 3}}, {}):
        save_atomically({"format": 1, **content}, path)
        with pytest.raises(ValueError, match="of another version of this package"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("step", "progress", "share"), [(0, 0.0, 0.1), (9, 0.0, 1.0), (50, 0.5, 0.505), (99, 1.0, 0.01)]
)
def test_the_learning_rate_warms_up_and_follows_a_cosine(step: int, progress: float, share: float) -> None:
    recipe = TrainingSettings(steps=100, learning_rate=1.0, warmup_steps=10)
    assert recipe.rate(step, progress) == pytest.approx(share)


def test_a_short_training_warms_up_in_a_quarter_of_its_steps() -> None:
    recipe = TrainingSettings(steps=8, learning_rate=1.0)
    assert [recipe.rate(step, 0.0) for step in range(3)] == pytest.approx([0.5, 1.0, 1.0])
    assert TrainingSettings(minutes=1, learning_rate=1.0).rate(14, 0.0) == pytest.approx(0.1)


def test_progress_is_by_steps_or_by_the_clock() -> None:
    assert TrainingSettings(steps=100).progress(25, 1e9) == 0.25
    assert TrainingSettings(minutes=10).progress(10**9, 300) == 0.5
    assert TrainingSettings(minutes=10).progress(0, 700) == 1.0


@pytest.mark.parametrize("budget", [{}, {"steps": 1, "minutes": 1.0}])
def test_one_budget_is_needed(budget: dict) -> None:
    with pytest.raises(ValueError, match="either steps"):
        TrainingSettings(**budget)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"threads": 0}, "threads must be between 1 and 256, not 0"),
        ({"workers": -2}, "workers must be between -1 and 256, not -2"),
        ({"seed": -3}, "seed must be between 0 and"),
        ({"batch_size": 0}, "batch_size must be between 1 and 65536, not 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be between 1e-09 and 100, not nan"),
        ({"learning_rate": 0.0}, "learning_rate must be between"),
        ({"checkpoint_minutes": 0.0}, "checkpoint_minutes must be between"),
        ({"steps": 0, "minutes": float("inf")}, "minutes must be between 0 and 1000000, not inf"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, float], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        TrainingSettings(**{"steps": 1, **changes})


def test_the_average_starts_near_the_weights_and_then_lags() -> None:
    state = {"w": torch.zeros(1), "n": torch.tensor(0)}
    average = WeightAverage(state, decay=0.9)
    for step, weight, count, expected in ((0, 1.0, 5, 0.9), (1000, 0.0, 6, 0.81)):
        state["w"].fill_(weight)
        state["n"].fill_(count)
        average.update(torch.tensor(average.weight_at(step)))
        assert average.state["w"].item() == pytest.approx(expected)
        assert average.state["n"].item() == count


def test_a_network_must_have_the_classes_of_the_data(
    trainer: MakeTrainer, small_config: CondInstConfig, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="a network of 3 classes cannot learn 1"):
        trainer(tmp_path, 1, config=replace(small_config, num_classes=3))


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--store", "nothing"], "nothing is no scene store"),
        (["--coco", "nothing.json"], "cannot read nothing.json"),
        (
            ["--store", "s", "--images", "i", "--class-agnostic"],
            "--images, --class-agnostic cannot be used with --store",
        ),
        (["--coco", "x.json", "--allow-partial"], "--allow-partial cannot be used with --coco"),
        (["--store", "s", "--depth-unit", "0.001"], "--depth-unit cannot be used with --store"),
        (["--coco", "x.json", "--depth", "d", "--depth-unit", "0"], "depth_unit_m must be above 0"),
        (["--coco", "x.json", "--weights", "nothing.pt"], "no checkpoint at nothing.pt"),
        (["--coco", "x.json", "--weights", "nothing.onnx"], "cannot read the model file nothing.onnx"),
    ],
)
def test_the_command_names_what_it_cannot_use(arguments: list[str], cause: str, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    args = parser.parse_args([*arguments, "--out", str(tmp_path), "--steps", "1"])
    with pytest.raises(InputError, match=cause):
        train.run(args)


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", ""])
def test_intrinsics_are_four_numbers(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--coco", "x", "--out", "y", "--steps", "1", "--intrinsics", text])
    assert "is not FX,FY,CX,CY" in capsys.readouterr().err
