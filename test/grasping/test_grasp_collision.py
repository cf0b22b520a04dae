"""The gripper's regions and the collision checks on single points, and thinning."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.config import GripperSettings
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.grasping.candidates import Candidates, ContactPairs, ContactSurface, Target
from instance_seg_ros.grasping.collision import above_plane, free_of_own_object, free_of_scene, share_out_of_sight
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.ranking import nearly_same, quality

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


def grasp_at(
    *origins_m: tuple[float, float, float], width_m: float = 0.04, rotation: np.ndarray | None = None
) -> Candidates:
    """Grasps that close along the world's x and, unless told otherwise, come from above."""
    rotation = DOWN_TURN if rotation is None else rotation
    half = rotation[:, 0] * width_m / 2
    origins = np.array(origins_m)
    count = len(origins)
    pairs = ContactPairs(origins - half, origins + half, np.ones(count), np.full(count, 2))
    return Candidates(pairs, np.tile(rotation, (count, 1, 1)))


def surface_at(points_m: np.ndarray) -> ContactSurface:
    """An object at these points, and nowhere else; one point of it is none."""
    elsewhere = np.concatenate([points_m, [[0.045, 0.0, 0.02]]])
    return ContactSurface(elsewhere, np.zeros_like(elsewhere), np.arange(len(elsewhere)) < len(points_m))


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
    result = free_of_scene(grasp_at((0, 0, 0)), GRIPPER, np.array([point_m], dtype=np.float32), clearance_m=0.003)
    assert result.tolist() == [free]


def test_no_points_block_nothing() -> None:
    assert free_of_scene(grasp_at((0, 0, 0)), GRIPPER, np.zeros((0, 3), np.float32), 0.003).tolist() == [True]


@pytest.mark.parametrize(
    ("x_m", "free"),
    [(0.018, True), (0.024, True), (0.03, False), (0.045, False)],
    ids=["between", "noise at the contact", "met before the contact", "in the opened finger"],
)
def test_own_points_are_allowed_between_the_contacts_only(x_m: float, free: bool) -> None:
    own_m = np.array([[x_m, 0.0, 0.01 + 0.001 * k] for k in range(5)])
    result, _ = free_of_own_object(grasp_at((0, 0, 0)), GRIPPER, surface_at(own_m))
    assert result.tolist() == [free]


def test_an_object_taller_than_the_fingers_meets_the_palm() -> None:
    column_m = np.array([[0.0, 0.0, 0.005 * k] for k in range(12)])
    result, _ = free_of_own_object(grasp_at((0, 0, 0), (0, 0, 0.03)), GRIPPER, surface_at(column_m))
    assert result.tolist() == [False, True]


def test_pad_depth_is_how_far_the_object_reaches_between_the_fingers() -> None:
    own_m = np.array([[0.0, 0.0, -0.02], [0.0, 0.0, 0.012]])
    _, depth_m = free_of_own_object(grasp_at((0, 0, 0), (0, 0, 0.01)), GRIPPER, surface_at(own_m))
    assert depth_m.tolist() == pytest.approx([0.012, 0.002])


@pytest.mark.parametrize(
    ("x_m", "own", "share"),
    [
        (0.3, 0, 0.0),  # all of the fingers in the open right half
        (-0.3, 2, 1.0),  # behind the wall
        (-0.3, 1, 0.0),  # the wall is the object itself
        (0.0, 2, 0.5),  # one finger behind the wall
        (2.0, 0, 1.0),  # outside the image
    ],
)
def test_fingers_behind_something_else_are_out_of_sight(x_m: float, own: int, share: float) -> None:
    depth_m = np.full((48, 64), 2.0, dtype=np.float32)
    depth_m[:, :32] = 0.5  # a wall over the left half, owned by instance 1
    frame = RgbdFrame(None, depth_m, Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5))
    owners = (depth_m == 0.5).astype(np.int16)
    assert share_out_of_sight(grasp_at((x_m, 0, 1.0)), GRIPPER, frame, owners, own).tolist() == [share]


@pytest.mark.parametrize(("height_m", "free"), [(0.02, True), (0.005, True), (0.003, False), (-0.01, False)])
def test_the_tips_stay_above_the_plane(height_m: float, free: bool) -> None:
    plane = Plane(UP, 0.0)
    assert above_plane(grasp_at((0, 0, height_m)), GRIPPER, plane, clearance_m=0.004).tolist() == [free]


def test_a_level_approach_needs_room_for_the_palm() -> None:
    level = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # z along -y, closing along y
    assert np.linalg.det(level) == pytest.approx(1)
    candidates = grasp_at((0, 0, 0.03), (0, 0, 0.12), rotation=level)
    result = above_plane(candidates, GRIPPER, Plane(UP, 0.0), 0.004)
    reach = GRIPPER.lowest_m(candidates.rotations, UP)
    assert reach == pytest.approx([0.025, 0.025])  # half the palm's height is its lowest part
    assert result.tolist() == [True, True]


def test_an_approach_from_below_is_refused() -> None:
    assert above_plane(grasp_at((0, 0, 0.5), rotation=np.eye(3)), GRIPPER, Plane(UP, 0.0), 0.004).tolist() == [False]


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
    first, second = grasp_at((0, 0, 0)), grasp_at(origin_m, rotation=turned(degrees))
    both = Candidates(
        ContactPairs(
            np.concatenate([first.pairs.first_m, second.pairs.first_m]),
            np.concatenate([first.pairs.second_m, second.pairs.second_m]),
            np.ones(2),
            np.full(2, 2),
        ),
        np.concatenate([first.rotations, second.rotations]),
    )
    assert nearly_same(both, 0).tolist() == [True, same]


BOX = Target(1, np.eye(3), np.zeros(3), np.array([0.06, 0.04, 0.04]), UP, True)


def mark(candidates: Candidates, pad_depth_m: float = 0.02) -> float:
    return float(quality(candidates, BOX, np.array([pad_depth_m]), 0.0, friction=0.5, max_opening_m=0.08)[0])


def test_quality_is_1_for_the_perfect_grasp_and_0_for_what_barely_works() -> None:
    perfect = grasp_at((0, 0, 0))
    assert mark(perfect) == pytest.approx(1)
    at_the_cone = Candidates(
        ContactPairs(
            perfect.pairs.first_m,
            perfect.pairs.second_m,
            np.array([np.cos(np.arctan(0.5))]),
            np.array([2]),
        ),
        perfect.rotations,
    )
    assert mark(at_the_cone) == pytest.approx(0, abs=1e-3)
    assert mark(grasp_at((0, 0, 0), width_m=0.08)) == 0
    assert mark(perfect, pad_depth_m=0.0) == 0


def test_quality_falls_with_each_mark() -> None:
    perfect = mark(grasp_at((0, 0, 0)))
    off_centre = mark(grasp_at((0, 0.015, 0)))
    tilted = mark(grasp_at((0, 0, 0), rotation=np.array([[1, 0, 0], [0, -0.6, -0.8], [0, 0.8, -0.6]])))
    tight = mark(grasp_at((0, 0, 0), width_m=0.07))
    assert max(off_centre, tilted, tight) < perfect
