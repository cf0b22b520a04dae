"""The covariance of a centre's error: its axes, what widens it, and that it holds on scenes it was not made on."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation import geometry_errors
from instance_seg_ros.learning.evaluation.geometry_errors import scene_errors
from instance_seg_ros.learning.evaluation.geometry_scenes import NAMES, geometry_scenes
from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.lifting import Lifter, Support
from instance_seg_ros.lifting.box_bounds import SIGMAS_OF_90_PERCENT
from instance_seg_ros.lifting.uncertainty import (
    centroid_covariance_m2,
    covariance_along_m2,
    with_unseen_foot_m,
)
from instance_seg_ros.lifting.visibility import Visibility

CENTRE_M = np.array([0.0, 0.0, 0.7])
WHOLE = Visibility(Status.OK, 0.0, 0.0)


def deviations_m(
    visibility: Visibility = WHOLE,
    is_round: bool = False,
    support: Support = Support.PLANE,
    size_m: tuple[float, float, float] = (0.1, 0.1, 0.1),
    completed: bool = True,
    unseen_m: float = 0.0,
) -> np.ndarray:
    """Across and upwards; the box's z is the camera's y."""
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    covariance_m2 = centroid_covariance_m2(
        OrientedBox(Transform(turn, CENTRE_M), np.array(size_m)),
        visibility,
        is_round,
        support,
        completed,
        unseen_m,
    )
    np.testing.assert_allclose(covariance_m2, np.diag(np.diag(covariance_m2)), atol=1e-12)
    return np.sqrt(np.diag(covariance_m2))[[0, 2, 1]]


@pytest.mark.parametrize(
    ("other", "axes"),
    [
        (deviations_m(Visibility(Status.OCCLUDED, 0.3, 0.0)), [0, 1, 2]),
        (deviations_m(Visibility(Status.PARTLY_MEASURED, 0.0, 0.4)), [0, 1, 2]),
        (deviations_m(support=Support.INSTANCE), [2]),
        (deviations_m(support=Support.NOTHING), [2]),
        (deviations_m(size_m=(0.1, 0.02, 0.1)), [0, 1]),  # one face may be all that was seen
        (deviations_m(size_m=(0.2, 0.2, 0.1)), [0, 1]),
        (deviations_m(completed=False), [2]),
        (deviations_m(unseen_m=0.05), [2]),
    ],
    ids=["occluded", "unmeasured", "on another", "held", "thin", "large", "far side", "foot"],
)
def test_what_is_hidden_or_unknown_may_be_farther_off(other: np.ndarray, axes: list[int]) -> None:
    assert (other[axes] > deviations_m()[axes] * 1.02).all()


def test_a_body_of_revolution_is_better_known() -> None:
    assert (deviations_m(is_round=True) < deviations_m()).all()


def test_nine_in_ten_errors_lie_in_the_90_percent_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all families that there are, on scenes of another seed than those of the calibration, without the heaps, where
    less is known."""
    monkeypatch.setattr(geometry_errors, "RECIPES", {})  # what takes most of the time is not asked for here
    lifter, sigmas = Lifter(LiftingSettings()), []
    for scene in geometry_scenes(36, 11, names=(*NAMES, *FAMILIES)):
        if scene.kind != "tote":
            sigmas += [value for error in scene_errors(scene, lifter)[0] for value in error.sigmas]
    assert len(sigmas) > 300
    assert 0.84 <= np.mean(np.array(sigmas) <= SIGMAS_OF_90_PERCENT) <= 0.96


@pytest.mark.parametrize(
    ("visibility", "is_round", "support", "expected_m"),
    [
        # 0.2 m x 0.1 m x 0.05 m: share * side
        (WHOLE, False, Support.PLANE, (0.0075, 0.00155)),
        (WHOLE, True, Support.PLANE, (0.0, 0.0014)),
        (WHOLE, False, Support.INSTANCE, (0.0075, 0.00255)),
        (WHOLE, False, Support.NOTHING, (0.0075, 0.00755)),
        (WHOLE, False, Support.UNKNOWN, (0.0075, 0.00755)),
        (Visibility(Status.OCCLUDED, 0.5, 0.0), False, Support.PLANE, (0.021642, 0.004378)),
        (Visibility(Status.OCCLUDED, 0.5, 0.0), True, Support.PLANE, (0.0099, 0.004228)),
        (Visibility(Status.PARTLY_MEASURED, 0.0, 0.5), False, Support.PLANE, (0.0115, 0.00255)),
    ],
)
def test_each_cause_widens_the_error_by_its_share_of_the_side(
    visibility: Visibility, is_round: bool, support: Support, expected_m: tuple[float, float]
) -> None:
    across, also_across, upwards = deviations_m(visibility, is_round, support, (0.2, 0.1, 0.05))
    assert across == also_across
    assert (across, upwards) == pytest.approx(expected_m, abs=2e-6)


@pytest.mark.parametrize(
    ("completed", "unseen_m", "upwards_m"),
    [(True, 0.01, 0.00555), (True, 0.05, 0.02155), (False, 0.0, 0.0562), (False, 0.05, 0.0762)],
)
def test_upwards_an_unseen_foot_adds_two_fifths_of_itself_and_a_far_side_a_quarter_of_the_width(
    completed: bool, unseen_m: float, upwards_m: float
) -> None:
    found_m = deviations_m(size_m=(0.2, 0.1, 0.05), completed=completed, unseen_m=unseen_m)
    assert found_m[2] == pytest.approx(upwards_m, abs=2e-6)


def test_errors_along_the_axes_of_a_box_that_lies_askew_are_along_these_axes() -> None:
    axes = np.array([[-1, -44, 68], [76, 23, 16], [-28, 64, 41]]) / 81  # as columns; rows are other directions
    covariance_m2 = covariance_along_m2(axes, np.array([0.01, 0.02, 0.04]))
    expected_m2 = np.diag([1e-4, 4e-4, 16e-4])
    np.testing.assert_allclose(axes.T @ covariance_m2 @ axes, expected_m2, atol=1e-12)


@pytest.mark.parametrize(("unseen_m", "upwards_m"), [(0.0, 0.006), (0.01, 0.006), (0.05, 0.02)])
def test_a_centre_by_a_network_is_known_upwards_no_better_than_its_unseen_foot(
    unseen_m: float, upwards_m: float
) -> None:
    found_m = with_unseen_foot_m(np.array([0.004, 0.003, 0.006]), unseen_m)
    np.testing.assert_allclose(found_m, [0.004, 0.003, upwards_m])
