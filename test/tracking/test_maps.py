"""Whether the depth says that a camera stands still, and what is the up direction of a map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, look_at, upright
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.lifting import LiftedFrame
from instance_seg_ros.tracking.landmarks import NO_LANDMARKS, Landmarks
from instance_seg_ros.tracking.maps import (
    Agreement,
    Map,
    View,
    agreement_with,
    agreements,
    is_contradicted,
    is_young,
    map_by_landmarks,
    map_of,
    objects_that_tell,
    view_of,
)
from instance_seg_ros.tracking.sightings import sightings_of
from instance_seg_ros.tracking.tracks import begun

NO_INSTANCES = Instances.from_labels(np.zeros((240, 320), dtype=np.uint16))
NOTHING = sightings_of(
    RgbdFrame(None, np.zeros((240, 320), dtype=np.float32), Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)),
    NO_INSTANCES,
    LiftedFrame((), None),
    all_masks=False,
)
NO_TRACKS = begun(NOTHING, np.zeros(0, dtype=np.int64), 1, 1)
QVGA = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
VIEW = look_at((0, 0, 0), 0.9, 50)
BODIES = (Cylinder(0.035, 0.1, upright(0.1, 0.1, 0.05)), Box((0.1, 0.06, 0.05), upright(0.05, -0.15, 0.025, 30)))
HAND = Box((0.1, 0.1, 0.3), upright(0.2, 0.05, 0.35))


def frame(bodies: tuple[Body, ...] = BODIES, view: Transform = VIEW, seed: int = 0) -> RgbdFrame:
    return AnalyticScene(bodies, view, floor_z_m=-0.7, table_size_m=(0.9, 0.9), intrinsics=QVGA).render(0.002, seed)[0]


def agreement(before: RgbdFrame, now: RgbdFrame, pose: Transform | None = None) -> Agreement:
    (result,) = agreements(view_of(before), [Transform.identity() if pose is None else pose], now)
    return result


@pytest.mark.parametrize(
    ("now", "still"),
    [
        (frame(seed=1), True),
        (frame((*BODIES, HAND)), True),  # hides a good part
        (frame(BODIES[:1]), True),  # one was taken away
        (frame(view=look_at((0.03, 0, 0), 0.9, 50)), True),  # along a plain table depth does not tell
        (frame(view=look_at((0, 0, 0), 0.9, 54)), False),
        (frame(view=look_at((0, 0, 0), 0.93, 50)), False),
        (frame(view=look_at((0.5, 0.5, 0), 0.9, 50)), False),
    ],
    ids=["noise", "hand", "taken", "3 cm aside", "4 degrees up", "3 cm back", "elsewhere"],
)
def test_a_camera_stands_still_where_little_is_seen_through(now: RgbdFrame, still: bool) -> None:
    assert agreement(frame(), now).is_still is still


def test_the_right_pose_agrees_best() -> None:
    view = look_at((0.05, 0, 0), 0.85, 48, 6)
    now, moved = frame(view=view), view.inverse() @ VIEW
    right, held = agreements(view_of(frame()), [moved, Transform.identity()], now)
    assert right.same > 0.7
    assert right.evidence > held.evidence + 0.5


@pytest.mark.parametrize(
    ("azimuth_deg", "off_m", "right"),
    [
        (0, (0, 0, 0), True),
        (25, (0, 0, 0), True),
        (25, (0, 0.03, 0), True),  # along a plain table depth does not tell
        (25, (0, 0, 0.03), False),
        (25, (0, 0, -0.03), False),
        (180, (0, 0, 0), True),
    ],
)
def test_what_was_seen_before_a_camera_turned_away_tells_where_it_is_back(
    azimuth_deg: float, off_m: tuple[float, float, float], right: bool
) -> None:
    rim, back = look_at((0.45, -0.45, 0), 0.9, 30), look_at((0, 0, 0), 0.9, 50, azimuth_deg)
    known = Map(1, 1, VIEW, view_of(frame())).with_landmarks(NO_LANDMARKS)
    known = replace(known, T_map_camera=rim, view_m=view_of(frame(view=rim)))
    asked = Transform(back.rotation, back.translation_m + np.array(off_m))
    assert agreement_with(known, asked, frame(view=back)).is_still is right


@pytest.mark.parametrize(("off_m", "contradicted"), [(0.0, False), (0.3, True)])
def test_the_depth_speaks_against_a_pose_from_which_it_would_be_another(off_m: float, contradicted: bool) -> None:
    back = look_at((0, 0, 0), 0.9, 50, 20)
    known = Map(1, 1, VIEW, view_of(frame())).with_landmarks(NO_LANDMARKS)
    asked = Transform(back.rotation, back.translation_m + np.array([0.0, 0.0, off_m]))
    assert is_contradicted(known, asked, frame(view=back)) is contradicted


@pytest.mark.parametrize(
    ("of_hand", "of_table", "off_m"),
    [
        (40, 20, 0.0),  # all that moved are the hand's
        (40, 0, 0.06),  # nothing else tells
        (0, 20, 0.0),
    ],
)
def test_a_hand_of_more_corners_than_the_table_does_not_take_the_camera_along(
    of_hand: int, of_table: int, off_m: float
) -> None:
    rng = np.random.default_rng(0)
    points_m = rng.uniform([-0.3, -0.2, 0.7], [0.3, 0.2, 0.9], (60, 3))
    hand, table = np.arange(of_hand), 40 + np.arange(of_table)
    descriptors = rng.integers(0, 256, (60, 32)).astype(np.uint8)
    before = Landmarks(points_m, descriptors)
    known = Map(1, 1, VIEW, view_of(frame())).with_landmarks(
        Landmarks(before.points_m[table], before.descriptors[table])
    )
    both = np.append(hand, table)
    known = replace(known, latest=View(VIEW, Landmarks(before.points_m[both], before.descriptors[both]), known.view_m))
    moved_m = points_m + np.where(np.arange(60) < 40, 0.06, 0)[:, None] * [0, 0, 1]
    found = map_by_landmarks(
        [known], Landmarks(moved_m[both], descriptors[both]), NO_TRACKS, NOTHING, None, frame(seed=1), 2
    )
    assert found is not None
    assert np.linalg.norm(found.T_map_camera.translation_m - VIEW.translation_m) == pytest.approx(off_m, abs=0.002)


def test_without_depth_nothing_agrees_and_nothing_contradicts() -> None:
    blind = replace(frame(), depth_m=np.zeros((240, 320), dtype=np.float32))
    for before, now in ((blind, frame()), (frame(), blind), (blind, blind)):
        result = agreement(before, now)
        assert (result.same, result.through, result.nearer, result.is_still) == (0, 0, 0, False)


def test_what_is_behind_the_camera_does_not_count() -> None:
    turned = Transform(np.diag([-1.0, 1.0, -1.0]), np.zeros(3))
    result = agreement(frame(), frame(), turned)
    assert (result.same, result.through, result.nearer) == (0, 0, 0)


@pytest.mark.parametrize(
    ("known", "seen", "expected"),
    [
        (None, (0, 0, 1), (0, 0, 1)),
        ((0, 0, 1), None, (0, 0, 1)),
        ((0, 0, 1), (0, 0.1, 0.995), (0, 0.0091, 1)),  # moves a little towards it
        ((0, 0, 1), (0, 1, 0), (0, 0, 1)),  # a wall's
    ],
)
def test_the_up_of_a_map_follows_planes_that_are_near_it(
    known: tuple[float, ...] | None, seen: tuple[float, ...] | None, expected: tuple[float, ...]
) -> None:
    up = None if known is None else np.array(known, dtype=np.float64)
    start = Map(1, 0, Transform.identity(), view_of(frame()), up)
    after = start.with_up(None if seen is None else np.array(seen, dtype=np.float64))
    np.testing.assert_allclose(after.up, expected, atol=1e-3)


def test_a_floor_that_looks_the_same_is_no_sign_of_being_back_without_an_object() -> None:
    before, since = (Map(number, number, VIEW, view_of(frame())) for number in (1, 2))
    found = map_of([since, before], NO_TRACKS, NOTHING, None, frame(seed=1), 5, lost=False)
    assert found is not None
    assert found.number == 2


@pytest.mark.parametrize(("seen", "expected"), [(0, 2), (1, 2), (2, 2), (3, 2), (4, 3), (5, 3), (6, 3), (20, 3)])
def test_more_than_half_of_few_objects_and_three_of_many_tell_where_a_camera_is(seen: int, expected: int) -> None:
    assert objects_that_tell(seen) == expected


@pytest.mark.parametrize(
    ("born", "others", "update", "expected"),
    [(10, [3], 40, True), (10, [3], 41, False), (10, [], 12, False), (10, [11], 12, False)],
    ids=["lately", "long ago", "alone", "the oldest"],
)
def test_a_map_is_young_for_thirty_updates_where_there_are_older_ones(
    born: int, others: list[int], update: int, expected: bool
) -> None:
    own, *rest = (Map(number, at, Transform.identity(), view_of(frame())) for number, at in enumerate([born, *others]))
    assert is_young(own, [own, *rest], update) == expected
