"""The backends for NVIDIA GPUs: which of them this machine can have, best first, and why not the others."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.accelerator import Accelerator, Maker, Report, Shapes
from instance_seg_ros.segmentation.network import Network
from instance_seg_ros.segmentation.runtimes import nvidia_driver
from instance_seg_ros.segmentation.runtimes.engine_cache import default_folder

_OLDEST_TENSORRT = 10
_SAFER = {"fp16": ("bf16", "tf32"), "bf16": ("tf32",), "auto": ("tf32",)}
"""For networks whose numbers a precision of 16 bits does not hold, by the setting: what else, best first."""


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A backend.

    Attributes:
        title: for people.
        packages: the Python modules that it imports.
        precisions: values of the setting that it can compute in.
        obstacle: why it cannot run although the packages are there; imports them.
        maker: of networks for a model file.
    """

    title: str
    packages: tuple[str, ...]
    precisions: tuple[str, ...]
    obstacle: Callable[[], str | None]
    maker: Callable[[Path, SegmentationSettings], Maker]


def accelerators(path: Path, settings: SegmentationSettings) -> tuple[list[Accelerator], list[str]]:
    """Every backend for GPUs that may work here for a model file, best first, and why the others cannot."""
    obstacle = nvidia_driver.obstacle()
    if obstacle is not None:
        return [], [obstacle]
    usable, obstacles = [], []
    for name in GPU_BACKENDS:
        obstacle = obstacle_of(name, settings.precision)
        if obstacle is None:
            usable.append(accelerator(name, path, settings))
        else:
            obstacles.append(f"{_KINDS[name].title}: {obstacle}")
    return usable, obstacles


def accelerator(name: str, path: Path, settings: SegmentationSettings) -> Accelerator:
    """One of `GPU_BACKENDS` without an obstacle, for a model file."""
    kind = _KINDS[name]
    wanted = settings.precision
    # PyTorch takes "auto" for bf16, the others for tf32.
    safer = () if wanted == "auto" and name != "pytorch" else _SAFER.get(wanted, ())
    makers = {
        precision: kind.maker(path, dataclasses.replace(settings, precision=precision))
        for precision in (wanted, *safer)
        if precision in kind.precisions
    }
    return Accelerator(kind.title, makers)


def obstacle_of(name: str, precision: str) -> str | None:
    """Why one of `GPU_BACKENDS` cannot be used on this machine; None when it can, as far as is known beforehand."""
    kind = _KINDS[name]
    missing = [package for package in kind.packages if importlib.util.find_spec(package) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if precision not in kind.precisions:
        return f"it does not compute in {precision}, but in {', '.join(kind.precisions)}"
    try:
        return kind.obstacle()
    except (ImportError, OSError) as error:  # such as a shared library that is missing
        return f"{' or '.join(kind.packages)} cannot be imported: {error}"


def engine_precision(precision: str) -> str:
    """What TensorRT and ONNX Runtime compute in where the setting says "auto"."""
    return "tf32" if precision == "auto" else precision


def engine_folder(settings: SegmentationSettings) -> Path:
    """Where engines are kept."""
    return Path(settings.engine_cache).expanduser() if settings.engine_cache else default_folder()


def _tensorrt_obstacle() -> str | None:
    import tensorrt

    # Asked before the library's classes are used, some of which older versions lack.
    if int(tensorrt.__version__.split(".")[0]) < _OLDEST_TENSORRT:
        return f"TensorRT {tensorrt.__version__} is too old, {_OLDEST_TENSORRT}.0 or newer is needed"
    return _library_obstacle("tensorrt")


def _library_obstacle(name: str) -> str | None:
    from instance_seg_ros.segmentation.runtimes.engine_builder import load_library
    from instance_seg_ros.segmentation.runtimes.tensorrt_backend import obstacle

    return obstacle(load_library(name))


def _tensorrt(name: str) -> Callable[[Path, SegmentationSettings], Maker]:
    def maker(path: Path, settings: SegmentationSettings) -> Maker:
        from instance_seg_ros.segmentation.runtimes.engine_builder import load_library
        from instance_seg_ros.segmentation.runtimes.tensorrt_factory import TensorRtFactory

        precision, folder = engine_precision(settings.precision), engine_folder(settings)
        return TensorRtFactory(load_library(name), path, precision, folder)

    return maker


def _provider_obstacle(provider: str) -> Callable[[], str | None]:
    def obstacle() -> str | None:
        from instance_seg_ros.segmentation.runtimes import onnxruntime_gpu_backend

        return onnxruntime_gpu_backend.obstacle(provider)

    return obstacle


def _onnxruntime(provider: str) -> Callable[[Path, SegmentationSettings], Maker]:
    def maker(path: Path, settings: SegmentationSettings) -> Maker:
        from instance_seg_ros.segmentation.runtimes.onnxruntime_gpu_backend import OnnxRuntimeGpuNetwork

        precision, folder = engine_precision(settings.precision), engine_folder(settings)

        def make(shapes: Shapes, report: Report) -> Network:
            report("preparing the model")
            return OnnxRuntimeGpuNetwork(path, shapes, provider, precision, folder)

        return make

    return maker


def _pytorch_obstacle() -> str | None:
    from instance_seg_ros.segmentation.runtimes.pytorch_backend import obstacle

    return obstacle()


def _pytorch(path: Path, settings: SegmentationSettings) -> Maker:
    from instance_seg_ros.segmentation.runtimes.pytorch_backend import PyTorchNetwork

    folder = engine_folder(settings) / "pytorch"

    def make(shapes: Shapes, report: Report) -> Network:
        report("compiling the model, which takes a minute the first time")
        return PyTorchNetwork(path, shapes, settings.precision, "cuda", folder)

    return make


_KINDS = {
    "tensorrt": _Kind(
        "TensorRT",
        ("tensorrt", "torch", "onnx"),
        ("auto", "fp16", "bf16", "tf32", "fp32"),
        _tensorrt_obstacle,
        _tensorrt("tensorrt"),
    ),
    "tensorrt-rtx": _Kind(
        "TensorRT for RTX",
        ("tensorrt_rtx_bindings", "torch", "onnx"),
        ("auto", "fp16", "bf16", "tf32", "fp32"),
        partial(_library_obstacle, "tensorrt-rtx"),
        _tensorrt("tensorrt-rtx"),
    ),
    "onnxruntime-tensorrt": _Kind(
        "ONNX Runtime with TensorRT",
        ("onnxruntime", "onnx"),
        ("auto", "fp16", "tf32"),
        _provider_obstacle("TensorrtExecutionProvider"),
        _onnxruntime("TensorrtExecutionProvider"),
    ),
    "onnxruntime-cuda": _Kind(
        "ONNX Runtime with CUDA",
        ("onnxruntime",),
        ("auto", "fp16", "tf32", "fp32"),
        _provider_obstacle("CUDAExecutionProvider"),
        _onnxruntime("CUDAExecutionProvider"),
    ),
    "pytorch": _Kind(
        "PyTorch", ("torch", "onnx"), ("auto", "fp16", "bf16", "tf32", "fp32"), _pytorch_obstacle, _pytorch
    ),
}

GPU_BACKENDS = tuple(_KINDS)
"""Values of the setting `backend`, best first."""
