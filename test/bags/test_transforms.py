from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from instance_seg_ros.bags.transforms import FrameTree
from instance_seg_ros.core.geometry import Transform


def shift(x: float) -> Transform:
    return Transform(np.eye(3), np.array([x, 0, 0]))


def test_transforms_are_composed_over_the_common_ancestor() -> None:
    tree = FrameTree({"a": ("root", shift(1)), "b": ("root", shift(3)), "c": ("b", shift(0.5))})
    found = tree.lookup("a", "c")
    assert found is not None
    assert found.translation_m.tolist() == [2.5, 0, 0]
    assert tree.lookup("a", "unknown") is None


def test_a_loop_of_transforms_ends() -> None:
    assert FrameTree({"a": ("b", shift(1)), "b": ("a", shift(1))}).lookup("a", "c") is None


def test_a_later_transform_of_a_frame_replaces_the_earlier(transform_message: Callable) -> None:
    tree = FrameTree()
    for x in (0.1, 0.2):
        tree.add(transform_message("link", "camera", (x, 0.0, 0.0)).transforms[0])
    found = tree.lookup("link", "camera")
    assert found is not None
    assert found.translation_m.tolist() == [0.2, 0, 0]


def test_a_transform_that_was_never_filled_is_named(transform_message: Callable) -> None:
    (stamped,) = transform_message("link", "camera", (0.0, 0.0, 0.0)).transforms
    stamped.transform.rotation.w = 0.0
    with pytest.raises(ValueError, match="unusable transform from 'camera' to 'link': quaternion"):
        FrameTree().add(stamped)
