"""How objects and grasps lie in every form of a message: a turn that is written out as a matrix and as a quaternion."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.messages.detections import detections_2d, detections_3d
from instance_seg_ros.messages.foxglove import scene_update
from instance_seg_ros.messages.grasp_forms import graspable_objects, moveit_grasps
from instance_seg_ros.messages.instances_json import document_of
from instance_seg_ros.messages.outgoing import instance_array
from instance_seg_ros.pipeline import Scene

TURN = np.array([[-1, -44, 68], [76, 23, 16], [-28, 64, 41]]) / 81
TURN_XYZW = np.array([2, 4, 5, 6]) / 9
CLOSING_ALONG_Y = np.array([[44, -1, 68], [-23, 76, 16], [-64, -28, 41]]) / 81
CLOSING_ALONG_Y_XYZW = np.array([-2, 6, -1, 11]) / np.sqrt(162)
"""x of this is the other's -y, and y its x."""


def make(type_name: str, /, **fields: Any) -> Any:
    return SimpleNamespace(**fields)


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    return make_scene(rotation=TURN)


def xyzw(pose: Any) -> list[float]:
    turn = pose.orientation
    return [turn.x, turn.y, turn.z, turn.w]


BOXES: dict[str, Callable[[Scene], Any]] = {
    "instances": lambda scene: instance_array(make, scene).instances[0].box.pose,
    "detections_2d": lambda scene: detections_2d(make, scene).detections[0].results[0].pose.pose,
    "detections_3d": lambda scene: detections_3d(make, scene).detections[0].bbox.center,
    "graspable_objects": lambda scene: graspable_objects(make, scene, GraspingSettings())[0].object.primitive_poses[0],
    "foxglove": lambda scene: scene_update(make, scene).entities[0].cubes[0].pose,
}
GRASPS: dict[str, Callable[[Scene, GraspingSettings], Any]] = {
    "instances": lambda scene, settings: instance_array(make, scene, grasping=settings).instances[0].grasps[0].pose,
    "moveit_grasps": lambda scene, settings: moveit_grasps(make, scene, settings)[0].grasp_pose.pose,
    "graspable_objects": lambda scene, settings: graspable_objects(make, scene, settings)[0].grasps[0].grasp_pose.pose,
}


def test_the_quaternions_are_those_of_the_matrices() -> None:
    """By the definition of a turn: v + 2 w (u x v) + 2 u x (u x v)."""
    for matrix, (*u, w) in ((TURN, TURN_XYZW), (CLOSING_ALONG_Y, CLOSING_ALONG_Y_XYZW)):
        columns = [v + 2 * w * np.cross(u, v) + 2 * np.cross(u, np.cross(u, v)) for v in np.eye(3)]
        np.testing.assert_allclose(np.transpose(columns), matrix, atol=1e-12)


@pytest.mark.parametrize("form", BOXES)
def test_a_box_lies_in_each_form_as_it_does_in_space(form: str, scene: Scene) -> None:
    assert xyzw(BOXES[form](scene)) == pytest.approx(TURN_XYZW.tolist())


@pytest.mark.parametrize("form", GRASPS)
@pytest.mark.parametrize(("axis", "expected_xyzw"), [("x", TURN_XYZW), ("y", CLOSING_ALONG_Y_XYZW)])
def test_a_grasp_closes_in_each_form_along_the_axis_that_was_asked_for(
    form: str, axis: str, expected_xyzw: np.ndarray, scene: Scene
) -> None:
    settings = GraspingSettings(closing_axis=axis, tcp_to_flange_m=0.1)
    pose = GRASPS[form](scene, settings)
    assert xyzw(pose) == pytest.approx(expected_xyzw.tolist())
    # Back along the approach, the third column of both turns.
    expected_m = scene.grasps[0].grasps[0].T_camera_grasp.translation_m - 0.1 * TURN[:, 2]
    assert [pose.position.x, pose.position.y, pose.position.z] == pytest.approx(expected_m.tolist())


def test_in_files_quaternions_end_with_w(scene: Scene) -> None:
    [block, _] = document_of(instance_array(make, scene))["instances"]
    for part in (block["box"], block["grasps"][0]):
        np.testing.assert_allclose(part["quaternion_xyzw"], TURN_XYZW, atol=1e-6)


def test_the_way_up_and_the_way_in_are_directions_in_space(scene: Scene) -> None:
    [grasp, _] = moveit_grasps(make, scene, GraspingSettings())
    ways = (grasp.pre_grasp_approach, TURN[:, 2]), (grasp.post_grasp_retreat, np.array([0.0, 0.0, -1.0]))
    for way, expected in ways:
        found = way.direction.vector
        assert [found.x, found.y, found.z] == pytest.approx(expected.tolist())
        assert way.direction.header.frame_id == scene.frame.frame_id
