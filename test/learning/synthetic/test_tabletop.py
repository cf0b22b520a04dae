from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS
from instance_seg_ros.learning.synthetic.tabletop import SimulatedTabletop


def test_the_same_seed_gives_the_same_frames() -> None:
    first, second = (list(islice(SimulatedTabletop(4, (80, 60)), 35)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.frame.color_rgb, b.frame.color_rgb)
        np.testing.assert_array_equal(a.frame.depth_m, b.frame.depth_m)
        np.testing.assert_array_equal(a.ids, b.ids)


def test_frames_are_stamped_at_the_rate() -> None:
    stamps = [s.frame.stamp_ns for s in islice(SimulatedTabletop(0, (80, 60), rate_hz=20.0, start_ns=5), 3)]
    assert stamps == [5, 50_000_005, 100_000_005]


def test_the_table_lies_at_zero_height_in_the_world() -> None:
    simulated = next(SimulatedTabletop(1, (160, 120), sensor=PRESETS["ideal"]))
    points = simulated.T_world_camera.apply(simulated.frame.points_m)
    near = (simulated.ids == 0) & (np.abs(points[..., :2]).max(axis=-1) < 0.15)
    assert near.sum() > 200
    assert np.abs(np.median(points[near][:, 2])) < 0.002
    assert (points[simulated.ids > 0][:, 2] > -0.005).all()


def test_objects_get_pushed_and_added_over_time() -> None:
    frames = list(islice(SimulatedTabletop(0, (160, 120), objects=4), 200))
    start, end = set(np.unique(frames[0].ids)), set(np.unique(np.stack([s.ids for s in frames])))
    assert max(start) <= 4 < max(end)


def test_most_depth_is_measured_but_not_all() -> None:
    shares = [np.mean(s.frame.depth_m > 0) for s in islice(SimulatedTabletop(2, (160, 120)), 10)]
    assert 0.6 < np.mean(shares) < 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objects": 0}, "objects must be between 1 and 12, not 0"),
        ({"rate_hz": 0.0}, "rate_hz must be positive, not 0"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulatedTabletop(**arguments)
