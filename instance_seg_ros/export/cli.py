"""`instance-seg export`."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg export`."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="written by `instance-seg train`")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--name", default="tabletop_depth", help="name in the file (default: %(default)s)")
    parser.add_argument("--version", default="1", help="version in the file (default: %(default)s)")
    parser.add_argument(
        "--score-threshold", type=float, default=0.5, help="default of users of the file (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Exports a checkpoint and verifies the file; returns the exit status."""
    from instance_seg_ros.export.export import ModelDescription, export_checkpoint
    from instance_seg_ros.export.graph import DecodingSettings
    from instance_seg_ros.segmentation.model_file import read_model_info
    from instance_seg_ros.training.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(args.checkpoint)
    description = ModelDescription(name=args.name, version=args.version, score_threshold=args.score_threshold)
    size = export_checkpoint(checkpoint, args.out, description, DecodingSettings(), _commit())
    info = read_model_info(args.out)
    print(f"{args.out}: {size / 1e6:.1f} MB, step {checkpoint.step}, digest {info.digest[:12]}")
    return 0


def _commit() -> str:
    """The commit of the working tree this runs from, empty outside one."""
    here = Path(__file__).resolve().parent
    try:
        result = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git on this machine
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
