"""The sets of families."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.learning.grasp_simulation.object_sets import OBJECT_SETS
from instance_seg_ros.learning.grasp_simulation.objects import Piece, shape_of
from instance_seg_ros.learning.grasp_simulation.world import GraspWorld

FloatArray = NDArray[np.float64]

GRIPPER = GripperSettings()
TABLE_GAP_M = 0.004


def test_what_is_kept_for_the_last_run_is_in_no_other_set() -> None:
    for first, second in itertools.combinations(OBJECT_SETS.values(), 2):
        assert not first.keys() & second.keys()


@pytest.mark.parametrize("name", [f"{name}/{family}" for name, families in OBJECT_SETS.items() for family in families])
def test_every_shape_stands_on_the_table_around_its_origin_and_is_of_a_size_to_pick(name: str) -> None:
    objects, family = name.split("/")
    rng = np.random.default_rng(7)
    for _ in range(3):
        low_m, high_m = np.asarray(shape_of(family, OBJECT_SETS[objects][family](rng)).mesh.bounds)
        assert low_m[2] == pytest.approx(0, abs=1e-6)
        assert (low_m[:2] < 0).all() and (high_m[:2] > 0).all()
        assert np.sort(high_m - low_m)[0] >= 0.004 and np.sort(high_m - low_m)[2] <= 0.2


def grasps_of_true_surface(pieces: list[Piece], rng: np.random.Generator) -> list[FloatArray]:
    """Poses of grasps on pairs of true surface points well inside the friction cone, high ones near the middle first.

    They owe nothing to the product's own candidates. (N, 4, 4), in the frame of the shape, which stands on the table.
    """
    mesh = trimesh.util.concatenate([trimesh.convex.convex_hull(piece.mesh.vertices) for piece in pieces])
    points_m, faces = trimesh.sample.sample_surface(mesh, 400, seed=int(rng.integers(2**31)))
    closing = -mesh.face_normals[faces] + 0.15 * rng.normal(size=(len(points_m), 3))
    closing /= np.linalg.norm(closing, axis=1, keepdims=True)
    other_m, pair, triangle = mesh.ray.intersects_location(points_m + 1e-5 * closing, closing)
    first_m, axis = points_m[pair], closing[pair]
    steepest = np.minimum(
        -np.sum(mesh.face_normals[faces[pair]] * axis, axis=1), np.sum(mesh.face_normals[triangle] * axis, axis=1)
    )
    width_m = np.linalg.norm(other_m - first_m, axis=1)
    good = (steepest > np.cos(np.radians(18))) & (width_m > 0.003) & (width_m < 0.9 * GRIPPER.max_opening_m)
    good &= np.abs(axis[:, 2]) < 0.7
    middle_m, axis = (first_m + other_m)[good] / 2, axis[good]
    down = np.array([0.0, 0.0, -1.0])
    approach = down - (axis @ down)[:, None] * axis
    approach /= np.linalg.norm(approach, axis=1, keepdims=True)
    poses = np.tile(np.eye(4), (len(axis), 1, 1))
    poses[:, :3, :3] = np.stack([axis, np.cross(approach, axis), approach], axis=2)
    poses[:, :3, 3] = middle_m + 0.008 * approach
    reach_m = GRIPPER.finger_thickness_m + (GRIPPER.max_opening_m / 2) * np.abs(axis[:, 2])
    poses[:, 2, 3] = np.maximum(poses[:, 2, 3], TABLE_GAP_M + reach_m * np.abs(axis[:, 2]))
    arm_m = np.linalg.norm(np.cross(middle_m - mesh.bounds.mean(axis=0), axis), axis=1)
    return list(poses[np.argsort(arm_m - middle_m[:, 2] + rng.uniform(0, 0.02, len(arm_m)))])


@pytest.mark.parametrize("family", OBJECT_SETS["reserved"])
def test_what_is_kept_for_the_last_run_stands_and_can_be_held(family: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(2):
        pieces = OBJECT_SETS["reserved"][family](rng)
        start = np.eye(4)[None]
        world = GraspWorld([shape_of(family, pieces)], start, GRIPPER, friction=0.5)
        world.settle()
        np.testing.assert_allclose(world.poses(), start, atol=0.002)
        assert any(
            GraspWorld(world.shapes, start, GRIPPER, friction=0.5).attempt(pose, GRIPPER.max_opening_m, 0.08).success
            for pose in grasps_of_true_surface(pieces, rng)[:60]
        )
