"""`instance-seg calibrate`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.files.writable import check_file

if TYPE_CHECKING:
    from instance_seg_ros.learning.evaluation.reliability import Judged, Reliability
    from instance_seg_ros.segmentation.model_file import ModelInfo

_LOWEST_SCORE = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg calibrate`."""
    parser.add_argument(
        "--model", type=Path, metavar="FILE", required=True, help="model file of this project, or name of a shipped one"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        required=True,
        help="a scene store, or a folder of captures with every object labelled, see --all-labelled; none that the "
        "model has learned from",
    )
    parser.add_argument(
        "--all-labelled",
        action="store_true",
        help="every object of the captures is labelled, without which they cannot be used: what is found elsewhere "
        "counts as wrong",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the model file to write")
    parser.add_argument("--diagram", type=Path, metavar="FILE", help="picture of scores against what became of them")
    parser.add_argument(
        "--wrong-share",
        type=float,
        metavar="X",
        help="recommend the lowest score from which on at most this share of the instances is wrong (default: keep the "
        "instances that the file's threshold gives now)",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", default=0, help="at most this many frames, evenly spread; 0: all"
    )
    parser.add_argument("--seed", type=int, metavar="N", default=1, help="of a store's sensors (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Fits scores to what is real in labelled frames and writes the model file; returns the exit status.

    The first half of the frames is fitted to, on the second the result is measured: a store's views of one scene follow
    each other.

    Raises:
        InputError: the model or the data cannot be used.
    """
    from instance_seg_ros.learning.evaluation.reliability import fit, plot, reliability, threshold_for
    from instance_seg_ros.learning.export.model_writer import with_calibration, write_model_file
    from instance_seg_ros.segmentation.model_file import read_model_info
    from instance_seg_ros.segmentation.model_location import located

    if args.wrong_share is not None and not 0 <= args.wrong_share < 1:
        raise InputError(f"--wrong-share is a share from 0 to below 1, not {args.wrong_share:g}")
    for name in ("limit", "seed"):
        if getattr(args, name) < 0:
            raise InputError(f"--{name} must be 0 or more, not {getattr(args, name)}")
    check_file(args.out, "--out")
    check_file(args.diagram, "--diagram")
    args.model = located(args.model)
    info = read_model_info(args.model)
    try:
        fitted, judged = _predictions(args, info)
        calibration = fit(fitted.scores, fitted.real)
    except ValueError as error:
        raise InputError(str(error)) from error
    if not len(judged.real):
        raise InputError(
            "in the second half of the frames, on which the result is measured, nothing is found: give more labelled "
            "frames"
        )
    published = calibration.published(judged.scores)
    before, after = (reliability(scores, judged.real) for scores in (judged.scores, published))
    if args.wrong_share is None:
        threshold = calibration.probability(info.calibration.raw(info.score_threshold))
    else:
        threshold = threshold_for(calibration.published(fitted.scores), fitted.real, args.wrong_share)
    kept = judged.real[published >= threshold]
    print(_table(after))
    print(
        f"scores are off by {100 * before.expected_error:.1f} % in the mean before, and by "
        f"{100 * after.expected_error:.1f} % now; from the recommended {threshold:.3f} on, {(~kept).sum()} of "
        f"{len(kept)} instances are wrong"
    )
    if args.diagram is not None:
        args.diagram.parent.mkdir(parents=True, exist_ok=True)
        plot((("before", before), ("calibrated", after)), args.diagram)
    record = {"frames": args.data.resolve().name, "instances": len(fitted.real), "expected_error": after.expected_error}
    write_model_file(with_calibration(args.model.read_bytes(), calibration, threshold, record), args.out)
    print(f"wrote {args.out}: slope {calibration.slope:g}, offset {calibration.offset:g}")
    return 0


def _predictions(args: argparse.Namespace, info: ModelInfo) -> tuple[Judged, Judged]:
    """What the model finds in the first and in the second half of the frames, with the scores of its network."""
    from tqdm import tqdm

    from instance_seg_ros.learning.datasets.labelled_frames import captures, is_store, store_frames
    from instance_seg_ros.learning.evaluation.evaluate import counted_predictions
    from instance_seg_ros.learning.evaluation.reliability import Judged, real_predictions
    from instance_seg_ros.segmentation.runtimes.cpu_runtimes import load_cpu_network
    from instance_seg_ros.segmentation.score_calibration import UNCHANGED
    from instance_seg_ros.segmentation.segmenter import NetworkSegmenter

    if not args.data.is_dir():
        raise InputError(f"{args.data} is not a folder")
    if is_store(args.data):
        if args.all_labelled:
            raise InputError(f"--all-labelled is for captures; a scene store labels every object ({args.data})")
        frames = store_frames(args.data, args.limit, args.seed)
    elif args.all_labelled:
        frames = captures(args.data, complete=True, limit=args.limit)
    else:
        raise InputError(
            f"{args.data} is not known to have every object labelled: what is found on others would count as wrong, "
            "and all scores would come out too low. Give --all-labelled where every object is"
        )
    settings = SegmentationSettings(score_threshold=_LOWEST_SCORE)
    network = load_cpu_network("onnxruntime", args.model, settings)
    segmenter = NetworkSegmenter(network, replace(info, calibration=UNCHANGED), settings)
    judged = []
    for source in tqdm(frames, unit="frame", leave=False):
        found = segmenter.segment(source.frame)
        found = found[counted_predictions(source, found.masks)]
        judged.append(Judged(found.scores, real_predictions(source.truth.masks, found.masks)))
    middle = len(judged) // 2
    return Judged.joined(judged[:middle]), Judged.joined(judged[middle:])


def _table(found: Reliability) -> str:
    from tabulate import tabulate

    bins = zip(found.edges[:-1], found.edges[1:], found.counts, found.mean_scores, found.real_shares, strict=True)
    rows = [(f"{a:.1f} to {b:.1f}", count, f"{mean:.2f}", f"{share:.2f}") for a, b, count, mean, share in bins if count]
    return tabulate(rows, ("score", "instances", "mean score", "share that is real"), tablefmt="github")
