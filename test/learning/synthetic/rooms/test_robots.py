from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, box_geom, box_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import plain
from instance_seg_ros.learning.synthetic.poses import pose
from instance_seg_ros.learning.synthetic.rooms.robots import add_arm
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.world import ROBOT, SUPPORTS, Placed, Support


def objects(rng: np.random.Generator) -> list[Placed]:
    shapes = [FAMILIES[name](rng) for name in ("box", "can", "mug", "book")]
    grey = plain((0.5, 0.5, 0.5))
    return [Placed(s, pose((0.12 * k - 0.18, 0.0, -s.bottom_m)), k + 1, grey) for k, s in enumerate(shapes)]


def arm(seed: int, kind: str) -> tuple[Support, list[Placed], list[Placed]]:
    rng = np.random.default_rng([seed, 5])
    support, bodies = sample_support(rng, kind), objects(rng)
    reached = add_arm(rng, support, bodies)
    return support, bodies, [part for part in reached.surroundings if part not in support.surroundings]


@pytest.mark.parametrize("kind", SUPPORTS)
def test_an_arm_is_background_that_comes_near_objects(kind: str) -> None:
    nearest, robots = [], 0
    for seed in range(8):
        _, bodies, parts = arm(seed, kind)
        assert {part.instance_id for part in parts} <= {0}
        robots += any(part.shape.family == ROBOT for part in parts)
        if parts:
            own = np.vstack([np.asarray(part.shape.mesh.vertices) for part in parts])
            others = np.vstack([b.T_world_shape.apply(np.asarray(b.shape.mesh.vertices)) for b in bodies])
            assert np.isfinite(own).all()
            nearest.append(float(np.linalg.norm(own[:, None] - others[None], axis=-1).min()))
    assert robots >= 3
    assert min(nearest) < 0.15


def test_an_arm_touches_nothing() -> None:
    for seed in range(15):
        _, bodies, parts = arm(seed, "floor")
        for body in bodies:
            low, high = body.shape.mesh.bounds
            for part in parts:
                points = body.T_world_shape.inverse().apply(np.asarray(part.shape.mesh.vertices))
                assert not ((points > low) & (points < high)).all(axis=1).any(), seed


def test_where_there_is_no_way_in_there_is_no_arm() -> None:
    rng = np.random.default_rng(0)
    support = sample_support(rng, "floor")
    half = (3.0, 3.0, 3.0)
    block = Placed(ObjectShape("part", box_mesh(half), (box_geom(half),)), pose((0, 0, 0)), 0, plain((0.5, 0.5, 0.5)))
    walled = replace(support, solid=(*support.solid, block))
    assert add_arm(rng, walled, objects(rng)) is walled


def test_the_same_state_makes_the_same_arm() -> None:
    (_, _, first), (_, _, second) = arm(3, "table"), arm(3, "table")
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.shape.mesh.vertices, b.shape.mesh.vertices)
        assert a.appearance == b.appearance
