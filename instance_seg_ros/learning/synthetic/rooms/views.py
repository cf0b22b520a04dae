"""Cameras that look at a scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction
from instance_seg_ros.learning.synthetic.rooms.robots import hand_in_view
from instance_seg_ros.learning.synthetic.rooms.world import Scene, View

FloatArray = npt.NDArray[np.float64]

_NEAREST_M = 0.18  # about where the closest depth cameras start to measure
_FARTHEST_M = 2.0
_TRIES = 12
_CARRIED_SHARE = 0.07
_SMALLER = 8  # a view is judged by an image that is this many times smaller


def sample_view(rng: np.random.Generator, scene: Scene, caster: RayCaster, size_wh: tuple[int, int]) -> View:
    """A random camera with nothing right in front of it that sees some of the scene's objects.

    One view in twenty looks at the surroundings instead, with or without objects in it.
    """
    aside = rng.random() < 0.05
    view = _random_view(rng, scene, size_wh, aside)
    for _ in range(_TRIES):
        cast = caster.cast(_smaller(view.intrinsics), view.T_world_camera)
        seen = (cast.ids > 0).mean()
        near = cast.depth_m[cast.depth_m > 0]
        enough = seen > 0.02 or not scene.objects or aside
        if enough and near.size and near.min() > _NEAREST_M and seen < 0.9:
            break
        view = _random_view(rng, scene, size_wh, aside)
    return _with_hand(rng, view, caster) if rng.random() < _CARRIED_SHARE else view


def _with_hand(rng: np.random.Generator, view: View, caster: RayCaster) -> View:
    """The view of a robot that carries the camera on its hand."""
    depth_m = caster.cast(_smaller(view.intrinsics), view.T_world_camera).depth_m
    nearest_m = float(depth_m[depth_m > 0].min()) if (depth_m > 0).any() else 1.0
    return replace(view, attached=hand_in_view(rng, view, nearest_m))


def _smaller(camera: Intrinsics) -> Intrinsics:
    """The camera with an image that is `_SMALLER` times smaller; the remainder of the division is cut off."""
    return Intrinsics(
        camera.width // _SMALLER,
        camera.height // _SMALLER,
        camera.fx / _SMALLER,
        camera.fy / _SMALLER,
        (camera.cx + 0.5) / _SMALLER - 0.5,
        (camera.cy + 0.5) / _SMALLER - 0.5,
    )


def _random_view(rng: np.random.Generator, scene: Scene, size_wh: tuple[int, int], aside: bool) -> View:
    """Half of the views frame the group of objects; the others are anywhere, close up or far away."""
    distance = float(np.exp(rng.uniform(np.log(0.28), np.log(_FARTHEST_M))))
    focal = _random_focal(rng, distance)
    target = _random_target(rng, scene)
    if aside:
        target = target + rng.normal(0, 0.8, 3) * [1, 1, 0.4]
        distance += 0.3
    elif scene.objects and rng.random() < 0.5:
        middle, reach = _group(scene)
        target = middle + rng.normal(0, 0.3, 3) * reach * [1, 1, 0.3]
        focal = max(0.5, focal * float(rng.uniform(0.55, 1.0)))  # a wide lens close by also shows the room
        distance = float(np.clip(focal * reach / rng.uniform(0.34, 0.78), 0.28, _FARTHEST_M))
    elevation = _random_elevation(rng, scene.support.kind)
    yaw = rng.uniform(*scene.support.open_yaw)
    roll = rng.normal(0, 0.06) if rng.random() < 0.9 else rng.uniform(-np.pi, np.pi)
    T_world_camera = camera_pose(target + distance * direction(elevation, yaw), target, float(roll))
    off_axis = rng.normal(0, 0.08, 2)
    tilt = Transform.from_matrix(trimesh.transformations.euler_matrix(off_axis[0], off_axis[1], 0.0))
    centre = np.array(size_wh) / 2 - 0.5 + rng.normal(0, 0.02, 2) * size_wh[0]
    focal_x = focal * size_wh[0]
    focal_y = focal_x * float(rng.normal(1.0, 0.002))
    intrinsics = Intrinsics(*size_wh, focal_x, focal_y, float(centre[0]), float(centre[1]))
    return View(intrinsics, T_world_camera @ tilt)


def _group(scene: Scene) -> tuple[FloatArray, float]:
    """Middle of the objects and the radius about it that holds most of them, metres."""
    centres = np.array([item.T_world_shape.translation_m for item in scene.objects])
    middle = np.median(centres, axis=0)
    return middle, float(np.percentile(np.linalg.norm(centres - middle, axis=1), 80)) + 0.06


def _random_target(rng: np.random.Generator, scene: Scene) -> FloatArray:
    """A point between the middle of the objects and one of them, or anywhere on the support."""
    half = np.asarray(scene.support.half_wh_m)
    target = np.array([*(rng.uniform(-0.5, 0.5, 2) * half), 0.03])
    if scene.objects and rng.random() < 0.9:
        chosen = scene.objects[int(rng.integers(len(scene.objects)))].T_world_shape.translation_m
        middle = np.mean([item.T_world_shape.translation_m for item in scene.objects], axis=0)
        target = middle + rng.uniform(0, 1) * (chosen - middle)
    return np.asarray(target + rng.normal(0, 0.05, 3) * [1, 1, 0.3])


def _random_elevation(rng: np.random.Generator, support_kind: str) -> float:
    """Angle above the horizon in radians; three views in ten graze the support."""
    if support_kind == "shelf":
        return float(np.deg2rad(rng.uniform(3.0, 40.0)))
    if support_kind == "tote":
        return float(np.deg2rad(rng.uniform(28.0, 89.0)))
    low, high = ((8.0, 28.0), (25.0, 70.0), (60.0, 89.0))[int(rng.choice(3, p=(0.3, 0.52, 0.18)))]
    return float(np.deg2rad(rng.uniform(low, high)))


def _random_focal(rng: np.random.Generator, distance_m: float) -> float:
    """Focal length over image width: from wide time-of-flight cameras (0.5) to industrial structured light (1.8).

    Long lenses are likelier far away, as they are in use.
    """
    usual = 1.15 * (distance_m / 0.3) ** 0.4
    return float(np.clip(usual * np.exp(rng.normal(0.0, 0.35)), 0.5, 1.8))
