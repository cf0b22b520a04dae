"""Masks that break: which track is a piece of which object, and which of its pieces has that object's id."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.tracking.association import OTHER_COLOR, Comparison
from instance_seg_ros.tracking.frame_before import Shared
from instance_seg_ros.tracking.tracks import Tracks

IntArray = NDArray[np.int64]

_BROKE_OFF = 0.5
"""What has so much of its surface where the frame before showed an object is a piece of that."""
_KNOWN_SIGHTINGS = 3
_APART_SIGHTINGS = 15
"""What was seen so often beside the object, and never as one with it in between, is an object of its own."""
_IN_PLACE, _SHOWS = 0.5, 0.35
"""A piece lies where it was by the first share of its surface; and it is most of its object that is in sight where it
shows the second share of that."""


def broken_off(tracks: Tracks, shared: Shared, fresh: IntArray) -> IntArray:
    """(F,) the ids of the objects of which F instances that begin tracks are pieces, 0 for what is none.

    Args:
        fresh: (F,) which instances of `shared` these are.
    """
    ids = np.zeros(len(fresh), dtype=np.int64)
    known = (tracks.sightings >= _KNOWN_SIGHTINGS) & (tracks.odd == 0)
    if not known.any():
        return ids
    both = np.where(known[:, None], shared.both, 0)[:, fresh]
    owner = both.argmax(axis=0)
    broke = both[owner, np.arange(len(fresh))] >= _BROKE_OFF * np.maximum(shared.now[fresh], 1)
    roots = np.where(tracks.piece_of > 0, tracks.piece_of, tracks.ids)
    return np.where(broke, roots[owner], ids)


def largest_first(
    tracks: Tracks, pixels: NDArray[np.float64], comparison: Comparison, rows: IntArray, positions: IntArray
) -> tuple[Tracks, IntArray, IntArray]:
    """The pairs of instances and tracks, in which the largest piece in sight of an object has its id; and the tracks,
    of which those are no pieces any more that were long seen apart.

    Args:
        pixels: (N,) of the instances.
        rows, positions: (M,) which instance continues the track at which position.
    """
    if not tracks.piece_of.any():
        return tracks, rows, positions
    instance = np.full(len(tracks), -1, dtype=np.int64)
    instance[positions] = rows
    apart = tracks.apart.copy()
    in_place = np.maximum(comparison.lies, comparison.kept) >= _IN_PLACE
    for piece in np.flatnonzero(tracks.piece_of > 0).tolist():
        for whole in np.flatnonzero(tracks.ids == tracks.piece_of[piece]).tolist():
            own, other = int(instance[piece]), int(instance[whole])
            if own < 0:
                if other >= 0 and comparison.lies[piece, other] >= _IN_PLACE:
                    apart[piece] = 0
                continue
            apart[piece] += other >= 0
            if comparison.color[whole, own] > OTHER_COLOR:
                continue
            if other < 0 and comparison.hits[whole, own] >= _SHOWS:
                instance[whole], instance[piece] = own, -1
            elif other >= 0 and pixels[own] > pixels[other] and in_place[piece, own]:
                instance[whole], instance[piece] = own, other
    piece_of = np.where(apart > _APART_SIGHTINGS, 0, tracks.piece_of)
    positions = np.flatnonzero(instance >= 0)
    return replace(tracks, apart=apart, piece_of=piece_of), instance[positions], positions
