"""How often wrong units and a wrong registration of depth are noticed, and how often right ones are blamed.

    instance-seg synth --out STORE --frames 120 --views 2 --width 640 --height 480 --seed 77 --color
    python scripts/plausibility.py STORE ../shared/data/real_rgbd

Each frame of the store is measured by every simulated sensor, then handed over as a driver with a fault would. Each is
judged alone, as by a camera that stands still.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.depth import decode_depth, register_depth, scale_fault
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.files.captures import capture_folders, read_capture
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS, simulate_depth
from instance_seg_ros.learning.synthetic.store import open_store
from instance_seg_ros.messages.registration import Registration

FRAMES_SHOWN = 3
"""A registration is judged after this many frames."""
FRAMES = "color", "depth"

Fault = Callable[[RgbdFrame], bool]


def main() -> None:
    """Prints a row for each fault, with a column for each source of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="scene store with colour")
    parser.add_argument("captures", type=Path, help="folder of captures")
    args = parser.parse_args()
    sources = {name: list(_generated(args.store, name)) for name in PRESETS}
    sources["captures"] = [read_capture(folder).frame for folder in capture_folders(args.captures)]
    noticed: dict[str, Counter[str]] = {name: Counter() for name in CASES}
    for source, frames in sources.items():
        for frame in frames:
            for name, is_noticed in CASES.items():
                noticed[name][source] += is_noticed(frame)
    rows = [[name, *(f"{noticed[name][source]} of {len(sources[source])}" for source in sources)] for name in CASES]
    print(tabulate(rows, headers=["noticed", *sources]))


def _generated(folder: Path, sensor: str) -> Iterator[RgbdFrame]:
    store, rng = open_store(folder), np.random.default_rng(0)
    assert store.color is not None, "generate the store with --color"
    for number in store.frames:
        depth_m = store.depth_m(number)
        height, width = depth_m.shape
        camera = Intrinsics(width, height, *store.intrinsics[number].tolist())
        measured_m = simulate_depth(depth_m, camera.fx, rng, PRESETS[sensor], store.behind_m(number))
        yield RgbdFrame(np.array(store.color[number]), measured_m, camera)


def _in_unit(unit_m: float) -> Fault:
    """16-bit depth in this unit, read as millimetres."""

    def noticed(frame: RgbdFrame) -> bool:
        raw = np.clip(np.rint(frame.depth_m / unit_m), 0, 65535).astype(np.uint16)
        return bool(scale_fault(decode_depth(raw), GripperSettings().max_opening_m)) or not raw.any()

    return noticed


def _float_millimetres(frame: RgbdFrame) -> bool:
    try:
        decode_depth(frame.depth_m * np.float32(1000))
    except ValueError:
        return True
    return False


def _registered_again(focal_ratio: float, aside_m: float) -> Fault:
    """Aligned depth that claims to be of a depth camera with this focal length and place."""

    def noticed(frame: RgbdFrame) -> bool:
        assert frame.color_rgb is not None
        again_m, pose = _moved(frame, focal_ratio, aside_m)
        registration = Registration()
        for _ in range(FRAMES_SHOWN):
            used = registration.choose(frame.color_rgb, frame.depth_m, again_m, FRAMES, pose, False)
        return used is frame.depth_m

    return noticed


def _not_aligned(focal_ratio: float, aside_m: float, told_pose: bool) -> Fault:
    """Depth of a camera beside colour's, with its true pose (which must be used) or as if it were aligned."""

    def noticed(frame: RgbdFrame) -> bool:
        assert frame.color_rgb is not None
        came_m, pose = _moved(frame, focal_ratio, aside_m)
        registration = Registration()
        for _ in range(FRAMES_SHOWN):
            if told_pose:
                registration.choose(frame.color_rgb, came_m, frame.depth_m, FRAMES, pose, False)
            else:
                registration.take_registered(frame.color_rgb, came_m)
        return bool(registration.fault)

    return noticed


def _moved(frame: RgbdFrame, focal_ratio: float, aside_m: float) -> tuple[NDArray[np.float32], Transform]:
    camera = frame.intrinsics
    other = Intrinsics(
        camera.width, camera.height, focal_ratio * camera.fx, focal_ratio * camera.fy, camera.cx, camera.cy
    )
    pose = Transform(np.eye(3), np.array([aside_m, 0, 0]))
    return register_depth(frame.depth_m, other, camera, pose), pose


CASES: dict[str, Fault] = {
    "FALSE ALARM of the unit": _in_unit(0.001),
    "16UC1 in 0.1 mm": _in_unit(0.0001),
    "16UC1 in whole metres": _in_unit(1.0),
    "32FC1 in millimetres": _float_millimetres,
    "FALSE ALARM, aligned depth": _not_aligned(1.0, 0.0, False),
    "FALSE ALARM, depth 15 mm aside with its pose": _not_aligned(1.0, 0.015, True),
    "FALSE ALARM, depth 59 mm aside with its pose": _not_aligned(1.0, 0.059, True),
    "aligned, frame_id of a camera 15 mm aside": _registered_again(1.0, 0.015),
    "aligned, frame_id of a camera 59 mm aside": _registered_again(1.0, 0.059),
    "aligned, K of the depth camera (0.7)": _registered_again(0.7, 0.0),
    "aligned, K (0.7) and frame_id (15 mm)": _registered_again(0.7, 0.015),
    "not aligned, 15 mm aside, colour's frame_id": _not_aligned(1.0, 0.015, False),
    "not aligned, 59 mm aside, colour's frame_id": _not_aligned(1.0, 0.059, False),
    "not aligned, K (0.7), colour's frame_id and K": _not_aligned(0.7, 0.0, False),
}


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
