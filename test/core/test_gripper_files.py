"""Grippers as data: presets, files of one's own, and single values that replace theirs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from instance_seg_ros.core.gripper_files import preset_names, read_gripper
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.core.settings import fields_of

NAMES = tuple(field.name for field in fields_of(GripperSettings) if field.type is float)
GOOD = "name: a\nsource: b\n" + "".join(f"{name}: 0.1\n" for name in NAMES)


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_a_gripper_that_says_where_its_values_come_from(preset: str) -> None:
    settings, gripper = GripperSettings(preset=preset), read_gripper(preset, NAMES)
    assert all(getattr(settings, name) == gripper.values[name] > 0 for name in NAMES)
    assert len(gripper.source) > 20
    assert 0.015 <= settings.max_opening_m <= settings.palm_width_m
    assert 10 <= settings.force_n <= 70


@pytest.mark.parametrize(
    ("preset", "max_opening_m"),
    [
        ("parallel_80mm", 0.08),
        ("franka_hand", 0.08),
        ("robotiq_2f_85", 0.085),
        ("robotiq_2f_140", 0.14),
        ("onrobot_rg2", 0.11),
        ("weiss_wsg_50_110", 0.11),
        ("schunk_egk_40", 0.083),
        ("schunk_egp_50", 0.016),
    ],
)
def test_presets_open_as_far_as_their_makers_say(preset: str, max_opening_m: float) -> None:
    assert GripperSettings(preset=preset).max_opening_m == max_opening_m


def test_without_a_word_the_gripper_is_the_one_that_it_always_was() -> None:
    sizes = GripperSettings()
    assert (sizes.max_opening_m, sizes.finger_thickness_m, sizes.finger_width_m) == (0.08, 0.012, 0.02)
    assert (sizes.finger_length_m, sizes.palm_depth_m, sizes.palm_width_m, sizes.palm_height_m) == (
        0.045,
        0.07,
        0.2,
        0.06,
    )
    assert (sizes.force_n, sizes.pad_friction) == (30, 0.5)


def test_single_values_replace_those_of_the_preset_and_0_does_not() -> None:
    settings = GripperSettings(preset="robotiq_2f_85", max_opening_m=0.06, finger_width_m=0.0)
    assert (settings.max_opening_m, settings.finger_width_m, settings.palm_width_m) == (0.06, 0.028, 0.153)


def test_replacing_the_preset_takes_the_values_of_the_new_one_and_keeps_those_that_were_set() -> None:
    changed = dataclasses.replace(GripperSettings(finger_width_m=0.033), preset="onrobot_rg2")
    assert changed == GripperSettings(preset="onrobot_rg2", finger_width_m=0.033)
    assert dataclasses.replace(changed, force_n=12.0) == GripperSettings(
        "onrobot_rg2", finger_width_m=0.033, force_n=12.0
    )


def test_a_value_that_was_set_stays_where_it_equals_that_of_the_preset_before() -> None:
    own_m = GripperSettings().max_opening_m
    settings = GripperSettings(max_opening_m=own_m)
    for preset in ("onrobot_rg2", "robotiq_2f_140", "parallel_80mm"):
        settings = dataclasses.replace(settings, preset=preset)
        assert settings == GripperSettings(preset=preset, max_opening_m=own_m)


def test_a_file_of_ones_own_is_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("max_opening_m: 0.1", "max_opening_m: 0.07"))
    assert GripperSettings(preset=str(path)).max_opening_m == 0.07


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for opening in (
        "0.07",
        "0.09",
    ):  # as many letters: within the clock's tick the file looks the same but for its time
        path.write_text(GOOD.replace("max_opening_m: 0.1", f"max_opening_m: {opening}"))
        os.utime(path, ns=(0, int(float(opening) * 1e9)))
        assert GripperSettings(preset=str(path)).max_opening_m == float(opening)


def test_an_unknown_preset_is_told_with_those_that_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"no gripper preset 'robotiq'; there are franka_hand, .*robotiq_2f_85, .*yaml"
    ):
        GripperSettings(preset="robotiq")


@pytest.mark.parametrize("preset", ["", "../franka_hand", "franka_hand.yml.bak"])
def test_a_preset_is_a_name_not_a_place(preset: str) -> None:
    with pytest.raises(ValueError, match="no gripper preset"):
        GripperSettings(preset=preset)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("max_opening_m: 0.1\n", ""), "lacks or adds max_opening_m"),
        (GOOD.replace("source: b\n", ""), "lacks or adds source"),
        (GOOD + "colour: red\n", "lacks or adds colour"),
        (
            GOOD.replace("max_opening_m: 0.1", "max_opening_m: 80"),
            "max_opening_m must be above 0 and at most 1, not 80",
        ),
        (GOOD.replace("force_n: 0.1", "force_n: 0"), "force_n must be above 0 and at most 1000, not 0"),
        (GOOD.replace("pad_friction: 0.1", "pad_friction: 2.1"), "pad_friction must be above 0 and at most 2"),
        (
            GOOD.replace("palm_depth_m: 0.1", "palm_depth_m: wide"),
            "palm_depth_m must be above 0 and at most 1, not 'wide'",
        ),
        (GOOD.replace("palm_depth_m: 0.1", "palm_depth_m: true"), "palm_depth_m must be above 0"),
        (GOOD.replace("palm_depth_m: 0.1", "palm_depth_m: .nan"), "palm_depth_m must be above 0"),
        ("[1, 2", "not valid YAML"),
        ("- 1\n", "must have exactly name, source, max_opening_m"),
    ],
)
def test_a_file_that_is_no_gripper_is_refused_with_the_reason(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        GripperSettings(preset=str(path))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing.yaml cannot be read: No such file"):
        GripperSettings(preset=str(tmp_path / "missing.yaml"))
