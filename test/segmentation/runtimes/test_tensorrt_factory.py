"""From a model file to a running engine through the real command in a real process, on a GPU that is stood in for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelError, load_segmenter
from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.runtimes import engine_builder

SHAPES = input_shapes(("depth_m", "intrinsics"), (160, 120))
FRAME = {
    "depth_m": np.full((120, 160), 0.75, dtype=np.float32),
    "intrinsics": np.array([150, 150, 79.5, 59.5], dtype=np.float32),
}
CPU_RUNTIMES = ("ONNX Runtime", "OpenVINO")
"""Which of them is faster is measured, so that either may serve meanwhile."""
TIMEOUT_S = 60.0


def ignore(line: str) -> None:
    """A report that nobody reads."""


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """The folder of the cache."""
    return tmp_path / "engines"


@pytest.fixture
def make(gpu: SimpleNamespace, block_model_path: Path, engines: Path) -> Callable[..., object]:
    """Makes the TensorRT network as a node that starts does."""

    def make(report: Callable[[str], None] = ignore) -> object:
        return gpu.factory.TensorRtFactory(gpu.library, block_model_path, "tf32", engines)(SHAPES, report)

    return make


@pytest.fixture
def build_command(gpu: SimpleNamespace, block_model_path: Path, engines: Path) -> list[str]:
    """`instance-seg build-engine` for the same engine, with the same GPU."""
    command = [sys.executable, "-m", "instance_seg_ros.commands.main", "build-engine", "--camera-size", "160x120"]
    return [*command, "--model", str(block_model_path), "--engine-cache", str(engines)]


@pytest.fixture
def environment(gpu: SimpleNamespace) -> dict[str, str]:
    """For processes that see the same GPU."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_the_engine_is_built_for_the_first_node_and_loaded_by_the_next(
    gpu: SimpleNamespace, make: Callable[..., object]
) -> None:
    lines: list[str] = []
    assert make(lines.append)(FRAME).scores[0] == 0.75
    assert "building the engine for blocks.onnx: 50%, Tactic Selection" in lines
    assert make()(FRAME).scores[0] == 0.75
    assert gpu.builds() == 1


def test_a_damaged_engine_is_built_again(gpu: SimpleNamespace, make: Callable[..., object], engines: Path) -> None:
    make()
    (path,) = engines.glob("*.engine")
    path.write_bytes(path.read_bytes()[:-9])
    assert make()(FRAME).scores[0] == 0.75
    assert gpu.builds() == 2


@pytest.mark.parametrize(("variable", "value"), [("STAND_IN_TENSORRT", "11.4.0.106"), ("STAND_IN_GPU", "Thor")])
def test_another_tensorrt_or_gpu_has_an_engine_of_its_own(
    gpu: SimpleNamespace, build_command: list[str], environment: dict[str, str], variable: str, value: str
) -> None:
    for changed in ({}, {variable: value}):
        subprocess.run(build_command, env={**environment, **changed}, check=True, capture_output=True)
    assert gpu.builds() == 2


def test_each_precision_has_an_engine_of_its_own_and_the_same_result(
    gpu: SimpleNamespace, block_model_path: Path, engines: Path
) -> None:
    for precision in ("fp16", "bf16", "tf32", "fp32"):
        network = gpu.factory.TensorRtFactory(gpu.library, block_model_path, precision, engines)(SHAPES, ignore)
        assert network(FRAME).scores[0] == 0.75
    assert gpu.builds() == 4


def test_an_engine_that_tensorrt_refuses_is_built_again_once(
    gpu: SimpleNamespace, make: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    monkeypatch.setenv("STAND_IN_FAULT", "deserialize")
    with pytest.raises(engine_builder.EngineRefusedError, match="Version tag does not match"):
        make()
    assert gpu.builds() == 2


def test_a_good_engine_that_finds_no_memory_is_kept(
    gpu: SimpleNamespace, make: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    monkeypatch.setenv("STAND_IN_FAULT", "memory")
    with pytest.raises(engine_builder.EngineError, match="OutOfMemory"):
        make()
    monkeypatch.delenv("STAND_IN_FAULT")
    assert make()(FRAME).scores[0] == 0.75
    assert gpu.builds() == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("build", "cannot build the engine: could not find any implementation for node Conv_7"),
        ("killed", "killed by signal 9; is there enough memory"),
    ],
)
def test_a_build_that_fails_in_its_process_gives_the_reason(
    gpu: SimpleNamespace, make: Callable[..., object], monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    monkeypatch.setenv("STAND_IN_FAULT", fault)
    with pytest.raises(engine_builder.EngineError, match=message):
        make()


def test_a_cache_that_cannot_be_written_gives_the_reason(
    gpu: SimpleNamespace, make: Callable[..., object], engines: Path
) -> None:
    engines.write_text("a file where the folder should be")
    with pytest.raises((engine_builder.EngineError, OSError), match=r"File exists|Not a directory"):
        make()


def wait_for_builds(gpu: SimpleNamespace, count: int) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while gpu.builds() < count:
        assert time.monotonic() < deadline_s, "no build began in time"
        time.sleep(0.01)


def test_two_nodes_that_need_one_engine_build_it_once(
    gpu: SimpleNamespace, build_command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    held = {**environment, "STAND_IN_HOLD": str(hold)}
    with subprocess.Popen(build_command, env=held, stdout=subprocess.PIPE, text=True) as first:
        wait_for_builds(gpu, 1)
        with subprocess.Popen(build_command, env=held, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert "waiting for another process" in second.stdout.readline()
            hold.unlink()
            for process in (first, second):
                output, _ = process.communicate(timeout=TIMEOUT_S)
                assert process.returncode == 0
                assert "ready after" in output
    assert gpu.builds() == 1


def test_after_a_kill_in_the_middle_of_a_build_the_next_one_succeeds(
    gpu: SimpleNamespace, build_command: list[str], environment: dict[str, str], tmp_path: Path, engines: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    held = {**environment, "STAND_IN_HOLD": str(hold)}
    with subprocess.Popen(build_command, env=held, stdout=subprocess.DEVNULL) as process:
        wait_for_builds(gpu, 1)
        process.send_signal(signal.SIGKILL)
    assert not list(engines.glob("*.engine"))
    output = subprocess.run(build_command, env=environment, check=True, capture_output=True, text=True).stdout
    assert "waiting" not in output
    assert gpu.builds() == 2


def test_a_build_ends_when_nobody_reads_its_progress_any_more(
    gpu: SimpleNamespace, build_command: list[str], environment: dict[str, str], tmp_path: Path, engines: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    held = {**environment, "STAND_IN_HOLD": str(hold)}
    command = subprocess.Popen(build_command, env=held, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with command as process:
        wait_for_builds(gpu, 1)
        assert process.stdout is not None
        process.stdout.close()
        hold.unlink()
        assert process.wait(TIMEOUT_S) != 0
    assert not list(engines.glob("*.engine"))


def wait_for_backend(segmenter: object, start: str, run: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not segmenter.backend.startswith(start):
        assert time.monotonic() < deadline_s, segmenter.backend
        run()
        time.sleep(0.01)


def test_a_segmenter_serves_from_the_first_frame_and_then_from_the_engine(
    gpu: SimpleNamespace, block_model_path: Path, engines: Path, make_frame: Callable[..., object]
) -> None:
    segmenter = load_segmenter(block_model_path, SegmentationSettings(engine_cache=str(engines)))
    before = segmenter.segment(make_frame())
    assert segmenter.backend.startswith(CPU_RUNTIMES)
    wait_for_backend(segmenter, "TensorRT 10.3.0 on Orin", lambda: segmenter.segment(make_frame()))
    after = segmenter.segment(make_frame())
    assert len(before) == len(after) == 2
    assert np.array_equal(before.masks, after.masks)


def test_a_segmenter_goes_on_without_the_engine_and_says_why(
    gpu: SimpleNamespace,
    block_model_path: Path,
    engines: Path,
    make_frame: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAND_IN_FAULT", "build")
    segmenter = load_segmenter(block_model_path, SegmentationSettings(engine_cache=str(engines)))
    segmenter.segment(make_frame())
    deadline_s = time.monotonic() + TIMEOUT_S
    while "Conv_7" not in segmenter.backend:
        assert time.monotonic() < deadline_s, segmenter.backend
        time.sleep(0.01)
    assert segmenter.backend.startswith(CPU_RUNTIMES)
    assert len(segmenter.segment(make_frame())) == 2


def test_tensorrt_alone_serves_the_first_frame_too(
    gpu: SimpleNamespace, block_model_path: Path, engines: Path, make_frame: Callable[..., object]
) -> None:
    settings = SegmentationSettings(backend="tensorrt", engine_cache=str(engines))
    segmenter = load_segmenter(block_model_path, settings)
    assert len(segmenter.segment(make_frame())) == 2
    assert segmenter.backend == "TensorRT 10.3.0 on Orin"


def test_tensorrt_for_rtx_builds_for_the_gpu_that_is_here_and_serves(
    gpu: SimpleNamespace,
    block_model_path: Path,
    engines: Path,
    make_frame: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAND_IN_CAPABILITY", "8.9")
    settings = SegmentationSettings(backend="tensorrt-rtx", engine_cache=str(engines))
    segmenter = load_segmenter(block_model_path, settings)
    assert len(segmenter.segment(make_frame())) == 2
    assert segmenter.backend == "TensorRT for RTX 1.7.1.116 on Orin"
    (record,) = engines.glob("*.json")
    assert '"TensorRT for RTX 1.7.1.116"' in record.read_text()


def test_tensorrt_for_rtx_says_which_gpus_it_is_not_for(
    gpu: SimpleNamespace, block_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_CAPABILITY", "9.0")
    with pytest.raises(ModelError, match=r"tensorrt-rtx cannot run here .*is not for GPUs of compute capability 9.0"):
        load_segmenter(block_model_path, SegmentationSettings(backend="tensorrt-rtx"))


def check_auto_names_it_and_tensorrt_refuses(model_path: Path, reason: str) -> None:
    backend = load_segmenter(model_path, SegmentationSettings()).backend
    assert backend.startswith(CPU_RUNTIMES)
    assert f"TensorRT: {reason}" in backend
    with pytest.raises(ModelError, match=f"backend tensorrt cannot run here .{reason}"):
        load_segmenter(model_path, SegmentationSettings(backend="tensorrt"))


def test_without_a_gpu_for_pytorch_auto_says_why_it_is_not_tensorrt(
    gpu: SimpleNamespace, block_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_FAULT", "no_gpu")
    check_auto_names_it_and_tensorrt_refuses(block_model_path, "PyTorch 2.4.0 sees no GPU")


def test_a_tensorrt_too_old_to_import_the_backend_with_is_named(
    gpu: SimpleNamespace, block_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu.tensorrt, "__version__", "8.6.2")
    monkeypatch.delattr(gpu.tensorrt, "IProgressMonitor")  # which came later
    check_auto_names_it_and_tensorrt_refuses(block_model_path, "TensorRT 8.6.2 is too old")


def test_onnx_runtime_can_be_asked_for_on_a_machine_with_a_gpu(gpu: SimpleNamespace, block_model_path: Path) -> None:
    backend = load_segmenter(block_model_path, SegmentationSettings(backend="onnxruntime")).backend
    assert backend.startswith("ONNX Runtime")
    assert "TensorRT" not in backend


def test_the_command_says_why_it_cannot_build_here(
    build_command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    without_gpu = {**environment, "STAND_IN_FAULT": "no_gpu"}
    result = subprocess.run(build_command, env=without_gpu, check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("instance-seg: error: cannot build an engine here: PyTorch 2.4.0 sees no GPU")
