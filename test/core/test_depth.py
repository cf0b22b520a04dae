"""Depth images decoded and registered, on small literal images."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.depth import decode_depth, register_depth, scale_fault
from instance_seg_ros.core.geometry import Transform

CAMERA = Intrinsics(4, 3, 2.0, 2.0, 1.5, 1.0)


@pytest.mark.parametrize(
    ("raw", "unit_m", "expected"),
    [
        (np.array([[0, 1, 1500]], np.uint16), None, [[0, 0.001, 1.5]]),
        (np.array([[0, 65535]], np.uint16), 0.0001, [[0, 6.5535]]),
        (np.array([[0, 1500]], ">u2"), None, [[0, 1.5]]),
        (np.array([[np.nan, np.inf, -1, 0, 2.5, 1e30, 1e-38]], np.float32), None, [[0, 0, 0, 0, 2.5, 0, 0]]),
        (np.array([[1.25]], np.float64), None, [[1.25]]),
        (np.array([[1.25]], np.float32), 1.0, [[1.25]]),
        (np.array([[65535]], np.uint16), None, [[0]]),  # 65.5 m is the code for nothing
        (np.full((9, 9), 65535, np.uint16), 0.001, np.zeros((9, 9))),
    ],
)
def test_depth_becomes_metres_with_0_for_none(
    raw: np.ndarray, unit_m: float | None, expected: list[list[float]] | np.ndarray
) -> None:
    depth_m = decode_depth(raw, unit_m)
    assert depth_m.dtype == np.float32
    np.testing.assert_allclose(depth_m, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("raw", "unit_m", "message"),
    [
        (np.zeros((2, 2), np.uint8), None, "uint16 or floating"),
        (np.zeros((2, 2, 3), np.uint16), None, "two dimensions"),
        (np.zeros((2, 2), np.uint16), 0.0, "positive"),
        (np.zeros((2, 2), np.float32), 0.001, "metres already"),
        (np.full((9, 9), 812, np.uint16), 1.0, "depth_unit_m 1, but nearly all .* beyond 812: .* Then it is 0.001"),
    ],
)
def test_depth_that_is_none_is_refused(raw: np.ndarray, unit_m: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_depth(raw, unit_m)


@pytest.mark.parametrize(
    ("metres", "in_range", "refused"),
    [
        (812.0, 0, True),
        (812.0, 99, True),
        (812.0, 100, False),
        (66.0, 0, True),
        (64.0, 0, False),
        (np.inf, 0, False),
        (np.nan, 0, False),
    ],
)
def test_floating_point_millimetres_are_named(metres: float, in_range: int, refused: bool) -> None:
    raw = np.full((100, 100), metres, np.float32)
    raw.flat[:in_range] = 0.7
    if not refused:
        assert np.count_nonzero(decode_depth(raw)) in (in_range, raw.size)
        return
    with pytest.raises(ValueError, match=f"half of them beyond {metres:g}: are they millimetres"):
        decode_depth(raw)


@pytest.mark.parametrize(
    ("metres", "max_opening_m", "fault"),
    [
        (0.8, 0.08, ""),
        (8.0, 0.08, "nearly all that was measured lies beyond 8 m, and nothing farther than 3 m can be grasped"),
        (2.9, 0.08, ""),
        (3.1, 0.08, "beyond 3.1 m"),
        (3.1, 0.2, ""),
        (5.1, 0.2, "nothing farther than 5 m"),
        (0.001, 0.08, "lies within 1 mm, nearer than a depth camera can measure; is the depth's unit right?"),
        (0.049, 0.08, "lies within 49 mm"),
        (0.051, 0.08, ""),
        (0.0, 0.08, ""),
    ],
)
def test_depth_that_no_robot_works_at_is_named_as_a_wrong_unit(metres: float, max_opening_m: float, fault: str) -> None:
    found = scale_fault(np.full((80, 80), metres, np.float32), max_opening_m)
    assert (fault in found) if fault else found == ""


def test_a_far_background_is_no_wrong_unit() -> None:
    depth_m = np.full((80, 80), 6.0, np.float32)
    depth_m[:8] = 0.8
    assert scale_fault(depth_m, 0.08) == ""


def test_registering_to_the_same_camera_changes_nothing() -> None:
    depth_m = np.random.default_rng(0).uniform(0.5, 2, (3, 4)).astype(np.float32)
    depth_m[1, 1] = 0
    np.testing.assert_allclose(register_depth(depth_m, CAMERA, CAMERA, Transform.identity()), depth_m, rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 1.5, 1.25])
def test_registering_to_a_finer_camera_fills_every_pixel(factor: float) -> None:
    depth_camera = Intrinsics(40, 30, 40.0, 40.0, 19.5, 14.5)
    color_camera = depth_camera.resized(int(40 * factor), int(30 * factor))
    registered = register_depth(np.full((30, 40), 1.5, np.float32), depth_camera, color_camera, Transform.identity())
    np.testing.assert_allclose(registered, 1.5, rtol=1e-6)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1, 1.5, 2, 3])
def test_registering_does_not_shift_the_image(factor: float) -> None:
    """A bright square in the middle stays in the middle, whatever the ratio of the resolutions."""
    depth_camera = Intrinsics(64, 48, 64.0, 64.0, 31.5, 23.5)
    color_camera = depth_camera.resized(int(64 * factor), int(48 * factor))
    depth_m = np.zeros((48, 64), dtype=np.float32)
    depth_m[16:32, 24:40] = 1.0
    rows, columns = np.nonzero(register_depth(depth_m, depth_camera, color_camera, Transform.identity()))
    assert rows.mean() == pytest.approx(color_camera.cy, abs=0.13)
    assert columns.mean() == pytest.approx(color_camera.cx, abs=0.13)
    assert len(rows) == pytest.approx(16 * 16 * factor**2, rel=0.15)


@pytest.mark.parametrize(("column", "expected"), [(24, 6), (25, 6), (26, 6), (27, 6), (28, 7)])
def test_a_lone_point_is_one_pixel_of_a_coarser_camera(column: int, expected: int) -> None:
    depth_camera, depth_m = Intrinsics(64, 48, 64.0, 64.0, 31.5, 23.5), np.zeros((48, 64), dtype=np.float32)
    depth_m[column - 4, column] = 1.0  # the middle of its pixel is a quarter of 24.5, less half a pixel
    registered = register_depth(depth_m, depth_camera, depth_camera.resized(16, 12), Transform.identity())
    assert np.argwhere(registered).tolist() == [[expected - 1, expected]]


@pytest.mark.parametrize("factor", [1.1, 1.25, 1.45, 1.75])
def test_registering_to_a_finer_camera_widens_objects_to_no_side(factor: float) -> None:
    depth_camera = Intrinsics(64, 48, 64.0, 64.0, 31.5, 23.5)
    color_camera = Intrinsics(128, 96, 64 * factor, 64 * factor, 63.27, 47.5)
    for first, behind in ((24, 38), (25, 40), (26, 37)):
        depth_m = np.full((48, 64), 2.0, dtype=np.float32)
        depth_m[:, first:behind] = 1.0
        near = register_depth(depth_m, depth_camera, color_camera, Transform.identity())[48] == 1.0
        begin, end = 63.27 + (np.array([first, behind]) - 0.5 - 31.5) * factor
        assert np.flatnonzero(near).tolist() == list(range(int(np.ceil(begin)), int(np.ceil(end))))


def test_registering_across_a_baseline_shifts_by_disparity_and_the_nearer_point_wins() -> None:
    camera = Intrinsics(40, 10, 40.0, 40.0, 19.5, 4.5)
    depth_m = np.full((10, 40), 2.0, dtype=np.float32)
    depth_m[:, 10] = 1.0
    T_color_depth = Transform(np.eye(3), np.array([0.1, 0.0, 0.0]))  # 4 px at 1 m, 2 px at 2 m
    registered = register_depth(depth_m, camera, camera, T_color_depth)
    assert registered[5, 14] == pytest.approx(1.0)  # not the 2 m point of column 12 that falls there, too
    assert registered[5, 12] == 0.0  # shadow of the near column
    assert registered[5, 20] == pytest.approx(2.0)
    assert (registered[:, :2] == 0).all()


@pytest.mark.parametrize(
    ("turn_xyzw", "move_m", "seen_xy", "expected_xy", "expected_m"),
    [
        ((0, 0, 0, 1), (0, 0, 0), (31.5, 23.5), (31.5, 23.5), 1.0),
        # By 10 degrees: what the depth camera has on its axis lies 64 tan(10) = 11.3 px aside, at cos(10) m.
        ((0, 0.08716, 0, 0.99619), (0, 0, 0), (31.5, 23.5), (42.8, 23.5), 0.985),
        ((0, -0.08716, 0, 0.99619), (0, 0, 0), (31.5, 23.5), (20.2, 23.5), 0.985),
        ((0.08716, 0, 0, 0.99619), (0, 0, 0), (31.5, 23.5), (31.5, 12.2), 0.985),
        # By 90 degrees about the axis, to the right becomes down.
        ((0, 0, 0.70711, 0.70711), (0, 0, 0), (41.5, 23.5), (31.5, 33.5), 1.0),
        ((0, 0, -0.70711, 0.70711), (0, 0, 0), (41.5, 23.5), (31.5, 13.5), 1.0),
        # Turned first and then moved by 0.1 m: 6.4 px at 1 m.
        ((0, 0, 0.70711, 0.70711), (0.1, 0, 0), (41.5, 23.5), (37.9, 33.5), 1.0),
        ((0, 0.08716, 0, 0.99619), (0, 0, 0.1), (31.5, 23.5), (41.7, 23.5), 1.085),
    ],
)
def test_depth_of_a_camera_that_is_turned_lies_where_the_turn_puts_it(
    turn_xyzw: tuple[float, ...],
    move_m: tuple[float, ...],
    seen_xy: tuple[float, float],
    expected_xy: tuple[float, float],
    expected_m: float,
) -> None:
    camera = Intrinsics(64, 48, 64.0, 64.0, 31.5, 23.5)
    depth_m, (x, y) = np.zeros((48, 64), dtype=np.float32), (int(seen_xy[0]), int(seen_xy[1]))
    depth_m[y : y + 2, x : x + 2] = 1.0
    registered = register_depth(depth_m, camera, camera, Transform.from_quaternion(turn_xyzw, move_m))
    rows, columns = np.nonzero(registered)
    assert (columns.mean(), rows.mean()) == pytest.approx(expected_xy, abs=0.7)
    assert registered[rows, columns] == pytest.approx(expected_m, abs=0.004)


@pytest.mark.parametrize(
    ("move_m", "rows", "columns"),
    [
        ((0.1, 0.0, 0.0), slice(0, 10), slice(4, 40)),  # 4 px right at 1 m
        ((-0.1, 0.0, 0.0), slice(0, 10), slice(0, 36)),
        ((0.0, 0.1, 0.0), slice(4, 10), slice(0, 40)),  # 4 px down
        ((0.0, -0.1, 0.0), slice(0, 6), slice(0, 40)),
        ((0.0, 0.0, -1.5), slice(0, 0), slice(0, 0)),  # behind the colour camera
        ((0.0, 0.0, 64.5), slice(0, 0), slice(0, 0)),  # farther than any depth
    ],
)
def test_what_the_colour_camera_cannot_see_is_nowhere_in_its_image(
    move_m: tuple[float, float, float], rows: slice, columns: slice
) -> None:
    camera = Intrinsics(40, 10, 40.0, 40.0, 19.5, 4.5)
    registered = register_depth(
        np.ones((10, 40), np.float32), camera, camera, Transform(np.eye(3), np.array(move_m, dtype=float))
    )
    expected = np.zeros((10, 40))
    expected[rows, columns] = 1.0
    np.testing.assert_allclose(registered, expected, rtol=1e-6)


def test_registering_an_image_of_another_size_than_its_camera_info_is_refused() -> None:
    with pytest.raises(ValueError, match="5x3 but its CameraInfo says 4x3"):
        register_depth(np.ones((3, 5), np.float32), CAMERA, CAMERA, Transform.identity())


def test_focal_lengths_that_do_not_belong_together_are_refused_before_the_work() -> None:
    """One depth pixel would be splatted over millions of others."""
    narrow, wide = Intrinsics(640, 480, 60_000.0, 60_000.0, 319.5, 239.5), Intrinsics(160, 120, 20.0, 20.0, 79.5, 59.5)
    with pytest.raises(ValueError, match="one depth pixel would cover 3000x3000 pixels of colour"):
        register_depth(np.full((120, 160), 0.8, np.float32), wide, narrow, Transform.identity())
