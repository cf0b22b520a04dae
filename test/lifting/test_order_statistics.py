import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.lifting.order_statistics import (
    median,
    median_is_below,
    median_near,
    percentile,
    percentiles,
    smallest_of_first,
)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 17, 100, 801])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_median_and_percentiles_are_those_of_numpy(count: int, dtype: type) -> None:
    values = np.random.default_rng(count).normal(size=count).astype(dtype)
    given = values.copy()
    percents = (0.0, 0.1, 3.0, 50.0, 80.0, 99.0, 99.9, 100.0)
    expected = np.percentile(values.astype(np.float64), percents)
    assert percentiles(values, *percents) == expected.tolist()
    assert [percentile(values, percent) for percent in percents] == expected.tolist()
    assert median(values) == np.median(values.astype(np.float64))
    np.testing.assert_array_equal(values, given)


def test_no_values_have_no_median_and_no_percentile() -> None:
    for statistic in (median, lambda values: percentile(values, 50.0)):
        with pytest.raises((IndexError, ValueError)):
            statistic(np.zeros(0))


@kernel("float64[::1]", "int64", writes=("values",))
def _smallest(values: NDArray[np.float64], k: int) -> float:
    return smallest_of_first(values, len(values), k)


@pytest.mark.parametrize("distinct", [1, 2, 5, 1000])
@pytest.mark.parametrize("order", ["ascending", "descending", "any"])
@pytest.mark.parametrize("count", [1, 2, 39, 40, 41, 300])
def test_selection_parts_values_at_the_one_it_finds(count: int, order: str, distinct: int) -> None:
    values = np.random.default_rng(count).integers(distinct, size=count).astype(np.float64)
    ordered = np.sort(values)
    given = {"ascending": ordered, "descending": ordered[::-1], "any": values}[order]
    for k in {0, count // 2, count - 1}:
        parted = given.copy()
        assert _smallest(parted, k) == ordered[k]
        assert parted[:k].max(initial=-1) <= parted[k] == ordered[k] <= parted[k:].min()
        np.testing.assert_array_equal(np.sort(parted), ordered)


@kernel("float64[::1]", "float64", writes=("values",))
def _median_near(values: NDArray[np.float64], guess: float) -> float:
    return median_near(values, len(values), guess, np.empty(len(values)))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 40, 41])
@pytest.mark.parametrize("off", [0.0, 0.03, -0.09, 0.3, -1.0, 5.0])
@pytest.mark.parametrize("distinct", [2, 1000])
def test_a_median_is_the_same_however_well_it_was_guessed(count: int, off: float, distinct: int) -> None:
    values = 1.0 + np.random.default_rng(count).integers(distinct, size=count) / distinct
    median_of_all = float(np.median(values))
    assert _median_near(values.copy(), median_of_all * (1 + off)) == median_of_all


@kernel("float64[::1]", "float64", writes=("values",))
def _median_is_below(values: NDArray[np.float64], limit: float) -> bool:
    return median_is_below(values, len(values), limit)


@pytest.mark.parametrize("values", [[1.0], [1.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 2.0, 3.0], [1.0, 1.0, 3.0, 3.0]])
@pytest.mark.parametrize("limit", [0.5, 1.0, 1.5, 2.0, 2.1, 3.0, 3.1])
def test_whether_a_median_is_below_a_limit_is_told_as_by_the_median(values: list[float], limit: float) -> None:
    assert _median_is_below(np.array(values), limit) == (np.median(values) < limit)
