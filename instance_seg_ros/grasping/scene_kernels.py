"""Loops over what the camera saw around an object: what else is there, and where fingers would go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

OF_SEVERAL = -1
"""Of a pixel without depth: it belongs to the masks of several instances, any of which may be the one to be grasped."""
_SIGHT_TOLERANCE_M = 0.01
_FREE_TOLERANCE_M = 0.005
"""A place no farther behind what was measured counts as seen, and free."""
_STEP_UP_M = 0.004
_MOST_STEPS_UP = 75
"""Shadows are left within 30 cm, or what is in them counts as unseen."""


@kernel("int16[:, ::1]", "UniTuple(int64, 4)", "int64", "int64", "float32[::1]")
def rays_of_part(
    unmeasured: NDArray[np.int16],
    bounds: tuple[int, int, int, int],
    own: int,
    stride_px: int,
    camera: NDArray[np.float32],
) -> Floats:
    """(L, 3) where the lines of sight of some pixels (H, W) are at a depth of 1 m, camera optical frame.

    Args:
        unmeasured: those that are `own`, or of several, count.
        bounds: left, top, width and height of where they are looked for, in every so many rows and columns.
        camera: fx, fy, cx, cy.
    """
    left, top, width, height = bounds
    fx, fy, cx, cy = float(camera[0]), float(camera[1]), float(camera[2]), float(camera[3])
    count = 0
    for y in range(top, top + height, stride_px):
        for x in range(left, left + width, stride_px):
            count += unmeasured[y, x] == own or unmeasured[y, x] == OF_SEVERAL
    rays, count = np.ones((count, 3)), 0
    for y in range(top, top + height, stride_px):
        for x in range(left, left + width, stride_px):
            if unmeasured[y, x] == own or unmeasured[y, x] == OF_SEVERAL:
                rays[count, 0], rays[count, 1] = (x - cx) / fx, (y - cy) / fy
                count += 1
    return rays


@kernel("int16[:, ::1]", "int16[:, ::1]", writes=("owners",))
def put_own(labels: NDArray[np.int16], owners: NDArray[np.int16]) -> None:
    """Puts the labels (H, W) of pixels that have one, above 0, in the place of what they are near."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            owners[y, x] = labels[y, x] if labels[y, x] > 0 else owners[y, x]


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
    rays_x = np.empty(width)
    for column in range(width):
        rays_x[column] = (column - camera[2]) / camera[0]
    count = 0
    for row in range(0, height, stride):
        ray_y = (row - camera[3]) / camera[1]
        for column in range(0, width, stride):
            z = float(depth_m[row, column])
            if z == 0 or left_out[row, column]:
                continue
            x, y = rays_x[column] * z, ray_y * z
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


@kernel(
    "float32[:, ::1]",
    "boolean[:, ::1]",
    "int16[:, ::1]",
    "int64",
    "float32[::1]",
    "boolean",
    "float64[::1]",
    "float64",
    "float64",
    "float64",
)
def behind_nobodys(
    depth_m: NDArray[np.float32],
    left_out: Flags,
    owner_image: NDArray[np.int16],
    stride: int,
    camera: NDArray[np.float32],
    has_plane: bool,
    plane: Floats,
    tolerance_m: float,
    step_m: float,
    farthest_m: float,
) -> Floats:
    """Places in the shadow of what was measured, is nobody's and stands out of a plane; down to that plane.

    Args:
        depth_m, left_out, owner_image: (H, W).
        stride: rows and columns that are looked at.
        camera: fx, fy, cx, cy.
        plane: (4,) normal and offset.
        tolerance_m: height above the plane that still counts as in it.
        step_m, farthest_m: between places on a line of sight, and how far behind what hides them.

    Returns:
        (M, 3), camera optical frame.
    """
    height, width = depth_m.shape
    steps = int(farthest_m / step_m)
    most = ((height + stride - 1) // stride) * ((width + stride - 1) // stride) * steps
    places_m = np.empty((most, 3))
    count = 0
    for row in range(0, height, stride):
        ray_y = (row - camera[3]) / camera[1]
        for column in range(0, width, stride):
            z = float(depth_m[row, column])
            if z == 0 or left_out[row, column] or owner_image[row, column] != 0:
                continue
            ray_x = (column - camera[2]) / camera[0]
            length = np.sqrt(ray_x * ray_x + ray_y * ray_y + 1.0)
            for step in range(steps + 1):
                own_z = z + step * step_m / length
                x, y = ray_x * own_z, ray_y * own_z
                if has_plane and x * plane[0] + y * plane[1] + own_z * plane[2] + plane[3] <= tolerance_m:
                    break
                if step:
                    places_m[count, 0], places_m[count, 1], places_m[count, 2] = x, y, own_z
                    count += 1
    return places_m[:count].copy()


@kernel(
    "float64[::1]",
    "float64[::1]",
    "float64[::1]",
    "float64",
    "float64",
    "float64[:, ::1]",
    "float64[::1]",
    "float32[:, ::1]",
    "float32[::1]",
)
def unseen_in_box(
    half_m: Floats,
    known_m: Floats,
    known_half_m: Floats,
    step_m: float,
    margin_m: float,
    rotation: Floats,
    translation_m: Floats,
    depth_m: NDArray[np.float32],
    camera: NDArray[np.float32],
) -> Floats:
    """Places in a box, but not in a smaller one with the same axes, that are beyond the image or behind what it shows.

    Where nothing was measured they are left out: beside most objects there is a strip without depth.

    Args:
        half_m: (3,) half the sides of the box.
        known_m, known_half_m: (3,) where the middle of the smaller one is in it, and half its sides.
        step_m: between places, at the most.
        margin_m: by which the smaller one is grown.
        rotation, translation_m: (3, 3) and (3,) of the box, camera optical frame.
        depth_m: (H, W).
        camera: fx, fy, cx, cy.

    Returns:
        (M, 3), camera optical frame.
    """
    height, width = depth_m.shape
    number = np.empty(3, np.int64)
    for axis in range(3):
        number[axis] = 1 + int(np.ceil(2 * half_m[axis] / step_m))
    places_m = np.empty((number[0] * number[1] * number[2], 3))
    count = 0
    for i in range(number[0]):
        p_x = half_m[0] * (2 * i / max(number[0] - 1, 1) - 1)
        in_x = abs(p_x - known_m[0]) <= known_half_m[0] + margin_m
        for j in range(number[1]):
            p_y = half_m[1] * (2 * j / max(number[1] - 1, 1) - 1)
            in_xy = in_x and abs(p_y - known_m[1]) <= known_half_m[1] + margin_m
            for k in range(number[2]):
                p_z = half_m[2] * (2 * k / max(number[2] - 1, 1) - 1)
                if in_xy and abs(p_z - known_m[2]) <= known_half_m[2] + margin_m:
                    continue
                x = rotation[0, 0] * p_x + rotation[0, 1] * p_y + rotation[0, 2] * p_z + translation_m[0]
                y = rotation[1, 0] * p_x + rotation[1, 1] * p_y + rotation[1, 2] * p_z + translation_m[1]
                z = rotation[2, 0] * p_x + rotation[2, 1] * p_y + rotation[2, 2] * p_z + translation_m[2]
                row, column, inside = _pixel(x, y, z, camera, width, height)
                if inside and (depth_m[row, column] == 0 or depth_m[row, column] >= z - _FREE_TOLERANCE_M):
                    continue
                places_m[count, 0], places_m[count, 1], places_m[count, 2] = x, y, z
                count += 1
    return places_m[:count].copy()


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


@kernel(
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float32[::1]",
    "int64",
    "int64",
    "float64[::1]",
    "float64",
)
def beyond_border(
    rotations: Floats,
    origins_m: Floats,
    places_m: Floats,
    rotation: Floats,
    translation_m: Floats,
    camera: NDArray[np.float32],
    width: int,
    height: int,
    up: Floats,
    below_m: float,
) -> Flags:
    """Whether one of some places of the gripper (K, 3), in the frame of a grasp, is low and outside of the image.

    Args:
        rotations, origins_m: (C, 3, 3) and (C, 3) of the poses.
        rotation, translation_m: (3, 3) and (3,) of the frame of the poses, in the camera's.
        camera: fx, fy, cx, cy.
        width, height: of the image.
        up: (3,) in the frame of the poses.
        below_m: how far along that a place is low.

    Returns:
        (C,).
    """
    beyond = np.zeros(len(origins_m), np.bool_)
    place_m, seen_m = np.empty(3), np.empty(3)
    for c in range(len(origins_m)):
        for k in range(len(places_m)):
            along_m = 0.0
            for axis in range(3):
                place_m[axis] = origins_m[c, axis]
                for own in range(3):
                    place_m[axis] += rotations[c, axis, own] * places_m[k, own]
                along_m += place_m[axis] * up[axis]
            if along_m >= below_m:
                continue
            for axis in range(3):
                seen_m[axis] = translation_m[axis]
                for own in range(3):
                    seen_m[axis] += rotation[axis, own] * place_m[own]
            if not _pixel(seen_m[0], seen_m[1], seen_m[2], camera, width, height)[2]:
                beyond[c] = True
                break
    return beyond


@kernel(
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[:]",
    "float64[::1]",
    "float64",
    "float64",
    "float64[:, ::1]",
    "float64[::1]",
    "float32[:, ::1]",
    "float32[::1]",
    "int16[:, ::1]",
    "int16[:, ::1]",
    "int64",
    "float64[::1]",
)
def sight_of_fingers(
    rotations: Floats,
    origins_m: Floats,
    width_m: Floats,
    openings_m: Floats,
    thickness_m: float,
    length_m: float,
    rotation: Floats,
    translation_m: Floats,
    depth_m: NDArray[np.float32],
    camera: NDArray[np.float32],
    owner_image: NDArray[np.int16],
    unmeasured: NDArray[np.int16],
    own: int,
    up: Floats,
) -> tuple[Flags, Floats, Floats, Flags, Flags]:
    """What the camera saw where the fingers go: at their tips, and a third and two thirds of their length above.

    Args:
        rotations, origins_m: (C, 3, 3) and (C, 3) of the poses.
        width_m, openings_m: (C,) between the fingers, closed and opened.
        thickness_m, length_m: of the fingers.
        rotation, translation_m: (3, 3) and (3,) of the frame of the poses, in the camera's.
        depth_m: (H, W).
        camera: fx, fy, cx, cy.
        owner_image: (H, W) whose each pixel is.
        unmeasured: (H, W) likewise, of pixels without depth in a mask; `OF_SEVERAL` in several.
        own: who is to be grasped.
        up: (3,) camera optical frame.

    Returns:
        outside: (C,) whether one of the places is beyond the image's border.
        hidden, shadowed: (C,) shares of them behind something else and behind the object itself.
        below_unseen: (C,) whether above one of the latter, too, it was not seen that the object ends.
        under: (C,) whether one of the places is under a surface that is nobody's.
    """
    height, width = depth_m.shape
    count, places = len(origins_m), 4
    aside_m = np.empty(places)
    outside, hidden, shadowed = np.zeros(count, np.bool_), np.zeros(count), np.zeros(count)
    below_unseen, under = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for c in range(count):
        aside_m[2], aside_m[3] = width_m[c] / 2 + thickness_m / 2, openings_m[c] / 2 + thickness_m - thickness_m / 2
        aside_m[0], aside_m[1] = -aside_m[3], -aside_m[2]
        for k in range(3 * places):
            back_m, x_m = (k // places) / 3 * length_m, aside_m[k % places]
            p_x = origins_m[c, 0] + x_m * rotations[c, 0, 0] - back_m * rotations[c, 0, 2]
            p_y = origins_m[c, 1] + x_m * rotations[c, 1, 0] - back_m * rotations[c, 1, 2]
            p_z = origins_m[c, 2] + x_m * rotations[c, 2, 0] - back_m * rotations[c, 2, 2]
            x = rotation[0, 0] * p_x + rotation[0, 1] * p_y + rotation[0, 2] * p_z + translation_m[0]
            y = rotation[1, 0] * p_x + rotation[1, 1] * p_y + rotation[1, 2] * p_z + translation_m[1]
            z = rotation[2, 0] * p_x + rotation[2, 1] * p_y + rotation[2, 2] * p_z + translation_m[2]
            row, column, inside = _pixel(x, y, z, camera, width, height)
            if not inside:
                outside[c] = True
            elif depth_m[row, column] > 0 and depth_m[row, column] < z - _SIGHT_TOLERANCE_M:
                if owner_image[row, column] == own:
                    shadowed[c] += 1
                    below_unseen[c] |= not _free_above(x, y, z, up, depth_m, camera, owner_image, unmeasured, own)
                else:
                    hidden[c] += 1
                under[c] |= _under_nobodys(x, y, z, up, depth_m, camera, owner_image)
    return outside, hidden / (3 * places), shadowed / (3 * places), below_unseen, under


@inner
def _under_nobodys(
    x: float,
    y: float,
    z: float,
    up: Floats,
    depth_m: NDArray[np.float32],
    camera: NDArray[np.float32],
    owner_image: NDArray[np.int16],
) -> bool:
    """Whether the way up from a hidden place comes out through a measured surface of nobody's, and not above it.

    Nobody's sides are not completed: what lies under such a surface may well be inside of what has it.
    """
    height, width = depth_m.shape
    for step in range(1, _MOST_STEPS_UP):
        rise_m = step * _STEP_UP_M
        p_z = z + rise_m * up[2]
        row, column, inside = _pixel(x + rise_m * up[0], y + rise_m * up[1], p_z, camera, width, height)
        if not inside or depth_m[row, column] == 0:
            return False
        if depth_m[row, column] >= p_z - _SIGHT_TOLERANCE_M:
            return owner_image[row, column] == 0 and depth_m[row, column] < p_z
    return False


@inner
def _free_above(
    x: float,
    y: float,
    z: float,
    up: Floats,
    depth_m: NDArray[np.float32],
    camera: NDArray[np.float32],
    owner_image: NDArray[np.int16],
    unmeasured: NDArray[np.int16],
    own: int,
) -> bool:
    """Whether the first place above one in an object's shadow that is not in it is seen to be none of the object.

    It is not where the shadow ends at the image's border, in a hole of the object's depth or behind something else, and
    where the place lies below the object's surface.
    """
    height, width = depth_m.shape
    for step in range(1, _MOST_STEPS_UP):
        rise_m = step * _STEP_UP_M
        p_z = z + rise_m * up[2]
        row, column, inside = _pixel(x + rise_m * up[0], y + rise_m * up[1], p_z, camera, width, height)
        if not inside or unmeasured[row, column] == own or unmeasured[row, column] == OF_SEVERAL:
            return False
        measured = depth_m[row, column] > 0
        behind = measured and depth_m[row, column] < p_z - _SIGHT_TOLERANCE_M
        if owner_image[row, column] != own:
            return not behind and (measured or owner_image[row, column] == 0)
        if measured and not behind:
            return False
    return False


@kernel(
    "float64[:, :, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float64[::1]",
    "float64",
    "float64",
    "float64[::1]",
    "float64[:, ::1]",
    "float64",
)
def volume_of_sight(
    rotations: Floats,
    origins_m: Floats,
    inner_m: Floats,
    outer_m: Floats,
    half_width_m: float,
    length_m: float,
    camera_m: Floats,
    rays: Floats,
    pixel: float,
) -> Floats:
    """How much of the boxes that the fingers sweep while they close lies in the lines of sight of some pixels.

    Args:
        rotations, origins_m: (C, 3, 3) and (C, 3) of the poses.
        inner_m, outer_m: (C,) from where to where the fingers sweep on the closing axis, on both sides.
        half_width_m: of a finger, across the closing axis.
        length_m: of the fingers.
        camera_m: (3,) where the lines of sight start, in the frame of the poses.
        rays: (L, 3) where they are at a depth of 1 m, seen from there.
        pixel: the area that each of them stands for at a depth of 1 m, square metres.

    Returns:
        (C,) cubic metres, of the finger of which it is more.
    """
    count = len(origins_m)
    volume_m3 = np.zeros(count)
    start, along = np.empty(3), np.empty(3)
    for c in range(count):
        for axis in range(3):
            start[axis] = 0.0
            for k in range(3):
                start[axis] += rotations[c, k, axis] * (camera_m[k] - origins_m[c, k])
        low_m3, high_m3 = 0.0, 0.0
        for ray in range(len(rays)):
            for axis in range(3):
                along[axis] = (
                    rotations[c, 0, axis] * rays[ray, 0]
                    + rotations[c, 1, axis] * rays[ray, 1]
                    + rotations[c, 2, axis] * rays[ray, 2]
                )
            first, last = _between(start[1], along[1], -half_width_m, half_width_m, 0.0, np.inf)
            first, last = _between(start[2], along[2], -length_m, 0.0, first, last)
            if first < last:
                near, far = _between(start[0], along[0], -outer_m[c], -inner_m[c], first, last)
                low_m3 += max(far**3 - near**3, 0.0) / 3 * pixel
                near, far = _between(start[0], along[0], inner_m[c], outer_m[c], first, last)
                high_m3 += max(far**3 - near**3, 0.0) / 3 * pixel
        volume_m3[c] = max(low_m3, high_m3)
    return volume_m3


@inner
def _between(start: float, along: float, low: float, high: float, first: float, last: float) -> tuple[float, float]:
    """Which multiples of `along`, of those from first to last, keep a line between two values of a coordinate.

    The first is not smaller than the last where none do.
    """
    if along == 0:
        return (first, last) if low <= start <= high else (0.0, 0.0)
    one, other = (low - start) / along, (high - start) / along
    return max(first, min(one, other)), min(last, max(one, other))
