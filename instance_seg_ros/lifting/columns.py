"""Columns: the volume behind a measured surface that is no body of revolution, as a field of heights."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.order_statistics import median_of_first
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
_FREE_LEVELS = (0.5, 0.65, 0.8, 0.95)
"""Heights at which free space is looked for in a column, as shares of the object's."""
_LEAST_DEPTH_M = 1e-3
"""What lies beside the camera or behind it counts as so far in front of it."""


class Underside(enum.Enum):
    """What a body is like below, which the camera does not see."""

    FLAT = enum.auto()
    """It is solid down to its support."""
    ROUND = enum.auto()
    """It lies on its side: below its middle height it is what it is above."""
    TURNED = enum.auto()
    """It leans: what lies below is what is above, by half a turn about the middle of its box in every direction."""


_ROUND, _TURNED = Underside.ROUND.value, Underside.TURNED.value


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
        total_m, first, second, height_m = _centroid(self.bottoms_m, self.tops_m)
        if total_m <= 0:
            return np.array([*((self.low_m + self.size_m / 2) @ self.axes), self.tops_m.max() / 2])
        first_m, second_m = (self.low_m + self.size_m * (first, second)).tolist()
        (a, b), (c, d) = self.axes.tolist()
        return np.array([first_m * a + second_m * c, first_m * b + second_m * d, height_m])


@kernel("float64[:, ::1]", "float64[:, ::1]")
def _centroid(bottoms_m: FloatArray, tops_m: FloatArray) -> tuple[float, float, float, float]:
    """The sum of the lengths of columns (I, J), and the middle of all: as shares of both sides, and its height."""
    total_m, first, second, height_m2 = 0.0, 0.0, 0.0, 0.0
    across, along = tops_m.shape
    for i in range(across):
        for j in range(along):
            length_m = tops_m[i, j] - bottoms_m[i, j]
            total_m += length_m
            first += length_m * (i + 0.5) / across
            second += length_m * (j + 0.5) / along
            height_m2 += length_m * (tops_m[i, j] + bottoms_m[i, j]) / 2
    if total_m <= 0:
        return 0.0, 0.0, 0.0, 0.0
    return total_m, first / total_m, second / total_m, height_m2 / total_m


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
    sides_m = size_m.tolist()
    counts = [
        min(max(int(side_m / _MIN_CELL_M + _ROUNDING), 1), math.ceil(_GRID * side_m / max(sides_m) - _ROUNDING))
        for side_m in sides_m
    ]
    camera = frame.intrinsics
    bottoms_m, tops_m = np.empty(counts), np.empty(counts)
    _fill(
        body.points_m,
        axes,
        low_m,
        size_m,
        body.top_m,
        underside.value,
        body.pose,
        (camera.fx, camera.fy, camera.cx, camera.cy),
        np.ascontiguousarray(frame.depth_m),
        np.ascontiguousarray(mask),
        bottoms_m,
        tops_m,
    )
    return Columns(axes, low_m, size_m, bottoms_m, tops_m)


@inner
def _measure_tops(
    points_m: FloatArray, axes: FloatArray, low_m: FloatArray, size_m: FloatArray, tops_m: FloatArray
) -> None:
    """Raises the height (I, J) of each column to its highest point."""
    for n in range(len(points_m)):
        x, y = points_m[n, 0], points_m[n, 1]
        i = _cell_of(axes[0, 0] * x + axes[0, 1] * y - low_m[0], size_m[0], tops_m.shape[0])
        j = _cell_of(axes[1, 0] * x + axes[1, 1] * y - low_m[1], size_m[1], tops_m.shape[1])
        tops_m[i, j] = max(tops_m[i, j], points_m[n, 2])


@inner
def _cell_of(offset_m: float, size_m: float, count: int) -> int:
    return min(max(int(offset_m / size_m * count), 0), count - 1)


@kernel(
    *("float64[:, ::1]", "float64[:, :]", "float64[:]", "float64[:]", "float64", "int64"),
    *("float64[:, ::1]", "UniTuple(float64, 4)", "float32[:, ::1]", "boolean[:, ::1]"),
    *("float64[:, ::1]", "float64[:, ::1]"),
    writes=("bottoms_m", "tops_m"),
)
def _fill(
    points_m: FloatArray,
    axes: FloatArray,
    low_m: FloatArray,
    size_m: FloatArray,
    top_m: float,
    underside: int,
    pose: FloatArray,
    optics: tuple[float, float, float, float],
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    bottoms_m: FloatArray,
    tops_m: FloatArray,
) -> None:
    """The columns (I, J) of `fill_columns`.

    Args:
        points_m: (N, 3) of the body.
        underside: value of `Underside`.
        pose: (4, 3) basis of the body's frame and, last, its origin.
        optics: fx, fy, cx, cy.
    """
    across, along = tops_m.shape
    measured_m = np.full((across, along), -np.inf)  # the highest points
    _measure_tops(points_m, axes, low_m, size_m, measured_m)
    known_m, known = np.empty(measured_m.size), 0
    for i in range(across):
        for j in range(along):
            known_m[known] = measured_m[i, j]
            known += measured_m[i, j] > -np.inf
    usual_m = median_of_first(known_m, known)  # of what is hidden on either side
    bound_m = np.empty((across, along))
    seen = high = 0
    for i in range(across):
        for j in range(along):
            bound_m[i, j] = top_m
            if measured_m[i, j] > -np.inf:
                seen += 1
                high += measured_m[i, j] > _LEVEL_SHARE * top_m
            else:
                first_m, second_m = low_m[0] + (i + 0.5) / across * size_m[0], low_m[1] + (j + 0.5) / along * size_m[1]
                x_m = first_m * axes[0, 0] + second_m * axes[1, 0]
                y_m = first_m * axes[0, 1] + second_m * axes[1, 1]
                bound_m[i, j] = _free_from_m(x_m, y_m, top_m, pose, optics, depth_m, mask)
    flat = high > _LEVEL_COLUMNS * seen
    for i in range(across):
        for j in range(along):
            if measured_m[i, j] > -np.inf:
                own_m = measured_m[i, j]
            elif flat and bound_m[i, j] < top_m:
                own_m = 0.0
            else:
                opposite = across - 1 - i, along - 1 - j
                own_m = usual_m
                if measured_m[opposite] > -np.inf:
                    own_m = measured_m[opposite]
                elif bound_m[opposite] <= 0 or (flat and bound_m[opposite] < top_m):
                    own_m = 0.0
                own_m = min(own_m, bound_m[i, j])
            tops_m[i, j] = min(max(own_m, 0.0), top_m)
    for i in range(across):
        for j in range(along):
            bottoms_m[i, j] = 0.0
            if underside == _ROUND:
                bottoms_m[i, j] = top_m - tops_m[i, j]
            elif underside == _TURNED:
                bottoms_m[i, j] = top_m - tops_m[across - 1 - i, along - 1 - j]
    for i in range(across):
        for j in range(along):
            if tops_m[i, j] <= bottoms_m[i, j]:
                bottoms_m[i, j] = tops_m[i, j] = 0.0


@inner
def _free_from_m(
    x_m: float,
    y_m: float,
    top_m: float,
    pose: FloatArray,
    optics: tuple[float, float, float, float],
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
) -> float:
    """How high a column can be for what is seen behind it; 0 where that is less than half the object.

    The middle height of a column tells better than its foot, which noise of the support may hide.
    """
    for level in range(len(_FREE_LEVELS)):
        z_m = _FREE_LEVELS[level] * top_m
        camera_x, camera_y, camera_z = (
            x_m * pose[0, 0] + y_m * pose[0, 1] + z_m * pose[0, 2] + pose[3, 0],
            x_m * pose[1, 0] + y_m * pose[1, 1] + z_m * pose[1, 2] + pose[3, 1],
            x_m * pose[2, 0] + y_m * pose[2, 1] + z_m * pose[2, 2] + pose[3, 2],
        )
        away_m = max(camera_z, _LEAST_DEPTH_M)
        column, row = (
            np.rint(camera_x / away_m * optics[0] + optics[2]),
            np.rint(camera_y / away_m * optics[1] + optics[3]),
        )
        if 0 <= column < depth_m.shape[1] and 0 <= row < depth_m.shape[0]:
            v, u = int(row), int(column)
            if depth_m[v, u] - camera_z > (_FREE_M if mask[v, u] else 0.0):
                return z_m if level else 0.0
    return top_m


def has_flat_top(body: Body) -> bool:
    """Whether a good part of what is seen of a body is its level top: a box, nothing round that lies on its side."""
    return _count_level(body.points_m, body.normals, body.top_m) > _FLAT_TOP_SHARE * len(body.normals)


@kernel("float64[:, ::1]", "float64[:, ::1]", "float64")
def _count_level(points_m: FloatArray, normals: FloatArray, top_m: float) -> int:
    """How many points (N, 3) with a level surface are on top of a body."""
    count = 0
    for n in range(len(points_m)):
        count += normals[n, 2] > _LEVEL_COSINE and points_m[n, 2] > _LEVEL_SHARE * top_m
    return count


def leans(body: Body) -> bool:
    """Whether most of what is seen of a body is one tilted face: a plate or a carton that leans on something.

    Nothing is known then of what lies below the face, and a body is rather as thick there as elsewhere than solid down
    to the support.
    """
    share, cosine = _main_face(body.normals)
    return share > _FACE_SHARE and _LEANING[0] < cosine < _LEANING[1]


@kernel("float64[:, ::1]")
def _main_face(normals: FloatArray) -> tuple[float, float]:
    """The share of known normals (N, 3) within 12 degrees of what most of them are about, and z of that direction.

    0 where there are too few; normals of zeros are not known.
    """
    face, count = np.empty(len(normals), np.bool_), 0
    for n in range(len(normals)):
        face[n] = normals[n, 2] != 0
        count += face[n]
    if count < _MIN_NORMALS:
        return 0.0, 0.0
    faces, z = count, 0.0
    for _ in range(_FACE_STEPS):
        if faces == 0:
            return 0.0, 0.0
        x, y, z = 0.0, 0.0, 0.0
        for n in range(len(normals)):
            if face[n]:
                x, y, z = x + normals[n, 0], y + normals[n, 1], z + normals[n, 2]
        x, y, z = x / faces, y / faces, z / faces
        size = max(math.sqrt(x * x + y * y + z * z), 1e-9)
        x, y, z = x / size, y / size, z / size
        faces = 0
        for n in range(len(normals)):
            cosine = normals[n, 0] * x + normals[n, 1] * y + normals[n, 2] * z
            face[n] = normals[n, 2] != 0 and cosine > _SAME_FACE
            faces += face[n]
    return faces / count, z
