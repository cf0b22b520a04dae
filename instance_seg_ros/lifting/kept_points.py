"""The points of an object: its kept pixels, some of them with the noise smoothed out, and its rim without depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.local_planes import fit_windows, on_plane
from instance_seg_ros.lifting.masks import count_of, dilated, eroded

FloatArray = NDArray[np.float64]
_MAX_OUTLINE_POINTS, _MAX_FEW_POINTS = 800, 300
_GOLDEN = (5**0.5 - 1) / 2
_RIM_M, _RIM_UNSURE_PX = 0.004, 1
"""A local plane is trusted to go on by the first in pixels without depth, where they are more than the second from the
edge of the mask."""


@dataclass(frozen=True, eq=False)
class KeptPoints:
    """The kept pixels of one instance, with the noise smoothed out of them.

    Attributes:
        points_m: (P, 3) float32, as measured.
        pixels: (P,) int64, index in the flattened image, ascending.
        few_m: (R, 3) float32, `_MAX_FEW_POINTS` of them at most, one in so many, smoothed: on the local plane of the
            pixel; the measurement where there is none.
        outline_m: (Q, 3) float64, smoothed likewise, about `_MAX_OUTLINE_POINTS` at most, evenly over the pixels.
        normals: (Q, 3) float64, those of the local planes there, towards the camera; zeros where there is none.
        rim_m: (R, 3) float64, where the local planes go on in pixels of the mask beside these that have no depth, as
            cameras lose it along an object's edges. The object reaches so far, but nothing was measured there.
        beside_steps: whether a good part of them is on depth steps, where cameras are often wrong: see
            `walls_beside_steps`.
    """

    points_m: NDArray[np.float32]
    pixels: NDArray[np.int64]
    few_m: NDArray[np.float32]
    outline_m: NDArray[np.float64]
    normals: NDArray[np.float64]
    rim_m: NDArray[np.float64]
    beside_steps: bool = False


def rim_beside(
    depth_m: NDArray[np.float32], inside: NDArray[np.bool_], kept: NDArray[np.bool_], median_m: float, focal_px: float
) -> NDArray[np.bool_]:
    """(h, w) bool: the pixels of a mask beside the kept ones that have no depth; see `KeptPoints.rim_m`.

    Args:
        depth_m, inside, kept: (h, w) crops of the depth, of the mask, and of what is kept of it.
        median_m: depth of most of it.
    """
    rim = np.empty(inside.shape, dtype=bool)
    if _mark_unmeasured(depth_m, inside, rim):
        reach_px = round(_RIM_M * focal_px / median_m)
        rim &= eroded(inside, 2 * _RIM_UNSURE_PX + 1) & dilated(kept, 2 * reach_px + 1)
    return rim


@kernel("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", writes=("unmeasured",))
def _mark_unmeasured(depth_m: NDArray[np.float32], inside: NDArray[np.bool_], unmeasured: NDArray[np.bool_]) -> bool:
    """Marks the pixels (h, w) of a mask without depth; whether there is any."""
    own_m, own, marked = depth_m.reshape(-1), inside.reshape(-1), unmeasured.reshape(-1)
    for n in range(len(marked)):
        marked[n] = own[n] & (own_m[n] == 0)
    return count_of(marked) > 0


def kept_points(
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    radius_px: int,
    tolerance: tuple[float, float],
    corner_px: tuple[int, int],
    camera: Intrinsics,
    rim: NDArray[np.bool_],
) -> KeptPoints:
    """The kept pixels of an instance, and some of them with the noise smoothed out.

    Args:
        depth_m, kept: (h, w) crops of the depth, and of what is kept of the mask.
        radius_px: of the windows of `fit_windows`.
        tolerance: a measurement is moved on to its plane by less than the larger of the first, metres, and the second
            times its depth; farther off it lies beside an edge of the surface, and stays.
        corner_px: column and row of the crop in the image.
        rim: (h, w) crop of `rim_beside`.
    """
    corner = corner_px[0], corner_px[1], camera.width
    optics = camera.fx, camera.fy, camera.cx, camera.cy
    return KeptPoints(*_keep(depth_m, kept, rim, radius_px, tolerance, corner, optics))


@kernel(
    *("float32[:, ::1]", "boolean[:, ::1]", "boolean[:, ::1]", "int64"),
    *("UniTuple(float64, 2)", "UniTuple(int64, 3)", "UniTuple(float64, 4)"),
)
def _keep(
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    rim: NDArray[np.bool_],
    radius_px: int,
    tolerance: tuple[float, float],
    corner: tuple[int, int, int],
    optics: tuple[float, float, float, float],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], FloatArray, FloatArray, FloatArray]:
    """What `KeptPoints` has.

    Args:
        corner: column and row of the crop in the image, and the width of that.
        optics: fx, fy, cx, cy.
    """
    wanted = rim.copy()
    count, outline_px, few_px = _choose(kept, wanted)
    planes = fit_windows(depth_m, kept, wanted, radius_px)  # for what is chosen and the rim alone
    pixels, measured_m = np.empty(count, np.int64), np.empty((count, 3), np.float32)
    few_m = np.empty((len(few_px), 3), np.float32)
    outline_m, normals = np.empty((len(outline_px), 3)), np.empty((len(outline_px), 3))
    _gather(
        *(depth_m, kept, planes, tolerance, corner, optics, outline_px, few_px),
        *(pixels, measured_m, few_m, outline_m, normals),
    )
    rim_m = np.empty((count_of(rim.reshape(-1)), 3))
    rim_count = _gather_rim(depth_m, kept, rim, planes, tolerance, corner[0], corner[1], optics, rim_m)
    return measured_m, pixels, few_m, outline_m, normals, rim_m[:rim_count]


@inner
def _choose(kept: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Chooses about `_MAX_OUTLINE_POINTS` of the kept pixels (h, w) at most, evenly over rows and columns.

    One in so many of each row, and each row starts farther right than the one above it. And one in so many of all, row
    by row, `_MAX_FEW_POINTS` at most.

    Args:
        wanted: (h, w) of zeros, set where a pixel is chosen.

    Returns:
        How many are kept, and the indices of both choices in the flattened crop.
    """
    height, width = kept.shape
    count = count_of(kept.reshape(-1))
    every, few_every = 1 + count // _MAX_OUTLINE_POINTS, 1 + count // _MAX_FEW_POINTS
    shift = _shift_of_rows(every)
    outline, few = np.empty(count, dtype=np.int64), np.empty(1 + count // few_every, dtype=np.int64)
    chosen, taken, to_next = 0, 0, 0
    for y in range(height):
        turn = shift * y % every  # counted on, since a division takes as long as all else
        for x in range(width):
            if kept[y, x]:
                outline[chosen] = y * width + x
                chosen += turn == 0
                if to_next == 0:
                    few[taken] = y * width + x
                    taken, to_next = taken + 1, few_every
                to_next -= 1
            turn = turn + 1 if turn + 1 < every else 0
    if not 2 * count <= 3 * every * chosen <= 4 * count:
        # The mask has a pattern of its own, such as a chessboard's, of which far more or none would be taken.
        chosen, seen = 0, 0
        for y in range(height):
            for x in range(width):
                if kept[y, x]:
                    if seen % every == 0:
                        outline[chosen] = y * width + x
                        chosen += 1
                    seen += 1
    for place in outline[:chosen]:
        wanted[place // width, place % width] = True
    for place in few[:taken]:
        wanted[place // width, place % width] = True
    return count, outline[:chosen].copy(), few[:taken].copy()


@inner
def _shift_of_rows(every: int) -> int:
    """By how much farther right each row begins than that above it, when one in so many of its pixels is taken.

    That no column is left out, both have no common divisor; about the golden section of `every` spreads them evenly.
    """
    shift = int(np.rint(_GOLDEN * every))
    while True:
        a, b = shift, every
        while b:
            a, b = b, a % b
        if a == 1:
            return shift
        shift += 1


@inner
def _gather(
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    planes: NDArray[np.float32],
    tolerance: tuple[float, float],
    corner: tuple[int, int, int],
    optics: tuple[float, float, float, float],
    outline_px: NDArray[np.int64],
    few_px: NDArray[np.int64],
    pixels: NDArray[np.int64],
    measured_m: NDArray[np.float32],
    few_m: NDArray[np.float32],
    outline_m: NDArray[np.float64],
    normals: NDArray[np.float64],
) -> None:
    """Fills the arrays of `kept_points`.

    Args:
        corner: column and row of the crop in the image, and the width of that.
        optics: fx, fy, cx, cy.
        outline_px, few_px: (Q,) and (R,) indices of those that are smoothed, in the flattened crop.
    """
    height, width = depth_m.shape
    left, top, image_width = corner
    fx, fy, cx, cy = optics
    rays_x = np.empty(width, dtype=np.float32)
    for x in range(width):
        rays_x[x] = (np.float32(left + x) - np.float32(cx)) / np.float32(fx)
    count = 0
    for y in range(height):
        ray_y = (np.float32(top + y) - np.float32(cy)) / np.float32(fy)
        for x in range(width):
            if kept[y, x]:
                own_m = depth_m[y, x]
                pixels[count] = (top + y) * image_width + left + x
                measured_m[count, 0], measured_m[count, 1], measured_m[count, 2] = (
                    rays_x[x] * own_m,
                    ray_y * own_m,
                    own_m,
                )
                count += 1
    for k in range(len(few_px)):
        y, x = few_px[k] // width, few_px[k] % width
        ray_y = (np.float32(top + y) - np.float32(cy)) / np.float32(fy)
        smooth = _smoothed(depth_m[y, x], planes[0, y, x], tolerance)
        few_m[k, 0], few_m[k, 1], few_m[k, 2] = rays_x[x] * smooth, ray_y * smooth, smooth
    for k in range(len(outline_px)):
        y, x = outline_px[k] // width, outline_px[k] % width
        ray_y = (np.float32(top + y) - np.float32(cy)) / np.float32(fy)
        smooth = _smoothed(depth_m[y, x], planes[0, y, x], tolerance)
        outline_m[k, 0], outline_m[k, 1], outline_m[k, 2] = rays_x[x] * smooth, ray_y * smooth, smooth
        for axis in range(3):
            normals[k, axis] = 0
        if planes[0, y, x] > 0:
            # Towards the camera: n . ray = 1 / z > 0 points away from it.
            n_x, n_y = -planes[1, y, x] * fx, -planes[2, y, x] * fy
            n_z = -planes[0, y, x] - (left + x - cx) / fx * n_x - (top + y - cy) / fy * n_y
            size = max(np.sqrt(n_x * n_x + n_y * n_y + n_z * n_z), 1e-12)
            normals[k, 0], normals[k, 1] = n_x / size, n_y / size
            normals[k, 2] = n_z / size


@inner
def _smoothed(own_m: np.float32, inverse_depth: np.float32, tolerance: tuple[float, float]) -> np.float32:
    """The depth of a pixel on its plane; as measured where there is none, or where that is too far off."""
    if inverse_depth <= 0:
        return own_m
    fitted_m = np.float32(1) / inverse_depth
    near = abs(own_m - fitted_m) < max(np.float32(tolerance[0]), own_m * np.float32(tolerance[1]))
    return fitted_m if near else own_m


@inner
def _gather_rim(
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    rim: NDArray[np.bool_],
    planes: NDArray[np.float32],
    tolerance: tuple[float, float],
    left: int,
    top: int,
    optics: tuple[float, float, float, float],
    rim_m: NDArray[np.float64],
) -> int:
    """Fills in where planes (3, h, w) are at the pixels of a rim (h, w), as far as they go on there; and says how many.

    See `_goes_on` for the other arguments.
    """
    count = 0
    for y in range(rim.shape[0]):
        for x in range(rim.shape[1]):
            if rim[y, x] and planes[0, y, x] > 0:
                at_m = on_plane(planes, x, y, x, y, left, top, optics)
                if _goes_on(at_m, depth_m, kept, planes, tolerance, x, y, left, top, optics):
                    rim_m[count, 0], rim_m[count, 1], rim_m[count, 2] = at_m
                    count += 1
    return count


@inner
def _goes_on(
    at_m: tuple[float, float, float],
    depth_m: NDArray[np.float32],
    kept: NDArray[np.bool_],
    planes: NDArray[np.float32],
    tolerance: tuple[float, float],
    x: int,
    y: int,
    left: int,
    top: int,
    optics: tuple[float, float, float, float],
) -> bool:
    """Whether the plane of a pixel holds a kept pixel that is no farther than `_RIM_M` from where it is itself.

    A plane that is seen at a grazing angle goes off by decimetres in a few pixels, and so does one from the edge of the
    object to the background, where a generous mask covers that.

    Args:
        at_m: of the pixel on its plane.
        tolerance: a kept pixel (h, w) lies on the plane within the larger of the first, metres, and the second times
            its depth.
        left, top: column and row of the crop in the image.
        optics: fx, fy, cx, cy.
    """
    reach_px = int(np.rint(_RIM_M * optics[0] / at_m[2]))
    for v in range(max(y - reach_px, 0), min(y + reach_px, kept.shape[0] - 1) + 1):
        for u in range(max(x - reach_px, 0), min(x + reach_px, kept.shape[1] - 1) + 1):
            if not kept[v, u]:
                continue
            beside_m = on_plane(planes, x, y, u, v, left, top, optics)
            off_x, off_y, off_z = beside_m[0] - at_m[0], beside_m[1] - at_m[1], beside_m[2] - at_m[2]
            if off_x * off_x + off_y * off_y + off_z * off_z <= _RIM_M**2:
                own_m = float(depth_m[v, u])
                if abs(own_m - beside_m[2]) < max(tolerance[0], own_m * tolerance[1]):
                    return True
    return False
