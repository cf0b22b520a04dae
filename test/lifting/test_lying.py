"""How far down bodies reach that lie or lean, in closed-form scenes seen from above."""

from __future__ import annotations

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting.clean_points import clean_points
from instance_seg_ros.lifting.lying import lowest_of_lying


def tilted(z_m: float, tilt_deg: float, yaw_deg: float = 30) -> Transform:
    """A pose at a height, its z axis that far from the vertical."""
    tilt, yaw = np.radians([tilt_deg, yaw_deg])
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    return Transform(about_z @ about_y, np.array([0, 0, z_m]))


def lowest_m(*bodies: Body, noise_m: float = 0.0015) -> float | None:
    """Of the first body, above the table, seen from 65 degrees and 0.8 m."""
    scene = AnalyticScene(bodies, look_at((0, 0, 0.1), 0.8, 65))
    frame, labels = scene.render(noise_m)
    instances = Instances.from_labels(labels)
    surface = clean_points(frame, instances.masks[0], instances.bounds[0], LiftingSettings())
    up, camera_m = scene.T_world_camera.rotation[2], scene.T_world_camera.translation_m[2]
    found_m = lowest_of_lying(surface.outline_m, surface.normals, up, 0.001, frame, instances.masks[0])
    return None if found_m is None else found_m + camera_m


@pytest.mark.parametrize("tilt_deg", [40, 60, 90])
def test_a_can_that_lies_or_leans_reaches_down_to_its_lowest_rim(tilt_deg: float) -> None:
    tilt = np.radians(tilt_deg)
    expected_m = 0.12 - 0.06 * np.cos(tilt) - 0.03 * np.sin(tilt)
    assert lowest_m(Cylinder(0.03, 0.12, tilted(0.12, tilt_deg))) == pytest.approx(expected_m, abs=0.005)


@pytest.mark.parametrize("tilt_deg", [20, 45, 70])
def test_a_box_that_leans_reaches_down_to_its_lowest_corner(tilt_deg: float) -> None:
    tilt = np.radians(tilt_deg)
    expected_m = 0.12 - (0.1 * np.sin(tilt) + 0.06 * np.cos(tilt)) / 2
    assert lowest_m(Box((0.1, 0.08, 0.06), tilted(0.12, tilt_deg))) == pytest.approx(expected_m, abs=0.005)


@pytest.mark.parametrize(
    "body",
    [
        Box((0.1, 0.08, 0.06), upright(0, 0, 0.1, 30)),
        Cylinder(0.03, 0.12, upright(0, 0, 0.1)),
        Sphere(0.05, upright(0, 0, 0.1)),
    ],
    ids=["box", "can", "ball"],
)
def test_what_stands_upright_hides_how_far_down_it_reaches(body: Body) -> None:
    assert lowest_m(body) is None


def test_a_lower_end_that_something_hides_is_not_taken_for_the_end() -> None:
    """The lower end points towards the camera, where a screen stands."""
    body, screen = Cylinder(0.03, 0.16, tilted(0.1, 50, 180)), Box((0.012, 0.3, 0.3), upright(0.09, 0, 0.15))
    assert lowest_m(body) == pytest.approx(0.0256, abs=0.005)
    assert lowest_m(body, screen) is None


def dish(depth_m: float, tilt_deg: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Points and normals of the inside of a paraboloid of 8 cm radius 0.7 m below a camera that looks down, and the
    height of its lowest point above the camera."""
    angles, radii_m = np.meshgrid(np.linspace(0, 2 * np.pi, 40, endpoint=False), np.linspace(0.004, 0.08, 12))
    x, y, curve = (radii_m * np.cos(angles)).ravel(), (radii_m * np.sin(angles)).ravel(), depth_m / 0.08**2
    points_m = np.stack([x, y, curve * (x * x + y * y)], axis=1)
    normals = np.stack([-2 * curve * x, -2 * curve * y, np.ones(x.shape)], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    rotation = np.diag([1.0, -1.0, -1.0]) @ tilted(0, tilt_deg).rotation
    points_m = points_m @ rotation.T + np.array([0, 0, 0.7])
    return points_m, normals @ rotation.T, float((-points_m[:, 2]).min())


@pytest.mark.parametrize(
    ("depth_m", "tilt_deg", "told"), [(0.02, 0, True), (0.02, 30, True), (0.002, 10, False), (-0.02, 10, False)]
)
def test_of_a_dish_that_is_seen_from_inside_the_lowest_is_seen(depth_m: float, tilt_deg: float, told: bool) -> None:
    """Of what is flat, or bends the other way, it is not."""
    points_m, normals, seen_m = dish(depth_m, tilt_deg)
    camera = Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)
    frame, mask = RgbdFrame(None, np.full((48, 64), 0.7, np.float32), camera), np.ones((48, 64), dtype=bool)
    found_m = lowest_of_lying(points_m, normals, np.array([0.0, 0, -1]), 0.001, frame, mask)
    assert found_m == (pytest.approx(seen_m - 0.004, abs=0.002) if told else None)


def test_points_without_normals_tell_nothing() -> None:
    points_m, normals, _ = dish(0.02, 0)
    frame = RgbdFrame(None, np.full((48, 64), 0.7, np.float32), Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5))
    mask = np.ones((48, 64), dtype=bool)
    assert lowest_of_lying(points_m, 0 * normals, np.array([0.0, 0, -1]), 0.001, frame, mask) is None
