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
    # Once over the points, from one of them, so that nothing is lost where they are far away.
    first_x, first_y, first_z = np.float64(points[0, 0]), np.float64(points[0, 1]), np.float64(points[0, 2])
    sum_x, sum_y, sum_z = 0.0, 0.0, 0.0
    xx, xy, xz, yy, yz, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(count):
        x, y, z = points[n, 0] - first_x, points[n, 1] - first_y, points[n, 2] - first_z
        sum_x, sum_y, sum_z = sum_x + x, sum_y + y, sum_z + z
        xx, xy, xz = xx + x * x, xy + x * y, xz + x * z
        yy, yz, zz = yy + y * y, yz + y * z, zz + z * z
    x, y, z = sum_x / count, sum_y / count, sum_z / count
    xx, xy, xz = xx / count - x * x, xy / count - x * y, xz / count - x * z
    yy, yz, zz = yy / count - y * y, yz / count - y * z, zz / count - z * z
    return np.array([first_x + x, first_y + y, first_z + z]), np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
