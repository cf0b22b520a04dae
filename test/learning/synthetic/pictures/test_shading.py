from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from instance_seg_ros.learning.synthetic.objects.shapes import box_mesh, lathe_mesh
from instance_seg_ros.learning.synthetic.pictures.shading import (
    SIDES,
    Lighting,
    averaged_by_surface,
    sample_lighting,
    smooth_normals,
    spread_by_surface,
    surroundings,
    triangle_normals,
)


def _normals(mesh: trimesh.Trimesh) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    corners = np.asarray(mesh.vertices, np.float32)[mesh.faces]
    return corners, smooth_normals(np.asarray(mesh.faces), corners)


def test_the_side_of_a_cylinder_has_no_facets_and_its_ends_stay_flat() -> None:
    corners, normals = _normals(lathe_mesh(np.array([[0, -1], [0.5, -1], [0.5, 1], [0, 1]]), 24))
    radial = corners * [1, 1, 0]
    has_area = np.linalg.norm(triangle_normals(corners), axis=1) > 1e-9
    side = np.ptp(corners[..., 2], axis=1) > 0
    np.testing.assert_allclose(normals[side], radial[side] / 0.5, atol=1e-3)
    top = (corners[..., 2] == 1).all(axis=1) & has_area
    np.testing.assert_allclose(np.abs(normals[top][..., 2]), 1.0, atol=1e-6)


def test_the_edges_of_a_box_stay_sharp() -> None:
    _, normals = _normals(box_mesh((1, 2, 3)))
    np.testing.assert_allclose(np.sort(np.abs(normals), axis=-1), np.broadcast_to([0, 0, 1], normals.shape), atol=1e-6)


def test_values_are_averaged_within_a_surface() -> None:
    values = np.zeros((1, 8, 8), bool)
    values[:, :, 4:] = True
    shape = values[0].astype(np.int32)
    np.testing.assert_allclose(averaged_by_surface(values, SIDES * shape), values)
    mixed = averaged_by_surface(values, 0 * shape)
    np.testing.assert_allclose(np.unique(mixed.round(3)), [0.0, 0.25, 0.5, 0.75, 1.0])
    # Two sides of one shape keep their difference, but a side of a single pixel does not stand alone.
    assert np.ptp(averaged_by_surface(values, shape)[0, 4, 2:6]) > 0.8
    alone = np.zeros((1, 8, 8), bool)
    alone[0, 4, 4] = True
    assert 0.5 < averaged_by_surface(alone, alone[0].astype(np.int32))[0, 4, 4] < 0.7


def test_coarse_values_are_spread_within_their_surface() -> None:
    key = np.zeros((6, 8), np.int32)
    key[:, 5:] = SIDES
    coarse_key = key[::2, ::2]
    values = np.where(coarse_key == 0, np.float32(2.0), np.float32(5.0))[None]
    found = spread_by_surface(values, coarse_key, key, 2)
    np.testing.assert_allclose(found[0], np.where(key == 0, 2.0, 5.0), atol=0.01)
    slope = np.arange(0.0, 8.0, 2.0, dtype=np.float32)[None, None].repeat(3, axis=1)
    found = spread_by_surface(slope, 0 * coarse_key, 0 * key, 2)
    np.testing.assert_allclose(found[0, 1], [0, 1, 2, 3, 4, 5, 6, 6], atol=0.02)


def test_the_sky_is_above() -> None:
    up_down = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, -1.0]], np.float32)
    sky, ground = surroundings(up_down, Lighting(sky_rgb=(0.2, 0.4, 0.6), ground_rgb=(0.3, 0.2, 0.1))).T
    np.testing.assert_allclose(sky / sky[0], [1, 2, 3], rtol=1e-5)
    np.testing.assert_allclose(ground / ground[2], [3, 2, 1], rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_drawn_lamps_are_above_and_repeatable(seed: int) -> None:
    lighting = sample_lighting(np.random.default_rng(seed))
    assert lighting == sample_lighting(np.random.default_rng(seed))
    assert len(lighting.lights) in (1, 2)
    for light in lighting.lights:
        np.testing.assert_allclose(np.linalg.norm(light.direction_xyz), 1.0)
        assert light.direction_xyz[2] > 0.3
        assert min(light.rgb) > 0
