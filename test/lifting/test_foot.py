"""How far above its support an object may end by its mask: closed-form bodies on a table and over it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, look_at, upright
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting import Instance3D, Lifter
from instance_seg_ros.lifting.foot import Foot, foot_of
from instance_seg_ros.lifting.solid import Body as SeenBody
from instance_seg_ros.lifting.support import Support

BOX, BOOK, CAN = (
    lambda up_m: Box((0.1, 0.06, 0.08), upright(0.02, 0.0, 0.04 + up_m, 20)),
    lambda up_m: Box((0.16, 0.11, 0.03), upright(0.0, 0.0, 0.015 + up_m, 50)),
    lambda up_m: Cylinder(0.03, 0.1, upright(0.02, 0.0, 0.05 + up_m)),
)


def scene_of(body: Body, elevation_deg: float) -> AnalyticScene:
    return AnalyticScene([body], look_at((0, 0, 0.05), 0.8, elevation_deg))


def found(scene: AnalyticScene, below_m: float = 0.0, grown_px: int = 0) -> Foot:
    """By the mask of the first object, grown by so much, above a plane so far below the table."""
    frame, labels = scene.render(0.001)
    own = cv2.dilate((labels == 1).astype(np.uint8), np.ones((2 * grown_px + 1,) * 2, np.uint8)) > 0
    mask, labels = np.asfortranarray(own), own.astype(labels.dtype)
    up = scene.T_camera_world.rotation[:, 2]
    plane = Plane(up, -float(up @ scene.T_camera_world.apply(np.array([0.0, 0.0, -below_m]))))
    basis, origin_m = plane.basis(), -plane.offset_m * plane.normal
    local_m = (frame.points_m[mask].astype(np.float64) - origin_m) @ basis
    body = SeenBody(local_m, np.zeros_like(local_m), float(local_m[:, 2].max()), basis, origin_m)
    return foot_of(body, frame, mask, Instances.from_labels(labels).bounds[0], 0.008)


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
    end = found(scene_of(make(up_m), elevation_deg))
    assert end.lifted_m == pytest.approx(up_m, abs=0.009)  # two pixels, seen steeply
    assert not end.is_covered


@pytest.mark.parametrize("elevation_deg", [25, 50, 65])
@pytest.mark.parametrize("make", [BOX, BOOK, CAN], ids=["box", "book", "can"])
@pytest.mark.parametrize("up_m", [0.0, 0.015, 0.03])
def test_a_generous_mask_does_not_hide_that_the_plane_is_seen_below_an_object(
    make: type[Box], elevation_deg: float, up_m: float
) -> None:
    exact, generous = (found(scene_of(make(up_m), elevation_deg), grown_px=grown_px) for grown_px in (0, 4))
    assert exact.seen_m is not None and generous.seen_m == pytest.approx(exact.seen_m, abs=0.003)
    assert generous.lifted_m == pytest.approx(up_m, abs=0.006)


@pytest.mark.parametrize(
    ("make", "up_m", "grown_px", "status"),
    [(CAN, 0.0, 4, Status.OK), (CAN, 0.02, 0, Status.FOOT_NOT_SEEN), (CAN, 0.02, 4, Status.FOOT_NOT_SEEN)],
)
def test_what_the_plane_is_seen_below_is_not_said_to_stand(
    make: type[Box], up_m: float, grown_px: int, status: Status
) -> None:
    scene = scene_of(make(up_m), 45)
    frame, labels = scene.render(0.001)
    grown = cv2.dilate(labels.astype(np.uint16), np.ones((2 * grown_px + 1,) * 2, np.uint8))
    (instance,) = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(grown)).instances
    assert instance.status == status
    off_m, sigma_m = upwards(instance, scene)
    assert abs(off_m) < 2 * sigma_m


def test_directions_in_which_something_in_front_hides_the_edge_tell_nothing_of_it() -> None:
    half_covered = Box((0.02, 0.05, 0.05), upright(0.06, 0.03, 0.025))
    end = found(AnalyticScene([BOX(0.0), half_covered], look_at((0, 0, 0.05), 0.8, 40)))
    assert end.seen_m is None or end.seen_m < 0.006


@pytest.mark.parametrize("elevation_deg", [45, 75])
def test_something_in_front_of_the_lower_edge_leaves_it_untold(elevation_deg: float) -> None:
    scene = AnalyticScene(
        [BOX(0.0), Box((0.03, 0.3, 0.05), upright(0.1, 0, 0.025))], look_at((0, 0, 0.05), 0.8, elevation_deg)
    )
    end = found(scene)
    assert (end.lifted_m, end.seen_m, end.is_covered) == (None, None, True)


def test_what_reaches_below_a_plane_is_below_zero() -> None:
    assert found(scene_of(BOX(0.0), 45), below_m=-0.02).lifted_m == pytest.approx(-0.02, abs=0.006)


def test_seen_from_straight_above_a_mask_tells_nothing() -> None:
    end = found(scene_of(BOX(0.03), 90))
    assert (end.lifted_m, end.seen_m, end.is_covered) == (None, None, False)


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
