"""Times of the model in every CPU runtime, beside other networks, and the memory that segmenting takes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.core.settings import from_mapping
from instance_seg_ros.files.captures import read_capture, write_capture
from instance_seg_ros.segmentation import NetworkSegmenter, read_model_info
from instance_seg_ros.segmentation.contract import read_info
from instance_seg_ros.segmentation.model_location import located
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import (
    cpu_forms,
    installed_cpu_backends,
    load_cpu_network,
    times_in_turns_ms,
)
from instance_seg_ros.segmentation.runtimes.graph_network import GraphSession

COLUMNS = ("network", "runtime", "median ms", "p95 ms", "process MB")

_FRAMES_OF_A_CHILD = 5


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is timed beside the model.

    Attributes:
        device: "cpu", or "cuda" for the runtimes of the GPU in place of those of the CPU.
        pytorch: whether to time PyTorch on the CPU as well.
        checkpoint: written by `instance-seg import-weights`: adds its network as AdelaiDet runs it, in PyTorch.
        others: ONNX files of other networks, with fixed input shapes.
    """

    device: str = "cpu"
    pytorch: bool = False
    checkpoint: Path | None = None
    others: Sequence[Path] = ()


def rows(
    frames: Sequence[RgbdFrame],
    rounds: int,
    model: Path | None,
    settings: SegmentationSettings,
    comparison: Comparison,
    unmeasured: list[str],
) -> list[tuple[str, str, str, str, str]]:
    """Rows under `COLUMNS`: the model, from frame to instances, and other networks' forward pass, in turns.

    Args:
        frames: all of one camera, gone through over and over.
        rounds: how often each is timed, at least.
        model: an ONNX file, or None for the one that is shipped; of another project, on the CPU without PyTorch.
        settings: whatever they say of the backend, each installed one gets a row, and one more where a file in 8 bits
            lies beside the model. On the CPU the last row has the memory of `auto`, which tries all of them.
        unmeasured: gets a line for each runtime that does not run here.

    Raises:
        InputError: a file cannot be used.
    """
    path = located(model)
    info = read_info(path)
    own = f"{info.name}, frame to instances"
    tasks: dict[tuple[str, str], Callable[[int], object]] = {}
    memory_mb: dict[tuple[str, str], str] = {}
    for name, candidates in _torch_candidates(path, frames[0], settings, comparison, unmeasured).items():
        tasks |= {(name or own, runtime): _ignoring_the_turn(run) for runtime, run in candidates.items()}
    if comparison.device == "cpu":
        for form in cpu_forms(path):
            of_form = dataclasses.replace(settings, backend=form.backend)
            segmenter = NetworkSegmenter(load_cpu_network(form.backend, form.path, of_form), info, of_form)
            tasks[own, segmenter.backend] = partial(_segment, segmenter, frames)
            memory_mb[own, segmenter.backend] = f"{peak_memory_mb(frames[0], form.path, of_form):.0f}"
    for backend in installed_cpu_backends():
        for other in comparison.others:
            tasks[f"{other.with_suffix('')}, forward pass", backend] = other_network(backend, other, settings.threads)
    times_ms = times_in_turns_ms(tasks, rounds)
    measured = [
        (*row, f"{np.median(values):.1f}", f"{np.percentile(values, 95):.1f}", memory_mb.get(row, ""))
        for row, values in times_ms.items()
    ]
    if comparison.device != "cpu":
        return measured
    choosing = dataclasses.replace(settings, backend="auto")
    auto_mb = f"{peak_memory_mb(frames[0], path, choosing):.0f}"
    return [*measured, (own, "auto, while it chooses", "", "", auto_mb)]


def _torch_candidates(
    path: Path, frame: RgbdFrame, settings: SegmentationSettings, comparison: Comparison, unmeasured: list[str]
) -> dict[str, dict[str, Callable[[], object]]]:
    """What runs in PyTorch, by network (the model's has the name "") and runtime."""
    if comparison.device == "cpu" and not comparison.pytorch and comparison.checkpoint is None:
        return {}
    # Imported here: PyTorch is large, and few have it beside a CPU alone.
    from instance_seg_ros.commands.helpers import torch_timing

    found = {}
    if comparison.checkpoint is not None:
        run = torch_timing.eager(comparison.checkpoint, frame, comparison.device)
        found[f"{comparison.checkpoint.with_suffix('')}, image to masks"] = {"PyTorch, eager": run}
    if comparison.device != "cpu" or comparison.pytorch:
        read_model_info(path)  # refuses other projects' files: what times them in PyTorch feeds this project's inputs
    if comparison.device != "cpu":
        found[""] = torch_timing.on_gpu(path, frame, unmeasured)
    elif comparison.pytorch:
        found[""] = torch_timing.on_cpu(path, frame, settings.threads)
    return found


def _ignoring_the_turn(run: Callable[[], object]) -> Callable[[int], object]:
    return lambda turn: run()


def _segment(segmenter: NetworkSegmenter, frames: Sequence[RgbdFrame], turn: int) -> object:
    return segmenter.segment(frames[turn % len(frames)])


def other_network(backend: str, path: Path, threads: int) -> Callable[[int], object]:
    """One pass of any ONNX network on random inputs, in a runtime as it is used for the model.

    Raises:
        InputError: the runtime refuses the file, or an input has no fixed shape.
    """
    try:
        session = _session(backend, path, threads)
    except Exception as error:  # the runtimes' exceptions share no base but Exception
        raise InputError(f"{backend} cannot load {path}: {error}") from error
    rng = np.random.default_rng(0)
    feeds: dict[str, NDArray] = {}
    for name, tensor in session.inputs.items():
        if None in tensor.shape:
            raise InputError(f"{path} takes {name} of any shape; export it with the size that is to be measured")
        feeds[name] = rng.random([side or 1 for side in tensor.shape]).astype(tensor.type_name)
    outputs = tuple(session.outputs)
    return lambda turn: session.run(outputs, feeds)


def _session(backend: str, path: Path, threads: int) -> GraphSession:
    if backend == "openvino":
        from instance_seg_ros.segmentation.runtimes.openvino_backend import OpenVinoSession

        return OpenVinoSession(path, threads)
    from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeSession, session_options

    return OnnxRuntimeSession(str(path), session_options(threads), ["CPUExecutionProvider"])


def peak_memory_mb(frame: RgbdFrame, model: Path, settings: SegmentationSettings) -> float:
    """Peak memory of a separate process that segments this frame a few times and does nothing else.

    Raises:
        InputError: that process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "capture"
        write_capture(capture, frame)
        values = json.dumps(dataclasses.asdict(settings))
        result = subprocess.run(
            [sys.executable, "-m", __name__, str(capture), str(model), values],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode != 0:
        raise InputError(f"the process that measures memory failed: {result.stderr.strip()}")
    return float(result.stdout)


def _main() -> None:
    """Runs in the separate process: segments, and prints its peak memory in MB."""
    from instance_seg_ros.segmentation import load_segmenter

    capture, model, values = sys.argv[1:]
    segmenter = load_segmenter(Path(model), from_mapping(SegmentationSettings, json.loads(values)))
    frame = read_capture(Path(capture)).frame
    for _ in range(_FRAMES_OF_A_CHILD):
        segmenter.segment(frame)
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)


if __name__ == "__main__":
    _main()
