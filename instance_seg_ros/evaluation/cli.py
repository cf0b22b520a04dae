"""`instance-seg eval`."""

from __future__ import annotations

import argparse
from pathlib import Path

from instance_seg_ros import config
from instance_seg_ros.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg eval`."""
    parser.add_argument("--model", type=Path, default=None, help="model file (default: the shipped one)")
    parser.add_argument("--data", type=Path, required=True, help="a folder of labelled captures, or a scene store")
    parser.add_argument("--out", type=Path, default=None, help="folder for metrics.json and worst.png")
    parser.add_argument("--limit", type=int, default=0, help="frames of a store, 0 for all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of a store's sensors (default: %(default)s)")
    parser.add_argument("--worst", type=int, default=12, help="rows of worst.png (default: %(default)s)")
    config.add_arguments(parser, config.SegmentationSettings, "segmentation")


def run(args: argparse.Namespace) -> int:
    """Evaluates a model and prints the table; returns the exit status.

    Raises:
        InputError: the data or the model cannot be used.
    """
    from tqdm import tqdm

    from instance_seg_ros.evaluation import report
    from instance_seg_ros.evaluation.evaluate import evaluate_frame, summarise
    from instance_seg_ros.evaluation.sources import captures, is_store, store_frames
    from instance_seg_ros.segmentation.segmenter import load_segmenter

    settings = config.from_arguments(args, config.SegmentationSettings)
    store = is_store(args.data)
    frames = store_frames(args.data, args.limit, args.seed) if store else captures(args.data)
    try:
        segmenter = load_segmenter(args.model, settings)
        results = [evaluate_frame(segmenter, frame) for frame in tqdm(frames, unit="frame", leave=False)]
    except ValueError as error:
        raise InputError(str(error)) from error
    if not results:
        raise InputError(f"no labelled frame in {args.data}")
    summary = {"model": segmenter.info.name, "digest": segmenter.info.digest, **summarise(results)}
    if not store:
        print(report.frame_table(results))
        print("only some objects are labelled: predictions away from them do not count\n")
    print(report.summary_lines(summary))
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        report.write_json(args.out / "metrics.json", summary, results)
        report.write_gallery(args.out / "worst.png", results, args.worst)
        print(f"wrote {args.out / 'metrics.json'} and {args.out / 'worst.png'}")
    return 0
