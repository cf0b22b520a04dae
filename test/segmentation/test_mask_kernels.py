"""The loops over masks against their definitions in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.segmentation.mask_kernels import claim_pixels, find_extents, measure_owned, upsampled, widen

HALF = np.float32(0.5)


def extents_of(masks: np.ndarray, height: int, width: int) -> list[list[int]]:
    rows, extents = np.arange(len(masks)), np.empty((len(masks), 4), np.int64)
    find_extents(masks.astype(np.float32), rows, height, width, HALF, extents)
    return extents.tolist()


def around(above: np.ndarray) -> list[int]:
    """By definition."""
    rows, columns = np.nonzero(above)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("cells", "extent"),
    [
        ({}, [0, 0, 0, 0]),
        ({(2, 3): 0.5}, [0, 0, 0, 0]),
        ({(2, 3): 0.6}, [3, 2, 4, 3]),
        ({(0, 0): 0.6}, [0, 0, 1, 1]),
        ({(4, 6): 0.6}, [6, 4, 7, 5]),
        ({(0, 6): 0.6, (4, 0): 0.6}, [0, 0, 7, 5]),
        ({(1, 1): 0.6, (3, 5): np.nan}, [1, 1, 6, 4]),
        ({(1, 1): 0.6, (4, 7): 0.6, (5, 1): 0.6}, [1, 1, 2, 2]),  # beyond the cells that are looked at
    ],
)
def test_an_extent_reaches_from_the_first_cell_above_to_the_last(cells: dict, extent: list[int]) -> None:
    mask = np.zeros((6, 8))
    for place, value in cells.items():
        mask[place] = value
    assert extents_of(mask[None], 5, 7) == [extent]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.5])
def test_extents_of_scattered_cells_are_those_of_the_definition(share: float) -> None:
    masks = np.random.default_rng(0).random((60, 9, 21)) < share
    assert extents_of(masks, 9, 21) == [around(mask) for mask in masks]


def test_only_the_rows_that_are_asked_for_are_read() -> None:
    masks = np.zeros((3, 4, 4), np.float32)
    masks[2, 1, 1:3], masks[1] = 1, np.nan
    extents = np.empty((2, 4), np.int64)
    find_extents(masks, np.array([2, 0]), 4, 4, HALF, extents)
    assert extents.tolist() == [[1, 1, 3, 2], [0, 0, 0, 0]]


def test_pixels_go_to_the_highest_probability_and_of_equals_to_the_first() -> None:
    best, owner = np.full((2, 4), HALF), np.full((2, 4), 2, np.int16)
    first, second = np.array([[0.9, 0.5, 0.7]], np.float32), np.array([[0.8, 0.7, 0.6]], np.float32)
    assert claim_pixels(first, 0, 1, HALF, 0, best, owner) == 2
    assert claim_pixels(second, 1, 1, HALF, 1, best, owner) == 3
    assert owner.tolist() == [[2, 2, 2, 2], [0, 1, 0, 1]]
    assert best[1].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])


@pytest.mark.parametrize("seed", range(4))
def test_pixels_of_masks_anywhere_go_to_the_highest_probability(seed: int) -> None:
    rng = np.random.default_rng(seed)
    best, owner = np.full((7, 9), HALF), np.full((7, 9), 5, np.int16)
    everywhere = np.zeros((5, 7, 9), np.float32)
    for index, whole in enumerate(everywhere):
        x0, y0 = rng.integers(0, 6), rng.integers(0, 4)
        here = np.s_[y0 : y0 + rng.integers(1, 5), x0 : x0 + rng.integers(1, 5)]
        whole[here] = rng.random(whole[here].shape)
        claimed = claim_pixels(np.ascontiguousarray(whole[here]), x0, y0, HALF, index, best, owner)
        assert claimed == np.count_nonzero(whole > HALF)
    highest = everywhere.max(axis=0)
    assert owner.tolist() == np.where(highest > HALF, everywhere.argmax(axis=0), 5).tolist()
    assert best.tolist() == np.maximum(highest, HALF).tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_probability_that_is_none_is_told(value: float) -> None:
    probability = np.array([[0.9, value]], np.float32)
    assert claim_pixels(probability, 0, 0, HALF, 0, np.full((1, 2), HALF), np.zeros((1, 2), np.int16)) == -1


@pytest.mark.parametrize("count", [0, 1, 7])
def test_what_each_mask_has_got_is_counted_and_boxed(count: int) -> None:
    owner = np.random.default_rng(count).integers(0, count + 1, (6, 5)).astype(np.int16)
    owner[owner == 3] = count  # one has nothing
    own_px, boxes = np.empty(count, np.int32), np.empty((count, 4), np.int32)
    measure_owned(owner, own_px, boxes)
    assert own_px.tolist() == [int((owner == index).sum()) for index in range(count)]
    assert boxes.tolist() == [around(owner == index) for index in range(count)]


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("cells_xyxy", [(0, 0, 4, 3), (1, 1, 3, 2), (3, 0, 4, 3), (0, 2, 1, 3)])
def test_a_fine_sample_is_the_weighted_sum_of_the_cells_around_its_own(
    factor: int, cells_xyxy: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(factor)
    cells = rng.random((3, 4), dtype=np.float32)
    weights = rng.random((9, factor, factor, 3, 4), dtype=np.float32)
    x0, y0, x1, y1 = cells_xyxy
    fine = upsampled(cells, weights, x0, y0, x1, y1)
    assert fine.shape == ((y1 - y0) * factor, (x1 - x0) * factor)
    padded = np.pad(cells, 1, mode="edge")
    for y, x in np.ndindex(fine.shape):
        (row, a), (column, b) = divmod(y + factor * y0, factor), divmod(x + factor * x0, factor)
        around_own = padded[row : row + 3, column : column + 3].reshape(-1)
        assert fine[y, x] == pytest.approx(weights[:, a, b, row, column] @ around_own, rel=1e-6)


def test_every_number_of_16_bits_is_the_same_in_32() -> None:
    halves = np.arange(2**16, dtype=np.uint16)
    values = np.empty(len(halves), np.float32)
    widen(halves, values)
    np.testing.assert_array_equal(values, halves.view(np.float16).astype(np.float32))
    assert np.signbit(values[0x8000])
