"""The order in which a pile may be taken apart."""

from __future__ import annotations

import time

import pytest

from instance_seg_ros.lifting.order import levels_below, removal_order
from instance_seg_ros.lifting.support import ObjectSupport, Support


@pytest.mark.parametrize(
    ("below", "order", "levels"),
    [
        ([], [], []),
        ([None], [1], [0]),
        ([None, 0], [2, 1], [0, 1]),
        ([None, 0, 1], [3, 2, 1], [0, 1, 2]),
        ([2, None, 1], [1, 3, 2], [2, 0, 1]),
        ([None, 0, 0], [2, 1, 1], [0, 1, 1]),  # two on one
        ([None, 0, 0, 1], [3, 2, 1, 1], [0, 1, 1, 2]),  # one of which carries a third
        ([1, 0], [1, 2], [2, 2]),  # a ring, which cannot be
        ([1, 0, 1, 2], [3, 4, 2, 1], [4, 4, 4, 4]),  # a ring that carries a pile
    ],
)
def test_what_stands_on_an_object_goes_before_it(below: list[int | None], order: list[int], levels: list[int]) -> None:
    supports = [
        ObjectSupport(Support.PLANE) if other is None else ObjectSupport(Support.INSTANCE, None, other)
        for other in below
    ]
    assert list(removal_order(supports).steps) == order
    assert levels_below(supports) == levels


@pytest.mark.parametrize(
    ("below", "leans_on", "order"),
    [
        ([None, None], [(), (0,)], [2, 1]),
        ([None, None, None], [(), (0,), (0, 1)], [3, 2, 1]),
        ([None, 0, None], [(), (), (1,)], [3, 2, 1]),  # leans on what stands on another
        ([None, None], [(1,), (0,)], [1, 2]),  # a ring
    ],
)
def test_what_leans_on_objects_goes_before_them(
    below: list[int | None], leans_on: list[tuple[int, ...]], order: list[int]
) -> None:
    supports = [
        ObjectSupport(Support.PLANE if other is None else Support.INSTANCE, None, other, leans_on=leans)
        for other, leans in zip(below, leans_on, strict=True)
    ]
    assert list(removal_order(supports).steps) == order


@pytest.mark.parametrize(
    ("below", "leans_on", "tops_m", "steps", "in_ring"),
    [
        ([1, None], [(), ()], [0.2, 0.1], [1, 2], [0, 0]),
        ([1, 2, 0], [(), (), ()], [0.1, 0.3, 0.2], [3, 1, 2], [1, 1, 1]),  # the highest first
        ([None] * 3, [(1,), (2,), (0,)], [0.3, 0.2, 0.1], [1, 2, 3], [1, 1, 1]),
        ([1, None, None], [(), (2,), (0,)], [0.2, 0.3, 0.1], [1, 2, 3], [1, 1, 1]),  # 0 is leant on, 1 stood on
        ([1, 0, None, 2], [(), (), (), ()], [0.1, 0.2, 0.1, 0.2], [4, 3, 2, 1], [1, 1, 0, 0]),  # a ring beside a pile
        ([1, 0, 0], [(), (), ()], [0.1, 0.2, 0.3], [3, 2, 1], [1, 1, 0]),  # what lies on a ring is in none
        ([1, 0, 3, 2, 0], [(), (), (4,), (), ()], [0.2, 0.1, 0.2, 0.1, 0.1], [3, 4, 1, 2, 2], [1, 1, 1, 1, 0]),
        ([1, None], [(), (0,)], [0.0, 0.0], [1, 2], [1, 1]),
    ],
)
def test_a_ring_is_taken_apart_from_what_is_only_leant_on_or_highest_and_says_that_it_is_one(
    below: list[int | None],
    leans_on: list[tuple[int, ...]],
    tops_m: list[float],
    steps: list[int],
    in_ring: list[int],
) -> None:
    supports = [
        ObjectSupport(Support.INSTANCE, None, other, leans_on=leans, top_m=top_m)
        for other, leans, top_m in zip(below, leans_on, tops_m, strict=True)
    ]
    order = removal_order(supports)
    assert (list(order.steps), list(order.in_ring)) == (steps, [bool(own) for own in in_ring])


def test_a_frame_full_of_rings_keeps_no_answer_waiting() -> None:
    """A tower of pairs that lie on each other, each pair on the next one."""
    count = 254
    supports = [
        ObjectSupport(
            Support.INSTANCE, None, index ^ 1, leans_on=(index + 2,) if index % 2 == 0 and index + 2 < count else ()
        )
        for index in range(count)
    ]
    started_s = time.process_time()
    order = removal_order(supports)
    assert time.process_time() - started_s < 2  # hundredths, and a search from each object takes 18
    assert list(order.steps) == list(range(1, count + 1)) and all(order.in_ring)
