"""How long model files take on each backend, in turns in one run, beside the eager network where one is given.

python -m instance_seg_ros.commands.bench_models [MODEL.onnx ...] [--device cuda] [--checkpoint IMPORTED.pt]
    [--capture FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from instance_seg_ros.commands.helpers.pipeline_options import parse_count, parse_size_wh
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.config import SegmentationSettings
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.export.adelaidet_checkpoint import load_adelaidet_checkpoint
from instance_seg_ros.learning.models.adelaidet_inference import Detector, to_adelaidet_instances
from instance_seg_ros.segmentation import default_model_path, load_segmenter, read_model_info
from instance_seg_ros.segmentation.accelerators import GPU_BACKENDS, obstacle_of
from instance_seg_ros.segmentation.network import network_inputs
from instance_seg_ros.segmentation.runtimes import pytorch_backend
from instance_seg_ros.segmentation.runtimes.cpu_choice import installed_cpu_backends
from instance_seg_ros.segmentation.runtimes.fixed_sizes import frozen_model
from instance_seg_ros.segmentation.runtimes.pytorch_backend import PyTorchNetwork
from instance_seg_ros.segmentation.runtimes.torch_program import TorchProgram
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter

COLUMNS = ("what", "median ms", "best ms", "CPU ms", "times faster")
CANDIDATES = Mapping[str, Callable[[], object]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, and what could not be measured.

    Raises:
        SystemExit: with the reason, for options or files that cannot be used.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="A row with a backend's name takes a camera's frame and gives instances with masks of the camera's "
        "size; 'network' rows leave out the masks' resizing on the CPU. Times faster is against the first row of the "
        "same model.",
    )
    parser.add_argument("models", type=Path, nargs="*", help="model files (default: the one that is shipped)")
    parser.add_argument(
        "--checkpoint", type=Path, help="written by `instance-seg import-weights`: adds its network, run eagerly"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--capture", type=Path, help="folder of one frame")
    source.add_argument(
        "--size", type=parse_size_wh, default=(640, 480), metavar="WxH", help="of a made-up frame (default: 640x480)"
    )
    parser.add_argument("--threads", type=parse_count, default=2, help="of the CPU, for each (default: %(default)s)")
    parser.add_argument("--rounds", type=parse_count, default=5, help="after one to warm up (default: %(default)s)")
    args = parser.parse_args(arguments)
    missing = pytorch_backend.obstacle() if args.device == "cuda" else None
    if missing is not None:
        parser.error(missing)
    try:
        _print_tables(args)
    except (InputError, OSError) as error:
        parser.error(str(error))


def _print_tables(args: argparse.Namespace) -> None:
    frame = made_up_frame(*args.size) if args.capture is None else _captured(args.capture)
    torch.set_num_threads(args.threads)
    unmeasured: list[str] = []
    for path in args.models or [default_model_path()]:
        candidates: dict[str, Callable[[], object]] = {}
        if args.checkpoint is not None:
            candidates["eager network"] = eager(args.checkpoint, frame, args.device)
        if args.device == "cuda":
            candidates |= on_gpu(path, frame, unmeasured)
        else:
            candidates |= on_cpu(path, frame, args.threads)
        rows = measure(candidates, args.rounds)
        print(f"{path.name}, {frame.intrinsics.width}x{frame.intrinsics.height}, {_device_name(args.device)}")
        print(tabulate(rows, headers=COLUMNS, floatfmt=("", ".1f", ".1f", ".1f", ".2f")), end="\n\n")
    for line in dict.fromkeys(unmeasured):
        print(f"not measured: {line}")


def made_up_frame(width: int, height: int) -> RgbdFrame:
    """Twelve blocks on a table, seen from above: how long a frame takes depends on its contents only a little."""
    depth_m = np.full((height, width), 0.9, dtype=np.float32)
    for row in range(3):
        for column in range(4):
            top, left = (4 * row + 1) * height // 13, (4 * column + 1) * width // 17
            depth_m[top : top + 3 * height // 13, left : left + 3 * width // 17] = 0.84
    color_rgb = np.where(depth_m[..., None] < 0.9, np.uint8(180), np.uint8(90)).repeat(3, axis=2)
    focal_px = 0.95 * width
    return RgbdFrame(color_rgb, depth_m, Intrinsics(width, height, focal_px, focal_px, width / 2, height / 2))


def _captured(folder: Path) -> RgbdFrame:
    from instance_seg_ros.files.captures import read_capture

    return read_capture(folder).frame


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def eager(checkpoint: Path, frame: RgbdFrame, device: str) -> Callable[[], object]:
    """Runs an imported network as AdelaiDet does, from the colour image to masks at full size.

    Raises:
        InputError: the checkpoint cannot be used, or the frame has no colour.
    """
    if frame.color_rgb is None:
        raise InputError("the network needs colour, and the capture has none")
    size_wh = (frame.intrinsics.width, frame.intrinsics.height)
    detector = Detector(load_adelaidet_checkpoint(checkpoint).model(), size_wh).to(device)
    image = torch.from_numpy(np.array(frame.color_rgb))

    def run() -> object:
        with torch.inference_mode():
            boxes_xyxy, scores, class_ids, masks = detector(image.to(device))
            return to_adelaidet_instances(boxes_xyxy, scores, class_ids, masks, detector, size_wh).masks.cpu()

    return run


def on_cpu(path: Path, frame: RgbdFrame, threads: int) -> dict[str, Callable[[], object]]:
    """A model file on the backends for the CPU that are installed, and on PyTorch."""
    candidates: dict[str, Callable[[], object]] = {}
    for backend in installed_cpu_backends():
        segmenter = load_segmenter(path, SegmentationSettings(backend=backend, threads=threads))
        candidates[segmenter.backend] = partial(segmenter.segment, frame)
    for precision in ("fp32", "bf16"):
        segmenter = _pytorch(path, frame, precision, "cpu")[1]
        candidates[segmenter.backend] = partial(segmenter.segment, frame)
    return candidates


def on_gpu(path: Path, frame: RgbdFrame, unmeasured: list[str]) -> dict[str, Callable[[], object]]:
    """A model file on every backend for GPUs: PyTorch first operator by operator, then as CUDA graphs, the others last.

    Args:
        unmeasured: gets a line for each backend that does not run here.
    """
    candidates: dict[str, Callable[[], object]] = {"operator by operator, network": _one_by_one(path, frame, "cuda")}
    for precision in ("fp32", "tf32", "bf16", "fp16"):
        network, segmenter = _pytorch(path, frame, precision, "cuda")
        inputs = network_inputs(frame, network.input_names)
        candidates[f"{network.backend}, network"] = partial(network, inputs)
        candidates[network.backend] = partial(segmenter.segment, frame)
    for backend in GPU_BACKENDS:
        for precision in ("tf32", "fp16"):
            obstacle = obstacle_of(backend, precision)
            if obstacle is not None:
                unmeasured.append(f"{backend}: {obstacle}")
            elif backend != "pytorch":
                segmenter = load_segmenter(path, SegmentationSettings(backend=backend, precision=precision))
                try:
                    segmenter.segment(frame)  # what it prepares with the first frame
                except InputError as error:
                    unmeasured.append(f"{backend}, {precision}: {error}")
                else:
                    candidates[f"{backend}, {precision}"] = partial(segmenter.segment, frame)
    return candidates


def _pytorch(path: Path, frame: RgbdFrame, precision: str, device: str) -> tuple[PyTorchNetwork, NetworkSegmenter]:
    network = PyTorchNetwork(path, _shapes(path, frame), precision, device)
    return network, NetworkSegmenter(network, read_model_info(path), SegmentationSettings())


def _one_by_one(path: Path, frame: RgbdFrame, device: str) -> Callable[[], object]:
    """The operators of a model file in float32, launched one by one, between upload and download."""
    shapes = _shapes(path, frame)
    program = TorchProgram(frozen_model(path, shapes), device)
    inputs = {name: np.array(array) for name, array in network_inputs(frame, tuple(shapes)).items()}

    def run() -> object:
        outputs = program({name: torch.from_numpy(array).to(device) for name, array in inputs.items()})
        return {name: value.cpu() for name, value in outputs.items()}

    return run


def _shapes(path: Path, frame: RgbdFrame) -> dict[str, tuple[int, ...]]:
    from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeSession, session_options

    session = OnnxRuntimeSession(str(path), session_options(threads=1), ["CPUExecutionProvider"])
    return {name: array.shape for name, array in network_inputs(frame, tuple(session.inputs)).items()}


def measure(candidates: CANDIDATES, rounds: int) -> list[tuple[str, float, float, float, float]]:
    """Rows of the table; the candidates take turns, so that what else the machine does strikes all of them."""
    wall_ms: dict[str, list[float]] = {name: [] for name in candidates}
    cpu_ms: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds + 1):
        for name, run in candidates.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            wall_ms[name].append(1e3 * (time.perf_counter() - wall))
            cpu_ms[name].append(1e3 * (time.process_time() - cpu))
    medians = {name: statistics.median(values[1:]) for name, values in wall_ms.items()}
    first = next(iter(medians.values()))
    return [
        (name, medians[name], min(wall_ms[name][1:]), statistics.median(cpu_ms[name][1:]), first / medians[name])
        for name in candidates
    ]


if __name__ == "__main__":
    main()
