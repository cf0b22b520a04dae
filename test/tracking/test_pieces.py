"""Which track is a piece of which object, and which of its pieces has its id."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import ArrayLike

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.tracking.association import Comparison
from instance_seg_ros.tracking.frame_before import Shared
from instance_seg_ros.tracking.pieces import broken_off, largest_first
from instance_seg_ros.tracking.sightings import sightings_of
from instance_seg_ros.tracking.tracks import Tracks, begun


def two_tracks(piece_of: ArrayLike = (0, 0), sightings: ArrayLike = (9, 9), odd: ArrayLike = (0, 0)) -> Tracks:
    """Of ids 4 and 7."""
    frame = RgbdFrame(None, np.ones((24, 32), dtype=np.float32), Intrinsics(32, 24, 30.0, 30.0, 15.5, 11.5))
    labels = np.zeros((24, 32), dtype=np.uint16)
    labels[4:20, 2:14], labels[4:20, 18:30] = 1, 2
    instances = Instances.from_labels(labels)
    seen = sightings_of(frame, instances, Lifter(LiftingSettings()).lift(frame, instances), all_masks=False)
    tracks = begun(seen, np.array([4, 7]), 1, 1, np.array(piece_of))
    return replace(tracks, sightings=np.array(sightings), odd=np.array(odd))


def comparison(lies: ArrayLike = ((0, 0), (0, 0)), hits: ArrayLike = ((0, 0), (0, 0))) -> Comparison:
    values = {field.name: np.zeros((2, 2)) for field in fields(Comparison)}
    return Comparison(**{**values, "lies": np.asarray(lies), "hits": np.asarray(hits)})


@pytest.mark.parametrize(
    ("both", "tracks", "piece_of"),
    [
        ([60, 0], two_tracks(), 4),
        ([40, 40], two_tracks(), 0),  # half of it is elsewhere than either was
        ([0, 60], two_tracks(), 7),
        ([0, 60], two_tracks(piece_of=(0, 4)), 4),  # a piece of a piece
        ([60, 0], two_tracks(sightings=(2, 9)), 0),  # hardly known itself
        ([60, 0], two_tracks(odd=(1, 0)), 0),  # its mask was not its own
    ],
)
def test_what_begins_where_an_object_was_shown_broke_off_that(both: ArrayLike, tracks: Tracks, piece_of: int) -> None:
    shared = Shared(np.asarray(both, dtype=np.float64)[:, None], np.array([500.0, 500.0]), np.array([100.0]))
    assert broken_off(tracks, shared, np.array([0])).tolist() == [piece_of]


@pytest.mark.parametrize(
    ("piece_of", "pixels", "lies", "hits", "pairs", "expected"),
    [
        ((0, 4), (300, 400), ((0, 0), (0, 0.9)), ((0, 0), (0, 0)), {4: 0, 7: 1}, {4: 1, 7: 0}),
        ((0, 4), (400, 300), ((0, 0), (0, 0.9)), ((0, 0), (0, 0)), {4: 0, 7: 1}, {4: 0, 7: 1}),  # the smaller one
        ((0, 0), (300, 400), ((0, 0), (0, 0.9)), ((0, 0), (0, 0)), {4: 0, 7: 1}, {4: 0, 7: 1}),  # no piece
        ((0, 4), (300, 400), ((0, 0), (0, 0.1)), ((0, 0), (0, 0)), {4: 0, 7: 1}, {4: 0, 7: 1}),  # not in its place
        ((0, 4), (300, 400), ((0, 0), (0, 0.9)), ((0, 0.5), (0, 0)), {7: 1}, {4: 1}),  # shows most that is in sight
        ((0, 4), (300, 400), ((0, 0), (0, 0.9)), ((0, 0.1), (0, 0)), {7: 1}, {7: 1}),  # and next to nothing
        ((0, 9), (300, 400), ((0, 0), (0, 0.9)), ((0, 0), (0, 0)), {4: 0, 7: 1}, {4: 0, 7: 1}),  # of one forgotten
    ],
)
def test_the_largest_piece_in_sight_has_the_id_of_its_object(
    piece_of: ArrayLike,
    pixels: ArrayLike,
    lies: ArrayLike,
    hits: ArrayLike,
    pairs: dict[int, int],
    expected: dict[int, int],
) -> None:
    tracks = two_tracks(piece_of)
    positions = np.array([(4, 7).index(track) for track in pairs])
    tracks, rows, positions = largest_first(
        tracks, np.asarray(pixels, dtype=np.float64), comparison(lies, hits), np.array(list(pairs.values())), positions
    )
    assert dict(zip(tracks.ids[positions].tolist(), rows.tolist(), strict=True)) == expected


@pytest.mark.parametrize(("color", "expected"), [(0.6, [1, 0]), (0.7, [0, 1])])
def test_an_id_never_passes_to_what_has_quite_another_colour_than_the_object(color: float, expected: list[int]) -> None:
    both, compared = np.array([0, 1]), comparison(lies=((0, 0), (0, 0.9)))
    compared = replace(compared, color=np.full((2, 2), color))
    _, rows, _ = largest_first(two_tracks((0, 4)), np.array([300.0, 400.0]), compared, both, both)
    assert rows.tolist() == expected


def test_what_is_seen_beside_its_object_for_long_is_one_of_its_own_unless_they_are_one_in_between() -> None:
    apart = np.array([0, 1]), np.array([0, 1])
    as_one = np.array([0]), np.array([0])
    tracks, pixels, compared = two_tracks((0, 4)), np.array([400.0, 300.0]), comparison(lies=((0, 0), (0.9, 0.9)))
    for rows, positions in [apart] * 15 + [as_one] + [apart] * 15:
        tracks, *_ = largest_first(tracks, pixels, compared, rows, positions)
    assert tracks.piece_of.tolist() == [0, 4]
    tracks, *_ = largest_first(tracks, pixels, compared, *apart)
    assert tracks.piece_of.tolist() == [0, 0]
