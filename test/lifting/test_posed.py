"""How an object stands: what is said of that does not contradict itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Box, look_at, upright
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting.clean_points import clean_points
from instance_seg_ros.lifting.masks import bounds_of
from instance_seg_ros.lifting.posed import Posed
from instance_seg_ros.lifting.support import ObjectSupport, Support
from instance_seg_ros.lifting.visibility import Visibility
from instance_seg_ros.lifting.whole import Seen

TOLERANCE_M = 0.008
NOTHING = ObjectSupport()


@pytest.fixture(scope="module")
def seen_and_table() -> tuple[Seen, Plane]:
    """A box of 6 x 5 x 8 cm on a table."""
    scene = AnalyticScene([Box((0.06, 0.05, 0.08), upright(0, 0, 0.04))], look_at((0, 0, 0), 0.6, 50))
    frame, labels = scene.render(0.001)
    mask = Instances.from_labels(labels).masks[0]
    surface = clean_points(frame, mask, bounds_of(mask), LiftingSettings())
    up = scene.T_world_camera.rotation.T @ np.array([0.0, 0.0, 1.0])
    table = Plane(up, float(scene.T_world_camera.translation_m[2]))
    return Seen(frame, mask, bounds_of(mask), surface, Visibility(Status.OK, 0.0, 0.0), np.zeros((0, 3))), table


@pytest.mark.parametrize(
    ("lowered_m", "kind", "is_completed", "height_m"),
    [
        (0.0, Support.PLANE, True, 0.08),
        (0.3, Support.NOTHING, False, 0.08),  # a plane far below is not what it stands on
        (-0.14, Support.NOTHING, False, 0.08),  # nor is one above it
    ],
)
def test_a_box_is_as_high_as_it_is_on_its_support_above_a_plane_far_below_and_below_one(
    seen_and_table: tuple[Seen, Plane], lowered_m: float, kind: Support, is_completed: bool, height_m: float
) -> None:
    seen, table = seen_and_table
    level = Plane(table.normal, table.offset_m + lowered_m)
    support = ObjectSupport(kind, level) if kind is Support.PLANE else NOTHING
    posed = Posed.of(seen, support, level, TOLERANCE_M)
    assert posed.whole is not None and posed.is_completed == is_completed
    assert (Status.NO_SUPPORT_PLANE in posed.status) != is_completed
    assert posed.whole.box.size_m[2] == pytest.approx(height_m, abs=0.006)
    assert 0 <= posed.unseen_m <= abs(lowered_m) + 0.01


def test_without_any_plane_nothing_is_known_of_its_unseen_parts(seen_and_table: tuple[Seen, Plane]) -> None:
    posed = Posed.of(seen_and_table[0], NOTHING, None, TOLERANCE_M)
    assert posed.whole is None and not posed.is_completed and posed.unseen_m == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"status": Status.OK}, "contradicts"),
        ({"is_completed": True}, "contradicts"),
        ({"is_completed": True, "status": Status.OK}, "unseen parts"),
        ({"unseen_m": 0.01}, "unseen parts"),
    ],
)
def test_a_pose_that_contradicts_itself_is_refused(changed: dict[str, Any], message: str) -> None:
    nowhere = {"whole": None, "support": NOTHING, "is_completed": False, "status": Status.NO_SUPPORT_PLANE}
    with pytest.raises(ValueError, match=message):
        Posed(**{**nowhere, "unseen_m": 0.0, **changed})


@pytest.mark.parametrize("unseen_m", [-0.01, math.nan, math.inf])
def test_what_stands_ends_no_lower_than_its_support(seen_and_table: tuple[Seen, Plane], unseen_m: float) -> None:
    seen, table = seen_and_table
    posed = Posed.of(seen, ObjectSupport(Support.PLANE, table), table, TOLERANCE_M)
    with pytest.raises(ValueError, match="unseen_m"):
        Posed(posed.whole, posed.support, True, posed.status, unseen_m)


@pytest.mark.parametrize("size", [(480, 640), (10, 10)])
def test_a_mask_of_another_size_than_the_frame_and_no_points_are_refused(
    seen_and_table: tuple[Seen, Plane], size: tuple[int, int]
) -> None:
    seen = seen_and_table[0]
    mask = np.zeros(size, dtype=bool)
    surface = clean_points(seen.frame, np.zeros_like(seen.mask), (0, 0, 0, 0), LiftingSettings())
    with pytest.raises(ValueError, match="mask must be" if mask.shape != seen.mask.shape else "nothing was kept"):
        Seen(seen.frame, mask, seen.bounds, surface, seen.visibility, seen.covered_m)
