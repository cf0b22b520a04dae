from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.depth import register_depth
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.registration import Registration, registration_text

CAMERA = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
FRAMES = "color", "depth"
ASIDE = Transform(np.eye(3), np.array([0.03, 0.0, 0.0]))  # 9 px at a metre, 11 at 0.8


@pytest.fixture
def color_rgb() -> NDArray[np.uint8]:
    return np.repeat(np.where(true_depth() < 0.9, 200, 40).astype(np.uint8)[..., None], 3, axis=2)


def true_depth() -> NDArray[np.float32]:
    depth_m = np.full((240, 320), 1.0, np.float32)
    for x, y, side in ((60, 50, 40), (180, 40, 55), (90, 140, 35), (220, 150, 48)):
        depth_m[y : y + side, x : x + side] = 0.8
    return depth_m


def moved(pose: Transform) -> NDArray[np.float32]:
    return register_depth(true_depth(), CAMERA, CAMERA, pose)


def test_depth_that_was_aligned_already_is_not_registered_again_and_told(color_rgb: NDArray[np.uint8]) -> None:
    registration, came_m = Registration(), true_depth()
    assert registration.choose(color_rgb, came_m, moved(ASIDE), FRAMES, ASIDE, False) is came_m
    assert registration.text == ""
    assert "it was aligned to colour already" in registration.fault
    assert "have the driver publish it with colour's frame_id 'color'" in registration.fault


def test_depth_that_was_not_aligned_is_registered_without_a_word_against_it(color_rgb: NDArray[np.uint8]) -> None:
    registration, registered_m = Registration(), true_depth()
    for _ in range(5):
        assert registration.choose(color_rgb, moved(ASIDE), registered_m, FRAMES, ASIDE, False) is registered_m
    assert registration.text == "depth lies at 0.0300 0.0000 0.0000 m in color, turned by 0.00 degrees"
    assert registration.fault == ""


def test_a_given_pose_is_followed_and_what_speaks_against_it_is_told(color_rgb: NDArray[np.uint8]) -> None:
    registration, registered_m = Registration(), moved(ASIDE)
    assert registration.choose(color_rgb, true_depth(), registered_m, FRAMES, ASIDE, True) is registered_m
    assert registration.text == registration_text(FRAMES, ASIDE)
    assert "leave the pose empty" in registration.fault


def test_depth_of_another_size_was_never_aligned(color_rgb: NDArray[np.uint8]) -> None:
    registration, registered_m = Registration(), moved(ASIDE)
    small_m = np.ascontiguousarray(true_depth()[::2, ::2])
    assert registration.choose(color_rgb, small_m, registered_m, FRAMES, ASIDE, False) is registered_m
    assert registration.fault == ""


def test_depth_beside_colour_is_told_after_three_frames_and_no_more_when_it_is_mended(
    color_rgb: NDArray[np.uint8],
) -> None:
    registration = Registration()
    faults = []
    aside = Transform(np.eye(3), np.array([0.03, 0.024, 0.0]))
    for depth_m in (*[moved(aside)] * 3, *[true_depth()] * 27 * 30):
        registration.take_registered(color_rgb, depth_m)
        faults.append(registration.fault)
    assert faults[:2] == ["", ""]
    assert "they meet best with depth moved by -11 px to the right and -9 px down" in faults[2]
    assert faults[-1] == ""


@pytest.mark.parametrize(
    ("shift_px", "told"), [((4, 0), False), ((0, -4), False), ((6, 0), True), ((0, -6), True), ((2, 9), True)]
)
def test_a_small_offset_is_borne(color_rgb: NDArray[np.uint8], shift_px: tuple[int, int], told: bool) -> None:
    registration = Registration()
    for _ in range(3):
        registration.take_registered(np.roll(color_rgb, shift_px, axis=(1, 0)), true_depth())
    assert bool(registration.fault) is told


@pytest.mark.parametrize(
    "spoil",
    [
        lambda color: np.full_like(color, 90),
        lambda color: np.random.default_rng(0).integers(0, 255, color.shape, dtype=np.uint8),
    ],
    ids=["nothing to see", "noise"],
)
def test_without_edges_of_colour_nothing_is_claimed(
    color_rgb: NDArray[np.uint8], spoil: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    registration, registered_m = Registration(), moved(ASIDE)
    for _ in range(3):
        chosen = registration.choose(spoil(color_rgb), true_depth(), registered_m, FRAMES, ASIDE, False)
        assert chosen is registered_m
    assert registration.fault == ""
