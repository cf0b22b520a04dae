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


@pytest.mark.parametrize("name", ["box", "carton", "book", "cylinder", "can"])
def test_a_plain_body_that_lies_on_its_side_does_not_sink(name: str) -> None:
    rng = np.random.default_rng(3)
    support = sample_support(rng, "floor")
    support = type(support)("floor", support.solid, (), (3.0, 3.0), support.open_yaw)
    shape = FAMILIES[name](rng)
    lying = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    lowest_m = (np.asarray(shape.mesh.vertices) @ lying[2]).min()
    (body,) = settle(support, [Placed(shape, pose((0.0, 0.0, 0.01 - lowest_m), lying), 1, plain((0.5, 0.5, 0.5)))])
    assert body.T_world_shape.apply(np.asarray(body.shape.mesh.vertices))[:, 2].min() == pytest.approx(0, abs=0.002)


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
    assert len(FAMILIES) == 79


# The studs of a brick are open below, inside the brick.
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "toy_brick"])
def test_the_surface_of_a_family_is_closed(name: str) -> None:
    rng = np.random.default_rng(6)
    for body in (body for _ in range(4) for body in FAMILIES[name](rng).bodies):
        # Points closer than a micrometre are one; a triangle of less than three points is none.
        _, point = np.unique(np.round(np.asarray(body.vertices) * 1e6), axis=0, return_inverse=True)
        faces = np.sort(point.ravel()[np.asarray(body.faces)], axis=1)
        faces = faces[(np.diff(faces, axis=1) > 0).all(axis=1)]
        edges = np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [0, 2]]])
        assert (np.unique(edges, axis=0, return_counts=True)[1] % 2 == 0).all()


@pytest.mark.parametrize(
    ("name", "fewest"),
    [
        ("toy_car", 6),
        ("toy_figure", 6),
        ("toy_animal", 7),
        ("power_drill", 4),
        ("game_box", 2),
        ("jar", 2),
        ("brush", 3),
    ],
)
def test_toys_and_tools_are_of_several_bodies_that_hang_together(name: str, fewest: int) -> None:
    rng = np.random.default_rng(8)
    for _ in range(10):
        bodies = FAMILIES[name](rng).bodies
        assert len(bodies) >= fewest
        boxes = np.array([body.bounds for body in bodies])
        near = (boxes[:, None, 0] <= boxes[None, :, 1] + 1e-3).all(axis=-1)
        near &= near.T
        reached = np.linalg.matrix_power(near.astype(np.int64), len(bodies)) > 0
        assert reached[0].all()
