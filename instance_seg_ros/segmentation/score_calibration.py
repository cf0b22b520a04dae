"""Published scores: the probability that an instance is real, from what the network says of it.

A network's own score orders instances, and its value means little. Platt's map (1999), a logistic curve over the
score's log-odds, is fitted on labelled frames (`instance-seg calibrate`), lies in the model file's metadata, and is
applied where every backend's result passes, so that all of them agree and no graph changes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CLOSEST = 1e-6
"""Scores this near to 0 and 1 are taken for that far away, where the log-odds are still finite."""


@dataclass(frozen=True)
class ScoreCalibration:
    """A map of scores to probabilities; the default one changes nothing.

    Attributes:
        slope, offset: probability = sigmoid(slope * log-odds of the score + offset).

    Raises:
        ValueError: the slope is not above 0, so that the order would change, or a number is not finite.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and 0 < self.slope < math.inf):
            raise ValueError(f"a score calibration needs a slope above 0 and a finite offset, not {self}")

    @property
    def changes_nothing(self) -> bool:
        """Whether scores stay as they are."""
        return self.slope == 1.0 and self.offset == 0.0

    def published(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of any shape from the network's scores of that shape; 0 stays 0, for empty rows."""
        if self.changes_nothing:
            return scores
        probabilities = _sigmoid(self.slope * log_odds(scores) + self.offset)
        return np.where(scores > 0, probabilities, 0.0).astype(np.float32)

    def probability(self, score: float) -> float:
        """What a score of the network is published as."""
        if self.changes_nothing or score in (0.0, 1.0):
            return score
        return float(_sigmoid(self.slope * log_odds(np.array(score)) + self.offset))

    def raw(self, probability: float) -> float:
        """The network's score that is published as this probability."""
        if self.changes_nothing or probability in (0.0, 1.0):
            return probability
        return float(_sigmoid((log_odds(np.array(probability)) - self.offset) / self.slope))

    def to_text(self) -> str:
        """For a model file's metadata."""
        return json.dumps({"slope": self.slope, "offset": self.offset})

    @classmethod
    def from_text(cls, text: str) -> ScoreCalibration:
        """The inverse of `to_text`.

        Raises:
            ValueError: it is none.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or set(values) != {"slope", "offset"}:
            raise ValueError(f"score_calibration must hold slope and offset, not {text}")
        return cls(float(values["slope"]), float(values["offset"]))


UNCHANGED = ScoreCalibration()
"""Scores as the network gives them."""


def log_odds(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of scores in [0, 1], finite at the ends."""
    inside = np.clip(np.asarray(scores, np.float64), _CLOSEST, 1 - _CLOSEST)
    return np.log(inside) - np.log1p(-inside)


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * values))
