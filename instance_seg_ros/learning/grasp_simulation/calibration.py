"""Quality as a probability: the weights of a grasp's marks, fitted to what became of grasps in simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.grasping.quality import MARKS
from instance_seg_ros.learning.grasp_simulation.rounds import AttemptRecord

FloatArray = NDArray[np.float64]

_RIDGE = 0.3
_LEAST_OF_EACH = 10


def fit_weights(marks: FloatArray, held: NDArray[np.bool_]) -> FloatArray:
    """Logistic regression by maximum likelihood: (1 + len(MARKS),) the constant and the weights.

    No weight is above 0, since every mark is worse the larger it is, and a small penalty on their squares keeps those
    near 0 that the attempts tell nothing about.

    Args:
        marks: (N, len(MARKS)).
        held: (N,).
    """
    design = np.column_stack([np.ones(len(marks)), marks])
    sign = np.where(held, 1.0, -1.0)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        margin = sign * (design @ weights)
        gradient = -(sign / (1 + np.exp(margin.clip(-50, 50)))) @ design + _RIDGE * np.append(0.0, weights[1:])
        return float(np.logaddexp(0, -margin).sum() + _RIDGE * (weights[1:] ** 2).sum() / 2), gradient

    start = np.zeros(design.shape[1])
    bounds = [(None, None)] + [(None, 0.0)] * len(MARKS)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def fitted_line(attempts: Sequence[AttemptRecord]) -> str:
    """The weights that fit these attempts, as the line of `quality.py`, and what they rest on.

    Raises:
        InputError: there are too few attempts with marks that held, or that failed.
    """
    usable = [attempt for attempt in attempts if len(attempt.marks) == len(MARKS)]
    held = np.array([attempt.success for attempt in usable], dtype=bool)
    if min(np.count_nonzero(held), np.count_nonzero(~held)) < _LEAST_OF_EACH:
        raise InputError(
            f"to fit the quality takes {_LEAST_OF_EACH} grasps that held and as many that failed, not "
            f"{np.count_nonzero(held)} and {np.count_nonzero(~held)}; let more rounds run, best with --planners any"
        )
    weights = fit_weights(np.array([attempt.marks for attempt in usable]), held)
    numbers = ", ".join(f"{weight:.2f}" for weight in weights + 0.0)
    return f"WEIGHTS = np.array([{numbers}])\nfrom {len(usable)} grasps, of which {np.count_nonzero(held)} held"
