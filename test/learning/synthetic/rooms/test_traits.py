from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, Vector, box_geom, box_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import plain
from instance_seg_ros.learning.synthetic.poses import pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.traits import object_traits
from instance_seg_ros.learning.synthetic.rooms.world import Placed
from instance_seg_ros.learning.synthetic.store import FLAT, FLUSH, PARTS, STACKED

HALF = (0.05, 0.04, 0.03)


def box(instance_id: int, at_m: Vector, yaw_deg: float = 0.0, half_m: Vector = HALF) -> Placed:
    shape = ObjectShape("box", box_mesh(half_m), (box_geom(half_m),))
    return Placed(shape, pose(at_m, yaw_rotation(np.deg2rad(yaw_deg))), instance_id, plain((0.5, 0.5, 0.5)))


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (box(2, (0.0, 0.0, 0.0905)), STACKED),
        (box(2, (0.01, 0.02, 0.0905), 40.0), STACKED),
        (box(2, (0.0, 0.0, 0.12)), 0),  # in the air
        (box(2, (0.102, 0.0, 0.03)), FLUSH),
        (box(2, (0.0, 0.081, 0.03), 2.0), FLUSH),
        (box(2, (0.092, 0.0, 0.03), 90.0), FLUSH),
        (box(2, (0.108, 0.0, 0.03)), 0),  # a gap
        (box(2, (0.104, 0.0, 0.03), 20.0), 0),  # askew
        (box(2, (0.102, 0.06, 0.03)), 0),  # at a corner
    ],
)
def test_boxes_on_and_beside_each_other_are_told(second: Placed, expected: int) -> None:
    traits = object_traits([box(1, (0.0, 0.0, 0.03)), second])
    assert traits[[1, 2]].tolist() == [expected, expected]
    assert not traits[3:].any()


@pytest.mark.parametrize(
    ("family", "expected"), [("toy_car", PARTS), ("power_drill", PARTS), ("box", 0), ("can", 0), ("remote", 0)]
)
def test_things_of_several_bodies_are_told(family: str, expected: int) -> None:
    for seed in range(5):
        shape = FAMILIES[family](np.random.default_rng(seed))
        item = Placed(shape, pose((0.0, 0.0, -shape.bottom_m)), 7, plain((0.5, 0.5, 0.5)))
        assert object_traits([item])[7] & PARTS == expected


def test_what_lies_flat_is_told() -> None:
    flat, high = box(1, (0.0, 0.0, 0.01), half_m=(0.08, 0.06, 0.01)), box(2, (0.5, 0.0, 0.03))
    assert object_traits([flat, high])[[1, 2]].tolist() == [FLAT, 0]


def test_nothing_has_no_traits() -> None:
    assert not object_traits([]).any()
