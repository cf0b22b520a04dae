"""Rows of arrays."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.rows import rows_of


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize(
    "which",
    [
        np.array([4, 0, 0, -1]),
        np.zeros(0, np.int64),
        np.array([True, False, False, True, True]),
        np.zeros(5, bool),
    ],
)
def test_rows_are_those_of_indexing(shape: tuple[int, ...], which: np.ndarray) -> None:
    values = np.arange(5 * int(np.prod(shape)), dtype=np.float64).reshape(5, *shape)
    found = rows_of(values[::-1], which)
    np.testing.assert_array_equal(found, values[::-1][which])
    assert found.flags.c_contiguous


def test_rows_that_there_are_not_are_an_error() -> None:
    with pytest.raises(IndexError):
        rows_of(np.zeros((5, 3)), np.array([5]))
