"""The Grasp and InstanceGrasps types: what cannot be is refused before it reaches a robot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import InstanceGrasps, Rejection
from instance_seg_ros.pipeline import Scene

NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": 1.01}, r"quality must lie in \[0, 1\], not 1.01"),
        ({"quality": NAN}, "quality must lie"),
        ({"width_m": -0.01}, "width_m, .* must not be negative"),
        ({"opening_m": 0.001}, "opening_m must be finite and at least width_m"),
        ({"opening_m": NAN}, "opening_m must be finite"),
        ({"approach_distance_m": NAN}, "approach_distance_m"),
        ({"lift_distance_m": float("inf")}, "lift_distance_m"),
        ({"contacts_m": np.zeros((3, 2))}, r"contacts_m must have shape \(2, 3\)"),
        ({"contacts_m": np.full((2, 3), NAN)}, "contacts_m must be finite"),
    ],
)
def test_a_grasp_that_cannot_be_is_refused(
    make_scene: Callable[..., Scene], change: dict[str, Any], message: str
) -> None:
    grasp = make_scene().grasps[0].grasps[0]
    with pytest.raises(ValueError, match=message):
        replace(grasp, **change)


def test_grasps_that_contradict_their_status_or_order_are_refused(make_scene: Callable[..., Scene]) -> None:
    best, second = make_scene().grasps[0].grasps
    with pytest.raises(ValueError, match="1 grasps contradict the status .*NO_GRASP_CANDIDATE"):
        InstanceGrasps((best,), Status.NO_GRASP_CANDIDATE)
    with pytest.raises(ValueError, match="0 grasps contradict the status"):
        InstanceGrasps((), Status.OK)
    with pytest.raises(ValueError, match=r"best first, not with the qualities \[0.4, 0.9\]"):
        InstanceGrasps((second, best), Status.OK)


def test_where_there_is_no_grasp_the_reason_says_at_which_steps_they_failed(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    none = InstanceGrasps((), Status.NO_COLLISION_FREE_GRASP, {Rejection.SLIP: 2, Rejection.SCENE: 7})
    first = replace(scene, grasps=(none, *scene.grasps[1:])).objects()[0]
    assert first.reason == (
        "the gripper would collide in every grasp (tried grasps: 2 surfaces turned too far from the closing direction "
        "to hold by friction, 7 something else in the way)"
    )
    assert scene.objects()[0].reason == ""
