"""The quality of grasps: how likely they hold, and thinning of those that are nearly the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.closing import Closed
from instance_seg_ros.grasping.collision import Sight
from instance_seg_ros.grasping.object_body import Body

FloatArray = NDArray[np.float64]

_THIN_DISTANCE_M = 0.03
_THIN_ANGLE_DEG = 30.0
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
SCORES = np.array([0.000, 0.138, 0.315, 0.482, 0.637, 0.755, 0.843, 0.906, 0.947, 0.971, 0.986, 1.000])
HELD = np.array([0.000, 0.076, 0.219, 0.490, 0.651, 0.784, 0.863, 0.936, 0.936, 0.967, 0.986, 0.986])
"""The share of them that held at these scores; between them it is interpolated."""


def quality_of(marks: FloatArray) -> FloatArray:
    """How likely grasps hold, (C,) in [0, 1], of (C, len(MARKS)) marks; to 4 decimals, the same on every machine."""
    return np.round(np.interp(score_of(marks, WEIGHTS), SCORES, HELD), 4)


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
    cosine = closed.cosine.clip(1e-6, 1)
    closing = poses.rotations[:, :2, 0]
    offset_m = poses.origins_m[:, :2] - body.centre_m[:2]
    along = (offset_m * closing).sum(axis=1) / np.maximum((closing**2).sum(axis=1), 1e-9)
    arm_m = np.linalg.norm(offset_m - along[:, None] * closing, axis=1)
    values = [
        np.sqrt(1 - cosine**2) / cosine / friction,
        closed.assumed,
        arm_m / _ARM_UNIT_M,
        (closed.width_m / max_opening_m - _WIDE_SHARE).clip(min=0) / (1 - _WIDE_SHARE),
        1 + poses.rotations[:, :, 2] @ up,
        sight.hidden,
        sight.shadowed,
        (1 - closed.overlap_m / _FULL_OVERLAP_M).clip(min=0),
        (1 - closed.depth_m / _FULL_DEPTH_M).clip(min=0),
        (1 - closed.depth_m / _SURE_DEPTH_M).clip(min=0),
        np.abs(closed.low_m + closed.high_m) / 2 / _SHIFT_UNIT_M,
        1 - poses.openings_m / max_opening_m,
    ]
    return np.stack(values, axis=1)


def nearly_same(poses: Poses, reference: int) -> NDArray[np.bool_]:
    """Which grasps (C,) are within 3 cm and 30 degrees of that at index `reference`; half a turn about z is none."""
    near = np.linalg.norm(poses.origins_m - poses.origins_m[reference], axis=1) <= _THIN_DISTANCE_M
    # Trace of R_reference^T R, and of the same with x and y reversed.
    along = np.einsum("cij,ij->cj", poses.rotations, poses.rotations[reference])
    trace = np.abs(along[:, 0] + along[:, 1]) + along[:, 2]
    return near & ((trace - 1) / 2 >= np.cos(np.radians(_THIN_ANGLE_DEG)))
