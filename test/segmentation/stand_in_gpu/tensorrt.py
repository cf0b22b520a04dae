"""Stands in for TensorRT's Python bindings, as far as the backend uses them; for tests on machines without a GPU.

An engine is the ONNX model with a header, and ONNX Runtime runs it when its stream is synchronised. Everything here
without a leading underscore exists in the real bindings with this signature, which a test checks for each supported
version.

Environment: STAND_IN_FAULT=parse, build, killed, deserialize, memory, context, address or execute makes that fail;
STAND_IN_TENSORRT is the version; STAND_IN_BUILDS names a file that gets a line for each build;
STAND_IN_HOLD names a file, and a build goes on when it is gone.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import signal
import time
from typing import Any

import numpy as np
import onnxruntime
import torch

__version__ = os.environ.get("STAND_IN_TENSORRT", "10.3.0")

_MAGIC = b"engine "
_TYPES = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int64)": "INT64", "tensor(uint8)": "UINT8"}
_NUMPY_TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "UINT8": np.uint8}


def _fault(name: str) -> bool:
    return os.environ.get("STAND_IN_FAULT", "") == name


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1 if __version__.startswith("10.") else 0


class BuilderFlag(enum.Enum):
    TF32 = 7


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT64 = 7
    UINT8 = 5


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def __init__(self) -> None:
        self._initialised = True

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self) -> None:
        self._initialised = True

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class INetworkDefinition:
    _model: bytes


class ParserError:
    def desc(self) -> str:
        return "no importer registered for op: Sorcery"

    def node_name(self) -> str:
        return "wand"

    def node_operator(self) -> str:
        return "Sorcery"


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network

    @property
    def num_errors(self) -> int:
        return int(_fault("parse"))

    def parse(self, model: bytes, path: str | None = None) -> bool:
        assert isinstance(model, bytes)
        self._network._model = model
        return not _fault("parse")

    def get_error(self, index: int) -> Any:
        return ParserError()


class IBuilderConfig:
    def __init__(self, *arguments: Any) -> None:
        self._flags = {BuilderFlag.TF32}
        self._monitor: IProgressMonitor | None = None

    @property
    def progress_monitor(self) -> IProgressMonitor | None:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: IProgressMonitor) -> None:
        self._monitor = monitor

    def set_flag(self, flag: BuilderFlag) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(flag)


class Builder:
    def __init__(self, logger: ILogger) -> None:
        assert logger._initialised
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Any:
        if "STAND_IN_BUILDS" in os.environ:
            with open(os.environ["STAND_IN_BUILDS"], "a") as log:
                log.write(f"{os.getpid()}\n")
        if not _report_phases(config.progress_monitor):
            return None
        if _fault("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if _fault("build"):
            self._logger.log(ILogger.Severity.WARNING, "a warning that is no reason")
            self._logger.log(ILogger.Severity.ERROR, "could not find any implementation for node Conv_7")
            return None
        return _header(config._flags) + network._model


def _report_phases(monitor: IProgressMonitor) -> bool:
    assert monitor._initialised
    monitor.phase_start("Building Engine", None, 2)
    for outer in range(2):
        monitor.phase_start("Tactic Selection", "Building Engine", 5)
        for step in range(5):
            while os.path.exists(os.environ.get("STAND_IN_HOLD", "")):
                time.sleep(0.01)
            if not monitor.step_complete("Tactic Selection", step):
                return False
        monitor.phase_finish("Tactic Selection")
        if not monitor.step_complete("Building Engine", outer):
            return False
    monitor.phase_finish("Building Engine")
    return True


def _header(flags: set[BuilderFlag]) -> bytes:
    facts = {"version": __version__, "gpu": torch.cuda.get_device_name(0), "flags": [flag.name for flag in flags]}
    return _MAGIC + json.dumps(facts).encode() + b"\n"


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        assert logger._initialised
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        header, _, model = serialized_engine.partition(b"\n")
        if _fault("memory"):
            self._logger.log(ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (Requested size was 3 bytes.)")
            return None
        if _fault("deserialize") or json.loads(header[len(_MAGIC) :])["version"] != __version__:
            self._logger.log(ILogger.Severity.ERROR, "Version tag does not match")
            return None
        return ICudaEngine(model, self._logger)


class ICudaEngine:
    def __init__(self, *arguments: Any) -> None:
        model, self._logger = arguments
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._input_names = [tensor.name for tensor in self._session.get_inputs()]
        self._tensors = {tensor.name: tensor for tensor in [*self._session.get_inputs(), *self._session.get_outputs()]}

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._input_names else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> Any:
        return [side if isinstance(side, int) else -1 for side in self._tensors[name].shape]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType[_TYPES[self._tensors[name].type]]

    def create_execution_context(self) -> Any:
        if _fault("context"):
            self._logger.log(ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (Requested size was 5 bytes.)")
            return None
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, *arguments: Any) -> None:
        (self._engine,) = arguments
        self._kernels = _Kernels(self._engine)

    def __del__(self) -> None:
        self._kernels._memory_is_gone = True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._kernels._addresses[name] = memory
        return not _fault("address")

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert self._kernels._addresses.keys() == self._engine._tensors.keys(), "a tensor without an address"
        torch.cuda._streams[stream_handle]._add(self._kernels._run)
        if _fault("execute"):
            self._engine._logger.log(ILogger.Severity.ERROR, "an illegal memory access was encountered")
        return not _fault("execute")


class _Kernels:
    """What lies on a stream, or in a CUDA graph, of a context; it computes nonsense once the context is gone."""

    def __init__(self, engine: ICudaEngine) -> None:
        self._session, self._input_names = engine._session, engine._input_names
        self._arrays = {
            name: (engine.get_tensor_shape(name), _NUMPY_TYPES[engine.get_tensor_dtype(name).name])
            for name in engine._tensors
        }
        self._addresses: dict[str, int] = {}
        self._memory_is_gone = False

    def _run(self) -> None:
        names = [name for name in self._arrays if name not in self._input_names]
        feeds = {name: self._memory(name).copy() for name in self._input_names}
        for name, value in zip(names, self._session.run(names, feeds), strict=True):
            if self._memory_is_gone:
                self._memory(name).view(np.uint8).fill(0xFF)
            else:
                np.copyto(self._memory(name), value)

    def _memory(self, name: str) -> np.ndarray:
        shape, kind = self._arrays[name]
        array = np.empty(shape, kind)
        memory = (ctypes.c_char * array.nbytes).from_address(self._addresses[name])
        return np.frombuffer(memory, array.dtype).reshape(shape)
