from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.drawing import color_of_track, depth_picture, draw_outline, fill_mask, gripper_lines_m


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


def test_fingers_are_drawn_from_the_contacts_back_along_the_approach(make_scene: Callable[..., Scene]) -> None:
    grasp = make_scene().grasps[0].grasps[0]
    gripper = GripperSettings(finger_length_m=0.1)
    fingers_m, (bar_m, wrist_m) = gripper_lines_m(grasp, gripper)[:2], gripper_lines_m(grasp, gripper)[3]
    back_m = -0.1 * grasp.T_camera_grasp.rotation[:, 2]
    np.testing.assert_array_equal(fingers_m[:, 0], grasp.contacts_m)
    np.testing.assert_allclose(fingers_m[:, 1], grasp.contacts_m + back_m)
    np.testing.assert_allclose(bar_m, grasp.contacts_m.mean(axis=0) + back_m)
    np.testing.assert_allclose(wrist_m, bar_m + back_m)
    # A pose that was moved to a robot's flange does not move the drawing.
    moved = replace(grasp, T_camera_grasp=Transform(grasp.T_camera_grasp.rotation, np.array([9.0, 9.0, 9.0])))
    np.testing.assert_array_equal(gripper_lines_m(moved, gripper), gripper_lines_m(grasp, gripper))
