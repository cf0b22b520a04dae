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
_MOST_COLUMNS = 256
"""Along a side; what is wider has wider columns at its end."""
_MOST_ROOM = 8
"""Cells for each point, up to which a table of all cells is worth its length."""


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


@kernel("float64[:, ::1]")
def level_extents(points_m: Floats) -> tuple[float, float, float, float]:
    """From where to where points (N, 3), N > 0, reach along x and along y."""
    low_x, high_x, low_y, high_y = points_m[0, 0], points_m[0, 0], points_m[0, 1], points_m[0, 1]
    for n in range(1, len(points_m)):
        x, y = points_m[n, 0], points_m[n, 1]
        low_x, high_x, low_y, high_y = min(low_x, x), max(high_x, x), min(low_y, y), max(high_y, y)
    return low_x, high_x, low_y, high_y


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
def _slot(key: int, table_key: Ints, table_index: NDArray[np.int32]) -> int:
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
    # The others are put into columns along z, as wide as the radius: only those in nine columns may be near.
    reach_m = radius_m * (1 + _ROUNDING)
    low_x_m, low_y_m = others_m[:, 0].min(), others_m[:, 1].min()
    rows = _column(others_m[:, 0].max() - low_x_m, reach_m, _MOST_COLUMNS) + 1
    columns = _column(others_m[:, 1].max() - low_y_m, reach_m, _MOST_COLUMNS) + 1
    place, starts = np.empty(len(others_m), np.int64), np.zeros(rows * columns + 1, np.int64)
    for m in range(len(others_m)):
        row = _column(others_m[m, 0] - low_x_m, reach_m, rows)
        place[m] = row * columns + _column(others_m[m, 1] - low_y_m, reach_m, columns)
        starts[place[m] + 1] += 1
    for k in range(rows * columns):
        starts[k + 1] += starts[k]
    ordered_m, used = np.empty(others_m.shape), starts.copy()
    for m in range(len(others_m)):
        ordered_m[used[place[m]]] = others_m[m]
        used[place[m]] += 1
    for n in range(len(points_m)):
        x_m, y_m, z_m = points_m[n, 0], points_m[n, 1], points_m[n, 2]
        first = _column(y_m - reach_m - low_y_m, reach_m, columns)
        last = _column(y_m + reach_m - low_y_m, reach_m, columns)
        row = _column(x_m - reach_m - low_x_m, reach_m, rows)
        last_row = _column(x_m + reach_m - low_x_m, reach_m, rows)
        while row <= last_row and not near[n]:
            for m in range(starts[row * columns + first], starts[row * columns + last + 1]):
                x, y, z = x_m - ordered_m[m, 0], y_m - ordered_m[m, 1], z_m - ordered_m[m, 2]
                if x * x + y * y + z * z <= radius_m * radius_m:
                    near[n] = True
                    break
            row += 1
    return near


@inner
def _column(along_m: float, wide_m: float, count: int) -> int:
    """The number of a column of this width from 0 on, of so many; what lies beside them counts as in the last one."""
    return int(min(max(along_m / wide_m, 0.0), count - 1.0))


@kernel("float64[:, ::1]", "int64[::1]", "int64[::1]", "float64[::1]")
def one_of_each_cell(points_m: Floats, group: Ints, rank: Ints, cell_m: Floats) -> Ints:
    """Indices, ascending, of one point of each group in each cell of this size (3,): the one of the lowest rank.

    Of equal rank it is the first. Groups are below 4096.
    """
    count = len(points_m)
    cells = np.empty((count, 4), np.int32)
    low, high = np.full(4, np.int32(131072), np.int32), np.full(4, np.int32(-1), np.int32)
    for n in range(count):
        cells[n, 0] = group[n]
        for axis in range(3):
            cells[n, axis + 1] = _cell(points_m[n, axis], cell_m[axis])
        for k in range(4):
            low[k], high[k] = min(low[k], cells[n, k]), max(high[k], cells[n, k])
    room = 1.0
    for k in range(4):
        room *= high[k] - low[k] + 1.0
    # A place for each cell where they lie close together, or else places that their numbers are hashed to.
    is_dense = room <= _MOST_ROOM * count
    slots = 16
    while not is_dense and slots < 2 * count:
        slots *= 2
    table_key = np.empty(0 if is_dense else slots, np.int64)
    table_index = np.full(int(room) if is_dense else slots, np.int32(-1), np.int32)
    places = np.empty(count, np.int64)
    for n in range(count):
        key = 0
        if is_dense:
            for k in range(4):
                key = key * (high[k] - low[k] + 1) + (cells[n, k] - low[k])
            place = key
        else:
            for k in range(4):
                key = (key << 17) | int(cells[n, k])  # of 63 bits, also as Python
            place = _slot(key, table_key, table_index)
            table_key[place] = key
        places[n] = place
        if table_index[place] < 0 or rank[n] < rank[table_index[place]]:
            table_index[place] = n
    kept, found = np.empty(count, np.int64), 0
    for n in range(count):
        if table_index[places[n]] == n:
            kept[found] = n
            found += 1
    return kept[:found].copy()
