"""Fit the network that says where the centre of an object most likely is of which a part is hidden, and its sides.

    python scripts/fit_likely_centres.py [--scenes 300] [--seeds 5001 5002 ...] [--out FILE]

Generated scenes whose truth is exact (those of `instance-seg eval --geometry`, more of them with much that is hidden)
are lifted, as seen with plain noise, and as many others through a camera of its own each; and the network learns how
far the centres of what was seen in part are from where hidden ends put them, and the sides of boxes from where the
objects end. Before that it prints what it does for scenes, and for families of shapes, that it was not fitted on, a
quarter of them at a time: errors of the centre in mm (median / 90th percentile), and the shares of these and of the
sides along the axes of the view that intervals and bounds hold. PyTorch is needed, a core and 0.1 s for each scene.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from centre_networks import (
    FOLDS,
    HELD,
    SIDES_AT_FIRST,
    Samples,
    Sizes,
    errors_mm,
    fitted_on_others,
    folds_of_families,
    in_sigmas,
    samples_of,
    sides_in_halves,
    sides_loss,
    targets_of,
    told,
    trained,
    widened,
    with_deviations,
)
from tabulate import tabulate
from torch import nn

from instance_seg_ros.learning.evaluation.geometry_scenes import ANY_SENSOR, PLAIN_SENSOR, TrueScene, geometry_scenes
from instance_seg_ros.lifting import likely_centre
from instance_seg_ros.lifting.likely_centre import LikelyCentres

KINDS = ("tote", "crowd", "stack", "border", "tote", "crowd", "stack", "shelf", "border", "two tables")
THROUGH_A_CAMERA = 1000
"""Added to the seeds of scenes that are seen through a camera."""
HIDDEN, DROPPED, BATCH, UNIT_M, SIDES = 128, 0.3, 1024, 0.02, 0.5
"""The last weighs what is said of sides, beside what is said of centres."""
DEVIATION_AT_FIRST = -1.0
GROUPS = {"half hidden": (0.35, 0.65), "more hidden": (0.0, 0.35), "less hidden": (0.65, 0.95)}


def main() -> None:
    """Prints the table, and writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=300, help="of each seed (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5001, 5010)), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=likely_centre.WEIGHTS, help="file (default: the package's)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    fit_and_save(samples_of(scenes(args.scenes, args.seeds), "likely_centre"), args.out)


def scenes(count: int, seeds: list[int]) -> Iterator[TrueScene]:
    """So many of each seed, with plain noise and through cameras."""
    plain = (geometry_scenes(count, seed, KINDS, sensor=PLAIN_SENSOR) for seed in seeds)
    seen = (geometry_scenes(count, seed + THROUGH_A_CAMERA, KINDS, sensor=ANY_SENSOR) for seed in seeds)
    return chain.from_iterable(chain(plain, seen))


def fit_and_save(samples: Samples, out: Path) -> None:
    """Prints what a network does for objects that it was not fitted on, and writes one that was fitted on all."""
    by = {"scenes": samples.scenes // len(KINDS) % FOLDS, "families": folds_of_families(samples)}
    left_m = {name: fitted_on_others(samples, folds, fit)[0] for name, folds in by.items()}
    found = {name: fitted_on_others(samples, folds, fit, left_m["scenes"]) for name, folds in by.items()}
    wider = np.quantile(in_sigmas(samples, *found["scenes"][:2]), HELD, axis=0)
    farther = np.quantile(sides_in_halves(samples, found["scenes"][2]), HELD, axis=0)
    rows = []
    for name, (_, deviations_m, sides_m) in found.items():
        for group, (least, most) in GROUPS.items():
            own = (least <= samples.visible) & (samples.visible <= most)
            errors = [errors_mm((values / samples.scales)[own]) for values in (samples.offsets_m, left_m[name])]
            held = (in_sigmas(samples, left_m[name], deviations_m) <= wider)[own].mean(axis=0)
            between = (sides_in_halves(samples, sides_m) <= farther)[own].mean(axis=(0, 2))
            shares = [" / ".join(f"{100 * value:.0f}" for value in values) for values in (held, between)]
            rows.append((f"other {name}", group, np.count_nonzero(own), *errors, *shares))
    columns = "without, mm", "with, mm", "in 90 % intervals", "sides in their bounds, %"
    print(tabulate(rows, headers=("", "objects", "number", *columns)))
    network = widened(with_deviations(fit(samples), samples, left_m["scenes"]), wider, farther)
    told(network, out, len(samples.visible), wider, farther)


def fit(samples: Samples) -> LikelyCentres:
    """A network for these objects whose deviations are all the same."""

    def loss(found: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.huber_loss(found[:, :3], targets[:, :3]) + SIDES * sides_loss(found[:, 6:], targets)

    start = np.concatenate([np.zeros(3), np.full(3, DEVIATION_AT_FIRST), SIDES_AT_FIRST])
    sizes = Sizes(HIDDEN, DROPPED, BATCH)
    return LikelyCentres(*trained(samples.features, targets_of(samples, UNIT_M), start, loss, sizes), UNIT_M)


if __name__ == "__main__":
    main()
