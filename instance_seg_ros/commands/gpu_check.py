"""Checks every backend and precision that a GPU here can run against the CPU, times them, and trains a little.

python -m instance_seg_ros.commands.gpu_check [MODEL.onnx ...] [--captures DIR] [--out DIR] [--minutes 4]

Prints one table, and writes it as table.md and, with all numbers, as table.json. The exit status is 1 when a backend
finds other instances than the CPU or fails, and 2 when nothing could be checked, since there is no GPU.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.commands.helpers.instance_agreement import InstanceAgreement, instance_agreement
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.files.captures import capture_folders, read_capture
from instance_seg_ros.segmentation import default_model_path, read_model_info
from instance_seg_ros.segmentation.accelerator import Maker
from instance_seg_ros.segmentation.gpu_runtimes import GPU_BACKENDS, accelerator, obstacle_of
from instance_seg_ros.segmentation.network import network_inputs
from instance_seg_ros.segmentation.runtimes import nvidia_driver
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import load_cpu_network
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter

MIN_IOU = {"fp32": 0.99, "tf32": 0.99, "bf16": 0.97, "fp16": 0.97}
"""Of every mask with the CPU's, by precision; fewer or more instances are a fault in all of them."""
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
    fault: str = ""
    obstacle: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks, prints and writes; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", help="model files (default: the one that is shipped)")
    parser.add_argument(
        "--captures", type=Path, metavar="DIR", help="folder of real captures, beside the made-up frames"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("out/gpu_check"), help="(default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=4.0, help="after which nothing new is begun (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=int, default=64, help="of the training (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=14, help="of the training's loader (default: %(default)s)")
    args = parser.parse_args(arguments)
    obstacle = _obstacle()
    if obstacle is not None:
        print(f"gpu-check: {obstacle}. Nothing was checked.", file=sys.stderr)
        return 2
    deadline_s = time.monotonic() + 60 * args.minutes
    frames = [made_up_tabletop(*size_wh) for size_wh in _SIZES_WH]
    if args.captures is not None:
        frames += [read_capture(folder).frame for folder in capture_folders(args.captures)]
    rows = []
    for path in args.models or [default_model_path()]:
        rows += check_model(path, frames, deadline_s)
    training, trained = "no time was left", True
    if time.monotonic() < deadline_s:
        training, trained = trained_a_little("cuda", args.batch_size, args.workers)
    write_report(args.out, gpu_name(), rows, training)
    print((args.out / "table.md").read_text())
    return int(any(row.fault for row in rows) or not trained)


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
    depth_m = np.full((height, width), 0.9, dtype=np.float32)
    for index in range(12):
        row, column = divmod(index, 4)
        top, left = (4 * row + 1) * height // 13, (4 * column + 1) * width // 17
        depth_m[top : top + 3 * height // 13, left : left + 3 * width // 17] = 0.84 - 0.02 * row
    grey = (255 * (depth_m - 0.75).clip(0, 0.15) / 0.15).astype(np.uint8)
    color_rgb = np.repeat(grey[..., None], 3, axis=2)
    depth_m += rng.normal(0, 0.0008, depth_m.shape).astype(np.float32)
    depth_m[rng.random(depth_m.shape) < 0.02] = 0
    focal_px = 0.95 * width
    return RgbdFrame(color_rgb, depth_m, Intrinsics(width, height, focal_px, focal_px, width / 2, height / 2))


def check_model(path: Path, frames: Sequence[RgbdFrame], deadline_s: float) -> list[Row]:
    """A row for each backend for GPUs in each precision.

    Args:
        path: of a model file.
        frames: the first of them is timed.
        deadline_s: of `time.monotonic`; what has not begun by then is left out, and its row says so.
    """
    info, rows = read_model_info(path), []
    trusted = load_cpu_network("onnxruntime", path, SegmentationSettings())
    settings = {precision: SegmentationSettings(precision=precision) for precision in MIN_IOU}
    segmenter = NetworkSegmenter(trusted, info, SegmentationSettings())
    expected = [segmenter.segment(frame) for frame in frames]
    for backend in GPU_BACKENDS:
        for precision in MIN_IOU:
            row = Row(path.name, backend, precision)
            obstacle = obstacle_of(backend, precision)
            if obstacle is None and time.monotonic() > deadline_s:
                obstacle = "no time was left"
            if obstacle is not None:
                rows.append(dataclasses.replace(row, obstacle=obstacle))
                continue
            maker = accelerator(backend, path, settings[precision]).makers[precision]
            rows.append(checked(row, path, maker, trusted.input_names, frames, expected))
    return rows


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
    network_ms = frame_ms = None
    runs = ""
    try:
        for indices in by_size.values():
            first = network_inputs(frames[indices[0]], input_names)
            network = maker({name: array.shape for name, array in first.items()}, lambda line: None)
            segmenter = NetworkSegmenter(network, read_model_info(path), SegmentationSettings())
            pairs += [(expected[index], segmenter.segment(frames[index])) for index in indices]
            if indices[0] == 0:
                runs = network.backend
                network_ms = median_ms(partial(network, first), _TIMED_FRAMES)
                frame_ms = median_ms(partial(segmenter.segment, frames[0]), _TIMED_FRAMES)
            del network, segmenter
    except Exception as error:  # whatever it is, it is the row's, and the other backends go on
        return dataclasses.replace(row, runs=runs, fault=f"failed: {error}")
    agreement = instance_agreement(pairs)
    fault = agreement.fault(MIN_IOU[row.precision]) or ""
    return dataclasses.replace(
        row, runs=runs, agreement=agreement, network_ms=network_ms, frame_ms=frame_ms, fault=fault
    )


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
) -> tuple[str, bool]:
    """How fast `instance-seg train` is on a store of made-up frames with colour, for people; and whether it ran."""
    from instance_seg_ros.learning.training.log import LOG_NAME

    with tempfile.TemporaryDirectory() as folder:
        store, out = Path(folder) / "store", Path(folder) / "run"
        write_made_up_store(store, frames)
        command = [sys.executable, "-m", "instance_seg_ros.commands.main", "train", "--store", str(store)]
        command += ["--out", str(out), "--steps", str(steps), "--batch-size", str(batch_size), "--device", device]
        command += ["--size", size]
        result = subprocess.run([*command, "--workers", str(workers)], check=False, capture_output=True, text=True)
        if result.returncode:
            return f"failed: {(result.stderr.strip() or 'it says nothing').splitlines()[-1]}", False
        records = [json.loads(line) for line in (out / LOG_NAME).read_text().splitlines()]
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
    for index in range(12):
        row, column = divmod(index, 4)
        top, left = (4 * row + 1) * height // 13, (4 * column + 1) * width // 17
        ids[top : top + 3 * height // 13, left : left + 3 * width // 17] = index + 1
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


def write_report(folder: Path, gpu: str, rows: Sequence[Row], training: str) -> None:
    """Writes table.md and table.json."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"gpu": gpu, "rows": [dataclasses.asdict(row) for row in rows], "training": training}
    (folder / "table.json").write_text(json.dumps(facts, indent=1) + "\n")
    (folder / "table.md").write_text(markdown(gpu, rows, training))


def markdown(gpu: str, rows: Sequence[Row], training: str) -> str:
    """The report for people: what ran, then what could not."""
    headers = ("model", "backend", "precision", "frames", "instances", "CPU's", "worst IoU", "score", "network ms")
    table = [
        (row.model, row.backend, row.precision, *_cells(row), row.fault or "ok") for row in rows if not row.obstacle
    ]
    obstacles = dict.fromkeys(f"- {row.backend}, {row.precision}: {row.obstacle}" for row in rows if row.obstacle)
    parts = [
        f"GPU: {gpu}",
        tabulate(table, headers=(*headers, "frame ms", "verdict"), tablefmt="github", disable_numparse=True),
        f"Training: {training}",
        "Not run:\n\n" + "\n".join(obstacles) if obstacles else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    agreement = row.agreement
    if agreement is None:
        return ("",) * 7
    counts = (agreement.frames, agreement.found, agreement.expected)
    times = (row.network_ms, row.frame_ms)
    return (
        *map(str, counts),
        f"{agreement.worst_iou:.4f}",
        f"{agreement.worst_score_difference:.4f}",
        *("" if time_ms is None else f"{time_ms:.2f}" for time_ms in times),
    )


if __name__ == "__main__":
    sys.exit(main())
