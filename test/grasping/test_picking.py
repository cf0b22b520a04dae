"""The order in which objects may be taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.grasping.picking import picking_order
from instance_seg_ros.lifting.support import ObjectSupport, Support
from instance_seg_ros.pipeline import Scene


@pytest.mark.parametrize(
    ("qualities", "stands_on", "order"),
    [
        ([0.7, 0.9, 0.8], [None, None, None], (1, 2, 0)),
        ([0.7, 0.9, 0.8], [1, None, None], (2, 0, 1)),  # the first lies on the second
        ([0.7, None, 0.8], [1, None, None], (2, 0)),
        ([0.7, 0.9, 0.8], [1, 2, None], (0, 1, 2)),
        ([0.9, 0.9], [None, None], (0, 1)),
        ([None, None], [None, None], ()),
    ],
)
def test_what_carries_others_waits_and_the_surest_grasp_comes_first(
    make_scene: Callable[..., Scene], qualities: list[float | None], stands_on: list[int | None], order: tuple[int, ...]
) -> None:
    scene = make_scene()
    instance, grasp = scene.lifted.instances[0], scene.grasps[0].grasps[0]
    instances = [
        replace(instance, support=ObjectSupport(Support.UNKNOWN if on is None else Support.INSTANCE, None, on))
        for on in stands_on
    ]
    grasps = [
        InstanceGrasps((), Status.NO_GRASP_CANDIDATE)
        if quality is None
        else InstanceGrasps((replace(grasp, quality=quality),), Status.OK)
        for quality in qualities
    ]
    assert picking_order(instances, grasps) == order
