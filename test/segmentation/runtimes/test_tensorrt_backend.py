"""The TensorRT backend on a runtime that is stood in for: what it computes, and what it says when something fails."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.segmentation import ModelError
from instance_seg_ros.segmentation.contract import family_contract_of
from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.postprocessing import NetworkOutput
from instance_seg_ros.segmentation.runtimes import engine_builder
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork

INPUTS, SIZE_WH = ("depth_m", "intrinsics"), (160, 120)
INTRINSICS = np.array([150, 150, 79.5, 59.5], dtype=np.float32)


def ignore(line: str) -> None:
    """A report that nobody reads."""


@pytest.fixture
def model(block_model_path: Path) -> bytes:
    """For images of SIZE_WH."""
    return with_fixed_sizes(block_model_path, input_shapes(INPUTS, SIZE_WH))


def frame(depth_m: float) -> dict[str, np.ndarray]:
    """Inputs with this depth everywhere."""
    return {"depth_m": np.full(SIZE_WH[::-1], depth_m, dtype=np.float32), "intrinsics": INTRINSICS}


def assert_equal(actual: NetworkOutput, expected: NetworkOutput) -> None:
    assert vars(actual).keys() == vars(expected).keys()
    for name, value in vars(expected).items():
        if value is None:
            assert getattr(actual, name) is None, name
        else:
            assert getattr(actual, name).dtype == value.dtype, name
            assert np.array_equal(getattr(actual, name), value), name


def test_gives_what_onnx_runtime_gives_frame_by_frame(
    gpu: SimpleNamespace, model: bytes, block_model_path: Path
) -> None:
    network = gpu.backend.TensorRtNetwork(gpu.library, engine_builder.build_engine(gpu.library, model, "tf32", ignore))
    expected = OnnxRuntimeNetwork(block_model_path, threads=1)
    assert set(network.input_names) == set(INPUTS)
    outputs = [network(frame(depth_m)) for depth_m in (0.25, 0.75)]
    for output, depth_m in zip(outputs, (0.25, 0.75), strict=True):  # the second frame has not changed the first result
        assert_equal(output, expected(frame(depth_m)))


@pytest.mark.parametrize("family", ["yolo-seg", "torchvision-mask-rcnn", "detr"])
def test_gives_of_another_projects_model_what_onnx_runtime_gives(
    family: str, gpu: SimpleNamespace, family_model_path: Callable[[str], Path], make_frame: Callable[..., RgbdFrame]
) -> None:
    path = family_model_path(family)
    color_rgb = make_frame().color_rgb
    model = with_fixed_sizes(path, {"color_rgb": color_rgb.shape})
    engine = engine_builder.build_engine(gpu.library, model, "tf32", ignore)
    network = gpu.backend.TensorRtNetwork(gpu.library, engine, family_contract_of(path))
    assert network.input_names == ("color_rgb",)
    assert_equal(network({"color_rgb": color_rgb}), OnnxRuntimeNetwork(path, threads=1)({"color_rgb": color_rgb}))


def test_runs_as_one_cuda_graph_and_names_version_and_gpu(gpu: SimpleNamespace, model: bytes) -> None:
    network = gpu.backend.TensorRtNetwork(gpu.library, engine_builder.build_engine(gpu.library, model, "tf32", ignore))
    assert network.backend == "TensorRT 10.3.0 on Orin"


def test_without_a_cuda_graph_it_runs_all_the_same_and_says_so(
    gpu: SimpleNamespace, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_builder.build_engine(gpu.library, model, "tf32", ignore)
    monkeypatch.setenv("STAND_IN_FAULT", "capture")
    network = gpu.backend.TensorRtNetwork(gpu.library, engine)
    assert network(frame(0.5)).scores.tolist() == [0.5, np.float32(0.45)]
    assert "without a CUDA graph (operation not permitted when stream is capturing)" in network.backend


def test_engine_and_context_live_as_long_as_the_graph(gpu: SimpleNamespace, model: bytes) -> None:
    """The stand-in computes nonsense when the context is gone whose kernels a graph holds."""
    network = gpu.backend.TensorRtNetwork(gpu.library, engine_builder.build_engine(gpu.library, model, "tf32", ignore))
    work, context = network._work, weakref.ref(network._context)
    del network
    gc.collect()
    assert work(frame(0.5))["scores"].tolist() == [0.5, np.float32(0.45)]
    del work
    gc.collect()
    assert context() is None


def test_an_image_of_another_size_is_refused(gpu: SimpleNamespace, model: bytes) -> None:
    network = gpu.backend.TensorRtNetwork(gpu.library, engine_builder.build_engine(gpu.library, model, "tf32", ignore))
    small = {"depth_m": np.ones((1, 160), dtype=np.float32), "intrinsics": INTRINSICS}  # numpy would repeat the row
    with pytest.raises(ModelError, match=r"depth_m of shape \(120, 160\), not \(1, 160\)"):
        network(small)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("parse", "cannot read the model: Sorcery wand: no importer registered for op: Sorcery"),
        ("build", "cannot build the engine: could not find any implementation for node Conv_7$"),
    ],
)
def test_a_build_that_fails_gives_tensorrts_reason(
    gpu: SimpleNamespace, model: bytes, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    monkeypatch.setenv("STAND_IN_FAULT", fault)
    with pytest.raises(engine_builder.EngineError, match=message):
        engine_builder.build_engine(gpu.library, model, "tf32", ignore)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("deserialize", "EngineRefusedError", "cannot load the engine: Version tag does not match"),
        ("memory", "EngineError", "cannot load the engine: Error Code 2: OutOfMemory"),
        ("context", "EngineError", "cannot make room for the engine to run: Error Code 2: OutOfMemory"),
        ("address", "EngineError", "refuses the buffer for"),
        ("execute", "EngineError", "cannot run the engine: an illegal memory access"),
    ],
)
def test_an_engine_that_does_not_run_gives_tensorrts_reason(
    gpu: SimpleNamespace, model: bytes, monkeypatch: pytest.MonkeyPatch, fault: str, error: str, message: str
) -> None:
    engine = engine_builder.build_engine(gpu.library, model, "tf32", ignore)
    monkeypatch.setenv("STAND_IN_FAULT", fault)
    with pytest.raises(engine_builder.EngineError, match=message) as caught:
        gpu.backend.TensorRtNetwork(gpu.library, engine)
    assert type(caught.value).__name__ == error


def test_buffers_that_do_not_fit_are_named_by_pytorch(
    gpu: SimpleNamespace, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_builder.build_engine(gpu.library, model, "tf32", ignore)
    monkeypatch.setenv("STAND_IN_FAULT", "buffers")
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        gpu.backend.TensorRtNetwork(gpu.library, engine)


@pytest.mark.parametrize(("precision", "flags"), [("tf32", b'"flags": ["TF32"]'), ("fp32", b'"flags": []')])
def test_only_tf32_lets_the_builder_round(gpu: SimpleNamespace, model: bytes, precision: str, flags: bytes) -> None:
    assert flags in engine_builder.build_engine(gpu.library, model, precision, ignore).partition(b"\n")[0]


def test_progress_grows_over_nested_phases_and_no_line_is_repeated(gpu: SimpleNamespace, model: bytes) -> None:
    lines: list[str] = []
    engine_builder.build_engine(gpu.library, model, "tf32", lines.append)
    shares = [int(line.partition("%")[0]) for line in lines]
    assert lines[:3] == ["0%, Building Engine", "0%, Tactic Selection", "10%, Tactic Selection"]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert all(line != following for line, following in pairwise(lines))


@pytest.mark.parametrize("error", [BrokenPipeError("nobody reads this any more"), KeyboardInterrupt()])
def test_a_report_that_fails_cancels_the_build(gpu: SimpleNamespace, model: bytes, error: BaseException) -> None:
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if line.startswith("30%"):
            raise error

    with pytest.raises(type(error)):
        engine_builder.build_engine(gpu.library, model, "tf32", report)
    assert lines[-1].startswith("30%")


def test_the_key_names_the_machine_and_the_flags(gpu: SimpleNamespace) -> None:
    key = gpu.backend.engine_key(gpu.library, "d" * 64, {"intrinsics": (4,)}, "tf32", "a tool")
    assert key.facts() == {
        "model_digest": "d" * 64,
        "input_shapes": {"intrinsics": [4]},
        "tensorrt_version": "TensorRT 10.3.0",
        "gpu_name": "Orin",
        "compute_capability": "8.7",
        "multiprocessors": 16,
        "precision": "tf32",
        "builder_flags": ["STRONGLY_TYPED", "TF32"],
        "prepared_by": "a tool",
    }
