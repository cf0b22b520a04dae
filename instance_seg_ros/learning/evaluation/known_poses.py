"""Centres of real objects of which the solid is known: boxes and cans of the YCB set, laid through their points.

python -m instance_seg_ros.learning.evaluation.known_poses CAPTURES [--predicted]

Nobody measured where most real captures' objects are, but their sizes are printed with them (`known_sizes`). A solid of
that size is laid through the points of the object's mask, so that all lie on it and nothing is seen where it is: two or
three sides of a box leave it no freedom. Lifting knows neither the size nor the kind. How far the camera itself is off
moves both alike, so that it is not told. Labels are taken as masks: it is the geometry that is judged; with
`--predicted` the shipped network's masks, but the solid is laid through the label's points all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation
from tabulate import tabulate
from tqdm import tqdm

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import FloatArray, Transform
from instance_seg_ros.core.status import Status, names_of
from instance_seg_ros.learning.evaluation.known_sizes import SIZES_MM, found_in_captures, known_objects
from instance_seg_ros.lifting import Instance3D, Lifter
from instance_seg_ros.segmentation import Segmenter

CANS = ("master_chef_can", "tomato_soup_can", "tuna_fish_can")
BOXES = ("cracker_box", "sugar_box", "pudding_box", "gelatin_box", "wood_block", "foam_brick")
MOST_MISFIT = 0.3
"""A solid that fits worse is not where the object is: its points lie off it by more than noise, or it stands in what is
seen to be free."""
COLUMNS = ("object", "fitted", "centre mm", "along the view mm", "box centre mm", "in sigmas", "status")

_POINTS, _SAMPLES = 500, 700
_RIM_PX = 5
"""Side of the square by which the mask is eroded for its points, and dilated for what may be seen beside it."""
_FEWEST_POINTS = 60
_NOISE_M, _NOISE_M_AT_1M = 0.002, 0.0015
_FREE_M, _FREE_WEIGHT = 0.008, 15.0
_BENT, _WORST = 2.0, 20.0
"""Squared up to the first standard deviation, linear up to the second, and no more (Huber, clipped)."""
_YAWS, _CHOSEN, _APART = 12, 10, 0.4
_ROUGH, _FINE = (0.15, 0.015, 500), (0.05, 0.005, 900)
"""Radians and metres of the first simplex, and the most evaluations."""


@dataclass(frozen=True)
class Solid:
    """A box or an upright can about the origin.

    Attributes:
        half_m: (3,) half of its sides; of a can its radius, twice, and half of its height.
        is_can: whether its sections across z are circles.
    """

    half_m: FloatArray
    is_can: bool

    @classmethod
    def of(cls, name: str) -> Solid:
        """That of an object of `BOXES` or `CANS`."""
        return cls(np.array(SIZES_MM[name]) / 2000, name in CANS)

    def distance_m(self, points_m: FloatArray) -> FloatArray:
        """(N,) of points (N, 3) from its surface, below 0 inside."""
        beyond_m = np.abs(points_m) - self.half_m
        if self.is_can:
            beyond_m = np.stack([np.hypot(points_m[:, 0], points_m[:, 1]) - self.half_m[0], beyond_m[:, 2]], axis=1)
        outside_m = np.linalg.norm(np.maximum(beyond_m, 0), axis=1)
        return np.asarray(outside_m + np.minimum(beyond_m.max(axis=1), 0))

    def samples(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Points on its surface, evenly spread, and their normals, (N, 3) each."""
        if not self.is_can:
            areas = np.prod(self.half_m) / self.half_m
            axis = rng.choice(3, _SAMPLES, p=areas / areas.sum())
            normals = np.eye(3)[axis] * rng.choice([-1.0, 1.0], _SAMPLES)[:, None]
            inside_m = rng.uniform(-1, 1, (_SAMPLES, 3)) * self.half_m
            return np.where(normals != 0, normals * self.half_m, inside_m), normals
        radius_m, _, half_m = self.half_m.tolist()
        angles = rng.uniform(0, 2 * np.pi, _SAMPLES)
        circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(_SAMPLES)], axis=1)
        on_side = rng.random(_SAMPLES) < 2 * half_m / (2 * half_m + radius_m)
        ends = np.zeros((_SAMPLES, 3))
        ends[:, 2] = rng.choice([-1.0, 1.0], _SAMPLES)
        side_m = radius_m * circle + rng.uniform(-half_m, half_m, _SAMPLES)[:, None] * [0, 0, 1]
        end_m = radius_m * np.sqrt(rng.random(_SAMPLES))[:, None] * circle + half_m * ends
        return np.where(on_side[:, None], side_m, end_m), np.where(on_side[:, None], circle, ends)


class _Seen:
    """What was measured of an object and around it, and how badly a solid fits to that."""

    def __init__(self, solid: Solid, frame: RgbdFrame, mask: NDArray[np.bool_], rng: np.random.Generator) -> None:
        square = np.ones((_RIM_PX, _RIM_PX), np.uint8)
        core = cv2.erode(mask.view(np.uint8), square) > 0
        own_m = frame.points_m[(core if core.any() else mask) & (frame.depth_m > 0)].astype(np.float64)
        near = np.linalg.norm(own_m - np.median(own_m, axis=0), axis=1) < 2.2 * np.linalg.norm(solid.half_m)
        own_m = own_m[near]
        self.points_m = own_m[rng.choice(len(own_m), min(_POINTS, len(own_m)), replace=False)]
        self.solid, self.camera, self.depth_m = solid, frame.intrinsics, frame.depth_m
        self.beside = cv2.dilate(mask.view(np.uint8), square) == 0
        self.noise_m = _NOISE_M + _NOISE_M_AT_1M * float(np.median(own_m[:, 2])) ** 2
        self.samples_m, self.normals = solid.samples(rng)

    def misfit(self, pose: FloatArray) -> float:
        """Of a pose (6,), rotation vector and translation: how far points are off, and how much is in free space."""
        rotation = Rotation.from_rotvec(pose[:3]).as_matrix()
        off = np.abs(self.solid.distance_m((self.points_m - pose[3:]) @ rotation)) / self.noise_m
        off_points = np.where(off < _BENT, off**2 / 2, _BENT * (off - _BENT / 2)).clip(0, _WORST).mean()
        surface_m, normals = self.samples_m @ rotation.T + pose[3:], self.normals @ rotation.T
        to_camera = (normals * surface_m).sum(axis=1) < -0.1 * np.linalg.norm(surface_m, axis=1)
        x_m, y_m, z_m = surface_m[to_camera].T
        columns = np.rint(x_m / z_m * self.camera.fx + self.camera.cx).astype(int)
        rows = np.rint(y_m / z_m * self.camera.fy + self.camera.cy).astype(int)
        inside = (columns >= 0) & (rows >= 0) & (columns < self.camera.width) & (rows < self.camera.height)
        at = rows[inside], columns[inside]
        free = np.count_nonzero((self.depth_m[at] > z_m[inside] + _FREE_M) & self.beside[at])
        return float(off_points + _FREE_WEIGHT * free / (0.4 * _SAMPLES))

    def starts(self, rng: np.random.Generator) -> list[FloatArray]:
        """Poses with each axis of the solid along each of the largest planes' normals, turned about that in steps."""
        poses = []
        middle_m = np.median(self.points_m, axis=0)
        for normal in self._normals(rng):
            normal = -normal if normal @ middle_m > 0 else normal
            across = np.cross(normal, [1.0, 0.0, 0.0])
            across /= np.linalg.norm(across)
            for axis in range(3):
                for yaw in np.arange(_YAWS) * np.pi / _YAWS:
                    first = across * np.cos(yaw) + np.cross(normal, across) * np.sin(yaw)
                    columns = np.empty((3, 3))
                    columns[axis], columns[(axis + 1) % 3], columns[(axis + 2) % 3] = (
                        *(normal, first),
                        np.cross(normal, first),
                    )
                    turn = Rotation.from_matrix(columns.T).as_rotvec()
                    poses.append(np.r_[turn, middle_m - 0.8 * self.solid.half_m[axis] * normal])
        return poses

    def _normals(self, rng: np.random.Generator) -> Iterator[FloatArray]:
        """Of the two planes of the most points (RANSAC), and the direction in which all spread least."""
        rest_m = self.points_m
        for _ in range(2):
            if len(rest_m) < _FEWEST_POINTS // 2:
                break
            corners_m = rest_m[np.argsort(rng.random((150, len(rest_m))), axis=1)[:, :3]]
            normals = np.cross(corners_m[:, 1] - corners_m[:, 0], corners_m[:, 2] - corners_m[:, 0])
            normals /= np.linalg.norm(normals, axis=1)[:, None] + 1e-12
            on_it = np.abs((rest_m[None] - corners_m[:, :1]) @ normals[:, :, None])[..., 0] < 1.5 * self.noise_m
            best = int(on_it.sum(axis=1).argmax())
            yield normals[best]
            rest_m = rest_m[~on_it[best]]
        yield np.linalg.svd(self.points_m - self.points_m.mean(axis=0))[2][2]


def fitted(solid: Solid, frame: RgbdFrame, mask: NDArray[np.bool_], seed: int = 0) -> tuple[Transform, float] | None:
    """Where a solid most likely is of which a mask (H, W) shows a part, and how badly it fits; None for a few points.

    The misfit is 0.04 to 0.2 where points lie on it but for noise, and beyond `MOST_MISFIT` for what is something else.
    The simplex method of Nelder and Mead (1965), from the best of a few hundred starts.
    """
    rng = np.random.default_rng(seed)
    if np.count_nonzero(mask & (frame.depth_m > 0)) < _FEWEST_POINTS:
        return None
    seen = _Seen(solid, frame, mask, rng)
    if len(seen.points_m) < _FEWEST_POINTS:
        return None
    starts = sorted(seen.starts(rng), key=seen.misfit)
    chosen: list[FloatArray] = []
    for start in starts:
        turns = [Rotation.from_rotvec(start[:3]) * Rotation.from_rotvec(other[:3]).inv() for other in chosen]
        if len(chosen) < _CHOSEN and all(turn.magnitude() > _APART for turn in turns):
            chosen.append(start)
    best = min((_descended(seen, start, *_ROUGH) for start in chosen), key=seen.misfit)
    best = _descended(seen, best, *_FINE)
    rotation = np.asarray(Rotation.from_rotvec(best[:3]).as_matrix(), dtype=np.float64)
    return Transform(rotation, np.asarray(best[3:], dtype=np.float64)), seen.misfit(best)


def _descended(seen: _Seen, start: FloatArray, turn: float, step_m: float, evaluations: int) -> FloatArray:
    """The pose that the simplex method finds from a start."""
    simplex = np.vstack([start, start + np.diag([turn] * 3 + [step_m] * 3)])
    options = {"initial_simplex": simplex, "maxfev": evaluations, "xatol": 1e-5, "fatol": 1e-5}
    return np.asarray(minimize(seen.misfit, start, method="Nelder-Mead", options=options).x)


SIGMAS_OF_90 = 2.5
"""Of errors along all three axes together."""


@dataclass(frozen=True)
class Placed:
    """One object of one capture.

    Attributes:
        name: of `BOXES` or `CANS`.
        error_m: of its volume's centre.
        away_m: of that along the line of sight; below 0 where lifting puts it nearer.
        box_error_m: of its box's centre.
        sigmas: the error in standard deviations of what lifting says of it, over all three axes; see `SIGMAS_OF_90`.
        status: of its geometry.
    """

    name: str
    error_m: float
    away_m: float
    box_error_m: float
    sigmas: float
    status: Status


def placed(name: str, T_camera_solid: Transform, instance: Instance3D) -> Placed | None:
    """How far lifting is off; None where it gives no centre."""
    if instance.centroid_m is None or instance.box is None or instance.centroid_covariance_m2 is None:
        return None
    true_m = T_camera_solid.translation_m
    error_m = instance.centroid_m - true_m
    return Placed(
        name,
        float(np.linalg.norm(error_m)),
        float(error_m @ true_m / np.linalg.norm(true_m)),
        float(np.linalg.norm(instance.box.T_camera_box.translation_m - true_m)),
        float(np.sqrt(error_m @ np.linalg.solve(instance.centroid_covariance_m2, error_m))),
        instance.status,
    )


def measured(folder: Path, lifter: Lifter, segmenter: Segmenter | None = None) -> Iterator[tuple[str, Placed | None]]:
    """The objects of `BOXES` and `CANS`; None where none fits or is lifted.

    Arguments and errors are those of `known_objects`.
    """
    for known in tqdm(known_objects(folder, lifter, segmenter), unit="object", leave=False):
        if known.name in BOXES or known.name in CANS:
            fit = fitted(Solid.of(known.name), known.frame, known.mask)
            if fit is None or fit[1] >= MOST_MISFIT or known.lifted is None:
                yield known.name, None
            else:
                yield known.name, placed(known.name, fit[0], known.lifted)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each object, and the errors of those whose status is OK, and of the others.

    Raises:
        SystemExit: with the reason, for captures that cannot be used.
    """
    found = found_in_captures(__doc__, arguments, measured, (*BOXES, *CANS))
    names = [name for name in (*BOXES, *CANS) if any(own_name == name for own_name, _ in found)]
    print(tabulate([_row(name, [own for own_name, own in found if own_name == name]) for name in names], COLUMNS))
    own = [each for _, each in found if each is not None]
    for what, some in (
        ("status OK", [each for each in own if each.status == Status.OK]),
        ("flagged", [each for each in own if each.status != Status.OK]),
        ("all", own),
    ):
        if some:
            print(
                f"{what}: {len(some)} objects, centre off by {_spread([1e3 * each.error_m for each in some])} mm "
                f"(median / 90th percentile), {100 * np.mean([each.sigmas <= SIGMAS_OF_90 for each in some]):.0f} % "
                "where 90 % are said to be"
            )


def _row(name: str, all_of: Sequence[Placed | None]) -> list[str]:
    own = [each for each in all_of if each is not None]
    count = f"{len(own)} of {len(all_of)}"
    if not own:
        return [name, count]
    columns = [(1e3 * each.error_m, 1e3 * each.away_m, 1e3 * each.box_error_m, each.sigmas) for each in own]
    statuses = sorted({"+".join(names_of(each.status)) or "OK" for each in own})
    return [name, count, *map(_spread, zip(*columns, strict=True)), ", ".join(statuses)]


def _spread(values: Sequence[float]) -> str:
    median, high = np.percentile(values, [50, 90])
    return f"{median:.1f} / {high:.1f}"


if __name__ == "__main__":
    main()
