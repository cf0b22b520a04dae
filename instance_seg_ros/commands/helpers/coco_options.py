"""The command line of COCO data sets: the same options, checks and words in every command that reads one."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from instance_seg_ros.core.errors import InputError

if TYPE_CHECKING:
    from instance_seg_ros.learning.datasets.coco_data import CocoData, CocoFiles

SKIPPED_NAME = "skipped.txt"
ONLY_FOR_COCO = ("images", "depth", "depth_unit", "intrinsics", "class_agnostic")
"""Names of options that do nothing without a COCO data set."""


def add_coco_options(parser: argparse.ArgumentParser) -> None:
    """Adds what says how to read the data set whose JSON file `--coco` names, as a group."""
    coco = parser.add_argument_group("COCO data sets")
    coco.add_argument("--images", type=Path, metavar="DIR", help="folder of the images (default: images beside JSON)")
    coco.add_argument("--depth", type=Path, metavar="DIR", help="folder of 16-bit depth PNGs named as the images are")
    coco.add_argument(
        "--depth-unit", type=float, metavar="M", help="metres per unit of depth (default: 0.001, millimetres)"
    )
    coco.add_argument(
        "--intrinsics",
        type=_intrinsics,
        metavar="FX,FY,CX,CY",
        help="intrinsics of images without the keys fx, fy, cx, cy, in pixels",
    )
    coco.add_argument("--class-agnostic", action="store_true", help="take all categories for one, 'object'")
    parser.set_defaults(default_of=parser.get_default)  # for refuse_options


def refuse_options(args: argparse.Namespace, names: Iterable[str], kind: str) -> None:
    """Refuses options of one kind of data that were given for another, where they would do nothing.

    Given is what has another value than without the option.

    Args:
        args: of a parser with `add_coco_options`.
        names: of the options, as `args` has them.
        kind: what they cannot be used with.

    Raises:
        InputError: naming them.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) != args.default_of(name)]
    if given:
        raise InputError(f"{', '.join(given)} cannot be used with {kind}")


def coco_files(args: argparse.Namespace) -> CocoFiles:
    """The data set that the options name, and how to read it.

    Raises:
        ValueError: the unit of depth is not positive.
    """
    from instance_seg_ros.files.captures import DEFAULT_DEPTH_UNIT_M
    from instance_seg_ros.learning.datasets.coco_data import CocoFiles

    return CocoFiles(
        instances=args.coco,
        images=args.images or args.coco.parent / "images",
        depth=args.depth,
        depth_unit_m=DEFAULT_DEPTH_UNIT_M if args.depth_unit is None else args.depth_unit,
        intrinsics=args.intrinsics,
        class_agnostic=args.class_agnostic,
    )


def read_and_tell(files: CocoFiles, out: Path | None) -> CocoData:
    """Reads a data set, prints what was read and left out, and lists the latter in skipped.txt.

    Args:
        files: of the data set.
        out: folder of skipped.txt; None writes none.

    Raises:
        CocoError: nothing in it can be used, or the unit of its depth is wrong.
    """
    from instance_seg_ros.learning.datasets.coco_data import read_coco
    from instance_seg_ros.learning.datasets.coco_images import median_depth_m

    data = read_coco(files, progress=True)
    print(data.summary())
    depth_m = median_depth_m(data, files.depth_unit_m)
    if depth_m is not None:
        print(f"the median depth is {depth_m:.2f} m")
    skipped = (*data.skipped_images, *data.skipped_annotations)
    if skipped and out is not None:
        out.mkdir(parents=True, exist_ok=True)
        path = out / SKIPPED_NAME
        path.write_text("".join(line + "\n" for line in skipped))
        print(f"all that was left out is in {path}")
    return data


def check_objects(data: CocoData, files: CocoFiles) -> None:
    """Raises InputError where no image has an object to learn or to find."""
    if not any(region.class_index is not None for image in data.images for region in image.regions):
        cause = f"; of those left out the first: {data.skipped_annotations[0]}" if data.skipped_annotations else ""
        raise InputError(f"{files.instances}: no image has an object that can be used{cause}")


def _intrinsics(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not FX,FY,CX,CY such as 615,615,319.5,239.5")
    return values
