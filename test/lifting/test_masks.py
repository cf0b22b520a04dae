"""Growing and shrinking masks, by windows."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.lifting.masks import dilated, eroded


@pytest.mark.parametrize("side_px", [1, 3, 7])
def test_images_grow_and_shrink_with_nothing_taken_off_at_the_border(side_px: int) -> None:
    rng = np.random.default_rng(side_px)
    mask, labels = rng.random((12, 17)) > 0.2, rng.integers(0, 900, (12, 17)).astype(np.int16)
    margin = side_px // 2
    for image, function, of_window, beyond in (
        (mask, dilated, np.max, False),
        (labels, dilated, np.max, 0),
        (mask, eroded, np.min, True),
    ):
        padded = np.pad(image, margin, constant_values=beyond)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side_px, side_px))
        result = function(image, side_px)
        assert result.dtype == image.dtype
        np.testing.assert_array_equal(result, of_window(windows, axis=(2, 3)))
