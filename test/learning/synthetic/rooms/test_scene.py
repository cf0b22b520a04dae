from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.rooms.scene import sample_scene
from instance_seg_ros.learning.synthetic.rooms.world import SUPPORTS


@pytest.mark.parametrize("kind", SUPPORTS)
def test_objects_rest_on_every_kind_of_support(kind: str) -> None:
    for seed in range(3):
        scene = sample_scene(np.random.default_rng([seed, 11]), max_objects=8, support_kind=kind)
        for body in scene.objects:
            heights = body.T_world_shape.apply(np.asarray(body.shape.mesh.vertices))[:, 2]
            assert -0.05 < heights.min() < 0.8
        assert {body.instance_id for body in scene.objects} <= set(range(1, 9))


def test_the_same_state_makes_the_same_scene() -> None:
    first, second = (sample_scene(np.random.default_rng(7)) for _ in range(2))
    assert [b.shape.family for b in first.objects] == [b.shape.family for b in second.objects]
    for a, b in zip(first.objects, second.objects, strict=True):
        np.testing.assert_array_equal(a.T_world_shape.matrix, b.T_world_shape.matrix)


def test_held_out_families_do_not_appear() -> None:
    scene = sample_scene(np.random.default_rng(3), families=("can", "box"), max_objects=15)
    assert {body.shape.family for body in scene.objects} <= {"can", "box"}


def test_a_scene_without_objects_is_possible() -> None:
    assert sample_scene(np.random.default_rng(0), max_objects=0).objects == ()


def test_all_bodies_of_an_object_have_its_id() -> None:
    seen = 0
    for seed in range(6):
        scene = sample_scene(np.random.default_rng([seed, 2]), ("toy_car", "jar"), 6, "table")
        for item in scene.objects:
            pieces = [piece for piece in scene.placed() if piece.instance_id == item.instance_id]
            assert sum(len(piece.shape.mesh.faces) for piece in pieces) == len(item.shape.mesh.faces)
            if item.body_appearances:
                seen += 1
                assert len(pieces) == len(item.shape.bodies)
    assert seen > 3
