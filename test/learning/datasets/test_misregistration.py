from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.learning.datasets.misregistration import misregister

COLUMNS = np.repeat(np.tile(np.arange(128, dtype=np.uint8), (96, 1))[..., None], 3, axis=2)
ROWS = np.repeat(np.tile(np.arange(96, dtype=np.uint8)[:, None], (1, 128))[..., None], 3, axis=2)
WHOLE = np.ones((96, 128), bool)


@pytest.mark.parametrize(("shift_xy", "right", "down"), [((3.0, 0.0), 3, 0), ((-2.0, 1.0), -2, 1), ((0.0, 0.0), 0, 0)])
def test_beside_whole_depth_the_picture_moves_right_and_down(
    shift_xy: tuple[float, float], right: int, down: int
) -> None:
    inner = np.s_[10:-10, 10:-10]
    assert (misregister(COLUMNS, WHOLE, shift_xy)[inner] == COLUMNS[inner].astype(int) - right).all()
    assert (misregister(ROWS, WHOLE, shift_xy)[inner] == ROWS[inner].astype(int) - down).all()


def test_where_depth_is_missing_the_picture_stays() -> None:
    measured = WHOLE.copy()
    measured[:, 64:] = False
    moved = misregister(COLUMNS, measured, (3.0, 0.0))
    assert (moved[:, 64:] == COLUMNS[:, 64:]).all()
    assert (moved[:, 10:56] == COLUMNS[:, 10:56] - 3).all()
