"""From an ONNX graph to an engine, by TensorRT or by TensorRT for RTX, two libraries of one API.

Only what TensorRT 10 and 11 both have is used: strongly typed networks, whose precisions the ONNX graph gives, and
tensors by name. TensorRT for RTX also builds for GPUs that are not there, so a graph can be tried on any machine.
"""

from __future__ import annotations

import importlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from instance_seg_ros.core.errors import InputError

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx_bindings"}
"""The Python module of each library, by the value of the setting `backend`."""
_TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX"}

# On a machine without a driver TensorRT says this beside the reason of every failure, there or not.
_NO_DRIVER = "cudaError 35"

_OF_NO_FIXED_SIZE = ("NonMaxSuppression", "NonZero")
"""What gives any number of rows, as suppression in the graph does that could not be replaced by a loop."""
_CURE_OF_NO_FIXED_SIZE = (
    "an engine has no place for results of any number: export the model without suppression in its graph where its "
    "family is read so (YOLO without nms=True), torchvision's Mask R-CNN as docs/your_model.md says (torch.onnx.export "
    "with dynamo=False and opset_version=16 or newer), or choose the backend onnxruntime-cuda, onnxruntime or openvino"
)


class EngineError(InputError):
    """TensorRT cannot build or run an engine; the message says why, in TensorRT's own words."""


class EngineRefusedError(EngineError):
    """TensorRT refuses an engine that was built before; building it again may help."""


@dataclass(frozen=True)
class TensorRtLibrary:
    """One of `MODULES`, imported.

    Attributes:
        name: its key there.
        module: with TensorRT's classes.
        errors: the latest ones that its logger got.
        logger: of the whole process; TensorRT takes one.
    """

    name: str
    module: ModuleType
    errors: ErrorLog
    logger: Any

    @property
    def version(self) -> str:
        """Of the library, for people."""
        return f"{_TITLES[self.name]} {self.module.__version__}"

    def compute_capability(self, capability: str) -> Any:
        """The library's value for a compute capability such as "8.6".

        Raises:
            EngineError: it does not build for that, as TensorRT for RTX does not for data centre GPUs and Jetsons.
        """
        known = self.module.ComputeCapability.__members__
        name = f"SM{capability.replace('.', '')}"
        if name not in known:
            others = ", ".join(f"{key[2:-1]}.{key[-1]}" for key in known if key.startswith("SM"))
            raise EngineError(f"{self.version} is not for GPUs of compute capability {capability}, but for {others}")
        return known[name]


def load_library(name: str) -> TensorRtLibrary:
    """One of `MODULES`.

    Raises:
        ImportError, OSError: it is not installed, or a library that it needs is missing.
    """
    return _library(name, importlib.import_module(MODULES[name]))


@cache
def _library(name: str, module: ModuleType) -> TensorRtLibrary:
    errors = ErrorLog()

    class Logger(module.ILogger):  # type: ignore[misc, name-defined]
        """Passes errors on."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (module.ILogger.Severity.ERROR, module.ILogger.Severity.INTERNAL_ERROR):
                errors.add(msg)

    return TensorRtLibrary(name, module, errors, Logger())


class ErrorLog:
    """TensorRT's latest errors, which are all it says of a failure."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=3)
        self._of_driver: deque[str] = deque(maxlen=1)

    def add(self, message: str) -> None:
        """Keeps an error."""
        (self._of_driver if _NO_DRIVER in message else self._errors).append(message)

    def clear(self) -> None:
        """Forgets what belongs to earlier work."""
        self._errors.clear()
        self._of_driver.clear()

    def reason(self) -> str:
        """The latest errors; that there is no driver only where that is all."""
        return "; ".join(self._errors or self._of_driver) or "it gives no reason"


def builder_flags(library: TensorRtLibrary, precision: str) -> tuple[Any, ...]:
    """The builder's flags for a precision."""
    return () if precision == "fp32" else (library.module.BuilderFlag.TF32,)


def build_engine(
    library: TensorRtLibrary,
    model: bytes,
    precision: str,
    report: Callable[[str], None],
    compute_capabilities: Sequence[str] = (),
) -> bytes:
    """Builds the engine of an ONNX model whose shapes are all fixed; may take minutes, on a Jetson up to an hour.

    Args:
        model: the serialised ONNX model, as `graph_for_tensorrt` gives it.
        precision: all but "fp32" let the tensor cores round the FP32 factors of convolutions and matrix products to 10
            bits of mantissa. What is FP16 or BF16 in the model is computed so by all of them.
        report: called with the progress, by any thread; what it raises cancels the build and is raised here.
        compute_capabilities: for TensorRT for RTX, those that the engine is for, such as "8.6"; TensorRT builds for
            the GPU that is here.

    Raises:
        EngineError: TensorRT cannot parse the model or build the engine.
    """
    trt = library.module
    library.errors.clear()
    builder = trt.Builder(library.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, library.logger)
    if not parser.parse(model):
        errors = [_words(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineError(f"{library.version} cannot read the model: {_with_cure('; '.join(errors))}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default
    for flag in builder_flags(library, precision):
        config.set_flag(flag)
    if compute_capabilities:
        config.num_compute_capabilities = len(compute_capabilities)
        for index, capability in enumerate(compute_capabilities):
            config.set_compute_capability(library.compute_capability(capability), index)
    monitor = _progress_monitor(trt, Progress(report))
    config.progress_monitor = monitor
    engine = builder.build_serialized_network(network, config)
    if monitor.progress.failure is not None:
        raise monitor.progress.failure
    if engine is None:
        raise EngineError(f"{library.version} cannot build the engine: {_with_cure(library.errors.reason())}")
    return bytes(engine)


def _with_cure(reason: str) -> str:
    """A reason of TensorRT's, with what to do where that is known."""
    return f"{reason}; {_CURE_OF_NO_FIXED_SIZE}" if any(name in reason for name in _OF_NO_FIXED_SIZE) else reason


def _words(error: Any) -> str:
    """What the parser says of a node."""
    lines = [line.strip() for line in error.desc().splitlines() if _NO_DRIVER not in line]
    return f"{error.node_operator()} {error.node_name()}: {' '.join(lines)}"


def _progress_monitor(trt: ModuleType, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Passes the builder's phases on."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.progress = progress

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.update(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress.update(phase_name, step + 1)
            return progress.failure is None

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


class Progress:
    """Turns the builder's nested phases into lines such as "37%, Tactic selection".

    The builder calls it from several threads, and no exception may leave it: `failure` keeps the first one, such as the
    KeyboardInterrupt of a user who waits for the build, and the build is to be cancelled.

    Args:
        report: called once with each line.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.failure: BaseException | None = None
        self._report = report
        self._latest = ""
        self._phases: dict[str, tuple[int, int]] = {}  # (steps done, steps) by name, the outermost phase first
        self._lock = threading.Lock()

    def update(self, phase_name: str, done: int, steps: int | None = None) -> None:
        """A phase has done this many of its steps."""
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

    def finish(self, phase_name: str) -> None:
        """A phase is over."""
        with self._lock:
            self._phases.pop(phase_name, None)


def _share(phases: Iterable[tuple[int, int]]) -> float:
    """How much is done, of (steps done, steps) of nested phases, the outermost first."""
    done, share = 0.0, 1.0
    for finished, steps in phases:
        share /= max(steps, 1)
        done += share * min(finished, steps)
    return min(done, 1.0)
