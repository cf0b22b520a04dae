from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.poses import camera_pose
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.world import SUPPORTS, Placed

CAMERA = Intrinsics(32, 32, 60.0, 60.0, 15.5, 15.5)
ABOVE = camera_pose(np.array([0.0, 0.0, 0.1]), np.zeros(3))


@pytest.mark.parametrize("kind", SUPPORTS)
def test_a_support_is_background_with_its_surface_at_zero(kind: str) -> None:
    for seed in range(4):
        support = sample_support(np.random.default_rng([seed, 3]), kind)
        parts = (*support.solid, *support.surroundings)
        assert {part.instance_id for part in parts} == {0}
        assert all(np.isfinite(part.shape.mesh.vertices).all() for part in parts)
        # From just above, since a shelf has a board over it.
        cast = RayCaster(support.solid).cast(CAMERA, ABOVE)
        assert abs(float(np.median(cast.depth_m)) - 0.1) < 0.002


def test_an_unknown_support_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no support named 'moon'; choose one of table"):
        sample_support(np.random.default_rng(0), "moon")


@pytest.mark.parametrize("kind", ["table", "desk"])
def test_a_wall_behind_a_table_leaves_room_for_what_stands_there(kind: str) -> None:
    walled = 0
    for seed in range(40):
        support = sample_support(np.random.default_rng([seed, 9]), kind)
        if support.open_yaw[1] >= np.pi:
            continue
        walled += 1
        parts = [(part, _corners_m(part)) for part in (*support.solid, *support.surroundings)]
        # The wall is the widest solid thing; floors and walls of the room may reach past it, and cables into it.
        wall = max((points for part, points in parts if part in support.solid), key=lambda p: np.ptp(p[:, [0, 2]]))
        front = wall[:, 1].min()
        extents = [(points, np.ptp(points, axis=0)) for _, points in parts if points is not wall]
        room = [points for points, (x, y, z) in extents if max(x, y) < 5.0 and z > 0.01]
        through = [points for points in room if points[:, 1].min() < front - 0.02 < front + 0.05 < points[:, 1].max()]
        assert not through, seed
    assert walled > 3


def _corners_m(part: Placed) -> NDArray[np.floating]:
    return part.T_world_shape.apply(np.asarray(part.shape.mesh.vertices))
