"""What a pairing of a track and an instance costs, by its parts, and which pairs are taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike

from instance_seg_ros.learning.synthetic.poses import yaw_rotation
from instance_seg_ros.tracking.arrays import joined, rows_at
from instance_seg_ros.tracking.association import (
    UNMATCHABLE,
    Comparison,
    contained,
    costs,
    likeness,
    looked_through,
    match,
    newer_in_one,
    older_first,
    same_objects,
    seen_again,
)
from instance_seg_ros.tracking.sightings import (
    POINTS,
    RAYS,
    Sightings,
    bounds_exclude,
    color_differences,
    size_differences,
)
from instance_seg_ros.tracking.tracks import begun


def box(
    place_m: ArrayLike = (0, 0, 1),
    sides_m: ArrayLike = (0.1, 0.1, 0.1),
    *,
    color: ArrayLike = (0.5, 0.5, 0.5),
    partial: bool = False,
    sigma_m: float = 0.0,
    yaw_deg: float = 0.0,
    spread_m: ArrayLike = (0, 0, 0),
) -> Sightings:
    """One object whose points lie on a line of this length through its middle."""
    line = np.linspace(-0.5, 0.5, POINTS)[:, None] * np.asarray(spread_m, dtype=np.float64)
    return Sightings(
        np.array([place_m], dtype=np.float64),
        sigma_m**2 * np.eye(3)[None],
        yaw_rotation(np.radians(yaw_deg))[None],
        np.zeros((1, 3)),
        np.array([sides_m], dtype=np.float64) / 2,
        -np.sort(-np.array([sides_m], dtype=np.float64)),
        np.where(partial, np.inf, -np.sort(-np.array([sides_m], dtype=np.float64))),
        line[None],
        np.broadcast_to(np.asarray(color, dtype=np.float64), (1, POINTS, 3)).copy(),
        np.array([color], dtype=np.float64),
        np.full((1, RAYS, 3), np.nan),
        np.full((1, 3), np.nan),
        np.array([partial]),
        np.array([100.0]),
        np.zeros((1, 6, 8), dtype=bool),
    )


def without_3d(rays: ArrayLike) -> Sightings:
    """One object of which only directions are known."""
    unknown = np.full(3, np.nan)
    return replace(
        box(unknown, unknown, color=unknown, partial=True),
        rays=np.array([rays], dtype=np.float64),
        rotation=np.full((1, 3, 3), np.nan),
        covariance_m2=np.full((1, 3, 3), np.nan),
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (box(), box((5, 5, 5)), 0.0),
        (box(sides_m=(0.1, 0.2, 0.3)), box(sides_m=(0.3, 0.1, 0.2)), 0.0),  # however it lies
        (box(), box(sides_m=(0.05, 0.05, 0.05)), 0.5),
        (box(), box(sides_m=(0.05, 0.05, 0.05), partial=True), 0.15),  # it may be larger than it looks
        (box(), box(sides_m=(0.2, 0.2, 0.2), partial=True), 0.5),  # but not smaller
        (box(partial=True), box(sides_m=(0.2, 0.2, 0.2)), 0.15),
        (box(), box(sides_m=(0.1, 0.1, 0.0)), 1 / 3),
    ],
)
def test_size_differences(first: Sightings, second: Sightings, expected: float) -> None:
    assert size_differences(first, second) == pytest.approx(expected)


BAR_M, BLOCK_M = (0.16, 0.04, 0.02), (0.1, 0.06, 0.05)


@pytest.mark.parametrize(
    ("first", "second", "excluded"),
    [
        (box(sides_m=BAR_M), box(sides_m=BAR_M), False),
        (box(sides_m=BAR_M), box(sides_m=BLOCK_M), True),
        (box(sides_m=BAR_M), box(sides_m=BLOCK_M, partial=True), True),  # two of its sides are too long already
        (box(sides_m=BAR_M, partial=True), box(sides_m=BLOCK_M, partial=True), False),  # both may be larger
        (box(sides_m=BAR_M), box(sides_m=(0.05, 0.03, 0.02), partial=True), False),  # an end of it
        (box(sides_m=BAR_M), box(sides_m=(0.05, 0.03, 0.02)), True),
        (box(sides_m=BAR_M), box(sides_m=(0.14, 0.05, 0.025)), False),  # seen again, as far off as sizes are
        (box(sides_m=(0.068, 0.038, 0.016)), box(sides_m=(0.076, 0.076, 0.017), partial=True), False),
        (box(sides_m=BAR_M), without_3d(np.ones((RAYS, 3))), False),
    ],
)
def test_sides_exclude_another_object_where_their_bounds_do(
    first: Sightings, second: Sightings, excluded: bool
) -> None:
    assert bounds_exclude(first, second).item() is excluded
    assert bounds_exclude(second, first).item() is excluded


def comparison_of(first: Sightings, second: Sightings, inside: float = 0.0, stayed: bool = False) -> Comparison:
    """Of two objects where nothing of the first's surface is under the second's mask, or hidden, or gone."""
    none = np.zeros((len(first), len(second)))
    differences = size_differences(first, second), color_differences(first, second), bounds_exclude(first, second)
    return Comparison(
        *(none, none, none, none > 0, none + inside, *differences),
        *(np.full(len(first), flag) for flag in (stayed, False, False, False)),
    )


@pytest.mark.parametrize(
    ("sides_m", "partial", "lifted_m", "expected"),
    [
        (BAR_M, False, 0.0, 1),
        ((0.12, 0.04, 0.02), True, 0.0, 1),
        (BLOCK_M, False, 0.0, 0),
        (BLOCK_M, True, 0.0, 0),
        (BLOCK_M, True, 0.15, 1),  # it shows another side, just now, beside its place
        (BLOCK_M, True, 0.05, 0),  # farther than a hand goes in that time
        ((0.2, 0.2, 0.2), True, 0.15, 0),  # no side of it is so large
    ],
)
def test_a_lost_object_is_not_seen_again_in_one_of_its_colour_and_another_shape(
    sides_m: ArrayLike, partial: bool, lifted_m: float, expected: int
) -> None:
    bar, seen = box(sides_m=BAR_M), box((0.1, 0, 1), sides_m, partial=partial)
    tracks = begun(bar, np.array([1]), 0, 0)
    comparison = comparison_of(bar, seen)
    instances, _ = seen_again(tracks, seen, comparison, np.array([[True]]), np.array([0.5]), np.array([lifted_m]))
    assert len(instances) == expected


@pytest.mark.parametrize(
    ("seen", "inside", "stayed", "matchable"),
    [
        (box((0.04, 0, 1)), 0.0, False, True),
        (box((0.04, 0, 1), (0.03, 0.03, 0.03)), 0.0, False, False),  # another shape
        (box((0.04, 0, 1)), 0.0, True, False),  # the object is still seen in its place
        (box((0.04, 0, 1)), 0.55, True, True),  # a hand is in its place, which pushes it aside
    ],
)
def test_what_cannot_be_the_object_is_not_matched(
    seen: Sightings, inside: float, stayed: bool, matchable: bool
) -> None:
    tracks = begun(box(), np.array([1]), 0, 0)
    cost = costs(tracks, seen, comparison_of(box(), seen, inside, stayed), np.zeros(3), 0.15, np.array([1]))
    assert bool((cost < UNMATCHABLE).item()) is matchable


def test_what_has_no_3d_gives_way_to_what_has_and_more_so_in_another_colour() -> None:
    """It is somewhere near the track; 10 cm away another instance is like that in shape and colour."""
    tracks = replace(begun(box(), np.array([1]), 0, 0), sightings=np.array([8]))
    near = replace(without_3d(np.tile([0.2, 0, 1], (RAYS, 1))), rough_m=np.array([[0.0, 0.0, 1.0]]))
    same, bluish = (replace(near, color=np.array([color])) for color in ((0.5, 0.5, 0.5), (0.4, 0.5, 0.6)))
    with_3d, alike, other = (
        costs(tracks, seen, comparison_of(box(), seen), np.zeros(3), 0.15, np.array([1])).item()
        for seen in (box((0.1, 0, 1)), same, bluish)
    )
    assert with_3d < alike < other < UNMATCHABLE


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0),
        ((0.5, 0.3, 0.3), (0.5, 0.6, 0.0), 0.818),  # nearly as bright, of another hue
        ((0.2, 0.2, 0.2), (0.4, 0.4, 0.4), 0.2 * np.sqrt(3)),  # brightness alone counts half
        ((0.9, 0.1, 0.1), (0.45, 0.05, 0.05), 0.456),  # red, and in a shadow
        ((1, 1, 1), (0, 0, 0), 0.5),  # and at most so much
        ((1, 0, 0), (0, 0, 1), 1),
        ((0.5, 0.5, 0.5), (np.nan,) * 3, 0),
    ],
)
def test_color_differences(first: tuple[float, ...], second: tuple[float, ...], expected: float) -> None:
    assert color_differences(box(color=first), box(color=second)) == pytest.approx(expected, abs=0.005)


def test_likeness_is_that_of_sizes_and_colors_together_and_none_without_3d() -> None:
    assert likeness(box(), box((9, 9, 9))) == pytest.approx(1)
    assert likeness(box(), box(sides_m=(0.07, 0.07, 0.07), color=(0.5, 0.5, 0.6))) == pytest.approx(
        0.5 * 0.829, abs=1e-3
    )
    assert likeness(box(), box(sides_m=(0.03, 0.03, 0.03))) == 0
    assert likeness(box(), without_3d(np.ones((RAYS, 3)))) == 0


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (box(), 1.0),
        (box((0.054, 0, 1)), 1.0),  # half a centimetre beyond a side still counts
        (box((0.056, 0, 1)), 0.0),
        (box((0.04, 0.04, 1.04)), 1.0),
        (box((0.3, 0, 1)), 0.0),
        (box(spread_m=(0.22, 0, 0)), 0.5),  # sticks out by as much as is inside
    ],
)
def test_what_is_contained_lies_in_the_box(seen: Sightings, expected: float) -> None:
    assert contained(box(), seen) == pytest.approx(expected, abs=0.01)


def test_boxes_are_turned_and_an_uncertain_one_reaches_farther() -> None:
    corner = box((0.06, 0, 1))
    assert contained(box(yaw_deg=45), corner) == 1
    assert contained(box(sigma_m=0.01), corner) == 1
    far = box((0.1, 0, 1))
    assert contained(box(sigma_m=1.0), far) == 0, "but not without end"


def test_containment_is_by_pairs_and_nothing_is_in_nothing() -> None:
    two, none = box((0.3, 0, 1)), np.zeros(0, dtype=np.int64)
    np.testing.assert_array_equal(contained(joined(box(), two), joined(two, box())), [[0, 1], [1, 0]])
    assert contained(rows_at(two, none), two).shape == (0, 1)
    assert contained(two, rows_at(two, none)).shape == (1, 0)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [((0, 0, 1), 1.0), ((0.05, 0, 1), 1.0), ((0.07, 0, 1), 0.0), ((0, 0, -1), 0.0), ((0.3, 0.3, 1), 0.0)],
)
def test_rays_meet_what_is_ahead_of_the_camera(direction: tuple[float, ...], expected: float) -> None:
    seen = without_3d(np.tile(direction, (RAYS, 1)))
    assert looked_through(box(), seen, np.zeros(3)) == expected


def test_rays_are_counted() -> None:
    rays = np.tile((0.0, 0.0, 1.0), (RAYS, 1))
    rays[: RAYS // 4] = 1, 0, 1
    assert looked_through(box(), without_3d(rays), np.zeros(3)) == pytest.approx(0.75)
    assert looked_through(box(), box(), np.zeros(3)) == 0, "what has 3D has no rays"


@pytest.mark.parametrize(
    ("cost", "scores", "expected"),
    [
        ([[0.1, 0.3], [0.3, 0.1]], (0.9, 0.9), {0: 0, 1: 1}),
        ([[0.1, 0.19], [0.15, 0.9]], (0.9, 0.9), {0: 0, 1: 1}),  # what fits well comes first
        ([[0.3, 0.4], [0.35, 0.99]], (0.9, 0.9), {0: 1, 1: 0}),  # the least sum
        ([[0.01, 0.53], [0.99, UNMATCHABLE]], (0.9, 0.9), {0: 0}),  # nobody gives way for what fits badly
        ([[1.0]], (0.9,), {}),
        ([[0.1, UNMATCHABLE]], (0.9, 0.9), {0: 0}),
        ([[UNMATCHABLE + 0.5, UNMATCHABLE]], (0.9, 0.9), {}),
        ([[0.15, 0.05]], (0.9, 0.2), {0: 0}),  # fits the confident one well
        ([[0.25, 0.05]], (0.9, 0.2), {1: 0}),  # does not
        ([[0.25, 0.05], [0.6, 0.9]], (0.9, 0.2), {0: 1, 1: 0}),  # what is left is still enough
        ([[], []], (), {}),
    ],
)
def test_pairs(cost: list[list[float]], scores: tuple[float, ...], expected: dict[int, int]) -> None:
    table = np.array(cost, dtype=np.float64).reshape(len(cost), len(scores))
    instances, tracks = match(table, np.array(scores, dtype=np.float32), 0.5)
    assert dict(zip(instances.tolist(), tracks.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("often", "told", "lies", "inside", "newer"),
    [
        ([40, 10], [0.9, 0.9], [0.6, 0.6], [0.6, 0.5], [False, True]),
        ([10, 40], [0.9, 0.9], [0.6, 0.6], [0.6, 0.5], [True, False]),
        ([40, 30], [0.9, 0.9], [0.6, 0.6], [0.6, 0.5], [False, False]),  # about as old
        ([40, 10], [0.9, 0.2], [0.6, 0.1], [0.6, 0.5], [False, False]),  # the newer one is elsewhere
        ([40, 10], [0.9, 0.9], [0.2, 0.6], [0.6, 0.5], [False, False]),  # a corner of the older one is in sight
        ([40, 10], [0.9, 0.9], [0.6, 0.6], [0.2, 0.8], [False, False]),  # the mask shows little of the older one
    ],
)
def test_of_two_tracks_under_one_mask_the_newer_one_gives_way(
    often: ArrayLike, told: ArrayLike, lies: ArrayLike, inside: ArrayLike, newer: list[bool]
) -> None:
    columns = (np.array(value, dtype=np.float64)[:, None] for value in (told, lies, inside))
    assert newer_in_one(np.array(often), *columns)[:, 0].tolist() == newer


LONG_AGO, SINCE = 40, 1


@pytest.mark.parametrize(
    ("hidden", "gone", "possible"),
    [
        ((False, False), (False, False), [True, True]),
        ((True, False), (False, False), [True, True]),
        ((True, False), (False, True), [False, True]),  # the second one left its place
        ((True, False), (True, False), [True, True]),  # most of its place is out of view, and what is in view is empty
        ((True, False), (True, True), [True, True]),
    ],
)
def test_what_is_hidden_is_not_elsewhere_while_another_one_left_its_place(
    hidden: tuple[bool, bool], gone: tuple[bool, bool], possible: list[bool]
) -> None:
    tracks, seen = joined(box(), box()), box()
    comparison = replace(comparison_of(tracks, seen), hidden=np.array(hidden), gone=np.array(gone))
    cost = costs(begun(tracks, np.array([1, 2]), 0, 0), seen, comparison, np.zeros(3), 0.15, np.array([1, 1]))
    assert (cost[:, 0] < UNMATCHABLE).tolist() == possible


@pytest.mark.parametrize(
    ("often", "cost", "color", "known_for", "waited", "hits", "taken", "expected"),
    [
        # A hand left the first, to which the end in sight is nearer.
        ((1, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 1, LONG_AGO, 0.0, (0,), 1),
        ((10, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 10, LONG_AGO, 0.0, (0,), 1),
        ((11, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 11, LONG_AGO, 0.0, (0,), 0),  # as good as any
        ((1, 30), (0.4, 1.0), (0.5, 0.5, 0.5), 1, LONG_AGO, 0.0, (0,), 0),  # it would not be continued by itself
        ((1, 30), (0.4, 0.7), (0.6, 0.5, 0.2), 1, LONG_AGO, 0.0, (0,), 0),  # and is no thing of that colour
        ((1, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 1, LONG_AGO, 0.0, (0, 1), 0),  # and is seen elsewhere
        ((10, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 10, SINCE, 0.0, (0,), 0),  # it was seen beside the first
        ((10, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 10, 10, 0.0, (0,), 0),
        ((10, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 10, 11, 0.0, (0,), 1),  # just before that came
        ((10, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 16, 11, 0.0, (0,), 0),  # beside it, and then neither for a while
        ((10, 30), (0.4, 0.7), (0.5, 0.5, 0.5), 10, SINCE, 0.2, (0,), 1),  # as a piece of it is
    ],
)
def test_of_two_tracks_that_an_object_could_continue_it_has_the_id_of_the_much_older_one_that_nothing_else_has(
    often: tuple[int, int],
    cost: tuple[float, float],
    color: ArrayLike,
    known_for: int,
    waited: int,
    hits: float,
    taken: tuple[int, ...],
    expected: int,
) -> None:
    tracks = joined(box(), box(color=color))
    seen = rows_at(tracks, np.array([0, 0]))
    costs_of = np.array([[cost[0], UNMATCHABLE], [cost[1], 0.1]])
    comparison = replace(comparison_of(tracks, seen), hits=np.array([[0.9, 0.0], [hits, 0.0]]))
    positions, ages = np.array(taken), (np.array(often), np.array([known_for, 100]), np.array([1, waited]))
    older = older_first(costs_of, comparison, *ages, np.arange(len(taken)), positions)
    assert older[0] == expected


@pytest.mark.parametrize(
    ("stayed", "lies", "inside", "expected"),
    [
        (False, 0.0, 0.0, 1),  # a piece of it, or a hand's
        (True, 0.0, 0.0, 0),  # before it was what was taken away
        (True, 0.2, 0.0, 1),
        (True, 0.0, 0.6, 1),  # it lies in the older one's box
    ],
)
def test_what_is_seen_where_it_was_gives_way_only_to_an_older_one_that_is_measured_there(
    stayed: bool, lies: float, inside: float, expected: int
) -> None:
    tracks = joined(box(), box())
    comparison = replace(
        comparison_of(tracks, box(), stayed=stayed),
        hits=np.array([[0.9], [0.2]]),
        lies=np.array([[0.9], [lies]]),
        inside=np.array([[1.0], [inside]]),
    )
    ages = np.array([10, 30]), np.array([10, 100]), np.array([1, SINCE])
    older = older_first(np.array([[0.1], [0.7]]), comparison, *ages, np.array([0]), np.array([0]))
    assert older[0] == expected


@pytest.mark.parametrize(
    ("second", "same"),
    [
        (box((0.02, 0, 1), spread_m=(0.05, 0, 0)), True),
        (box((0.0, 0.03, 1), (0.1, 0.1, 0.04), partial=True, spread_m=(0.05, 0, 0)), True),
        (box((0.2, 0, 1), spread_m=(0.05, 0, 0)), False),  # beside it
        (box((0.02, 0, 1), color=(0.9, 0.2, 0.1), spread_m=(0.05, 0, 0)), False),
        (box((0.0, 0.03, 1), (0.03, 0.03, 0.03), spread_m=(0.02, 0, 0)), False),  # a small thing in a large one
    ],
)
def test_tracks_of_two_maps_are_of_one_object_where_the_one_lies_in_the_other_and_looks_like_it(
    second: Sightings, same: bool
) -> None:
    first = box(spread_m=(0.08, 0, 0))
    for one, other in ((first, second), (second, first)):
        rows, columns = same_objects(one, joined(box((5, 5, 5)), other))
        assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == ([(0, 1)] if same else [])


@pytest.mark.parametrize(
    ("color", "lies", "kept", "given_up"),
    [
        ((0.9, 0.2, 0.1), 0.0, 0.0, True),  # a hand's track, and what the hand set down
        ((0.5, 0.5, 0.5), 0.0, 0.0, False),  # as much like it as what is lost
        ((0.9, 0.2, 0.1), 0.6, 0.0, False),  # seen in its place, in whatever light
        ((0.9, 0.2, 0.1), 0.0, 0.8, False),  # under its mask
    ],
)
def test_what_is_more_like_a_lost_track_is_open_to_that(
    color: ArrayLike, lies: float, kept: float, given_up: bool
) -> None:
    seen = box()
    both = joined(box(color=color), seen)
    comparison = comparison_of(both, seen)
    comparison = replace(comparison, lies=np.array([[lies], [0.0]]), kept=np.array([[kept], [0.0]]))
    lost = np.array([False, True])
    assert comparison.given_up(np.array([0]), np.array([0]), lost).tolist() == [given_up]
    assert not comparison.given_up(np.array([0]), np.array([0]), ~lost & False).any()
