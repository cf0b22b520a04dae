"""How far above its support an object may end by its mask: closed-form bodies on a table and over it."""

from __future__ import annotations

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, look_at, upright
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting import Instance3D, Lifter
from instance_seg_ros.lifting.foot import lifted_m
from instance_seg_ros.lifting.solid import Body as SeenBody
from instance_seg_ros.lifting.support import Support

BOX, BOOK, CAN = (
    lambda up_m: Box((0.1, 0.06, 0.08), upright(0.02, 0.0, 0.04 + up_m, 20)),
    lambda up_m: Box((0.16, 0.11, 0.03), upright(0.0, 0.0, 0.015 + up_m, 50)),
    lambda up_m: Cylinder(0.03, 0.1, upright(0.02, 0.0, 0.05 + up_m)),
)


def scene_of(body: Body, elevation_deg: float) -> AnalyticScene:
    return AnalyticScene([body], look_at((0, 0, 0.05), 0.8, elevation_deg))


def found(scene: AnalyticScene, below_m: float = 0.0) -> tuple[float | None, bool]:
    """By the mask of the first object, above a plane so far below the table."""
    frame, labels = scene.render(0.001)
    mask = np.asfortranarray(labels == 1)
    up = scene.T_camera_world.rotation[:, 2]
    plane = Plane(up, -float(up @ scene.T_camera_world.apply(np.array([0.0, 0.0, -below_m]))))
    basis, origin_m = plane.basis(), -plane.offset_m * plane.normal
    local_m = (frame.points_m[mask].astype(np.float64) - origin_m) @ basis
    body = SeenBody(local_m, np.zeros_like(local_m), float(local_m[:, 2].max()), basis, origin_m)
    return lifted_m(body, frame, mask, Instances.from_labels(labels).bounds[0], 0.008)


def upwards(instance: Instance3D, scene: AnalyticScene) -> tuple[float, float]:
    """How far too low the centre of the first body is, metres, and the deviation that is told of that."""
    assert instance.box is not None and instance.centroid_m is not None
    assert instance.centroid_covariance_m2 is not None
    up = instance.box.T_camera_box.rotation[:, 2]
    true_m = scene.T_camera_world.apply(scene.bodies[0].T_world_body.translation_m)
    return float(up @ (true_m - instance.centroid_m)), float(np.sqrt(up @ instance.centroid_covariance_m2 @ up))


@pytest.mark.parametrize("elevation_deg", [25, 50, 70])
@pytest.mark.parametrize("make", [BOX, BOOK, CAN], ids=["box", "book", "can"])
@pytest.mark.parametrize("up_m", [0.0, 0.03, 0.08])
def test_the_lower_edge_of_a_mask_tells_how_far_above_the_plane_upright_sides_end(
    make: type[Box], elevation_deg: float, up_m: float
) -> None:
    found_m, is_covered = found(scene_of(make(up_m), elevation_deg))
    assert found_m == pytest.approx(up_m, abs=0.009)  # two pixels, seen steeply
    assert not is_covered


@pytest.mark.parametrize("elevation_deg", [45, 75])
def test_something_in_front_of_the_lower_edge_leaves_it_untold(elevation_deg: float) -> None:
    scene = AnalyticScene(
        [BOX(0.0), Box((0.03, 0.3, 0.05), upright(0.1, 0, 0.025))], look_at((0, 0, 0.05), 0.8, elevation_deg)
    )
    assert found(scene) == (None, True)


def test_what_reaches_below_a_plane_is_below_zero() -> None:
    assert found(scene_of(BOX(0.0), 45), below_m=-0.02)[0] == pytest.approx(-0.02, abs=0.006)


def test_seen_from_straight_above_a_mask_tells_nothing() -> None:
    assert found(scene_of(BOX(0.03), 90)) == (None, False)


@pytest.mark.parametrize(
    ("make", "up_m", "elevation_deg", "status"),
    [
        *((BOOK, 0.0, 60, Status.OK), (BOOK, 0.0, 75, Status.OK), (BOOK, 0.05, 75, Status.NO_SUPPORT_PLANE)),
        *((CAN, 0.0, 60, Status.OK), (CAN, 0.05, 60, Status.FOOT_NOT_SEEN), (BOX, 0.05, 75, Status.NO_SUPPORT_PLANE)),
        (BOOK, 0.03, 90, Status.FOOT_NOT_SEEN),
    ],
)
def test_what_is_seen_to_stand_by_its_mask_is_known_upwards_and_what_is_not_is_said_and_wide(
    make: type[Box], up_m: float, elevation_deg: float, status: Status
) -> None:
    scene = scene_of(make(up_m), elevation_deg)
    frame, labels = scene.render(0.001)
    (instance,) = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances
    assert instance.status == status
    assert (instance.support.kind is Support.PLANE) == (status != Status.NO_SUPPORT_PLANE)
    off_m, sigma_m = upwards(instance, scene)
    assert abs(off_m) < 1.645 * sigma_m
    assert (sigma_m < 0.005) == (status == Status.OK)


@pytest.mark.parametrize("elevation_deg", [30, 50])
@pytest.mark.parametrize("make", [BOX, BOOK, CAN], ids=["box", "book", "can"])
@pytest.mark.parametrize("up_m", [0.0, 0.01, 0.015])
@pytest.mark.parametrize("below", ["nothing", "something_thin"])
def test_what_ends_a_little_above_the_plane_or_on_something_thin_has_its_truth_in_the_interval(
    make: type[Box], up_m: float, elevation_deg: float, below: str
) -> None:
    thin = [Box((0.2, 0.2, up_m), upright(0.0, 0.0, up_m / 2, 20))] if below == "something_thin" and up_m else []
    scene = AnalyticScene([make(up_m), *thin], look_at((0, 0, 0.05), 0.8, elevation_deg))
    frame, labels = scene.render(0.001)
    (instance,) = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(np.where(labels == 1, 1, 0))).instances
    off_m, sigma_m = upwards(instance, scene)
    assert abs(off_m) < 2.5 * sigma_m
    assert up_m or sigma_m < 0.003
