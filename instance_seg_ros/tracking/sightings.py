"""What a frame shows of its objects, in arrays: places, boxes, a few surface points, colours and small masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.status import PARTLY_SEEN, Status
from instance_seg_ros.lifting import Instance3D, LiftedFrame

FloatArray = NDArray[np.float64]

POINTS = 48
"""Surface points that are remembered of an object."""
RAYS = 12
"""Pixels that stand for a mask without 3D."""
_MASK_WIDTH_PX = 80
_COLOR_RANGE = 0.5
"""Mean colours that differ by this, of at most 1.73, have nothing in common."""
_BRIGHTNESS_WEIGHT, _MOST_BY_BRIGHTNESS = 0.5, 0.5
_PALETTE = 3
"""Every so many of the points show the colours of an object well enough."""
_SHAPES = ((3,), (3, 3), (3, 3), (3,), (3,), (3,), (3,), (POINTS, 3), (POINTS, 3), (3,), (RAYS, 3), (3,))
_LOWER_BOUNDS = PARTLY_SEEN | Status.NO_SUPPORT_PLANE | Status.FRONT_ONLY
"""Of what has one of these flags, the sides of the box are at least what the object's are."""
_SIDE_NOISE_M, _OTHER_SIDES = 0.005, 0.24
"""The sides of one object, seen twice, are not beyond each other's bounds, each widened by the first, by the second and
more of their lengths, as a mean of the three."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """N objects as one frame shows them; NaN for what is not known: 3D, rays where there is 3D, colour.

    Attributes:
        place_m: (N, 3) centres.
        covariance_m2: (N, 3, 3) of the places' errors.
        rotation: (N, 3, 3), columns are the axes of the boxes.
        box_m: (N, 3) centres of the boxes less the places.
        half_m: (N, 3) half sides of the boxes, along their axes.
        at_least_m, at_most_m: (N, 3) bounds of the sides, the longest first; 0 and inf where there is none.
        points_m: (N, POINTS, 3) points of the surface less the places; of objects without 3D what is measured under the
            mask, less `rough_m`.
        point_colors: (N, POINTS, 3) colours there, 0 to 1.
        color: (N, 3) mean colour, 0 to 1.
        rays: (N, RAYS, 3) directions from the camera through pixels of the mask.
        rough_m: (N, 3) median of what is measured under the mask, of objects without 3D.
        partial: (N,) bool, whether something hides or cuts a part, or too little is seen for 3D.
        pixels: (N,) float64, of the masks.
        masks: (N, h, w) bool, about 80 wide; all False where the object has 3D.
    """

    place_m: FloatArray
    covariance_m2: FloatArray
    rotation: FloatArray
    box_m: FloatArray
    half_m: FloatArray
    at_least_m: FloatArray
    at_most_m: FloatArray
    points_m: FloatArray
    point_colors: FloatArray
    color: FloatArray
    rays: FloatArray
    rough_m: FloatArray
    partial: NDArray[np.bool_]
    pixels: FloatArray
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.place_m)

    @property
    def placed(self) -> NDArray[np.bool_]:
        """(N,) whether an object has 3D."""
        return ~np.isnan(self.place_m[:, 0])

    @property
    def somewhere_m(self) -> FloatArray:
        """(N, 3) places, rough ones of what has no 3D."""
        return np.where(self.placed[:, None], self.place_m, self.rough_m)

    @property
    def has_points(self) -> NDArray[np.bool_]:
        """(N,) whether anything was measured of an object."""
        return ~np.isnan(self.points_m[:, 0, 0])

    @property
    def sides_m(self) -> FloatArray:
        """(N, 3) full sides, the longest first."""
        return 2 * np.sort(self.half_m, axis=1)[:, ::-1]

    @property
    def sigma_m(self) -> FloatArray:
        """(N,) standard deviation of each coordinate of the places."""
        return np.sqrt(np.trace(self.covariance_m2, axis1=1, axis2=2) / 3)

    def moved(self, transform: Transform) -> Sightings:
        """The same objects in another frame, given the pose of this one in it."""
        rotation = transform.rotation
        return replace(
            self,
            place_m=self.place_m @ rotation.T + transform.translation_m,
            covariance_m2=rotation @ self.covariance_m2 @ rotation.T,
            rotation=rotation @ self.rotation,
            box_m=self.box_m @ rotation.T,
            points_m=self.points_m @ rotation.T,
            rays=self.rays @ rotation.T,
            rough_m=self.rough_m @ rotation.T + transform.translation_m,
        )


def sightings_of(frame: RgbdFrame, instances: Instances, lifted: LiftedFrame, *, all_masks: bool) -> Sightings:
    """Of all instances, in their order, in the camera's optical frame.

    Args:
        all_masks: also give the masks of objects with 3D, for tracks that have none.
    """
    count, stride = len(instances), max(1, frame.intrinsics.width // _MASK_WIDTH_PX)
    small_masks = instances.masks[:, ::stride, ::stride]
    masks = small_masks.copy() if all_masks else np.zeros(small_masks.shape, dtype=bool)
    place, covariance, rotation, box, half, at_least, at_most, points, point_colors, color, rays, rough = (
        np.full((count, *shape), np.nan) for shape in _SHAPES
    )
    partial = np.ones(count, dtype=bool)
    pixels_of = np.array([len(each.points_m) + each.rejected for each in lifted.instances], dtype=np.float64)
    result = Sightings(
        *(place, covariance, rotation, box, half, at_least, at_most, points, point_colors, color, rays, rough, partial),
        pixels_of,
        masks,
    )
    colors = None if frame.color_rgb is None else frame.color_rgb.reshape(-1, 3)
    for row, (mask, instance) in enumerate(zip(instances.masks, lifted.instances, strict=True)):
        if instance.centroid_m is not None and instance.box is not None:
            pixels = _place(result, row, instance, instance.centroid_m)
        else:
            pixels = _unplaced(result, row, frame, np.flatnonzero(mask))
            result.masks[row] = small_masks[row]
        if colors is not None and len(pixels):
            own = colors[pixels] / 255
            result.color[row] = own.mean(axis=0)
            result.point_colors[row] = _spread(own, POINTS)
    return result


def size_differences(first: Sightings, second: Sightings) -> FloatArray:
    """(first, second): 0 for equal boxes, 1 where one is a sheet; what is seen in part may be larger than it looks."""
    sides, others = first.sides_m[:, None], second.sides_m[None]
    smaller, larger = np.minimum(sides, others), np.maximum(sides, others)
    difference = 1 - smaller / np.maximum(larger, 1e-6)
    may_grow = (first.partial[:, None, None] & (sides < others)) | (second.partial[None, :, None] & (others < sides))
    return np.where(may_grow, 0.3 * difference, difference).mean(axis=2)


def bounds_exclude(first: Sightings, second: Sightings) -> NDArray[np.bool_]:
    """(first, second): whether the sides of the one are longer than the other's can be, so that they are two objects.

    What is seen in part may be larger than it looks, but no smaller; False where either has no 3D.
    """
    least_m = np.maximum(first.at_least_m[:, None], second.at_least_m[None])
    most_m = np.minimum(first.at_most_m[:, None], second.at_most_m[None])
    excess = np.maximum(1 - (most_m + _SIDE_NOISE_M) / np.maximum(least_m, 1e-6), 0).mean(axis=2)
    return np.asarray(excess > _OTHER_SIDES)


def color_differences(first: Sightings, second: Sightings) -> FloatArray:
    """(first, second): 0 for equal mean colours, 1 for quite different ones; 0 where one has none.

    What differs in brightness alone, as in a shadow or when a lamp is switched off, counts half, and is at most 0.5.
    """
    return _color_difference(first.color[:, None], second.color[None])


def palette_difference(whole: FloatArray, part: FloatArray) -> float:
    """How far the colours of a part (POINTS, 3) are from the nearest ones of the whole: 0 to 1, 0 without colour.

    The mean colour of a part is that of the whole only where the whole has one colour.
    """
    return float(_color_difference(part[::_PALETTE, None], whole[None, ::_PALETTE]).min(axis=1).mean())


def _color_difference(first: FloatArray, second: FloatArray) -> FloatArray:
    difference, mean = first - second, first + second
    brightness = np.abs((difference * mean).sum(axis=-1)) / np.maximum(np.linalg.norm(mean, axis=-1), 1e-6)
    hue_squared = np.maximum((difference**2).sum(axis=-1) - brightness**2, 0)
    shade = np.minimum(_BRIGHTNESS_WEIGHT * brightness / _COLOR_RANGE, _MOST_BY_BRIGHTNESS)
    return np.nan_to_num(np.minimum(np.sqrt(hue_squared / _COLOR_RANGE**2 + shade**2), 1))


def _place(result: Sightings, row: int, instance: Instance3D, place_m: FloatArray) -> NDArray[np.int64]:
    """Fill in a row of an object with 3D; returns the pixels of its points."""
    box = instance.box
    assert box is not None
    result.partial[row] = bool(instance.status & PARTLY_SEEN)
    result.place_m[row] = place_m
    result.rotation[row] = box.T_camera_box.rotation
    result.box_m[row] = box.T_camera_box.translation_m - place_m
    result.half_m[row] = box.size_m / 2
    at_least_m, at_most_m = box.size_m.copy(), box.size_m.copy()
    if instance.status & _LOWER_BOUNDS:
        at_most_m[:] = np.inf
    if Status.FOOT_NOT_SEEN in instance.status:
        at_least_m[2] = 0
    # Sorted bounds bound the sorted sides.
    result.at_least_m[row], result.at_most_m[row] = np.sort(at_least_m)[::-1], np.sort(at_most_m)[::-1]
    covariance_m2 = instance.centroid_covariance_m2
    # Where lifting does not know how far off the centre is, it is somewhere in the box.
    result.covariance_m2[row] = np.eye(3) * (box.size_m.max() / 4) ** 2 if covariance_m2 is None else covariance_m2
    some = _spread(np.arange(len(instance.points_m)), POINTS)
    result.points_m[row] = instance.points_m[some] - place_m
    return instance.pixels[some]


def _unplaced(result: Sightings, row: int, frame: RgbdFrame, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fill in a row of an object without 3D, given the pixels of its mask; returns some of them."""
    some = _spread(pixels, RAYS)
    if len(some):
        result.rays[row, :, :2] = frame.intrinsics.rays.reshape(-1, 2)[some]
        result.rays[row, :, 2] = 1
        depth_m = frame.depth_m.reshape(-1)[pixels]
        measured = np.flatnonzero(depth_m > 0)
        if len(measured):
            result.rough_m[row] = result.rays[row].mean(axis=0) * np.median(depth_m[measured])
            at = _spread(measured, POINTS)
            result.points_m[row, :, :2] = frame.intrinsics.rays.reshape(-1, 2)[pixels[at]]
            result.points_m[row, :, 2] = 1
            result.points_m[row] = result.points_m[row] * depth_m[at, None] - result.rough_m[row]
    return some


def _spread(values: NDArray[Any], count: int) -> NDArray[Any]:
    """So many of the values, evenly from the first to the last, some of them more than once; none of none."""
    return values[np.arange(count) * (len(values) - 1) // (count - 1)] if len(values) else values
