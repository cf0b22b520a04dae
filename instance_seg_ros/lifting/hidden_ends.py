"""Hidden ends: how far an object most likely goes on where the image's border or something nearer hides its end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.solid import Body

FloatArray = NDArray[np.float64]

_LONGEST_M, _SHORTEST_M = 0.22, 0.03
"""Sides of things that are handled lie between these, one length as likely as another of the same ratio to it."""
_STEP_M = 0.005
"""A hidden end is looked for in such steps, no farther than the longest side."""
_BEHIND_M, _FREE_M = 0.005, 0.01
"""A place is hidden by what is nearer than it by the first, and free where what is seen is farther by the second."""
_HIDDEN_SHARE, _FREE_SHARE = 0.3, 0.1
"""The object may go on through a step of which at least the first is hidden by others and less than the second free;
what it hides itself is neither."""
_ALONG, _HEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9), (0.5, 0.98)
"""Where that is looked at, as shares of the object's sides and of its height."""
_LEVEL, _TOP_SEEN = 0.9, 0.1
"""The top of an object is seen when so many of its normals point up by the first."""
_LEAST_DEPTH_M = 1e-3
"""What lies beside the camera or behind it counts as so far in front of it."""


@dataclass(frozen=True, eq=False)
class HiddenEnds:
    """Where an object most likely ends.

    Attributes:
        low_m, high_m: (2,) bounds of the rectangle of its outline, as its axes.
        rise_m: by how much it goes on above the highest that was seen of it.
        deviation_m: (3,) standard deviations, along those axes and upwards, of the centre, for what is not known of
            these.
        axes: (3, 3) those axes as rows, the last one upwards, in the body's frame.
        seen_m: (2, 3) lower and upper bounds of what was seen along them.
        rooms_m: (3, 2) how far it may go on hidden beyond either.
        shares: (3, 2) how much of the first step from there is hidden.
    """

    low_m: FloatArray
    high_m: FloatArray
    rise_m: float
    deviation_m: FloatArray
    axes: FloatArray
    seen_m: FloatArray
    rooms_m: FloatArray
    shares: FloatArray


def likely_ends(
    body: Body,
    axes: FloatArray,
    low_m: FloatArray,
    high_m: FloatArray,
    frame: RgbdFrame,
    mask: NDArray[np.bool_],
    outline_known: bool,
    top_known: bool,
    front_only: bool = False,
) -> HiddenEnds:
    """Where an object most likely ends, of which a part is hidden.

    What hides an end has nothing to do with where it is: of a thing of length L a given length v is left in view with a
    chance that falls with 1 / L. Before it is looked at, all lengths are as likely on a scale of ratios, which is a
    density of 1 / L; together 1 / L^2, from v on to where free space is seen. The mean of that is the end to count on,
    which has the least squared error, and its standard deviation says how little is known.

    Args:
        axes: (2, 2) directions of the rectangle's sides as rows.
        low_m, high_m: (2,) bounds of what was seen along them.
        mask: (H, W) bool, of the object.
        outline_known: whether the rectangle is that of the whole outline: of a body of revolution.
        top_known: whether the height is that of the whole object: another one stands on it.
        front_only: whether all that was seen is one upright face, which hides what there is behind it.
    """
    seen_m = np.array([[*low_m, 0.0], [*high_m, body.top_m]])
    bounds_m, size_m = seen_m.copy(), seen_m[1] - seen_m[0]
    most_m = max(_LONGEST_M, float(size_m.max())) - size_m
    most_m[:2] *= not outline_known
    if top_known or np.count_nonzero(body.normals[:, 2] > _LEVEL) > _TOP_SEEN * len(body.normals):
        most_m[2] = 0
    upright = np.eye(3)
    upright[:2, :2] = axes
    behind = -1
    if front_only:
        camera_m = float(axes[1] @ -(body.origin_m @ body.basis)[:2])
        behind = 3 if camera_m < low_m[1] else 2
    camera, (rooms_m, shares) = frame.intrinsics, np.zeros((2, 3, 2))
    _hidden_reaches(
        upright,
        seen_m,
        most_m,
        behind,
        body.pose,
        np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
        np.ascontiguousarray(frame.depth_m),
        np.ascontiguousarray(mask),
        rooms_m,
        shares,
    )
    deviation_m = np.zeros(3)
    for axis in range(3):
        below_m, above_m = rooms_m[axis].tolist()
        total_m = below_m + above_m
        if total_m > 0:
            rest_m, own_m = expected_rest_m(float(size_m[axis]), min(total_m, float(most_m[axis])))
            # An end of which a part is seen may be the end of all of it.
            goes_on = float(rooms_m[axis] @ shares[axis]) / total_m
            hidden_m = goes_on * rest_m
            own_m = math.sqrt(goes_on * (own_m**2 + (1 - goes_on) * rest_m**2))
            bounds_m[:, axis] += hidden_m / total_m * np.array([-below_m, above_m])
            # How the hidden part is shared by two ends is not known either: all shares are as likely.
            one_sided, shared = (above_m - below_m) / total_m, 2 * math.sqrt(below_m * above_m / 3) / total_m
            deviation_m[axis] = math.hypot(own_m * one_sided, hidden_m * shared) / 2
    rise_m = float(bounds_m[1, 2] - body.top_m)
    return HiddenEnds(bounds_m[0, :2], bounds_m[1, :2], rise_m, deviation_m, upright, seen_m, rooms_m, shares)


def expected_rest_m(seen_m: float, room_m: float) -> tuple[float, float]:
    """What is hidden of a length of which so much is seen, and which has so much room beyond it.

    Returns:
        The mean of the hidden part, and its standard deviation; both 0 without room.
    """
    if room_m <= 0:
        return 0.0, 0.0
    last_m = seen_m + room_m
    # The density is that of 1 / L^2 above the shortest side, and even below it.
    first_m = min(max(_SHORTEST_M, seen_m), last_m)
    total = (first_m - seen_m) / first_m**2 + 1 / first_m - 1 / last_m
    mean_m = ((first_m**2 - seen_m**2) / (2 * first_m**2) + math.log(last_m / first_m)) / total
    square_m2 = ((first_m**3 - seen_m**3) / (3 * first_m**2) + last_m - first_m) / total
    return mean_m - seen_m, math.sqrt(max(square_m2 - mean_m**2, 0.0))


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "int64"),
    *("float64[:, ::1]", "float64[::1]", "float32[:, ::1]", "boolean[:, ::1]", "float64[:, ::1]", "float64[:, ::1]"),
    writes=("rooms_m", "shares"),
)
def _hidden_reaches(
    axes: FloatArray,
    bounds_m: FloatArray,
    most_m: FloatArray,
    behind: int,
    pose: FloatArray,
    optics: FloatArray,
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    rooms_m: FloatArray,
    shares: FloatArray,
) -> None:
    """How far the object may go on hidden beyond its lower and its upper end along each axis (3, 2).

    And how much of the first step from there is hidden, as shares (3, 2). It stands on the lower one of the last axis.

    Args:
        axes: (3, 3) directions as rows, the last one upwards.
        bounds_m: (2, 3) lower and upper of what was seen along them.
        most_m: (3,) the farthest that is looked at.
        behind: the end beyond which what the object itself hides counts as well, or -1: twice its axis, and 1 for an
            upper one.
        pose: (4, 3) basis of the body's frame and, last, its origin.
        optics: (4,) fx, fy, cx, cy.
    """
    place_m = np.empty(3)
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        for end in range(axis // 2, 2):
            room_m, hidden = 0.0, True
            while hidden and room_m + _STEP_M <= most_m[axis]:
                reach_m = room_m + _STEP_M
                place_m[axis] = bounds_m[end, axis] + (reach_m if end else -reach_m)
                by_others, free, places = 0, 0, 0
                for i in range(_count(first)):
                    share = _share(first, i)
                    place_m[first] = (1 - share) * bounds_m[0, first] + share * bounds_m[1, first]
                    for j in range(_count(second)):
                        share = _share(second, j)
                        place_m[second] = (1 - share) * bounds_m[0, second] + share * bounds_m[1, second]
                        x_m = place_m[0] * axes[0, 0] + place_m[1] * axes[1, 0]
                        y_m = place_m[0] * axes[0, 1] + place_m[1] * axes[1, 1]
                        seen = _seen_at(x_m, y_m, place_m[2], pose, optics, depth_m, mask)
                        hides_itself = seen == 0 and behind == 2 * axis + end
                        by_others, free = by_others + (seen < 0 or hides_itself), free + (seen > 0)
                        places += 1
                if room_m == 0:
                    shares[axis, end] = by_others / places
                hidden = by_others > _HIDDEN_SHARE * places and free < _FREE_SHARE * places
                room_m += _STEP_M if hidden else 0.0
            rooms_m[axis, end] = room_m


@inner
def _count(axis: int) -> int:
    """At how many places along an axis that is looked at."""
    return len(_HEIGHTS) if axis == 2 else len(_ALONG)


@inner
def _share(axis: int, k: int) -> float:
    """Where the k-th of them is, as a share of what was seen."""
    return _HEIGHTS[k] if axis == 2 else _ALONG[k]


@inner
def _seen_at(
    x_m: float,
    y_m: float,
    z_m: float,
    pose: FloatArray,
    optics: FloatArray,
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
) -> int:
    """-1 at a place that the image's border or something else hides, 1 where free space is seen, and 0 otherwise."""
    camera_x = x_m * pose[0, 0] + y_m * pose[0, 1] + z_m * pose[0, 2] + pose[3, 0]
    camera_y = x_m * pose[1, 0] + y_m * pose[1, 1] + z_m * pose[1, 2] + pose[3, 1]
    camera_z = x_m * pose[2, 0] + y_m * pose[2, 1] + z_m * pose[2, 2] + pose[3, 2]
    away_m = max(camera_z, _LEAST_DEPTH_M)
    column, row = np.rint(camera_x / away_m * optics[0] + optics[2]), np.rint(camera_y / away_m * optics[1] + optics[3])
    if not (0 <= column < depth_m.shape[1] and 0 <= row < depth_m.shape[0]):
        return -1
    seen_m = depth_m[int(row), int(column)]
    if seen_m <= 0:
        return 0
    if seen_m > camera_z + _FREE_M:
        return 1
    return -1 if seen_m < camera_z - _BEHIND_M and not mask[int(row), int(column)] else 0
