"""Blocks on a table that the camera looks straight down on: frames that need no simulation."""

from __future__ import annotations

from collections.abc import Iterator

from instance_seg_ros.core.camera import Intrinsics

TABLE_M, BLOCKS_M = 0.9, 0.84
"""Depth of the table, and of the nearest blocks' tops."""
COLUMNS = 4
_FOCAL_SHARE = 0.95
"""Of the image's width."""


def block_places(width: int, height: int, rows: int = 3) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each block in an image of this size, row by row of `COLUMNS` blocks."""
    for row in range(rows):
        for column in range(COLUMNS):
            top, left = (4 * row + 1) * height // 13, (4 * column + 1) * width // 17
            yield slice(top, top + 3 * height // 13), slice(left, left + 3 * width // 17)


def made_up_camera(width: int, height: int) -> Intrinsics:
    """The camera of an image of this size."""
    focal_px = _FOCAL_SHARE * width
    return Intrinsics(width, height, focal_px, focal_px, width / 2, height / 2)
