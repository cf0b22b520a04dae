"""Local planes against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from small_camera import depth_of_plane

from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.lifting.local_planes import fit_windows, window_radius_px


@kernel("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", "int64")
def _fit(depth_m: np.ndarray, keep: np.ndarray, wanted: np.ndarray, radius_px: int) -> np.ndarray:
    return fit_windows(depth_m, keep, wanted, radius_px)


def planes_everywhere(depth_m: np.ndarray, keep: np.ndarray, radius_px: int) -> np.ndarray:
    return _fit(depth_m, keep, np.ones(keep.shape, dtype=bool), radius_px)


def depth_of_planes(planes: np.ndarray) -> np.ndarray:
    """The depth of each plane (3, h, w) at its pixel, metres; 0 where there is none."""
    valid = planes[0] > 0
    return np.where(valid, 1 / np.where(valid, planes[0], 1), 0)


@pytest.mark.parametrize("normal", [[0, 0, -1], [0.5, 0.2, -1], [-0.8, 0.6, -1], [0, -2, -1]])
def test_a_plane_is_fitted_exactly(normal: list[float]) -> None:
    unit = np.array(normal) / np.linalg.norm(normal)
    depth_m = depth_of_plane(unit, -0.8 * abs(unit[2]))
    keep = np.ones_like(depth_m, dtype=bool)
    planes = planes_everywhere(depth_m, keep, 3)
    assert (planes[0] > 0).all()
    np.testing.assert_allclose(depth_of_planes(planes), depth_m, rtol=1e-4)


def test_noise_is_averaged_out_without_a_bias() -> None:
    unit = np.array([0.0, -0.6, -0.8])
    truth_m = depth_of_plane(unit, -0.5)
    noisy_m = truth_m + np.random.default_rng(0).normal(0, 0.002, truth_m.shape).astype(np.float32)
    error_m = depth_of_planes(planes_everywhere(noisy_m, np.ones(truth_m.shape, dtype=bool), 5)) - truth_m
    assert abs(error_m.mean()) < 0.0001
    assert error_m[8:-8, 8:-8].std() < 0.0004


def test_the_fit_says_what_depth_a_pixel_that_was_not_kept_would_have() -> None:
    unit = np.array([0.0, -0.6, -0.8])
    depth_m = depth_of_plane(unit, -0.5)
    keep = np.ones(depth_m.shape, dtype=bool)
    keep[:, 30:] = False
    planes = planes_everywhere(np.where(keep, depth_m, 9.0).astype(np.float32), keep, 4)
    np.testing.assert_allclose(depth_of_planes(planes)[:, 31], depth_m[:, 31], rtol=1e-3)
    assert not planes[0][:, 36:].any()
    assert (depth_of_planes(planes)[:, 36:] == 0).all()


@pytest.mark.parametrize(
    "columns",
    [[5], [0, -1], [4, 5, 6, 7], [5, 8, 12], [5, 9, 13], [0, 3, 20, 24, 28, -1]],
    ids=["one", "ends", "beside each other", "a radius apart", "farther apart", "some of each"],
)
def test_planes_are_fitted_where_they_are_wanted(columns: list[int]) -> None:
    depth_m = depth_of_plane(np.array([0.0, -0.6, -0.8]), -0.5)
    keep, wanted = np.random.default_rng(0).random(depth_m.shape) < 0.8, np.zeros(depth_m.shape, dtype=bool)
    wanted[10:20, columns] = True
    everywhere, some = planes_everywhere(depth_m, keep, 3), _fit(depth_m, keep, wanted, 3)
    np.testing.assert_array_equal(some[0] > 0, wanted)
    np.testing.assert_allclose(some[:, wanted], everywhere[:, wanted], rtol=1e-5, atol=1e-9)


def test_too_few_or_collinear_pixels_give_no_plane() -> None:
    depth_m, keep = np.full((20, 20), 0.5, np.float32), np.zeros((20, 20), bool)
    keep[10, :] = True
    assert not planes_everywhere(depth_m, keep, 3)[0].any()
    keep[:] = False
    assert not planes_everywhere(depth_m, keep, 3)[0].any()


@pytest.mark.parametrize(("depth_m", "radius_px"), [(0.1, 8), (0.7, 6), (1.0, 4), (10.0, 3)])
def test_the_window_shrinks_with_distance(depth_m: float, radius_px: int) -> None:
    assert window_radius_px(depth_m, 600.0) == radius_px
