"""Where centre and sides of an object most likely are, and how each further doubt widens both."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.lifting.box_bounds import SIGMAS_OF_90_PERCENT, SideBounds
from instance_seg_ros.lifting.estimate import Estimate
from instance_seg_ros.lifting.likely_centre import Likely, View

AXES = np.array([[-1, -44, 68], [76, 23, 16], [-28, 64, 41]]) / 81  # as columns
BOX = OrientedBox(Transform(AXES, np.array([0.1, 0.0, 0.8])), np.array([0.2, 0.1, 0.06]))
ALONG_BOX = View(AXES.T, np.array([0.11, 0.02, 0.79]), np.zeros(0), 1.0)


def likely(offset_m: float, deviation_m: float, out_m: float) -> Likely:
    """The same along each axis."""
    return Likely(np.full(3, offset_m), np.full(3, deviation_m), np.full((3, 2, 2), [-out_m, out_m]))


def deviations_m(estimate: Estimate) -> np.ndarray:
    """(3,) standard deviations along the axes of the box."""
    return np.sqrt(np.diag(AXES.T @ estimate.covariance_m2 @ AXES))


@pytest.mark.parametrize(
    ("centre_m", "covariance_m2", "message"),
    [
        (np.zeros(2), np.eye(3), "shapes"),
        (np.zeros(3), np.eye(2), "shapes"),
        (np.array([0.0, np.nan, 1.0]), np.eye(3), "finite"),
        (np.zeros(3), np.diag([1.0, np.inf, 1.0]), "finite"),
        (np.zeros(3), np.diag([1.0, 1.0, -1e-9]), "negative variance"),
    ],
)
def test_what_cannot_be_is_refused(centre_m: np.ndarray, covariance_m2: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Estimate(BOX, centre_m, covariance_m2, SideBounds(np.zeros((3, 2, 2))))


def test_a_box_alone_is_taken_as_it_is() -> None:
    estimate = Estimate.of_box(BOX)
    np.testing.assert_array_equal(estimate.centre_m, BOX.T_camera_box.translation_m)
    assert not estimate.covariance_m2.any() and not estimate.sides.beyond_m.any()


@pytest.mark.parametrize(
    ("unseen_m", "is_completed", "upwards_m", "foot_m"),
    [
        (0.0, True, 0.004, [-0.01, 0.01]),
        (0.05, True, 0.02, [-0.05, 0.01]),  # four tenths of it; it may end higher
        (0.05, False, 0.02, [-0.01, 0.05]),  # lower
    ],
)
def test_what_was_learned_and_a_foot_that_is_not_seen(
    unseen_m: float, is_completed: bool, upwards_m: float, foot_m: list[float]
) -> None:
    estimate = Estimate.of_view(BOX, ALONG_BOX, likely(0.003, 0.004, 0.01), unseen_m, is_completed)
    np.testing.assert_allclose(estimate.centre_m, ALONG_BOX.centre_m + AXES @ np.full(3, 0.003), atol=1e-12)
    np.testing.assert_allclose(deviations_m(estimate), [0.004, 0.004, upwards_m], atol=1e-9)
    expected_m = np.full((3, 2, 2), [-0.01, 0.01])
    expected_m[2, 0] = foot_m
    np.testing.assert_allclose(estimate.sides.beyond_m, expected_m, atol=1e-12)


def test_a_centre_that_is_as_likely_elsewhere_widens_both_towards_there_alone() -> None:
    estimate = Estimate.of_view(BOX, ALONG_BOX, likely(0.0, 0.004, 0.01), 0.0, True)
    wider = estimate.or_at(estimate.centre_m + 0.03 * AXES[:, 0])
    np.testing.assert_array_equal(wider.centre_m, estimate.centre_m)
    np.testing.assert_allclose(deviations_m(wider), [np.sqrt(0.004**2 + 0.03**2 / 2), 0.004, 0.004], atol=1e-9)
    assert np.argwhere(wider.sides.beyond_m > 0.0100001).tolist() == [[0, 1, 1]]
    assert wider.sides.beyond_m[0, 1, 1] == pytest.approx(0.06)  # its other side stays where it is seen


def test_errors_that_are_independent_add_up_in_their_squares() -> None:
    estimate = Estimate.of_view(BOX, ALONG_BOX, likely(0.0, 0.004, 0.01), 0.0, True)
    wider = estimate.with_error(0.003**2 * np.eye(3), (0.02 / SIGMAS_OF_90_PERCENT) ** 2 * np.eye(3))
    np.testing.assert_allclose(deviations_m(wider), np.full(3, 0.005), atol=1e-9)
    half_m = np.hypot(0.01, 0.02)
    np.testing.assert_allclose(wider.sides.beyond_m, np.full((3, 2, 2), [-half_m, half_m]), atol=1e-9)
