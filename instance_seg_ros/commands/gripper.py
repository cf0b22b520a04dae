"""`instance-seg gripper`: the grippers that are known, and new ones from a URDF."""

from __future__ import annotations

import argparse
from pathlib import Path

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.gripper_files import preset_names, read_gripper
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.core.settings import fields_of
from instance_seg_ros.files.atomic import write_atomically

EPILOG = """\
Without --import: the presets that `gripper.preset` (of the node) and --gripper-preset (of the commands) take, in
millimetres, and where their values come from. A preset of your own is a YAML file with the same names.

--import URDF writes such a file from the collision shapes of a URDF: the joints are put where the fingertips are
farthest apart; the fingers reach back to where something lies between them or they are 15 mm thicker than at their
tips, and all behind that is the palm. Sizes are rounded up, opening and length down. A xacro is expanded before, by
ROS's own xacro. Force and friction are in no URDF: look at them before you use the file.

examples:
  the list:
    instance-seg gripper
  a gripper of your own, its shapes in package://my_gripper/...:
    instance-seg gripper --import my_gripper.urdf --package my_gripper=src/my_gripper --out my_gripper.yaml
    instance-seg segment --capture captures --out results --gripper-preset my_gripper.yaml
"""
_FORCE_N, _FRICTION = 30.0, 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg gripper`."""
    parser.usage = "%(prog)s [--import URDF --out FILE [options]]"
    parser.epilog = EPILOG
    parser.add_argument("--import", dest="urdf", type=Path, metavar="URDF", help="the gripper alone, no arm")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the new YAML file")
    parser.add_argument(
        "--approach", choices=("x", "y", "z"), default="z", help="axis of the root link that approaches (default: z)"
    )
    parser.add_argument(
        "--package",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="where package://NAME/ is, if in no folder above the URDF; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the list or writes a new file; returns the exit status.

    Raises:
        InputError: the URDF cannot be used, or an option is missing.
    """
    names = tuple(field.name for field in fields_of(GripperSettings) if field.type is float)
    if args.urdf is None:
        if args.out is not None or args.package:
            raise InputError("--out and --package are for --import URDF, and were given without it")
        print(listing(names))
        return 0
    if args.out is None or args.out.suffix != ".yaml":
        raise InputError("--import needs --out FILE.yaml")
    from instance_seg_ros.grasping.urdf import sizes_of_urdf

    packages = {}
    for text in args.package:
        name, equals, folder = text.partition("=")
        if not equals:
            raise InputError(f"--package takes NAME=FOLDER, not {text!r}")
        packages[name] = Path(folder)
    values = sizes_of_urdf(args.urdf, args.approach, packages) | {"force_n": _FORCE_N, "pad_friction": _FRICTION}
    head = f"name: {args.urdf.stem}\nsource: the collision shapes of {args.urdf.name}; force and friction assumed\n"
    write_atomically(args.out, (head + "".join(f"{name}: {values[name]:g}\n" for name in names)).encode())
    try:
        read_gripper(str(args.out), names)
    except ValueError as error:
        raise InputError(f"{error}; correct it there") from error
    print(f"wrote {args.out}; force_n and pad_friction are assumed, {_FORCE_N:g} and {_FRICTION:g}: set your own")
    return 0


def listing(names: tuple[str, ...]) -> str:
    """The presets as a table, and their sources."""
    from tabulate import tabulate

    rows, sources = [], []
    for preset in preset_names():
        gripper = read_gripper(preset, names)
        rows.append([preset, *(_shown(name, gripper.values[name]) for name in names)])
        sources.append(f"{preset}: {gripper.name}. {gripper.source}")
    headers = ["preset", *(name.removesuffix("_m").removesuffix("_n").replace("_", "\n", 1) for name in names)]
    return tabulate(rows, headers=headers, disable_numparse=True) + "\n\n" + "\n".join(sources)


def _shown(name: str, value: float) -> str:
    """Millimetres, newtons, or a plain number."""
    return f"{1000 * value:g} mm" if name.endswith("_m") else f"{value:g} N" if name.endswith("_n") else f"{value:g}"
