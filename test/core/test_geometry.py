"""Transforms, planes and boxes on small literal values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform, cross, dot, length

QUARTER_Z = Transform(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=float), np.array([1.0, 2.0, 3.0]))


def test_apply_turns_then_moves() -> None:
    np.testing.assert_allclose(QUARTER_Z.apply(np.array([[1.0, 0, 0], [0, 0, 1]])), [[1, 3, 3], [1, 2, 4]], atol=1e-12)


def test_apply_keeps_the_dtype_and_the_shape() -> None:
    points_m = np.zeros((4, 5, 3), dtype=np.float32)
    assert QUARTER_Z.apply(points_m).dtype == np.float32
    assert QUARTER_Z.apply(points_m).shape == (4, 5, 3)
    assert QUARTER_Z.apply(np.zeros(3)).tolist() == [1, 2, 3]


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_inverse_and_quaternion_round_trip(quaternion_xyzw: list[float]) -> None:
    transform = Transform.from_quaternion(quaternion_xyzw, [0.5, -1, 2])
    np.testing.assert_allclose((transform @ transform.inverse()).matrix, np.eye(4), atol=1e-9)
    again = Transform.from_quaternion(transform.quaternion_xyzw, transform.translation_m)
    np.testing.assert_allclose(again.matrix, transform.matrix, atol=1e-9)
    assert transform.quaternion_xyzw[3] >= 0


def test_what_is_moved_keeps_its_rotation_and_refuses_what_is_no_place() -> None:
    pose = Transform.from_quaternion([0.1, 0.2, 0.3, 0.9], [1, 2, 3])
    moved = pose.moved_to([4, 5, 6])
    np.testing.assert_array_equal(moved.rotation, pose.rotation)
    np.testing.assert_array_equal(moved.translation_m, [4, 5, 6])
    np.testing.assert_allclose((moved.inverse() @ moved).matrix, np.eye(4), atol=1e-12)
    for wrong in ([1, 2], [1, 2, np.nan]):
        with pytest.raises(ValueError, match="translation_m"):
            pose.moved_to(wrong)


def test_composition_is_the_product_of_the_matrices() -> None:
    other = Transform(Rotation.from_euler("xyz", [0.3, 0.2, 0.1]).as_matrix(), np.array([0.0, -1.0, 0.5]))
    np.testing.assert_allclose((QUARTER_Z @ other).matrix, QUARTER_Z.matrix @ other.matrix, atol=1e-12)


def test_errors_of_rounding_do_not_add_up_over_many_poses_from_one_another() -> None:
    there = Transform.from_quaternion([0.1, 0.2, 0.3, 0.9], [1, 2, 3])
    here = there
    for _ in range(200):  # each as a camera's pose from how it has moved since that of before
        there, here = here, here @ (here.inverse() @ there)
    np.testing.assert_allclose(here.rotation.T @ here.rotation, np.eye(3), atol=1e-11)


def test_what_is_nearly_a_rotation_becomes_one() -> None:
    turn = Rotation.from_euler("xyz", [0.3, 0.2, 0.1]).as_matrix()
    made = Transform(turn + 3e-5 * np.array([[1, -1, 0], [0, 1, 1], [1, 0, -1]]), np.zeros(3)).rotation
    np.testing.assert_allclose(made.T @ made, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(made, turn, atol=6e-5)


@pytest.mark.parametrize(
    ("rotation", "translation_m", "message"),
    [
        (np.eye(3) * 1.01, np.zeros(3), "orthonormal"),
        (np.diag([1.0, 1.0, -1.0]), np.zeros(3), "determinant"),
        (np.eye(2), np.zeros(3), "shape"),
        (np.eye(3), np.array([0, 0, np.nan]), "finite"),
    ],
)
def test_what_is_no_rigid_transform_is_refused(rotation: np.ndarray, translation_m: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Transform(rotation, translation_m)
    rotations = np.stack([np.eye(len(rotation)), rotation])
    with pytest.raises(ValueError, match=message):
        Transform.each(rotations, np.stack([np.zeros(3), translation_m]))


def test_many_poses_at_once_are_those_one_by_one() -> None:
    turns = Rotation.random(5, random_state=0).as_matrix()
    turns[3] += 3e-5 * np.array([[1, -1, 0], [0, 1, 1], [1, 0, -1]])
    places_m = np.arange(15.0).reshape(5, 3)
    for made, turn, place_m in zip(Transform.each(turns, places_m), turns, places_m, strict=True):
        np.testing.assert_array_equal(made.matrix, Transform(turn, place_m).matrix)
        assert not made.rotation.flags.writeable and not made.translation_m.flags.writeable
    assert Transform.each(np.zeros((0, 3, 3)), np.zeros((0, 3))) == []


def test_a_pose_is_read_from_its_text() -> None:
    pose = Transform.from_text(" 1 2e0 -3  4 8 10 12 ")  # of any length
    assert pose.translation_m.tolist() == [1, 2, -3]
    np.testing.assert_allclose(81 * pose.rotation, [[-1, -44, 68], [76, 23, 16], [-28, 64, 41]], atol=1e-12)


@pytest.mark.parametrize("text", ["", "1 2 3", "1 2 3 0 0 0 x", "1 2 3 0 0 0 0", "1 2 nan 0 0 0 1", "0 0 0 0 0 0 0 1"])
def test_a_text_that_is_no_pose_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=f"must be 'x y z qx qy qz qw', not '{text}'"):
        Transform.from_text(text)


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [0, 0, 0, np.nan]])
def test_a_quaternion_that_was_never_filled_is_refused(quaternion: list[float]) -> None:
    with pytest.raises(ValueError, match="quaternion"):
        Transform.from_quaternion(quaternion, [0, 0, 0])


def test_a_matrix_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="4, 4"):
        Transform.from_matrix(np.eye(3))


def test_values_are_copies_that_cannot_be_written() -> None:
    translation_m = np.zeros(3)
    transform = Transform(np.eye(3), translation_m)
    translation_m[0] = 5
    assert transform.translation_m[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        transform.rotation[0, 0] = 2


def test_plane_heights_projection_and_basis() -> None:
    plane = Plane(np.array([0.0, 0.0, 1.0]), -0.5)  # z = 0.5
    points_m = np.array([[1.0, 2.0, 0.7], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(plane.height_m(points_m), [0.2, -0.5])
    np.testing.assert_allclose(plane.project(points_m), [[1, 2, 0.5], [0, 0, 0.5]])
    assert plane.height_m(points_m.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("normal", [[0, 0, 1], [1, 0, 0], [0.6, -0.8, 0], [-0.36, 0.48, -0.8]])
def test_plane_basis_is_right_handed_with_the_normal_last(normal: list[float]) -> None:
    basis = Plane(np.array(normal, dtype=float), 0.0).basis()
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-12)
    assert np.linalg.det(basis) == pytest.approx(1)
    np.testing.assert_allclose(basis[:, 2], normal)


@pytest.mark.parametrize(
    ("normal", "offset_m", "message"),
    [
        ([0.0, 0.0, 2.0], 0.0, "unit vector"),
        ([0.0, 1.0], 0.0, r"normal must have shape \(3,\)"),
        ([0.0, np.nan, 1.0], 0.0, "normal must be finite"),
        ([0.0, 0.0, 1.0], np.nan, "offset_m must be finite"),
    ],
)
def test_what_is_no_plane_is_refused(normal: list[float], offset_m: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plane(np.array(normal), offset_m)


def test_box_corners_by_the_bits_of_their_index() -> None:
    corners_m = OrientedBox(QUARTER_Z, np.array([2.0, 4.0, 6.0])).corners_m
    np.testing.assert_allclose(corners_m[0], QUARTER_Z.apply(np.array([-1.0, -2.0, -3.0])))
    np.testing.assert_allclose(corners_m[0b101], QUARTER_Z.apply(np.array([1.0, -2.0, 3.0])))


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        OrientedBox(Transform.identity(), np.array([0.1, -0.1, 0.1]))


def test_products_and_lengths_of_two_and_of_three_coordinates() -> None:
    assert dot(np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [0, -1]])).tolist() == [17, -4]
    assert length(np.array([[3.0, 4], [0, 0]])).tolist() == [5, 0]
    assert length(np.array([2.0, 3, 6])) == 7


def test_the_vector_product_is_that_of_numpy() -> None:
    first, second = np.array([2.0, -3.0, 5.0]), np.array([-7.0, 11.0, 13.0])
    assert cross(first, second).tolist() == np.cross(first, second).tolist()


@pytest.mark.parametrize(
    "rotation_vector",
    [(0, 0, 0), (np.pi, 0, 0), (0, -np.pi, 0), (0, 0, np.pi), (0.1, -2, 0.3), (-3, 0.2, 0.1), (2, 2, -1), (1, 1, 2.5)],
)
def test_a_quaternion_is_that_of_scipy(rotation_vector: tuple[float, float, float]) -> None:
    turn = Rotation.from_rotvec(rotation_vector)
    expected = turn.as_quat(canonical=True)
    found = Transform(turn.as_matrix(), np.zeros(3)).quaternion_xyzw
    np.testing.assert_allclose(found * np.sign(found @ expected), expected, atol=1e-15)
    assert found[3] >= 0
