from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.objects.shapes import (
    ObjectShape,
    box_mesh,
    disc_geoms,
    hull_geom,
    join,
    lathe_mesh,
    superquadric_mesh,
    tube_capsules,
    tube_mesh,
    z_to,
)


def test_a_box_has_its_size_and_volume() -> None:
    mesh = box_mesh((0.1, 0.2, 0.3), (1.0, 0.0, 0.0))
    np.testing.assert_allclose(mesh.bounds, [[0.9, -0.2, -0.3], [1.1, 0.2, 0.3]])
    assert abs(mesh.volume) == pytest.approx(0.2 * 0.4 * 0.6)


def test_a_lathe_of_a_rectangle_is_a_cylinder() -> None:
    mesh = lathe_mesh(np.array([[0, 0], [0.1, 0], [0.1, 0.5], [0, 0.5]]), segments=90)
    assert abs(mesh.volume) == pytest.approx(np.pi * 0.01 * 0.5, rel=2e-3)


def test_a_straight_tube_keeps_its_radius() -> None:
    mesh = tube_mesh(np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]]), 0.03, sides=64)
    np.testing.assert_allclose(mesh.extents, [0.2, 0.06, 0.06], rtol=2e-3)


def test_joined_meshes_keep_their_faces_apart() -> None:
    both = join([box_mesh((0.1, 0.1, 0.1)), box_mesh((0.1, 0.1, 0.1), (1.0, 0.0, 0.0))])
    assert len(both.faces) == 24
    np.testing.assert_allclose(both.bounds, [[-0.1, -0.1, -0.1], [1.1, 0.1, 0.1]])


@pytest.mark.parametrize("half_m", [(0.05, 0.05, 0.05), (0.1, 0.05, 0.004), (0.12, 0.006, 0.006)])
def test_a_hull_of_few_points_reaches_as_far_as_the_mesh(half_m: tuple[float, float, float]) -> None:
    mesh = superquadric_mesh(half_m, (0.3, 0.8))
    hull = hull_geom(mesh).vertices_m
    assert hull is not None
    assert len(hull) < len(mesh.vertices)
    np.testing.assert_allclose(hull.min(axis=0), mesh.vertices.min(axis=0))
    np.testing.assert_allclose(hull.max(axis=0), mesh.vertices.max(axis=0))


def test_a_hull_keeps_every_point_of_a_small_mesh() -> None:
    hull = hull_geom(box_mesh((0.1, 0.1, 0.1))).vertices_m
    assert hull is not None and len(hull) == 8


def test_capsules_follow_a_path() -> None:
    path = np.array([[0.0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]])
    first, second = tube_capsules(path, np.full(3, 0.01), 2)
    assert first.position_m == pytest.approx((0.05, 0, 0))
    assert second.size_m == pytest.approx((0.01, 0.05))
    assert first.quaternion_wxyz == pytest.approx((np.sqrt(0.5), 0, np.sqrt(0.5), 0))


@pytest.mark.parametrize(
    ("direction", "quaternion"),
    [((0, 0, 1), (1, 0, 0, 0)), ((0, 0, -1), (0, 1, 0, 0)), ((1, 0, 0), (0.7071, 0, 0.7071, 0))],
)
def test_z_turns_onto_a_direction(direction: tuple[float, ...], quaternion: tuple[float, ...]) -> None:
    assert z_to(np.array(direction, float)) == pytest.approx(quaternion, abs=1e-4)


def test_discs_cover_a_solid_of_revolution() -> None:
    cone = np.array([[0.1, 0.0], [0.05, 0.2]])
    low, high = disc_geoms(cone, 2)
    assert (low.size_m, high.size_m) == (pytest.approx((0.0875, 0.05)), pytest.approx((0.0625, 0.05)))
    assert (low.position_m[2], high.position_m[2]) == (pytest.approx(0.05), pytest.approx(0.15))


def test_joined_bodies_are_found_again() -> None:
    parts = [box_mesh((0.1, 0.1, 0.1)), lathe_mesh([[0, 0], [0.1, 0], [0.1, 0.5], [0, 0.5]]), box_mesh((0.2, 0.2, 0.2))]
    shape = ObjectShape("part", join(parts), ())
    assert len(shape.bodies) == 3
    for body, part in zip(shape.bodies, parts, strict=True):
        np.testing.assert_array_equal(body.vertices, part.vertices)
        np.testing.assert_array_equal(body.faces, part.faces)


def test_a_surface_of_one_piece_is_one_body() -> None:
    mesh = superquadric_mesh((0.1, 0.1, 0.1), (1.0, 1.0))
    assert ObjectShape("part", mesh, ()).bodies == (mesh,)
