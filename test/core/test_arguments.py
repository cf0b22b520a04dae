"""Settings as options of the command line."""

from __future__ import annotations

import argparse

import pytest

from instance_seg_ros.core.arguments import add_arguments, from_arguments
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import GraspingSettings, GripperSettings, stages


def test_arguments_round_trip_with_prefixes_that_keep_stages_apart() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, GraspingSettings, "grasps", "grasping_")
    add_arguments(parser, GripperSettings, "gripper", "gripper_")
    arguments = parser.parse_args(
        [
            "--grasping-friction",
            "0.8",
            "--no-grasping-enabled",
            "--gripper-max-opening-m",
            "0.1",
            "--grasping-closing-axis",
            "y",
        ]
    )
    assert from_arguments(arguments, GraspingSettings, "grasping_") == GraspingSettings(
        friction=0.8, enabled=False, closing_axis="y"
    )
    assert from_arguments(arguments, GripperSettings, "gripper_") == GripperSettings(max_opening_m=0.1)


def test_an_option_out_of_range_is_an_error_of_the_user() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, GripperSettings, "gripper")
    with pytest.raises(InputError, match="max_opening_m must be between 0 and 1, not 3"):
        from_arguments(parser.parse_args(["--max-opening-m", "3"]), GripperSettings)


def test_the_help_of_the_options_prints() -> None:
    parser = argparse.ArgumentParser()
    for name, stage in stages().items():
        add_arguments(parser, stage, name, f"{name}_")
    shown = parser.format_help()
    words = " ".join(shown.split())
    assert "--lifting-plane-tolerance-m X" in words and "Range: 0.001 to 0.1. (default: 0.008)" in words
    assert "Range: 1 to 1000000." in words
    assert "--segmentation-engine-cache TEXT" in words and "(default: )" not in words
    assert "--grasping-closing-axis {x,y}" in words and "One of:" not in words
