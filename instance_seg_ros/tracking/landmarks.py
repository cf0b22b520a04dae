"""Where the camera is, told by corners of the picture that look the same from elsewhere: ORB features with depth."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.tracking.landmark_kernels import find_motion, find_mutual, refine_motion

FloatArray = NDArray[np.float64]

_WIDTH_PX, _MOST = 320, 400
_LEVELS, _SCALE = 8, 1.2
_FAST_THRESHOLD = 8
"""A step of brightness of which a corner is made, of 255: tables are plain."""
_RIM_PX = 31
"""Of corners so near the rim there is no description, and a picture of fewer than twice as many rows has none."""
_STEPS = 3
_DRAWS = np.random.default_rng(0).random((512, 3))
_SAME_M, _SAME_SHARE = 0.015, 0.015
"""Two places of one point in the map differ by no more than this, or by this share of its depth."""
LEAST, _LEAST_SHARE = 15, 0.15
"""So many matches that agree, and such a share of all, are no chance: of two unlike views no more than five agree."""
_FEW, _MUCH_SHARE = 8, 0.25
"""Nor are so few, where they are such a share of all."""
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


NO_LANDMARKS = Landmarks(np.zeros((0, 3)), np.zeros((0, 32), dtype=np.uint8))


class LandmarkFinder:
    """Finds landmarks; one for each thread, as OpenCV's detector keeps what it works on."""

    def __init__(self) -> None:
        self._beside = ThreadPoolExecutor(1, "landmarks")  # starts its thread when first asked
        self._ahead: tuple[RgbdFrame, Future[Landmarks]] | None = None
        self._process_id = os.getpid()
        # The stubs know only `ORB.create`, which releases before 4.7 do not have.
        self._orb = cv2.ORB_create(  # type: ignore[attr-defined]
            _MOST, scaleFactor=_SCALE, nlevels=_LEVELS, fastThreshold=_FAST_THRESHOLD
        )

    def look_at(self, frame: RgbdFrame) -> None:
        """Begins to find a frame's landmarks in a thread beside, for whoever asks for them next.

        Nearly all of it is one call of OpenCV, which leaves Python to others meanwhile.
        """
        self._begin_anew_in_a_fork()
        # Pools end with the main thread, which others may outlive: they find landmarks when asked.
        with contextlib.suppress(RuntimeError):
            self._ahead = frame, self._beside.submit(self._found, frame)

    def landmarks_of(self, frame: RgbdFrame) -> Landmarks:
        """Corners of the picture where there is depth; none without colour, or in a picture of few rows or columns."""
        self._begin_anew_in_a_fork()
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] is frame:
            return ahead[1].result()
        if ahead is not None:
            wait([ahead[1]])  # the detector may be at work for a frame that nobody asks for
        return self._found(frame)

    def _begin_anew_in_a_fork(self) -> None:
        """A forked process has none of its parent's threads: what these were asked for would be waited for forever."""
        if self._process_id != os.getpid():
            self._beside, self._ahead, self._process_id = ThreadPoolExecutor(1, "landmarks"), None, os.getpid()

    def _found(self, frame: RgbdFrame) -> Landmarks:
        if frame.color_rgb is None:
            return NO_LANDMARKS
        height, width = frame.depth_m.shape
        stride = max(1, round(width / _WIDTH_PX))
        size_px = width // stride, height // stride
        if min(size_px) <= 2 * _RIM_PX:
            return NO_LANDMARKS
        grey = cv2.cvtColor(frame.color_rgb, cv2.COLOR_RGB2GRAY)
        if stride > 1:
            grey = cv2.resize(grey, size_px, interpolation=cv2.INTER_AREA)
        corners, descriptors = self._orb.detectAndCompute(grey, None)
        if descriptors is None:
            return NO_LANDMARKS
        camera = frame.intrinsics
        # The middle of a pixel of the smaller picture, in pixels of the frame.
        xy = (np.asarray(cv2.KeyPoint.convert(corners), dtype=np.float64) + 0.5) * np.divide(
            (width, height), size_px
        ) - 0.5
        column, row = np.rint(xy).astype(np.int64).T
        depth_m = frame.depth_m[np.minimum(row, camera.height - 1), np.minimum(column, camera.width - 1)]
        points_m = np.ones((len(xy), 3))
        points_m[:, :2] = (xy - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
        points_m *= depth_m[:, None]
        measured = depth_m > 0
        return Landmarks(points_m[measured], descriptors[measured])


def motion_between(
    seen: Landmarks, known: Landmarks, expected: Transform, reach_m: float = np.inf
) -> tuple[Transform, int]:
    """The pose of the camera that sees the one in the frame of the other, and how many matches agree with it.

    By random triples of matches (RANSAC) and rigid alignment of all that agree with the best one (Kabsch), so that what
    moves by itself has no part in it as long as most does not. 0 where too few agree for it to be no chance.

    Args:
        expected: a pose that is as good as any other.
        reach_m: from where that puts them landmarks are no farther off, so that fewer others look like them.
    """
    if min(len(seen), len(known)) < LEAST:
        return expected, 0
    partner = np.empty(len(seen), dtype=np.int64)
    at_m = np.asarray(expected.apply(seen.points_m), dtype=np.float64)
    find_mutual(_words(seen.descriptors), _words(known.descriptors), at_m, known.points_m, reach_m, partner)
    rows = np.flatnonzero(partner >= 0)
    if len(rows) < _FEW:
        return expected, 0
    own_m, other_m = seen.points_m[rows], known.points_m[partner[rows]]
    tolerance_m = np.maximum(_SAME_M, _SAME_SHARE * own_m[:, 2])
    held = expected.rotation.copy(), expected.translation_m.copy()
    found = expected.rotation.copy(), expected.translation_m.copy()
    agree = refine_motion(own_m, other_m, tolerance_m, *held, 0)
    triples = (_DRAWS * len(rows)).astype(np.int64)
    if _HELD * agree < find_motion(own_m, other_m, tolerance_m, triples, *found):
        held = found
    agree = refine_motion(own_m, other_m, tolerance_m, *held, _STEPS)
    if agree < max(LEAST, _LEAST_SHARE * len(rows)) and agree < max(_FEW, _MUCH_SHARE * len(rows)):
        return expected, 0
    return Transform(*held), agree


def _words(descriptors: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N, 32) bytes as (4, N) words."""
    return np.ascontiguousarray(np.ascontiguousarray(descriptors).view(np.uint64).T)
