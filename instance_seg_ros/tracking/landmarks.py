"""Where the camera is, told by corners of the picture that look the same from elsewhere: ORB features with depth."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform

FloatArray = NDArray[np.float64]

_WIDTH_PX, _MOST = 320, 400
_FAST_THRESHOLD = 8
"""A step of brightness of which a corner is made, of 255: tables are plain."""
_RIM_PX = 31
"""Of corners so near the rim there is no description, and a picture of fewer than twice as many rows has none."""
_HYPOTHESES = 128
_SAME_M, _SAME_SHARE = 0.015, 0.015
"""Two places of one point in the map differ by no more than this, or by this share of its depth."""
LEAST, _LEAST_SHARE = 15, 0.15
"""So many matches that agree, and such a share of all, are no chance: of two unlike views no more than five agree."""
_HELD = 1.1
"""So many times more matches must agree with a motion than with none."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """K points of one frame.

    Attributes:
        points_m: (K, 3) float64, in the camera's optical frame.
        descriptors: (K, 32) uint8, of ORB.
    """

    points_m: FloatArray
    descriptors: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points_m)


@functools.cache
def _orb() -> cv2.ORB:
    # The stubs know only `ORB.create`, which releases before 4.7 do not have.
    return cv2.ORB_create(_MOST, fastThreshold=_FAST_THRESHOLD)  # type: ignore[attr-defined,no-any-return]


@functools.cache
def _matcher() -> cv2.BFMatcher:
    return cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)


def landmarks_of(frame: RgbdFrame) -> Landmarks:
    """Corners of the picture where there is depth; none without colour, or in a picture of few rows or columns."""
    none = Landmarks(np.zeros((0, 3)), np.zeros((0, 32), dtype=np.uint8))
    if frame.color_rgb is None:
        return none
    height, width = frame.depth_m.shape
    stride = max(1, round(width / _WIDTH_PX))
    size_px = width // stride, height // stride
    if min(size_px) <= 2 * _RIM_PX:
        return none
    grey = cv2.cvtColor(frame.color_rgb, cv2.COLOR_RGB2GRAY)
    if stride > 1:
        grey = cv2.resize(grey, size_px, interpolation=cv2.INTER_AREA)
    corners, descriptors = _orb().detectAndCompute(grey, None)
    if descriptors is None:
        return none
    camera = frame.intrinsics
    # The middle of a pixel of the smaller picture, in pixels of the frame.
    xy = (np.array([corner.pt for corner in corners]) + 0.5) * np.divide((width, height), size_px) - 0.5
    column, row = np.rint(xy).astype(np.int64).T
    depth_m = frame.depth_m[np.minimum(row, camera.height - 1), np.minimum(column, camera.width - 1)].astype(np.float64)
    points_m = np.stack([(xy[:, 0] - camera.cx) / camera.fx, (xy[:, 1] - camera.cy) / camera.fy, np.ones(len(xy))], 1)
    measured = depth_m > 0
    return Landmarks((points_m * depth_m[:, None])[measured], descriptors[measured])


def motion_between(seen: Landmarks, known: Landmarks, expected: Transform) -> tuple[Transform, int]:
    """The pose of the camera that sees the one in the frame of the other, and how many matches agree with it.

    By random triples of matches (RANSAC) and rigid alignment of all that agree with the best one (Kabsch), so that what
    moves by itself has no part in it as long as most does not. 0 where too few agree for it to be no chance.

    Args:
        expected: a pose that is as good as any other.
    """
    if min(len(seen), len(known)) < LEAST:
        return expected, 0
    matches = _matcher().match(seen.descriptors, known.descriptors)
    if len(matches) < LEAST:
        return expected, 0
    rows, columns = np.array([(match.queryIdx, match.trainIdx) for match in matches]).T
    own_m, other_m = seen.points_m[rows], known.points_m[columns]
    tolerance_m = np.maximum(_SAME_M, _SAME_SHARE * own_m[:, 2])
    chosen = np.random.default_rng(0).integers(len(rows), size=(_HYPOTHESES, 3))
    rotation, translation_m = _rigid(own_m[chosen], other_m[chosen])
    agrees = _agrees(own_m, other_m, rotation, translation_m, tolerance_m)
    held = _agrees(own_m, other_m, expected.rotation[None], expected.translation_m[None], tolerance_m)[0]
    best = agrees[agrees.sum(axis=1).argmax()]
    if _HELD * held.sum() >= best.sum():
        best = held
    pose = expected
    for _ in range(3):
        if best.sum() < max(LEAST, _LEAST_SHARE * len(rows)):
            return expected, 0
        rotation, translation_m = _rigid(own_m[best][None], other_m[best][None])
        pose = Transform(rotation[0], translation_m[0])
        best = _agrees(own_m, other_m, rotation, translation_m, tolerance_m)[0]
    return pose, int(best.sum())


def _agrees(
    own_m: FloatArray, other_m: FloatArray, rotation: FloatArray, translation_m: FloatArray, tolerance_m: FloatArray
) -> NDArray[np.bool_]:
    """(K, M) which of M matches agree with each of K motions."""
    off_m = own_m @ rotation.transpose(0, 2, 1) + translation_m[:, None] - other_m
    return np.asarray((off_m**2).sum(axis=2) <= tolerance_m**2)


def _rigid(own_m: FloatArray, other_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rotations (K, 3, 3) and translations (K, 3) that put places (K, P, 3) onto others best."""
    own_middle, other_middle = own_m.mean(axis=1), other_m.mean(axis=1)
    products = (other_m - other_middle[:, None]).transpose(0, 2, 1) @ (own_m - own_middle[:, None])
    u, _, v = np.linalg.svd(products)
    u[:, :, 2] *= (np.linalg.det(u) * np.linalg.det(v))[:, None]
    rotation = u @ v
    return rotation, other_middle - (rotation @ own_middle[..., None])[..., 0]
