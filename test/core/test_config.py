"""Settings: defined once, checked when made, the same on every surface."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from instance_seg_ros.core.config import (
    GraspingSettings,
    GripperSettings,
    LiftingSettings,
    PipelineSettings,
    Settings,
    add_arguments,
    describe,
    fields_of,
    from_arguments,
    from_mapping,
    setting,
    stages,
)
from instance_seg_ros.core.errors import InputError

STAGES = sorted(stages().items())


@pytest.mark.parametrize(("name", "stage"), STAGES, ids=[name for name, _ in STAGES])
def test_every_setting_has_help_a_range_and_a_default_within_it(name: str, stage: type[Settings]) -> None:
    for field in fields_of(stage):
        assert field.help.endswith("."), f"{name}.{field.name}"
        assert field.check(field.default) == field.default
        if field.type in (int, float):
            assert field.minimum is not None and field.maximum is not None
        assert field.help in describe(field)


def test_stages_are_those_of_the_pipeline_settings() -> None:
    assert list(stages()) == [field.name for field in dataclasses.fields(PipelineSettings)]
    assert all(isinstance(getattr(PipelineSettings(), name), stage) for name, stage in stages().items())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_grasps": 0}, "max_grasps must be between 1 and 1000, not 0"),
        ({"friction": float("nan")}, "friction must be between"),
        ({"friction": "0.5"}, "friction must be of type float, not '0.5'"),
        ({"max_grasps": 2.5}, "max_grasps must be of type int"),
        ({"max_grasps": True}, "max_grasps must be of type int"),
        ({"closing_axis": "z"}, "closing_axis must be one of x, y, not 'z'"),
        ({"enabled": 1}, "enabled must be of type bool"),
    ],
)
def test_a_wrong_value_is_refused_and_quoted(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraspingSettings(**values)  # type: ignore[arg-type]


def test_an_int_is_widened_where_a_float_is_meant() -> None:
    value = GraspingSettings(friction=1).friction
    assert (value, type(value)) == (1.0, float)


def test_mapping_names_are_checked() -> None:
    assert from_mapping(LiftingSettings, {"min_points": 80}).min_points == 80
    with pytest.raises(ValueError, match=r"no min_point; it has mask_erosion_px"):
        from_mapping(LiftingSettings, {"min_point": 80})


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
    with pytest.raises(InputError, match="max_opening_m must be between 0.005 and 1, not 3"):
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


def test_a_number_without_a_range_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="needs minimum and maximum"):
        setting(1.0, "Something.")
