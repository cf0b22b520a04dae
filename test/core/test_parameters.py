"""The settings of the stages: defined once, with a range and help."""

from __future__ import annotations

import dataclasses

import pytest

from instance_seg_ros.core.parameters import PipelineSettings, stages
from instance_seg_ros.core.settings import Settings, describe, fields_of

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
