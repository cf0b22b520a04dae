"""The training loop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.training_samples import (
    Batch,
    FrameDataset,
    FrameSource,
    batch_keys,
    collate,
)
from instance_seg_ros.learning.models.checkpoint import Checkpoint, load_checkpoint, save_atomically, save_checkpoint
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.training.curve import plot_losses
from instance_seg_ros.learning.training.initial import InitialWeights, fill_network
from instance_seg_ros.learning.training.log import LOG_NAME, TrainingLog
from instance_seg_ros.learning.training.objective import batch_losses
from instance_seg_ros.learning.training.pictures import prediction_picture
from instance_seg_ros.learning.training.processes import Processes
from instance_seg_ros.learning.training.settings import ObjectiveSettings, TrainingSettings

CHECKPOINT_NAME = "checkpoint.pt"
CURVE_NAME = "loss.png"
BAD_BATCH_NAME = "bad_batch.pt"
_FEW_INCOMPLETE = 0.1
"""Up to this share of frames without depth or colour, batch normalisation may learn its statistics from them."""


class TrainingDivergedError(RuntimeError):
    """The loss is no longer a number; the batch was saved."""


def parameter_groups(model: CondInst, weight_decay: float) -> list[dict[str, Any]]:
    """Weights with decay; biases, norms and scales without."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def keep_statistics(model: nn.Module) -> None:
    """Lets batch normalisation use its running statistics from now on and not change them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


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

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes the values of another average, on whatever device."""
        for name, value in state.items():
            self.state[name].copy_(value)


class Trainer:
    """One training run in one folder: checkpoint, log and curve.

    Args:
        settings: the recipe.
        source: frames to train on.
        out: the folder, which all processes see; only the first one writes there.
        config: sizes of the network; by default the usual ones for the source's classes.
        augmentation: of the frames.
        objective: weights of the losses.
        initial: what to start from where `out` holds no checkpoint to resume from; None starts from random weights.
        processes: the device, and the others that train the same network.

    Raises:
        ValueError: sizes, classes or a checkpoint do not fit together, or the batch cannot be shared evenly.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        source: FrameSource,
        out: Path,
        config: CondInstConfig | None = None,
        augmentation: AugmentationSettings | None = None,
        objective: ObjectiveSettings | None = None,
        initial: InitialWeights | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.class_names = source.class_names
        self.config = config or CondInstConfig(num_classes=len(self.class_names))
        if self.config.num_classes != len(self.class_names):
            raise ValueError(f"a network of {self.config.num_classes} classes cannot learn {len(self.class_names)}")
        self.settings, self.out = settings, out
        self.objective = objective or ObjectiveSettings()
        self.processes = processes or Processes()
        self._slots = self.processes.share_of(settings.batch_size)
        augmentation = augmentation or AugmentationSettings()
        self.dataset = FrameDataset(source, augmentation, self.config.input_hw, settings.batch_size, settings.seed)
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        out.mkdir(parents=True, exist_ok=True)
        self.model = CondInst(self.config).train()
        resumes = self.checkpoint_path.is_file()
        if initial is not None and not resumes:
            self._tell(*(f"starting weights: {note}" for note in fill_network(self.model, self.class_names, initial)))
        self.fixes_statistics = settings.batch_statistics == "fixed" or (
            settings.batch_statistics == "auto" and initial is not None and source.incomplete_share > _FEW_INCOMPLETE
        )
        if self.fixes_statistics:
            keep_statistics(self.model)
        self._network = self._placed()
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self.average = WeightAverage(self.model.state_dict(), settings.average_decay)
        self.step, self.elapsed_s = 0, 0.0
        self._facts = source.facts()
        self.recipe = {
            "training": dataclasses.asdict(settings),
            "augmentation": dataclasses.asdict(augmentation),
            "objective": dataclasses.asdict(self.objective),
            "processes": self.processes.count,
            **self._facts,
            "started_from": None if initial is None else initial.origin,
        }
        if resumes:
            self._resume(load_checkpoint(self.checkpoint_path))

    @property
    def checkpoint_path(self) -> Path:
        """Where the newest checkpoint lies."""
        return self.out / CHECKPOINT_NAME

    def _tell(self, *lines: str) -> None:
        if self.processes.is_first:
            for line in lines:
                tqdm.write(line)

    def _placed(self) -> nn.Module:
        """Moves the network to its device; returns what the forward pass goes through."""
        device, alone = self.processes.device, self.processes.count == 1
        if device.type == "cuda" and not alone:  # statistics of the whole batch; torch has them for GPUs only
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if alone:
            return self.model
        return DistributedDataParallel(self.model, device_ids=[device.index] if device.type == "cuda" else None)

    def _resume(self, checkpoint: Checkpoint) -> None:
        if checkpoint.class_names != self.class_names:
            raise ValueError(
                f"{self.checkpoint_path} holds a training of the classes {', '.join(checkpoint.class_names)}, not "
                f"{', '.join(self.class_names)}; choose another folder"
            )
        if checkpoint.config != self.config:
            raise ValueError(
                f"{self.checkpoint_path} holds a network of other sizes: {checkpoint.config}, not {self.config}"
            )
        self.model.load_state_dict(checkpoint.model)
        self.average.load(checkpoint.average)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.step, self.elapsed_s = checkpoint.step, checkpoint.elapsed_s
        self.recipe["started_from"] = checkpoint.recipe.get("started_from")
        changed = [name for name, fact in self._facts.items() if checkpoint.recipe.get(name) != fact]
        if changed:
            self._tell(
                f"the data have changed since {self.checkpoint_path} was written ({', '.join(changed)}): this training "
                "goes on with the new ones; to start from scratch, choose another folder"
            )

    @property
    def is_finished(self) -> bool:
        """Whether the budget is used up."""
        return self.settings.progress(self.step, self.elapsed_s) >= 1

    def save(self) -> None:
        """Writes the checkpoint and the loss curve."""
        save_checkpoint(
            Checkpoint(
                config=self.config,
                class_names=self.class_names,
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
            batch_sampler=batch_keys(self.step, self._slots),  # type: ignore[arg-type]
            num_workers=self.settings.workers,
            collate_fn=collate,
            prefetch_factor=4 if self.settings.workers else None,
        )

    def _batches(self) -> Iterator[Batch]:
        """The batches from the present step on, without end.

        Raises:
            InputError: a frame cannot be read.
        """
        try:
            yield from _iterator(self._loader())
        except InputError as error:
            # From another process it comes with the traceback there, its own words last.
            text = str(error).strip().splitlines()[-1]
            raise InputError(text.partition(f"{InputError.__name__}: ")[2] or text) from error

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step on this process's share of the images.

        Returns:
            The loss terms of all processes, their total, the gradient's norm and the learning rate.

        Raises:
            TrainingDivergedError: a loss or the gradient is not finite; the weights are untouched.
        """
        settings, device = self.settings, self.processes.device
        rate = settings.rate(self.step, settings.progress(self.step, self.elapsed_s))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = batch.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.bf16):
            output = self._network(batch.depth_m, batch.intrinsics, batch.color_rgb)
        seeds = [(settings.seed * 1_000_003 + self.step) * settings.batch_size + slot for slot in self._slots]
        terms = batch_losses(self.model, output, batch, self.objective, seeds, self.processes.mean)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        shared = self.processes.mean(torch.stack(list(terms.values())))
        loss = float(shared.sum())
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm))
        values = dict(zip(terms, shared.tolist(), strict=True))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingDivergedError(self._diverged(batch, values, norm))
        self.optimizer.step()
        self.average.update(self.model.state_dict(), self.step)
        return {**values, "total": loss, "gradient_norm": norm, "learning_rate": rate}

    def _diverged(self, batch: Batch, values: dict[str, float], norm: float) -> str:
        """Saves this process's share of the batch; returns the message."""
        path = self.out / BAD_BATCH_NAME
        if not self.processes.is_first:
            path = path.with_stem(f"{path.stem}_{self.processes.rank}")
        content = {"step": self.step, "batch": dataclasses.asdict(batch.to(torch.device("cpu"))), "losses": values}
        save_atomically(content, path)
        return (
            f"step {self.step}: losses {values}, gradient norm {norm}; the batch is in {path}. "
            "Lower --learning-rate, or resume from the last checkpoint"
        )

    def run(self) -> None:
        """Trains to the end of the budget, with checkpoints on the way and one at the end."""
        if self.processes.is_first:
            with TrainingLog(self.out, self.step) as log, self._bar() as bar:
                self._train(log, bar)
            self.save()
        else:
            self._train(None, None)

    def _bar(self) -> tqdm:
        total = self.settings.steps or None
        return tqdm(total=total, initial=self.step, unit="step", smoothing=0.05, mininterval=5.0)

    def _train(self, log: TrainingLog | None, bar: tqdm | None) -> None:
        """The loop; with log and bar in the first process."""
        last = saved = time.monotonic()
        for batch in self._batches():
            if self.is_finished:
                break
            record = self.train_step(batch)
            now = time.monotonic()
            self.step += 1
            # One clock for all: schedule and end follow it.
            self.elapsed_s = self.processes.from_first(self.elapsed_s + now - last)
            last = now
            if log is None or bar is None:
                continue
            log.write(self.step, self.elapsed_s, record)
            self._show_progress(bar, record)
            if now - saved > 60 * self.settings.checkpoint_minutes:
                self.save()
                if log.shows_pictures:
                    log.show(self.step, prediction_picture(self._averaged(), batch))
                saved = time.monotonic()

    def _show_progress(self, bar: tqdm, record: dict[str, float]) -> None:
        bar.update()
        progress = self.settings.progress(self.step, self.elapsed_s)
        left_s = self.elapsed_s * (1 / max(progress, 1e-6) - 1)
        bar.set_postfix_str(
            f"loss {record['total']:.3f} dice {record['dice']:.3f} class {record['class']:.3f} "
            f"lr {record['learning_rate']:.1e} left {left_s / 60:.0f} min",
            refresh=False,
        )

    def _averaged(self) -> CondInst:
        """The network with the averaged weights on the CPU, in evaluation mode."""
        model = CondInst(self.config)
        model.load_state_dict(self.average.state)
        return model.eval()


def _iterator(loader: DataLoader[Any]) -> Iterator[Batch]:
    """The loader's iterator, its workers with one thread each: the network needs the cores.

    OpenCV's threads are stopped before the workers are forked: a worker that has inherited a pool without its threads
    waits for them forever.
    """
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    batches = iter(loader)
    cv2.setNumThreads(threads)
    return batches
