"""The node on real DDS with a model of each family: whatever runs in it, it publishes the same of the same scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

import numpy as np

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.status import Status
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.segmentation.families.registry import FAMILIES


@pytest.mark.parametrize("family", [None, *FAMILIES])
def test_the_same_scene_gives_the_same_messages(
    family: str | None,
    family_model_path: Callable[[str], Path],
    block_model_path: Path,
    make_stage: Callable[..., Any],
    make_frame: Callable[..., RgbdFrame],
) -> None:
    path = block_model_path if family is None else family_model_path(family)
    stage = make_stage(Pipeline.from_settings, model_path=str(path), segmentation__backend="onnxruntime")
    stage.start()

    answer = stage.answer_to(stage.send_frame(make_frame()))

    assert answer.status == answer.STATUS_OK
    assert [instance.label for instance in answer.instances] == [1, 2]
    assert [instance.class_name for instance in answer.instances] == ["block", "block"]
    # Both are wider than the gripper opens, and seen from straight above.
    assert all(instance.points_kept > 500 for instance in answer.instances)
    assert {instance.status for instance in answer.instances} == {Status.NO_GRASP_CANDIDATE | Status.FOOT_NOT_SEEN}
    regions = [instance.region for instance in answer.instances]
    sides = [(region.x_offset, region.y_offset, region.width, region.height) for region in regions]
    assert np.abs(np.array(sides) - [(20, 30, 40, 50), (90, 40, 40, 30)]).max() <= 3  # a cell of the masks' grid
    centers_m = [(one.centroid.x, one.centroid.y, one.centroid.z) for one in answer.instances]
    assert np.abs(np.array(centers_m) - [(-0.184, -0.021, 0.75), (0.142, -0.021, 0.75)]).max() < 0.01


def test_a_file_of_no_family_refuses_to_configure_with_the_reason(
    make_stage: Callable[..., Any], family_model_path: Callable[[str], Path]
) -> None:
    path = family_model_path("detr")
    path.with_suffix(".yaml").write_text("family: yolact\n")
    stage = make_stage(Pipeline.from_settings, model_path=str(path))
    assert stage.node.trigger_configure().name == "FAILURE"
    assert stage.log_lines("is no YOLACT with raw outputs: it gives loc float [1, A, 4]")
