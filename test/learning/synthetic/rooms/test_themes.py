from __future__ import annotations

import numpy as np

from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.learning.synthetic.rooms.themes import THEMES, sample_theme


def test_themes_name_families_that_exist() -> None:
    assert {name for names in THEMES.values() for name in names} <= set(FAMILIES)
    assert all(len(set(names)) == len(names) > 5 for names in THEMES.values())


def test_some_scenes_keep_to_a_theme_and_most_do_not() -> None:
    drawn = [sample_theme(np.random.default_rng(k), tuple(FAMILIES)) for k in range(200)]
    themed = [set(names) for names in drawn if len(names) < len(FAMILIES)]
    assert 50 < len(themed) < 110
    assert {frozenset(names) for names in themed} == {frozenset(names) for names in THEMES.values()}


def test_families_that_are_left_out_are_left_out_of_themes() -> None:
    without = tuple(name for name in FAMILIES if name != "toy_car")
    assert all("toy_car" not in sample_theme(np.random.default_rng(k), without) for k in range(60))


def test_where_a_theme_has_too_few_of_the_families_all_are_drawn_from() -> None:
    assert {sample_theme(np.random.default_rng(k), ("can", "box")) for k in range(60)} == {("can", "box")}
