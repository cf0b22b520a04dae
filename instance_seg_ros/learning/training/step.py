"""One optimiser step, without a value that leaves the device: forward, losses, backward, clipping, AdamW, average."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from instance_seg_ros.learning.datasets.training_samples import Batch
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.training.curve import TERMS
from instance_seg_ros.learning.training.objective import batch_losses
from instance_seg_ros.learning.training.processes import Processes
from instance_seg_ros.learning.training.settings import ObjectiveSettings, TrainingSettings
from instance_seg_ros.segmentation.runtimes.cuda_graph import capturing

GRADIENT_NORM = "gradient_norm"
_EAGER_STEPS = 8
"""Steps before a graph is captured: the optimiser makes its state in them, and libraries load and choose kernels."""


def parameter_groups(model: CondInst, weight_decay: float) -> list[dict[str, Any]]:
    """Weights with decay; biases, norms and scales without."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


class WeightAverage:
    """Exponential moving average of parameters and buffers; the decay rises from 0, so early averages serve too.

    Args:
        state: what to average, by name; its tensors are read in place at every update.
        decay: the largest one.
    """

    def __init__(self, state: dict[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in state.items()}
        floating = [name for name, value in state.items() if value.is_floating_point()]
        others = [name for name in state if name not in floating]
        self._pairs = [
            ([self.state[name] for name in names], [state[name].detach() for name in names])
            for names in (floating, others)
        ]

    def weight_at(self, step: int) -> float:
        """The share of the newest values in the average."""
        return 1 - min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, weight: Tensor) -> None:
        """Moves the average towards the present values by `weight`, (); counters are copied."""
        (averages, values), (counters, counts) = self._pairs
        difference = torch._foreach_sub(values, averages)
        torch._foreach_mul_(difference, weight)
        torch._foreach_add_(averages, difference)
        if counters:
            torch._foreach_copy_(counters, counts)

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes the values of another average, on whatever device."""
        for name, value in state.items():
            self.state[name].copy_(value)


class OptimiserStep:
    """The step, and the optimiser and average that it moves.

    What changes from step to step is written into tensors before it, and what it finds is returned as one: a GPU can
    repeat it as a graph. Gradients that are no numbers leave the weights, and their average, as they are; the
    statistics of batch normalisation have seen the batch by then, so who goes on must do so from a checkpoint.

    Args:
        model: the network.
        network: what the forward pass goes through: the network, or its wrapper for several processes.
        settings: the recipe.
        objective: weights of the losses.
        processes: the device, and the others that train the same network.
        slots: of the batch, which this process learns from.
    """

    def __init__(
        self,
        model: CondInst,
        network: nn.Module,
        settings: TrainingSettings,
        objective: ObjectiveSettings,
        processes: Processes,
        slots: range,
    ) -> None:
        self._model, self._network = model, network
        self._settings, self._objective, self._processes = settings, objective, processes
        device = processes.device
        self._on_gpu = device.type == "cuda"
        self._rate = torch.zeros((), device=device)
        self._weight = torch.zeros((), device=device)
        self._seed = torch.zeros((), dtype=torch.int64, device=device)
        self._slots = torch.arange(slots.start, slots.stop, device=device)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, settings.weight_decay),
            lr=settings.learning_rate,
            fused=True,
            capturable=self._on_gpu,
        )
        self._share_rate()
        self.average = WeightAverage(model.state_dict(), settings.average_decay)

    def _share_rate(self) -> None:
        """A GPU reads the learning rate from its memory, where a graph finds each step's."""
        for group in self.optimizer.param_groups:
            group["capturable"] = self._on_gpu
            if self._on_gpu:
                group["lr"] = self._rate

    def load(self, average: dict[str, Tensor], optimizer: dict[str, Any]) -> None:
        """Takes the average and the optimiser's state of a checkpoint, from whatever device; the settings stay."""
        self.average.load(average)
        self.optimizer.load_state_dict(optimizer)
        # The state holds the settings that it was made with.
        for group, own in zip(
            self.optimizer.param_groups, parameter_groups(self._model, self._settings.weight_decay), strict=True
        ):
            group["weight_decay"] = own["weight_decay"]
        self._share_rate()

    def prepare(self, step: int, rate: float) -> None:
        """Sets what the next call needs to know: its number and the learning rate."""
        if self._on_gpu:
            self._rate.fill_(rate)
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        self._weight.fill_(self.average.weight_at(step))
        self._seed.fill_((self._settings.seed * 1_000_003 + step) * self._settings.batch_size % 2**62)

    def __call__(self, batch: Batch) -> Tensor:
        """
        Args:
            batch: on the device.

        Returns:
            (8,) float32 on the device: the loss terms of all processes, in the order of TERMS, and the gradient's norm.
        """
        settings, device_type = self._settings, batch.depth_m.device.type
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=settings.bf16):
            output = self._network(batch.depth_m, batch.intrinsics, batch.color_rgb)
        seeds = self._seed + self._slots
        terms = batch_losses(self._model, output, batch, self._objective, seeds, self._processes.mean)
        own = torch.stack([terms[name] for name in TERMS])
        own.sum().backward()
        shared = self._processes.mean(own)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, settings.clip_norm, foreach=True)
        found = torch.cat((shared, norm.detach().view(1)))
        is_bad = (~found.isfinite()).any()
        self.optimizer.found_inf = is_bad.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.average.update(torch.where(is_bad, 0.0, self._weight))
        return found


class CapturedStep:
    """A step of fixed shapes as CUDA graphs, one for each shape of batch.

    The first steps of a shape run kernel by kernel; then the step is captured, and from there on each step is a copy of
    the batch into the graph's inputs and one launch. All of it happens on one stream of its own, in order with the
    stream that calls. Where the capture fails, steps go on kernel by kernel.

    Args:
        step: takes a batch and returns a tensor of always the same memory layout; without a wait for the GPU.
        device: the GPU.
    """

    def __init__(self, step: Callable[[Batch], Tensor], device: torch.device) -> None:
        self._step = step
        self._stream = torch.cuda.Stream(device)
        self._eager: dict[tuple[int, ...], int] = {}
        self._graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Batch, Tensor]] = {}
        self._captures = True

    def __call__(self, batch: Batch) -> Tensor:
        """The step's result; valid until the next call."""
        caller = torch.cuda.current_stream()
        self._stream.wait_stream(caller)
        batch.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            result = self._result(batch)
        caller.wait_stream(self._stream)
        return result

    def _result(self, batch: Batch) -> Tensor:
        shape = tuple(batch.boxes_xyxy.shape)
        if self._captures and shape not in self._graphs and self._eager.get(shape, 0) >= _EAGER_STEPS:
            self._capture(shape, batch)
        if shape not in self._graphs:
            self._eager[shape] = self._eager.get(shape, 0) + 1
            return self._step(batch)
        graph, inputs, result = self._graphs[shape]
        inputs.copy_(batch)
        graph.replay()
        return result

    def _capture(self, shape: tuple[int, ...], batch: Batch) -> None:
        inputs = batch.clone()
        graph = torch.cuda.CUDAGraph()
        self._stream.synchronize()
        try:
            # Relaxed: that a library or a thread of the loader asks for memory meanwhile must not end the capture.
            with capturing(graph, self._stream, "relaxed"):
                result = self._step(inputs)
        except RuntimeError as error:
            self._captures = False
            where = " < ".join(
                f"{Path(f.filename).name}:{f.lineno}" for f in extract_tb(error.__traceback__)[:0:-1][:6]
            )
            cause = str(error).partition("\n")[0]
            tqdm.write(f"no CUDA graph of a training step ({cause}; {where}): steps run kernel by kernel, more slowly")
            return
        self._graphs[shape] = (graph, inputs, result)
