"""`instance-seg build-engine`: builds the TensorRT engine that the node will need, ahead of time."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from instance_seg_ros.commands.helpers.pipeline_options import parse_size_wh
from instance_seg_ros.core.config import SegmentationSettings
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.settings import fields_of
from instance_seg_ros.segmentation import default_model_path
from instance_seg_ros.segmentation.accelerators import engine_precision, obstacle_of
from instance_seg_ros.segmentation.runtimes.engine_cache import EngineCache, default_folder

_PRECISION = next(field for field in fields_of(SegmentationSettings) if field.name == "precision")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg build-engine`."""
    parser.epilog = (
        "Run it on the robot itself: an engine serves the GPU and the TensorRT that it was built with. It takes\n"
        "minutes, on a Jetson up to an hour. An engine that is there already is left as it is."
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="model file (default: the one that is shipped)")
    parser.add_argument(
        "--camera-size",
        type=parse_size_wh,
        metavar="WxH",
        required=True,
        help="of the camera's images, such as 640x480",
    )
    parser.add_argument(
        "--precision",
        choices=_PRECISION.choices,
        default=_PRECISION.default,
        help=f"{_PRECISION.help} (default: %(default)s)",
    )
    parser.add_argument(
        "--engine-cache",
        type=Path,
        metavar="DIR",
        default=default_folder(),
        help="folder of engines, as the setting engine_cache (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Builds the engine; returns the exit status.

    Raises:
        InputError: TensorRT or a GPU is missing, the model file cannot be used, or the engine cannot be built.
    """
    obstacle = obstacle_of("tensorrt", args.precision)
    if obstacle is not None:
        raise InputError(f"cannot build an engine here: {obstacle}")
    from instance_seg_ros.segmentation.runtimes.tensorrt_factory import build_into_cache

    start_s = time.monotonic()
    path = build_into_cache(
        EngineCache(args.engine_cache.expanduser()),
        args.model or default_model_path(),
        args.camera_size,
        engine_precision(args.precision),
        report=lambda line: print(line, flush=True),
    )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, ready after {time.monotonic() - start_s:.0f} s")
    return 0
