"""Loops over pairs of facing surface points, of which candidates are made."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_ROUNDING = 1e-9
_MIN_WIDTH_M = 0.003
_SPREAD_M = 0.012
_SPREAD_DEG = 30.0
_MAX_CLOSING_SLOPE = 0.7
"""|cosine| between closing axis and vertical above which no approach from above is left."""


@inner
def _cell(place_m: float, cell_m: float) -> int:
    """The number of a cell along an axis, 17 bits; what lies farther out counts as in the last one."""
    return min(max(math.floor(place_m / cell_m) + 65536, 0), 131071)


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64", "float64", "int64")
def facing_pairs(
    points_m: Floats, normals: Floats, least_cosine: float, max_opening_m: float, most: int
) -> tuple[Ints, Ints, Floats]:
    """Pairs of points whose normals face away from each other, those of more than `most` evenly.

    Args:
        least_cosine: from 0 on.

    Returns:
        first, second: (K,) indices, first < second, ascending.
        cosine: (K,) of the larger angle between the line through both and their inward normals.
    """
    count = len(points_m)
    pairs, cosines = np.empty((count * count // 2, 2), np.int32), np.empty(count * count // 2)
    p_x, p_y, p_z = points_m[:, 0].copy(), points_m[:, 1].copy(), points_m[:, 2].copy()
    n_x, n_y, n_z = normals[:, 0].copy(), normals[:, 1].copy(), normals[:, 2].copy()
    squared_m2, inward_m, facing = np.empty(count), np.empty(count), np.empty(count, np.int64)
    found = 0
    for i in range(count):
        # Loops without branches, which the processor does for several points at a time; over what is behind the first
        # one, since of an index from elsewhere the compiler does not know that it is not negative.
        o_x, o_y, o_z = p_x[i + 1 :], p_y[i + 1 :], p_z[i + 1 :]
        m_x, m_y, m_z = n_x[i + 1 :], n_y[i + 1 :], n_z[i + 1 :]
        for k in range(len(o_x)):
            x, y, z = p_x[i] - o_x[k], p_y[i] - o_y[k], p_z[i] - o_z[k]
            squared_m2[k] = x * x + y * y + z * z
            own_m, other_m = n_x[i] * x + n_y[i] * y + n_z[i] * z, -m_x[k] * x - m_y[k] * y - m_z[k] * z
            inward_m[k] = other_m if other_m < own_m else own_m
        few = 0
        for k in range(len(o_x)):
            facing[few] = k
            few += (inward_m[k] >= 0) & (squared_m2[k] >= _MIN_WIDTH_M**2) & (squared_m2[k] <= max_opening_m**2)
        for k in facing[:few]:
            j = i + 1 + k
            distance_m = math.sqrt(squared_m2[k])
            if inward_m[k] >= least_cosine * distance_m:
                pairs[found, 0], pairs[found, 1] = i, j
                cosines[found] = min(inward_m[k] / distance_m, 1.0)
                found += 1
    kept = min(found, most)
    first, second, cosine = np.empty(kept, np.int64), np.empty(kept, np.int64), np.empty(kept)
    for k in range(kept):
        place = k if found <= most else k * (found - 1) // (most - 1)
        first[k], second[k], cosine[k] = pairs[place, 0], pairs[place, 1], cosines[place]
    return first, second, cosine


@kernel(
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "int64[::1]",
    "float64[::1]",
    "float64",
    "float64",
    "float64",
    "int64",
)
def most_promising(
    first_m: Floats,
    second_m: Floats,
    cosine: Floats,
    assumed: Ints,
    centre_m: Floats,
    half_m: float,
    friction: float,
    max_opening_m: float,
    most: int,
) -> Ints:
    """Indices of the pairs of contacts that promise most, no two near each other in place and direction; best first.

    Args:
        first_m, second_m: (C, 3) contacts.
        cosine: (C,) as of `facing_pairs`.
        assumed: (C,) how many of the two were not measured.
        centre_m: (3,) middle of the body.
        half_m: half of its size.
        friction: that grasps rely on.
        max_opening_m: of the gripper.
        most: no more than this.
    """
    count = len(cosine)
    promise, cell = np.zeros(count), np.empty(count, np.int64)
    for n in range(count):
        width_m = 0.0
        for axis in range(3):
            width_m += (second_m[n, axis] - first_m[n, axis]) ** 2
        width_m = max(math.sqrt(width_m), 1e-9)
        c_x, c_y, c_z = (
            (second_m[n, 0] - first_m[n, 0]) / width_m,
            (second_m[n, 1] - first_m[n, 1]) / width_m,
            (second_m[n, 2] - first_m[n, 2]) / width_m,
        )
        if abs(c_z) > _MAX_CLOSING_SLOPE:
            continue
        key = math.floor(math.degrees(math.atan2(c_y, c_x)) % 180 / _SPREAD_DEG)
        for axis in range(3):
            key = (key << 17) | _cell((first_m[n, axis] + second_m[n, axis]) / 2, _SPREAD_M)
        cell[n] = key
        x = (first_m[n, 0] + second_m[n, 0]) / 2 - centre_m[0]
        y = (first_m[n, 1] + second_m[n, 1]) / 2 - centre_m[1]
        along_m = x * c_x + y * c_y + ((first_m[n, 2] + second_m[n, 2]) / 2 - centre_m[2]) * c_z
        aside_m = math.hypot(x - along_m * c_x, y - along_m * c_y)
        tangent = math.sqrt(1 - cosine[n] ** 2) / cosine[n]
        promise[n] = (1.05 - tangent / friction) * max(1.2 - aside_m / half_m, 0.1)
        promise[n] *= min(0.3 + (max_opening_m - width_m) / max_opening_m, 0.6) * 0.9 ** assumed[n]
    chosen = np.empty(most, np.int64)
    found = 0
    while found < most:
        best = 0
        for n in range(count):
            if promise[n] > promise[best]:
                best = n
        if count == 0 or promise[best] <= 0:
            break
        chosen[found] = best
        found += 1
        for n in range(count):
            if cell[n] == cell[best]:
                promise[n] = 0.0
    return chosen[:found].copy()


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "float64[::1]")
def approaches(first_m: Floats, second_m: Floats, up: Floats, tilts: Floats) -> Floats:
    """Rotations (T * C, 3, 3) of the poses that close on each pair of contacts, tilt by tilt.

    Args:
        first_m, second_m: (C, 3) contacts.
        up: (3,) unit vector; an approach that is not tilted is as close to -up as the closing axis allows.
        tilts: (T,) angles by which the approach is turned about the closing axis.
    """
    count = len(first_m)
    rotations = np.empty((len(tilts) * count, 3, 3))
    closing, down, aside = np.empty(3), np.empty(3), np.empty(3)
    for c in range(count):
        closing[:] = second_m[c] - first_m[c]
        closing /= max(math.sqrt((closing * closing).sum()), 1e-9)
        down[:] = (closing * up).sum() * closing - up
        down /= max(math.sqrt((down * down).sum()), 1e-9)
        for axis in range(3):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            aside[axis] = closing[i] * down[j] - closing[j] * down[i]
        for t in range(len(tilts)):
            sine, cosine, own = math.sin(tilts[t]), math.cos(tilts[t]), rotations[t * count + c]
            for axis in range(3):
                own[axis, 0] = closing[axis]
                # The vector product of approach and closing axis: closing, down and aside are a right-handed frame.
                own[axis, 1] = sine * down[axis] - cosine * aside[axis]
                own[axis, 2] = cosine * down[axis] + sine * aside[axis]
    return rotations


@inner
def _slot(key: int, table_key: Ints, table_index: Ints) -> int:
    """Where a key is in a table whose length is a power of two, or the free place where it goes."""
    place = ((key * -7046029254386353131) >> 20) & (len(table_key) - 1)
    while table_index[place] >= 0 and table_key[place] != key:
        place = (place + 1) & (len(table_key) - 1)
    return place


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64")
def any_near(points_m: Floats, others_m: Floats, radius_m: float) -> Flags:
    """Which points (N,) have one of the others (M, 3) within a radius."""
    near = np.zeros(len(points_m), np.bool_)
    if not len(others_m):
        return near
    # Only those are looked at that are no farther than the radius along the axis on which the others are spread most.
    axis, widest_m = 0, -np.inf
    for own in range(3):
        wide_m = others_m[:, own].max() - others_m[:, own].min()
        if wide_m > widest_m:
            axis, widest_m = own, wide_m
    ordered_m = others_m[np.argsort(others_m[:, axis])]
    along_m, reach_m = ordered_m[:, axis].copy(), radius_m * (1 + _ROUNDING)
    begins = np.searchsorted(along_m, points_m[:, axis] - reach_m)
    ends = np.searchsorted(along_m, points_m[:, axis] + reach_m)
    for n in range(len(points_m)):
        for m in range(begins[n], ends[n]):
            squared_m2 = 0.0
            for own in range(3):
                squared_m2 += (points_m[n, own] - ordered_m[m, own]) ** 2
            if squared_m2 <= radius_m * radius_m:
                near[n] = True
                break
    return near


@kernel("float64[:, ::1]", "int64[::1]", "int64[::1]", "float64[::1]")
def one_of_each_cell(points_m: Floats, group: Ints, rank: Ints, cell_m: Floats) -> Ints:
    """Indices, ascending, of one point of each group in each cell of this size (3,): the one of the lowest rank.

    Of equal rank it is the first. Groups are below 4096.
    """
    slots = 16
    while slots < 2 * len(points_m):
        slots *= 2
    table_key, table_index = np.empty(slots, np.int64), np.full(slots, -1)
    last, place = 0, 0
    for n in range(len(points_m)):
        key = group[n]
        for axis in range(3):
            key = (key << 17) | _cell(points_m[n, axis], cell_m[axis])
        if n == 0 or key != last:  # neighbours mostly lie in the same cell
            last, place = key, _slot(key, table_key, table_index)
            table_key[place] = key
        if table_index[place] < 0 or rank[n] < rank[table_index[place]]:
            table_index[place] = n
    kept = np.zeros(len(points_m), np.bool_)
    for index in table_index:
        if index >= 0:
            kept[index] = True
    return np.flatnonzero(kept)
