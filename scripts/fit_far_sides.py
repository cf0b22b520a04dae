"""Fit the network that says how far off the centre of an object is that was seen as a whole.

    python scripts/fit_far_sides.py [--scenes 200] [--out FILE]

Generated scenes whose truth is exact (those of `instance-seg eval --geometry`, in two thirds of them with every family
of objects that there is, most of which that command never shows; in half of them seen from anywhere) are lifted, and
the network learns how far the centres are from where lifting puts them. Before that it prints what it does for families
that it was not fitted on, a quarter of them at a time: errors of the centre in mm (median / 90th percentile), and the
share of errors along the axes of the view that 90 % intervals hold. To what is left for those families its standard
deviations are fitted, since a robot's objects are not those that were learned from. PyTorch is needed, a core and 0.2 s
for each scene.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from fit_likely_centres import Samples, errors_mm, save
from numpy.typing import NDArray
from tabulate import tabulate
from torch import nn

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.learning.evaluation.geometry_errors import SIGMAS_OF_90_PERCENT
from instance_seg_ros.learning.evaluation.geometry_scenes import KINDS, NAMES, TrueScene, geometry_scenes
from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.lifting.far_side import FARTHEST_M, USUAL_M, FarSides
from instance_seg_ros.lifting.likely_centre import MOST_SIGMAS, View
from instance_seg_ros.lifting.uncertainty import noise_m

FloatArray = NDArray[np.float64]

EVERY_NAME = tuple(sorted({*NAMES, *FAMILIES}))
STANDING = ("table", "crowd", "stack", "board", "held", "two tables")
SETS: tuple[tuple[tuple[int, ...], tuple[str, ...], tuple[str, ...], tuple[float, float] | None], ...] = (
    ((6101, 6102), KINDS, EVERY_NAME, None),
    ((6301, 6302), STANDING, EVERY_NAME, (10, 90)),
    ((6201,), KINDS, NAMES, None),
    ((6401,), STANDING, NAMES, (10, 90)),
)
"""Seeds, and what their scenes are like: half of them from where cameras look in that command, half from anywhere."""
LEAST_VISIBLE = 0.9
"""What lifting takes for whole although less is in view is not learned from."""
HIDDEN, DROPPED, UNIT_M = 48, 0.2, USUAL_M / 2
STEPS, BATCH, RATE, DECAY = 1000, 512, 3e-3, 1e-2
SHARP, LEAST, SLIGHT = 0.15, 0.05, 0.02
"""Errors, in units, weigh the more the surer the network is, down to the first; they count as squared below the second;
and what is less than the third is as good as nothing for deviations."""
FOLDS = 4


def main() -> None:
    """Prints the table, and writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200, help="of each of six seeds (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=FarSides.weights, help="file (default: the package's)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    fit_and_save(samples_of(scenes(args.scenes)), args.out)


def scenes(count: int) -> Iterator[TrueScene]:
    """So many of each seed."""
    return chain.from_iterable(
        geometry_scenes(count, seed, kinds, names, elevation_deg)
        for seeds, kinds, names, elevation_deg in SETS
        for seed in seeds
    )


def samples_of(scenes: Iterable[TrueScene]) -> Samples:
    """The objects of these scenes that were seen as a whole."""
    views: list[View] = []

    def kept(view: View) -> tuple[FloatArray, FloatArray]:
        views.append(view)
        return np.zeros(3), np.zeros(3)

    lifter, rows = Lifter(LiftingSettings(), far_side=kept), []
    for index, scene in enumerate(scenes):
        views.clear()
        true = {item.label: item for item in scene.objects}
        lifted = lifter.lift(scene.frame, Instances.from_labels(scene.labels)).instances
        for label, instance in zip(sorted(true), lifted, strict=True):
            own = true[label]
            for view in views:
                is_its = instance.centroid_m is not None and np.array_equal(view.centre_m, instance.centroid_m)
                if is_its and own.visible >= LEAST_VISIBLE:
                    offset_m = view.scale * (view.axes @ (own.centre_m - view.centre_m))
                    noise = view.scale * noise_m(view.centre_m)
                    rows.append((view.features, offset_m, [view.scale], index, own.family, own.visible, noise))
    return Samples(*(np.array(column) for column in zip(*rows, strict=True)))


def fit_and_save(samples: Samples, out: Path) -> None:
    """Prints what a network does for families that it was not fitted on, and writes one that was fitted on all."""
    families, order = np.unique(samples.families), np.random.default_rng(0)
    of_family = dict(zip(families, order.permutation(len(families)) % FOLDS, strict=True))
    folds = np.array([of_family[family] for family in samples.families])
    left_m, deviations_m = np.empty_like(samples.offsets_m), np.empty_like(samples.offsets_m)
    for fold in range(FOLDS):
        left_m[folds == fold] = left_by(fit(samples[folds != fold]), samples[folds == fold])
    for fold in range(FOLDS):
        others = folds != fold
        network = with_deviations(fit(samples[others]), samples[others], left_m[others])
        deviations_m[~others] = network.offsets_m(samples.features[~others])[1]
    usual = np.abs(left_m) / (SIGMAS_OF_90_PERCENT * np.hypot(deviations_m, samples.noises_m[:, None]))
    wider = np.quantile(usual, 0.9, axis=0)  # as much as makes 90 % of the intervals of what was held out hold
    rows = []
    shown = {"all": folds >= 0, "of the benchmark": np.isin(samples.families, NAMES)}
    shown["others"] = ~shown["of the benchmark"]
    shown |= {name: samples.families == name for name in NAMES}
    for name, own in shown.items():
        if own.any():
            before, after = (errors_mm((values / samples.scales)[own]) for values in (samples.offsets_m, left_m))
            held = [f"{100 * share:.0f}" for share in (usual <= wider)[own].mean(axis=0)]
            rows.append((name, np.count_nonzero(own), before, after, " / ".join(held)))
    print(tabulate(rows, headers=("families", "number", "without, mm", "with, mm", "in 90 % intervals")))
    network = with_deviations(fit(samples), samples, left_m)
    network.layers[-1][1][3:] += np.log(wider)
    save(network, out)
    print(f"deviations times {', '.join(f'{value:.2f}' for value in wider)}")
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB, fitted on {len(samples.visible)} objects")


def left_by(network: FarSides, samples: Samples) -> FloatArray:
    """What is left of the offsets (N, 3)."""
    return samples.offsets_m - network.offsets_m(samples.features)[0]


def fit(samples: Samples) -> FarSides:
    """A network for these objects; its deviations are those of what it was fitted on."""
    torch.manual_seed(0)
    mean, scale = samples.features.mean(axis=0), samples.features.std(axis=0)
    scale[scale < 1e-6] = 1.0
    standard = np.clip((samples.features - mean) / scale, -MOST_SIGMAS, MOST_SIGMAS)
    inputs = torch.tensor(standard, dtype=torch.float32)
    most = FARTHEST_M / UNIT_M
    targets = torch.tensor(samples.offsets_m / UNIT_M, dtype=torch.float32).clamp(-most, most)
    first, second, last = nn.Linear(inputs.shape[1], HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 6)
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.zero_()
        last.bias[3:] = -1.5
    drop = nn.Dropout(DROPPED)
    network = nn.Sequential(first, nn.ReLU(), drop, second, nn.ReLU(), drop, last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(inputs), (BATCH,))
        offsets, log_deviations = network(inputs[chosen]).split(3, dim=1)
        errors = (targets[chosen] - offsets).abs()
        sure = 1 / (log_deviations.detach().exp() + SHARP)
        loss = (sure * (errors**2 + LEAST**2).sqrt()).mean() + quantile_loss(errors.detach(), log_deviations) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    layers = tuple(
        (own.weight.detach().numpy().T.astype(np.float64), own.bias.detach().numpy().astype(np.float64))
        for own in (first, second, last)
    )
    return FarSides(mean, scale, layers, UNIT_M)


def with_deviations(network: FarSides, samples: Samples, left_m: FloatArray) -> FarSides:
    """The network with standard deviations of which 1.645 hold 90 % of the errors (N, 3) of objects like each one."""
    found = torch.tensor(network.found(samples.features), dtype=torch.float32)
    errors = torch.tensor(np.abs(left_m) / network.unit_m, dtype=torch.float32)
    noises = torch.tensor(samples.noises_m / network.unit_m, dtype=torch.float32)[:, None]
    *hidden, (weights, biases) = network.layers
    last = nn.Linear(found.shape[1], 3)
    with torch.no_grad():
        last.weight.copy_(torch.tensor(weights[:, 3:].T, dtype=torch.float32))
        last.bias.copy_(torch.tensor(biases[3:], dtype=torch.float32))
    optimizer = torch.optim.AdamW(last.parameters(), lr=1e-2, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        deviations = (torch.exp(2 * last(found)) + noises**2).sqrt()  # lifting adds the sensor's noise
        loss = quantile_loss(errors, deviations.log())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    weights, biases = weights.copy(), biases.copy()
    weights[:, 3:], biases[3:] = last.weight.detach().numpy().T, last.bias.detach().numpy()
    return FarSides(network.mean, network.scale, (*hidden, (weights, biases)), network.unit_m)


def quantile_loss(errors: torch.Tensor, log_deviations: torch.Tensor) -> torch.Tensor:
    """Least where 90 % of the errors are below 1.645 deviations; by ratios, so that small ones count as much."""
    beyond = (errors + SLIGHT).log() - math.log(SIGMAS_OF_90_PERCENT) - log_deviations
    return torch.maximum(0.9 * beyond, -0.1 * beyond).mean()


if __name__ == "__main__":
    main()
