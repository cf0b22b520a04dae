"""The quality of grasps, and thinning of those that are nearly the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import dot, length
from instance_seg_ros.grasping.candidates import Candidates, Target

_THIN_DISTANCE_M = 0.03
_THIN_ANGLE_DEG = 30.0
_ROOM_FOR_FULL_MARK_M = 0.015
_PAD_FOR_FULL_MARK_M = 0.015
_COMPLETED_CONTACT_MARK = 0.8
"""Each contact on the completed, not measured, side costs this factor."""
_WEIGHTS = {
    "antipodality": 1.0,
    "centredness": 1.0,
    "room": 0.5,
    "approach": 0.5,
    "pad": 0.5,
    "evidence": 1.0,
    "sight": 1.0,
}


def quality(
    candidates: Candidates,
    target: Target,
    pad_depth_m: NDArray[np.float64] | float,
    out_of_sight: NDArray[np.float64] | float,
    friction: float,
    max_opening_m: float,
) -> NDArray[np.float64]:
    """Quality (C,) in [0, 1]: the weighted geometric mean of marks, so that one that fails makes the whole fail.

    Each mark is 1 for the best and 0 for what barely works:
        antipodality: 1 - tan(angle of the worse contact) / friction, so 0 at the edge of the friction cone.
        centredness: how near the closing line passes to the box's centre, 0 at the box's farthest corner.
        room: free opening beside the object, full from 15 mm.
        approach: from straight along -up (1) to horizontal (0.3).
        pad: how deep the object lies between the fingers, full from 15 mm.
        evidence: 1 with both contacts measured, 0.8 for each that lies on the completed side.
        sight: 1 where the fingers go only where the camera saw, down to 0.1 where something else hides all of it.

    Args:
        pad_depth_m: (C,) depth of the object between the fingers.
        out_of_sight: (C,) share of the fingers' places that something else hides.

    Returns:
        float64, to 4 decimals: what is equal but for rounding keeps its order, whichever machine computed it.
    """
    pairs, closing = candidates.pairs, candidates.rotations[..., 0]
    cosine = pairs.antipodality.clip(1e-6, 1)
    tangent = (1 - cosine**2) ** 0.5 / cosine
    offset_m = candidates.origins_m - target.centre_m
    arm_m = length(offset_m - dot(offset_m, closing)[..., None] * closing)
    half_diagonal_m = max(float(length(target.size_m)) / 2, 1e-6)
    marks = {
        "antipodality": 1 - tangent / friction,
        "centredness": 1 - arm_m / half_diagonal_m,
        "room": (max_opening_m - pairs.width_m) / _ROOM_FOR_FULL_MARK_M,
        "approach": 0.3 + 0.7 * (-dot(candidates.rotations[..., 2], target.up)).clip(min=0),
        "pad": pad_depth_m / _PAD_FOR_FULL_MARK_M,
        "sight": 1 - 0.9 * out_of_sight,
        "evidence": _COMPLETED_CONTACT_MARK ** (2 - pairs.measured).astype(np.float64),
    }
    total, product = sum(_WEIGHTS.values()), np.ones(len(pairs))
    for name, mark in marks.items():
        product = product * np.clip(mark, 0, 1) ** (_WEIGHTS[name] / total)
    return np.round(product * 1e4) / 1e4


def nearly_same(candidates: Candidates, reference: int) -> NDArray[np.bool_]:
    """Which grasps (C,) are within 3 cm and 30 degrees of that at index `reference`; half a turn about z is none."""
    origins_m = candidates.origins_m
    near = np.linalg.norm(origins_m - origins_m[reference], axis=1) <= _THIN_DISTANCE_M
    # Trace of R_reference^T R, and of the same with x and y reversed.
    along = np.einsum("cij,ij->cj", candidates.rotations, candidates.rotations[reference])
    trace = np.abs(along[:, 0] + along[:, 1]) + along[:, 2]
    return near & ((trace - 1) / 2 >= np.cos(np.radians(_THIN_ANGLE_DEG)))
