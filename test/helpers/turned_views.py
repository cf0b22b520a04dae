"""What a network over a view says alike, whichever way an axis across the line of sight points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.lifting.likely_centre import LikelyCentres, View

Layers = tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]


def some_network(kind: type[LikelyCentres], features: int, spread: float) -> LikelyCentres:
    """One of random layers, which says something of every feature."""
    rng, sizes = np.random.default_rng(0), (features, 8, 8, 18)
    layers: Layers = tuple((rng.normal(0, spread, own), np.zeros(own[1])) for own in itertools.pairwise(sizes))
    return kind(np.zeros(features), np.ones(features), layers, 0.01)


def assert_the_same_is_said_of(network: LikelyCentres, views: Sequence[View], axis: int) -> None:
    """Of two views that differ by which way this axis points, though features alone say something else."""
    one, other = views
    np.testing.assert_allclose(one.axes[axis], -other.axes[axis], atol=1e-12)
    by_itself = [network.likely(own.features[None]).offset_m[0] @ own.axes for own in views]
    assert np.abs(by_itself[0] - by_itself[1]).max() > 1e-3
    of_one, of_other = network(one), network(other)
    np.testing.assert_allclose(of_one.offset_m @ one.axes, of_other.offset_m @ other.axes, atol=1e-8)
    np.testing.assert_allclose(of_one.deviation_m, of_other.deviation_m, atol=1e-8)
    np.testing.assert_allclose(of_one.sides_m[axis], of_other.sides_m[axis, ::-1], atol=1e-8)
    others = [k for k in range(3) if k != axis]
    np.testing.assert_allclose(of_one.sides_m[others], of_other.sides_m[others], atol=1e-8)
