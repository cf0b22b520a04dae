"""Tracking: ids that stay with an object from frame to frame, by association in 3D."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.masks import mask_ious
from instance_seg_ros.core.parameters import TrackingSettings
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
    score `first_pass_score` and above choose first. Where either side has no 3D, the overlap of the masks decides, for
    tracks that were seen within the last `max_missed_frames`: longer ago the camera may have looked elsewhere.

    A track that is not seen ages only in frames that look at its place and past it: while it is occluded, out of the
    image, or still measured there but not segmented, it keeps its id. Ids start at 1 and are never used twice.

    `TimeStep` says what repeated, late, missing and much older stamps do; `time_step` is that of the latest frame. When
    the fixed frame comes or goes between two frames (`T_fixed_camera` given now and not before, or the other way
    round), positions are not comparable, so that frame is matched by masks alone. Without a fixed frame, what another
    camera sees (a frame with another `frame_id`) are other objects.

    Attributes:
        settings: may be replaced at any time, also by another thread: an update takes those of its start, and the
            tracks stay.
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self._tracks: tuple[_Track, ...] = ()
        self._ids = itertools.count(1)
        self._updates = 0
        self.time_step = TimeStep.FORWARD
        self._stamp_ns: int | None = None
        self._had_fixed_frame: bool | None = None
        self._frame_id: str | None = None

    def reset(self) -> None:
        """Forget all tracks; ids given so far are not used again."""
        self._tracks = ()
        self._stamp_ns = None
        self._had_fixed_frame = None

    def successor(self, settings: TrackingSettings) -> Tracker:
        """A tracker that knows no object and uses none of the ids of this one, also while this one is at work."""
        successor = Tracker(settings)
        successor._ids = self._ids
        return successor

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
        settings = self.settings
        self.time_step = _time_step(self._stamp_ns, frame.stamp_ns)
        if self.time_step is TimeStep.RESET:
            self.reset()
        if self._had_fixed_frame not in (None, T_fixed_camera is not None):
            self._tracks = tuple(
                replace(track, centroid_m=None, size_m=None, points_m=np.zeros((0, 3))) for track in self._tracks
            )
        if T_fixed_camera is None and self._frame_id not in (None, frame.frame_id):
            self._tracks = ()
        self._updates += 1
        pose = Transform.identity() if T_fixed_camera is None else T_fixed_camera
        observed = [
            self._observe(mask, instance, pose)
            for mask, instance in zip(instances.masks, lifted.instances, strict=True)
        ]
        places = _places_of(self._tracks, pose.inverse(), frame)
        shares = places.shares(instances.label_image(), len(observed))
        matches = _match(self._costs(observed, shares, settings), instances, settings.first_pass_score)
        seen = tuple(
            _continued(self._tracks[matches[index]], observation)
            if index in matches
            else replace(observation, track_id=next(self._ids))
            for index, observation in enumerate(observed)
        )
        unseen = self._unseen(set(matches.values()), places.empty(frame), settings.max_missed_frames)
        self._tracks = (*seen, *unseen)
        if self.time_step in (TimeStep.FORWARD, TimeStep.RESET):
            self._stamp_ns = frame.stamp_ns
        self._had_fixed_frame, self._frame_id = T_fixed_camera is not None, frame.frame_id
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
        self, observed: Sequence[_Track], shares: NDArray[np.float64], settings: TrackingSettings
    ) -> NDArray[np.float64]:
        """(tracks, instances) cost in [0, 1], `_UNMATCHABLE` where the two cannot be the same object.

        Args:
            shares: (tracks, instances) of the tracks' points that fall into the instances' masks.
        """
        (track_m, track_size_m), (place_m, size_m) = _geometry(self._tracks), _geometry(observed)
        distance = np.linalg.norm(track_m[:, None] - place_m, axis=2) / settings.max_distance_m
        smaller, larger = np.minimum(track_size_m[:, None], size_m), np.maximum(track_size_m[:, None], size_m)
        size = np.mean(1 - smaller / np.maximum(larger, 1e-6), axis=2)  # 0 for equal sides, 1 where one is a sheet
        cost = 0.5 * distance + 0.2 * size + 0.3 * (1 - shares)
        latest = [self._updates - track.last_seen <= 1 + settings.max_missed_frames for track in self._tracks]
        overlap = _overlaps(self._tracks, observed, np.isnan(distance) & np.array(latest, dtype=bool)[:, None])
        return np.where(
            np.isnan(distance),
            np.where(overlap >= _MIN_MASK_IOU, 1 - overlap, _UNMATCHABLE),
            np.where(distance <= 1, cost, _UNMATCHABLE),
        )

    def _unseen(self, matched: set[int], empty: NDArray[np.bool_], max_missed_frames: int) -> list[_Track]:
        """The tracks that are remembered though no instance continues them, in the order in which they were seen.

        Args:
            matched: positions of those that were continued.
            empty: (tracks,) whose places are seen empty, so that they miss one more frame.
        """
        ages = self.time_step not in (TimeStep.REPEATED, TimeStep.LATE)
        unseen = [
            replace(track, missed=track.missed + 1) if ages and empty[position] else track
            for position, track in enumerate(self._tracks)
            if position not in matched
        ]
        unseen = [track for track in unseen if track.missed <= max_missed_frames]
        return sorted(unseen, key=lambda track: track.last_seen)[-_MAX_TRACKS:]


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the remembered points of T tracks are in a frame; M of them fall into the image.

    Attributes:
        counts: (T,) int64, how many points each track has.
        owner: (M,) int64, the position of each point's track.
        rows, columns: (M,) int64, its pixel.
        depth_m: (M,) float64, its own.
    """

    counts: NDArray[np.int64]
    owner: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    depth_m: NDArray[np.float64]

    def shares(self, labels: NDArray[np.uint16], count: int) -> NDArray[np.float64]:
        """(T, count) share of each track's points that fall into the mask of each label from 1 to count."""
        key = self.owner * (count + 1) + labels[self.rows, self.columns]
        falls = np.bincount(key, minlength=len(self.counts) * (count + 1)).reshape(-1, count + 1)
        return falls[:, 1:] / np.maximum(self.counts, 1)[:, None]

    def empty(self, frame: RgbdFrame) -> NDArray[np.bool_]:
        """(T,) whether enough of a track's place is in view, and most of that is empty; true for an unknown place."""
        beyond = frame.depth_m[self.rows, self.columns] > self.depth_m + np.maximum(
            _SIGHT_TOLERANCE_M, 0.02 * self.depth_m
        )
        in_view, seen_through = (
            np.bincount(owner, minlength=len(self.counts)) for owner in (self.owner, self.owner[beyond])
        )
        place_is_empty = (in_view >= _MIN_SHARE_IN_VIEW * self.counts) & (seen_through > 0.5 * in_view)
        return place_is_empty | (self.counts == 0)


def _places_of(tracks: Sequence[_Track], T_camera_fixed: Transform, frame: RgbdFrame) -> _Places:
    counts = np.array([len(track.points_m) for track in tracks], dtype=np.int64)
    points_m = T_camera_fixed.apply(np.concatenate([np.zeros((0, 3)), *(track.points_m for track in tracks)]))
    owner, ahead = np.repeat(np.arange(len(tracks)), counts), points_m[:, 2] > 1e-3
    owner, points_m = owner[ahead], points_m[ahead]
    columns, rows = np.rint(frame.intrinsics.project(points_m)).T
    inside = (columns >= 0) & (columns < frame.intrinsics.width) & (rows >= 0) & (rows < frame.intrinsics.height)
    return _Places(
        counts,
        owner[inside],
        rows[inside].astype(np.int64),
        columns[inside].astype(np.int64),
        points_m[inside, 2].astype(np.float64),
    )


def _match(cost: NDArray[np.float64], instances: Instances, first_pass_score: float) -> dict[int, int]:
    """Instance index to track position: high scores first, the others among the tracks that are left."""
    matches: dict[int, int] = {}
    high = instances.scores >= first_pass_score
    for group in (np.flatnonzero(high), np.flatnonzero(~high)):
        free = np.array([row for row in range(len(cost)) if row not in matches.values()], dtype=np.int64)
        part = cost[np.ix_(free, group)]
        for row, column in zip(*linear_sum_assignment(part), strict=True):
            if part[row, column] < _UNMATCHABLE:
                matches[int(group[column])] = int(free[row])
    return matches


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


def _geometry(tracks: Sequence[_Track]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centroids and sizes (N, 3) of all, NaN where they are not known."""
    unknown = np.full(3, np.nan)
    return (
        np.array([unknown if track.centroid_m is None else track.centroid_m for track in tracks]).reshape(-1, 3),
        np.array([unknown if track.size_m is None else track.size_m for track in tracks]).reshape(-1, 3),
    )


def _overlaps(tracks: Sequence[_Track], observed: Sequence[_Track], wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(tracks, observed) IoU of the masks where it is wanted; 0 for masks of another size, of another camera mode."""
    overlaps = np.zeros(wanted.shape)
    for row in np.flatnonzero(wanted.any(axis=1)).tolist():
        mask, columns = tracks[row].small_mask, np.flatnonzero(wanted[row]).tolist()
        if mask.shape != observed[0].small_mask.shape:
            continue
        others = np.stack([observed[column].small_mask for column in columns])
        overlaps[row, columns] = mask_ious(mask[None], others)[0]
    return overlaps
