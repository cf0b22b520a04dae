"""The parameters and the file made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.ros.settings import NodeSettings, all_parameters, parameters_yaml, settings_of

PARAMETER_FILE = Path(__file__).parents[2] / "config" / "instance_seg.yaml"


def test_the_parameter_file_is_in_step_with_the_settings() -> None:
    assert PARAMETER_FILE.read_text() == parameters_yaml(), (
        "write it with: python -m instance_seg_ros.ros.settings > config/instance_seg.yaml"
    )


def test_the_parameter_file_holds_every_default() -> None:
    yaml = pytest.importorskip("yaml")
    read = yaml.safe_load(parameters_yaml())["/**"]["ros__parameters"]

    flat = {
        f"{name}.{key}" if isinstance(value, dict) else name: (value[key] if isinstance(value, dict) else value)
        for name, value in read.items()
        for key in (value if isinstance(value, dict) else [None])
    }

    assert flat == {name: field.default for name, field in all_parameters().items()}
    assert {name: type(value) for name, value in flat.items()} == {
        name: field.type for name, field in all_parameters().items()
    }


def test_values_by_name_reach_their_stage() -> None:
    node, pipeline = settings_of({"lifting.min_points": 99, "sync_tolerance_s": 0.5})

    assert (node.sync_tolerance_s, node.model_path) == (0.5, "")
    assert pipeline.lifting == LiftingSettings(min_points=99)


def test_the_pose_of_the_depth_camera_is_read_from_its_text() -> None:
    pose = NodeSettings(depth_camera_pose="0.015 0 -0.001 0 0 0 1").T_color_depth

    assert pose is not None
    np.testing.assert_allclose(pose.translation_m, [0.015, 0, -0.001])
    np.testing.assert_allclose(pose.rotation, np.eye(3))
    assert NodeSettings().T_color_depth is None


@pytest.mark.parametrize("text", ["1 2 3", "a b c d e f g", "0 0 0 0 0 0 0"])
def test_a_text_that_is_no_pose_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=f"not '{text}'"):
        NodeSettings(depth_camera_pose=text)
