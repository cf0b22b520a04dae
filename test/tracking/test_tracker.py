"""Ids over time on closed-form scenes: standing, moving, hidden, leaving, and time that jumps."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings, TrackingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting import Completion, Instance3D, LiftedFrame, Lifter
from instance_seg_ros.tracking import TrackRecord
from instance_seg_ros.tracking.tracker import LATE_NS, TimeStep, Tracker

pytestmark = pytest.mark.slow

QVGA = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
VIEW = look_at((0, 0, 0), 0.9, 50)
LIFTER = Lifter(LiftingSettings(min_points=20))
CAN = Cylinder(0.035, 0.1, upright(0.1, 0.1, 0.05))
BALL = Sphere(0.04, upright(-0.1, -0.1, 0.04))
BOX = Box((0.1, 0.06, 0.05), upright(0.05, -0.15, 0.025, 30))
SLAB = Box((0.14, 0.16, 0.02), upright(0.24, -0.1, 0.26))
"""Between camera and box."""


Color = tuple[int, int, int]
GREY, RED, BLUE = (128, 128, 128), (200, 40, 40), (40, 60, 200)


class Clock:
    """Runs a tracker on scenes, 0.1 s apart."""

    def __init__(self, **settings_: object) -> None:
        self.tracker = Tracker(TrackingSettings(**settings_))  # type: ignore[arg-type]
        self.stamp_ns = 0

    def see(
        self,
        bodies: Sequence[Body],
        view: Transform = VIEW,
        *,
        pose: bool = False,
        detected: Sequence[int] | None = None,
        scores: Sequence[float] | None = None,
        step_ns: int = 100_000_000,
        colors: Sequence[Color] | None = None,
    ) -> tuple[int, ...]:
        """Ids of the visible bodies (or of those at the indices `detected`)."""
        self.stamp_ns += step_ns
        frame, instances, lifted = observe(bodies, view, detected, scores, colors)
        frame = replace(frame, stamp_ns=self.stamp_ns)
        return self.tracker.update(frame, instances, lifted, view if pose else None)

    def often(self, bodies: Sequence[Body], count: int = 8, **options: Any) -> tuple[int, ...]:
        """The ids of bodies that stand still, which are the same in so many frames."""
        (ids,) = {self.see(bodies, **options) for _ in range(count)}
        return ids


def observe(
    bodies: Sequence[Body],
    view: Transform,
    detected: Sequence[int] | None = None,
    scores: Sequence[float] | None = None,
    colors: Sequence[Color] | None = None,
) -> tuple[RgbdFrame, Instances, LiftedFrame]:
    frame, labels = AnalyticScene(bodies, view, intrinsics=QVGA).render(0.001)
    palette = np.array([GREY, *([GREY] * len(bodies) if colors is None else colors)], dtype=np.uint8)
    frame = replace(frame, color_rgb=palette[labels])
    if detected is not None:
        labels = np.where(np.isin(labels, [index + 1 for index in detected]), labels, 0)
    instances = Instances.from_labels(labels)
    if scores is not None:
        instances = replace(instances, scores=np.array(scores, dtype=np.float32))
    return frame, instances, LIFTER.lift(frame, instances)


def moved(body: Body, x_m: float, y_m: float) -> Body:
    pose = body.T_world_body
    return replace(body, T_world_body=Transform(pose.rotation, pose.translation_m + np.array([x_m, y_m, 0])))


def test_ids_are_positive_unique_and_stay() -> None:
    clock = Clock()
    first = clock.see([CAN, BALL, BOX])
    assert sorted(first) == [1, 2, 3]
    assert all(clock.see([CAN, BALL, BOX]) == first for _ in range(3))


def test_it_tells_how_often_and_since_when_each_object_was_seen() -> None:
    """A ball is put behind nothing and taken away; a box is hidden by a slab that comes before it."""
    clock = Clock(max_missed_frames=2)
    can, ball, box = clock.often([CAN, BALL, BOX], 3)
    start = {can: TrackRecord(3, 100_000_000, 300_000_000, 0)}
    assert clock.tracker.records == dict.fromkeys((can, ball, box), start[can])
    *_, slab = clock.see([CAN, BOX, SLAB], detected=[0, 2])
    assert clock.tracker.records == {
        can: TrackRecord(4, 100_000_000, 400_000_000, 0),
        ball: TrackRecord(3, 100_000_000, 300_000_000, 1),
        box: TrackRecord(3, 100_000_000, 300_000_000, 0),
        slab: TrackRecord(1, 400_000_000, 400_000_000, 0),
    }
    for _ in range(2):
        clock.see([CAN, BOX, SLAB], detected=[0, 2])
    assert clock.tracker.records[box] == TrackRecord(3, 100_000_000, 300_000_000, 0)
    assert ball not in clock.tracker.records
    clock.tracker.reset()
    assert clock.tracker.records == {}


def test_a_picture_that_changes_little_by_little_is_followed_for_long() -> None:
    tracker, rng = Tracker(TrackingSettings()), np.random.default_rng(0)
    frame, instances, lifted = observe([CAN, BALL, BOX], VIEW)
    print_rgb = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    ids = set()
    for step in range(100):
        print_rgb[rng.integers(0, 24, 20), rng.integers(0, 32, 20)] = rng.integers(0, 256, (20, 3))
        color_rgb = np.roll(print_rgb.repeat(10, 0).repeat(10, 1), step % 2, 1)
        # Each pose is told from that of the frame before, so that errors of rounding add up.
        seen = replace(frame, color_rgb=color_rgb, stamp_ns=1 + step * 100_000_000)
        ids.add(tracker.update(seen, instances, lifted))
    assert ids == {(1, 2, 3)}
    assert tracker.T_map_camera is not None
    np.testing.assert_allclose(tracker.T_map_camera.matrix, np.eye(4), atol=0.01)


def test_ids_follow_the_objects_and_not_their_order() -> None:
    clock = Clock()
    can, ball, box = clock.see([CAN, BALL, BOX])
    assert clock.see([BOX, CAN, BALL]) == (box, can, ball)


def test_ids_follow_objects_that_move_a_little() -> None:
    clock = Clock()
    first = clock.see([CAN, BALL])
    for step in range(1, 8):
        assert clock.see([moved(CAN, -0.02 * step, 0), moved(BALL, 0, 0.02 * step)]) == first


def test_an_object_far_from_every_track_is_new() -> None:
    clock = Clock()
    (first,) = clock.see([moved(BALL, 0, 0)])
    (second,) = clock.see([moved(BALL, 0.2, 0.2)])
    assert second > first


def test_two_objects_that_change_places_in_one_frame_are_told_apart_by_size() -> None:
    clock = Clock(max_distance_m=0.3)
    small, large = Box((0.03, 0.03, 0.03), upright(0, 0.05, 0.015)), Box((0.03, 0.09, 0.12), upright(0, -0.05, 0.06))
    ids = clock.see([small, large])
    assert clock.see([moved(small, 0, -0.05), moved(large, 0, 0.05)]) == ids


def test_with_the_cameras_pose_a_jump_of_the_camera_keeps_the_ids() -> None:
    clock = Clock()
    views = [look_at((0, 0, 0), 0.9, 50, azimuth) for azimuth in (0, 40, 80)]
    first = clock.see([CAN, BALL], views[0], pose=True)
    assert [clock.see([CAN, BALL], view, pose=True) for view in views[1:]] == [first, first]


def test_an_occluded_object_keeps_its_id_however_long() -> None:
    clock = Clock(max_missed_frames=3)
    curtain = Box((0.02, 0.8, 0.9), upright(0.35, 0, 0.45))
    ball, _can = clock.see([BALL, CAN])
    for _ in range(10):
        clock.see([BALL, CAN, curtain], detected=[2])
    assert clock.see([BALL, CAN])[0] == ball


def test_an_object_that_is_still_measured_but_not_segmented_keeps_its_id() -> None:
    clock = Clock(max_missed_frames=3)
    ball, _can = clock.see([BALL, CAN])
    for _ in range(10):
        clock.see([BALL, CAN], detected=[1])
    assert clock.see([BALL, CAN])[0] == ball


def test_an_object_out_of_the_image_keeps_its_id() -> None:
    clock = Clock(max_missed_frames=3)
    (ball,) = clock.see([BALL], pose=True)
    for _ in range(10):
        assert clock.see([BALL], look_at((3, 0, 0), 0.9, 50), pose=True, detected=[]) == ()
    assert clock.see([BALL], pose=True) == (ball,)


@pytest.mark.parametrize(
    ("aside_m", "in_view", "same"), [(0.4, (0.4, 0.6), False), (0.43, (0.01, 0.2), True)], ids=["half", "its rim alone"]
)
def test_a_place_half_out_of_the_image_that_is_seen_empty_is_empty(
    aside_m: float, in_view: tuple[float, float], same: bool
) -> None:
    clock, aside = Clock(max_missed_frames=3), look_at((0, aside_m, 0), 0.9, 50)
    (ball,) = clock.see([BALL], pose=True)
    pixels = [observe([BALL], view, [0])[1].masks.sum() for view in (VIEW, aside)]
    assert in_view[0] < pixels[1] / pixels[0] < in_view[1], "what the views are meant to show"
    for _ in range(4):
        assert clock.see([], aside, pose=True) == ()
    assert (clock.see([BALL], pose=True) == (ball,)) is same


@pytest.mark.parametrize(("frames_gone", "same"), [(3, True), (4, False)])
def test_a_taken_object_is_remembered_for_so_many_frames_that_see_its_place_empty(frames_gone: int, same: bool) -> None:
    clock = Clock(max_missed_frames=3)
    ball, can = clock.see([BALL, CAN])
    for _ in range(frames_gone):
        assert clock.see([CAN]) == (can,)
    again, _ = clock.see([BALL, CAN])
    assert (again == ball) is same
    assert again == ball or again > max(ball, can), "an id was used twice"


def test_a_duplicate_stamp_ages_nothing() -> None:
    clock = Clock(max_missed_frames=1)
    ball, _can = clock.see([BALL, CAN])
    for _ in range(5):
        clock.see([CAN], step_ns=0)
    assert clock.see([BALL, CAN])[0] == ball


def test_time_that_goes_back_starts_afresh_with_new_ids() -> None:
    clock = Clock()
    clock.stamp_ns = 2 * LATE_NS
    first = clock.see([CAN, BALL])
    second = clock.see([CAN, BALL], step_ns=-LATE_NS - 1)
    assert set(second).isdisjoint(first)
    assert clock.see([CAN, BALL]) == second


@pytest.mark.parametrize(
    ("stamps_ns", "expected"),
    [
        ((5, 6), ["FORWARD", "FORWARD"]),
        ((5, 5), ["FORWARD", "REPEATED"]),
        ((LATE_NS + 5, 5, 6, LATE_NS + 5, LATE_NS + 6), ["FORWARD", "LATE", "LATE", "REPEATED", "FORWARD"]),
        ((LATE_NS + 5, 4, 5), ["FORWARD", "RESET", "FORWARD"]),
        ((0, 0, 5, 0, 5, 6), ["UNKNOWN", "UNKNOWN", "FORWARD", "UNKNOWN", "REPEATED", "FORWARD"]),
        ((2 * LATE_NS, 0, 5), ["FORWARD", "UNKNOWN", "RESET"]),
    ],
)
def test_each_stamp_is_judged_by_the_latest_one(stamps_ns: tuple[int, ...], expected: list[str]) -> None:
    tracker = Tracker(TrackingSettings())
    frame, instances, lifted = OBSERVED[()]
    steps = []
    for stamp_ns in stamps_ns:
        tracker.update(replace(frame, stamp_ns=stamp_ns), instances, lifted)
        steps.append(tracker.time_step.name)
    assert steps == expected


@pytest.mark.parametrize(("frames_gone", "same"), [(3, True), (4, False)])
def test_frames_without_a_stamp_are_counted(frames_gone: int, same: bool) -> None:
    clock = Clock(max_missed_frames=3)
    ball, can = clock.see([BALL, CAN], step_ns=0)
    for _ in range(frames_gone):
        assert clock.see([CAN], step_ns=0) == (can,)
    assert (clock.see([BALL, CAN], step_ns=0)[0] == ball) is same
    assert clock.stamp_ns == 0


@pytest.mark.parametrize("step_ns", [100_000_000, 0], ids=["stamps", "no stamps"])
@pytest.mark.parametrize("first_ns", [0, 5_000_000_000])
def test_what_stood_for_long_is_followed_when_it_moves_whatever_the_stamps_say(first_ns: int, step_ns: int) -> None:
    """A like object in its old place is another one."""
    clock = Clock()
    clock.stamp_ns = first_ns
    first = clock.often([CAN, BALL, BOX], 60, step_ns=step_ns)
    for moved_m in np.linspace(0.03, 0.18, 6):
        assert clock.see([moved(CAN, -moved_m, 0), BALL, BOX], step_ns=step_ns) == first
    assert clock.see([moved(CAN, -0.18, 0), BALL, BOX, CAN], step_ns=step_ns) == (*first, max(first) + 1)


HAND = Box((0.3, 0.3, 0.02), Transform(VIEW.rotation, 0.6 * VIEW.translation_m))
"""Before all that is seen from `VIEW`."""


@pytest.mark.parametrize("updates", [3, 100])
@pytest.mark.parametrize(
    ("meanwhile", "view"), [((), look_at((5, 0, 0), 1.6, 25, 30)), ((HAND,), VIEW)], ids=["away", "blinded"]
)
def test_a_camera_that_sees_its_objects_again_stands_where_it_does_however_long_it_did_not(
    meanwhile: tuple[Body, ...], view: Transform, updates: int
) -> None:
    clock, back = Clock(), look_at((0.02, 0.01, 0), 0.85, 52, 15)
    bodies = [CAN, BALL, BOX, Box((0.05, 0.05, 0.12), upright(-0.12, 0.12, 0.06, 20))]
    here, there = (observe(bodies, own) for own in (VIEW, back))
    unseen = observe([*bodies, *meanwhile], view, detected=[])
    for frame, instances, lifted in (*[here] * 10, *[unseen] * updates, there):
        clock.stamp_ns += 1_000_000_000
        clock.tracker.update(replace(frame, color_rgb=None, stamp_ns=clock.stamp_ns), instances, lifted)
    found = clock.tracker.T_map_camera
    assert found is not None
    np.testing.assert_allclose(found.matrix, (VIEW.inverse() @ back).matrix, atol=0.005)


def test_reset_forgets_and_counts_on() -> None:
    clock = Clock()
    clock.see([CAN, BALL])
    clock.tracker.reset()
    assert clock.see([CAN, BALL]) == (3, 4)


def test_a_successor_knows_nothing_and_counts_on_beside_the_first() -> None:
    first = Clock()
    assert first.see([CAN, BALL]) == (1, 2)
    second = Clock()
    second.tracker = first.tracker.successor(first.tracker.settings)
    assert second.see([CAN, BALL]) == (3, 4)
    assert first.see([CAN, BALL, BOX]) == (1, 2, 5)
    assert second.see([CAN, BALL, BOX]) == (3, 4, 6)


def test_a_fixed_frame_that_comes_and_goes_keeps_the_ids_by_their_masks() -> None:
    clock = Clock()
    first = clock.see([CAN, BALL], pose=True)
    assert clock.see([CAN, BALL], pose=False) == first
    assert clock.see([CAN, BALL], pose=True) == first


@pytest.mark.parametrize("pose", [False, True])
def test_what_another_camera_sees_is_another_object_unless_a_fixed_frame_tells(pose: bool) -> None:
    tracker, view = Tracker(TrackingSettings()), VIEW if pose else None
    frame, instances, lifted = OBSERVED[(0, 1)]
    first = tracker.update(replace(frame, stamp_ns=1), instances, lifted, view)
    second = tracker.update(replace(frame, stamp_ns=2, frame_id="on_the_wrist"), instances, lifted, view)
    assert (set(first) & set(second) != set()) is pose
    assert tracker.update(replace(frame, stamp_ns=3, frame_id="on_the_wrist"), instances, lifted, view) == second


def test_instances_without_3d_are_matched_by_their_masks() -> None:
    tracker, intrinsics = Tracker(TrackingSettings()), Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)
    ids = []
    for shift in (0, 2, 4):
        labels = np.zeros((48, 64), dtype=np.uint16)
        labels[4:28, 4 + shift : 28 + shift], labels[8:40, 40:60] = 1, 2
        instances = Instances.from_labels(labels)
        frame = RgbdFrame(None, np.zeros((48, 64), dtype=np.float32), intrinsics, stamp_ns=shift + 1)
        ids.append(tracker.update(frame, instances, LIFTER.lift(frame, instances), None))
    assert ids == [(1, 2)] * 3


@pytest.mark.parametrize(("frames_between", "same"), [(3, True), (4, False)])
def test_an_object_without_3d_is_remembered_for_so_many_frames(frames_between: int, same: bool) -> None:
    tracker = Tracker(TrackingSettings(max_missed_frames=3))
    frame, instances, _ = observe([BALL], VIEW)
    glass = replace(frame, depth_m=np.where(instances.masks[0], 0, frame.depth_m))
    lifted, (nothing, nowhere) = LIFTER.lift(glass, instances), OBSERVED[()][1:]
    assert tracker.update(replace(glass, stamp_ns=1), instances, lifted) == (1,)
    for stamp_ns in range(2, 2 + frames_between):
        assert tracker.update(replace(glass, stamp_ns=stamp_ns), nothing, nowhere) == ()
    assert (tracker.update(replace(glass, stamp_ns=10), instances, lifted) == (1,)) is same


def test_a_frame_without_depth_does_not_make_a_track_forget_its_place() -> None:
    clock = Clock(max_missed_frames=1)
    curtain = Box((0.02, 0.8, 0.9), upright(0.35, 0, 0.45))
    ball, can = clock.see([BALL, CAN])
    frame, instances, _ = observe([BALL, CAN], VIEW)
    blind = replace(frame, depth_m=np.zeros_like(frame.depth_m), stamp_ns=clock.stamp_ns + 1)
    assert clock.tracker.update(blind, instances, LIFTER.lift(blind, instances)) == (ball, can)
    for _ in range(5):
        clock.see([BALL, CAN, curtain], detected=[2])  # hides both, so that neither ages
    assert clock.see([BALL, CAN]) == (ball, can)


@pytest.mark.parametrize(
    ("away_m", "confident_wins"), [((0.012, 0.0), True), ((0.02, 0.085), False)], ids=["where it fits", "elsewhere"]
)
def test_high_scores_choose_first_what_fits_them_well(away_m: tuple[float, float], confident_wins: bool) -> None:
    """Two detections of one object, of which the unsure one lies nearer."""
    clock = Clock(first_pass_score=0.5)
    for _ in range(4):
        (ball,) = clock.see([BALL], detected=[0])
    near, away = moved(BALL, 0.005, 0.0), replace(moved(BALL, *away_m), radius_m=0.041)
    ids = clock.see([near, away], scores=[0.3, 0.9])
    assert ids[confident_wins] == ball
    assert ids[not confident_wins] != ball


def test_lengths_that_disagree_are_refused() -> None:
    frame, instances, lifted = observe([CAN, BALL], VIEW)
    with pytest.raises(ValueError, match="2 instances but 1"):
        Tracker(TrackingSettings()).update(frame, instances, LiftedFrame(lifted.instances[:1], None), None)


def test_an_empty_frame_gives_no_ids() -> None:
    assert Clock().see([]) == ()


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(-2, 5), st.lists(st.sampled_from([0, 1, 2]), unique=True)), max_size=6))
def test_whatever_is_seen_whenever_ids_are_positive_and_unique_in_a_frame(steps: list[tuple[int, list[int]]]) -> None:
    tracker, stamp_ns = Tracker(TrackingSettings(max_missed_frames=1)), 10
    for step_ns, detected in steps:
        stamp_ns += step_ns
        frame, instances, lifted = OBSERVED[tuple(sorted(detected))]
        ids = tracker.update(replace(frame, stamp_ns=stamp_ns), instances, lifted, None)
        assert len(ids) == len(detected) == len(set(ids))
        assert all(track_id > 0 for track_id in ids)


@settings(max_examples=40, deadline=None)
@example(stamps_ns=[0, 0])
@example(stamps_ns=[0, 0, 0])
@example(stamps_ns=[5 * LATE_NS, 5 * LATE_NS + 1, 5 * LATE_NS])
@example(stamps_ns=[6 * LATE_NS, 7 * LATE_NS, 8 * LATE_NS])
@given(stamps_ns=st.lists(st.sampled_from([0, *range(8 * LATE_NS // 2, 20 * LATE_NS // 2, LATE_NS // 2)]), max_size=6))
def test_whatever_the_stamps_a_track_lives_as_long_as_frames_that_age_it_allow(stamps_ns: list[int]) -> None:
    tracker = Tracker(TrackingSettings(max_missed_frames=2))
    first = _update(tracker, (0, 1), 5 * LATE_NS)
    steps = []
    for stamp_ns in stamps_ns:
        _update(tracker, (1,), stamp_ns)
        steps.append(tracker.time_step)
    again = _update(tracker, (0, 1), 10 * LATE_NS)
    aged = sum(step in (TimeStep.FORWARD, TimeStep.UNKNOWN) for step in steps)
    assert (again[0] == first[0]) is (TimeStep.RESET not in steps and aged <= 2)
    assert (again[1] == first[1]) is (TimeStep.RESET not in steps)
    assert min(again) > 0 and len(set(again)) == 2


def _update(tracker: Tracker, chosen: tuple[int, ...], stamp_ns: int) -> tuple[int, ...]:
    frame, instances, lifted = OBSERVED[chosen]
    return tracker.update(replace(frame, stamp_ns=stamp_ns), instances, lifted)


OBSERVED = {
    chosen: observe([(CAN, BALL, BOX)[index] for index in chosen], VIEW)
    for chosen in ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
}
"""What is seen of scenes that hold these bodies and no others: the place of the rest is in view and empty."""


WALL = RgbdFrame(None, np.ones((240, 320), dtype=np.float32), QVGA)


def without(column: int) -> RgbdFrame:
    """The wall with a hole of one instance."""
    depth_m = WALL.depth_m.copy()
    depth_m[100:120, column : column + 20] = 1.5
    return replace(WALL, depth_m=depth_m)


def seen_by_hand(objects: Sequence[tuple[int, float, float]], wall: RgbdFrame = WALL) -> tuple[Instances, LiftedFrame]:
    """Instances 20 px wide in a row on a wall, each with the column, the x of its centre and the side that are said."""
    labels = np.zeros((QVGA.height, QVGA.width), dtype=np.uint16)
    for label, (column, _, _) in enumerate(objects, start=1):
        labels[100:120, column : column + 20] = label
    instances = Instances.from_labels(labels)
    points_m = wall.points_m.reshape(-1, 3)
    lifted = []
    for label, (_, x_m, side_m) in enumerate(objects, start=1):
        pixels = np.flatnonzero(labels == label)
        centre_m = np.array([x_m, 0.0, 1.0])
        lifted.append(
            Instance3D(
                points_m=points_m[pixels],
                pixels=pixels,
                rejected=0,
                centroid_m=centre_m,
                surface_centroid_m=points_m[pixels].mean(axis=0),
                covariance_m2=np.eye(3),
                box=OrientedBox(Transform(np.eye(3), centre_m), np.full(3, side_m)),
                completion=Completion.NONE,
                status=Status.NO_SUPPORT_PLANE,
                centroid_covariance_m2=1e-10 * np.eye(3),
            )
        )
    return instances, LiftedFrame(tuple(lifted), None)


@pytest.mark.parametrize(
    ("second", "ids"),
    [
        # (column of the mask, x of the centre, side of the box); the track was (50, 0.0, 0.06)
        ([(50, 0.05, 0.06), (150, -0.04, 0.06)], (1, 2)),  # the one lies where the surface was, the other is nearer
        ([(150, -0.04, 0.06), (50, 0.05, 0.06)], (2, 1)),
        ([(150, 0.05, 0.06), (200, -0.04, 0.03)], (1, 2)),  # both elsewhere: the one has the size
        ([(200, -0.04, 0.03), (150, 0.05, 0.06)], (2, 1)),
        ([(150, 0.05, 0.06), (200, -0.04, 0.06)], (2, 1)),  # nothing but the distance tells
        # What weighs how much: half the size as 2 cm.
        ([(150, 0.03, 0.06), (200, 0.0, 0.03)], (2, 1)),
        ([(150, 0.01, 0.06), (200, 0.0, 0.03)], (1, 2)),
        ([(50, 0.06, 0.06), (200, 0.0, 0.06)], (1, 2)),  # its surface is still there, so that it is nothing elsewhere
        ([(150, 0.101, 0.06), (200, 0.0, 0.04)], (2, 1)),  # beyond the largest distance
        ([(150, 0.0, 0.025)], (2,)),  # elsewhere, and of quite another size
    ],
)
def test_a_track_goes_to_what_is_near_of_its_size_and_where_its_surface_was(
    second: list[tuple[int, float, float]], ids: tuple[int, ...]
) -> None:
    tracker = Tracker(TrackingSettings(max_distance_m=0.1))
    assert tracker.update(replace(WALL, stamp_ns=1), *seen_by_hand([(50, 0.0, 0.06)])) == (1,)
    columns = [column for column, _, _ in second]
    frame = WALL if 50 in columns else without(50)  # where it stood is the next wall
    assert tracker.update(replace(frame, stamp_ns=2), *seen_by_hand(second)) == ids


@pytest.mark.parametrize(("x_m", "ids"), [(0.125, (1,)), (-0.125, (1,)), (0.1251, (2,)), (0.2, (2,))])
def test_an_object_may_move_by_the_largest_distance_and_no_further(x_m: float, ids: tuple[int, ...]) -> None:
    tracker = Tracker(TrackingSettings(max_distance_m=0.125))
    assert tracker.update(replace(WALL, stamp_ns=1), *seen_by_hand([(50, 0.0, 0.06)])) == (1,)
    assert tracker.update(replace(WALL, stamp_ns=2), *seen_by_hand([(50, x_m, 0.06)])) == ids


def test_without_3d_the_mask_that_overlaps_most_goes_on_with_the_track() -> None:
    def flat(columns: Sequence[int], camera: Intrinsics = QVGA) -> tuple[Instances, LiftedFrame]:
        masks = np.zeros((len(columns), camera.height, camera.width), dtype=bool)
        for mask, column in zip(masks, columns, strict=True):
            mask[100:140, column : column + 40] = True
        boxes = np.array([[column, 100, column + 40, 140] for column in columns], dtype=np.float32)
        ones = np.ones(len(columns), dtype=np.float32)
        instances = Instances(masks, boxes, ones, np.zeros(len(columns), dtype=np.int64), ("object",))
        nothing = np.zeros((0, 3), dtype=np.float32)
        unknown = (None, None, None, None)
        each = Instance3D(nothing, np.zeros(0, dtype=np.int64), 1600, *unknown, Completion.NONE, Status.TOO_FEW_POINTS)
        return instances, LiftedFrame((each,) * len(columns), None)

    tracker = Tracker(TrackingSettings(max_distance_m=0.1))
    assert tracker.update(replace(WALL, stamp_ns=1), *flat([100])) == (1,)
    assert tracker.update(replace(WALL, stamp_ns=2), *flat([116, 104])) == (2, 1)  # overlaps of 0.43 and 0.82
    assert tracker.update(replace(WALL, stamp_ns=3), *flat([104, 220, 160])) == (1, 3, 4)  # no overlap, 15 cm away
    # Masks of another size, of another mode of the camera, cannot be compared, but places can.
    small = Intrinsics(300, 200, 300.0, 300.0, 149.5, 99.5)
    frame = RgbdFrame(None, np.ones((200, 300), dtype=np.float32), small, stamp_ns=4)
    assert tracker.update(frame, *flat([94, 40], small)) == (1, 5)


@pytest.mark.parametrize(("columns_gone", "ids"), [(0, (1,)), (8, (1,)), (12, (2,)), (20, (2,))])
def test_a_place_is_empty_when_most_of_it_is_seen_through(columns_gone: int, ids: tuple[int, ...]) -> None:
    tracker = Tracker(TrackingSettings(max_missed_frames=0))
    one, none = seen_by_hand([(50, 0.0, 0.06)]), seen_by_hand([])
    depth_m = WALL.depth_m.copy()
    depth_m[100:120, 50 : 50 + columns_gone] = 2.0
    assert tracker.update(replace(WALL, stamp_ns=1), *one) == (1,)
    assert tracker.update(replace(WALL, depth_m=depth_m, stamp_ns=2), *none) == ()
    assert tracker.update(replace(WALL, stamp_ns=3), *one) == ids


@pytest.mark.parametrize(
    ("depth_m", "behind_m", "ids"),
    [(0.5, 0.018, (1,)), (0.5, 0.022, (2,)), (3.0, 0.05, (1,)), (3.0, 0.07, (2,))],
)
def test_how_far_behind_a_place_is_seen_through_follows_the_noise_of_depth(
    depth_m: float, behind_m: float, ids: tuple[int, ...]
) -> None:
    """2 cm, or 2 % of the depth."""
    tracker = Tracker(TrackingSettings(max_missed_frames=0))
    wall = RgbdFrame(None, np.full((240, 320), depth_m, dtype=np.float32), QVGA)
    behind = RgbdFrame(None, wall.depth_m.copy(), QVGA, stamp_ns=2)
    behind.depth_m[90:130, 40:80] += np.float32(behind_m)
    one = seen_by_hand([(50, 0.0, 0.06)], wall)
    assert tracker.update(replace(wall, stamp_ns=1), *one) == (1,)
    assert tracker.update(behind, *seen_by_hand([])) == ()
    assert tracker.update(replace(wall, stamp_ns=3), *one) == ids


def test_settings_that_another_thread_sets_during_an_update_are_those_of_the_next() -> None:
    tracker = Tracker(TrackingSettings(max_distance_m=0.1))

    class SetsThemMeanwhile(RgbdFrame):
        """A frame whose camera is asked for in the middle of the update."""

        def __getattribute__(self, name: str) -> object:
            if name == "intrinsics":
                tracker.settings = TrackingSettings(max_distance_m=0.005)
            return super().__getattribute__(name)

    first, moved_a_little = [(50, 0.0, 0.06)], [(50, 0.02, 0.06)]
    meanwhile = SetsThemMeanwhile(None, WALL.depth_m, QVGA, stamp_ns=2)
    tracker.settings = TrackingSettings(max_distance_m=0.1)

    assert tracker.update(replace(WALL, stamp_ns=1), *seen_by_hand(first)) == (1,)
    assert tracker.update(meanwhile, *seen_by_hand(moved_a_little)) == (1,)
    assert tracker.settings.max_distance_m == 0.005
    assert tracker.update(replace(WALL, stamp_ns=3), *seen_by_hand(first)) == (2,)


# ---------------------------------------------------------------------------------------------------------------------
# Without tf


OTHERS = (Box((0.05, 0.05, 0.12), upright(-0.05, 0.18, 0.06)), Sphere(0.03, upright(0.15, -0.02, 0.03)))
TABLE = (CAN, BALL, BOX, *OTHERS)


@pytest.mark.parametrize(
    "views",
    [
        [look_at((0.08 * x, 0.08 * y, 0), 0.9, 50) for x, y in ((0, 0), (1, 0), (1, 1), (0, -1), (-1, 0))],
        [look_at((0, 0, 0), 0.9 + 0.1 * step, 50 - 3 * step, 6 * step) for step in (0, 1, -1, 0, 1)],
        [look_at((0, 0, 0), 0.9, 50, 15 * step) for step in range(13)],
        [look_at((0, 0, 0), 0.9, 50, 2 * step) for step in range(20)],
    ],
    ids=["aside", "nearer and up", "half around", "slowly"],
)
def test_without_tf_ids_stay_while_the_camera_moves_and_its_pose_is_known(views: list[Transform]) -> None:
    clock = Clock()
    first = clock.see(TABLE, views[0])
    for view in views[1:]:
        assert clock.see(TABLE, view) == first
        told = clock.tracker.T_map_camera
        assert told is not None
        off_m = (views[0] @ told).inverse().apply(view.apply(np.array([0.0, 0.0, 0.9]))) - [0, 0, 0.9]
        assert np.linalg.norm(off_m) < 0.02, "drift"  # the places of hidden sides differ a little from view to view


def test_without_tf_an_object_that_moves_while_the_camera_does_keeps_its_id_and_moves_no_other() -> None:
    clock = Clock()
    first = clock.see(TABLE)
    for step in range(1, 8):
        carried = (moved(CAN, -0.05 * step, 0.0), *TABLE[1:])
        assert clock.see(carried, look_at((0.03 * step, 0, 0), 0.9, 50, 3 * step)) == first


def test_without_tf_ids_are_taken_up_when_the_camera_comes_back_and_no_other_object_gets_them() -> None:
    clock, elsewhere = (
        Clock(max_missed_frames=3),
        (Cylinder(0.03, 0.2, upright(3, 0, 0.1)), Sphere(0.05, upright(3, 0.2, 0.05))),
    )
    first = clock.see(TABLE)
    for _ in range(4):
        assert clock.see(TABLE) == first
    away = [clock.see((*TABLE, *elsewhere), look_at((3, 0.02 * step, 0), 0.9, 50)) for step in range(25)]
    assert len(set(away)) == 1
    assert set(away[0]).isdisjoint(first)
    assert clock.see(TABLE, look_at((0.05, 0.05, 0), 0.85, 45, 10)) == first


def test_no_frame_is_kept_however_many_maps_the_camera_left() -> None:
    tracker, frames = Tracker(TrackingSettings()), []
    for step, x_m in enumerate((0.0, 3.0, 6.0), start=1):
        frame, instances, lifted = observe([CAN, moved(BALL, 3, 0), moved(BOX, 6, 0)], look_at((x_m, 0, 0), 0.9, 50))
        frame = replace(frame, stamp_ns=step * 100_000_000)
        assert tracker.update(frame, instances, lifted) == (step,)
        frames.append(weakref.ref(frame))
    del frame
    assert [frame() for frame in frames] == [None, None, None]


def test_a_still_camera_that_a_hand_blinds_for_long_knows_its_one_object_again() -> None:
    clock = Clock(max_missed_frames=3)
    (ball,) = clock.see([BALL])
    for _ in range(10):
        clock.see([BALL, HAND], detected=[])
    assert clock.see([BALL]) == (ball,)


@pytest.mark.parametrize(
    ("bodies", "away_m"),
    [
        ((CAN,), 0.8),  # without tf nothing tells that the one that is cut off by the border is the one in the middle
        ((CAN,), 3.0),
        ((CAN, BALL, BOX), 0.8),
        ((CAN, BALL, BOX), 3.0),
    ],
)
def test_when_tf_comes_back_objects_are_where_they_were_in_its_frame(bodies: tuple[Body, ...], away_m: float) -> None:
    """Without it for one frame, in which the camera jumped to another can of the same looks."""
    clock, bodies, back = Clock(), (*bodies, moved(CAN, away_m, 0)), look_at((0, 0.02, 0), 0.7, 35, 170)
    first = clock.see(bodies, back, pose=True)
    elsewhere = look_at((away_m, 0, 0), 0.9, 50, 40)
    clock.see(bodies, elsewhere)
    clock.see(bodies, elsewhere, pose=True)
    assert clock.see(bodies, back, pose=True) == first


def test_what_is_where_nothing_was_when_tf_went_stays_new_when_it_comes_back() -> None:
    clock, back, elsewhere = Clock(), look_at((0, 0.02, 0), 0.7, 35, 170), look_at((0.8, 0, 0), 0.9, 50, 40)
    pair = (CAN, moved(CAN, 0.8, 0))
    first = clock.see(pair, back, pose=True)
    brought = (*pair, moved(CAN, 0.6, -0.15))
    clock.see(brought, elsewhere)
    ids = clock.see(brought, elsewhere, pose=True)
    assert ids[:2] == first and ids[2] not in first
    assert clock.see(brought, elsewhere, pose=True) == ids


def test_when_tf_comes_the_tracks_move_into_its_frame() -> None:
    clock, views = Clock(), [look_at((0.05 * step, 0, 0), 0.9, 50, 10 * step) for step in range(6)]
    ids = [clock.see(TABLE, view, pose=pose) for view, pose in zip(views, (0, 0, 1, 1, 0, 1), strict=True)]
    assert len(set(ids)) == 1
    np.testing.assert_allclose(clock.tracker.T_map_camera.matrix, views[-1].matrix)  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------------------------------
# Parts, order, speed


@pytest.mark.parametrize("depth", [True, False])
@pytest.mark.parametrize("visible_px", [400, 120, 40, 15])
def test_a_sliver_of_an_object_beside_a_hand_keeps_the_id(visible_px: int, depth: bool) -> None:
    clock, long = Clock(), Box((0.06, 0.3, 0.06), upright(0, 0, 0.03))
    (first,) = clock.see([long])
    frame, instances, _ = observe([long], VIEW)
    columns = np.flatnonzero(instances.masks[0].any(axis=0))
    for _ in range(3):
        mask = instances.masks[0].copy()
        order = np.flatnonzero(mask.T)  # column by column: what is left is one end
        kept = np.zeros_like(mask.T).reshape(-1)
        kept[order[:visible_px]] = True
        labels = kept.reshape(mask.T.shape).T.astype(np.uint16)
        hand = (instances.masks[0] & (labels == 0)) | (np.arange(mask.shape[1]) > columns[0] + 60)
        depth_m = np.where(hand, 0.4, frame.depth_m if depth else 0.0)
        clock.stamp_ns += 100_000_000
        now = replace(frame, depth_m=depth_m.astype(np.float32), stamp_ns=clock.stamp_ns)
        sliver = Instances.from_labels(labels)
        assert clock.tracker.update(now, sliver, LIFTER.lift(now, sliver)) == (first,)
    assert clock.see([long]) == (first,)


def test_an_object_in_a_hand_keeps_its_id_at_one_metre_in_a_second() -> None:
    clock = Clock(max_distance_m=0.07)
    (ball,) = clock.see([moved(BALL, -0.2, 0)])
    for x_m in (-0.2, -0.16, -0.1, -0.02, 0.08, 0.18, 0.28, 0.34, 0.36, 0.36):
        assert clock.see([moved(BALL, x_m, 0)]) == (ball,)


@settings(max_examples=20, deadline=None)
@given(orders=st.lists(st.permutations(range(len(TABLE))), min_size=2, max_size=3))
def test_whatever_the_order_of_the_instances_the_objects_get_the_same_ids(orders: list[list[int]]) -> None:
    clock, frame = Clock(), observe(TABLE, VIEW)[0]
    known: dict[int, int] = {}
    for order in orders:
        instances = observe(TABLE, VIEW)[1][np.array(order)]
        clock.stamp_ns += 1
        ids = clock.tracker.update(replace(frame, stamp_ns=clock.stamp_ns), instances, LIFTER.lift(frame, instances))
        for body, track_id in zip(order, ids, strict=True):
            assert known.setdefault(body, track_id) == track_id


def test_a_place_or_a_covariance_that_is_no_number_never_reaches_the_tracker() -> None:
    (one,) = seen_by_hand([(50, 0.0, 0.06)])[1].instances
    for name, shape in (("centroid_m", (3,)), ("centroid_covariance_m2", (3, 3))):
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            replace(one, **{name: np.full(shape, np.nan)})


# ---------------------------------------------------------------------------------------------------------------------
# Masks that are wrong, objects that were moved out of sight, poses that jump

BLOCKS = (
    Box((0.06, 0.06, 0.08), upright(0, -0.1, 0.04)),
    Box((0.06, 0.06, 0.08), upright(0, -0.035, 0.04)),
    Box((0.12, 0.05, 0.06), upright(0.1, 0.12, 0.03, 30)),
)
CURTAIN = Box((0.02, 0.8, 0.9), upright(0.35, 0, 0.45))


def relabelled(
    clock: Clock,
    bodies: Sequence[Body],
    change: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    pose: Transform | None = None,
) -> dict[int, int]:
    """The ids by the labels that a network gives, which are those of the bodies, changed."""
    clock.stamp_ns += 100_000_000
    frame, instances, _ = observe(bodies, VIEW)
    labels = change((instances.masks * np.arange(1, len(instances) + 1)[:, None, None]).sum(axis=0))
    wrong = Instances.from_labels(labels.astype(np.uint16))
    ids = clock.tracker.update(replace(frame, stamp_ns=clock.stamp_ns), wrong, LIFTER.lift(frame, wrong), pose)
    return dict(zip((np.unique(labels)[1:]).tolist(), ids, strict=True))


def one_of_two(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(labels == 2, 1, labels)


def cut_in_two(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    columns = np.flatnonzero((labels == 3).any(axis=0))
    cut = columns[len(columns) // 3]
    return np.where((labels == 3) & (np.arange(labels.shape[1]) < cut), 4, labels)


@pytest.mark.parametrize("change", [one_of_two, cut_in_two])
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_masks_that_run_together_or_break_for_some_frames_cost_no_id(
    change: Callable[[NDArray[np.int64]], NDArray[np.int64]], frames: int
) -> None:
    clock = Clock()
    first = clock.often(BLOCKS, 12)
    for _ in range(frames):
        ids = relabelled(clock, BLOCKS, change)
        assert ids[3] == first[2]
        assert ids[1] in first[:2]
    assert clock.often(BLOCKS) == first


def test_an_object_that_is_taken_and_set_down_elsewhere_in_a_second_has_its_id_again() -> None:
    clock = Clock()
    first = clock.often(BLOCKS, colors=(GREY, RED, BLUE))
    for _ in range(5):
        clock.see((BLOCKS[0], BLOCKS[2]), colors=(GREY, BLUE))
    for _ in range(2):
        assert clock.see((BLOCKS[0], moved(BLOCKS[1], -0.2, 0.25), BLOCKS[2]), colors=(GREY, RED, BLUE)) == first


def test_of_two_equal_objects_that_were_taken_and_set_down_elsewhere_both_are_new() -> None:
    clock = Clock()
    first = clock.often(BLOCKS)
    clock.see((BLOCKS[2],))
    *others, long = clock.see((moved(BLOCKS[0], -0.2, 0.22), moved(BLOCKS[1], -0.25, 0.05), BLOCKS[2]))
    assert long == first[2]
    assert set(others).isdisjoint(first)


@pytest.mark.parametrize("frames_of_neither", [0, 7])
def test_while_an_object_is_not_found_the_newer_one_like_it_beside_it_keeps_its_own_id(frames_of_neither: int) -> None:
    clock, cube = Clock(), Box((0.025, 0.025, 0.025), upright(0, 0, 0.0125))
    pair = [cube, moved(cube, 0, -0.03)]
    old = clock.often([cube], 24, pose=True)
    _, new = clock.often(pair, 6, pose=True)
    for _ in range(frames_of_neither):
        clock.see(pair, pose=True, detected=[])
    assert clock.often(pair, 6, pose=True, detected=[1]) == (new,)
    assert clock.see(pair, pose=True) == (*old, new)


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("gap_m", [0.06, 0.09])
def test_a_new_object_keeps_its_id_when_the_like_one_beside_it_is_taken(gap_m: float, frames: int) -> None:
    clock, cube = Clock(), Box((0.05, 0.05, 0.05), upright(0, 0, 0.025))
    clock.often([cube])
    _, new = clock.often([cube, moved(cube, 0, gap_m)], frames)
    assert clock.often([moved(cube, 0, gap_m)], 2) == (new,)


def cubes(*places_m: tuple[float, float]) -> list[Body]:
    """Equal ones on the table."""
    return [Box((0.045, 0.045, 0.045), upright(x_m, y_m, 0.0225)) for x_m, y_m in places_m]


def test_a_new_object_keeps_its_id_when_the_like_one_before_it_is_moved_away() -> None:
    others, before, behind = ((0.16, 0.1), (-0.08, 0.1), (0.16, 0.0)), (-0.08, -0.1), (-0.16, -0.1)
    clock = Clock()
    clock.often(cubes(*others, before), 12, pose=True)
    new = clock.often(cubes(*others, before, behind), 4, pose=True)[-1]
    assert clock.see(cubes(*others, (0.08, -0.1), behind), pose=True)[-1] == new


def test_what_is_set_down_beside_a_hand_is_what_left_its_place_and_not_a_like_one_under_the_hand() -> None:
    hidden, moves, goes = ((-0.16, -0.1), (-0.16, 0.1)), (0.0, 0.1), (-0.08, 0.0)
    hand = Box((0.12, 0.3, 0.02), upright(0.0, 0.0, 0.2))
    others = ((0.08, 0.1), (0.08, -0.1), (-0.08, -0.1), (-0.08, 0.1))
    clock = Clock()
    clock.often(cubes(*others, *hidden), 12, pose=True)
    ids = clock.often(cubes(*others, *hidden, moves), 6, pose=True)
    shown = (0, 1, 2, 3, 6)
    clock.often([*cubes(*others, *hidden, moves), hand], 3, detected=shown, pose=True)
    after = clock.see([*cubes(*others, *hidden, goes), hand], detected=shown, pose=True)
    assert after == tuple(ids[index] for index in shown)


def test_what_was_set_down_elsewhere_in_a_frame_is_the_same_one_in_the_next() -> None:
    others, taken, down = ((-0.08, -0.1), (0.16, -0.1), (0.0, -0.1), (0.0, 0.0)), (-0.08, 0.1), (-0.08, 0.0)
    clock = Clock()
    clock.often(cubes(*others, taken, (0.0, 0.1)), 6)
    clock.often(cubes(*others, taken), 8)
    clock.often(cubes(*others), 2)
    assert clock.see(cubes(*others, down))[-1] == clock.see(cubes(*others, down))[-1]


def test_an_object_is_not_taken_for_a_lost_one_because_another_one_it_could_be_is_forgotten() -> None:
    others, first, second, new = ((0.16, 0.1), (0.08, -0.1), (0.0, -0.1)), (0.16, -0.1), (0.16, 0.0), (-0.08, 0.0)
    clock = Clock(max_missed_frames=15)
    clock.often(cubes(*others, first, second))
    clock.see(cubes(*others, second))
    clock.often(cubes(*others), 12)
    clock.often(cubes(*others, new), 10)


def test_what_is_hidden_is_where_it_was_whatever_like_it_is_elsewhere() -> None:
    clock, screen = Clock(), Box((0.02, 0.2, 0.3), upright(0.1, -0.1, 0.15))
    block, _, long = clock.often(BLOCKS)
    bodies = (BLOCKS[0], moved(BLOCKS[0], -0.15, 0.3), BLOCKS[2], screen)
    other, again = clock.see(bodies, detected=[1, 2])
    assert again == long and other != block


@pytest.mark.parametrize(
    ("second", "colors", "kept"),
    [
        (BLOCKS[1], (RED, BLUE), False),  # alike but for their colours
        (Box((0.16, 0.16, 0.16), upright(0, 0.05, 0.08)), (GREY, GREY), False),  # of quite another size
        (BLOCKS[1], (GREY, GREY), True),  # nothing tells them apart, and they have the ids of their places
    ],
    ids=["colors", "sizes", "equal"],
)
def test_objects_that_are_swapped_behind_a_curtain_never_have_the_id_of_another_one_that_looks_different(
    second: Body, colors: tuple[Color, Color], kept: bool
) -> None:
    clock, pair = Clock(), (BLOCKS[0], second)
    first = clock.often(pair, colors=colors)
    for _ in range(3):
        clock.see((*pair, CURTAIN), detected=[])
    places = [body.T_world_body.translation_m * [1, 1, 0] for body in pair]
    swapped = tuple(
        moved(body, *(there - here)[:2]) for body, here, there in zip(pair, places, places[::-1], strict=True)
    )
    ids = clock.see(swapped, colors=colors)
    if kept:
        assert ids == first[::-1]
    else:
        assert ids[0] != first[1] and ids[1] != first[0]


def test_a_lamp_that_is_switched_off_costs_no_id() -> None:
    clock, dark = Clock(), tuple((r // 4, g // 4, b // 4) for r, g, b in (GREY, RED, BLUE))
    first = clock.often(BLOCKS, colors=(GREY, RED, BLUE))
    assert clock.see(BLOCKS, colors=dark) == first


def test_a_pose_that_is_wrong_for_a_frame_gives_new_ids_for_that_frame_alone() -> None:
    clock, shift = Clock(), Transform(np.eye(3), np.array([0.0, 1.0, 0.0]))
    first = clock.often(BLOCKS, pose=True)
    frame, instances, lifted = observe(BLOCKS, VIEW)
    clock.stamp_ns += 100_000_000
    wrong = clock.tracker.update(replace(frame, stamp_ns=clock.stamp_ns), instances, lifted, shift @ VIEW)
    assert set(wrong).isdisjoint(first)
    assert clock.see(BLOCKS, pose=True) == first


@pytest.mark.parametrize("step_ns", [100_000_000, 900_000_000])
def test_without_tf_a_camera_that_stops_and_goes_and_frames_that_are_dropped_cost_no_id(step_ns: int) -> None:
    clock = Clock()
    first = clock.see(TABLE)
    for step in (0, 1, 1, 1, 3, 3, 4, 7, 7):
        view = look_at((0.02 * step, 0.01 * step, 0), 0.9, 50, 4 * step)
        assert clock.see(TABLE, view, step_ns=step_ns) == first


# ---------------------------------------------------------------------------------------------------------------------
# What the frame before showed, colours of parts, corners of the picture


def cut_at(share: float) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    def change(labels: NDArray[np.int64]) -> NDArray[np.int64]:
        columns = np.flatnonzero((labels == 3).any(axis=0))
        cut = columns[int(share * len(columns))]
        return np.where((labels == 3) & (np.arange(labels.shape[1]) < cut), 4, labels)

    return change


@pytest.mark.parametrize(("share", "larger"), [(0.3, 3), (0.7, 4)])
def test_of_a_mask_that_breaks_the_largest_piece_keeps_the_id_and_the_whole_has_it_again(
    share: float, larger: int
) -> None:
    clock = Clock()
    first = clock.often(BLOCKS)
    for _ in range(3):
        for _ in range(2):
            assert relabelled(clock, BLOCKS, cut_at(share))[larger] == first[2]
        assert clock.see(BLOCKS) == first


def test_the_end_of_an_object_in_two_colours_is_that_object() -> None:
    clock, long = Clock(), Box((0.06, 0.3, 0.06), upright(0, 0, 0.03))
    frame, instances, lifted = observe([long], VIEW)
    columns = np.flatnonzero(instances.masks[0].any(axis=0))
    right = np.arange(QVGA.width) > columns[-len(columns) // 4]
    painted = np.where(right[None, :, None], BLUE, RED).repeat(QVGA.height, axis=0).astype(np.uint8)
    frame = replace(frame, color_rgb=painted, stamp_ns=1)
    (first,) = clock.tracker.update(frame, instances, lifted)
    for stamp_ns in range(2, 6):
        hand = ~right & (np.arange(QVGA.width) > columns[0] - 20)
        depth_m = np.where(hand, np.float32(0.4), frame.depth_m)
        hidden = replace(frame, depth_m=depth_m, stamp_ns=stamp_ns)
        end = Instances.from_labels((instances.masks[0] & ~hand).astype(np.uint16))
        assert clock.tracker.update(hidden, end, LIFTER.lift(hidden, end)) == (first,)


BROUGHT = (Box((0.05, 0.05, 0.12), upright(-0.2, 0.15, 0.06)), Sphere(0.025, upright(0.2, 0.02, 0.025)))


def on_a_patterned_table(bodies: Sequence[Body], view: Transform) -> tuple[RgbdFrame, Instances, LiftedFrame]:
    frame, instances, lifted = observe(bodies, view)
    cells = np.floor(view.apply(frame.points_m.reshape(-1, 3)) / 0.02).astype(np.int64) @ [7919, 104729, 1299721]
    shade = np.random.default_rng(1).integers(0, 256, 4096)[cells % 4096].reshape(QVGA.height, QVGA.width)
    return replace(frame, color_rgb=np.repeat(shade[..., None], 3, axis=2).astype(np.uint8)), instances, lifted


def test_without_tf_one_object_alone_is_known_where_the_picture_tells_how_the_camera_moved() -> None:
    tracker = Tracker(TrackingSettings())
    views = [look_at((0.06 * step, 0, 0), 0.9, 55, 12 * step) for step in range(4)]
    views += [look_at((0.06 * step, 0, 0), 0.9, 55, 12 * step) for step in (0, 3, 1)]
    ids = []
    for stamp, view in enumerate(views, start=1):
        frame, instances, lifted = on_a_patterned_table([BALL], view)
        ids.append(tracker.update(replace(frame, stamp_ns=stamp * 100_000_000), instances, lifted))
        told = tracker.T_map_camera
        assert told is not None
        np.testing.assert_allclose((views[0] @ told).translation_m, view.translation_m, atol=0.01)
    assert set(ids) == {(1,)}


def test_without_tf_a_camera_that_looked_at_a_wall_knows_its_one_object_again_from_elsewhere() -> None:
    tracker, wall = Tracker(TrackingSettings(max_missed_frames=3)), WALL
    views = [VIEW, VIEW, *[None] * 10, look_at((0.1, 0, 0), 0.85, 52, 15)]
    ids = []
    for stamp, view in enumerate(views, start=1):
        if view is None:
            frame, (instances, lifted) = wall, seen_by_hand([])
        else:
            frame, instances, lifted = on_a_patterned_table([BALL], view)
        ids.append(tracker.update(replace(frame, stamp_ns=stamp * 100_000_000), instances, lifted))
    assert ids[0] == ids[1] == ids[-1] == (1,)


@pytest.mark.parametrize("turned_deg", [45, 120, 180])
def test_without_tf_objects_are_known_again_where_corners_know_a_place_that_began_without_them(
    turned_deg: float,
) -> None:
    tracker, elsewhere = Tracker(TrackingSettings()), look_at((0, 0, 0), 0.9, 50, turned_deg)
    views, ids = [(VIEW, True)] * 4 + [(elsewhere, False)] + [(elsewhere, True)] * 2, []
    for stamp, (view, are_seen) in enumerate(views, start=1):
        frame, instances, lifted = on_a_patterned_table(TABLE, view)
        if not are_seen:
            instances, lifted = seen_by_hand([])
        ids.append(tracker.update(replace(frame, stamp_ns=stamp * 100_000_000), instances, lifted))
    assert ids[0] == ids[3] == ids[5] == ids[6] == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("turned_deg", "two"), [(70, (1, 2)), (45, (5, 6)), (110, (5, 6))], ids=["clear", "not clear", "not clear"]
)
def test_without_tf_two_objects_and_the_depth_of_long_before_tell_that_a_camera_is_back_where_no_other_pose_is_as_good(
    turned_deg: float, two: tuple[int, int]
) -> None:
    """Two of four were moved meanwhile, and two more were brought; the corners look too different from there."""
    tracker, table = Tracker(TrackingSettings()), (CAN, BALL, BOX, OTHERS[0])
    since = (CAN, BALL, moved(BOX, 0.16, 0.02), moved(OTHERS[0], -0.13, 0.1), *BROUGHT)
    views = [(table, VIEW)] * 8 + [(table, look_at((0, 0.2 * step, 0), 0.9, 50)) for step in range(1, 6)]
    ids = []
    for stamp, (bodies, view) in enumerate([*views, (since, look_at((0, 0, 0), 0.9, 50, turned_deg))], start=1):
        frame, instances, lifted = on_a_patterned_table(bodies, view)
        ids.append(tracker.update(replace(frame, stamp_ns=stamp * 100_000_000), instances, lifted))
    assert ids[0][:2] == (1, 2)
    assert ids[-1][:2] == two
    assert len(ids[-1]) == 6


# ---------------------------------------------------------------------------------------------------------------------
# Pieces


@pytest.mark.parametrize("shares", [(0.3, 0.7, 0.3), (0.4, 0.6, 0.65), (0.3, 0.3, 0.7, 0.7)])
def test_of_an_object_whose_mask_broke_the_larger_half_has_its_id_whichever_that_is_now(
    shares: tuple[float, ...],
) -> None:
    clock = Clock()
    first = clock.often(BLOCKS)
    for share in shares:
        larger = 3 if share < 0.5 else 4
        assert relabelled(clock, BLOCKS, cut_at(share))[larger] == first[2]
    assert clock.see(BLOCKS) == first


def test_what_is_set_on_a_tray_never_has_the_trays_id_though_that_is_missed_or_one_with_it_for_a_frame() -> None:
    clock, tray = Clock(), Box((0.3, 0.24, 0.02), upright(0, 0, 0.01))
    card = Box((0.12, 0.08, 0.012), upright(0.02, 0.01, 0.026))
    (first,) = clock.often([tray])
    _, second = clock.see([tray, card])
    for detected, ids in [([1], (second,)), ([0], (first,)), ([1], (second,)), ([0, 1], (first, second))]:
        assert clock.see([tray, card], detected=detected) == ids


def some_pixels(count: int) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Of all masks together only the first so many pixels, as between the fingers of a hand."""

    def change(labels: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(np.cumsum(labels > 0).reshape(labels.shape) <= count, labels, 0)

    return change


def test_what_a_hand_carries_keeps_its_id_while_too_little_of_it_is_in_sight_for_3d() -> None:
    """At one metre in a second, so that after two frames it is too far from where it was last known in 3D."""
    clock = Clock()
    (first,) = clock.often([BALL], pose=True)
    for x_m in (0.06, 0.14, 0.24, 0.34, 0.42):
        assert relabelled(clock, [moved(BALL, x_m, 0)], some_pixels(12), VIEW) == {1: first}
    assert clock.see([moved(BALL, 0.46, 0)], pose=True) == (first,)


@pytest.mark.parametrize(("frames", "same"), [(3, False), (8, True)])
def test_another_colour_in_the_same_place_may_be_a_shadow_on_what_is_known_but_not_on_what_just_came(
    frames: int, same: bool
) -> None:
    """As an object that is set down where the hand was that held it."""
    clock = Clock()
    clock.often([BALL], frames, colors=[(190, 140, 110)], pose=True)
    assert (clock.see([BALL], colors=[(130, 150, 170)], pose=True) == (1,)) is same


def test_a_sliver_that_moves_past_a_hand_is_not_what_rests_hidden_behind_it() -> None:
    clock, cube = Clock(), Box((0.05, 0.05, 0.05), upright(0, 0, 0.025))
    (rests,) = clock.often([cube], pose=True)
    bead = Sphere(0.006, upright(0, -0.3, 0.1))
    ids = {clock.see([cube, moved(bead, 0, y_m)], pose=True)[1] for y_m in (0.0, 0.08)}
    hand = Box((0.06, 0.06, 0.02), Transform(VIEW.rotation, 0.6 * VIEW.translation_m))
    (seen,) = clock.see([hand, moved(bead, 0, 0.17)], detected=[1], pose=True)
    assert {seen} == ids
    assert clock.see([cube], pose=True) == (rests,)


@pytest.mark.parametrize("up_m", [0.04, 0.05, 0.06])
def test_what_falls_past_an_object_that_is_not_found_for_a_frame_does_not_take_its_id(up_m: float) -> None:
    clock, block = Clock(), Box((0.1, 0.07, 0.05), upright(0, 0, 0.025))
    (stands,) = clock.often([block], colors=[(190, 140, 110)], pose=True)
    falls = Box((0.1, 0.07, 0.05), upright(0, 0.06, 0.025 + up_m))
    seen = clock.see([block, falls], detected=[1], colors=[(190, 140, 110), (150, 150, 160)], pose=True)
    assert seen != (stands,)
    assert clock.see([block], colors=[(190, 140, 110)], pose=True) == (stands,)


def test_a_sliver_of_what_hides_a_like_one_that_rests_does_not_tell_where_that_is() -> None:
    clock = Clock()
    (rests,) = clock.often([BALL], pose=True)
    place_m = BALL.T_world_body.translation_m
    sight = (VIEW.translation_m - place_m) / np.linalg.norm(VIEW.translation_m - place_m)
    passes = replace(BALL, T_world_body=Transform(VIEW.rotation, place_m + 0.3 * sight))

    def last_pixels(labels: NDArray[np.int64]) -> NDArray[np.int64]:
        left = np.zeros_like(labels)
        left[tuple(np.argwhere(labels)[-8:].T)] = 1
        return left

    for _ in range(3):
        relabelled(clock, [passes], last_pixels, VIEW)
    assert clock.see([BALL, moved(passes, 0.05, 0)], detected=[1], pose=True) != (rests,)
    assert clock.see([BALL], pose=True) == (rests,)
