"""What objects stand on, in closed-form scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.geometry_scenes import geometry_scenes
from instance_seg_ros.lifting import Completion, LiftedFrame, Lifter, Support


def lift(
    objects: Sequence[Body],
    background: Sequence[Body] = (),
    *,
    elevation_deg: float = 40,
    distance_m: float = 0.8,
    target_m: tuple[float, float, float] = (0, 0, 0.05),
    noise_m: float = 0.001,
    **scene: object,
) -> tuple[LiftedFrame, AnalyticScene]:
    """Lifts the objects; what is background has no label."""
    view = AnalyticScene([*objects, *background], look_at(target_m, distance_m, elevation_deg), **scene)  # type: ignore[arg-type]
    frame, labels = view.render(noise_m)
    labels = np.where(labels <= len(objects), labels, 0).astype(np.uint16)
    return Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)), view


def height_m(scene: AnalyticScene, lifted: LiftedFrame, index: int) -> float:
    """Of the support under an object, in the world."""
    plane = lifted.instances[index].support.plane
    assert plane is not None
    T_world_camera = scene.T_world_camera
    assert (T_world_camera.rotation @ plane.normal)[2] > np.cos(np.radians(1))
    return float((T_world_camera.apply(-plane.normal * plane.offset_m))[2])


def bottom_m(scene: AnalyticScene, lifted: LiftedFrame, index: int) -> float:
    box = lifted.instances[index].box
    assert box is not None
    return float(scene.T_world_camera.apply(box.corners_m)[:, 2].min())


ANGLE = [Box((0.16, 0.03, 0.06), upright(0, 0, 0.03)), Box((0.03, 0.12, 0.06), upright(0.065, 0.06, 0.03))]
FRAME = [
    *(Box((0.2, 0.03, 0.06), upright(0, y_m, 0.03)) for y_m in (-0.085, 0.085)),
    *(Box((0.03, 0.2, 0.06), upright(x_m, 0, 0.03)) for x_m in (-0.085, 0.085)),
]


@pytest.mark.parametrize("parts", [ANGLE, FRAME], ids=["angle", "frame"])
def test_the_table_between_the_arms_of_an_object_seen_from_above_is_not_below_it(parts: list[Box]) -> None:
    view = AnalyticScene(parts, look_at((0, 0, 0), 0.9, 88))
    frame, labels = view.render(0.001)
    lifted = Lifter(LiftingSettings()).lift(frame, Instances.from_labels((labels > 0).astype(np.uint16)))
    assert lifted.instances[0].support.kind is Support.PLANE
    assert bottom_m(view, lifted, 0) == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize(
    "upper",
    [
        Box((0.06, 0.06, 0.06), upright(0, 0, 0.11, 30)),
        Sphere(0.035, upright(0, 0, 0.115)),
        Cylinder(0.06, 0.05, upright(0, 0, 0.105)),
    ],
    ids=["box", "ball", "can that is wider"],
)
def test_an_object_on_another_one_stands_on_that(upper: Body) -> None:
    lower = Box((0.1, 0.09, 0.08), upright(0, 0, 0.04, 10))
    lifted, scene = lift([lower, upper, Box((0.05, 0.05, 0.05), upright(0, 0.2, 0.025))])
    assert [instance.support.kind for instance in lifted.instances] == [
        Support.PLANE,
        Support.INSTANCE,
        Support.PLANE,
    ]
    assert lifted.instances[1].support.instance == 0
    assert height_m(scene, lifted, 1) == pytest.approx(0.08, abs=0.008)
    assert bottom_m(scene, lifted, 1) == pytest.approx(0.08, abs=0.008)
    assert lifted.instances[1].completion is Completion.SUPPORT_PLANE


@pytest.mark.parametrize("noise_m", [0.001, 0.004])
def test_each_of_two_tables_is_that_of_its_own_objects(noise_m: float) -> None:
    high = Box((0.5, 0.4, 0.02), upright(0, -0.2, 0.06))
    objects = [Box((0.06, 0.08, 0.07), upright(0, y, z + 0.035, 20)) for y, z in ((-0.18, 0.07), (0.2, 0.0))]
    lifted, scene = lift([*objects, Cylinder(0.03, 0.1, upright(0.05, -0.1, 0.12))], [high], noise_m=noise_m)
    heights_m = [height_m(scene, lifted, index) for index in range(3)]
    assert heights_m == pytest.approx([0.07, 0.0, 0.07], abs=0.003)


def test_surfaces_are_told_with_the_border_of_what_was_seen_of_them() -> None:
    """A table of 0.7 by 0.5 m with a board on it, and the floor."""
    objects = [Box((0.05, 0.05, 0.06), upright(-0.15, 0, 0.05)), Box((0.05, 0.05, 0.06), upright(0.15, 0, 0.03))]
    board = Box((0.2, 0.2, 0.02), upright(-0.15, 0, 0.01))
    lifted, view = lift(objects, [board], elevation_deg=60, table_size_m=(0.7, 0.5), floor_z_m=-0.7)
    found = {}
    for surface in lifted.surfaces:
        border_m = view.T_world_camera.apply(surface.border_m)
        found[round(float(border_m[:, 2].mean()), 2)] = border_m
        np.testing.assert_allclose(surface.plane.height_m(surface.border_m), 0, atol=1e-6)
        (x, y), (next_x, next_y) = border_m[:, :2].T, np.roll(border_m[:, :2], -1, axis=0).T
        assert (x * next_y - y * next_x).sum() > 0, "anticlockwise from above"
    assert found.keys() == {-0.7, 0.0, 0.02}
    np.testing.assert_allclose(found[0.02][:, :2].min(axis=0), [-0.25, -0.1], atol=0.02)
    np.testing.assert_allclose(found[0.02][:, :2].max(axis=0), [-0.05, 0.1], atol=0.02)
    assert (np.abs(found[0.0][:, :2]) <= [0.36, 0.26]).all()


def test_a_thin_board_is_not_taken_for_the_noise_of_the_table() -> None:
    board = Box((0.2, 0.16, 0.015), upright(0, -0.12, 0.0075))
    objects = [Box((0.05, 0.06, 0.06), upright(0, -0.12, 0.045)), Box((0.05, 0.06, 0.06), upright(0, 0.15, 0.03))]
    lifted, scene = lift(objects, [board])
    assert [height_m(scene, lifted, index) for index in (0, 1)] == pytest.approx([0.015, 0.0], abs=0.003)


def test_noise_beyond_the_tolerance_makes_no_second_plane() -> None:
    objects = [Box((0.08, 0.1, 0.09), upright(0, 0.12, 0.045)), Cylinder(0.04, 0.1, upright(0, -0.1, 0.05))]
    for seed in range(3):
        scene = AnalyticScene(objects, look_at((0, 0, 0.03), 1.2, 45), table_size_m=(0.9, 0.9), floor_z_m=-0.7)
        frame, labels = scene.render(0.006, seed)
        lifted = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels))
        assert [height_m(scene, lifted, index) for index in (0, 1)] == pytest.approx([0, 0], abs=0.002)


@pytest.mark.parametrize(
    "body",
    [
        Box((0.08, 0.06, 0.05), upright(0, 0, 0.2, 25)),
        Sphere(0.04, upright(0, 0, 0.18)),
        Box((0.06, 0.06, 0.12), upright(0, 0, 0.15)),
    ],
    ids=["box", "ball", "tall box"],
)
def test_a_held_object_stands_on_nothing_and_no_plane_is_invented(body: Body) -> None:
    lifted, scene = lift([body, Box((0.05, 0.05, 0.05), upright(0, 0.2, 0.025))], target_m=(0, 0, 0.1))
    held, standing = lifted.instances
    assert held.support.kind is Support.NOTHING and held.support.plane is None
    assert held.completion is Completion.NONE and Status.NO_SUPPORT_PLANE in held.status
    assert bottom_m(scene, lifted, 0) > body.T_world_body.translation_m[2] - 0.07
    assert standing.support.kind is Support.PLANE
    assert held.box is not None
    up = (scene.T_world_camera @ held.box.T_camera_box).rotation[2, 2]
    assert up == pytest.approx(1, abs=1e-3), "the scene's plane says what is up"


@pytest.mark.parametrize(("block_y_m", "kind"), [(0.08, Support.PLANE), (0.2, Support.NOTHING)])
def test_what_leans_on_another_object_is_not_held(block_y_m: float, kind: Support) -> None:
    """Of a bar that is turned up by 35 degrees the lower end is hidden, and below the other one is free space."""
    turn = np.radians(35)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    middle_m = (0.16 * np.sin(turn) + 0.03 * np.cos(turn)) / 2
    bar = Box((0.03, 0.16, 0.03), Transform(rotation, np.array([0, 0, middle_m])))
    block = Box((0.06, 0.04, 0.08), upright(0, block_y_m, 0.04))
    screen = Box((0.01, 0.08, 0.06), upright(0.06, -0.06, 0.03))
    lifted, _ = lift([bar, block, screen], elevation_deg=30, target_m=(0, 0, 0.03))
    assert lifted.instances[0].support.kind is kind
    assert [each.support.leans_on for each in lifted.instances] == [(1,) if kind is Support.PLANE else (), (), ()]
    assert lifted.removal_order.steps == ((1, 2, 1) if kind is Support.PLANE else (1, 1, 1))


def test_an_object_whose_foot_is_hidden_still_stands_on_the_table() -> None:
    behind, front = Box((0.06, 0.06, 0.16), upright(-0.1, 0, 0.08)), Box((0.04, 0.2, 0.08), upright(0.02, 0, 0.04))
    lifted, scene = lift([behind, front], elevation_deg=25)
    assert lifted.instances[0].support.kind is Support.PLANE
    assert bottom_m(scene, lifted, 0) == pytest.approx(0, abs=0.005)
    assert Status.OCCLUDED in lifted.instances[0].status and Status.OCCLUDED not in lifted.instances[1].status


def test_objects_beside_each_other_do_not_stand_on_one_another() -> None:
    boxes = [Box((0.06, 0.06, height), upright(x, 0, height / 2)) for x, height in ((0.035, 0.05), (-0.03, 0.12))]
    lifted, _ = lift(boxes, elevation_deg=30)
    assert [instance.support.kind for instance in lifted.instances] == [Support.PLANE, Support.PLANE]


def test_the_wall_behind_is_not_up() -> None:
    wall = Box((0.02, 2.0, 1.0), upright(-0.12, 0, 0.5))
    objects = [Box((0.05, 0.08, 0.1), upright(-0.05, y, 0.05)) for y in (-0.12, 0.05)]
    lifted, scene = lift(objects, [wall], elevation_deg=15)
    assert [height_m(scene, lifted, index) for index in (0, 1)] == pytest.approx([0, 0], abs=0.003)


@pytest.mark.parametrize(("camera_height_m", "found"), [(0.02, False), (0.06, True)])
def test_a_plane_that_the_camera_is_not_clearly_above_supports_nothing(camera_height_m: float, found: bool) -> None:
    """Such a plane is seen edge-on, or is a wall, a shelf's underside or the camera's own mount beside it."""
    box = Box((0.08, 0.08, 0.06), upright(0, 0, 0.03))
    lifted, _ = lift([box], elevation_deg=0, distance_m=0.4, target_m=(0, 0, camera_height_m), noise_m=0.0005)
    assert (lifted.support_plane is not None) is found


@pytest.mark.parametrize(
    ("gap_m", "kind"), [(0.0, Support.PLANE), (0.008, Support.PLANE), (0.04, Support.NOTHING), (0.1, Support.NOTHING)]
)
def test_an_object_is_held_where_free_space_is_seen_below_it(gap_m: float, kind: Support) -> None:
    bodies = [Box((0.06, 0.06, 0.06), upright(0, 0, 0.03 + gap_m)), Box((0.05, 0.05, 0.05), upright(0, 0.2, 0.025))]
    lifted, _ = lift(bodies, elevation_deg=25)
    assert [instance.support.kind for instance in lifted.instances] == [kind, Support.PLANE]


@pytest.mark.parametrize(
    ("aside_m", "kind"), [(0.0, Support.INSTANCE), (0.04, Support.INSTANCE), (0.1, Support.NOTHING)]
)
def test_what_stands_on_another_object_has_its_middle_over_it(aside_m: float, kind: Support) -> None:
    """The lower one ends at 5 cm."""
    lower, upper = Box((0.1, 0.1, 0.08), upright(0, 0, 0.04)), Box((0.05, 0.05, 0.05), upright(0, aside_m, 0.105))
    lifted, _ = lift([lower, upper, Box((0.05, 0.05, 0.05), upright(0, -0.2, 0.025))], elevation_deg=25)
    assert lifted.instances[1].support.kind is kind
    assert lifted.instances[1].support.instance == (0 if kind is Support.INSTANCE else None)


@pytest.mark.parametrize(("drop_m", "found"), [(0.3, True), (0.5, False)])
def test_the_floor_far_below_all_objects_supports_nothing(drop_m: float, found: bool) -> None:
    """Seen from straight above, where no free space is seen below them."""
    boxes = [Box((0.08, 0.08, 0.02), upright(x, 0, 0)) for x in (-0.1, 0.1)]
    lifted, _ = lift(boxes, elevation_deg=89, target_m=(0, 0, 0), table_size_m=(0.001, 0.001), floor_z_m=-drop_m)
    assert (lifted.support_plane is not None) is found


@pytest.mark.parametrize(
    ("body", "elevation_deg", "unseen"),
    [
        (Cylinder(0.06, 0.012, upright(0, 0, 0.2)), 89, True),  # a plate that is held over the table
        (Cylinder(0.04, 0.15, upright(0, 0, 0.075)), 89, True),  # a can on the table that looks like one
        (Cylinder(0.04, 0.15, upright(0, 0, 0.075)), 60, False),
        (Box((0.08, 0.06, 0.05), upright(0, 0, 0.025)), 75, False),
        (Sphere(0.05, upright(0, 0, 0.05)), 70, False),  # its lower half is never seen, but it is round
        (Sphere(0.05, upright(0, 0, 0.05)), 40, False),
    ],
    ids=["held plate", "can from above", "can", "box", "ball from above", "ball"],
)
def test_what_is_seen_from_right_above_may_end_higher_than_its_support_and_says_so(
    body: Body, elevation_deg: float, unseen: bool
) -> None:
    lifted, scene = lift([body, Box((0.05, 0.05, 0.05), upright(0.05, 0.2, 0.025))], elevation_deg=elevation_deg)
    found = lifted.instances[0]
    assert found.status == (Status.FOOT_NOT_SEEN if unseen else Status.OK)
    assert found.centroid_m is not None and found.centroid_covariance_m2 is not None
    off_m = scene.T_world_camera.apply(found.centroid_m) - body.T_world_body.translation_m
    up = scene.T_world_camera.rotation.T[:, 2]
    assert abs(off_m[2]) < 2 * np.sqrt(up @ found.centroid_covariance_m2 @ up)
    assert np.linalg.norm(off_m[:2]) < 0.004


def test_an_object_does_not_stand_on_a_long_one_that_lies_beside_it() -> None:
    """As in a heap: its lower part is hidden, and the lowest that is seen of it is as high as its neighbour's top."""
    leaning, lying, hiding = (
        Box((0.1, 0.1, 0.14), upright(-0.02, 0, 0.07)),
        Box((0.05, 0.24, 0.05), upright(0.06, 0, 0.025)),
        Box((0.04, 0.2, 0.08), upright(0.125, 0, 0.04)),
    )
    lifted, scene = lift([leaning, lying, hiding], elevation_deg=40)
    assert [instance.support.kind for instance in lifted.instances] == [Support.PLANE] * 3
    assert bottom_m(scene, lifted, 0) == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize(
    ("upper", "hidden"),
    [
        (Box((0.05, 0.05, 0.012), upright(0, 0, 0.026)), False),  # in the middle of its top
        (Box((0.17, 0.1, 0.06), upright(-0.02, 0.03, 0.05)), True),  # over most of it
    ],
)
def test_what_stands_over_the_edge_of_a_flat_object_hides_a_part_of_it(upper: Body, hidden: bool) -> None:
    """Where the two touch no depth step says which is in front."""
    lower = Box((0.16, 0.12, 0.02), upright(0, 0, 0.01))
    lifted, _ = lift([lower, upper, Box((0.05, 0.05, 0.05), upright(0, 0.25, 0.025))], elevation_deg=55)
    found = lifted.instances[0]
    assert lifted.instances[1].support.instance == 0
    assert (Status.OCCLUDED in found.status) == hidden
    assert found.occluded_by == ((1,) if hidden else ())


@pytest.mark.parametrize(
    "upper",
    [
        Sphere(0.05, upright(0, 0, 0.13)),  # the lowest that is seen of it is its equator
        Box((0.04, 0.04, 0.04), upright(0, 0, 0.1)),
    ],
    ids=["ball", "box that is smaller"],
)
def test_what_stands_on_a_top_that_it_may_hide_ends_there(upper: Body) -> None:
    lower = Box((0.06, 0.06, 0.08), upright(0, 0, 0.04))
    lifted, scene = lift([lower, upper, Box((0.05, 0.05, 0.05), upright(0, 0.2, 0.025))], elevation_deg=65)
    assert lifted.instances[1].support.instance == 0
    assert bottom_m(scene, lifted, 1) == pytest.approx(0.08, abs=0.008)
    assert Status.FOOT_NOT_SEEN not in lifted.instances[1].status


@pytest.mark.parametrize(("hidden_m", "told"), [(0.03, False), (0.07, True)])
def test_four_centimetres_of_a_tall_object_that_are_not_seen_are_told(hidden_m: float, told: bool) -> None:
    """It may as well lean on what hides them."""
    behind = Box((0.06, 0.06, 0.3), upright(-0.06, 0, 0.15))
    front = Box((0.04, 0.2, hidden_m), upright(0, 0, hidden_m / 2))
    lifted, scene = lift([behind, front], elevation_deg=25, target_m=(0, 0, 0.1))
    assert (Status.FOOT_NOT_SEEN in lifted.instances[0].status) is told
    assert bottom_m(scene, lifted, 0) == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize(
    ("size_m", "tilt_deg", "elevation_deg", "told"),
    [
        ((0.2, 0.15, 0.06), 0, 50, False),
        ((0.2, 0.15, 0.06), 40, 50, True),  # one face that leans on something
        ((0.12, 0.12, 0.12), 45, 65, True),  # a cube on its edge
    ],
    ids=["flat", "leaning", "on its edge"],
)
def test_what_overhangs_its_foot_may_end_elsewhere_and_says_so(
    size_m: tuple[float, float, float], tilt_deg: float, elevation_deg: float, told: bool
) -> None:
    tilt = np.radians(tilt_deg)
    rotation = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    height_m = size_m[0] * np.sin(tilt) + size_m[2] * np.cos(tilt)
    body = Box(size_m, Transform(rotation, np.array([0, 0, height_m / 2])))
    lifted, _ = lift([body, Box((0.05, 0.05, 0.05), upright(0.05, 0.25, 0.025))], elevation_deg=elevation_deg)
    assert (Status.FOOT_NOT_SEEN in lifted.instances[0].status) is told


def test_no_two_objects_of_a_heap_lean_on_each_other_and_so_all_go_first() -> None:
    """One reaches over the other, whose foot is not seen and which touches it; or both reach over each other."""
    *_, heap = geometry_scenes(4, 556, ("tote",))
    lifted = Lifter(LiftingSettings()).lift(heap.frame, Instances.from_labels(heap.labels))
    leans_on = [each.support.leans_on for each in lifted.instances]
    assert sum(map(len, leans_on)) > 3
    assert not [(own, other) for own, others in enumerate(leans_on) for other in others if own in leans_on[other]]
    assert max(lifted.removal_order.steps) > 1


@pytest.mark.parametrize("azimuth_deg", [-10, 10])
@pytest.mark.parametrize(("thick_m", "elevation_deg"), [(0.012, 30), (0.015, 50), (0.015, 75), (0.018, 75), (0.02, 30)])
def test_a_board_and_the_table_around_it_are_two_levels_however_thin_it_is(
    thick_m: float, elevation_deg: float, azimuth_deg: float
) -> None:
    board = Box((0.45, 0.5, thick_m), upright(0, 0, thick_m / 2, 5 + azimuth_deg))
    places = [(-0.12, -0.15), (-0.12, 0.15), (0, 0), (0.12, -0.15), (0.12, 0.15)]
    objects = [Box((0.07, 0.05, 0.08), upright(x, y, 0.04 + thick_m, 20 + azimuth_deg)) for x, y in places]
    lifted, scene = lift(objects, [board], elevation_deg=elevation_deg, distance_m=0.9, noise_m=0.0012)
    assert [height_m(scene, lifted, index) for index in range(5)] == pytest.approx([thick_m] * 5, abs=0.002)


@pytest.mark.parametrize("seed", range(3))
def test_no_plane_is_laid_aslant_through_the_top_and_the_sides_of_a_thin_book(seed: int) -> None:
    bodies = [
        Sphere(0.0223, upright(-0.12, -0.15, 0.0223)),
        Box((0.0787, 0.0406, 0.1413), upright(-0.12, 0.15, 0.0706, 155.5)),
        Sphere(0.0396, upright(0.12, -0.15, 0.0396)),
        Box((0.1, 0.07, 0.0172), upright(0.12, 0.15, 0.0086, 175.1)),
        Box((0.1, 0.07, 0.0283), upright(0, 0, 0.0342, 148)),
        Box((0.16, 0.12, 0.02), upright(0, 0, 0.01, 20)),  # the book, which has no mask
    ]
    scene = AnalyticScene(bodies, look_at((0, 0, 0.03), 0.9, 50, 5.48))
    frame, labels = scene.render(0.0012, seed)
    lifted = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(np.where(labels < 6, labels, 0)))
    assert lifted.support_plane is not None
    assert lifted.support_plane.normal @ scene.T_camera_world.rotation[:, 2] > np.cos(np.radians(0.5))


@pytest.mark.parametrize("elevation_deg", [30, 55])
@pytest.mark.parametrize(("up_m", "kind"), [(0.0, Support.PLANE), (0.012, Support.UNKNOWN), (0.015, Support.UNKNOWN)])
def test_a_ball_that_ends_a_little_above_the_table_does_not_stand_on_it(
    up_m: float, kind: Support, elevation_deg: float
) -> None:
    scene = AnalyticScene([Sphere(0.04, upright(0, 0, 0.04 + up_m))], look_at((0, 0, 0.05), 0.8, elevation_deg))
    frame, labels = scene.render(0.001)
    (instance,) = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances
    assert instance.support.kind is kind
    assert (instance.status == Status.OK) == (kind is Support.PLANE)
    assert instance.box is not None and instance.box.size_m[2] == pytest.approx(0.08, abs=0.004)
