import numpy as np
import pytest

from instance_seg_ros.lifting.order_statistics import median, percentile, percentiles


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
