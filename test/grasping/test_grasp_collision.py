"""The gripper's regions and the collision checks on single points, and thinning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane, Transform
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.grasping import pair_kernels, pose_kernels, scene_kernels
from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.closing import Closed, close_on, deepest_m, stays_above
from instance_seg_ros.grasping.collision import (
    Obstacles,
    Sight,
    palm_beyond_border,
    rays_of_holes,
    sight_of,
    unmeasured_parts,
)
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.object_body import Body
from instance_seg_ros.grasping.quality import HELD, MARKS, SCORES, WEIGHTS, marks_of, quality_of, score_of
from instance_seg_ros.grasping.scene_kernels import OF_SEVERAL
from instance_seg_ros.lifting.masks import bounds_of
from instance_seg_ros.lifting.shape import EXTRUDED, MEASURED, TURNED

SETTINGS = GripperSettings(
    max_opening_m=0.08,
    finger_thickness_m=0.01,
    finger_width_m=0.02,
    finger_length_m=0.04,
    palm_depth_m=0.06,
    palm_width_m=0.2,
    palm_height_m=0.05,
)
GRIPPER = Gripper.from_settings(SETTINGS, approach_distance_m=0.1)
UP = np.array([0.0, 0.0, 1.0])
DOWN_TURN = np.diag([1.0, -1.0, -1.0])
T_CAMERA_BODY = Transform.from_quaternion([0.2, -0.4, 0.1, 0.9], np.array([0.3, -0.2, 0.4]))
"""Of a body's frame, no turn of which is its own inverse."""


def poses_at(
    *origins_m: tuple[float, float, float], opening_m: float = 0.08, rotation: np.ndarray | None = None
) -> Poses:
    """Grasps that close along the world's x and, unless told otherwise, come from above."""
    rotation = DOWN_TURN if rotation is None else rotation
    count = len(origins_m)
    return Poses(np.array(origins_m, dtype=float), np.tile(rotation, (count, 1, 1)), np.full(count, opening_m))


def in_body(poses: Poses) -> Poses:
    """Poses in the camera's frame as they are in the frame of `T_CAMERA_BODY`."""
    T_body_camera = T_CAMERA_BODY.inverse()
    return Poses(T_body_camera.apply(poses.origins_m), T_body_camera.rotation @ poses.rotations, poses.openings_m)


def body_at(points_m: np.ndarray, normals: np.ndarray | None = None, supported: bool = True) -> Body:
    """A body that was measured at these points, and nowhere else; its frame is the world's."""
    normals = np.tile(UP, (len(points_m), 1)) if normals is None else normals
    measured = np.full(len(points_m), MEASURED)
    identity = Transform.identity()
    return Body(1, identity, points_m, normals, measured, np.zeros(3), np.full(3, 0.06), supported)


ANY_SLOPE = 1e6
"""A friction with which whatever faces the fingers holds."""


def closed_on(body: Body, poses: Poses) -> Closed:
    """Where they are, and opened as far as they are."""
    _, closed, unfit, slip = close_on(body, poses, np.zeros(len(poses)), poses.openings_m, GRIPPER, ANY_SLOPE)
    assert (unfit, slip, len(closed.values)) == (0, 0, len(poses))
    return closed


def fits(body: Body, poses: Poses) -> bool:
    return not close_on(body, poses, np.zeros(len(poses)), poses.openings_m, GRIPPER, ANY_SLOPE)[2]


def fits_moved(body: Body, pose: Poses) -> bool:
    """Whether a pose fits that was moved since it closed, with nothing else around."""
    arrays = pose.rotations, pose.origins_m, pose.openings_m, np.zeros(1, dtype=np.int64)
    moved, nothing = np.ones(1, dtype=bool), np.zeros((0, 3))
    body_m = body.points_m
    chosen, met, unfit, unsure = pose_kernels.best_free(
        *arrays, moved, nothing, body_m, nothing, GRIPPER.ways_m, 0.003, 1
    )
    assert (met, len(chosen) + unfit, unsure) == (0, 1, 0)
    return len(chosen) == 1


def free_of_scene(poses: Poses, points_m: np.ndarray, gripper: Gripper = GRIPPER) -> list[bool]:
    """Each pose on its own."""
    only, unmoved, nobody = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=bool), np.zeros((0, 3))
    return [
        len(
            pose_kernels.best_free(
                poses.rotations[[index]],
                poses.origins_m[[index]],
                poses.openings_m[[index]],
                only,
                unmoved,
                points_m,
                nobody,
                nobody,
                gripper.ways_m,
                0.003,
                1,
            )[0]
        )
        == 1
        for index in range(len(poses))
    ]


@pytest.mark.parametrize(
    ("point_m", "free"),
    [
        ((0.045, 0.0, 0.02), False),  # in the right finger (x from 40 to 50 mm, up to 40 mm above its tip)
        ((0.0, 0.0, 0.02), False),  # between the fingers
        ((0.0, 0.0, -0.01), True),  # below the tips
        ((0.058, 0.0, 0.02), True),  # beside the finger
        ((0.045, 0.02, 0.02), True),  # across from it
        ((0.09, 0.0, 0.06), False),  # in the palm, from 40 mm up
        ((0.09, 0.0, 0.18), False),  # where the palm came from
        ((0.09, 0.0, 0.25), True),  # above the way in
        ((0.12, 0.0, 0.06), True),  # beside the palm
        ((0.052, 0.0, 0.02), False),  # nearer than the clearance
    ],
)
def test_points_of_the_scene_block_what_the_gripper_sweeps(point_m: tuple[float, float, float], free: bool) -> None:
    assert is_free(poses_at((0, 0, 0)), np.array([point_m])) is free


def is_free(poses: Poses, points_m: np.ndarray) -> bool:
    (result,) = free_of_scene(poses, points_m)
    return result


@pytest.mark.parametrize(("opening_m", "free"), [(0.08, False), (0.05, True), (0.085, False)])
def test_less_opening_takes_less_room(opening_m: float, free: bool) -> None:
    assert is_free(poses_at((0, 0, 0), opening_m=opening_m), np.array([[0.045, 0.0, 0.02]])) is free


@pytest.mark.parametrize(
    ("place_m", "free"),
    [
        ((0.045, 0.0, 0.01), False),  # where the opened finger comes down
        ((0.045, 0.0, 0.1), False),  # on its way there
        ((0.039, 0.0, 0.01), True),  # between the fingers, which closing is for
        ((0.051, 0.0, 0.01), True),  # beside it
        ((0.045, 0.011, 0.01), True),
        ((0.045, 0.0, -0.001), True),  # below its tip
    ],
)
def test_no_opened_finger_goes_where_the_object_itself_may_be(place_m: tuple[float, float, float], free: bool) -> None:
    pose, nobody = poses_at((0, 0, 0)), np.zeros((0, 3))
    arrays = pose.rotations, pose.origins_m, pose.openings_m, np.zeros(1, dtype=np.int64)
    places_m = np.array([place_m])
    chosen, _, _, unsure = pose_kernels.best_free(
        *arrays, np.zeros(1, dtype=bool), nobody, nobody, places_m, GRIPPER.ways_m, 0.003, 1
    )
    assert (len(chosen), unsure) == (int(free), int(not free))


def test_no_points_block_nothing() -> None:
    assert is_free(poses_at((0, 0, 0)), np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("x_m", "free"),
    [(0.018, True), (0.036, True), (0.038, False), (0.045, False), (0.055, True)],
    ids=["between", "near the finger", "too near", "in the opened finger", "beside it"],
)
def test_the_opened_fingers_clear_the_body(x_m: float, free: bool) -> None:
    rows_m = np.array([[x, 0.0, 0.01 + 0.001 * k] for x in (0.0, x_m) for k in range(5)])
    assert fits(body_at(rows_m), poses_at((0, 0, 0))) is free


def test_nothing_between_the_fingers_is_no_grasp() -> None:
    assert fits(body_at(np.array([[0.0, 0.05, 0.01]])), poses_at((0, 0, 0))) is False


def test_closing_meets_what_stands_out_first() -> None:
    """A post from -10 to 10 mm, and on its right a ledge to 20 mm whose face leans by 20 degrees."""
    lean = np.radians(20)
    points_m = np.array([[x, 0.0, z] for x in (-0.01, 0.01) for z in (0.005, 0.01, 0.02)] + [[0.02, 0.004, 0.012]])
    normals = np.array([[-1.0, 0, 0]] * 3 + [[1.0, 0, 0]] * 3 + [[np.cos(lean), 0, np.sin(lean)]])
    closed = closed_on(body_at(points_m, normals), poses_at((0, 0, 0)))
    assert (closed.low_m[0], closed.high_m[0]) == pytest.approx((-0.01, 0.02), abs=1e-6)
    assert closed.cosine[0] == pytest.approx(np.cos(lean), abs=1e-6)
    assert closed.depth_m[0] == pytest.approx(0.02, abs=1e-6) and closed.overlap_m[0] == pytest.approx(0, abs=1e-6)
    assert closed.contacts_m[0, 1] == pytest.approx([0.02, -0.004, -0.012], abs=1e-6)  # y and z of the grasp
    assert closed.assumed[0] == 0


def deepest(poses: Poses, body: Body, gripper: Gripper = GRIPPER) -> np.ndarray:
    return deepest_m(poses, body, gripper, 0.004)


def test_the_palm_stops_above_the_body_and_the_tips_above_the_support() -> None:
    column_m = np.array([[0.0, 0.0, 0.005 * k] for k in range(13)])  # 60 mm high
    poses = poses_at((0, 0, 0.05), (0, 0, 0.05))
    tall, low = body_at(column_m), body_at(column_m[:5])
    for body, depth_m in ((tall, 0.05 - 0.06 + 0.04 - 0.004), (low, 0.04)):
        assert deepest(poses, body) == pytest.approx([depth_m] * 2, abs=1e-6)
    near = poses_at((0, 0, 0.02))
    assert deepest(near, low) == pytest.approx([0.016], abs=1e-6)
    hanging = body_at(column_m[:5], supported=False)
    assert deepest(near, hanging) == pytest.approx([0.036], abs=1e-6)


def test_a_level_approach_or_one_from_below_never_reaches_a_supported_body() -> None:
    body = body_at(np.array([[0.0, 0.0, 0.03]]))
    level = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    for rotation in (level, np.eye(3)):
        poses = poses_at((0, 0, 0.1), rotation=rotation)
        assert deepest(poses, body)[0] < 0


@pytest.mark.parametrize(
    ("floor_m", "depth_m"),
    [
        (-np.inf, 0.036),  # nothing below: as deep as the palm lets it
        (-0.1, 0.036),
        (-0.01, 0.026),  # 0.02 down to the body's lowest point, 0.01 below it, less the clearance of 0.004
        (0.03, -0.014),  # what lies below the plane is not reached
    ],
)
def test_what_stands_on_nothing_known_is_reached_above_the_scene_s_plane_alone(floor_m: float, depth_m: float) -> None:
    body = replace(body_at(np.array([[0.0, 0.0, 0.02]]), supported=False), floor_m=floor_m)
    assert deepest(poses_at((0, 0, 0.02)), body) == pytest.approx([depth_m], abs=1e-6)


def test_what_is_held_is_reached_from_the_side_above_the_plane_and_not_below() -> None:
    body = body_at(np.array([[0.0, 0.0, 0.03]]), supported=False)
    level = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    poses = poses_at((0, 0, 0.1), rotation=level)
    assert deepest(poses, replace(body, floor_m=-0.3))[0] > 0
    assert deepest(poses, replace(body, floor_m=0.3))[0] == -np.inf


@pytest.mark.parametrize(
    ("tilt_deg", "height_m", "above"),
    [
        # Straight down its tips are the lowest, 40 mm below the palm.
        (180, 0.0021, True),
        (180, 0.0019, False),
        # Level, half of the palm's width: 100 mm.
        (90, 0.1021, True),
        (90, 0.1019, False),
        # Rising by 30 degrees, it starts 50 mm lower, and the palm's far end 100 mm behind the tips 87 more.
        (60, 0.05 + 0.1 * np.sin(np.radians(30)) + 0.1 * np.cos(np.radians(30)) + 0.0021, True),
        (60, 0.05 + 0.1 * np.sin(np.radians(30)) + 0.1 * np.cos(np.radians(30)) + 0.0019, False),
    ],
)
@pytest.mark.parametrize("floor_m", [0.0, -0.2])
def test_on_its_way_in_and_centred_the_gripper_stays_above_what_is_below(
    tilt_deg: float, height_m: float, above: bool, floor_m: float
) -> None:
    """It closes along the horizon's y when it is tilted out of straight up, so that its palm is upright then."""
    cosine, sine = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    rotation = np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    body = replace(body_at(np.zeros((1, 3)), supported=floor_m == 0.0), floor_m=floor_m)
    poses = poses_at((0, 0, floor_m + height_m), rotation=rotation)
    assert stays_above(poses, body, GRIPPER, 0.1, 0.002).tolist() == [above]
    nothing_below = replace(body, supported=False, floor_m=-np.inf)
    assert stays_above(poses, nothing_below, GRIPPER, 0.1, 0.002).tolist() == [True]


NO_HOLES = np.zeros((0, 3))
NOTHING = np.zeros((48, 64), np.int16)
"""Of no mask, or without depth in none."""


@pytest.mark.parametrize(
    ("x_m", "own", "hidden", "shadowed", "unknown"),
    [
        (0.3, 3, 0.0, 0.0, False),  # in the open right half
        (-0.3, 2, 1.0, 0.0, False),  # behind the wall
        (-0.3, 1, 0.0, 1.0, False),  # the wall is the object itself
        (2.0, 3, 0.0, 0.0, True),  # outside the image
    ],
)
def test_what_the_camera_did_not_see_is_told_apart(
    x_m: float, own: int, hidden: float, shadowed: float, unknown: bool
) -> None:
    depth_m = np.full((48, 64), 2.0, dtype=np.float32)
    depth_m[:, :28] = 0.5  # a wall over the left half, owned by instance 1
    frame = RgbdFrame(None, depth_m, Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5))
    owners = (depth_m == 0.5).astype(np.int16)
    towards = poses_at((x_m, 0.0, 1.0), rotation=np.eye(3))  # 4 cm of fingers, all of them behind the wall or before it
    sight = sight_of(in_body(towards), np.zeros(1), GRIPPER, frame, T_CAMERA_BODY, owners, NOTHING, NO_HOLES, own, UP)
    assert (sight.hidden.tolist(), sight.shadowed.tolist(), sight.unknown.tolist()) == ([hidden], [shadowed], [unknown])


@pytest.mark.parametrize(
    ("rows", "depth_m", "owner", "hole", "unseen"),
    [
        ((0, 14), 2.0, 0, 0, False),  # what is behind the object is seen above it
        ((0, 14), 0.0, 0, 0, False),  # nothing is measured there, but no mask is there, either
        ((0, 0), 2.0, 0, 0, True),  # the object goes on to the image's border
        ((10, 14), 0.0, 1, 1, True),  # above is a hole in the object's depth
        ((10, 14), 0.0, 1, OF_SEVERAL, True),
        ((10, 14), 0.0, 1, 0, False),  # some pixels without depth are no hole
        ((0, 14), 0.5, 2, 0, True),  # something nearer
        ((0, 14), 2.0, 2, 0, False),
        ((0, 14), 0.0, 2, 0, True),  # something that may be nearer
        ((0, 14), 1.0, 1, 0, True),  # the place is below the object itself
    ],
)
def test_behind_an_object_it_is_seen_above_whether_it_ends(
    rows: tuple[int, int], depth_m: float, owner: int, hole: int, unseen: bool
) -> None:
    image_m, owners, unmeasured = np.full((48, 64), 2.0, np.float32), NOTHING.copy(), NOTHING.copy()
    image_m[:40], owners[:40] = 0.5, 1  # the object, up to the image's border
    above = slice(*rows)
    image_m[above], owners[above], unmeasured[above] = depth_m, owner, hole
    if rows[0] > 0:  # and what is above that
        image_m[: rows[0]], owners[: rows[0]] = 2.0, 0
    frame = RgbdFrame(None, image_m, Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5))
    poses = in_body(poses_at((0.0, 0.0, 1.0), rotation=np.eye(3)))
    up = T_CAMERA_BODY.inverse().rotation @ np.array([0.0, -1.0, 0.0])
    sight = sight_of(poses, np.zeros(1), GRIPPER, frame, T_CAMERA_BODY, owners, unmeasured, NO_HOLES, 1, up)
    assert (sight.shadowed.tolist(), sight.below_unseen.tolist()) == ([1.0], [unseen])


@pytest.mark.parametrize(
    ("rows", "depth_m", "owner", "under"),
    [
        ((0, 14), 0.995, 0, True),  # the way up comes out through it: the place may be inside of what has it
        ((0, 14), 2.0, 0, False),  # what hides the place ends below
        ((0, 14), 0.0, 0, False),
        ((0, 14), 0.995, 2, False),  # of an instance the sides are completed
        ((0, 0), 0.5, 0, False),  # nobody's, up to the image's border: seen nowhere
    ],
)
@pytest.mark.parametrize("hidden_by", [0, 1, 2])  # nobody's, the object itself, another one
def test_no_finger_goes_under_a_surface_that_is_nobody_s(
    rows: tuple[int, int], depth_m: float, owner: int, under: bool, hidden_by: int
) -> None:
    image_m, owners = np.full((48, 64), 0.5, np.float32), np.full_like(NOTHING, hidden_by)
    image_m[slice(*rows)], owners[slice(*rows)] = depth_m, owner
    frame = RgbdFrame(None, image_m, Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5))
    poses = in_body(poses_at((0.0, 0.0, 1.0), rotation=np.eye(3)))
    up = T_CAMERA_BODY.inverse().rotation @ np.array([0.0, -1.0, 0.0])
    sight = sight_of(poses, np.zeros(1), GRIPPER, frame, T_CAMERA_BODY, owners, NOTHING, NO_HOLES, 1, up)
    assert ((sight.hidden + sight.shadowed).tolist(), sight.under.tolist()) == ([1.0], [under])


SHARP = Intrinsics(128, 96, 1200.0, 1200.0, 63.5, 47.5)
"""At 1 m, 0.83 mm a pixel."""


def is_unknown(rows: tuple[int, int], columns: tuple[int, int], rotation: np.ndarray, y_m: float) -> bool:
    """A grasp 20 mm wide at 1 m of what has no depth in these rows and columns: its fingers sweep from 10 to 50 mm."""
    frame = RgbdFrame(None, np.full((96, 128), 2.0, np.float32), SHARP)
    unmeasured, owners = np.zeros((96, 128), np.int16), np.zeros((96, 128), np.int16)
    unmeasured[slice(*rows), slice(*columns)] = 1
    poses = poses_at((0.0, y_m, 1.0), rotation=rotation)
    holes = rays_of_holes(frame, unmeasured, (0, 0, 128, 96), 1, T_CAMERA_BODY)
    sight = sight_of(in_body(poses), np.full(1, 0.02), GRIPPER, frame, T_CAMERA_BODY, owners, unmeasured, holes, 1, UP)
    return bool(sight.unknown[0])


@pytest.mark.parametrize(
    ("rows", "unknown"),
    [((4, 12), False), ((14, 20), True), ((30, 34), True), ((60, 64), True), ((68, 78), False)],
    ids=["above it", "upper end", "along it", "tip", "below the tip"],
)
def test_a_hole_anywhere_along_a_finger_is_unknown(rows: tuple[int, int], unknown: bool) -> None:
    down_the_image = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # from row 17 to 66
    assert is_unknown(rows, (0, 128), down_the_image, 0.015) is unknown


@pytest.mark.parametrize(
    ("rows", "columns", "unknown"),
    [
        ((40, 54), (58, 70), False),  # between the fingers
        ((36, 38), (78, 100), True),  # one edge of the width, closed
        ((57, 59), (110, 124), True),  # the other edge, opened
        ((46, 50), (92, 96), True),  # between opened and closed
        ((46, 50), (32, 36), True),  # of the other finger
        ((20, 32), (78, 124), False),  # beside the width
        ((60, 72), (4, 50), False),
        ((44, 50), (92, 94), False),  # 4 % of a finger's volume
        ((44, 52), (92, 94), True),  # 5.3 %
    ],
)
def test_a_hole_anywhere_in_what_a_finger_sweeps_is_unknown(
    rows: tuple[int, int], columns: tuple[int, int], unknown: bool
) -> None:
    assert is_unknown(rows, columns, np.eye(3), 0.0) is unknown  # seen from behind, 24 rows wide


@pytest.mark.parametrize(("tilt_deg", "turn_deg"), [(0, 0), (50, 0), (-30, 70), (90, 20)])
def test_what_a_finger_sweeps_is_all_in_sight_of_pixels_that_cover_it(tilt_deg: float, turn_deg: float) -> None:
    step, rotation = 0.001, turned(turn_deg) @ tilted(tilt_deg)
    x, y = np.meshgrid(np.arange(-0.15, 0.15, step), np.arange(-0.15, 0.15, step))
    rays = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    poses, camera_m = poses_at((0.0, 0.0, 0.5), rotation=rotation), np.zeros(3)
    volumes_m3 = scene_kernels.volume_of_sight(
        poses.rotations, poses.origins_m, np.full(1, 0.01), np.full(1, 0.05), 0.01, 0.04, camera_m, rays, step**2
    )
    assert volumes_m3 == pytest.approx([0.04 * 0.02 * 0.04], rel=0.02)


@pytest.mark.parametrize(("from_x", "to_x"), [(-0.066, 0.055), (0.023, 0.153)])  # -3 to 1 cm, 3 to 7 cm
def test_what_either_finger_sweeps_beside_the_axis_of_the_camera_is_in_sight_by_itself(
    from_x: float, to_x: float
) -> None:
    """Of a grasp 2 cm beside it and half a metre ahead, by lines of sight to that finger and between both alone."""
    step = 0.001
    x, y = np.meshgrid(np.arange(from_x, to_x, step), np.arange(-0.15, 0.15, step))
    rays = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    poses, camera_m = poses_at((0.02, -0.01, 0.5), rotation=np.eye(3)), np.zeros(3)
    volumes_m3 = scene_kernels.volume_of_sight(
        poses.rotations, poses.origins_m, np.full(1, 0.01), np.full(1, 0.05), 0.01, 0.04, camera_m, rays, step**2
    )
    assert volumes_m3 == pytest.approx([0.04 * 0.02 * 0.04], rel=0.03)


def test_holes_are_those_of_the_mask_or_of_several_in_its_bounds() -> None:
    unmeasured = np.zeros((40, 40), np.int16)
    unmeasured[10, 10], unmeasured[20, 14], unmeasured[20, 20], unmeasured[30, 30] = 1, 2, OF_SEVERAL, OF_SEVERAL
    frame = RgbdFrame(None, np.ones((40, 40), np.float32), Intrinsics(40, 40, 40.0, 40.0, 20.0, 20.0))
    lines = rays_of_holes(frame, unmeasured, (6, 8, 20, 20), 1, T_CAMERA_BODY)
    assert lines @ T_CAMERA_BODY.rotation.T == pytest.approx(np.array([[-0.25, -0.25, 1.0], [0.0, 0.0, 1.0]]))


def test_single_pixels_without_depth_are_no_unmeasured_part() -> None:
    depth_m = np.ones((40, 40), dtype=np.float32)
    depth_m[10:20, 10:20] = 0  # a hole in the mask
    depth_m[30, ::2] = 0  # dropouts
    mask = np.zeros((2, 40, 40), dtype=bool)
    mask[1, 5:35, 5:35] = True
    frame = RgbdFrame(None, depth_m, Intrinsics(40, 40, 40.0, 40.0, 19.5, 19.5))
    parts = unmeasured_parts(frame, mask, [bounds_of(own) for own in mask])
    assert (parts[10:20, 10:20] == 2).all() and np.count_nonzero(parts) == 100


def test_a_hole_that_masks_share_is_one_of_each() -> None:
    depth_m = np.ones((40, 40), dtype=np.float32)
    depth_m[10:20, 10:20] = 0
    masks = np.zeros((2, 40, 40), dtype=bool)
    masks[0, 5:35, 5:16] = masks[1, 5:35, 9:35] = True
    frame = RgbdFrame(None, depth_m, Intrinsics(40, 40, 40.0, 40.0, 19.5, 19.5))
    parts = unmeasured_parts(frame, masks, [bounds_of(own) for own in masks])
    assert (parts[10:20, 10:16] == OF_SEVERAL).all() and (parts[10:20, 16:20] == 2).all()
    assert np.count_nonzero(parts) == 100


def test_lowest_point_is_that_of_the_boxes_corners() -> None:
    rng = np.random.default_rng(1)
    rotations = np.linalg.qr(rng.normal(size=(60, 3, 3)))[0]
    rotations *= np.sign(np.linalg.det(rotations))[:, None, None]
    rotations[rotations[:, 2, 2] > 0] *= (1, -1, -1)  # they approach from above
    rotations = rotations[rotations[:, 2, 2] < -0.2]
    corners = [
        (sx * region.outer_x, sy * region.half_y, z)
        for region in (GRIPPER.between, GRIPPER.palm)
        for sx in (-1, 1)
        for sy in (-1, 1)
        for z in (region.low_z, region.high_z)
    ]
    expected = -(np.array(corners) @ np.swapaxes(rotations, 1, 2))[:, :, 2].min(axis=1)
    poses = Poses(np.zeros((len(rotations), 3)), rotations, np.full(len(rotations), GRIPPER.max_opening_m))
    depth_m = deepest(poses, body_at(np.array([[1.0, 1.0, 1.0]])))  # that is in nobody's way
    np.testing.assert_allclose(expected, depth_m * rotations[:, 2, 2] - 0.004, atol=1e-12)


def turned(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ DOWN_TURN


def is_thinned(poses: Poses) -> bool:
    """Whether the second of two is left out, with nothing in the way of either."""
    nobody, unmoved = np.zeros((0, 3)), np.zeros(2, dtype=bool)
    arrays = poses.rotations, poses.origins_m, poses.openings_m, np.arange(2)
    nothing = nobody, nobody, nobody
    chosen, met, unfit, unsure = pose_kernels.best_free(*arrays, unmoved, *nothing, GRIPPER.ways_m, 0.003, 9)
    assert chosen[0] == 0 and (met, unfit, unsure) == (0, 0, 0)
    return len(chosen) == 1


GOOD = {
    "slope": 0.1,
    "assumed": 0.2,
    "arm": 0.0,
    "wide": 0.0,
    "tilt": 0.0,
    "hidden": 0.0,
    "shadowed": 0.1,
    "short": 0.0,
    "shallow": 0.0,
    "grazing": 0.0,
    "shift": 0.1,
    "narrow": 0.0,
}


def test_every_mark_has_a_weight() -> None:
    assert tuple(GOOD) == MARKS and len(WEIGHTS) == 1 + len(MARKS)


@pytest.mark.parametrize("name", MARKS)
def test_quality_does_not_rise_with_any_mark(name: str) -> None:
    good, worse = (np.array([list({**GOOD, name: GOOD[name] + more}.values())]) for more in (0.0, 0.5))
    assert quality_of(worse)[0] <= quality_of(good)[0] <= 1


def test_marks_are_those_of_the_closed_grasp() -> None:
    lean = np.radians(20)
    points_m = np.array([[x, 0.0, z] for x in (-0.035, 0.035) for z in (0.001, 0.02)])
    normals = np.array([[-1.0, 0, 0]] * 2 + [[np.cos(lean), 0, np.sin(lean)]] * 2)
    body = body_at(points_m, normals)
    poses = poses_at((0, 0, 0))
    sight = Sight(np.array([False]), np.array([0.25]), np.array([0.125]), np.array([False]), np.array([False]))
    values = marks_of(poses, closed_on(body, poses), body, sight, UP, 0.5, 0.08)
    marks = dict(zip(MARKS, values[0].tolist(), strict=True))
    expected = {
        "slope": np.tan(lean) / 0.5,
        "wide": (0.07 / 0.08 - 0.85) / 0.15,
        "hidden": 0.25,
        "shadowed": 0.125,
        **dict.fromkeys(("assumed", "arm", "tilt", "short", "shallow", "grazing", "shift", "narrow"), 0.0),
    }
    assert marks == pytest.approx(expected, abs=1e-4)


NARROW_PALM = Gripper.from_settings(replace(SETTINGS, palm_width_m=0.06), approach_distance_m=0.1)


@pytest.mark.parametrize(
    ("gripper", "inside_m", "outside_m"),
    [
        pytest.param(GRIPPER, (0.0525, 0.0, 0.02), (0.0535, 0.0, 0.02), id="outer side of a finger"),
        pytest.param(GRIPPER, (-0.0525, 0.0, 0.02), (-0.0535, 0.0, 0.02), id="outer side of the other finger"),
        pytest.param(GRIPPER, (0.0, 0.0125, 0.02), (0.0, 0.0135, 0.02), id="width of the fingers"),
        pytest.param(GRIPPER, (0.045, 0.0, -0.0025), (0.045, 0.0, -0.0035), id="tips"),
        pytest.param(GRIPPER, (0.1025, 0.0, 0.06), (0.1035, 0.0, 0.06), id="side of the palm"),
        pytest.param(GRIPPER, (0.09, -0.0275, 0.06), (0.09, -0.0285, 0.06), id="front of the palm"),
        pytest.param(GRIPPER, (0.09, 0.0, 0.0375), (0.09, 0.0, 0.0365), id="underside of the palm"),
        pytest.param(GRIPPER, (0.09, 0.0, 0.2025), (0.09, 0.0, 0.2035), id="where the palm starts"),
        pytest.param(NARROW_PALM, (0.034, 0.0, 0.0425), (0.034, 0.0, 0.0435), id="what closing sweeps"),
        pytest.param(NARROW_PALM, (0.0375, 0.0, 0.1), (0.0365, 0.0, 0.1), id="inner side of a finger on its way"),
        pytest.param(NARROW_PALM, (0.045, 0.0, 0.1425), (0.045, 0.0, 0.1435), id="where the fingers start"),
    ],
)
def test_the_scene_is_kept_away_by_the_clearance_and_no_more(
    gripper: Gripper, inside_m: tuple[float, float, float], outside_m: tuple[float, float, float]
) -> None:
    poses = poses_at((0, 0, 0), (0, 0, 0.5))
    for point_m, free in ((inside_m, False), (outside_m, True)):
        assert free_of_scene(poses, np.array([point_m]), gripper) == [free, True]


POST_M = [(x, 0.0, 0.01 + 0.001 * k) for x in (-0.01, 0.01) for k in range(5)]


@pytest.mark.parametrize(
    ("point_m", "free"),
    [
        ((0.0365, 0.0, 0.01), True),  # 3.5 mm of room beside the contact
        ((0.0375, 0.0, 0.01), False),  # 2.5 mm
        ((-0.0365, 0.0, 0.01), True),
        ((-0.0375, 0.0, 0.01), False),
        ((0.0395, 0.0, -0.0005), False),  # within 1 mm of the finger's inner side and tip
        ((0.0385, 0.0, -0.0005), True),
        ((0.0505, 0.0, 0.01), False),  # within 1 mm of its outer side
        ((0.0515, 0.0, 0.01), True),
        ((0.045, 0.0105, 0.01), False),  # across from it
        ((0.045, 0.0115, 0.01), True),
        ((0.045, 0.0, -0.0005), False),  # below its tip
        ((0.045, 0.0, -0.0015), True),
    ],
)
def test_the_opened_fingers_keep_1_mm_from_the_body_and_3_mm_of_room(
    point_m: tuple[float, float, float], free: bool
) -> None:
    body, pose = body_at(np.array([*POST_M, point_m])), poses_at((0, 0, 0))
    assert fits(body, pose) is fits_moved(body, pose) is free


def test_a_body_below_the_tips_is_not_between_the_fingers() -> None:
    for z_m, free in ((-0.0005, False), (0.0005, True)):
        body, pose = body_at(np.array([[0.0, 0.0, z_m]])), poses_at((0, 0, 0))
        assert fits(body, pose) is fits_moved(body, pose) is free


@pytest.mark.parametrize(("back_m", "carries"), [(0.0024, True), (0.0026, False)])
def test_surface_within_2_5_mm_of_the_first_contact_carries_it(back_m: float, carries: bool) -> None:
    points_m = np.array([[-0.01, 0, 0.01], [0.01, 0, 0.01], [0.01 - back_m, 0, 0.02], [back_m - 0.01, 0, 0.03]])
    normals = np.array([[-1.0, 0, 0], [1.0, 0, 0], [0.6, 0.8, 0], [-0.6, 0.8, 0]])
    closed = closed_on(body_at(points_m, normals), poses_at((0, 0, 0)))
    assert closed.cosine == pytest.approx([1.6 / np.hypot(1.6, 0.8) if carries else 1.0], abs=1e-6)
    assert closed.overlap_m == pytest.approx([0.01 if carries else 0.0], abs=1e-6)  # of 10 mm and 20 mm
    assert closed.contacts_m[0, :, 2] == pytest.approx([-0.02, -0.015] if carries else [-0.01, -0.01], abs=1e-6)
    assert closed.width_m == pytest.approx([0.02], abs=1e-6)


@pytest.mark.parametrize(("facing", "counts"), [(0.31, True), (0.29, False)])
def test_at_an_edge_the_side_is_touched_not_the_top(facing: float, counts: bool) -> None:
    points_m = np.array([[-0.01, 0, 0.01], [0.01, 0, 0.01], [0.009, 0, 0.02]])
    normals = np.array([[-1.0, 0, 0], [1.0, 0, 0], [facing, 0, np.sqrt(1 - facing**2)]])
    closed = closed_on(body_at(points_m, normals), poses_at((0, 0, 0)))
    both = np.array([1.0, 0, 0]) + normals[2]
    assert closed.cosine == pytest.approx([both[0] / np.linalg.norm(both) if counts else 1.0], abs=1e-6)


@pytest.mark.parametrize(("depth_m", "grazing"), [(0.0, 1.0), (0.003, 0.5), (0.006, 0.0), (0.009, 0.0)])
def test_a_body_that_reaches_little_between_the_fingers_is_grazed(depth_m: float, grazing: float) -> None:
    points_m = np.array([[x, 0.0, z] for x in (-0.02, 0.02) for z in (0.0, depth_m)])
    body = body_at(points_m, np.array([[-1.0, 0, 0]] * 2 + [[1.0, 0, 0]] * 2))
    sight = Sight(np.array([False]), np.zeros(1), np.zeros(1), np.array([False]), np.array([False]))
    closed = closed_on(body, poses_at((0, 0, 0)))
    marks = marks_of(poses_at((0, 0, 0)), closed, body, sight, UP, 0.5, 0.08)
    assert marks[0, MARKS.index("grazing")] == pytest.approx(grazing, abs=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "assumed"),
    [
        ((MEASURED, MEASURED), (TURNED, TURNED), 0.5),
        ((TURNED, TURNED), (TURNED, TURNED), 1.0),
        ((MEASURED, MEASURED), (EXTRUDED, EXTRUDED), 1.0),
        ((MEASURED, EXTRUDED), (MEASURED, TURNED), 0.75),
    ],
)
def test_assumed_is_the_mean_of_both_contacts_and_extruded_counts_double(
    left: tuple[int, int], right: tuple[int, int], assumed: float
) -> None:
    points_m = np.array([[x, 0.0, z] for x in (-0.01, 0.01) for z in (0.01, 0.02)])
    body = body_at(points_m, np.sign(points_m[:, :1]) * [1.0, 0.0, 0.0])
    body = replace(body, origin=np.array([*left, *right]))
    assert closed_on(body, poses_at((0, 0, 0))).assumed == pytest.approx([assumed])


def test_poses_moved_in_meet_what_they_meet_where_they_are_then() -> None:
    rng = np.random.default_rng(3)
    points_m = rng.uniform((-0.02, -0.02, 0.0), (0.02, 0.02, 0.06), (200, 3))
    body = body_at(points_m, np.sign(points_m[:, :1]) * [1.0, 0.0, 0.0])
    poses, depth_m = poses_at((0, 0, 0.05), (0, 0.006, 0.04)), np.array([0.02, -0.01])
    there = poses_at((0, 0, 0.03), (0, 0.006, 0.05))
    moved, closed, unfit, slip = close_on(body, poses, depth_m, poses.openings_m, GRIPPER, ANY_SLOPE)
    assert (unfit, slip) == (0, 0)
    np.testing.assert_allclose(closed.values, closed_on(body, there).values, atol=1e-6)
    middle_m = (closed.low_m + closed.high_m) / 2
    np.testing.assert_allclose(moved.origins_m, there.origins_m + middle_m[:, None] * [1.0, 0.0, 0.0], atol=1e-9)


FULLY_OPENED_POST_M = (0.045, 0.0, 0.01)
"""Where the opened finger comes down."""


@pytest.mark.parametrize(
    ("beside_m", "opened_m", "unfit"),
    [
        ([], [0.08], 0),
        ([FULLY_OPENED_POST_M], [0.05], 0),
        ([FULLY_OPENED_POST_M, (0.03, 0.0, 0.01)], [], 1),  # in the way of the finger that is opened less
    ],
)
def test_where_the_gripper_does_not_fit_in_opened_fully_it_is_opened_less(
    beside_m: list[tuple[float, float, float]], opened_m: list[float], unfit: int
) -> None:
    points_m = np.array([*POST_M, *beside_m])
    body, poses = body_at(points_m, np.sign(points_m[:, :1]) * [1.0, 0.0, 0.0]), poses_at((0, 0, 0))
    found, _, failed, _ = close_on(body, poses, np.zeros(1), np.array([0.05]), GRIPPER, ANY_SLOPE)
    assert (found.openings_m.tolist(), failed) == (opened_m, unfit)


@pytest.mark.parametrize(("degrees", "holds"), [(25, True), (28, False)])
def test_surfaces_hold_within_the_angle_of_friction(degrees: float, holds: bool) -> None:
    lean = np.radians(degrees)  # atan(0.5) is 26.6 degrees
    normals = np.array([[-1.0, 0, 0]] * 2 + [[np.cos(lean), np.sin(lean), 0]] * 2)
    body, poses = (
        body_at(np.array([[x, 0.0, z] for x in (-0.01, 0.01) for z in (0.01, 0.02)]), normals),
        poses_at((0, 0, 0)),
    )
    found, _, unfit, slip = close_on(body, poses, np.zeros(1), poses.openings_m, GRIPPER, 0.5)
    assert (len(found), unfit, slip) == (int(holds), 0, int(not holds))


@pytest.mark.parametrize(
    ("gripper", "inside_m", "outside_m"),
    [
        (GRIPPER, (0.0995, 0.0, 0.02), (0.1005, 0.0, 0.02)),
        (GRIPPER, (0.0, 0.0245, 0.02), (0.0, 0.0255, 0.02)),
        (NARROW_PALM, (0.0495, 0.0, 0.02), (0.0505, 0.0, 0.02)),  # the fingers are wider than this palm
    ],
)
def test_what_is_under_the_palm_or_the_fingers_knuckles_limits_the_depth(
    gripper: Gripper, inside_m: tuple[float, float, float], outside_m: tuple[float, float, float]
) -> None:
    poses = poses_at((0, 0, 0))
    for point_m, depth_m in ((inside_m, 0.04 - 0.004 - 0.02), (outside_m, 0.04)):
        body = body_at(np.array([point_m]), supported=False)
        assert deepest(poses, body, gripper) == pytest.approx([depth_m], abs=1e-6)


def tilted(degrees: float) -> np.ndarray:
    """From above, tilted about the closing axis."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ DOWN_TURN


@pytest.mark.parametrize(
    ("degrees", "depth_m"),
    [
        (60, (0.02 - 0.01 * np.sin(np.radians(60)) - 0.004) / 0.5),  # the tip's lower corner meets the support first
        (
            86.5,
            (0.02 - 0.025 * np.sin(np.radians(86.5)) + 0.04 * np.cos(np.radians(86.5)) - 0.004)
            / np.cos(np.radians(86.5)),
        ),
        (87.5, -np.inf),  # too nearly level
    ],
)
def test_a_tilted_gripper_stops_where_its_lowest_corner_meets_the_support(degrees: float, depth_m: float) -> None:
    poses, body = poses_at((0, 0, 0.02), rotation=tilted(degrees)), body_at(np.array([[0.5, 0.0, 0.0]]))
    depths_m = deepest(poses, body)
    assert depths_m == pytest.approx([depth_m], abs=1e-4)


@pytest.mark.parametrize(("axis", "from_m"), [(0, 0.0), (1, 0.0), (2, 0.5)])
def test_thinning_leaves_one_point_of_each_owner_in_each_cell_of_5_mm(axis: int, from_m: float) -> None:
    points_m = np.full((5, 3), 0.502)
    points_m[:, axis] = from_m + np.array([0.0005, 0.0045, 0.0055, 0.0095, 0.0109])
    for owner, count in (([1, 1, 1, 1, 1], 3), ([1, 2, 1, 1, 1], 4), ([0, 0, 0, 0, 0], 3)):
        kept = pair_kernels.one_of_each_cell(points_m, np.array(owner), np.zeros(5, np.int64), np.full(3, 0.005))
        assert len(kept) == count


@pytest.mark.parametrize(("rank", "kept"), [([0, 0, 0], [0, 2]), ([2, 1, 0], [1, 2]), ([1, 0, 0], [1, 2])])
def test_thinning_keeps_the_lowest_rank_of_a_cell_and_of_these_the_first(rank: list[int], kept: list[int]) -> None:
    points_m = np.array([[0.001, 0.0, 0.0], [0.002, 0.0, 0.0], [1e6, 0.0, 0.0]])
    own = pair_kernels.one_of_each_cell(points_m, np.zeros(3, np.int64), np.array(rank), np.full(3, 0.005))
    assert own.tolist() == kept


@pytest.mark.parametrize("spread_m", [0.05, 5.0])  # cells side by side, and so far apart that they are hashed
def test_thinning_is_as_defined_whether_cells_lie_close_together_or_apart(spread_m: float) -> None:
    rng = np.random.default_rng(5)
    points_m = rng.uniform(-spread_m, spread_m, (400, 3)).round(2)
    group, rank = rng.integers(0, 3, 400), rng.integers(0, 3, 400)
    best: dict[tuple[int, ...], int] = {}
    for n, place in enumerate(np.floor(points_m / 0.03).astype(int).tolist()):
        key = (int(group[n]), *place)
        best[key] = n if key not in best or rank[n] < rank[best[key]] else best[key]
    thinning = pair_kernels.one_of_each_cell
    for run in (thinning, thinning.__wrapped__):  # type: ignore[attr-defined]  # compiled, and as Python
        assert run(points_m, group, rank, np.full(3, 0.03)).tolist() == sorted(best.values())


@pytest.mark.parametrize("spread_m", [0.03, 3.0])  # the latter beyond the columns that are told apart
def test_a_point_is_near_where_another_is_within_the_radius(spread_m: float) -> None:
    rng = np.random.default_rng(6)
    others_m = rng.uniform(-spread_m, spread_m, (60, 3))
    beside_m = others_m + rng.uniform(-0.006, 0.006, (60, 3))
    points_m = np.concatenate([beside_m, rng.uniform(-2 * spread_m, 2 * spread_m, (200, 3))])
    expected = (np.linalg.norm(points_m[:, None] - others_m, axis=2) <= 0.006).any(axis=1)
    assert 0 < expected.sum() < len(points_m)
    assert pair_kernels.any_near(points_m, others_m, 0.006).tolist() == expected.tolist()
    assert not pair_kernels.any_near(points_m, np.zeros((0, 3)), 0.006).any()


def test_others_are_near_within_the_radius_and_not_of_the_object() -> None:
    points_m = np.array([[0, 0, 0.59], [0, 0.09, 0.5], [0, 0, 0.61], [0.11, 0, 0.5], [0, 0, 0.5]])
    obstacles = Obstacles(points_m, np.array([0, 2, 0, 2, 1]), np.zeros((1, 1), np.int16))
    others_m = obstacles.others_near(np.array([0, 0, 0.5]), 0.1, 1, None, T_CAMERA_BODY.inverse())
    np.testing.assert_allclose(T_CAMERA_BODY.apply(others_m), points_m[:2], atol=1e-12)


@pytest.mark.parametrize(
    ("owner", "height_m", "counts"),
    [(0, 0.009, True), (0, 0.007, False), (0, -0.05, False), (2, 0.007, True), (2, -0.05, True)],
)
def test_the_support_of_the_object_is_no_obstacle_but_other_objects_in_it_are(
    owner: int, height_m: float, counts: bool
) -> None:
    obstacles = Obstacles(np.array([[0.01, 0, 0.5 - height_m]]), np.array([owner]), np.zeros((1, 1), np.int16))
    shelf = Plane(np.array([0.0, 0.0, -1.0]), 0.5)
    assert len(obstacles.others_near(np.array([0, 0, 0.5]), 0.1, 1, shelf, Transform.identity())) == counts


WIDE_PIXELS = Intrinsics(40, 40, 40.0, 40.0, 19.5, 19.5)
"""At 0.4 m, 10 mm a pixel."""
NO_LABELS = np.zeros((40, 40), np.int16)


def test_every_second_measured_pixel_is_an_obstacle_on_its_own_ray() -> None:
    frame = RgbdFrame(None, np.full((40, 40), 0.4, dtype=np.float32), WIDE_PIXELS)
    points_m = Obstacles.of_frame(frame, NO_LABELS, None).points_m
    line_m = (np.arange(0, 40, 2) - 19.5) * 0.01
    expected = {(round(x, 5), round(y, 5), 0.4) for x in line_m.tolist() for y in line_m.tolist()}
    points_m = points_m[points_m[:, 2] < 0.4001]  # without what they hide
    assert len(points_m) == 400 and {tuple(np.round(row, 5).tolist()) for row in points_m.astype(float)} == expected


@pytest.mark.parametrize(("height_m", "kept"), [(0.007, 0), (0.009, 25)])
def test_the_support_is_no_obstacle_and_what_is_8_mm_above_it_is(height_m: float, kept: int) -> None:
    depth_m = np.full((40, 40), 0.5, dtype=np.float32)
    depth_m[10:20, 10:20] -= np.float32(height_m)
    frame = RgbdFrame(None, depth_m, WIDE_PIXELS)
    obstacles = Obstacles.of_frame(frame, NO_LABELS, Plane(np.array([0.0, 0.0, -1.0]), 0.5))
    assert len(obstacles.points_m) == kept


def test_unlabelled_pixels_within_3_of_an_object_are_its_rim() -> None:
    labels = NO_LABELS.copy()
    labels[10:20, 10:20], labels[20:30, 10:20] = 1, 2
    frame = RgbdFrame(None, np.full((40, 40), 0.4, dtype=np.float32), WIDE_PIXELS)
    owners = Obstacles.of_frame(frame, labels, None).owner_image
    assert owners[[6, 7, 15, 19, 20, 32, 33], 15].tolist() == [0, 1, 1, 1, 2, 2, 0]


@pytest.mark.parametrize(
    ("owner", "plane_m", "depths_m"),
    [
        (0, None, np.arange(0.412, 0.705, 0.012)),  # 30 cm behind it there may be more of it
        (0, 0.4599, [0.412, 0.424, 0.436, 0.448]),  # down to what it stands on
        (1, None, []),  # of an instance the hidden side is completed
    ],
)
def test_behind_what_is_nobody_s_there_may_be_more_of_it(
    owner: int, plane_m: float | None, depths_m: list[float]
) -> None:
    depth_m = np.zeros((40, 40), dtype=np.float32)
    depth_m[18, 18] = 0.4
    plane = None if plane_m is None else Plane(np.array([0.0, 0.0, -1.0]), plane_m)
    frame = RgbdFrame(None, depth_m, Intrinsics(40, 40, 4000.0, 4000.0, 18.0, 18.0))
    points_m = Obstacles.of_frame(frame, np.full((40, 40), owner, np.int16), plane).points_m
    assert np.sort(points_m[:, 2]).tolist() == pytest.approx([0.4, *depths_m], abs=1e-5)


def test_a_camera_of_finer_pixels_fills_shadows_no_more_densely() -> None:
    counts = [
        len(Obstacles.of_frame(RgbdFrame(None, np.full((size, size), 0.9, np.float32), camera), labels, None).points_m)
        for size, labels in ((60, np.zeros((60, 60), np.int16)), (240, np.zeros((240, 240), np.int16)))
        for camera in [Intrinsics(size, size, 2.5 * size, 2.5 * size, size / 2, size / 2)]
    ]
    assert counts[1] < 1.5 * counts[0]


BESIDE = Intrinsics(40, 40, 40.0, 40.0, 19.5, 19.5)


@pytest.mark.parametrize(
    ("origin_m", "below_m", "beyond"),
    [
        ((0.0, 0.0, 0.02), 1.0, False),
        ((0.2, 0.0, 0.02), 1.0, True),  # a corner of the palm is 30 cm beside the axis, and the camera sees 22 cm
        ((0.2, 0.0, 0.02), 0.059, False),  # the palm is 40 mm above the tips, higher than what is seen
        ((0.2, 0.0, 0.02), 0.061, True),
    ],
)
def test_no_palm_goes_beyond_the_border_as_low_as_what_is_seen(
    origin_m: tuple[float, float, float], below_m: float, beyond: bool
) -> None:
    frame = RgbdFrame(None, np.full((40, 40), 0.5, dtype=np.float32), BESIDE)
    from_above = Transform(DOWN_TURN, np.array([0.0, 0.0, 0.5]))
    found = palm_beyond_border(poses_at(origin_m), GRIPPER, frame, from_above, UP, below_m)
    assert found.tolist() == [beyond]


HALF_M, SMALLER_M = np.array([0.04, 0.02, 0.02]), np.array([0.02, 0.02, 0.02])


@pytest.mark.parametrize(
    ("depth_m", "margin_m", "columns_m"),
    [
        (0.4, 0.005, [-0.04, -0.03, 0.03, 0.04]),  # behind something: all that is not in the smaller one
        (0.4, 0.015, [-0.04, 0.04]),
        (0.53, 0.005, []),  # all of it is seen to be free
        (0.0, 0.005, []),  # nothing was measured
        (0.496, 0.005, [-0.04, -0.03, 0.03, 0.04]),  # its farther half is not seen
    ],
)
def test_places_of_a_box_that_are_not_seen_to_be_free(depth_m: float, margin_m: float, columns_m: list[float]) -> None:
    image_m, middle_m = np.full((40, 40), depth_m, dtype=np.float32), np.array([0.0, 0.0, 0.5])
    places_m = scene_kernels.unseen_in_box(
        HALF_M, np.zeros(3), SMALLER_M, 0.01, margin_m, np.eye(3), middle_m, image_m, BESIDE.fx_fy_cx_cy
    )
    assert sorted(set(places_m[:, 0].round(6).tolist())) == pytest.approx(columns_m)
    assert (places_m[:, 2] > depth_m + 0.004).all()


def test_what_is_beyond_the_image_s_border_was_not_seen() -> None:
    image_m = np.full((40, 40), 2.0, dtype=np.float32)
    places_m = scene_kernels.unseen_in_box(
        HALF_M, np.zeros(3), SMALLER_M, 0.01, 0.005, np.eye(3), np.array([0.26, 0.0, 0.5]), image_m, BESIDE.fx_fy_cx_cy
    )
    assert len(places_m) and (places_m[:, 0] / places_m[:, 2] * 40 + 19.5 > 39.4).all()


def test_a_completed_side_belongs_to_its_object() -> None:
    frame = RgbdFrame(None, np.zeros((40, 40), dtype=np.float32), WIDE_PIXELS)
    hidden_m = {3: np.array([[0.1, 0, 0.5]]), 4: np.array([[0.1, 0, 0.5], [0.101, 0, 0.5]])}
    obstacles = Obstacles.of_frame(frame, NO_LABELS, None, hidden_m)
    assert obstacles.owner.tolist() == [3, 4] and obstacles.points_m == pytest.approx(np.array([[0.1, 0, 0.5]] * 2))


@pytest.mark.parametrize(
    ("origin_m", "rotation", "same"),
    [
        ((0.029, 0, 0), DOWN_TURN, True),
        ((0.018, 0.018, 0.018), DOWN_TURN, False),  # 31 mm
        ((0, 0, 0), turned(29), True),
        ((0, 0, 0), turned(31), False),
        ((0, 0, 0), turned(180 - 29), True),  # the fingers change places
        ((0, 0, 0), turned(180 - 31), False),
        ((0, 0, 0), tilted(29), True),
        ((0, 0, 0), tilted(31), False),
        ((0, 0, 0), tilted(180), False),  # from the other side
    ],
)
def test_thinning_ends_at_3_cm_and_30_degrees(
    origin_m: tuple[float, float, float], rotation: np.ndarray, same: bool
) -> None:
    both = poses_at((0, 0, 0)).joined(poses_at(origin_m, rotation=rotation))
    assert is_thinned(both) is same


def closed_as(**changes: float) -> Closed:
    """One grasp closed from -20 to 30 mm on measured faces at right angles to its axis, 12 mm along, 20 mm deep."""
    values = {"low_m": -0.02, "high_m": 0.03, "cosine": 1.0, "assumed": 0.0, "overlap_m": 0.012, "depth_m": 0.02}
    return Closed(np.array([[*{**values, **changes}.values(), *np.zeros(6)]]))


@pytest.mark.parametrize(
    ("name", "changes", "mark"),
    [
        ("slope", {"cosine": 0.8}, 0.75 / 0.5),
        ("assumed", {"assumed": 0.5}, 0.5),
        ("wide", {"high_m": 0.047}, 0.0),  # 67 mm of 80 mm
        ("wide", {"high_m": 0.06}, 1.0),
        ("short", {"overlap_m": 0.006}, 0.5),
        ("short", {"overlap_m": 0.018}, 0.0),
        ("shallow", {"depth_m": 0.005}, 0.75),
        ("shallow", {"depth_m": 0.03}, 0.0),
        ("shift", {}, 0.5),
        ("shift", {"low_m": -0.05}, 1.0),
        ("arm", {}, 0.4),  # 2 cm beside the middle; where along the slanted closing axis is no matter
        ("tilt", {}, 0.5),
        ("narrow", {}, 0.25),
    ],
)
def test_each_mark_is_its_share_of_the_worst(name: str, changes: dict[str, float], mark: float) -> None:
    slanted = np.array([[0.5, 0, np.sqrt(0.75)], [0, -1, 0], [np.sqrt(0.75), 0, -0.5]])
    poses = poses_at((0.01, 0.02, 0.03), opening_m=0.06, rotation=slanted)
    sight = Sight(np.array([False]), np.array([0.0]), np.array([0.0]), np.array([False]), np.array([False]))
    marks = marks_of(poses, closed_as(**changes), body_at(np.zeros((1, 3))), sight, UP, 0.5, 0.08)
    assert marks[0, MARKS.index(name)] == pytest.approx(mark, abs=1e-6)


def test_the_score_is_the_logistic_function_of_constant_and_weighted_marks() -> None:
    marks, weights = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 2.0]]), np.array([2.0, -1.0, -0.75])
    assert score_of(marks, weights) == pytest.approx([0.880797, 0.731059, 0.5], abs=1e-6)


def test_of_grasps_that_hold_alike_the_one_nearest_the_middle_is_the_best() -> None:
    marks = np.zeros((4, len(MARKS)))
    marks[:, MARKS.index("arm")] = [0.0, 0.5, 2.0, 9.0]
    in_the_middle = HELD[-1]
    expected = [in_the_middle, in_the_middle - 0.005, in_the_middle - 0.02, in_the_middle - 0.02]
    assert quality_of(marks) == pytest.approx(expected, abs=2e-4)
    marks[:, MARKS.index("slope")] = 50.0
    assert (quality_of(marks) == 0).all()


@pytest.mark.parametrize("knot", range(1, len(SCORES) - 1))
def test_quality_is_the_share_that_held_at_its_score(knot: int) -> None:
    slope = (WEIGHTS[0] - np.log(SCORES[knot] / (1 - SCORES[knot]))) / -WEIGHTS[1]  # the mark that has this score
    marks = np.array([[slope if name == "slope" else 0.0 for name in MARKS]])
    assert quality_of(marks) == pytest.approx([HELD[knot]], abs=1e-4)


@pytest.mark.parametrize(("behind_m", "hidden"), [(-0.001, 0.0), (0.009, 0.0), (0.011, 1.0)])
def test_a_place_is_hidden_from_1_cm_behind_what_was_measured(behind_m: float, hidden: float) -> None:
    frame = RgbdFrame(None, np.full((40, 40), 0.5, dtype=np.float32), WIDE_PIXELS)
    level = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # approaches along x, so that the fingers are at one depth
    poses = poses_at((0, 0, 0.5 + behind_m), rotation=level)
    sight = sight_of(in_body(poses), np.zeros(1), GRIPPER, frame, T_CAMERA_BODY, NO_LABELS, NO_LABELS, NO_HOLES, 1, UP)
    assert (sight.hidden.tolist(), sight.shadowed.tolist(), sight.unknown.tolist()) == ([hidden], [0.0], [False])
