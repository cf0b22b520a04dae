"""Print how long the tracker takes for a frame, in CPU time on one core, with tf and without.

    python scripts/time_tracker.py [--objects 8 16 60] [--frames 20] [--rounds 3]

Generated objects stand on a table, row by row, in front of a 640x480 camera that stands still, with noise; the picture
is random cells of several sizes, full of corners. The masks are the true ones. CPU time, in which a busy machine shows
least; the median over the frames of the shortest of the rounds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from time_objects import scene

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import compile_kernels
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings, TrackingSettings
from instance_seg_ros.lifting import LiftedFrame, Lifter
from instance_seg_ros.tracking import Tracker

CELLS_PX = (4, 12, 40)
RATE_HZ = 10
"""Of the frames' stamps."""
NOISE_M = 0.001
COLOR_NOISE = 3.0


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[8, 16, 60], help="in a scene (default: 8 16 60)")
    parser.add_argument("--frames", type=int, default=20, help="of each scene (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="over the frames (default: %(default)s)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    compile_kernels(print)
    lifter = Lifter(LiftingSettings())
    rows = []
    for count in args.objects:
        frames = seen(lifter, count, args.frames)
        with_tf, without = (
            np.median(np.min([times_ms(frames, pose) for _ in range(args.rounds)], axis=0))
            for pose in (Transform.identity(), None)
        )
        rows.append((len(frames[0][1]), f"{with_tf:.1f}", f"{without:.1f}"))
    print(tabulate(rows, ("objects seen", "with tf, ms", "without, ms"), tablefmt="github", disable_numparse=True))


def seen(lifter: Lifter, count: int, frames: int) -> list[tuple[RgbdFrame, Instances, LiftedFrame]]:
    """Frames of one scene, each with other noise."""
    rng = np.random.default_rng(count)
    frame, instances = scene(count, 0)
    color_rgb = pattern(rng, frame.depth_m.shape)
    result = []
    for number in range(1, frames + 1):
        depth_m = frame.depth_m + np.where(frame.depth_m > 0, rng.normal(0, NOISE_M, frame.depth_m.shape), 0)
        noisy = np.clip(color_rgb + rng.normal(0, COLOR_NOISE, color_rgb.shape), 0, 255).astype(np.uint8)
        stamp_ns = number * 1_000_000_000 // RATE_HZ
        own = replace(frame, color_rgb=noisy, depth_m=depth_m.astype(np.float32), stamp_ns=stamp_ns)
        result.append((own, instances, lifter.lift(own, instances)))
    return result


def pattern(rng: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.float64]:
    """(H, W, 3) random cells of several sizes, one over the other."""
    cells = [rng.uniform(0, 255, (size[0] // cell + 1, size[1] // cell + 1, 3)) for cell in CELLS_PX]
    wide = [
        cv2.resize(own, None, fx=cell, fy=cell, interpolation=cv2.INTER_LINEAR)[: size[0], : size[1]]
        for own, cell in zip(cells, CELLS_PX, strict=True)
    ]
    return np.asarray(np.mean(wide, axis=0))


def times_ms(frames: list[tuple[RgbdFrame, Instances, LiftedFrame]], T_fixed_camera: Transform | None) -> list[float]:
    """CPU time of the tracker for each frame but the first."""
    tracker, result = Tracker(TrackingSettings()), []
    for frame, instances, lifted in frames:
        start_s = time.process_time()
        tracker.update(frame, instances, lifted, T_fixed_camera)
        result.append(1e3 * (time.process_time() - start_s))
    return result[1:]


if __name__ == "__main__":
    main()
