"""Which backend runs a model file, and why."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from instance_seg_ros.config import SegmentationSettings
from instance_seg_ros.segmentation.cpu_backends import CPU_BACKENDS, fastest_cpu_network, load_cpu_network
from instance_seg_ros.segmentation.graph_network import GraphNetwork
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import Network

TENSORRT = "TensorRT"


def load_network(path: Path, settings: SegmentationSettings) -> tuple[Network, str]:
    """The network of a model file and why this backend runs it, empty when it was asked for.

    Raises:
        ModelError: the file does not run, or the backend that was asked for cannot run here.
    """
    if settings.backend in CPU_BACKENDS:
        return on_cpu(path, settings)
    obstacle = tensorrt_obstacle()
    if obstacle is None:
        return _with_tensorrt(on_cpu(path, settings)[0], path, settings), ""
    if settings.backend == "tensorrt":
        raise ModelError(f"backend is tensorrt, but {obstacle}; or choose auto or onnxruntime")
    network, reason = on_cpu(path, settings)
    return network, "; ".join(filter(None, (obstacle, reason)))


def on_cpu(path: Path, settings: SegmentationSettings) -> tuple[GraphNetwork, str]:
    """The network on the CPU and why this backend runs it there, empty when it was asked for.

    Raises:
        ModelError: the file does not run, or the backend that was asked for is not installed.
    """
    if settings.backend in CPU_BACKENDS:
        return load_cpu_network(settings.backend, path, settings), ""
    return fastest_cpu_network(path, settings)


def tensorrt_obstacle() -> str | None:
    """Why TensorRT cannot be used on this machine; None when it can."""
    missing = [module for module in ("tensorrt", "torch") if importlib.util.find_spec(module) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    try:
        from instance_seg_ros.segmentation.tensorrt_backend import obstacle
    except (ImportError, OSError) as error:  # such as a shared library that is missing
        return f"TensorRT or PyTorch cannot be imported: {error}"
    return obstacle()


def _with_tensorrt(first: Network, path: Path, settings: SegmentationSettings) -> Network:
    from instance_seg_ros.segmentation.engine_cache import default_folder
    from instance_seg_ros.segmentation.swapping_network import SwappingNetwork
    from instance_seg_ros.segmentation.tensorrt_factory import TensorRtFactory
    from instance_seg_ros.segmentation.waiting_network import WaitingNetwork

    folder = Path(settings.engine_cache).expanduser() if settings.engine_cache else default_folder()
    factory = TensorRtFactory(path, settings.precision, folder)
    if settings.backend == "tensorrt":
        return WaitingNetwork(first.input_names, TENSORRT, factory)
    return SwappingNetwork(first, TENSORRT, factory)
