"""Inputs at the end of what a camera can see, each with its stated outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analytic_scenes import (
    VGA,
    AnalyticScene,
    Body,
    Box,
    Cylinder,
    Sphere,
    look_at,
    upright,
)
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting import Instance3D, Lifter, Support

TABLEWARE: tuple[Body, ...] = (
    Box((0.1, 0.06, 0.08), upright(-0.1, 0, 0.04, 20)),
    Cylinder(0.03, 0.1, upright(0.1, 0, 0.05)),
    Sphere(0.04, upright(0, 0.12, 0.04)),
)


def lifted(scene: AnalyticScene, noise_m: float = 0.001) -> tuple[tuple[Instance3D, ...], list[float]]:
    """The objects, and how far their centres are off in metres."""
    frame, labels = scene.render(noise_m)
    found = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances
    off_m = []
    for instance, body in zip(found, scene.bodies, strict=True):
        true_m = scene.T_camera_world.apply(body.T_world_body.translation_m)
        off_m.append(np.inf if instance.centroid_m is None else float(np.linalg.norm(instance.centroid_m - true_m)))
    return found, off_m


@pytest.mark.parametrize(("elevation_deg", "within_m"), [(5, 0.006), (88, 0.003), (90, 0.003)])
def test_cameras_along_the_table_and_straight_down_see_objects_where_they_are(
    elevation_deg: float, within_m: float
) -> None:
    scene = AnalyticScene(TABLEWARE, look_at((0, 0, 0.04), 0.7, elevation_deg), table_size_m=(0.9, 0.9))
    found, off_m = lifted(scene)
    # From along the table the box is seen beside what is in front of it, and may go on behind that.
    limits_m = [0.025 if Status.OCCLUDED in instance.status else within_m for instance in found]
    assert (np.array(off_m) < limits_m).all()
    for instance, error_m in zip(found, off_m, strict=True):
        assert instance.centroid_covariance_m2 is not None
        assert error_m < 1.645 * float(np.sqrt(np.linalg.eigvalsh(instance.centroid_covariance_m2).max()))
    assert [instance.support.kind for instance in found] == [Support.PLANE] * 3


@pytest.mark.parametrize("roll_deg", [30, 90, 180, 271])
def test_a_rolled_camera_changes_nothing(roll_deg: float) -> None:
    straight = look_at((0, 0, 0.04), 0.7, 45)
    turn = Rotation.from_euler("z", roll_deg, degrees=True).as_matrix()
    rolled = Transform(straight.rotation @ turn, straight.translation_m)
    found, off_m = lifted(AnalyticScene(TABLEWARE, rolled, table_size_m=(0.9, 0.9)))
    assert max(off_m) < 0.003
    assert [instance.status for instance in found] == [Status.OK] * 3


@pytest.mark.parametrize("elevation_deg", [-20, -60])
def test_of_what_is_seen_from_below_only_the_near_side_is_known_and_said_to_be(elevation_deg: float) -> None:
    bodies = [Box((0.1, 0.06, 0.08), upright(-0.1, 0, 0.54, 20)), Sphere(0.04, upright(0.1, 0, 0.54))]
    found, off_m = lifted(AnalyticScene(bodies, look_at((0, 0, 0.54), 0.5, elevation_deg)))
    for instance, own_off_m in zip(found, off_m, strict=True):
        assert Status.NO_SUPPORT_PLANE in instance.status
        assert instance.centroid_covariance_m2 is not None
        sigma_m = float(np.sqrt(np.linalg.eigvalsh(instance.centroid_covariance_m2).max()))
        assert own_off_m < 1.645 * sigma_m, "the far side is not known, and the covariance knows that"


@pytest.mark.parametrize(
    ("side_m", "distance_m", "status", "within_m"),
    [
        (0.005, 0.3, Status.OK, 0.0015),
        (0.005, 0.6, Status.TOO_FEW_POINTS, np.inf),  # 25 pixels
        (0.01, 0.6, Status.OK, 0.0025),  # smaller than the windows of its planes
        (0.03, 0.6, Status.OK, 0.001),
        (1.0, 3.0, Status.OK, 0.01),
    ],
)
def test_tiny_and_large_cubes_are_placed_or_refused(
    side_m: float, distance_m: float, status: Status, within_m: float
) -> None:
    cube = Box((side_m, side_m, side_m), upright(0, 0, side_m / 2, 20))
    (found,), (off_m,) = lifted(AnalyticScene([cube], look_at((0, 0, side_m / 2), distance_m, 40)), 0.0005)
    assert found.status == status
    assert off_m < within_m or status is Status.TOO_FEW_POINTS


@pytest.mark.parametrize("noise_m", [0.0, 0.001])
@pytest.mark.parametrize(("height_m", "flush"), [(0.0, True), (0.001, True), (0.006, False), (0.02, False)])
def test_what_does_not_stand_out_is_told_apart_from_what_does(height_m: float, flush: bool, noise_m: float) -> None:
    """A constant depth under a mask is no box of height 0 without a word."""
    depth_m = np.full((480, 640), 0.8) + np.random.default_rng(0).normal(0, noise_m, (480, 640))
    mask = np.zeros((480, 640), dtype=bool)
    mask[200:300, 250:330] = True
    depth_m[mask] -= height_m
    frame = RgbdFrame(None, depth_m.astype(np.float32), VGA)
    (instance,) = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(mask.astype(np.uint16))).instances
    assert (Status.FLUSH in instance.status) == flush
    assert instance.box is not None
    sides_m = (0.8 - height_m) * np.array([99, 79]) / 600  # between the middles of the outermost pixels
    np.testing.assert_allclose(instance.box.size_m[:2], sides_m, atol=0.002)


@pytest.mark.parametrize(
    ("fx", "fy", "accepted"), [(1e-9, 1e-9, False), (600.0, 1e-9, False), (5.0, 5.0, False), (20.0, 20.0, True)]
)
def test_a_field_of_view_that_cannot_be_is_refused(fx: float, fy: float, accepted: bool) -> None:
    if accepted:
        Intrinsics(640, 480, fx, fy, 319.5, 239.5)
    else:
        with pytest.raises(ValueError, match="view of more than 178 degrees"):
            Intrinsics(640, 480, fx, fy, 319.5, 239.5)


@pytest.mark.parametrize(
    ("turn_deg", "elevation_deg", "front_only"),
    [
        *((0, 2, True), (10, 10, True)),  # its front alone, its other side hardly
        *((0, 30, False), (10, 20, False)),  # its top as well
        *((20, 10, False), (40, 2, False), (40, 10, False), (75, 2, False)),  # two sides, and no top
    ],
)
def test_a_box_of_which_one_face_is_seen_says_that_its_depth_is_not_known(
    turn_deg: float, elevation_deg: float, front_only: bool
) -> None:
    box = Box((0.15, 0.12, 0.16), upright(0, 0, 0.08, turn_deg))
    (found,), (off_m,) = lifted(
        AnalyticScene([box], look_at((0, 0, 0.1), 0.8, elevation_deg, -90), table_size_m=(0.9, 0.9))
    )
    assert (Status.FRONT_ONLY in found.status) == front_only
    assert front_only or off_m < 0.02  # how deep it is behind its front can only be guessed
    assert found.centroid_covariance_m2 is not None
    assert off_m < 1.645 * float(np.sqrt(np.linalg.eigvalsh(found.centroid_covariance_m2).max()))


@pytest.mark.parametrize(("elevation_deg", "within_m"), [(8, 0.03), (15, 0.012), (30, 0.006)])
def test_a_long_can_that_points_away_from_the_camera_is_measured_to_its_end(
    elevation_deg: float, within_m: float
) -> None:
    """It reaches back six times as far as it is wide, without a step."""
    along_x = Rotation.from_euler("y", 90, degrees=True).as_matrix()
    roll = Cylinder(0.02, 0.25, Transform(along_x, np.array([0, 0, 0.02])))
    (found,), (off_m,) = lifted(AnalyticScene([roll], look_at((0, 0, 0.04), 0.75, elevation_deg)))
    assert off_m < within_m
    assert found.box is not None and found.box.size_m[0] > 0.2


@pytest.mark.parametrize(("side_px", "seed"), [(7, 1), (7, 10), (7, 11), (8, 5), (8, 11)])
def test_a_few_noisy_points_on_a_table_are_not_an_object_as_small_as_the_highest_of_them(
    side_px: int, seed: int
) -> None:
    camera = Intrinsics(160, 120, 150.0, 150.0, 79.5, 59.5)
    depth_m, labels = np.full((120, 160), 0.8, dtype=np.float32), np.zeros((120, 160), dtype=np.uint16)
    own = slice(50, 50 + side_px), slice(60, 60 + side_px)
    depth_m[own] += np.random.default_rng(seed).normal(0, 0.004, (side_px, side_px)).astype(np.float32)
    labels[own] = 1
    frame, settings = RgbdFrame(None, depth_m, camera), LiftingSettings(min_points=20)
    (instance,) = Lifter(settings).lift(frame, Instances.from_labels(labels)).instances
    assert instance.box is not None
    assert instance.status & Status.FLUSH
    assert instance.box.size_m[:2].min() > 0.02


@pytest.mark.parametrize(
    "stored", [np.asfortranarray, lambda array: np.repeat(array, 2, axis=-1)[..., ::2]], ids=["by columns", "in steps"]
)
def test_how_images_lie_in_memory_changes_nothing(stored: Callable[[np.ndarray], np.ndarray]) -> None:
    frame, labels = AnalyticScene(TABLEWARE, look_at((0, 0, 0.04), 0.7, 45), table_size_m=(0.9, 0.9)).render(0.001)
    instances = Instances.from_labels(labels)
    expected = Lifter(LiftingSettings()).lift(frame, instances).instances
    other = replace(frame, depth_m=stored(frame.depth_m))
    found = Lifter(LiftingSettings()).lift(other, replace(instances, masks=stored(instances.masks))).instances
    for own, other_own in zip(expected, found, strict=True):
        np.testing.assert_array_equal(own.centroid_m, other_own.centroid_m)
        np.testing.assert_array_equal(own.pixels, other_own.pixels)


def test_the_noise_of_a_flat_top_does_not_make_a_thin_object_higher() -> None:
    book = Box((0.16, 0.12, 0.012), upright(0, 0, 0.006, 20))
    (found,), _ = lifted(AnalyticScene([book], look_at((0, 0, 0), 1.15, 55)), 0.004)
    assert found.box is not None
    assert found.box.size_m[2] == pytest.approx(0.012, abs=0.001)


@pytest.mark.parametrize(
    ("size_m", "x_m", "within_m"),
    [
        ((0.11, 0.12, 0.06), -0.03, 0.012),  # half of its top ends behind the wall: 27 mm without what is assumed there
        ((0.05, 0.14, 0.06), -0.065, 0.003),  # the near edge of its top is seen: it is narrow
    ],
)
def test_the_centre_counts_on_a_side_that_ends_behind_something_and_the_box_does_not(
    size_m: tuple[float, float, float], x_m: float, within_m: float
) -> None:
    wall = Box((0.02, 0.3, 0.12), upright(0.06, 0, 0.06))
    (found, _), (off_m, _) = lifted(
        AnalyticScene([Box(size_m, upright(x_m, 0, size_m[2] / 2)), wall], look_at((0, 0, 0.05), 0.8, 40))
    )
    assert found.box is not None
    assert found.box.size_m[1] < size_m[0] + 0.003
    assert off_m < within_m


@pytest.mark.parametrize(
    ("height_m", "lifted_m", "elevation_deg"),
    [
        *((0.08, 0.05, 75), (0.08, 0.05, 60), (0.08, 0.1, 90)),
        *((0.02, 0.05, 90), (0.02, 0.05, 75), (0.02, 0.05, 60)),
    ],
)
def test_what_is_held_low_over_a_table_so_that_no_gap_is_seen_may_be_that_far_off(
    height_m: float, lifted_m: float, elevation_deg: float
) -> None:
    box = Box((0.1, 0.06, height_m), upright(0.02, 0, height_m / 2 + lifted_m, 20))
    view = look_at((0, 0, 0.04 + lifted_m / 2), 0.9, elevation_deg)
    scene = AnalyticScene([box], view, table_size_m=(0.9, 0.9))
    (found,), (off_m,) = lifted(scene)
    assert found.status & (Status.FOOT_NOT_SEEN | Status.NO_SUPPORT_PLANE)
    assert found.centroid_covariance_m2 is not None
    assert off_m < 1.645 * float(np.sqrt(np.linalg.eigvalsh(found.centroid_covariance_m2).max()))

    frame, labels = scene.render(0.001)
    columns = np.flatnonzero(labels.any(axis=0))
    hand = slice(columns[3 * len(columns) // 4], columns[-1] + 20)
    depth_m, labels = frame.depth_m.copy(), labels.copy()
    depth_m[:, hand], labels[:, hand] = 0.5, 0
    (found,) = Lifter(LiftingSettings()).lift(replace(frame, depth_m=depth_m), Instances.from_labels(labels)).instances
    assert found.status == Status.FOOT_NOT_SEEN | Status.OCCLUDED
    assert found.centroid_m is not None and found.centroid_covariance_m2 is not None and found.box is not None
    up = found.box.T_camera_box.rotation[:, 2]
    too_low_m = up @ (scene.T_camera_world.apply(box.T_world_body.translation_m) - found.centroid_m)
    assert abs(too_low_m) < 1.645 * float(np.sqrt(up @ found.centroid_covariance_m2 @ up))


@pytest.mark.parametrize("elevation_deg", [60, 65])
def test_a_can_in_the_air_is_not_seen_to_stand_and_may_be_that_far_off(elevation_deg: float) -> None:
    can = Cylinder(0.03, 0.1, upright(0.02, 0, 0.1))
    (found,), (off_m,) = lifted(AnalyticScene([can], look_at((0, 0, 0.065), 0.9, elevation_deg), (0.9, 0.9)))
    assert found.status == Status.FOOT_NOT_SEEN and found.support.unseen_m > 0.045
    assert found.centroid_covariance_m2 is not None
    assert off_m < 1.645 * float(np.sqrt(np.linalg.eigvalsh(found.centroid_covariance_m2).max()))


@pytest.mark.parametrize(
    ("body", "hidden_share", "off_m"),
    [
        (Cylinder(0.04, 0.12, upright(0, 0, 0.06)), 0.1, 0.003),
        (Cylinder(0.04, 0.12, upright(0, 0, 0.06)), 0.25, 0.003),
        (Sphere(0.05, upright(0, 0, 0.05)), 0.25, 0.003),
        (Sphere(0.05, upright(0, 0, 0.05)), 0.5, 0.003),
        (Box((0.12, 0.06, 0.08), upright(0, 0, 0.04, 20)), 0.4, 0.03),  # how far it goes on nobody knows
    ],
    ids=["can, a tenth", "can", "ball", "half of a ball", "box"],
)
def test_what_something_without_depth_hides_in_part_is_completed_and_said_to_be_known_in_part(
    body: Body, hidden_share: float, off_m: float
) -> None:
    scene = AnalyticScene([body], look_at((0, 0, 0.03), 0.7, 40))
    frame, labels = scene.render(0.001)
    columns = np.flatnonzero((labels == 1).any(axis=0))
    finger = slice(0, int(columns[0] + hidden_share * len(columns)))  # nearer than the sensor measures
    depth_m = frame.depth_m.copy()
    depth_m[:, finger], labels[:, finger] = 0, 0
    [found] = Lifter(LiftingSettings()).lift(replace(frame, depth_m=depth_m), Instances.from_labels(labels)).instances
    assert found.centroid_m is not None and found.centroid_covariance_m2 is not None
    error_m = found.centroid_m - scene.T_camera_world.apply(body.T_world_body.translation_m)
    assert np.linalg.norm(error_m) <= off_m
    assert error_m @ np.linalg.solve(found.centroid_covariance_m2, error_m) < 2.5**2
    assert found.status == Status.PARTLY_MEASURED
