"""Runs a model file with ONNX Runtime on an NVIDIA GPU, by its TensorRT or its CUDA execution provider.

Both need an ONNX Runtime that was built with them (on PyPI `onnxruntime-gpu`). What runs is the graph frozen at the
camera's size: the TensorRT provider plans for fixed shapes, and neither provider is then interrupted by arithmetic on
shapes, which ONNX Runtime does on the CPU.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import onnxruntime

from instance_seg_ros import __version__
from instance_seg_ros.segmentation.contract import read_info
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.graph_network import GraphNetwork
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import RUNTIME, OnnxRuntimeSession, session_options

TENSORRT_PROVIDER = "TensorrtExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"

Provider = tuple[str, dict[str, str]]
"""Name and options, as ONNX Runtime takes them."""


def obstacle(provider: str) -> str | None:
    """Why this ONNX Runtime cannot have the provider, with the cure; None when it was built with it."""
    if provider in onnxruntime.get_available_providers():
        return None
    return f"{RUNTIME} was built without {provider}; install onnxruntime-gpu in its place"


class OnnxRuntimeGpuNetwork(GraphNetwork):
    """A model file on a GPU provider of ONNX Runtime, for images of one size. For one caller at a time.

    Args:
        path: of the model file.
        shapes: of its inputs, by name.
        provider: TENSORRT_PROVIDER or CUDA_PROVIDER.
        precision: "tf32" or "fp16" (`half_precision`); with the CUDA provider also "fp32".
        cache_folder: where the TensorRT provider keeps its engines, each model, size and version in a folder of its
            own; ONNX Runtime itself does not tell stale ones apart.

    Raises:
        ModelError: the file is for other sizes, or ONNX Runtime cannot make the session on the GPU.
        OSError: the cache cannot be written.
    """

    def __init__(
        self, path: Path, shapes: Mapping[str, tuple[int, ...]], provider: str, precision: str, cache_folder: Path
    ) -> None:
        if provider == TENSORRT_PROVIDER:
            from instance_seg_ros.segmentation.runtimes.tensorrt_graph import graph_for_tensorrt

            model = graph_for_tensorrt(path, shapes, precision)
        else:
            model = with_fixed_sizes(path, shapes)
            if precision == "fp16":
                from instance_seg_ros.segmentation.runtimes.half_precision import with_half_convolutions

                model = with_half_convolutions(model)
        providers = cuda_providers(precision)
        if provider == TENSORRT_PROVIDER:
            folder = cache_folder / f"onnxruntime-{_cache_name(path, shapes, precision)}"
            folder.mkdir(parents=True, exist_ok=True)
            providers = [tensorrt_provider(folder), *providers]
        super().__init__(path, RUNTIME, f"the GPU by {provider}", partial(_session, model, providers))


def tensorrt_provider(cache_folder: Path) -> Provider:
    """https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#configurations"""
    options = {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache_folder),
        "trt_timing_cache_enable": "True",
    }
    return TENSORRT_PROVIDER, options


def cuda_providers(precision: str) -> list[Provider]:
    """The CUDA provider, and the CPU for operators that it lacks.

    https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#configuration-options
    """
    options = {"cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "0" if precision == "fp32" else "1"}
    return [(CUDA_PROVIDER, options), ("CPUExecutionProvider", {})]


def _session(model: bytes, providers: list[Provider]) -> OnnxRuntimeSession:
    """A session that runs on the GPU, as asked.

    Raises:
        ModelError: a GPU provider did not start, which ONNX Runtime only logs (microsoft/onnxruntime, issue 23372).
    """
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21; before that, the system's linker has to find CUDA
        onnxruntime.preload_dlls()
    session = OnnxRuntimeSession(model, session_options(threads=0), providers)
    missing = [name for name, _ in providers if name not in session.providers]
    if missing:
        raise ModelError(
            f"{', '.join(missing)} did not start, its log says why; are the libraries installed (CUDA, cuDNN, "
            "TensorRT) that this ONNX Runtime was built for?"
        )
    return session


def _cache_name(path: Path, shapes: Mapping[str, tuple[int, ...]], precision: str) -> str:
    facts = {
        "model": read_info(path).digest,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "runtime": RUNTIME,
        "precision": precision,
        "prepared_by": __version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
