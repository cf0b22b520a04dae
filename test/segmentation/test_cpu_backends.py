"""The choice of a runtime on the CPU: by name, by measurement, and what is told of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from instance_seg_ros.config import SegmentationSettings
from instance_seg_ros.segmentation import cpu_backends
from instance_seg_ros.segmentation.cpu_backends import (
    CPU_BACKENDS,
    fastest_cpu_network,
    median_times_ms,
    times_in_turns_ms,
)
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.selection import on_cpu


class Clock:
    """Advanced by the networks alone."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def network(self, *frame_times_s: float):
        """Takes these times for its first frames, the last for all others."""
        times_s = list(frame_times_s)

        def run(inputs: object) -> None:
            self.now_s += times_s.pop(0) if len(times_s) > 1 else times_s[0]

        return run


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch):
    """Sets which backends are installed: name to the time of a frame in seconds, or to the error of loading."""

    def install(**found: float | ModelError) -> None:
        clock = Clock()

        def load(backend: str, path: Path, settings: SegmentationSettings) -> SimpleNamespace:
            result = found[backend]
            if isinstance(result, ModelError):
                raise result
            return SimpleNamespace(name=backend, sample_inputs=lambda camera_hw: {}, run=clock.network(result))

        monkeypatch.setattr(cpu_backends, "installed_cpu_backends", lambda: tuple(found))
        monkeypatch.setattr(cpu_backends, "load_cpu_network", load)
        monkeypatch.setattr(
            cpu_backends,
            "median_times_ms",
            lambda networks, inputs: median_times_ms({n: w.run for n, w in networks.items()}, inputs, clock),
        )

    return install


PATH = Path("model.onnx")


def test_the_first_frames_of_each_turn_do_not_count() -> None:
    clock = Clock()
    networks = {"a": clock.network(0.4, 0.02), "b": clock.network(0.01)}
    assert median_times_ms(networks, {}, clock) == pytest.approx({"a": 20, "b": 10})


def test_tasks_take_turns_of_several_calls() -> None:
    clock, calls = Clock(), []

    def task(name: str, took_s: float) -> Callable[[int], None]:
        def run(call: int) -> None:
            calls.append(name)
            clock.now_s += took_s

        return run

    times_ms = times_in_turns_ms({"a": task("a", 0.01), "b": task("b", 0.02)}, rounds=20, clock=clock)
    assert calls == (["a"] * 13 + ["b"] * 13) * 2
    assert times_ms["a"] == pytest.approx([10.0] * 20)
    assert times_ms["b"] == pytest.approx([20.0] * 20)


def test_slow_networks_run_once_each() -> None:
    clock = Clock()
    assert median_times_ms({"a": clock.network(3, 1), "b": clock.network(2, 1)}, {}, clock) == {"a": 3000, "b": 2000}
    assert clock.now_s == 5


@pytest.mark.parametrize(("slow", "fast"), [CPU_BACKENDS, CPU_BACKENDS[::-1]])
def test_the_faster_backend_serves_and_the_times_are_told(backends, slow: str, fast: str) -> None:
    backends(**{slow: 0.03, fast: 0.012})
    network, reason = fastest_cpu_network(PATH, SegmentationSettings())
    assert network.name == fast
    assert reason == f"measured: {slow} 30 ms, {fast} 12 ms"


def test_the_only_backend_is_not_measured(backends) -> None:
    backends(openvino=0.01)
    assert fastest_cpu_network(PATH, SegmentationSettings())[1] == ""


def test_a_backend_that_cannot_run_the_file_leaves_the_other_serving(backends) -> None:
    backends(onnxruntime=ModelError("operator Foo is unknown"), openvino=0.01)
    network, reason = fastest_cpu_network(PATH, SegmentationSettings())
    assert network.name == "openvino"
    assert reason == "onnxruntime failed: operator Foo is unknown"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "no backend for the CPU is installed; pip install onnxruntime"),
        ({"onnxruntime": ModelError("cut short"), "openvino": ModelError("cut, too")}, "cut short"),
    ],
)
def test_without_a_backend_that_runs_the_reason_is_told(backends, found: dict, message: str) -> None:
    backends(**found)
    with pytest.raises(ModelError, match=message):
        fastest_cpu_network(PATH, SegmentationSettings())


def test_a_named_backend_that_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, block_model_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="backend is openvino, but that package is not installed; pip install"):
        on_cpu(block_model_path, SegmentationSettings(backend="openvino"))


def test_auto_names_the_times_of_all_that_are_installed(block_model_path: Path) -> None:
    pytest.importorskip("openvino")
    network, reason = on_cpu(block_model_path, SegmentationSettings(threads=1))
    assert "measured: onnxruntime" in reason and "openvino" in reason
    assert np.isfinite(network(network.sample_inputs((480, 640))).scores).all()
