"""Intrinsics and the frame's validation, on small literal images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instance_seg_ros.core.camera import MAX_DEPTH_M, Intrinsics, RgbdFrame, intrinsics_from_matrix

CAMERA = Intrinsics(4, 3, 2.0, 2.0, 1.5, 1.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 3, 2.0, 2.0, 1.5, 1.0), "image size"),
        ((4, 3, 0.0, 0.0, 0.0, 0.0), "CameraInfo"),
        ((4, 3, -2.0, 2.0, 1.5, 1.0), "focal"),
        ((4, 3, 2.0, float("nan"), 1.5, 1.0), "focal"),
        ((4, 3, 2.0, 2.0, 8.1, 1.0), "principal point"),
        ((4, 3, 2.0, 2.0, -4.1, 1.0), "principal point"),
        ((4, 3, 2.0, 2.0, 1.5, 6.1), "principal point"),
        ((4, 3, 2.0, 2.0, 1.5, -3.1), "principal point"),
        ((640, 480, 5.0, 500.0, 319.5, 239.5), "more than 178 degrees"),
        ((640, 480, 500.0, 4.0, 319.5, 239.5), "more than 178 degrees"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(values: tuple[int, int, float, float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Intrinsics(*values)


@pytest.mark.parametrize(("cx", "cy"), [(8.0, 1.0), (-4.0, 1.0), (1.5, 6.0), (1.5, -3.0)])
def test_the_principal_point_of_a_crop_is_up_to_its_own_size_outside(cx: float, cy: float) -> None:
    assert Intrinsics(4, 3, 2.0, 2.0, cx, cy).cx == cx


def test_whole_numbers_of_a_file_or_of_numpy_are_floats_afterwards() -> None:
    camera = Intrinsics(4, 3, 2, np.float32(2), np.int64(1), 1)
    assert [type(value) for value in (camera.fx, camera.fy, camera.cx, camera.cy)] == [float] * 4


def test_back_projection_of_literal_pixels() -> None:
    depth_m = np.zeros((3, 4), dtype=np.float32)
    depth_m[1, 3], depth_m[0, 0] = 2.0, 1.0
    points_m = CAMERA.back_project(depth_m)
    assert points_m[1, 3].tolist() == [1.5, 0.0, 2.0]
    assert points_m[0, 0].tolist() == [-0.75, -0.5, 1.0]
    assert points_m[2, 2].tolist() == [0, 0, 0]


@given(st.floats(0.1, 60), st.integers(0, 3), st.integers(0, 2))
def test_projection_undoes_back_projection(depth: float, x: int, y: int) -> None:
    depth_m = np.full((3, 4), depth, dtype=np.float32)
    np.testing.assert_allclose(CAMERA.project(CAMERA.back_project(depth_m))[y, x], [x, y], atol=1e-5)


def test_resizing_keeps_the_directions_of_the_image_corners() -> None:
    wide = CAMERA.resized(8, 9)
    first, last = (-0.5, -0.5), (CAMERA.width - 0.5, CAMERA.height - 0.5)  # outer corners of the corner pixels
    for own, other in ((first, first), (last, (8 - 0.5, 9 - 0.5))):
        assert (other[0] - wide.cx) / wide.fx == pytest.approx((own[0] - CAMERA.cx) / CAMERA.fx)
        assert (other[1] - wide.cy) / wide.fy == pytest.approx((own[1] - CAMERA.cy) / CAMERA.fy)


@pytest.mark.parametrize(
    ("cx", "cy", "centred"),
    [(319.5, 239.5, True), (200.0, 150.0, True), (440.0, 330.0, True), (180.0, 130.0, False), (450.0, 340.0, False)],
)
def test_an_axis_through_the_middle_two_fifths_of_an_image_is_right(cx: float, cy: float, centred: bool) -> None:
    assert Intrinsics(640, 480, 600.0, 600.0, cx, cy).fits_size is centred


@pytest.mark.parametrize(
    ("width", "height", "cx", "cy", "fits", "instead"),
    [
        (640, 480, 318.6, 255.3, True, None),
        (640, 480, 288.0, 205.0, True, None),  # somewhat aside, and the middle of no usual image
        (640, 480, 640.8, 355.2, False, (1280, 720)),
        (640, 480, 421.3, 243.8, False, (848, 480)),  # of another width only
        (640, 480, 159.5, 119.5, False, (320, 240)),
        (640, 480, 175.0, 125.0, False, None),  # of 351x251, which is no usual size
        (640, 480, 120.0, 300.0, True, None),  # of a crop, as no camera has an image of 241x601
        (640, 480, 319.5, 100.0, True, None),  # of a crop of its rows
        (640, 480, -40.0, 239.5, True, None),  # beside the axis
        (640, 480, 150.0, 210.0, True, None),  # an upright image in one that lies
        (480, 640, 120.0, 210.0, False, None),  # but where the image does
        (1936, 1216, 600.1, 970.5, False, (1216, 1936)),  # turned, without its intrinsics
        (640, 480, 239.5, 319.5, False, (480, 640)),
        (500, 480, 150.0, 90.0, False, None),  # a square image tells neither
        (500, 480, 90.0, 150.0, False, None),
        (500, 480, 150.0, 50.0, True, None),
        (640, 480, 0.0, 0.0, False, None),  # not filled in
        (640, 480, 0.0, 239.5, False, None),
    ],
)
def test_intrinsics_that_miss_the_middle_are_those_of_another_resolution_or_of_a_crop(
    width: int, height: int, cx: float, cy: float, fits: bool, instead: tuple[int, int] | None
) -> None:
    camera = Intrinsics(width, height, 600.0, 600.0, cx, cy)
    assert (camera.fits_size, camera.size_instead) == (fits, instead)


def test_intrinsics_from_the_matrix_of_a_camera_info() -> None:
    assert intrinsics_from_matrix([2.0, 0, 1.5, 0, 2.5, 1.0, 0, 0, 1], 4, 3) == Intrinsics(4, 3, 2.0, 2.5, 1.5, 1.0)


GOOD_DEPTH = np.ones((3, 4), dtype=np.float32)


@pytest.mark.parametrize(
    ("color", "depth_m", "message"),
    [
        (None, np.ones((3, 5), np.float32), "register it first"),
        (None, np.ones((3, 4), np.float64), "decode it with decode_depth"),
        (np.zeros((3, 5, 3), np.uint8), GOOD_DEPTH, "colour is 5x3"),
        (np.zeros((3, 4), np.uint8), GOOD_DEPTH, "colour is"),
        (np.zeros((3, 4, 3), np.float32), GOOD_DEPTH, "must be uint8"),
        (None, np.full((3, 4), np.nan, np.float32), "decode it with decode_depth"),
        (None, np.full((3, 4), -1, np.float32), "decode it with decode_depth"),
        (None, np.full((3, 4), 1e6, np.float32), "decode it with decode_depth"),
    ],
)
def test_a_frame_that_does_not_fit_together_is_refused(
    color: np.ndarray | None, depth_m: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RgbdFrame(color, depth_m, CAMERA)


@pytest.mark.parametrize(
    ("up", "message"),
    [
        ([0, -1], "up must have shape"),
        ([0, np.nan, 1], "up must be finite"),
        ([0, -2, 0], "up must be a unit vector"),
        ([0, 0, 0], "up must be a unit vector"),
    ],
)
def test_what_is_no_direction_is_not_up(up: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RgbdFrame(None, GOOD_DEPTH, CAMERA, up=np.array(up, dtype=np.float64))


def test_up_is_kept_as_it_was_given_whatever_becomes_of_the_array() -> None:
    given = np.array([0.0, -1.0, 0.0])
    frame = RgbdFrame(None, GOOD_DEPTH, CAMERA, up=given)
    given[:] = [0.0, 0.0, 1.0]
    assert frame.up is not None and frame.up.tolist() == [0.0, -1.0, 0.0]
    assert not frame.up.flags.writeable


def test_a_frame_with_the_largest_depth_there_is_knows_its_points() -> None:
    depth_m = np.zeros((3, 4), dtype=np.float32)
    depth_m[:, :2] = MAX_DEPTH_M
    frame = RgbdFrame(np.zeros((3, 4, 3), np.uint8), depth_m, CAMERA)
    assert frame.points_m.shape == (3, 4, 3)
