"""The fit of the quality, against attempts drawn from known weights."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.grasping.quality import MARKS
from instance_seg_ros.learning.grasp_simulation.calibration import fit_weights, fitted_line
from instance_seg_ros.learning.grasp_simulation.rounds import AttemptRecord


def drawn(true: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Marks and outcomes of attempts whose probability to hold follows from these weights."""
    rng = np.random.default_rng(3)
    marks = rng.uniform(0, 1, (count, len(MARKS)))
    return marks, rng.random(count) < 1 / (1 + np.exp(-true[0] - marks @ true[1:]))


def test_the_weights_that_made_the_outcomes_are_found() -> None:
    true = np.array([4.0, -3.0, -1.0, -2.0, 0.0, 0.0, -0.5, -1.0, -1.5, 0.0, -1.0, 0.0])
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
    line = fitted_line(attempts)
    assert line.startswith("WEIGHTS = np.array([") and line.endswith("from 42 grasps, of which 30 held")
    with pytest.raises(InputError, match="not 30 and 0"):
        fitted_line(attempts[:30])
