"""What the objects of a frame stand on: planes in the background around their masks, one another, or nothing."""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.rows import rows_of
from instance_seg_ros.lifting.background_planes import (
    LEAST_BAND,
    REMOVED_TOLERANCES,
    TAKEN_SIGMA,
    Level,
    amid,
    background_of,
    background_planes,
    sampled_points_m,
    told_by_all,
)
from instance_seg_ros.lifting.bodies import (
    FAR_GAP_M,
    NEAR_OVER_M,
    RING_M,
    Body,
    contact_reach_m,
    count_within,
    distance_m,
    is_tilted,
    lowest_above_m,
    neighbours,
    reaches_over,
    top_below,
    touch,
    under,
)
from instance_seg_ros.lifting.free_space import free_below
from instance_seg_ros.lifting.kept_points import KeptPoints
from instance_seg_ros.lifting.lying import lowest_of_lying
from instance_seg_ros.lifting.order_statistics import median, robust_sigma
from instance_seg_ros.lifting.rectangle import convex_hull
from instance_seg_ros.lifting.solid import Ball

FloatArray = NDArray[np.float64]

_MAX_GAP_M = 0.4
"""A plane farther than this below all that is seen of the objects is the floor of the room, not what they stand on."""
_SUPPORTED_SHARE = 0.7
"""Planes support a scene when at least this share of the objects stands above one of them."""
_SINK_FACTOR = 2.0
"""An object's lowest points may lie below the plane by this multiple of the tolerance: noise, a generous mask."""
_FAMILY_DEG = 3.0
"""Levels of one family are parallel within this."""
_EVIDENCE_POWER, _NEAR_ENOUGH = 0.2, 0.02
"""A plane with a thirty-second of the points of the largest is taken when it is half as far from the objects; what is
nearer than this share of the far gap, beyond what an object that is seen to stand on it would be, is as near as can be.
"""
_UNTOUCHED_SHARE, _HEAP = 0.3, 3
"""A plane to which nothing reaches down is no arm or wall beside the objects when it has so many of the points of the
largest, together with those that are parallel to it; or where there are so many objects, which hide from view where
others stand, as in a tote."""
_RING_SHARE = 0.2
"""A level lies under an object when it makes up this share of all levels' points up to 4 cm around its outline."""
_FEWEST_REACHED = 4
"""Or when it has so many and the object reaches down to it alone: of a shelf's level far below more may be seen."""
_NEAR_BELOW_M = 0.03
"""What an object rests on whose shape tells that it ends above all planes is no farther off than this."""
_DOUBT_M = 0.005
_MIN_BETWEEN = 10
"""So many points between the objects tell how high the plane is there."""
_LEAST_STEP = 0.45
"""The plane is so many tolerances higher there at least: by less it seems to be where the camera errs."""
_SAME_SIGMA = 2.0
"""What scatters by more than so many times as much as the plane is no part of it, but the rim of what stands on it."""
_FARTHEST_GAPS = 1.5
"""Higher than so many far gaps above a plane all is equally far: in a tote objects are near the floor, and of each wall
some are near and some a tote's width away."""


class Support(enum.IntEnum):
    """What an object stands on; the values are those of the Instance message."""

    UNKNOWN = 0
    """Nothing was found under it, and nothing says that there is nothing."""
    PLANE = 1
    """A plane of the scene: a table, the level of a shelf, the floor of a tote."""
    INSTANCE = 2
    """Another instance."""
    NOTHING = 3
    """The camera sees free space below it: it is held, hangs, or stands on what is hidden."""


@dataclass(frozen=True, eq=False)
class ObjectSupport:
    """What one object stands on.

    Attributes:
        kind: what that is.
        plane: through the points where it stands, its normal pointing up; None unless that is a plane or an instance.
        instance: index of the instance that it stands on, or None.
        unseen_m: how far the lowest that is seen of it lies above that, where its foot is not seen, or how far above
            that it ends by its shape: whether it reaches down so far is assumed. Where it hides the top of the instance
            that it stands on, how far it may reach down below what is seen of it. 0 where it is seen to stand there.
        foot: through its lowest point as its shape tells it, the normal pointing up, where there is no plane; or None.
        leans_on: indices of other instances that it may rest on in part: it reaches over them, or touches and rises
            above them where its foot is not seen.
        top_m: how high above the scene's plane what is seen of it reaches.
    """

    kind: Support = Support.UNKNOWN
    plane: Plane | None = None
    instance: int | None = None
    unseen_m: float = 0.0
    leans_on: tuple[int, ...] = ()
    foot: Plane | None = None
    top_m: float = 0.0


@dataclass(frozen=True, eq=False)
class Surface:
    """A plane of the scene as far as it was seen near the objects.

    Attributes:
        plane: its normal points up.
        border_m: (B, 3) float64 corners of the convex border of its points, anticlockwise seen from above, camera
            optical frame. The surface may reach farther: behind objects, and where nothing was near them.
    """

    plane: Plane
    border_m: FloatArray


@dataclass(frozen=True, eq=False)
class SceneSupports:
    """What the objects of a frame stand on.

    Attributes:
        plane: the one that most objects stand on, its normal pointing up; None when none was found.
        surfaces: all horizontal ones that were found, that one among them.
        objects: one for each object.
    """

    plane: Plane | None
    surfaces: tuple[Surface, ...]
    objects: tuple[ObjectSupport, ...]


def find_supports(
    frame: RgbdFrame, instances: Instances, surfaces: Sequence[KeptPoints | None], tolerance_m: float
) -> SceneSupports:
    """What each object of a frame stands on.

    Planes are drawn by RANSAC from the measured background near the masks, one after the other, each refined by least
    squares within 2.5 sigma. Parallel ones make a family; up is the normal of the family on which most objects are seen
    to stand (their lowest points lie on it), of several the one with the smallest gaps below the objects, and where
    these are alike the one that most is measured of. The main plane goes through what is measured of it between the
    objects. An object stands on the highest level at or below its lowest points: a plane that lies around it, or
    another instance that lies beneath its middle. Where the camera sees free space above that, the object is held,
    unless it touches another one near the plane, on which it leans. Where its foot is not seen, its shape may tell how
    far down it reaches (`lying.lowest_of_lying`, and balls): what ends above all that lies below it rests on the
    nearest object that reaches lower. Where the frame knows which way is up, no wall is taken for a support. The result
    is a function of the frame: the random draws are seeded.

    Args:
        surfaces: the kept points of each instance; without any there is no support.
        tolerance_m: distance within which a point belongs to a plane.
    """
    unknown = SceneSupports(None, (), tuple(ObjectSupport() for _ in surfaces))
    seen = {index: surface for index, surface in enumerate(surfaces) if surface is not None and len(surface.points_m)}
    if not seen:
        return unknown
    background_px, farther_px = background_of(frame, instances)
    background_m = sampled_points_m(frame, background_px)
    levels = background_planes(background_m, tolerance_m, frame.up)
    seen_m = [own.few_m for own in seen.values()]
    contact_m = np.array([contact_reach_m(points_m, tolerance_m, frame.intrinsics.fx) for points_m in seen_m])
    amid_m = sampled_points_m(frame, amid(background_px, instances.bounds))
    family, main = _supporting_family(levels, seen_m, contact_m, amid_m, tolerance_m)
    if main is None:
        return unknown
    around_m = np.concatenate([background_m, sampled_points_m(frame, farther_px)])
    told = {id(level): told_by_all(level, around_m, tolerance_m) for level in family}
    main, family = told[id(main)], list(told.values())
    basis = main.plane.basis()
    bodies = {
        index: Body.of_points(points_m, basis, float(contact))
        for index, points_m, contact in zip(seen, seen_m, contact_m, strict=True)
    }
    outline_m = convex_hull(np.concatenate([body.flat_m for body in bodies.values()]))
    main, family = _between_objects(main, family, amid_m, outline_m, tolerance_m)
    scene = _Scene(bodies, family, [level.points_m @ basis[:, :2] for level in family], main, basis, frame, tolerance_m)
    objects = [
        _object_support(index, scene, seen[index], instances.masks[index]) if index in seen else ObjectSupport()
        for index in range(len(surfaces))
    ]
    tilted = {index for index, surface in seen.items() if is_tilted(surface.normals, main.plane.normal)}
    objects = _leaning(objects, bodies, tilted, -main.plane.offset_m)
    return SceneSupports(main.plane, tuple(_surface_of(level) for level in family), tuple(objects))


def _leaning(
    objects: Sequence[ObjectSupport], bodies: dict[int, Body], tilted: Collection[int], plane_height_m: float
) -> list[ObjectSupport]:
    """The objects' supports with what each one may lean on, and how high above the plane it reaches.

    Args:
        tilted: those that hardly stand by themselves.
    """
    near = neighbours(bodies, max(NEAR_OVER_M, *(body.contact_m for body in bodies.values())))
    over = {index: {key for key in near[index] if reaches_over(bodies[index], bodies[key])} for index in bodies}

    def leans(index: int, other: int) -> bool:
        own, is_higher = objects[index], bodies[index].top_m > bodies[other].top_m
        if index in over[other]:  # of two that reach over each other, the higher one: a ring has no order
            return other in over[index] and is_higher
        may_lean = own.unseen_m > 0 or own.plane is None or index in tilted
        return other in over[index] or (may_lean and is_higher and touch(bodies[index], bodies[other]))

    leaning = list(objects)
    for index, own in enumerate(objects):
        if index in bodies:
            leans_on = tuple(
                other
                for other in near[index]
                if other != own.instance and index != objects[other].instance and leans(index, other)
            )
            leaning[index] = replace(own, leans_on=leans_on, top_m=bodies[index].top_m - plane_height_m)
    return leaning


def _supporting_family(
    levels: Sequence[Level],
    objects_m: Sequence[NDArray[np.float32]],
    contact_m: FloatArray,
    background_m: NDArray[np.float32],
    tolerance_m: float,
) -> tuple[list[Level], Level | None]:
    """The parallel planes on which the objects stand, and the one of them on which most do, if there are any.

    Of those that as many may stand on, it is the one that most is seen of between the objects.

    Args:
        contact_m: (N,) of `contact_reach_m` of each object.
        background_m: (M, 3) points between the objects.
    """
    best: tuple[list[Level], Level | None] = [], None
    best_rank = (np.inf, 0, 0)
    most = max((len(level.points_m) for level in levels), default=0)
    ends, points_m = np.cumsum([len(own_m) for own_m in objects_m]), np.concatenate(objects_m)
    lowest_m = np.array([lowest_above_m(points_m, ends, level.plane.normal, level.plane.offset_m) for level in levels])
    heights_m = np.abs([level.plane.height_m(background_m) for level in levels])
    for index, level in enumerate(levels):
        parallel = [
            other
            for other, candidate in enumerate(levels)
            if candidate.plane.normal @ level.plane.normal > np.cos(np.radians(_FAMILY_DEG))
        ]
        gaps_m = np.where(lowest_m > -_SINK_FACTOR * tolerance_m, np.maximum(lowest_m - contact_m, 0), np.inf)
        nearest_m = gaps_m[parallel].min(axis=0)
        own = gaps_m[index] <= nearest_m + tolerance_m
        # What a hand holds above all of them is nearer to the higher one, and tells nothing beside what stands.
        stands = nearest_m <= tolerance_m
        own &= stands | ~stands.any()
        if np.count_nonzero(nearest_m < _MAX_GAP_M) < _SUPPORTED_SHARE * len(nearest_m) or not own.any():
            continue
        # 0 for an object seen to stand on it: a wall is near to some and far from most.
        beyond = np.minimum((nearest_m + contact_m) / FAR_GAP_M, _FARTHEST_GAPS)
        distances = np.where(nearest_m > 0, beyond, 0)
        # A plane through a rim or a wall, or aslant through several things, is near to some objects by chance, and has
        # few points, also with all that is parallel to it.
        seen_share = min(1.0, sum(len(levels[other].points_m) for other in parallel) / most)
        if seen_share < _UNTOUCHED_SHARE and len(nearest_m) < _HEAP and not (nearest_m == 0).any():
            continue
        evidence = seen_share**_EVIDENCE_POWER
        off_m = heights_m[index]
        between = np.count_nonzero((off_m < tolerance_m) & (off_m <= heights_m[parallel].min(axis=0)))
        distance = round((float(distances.mean()) + _NEAR_ENOUGH) / evidence, 3)
        rank = (distance, -int(np.count_nonzero(own)), -int(between))
        if rank < best_rank:
            best, best_rank = ([levels[other] for other in parallel], level), rank
    return best


def _between_objects(
    main: Level,
    family: Sequence[Level],
    background_m: NDArray[np.float32],
    outline_m: NDArray[np.float32],
    tolerance_m: float,
) -> tuple[Level, list[Level]]:
    """The main plane, raised to what is measured of it between the objects, and the family with it.

    The floor of a tote and the table around it are one plane to RANSAC: that of the table, of which more is seen.

    Args:
        outline_m: (E, 1, 2) convex hull of all objects, along the plane's basis.
    """
    within_m = REMOVED_TOLERANCES * tolerance_m
    heights_m = main.plane.height_m(background_m)
    near = np.abs(heights_m) < within_m
    for other in family:
        if other is not main:
            near &= np.abs(other.plane.height_m(background_m)) > np.abs(heights_m)
    near[near] = under(rows_of(background_m, near).astype(np.float64) @ main.plane.basis()[:, :2], outline_m)
    between_m = heights_m[near]
    if len(between_m) < _MIN_BETWEEN:
        return main, list(family)
    offset_m = median(between_m)
    sigma_m = robust_sigma(between_m - offset_m)
    if offset_m < max(_LEAST_STEP * tolerance_m, TAKEN_SIGMA * sigma_m / len(between_m) ** 0.5):
        return main, list(family)
    if sigma_m > _SAME_SIGMA * max(main.sigma_m, LEAST_BAND * tolerance_m / TAKEN_SIGMA):
        return main, list(family)
    moved = replace(main, plane=Plane(main.plane.normal, main.plane.offset_m - offset_m))
    return moved, [moved if level is main else level for level in family]


@dataclass(frozen=True, eq=False)
class _Scene:
    """All that objects may stand on.

    Attributes:
        bodies: the objects, by their indices.
        family: the parallel levels.
        levels_flat_m: (N, 2) points of each, along the first two axes of the basis.
        main: the one on which most objects stand.
        basis: of that.
    """

    bodies: dict[int, Body]
    family: Sequence[Level]
    levels_flat_m: Sequence[FloatArray]
    main: Level
    basis: FloatArray
    frame: RgbdFrame
    tolerance_m: float

    @property
    def doubt_m(self) -> float:
        """How far off heights may be that the shape tells, or the lowest points of an object."""
        return max(_DOUBT_M, TAKEN_SIGMA * self.main.sigma_m)


def _object_support(index: int, scene: _Scene, surface: KeptPoints, mask: NDArray[np.bool_]) -> ObjectSupport:
    """What one object stands on; see `find_supports`."""
    body = scene.bodies[index]
    height_m, support = _highest_below(index, body, scene)
    unseen_m = body.lowest_m - height_m
    if support.kind is Support.UNKNOWN or (support.kind is Support.PLANE and unseen_m <= body.contact_m):
        return support
    least_m = height_m if support.kind is Support.PLANE else -scene.main.plane.offset_m
    told_m = _told_by_shape(surface, body.lowest_m, scene, mask)
    if told_m is not None and min(told_m[:2]) > least_m - _SINK_FACTOR * scene.tolerance_m:
        return _told_support(index, told_m, scene, mask)
    if unseen_m <= body.contact_m:
        return support
    leans = unseen_m < FAR_GAP_M and any(touch(body, other) for key, other in scene.bodies.items() if key != index)
    if not leans and free_below(body, height_m, scene.basis, scene.frame, mask, scene.tolerance_m):
        return ObjectSupport(Support.NOTHING)
    return replace(support, unseen_m=unseen_m)


def _highest_below(index: int, body: Body, scene: _Scene) -> tuple[float, ObjectSupport]:
    """The highest that lies at or below a body's lowest point, and its height; 0 where there is nothing."""
    main, highest_m = scene.main.plane, body.lowest_m + _SINK_FACTOR * scene.tolerance_m
    found: list[tuple[float, ObjectSupport]] = []
    around = [count_within(flat_m, body.middle_m, body.radius_m + RING_M) for flat_m in scene.levels_flat_m]
    reached: list[tuple[float, ObjectSupport]] = []
    for level, count in zip(scene.family, around, strict=True):
        height_m = _height_at(level.plane, body.middle_m, scene.basis)
        bearing = height_m, ObjectSupport(Support.PLANE, level.plane)
        if count and count >= _RING_SHARE * sum(around) and height_m <= highest_m:
            found.append(bearing)
        elif count >= _FEWEST_REACHED and body.lowest_m - body.contact_m < height_m <= highest_m:
            reached.append(bearing)
    if all(body.lowest_m - height_m > FAR_GAP_M for height_m, _ in found):
        found += reached
    highest_m = body.least_m + scene.doubt_m
    for other, below in scene.bodies.items():
        heights_m = top_below(body, below, highest_m) if other != index else None
        if heights_m is not None:
            top_m, seen_m = heights_m
            hidden_m = body.lowest_m - seen_m if body.lowest_m - seen_m > body.contact_m else 0.0
            own = ObjectSupport(Support.INSTANCE, Plane(main.normal, -top_m), other, hidden_m)
            found.append((top_m, own))
    if not found:  # nothing of a plane is seen around it: that which most objects stand on reaches on under it
        height_m = _height_at(main, body.middle_m, scene.basis)
        if not -_SINK_FACTOR * scene.tolerance_m < body.lowest_m - height_m < _MAX_GAP_M:
            return 0.0, ObjectSupport()
        found.append((height_m, ObjectSupport(Support.PLANE, main)))
    return max(found, key=lambda candidate: candidate[0])


def _told_by_shape(
    surface: KeptPoints, seen_m: float, scene: _Scene, mask: NDArray[np.bool_]
) -> tuple[float, float, bool] | None:
    """How high the lowest point of an object is by its shape, where it rests and where it hangs; None for most shapes.

    And whether it is a ball, of which that is known best.

    Args:
        seen_m: how high the lowest is that is seen of it.
    """
    plane = scene.main.plane
    ball = Ball.of(surface.outline_m, surface.normals)
    if ball is not None:
        resting_m = float(plane.normal @ ball.centre_m) - ball.radius_m
        hanging_m = ball.lowest_m(plane, seen_m + plane.offset_m) - plane.offset_m
        return min(resting_m, seen_m), hanging_m, True
    lowest_m = lowest_of_lying(surface.outline_m, surface.normals, plane.normal, scene.main.sigma_m, scene.frame, mask)
    return None if lowest_m is None else (min(lowest_m, seen_m), min(lowest_m, seen_m), False)


def _told_support(
    index: int, told_m: tuple[float, float, bool], scene: _Scene, mask: NDArray[np.bool_]
) -> ObjectSupport:
    """What an object stands on whose shape tells how far down it reaches.

    That is what lies there; where it ends above all that lies below it, the nearest object that reaches lower than it.
    A ball that ends a little above a plane is held, or lies on something thin.
    """
    resting_m, hanging_m, is_ball = told_m
    body, normal = replace(scene.bodies[index], lowest_m=resting_m, least_m=resting_m), scene.main.plane.normal
    height_m, support = _highest_below(index, body, scene)
    on_plane = support.kind is Support.PLANE and resting_m - height_m <= body.contact_m
    if on_plane and resting_m - height_m <= scene.doubt_m:
        return support
    foot = Plane(normal, -resting_m)
    if support.kind is Support.INSTANCE and resting_m - height_m <= body.contact_m:
        return ObjectSupport(Support.INSTANCE, foot, support.instance)
    away_m = {
        key: distance_m(body, other, _NEAR_BELOW_M)
        for key, other in scene.bodies.items()
        if key != index and other.lowest_m < resting_m + scene.tolerance_m
    }
    nearest = min(away_m, key=lambda key: away_m[key], default=None)
    if nearest is not None and math.isfinite(away_m[nearest]):
        return ObjectSupport(Support.INSTANCE, foot, nearest)
    if on_plane and not is_ball:  # or on something thin that is not seen, as the plate below a plate
        return replace(support, unseen_m=resting_m - height_m)
    if free_below(body, height_m, scene.basis, scene.frame, mask, scene.tolerance_m):
        return ObjectSupport(Support.NOTHING, foot=Plane(normal, -hanging_m))
    return ObjectSupport(Support.UNKNOWN, foot=foot)


def _surface_of(level: Level) -> Surface:
    basis = level.plane.basis()
    hull_m = convex_hull(level.points_m @ basis[:, :2])
    corners_m = hull_m[:, 0].astype(np.float64)
    if cv2.contourArea(hull_m, oriented=True) < 0:
        corners_m = corners_m[::-1]
    return Surface(level.plane, corners_m @ basis[:, :2].T - level.plane.offset_m * level.plane.normal)


def _height_at(plane: Plane, flat_m: FloatArray, basis: FloatArray) -> float:
    """Height of a plane above a point of the basis's first two axes."""
    rises, (x_m, y_m) = (plane.normal @ basis).tolist(), flat_m.tolist()
    return float(-(rises[0] * x_m + rises[1] * y_m + plane.offset_m) / rises[2])
