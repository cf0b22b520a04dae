"""Free space below objects, at its limits."""

from __future__ import annotations

import numpy as np
import pytest
from level_planes import UP_BASIS

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.lifting.bodies import Body
from instance_seg_ros.lifting.free_space import free_below

BOTTOM_ROW = 40
"""Of the image, in which the body ends."""


@pytest.mark.parametrize(("gap_m", "free"), [(0.2, True), (0.09, False)])
def test_what_would_reach_far_down_hangs_where_the_space_below_its_rim_is_empty(gap_m: float, free: bool) -> None:
    """Of a standing bowl the space below the rim is empty, too."""
    points_m = np.stack(
        np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.08, 0, 9), np.linspace(0.99, 1.01, 2)), axis=-1
    ).reshape(-1, 3)
    body = Body.of_points(points_m.astype(np.float32), UP_BASIS, 0.01)
    depth_m = np.full((400, 400), 2.0, dtype=np.float32)
    depth_m[:, 199 - round(350 * 0.032) : 201 + round(350 * 0.032)] = 1.0
    depth_m[:BOTTOM_ROW] = 0.99  # the body itself
    frame = RgbdFrame(None, depth_m, Intrinsics(400, 400, 350.0, 350.0, 199.5, 40.0))
    mask = np.zeros((400, 400), dtype=bool)
    assert free_below(body, body.lowest_m - gap_m, UP_BASIS, frame, mask, 0.004) is free


@pytest.mark.parametrize(
    ("gap_m", "free_share", "free"),
    [
        (0.10, 1.0, True),
        (0.10, 0.0, False),
        (0.04, 1.0, True),
        (0.03, 0.5, False),  # half of 3 cm is less than 2
        (0.018, 1.0, False),
        (0.50, 0.08, False),  # 4 cm of it, but less than a tenth
        (0.50, 0.15, True),
        (0.01, 1.0, False),
        (0.007, 1.0, False),  # within the tolerances of both
    ],
)
def test_an_object_hangs_where_enough_of_the_space_below_it_is_seen_to_be_empty(
    gap_m: float, free_share: float, free: bool
) -> None:
    """The camera looks at it from the side; behind so much of the space below, from above, the wall is 1 m farther."""
    points_m = np.stack(
        np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.08, 0, 9), np.linspace(0.99, 1.01, 2)), axis=-1
    ).reshape(-1, 3)
    body = Body.of_points(points_m.astype(np.float32), UP_BASIS, 0.01)
    camera = Intrinsics(400, 400, 350.0, 350.0, 199.5, 40.0)
    depth_m = np.full((400, 400), 1.0, dtype=np.float32)
    if free_share:
        depth_m[: round(40 + 350 * gap_m * free_share)] = 2.0
    depth_m[:BOTTOM_ROW] = 0.99  # the body itself
    lowest_m = body.lowest_m
    mask = np.zeros((400, 400), dtype=bool)
    assert free_below(body, lowest_m - gap_m, UP_BASIS, RgbdFrame(None, depth_m, camera), mask, 0.004) is free
    mask[:] = True
    assert not free_below(body, lowest_m - gap_m, UP_BASIS, RgbdFrame(None, depth_m, camera), mask, 0.004)
