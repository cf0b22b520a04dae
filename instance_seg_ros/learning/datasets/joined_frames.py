"""Several sources of labelled frames used as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from instance_seg_ros.learning.datasets.training_samples import FrameSource, Images


class JoinedFrames:
    """A `FrameSource` of the frames of others, one after the other.

    Args:
        sources: of the same classes.

    Raises:
        ValueError: there is no source, or their classes differ.
    """

    def __init__(self, sources: Sequence[FrameSource]) -> None:
        if not sources:
            raise ValueError("no frames to train on")
        if len({source.class_names for source in sources}) > 1:
            raise ValueError("frames of different classes cannot be trained on together")
        self.class_names = sources[0].class_names
        self._sources = tuple(sources)
        self._ends = tuple(accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def incomplete_share(self) -> float:
        """Of all frames."""
        incomplete = sum(len(source) * source.incomplete_share for source in self._sources)
        return incomplete / max(len(self), 1)

    def images(self, index: int, rng: np.random.Generator) -> Images:
        """A frame of the source that holds it; what is random about it is drawn from `rng`."""
        position = bisect_right(self._ends, index)
        first = self._ends[position - 1] if position else 0
        return self._sources[position].images(index - first, rng)

    def facts(self) -> dict[str, Any]:
        """What each source says of itself."""
        return {"sources": [source.facts() for source in self._sources]}
