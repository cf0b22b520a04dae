"""Where the camera is, told by corners of the picture."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.tracking.landmarks import LEAST, LandmarkFinder, Landmarks, motion_between

QVGA = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
HERE = Transform.identity()
MOTION = Transform.from_quaternion([0.05, 0.1, -0.05, 1.0], np.array([0.2, -0.1, 0.05]))
RNG = np.random.default_rng(5)
KNOWN = Landmarks(RNG.uniform(-0.5, 0.5, (100, 3)), RNG.integers(0, 256, (100, 32), dtype=np.uint8))


def seen_from(pose: Transform, count: int = 100, elsewhere: int = 0) -> Landmarks:
    """So many of the landmarks from a pose, of which the first ones moved by themselves."""
    points_m = KNOWN.points_m[:count].copy()
    points_m[:elsewhere] += [0.1, 0.2, 0.0]
    return Landmarks(pose.inverse().apply(points_m), KNOWN.descriptors[:count])


@pytest.mark.parametrize(
    ("count", "elsewhere", "agree"), [(100, 0, 100), (100, 40, 60), (20, 0, 20), (LEAST - 1, 0, 0)]
)
def test_a_motion_is_that_of_most_landmarks(count: int, elsewhere: int, agree: int) -> None:
    pose, found = motion_between(seen_from(MOTION, count, elsewhere), KNOWN, HERE)
    assert found == agree
    np.testing.assert_allclose(pose.matrix, (MOTION if agree else HERE).matrix, atol=1e-6)


@pytest.mark.parametrize(
    ("right", "count", "told"), [(25, 100, True), (14, 100, False), (10, 36, True), (10, 44, False), (7, 20, False)]
)
def test_few_landmarks_tell_a_motion_where_they_are_a_large_share_of_all(right: int, count: int, told: bool) -> None:
    seen = seen_from(MOTION, count)
    seen.points_m[right:] = np.random.default_rng(7).uniform(-0.5, 0.5, (count - right, 3))
    pose, agree = motion_between(seen, KNOWN, HERE)
    assert (agree >= right) == told
    np.testing.assert_allclose(pose.matrix, (MOTION if told else HERE).matrix, atol=0.02)


@pytest.mark.parametrize(("reach_m", "agree"), [(np.inf, 100), (0.5, 100), (0.01, 0)])
def test_landmarks_beyond_reach_of_where_they_are_expected_are_no_matches(reach_m: float, agree: int) -> None:
    assert motion_between(seen_from(MOTION), KNOWN, HERE, reach_m)[1] == agree


def test_another_scene_tells_nothing() -> None:
    rng = np.random.default_rng(6)
    other = Landmarks(rng.uniform(-0.5, 0.5, (100, 3)), rng.integers(0, 256, (100, 32), dtype=np.uint8))
    assert motion_between(other, KNOWN, MOTION) == (MOTION, 0)


@pytest.mark.parametrize("size", [1, 2])
def test_corners_have_the_places_of_their_pixels_whatever_the_resolution(size: int) -> None:
    camera = Intrinsics(320 * size, 240 * size, 300.0 * size, 300.0 * size, 160.0 * size - 0.5, 120.0 * size - 0.5)
    blocks = np.random.default_rng(3).integers(0, 256, (30, 60), dtype=np.uint8)
    wide = np.kron(blocks, np.ones((8 * size, 8 * size), dtype=np.uint8))
    first, second = (np.repeat(wide[:, shift : shift + 320 * size, None], 3, axis=2) for shift in (0, 24 * size))
    depth_m = np.full((240 * size, 320 * size), 1.5, dtype=np.float32)
    frame = RgbdFrame(first, depth_m, camera)
    known, seen = LandmarkFinder().landmarks_of(frame), LandmarkFinder().landmarks_of(replace(frame, color_rgb=second))
    pose, agree = motion_between(seen, known, HERE)
    assert agree > 50
    np.testing.assert_allclose(pose.translation_m, [24 / 300 * 1.5, 0, 0], atol=0.003)
    assert len(LandmarkFinder().landmarks_of(replace(frame, color_rgb=None))) == 0
    assert len(LandmarkFinder().landmarks_of(replace(frame, depth_m=np.zeros_like(depth_m)))) == 0
    assert len(LandmarkFinder().landmarks_of(replace(frame, color_rgb=np.zeros_like(first)))) == 0


@pytest.mark.parametrize("looked_at", [[], [0], [1], [1, 0], [0, 1], [0, 0]])
def test_landmarks_are_those_of_the_frame_whichever_was_looked_at_before(looked_at: list[int]) -> None:
    rng = np.random.default_rng(4)
    blocks = [np.kron(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in "ab"]
    frames = [RgbdFrame(block, np.ones((240, 320), dtype=np.float32), QVGA) for block in blocks]
    finder = LandmarkFinder()
    for _ in range(2):
        for index in looked_at:
            finder.look_at(frames[index])
        found, alone = finder.landmarks_of(frames[0]), LandmarkFinder().landmarks_of(frames[0])
        assert len(found) > 50
        assert (found.points_m.tolist(), found.descriptors.tolist()) == (
            alone.points_m.tolist(), alone.descriptors.tolist(),
        )  # fmt: skip


def test_a_forked_process_finds_what_its_parent_finds() -> None:
    cells = np.random.default_rng(4).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture = np.kron(cells, np.ones((8, 8, 1), np.uint8))
    frame, finder = RgbdFrame(picture, np.ones((240, 320), np.float32), QVGA), LandmarkFinder()
    finder.look_at(frame)
    alone = LandmarkFinder().landmarks_of(frame).points_m.tolist()

    def find() -> None:
        first = finder.landmarks_of(frame).points_m.tolist()
        finder.look_at(frame)
        raise SystemExit(0 if first == finder.landmarks_of(frame).points_m.tolist() == alone else 1)

    process = multiprocessing.get_context("fork").Process(target=find)
    process.start()
    process.join(20)
    process.kill()
    process.join()
    assert process.exitcode == 0


def test_a_thread_that_outlives_the_main_one_finds_landmarks() -> None:
    program = """
import threading
import numpy as np
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.tracking.landmarks import LandmarkFinder
picture = np.kron(np.random.default_rng(4).integers(0, 256, (30, 40, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
frame = RgbdFrame(picture, np.ones((240, 320), np.float32), Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5))
finder = LandmarkFinder()
def find():
    finder.look_at(frame)
    first = len(finder.landmarks_of(frame))
    threading.main_thread().join()
    for _ in range(2):
        finder.look_at(frame)
        print(first, len(finder.landmarks_of(frame)))
threading.Thread(target=find).start()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stderr == ""
    [count] = set(ended.stdout.split())
    assert int(count) > 50


def test_what_goes_wrong_beside_is_told_to_whoever_asks() -> None:
    frame = RgbdFrame(np.zeros((240, 320, 3), np.uint8), np.ones((240, 320), np.float32), QVGA)
    finder = LandmarkFinder()
    finder._orb = None
    finder.look_at(frame)
    with pytest.raises(AttributeError, match="detectAndCompute"):
        finder.landmarks_of(frame)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 640), (2, 1280), (62, 320), (640, 62), (40, 40)])
def test_a_picture_of_few_rows_or_columns_has_no_corners(height: int, width: int) -> None:
    camera = Intrinsics(width, height, 600.0, 600.0, width / 2 - 0.5, height / 2 - 0.5)
    picture = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert (
        len(LandmarkFinder().landmarks_of(RgbdFrame(picture, np.ones((height, width), dtype=np.float32), camera))) == 0
    )


def test_corners_have_their_places_where_the_width_is_no_multiple_of_the_smaller_one() -> None:
    """854 columns become 284 and not 284.67: the last ones would be off by two pixels."""
    blocks = np.random.default_rng(3).integers(0, 256, (20, 54), dtype=np.uint8)
    picture = np.repeat(np.kron(blocks, np.ones((24, 16), dtype=np.uint8))[:, :854, None], 3, axis=2)
    camera = Intrinsics(854, 480, 600.0, 600.0, 426.5, 239.5)
    points_m = LandmarkFinder().landmarks_of(RgbdFrame(picture, np.ones((480, 854), dtype=np.float32), camera)).points_m
    columns = points_m[:, 0] / points_m[:, 2] * 600.0 + 426.5
    far = columns[columns > 600] + 0.5
    assert len(far) > 10
    off_px = far - 16 * np.rint(far / 16)
    assert abs(np.median(off_px)) < 0.8
