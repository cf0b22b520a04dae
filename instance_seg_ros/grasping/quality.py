"""The quality of grasps: how likely they hold."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.closing import Closed
from instance_seg_ros.grasping.collision import Sight
from instance_seg_ros.grasping.object_body import Body

FloatArray = NDArray[np.float64]

_FULL_DEPTH_M = 0.02
_SURE_DEPTH_M = 0.006
_FULL_OVERLAP_M = 0.012
_ARM_UNIT_M = 0.05
_SHIFT_UNIT_M = 0.01
_WIDE_SHARE = 0.85

MARKS = (
    "slope",
    "assumed",
    "arm",
    "wide",
    "tilt",
    "hidden",
    "shadowed",
    "short",
    "shallow",
    "grazing",
    "shift",
    "narrow",
)
"""What quality is computed from, each 0 at best and about 1 at worst; `marks_of` says what they are."""
WEIGHTS = np.array([5.25, -1.64, -0.21, 0.00, -2.55, -2.96, -3.79, -2.08, -1.52, -2.73, -2.54, -0.32, -0.07])
"""Constant and weights of the marks in the logistic score: the fit of `instance-seg grasp-sim --fit-quality` to 1,960
grasps of development and flat objects with true masks, best ones and any."""
SCORES = np.array([0.0000, 0.1391, 0.3052, 0.4749, 0.6318, 0.7467, 0.8450, 0.9088, 0.9462, 0.9702, 0.9852, 1.0000])
HELD = np.array([0.0000, 0.0614, 0.3592, 0.4825, 0.7575, 0.9196, 0.9200, 0.9203, 0.9657, 0.9897, 0.9897, 0.9898])
"""The share that held at these scores; between them it is interpolated: `--fit-quality --keep-weights` of 552 grasps of
the same objects, any ones, after the mirrored side of bodies had changed what becomes of them."""

ASIDE, FARTHEST_ASIDE = 0.01, 2.0
"""What quality loses for each unit of "arm", up to the second: nothing of what was learned from tells grasps in the
middle from others, the light objects of the simulation turn in no fingers; heavier ones do."""


def quality_of(marks: FloatArray) -> FloatArray:
    """How likely grasps hold, (C,) in [0, 1], of (C, len(MARKS)) marks; to 4 decimals, the same on every machine."""
    held = np.interp(score_of(marks, WEIGHTS), SCORES, HELD)
    aside = ASIDE * np.minimum(marks[:, MARKS.index("arm")], FARTHEST_ASIDE)
    return np.round(np.maximum(held - aside, 0.0), 4)


def score_of(marks: FloatArray, weights: FloatArray) -> FloatArray:
    """The logistic function of constant and weighted marks, (C,) in [0, 1]."""
    return np.asarray(1 / (1 + np.exp(-weights[0] - marks @ weights[1:])), dtype=np.float64)


def marks_of(
    poses: Poses, closed: Closed, body: Body, sight: Sight, up: FloatArray, friction: float, max_opening_m: float
) -> FloatArray:
    """The marks of grasps, (C, len(MARKS)) float64, in the order of `MARKS`.

    slope: tangent of the angle between closing axis and surface at the worse contact, as a share of the friction.
    assumed: share of the surface at the contacts that was completed, not measured, as of `Closed`.
    arm: distance of the closing line from the vertical through the body's middle, in units of 5 cm.
    wide: how far the width is beyond 85 % of the gripper's opening; 1 at all of it.
    tilt: 1 - cosine of the angle between the approach and straight down.
    hidden: share of the fingers' places that something else hides from the camera.
    shadowed: share of them that the object itself hides.
    short: what the shorter contact lacks to 12 mm along the fingers, as a share.
    shallow: what the body lacks to 2 cm between the fingers, as a share.
    grazing: what it lacks to 6 mm, which noise may take away altogether.
    shift: by how much the fingers come down off the middle between the contacts, in units of 1 cm.
    narrow: share of the opening that the fingers do not use on the approach.

    Args:
        sight: what the camera saw of the fingers' places.
        up: (3,) unit vector, body frame.
    """
    return _marks(
        poses.rotations,
        poses.origins_m,
        poses.openings_m,
        closed.values,
        body.centre_m,
        sight.hidden,
        sight.shadowed,
        up,
        friction,
        max_opening_m,
    )


@kernel(
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float64[::1]",
    "float64[::1]",
    "float64[::1]",
    "float64",
    "float64",
)
def _marks(
    rotations: FloatArray,
    origins_m: FloatArray,
    openings_m: FloatArray,
    closed: FloatArray,
    centre_m: FloatArray,
    hidden: FloatArray,
    shadowed: FloatArray,
    up: FloatArray,
    friction: float,
    max_opening_m: float,
) -> FloatArray:
    """As `marks_of`, of what poses, closed grasps, body and sight hold."""
    marks = np.empty((len(openings_m), 12))
    for c in range(len(openings_m)):
        low_m, high_m, assumed, overlap_m, depth_m = (
            closed[c, 0],
            closed[c, 1],
            closed[c, 3],
            closed[c, 4],
            closed[c, 5],
        )
        cosine = min(max(closed[c, 2], 1e-6), 1.0)
        closing_x, closing_y = rotations[c, 0, 0], rotations[c, 1, 0]
        x_m, y_m = origins_m[c, 0] - centre_m[0], origins_m[c, 1] - centre_m[1]
        along = (x_m * closing_x + y_m * closing_y) / max(closing_x**2 + closing_y**2, 1e-9)
        approach = rotations[c, 0, 2] * up[0] + rotations[c, 1, 2] * up[1] + rotations[c, 2, 2] * up[2]
        marks[c, 0] = math.sqrt(1 - cosine**2) / cosine / friction
        marks[c, 1] = assumed
        marks[c, 2] = math.hypot(x_m - along * closing_x, y_m - along * closing_y) / _ARM_UNIT_M
        marks[c, 3] = max((high_m - low_m) / max_opening_m - _WIDE_SHARE, 0) / (1 - _WIDE_SHARE)
        marks[c, 4] = 1 + approach
        marks[c, 5] = hidden[c]
        marks[c, 6] = shadowed[c]
        marks[c, 7] = max(1 - overlap_m / _FULL_OVERLAP_M, 0)
        marks[c, 8] = max(1 - depth_m / _FULL_DEPTH_M, 0)
        marks[c, 9] = max(1 - depth_m / _SURE_DEPTH_M, 0)
        marks[c, 10] = abs(low_m + high_m) / 2 / _SHIFT_UNIT_M
        marks[c, 11] = 1 - openings_m[c] / max_opening_m
    return marks
