"""What a frame of fewer instances still says of those that it leaves out."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting.instance import Completion, Instance3D, LiftedFrame
from instance_seg_ros.lifting.support import ObjectSupport, Support


def pile(*supports: ObjectSupport) -> LiftedFrame:
    """Objects of which nothing is known but what carries them, and that the last one hides the others."""
    none = np.zeros((0, 3), np.float32), np.zeros(0, np.int64), 0, None, None, None, None
    hidden = {"occluded_by": (len(supports) - 1,)}
    kinds = Completion.NONE, Status.TOO_FEW_POINTS
    return LiftedFrame(tuple(Instance3D(*none, *kinds, support=own, **hidden) for own in supports), None)


ON_THIRD = ObjectSupport(Support.INSTANCE, None, 3, leans_on=(0, 2, 5))


@pytest.mark.parametrize(
    ("count", "below", "leans_on", "occluded_by"),
    [(6, 3, (0, 2, 5), (5,)), (5, 3, (0, 2), ()), (3, None, (0, 2), ()), (2, None, (0,), ())],
)
def test_an_instance_among_fewer_names_none_that_are_not_there(
    count: int, below: int | None, leans_on: tuple[int, ...], occluded_by: tuple[int, ...]
) -> None:
    own = pile(ObjectSupport(), ON_THIRD, *[ObjectSupport()] * 4).first(count).instances[1]
    assert (own.support.instance, own.support.leans_on, own.occluded_by) == (below, leans_on, occluded_by)


def test_an_instance_among_fewer_is_still_taken_away_after_what_is_on_it() -> None:
    first, second = (ObjectSupport(Support.INSTANCE, None, below) for below in (0, 1))
    whole = pile(ObjectSupport(), first, second)
    assert whole.removal_order.steps == (3, 2, 1)
    assert whole.first(2).removal_order.steps == (3, 2)
