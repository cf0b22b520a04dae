import numpy as np
import pytest

from instance_seg_ros.synthetic.render import RayCaster
from instance_seg_ros.synthetic.scene import SUPPORTS, look_at, sample_scene, sample_support, sample_view


@pytest.mark.parametrize("kind", SUPPORTS)
def test_objects_rest_on_every_kind_of_support(kind):
    for seed in range(3):
        scene = sample_scene(np.random.default_rng([seed, 11]), max_objects=8, support_kind=kind)
        for body in scene.objects:
            heights = body.shape.mesh.vertices @ body.T_world_shape[2, :3] + body.T_world_shape[2, 3]
            assert -0.05 < heights.min() < 0.8
        assert {body.instance_id for body in scene.objects} <= set(range(1, 9))


def test_the_same_state_makes_the_same_scene():
    first, second = (sample_scene(np.random.default_rng(7)) for _ in range(2))
    assert [b.shape.family for b in first.objects] == [b.shape.family for b in second.objects]
    for a, b in zip(first.objects, second.objects, strict=True):
        np.testing.assert_array_equal(a.T_world_shape, b.T_world_shape)


def test_held_out_families_do_not_appear():
    scene = sample_scene(np.random.default_rng(3), families=("can", "box"), max_objects=15)
    assert {body.shape.family for body in scene.objects} <= {"can", "box"}


def test_a_scene_without_objects_is_possible():
    assert sample_scene(np.random.default_rng(0), max_objects=0).objects == ()


def test_an_unknown_support_is_refused_by_name():
    with pytest.raises(ValueError, match="no support named 'moon'; choose one of table"):
        sample_support(np.random.default_rng(0), "moon")


def test_a_camera_looks_along_z_with_y_down():
    T = look_at(np.array([0.0, -1.0, 1.0]), np.zeros(3))
    np.testing.assert_allclose(T[:3, 2], np.array([0, 1, -1]) / np.sqrt(2), atol=1e-12)
    np.testing.assert_allclose(T[:3, 0], [1, 0, 0], atol=1e-12)
    assert T[2, 1] < 0
    np.testing.assert_allclose(np.linalg.det(T[:3, :3]), 1.0)


def test_views_see_objects_and_have_nothing_right_in_front():
    seen = []
    for seed in range(12):
        rng = np.random.default_rng([seed, 4])
        scene = sample_scene(rng, max_objects=10)
        caster = RayCaster(scene.placed())
        view = sample_view(rng, scene, caster, (160, 120))
        cast = caster.cast(view.intrinsics_fxfycxcy, (160, 120), view.T_world_camera)
        assert cast.depth_m[cast.depth_m > 0].min() > 0.15
        seen.append((cast.ids > 0).any() or not scene.objects)
    assert sum(seen) >= 10  # some views look aside
