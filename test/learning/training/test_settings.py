"""The settings of a training, as options and in their ranges."""

from __future__ import annotations

import argparse

import pytest

from instance_seg_ros.commands import train
from instance_seg_ros.core.settings import Settings, fields_of
from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.misregistration import MisregistrationSettings
from instance_seg_ros.learning.datasets.photometric import PhotometricSettings
from instance_seg_ros.learning.datasets.prints import PrintSettings
from instance_seg_ros.learning.models.adelaidet_inference import InferenceSettings
from instance_seg_ros.learning.models.exported_graph import DecodingSettings
from instance_seg_ros.learning.training.settings import ObjectiveSettings, TrainingSettings

TYPES = (
    TrainingSettings,
    AugmentationSettings,
    ObjectiveSettings,
    PhotometricSettings,
    PrintSettings,
    MisregistrationSettings,
    DecodingSettings,
    InferenceSettings,
)


@pytest.mark.parametrize("settings_type", TYPES)
def test_every_default_is_in_its_range_and_every_help_is_a_sentence(settings_type: type[Settings]) -> None:
    for field in fields_of(settings_type):
        assert field.check(field.default) == field.default, field.name
        assert field.help.endswith("."), field.name


@pytest.mark.parametrize(
    ("settings_type", "values", "cause"),
    [
        (AugmentationSettings, {"crop_scale_min": 3.0}, "crop_scale_min must not exceed crop_scale_max, but 3.0 > 2.0"),
        (PhotometricSettings, {"blur_sigma_max_px": 0.1}, "blur_sigma_min_px must not exceed blur_sigma_max_px"),
        (PhotometricSettings, {"jpeg_quality_max": 35}, "jpeg_quality_min must be below jpeg_quality_max"),
        (PrintSettings, {"opacity_max": 0.2}, "opacity_min must not exceed opacity_max, but 0.5 > 0.2"),
        (MisregistrationSettings, {"probability": 1.5}, "probability must be between 0 and 1, not 1.5"),
        (ObjectiveSettings, {"masks_per_image": 0}, "masks_per_image must be between 1 and 10000, not 0"),
        (DecodingSettings, {"candidates": 10}, "max_instances must not exceed candidates, but 64 > 10"),
        (InferenceSettings, {"mask_threshold": -0.1}, "mask_threshold must be between 0 and 1, not -0.1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(
    settings_type: type[Settings], values: dict[str, float], cause: str
) -> None:
    with pytest.raises(ValueError, match=cause):
        settings_type(**values)


def test_every_setting_of_a_training_is_an_option() -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings}
    for prefix, settings_type in (("", TrainingSettings), ("augmentation-", AugmentationSettings)):
        wanted = {f"--{prefix}{field.name.replace('_', '-')}" for field in fields_of(settings_type)}
        assert wanted <= options, wanted - options
