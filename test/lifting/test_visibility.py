"""Flags of what is seen in part."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.status import PARTLY_SEEN, Status
from instance_seg_ros.lifting.visibility import Visibility, partly_seen

NEAR_M, OBJECT_M, FAR_M = 0.5, 0.7, 0.9


def flags(place: tuple[slice, slice], beside: tuple[slice, slice] | None, beside_m: float) -> Status:
    """Of a rectangle in front of a wall, with another rectangle of some depth over the image."""
    depth_m, mask = np.full((60, 80), FAR_M, dtype=np.float32), np.zeros((60, 80), dtype=bool)
    depth_m[place], mask[place] = OBJECT_M, True
    if beside is not None:
        depth_m[beside] = beside_m
        mask[beside] &= beside_m == 0  # what hides an object takes pixels from its mask; missing depth does not
    return partly_seen(depth_m, mask, 0.008, 0.015).status


@pytest.mark.parametrize(
    ("place", "beside", "beside_m", "expected"),
    [
        (np.s_[20:40, 20:50], None, 0.0, Status.OK),
        (np.s_[20:40, 0:30], None, 0.0, Status.CUT_BY_IMAGE_BORDER),
        (np.s_[40:60, 20:50], None, 0.0, Status.CUT_BY_IMAGE_BORDER),
        (np.s_[20:40, 20:50], np.s_[0:60, 10:25], NEAR_M, Status.OCCLUDED),
        (np.s_[20:40, 20:50], np.s_[0:60, 10:25], FAR_M, Status.OK),  # it merely ends there
        (np.s_[20:40, 20:50], np.s_[0:60, 10:25], OBJECT_M, Status.OK),  # something at the same depth touches it
        (np.s_[20:40, 20:50], np.s_[0:60, 10:35], 0.0, Status.PARTLY_MEASURED),
        (np.s_[20:40, 20:50], np.s_[0:60, 10:22], 0.0, Status.OK),  # a rim without depth
        (np.s_[20:40, 0:50], np.s_[0:60, 40:60], NEAR_M, Status.CUT_BY_IMAGE_BORDER | Status.OCCLUDED),
    ],
)
def test_what_hides_a_part_is_told(
    place: tuple[slice, slice], beside: tuple[slice, slice] | None, beside_m: float, expected: Status
) -> None:
    assert flags(place, beside, beside_m) == expected
    assert expected in PARTLY_SEEN or expected == Status.OK


def test_an_empty_mask_has_no_flags() -> None:
    assert partly_seen(np.ones((8, 8), np.float32), np.zeros((8, 8), dtype=bool), 0.008, 0.015) == Visibility(
        Status.OK, 0.0, 0.0
    )
