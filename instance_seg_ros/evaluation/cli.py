"""`instance-seg eval`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from instance_seg_ros import config
from instance_seg_ros.errors import InputError

if TYPE_CHECKING:
    from instance_seg_ros.evaluation.sources import LabelledFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg eval`."""
    from instance_seg_ros.evaluation.sources import DEPTH_MISSING, RANDOM_SENSOR, SENSORS

    parser.add_argument("--model", type=Path, default=None, help="model file (default: the shipped one)")
    parser.add_argument("--data", type=Path, required=True, help="a folder of labelled captures, or a scene store")
    parser.add_argument(
        "--out", type=Path, default=None, help="folder for metrics.json, precision_recall.png and index.html"
    )
    parser.add_argument("--limit", type=int, default=0, help="frames of a store, 0 for all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of a store's sensors (default: %(default)s)")
    parser.add_argument(
        "--sensor",
        default="",
        metavar="NAMES",
        help=f"what a store is seen through, comma-separated: {', '.join(SENSORS)} (default: {RANDOM_SENSOR}, as in "
        "training)",
    )
    parser.add_argument(
        "--all-labelled",
        action="store_true",
        help="every object of the captures is labelled, so that predictions elsewhere are wrong",
    )
    parser.add_argument(
        "--depth-missing",
        choices=DEPTH_MISSING,
        default=DEPTH_MISSING[0],
        help="how much of the depth to take away (default: %(default)s)",
    )
    parser.add_argument("--without-color", action="store_true", help="take the colour away")
    parser.add_argument(
        "--worst", type=int, default=24, help="frames with pictures in index.html (default: %(default)s)"
    )
    config.add_arguments(parser, config.SegmentationSettings, "segmentation")


def run(args: argparse.Namespace) -> int:
    """Evaluates a model and prints the tables; returns the exit status.

    Raises:
        InputError: the data or the model cannot be used.
    """
    from tqdm import tqdm

    from instance_seg_ros.evaluation import report
    from instance_seg_ros.evaluation.breakdown import summarise
    from instance_seg_ros.evaluation.evaluate import evaluate_frame
    from instance_seg_ros.evaluation.gallery import WorstFrames, write_page
    from instance_seg_ros.evaluation.sources import is_store
    from instance_seg_ros.segmentation.segmenter import load_segmenter

    settings = config.from_arguments(args, config.SegmentationSettings)
    results, worst = [], WorstFrames(max(args.worst, 0))
    try:
        frames = _frames(args)
        first = next(frames, None)  # before the model is loaded, so that wrong data is told at once
        if first is None:
            raise InputError(f"no labelled frame in {args.data}")
        segmenter = load_segmenter(args.model, settings)
        unthresholded = load_segmenter(args.model, replace(settings, score_threshold=0.0))
        for frame in tqdm(itertools.chain([first], frames), unit="frame", leave=False):
            result, prediction = evaluate_frame(segmenter, unthresholded, frame)
            results.append(result)
            if args.out is not None:
                worst.add(result, prediction)
    except ValueError as error:
        raise InputError(str(error)) from error
    summary = summarise(results)
    if not is_store(args.data):
        print(report.frame_table(results) + "\n")
    if not results[0].phantoms.complete:
        print("only some objects may be labelled: predictions elsewhere do not count, phantoms are told by depth\n")
    print(report.breakdown_table(summary) + "\n")
    print(report.summary_lines(summary))
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        model = {"name": segmenter.info.name, "digest": segmenter.info.digest}
        report.write_json(args.out / "metrics.json", model, summary, results)
        write_page(args.out, f"{segmenter.info.name} on {args.data.resolve().name}", summary, worst.frames())
        print(f"wrote {args.out / 'metrics.json'} and {args.out / 'index.html'}")
    return 0


def _frames(args: argparse.Namespace) -> Iterator[LabelledFrame]:
    """The frames that the options ask for.

    Raises:
        InputError: the options do not fit the data.
    """
    from instance_seg_ros.evaluation.sources import RANDOM_SENSOR, captures, degraded, is_store, store_frames

    if is_store(args.data):
        sensors = [name.strip() for name in (args.sensor or RANDOM_SENSOR).split(",")]
        frames = store_frames(args.data, args.limit, args.seed, sensors)
    elif args.sensor:
        raise InputError(f"--sensor is for scene stores; {args.data} holds captures, which a real sensor made")
    else:
        frames = captures(args.data, args.all_labelled)
    for index, frame in enumerate(frames):
        yield degraded(frame, args.depth_missing, args.without_color, args.seed + index)
