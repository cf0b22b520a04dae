"""What is taken of a frame's instances for tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike

from analytic_scenes import AnalyticScene, Sphere, look_at, upright
from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import OrientedBox
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting import LiftedFrame, Lifter
from instance_seg_ros.tracking.sightings import sightings_of


@pytest.mark.parametrize(
    ("inner_m", "outer_m", "at_least_m", "at_most_m"),
    [
        ((0.02, 0.05, 0.03), (0.04, 0.06, 0.1), (0.05, 0.03, 0.02), (0.1, 0.06, 0.04)),  # each in the order of lengths
        (None, None, (0, 0, 0), (np.inf, np.inf, np.inf)),
    ],
)
def test_sides_are_between_those_of_the_inner_and_the_outer_box(
    inner_m: ArrayLike | None, outer_m: ArrayLike | None, at_least_m: ArrayLike, at_most_m: ArrayLike
) -> None:
    scene = AnalyticScene(
        [Sphere(0.04, upright(0, 0, 0.04))],
        look_at((0, 0, 0), 0.9, 50),
        intrinsics=Intrinsics(160, 120, 150.0, 150.0, 79.5, 59.5),
    )
    frame, labels = scene.render(0.001)
    instances = Instances.from_labels(labels)
    (ball,) = Lifter(LiftingSettings()).lift(frame, instances).instances
    assert ball.box is not None
    pose = ball.box.T_camera_box
    inner, outer = (
        None if sides_m is None else OrientedBox(pose, np.array(sides_m, dtype=np.float64))
        for sides_m in (inner_m, outer_m)
    )
    lifted = LiftedFrame((replace(ball, inner_box=inner, outer_box=outer),), None)
    seen = sightings_of(frame, instances, lifted, all_masks=False)
    np.testing.assert_array_equal(seen.at_least_m, [at_least_m])
    np.testing.assert_array_equal(seen.at_most_m, [at_most_m])
