"""`instance-seg export`."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from instance_seg_ros.commands.helpers.pipeline_options import parse_size_wh
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.files.writable import check_file

if TYPE_CHECKING:
    from instance_seg_ros.learning.export.int8 import Agreement

_STORE_FRAMES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `instance-seg export`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="written by `instance-seg train` or `instance-seg import-weights`",
    )
    source.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="a model file whose network to write in 8 bits, or name of a shipped one; name, version and threshold "
        "in the file stay",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the ONNX file to write")
    parser.add_argument(
        "--camera-size",
        type=parse_size_wh,
        metavar="WxH",
        default=(640, 480),
        help="of the colour images that an imported network will see, and no others (default: 640x480); a trained one "
        "takes any size",
    )
    parser.add_argument(
        "--int8",
        type=Path,
        metavar="FRAMES",
        help="write the network in 8 bits, smaller and faster on a CPU with VNNI; FRAMES is a folder of captures of "
        "the camera that it will run on, or for a trained network a scene store, half to calibrate with and half to "
        "measure the loss. Beside MODEL.onnx as MODEL_int8.onnx, it is used where it is the fastest",
    )
    parser.add_argument(
        "--name", metavar="TEXT", help="name in the file (default: tabletop_rgbd, or such as condinst_r50)"
    )
    parser.add_argument("--version", metavar="TEXT", default="1", help="version in the file (default: %(default)s)")
    parser.add_argument(
        "--score-threshold",
        type=float,
        metavar="X",
        default=0.5,
        help="instances below this score are left out unless the user of the file says otherwise (default: "
        "%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Exports a checkpoint and verifies the file; returns the exit status.

    Raises:
        InputError: the checkpoint cannot be used.
    """
    from instance_seg_ros.segmentation.model_file import read_model_info

    check_file(args.out, "--out")  # before the network is read, checked and maybe made one of 8 bits
    try:
        origin = _export(args)
    except ValueError as error:
        raise InputError(str(error)) from error
    info = read_model_info(args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {origin}, digest {info.digest[:12]}")
    print(_told_of_tensorrt(args.out, args.camera_size))
    return 0


def _told_of_tensorrt(path: Path, camera_wh: tuple[int, int]) -> str:
    """Whether TensorRT takes the file; for CPUs and the other backends it is good in any case."""
    from instance_seg_ros.segmentation.network import size_wh_of
    from instance_seg_ros.segmentation.runtimes.engine_builder import EngineError
    from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork
    from instance_seg_ros.segmentation.runtimes.tensorrt_check import check, check_obstacle

    obstacle = check_obstacle()
    if obstacle is not None:
        return f"not tried with TensorRT: {obstacle}"
    samples = OnnxRuntimeNetwork(path, threads=1).sample_inputs(camera_wh[::-1])  # some files are for one size
    size_wh = size_wh_of({name: array.shape for name, array in samples.items()})
    try:
        return check(path, size_wh, "tf32", report=lambda line: None)
    except EngineError as error:
        return f"warning: no TensorRT engine can be built of it: {error}"


def _export(args: argparse.Namespace) -> str:
    """Writes the file; returns what it was made of."""
    from instance_seg_ros.learning.export.adelaidet_checkpoint import is_adelaidet_checkpoint

    if args.model is not None:
        return _quantise_file(args)
    return (_export_imported if is_adelaidet_checkpoint(args.checkpoint) else _export_trained)(args)


def _quantise_file(args: argparse.Namespace) -> str:
    """Writes the file; returns what it was made of."""
    from instance_seg_ros.learning.export.model_writer import in_8_bits, write_model_file
    from instance_seg_ros.segmentation.model_file import read_model_info
    from instance_seg_ros.segmentation.model_location import located

    if args.int8 is None:
        raise InputError("--model is a network already; give --int8 FRAMES to write it in 8 bits")
    path = located(args.model)
    info = read_model_info(path)
    content, agreed = in_8_bits(path.read_bytes(), _frames(args.int8))
    write_model_file(content, args.out)
    return f"made of {path.name} {info.digest[:12]}, {_told(agreed)}"


def _export_trained(args: argparse.Namespace) -> str:
    """Writes the file; returns what it was made of."""
    from instance_seg_ros.learning.export.model_writer import ModelDescription, export_checkpoint
    from instance_seg_ros.learning.models.checkpoint import load_checkpoint
    from instance_seg_ros.learning.models.exported_graph import DecodingSettings

    checkpoint = load_checkpoint(args.checkpoint)
    description = ModelDescription(
        name=args.name or "tabletop_rgbd",
        version=args.version,
        class_names=checkpoint.class_names,
        score_threshold=args.score_threshold,
    )
    frames = [] if args.int8 is None else _frames(args.int8)
    agreed = export_checkpoint(checkpoint, args.out, description, DecodingSettings(), _commit(), frames)
    text = f"step {checkpoint.step}"
    return text if agreed is None else f"{text}, {_told(agreed)}"


def _frames(folder: Path) -> list[RgbdFrame]:
    """Captures, or some frames of a store."""
    from instance_seg_ros.files.captures import capture_folders, read_capture
    from instance_seg_ros.learning.datasets.labelled_frames import is_store, store_frames

    if is_store(folder):
        return [source.frame for source in store_frames(folder, _STORE_FRAMES, seed=0)]
    return [read_capture(path).frame for path in capture_folders(folder)]


def _told(agreed: Agreement) -> str:
    """An agreement as text."""
    if not agreed.instances:
        return "8 bits: the loss is not known, the float network found nothing in the frames to measure it on"
    return (
        f"8 bits: {agreed.found_share:.0%} of {agreed.instances} instances of the float network found, mean mask IoU "
        f"{agreed.mean_iou:.3f}"
    )


def _export_imported(args: argparse.Namespace) -> str:
    """Writes the file; returns what it was made of."""
    from instance_seg_ros.files.captures import capture_folders, read_capture
    from instance_seg_ros.learning.export.adelaidet import export_adelaidet_checkpoint
    from instance_seg_ros.learning.export.adelaidet_checkpoint import load_adelaidet_checkpoint
    from instance_seg_ros.learning.export.model_writer import ModelDescription

    checkpoint = load_adelaidet_checkpoint(args.checkpoint)
    description = ModelDescription(
        name=args.name or f"condinst_r{checkpoint.config.depth}",
        version=args.version,
        class_names=checkpoint.class_names,
        score_threshold=args.score_threshold,
    )
    frames = [] if args.int8 is None else [read_capture(folder).frame for folder in capture_folders(args.int8)]
    agreed = export_adelaidet_checkpoint(checkpoint, args.out, description, args.camera_size, frames)
    width, height = args.camera_size
    text = f"imported from {checkpoint.source['file']}, for {width}x{height} images"
    return text if agreed is None else f"{text}, {_told(agreed)}"


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
