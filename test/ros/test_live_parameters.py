"""Parameters that change while frames come: each takes effect on the next one, as if the node had begun with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.parameter import Parameter

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.gripper_files import preset_names
from instance_seg_ros.core.settings import Setting, SettingValue
from instance_seg_ros.messages.incoming import RgbdMessages
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.ros.answers import Answers
from instance_seg_ros.ros.params import _SETTABLE_INACTIVE, _SETTABLE_UNCONFIGURED
from instance_seg_ros.ros.settings import all_parameters, settings_of

MakeFrame = Callable[..., RgbdFrame]
LIVE = {
    name: field
    for name, field in all_parameters().items()
    if not name.startswith(_SETTABLE_UNCONFIGURED) and name not in (*_SETTABLE_INACTIVE, "autostart")
}
TEXTS = {
    "gripper.preset": preset_names(),
    "depth_camera_pose": ("", "0 0 0 0 0 0 1", "0.01 0 0 0 0 0 2"),
    "record_folder": ("", "somewhere", "elsewhere"),
}
NO_VALUES = {
    "gripper.preset": "no gripper",
    "depth_camera_pose": "0 0 0",
    "grasping.closing_axis": "z",
    "lifting.min_points": 9,
    "grasping.friction": float("nan"),
    "segmentation.threads": 2,  # a value, but not while the node is active
}


def some_value(name: str, field: Setting, rng: np.random.Generator) -> SettingValue:
    """One that is allowed: a bound as often as one between."""
    if field.type is bool:
        return bool(rng.integers(2))
    if field.type is str:
        return str(rng.choice(field.choices or TEXTS[name]))
    assert field.minimum is not None and field.maximum is not None
    share = rng.choice([0.0, 1.0, rng.random(), rng.random() ** 4])
    value = field.minimum + share * (field.maximum - field.minimum)
    return round(value) if field.type is int else float(value)


def changes(count: int, seed: int) -> Iterator[dict[str, SettingValue]]:
    """Sets of values for one to four parameters; among the first, each parameter is in one."""
    rng = np.random.default_rng(seed)
    names = list(rng.permutation(list(LIVE)))
    for _ in range(count):
        some = [names.pop() if names else str(rng.choice(list(LIVE))) for _ in range(rng.integers(1, 5))]
        yield {name: some_value(name, LIVE[name], rng) for name in some}


def messages_for(frame: RgbdFrame, stamp_ns: int, messages_of: Callable[..., Any]) -> RgbdMessages:
    """With the CameraInfo of the depth camera, for the poses that may be given of that."""
    info, color, depth = messages_of(replace(frame, stamp_ns=stamp_ns))
    return RgbdMessages(color, depth, info, info)


def facts_of(answer: Any) -> list[Any]:
    """All that does not depend on the frames before."""
    for each in answer.instances:
        each.track_id = each.sightings = 0
        each.first_seen = type(each.first_seen)()
    return [answer.status, answer.status_text, answer.has_support_plane, *map(repr, answer.instances)]


def values_of(node: Any) -> Mapping[str, SettingValue]:
    return {name: node.get_parameter(name).value for name in all_parameters()}


def test_answers_are_those_of_a_pipeline_that_began_with_these_values(
    make_stage: Callable[..., Any],
    make_frame: MakeFrame,
    messages_of: Callable[..., Any],
    blob_pipeline: Callable[..., Pipeline],
) -> None:
    stage = make_stage()
    stage.start()
    node = stage.node
    threads: set[int] = set()
    for number, change in enumerate(changes(60, seed=0), start=1):
        result = node.set_parameters_atomically([Parameter(name, value=value) for name, value in change.items()])
        assert result.successful, result.reason
        values = values_of(node)
        assert {name: values[name] for name in change} == change
        current = node._settings.current
        assert (current.node, current.pipeline) == settings_of(values)

        rgbd = messages_for(make_frame(), number * 33_000_000, messages_of)
        answer, _ = node._answers.answer(rgbd, node._pipeline)
        fresh = Answers(node, node._settings, node._transforms, node._health, node._problems, lambda *_: None)
        expected, _ = fresh.answer(rgbd, blob_pipeline(current.pipeline, None))

        assert facts_of(answer) == facts_of(expected), change
        assert "internal error" not in answer.status_text, change
        threads.add(threading.active_count())
    assert max(threads) - min(threads) <= 2, "the landmarks of the pipelines have a thread each"


def test_a_change_with_one_value_that_cannot_be_changes_nothing(make_stage: Callable[..., Any]) -> None:
    stage = make_stage()
    stage.start()
    rng = np.random.default_rng(0)
    before, pipeline = values_of(stage.node), stage.node._pipeline
    for change, (name, value) in zip(changes(60, seed=1), [*NO_VALUES.items()] * 10, strict=True):
        wanted = [*(change | {name: value}).items()]
        parameters = [Parameter(wanted[index][0], value=wanted[index][1]) for index in rng.permutation(len(wanted))]
        result = stage.node.set_parameters_atomically(parameters)
        assert not result.successful and result.reason, wanted
        assert values_of(stage.node) == before
        assert stage.node._pipeline is pipeline
