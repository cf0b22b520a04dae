"""The points of an object above a plane, in its frame, and the height of its top."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.lifting.kept_points import KeptPoints
from instance_seg_ros.lifting.standing import Standing, heights_above_m

TABLE = Plane(np.array([0.0, 0.0, -1.0]), 0.5)
"""Half a metre in front of a camera that looks straight down."""
TOLERANCE_M = 0.008


def surface(heights_m: np.ndarray, up: tuple[float, float, float] = (0.0, 0.0, -1.0)) -> KeptPoints:
    """Points at heights above the table in a square grid of 5 mm, all with the same normal."""
    side = round(len(heights_m) ** 0.5)
    x, y = np.divmod(np.arange(len(heights_m)), side)
    points_m = np.stack([0.005 * x, 0.005 * y, 0.5 - heights_m], axis=1)
    measured_m, pixels = points_m.astype(np.float32), np.arange(len(points_m))
    normals = np.tile(np.array(up), (len(points_m), 1))
    return KeptPoints(measured_m, pixels, measured_m, points_m, normals, np.zeros((0, 3)))


def test_points_are_told_from_the_table_around_them_and_turned_into_its_frame() -> None:
    standing = Standing.on(surface(np.repeat([0.0, 0.05], [36, 64])), TABLE, TOLERANCE_M)
    assert standing is not None
    assert len(standing.points_m) == len(standing.normals) == len(standing.body.points_m) == 64
    np.testing.assert_allclose(standing.body.points_m[:, 2], 0.05, atol=1e-12)
    np.testing.assert_allclose(standing.body.normals, np.tile([0, 0, 1], (64, 1)), atol=1e-12)
    np.testing.assert_allclose(standing.body.in_camera(standing.body.points_m), standing.points_m, atol=1e-12)
    assert standing.body.top_m == pytest.approx(0.05) and standing.depth_m == pytest.approx(0.45)
    assert not standing.flush
    assert standing.least_m == TOLERANCE_M


@pytest.mark.parametrize("height_m", [-0.009, -0.1])
def test_what_lies_below_the_plane_does_not_stand_on_it(height_m: float) -> None:
    assert Standing.on(surface(np.full(100, height_m)), TABLE, TOLERANCE_M) is None


@pytest.mark.parametrize(("height_m", "flush"), [(0.0, True), (0.002, True), (0.005, False)])
def test_what_hardly_stands_out_is_flush_and_keeps_all_of_its_points(height_m: float, flush: bool) -> None:
    standing = Standing.on(surface(np.full(100, height_m)), TABLE, TOLERANCE_M)
    assert standing is not None and standing.flush == flush
    assert len(standing.points_m) == 100
    assert standing.least_m < height_m


def test_the_noise_of_a_flat_top_makes_it_no_higher() -> None:
    noise_m = np.random.default_rng(0).normal(0, 0.001, 400)
    standing = Standing.on(surface(0.03 + noise_m), TABLE, TOLERANCE_M)
    assert standing is not None
    assert standing.body.top_m == pytest.approx(0.03, abs=0.0003)  # the 99th percentile is at 32.3 mm


def test_without_a_flat_top_the_highest_points_count() -> None:
    noise_m = np.random.default_rng(0).normal(0, 0.001, 400)
    standing = Standing.on(surface(0.03 + noise_m, (1.0, 0.0, 0.0)), TABLE, TOLERANCE_M)
    assert standing is not None
    assert standing.body.top_m == pytest.approx(np.percentile(0.03 + noise_m, 99), abs=1e-12)


@pytest.mark.parametrize(("count", "step"), [(1, 1), (99, 1), (100, 2), (800, 9)])
def test_heights_above_a_plane_are_percentiles_of_some_of_the_points(count: int, step: int) -> None:
    points_m, normal = np.random.default_rng(count).normal(size=(count, 3)), np.array([0.0, 0.6, -0.8])
    expected_m = np.percentile(points_m[::step] @ normal + 0.5, [1, 50, 99])
    np.testing.assert_allclose(heights_above_m(points_m, normal, 0.5), expected_m, atol=1e-12)


def test_nothing_is_known_of_the_heights_of_no_points() -> None:
    assert np.isnan(heights_above_m(np.zeros((0, 3)), np.array([0.0, 0.0, -1.0]), 0.5)).all()
