"""Mutual matches against all comparisons, and motions against Kabsch's closed form."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.tracking.landmark_kernels import find_motion, find_mutual, refine_motion

MOTION = Transform.from_quaternion([0.1, -0.3, 0.2, 1.0], np.array([0.2, -0.1, 0.3]))
TRIPLES = np.random.default_rng(0).integers(0, 60, (512, 3))


@pytest.mark.parametrize("reach_m", [np.inf, 0.5, 0.0])
@pytest.mark.parametrize(("first", "second"), [(50, 70), (70, 50), (1, 1), (5, 0), (0, 5)])
def test_mutual_matches_are_those_of_all_comparisons_within_reach(first: int, second: int, reach_m: float) -> None:
    rng = np.random.default_rng(first)
    words = rng.integers(0, 2**63, (2, 4, max(first, second)), dtype=np.uint64)
    own_m, other_m = rng.uniform(0, 1, (first, 3)), rng.uniform(0, 1, (second, 3))
    own, other = words[0, :, :first].copy(), words[1, :, :second].copy()
    partner = np.empty(first, dtype=np.int64)
    find_mutual(own, other, own_m, other_m, reach_m, partner)
    expected = np.full(first, -1)
    if first and second:
        differ = own[:, :, None] ^ other[:, None]
        bits = np.unpackbits(differ.view(np.uint8).reshape(4, first, second, 8), axis=3).sum(axis=(0, 3))
        in_reach = np.linalg.norm(own_m[:, None] - other_m, axis=2) <= reach_m
        bits = np.where(in_reach, bits.astype(np.int64), 1000)
        nearest = bits.argmin(axis=1)
        mutual = (bits.argmin(axis=0)[nearest] == np.arange(first)) & in_reach[np.arange(first), nearest]
        expected = np.where(mutual, nearest, -1)
    np.testing.assert_array_equal(partner, expected)


def kabsch(own_m: NDArray[np.float64], other_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 4) rotation and translation."""
    own_mean, other_mean = own_m.mean(axis=0), other_m.mean(axis=0)
    u, _, v = np.linalg.svd((other_m - other_mean).T @ (own_m - own_mean))
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    return np.column_stack([rotation, other_mean - rotation @ own_mean])


@pytest.mark.parametrize("depth", [1.0, 0.0])
@pytest.mark.parametrize("outliers", [0, 20, 35])
def test_the_motion_of_most_matches_is_that_of_least_squares_over_them(outliers: int, depth: float) -> None:
    rng = np.random.default_rng(outliers)
    own_m = rng.uniform(-0.5, 0.5, (60, 3)) * [1, 1, depth]
    other_m = MOTION.apply(own_m) + rng.normal(0, 0.001, own_m.shape)
    other_m[:outliers] = rng.uniform(-1, 1, (outliers, 3))
    rotation, translation_m, tolerance_m = np.eye(3), np.zeros(3), np.full(60, 0.015)
    assert find_motion(own_m, other_m, tolerance_m, TRIPLES, rotation, translation_m) >= 0.9 * (60 - outliers)
    assert refine_motion(own_m, other_m, tolerance_m, rotation, translation_m, 3) == 60 - outliers
    expected = kabsch(own_m[outliers:], other_m[outliers:])
    np.testing.assert_allclose(np.column_stack([rotation, translation_m]), expected, atol=1e-7)


def test_places_of_other_distances_have_no_motion() -> None:
    own_m, tolerance_m = np.random.default_rng(1).uniform(-0.5, 0.5, (60, 3)), np.full(60, 0.001)
    rotation, translation_m = np.eye(3), np.zeros(3)
    assert find_motion(own_m, 3 * own_m, tolerance_m, TRIPLES, rotation, translation_m) == 0
    np.testing.assert_array_equal(np.column_stack([rotation, translation_m]), np.eye(3, 4))


def test_places_on_a_line_tell_no_turn() -> None:
    own_m = np.linspace(-0.5, 0.5, 60)[:, None] * [1.0, 2.0, 0.5]
    rotation, translation_m, tolerance_m = np.eye(3), np.zeros(3), np.full(60, 0.015)
    assert find_motion(own_m, own_m, tolerance_m, TRIPLES, rotation, translation_m) == 0
    assert refine_motion(own_m, own_m + 0.001, tolerance_m, rotation, translation_m, 3) == 60
    np.testing.assert_array_equal(rotation, np.eye(3))
