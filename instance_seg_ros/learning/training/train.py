"""The training loop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.batched.camera import BatchCamera
from instance_seg_ros.learning.datasets.photometric import PhotometricSettings
from instance_seg_ros.learning.datasets.training_samples import (
    Batch,
    FrameDataset,
    FrameSource,
    batch_keys,
    clean_source,
    collate,
)
from instance_seg_ros.learning.models.checkpoint import Checkpoint, load_checkpoint, save_atomically, save_checkpoint
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.training.curve import TERMS, plot_losses
from instance_seg_ros.learning.training.initial import InitialWeights, fill_network
from instance_seg_ros.learning.training.log import LOG_NAME, TrainingLog
from instance_seg_ros.learning.training.pictures import prediction_picture
from instance_seg_ros.learning.training.processes import Processes
from instance_seg_ros.learning.training.settings import ObjectiveSettings, TrainingSettings
from instance_seg_ros.learning.training.step import (
    GRADIENT_NORM,
    CapturedStep,
    OptimiserStep,
    WeightAverage,
)

CHECKPOINT_NAME = "checkpoint.pt"
CURVE_NAME = "loss.png"
BAD_BATCH_NAME = "bad_batch.pt"
_BATCHES_AHEAD = 4
"""Batches that each process of the loader prepares ahead."""
_INSTANCE_ROWS = 32
"""On a GPU, batches have a multiple of this many rows of instances: each number of rows is a CUDA graph of its own."""
_STEPS_UNDER_WAY = 3
"""Steps that a GPU may be behind the process that starts them."""
_FEW_INCOMPLETE = 0.1
"""Up to this share of frames without depth or colour, batch normalisation may learn its statistics from them."""


class TrainingDivergedError(RuntimeError):
    """The loss is no longer a number; the batch was saved."""


def keep_statistics(model: nn.Module) -> None:
    """Lets batch normalisation use its running statistics from now on and not change them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


@dataclass(frozen=True)
class _StepUnderWay:
    """A step that a device works on, or has done.

    Attributes:
        number: of the step, from 0.
        rate: the learning rate.
        batch: what it learns from.
        found: what `OptimiserStep` returns, on the CPU; with values only after `done`.
        done: that `found` is there; None where it is.
    """

    number: int
    rate: float
    batch: Batch
    found: Tensor
    done: torch.cuda.Event | None


class Trainer:
    """One training run in one folder: checkpoint, log and curve.

    Args:
        settings: the recipe.
        source: frames to train on.
        out: the folder, which all processes see; only the first one writes there.
        config: sizes of the network; by default the usual ones for the source's classes.
        augmentation: of the frames.
        objective: weights of the losses.
        initial: what to start from where `out` holds no checkpoint to resume from, and else what that started from, or
            None. Without a checkpoint, None starts from random weights.
        processes: the device, and the others that train the same network.

    Raises:
        ValueError: sizes, classes, starting weights or a checkpoint do not fit together, or the batch cannot be shared
            evenly.
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
        clean = clean_source(source) if self._on_gpu else None
        self.dataset = FrameDataset(
            source, augmentation, self.config.input_hw, settings.batch_size, settings.seed, clean is not None
        )
        self._camera = None
        if clean is not None:
            self._camera = BatchCamera(augmentation, clean.prints, clean.misregistration, PhotometricSettings())
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        out.mkdir(parents=True, exist_ok=True)
        self.model = CondInst(self.config).train()
        checkpoint = load_checkpoint(self.checkpoint_path) if self.checkpoint_path.is_file() else None
        started_from = None if initial is None else initial.origin
        if checkpoint is not None:
            started_from = self._start_of(checkpoint, started_from)
        elif initial is not None:
            self._tell(*(f"starting weights: {note}" for note in fill_network(self.model, self.class_names, initial)))
        self.fixes_statistics = settings.batch_statistics == "fixed" or (
            settings.batch_statistics == "auto"
            and started_from is not None
            and source.incomplete_share > _FEW_INCOMPLETE
        )
        if self.fixes_statistics:
            keep_statistics(self.model)
        network = self._placed()
        self._optimiser_step = OptimiserStep(self.model, network, settings, self.objective, self.processes, self._slots)
        self._run_step: Callable[[Batch], Tensor] = self._optimiser_step
        if self._on_gpu and self.processes.count == 1:
            self._run_step = CapturedStep(self._optimiser_step, self.processes.device)
        self._under_way: deque[_StepUnderWay] = deque()
        self.step, self.elapsed_s = 0, 0.0
        self._facts = source.facts()
        self.recipe = {
            "training": dataclasses.asdict(settings),
            "augmentation": dataclasses.asdict(augmentation),
            "objective": dataclasses.asdict(self.objective),
            "processes": self.processes.count,
            **self._facts,
            "started_from": started_from,
        }
        if checkpoint is not None:
            self._resume(checkpoint)

    @property
    def checkpoint_path(self) -> Path:
        """Where the newest checkpoint lies."""
        return self.out / CHECKPOINT_NAME

    @property
    def average(self) -> WeightAverage:
        """Of the weights, which is what is exported."""
        return self._optimiser_step.average

    @property
    def _on_gpu(self) -> bool:
        return self.processes.device.type == "cuda"

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

    def _start_of(self, checkpoint: Checkpoint, given: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the training in the folder started from; `given` may be None, but nothing else.

        Raises:
            ValueError: it is something else.
        """
        started_from = checkpoint.recipe.get("started_from")
        if given is not None and given != started_from:
            raise ValueError(
                f"{self.checkpoint_path} holds a training that did not start from these weights; choose another "
                "folder, or start the command as before to go on with it"
            )
        return started_from

    def _resume(self, checkpoint: Checkpoint) -> None:
        if checkpoint.class_names != self.class_names:
            raise ValueError(
                f"{self.checkpoint_path} holds a training of the classes {', '.join(checkpoint.class_names)}, not "
                f"{', '.join(self.class_names)}; choose another folder"
            )
        if checkpoint.config != self.config:
            raise ValueError(
                f"{self.checkpoint_path} holds a network of other sizes: "
                f"{'; '.join(_differences(checkpoint.config.to_dict(), self.config.to_dict()))}; choose another folder"
            )
        self.model.load_state_dict(checkpoint.model)
        self._optimiser_step.load(checkpoint.average, checkpoint.optimizer)
        self.step, self.elapsed_s = checkpoint.step, checkpoint.elapsed_s
        settings = [
            line
            for group in ("training", "augmentation", "objective")
            for line in _differences(checkpoint.recipe.get(group, {}), self.recipe[group])
        ]
        if settings:
            self._tell(
                f"settings have changed since {self.checkpoint_path} was written: {'; '.join(settings)}. From here on "
                "the new ones hold"
            )
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
                optimizer=self._optimiser_step.optimizer.state_dict(),
                step=self.step,
                elapsed_s=self.elapsed_s,
                recipe=self.recipe,
            ),
            self.checkpoint_path,
        )
        plot_losses(self.out / LOG_NAME, self.out / CURVE_NAME)

    def _loader(self) -> DataLoader[Any]:
        workers = self.settings.loader_processes(self._on_gpu)
        return DataLoader(
            self.dataset,
            batch_sampler=batch_keys(self.step, self._slots),  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=partial(collate, rows=_INSTANCE_ROWS if self._on_gpu else 1),
            prefetch_factor=_BATCHES_AHEAD if workers else None,
            pin_memory=self._on_gpu,
        )

    def _batches(self) -> Iterator[Batch]:
        """The batches from the present step on, without end.

        Raises:
            InputError: a frame cannot be read.
        """
        try:
            batches = _iterator(self._loader())
            yield from self._on_device(batches) if self._on_gpu else batches
        except InputError as error:
            # From another process it comes with the traceback there, its own words last.
            text = str(error).strip().splitlines()[-1]
            raise InputError(text.partition(f"{InputError.__name__}: ")[2] or text) from error

    def _on_device(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches on the GPU, each copied, and seen by its cameras, while the one before is learned from."""
        device, settings = self.processes.device, self.settings
        stream, generator = torch.cuda.Stream(device), torch.Generator(device)
        waiting: tuple[Batch, torch.cuda.Event] | None = None
        for step, batch in enumerate(batches, start=self.step):
            with torch.cuda.stream(stream):
                moved = batch.to(device)
                if self._camera is not None:
                    slot = step * settings.batch_size + self._slots.start
                    generator.manual_seed((settings.seed * 1_000_003 + slot) % 2**62)
                    moved = self._camera(moved, generator)
                ready = torch.cuda.Event()
                ready.record(stream)
            if waiting is not None:
                taken, was_ready = waiting
                consumer = torch.cuda.current_stream(device)
                consumer.wait_event(was_ready)
                taken.record_stream(consumer)
                yield taken
            waiting = moved, ready

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step on this process's share of the images, and its record, see `start_step`."""
        self.start_step(batch)
        return self._finished(0)[-1]

    def start_step(self, batch: Batch) -> None:
        """Starts an optimiser step on this process's share of the images; a GPU need not have begun it on return."""
        rate = self.settings.rate(self.step, self.settings.progress(self.step, self.elapsed_s))
        batch = batch.to(self.processes.device)
        self._optimiser_step.prepare(self.step, rate)
        found = self._run_step(batch)
        done = None
        if self._on_gpu:
            on_host = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
            found = on_host.copy_(found, non_blocking=True)
            done = torch.cuda.Event()
            done.record()
        self._under_way.append(_StepUnderWay(self.step, rate, batch, found, done))

    def _finished(self, left: int) -> list[dict[str, float]]:
        """The records of the steps that are under way except the newest `left`, oldest first.

        Returns:
            Of each: its number from 1, the loss terms of all processes, their total, the gradient's norm and the
            learning rate.

        Raises:
            TrainingDivergedError: a loss or the gradient is not finite; that step left the weights untouched.
        """
        records = []
        while len(self._under_way) > left:
            step = self._under_way.popleft()
            if step.done is not None:
                step.done.synchronize()
            found = dict(zip((*TERMS, GRADIENT_NORM), step.found.tolist(), strict=True))
            if not all(math.isfinite(value) for value in found.values()):
                raise TrainingDivergedError(self._diverged(step, found))
            total = sum(found[name] for name in TERMS)
            records.append({"step": step.number + 1, **found, "total": total, "learning_rate": step.rate})
        return records

    def _diverged(self, step: _StepUnderWay, found: dict[str, float]) -> str:
        """Saves this process's share of the batch; returns the message."""
        path = self.out / BAD_BATCH_NAME
        if not self.processes.is_first:
            path = path.with_stem(f"{path.stem}_{self.processes.rank}")
        batch = dataclasses.asdict(step.batch.to(torch.device("cpu")))
        save_atomically({"step": step.number, "batch": batch, "losses": found}, path)
        return (
            f"step {step.number}: {found}; the batch is in {path}. Lower --learning-rate, or resume from the last "
            "checkpoint"
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
            self.start_step(batch)
            now = time.monotonic()
            self.step += 1
            # One clock for all: schedule and end follow it.
            self.elapsed_s = self.processes.from_first(self.elapsed_s + now - last)
            last = now
            self._report(_STEPS_UNDER_WAY if self._on_gpu else 0, log, bar)
            if log is not None and now - saved > 60 * self.settings.checkpoint_minutes:
                self._report(0, log, bar)
                self.save()
                if log.shows_pictures:
                    log.show(self.step, prediction_picture(self._averaged(), batch.to(torch.device("cpu"))))
                saved = time.monotonic()
        self._report(0, log, bar)

    def _report(self, left: int, log: TrainingLog | None, bar: tqdm | None) -> None:
        """Waits for all steps but the newest `left`; writes and shows them where there is a log."""
        for record in self._finished(left):
            number = int(record.pop("step"))
            if log is not None and bar is not None:
                log.write(number, self.elapsed_s, record)
                self._show_progress(bar, record)

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


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each value that another has taken the place of; names that only one of the two knows do not count."""
    return [f"{name} {before[name]}, now {now[name]}" for name in before if name in now and before[name] != now[name]]


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
