"""`instance-seg train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from instance_seg_ros.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg train`."""
    parser.add_argument("--store", type=Path, required=True, help="scene store written by `instance-seg synth`")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint, log and curve; resumes from it")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="CHECKPOINT",
        help="start from this checkpoint's averaged weights, not from random",
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--steps", type=int, default=0, help="optimiser steps")
    budget.add_argument("--minutes", type=float, default=0.0, help="training time; the schedule follows the clock")
    parser.add_argument("--batch-size", type=int, default=16, help="images a step (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, noise (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes for the data (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the network (default: %(default)s)")
    parser.add_argument("--allow-partial", action="store_true", help="train on the finished part of a growing store")


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on with a training; returns the exit status.

    Raises:
        InputError: the store or the checkpoint cannot be used, or the training diverged.
    """
    from instance_seg_ros.synthetic.store import open_store
    from instance_seg_ros.training.checkpoint import load_checkpoint
    from instance_seg_ros.training.train import Trainer, TrainingDivergedError, TrainingSettings

    try:
        settings = TrainingSettings(
            steps=args.steps,
            minutes=args.minutes,
            batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            seed=args.seed,
            workers=args.workers,
            threads=args.threads,
        )
        store = open_store(args.store, allow_partial=args.allow_partial)
        initial = None if args.weights is None else load_checkpoint(args.weights)
        trainer = Trainer(settings, store, args.out, initial=initial)
        print(f"{len(trainer.dataset)} frames of {len(store)} to train on, from step {trainer.step}, into {args.out}")
        trainer.run()
    except (FileNotFoundError, ValueError, TrainingDivergedError) as error:
        raise InputError(str(error)) from error
    print(f"done: {trainer.step} steps in {trainer.elapsed_s / 60:.1f} min; checkpoint {trainer.checkpoint_path}")
    return 0
