from __future__ import annotations

import numpy as np

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.learning.datasets.judge_prints import dead_leaves, print_on_surfaces

CAMERA = Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)
GREY = np.full((48, 64, 3), 120, np.uint8)
UNTURNED = np.eye(3)
DEPTH_M = np.full((48, 64), 0.8, np.float32)
IDS = np.zeros((48, 64), np.uint8)
IDS[10:40, 20:50] = 5
DEPTH_M[10:40, 20:50] = 0.6


def test_dead_leaves_have_edges_at_all_scales_and_follow_their_seed() -> None:
    picture = dead_leaves(np.random.default_rng(0))
    assert picture.shape == (256, 256, 3)
    assert picture.std(axis=(0, 1)).max() > 30
    steps = np.abs(np.diff(picture.astype(int), axis=1)).max(axis=-1)
    assert 0.01 < (steps > 40).mean() < 0.5
    np.testing.assert_array_equal(picture, dead_leaves(np.random.default_rng(0)))


def printed(color_rgb: np.ndarray, depth_m: np.ndarray, ids: np.ndarray, seed: int, turn: np.ndarray = UNTURNED):
    return print_on_surfaces(color_rgb, depth_m, ids, CAMERA, turn, np.random.default_rng(seed))


def test_every_object_is_printed_and_what_has_no_depth_is_not() -> None:
    depth_m = DEPTH_M.copy()
    depth_m[:, :26] = 0.0
    changed = [(printed(GREY, depth_m, IDS, seed) != GREY).any(axis=-1) for seed in range(12)]
    assert not np.any(changed, axis=0)[:, :26].any()
    assert all(own[:, 26:][IDS[:, 26:] == 5].mean() > 0.9 for own in changed)
    assert 1 <= sum(own[:, 26:][IDS[:, 26:] == 0].mean() > 0.9 for own in changed) <= 9
    assert (GREY == 120).all()


def test_a_shadow_stays_darker_under_a_print() -> None:
    shaded = GREY.copy()
    shaded[:, 35:] = 40
    ink = printed(shaded, DEPTH_M, IDS, 2)[IDS == 5].mean(axis=-1)
    dark = shaded[IDS == 5][:, 0] == 40
    assert ink[dark].mean() < 0.7 * ink[~dark].mean()


def test_a_print_stays_on_its_surface_when_the_camera_turns() -> None:
    flat_m, object_everywhere = np.full((48, 64), 1.0, np.float32), np.ones((48, 64), np.uint8)
    half_turn = np.diag([-1.0, -1.0, 1.0])  # about the optical axis: each pixel sees what the opposite one saw
    first, turned = (printed(GREY, flat_m, object_everywhere, 3, turn) for turn in (UNTURNED, half_turn))
    assert (first != GREY).any()
    assert (turned[::-1, ::-1] == first).all(axis=-1).mean() > 0.95


def test_what_sees_nothing_is_left_alone() -> None:
    np.testing.assert_array_equal(printed(GREY, np.zeros((48, 64), np.float32), IDS, 4), GREY)
