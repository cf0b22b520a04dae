from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_seg_ros.learning.datasets.coco_masks import area_px, decode_mask, encode_box, encode_segmentation

SIZE = (6, 8)  # height, width
BLOCK = np.zeros(SIZE, dtype=bool)
BLOCK[1:4, 2:6] = True
BLOCK_RUNS = [13, 3, 3, 3, 3, 3, 3, 3, 14]  # column by column
RING = BLOCK.copy()
RING[2, 3] = False


def compressed(mask: np.ndarray) -> str:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([[2, 1, 6, 1, 6, 4, 2, 4]], BLOCK),
        ([[2, 1, 4, 1, 4, 4, 2, 4], [4, 1, 6, 1, 6, 4, 4, 4]], BLOCK),
        ({"size": [6, 8], "counts": BLOCK_RUNS}, BLOCK),
        ({"size": [6, 8], "counts": compressed(BLOCK)}, BLOCK),
        ({"size": [6, 8], "counts": compressed(RING)}, RING),
        ([[-3, -3, 16, -3, -3, 12]], None),  # reaches out of the image
    ],
)
def test_polygons_and_runs_give_their_pixels(segmentation: Any, expected: np.ndarray | None) -> None:
    rle = encode_segmentation(segmentation, SIZE)
    mask = decode_mask(rle)
    assert mask.shape == SIZE
    assert area_px(rle) == mask.sum()
    if expected is not None:
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("segmentation", "cause"),
    [
        (None, "segmentation is missing"),
        ("1 2 3", "segmentation is str"),
        ([], "no polygon"),
        ([[]], "a polygon has 0 numbers"),
        ([[1, 1, 5, 5]], "a polygon has 4 numbers"),
        ([[1, 1, 5, 5, 3, 4, 2]], "a polygon has 7 numbers"),
        ([[1, 1, 5, float("nan"), 3, 4]], "no list of finite numbers"),
        ([[1, 1, 5, "5", 3, 4]], "no list of finite numbers"),
        ([1, 1, 5, 5, 3, 4], "no list of finite numbers"),
        ([[0, 0, 1e12, 0, 0, 4]], "far outside the 8x6 image"),
        ([[2, 2, 2, 2, 2, 2]], "covers no pixel"),
        ({"size": [8, 6], "counts": BLOCK_RUNS}, r"of size \[8, 6\], but the image has \[6, 8\]"),
        ({"size": [6, 8], "counts": [10, 3]}, "cover 13 of 48 pixels"),
        ({"size": [6, 8], "counts": [50, -2]}, "no whole numbers"),
        ({"size": [6, 8], "counts": [24.0, 24.0]}, "no whole numbers"),
        ({"size": [6, 8], "counts": [48]}, "covers no pixel"),
        ({"size": [6, 8]}, "no whole numbers"),
        ({"size": [6, 8], "counts": compressed(BLOCK)[:-1]}, "pixels"),
        ({"size": [6, 8], "counts": "T"}, "cut short"),
        ({"size": [6, 8], "counts": "!!"}, "hold '!'"),
        ({"size": [6, 8], "counts": "o" * 40}, "hold 'o'"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_cause(segmentation: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        encode_segmentation(segmentation, SIZE)


def test_damaged_runs_are_refused_or_give_an_image_of_the_right_size() -> None:
    rng = np.random.default_rng(0)
    whole = compressed(RING)
    refused = 0
    for _ in range(2000):
        text = list(whole)
        for _ in range(rng.integers(1, 4)):
            text[rng.integers(len(text))] = chr(rng.integers(33, 127))
        try:
            assert decode_mask(encode_segmentation({"size": [6, 8], "counts": "".join(text)}, SIZE)).shape == SIZE
        except ValueError:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize(
    ("box_xywh", "region"),
    [
        ([2, 1, 4, 3], np.s_[1:4, 2:6]),
        ([1.5, 0.5, 4.0, 3.0], np.s_[0:4, 1:6]),
        ([-5, -5, 100, 100], np.s_[:, :]),
    ],
)
def test_a_box_covers_the_pixels_it_touches(box_xywh: list[float], region: tuple) -> None:
    expected = np.zeros(SIZE, dtype=bool)
    expected[region] = True
    np.testing.assert_array_equal(decode_mask(encode_box(box_xywh, SIZE)), expected)


@pytest.mark.parametrize(
    "box_xywh", [None, [1, 2, 3], [1, 2, 3, None], [1, 2, 0, 0], [20, 1, 3, 3], [1, 1, float("inf"), 1]]
)
def test_what_is_no_box_is_refused(box_xywh: Any) -> None:
    with pytest.raises(ValueError, match="bbox"):
        encode_box(box_xywh, SIZE)
