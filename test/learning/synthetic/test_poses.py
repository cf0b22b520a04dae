from __future__ import annotations

import numpy as np
import pytest

from analytic_scenes import look_at
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction, pose, yaw_rotation


def test_a_camera_looks_along_z_with_y_down() -> None:
    rotation = camera_pose(np.array([0.0, -1.0, 1.0]), np.zeros(3)).rotation
    np.testing.assert_allclose(rotation[:, 2], np.array([0, 1, -1]) / np.sqrt(2), atol=1e-12)
    np.testing.assert_allclose(rotation[:, 0], [1, 0, 0], atol=1e-12)
    assert rotation[2, 1] < 0


def test_a_camera_that_looks_straight_down_has_the_image_top_towards_y() -> None:
    T_world_camera = camera_pose(np.array([0.0, 0.0, 1.0]), np.zeros(3))
    np.testing.assert_allclose(T_world_camera.rotation, [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-12)


def test_roll_turns_the_image_and_leaves_the_optical_axis() -> None:
    eye_m = np.array([0.3, -0.4, 0.5])
    level, rolled = camera_pose(eye_m, np.zeros(3)).rotation, camera_pose(eye_m, np.zeros(3), np.pi / 2).rotation
    np.testing.assert_allclose(rolled[:, 2], level[:, 2], atol=1e-12)
    np.testing.assert_allclose(rolled[:, 0], level[:, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("elevation_deg", "azimuth_deg", "expected"),
    [(0, 0, (1, 0, 0)), (0, 90, (0, 1, 0)), (90, 30, (0, 0, 1)), (45, 180, (-(0.5**0.5), 0, 0.5**0.5))],
)
def test_a_direction_is_an_angle_above_the_horizontal_and_one_about_z(
    elevation_deg: float, azimuth_deg: float, expected: tuple[float, float, float]
) -> None:
    np.testing.assert_allclose(direction(*np.radians([elevation_deg, azimuth_deg])), expected, atol=1e-12)


@pytest.mark.parametrize("elevation_deg", [10.0, 60.0, 89.9, 90.0])
def test_the_top_of_the_image_stays_away_from_the_camera_however_steeply_it_looks(elevation_deg: float) -> None:
    T_world_camera = look_at((0.1, 0.2, 0.3), 0.7, elevation_deg, azimuth_deg=90.0)
    np.testing.assert_allclose(T_world_camera.rotation[:, 0], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(T_world_camera.apply(np.array([0.0, 0.0, 0.7])), [0.1, 0.2, 0.3], atol=1e-12)


def test_a_pose_turns_then_moves() -> None:
    T = pose((1.0, 2.0, 3.0), yaw_rotation(np.pi / 2))
    np.testing.assert_allclose(T.apply(np.array([1.0, 0.0, 0.0])), [1.0, 3.0, 3.0], atol=1e-12)
