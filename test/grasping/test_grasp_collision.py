"""The gripper's regions and the collision checks on single points, and thinning."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.grasping.candidates import Poses
from instance_seg_ros.grasping.closing import Closed, Column, close_on, deepest_m, in_grasp_frames
from instance_seg_ros.grasping.collision import Sight, free_of_scene, sight_of, unmeasured_parts
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.object_body import MEASURED, Body
from instance_seg_ros.grasping.quality import MARKS, WEIGHTS, marks_of, nearly_same, quality_of

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


def poses_at(
    *origins_m: tuple[float, float, float], opening_m: float = 0.08, rotation: np.ndarray | None = None
) -> Poses:
    """Grasps that close along the world's x and, unless told otherwise, come from above."""
    rotation = DOWN_TURN if rotation is None else rotation
    count = len(origins_m)
    return Poses(np.array(origins_m, dtype=float), np.tile(rotation, (count, 1, 1)), np.full(count, opening_m))


def body_at(points_m: np.ndarray, normals: np.ndarray | None = None, supported: bool = True) -> Body:
    """A body that was measured at these points, and nowhere else; its frame is the world's."""
    normals = np.tile(UP, (len(points_m), 1)) if normals is None else normals
    measured = np.full(len(points_m), MEASURED)
    identity = Transform.identity()
    return Body(1, identity, points_m, normals, measured, np.zeros(3), np.full(3, 0.06), supported, False)


def closed_on(body: Body, poses: Poses) -> Closed:
    return close_on(body, Column.of(in_grasp_frames(poses, body.points_m), GRIPPER), poses, GRIPPER)


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
    (result,) = free_of_scene(in_grasp_frames(poses, points_m), poses.openings_m, GRIPPER, clearance_m=0.003).tolist()
    return bool(result)


@pytest.mark.parametrize(("opening_m", "free"), [(0.08, False), (0.05, True), (0.085, False)])
def test_less_opening_takes_less_room(opening_m: float, free: bool) -> None:
    assert is_free(poses_at((0, 0, 0), opening_m=opening_m), np.array([[0.045, 0.0, 0.02]])) is free


def test_no_points_block_nothing() -> None:
    assert is_free(poses_at((0, 0, 0)), np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("x_m", "free"),
    [(0.018, True), (0.036, True), (0.038, False), (0.045, False), (0.055, True)],
    ids=["between", "near the finger", "too near", "in the opened finger", "beside it"],
)
def test_the_opened_fingers_clear_the_body(x_m: float, free: bool) -> None:
    rows_m = np.array([[x, 0.0, 0.01 + 0.001 * k] for x in (0.0, x_m) for k in range(5)])
    assert closed_on(body_at(rows_m), poses_at((0, 0, 0))).free.tolist() == [free]


def test_nothing_between_the_fingers_is_no_grasp() -> None:
    assert closed_on(body_at(np.array([[0.0, 0.05, 0.01]])), poses_at((0, 0, 0))).free.tolist() == [False]


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


def test_the_palm_stops_above_the_body_and_the_tips_above_the_support() -> None:
    column_m = np.array([[0.0, 0.0, 0.005 * k] for k in range(13)])  # 60 mm high
    poses = poses_at((0, 0, 0.05), (0, 0, 0.05))
    tall, low = body_at(column_m), body_at(column_m[:5])
    for body, depth_m in ((tall, 0.05 - 0.06 + 0.04 - 0.004), (low, 0.04)):
        local_m = in_grasp_frames(poses, body.points_m)
        assert deepest_m(poses, local_m, body, GRIPPER, 0.004) == pytest.approx([depth_m] * 2, abs=1e-6)
    near = poses_at((0, 0, 0.02))
    local_m = in_grasp_frames(near, low.points_m)
    assert deepest_m(near, local_m, low, GRIPPER, 0.004) == pytest.approx([0.016], abs=1e-6)
    hanging = body_at(column_m[:5], supported=False)
    assert deepest_m(near, local_m, hanging, GRIPPER, 0.004) == pytest.approx([0.036], abs=1e-6)


def test_a_level_approach_or_one_from_below_never_reaches_a_supported_body() -> None:
    body = body_at(np.array([[0.0, 0.0, 0.03]]))
    level = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    for rotation in (level, np.eye(3)):
        poses = poses_at((0, 0, 0.1), rotation=rotation)
        assert deepest_m(poses, in_grasp_frames(poses, body.points_m), body, GRIPPER, 0.004)[0] < 0


@pytest.mark.parametrize(
    ("x_m", "own", "hidden", "shadowed", "unknown"),
    [
        (0.3, 3, 0.0, 0.0, False),  # in the open right half
        (-0.3, 2, 1.0, 0.0, False),  # behind the wall
        (-0.3, 1, 0.0, 1.0, False),  # the wall is the object itself
        (2.0, 3, 0.0, 0.0, True),  # outside the image
        (0.0, 4, 0.0, 0.0, True),  # where the mask of this object has no depth
        (0.0, 3, 0.0, 0.0, False),  # the same place, which is no matter to another object
    ],
)
def test_what_the_camera_did_not_see_is_told_apart(
    x_m: float, own: int, hidden: float, shadowed: float, unknown: bool
) -> None:
    depth_m = np.full((48, 64), 2.0, dtype=np.float32)
    depth_m[:, :28] = 0.5  # a wall over the left half, owned by instance 1
    unmeasured = np.zeros((48, 64), np.int16)
    unmeasured[:, 30:34] = 4
    depth_m[unmeasured > 0] = 0
    frame = RgbdFrame(None, depth_m, Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5))
    owners = (depth_m == 0.5).astype(np.int16)
    sight = sight_of(np.array([[[x_m, 0, 1.0], [x_m, 0.01, 1.0]]]), frame, owners, unmeasured, own)
    assert (sight.hidden.tolist(), sight.shadowed.tolist(), sight.unknown.tolist()) == ([hidden], [shadowed], [unknown])


def test_single_pixels_without_depth_are_no_unmeasured_part() -> None:
    depth_m = np.ones((40, 40), dtype=np.float32)
    depth_m[10:20, 10:20] = 0  # a hole in the mask
    depth_m[30, ::2] = 0  # dropouts
    mask = np.zeros((2, 40, 40), dtype=bool)
    mask[1, 5:35, 5:35] = True
    frame = RgbdFrame(None, depth_m, Intrinsics(40, 40, 40.0, 40.0, 19.5, 19.5))
    parts = unmeasured_parts(frame, mask)
    assert (parts[10:20, 10:20] == 2).all() and np.count_nonzero(parts) == 100


def test_lowest_point_is_that_of_the_boxes_corners() -> None:
    rng = np.random.default_rng(1)
    rotations = np.linalg.qr(rng.normal(size=(20, 3, 3)))[0]
    rotations *= np.sign(np.linalg.det(rotations))[:, None, None]
    corners = [
        (sx * region.outer_x, sy * region.half_y, z)
        for region in (GRIPPER.between, GRIPPER.palm)
        for sx in (-1, 1)
        for sy in (-1, 1)
        for z in (region.low_z, region.high_z)
    ]
    expected = -(np.array(corners) @ np.swapaxes(rotations, 1, 2))[:, :, 2].min(axis=1)
    np.testing.assert_allclose(GRIPPER.lowest_m(rotations, UP), expected, atol=1e-12)


def turned(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ DOWN_TURN


@pytest.mark.parametrize(
    ("origin_m", "degrees", "same"),
    [
        ((0.02, 0, 0), 0, True),
        ((0.04, 0, 0), 0, False),
        ((0, 0, 0), 25, True),
        ((0, 0, 0), 40, False),
        ((0, 0, 0), 180, True),
    ],
)
def test_grasps_within_3_cm_and_30_degrees_are_one(
    origin_m: tuple[float, float, float], degrees: float, same: bool
) -> None:
    both = poses_at((0, 0, 0)).joined(poses_at(origin_m, rotation=turned(degrees)))
    assert nearly_same(both, 0).tolist() == [True, same]


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
    sight = Sight(np.array([False]), np.array([0.25]), np.array([0.125]))
    values = marks_of(poses, closed_on(body, poses), body, sight, UP, 0.5, 0.08)
    marks = dict(zip(MARKS, values[0].tolist(), strict=True))
    expected = {
        "slope": np.tan(lean) / 0.5,
        "wide": (0.07 / 0.08 - 0.85) / 0.15,
        "hidden": 0.25,
        "shadowed": 0.125,
        **dict.fromkeys(("assumed", "arm", "tilt", "short", "shallow", "shift", "narrow"), 0.0),
    }
    assert marks == pytest.approx(expected, abs=1e-4)
