"""Which object each pixel of the frame before showed: what covers the same surface is the same object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.tracking.sightings import Sightings

FloatArray = NDArray[np.float64]

_WIDTH_PX = 160
_MOSTLY, _LARGELY = 0.6, 0.4
_OLDER, _MUCH_OLDER, _AS_LARGE = 3, 2, 0.7
"""Of masks that ran together, one that was seen so many times less often than another one is rather a hand's; it is not
that of an object that was seen so many times less often than another one that has such a share of what it has."""
_SAME_M, _SAME_SHARE = 0.03, 0.02
"""What is nearer or farther by more is not the surface that was there: a hand, or what it hid."""


@dataclass(frozen=True, eq=False)
class Shared:
    """What masks of the frame before and of this one have in common.

    Attributes:
        both: (T, N) pixels of the instances that lie where the frame before showed a track.
        before: (T,) pixels of the tracks in the frame before.
        now: (N,) pixels of the instances.
    """

    both: FloatArray
    before: FloatArray
    now: FloatArray

    @property
    def iou(self) -> FloatArray:
        """(T, N) of the masks."""
        return np.asarray(self.both / np.maximum(self.before[:, None] + self.now - self.both, 1))

    def smaller_pieces(self) -> NDArray[np.bool_]:
        """(T, N) whether a mask broke, and an instance is not its largest piece."""
        piece = self.both >= _MOSTLY * np.maximum(self.now, 1)
        largest = np.where(piece, self.now, 0).max(axis=1, initial=0, keepdims=True)
        return np.asarray(piece & (self.now < largest))

    def smaller_parts(self, often: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(T, N) whether masks ran together, and a track is not the largest in them, or not the older of two that are
        about as large.

        Args:
            often: (T,) how often each track was seen.
        """
        within = self.both >= _LARGELY * np.maximum(self.before, 1)[:, None]
        oldest = np.where(within, often[:, None], 0).max(axis=0, initial=0)
        known = within & (_OLDER * often[:, None] > oldest)
        largest = np.where(known, self.both, 0).max(axis=0, initial=0)
        rivals = known & (self.both >= _AS_LARGE * largest)
        oldest = np.where(rivals, often[:, None], 0).max(axis=0, initial=0)
        first = np.where(rivals & (_MUCH_OLDER * often[:, None] > oldest), self.both, 0)
        return np.asarray(within & (first < first.max(axis=0, initial=0)))


@dataclass(frozen=True, eq=False)
class FrameBefore:
    """What the frame before showed, at a coarse resolution.

    Attributes:
        labels: (h, w) int64, 1 + the row in `ids` of what each pixel showed, 0 for nothing.
        depth_m: (h, w) of these pixels, 0 where there is none.
        stride: pixels of the image for one of `labels`.
        intrinsics: of the whole image.
        T_camera_map: of that frame, in the map of number `map_number`.
        ids: (N,) int64 track ids.
        pixels: (N,) float64, of the masks, in pixels of the whole image.
    """

    labels: NDArray[np.int64]
    depth_m: NDArray[np.float32]
    stride: int
    intrinsics: Intrinsics
    T_camera_map: Transform
    map_number: int
    ids: NDArray[np.int64]
    pixels: FloatArray

    @classmethod
    def of(
        cls, frame: RgbdFrame, instances: Instances, ids: NDArray[np.int64], T_map_camera: Transform, map_number: int
    ) -> FrameBefore:
        """A frame for the one after it."""
        stride = max(1, frame.intrinsics.width // _WIDTH_PX)
        depth_m = frame.depth_m[::stride, ::stride].copy()
        labels = np.zeros(depth_m.shape, dtype=np.int64)
        bounds = np.array(instances.bounds, dtype=np.int64).reshape(-1, 4)
        pixels = stride**2 * _label(np.ascontiguousarray(instances.masks), bounds, stride, labels)
        return cls(labels, depth_m, stride, frame.intrinsics, T_map_camera.inverse(), map_number, ids, pixels)

    def moved(self, T_new_map: Transform, map_number: int) -> FrameBefore:
        """The same frame in another map, given the pose of its own one there."""
        return replace(self, T_camera_map=self.T_camera_map @ T_new_map.inverse(), map_number=map_number)

    def renamed(self, ids: Mapping[int, int]) -> FrameBefore:
        """The same frame, in which what had the keys as ids has the values."""
        return replace(self, ids=np.array([ids.get(own, own) for own in self.ids.tolist()], dtype=np.int64))

    def shared(self, ids: NDArray[np.int64], seen: Sightings) -> Shared:
        """What tracks of some ids (T,) showed in the frame before of what is seen now (N,), moved back.

        By the share of what was measured of each N that lies where the frame before showed each T; nothing of tracks
        that it did not show, and of what was not measured.

        Args:
            seen: in the map of this frame.
        """
        known, shown = np.nonzero(ids[:, None] == self.ids)
        result = Shared(np.zeros((len(ids), len(seen))), np.zeros(len(ids)), seen.pixels)
        result.before[known] = self.pixels[shown]
        rows = np.flatnonzero(seen.has_points)
        if not len(rows) or not len(self.ids):
            return result
        points_m = self.T_camera_map.apply((seen.somewhere_m[:, None] + seen.points_m)[rows].reshape(-1, 3))
        ahead = points_m[:, 2] > 1e-3
        x, y = np.rint(self.intrinsics.project(np.where(ahead[:, None], points_m, 1.0)) / self.stride).T
        height, width = self.labels.shape
        inside = ahead & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        labels = np.zeros(len(points_m), dtype=np.int64)
        at = y[inside].astype(np.int64), x[inside].astype(np.int64)
        depth_m = points_m[inside, 2]
        same = np.abs(self.depth_m[at] - depth_m) <= np.maximum(_SAME_M, _SAME_SHARE * depth_m)
        labels[inside] = np.where(same, self.labels[at], 0)
        count = len(self.ids) + 1
        owner = np.repeat(np.arange(len(rows)), seen.points_m.shape[1])
        hits = np.bincount(owner * count + labels, minlength=len(rows) * count).reshape(-1, count)[:, 1:]
        both = np.minimum(hits / seen.points_m.shape[1] * seen.pixels[rows, None], self.pixels)
        result.both[np.ix_(known, rows)] = both.T[shown]
        return result


@kernel("boolean[:, :, ::1]", "int64[:, ::1]", "int64", "int64[:, ::1]", writes=("labels",))
def _label(
    masks: NDArray[np.bool_], bounds_xywh: NDArray[np.int64], stride: int, labels: NDArray[np.int64]
) -> FloatArray:
    """Labels every so many pixels of an image by the last mask (N, H, W) that holds them, from 1 on.

    Args:
        bounds_xywh: (N, 4) left, top, width and height of what each mask holds.
        labels: (h, w) of zeros, to be filled.

    Returns:
        (N,) how many have the label of each mask.
    """
    height, width = labels.shape
    counts = np.zeros(len(masks))
    for n in range(len(masks)):
        left, top, across, down = bounds_xywh[n]
        for y in range(-(-top // stride), min(-(-(top + down) // stride), height)):
            for x in range(-(-left // stride), min(-(-(left + across) // stride), width)):
                if masks[n, y * stride, x * stride]:
                    if labels[y, x] > 0:
                        counts[labels[y, x] - 1] -= 1
                    labels[y, x] = n + 1
                    counts[n] += 1
    return counts
