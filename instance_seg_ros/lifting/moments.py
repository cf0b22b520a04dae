"""Mean and covariance of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

FloatArray = NDArray[np.float64]


@kernel("float32[:, ::1]")
def mean_and_covariance(points: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
    """The mean (3,) and the covariance (3, 3) of (N, 3) points, N > 0, added up in float64."""
    return moments(points)


@inner
def moments(points: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
    """`mean_and_covariance` for kernels."""
    count = len(points)
    mean_x = mean_y = mean_z = np.float64(
        0
    )  # so that it has 64 bits as Python, too, where 0.0 would take those of points
    for n in range(count):
        mean_x, mean_y, mean_z = mean_x + points[n, 0], mean_y + points[n, 1], mean_z + points[n, 2]
    mean_x, mean_y, mean_z = mean_x / count, mean_y / count, mean_z / count
    xx, xy, xz, yy, yz, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(count):
        x, y, z = points[n, 0] - mean_x, points[n, 1] - mean_y, points[n, 2] - mean_z
        xx, xy, xz = xx + x * x, xy + x * y, xz + x * z
        yy, yz, zz = yy + y * y, yz + y * z, zz + z * z
    return np.array([mean_x, mean_y, mean_z]), np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / count
