from __future__ import annotations

import numpy as np

from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, box_geom, box_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import plain
from instance_seg_ros.learning.synthetic.poses import pose
from instance_seg_ros.learning.synthetic.rooms.physics import settle
from instance_seg_ros.learning.synthetic.rooms.room import Room
from instance_seg_ros.learning.synthetic.rooms.world import Placed, Support


def table() -> Support:
    room = Room(np.random.default_rng(0))
    room.add_box((0.3, 0.3, 0.05), (0.0, 0.0, -0.05), solid=True)
    return Support("table", tuple(room.solid), (), (0.3, 0.3), (-np.pi, np.pi))


def box_at(x: float, z: float) -> Placed:
    half = (0.03, 0.03, 0.03)
    return Placed(ObjectShape("box", box_mesh(half), (box_geom(half),)), pose((x, 0.0, z)), 1, plain((0.5, 0.5, 0.5)))


def test_a_box_in_the_air_falls_onto_the_table() -> None:
    (fallen,) = settle(table(), [box_at(0.0, 0.2)])
    np.testing.assert_allclose(fallen.T_world_shape.translation_m, [0.0, 0.0, 0.03], atol=1e-3)


def test_a_box_beside_the_table_is_gone() -> None:
    assert settle(table(), [box_at(0.5, 0.1)]) == ()


def test_nothing_settles_to_nothing() -> None:
    assert settle(table(), []) == ()
