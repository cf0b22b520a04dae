"""Least-squares planes around each pixel of an organised depth image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

_MIN_WINDOW_SHARE = 0.15
"""A window with fewer of its pixels measured than this gives no plane: what is fitted there is noise."""
_MIN_SPREAD = 1e-4
"""The determinant of the covariance of a window's pixels, in radii: with less they lie on a line."""
_MIN_INVERSE_DEPTH = 1e-3
"""Per metre: a plane that would be farther away at its pixel, or behind the camera, is none."""


@inner
def fit_windows(
    depth_m: NDArray[np.float32], keep: NDArray[np.bool_], wanted: NDArray[np.bool_], radius_px: int
) -> NDArray[np.float32]:
    """Planes (3, h, w) that are fitted around pixels to those of `keep` in a square window, for kernels.

    A plane is linear in inverse depth, 1 / z = inverse depth + slope_x * du + slope_y * dv, and the noise of the
    measurement is in z alone, so that ordinary least squares there has no bias towards the camera; and the fit says
    what depth the surface would have at a pixel that was not kept. First is the inverse depth at the pixel itself, 0
    where it is not wanted or its window holds too few pixels; then how it changes per pixel to the right and down.

    Args:
        depth_m: (h, w) metres, above 0 where `keep`.
        keep, wanted: (h, w) the pixels of one surface, and those that get a plane.
        radius_px: half the window's side, > 0; a window has 2 * radius + 1 pixels a side.

    The sums over a window of inverse depth b and of the offsets u and v from its middle follow from those of the window
    to its left and of the columns of its rows, and those of the columns from the row above: what a pixel costs does not
    grow with the radius. Where the last wanted pixel of the row is farther off than that, it begins anew.
    """
    height, width = keep.shape
    r, planes = radius_px, np.empty((3, height, width), dtype=np.float32)
    planes[0] = 0
    inverse = np.empty((height, width), dtype=np.float32)
    _invert(depth_m.reshape(-1), keep.reshape(-1), inverse.reshape(-1))
    # Of each column of the windows of a row, over the pixels that are kept: how many, v, v * v, b, and b * v.
    columns = np.zeros((5, width))
    least_count = max(6.0, _MIN_WINDOW_SHARE * (2 * r + 1) ** 2)
    nothing = np.zeros(width, dtype=np.float32)
    for y in range(-r, height):
        leaving = inverse[y - 1 - r] if y - 1 - r >= 0 else nothing
        entering = inverse[y + r] if y + r < height else nothing
        _move_down(leaving, entering, float(r), columns[0], columns[1], columns[2], columns[3], columns[4])
        if y < 0:
            continue
        n = su = sv = suu = suv = svv = sb = sbu = sbv = 0.0
        first, at = 0, -width - r  # the first of the columns that are in the window, and its middle
        for x in range(width):
            if not wanted[y, x]:
                continue
            if x - at > r:
                n = su = sv = suu = suv = svv = sb = sbu = sbv = 0.0
                first = max(x - r, 0)
                at = first - r - 1
            while at < x:
                at += 1
                left, right = at - 1 - r, at + r
                if left >= first:  # leaves at u = -r
                    c, cv, cb = columns[0, left], columns[1, left], columns[3, left]
                    n, su, suu = n - c, su + r * c, suu - r * r * c
                    sv, suv, svv = sv - cv, suv + r * cv, svv - columns[2, left]
                    sb, sbu, sbv = sb - cb, sbu + r * cb, sbv - columns[4, left]
                suu, su, suv, sbu = suu - 2 * su + n, su - n, suv - sv, sbu - sb
                if right < width:  # enters at u = r
                    c, cv, cb = columns[0, right], columns[1, right], columns[3, right]
                    n, su, suu = n + c, su + r * c, suu + r * r * c
                    sv, suv, svv = sv + cv, suv + r * cv, svv + columns[2, right]
                    sb, sbu, sbv = sb + cb, sbu + r * cb, sbv + columns[4, right]
            if n < least_count:
                continue
            # Cramer's rule on the normal equations about the window's mean.
            mu, mv, mb = su / n, sv / n, sb / n
            uu, uv, vv = suu - su * mu, suv - su * mv, svv - sv * mv
            bu, bv = sbu - su * mb, sbv - sv * mb
            determinant = uu * vv - uv * uv
            if determinant <= _MIN_SPREAD * (n * r * r) ** 2:
                continue
            along_x, along_y = (vv * bu - uv * bv) / determinant, (uu * bv - uv * bu) / determinant
            here = mb - mu * along_x - mv * along_y
            if here > _MIN_INVERSE_DEPTH:
                planes[0, y, x], planes[1, y, x], planes[2, y, x] = here, along_x, along_y
    return planes


# Loops without branches over arrays of their own, which the processor does for several pixels at a time.
@inner
def _invert(depth_m: NDArray[np.float32], keep: NDArray[np.bool_], inverse: NDArray[np.float32]) -> None:
    """1 / depth (N,) of the pixels that are kept, 0 of others."""
    for n in range(len(depth_m)):
        inverse[n] = np.float32(1) / depth_m[n] if keep[n] else np.float32(0)


@inner
def _move_down(
    leaving: NDArray[np.float32],
    entering: NDArray[np.float32],
    radius_px: float,
    count: NDArray[np.float64],
    v: NDArray[np.float64],
    vv: NDArray[np.float64],
    b: NDArray[np.float64],
    bv: NDArray[np.float64],
) -> None:
    """The sums (w,) over the columns of the windows around a row become those of the windows around the row below.

    Args:
        leaving, entering: (w,) inverse depth of the row that was at v = -radius, and of that which comes to v = radius.
    """
    for x in range(len(count)):
        old, new = np.float64(leaving[x]), np.float64(entering[x])
        old_kept, new_kept = 1.0 if old > 0 else 0.0, 1.0 if new > 0 else 0.0
        stays, stays_v, stays_b = count[x] - old_kept, v[x] + radius_px * old_kept, b[x] - old
        stays_vv, stays_bv = vv[x] - radius_px * radius_px * old_kept, bv[x] + radius_px * old
        count[x], b[x] = stays + new_kept, stays_b + new
        vv[x] = stays_vv + (stays - 2 * stays_v) + radius_px * radius_px * new_kept
        v[x] = stays_v - stays + radius_px * new_kept
        bv[x] = stays_bv - stays_b + radius_px * new


@inner
def on_plane(
    planes: NDArray[np.float32],
    x: int,
    y: int,
    u: int,
    v: int,
    left: int,
    top: int,
    optics: tuple[float, float, float, float],
) -> tuple[float, float, float]:
    """Where the line of sight of pixel (u, v) of a crop meets the plane of pixel (x, y)."""
    inverse = float(planes[0, y, x]) + (u - x) * float(planes[1, y, x]) + (v - y) * float(planes[2, y, x])
    depth_m = 1.0 / max(inverse, _MIN_INVERSE_DEPTH)
    return (left + u - optics[2]) / optics[0] * depth_m, (top + v - optics[3]) / optics[1] * depth_m, depth_m


def grown_over_surface(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    core: NDArray[np.bool_],
    radius_px: int,
    tolerance: tuple[float, float],
) -> NDArray[np.bool_]:
    """(h, w) bool: a core, and the measured pixels of the mask that lie on its surface.

    Args:
        depth_m, inside, core: (h, w) crops of the depth, of the mask, and of the part of it that is kept anyhow.
        radius_px: of the windows of `fit_windows`, in which the surface of the core is looked at.
        tolerance: a pixel is on the surface within the larger of the first, metres, and the second times its depth.
    """
    return _grow(depth_m, inside, core, radius_px, tolerance[0], tolerance[1])


@kernel("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", "int64", "float64", "float64")
def _grow(
    depth_m: NDArray[np.float32],
    inside: NDArray[np.bool_],
    core: NDArray[np.bool_],
    radius_px: int,
    tolerance_m: float,
    tolerance_ratio: float,
) -> NDArray[np.bool_]:
    """The pixels of `grown_over_surface`."""
    wanted, grown = np.empty(core.shape, np.bool_), np.empty(core.shape, np.bool_)
    _only_in_first(inside.reshape(-1), core.reshape(-1), wanted.reshape(-1))
    planes = fit_windows(depth_m, core, wanted, radius_px)
    for y in range(depth_m.shape[0]):
        for x in range(depth_m.shape[1]):
            own_m, kept = depth_m[y, x], core[y, x]
            if not kept and inside[y, x] and own_m > 0 and planes[0, y, x] > 0:
                off_m = abs(own_m - np.float32(1) / planes[0, y, x])
                kept = off_m < max(np.float32(tolerance_m), own_m * np.float32(tolerance_ratio))
            grown[y, x] = kept
    return grown


@inner
def _only_in_first(first: NDArray[np.bool_], second: NDArray[np.bool_], only: NDArray[np.bool_]) -> None:
    """Whether pixels (N,) are in the first and not in the second."""
    for n in range(len(only)):
        only[n] = first[n] & (not second[n])


def window_radius_px(depth_m: float, focal_px: float, half_side_m: float = 0.007) -> int:
    """Half the side in pixels, 3 to 8, of the window that spans twice `half_side_m` at this depth."""
    return min(max(round(half_side_m * focal_px / depth_m), 3), 8)
