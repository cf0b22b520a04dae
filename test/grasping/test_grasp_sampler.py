"""Grasps on closed-form scenes, checked by brute force against the true solids and not by what the sampler measured."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import GraspingSettings, GripperSettings, LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import Grasp, InstanceGrasps, Rejection
from instance_seg_ros.grasping.robot import for_robot
from instance_seg_ros.grasping.sampler import GraspSampler, is_well_inside, status_of
from instance_seg_ros.lifting import Lifter

GRIPPER = GripperSettings()
VIEW = look_at((0, 0, 0.03), 0.75, 45)


def sample(scene: AnalyticScene, noise_m: float = 0.001, **settings_: object) -> tuple[InstanceGrasps, ...]:
    frame, labels = scene.render(noise_m)
    instances = Instances.from_labels(labels)
    lifted = Lifter(LiftingSettings()).lift(frame, instances)
    return GraspSampler(GraspingSettings(**settings_), GRIPPER).sample(frame, lifted, instances)  # type: ignore[arg-type]


def world_pose(scene: AnalyticScene, grasp: Grasp) -> Transform:
    return scene.T_world_camera @ grasp.T_camera_grasp


def depth_inside_m(body: Body, points_world_m: np.ndarray) -> np.ndarray:
    """How deep (N,) points lie in a solid, metres, negative outside."""
    local = np.abs(body.T_world_body.inverse().apply(points_world_m))
    if isinstance(body, Sphere):
        return body.radius_m - np.linalg.norm(local, axis=1)
    if isinstance(body, Cylinder):
        return np.minimum(body.radius_m - np.linalg.norm(local[:, :2], axis=1), body.length_m / 2 - local[:, 2])
    return (np.array(body.size_m) / 2 - local).min(axis=1)


def gripper_solid_m(opening_m: float) -> np.ndarray:
    """A dense grid (N, 3) through both fingers, opened this wide, and the palm, in the grasp's frame."""

    def block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> np.ndarray:
        axes = [np.linspace(low, high, max(2, int((high - low) / 0.004))) for low, high in (x, y, z)]
        return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)

    g = GRIPPER
    inner, outer = opening_m / 2, opening_m / 2 + g.finger_thickness_m
    y, z = (-g.finger_width_m / 2, g.finger_width_m / 2), (-g.finger_length_m, 0.0)
    palm = block(
        (-g.palm_width_m / 2, g.palm_width_m / 2),
        (-g.palm_height_m / 2, g.palm_height_m / 2),
        (-g.finger_length_m - g.palm_depth_m, -g.finger_length_m),
    )
    return np.concatenate([block((inner, outer), y, z), block((-outer, -inner), y, z), palm])


def assert_reaches_without_collision(scene: AnalyticScene, grasp: Grasp, target: int) -> None:
    """Opened, in 9 steps along the way in, then closing in 5: nothing true is hit but the target at its contacts."""
    pose = world_pose(scene, grasp)
    opened, approach = gripper_solid_m(grasp.opening_m), pose.rotation[:, 2]
    places = [(opened, back) for back in np.linspace(0, grasp.approach_distance_m, 9)]
    openings = np.linspace(grasp.width_m, grasp.opening_m, 5)
    places += [(gripper_solid_m(opening), 0.0) for opening in openings]
    for solid_m, back_m in places:
        points_m = pose.apply(solid_m) - back_m * approach
        assert points_m[:, 2].min() > 0, "the gripper reaches into the table"
        for index, body in enumerate(scene.bodies):
            allowed_m = 0.006 if index == target else 0.0
            assert depth_inside_m(body, points_m).max() <= allowed_m, f"hits body {index + 1}"


def true_width_m(body: Body, pose: Transform) -> float:
    """Length of the closing line, prolonged, inside the solid."""
    line = pose.translation_m + np.linspace(-0.1, 0.1, 4001)[:, None] * pose.rotation[:, 0]
    return float(np.count_nonzero(depth_inside_m(body, line) > 0)) * 0.2 / 4000


@pytest.mark.parametrize(
    "body",
    [
        Box((0.12, 0.06, 0.05), upright(0, 0, 0.025, 20)),
        Box((0.05, 0.05, 0.16), upright(0, 0, 0.08, 40)),
        Box((0.15, 0.03, 0.02), upright(0, 0, 0.01, 70)),
        Cylinder(0.03, 0.09, upright(0, 0, 0.045)),
        Sphere(0.033, upright(0, 0, 0.033)),
    ],
    ids=["box", "tall box", "flat box", "can", "ball"],
)
def test_a_lone_object_gets_grasps_that_truly_fit(body: Body) -> None:
    scene = AnalyticScene([body], VIEW)
    (result,) = sample(scene)
    assert result.status == Status.OK
    assert 3 <= len(result.grasps) <= GraspingSettings().max_grasps
    for grasp in result.grasps:
        pose = world_pose(scene, grasp)
        assert_reaches_without_collision(scene, grasp, target=0)
        assert pose.rotation[2, 2] < 0, "the approach comes from below"
        assert grasp.width_m <= GRIPPER.max_opening_m
        assert depth_inside_m(body, pose.translation_m[None])[0] > 0, "between the contacts there is no object"
        assert abs(true_width_m(body, pose) - grasp.width_m) < 0.012
        x_m, y_m, z_m = grasp.T_camera_grasp.inverse().apply(grasp.contacts_m.mean(axis=0))
        assert abs(x_m) < 1e-6 and abs(y_m) <= GRIPPER.finger_width_m / 2 + 0.001
        assert -GRIPPER.finger_length_m <= z_m <= 0, "the contacts lie on the pads"
        closing = (grasp.contacts_m[1] - grasp.contacts_m[0]) / grasp.width_m
        np.testing.assert_allclose(closing, grasp.T_camera_grasp.rotation[:, 0], atol=1e-6)
    qualities = [grasp.quality for grasp in result.grasps]
    assert qualities == sorted(qualities, reverse=True)
    assert 0.5 < qualities[0] <= 1 and min(qualities) > 0


def test_the_best_grasp_of_a_box_closes_across_its_minor_side_near_its_centre() -> None:
    scene = AnalyticScene([Box((0.12, 0.06, 0.05), upright(0, 0, 0.025, 20))], VIEW)
    best = sample(scene)[0].grasps[0]
    pose = world_pose(scene, best)
    minor_side = np.array([-np.sin(np.radians(20)), np.cos(np.radians(20)), 0])
    assert abs(pose.rotation[:, 0] @ minor_side) > np.cos(np.radians(12))
    assert np.linalg.norm(pose.translation_m[:2]) < 0.02
    assert best.width_m == pytest.approx(0.06, abs=0.007)


def test_grasps_in_a_full_scene_hit_no_neighbour() -> None:
    bodies = [
        Box((0.12, 0.06, 0.05), upright(-0.12, 0.1, 0.025, 20)),
        Cylinder(0.03, 0.1, upright(0, 0, 0.05)),
        Sphere(0.035, upright(0.13, 0.06, 0.035)),
        Box((0.05, 0.05, 0.15), upright(0.08, -0.12, 0.075, 30)),
        Box((0.06, 0.04, 0.09), upright(-0.12, -0.08, 0.045, -20)),
    ]
    scene = AnalyticScene(bodies, look_at((0, 0, 0.03), 0.9, 50))
    results = sample(scene)
    assert sum(bool(result.grasps) for result in results) >= 4
    for index, result in enumerate(results):
        for grasp in result.grasps:
            assert_reaches_without_collision(scene, grasp, target=index)


NEAR = Intrinsics(640, 480, 910.0, 910.0, 319.5, 239.5)
"""At 40 cm, 0.44 mm a pixel."""
CABLE_ROTATION = Rotation.from_euler("ZY", [60, 90], degrees=True).as_matrix()


@pytest.mark.parametrize(
    "beside",
    [
        [
            Cylinder(0.004, 0.058, Transform(CABLE_ROTATION, np.array([0.0, 0.0, 0.064]))),
            Cylinder(0.004, 0.06, upright(0.0145, 0.02511, 0.03)),
            Cylinder(0.004, 0.06, upright(-0.0145, -0.02511, 0.03)),
        ],
        [Cylinder(0.004, 0.06, upright(0.0145, 0.02511, 0.03))],
        [Box((0.04, 0.1, 0.06), upright(0.0225, 0.03897, 0.03, 60))],
    ],
    ids=["a cable over it", "a post beside it", "a block beside it"],
)
def test_what_has_no_mask_is_in_the_way_even_where_it_touches_the_object(beside: list[Body]) -> None:
    target = Box((0.05, 0.1, 0.06), upright(0, 0, 0.03, 60))
    scene = AnalyticScene([target, *beside], look_at((0, 0, 0.03), 0.4, 60), intrinsics=NEAR)
    frame, labels = scene.render(0.0005)
    instances = Instances.from_labels(np.where(labels == 1, labels, 0))
    lifted = Lifter(LiftingSettings()).lift(frame, instances)
    (result,) = GraspSampler(GraspingSettings(max_grasps=8), GRIPPER).sample(frame, lifted, instances)
    assert result.grasps or isinstance(beside[0], Box)  # a block leaves none
    for grasp in result.grasps:
        assert_reaches_without_collision(scene, grasp, target=0)


def test_grasps_differ_by_more_than_3_cm_or_30_degrees() -> None:
    grasps = sample(AnalyticScene([Box((0.15, 0.03, 0.04), upright(0, 0, 0.02))], VIEW))[0].grasps
    assert len(grasps) >= 5
    for first, second in itertools.combinations((grasp.T_camera_grasp for grasp in grasps), 2):
        apart_m = np.linalg.norm(first.translation_m - second.translation_m)
        # The fingers may change places.
        turns = [first.rotation.T @ second.rotation @ swap for swap in (np.eye(3), np.diag([-1.0, -1.0, 1.0]))]
        turned_deg = np.degrees(Rotation.from_matrix(np.array(turns)).magnitude().min())
        assert apart_m > 0.03 - 1e-9 or turned_deg > 30 - 1e-6


@pytest.mark.parametrize("are_instances", [True, False])
def test_an_object_wedged_between_higher_walls_has_no_collision_free_grasp(are_instances: bool) -> None:
    bodies: list[Body] = [Box((0.05, 0.05, 0.05), upright(0, 0, 0.025))]
    bodies += [Box((0.02, 0.2, 0.12), upright(x, 0, 0.06)) for x in (-0.045, 0.045)]
    bodies += [Box((0.05, 0.02, 0.12), upright(0, y, 0.06)) for y in (-0.045, 0.045)]
    scene = AnalyticScene(bodies, look_at((0, 0, 0.03), 0.7, 80))
    frame, labels = scene.render(0.001)
    frame = replace(frame, up=scene.T_camera_world.rotation[:, 2])  # or walls as near as these are its support
    instances = Instances.from_labels(labels if are_instances else np.where(labels == 1, labels, 0))
    lifted = Lifter(LiftingSettings()).lift(frame, instances)
    result = GraspSampler(GraspingSettings(), GRIPPER).sample(frame, lifted, instances)[0]
    assert result.grasps == ()
    assert result.status == Status.NO_COLLISION_FREE_GRASP
    assert result.rejected[Rejection.SCENE] > 0 and Rejection.UNKNOWN not in result.rejected


@pytest.mark.parametrize(
    ("size_m", "gap_m", "azimuth_deg"),
    [((0.05, 0.05, 0.06), 0.012, 30), ((0.05, 0.05, 0.08), 0.005, 60), ((0.05, 0.09, 0.04), 0.012, 0)],
)
def test_the_level_that_most_objects_stand_on_is_in_the_way_of_what_stands_below_it(
    size_m: tuple[float, float, float], gap_m: float, azimuth_deg: float
) -> None:
    pedestal = Box((0.3, 0.4, 0.1), upright(-0.15, 0, 0.05))
    higher = [Box((0.05, 0.05, 0.08), upright(x, y, 0.14)) for x, y in ((-0.15, -0.12), (-0.15, 0.12), (-0.2, 0))]
    beside = Box(size_m, upright(gap_m + size_m[0] / 2, 0, size_m[2] / 2))
    scene = AnalyticScene([*higher, beside, pedestal], look_at((-0.05, 0, 0.05), 0.9, 55, azimuth_deg))
    frame, labels = scene.render(0.001)
    instances = Instances.from_labels(np.where(labels == 5, 0, labels))
    lifted = Lifter(LiftingSettings()).lift(frame, instances)
    assert lifted.support_plane is not None
    assert scene.T_world_camera.apply(-lifted.support_plane.offset_m * lifted.support_plane.normal)[2] > 0.09
    for target, result in enumerate(GraspSampler(GraspingSettings(), GRIPPER).sample(frame, lifted, instances)):
        for grasp in result.grasps:
            assert_reaches_without_collision(scene, grasp, target)


@pytest.mark.parametrize(
    "body",
    [
        Box((0.2, 0.12, 0.12), upright(0, 0, 0.06)),
        Sphere(0.07, upright(0, 0, 0.07)),
        Cylinder(0.06, 0.12, upright(0, 0, 0.06)),
    ],
    ids=["box", "ball", "can"],
)
def test_an_object_wider_than_the_opening_has_no_candidate(body: Body) -> None:
    (result,) = sample(AnalyticScene([body], VIEW))
    assert result.grasps == ()
    assert result.status == Status.NO_GRASP_CANDIDATE


def test_a_sheet_on_the_table_has_no_grasp_through_the_table() -> None:
    (result,) = sample(AnalyticScene([Box((0.15, 0.05, 0.004), upright(0, 0, 0.002))], VIEW), noise_m=0.0003)
    assert result.grasps == ()
    assert result.status in (Status.NO_GRASP_CANDIDATE, Status.NO_COLLISION_FREE_GRASP)


def test_seen_from_straight_above_the_hidden_sides_are_taken_from_the_box() -> None:
    body = Box((0.1, 0.05, 0.06), upright(0, 0, 0.03))
    scene = AnalyticScene([body], look_at((0, 0, 0), 0.7, 89.9))
    (result,) = sample(scene)
    assert result.grasps
    for grasp in result.grasps:
        assert_reaches_without_collision(scene, grasp, target=0)


def test_without_a_support_plane_grasps_come_along_the_line_of_sight() -> None:
    body = Box((0.1, 0.05, 0.06), upright(0, 0, 0.03))
    scene = AnalyticScene([body], look_at((0, 0, 0), 0.7, 70), table_size_m=(0.001, 0.001))
    (result,) = sample(scene)
    assert result.grasps
    sight = result.grasps[0].T_camera_grasp.translation_m
    sight = sight / np.linalg.norm(sight)
    assert all(grasp.T_camera_grasp.rotation[:, 2] @ sight > 0.2 for grasp in result.grasps)


@pytest.mark.parametrize(
    ("size_m", "gap_m", "elevation_deg"),
    [((0.1, 0.03, 0.02), 0.05, 20), ((0.06, 0.03, 0.03), 0.02, 30), ((0.15, 0.02, 0.02), 0.03, 15)],
)
def test_what_is_held_over_a_table_has_no_grasp_through_the_table(
    size_m: tuple[float, float, float], gap_m: float, elevation_deg: float
) -> None:
    scene = AnalyticScene(
        [Box(size_m, upright(0, 0, gap_m + size_m[2] / 2))], look_at((0, 0, 0.03), 0.75, elevation_deg)
    )
    (result,) = sample(scene)
    assert result.grasps
    for grasp in result.grasps:
        assert_reaches_without_collision(scene, grasp, target=0)


def test_settings_limit_number_and_distances() -> None:
    scene = AnalyticScene([Cylinder(0.03, 0.09, upright(0, 0, 0.045))], VIEW)
    (result,) = sample(scene, max_grasps=2, approach_distance_m=0.05, lift_distance_m=0.2)
    assert len(result.grasps) == 2
    assert [(g.approach_distance_m, g.lift_distance_m, g.checked_against_scene) for g in result.grasps] == [
        (0.05, 0.2, True)
    ] * 2


def test_an_object_with_room_around_it_is_gripped_from_fully_opened() -> None:
    (result,) = sample(AnalyticScene([Cylinder(0.03, 0.09, upright(0, 0, 0.045))], VIEW))
    assert {grasp.opening_m for grasp in result.grasps} == {GRIPPER.max_opening_m}
    assert {why for why, count in result.rejected.items() if count} <= {
        Rejection.FIT,
        Rejection.SLIP,
        Rejection.QUALITY,
    }


def test_rejected_poses_are_counted_by_the_step_that_they_failed_at() -> None:
    wide = AnalyticScene([Cylinder(0.06, 0.12, upright(0, 0, 0.06))], VIEW)
    assert sample(wide)[0].rejected.keys() <= {Rejection.FIT, Rejection.REACH, Rejection.SLIP}
    (picky,) = sample(AnalyticScene([Cylinder(0.03, 0.09, upright(0, 0, 0.045))], VIEW), min_quality=1.0)
    assert picky.grasps == () and picky.rejected[Rejection.QUALITY] > 10


def test_min_quality_leaves_out_what_is_less_likely_to_hold() -> None:
    scene = AnalyticScene([Cylinder(0.03, 0.09, upright(0, 0, 0.045))], VIEW)
    limit = sample(scene)[0].grasps[1].quality
    likely = sample(scene, min_quality=limit)[0].grasps
    assert len(likely) >= 2 and all(grasp.quality >= limit for grasp in likely)


@pytest.mark.parametrize(
    ("size_m", "seen_share", "held"),
    [((0.07, 0.07, 0.09), 0.6, False), ((0.07, 0.07, 0.09), 0.72, True), ((0.05, 0.14, 0.06), 0.5, True)],
    ids=["more than half of a cube, of which no way in is free", "a cube", "half a bar"],
)
def test_no_finger_goes_beyond_the_border_that_cuts_the_object(
    size_m: tuple[float, float, float], seen_share: float, held: bool
) -> None:
    scene = AnalyticScene([Box(size_m, upright(0, 0, size_m[2] / 2))], VIEW)
    frame, labels = scene.render(0.001)
    columns = np.flatnonzero((labels > 0).any(axis=0))
    cut = int(columns[0] + seen_share * len(columns))
    camera = frame.intrinsics
    left = Intrinsics(cut, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    frame = RgbdFrame(None, np.ascontiguousarray(frame.depth_m[:, :cut]), left)
    instances = Instances.from_labels(labels[:, :cut])
    lifted = Lifter(LiftingSettings()).lift(frame, instances)
    (result,) = GraspSampler(GraspingSettings(), GRIPPER).sample(frame, lifted, instances)
    assert result.rejected[Rejection.UNKNOWN] > 0
    assert bool(result.grasps) is held
    for grasp in result.grasps:
        closing = grasp.T_camera_grasp.rotation[:, 0]
        for side, contact_m in zip((-1, 1), grasp.contacts_m, strict=True):
            finger_m = scene.T_world_camera.apply((contact_m + side * 0.01 * closing)[None])
            assert depth_inside_m(scene.bodies[0], finger_m)[0] < 0.004


@pytest.mark.parametrize(
    ("centre_m", "radius_m", "inside"),
    [
        ((0.0, 0.0, 0.6), 0.1, True),
        ((0.25, 0.0, 0.6), 0.1, False),
        ((0.0, -0.2, 0.6), 0.1, False),
        ((0.15, 0.1, 0.6), 0.05, True),
        ((0.0, 0.0, 0.05), 0.1, False),  # around the camera
    ],
)
def test_the_image_holds_all_of_a_ball(centre_m: tuple[float, float, float], radius_m: float, inside: bool) -> None:
    frame = RgbdFrame(None, np.ones((480, 640), np.float32), Intrinsics(640, 480, 600.0, 600.0, 319.5, 239.5))
    assert is_well_inside(frame, np.array(centre_m), radius_m) is inside
    ways = np.random.default_rng(0).normal(size=(500, 3))
    ball_m = np.array(centre_m) + radius_m * ways / np.linalg.norm(ways, axis=1)[:, None]
    px = ball_m[:, :2] / ball_m[:, 2:] * 600 + (319.5, 239.5)
    seen = bool(((ball_m[:, 2:] > 0) & (px >= 0) & (px <= (639, 479))).all())
    assert seen is inside


def test_a_mask_too_thin_for_a_surface_has_no_candidate_and_costs_no_other_object_its_grasps() -> None:
    camera = Intrinsics(160, 120, 150.0, 150.0, 79.5, 59.5)
    depth_m, labels = np.full((120, 160), 0.8, dtype=np.float32), np.zeros((120, 160), dtype=np.uint16)
    depth_m[20:50, 40:50], labels[20:50, 40:50] = 0.75, 1
    depth_m[80, 20:140], labels[80, 20:140] = 0.79, 2
    frame, instances = RgbdFrame(None, depth_m, camera), Instances.from_labels(labels)
    lifted = Lifter(LiftingSettings()).lift(frame, instances)
    assert lifted.instances[1].box is not None
    block, line = GraspSampler(GraspingSettings(min_quality=0.0), GRIPPER).sample(frame, lifted, instances)
    assert block.grasps
    assert (line.grasps, line.status) == ((), Status.NO_GRASP_CANDIDATE)


def test_disabled_grasping_says_so() -> None:
    (result,) = sample(AnalyticScene([Cylinder(0.03, 0.09, upright(0, 0, 0.045))], VIEW), enabled=False)
    assert (result.grasps, result.status) == ((), Status.GRASPING_DISABLED)


def test_how_images_lie_in_memory_does_not_matter() -> None:
    scene = AnalyticScene([Box((0.10, 0.06, 0.05), upright(0, 0, 0.025, 30))], VIEW)
    frame, labels = scene.render(0.001)
    instances = Instances.from_labels(labels)
    lifted = Lifter(LiftingSettings()).lift(frame, instances)
    turned = replace(instances, masks=np.asfortranarray(instances.masks))
    sampler = GraspSampler(GraspingSettings(), GRIPPER)
    plain = sampler.sample(frame, lifted, instances)
    other = sampler.sample(replace(frame, depth_m=np.asfortranarray(frame.depth_m)), lifted, turned)
    assert plain[0].grasps
    np.testing.assert_array_equal(
        [grasp.T_camera_grasp.matrix for grasp in other[0].grasps],
        [grasp.T_camera_grasp.matrix for grasp in plain[0].grasps],
    )


def test_sampling_twice_gives_the_same() -> None:
    scene = AnalyticScene([Cylinder(0.03, 0.09, upright(0, 0, 0.045))], VIEW)
    first, second = sample(scene)[0], sample(scene)[0]
    assert [g.contacts_m.tolist() for g in first.grasps] == [g.contacts_m.tolist() for g in second.grasps]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_frame_gives_grasps_or_a_reason(
    data: st.DataObject, any_scenes: st.SearchStrategy[tuple[RgbdFrame, Instances]]
) -> None:
    frame, instances = data.draw(any_scenes)
    lifted = Lifter(LiftingSettings(min_points=10)).lift(frame, instances)
    results = GraspSampler(GraspingSettings(), GRIPPER).sample(frame, lifted)
    assert len(results) == len(instances)
    for result in results:
        assert bool(result.grasps) == (result.status == Status.OK)
        assert all(0 <= grasp.quality <= 1 for grasp in result.grasps)


def test_robots_frame_closes_along_y_and_lies_back_at_the_flange() -> None:
    grasp = Transform(np.diag([1.0, -1.0, -1.0]), np.array([0.1, 0.2, 0.3]))
    same = for_robot(grasp, GraspingSettings())
    np.testing.assert_allclose(same.matrix, grasp.matrix)
    turned = for_robot(grasp, GraspingSettings(closing_axis="y", tcp_to_flange_m=0.1034))
    np.testing.assert_allclose(turned.rotation[:, 1], grasp.rotation[:, 0], atol=1e-12)
    np.testing.assert_allclose(turned.rotation[:, 2], grasp.rotation[:, 2], atol=1e-12)
    np.testing.assert_allclose(turned.translation_m, [0.1, 0.2, 0.3 + 0.1034])


@pytest.mark.parametrize(
    ("rejected", "status"),
    [
        ({Rejection.FIT: 5, Rejection.SLIP: 5}, Status.NO_GRASP_CANDIDATE),
        ({Rejection.FIT: 5, Rejection.SCENE: 1}, Status.NO_COLLISION_FREE_GRASP),
        ({Rejection.SLIP: 5, Rejection.UNKNOWN: 1}, Status.NO_COLLISION_FREE_GRASP),
        ({Rejection.REACH: 5, Rejection.FIT: 5}, Status.NO_GRASP_CANDIDATE),
        ({Rejection.REACH: 6, Rejection.FIT: 5}, Status.NO_COLLISION_FREE_GRASP),
        ({Rejection.REACH: 6, Rejection.FIT: 3, Rejection.SLIP: 3}, Status.NO_GRASP_CANDIDATE),
        ({}, Status.NO_GRASP_CANDIDATE),
    ],
)
def test_without_a_grasp_the_status_says_whether_the_object_or_what_is_around_it_leaves_none(
    rejected: dict[Rejection, int], status: Status
) -> None:
    assert status_of((), Counter(rejected)) == status
