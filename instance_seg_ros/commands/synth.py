"""The ``instance-seg synth`` command."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from instance_seg_ros.core import arguments
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.files.writable import check_file, check_folder, claimed_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``instance-seg synth``."""
    from instance_seg_ros.learning.synthetic.store import SynthSettings

    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the scene store; an interrupted one is finished"
    )
    parser.add_argument(
        "--preview", type=Path, metavar="IMAGE", help="write a contact sheet of a few scenes to this PNG or JPEG"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    arguments.add_arguments(parser, SynthSettings, "scenes")


def run(args: argparse.Namespace) -> int:
    """Generate the store or the contact sheet; returns the exit status.

    Raises:
        InputError: neither folder nor picture is named, the folder holds another store, a scene cannot be generated,
            or the picture cannot be written.
    """
    from instance_seg_ros.learning.synthetic.store import SynthSettings, generate_store

    if args.out is None and args.preview is None:
        raise InputError("give --out DIR for a scene store, --preview IMAGE for a look, or both")
    settings = arguments.from_arguments(args, SynthSettings)
    check_file(args.preview, "--preview")  # before scenes are simulated
    check_folder(args.out, "--out")
    if args.preview is not None:
        from instance_seg_ros.learning.synthetic.preview import write_contact_sheet

        try:
            write_contact_sheet(settings, args.preview)
        except ValueError as error:
            raise InputError(str(error)) from error
        print(f"wrote {args.preview}")
    if args.out is not None:
        try:
            with claimed_folder(args.out, "--out"):
                generate_store(settings, args.out, args.workers)
        except (ValueError, RuntimeError) as error:
            raise InputError(str(error)) from error
        print(f"wrote {settings.frames} frames to {args.out}")
    return 0
