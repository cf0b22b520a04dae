"""The training loop."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from instance_seg_ros.models.condinst import CondInst
from instance_seg_ros.models.configuration import CondInstConfig
from instance_seg_ros.synthetic.sensor import SensorSettings, simulate_depth
from instance_seg_ros.synthetic.store import SceneStore
from instance_seg_ros.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights_that_fit,
    save_atomically,
    save_checkpoint,
)
from instance_seg_ros.training.curve import plot_losses
from instance_seg_ros.training.dataset import (
    AugmentationSettings,
    Batch,
    SceneDataset,
    batch_keys,
    collate,
    split_holdout,
)
from instance_seg_ros.training.objective import ObjectiveSettings, batch_losses

CHECKPOINT_NAME = "checkpoint.pt"
LOG_NAME = "log.jsonl"
CURVE_NAME = "loss.png"
BAD_BATCH_NAME = "bad_batch.pt"


class TrainingDivergedError(RuntimeError):
    """The loss is no longer a number; the batch was saved."""


@dataclass(frozen=True)
class TrainingSettings:
    """The recipe. Exactly one of `steps` and `minutes` ends the training; the learning rate follows the same measure.

    Attributes:
        steps: optimiser steps.
        minutes: wall-clock time in the loop, over all resumed runs; for a machine that others use too.
        batch_size: images a step.
        learning_rate: after the warm-up.
        warmup_steps: linear rise of the learning rate.
        weight_decay: AdamW's, on weights only, not on biases and norms.
        clip_norm: gradient norm above which the gradient is scaled down.
        average_decay: of the exponential moving average of the weights.
        seed: of initial weights, frame order, noise and augmentation.
        holdout_every: scenes with a number that this divides are never trained on.
        workers: processes that prepare batches.
        threads: CPU threads of the network.
        checkpoint_minutes: time between checkpoints.
        bf16: autocast to bfloat16.
    """

    steps: int = 0
    minutes: float = 0.0
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup_steps: int = 150
    weight_decay: float = 0.02
    clip_norm: float = 5.0
    average_decay: float = 0.998
    seed: int = 0
    holdout_every: int = 50
    workers: int = 1
    threads: int = 2
    checkpoint_minutes: float = 3.0
    bf16: bool = True

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.minutes > 0):
            raise ValueError(f"give either steps or minutes, not steps={self.steps} and minutes={self.minutes}")
        if self.batch_size < 1 or self.holdout_every < 2 or self.checkpoint_minutes <= 0:
            raise ValueError("batch_size must be >= 1, holdout_every >= 2 and checkpoint_minutes > 0")

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the training that is done, 0 to 1."""
        share = step / self.steps if self.steps else elapsed_s / (60 * self.minutes)
        return min(share, 1.0)

    def rate(self, step: int, progress: float) -> float:
        """Learning rate: linear warm-up, then a cosine down to 1 % of the peak."""
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * cosine * min(1.0, (step + 1) / max(self.warmup_steps, 1))


def random_sensor(
    depth_m: NDArray[np.float32], intrinsics: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Depth as a random camera would report it."""
    return simulate_depth(depth_m, intrinsics.tolist(), rng, SensorSettings.sample(rng))


def parameter_groups(model: CondInst, weight_decay: float) -> list[dict[str, Any]]:
    """Weights with decay; biases, norms and scales without."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


class WeightAverage:
    """Exponential moving average of parameters and buffers; the decay rises from 0, so early averages serve too."""

    def __init__(self, state: dict[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in state.items()}

    @torch.no_grad()
    def update(self, state: dict[str, Tensor], step: int) -> None:
        """Moves the average towards `state`; counters are copied."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        floating = [name for name, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.state[n] for n in floating], [state[n] for n in floating], weight)
        for name, value in state.items():
            if not value.is_floating_point():
                self.state[name].copy_(value)


class Trainer:
    """One training run in one folder: checkpoint, log and curve."""

    def __init__(
        self,
        settings: TrainingSettings,
        store: SceneStore,
        out: Path,
        config: CondInstConfig | None = None,
        augmentation: AugmentationSettings | None = None,
        objective: ObjectiveSettings | None = None,
        initial: Checkpoint | None = None,
    ) -> None:
        """Resumes where `out` holds a checkpoint; else starts from the averaged weights of `initial`, or random ones.

        Raises:
            ValueError: the store's images have not the network's size, or a checkpoint is of a network of other sizes.
        """
        self.config = config or CondInstConfig()
        if store.depth.shape[1:] != self.config.input_hw:
            raise ValueError(
                f"the store's images are {store.depth.shape[1:]}, but the network takes {self.config.input_hw} (H, W)"
            )
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        out.mkdir(parents=True, exist_ok=True)
        self.settings, self.out = settings, out
        self.objective = objective or ObjectiveSettings()
        augmentation = augmentation or AugmentationSettings()
        self.model = CondInst(self.config).train()
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if initial is not None:
            fresh = load_weights_that_fit(self.model, initial.average)
            if fresh:
                tqdm.write(f"the checkpoint to start from lacks {', '.join(fresh)}: random at first")
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, settings.weight_decay), lr=settings.learning_rate
        )
        self.average = WeightAverage(self.model.state_dict(), settings.average_decay)
        self.step, self.elapsed_s = 0, 0.0
        frames, held = split_holdout(store, settings.holdout_every)
        self.dataset = SceneDataset(store, frames, random_sensor, augmentation, settings.batch_size, settings.seed)
        self.recipe = {
            "training": dataclasses.asdict(settings),
            "augmentation": dataclasses.asdict(augmentation),
            "objective": dataclasses.asdict(self.objective),
            "store": store.meta,
            "frames": len(frames),
            "frames_held_out": len(held),
            "started_from": None if initial is None else {"steps": initial.step, "recipe": initial.recipe},
        }
        if self.checkpoint_path.is_file():
            self._resume(load_checkpoint(self.checkpoint_path))

    @property
    def checkpoint_path(self) -> Path:
        """Where the newest checkpoint lies."""
        return self.out / CHECKPOINT_NAME

    def _check_sizes(self, checkpoint: Checkpoint, what: str) -> None:
        if checkpoint.config != self.config:
            raise ValueError(f"{what} holds a network of other sizes: {checkpoint.config}, not {self.config}")

    def _resume(self, checkpoint: Checkpoint) -> None:
        self._check_sizes(checkpoint, str(self.checkpoint_path))
        self.model.load_state_dict(checkpoint.model)
        self.average.state = checkpoint.average
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.step, self.elapsed_s = checkpoint.step, checkpoint.elapsed_s
        self._truncate_log()

    def _truncate_log(self) -> None:
        """Lines of steps after the checkpoint will be written again."""
        path = self.out / LOG_NAME
        if path.is_file():
            lines = [line for line in path.read_text().splitlines() if json.loads(line)["step"] <= self.step]
            path.write_text("".join(line + "\n" for line in lines))

    def save(self) -> None:
        """Writes the checkpoint and the loss curve."""
        save_checkpoint(
            Checkpoint(
                config=self.config,
                model=self.model.state_dict(),
                average=self.average.state,
                optimizer=self.optimizer.state_dict(),
                step=self.step,
                elapsed_s=self.elapsed_s,
                recipe=self.recipe,
            ),
            self.checkpoint_path,
        )
        plot_losses(self.out / LOG_NAME, self.out / CURVE_NAME)

    def _loader(self) -> DataLoader[Any]:
        return DataLoader(
            self.dataset,
            batch_sampler=batch_keys(self.step, self.settings.batch_size),  # type: ignore[arg-type]
            num_workers=self.settings.workers,
            collate_fn=collate,
            worker_init_fn=_single_thread,
            prefetch_factor=4 if self.settings.workers else None,
        )

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the loss terms, the gradient's norm and the learning rate.

        Raises:
            TrainingDivergedError: a loss or the gradient is not finite; the weights are untouched.
        """
        settings = self.settings
        rate = settings.rate(self.step, settings.progress(self.step, self.elapsed_s))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings.bf16):
            output = self.model(batch.depth_m, batch.intrinsics, batch.color_rgb)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        terms = batch_losses(self.model, output, batch, self.objective, generator)
        total = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        loss = float(total.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm))
        values = {name: float(value.detach()) for name, value in terms.items()}
        if not (math.isfinite(loss) and math.isfinite(norm)):
            path = self.out / BAD_BATCH_NAME
            save_atomically({"step": self.step, "batch": dataclasses.asdict(batch), "losses": values}, path)
            raise TrainingDivergedError(
                f"step {self.step}: losses {values}, gradient norm {norm}; the batch is in {path}. "
                "Lower --learning-rate, or resume from the last checkpoint"
            )
        self.optimizer.step()
        self.average.update(self.model.state_dict(), self.step)
        return {**values, "total": loss, "gradient_norm": norm, "learning_rate": rate}

    def run(self) -> None:
        """Trains to the end of the budget, with checkpoints on the way and one at the end."""
        settings = self.settings
        total = settings.steps or None
        last = saved = time.monotonic()
        bar = tqdm(total=total, initial=self.step, unit="step", smoothing=0.05, mininterval=5.0)
        with (self.out / LOG_NAME).open("a", buffering=1) as log, bar:
            for batch in self._loader():
                if settings.progress(self.step, self.elapsed_s) >= 1:
                    break
                record = self.train_step(batch)
                now = time.monotonic()
                self.step += 1
                self.elapsed_s += now - last
                last = now
                log.write(json.dumps({"step": self.step, "elapsed_s": round(self.elapsed_s, 2), **_rounded(record)}))
                log.write("\n")
                bar.update()
                left_s = self.elapsed_s * (1 / max(settings.progress(self.step, self.elapsed_s), 1e-6) - 1)
                bar.set_postfix_str(
                    f"loss {record['total']:.3f} dice {record['dice']:.3f} class {record['class']:.3f} "
                    f"lr {record['learning_rate']:.1e} left {left_s / 60:.0f} min",
                    refresh=False,
                )
                if now - saved > 60 * settings.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
        self.save()


def _single_thread(_: int) -> None:
    import cv2  # the workers' own thread pool; the network needs the cores

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _rounded(record: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.5g}") for name, value in record.items()}
