"""Lifting: from masks on a frame to clean clouds, centres and oriented boxes in 3D."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting.camera_noise import CameraNoise
from instance_seg_ros.lifting.clean_points import clean_points
from instance_seg_ros.lifting.estimate import Estimate
from instance_seg_ros.lifting.far_side import FarSides, WholeView
from instance_seg_ros.lifting.hidden_ends import HiddenEnds
from instance_seg_ros.lifting.instance import Completion, Instance3D, LiftedFrame
from instance_seg_ros.lifting.kept_points import KeptPoints
from instance_seg_ros.lifting.likely_centre import Likely, LikelyCentres, PartialView, View
from instance_seg_ros.lifting.masks import crop_around
from instance_seg_ros.lifting.mesh import mesh_of
from instance_seg_ros.lifting.moments import mean_and_covariance
from instance_seg_ros.lifting.order import levels_below
from instance_seg_ros.lifting.order_statistics import percentile, percentiles
from instance_seg_ros.lifting.posed import Posed
from instance_seg_ros.lifting.rectangle import smallest_rectangle
from instance_seg_ros.lifting.shape import CompletedShape
from instance_seg_ros.lifting.solid import Revolution
from instance_seg_ros.lifting.standing import TOP_PERCENTILE, heights_above_m
from instance_seg_ros.lifting.support import ObjectSupport, SceneSupports, Support, find_supports
from instance_seg_ros.lifting.uncertainty import centroid_covariance_m2
from instance_seg_ros.lifting.visibility import (
    Visibility,
    Voids,
    amodal_xyxy,
    may_touch,
    occluders,
    partly_seen,
    rejected_beside,
)
from instance_seg_ros.lifting.whole import Seen, Whole, box_pose

_FOOT_SHARE = 0.3
"""An object rests on the middle part of its lower side, so wide and long as a share of it, or on more."""
_BESIDE, _FARTHEST_BESIDE, _MIN_BESIDE_SHARE = 0.15, 1.0, 0.02
"""Rejected points lie beside an object when they are so far outside its box, as shares of its longer side, and are a
part of it that was left out when they are so many of its measured ones; what is farther off lies behind it."""
_MAX_REJECTED_SHARE = 0.3
"""A part of an object was left out, wherever it lies, when more than so many of its measured points were rejected."""


_LikelyOf = Callable[[View], Likely]


@dataclass(frozen=True, eq=False)
class _Scene:
    """What all objects of a frame share.

    Attributes:
        frame, instances: that are lifted.
        surfaces: the kept points of each instance.
        supports: what they stand on.
        voids: wide regions without depth, where there are any.
        noise: of the camera.
        higher: whether all that is seen of the first is higher than the second.
    """

    frame: RgbdFrame
    instances: Instances
    surfaces: Sequence[KeptPoints]
    supports: SceneSupports
    voids: Voids | None
    noise: CameraNoise
    higher: list[list[bool]]

    def may_stand_on(self, index: int) -> list[int]:
        """The instances that may stand on one: those that are found to, and those that touch it and are higher."""
        bounds = self.instances.bounds
        return [
            other
            for other, own in enumerate(self.supports.objects)
            if own.instance == index or (self.higher[other][index] and may_touch(bounds[other], bounds[index]))
        ]


class Lifter:
    """Masks to clean clouds, a support plane, centres and boxes. A function of its input: no memory, seeded draws.

    Args:
        settings: see `LiftingSettings`.
        likely_centre: what says of an object that is seen in part how far its centre is from where its hidden ends put
            it, and its sides from those of the box, along the axes of the view; the shipped network without it.
        far_side: what says so of one that is seen as a whole, but for the side that it hides itself; likewise.
    """

    def __init__(
        self, settings: LiftingSettings, likely_centre: _LikelyOf | None = None, far_side: _LikelyOf | None = None
    ) -> None:
        self.settings = settings
        self._likely_centre = likely_centre or LikelyCentres.shipped()
        self._far_side = far_side or FarSides.shipped()

    def lift(self, frame: RgbdFrame, instances: Instances) -> LiftedFrame:
        """Lift every instance of a frame.

        Each mask is eroded, pixels beside a depth step and outliers in depth are dropped, the largest connected piece
        is kept, and border pixels that lie on its surface are given back, but no few pixels far behind all others. What
        an object stands on is found for each one (`support.find_supports`): a plane of the scene, another instance, or
        nothing. Its box has z along the normal of that and reaches from there to the object's top; its x and y are the
        sides of the rectangle around the outline seen from above, x the longer: of one along the upright faces, or of
        the smallest. Pixels of the mask beside it that have no depth count for it. Where a smooth body turns away
        from the camera (a ball, a lying can), the outline is first completed by its mirror image, as far as that is
        hidden from view. What stands on nothing that was found has a box around its measured points alone, upright
        where the scene has a plane. Where the image's border, something nearer or missing depth hides a part of the
        object, a flag of the status says so.

        Args:
            instances: masks of the frame's size, in any order.

        Returns:
            One Instance3D for each mask, in their order; a mask without enough points has its status and no geometry.

        Raises:
            ValueError: when the masks' size is not the frame's.
        """
        if instances.masks.shape[1:] != frame.depth_m.shape:
            raise ValueError(
                f"masks are {instances.masks.shape[1:]} but the frame is {frame.depth_m.shape} (rows, columns)"
            )
        if not frame.depth_m.flags.c_contiguous:
            frame = replace(frame, depth_m=np.ascontiguousarray(frame.depth_m))
        scene = self._scene(frame, instances)
        lifted: dict[int, Instance3D] = {}
        feet_m: defaultdict[int, list[NDArray[np.float64]]] = defaultdict(lambda: [np.zeros((0, 3))])
        # What stands on an object covers a part of it from view, so that comes first.
        levels = levels_below(scene.supports.objects)
        for index in sorted(range(len(instances)), key=lambda index: -levels[index]):
            own = lifted[index] = self._instance(scene, index, np.concatenate(feet_m[index]))
            if own.support.instance is not None and own.box is not None:
                feet_m[own.support.instance].append(_foot_m(own.box))
        ordered = tuple(lifted[index] for index in range(len(instances)))
        return LiftedFrame(ordered, scene.supports.plane, scene.supports.surfaces)

    def _scene(self, frame: RgbdFrame, instances: Instances) -> _Scene:
        """What is found for all objects together."""
        settings, masks = self.settings, zip(instances.masks, instances.bounds, strict=True)
        surfaces = [clean_points(frame, mask, bounds, settings) for mask, bounds in masks]
        supports = SceneSupports(None, (), tuple(ObjectSupport() for _ in surfaces))
        if settings.use_support_plane:
            placed = [surface if len(surface.points_m) >= settings.min_points else None for surface in surfaces]
            supports = find_supports(frame, instances, placed, settings.plane_tolerance_m)
        voids = None if supports.plane is None else Voids.of(frame, supports.plane)
        noise = CameraNoise.of(frame, instances, supports.plane, settings.plane_tolerance_m)
        higher = _higher(surfaces, supports.plane).tolist()  # faster to look into, pair by pair
        return _Scene(frame, instances, surfaces, supports, voids, noise, higher)

    def _instance(self, scene: _Scene, index: int, covered_m: NDArray[np.float64]) -> Instance3D:
        """One object of a scene; `covered_m` as in `Seen`."""
        surface, tolerance_m = scene.surfaces[index], self.settings.plane_tolerance_m
        if len(surface.points_m) < self.settings.min_points:
            return Instance3D.without_geometry(surface, scene.instances.masks[index])
        seen = self._seen(scene, index, covered_m)
        posed = Posed.of(seen, scene.supports.objects[index], scene.supports.plane, tolerance_m)
        mean_m, covariance_m2 = mean_and_covariance(surface.points_m)
        whole, status = posed.whole, seen.visibility.status | posed.status
        if surface.beside_steps:
            status |= Status.PARTLY_MEASURED
        if whole is None:
            box, estimate = self._of_points_alone(seen, posed, _least_spread(covariance_m2, mean_m))
        else:
            box = whole.box
            left_out = _left_out(seen, box, tolerance_m)
            estimate = self._estimate(seen, posed, whole, left_out)
            if whole.front_only:
                status |= Status.FRONT_ONLY
            if whole.if_hidden_m is not None or left_out > 0:
                status |= Status.PARTLY_MEASURED
        noise_m2 = scene.noise.covariance_m2(estimate.centre_m)
        estimate = estimate.with_error(noise_m2, noise_m2)
        inner_box, outer_box = estimate.sides.boxes(box)
        # What stands on nothing that is known may go on below: nothing is known then of its other side.
        known = None if whole is None or not posed.is_completed else (whole.solid, whole.body)
        mesh = None
        if whole is not None and self.settings.completed_shapes:
            mesh = mesh_of(whole.solid, whole.body, box, seen.frame, seen.mask)
        return Instance3D(
            points_m=surface.points_m,
            pixels=surface.pixels,
            rejected=seen.visibility.pixels - len(surface.points_m),
            centroid_m=estimate.centre_m,
            surface_centroid_m=mean_m,
            covariance_m2=covariance_m2,
            box=box,
            completion=Completion.SUPPORT_PLANE if posed.is_completed else Completion.NONE,
            status=status,
            support=posed.support,
            centroid_covariance_m2=estimate.covariance_m2,
            inner_box=inner_box,
            outer_box=outer_box,
            amodal_xyxy=amodal_xyxy(box, seen.bounds, seen.frame.intrinsics),
            occluded_by=occluders(seen.visibility, scene.instances.masks),
            shape=CompletedShape.of(surface, box, known, whole is not None and whole.lies_round, seen.frame),
            mesh=mesh,
        )

    def _seen(self, scene: _Scene, index: int, covered_m: NDArray[np.float64]) -> Seen:
        """One object as the camera sees it, of which enough points were kept."""
        frame, masks, surface = scene.frame, scene.instances.masks, scene.surfaces[index]
        bounds = scene.instances.bounds[index]
        visibility = partly_seen(
            frame.depth_m,
            masks[index],
            self.settings.depth_step_m,
            self.settings.depth_step_ratio,
            bounds,
            [masks[other] for other in scene.may_stand_on(index)],
            surface.pixels,
            scene.voids,
        )
        if visibility.beside_void and scene.voids is not None:
            frame = scene.voids.taken_for_near
        return Seen(frame, masks[index], bounds, surface, visibility, covered_m)

    def _of_points_alone(self, seen: Seen, posed: Posed, z_axis: NDArray[np.float64]) -> tuple[OrientedBox, Estimate]:
        """Of an object without a plane: the box of its points, and a model of how far off that may be."""
        box = _box_of_points(seen.surface, z_axis)
        error_m2 = centroid_covariance_m2(box, seen.visibility, False, posed.support.kind, False, posed.unseen_m)
        return box, Estimate.of_box(box).with_error(error_m2, _of_sides_m2(error_m2))

    def _estimate(self, seen: Seen, posed: Posed, whole: Whole, left_out: float) -> Estimate:
        """Where the centre and the sides of an object most likely are, by what was learned of what is not seen.

        Args:
            left_out: of `_left_out`.
        """
        visibility, facts = seen.visibility, _facts(whole, posed, seen.is_covered)
        if whole.ends is None:
            foot_unseen = bool(posed.status & (Status.FOOT_NOT_SEEN | Status.NO_SUPPORT_PLANE))
            view: View = _whole_view(whole, visibility, posed.support, [*facts, left_out, foot_unseen])
            likely = self._far_side(view)
        else:
            view = _partial_view(whole, whole.ends, visibility, posed.support, facts)
            likely = self._likely_centre(view)
        estimate = Estimate.of_view(whole.box, view, likely, posed.unseen_m, posed.is_completed)
        if whole.if_hidden_m is not None:
            # What is too near to have depth, such as a finger, may hide a part of it: both are as likely.
            estimate = estimate.or_at(whole.body.in_camera(whole.if_hidden_m))
        # Of what was left out the view of an object that something else hides in part says nothing.
        if whole.ends is not None and left_out > 0:
            visibility = replace(visibility, hidden_share=min(1.0, visibility.hidden_share + left_out))
            kind = posed.support.kind
            error_m2 = centroid_covariance_m2(whole.box, visibility, whole.is_round, kind, True, posed.unseen_m)
            estimate = estimate.with_error(error_m2, _of_sides_m2(error_m2))
        return estimate


def _of_sides_m2(error_m2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance (3, 3) of the error of sides, by that of the centre, which moves half as far."""
    return 4 * error_m2


def _higher(surfaces: Sequence[KeptPoints], plane: Plane | None) -> NDArray[np.bool_]:
    """(N, N): whether all that is seen of the first is higher than the second; it may stand on it where they touch."""
    if plane is None:
        return np.zeros((len(surfaces), len(surfaces)), dtype=bool)
    heights_m = [heights_above_m(own.outline_m, plane.normal, plane.offset_m) for own in surfaces]
    lowest_m, middle_m, highest_m = np.array(heights_m).T
    return (lowest_m[:, None] > middle_m) & (middle_m[:, None] > highest_m)  # never of what was not measured


def _foot_m(box: OrientedBox) -> NDArray[np.float64]:
    """The middle part (4, 3) of a box's lower side, on which it rests, whatever it looks like."""
    corners = _FOOT_SHARE * np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) - [0, 0, 1]
    return np.asarray(box.T_camera_box.apply(corners * box.size_m / 2), dtype=np.float64)


def _facts(whole: Whole, posed: Posed, covered: bool) -> list[float]:
    """What is known of an object that has no direction; `covered` tells that another one stands on it."""
    revolution = whole.solid if isinstance(whole.solid, Revolution) else None
    return [
        covered,
        whole.front_only,
        whole.flush,
        whole.round_below,
        posed.support.kind is Support.PLANE,
        posed.support.kind is Support.INSTANCE,
        posed.support.kind is Support.NOTHING,
        posed.is_completed,
        revolution is not None and revolution.is_round,
        revolution is not None,
    ]


def _partial_view(
    whole: Whole, ends: HiddenEnds, visibility: Visibility, support: ObjectSupport, facts: list[float]
) -> PartialView:
    """What is known of an object of which a part is hidden."""
    radius_m = whole.solid.radii_m.max() if isinstance(whole.solid, Revolution) else 0.0
    lengths_m = np.array([max(whole.unseen_m, support.unseen_m), radius_m])
    others = [
        *facts,
        visibility.hidden_share,
        visibility.unmeasured_share,
        Status.CUT_BY_IMAGE_BORDER in visibility.status,
        Status.OCCLUDED in visibility.status,
    ]
    return PartialView.of(whole.body, ends, whole.centre_m, lengths_m, np.array(others, dtype=np.float64))


def _whole_view(whole: Whole, visibility: Visibility, support: ObjectSupport, facts: list[float]) -> WholeView:
    """What is known of an object that was seen as a whole, but for what it hides itself."""
    scatter_m = whole.solid.scatter_m if isinstance(whole.solid, Revolution) else 0.0
    lengths_m = np.array([max(whole.unseen_m, support.unseen_m), scatter_m])
    others = np.array([visibility.hidden_share, visibility.unmeasured_share, *facts], dtype=np.float64)
    return WholeView.of(whole.body, whole.box, whole.centre_m, lengths_m, others)


def _left_out(seen: Seen, box: OrientedBox, tolerance_m: float) -> float:
    """How much of an object was left out of its kept points; 0 where that is hardly anything.

    It is the share of the mask's measured points that were rejected, where that is large; or how far they reach out of
    the box, as a share of its longer side: seen along a shelf, the far rim of a plate is a strip of a few pixels behind
    a step in depth, rejected as what lies behind an object.
    """
    rows, columns = crop_around(seen.bounds, seen.mask.shape, 0)
    camera = seen.frame.intrinsics
    measured, rejected, beside = rejected_beside(
        np.ascontiguousarray(seen.frame.depth_m),
        np.ascontiguousarray(seen.mask),
        (rows.start, rows.stop, columns.start, columns.stop),
        seen.surface.pixels,
        (camera.fx, camera.fy, camera.cx, camera.cy),
        box.T_camera_box.rotation,
        box.T_camera_box.translation_m,
        box.size_m,
        tolerance_m,
        _BESIDE,
        _FARTHEST_BESIDE,
    )
    rejected_share = rejected / max(measured, 1)
    left_out = rejected_share if rejected_share > _MAX_REJECTED_SHARE else 0.0
    if len(beside) >= max(1, _MIN_BESIDE_SHARE * measured):
        left_out = max(left_out, percentile(beside, 90))
    return left_out


def _least_spread(covariance_m2: NDArray[np.float64], mean_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """The direction in which points spread least, towards the camera."""
    axis = np.linalg.eigh(covariance_m2)[1][:, 0]
    return axis if axis @ mean_m <= 0 else -axis


def _box_of_points(surface: KeptPoints, z_axis: NDArray[np.float64]) -> OrientedBox:
    """The box of the measured points alone, its z along a unit vector."""
    points_m = surface.outline_m
    basis = Plane(z_axis, 0.0).basis()
    axes, low_m, high_m = smallest_rectangle(points_m @ basis[:, :2])
    bottom_m, top_m = percentiles(points_m @ z_axis, 100 - TOP_PERCENTILE, TOP_PERCENTILE)
    centre_m = basis[:, :2] @ axes.T @ ((low_m + high_m) / 2) + z_axis * (bottom_m + top_m) / 2
    return OrientedBox(
        box_pose(basis[:, :2] @ axes[0], z_axis, centre_m), np.array([*(high_m - low_m), top_m - bottom_m])
    )
