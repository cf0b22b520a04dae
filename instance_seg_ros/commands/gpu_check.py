"""Checks every backend and precision that a GPU here can run against the CPU, times them, and trains a little.

python -m instance_seg_ros.commands.gpu_check [MODEL.onnx ...] [--captures DIR] [--out DIR] [--minutes 4]

Prints each result as soon as it is there, and writes table.md and, with all numbers and where the GPU's time goes,
table.json after each. The exit status is 1 when a backend finds other instances than the CPU or fails, and 2 when
nothing could be checked, since there is no GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.commands.helpers.gpu_stages import KERNEL_STAGES, GpuStages, recorded, stages_of
from instance_seg_ros.commands.helpers.instance_agreement import InstanceAgreement, instance_agreement
from instance_seg_ros.commands.helpers.made_up_frames import (
    BLOCKS_M,
    COLUMNS,
    TABLE_M,
    block_places,
    made_up_camera,
)
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.files.captures import capture_folders, read_capture
from instance_seg_ros.segmentation.accelerator import Maker
from instance_seg_ros.segmentation.contract import read_info
from instance_seg_ros.segmentation.gpu_runtimes import GPU_BACKENDS, accelerator, obstacle_of
from instance_seg_ros.segmentation.model_location import located
from instance_seg_ros.segmentation.network import network_inputs
from instance_seg_ros.segmentation.runtimes import nvidia_driver
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import load_cpu_network
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter

MIN_IOU = {"fp32": 0.99, "tf32": 0.99, "bf16": 0.97, "fp16": 0.97}
"""Of every mask with the CPU's, by precision; fewer or more instances are a fault in all of them."""
UNCOMPILED = "pytorch-uncompiled"
"""The PyTorch backend as it runs where there is no Triton."""
CHECKED = (*GPU_BACKENDS, UNCOMPILED)
_TIMED_FRAMES = 50
_SIZES_WH = ((640, 480), (1280, 720))
_TRAINING_FRAMES = 256
_TRAINING_STEPS = 40
_COUNTED_STEPS = 20


@dataclass(frozen=True)
class Row:
    """What became of a model file on a backend in a precision.

    Attributes:
        model: name of the file.
        backend, precision: values of the settings of these names.
        runs: what the backend says of itself.
        agreement: with the CPU; None where it did not run.
        network_ms: median, from the arrays of a 640x480 frame in memory to those of the masks' grid in memory.
        frame_ms: median, from a frame to instances with masks of the camera's size.
        ready_s: how long it took to get ready for 640x480.
        stages: what the GPU does for a frame.
        fault: what is wrong; empty where nothing is.
        obstacle: why it cannot run here, which is no fault; empty where it can.
    """

    model: str
    backend: str
    precision: str
    runs: str = ""
    agreement: InstanceAgreement | None = None
    network_ms: float | None = None
    frame_ms: float | None = None
    ready_s: float | None = None
    stages: GpuStages | None = None
    fault: str = ""
    obstacle: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks, prints and writes; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", type=Path, nargs="*", help="model files, or names of shipped ones (default: tabletop_rgbd)"
    )
    parser.add_argument(
        "--captures", type=Path, metavar="DIR", help="folder of real captures, beside the made-up frames"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("out/gpu_check"), help="(default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=4.0, help="after which nothing new is begun (default: %(default)s)"
    )
    parser.add_argument(
        "--backends", nargs="+", choices=CHECKED, default=list(CHECKED), metavar="NAME", help=f"of {', '.join(CHECKED)}"
    )
    parser.add_argument("--precisions", nargs="+", choices=list(MIN_IOU), default=list(MIN_IOU), help="(default: all)")
    parser.add_argument("--one-size", action="store_true", help="640x480 alone, beside what the captures have")
    parser.add_argument("--without-training", action="store_true", help="backends only")
    parser.add_argument("--batch-size", type=int, default=64, help="of the training (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=14, help="of the training's loader (default: %(default)s)")
    args = parser.parse_args(arguments)
    obstacle = _obstacle()
    if obstacle is not None:
        print(f"gpu-check: {obstacle}. Nothing was checked.", file=sys.stderr)
        return 2
    deadline_s = time.monotonic() + 60 * args.minutes
    frames = [made_up_tabletop(*size_wh) for size_wh in _SIZES_WH[: 1 if args.one_size else None]]
    if args.captures is not None:
        frames += [read_capture(folder).frame for folder in capture_folders(args.captures)]
    report = Report(args.out, gpu_name())
    for path in map(located, args.models or [None]):
        for row in check_model(path, frames, deadline_s, args.backends, args.precisions):
            report.add(row)
    trained = True
    if not args.without_training:
        told, left_s = "no time was left", deadline_s - time.monotonic()
        if left_s > 0:
            told, trained = trained_a_little("cuda", args.batch_size, args.workers, limit_s=left_s)
        report.finish(told)
    print((args.out / "table.md").read_text())
    return int(any(row.fault for row in report.rows) or not trained)


def _obstacle() -> str | None:
    """Why nothing can be checked here, with the cure; None when something can."""
    missing = [name for name in ("torch", "onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return nvidia_driver.obstacle() or nvidia_driver.pytorch_obstacle()


def gpu_name() -> str:
    """Of the first GPU, as PyTorch calls it."""
    import torch

    return str(torch.cuda.get_device_name())


def made_up_tabletop(width: int, height: int) -> RgbdFrame:
    """Boxes of three heights on a table that the camera looks straight down on, with a sensor's noise and holes."""
    rng = np.random.default_rng(3)
    depth_m = np.full((height, width), TABLE_M, dtype=np.float32)
    for index, place in enumerate(block_places(width, height)):
        depth_m[place] = BLOCKS_M - 0.02 * (index // COLUMNS)
    grey = (255 * (depth_m - 0.75).clip(0, 0.15) / 0.15).astype(np.uint8)
    color_rgb = np.repeat(grey[..., None], 3, axis=2)
    depth_m += rng.normal(0, 0.0008, depth_m.shape).astype(np.float32)
    depth_m[rng.random(depth_m.shape) < 0.02] = 0
    return RgbdFrame(color_rgb, depth_m, made_up_camera(width, height))


def check_model(
    path: Path,
    frames: Sequence[RgbdFrame],
    deadline_s: float,
    backends: Sequence[str] = (),
    precisions: Sequence[str] = tuple(MIN_IOU),
) -> Iterator[Row]:
    """A row for each backend for GPUs in each precision, as soon as it is there.

    Args:
        path: of a model file.
        frames: the first of them is timed.
        deadline_s: of `time.monotonic`; what has not begun by then is left out, and its row says so.
        backends: of `CHECKED`; empty: all.
        precisions: keys of `MIN_IOU`.
    """
    info = read_info(path)
    trusted = load_cpu_network("onnxruntime", path, SegmentationSettings())
    segmenter = NetworkSegmenter(trusted, info, SegmentationSettings())
    expected = [segmenter.segment(frame) for frame in frames]
    for backend in backends or CHECKED:
        for precision in precisions:
            row = Row(path.name, backend, precision)
            obstacle = obstacle_of("pytorch" if backend == UNCOMPILED else backend, precision)
            if obstacle is None and time.monotonic() > deadline_s:
                obstacle = "no time was left"
            if obstacle is not None:
                yield dataclasses.replace(row, obstacle=obstacle)
                continue
            maker = _maker(backend, path, precision)
            yield checked(row, path, maker, trusted.input_names, frames, expected)


def _maker(backend: str, path: Path, precision: str) -> Maker:
    """Of a backend's network in a precision and no other."""
    if backend != UNCOMPILED:
        return accelerator(backend, path, SegmentationSettings(precision=precision)).makers[precision]
    from instance_seg_ros.segmentation.runtimes.pytorch_backend import PyTorchNetwork

    return lambda shapes, report: PyTorchNetwork(path, shapes, precision, "cuda")


def checked(
    row: Row,
    path: Path,
    maker: Maker,
    input_names: tuple[str, ...],
    frames: Sequence[RgbdFrame],
    expected: Sequence[Instances],
) -> Row:
    """The row with what a backend makes of the frames, or with the reason why it makes nothing of them.

    Args:
        maker: of the backend's network for one size of the images; one network at a time is kept.
        expected: instances of each frame.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        by_size.setdefault(frame.depth_m.shape, []).append(index)
    pairs: list[tuple[Instances, Instances]] = []
    network_ms = frame_ms = ready_s = stages = None
    runs = ""
    try:
        for indices in by_size.values():
            first = network_inputs(frames[indices[0]], input_names)
            start_s = time.monotonic()
            network = maker({name: array.shape for name, array in first.items()}, lambda line: None)
            if indices[0] == 0:
                ready_s = time.monotonic() - start_s
            segmenter = NetworkSegmenter(network, read_info(path), SegmentationSettings())
            pairs += [(expected[index], segmenter.segment(frames[index])) for index in indices]
            if indices[0] == 0:
                runs = network.backend
                network_ms = median_ms(partial(network, first), _TIMED_FRAMES)
                frame_ms = median_ms(partial(segmenter.segment, frames[0]), _TIMED_FRAMES)
                stages = _stages(partial(segmenter.segment, frames[0]))
            del network, segmenter
    except Exception as error:  # whatever it is, it is the row's, and the other backends go on
        return dataclasses.replace(row, runs=runs, fault=f"failed: {error}")
    agreement = instance_agreement(pairs)
    fault = agreement.fault(MIN_IOU[row.precision]) or ""
    return dataclasses.replace(
        row,
        runs=runs,
        agreement=agreement,
        network_ms=network_ms,
        frame_ms=frame_ms,
        ready_s=ready_s,
        stages=stages,
        fault=fault,
    )


def _stages(run: Callable[[], object]) -> GpuStages | None:
    """What the GPU does for a frame; None where PyTorch sees no GPU, or its profiler may not look at it."""
    import torch

    events = recorded(run) if torch.cuda.is_available() else []
    return stages_of(events) if events else None


def median_ms(run: Callable[[], object], calls: int) -> float:
    """Of some calls, after a few that do not count."""
    times_ms = []
    for _ in range(calls + calls // 5):
        start = time.perf_counter()
        run()
        times_ms.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times_ms[-calls:])


def trained_a_little(
    device: str,
    batch_size: int,
    workers: int,
    frames: int = _TRAINING_FRAMES,
    steps: int = _TRAINING_STEPS,
    size: str = "standard",
    limit_s: float = 600.0,
) -> tuple[str, bool]:
    """How fast `instance-seg train` is on a store of made-up frames with colour, for people; and whether it ran.

    After `limit_s` it is stopped, and tells the rate so far.
    """
    from instance_seg_ros.learning.training.log import LOG_NAME

    with tempfile.TemporaryDirectory() as folder:
        store, out = Path(folder) / "store", Path(folder) / "run"
        write_made_up_store(store, frames)
        command = [sys.executable, "-m", "instance_seg_ros.commands.main", "train", "--store", str(store)]
        command += ["--out", str(out), "--steps", str(steps), "--batch-size", str(batch_size), "--device", device]
        command += ["--size", size, "--workers", str(workers)]
        try:
            result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=limit_s)
        except subprocess.TimeoutExpired:
            result = None
        if result is not None and result.returncode:
            return f"failed: {(result.stderr.strip() or 'it says nothing').splitlines()[-1]}", False
        lines = (out / LOG_NAME).read_text().splitlines(keepends=True) if (out / LOG_NAME).is_file() else []
        # What was stopped may have left half a line.
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        if not records:
            return f"no step in {limit_s:.0f} s", True
    images_per_s = rate(records, batch_size)
    return f"{images_per_s:.0f} images/s ({device}, batch {batch_size}, {workers} workers, 640x480, colour)", True


def rate(records: Sequence[Mapping[str, float]], batch_size: int, counted: int = _COUNTED_STEPS) -> float:
    """Images per second over the last steps of a training's log; the first ones are slow on a GPU."""
    last = records[-min(counted + 1, len(records)) :]
    steps, seconds = last[-1]["step"] - last[0]["step"], last[-1]["elapsed_s"] - last[0]["elapsed_s"]
    return batch_size * steps / max(seconds, 1e-9)


def write_made_up_store(folder: Path, frames: int) -> None:
    """A scene store of one made-up frame, again and again; how long a sample takes depends on its contents little."""
    frame = made_up_tabletop(640, 480)
    folder.mkdir(parents=True)
    width, height = frame.intrinsics.width, frame.intrinsics.height
    depth = np.round(frame.depth_m * 1e4).astype(np.uint16)
    ids = np.zeros((height, width), dtype=np.uint8)
    for value, place in enumerate(block_places(width, height), start=1):
        ids[place] = value
    assert frame.color_rgb is not None
    arrays: dict[str, NDArray] = {
        "depth": np.repeat(depth[None], frames, axis=0),
        "ids": np.repeat(ids[None], frames, axis=0),
        "color": np.repeat(frame.color_rgb[None], frames, axis=0),
        "intrinsics": np.tile(frame.intrinsics.fx_fy_cx_cy.astype(np.float32), (frames, 1)),
        "T_world_camera": np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        "scene_id": np.arange(1, frames + 1, dtype=np.int32),
        "done": np.ones(frames, dtype=bool),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    meta = {"format": 1, "frames": frames, "width": width, "height": height, "seed": 0, "color": True}
    (folder / "meta.json").write_text(json.dumps({**meta, "generator": {"views": 1}}))


class Report:
    """Rows as they come: each is printed, and all are written again as table.md and table.json.

    Args:
        folder: that the files are written to.
        gpu: its name.
    """

    def __init__(self, folder: Path, gpu: str) -> None:
        self.rows: list[Row] = []
        self._folder, self._gpu, self._training = folder, gpu, "not asked for"
        self._start_s = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._write()

    def add(self, row: Row) -> None:
        """Prints and writes one more."""
        self.rows.append(row)
        cells = (f"{name} {cell}" for name, cell in zip(_HEADERS, _cells(row), strict=True) if cell)
        after_s = time.monotonic() - self._start_s
        print(f"[{after_s:.0f} s] {row.runs or row.backend}: {row.obstacle or ', '.join(cells)}", flush=True)
        if row.stages is not None:
            print(stage_lines(row.stages), flush=True)
        self._write()

    def finish(self, training: str) -> None:
        """Writes what came of the training."""
        self._training = training
        self._write()

    def _write(self) -> None:
        facts = {"gpu": self._gpu, "rows": [dataclasses.asdict(row) for row in self.rows], "training": self._training}
        (self._folder / "table.json").write_text(json.dumps(facts, indent=1) + "\n")
        (self._folder / "table.md").write_text(markdown(self._gpu, self.rows, self._training))


def stage_lines(stages: GpuStages) -> str:
    """Stages and longest kernels, for people."""
    parts = [f"{stage} {ms:.3f} ms ({stages.kernels[stage]:.0f})" for stage, ms in stages.ms.items()]
    kernels = [f"    {ms:.3f} ms  {count:5.0f} x {name[:110]}" for name, count, ms in stages.longest]
    return "\n".join(("    " + ", ".join(parts), *kernels))


_HEADERS = (
    "model",
    "backend",
    "precision",
    "frames",
    "instances",
    "CPU's",
    "worst IoU",
    "score",
    "network ms",
    "frame ms",
    "GPU ms",
    "kernels",
    "ready s",
    "verdict",
)


def markdown(gpu: str, rows: Sequence[Row], training: str) -> str:
    """The report for people: what ran, then what could not."""
    table = [_cells(row) for row in rows if not row.obstacle]
    obstacles = dict.fromkeys(f"- {row.backend}, {row.precision}: {row.obstacle}" for row in rows if row.obstacle)
    parts = [
        f"GPU: {gpu}",
        tabulate(table, headers=_HEADERS, tablefmt="github", disable_numparse=True),
        f"Training: {training}",
        "Not run:\n\n" + "\n".join(obstacles) if obstacles else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    """As `_HEADERS` says."""
    agreement, stages = row.agreement, row.stages
    compared: tuple[str, ...] = ("",) * 5
    if agreement is not None:
        compared = (
            *map(str, (agreement.frames, agreement.found, agreement.expected)),
            f"{agreement.worst_iou:.4f}",
            f"{agreement.worst_score_difference:.4f}",
        )
    gpu_ms = None if stages is None else sum(ms for stage, ms in stages.ms.items() if stage != "idle")
    return (
        *(row.model, row.backend, row.precision),
        *compared,
        *("" if value is None else f"{value:.2f}" for value in (row.network_ms, row.frame_ms, gpu_ms)),
        "" if stages is None else f"{sum(stages.kernels[stage] for stage in KERNEL_STAGES):.0f}",
        "" if row.ready_s is None else f"{row.ready_s:.0f}",
        row.fault or "ok",
    )


if __name__ == "__main__":
    sys.exit(main())
