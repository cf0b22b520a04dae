"""What is remembered of objects from frame to frame, in arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.tracking.arrays import joined, rows_at
from instance_seg_ros.tracking.motion import LONGEST_UNSEEN_S, Motion, at_rest, corrected, predicted
from instance_seg_ros.tracking.sightings import Sightings

if TYPE_CHECKING:
    from instance_seg_ros.tracking.association import Comparison

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

INSIDE = 0.6
"""So much of what is partly seen must lie where an object is, to be a part of it though their centres are far apart."""
_RESTS_WITHIN_M = 0.015
_WEIGHT_OF_PARTS = 0.1
"""What is seen in part tells less of where the middle is, so much less than what is seen whole."""
_MUCH_LARGER, _MERGED = 1.3, 0.7
"""What has a side so many times longer, and less of whose points in the box, shows more than the object."""
_UNLIKE = 0.35
"""A difference of sizes that one in a hundred sightings of the same object exceeds."""
_ODD_SIGHTINGS = 5
"""After so many sightings of another shape in a row the object has that."""
_UNMOVED_MASK = 0.85
"""Whose mask overlaps that of the frame before by so much (IoU) is taken to rest, although what moves slowly, or along
the line of sight, shows such a mask as well."""
RESTING = 3
"""What was in its place for so many sightings rests there."""
_COLOR_SIGHTINGS = 20
"""The mean colour is over so many sightings."""
_OWN_SIGHTINGS = 10
_KNOWN_SIGHTINGS = 4
"""What was seen so often has a shape, which a mask that runs over does not change."""
_TAKEN_SHARE = 0.5


@dataclass(frozen=True)
class TrackRecord:
    """How often and since when one object was seen.

    Attributes:
        sightings: how many frames showed it.
        first_seen_ns, last_seen_ns: stamps of the first and of the last of these.
        seen_empty: how many frames since the last saw its place empty, or showed it to be a part of another object.
    """

    sightings: int
    first_seen_ns: int
    last_seen_ns: int
    seen_empty: int


@dataclass(frozen=True, eq=False)
class Tracks:
    """T objects; NaN for what is not known of them.

    Attributes:
        ids: (T,) their track ids.
        maps: (T,) number of the map that each one's place is in.
        first_seen, last_seen: (T,) numbers of the updates that saw it first and last.
        unseen_s: (T,) seconds since it was seen last, no more than `LONGEST_UNSEEN_S`.
        sightings: (T,) how often it was seen.
        missed: (T,) updates since it was seen last that saw its place empty.
        motion: where it is expected, in its map.
        before_m: (T, 3) where it was seen last, also if in part or without 3D: what is left of it in sight is near to
            that.
        resting_m: (T, 3) mean of the places where it was seen since it moved last.
        rests: (T,) how many these are.
        odd: (T,) how many sightings in a row showed it with another shape than `look`.
        piece_of: (T,) id of the object of which it broke off, 0 for an object of its own.
        apart: (T,) how often it was seen beside that since it was last seen as one with it.
        look: its shape and colour, of when it was seen best; place and mask are those of `motion` and the latest frame.
    """

    ids: IntArray
    maps: IntArray
    first_seen: IntArray
    last_seen: IntArray
    unseen_s: FloatArray
    sightings: IntArray
    missed: IntArray
    motion: Motion
    before_m: FloatArray
    resting_m: FloatArray
    rests: IntArray
    odd: IntArray
    piece_of: IntArray
    apart: IntArray
    look: Sightings

    def __len__(self) -> int:
        return len(self.ids)

    def records(self, stamps_ns: Mapping[int, int]) -> dict[int, TrackRecord]:
        """Of each track, by its id.

        Args:
            stamps_ns: of the updates in `first_seen` and `last_seen`.
        """
        columns = self.ids, self.sightings, self.first_seen, self.last_seen, self.missed
        return {
            track_id: TrackRecord(sightings, stamps_ns[first], stamps_ns[last], missed)
            for track_id, sightings, first, last, missed in zip(*(each.tolist() for each in columns), strict=True)
        }

    @property
    def ran_over(self) -> NDArray[np.bool_]:
        """(T,) whether a track rests and its latest mask was not its own: that tells nothing of it."""
        return (self.odd > 0) & (self.rests >= RESTING)


def begun(seen: Sightings, ids: IntArray, number: int, update: int, piece_of: IntArray | None = None) -> Tracks:
    """Tracks of objects that an update sees for the first time, in a map; `piece_of` is that of `Tracks`."""
    count = len(seen)
    zeros = np.zeros(count, dtype=np.int64)
    motion = at_rest(seen.place_m, seen.covariance_m2)
    once, places_m = zeros + 1, seen.place_m
    pieces = zeros if piece_of is None else piece_of
    return Tracks(
        ids=ids,
        maps=zeros + number,
        first_seen=zeros + update,
        last_seen=zeros + update,
        unseen_s=np.zeros(count),
        sightings=once,
        missed=zeros,
        motion=motion,
        before_m=places_m,
        resting_m=places_m,
        rests=once,
        odd=zeros,
        piece_of=pieces,
        apart=zeros,
        look=seen,
    )


def expected(tracks: Tracks, number: int, seconds: float, mask_hw: tuple[int, ...]) -> Tracks:
    """The tracks some time later; masks of another size, of another mode of the camera, are emptied.

    Those of other maps than the one with this number wait as they are, and so do those that were not seen for
    `LONGEST_UNSEEN_S`: places that become less certain with all the time that the camera is away, or that something
    is in front of them, would not tell any more how it is turned when they are seen again.
    """
    left_s = LONGEST_UNSEEN_S - tracks.unseen_s
    step_s = np.where(tracks.maps == number, np.clip(left_s, 0, seconds), 0)
    motion = predicted(tracks.motion, step_s)
    masks = tracks.look.masks
    if masks.shape[1:] != mask_hw:
        masks = np.zeros((len(masks), *mask_hw), dtype=bool)
    look = replace(tracks.look, place_m=motion.place_m, covariance_m2=motion.place_covariance_m2, masks=masks)
    return replace(tracks, motion=motion, unseen_s=tracks.unseen_s + step_s, look=look)


def continued(tracks: Tracks, seen: Sightings, pairs: Comparison, update: int, seconds: float) -> Tracks:
    """The tracks after an update saw each of them; without 3D, as when depth fails, they keep the last known.

    What is seen in part does not replace the shape of what was seen whole, and its own centre tells little of the
    whole's: where it lies in the box and nothing moved, the object is where it was; elsewhere, its middle is that much
    less certain. What was seen often and suddenly has another shape, as when a mask runs over to a neighbour or a hand,
    keeps its shape, and where the mask also shows it in its place, that; unless it is so many times in a row.

    Args:
        seen: (T,) of each track, in its map.
        pairs: (T,) of each track and its sighting.
    """
    known = tracks.look.placed
    larger = (seen.sides_m > _MUCH_LARGER * tracks.look.sides_m).any(axis=1) & (pairs.inside < _MERGED)
    unlike = pairs.size > _UNLIKE
    odd = np.where(known & (larger | unlike) & (tracks.sightings >= _KNOWN_SIGHTINGS), tracks.odd + 1, 0)
    is_odd = (odd > 0) & (odd <= _ODD_SIGHTINGS)
    in_part = seen.partial & ~tracks.look.partial & known
    held = (in_part & (pairs.inside >= INSIDE) & pairs.unmoved) | (is_odd & (pairs.hits >= INSIDE))
    placed = seen.placed & ~held
    hidden_m = np.maximum(tracks.look.sides_m - seen.sides_m, 0).max(axis=1) / 2
    wider_m2 = np.where(in_part & placed, hidden_m**2, 0)[:, None, None] * np.eye(3)
    sighting = replace(seen, covariance_m2=seen.covariance_m2 + wider_m2)
    motion = _motion(tracks.motion, sighting, placed, placed & known, seconds)
    # Whose mask stays where it was has not moved, though its centre may be taken to be elsewhere now. And how fast what
    # rested went to where nothing of it was, nobody knows: a speed would carry it on, past where it was set down.
    still = (pairs.kept >= _UNMOVED_MASK) | (pairs.from_elsewhere & (tracks.rests >= RESTING))
    motion = replace(motion, velocity_m_s=np.where(still[:, None], 0, motion.velocity_m_s))
    resting_m, rests = _resting(tracks, sighting, placed)
    better = placed & ~is_odd & (~seen.partial | tracks.look.partial | ~known)
    look = tracks.look
    if better.any():
        count = np.arange(len(seen))
        look = rows_at(joined(look, seen), np.where(better, count + len(seen), count))
    look = replace(
        look,
        place_m=motion.place_m,
        covariance_m2=motion.place_covariance_m2,
        color=np.where(is_odd[:, None], tracks.look.color, _mean_color(tracks, seen)),
        rays=seen.rays,
        rough_m=seen.rough_m,
        masks=seen.masks,
    )
    # Of what a hand holds so that too little is in sight for 3D, more is known than where it was before. What is before
    # one that rests hidden tells nothing of its place.
    at_m = np.where((seen.placed & ~is_odd)[:, None], seen.place_m, motion.place_m)
    before_m = np.where((~seen.placed & seen.has_points & ~pairs.hidden)[:, None], seen.rough_m, at_m)
    zeros = np.zeros(len(seen), dtype=np.int64)
    return replace(
        tracks,
        last_seen=zeros + update,
        unseen_s=np.zeros(len(seen)),
        sightings=tracks.sightings + 1,
        missed=zeros,
        motion=motion,
        before_m=before_m,
        resting_m=resting_m,
        rests=rests,
        odd=odd,
        look=look,
    )


def restarted(tracks: Tracks, positions: IntArray, seen: Sightings) -> Tracks:
    """The tracks, of which those at some positions were set down elsewhere, where they are seen now."""
    if not len(positions):
        return tracks
    rows = np.arange(len(tracks))
    rows[positions] = len(tracks) + np.arange(len(positions))
    motion = rows_at(joined(tracks.motion, at_rest(seen.place_m, seen.covariance_m2)), rows)
    look = replace(tracks.look, place_m=motion.place_m, covariance_m2=motion.place_covariance_m2)
    return replace(tracks, motion=motion, look=look)


def _mean_color(tracks: Tracks, seen: Sightings) -> FloatArray:
    """(T, 3) over the latest sightings, so that a passing shadow or a mask that slipped for a frame counts little."""
    known, told = ~np.isnan(tracks.look.color), ~np.isnan(seen.color)
    gain = np.maximum(1 / (tracks.sightings + 1), 1 / _COLOR_SIGHTINGS)[:, None]
    mean = tracks.look.color + gain * (seen.color - tracks.look.color)
    return np.where(known & told, mean, np.where(told, seen.color, tracks.look.color))


def _motion(
    motion: Motion, seen: Sightings, placed: NDArray[np.bool_], both: NDArray[np.bool_], seconds: float
) -> Motion:
    if both.all():
        return corrected(motion, seen.place_m, seen.covariance_m2, seconds)
    first, rows = at_rest(seen.place_m, seen.covariance_m2), np.arange(len(seen))
    start = rows_at(joined(motion, first), np.where(placed & ~both, rows + len(seen), rows))
    filtered = corrected(rows_at(start, both), seen.place_m[both], seen.covariance_m2[both], seconds)
    rows[both] = len(seen) + np.arange(np.count_nonzero(both))
    return rows_at(joined(start, filtered), rows)


def _resting(tracks: Tracks, seen: Sightings, placed: NDArray[np.bool_]) -> tuple[FloatArray, IntArray]:
    off_m = seen.place_m - tracks.resting_m
    near = placed & ((off_m**2).sum(axis=1) < 9 * seen.sigma_m**2 + _RESTS_WITHIN_M**2)  # False where either is unknown
    rests = np.where(near, tracks.rests + 1, np.where(placed, 1, tracks.rests))
    gain = np.where(near, np.where(seen.partial, _WEIGHT_OF_PARTS, 1) / rests, placed)[:, None]
    start_m = np.where(np.isnan(tracks.resting_m), seen.place_m, tracks.resting_m)
    return start_m + gain * np.where(placed[:, None], seen.place_m - start_m, 0), rests


def moved(tracks: Tracks, number: int, new_number: int, transform: Transform) -> Tracks:
    """The tracks, those of one map put into another one, given its pose there."""
    own = tracks.maps == number
    inside = rows_at(tracks, own)
    rotation = transform.rotation
    blocks = np.kron(np.eye(2), rotation)
    motion = inside.motion
    inside = replace(
        inside,
        maps=np.full(len(inside), new_number, dtype=np.int64),
        motion=Motion(
            motion.place_m @ rotation.T + transform.translation_m,
            motion.velocity_m_s @ rotation.T,
            blocks @ motion.covariance @ blocks.T,
        ),
        before_m=inside.before_m @ rotation.T + transform.translation_m,
        resting_m=inside.resting_m @ rotation.T + transform.translation_m,
        look=inside.look.moved(transform),
    )
    return joined(inside, rows_at(tracks, ~own))


def were_pieces(tracks: Tracks, taken: FloatArray, instances: IntArray, positions: IntArray) -> NDArray[np.bool_]:
    """(T,) whether a track of few sightings is where an object is that was seen more often: it was a piece of that.

    Args:
        taken: (T, N) share of each track's points on the surface of each instance.
        instances, positions: (M,) which instance continues the track at which position.
    """
    often = np.zeros(taken.shape[1], dtype=np.int64)
    often[instances] = tracks.sightings[positions]
    older = (often > tracks.sightings[:, None]) & (tracks.sightings < _OWN_SIGHTINGS)[:, None]
    return np.asarray(((taken >= _TAKEN_SHARE) & older).any(axis=1))
