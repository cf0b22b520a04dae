"""Whether TensorRT takes a model file, found out on any machine: TensorRT for RTX parses and builds without a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.runtimes.engine_builder import (
    MODULES,
    build_engine,
    load_library,
)
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork

CHECKED_CAPABILITIES = ("8.6", "8.9", "12.0")
"""Compute capabilities that engines are built for: RTX GPUs of the series 30, 40 and 50."""


def check_obstacle() -> str | None:
    """Why a model file cannot be checked here, with the cure; None when it can."""
    missing = [name for name in (MODULES["tensorrt-rtx"], "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}; pip install 'instance_seg_ros[rtx]'"
    try:
        load_library("tensorrt-rtx")
    except (ImportError, OSError) as error:  # such as a shared library that is missing
        return f"{MODULES['tensorrt-rtx']} cannot be imported: {error}"
    return None


def check(path: Path, size_wh: tuple[int, int], precision: str, report: Callable[[str], None]) -> str:
    """Parses a model file's graph and builds its engine for `CHECKED_CAPABILITIES`, which it throws away.

    Args:
        path: of the model file.
        size_wh: of the camera's images.
        precision: "fp16", "bf16", "tf32" or "fp32".
        report: called with the progress.

    Returns:
        What took the file, and for which GPUs; a line for people.

    Raises:
        ModelError: the model file cannot be used, or not for this size.
        EngineError: TensorRT refuses it, in its words.
    """
    from instance_seg_ros.segmentation.runtimes.tensorrt_graph import graph_for_tensorrt

    library = load_library("tensorrt-rtx")
    shapes = input_shapes(OnnxRuntimeNetwork(path, threads=1).input_names, size_wh)
    engine = build_engine(library, graph_for_tensorrt(path, shapes, precision), precision, report, CHECKED_CAPABILITIES)
    width, height = size_wh
    return (
        f"{library.version} builds it for {width}x{height}, {precision}, compute capabilities "
        f"{', '.join(CHECKED_CAPABILITIES)}: {len(engine) / 1e6:.1f} MB"
    )
