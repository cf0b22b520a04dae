"""The pieces of a mask."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from instance_seg_ros.lifting.clean_points import _find_pieces


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
