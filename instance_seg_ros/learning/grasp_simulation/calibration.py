"""Quality as a probability: a curve over weighted marks, fitted to what became of grasps in simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.grasping.quality import MARKS, score_of
from instance_seg_ros.learning.grasp_simulation.rounds import AttemptRecord

FloatArray = NDArray[np.float64]

_RIDGE = 0.3
_LEAST_OF_EACH = 10
_SCORE_EDGES = (0.2, 0.4, 0.55, 0.7, 0.8, 0.88, 0.93, 0.96, 0.98)
_PRIOR = 4
_LEAST_RISE = 0.004


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


def fit_curve(scores: FloatArray, held: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """The share that holds as a function of the logistic score: knots of a rising curve, (K,) scores and shares.

    Isotonic regression over bins of the score (Zadrozny and Elkan, 2002), which mends what is not logistic. A few
    attempts that held as their score says are added to each bin, so that small ones say little.
    """
    number = np.digitize(scores, _SCORE_EDGES)
    bins = [number == index for index in np.unique(number)]
    middle = np.array([scores[own].mean() for own in bins])
    weight = np.array([own.sum() + _PRIOR for own in bins])
    share = np.array([(held[own].sum() + _PRIOR * m) for own, m in zip(bins, middle, strict=True)]) / weight
    rising = isotonic_regression(share, weights=weight).x
    # Better marks stay better where the curve is flat.
    knots, shares = np.array([0.0, *middle, 1.0]), np.array([0.0, *rising, rising[-1]])
    return knots, np.minimum(np.maximum.accumulate(shares) + _LEAST_RISE * (knots - 1), 1.0).clip(min=0)


def fitted_lines(attempts: Sequence[AttemptRecord], weights: FloatArray | None = None) -> str:
    """The weights and the curve that fit these attempts, as the lines of `quality.py`, and what they rest on.

    Args:
        weights: (1 + len(MARKS),) for which the curve alone is fitted, so that the order of grasps stays.

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
    marks = np.array([attempt.marks for attempt in usable])
    lines = []
    if weights is None:
        weights = np.round(fit_weights(marks, held), 2) + 0.0
        lines = [("WEIGHTS", ", ".join(f"{weight:.2f}" for weight in weights))]
    curve = zip(("SCORES", "HELD"), fit_curve(score_of(marks, weights), held), strict=True)
    lines += [(name, ", ".join(f"{value:.4f}" for value in values)) for name, values in curve]
    text = "\n".join(f"{name} = np.array([{numbers}])" for name, numbers in lines)
    return f"{text}\nfrom {len(usable)} grasps, of which {np.count_nonzero(held)} held"
