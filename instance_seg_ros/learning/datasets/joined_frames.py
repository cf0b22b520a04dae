"""Several sources of labelled frames used as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from instance_seg_ros.learning.datasets.training_samples import FrameSource, GrowingSource, Images, clean_source


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
        self._count()
        clean = [found for source in sources if (found := clean_source(source)) is not None]
        self.gives_clean = len(clean) == len(sources) and all(
            (one.prints, one.misregistration) == (clean[0].prints, clean[0].misregistration) for one in clean
        )
        if self.gives_clean:
            self.prints, self.misregistration = clean[0].prints, clean[0].misregistration

    def _count(self) -> None:
        self._ends = tuple(accumulate(len(source) for source in self._sources))

    def refresh(self) -> bool:
        """Lets each source take in what has been made since; whether more may come."""
        grows = [source.refresh() for source in self._sources if isinstance(source, GrowingSource)]
        self._count()
        return any(grows)

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def incomplete_share(self) -> float:
        """Of all frames."""
        incomplete = sum(len(source) * source.incomplete_share for source in self._sources)
        return incomplete / max(len(self), 1)

    def images(self, index: int, rng: np.random.Generator) -> Images:
        """A frame of the source that holds it; what is random about it is drawn from `rng`."""
        source, own = self._place(index)
        return source.images(own, rng)

    def clean_images(self, index: int) -> Images:
        """A frame without a camera's faults of the source that holds it, if all `gives_clean`."""
        source, own = self._place(index)
        clean = clean_source(source)
        assert clean is not None
        return clean.clean_images(own)

    def _place(self, index: int) -> tuple[FrameSource, int]:
        """The source that holds a frame, and its index there."""
        position = bisect_right(self._ends, index)
        first = self._ends[position - 1] if position else 0
        return self._sources[position], index - first

    def facts(self) -> dict[str, Any]:
        """What each source says of itself."""
        return {"sources": [source.facts() for source in self._sources]}
