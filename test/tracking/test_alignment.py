"""The camera's pose from the places of objects, some of which moved by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from analytic_scenes import look_at
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.tracking.alignment import Objects, alignments

PLACES_M = np.array([[0.0, 0.0, 0.05], [0.2, 0.05, 0.03], [-0.15, 0.1, 0.08], [0.05, -0.2, 0.04], [-0.1, -0.1, 0.02]])
VIEW = look_at((0, 0, 0), 0.9, 50)
UP = np.array([0.0, 0.0, 1.0])


def best_pose(
    camera: Transform,
    before: Transform,
    moved_m: dict[int, Sequence[float]] | None = None,
    *,
    up: bool = True,
    places_m: NDArray[np.float64] = PLACES_M,
    order: Sequence[int] | None = None,
    alike: float = 0.9,
) -> Transform:
    """What is told of a camera that sees objects of a map, some of which moved, from its pose before."""
    now_m = places_m.copy()
    for index, step_m in (moved_m or {}).items():
        now_m[index] += step_m
    order = list(range(len(places_m))) if order is None else list(order)
    seen_m = camera.inverse().apply(now_m[order])
    variance_m2 = np.full(len(places_m), 0.003**2)
    found = alignments(
        Objects(seen_m, variance_m2, camera.rotation.T @ UP if up else None),
        Objects(places_m, variance_m2, UP if up else None),
        np.full((len(order), len(places_m)), alike),
        before,
    )
    return max(found, key=lambda each: each.score).T_map_camera


def off(found: Transform, true: Transform) -> tuple[float, float]:
    """Metres at the table and degrees."""
    difference = true.inverse() @ found
    at_m = true.inverse().apply(np.zeros(3))
    cosine = (np.trace(difference.rotation) - 1) / 2
    return float(np.linalg.norm(difference.apply(at_m) - at_m)), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@pytest.mark.parametrize(
    ("camera", "up"),
    [
        (VIEW, True),
        (look_at((0.01, 0, 0), 0.9, 50, 1), True),
        (look_at((0.1, 0.1, 0), 0.8, 45, 20), True),
        (look_at((0, 0, 0), 1.0, 50, 90), True),
        (look_at((0, 0, 0), 0.9, 50, 180), True),
        # Without a support plane nothing tells about which direction a camera turned far.
        (VIEW, False),
        (look_at((0.01, 0, 0), 0.9, 50, 1), False),
        (look_at((0.1, 0.1, 0), 0.8, 45, 20), False),
    ],
)
def test_the_pose_is_found_however_far_the_camera_went(camera: Transform, up: bool) -> None:
    metres, degrees = off(best_pose(camera, VIEW, up=up), camera)
    assert metres < 0.002 and degrees < 0.5


@pytest.mark.parametrize(
    "moved_m",
    [{0: (0.2, 0, 0)}, {4: (0, -0.1, 0.1)}, {1: (0.1, 0, 0), 2: (0, 0.1, 0)}, {0: (0.03, 0, 0)}],
    ids=["one", "lifted", "two of five", "a little"],
)
def test_what_moves_by_itself_does_not_corrupt_it(moved_m: dict[int, Sequence[float]]) -> None:
    camera = look_at((0.05, 0, 0), 0.85, 45, 10)
    metres, degrees = off(best_pose(camera, VIEW, moved_m), camera)
    assert metres < 0.01 and degrees < 3


@settings(max_examples=40, deadline=None)
@given(
    azimuth=st.floats(-180, 180),
    elevation=st.floats(25, 75),
    x_m=st.floats(-0.2, 0.2),
    order=st.permutations(range(len(PLACES_M))),
)
def test_any_motion_is_found_in_whatever_order_the_objects_come(
    azimuth: float, elevation: float, x_m: float, order: list[int]
) -> None:
    camera = look_at((x_m, 0, 0), 0.9, elevation, azimuth)
    metres, degrees = off(best_pose(camera, VIEW, order=order), camera)
    assert metres < 0.005 and degrees < 1


def test_of_poses_that_explain_as_much_the_nearest_is_taken() -> None:
    """Three equal objects in a row, of which the camera shows two: which ones, only the way it has gone tells."""
    row_m = np.array([[0.0, -0.2, 0.05], [0.0, 0.0, 0.05], [0.0, 0.2, 0.05]])
    camera = look_at((0.0, 0.05, 0), 0.9, 50)
    seen_m = camera.inverse().apply(row_m[1:])
    variance_m2 = np.full(3, 0.003**2)
    found = alignments(
        Objects(seen_m, variance_m2[1:], camera.rotation.T @ UP),
        Objects(row_m, variance_m2, UP),
        np.full((2, 3), 0.9),
        VIEW,
    )
    metres, _ = off(found[int(np.argmax([each.score for each in found]))].T_map_camera, camera)
    assert metres < 0.005


def test_nothing_seen_and_nothing_known_tell_nothing() -> None:
    none, some = (Objects(places_m, np.full(len(places_m), 1e-5), None) for places_m in (PLACES_M[:0], PLACES_M))
    for seen, known in ((none, some), (some, none), (none, none)):
        (held,) = alignments(seen, known, np.zeros((len(seen.place_m), len(known.place_m))), VIEW)
        assert (held.score, held.explained, held.shift_m) == (0.0, 0, 0.0)
        np.testing.assert_array_equal(held.T_map_camera.matrix, VIEW.matrix)


def test_objects_that_do_not_look_alike_explain_nothing() -> None:
    pose = best_pose(look_at((0, 0, 0), 0.9, 50, 20), VIEW, alike=0.0)
    np.testing.assert_array_equal(pose.matrix, VIEW.matrix)
