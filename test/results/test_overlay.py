from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.lifting import LiftedFrame
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.drawing import color_of_track, depth_picture
from instance_seg_ros.results.overlay import draw_overlay, tag_of

MakeScene = Callable[..., Scene]


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


def test_the_gripper_is_drawn_as_long_as_the_users(make_scene: MakeScene) -> None:
    scene = make_scene(empty=False)
    (grasps, nothing) = scene.grasps
    sideways = Transform(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), grasps.grasps[0].T_camera_grasp.translation_m)
    grasp = replace(grasps.grasps[0], T_camera_grasp=sideways)  # approaches down the picture
    scene = replace(scene, grasps=(replace(grasps, grasps=(grasp,)), nothing))
    drawn = [
        (draw_overlay(replace(scene, gripper=GripperSettings(finger_length_m=length_m))) == 255).all(axis=-1).sum()
        for length_m in (0.03, 0.1)
    ]
    assert drawn[1] > drawn[0] + 30


def test_a_frame_without_colour_is_drawn_over_its_depth(make_scene: MakeScene) -> None:
    scene = make_scene(color=False)
    overlay = draw_overlay(scene)
    assert np.array_equal(overlay[110, 150], depth_picture(scene.frame.depth_m)[110, 150])


def test_an_empty_scene_is_the_image_itself(make_scene: MakeScene) -> None:
    scene = make_scene(empty=True)
    assert scene.frame.color_rgb is not None
    assert np.array_equal(draw_overlay(scene), scene.frame.color_rgb)


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
