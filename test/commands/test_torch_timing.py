"""What `instance-seg bench` times with PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from instance_seg_ros.commands.bench import made_up_frame
from instance_seg_ros.commands.helpers import torch_timing
from instance_seg_ros.commands.helpers.torch_timing import on_cpu, on_gpu
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import NetworkSegmenter, read_model_info
from instance_seg_ros.segmentation.accelerator import Accelerator, Report, Shapes
from instance_seg_ros.segmentation.network import Network
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import load_cpu_network
from instance_seg_ros.segmentation.runtimes.pytorch_backend import PyTorchNetwork
from instance_seg_ros.segmentation.waiting_network import WaitingNetwork


def test_pytorch_runs_the_model_on_the_cpu_in_both_precisions(block_model_path: Path) -> None:
    candidates = on_cpu(block_model_path, made_up_frame(160, 120), threads=1)
    names = [f"PyTorch {torch.__version__} ({precision}) on the CPU" for precision in ("fp32", "bf16")]
    assert list(candidates) == names
    for run in candidates.values():
        assert run() is not None


def test_on_a_gpu_there_are_graphs_and_single_operators_and_what_is_missing_is_told(
    block_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []

    def on_the_cpu_instead(
        path: Path, shapes: dict[str, tuple[int, ...]], precision: str, device: str
    ) -> PyTorchNetwork:
        devices.append(device)
        return PyTorchNetwork(path, shapes, precision, "cpu")

    one_by_one = torch_timing._one_by_one
    monkeypatch.setattr(torch_timing, "PyTorchNetwork", on_the_cpu_instead)
    monkeypatch.setattr(torch_timing, "_one_by_one", lambda path, frame, device: one_by_one(path, frame, "cpu"))
    unmeasured: list[str] = []
    candidates = on_gpu(block_model_path, made_up_frame(160, 120), unmeasured)
    assert set(devices) == {"cuda"}
    assert next(iter(candidates)) == "operator by operator, network"
    networks = [name for name in candidates if name.endswith(", network")]
    for precision, name in zip(("fp32", "tf32", "bf16", "fp16"), networks[1:], strict=True):
        assert f"({precision})" in name
    for run in candidates.values():
        assert run() is not None
    assert "tensorrt: not installed: tensorrt" in unmeasured


def test_a_backend_that_cannot_be_made_is_told_of_and_the_others_are_measured(
    block_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(shapes: Shapes, report: Report) -> Network:
        raise RuntimeError("no kernel image is available")

    def load(path: Path, settings: SegmentationSettings) -> NetworkSegmenter:
        trusted = load_cpu_network("onnxruntime", path, settings)
        network = WaitingNetwork(trusted, Accelerator(settings.backend, {settings.precision: make}))
        return NetworkSegmenter(network, read_model_info(path), settings)

    pytorch = torch_timing._pytorch
    monkeypatch.setattr(torch_timing, "_pytorch", lambda path, frame, *_: pytorch(path, frame, "fp32", "cpu"))
    monkeypatch.setattr(torch_timing, "_one_by_one", lambda path, frame, device: lambda: None)
    monkeypatch.setattr(torch_timing, "obstacle_of", lambda backend, precision: None)
    monkeypatch.setattr(torch_timing, "load_segmenter", load)
    unmeasured: list[str] = []
    candidates = on_gpu(block_model_path, made_up_frame(160, 120), unmeasured)
    assert candidates
    assert "tensorrt, fp16: tensorrt: failed: no kernel image is available" in unmeasured
    assert len(unmeasured) == 10  # five backends, in two precisions
