"""Boxes, bodies of revolution and dishes that lie or lean: how far down they reach, seen from above alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.core.geometry import Plane, cross
from instance_seg_ros.lifting.completion import pixels_of
from instance_seg_ros.lifting.order_statistics import (
    median,
    median_of_first,
    percentile,
    percentile_of_first,
    percentiles,
)

FloatArray = NDArray[np.float64]

_MOST_POINTS, _FEWEST_POINTS, _FEWEST_OUTER = 250, 60, 40
_KNOWN = 0.5
"""Normals whose squared length is larger are known."""
_ROUNDS = 5
_PITCH_FREE = 1e-3
"""The normals of a cylinder leave open how far it is moved along its axis: so much of their spread holds it."""
_LATERAL, _OUTWARDS = 0.4, 0.2
"""A normal tells where the axis is when its part across the axis is larger than the first; the body's outside is where
normals point away from the axis by more than the second."""
_LEAST_SIGMA = 0.01
_SLICES = 10
_FEWEST_IN_SLICE = 4
_ENDS_PERCENT = 1.0
_UPRIGHT = 0.92
"""The lower end of an axis that is steeper than this cosine is not seen, and how far down it reaches is not known."""
_SCATTER_M, _SCATTER_SIGMAS = 0.001, 0.5
"""The radii of a body of revolution scatter about its outline by less than the larger of these."""
_MEETS_AXIS_M, _MEETS_SIGMAS, _MEETING_SHARE = 0.003, 2.0, 0.6
"""So many of its normals pass the axis within the larger of these: fewer do of what is oval or has a head or handle."""
_LEAST_SLENDER, _SHORT, _SHORT_MEETING_SHARE = 0.35, 0.7, 0.7
"""The first is a body's least length in diameters; of what is shorter than the second more normals must meet."""
_SEEN_ROUND = (0.6, 0.9)
"""Mean of the directions from the axis to the points, as unit vectors: above the second no more than an edge is seen,
below the first the body is seen along its axis, as any ball is, and how far it reaches along that is not."""
_BEYOND_M, _HIDDEN_M, _HIDDEN_SHARE, _LEVEL = 0.012, 0.02, 0.2, 0.2
"""The lower end is hidden when so many of the points at it, moved so far beyond it, lie so far behind something nearer;
on an axis that rises by less than the last it makes no difference."""
_END_SHARE = 0.1
_FACE_COS, _BETWEEN_FACES_COS = math.cos(math.radians(12.0)), math.cos(math.radians(18.0))
"""Normals within the first of one another belong to one face of a box; those beyond the second to another face."""
_MOST_FACES, _LEAST_FACE, _LEAST_IN_FACES = 3, 0.08, 0.8
"""A face has so many of the normals at least, and two or three faces have so many of them together."""
_ORTHOGONAL, _LEVEL_BOX = 0.15, 0.985
"""Cosine between two faces of a box at most, and of the steepest side of a box that stands level."""
_SIDES_PERCENT = 0.3
_DISH_COHERENCE, _DISH_UPWARDS = 0.8, 0.65
"""The normals of a dish have a mean so long, and it points up by so much."""
_DISH_MIDDLE, _DISH_RIM, _DISH_DEEP_M, _FEWEST_OF_DISH = 0.4, 0.85, 0.004, 8
"""The middle of a dish, within the first of its radius, lies so much deeper than what is beyond the second of it."""
_DISH_RIM_PERCENT = 98.0
_INWARDS, _INWARDS_SHARE = 0.1, 0.35
_DISH_WALL_M = 0.004
"""The lower side of a dish lies about so far below the lowest that is seen of the upper one."""


def lowest_of_lying(
    points_m: FloatArray,
    normals: FloatArray,
    up: FloatArray,
    sigma_m: float,
    frame: RgbdFrame,
    mask: NDArray[np.bool_],
) -> float | None:
    """How high the lowest point lies of a box or body of revolution that does not stand upright, or of a dish.

    Args:
        points_m: (N, 3), camera optical frame.
        normals: (N, 3) towards the camera; zeros where there is none.
        up: (3,) unit vector.
        sigma_m: standard deviation of the depth there.
        mask: (H, W), the body's own pixels.

    Returns:
        The height along `up` of its lowest point above the camera; None where the points lie on no such body.
    """
    points_m, normals = _with_normals(points_m, normals)
    if len(points_m) < _FEWEST_POINTS:
        return None
    step = 1 + len(points_m) // _MOST_POINTS
    axes = _axes_of_box(normals[::step])
    if axes is not None:
        return _lowest_of_box(points_m, axes, up, frame, mask)
    points_m, normals = points_m[::step], normals[::step]
    dish_m = _lowest_of_dish(points_m, normals, up)
    return _lowest_of_round(points_m, normals, up, sigma_m, frame, mask) if dish_m is None else dish_m


@kernel("float64[:, ::1]", "float64[:, ::1]")
def _with_normals(points_m: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Those of points (N, 3) that have normals, which are not zeros, and these."""
    own_m, own_normals, count = np.empty_like(points_m), np.empty_like(normals), 0
    for n in range(len(points_m)):
        x, y, z = normals[n, 0], normals[n, 1], normals[n, 2]
        for axis in range(3):
            own_m[count, axis], own_normals[count, axis] = points_m[n, axis], normals[n, axis]
        count += x * x + y * y + z * z > _KNOWN
    return own_m[:count], own_normals[:count]


def _axes_of_box(normals: FloatArray) -> FloatArray | None:
    """The directions (3, 3), as rows, of the sides of a box of which two faces or more are seen; None where none is."""
    count, inside, faces = _faces(normals)
    if count < 2 or inside < _LEAST_IN_FACES * len(normals):
        return None
    faces = faces[:count]
    between = np.abs(faces @ faces.T) - np.eye(count)
    if between.max() > _ORTHOGONAL:
        return None
    first = faces[0]
    second = faces[1] - first * float(first @ faces[1])
    second /= math.sqrt(float(second @ second))
    return np.array([first, second, cross(first, second)])


@kernel("float64[:, :]")
def _faces(normals: FloatArray) -> tuple[int, int, FloatArray]:
    """The faces that most of the normals (N, 3) belong to, the largest first.

    Returns:
        How many there are, how many of the normals are in them, and their directions (3, 3) as rows.
    """
    count = len(normals)
    n_x, n_y, n_z = normals[:, 0].copy(), normals[:, 1].copy(), normals[:, 2].copy()
    alike, cosines = np.empty((count, count), np.uint8), np.empty(count)
    for i in range(count):
        _cosines(n_x[i], n_y[i], n_z[i], n_x, n_y, n_z, cosines)
        for j in range(count):
            alike[i, j] = cosines[j] > _FACE_COS
    left = np.ones(count, np.uint8)
    found, inside, faces = 0, 0, np.zeros((3, 3))
    for _ in range(_MOST_FACES):
        largest, most = 0, -1
        for i in range(count):
            number = _in_both(alike[i], left) if left[i] else 0
            if number > most:
                largest, most = i, number
        x, y, z, own = 0.0, 0.0, 0.0, 0
        for j in range(count):
            if left[j] and alike[largest, j]:
                x, y, z, own = x + n_x[j], y + n_y[j], z + n_z[j], own + 1
        if own < _LEAST_FACE * count:
            break
        x, y, z = x / own, y / own, z / own
        size = math.sqrt(x * x + y * y + z * z)
        faces[found, 0], faces[found, 1], faces[found, 2] = x / size, y / size, z / size
        found += 1
        inside += own
        _cosines(n_x[largest], n_y[largest], n_z[largest], n_x, n_y, n_z, cosines)
        for j in range(count):
            left[j] = left[j] & (cosines[j] < _BETWEEN_FACES_COS)
    return found, inside, faces


@inner
def _cosines(
    x: float, y: float, z: float, n_x: FloatArray, n_y: FloatArray, n_z: FloatArray, cosines: FloatArray
) -> None:
    """Of the angles between a unit vector and others (N,)."""
    for j in range(len(n_x)):
        cosines[j] = x * n_x[j] + y * n_y[j] + z * n_z[j]


@inner
def _in_both(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> int:
    """At how many places both are 1."""
    number = 0
    for j in range(len(first)):
        number += int(first[j] & second[j])
    return number


def _lowest_of_box(
    points_m: FloatArray, axes: FloatArray, up: FloatArray, frame: RgbdFrame, mask: NDArray[np.bool_]
) -> float | None:
    """The height of the lowest corner of a box that holds points (N, 3); None where it stands level, or a lower end of
    it is hidden."""
    rises = axes @ up
    if np.abs(rises).max() > _LEVEL_BOX:
        return None
    axes = np.where(rises < 0, -1, 1)[:, None] * axes
    rises = np.abs(rises)
    along_m = axes @ points_m.T
    ends_m = np.array([percentiles(own_m, _SIDES_PERCENT, 100 - _SIDES_PERCENT) for own_m in along_m])
    for axis, rise, own_m, (first_m, last_m) in zip(axes, rises, along_m, ends_m, strict=True):
        at_end = own_m < first_m + _END_SHARE * (last_m - first_m)
        if rise > _LEVEL and _is_hidden_beyond(points_m[at_end], axis, frame, mask):
            return None
    return float(ends_m[:, 0] @ rises)


def _lowest_of_dish(points_m: FloatArray, normals: FloatArray, up: FloatArray) -> float | None:
    """The height of the lower side of a plate or bowl whose inside is seen; None for others."""
    mean = _mean_of(normals)
    coherence = math.sqrt(float(mean @ mean))
    if coherence < _DISH_COHERENCE or mean @ up < _DISH_UPWARDS * coherence:
        return None
    if not _is_dish(points_m, normals, Plane(mean / coherence, 0.0).basis()):
        return None
    return percentile(points_m @ up, _ENDS_PERCENT) - _DISH_WALL_M


@kernel("float64[:, :]")
def _mean_of(vectors: FloatArray) -> FloatArray:
    """The mean (3,) of (N, 3)."""
    mean = np.zeros(3)
    for n in range(len(vectors)):
        for axis in range(3):
            mean[axis] += vectors[n, axis]
    return mean / len(vectors)


@kernel("float64[:, :]", "float64[:, :]", "float64[:, ::1]")
def _is_dish(points_m: FloatArray, normals: FloatArray, basis: FloatArray) -> bool:
    """Whether points (N, 3) and their normals are those of the inside of a plate or bowl.

    Args:
        basis: (3, 3), the last column where it opens to.
    """
    count = len(points_m)
    x_m, y_m, z_m, radii_m, values = np.empty(count), np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    for n in range(count):
        p, q, r = points_m[n, 0], points_m[n, 1], points_m[n, 2]
        x_m[n] = p * basis[0, 0] + q * basis[1, 0] + r * basis[2, 0]
        y_m[n] = p * basis[0, 1] + q * basis[1, 1] + r * basis[2, 1]
        z_m[n] = p * basis[0, 2] + q * basis[1, 2] + r * basis[2, 2]
    middle_x, middle_y = (x_m.min() + x_m.max()) / 2, (y_m.min() + y_m.max()) / 2
    for n in range(count):
        x_m[n] -= middle_x
        y_m[n] -= middle_y
        values[n] = radii_m[n] = math.sqrt(x_m[n] * x_m[n] + y_m[n] * y_m[n])
    rim_m = percentile_of_first(values, count, _DISH_RIM_PERCENT)
    deep_m, middle, rim = np.empty(count), 0, 0
    for n in range(count):
        if radii_m[n] < _DISH_MIDDLE * rim_m:
            deep_m[middle] = z_m[n]
            middle += 1
        if radii_m[n] > _DISH_RIM * rim_m:
            values[rim] = z_m[n]
            rim += 1
    if min(middle, rim) < _FEWEST_OF_DISH:
        return False
    if percentile_of_first(values, rim, 25.0) - median_of_first(deep_m, middle) < _DISH_DEEP_M:
        return False
    inwards, beyond = 0, 0
    for n in range(count):
        if radii_m[n] < _DISH_MIDDLE * rim_m:
            continue
        p, q, r = normals[n, 0], normals[n, 1], normals[n, 2]
        across_x = p * basis[0, 0] + q * basis[1, 0] + r * basis[2, 0]
        across_y = p * basis[0, 1] + q * basis[1, 1] + r * basis[2, 1]
        beyond += 1
        inwards += -(across_x * x_m[n] + across_y * y_m[n]) > _INWARDS * radii_m[n]
    return inwards >= _INWARDS_SHARE * beyond


def _lowest_of_round(
    points_m: FloatArray,
    normals: FloatArray,
    up: FloatArray,
    sigma_m: float,
    frame: RgbdFrame,
    mask: NDArray[np.bool_],
) -> float | None:
    """The same of a body of revolution with any axis but an upright one; None for others, and with a hidden end.

    All normals of a surface of revolution meet its axis. In Plücker's coordinates that is linear in the axis, as
    Pottmann and Wallner reconstruct such surfaces (Computational Line Geometry, 2001); the least squares are repeated
    with weights that fall with the distance at which a normal passes the axis, so that handles and neighbours count
    little. The outline is the median radius of the body's outside, slice by slice along the axis.
    """
    found, axis, place_m, meeting, along_m, radii_m, outer = _about_an_axis(points_m, normals, up, sigma_m)
    if not found:
        return None
    lean = float(axis @ up)
    first_m, last_m = percentiles(along_m, _ENDS_PERCENT, 100 - _ENDS_PERCENT)
    scatter_m, slices_m, outline_m = _outline(along_m[outer], radii_m[outer], first_m, last_m)
    if not len(outline_m) or scatter_m > max(_SCATTER_M, _SCATTER_SIGMAS * sigma_m):
        return None
    diameters = (last_m - first_m) / (2 * median(outline_m))
    if diameters < _LEAST_SLENDER or (diameters < _SHORT and meeting < _SHORT_MEETING_SHARE):
        return None
    if lean > _LEVEL and _is_hidden_beyond(points_m[along_m < slices_m[0, 1]], axis, frame, mask):
        return None
    lowest_m = slices_m.min(axis=1) * lean - outline_m * math.sqrt(1 - lean * lean)
    return float(place_m @ up + lowest_m.min())


@kernel("float64[:, :]", "float64[:, :]", "float64[::1]", "float64")
def _about_an_axis(
    points_m: FloatArray, normals: FloatArray, up: FloatArray, sigma_m: float
) -> tuple[bool, FloatArray, FloatArray, float, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Whether enough is seen of a body that looks like one of revolution, by points (N, 3) and normals.

    Returns:
        That; the direction (3,) of its axis, upwards, and a point on it (3,); the share of the normals that meet it;
        how far along it and from it the points are (N,), and which (N,) are on its outside.
    """
    count = len(points_m)
    place_m, square_m2, centred = np.zeros(3), 0.0, np.empty((count, 3))
    for n in range(count):
        for axis in range(3):
            place_m[axis] += points_m[n, axis] / count
    for n in range(count):
        for axis in range(3):
            centred[n, axis] = points_m[n, axis] - place_m[axis]
            square_m2 += centred[n, axis] ** 2 / count
    scale_m = math.sqrt(square_m2)
    for n in range(count):
        for axis in range(3):
            centred[n, axis] /= scale_m
    direction, through, passes, across = _axis(centred, normals)
    lean = 0.0
    for axis in range(3):
        lean += direction[axis] * up[axis]
        place_m[axis] += through[axis] * scale_m
    if lean < 0:
        direction[:] = -direction
    along_m, radii_m, outer, values = np.empty(count), np.empty(count), np.zeros(count, np.bool_), np.empty(count)
    meeting, lateral, most_m = 0, 0, max(_MEETS_AXIS_M, _MEETS_SIGMAS * sigma_m)
    for n in range(count):
        values[n] = abs(passes[n])
        if across[n] > _LATERAL:
            lateral += 1
            meeting += values[n] * scale_m < most_m
    share = meeting / max(lateral, 1)
    if abs(lean) > _UPRIGHT or share < _MEETING_SHARE:
        return False, direction, place_m, share, along_m, radii_m, outer
    farthest = 3 * max(1.4826 * median_of_first(values, count), _LEAST_SIGMA)
    outside, seen_from = 0, np.zeros(3)
    for n in range(count):
        along_m[n] = 0.0
        for axis in range(3):
            along_m[n] += (points_m[n, axis] - place_m[axis]) * direction[axis]
        square_m2, outwards = 0.0, 0.0
        for axis in range(3):
            radial_m = points_m[n, axis] - place_m[axis] - along_m[n] * direction[axis]
            square_m2 += radial_m * radial_m
            outwards += radial_m * normals[n, axis]
        radii_m[n] = math.sqrt(square_m2)
        outer[n] = across[n] > _LATERAL and outwards > _OUTWARDS * radii_m[n] and abs(passes[n]) < farthest
        if outer[n]:
            outside += 1
            for axis in range(3):
                radial_m = points_m[n, axis] - place_m[axis] - along_m[n] * direction[axis]
                seen_from[axis] += radial_m / radii_m[n]
    size = math.sqrt(seen_from[0] ** 2 + seen_from[1] ** 2 + seen_from[2] ** 2) / max(outside, 1)
    found = outside >= _FEWEST_OUTER and _SEEN_ROUND[0] < size < _SEEN_ROUND[1]
    return found, direction, place_m, share, along_m, radii_m, outer


@inner
def _axis(points: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The line that the normals at points (N, 3) pass nearest to.

    Returns:
        Its direction (3,) and a point on it (3,), the distances (N,) at which normals pass it, and the part of each
        normal that is across it (N,).
    """
    count = len(points)
    lines, weights = np.empty((count, 6)), np.ones(count)
    for n in range(count):
        for axis in range(3):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            lines[n, axis] = points[n, i] * normals[n, j] - points[n, j] * normals[n, i]
            lines[n, 3 + axis] = normals[n, axis]
    direction, through = np.empty(3), np.empty(3)
    passes, across, off = np.empty(count), np.empty(count), np.empty(count)
    for _ in range(_ROUNDS):
        products = np.zeros((6, 6))
        for n in range(count):
            for i in range(6):
                weighted = weights[n] * lines[n, i]
                for j in range(i, 6):
                    products[i, j] += weighted * lines[n, j]
        for i in range(6):
            for j in range(i):
                products[i, j] = products[j, i]
        shift, to_shift = products[3:, 3:].copy(), products[3:, :3].copy()
        pitch_free = _PITCH_FREE * (shift[0, 0] + shift[1, 1] + shift[2, 2])
        for i in range(3):
            shift[i, i] += pitch_free
        to_shift[:] = np.linalg.solve(shift, to_shift)
        direction[:] = np.linalg.eigh(products[:3, :3] - np.dot(products[:3, 3:].copy(), to_shift))[1][:, 0]
        moment = np.dot(to_shift, direction)
        for axis in range(3):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            through[axis] = moment[i] * direction[j] - moment[j] * direction[i]
        for n in range(count):
            squared, along = 0.0, 0.0
            for axis in range(3):
                i, j = (axis + 1) % 3, (axis + 2) % 3
                sideways = normals[n, i] * direction[j] - normals[n, j] * direction[i]
                squared += sideways * sideways
                along += (points[n, axis] - through[axis]) * sideways
            across[n] = math.sqrt(squared)
            passes[n] = along / max(across[n], 0.5 * _LATERAL)
            off[n] = abs(passes[n])
        sigma = max(1.4826 * median_of_first(off, count), _LEAST_SIGMA)
        for n in range(count):
            weights[n] = 1 / (1 + (passes[n] / (2 * sigma)) ** 2) ** 2
    return direction, through, passes, across


def _outline(
    along_m: FloatArray, radii_m: FloatArray, first_m: float, last_m: float
) -> tuple[float, FloatArray, FloatArray]:
    """The outline of a body of revolution between two places along its axis.

    Returns:
        How the radii scatter about it, the two ends (S, 2) of the slices in which there are enough points, and the
        median radius (S,) there.
    """
    width_m = (last_m - first_m) / _SLICES
    places = np.clip(((along_m - first_m) / max(width_m, 1e-9)).astype(np.int64), 0, _SLICES - 1)
    slices_m, outline_m, off_m = [], [], []
    for place in range(_SLICES):
        own_m, own_along_m = radii_m[places == place], along_m[places == place]
        if len(own_m) < _FEWEST_IN_SLICE:
            continue
        slices_m.append((first_m + place * width_m, first_m + (place + 1) * width_m))
        outline_m.append(median(own_m))
        centred_m = own_along_m - own_along_m.mean()
        slope = float(centred_m @ own_m) / max(float(centred_m @ centred_m), 1e-12)
        off_m.append(own_m - own_m.mean() - slope * centred_m)
    scatter_m = 1.4826 * median(abs(np.concatenate(off_m))) if off_m else 0.0
    return scatter_m, np.array(slices_m).reshape(-1, 2), np.array(outline_m)


def _is_hidden_beyond(points_m: FloatArray, axis: FloatArray, frame: RgbdFrame, mask: NDArray[np.bool_]) -> bool:
    """Whether something nearer hides what lies beyond the lower end, near which these points (N, 3) are."""
    if not len(points_m):
        return True
    beyond_m = points_m - _BEYOND_M * axis
    rows, columns, inside = pixels_of(beyond_m, frame)
    seen_m = frame.depth_m[rows, columns]
    nearer = inside & ~mask[rows, columns] & (seen_m > 0) & (seen_m < beyond_m[:, 2] - _HIDDEN_M)
    beside = ~inside | ~mask[rows, columns]
    return bool(np.count_nonzero(nearer | ~inside) > _HIDDEN_SHARE * max(int(np.count_nonzero(beside)), 1))
