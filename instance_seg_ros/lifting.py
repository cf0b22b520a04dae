"""Lifting: from masks on a frame to clean clouds, centres and oriented boxes in 3D."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.geometry import OrientedBox, Plane


class Completion(enum.IntEnum):
    """How `centroid_m` and the box account for the side of the object that the camera cannot see."""

    NONE = 0
    """Measured points only."""
    SUPPORT_PLANE = 1
    """The measured outline extruded down to the support plane."""


class Status(enum.IntFlag):
    """Why a step could not do its work for an instance; the values are those of the Instance message."""

    OK = 0
    TOO_FEW_POINTS = 1
    NO_SUPPORT_PLANE = 2
    NO_GRASP_CANDIDATE = 4
    NO_COLLISION_FREE_GRASP = 8
    GRASPING_DISABLED = 16


@dataclass(frozen=True, eq=False)
class Instance3D:
    """One instance in space, in the camera's optical frame.

    Attributes:
        points_m: (P, 3) float32, the measured points that were kept.
        pixels: (P,) int64, the index of each point in the flattened image, row-major.
        rejected: number of mask pixels whose measurement was missing, at an edge or an outlier.
        centroid_m: (3,) float64 centre of the volume (see `completion`), or None with `Status.TOO_FEW_POINTS`.
        surface_centroid_m: (3,) float64 mean of `points_m`, or None likewise.
        covariance_m2: (3, 3) float64 covariance of `points_m`, or None likewise.
        box: the oriented box, or None likewise.
        completion: what `centroid_m` and `box` were completed with.
        status: flags; `Status.OK` when all steps did their work.
    """

    points_m: NDArray[np.float32]
    pixels: NDArray[np.int64]
    rejected: int
    centroid_m: NDArray[np.float64] | None
    surface_centroid_m: NDArray[np.float64] | None
    covariance_m2: NDArray[np.float64] | None
    box: OrientedBox | None
    completion: Completion
    status: Status


@dataclass(frozen=True, eq=False)
class LiftedFrame:
    """All instances of a frame in 3D, in the order of the Instances, and the plane that they stand on.

    Attributes:
        instances: one for each mask.
        support_plane: in the camera's optical frame, its normal pointing up (to the free side); None when none was found.
    """

    instances: tuple[Instance3D, ...]
    support_plane: Plane | None
