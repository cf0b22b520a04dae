"""`instance-seg bench`: how long each stage of the pipeline, and the model in each runtime, takes on this machine."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from instance_seg_ros.commands.helpers import runtime_timing
from instance_seg_ros.commands.helpers.made_up_frames import BLOCKS_M, TABLE_M, block_places, made_up_camera
from instance_seg_ros.commands.helpers.pipeline_options import (
    add_pipeline_arguments,
    load_pipeline,
    parse_size_wh,
    refuse_prompt_options,
    settings_of,
)
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.files.captures import capture_folders, read_capture
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.segmentation.model_location import located

COLUMNS = ("stage", "median ms", "p95 ms", "share %")
EPILOG = """\
Runs the pipeline on simulated tabletop frames, or on the captures of --capture, one frame after the other in one
process, and prints the median and the 95th percentile of each stage over all frames after the warm-up. Then the model,
from frame to instances, in every installed CPU runtime, in turns; memory is that of a separate process that does
nothing else. --device cuda takes the runtimes of the GPU instead of those of the CPU; its rows `network` run from the
arrays of a frame to those of the masks' grid, upload and download included; the others also make masks of the camera's
size, on the CPU. --beside measures other networks' forward passes in the same run. Compare figures of
one run: absolute times depend on the machine and on what else it does.

examples:
  instance-seg bench
  instance-seg bench --capture captures --frames 100 --segmentation-threads 2
  instance-seg bench --beside other_network.onnx
  instance-seg bench --made-up --device cuda
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg bench`."""
    parser.usage = "%(prog)s [--capture DIR] [--beside FILE] [options]"
    parser.epilog = EPILOG
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--capture", type=Path, metavar="DIR", help="measure on these captures, over and over")
    source.add_argument(
        "--made-up", action="store_true", help="measure on twelve blocks seen from above, which need no simulation"
    )
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="frames to measure (default: 60)")
    parser.add_argument(
        "--warm-up", type=int, default=5, metavar="N", help="frames before these that do not count (default: 5)"
    )
    parser.add_argument(
        "--size",
        type=parse_size_wh,
        default=(640, 480),
        metavar="WxH",
        help="camera size of simulated and made-up frames (default: 640x480)",
    )
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="also measure this ONNX network, which must have fixed input shapes; may be given several times",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="whose runtimes to measure (default: %(default)s)"
    )
    parser.add_argument("--pytorch", action="store_true", help="also measure the model in PyTorch on the CPU")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="written by `instance-seg import-weights`: also measure its network as AdelaiDet runs it, in PyTorch",
    )
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measures and prints the table; returns the exit status.

    Raises:
        InputError: for options, captures or a model that cannot be used.
    """
    if args.frames < 1 or args.warm_up < 0:
        raise InputError(f"--frames must be at least 1 and --warm-up at least 0, not {args.frames} and {args.warm_up}")
    refuse_prompt_options(args, "bench")
    for path in args.beside:
        if not path.is_file():
            raise InputError(f"--beside {path}: there is no such file")
        # So that a file that cannot be loaded is refused now, not minutes later.
        runtime_timing.other_network("onnxruntime", path, threads=1)
    if args.device == "cuda":
        _check_gpu()
    frames = _frames(args)
    pipeline = load_pipeline(args)
    count = args.warm_up + args.frames
    scenes = []
    for index, frame in enumerate(tqdm(itertools.islice(frames, count), "bench", count, unit="frame", leave=False)):
        scene = pipeline.run(frame)
        if index >= args.warm_up:
            scenes.append(scene)
    print(report(scenes))
    model = located(args.model)
    if model.is_dir() or model.suffix == ".safetensors":
        print(f"not measured: {model} in other runtimes, and other networks beside it, as PyTorch alone loads it")
        return 0
    first = scenes[0].frame.intrinsics
    of_one_camera = [scene.frame for scene in scenes if scene.frame.intrinsics == first]
    settings = settings_of(args, SegmentationSettings, "segmentation")
    comparison = runtime_timing.Comparison(args.device, args.pytorch, args.checkpoint, args.beside)
    unmeasured: list[str] = []
    rows = runtime_timing.rows(of_one_camera, args.frames, args.model, settings, comparison, unmeasured)
    print(f"\n{_table(rows, runtime_timing.COLUMNS)}")
    for line in dict.fromkeys(unmeasured):
        print(f"not measured: {line}")
    return 0


def _check_gpu() -> None:
    from instance_seg_ros.segmentation.runtimes import pytorch_backend

    missing = pytorch_backend.obstacle()
    if missing is not None:
        raise InputError(f"--device cuda: {missing}")


def _frames(args: argparse.Namespace) -> Iterator[RgbdFrame]:
    if args.capture is not None:
        return _captured(args.capture)
    return itertools.repeat(made_up_frame(*args.size)) if args.made_up else _simulated(args.size)


def _captured(path: Path) -> Iterator[RgbdFrame]:
    return itertools.cycle([read_capture(folder).frame for folder in capture_folders(path)])


def _simulated(size_wh: tuple[int, int]) -> Iterator[RgbdFrame]:
    # Imported here: the simulation needs MuJoCo and Embree, measuring captures does not.
    from instance_seg_ros.learning.synthetic.tabletop import SimulatedTabletop

    return (simulated.frame for simulated in SimulatedTabletop(size_wh=size_wh))


def made_up_frame(width: int, height: int, rows: int = 3) -> RgbdFrame:
    """Rows of four blocks of one height on a table, seen from above."""
    depth_m = np.full((height, width), TABLE_M, dtype=np.float32)
    for place in block_places(width, height, rows):
        depth_m[place] = BLOCKS_M
    color_rgb = np.where(depth_m[..., None] < TABLE_M, np.uint8(180), np.uint8(90)).repeat(3, axis=2)
    return RgbdFrame(color_rgb, depth_m, made_up_camera(width, height))


def stage_rows(stage_times_s: Sequence[Mapping[str, float]]) -> list[tuple[str, str, str, str]]:
    """Rows under `COLUMNS` for the stages' times of each frame; shares are of the total's median."""
    stages = list(stage_times_s[0])
    times_ms = 1e3 * np.array([[times_s[stage] for stage in stages] for times_s in stage_times_s])
    times_ms = np.concatenate([times_ms, times_ms.sum(axis=1, keepdims=True)], axis=1)
    medians, highs = np.median(times_ms, axis=0), np.percentile(times_ms, 95, axis=0)
    return [
        (stage, f"{median:.1f}", f"{high:.1f}", f"{100 * median / medians[-1]:.0f}")
        for stage, median, high in zip([*stages, "total"], medians, highs, strict=True)
    ]


def report(scenes: Sequence[Scene]) -> str:
    """The table over these scenes, and a line on what was measured."""
    table = _table(stage_rows([scene.stage_times_s for scene in scenes]), COLUMNS)
    camera, objects = scenes[0].frame.intrinsics, np.mean([len(scene.instances) for scene in scenes])
    return (
        f"{table}\n{len(scenes)} frames of {camera.width}x{camera.height}, {objects:.1f} objects on average; model "
        f"{scenes[0].model.name} {scenes[0].model.digest[:12]}; {os.cpu_count()} CPUs ({platform.machine()})"
    )


def _table(rows: Sequence[tuple[str, ...]], columns: Sequence[str]) -> str:
    """The table as text, numbers aligned to the right."""
    alignment = ["right" if column.endswith((" ms", " %", " MB")) else "left" for column in columns]
    return tabulate(rows, headers=columns, colalign=alignment, disable_numparse=True)
