"""Runs a model file with PyTorch: on an NVIDIA GPU compiled and as one CUDA graph, on a CPU operator by operator.

What runs is the model file's own graph, frozen at the camera's size and translated to PyTorch functions, so it needs
no checkpoint and no code of the network, and computes what the other backends compute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.contract import GraphInput
from instance_seg_ros.segmentation.network import selected_instances, size_wh_of
from instance_seg_ros.segmentation.postprocessing import Selection, SettledMasks, settled_instances
from instance_seg_ros.segmentation.runtimes.compiled_program import CompiledProgram, Program, stop_compilers
from instance_seg_ros.segmentation.runtimes.cuda_graph import Buffer, GraphedWork
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.graph_network import GraphNetwork
from instance_seg_ros.segmentation.runtimes.half_precision import HALF_TYPES, with_half_convolutions
from instance_seg_ros.segmentation.runtimes.mask_settling import (
    NETWORK_OUTPUTS,
    PREFIX,
    SELECTION,
    selection_array,
    settle,
)
from instance_seg_ros.segmentation.runtimes.nvidia_driver import pytorch_obstacle
from instance_seg_ros.segmentation.runtimes.torch_program import TensorType, TorchProgram

_OLDEST_WITH_BF16 = (8, 0)
_COMPILING = threading.Lock()
"""The compiler's processes are the Python process's: whoever is done must not end those that another one waits for."""


def obstacle() -> str | None:
    """Why PyTorch cannot use a GPU here, with the cure; None when it can."""
    return pytorch_obstacle()


class PyTorchNetwork(GraphNetwork):
    """A model file on PyTorch, for images of one size. For one caller at a time.

    Compiled, it resizes the masks of this project's models and settles their overlaps in the same kernels.

    Args:
        path: of the model file.
        shapes: of its inputs, by name.
        precision: "fp16" and "bf16" compute the convolutions in half precision, except the first, which reads metres,
            and keep what measures in FP32 (`half_precision`); "tf32" lets a GPU round their factors to 10 bits of
            mantissa, "fp32" does not; "auto" is bf16 on a GPU that has it (compute capability 8.0), else tf32.
        device: "cuda" or "cpu".
        compiled_in: folder for what the compiler makes; None: nothing is compiled.

    Raises:
        ModelError: the file is for other sizes, or has operators that PyTorch does not run.
        RuntimeError: from PyTorch, such as when the GPU's memory is full.
    """

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, tuple[int, ...]],
        precision: str,
        device: str,
        compiled_in: Path | None = None,
    ) -> None:
        chosen = resolved_precision(precision, device)
        model = with_fixed_sizes(path, shapes)
        if chosen in HALF_TYPES:
            model = with_half_convolutions(model, HALF_TYPES[chosen])
        program = TorchProgram(model, device)
        make = partial(_CudaSession, allow_tf32=chosen != "fp32") if device == "cuda" else _CpuSession
        session, note = _session(program, make, size_wh_of(shapes), compiled_in, device)
        self._settled = [name for name in session.outputs if name.startswith(PREFIX)]
        super().__init__(
            path, f"PyTorch {torch.__version__} ({chosen}{note}{session.note})", session.where, lambda: session
        )

    def instances(self, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]) -> Instances:
        """Of one frame.

        Raises:
            ModelError: the network was made for images of another size.
        """
        if not self._settled:
            return selected_instances(self(inputs), inputs, selection, class_names)
        feeds = {**self._contract.feeds(inputs, self._session.inputs), SELECTION: selection_array(selection)}
        results = self._session.run(self._settled, feeds)
        attributes = (name.removeprefix(PREFIX) for name in self._settled)
        settled = SettledMasks(**dict(zip(attributes, results, strict=True)))
        return settled_instances(settled, class_names, selection.min_mask_pixels)


def _session(
    program: TorchProgram,
    make: Callable[[Program], _CpuSession | _CudaSession],
    size_wh: tuple[int, int],
    compiled_in: Path | None,
    device: str,
) -> tuple[_CpuSession | _CudaSession, str]:
    """The session of a program, compiled if that is wanted and possible, and a note about it."""
    if compiled_in is None:
        return make(program), ""
    # Of models of other projects the outputs mean something else, and are read on the CPU.
    is_own = set(program.output_types) >= NETWORK_OUTPUTS
    with _COMPILING:
        try:
            whole = _Settling(program, size_wh) if is_own else program
            return make(CompiledProgram(whole, device, compiled_in)), ", compiled"
        except Exception as error:  # the compiler's and Triton's share no base; uncompiled it runs all the same
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        finally:
            stop_compilers()
    return make(program), f", not compiled: {reason}"


class _Settling:
    """A program with the settled masks among its outputs."""

    def __init__(self, program: TorchProgram, size_wh: tuple[int, int]) -> None:
        self._program, self._size_wh = program, size_wh
        self.input_types = {**program.input_types, SELECTION: TensorType((3,), torch.float32)}
        shaped = {
            name: torch.empty(kind.shape, dtype=kind.dtype, device="meta")
            for name, kind in program.output_types.items()
        }
        settled = settle(shaped, torch.empty(3, device="meta"), size_wh)
        types = {name: TensorType(tuple(value.shape), value.dtype) for name, value in settled.items()}
        self.output_types = {**program.output_types, **types}

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        selection = inputs[SELECTION]
        output = self._program({name: value for name, value in inputs.items() if name != SELECTION})
        return {**output, **settle(output, selection, self._size_wh)}


def resolved_precision(precision: str, device: str) -> str:
    """The precision that `precision` means on a device: itself, unless it is "auto"."""
    if precision != "auto":
        return precision
    if device == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.get_device_capability() >= _OLDEST_WITH_BF16 else "tf32"


class _Session:
    """A program as a GraphSession: what both devices have in common."""

    def __init__(self, program: Program) -> None:
        types = {name: kind for name, kind in program.input_types.items() if name != SELECTION}
        self.inputs = {
            name: GraphInput(str(kind.dtype).removeprefix("torch."), kind.shape) for name, kind in types.items()
        }
        self.outputs = list(program.output_types)
        # For who asks for the network's output as it is.
        self._unasked = {SELECTION: np.zeros(3, dtype=np.float32)} if SELECTION in program.input_types else {}


def _buffers(types: Mapping[str, TensorType]) -> dict[str, Buffer]:
    return {name: Buffer(name, value.shape, value.dtype) for name, value in types.items()}


class _CpuSession(_Session):
    """Eager PyTorch."""

    where, note = "the CPU", ""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._program = program

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:
        arrays = {**self._unasked, **feeds}
        results = self._program({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
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
        results = self._work({**self._unasked, **feeds}, outputs)
        return [results[name] for name in outputs]
