"""How long an imported network takes: eager PyTorch against model files in ONNX Runtime, in turns, in one run.

python -m instance_seg_ros.export.timing CHECKPOINT MODEL.onnx [MODEL.onnx ...] --capture FOLDER
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from tabulate import tabulate

from instance_seg_ros.camera import RgbdFrame
from instance_seg_ros.config import SegmentationSettings
from instance_seg_ros.export.published_checkpoint import load_published_checkpoint
from instance_seg_ros.models.published_inference import Detector, to_published_instances
from instance_seg_ros.segmentation import load_segmenter
from instance_seg_ros.storage.captures import read_capture

COLUMNS = ("what", "median ms", "best ms", "CPU ms", "times faster")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkpoint", type=Path, help="written by `instance-seg import-weights`")
    parser.add_argument("models", type=Path, nargs="+", help="exported from it for the capture's size")
    parser.add_argument("--capture", type=Path, required=True, help="folder of one frame")
    parser.add_argument("--threads", type=int, default=2, help="of each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="after one to warm up (default: %(default)s)")
    args = parser.parse_args(arguments)

    frame = read_capture(args.capture).frame
    torch.set_num_threads(args.threads)
    candidates = {"PyTorch, eager": eager(args.checkpoint, frame)}
    settings = SegmentationSettings(backend="onnxruntime", threads=args.threads)
    for path in args.models:
        segmenter = load_segmenter(path, settings)
        candidates[f"ONNX Runtime, {path.name}"] = partial(segmenter.segment, frame)
    print(tabulate(measure(candidates, args.rounds), headers=COLUMNS, floatfmt=("", ".0f", ".0f", ".0f", ".2f")))


def eager(checkpoint: Path, frame: RgbdFrame) -> Callable[[], object]:
    """Runs the network as published, from the colour image to masks at full size.

    Raises:
        ValueError: the frame has no colour.
    """
    if frame.color_rgb is None:
        raise ValueError("the network needs colour, and the capture has none")
    size_wh = (frame.intrinsics.width, frame.intrinsics.height)
    detector = Detector(load_published_checkpoint(checkpoint).model(), size_wh)
    image = torch.from_numpy(frame.color_rgb)

    def run() -> object:
        with torch.inference_mode():
            boxes_xyxy, scores, class_ids, masks = detector(image)
            return to_published_instances(boxes_xyxy, scores, class_ids, masks, detector, size_wh)

    return run


def measure(candidates: dict[str, Callable[[], object]], rounds: int) -> list[tuple[str, float, float, float, float]]:
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
