"""Timing of candidates in turns, and the table of what runs here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from instance_seg_ros.commands import bench_models
from instance_seg_ros.commands.bench_models import made_up_frame, main, measure, on_gpu
from instance_seg_ros.core.config import SegmentationSettings
from instance_seg_ros.segmentation import NetworkSegmenter, read_model_info
from instance_seg_ros.segmentation.accelerator import Accelerator, Report, Shapes
from instance_seg_ros.segmentation.network import Network
from instance_seg_ros.segmentation.runtimes.cpu_choice import load_cpu_network
from instance_seg_ros.segmentation.runtimes.pytorch_backend import PyTorchNetwork
from instance_seg_ros.segmentation.waiting_network import WaitingNetwork


def test_candidates_take_turns_and_the_first_round_warms_up() -> None:
    calls: list[str] = []
    rows = measure({"slow": lambda: calls.append("slow"), "fast": lambda: calls.append("fast")}, rounds=3)
    assert calls == ["slow", "fast"] * 4
    assert [row[0] for row in rows] == ["slow", "fast"]
    assert rows[0][4] == 1.0
    assert all(best <= median for _, median, best, _, _ in rows)


def test_the_table_on_a_cpu_has_every_backend_that_is_installed(
    block_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(block_model_path), "--size", "160x120", "--rounds", "1", "--threads", "1"])
    title, _, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert title.startswith(f"{block_model_path.name}, 160x120, CPU")
    for backend in ("ONNX Runtime ", f"PyTorch {torch.__version__} (fp32)", f"PyTorch {torch.__version__} (bf16)"):
        assert any(row.startswith(backend) for row in rows), backend


def test_the_table_on_a_gpu_has_graphs_and_single_operators_and_says_what_is_missing(
    block_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []

    def on_the_cpu_instead(
        path: Path, shapes: dict[str, tuple[int, ...]], precision: str, device: str
    ) -> PyTorchNetwork:
        devices.append(device)
        return PyTorchNetwork(path, shapes, precision, "cpu")

    one_by_one = bench_models._one_by_one
    monkeypatch.setattr(bench_models, "PyTorchNetwork", on_the_cpu_instead)
    monkeypatch.setattr(bench_models, "_one_by_one", lambda path, frame, device: one_by_one(path, frame, "cpu"))
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

    on_cpu = bench_models._pytorch
    monkeypatch.setattr(bench_models, "_pytorch", lambda path, frame, *_: on_cpu(path, frame, "fp32", "cpu"))
    monkeypatch.setattr(bench_models, "_one_by_one", lambda path, frame, device: lambda: None)
    monkeypatch.setattr(bench_models, "obstacle_of", lambda backend, precision: None)
    monkeypatch.setattr(bench_models, "load_segmenter", load)
    unmeasured: list[str] = []
    candidates = on_gpu(block_model_path, made_up_frame(160, 120), unmeasured)
    assert candidates
    assert "tensorrt, fp16: tensorrt: failed: no kernel image is available" in unmeasured
    assert len(unmeasured) == 8  # four backends beside PyTorch, in two precisions


def test_what_cannot_be_measured_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, reason in (
        (["--device", "cuda"], "sees no GPU"),
        ([str(tmp_path / "absent.onnx")], "absent.onnx"),
        (["--capture", str(tmp_path / "absent")], "absent"),
    ):
        if arguments[0] == "--device" and torch.cuda.is_available():
            continue
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert reason in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "640"],
        ["--device", "tpu"],
        ["--size", "64x48", "--capture", "x"],
        ["--rounds", "0"],
        ["--threads", "0"],
    ],
)
def test_options_that_mean_nothing_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
