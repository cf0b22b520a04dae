"""Circles and ellipses fitted to the sections of bodies, level ones and upright ones, by what is seen of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.order_statistics import (
    largest,
    median_near,
    median_of_first,
    neighbours_of_first,
    percentile_of_first,
    smallest_of_first,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_Sums = tuple[float, float, float, float, float, float, float, float, float, float, float, float, float, float]

BINS = 20
"""Of height, from the support to the top."""
_MIN_BIN_POINTS = 4
_MIN_SIDE_POINTS = 60
_SIDE_SLOPE = 0.4
"""A point is on the side of a body when the horizontal part of its normal is longer than this."""
_FIT_STEPS, _AXIS_STEPS = 3, 10
_ROUND_RATIO = 0.035
_ROUND_M = 0.001
"""A body is one of revolution when its radii at a height scatter by less than the sum of these, the ratio times its
radius; those of a cube scatter by a tenth."""
_ROUND_NORMALS = 0.2
"""Sine of the angle to the radius that 70 % of its normals keep within: two faces of a box that meet in a blurred edge
lie about a circle, too, but half of their normals point past its centre."""
_MIN_TURN_DEG = 70.0
"""A body of revolution shows normals over at least this angle; a narrower strip of it could be anything."""
_PARTLY_SEEN_DEG, _PARTLY_SEEN_SHARE = 50.0, 0.6
"""One that is seen in part shows as little as the first, if its radii scatter by no more than this share of what is
allowed otherwise, and its normals."""
_INNER_SHARE = 0.04
"""A body is hollow when so many of its side points look towards its axis."""
_MIN_WALL_M, _WALL_M, _MAX_WALL_M = 0.0015, 0.003, 0.008
"""A wall is as thick as the floor in it, within the first and the last, or as the second where no floor is seen: that
one radius is a little too large and the other too small, no single view tells apart from a shift of the axis."""
_NO_SUMS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_ELLIPSE_RATIO = 0.08
_OVAL_LEAST, _OVAL_MOST = 0.08, 0.75
"""Bounds of (a^2 - b^2) / (a^2 + b^2) of an oval: below a circle does as well, and above a strip tells nothing."""
_NORMAL_NOISE = 0.1
_OVAL_NORMALS = 0.25
"""Sines: of the error that normals have anyhow, and which 70 % of an oval's may have."""
_GRAZING = 0.45
"""Cosine to the line of sight below which a normal is not trusted."""
_MIN_PROFILE_POINTS = 15
_MAX_ASPECT = 2.5
_PROFILE_TOLERANCE_M = 0.0005
_PROFILE_TOLERANCE_RATIO = 0.08
"""A profile is an ellipse when 90 % of it departs from it by less than the sum of these (the second times its size)."""
_MIN_BALL_POINTS, _BALL_SPREAD = 80, 0.003
"""A ball shows so many points, and the determinant of the mean products of its normals is so large: those of a face or
of a band of a cylinder lie on a line or in a plane, of which it is 0."""
_BALL_M, _BALL_RATIO, _BALL_NORMALS = 0.0008, 0.015, 0.12
"""90 % of them depart from it by less than the sum of the first two, the second times its radius, and the normals of
70 % from the radius by less than the sine."""
BODY_SHARE = 0.7
"""Bottles have heads, handles and triggers, which are not oval: ovals are fitted to the part below this."""


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64", "float64", "boolean", "float64[:, ::1]", writes=("profile_m",))
def fit_circles(
    points_m: FloatArray, normals: FloatArray, top_m: float, share: float, partly_seen: bool, profile_m: FloatArray
) -> tuple[bool, float, float, float]:
    """The axis about which a body is one of revolution, and its profile.

    Args:
        points_m, normals: (N, 3) of `Body`.
        top_m: its height, above 0.
        share: of that from below, where it is one of revolution; above goes what is there by its radii, no farther out.
        partly_seen: whether something hides a part of it.
        profile_m: (2, BINS), to be filled with the outer radii and those of the cavity, at the middles of the bins.

    Returns:
        Whether it is one; x and y of the axis; the scatter of the radii, a standard deviation.
    """
    none = (False, 0.0, 0.0, 0.0)
    side = _side_points(points_m, normals, math.inf)
    count = len(side)
    if count < _MIN_SIDE_POINTS:
        return none
    x, y, along_x, along_y, bins = _on_side(points_m, normals, side, top_m)
    found, axis_x, axis_y = _meeting_point(x, y, along_x, along_y)
    if not found:
        return none
    # Bins of points that look towards the axis, those of a cavity, are counted on behind the others.
    weight, inward, low = np.ones(count), 0, 0
    for i in range(count):
        if (x[i] - axis_x) * along_x[i] + (y[i] - axis_y) * along_y[i] < 0:
            along_x[i], along_y[i] = -along_x[i], -along_y[i]
            bins[i] += BINS
            inward += 1
        if points_m[side[i], 2] <= share * top_m:
            low += 1
        else:
            weight[i] = 0
    turn_deg, allowed = _turn_deg(along_x, along_y), 1.0
    if turn_deg < _MIN_TURN_DEG:
        allowed = _PARTLY_SEEN_SHARE
    if turn_deg < (_PARTLY_SEEN_DEG if partly_seen else _MIN_TURN_DEG) or low < _MIN_SIDE_POINTS:
        return none
    found, axis_x, axis_y, scatter_m = _least_scatter(x, y, bins, weight, low, axis_x, axis_y)
    if not found:
        return none
    radii_m, off, counted = np.empty(count), np.empty(low), 0
    for i in range(count):
        radii_m[i] = _length(x[i] - axis_x, y[i] - axis_y)
        if points_m[side[i], 2] <= share * top_m:
            n_x, n_y = normals[side[i], 0], normals[side[i], 1]
            off[counted] = abs((x[i] - axis_x) * n_y - (y[i] - axis_y) * n_x) / max(radii_m[i], 1e-6)
            counted += 1
    if percentile_of_first(off, low, 70.0) > allowed * _ROUND_NORMALS:
        return none
    starts, ordered_m = _by_bin(bins, radii_m)
    if scatter_m > allowed * (_ROUND_M + _ROUND_RATIO * median_of_first(radii_m, count)):
        return none
    outer_m, inner_m = profile_m[0], profile_m[1]
    has_inner = inward > _INNER_SHARE * count and _profile(starts, ordered_m, BINS, inner_m)
    has_outer = _profile(starts, ordered_m, 0, outer_m)
    if has_inner:
        floor_m = _floor_m(points_m, normals, top_m, axis_x, axis_y, 0.6 * largest(inner_m))
        _as_cavity(top_m, floor_m, starts, has_outer, outer_m, inner_m)
    elif has_outer:
        inner_m[:] = 0
        _add_top(points_m, top_m, share, axis_x, axis_y, bins, outer_m)
    else:
        return none
    _round_off(outer_m)
    return True, axis_x, axis_y, scatter_m


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64", "float64", "float64")
def fit_ellipses(
    points_m: FloatArray, normals: FloatArray, top_m: float, camera_x_m: float, camera_y_m: float
) -> tuple[bool, float, float]:
    """The ellipse x^2 + y^2 + p (x^2 - y^2) + 2 q x y = constant that all level sections of a body are like.

    With its place, u and v, and its size at a height, s, x^2 + y^2 + p (x^2 - y^2) + 2 q x y + u x + v y = s is linear
    in p, q, u, v, and s falls out with the mean of each bin; that its normals are those measured is linear in the same,
    and tells more of a narrow strip.

    Args:
        points_m, normals, top_m: of `Body`.
        camera_x_m, camera_y_m: where the camera is, in its frame.

    Returns:
        Whether there is one that is no circle; p and q.
    """
    none = (False, 0.0, 0.0)
    side = _side_points(points_m, normals, BODY_SHARE * top_m)
    count = len(side)
    if count < _MIN_SIDE_POINTS:
        return none
    x, y, n_x, n_y, bins = _on_side(points_m, normals, side, top_m)
    if _turn_deg(n_x, n_y) < _MIN_TURN_DEG:
        return none
    # Where the surface turns away from the camera, the windows of its normals are cut off on one side.
    facing = np.empty(count)
    for i in range(count):
        towards_x, towards_y = camera_x_m - x[i], camera_y_m - y[i]
        cosine = (towards_x * n_x[i] + towards_y * n_y[i]) / max(_length(towards_x, towards_y), 1e-9)
        facing[i] = max(cosine - _GRAZING, 1e-3) ** 2
    _centre_and_scale(x, y)
    weight, off = np.empty(count), np.empty(count)
    weight[:] = facing
    p, q = 0.0, 0.0
    for _ in range(_FIT_STEPS):
        normal = _ellipse_equations(x, y, n_x, n_y, bins, weight)
        solved = _solve(normal)
        p, q, u, v = normal[0, 4], normal[1, 4], normal[2, 4], normal[3, 4]
        if not (solved and _OVAL_LEAST < _length(p, q) < _OVAL_MOST):
            return none
        for i in range(count):
            along_x = 2 * (1 + p) * x[i] + 2 * q * y[i] + u
            along_y = 2 * (1 - p) * y[i] + 2 * q * x[i] + v
            size = max(_length(along_x, along_y), 1e-6)
            off[i] = abs(n_x[i] * along_y - n_y[i] * along_x) / size
            weight[i] = facing[i] / (size**2 * max(off[i], _NORMAL_NOISE))
        if median_of_first(off, count) > _OVAL_NORMALS:  # the faces of a box, most of the time
            return none
        _divide(weight, largest(weight))
    return percentile_of_first(off, count, 70.0) <= _OVAL_NORMALS, p, q


@kernel("float64[:, ::1]", "float64[:, ::1]")
def fit_ball(points_m: FloatArray, normals: FloatArray) -> tuple[bool, float, float, float, float]:
    """The ball that points lie on.

    |p|^2 = 2 c . p + (r^2 - |c|^2) is linear in the centre c and in what is in brackets.

    Args:
        points_m, normals: (N, 3), normals of zeros are not known.

    Returns:
        Whether there is one; its centre, and its radius.
    """
    none, count = (False, 0.0, 0.0, 0.0, 0.0), len(points_m)
    if count < _MIN_BALL_POINTS:
        return none
    # Of most objects the normals tell already that they are no balls.
    known, xx, xy, xz, yy, yz, zz = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        n_x, n_y, n_z = normals[i, 0], normals[i, 1], normals[i, 2]
        xx, xy, xz = xx + n_x * n_x, xy + n_x * n_y, xz + n_x * n_z
        yy, yz, zz = yy + n_y * n_y, yz + n_y * n_z, zz + n_z * n_z
        known += n_x != 0 or n_y != 0 or n_z != 0
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    if known < _MIN_BALL_POINTS or determinant <= _BALL_SPREAD * known**3:
        return none
    sums, origin = _NO_SUMS, np.empty(3)
    for k in range(3):
        origin[k] = _mean(points_m[:, k])
    for i in range(count):
        x, y, z = points_m[i, 0] - origin[0], points_m[i, 1] - origin[1], points_m[i, 2] - origin[2]
        sums = _plus_products(sums, 1.0, (x, y, z, 1.0, x * x + y * y + z * z))
    normal = _system(sums)
    if not _solve(normal):
        return none
    x, y, z = normal[0, 4] / 2, normal[1, 4] / 2, normal[2, 4] / 2
    square = normal[3, 4] + x * x + y * y + z * z
    if square <= 0:
        return none
    radius_m, off_m, tilt, tilts = math.sqrt(square), np.empty(count), np.empty(known), 0
    for i in range(count):
        a, b, c = points_m[i, 0] - origin[0] - x, points_m[i, 1] - origin[1] - y, points_m[i, 2] - origin[2] - z
        distance_m = max(math.sqrt(a * a + b * b + c * c), 1e-9)
        off_m[i] = abs(distance_m - radius_m)
        n_x, n_y, n_z = normals[i, 0], normals[i, 1], normals[i, 2]
        if n_x != 0 or n_y != 0 or n_z != 0:
            cosine = (a * n_x + b * n_y + c * n_z) / distance_m
            tilt[tilts] = 1.0 if cosine <= 0 else math.sqrt(max(1 - cosine * cosine, 0.0))
            tilts += 1
    found = (
        percentile_of_first(off_m, count, 90.0) < _BALL_M + _BALL_RATIO * radius_m
        and percentile_of_first(tilt, known, 70.0) < _BALL_NORMALS
    )
    return found, origin[0] + x, origin[1] + y, origin[2] + z, radius_m


@kernel("float64[::1]", "float64[::1]")
def fit_resting_ellipse(along_m: FloatArray, heights_m: FloatArray) -> tuple[float, float]:
    """Centre along an upright profile of the ellipse that reaches from height 0 to the top, and the departure from it.

    With b = top / 2, s the place along and v the height above b, both in b, the ellipse (s - c)^2 = a^2 (1 - v^2)
    is linear in c, a^2 and c^2. Weights by the gradient turn that algebraic error into a distance, step by step. The
    departure is infinite for what is no such ellipse.
    """
    none, count = (0.0, math.inf), len(along_m)
    if count < _MIN_PROFILE_POINTS:
        return none
    s, v, off, weight = np.empty(count), np.empty(count), np.empty(count), np.ones(count)
    off[:] = heights_m
    origin_m, b = _mean(along_m), percentile_of_first(off, count, 99.0) / 2
    if b <= 0:
        return none
    for i in range(count):
        s[i], v[i] = (along_m[i] - origin_m) / b, heights_m[i] / b - 1
    centre = a = 0.0
    for _ in range(_FIT_STEPS):
        sums = _NO_SUMS
        for i in range(count):
            row = (2 * s[i], 1 - v[i] * v[i], -1.0, 0.0, s[i] * s[i])
            sums = _plus_products(sums, weight[i] * weight[i], row)
        normal = _system(sums)
        normal[3, 3] = 1.0  # there are but three unknowns
        if not _solve(normal):  # all of the profile at one place
            return none
        centre, a = normal[0, 4], math.sqrt(max(normal[1, 4], 0.0))
        if not 1 / _MAX_ASPECT < a < _MAX_ASPECT:
            return none
        for i in range(count):
            weight[i] = 1 / max(_length(s[i] - centre, a * a * v[i]), 1e-3)
    for i in range(count):
        off[i] = abs(_length((s[i] - centre) / a, v[i]) - 1)
    smaller_m = min(a, 1.0) * b
    departure_m = percentile_of_first(off, count, 90.0) * smaller_m
    if departure_m > _PROFILE_TOLERANCE_M + _PROFILE_TOLERANCE_RATIO * smaller_m:
        return none
    return origin_m + centre * b, departure_m


@inner
def _centre_and_scale(x: FloatArray, y: FloatArray) -> None:
    """Moves points to their mean, and divides by how far the farthest of them lies from it."""
    mean_x, mean_y, farthest = _mean(x), _mean(y), 0.0
    for i in range(len(x)):
        x[i] -= mean_x
        y[i] -= mean_y
        farthest = max(farthest, _length(x[i], y[i]))
    _divide(x, farthest)
    _divide(y, farthest)


@inner
def _ellipse_equations(
    x: FloatArray, y: FloatArray, n_x: FloatArray, n_y: FloatArray, bins: IntArray, weight: FloatArray
) -> FloatArray:
    """The normal equations (4, 5) of `fit_ellipses` for p, q, u, v with these weights."""
    count = len(x)
    total, means = np.zeros(BINS), np.zeros((BINS, 5))
    for i in range(count):
        own, w = bins[i], weight[i]
        total[own] += w
        means[own, 0] += w * (x[i] * x[i] - y[i] * y[i])
        means[own, 1] += w * (2 * x[i] * y[i])
        means[own, 2] += w * x[i]
        means[own, 3] += w * y[i]
        means[own, 4] -= w * (x[i] * x[i] + y[i] * y[i])
    for index in range(BINS):
        for k in range(5):
            means[index, k] /= max(total[index], 1e-9)
    sums = _NO_SUMS
    for i in range(count):
        mean = means[bins[i]]
        p, q = x[i] * x[i] - y[i] * y[i] - mean[0], 2 * x[i] * y[i] - mean[1]
        u, v, value = x[i] - mean[2], y[i] - mean[3], -(x[i] * x[i] + y[i] * y[i]) - mean[4]
        sums = _plus_products(sums, weight[i], (p, q, u, v, value))
        p, q = -2 * (n_x[i] * y[i] + n_y[i] * x[i]), 2 * (n_x[i] * x[i] - n_y[i] * y[i])
        value = 2 * (n_y[i] * x[i] - n_x[i] * y[i])
        sums = _plus_products(sums, weight[i], (p, q, -n_y[i], n_x[i], value))
    return _system(sums)


@inner
def _plus_products(sums: _Sums, weight: float, row: tuple[float, float, float, float, float]) -> _Sums:
    """The sums of weighted products of four factors of an equation with each other and with its value, with one more.

    As numbers and not as an array, so that the processor keeps them in its registers.
    """
    a, b, c, d, value = row
    w_a, w_b, w_c, w_d = weight * a, weight * b, weight * c, weight * d
    aa, ab, ac, ad, av, bb, bc, bd, bv, cc, cd, cv, dd, dv = sums
    return (
        *(aa + w_a * a, ab + w_a * b, ac + w_a * c, ad + w_a * d, av + w_a * value),
        *(bb + w_b * b, bc + w_b * c, bd + w_b * d, bv + w_b * value),
        *(cc + w_c * c, cd + w_c * d, cv + w_c * value, dd + w_d * d, dv + w_d * value),
    )


@inner
def _system(sums: _Sums) -> FloatArray:
    """The normal equations (4, 5), their values last."""
    aa, ab, ac, ad, av, bb, bc, bd, bv, cc, cd, cv, dd, dv = sums
    return np.array([[aa, ab, ac, ad, av], [ab, bb, bc, bd, bv], [ac, bc, cc, cd, cv], [ad, bd, cd, dd, dv]])


@inner
def _solve(system: FloatArray) -> bool:
    """Leaves the unknowns of (K, K + 1) equations in the last column, by elimination; False for a singular system."""
    count = len(system)
    for k in range(count):
        pivot = k
        for i in range(k + 1, count):
            if abs(system[i, k]) > abs(system[pivot, k]):
                pivot = i
        if system[pivot, k] == 0:
            return False
        for j in range(count + 1):
            system[k, j], system[pivot, j] = system[pivot, j], system[k, j]
        for i in range(count):
            if i != k:
                factor = system[i, k] / system[k, k]
                for j in range(k, count + 1):
                    system[i, j] -= factor * system[k, j]
    for k in range(count):
        system[k, count] /= system[k, k]
    return True


@inner
def _side_points(points_m: FloatArray, normals: FloatArray, below_m: float) -> IntArray:
    """Indices of the points on the side of a body, as far as they are lower than something."""
    side = np.empty(len(points_m), dtype=np.int64)
    count = 0
    for i in range(len(points_m)):
        if _length(normals[i, 0], normals[i, 1]) > _SIDE_SLOPE and points_m[i, 2] < below_m:
            side[count] = i
            count += 1
    return side[:count]


@inner
def _on_side(
    points_m: FloatArray, normals: FloatArray, side: IntArray, top_m: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray]:
    """Of some points: x, y, those of their horizontal directions, unit vectors, and their bins of height."""
    count = len(side)
    x, y, along_x, along_y = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    bins = np.empty(count, dtype=np.int64)
    for k in range(count):
        i = side[k]
        steep = _length(normals[i, 0], normals[i, 1])
        x[k], y[k] = points_m[i, 0], points_m[i, 1]
        along_x[k], along_y[k] = normals[i, 0] / steep, normals[i, 1] / steep
        bins[k] = _bin_of(points_m[i, 2], top_m)
    return x, y, along_x, along_y, bins


@inner
def _bin_of(height_m: float, top_m: float) -> int:
    return min(max(int(height_m / top_m * BINS), 0), BINS - 1)


@inner
def _meeting_point(x: FloatArray, y: FloatArray, along_x: FloatArray, along_y: FloatArray) -> tuple[bool, float, float]:
    """The point to which lines through points along their normals come nearest; False where they are parallel."""
    count = len(x)
    tangent_x, offset_m, weight = np.empty(count), np.empty(count), np.ones(count)
    for i in range(count):
        tangent_x[i] = -along_y[i]
        offset_m[i] = tangent_x[i] * x[i] + along_x[i] * y[i]
    found, at_x, at_y = False, 0.0, 0.0
    for _ in range(_FIT_STEPS):
        solved, step_x, step_y = _least_squares(tangent_x, along_x, offset_m, weight, 0.02)
        if not solved:
            break
        found, at_x, at_y = True, step_x, step_y
        for i in range(count):
            weight[i] = 1 / max(abs(tangent_x[i] * at_x + along_x[i] * at_y - offset_m[i]), 0.003)
    return found, at_x, at_y


@inner
def _least_squares(
    first: FloatArray, second: FloatArray, values: FloatArray, weight: FloatArray, least_share: float
) -> tuple[bool, float, float]:
    """The factors with which two columns (N,) sum up to values (N,); False where these hardly tell them.

    Args:
        weight: (N,) of the squared errors.
        least_share: the least eigenvalue that the normal matrix must have, as a share of the sum of the weights.
    """
    a = b = c = p = q = total = 0.0
    for i in range(len(values)):
        on_first, on_second = weight[i] * first[i], weight[i] * second[i]
        a, b, c = a + on_first * first[i], b + on_first * second[i], c + on_second * second[i]
        p, q = p + on_first * values[i], q + on_second * values[i]
        total += weight[i]
    if (a + c) / 2 - _length((a - c) / 2, b) < least_share * total:
        return False, 0.0, 0.0
    determinant = a * c - b * b
    return True, (c * p - b * q) / determinant, (a * q - b * p) / determinant


@inner
def _turn_deg(along_x: FloatArray, along_y: FloatArray) -> float:
    """The angle over which most horizontal directions are spread."""
    count = len(along_x)
    mean_x, mean_y, around = _mean(along_x), _mean(along_y), np.empty(count)
    if mean_x == 0 and mean_y == 0:
        mean_x = 1.0
    for i in range(count):
        # In the order of the angles to the mean, from -2 to 2, without so many arc tangents.
        ahead, aside = along_x[i] * mean_x + along_y[i] * mean_y, along_y[i] * mean_x - along_x[i] * mean_y
        place = aside / (abs(ahead) + abs(aside))
        around[i] = place if ahead >= 0 else math.copysign(2.0, aside) - place
    return _angle_at_deg(around, count, 95.0) - _angle_at_deg(around, count, 5.0)


@inner
def _angle_at_deg(around: FloatArray, count: int, percent: float) -> float:
    """The percentile of the angles that places from -2 to 2 around a diamond stand for."""
    first, second, share = neighbours_of_first(around, count, percent)
    first_deg, second_deg = _around_deg(first), _around_deg(second)
    return first_deg + (second_deg - first_deg) * share


@inner
def _around_deg(place: float) -> float:
    aside = place if abs(place) <= 1 else math.copysign(2.0, place) - place
    return math.degrees(math.atan2(aside, 1 - abs(place)))


@inner
def _least_scatter(
    x: FloatArray, y: FloatArray, bins: IntArray, weight: FloatArray, count: int, axis_x: float, axis_y: float
) -> tuple[bool, float, float, float]:
    """The axis about which the radii within each bin scatter least, and their robust scatter.

    Args:
        weight: 0 for points that do not count.
        count: of those that do.
    """
    # In the order of their bins, so that what is added up over one stays in the processor's registers.
    (starts, x), (_, y), (_, weight) = _by_bin(bins, x), _by_bin(bins, y), _by_bin(bins, weight)
    departure_m, centred_x, centred_y = np.empty(len(x)), np.empty(len(x)), np.empty(len(x))
    off_m, between, noise_m = np.empty(len(x)), np.empty(len(x)), 0.0
    for _ in range(_AXIS_STEPS):
        _lay_radii(x, y, axis_x, axis_y, departure_m, centred_x, centred_y)
        for own in range(2 * BINS):
            _centre(departure_m, centred_x, centred_y, weight, starts[own], starts[own + 1])
        counted = 0
        for i in range(len(x)):
            off_m[counted] = abs(departure_m[i])
            counted += weight[i] > 0
        solved, step_x, step_y = _least_squares(centred_x, centred_y, departure_m, weight, 1e-3)
        if not solved:
            return False, axis_x, axis_y, 0.0
        axis_x, axis_y = axis_x + step_x, axis_y + step_y
        middle_m = median_near(off_m, count, noise_m, between)
        noise_m = middle_m
        _weigh(departure_m, max(2 * 1.4826 * middle_m, 1e-4), weight)
    return True, axis_x, axis_y, percentile_of_first(off_m, count, 80.0) / 1.2816  # a handle's points are no noise


# Loops without branches over arrays of their own, which the processor does for several points at a time.
@inner
def _lay_radii(
    x: FloatArray,
    y: FloatArray,
    axis_x: float,
    axis_y: float,
    radii_m: FloatArray,
    along_x: FloatArray,
    along_y: FloatArray,
) -> None:
    """Distances (N,) of points from an axis, and the directions in which they lie."""
    for i in range(len(radii_m)):
        off_x, off_y = x[i] - axis_x, y[i] - axis_y
        radius_m = math.sqrt(off_x * off_x + off_y * off_y)
        radii_m[i] = radius_m if radius_m > 1e-6 else 1e-6
    for i in range(len(radii_m)):
        along_x[i] = (x[i] - axis_x) / radii_m[i]
    for i in range(len(radii_m)):
        along_y[i] = (y[i] - axis_y) / radii_m[i]


@inner
def _centre(
    radii_m: FloatArray, along_x: FloatArray, along_y: FloatArray, weight: FloatArray, start: int, end: int
) -> None:
    """Takes the weighted mean of the points of a bin, those from a first to before a last, from each of three."""
    total, mean_m, mean_x, mean_y = 0.0, 0.0, 0.0, 0.0
    for i in range(start, end):
        total += weight[i]
        mean_m += weight[i] * radii_m[i]
        mean_x += weight[i] * along_x[i]
        mean_y += weight[i] * along_y[i]
    total = max(total, 1e-9)
    mean_m, mean_x, mean_y = mean_m / total, mean_x / total, mean_y / total
    for i in range(start, end):
        radii_m[i] -= mean_m
        along_x[i] -= mean_x
        along_y[i] -= mean_y


@inner
def _weigh(departure_m: FloatArray, noise_m: float, weight: FloatArray) -> None:
    """Robust weights (N,) of departures, where a point counts."""
    for i in range(len(weight)):
        share = departure_m[i] / noise_m
        weight[i] = 1 / (1 + share * share) if weight[i] > 0 else 0.0


@inner
def _by_bin(bins: IntArray, values: FloatArray) -> tuple[IntArray, FloatArray]:
    """Values in the order of their bins, of which there are twice BINS, and where each bin begins, the end last."""
    starts, ordered = np.zeros(2 * BINS + 2, dtype=np.int64), np.empty(len(values))
    for own in bins:
        starts[own + 2] += 1
    for index in range(2, 2 * BINS + 2):
        starts[index] += starts[index - 1]
    for i in range(len(values)):  # the start of a bin moves on to its end, which is where the next one begins
        ordered[starts[bins[i] + 1]] = values[i]
        starts[bins[i] + 1] += 1
    return starts, ordered


@inner
def _profile(starts: IntArray, ordered_m: FloatArray, first: int, profile_m: FloatArray) -> bool:
    """Median radii (BINS,) of the bins from a first one on; between bins with points, and beyond, as its neighbours do.

    False where fewer than two bins have points enough.

    Args:
        starts, ordered_m: of `_by_bin`.
    """
    known, known_m, count = np.empty(BINS), np.empty(BINS), 0
    for index in range(BINS):
        own_m = ordered_m[starts[first + index] : starts[first + index + 1]]
        if len(own_m) >= _MIN_BIN_POINTS:
            known[count], known_m[count] = index, smallest_of_first(own_m, len(own_m), len(own_m) // 2)
            count += 1
    if count < 2:
        return False
    _interpolate(known, known_m, count, profile_m)
    few = min(4, count)
    middle, rise, run = 0.0, 0.0, 0.0
    for k in range(few):
        middle += known[k] / few
    for k in range(few):
        rise += (known[k] - middle) * known_m[k]
        run += (known[k] - middle) ** 2
    # A body that narrows towards its foot goes on to narrow; one that widens stands on what is its widest yet.
    lowest = int(known[0])
    for index in range(lowest):
        profile_m[index] = max(profile_m[lowest] - max(rise / run, 0.0) * (lowest - index), 0.0)
    return True


@inner
def _interpolate(places: FloatArray, values: FloatArray, count: int, result: FloatArray) -> None:
    """Linearly between the first so many places, in ascending order; beyond the last ones their values."""
    k = 0
    for index in range(len(result)):
        while k < count - 2 and index > places[k + 1]:
            k += 1
        share = min(max((index - places[k]) / (places[k + 1] - places[k]), 0.0), 1.0)
        result[index] = values[k] + share * (values[k + 1] - values[k])


@inner
def _as_cavity(
    top_m: float, floor_m: float, starts: IntArray, has_outer: bool, outer_m: FloatArray, inner_m: FloatArray
) -> None:
    """Makes outer radii and those of a cavity with a floor and a wall of the radii (BINS,) of either side."""
    wall_m = min(max(floor_m, _MIN_WALL_M), _MAX_WALL_M)
    gaps_m, known = np.empty(BINS), 0
    for index in range(BINS):
        if not has_outer:  # from above a bowl shows nothing but its inside
            outer_m[index] = inner_m[index] + wall_m
        elif min(_points_in(starts, index), _points_in(starts, BINS + index)) >= _MIN_BIN_POINTS:
            gaps_m[known] = outer_m[index] - inner_m[index]
            known += 1
    if known:
        excess_m = (median_of_first(gaps_m, known) - wall_m) / 2
        for index in range(BINS):
            outer_m[index] = max(outer_m[index] - excess_m, 0.0)
    for index in range(BINS):
        middle_m = (index + 0.5) / BINS * top_m
        above_floor = min(max((middle_m - floor_m) / top_m * BINS + 0.5, 0.0), 1.0)
        inner_m[index] = math.sqrt(above_floor) * max(outer_m[index] - wall_m, 0.0)


@inner
def _points_in(starts: IntArray, index: int) -> int:
    return starts[index + 1] - starts[index]


@inner
def _floor_m(
    points_m: FloatArray, normals: FloatArray, top_m: float, axis_x: float, axis_y: float, reach_m: float
) -> float:
    """Height of the floor that is seen in a cavity, up to so far from its axis, or of one as thick as walls are."""
    heights_m, count = np.empty(len(points_m)), 0
    for i in range(len(points_m)):
        within = _length(points_m[i, 0] - axis_x, points_m[i, 1] - axis_y) < reach_m
        if within and normals[i, 2] > 1 - _SIDE_SLOPE / 2 and points_m[i, 2] < 0.9 * top_m:
            heights_m[count] = points_m[i, 2]
            count += 1
    return median_of_first(heights_m, count) if count >= _MIN_BIN_POINTS else _WALL_M


@inner
def _add_top(
    points_m: FloatArray,
    top_m: float,
    share: float,
    axis_x: float,
    axis_y: float,
    bins: IntArray,
    profile_m: FloatArray,
) -> None:
    """Gives the bins above those of the side the radii of what is there: a top that bends or is flat.

    None above so much of the height is wider than what is below: what sticks out there, such as the head of a spray,
    does so to one side, and would be as far all around.
    """
    highest = 0
    for own in bins:
        if own < BINS:
            highest = max(highest, own)
    bins_of_all, radii_m = np.empty(len(points_m), dtype=np.int64), np.empty(len(points_m))
    for i in range(len(points_m)):
        bins_of_all[i] = _bin_of(points_m[i, 2], top_m)
        radii_m[i] = _length(points_m[i, 0] - axis_x, points_m[i, 1] - axis_y)
    starts, ordered_m = _by_bin(bins_of_all, radii_m)
    for index in range(highest + 1, BINS):
        own_m = ordered_m[starts[index] : starts[index + 1]]
        if len(own_m) >= _MIN_BIN_POINTS:
            profile_m[index] = percentile_of_first(own_m, len(own_m), 95.0)
    first = round(share * BINS)
    widest_m = largest(profile_m[:first])
    for index in range(first, BINS):
        profile_m[index] = min(profile_m[index], widest_m)


@inner
def _round_off(profile_m: FloatArray) -> None:
    """Makes the profile that of a ball on the support, when its upper part is one; its lower part is hidden."""
    widest_m = largest(profile_m)
    ellipse_m, off_m, upper = np.empty(BINS), np.empty(BINS), 0
    for index in range(BINS):
        place = 2 * (index + 0.5) / BINS - 1
        ellipse_m[index] = widest_m * math.sqrt(1 - place * place)
        if place > -0.3:
            off_m[upper] = abs(profile_m[index] - ellipse_m[index])
            upper += 1
    if percentile_of_first(off_m, upper, 80.0) < _ELLIPSE_RATIO * widest_m:
        profile_m[:] = ellipse_m


@inner
def _length(x: float, y: float) -> float:
    return math.sqrt(x * x + y * y)


@inner
def _mean(values: FloatArray) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


@inner
def _divide(values: FloatArray, divisor: float) -> None:
    for i in range(len(values)):
        values[i] /= divisor
