from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from instance_seg_ros.learning.synthetic.pictures.triangle_scene import (
    EmbreexScene,
    Open3dScene,
    TriangleScene,
    triangle_scene,
)

# Two triangles, 1 m and 2 m before rays that look along z; the farther one is larger.
VERTICES_M = np.array([(0, 0, 1), (1, 0, 1), (0, 1, 1), (-4, -4, 2), (4, -4, 2), (0, 6, 2)], np.float32)
FACES = np.array([(0, 1, 2), (3, 4, 5)])

MakeScene = Callable[[npt.NDArray[np.float32], npt.NDArray[np.intp]], TriangleScene]


@pytest.fixture(params=["embreex", "open3d"])
def make_scene(request: pytest.FixtureRequest) -> MakeScene:
    pytest.importorskip(request.param, exc_type=ImportError)
    return {"embreex": EmbreexScene, "open3d": Open3dScene}[request.param]


def _rays(*points_and_directions: tuple[float, ...]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    rays = np.array(points_and_directions, np.float32)
    return rays[:, :3], rays[:, 3:]


def test_the_nearest_triangle_is_hit_with_weights_and_ray_lengths(make_scene: MakeScene) -> None:
    rays = _rays((0.5, 0.25, 0, 0, 0, 1), (0.5, 0.25, 0, 0, 0, 4), (0.9, 0.9, 0, 0, 0, 1), (9, 9, 0, 0, 0, 1))
    hits = make_scene(VERTICES_M, FACES).nearest(*rays)
    assert hits.triangle.tolist() == [0, 0, 1, -1]
    np.testing.assert_allclose(hits.depth_m[:3], [1.0, 0.25, 2.0], rtol=1e-6)
    np.testing.assert_allclose([hits.u[0], hits.v[0]], [0.5, 0.25], rtol=1e-6)


def test_a_ray_is_free_up_to_what_it_meets(make_scene: MakeScene) -> None:
    origins_m, directions = _rays((0.5, 0.25, 0, 0, 0, 1), (9, 9, 0, 0, 0, 1), (0.5, 0.25, 1.5, 0, 0, 1))
    scene = make_scene(VERTICES_M, FACES)
    assert scene.is_free(origins_m, directions, 0.4).tolist() == [True, True, True]
    assert scene.is_free(origins_m, directions, 1.1).tolist() == [False, True, False]


def test_both_casters_see_the_same() -> None:
    pytest.importorskip("embreex", exc_type=ImportError)
    pytest.importorskip("open3d", exc_type=ImportError)
    random = np.random.default_rng(4)
    vertices_m = random.uniform(-1, 1, (90, 3)).astype(np.float32)
    faces = np.arange(90).reshape(30, 3)
    origins_m, directions = random.normal(size=(2, 5000, 3)).astype(np.float32)
    one, other = EmbreexScene(vertices_m, faces), Open3dScene(vertices_m, faces)
    mine, theirs = one.nearest(origins_m, directions), other.nearest(origins_m, directions)
    met = mine.triangle >= 0
    assert 500 < met.sum() < 4500
    assert (mine.triangle == theirs.triangle).all()
    np.testing.assert_allclose(mine.depth_m[met], theirs.depth_m[met], rtol=1e-4, atol=1e-5)
    assert (one.is_free(origins_m, directions, 0.5) == other.is_free(origins_m, directions, 0.5)).all()


def test_without_a_ray_caster_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("embreex.mesh_construction", "open3d"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails then
    with pytest.raises(ModuleNotFoundError, match=r"pip install embreex .*pip install open3d"):
        triangle_scene(VERTICES_M, FACES)
