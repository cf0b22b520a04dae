"""Columns: the volume behind a measured surface that is no body of revolution, as a field of heights."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.lifting.completion import pixels_of
from instance_seg_ros.lifting.order_statistics import median
from instance_seg_ros.lifting.solid import Body

FloatArray = NDArray[np.float64]

_GRID = 24
_MIN_CELL_M = 0.002
_ROUNDING = 1e-6
"""Share of a cell that keeps rounding from making one more of what divides evenly."""
_FREE_M = 0.01
_MIN_NORMALS = 60
_SAME_FACE = math.cos(math.radians(12.0))
_FACE_SHARE = 0.5
_FACE_STEPS = 3
_LEANING = (math.cos(math.radians(78.0)), math.cos(math.radians(8.0)))
"""A body leans when so many of its normals lie within 12 degrees of one that is tilted by 8 to 78 degrees."""
_LEVEL_SHARE, _LEVEL_COLUMNS = 0.92, 0.6
"""The top of a body is flat when this share of the columns that are seen reaches the first share of its height."""
_LEVEL_COSINE = math.cos(math.radians(8.0))
_FLAT_TOP_SHARE = 0.3
_FREE_LEVELS = np.array([0.5, 0.65, 0.8, 0.95])
"""Heights at which free space is looked for in a column, as shares of the object's."""


class Underside(enum.Enum):
    """What a body is like below, which the camera does not see."""

    FLAT = enum.auto()
    """It is solid down to its support."""
    ROUND = enum.auto()
    """It lies on its side: below its middle height it is what it is above."""
    TURNED = enum.auto()
    """It leans: what lies below is what is above, by half a turn about the middle of its box in every direction."""


@dataclass(frozen=True, eq=False)
class Columns:
    """A body as columns over a rectangle of its support.

    Attributes:
        axes: (2, 2) directions of the rectangle's sides as rows, in the two horizontal coordinates of the body's frame.
        low_m, size_m: (2,) the rectangle's lower bounds and lengths along them.
        bottoms_m, tops_m: (I, J) heights between which each column is solid; equal where it is empty.
    """

    axes: FloatArray
    low_m: FloatArray
    size_m: FloatArray
    bottoms_m: FloatArray
    tops_m: FloatArray

    @property
    def centre_m(self) -> FloatArray:
        """(3,) centre of the volume; of the rectangle, halfway to the highest top, where there is none."""
        lengths_m = self.tops_m - self.bottoms_m
        total_m = lengths_m.sum()
        if total_m <= 0:
            return np.array([*((self.low_m + self.size_m / 2) @ self.axes), self.tops_m.max() / 2])
        shares = lengths_m / total_m
        along = [
            self.low_m[axis] + self.size_m[axis] * float(shares.sum(axis=1 - axis) @ _middles(self.tops_m.shape[axis]))
            for axis in (0, 1)
        ]
        return np.array([*(np.array(along) @ self.axes), float((shares * (self.tops_m + self.bottoms_m)).sum() / 2)])


def fill_columns(
    body: Body,
    axes: FloatArray,
    low_m: FloatArray,
    high_m: FloatArray,
    frame: RgbdFrame,
    mask: NDArray[np.bool_],
    underside: Underside = Underside.FLAT,
) -> Columns:
    """The volume below the measured surface.

    The outline's rectangle is divided into columns. A column is as high as what was measured in it. Where nothing was,
    it is as high as its counterpart by half a turn, or as most of the others if that is hidden, too; but no higher than
    where the camera sees free space in it, and empty if it does so at the middle of the object's height, or anywhere in
    an object whose top is seen to be flat.

    Args:
        axes: (2, 2) directions of the rectangle's sides as rows.
        low_m, high_m: (2,) its bounds along them.
        mask: (H, W) bool, of the object.
    """
    size_m = np.maximum(high_m - low_m, _MIN_CELL_M)
    counts = np.clip(
        (size_m / _MIN_CELL_M + _ROUNDING).astype(np.int64),
        1,
        np.ceil(_GRID * size_m / size_m.max() - _ROUNDING).astype(np.int64),
    )
    measured_m = _measured_tops_m(body, axes, low_m, size_m, counts)
    across_m, along_m = (low_m[axis] + _middles(int(counts[axis])) * size_m[axis] for axis in (0, 1))
    flat_m = np.stack(np.meshgrid(across_m, along_m, indexing="ij"), axis=-1) @ axes
    seen = np.isfinite(measured_m)
    bound_m = np.full(seen.shape, body.top_m)
    bound_m[~seen] = _bounds_of_columns_m(flat_m[~seen], body, frame, mask)
    if np.count_nonzero(measured_m > _LEVEL_SHARE * body.top_m) > _LEVEL_COLUMNS * np.count_nonzero(seen):
        bound_m[bound_m < body.top_m] = 0
    turned_m = np.where(seen, measured_m, np.where(bound_m > 0, np.nan, 0))[::-1, ::-1]
    opposite_m = np.where(np.isnan(turned_m), median(measured_m[seen]), turned_m)
    tops_m = np.clip(np.where(seen, measured_m, np.minimum(opposite_m, bound_m)), 0, body.top_m)
    below_m = {Underside.FLAT: np.zeros_like(tops_m), Underside.ROUND: body.top_m - tops_m}.get(
        underside, body.top_m - tops_m[::-1, ::-1]
    )
    solid = tops_m > below_m
    return Columns(axes, low_m, size_m, np.where(solid, below_m, 0), np.where(solid, tops_m, 0))


def _middles(count: int) -> FloatArray:
    return (np.arange(count) + 0.5) / count


def has_flat_top(body: Body) -> bool:
    """Whether a good part of what is seen of a body is its level top: a box, nothing round that lies on its side."""
    level = (body.normals[:, 2] > _LEVEL_COSINE) & (body.points_m[:, 2] > _LEVEL_SHARE * body.top_m)
    return int(np.count_nonzero(level)) > _FLAT_TOP_SHARE * len(level)


def leans(body: Body) -> bool:
    """Whether most of what is seen of a body is one tilted face: a plate or a carton that leans on something.

    Nothing is known then of what lies below the face, and a body is rather as thick there as elsewhere than solid down
    to the support.
    """
    normals = body.normals[body.normals[:, 2] != 0]
    if len(normals) < _MIN_NORMALS:
        return False
    face = np.ones(len(normals), dtype=bool)
    main = np.zeros(3)
    for _ in range(_FACE_STEPS):
        if not face.any():
            return False
        main = normals[face].mean(axis=0)
        main /= max(float(np.linalg.norm(main)), 1e-9)
        face = normals @ main > _SAME_FACE
    return bool(np.count_nonzero(face) > _FACE_SHARE * len(face) and _LEANING[0] < main[2] < _LEANING[1])


def _measured_tops_m(
    body: Body, axes: FloatArray, low_m: FloatArray, size_m: FloatArray, counts: NDArray[np.int64]
) -> FloatArray:
    """Height (I, J) of the highest point in each column, -inf in those without one."""
    cells = (body.points_m[:, :2] @ axes.T - low_m) / size_m * counts
    places = np.clip(cells.astype(np.int64), 0, counts - 1)
    tops_m = np.full(counts[0] * counts[1], -np.inf)
    np.maximum.at(tops_m, places[:, 0] * counts[1] + places[:, 1], body.points_m[:, 2])
    return tops_m.reshape(counts)


def _bounds_of_columns_m(flat_m: FloatArray, body: Body, frame: RgbdFrame, mask: NDArray[np.bool_]) -> FloatArray:
    """How high (N,) columns at (N, 2) can be for what is seen behind them; 0 where that is less than half the object.

    The middle height of a column tells better than its foot, which noise of the support may hide.
    """
    heights_m = _FREE_LEVELS * body.top_m
    levels_m = np.empty((len(heights_m), len(flat_m), 3))
    levels_m[..., :2], levels_m[..., 2] = flat_m, heights_m[:, None]
    levels_m = body.in_camera(levels_m)
    rows, columns, inside = pixels_of(levels_m, frame)
    beyond_m = frame.depth_m[rows, columns] - levels_m[..., 2]
    free = inside & (beyond_m > np.where(mask[rows, columns], _FREE_M, 0))
    bound_m = np.where(free, heights_m[:, None], body.top_m).min(axis=0)
    return np.where(free[0], 0, bound_m)
