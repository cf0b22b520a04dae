"""Loops over the poses of a gripper: how its fingers close on a body, and which poses meet nothing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_PATCH_M = 0.0025
"""Surface within this of a finger's first contact carries it."""
_LEAST_FACING = 0.3
"""Cosine between closing axis and inward normal below which a point is of another side than the one that is touched."""
OWN_CLEARANCE_M = 0.001
"""That fingers keep from the body on their way in."""
_LANES = 8
"""Numbers that the processor works on side by side, and flags that one look at eight bytes tells to be none."""
_BLOCK = 128
"""So many points are looked at before it is asked whether one was met."""
_PALM_MARGIN_M = 0.004
_LEAST_DESCENT = 0.05
"""Cosine between approach and straight down, below which no pose gets to what stands on a support."""
_MIN_ROOM_M = 0.003
"""Of the opening beside each contact."""
_THIN_DISTANCE_M = 0.03
_THIN_COSINE = math.cos(math.radians(30.0))
Axis = tuple[float, float, float, float]
"""A unit vector, and where along it the origin is of the frame whose axis it is."""


@inner
def _axis(rotations: Floats, origins_m: Floats, pose: int, axis: int) -> Axis:
    """One axis of the frame of a grasp."""
    x, y, z = rotations[pose, 0, axis], rotations[pose, 1, axis], rotations[pose, 2, axis]
    return x, y, z, x * origins_m[pose, 0] + y * origins_m[pose, 1] + z * origins_m[pose, 2]


@inner
def _axes(rotations: Floats, origins_m: Floats, pose: int) -> tuple[Axis, Axis, Axis]:
    """The three axes of the frame of a grasp."""
    return (
        _axis(rotations, origins_m, pose, 0),
        _axis(rotations, origins_m, pose, 1),
        _axis(rotations, origins_m, pose, 2),
    )


@inner
def _along(axis: Axis, x: float, y: float, z: float) -> float:
    """One coordinate of a point in the frame that an axis is of."""
    return axis[0] * x + axis[1] * y + axis[2] * z - axis[3]


@inner
def _all_along(axis: Axis, p_x: Floats, p_y: Floats, p_z: Floats, along_m: Floats) -> None:
    """One coordinate (N,) of points in the frame that an axis is of."""
    for n in range(len(p_x)):
        along_m[n] = _along(axis, p_x[n], p_y[n], p_z[n])


@inner
def _least(values: Floats, lanes: Floats) -> float:
    """The least of (N,) values, inf without one; of every eighth apart first, which the processor does side by side.

    Args:
        lanes: (8,) to work with.
    """
    whole = len(values) // _LANES * _LANES
    lanes[:] = np.inf
    for start in range(0, whole, _LANES):
        own = values[start : start + _LANES]
        for k in range(_LANES):
            lanes[k] = own[k] if own[k] < lanes[k] else lanes[k]
    least = np.inf
    for k in range(_LANES):
        least = lanes[k] if lanes[k] < least else least
    for n in range(whole, len(values)):
        least = values[n] if values[n] < least else least
    return least


@kernel(
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64",
    "boolean",
    "float64",
    "float64",
)
def deepest(
    rotations: Floats,
    origins_m: Floats,
    points_m: Floats,
    boxes_m: Floats,
    length_m: float,
    supported: bool,
    floor_m: float,
    clearance_m: float,
) -> Floats:
    """How far (C,) poses can move on until the palm meets the body or the gripper what is below it.

    Args:
        rotations, origins_m: (C, 3, 3) and (C, 3) of the poses.
        points_m: (N, 3) of the body, in the frame of the poses.
        boxes_m: (2, 4) as of `Gripper.boxes_m`.
        length_m: of the fingers.
        supported: whether the body stands on what is below, so that no level approach and none from below gets there.
        floor_m: height of what is below, from which the gripper keeps the clearance; -inf for nothing.
    """
    count, points = len(origins_m), len(points_m)
    # Behind the fingers, too, nothing can be: they are as long as this.
    half_x_m, half_y_m = max(boxes_m[0, 0], boxes_m[1, 0]), max(boxes_m[0, 1], boxes_m[1, 1])
    p_x, p_y, p_z = points_m[:, 0].copy(), points_m[:, 1].copy(), points_m[:, 2].copy()
    x_m, y_m, z_m, lanes = np.empty(points), np.empty(points), np.empty(points), np.empty(_LANES)
    depth_m = np.empty(count)
    for c in range(count):
        x_axis, y_axis, z_axis = _axes(rotations, origins_m, c)
        _all_along(x_axis, p_x, p_y, p_z, x_m)
        _all_along(y_axis, p_x, p_y, p_z, y_m)
        _all_along(z_axis, p_x, p_y, p_z, z_m)
        for n in range(points):
            z_m[n] = z_m[n] if (abs(x_m[n]) <= half_x_m) & (abs(y_m[n]) <= half_y_m) else np.inf
        depth_m[c] = min(_least(z_m, lanes) + length_m - _PALM_MARGIN_M, length_m)
        if floor_m == -np.inf:
            continue
        descent, height_m = -rotations[c, 2, 2], _lowest_m(rotations, origins_m, boxes_m, c) - floor_m - clearance_m
        if descent > _LEAST_DESCENT:
            depth_m[c] = min(depth_m[c], height_m / descent)
        elif supported or height_m < 0:
            depth_m[c] = -np.inf
    return depth_m


@kernel("float64[:, :, ::1]", "float64[:, ::1]", "float64[:, ::1]")
def lowest_m(rotations: Floats, origins_m: Floats, boxes_m: Floats) -> Floats:
    """Height (C,) of the lowest that the gripper reaches at poses, fully opened."""
    height_m = np.empty(len(origins_m))
    for c in range(len(origins_m)):
        height_m[c] = _lowest_m(rotations, origins_m, boxes_m, c)
    return height_m


@inner
def _lowest_m(rotations: Floats, origins_m: Floats, boxes_m: Floats, c: int) -> float:
    down_x, down_y, descent, below_m = -rotations[c, 2, 0], -rotations[c, 2, 1], -rotations[c, 2, 2], -np.inf
    for k in range(len(boxes_m)):
        reach_m = abs(down_x) * boxes_m[k, 0] + abs(down_y) * boxes_m[k, 1]
        below_m = max(below_m, reach_m + max(descent * boxes_m[k, 2], descent * boxes_m[k, 3]))
    return float(origins_m[c, 2] - below_m)


@inner
def _places_of(flags: NDArray[np.uint8], words: Ints, places: Ints) -> int:
    """How many flags are 1, and where, into the first of `places`, which are longer by one than the flags.

    Args:
        words: the flags, which are a multiple of eight and 0 or 1, eight at a time.
    """
    count = 0
    for word in range(len(words)):
        if words[word] == 0:  # neighbours are set, or not, together
            continue
        own = flags[word * _LANES : (word + 1) * _LANES]
        for k in range(_LANES):
            places[count] = word * _LANES + k
            count += int(own[k])  # as Python, too, of more than eight bits
    return count


@inner
def _close(
    pose: int,
    depth_m: float,
    opening_m: float,
    rotations: Floats,
    x_m: Floats,
    y_m: Floats,
    z_m: Floats,
    reached: Ints,
    normals: Floats,
    assumed: Ints,
    thickness_m: float,
    between: Ints,
    values: Floats,
) -> bool:
    """Whether the opened fingers get there, and into `values` (12,) what they meet where they close.

    Args:
        x_m, y_m, z_m: (N,) of the body's points in the frame of the grasp before it moves in.
        reached: (K,) those that the fingers, or what is between them, get to or past.
        between: (K,) or more, to work with.
    """
    inner_m = opening_m / 2
    outer_m, beside_m, count = inner_m + thickness_m + OWN_CLEARANCE_M, inner_m - OWN_CLEARANCE_M, 0
    for n in reached:
        if beside_m <= abs(x_m[n]) <= outer_m:
            return False
        between[count] = n
        count += (z_m[n] - depth_m <= 0) & (abs(x_m[n]) <= outer_m)
    low_m, high_m, deepest_m = np.inf, -np.inf, np.inf
    for k in range(count):
        x, z = x_m[between[k]], z_m[between[k]] - depth_m
        low_m, high_m, deepest_m = min(low_m, x), max(high_m, x), min(deepest_m, z)
    # The pose is centred between the contacts afterwards, but the fingers come down where the pose is now.
    room_m = inner_m - _MIN_ROOM_M
    if not (low_m < np.inf and high_m <= room_m and low_m >= -room_m):
        return False
    values[0], values[1], values[2], values[3], values[4], values[5] = low_m, high_m, 1.0, 0.0, np.inf, -deepest_m
    for side in range(2):
        sign = 2.0 * side - 1.0
        c_x, c_y, c_z = sign * rotations[pose, 0, 0], sign * rotations[pose, 1, 0], sign * rotations[pose, 2, 0]
        n_x, n_y, n_z, share, mean_y_m, mean_z_m = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        number, top_m, bottom_m = 0, -np.inf, np.inf
        for k in range(count):
            n = between[k]
            if not (x_m[n] >= high_m - _PATCH_M if side else x_m[n] <= low_m + _PATCH_M):
                continue
            z = z_m[n] - depth_m
            number += 1
            share += assumed[n]
            mean_y_m += y_m[n]
            mean_z_m += z
            top_m, bottom_m = max(top_m, z), min(bottom_m, z)
            # At an edge a finger touches the side, not the top.
            if c_x * normals[n, 0] + c_y * normals[n, 1] + c_z * normals[n, 2] > _LEAST_FACING:
                n_x, n_y, n_z = n_x + normals[n, 0], n_y + normals[n, 1], n_z + normals[n, 2]
        size = max(math.sqrt(n_x * n_x + n_y * n_y + n_z * n_z), 1e-6)
        values[2] = min(values[2], (c_x * n_x + c_y * n_y + c_z * n_z) / size)
        values[3] += share / number / 2
        values[4] = min(values[4], top_m - bottom_m)
        values[6 + 3 * side] = high_m if side else low_m
        values[7 + 3 * side], values[8 + 3 * side] = mean_y_m / number, mean_z_m / number
    return True


@kernel(
    "float64[::1]",
    "float64[::1]",
    "float64",
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "int64[::1]",
    "float64",
    "float64",
    "float64",
    "float64",
)
def close_fingers(
    depth_m: Floats,
    openings_m: Floats,
    max_opening_m: float,
    rotations: Floats,
    origins_m: Floats,
    points_m: Floats,
    normals: Floats,
    assumed: Ints,
    thickness_m: float,
    half_width_m: float,
    length_m: float,
    friction: float,
) -> tuple[Floats, Floats, Floats, Floats, int, int]:
    """The poses at which the fingers get there and hold what they close on: fully opened, and where not, opened less.

    Args:
        depth_m: (C,) how far each pose moves in; one that would stay out by more than the fingers' length is left out.
        openings_m: (C,) how far it is opened where it does not fit in fully opened.
        max_opening_m: of the gripper.
        rotations, origins_m: (C, 3, 3) and (C, 3) of the poses before they move in.
        points_m, normals: (N, 3) of the body, in their frame.
        assumed: (N,) how much each of them counts as assumed, 0 for one that was measured.
        thickness_m, half_width_m, length_m: of a finger, the second across the closing axis.
        friction: that grasps rely on.

    Returns:
        origins_m, rotations: (K, 3) and (K, 3, 3) of the poses, moved in and centred between their contacts; those that
            are fully opened first.
        opened_m: (K,) how far each is opened.
        values: (K, 12) as of `Closed.values`, from where they were before they were centred.
        unfit, slip: how many do not fit, and how many are on surfaces that do not hold.
    """
    count, points = len(depth_m), len(points_m)
    widest_m, half_y_m = max_opening_m / 2 + thickness_m + OWN_CLEARANCE_M, half_width_m + OWN_CLEARANCE_M
    p_x, p_y, p_z = points_m[:, 0].copy(), points_m[:, 1].copy(), points_m[:, 2].copy()
    x_m, y_m, z_m = np.empty(points), np.empty(points), np.empty(points)
    flags = np.zeros((points + _LANES - 1) // _LANES * _LANES, np.uint8)
    words, places, between = flags.view(np.int64), np.empty(len(flags) + 1, np.int64), np.empty(points, np.int64)
    way, values = np.zeros(count, np.int64), np.empty((count, 12))
    unfit, slip = 0, 0
    for c in range(count):
        # Less than no depth is farther out than the contacts that the pose was made for: closing finds others.
        if depth_m[c] < -length_m:
            continue
        x_axis, y_axis, z_axis = _axes(rotations, origins_m, c)
        # Loops without branches, which the processor does for several points at a time.
        _all_along(x_axis, p_x, p_y, p_z, x_m)
        _all_along(y_axis, p_x, p_y, p_z, y_m)
        _all_along(z_axis, p_x, p_y, p_z, z_m)
        for n in range(points):
            in_line = (abs(x_m[n]) <= widest_m) & (abs(y_m[n]) <= half_y_m)
            flags[n] = in_line & (z_m[n] - depth_m[c] <= OWN_CLEARANCE_M)
        reached = places[: _places_of(flags, words, places)]
        for less in range(2):
            own_m = openings_m[c] if less else max_opening_m
            fits = (not less or own_m < max_opening_m) and _close(
                c,
                depth_m[c],
                own_m,
                rotations,
                x_m,
                y_m,
                z_m,
                reached,
                normals,
                assumed,
                thickness_m,
                between,
                values[c],
            )
            if fits:
                cosine = values[c, 2]
                holds = cosine > 0 and 1 - cosine**2 <= (friction * cosine) ** 2
                way[c] = 1 + less if holds else 0
                slip += not holds
                break
            unfit += less
    found = np.count_nonzero(way)
    closed_m, turns = np.empty((found, 3)), np.empty((found, 3, 3))
    opened_m, closed = np.empty(found), np.empty((found, 12))
    k = 0
    for less in range(2):
        for c in range(count):
            if way[c] != 1 + less:
                continue
            opened_m[k] = openings_m[c] if less else max_opening_m
            closed[k], turns[k] = values[c], rotations[c]
            middle_m = (values[c, 0] + values[c, 1]) / 2
            for axis in range(3):
                moved_m = depth_m[c] * rotations[c, axis, 2] + middle_m * rotations[c, axis, 0]
                closed_m[k, axis] = origins_m[c, axis] + moved_m
            k += 1
    return closed_m, turns, opened_m, closed, unfit, slip


@inner
def _meets(
    rotations: Floats,
    origins_m: Floats,
    pose: int,
    opening_m: float,
    p_x: Floats,
    p_y: Floats,
    p_z: Floats,
    ways_m: Floats,
    clearance_m: float,
) -> bool:
    """Whether a point is nearer than the clearance to what the gripper sweeps; `ways_m` as of `Gripper.ways_m`."""
    thickness_m, half_y_m, fingers_z_m, fingers_start_m = ways_m[0], ways_m[1], ways_m[2], ways_m[3]
    palm_x_m, palm_y_m, palm_start_m, palm_z_m = ways_m[4], ways_m[5], ways_m[6], ways_m[7]
    inner_m = opening_m / 2
    outer_m, inner_m = inner_m + thickness_m + clearance_m, inner_m - clearance_m
    between_m, start_m, half_m = fingers_z_m - clearance_m, fingers_start_m - clearance_m, half_y_m + clearance_m
    palm_x_m, palm_y_m = palm_x_m + clearance_m, palm_y_m + clearance_m
    palm_start_m, palm_z_m = palm_start_m - clearance_m, min(palm_z_m + clearance_m, clearance_m)
    x_axis, y_axis, z_axis = _axes(rotations, origins_m, pose)
    count = len(p_x)
    for first in range(0, count, _BLOCK):
        met, last = 0, min(first + _BLOCK, count)
        o_x, o_y, o_z = p_x[first:last], p_y[first:last], p_z[first:last]
        # Without branches, so that the processor does it for several points at a time.
        for n in range(len(o_x)):
            x = abs(_along(x_axis, o_x[n], o_y[n], o_z[n]))
            y = abs(_along(y_axis, o_x[n], o_y[n], o_z[n]))
            z = _along(z_axis, o_x[n], o_y[n], o_z[n])
            by_fingers = (z >= between_m) | ((z >= start_m) & (x >= inner_m))
            by_fingers = by_fingers & (z <= clearance_m) & (x <= outer_m) & (y <= half_m)
            by_palm = (x <= palm_x_m) & (y <= palm_y_m) & (z >= palm_start_m) & (z <= palm_z_m)
            met += by_fingers | by_palm
        if met:
            return True
    return False


@inner
def _fits(
    rotations: Floats,
    origins_m: Floats,
    pose: int,
    opening_m: float,
    body_m: Floats,
    thickness_m: float,
    half_y_m: float,
) -> bool:
    """Whether the opened fingers get to a pose without meeting the body, which is between them with room beside it."""
    inner_m = opening_m / 2
    low_m, high_m = np.inf, -np.inf
    x_axis, y_axis, z_axis = _axes(rotations, origins_m, pose)
    for n in range(len(body_m)):
        p_x, p_y, p_z = body_m[n, 0], body_m[n, 1], body_m[n, 2]
        z = _along(z_axis, p_x, p_y, p_z)
        if z > OWN_CLEARANCE_M:
            continue
        x = _along(x_axis, p_x, p_y, p_z)
        if abs(x) > inner_m + thickness_m + OWN_CLEARANCE_M:
            continue
        if abs(_along(y_axis, p_x, p_y, p_z)) > half_y_m + OWN_CLEARANCE_M:
            continue
        if abs(x) >= inner_m - OWN_CLEARANCE_M:
            return False
        if z <= 0:
            low_m, high_m = min(low_m, x), max(high_m, x)
    room_m = inner_m - _MIN_ROOM_M
    return low_m < np.inf and high_m <= room_m and low_m >= -room_m


@inner
def _reaches_into(
    rotations: Floats,
    origins_m: Floats,
    pose: int,
    opening_m: float,
    p_x: Floats,
    p_y: Floats,
    p_z: Floats,
    ways_m: Floats,
) -> bool:
    """Whether a place is in what the opened fingers sweep on their way in; `ways_m` as of `Gripper.ways_m`."""
    inner_m, outer_m = opening_m / 2, opening_m / 2 + ways_m[0]
    half_y_m, start_m = ways_m[1], ways_m[3]
    x_axis, y_axis, z_axis = _axes(rotations, origins_m, pose)
    count = len(p_x)
    for first in range(0, count, _BLOCK):
        met, last = 0, min(first + _BLOCK, count)
        o_x, o_y, o_z = p_x[first:last], p_y[first:last], p_z[first:last]
        for n in range(len(o_x)):  # without branches, as in `_meets`
            x = abs(_along(x_axis, o_x[n], o_y[n], o_z[n]))
            y = abs(_along(y_axis, o_x[n], o_y[n], o_z[n]))
            z = _along(z_axis, o_x[n], o_y[n], o_z[n])
            met += (z >= start_m) & (z <= 0.0) & (y <= half_y_m) & (x >= inner_m) & (x <= outer_m)
        if met:
            return True
    return False


@inner
def _nearly_same(rotations: Floats, origins_m: Floats, first: int, second: int) -> bool:
    """Whether two grasps are within 3 cm and 30 degrees; half a turn about z is none."""
    squared_m2 = 0.0
    for axis in range(3):
        squared_m2 += (origins_m[first, axis] - origins_m[second, axis]) ** 2
    if squared_m2 > _THIN_DISTANCE_M**2:
        return False
    along_x, along_y, along_z = 0.0, 0.0, 0.0
    for row in range(3):
        along_x += rotations[first, row, 0] * rotations[second, row, 0]
        along_y += rotations[first, row, 1] * rotations[second, row, 1]
        along_z += rotations[first, row, 2] * rotations[second, row, 2]
    # Trace of the turn between them, and of the same with x and y reversed.
    return (abs(along_x + along_y) + along_z - 1) / 2 >= _THIN_COSINE


@kernel(
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "int64[::1]",
    "boolean[::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float64",
    "int64",
)
def best_free(
    rotations: Floats,
    origins_m: Floats,
    openings_m: Floats,
    order: Ints,
    moved: Flags,
    others_m: Floats,
    body_m: Floats,
    doubtful_m: Floats,
    ways_m: Floats,
    clearance_m: float,
    most: int,
) -> tuple[Ints, int, int, int]:
    """The first poses, no two nearly alike, whose way is free.

    Args:
        rotations, origins_m, openings_m: (C, 3, 3), (C, 3) and (C,) of the poses.
        order: (W,) indices of those to be looked at, the best first.
        moved: (C,) those that are not where closing on the body was tried, so that the body may be in their way.
        others_m: (P, 3) points of everything else.
        body_m: (N, 3) points of the body.
        doubtful_m: (D, 3) places that may be in the body, so that no opened finger goes there.
        ways_m: as of `Gripper.ways_m`.
        clearance_m: to everything else.
        most: no more poses than this.

    Returns:
        chosen: (K,) indices, the best first.
        met: how many poses met something else.
        unfit: how many met the body.
        unsure: how many would reach into such a place.
    """
    chosen = np.empty(most, np.int64)
    others_x_m, others_y_m, others_z_m = others_m[:, 0].copy(), others_m[:, 1].copy(), others_m[:, 2].copy()
    doubts_x_m, doubts_y_m, doubts_z_m = doubtful_m[:, 0].copy(), doubtful_m[:, 1].copy(), doubtful_m[:, 2].copy()
    count, met, unfit, unsure = 0, 0, 0, 0
    for c in order:
        if count == most:
            break
        alike = False
        for k in range(count):
            if _nearly_same(rotations, origins_m, chosen[k], c):
                alike = True
                break
        if alike:
            continue
        own_m = openings_m[c]
        if _meets(rotations, origins_m, c, own_m, others_x_m, others_y_m, others_z_m, ways_m, clearance_m):
            met += 1
        elif moved[c] and not _fits(rotations, origins_m, c, own_m, body_m, ways_m[0], ways_m[1]):
            unfit += 1
        elif _reaches_into(rotations, origins_m, c, own_m, doubts_x_m, doubts_y_m, doubts_z_m, ways_m):
            unsure += 1
        else:
            chosen[count] = c
            count += 1
    return chosen[:count].copy(), met, unfit, unsure
