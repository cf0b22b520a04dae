"""What the networks of `fit_likely_centres.py` and `fit_far_sides.py` have in common: samples, losses, intervals.

Both say of an object how far its centre is from where lifting puts it, how far off that may be, and between which
bounds the sides of its box lie. Offsets and bounds are learned together; standard deviations are fitted to what is left
of the offsets of objects that a network was not fitted on, since of its own it is less far off. Both are widened at the
end so that they hold nine in ten of scenes that were not fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.learning.evaluation.geometry_errors import sides_beyond_m
from instance_seg_ros.learning.evaluation.geometry_scenes import TrueScene
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.lifting.box_bounds import SIGMAS_OF_90_PERCENT
from instance_seg_ros.lifting.camera_noise import CameraNoise
from instance_seg_ros.lifting.likely_centre import MOST_SIGMAS, Likely, LikelyCentres, View

FloatArray = NDArray[np.float64]
Network = TypeVar("Network", bound=LikelyCentres)

STEPS, RATE, RATE_OF_DEVIATIONS, DECAY = 3000, 3e-3, 1e-2, 1e-2
FOLDS, HELD, SLIGHT = 4, 0.9, 0.003
"""What is less than the last, in a network's unit, is as good as nothing for deviations."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Objects that a network is asked about: features (N, F), offsets (N, 3) of the centre along the axes of the view
    and of the box's sides (N, 3, 2), lower and upper along them, outwards, brought to a usual size as the features are,
    by what scale (N, 1), what is true, and the camera's noise along these axes (N, 3), scaled likewise."""

    features: FloatArray
    offsets_m: FloatArray
    sides_m: FloatArray
    scales: FloatArray
    scenes: NDArray[np.int64]
    families: NDArray[np.str_]
    visible: FloatArray
    noises_m: FloatArray

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Samples:
        return Samples(*(getattr(self, own.name)[chosen] for own in fields(self)))


def samples_of(scenes: Iterable[TrueScene], network: str, least_visible: float = 0.0) -> Samples:
    """The objects of these scenes that lifting asks a network about.

    Args:
        network: what `Lifter` calls it; it moves no centre here.
        least_visible: of an object; what less is in view of is not learned from.
    """
    views: list[View] = []

    def kept(view: View) -> Likely:
        views.append(view)
        return Likely(np.zeros(3), np.zeros(3), np.zeros((3, 2, 2)))

    lifter, rows = Lifter(LiftingSettings(), **{network: kept}), []
    for index, scene in enumerate(scenes):
        views.clear()
        true = {item.label: item for item in scene.objects}
        instances = Instances.from_labels(scene.labels)
        lifted = lifter.lift(scene.frame, instances)
        noise = CameraNoise.of(scene.frame, instances, lifted.support_plane, lifter.settings.plane_tolerance_m)
        for label, instance in zip(sorted(true), lifted.instances, strict=True):
            own = true[label]
            if instance.box is None or instance.centroid_m is None or own.visible < least_visible:
                continue
            for view in views:
                if np.array_equal(view.centre_m, instance.centroid_m):
                    offset_m = view.axes @ (own.centre_m - view.centre_m)
                    sides_m = sides_beyond_m(instance.box, own.vertices_m, view.axes)
                    noise_m = np.sqrt(np.diag(view.axes @ noise.covariance_m2(view.centre_m) @ view.axes.T))
                    lengths_m = (view.scale * each for each in (offset_m, sides_m))
                    known = [view.scale], index, own.family, own.visible
                    rows.append((view.features, *lengths_m, *known, view.scale * noise_m))
    return Samples(*(np.array(column) for column in zip(*rows, strict=True)))


def errors_mm(offsets_m: FloatArray) -> str:
    """Median and 90th percentile."""
    lengths_m = np.linalg.norm(offsets_m, axis=1)
    return f"{1e3 * np.median(lengths_m):.1f} / {1e3 * np.percentile(lengths_m, 90):.1f}"


@dataclass(frozen=True)
class Sizes:
    """Values in each hidden layer, the share of them that is left out in training, and samples in a step."""

    hidden: int
    dropped: float
    batch: int


def trained(
    features: FloatArray,
    targets: torch.Tensor,
    start: FloatArray,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    sizes: Sizes,
) -> tuple[FloatArray, FloatArray, tuple[tuple[FloatArray, FloatArray], ...]]:
    """A network with two hidden layers for features (N, F); see `LikelyCentres` for what is returned.

    Args:
        targets: (N, T) for the loss.
        start: (O,) what the network says before it is trained.
        loss: of outputs (B, O) for targets (B, T).
    """
    torch.manual_seed(0)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-6] = 1.0
    standard = np.clip((features - mean) / scale, -MOST_SIGMAS, MOST_SIGMAS)
    inputs, hidden = torch.tensor(standard, dtype=torch.float32), sizes.hidden
    first, second, last = nn.Linear(inputs.shape[1], hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, len(start))
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.copy_(torch.tensor(start))
    drop = nn.Dropout(sizes.dropped)
    network = nn.Sequential(first, nn.ReLU(), drop, second, nn.ReLU(), drop, last)

    def of_some() -> torch.Tensor:
        chosen = torch.randint(len(inputs), (sizes.batch,))
        return loss(network(inputs[chosen]), targets[chosen])

    minimize(of_some, network, RATE)
    layers = tuple(
        (own.weight.detach().numpy().T.astype(np.float64), own.bias.detach().numpy().astype(np.float64))
        for own in (first, second, last)
    )
    return mean, scale, layers


def minimize(loss: Callable[[], torch.Tensor], network: nn.Module, rate: float) -> None:
    """Trains a network by what its loss is at each step."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()


SIDES_AT_FIRST = np.tile([-0.1, 0.1], 6)
"""What a network that learned nothing yet says of sides, in its unit."""


def targets_of(samples: Samples, unit_m: float) -> torch.Tensor:
    """Offsets of the centre (3), of the sides (6) and the camera's noise (3) of each, in a unit, (N, 12)."""
    columns = samples.offsets_m, samples.sides_m.reshape(-1, 6), samples.noises_m
    return torch.tensor(np.concatenate(columns, axis=1) / unit_m, dtype=torch.float32)


def sides_loss(found: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Least where sides lie below the lower ones of found (B, 12) in 5 of 100 objects, and above the upper ones in 5.

    Lifting widens these for the camera's noise, which is no matter of the view, and so are they here.
    """
    bounds, sides, noises = found.reshape(-1, 3, 2, 2), targets[:, 3:9].reshape(-1, 3, 2), targets[:, 9:, None]
    middle = bounds.mean(dim=3)
    half = torch.hypot((bounds[..., 1] - bounds[..., 0]) / 2, SIGMAS_OF_90_PERCENT * noises)
    below, above = sides - (middle - half), sides - (middle + half)
    return (torch.maximum(0.05 * below, -0.95 * below) + torch.maximum(0.95 * above, -0.05 * above)).mean()


def quantile_loss(errors: torch.Tensor, log_deviations: torch.Tensor) -> torch.Tensor:
    """Least where 90 % of the errors are below 1.645 deviations; by ratios, so that small ones count as much."""
    beyond = (errors + SLIGHT).log() - math.log(SIGMAS_OF_90_PERCENT) - log_deviations
    return torch.maximum(0.9 * beyond, -0.1 * beyond).mean()


def fitted_on_others(
    samples: Samples, folds: NDArray[np.int64], fit: Callable[[Samples], Network], usual_m: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What networks leave of the offsets (N, 3) of the folds that they were not fitted on, how far off they expect to
    be, and what they say of the sides, (N, 3, 2, 2).

    Args:
        folds: (N,).
        usual_m: (N, 3) what deviations are fitted to, instead of what is left of that which a network was fitted on.
    """
    left_m, deviations_m = np.empty((2, *samples.offsets_m.shape))
    sides_m = np.empty((*samples.sides_m.shape, 2))
    for fold in range(FOLDS):
        others = folds != fold
        network, own = fit(samples[others]), samples[~others]
        if usual_m is not None:
            network = with_deviations(network, samples[others], usual_m[others])
        offsets_m, deviations_m[~others], sides_m[~others] = network.likely(own.features)
        left_m[~others] = own.offsets_m - offsets_m
    return left_m, deviations_m, sides_m


def in_sigmas(samples: Samples, left_m: FloatArray, deviations_m: FloatArray) -> FloatArray:
    """Errors (N, 3) in half widths of the 90 % intervals, with the noise that lifting adds."""
    return np.abs(left_m) / (SIGMAS_OF_90_PERCENT * np.hypot(deviations_m, samples.noises_m))


def sides_in_halves(samples: Samples, sides_m: FloatArray) -> FloatArray:
    """How far sides (N, 3, 2) are from the middle of bounds (N, 3, 2, 2), in halves of these, with the noise."""
    half_m = np.hypot((sides_m[..., 1] - sides_m[..., 0]) / 2, SIGMAS_OF_90_PERCENT * samples.noises_m[..., None])
    return np.abs(samples.sides_m - sides_m.mean(axis=3)) / half_m


def with_deviations(network: Network, samples: Samples, left_m: FloatArray) -> Network:
    """The network with standard deviations of which 1.645 hold 90 % of the errors (N, 3) of objects like each one."""
    found = torch.tensor(network.found(samples.features), dtype=torch.float32)
    errors = torch.tensor(np.abs(left_m) / network.unit_m, dtype=torch.float32)
    noises = torch.tensor(samples.noises_m / network.unit_m, dtype=torch.float32)
    *hidden, (weights, biases) = network.layers
    last = nn.Linear(found.shape[1], 3)
    with torch.no_grad():
        last.weight.copy_(torch.tensor(weights[:, 3:6].T, dtype=torch.float32))
        last.bias.copy_(torch.tensor(biases[3:6], dtype=torch.float32))

    def loss() -> torch.Tensor:
        deviations = (torch.exp(2 * last(found)) + noises**2).sqrt()  # lifting adds the sensor's noise
        return quantile_loss(errors, deviations.log())

    minimize(loss, last, RATE_OF_DEVIATIONS)
    weights, biases = weights.copy(), biases.copy()
    weights[:, 3:6], biases[3:6] = last.weight.detach().numpy().T, last.bias.detach().numpy()
    return replace(network, layers=(*hidden, (weights, biases)))


def widened(network: Network, deviations: FloatArray, sides: FloatArray) -> Network:
    """The network with deviations that are so many times (3,) as large, and bounds of sides that are so many times
    (3, 2) as far apart."""
    *hidden, (weights, biases) = network.layers
    both = np.concatenate([weights, biases[None]])
    both[-1, 3:6] += np.log(deviations)
    bounds = both[:, 6:].reshape(-1, 3, 2, 2)
    middle = bounds.mean(axis=3, keepdims=True)
    both[:, 6:] = (middle + sides[..., None] * (bounds - middle)).reshape(-1, 12)
    return replace(network, layers=(*hidden, (both[:-1], both[-1])))


def folds_of_families(samples: Samples) -> NDArray[np.int64]:
    """(N,) a fold for each; all of a family are in the same one."""
    families, order = np.unique(samples.families), np.random.default_rng(0)
    of_family = dict(zip(families, order.permutation(len(families)) % FOLDS, strict=True))
    return np.array([of_family[family] for family in samples.families])


def save(network: LikelyCentres, out: Path) -> None:
    """Writes what `LikelyCentres.shipped` reads."""
    stored = {f"weight_{index}": layer[0] for index, layer in enumerate(network.layers)}
    stored |= {f"bias_{index}": layer[1] for index, layer in enumerate(network.layers)}
    np.savez_compressed(
        out,
        allow_pickle=False,
        mean=network.mean.astype(np.float32),
        scale=network.scale.astype(np.float32),
        unit_m=np.float32(network.unit_m),
        **{name: values.astype(np.float16) for name, values in stored.items()},
    )


def told(network: LikelyCentres, out: Path, count: int, deviations: FloatArray, sides: FloatArray) -> None:
    """Writes a network, and prints what it was widened by."""
    save(network, out)
    print(f"deviations times {', '.join(f'{value:.2f}' for value in deviations)}")
    print(f"sides times {', '.join(f'{value:.2f}' for value in sides.reshape(-1))}")
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB, fitted on {count} objects")
