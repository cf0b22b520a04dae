from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.lifting import LiftedFrame
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.overlay import color_of_track, depth_picture, draw_overlay, tag_of

MakeScene = Callable[..., Scene]


def test_colours_are_stable_and_in_range() -> None:
    assert color_of_track(7) == color_of_track(7)
    assert all(0 <= channel <= 255 for track_id in range(1, 300) for channel in color_of_track(track_id))


def test_colours_of_ids_that_follow_each_other_are_far_apart() -> None:
    colors = np.array([color_of_track(track_id) for track_id in range(1, 200)], dtype=float)
    for step in (1, 2, 3):
        assert np.linalg.norm(colors[step:] - colors[:-step], axis=1).min() > 60


def test_overlay_has_the_frames_size_and_leaves_the_frame_alone(make_scene: MakeScene) -> None:
    scene = make_scene()
    assert scene.frame.color_rgb is not None
    before = scene.frame.color_rgb.copy()
    overlay = draw_overlay(scene)
    assert (overlay.shape, overlay.dtype) == (before.shape, np.uint8)
    assert np.array_equal(scene.frame.color_rgb, before)


def test_masks_take_the_colour_of_their_track_and_background_stays(make_scene: MakeScene) -> None:
    scene = make_scene()
    assert scene.frame.color_rgb is not None
    overlay = draw_overlay(scene).astype(int)
    base = scene.frame.color_rgb.astype(int)
    assert np.array_equal(overlay[110, 150], base[110, 150])
    in_second_mask = overlay[60, 95]  # away from outline, tag and the first block's gripper
    expected = base[60, 95] * 0.62 + np.array(color_of_track(6)) * 0.38
    assert in_second_mask == pytest.approx(expected, abs=2)


def test_the_best_grasp_is_drawn_white(make_scene: MakeScene) -> None:
    scene = make_scene()
    nothing = InstanceGrasps((), Status.GRASPING_DISABLED)
    without = draw_overlay(replace(scene, grasps=(nothing, nothing)))
    changed = (draw_overlay(scene) != without).any(axis=-1)
    assert changed.sum() > 50
    assert (draw_overlay(scene)[changed] == 255).all(axis=-1).any()


def test_a_frame_without_colour_is_drawn_over_its_depth(make_scene: MakeScene) -> None:
    scene = make_scene(color=False)
    overlay = draw_overlay(scene)
    assert np.array_equal(overlay[110, 150], depth_picture(scene.frame.depth_m)[110, 150])


def test_an_empty_scene_is_the_image_itself(make_scene: MakeScene) -> None:
    scene = make_scene(empty=True)
    assert scene.frame.color_rgb is not None
    assert np.array_equal(draw_overlay(scene), scene.frame.color_rgb)


@pytest.mark.parametrize("depth_m", [np.zeros((4, 5), np.float32), np.full((4, 5), 0.5, np.float32)])
def test_depth_without_contrast_has_a_picture(depth_m: np.ndarray) -> None:
    picture = depth_picture(depth_m)
    assert (picture.shape, picture.dtype) == ((4, 5, 3), np.uint8)


def test_depth_picture_is_lighter_when_nearer() -> None:
    picture = depth_picture(np.linspace(0.5, 1.5, 50, dtype=np.float32).reshape(5, 10))
    assert picture[0, 0, 0] > picture[4, 9, 0] + 100


def test_tags_say_what_is_known(make_scene: MakeScene) -> None:
    block, unknown = make_scene().objects()
    assert tag_of(block) == "#5 object 1.00 0.77 m"
    assert tag_of(unknown) == "#6 object 1.00"


def test_a_box_that_reaches_behind_the_camera_is_left_out(make_scene: MakeScene) -> None:
    scene = make_scene()
    block, unknown = scene.lifted.instances
    huge = replace(block, box=OrientedBox(Transform.identity(), np.full(3, 2.0)))
    overlay = draw_overlay(replace(scene, lifted=LiftedFrame((huge, unknown), None)))
    assert overlay.shape == (120, 160, 3)
