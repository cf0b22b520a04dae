"""What is hidden from view, and which bodies are completed as round."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane, Transform
from instance_seg_ros.lifting.completion import (
    _middle_of_round_profile,
    far_side_of_round_body,
    hidden_from_view,
    pixels_of,
)
from instance_seg_ros.lifting.sections import fit_resting_ellipse
from instance_seg_ros.lifting.solid import Body as SeenBody


@pytest.mark.parametrize(
    ("point_m", "hidden"),
    [
        ((0.0, 0.0, 0.5), False),  # in front of the wall at 1 m
        ((0.0, 0.0, 1.0), True),  # on it, within the tolerance
        ((0.0, 0.0, 1.5), True),
        ((0.5, 0.0, 0.6), True),  # where nothing was measured
        ((5.0, 0.0, 0.5), True),  # outside the image
        ((0.0, 0.0, -0.5), True),  # behind the camera
    ],
)
def test_hidden_is_what_the_camera_cannot_see(point_m: tuple[float, float, float], hidden: bool) -> None:
    depth_m = np.full((20, 40), 1.0, dtype=np.float32)
    depth_m[:, 30:] = 0
    frame = RgbdFrame(None, depth_m, Intrinsics(40, 20, 20.0, 20.0, 19.5, 9.5))
    assert hidden_from_view(np.array([point_m]), frame).tolist() == [hidden]


def lying(radius_m: float, yaw_deg: float, at_m: tuple[float, float] = (0.0, 0.0)) -> Transform:
    rotation = Rotation.from_euler("zx", [yaw_deg, 90], degrees=True).as_matrix()
    return Transform(rotation, np.array([*at_m, radius_m]))


@pytest.mark.parametrize(
    ("body", "round_"),
    [
        (Sphere(0.04, upright(0, 0, 0.04)), True),
        (Cylinder(0.03, 0.12, lying(0.03, 30)), True),
        (Cylinder(0.03, 0.12, lying(0.03, 80, (0.12, 0.1))), True),
        (Cylinder(0.03, 0.09, upright(0, 0, 0.045)), False),
        (Box((0.06, 0.06, 0.06), upright(0, 0, 0.03, 45)), False),
        (Box((0.2, 0.15, 0.05), upright(0, 0, 0.025, 20)), False),
    ],
    ids=["ball", "lying can", "lying can aside", "can", "cube on its corner", "slab"],
)
def test_only_round_bodies_are_completed_and_their_far_side_is_the_true_one(body: Body, round_: bool) -> None:
    scene = AnalyticScene([body], look_at((0, 0, 0.03), 0.7, 35))
    frame, labels = scene.render()
    points_m = frame.points_m[labels == 1][::4].astype(np.float64)
    T_camera_world = scene.T_camera_world
    up = T_camera_world.rotation[:, 2]
    plane = Plane(up, -float(up @ T_camera_world.translation_m))
    points_m = points_m[plane.height_m(points_m) > 0.008]
    long_axis = (T_camera_world @ body.T_world_body).rotation[:, 2 if isinstance(body, Cylinder) else 0]
    basis, origin_m = plane.basis(), -plane.offset_m * plane.normal
    local_m = (points_m - origin_m) @ basis
    seen = SeenBody(local_m, np.zeros_like(local_m), float(local_m[:, 2].max()), basis, origin_m)
    far_m = seen.in_camera(far_side_of_round_body(seen, frame, long_axis @ basis[:, :2]))
    assert bool(len(far_m)) is round_
    # Where the camera measures something behind the place of a turned point, that point is not there.
    sees_through = RgbdFrame(None, np.full_like(frame.depth_m, 5.0), frame.intrinsics)
    assert len(far_side_of_round_body(seen, sees_through, long_axis @ basis[:, :2])) == 0
    if round_:
        local = (body.T_world_body.inverse() @ scene.T_world_camera).apply(far_m)
        radius_m = body.radius_m  # type: ignore[union-attr]
        axes = slice(0, 3) if isinstance(body, Sphere) else slice(0, 2)
        from_surface_m = np.abs(np.linalg.norm(local[:, axes], axis=1) - radius_m)
        assert np.percentile(from_surface_m, 90) < 0.003


@pytest.mark.parametrize(
    ("column", "row", "pixel"),
    [
        (0.0, 0.0, (0, 0)),
        (-0.4, 0.0, (0, 0)),
        (-0.6, 0.0, None),
        (0.0, -0.6, None),
        (39.4, 19.4, (19, 39)),
        (39.6, 19.0, None),
        (39.0, 19.6, None),
        (12.6, 7.4, (7, 13)),
    ],
)
def test_points_fall_into_the_nearest_pixel_of_the_image(
    column: float, row: float, pixel: tuple[int, int] | None
) -> None:
    frame = RgbdFrame(None, np.ones((20, 40), np.float32), Intrinsics(40, 20, 25.0, 20.0, 19.5, 9.5))
    point_m = 0.5 * np.array([(column - 19.5) / 25.0, (row - 9.5) / 20.0, 1.0])
    rows, columns, inside = pixels_of(point_m[None], frame)
    assert inside.tolist() == [pixel is not None]
    assert pixel is None or (rows[0], columns[0]) == pixel


@pytest.mark.parametrize(("depth_m", "hidden"), [(0.993, False), (0.997, True), (1.003, True)])
def test_what_lies_within_5_mm_of_the_measurement_is_hidden_by_it(depth_m: float, hidden: bool) -> None:
    frame = RgbdFrame(None, np.ones((20, 40), np.float32), Intrinsics(40, 20, 20.0, 20.0, 19.5, 9.5))
    assert hidden_from_view(np.array([[0.0, 0.0, depth_m]]), frame).tolist() == [hidden]


def profile_m(
    a_m: float, b_m: float, centre_m: float, from_deg: float, to_deg: float, count: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """Places and heights of an ellipse that rests on height 0, over a range of angles from its far end over its top."""
    angles = np.radians(np.linspace(from_deg, to_deg, count))
    return centre_m + a_m * np.cos(angles), b_m + b_m * np.sin(angles)


@pytest.mark.parametrize("centre_m", [-0.3, 0.0, 1.2])
@pytest.mark.parametrize(
    ("a_m", "b_m", "from_deg", "to_deg"),
    [
        (0.04, 0.04, 60, 200),
        (0.06, 0.03, 70, 190),
        (0.03, 0.05, 60, 180),
        (0.07, 0.03, 40, 210),
        (0.02, 0.045, 60, 180),
    ],
)
def test_the_middle_of_a_resting_ellipse_is_known_from_its_near_side(
    a_m: float, b_m: float, from_deg: float, to_deg: float, centre_m: float
) -> None:
    found_m, departure_m = fit_resting_ellipse(*profile_m(a_m, b_m, centre_m, from_deg, to_deg))
    assert found_m == pytest.approx(centre_m, abs=0.001)
    assert departure_m < 0.0005


@pytest.mark.parametrize(
    ("along_m", "heights_m"),
    [
        profile_m(0.04, 0.04, 0.0, 60, 200, count=14),  # too few points
        profile_m(0.11, 0.04, 0.0, 60, 200),  # wider than 2.5 times as high
        profile_m(0.015, 0.04, 0.0, 60, 200),
        (np.zeros(40), np.linspace(0, 0.08, 40)),  # an upright wall
        (np.r_[np.zeros(30), np.linspace(0, 0.08, 30)], np.r_[np.linspace(0, 0.08, 30), np.full(30, 0.08)]),  # a box
        (np.linspace(0, 0.1, 40), np.full(40, -0.01)),  # below the plane
        (np.full(40, 0.3), np.full(40, 0.05)),  # all at one place
    ],
    ids=["few", "wide", "narrow", "wall", "box", "below", "one place"],
)
def test_what_is_no_resting_ellipse_has_no_middle(along_m: np.ndarray, heights_m: np.ndarray) -> None:
    assert fit_resting_ellipse(along_m, heights_m)[1] == np.inf


def test_an_ellipse_departs_by_the_distance_of_its_points() -> None:
    along_m, heights_m = profile_m(0.04, 0.04, 0.0, 40, 220, count=200)
    away = np.where(np.arange(200) % 2, 0.0015, -0.0015)
    out_m = away / 0.04
    noisy = along_m * (1 + out_m), 0.04 + (heights_m - 0.04) * (1 + out_m)
    assert 0.001 < fit_resting_ellipse(*noisy)[1] < 0.0035  # the noise of the top counts twice


@pytest.mark.parametrize("turn_deg", [0, 35, 120])
def test_a_profile_is_taken_from_the_middle_of_a_body_and_its_sides_are_left_out(turn_deg: float) -> None:
    """A long lying can whose ends are blocks: only the slice in the middle is an ellipse."""
    along_m, heights_m = profile_m(0.03, 0.03, 0.5, 60, 200, count=80)
    middle = np.column_stack([np.repeat(along_m, 5), np.tile(np.linspace(-0.01, 0.01, 5), 80)])
    ends = np.array([[0.44, -0.1], [0.44, 0.1], [0.5, -0.1], [0.5, 0.1]]).repeat(40, axis=0)
    flat_m = np.concatenate([middle, ends])
    all_heights_m = np.concatenate([np.repeat(heights_m, 5), np.tile([0.0, 0.05], 80)])
    turn = np.radians(turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    departure_m, middle_m = _middle_of_round_profile(
        np.column_stack([flat_m @ rotation.T, all_heights_m]), 3 * rotation[:, 0]
    )
    assert departure_m < 0.001
    np.testing.assert_allclose(middle_m, rotation @ [0.5, 0], atol=0.001)
