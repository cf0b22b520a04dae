"""The support plane: what the objects of a frame stand on, found in the background around their masks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances

_STRIDE_PX = 4
_MAX_SAMPLES = 2000
_HYPOTHESES = 150
_VOTERS = 500
_MAX_PLANES = 4
_MIN_INLIERS = 60
_MIN_INLIER_SHARE = 0.03
_MIN_CAMERA_HEIGHT_M = 0.03
_MAX_GAP_M = 0.4
"""A plane farther than this below all that is seen of the objects is the floor of the room, not what they stand on."""
_SUPPORTED_SHARE = 0.7
"""A plane supports a scene when at least this share of the objects stands above it."""
_SINK_FACTOR = 2.0
"""An object's lowest points may lie below the plane by this multiple of the tolerance: noise, a generous mask."""


def find_support_plane(
    frame: RgbdFrame, instances: Instances, objects_m: Sequence[NDArray[np.float32]], tolerance_m: float
) -> Plane | None:
    """The plane just under the objects, or None.

    Planes are drawn by RANSAC from the measured background near the masks, one after the other (table, floor, wall),
    each refined by least squares. A plane qualifies when it holds enough points, the camera is on its free side, and
    nearly all objects stand above it; of those, the one with the smallest gap below the objects is taken. The result is
    a function of the frame: the random draws are seeded.

    Args:
        objects_m: the kept points (P, 3) of each object that has some, camera optical frame.
        tolerance_m: distance within which a point belongs to a plane.
    """
    if not objects_m:
        return None
    points_m = _background_near(frame, instances)
    minimum = max(_MIN_INLIERS, int(_MIN_INLIER_SHARE * len(points_m)))
    best, best_gap_m = None, _MAX_GAP_M
    for _ in range(_MAX_PLANES):
        if len(points_m) < minimum:
            break
        plane, inliers = _dominant_plane(points_m, tolerance_m)
        if np.count_nonzero(inliers) < minimum:
            break
        points_m = points_m[~inliers]
        gap_m = _gap_below_m(plane, objects_m, tolerance_m)
        if plane.offset_m > _MIN_CAMERA_HEIGHT_M and gap_m is not None and gap_m < best_gap_m:
            best, best_gap_m = plane, gap_m
    return best


def _background_near(frame: RgbdFrame, instances: Instances) -> NDArray[np.float32]:
    """A sample (N, 3) of the measured points outside all masks and around their boxes."""
    step = slice(None, None, _STRIDE_PX)
    depth_m = frame.depth_m[step, step]
    near = np.zeros(depth_m.shape, dtype=bool)
    for x0, y0, x1, y1 in instances.boxes_xyxy / _STRIDE_PX:
        margin = 0.5 * max(x1 - x0, y1 - y0) + 8
        near[max(0, int(y0 - margin)) : int(y1 + margin) + 1, max(0, int(x0 - margin)) : int(x1 + margin) + 1] = True
    masked = instances.masks[:, step, step].any(axis=0).astype(np.uint8)
    background = near & (depth_m > 0) & (cv2.dilate(masked, np.ones((3, 3), np.uint8)) == 0)
    rows, columns = np.nonzero(background)
    if len(rows) > _MAX_SAMPLES:
        chosen = np.linspace(0, len(rows) - 1, _MAX_SAMPLES).astype(np.int64)
        rows, columns = rows[chosen], columns[chosen]
    rays = frame.intrinsics.rays[step, step][rows, columns]
    return np.concatenate([rays, np.ones((len(rays), 1), np.float32)], axis=1) * depth_m[rows, columns, None]


def _dominant_plane(points_m: NDArray[np.float32], tolerance_m: float) -> tuple[Plane, NDArray[np.bool_]]:
    """The plane with the most inliers, oriented towards the camera, and its inliers (N,) bool."""
    rng = np.random.default_rng(0)
    corners = points_m[rng.integers(len(points_m), size=(_HYPOTHESES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    proper = lengths > 1e-8
    if not proper.any():  # fewer than three distinct points, or all on a line
        return Plane(np.array([0.0, 0.0, -1.0]), 0.0), np.zeros(len(points_m), dtype=bool)
    normals = normals[proper] / lengths[proper, None]
    offsets = np.einsum("ij,ij->i", normals, corners[proper, 0])
    voters_m = points_m[:: 1 + len(points_m) // _VOTERS]
    counts = np.count_nonzero(np.abs(voters_m @ normals.T - offsets) < tolerance_m, axis=0)
    winner = int(np.argmax(counts))
    inliers = np.abs(points_m @ normals[winner] - offsets[winner]) < tolerance_m
    plane = _least_squares_plane(points_m[inliers])
    for _ in range(2):
        inliers = np.abs(plane.height_m(points_m)) < tolerance_m
        if np.count_nonzero(inliers) < 3:
            break
        plane = _least_squares_plane(points_m[inliers])
    return plane, inliers


def _least_squares_plane(points_m: NDArray[np.float32]) -> Plane:
    """The plane of least squared distance to (N, 3) points, the camera (the origin) on its free side."""
    mean = points_m.mean(axis=0, dtype=np.float64)
    centred = points_m - mean
    normal = np.linalg.eigh(centred.T @ centred)[1][:, 0]
    offset_m = -float(normal @ mean)
    return Plane(normal, offset_m) if offset_m >= 0 else Plane(-normal, -offset_m)


def _gap_below_m(plane: Plane, objects_m: Sequence[NDArray[np.float32]], tolerance_m: float) -> float | None:
    """Median distance from the plane up to the objects' lowest points, or None when too few objects stand above it."""
    lowest_m = np.array(
        [np.percentile(plane.height_m(points_m[:: 1 + len(points_m) // 300]), 5) for points_m in objects_m]
    )
    if np.mean(lowest_m > -_SINK_FACTOR * tolerance_m) < _SUPPORTED_SHARE:
        return None
    return float(np.median(np.maximum(lowest_m, 0)))
