"""What lies beneath what, and what hardly stands by itself, each rule at its limits."""

from __future__ import annotations

import numpy as np
import pytest
from level_planes import body

from instance_seg_ros.lifting.bodies import Body, is_tilted, lowest_above_m, neighbours, top_below


@pytest.mark.parametrize(
    ("above_m", "reach_m", "stands"),
    [
        (0.002, 0.06, True),  # a quarter of the upper one is above what is seen of the lower one
        (-0.006, 0.06, True),
        (0.002, 0.09, False),  # hardly any of it
        (0.011, 0.06, False),  # it ends higher up
    ],
)
def test_what_is_mostly_hidden_carries_what_ends_at_its_top(above_m: float, reach_m: float, stands: bool) -> None:
    """Of the lower one a strip is seen that reaches so far under the upper one from the side."""
    upper = body((-0.1, 0.9, 0.05 + above_m), (0.1, 1.1, 0.1))
    lower = body((reach_m, 0.9, 0.0), (0.3, 1.1, 0.05))
    assert (top_below(upper, lower, upper.least_m + 0.008) is not None) is stands


def turned(*degrees: float) -> np.ndarray:
    """Normals that are so far from straight up."""
    return np.stack([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees)), np.zeros(len(degrees))], axis=1)


@pytest.mark.parametrize(
    ("normals", "tilted"),
    [
        (turned(*[0.0] * 50, *[90.0] * 50), False),  # a box that stands
        (turned(*[30.0] * 50, *[60.0] * 50), True),  # one that leans
        (turned(*[90.0] * 90, *[60.0] * 10), False),  # seen from its side alone
        (turned(*np.linspace(0.0, 90.0, 100)), False),  # a ball
        (turned(*np.linspace(25.0, 90.0, 100)), True),  # a cylinder that leans
        (turned(*[5.0] * 15, *[40.0] * 85), False),  # a part of it is level
        (np.zeros((20, 3)), False),  # nothing is known
        (np.concatenate([np.zeros((80, 3)), turned(*[40.0] * 20)]), True),
        (turned(*[40.0] * 95, *[5.0] * 5)[:, [2, 1, 0]], True),  # towards the camera, none of it to a side
    ],
)
def test_a_body_without_level_or_upright_sides_is_tilted(normals: np.ndarray, tilted: bool) -> None:
    assert is_tilted(normals, np.array([0.0, -1.0, 0.0])) == tilted


def test_neighbours_are_those_whose_boxes_are_less_apart_along_every_axis() -> None:
    at_m = {3: (0.0, 0.0, 0.0), 5: (0.09, 0.0, 0.0), 6: (0.0, 0.11, 0.0), 8: (0.0, 0.0, 0.3)}
    cube_m = 0.05 * np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    bodies = {
        key: Body.of_points((cube_m + place_m).astype(np.float32), np.eye(3), 0.01) for key, place_m in at_m.items()
    }
    assert neighbours(bodies, 0.05) == {3: [5], 5: [3], 6: [], 8: []}
    assert neighbours(bodies, 0.07) == {3: [5, 6], 5: [3, 6], 6: [3, 5], 8: []}


def test_the_lowest_of_each_object_is_its_third_percentile_above_the_plane() -> None:
    objects_m = [
        np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32) for seed, count in enumerate((1, 2, 300))
    ]
    normal, offset_m = np.array([0.6, 0.0, -0.8]), 0.25
    found_m = lowest_above_m(np.concatenate(objects_m), np.array([1, 3, 303]), normal, offset_m)
    np.testing.assert_allclose(found_m, [np.percentile(own_m @ normal + offset_m, 3) for own_m in objects_m], atol=1e-6)
