"""Runs a model file with PyTorch: on an NVIDIA GPU as one CUDA graph, on a CPU operator by operator.

What runs is the model file's own graph, frozen at the camera's size and translated to PyTorch functions, so it needs
no checkpoint and no code of the network, and computes what the other backends compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from instance_seg_ros.segmentation.contract import GraphInput
from instance_seg_ros.segmentation.runtimes.cuda_graph import Buffer, GraphedWork
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.graph_network import GraphNetwork
from instance_seg_ros.segmentation.runtimes.half_precision import HALF_TYPES, with_half_convolutions
from instance_seg_ros.segmentation.runtimes.nvidia_driver import pytorch_obstacle
from instance_seg_ros.segmentation.runtimes.torch_program import TensorType, TorchProgram

_OLDEST_WITH_BF16 = (8, 0)


def obstacle() -> str | None:
    """Why PyTorch cannot use a GPU here, with the cure; None when it can."""
    return pytorch_obstacle()


class PyTorchNetwork(GraphNetwork):
    """A model file on PyTorch, for images of one size. For one caller at a time.

    Args:
        path: of the model file.
        shapes: of its inputs, by name.
        precision: "fp16" and "bf16" compute the convolutions in half precision, except the first, which reads metres,
            and keep what measures in FP32 (`half_precision`); "tf32" lets a GPU round their factors to 10 bits of
            mantissa, "fp32" does not; "auto" is bf16 on a GPU that has it (compute capability 8.0), else tf32.
        device: "cuda" or "cpu".

    Raises:
        ModelError: the file is for other sizes, or has operators that PyTorch does not run.
        RuntimeError: from PyTorch, such as when the GPU's memory is full.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], precision: str, device: str) -> None:
        chosen = resolved_precision(precision, device)
        model = with_fixed_sizes(path, shapes)
        if chosen in HALF_TYPES:
            model = with_half_convolutions(model, HALF_TYPES[chosen])
        program = TorchProgram(model, device)
        session = _CudaSession(program, allow_tf32=chosen != "fp32") if device == "cuda" else _CpuSession(program)
        super().__init__(path, f"PyTorch {torch.__version__} ({chosen}{session.note})", session.where, lambda: session)


def resolved_precision(precision: str, device: str) -> str:
    """The precision that `precision` means on a device: itself, unless it is "auto"."""
    if precision != "auto":
        return precision
    if device == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.get_device_capability() >= _OLDEST_WITH_BF16 else "tf32"


class Program(Protocol):
    """What is needed of a `TorchProgram` to run it."""

    @property
    def input_types(self) -> Mapping[str, TensorType]:
        """By name."""

    @property
    def output_types(self) -> Mapping[str, TensorType]:
        """By name."""

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The outputs for inputs on the same device."""


class _Session:
    """A program as a GraphSession: what both devices have in common."""

    def __init__(self, program: Program) -> None:
        self.inputs = {
            name: GraphInput(str(value.dtype).removeprefix("torch."), value.shape)
            for name, value in program.input_types.items()
        }
        self.outputs = list(program.output_types)


def _buffers(types: Mapping[str, TensorType]) -> dict[str, Buffer]:
    return {name: Buffer(name, value.shape, value.dtype) for name, value in types.items()}


class _CpuSession(_Session):
    """Eager PyTorch."""

    where, note = "the CPU", ""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._program = program

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:
        results = self._program({name: torch.from_numpy(np.array(array)) for name, array in feeds.items()})
        return [results[name].numpy() for name in outputs]


class _CudaSession(_Session):
    """One CUDA graph of all that PyTorch launches for a frame."""

    def __init__(self, program: Program, allow_tf32: bool) -> None:
        super().__init__(program)
        self.where = torch.cuda.get_device_name(torch.cuda.current_device())
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            inputs = _buffers(program.input_types)
            outputs = _buffers(program.output_types)

        def enqueue() -> None:
            # With `benchmark`, the first run, which is not captured, finds the fastest kernel of each convolution.
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=allow_tf32):
                results = program({name: buffer.device for name, buffer in inputs.items()})
            for name, buffer in outputs.items():
                buffer.device.copy_(results[name], non_blocking=True)

        self._work = GraphedWork(stream, inputs, outputs, enqueue)
        self.note = self._work.note

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:
        results = self._work(feeds)
        return [results[name] for name in outputs]
