"""The sets of families."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from instance_seg_ros.learning.grasp_simulation.object_sets import OBJECT_SETS
from instance_seg_ros.learning.grasp_simulation.objects import shape_of


def test_what_is_kept_for_the_last_run_is_in_no_other_set() -> None:
    for first, second in itertools.combinations(OBJECT_SETS.values(), 2):
        assert not first.keys() & second.keys()


@pytest.mark.parametrize("name", [f"{name}/{family}" for name, families in OBJECT_SETS.items() for family in families])
def test_every_shape_stands_on_the_table_around_its_origin_and_is_of_a_size_to_pick(name: str) -> None:
    objects, family = name.split("/")
    rng = np.random.default_rng(7)
    for _ in range(3):
        low_m, high_m = np.asarray(shape_of(family, OBJECT_SETS[objects][family](rng)).mesh.bounds)
        assert low_m[2] == pytest.approx(0, abs=1e-6)
        assert (low_m[:2] < 0).all() and (high_m[:2] > 0).all()
        assert np.sort(high_m - low_m)[0] >= 0.004 and np.sort(high_m - low_m)[2] <= 0.2
