from __future__ import annotations

import numpy as np

from instance_seg_ros.core.masks import mask_areas, mask_intersections, mask_ious

FIRST = np.array([[[1, 1, 0], [1, 1, 0]], [[0, 0, 0], [0, 0, 0]]], dtype=bool)
SECOND = np.array([[[0, 1, 1], [0, 1, 1]], [[1, 1, 0], [1, 1, 0]], [[0, 0, 0], [0, 0, 0]]], dtype=bool)


def test_areas_are_counted_in_pixels() -> None:
    assert mask_areas(FIRST).tolist() == [4, 0]


def test_every_pair_has_its_intersection_and_its_overlap() -> None:
    assert mask_intersections(FIRST, SECOND).tolist() == [[2, 4, 0], [0, 0, 0]]
    np.testing.assert_allclose(mask_ious(FIRST, SECOND), [[1 / 3, 1, 0], [0, 0, 0]])


def test_no_masks_make_no_pairs() -> None:
    assert mask_ious(FIRST[:0], SECOND).shape == (0, 3)
    assert mask_ious(FIRST, SECOND[:0]).shape == (2, 0)
