import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.lifting.order_statistics import median, percentile, percentiles, smallest_of_first


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
