"""`instance-seg segment`: single frames through the pipeline, files in and files out."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.commands.helpers.pipeline_options import (
    add_pipeline_arguments,
    add_rerun_argument,
    check_rerun,
    load_pipeline,
    model_line,
    rerun_listener,
)
from instance_seg_ros.core.camera import MAX_DEPTH_M, MIN_DEPTH_M
from instance_seg_ros.core.depth import scale_fault
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.status import names_of
from instance_seg_ros.files.captures import Capture, capture_folders, read_capture, read_files
from instance_seg_ros.files.result_files import write_results
from instance_seg_ros.files.writable import check_folder
from instance_seg_ros.pipeline import Pipeline, Scene, SceneObject
from instance_seg_ros.segmentation.prompts import Prompts, phrases_of

COLUMNS = ("label", "id", "class", "score", "points", "distance m", "size cm", "grasps", "best", "status")
_FILES_UNITS = "depth_unit_m in the camera's file is metres per unit (0.001: millimetres); a .npy file holds metres"
_ALIGNMENT = ("right", "right", "left", "right", "right", "right", "right", "right", "right", "left")
USAGE = """\
%(prog)s [--color FILE] --depth FILE --camera JSON --out DIR [options]
       %(prog)s --capture DIR --out DIR [options]"""
EPILOG = """\
Writes into the folder of --out (with --capture of several captures, into a folder for each):
  instances.json  every object: class, score, box, centre, oriented box, grasps; metres, camera optical frame
  labels.png      16-bit, 0 = background, otherwise the label of the object
  overlay.png     the picture: masks, oriented boxes, best grasps
  scene.ply       the coloured cloud with the label of each point
  shapes.ply      the completed objects, with --lifting-completed-shapes

Depth is a 16-bit PNG or TIFF in units of depth_unit_m (from --camera; 0.001 where it names none) or a .npy file
with floating-point metres, registered to colour. --camera is a JSON file with fx, fy, cx, cy and depth_unit_m.

examples:
  instance-seg segment --color color.png --depth depth.png --camera meta.json --out results
  instance-seg segment --depth depth.npy --camera meta.json --out results
  instance-seg segment --capture captures --out results --gripper-max-opening-m 0.11
  instance-seg segment --capture capture --out results --box 200,150,320,240
  instance-seg segment --capture capture --out results --point 260,190 --segmentation-prompt-model-path FOLDER
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg segment`."""
    parser.usage = USAGE
    parser.epilog = EPILOG
    parser.add_argument("--color", type=Path, metavar="FILE", help="colour image; may be left out")
    parser.add_argument("--depth", type=Path, metavar="FILE", help="depth image, registered to colour")
    parser.add_argument("--camera", type=Path, metavar="JSON", help="intrinsics and depth unit")
    parser.add_argument(
        "--capture", type=Path, metavar="DIR", help="a capture, or a folder of captures, instead of the three files"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder for the results")
    asked = parser.add_argument_group("prompts: only what is asked for, instead of everything that the model finds")
    asked.add_argument(
        "--point",
        type=_parse_numbers(float, 2),
        action="append",
        default=[],
        metavar="X,Y",
        help="the object at a pixel, which takes --segmentation-prompt-model-path; may be given several times",
    )
    asked.add_argument(
        "--box",
        type=_parse_numbers(int, 4),
        action="append",
        default=[],
        metavar="X0,Y0,X1,Y1",
        help="the object in a rectangle, by that model or else by the depth alone; may be given several times",
    )
    asked.add_argument(
        "--text",
        default="",
        metavar="WORDS",
        help='what words name, such as "red mug, bolt", which takes --segmentation-text-model-path',
    )
    add_rerun_argument(parser)
    add_pipeline_arguments(parser)


def _parse_numbers(kind: type[float], count: int) -> Callable[[str], tuple[Any, ...]]:
    """A type of argparse: so many finite numbers with commas between them."""

    def parse(text: str) -> tuple[Any, ...]:
        try:
            numbers = tuple(kind(part) for part in text.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {count} numbers with commas between them")
        return numbers

    return parse


def run(args: argparse.Namespace) -> int:
    """Segments the frames that the options name; returns the exit status.

    Raises:
        InputError: for options, files, settings or a model that cannot be used.
    """
    sources = _sources(args)
    prompts = Prompts(tuple(args.point), tuple(args.box), phrases_of(args.text))
    for x0, y0, x1, y1 in args.box:
        if x1 <= x0 or y1 <= y0:
            raise InputError(f"--box {x0},{y0},{x1},{y1} holds no pixel: it goes from X0,Y0 to before X1,Y1")
    if args.text and not prompts.phrases:  # everything that is found would be no answer
        raise InputError(f"--text {args.text!r} holds no word")
    for option, asked, path in (
        ("--point", args.point, "segmentation_prompt_model_path"),
        ("--text", args.text, "segmentation_text_model_path"),
    ):
        if asked and not getattr(args, path):
            raise InputError(f"{option} is answered by a model of its own: give --{path.replace('_', '-')}")
    check_folder(args.out, "--out")  # told before anybody waits for the model
    check_rerun(args.rrd)
    pipeline = load_pipeline(args)
    print(model_line(pipeline))
    with rerun_listener(args.rrd) as show:
        for capture, folder in sources:
            pipeline.tracker.reset()  # captures need not follow each other in time
            scene, files = _segment(pipeline, capture, folder, prompts)
            show(scene)
            _report(capture.name, scene)
            print(f"wrote {folder}/{{{','.join(sorted(file.name for file in files))}}}")
    if args.rrd is not None:
        print(f"wrote {args.rrd}")
    return 0


def _sources(args: argparse.Namespace) -> Iterator[tuple[Capture, Path]]:
    """Each capture with the folder for its results; what the options lack is an error before anything is loaded."""
    files = {"--color": args.color, "--depth": args.depth, "--camera": args.camera}
    if args.capture is not None:
        surplus = [option for option, path in files.items() if path is not None]
        if surplus:
            raise InputError(f"give either --capture or single files, not both ({', '.join(surplus)})")
        return _captures(capture_folders(args.capture), args.out)
    missing = [option for option in ("--depth", "--camera") if files[option] is None]
    if missing:
        raise InputError(f"{' and '.join(missing)} missing; or give --capture DIR")
    return iter([(read_files(args.color, args.depth, args.camera), args.out)])


def _captures(folders: Sequence[Path], out: Path) -> Iterator[tuple[Capture, Path]]:
    for folder in folders:
        capture = read_capture(folder)
        yield capture, out if len(folders) == 1 else out / capture.name


def _segment(pipeline: Pipeline, capture: Capture, folder: Path, prompts: Prompts) -> tuple[Scene, list[Path]]:
    """The scene of a capture, and the files of it that were written."""
    scene = pipeline.run(capture.frame)
    if prompts:
        scene = pipeline.cut_out(scene, prompts)
    return scene, write_results(scene, folder, pipeline.grasp_sampler.settings)


def _report(name: str, scene: Scene) -> None:
    times = ", ".join(f"{stage} {duration_s * 1000:.0f} ms" for stage, duration_s in scene.stage_times_s.items())
    print(f"{name}: {len(scene.instances)} objects, {depth_seen(scene.frame.depth_m)} ({times})")
    fault = scale_fault(scene.frame.depth_m, scene.gripper.max_opening_m, _FILES_UNITS)
    if fault:
        print(f"warning: {fault}")
    if scene.frame.intrinsics.doubt:  # of a capture that names its size, so that it may be a crop
        print(f"warning: {scene.frame.intrinsics.doubt} Then all positions are wrong")
    if len(scene.instances):
        rows = [row_of(scene_object) for scene_object in scene.objects()]
        print(tabulate(rows, headers=COLUMNS, colalign=_ALIGNMENT, disable_numparse=True))


def depth_seen(depth_m: NDArray[np.float32]) -> str:
    """What was measured, such as "depth 0.62 to 1.10 m in 87 % of the pixels", which shows a wrong unit at a glance."""
    measured_m = depth_m[depth_m > 0]
    if not measured_m.size:
        return f"no depth from {MIN_DEPTH_M:g} to {MAX_DEPTH_M:g} m, so nothing is placed in space"
    near_m, far_m = np.percentile(measured_m, [5, 95])
    return f"depth {near_m:.2f} to {far_m:.2f} m in {100 * measured_m.size / depth_m.size:.0f} % of the pixels"


def row_of(scene_object: SceneObject) -> list[object]:
    """An object as a row under `COLUMNS`; "-" for what is not known."""
    lifted, grasps = scene_object.lifted, scene_object.grasps
    distance = "-" if lifted.centroid_m is None else f"{np.linalg.norm(lifted.centroid_m):.3f}"
    size = "-" if lifted.box is None else " x ".join(f"{side * 100:.1f}" for side in lifted.box.size_m)
    return [
        scene_object.label,
        f"#{scene_object.track_id}",  # as in the picture
        scene_object.class_name,
        f"{scene_object.score:.2f}",
        len(lifted.points_m),
        distance,
        size,
        len(grasps),
        f"{grasps[0].quality:.2f}" if grasps else "-",
        ", ".join(names_of(scene_object.status)) or "ok",
    ]
