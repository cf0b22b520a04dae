"""How far lifting is from the truth of generated scenes, object by object, and simple recipes beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.geometry_scenes import TrueObject, TrueScene
from instance_seg_ros.learning.evaluation.silence import Verdict, verdict
from instance_seg_ros.lifting import Completion, Instance3D, Lifter
from instance_seg_ros.lifting.box_bounds import SIGMAS_OF_90_PERCENT

FloatArray = NDArray[np.float64]

BOTTOM_WITHIN_M = 0.008
"""A box's lower end is right within this of the object's true lowest point; where depth is noisier, within 3 sigma."""
_SAME_M = 1e-6
"""Points that depart from a line by less are on it."""
SUPPORT_REACH_M, SUPPORT_NOISE_M = 0.45, 0.02
"""The support is measured within these of the objects' middle and of its true height."""
INVENTED_M = 0.02
"""A box that reaches this far below the object's lowest point stands on a plane that is not there."""
SILENT_M = 0.02
"""A centre that is farther off is silently wrong where the status is OK."""


@dataclass(frozen=True)
class ObjectError:
    """What lifting said of one object, against the truth.

    Attributes:
        scene, family, support, visible, cut, distance_m: see `TrueScene` and `TrueObject`.
        lifted: whether it has a centre at all; the errors are of those that have.
        centre_m: of the volume's centre.
        box_centre_m: of the box's centre.
        size: relative errors of the horizontal sides, the longer one first, and of the height.
        bottom_m: of the lower end of the box along the true vertical, above zero where it ends too high.
        bottom_right: whether that is within the tolerance.
        completed: whether the box was completed down to what it says that the object stands on.
        status: flags of lifting.
        recipes_m: errors of simple recipes for the centre.
        sigmas: error of the centre along the box's axes, in standard deviations of what lifting says of it; empty where
            it says nothing.
        in_bounds: of the lower and the upper side along each of the box's axes, whether it is where its bounds say;
            empty where nothing is said.
        bounds_m: (6,) how far apart these bounds are, likewise.
        verdict: on whether something is wrong and nothing says so.
    """

    scene: str
    family: str
    support: str
    visible: float
    cut: float
    distance_m: float
    lifted: bool
    centre_m: float
    box_centre_m: float
    size: tuple[float, float, float]
    bottom_m: float
    bottom_right: bool
    completed: bool
    status: Status
    recipes_m: dict[str, float]
    sigmas: tuple[float, ...] = ()
    in_bounds: tuple[bool, ...] = ()
    bounds_m: tuple[float, ...] = ()
    verdict: Verdict = Verdict.RIGHT


@dataclass(frozen=True)
class PlaneError:
    """Of the support plane of a scene whose objects stand on one.

    Attributes:
        scene: its kind.
        found: whether there was one.
        distance_m: between both planes at the objects' middle.
        angle_deg: between them.
        informed_distance_m, informed_angle_deg: likewise of the plane that somebody would find who knew what of the
            depth is the support's: what is farther off is the camera's.
    """

    scene: str
    found: bool
    distance_m: float
    angle_deg: float
    informed_distance_m: float
    informed_angle_deg: float


def scene_errors(scene: TrueScene, lifter: Lifter) -> tuple[list[ObjectError], PlaneError | None]:
    """Of every object of a scene whose masks are the true ones, and of its support plane, where it has just one."""
    instances = Instances.from_labels(scene.labels)
    labels = [int(label) for label in np.unique(scene.labels) if label]
    lifted = lifter.lift(scene.frame, instances)
    true = {item.label: item for item in scene.objects}
    errors = [
        object_error(scene, true[label], instance, scene.labels == label)
        for label, instance in zip(labels, lifted.instances, strict=True)
    ]
    return errors, plane_error(scene, lifted.support_plane)


def object_error(scene: TrueScene, true: TrueObject, instance: Instance3D, mask: NDArray[np.bool_]) -> ObjectError:
    """How far what lifting says of an object is off.

    Args:
        true: the object.
        instance: what lifting says of it.
        mask: (H, W), its pixels, for the simple recipes.
    """
    unknown = float("nan")
    centre_m = box_centre_m = bottom_m = unknown
    size: tuple[float, float, float] = (unknown, unknown, unknown)
    if instance.box is not None and instance.centroid_m is not None:
        centre_m = float(np.linalg.norm(instance.centroid_m - true.centre_m))
        own, expected = (box.T_camera_box.translation_m for box in (instance.box, true.box))
        box_centre_m = float(np.linalg.norm(own - expected))
        size = _size_errors(instance.box, true.box)
        corners_m = scene.T_world_camera.apply(instance.box.corners_m)
        bottom_m = float(corners_m[:, 2].min()) - true.bottom_height_m
    sigma_m = scene.noise_m * true.distance_m**2
    return ObjectError(
        scene.kind,
        true.family,
        true.support,
        true.visible,
        true.cut,
        true.distance_m,
        instance.box is not None,
        centre_m,
        box_centre_m,
        size,
        bottom_m,
        bool(abs(bottom_m) <= max(BOTTOM_WITHIN_M, 3 * sigma_m)),
        instance.completion is not Completion.NONE,
        instance.status,
        {name: float(np.linalg.norm(recipe(scene.frame, mask) - true.centre_m)) for name, recipe in RECIPES.items()},
        _error_in_sigmas(instance, true),
        *_sides_in_bounds(instance, true),
        verdict(true, instance, scene.T_world_camera),
    )


def _error_in_sigmas(instance: Instance3D, true: TrueObject) -> tuple[float, ...]:
    if instance.box is None or instance.centroid_m is None or instance.centroid_covariance_m2 is None:
        return ()
    axes = instance.box.T_camera_box.rotation.T
    error_m = np.abs(axes @ (instance.centroid_m - true.centre_m))
    sigma_m = np.sqrt(np.diag(axes @ instance.centroid_covariance_m2 @ axes.T))
    return tuple((error_m / sigma_m).tolist())


def _sides_in_bounds(instance: Instance3D, true: TrueObject) -> tuple[tuple[bool, ...], tuple[float, ...]]:
    if instance.box is None or instance.inner_box is None or instance.outer_box is None:
        return (), ()
    axes = instance.box.T_camera_box.rotation.T
    # An object beyond the sides of the smaller box, and not beyond those of the larger one.
    beyond_inner_m, beyond_outer_m = (
        sides_beyond_m(box, true.vertices_m, axes) for box in (instance.inner_box, instance.outer_box)
    )
    is_between = (beyond_inner_m >= 0) & (beyond_outer_m <= 0)
    return tuple(is_between.reshape(-1).tolist()), tuple((beyond_inner_m - beyond_outer_m).reshape(-1).tolist())


def sides_beyond_m(box: OrientedBox, vertices_m: FloatArray, axes: FloatArray) -> FloatArray:
    """How far an object reaches beyond the sides of its box, (3, 2): the lower and the upper one along each axis.

    Args:
        vertices_m: (V, 3) of its true mesh, in the frame of the box.
        axes: (3, 3) those of the box as rows, in any order and with any signs.
    """
    along_m = (vertices_m - box.T_camera_box.translation_m) @ axes.T
    halves_m = np.abs(axes @ box.T_camera_box.rotation).round(6) @ box.size_m / 2
    return np.stack([-along_m.min(axis=0) - halves_m, along_m.max(axis=0) - halves_m], axis=1)


def _size_errors(box: OrientedBox, true: OrientedBox) -> tuple[float, float, float]:
    rotation = true.T_camera_box.rotation.T @ box.T_camera_box.rotation
    vertical = int(np.argmax(np.abs(rotation[2])))
    own = [*sorted(np.delete(box.size_m, vertical), reverse=True), box.size_m[vertical]]
    expected = [*sorted(true.size_m[:2], reverse=True), true.size_m[2]]
    first, second, third = (abs(a / b - 1) for a, b in zip(own, expected, strict=True))
    return float(first), float(second), float(third)


def plane_error(scene: TrueScene, plane: Plane | None) -> PlaneError | None:
    """Of what lifting takes for the plane that most objects stand on; None where a scene has not just one."""
    if scene.support_height_m is None or not scene.objects:
        return None
    middle_m = scene.T_world_camera.apply(np.mean([item.centre_m for item in scene.objects], axis=0))
    at_m = np.array([*middle_m[:2], scene.support_height_m])
    own = _distance_and_angle(scene, plane, at_m)
    return PlaneError(
        scene.kind, plane is not None, *own, *_distance_and_angle(scene, _informed_plane(scene, at_m), at_m)
    )


def _distance_and_angle(scene: TrueScene, plane: Plane | None, at_m: FloatArray) -> tuple[float, float]:
    """How far a plane is from a point (3,) of the true one, in the world, metres, and their angle, degrees."""
    if plane is None:
        return float("nan"), float("nan")
    T_camera_world = scene.T_world_camera.inverse()
    up = T_camera_world.rotation[:, 2]
    angle_deg = float(np.degrees(np.arccos(np.clip(plane.normal @ up, -1, 1))))
    return abs(float(plane.height_m(T_camera_world.apply(at_m)))), angle_deg


def _informed_plane(scene: TrueScene, at_m: FloatArray) -> Plane | None:
    """By least squares through what is measured of the support about a point (3,) of it, in the camera's frame.

    A camera errs in depth by a share of its square, so that it is the inverse depth which is fitted: for a plane that
    is linear in the ray.
    """
    points_m = scene.frame.points_m[(scene.frame.depth_m > 0) & (scene.labels == 0)].astype(np.float64)
    away_m = scene.T_world_camera.apply(points_m) - at_m
    near = (np.abs(away_m[:, 2]) < SUPPORT_NOISE_M) & (np.hypot(away_m[:, 0], away_m[:, 1]) < SUPPORT_REACH_M)
    if near.sum() < 3:
        return None
    inverse_depth = 1 / points_m[near, 2]
    steepness, *_ = np.linalg.lstsq(points_m[near] * inverse_depth[:, None], inverse_depth)
    size = float(np.linalg.norm(steepness))
    return Plane(-steepness / size, 1 / size)


# ---------------------------------------------------------------------------------------------------------------------
# What people do without this package


def _masked_points_m(frame: RgbdFrame, mask: NDArray[np.bool_]) -> FloatArray:
    return frame.points_m[mask & (frame.depth_m > 0)].astype(np.float64)


def _without_outliers_m(points_m: FloatArray) -> FloatArray:
    """Statistical outlier removal: 20 neighbours, 2 standard deviations."""
    points_m = points_m[:: 1 + len(points_m) // 2000]
    if len(points_m) <= 21:
        return points_m
    distance_m = cKDTree(points_m).query(points_m, 21)[0][:, 1:].mean(axis=1)
    return points_m[distance_m <= distance_m.mean() + 2 * distance_m.std()]


def _surface_mean(frame: RgbdFrame, mask: NDArray[np.bool_]) -> FloatArray:
    points_m = _masked_points_m(frame, mask)
    return points_m.mean(axis=0) if len(points_m) else np.full(3, np.nan)


def _principal_box(frame: RgbdFrame, mask: NDArray[np.bool_]) -> FloatArray:
    points_m = _without_outliers_m(_masked_points_m(frame, mask))
    if len(points_m) < 4:
        return np.full(3, np.nan)
    mean_m = points_m.mean(axis=0)
    axes = np.linalg.eigh(np.cov(points_m.T))[1]
    local_m = (points_m - mean_m) @ axes
    return np.asarray(mean_m + axes @ (local_m.max(axis=0) + local_m.min(axis=0)) / 2)


def _smallest_box(frame: RgbdFrame, mask: NDArray[np.bool_]) -> FloatArray:
    points_m = _without_outliers_m(_masked_points_m(frame, mask))
    if len(points_m) < 4:
        return np.full(3, np.nan)
    low_m, high_m = points_m.min(axis=0), points_m.max(axis=0)
    if np.linalg.matrix_rank(points_m - low_m, _SAME_M) < 2:  # around a line there is no smallest box
        return np.asarray((low_m + high_m) / 2)
    to_origin, _ = trimesh.bounds.oriented_bounds(points_m)
    return np.asarray(np.linalg.inv(to_origin)[:3, 3])


RECIPES: dict[str, Callable[[RgbdFrame, NDArray[np.bool_]], FloatArray]] = {
    "mean of the surface": _surface_mean,
    "box along principal axes": _principal_box,
    "smallest box": _smallest_box,
}
"""Centres by recipes that need nothing but the masked depth; the boxes after removal of outliers, as in Open3D."""

# ---------------------------------------------------------------------------------------------------------------------
# Figures

GROUPS: dict[str, Callable[[ObjectError], bool]] = {
    "all": lambda error: True,
    "whole: 95 % visible or more": lambda error: error.visible >= 0.95,
    "half hidden: 35 to 65 % visible": lambda error: 0.35 <= error.visible <= 0.65,
    "cut by the border: 25 to 75 %": lambda error: 0.25 <= error.cut <= 0.75,
    "on another object": lambda error: error.support == "object",
    "held": lambda error: error.support == "nothing",
    "nearer than 0.8 m": lambda error: error.distance_m < 0.8,
    "beyond 1 m": lambda error: error.distance_m > 1.0,
}
"""What the errors are grouped by, besides the scene's kind and the shape."""


@dataclass(frozen=True)
class ErrorRow:
    """Figures of some objects.

    Attributes:
        name: of the group.
        count, lifted: objects, and those of them with a centre.
        centre_mm, box_centre_mm: median and 90th percentile of the errors.
        size, worst_side: median and 90th percentile in per cent, over all sides and of each object's worst one.
        bottom_right: share in per cent of the objects whose box ends where they end below.
        invented: share in per cent of the boxes that reach down to something that is not there.
        covered: share in per cent of the centre's 90 % intervals along the box's axes that hold the truth.
        in_bounds: share in per cent of the sides of boxes that are within their bounds.
        bounds_mm: median of how far apart these bounds are, and the 90th percentile.
        recipe_mm, recipe: median of the best simple recipe, and its name.
    """

    name: str
    count: int
    lifted: int
    centre_mm: tuple[float, float]
    box_centre_mm: tuple[float, float]
    size: tuple[float, float]
    worst_side: tuple[float, float]
    bottom_right: float
    invented: float
    covered: float
    in_bounds: float
    bounds_mm: tuple[float, float]
    recipe_mm: float
    recipe: str


def error_rows(errors: Sequence[ObjectError]) -> list[ErrorRow]:
    """Figures by group, by the scene's kind and by shape; groups without objects are left out."""
    rows = [_row(name, [error for error in errors if belongs(error)]) for name, belongs in GROUPS.items()]
    for by in ("scene", "family"):
        for value in dict.fromkeys(sorted(getattr(error, by) for error in errors)):
            rows.append(_row(f"{by}: {value}", [error for error in errors if getattr(error, by) == value]))
    return [row for row in rows if row.count]


def _row(name: str, errors: Sequence[ObjectError]) -> ErrorRow:
    lifted = [error for error in errors if error.lifted]
    sizes = np.array([error.size for error in lifted]).reshape(-1, 3)
    recipes_mm = {
        recipe: 1e3 * float(np.median([error.recipes_m[recipe] for error in errors if error.lifted] or [np.inf]))
        for recipe in RECIPES
    }
    best = min(recipes_mm, key=lambda recipe: recipes_mm[recipe])
    return ErrorRow(
        name,
        len(errors),
        len(lifted),
        _median_and_90([1e3 * error.centre_m for error in lifted]),
        _median_and_90([1e3 * error.box_centre_m for error in lifted]),
        _median_and_90(100 * sizes.reshape(-1)),
        _median_and_90(100 * sizes.max(axis=1, initial=0)),
        _percent([error.bottom_right for error in errors]),
        _percent([error.bottom_m < -INVENTED_M for error in lifted]),
        _percent([sigmas <= SIGMAS_OF_90_PERCENT for error in lifted for sigmas in error.sigmas]),
        _percent([is_within for error in lifted for is_within in error.in_bounds]),
        _median_and_90([1e3 * own_m for error in lifted for own_m in error.bounds_m]),
        recipes_mm[best],
        best,
    )


def planes_right(errors: Sequence[PlaneError], within_m: float = 0.002, within_deg: float = 0.5) -> tuple[float, float]:
    """Shares in per cent of the planes within these of the true one: of those found, and of the informed ones."""
    found = [(error.distance_m, error.angle_deg) for error in errors]
    informed = [(error.informed_distance_m, error.informed_angle_deg) for error in errors]
    own, best = ([away_m <= within_m and deg <= within_deg for away_m, deg in each] for each in (found, informed))
    return _percent(own), _percent(best)


def silently_wrong(errors: Sequence[ObjectError]) -> tuple[int, int]:
    """How many objects have status OK, and how many of these have a centre that is more than `SILENT_M` off."""
    fine = [error for error in errors if error.status == Status.OK]
    return len(fine), sum(error.centre_m > SILENT_M for error in fine)


def _percent(true: Sequence[bool]) -> float:
    return 100 * float(np.mean(true)) if len(true) else float("nan")


def _median_and_90(values: Sequence[float] | FloatArray) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("nan")
    return float(np.median(values)), float(np.percentile(values, 90))
