from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.drawing import color_of_track, depth_picture, draw_outline, fill_mask, gripper_corners_m


def test_colours_are_stable_and_in_range() -> None:
    assert color_of_track(7) == color_of_track(7)
    assert all(0 <= channel <= 255 for track_id in range(1, 300) for channel in color_of_track(track_id))


def test_colours_of_ids_that_follow_each_other_are_far_apart() -> None:
    colors = np.array([color_of_track(track_id) for track_id in range(1, 200)], dtype=float)
    for step in (1, 2, 3):
        assert np.linalg.norm(colors[step:] - colors[:-step], axis=1).min() > 60


@pytest.mark.parametrize("depth_m", [np.zeros((4, 5), np.float32), np.full((4, 5), 0.5, np.float32)])
def test_depth_without_contrast_has_a_picture(depth_m: np.ndarray) -> None:
    picture = depth_picture(depth_m)
    assert (picture.shape, picture.dtype) == ((4, 5, 3), np.uint8)


def test_depth_picture_is_lighter_when_nearer() -> None:
    picture = depth_picture(np.linspace(0.5, 1.5, 50, dtype=np.float32).reshape(5, 10))
    assert picture[0, 0, 0] > picture[4, 9, 0] + 100


def test_a_mask_is_tinted_and_its_surroundings_stay() -> None:
    canvas = np.full((4, 6, 3), 100, np.uint8)
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:4] = True
    fill_mask(canvas, mask, (200, 0, 100))
    assert canvas[1, 2].tolist() == [138, 62, 100]
    assert (canvas[~mask] == 100).all()


def test_a_hole_is_outlined_too() -> None:
    canvas = np.zeros((30, 30, 3), np.uint8)
    mask = np.zeros((30, 30), bool)
    mask[3:27, 3:27] = True
    mask[12:18, 12:18] = False
    draw_outline(canvas, mask, (0, 255, 0))
    assert canvas[3, 15, 1] > 200
    assert canvas[11, 15, 1] > 200
    assert canvas[7, 7, 1] == 0


def test_the_gripper_is_drawn_with_the_users_sizes_its_fingers_at_the_contacts(
    make_scene: Callable[..., Scene],
) -> None:
    grasp = replace(make_scene().grasps[0].grasps[0], width_m=0.03)
    sizes = {"finger_thickness_m": 0.01, "finger_width_m": 0.02, "finger_length_m": 0.1}
    gripper = GripperSettings(**sizes, palm_depth_m=0.05, palm_width_m=0.2, palm_height_m=0.06)
    corners_m = gripper_corners_m(grasp, gripper)
    own_m = grasp.T_camera_grasp.inverse().apply(corners_m)
    low_m, high_m = own_m.min(axis=1), own_m.max(axis=1)
    expected_low = [[-0.025, -0.01, -0.1], [0.015, -0.01, -0.1], [-0.1, -0.03, -0.15]]
    expected_high = [[-0.015, 0.01, 0.0], [0.025, 0.01, 0.0], [0.1, 0.03, -0.1]]
    np.testing.assert_allclose(low_m, expected_low, atol=1e-9)
    np.testing.assert_allclose(high_m, expected_high, atol=1e-9)
    # Corner 0 has the lowest coordinates and corner 7 the highest, as those of a box.
    np.testing.assert_allclose(own_m[:, 0], expected_low, atol=1e-9)
    np.testing.assert_allclose(own_m[:, 7], expected_high, atol=1e-9)
