"""Instances in 3D: what lifting finds out about the objects of a frame."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import OrientedBox, Plane, frozen
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting.kept_points import KeptPoints
from instance_seg_ros.lifting.mesh import ShapeMesh
from instance_seg_ros.lifting.order import RemovalOrder, removal_order
from instance_seg_ros.lifting.shape import CompletedShape
from instance_seg_ros.lifting.support import ObjectSupport, Surface


class Completion(enum.IntEnum):
    """How `centroid_m` and the box account for the side of the object that the camera cannot see."""

    NONE = 0
    """Measured points only."""
    SUPPORT_PLANE = 1
    """The measured outline extruded down to what the object stands on."""


@dataclass(frozen=True, eq=False)
class Instance3D:
    """One instance in space, in the camera's optical frame.

    Attributes:
        points_m: (P, 3) float32, the measured points that were kept.
        pixels: (P,) int64, the index of each point in the flattened image, row-major.
        rejected: number of mask pixels whose measurement was missing, at an edge or an outlier.
        centroid_m: (3,) float64 centre of the volume (see `completion`), or None with `Status.TOO_FEW_POINTS`.
        surface_centroid_m: (3,) float64 mean of `points_m`, or None likewise.
        covariance_m2: (3, 3) float64 covariance of `points_m`, or None likewise.
        box: the oriented box, or None likewise.
        inner_box, outer_box: a smaller and a larger one with the same axes; with 90 in 100 objects a side of the object
            lies between those of both. None likewise.
        completion: what `centroid_m` and `box` were completed with.
        status: flags; `Status.OK` when all steps did their work and the whole outline was seen.
        support: what the object stands on, its `instance` an index into the instances of the frame.
        centroid_covariance_m2: (3, 3) float64 covariance of the error of `centroid_m`; with 90 in 100 objects the error
            along any axis is below 1.645 standard deviations. None where nothing is known of it.
        amodal_xyxy: pixels that the whole object would cover, unseen parts and those beyond the image's border as well,
            by its box; pixel i covers [i, i + 1). None likewise.
        occluded_by: indices of the instances that hide a part of it.
        shape: the surface that was measured, and what completes it; None with `Status.TOO_FEW_POINTS`.
        mesh: the completed object, where the settings ask for it and it was completed.

    Raises:
        ValueError: on a wrong shape or dtype, a value that is not finite, or geometry that contradicts the status.
    """

    points_m: NDArray[np.float32]
    pixels: NDArray[np.int64]
    rejected: int
    centroid_m: NDArray[np.float64] | None
    surface_centroid_m: NDArray[np.float64] | None
    covariance_m2: NDArray[np.float64] | None
    box: OrientedBox | None
    completion: Completion
    status: Status
    support: ObjectSupport = field(default_factory=ObjectSupport)
    centroid_covariance_m2: NDArray[np.float64] | None = None
    inner_box: OrientedBox | None = None
    outer_box: OrientedBox | None = None
    amodal_xyxy: tuple[float, float, float, float] | None = None
    occluded_by: tuple[int, ...] = ()
    shape: CompletedShape | None = None
    mesh: ShapeMesh | None = None

    def __post_init__(self) -> None:
        points_m, pixels = self.points_m, self.pixels
        if points_m.ndim != 2 or points_m.shape[1] != 3 or points_m.dtype != np.float32:
            raise ValueError(f"points_m must be (P, 3) float32, not {points_m.shape} {points_m.dtype}")
        if pixels.shape != (len(points_m),) or pixels.dtype != np.int64 or self.rejected < 0:
            raise ValueError(
                f"pixels must be ({len(points_m)},) int64 and rejected not negative, not {pixels.shape} {pixels.dtype} "
                f"and {self.rejected}"
            )
        shapes = {"centroid_m": (3,), "surface_centroid_m": (3,), "covariance_m2": (3, 3)}
        unknown = {name for name in (*shapes, "box") if getattr(self, name) is None}
        if unknown != ({*shapes, "box"} if Status.TOO_FEW_POINTS in self.status else set()):
            raise ValueError(
                f"status {self.status!r} contradicts what is unknown: {', '.join(sorted(unknown)) or 'nothing'}"
            )
        for name in shapes.keys() - unknown:
            object.__setattr__(self, name, frozen(getattr(self, name), shapes[name], name))
        if self.centroid_covariance_m2 is not None:
            own = frozen(self.centroid_covariance_m2, (3, 3), "centroid_covariance_m2")
            object.__setattr__(self, "centroid_covariance_m2", own)
        if self.shape is not None and (self.box is None or not self.shape.is_in(self.box)):
            raise ValueError(
                "the shape has another frame or size than the box, so that grasps would miss what it shows"
            )

    @classmethod
    def without_geometry(cls, surface: KeptPoints, mask: NDArray[np.bool_]) -> Instance3D:
        """That of a mask (H, W) of which too few points were kept."""
        rejected = int(np.count_nonzero(mask)) - len(surface.points_m)
        nothing, status = Completion.NONE, Status.TOO_FEW_POINTS
        return cls(surface.points_m, surface.pixels, rejected, None, None, None, None, nothing, status)


@dataclass(frozen=True, eq=False)
class LiftedFrame:
    """All instances of a frame in 3D, in the order of the Instances, and the plane that they stand on.

    Attributes:
        instances: one for each mask.
        support_plane: the one that most objects stand on, in the camera's optical frame, its normal pointing up (to
            the free side); None when none was found. Each instance has its own in `Instance3D.support`.
        surfaces: that and the others parallel to it, as far as they were seen.
        order: in which all objects of the frame may be taken away, where `instances` are but some of them; or None.
    """

    instances: tuple[Instance3D, ...]
    support_plane: Plane | None
    surfaces: tuple[Surface, ...] = ()
    order: RemovalOrder | None = None

    @property
    def removal_order(self) -> RemovalOrder:
        """At which step each instance may be taken away: after all that stands or leans on it."""
        return self.order or removal_order([instance.support for instance in self.instances])

    def first(self, count: int) -> LiftedFrame:
        """The first so many instances alone: they name none of the others, but are taken away after those on them."""
        whole = self.removal_order
        order = RemovalOrder(whole.steps[:count], whole.in_ring[:count])
        return replace(self, instances=tuple(_naming(own, count) for own in self.instances[:count]), order=order)


def _naming(instance: Instance3D, count: int) -> Instance3D:
    """The instance, naming none but the first so many."""
    support = instance.support
    below = support.instance if support.instance is not None and support.instance < count else None
    leans_on = tuple(index for index in support.leans_on if index < count)
    occluded_by = tuple(index for index in instance.occluded_by if index < count)
    return replace(instance, support=replace(support, instance=below, leans_on=leans_on), occluded_by=occluded_by)
