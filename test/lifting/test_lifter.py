"""Lifting against closed-form scenes: accuracy tables, what is rejected, and inputs that hold nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from instance_seg_ros.core.status import PARTLY_SEEN, Status
from instance_seg_ros.lifting import Completion, Instance3D, LiftedFrame, Lifter
from instance_seg_ros.lifting.shape import CompletedShape
from instance_seg_ros.pipeline import Scene

NOISE_M = 0.0015


def lying(yaw_deg: float, radius_m: float) -> Transform:
    rotation = Rotation.from_euler("zx", [yaw_deg, 90], degrees=True).as_matrix()
    return Transform(rotation, np.array([0.0, 0.0, radius_m]))


def lift(scene: AnalyticScene, noise_m: float = NOISE_M, seed: int = 0, **settings_: object) -> LiftedFrame:
    frame, labels = scene.render(noise_m, seed)
    return Lifter(LiftingSettings(**settings_)).lift(frame, Instances.from_labels(labels))  # type: ignore[arg-type]


def centre_error_m(scene: AnalyticScene, index: int, instance: Instance3D) -> float:
    expected_m = scene.T_camera_world.apply(scene.bodies[index].T_world_body.translation_m)
    assert instance.centroid_m is not None
    return float(np.linalg.norm(instance.centroid_m - expected_m))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("body", "size_m"),
    [
        (Box((0.12, 0.07, 0.05), upright(0, 0, 0.025, 0)), (0.12, 0.07, 0.05)),
        (Box((0.12, 0.07, 0.05), upright(0, 0, 0.025, 30)), (0.12, 0.07, 0.05)),
        (Box((0.06, 0.05, 0.18), upright(0, 0, 0.09, 50)), (0.06, 0.05, 0.18)),
        (Box((0.20, 0.13, 0.02), upright(0, 0, 0.01, 70)), (0.20, 0.13, 0.02)),
        (Cylinder(0.035, 0.10, upright(0, 0, 0.05)), (0.07, 0.07, 0.10)),
        (Cylinder(0.05, 0.04, upright(0, 0, 0.02)), (0.10, 0.10, 0.04)),
        (Cylinder(0.033, 0.12, lying(0, 0.033)), (0.12, 0.066, 0.066)),
        (Cylinder(0.033, 0.12, lying(40, 0.033)), (0.12, 0.066, 0.066)),
        (Sphere(0.04, upright(0, 0, 0.04)), (0.08, 0.08, 0.08)),
    ],
    ids=["box", "turned box", "tall box", "flat box", "can", "disc", "lying can", "turned lying can", "ball"],
)
def test_centre_is_within_5_mm_and_size_within_8_mm_at_40_degrees(
    body: Body, size_m: tuple[float, float, float], seed: int
) -> None:
    scene = AnalyticScene([body], look_at((0, 0, 0.03), 0.7, 40))
    instance = lift(scene, seed=seed).instances[0]
    assert instance.status == Status.OK
    assert instance.completion is Completion.SUPPORT_PLANE
    assert centre_error_m(scene, 0, instance) < 0.005
    assert instance.box is not None
    np.testing.assert_allclose(instance.box.size_m, size_m, atol=0.008)


@pytest.mark.parametrize("elevation_deg", [25, 60, 85])
def test_centres_hold_at_other_elevations(elevation_deg: float) -> None:
    bodies = [
        Box((0.1, 0.06, 0.05), upright(-0.2, 0.1, 0.025, 20)),
        Cylinder(0.03, 0.09, upright(0.1, 0.1, 0.045)),
        Sphere(0.04, upright(-0.05, -0.15, 0.04)),
    ]
    scene = AnalyticScene(bodies, look_at((0, 0, 0), 0.8, elevation_deg))
    lifted = lift(scene)
    assert [centre_error_m(scene, index, instance) < 0.006 for index, instance in enumerate(lifted.instances)] == [
        True
    ] * 3


def test_box_axes_are_the_bodys_and_its_z_is_up() -> None:
    scene = AnalyticScene([Box((0.12, 0.07, 0.05), upright(0, 0, 0.025, 30))], look_at((0, 0, 0), 0.7, 45))
    lifted = lift(scene)
    box, plane = lifted.instances[0].box, lifted.support_plane
    assert box is not None and plane is not None
    T_world_box = scene.T_world_camera @ box.T_camera_box
    np.testing.assert_allclose(T_world_box.rotation[:, 2], [0, 0, 1], atol=0.01)
    long_side = np.array([np.cos(np.radians(30)), np.sin(np.radians(30)), 0])
    assert abs(T_world_box.rotation[:, 0] @ long_side) > np.cos(np.radians(2))
    np.testing.assert_allclose(box.T_camera_box.rotation[:, 2], plane.normal, atol=1e-6)


@pytest.mark.parametrize("body", [Cylinder(0.035, 0.10, upright(0.1, 0, 0.05)), Sphere(0.04, upright(0.1, 0.1, 0.04))])
def test_the_box_of_what_is_round_lies_along_the_line_of_sight_whatever_the_noise(body: Body) -> None:
    scene = AnalyticScene([body], look_at((0, 0, 0.03), 0.7, 40))
    camera_m, body_m = scene.T_world_camera.translation_m[:2], body.T_world_body.translation_m[:2]
    sight = (body_m - camera_m) / np.linalg.norm(body_m - camera_m)
    for seed in range(6):
        box = lift(scene, seed=seed).instances[0].box
        assert box is not None
        along, across = np.abs((scene.T_world_camera @ box.T_camera_box).rotation[:2, :2].T @ sight)
        assert max(along, across) > np.cos(np.radians(3))


@pytest.mark.parametrize("body", [Cylinder(0.035, 0.10, upright(0.01, 0.01, 0.05)), Sphere(0.04, upright(0, 0, 0.04))])
def test_seen_from_straight_above_the_box_of_what_is_round_lies_along_the_rows_of_the_image(body: Body) -> None:
    scene = AnalyticScene([body], look_at((0, 0, 0.03), 0.7, 90))
    for seed in range(6):
        box = lift(scene, seed=seed).instances[0].box
        assert box is not None
        assert np.abs(box.T_camera_box.rotation[0, :2]).max() > np.cos(np.radians(3))


def test_surface_centroid_and_covariance_are_those_of_the_kept_points() -> None:
    scene = AnalyticScene([Box((0.12, 0.07, 0.05), upright(0, 0, 0.025))], look_at((0, 0, 0), 0.7, 45))
    instance = lift(scene).instances[0]
    assert instance.surface_centroid_m is not None and instance.covariance_m2 is not None
    np.testing.assert_allclose(instance.surface_centroid_m, instance.points_m.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(instance.covariance_m2, np.cov(instance.points_m.T, bias=True), atol=1e-8)


def test_points_are_the_frames_own_at_their_pixels_and_counts_add_up() -> None:
    scene = AnalyticScene([Cylinder(0.04, 0.1, upright(0, 0, 0.05))], look_at((0, 0, 0), 0.7, 45))
    frame, labels = scene.render(NOISE_M)
    instance = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances[0]
    np.testing.assert_allclose(frame.points_m.reshape(-1, 3)[instance.pixels], instance.points_m, atol=1e-6)
    assert (labels.reshape(-1)[instance.pixels] == 1).all()
    assert len(instance.points_m) + instance.rejected == np.count_nonzero(labels == 1)


def test_background_under_a_generous_mask_is_rejected() -> None:
    """A mask that is 6 pixels too wide in all directions, on an object that stands before a far floor."""
    scene = AnalyticScene(
        [Box((0.06, 0.06, 0.2), upright(0, 0, 0.1))],
        look_at((0, 0, 0.1), 0.8, 30),
        table_size_m=(0.15, 0.15),
        floor_z_m=-0.7,
    )
    frame, labels = scene.render(NOISE_M)
    padded = np.zeros_like(labels)
    for dy in range(-6, 7):
        for dx in range(-6, 7):
            padded |= np.roll(labels, (dy, dx), axis=(0, 1))
    instance = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(padded)).instances[0]
    points_world_m = scene.T_world_camera.apply(instance.points_m)
    assert points_world_m[:, 2].min() > -0.01, "a point of the floor 0.7 m below was kept"
    assert centre_error_m(scene, 0, instance) < 0.008


@pytest.mark.parametrize("elevation_deg", [12, 28, 45])
def test_a_generous_mask_over_edges_without_depth_makes_no_box_larger(elevation_deg: float) -> None:
    """A mask that is 5 pixels too wide covers the table behind the object; half of what lies between has no depth."""
    box = Box((0.12, 0.08, 0.1), upright(0, 0, 0.05, 70))
    scene = AnalyticScene([box], look_at((0, 0, 0.05), 0.7, elevation_deg))
    frame, labels = scene.render(NOISE_M)
    square = np.ones((3, 3), np.uint8)
    at_step = cv2.dilate(frame.depth_m, square) - cv2.erode(frame.depth_m, square) > 0.02
    lost = at_step & (np.random.default_rng(0).random(labels.shape) < 0.5)
    frame = replace(frame, depth_m=np.where(lost, 0, frame.depth_m).astype(np.float32))
    generous = cv2.dilate(labels.astype(np.uint16), np.ones((11, 11), np.uint8))
    instance = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(generous)).instances[0]
    assert instance.box is not None and centre_error_m(scene, 0, instance) < 0.008
    np.testing.assert_allclose(instance.box.size_m, [0.12, 0.08, 0.1], atol=0.012)


def test_flying_pixels_at_the_edge_are_rejected() -> None:
    scene = AnalyticScene([Box((0.1, 0.1, 0.1), upright(0, 0, 0.05))], look_at((0, 0, 0.05), 0.7, 40))
    frame, labels = scene.render()
    depth_m = frame.depth_m.copy()
    mask = labels == 1
    edge = mask & ~np.roll(mask, 1, axis=1)  # left border: half way to what is behind
    depth_m[edge] = 0.5 * depth_m[edge] + 0.5 * np.roll(depth_m, 1, axis=1)[edge]
    flying = RgbdFrame(None, depth_m, frame.intrinsics)
    lifted = Lifter(LiftingSettings()).lift(flying, Instances.from_labels(labels))
    far_off = edge & (np.abs(depth_m - frame.depth_m) > 0.01)
    assert far_off.sum() > 20
    assert not np.isin(np.flatnonzero(far_off), lifted.instances[0].pixels).any()


def lifted_by_hand(depth_m: np.ndarray, mask: np.ndarray) -> Instance3D:
    """The one instance of a mask in a frame of 320x240."""
    frame = RgbdFrame(None, depth_m.astype(np.float32), Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5))
    return (
        Lifter(LiftingSettings(use_support_plane=False))
        .lift(frame, Instances.from_labels(mask.astype(np.uint16)))
        .instances[0]
    )


@pytest.mark.parametrize(
    ("rows", "behind_m", "kept"),
    [(32, 0.03, True), (32, 0.12, True), (32, 0.2, False), (12, 0.06, True), (12, 0.12, False)],
)
def test_a_piece_of_a_cut_mask_is_kept_unless_it_lies_farther_off_than_the_largest_is_wide(
    rows: int, behind_m: float, kept: bool
) -> None:
    """One of eight tenths of the largest may be that much farther off than another, of two tenths."""
    depth_m, mask = np.full((240, 320), 1.5), np.zeros((240, 320), dtype=bool)
    mask[100:140, 100:120] = mask[104 : 104 + rows, 200:220] = True  # 8 cm wide after erosion, 23 cm apart
    depth_m[100:140, 100:120], depth_m[104 : 104 + rows, 200:220] = 0.7, 0.7 + behind_m

    points_m = lifted_by_hand(depth_m, mask).points_m

    assert (points_m[:, 2] < 0.71).sum() > 400
    assert bool((points_m[:, 2] > 0.71).sum() > 8 * rows) is kept
    assert kept or points_m[:, 2].max() < 0.71


@pytest.mark.parametrize(
    ("rows", "joined", "kept"), [(1, False, False), (4, False, True), (4, True, False), (12, True, True)]
)
def test_a_small_piece_is_dropped_unless_the_mask_is_cut_there(rows: int, joined: bool, kept: bool) -> None:
    depth_m, mask = np.full((240, 320), 0.7), np.zeros((240, 320), dtype=bool)
    mask[100:140, 100:140] = mask[100 : 100 + 4 + rows, 200:224] = True  # 36 and 20 wide after erosion by 2
    mask[100:108, 140:200], depth_m[:, 140:200] = joined, 0

    pixels = lifted_by_hand(depth_m, mask).pixels

    assert bool((pixels % 320 >= 202).any()) is kept


@pytest.mark.parametrize(("z_m", "size_m"), [(0.6, (0.12, 0.078)), (1.2, (0.24, 0.156))])
def test_the_box_of_a_plate_that_faces_the_camera_is_the_plate(z_m: float, size_m: tuple[float, float]) -> None:
    depth_m, mask = np.full((240, 320), z_m), np.zeros((240, 320), dtype=bool)
    mask[100:140, 129:190] = True  # 61 by 40 pixels about the image's centre, at 300 pixels of focal length

    instance = lifted_by_hand(depth_m, mask)

    assert instance.box is not None and instance.centroid_m is not None
    np.testing.assert_allclose(instance.box.size_m, [*size_m, 0], atol=0.001)
    np.testing.assert_allclose(instance.centroid_m, [0, 0, z_m], atol=0.002)
    np.testing.assert_allclose(instance.box.T_camera_box.rotation[:, 2], [0, 0, -1], atol=1e-6)
    assert instance.box.T_camera_box.rotation[0, 0] == pytest.approx(1, abs=1e-6), "x along the longer side, rightwards"


@pytest.mark.parametrize("width_px", [53, 60, 64, 72])
@pytest.mark.parametrize("height_px", [60, 90])
def test_the_width_of_a_plate_does_not_depend_on_how_many_pixels_it_has(width_px: int, height_px: int) -> None:
    """One in so many of its pixels serve; were they counted row by row, a width of as many would lose columns."""
    camera = Intrinsics(200, 200, 400.0, 400.0, 99.5, 99.5)
    mask = np.zeros((200, 200), dtype=bool)
    mask[50 : 50 + height_px, 60 : 60 + width_px] = True
    frame = RgbdFrame(None, np.full((200, 200), 0.8, np.float32), camera)
    lifter = Lifter(LiftingSettings(use_support_plane=False))
    box = lifter.lift(frame, Instances.from_labels(mask.astype(np.uint16))).instances[0].box
    assert box is not None
    pixel_m = 0.8 / 400  # the outermost points are the middles of pixels
    expected_m = sorted([(width_px - 1) * pixel_m, (height_px - 1) * pixel_m])
    np.testing.assert_allclose(sorted(box.size_m[:2]), expected_m, atol=1.1 * pixel_m)


def test_a_box_of_which_only_the_front_is_seen_reaches_under_what_stands_on_it() -> None:
    """The camera looks along its top; the can on it says that there is something below."""
    bodies = [Box((0.12, 0.1, 0.1), upright(0, 0, 0.05)), Cylinder(0.055, 0.08, upright(0, 0, 0.14))]
    scene = AnalyticScene(bodies, look_at((0, 0, 0.1), 0.8, 6, -90))
    alone, with_can = (lift(replace(scene, bodies=bodies[:count])).instances[0] for count in (1, 2))
    assert alone.box is not None and with_can.box is not None
    assert with_can.box.size_m[1] > 0.05
    assert centre_error_m(scene, 0, with_can) < 0.025


@pytest.mark.parametrize(("more", "status"), [(0, Status.NO_SUPPORT_PLANE), (1, Status.TOO_FEW_POINTS)])
def test_as_many_points_as_are_asked_for_are_enough(more: int, status: Status) -> None:
    labels = np.zeros((240, 320), dtype=np.uint16)
    labels[100:140, 130:190] = 1
    frame = RgbdFrame(None, np.full((240, 320), 0.7, np.float32), Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5))
    has = len(lifted_by_hand(frame.depth_m, labels > 0).points_m)
    assert has > 2300
    lifter = Lifter(LiftingSettings(use_support_plane=False, min_points=has + more))
    assert lifter.lift(frame, Instances.from_labels(labels)).instances[0].status == status


def test_a_side_that_reaches_back_behind_a_flat_face_is_kept() -> None:
    depth_m, mask = np.full((240, 320), 1.5), np.zeros((240, 320), dtype=bool)
    mask[80:140, 100:160] = True  # 14 cm wide
    depth_m[80:140, 100:160] = 0.7
    depth_m[120:140, 100:160] += 0.002 * np.arange(1, 21)[:, None]  # less than half, which gives no spread

    points_m = lifted_by_hand(depth_m, mask).points_m

    assert points_m[:, 2].max() > 0.73
    assert len(points_m) > 0.8 * mask.sum()


@pytest.mark.parametrize(
    ("low_m", "high_m"),
    [((0.09, 0.03, 0.015), (0.025, 0.05, 0.03)), ((0.08, 0.04, 0.02), (0.04, 0.04, 0.045))],
)
@pytest.mark.parametrize("gap_m", [0.0, -0.05])  # beside the low one, and on the middle of it
def test_a_body_with_tops_at_two_heights_is_as_high_as_the_higher_one(
    low_m: tuple[float, float, float], high_m: tuple[float, float, float], gap_m: float
) -> None:
    aside_m = (low_m[0] + high_m[0]) / 2 + gap_m
    bodies = [Box(low_m, upright(0, 0, low_m[2] / 2)), Box(high_m, upright(aside_m, 0, high_m[2] / 2))]
    frame, labels = AnalyticScene(bodies, look_at((0, 0, 0.02), 0.7, 70)).render(NOISE_M)
    (instance,) = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels.clip(max=1))).instances
    assert instance.box is not None
    assert instance.box.size_m[2] == pytest.approx(high_m[2], abs=0.002)


def test_thin_objects_keep_their_points() -> None:
    """A pen, 7 pixels wide: eroding it by 2 pixels on both sides and dropping its edges would leave nothing."""
    pen = Box((0.14, 0.008, 0.02), upright(0, 0, 0.01, 90))
    scene = AnalyticScene([pen], look_at((0, 0, 0), 0.7, 60))
    frame, labels = scene.render(0.0005)
    instance = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances[0]
    assert len(instance.points_m) > 0.3 * np.count_nonzero(labels)
    assert centre_error_m(scene, 0, instance) < 0.005


def test_the_inside_of_a_hollow_object_is_kept() -> None:
    """Four walls seen into from above: near wall and far wall are parted by a depth step and belong together."""
    walls = [Box((0.14, 0.01, 0.08), upright(0, y, 0.04)) for y in (-0.065, 0.065)] + [
        Box((0.01, 0.14, 0.08), upright(x, 0, 0.04)) for x in (-0.065, 0.065)
    ]
    scene = AnalyticScene(walls, look_at((0, 0, 0.03), 0.7, 40))
    frame, labels = scene.render(NOISE_M)
    instances = Instances.from_labels((labels > 0).astype(np.uint16))
    instance = Lifter(LiftingSettings()).lift(frame, instances).instances[0]
    assert instance.box is not None
    np.testing.assert_allclose(instance.box.size_m, [0.14, 0.14, 0.08], atol=0.008)


@pytest.mark.parametrize("place_m", [0.0, 0.04, 0.12])
def test_a_cup_from_above_is_not_its_floor_alone(place_m: float) -> None:
    """Its walls of 3 mm and its rim are on depth steps with all of their pixels, the camera looks straight down."""
    walls = [
        Box(size_m, upright(place_m + x_m, y_m, 0.05))
        for size_m, x_m, y_m in (
            *(((0.08, 0.003, 0.1), 0.0, y_m) for y_m in (-0.0385, 0.0385)),
            *(((0.003, 0.08, 0.1), x_m, 0.0) for x_m in (-0.0385, 0.0385)),
        )
    ]
    floor = Box((0.08, 0.08, 0.003), upright(place_m, 0, 0.0015))
    scene = AnalyticScene([*walls, floor], look_at((0, 0, 0), 0.65, 89.9))
    frame, labels = scene.render(NOISE_M)
    instances = Instances.from_labels((labels > 0).astype(np.uint16))
    instance = Lifter(LiftingSettings()).lift(frame, instances).instances[0]
    assert instance.box is not None
    np.testing.assert_allclose(instance.box.size_m, [0.08, 0.08, 0.1], atol=0.012)
    assert instance.status & Status.PARTLY_MEASURED, "cameras are often wrong on depth steps"


@pytest.mark.parametrize("before_m", [0.25, 0.4, 0.6])
@pytest.mark.parametrize("columns", [14, 26])
def test_what_is_far_before_an_object_is_no_wall_of_it(before_m: float, columns: int) -> None:
    """Of a mask of 12 cm, 60 pixels wide, the last columns are on something else."""
    depth_m = np.full((480, 640), 1.1)
    depth_m[200:270, 300:360] = 1.0
    depth_m[190:280, 360 - columns : 420] = 1.0 - before_m
    depth_m += np.random.default_rng(0).normal(0, NOISE_M, depth_m.shape)
    labels = np.zeros((480, 640), np.uint16)
    labels[200:270, 300:360] = 1
    frame = RgbdFrame(None, depth_m.astype(np.float32), Intrinsics(640, 480, 600.0, 600.0, 319.5, 239.5))
    instance = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances[0]
    assert frame.depth_m.reshape(-1)[instance.pixels].min() > 0.95
    assert instance.status & Status.OCCLUDED


def test_table_is_chosen_over_the_floor_below_it_and_the_wall_behind() -> None:
    wall = Box((0.02, 3.0, 1.5), upright(-0.5, 0, 0.75))
    bodies = [Box((0.1, 0.06, 0.08), upright(-0.1, 0.1, 0.04)), Cylinder(0.03, 0.1, upright(0.1, -0.05, 0.05)), wall]
    scene = AnalyticScene(bodies, look_at((0, 0, 0.1), 0.9, 35), table_size_m=(0.6, 0.8), floor_z_m=-0.7)
    frame, labels = scene.render(NOISE_M)
    labels[labels == 3] = 0  # the wall is background
    plane = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).support_plane
    assert plane is not None
    T_camera_world = scene.T_camera_world
    np.testing.assert_allclose(plane.normal, T_camera_world.rotation[:, 2], atol=0.02)
    assert abs(plane.height_m(T_camera_world.translation_m)) < 0.005


def test_without_any_plane_the_box_is_of_the_measured_points_with_the_reason() -> None:
    scene = AnalyticScene(
        [Box((0.1, 0.06, 0.05), upright(0, 0, 0.025))], look_at((0, 0, 0), 0.7, 60), table_size_m=(0.001, 0.001)
    )
    lifted = lift(scene)
    instance = lifted.instances[0]
    assert lifted.support_plane is None
    assert instance.status == Status.NO_SUPPORT_PLANE
    assert instance.completion is Completion.NONE
    assert instance.box is not None and instance.box.size_m.max() < 0.13
    assert instance.box.T_camera_box.rotation[:, 2] @ instance.box.T_camera_box.translation_m < 0, "z points away"


def test_support_plane_can_be_turned_off() -> None:
    scene = AnalyticScene([Box((0.1, 0.06, 0.05), upright(0, 0, 0.025))], look_at((0, 0, 0), 0.7, 60))
    lifted = lift(scene, use_support_plane=False)
    assert lifted.support_plane is None
    assert lifted.instances[0].status == Status.NO_SUPPORT_PLANE


def test_too_few_points_give_the_status_and_no_geometry() -> None:
    scene = AnalyticScene([Sphere(0.005, upright(0, 0, 0.005))], look_at((0, 0, 0), 1.0, 40))
    instance = lift(scene).instances[0]
    assert instance.status == Status.TOO_FEW_POINTS
    assert (instance.centroid_m, instance.surface_centroid_m, instance.covariance_m2, instance.box) == (None,) * 4
    assert instance.completion is Completion.NONE


def test_no_instances_give_an_empty_result() -> None:
    frame, _ = AnalyticScene([], look_at((0, 0, 0), 1.0, 40)).render()
    lifted = Lifter(LiftingSettings()).lift(frame, Instances.empty(480, 640, ("object",)))
    assert lifted.instances == ()


def test_masks_of_another_size_are_refused() -> None:
    frame, _ = AnalyticScene([], look_at((0, 0, 0), 1.0, 40)).render()
    with pytest.raises(ValueError, match="240, 320"):
        Lifter(LiftingSettings()).lift(frame, Instances.empty(240, 320, ("object",)))


def test_lifting_twice_gives_the_same() -> None:
    scene = AnalyticScene([Sphere(0.04, upright(0, 0, 0.04))], look_at((0, 0, 0), 0.7, 40))
    first, second = lift(scene).instances[0], lift(scene).instances[0]
    assert first.centroid_m is not None and second.centroid_m is not None
    assert first.centroid_m.tolist() == second.centroid_m.tolist()


SMALL = Intrinsics(48, 36, 45.0, 45.0, 23.5, 17.5)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), min_points=st.sampled_from([10, 200]))
def test_any_depth_and_any_masks_give_a_result_with_its_status(
    data: st.DataObject, any_scenes: st.SearchStrategy[tuple[RgbdFrame, Instances]], min_points: int
) -> None:
    check_any(*data.draw(any_scenes), min_points)


@pytest.mark.parametrize(
    ("depth", "mask"),
    [
        ("zero", (slice(5, 20), slice(5, 20))),
        ("flat", (slice(0, 36), slice(0, 48))),
        ("flat", (slice(0, 1), slice(0, 48))),
        ("flat", (slice(0, 36), slice(47, 48))),
        ("flat", (slice(9, 10), slice(9, 10))),
        ("ramp", (slice(0, 20), slice(30, 48))),
    ],
)
def test_degenerate_frames_and_masks_at_the_border_give_a_result_with_its_status(
    depth: str, mask: tuple[slice, slice]
) -> None:
    images = {
        "zero": np.zeros((36, 48)),
        "flat": np.full((36, 48), 0.5),
        "ramp": np.linspace(0.2, 5, 36 * 48).reshape(36, 48),
    }
    labels = np.zeros((36, 48), dtype=np.uint16)
    labels[mask] = 1
    check_any(RgbdFrame(None, images[depth].astype(np.float32), SMALL), Instances.from_labels(labels), 10)


@pytest.mark.parametrize("side_px", [50, 56])
@pytest.mark.parametrize("first", [0, 1])
def test_a_mask_like_a_chessboard_is_lifted(side_px: int, first: int) -> None:
    """As dithered masks are; the outline is one in two of its pixels."""
    place = np.s_[200 : 200 + side_px, 250 : 250 + side_px]
    depth_m, labels = np.full((480, 640), 0.8, dtype=np.float32), np.zeros((480, 640), dtype=np.uint16)
    depth_m[place] = 0.77
    labels[place] = np.indices((side_px, side_px)).sum(axis=0) % 2 == first
    check_any(RgbdFrame(None, depth_m, VGA), Instances.from_labels(labels), 50)


def check_any(frame: RgbdFrame, instances: Instances, min_points: int) -> None:
    lifted = Lifter(LiftingSettings(min_points=min_points)).lift(frame, instances)
    assert len(lifted.instances) == len(instances)
    for instance, mask in zip(lifted.instances, instances.masks, strict=True):
        assert len(instance.points_m) + instance.rejected == mask.sum()
        if len(instance.points_m) < min_points:
            assert instance.status == Status.TOO_FEW_POINTS
            assert instance.box is None and instance.centroid_m is None
        else:
            assert instance.status & ~(PARTLY_SEEN | Status.FLUSH | Status.FOOT_NOT_SEEN) in (
                Status.OK,
                Status.NO_SUPPORT_PLANE,
            )
            assert (instance.support.plane is None) == bool(instance.status & Status.NO_SUPPORT_PLANE)
            assert instance.box is not None and instance.centroid_m is not None
            assert np.isfinite(instance.centroid_m).all()


SHAPE_OF_ANOTHER = CompletedShape(
    Transform.identity(), np.ones(3), np.zeros((0, 3)), np.zeros((0, 3)), None, is_round=False
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points_m": np.zeros((4, 2), np.float32)}, r"points_m must be \(P, 3\) float32, not \(4, 2\)"),
        ({"points_m": np.zeros((4, 3))}, "float32, not .* float64"),
        ({"pixels": np.zeros(1, np.int64)}, r"pixels must be \(2000,\) int64"),
        ({"rejected": -1}, "rejected not negative"),
        ({"centroid_m": np.array([0, 0, np.nan])}, "centroid_m must be finite"),
        ({"covariance_m2": np.zeros(9)}, r"covariance_m2 must have shape \(3, 3\)"),
        ({"box": None}, "contradicts what is unknown: box"),
        ({"status": Status.TOO_FEW_POINTS}, "TOO_FEW_POINTS.* contradicts"),
        ({"shape": SHAPE_OF_ANOTHER}, "another frame or size than the box"),
    ],
)
def test_an_instance_that_contradicts_itself_is_refused(
    make_scene: Callable[..., Scene], change: dict[str, Any], message: str
) -> None:
    block = make_scene().lifted.instances[0]
    with pytest.raises(ValueError, match=message):
        replace(block, **change)


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (Box((0.03, 0.05, 0.04), upright(-0.16, 0, 0.02)), True),  # of the object, by its mask
        (Box((0.03, 0.05, 0.001), upright(-0.16, 0, 0.0005)), False),  # table under a generous mask
        (Box((0.03, 0.05, 0.04), upright(-0.6, 0, 0.02)), False),  # far behind it
    ],
    ids=["far end", "table", "far behind"],
)
def test_a_part_of_an_object_that_was_left_out_is_told(rest: Body, told: bool) -> None:
    """A piece of the mask that is small and no neighbour of the rest is rejected as what lies behind."""
    body = Box((0.1, 0.14, 0.1), upright(0, 0, 0.05))
    scene = AnalyticScene([body, rest], look_at((0, 0, 0.03), 0.8, 40))
    frame, labels = scene.render(NOISE_M)
    found = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(np.minimum(labels, 1))).instances[0]
    assert found.box is not None
    assert found.box.size_m[:2].max() < 0.15, "that piece was rejected"
    assert (Status.PARTLY_MEASURED in found.status) is told
