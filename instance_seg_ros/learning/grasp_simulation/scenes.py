"""Packed and piled scenes, and how a camera sees them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import trimesh
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.learning.grasp_simulation.objects import Family, sample_graspable
from instance_seg_ros.learning.grasp_simulation.world import GraspWorld, Moment
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, box_geom, box_mesh, join
from instance_seg_ros.learning.synthetic.pictures.appearance import (
    background_appearance,
    object_appearance,
    plain,
)
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction, pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.world import Placed
from instance_seg_ros.learning.synthetic.sensors.sensor import SensorSettings, simulate_depth

FloatArray = NDArray[np.float64]

SCENES = ("packed", "pile")
OBJECTS_A_SCENE = 5
WORKSPACE_M = 0.3
"""Side of the square on the table where the objects are."""

_OUT_OF_REACH_M = 0.3
_DROP_M = 0.2
_IMAGE_WH = (640, 480)
_FOCAL_PX = 610.0
_PICTURE_WH = (320, 240)
_GAP_M = 0.004
_TRIES = 400


def packed_scene(
    rng: np.random.Generator, families: dict[str, Family], gripper: GripperSettings, friction: float
) -> GraspWorld:
    """Objects upright beside each other, without overlap, as near to the middle as they were drawn."""
    shapes = [sample_graspable(rng, families) for _ in range(OBJECTS_A_SCENE)]
    poses: list[FloatArray] = []
    taken: list[tuple[FloatArray, float]] = []
    for shape in shapes:
        radius_m = shape.footprint_radius_m
        for attempt in range(_TRIES):
            reach_m = WORKSPACE_M / 2 - min(radius_m, 0.06) + 0.0005 * max(0, attempt - 100)  # room is found at last
            place_m = rng.uniform(-reach_m, reach_m, 2)
            if all(np.linalg.norm(place_m - other_m) > radius_m + r + _GAP_M for other_m, r in taken):
                break
        taken.append((place_m, radius_m))
        turn = yaw_rotation(float(rng.uniform(0, 2 * np.pi)))
        poses.append(pose((*place_m, 0.001 - shape.bottom_m), turn).matrix)
    world = GraspWorld(shapes, np.stack(poses), gripper, friction)
    world.settle()
    return world


def piled_scene(
    rng: np.random.Generator, families: dict[str, Family], gripper: GripperSettings, friction: float
) -> GraspWorld:
    """Objects that fell from 20 cm above what lies there already, each turned at random, between walls that go."""
    shapes = [sample_graspable(rng, families) for _ in range(OBJECTS_A_SCENE)]
    poses = []
    for index, shape in enumerate(shapes):
        turn = trimesh.transformations.random_rotation_matrix(rng.random(3))
        middle_m = np.asarray(shape.mesh.bounds).mean(axis=0)
        drop_m = np.array([*rng.uniform(-0.06, 0.06, 2), _DROP_M * (index + 1)])
        turn[:3, 3] = drop_m - turn[:3, :3] @ middle_m
        poses.append(turn)
    world = GraspWorld(shapes, np.stack(poses), gripper, friction, walls_m=WORKSPACE_M / 2)
    world.settle(6.0)
    world.without_walls()
    world.settle()
    return world


@dataclass
class Stage:
    """A world with its looks and its camera.

    Args:
        world: what is there.
        rng: draws looks and view.
        sensor: defects of the depth camera.
    """

    world: GraspWorld
    rng: np.random.Generator
    sensor: SensorSettings
    T_world_camera: Transform = field(init=False)
    intrinsics: Intrinsics = field(init=False)

    def __post_init__(self) -> None:
        yaw, elevation = self.rng.uniform(0, 2 * np.pi), np.radians(self.rng.uniform(40, 60))
        target_m = np.array([0.0, 0.0, 0.03])
        eye_m = target_m + self.rng.uniform(0.55, 0.7) * direction(elevation, yaw)
        self.T_world_camera = camera_pose(eye_m, target_m)
        width, height = _IMAGE_WH
        self.intrinsics = Intrinsics(width, height, _FOCAL_PX, _FOCAL_PX, (width - 1) / 2, (height - 1) / 2)
        top = ObjectShape("table", box_mesh((0.6, 0.6, 0.02)), (box_geom((0.6, 0.6, 0.02)),))
        floor = ObjectShape("floor", box_mesh((3.0, 3.0, 0.02)), (box_geom((3.0, 3.0, 0.02)),))
        # Nothing clear and no mirror: what a depth camera cannot measure is another question.
        self._table = [
            Placed(top, pose((0.0, 0.0, -0.02)), 0, background_appearance(self.rng, "top")),
            Placed(floor, pose((0.0, 0.0, -0.75)), 0, background_appearance(self.rng, "floor")),
        ]
        self._looks = [object_appearance(self.rng, shape) for shape in self.world.shapes]

    def frame(self, seed: int, with_color: bool) -> tuple[RgbdFrame, NDArray[np.uint8]]:
        """What the camera sees now, and the true labels (H, W): 1 + index of the object.

        Args:
            seed: of the camera's noise.
            with_color: False leaves the colour out, which takes most of the time.
        """
        caster = RayCaster([*self._table, *self._objects(self.world.poses())])
        camera = self.intrinsics
        cast = caster.cast(camera, self.T_world_camera)
        depth_m = simulate_depth(cast.depth_m, camera.fx, np.random.default_rng(seed), self.sensor)
        color_rgb = caster.shade(cast, camera, self.T_world_camera) if with_color else None
        return RgbdFrame(color_rgb=color_rgb, depth_m=depth_m, intrinsics=camera, stamp_ns=0), cast.ids

    def clear_out_of_reach(self) -> list[int]:
        """Removes what has rolled or been pushed out of reach; returns the indices."""
        far = [
            index
            for index, T in enumerate(self.world.poses())
            if self.world.present[index] and (np.abs(T[:2, 3]).max() > _OUT_OF_REACH_M or T[2, 3] < -0.05)
        ]
        for index in far:
            self.world.remove(index)
        return far

    def picture(self, moment: Moment, azimuth_rad: float) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 RGB of a moment with the gripper, from an elevation of 25 degrees, near the gripper."""
        target_m = moment.T_world_gripper[:3, 3] + [0.0, 0.0, 0.02]
        T_world_camera = camera_pose(target_m + 0.42 * direction(np.radians(25.0), azimuth_rad), target_m)
        width, height = _PICTURE_WH
        camera = Intrinsics(width, height, 0.9 * width, 0.9 * width, (width - 1) / 2, (height - 1) / 2)
        hand = Placed(
            hand_shape(self.world.gripper, moment.opening_m),
            Transform.from_matrix(moment.T_world_gripper),
            0,
            plain((0.75, 0.75, 0.8)),
        )
        caster = RayCaster([*self._table, *self._objects(moment.T_world_object), hand])
        return caster.shade(caster.cast(camera, T_world_camera), camera, T_world_camera)

    def _objects(self, poses: FloatArray) -> list[Placed]:
        items = zip(self.world.shapes, poses, self._looks, self.world.present, strict=True)
        return [
            Placed(shape, Transform.from_matrix(T), index + 1, look)
            for index, (shape, T, look, present) in enumerate(items)
            if present
        ]


def hand_shape(gripper: GripperSettings, opening_m: float) -> ObjectShape:
    """The gripper as a shape in the grasp's frame."""
    palm_z = -gripper.finger_length_m - gripper.palm_depth_m / 2
    half_palm = (gripper.palm_width_m / 2, gripper.palm_height_m / 2, gripper.palm_depth_m / 2)
    half_finger = (gripper.finger_thickness_m / 2, gripper.finger_width_m / 2, gripper.finger_length_m / 2)
    meshes = [box_mesh(half_palm, (0.0, 0.0, palm_z))]
    for sign in (-1, 1):
        x = sign * (max(opening_m, 0.0) / 2 + half_finger[0])
        meshes.append(box_mesh(half_finger, (x, 0.0, -half_finger[2])))
    return ObjectShape("gripper", join(meshes), ())


def steady(sensor: SensorSettings) -> SensorSettings:
    """The camera of one round: calibrated, so that its scale does not change from frame to frame, and not cropped."""
    return replace(sensor, scale_error=0.0, crop_probability=0.0)
