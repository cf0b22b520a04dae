"""The closed-form renderer against distances worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform

CAMERA = Intrinsics(41, 31, 40.0, 40.0, 20.0, 15.0)  # the principal point is a pixel
DOWN = look_at((0, 0, 0), 1.0, 90)


@pytest.mark.parametrize(
    ("body", "depth_m"),
    [
        (Box((0.2, 0.2, 0.3), upright(0, 0, 0.15, 30)), 0.7),
        (Sphere(0.1, upright(0, 0, 0.1)), 0.8),
        (Cylinder(0.1, 0.25, upright(0, 0, 0.125)), 0.75),
        (Box((0.2, 0.2, 0.3), upright(1, 0, 0.15)), 1.0),  # beside the pixel: the floor
    ],
)
def test_depth_from_straight_above_is_that_of_the_top(body: Body, depth_m: float) -> None:
    frame, labels = AnalyticScene([body], DOWN, intrinsics=CAMERA).render()
    assert frame.depth_m[15, 20] == pytest.approx(depth_m, abs=1e-6)
    assert labels[15, 20] == (depth_m < 1)


@pytest.mark.parametrize(
    ("body", "depth_m"),
    [
        (Sphere(0.1, upright(0, 0, 0)), 0.9),
        (Cylinder(0.1, 0.4, upright(0, 0, 0)), 0.9),
        (Box((0.1, 0.2, 0.2), upright(0, 0, 0)), 0.95),
    ],
)
def test_depth_from_the_side_is_that_of_the_flank(body: Body, depth_m: float) -> None:
    scene = AnalyticScene([body], look_at((0, 0, 0), 1.0, 0), table_size_m=(1e-6, 1e-6), intrinsics=CAMERA)
    frame, labels = scene.render()
    assert frame.depth_m[15, 20] == pytest.approx(depth_m, abs=1e-6)
    assert frame.depth_m[0, 0] == 0 and labels[0, 0] == 0, "nothing there, nothing measured"


def test_points_of_the_frame_lie_on_the_bodies_in_the_world() -> None:
    scene = AnalyticScene([Sphere(0.1, upright(0.05, -0.05, 0.1))], look_at((0, 0, 0), 0.8, 35, 60), intrinsics=CAMERA)
    frame, labels = scene.render()
    points_m = scene.T_world_camera.apply(frame.points_m)
    np.testing.assert_allclose(np.linalg.norm(points_m[labels == 1] - [0.05, -0.05, 0.1], axis=1), 0.1, atol=1e-6)
    np.testing.assert_allclose(points_m[(labels == 0) & (frame.depth_m > 0)][:, 2], 0, atol=1e-5)


def test_look_at_has_the_target_in_the_middle_and_up_is_up() -> None:
    pose = look_at((0.1, 0.2, 0.3), 2.0, 30, 75)
    np.testing.assert_allclose(pose.inverse().apply(np.array([0.1, 0.2, 0.3])), [0, 0, 2], atol=1e-12)
    assert pose.rotation[2, 1] < 0, "the image's y points down"
    assert abs(pose.rotation[2, 0]) < 1e-12, "the camera does not roll"


def test_noise_is_drawn_from_the_seed_and_a_finite_table_ends() -> None:
    scene = AnalyticScene([], DOWN, table_size_m=(0.3, 0.3), floor_z_m=-0.5, intrinsics=CAMERA)
    clean, _ = scene.render()
    assert clean.depth_m[15, 20] == pytest.approx(1.0) and clean.depth_m[0, 0] == pytest.approx(1.5)
    first, second = scene.render(0.01, 3)[0].depth_m, scene.render(0.01, 3)[0].depth_m
    assert (first == second).all()
    assert np.std(first - clean.depth_m) == pytest.approx(0.01, rel=0.1)


def test_poses_turn_bodies() -> None:
    box = Box((0.4, 0.02, 0.1), upright(0, 0, 0.05, 90))
    _, labels = AnalyticScene([box], DOWN, intrinsics=CAMERA).render()
    rows, columns = np.nonzero(labels)
    spread = sorted([int(np.ptp(rows)), int(np.ptp(columns))])
    assert spread[1] > 10 * max(spread[0], 1)
    assert isinstance(box.T_world_body, Transform)
