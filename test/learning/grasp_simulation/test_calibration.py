"""The fit of the quality, against attempts drawn from known weights."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.grasping.quality import MARKS, WEIGHTS
from instance_seg_ros.learning.grasp_simulation.calibration import fit_curve, fit_weights, fitted_lines
from instance_seg_ros.learning.grasp_simulation.rounds import AttemptRecord


def drawn(true: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Marks and outcomes of attempts whose probability to hold follows from these weights."""
    rng = np.random.default_rng(3)
    marks = rng.uniform(0, 1, (count, len(MARKS)))
    return marks, rng.random(count) < 1 / (1 + np.exp(-true[0] - marks @ true[1:]))


def test_the_weights_that_made_the_outcomes_are_found() -> None:
    true = np.array([4.0, -3.0, -1.0, -2.0, 0.0, 0.0, -0.5, -1.0, -1.5, 0.0, -1.0, 0.0, -0.5])
    weights = fit_weights(*drawn(true, 6000))
    assert weights == pytest.approx(true, abs=0.35)
    assert (weights[1:] <= 0).all()


def test_a_mark_that_would_count_for_a_grasp_counts_nothing() -> None:
    true = np.zeros(1 + len(MARKS))
    true[1] = 2.0
    assert fit_weights(*drawn(true, 2000))[1] == pytest.approx(0, abs=1e-6)


def attempt(marks: tuple[float, ...], held: bool) -> AttemptRecord:
    return AttemptRecord("jar", 0.5, 0.05, "HELD" if held else "SLIPPED", "nothing", None, None, "jar", marks)


def test_the_fit_says_what_it_rests_on_and_refuses_too_little() -> None:
    good, bad = (0.0,) * len(MARKS), (1.0,) * len(MARKS)
    attempts = [attempt(good, True)] * 30 + [attempt(bad, False)] * 12 + [attempt((), False)] * 5
    lines = fitted_lines(attempts).splitlines()
    assert [line.split(" = ")[0] for line in lines[:3]] == ["WEIGHTS", "SCORES", "HELD"]
    assert lines[3] == "from 42 grasps, of which 30 held"
    kept = fitted_lines(attempts, WEIGHTS).splitlines()
    assert [line.split(" = ")[0] for line in kept[:2]] == ["SCORES", "HELD"] and kept[2:] == lines[3:]
    with pytest.raises(InputError, match="not 30 and 0"):
        fitted_lines(attempts[:30])


def test_the_curve_rises_through_the_shares_that_held() -> None:
    # Of those with a score of 0.5 a fifth held, of those with 0.9 nine tenths: no logistic function of the score.
    scores = np.repeat([0.1, 0.5, 0.9], 1000)
    held = np.concatenate([np.arange(1000) < count for count in (50, 200, 900)])
    knots, shares = fit_curve(scores, held)
    assert np.interp([0.1, 0.5, 0.9], knots, shares) == pytest.approx([0.05, 0.2, 0.9], abs=0.01)
    assert (np.diff(knots) > 0).all() and (np.diff(shares) >= 0).all()
    assert (knots[0], knots[-1], shares[0]) == (0, 1, 0) and shares[-1] == pytest.approx(0.9, abs=0.01)


def test_a_bin_of_few_attempts_says_little_and_the_curve_never_falls() -> None:
    scores = np.concatenate([np.full(500, 0.5), [0.99]])
    knots, shares = fit_curve(scores, np.concatenate([np.arange(500) < 250, [False]]))
    assert 0.7 < np.interp(0.99, knots, shares) < 0.9  # one failure against four attempts that held as the score says
    knots, shares = fit_curve(np.repeat([0.3, 0.6], 100), np.concatenate([np.arange(100) < 60, np.arange(100) < 40]))
    assert (np.diff(shares) >= 0).all() and np.interp(0.6, knots, shares) == pytest.approx(0.5, abs=0.03)
