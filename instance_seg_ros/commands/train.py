"""`instance-seg train`."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from instance_seg_ros.commands.helpers.coco_options import (
    ONLY_FOR_COCO,
    add_coco_options,
    check_objects,
    coco_files,
    read_and_tell,
    refuse_options,
)
from instance_seg_ros.commands.helpers.pipeline_options import parse_size_wh
from instance_seg_ros.core import arguments
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.files.writable import check_folder, claimed_folder
from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.models.configuration import MASK_HEADS, SIZES
from instance_seg_ros.learning.training.settings import ObjectiveSettings, TrainingSettings

if TYPE_CHECKING:
    from instance_seg_ros.learning.datasets.training_samples import FrameSource
    from instance_seg_ros.learning.training.processes import Processes
    from instance_seg_ros.learning.training.train import Trainer

SHIPPED = "shipped"
_INPUTS = {"depth": "depth", "rgb": "colour", "rgbd": "depth and colour"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg train`."""
    parser.usage = "%(prog)s (--store DIR ... | --coco JSON) (--steps N | --minutes M) --out DIR [options]"
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--store",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="scene stores written by `instance-seg synth`; several count as one",
    )
    data.add_argument("--coco", type=Path, metavar="JSON", help="annotations in COCO's instance format")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="folder of checkpoint, log and curve; resumes from it"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help=f"start from this checkpoint's averaged weights, or from this model file's; {SHIPPED} or a name is a "
        "shipped one",
    )
    start.add_argument(
        "--size", choices=tuple(SIZES), default="standard", help="size of a new network (default: %(default)s)"
    )
    parser.add_argument(
        "--grid",
        type=parse_size_wh,
        metavar="WxH",
        help="grid that the network resamples images to, in multiples of 16: a finer one finds smaller things and "
        "takes longer (default: that of the weights, or 320x240)",
    )
    parser.add_argument(
        "--inputs",
        choices=tuple(_INPUTS),
        default="rgbd",
        help="what the network learns from; rgbd also learns to do without either (default: %(default)s)",
    )
    parser.add_argument(
        "--mask-head",
        choices=MASK_HEADS,
        help="how masks are made: CondInst's dynamic filters, YOLACT's prototypes or SOLOv2's dynamic kernels "
        f"(default: that of the weights, or {MASK_HEADS[0]})",
    )
    parser.add_argument(
        "--new-mask-head",
        action="store_true",
        help="start the mask head from scratch also where the starting weights have the same one",
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a GPU if there is one"
    )
    store = parser.add_argument_group("scene stores")
    store.add_argument(
        "--allow-partial",
        action="store_true",
        help="train on the finished part of a store, and take in new frames while it grows",
    )
    add_coco_options(parser)
    arguments.add_arguments(parser, TrainingSettings, "training")
    arguments.add_arguments(parser, AugmentationSettings, "augmentation", "augmentation_")
    arguments.add_arguments(parser, ObjectiveSettings, "objective", "objective_")


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on with a training; returns the exit status.

    Raises:
        InputError: the data, the weights or the checkpoint cannot be used, or the training diverged.
    """
    # Read once, when torch is loaded: large tensors on the CPU get large pages, of which the kernel has fewer to clear.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from instance_seg_ros.learning.training.processes import flushed_denormals, joined_processes
    from instance_seg_ros.learning.training.train import TrainingDivergedError

    try:
        # Where masks are sure, most slopes are below what a float32 holds in full.
        with flushed_denormals(), joined_processes(args.device) as processes:
            _train(args, processes)
    except (FileNotFoundError, ValueError, TrainingDivergedError) as error:
        raise InputError(str(error)) from error
    return 0


def _train(args: argparse.Namespace, processes: Processes) -> None:
    from instance_seg_ros.learning.training.initial import adapted_config, read_initial_weights, without_mask_head
    from instance_seg_ros.learning.training.train import Trainer
    from instance_seg_ros.segmentation.model_location import located

    # Before anything is read, which may take minutes.
    check_folder(args.out, "--out")
    settings = arguments.from_arguments(args, TrainingSettings)
    augmentation = arguments.from_arguments(args, AugmentationSettings, "augmentation_")
    objective = arguments.from_arguments(args, ObjectiveSettings, "objective_")
    path = None if args.weights is None else located(None if args.weights == Path(SHIPPED) else args.weights)
    if args.new_mask_head and path is None:
        raise ValueError("--new-mask-head is for a training that starts from --weights; all else is new anyway")
    initial = None if path is None else read_initial_weights(path)
    if initial is not None and args.new_mask_head:
        initial = without_mask_head(initial)
    source = _scenes(args) if args.coco is None else _coco(args, processes)
    if initial is None and args.inputs == "rgbd" and source.incomplete_share == 1:
        raise ValueError(
            "all of the data lack depth or colour, and a network that reads both cannot learn what it never sees: take "
            "--inputs depth or rgb, give --depth, generate a store with --color, or start from --weights"
        )
    # Two trainings in one folder would write each other's checkpoints.
    with claimed_folder(args.out, "--out") if processes.is_first else nullcontext():
        trainer = Trainer(
            settings,
            source,
            args.out,
            config=adapted_config(
                SIZES[args.size] if initial is None else initial.config,
                len(source.class_names),
                color=args.inputs != "depth",
                depth=args.inputs != "rgb",
                mask_head=args.mask_head,
                grid_wh=args.grid,
            ),
            augmentation=augmentation,
            objective=objective,
            initial=initial,
            processes=processes,
        )
        _run(trainer, source, path, args)


def _run(trainer: Trainer, source: FrameSource, weights: Path | None, args: argparse.Namespace) -> None:
    """Trains, and says what is going on; `weights` are those that it starts from."""
    processes = trainer.processes
    if trainer.is_finished:
        if processes.is_first:
            print(
                f"{args.out} holds a finished training of {trainer.step} steps, so there is nothing to do; choose "
                "another --out to train from scratch, or a larger budget to go on"
            )
        return
    if processes.is_first:
        where = f"{processes.count} processes" if processes.count > 1 else str(processes.device)
        print(
            f"{len(source)} frames to train on from {_INPUTS[args.inputs]}, from step {trainer.step}, on {where}, into "
            f"{args.out}"
        )
        if weights is not None and trainer.step == 0:
            print(f"starting from the weights of {weights}")
        if trainer.fixes_statistics:
            print(
                "batch normalisation keeps the statistics of the starting weights "
                f"({source.incomplete_share:.0%} of the frames lack depth or colour)"
            )
    trainer.run()
    if processes.is_first:
        print(f"done: {trainer.step} steps in {trainer.elapsed_s / 60:.1f} min; checkpoint {trainer.checkpoint_path}")


def _scenes(args: argparse.Namespace) -> FrameSource:
    from instance_seg_ros.learning.datasets.joined_frames import JoinedFrames
    from instance_seg_ros.learning.datasets.scene_frames import SceneFrames
    from instance_seg_ros.learning.synthetic.store import open_store

    refuse_options(args, ONLY_FOR_COCO, "--store")
    sources = []
    for folder in args.store:
        opened = partial(open_store, folder, allow_partial=args.allow_partial)
        sources.append(SceneFrames(opened(), args.inputs, reopen=opened if args.allow_partial else None))
    return sources[0] if len(sources) == 1 else JoinedFrames(sources)


def _coco(args: argparse.Namespace, processes: Processes) -> FrameSource:
    """The data set; the first process prints what is wrong with it."""
    from instance_seg_ros.learning.datasets.coco_data import read_coco
    from instance_seg_ros.learning.datasets.coco_frames import CocoFrames

    refuse_options(args, ("allow_partial",), "--coco")
    files = coco_files(args)
    if args.inputs == "rgb":
        files = replace(files, depth=None)
    data = read_and_tell(files, args.out) if processes.is_first else read_coco(files)
    check_objects(data, files)
    return CocoFrames(data, files, color=args.inputs != "depth")
