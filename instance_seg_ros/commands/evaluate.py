"""`instance-seg eval`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from instance_seg_ros.core import arguments
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import LiftingSettings, SegmentationSettings, TrackingSettings
from instance_seg_ros.files.writable import check_folder

if TYPE_CHECKING:
    from instance_seg_ros.learning.datasets.labelled_frames import LabelledFrame


_LIFTING, _TRACKING = "lifting_", "tracking_"
"""Prefixes of these stages' options."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg eval`."""
    from instance_seg_ros.commands.helpers.coco_options import SKIPPED_NAME, add_coco_options
    from instance_seg_ros.learning.datasets.labelled_frames import CONDITIONS, DEPTH_MISSING, RANDOM_SENSOR, SENSORS

    parser.usage = "%(prog)s (--data DIR | --coco JSON | --geometry | --tracking) [--model FILE] [--out DIR] [options]"
    parser.add_argument("--model", type=Path, metavar="FILE", help="model file (default: the shipped one)")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, metavar="DIR", help="a folder of labelled captures, or a scene store")
    data.add_argument(
        "--geometry",
        action="store_true",
        help="evaluate lifting instead of a model: centres, boxes and supports of generated scenes with exact truth, "
        "from true masks or, with --masks network, a model's, beside simple recipes",
    )
    data.add_argument(
        "--tracking",
        action="store_true",
        help="evaluate the tracks: HOTA, IDF1 and switches of ids on generated sequences with exact truth, with true "
        "masks and with the model's",
    )
    data.add_argument("--coco", type=Path, metavar="JSON", help="annotations in COCO's instance format")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for metrics.json, precision_recall.png, index.html and, of a COCO data set, "
        f"{SKIPPED_NAME}; for geometry.json and geometry.png of --geometry, and the like of --tracking",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        default=0,
        help="at most this many frames, evenly spread; 0: all (default: %(default)s)",
    )
    parser.add_argument(
        "--masks",
        choices=("true", "network"),
        default="true",
        help="who segments for --geometry: the truth, or --model (default: %(default)s)",
    )
    parser.add_argument(
        "--scenes", type=int, metavar="N", default=162, help="scenes of --geometry (default: %(default)s)"
    )
    parser.add_argument(
        "--sequences", type=int, metavar="N", default=28, help="sequences of --tracking (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        default=1,
        help="seed of a store's sensors, of missing depth, and of what --geometry and --tracking generate (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--sensor",
        metavar="NAMES",
        help=f"what a store is seen through, comma-separated: {', '.join(SENSORS)} (default: {RANDOM_SENSOR}, as in "
        "training); what the scenes of --geometry are seen through, one of the cameras by name, or any, another one "
        "for each (default: plain noise, which averages out)",
    )
    parser.add_argument(
        "--condition",
        metavar="NAMES",
        help=f"also measure a store's frames under these, comma-separated: {', '.join(CONDITIONS)}",
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
        "--worst", type=int, metavar="N", default=24, help="frames with pictures in index.html (default: %(default)s)"
    )
    add_coco_options(parser)
    arguments.add_arguments(parser, SegmentationSettings, "segmentation")
    arguments.add_arguments(parser, LiftingSettings, "lifting, for --geometry and --tracking", _LIFTING)
    arguments.add_arguments(parser, TrackingSettings, "tracks, for --tracking", _TRACKING)


def run(args: argparse.Namespace) -> int:
    """Evaluates a model and prints the tables; returns the exit status.

    Raises:
        InputError: the data or the model cannot be used.
    """
    from tqdm import tqdm

    from instance_seg_ros.commands.helpers.coco_options import refuse_options
    from instance_seg_ros.commands.helpers.pipeline_options import ONLY_FOR_PROMPTS
    from instance_seg_ros.learning.evaluation import report
    from instance_seg_ros.learning.evaluation.breakdown import summarise
    from instance_seg_ros.learning.evaluation.classes import ClassNames
    from instance_seg_ros.learning.evaluation.evaluate import evaluate_frame
    from instance_seg_ros.learning.evaluation.gallery import WorstFrames, write_page
    from instance_seg_ros.segmentation.segmenter import load_segmenter

    for name, least in (("limit", 0), ("seed", 0), ("worst", 0), ("scenes", 1), ("sequences", 1)):
        if getattr(args, name) < least:
            raise InputError(f"--{name} must be {least} or more, not {getattr(args, name)}")
    refuse_options(args, ONLY_FOR_PROMPTS, "eval, which asks for no single objects")
    check_folder(args.out, "--out")  # before the minutes that it takes to measure
    if args.geometry:
        return _run_geometry(args)
    if args.tracking:
        return _run_tracking(args)
    settings = arguments.from_arguments(args, SegmentationSettings)
    results, worst = [], WorstFrames(args.worst)
    # Fails on wrong data or a wrong folder before the model is loaded, not after it has run for minutes.
    frames = _frames(args)
    first = next(frames)
    if args.out is not None:
        import matplotlib  # noqa: F401 - for the plot at the end; fails now if it is missing

        args.out.mkdir(parents=True, exist_ok=True)
    segmenter = load_segmenter(args.model, settings)
    for frame in tqdm(itertools.chain([first], frames), unit="frame", leave=False):
        result, prediction = evaluate_frame(segmenter, frame)
        results.append(result)
        if args.out is not None:
            worst.add(result, prediction)
    classes = ClassNames(segmenter.info.class_names, first.truth.class_names)
    summary = summarise(results, classes.counted)
    if _are_captures(args):
        print(report.frame_table(results) + "\n")
    if classes.summary():
        print(classes.summary() + "\n")
    if not results[0].phantoms.complete:
        print(
            "possibly not all objects are labelled: predictions elsewhere do not count, phantoms are recognised by "
            "depth\n"
        )
    print(report.breakdown_table(summary) + "\n")
    print(report.summary_lines(summary))
    if args.out is not None:
        model = {"name": segmenter.info.name, "digest": segmenter.info.digest, "backend": segmenter.backend}
        report.write_json(args.out / "metrics.json", model, _as_json(args), summary, results)
        source = (args.data or args.coco).resolve().name
        write_page(args.out, f"{segmenter.info.name} on {source}", summary, worst.frames())
        print(f"wrote {args.out / 'metrics.json'} and {args.out / 'index.html'}")
    return 0


_ONLY_FOR_MODELS = ("condition", "all_labelled", "depth_missing", "without_color", "limit", "worst")
"""Options that do nothing where the scenes are generated."""


def _run_geometry(args: argparse.Namespace) -> int:
    from instance_seg_ros.commands.helpers.coco_options import ONLY_FOR_COCO, refuse_options
    from instance_seg_ros.commands.helpers.geometry_evaluation import evaluate_geometry
    from instance_seg_ros.learning.evaluation.geometry_scenes import PLAIN_SENSOR
    from instance_seg_ros.segmentation.segmenter import load_segmenter

    others = "sequences", *arguments.names_of(TrackingSettings, _TRACKING)
    refuse_options(args, (*ONLY_FOR_COCO, *_ONLY_FOR_MODELS, *others), "--geometry")
    segmenter = None
    if args.masks == "network":
        segmenter = load_segmenter(args.model, arguments.from_arguments(args, SegmentationSettings))
    else:
        of_models = "model", *arguments.names_of(SegmentationSettings)
        refuse_options(args, of_models, "--geometry without --masks network")
    settings = arguments.from_arguments(args, LiftingSettings, _LIFTING)
    sensor = args.sensor or PLAIN_SENSOR
    print(evaluate_geometry(args.scenes, args.seed, sensor, settings, args.out, segmenter))
    return 0


def _run_tracking(args: argparse.Namespace) -> int:
    from instance_seg_ros.commands.helpers.coco_options import ONLY_FOR_COCO, refuse_options
    from instance_seg_ros.commands.helpers.tracking_evaluation import check_judge, evaluate_tracking
    from instance_seg_ros.segmentation.segmenter import load_segmenter

    refuse_options(args, (*ONLY_FOR_COCO, *_ONLY_FOR_MODELS, "sensor", "scenes", "masks"), "--tracking")
    check_judge()
    segmenter = load_segmenter(args.model, arguments.from_arguments(args, SegmentationSettings))
    lifting = arguments.from_arguments(args, LiftingSettings, _LIFTING)
    tracking = arguments.from_arguments(args, TrackingSettings, _TRACKING)
    print(evaluate_tracking(args.sequences, args.seed, segmenter, lifting, tracking, args.out))
    return 0


def _as_json(args: argparse.Namespace) -> dict[str, object]:
    """The options by name, paths as texts; what the command line's parser keeps for itself is left out."""
    kinds = (str, int, float, Path, type(None))
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in sorted(vars(args).items())
        if isinstance(value, kinds)
    }


def _frames(args: argparse.Namespace) -> Iterator[LabelledFrame]:
    """The frames that the options ask for, at least one.

    Raises:
        InputError: the options do not fit the data, or the data cannot be used.
    """
    from instance_seg_ros.learning.datasets.labelled_frames import degraded

    try:
        for index, frame in enumerate(_whole_frames(args)):
            yield degraded(frame, args.depth_missing, args.without_color, args.seed + index)
    except ValueError as error:
        raise InputError(str(error)) from error


def _whole_frames(args: argparse.Namespace) -> Iterator[LabelledFrame]:
    from instance_seg_ros.commands.helpers.coco_options import ONLY_FOR_COCO, refuse_options
    from instance_seg_ros.learning.datasets.labelled_frames import RANDOM_SENSOR, captures, store_frames

    lifted = (*arguments.names_of(LiftingSettings, _LIFTING), *arguments.names_of(TrackingSettings, _TRACKING))
    generated = ("scenes", "sequences", "masks", *lifted)
    if args.coco is not None:
        refuse_options(args, ("sensor", "condition", "all_labelled", *generated), "--coco")
        return _coco(args)
    refuse_options(args, (*ONLY_FOR_COCO, *generated), "--data")
    if _are_captures(args):
        refuse_options(args, ("sensor", "condition"), f"captures, which a real sensor made ({args.data})")
        return captures(args.data, args.all_labelled, args.limit)
    refuse_options(args, ("all_labelled",), f"a scene store, which labels every object ({args.data})")
    sensors = _names(args.sensor or RANDOM_SENSOR)
    conditions = [] if args.condition is None else _names(args.condition)
    return store_frames(args.data, args.limit, args.seed, sensors, conditions)


def _names(text: str) -> list[str]:
    """The names of a comma-separated list, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _coco(args: argparse.Namespace) -> Iterator[LabelledFrame]:
    from instance_seg_ros.commands.helpers.coco_options import check_objects, coco_files, read_and_tell
    from instance_seg_ros.learning.datasets.labelled_coco import coco_frames

    files = coco_files(args)
    data = read_and_tell(files, args.out)
    check_objects(data, files)
    return coco_frames(data, files, args.limit)


def _are_captures(args: argparse.Namespace) -> bool:
    from instance_seg_ros.learning.datasets.labelled_frames import is_store

    return args.data is not None and not is_store(args.data)
