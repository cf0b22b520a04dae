"""Which object to take first."""

from __future__ import annotations

from collections.abc import Sequence

from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.lifting import Instance3D


def picking_order(instances: Sequence[Instance3D], grasps: Sequence[InstanceGrasps]) -> tuple[int, ...]:
    """The instances that have grasps, by index, in the order in which they may be taken.

    First those that carry nothing: what stands on an object falls when it is lifted. Among them, and among the others,
    the one whose best grasp is most likely to hold; the way of every grasp was checked to be free.

    Args:
        instances: of a frame.
        grasps: of each instance.
    """
    carrying = {instance.support.instance for instance in instances}
    with_grasps = [index for index, own in enumerate(grasps) if own.grasps]
    return tuple(sorted(with_grasps, key=lambda index: (index in carrying, -grasps[index].grasps[0].quality, index)))
