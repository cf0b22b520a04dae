"""`instance-seg import-weights`."""

from __future__ import annotations

import argparse
from pathlib import Path

from instance_seg_ros.files.writable import check_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg import-weights`."""
    parser.add_argument(
        "weights", type=Path, metavar="FILE", help="checkpoint of a CondInst of AdelaiDet, R50 or R101 FPN"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="checkpoint to write, for `instance-seg export` (default: FILE's name with .imported.pt)",
    )
    parser.add_argument(
        "--style",
        choices=("caffe", "torchvision"),
        default="caffe",
        help="what the backbone was pre-trained as, which its weights do not tell: stride in the 1x1 and BGR input, or "
        "stride in the 3x3 and normalised RGB input (default: %(default)s, as AdelaiDet's)",
    )
    parser.add_argument(
        "--class-names", nargs="+", metavar="NAME", help="by class index (default: the 80 of COCO)", default=None
    )


def run(args: argparse.Namespace) -> int:
    """Imports a checkpoint; returns the exit status.

    Raises:
        InputError: the file cannot be imported.
    """
    from instance_seg_ros.learning.export.adelaidet_checkpoint import (
        adelaidet_shapes,
        import_adelaidet,
        save_adelaidet_checkpoint,
    )

    names = None if args.class_names is None else tuple(args.class_names)
    check_file(args.out, "--out")
    checkpoint = import_adelaidet(args.weights, args.style, names)
    out = Path(args.weights.stem + ".imported.pt") if args.out is None else args.out
    save_adelaidet_checkpoint(checkpoint, out)
    config = checkpoint.config
    semantic = f", semantic branch of {config.semantic_blocks} blocks" if config.semantic_blocks else ""
    print(
        f"{out}: CondInst with ResNet-{config.depth} ({config.style}), {config.num_classes} classes{semantic}; "
        f"all {len(adelaidet_shapes(config))} weights accounted for"
    )
    return 0
