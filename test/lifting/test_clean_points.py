"""The pieces of a mask."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from instance_seg_ros.lifting.clean_points import _find_pieces, _median_depths, _take_pieces


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (25, 40)])
@pytest.mark.parametrize("smooth", [False, True])
def test_pieces_are_those_of_opencv_in_its_order(share: float, shape: tuple[int, int], smooth: bool) -> None:
    for seed in range(5):
        values = np.random.default_rng(seed).random(shape)
        pixels = (cv2.blur(values, (3, 3)) if smooth else values) < share
        count, expected = cv2.connectedComponents(pixels.view(np.uint8), connectivity=4)
        labels = np.zeros(shape, np.int32)
        areas = _find_pieces(pixels, labels)
        assert areas[1:].tolist() == np.bincount(expected.ravel(), minlength=count)[1:].tolist()
        if count > 2:
            np.testing.assert_array_equal(labels, expected)


def test_stairs_whose_steps_meet_one_after_the_other_are_numbered_in_time() -> None:
    size = 1000
    stairs = np.zeros((size, size), dtype=bool)
    stairs[:, ::2] = True
    for column in range(0, size - 2, 2):  # teeth that meet lower and lower to the left, so that each joins all before
        stairs[size - 1 - column, column : column + 3] = True
    labels = np.zeros((size, size), dtype=np.int32)

    def taken_s(pixels: np.ndarray) -> float:
        begin_s = time.process_time()
        assert len(_find_pieces(pixels, labels)) == 2
        return time.process_time() - begin_s

    one_way, other_way = (
        min(taken_s(pixels) for _ in range(3)) for pixels in (stairs, np.ascontiguousarray(stairs[:, ::-1]))
    )
    assert one_way < 8 * other_way


@pytest.mark.parametrize("least_px", [1, 2, 5, 1000])
def test_median_depths_are_those_of_numpy_of_each_piece_that_is_large_enough(least_px: int) -> None:
    rng = np.random.default_rng(least_px)
    pixels, depth_m = rng.random((30, 40)) < 0.5, rng.uniform(0.3, 2.0, (30, 40)).astype(np.float32)
    labels = np.zeros(pixels.shape, np.int32)
    areas = _find_pieces(pixels, labels)
    expected_m = [
        np.median(depth_m[labels == label].astype(np.float64)) if label > 0 and area >= least_px else np.nan
        for label, area in enumerate(areas.tolist())
    ]
    np.testing.assert_array_equal(_median_depths(depth_m, labels, areas, least_px), expected_m)


def test_pieces_that_are_kept_are_taken_and_nothing_else() -> None:
    labels = np.array([[0, 1, 1], [2, 0, 3]], np.int32)
    pixels = np.ones(labels.shape, dtype=bool)
    _take_pieces(labels, np.array([False, True, False, True]), pixels)
    assert pixels.tolist() == [[False, True, True], [False, False, True]]
