"""Boxes of real objects whose sizes are known: those of the YCB set, as printed with it.

python -m instance_seg_ros.learning.evaluation.known_sizes CAPTURES [--predicted]

Nobody measured the poses of most real captures, but the makers of the YCB object set did measure its objects (Calli et
al., IEEE Robotics & Automation Magazine 2015, table 2). Only those are compared that a box with level and upright sides
fits, however they stand. Labels are taken as masks, so that the geometry is judged and not the network; with
`--predicted` it is both: the shipped network's masks, as far as they overlap a label by half.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.geometry import OrientedBox
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings, SegmentationSettings
from instance_seg_ros.core.status import Status, names_of
from instance_seg_ros.files.captures import LABELS_FILE, META_FILE, capture_folders, read_capture
from instance_seg_ros.lifting import Instance3D, Lifter
from instance_seg_ros.segmentation import Segmenter, load_segmenter

T = TypeVar("T")

SIZES_MM = {
    "master_chef_can": (102, 102, 139),
    "cracker_box": (60, 158, 210),
    "sugar_box": (38, 89, 175),
    "tomato_soup_can": (66, 66, 101),
    "mustard_bottle": (58, 95, 190),
    "tuna_fish_can": (85, 85, 33),
    "pudding_box": (35, 110, 89),
    "gelatin_box": (28, 85, 73),
    "potted_meat_can": (50, 97, 82),
    "bowl": (159, 159, 53),
    "bleach_cleanser": (65, 98, 250),
    "wood_block": (85, 85, 200),
    "foam_brick": (50, 75, 50),
}

BACKEND = "onnxruntime"
"""Of predicted masks: which one is the fastest may change between two runs."""
LEAST_IOU = 0.5
"""A predicted mask that overlaps a label by less is not that object's."""
COLUMNS = ("object", "captures", "true mm", "found mm", "all sides off %", "worst side off %", "status")


@dataclass(frozen=True)
class Measured:
    """One object of one capture.

    Attributes:
        name: of SIZES_MM.
        sides_mm: (3,) sides of its box, the longest first.
        bounds_mm: (2, 3) those of its inner and of its outer box.
        status: of its geometry.
    """

    name: str
    sides_mm: NDArray[np.float64]
    bounds_mm: NDArray[np.float64]
    status: Status

    @property
    def in_bounds(self) -> NDArray[np.bool_]:
        """(3,) whether the true sides are between those of both boxes."""
        true_mm = true_sides_mm(self.name)
        is_between: NDArray[np.bool_] = (self.bounds_mm[0] <= true_mm) & (true_mm <= self.bounds_mm[1])
        return is_between

    @property
    def error(self) -> NDArray[np.float64]:
        """(3,) by how much of the true sides those of the box are too long, the longest side first."""
        error: NDArray[np.float64] = self.sides_mm / true_sides_mm(self.name) - 1
        return error


def true_sides_mm(name: str) -> NDArray[np.float64]:
    """(3,) the longest first."""
    return np.sort(np.array(SIZES_MM[name], dtype=np.float64))[::-1]


@dataclass(frozen=True)
class Known:
    """A labelled object of known size.

    Attributes:
        name: of `SIZES_MM`.
        frame: of its capture.
        mask: (H, W) of its label.
        lifted: what becomes of its mask; None where it was not predicted.
    """

    name: str
    frame: RgbdFrame
    mask: NDArray[np.bool_]
    lifted: Instance3D | None


def known_objects(folder: Path, lifter: Lifter, segmenter: Segmenter | None = None) -> Iterator[Known]:
    """The objects of known size in the labelled captures of a folder.

    Args:
        segmenter: finds the masks; None: the labels are.

    Raises:
        InputError: no capture there, or a damaged one.
    """
    for path in capture_folders(folder):
        if not (path / LABELS_FILE).is_file():
            continue
        capture, names = read_capture(path), _names(path / META_FILE)
        assert capture.labels is not None
        labelled = Instances.from_labels(capture.labels)
        instances = labelled if segmenter is None else segmenter.segment(capture.frame)
        lifted = lifter.lift(capture.frame, instances).instances
        for label, mask in zip(np.unique(capture.labels[capture.labels > 0]).tolist(), labelled.masks, strict=True):
            name = names.get(label)
            if name in SIZES_MM:
                found = _overlapping(instances, mask)
                yield Known(name, capture.frame, mask, None if found is None else lifted[found])


def _overlapping(instances: Instances, mask: NDArray[np.bool_]) -> int | None:
    """The index of the instance that overlaps a mask most, None where none does by half."""
    overlaps = [float((own & mask).sum() / (own | mask).sum()) for own in instances.masks]
    best = int(np.argmax(overlaps)) if overlaps else 0
    return best if overlaps and overlaps[best] >= LEAST_IOU else None


def measured(folder: Path, lifter: Lifter, segmenter: Segmenter | None = None) -> Iterator[Measured]:
    """The objects that get a box. Arguments and errors are those of `known_objects`."""
    for known in known_objects(folder, lifter, segmenter):
        if known.lifted is not None and known.lifted.box is not None:
            bounds_mm = np.array([_sides_mm(known.lifted.inner_box), _sides_mm(known.lifted.outer_box)])
            yield Measured(known.name, _sides_mm(known.lifted.box), bounds_mm, known.lifted.status)


def _names(meta_path: Path) -> dict[int, str]:
    """What the instances of a capture are called, as far as it says so; by their labels."""
    try:
        described = json.loads(meta_path.read_text()).get("instances", ())
        return {own["id"]: own["class_name"] for own in described if {"id", "class_name"} <= own.keys()}
    except (AttributeError, TypeError) as error:
        raise InputError(f'{meta_path}: instances must be a list of {{"id", "class_name"}}: {error}') from error


def _sides_mm(box: OrientedBox | None) -> NDArray[np.float64]:
    return np.full(3, np.nan) if box is None else 1000 * np.sort(box.size_m)[::-1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each object, and the errors of those whose status is OK.

    Raises:
        SystemExit: with the reason, for captures that cannot be used.
    """
    found = found_in_captures(__doc__, arguments, measured, tuple(SIZES_MM))
    print(tabulate([_row(name, found) for name in SIZES_MM if any(own.name == name for own in found)], COLUMNS))
    for what, own in (
        ("status OK", [each for each in found if each.status == Status.OK]),
        ("flagged", [each for each in found if each.status != Status.OK]),
    ):
        if own:
            print(f"{what}: {len(own)} objects, {_errors(own)}")


def found_in_captures(
    document: str | None,
    arguments: Sequence[str] | None,
    measure: Callable[[Path, Lifter, Segmenter | None], Iterable[T]],
    names: Sequence[str],
) -> list[T]:
    """What is measured of the objects in the captures that a command line names, at least one.

    Args:
        document: of the module; its first line tells what the command is.
        names: of the objects that can be measured.

    Raises:
        SystemExit: with the reason, for captures that cannot be used.
    """
    parser = argparse.ArgumentParser(description=document.splitlines()[0] if document else None)
    parser.add_argument("captures", type=Path, help="folder of labelled captures whose meta.json names the objects")
    parser.add_argument(
        "--predicted", action="store_true", help="masks of the shipped network, not those of the labels"
    )
    options = parser.parse_args(arguments)
    try:
        segmenter = load_segmenter(None, SegmentationSettings(backend=BACKEND)) if options.predicted else None
        found = list(measure(options.captures, Lifter(LiftingSettings()), segmenter))
    except (InputError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    if not found:
        raise SystemExit(f"error: no labelled object of {options.captures} is one of {', '.join(names)}")
    return found


def _row(name: str, found: Sequence[Measured]) -> list[str]:
    own = [each for each in found if each.name == name]
    errors = np.abs([each.error for each in own])
    statuses = Counter("+".join(names_of(each.status)) or "OK" for each in own)
    return [
        name,
        str(len(own)),
        " x ".join(f"{side:.0f}" for side in true_sides_mm(name)),
        " x ".join(f"{side:.0f}" for side in np.median([each.sides_mm for each in own], axis=0)),
        f"{100 * np.median(errors):.0f}, at most {100 * errors.max():.0f}",
        f"{100 * np.median(errors.max(axis=1)):.0f}",
        ", ".join(f"{count} {status}" for status, count in statuses.most_common()),
    ]


def _errors(own: Sequence[Measured]) -> str:
    errors = 100 * np.abs([each.error for each in own])
    sides, worst = ([float(np.percentile(values, at)) for at in (50, 90)] for values in (errors, errors.max(axis=1)))
    within = 100 * float(np.mean([each.in_bounds for each in own]))
    return (
        "all sides off by {:.1f} / {:.0f} % (median / 90th percentile), the worst one by {:.0f} / {:.0f} %; "
        "{:.0f} % of the sides within their bounds"
    ).format(*sides, *worst, within)


if __name__ == "__main__":
    main()
