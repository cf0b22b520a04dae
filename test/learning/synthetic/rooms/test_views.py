from __future__ import annotations

import numpy as np

from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.rooms.scene import sample_scene
from instance_seg_ros.learning.synthetic.rooms.views import sample_view


def test_views_see_objects_and_have_nothing_right_in_front() -> None:
    seen = []
    for seed in range(12):
        rng = np.random.default_rng([seed, 4])
        scene = sample_scene(rng, max_objects=10)
        caster = RayCaster(scene.placed())
        view = sample_view(rng, scene, caster, (160, 120))
        cast = caster.cast(view.intrinsics, view.T_world_camera)
        assert cast.depth_m[cast.depth_m > 0].min() > 0.15
        seen.append((cast.ids > 0).any() or not scene.objects)
    assert sum(seen) >= 10  # some views look aside


def test_lenses_are_those_of_real_cameras() -> None:
    rng = np.random.default_rng(6)
    scene = sample_scene(rng, max_objects=4, support_kind="table")
    caster = RayCaster(scene.placed())
    views = [sample_view(rng, scene, caster, (160, 120)) for _ in range(20)]
    for camera in (view.intrinsics for view in views):
        assert (camera.width, camera.height) == (160, 120)
        assert 0.5 <= camera.fx / 160 <= 1.8
        assert abs(camera.fy / camera.fx - 1.0) < 0.02
        assert abs(camera.cx - 79.5) < 16
        assert abs(camera.cy - 59.5) < 16


def test_a_robot_that_carries_the_camera_has_its_fingers_in_view_before_everything_else() -> None:
    carried = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 8])
        scene = sample_scene(rng, ("box", "can"), 5, "table")
        caster = RayCaster(scene.placed())
        view = sample_view(rng, scene, caster, (160, 120))
        if not view.attached:
            continue
        carried += 1
        before = caster.cast(view.intrinsics, view.T_world_camera)
        with_hand = RayCaster((*scene.placed(), *view.attached))
        cast = with_hand.cast(view.intrinsics, view.T_world_camera)
        hand = with_hand.robot(cast) & ~caster.robot(before)
        assert 0.002 < hand.mean() < 0.5
        assert hand[[0, -1]].any() or hand[:, [0, -1]].any()
        assert cast.depth_m[hand].max() < before.depth_m[before.depth_m > 0].min()
        assert (cast.ids[hand] == 0).all()
    assert 1 <= carried <= 12
