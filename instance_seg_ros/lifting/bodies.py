"""What is seen of the objects in the coordinates of their support: which touch, reach over each other, lie beneath."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.lifting.order_statistics import median_of_first, percentile_of_first, share
from instance_seg_ros.lifting.rectangle import convex_hull
from instance_seg_ros.lifting.search_tree import search_tree

FloatArray = NDArray[np.float64]

LOWEST_PERCENT, _LEAST_PERCENT, _TOP_PERCENT = 3.0, 1.0, 90.0
_CONTACT_TOLERANCES = 1.5
_CONTACT_PX = 4.0
"""Seen right down to its support, an object's lowest points lie within the sum of these above it: erosion, noise."""
RING_M = 0.04
_OVERHANG = 0.3
"""The middle of what stands on another object may lie outside of it by this share of its own radius."""
_FRONT_ASPECT = 0.2
"""What is seen of an object is but its front when the outline of that is narrower than this share of its length."""
_HIDDEN_DEPTH = 0.75
"""The middle of what stands on an object of which only the front is seen lies at most so many of its lengths behind."""
_UNDER_SHARE = 0.3
"""What stands out over so many of the points of an object is on top of it, too."""
_OVER_SHARE = 0.2
"""What ends at the top of another object stands on it when so many of its own points are above what is seen of that."""
_FEWEST_BELOW, _TOP_OF_BELOW_PERCENT = 5, 98.0
"""The top of another object right below is this percentile of its points there, if there are so many."""
_TOP_BAND_M = 0.006
_SEEN_TOP_SHARE = 0.2
"""The top of an object is seen when so many of its points lie within 6 mm of its highest ones."""
_MAX_OBJECT_POINTS = 300
NEAR_OVER_M, _OVERLAP_SHARE = 0.05, 0.02
"""An object reaches over another one that is no farther off, when so many of the points of either lie inside of the
outline of the other one, seen from above."""
_LEVEL_COS, _UPRIGHT_SINE = math.cos(math.radians(12.0)), math.sin(math.radians(12.0))
_LEVEL_SHARE, _SLANTING_SHARE = 0.12, 0.4
"""A body is tilted when less than the first share of its normals is within 12 degrees of straight up, and more than the
second neither that nor level."""
FAR_GAP_M = 0.1
"""What is seen of an object that stands hardly ends higher above its support."""


@dataclass(frozen=True, eq=False)
class Body:
    """An object in the coordinates of a support: two along it and the height.

    Attributes:
        flat_m, heights_m: (N, 2) and (N,), of its points.
        middle_m: (2,) of its outline.
        radius_m: of the circle about that which holds the outline.
        extent_m: of its points along each of the three axes, from where to where.
        lowest_m: height of what is seen of it; of its lowest point, where its shape tells that.
        least_m: the same of the lowest few points: nothing that is higher lies beneath.
        top_m: height that what is seen of it reaches.
        contact_m: if it is seen right down to its support, that is at most so far below.
    """

    flat_m: FloatArray
    heights_m: FloatArray
    middle_m: FloatArray
    radius_m: float
    extent_m: Sequence[tuple[float, float]]
    lowest_m: float
    least_m: float
    top_m: float
    contact_m: float

    @cached_property
    def middle_xy_m(self) -> tuple[float, float]:
        """The middle, for what is asked of each pair of objects: NumPy takes longer for two numbers."""
        x_m, y_m = self.middle_m.tolist()
        return x_m, y_m

    @cached_property
    def points_m(self) -> FloatArray:
        """(N, 3), two coordinates along the support and the height."""
        return np.column_stack([self.flat_m, self.heights_m])

    @cached_property
    def tree(self) -> cKDTree:
        """Of the points."""
        return search_tree(self.points_m)

    @cached_property
    def outline_m(self) -> NDArray[np.float32]:
        """(E, 1, 2) the corners of the convex hull, seen from above, as OpenCV has them."""
        return convex_hull(self.flat_m)

    @cached_property
    def sides_m(self) -> tuple[float, float]:
        """Those of the smallest rectangle around the outline, the shorter first."""
        shorter_m, longer_m = sorted(cv2.minAreaRect(self.flat_m.astype(np.float32))[1])
        return shorter_m, longer_m

    @classmethod
    def of_points(cls, points_m: NDArray[np.float32], basis: FloatArray, contact_m: float) -> Body:
        local_m = np.empty((len(points_m), 3))
        extent_m, radius_m, heights_m = _into_frame(np.ascontiguousarray(points_m), basis, local_m)
        middle_m = np.array([(low_m + high_m) / 2 for low_m, high_m in extent_m[:2]])
        return cls(local_m[:, :2], local_m[:, 2], middle_m, radius_m, extent_m, *heights_m, contact_m)


@kernel("float32[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", writes=("local_m",))
def _into_frame(
    points_m: NDArray[np.float32], basis: FloatArray, local_m: FloatArray
) -> tuple[tuple[tuple[float, float], ...], float, tuple[float, float, float]]:
    """Points (N, 3) along the columns of a basis, from where to where they reach along each, and their radius.

    That is of the circle, in the first two directions, about the middle of their extents. And the heights of their
    lower end, of the lowest few of them, and of their upper end.
    """
    low_m, high_m = np.full(3, np.inf), np.full(3, -np.inf)
    for n in range(len(points_m)):
        for axis in range(3):
            along_m = (
                points_m[n, 0] * basis[0, axis] + points_m[n, 1] * basis[1, axis] + points_m[n, 2] * basis[2, axis]
            )
            local_m[n, axis] = along_m
            low_m[axis], high_m[axis] = min(low_m[axis], along_m), max(high_m[axis], along_m)
    middle_x, middle_y, square_m2 = (low_m[0] + high_m[0]) / 2, (low_m[1] + high_m[1]) / 2, 0.0
    for n in range(len(points_m)):
        x, y = local_m[n, 0] - middle_x, local_m[n, 1] - middle_y
        square_m2 = max(square_m2, x * x + y * y)
    heights_m, count = local_m[:, 2].copy(), len(local_m)
    lowest_m = percentile_of_first(heights_m, count, LOWEST_PERCENT)
    least_m = percentile_of_first(heights_m, count, _LEAST_PERCENT)
    top_m = percentile_of_first(heights_m, count, _TOP_PERCENT)
    extent_m = (low_m[0], high_m[0]), (low_m[1], high_m[1]), (low_m[2], high_m[2])
    return extent_m, math.sqrt(square_m2), (lowest_m, least_m, top_m)


@kernel("float32[:, ::1]", "int64[::1]", "float64[::1]", "float64")
def lowest_above_m(
    points_m: NDArray[np.float32], ends: NDArray[np.int64], normal: FloatArray, offset_m: float
) -> FloatArray:
    """How high above a plane the lowest is that is seen of each of N objects, (N,).

    Args:
        points_m: (M, 3) of all objects, one after the other.
        ends: (N,) before which of them those of each object end, at least one of each.
    """
    lowest_m, heights_m, first = np.empty(len(ends)), np.empty(len(points_m)), 0
    for n in range(len(points_m)):
        x, y, z = points_m[n, 0], points_m[n, 1], points_m[n, 2]
        heights_m[n] = normal[0] * x + normal[1] * y + normal[2] * z + offset_m
    for k in range(len(ends)):
        lowest_m[k] = percentile_of_first(heights_m[first:], ends[k] - first, LOWEST_PERCENT)
        first = ends[k]
    return lowest_m


def contact_reach_m(points_m: NDArray[np.float32], tolerance_m: float, focal_px: float) -> float:
    """How far above its support the lowest points lie of an object that is seen right down to it."""
    return _CONTACT_TOLERANCES * tolerance_m + _CONTACT_PX * _median_depth_m(points_m) / focal_px


@kernel("float32[:, ::1]")
def _median_depth_m(points_m: NDArray[np.float32]) -> float:
    """Of points (N, 3), N > 0."""
    depths_m = np.empty(len(points_m))
    depths_m[:] = points_m[:, 2]
    return median_of_first(depths_m, len(points_m))


@kernel("float64[:, :]", "float64[::1]")
def is_tilted(normals: FloatArray, up: FloatArray) -> bool:
    """Whether hardly anything that is seen of a body is level, and most is neither that nor upright.

    Args:
        normals: (N, 3), of which those that are not known are zeros.
        up: (3,).
    """
    known, level, slanting = 0, 0, 0
    for n in range(0, len(normals), 1 + len(normals) // _MAX_OBJECT_POINTS):
        x, y, z = normals[n, 0], normals[n, 1], normals[n, 2]
        upwards = x * up[0] + y * up[1] + z * up[2]
        known += x != 0 or y != 0 or z != 0
        level += upwards > _LEVEL_COS
        slanting += _UPRIGHT_SINE < upwards <= _LEVEL_COS
    known = max(known, 1)
    return level < _LEVEL_SHARE * known and slanting > _SLANTING_SHARE * known


def neighbours(bodies: dict[int, Body], most_m: float) -> dict[int, list[int]]:
    """Of each object the others whose boxes are less than this apart, by their indices in ascending order."""
    near = _are_near(np.array([body.extent_m for body in bodies.values()]), most_m).tolist()
    return {
        key: [other for other, is_near in zip(bodies, own, strict=True) if is_near]
        for key, own in zip(bodies, near, strict=True)
    }


@kernel("float64[:, :, ::1]", "float64")
def _are_near(extents_m: FloatArray, most_m: float) -> NDArray[np.bool_]:
    """Whether two boxes (N, 3, 2) are less than this apart, (N, N); none is near itself."""
    count = len(extents_m)
    near = np.zeros((count, count), np.bool_)
    for own in range(count):
        for other in range(own):
            apart_m = -np.inf
            for axis in range(3):
                low_m = max(extents_m[own, axis, 0], extents_m[other, axis, 0])
                high_m = min(extents_m[own, axis, 1], extents_m[other, axis, 1])
                apart_m = max(apart_m, low_m - high_m)
            near[own, other] = near[other, own] = apart_m < most_m
    return near


def touch(body: Body, other: Body) -> bool:
    """Whether what is seen of two objects comes as near to each other as where both touch."""
    return distance_m(body, other, body.contact_m) < body.contact_m


def distance_m(body: Body, other: Body, most_m: float) -> float:
    """Between what is seen of two objects; infinite where that is so much or more."""
    if _apart_m(body, other) >= most_m:
        return math.inf  # most pairs are, and a search tree takes its time
    return float(other.tree.query(body.points_m, distance_upper_bound=most_m)[0].min())


def _apart_m(body: Body, other: Body, axes: int = 3) -> float:
    """How far the boxes around two objects are apart, along the first two axes or all; below 0 where they overlap."""
    # Conditions instead of max and min, since there are as many pairs as objects squared.
    apart_m = -math.inf
    for axis in range(axes):
        (low_m, high_m), (other_low_m, other_high_m) = body.extent_m[axis], other.extent_m[axis]
        gap_m = (low_m if low_m > other_low_m else other_low_m) - (high_m if high_m < other_high_m else other_high_m)
        if gap_m > apart_m:
            apart_m = gap_m
    return apart_m


def reaches_over(body: Body, below: Body) -> bool:
    """Whether an object is above a part of another one: the outlines overlap, and it is higher where both are near."""
    if _apart_m(body, below, axes=2) >= 0:
        return False
    shares = (share(under(own.flat_m, other.outline_m)) for own, other in ((body, below), (below, body)))
    if all(share < _OVERLAP_SHARE for share in shares):
        return False
    away_m, nearest = below.tree.query(body.points_m, distance_upper_bound=NEAR_OVER_M + body.contact_m)
    if away_m.min() >= NEAR_OVER_M:
        return False
    near = away_m < away_m.min() + body.contact_m / 2
    return bool(body.heights_m[near].mean() > below.heights_m[nearest[near]].mean())


def top_below(body: Body, below: Body, highest_m: float) -> tuple[float, float] | None:
    """Height of another object right below a body; None where it does not lie beneath it or reaches higher.

    Returns:
        The height at which the body stands, and that of the highest that is seen of the other object: lower than the
        first where the body hides the top from view.
    """
    reach_m = body.radius_m + RING_M
    (x_m, y_m), (below_x_m, below_y_m) = body.middle_xy_m, below.middle_xy_m
    if math.hypot(x_m - below_x_m, y_m - below_y_m) > reach_m + below.radius_m:
        return None
    found, top_m, top_share = _top_within(below.flat_m, below.heights_m, body.middle_m, reach_m)
    if not found or top_m > highest_m:
        return None
    beyond_m = -cv2.pointPolygonTest(below.outline_m, (x_m, y_m), True)
    touches = body.lowest_m - top_m < body.contact_m
    seen_top = top_share > _SEEN_TOP_SHARE
    # Where the upper object covers all of the lower one's top, only its front is seen, and not how deep it is. What is
    # long and narrow and shows its top is seen as a whole: objects beside it, in a heap, do not stand on it.
    front_alone = touches and not seen_top and below.sides_m[0] < _FRONT_ASPECT * below.sides_m[1]
    allowed_m = _HIDDEN_DEPTH * below.sides_m[1] if front_alone else _OVERHANG * body.radius_m
    if beyond_m > allowed_m and share(under(below.flat_m, body.outline_m)) < _UNDER_SHARE:
        # Of what is hidden for the most part no more is seen than that it ends where the upper object does.
        ends_there = abs(body.least_m - top_m) < body.contact_m / 2
        if not ends_there or share(under(body.flat_m, below.outline_m)) < _OVER_SHARE:
            return None
    # What stands flat on a top that it covers, or hides from view, tells the height of that itself.
    return (top_m if seen_top else max(top_m, body.lowest_m - body.contact_m / 2)), top_m


@kernel("float64[:, :]", "float64[:]", "float64[::1]", "float64")
def _top_within(
    flat_m: FloatArray, heights_m: FloatArray, middle_m: FloatArray, radius_m: float
) -> tuple[bool, float, float]:
    """How high points (N, 2) reach over a circle, and which share of them there is that high; False for hardly any."""
    within_m, count = np.empty(len(flat_m)), 0
    for n in range(len(flat_m)):
        x, y = flat_m[n, 0] - middle_m[0], flat_m[n, 1] - middle_m[1]
        if math.sqrt(x * x + y * y) < radius_m:
            within_m[count] = heights_m[n]
            count += 1
    if count < _FEWEST_BELOW:
        return False, 0.0, 0.0
    top_m, high = percentile_of_first(within_m, count, _TOP_OF_BELOW_PERCENT), 0
    for n in range(count):
        high += within_m[n] > top_m - _TOP_BAND_M
    return True, top_m, high / count


@kernel("float64[:, ::1]", "float64[::1]", "float64")
def count_within(flat_m: FloatArray, middle_m: FloatArray, radius_m: float) -> int:
    """How many of (N, 2) points lie within a circle."""
    count = 0
    for n in range(len(flat_m)):
        x, y = flat_m[n, 0] - middle_m[0], flat_m[n, 1] - middle_m[1]
        count += math.sqrt(x * x + y * y) < radius_m
    return count


def under(flat_m: FloatArray, outline_m: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of (N, 2) points lie inside a convex outline (E, 1, 2)."""
    return _inside_hull(flat_m, outline_m[:, 0].astype(np.float64))


@kernel("float64[:, :]", "float64[:, ::1]")
def _inside_hull(flat_m: FloatArray, hull_m: FloatArray) -> NDArray[np.bool_]:
    """Which of (N, 2) points lie inside a convex outline (E, 2)."""
    inside, corners = np.empty(len(flat_m), np.bool_), len(hull_m)
    along_m, low_m, high_m = np.empty((corners, 2)), np.full(2, np.inf), np.full(2, -np.inf)
    for e in range(corners):
        ahead = e + 1 if e + 1 < corners else 0
        for axis in range(2):
            along_m[e, axis] = hull_m[ahead, axis] - hull_m[e, axis]
            low_m[axis], high_m[axis] = min(low_m[axis], hull_m[e, axis]), max(high_m[axis], hull_m[e, axis])
    for n in range(len(flat_m)):
        x, y = flat_m[n, 0], flat_m[n, 1]
        if not (low_m[0] <= x <= high_m[0] and low_m[1] <= y <= high_m[1]):  # as are most points of other objects
            inside[n] = False
            continue
        left, right = True, True
        for e in range(corners):
            turn = along_m[e, 0] * (y - hull_m[e, 1]) - along_m[e, 1] * (x - hull_m[e, 0])
            left, right = left and turn >= 0, right and turn <= 0
            if not (left or right):
                break
        inside[n] = left or right
    return inside
