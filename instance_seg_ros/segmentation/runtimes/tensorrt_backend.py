"""Runs a model file with TensorRT 10 and 11 on an NVIDIA GPU.

Only what both versions have is used: strongly typed networks, whose precisions the ONNX graph gives, and tensors by
name. Buffers are PyTorch's: pinned memory for what crosses to and from the GPU, CUDA memory for what the engine reads
and writes.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import tensorrt as trt
import torch
from numpy.typing import NDArray

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput
from instance_seg_ros.segmentation.runtimes.cuda_graph import Buffer, GraphedWork
from instance_seg_ros.segmentation.runtimes.engine_cache import EngineKey
from instance_seg_ros.segmentation.runtimes.nvidia_driver import pytorch_obstacle

_TORCH_TYPES = {"FLOAT": torch.float32, "HALF": torch.float16, "INT64": torch.int64, "UINT8": torch.uint8}
_OUTPUTS = tuple(field.name for field in dataclasses.fields(NetworkOutput))


class EngineError(InputError):
    """TensorRT cannot build or run an engine; the message says why, in TensorRT's own words."""


class EngineRefusedError(EngineError):
    """TensorRT refuses an engine that was built before; building it again may help."""


def obstacle() -> str | None:
    """Why this machine cannot run engines though TensorRT is there, with the cure; None when it can."""
    return pytorch_obstacle()


def engine_key(
    model_digest: str, input_shapes: Mapping[str, tuple[int, ...]], precision: str, prepared_by: str
) -> EngineKey:
    """What an engine that is built here for these inputs depends on."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    return EngineKey(
        model_digest=model_digest,
        input_shapes=dict(input_shapes),
        tensorrt_version=trt.__version__,
        gpu_name=gpu.name,
        compute_capability=f"{gpu.major}.{gpu.minor}",
        multiprocessors=gpu.multi_processor_count,
        precision=precision,
        builder_flags=("STRONGLY_TYPED", *(flag.name for flag in _builder_flags(precision))),
        prepared_by=prepared_by,
    )


def build_engine(model: bytes, precision: str, report: Callable[[str], None]) -> bytes:
    """Builds the engine of an ONNX model whose shapes are all fixed; takes minutes, on a Jetson up to an hour.

    Args:
        model: the serialised ONNX model.
        precision: "tf32" and "fp16" let the tensor cores round the FP32 factors of convolutions and matrix products
            to 10 bits of mantissa, "fp32" does not. What is FP16 in the model is computed in FP16 by all of them.
        report: told of the progress, by any thread; what it raises cancels the build and is raised here.

    Raises:
        EngineError: TensorRT cannot parse the model or build the engine.
    """
    _LOGGER.clear()
    builder = trt.Builder(_LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, _LOGGER)
    if not parser.parse(model):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise EngineError(f"TensorRT {trt.__version__} cannot read the model: {'; '.join(errors)}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default
    for flag in _builder_flags(precision):
        config.set_flag(flag)
    monitor = _Progress(report)
    config.progress_monitor = monitor
    engine = builder.build_serialized_network(network, config)
    if monitor.failure is not None:
        raise monitor.failure
    if engine is None:
        raise EngineError(f"TensorRT {trt.__version__} cannot build the engine: {_LOGGER.reason()}")
    return bytes(engine)


def _builder_flags(precision: str) -> tuple[trt.BuilderFlag, ...]:
    return () if precision == "fp32" else (trt.BuilderFlag.TF32,)


class TensorRtNetwork:
    """A deserialised engine with its buffers, its stream and its CUDA graph. For one caller at a time.

    Args:
        engine: from `build_engine`, on this machine.

    Raises:
        EngineRefusedError: TensorRT cannot load the engine.
        EngineError: there is not enough memory, or the engine cannot run.
    """

    def __init__(self, engine: bytes) -> None:
        _LOGGER.clear()
        self._runtime = trt.Runtime(_LOGGER)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            reason = _LOGGER.reason()
            # What does not fit today is no reason to build for an hour: the engine fits when the memory is free.
            kind = EngineError if "OutOfMemory" in reason else EngineRefusedError
            raise kind(f"TensorRT {trt.__version__} cannot load the engine: {reason}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"TensorRT {trt.__version__} cannot make room for the engine to run: {_LOGGER.reason()}")
        self._stream = torch.cuda.Stream()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inputs = {name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT}
        with torch.cuda.stream(self._stream):
            buffers = {name: self._bind(name) for name in names}
        self._work = GraphedWork(
            self._stream,
            {name: buffer for name, buffer in buffers.items() if name in inputs},
            {name: buffers[name] for name in _OUTPUTS if name in buffers},
            self._enqueue,
        )

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the engine's inputs."""
        return self._work.input_names

    @property
    def backend(self) -> str:
        """TensorRT's version and the GPU."""
        gpu = torch.cuda.get_device_name(torch.cuda.current_device())
        return f"TensorRT {trt.__version__} on {gpu}{self._work.note}"

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the network on one frame.

        Args:
            inputs: for each of `input_names`, of the shape that the engine was built for.

        Raises:
            ModelError: an input has another shape.
            EngineError: the engine fails.
        """
        return NetworkOutput(**self._work(inputs))

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
            raise EngineError(f"TensorRT {trt.__version__} refuses the buffer for {name}: {_LOGGER.reason()}")
        return buffer

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise EngineError(f"TensorRT {trt.__version__} cannot run the engine: {_LOGGER.reason()}")


class _Logger(trt.ILogger):
    """Keeps TensorRT's latest errors, which are all it says of a failure."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=3)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self._errors.append(msg)

    def clear(self) -> None:
        """Forgets what belongs to earlier work."""
        self._errors.clear()

    def reason(self) -> str:
        """The latest errors."""
        return "; ".join(self._errors) or "it gives no reason"


_LOGGER = _Logger()  # TensorRT takes one logger for the whole process


class _Progress(trt.IProgressMonitor):
    """Turns the builder's nested phases into lines such as "37%, Tactic selection".

    The builder calls it from several threads, and no exception may leave it: `failure` keeps the first one, such as the
    KeyboardInterrupt of a user who waits for the build, and the build is cancelled.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        trt.IProgressMonitor.__init__(self)
        self.failure: BaseException | None = None
        self._report = report
        self._latest = ""
        self._phases: dict[str, tuple[int, int]] = {}  # (steps done, steps) by name, the outermost phase first
        self._lock = threading.Lock()

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        self._update(phase_name, 0, num_steps)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Whether to go on building."""
        self._update(phase_name, step + 1)
        return self.failure is None

    def phase_finish(self, phase_name: str) -> None:
        with self._lock:
            self._phases.pop(phase_name, None)

    def _update(self, phase_name: str, done: int, steps: int | None = None) -> None:
        try:
            with self._lock:
                known_steps = self._phases.get(phase_name, (0, 1))[1]
                self._phases[phase_name] = (done, known_steps if steps is None else steps)
                line = f"{_share(self._phases.values()):.0%}, {next(reversed(self._phases))}"
                if line != self._latest and self.failure is None:
                    self._latest = line
                    self._report(line)
        except BaseException as error:
            self.failure = self.failure or error


def _share(phases: Iterable[tuple[int, int]]) -> float:
    """How much is done, of (steps done, steps) of nested phases, the outermost first."""
    done, share = 0.0, 1.0
    for finished, steps in phases:
        share /= max(steps, 1)
        done += share * min(finished, steps)
    return min(done, 1.0)
