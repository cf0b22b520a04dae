from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.learning.evaluation.reliability import (
    Judged,
    fit,
    plot,
    real_predictions,
    reliability,
    threshold_for,
)


def masks(*columns: tuple[int, int]) -> np.ndarray:
    """(N, 4, 20) bool, each a band of columns."""
    result = np.zeros((len(columns), 4, 20), dtype=bool)
    for mask, (first, last) in zip(result, columns, strict=True):
        mask[:, first:last] = True
    return result


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ([(0, 10)], [(0, 10)], [True]),
        ([(0, 10)], [(0, 5)], [False]),  # an IoU of exactly one half
        ([(0, 10)], [(0, 6)], [True]),
        ([(0, 10)], [(0, 6), (0, 10)], [True, False]),  # the better score takes the object, not the better mask
        ([(0, 10), (10, 20)], [(10, 20), (0, 10)], [True, True]),
        ([(0, 10)], [(12, 18)], [False]),
        ([], [(0, 4)], [False]),
        ([(0, 4)], [], []),
    ],
)
def test_a_prediction_is_real_if_it_is_the_first_on_an_object(truth: list, predicted: list, expected: list) -> None:
    assert real_predictions(masks(*truth), masks(*predicted)).tolist() == expected


def drawn(count: int, slope: float, offset: float) -> Judged:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.98, count).astype(np.float32)
    odds = slope * np.log(scores / (1 - scores)) + offset
    return Judged(scores, rng.random(count) < 1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (3.0, 0.5), (0.6, -1.0)])
def test_the_fit_finds_how_scores_were_bent(slope: float, offset: float) -> None:
    judged = drawn(20_000, slope, offset)
    found = fit(judged.scores, judged.real)
    assert found.slope == pytest.approx(slope, rel=0.06)
    assert found.offset == pytest.approx(offset, abs=0.06)
    assert reliability(found.published(judged.scores), judged.real).expected_error < 0.015


def test_scores_that_separate_perfectly_still_give_finite_numbers() -> None:
    scores = np.linspace(0.05, 0.95, 100)
    found = fit(scores, scores > 0.5)
    assert 1 < found.slope < 100


@pytest.mark.parametrize(
    ("scores", "real", "cause"),
    [
        (np.full(10, 0.5), np.arange(10) < 5, "10 predictions, 5 of them real, tell too little"),
        (np.full(100, 0.5), np.ones(100, bool), "100 predictions, 100 of them real"),
        (np.linspace(0.1, 0.9, 100), np.arange(100) < 50, "a higher score does not mean a better prediction"),
    ],
)
def test_what_cannot_be_fitted_is_refused(scores: np.ndarray, real: np.ndarray, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        fit(scores, real)


def test_reliability_counts_by_score() -> None:
    found = reliability(np.array([0.05, 0.15, 0.15, 0.95, 1.0]), np.array([False, True, False, True, True]))
    assert found.counts.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found.real_shares[[0, 1, 9]].tolist() == [0.0, 0.5, 1.0]
    assert found.expected_error == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.025) / 5)


@pytest.mark.parametrize(("wrong_share", "expected"), [(0.0, 0.9), (0.34, 0.7), (0.5, 0.6), (1.0, 0.5)])
def test_the_threshold_keeps_its_promise(wrong_share: float, expected: float) -> None:
    scores = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    real = np.array([False, False, True, False, True])
    assert threshold_for(scores, real, wrong_share) == expected


@pytest.mark.parametrize(
    ("real", "wrong_share", "expected"),
    [
        ([True, False, True], 0.0, 1.0),  # the wrong one of two that score 0.9 passes with the right one
        ([False, True, True], 0.4, 0.8),
        ([True, False, True], 0.5, 0.8),
        ([True, True, False], 0.0, 0.9),
    ],
)
def test_predictions_of_the_same_score_pass_the_threshold_together(
    real: list[bool], wrong_share: float, expected: float
) -> None:
    scores = np.array([0.9, 0.9, 0.8])
    assert threshold_for(scores, np.array(real), wrong_share) == expected


def test_without_a_right_prediction_nothing_passes_the_threshold() -> None:
    assert threshold_for(np.array([0.9]), np.array([False]), 0.05) == 1.0


def test_the_diagram_is_drawn(tmp_path: Path) -> None:
    judged = drawn(100, 1.0, 0.0)
    plot([("any", reliability(judged.scores, judged.real))], tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_frames_without_predictions_count_nothing() -> None:
    joined = Judged.joined([])
    assert (joined.scores.shape, joined.real.dtype) == ((0,), np.bool_)
