"""Settings that nobody reads: a typo, a wrong level and another node's name are errors that name the right one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters

from instance_seg_ros.ros.overrides import foreign_file_text, nearest, parameter_files, unknown_text
from instance_seg_ros.ros.settings import all_parameters

MakeStage = Callable[..., Any]
TIMEOUT_S = 90


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gripper.max_opening", "gripper.max_opening_m"),  # the unit left out
        ("min_points", "lifting.min_points"),  # one level too high
        ("lifting.sync_tolerance_s", "sync_tolerance_s"),  # one too deep
        ("grasping.gripper.max_opening_m", "gripper.max_opening_m"),
        ("fix_frame", "fixed_frame"),
        ("lifting.min_pionts", "lifting.min_points"),
        ("camera.serial_number", None),
    ],
)
def test_the_name_that_was_meant_is_found(name: str, meant: str | None) -> None:
    assert nearest(name, all_parameters()) == meant


def test_every_unknown_name_is_told() -> None:
    text = unknown_text(["gripper.max_opening", "camera.serial_number"], all_parameters())

    assert "there is no parameter gripper.max_opening; did you mean gripper.max_opening_m?" in text
    assert "there is no parameter camera.serial_number; `ros2 param list` and" in text
    assert unknown_text([], all_parameters()) == ""


def test_a_start_value_that_no_setting_reads_ends_the_start(make_stage: MakeStage) -> None:
    with pytest.raises(ValueError, match="there is no parameter gripper.max_opening; did you mean gripper.max_ope"):
        make_stage(gripper__max_opening=0.05)


def test_a_name_that_ros_itself_reads_is_no_unknown_one(make_stage: MakeStage) -> None:
    assert make_stage(use_sim_time=True).node.get_parameter("use_sim_time").value is True


def test_setting_an_unknown_parameter_names_the_right_one(make_stage: MakeStage) -> None:
    wrong = Parameter(name="lifting.min_point", value=ParameterValue(type=ParameterType.PARAMETER_INTEGER))

    [result] = make_stage().call(SetParameters, "set_parameters", SetParameters.Request(parameters=[wrong])).results

    assert not result.successful
    assert "did you mean lifting.min_points?" in result.reason


def test_the_nodes_own_dump_can_be_loaded_while_it_is_active(make_stage: MakeStage) -> None:
    """As `ros2 param dump` and `ros2 param load` do."""
    stage = make_stage()
    stage.start()
    names = stage.call(ListParameters, "list_parameters", ListParameters.Request()).result.names
    values = stage.call(GetParameters, "get_parameters", GetParameters.Request(names=names)).values
    parameters = [Parameter(name=name, value=value) for name, value in zip(names, values, strict=True)]

    results = stage.call(SetParameters, "set_parameters", SetParameters.Request(parameters=parameters)).results

    assert {"autostart", "use_sim_time", "model_path", "sync_tolerance_s"} <= set(names)
    assert [(name, result.reason) for name, result in zip(names, results, strict=True) if not result.successful] == []


@pytest.mark.parametrize(
    ("section", "is_for_the_node"),
    [
        ("/**", True),
        ("/*", False),
        ("/*/*", True),
        ("/arm/*", True),
        ("/**/instance_seg", True),
        ("/arm/instance_seg", True),
        ("arm/instance_seg", True),
        ("/instance_seg", False),
        ("/other/instance_seg", False),
        ("/arm/instance_segmentation", False),
        ("/arm/xinstance_seg", False),
    ],
)
def test_a_parameter_file_for_other_nodes_only_is_told(section: str, is_for_the_node: bool, tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text(
        f'/camera:\n  ros__parameters:\n    width: 640\n"{section}":\n  ros__parameters:\n    enabled: true\n'
    )

    text = foreign_file_text(str(path), "/arm/instance_seg")

    assert (text == "") is is_for_the_node
    assert is_for_the_node or "but none for this node, /arm/instance_seg; name the section" in text


def test_a_section_may_be_nested_by_namespace(tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text("arm:\n  instance_seg:\n    ros__parameters:\n      enabled: true\n")

    assert foreign_file_text(str(path), "/arm/instance_seg") == ""
    assert "parameters for /arm/instance_seg but none" in foreign_file_text(str(path), "/instance_seg")


def test_a_file_without_any_section_is_left_to_rcl(tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text("")

    assert foreign_file_text(str(path), "/instance_seg") == ""


def test_parameter_files_are_those_of_the_arguments() -> None:
    assert parameter_files(["--ros-args", "--params-file", "a.yaml", "-p", "x:=1", "--params-file", "b.yaml"]) == [
        "a.yaml",
        "b.yaml",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "Couldn't parse params file"),
        ("/camera:\n  ros__parameters:\n    enabled: true\n", "has parameters for /camera but none for this node"),
        ("/**:\n  ros__parameters:\n    gripper:\n      max_opening: 0.05\n", "did you mean gripper.max_opening_m?"),
    ],
)
def test_a_parameter_file_that_cannot_be_used_ends_the_start_with_one_line(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text(content)

    assert_the_start_ends_with_a_line(["--ros-args", "--params-file", str(path)], {}, message)


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({"ROS_DOMAIN_ID": "900"}, [], "ROS_DOMAIN_ID is 900, but domains are 0 to 232"),
        ({"ROS_DOMAIN_ID": "abc"}, [], "ROS_DOMAIN_ID is not an integral number"),
        ({"ROS_LOG_DIR": "/proc/none"}, [], "Failed to create log directory '/proc/none'"),
        ({}, ["--ros-args", "-r", "a b:=c"], "Couldn't parse remap rule"),
    ],
)
def test_what_ros_cannot_start_with_is_told_on_one_line(
    environment: dict[str, str], arguments: list[str], message: str
) -> None:
    assert_the_start_ends_with_a_line(arguments, environment, message)


def assert_the_start_ends_with_a_line(arguments: list[str], environment: dict[str, str], message: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "instance_seg_ros.ros", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert ended.returncode == 1
    assert [line for line in ended.stderr.splitlines() if line.startswith("instance_seg: ") and message in line]
    assert "Traceback" not in ended.stderr
