"""Print how well corners of real pictures tell how the camera moved.

    python scripts/landmarks_on_captures.py CAPTURES [--seed 1]

Each capture (see docs/frames_and_conventions.md) is warped by its own depth to what a camera would see after motions of
several sizes, with other noise and brightness, so that the motion is known exactly. Per size: how often the corners,
and of a few the depth, tell a motion (of `away`, how often they should not: the picture is that of another capture),
how often one that is more than 50 mm off, and how far off a point 0.9 m ahead of the camera is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, median_filter
from tabulate import tabulate

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.files.captures import capture_folders, read_capture
from instance_seg_ros.tracking.landmarks import LandmarkFinder, Landmarks, motion_between
from instance_seg_ros.tracking.maps import Map, is_contradicted, view_of

MOTIONS = {
    "none": (0.0, 0.0, 0.0),
    "between frames": (0.01, 1.0, 0.0),
    "jerk": (0.08, 5.0, 5.0),
    "back, 20 degrees aside": (0.2, 20.0, 5.0),
    "rolled": (0.05, 5.0, 60.0),
}
"""Name: how far the camera moves (m), how far it turns to look at the same point from there, and rolls (degrees)."""
AWAY = "away"
AHEAD_M = np.array([0.0, 0.0, 0.9])
WRONG_M = 0.05
DEPTH_NOISE = 0.002
"""Standard deviation of depth at 1 m; it grows with the square of the distance."""
COLOR_NOISE, GAIN = 3.0, (0.85, 1.15)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, help="a folder of captures")
    parser.add_argument("--seed", type=int, default=1, help="of the motions and the noise (default: %(default)s)")
    args = parser.parse_args()
    rng, finder = np.random.default_rng(args.seed), LandmarkFinder()
    frames = [read_capture(folder).frame for folder in capture_folders(args.captures)]
    known = [finder.landmarks_of(frame) for frame in frames]
    maps = [Map(1, 1, Transform.identity(), view_of(frame)) for frame in frames]
    rows: list[tuple[object, ...]] = []
    for name, (shift_m, turn_deg, roll_deg) in MOTIONS.items():
        errors_m, agree = [], []
        for frame, landmarks, first in zip(frames, known, maps, strict=True):
            T_first_second = motion(rng, frame, shift_m, turn_deg, roll_deg)
            second = seen_from(rng, frame, T_first_second)
            told, count = motion_between(finder.landmarks_of(second), landmarks, Transform.identity())
            agree.append(count)
            if count and not is_contradicted(first, told, second):
                errors_m.append(float(np.linalg.norm(told.apply(AHEAD_M) - T_first_second.apply(AHEAD_M))))
        rows.append((name, *_cells(len(frames), errors_m), f"{np.median(agree):.0f}"))
    by_chance = [motion_between(first, second, Transform.identity())[1] for first, second in unlike(known)]
    rows.append((AWAY, len(by_chance), np.count_nonzero(by_chance), "", "", max(by_chance)))
    columns = ("motion", "pairs", "told", f"more than {1000 * WRONG_M:.0f} mm off", "mm off, median / 90 %", "agree")
    print(tabulate(rows, columns, tablefmt="github", disable_numparse=True))


def _cells(pairs: int, errors_m: list[float]) -> tuple[int, int, int, str]:
    median, high = 1e3 * np.percentile(errors_m or [np.nan], [50, 90])
    wrong = int(np.count_nonzero(np.array(errors_m) > WRONG_M))
    return pairs, len(errors_m), wrong, f"{median:.1f} / {high:.1f}"


def unlike(known: list[Landmarks]) -> list[tuple[Landmarks, Landmarks]]:
    """Pairs of views of different scenes: those next to each other may be of one."""
    half = len(known) // 2
    return [(known[index], known[(index + half) % len(known)]) for index in range(len(known))]


def motion(rng: np.random.Generator, frame: RgbdFrame, shift_m: float, turn_deg: float, roll_deg: float) -> Transform:
    """The pose of the second camera in the first: a turn about the middle of the scene, a shift, a roll."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    axis = np.array([*rng.normal(size=2), 0.0])
    axis *= np.radians(turn_deg) / 2 / np.linalg.norm(axis)
    middle_m = np.array([0.0, 0.0, float(np.median(frame.depth_m[frame.depth_m > 0]))])
    turn = Transform.from_quaternion([*axis, 1.0], np.zeros(3))
    roll = np.radians(roll_deg) / 2 * rng.choice([-1, 1])
    about_z = Transform.from_quaternion([0.0, 0.0, np.sin(roll), np.cos(roll)], np.zeros(3))
    return Transform(turn.rotation, middle_m - turn.apply(middle_m) + shift_m * direction) @ about_z


def seen_from(rng: np.random.Generator, frame: RgbdFrame, T_first_second: Transform) -> RgbdFrame:
    """What the second camera sees; what the first one did not see is drawn out of what is beside it."""
    assert frame.color_rgb is not None
    camera = frame.intrinsics
    measured = frame.depth_m > 0
    nearest = distance_transform_edt(~measured, return_distances=False, return_indices=True)
    first_m = frame.depth_m[tuple(nearest)].astype(np.float64)
    points_m = np.concatenate([camera.rays * first_m[..., None], first_m[..., None]], axis=2).reshape(-1, 3)
    points_m = T_first_second.inverse().apply(points_m)
    points_m = points_m[points_m[:, 2] > 1e-3]
    depth_m = _drawn(camera.project(points_m), points_m[:, 2], frame.depth_m.shape)
    holes = depth_m == np.inf
    nearest = distance_transform_edt(holes, return_distances=False, return_indices=True)
    depth_m = median_filter(depth_m[tuple(nearest)], 3)
    second_m = np.concatenate([camera.rays * depth_m[..., None], depth_m[..., None]], axis=2).reshape(-1, 3)
    xy = camera.project(T_first_second.apply(second_m)).astype(np.float32).reshape(*depth_m.shape, 2)
    color = cv2.remap(frame.color_rgb, xy, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float64)
    color = color * rng.uniform(*GAIN) + rng.normal(0, COLOR_NOISE, color.shape)
    seen = cv2.remap(measured.astype(np.uint8), xy, None, cv2.INTER_NEAREST) > 0
    noisy_m = depth_m + rng.normal(0, DEPTH_NOISE, depth_m.shape) * depth_m**2
    return RgbdFrame(
        np.clip(np.rint(color), 0, 255).astype(np.uint8), np.where(seen, noisy_m, 0).astype(np.float32), camera
    )


def _drawn(
    xy: NDArray[np.floating], points_depth_m: NDArray[np.floating], size: tuple[int, ...]
) -> NDArray[np.float64]:
    """(H, W) depth of the nearest of the points at each pixel, inf where there is none."""
    depth_m = np.full(size, np.inf)
    column, row = np.rint(xy).astype(np.int64).T
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    np.minimum.at(depth_m, (row[inside], column[inside]), points_depth_m[inside])
    return depth_m


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
