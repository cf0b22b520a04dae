"""How far depth lies beside colour in the image, and colour that is moved onto it.

Cameras register depth to colour by a calibration that is off by some pixels. A network that takes outlines from colour
then draws them beside the depth that the clouds are cut out of. So the offset is estimated, of each frame by itself:
near sides of depth's jumps are outlines of objects, where colour mostly changes, too. `core.edge_agreement` finds
offsets that are larger, and wrong, by the mean of frames.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

FloatArray = NDArray[np.float64]

_WORKING_WIDTH = 320
_BLUR_PX = 0.7
_REACH_PX, _WINDOW_PX, _GAP_PX = 5, 8, 8
"""At the working width: offsets that are tried, pixels of colour that are looked at on either side of an edge of depth,
and how wide a hole in the depth an edge may have."""
_STEP_RATIO, _STEP_M = 1.04, 0.015
"""Depth has an edge where it jumps by more than both."""
_AROUND_PX, _MOST_MISSING = 25, 0.25
"""Of an edge nothing is told where more of the depth is missing around it than this share: it may be that of a hole."""
_FAINT = 12.0
"""Added to the mean gradient around an edge, in grey levels times 8, so that noise on a plain surface counts little."""
_COLOR_CHANGES = 0.7
"""Share of depth's edges at which colour changes."""
_ALIKE, _MOST_EDGES = 20.0, 75.0
"""So many neighbouring pixels of edges tell as much as one that stands alone; and all edges together tell as much as so
many of these at most, since what is wrong with the model is wrong with all of them."""
_USUAL_PX, _TAIL = 1.0, 1.5
"""Before an image is looked at, offsets have a Student's t distribution in two dimensions of this scale, with so many
half degrees of freedom less one."""


def depth_beside_color_px(color_rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> FloatArray:
    """How far depth lies to the right of colour, and below it: the mean of what is likely, in pixels, (2,).

    An edge of depth that faces left and one that faces right disagree where near surfaces are measured too wide or too
    narrow; the width that fits both is found with the offset. At an edge, colour changes in `_COLOR_CHANGES` of all
    cases at the same distance, by a share of the gradient around, and anywhere in the others. 0 where nothing is known:
    depth has no edges, or too much of it is missing.

    Args:
        color_rgb: (H, W, 3).
        depth_m: (H, W), metres, 0 = no measurement.
    """
    step = max(1, round(depth_m.shape[1] / _WORKING_WIDTH))
    around_px = step + 1 - step % 2  # odd, so that a mean of colour lies where its sample of depth does
    color = cv2.blur(color_rgb, (around_px, around_px))[step // 2 :: step, step // 2 :: step]
    depth_m = np.ascontiguousarray(depth_m[step // 2 :: step, step // 2 :: step])
    if depth_m.size == 0:
        return np.zeros(2)
    whole = cv2.blur((depth_m > 0).astype(np.float32), (_AROUND_PX, _AROUND_PX)) >= 1 - _MOST_MISSING
    color = cv2.GaussianBlur(color, (3, 3), _BLUR_PX)
    across, down = (cv2.Sobel(color, cv2.CV_16S, *direction) for direction in ((1, 0), (0, 1)))
    return step * _offset_px(across, down, depth_m, whole)


def moved(color_rgb: NDArray[np.uint8], offset_px: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) moved to the right and down by whole pixels; its border is repeated."""
    right, down = offset_px
    height, width = color_rgb.shape[:2]
    inside = color_rgb[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    borders = max(down, 0), max(-down, 0), max(right, 0), max(-right, 0)
    return np.asarray(cv2.copyMakeBorder(inside, *borders, cv2.BORDER_REPLICATE), np.uint8)


@kernel("int16[:, :, ::1]", "int16[:, :, ::1]", "float32[:, ::1]", "boolean[:, ::1]")
def _offset_px(
    across: NDArray[np.int16], down: NDArray[np.int16], depth_m: NDArray[np.float32], whole: NDArray[np.bool_]
) -> FloatArray:
    """`depth_beside_color_px` at the working size, from the derivatives of colour (H, W, 3)."""
    told, edges = np.zeros((4, 2 * _WINDOW_PX + 1)), 0
    for axis in range(2):
        edges += _edges_of_axis(across if axis == 0 else down, depth_m, whole, axis, told)
    tried = 2 * _REACH_PX + 1
    weight = 1 / (_ALIKE + edges / _MOST_EDGES)
    logs, best = np.empty((tried, tried, 3)), -math.inf
    for i in range(tried):
        for j in range(tried):
            right, below = i - _REACH_PX, j - _REACH_PX
            prior = _TAIL * math.log(1 + (right * right + below * below) / (_USUAL_PX * _USUAL_PX))
            for k in range(3):
                wider = k - 1
                of_x = told[0, _WINDOW_PX + right + wider] + told[1, _WINDOW_PX + right - wider]
                of_y = told[2, _WINDOW_PX + below + wider] + told[3, _WINDOW_PX + below - wider]
                logs[i, j, k] = weight * (of_x + of_y) - abs(wider) - prior
                best = max(best, logs[i, j, k])
    total, offset_px = 0.0, np.zeros(2)
    for i in range(tried):
        for j in range(tried):
            for k in range(3):
                probability = math.exp(logs[i, j, k] - best)
                total += probability
                offset_px[0] -= probability * (i - _REACH_PX)
                offset_px[1] -= probability * (j - _REACH_PX)
    return offset_px / total


@inner
def _edges_of_axis(
    derivative: NDArray[np.int16], depth_m: NDArray[np.float32], whole: NDArray[np.bool_], axis: int, told: FloatArray
) -> int:
    """Adds to `told` what edges of depth across an axis tell of where colour's lie; returns how many edges there are.

    Args:
        derivative: of colour along the axis, (H, W, 3).
        axis: 0 for edges that are crossed along rows, 1 along columns.
        told: (4, 2 _WINDOW_PX + 1) log likelihoods of each distance to the right of, or below, edges whose near side
            is on their left, on their right, above them, below them.
    """
    lines, length = depth_m.shape if axis == 0 else depth_m.shape[::-1]
    sizes, edges = np.empty(2 * _WINDOW_PX + 2), 0
    for line in range(lines):
        for k in range(_WINDOW_PX + 1, length - _WINDOW_PX - 2):
            near_m = depth_m[line, k] if axis == 0 else depth_m[k, line]
            if near_m <= 0 or not (whole[line, k] if axis == 0 else whole[k, line]):
                continue
            for side in range(2):
                towards, far_m = 1 - 2 * side, np.float32(0)
                for gap in range(1, _GAP_PX + 1):
                    far_m = depth_m[line, k + towards * gap] if axis == 0 else depth_m[k + towards * gap, line]
                    if far_m > 0:
                        break
                if far_m <= _STEP_RATIO * near_m or far_m - near_m <= _STEP_M:
                    continue
                first, mean = k - side - _WINDOW_PX, 0.0
                for i in range(len(sizes)):
                    at = (line, first + i) if axis == 0 else (first + i, line)
                    size = max(abs(derivative[at[0], at[1], 0]), abs(derivative[at[0], at[1], 1]))
                    sizes[i] = max(size, abs(derivative[at[0], at[1], 2]))
                    mean += sizes[i] / len(sizes)
                for i in range(len(sizes) - 1):
                    own = (sizes[i] + sizes[i + 1]) / 2 / (mean + _FAINT)
                    told[2 * axis + side, i] += math.log(1 - _COLOR_CHANGES + _COLOR_CHANGES * own)
                edges += 1
    return edges
