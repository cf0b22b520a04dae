"""Depth images: decoded to metres, and registered to colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import MAX_DEPTH_M, MIN_DEPTH_M, Intrinsics
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.core.geometry import Transform

NEAREST_PLAUSIBLE_M = 0.05
"""No depth camera measures nearer than this."""
FARTHEST_REACH_M = 3.0
"""What is farther from a camera is out of reach of a robot beside it; large grippers are for farther scenes."""
_REACH_OPENINGS = 25.0
_MILLIMETRE_M = 0.001
_MESSAGES_UNITS = "16-bit depth (16UC1) must be millimetres, floating-point depth (32FC1) metres"
_LOOKED_AT_EVERY_PX = 8
_FEWEST_LOOKED_AT = 50
_LEAST_SHARE_IN_RANGE = 0.01

_MAX_SPLATS = 100_000_000
"""Points times the pixels that each is splatted over: more is no camera beside another, and would take minutes."""

_SEAM_PX = 1e-3
"""Footprints of neighbouring depth pixels overlap by this, so that rounding opens no gap between them."""


def decode_depth(raw: NDArray, unit_m: float | None = None) -> NDArray[np.float32]:
    """Depth as float32 metres with 0 for no measurement, from a camera's raw image.

    Args:
        raw: (H, W) uint16 (REP-118 millimetres unless `unit_m` says otherwise) or floating point metres.
        unit_m: metres per unit of a uint16 image, for files that name it; a ROS image never needs it.

    Returns:
        (H, W) float32. NaN, infinities, negatives and values outside `MIN_DEPTH_M` to `MAX_DEPTH_M` become 0.

    Raises:
        ValueError: for another dtype or shape, a unit that is not positive, or values that are nearly all beyond
            `MAX_DEPTH_M`, as millimetres are that somebody says to be metres.
    """
    if raw.ndim != 2:
        raise ValueError(f"a depth image has two dimensions, not {raw.ndim}")
    if raw.dtype.kind == "u" and raw.dtype.itemsize == 2:
        unit = _MILLIMETRE_M if unit_m is None else unit_m
        if not (np.isfinite(unit) and unit > 0):
            raise ValueError(f"depth_unit_m must be positive, not {unit_m}")
        depth_m = np.empty(raw.shape, np.float32)
        least_m, most_m = np.float32(MIN_DEPTH_M), np.float32(MAX_DEPTH_M)
        _to_metres(np.ascontiguousarray(raw, np.uint16), np.float32(unit), least_m, most_m, depth_m)
        if unit > _MILLIMETRE_M:  # in millimetres nothing is that far but codes of no measurement, such as 65535
            says = f"its unit is said to be depth_unit_m {unit:g}"
            _check_metres(raw * np.float32(unit), int(np.count_nonzero(depth_m)), says, "Then it is 0.001")
        return depth_m
    elif raw.dtype.kind == "f":
        if unit_m not in (None, 1.0):
            raise ValueError(f"a floating-point depth image is in metres already; depth_unit_m={unit_m} does not apply")
        depth_m = raw.astype(np.float32)
    else:
        raise ValueError(f"a depth image is uint16 or floating point, not {raw.dtype}")
    valid = (depth_m >= MIN_DEPTH_M) & (depth_m <= MAX_DEPTH_M)  # False for NaN too
    cure = "Divide them by 1000, or give 16-bit millimetres (16UC1)"
    _check_metres(depth_m, int(np.count_nonzero(valid)), "floating-point depth is in metres", cure)
    return np.where(valid, depth_m, np.float32(0))


@kernel("uint16[:, ::1]", "float32", "float32", "float32", "float32[:, ::1]", writes=("depth_m",))
def _to_metres(
    raw: NDArray[np.uint16],
    unit_m: np.float32,
    least_m: np.float32,
    most_m: np.float32,
    depth_m: NDArray[np.float32],
) -> None:
    """Of whole numbers of a unit, 0 for those out of range; in one pass, since every frame comes this way."""
    for y in range(raw.shape[0]):
        for x in range(raw.shape[1]):
            own_m = np.float32(raw[y, x]) * unit_m
            depth_m[y, x] = own_m if (own_m >= least_m) & (own_m <= most_m) else np.float32(0)


def _check_metres(depth_m: NDArray[np.float32], in_range: int, says: str, cure: str) -> None:
    beyond = depth_m[(depth_m > MAX_DEPTH_M) & np.isfinite(depth_m)] if in_range < depth_m.size // 2 else depth_m[:0]
    if beyond.size >= _FEWEST_LOOKED_AT and in_range < _LEAST_SHARE_IN_RANGE * beyond.size:
        raise ValueError(
            f"{says}, but nearly all values lie beyond {MAX_DEPTH_M:g} m, half of them beyond {np.median(beyond):.4g}: "
            f"are they millimetres? {cure}"
        )


def scale_fault(depth_m: NDArray[np.float32], max_opening_m: float, cure: str = _MESSAGES_UNITS) -> str:
    """What speaks against the unit of a depth image, with the cure; empty for nothing.

    Args:
        depth_m: (H, W) float32, metres, 0 = no measurement.
        max_opening_m: of the gripper: one that opens wide is for scenes farther away.
        cure: what the unit should be, in words.
    """
    looked_at = depth_m[::_LOOKED_AT_EVERY_PX, ::_LOOKED_AT_EVERY_PX]
    measured_m = looked_at[looked_at > 0]
    if measured_m.size < _FEWEST_LOOKED_AT:
        return ""
    near_m, middle_m = np.percentile(measured_m, [5, 50])
    reach_m = max(FARTHEST_REACH_M, _REACH_OPENINGS * max_opening_m)
    if middle_m < NEAREST_PLAUSIBLE_M:
        return (
            f"half of what was measured lies within {middle_m * 1000:.3g} mm, nearer than a depth camera can measure; "
            f"is the depth's unit right? {cure}"
        )
    if near_m > reach_m:
        return (
            f"nearly all that was measured lies beyond {near_m:.3g} m, and nothing farther than {reach_m:.3g} m can be "
            f"grasped from here; is the depth's unit right? {cure}"
        )
    return ""


def check_depth_size(depth_m: NDArray[np.float32], intrinsics: Intrinsics) -> None:
    """Raises ValueError for a depth image (H, W) of another size than its camera."""
    if depth_m.shape != (intrinsics.height, intrinsics.width):
        raise ValueError(
            f"depth is {depth_m.shape[1]}x{depth_m.shape[0]} but its CameraInfo says "
            f"{intrinsics.width}x{intrinsics.height}"
        )


def register_depth(
    depth_m: NDArray[np.float32],
    depth_intrinsics: Intrinsics,
    color_intrinsics: Intrinsics,
    T_color_depth: Transform,
) -> NDArray[np.float32]:
    """Depth as the colour camera would see it: a forward projection with a z-buffer.

    A depth pixel covers about (f_color / f_depth) pixels of the colour image, so every point is splatted over a square
    of that size; the nearest point wins a pixel.

    Args:
        depth_m: (Hd, Wd) float32, metres, 0 = no measurement.
        T_color_depth: pose of the depth camera in the colour camera's optical frame.

    Returns:
        (Hc, Wc) float32, metres along the colour camera's axis, 0 where no point falls.

    Raises:
        ValueError: the depth image has another size than its camera, or its pixels are huge beside those of colour.
    """
    check_depth_size(depth_m, depth_intrinsics)
    width, height = color_intrinsics.width, color_intrinsics.height
    points_m = T_color_depth.apply(depth_intrinsics.back_project(depth_m)[depth_m > 0])
    points_m = points_m[(points_m[:, 2] > 1e-3) & (points_m[:, 2] <= MAX_DEPTH_M)]
    # Half of a depth pixel's footprint around its projected centre, in colour pixels at equal depth; at least the pixel
    # that the point falls into.
    half_x = max(0.5, 0.5 * color_intrinsics.fx / depth_intrinsics.fx)
    half_y = max(0.5, 0.5 * color_intrinsics.fy / depth_intrinsics.fy)
    if len(points_m) * np.ceil(2 * half_x) * np.ceil(2 * half_y) > _MAX_SPLATS:
        raise ValueError(
            f"one depth pixel would cover {2 * half_x:.0f}x{2 * half_y:.0f} pixels of colour: the focal lengths "
            f"{depth_intrinsics.fx:g} px of depth and {color_intrinsics.fx:g} px of colour do not belong together"
        )
    half = np.array([half_x, half_y])
    pixels = color_intrinsics.project(points_m)
    first_x, first_y = np.ceil(pixels - half).astype(np.int64).T
    end_x, end_y = (pixels + half + _SEAM_PX).T
    registered = np.full(height * width, np.inf, dtype=np.float32)
    for step_y in range(int(np.ceil(2 * half_y))):
        for step_x in range(int(np.ceil(2 * half_x))):
            x, y = first_x + step_x, first_y + step_y
            inside = (x >= 0) & (x < np.minimum(width, end_x)) & (y >= 0) & (y < np.minimum(height, end_y))
            np.minimum.at(registered, y[inside] * width + x[inside], points_m[inside, 2])
    registered[np.isinf(registered)] = 0
    return registered.reshape(height, width)
