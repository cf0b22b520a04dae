from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.learning.datasets.joined_frames import JoinedFrames
from instance_seg_ros.learning.datasets.scene_frames import SceneFrames
from instance_seg_ros.learning.datasets.training_samples import Images
from instance_seg_ros.learning.synthetic.store import open_store


class NumberedFrames:
    """Frames whose depth is their number, in metres."""

    def __init__(
        self, first: int, count: int, incomplete_share: float = 0.0, class_names: tuple[str, ...] = ("object",)
    ) -> None:
        self.class_names = class_names
        self.incomplete_share = incomplete_share
        self._first, self._count = first, count

    def __len__(self) -> int:
        return self._count

    def images(self, index: int, rng: np.random.Generator) -> Images:
        assert 0 <= index < self._count
        depth_m = np.full((2, 2), self._first + index, dtype=np.float32)
        return Images(depth_m, np.zeros((2, 2), np.uint8), np.ones(4, np.float32), np.zeros(254, np.int64))

    def facts(self) -> dict[str, int]:
        return {"frames": self._count}


@pytest.mark.parametrize("counts", [(3,), (3, 1, 2), (0, 2), (2, 0, 0, 1), (2, 0)])
def test_every_frame_of_every_source_comes_once_in_order(counts: tuple[int, ...]) -> None:
    firsts = np.cumsum((0, *counts))
    joined = JoinedFrames([NumberedFrames(int(first), count) for first, count in zip(firsts, counts, strict=False)])
    rng = np.random.default_rng(0)
    assert len(joined) == sum(counts)
    assert [joined.images(index, rng).depth_m[0, 0] for index in range(len(joined))] == list(range(sum(counts)))
    assert joined.facts() == {"sources": [{"frames": count} for count in counts]}


def test_the_incomplete_share_is_that_of_all_frames() -> None:
    assert JoinedFrames([NumberedFrames(0, 3, 1.0), NumberedFrames(0, 1, 0.0)]).incomplete_share == 0.75
    assert JoinedFrames([NumberedFrames(0, 0, 1.0)]).incomplete_share == 0


def test_no_source_and_different_classes_are_errors() -> None:
    with pytest.raises(ValueError, match="no frames"):
        JoinedFrames([])
    with pytest.raises(ValueError, match="different classes"):
        JoinedFrames([NumberedFrames(0, 1), NumberedFrames(0, 1, class_names=("cup", "can"))])


def test_a_store_with_colour_and_one_without_are_one_source(tiny_store: Path, tiny_color_store: Path) -> None:
    plain, colored = SceneFrames(open_store(tiny_store)), SceneFrames(open_store(tiny_color_store))
    joined = JoinedFrames([plain, colored])
    rng = np.random.default_rng(0)
    assert joined.images(0, rng).color_rgb is None
    assert joined.images(len(plain), rng).color_rgb is not None
    assert joined.incomplete_share == pytest.approx(len(plain) / len(joined))
