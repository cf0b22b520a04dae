"""The backends for GPUs: which are taken, in which order, and what is said of those that are not."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.core.settings import fields_of
from instance_seg_ros.segmentation import ModelError
from instance_seg_ros.segmentation.gpu_runtimes import (
    GPU_BACKENDS,
    accelerator,
    accelerators,
    engine_precision,
    obstacle_of,
)
from instance_seg_ros.segmentation.runtime_choice import load_network
from instance_seg_ros.segmentation.runtimes import nvidia_driver, onnxruntime_gpu_backend
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import CPU_BACKENDS

SETTINGS = SegmentationSettings()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU, as far as its driver goes."""
    monkeypatch.setattr(nvidia_driver, "obstacle", lambda: None)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Hides packages."""
    find_spec = importlib.util.find_spec

    def hide(*packages: str) -> None:
        def find(name: str, package: str | None = None) -> ModuleSpec | None:
            return None if name in packages else find_spec(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", find)

    return hide


def test_the_setting_knows_every_backend_best_first() -> None:
    choices = next(field for field in fields_of(SegmentationSettings) if field.name == "backend").choices
    assert choices == ("auto", *GPU_BACKENDS, *CPU_BACKENDS)


def test_without_a_driver_there_are_none_and_one_reason(
    monkeypatch: pytest.MonkeyPatch, block_model_path: Path
) -> None:
    monkeypatch.setattr(nvidia_driver, "obstacle", lambda: "no NVIDIA GPU: a reason")
    assert accelerators(block_model_path, SETTINGS) == ([], ["no NVIDIA GPU: a reason"])
    network, _, reason = load_network(block_model_path, SETTINGS)
    assert "on the CPU" in network.backend
    assert reason.startswith("no NVIDIA GPU: a reason")


def test_each_that_is_not_taken_is_named_with_its_reason(
    driver: None, without: Callable[..., None], block_model_path: Path
) -> None:
    without("tensorrt", "tensorrt_rtx_bindings", "torch", "onnx")
    usable, obstacles = accelerators(block_model_path, SETTINGS)
    assert usable == []
    titles, reasons = zip(*(line.split(": ", 1) for line in obstacles), strict=True)
    assert titles == (
        "TensorRT",
        "TensorRT for RTX",
        "ONNX Runtime with TensorRT",
        "ONNX Runtime with CUDA",
        "PyTorch",
    )
    assert reasons[0] == "not installed: tensorrt, torch, onnx"
    assert reasons[1] == "not installed: tensorrt_rtx_bindings, torch, onnx"
    assert reasons[2] == "not installed: onnx"
    assert "was built without CUDAExecutionProvider; install onnxruntime-gpu" in reasons[3]
    assert reasons[4] == "not installed: torch, onnx"


def test_they_come_best_first(
    driver: None, without: Callable[..., None], block_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("tensorrt", "tensorrt_rtx_bindings")
    monkeypatch.setattr(onnxruntime_gpu_backend, "obstacle", lambda provider: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    usable, obstacles = accelerators(block_model_path, SETTINGS)
    assert [accelerator.name for accelerator in usable] == [
        "ONNX Runtime with TensorRT",
        "ONNX Runtime with CUDA",
        "PyTorch",
    ]
    reasons = ["TensorRT: not installed: tensorrt", "TensorRT for RTX: not installed: tensorrt_rtx_bindings"]
    assert obstacles == reasons
    network, _, reason = load_network(block_model_path, SETTINGS)
    assert network.backend.endswith("; ONNX Runtime with TensorRT: starts with the first frame")
    assert reason == "; ".join(reasons)


@pytest.mark.parametrize(
    ("backend", "precision", "reason"),
    [
        ("onnxruntime-tensorrt", "fp32", "it does not compute in fp32, but in auto, fp16, tf32"),
        ("onnxruntime-cuda", "bf16", "it does not compute in bf16"),
    ],
)
def test_a_precision_that_a_backend_lacks_is_an_obstacle(
    backend: str, precision: str, reason: str, gpu: SimpleNamespace
) -> None:
    message = obstacle_of(backend, precision)
    assert message is not None
    assert reason in message


@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_one_that_was_asked_for_and_cannot_run_is_an_error_with_the_cure(
    backend: str, block_model_path: Path, without: Callable[..., None]
) -> None:
    without("tensorrt", "tensorrt_rtx_bindings", "torch")
    with pytest.raises(
        ModelError, match=rf"backend {backend} cannot run here .*(install|built).*; repair that or choose auto"
    ):
        load_network(block_model_path, SegmentationSettings(backend=backend))


@pytest.mark.parametrize(("setting", "engines"), [("auto", "tf32"), ("fp16", "fp16"), ("fp32", "fp32")])
def test_engines_are_built_in_tf32_unless_told_otherwise(setting: str, engines: str) -> None:
    assert engine_precision(setting) == engines


class Driver:
    """The driver's library, which answers with these errors and this many GPUs."""

    def __init__(self, init_error: int, count_error: int, count: int) -> None:
        self._errors = init_error, count_error
        self._count = count

    def cuInit(self, flags: int) -> int:
        return self._errors[0]

    def cuDeviceGetCount(self, count: object) -> int:
        count._obj.value = self._count  # type: ignore[attr-defined]
        return self._errors[1]


@pytest.mark.parametrize(
    ("driver_library", "reason"),
    [
        (Driver(0, 0, 1), None),
        (Driver(100, 0, 0), "the driver says error 100"),
        (Driver(0, 0, 0), "the driver counts 0"),
        (Driver(0, 3, 0), "(error 3)"),
    ],
)
def test_the_driver_tells_whether_there_is_a_gpu(
    driver_library: Driver, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver_library)
    obstacle = nvidia_driver.obstacle()
    if reason is None:
        assert obstacle is None
    else:
        assert obstacle is not None
        assert reason in obstacle


def test_without_the_drivers_library_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nvidia_driver.obstacle() == "no NVIDIA GPU: its driver's libcuda.so.1 is not here"


@pytest.mark.parametrize(
    ("backend", "precision", "tried"),
    [
        ("pytorch", "fp16", ["fp16", "bf16", "tf32"]),
        ("pytorch", "auto", ["auto", "tf32"]),
        ("pytorch", "fp32", ["fp32"]),
        ("tensorrt", "fp16", ["fp16", "bf16", "tf32"]),
        ("tensorrt", "auto", ["auto"]),
        ("onnxruntime-cuda", "fp16", ["fp16", "tf32"]),
        ("onnxruntime-cuda", "auto", ["auto"]),
    ],
)
def test_after_16_bits_come_those_that_hold_larger_numbers(
    backend: str, precision: str, tried: list[str], gpu: SimpleNamespace, block_model_path: Path
) -> None:
    made = accelerator(backend, block_model_path, SegmentationSettings(precision=precision))
    assert list(made.makers) == tried
