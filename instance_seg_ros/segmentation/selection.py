"""Which backend runs a model file, and why."""

from __future__ import annotations

from pathlib import Path

from instance_seg_ros.config import SegmentationSettings
from instance_seg_ros.segmentation.accelerators import GPU_BACKENDS, accelerator, accelerators, obstacle_of
from instance_seg_ros.segmentation.cpu_backends import CPU_BACKENDS, fastest_cpu_network, load_cpu_network
from instance_seg_ros.segmentation.graph_network import GraphNetwork
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import Network
from instance_seg_ros.segmentation.swapping_network import SwappingNetwork
from instance_seg_ros.segmentation.waiting_network import WaitingNetwork


def load_network(path: Path, settings: SegmentationSettings) -> tuple[Network, str]:
    """The network of a model file and why this backend runs it, empty when it was asked for.

    Raises:
        ModelError: the file does not run, or the backend that was asked for cannot run here.
    """
    if settings.backend in GPU_BACKENDS:
        return _on_gpu(path, settings), ""
    first, reason = on_cpu(path, settings)
    if settings.backend in CPU_BACKENDS:
        return first, reason
    better, obstacles = accelerators(path, settings)
    if better:
        return SwappingNetwork(first, better), "; ".join(obstacles)
    return first, "; ".join(filter(None, (*obstacles, reason)))


def _on_gpu(path: Path, settings: SegmentationSettings) -> Network:
    obstacle = obstacle_of(settings.backend, settings.precision)
    if obstacle is not None:
        raise ModelError(f"backend is {settings.backend}, but {obstacle}; or choose auto")
    chosen = accelerator(settings.backend, path, settings)
    # Loaded to refuse a file that cannot run now, and not with the first frame.
    input_names = load_cpu_network("onnxruntime", path, settings).input_names
    return WaitingNetwork(input_names, chosen.name, chosen.make)


def on_cpu(path: Path, settings: SegmentationSettings) -> tuple[GraphNetwork, str]:
    """The network on the CPU and why this backend runs it there, empty when it was asked for.

    Raises:
        ModelError: the file does not run, or the backend that was asked for is not installed.
    """
    if settings.backend in CPU_BACKENDS:
        return load_cpu_network(settings.backend, path, settings), ""
    return fastest_cpu_network(path, settings)
