"""How far the instances of one backend agree with those of another, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances

_SAME_IOU = 0.5


@dataclass(frozen=True)
class InstanceAgreement:
    """Over some frames.

    Attributes:
        frames: that were compared.
        expected, found: instances of the trusted backend and of the other one.
        missing: expected ones that the other has not: none of its class whose mask has an IoU of 0.5.
        extra: found ones that the trusted one has not.
        worst_iou: of the masks of those that both have; 1 where there are none.
        worst_score_difference: of those; 0 where there are none.
        lone_scores: of the missing and the extra ones: one beside the threshold comes or goes with the rounding.
    """

    frames: int
    expected: int
    found: int
    missing: int
    extra: int
    worst_iou: float
    worst_score_difference: float
    lone_scores: tuple[float, ...] = ()

    def fault(self, min_iou: float) -> str | None:
        """What is wrong, where an instance is missing or extra or a mask's IoU is less than this; else None."""
        if self.missing or self.extra:
            scores = ", ".join(f"{score:.4f}" for score in self.lone_scores)
            return f"{self.missing} instances missing, {self.extra} extra (scores {scores})"
        return f"a mask has an IoU of {self.worst_iou:.4f}" if self.worst_iou < min_iou else None


def instance_agreement(pairs: Sequence[tuple[Instances, Instances]]) -> InstanceAgreement:
    """The agreement of (trusted, other) instances, one pair a frame; each instance has one partner at most."""
    ious: list[float] = []
    differences: list[float] = []
    lone_scores: list[float] = []
    expected = found = 0
    for trusted, other in pairs:
        expected, found = expected + len(trusted), found + len(other)
        table = _ious(trusted, other)
        rows, columns = set(range(len(trusted))), set(range(len(other)))
        # The best pair first, until what is left overlaps by less than half.
        while table.size and table.max() >= _SAME_IOU:
            row, column = divmod(int(table.argmax()), len(other))
            ious.append(float(table[row, column]))
            differences.append(abs(float(trusted.scores[row]) - float(other.scores[column])))
            table[row, :] = table[:, column] = -1
            rows.remove(row)
            columns.remove(column)
        lone_scores += [float(trusted.scores[row]) for row in sorted(rows)]
        lone_scores += [float(other.scores[column]) for column in sorted(columns)]
    return InstanceAgreement(
        frames=len(pairs),
        expected=expected,
        found=found,
        missing=expected - len(ious),
        extra=found - len(ious),
        worst_iou=min(ious, default=1.0),
        worst_score_difference=max(differences, default=0.0),
        lone_scores=tuple(lone_scores),
    )


def _ious(first: Instances, second: Instances) -> NDArray[np.float64]:
    """(K, L) of the masks; -1 for unequal classes."""
    table = np.full((len(first), len(second)), -1.0)
    for row, mask in enumerate(first.masks):
        for column in np.flatnonzero(second.class_ids == first.class_ids[row]):
            other = second.masks[column]
            union = int(np.count_nonzero(mask | other))
            table[row, column] = int(np.count_nonzero(mask & other)) / max(union, 1)
    return table
