"""The choice of a runtime on the CPU: by name, by measurement, and what is told of it."""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import load_segmenter, runtime_choice
from instance_seg_ros.segmentation.accelerator import Accelerator
from instance_seg_ros.segmentation.model_file import (
    FORMAT,
    ModelError,
    default_model_path,
    graph_digest,
    path_in_8_bits,
    read_model_info,
)
from instance_seg_ros.segmentation.runtime_choice import load_network
from instance_seg_ros.segmentation.runtimes import cpu_runtimes
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import (
    CPU_BACKENDS,
    cpu_forms,
    fastest_cpu_network,
    float_forms,
    shortest_time_ms,
    times_in_turns_ms,
)


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


PATH = Path("model.onnx")


class StandIn:
    """A loaded network, for as long as somebody holds it."""

    def __init__(self, name: str, run: Callable[[object], None]) -> None:
        self.name, self.run = name, run

    def sample_inputs(self, camera_hw: tuple[int, int]) -> dict:
        return {}


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch):
    """Sets which backends are installed, name to the time of a frame in seconds or to the error of loading.

    What it returns becomes the paths that were loaded, in their order.
    """

    def install(**found: float | ModelError) -> list[Path]:
        clock = Clock()
        loaded: list[weakref.ref] = []
        paths: list[Path] = []

        def load(backend: str, path: Path, settings: SegmentationSettings) -> StandIn:
            result = found[backend]
            if isinstance(result, ModelError):
                raise result
            assert not any(other() for other in loaded), "two networks at once take twice the memory"
            name = f"{backend} {path.name}"
            took_s = result / 2 if "_int8" in path.name else result
            network = StandIn(name, clock.network(took_s))
            loaded.append(weakref.ref(network))
            paths.append(path)
            return network

        monkeypatch.setattr(cpu_runtimes, "installed_cpu_backends", lambda: tuple(found))
        monkeypatch.setattr(cpu_runtimes, "load_cpu_network", load)
        monkeypatch.setattr(
            cpu_runtimes, "shortest_time_ms", lambda network, inputs: shortest_time_ms(network.run, inputs, clock)
        )
        return paths

    return install


def test_the_first_frames_of_each_turn_do_not_count() -> None:
    clock = Clock()
    assert shortest_time_ms(clock.network(0.4, 0.02), {}, clock) == pytest.approx(20)


def test_the_fastest_is_told_beside_other_work() -> None:
    clock = Clock()
    times_s = [0.02] * 3 + [0.03, 0.05] * 4 + [0.011, 0.04]
    assert shortest_time_ms(clock.network(*times_s), {}, clock) == pytest.approx(11)


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


def test_a_slow_network_runs_once() -> None:
    clock = Clock()
    assert shortest_time_ms(clock.network(3, 1), {}, clock) == 3000
    assert clock.now_s == 3


@pytest.mark.parametrize(("slow", "fast"), [CPU_BACKENDS, CPU_BACKENDS[::-1]])
def test_the_faster_backend_serves_and_the_times_are_told(backends, slow: str, fast: str) -> None:
    backends(**{slow: 0.03, fast: 0.012})
    network, _, reason = fastest_cpu_network(float_forms(PATH), SegmentationSettings())
    assert network.name == f"{fast} model.onnx"
    assert reason == f"measured: {slow} 30 ms, {fast} 12 ms"


@pytest.fixture
def path_with_8_bits(tmp_path: Path) -> Path:
    """A model file with its 8-bit form beside it; both hold no more than what they say of themselves."""
    path = tmp_path / "model.onnx"
    digest = write_facts(path)
    write_facts(tmp_path / "model_int8.onnx", quantised_from=digest)
    return path


def write_facts(path: Path, **further: str) -> str:
    """A model file of one empty node; returns its digest."""
    proto = helper.make_model(helper.make_graph([], path.stem, [], []))
    digest = graph_digest(proto.SerializeToString())
    facts = {"format": FORMAT, "name": "a", "version": "1", "class_names": '["a"]', "digest": digest}
    helper.set_model_props(proto, {**facts, "score_threshold": "0.5", "mask_threshold": "0.5", **further})
    path.write_bytes(proto.SerializeToString())
    return digest


def test_8_bits_serve_where_they_are_the_fastest(backends, path_with_8_bits: Path) -> None:
    backends(onnxruntime=0.03, openvino=0.04)
    network, form, reason = fastest_cpu_network(cpu_forms(path_with_8_bits), SegmentationSettings())
    assert network.name == "onnxruntime model_int8.onnx"
    assert form.path == path_in_8_bits(path_with_8_bits)
    assert reason == (
        "measured: onnxruntime 30 ms, openvino 40 ms, onnxruntime in 8 bits 15 ms, openvino in 8 bits 20 ms"
    )


GPU = Accelerator("a GPU", {"tf32": lambda shapes, report: None})


@pytest.mark.parametrize(
    ("precision", "gpus", "in_8_bits"), [("auto", [], True), ("fp32", [], False), ("auto", [GPU], False)]
)
def test_a_result_names_the_file_that_was_run_and_a_gpu_and_its_stand_in_run_the_same(
    backends,
    monkeypatch: pytest.MonkeyPatch,
    path_with_8_bits: Path,
    precision: str,
    gpus: list[Accelerator],
    in_8_bits: bool,
) -> None:
    loads = backends(onnxruntime=0.03)
    monkeypatch.setattr(runtime_choice, "accelerators", lambda path, settings: (gpus, ["why not"]))
    segmenter = load_segmenter(path_with_8_bits, SegmentationSettings(precision=precision))
    served = path_in_8_bits(path_with_8_bits) if in_8_bits else path_with_8_bits
    assert loads[-1] == served
    assert segmenter.info == read_model_info(served)


@pytest.mark.parametrize(
    ("name", "facts", "reason"),
    [
        ("model_int8.onnx", {"quantised_from": "0" * 64}, "was not made from"),
        ("model.onnx", {"score_calibration": '{"slope": 0.5, "offset": 0.1}'}, "is older than the scores of"),
        ("model.onnx", {"score_threshold": "0.4"}, "is older than the scores of"),
    ],
)
def test_8_bits_of_another_network_or_with_other_scores_are_refused(
    backends, path_with_8_bits: Path, name: str, facts: dict[str, str], reason: str
) -> None:
    backends(onnxruntime=0.03)
    write_facts(path_with_8_bits.with_name(name), **facts)
    with pytest.raises(ModelError, match=f"model_int8.onnx {reason} model.onnx; make it again with .* or remove"):
        cpu_forms(path_with_8_bits)


def test_the_shipped_8_bits_are_of_the_shipped_network() -> None:
    assert {form.in_8_bits for form in cpu_forms(default_model_path())} == {False, True}


def test_the_only_backend_is_not_measured(backends) -> None:
    backends(openvino=0.01)
    assert fastest_cpu_network(float_forms(PATH), SegmentationSettings())[2] == ""


def test_a_backend_that_cannot_run_the_file_leaves_the_other_serving(backends) -> None:
    backends(onnxruntime=ModelError("operator Foo is unknown"), openvino=0.01)
    network, _, reason = fastest_cpu_network(float_forms(PATH), SegmentationSettings())
    assert network.name == "openvino model.onnx"
    assert reason == "onnxruntime failed: operator Foo is unknown"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "no backend for the CPU is installed; pip install onnxruntime"),
        (
            {"onnxruntime": ModelError("cut short"), "openvino": ModelError("cut, too")},
            "onnxruntime failed: cut short; openvino failed: cut, too",
        ),
    ],
)
def test_without_a_backend_that_runs_the_reason_is_told(backends, found: dict, message: str) -> None:
    backends(**found)
    with pytest.raises(ModelError, match=message):
        fastest_cpu_network(float_forms(PATH), SegmentationSettings())


def test_a_named_backend_that_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, block_model_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="backend is openvino, but that package is not installed; pip install"):
        load_network(block_model_path, SegmentationSettings(backend="openvino"))


def test_auto_names_the_times_of_all_that_are_installed(block_model_path: Path) -> None:
    pytest.importorskip("openvino")
    network, _, reason = load_network(block_model_path, SegmentationSettings(threads=1))
    assert "measured: onnxruntime" in reason and "openvino" in reason
    assert np.isfinite(network(network.sample_inputs((480, 640))).scores).all()
