"""The order in which objects may be taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.grasping.picking import picking_order
from instance_seg_ros.lifting import Instance3D
from instance_seg_ros.lifting.support import ObjectSupport, Support
from instance_seg_ros.messages.outgoing import instance_array
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Scene


def of_qualities(
    scene: Scene, qualities: list[float | None], stands_on: list[int | None]
) -> tuple[tuple[Instance3D, ...], tuple[InstanceGrasps, ...]]:
    """Instances and grasps like the first of a scene, with these qualities (None: no grasp), standing on these."""
    instance, grasp = scene.lifted.instances[0], scene.grasps[0].grasps[0]
    instances = (
        replace(instance, support=ObjectSupport(Support.UNKNOWN if on is None else Support.INSTANCE, None, on))
        for on in stands_on
    )
    grasps = (
        InstanceGrasps((), Status.NO_GRASP_CANDIDATE)
        if quality is None
        else InstanceGrasps((replace(grasp, quality=quality),), Status.OK)
        for quality in qualities
    )
    return tuple(instances), tuple(grasps)


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
    assert picking_order(*of_qualities(make_scene(), qualities, stands_on)) == order


@pytest.mark.parametrize(
    ("order", "qualities", "stands_on", "labels", "removal_orders"),
    [
        ("score", [None, 0.9], [None, None], [1, 2], [1, 1]),
        ("picking", [None, 0.9], [None, None], [2, 1], [1, 1]),
        ("picking", [0.9, 0.8], [None, 0], [2, 1], [1, 2]),  # the second lies on the first
        ("picking", [None, None], [None, None], [1, 2], [1, 1]),
    ],
)
def test_messages_list_the_instances_in_the_order_of_the_setting(
    make_scene: Callable[..., Scene],
    order: str,
    qualities: list[float | None],
    stands_on: list[int | None],
    labels: list[int],
    removal_orders: list[int],
) -> None:
    scene = make_scene()
    instances, grasps = of_qualities(scene, qualities, stands_on)
    scene = replace(scene, lifted=replace(scene.lifted, instances=instances), grasps=grasps)
    array = instance_array(message_factory(load_typestore()), scene, grasping=GraspingSettings(instance_order=order))
    assert [own.label for own in array.instances] == labels
    assert [own.removal_order for own in array.instances] == removal_orders
    assert [bool(own.grasps) for own in array.instances] == [qualities[label - 1] is not None for label in labels]
