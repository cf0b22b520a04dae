import numpy as np

from instance_seg_ros.learning.synthetic.rooms.world import look_at, pose, yaw_rotation


def test_a_camera_looks_along_z_with_y_down():
    T = look_at(np.array([0.0, -1.0, 1.0]), np.zeros(3))
    np.testing.assert_allclose(T[:3, 2], np.array([0, 1, -1]) / np.sqrt(2), atol=1e-12)
    np.testing.assert_allclose(T[:3, 0], [1, 0, 0], atol=1e-12)
    assert T[2, 1] < 0
    np.testing.assert_allclose(np.linalg.det(T[:3, :3]), 1.0)


def test_a_camera_that_looks_straight_down_has_the_image_top_towards_y():
    T = look_at(np.array([0.0, 0.0, 1.0]), np.zeros(3))
    np.testing.assert_allclose(T[:3, :3], [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-12)


def test_a_pose_turns_then_moves():
    T = pose((1.0, 2.0, 3.0), yaw_rotation(np.pi / 2))
    np.testing.assert_allclose(T @ [1.0, 0.0, 0.0, 1.0], [1.0, 3.0, 3.0, 1.0], atol=1e-12)
