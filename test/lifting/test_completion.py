"""What is hidden from view, and which bodies are completed as round."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane, Transform
from instance_seg_ros.learning.synthetic.analytic import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.lifting.completion import far_side_of_round_body, hidden_from_view, pixels_of


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
    far_m = far_side_of_round_body(points_m, plane, frame, long_axis)
    assert bool(len(far_m)) is round_
    # Where the camera measures something behind the place of a turned point, that point is not there.
    sees_through = RgbdFrame(None, np.full_like(frame.depth_m, 5.0), frame.intrinsics)
    assert len(far_side_of_round_body(points_m, plane, sees_through, long_axis)) == 0
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
