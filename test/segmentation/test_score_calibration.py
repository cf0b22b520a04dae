from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.segmentation.score_calibration import UNCHANGED, ScoreCalibration


def test_the_default_changes_nothing() -> None:
    scores = np.array([0.0, 0.3, 1.0], np.float32)
    assert UNCHANGED.published(scores) is scores
    assert UNCHANGED.raw(0.3) == UNCHANGED.probability(0.3) == 0.3


@pytest.mark.parametrize(
    ("slope", "offset", "score", "probability"),
    [
        (1.0, 1.0, 0.5, 0.731059),  # 1 / (1 + exp(-1))
        (2.0, 0.0, 0.8, 0.941176),  # odds of 4 become 16
        (2.0, 0.0, 0.2, 0.058824),
        (0.5, 0.0, 0.9, 0.75),  # odds of 9 become 3
    ],
)
def test_scores_become_probabilities_and_back(slope: float, offset: float, score: float, probability: float) -> None:
    calibration = ScoreCalibration(slope, offset)
    assert calibration.probability(score) == pytest.approx(probability, abs=1e-5)
    assert calibration.published(np.array([score], np.float32))[0] == pytest.approx(probability, abs=1e-5)
    assert calibration.raw(probability) == pytest.approx(score, abs=1e-4)


def test_the_order_stays_and_empty_rows_stay_empty() -> None:
    scores = np.array([0.99, 0.9, 0.5, 0.01, 0.0], np.float32)
    published = ScoreCalibration(3.0, 1.0).published(scores)
    assert published.dtype == np.float32
    assert (np.diff(published) < 0).all()
    assert published[-1] == 0
    assert ScoreCalibration(3.0, 1.0).published(np.ones(1, np.float32)) == 1


def test_a_calibration_survives_its_text() -> None:
    calibration = ScoreCalibration(3.1, -0.2)
    assert ScoreCalibration.from_text(calibration.to_text()) == calibration


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{}", "must hold slope and offset"),
        ("[1, 2]", "must hold slope and offset"),
        ('{"slope": 0, "offset": 1}', "needs a slope above 0"),
        ('{"slope": 1, "offset": Infinity}', "a finite offset"),
        ("{", "Expecting property name"),
    ],
)
def test_what_is_no_calibration_is_refused(text: str, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        ScoreCalibration.from_text(text)
