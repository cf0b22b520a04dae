"""Tracking: ids that stay with an object from frame to frame, by association in 3D."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from instance_seg_ros.camera import RgbdFrame
from instance_seg_ros.config import TrackingSettings
from instance_seg_ros.geometry import Transform
from instance_seg_ros.instances import Instances
from instance_seg_ros.lifting import Instance3D, LiftedFrame

_MASK_STRIDE_PX = 4
_MIN_MASK_IOU = 0.25
"""Without 3D on both sides, masks that overlap less than this are different objects."""
_REMEMBERED_POINTS = 100
_MAX_TRACKS = 512
"""Of the tracks that nobody sees, only the latest so many are remembered: memory stays bounded."""
_SIGHT_TOLERANCE_M = 0.02
_MIN_SHARE_IN_VIEW = 0.25
"""Where less of a place is in the image, it says nothing about the object."""
_UNMATCHABLE = 1e6
LATE_NS = 500_000_000
"""A frame that is older than the latest by no more came late; by more, time was reset."""


class TimeStep(enum.Enum):
    """How a frame's stamp follows the stamps before it, and so what becomes of the tracks that it does not show."""

    FORWARD = "forward"
    """Newer than all before: they age."""
    UNKNOWN = "unknown"
    """The stamp is 0, as in a header that nobody filled in: the frame counts as a new moment, and they age."""
    REPEATED = "repeated"
    """The latest stamp again: the same moment, and nothing ages."""
    LATE = "late"
    """A little older than the latest, out of order or after the clock was set back: nothing ages."""
    RESET = "reset"
    """Much older, as when a bag loops or a simulator restarts: all tracks are forgotten, and ids go on counting."""


@dataclass(frozen=True, eq=False)
class _Track:
    """What is remembered of an object.

    Attributes:
        last_seen: number of the update that saw it last.
        missed: updates since then in which its place was in view and empty.
        small_mask: (H / 4, W / 4) bool, the mask when it was seen last.
        centroid_m: (3,) in the fixed frame, or None when it never had 3D.
        size_m: (3,) box sides in descending order, or None likewise.
        points_m: (<= 100, 3) surface points in the fixed frame; empty likewise.
    """

    track_id: int
    last_seen: int
    missed: int
    small_mask: NDArray[np.bool_]
    centroid_m: NDArray[np.float64] | None
    size_m: NDArray[np.float64] | None
    points_m: NDArray[np.float64]


class Tracker:
    """Gives each instance the id of the object that it was in earlier frames.

    Objects are taken to stand still in the fixed frame, or to move little from frame to frame. Instances and tracks are
    paired one to one at the least total cost: distance of the centroids, difference of the box sizes, and the share of
    the track's remembered surface that, projected into this frame, does not fall into the instance's mask. Instances of
    score `first_pass_score` and above choose first. Where either side has no 3D, the overlap of the masks decides.

    A track that is not seen ages only in frames that look at its place and past it: while it is occluded, out of the
    image, or still measured there but not segmented, it keeps its id. Ids start at 1 and are never used twice.

    `TimeStep` says what repeated, late, missing and much older stamps do; `time_step` is that of the latest frame. When
    the fixed frame comes or goes between two frames (`T_fixed_camera` given now and not before, or the other way
    round), positions are not comparable, so that frame is matched by masks alone.

    Attributes:
        settings: may be replaced between two frames; the tracks stay.
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self._tracks: tuple[_Track, ...] = ()
        self._next_id = 1
        self._updates = 0
        self.time_step = TimeStep.FORWARD
        self._stamp_ns: int | None = None
        self._had_fixed_frame: bool | None = None

    def reset(self) -> None:
        """Forget all tracks; ids given so far are not used again."""
        self._tracks = ()
        self._stamp_ns = None
        self._had_fixed_frame = None

    def update(
        self, frame: RgbdFrame, instances: Instances, lifted: LiftedFrame, T_fixed_camera: Transform | None = None
    ) -> tuple[int, ...]:
        """The track id of each instance, > 0 and unique within the frame.

        Args:
            lifted: of the same frame, in the order of the instances.
            T_fixed_camera: pose of the camera in a frame that does not move; None takes the camera as fixed.

        Raises:
            ValueError: when `instances` and `lifted` differ in length.
        """
        if len(instances) != len(lifted.instances):
            raise ValueError(f"{len(instances)} instances but {len(lifted.instances)} lifted ones")
        self.time_step = _time_step(self._stamp_ns, frame.stamp_ns)
        if self.time_step is TimeStep.RESET:
            self.reset()
        comparable = self._had_fixed_frame in (None, T_fixed_camera is not None)
        self._updates += 1
        pose = Transform.identity() if T_fixed_camera is None else T_fixed_camera
        if not comparable:
            self._tracks = tuple(
                replace(track, centroid_m=None, size_m=None, points_m=np.zeros((0, 3))) for track in self._tracks
            )
        observed = [
            self._observe(mask, instance, pose)
            for mask, instance in zip(instances.masks, lifted.instances, strict=True)
        ]
        cost = self._costs(observed, instances, pose, frame)
        matches = self._match(cost, instances.scores)
        seen: list[_Track] = []
        for index, observation in enumerate(observed):
            if index in matches:
                seen.append(_continued(self._tracks[matches[index]], observation))
            else:
                seen.append(replace(observation, track_id=self._next_id))
                self._next_id += 1
        matched = set(matches.values())
        unseen = [track for position, track in enumerate(self._tracks) if position not in matched]
        if self.time_step not in (TimeStep.REPEATED, TimeStep.LATE):
            unseen = [self._aged(track, pose, frame) for track in unseen]
        unseen = [track for track in unseen if track.missed <= self.settings.max_missed_frames]
        unseen.sort(key=lambda track: track.last_seen)
        self._tracks = (*seen, *unseen[-_MAX_TRACKS:])
        if self.time_step in (TimeStep.FORWARD, TimeStep.RESET):
            self._stamp_ns = frame.stamp_ns
        self._had_fixed_frame = T_fixed_camera is not None
        return tuple(track.track_id for track in seen)

    def _observe(self, mask: NDArray[np.bool_], instance: Instance3D, T_fixed_camera: Transform) -> _Track:
        small_mask = mask[::_MASK_STRIDE_PX, ::_MASK_STRIDE_PX].copy()
        if instance.centroid_m is None or instance.box is None:
            return _Track(0, self._updates, 0, small_mask, None, None, np.zeros((0, 3)))
        points_m = instance.points_m[:: 1 + len(instance.points_m) // _REMEMBERED_POINTS].astype(np.float64)
        return _Track(
            0,
            self._updates,
            0,
            small_mask,
            np.asarray(T_fixed_camera.apply(instance.centroid_m), dtype=np.float64),
            np.sort(instance.box.size_m)[::-1],
            np.asarray(T_fixed_camera.apply(points_m), dtype=np.float64),
        )

    def _costs(
        self, observed: Sequence[_Track], instances: Instances, T_fixed_camera: Transform, frame: RgbdFrame
    ) -> NDArray[np.float64]:
        """(tracks, instances) cost in [0, 1], `_UNMATCHABLE` where the two cannot be the same object."""
        cost = np.full((len(self._tracks), len(observed)), _UNMATCHABLE)
        labels = instances.label_image()
        T_camera_fixed = T_fixed_camera.inverse()
        for row, track in enumerate(self._tracks):
            shares = _share_in_masks(T_camera_fixed.apply(track.points_m), labels, len(observed), frame)
            for column, candidate in enumerate(observed):
                if track.centroid_m is not None and candidate.centroid_m is not None:
                    distance = np.linalg.norm(track.centroid_m - candidate.centroid_m) / self.settings.max_distance_m
                    if distance <= 1:
                        size = _size_difference(track.size_m, candidate.size_m)
                        cost[row, column] = 0.5 * distance + 0.2 * size + 0.3 * (1 - shares[column])
                else:
                    overlap = _iou(track.small_mask, candidate.small_mask)
                    if overlap >= _MIN_MASK_IOU:
                        cost[row, column] = 1 - overlap
        return cost

    def _match(self, cost: NDArray[np.float64], scores: NDArray[np.float32]) -> dict[int, int]:
        """Instance index to track position: high scores first, the others among the tracks that are left."""
        matches: dict[int, int] = {}
        high = scores >= self.settings.first_pass_score
        for group in (np.flatnonzero(high), np.flatnonzero(~high)):
            free = np.array([row for row in range(len(cost)) if row not in matches.values()], dtype=np.int64)
            part = cost[np.ix_(free, group)]
            for row, column in zip(*linear_sum_assignment(part), strict=True):
                if part[row, column] < _UNMATCHABLE:
                    matches[int(group[column])] = int(free[row])
        return matches

    def _aged(self, track: _Track, T_fixed_camera: Transform, frame: RgbdFrame) -> _Track:
        """One more missed frame when the track's place is in view and what is seen of it is mostly empty."""
        if track.centroid_m is None:
            return replace(track, missed=track.missed + 1)  # its place is not known
        points_m = T_fixed_camera.inverse().apply(track.points_m)
        rows, columns, inside = _pixels_in_image(points_m, frame)
        seen_m = frame.depth_m[rows, columns]
        tolerance_m = np.maximum(_SIGHT_TOLERANCE_M, 0.02 * points_m[inside, 2])
        beyond = seen_m > points_m[inside, 2] + tolerance_m
        if len(inside) >= _MIN_SHARE_IN_VIEW * len(points_m) and np.count_nonzero(beyond) > 0.5 * len(inside):
            return replace(track, missed=track.missed + 1)
        return track


def _continued(track: _Track, observation: _Track) -> _Track:
    """The observation under the track's id; without 3D of its own, as when depth fails, it keeps the last known."""
    if observation.centroid_m is not None:
        return replace(observation, track_id=track.track_id)
    return replace(
        observation,
        track_id=track.track_id,
        centroid_m=track.centroid_m,
        size_m=track.size_m,
        points_m=track.points_m,
    )


def _time_step(latest_ns: int | None, stamp_ns: int) -> TimeStep:
    if stamp_ns == 0:
        return TimeStep.UNKNOWN
    if latest_ns is None or stamp_ns > latest_ns:
        return TimeStep.FORWARD
    if stamp_ns == latest_ns:
        return TimeStep.REPEATED
    return TimeStep.LATE if latest_ns - stamp_ns <= LATE_NS else TimeStep.RESET


def _pixels_in_image(
    points_m: NDArray[np.floating], frame: RgbdFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the (N, 3) points that fall into the image, and which points these are."""
    ahead = np.flatnonzero(points_m[:, 2] > 1e-3)
    columns, rows = np.rint(frame.intrinsics.project(points_m[ahead])).T
    inside = (columns >= 0) & (columns < frame.intrinsics.width) & (rows >= 0) & (rows < frame.intrinsics.height)
    return rows[inside].astype(np.int64), columns[inside].astype(np.int64), ahead[inside]


def _share_in_masks(
    points_m: NDArray[np.floating], labels: NDArray[np.uint16], count: int, frame: RgbdFrame
) -> NDArray[np.float64]:
    """(count,) share of the (N, 3) points, camera optical frame, that fall into each instance's mask."""
    if not len(points_m):
        return np.zeros(count)
    rows, columns, _ = _pixels_in_image(points_m, frame)
    return np.bincount(labels[rows, columns], minlength=count + 1)[1 : count + 1] / len(points_m)


def _size_difference(first_m: NDArray[np.float64] | None, second_m: NDArray[np.float64] | None) -> float:
    """0 for equal box sides to 1 for boxes of which one is a sheet."""
    if first_m is None or second_m is None:
        return 0.0
    return float(np.mean(1 - np.minimum(first_m, second_m) / np.maximum(np.maximum(first_m, second_m), 1e-6)))


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one size; 0 for masks of different sizes (the camera's mode changed)."""
    if first.shape != second.shape:
        return 0.0
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0
