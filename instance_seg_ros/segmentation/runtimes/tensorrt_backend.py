"""Runs a model file with TensorRT 10 and 11, or TensorRT for RTX, on an NVIDIA GPU.

Buffers are PyTorch's: pinned memory for what crosses to and from the GPU, CUDA memory for what the engine reads and
writes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from numpy.typing import NDArray

from instance_seg_ros.segmentation.contract import FamilyContract, GraphInput
from instance_seg_ros.segmentation.postprocessing import NetworkOutput
from instance_seg_ros.segmentation.runtimes.cuda_graph import Buffer, GraphedWork
from instance_seg_ros.segmentation.runtimes.engine_builder import (
    EngineError,
    EngineRefusedError,
    TensorRtLibrary,
    builder_flags,
)
from instance_seg_ros.segmentation.runtimes.engine_cache import EngineKey
from instance_seg_ros.segmentation.runtimes.nvidia_driver import pytorch_obstacle

_TORCH_TYPES = {"FLOAT": torch.float32, "HALF": torch.float16, "INT64": torch.int64, "UINT8": torch.uint8}
_OUTPUTS = tuple(field.name for field in dataclasses.fields(NetworkOutput))


def obstacle(library: TensorRtLibrary) -> str | None:
    """Why this machine cannot run engines though the library is there, with the cure; None when it can."""
    reason = pytorch_obstacle()
    if reason is None and library.name == "tensorrt-rtx":
        try:
            library.compute_capability(gpu_capability())
        except EngineError as error:
            return str(error)
    return reason


def gpu_capability() -> str:
    """The compute capability of the GPU that PyTorch uses, such as "8.6"."""
    major, minor = torch.cuda.get_device_capability()
    return f"{major}.{minor}"


def engine_key(
    library: TensorRtLibrary,
    model_digest: str,
    input_shapes: Mapping[str, tuple[int, ...]],
    precision: str,
    prepared_by: str,
) -> EngineKey:
    """What an engine that is built here for these inputs depends on."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    return EngineKey(
        model_digest=model_digest,
        input_shapes=dict(input_shapes),
        tensorrt_version=library.version,
        gpu_name=gpu.name,
        compute_capability=f"{gpu.major}.{gpu.minor}",
        multiprocessors=gpu.multi_processor_count,
        precision=precision,
        builder_flags=("STRONGLY_TYPED", *(flag.name for flag in builder_flags(library, precision))),
        prepared_by=prepared_by,
    )


class TensorRtNetwork:
    """A deserialised engine with its buffers, its stream and its CUDA graph. For one caller at a time.

    Args:
        library: that built the engine.
        engine: from `build_engine`, on this machine.
        contract: of an exported model of another project; None for one of this project, whose inputs and outputs are a
            frame's arrays and NetworkOutput's.

    Raises:
        EngineRefusedError: TensorRT cannot load the engine.
        EngineError: there is not enough memory, or the engine cannot run.
    """

    def __init__(self, library: TensorRtLibrary, engine: bytes, contract: FamilyContract | None = None) -> None:
        library.errors.clear()
        self._library = library
        self._runtime = library.module.Runtime(library.logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            reason = library.errors.reason()
            # Too little memory now is no reason to build again for an hour: the engine fits when memory is free.
            kind = EngineError if "OutOfMemory" in reason else EngineRefusedError
            raise kind(f"{library.version} cannot load the engine: {reason}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"{library.version} cannot make room for the engine to run: {library.errors.reason()}")
        self._stream = torch.cuda.Stream()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inputs = {name for name in names if self._engine.get_tensor_mode(name) == library.module.TensorIOMode.INPUT}
        with torch.cuda.stream(self._stream):
            buffers = {name: self._bind(name) for name in names}
        self._contract = contract
        self._inputs = {name: self._graph_input(name) for name in inputs}
        outputs = _OUTPUTS if contract is None else contract.outputs_to_ask(self._inputs, names)
        self._work = GraphedWork(
            self._stream,
            {name: buffer for name, buffer in buffers.items() if name in inputs},
            {name: buffers[name] for name in outputs if name in buffers},
            self._enqueue,
        )

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the engine needs of a frame."""
        return self._work.input_names if self._contract is None else self._contract.input_names

    @property
    def backend(self) -> str:
        """The library's version and the GPU."""
        gpu = torch.cuda.get_device_name(torch.cuda.current_device())
        return f"{self._library.version} on {gpu}{self._work.note}"

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the network on one frame.

        Args:
            inputs: for each of `input_names`, of the shape that the engine was built for.

        Raises:
            ModelError: an input has another shape.
            EngineError: the engine fails.
        """
        if self._contract is None:
            return NetworkOutput(**self._work(inputs))
        results = self._work(self._contract.feeds(inputs, self._inputs))
        return self._contract.read(results, {name: array.shape for name, array in inputs.items()})

    def _bind(self, name: str) -> Buffer:
        """The buffer of a tensor, at an address that never changes: the CUDA graph holds it."""
        shape = tuple(self._engine.get_tensor_shape(name))
        data_type = self._engine.get_tensor_dtype(name).name
        if min(shape, default=1) < 0 or data_type not in _TORCH_TYPES:
            raise EngineError(
                f"the engine's {name} has shape {shape} and type {data_type}; wanted are fixed sizes and one of "
                f"{', '.join(_TORCH_TYPES)}"
            )
        buffer = Buffer(name, shape, _TORCH_TYPES[data_type])
        if not self._context.set_tensor_address(name, buffer.address):
            raise EngineError(f"{self._library.version} refuses the buffer for {name}: {self._library.errors.reason()}")
        return buffer

    def _graph_input(self, name: str) -> GraphInput:
        data_type = _TORCH_TYPES[self._engine.get_tensor_dtype(name).name]
        return GraphInput(str(data_type).removeprefix("torch."), tuple(self._engine.get_tensor_shape(name)))

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise EngineError(f"{self._library.version} cannot run the engine: {self._library.errors.reason()}")
