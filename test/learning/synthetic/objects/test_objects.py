from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.objects import FAMILIES, sample_object
from instance_seg_ros.learning.synthetic.pictures.appearance import plain
from instance_seg_ros.learning.synthetic.poses import pose
from instance_seg_ros.learning.synthetic.rooms.physics import settle
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.world import Placed


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_makes_shapes_that_fit_a_hand(name: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        shape = FAMILIES[name](rng)
        assert shape.family == name
        assert 0.015 < shape.mesh.extents.max() < 0.34
        assert shape.mesh.extents.min() > 0.003
        assert np.isfinite(shape.mesh.vertices).all()
        assert shape.mesh.faces.max() < len(shape.mesh.vertices)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_comes_to_rest_on_the_support_without_sinking_or_floating(name: str) -> None:
    rng = np.random.default_rng(2)
    support = sample_support(rng, "floor")
    grey = plain((0.5, 0.5, 0.5))
    shapes = [FAMILIES[name](rng) for _ in range(4)]
    bodies = [
        Placed(shape, pose((0.6 * i - 0.9, 0.0, 0.01 - shape.bottom_m)), i + 1, grey) for i, shape in enumerate(shapes)
    ]
    support = type(support)("floor", support.solid, (), (3.0, 3.0), support.open_yaw)
    settled = settle(support, bodies)
    assert len(settled) == 4
    for body in settled:
        lowest = body.T_world_shape.apply(np.asarray(body.shape.mesh.vertices))[:, 2].min()
        assert -0.004 < lowest < 0.006


def test_the_same_state_makes_the_same_shape() -> None:
    first, second = (sample_object(np.random.default_rng(5), tuple(FAMILIES)) for _ in range(2))
    np.testing.assert_array_equal(first.mesh.vertices, second.mesh.vertices)


def test_only_the_given_families_are_drawn() -> None:
    rng = np.random.default_rng(0)
    assert {sample_object(rng, ("can", "mug")).family for _ in range(30)} == {"can", "mug"}


def test_the_held_out_families_exist() -> None:
    assert {"teapot", "toy_brick"} <= set(FAMILIES)


def test_families_keep_their_order_which_random_streams_rely_on() -> None:
    assert list(FAMILIES)[:3] == ["box", "carton", "small_box"]
    assert list(FAMILIES)[28:31] == ["cable", "shoe", "wrench"]
    assert len(FAMILIES) == 48
