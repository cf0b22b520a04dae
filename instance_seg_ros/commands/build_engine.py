"""`instance-seg build-engine`: builds the TensorRT engine that the node will need, ahead of time."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from instance_seg_ros.commands.helpers.pipeline_options import parse_size_wh
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.core.settings import fields_of
from instance_seg_ros.segmentation.gpu_runtimes import engine_precision, obstacle_of
from instance_seg_ros.segmentation.model_location import located
from instance_seg_ros.segmentation.runtimes.engine_builder import MODULES, load_library
from instance_seg_ros.segmentation.runtimes.engine_cache import EngineCache, default_folder

_PRECISION = next(field for field in fields_of(SegmentationSettings) if field.name == "precision")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg build-engine`."""
    parser.epilog = (
        "Run it on the robot itself: an engine serves the GPU and the TensorRT that it was built with. It takes\n"
        "minutes, on a Jetson up to an hour. An engine that is there already is left as it is. With --check it runs\n"
        "anywhere, without a GPU, where TensorRT for RTX is installed."
    )
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="model file, or name of a shipped one (default: tabletop_rgbd)"
    )
    parser.add_argument(
        "--camera-size",
        type=parse_size_wh,
        metavar="WxH",
        required=True,
        help="size of the camera's images, such as 640x480",
    )
    parser.add_argument(
        "--precision",
        choices=_PRECISION.choices,
        default=_PRECISION.default,
        help=f"{_PRECISION.help} (default: %(default)s)",
    )
    parser.add_argument(
        "--backend",
        choices=tuple(MODULES),
        help="library that builds it (default: tensorrt, or tensorrt-rtx where only that can run)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="only try whether TensorRT takes the model, by building engines for RTX GPUs of the series 30, 40 and 50, "
        "which are not kept",
    )
    parser.add_argument(
        "--engine-cache",
        type=Path,
        metavar="DIR",
        default=default_folder(),
        help="folder of engines, as the setting engine_cache (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Builds the engine, or checks that it can be built; returns the exit status.

    Raises:
        InputError: TensorRT or a GPU is missing, the model file cannot be used, or the engine cannot be built.
    """
    start_s = time.monotonic()
    model_path = located(args.model)
    precision = engine_precision(args.precision)
    if args.check:
        told = _checked(model_path, args.camera_size, precision)
    else:
        path = _built(args, model_path, precision)
        told = f"{path}: {path.stat().st_size / 1e6:.1f} MB"
    print(f"{told}, ready after {time.monotonic() - start_s:.0f} s")
    return 0


def _checked(model_path: Path, size_wh: tuple[int, int], precision: str) -> str:
    """What took the model."""
    from instance_seg_ros.segmentation.runtimes.tensorrt_check import check, check_obstacle

    obstacle = check_obstacle()
    if obstacle is not None:
        raise InputError(f"cannot check a model here: {obstacle}")
    return f"{model_path}: {check(model_path, size_wh, precision, _print)}"


def _built(args: argparse.Namespace, model_path: Path, precision: str) -> Path:
    """Where the engine is."""
    obstacles = {name: obstacle_of(name, args.precision) for name in ([args.backend] if args.backend else MODULES)}
    usable = [name for name, obstacle in obstacles.items() if obstacle is None]
    if not usable:
        raise InputError(f"cannot build an engine here: {'; '.join(filter(None, obstacles.values()))}")
    from instance_seg_ros.segmentation.runtimes.tensorrt_factory import build_into_cache

    cache = EngineCache(args.engine_cache.expanduser())
    return build_into_cache(load_library(usable[0]), cache, model_path, args.camera_size, precision, _print)


def _print(line: str) -> None:
    print(line, flush=True)
