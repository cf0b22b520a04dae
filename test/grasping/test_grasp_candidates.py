"""Contact pairs against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.config import LiftingSettings
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.grasping.candidates import (
    ContactPairs,
    ContactSurface,
    Target,
    antipodal_pairs,
    box_pairs,
    candidates_from_pairs,
    contact_surface,
)
from instance_seg_ros.learning.synthetic.analytic import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.lifting import Lifter

SAMPLES = 200
UP = np.array([0.0, 0.0, 1.0])


def two_points(
    first_normal: list[float], second_normal: list[float], distance_m: float = 0.05, measured: bool = True
) -> ContactSurface:
    """A surface that was measured, or completed, at two points on x alone."""
    points_m, normals = np.zeros((2 * SAMPLES, 3)), np.zeros((2 * SAMPLES, 3))
    valid = np.zeros(2 * SAMPLES, dtype=bool)
    first = 0 if measured else SAMPLES
    points_m[first + 1, 0] = distance_m
    normals[first : first + 2] = [first_normal, second_normal]
    normals[first : first + 2] /= np.linalg.norm(normals[first : first + 2], axis=1, keepdims=True)
    valid[first : first + 2] = True
    return ContactSurface(points_m, normals, valid)


def pairs_of(surface: ContactSurface, friction: float) -> ContactPairs:
    return antipodal_pairs(surface, friction, 0.08)


def slanted(degrees: float, sign: float) -> list[float]:
    return [sign * float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees))), 0.0]


@pytest.mark.parametrize(
    ("first_normal", "second_normal", "friction", "feasible"),
    [
        ([-1, 0, 0], [1, 0, 0], 0.1, True),  # a plate, gripped from both sides
        ([1, 0, 0], [-1, 0, 0], 2.0, False),  # two walls that look at each other: nothing is between the fingers
        ([1, 0, 0], [1, 0, 0], 2.0, False),  # both faces look the same way
        (slanted(20, -1), [1, 0, 0], 0.5, True),  # within the friction cone: atan 0.5 = 26.6 degrees
        (slanted(30, -1), [1, 0, 0], 0.5, False),  # outside
        (slanted(30, -1), slanted(30, 1), 0.6, True),  # atan 0.6 = 31 degrees
        ([0, 0, 1], [0, 0, 1], 2.0, False),  # a table top
    ],
)
def test_two_contacts_close_by_friction(
    first_normal: list[float], second_normal: list[float], friction: float, feasible: bool
) -> None:
    assert len(pairs_of(two_points(first_normal, second_normal), friction)) == int(feasible)


def test_antipodality_is_the_cosine_of_the_worse_contact() -> None:
    pairs = pairs_of(two_points(slanted(20, -1), slanted(10, 1)), 0.5)
    assert pairs.antipodality == pytest.approx([np.cos(np.radians(20))], abs=1e-9)
    assert pairs.width_m == pytest.approx([0.05])
    assert pairs.measured.tolist() == [2]


@pytest.mark.parametrize(("distance_m", "feasible"), [(0.079, True), (0.081, False), (0.001, False)])
def test_pairs_fit_into_the_opening(distance_m: float, feasible: bool) -> None:
    surface = two_points([-1, 0, 0], [1, 0, 0], distance_m)
    assert len(pairs_of(surface, 0.5)) == int(feasible)


def test_of_a_pair_at_least_one_contact_is_measured() -> None:
    assert not len(pairs_of(two_points([-1, 0, 0], [1, 0, 0], measured=False), 0.5))


def test_no_surface_gives_no_pair() -> None:
    surface = two_points([-1, 0, 0], [1, 0, 0])
    nothing = ContactSurface(surface.points_m, surface.normals, np.zeros_like(surface.valid))
    assert not len(pairs_of(nothing, 0.5))


def test_a_pair_more_or_less_exchanges_no_other_that_is_drawn() -> None:
    """Of many feasible pairs a sample is drawn; a rounding that decides for one of them must not change the others."""
    along_m = np.linspace(0, 0.05, SAMPLES // 2)
    points_m, normals = np.zeros((2 * SAMPLES, 3)), np.zeros((2 * SAMPLES, 3))
    for side, half in ((-1, slice(0, SAMPLES // 2)), (1, slice(SAMPLES // 2, SAMPLES))):
        points_m[half, 0], points_m[half, 1], normals[half, 0] = 0.02 * side, along_m, side
    valid = np.arange(2 * SAMPLES) < SAMPLES
    drawn = pairs_of(ContactSurface(points_m, normals, valid), 0.2)
    assert len(drawn) == 100
    assert len(np.unique(np.round(drawn.first_m[:, 1], 4))) > 2 and np.ptp(drawn.first_m[:, 1]) > 0.04
    fewer = valid.copy()
    fewer[SAMPLES // 3] = False
    again = pairs_of(ContactSurface(points_m, normals, fewer), 0.2)
    both = np.concatenate([drawn.first_m, again.first_m]), np.concatenate([drawn.second_m, again.second_m])
    different = len(np.unique(np.concatenate(both, axis=1), axis=0)) - len(drawn)
    lost = np.count_nonzero((drawn.first_m == points_m[SAMPLES // 3]).all(axis=1))
    assert different == lost < 10


@pytest.mark.parametrize(
    ("size_m", "closing_sides"),
    [
        ((0.12, 0.06, 0.05), {0.06}),  # across the minor side only, the other is too wide
        ((0.07, 0.06, 0.05), {0.06, 0.07}),
        ((0.12, 0.10, 0.05), set()),
    ],
)
def test_box_pairs_close_across_the_sides_that_fit(
    size_m: tuple[float, float, float], closing_sides: set[float]
) -> None:
    pairs = box_pairs(upright_target(size_m), 0.004, 0.045, 0.08)
    assert set(np.round(pairs.width_m, 6)) == closing_sides
    heights_m = np.concatenate([pairs.first_m[:, 2], pairs.second_m[:, 2]])
    assert (heights_m >= -0.025 + 0.004 - 1e-9).all() and (heights_m < 0.025).all()


def upright_target(size_m: tuple[float, float, float]) -> Target:
    """A box in the camera's own axes, completed down to its support."""
    return Target(1, np.eye(3), np.zeros(3), np.array(size_m), UP, True)


def test_candidates_are_right_handed_and_come_from_above_across_the_closing_axis() -> None:
    pairs = ContactPairs(
        np.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        np.array([[0.05, 0, 0], [0, 0.03, 0.02], [0, 0, 0.05]]),  # level, slanted, upright
        np.ones(3),
        np.full(3, 2),
    )
    candidates = candidates_from_pairs(pairs, UP)
    assert len(candidates) == 2 * 7 and not (candidates.pairs.second_m[:, 2] == 0.05).any(), (
        "closing along the vertical leaves no way in from above"
    )
    rotations = candidates.rotations
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-9)
    closing = (candidates.pairs.second_m - candidates.pairs.first_m) / candidates.pairs.width_m[:, None]
    np.testing.assert_allclose(rotations[:, :, 0], closing, atol=1e-9)
    assert (rotations[:, 2, 2] < 0).all()
    assert rotations[0][:, 2] == pytest.approx([0, 0, -1])


@pytest.mark.parametrize(
    "body",
    [
        Box((0.10, 0.06, 0.05), upright(0, 0, 0.025, 30)),
        Cylinder(0.03, 0.09, upright(0, 0, 0.045)),
        Sphere(0.035, upright(0, 0, 0.035)),
    ],
    ids=["box", "can", "ball"],
)
def test_measured_and_completed_contacts_lie_on_the_true_surface_with_outward_normals(body: Body) -> None:
    scene = AnalyticScene([body], look_at((0, 0, 0.03), 0.7, 40))
    frame, labels = scene.render(0.001)
    lifted = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels))
    labels = np.zeros(frame.depth_m.shape, dtype=np.int16)
    labels.reshape(-1)[lifted.instances[0].pixels] = 1
    target = Target.of_instance(1, lifted.instances[0])
    surface = contact_surface(frame, labels, target, lifted.instances[0])
    assert len(surface.completed_m) > 30
    to_body = body.T_world_body.inverse() @ scene.T_world_camera
    points_m, normals = (
        to_body.apply(surface.points_m[surface.valid]),
        surface.normals[surface.valid] @ to_body.rotation.T,
    )
    distance_m, outward = true_surface(body, points_m)
    assert np.percentile(np.abs(distance_m), 90) < 0.004
    # A window across an edge of the box sees a mean of two faces: most normals are right, not all.
    assert np.percentile((outward * normals).sum(axis=1), 30) > np.cos(np.radians(15))


def true_surface(body: Body, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the nearest face and that face's outward normal, near the surface, in the body's frame."""
    if isinstance(body, Sphere):
        length = np.linalg.norm(points_m, axis=1)
        return length - body.radius_m, points_m / length[:, None]
    if isinstance(body, Cylinder):
        radial = np.linalg.norm(points_m[:, :2], axis=1)
        side, cap = radial - body.radius_m, np.abs(points_m[:, 2]) - body.length_m / 2
        on_side = side > cap
        normal = np.zeros_like(points_m)
        normal[on_side, :2] = points_m[on_side, :2] / radial[on_side, None]
        normal[~on_side, 2] = np.sign(points_m[~on_side, 2])
        return np.where(on_side, side, cap), normal
    excess = np.abs(points_m) - np.array(body.size_m) / 2
    axis = excess.argmax(axis=1)
    normal = np.eye(3)[axis] * np.sign(points_m[np.arange(len(points_m)), axis])[:, None]
    return excess.max(axis=1), normal
