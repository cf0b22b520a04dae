"""`instance-seg bag`: a recording through the pipeline."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections import Counter
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from instance_seg_ros.bags.names import TF_TOPIC
from instance_seg_ros.bags.process import BagSummary, check_bag, process_bag
from instance_seg_ros.bags.reader import DEFAULT_TOLERANCE_S
from instance_seg_ros.bags.recording import RecordedSettings, read_settings
from instance_seg_ros.bags.storage import STORAGES, opened_bag
from instance_seg_ros.bags.transforms import MAX_GAP_NS
from instance_seg_ros.commands.helpers.pipeline_options import (
    add_pipeline_arguments,
    add_rerun_argument,
    check_rerun,
    load_pipeline,
    model_line,
    parse_count,
    refuse_prompt_options,
    rerun_listener,
)
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.files.writable import check_folder
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.tracking.tracker import TimeStep

_POSE_FRAMES = ("fixed_frame", "level_frame")
_ODD_STAMPS = {
    TimeStep.UNKNOWN: "frames with the stamp 0",
    TimeStep.REPEATED: "frames with the stamp of the one before",
    TimeStep.LATE: "frames somewhat older than one before",
    TimeStep.RESET: "jumps back in time",
}
EPILOG = """\
Writes a bag with /instance_seg/instances (instance_seg_ros/msg/InstanceArray), /instance_seg/label_image,
/instance_seg/overlay/compressed, /instance_seg/camera_info (of these images, without distortion), /instance_seg/cloud
and, for Foxglove (layout: config/foxglove.json), /instance_seg/annotations and /instance_seg/scene. Every message has
the stamp of its colour image and is recorded at the time at which the frame was complete in IN, so both bags can be
played together.

The camera's topics are found by type and name; depth that is aligned to colour and raw images are preferred. Depth that
is not aligned is registered here, with the CameraInfo of both cameras and /tf_static or /tf (or --depth-camera-pose).
Of a camera that moves, --fixed-frame takes the poses from /tf, as the node does.
From a recording that was cut short, all complete messages are read.

examples:
  instance-seg bag recording --out recording_segmented
  instance-seg bag instance_seg_2026-11-26T17-40-12_081204566.mcap --out again --as-recorded
  instance-seg bag recording --out result --fixed-frame map --level-frame map
  instance-seg bag recording.mcap --out result --color-topic /cam/rgb --depth-topic /cam/depth --copy-inputs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg bag`."""
    parser.usage = "%(prog)s IN --out DIR [options]"
    parser.epilog = EPILOG
    parser.add_argument("source", type=Path, metavar="IN", help="rosbag2 folder, .mcap or .db3 file, also .zstd")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="new bag; must not exist")
    parser.add_argument("--storage", choices=sorted(STORAGES), help="storage of the new bag (default: that of IN)")
    parser.add_argument("--copy-inputs", action="store_true", help="also copy the camera's topics into the new bag")
    parser.add_argument("--max-frames", type=parse_count, metavar="N", help="stop after this many frames")
    parser.add_argument(
        "--tolerance-s",
        type=_tolerance,
        default=DEFAULT_TOLERANCE_S,
        metavar="S",
        help="colour and depth make a frame if their stamps differ by no more than this, in seconds (default: "
        "%(default)s)",
    )
    parser.add_argument("--color-topic", metavar="TOPIC", help="Image or CompressedImage (default: found by name)")
    parser.add_argument("--depth-topic", metavar="TOPIC", help="Image or CompressedImage (default: found by name)")
    parser.add_argument("--color-info-topic", metavar="TOPIC", help="CameraInfo (default: beside the colour topic)")
    parser.add_argument("--depth-info-topic", metavar="TOPIC", help="CameraInfo (default: beside the depth topic)")
    parser.add_argument(
        "--depth-camera-pose",
        type=_pose,
        metavar="'X Y Z QX QY QZ QW'",
        help="pose of the depth camera in the colour camera's optical frame, for depth that is not aligned "
        "(default: from /tf_static or /tf)",
    )
    parser.add_argument(
        "--rectified", action="store_true", help="the images are rectified: P of the CameraInfo describes them, not K"
    )
    parser.add_argument(
        "--fixed-frame",
        default="",
        metavar="FRAME",
        help="keep tracks in this frame, such as map: /tf tells where the camera is (default: what it sees tells that)",
    )
    parser.add_argument(
        "--level-frame",
        default="",
        metavar="FRAME",
        help="a frame whose z axis is up, by /tf: nothing steep is a support (default: what is seen tells where up is)",
    )
    parser.add_argument(
        "--as-recorded",
        action="store_true",
        help="IN was written by the node's service record: take the topics and all settings from it, not from options",
    )
    add_rerun_argument(parser)
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Processes the bag and prints a summary; returns the exit status.

    Raises:
        InputError: for a bag, settings or a model that cannot be used, or when no frame could be processed.
    """
    refuse_prompt_options(args, "bag")
    topics = {key: getattr(args, f"{key}_topic") for key in ("color", "depth", "color_info", "depth_info")}
    recorded = read_settings(args.source) if args.as_recorded else None
    if recorded is not None:
        _take_recorded(args, topics, recorded)
    elif args.as_recorded:
        raise InputError(f"{args.source} was not written by the node's service record: there are no settings in it")
    check_bag(args.source, args.out, topics)  # before a model is loaded, which takes longer
    check_folder(args.out, "--out")
    check_rerun(args.rrd)
    recorded = recorded or read_settings(args.source)
    pipeline = _recorded_pipeline(args, recorded) if args.as_recorded and recorded else load_pipeline(args)
    print(model_line(pipeline))
    if recorded is not None:
        print(_comparison(pipeline, recorded, args))
    with (
        tqdm(unit="msg", desc=args.source.name, leave=False, disable=None) as bar,
        rerun_listener(args.rrd) as show_scene,
    ):

        def show(read: int, total: int) -> None:
            bar.total = total
            bar.update(read - bar.n)

        summary = process_bag(
            args.source,
            args.out,
            pipeline,
            topic_overrides=topics,
            tolerance_s=args.tolerance_s,
            storage=args.storage,
            copy_inputs=args.copy_inputs,
            max_frames=args.max_frames,
            T_color_depth=args.depth_camera_pose,
            rectified=args.rectified,
            fixed_frame=args.fixed_frame,
            level_frame=args.level_frame,
            # The node's recordings hold the poses that frames were answered with; what it refused has none.
            pose_gap_ns=0 if args.as_recorded else MAX_GAP_NS,
            progress=show,
            listener=show_scene,
        )
    print(summary_text(summary))
    if summary.frames == 0:
        raise InputError(f"no frame of {args.source} could be processed; what is said above tells why")
    print(f"wrote {args.out}" + (f" and {args.rrd}" if args.rrd is not None else ""))
    return 0


def _take_recorded(args: argparse.Namespace, topics: dict[str, str | None], recorded: RecordedSettings) -> None:
    """Puts what the node was told in the place of the options."""
    topics.update({key: topic for key, topic in recorded.inputs.items() if key != "depth_info"})
    try:
        args.depth_camera_pose = recorded.T_color_depth
    except ValueError as error:
        raise InputError(f"{args.source}: depth_camera_pose {error}") from error
    with opened_bag(args.source) as bag:
        has_poses = TF_TOPIC in bag.types
    for name in _POSE_FRAMES:
        setattr(args, name, str(recorded.parameters.get(name, "")) if has_poses else "")
    args.rectified = bool(recorded.parameters.get("rectified_inputs", False))
    args.tolerance_s = float(recorded.parameters.get("sync_tolerance_s", DEFAULT_TOLERANCE_S))
    if args.model is None and recorded.parameters.get("model_path"):
        args.model = Path(str(recorded.parameters["model_path"])).expanduser()


def _recorded_pipeline(args: argparse.Namespace, recorded: RecordedSettings) -> Pipeline:
    try:
        settings = recorded.pipeline
    except ValueError as error:
        raise InputError(f"{args.source} was recorded with settings that do not fit this version: {error}") from error
    # Nothing is asked for here: what answers prompts would take gigabytes for nothing, or be on another machine.
    segmentation = dataclasses.replace(settings.segmentation, prompt_model_path="", text_model_path="")
    return Pipeline.from_settings(dataclasses.replace(settings, segmentation=segmentation), args.model)


def _comparison(pipeline: Pipeline, recorded: RecordedSettings, args: argparse.Namespace) -> str:
    """Whether the same numbers can be expected of a recording of the node."""
    if not args.as_recorded:
        return "IN holds the settings of the node that wrote it: --as-recorded takes them in place of the options"
    now = {"digest": pipeline.segmenter.info.digest, "backend": pipeline.segmenter.backend}
    then = {name: recorded.model.get(name) for name in now}
    other = [f"{name} was {then[name]}, is {now[name]}" for name in now if then[name] != now[name]]
    for name in _POSE_FRAMES:
        if (frame := recorded.parameters.get(name)) and not getattr(args, name):
            other.append(f"the camera's poses in {name} {frame!r} are not in IN")
    for name, values in recorded.changed.items():
        before = ", then ".join(map(repr, values))
        other.append(f"{name} was {before} in earlier frames of IN, is {recorded.parameters.get(name)!r}")
    return f"settings as recorded; numbers may differ: {'; '.join(other)}" if other else "settings as recorded"


def summary_text(summary: BagSummary) -> str:
    """The counts as a table, and a line for each cause of lost frames and each warning."""
    rows: list[tuple[str, str]] = [
        ("colour images", str(summary.colors)),
        ("depth images", str(summary.depths)),
        ("frames with results", str(summary.frames)),
        ("objects", str(summary.instances)),
        ("grasps", str(summary.grasps)),
        ("time", f"{summary.elapsed_s:.1f} s ({summary.frames / max(summary.elapsed_s, 1e-9):.1f} frames/s)"),
    ]
    rows += [
        (f"{stage}, mean", f"{total_s / summary.frames * 1000:.1f} ms")
        for stage, total_s in summary.stage_times_s.items()
    ]
    rows += [(text, str(summary.time_steps[step])) for step, text in _ODD_STAMPS.items() if summary.time_steps[step]]
    if summary.registration:
        rows.append(("depth registered to colour", summary.registration))
    if summary.distortion:
        rows.append(("lens distortion taken out", summary.distortion))
    remarks = [f"lost {count} frame(s): {cause}" for cause, count in _by_kind(summary.lost)]
    remarks += [f"warning: {warning}" for warning in summary.warnings]
    return "\n".join([tabulate(rows, tablefmt="plain", disable_numparse=True), *remarks])


def _by_kind(lost: Counter[str]) -> list[tuple[str, int]]:
    """Causes that differ in their numbers alone as one, in the words of the most frequent of them.

    Digits in a name, as in /camera_1 or 'camera_1_link', are no number.
    """
    shown: dict[str, str] = {}
    counts = Counter[str]()
    for cause, count in lost.most_common():
        kind = re.sub(r"([/'\"]\S+)|\d[\d.]*(?:e[+-]?\d+)?", lambda found: found[1] or "0", cause)
        counts[shown.setdefault(kind, cause)] += count
    return counts.most_common()


def _tolerance(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of 0 seconds or more")
    return seconds


def _pose(text: str) -> Transform:
    try:
        return Transform.from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
