"""How tracked objects move: they mostly stand, and what moves comes to rest soon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

REST_S = 0.3
"""A velocity dies down by a factor of e in this time, so that an object out of sight does not run away."""
SPEED_M_S = 0.03
"""Standard deviation of the velocity on each axis, over all objects and times: most stand, hands move some."""
PUSHED_M_S = 0.6
"""The same of an object that is not where one at rest would be: somebody moves it."""
_SURPRISE = 11.3
"""A squared distance, in standard deviations, that one in a hundred objects at rest exceeds (chi square of 3)."""
LONGEST_UNSEEN_S = 1.0
"""Nothing moves on unseen for longer: what rests hidden, out of the image or unsegmented is where it was."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Places and velocities of T objects, Gaussian.

    The velocity is an Ornstein-Uhlenbeck process (the Singer model with velocity in the place of acceleration), whose
    standard deviation is `SPEED_M_S` and whose time constant is `REST_S`; between two frames it is integrated exactly.

    Attributes:
        place_m: (T, 3).
        velocity_m_s: (T, 3).
        covariance: (T, 6, 6), of place and velocity.
    """

    place_m: FloatArray
    velocity_m_s: FloatArray
    covariance: FloatArray

    @property
    def place_covariance_m2(self) -> FloatArray:
        """(T, 3, 3)."""
        return self.covariance[:, :3, :3]


def at_rest(place_m: FloatArray, covariance_m2: FloatArray) -> Motion:
    """Objects that are seen for the first time, (T, 3) and (T, 3, 3)."""
    covariance = np.zeros((len(place_m), 6, 6))
    covariance[:, :3, :3] = covariance_m2
    covariance[:, 3:, 3:] = SPEED_M_S**2 * np.eye(3)
    return Motion(place_m, np.zeros_like(place_m), covariance)


def predicted(motion: Motion, seconds: FloatArray) -> Motion:
    """The objects (T,) seconds later, of which no more than `LONGEST_UNSEEN_S` count."""
    step_s = np.minimum(seconds, LONGEST_UNSEEN_S)
    left = np.exp(-step_s / REST_S)
    reach_s = REST_S * (1 - left)
    transition = _over_axes([[np.ones_like(left), reach_s], [np.zeros_like(left), left]])
    # Covariance of the integrated noise (place, place and velocity, velocity), for a stationary variance of 1.
    place = 2 * REST_S * (step_s - reach_s) - reach_s**2
    both = REST_S * (1 - left) ** 2
    noise = _over_axes([[place, both], [both, 1 - left**2]])
    return Motion(
        motion.place_m + reach_s[:, None] * motion.velocity_m_s,
        left[:, None] * motion.velocity_m_s,
        transition @ motion.covariance @ transition.transpose(0, 2, 1) + SPEED_M_S**2 * noise,
    )


def _over_axes(of_one_axis: list[list[FloatArray]]) -> FloatArray:
    """(T, 6, 6) matrices over places and velocities that do the same on each axis, given (T,) elements of one."""
    return np.asarray(np.einsum("ijt,kl->tikjl", np.array(of_one_axis), np.eye(3)).reshape(-1, 6, 6))


def corrected(motion: Motion, place_m: FloatArray, covariance_m2: FloatArray, seconds: float) -> Motion:
    """The objects after they were seen at (T, 3) places with errors of (T, 3, 3) covariance: the Kalman filter.

    One that is too far from where it was expected, some seconds after it was last looked for, has been set in motion
    in between: its velocity may be any that hands give.
    """
    innovation = place_m - motion.place_m
    whitened = np.linalg.solve(motion.place_covariance_m2 + covariance_m2, innovation[..., None])[..., 0]
    pushed = (innovation * whitened).sum(axis=1) > _SURPRISE
    reach_s = REST_S * (1 - np.exp(-min(seconds, LONGEST_UNSEEN_S) / REST_S))
    push = np.kron(PUSHED_M_S**2 * np.array([[reach_s**2, reach_s], [reach_s, 1]]), np.eye(3))
    motion = Motion(motion.place_m, motion.velocity_m_s, motion.covariance + pushed[:, None, None] * push)
    gain = motion.covariance[:, :, :3] @ np.linalg.inv(motion.place_covariance_m2 + covariance_m2)
    step = (gain @ (place_m - motion.place_m)[..., None])[..., 0]
    # Joseph's form stays symmetric and positive.
    kept = np.eye(6) - np.concatenate([gain, np.zeros((len(gain), 6, 3))], axis=2)
    covariance = kept @ motion.covariance @ kept.transpose(0, 2, 1) + gain @ covariance_m2 @ gain.transpose(0, 2, 1)
    return Motion(motion.place_m + step[:, :3], motion.velocity_m_s + step[:, 3:], covariance)
