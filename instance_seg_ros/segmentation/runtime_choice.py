"""Which backend runs a model file, and why."""

from __future__ import annotations

from pathlib import Path

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.gpu_runtimes import GPU_BACKENDS, accelerator, accelerators, obstacle_of
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import Network
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import (
    CPU_BACKENDS,
    cpu_forms,
    fastest_cpu_network,
    float_forms,
    load_cpu_network,
)
from instance_seg_ros.segmentation.swapping_network import SwappingNetwork
from instance_seg_ros.segmentation.waiting_network import WaitingNetwork


def load_network(path: Path, settings: SegmentationSettings) -> tuple[Network, Path, str]:
    """The network of a model file, the file that it runs, and why this backend runs it (empty if it was asked for).

    If backend and precision are both auto, the 8-bit file beside the model may be used. On a machine with a GPU it is
    not, so that the backend that serves until the GPU is ready computes the same as the GPU, under the same digest.

    Raises:
        ModelError: the file does not run, or the backend that was asked for cannot run here.
    """
    if settings.backend in GPU_BACKENDS:
        return _on_gpu(path, settings), path, ""
    if settings.backend in CPU_BACKENDS:
        return load_cpu_network(settings.backend, path, settings), path, ""
    better, obstacles = accelerators(path, settings)
    forms = float_forms(path) if better or settings.precision != "auto" else cpu_forms(path)
    first, form, reason = fastest_cpu_network(forms, settings)
    if better:
        return SwappingNetwork(first, better), path, "; ".join(obstacles)
    return first, form.path, "; ".join(filter(None, (*obstacles, reason)))


def _on_gpu(path: Path, settings: SegmentationSettings) -> Network:
    obstacle = obstacle_of(settings.backend, settings.precision)
    if obstacle is not None:
        raise ModelError(f"backend {settings.backend} cannot run here ({obstacle}); repair that or choose auto")
    chosen = accelerator(settings.backend, path, settings)
    # Refuses a file that cannot run now, and not with the first frame.
    return WaitingNetwork(load_cpu_network("onnxruntime", path, settings), chosen)
