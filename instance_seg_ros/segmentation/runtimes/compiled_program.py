"""A program of PyTorch functions as few large kernels, by PyTorch's own compiler (inductor, with Triton on a GPU)."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import make_fx

from instance_seg_ros.segmentation.runtimes.torch_program import TensorType

_OPTIONS: dict[str, str | int | bool | Callable] = {"force_layout_optimization": True}
"""Channels last for every convolution, as the weights are: tensor cores take nothing else without a copy."""
_FUSED_WITH_OTHERS = (torch.ops.aten.upsample_bilinear2d.default, torch.ops.aten.upsample_bilinear2d.vec)
"""What the compiler would call as a kernel of its own is written as arithmetic, which it joins with what is around."""
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


class Program(Protocol):
    """What is needed of a `TorchProgram` to run it."""

    @property
    def input_types(self) -> Mapping[str, TensorType]:
        """By name."""

    @property
    def output_types(self) -> Mapping[str, TensorType]:
        """By name."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The outputs for inputs on the same device."""


class CompiledProgram:
    """A program that is compiled with its first run, which then takes a minute, or seconds where the cache has it.

    Args:
        program: the same operators in the same order at every run, without a look at values.
        device: that it runs on.
        cache: folder for what was compiled, unless the environment names one.

    Raises:
        RuntimeError: it is for a GPU, and Triton is not installed.
    """

    def __init__(self, program: Program, device: str, cache: Path) -> None:
        if device == "cuda" and importlib.util.find_spec("triton") is None:
            raise RuntimeError("Triton is not installed")
        _keep_in(cache)
        self.input_types, self.output_types = program.input_types, program.output_types
        names, outputs = tuple(program.input_types), tuple(program.output_types)

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            results = program(dict(zip(names, inputs, strict=True)))
            return tuple(results[name] for name in outputs)

        samples = [torch.zeros(kind.shape, dtype=kind.dtype, device=device) for kind in program.input_types.values()]
        with torch.no_grad():
            # The operators alone, which the compiler reads faster than the code that calls them.
            arithmetic = get_decompositions(_FUSED_WITH_OTHERS)
            table = {name: function for name, function in arithmetic.items() if isinstance(name, OpOverload)}
            graph = make_fx(run, decomposition_table=table)(*samples)
        self._run = torch.compile(graph, fullgraph=True, dynamic=False, options=_OPTIONS)

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name, on the device; `inputs` are there already."""
        results = self._run(*(inputs[name] for name in self.input_types))
        return dict(zip(self.output_types, results, strict=True))


def stop_compilers() -> None:
    """Ends the processes that the compiler keeps for the next time, with half a gigabyte of memory."""
    from torch._inductor.async_compile import shutdown_compile_workers  # the compiler is large

    shutdown_compile_workers()


def _keep_in(folder: Path) -> None:
    """Makes the compiler keep what it makes in a folder, unless the user has named one.

    PyTorch puts its own default into the environment as soon as a part of it asks: a temporary folder, which does not
    outlive the machine's next start.
    """
    named = os.environ.get(_CACHE_VARIABLE)
    if named is None or Path(named).parent == Path(tempfile.gettempdir()):
        os.environ[_CACHE_VARIABLE] = str(folder)
