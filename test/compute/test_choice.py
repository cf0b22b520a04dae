"""Which library computes the geometry, what is said of it, and what happens when the GPU fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from instance_seg_ros.compute import ComputeChoice, NumpyCompute, choose_compute
from instance_seg_ros.compute.arrays import Compute, FrameArrays
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.config import (
    GeometrySettings,
    GraspingSettings,
    GripperSettings,
    LiftingSettings,
    SegmentationSettings,
)
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.segmentation.runtimes import nvidia_driver


class Failing(NumpyCompute):
    """A GPU whose memory is full."""

    name = "a GPU"

    def __init__(self) -> None:
        self.asked = 0

    def frame(self, frame: RgbdFrame) -> FrameArrays:
        self.asked += 1
        raise RuntimeError("out of memory")


class OnGpu(NumpyCompute):
    """Stands in for PyTorch on a GPU."""

    def __init__(self, device: str) -> None:
        self.name = f"PyTorch on {device}"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A driver that counts a GPU, and a PyTorch that sees it."""
    monkeypatch.setattr(nvidia_driver, "obstacle", lambda: None)
    torch = pytest.importorskip("torch")
    from instance_seg_ros.compute import torch_compute

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch_compute, "TorchCompute", OnGpu)
    return


def choice(device: str, backend: str = "auto") -> ComputeChoice:
    return choose_compute(GeometrySettings(device=device), SegmentationSettings(backend=backend))


@pytest.mark.parametrize(
    ("device", "backend", "name"),
    [
        ("auto", "auto", "PyTorch on cuda"),
        ("auto", "tensorrt", "PyTorch on cuda"),
        ("auto", "onnxruntime", "NumPy on the CPU (as the network)"),
        ("auto", "openvino", "NumPy on the CPU (as the network)"),
        ("cuda", "onnxruntime", "PyTorch on cuda"),
        ("cpu", "tensorrt", "NumPy on the CPU"),
    ],
)
@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_taken_unless_the_settings_speak_for_the_cpu(device: str, backend: str, name: str) -> None:
    assert choice(device, backend).name == name


def test_without_a_driver_nothing_large_is_imported_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia_driver, "obstacle", lambda: "no NVIDIA GPU: its driver is not here")
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    assert choice("auto").name == "NumPy on the CPU (no NVIDIA GPU: its driver is not here)"
    with pytest.raises(InputError, match=r"geometry.device cuda cannot be used here \(no NVIDIA GPU.*choose auto"):
        choice("cuda")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("cause", ["a build without CUDA", "not importable", "no memory", "wrong results"])
def test_a_pytorch_that_cannot_use_the_gpu_is_the_reason(monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
    if cause == "a build without CUDA":
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        expected = "sees no GPU; is it built for CUDA"
    elif cause == "not importable":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace())
        monkeypatch.setitem(sys.modules, "torch", None)
        expected = "torch cannot be imported"
    elif cause == "wrong results":
        monkeypatch.setattr(OnGpu, "stable_order", lambda self, values: np.argsort(-values, axis=-1))
        expected = "PyTorch on cuda computes orders otherwise than NumPy"
    else:

        def full(device: str) -> Compute:
            raise RuntimeError("CUDA out of memory")

        monkeypatch.setattr("instance_seg_ros.compute.torch_compute.TorchCompute", full)
        expected = "PyTorch cannot use the GPU: CUDA out of memory"
    assert expected in choice("auto").name
    with pytest.raises(InputError, match=expected):
        choice("cuda")


def test_a_gpu_that_fails_on_a_frame_is_not_asked_again_and_the_frame_is_served() -> None:
    failing = Failing()
    shared = ComputeChoice(failing)
    lifter = Lifter(LiftingSettings(), shared)
    sampler = GraspSampler(GraspingSettings(), GripperSettings(), shared)
    frame = RgbdFrame(None, np.full((36, 48), 0.5, np.float32), Intrinsics(48, 36, 45.0, 45.0, 23.5, 17.5))
    labels = np.zeros((36, 48), np.uint16)
    labels[8:28, 8:40] = 1
    assert shared.name == "a GPU"
    for _ in range(2):
        lifted = lifter.lift(frame, Instances.from_labels(labels))
        assert len(lifted.instances[0].points_m) > 400
        assert len(sampler.sample(frame, lifted)) == 1
        assert shared.name == "NumPy on the CPU (a GPU failed on a frame: out of memory)"
    assert failing.asked == 1


def test_what_is_wrong_with_the_input_is_no_failure_of_the_gpu() -> None:
    shared = ComputeChoice(Failing())
    frame = RgbdFrame(None, np.full((36, 48), 0.5, np.float32), Intrinsics(48, 36, 45.0, 45.0, 23.5, 17.5))
    with pytest.raises(ValueError, match="masks are"):
        Lifter(LiftingSettings(), shared).lift(frame, Instances.empty(10, 10, ("object",)))
    assert shared.name == "a GPU"
