"""Figures of many rounds: shares with their intervals, causes of failure, calibration."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from instance_seg_ros.learning.grasp_simulation.rounds import AttemptRecord, RoundRecord, explanation

_Z_95 = 1.959964
QUALITY_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Share:
    """`count` of `total`, and the interval that holds the true share in 95 of 100 cases."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share, NaN of nothing."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (1927); (0, 1) of nothing."""
        if not self.total:
            return 0.0, 1.0
        n, z2 = self.total, _Z_95**2
        middle = (self.value + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z_95 / (1 + z2 / n) * math.sqrt(self.value * (1 - self.value) / n + z2 / (4 * n * n))
        # At the ends the bound is exact, but for rounding.
        return (0.0 if self.count == 0 else middle - half), (1.0 if self.count == n else middle + half)

    def __str__(self) -> str:
        if not self.total:
            return "-"
        low, high = self.interval
        return f"{100 * self.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}] ({self.count}/{self.total})"


@dataclass(frozen=True)
class Bin:
    """Grasps of like quality: how many there are, their mean quality and how many held."""

    low: float
    high: float
    mean_quality: float
    held: Share


@dataclass(frozen=True)
class Figures:
    """What the rounds of one scene and planner come to.

    Attributes:
        rounds: how many.
        success: of the executed grasps.
        cleared: of the objects.
        touched: attempts whose approach was stopped by a touch.
        causes: failed attempts by cause, and by what was wrong with the plan.
        ended: rounds by why they ended.
        left: objects that were left, by family.
    """

    scene: str
    planner: str
    rounds: int
    success: Share
    cleared: Share
    touched: int
    causes: Counter[tuple[str, str]]
    ended: Counter[str]
    left: Counter[str]


def figures_of(rounds: Iterable[RoundRecord], max_opening_m: float) -> list[Figures]:
    """The figures for each scene and planner, in the order in which they come first."""
    groups: dict[tuple[str, str], list[RoundRecord]] = {}
    for record in rounds:
        groups.setdefault((record.scene, record.planner), []).append(record)
    result = []
    for (scene, planner), own in groups.items():
        attempts = [attempt for record in own for attempt in record.attempts]
        failed = [attempt for attempt in attempts if not attempt.success]
        result.append(
            Figures(
                scene,
                planner,
                len(own),
                Share(len(attempts) - len(failed), len(attempts)),
                Share(sum(record.cleared for record in own), sum(record.objects for record in own)),
                sum(attempt.touched != "nothing" for attempt in attempts),
                Counter((attempt.cause, explanation(attempt, max_opening_m)) for attempt in failed),
                Counter(record.ended for record in own),
                Counter(family for record in own for family in record.left),
            )
        )
    return result


def seen_as(attempt: AttemptRecord) -> str:
    """How much of the object was seen, in words."""
    return {None: "not known", False: "whole", True: "in part"}[attempt.in_part]


def calibration(attempts: Sequence[AttemptRecord]) -> list[Bin]:
    """The grasps that have a quality, in bins of a tenth; bins without any are left out."""
    bins = []
    for low, high in itertools.pairwise(QUALITY_EDGES):
        own = [
            attempt
            for attempt in attempts
            if attempt.quality is not None and low <= attempt.quality < (high if high < 1 else math.inf)
        ]
        if own:
            mean = sum(attempt.quality or 0.0 for attempt in own) / len(own)
            bins.append(Bin(low, high, mean, Share(sum(attempt.success for attempt in own), len(own))))
    return bins
