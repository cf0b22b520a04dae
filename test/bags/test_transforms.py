from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from instance_seg_ros.bags.transforms import FrameTree, chain_to_root

T0_NS = 1_700_000_000_000_000_000
S_NS = 1_000_000_000


def turned(stamped: Any, angle_rad: float) -> Any:
    rotation = stamped.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = Rotation.from_rotvec([0, 0, angle_rad]).as_quat()
    return stamped


def test_transforms_are_composed_over_the_common_ancestor(transform_message: Callable) -> None:
    tree = FrameTree()
    for parent, child, x_m in (("root", "a", 1.0), ("root", "b", 3.0), ("b", "c", 0.5)):
        tree.add_static(transform_message(parent, child, (x_m, 0.0, 0.0)).transforms[0])
    found = tree.lookup("a", "c", T0_NS)
    assert found is not None
    assert found.translation_m.tolist() == [2.5, 0, 0]
    assert tree.lookup("a", "unknown", T0_NS) is None


def test_rotations_are_composed_in_their_order(transform_message: Callable) -> None:
    tree = FrameTree()
    tree.add_static(turned(transform_message("root", "a", (1.0, 0.0, 0.0)).transforms[0], np.pi / 2))
    tree.add_static(transform_message("a", "b", (2.0, 0.0, 0.0)).transforms[0])
    in_root, in_b = tree.lookup("root", "b", T0_NS), tree.lookup("b", "root", T0_NS)
    assert in_root is not None and in_b is not None
    np.testing.assert_allclose(in_root.translation_m, [1, 2, 0], atol=1e-12)
    np.testing.assert_allclose((in_root @ in_b).matrix, np.eye(4), atol=1e-12)


def test_of_two_turned_frames_the_one_is_told_in_the_axes_of_the_other(transform_message: Callable) -> None:
    tree = FrameTree()
    tree.add_static(turned(transform_message("root", "a", (1.0, 0.0, 0.0)).transforms[0], np.pi / 2))
    tree.add_static(turned(transform_message("root", "b", (1.0, 3.0, 0.0)).transforms[0], np.pi))
    found = tree.lookup("a", "b", T0_NS)
    assert found is not None
    np.testing.assert_allclose(found.translation_m, [3, 0, 0], atol=1e-12)  # 3 m along y of the root, which is a's x
    np.testing.assert_allclose(found.rotation @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_a_loop_of_transforms_ends(transform_message: Callable) -> None:
    tree = FrameTree()
    for parent, child in (("b", "a"), ("a", "b")):
        tree.add_static(transform_message(parent, child, (1.0, 0.0, 0.0)).transforms[0])
    assert tree.lookup("a", "c", T0_NS) is None
    assert chain_to_root({"a": "b", "b": "a"}, "a") == ["a", "b"]


def test_a_later_static_transform_of_a_frame_replaces_the_earlier(transform_message: Callable) -> None:
    tree = FrameTree()
    for x_m in (0.1, 0.2):
        tree.add_static(transform_message("link", "camera", (x_m, 0.0, 0.0)).transforms[0])
    found = tree.lookup("link", "camera", T0_NS)
    assert found is not None
    assert found.translation_m.tolist() == [0.2, 0, 0]


@pytest.mark.parametrize(
    ("after_s", "x_m"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (1.5, 2.0), (2.4, 3.0), (-0.4, 0.0)]
)
def test_a_moving_frame_is_where_it_was_at_that_time(transform_message: Callable, after_s: float, x_m: float) -> None:
    tree = FrameTree()
    for second, place_m in ((1, 1.0), (0, 0.0), (2, 3.0)):  # in any order
        tree.add_moving(transform_message("link", "head", (place_m, 0.0, 0.0), T0_NS + second * S_NS).transforms[0])
    found = tree.lookup("link", "head", T0_NS + round(after_s * S_NS))
    assert found is not None
    assert found.translation_m[0] == pytest.approx(x_m)


def test_a_frame_that_turns_is_turned_in_part_between_two_moments(transform_message: Callable) -> None:
    tree = FrameTree()
    for second, angle_rad in ((0, 0.0), (1, 1.0)):
        (stamped,) = transform_message("link", "head", (0.0, 0.0, 0.0), T0_NS + second * S_NS).transforms
        tree.add_moving(turned(stamped, angle_rad))
    found = tree.lookup("link", "head", T0_NS + S_NS // 4)
    assert found is not None
    np.testing.assert_allclose(Rotation.from_matrix(found.rotation).as_rotvec(), [0, 0, 0.25], atol=1e-9)


@pytest.mark.parametrize("after_s", [-0.6, 2.6])
def test_where_a_moving_frame_was_long_before_or_after_is_not_known(
    transform_message: Callable, after_s: float
) -> None:
    tree = FrameTree()
    for second in (0, 1, 2):
        tree.add_moving(transform_message("link", "head", (0.0, 0.0, 0.0), T0_NS + second * S_NS).transforms[0])
    assert tree.lookup("link", "head", T0_NS + round(after_s * S_NS)) is None


@pytest.mark.parametrize(("after_s", "known"), [(-0.1, False), (0.0, True), (1.0, True), (1.1, False)])
def test_of_what_is_not_assumed_to_stand_still_nothing_is_known_before_and_after(
    transform_message: Callable, after_s: float, known: bool
) -> None:
    tree = FrameTree()
    for second in (0, 1):
        tree.add_moving(transform_message("link", "head", (0.0, 0.0, 0.0), T0_NS + second * S_NS).transforms[0])
    assert (tree.lookup("link", "head", T0_NS + round(after_s * S_NS), beyond_ns=0) is not None) is known


@pytest.mark.parametrize(
    ("second_s", "after_s", "limits", "x_m"),
    [
        (10, 5.0, {}, 0.5),
        (11, 5.5, {}, None),  # as a robot that was off in the recording: nobody knows where it was
        (11, 0.4, {}, 0.0),
        (11, 10.6, {}, 1.0),
        (11, 0.4, {"beyond_ns": 0}, None),
        (1, 0.5, {"beyond_ns": 0, "gap_ns": 0}, None),
        (1, 1.0, {"beyond_ns": 0, "gap_ns": 0}, 1.0),
    ],
)
def test_between_two_moments_far_apart_nothing_is_known(
    transform_message: Callable, second_s: int, after_s: float, limits: dict[str, int], x_m: float | None
) -> None:
    tree = FrameTree()
    for second, place_m in ((0, 0.0), (second_s, 1.0)):
        tree.add_moving(transform_message("link", "head", (place_m, 0.0, 0.0), T0_NS + second * S_NS).transforms[0])
    found = tree.lookup("link", "head", T0_NS + round(after_s * S_NS), **limits)
    assert (None if found is None else pytest.approx(found.translation_m[0])) == x_m


def test_a_transform_in_another_frame_than_before_is_named_and_not_taken(transform_message: Callable) -> None:
    tree = FrameTree()
    tree.add_moving(transform_message("map", "head", (1.0, 0.0, 0.0), T0_NS).transforms[0])
    with pytest.raises(ValueError, match="transform from 'head' to 'odom': it was told in 'map' before"):
        tree.add_moving(transform_message("odom", "head", (2.0, 0.0, 0.0), T0_NS + S_NS // 4).transforms[0])
    found = tree.lookup("map", "head", T0_NS + S_NS // 4)
    assert found is not None
    assert found.translation_m.tolist() == [1, 0, 0]
    assert tree.lookup("odom", "head", T0_NS) is None


def test_a_transform_that_was_never_filled_is_named(transform_message: Callable) -> None:
    (stamped,) = transform_message("link", "camera", (0.0, 0.0, 0.0)).transforms
    stamped.transform.rotation.w = 0.0
    for add in (FrameTree().add_static, FrameTree().add_moving):
        with pytest.raises(ValueError, match="unusable transform from 'camera' to 'link': quaternion"):
            add(stamped)
