"""What it costs to take lens distortion out of a frame: `python scripts/rectification_cost.py`."""

from __future__ import annotations

import timeit

import cv2
import numpy as np

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.messages.lens import PLUMB_BOB, Lens, View

REPEATS = 50


def main() -> None:
    """Prints the fastest of several times for each size of image, on one core."""
    cv2.setNumThreads(1)
    for width, height in ((640, 480), (1280, 720)):
        focal, cx, cy = 0.9 * width, width / 2, height / 2
        k = (focal, 0, cx, 0, focal, cy, 0, 0, 1)
        lens = Lens(PLUMB_BOB, (-0.1, 0.02, 0, 0, 0), k, (0, 0), (1, 1))
        view = View(Intrinsics(width, height, focal, focal, cx, cy), lens)
        color_rgb, depth_m = np.zeros((height, width, 3), np.uint8), np.ones((height, width), np.float32)
        maps_s = timeit.timeit(lambda: view.depth(depth_m), number=1)  # noqa: B023 - called at once
        color_s = min(timeit.repeat(lambda: view.color(color_rgb), number=1, repeat=REPEATS))  # noqa: B023
        depth_s = min(timeit.repeat(lambda: view.depth(depth_m), number=1, repeat=REPEATS))  # noqa: B023
        print(
            f"{width}x{height}: colour {color_s * 1e3:.2f} ms, depth {depth_s * 1e3:.2f} ms, the maps, once, "
            f"{maps_s * 1e3:.0f} ms"
        )


if __name__ == "__main__":
    main()
