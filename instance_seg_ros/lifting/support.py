"""What the objects of a frame stand on: planes in the background around their masks, one another, or nothing."""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.lifting.lying import lowest_of_lying
from instance_seg_ros.lifting.moments import moments
from instance_seg_ros.lifting.order_statistics import (
    median,
    median_of_first,
    percentile,
    percentile_of_first,
    percentiles,
)
from instance_seg_ros.lifting.rectangle import convex_hull
from instance_seg_ros.lifting.solid import Ball
from instance_seg_ros.lifting.surface import Bounds, KeptPoints

FloatArray = NDArray[np.float64]

_STRIDE_PX = 4
_MAX_SAMPLES = 2000
_HYPOTHESES = 150
_VOTERS = 500
_LEAST_AREA_M2 = 1e-8
"""Twice the area of the smallest triangle that tells a plane."""
_MAX_PLANES = 6
_MIN_INLIERS = 60
_MIN_INLIER_SHARE = 0.03
_MIN_CAMERA_HEIGHT_M = 0.03
_REFIT_SIGMA = 2.5
_LEAST_BAND = 0.3
"""A plane's band is no narrower than this share of the tolerance, however smooth it is."""
_TAKEN_SIGMA = 3.0
_REMOVED_SIGMA = 5.0
_REMOVED_TOLERANCES = 2.5
"""A plane takes what lies within 3 sigma; a parallel one within so many sigma or tolerances may be its noise's tail."""
_APART_SHARE = 0.6
"""A parallel plane so near is one of its own, such as a board on a table, when so much around its points is its own."""
_SLICE_SHARE, _FLAT_SHARE = 0.2, 0.7
"""A plane of less of the background than the first is but a slice through something steep when less around its points
than the second lies in it."""
_NEIGHBOURS = 12
_MAX_GAP_M = 0.4
"""A plane farther than this below all that is seen of the objects is the floor of the room, not what they stand on."""
_FAR_GAP_M = 0.1
_SUPPORTED_SHARE = 0.7
"""Planes support a scene when at least this share of the objects stands above one of them."""
_SINK_FACTOR = 2.0
"""An object's lowest points may lie below the plane by this multiple of the tolerance: noise, a generous mask."""
_STEEPEST_COS = math.cos(math.radians(35.0))
"""Where up is known, nothing steeper is a support: most things slide off it."""
_PARALLEL_DEG, _FAMILY_DEG = 6.0, 3.0
"""Within the first a plane may be the tail of another one's noise; levels of one family are parallel within the second.
"""
_EVIDENCE_POWER, _NEAR_ENOUGH = 0.2, 0.02
"""A plane with a thirty-second of the points of the largest is taken when it is half as far from the objects; what is
nearer than this share of the far gap, beyond what an object that is seen to stand on it would be, is as near as can be.
"""
_LOWEST_PERCENT, _LEAST_PERCENT = 3.0, 1.0
_TOP_PERCENT = 90.0
_CONTACT_TOLERANCES = 1.5
_CONTACT_PX = 4.0
"""Seen right down to its support, an object's lowest points lie within the sum of these above it: erosion, noise."""
_RING_M = 0.04
_RING_SHARE = 0.2
"""A level lies under an object when it makes up this share of all levels' points up to 4 cm around its outline."""
_OVERHANG = 0.3
"""The middle of what stands on another object may lie outside of it by this share of its own radius."""
_FRONT_ASPECT = 0.2
"""What is seen of an object is but its front when the outline of that is narrower than this share of its length."""
_HIDDEN_DEPTH = 0.75
"""The middle of what stands on an object of which only the front is seen lies at most so many of its lengths behind."""
_UNDER_SHARE = 0.3
"""What stands out over so many of the points of an object is on top of it, too."""
_OVER_SHARE = 0.2
"""What ends at the top of another object stands on it when so many of its own points are above what is seen of that."""
_FEWEST_BELOW, _TOP_OF_BELOW_PERCENT = 5, 98.0
"""The top of another object right below is this percentile of its points there, if there are so many."""
_TOP_BAND_M = 0.006
_SEEN_TOP_SHARE = 0.2
"""The top of an object is seen when so many of its points lie within 6 mm of its highest ones."""
_FREE_SHARE = 0.1
_MIN_FREE_M = 0.02
"""An object is held when this share, and so much, of a vertical between it and what is below is seen to be empty."""
_VERTICALS, _HEIGHT_STEP_M = 20, 0.004
_LEAST_DEPTH_M = 1e-3
"""What lies beside the camera or behind it counts as so far in front of it."""
_INNER_SHARE = 0.6
"""Verticals through points of the object that are drawn to its middle by this: a round body overhangs its foot."""
_HIGH, _HIGH_SHARE = 1.5, 0.8
"""By no more than the second where it would reach down by more than so many of its radii: hardly any body does that."""
_MAX_OBJECT_POINTS = 300
_NEAR_OVER_M, _OVERLAP_SHARE = 0.05, 0.02
"""An object reaches over another one that is no farther off, when so many of the points of either lie inside of the
outline of the other one, seen from above."""
_NEAR_BELOW_M = 0.03
"""What an object rests on whose shape tells that it ends above all planes is no farther off than this."""
_DOUBT_M = 0.005
_LEVEL_COS, _UPRIGHT_SINE = math.cos(math.radians(12.0)), math.sin(math.radians(12.0))
_LEVEL_SHARE, _SLANTING_SHARE = 0.12, 0.4
"""A body is tilted when less than the first share of its normals is within 12 degrees of straight up, and more than the
second neither that nor level."""
_MIN_BETWEEN = 10
"""So many points between the objects tell how high the plane is there."""
_SAME_SIGMA = 2.0
"""What scatters by more than so many times as much as the plane is no part of it, but the rim of what stands on it."""
_LARGEST_SIGMA = 1.25
"""What scatters by more than so many tolerances is no plane, but a rim or some slope that RANSAC laid one through."""
_TWO_SIGMA, _FINER, _ONE_SIGMA = 0.7, 0.3, 0.4
"""What scatters by more than the first, in tolerances, may be two levels in one, as a thin board and its table:
then one of them is found within the second of a tolerance, and scatters by less than the third of what both do."""
_AS_FLAT = 4.0
"""What is not, and scatters by so many times more than the largest plane, is laid aslant through several things."""
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
        unseen_m: how far the lowest that is seen of it lies above that, where its foot is not seen: whether it reaches
            down so far is assumed. Where it hides the top of the instance that it stands on, how far it may reach down
            below what is seen of it. 0 where it is seen to stand there.
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


@dataclass(frozen=True, eq=False)
class _Level:
    """A plane of the background.

    Attributes:
        plane: oriented towards the camera.
        points_m: (N, 3) its points.
        sigma_m: robust standard deviation of their distance from it.
    """

    plane: Plane
    points_m: NDArray[np.float32]
    sigma_m: float


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
    background_px = _background_near(frame, instances)
    background_m = _points_m(frame, background_px)
    levels = _background_planes(background_m, tolerance_m, frame.up)
    seen_m = [own.few_m for own in seen.values()]
    contact_m = np.array([_contact_m(points_m, tolerance_m, frame.intrinsics.fx) for points_m in seen_m])
    amid_m = _points_m(frame, _amid(background_px, instances.bounds))
    family, main = _supporting_family(levels, seen_m, contact_m, amid_m, tolerance_m)
    if main is None:
        return unknown
    basis = main.plane.basis()
    bodies = {
        index: _Body.of_points(points_m, basis, float(contact))
        for index, points_m, contact in zip(seen, seen_m, contact_m, strict=True)
    }
    outline_m = convex_hull(np.concatenate([body.flat_m for body in bodies.values()]))
    main, family = _between_objects(main, family, amid_m, outline_m, tolerance_m)
    scene = _Scene(bodies, family, [level.points_m @ basis[:, :2] for level in family], main, basis, frame, tolerance_m)
    objects = [
        _object_support(index, scene, seen[index], instances.masks[index]) if index in seen else ObjectSupport()
        for index in range(len(surfaces))
    ]
    tilted = {index for index, surface in seen.items() if _is_tilted(surface.normals, main.plane.normal)}
    objects = _leaning(objects, bodies, tilted, -main.plane.offset_m)
    return SceneSupports(main.plane, tuple(_surface_of(level) for level in family), tuple(objects))


def _leaning(
    objects: Sequence[ObjectSupport], bodies: dict[int, _Body], tilted: Collection[int], plane_height_m: float
) -> list[ObjectSupport]:
    """The objects' supports with what each one may lean on, and how high above the plane it reaches.

    Args:
        tilted: those that hardly stand by themselves.
    """
    tops_m = {index: percentile(body.heights_m, _TOP_PERCENT) for index, body in bodies.items()}
    near = _neighbours(bodies, max(_NEAR_OVER_M, *(body.contact_m for body in bodies.values())))
    over = {index: {key for key in near[index] if _reaches_over(bodies[index], bodies[key])} for index in bodies}

    def leans(index: int, other: int) -> bool:
        own, is_higher = objects[index], tops_m[index] > tops_m[other]
        if index in over[other]:  # of two that reach over each other, the higher one: a ring has no order
            return other in over[index] and is_higher
        may_lean = own.unseen_m > 0 or own.plane is None or index in tilted
        return other in over[index] or (may_lean and is_higher and _touch(bodies[index], bodies[other]))

    leaning = list(objects)
    for index, own in enumerate(objects):
        if index in bodies:
            leans_on = tuple(
                other
                for other in near[index]
                if other != own.instance and index != objects[other].instance and leans(index, other)
            )
            leaning[index] = replace(own, leans_on=leans_on, top_m=tops_m[index] - plane_height_m)
    return leaning


@kernel("float64[:, :]", "float64[::1]")
def _is_tilted(normals: FloatArray, up: FloatArray) -> bool:
    """Whether hardly anything that is seen of a body is level, and most is neither that nor upright.

    Args:
        normals: (N, 3), of which those that are not known are zeros.
        up: (3,).
    """
    known, level, slanting = 0, 0, 0
    for n in range(0, len(normals), 1 + len(normals) // _MAX_OBJECT_POINTS):
        x, y, z = normals[n, 0], normals[n, 1], normals[n, 2]
        upwards = x * up[0] + y * up[1] + z * up[2]
        known += x != 0 or y != 0 or z != 0
        level += upwards > _LEVEL_COS
        slanting += _UPRIGHT_SINE < upwards <= _LEVEL_COS
    known = max(known, 1)
    return level < _LEVEL_SHARE * known and slanting > _SLANTING_SHARE * known


def _background_near(frame: RgbdFrame, instances: Instances) -> NDArray[np.int64]:
    """Rows and columns (2, N) of measured pixels, one in `_STRIDE_PX` each way, outside all masks and around their
    boxes."""
    bounds = np.array(instances.bounds, dtype=np.int64)
    return _find_background(np.ascontiguousarray(frame.depth_m), instances.masks, instances.boxes_xyxy, bounds)


@kernel("float32[:, ::1]", "boolean[:, :, :]", "float32[:, :]", "int64[:, ::1]")
def _find_background(
    depth_m: NDArray[np.float32],
    masks: NDArray[np.bool_],
    boxes_xyxy: NDArray[np.float32],
    bounds_xywh: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The pixels of `_background_near`, row by row."""
    height, width = (depth_m.shape[0] - 1) // _STRIDE_PX + 1, (depth_m.shape[1] - 1) // _STRIDE_PX + 1
    near, masked = np.zeros((height, width), np.bool_), np.zeros((height + 2, width + 2), np.bool_)  # and a border
    for n in range(len(masks)):
        x0, y0, x1, y1 = boxes_xyxy[n] / np.float32(_STRIDE_PX)
        margin = np.float32(0.5) * max(x1 - x0, y1 - y0) + np.float32(8)
        near[
            max(0, int(y0 - margin)) : max(0, int(y1 + margin) + 1),
            max(0, int(x0 - margin)) : max(0, int(x1 + margin) + 1),
        ] = True
        left, top, across, down = bounds_xywh[n]
        for row in range(top // _STRIDE_PX, (top + down - 1) // _STRIDE_PX + 1):
            for column in range(left // _STRIDE_PX, (left + across - 1) // _STRIDE_PX + 1):
                masked[row + 1, column + 1] |= masks[n, row * _STRIDE_PX, column * _STRIDE_PX]
    pixels, count = np.empty((2, height * width), np.int64), 0
    for row in range(height):
        for column in range(width):
            if near[row, column] and depth_m[row * _STRIDE_PX, column * _STRIDE_PX] > 0:
                beside = False
                for above in range(3):
                    for aside in range(3):
                        beside |= masked[row + above, column + aside]
                pixels[0, count], pixels[1, count] = row * _STRIDE_PX, column * _STRIDE_PX
                count += not beside
    return pixels[:, :count].copy()


def _amid(pixels: NDArray[np.int64], bounds: Sequence[Bounds]) -> NDArray[np.int64]:
    """Those of pixels (2, N) that lie inside the rectangle around all objects."""
    left, top = min(left for left, _, _, _ in bounds), min(top for _, top, _, _ in bounds)
    right = max(left + width for left, _, width, _ in bounds)
    bottom = max(top + height for _, top, _, height in bounds)
    # The rows are in ascending order.
    first, last = np.searchsorted(pixels[0], (top, bottom)).tolist()
    columns = pixels[1, first:last]
    return pixels[:, first:last][:, (columns >= left) & (columns < right)]


def _points_m(frame: RgbdFrame, pixels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The points (N, 3) at most `_MAX_SAMPLES` of pixels (2, M), evenly."""
    points_m = np.empty((min(pixels.shape[1], _MAX_SAMPLES), 3), np.float32)
    _back_project(np.ascontiguousarray(frame.depth_m), pixels, frame.intrinsics.fx_fy_cx_cy, points_m)
    return points_m


@kernel("float32[:, ::1]", "int64[:, :]", "float32[::1]", "float32[:, ::1]", writes=("points_m",))
def _back_project(
    depth_m: NDArray[np.float32],
    pixels: NDArray[np.int64],
    camera: NDArray[np.float32],
    points_m: NDArray[np.float32],
) -> None:
    """The points (N, 3) of `_points_m`, the first and the last of the pixels among them; `camera` is fx, fy, cx, cy."""
    last = pixels.shape[1] - 1
    step = last / max(len(points_m) - 1, 1)
    for n in range(len(points_m)):
        k = min(int(n * step), last) if n + 1 < len(points_m) else last
        row, column = pixels[0, k], pixels[1, k]
        z_m = depth_m[row, column]
        points_m[n, 0] = (np.float32(column) - camera[2]) / camera[0] * z_m
        points_m[n, 1] = (np.float32(row) - camera[3]) / camera[1] * z_m
        points_m[n, 2] = z_m


def _background_planes(points_m: NDArray[np.float32], tolerance_m: float, up: FloatArray | None) -> list[_Level]:
    """Planes of the background that the camera looks down on, at most `_MAX_PLANES`, the largest first.

    Args:
        up: (3,) unit vector; no steep planes are returned where it is known.
    """
    background_m, minimum = points_m, max(_MIN_INLIERS, int(_MIN_INLIER_SHARE * len(points_m)))
    levels: list[_Level] = []
    for _ in range(_MAX_PLANES):
        if len(points_m) < minimum:
            break
        level, inliers = _largest_level(points_m, tolerance_m)
        if len(level.points_m) < minimum:
            break
        if level.sigma_m > _TWO_SIGMA * tolerance_m:
            finer, finer_inliers = _largest_level(points_m, _FINER * tolerance_m)
            if len(finer.points_m) >= minimum and finer.sigma_m < _ONE_SIGMA * level.sigma_m:
                level, inliers = finer, finer_inliers
        as_flat_m = max(_TWO_SIGMA * tolerance_m, _AS_FLAT * levels[0].sigma_m if levels else np.inf)
        if level.sigma_m > min(_LARGEST_SIGMA * tolerance_m, as_flat_m):
            points_m = points_m[~inliers]
            continue
        plane = level.plane
        distance_m = np.abs(plane.height_m(points_m))
        points_m = points_m[distance_m > max(_LEAST_BAND * tolerance_m, _TAKEN_SIGMA * level.sigma_m)]
        if (
            plane.offset_m > _MIN_CAMERA_HEIGHT_M
            and (up is None or plane.normal @ up > _STEEPEST_COS)
            and not any(_is_remnant(level, other, tolerance_m) for other in levels)
            and not _is_slice(level, background_m)
        ):
            levels.append(level)
    return levels


def _largest_level(points_m: NDArray[np.float32], tolerance_m: float) -> tuple[_Level, NDArray[np.bool_]]:
    """The `dominant_plane` as a level, and its inliers (N,) bool."""
    plane, inliers = dominant_plane(points_m, tolerance_m)
    own_m = points_m[inliers]
    return _Level(plane, own_m, _sigma_m(plane.height_m(own_m)) if len(own_m) else 0.0), inliers


def _is_remnant(level: _Level, other: _Level, tolerance_m: float) -> bool:
    """Whether a plane is but the tail of the noise of a larger one: near it, parallel, and in between its points."""
    if level.plane.normal @ other.plane.normal < np.cos(np.radians(_PARALLEL_DEG)):
        return False
    gap_m = median(np.abs(other.plane.height_m(level.points_m)))
    if gap_m > max(_REMOVED_TOLERANCES * tolerance_m, _REMOVED_SIGMA * other.sigma_m):
        return False
    both_m = np.concatenate([level.points_m, other.points_m])
    neighbours = _tree_of(both_m).query(level.points_m, min(_NEIGHBOURS, len(both_m)))[1]
    return _share(neighbours < len(level.points_m)) < _APART_SHARE


def _is_slice(level: _Level, background_m: NDArray[np.float32]) -> bool:
    """Whether a small plane is but a slice through something steep, as through the walls of a tote, that goes on."""
    if len(level.points_m) > _SLICE_SHARE * len(background_m):
        return False
    near = _tree_of(background_m).query(level.points_m, min(_NEIGHBOURS, len(background_m)))[1]
    band_m = _TAKEN_SIGMA * level.sigma_m
    return _share(np.abs(level.plane.height_m(background_m[near])) <= band_m) < _FLAT_SHARE


def _tree_of(points_m: NDArray[np.floating]) -> cKDTree:
    """For what lies nearest among (N, 3) points: built in half the usual time, as few questions are asked of it."""
    return cKDTree(points_m, compact_nodes=False, balanced_tree=False)


def _sigma_m(residual_m: NDArray[np.floating]) -> float:
    return 1.4826 * median(np.abs(residual_m))


def dominant_plane(points_m: NDArray[np.float32], tolerance_m: float) -> tuple[Plane, NDArray[np.bool_]]:
    """The plane with the most inliers, oriented towards the camera, and its inliers (N,) bool."""
    inliers, drawn = np.zeros(len(points_m), dtype=bool), _drawn_corners(len(points_m))
    found, normal, offset_m = _find_plane(np.ascontiguousarray(points_m, np.float32), drawn, tolerance_m, inliers)
    if not found:  # fewer than three distinct points, or all on a line
        return Plane(np.array([0.0, 0.0, -1.0]), 0.0), inliers
    return Plane(normal, offset_m), inliers


@lru_cache(maxsize=256)
def _drawn_corners(count: int) -> NDArray[np.int64]:
    """Indices (_HYPOTHESES, 3) of so many points, at random and always the same; most frames have as many of them."""
    corners = np.random.default_rng(0).integers(count, size=(_HYPOTHESES, 3))
    corners.setflags(write=False)
    return corners


@kernel("float32[:, ::1]", "int64[:, ::1]", "float64", "boolean[::1]", writes=("inliers",))
def _find_plane(
    points_m: NDArray[np.float32], corners: NDArray[np.int64], tolerance_m: float, inliers: NDArray[np.bool_]
) -> tuple[bool, FloatArray, float]:
    """The `dominant_plane` of points (N, 3) through three of which at least it goes.

    Args:
        corners: (K, 3) indices of the points that planes are laid through, to be voted on.
        inliers: (N,) of zeros, set where points lie in the plane.

    Returns:
        Whether there is one, its normal (3,) and its offset.
    """
    found, a, b, c, offset = _most_voted(points_m, corners, np.float32(tolerance_m))
    if not found:
        return False, np.zeros(3), 0.0
    count = len(points_m)
    off_m, values, own_m = np.empty(count, np.float32), np.empty(count), np.empty((count, 3), np.float32)
    _distances(points_m, a, b, c, -offset, off_m)
    inside = _take_near(points_m, off_m, np.float32(tolerance_m), inliers, own_m)
    normal, offset_m = _least_squares_plane(own_m[:inside])
    near_m = np.float32(_REMOVED_TOLERANCES * tolerance_m)
    for _ in range(3):
        _distances(
            points_m,
            np.float32(normal[0]),
            np.float32(normal[1]),
            np.float32(normal[2]),
            np.float32(offset_m),
            off_m,
        )
        near = 0
        for n in range(count):
            values[near] = abs(off_m[n])
            near += abs(off_m[n]) < near_m
        within_m = tolerance_m
        if near:
            within_m = max(_REFIT_SIGMA * (1.4826 * median_of_first(values, near)), _LEAST_BAND * tolerance_m)
        inside = _take_near(points_m, off_m, np.float32(within_m), inliers, own_m)
        if inside < 3:
            break
        normal, offset_m = _least_squares_plane(own_m[:inside])
    return True, normal, offset_m


@inner
def _most_voted(
    points_m: NDArray[np.float32], corners: NDArray[np.int64], tolerance_m: np.float32
) -> tuple[bool, np.float32, np.float32, np.float32, np.float32]:
    """Whether three of the corners are no line, and of the planes through such the one near which the most points lie.

    Of some of the points, evenly; the first of several planes. That is (a, b, c) . p = offset.
    """
    every = 1 + len(points_m) // _VOTERS
    x_m, y_m, z_m = points_m[::every, 0].copy(), points_m[::every, 1].copy(), points_m[::every, 2].copy()
    zero = np.float32(0)
    most, best = -1, (zero, zero, zero, zero)
    for k in range(len(corners)):
        first, second, third = points_m[corners[k, 0]], points_m[corners[k, 1]], points_m[corners[k, 2]]
        u_x, u_y, u_z = second[0] - first[0], second[1] - first[1], second[2] - first[2]
        v_x, v_y, v_z = third[0] - first[0], third[1] - first[1], third[2] - first[2]
        a, b, c = u_y * v_z - u_z * v_y, u_z * v_x - u_x * v_z, u_x * v_y - u_y * v_x
        size = np.sqrt(a * a + b * b + c * c)
        if not size > _LEAST_AREA_M2:
            continue
        a, b, c = a / size, b / size, c / size
        offset = a * first[0] + b * first[1] + c * first[2]
        votes = _votes(x_m, y_m, z_m, a, b, c, offset, tolerance_m)
        if votes > most:
            most, best = votes, (a, b, c, offset)
    return most >= 0, best[0], best[1], best[2], best[3]


# Loops without branches over arrays of their own, which the processor does for several points at a time.
@inner
def _votes(
    x_m: NDArray[np.float32],
    y_m: NDArray[np.float32],
    z_m: NDArray[np.float32],
    a: np.float32,
    b: np.float32,
    c: np.float32,
    offset: np.float32,
    tolerance_m: np.float32,
) -> int:
    """How many points (V,) lie near a plane."""
    votes = np.int32(0)
    for i in range(len(x_m)):
        votes += np.int32(abs(a * x_m[i] + b * y_m[i] + c * z_m[i] - offset) < tolerance_m)
    return int(votes)


@inner
def _distances(
    points_m: NDArray[np.float32],
    a: np.float32,
    b: np.float32,
    c: np.float32,
    offset_m: np.float32,
    off_m: NDArray[np.float32],
) -> None:
    """How far points (N, 3) lie above the plane (a, b, c) . p + offset = 0, (N,)."""
    for n in range(len(points_m)):
        off_m[n] = a * points_m[n, 0] + b * points_m[n, 1] + c * points_m[n, 2] + offset_m


@inner
def _take_near(
    points_m: NDArray[np.float32],
    off_m: NDArray[np.float32],
    within_m: np.float32,
    inliers: NDArray[np.bool_],
    own_m: NDArray[np.float32],
) -> int:
    """Marks the points (N, 3) that are less far off, puts them into the first rows of `own_m`, and counts them."""
    count = 0
    for n in range(len(points_m)):
        inliers[n] = abs(off_m[n]) < within_m
        for axis in range(3):
            own_m[count, axis] = points_m[n, axis]
        count += inliers[n]
    return count


@inner
def _least_squares_plane(points_m: NDArray[np.float32]) -> tuple[FloatArray, float]:
    """The plane of least squared distance to (N, 3) points, the camera (the origin) on its free side.

    Returns:
        Its normal (3,), of length 1, and its offset.
    """
    mean, covariance_m2 = moments(points_m)
    normal = np.ascontiguousarray(np.linalg.eigh(covariance_m2)[1][:, 0])
    offset_m = -(normal[0] * mean[0] + normal[1] * mean[1] + normal[2] * mean[2])
    return (normal, offset_m) if offset_m >= 0 else (-normal, -offset_m)


def _contact_m(points_m: NDArray[np.float32], tolerance_m: float, focal_px: float) -> float:
    """How far above its support the lowest points lie of an object that is seen right down to it."""
    return _CONTACT_TOLERANCES * tolerance_m + _CONTACT_PX * median(points_m[:, 2]) / focal_px


def _supporting_family(
    levels: Sequence[_Level],
    objects_m: Sequence[NDArray[np.float32]],
    contact_m: FloatArray,
    background_m: NDArray[np.float32],
    tolerance_m: float,
) -> tuple[list[_Level], _Level | None]:
    """The parallel planes on which the objects stand, and the one of them on which most do, if there are any.

    Of those that as many may stand on, it is the one that most is seen of between the objects.

    Args:
        contact_m: (N,) of `_contact_m` of each object.
        background_m: (M, 3) points between the objects.
    """
    best: tuple[list[_Level], _Level | None] = [], None
    best_rank = (np.inf, 0, 0)
    most = max((len(level.points_m) for level in levels), default=0)
    lowest_m = np.array(
        [[percentile(level.plane.height_m(points_m), _LOWEST_PERCENT) for points_m in objects_m] for level in levels]
    )
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
        if np.count_nonzero(nearest_m < _MAX_GAP_M) < _SUPPORTED_SHARE * len(nearest_m) or not own.any():
            continue
        # 0 for an object seen to stand on it: a wall is near to some and far from most.
        beyond = np.minimum((nearest_m + contact_m) / _FAR_GAP_M, _FARTHEST_GAPS)
        distances = np.where(nearest_m > 0, beyond, 0)
        # A plane through a rim or a wall, or aslant through several things, is near to some objects by chance, and has
        # few points, also with all that is parallel to it.
        evidence = min(1.0, sum(len(levels[other].points_m) for other in parallel) / most) ** _EVIDENCE_POWER
        off_m = heights_m[index]
        between = np.count_nonzero((off_m < tolerance_m) & (off_m <= heights_m[parallel].min(axis=0)))
        distance = round((float(distances.mean()) + _NEAR_ENOUGH) / evidence, 3)
        rank = (distance, -int(np.count_nonzero(own)), -int(between))
        if rank < best_rank:
            best, best_rank = ([levels[other] for other in parallel], level), rank
    return best


def _between_objects(
    main: _Level,
    family: Sequence[_Level],
    background_m: NDArray[np.float32],
    outline_m: NDArray[np.float32],
    tolerance_m: float,
) -> tuple[_Level, list[_Level]]:
    """The main plane, moved to what is measured of it between the objects, and the family with it.

    The floor of a tote and the table around it are one plane to RANSAC: that of the table, of which more is seen.

    Args:
        outline_m: (E, 1, 2) convex hull of all objects, along the plane's basis.
    """
    within_m = _REMOVED_TOLERANCES * tolerance_m
    heights_m = main.plane.height_m(background_m)
    near = np.abs(heights_m) < within_m
    for other in family:
        if other is not main:
            near &= np.abs(other.plane.height_m(background_m)) > np.abs(heights_m)
    near[near] = _under(background_m[near].astype(np.float64) @ main.plane.basis()[:, :2], outline_m)
    between_m = heights_m[near]
    if len(between_m) < _MIN_BETWEEN:
        return main, list(family)
    offset_m = median(between_m)
    sigma_m = _sigma_m(between_m - offset_m)
    if abs(offset_m) < max(_LEAST_BAND * tolerance_m, _TAKEN_SIGMA * sigma_m / len(between_m) ** 0.5):
        return main, list(family)
    if sigma_m > _SAME_SIGMA * max(main.sigma_m, _LEAST_BAND * tolerance_m / _TAKEN_SIGMA):
        return main, list(family)
    moved = replace(main, plane=Plane(main.plane.normal, main.plane.offset_m - offset_m))
    return moved, [moved if level is main else level for level in family]


@dataclass(frozen=True, eq=False)
class _Body:
    """An object in the coordinates of a support: two along it and the height.

    Attributes:
        flat_m, heights_m: (N, 2) and (N,), of its points.
        middle_m: (2,) of its outline.
        radius_m: of the circle about that which holds the outline.
        extent_m: of its points along each of the three axes, from where to where.
        lowest_m: height of what is seen of it; of its lowest point, where its shape tells that.
        least_m: the same of the lowest few points: nothing that is higher lies beneath.
        contact_m: if it is seen right down to its support, that is at most so far below.
    """

    flat_m: FloatArray
    heights_m: FloatArray
    middle_m: FloatArray
    radius_m: float
    extent_m: Sequence[tuple[float, float]]
    lowest_m: float
    least_m: float
    contact_m: float

    @cached_property
    def middle_xy_m(self) -> tuple[float, float]:
        """The middle, for what is asked of each pair of objects: NumPy takes longer for two numbers."""
        x_m, y_m = self.middle_m.tolist()
        return x_m, y_m

    @cached_property
    def points_m(self) -> FloatArray:
        """(N, 3), two coordinates along the support and the height."""
        return np.column_stack([self.flat_m, self.heights_m])

    @cached_property
    def tree(self) -> cKDTree:
        """Of the points."""
        return _tree_of(self.points_m)

    @cached_property
    def outline_m(self) -> NDArray[np.float32]:
        """(E, 1, 2) the corners of the convex hull, seen from above, as OpenCV has them."""
        return convex_hull(self.flat_m)

    @cached_property
    def sides_m(self) -> tuple[float, float]:
        """Those of the smallest rectangle around the outline, the shorter first."""
        shorter_m, longer_m = sorted(cv2.minAreaRect(self.flat_m.astype(np.float32))[1])
        return shorter_m, longer_m

    @classmethod
    def of_points(cls, points_m: NDArray[np.float32], basis: FloatArray, contact_m: float) -> _Body:
        local_m = np.empty((len(points_m), 3))
        extent_m, radius_m = _into_frame(np.ascontiguousarray(points_m), basis, local_m)
        middle_m = np.array([(low_m + high_m) / 2 for low_m, high_m in extent_m[:2]])
        lowest_m, least_m = percentiles(local_m[:, 2], _LOWEST_PERCENT, _LEAST_PERCENT)
        return cls(local_m[:, :2], local_m[:, 2], middle_m, radius_m, extent_m, lowest_m, least_m, contact_m)


@kernel("float32[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", writes=("local_m",))
def _into_frame(
    points_m: NDArray[np.float32], basis: FloatArray, local_m: FloatArray
) -> tuple[tuple[tuple[float, float], ...], float]:
    """Points (N, 3) along the columns of a basis, from where to where they reach along each, and their radius.

    That is of the circle, in the first two directions, about the middle of their extents.
    """
    low_m, high_m = np.full(3, np.inf), np.full(3, -np.inf)
    for n in range(len(points_m)):
        for axis in range(3):
            along_m = (
                points_m[n, 0] * basis[0, axis] + points_m[n, 1] * basis[1, axis] + points_m[n, 2] * basis[2, axis]
            )
            local_m[n, axis] = along_m
            low_m[axis], high_m[axis] = min(low_m[axis], along_m), max(high_m[axis], along_m)
    middle_x, middle_y, square_m2 = (low_m[0] + high_m[0]) / 2, (low_m[1] + high_m[1]) / 2, 0.0
    for n in range(len(points_m)):
        x, y = local_m[n, 0] - middle_x, local_m[n, 1] - middle_y
        square_m2 = max(square_m2, x * x + y * y)
    return ((low_m[0], high_m[0]), (low_m[1], high_m[1]), (low_m[2], high_m[2])), math.sqrt(square_m2)


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

    bodies: dict[int, _Body]
    family: Sequence[_Level]
    levels_flat_m: Sequence[FloatArray]
    main: _Level
    basis: FloatArray
    frame: RgbdFrame
    tolerance_m: float

    @property
    def doubt_m(self) -> float:
        """How far off heights may be that the shape tells, or the lowest points of an object."""
        return max(_DOUBT_M, _TAKEN_SIGMA * self.main.sigma_m)


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
    leans = unseen_m < _FAR_GAP_M and any(_touch(body, other) for key, other in scene.bodies.items() if key != index)
    if not leans and _free_below(body, height_m, scene.basis, scene.frame, mask, scene.tolerance_m):
        return ObjectSupport(Support.NOTHING)
    return replace(support, unseen_m=unseen_m)


def _highest_below(index: int, body: _Body, scene: _Scene) -> tuple[float, ObjectSupport]:
    """The highest that lies at or below a body's lowest point, and its height; 0 where there is nothing."""
    main, highest_m = scene.main.plane, body.lowest_m + _SINK_FACTOR * scene.tolerance_m
    found: list[tuple[float, ObjectSupport]] = []
    around = [_count_within(flat_m, body.middle_m, body.radius_m + _RING_M) for flat_m in scene.levels_flat_m]
    for level, count in zip(scene.family, around, strict=True):
        height_m = _height_at(level.plane, body.middle_m, scene.basis)
        if count and count >= _RING_SHARE * sum(around) and height_m <= highest_m:
            found.append((height_m, ObjectSupport(Support.PLANE, level.plane)))
    highest_m = body.least_m + scene.doubt_m
    for other, below in scene.bodies.items():
        heights_m = _top_below(body, below, highest_m) if other != index else None
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


@kernel("float64[:, ::1]", "float64[::1]", "float64")
def _count_within(flat_m: FloatArray, middle_m: FloatArray, radius_m: float) -> int:
    """How many of (N, 2) points lie within a circle."""
    count = 0
    for n in range(len(flat_m)):
        x, y = flat_m[n, 0] - middle_m[0], flat_m[n, 1] - middle_m[1]
        count += math.sqrt(x * x + y * y) < radius_m
    return count


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
        key: _distance_m(body, other, _NEAR_BELOW_M)
        for key, other in scene.bodies.items()
        if key != index and other.lowest_m < resting_m + scene.tolerance_m
    }
    nearest = min(away_m, key=lambda key: away_m[key], default=None)
    if nearest is not None and math.isfinite(away_m[nearest]):
        return ObjectSupport(Support.INSTANCE, foot, nearest)
    if on_plane and not is_ball:
        return support
    if _free_below(body, height_m, scene.basis, scene.frame, mask, scene.tolerance_m):
        return ObjectSupport(Support.NOTHING, foot=Plane(normal, -hanging_m))
    return ObjectSupport(Support.UNKNOWN, foot=foot)


def _touch(body: _Body, other: _Body) -> bool:
    """Whether what is seen of two objects comes as near to each other as where both touch."""
    return _distance_m(body, other, body.contact_m) < body.contact_m


def _reaches_over(body: _Body, below: _Body) -> bool:
    """Whether an object is above a part of another one: the outlines overlap, and it is higher where both are near."""
    if _apart_m(body, below, axes=2) >= 0:
        return False
    shares = (_share(_under(own.flat_m, other.outline_m)) for own, other in ((body, below), (below, body)))
    if all(share < _OVERLAP_SHARE for share in shares):
        return False
    away_m, nearest = below.tree.query(body.points_m, distance_upper_bound=_NEAR_OVER_M + body.contact_m)
    if away_m.min() >= _NEAR_OVER_M:
        return False
    near = away_m < away_m.min() + body.contact_m / 2
    return bool(body.heights_m[near].mean() > below.heights_m[nearest[near]].mean())


def _neighbours(bodies: dict[int, _Body], most_m: float) -> dict[int, list[int]]:
    """Of each object the others whose boxes are less than this apart, by their indices in ascending order."""
    keys = list(bodies)
    extents_m = np.array([body.extent_m for body in bodies.values()])
    lows_m, highs_m = extents_m[..., 0], extents_m[..., 1]
    apart_m = (np.maximum(lows_m[:, None], lows_m) - np.minimum(highs_m[:, None], highs_m)).max(axis=2)
    np.fill_diagonal(apart_m, np.inf)
    return {
        key: [keys[other] for other in np.flatnonzero(own_m < most_m)] for key, own_m in zip(keys, apart_m, strict=True)
    }


def _apart_m(body: _Body, other: _Body, axes: int = 3) -> float:
    """How far the boxes around two objects are apart, along the first two axes or all; below 0 where they overlap."""
    # Conditions instead of max and min, since there are as many pairs as objects squared.
    apart_m = -math.inf
    for axis in range(axes):
        (low_m, high_m), (other_low_m, other_high_m) = body.extent_m[axis], other.extent_m[axis]
        gap_m = (low_m if low_m > other_low_m else other_low_m) - (high_m if high_m < other_high_m else other_high_m)
        if gap_m > apart_m:
            apart_m = gap_m
    return apart_m


def _distance_m(body: _Body, other: _Body, most_m: float) -> float:
    """Between what is seen of two objects; infinite where that is so much or more."""
    if _apart_m(body, other) >= most_m:
        return math.inf  # most pairs are, and a search tree takes its time
    return float(other.tree.query(body.points_m, distance_upper_bound=most_m)[0].min())


def _surface_of(level: _Level) -> Surface:
    basis = level.plane.basis()
    corners_m = convex_hull(level.points_m @ basis[:, :2])[:, 0].astype(np.float64)
    if len(corners_m) > 2:
        ahead_m = np.roll(corners_m, -1, axis=0)
        if (corners_m[:, 0] * ahead_m[:, 1] - corners_m[:, 1] * ahead_m[:, 0]).sum() < 0:
            corners_m = corners_m[::-1]
    return Surface(level.plane, corners_m @ basis[:, :2].T - level.plane.offset_m * level.plane.normal)


def _height_at(plane: Plane, flat_m: FloatArray, basis: FloatArray) -> float:
    """Height of a plane above a point of the basis's first two axes."""
    rises, (x_m, y_m) = (plane.normal @ basis).tolist(), flat_m.tolist()
    return float(-(rises[0] * x_m + rises[1] * y_m + plane.offset_m) / rises[2])


def _top_below(body: _Body, below: _Body, highest_m: float) -> tuple[float, float] | None:
    """Height of another object right below a body; None where it does not lie beneath it or reaches higher.

    Returns:
        The height at which the body stands, and that of the highest that is seen of the other object: lower than the
        first where the body hides the top from view.
    """
    reach_m = body.radius_m + _RING_M
    (x_m, y_m), (below_x_m, below_y_m) = body.middle_xy_m, below.middle_xy_m
    if math.hypot(x_m - below_x_m, y_m - below_y_m) > reach_m + below.radius_m:
        return None
    found, top_m, top_share = _top_within(below.flat_m, below.heights_m, body.middle_m, reach_m)
    if not found or top_m > highest_m:
        return None
    beyond_m = -cv2.pointPolygonTest(below.outline_m, (x_m, y_m), True)
    touches = body.lowest_m - top_m < body.contact_m
    seen_top = top_share > _SEEN_TOP_SHARE
    # Where the upper object covers all of the lower one's top, only its front is seen, and not how deep it is. What is
    # long and narrow and shows its top is seen as a whole: objects beside it, in a heap, do not stand on it.
    front_alone = touches and not seen_top and below.sides_m[0] < _FRONT_ASPECT * below.sides_m[1]
    allowed_m = _HIDDEN_DEPTH * below.sides_m[1] if front_alone else _OVERHANG * body.radius_m
    if beyond_m > allowed_m and _share(_under(below.flat_m, body.outline_m)) < _UNDER_SHARE:
        # Of what is hidden for the most part no more is seen than that it ends where the upper object does.
        ends_there = abs(body.least_m - top_m) < body.contact_m / 2
        if not ends_there or _share(_under(body.flat_m, below.outline_m)) < _OVER_SHARE:
            return None
    # What stands flat on a top that it covers, or hides from view, tells the height of that itself.
    return (top_m if seen_top else max(top_m, body.lowest_m - body.contact_m / 2)), top_m


@kernel("float64[:, :]", "float64[:]", "float64[::1]", "float64")
def _top_within(
    flat_m: FloatArray, heights_m: FloatArray, middle_m: FloatArray, radius_m: float
) -> tuple[bool, float, float]:
    """How high points (N, 2) reach over a circle, and which share of them there is that high; False for hardly any."""
    within_m, count = np.empty(len(flat_m)), 0
    for n in range(len(flat_m)):
        x, y = flat_m[n, 0] - middle_m[0], flat_m[n, 1] - middle_m[1]
        if math.sqrt(x * x + y * y) < radius_m:
            within_m[count] = heights_m[n]
            count += 1
    if count < _FEWEST_BELOW:
        return False, 0.0, 0.0
    top_m, high = percentile_of_first(within_m, count, _TOP_OF_BELOW_PERCENT), 0
    for n in range(count):
        high += within_m[n] > top_m - _TOP_BAND_M
    return True, top_m, high / count


def _share(true: NDArray[np.bool_]) -> float:
    return int(np.count_nonzero(true)) / true.size


def _under(flat_m: FloatArray, outline_m: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of (N, 2) points lie inside a convex outline (E, 1, 2)."""
    return _inside_hull(flat_m, outline_m[:, 0].astype(np.float64))


@kernel("float64[:, :]", "float64[:, ::1]")
def _inside_hull(flat_m: FloatArray, hull_m: FloatArray) -> NDArray[np.bool_]:
    """Which of (N, 2) points lie inside a convex outline (E, 2)."""
    inside, corners = np.empty(len(flat_m), np.bool_), len(hull_m)
    along_m, low_m, high_m = np.empty((corners, 2)), np.full(2, np.inf), np.full(2, -np.inf)
    for e in range(corners):
        ahead = e + 1 if e + 1 < corners else 0
        for axis in range(2):
            along_m[e, axis] = hull_m[ahead, axis] - hull_m[e, axis]
            low_m[axis], high_m[axis] = min(low_m[axis], hull_m[e, axis]), max(high_m[axis], hull_m[e, axis])
    for n in range(len(flat_m)):
        x, y = flat_m[n, 0], flat_m[n, 1]
        if not (low_m[0] <= x <= high_m[0] and low_m[1] <= y <= high_m[1]):  # as are most points of other objects
            inside[n] = False
            continue
        left, right = True, True
        for e in range(corners):
            turn = along_m[e, 0] * (y - hull_m[e, 1]) - along_m[e, 1] * (x - hull_m[e, 0])
            left, right = left and turn >= 0, right and turn <= 0
            if not (left or right):
                break
        inside[n] = left or right
    return inside


def _free_below(
    body: _Body, height_m: float, basis: FloatArray, frame: RgbdFrame, mask: NDArray[np.bool_], tolerance_m: float
) -> bool:
    """Whether the camera sees free space between a body and something at a height below its middle."""
    inner_share = _HIGH_SHARE if body.lowest_m - height_m > max(_HIGH * body.radius_m, _FAR_GAP_M) else _INNER_SHARE
    camera = frame.intrinsics
    share = _most_free(
        body.flat_m,
        body.middle_m,
        inner_share,
        basis,
        (height_m + tolerance_m, body.lowest_m - tolerance_m, 2 * tolerance_m),
        np.ascontiguousarray(frame.depth_m),
        mask,
        (camera.fx, camera.fy, camera.cx, camera.cy),
    )
    return bool(share >= _FREE_SHARE and share * (body.lowest_m - height_m) >= _MIN_FREE_M)


@kernel(
    *("float64[:, :]", "float64[::1]", "float64", "float64[:, ::1]", "UniTuple(float64, 3)"),
    *("float32[:, ::1]", "boolean[:, :]", "UniTuple(float64, 4)"),
)
def _most_free(
    flat_m: FloatArray,
    middle_m: FloatArray,
    inner_share: float,
    basis: FloatArray,
    heights_m: tuple[float, float, float],
    depth_m: NDArray[np.float32],
    mask: NDArray[np.bool_],
    optics: tuple[float, float, float, float],
) -> float:
    """How much of a vertical below a body the camera sees to be free, of that of which it is most.

    Args:
        flat_m: (N, 2) points of the body along the first two columns of the basis.
        middle_m: (2,) to which the verticals are drawn by a share.
        heights_m: from where to before where a vertical reaches; and how far behind it what is seen lies at least.
        depth_m, mask: (H, W), of the whole image.
        optics: fx, fy, cx, cy.
    """
    first_m, last_m, behind_m = heights_m
    places, most = math.ceil((last_m - first_m) / _HEIGHT_STEP_M), 0
    if places <= 0:
        return 0.0
    for n in range(0, len(flat_m), 1 + len(flat_m) // _VERTICALS):
        along_m = middle_m[0] + inner_share * (flat_m[n, 0] - middle_m[0])
        aside_m = middle_m[1] + inner_share * (flat_m[n, 1] - middle_m[1])
        free = 0
        for k in range(places):
            height_m = first_m + k * _HEIGHT_STEP_M
            x_m = along_m * basis[0, 0] + aside_m * basis[0, 1] + height_m * basis[0, 2]
            y_m = along_m * basis[1, 0] + aside_m * basis[1, 1] + height_m * basis[1, 2]
            z_m = along_m * basis[2, 0] + aside_m * basis[2, 1] + height_m * basis[2, 2]
            away_m = max(z_m, _LEAST_DEPTH_M)
            column, row = np.rint(x_m / away_m * optics[0] + optics[2]), np.rint(y_m / away_m * optics[1] + optics[3])
            if 0 <= column < depth_m.shape[1] and 0 <= row < depth_m.shape[0]:
                v, u = int(row), int(column)
                free += depth_m[v, u] > z_m + behind_m and not mask[v, u]
        most = max(most, free)
    return most / places
