"""Tracking: ids that stay with an object from frame to frame, by association in 3D."""

from __future__ import annotations

import enum
import functools
import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import TrackingSettings
from instance_seg_ros.lifting import LiftedFrame
from instance_seg_ros.tracking.arrays import joined, rows_at
from instance_seg_ros.tracking.association import (
    Comparison,
    compared,
    costs,
    match,
    older_first,
    places_of,
    same_objects,
    seen_again,
)
from instance_seg_ros.tracking.frame_before import FrameBefore, Shared
from instance_seg_ros.tracking.landmarks import LEAST, LandmarkFinder
from instance_seg_ros.tracking.maps import Map, is_young, map_by_landmarks, map_of, view_of
from instance_seg_ros.tracking.pieces import broken_off, largest_first
from instance_seg_ros.tracking.sightings import FloatArray, Sightings, sightings_of
from instance_seg_ros.tracking.tracks import (
    IntArray,
    TrackRecord,
    Tracks,
    begun,
    continued,
    expected,
    moved,
    restarted,
    were_pieces,
)

_MAX_TRACKS = 512
"""Of the tracks that nobody sees, only the latest so many are remembered: memory stays bounded."""
_YOUNG = 5
"""A track of so few sightings may turn out to be an object that was lost before; its id gives way to that one's."""
_MOVING = 3
"""What was in one place for so few sightings may have moved on since."""
_LARGEST_REACH = 4
"""A lost object may be `max_distance_m` away for each update that did not see it, but no more than so many times."""
_JUST = 3
"""Updates in which a hand that takes an object has not gone far."""
_RECENT_S = 1.0
"""A frame before that is older tells little of where masks are now."""
_USUAL_STEP_S = 1 / 30
"""Of a frame whose stamp does not tell, so much time counts as gone by for what may move: were it none, as often as
that happens, what has been seen many times in its place could not leave it any more."""
LATE_NS = 500_000_000
"""A frame that is older than the latest by no more came late; by more, time was reset."""


class TimeStep(enum.Enum):
    """How a frame's stamp follows the stamps before it, and so what becomes of the tracks that it does not show."""

    FORWARD = "forward"
    """Newer than all before: they age."""
    UNKNOWN = "unknown"
    """The stamp is 0, as in a header that nobody filled in: the frame counts as a new moment, and they age."""
    REPEATED = "repeated"
    """The latest stamp again: nothing ages."""
    LATE = "late"
    """A little older than the latest, out of order or after the clock was set back: nothing ages."""
    RESET = "reset"
    """Much older, as when a bag loops or a simulator restarts: all tracks are forgotten, and ids go on counting."""


class Tracker:
    """Gives each instance the id of the object that it was in earlier frames.

    Where each track is expected follows from a motion model in which objects mostly stand and what moves comes to rest
    soon (`motion`). Instances and tracks are paired one to one at the least total cost (`association`): distance,
    sizes, colours, and how much of one lies in the other, which keeps the id of an object of which only a sliver is
    left in sight; what looks quite different is another object in whatever place, and nothing is elsewhere while its
    surface is measured where it was. Instances of score `first_pass_score` and above choose first among what fits them
    well. What has no 3D continues the track whose box the rays through its pixels meet, whose mask it overlaps, or that
    was near.

    A track that is not seen ages only in frames that look at its place and past it: while it is occluded, out of the
    image, or still measured there but not segmented, it keeps its id, and where it is grows less certain for no longer
    than a second. One whose place was seen empty, or that was in
    motion, is known again elsewhere by its size and colour, unless another one is nearly as like it; for that an id of
    few frames may give way to one that was not seen since. Ids start at 1 and are never used twice.

    Without a fixed frame (`T_fixed_camera` is None) the camera's motion is told from corners of the picture with their
    depth (`landmarks`); where these do not tell, as without colour, from the objects' common motion (`alignment`), or
    from the depth where the camera stands still. Where nothing tells where the camera is, a new map begins: what is
    seen there are new objects, and those of the maps before wait, without ageing, until two of them (three of many,
    where the depth does not tell the same) or the depth tell that the camera is back. When a fixed frame comes, the
    tracks move into it; when it goes, they stay, and when it comes back, they are where they were in it, and what was
    taken for new meanwhile, where such an object is, has its id again.
    Without a fixed frame, what another camera sees (a frame with another `frame_id`) are other objects.

    `TimeStep` says what repeated, late, missing and much older stamps do; `time_step` is that of the latest frame.

    Attributes:
        settings: may be replaced at any time, also by another thread: an update takes those of its start, and the
            tracks stay.
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self.time_step = TimeStep.FORWARD
        self._ids = itertools.count(1)
        self._map_numbers = itertools.count(1)
        self._finder = LandmarkFinder()
        self._updates = 0
        self._frame_id: str | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all tracks; ids given so far are not used again."""
        self._tracks: Tracks | None = None
        self._maps: tuple[Map, ...] = ()
        self._stamp_ns: int | None = None
        self._stamps_ns: dict[int, int] = {}
        self._fixed_map: int | None = None
        self._before: FrameBefore | None = None

    def successor(self, settings: TrackingSettings) -> Tracker:
        """A tracker that knows no object and uses none of the ids of this one, also while this one is at work."""
        successor = Tracker(settings)
        successor._ids = self._ids
        return successor

    @property
    def T_map_camera(self) -> Transform | None:
        """Where the camera of the latest frame is: in the fixed frame, or in the tracker's own map; None before any."""
        return self._maps[0].T_map_camera if self._maps else None

    @property
    def records(self) -> Mapping[int, TrackRecord]:
        """How often and since when each object was seen, by its id, also of what the latest frame does not show."""
        return {} if self._tracks is None else self._tracks.records(self._stamps_ns)

    def look_at(self, frame: RgbdFrame, T_fixed_camera: Transform | None = None) -> None:
        """Begins what the frame's `update` needs of the picture alone, in a thread beside; it may be left out."""
        if T_fixed_camera is None:
            self._finder.look_at(frame)

    def update(
        self, frame: RgbdFrame, instances: Instances, lifted: LiftedFrame, T_fixed_camera: Transform | None = None
    ) -> tuple[int, ...]:
        """The track id of each instance, > 0 and unique within the frame.

        Args:
            lifted: of the same frame, in the order of the instances.
            T_fixed_camera: pose of the camera in a frame that does not move; None: the tracker finds out by itself how
                the camera moves.

        Raises:
            ValueError: when `instances` and `lifted` differ in length.
        """
        if len(instances) != len(lifted.instances):
            raise ValueError(f"{len(instances)} instances but {len(lifted.instances)} lifted ones")
        settings = self.settings
        self.time_step = _time_step(self._stamp_ns, frame.stamp_ns)
        if self.time_step is TimeStep.RESET:
            self.reset()
        if T_fixed_camera is None and self._frame_id not in (None, frame.frame_id):
            self._tracks, self._maps, self._before = None, (), None
        self._updates += 1
        all_masks = self._tracks is not None and not self._tracks.look.placed.all()
        seen = sightings_of(frame, instances, lifted, all_masks=all_masks)
        seconds = self._seconds_since(frame.stamp_ns)
        none = np.zeros(0, dtype=np.int64)
        tracks = begun(rows_at(seen, none), none, 0, 0) if self._tracks is None else self._tracks
        number = self._maps[0].number if self._maps else 0
        tracks = expected(tracks, number, seconds, seen.masks.shape[1:])
        up = None if lifted.support_plane is None else lifted.support_plane.normal
        tracks, here = self._located(tracks, seen, up, frame, T_fixed_camera)
        self._tracks, ids = self._associated(
            tracks, seen.moved(here.T_map_camera), here, frame, instances, settings, seconds
        )
        if self.time_step in (TimeStep.FORWARD, TimeStep.RESET):
            self._stamp_ns = frame.stamp_ns
        self._stamps_ns[self._updates] = frame.stamp_ns
        in_use = {*self._tracks.first_seen.tolist(), *self._tracks.last_seen.tolist()}
        self._stamps_ns = {update: stamp_ns for update, stamp_ns in self._stamps_ns.items() if update in in_use}
        self._frame_id = frame.frame_id
        self._before = FrameBefore.of(frame, instances, np.array(ids, dtype=np.int64), here.T_map_camera, here.number)
        return ids

    def _associated(
        self,
        tracks: Tracks,
        seen: Sightings,
        here: Map,
        frame: RgbdFrame,
        instances: Instances,
        settings: TrackingSettings,
        seconds: float,
    ) -> tuple[Tracks, tuple[int, ...]]:
        """The tracks after this frame, and the ids of what it shows."""
        own = tracks.maps == here.number
        current = tracks if own.all() else rows_at(tracks, own)
        places = places_of(current.look, here.T_map_camera.inverse(), frame)
        recent = self._before is not None and self._before.map_number == here.number and seconds <= _RECENT_S
        shared = (
            self._before.shared(current.ids, seen)
            if recent and self._before is not None
            else Shared(np.zeros((len(current), len(seen))), np.zeros(len(current)), seen.pixels)
        )
        comparison = compared(current, seen, places, instances.masks, shared)
        waited = self._updates - current.last_seen
        eye_m = here.T_map_camera.translation_m
        cost = costs(current, seen, comparison, eye_m, settings.max_distance_m, waited)
        rows, positions = match(cost, instances.scores, settings.first_pass_score)
        known_for = self._updates - current.first_seen
        positions = older_first(cost, comparison, current.sightings, known_for, waited, rows, positions)
        gone = places.empty()
        away = gone | (current.missed > 0) | (current.rests <= _MOVING)
        current, rows, positions, replaced = self._with_lost_ones(
            current, away, seen, comparison, rows, positions, settings
        )
        current, rows, positions = largest_first(current, seen.pixels, comparison, rows, positions)
        fresh, unseen = np.ones(len(seen), dtype=bool), np.ones(len(current), dtype=bool)
        fresh[rows], unseen[positions] = False, False
        ids = np.zeros(len(seen), dtype=np.int64)
        ids[rows] = current.ids[positions]
        ids[fresh] = [next(self._ids) for _ in range(np.count_nonzero(fresh))]
        parts = [
            continued(
                rows_at(current, positions),
                rows_at(seen, rows),
                comparison.of_pairs(positions, rows),
                self._updates,
                seconds,
            )
        ]
        if fresh.any():
            broken = broken_off(current, shared, np.flatnonzero(fresh))
            parts.append(begun(rows_at(seen, fresh), ids[fresh], here.number, self._updates, broken))
        missed = current.missed
        if self.time_step not in (TimeStep.REPEATED, TimeStep.LATE):
            missed = missed + (gone | were_pieces(current, comparison.lies, rows, positions))
        left = unseen & ~replaced & (missed <= settings.max_missed_frames)
        if left.any():
            parts.append(_latest(rows_at(replace(current, missed=missed), left)))
        if not own.all():
            parts.append(_latest(rows_at(tracks, ~own)))
        return functools.reduce(joined, parts), tuple(ids.tolist())

    def _with_lost_ones(
        self,
        tracks: Tracks,
        away: NDArray[np.bool_],
        seen: Sightings,
        comparison: Comparison,
        rows: IntArray,
        positions: IntArray,
        settings: TrackingSettings,
    ) -> tuple[Tracks, IntArray, IntArray, NDArray[np.bool_]]:
        """The pairs with those of lost tracks, which begin anew there; and which young tracks (T,) these replace.

        Only what may be away (T,) is lost: its place was seen empty, or it was in motion when it was seen last. What is
        hidden is where it was. And what was seen since a young track is there is another object than that one, unless
        that is a piece of it.
        """
        replaced = np.zeros(len(tracks), dtype=bool)
        waited = self._updates - tracks.last_seen
        # What was lost for too long a while ago is not known again, but may be what began before that: nothing else is.
        lost = away & (tracks.sightings > _YOUNG) & (waited <= settings.max_missed_frames + _YOUNG)
        lost[positions] = False
        young = tracks.sightings <= _YOUNG
        began_since = tracks.first_seen > tracks.last_seen[:, None]
        may_be = lost[:, None] & young & (began_since | (tracks.piece_of == tracks.ids[:, None]))
        open_to = np.repeat(lost[:, None], len(seen), axis=1)
        open_to[:, rows] &= may_be[:, positions] | comparison.given_up(positions, rows, lost)
        if not open_to.any():
            return tracks, rows, positions, replaced
        reach_m = settings.max_distance_m * np.minimum(1 + waited, _LARGEST_REACH)
        lifted_m = np.where(waited <= _JUST, settings.max_distance_m, 0.0)
        again, which = seen_again(tracks, seen, comparison, open_to, reach_m, lifted_m)
        in_time = waited[which] <= settings.max_missed_frames
        again, which = again[in_time], which[in_time]
        taken_back, lost_of = np.isin(rows, again), np.zeros(len(seen), dtype=np.int64)
        lost_of[again] = which
        replaced[positions] = taken_back & may_be[lost_of[rows], positions]
        tracks = restarted(tracks, which, rows_at(seen, again))
        rows, positions = np.append(rows[~taken_back], again), np.append(positions[~taken_back], which)
        return tracks, rows, positions, replaced

    def _located(
        self,
        tracks: Tracks,
        seen: Sightings,
        up: FloatArray | None,
        frame: RgbdFrame,
        T_fixed_camera: Transform | None,
    ) -> tuple[Tracks, Map]:
        """The tracks, moved into the fixed frame when that comes, and the map that the camera is in."""
        if T_fixed_camera is not None and self._maps and self._maps[0].number == self._fixed_map:
            here = replace(self._maps[0], T_map_camera=T_fixed_camera, view_m=view_of(frame))
        else:
            landmarks = self._finder.landmarks_of(frame)
            found = map_by_landmarks(self._maps, landmarks, tracks, seen, up, frame, self._updates)
            if found is None:
                latest = self._maps[0].latest if self._maps else None
                lost = latest is not None and len(latest.landmarks) >= LEAST
                found = map_of(self._maps, tracks, seen, up, frame, self._updates, lost)
            elif is_young(found, self._maps, self._updates):
                asked = map_of(self._maps, tracks, seen, up, frame, self._updates, lost=False)
                found = asked if asked is not None and asked.born < found.born else found
            here = found if found is not None else self._new_map(Transform.identity(), frame)
            if T_fixed_camera is not None:
                T_fixed_map = T_fixed_camera @ here.T_map_camera.inverse()
                fixed = next((known for known in self._maps if known.number == self._fixed_map), None)
                if fixed is None:
                    here = self._new_map(T_fixed_camera, frame)
                else:
                    here = replace(fixed, T_map_camera=T_fixed_camera, view_m=view_of(frame))
                if found is not None and found.number != here.number:
                    tracks, known_as = _put_into_map(tracks, found.number, here.number, T_fixed_map)
                    if self._before is not None and self._before.map_number == found.number:
                        self._before = self._before.moved(T_fixed_map, here.number).renamed(known_as)
                self._fixed_map = here.number
        here = here.with_up(up)
        here = here.with_landmarks(landmarks) if T_fixed_camera is None else replace(here, latest=None)
        known = set(tracks.maps.tolist())
        self._maps = (here, *(other for other in self._maps if other.number in known - {here.number}))
        return tracks, here

    def _new_map(self, T_map_camera: Transform, frame: RgbdFrame) -> Map:
        return Map(next(self._map_numbers), self._updates, T_map_camera, view_of(frame))

    def _seconds_since(self, stamp_ns: int) -> float:
        """From the latest stamp to this one; `_USUAL_STEP_S` where it is not later or not known."""
        later = self.time_step is TimeStep.FORWARD and self._stamp_ns is not None
        return (stamp_ns - self._stamp_ns) / 1e9 if later and self._stamp_ns is not None else _USUAL_STEP_S


def _put_into_map(
    tracks: Tracks, number: int, known_number: int, transform: Transform
) -> tuple[Tracks, dict[int, int]]:
    """The tracks, those of one map put into a known one, given its pose there; and the ids, by those that they had, of
    objects that were known there already, of which nobody could tell before where in that map they are.
    """
    count = np.count_nonzero(tracks.maps == number)
    tracks = moved(tracks, number, known_number, transform)
    came, known = np.arange(count), count + np.flatnonzero(tracks.maps[count:] == known_number)
    twice, first = same_objects(rows_at(tracks.look, came), rows_at(tracks.look, known))
    known_as = dict(zip(tracks.ids[came[twice]].tolist(), tracks.ids[known[first]].tolist(), strict=True))
    return rows_at(tracks, ~np.isin(np.arange(len(tracks)), came[twice])), known_as


def _latest(tracks: Tracks) -> Tracks:
    """Those that were seen last, as many as are remembered."""
    if len(tracks) <= _MAX_TRACKS:
        return tracks
    return rows_at(tracks, np.sort(np.argsort(-tracks.last_seen, kind="stable")[:_MAX_TRACKS]))


def _time_step(latest_ns: int | None, stamp_ns: int) -> TimeStep:
    if stamp_ns == 0:
        return TimeStep.UNKNOWN
    if latest_ns is None or stamp_ns > latest_ns:
        return TimeStep.FORWARD
    if stamp_ns == latest_ns:
        return TimeStep.REPEATED
    return TimeStep.LATE if latest_ns - stamp_ns <= LATE_NS else TimeStep.RESET
