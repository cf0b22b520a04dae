"""The motion model: what it predicts over time, and whether its covariances are true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instance_seg_ros.tracking.motion import REST_S, SPEED_M_S, Motion, at_rest, corrected, predicted


def moving(velocity_m_s: float = 0.0, sigma_m: float = 0.01) -> Motion:
    """One object at the origin."""
    rest = at_rest(np.zeros((1, 3)), sigma_m**2 * np.eye(3)[None])
    return Motion(rest.place_m, np.array([[velocity_m_s, 0.0, 0.0]]), rest.covariance)


@given(first_s=st.floats(0, 0.5), second_s=st.floats(0, 0.5))
def test_two_steps_predict_what_one_as_long_does(first_s: float, second_s: float) -> None:
    """The process has no memory: it is integrated exactly."""
    once = predicted(moving(0.4), np.array([first_s + second_s]))
    twice = predicted(predicted(moving(0.4), np.array([first_s])), np.array([second_s]))
    np.testing.assert_allclose(twice.place_m, once.place_m, atol=1e-12)
    np.testing.assert_allclose(twice.velocity_m_s, once.velocity_m_s, atol=1e-12)
    np.testing.assert_allclose(twice.covariance, once.covariance, atol=1e-12)


@pytest.mark.parametrize(("seconds", "x_m"), [(0.0, 0.0), (0.01, 0.004), (1.0, 0.116), (3600.0, 0.116)])
def test_what_moves_comes_to_rest_soon(seconds: float, x_m: float) -> None:
    after = predicted(moving(0.4), np.array([seconds]))
    assert after.place_m[0, 0] == pytest.approx(x_m, abs=1e-3)
    assert after.place_m[0, 0] <= 0.4 * REST_S
    np.testing.assert_allclose(after.covariance[0, 3:, 3:], SPEED_M_S**2 * np.eye(3), atol=1e-12)


def test_what_is_hidden_for_long_is_known_less_well_but_not_lost() -> None:
    sigma_m = np.sqrt(predicted(moving(), np.array([3600.0])).place_covariance_m2[0, 0, 0])
    assert 0.01 < sigma_m < 0.05


def test_what_was_pushed_is_expected_where_it_goes() -> None:
    motion, error_m2 = moving(sigma_m=0.003), 0.003**2 * np.eye(3)[None]
    for step in range(1, 5):
        motion = corrected(predicted(motion, np.array([0.1])), np.array([[0.06 * step, 0.0, 0.0]]), error_m2, 0.1)
    assert predicted(motion, np.array([0.1])).place_m[0, 0] == pytest.approx(0.3, abs=0.02)


def test_covariances_are_true() -> None:
    """Of 400 objects that move as the model says, seen 20 times with 4 mm of noise: errors against covariances."""
    rng, sigma_m, step_s = np.random.default_rng(5), 0.004, 0.1
    zero = np.zeros((1, 3))
    still = Motion(zero, zero, np.zeros((1, 6, 6)))
    root = np.linalg.cholesky(predicted(still, np.array([step_s])).covariance[0] + 1e-18 * np.eye(6))
    left = np.exp(-step_s / REST_S)
    place_m, velocity_m_s = np.zeros((400, 3)), rng.normal(0, SPEED_M_S, (400, 3))
    errors_m2 = np.repeat(sigma_m**2 * np.eye(3)[None], 400, axis=0)
    motion = at_rest(place_m + rng.normal(0, sigma_m, (400, 3)), errors_m2)
    for _ in range(20):
        noise = rng.normal(size=(400, 6)) @ root.T
        place_m = place_m + REST_S * (1 - left) * velocity_m_s + noise[:, :3]
        velocity_m_s = left * velocity_m_s + noise[:, 3:]
        seen_m = place_m + rng.normal(0, sigma_m, (400, 3))
        motion = corrected(predicted(motion, np.full(400, step_s)), seen_m, errors_m2, step_s)
    error = np.concatenate([motion.place_m - place_m, motion.velocity_m_s - velocity_m_s], axis=1)
    squared = np.einsum("ti,tij,tj->t", error, np.linalg.inv(motion.covariance), error)
    # Chi square of 6 degrees of freedom has the mean 6, and 10.64 as its 90th percentile. What a surprise of one in a
    # hundred widens makes the mean a little smaller.
    assert squared.mean() == pytest.approx(6, abs=0.6)
    assert (squared < 10.64).mean() == pytest.approx(0.9, abs=0.04)
