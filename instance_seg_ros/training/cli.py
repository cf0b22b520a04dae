"""`instance-seg train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from instance_seg_ros.errors import InputError
from instance_seg_ros.models.configuration import SIZES

if TYPE_CHECKING:
    from instance_seg_ros.training.dataset import FrameSource
    from instance_seg_ros.training.processes import Processes

SKIPPED_NAME = "skipped.txt"
SHIPPED = "shipped"
_INPUTS = {"depth": "depth", "rgb": "colour", "rgbd": "depth and colour"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg train`."""
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--store", type=Path, help="scene store written by `instance-seg synth`")
    data.add_argument("--coco", type=Path, metavar="JSON", help="annotations in COCO's instance format")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint, log and curve; resumes from it")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help=f"start from this checkpoint's averaged weights, or from this model file's; {SHIPPED} is the shipped one",
    )
    start.add_argument(
        "--size", choices=tuple(SIZES), default="standard", help="of a network from nothing (default: %(default)s)"
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, default=0, help="optimiser steps")
    budget.add_argument("--minutes", type=float, default=0.0, help="training time; the schedule follows the clock")
    parser.add_argument(
        "--inputs",
        choices=tuple(_INPUTS),
        default="rgbd",
        help="what the network learns from; rgbd also learns to do without either (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=16, help="images a step, of all processes (default: %(default)s)"
    )
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, noise (default: %(default)s)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a GPU if there is one"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes for the data, for each that trains (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the network (default: %(default)s)")
    store = parser.add_argument_group("scene stores")
    store.add_argument("--allow-partial", action="store_true", help="train on the finished part of a growing store")
    coco = parser.add_argument_group("COCO data sets")
    coco.add_argument("--images", type=Path, metavar="DIR", help="folder of the images (default: images beside JSON)")
    coco.add_argument("--depth", type=Path, metavar="DIR", help="folder of 16-bit depth PNGs named as the images are")
    coco.add_argument(
        "--depth-unit", type=float, default=0.001, metavar="M", help="metres of a unit of depth (default: %(default)s)"
    )
    coco.add_argument(
        "--intrinsics",
        type=_intrinsics,
        metavar="FX,FY,CX,CY",
        help="of images that name none by the keys fx, fy, cx, cy, in pixels",
    )
    coco.add_argument("--class-agnostic", action="store_true", help="take all categories for one, 'object'")


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on with a training; returns the exit status.

    Raises:
        InputError: the data, the weights or the checkpoint cannot be used, or the training diverged.
    """
    from instance_seg_ros.training.processes import joined_processes
    from instance_seg_ros.training.train import TrainingDivergedError

    try:
        with joined_processes(args.device) as processes:
            _train(args, processes)
    except (FileNotFoundError, ValueError, TrainingDivergedError) as error:
        raise InputError(str(error)) from error
    return 0


def _train(args: argparse.Namespace, processes: Processes) -> None:
    from instance_seg_ros.segmentation.model_file import default_model_path
    from instance_seg_ros.training.initial import adapted_config, read_initial_weights
    from instance_seg_ros.training.train import Trainer, TrainingSettings

    settings = TrainingSettings(
        steps=args.steps,
        minutes=args.minutes,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
        workers=args.workers,
        threads=args.threads,
    )
    path = default_model_path() if args.weights == Path(SHIPPED) else args.weights
    initial = None if path is None else read_initial_weights(path)
    source = _scenes(args) if args.coco is None else _coco(args, processes)
    trainer = Trainer(
        settings,
        source,
        args.out,
        config=adapted_config(
            SIZES[args.size] if initial is None else initial.config,
            len(source.class_names),
            color=args.inputs != "depth",
        ),
        initial=initial,
        processes=processes,
    )
    if processes.is_first:
        where = f"{processes.count} processes" if processes.count > 1 else str(processes.device)
        print(
            f"{len(source)} frames to train on from {_INPUTS[args.inputs]}, from step {trainer.step}, on {where}, into "
            f"{args.out}"
        )
    trainer.run()
    if processes.is_first:
        print(f"done: {trainer.step} steps in {trainer.elapsed_s / 60:.1f} min; checkpoint {trainer.checkpoint_path}")


def _refuse(args: argparse.Namespace, names: tuple[str, ...], kind: str) -> None:
    """Options of one kind of data would do nothing for the other."""
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]
    if given:
        raise ValueError(f"{', '.join(given)} cannot be used with {kind}")


def _scenes(args: argparse.Namespace) -> FrameSource:
    from instance_seg_ros.synthetic.store import open_store
    from instance_seg_ros.training.scene_frames import SceneFrames

    _refuse(args, ("images", "depth", "intrinsics", "class_agnostic"), "--store")
    return SceneFrames(open_store(args.store, allow_partial=args.allow_partial), args.inputs)


def _coco(args: argparse.Namespace, processes: Processes) -> FrameSource:
    """The data set; what is wrong with it is told by the first process."""
    from instance_seg_ros.training.coco_data import CocoFiles, read_coco
    from instance_seg_ros.training.coco_frames import CocoFrames

    _refuse(args, ("allow_partial",), "--coco")
    files = CocoFiles(
        instances=args.coco,
        images=args.images or args.coco.parent / "images",
        depth=None if args.inputs == "rgb" else args.depth,
        depth_unit_m=args.depth_unit,
        intrinsics=args.intrinsics,
        class_agnostic=args.class_agnostic,
    )
    data = read_coco(files, progress=processes.is_first)
    if processes.is_first:
        print(data.summary())
        skipped = (*data.skipped_images, *data.skipped_annotations)
        if skipped:
            args.out.mkdir(parents=True, exist_ok=True)
            path = args.out / SKIPPED_NAME
            path.write_text("".join(line + "\n" for line in skipped))
            print(f"all that was left out is in {path}")
    return CocoFrames(data, files, color=args.inputs != "depth")


def _intrinsics(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not FX,FY,CX,CY such as 615,615,319.5,239.5")
    return values
