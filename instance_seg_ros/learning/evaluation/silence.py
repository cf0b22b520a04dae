"""What lifting is wrong about without a word: status OK, and yet not where it says, or not of the size that it says.

python -m instance_seg_ros.learning.evaluation.silence --scenes 200 --seed 1

lifts the views of `attack_views` and prints, by what leads astray and by the kind of mask, how many things are told
right, flagged, and wrong in silence.
"""

from __future__ import annotations

import argparse
import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.attack_views import MASKS, Attack, attacks
from instance_seg_ros.learning.evaluation.geometry_scenes import TrueObject
from instance_seg_ros.lifting import Instance3D, Lifter

OUTSIDE_SIGMAS, OUTSIDE_M = 3.5, 0.005
"""A centre is not where it is said to be when it is more than so many standard deviations, and so far, off."""
SIDE_M, SIDE_SHARE = 0.01, 0.2
"""A side of a box is far off by more than both of these, the second a share of the true one."""
END_M = 0.012
"""The lower end of a box is far off by more than this: so much higher or lower may a gripper go."""


class Verdict(enum.Enum):
    """On what lifting says of one object."""

    RIGHT = "right"
    FLAGGED = "flagged"
    CENTRE = "centre"
    """Status OK, and its centre is outside of what its covariance allows."""
    BOUNDED = "bounded"
    """Status OK, its centre is where it may be, and its box is far off, but bounds hold each size that is."""
    BOX = "box"
    """The same, and it is not."""

    @property
    def is_silent(self) -> bool:
        """Whether something is wrong without a word."""
        return self in (Verdict.CENTRE, Verdict.BOX)


def verdict(true: TrueObject, instance: Instance3D, T_world_camera: Transform) -> Verdict:
    """On one object."""
    if instance.status != Status.OK or instance.box is None:
        return Verdict.FLAGGED
    if is_centre_off(true, instance):
        return Verdict.CENTRE
    return box_verdict(true, instance, T_world_camera)


def is_centre_off(true: TrueObject, instance: Instance3D) -> bool:
    """Whether a centre is farther off than its covariance allows; where none is told, than `OUTSIDE_M`."""
    assert instance.centroid_m is not None
    error_m = instance.centroid_m - true.centre_m
    if np.linalg.norm(error_m) <= OUTSIDE_M:
        return False
    covariance_m2 = instance.centroid_covariance_m2
    return covariance_m2 is None or float(error_m @ np.linalg.solve(covariance_m2, error_m)) > OUTSIDE_SIGMAS**2


def box_verdict(true: TrueObject, instance: Instance3D, T_world_camera: Transform) -> Verdict:
    """On the sides of a box and its lower end alone: those that are far off count, and whether bounds hold these."""
    assert instance.box is not None
    true_m = np.array([*_sides_m(true.box), true.bottom_height_m])
    off_m = np.abs(_sides_and_end_m(instance.box, T_world_camera) - true_m)
    far = off_m > [*np.maximum(SIDE_M, SIDE_SHARE * true_m[:3]), END_M]
    if not far.any():
        return Verdict.RIGHT
    if instance.inner_box is None or instance.outer_box is None:
        return Verdict.BOX
    ends_m = [_sides_and_end_m(box, T_world_camera) for box in (instance.inner_box, instance.outer_box)]
    is_between = (np.minimum(*ends_m) <= true_m) & (true_m <= np.maximum(*ends_m))
    return Verdict.BOUNDED if is_between[far].all() else Verdict.BOX


def _sides_m(box: OrientedBox) -> list[float]:
    return [*sorted(box.size_m[:2].tolist()), float(box.size_m[2])]


def _sides_and_end_m(box: OrientedBox, T_world_camera: Transform) -> NDArray[np.float64]:
    return np.array([*_sides_m(box), T_world_camera.apply(box.corners_m)[:, 2].min()])


@dataclass(frozen=True)
class Attacked:
    """One view of an attack.

    Attributes:
        shape, cause, mask, elevation_deg: what led astray; see `Attack`.
        verdict: on what lifting said.
        is_centre_off: whatever its status.
    """

    shape: str
    cause: str
    mask: str
    elevation_deg: float
    verdict: Verdict
    is_centre_off: bool


def attacked(scenes: Iterable[Attack], lifter: Lifter, masks: Sequence[str] = tuple(MASKS)) -> Iterator[Attacked]:
    """Every scene under each of the masks."""
    for attack in scenes:
        (true,) = attack.scene.objects
        for name in masks:
            instances = Instances.from_labels(attack.mask(name).astype(np.uint16))
            (instance,) = lifter.lift(attack.scene.frame, instances).instances
            off = instance.box is not None and is_centre_off(true, instance)
            own = verdict(true, instance, attack.scene.T_world_camera)
            yield Attacked(true.family, attack.cause, name, attack.elevation_deg, own, off)


COLUMNS = (
    *("", "views", "OK and right", "flagged", "of these the centre is outside"),
    *("box off, within its bounds", "silent: centre", "silent: box"),
)


def table(found: Sequence[Attacked]) -> str:
    """Of all, by cause, by mask, by elevation and by shape."""

    def row(name: str, own: Sequence[Attacked]) -> tuple[str | int, ...]:
        count = Counter(each.verdict for each in own)
        outside = sum(each.is_centre_off for each in own if each.verdict is Verdict.FLAGGED)
        flagged = count[Verdict.FLAGGED], outside
        others = (count[each] for each in (Verdict.BOUNDED, Verdict.CENTRE, Verdict.BOX))
        return name, len(own), count[Verdict.RIGHT], *flagged, *others

    groups = {
        "": lambda each: "all",
        "cause": lambda each: each.cause,
        "mask": lambda each: f"mask {each.mask}",
        "elevation": lambda each: (
            f"seen from {10 * int(each.elevation_deg // 10)} to {10 * int(each.elevation_deg // 10) + 10} degrees above"
        ),
        "shape": lambda each: each.shape,
    }
    rows = [
        row(value, [each for each in found if group(each) == value])
        for group in groups.values()
        for value in sorted({group(each) for each in found}, key=_by_number)
    ]
    return tabulate(rows, COLUMNS)


def _by_number(name: str) -> tuple[str, float]:
    """So that 5 comes before 10."""
    words = name.split()
    first = next((index for index, word in enumerate(words) if word.isdigit()), len(words))
    return " ".join(words[:first]), float(words[first]) if first < len(words) else 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=int, default=200, help="each under all masks (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the scenes (default: %(default)s)")
    options = parser.parse_args(arguments)
    scenes = tqdm(attacks(options.scenes, options.seed), "attacks", options.scenes, unit="scene", leave=False)
    found = list(attacked(scenes, Lifter(LiftingSettings())))
    print(table(found))
    print(f"{options.scenes} scenes of seed {options.seed}, each under {len(MASKS)} masks")


if __name__ == "__main__":
    main()
