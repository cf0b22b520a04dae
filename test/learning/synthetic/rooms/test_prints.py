from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.pictures.texture_table import TextureTable
from instance_seg_ros.learning.synthetic.poses import camera_pose, pose
from instance_seg_ros.learning.synthetic.rooms.prints import lay_prints
from instance_seg_ros.learning.synthetic.rooms.room import Room
from instance_seg_ros.learning.synthetic.rooms.scene import sample_scene
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.world import Placed

CAMERA = Intrinsics(64, 64, 60.0, 60.0, 31.5, 31.5)


def laid(seed: int, T_world_plane: Transform | None = None, count: int = 12) -> list[Placed]:
    room = Room(np.random.default_rng(seed))
    lay_prints(room, T_world_plane or Transform.identity(), (0.3, 0.2), count, 1.0)
    return room.surroundings


@pytest.mark.parametrize("seed", range(8))
def test_prints_are_flat_background_within_the_area(seed: int) -> None:
    parts = laid(seed)
    assert len(parts) == 12
    assert {part.instance_id for part in parts} == {0}
    for part in parts:
        points = part.T_world_shape.apply(np.asarray(part.shape.mesh.vertices))
        assert (np.abs(points[:, :2]) <= np.array([0.3, 0.2]) + 1e-9).all()
        assert (points[:, 2] > 0).all()
        assert (points[:, 2] < 0.002).all()
        assert np.ptp(points[:, 2]) < 1e-9


def test_prints_follow_their_seed_and_plane() -> None:
    wall = pose((0.0, 2.0, 1.0), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]))
    for part, again in zip(laid(3), laid(3, wall), strict=True):
        assert part.appearance == again.appearance
        np.testing.assert_allclose((wall @ part.T_world_shape).matrix, again.T_world_shape.matrix, atol=1e-12)


def test_no_print_lies_on_another_at_the_same_height() -> None:
    heights = [part.T_world_shape.translation_m[2] for part in laid(0)]
    assert (np.diff(heights) > 5e-5).all()


@pytest.mark.parametrize("kind", ["table", "floor", "tote", "shelf"])
def test_a_support_with_prints_is_as_high_as_without(kind: str) -> None:
    for seed in range(3):
        support = sample_support(np.random.default_rng([seed, 3]), kind, with_prints=True)
        caster = RayCaster((*support.solid, *support.surroundings))
        cast = caster.cast(CAMERA, camera_pose(np.array([0.0, 0.0, 0.1]), np.zeros(3)))
        assert abs(float(np.median(cast.depth_m)) - 0.1) < 0.004
        assert (cast.ids == 0).all()


def test_scenes_without_objects_have_prints() -> None:
    flat = [part for part in sample_scene(np.random.default_rng(4), max_objects=0).placed() if not part.shape.geoms]
    assert any(np.ptp(part.shape.mesh.vertices[:, 2]) == 0 for part in flat)


def test_a_picture_covers_the_top_of_its_shape_once() -> None:
    look = Appearance("page", (0.9, 0.9, 0.9), seed=3, size=256, low_m=(-0.1, -0.05, -1.0), high_m=(0.1, 0.05, 1.0))
    assert look.layout == "top"
    table = TextureTable([look])
    # Ink keeps off the margins of a page, and is somewhere on it.
    x, y = np.meshgrid(np.linspace(-0.098, 0.098, 200), np.linspace(-0.049, 0.049, 100))
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()]).astype(np.float32)
    normals = np.tile(np.array([[0], [0], [1]], np.float32), points.shape[1])
    index = np.zeros(points.shape[1], np.int64)
    rgb = table.albedo(index, points, normals, np.full(points.shape[1], 1e-4, np.float32)).reshape(3, 100, 200)
    inside = rgb[:, 10:-10, 20:-20]
    assert np.ptp(inside, axis=(1, 2)).min() > 0.3
    assert np.ptp(rgb[:, :2], axis=(1, 2)).max() < 0.05
