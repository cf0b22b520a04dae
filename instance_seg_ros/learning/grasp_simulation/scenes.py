"""Packed and piled scenes, shelves and totes, and how a camera sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import trimesh
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.learning.grasp_simulation.objects import Family, sample_graspable
from instance_seg_ros.learning.grasp_simulation.world import Block, GraspWorld, Moment
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
_SHELF_M = (0.5, 0.32)
"""Between its side walls, and from its back wall to its open front."""
_SHELF_CLEAR_M = (0.28, 0.38)
_BOARD_M = 0.018
_OUT_OF_SHELF_M = ((0.0, 0.0, 0.02), (0.0, -0.4, 0.0))
_TOTE_M = ((0.5, 0.56), (0.34, 0.37), (0.1, 0.15))
"""From what to what it is long, wide and high, inside."""
_TOTE_WALL_M = 0.006


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
            if _is_free(place_m, radius_m, taken):
                break
        taken.append((place_m, radius_m))
        poses.append(_upright(rng, shape, place_m))
    world = GraspWorld(shapes, np.stack(poses), gripper, friction)
    world.settle()
    return world


def _is_free(place_m: FloatArray, radius_m: float, taken: list[tuple[FloatArray, float]]) -> bool:
    return all(np.linalg.norm(place_m - other_m) > radius_m + r + _GAP_M for other_m, r in taken)


def _upright(rng: np.random.Generator, shape: ObjectShape, place_m: FloatArray) -> FloatArray:
    """(4, 4) the pose of an object that stands there, turned at random."""
    turn = yaw_rotation(float(rng.uniform(0, 2 * np.pi)))
    return pose((*place_m, 0.001 - shape.bottom_m), turn).matrix


def piled_scene(
    rng: np.random.Generator, families: dict[str, Family], gripper: GripperSettings, friction: float
) -> GraspWorld:
    """Objects that fell from 20 cm above what lies there already, each turned at random, between walls that go."""
    shapes, poses = _falling(rng, families)
    world = GraspWorld(shapes, poses, gripper, friction, guides_m=(WORKSPACE_M / 2, WORKSPACE_M / 2))
    return _fallen(world)


def tote_scene(
    rng: np.random.Generator, families: dict[str, Family], gripper: GripperSettings, friction: float
) -> GraspWorld:
    """Objects that fell like those of `piled_scene` into a tote of a size that is drawn."""
    shapes, poses = _falling(rng, families)
    long_m, wide_m, high_m = (float(rng.uniform(*between_m)) for between_m in _TOTE_M)
    x_m, y_m = (long_m + _TOTE_WALL_M) / 2, (wide_m + _TOTE_WALL_M) / 2
    across, along = (_TOTE_WALL_M, wide_m, high_m), (long_m + 2 * _TOTE_WALL_M, _TOTE_WALL_M, high_m)
    walls = [Block(across, (sign * x_m, 0.0, high_m / 2)) for sign in (-1, 1)]
    walls += [Block(along, (0.0, sign * y_m, high_m / 2)) for sign in (-1, 1)]
    return _fallen(GraspWorld(shapes, poses, gripper, friction, (long_m / 2, wide_m / 2), walls))


def _falling(rng: np.random.Generator, families: dict[str, Family]) -> tuple[list[ObjectShape], FloatArray]:
    """Objects above each other, each turned at random, and their poses (N, 4, 4)."""
    shapes = [sample_graspable(rng, families) for _ in range(OBJECTS_A_SCENE)]
    poses = []
    for index, shape in enumerate(shapes):
        turn = trimesh.transformations.random_rotation_matrix(rng.random(3))
        middle_m = np.asarray(shape.mesh.bounds).mean(axis=0)
        drop_m = np.array([*rng.uniform(-0.06, 0.06, 2), _DROP_M * (index + 1)])
        turn[:3, 3] = drop_m - turn[:3, :3] @ middle_m
        poses.append(turn)
    return shapes, np.stack(poses)


def _fallen(world: GraspWorld) -> GraspWorld:
    """The same world, at rest and without its guides."""
    world.settle(6.0)
    world.without_guides()
    world.settle()
    return world


def shelf_scene(
    rng: np.random.Generator, families: dict[str, Family], gripper: GripperSettings, friction: float
) -> GraspWorld:
    """Objects upright beside each other on a board between walls, with a board above; those that find room.

    It is open towards -y. What is held is taken out there, 2 cm above the board.
    """
    clear_m, (wide_m, deep_m) = float(rng.uniform(*_SHELF_CLEAR_M)), _SHELF_M
    x_m, y_m, z_m = (wide_m + _BOARD_M) / 2, (deep_m + _BOARD_M) / 2, (clear_m + _BOARD_M) / 2
    walls = [Block((_BOARD_M, deep_m, clear_m), (sign * x_m, 0.0, clear_m / 2)) for sign in (-1, 1)]
    walls.append(Block((wide_m + 2 * _BOARD_M, _BOARD_M, clear_m), (0.0, y_m, clear_m / 2)))
    walls.append(Block((wide_m + 2 * _BOARD_M, deep_m + _BOARD_M, _BOARD_M), (0.0, _BOARD_M / 2, clear_m / 2 + z_m)))
    shapes, poses = [], []
    taken: list[tuple[FloatArray, float]] = []
    for _ in range(OBJECTS_A_SCENE):
        shape = sample_graspable(rng, families)
        reach_m = np.array(_SHELF_M) / 2 - shape.footprint_radius_m - _GAP_M
        for _ in range(_TRIES if reach_m.min() > 0 else 0):
            place_m = rng.uniform(-reach_m, reach_m)
            if _is_free(place_m, shape.footprint_radius_m, taken):
                taken.append((place_m, shape.footprint_radius_m))
                shapes.append(shape)
                poses.append(_upright(rng, shape, place_m))
                break
    world = GraspWorld(shapes, np.stack(poses), gripper, friction, walls=walls, way_out_m=_OUT_OF_SHELF_M)
    world.settle()
    return world


@dataclass(frozen=True)
class View:
    """From where to where cameras look at scenes of a kind.

    Attributes:
        azimuth_rad, elevation_deg: of the camera, seen from its target; the first about +z from +x.
        distance_m: from there.
        height_m: of the target, above the middle of the table.
        beside: where the border of the image goes then, as a share of the half side of what the camera sees around
            its target; None where all is in the image.
    """

    azimuth_rad: tuple[float, float] = (0.0, 2 * np.pi)
    elevation_deg: tuple[float, float] = (40.0, 60.0)
    distance_m: tuple[float, float] = (0.55, 0.7)
    height_m: float = 0.03
    beside: tuple[float, float] | None = None

    def draw(self, rng: np.random.Generator) -> Transform:
        """`T_world_camera` of one of them."""
        azimuth, elevation = rng.uniform(*self.azimuth_rad), np.radians(rng.uniform(*self.elevation_deg))
        target_m = np.array([0.0, 0.0, self.height_m])
        distance_m = rng.uniform(*self.distance_m)
        T_world_camera = camera_pose(target_m + distance_m * direction(elevation, azimuth), target_m)
        if self.beside is None:
            return T_world_camera
        half_m = np.array(_IMAGE_WH) / 2 / _FOCAL_PX * distance_m * rng.uniform(*self.beside)
        aside_m = np.zeros(3)
        axis = int(rng.integers(2))
        aside_m[axis] = half_m[axis] * rng.choice((-1.0, 1.0))
        return T_world_camera @ pose(aside_m)


@dataclass(frozen=True)
class SceneKind:
    """How scenes of a kind are made and looked at."""

    make: Callable[[np.random.Generator, dict[str, Family], GripperSettings, float], GraspWorld]
    view: View = View()


SCENES = {
    "packed": SceneKind(packed_scene),
    "pile": SceneKind(piled_scene),
    "shelf": SceneKind(shelf_scene, View((-2.0, -1.14), (12.0, 35.0), (0.6, 0.8), 0.09)),
    "tote": SceneKind(tote_scene, View(elevation_deg=(55.0, 80.0), distance_m=(0.65, 0.8))),
    "cut": SceneKind(piled_scene, View(beside=(0.7, 1.1))),
}
"""The last are piles that the border of the image goes through."""


@dataclass
class Stage:
    """A world with its looks and its camera.

    Args:
        world: what is there.
        rng: draws looks and view.
        sensor: defects of the depth camera.
        view: from where it looks.
    """

    world: GraspWorld
    rng: np.random.Generator
    sensor: SensorSettings
    view: View = field(default_factory=View)
    T_world_camera: Transform = field(init=False)
    intrinsics: Intrinsics = field(init=False)

    def __post_init__(self) -> None:
        self.T_world_camera = self.view.draw(self.rng)
        width, height = _IMAGE_WH
        self.intrinsics = Intrinsics(width, height, _FOCAL_PX, _FOCAL_PX, (width - 1) / 2, (height - 1) / 2)
        top = ObjectShape("table", box_mesh((0.6, 0.6, 0.02)), (box_geom((0.6, 0.6, 0.02)),))
        floor = ObjectShape("floor", box_mesh((3.0, 3.0, 0.02)), (box_geom((3.0, 3.0, 0.02)),))
        # Nothing clear and no mirror: what a depth camera cannot measure is another question.
        self._around = [
            Placed(top, pose((0.0, 0.0, -0.02)), 0, background_appearance(self.rng, "top")),
            Placed(floor, pose((0.0, 0.0, -0.75)), 0, background_appearance(self.rng, "floor")),
        ]
        self._looks = [object_appearance(self.rng, shape) for shape in self.world.shapes]
        look = background_appearance(self.rng, "furniture")
        for wall in self.world.walls:
            half_m = np.array(wall.size_m) / 2
            shape = ObjectShape("wall", box_mesh(half_m), (box_geom(half_m),))
            self._around.append(Placed(shape, pose(wall.centre_m), 0, look))

    def frame(self, seed: int, with_color: bool) -> tuple[RgbdFrame, NDArray[np.uint8]]:
        """What the camera sees now, and the true labels (H, W): 1 + index of the object.

        Args:
            seed: of the camera's noise.
            with_color: False leaves the colour out, which takes most of the time.
        """
        caster = RayCaster([*self._around, *self._objects(self.world.poses())])
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
        caster = RayCaster([*self._around, *self._objects(moment.T_world_object), hand])
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
