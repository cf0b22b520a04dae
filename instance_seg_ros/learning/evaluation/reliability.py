"""Whether a score is the share of predictions that are right, and the map that makes it so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.masks import mask_areas
from instance_seg_ros.segmentation.score_calibration import ScoreCalibration, log_odds

REAL_IOU = 0.5
"""A prediction is real if it overlaps an object, that no better one has taken, by more than this."""
_ROUNDS = 50
_FEWEST = 50


@dataclass(frozen=True, eq=False)
class Judged:
    """Predictions.

    Attributes:
        scores: (N,) float32.
        real: (N,) bool.
    """

    scores: NDArray[np.float32]
    real: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        """Those of several frames."""
        return cls(
            np.concatenate([part.scores for part in parts] or [np.zeros(0, np.float32)]),
            np.concatenate([part.real for part in parts] or [np.zeros(0, bool)]),
        )


def real_predictions(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which predictions are real: best score first, each takes the free object that it overlaps most.

    Args:
        truth: (N, H, W) bool, the objects.
        predicted: (M, H, W) bool, best score first.

    Returns:
        (M,) bool.
    """
    real = np.zeros(len(predicted), dtype=bool)
    free = np.ones(len(truth), dtype=bool)
    areas = mask_areas(truth)
    for index, mask in enumerate(predicted):
        common = (truth & mask).sum(axis=(1, 2))
        overlap = np.where(free, common / np.maximum(areas + mask.sum() - common, 1), 0.0)
        if len(overlap) and overlap.max() > REAL_IOU:
            real[index] = True
            free[overlap.argmax()] = False
    return real


def fit(scores: NDArray[np.floating], real: NDArray[np.bool_]) -> ScoreCalibration:
    """Platt's map by Newton's method, with his targets, which are not quite 0 and 1 so that few samples do not overfit.

    Args:
        scores: (N,) of the network.
        real: (N,) bool.

    Raises:
        ValueError: there are too few predictions, all or none of them is real, or a higher score is no better.
    """
    positives = int(real.sum())
    negatives = len(real) - positives
    if len(real) < _FEWEST or not positives or not negatives:
        raise ValueError(
            f"{len(real)} predictions, {positives} of them real, tell too little; give more labelled frames "
            f"({_FEWEST} predictions at least, right and wrong ones)"
        )
    target = np.where(real, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    inputs = np.stack((log_odds(scores), np.ones(len(scores))), axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(_ROUNDS):
        probability = 1 / (1 + np.exp(-(inputs @ weights).clip(-30, 30)))
        gradient = inputs.T @ (probability - target)
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights -= step * min(1.0, 2.0 / float(np.abs(step).max() + 1e-12))
    if not weights[0] > 0:
        raise ValueError("a higher score does not mean a better prediction here: the frames do not fit the model")
    return ScoreCalibration(round(float(weights[0]), 4), round(float(weights[1]), 4))


@dataclass(frozen=True)
class Reliability:
    """How published scores compare with what became of the predictions, in bins of score.

    Attributes:
        edges: (bins + 1,) of the bins.
        counts: (bins,) predictions.
        mean_scores: (bins,), NaN for an empty bin.
        real_shares: (bins,) share that is real, NaN for an empty bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    mean_scores: NDArray[np.float64]
    real_shares: NDArray[np.float64]

    @property
    def expected_error(self) -> float:
        """Mean distance of score and share over the predictions (expected calibration error)."""
        some = self.counts > 0
        distance = np.abs(self.mean_scores[some] - self.real_shares[some])
        return float((distance * self.counts[some]).sum() / max(self.counts.sum(), 1))


def reliability(scores: NDArray[np.floating], real: NDArray[np.bool_], bins: int = 10) -> Reliability:
    """Published scores (N,) and whether each prediction is real (N,), in bins of equal width."""
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.digitize(scores, edges) - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(bin_of, weights=scores, minlength=bins) / counts
        shares = np.bincount(bin_of, weights=real.astype(float), minlength=bins) / counts
    return Reliability(edges, counts, means, shares)


def threshold_for(scores: NDArray[np.floating], real: NDArray[np.bool_], wrong_share: float) -> float:
    """The lowest published score from which on at most this share of the predictions is wrong; 1 where there is none.

    Args:
        scores: (N,), published.
        real: (N,), which of them are of an object.
        wrong_share: in [0, 1].
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    wrong = np.cumsum(~real[order]) / np.arange(1, len(order) + 1)
    # A threshold lets all predictions of one score pass, or none.
    is_last = np.append(ordered[1:] < ordered[:-1], True)[: len(ordered)]
    kept = np.flatnonzero(is_last & (wrong <= wrong_share))
    return float(ordered[kept[-1]]) if len(kept) else 1.0


def plot(found: Iterable[tuple[str, Reliability]], path: Path) -> None:
    """The reliability diagram of some named results, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for name, one in found:
        some = one.counts > 0
        label = f"{name} (off by {100 * one.expected_error:.1f} %)"
        axes.plot(one.mean_scores[some], one.real_shares[some], marker="o", label=label)
    axes.set_xlabel("score")
    axes.set_ylabel(f"share of predictions that are real (IoU > {REAL_IOU:g})")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
