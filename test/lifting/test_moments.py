"""Mean and covariance of points are those of NumPy in float64."""

from __future__ import annotations

import numpy as np

from instance_seg_ros.lifting.moments import mean_and_covariance


def test_mean_and_covariance_are_those_of_numpy_and_leave_the_points_as_they_are() -> None:
    points_m = (np.random.default_rng(0).normal(size=(50, 3)) * [0.1, 0.2, 0.01] + [0, 1, 2]).astype(np.float32)
    given_m = points_m.copy()
    for run in (mean_and_covariance, mean_and_covariance.__wrapped__):  # type: ignore[attr-defined]  # also as Python
        mean_m, covariance_m2 = run(points_m)
        np.testing.assert_allclose(mean_m, np.mean(points_m, axis=0, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(covariance_m2, np.cov(points_m.T.astype(np.float64), bias=True), rtol=1e-9)
    np.testing.assert_array_equal(points_m, given_m)
