"""From a model file to a TensorRT network: the engine comes from the cache, or another process builds it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import onnxruntime

from instance_seg_ros import __version__
from instance_seg_ros.segmentation.contract import family_contract_of, read_info
from instance_seg_ros.segmentation.network import input_shapes, size_wh_of
from instance_seg_ros.segmentation.runtimes.engine_builder import (
    EngineError,
    EngineRefusedError,
    TensorRtLibrary,
    build_engine,
)
from instance_seg_ros.segmentation.runtimes.engine_cache import EngineCache, EngineKey
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork
from instance_seg_ros.segmentation.runtimes.tensorrt_backend import TensorRtNetwork, engine_key, gpu_capability
from instance_seg_ros.segmentation.runtimes.tensorrt_graph import graph_for_tensorrt

Report = Callable[[str], None]

_WAITING = "waiting for another process that builds this engine"
_PREPARED_BY = f"instance_seg_ros {__version__}, ONNX Runtime {onnxruntime.__version__}"


def build_into_cache(
    library: TensorRtLibrary,
    cache: EngineCache,
    model_path: Path,
    size_wh: tuple[int, int],
    precision: str,
    report: Report,
) -> Path:
    """Builds the engine for a model file and a camera's size, unless the cache has it; returns where it is.

    Raises:
        ModelError: the model file cannot be used, or not for this size.
        EngineError: TensorRT cannot build the engine.
        OSError: the cache cannot be written.
    """
    info = read_info(model_path)
    shapes = input_shapes(OnnxRuntimeNetwork(model_path, threads=1).input_names, size_wh)
    key = engine_key(library, info.digest, shapes, precision, _PREPARED_BY)

    def build() -> bytes:
        report("preparing the model")
        model = graph_for_tensorrt(model_path, shapes, precision)
        capabilities = [gpu_capability()] if library.name == "tensorrt-rtx" else []
        return build_engine(library, model, precision, report, capabilities)

    cache.load_or_build(key, build, on_wait=partial(report, _WAITING))
    return cache.engine_path(key)


class TensorRtFactory:
    """Makes networks of one model file for any size of the images, as `SwappingNetwork` wants them.

    The build runs in a separate process, so that frames are served whatever happens to it: a board that runs out of
    memory kills the largest process.

    Args:
        library: that builds and runs them.
        cache_folder: of the engines.
    """

    def __init__(self, library: TensorRtLibrary, model_path: Path, precision: str, cache_folder: Path) -> None:
        self._library = library
        self._model_path = model_path
        self._digest = read_info(model_path).digest
        self._contract = family_contract_of(model_path)
        self._precision = precision
        self._cache_folder = cache_folder
        self._cache = EngineCache(cache_folder)

    def __call__(self, shapes: Mapping[str, tuple[int, ...]], report: Report) -> TensorRtNetwork:
        """The network for inputs of these shapes.

        Raises:
            EngineError: with the reason, which may be that of the building process.
            OSError: the cache cannot be read or written.
        """
        key = engine_key(self._library, self._digest, shapes, self._precision, _PREPARED_BY)
        engine = self._cache.load(key)
        if engine is None:
            engine = self._built(key, report)
        report("loading the engine")
        try:
            return TensorRtNetwork(self._library, engine, self._contract)
        except EngineRefusedError:
            self._cache.discard(key, engine, on_wait=partial(report, _WAITING))
            return TensorRtNetwork(self._library, self._built(key, report), self._contract)

    def _built(self, key: EngineKey, report: Report) -> bytes:
        width, height = size_wh_of(key.input_shapes)
        self._run(
            [
                *("build-engine", "--camera-size", f"{width}x{height}", "--precision", self._precision),
                *("--model", str(self._model_path), "--engine-cache", str(self._cache_folder)),
                *("--backend", self._library.name),
            ],
            report,
        )
        engine = self._cache.load(key)
        if engine is None:
            raise EngineError(
                f"the engine was built, but {self._cache.engine_path(key)} is not what this process needs; were the "
                "model file or an installed package replaced since it started? Start it again"
            )
        return engine

    def _run(self, arguments: list[str], report: Report) -> None:
        """Runs `instance-seg` and reports each line of its output; without a reader it cannot write, and ends."""
        command = [sys.executable, "-m", "instance_seg_ros.commands.main", *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        line = ""
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                report(f"building the engine for {self._model_path.name}: {line.strip()}")
        if process.returncode < 0:
            raise EngineError(
                f"the building process was killed by signal {-process.returncode}; is there enough memory?"
            )
        if process.returncode > 0:
            raise EngineError(line.strip() or f"the building process ended with status {process.returncode}")
