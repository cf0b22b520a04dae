from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.edge_agreement import REACH, edge_agreement


def blocks(shift_xy: tuple[int, int] = (0, 0), size_wh: tuple[int, int] = (320, 240)) -> tuple[np.ndarray, np.ndarray]:
    """Bright blocks on a dark table, with depth moved by the shift."""
    width, height = size_wh
    color_rgb = np.full((height, width, 3), 40, np.uint8)
    depth_m = np.full((height, width), 1.0, np.float32)
    right, down = shift_xy
    for x, y, side in ((60, 50, 40), (180, 40, 55), (90, 140, 35), (220, 150, 48)):
        x, y, side = (value * width // 320 for value in (x, y, side))
        color_rgb[y : y + side, x : x + side] = 200
        depth_m[y + down : y + down + side, x + right : x + right + side] = 0.8
    return color_rgb, depth_m


@pytest.mark.parametrize("shift_xy", [(0, 0), (7, 0), (-9, 4), (3, -12)])
def test_the_edges_agree_most_when_depth_is_moved_back(shift_xy: tuple[int, int]) -> None:
    agreement = edge_agreement(*blocks(shift_xy))
    row, column = np.unravel_index(agreement.argmax(), agreement.shape)
    assert (column - REACH, row - REACH) == pytest.approx((-shift_xy[0], -shift_xy[1]), abs=1)
    assert agreement.max() > 20


def test_an_offset_is_given_in_pixels_of_the_working_size() -> None:
    agreement = edge_agreement(*blocks((24, 0), (1280, 960)))
    assert np.unravel_index(agreement.argmax(), agreement.shape)[1] - REACH == pytest.approx(-6, abs=1)


@pytest.mark.parametrize(
    ("color", "depth"),
    [
        (np.full((240, 320, 3), 90, np.uint8), blocks()[1]),
        (blocks()[0], np.ones((240, 320), np.float32)),
        (blocks()[0], np.zeros((240, 320), np.float32)),
        (np.full((6, 8, 3), 90, np.uint8), np.ones((6, 8), np.float32)),
    ],
    ids=["plain colour", "one plane", "no depth", "tiny"],
)
def test_nothing_agrees_where_there_are_no_edges(color: np.ndarray, depth: np.ndarray) -> None:
    assert not edge_agreement(color, depth).any()


def test_the_far_side_of_a_jump_and_what_was_not_measured_are_no_edges() -> None:
    color_rgb, depth_m = blocks()
    holes = np.where(depth_m > 0.9, np.float32(0), depth_m)  # blocks alone, nothing measured around
    assert not edge_agreement(color_rgb, holes).any()
