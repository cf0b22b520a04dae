"""The body, contact pairs and poses against closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.grasping import object_body as bodies
from instance_seg_ros.grasping.candidates import ContactPairs, antipodal_pairs, contact_pairs, poses_from_pairs
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.lifting.shape import EXTRUDED, MEASURED, TURNED, outline_walls

UP = np.array([0.0, 0.0, 1.0])


def pairs_of(
    first_normal: list[float], second_normal: list[float], friction: float, distance_m: float = 0.05
) -> ContactPairs:
    """The pairs of a surface that was measured at two points on x alone."""
    normals = np.array([first_normal, second_normal], dtype=float)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points_m = np.array([[0.0, 0, 0], [distance_m, 0, 0]])
    return antipodal_pairs(points_m, normals, np.array([MEASURED, TURNED]), friction, 0.08)


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
    assert len(pairs_of(first_normal, second_normal, friction)) == int(feasible)


def test_antipodality_is_the_cosine_of_the_worse_contact() -> None:
    pairs = pairs_of(slanted(20, -1), slanted(10, 1), 0.5)
    assert pairs.antipodality == pytest.approx([np.cos(np.radians(20))], abs=1e-6)
    assert pairs.width_m == pytest.approx([0.05])
    assert pairs.assumed.tolist() == [1]


def body_of(solid: Body, elevation_deg: float = 40) -> tuple[bodies.Body, AnalyticScene]:
    """The body that is made of a lone solid on the table, and the scene."""
    return body_of_all([solid], elevation_deg)


def body_of_all(solids: Sequence[Body], elevation_deg: float = 40) -> tuple[bodies.Body, AnalyticScene]:
    """The same of several solids that are one object."""
    scene = AnalyticScene(solids, look_at((0, 0, 0.03), 0.7, elevation_deg))
    frame, labels = scene.render(0.001)
    labels = np.minimum(labels, 1)
    instance = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances[0]
    body = bodies.Body.of_instance(1, instance, frame, labels == 1, (0, 0, 640, 480))
    assert body is not None
    return body, scene


BOX = Box((0.10, 0.06, 0.05), upright(0, 0, 0.025, 30))
CAN = Cylinder(0.03, 0.09, upright(0, 0, 0.045))
BALL = Sphere(0.035, upright(0, 0, 0.035))


@pytest.mark.parametrize("solid", [BOX, CAN, BALL], ids=["box", "can", "ball"])
def test_measured_and_completed_points_lie_on_the_true_surface_with_outward_normals(solid: Body) -> None:
    body, scene = body_of(solid)
    to_solid = solid.T_world_body.inverse() @ scene.T_world_camera @ body.T_camera_body
    surface = body.origin != EXTRUDED
    assert np.count_nonzero(body.origin == TURNED) > 30
    distance_m, outward = true_surface(solid, to_solid.apply(body.points_m[surface]))
    assert np.percentile(np.abs(distance_m), 90) < 0.004
    # A window across an edge of the box sees a mean of two faces: most normals are right, not all.
    cosines = (outward * (body.normals[surface] @ to_solid.rotation.T)).sum(axis=1)
    assert np.percentile(cosines, 30) > np.cos(np.radians(15))


@pytest.mark.parametrize(
    ("wider_m", "away_m", "beyond"),
    [
        (0.0, 0.0, False),
        (0.012, 0.0, False),  # by 6 mm on either side
        (0.012, 0.012, True),  # by 18 mm behind it, and less than its box in front
        (0.04, 0.0, True),
        (0.04, -0.02, False),  # by 40 mm in front, where it is seen that nothing is
    ],
)
def test_where_a_body_may_reach_to_is_well_beyond_its_box_behind_it(
    wider_m: float, away_m: float, beyond: bool
) -> None:
    frame, labels = AnalyticScene([BOX], look_at((0, 0, 0.03), 0.7, 40)).render(0.001)
    instance = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances[0]
    assert instance.box is not None
    pose, size_m = instance.box.T_camera_box, instance.box.size_m.copy()
    along = pose.translation_m @ pose.rotation[:, :2]
    axis = int(np.abs(along).argmax())
    size_m[axis] += wider_m
    away = np.sign(along[axis]) * pose.rotation[:, axis]
    outer = OrientedBox(pose.moved_to(pose.translation_m + away_m * away), size_m)
    body = bodies.Body.of_instance(1, replace(instance, outer_box=outer), frame, labels == 1, (0, 0, 640, 480))
    assert body is not None
    beyond_m = pose.inverse().apply(body.T_camera_body.apply(body.doubtful_m))[:, axis] * np.sign(along[axis])
    assert bool(len(beyond_m)) is beyond
    assert (beyond_m > instance.box.size_m[axis] / 2 + 0.015).all()


@pytest.mark.parametrize("solid", [BOX, CAN, BALL], ids=["box", "can", "ball"])
def test_the_middle_of_a_body_is_that_of_what_completes_it(solid: Body) -> None:
    body, scene = body_of(solid)
    centre_m = (scene.T_world_camera @ body.T_camera_body).apply(body.centre_m)
    assert np.linalg.norm(centre_m[:2]) < 0.0025


def test_a_half_turn_leaves_out_what_the_camera_looks_through() -> None:
    """A can with a handle on its left, whose turned points would be where the table is seen on its right."""
    body, scene = body_of_all([CAN, Box((0.006, 0.03, 0.025), upright(0, 0.043, 0.045))])
    places_m = (scene.T_world_camera @ body.T_camera_body).apply(body.points_m)
    assert places_m[body.origin == MEASURED, 1].max() > 0.05
    assert places_m[body.origin == TURNED, 1].min() > -0.034
    assert np.count_nonzero(body.origin == TURNED) > 30


def test_a_lying_bottle_has_its_hidden_side_as_the_mirror_of_the_near_one() -> None:
    """No half turn leaves it as it is, and the camera does not see how far it goes on behind its ridge."""
    along_y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    belly, neck = (
        Cylinder(radius_m, length_m, Transform(along_y, np.array([0, y_m, 0.03])))
        for radius_m, length_m, y_m in ((0.03, 0.07, 0.0), (0.012, 0.04, 0.055))
    )
    body, scene = body_of_all([belly, neck])
    places_m = (scene.T_world_camera @ body.T_camera_body).apply(body.points_m)
    away = -np.sign(scene.T_world_camera.translation_m[0])
    assert (away * places_m[body.origin == MEASURED, 0]).max() < 0.025
    mirrored_m = places_m[body.origin == TURNED]
    beside_neck = mirrored_m[:, 1] < 0.03
    assert (away * mirrored_m[beside_neck, 0]).max() == pytest.approx(0.03, abs=0.004)
    from_axis_m = np.hypot(mirrored_m[:, 0], mirrored_m[:, 2] - 0.03)[beside_neck]
    assert np.percentile(np.abs(from_axis_m - 0.03), 80) < 0.004


@pytest.mark.parametrize(("height_m", "elevation_deg"), [(0.005, 40), (0.007, 60), (0.008, 75), (0.008, 88)])
def test_a_thin_angle_has_no_mirror_that_its_height_is_too_low_to_refute(height_m: float, elevation_deg: float) -> None:
    arms = [
        Box((length_m, 0.03, height_m), upright(x_m, y_m, height_m / 2, yaw_deg))
        for length_m, x_m, y_m, yaw_deg in ((0.12, 0, 0, 0), (0.08, 0.045, 0.055, 90))
    ]
    body, _ = body_of_all(arms, elevation_deg)
    assert not (body.origin == TURNED).any()
    np.testing.assert_allclose(body.size_m[:2], [0.12, 0.11], atol=0.004)


def test_a_ring_has_pairs_across_its_rim() -> None:
    angles, radii = np.meshgrid(np.radians(np.arange(0, 360, 2)), np.linspace(0.035, 0.055, 20))
    top_m = np.column_stack(
        [(radii * np.cos(angles)).ravel(), (radii * np.sin(angles)).ravel(), np.full(angles.size, 0.02)]
    )
    walls_m, normals = outline_walls(top_m, 0.02)
    pairs = antipodal_pairs(walls_m, normals, np.full(len(walls_m), EXTRUDED), 0.5, 0.08)
    assert len(pairs) and np.median(pairs.width_m) == pytest.approx(0.02, abs=0.004)


def test_a_thin_plate_has_walls_all_around_and_pairs_across_them() -> None:
    body, _ = body_of(Box((0.1, 0.04, 0.01), upright(0, 0, 0.005, 20)))
    walls = body.origin == EXTRUDED
    assert walls.sum() > 100
    heights_m = np.unique(body.points_m[walls, 2].round(4))
    assert len(heights_m) >= 5 and heights_m.max() > 0.007
    # What was measured of its low sides is mixed with its top and gives way.
    assert (np.abs(body.normals[~walls, 2]) > 0.7).mean() > 0.9
    pairs = contact_pairs(body, 0.5, 0.08)
    assert len(pairs) >= 5 and np.median(pairs.width_m) == pytest.approx(0.04, abs=0.004)


def test_pairs_of_a_box_close_across_the_side_that_fits() -> None:
    body, _ = body_of(Box((0.12, 0.06, 0.05), upright(0, 0, 0.025, 30)))
    pairs = contact_pairs(body, 0.5, 0.08)
    assert len(pairs) >= 5
    across = np.abs(pairs.second_m - pairs.first_m) / pairs.width_m[:, None]
    assert np.median(pairs.width_m) == pytest.approx(0.06, abs=0.004) and np.median(across[:, 1]) > 0.97


def test_poses_are_right_handed_and_come_from_above_across_the_closing_axis() -> None:
    first_m = np.zeros((2, 3))
    second_m = np.array([[0.05, 0, 0], [0, 0.03, 0.02]])  # level and slanted
    poses, widths_m = poses_from_pairs(ContactPairs(first_m, second_m, np.ones(2), np.zeros(2, np.int64)), UP, 0.08)
    assert len(poses) == 2 * 5 == len(widths_m)
    np.testing.assert_allclose(np.linalg.det(poses.rotations), 1, atol=1e-9)
    closing = np.tile(second_m / np.linalg.norm(second_m, axis=1, keepdims=True), (5, 1))
    np.testing.assert_allclose(poses.rotations[:, :, 0], closing, atol=1e-9)
    np.testing.assert_allclose(poses.origins_m, np.tile(second_m / 2, (5, 1)), atol=1e-12)
    assert (poses.rotations[:, 2, 2] < 0).all() and (poses.openings_m == 0.08).all()
    assert poses.rotations[0][:, 2] == pytest.approx([0, 0, -1])


def test_an_instance_without_a_box_has_no_body() -> None:
    scene = AnalyticScene([BOX], look_at((0, 0, 0.03), 0.7, 40))
    frame, labels = scene.render(0.001)
    lifted = Lifter(LiftingSettings(min_points=100_000)).lift(frame, Instances.from_labels(labels))
    with pytest.raises(ValueError, match="without a box"):
        bodies.Body.of_instance(1, lifted.instances[0], frame, labels == 1, (0, 0, 640, 480))


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


@pytest.mark.parametrize(("distance_m", "feasible"), [(0.0025, False), (0.0035, True), (0.0798, True), (0.0802, False)])
def test_pairs_are_at_least_3_mm_and_at_most_the_opening_apart(distance_m: float, feasible: bool) -> None:
    assert len(pairs_of([-1, 0, 0], [1, 0, 0], 0.5, distance_m)) == int(feasible)


@pytest.mark.parametrize(
    ("origin", "assumed"),
    [((MEASURED, MEASURED), 0), ((TURNED, MEASURED), 1), ((MEASURED, EXTRUDED), 1), ((EXTRUDED, TURNED), 2)],
)
def test_assumed_counts_the_contacts_that_were_completed(origin: tuple[int, int], assumed: int) -> None:
    pairs = antipodal_pairs(
        np.array([[0.0, 0, 0], [0.05, 0, 0]]), np.array([[-1.0, 0, 0], [1.0, 0, 0]]), np.array(origin), 0.5, 0.08
    )
    assert pairs.assumed.tolist() == [assumed]
    assert (pairs.first_m.tolist(), pairs.second_m.tolist()) == ([[0.0, 0, 0]], [[0.05, 0, 0]])
    assert pairs.middle_m.tolist() == [[0.025, 0, 0]]


def test_of_too_many_pairs_1500_are_taken_evenly_from_first_to_last() -> None:
    y_m = np.linspace(-0.01, 0.01, 60)
    points_m = np.array([[x, y, 0.0] for x in (0.0, 0.05) for y in y_m])
    normals = np.repeat([[-1.0, 0, 0], [1.0, 0, 0]], 60, axis=0)
    pairs = antipodal_pairs(points_m, normals, np.zeros(120, np.int64), 0.5, 0.08)  # 60 times 60 would do
    assert len(pairs) == 1500
    assert (pairs.first_m[[0, -1], 1], pairs.second_m[[0, -1], 1]) == (
        pytest.approx([-0.01, 0.01]),
        pytest.approx([-0.01, 0.01]),
    )
    assert np.bincount(np.searchsorted(y_m, pairs.first_m[:, 1]), minlength=60).min() >= 24


Pair = tuple[list[float], list[float], list[float], list[float], int]
"""Two points, their normals and the origin of the first."""


def body_of_pairs(*pairs: Pair) -> bodies.Body:
    """A body about the origin, 6 cm wide, of pairs whose second points were measured."""
    points_m, normals = (np.array([row[k] for row in pairs for k in which]) for which in ((0, 1), (2, 3)))
    origin = np.array([value for row in pairs for value in (row[4], MEASURED)])
    size_m = np.full(3, 0.06)
    return bodies.Body(1, Transform.identity(), points_m, normals, origin, np.zeros(3), size_m, True)


def level(y_m: float, width_m: float = 0.04, lean_deg: float = 0.0, origin: int = MEASURED) -> Pair:
    half_m = width_m / 2
    return [-half_m, y_m, 0.03], [half_m, y_m, 0.03], slanted(lean_deg, -1), [1.0, 0.0, 0.0], origin


@pytest.mark.parametrize(
    ("less", "more"),
    [
        pytest.param(level(-0.03, lean_deg=15), level(0.03), id="faces at right angles to the closing axis"),
        pytest.param(level(-0.03, width_m=0.075), level(0.03, width_m=0.06), id="well within the opening"),
        pytest.param(level(-0.03, origin=TURNED), level(0.03), id="measured"),
        pytest.param(level(-0.03), level(0.01), id="near the middle"),
    ],
)
def test_the_more_promising_pairs_come_first(less: Pair, more: Pair) -> None:
    for order in ((less, more), (more, less)):
        pairs = contact_pairs(body_of_pairs(*order), 0.5, 0.08)
        assert pairs.first_m[:, 1].tolist() == [more[0][1], less[0][1]]


@pytest.mark.parametrize(("degrees", "kept"), [(0, 1), (44, 1), (45, 0), (90, 0)])
def test_pairs_too_steep_for_an_approach_from_above_are_left_out(degrees: float, kept: int) -> None:
    closing = np.array([np.cos(np.radians(degrees)), 0.0, np.sin(np.radians(degrees))])
    for axis in (closing, closing * (1, 1, -1)):
        pair = ((-0.02 * axis).tolist(), (0.02 * axis).tolist(), (-axis).tolist(), axis.tolist(), MEASURED)
        assert len(contact_pairs(body_of_pairs(pair), 0.5, 0.08)) == kept


def test_how_far_a_pair_is_from_the_middle_along_its_own_closing_axis_is_no_matter() -> None:
    along: Pair = ([0.01, 0.0, 0.03], [0.05, 0.0, 0.03], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], MEASURED)
    pairs = contact_pairs(body_of_pairs(level(0.015), along), 0.02, 0.08)
    assert pairs.first_m[:, 1].tolist() == [0.0, 0.015]


LEAN_OF_35_PERCENT_DEG = float(np.degrees(np.arctan(0.35 * 0.02)))


@pytest.mark.parametrize(
    ("middle", "beside_m", "middle_first"),
    [  # what is lost in the middle, and how far beside it, of 42 mm, a faultless pair is as promising
        pytest.param(level(0.0, lean_deg=LEAN_OF_35_PERCENT_DEG), 0.016, False, id="a lean of 35 % of the friction"),
        pytest.param(level(0.0, lean_deg=LEAN_OF_35_PERCENT_DEG), 0.018, True, id="and farther beside"),
        pytest.param(level(0.0, origin=TURNED), 0.0045, False, id="one completed contact"),
        pytest.param(level(0.0, origin=TURNED), 0.0057, True, id="and farther beside it"),
        pytest.param(level(0.0, width_m=0.07), 0.0140, False, id="seven eighths of the opening"),
        pytest.param(level(0.0, width_m=0.07), 0.0155, True, id="and still farther"),
        pytest.param(level(0.0, width_m=0.055), 0.0125, True, id="two thirds of it lose nothing"),
    ],
)
def test_faults_weigh_as_much_as_a_way_from_the_middle(middle: Pair, beside_m: float, middle_first: bool) -> None:
    # With so little friction neither has a pair with a point of the other.
    pairs = contact_pairs(body_of_pairs(level(beside_m), middle), 0.02, 0.08)
    assert pairs.first_m[0, 1] == (0.0 if middle_first else beside_m)


@pytest.mark.parametrize(
    ("first_y_m", "second_y_m", "kept"), [(-0.001, 0.001, 2), (0.001, 0.011, 1), (0.001, 0.013, 2)]
)
def test_of_pairs_in_one_cell_of_12_mm_the_best_is_kept(first_y_m: float, second_y_m: float, kept: int) -> None:
    # With so little friction neither has a pair with a point of the other.
    pairs = contact_pairs(body_of_pairs(level(first_y_m), level(second_y_m)), 0.02, 0.08)
    assert len(pairs) == kept


@pytest.mark.parametrize(
    ("cone_deg", "angles_deg"),
    [(90.0, [0, -25, 25, -50, 50]), (50.0, [0, -25, 25, -50, 50]), (20.0, [0, -10, 10, -20, 20]), (0.0, [0] * 5)],
)
def test_approaches_of_a_level_closing_axis_fill_the_cone(cone_deg: float, angles_deg: list[float]) -> None:
    pair = ContactPairs(np.zeros((1, 3)), np.array([[0.05, 0, 0]]), np.ones(1), np.zeros(1, np.int64))
    poses, _ = poses_from_pairs(pair, UP, 0.08, cone_deg)
    approach = poses.rotations[:, :, 2]
    assert np.degrees(np.arctan2(approach[:, 1], -approach[:, 2])) == pytest.approx(angles_deg, abs=1e-6)
    assert approach[:, 0] == pytest.approx([0] * len(angles_deg))


@pytest.mark.parametrize(("cone_deg", "count"), [(90.0, 5), (38.0, 3), (31.0, 1), (29.0, 0)])
def test_a_sloping_closing_axis_has_no_approach_outside_the_cone(cone_deg: float, count: int) -> None:
    lean = np.radians(30)  # the least angle between its approaches and straight down
    pair = ContactPairs(
        np.zeros((1, 3)), 0.05 * np.array([[np.cos(lean), 0, np.sin(lean)]]), np.ones(1), np.zeros(1, np.int64)
    )
    poses, widths_m = poses_from_pairs(pair, UP, 0.08, cone_deg)
    assert len(poses) == len(widths_m) == count
    assert (-poses.rotations[:, 2, 2] >= np.cos(np.radians(cone_deg)) - 1e-9).all()


def test_the_completed_points_and_the_camera_are_told_in_each_others_frames() -> None:
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # the body's x is the camera's y
    pose = Transform(quarter, np.array([0, 0.1, 0.5]))
    body = replace(body_of_pairs(level(0.01, origin=TURNED)), T_camera_body=pose)
    assert body.hidden_m == pytest.approx(np.array([[-0.01, 0.08, 0.53]]))  # of (-0.02, 0.01, 0.03)
    assert body.camera_m == pytest.approx([-0.1, 0, -0.5])
