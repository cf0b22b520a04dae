"""How far a frame's depth is off together, over as much as an object: of the plane that it shows, and beside its masks.

What single pixels are off by averages out over an object. What neighbours share does not: cameras see surfaces that
swell by millimetres (block matching, multipath), and depth that was registered to colour lies a pixel beside it. Both
are measured in each frame, since no two cameras are alike: the first on the background's plane, which is flat, and the
second by where depth ends beside where masks end, on either side of each object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.lifting.order_statistics import median, median_of_first

FloatArray = NDArray[np.float64]

FLOOR_M = 0.0004
_USUAL_PER_M2, _USUAL_PX = 0.0015, 0.5
"""What is usual: swelling at 1 m, which grows with the square of the distance, and how far depth lies beside the masks
of an image of `_WIDTH_PX`."""
_BLOCKS, _SIDES = 4, 2
"""What is usual counts as much as so many blocks of the plane, and as so many pairs of sides."""
_WIDTH_PX = 640
_BLOCK_PX, _STRIDE_PX, _BLOCK_SHARE = 32, 8, 0.3
"""The plane is looked at in blocks about as large as small objects, at every so many pixels, where so much of a block
is seen."""
_FLATTEST, _TOLERANCES = 0.35, 2.0
"""Of a plane that is seen at a sine below the first nothing is said: the least tilt would look like swelling. And what
is farther from it along the line of sight than so many tolerances is no part of it."""
_WINDOW_PX, _EDGE_PX = 8, 2
"""Depth's own end is looked for so far on either side of a mask's, and what is nearer to it than the second may belong
to either side."""
_LEAST_STEP_M, _OF_EITHER = 0.02, 0.3
"""The background is farther off by at least the first; what departs from a side by less than this share of the step is
of that side."""
_LINES_STRIDE, _FEWEST_LINES = 2, 4
"""A mask is looked at in every so many rows and columns, and tells by no fewer of them at either side."""
_MEDIAN_APART = 0.954
"""Of two numbers with the same normal distribution, in its standard deviations."""


@dataclass(frozen=True)
class CameraNoise:
    """What a frame's depth is off by together, over as much as an object.

    Attributes:
        swelling_per_m2: standard deviation of depth at 1 m; it grows with the square of the distance.
        beside_px: standard deviation of the place of depth in the image, along rows and along columns.
        focal_px: of the image.
    """

    swelling_per_m2: float
    beside_px: float
    focal_px: float

    @classmethod
    def of(cls, frame: RgbdFrame, instances: Instances, plane: Plane | None, tolerance_m: float) -> CameraNoise:
        """What is measured in a frame, and what is usual where little of it can be.

        Args:
            plane: that of the background; None where none was found.
            tolerance_m: what is farther from the plane is no part of it.
        """
        camera, scale = frame.intrinsics, frame.intrinsics.width / _WIDTH_PX
        depth_m, masks = np.ascontiguousarray(frame.depth_m), np.ascontiguousarray(instances.masks)
        bounds = np.array(instances.bounds, dtype=np.int64).reshape(-1, 4)
        sides_px = _beside_px(depth_m, masks, bounds, max(round(_WINDOW_PX * scale), 4)).reshape(-1, 2)
        sides_px += instances.color_moved_px  # masks lie where colour was moved to, and that it had to be is noise, too
        known_px = sides_px[np.isfinite(sides_px)]
        usual_px = scale * _USUAL_PX
        beside_px = math.sqrt((_SIDES * usual_px**2 + float(known_px @ known_px)) / (_SIDES + len(known_px)))
        variance, blocks = 0.0, 0
        if plane is not None:
            block_px = max(round(_BLOCK_PX * scale / _STRIDE_PX), 2) * _STRIDE_PX
            optics = camera.fx, camera.fy, camera.cx, camera.cy
            at = *plane.normal.tolist(), plane.offset_m
            off, white, slope = _blocks(depth_m, masks, bounds, optics, at, block_px, tolerance_m)
            blocks = len(off)
            if blocks:
                spread = 1.4826 * median(np.abs(off - median(off)))
                variance = max(spread**2 - white - (_varied_px(sides_px) * slope) ** 2, 0.0)
        swelling_per_m2 = math.sqrt((_BLOCKS * _USUAL_PER_M2**2 + blocks * variance) / (_BLOCKS + blocks))
        return cls(swelling_per_m2, beside_px, camera.fx)

    def covariance_m2(self, at_m: FloatArray) -> FloatArray:
        """Covariance (3, 3) of where something at (3,) is seen, in the camera's optical frame."""
        return _covariance_m2(np.ascontiguousarray(at_m), self.swelling_per_m2, self.beside_px / self.focal_px)


@kernel("float64[::1]", "float64", "float64")
def _covariance_m2(at_m: FloatArray, swelling_per_m2: float, beside: float) -> FloatArray:
    """`CameraNoise.covariance_m2`; `beside` is across the line of sight, at 1 m."""
    squared_m2 = at_m[0] * at_m[0] + at_m[1] * at_m[1] + at_m[2] * at_m[2]
    along_m2 = FLOOR_M**2 + (swelling_per_m2 * squared_m2) ** 2
    across_m2 = FLOOR_M**2 + beside**2 * squared_m2
    covariance_m2 = np.empty((3, 3))
    for i in range(3):
        for k in range(3):
            covariance_m2[i, k] = (along_m2 - across_m2) * at_m[i] * at_m[k] / max(squared_m2, 1e-12)
        covariance_m2[i, i] += across_m2
    return covariance_m2


@kernel("float64[:, ::1]")
def _varied_px(sides_px: FloatArray) -> float:
    """Standard deviation, from place to place, of how far depth lies beside masks (N, 2), NaN where it is not known.

    What lies beside by as much everywhere makes a plane look shifted, and not as if it swelled; and what is in the
    wrong place may be the masks, all of them or one. So it is told by the median of how far two of them differ.
    """
    apart_px, count = np.empty(len(sides_px) * (len(sides_px) - 1)), 0
    for first in range(len(sides_px)):
        for second in range(first):
            for axis in range(2):
                own_px = abs(sides_px[first, axis] - sides_px[second, axis])
                if not math.isnan(own_px):
                    apart_px[count] = own_px
                    count += 1
    return median_of_first(apart_px, count) / _MEDIAN_APART if count else 0.0


@kernel(
    *("float32[:, ::1]", "boolean[:, :, ::1]", "int64[:, ::1]"),
    *("UniTuple(float64, 4)", "UniTuple(float64, 4)", "int64", "float64"),
)
def _blocks(
    depth_m: NDArray[np.float32],
    masks: NDArray[np.bool_],
    bounds: NDArray[np.int64],
    optics: tuple[float, float, float, float],
    plane: tuple[float, float, float, float],
    block_px: int,
    tolerance_m: float,
) -> tuple[FloatArray, float, float]:
    """How far depth is off a plane in the mean of blocks (B,), as if seen at 1 m, off along the line of sight.

    And the variance that single pixels leave in that, and how far off it is (root mean square) where depth lies a pixel
    beside its place, since the plane is seen aslant.

    Args:
        masks: (N, H, W) what is no background.
        bounds: (N, 4) their left, top, width and height.
        optics: fx, fy, cx, cy.
        plane: its normal and its offset.
    """
    height, width = depth_m.shape
    rows, columns = (height + _STRIDE_PX - 1) // _STRIDE_PX, (width + _STRIDE_PX - 1) // _STRIDE_PX
    taken = np.zeros((rows, columns), dtype=np.bool_)
    for n in range(len(masks)):
        left, top, wide, high = bounds[n, 0], bounds[n, 1], bounds[n, 2], bounds[n, 3]
        for i in range((top + _STRIDE_PX - 1) // _STRIDE_PX, (top + high - 1) // _STRIDE_PX + 1):
            for j in range((left + _STRIDE_PX - 1) // _STRIDE_PX, (left + wide - 1) // _STRIDE_PX + 1):
                taken[i, j] |= masks[n, i * _STRIDE_PX, j * _STRIDE_PX]
    cells = block_px // _STRIDE_PX
    down, across = rows // cells, columns // cells
    totals, slope = np.zeros((down, across, 4)), 0.0
    for i in range(down * cells):
        y = (i * _STRIDE_PX - optics[3]) / optics[1]
        for j in range(across * cells):
            own_m = float(depth_m[i * _STRIDE_PX, j * _STRIDE_PX])
            if own_m <= 0 or taken[i, j]:
                continue
            x = (j * _STRIDE_PX - optics[2]) / optics[0]
            sine = plane[0] * x + plane[1] * y + plane[2]
            squared = x * x + y * y + 1
            if sine * sine < _FLATTEST * _FLATTEST * squared:
                continue
            off_m = own_m + plane[3] / sine
            if abs(off_m) < _TOLERANCES * tolerance_m:
                off = off_m / (own_m * own_m)
                block = totals[i // cells, j // cells]
                block[0] += 1
                block[1] += off
                block[2] += off * off
                block[3] += (squared / (sine * sine) - 1) / (own_m * own_m)
    means, count, white = np.empty(down * across), 0, 0.0
    for i in range(down):
        for j in range(across):
            pixels = totals[i, j, 0]
            if pixels >= _BLOCK_SHARE * cells * cells:
                mean = totals[i, j, 1] / pixels
                means[count] = mean
                white += max(totals[i, j, 2] / pixels - mean * mean, 0.0) / pixels
                slope += totals[i, j, 3] / pixels
                count += 1
    return means[:count], white / max(count, 1), math.sqrt(slope / max(count, 1)) / optics[0]


@kernel("float32[:, ::1]", "boolean[:, :, ::1]", "int64[:, ::1]", "int64")
def _beside_px(
    depth_m: NDArray[np.float32], masks: NDArray[np.bool_], bounds: NDArray[np.int64], window_px: int
) -> FloatArray:
    """How far depth lies beside each of the masks (N, H, W), in pixels, rightwards and downwards in turn, (2 N,).

    That is half of how much farther out it reaches on the one side than on the other, so that it does not matter how
    generous a mask is; NaN where either side is not beside a background that is farther off.

    Args:
        bounds: (N, 4) left, top, width and height of the masks.
        window_px: how far it is looked for on either side of a mask's end.
    """
    found, values, some = np.empty(2 * len(masks)), np.empty(2 * window_px), np.empty(window_px)
    for n in range(len(masks)):
        left, top, wide, high = bounds[n, 0], bounds[n, 1], bounds[n, 2], bounds[n, 3]
        for axis in range(2):
            lines, length = (high, wide) if axis == 0 else (wide, high)
            total_px, count = np.zeros(2), np.zeros(2)
            for line in range(0, lines, _LINES_STRIDE):
                for side in range(2):
                    end = -1
                    for k in range(length):
                        along = k if side == 0 else length - 1 - k
                        row, column = (top + line, left + along) if axis == 0 else (top + along, left + line)
                        if masks[n, row, column]:
                            end = along
                            break
                    if end < 0:
                        break
                    row, column = (top + line, left + end) if axis == 0 else (top + end, left + line)
                    out_px = _out_px(depth_m, row, column, axis, -1 if side == 0 else 1, values, some)
                    if not math.isnan(out_px):
                        total_px[side] += out_px
                        count[side] += 1
            enough = count[0] >= _FEWEST_LINES and count[1] >= _FEWEST_LINES
            found[2 * n + axis] = (total_px[1] / count[1] - total_px[0] / count[0]) / 2 if enough else math.nan
    return found


@inner
def _out_px(
    depth_m: NDArray[np.float32],
    row: int,
    column: int,
    axis: int,
    outwards: int,
    values: FloatArray,
    some: FloatArray,
) -> float:
    """How far beyond the last pixel of a mask's line its depth ends; NaN where the background is not that much farther.

    Args:
        row, column: of that pixel.
        axis: 0 for a line that is a row, 1 for a column.
        outwards: 1 or -1, along it.
        values, some: (2 W,) and (W,) written over; W pixels are looked at on either side of the mask's end.
    """
    window_px = len(some)
    for k in range(2 * window_px):  # from inside to outside; the mask's last pixel is at window_px - 1
        step = outwards * (k - window_px + 1)
        i, j = (row, column + step) if axis == 0 else (row + step, column)
        if not (0 <= i < depth_m.shape[0] and 0 <= j < depth_m.shape[1]):
            return math.nan
        values[k] = depth_m[i, j]
    count = 0
    for k in range(window_px - _EDGE_PX):
        if values[k] > 0:
            some[count] = values[k]
            count += 1
    if count < (window_px - _EDGE_PX) // 2:
        return math.nan
    near_m, count = _median_of_few(some, count), 0
    for k in range(window_px + _EDGE_PX, 2 * window_px):
        if values[k] > 0:
            some[count] = values[k]
            count += 1
    if count < max((window_px - _EDGE_PX) // 3, 1):
        return math.nan
    step_m = _median_of_few(some, count) - near_m
    if step_m < _LEAST_STEP_M:
        return math.nan
    first_far = 2 * window_px
    for k in range(2 * window_px):
        if values[k] > near_m + (1 - _OF_EITHER) * step_m:
            first_far = k
            break
    last_near = -1
    for k in range(first_far):
        if 0 < values[k] < near_m + _OF_EITHER * step_m:
            last_near = k
    if last_near < 0 or first_far - last_near - 1 > window_px // 2:
        return math.nan
    return (last_near + first_far) / 2 - window_px + 0.5


@inner
def _median_of_few(values: FloatArray, count: int) -> float:
    """Of the first so many, which are put in order: of as few as here that is quicker than to part them."""
    for i in range(1, count):
        own, k = values[i], i
        while k > 0 and values[k - 1] > own:
            values[k] = values[k - 1]
            k -= 1
        values[k] = own
    upper = values[count // 2]
    return upper if count % 2 else (values[count // 2 - 1] + upper) / 2
