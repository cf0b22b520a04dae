"""Counters, rates, levels and the causes that are named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import Grasp, InstanceGrasps, Rejection
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.ros.diagnostics import silence_faults
from instance_seg_ros.ros.health import ERROR, LOG_PERIOD_S, OK, RECENT_S, WARN, Health, InputReport

SOME_GRASP = Grasp(
    T_camera_grasp=Transform(np.eye(3), np.array([0.0, 0.0, 0.6])),
    width_m=0.04,
    opening_m=0.08,
    quality=0.9,
    contacts_m=np.array([[-0.02, 0.0, 0.6], [0.02, 0.0, 0.6]]),
    approach_distance_m=0.08,
    lift_distance_m=0.1,
    checked_against_scene=True,
)


class FakeClock:
    """A clock that stands still until it is set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> Health:
    return Health(clock)


def test_a_problem_is_to_be_logged_once_in_a_period(health: Health, clock: FakeClock) -> None:
    assert [health.problem("a", "text"), health.problem("a", "text"), health.problem("b", "text")] == [
        True,
        False,
        True,
    ]
    clock.now_s += LOG_PERIOD_S
    assert health.problem("a", "text")
    assert health.condition().facts["a: count"] == 3


def test_the_worst_recent_problem_gives_level_and_message(health: Health, clock: FakeClock) -> None:
    health.problem("error", "broken", ERROR)
    clock.now_s += 1
    health.problem("warning", "odd")

    condition = health.condition()
    assert (condition.level, condition.message) == (ERROR, "broken")

    clock.now_s += RECENT_S - 0.5
    condition = health.condition()
    assert (condition.level, condition.message) == (WARN, "odd")

    clock.now_s += RECENT_S
    assert health.condition().level == OK


def test_rates_fall_when_frames_stop(health: Health, clock: FakeClock) -> None:
    for _ in range(11):
        health.processed(0.05, {"segment": 0.02})
        clock.now_s += 0.1
    assert health.condition().facts["rate_hz"] == "10.0"
    assert health.condition().facts["segment_median_ms"] == "20.0"
    clock.now_s += 9.9
    assert health.condition().facts["rate_hz"] == "1.0"


def test_how_far_colour_was_moved_is_told_as_the_median_of_the_latest_frames(health: Health) -> None:
    told = "colour_moved_onto_depth_median_px"
    assert told not in health.condition().facts
    for moved_px in ((0, 0), (2, -1), (3, -1)):
        health.aligned(moved_px)
    assert health.condition().facts[told] == "2 right, -1 down"


def test_an_input_is_silent_since_its_activation_or_its_last_message(health: Health, clock: FakeClock) -> None:
    health.activated()
    clock.now_s += 3
    assert health.input("color", "/c", 1) == InputReport("/c", 1, 0, 3.0)
    health.arrived("color")
    clock.now_s += 1
    assert health.input("color", "/c", 1) == InputReport("/c", 1, 1, 1.0)
    health.activated()  # again: what came before says nothing of the inputs of now
    clock.now_s += 2
    assert health.input("color", "/c", 1) == InputReport("/c", 1, 0, 2.0)


def test_silent_inputs_are_named_by_whether_somebody_publishes() -> None:
    reports = [InputReport("/c", 0, 0, 9.0), InputReport("/d", 2, 5, 9.0), InputReport("/i", 1, 5, 0.1)]

    unpublished, unheard = silence_faults(reports, timeout_s=1.0)

    assert unpublished.startswith("nothing publishes on /c;")
    assert unheard.startswith("nothing arrives on /d (2 publishers); do they send")
    assert silence_faults(reports[2:], timeout_s=1.0) == []


def test_instances_without_depth_are_counted_since_the_start(
    health: Health, clock: FakeClock, make_scene: Callable[..., Scene]
) -> None:
    instances, told = make_scene().lifted.instances, "instances without a place, for want of depth"
    health.placed(instances[:1])
    assert told not in health.condition().facts
    for _ in range(2):
        health.placed(instances)
    clock.now_s += 1000
    assert health.condition().facts[told] == 2


def test_grasps_and_why_poses_are_none_are_counted_since_the_start(health: Health, clock: FakeClock) -> None:
    nothing = InstanceGrasps((), Status.NO_GRASP_CANDIDATE, {Rejection.SLIP: 3, Rejection.FIT: 1})
    hemmed_in = InstanceGrasps((), Status.NO_COLLISION_FREE_GRASP, {Rejection.SLIP: 2})
    assert not any("grasps" in name for name in health.condition().facts)
    health.grasped((nothing, hemmed_in))
    health.grasped((replace(nothing, grasps=(SOME_GRASP,), status=Status.OK),))
    clock.now_s += 1000
    facts = health.condition().facts
    assert (facts["instances with grasps"], facts["instances without grasps"]) == (1, 2)
    assert facts["rejected grasps: surfaces turned too far from the closing direction to hold by friction"] == 8
    assert facts["rejected grasps: the object does not fit between the fingers, or is in their way"] == 2
