"""Settings: checked when made."""

from __future__ import annotations

import pytest

from instance_seg_ros.core.parameters import GraspingSettings, LiftingSettings
from instance_seg_ros.core.settings import from_mapping, setting


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


def test_a_number_without_a_range_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="needs minimum and maximum"):
        setting(1.0, "Something.")
