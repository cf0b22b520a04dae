"""The loops of grasping: over poses and points, with an end as soon as the answer is known."""

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
_MIN_ROOM_M = 0.003
"""Of the opening beside each contact."""
_THIN_DISTANCE_M = 0.03
_THIN_COSINE = math.cos(math.radians(30.0))
_SIGHT_TOLERANCE_M = 0.01
_SEEN_FREE_M = 0.006
"""A point so far in front of what the camera measured there is seen to be free."""
_MIN_WIDTH_M = 0.003
_SPREAD_M = 0.012
_SPREAD_DEG = 30.0
_MAX_CLOSING_SLOPE = 0.7
"""|cosine| between closing axis and vertical above which no approach from above is left."""

# Poses and the body ---------------------------------------------------------------------------------------------------


Axis = tuple[float, float, float, float]
"""A unit vector, and where along it the origin is of the frame whose axis it is."""


@inner
def _axis(rotations: Floats, origins_m: Floats, pose: int, axis: int) -> Axis:
    """One axis of the frame of a grasp."""
    x, y, z = rotations[pose, 0, axis], rotations[pose, 1, axis], rotations[pose, 2, axis]
    return x, y, z, x * origins_m[pose, 0] + y * origins_m[pose, 1] + z * origins_m[pose, 2]


@inner
def _along(axis: Axis, x: float, y: float, z: float) -> float:
    """One coordinate of a point in the frame that an axis is of."""
    return axis[0] * x + axis[1] * y + axis[2] * z - axis[3]


@kernel("float64[:, :, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64", "float64", "float64", "float64")
def columns_of(
    rotations: Floats,
    origins_m: Floats,
    points_m: Floats,
    behind_x_m: float,
    behind_y_m: float,
    fingers_x_m: float,
    fingers_y_m: float,
) -> tuple[Floats, Ints, Ints, Floats]:
    """The body's points where the gripper comes down.

    Args:
        rotations, origins_m: (C, 3, 3) and (C, 3) of the poses.
        points_m: (N, 3) of the body, in the frame of the poses.
        behind_x_m, behind_y_m: half the sides of what palm and fingers take up, seen along the approach.
        fingers_x_m, fingers_y_m: likewise of the opened fingers and what is between them.

    Returns:
        nearest_m: (C,) z of the first point in the way of palm and fingers, inf without one.
        starts: (C + 1,) where the points of each pose start among the M that lie in the fingers' way.
        point: (M,) their indices.
        local_m: (M, 3) and their places in the grasp's frame.
    """
    count, points = len(origins_m), len(points_m)
    nearest_m = np.empty(count)
    starts = np.empty(count + 1, np.int64)
    point, local_m = np.empty(count * points, np.int64), np.empty((count * points, 3))
    used = 0
    farthest_x_m, farthest_y_m = max(behind_x_m, fingers_x_m), max(behind_y_m, fingers_y_m)
    for c in range(count):
        starts[c] = used
        first_m = np.inf
        x_axis, y_axis, z_axis = (
            _axis(rotations, origins_m, c, 0),
            _axis(rotations, origins_m, c, 1),
            _axis(rotations, origins_m, c, 2),
        )
        for n in range(points):
            p_x, p_y, p_z = points_m[n, 0], points_m[n, 1], points_m[n, 2]
            x = _along(x_axis, p_x, p_y, p_z)
            if abs(x) > farthest_x_m:
                continue
            y = _along(y_axis, p_x, p_y, p_z)
            if abs(y) > farthest_y_m:
                continue
            z = _along(z_axis, p_x, p_y, p_z)
            if abs(x) <= behind_x_m and abs(y) <= behind_y_m:
                first_m = min(first_m, z)
            if abs(x) <= fingers_x_m and abs(y) <= fingers_y_m:
                point[used] = n
                local_m[used, 0], local_m[used, 1], local_m[used, 2] = x, y, z
                used += 1
        nearest_m[c] = first_m
    starts[count] = used
    return nearest_m, starts, point[:used].copy(), local_m[:used].copy()


@inner
def _between(
    starts: Ints, local_m: Floats, pose: int, depth_m: float, opening_m: float, thickness_m: float
) -> tuple[bool, float, float, float]:
    """Whether the opened fingers get there, and where on the closing axis and how deep the body is between them."""
    inner_m = opening_m / 2
    low_m, high_m, deepest_m = np.inf, -np.inf, np.inf
    for m in range(starts[pose], starts[pose + 1]):
        x, z = local_m[m, 0], local_m[m, 2] - depth_m
        if abs(x) > inner_m + thickness_m + OWN_CLEARANCE_M or z > OWN_CLEARANCE_M:
            continue
        if abs(x) >= inner_m - OWN_CLEARANCE_M:
            return False, 0.0, 0.0, 0.0
        if z <= 0:
            low_m, high_m, deepest_m = min(low_m, x), max(high_m, x), min(deepest_m, z)
    # The pose is centred between the contacts afterwards, but the fingers come down where the pose is now.
    room_m = inner_m - _MIN_ROOM_M
    return low_m < np.inf and high_m <= room_m and low_m >= -room_m, low_m, high_m, -deepest_m


@inner
def _close(
    pose: int,
    depth_m: float,
    opening_m: float,
    rotations: Floats,
    starts: Ints,
    point: Ints,
    local_m: Floats,
    normals: Floats,
    assumed: Floats,
    thickness_m: float,
    values: Floats,
) -> bool:
    """Whether the opened fingers get there, and into `values` (12,) what they meet where they close."""
    free, low_m, high_m, deep_m = _between(starts, local_m, pose, depth_m, opening_m, thickness_m)
    if not free:
        return False
    values[0], values[1], values[2], values[3], values[4], values[5] = low_m, high_m, 1.0, 0.0, np.inf, deep_m
    for side in range(2):
        sign = 2.0 * side - 1.0
        c_x, c_y, c_z = sign * rotations[pose, 0, 0], sign * rotations[pose, 1, 0], sign * rotations[pose, 2, 0]
        n_x, n_y, n_z, share, y_m, z_m = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        number, top_m, bottom_m = 0, -np.inf, np.inf
        for m in range(starts[pose], starts[pose + 1]):
            x, z = local_m[m, 0], local_m[m, 2] - depth_m
            carries = x >= high_m - _PATCH_M if side else x <= low_m + _PATCH_M
            if z > 0 or not carries or abs(x) > opening_m / 2:
                continue
            n = point[m]
            number += 1
            share += assumed[n]
            y_m += local_m[m, 1]
            z_m += z
            top_m, bottom_m = max(top_m, z), min(bottom_m, z)
            # At an edge a finger touches the side, not the top.
            if c_x * normals[n, 0] + c_y * normals[n, 1] + c_z * normals[n, 2] > _LEAST_FACING:
                n_x, n_y, n_z = n_x + normals[n, 0], n_y + normals[n, 1], n_z + normals[n, 2]
        size = max(math.sqrt(n_x * n_x + n_y * n_y + n_z * n_z), 1e-6)
        values[2] = min(values[2], (c_x * n_x + c_y * n_y + c_z * n_z) / size)
        values[3] += share / number / 2
        values[4] = min(values[4], top_m - bottom_m)
        values[6 + 3 * side] = high_m if side else low_m
        values[7 + 3 * side], values[8 + 3 * side] = y_m / number, z_m / number
    return True


@kernel(
    "float64[::1]",
    "float64[::1]",
    "float64",
    "float64[:, :, ::1]",
    "int64[::1]",
    "int64[::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float64",
    "float64",
    "float64",
)
def close_fingers(
    depth_m: Floats,
    openings_m: Floats,
    max_opening_m: float,
    rotations: Floats,
    starts: Ints,
    point: Ints,
    local_m: Floats,
    normals: Floats,
    assumed: Floats,
    thickness_m: float,
    length_m: float,
    friction: float,
) -> tuple[Ints, Floats, Floats, int, int]:
    """The poses at which the fingers get there and hold what they close on: fully opened, and where not, opened less.

    Args:
        depth_m: (C,) how far each pose moves in; one that would stay out by more than the fingers' length is left out.
        openings_m: (C,) how far it is opened where it does not fit in fully opened.
        max_opening_m, thickness_m, length_m: of the gripper and its fingers.
        rotations: (C, 3, 3).
        starts, point, local_m: of `columns_of` these poses.
        normals: (N, 3) of the body's points.
        assumed: (N,) how much each of them counts as assumed.
        friction: that grasps rely on.

    Returns:
        poses: (K,) indices, those that are fully opened first.
        opened_m: (K,) how far each is opened.
        values: (K, 12) as of `Closed.values`.
        unfit, slip: how many do not fit, and how many are on surfaces that do not hold.
    """
    count = len(depth_m)
    poses, opened_m, values = np.empty(count, np.int64), np.empty(count), np.empty((count, 12))
    tight = np.empty(count, np.bool_)
    found, unfit, slip = 0, 0, 0
    for less in range(2):
        for c in range(count):
            # Less than no depth is farther out than the contacts that the pose was made for: closing finds others.
            if depth_m[c] < -length_m or (less and not tight[c]):
                continue
            own_m = openings_m[c] if less else max_opening_m
            fits = (not less or own_m < max_opening_m) and _close(
                c, depth_m[c], own_m, rotations, starts, point, local_m, normals, assumed, thickness_m, values[found]
            )
            tight[c] = not fits
            if not fits:
                unfit += less
                continue
            cosine = values[found, 2]
            if cosine > 0 and 1 - cosine**2 <= (friction * cosine) ** 2:
                poses[found], opened_m[found] = c, own_m
                found += 1
            else:
                slip += 1
    return poses[:found].copy(), opened_m[:found].copy(), values[:found].copy(), unfit, slip


# Poses and the scene --------------------------------------------------------------------------------------------------


@inner
def _meets(
    rotations: Floats,
    origins_m: Floats,
    pose: int,
    opening_m: float,
    points_m: Floats,
    ways_m: Floats,
    clearance_m: float,
) -> bool:
    """Whether a point is nearer than the clearance to what the gripper sweeps; `ways_m` as of `Gripper.ways_m`."""
    thickness_m, half_y_m, fingers_z_m, fingers_start_m = ways_m[0], ways_m[1], ways_m[2], ways_m[3]
    palm_x_m, palm_y_m, palm_start_m, palm_z_m = ways_m[4], ways_m[5], ways_m[6], ways_m[7]
    inner_m = opening_m / 2
    outer_m = inner_m + thickness_m + clearance_m
    lowest_m = min(palm_start_m, fingers_start_m) - clearance_m
    widest_m = max(outer_m, palm_x_m + clearance_m)
    x_axis, y_axis, z_axis = (
        _axis(rotations, origins_m, pose, 0),
        _axis(rotations, origins_m, pose, 1),
        _axis(rotations, origins_m, pose, 2),
    )
    for n in range(len(points_m)):
        p_x, p_y, p_z = points_m[n, 0], points_m[n, 1], points_m[n, 2]
        z = _along(z_axis, p_x, p_y, p_z)
        if z > clearance_m or z < lowest_m:
            continue
        x = abs(_along(x_axis, p_x, p_y, p_z))
        if x > widest_m:
            continue
        y = abs(_along(y_axis, p_x, p_y, p_z))
        if x <= outer_m and y <= half_y_m + clearance_m:
            if z >= fingers_z_m - clearance_m:
                return True
            if z >= fingers_start_m - clearance_m and x >= inner_m - clearance_m:
                return True
        in_palm = x <= palm_x_m + clearance_m and y <= palm_y_m + clearance_m
        if in_palm and palm_start_m - clearance_m <= z <= palm_z_m + clearance_m:
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
    x_axis, y_axis, z_axis = (
        _axis(rotations, origins_m, pose, 0),
        _axis(rotations, origins_m, pose, 1),
        _axis(rotations, origins_m, pose, 2),
    )
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
def _nearly_same(rotations: Floats, origins_m: Floats, first: int, second: int) -> bool:
    """Whether two grasps are within 3 cm and 30 degrees; half a turn about z is none."""
    squared_m2 = 0.0
    for axis in range(3):
        squared_m2 += (origins_m[first, axis] - origins_m[second, axis]) ** 2
    if squared_m2 > _THIN_DISTANCE_M**2:
        return False
    along = np.zeros(3)
    for row in range(3):
        for axis in range(3):
            along[axis] += rotations[first, row, axis] * rotations[second, row, axis]
    # Trace of the turn between them, and of the same with x and y reversed.
    return (abs(along[0] + along[1]) + along[2] - 1) / 2 >= _THIN_COSINE


@kernel(
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "boolean[::1]",
    "boolean[::1]",
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
    wanted: Flags,
    moved: Flags,
    others_m: Floats,
    body_m: Floats,
    ways_m: Floats,
    clearance_m: float,
    most: int,
) -> tuple[Ints, int, int]:
    """The first poses, no two nearly alike, whose way is free.

    Args:
        rotations, origins_m, openings_m: (C, 3, 3), (C, 3) and (C,) of the poses, the best first.
        wanted: (C,) those to be looked at.
        moved: (C,) those that are not where closing on the body was tried, so that the body may be in their way.
        others_m: (P, 3) points of everything else.
        body_m: (N, 3) points of the body.
        ways_m: as of `Gripper.ways_m`.
        clearance_m: to everything else.
        most: no more poses than this.

    Returns:
        chosen: (K,) indices, ascending.
        met: how many poses met something else.
        unfit: how many met the body.
    """
    chosen = np.empty(most, np.int64)
    count, met, unfit = 0, 0, 0
    for c in range(len(openings_m)):
        if count == most:
            break
        if not wanted[c]:
            continue
        alike = False
        for k in range(count):
            if _nearly_same(rotations, origins_m, chosen[k], c):
                alike = True
                break
        if alike:
            continue
        if _meets(rotations, origins_m, c, openings_m[c], others_m, ways_m, clearance_m):
            met += 1
        elif moved[c] and not _fits(rotations, origins_m, c, openings_m[c], body_m, ways_m[0], ways_m[1]):
            unfit += 1
        else:
            chosen[count] = c
            count += 1
    return chosen[:count].copy(), met, unfit


@kernel(
    "float32[:, ::1]",
    "boolean[:, ::1]",
    "int16[:, ::1]",
    "int64",
    "float32[::1]",
    "boolean",
    "float64[::1]",
    "float64",
)
def points_off_plane(
    depth_m: NDArray[np.float32],
    left_out: Flags,
    owner_image: NDArray[np.int16],
    stride: int,
    camera: NDArray[np.float32],
    has_plane: bool,
    plane: Floats,
    tolerance_m: float,
) -> tuple[Floats, Ints]:
    """What was measured in every `stride`-th row and column, but on a plane or below.

    Args:
        depth_m, left_out, owner_image: (H, W).
        camera: fx, fy, cx, cy.
        plane: (4,) normal and offset.
        tolerance_m: height above the plane that still counts as on it.

    Returns:
        (M, 3) points, camera optical frame, and (M,) whose they are.
    """
    height, width = depth_m.shape
    most = ((height + stride - 1) // stride) * ((width + stride - 1) // stride)
    points_m, owner = np.empty((most, 3)), np.empty(most, np.int64)
    count = 0
    for row in range(0, height, stride):
        for column in range(0, width, stride):
            z = float(depth_m[row, column])
            if z == 0 or left_out[row, column]:
                continue
            x, y = (column - camera[2]) / camera[0] * z, (row - camera[3]) / camera[1] * z
            if has_plane and x * plane[0] + y * plane[1] + z * plane[2] + plane[3] <= tolerance_m:
                continue
            points_m[count, 0], points_m[count, 1], points_m[count, 2] = x, y, z
            owner[count] = owner_image[row, column]
            count += 1
    return points_m[:count].copy(), owner[:count].copy()


@kernel(
    "float64[:, ::1]",
    "int64[::1]",
    "float64[::1]",
    "float64",
    "int64",
    "boolean",
    "float64[::1]",
    "float64",
    "float64[:, ::1]",
    "float64[::1]",
)
def others_near(
    points_m: Floats,
    owner: Ints,
    centre_m: Floats,
    radius_m: float,
    own: int,
    on_plane: bool,
    plane: Floats,
    tolerance_m: float,
    rotation: Floats,
    translation_m: Floats,
) -> Floats:
    """The points of everything else within a radius.

    Args:
        points_m: (M, 3), camera optical frame.
        owner: (M,) whose they are, 0 for nobody's.
        centre_m: (3,) of what is to be grasped, likewise.
        own: whose points are left out.
        on_plane: whether what is to be grasped stands on a plane, so that nobody's points in it or below are left out.
        plane: (4,) normal and offset of that plane.
        tolerance_m: height above it that still counts as in it.
        rotation, translation_m: (3, 3) and (3,) of the frame that the points are to be in, from the camera's.

    Returns:
        (P, 3) in that frame.
    """
    found_m = np.empty((len(points_m), 3))
    count = 0
    for m in range(len(points_m)):
        if owner[m] == own:
            continue
        x, y, z = points_m[m, 0], points_m[m, 1], points_m[m, 2]
        if (x - centre_m[0]) ** 2 + (y - centre_m[1]) ** 2 + (z - centre_m[2]) ** 2 >= radius_m**2:
            continue
        if on_plane and owner[m] == 0 and x * plane[0] + y * plane[1] + z * plane[2] + plane[3] <= tolerance_m:
            continue
        for axis in range(3):
            found_m[count, axis] = (
                rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2] * z + translation_m[axis]
            )
        count += 1
    return found_m[:count].copy()


# Cameras and points ---------------------------------------------------------------------------------------------------


@inner
def _pixel(x: float, y: float, z: float, camera: NDArray[np.float32], width: int, height: int) -> tuple[int, int, bool]:
    """Row and column of a point of the camera's frame, and whether it is in the image; `camera` is fx, fy, cx, cy.

    What is beside or behind the camera counts as 1 mm in front of it.
    """
    z = max(z, 1e-3)
    column, row = np.rint(x / z * camera[0] + camera[2]), np.rint(y / z * camera[1] + camera[3])
    if not (0 <= column < width and 0 <= row < height):
        return 0, 0, False
    return int(row), int(column), True


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "float32[:, ::1]", "float32[::1]")
def seen_free(
    points_m: Floats, rotation: Floats, translation_m: Floats, depth_m: NDArray[np.float32], camera: NDArray[np.float32]
) -> Flags:
    """Which points (N,) the camera looks through: it measured something well behind them.

    Args:
        points_m: (N, 3) in any frame.
        rotation, translation_m: (3, 3) and (3,) of that frame, in the camera's.
        depth_m: (H, W).
        camera: fx, fy, cx, cy.
    """
    height, width = depth_m.shape
    free = np.zeros(len(points_m), np.bool_)
    for n in range(len(points_m)):
        p_x, p_y, p_z = points_m[n, 0], points_m[n, 1], points_m[n, 2]
        x = rotation[0, 0] * p_x + rotation[0, 1] * p_y + rotation[0, 2] * p_z + translation_m[0]
        y = rotation[1, 0] * p_x + rotation[1, 1] * p_y + rotation[1, 2] * p_z + translation_m[1]
        z = rotation[2, 0] * p_x + rotation[2, 1] * p_y + rotation[2, 2] * p_z + translation_m[2]
        row, column, inside = _pixel(x, y, z, camera, width, height)
        free[n] = inside and depth_m[row, column] > 0 and z < depth_m[row, column] - _SEEN_FREE_M
    return free


@kernel(
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64",
    "float64[:, ::1]",
    "float64[::1]",
    "float32[:, ::1]",
    "float32[::1]",
    "int16[:, ::1]",
    "int16[:, ::1]",
    "int64",
)
def sight_of_fingers(
    rotations: Floats,
    origins_m: Floats,
    aside_m: Floats,
    length_m: float,
    rotation: Floats,
    translation_m: Floats,
    depth_m: NDArray[np.float32],
    camera: NDArray[np.float32],
    owner_image: NDArray[np.int16],
    unmeasured: NDArray[np.int16],
    own: int,
) -> tuple[Flags, Floats, Floats]:
    """What the camera saw where the fingers go: at their tips, and a third and two thirds of their length above.

    Args:
        rotations, origins_m: (C, 3, 3) and (C, 3) of the poses.
        aside_m: (C, K) where fingers are along the closing axis.
        length_m: of the fingers.
        rotation, translation_m: (3, 3) and (3,) of the frame of the poses, in the camera's.
        depth_m: (H, W).
        camera: fx, fy, cx, cy.
        owner_image: (H, W) whose each pixel is.
        unmeasured: (H, W) whose mask a pixel without depth belongs to.
        own: who is to be grasped.

    Returns:
        unknown: (C,) whether one of the places is where the mask has no depth, or beyond the image's border.
        hidden, shadowed: (C,) shares of them behind something else and behind the object itself.
    """
    height, width = depth_m.shape
    count, places = len(origins_m), aside_m.shape[1]
    unknown, hidden, shadowed = np.zeros(count, np.bool_), np.zeros(count), np.zeros(count)
    for c in range(count):
        for k in range(3 * places):
            back_m, x_m = (k // places) / 3 * length_m, aside_m[c, k % places]
            p_x = origins_m[c, 0] + x_m * rotations[c, 0, 0] - back_m * rotations[c, 0, 2]
            p_y = origins_m[c, 1] + x_m * rotations[c, 1, 0] - back_m * rotations[c, 1, 2]
            p_z = origins_m[c, 2] + x_m * rotations[c, 2, 0] - back_m * rotations[c, 2, 2]
            x = rotation[0, 0] * p_x + rotation[0, 1] * p_y + rotation[0, 2] * p_z + translation_m[0]
            y = rotation[1, 0] * p_x + rotation[1, 1] * p_y + rotation[1, 2] * p_z + translation_m[1]
            z = rotation[2, 0] * p_x + rotation[2, 1] * p_y + rotation[2, 2] * p_z + translation_m[2]
            row, column, inside = _pixel(x, y, z, camera, width, height)
            if not inside or unmeasured[row, column] == own:
                unknown[c] = True
            elif depth_m[row, column] > 0 and depth_m[row, column] < z - _SIGHT_TOLERANCE_M:
                if owner_image[row, column] == own:
                    shadowed[c] += 1
                else:
                    hidden[c] += 1
    return unknown, hidden / (3 * places), shadowed / (3 * places)


# Pairs of contacts ----------------------------------------------------------------------------------------------------


@inner
def _cell(place_m: float, cell_m: float) -> int:
    """The number of a cell along an axis, 17 bits; what lies farther out counts as in the last one."""
    return min(max(math.floor(place_m / cell_m) + 65536, 0), 131071)


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64", "float64", "int64")
def facing_pairs(
    points_m: Floats, normals: Floats, least_cosine: float, max_opening_m: float, most: int
) -> tuple[Ints, Ints, Floats]:
    """Pairs of points whose normals face away from each other, those of more than `most` evenly.

    Returns:
        first, second: (K,) indices, first < second, ascending.
        cosine: (K,) of the larger angle between the line through both and their inward normals.
    """
    count = len(points_m)
    pairs, cosines = np.empty((count * count // 2, 2), np.int32), np.empty(count * count // 2)
    found = 0
    for i in range(count):
        for j in range(i + 1, count):
            x, y, z = points_m[i, 0] - points_m[j, 0], points_m[i, 1] - points_m[j, 1], points_m[i, 2] - points_m[j, 2]
            squared_m2 = x * x + y * y + z * z
            if not _MIN_WIDTH_M**2 <= squared_m2 <= max_opening_m**2:
                continue
            inward_m = min(
                normals[i, 0] * x + normals[i, 1] * y + normals[i, 2] * z,
                -normals[j, 0] * x - normals[j, 1] * y - normals[j, 2] * z,
            )
            distance_m = math.sqrt(squared_m2)
            if inward_m >= least_cosine * distance_m:
                pairs[found, 0], pairs[found, 1] = i, j
                cosines[found] = min(inward_m / distance_m, 1.0)
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


# Cells of space -------------------------------------------------------------------------------------------------------


@inner
def _slot(key: int, table_key: Ints, table_index: Ints) -> int:
    """Where a key is in a table whose length is a power of two, or the free place where it goes."""
    place = ((key * -7046029254386353131) >> 20) & (len(table_key) - 1)
    while table_index[place] >= 0 and table_key[place] != key:
        place = (place + 1) & (len(table_key) - 1)
    return place


@kernel("float64[:, ::1]", "int64[::1]", "int64[::1]", "float64[::1]")
def one_of_each_cell(points_m: Floats, group: Ints, rank: Ints, cell_m: Floats) -> Ints:
    """Indices, ascending, of one point of each group in each cell of this size (3,): the one of the lowest rank.

    Of equal rank it is the first. Groups are below 4096.
    """
    slots = 16
    while slots < 2 * len(points_m):
        slots *= 2
    table_key, table_index = np.empty(slots, np.int64), np.full(slots, -1)
    for n in range(len(points_m)):
        key = group[n]
        for axis in range(3):
            key = (key << 17) | _cell(points_m[n, axis], cell_m[axis])
        place = _slot(key, table_key, table_index)
        table_key[place] = key
        if table_index[place] < 0 or rank[n] < rank[table_index[place]]:
            table_index[place] = n
    return np.sort(table_index[table_index >= 0])


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64")
def any_near(points_m: Floats, others_m: Floats, radius_m: float) -> Flags:
    """Which points (N,) have one of the others (M, 3) within a radius."""
    near = np.zeros(len(points_m), np.bool_)
    for n in range(len(points_m)):
        for m in range(len(others_m)):
            x, y, z = points_m[n, 0] - others_m[m, 0], points_m[n, 1] - others_m[m, 1], points_m[n, 2] - others_m[m, 2]
            if x * x + y * y + z * z <= radius_m * radius_m:
                near[n] = True
                break
    return near


@kernel(
    "float32[:, ::1]",
    "boolean[:, ::1]",
    "int64",
    "int64",
    "int64",
    "int64",
    "float32[::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float64[::1]",
)
def points_in_box(
    depth_m: NDArray[np.float32],
    mask: Flags,
    top: int,
    bottom: int,
    left: int,
    right: int,
    camera: NDArray[np.float32],
    rotation: Floats,
    translation_m: Floats,
    far_m: Floats,
) -> Floats:
    """Every measured point of a mask inside a box that stands on z = 0 of a frame, in that frame.

    Args:
        depth_m, mask: (H, W).
        top, bottom, left, right: rows and columns that hold the mask, from the first to before the last.
        camera: fx, fy, cx, cy.
        rotation, translation_m: (3, 3) and (3,) of the camera in the frame of the box.
        far_m: (3,) half the sides of the box, and its height.
    """
    found_m = np.empty(((bottom - top) * (right - left), 3))
    count = 0
    for row in range(top, bottom):
        for column in range(left, right):
            c_z = float(depth_m[row, column])
            if not mask[row, column] or c_z == 0:
                continue
            c_x, c_y = (column - camera[2]) / camera[0] * c_z, (row - camera[3]) / camera[1] * c_z
            x = rotation[0, 0] * c_x + rotation[0, 1] * c_y + rotation[0, 2] * c_z + translation_m[0]
            y = rotation[1, 0] * c_x + rotation[1, 1] * c_y + rotation[1, 2] * c_z + translation_m[1]
            z = rotation[2, 0] * c_x + rotation[2, 1] * c_y + rotation[2, 2] * c_z + translation_m[2]
            if abs(x) <= far_m[0] and abs(y) <= far_m[1] and 0 < z <= far_m[2]:
                found_m[count, 0], found_m[count, 1], found_m[count, 2] = x, y, z
                count += 1
    return found_m[:count].copy()


@kernel("float64[:, ::1]", "float64", "int64", "int64")
def heights_over_cells(
    points_m: Floats, cell_m: float, rim: int, most: int
) -> tuple[float, float, NDArray[np.float32]]:
    """The height z of the highest point over each cell of a level grid.

    Args:
        points_m: (N, 3), N > 0.
        cell_m: side of a cell.
        rim: cells without points all around.
        most: a grid of more cells than this along a side is left empty.

    Returns:
        low_x_m, low_y_m: where the grid begins.
        heights_m: (I, J) float32, 0 over cells without a point above 0; (0, 0) for a grid that is too large.
    """
    low_x_m, low_y_m, high_x_m, high_y_m = np.inf, np.inf, -np.inf, -np.inf
    for n in range(len(points_m)):
        low_x_m, high_x_m = min(low_x_m, points_m[n, 0]), max(high_x_m, points_m[n, 0])
        low_y_m, high_y_m = min(low_y_m, points_m[n, 1]), max(high_y_m, points_m[n, 1])
    low_x_m, low_y_m = low_x_m - rim * cell_m, low_y_m - rim * cell_m
    sides = max(high_x_m - low_x_m, high_y_m - low_y_m) / cell_m + 1 + rim
    if sides > most:
        return low_x_m, low_y_m, np.zeros((0, 0), np.float32)
    shape = int((high_x_m - low_x_m) / cell_m) + 1 + rim, int((high_y_m - low_y_m) / cell_m) + 1 + rim
    heights_m = np.zeros(shape, np.float32)
    for n in range(len(points_m)):
        i, j = int((points_m[n, 0] - low_x_m) / cell_m), int((points_m[n, 1] - low_y_m) / cell_m)
        heights_m[i, j] = max(heights_m[i, j], np.float32(points_m[n, 2]))
    return low_x_m, low_y_m, heights_m


# Bodies of revolution -------------------------------------------------------------------------------------------------

UPRIGHT_SLOPE = 0.75
"""|z| of a normal above which a point is on top rather than on a side."""
_SLICE_M = 0.006
_CIRCLE_STEPS = 4
_CIRCLE_TOLERANCE_M = 0.0012
_CIRCLE_TOLERANCE_RATIO = 0.04
_MIN_ROUND_POINTS = 40
_MIN_ROUND_SHARE = 0.7
_MIN_OUTWARD_SHARE = 0.8
_MIN_ARC = math.radians(90.0)
_FARTHEST_AXIS_M = 0.2


@inner
def _means(values: Floats, slices: Ints, inlier: Flags, means: Floats, counts: Floats) -> None:
    """The mean of the inliers of each slice, 0 where there is none, into `means`."""
    means[:], counts[:] = 0.0, 0.0
    for n in range(len(values)):
        if inlier[n]:
            means[slices[n]] += values[n]
            counts[slices[n]] += 1
    for k in range(len(means)):
        means[k] /= max(counts[k], 1.0)


@kernel("float64[:, ::1]", "float64[:, ::1]")
def upright_axis(points_m: Floats, normals: Floats) -> tuple[bool, float, float]:
    """Whether a body is one of revolution about an upright axis, and where that is in x and y.

    Circles with a common centre and a radius for each height are fitted to level slices of the sides: with m the means
    over a slice, 2 c (p - m) = |p|^2 - mean |p|^2, which is linear in the centre c. What lies off its slice's circle,
    a handle, is left out, step by step.

    Args:
        points_m, normals: (N, 3), z up.
    """
    sides = np.flatnonzero(np.abs(normals[:, 2]) < UPRIGHT_SLOPE)
    count = len(sides)
    if count < _MIN_ROUND_POINTS:
        return False, 0.0, 0.0
    x_m, y_m = points_m[:, 0][sides], points_m[:, 1][sides]
    slices = np.floor(points_m[:, 2][sides] / _SLICE_M).astype(np.int64)
    slices -= slices.min()
    squared_m2 = x_m * x_m + y_m * y_m
    means = np.empty((3, slices.max() + 1))
    counts = np.empty(means.shape[1])
    inlier, off_m, tolerance_m = np.ones(count, np.bool_), np.empty(count), np.empty(count)
    centre_x, centre_y = x_m.mean(), y_m.mean()
    for _ in range(_CIRCLE_STEPS):
        _means(x_m, slices, inlier, means[0], counts)
        _means(y_m, slices, inlier, means[1], counts)
        _means(squared_m2, slices, inlier, means[2], counts)
        a, b, c, p, q = 0.0, 0.0, 0.0, 0.0, 0.0
        for n in range(count):
            if inlier[n]:
                left_x, left_y = 2 * (x_m[n] - means[0, slices[n]]), 2 * (y_m[n] - means[1, slices[n]])
                right = squared_m2[n] - means[2, slices[n]]
                a, b, c = a + left_x * left_x, b + left_x * left_y, c + left_y * left_y
                p, q = p + left_x * right, q + left_y * right
        radius = math.hypot((a - c) / 2, b)  # the eigenvalues are (a + c) / 2 plus and minus this
        if (a + c) / 2 + radius >= 1e6 * ((a + c) / 2 - radius):
            return False, 0.0, 0.0
        determinant = a * c - b * b
        centre_x, centre_y = (c * p - b * q) / determinant, (a * q - b * p) / determinant
        for n in range(count):
            off_m[n] = math.hypot(x_m[n] - centre_x, y_m[n] - centre_y)
        _means(off_m, slices, inlier, means[0], counts)
        inliers = 0
        for n in range(count):
            radius_m = means[0, slices[n]]
            off_m[n] = abs(off_m[n] - radius_m)
            tolerance_m[n] = _CIRCLE_TOLERANCE_M + _CIRCLE_TOLERANCE_RATIO * radius_m
            inlier[n] = off_m[n] <= 1.5 * tolerance_m[n]
            inliers += inlier[n]
        if inliers < _MIN_ROUND_POINTS:
            return False, 0.0, 0.0
    angles = np.empty(inliers)
    within, outward, k = 0, 0, 0
    for n in range(count):
        if inlier[n]:
            x, y = x_m[n] - centre_x, y_m[n] - centre_y
            within += off_m[n] <= tolerance_m[n]
            # The inside of a vessel has its normals the other way.
            outward += x * normals[sides[n], 0] + y * normals[sides[n], 1] > 0
            angles[k] = math.atan2(y, x)
            k += 1
    if within < _MIN_ROUND_SHARE * count or outward < _MIN_OUTWARD_SHARE * inliers:
        return False, 0.0, 0.0
    angles.sort()
    gap = angles[0] + 2 * math.pi - angles[-1]
    for k in range(1, inliers):
        gap = max(gap, angles[k] - angles[k - 1])
    far = math.hypot(centre_x - x_m.mean(), centre_y - y_m.mean()) > _FARTHEST_AXIS_M
    return not (far or 2 * math.pi - gap < _MIN_ARC), centre_x, centre_y
