from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.lifting import LiftedFrame
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.drawing import AMBER, color_of_track, depth_picture
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


def without_grasps(scene: Scene) -> Scene:
    return replace(scene, grasps=(InstanceGrasps((), Status.GRASPING_DISABLED),) * len(scene.instances))


BESIDE_THE_PICTURE = OrientedBox(Transform(np.eye(3), np.array([50.0, 50.0, 1.0])), np.full(3, 0.1))


def with_box(scene: Scene, box: OrientedBox) -> np.ndarray:
    """The picture of a scene whose first object has this box, without grasps."""
    block, unknown = scene.lifted.instances
    return draw_overlay(
        replace(without_grasps(scene), lifted=LiftedFrame((replace(block, box=box), unknown), None))
    ).astype(int)


def test_the_tag_of_a_flagged_object_has_an_amber_rim_and_that_of_a_sure_one_none(make_scene: MakeScene) -> None:
    scene = make_scene()
    block = scene.lifted.instances[0]

    def amber_px(status: Status) -> int:
        only = LiftedFrame((replace(block, status=status),), None)
        picture = draw_overlay(
            replace(scene, instances=scene.instances[:1], track_ids=(5,), grasps=scene.grasps[:1], lifted=only)
        )
        return int((picture == AMBER).all(axis=-1).sum())

    assert amber_px(Status.OK) == 0
    assert amber_px(Status.OCCLUDED) > 100


def test_a_box_is_drawn_along_its_twelve_edges(make_scene: MakeScene) -> None:
    scene = make_scene()
    turned = Transform(Rotation.from_euler("xyz", [0.5, 0.4, 0.2]).as_matrix(), np.array([0.0, 0.0, 0.7]))
    box = OrientedBox(turned, np.array([0.25, 0.15, 0.2]))
    rows, columns = np.nonzero((with_box(scene, box) != with_box(scene, BESIDE_THE_PICTURE)).any(axis=-1))

    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    camera = scene.frame.intrinsics
    edges_px = []
    for one, other in itertools.combinations(signs, 2):
        if np.abs(one - other).sum() == 2:
            along = one + np.linspace(0, 1, 200)[:, None] * (other - one)
            x_m, y_m, z_m = (along * box.size_m / 2 @ turned.rotation.T + turned.translation_m).T
            edges_px.append(np.stack([camera.fx * x_m / z_m + camera.cx, camera.fy * y_m / z_m + camera.cy], axis=1))
    to_lines_px = cKDTree(np.concatenate(edges_px)).query(np.stack([columns, rows], axis=1))[0]
    assert to_lines_px.max() < 2
    drawn = cKDTree(np.stack([columns, rows], axis=1))
    # A few pixels lie under a tag, or have the line's colour already.
    assert [bool((drawn.query(edge_px)[0] < 1.5).mean() > 0.8) for edge_px in edges_px].count(True) >= 11


def test_a_box_that_reaches_behind_the_camera_is_left_out(make_scene: MakeScene) -> None:
    scene = make_scene()
    huge = OrientedBox(Transform.identity(), np.full(3, 2.0))
    assert np.array_equal(with_box(scene, huge), with_box(scene, BESIDE_THE_PICTURE))


def test_contacts_are_dots_in_the_colour_of_their_track(make_scene: MakeScene) -> None:
    scene = make_scene()
    overlay, camera = draw_overlay(scene), scene.frame.intrinsics
    for x_m, y_m, z_m in scene.grasps[0].grasps[0].contacts_m:
        column, row = round(camera.fx * x_m / z_m + camera.cx), round(camera.fy * y_m / z_m + camera.cy)
        assert (overlay[row - 1 : row + 2, column - 1 : column + 2] == color_of_track(5)).all()


@pytest.mark.parametrize("box", [(60, 60, 100, 100), (0, 0, 10, 10), (150, 0, 160, 10), (150, 110, 160, 120)])
def test_tags_of_objects_at_one_place_lie_beside_each_other_in_the_picture(
    box: tuple[int, ...], make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, texts = [], []
    monkeypatch.setattr(cv2, "rectangle", lambda canvas, first, last, *_: places.append((*first, *last)))
    monkeypatch.setattr(cv2, "putText", lambda canvas, text, place_xy, *_: texts.append((text, place_xy)))
    scene = without_grasps(make_scene())
    draw_overlay(replace(scene, instances=replace(scene.instances, boxes_xyxy=np.array([box] * 2, np.float32))))

    (first, second) = places
    assert first[3] <= second[1] or second[3] <= first[1]
    assert [text for text, _ in texts] == [tag_of(each) for each in scene.objects()]
    for (x0, y0, x1, y1), (_, (x, y)) in zip(places, texts, strict=True):
        assert 0 <= x0 < x < x1 < 160 and 0 <= y0 < y < y1 < 120
        assert min(abs(y1 - box[1]), abs(y0 - box[1])) < 30  # near its object's upper edge
        assert (x0 + x1) / 2 == pytest.approx((box[0] + box[2]) / 2, abs=1) or x0 == 0 or x1 == 159
