"""The smallest rectangle around points, against rectangles that are known and NumPy's percentiles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial import ConvexHull

from instance_seg_ros.lifting.rectangle import convex_hull, smallest_rectangle


@pytest.mark.parametrize("turn_deg", [0, 20, 75, 90, 130])
@pytest.mark.parametrize(("long", "short"), [(0.3, 0.1), (0.1, 0.09)])
def test_the_longer_side_comes_first_whatever_the_turn(turn_deg: float, long: float, short: float) -> None:
    turn = np.radians(turn_deg)
    sides = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * [long / 2, short / 2]
    points = 5 + corners.repeat(50, axis=0) @ sides
    axes, low, high = smallest_rectangle(points)
    assert abs(axes[0] @ sides[0]) == pytest.approx(1, abs=1e-6)
    assert np.linalg.det(axes) == pytest.approx(1)
    np.testing.assert_allclose(high - low, [long, short], atol=1e-6)
    np.testing.assert_allclose((low + high) / 2 @ axes, [5, 5], atol=1e-6)


@pytest.mark.parametrize("turn", [0.0, 0.3, -1.2, 2.5])
@pytest.mark.parametrize("longer", [-1e-12, 0.0, 1e-12])
def test_a_square_lies_in_the_direction_of_its_turn_whatever_the_last_bit_says(turn: float, longer: float) -> None:
    sides = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * [0.05, 0.05 * (1 + longer)]
    axes, _, _ = smallest_rectangle(corners @ sides, turn)
    np.testing.assert_allclose(axes, sides, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 500, 1000, 1001, 1002, 3456])
def test_the_outermost_thousandth_is_left_out_as_percentiles_do(count: int) -> None:
    points = np.random.default_rng(count).normal(size=(count, 3))[:, :2]
    axes, low, high = smallest_rectangle(points, turn=0.3)
    expected = np.percentile(points @ axes.T, [0.1, 99.9], axis=0)
    np.testing.assert_allclose([low, high], expected, rtol=0, atol=1e-12)


def test_no_points_have_no_rectangle() -> None:
    with pytest.raises(ValueError, match="no points"):
        smallest_rectangle(np.zeros((0, 2)))


@pytest.mark.parametrize("count", [3, 4, 20, 1000])
@pytest.mark.parametrize("shape", [(1.0, 1.0), (1.0, 0.01)], ids=["wide", "narrow"])
def test_a_convex_hull_has_the_corners_that_scipy_finds(count: int, shape: tuple[float, float]) -> None:
    points = np.random.default_rng(count).normal(size=(count, 2)) * shape + [2.0, -1.0]
    found = convex_hull(points)[:, 0]
    expected = points[ConvexHull(points).vertices].astype(np.float32)
    assert sorted(found.tolist()) == sorted(expected.tolist())


@pytest.mark.parametrize(
    "points", [[(0, 0)], [(0, 0), (0, 0)], [(0, 0), (1, 2), (2, 4)], [(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)]]
)
def test_the_hull_of_few_points_or_of_a_line_is_that_of_opencv(points: list[tuple[float, float]]) -> None:
    given = np.array(points, dtype=np.float64)
    np.testing.assert_array_equal(convex_hull(given), cv2.convexHull(given.astype(np.float32)))
