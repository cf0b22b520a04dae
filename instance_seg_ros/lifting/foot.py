"""The foot of an object: how far above its support it may end, by where its mask ends."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.masks import Bounds
from instance_seg_ros.lifting.order_statistics import median_of_first
from instance_seg_ros.lifting.solid import Body

FloatArray = NDArray[np.float64]

_EDGE_PX, _AROUND_PX = 3, 7
"""What stands out within these distances below the edge of a mask hides what goes on below it; nearer to it depth is
that of the object as well."""
_COARSEST_M = 0.012
"""Where a pixel at the lower edge of a mask is worth more height than this, it is seen too steeply to tell."""
_NOISE_M = 0.003
"""What is higher than this above a plane at 1 m or nearer is no noise of it; beyond it grows with the square of the
distance."""
_DIRECTIONS, _FEWEST_DIRECTIONS = 48, 6
"""In so many directions, seen from the camera, it is looked where an object ends; and it must be seen in so many."""


class Foot(NamedTuple):
    """Where an object with upright sides ends, by its lower edge, above a plane.

    Attributes:
        lifted_m: how far above the plane, at the least that is seen; below zero, how far below it. None where something
            in front hides the edge, and where the camera looks so steeply down that it cannot tell.
        seen_m: the same in most directions in which nothing in front hides the edge; None likewise, and for a few.
        pixel_m: what height a pixel at the edge is worth.
        is_covered: whether something in front hides the edge.
    """

    lifted_m: float | None
    seen_m: float | None
    pixel_m: float
    is_covered: bool


def foot_of(body: Body, frame: RgbdFrame, mask: NDArray[np.bool_], bounds: Bounds, tolerance_m: float) -> Foot:
    """Where an object ends above a plane.

    What stands with upright sides hides the plane from its own front on. The higher it is, the farther back is the
    nearest that it hides: the line of sight there passes its front at the height where it ends. What narrows towards
    its foot, out of sight, may end lower than that. The nearest that it hides is that of its mask, or, where a generous
    mask shows the plane itself below the object, of what is measured above that: the median of several directions.

    Args:
        body: in the frame of the plane.
        mask: (H, W) bool.
        bounds: of the mask.
        tolerance_m: what is no higher is the plane's own, under a generous mask.
    """
    camera = frame.intrinsics
    left, top, width, height = bounds
    front_m, hidden_m, is_covered, height_m, pixel_m, share = _fronts(
        np.ascontiguousarray(frame.depth_m),
        np.ascontiguousarray(mask),
        (top, top + height, left, left + width),
        (camera.fx, camera.fy, camera.cx, camera.cy),
        body.points_m,
        body.pose,
        tolerance_m,
    )
    pixel_height_m = pixel_m * height_m / hidden_m if 0 < hidden_m < np.inf else np.inf
    if is_covered or front_m == np.inf or pixel_height_m > _COARSEST_M:
        return Foot(None, None, pixel_height_m, bool(is_covered))
    lifted, seen = (hidden_m - front_m) * height_m / hidden_m, None
    if not math.isnan(share):
        # The lowest of what stands is taken for the plane's own, up to its noise, and a pixel that shows some of both.
        noise_m = _NOISE_M * max(1.0, (pixel_m * camera.fx) ** 2)
        seen = share * height_m - noise_m - pixel_height_m
        lifted = max(lifted, seen)
    return Foot(lifted, seen, pixel_height_m, False)


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "UniTuple(int64, 4)", "UniTuple(float64, 4)"),
    *("float64[:, :]", "float64[:, ::1]", "float64"),
)
def _fronts(
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    crop: tuple[int, int, int, int],
    optics: tuple[float, float, float, float],
    points_m: FloatArray,
    pose: FloatArray,
    tolerance_m: float,
) -> tuple[float, float, bool, float, float, float]:
    """How far away the nearest of what was measured above a plane is, and the nearest of that which it hides.

    Both horizontally from the camera towards the object, infinite for none; whatever was measured counts, for the rim
    of a cup is dropped. And whether something else stands out from the plane right below the latter.

    Args:
        crop: rows and columns that hold the mask, from the first to before the last.
        optics: fx, fy, cx, cy.
        points_m: (N, 3) of the object, in the plane's frame.
        pose: (4, 3) the basis of that, the last column upwards, and its origin.
        tolerance_m: how high what is above the plane is at least.

    Returns:
        Those three; how high the camera is above the plane; how wide a pixel is at the object; and what share of the
        height lies, in most directions, between the nearest of the object and that of what is hidden, by what was
        measured off the plane beyond noise: NaN where few directions tell, since something in front hides what is right
        below in all others. Vertical edges lie in one direction; a single pixel may be wrong, so the second one counts.
    """
    top, bottom, left, right = crop
    front_m, hidden_m, at_row, at_column = np.inf, np.inf, top, left
    camera_m, middle_m = np.zeros(3), np.zeros(2)
    for axis in range(3):
        for k in range(3):
            camera_m[axis] -= pose[3, k] * pose[k, axis]
    for n in range(len(points_m)):
        middle_m[0] += points_m[n, 0]
        middle_m[1] += points_m[n, 1]
    away_x, away_y, height_m = (
        middle_m[0] / len(points_m) - camera_m[0],
        middle_m[1] / len(points_m) - camera_m[1],
        camera_m[2],
    )
    aside_m = math.sqrt(away_x * away_x + away_y * away_y)
    distance_m = math.sqrt(aside_m * aside_m + height_m * height_m)
    pixel_m = distance_m / optics[0]
    away = away_x / max(aside_m, 1e-6), away_y / max(aside_m, 1e-6)
    # What is nearer to the edge than this, by where it meets the plane, is at the edge.
    edge_m = _EDGE_PX * pixel_m * distance_m / max(height_m, 1e-6)
    right_most, left_most = np.inf, -np.inf
    for n in range(len(points_m)):
        x, y = points_m[n, 0] - camera_m[0], points_m[n, 1] - camera_m[1]
        own_along = away[0] * x + away[1] * y
        if own_along > 0:
            turn = (away[0] * y - away[1] * x) / own_along
            right_most, left_most = min(right_most, turn), max(left_most, turn)
    scale = _DIRECTIONS / (left_most - right_most) if left_most > right_most else 0.0
    # The two nearest in each direction, of the object and of what is hidden.
    own_m, hides_m = np.full((2, _DIRECTIONS), np.inf), np.full((2, _DIRECTIONS), np.inf)
    edges, noise_m = np.zeros((2, _DIRECTIONS), np.int64), _NOISE_M * max(1.0, distance_m * distance_m)
    # From the lower right on, where most things end, so that few pixels are nearer than those before them.
    for row in range(bottom - 1, top - 1, -1):
        along, along_step, aside, aside_step, down, down_step = _sights(row, optics, pose, away)
        for column in range(right - 1, left - 1, -1):
            if not mask[row, column]:
                continue
            own_along, own_down = along + column * along_step, down + column * down_step
            z = float(depth_m[row, column])
            above_m = height_m - own_down * z if z > 0 else 0.0
            if above_m > tolerance_m:
                front_m = min(front_m, own_along * z)
            if own_down > 0 and own_along * height_m <= hidden_m * own_down:
                hidden_m, at_row, at_column = own_along / own_down * height_m, row, column
            if abs(above_m) <= noise_m or own_down <= 0 or own_along <= 0:
                continue
            k = int(((aside + column * aside_step) / own_along - right_most) * scale)
            if 0 <= k < _DIRECTIONS:
                if above_m > tolerance_m and own_along * z < own_m[1, k]:
                    own_m[0, k], own_m[1, k] = _two_smallest(own_along * z, own_m[0, k], own_m[1, k])
                if own_along * height_m <= hides_m[1, k] * own_down:
                    ground_m = own_along / own_down * height_m
                    if ground_m <= hides_m[0, k]:
                        edges[0, k], edges[1, k] = row, column
                    hides_m[0, k], hides_m[1, k] = _two_smallest(ground_m, hides_m[0, k], hides_m[1, k])
    shares, seen = np.empty(_DIRECTIONS), 0
    for k in range(_DIRECTIONS):
        is_seen = own_m[1, k] < np.inf and hides_m[1, k] < np.inf
        if is_seen and not _is_hidden_below(edges[0, k], edges[1, k], depth_m, optics, pose, tolerance_m):
            shares[seen] = (hides_m[1, k] - own_m[1, k]) / hides_m[1, k]
            seen += 1
    share = median_of_first(shares, seen) if seen >= _FEWEST_DIRECTIONS else np.nan
    is_covered = False
    for row in range(max(0, at_row - _AROUND_PX), min(depth_m.shape[0], at_row + _AROUND_PX + 1)):
        along, along_step, _, _, down, down_step = _sights(row, optics, pose, away)
        for column in range(max(0, at_column - _AROUND_PX), min(depth_m.shape[1], at_column + _AROUND_PX + 1)):
            own_along, own_down = along + column * along_step, down + column * down_step
            is_below = own_down > 0 and own_along / own_down * height_m < hidden_m - edge_m and not mask[row, column]
            z = float(depth_m[row, column])
            is_covered |= is_below and z > 0 and height_m - own_down * z > tolerance_m
    return front_m, hidden_m, is_covered, height_m, pixel_m, share


@inner
def _two_smallest(value: float, first: float, second: float) -> tuple[float, float]:
    """Of three values of which the second is no larger than the third."""
    return min(first, value), min(second, max(first, value))


@inner
def _is_hidden_below(
    row: int,
    column: int,
    depth_m: NDArray[np.float32],
    optics: tuple[float, float, float, float],
    pose: FloatArray,
    tolerance_m: float,
) -> bool:
    """Whether something else stands out from the plane, right below a pixel of the edge."""
    x, y = (column - optics[2]) / optics[0], (row - optics[3]) / optics[1]
    right, down = pose[2, 2] * x - pose[0, 2], pose[2, 2] * y - pose[1, 2]
    scale, is_measured = 1 / max(math.sqrt(right * right + down * down), 1e-9), False
    for step in range(1, _AROUND_PX + 1):
        at_row, at_column = round(row + step * scale * down), round(column + step * scale * right)
        if not (0 <= at_row < depth_m.shape[0] and 0 <= at_column < depth_m.shape[1]):
            return True
        z = float(depth_m[at_row, at_column])
        if step < _EDGE_PX or z <= 0:
            continue
        point_x, point_y = (at_column - optics[2]) / optics[0] * z, (at_row - optics[3]) / optics[1] * z
        above_m = (
            (point_x - pose[3, 0]) * pose[0, 2] + (point_y - pose[3, 1]) * pose[1, 2] + (z - pose[3, 2]) * pose[2, 2]
        )
        if above_m > tolerance_m:
            return True
        is_measured = True
    return not is_measured


@inner
def _sights(
    row: int, optics: tuple[float, float, float, float], basis: FloatArray, away: tuple[float, float]
) -> tuple[float, float, float, float, float, float]:
    """How far the line of sight of a row's first pixel goes along a horizontal direction for each metre of depth, and
    how much more that of each next one; the same to the left of that direction; and downwards."""
    x, y, step = -optics[2] / optics[0], (row - optics[3]) / optics[1], 1 / optics[0]
    along_x, along_y, along_z = (
        away[0] * basis[0, 0] + away[1] * basis[0, 1],
        away[0] * basis[1, 0] + away[1] * basis[1, 1],
        away[0] * basis[2, 0] + away[1] * basis[2, 1],
    )
    aside_x, aside_y, aside_z = (
        away[0] * basis[0, 1] - away[1] * basis[0, 0],
        away[0] * basis[1, 1] - away[1] * basis[1, 0],
        away[0] * basis[2, 1] - away[1] * basis[2, 0],
    )
    along, aside = along_x * x + along_y * y + along_z, aside_x * x + aside_y * y + aside_z
    down = -(basis[0, 2] * x + basis[1, 2] * y + basis[2, 2])
    return along, along_x * step, aside, aside_x * step, down, -basis[0, 2] * step
