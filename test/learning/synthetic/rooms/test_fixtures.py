from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.rooms import fixtures
from instance_seg_ros.learning.synthetic.rooms.room import Fixture, Room


def world_points(room: Room) -> NDArray[np.float64]:
    parts = [*room.solid, *room.surroundings]
    return np.vstack([p.T_world_shape.apply(np.asarray(p.shape.mesh.vertices)) for p in parts])


@pytest.mark.parametrize("fixture", dict.fromkeys(fixtures.ON_TABLE + fixtures.ON_FLOOR), ids=lambda f: f.__name__)
def test_a_fixture_is_background_above_the_ground_and_larger_than_an_object(fixture: Fixture) -> None:
    for seed in range(5):
        room = Room(np.random.default_rng(seed))
        room.add_fixture(fixture, Transform.identity())
        points = world_points(room)
        assert np.isfinite(points).all()
        assert points[:, 2].min() > -0.012
        assert np.ptp(points, axis=0).max() > 0.3
        assert {part.instance_id for part in (*room.solid, *room.surroundings)} == {0}


def test_folds_are_flat_where_something_rests() -> None:
    room = Room(np.random.default_rng(0))
    fixtures.folds(room, 0.3, 0.3, np.zeros((1, 2)))
    points = world_points(room)
    near = np.hypot(points[:, 0], points[:, 1]) < 0.02
    assert points[near, 2].max() < 0.002
    assert points[~near, 2].max() > 0.004


def test_folds_take_no_contacts() -> None:
    room = Room(np.random.default_rng(0))
    fixtures.folds(room, 0.3, 0.3, np.zeros((0, 2)))
    assert world_points(room)[:, 2].max() > 0.004
