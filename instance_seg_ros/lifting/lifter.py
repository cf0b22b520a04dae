"""Lifting: from masks on a frame to clean clouds, centres and oriented boxes in 3D."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform, cross, frozen
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting.box_bounds import SideBounds
from instance_seg_ros.lifting.camera_noise import CameraNoise
from instance_seg_ros.lifting.columns import Columns, Underside, fill_columns, has_flat_top, leans
from instance_seg_ros.lifting.completion import far_side_of_round_body
from instance_seg_ros.lifting.faces import rectangle_around
from instance_seg_ros.lifting.far_side import FarSides, WholeView
from instance_seg_ros.lifting.foot import Foot, foot_of
from instance_seg_ros.lifting.hidden_ends import HiddenEnds, likely_ends
from instance_seg_ros.lifting.likely_centre import Likely, LikelyCentres, PartialView, View
from instance_seg_ros.lifting.mesh import ShapeMesh, mesh_of
from instance_seg_ros.lifting.moments import mean_and_covariance
from instance_seg_ros.lifting.order import RemovalOrder, levels_below, removal_order
from instance_seg_ros.lifting.order_statistics import median, percentile, percentiles
from instance_seg_ros.lifting.rectangle import smallest_rectangle
from instance_seg_ros.lifting.shape import CompletedShape
from instance_seg_ros.lifting.solid import Ball, Body, Revolution, fit_revolution
from instance_seg_ros.lifting.standing import TOP_PERCENTILE, Standing
from instance_seg_ros.lifting.support import ObjectSupport, SceneSupports, Support, Surface, find_supports
from instance_seg_ros.lifting.surface import (
    Bounds,
    KeptPoints,
    crop_around,
    depth_of,
    eroded,
    fit_local_planes,
    grown_over_surface,
    kept_points,
    rim_beside,
    well_inside,
    window_radius_px,
    without_strays,
)
from instance_seg_ros.lifting.uncertainty import (
    centroid_covariance_m2,
    covariance_along_m2,
    with_unseen_foot_m,
)
from instance_seg_ros.lifting.visibility import (
    Visibility,
    Voids,
    amodal_xyxy,
    may_touch,
    occluders,
    partly_seen,
    rejected_beside,
)

_MIN_KEPT_SHARE = 0.3
"""Erosion and edge removal are eased until this share of a mask's measured pixels is left: thin objects stay."""
_MIN_PIECE_SHARE, _MIN_CUT_SHARE = 0.1, 0.03
"""Besides the largest connected piece, pieces of the first share of it are kept, unless far behind or in front of it;
of the second where the mask, less its rim, is in two there: what hides an object cuts its mask, and where one spills
over onto a neighbour it does not part."""
_FOOT_SHARE = 0.3
"""An object rests on the middle part of its lower side, so wide and long as a share of it, or on more."""
_LEVEL, _TOP_SEEN = 0.9, 0.1
"""What lies below others is seen from its side alone when fewer than so many of its normals point up by the first."""
_FRONT_ASPECT, _UPWARDS, _TOP_OF_FRONT = 0.2, 0.5, 0.03
"""Only the front of an object is seen when its outline is narrower than this share of its length, and hardly any of its
normals point up."""
_FOOT_UNSEEN, _ROUND_UNSEEN, _ROUND_BELOW, _FOOT_UNSEEN_M = 0.4, 0.6, 0.5, 0.04
"""The foot of an object is not seen when nothing is of so much of its height from below; of what is round below, at its
lowest narrower than the third times its width, the lower half is never seen from above. And when nothing is of the
last, whatever its height, of what is no body of revolution: it may lean on what it hides. That is at 1 m and nearer;
beyond it grows with the distance, since a few pixels are as much of what is large and far."""
_STANDS = 1.5
"""What ends no farther above its support by its mask than so many tolerances is seen to stand on it."""
_SURELY_PX = 1.0
"""What has upright sides ends above its support for sure when most of its edge is seen to do so by a pixel more."""
_UPRIGHT, _SIDES, _SIDES_SEEN = 0.9, 0.2, 0.6
"""A body of revolution has upright sides, or is widest below, when its lowest third is so wide, as a share of it;
another one with a flat top, or when more than the third of its normals point up or down by less than the second."""
_TILTED, _TILTED_SHARE = (0.2, 0.9), 0.6
"""A body is tilted, and hides what lies below the half of its height, when the vertical parts of so many of its normals
lie within these: it lies on its side, or on an edge, on others."""
_AS_SMALL = 1.05
"""A rectangle is as good as the smallest one for what is round up to so many times its area."""
_OVERHEAD = 0.1
"""A camera looks straight down on what is no farther aside than this share of how far below it is: 6 degrees."""
_BESIDE, _FARTHEST_BESIDE, _MIN_BESIDE_SHARE = 0.15, 1.0, 0.02
"""Rejected points lie beside an object when they are so far outside its box, as shares of its longer side, and are a
part of it that was left out when they are so many of its measured ones; what is farther off lies behind it."""
_MAX_REJECTED_SHARE = 0.3
"""A part of an object was left out, wherever it lies, when more than so many of its measured points were rejected."""


_LikelyOf = Callable[[View], Likely]


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


@dataclass(frozen=True, eq=False)
class LiftedFrame:
    """All instances of a frame in 3D, in the order of the Instances, and the plane that they stand on.

    Attributes:
        instances: one for each mask.
        support_plane: the one that most objects stand on, in the camera's optical frame, its normal pointing up (to
            the free side); None when none was found. Each instance has its own in `Instance3D.support`.
        surfaces: that and the others parallel to it, as far as they were seen.
    """

    instances: tuple[Instance3D, ...]
    support_plane: Plane | None
    surfaces: tuple[Surface, ...] = ()

    @property
    def removal_order(self) -> RemovalOrder:
        """At which step each instance may be taken away: after all that stands or leans on it."""
        return removal_order([instance.support for instance in self.instances])


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
        bounds = instances.bounds
        surfaces = [self._surface(frame, mask, own) for mask, own in zip(instances.masks, bounds, strict=True)]
        supports = SceneSupports(None, (), tuple(ObjectSupport() for _ in surfaces))
        if self.settings.use_support_plane:
            enough = [len(surface.points_m) >= self.settings.min_points for surface in surfaces]
            placed = [surface if some else None for surface, some in zip(surfaces, enough, strict=True)]
            supports = find_supports(frame, instances, placed, self.settings.plane_tolerance_m)
        voids = None if supports.plane is None else Voids.of(frame, supports.plane)
        noise = CameraNoise.of(frame, instances, supports.plane, self.settings.plane_tolerance_m)
        lifted: dict[int, Instance3D] = {}
        # What stands on an object covers a part of it from view, so that comes first.
        levels = levels_below(supports.objects)
        higher = _higher(surfaces, supports.plane).tolist()  # faster to look into, pair by pair
        for index in sorted(range(len(surfaces)), key=lambda index: -levels[index]):
            covered_m = [
                _foot_m(above.box)
                for above in lifted.values()
                if above.support.instance == index and above.box is not None
            ]
            on_it = [
                other
                for other, own in enumerate(supports.objects)
                if own.instance == index or (higher[other][index] and may_touch(bounds[other], bounds[index]))
            ]
            lifted[index] = self._instance(
                frame,
                surfaces[index],
                instances.masks,
                bounds[index],
                index,
                supports,
                on_it,
                np.concatenate([np.zeros((0, 3)), *covered_m]),
                voids,
                noise,
            )
        ordered = tuple(lifted[index] for index in range(len(surfaces)))
        return LiftedFrame(ordered, supports.plane, supports.surfaces)

    def _surface(self, frame: RgbdFrame, mask: NDArray[np.bool_], bounds: Bounds) -> KeptPoints:
        """The kept pixels of a mask."""
        settings, focal_px = self.settings, frame.intrinsics.fx
        crop = crop_around(bounds, mask.shape, settings.mask_erosion_px + 2)
        depth_m, inside = np.ascontiguousarray(frame.depth_m[crop]), np.ascontiguousarray(mask[crop])
        step = settings.depth_step_m, settings.depth_step_ratio
        core = well_inside(depth_m, inside, step, settings.mask_erosion_px, _MIN_KEPT_SHARE)
        near, median_m = self._within_depth_gate(depth_m, core, focal_px)
        core = _largest_piece(near, inside, settings.mask_erosion_px, depth_m, focal_px)
        if core is not near:
            _, median_m, _ = depth_of(depth_m, core)
        radius_px = window_radius_px(median_m, focal_px)
        planes = fit_local_planes(depth_m, core, radius_px, inside & ~core)
        tolerance = 0.5 * settings.depth_step_m, 0.5 * settings.depth_step_ratio
        kept = grown_over_surface(depth_m, inside, core, planes, tolerance)
        kept = without_strays(depth_m, kept, step)
        # Windows without the rim that was given back reach past the core's edge: their planes lie off what bends there.
        rim = rim_beside(depth_m, inside, kept, median_m, focal_px)
        return kept_points(depth_m, kept, radius_px, tolerance, (crop[1].start, crop[0].start), frame.intrinsics, rim)

    def _within_depth_gate(
        self, depth_m: NDArray[np.float32], core: NDArray[np.bool_], focal_px: float
    ) -> tuple[NDArray[np.bool_], float]:
        """The core without what lies far in front of or behind its median depth, and the median depth of that.

        The gate never gets narrower than the mask is wide: a face towards the camera has hardly any spread in depth,
        and the sides that belong to it reach as far back as objects are wide. What goes on beyond it without a step
        stays, so long as most of it is within: a long thing that points away from the camera. Of no pixel the median
        counts as 1 m.
        """
        count, median_m, farthest_m = depth_of(depth_m, core)
        if not count:
            return core, 1.0
        wide_m = max(core.shape) * median_m / focal_px
        if farthest_m <= wide_m:
            return core, median_m
        deviations_m = np.abs(depth_m[core] - median_m)
        gate_m = max(self.settings.outlier_mad_factor * (1.4826 * median(deviations_m)), wide_m)
        within = core & (abs(depth_m - median_m) <= gate_m)
        left_out = core & ~within
        if not left_out.any():
            return core, median_m
        count, pieces = cv2.connectedComponents(core.view(np.uint8), connectivity=4)
        mostly_within = 2 * np.bincount(pieces[within], minlength=count) > np.bincount(pieces[core], minlength=count)
        within |= left_out & mostly_within[pieces]
        count, median_m, _ = depth_of(depth_m, within)
        return within, median_m if count else 1.0

    def _instance(
        self,
        frame: RgbdFrame,
        surface: KeptPoints,
        masks: NDArray[np.bool_],
        bounds: Bounds,
        index: int,
        supports: SceneSupports,
        on_it: Sequence[int],
        covered_m: NDArray[np.float64],
        voids: Voids | None,
        noise: CameraNoise,
    ) -> Instance3D:
        mask = masks[index]
        if len(surface.points_m) < self.settings.min_points:
            status, none = Status.TOO_FEW_POINTS, Completion.NONE
            rejected = int(np.count_nonzero(mask)) - len(surface.points_m)
            return Instance3D(surface.points_m, surface.pixels, rejected, None, None, None, None, none, status)
        mean_m, covariance_m2 = mean_and_covariance(surface.points_m)
        completion, support = Completion.SUPPORT_PLANE, supports.objects[index]
        visibility = partly_seen(
            frame.depth_m,
            mask,
            self.settings.depth_step_m,
            self.settings.depth_step_ratio,
            bounds,
            [masks[other] for other in on_it],
            surface.pixels,
            voids,
        )
        if visibility.beside_void and voids is not None:
            frame = voids.taken_for_near
        status, unseen_m, left_out, in_part = visibility.status, 0.0, 0.0, bool(visibility.status)
        covariance_of_centre_m2 = np.zeros((3, 3))
        tolerance_m, lowest, whole = self.settings.plane_tolerance_m, support.foot, None
        fitted, end, hanging_m = None, _End(support.unseen_m), 0.0
        if support.plane is not None:
            fitted = _Fitted.on(surface, support.plane, frame, mask, tolerance_m, in_part)
        if fitted is not None:
            foot = foot_of(fitted.body, frame, mask, bounds, tolerance_m)
            if support.unseen_m > 0 and not in_part:
                hanging_m = fitted.hanging_m(foot)
            if hanging_m:
                lowest = Plane(fitted.plane.normal, fitted.plane.offset_m - hanging_m)
            else:
                whole = _completed(fitted, surface, frame, mask, covered_m, in_part)
                if not whole.round_below:
                    end = _End.by_edge(foot, fitted, surface, support.unseen_m, tolerance_m)
                if end.unseen_m != support.unseen_m:
                    support = replace(support, unseen_m=end.unseen_m)
        if whole is None:
            completion, status = Completion.NONE, status | Status.NO_SUPPORT_PLANE
            if support.kind is not Support.NOTHING:
                support = ObjectSupport(leans_on=support.leans_on, top_m=support.top_m)
            if supports.plane is not None:
                lowest_m = percentile(supports.plane.height_m(surface.outline_m), 100 - TOP_PERCENTILE)
                ball = Ball.of(surface.outline_m, surface.normals)
                if ball is not None:
                    lowest_m = ball.lowest_m(supports.plane, lowest_m)
                lowest = lowest or Plane(supports.plane.normal, supports.plane.offset_m - lowest_m)
                fitted = _Fitted.on(surface, lowest, frame, mask, 0.0, in_part)
                whole = None if fitted is None else _completed(fitted, surface, frame, mask, covered_m, in_part)
        if whole is None:
            box, is_round = _box_of_points(surface, _least_spread(covariance_m2, mean_m)), False
            sides = SideBounds(np.zeros((3, 2, 2)))
            centre_m = box.T_camera_box.translation_m
        else:
            if completion is not Completion.NONE and whole.flush:
                status |= Status.FLUSH
            if whole.front_only:
                status |= Status.FRONT_ONLY
            if completion is not Completion.NONE:
                unseen_m = max(end.unseen_m, whole.unseen_m)
                if end.surely or unseen_m > _unseen_limit_m(whole):
                    status |= Status.FOOT_NOT_SEEN
                else:
                    unseen_m = end.unseen_m  # of what only overhangs, the foot is where it is
                unseen_m = max(unseen_m, end.above_m)
            elif hanging_m:
                unseen_m = hanging_m
            else:
                own_m = foot_of(whole.body, frame, mask, bounds, 0.0).lifted_m
                unseen_m = lowest_m if own_m is None else min(max(-own_m, 0.0), lowest_m)
            box, centre_m = whole.box, whole.body.in_camera(whole.centre_m)
            left_out = _left_out(frame, mask, bounds, box, surface.pixels, self.settings.plane_tolerance_m)
            facts = _facts(whole, support, completion, len(covered_m) > 0)
            if whole.ends is None:
                foot_unseen = bool(status & (Status.FOOT_NOT_SEEN | Status.NO_SUPPORT_PLANE))
                view: View = _whole_view(whole, visibility, support, [*facts, left_out, foot_unseen])
                likely = self._far_side(view)
            else:
                view = _partial_view(whole, whole.ends, visibility, support, facts)
                likely = self._likely_centre(view)
            centre_m = centre_m + likely.offset_m @ view.axes
            deviation_m = with_unseen_foot_m(likely.deviation_m, unseen_m)
            covariance_of_centre_m2 = covariance_along_m2(view.axes.T, deviation_m)
            sides = SideBounds.of_view(likely.sides_m, view.axes, box)
            # What is completed reaches down to its support; what is not ends where no more is seen of it.
            is_completed = completion is not Completion.NONE
            sides = sides.with_foot_above(unseen_m) if is_completed else sides.with_foot_below(unseen_m)
            if whole.if_hidden_m is not None:
                # What is too near to have depth, such as a finger, may hide a part of it: both are as likely.
                status |= Status.PARTLY_MEASURED
                aside_m = whole.body.in_camera(whole.if_hidden_m) - centre_m
                covariance_of_centre_m2 += np.outer(aside_m, aside_m) / 2
                sides = sides.reaching(2 * aside_m @ box.T_camera_box.rotation)
            if left_out > 0:
                status |= Status.PARTLY_MEASURED
                hidden_share = min(1.0, visibility.hidden_share + left_out)
                visibility = replace(visibility, hidden_share=hidden_share)
            is_round = isinstance(whole.solid, Revolution) and whole.solid.is_round
        # Of what was left out the view of an object that something else hides in part says nothing.
        if whole is None or (whole.ends is not None and left_out > 0):
            beside_m2 = centroid_covariance_m2(box, visibility, is_round, support.kind, whole is not None, unseen_m)
            covariance_of_centre_m2 += beside_m2
            sides = sides.widened(4 * beside_m2, box)  # a centre moves half as far as a side
        noise_m2 = noise.covariance_m2(centre_m)
        inner_box, outer_box = sides.widened(noise_m2, box).boxes(box)
        # What stands on nothing that is known may go on below: nothing is known then of its other side.
        known = None if whole is None or completion is Completion.NONE else (whole.solid, whole.body)
        lies_round = whole is not None and isinstance(whole.solid, Columns) and whole.round_below
        shape = CompletedShape.of(surface, box, known, lies_round, frame)
        return Instance3D(
            points_m=surface.points_m,
            pixels=surface.pixels,
            rejected=visibility.pixels - len(surface.points_m),
            centroid_m=centre_m,
            surface_centroid_m=mean_m,
            covariance_m2=covariance_m2,
            box=box,
            completion=completion,
            status=status,
            support=support,
            centroid_covariance_m2=covariance_of_centre_m2 + noise_m2,
            inner_box=inner_box,
            outer_box=outer_box,
            amodal_xyxy=amodal_xyxy(box, bounds, frame.intrinsics),
            occluded_by=occluders(visibility, masks),
            shape=shape,
            mesh=(
                mesh_of(whole.solid, whole.body, box, frame, mask)
                if whole is not None and self.settings.completed_shapes
                else None
            ),
        )


def _largest_piece(
    core: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    rim_px: int,
    depth_m: NDArray[np.float32],
    focal_px: float,
) -> NDArray[np.bool_]:
    """The largest 4-connected piece, and the sizeable pieces that are nearer to it in depth than it is wide.

    An occluder cuts objects in two, and a step parts the inside of a mug from its outside; what lies behind a handle or
    under the rim of a generous mask is smaller or farther. The more pixels a piece has, the less it is such a spill,
    and the farther off it may be: one of as many as the largest by twice as much, as a bottle's body below its head,
    seen from above.

    Args:
        core: (h, w) the pixels to choose from.
        inside: (h, w) the mask, measured or not.
        rim_px: what a mask is not trusted with: what hangs together by less than twice that is in two.
        depth_m: (h, w).
    """
    count, labels = cv2.connectedComponents(core.view(np.uint8), connectivity=4)
    if count <= 2:
        return core
    areas = _areas(labels, count)[1:]
    largest = 1 + int(np.argmax(areas))
    in_largest = labels == largest
    sizeable = 1 + np.flatnonzero(areas >= _MIN_CUT_SHARE * areas[largest - 1])
    if len(sizeable) == 1:
        return in_largest
    depth_of_largest_m = median(depth_m[in_largest])
    sides_px = cv2.boundingRect(in_largest.view(np.uint8))[2:]
    reach_m = max(sides_px) * depth_of_largest_m / focal_px
    shares = areas / areas.max()
    parts = cv2.connectedComponents(eroded(inside, 2 * rim_px + 1).view(np.uint8), connectivity=4)[1]
    main_part = parts[in_largest].max()
    kept = np.zeros(count, dtype=bool)
    for label in sizeable:
        share, own = shares[label - 1], labels == label
        is_cut = parts[own].max() != main_part
        away_m = abs(median(depth_m[own]) - depth_of_largest_m)
        kept[label] = (share >= _MIN_PIECE_SHARE or is_cut) and away_m <= (1 + share) * reach_m
    return kept[labels]


@kernel("int32[:, ::1]", "int64")
def _areas(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """How many pixels (h, w) have each of so many labels, from 0 on; NumPy takes longer than OpenCV to find them."""
    areas, run, last = np.zeros(count, np.int64), 0, labels[0, 0]
    for label in labels.reshape(-1):
        if label != last:
            areas[last] += run
            run, last = 0, label
        run += 1
    areas[last] += run
    return areas


def _higher(surfaces: Sequence[KeptPoints], plane: Plane | None) -> NDArray[np.bool_]:
    """(N, N): whether all that is seen of the first is higher than the second; it may stand on it where they touch."""
    if plane is None:
        return np.zeros((len(surfaces), len(surfaces)), dtype=bool)
    heights_m = [plane.height_m(own.outline_m[:: 1 + len(own.outline_m) // 100]) for own in surfaces]
    percents = 100 - TOP_PERCENTILE, 50.0, TOP_PERCENTILE
    lowest_m, middle_m, highest_m = np.array(
        [percentiles(own_m, *percents) if len(own_m) else [np.nan] * 3 for own_m in heights_m]
    ).T
    return (lowest_m[:, None] > middle_m) & (middle_m[:, None] > highest_m)  # never of what was not measured


def _foot_m(box: OrientedBox) -> NDArray[np.float64]:
    """The middle part (4, 3) of a box's lower side, on which it rests, whatever it looks like."""
    corners = _FOOT_SHARE * np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) - [0, 0, 1]
    return np.asarray(box.T_camera_box.apply(corners * box.size_m / 2), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Whole:
    """An object with its unseen parts: the box around it, the solid in the frame of a body, whether all is one face,
    whether it hardly stands out from the plane, whether it narrows towards its foot, how much of its height from below
    is hidden by what lies above it, of one that is seen in part, where it most likely ends, and, of what would be round
    if something without depth hid a part of it, the centre (3,) that it would have, in the body's frame."""

    box: OrientedBox
    solid: Revolution | Columns
    body: Body
    front_only: bool
    flush: bool
    round_below: bool
    unseen_m: float
    ends: HiddenEnds | None
    if_hidden_m: NDArray[np.float64] | None

    @cached_property
    def centre_m(self) -> NDArray[np.float64]:
        """(3,) of the volume, in the body's frame; it goes on above what was seen as it is below that."""
        rise_m = 0.0 if self.ends is None else self.ends.rise_m
        return self.solid.centre_m + np.array([0.0, 0.0, rise_m / 2])


@dataclass(frozen=True, eq=False)
class _Fitted:
    """An object on a plane, and the body of revolution that it may be, before it is completed.

    Attributes:
        plane: that it stands on.
        standing: what of it stands out from that.
        body: that of `standing`; a ball's is as high as the ball.
        revolution: the body of revolution that it is; None for others, and where that is doubted.
        is_ball: whether that is a ball.
        if_hidden_m: of what would be round if something without depth hid a part of it, the centre (3,) that it would
            have, in the body's frame.
    """

    plane: Plane
    standing: Standing
    body: Body
    revolution: Revolution | None
    is_ball: bool
    if_hidden_m: NDArray[np.float64] | None

    @classmethod
    def on(
        cls,
        surface: KeptPoints,
        plane: Plane,
        frame: RgbdFrame,
        mask: NDArray[np.bool_],
        tolerance_m: float,
        partly_seen: bool,
    ) -> _Fitted | None:
        """The object of this surface on a plane; None where it is not above that.

        Args:
            partly_seen: whether something hides a part of it.
        """
        standing = Standing.on(surface, plane, tolerance_m)
        if standing is None:
            return None
        body = standing.body
        ball = Ball.of(standing.points_m, standing.normals)
        revolution = None if ball is None else ball.resting(body, frame, mask, partly_seen)
        is_ball = revolution is not None and not revolution.doubted
        if revolution is not None and is_ball:
            top_m = float(1.5 * revolution.heights_m[-1] - 0.5 * revolution.heights_m[-2])
            body = replace(body, top_m=top_m)
        else:
            revolution = fit_revolution(body, frame, mask, partly_seen) or revolution
        if revolution is not None and revolution.doubted:
            return cls(plane, standing, body, None, False, revolution.centre_m)
        return cls(plane, standing, body, revolution, is_ball, None)

    @property
    def is_block(self) -> bool:
        """Whether it is one with a level top, such as a carton."""
        return self.revolution is None and has_flat_top(self.body)

    @property
    def is_upright(self) -> bool:
        """Whether what is seen of it tells that it is no narrower at its foot: it ends where its edge does."""
        if self.revolution is None:
            upwards = np.abs(self.body.normals[:, 2])
            return self.is_block or bool(np.count_nonzero(upwards < _SIDES) > _SIDES_SEEN * len(upwards))
        radii_m = self.revolution.radii_m
        return bool(radii_m[: len(radii_m) // 3].mean() > _UPRIGHT * radii_m.max())

    def hanging_m(self, foot: Foot) -> float:
        """How far above the plane a block ends, if that is so far that it hangs; 0 of all else."""
        lifted_m = foot.lifted_m or 0.0
        return lifted_m if lifted_m > _foot_unseen_m(self.standing.depth_m) and self.is_block else 0.0


class _End(NamedTuple):
    """How far above what it stands on an object may end.

    Attributes:
        unseen_m: so far down it is assumed to reach below what is seen of it, see `ObjectSupport`.
        above_m: so far above it may end by its lower edge: what stands and what is held a little look nearly the same.
        surely: whether it is seen to end above that.
    """

    unseen_m: float
    above_m: float = 0.0
    surely: bool = False

    @classmethod
    def by_edge(cls, foot: Foot, fitted: _Fitted, surface: KeptPoints, unseen_m: float, tolerance_m: float) -> _End:
        """By the lower edge of the mask of an object that is no narrower there than it looks.

        Args:
            unseen_m: where that does not tell.
            tolerance_m: of the plane.
        """
        if foot.is_covered:
            return cls(unseen_m, percentile(fitted.plane.height_m(surface.outline_m), 100 - TOP_PERCENTILE))
        if foot.lifted_m is None:
            return cls(unseen_m)
        stands_m = _STANDS * tolerance_m
        surely_m = stands_m + _SURELY_PX * foot.pixel_m
        surely = foot.seen_m is not None and foot.seen_m > surely_m and fitted.is_upright
        return cls(0.0 if foot.lifted_m < stands_m else min(unseen_m, foot.lifted_m), foot.lifted_m, surely)


def _facts(whole: _Whole, support: ObjectSupport, completion: Completion, covered: bool) -> list[float]:
    """What is known of an object that has no direction; `covered` tells that another one stands on it."""
    revolution = whole.solid if isinstance(whole.solid, Revolution) else None
    return [
        covered,
        whole.front_only,
        whole.flush,
        whole.round_below,
        support.kind is Support.PLANE,
        support.kind is Support.INSTANCE,
        support.kind is Support.NOTHING,
        completion is not Completion.NONE,
        revolution is not None and revolution.is_round,
        revolution is not None,
    ]


def _partial_view(
    whole: _Whole, ends: HiddenEnds, visibility: Visibility, support: ObjectSupport, facts: list[float]
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


def _whole_view(whole: _Whole, visibility: Visibility, support: ObjectSupport, facts: list[float]) -> WholeView:
    """What is known of an object that was seen as a whole, but for what it hides itself."""
    scatter_m = whole.solid.scatter_m if isinstance(whole.solid, Revolution) else 0.0
    lengths_m = np.array([max(whole.unseen_m, support.unseen_m), scatter_m])
    others = np.array([visibility.hidden_share, visibility.unmeasured_share, *facts], dtype=np.float64)
    return WholeView.of(whole.body, whole.box, whole.centre_m, lengths_m, others)


def _left_out(
    frame: RgbdFrame,
    mask: NDArray[np.bool_],
    bounds: Bounds,
    box: OrientedBox,
    kept_px: NDArray[np.int64],
    tolerance_m: float,
) -> float:
    """How much of an object was left out of its kept points; 0 where that is hardly anything.

    It is the share of the mask's measured points that were rejected, where that is large; or how far they reach out of
    the box, as a share of its longer side: seen along a shelf, the far rim of a plate is a strip of a few pixels behind
    a step in depth, rejected as what lies behind an object.

    Args:
        kept_px: (P,) indices of the kept points in the flattened image.
    """
    rows, columns = crop_around(bounds, mask.shape, 0)
    T_box_camera, half_m, camera = box.T_camera_box.inverse(), box.size_m / 2, frame.intrinsics
    measured, rejected, beside = rejected_beside(
        np.ascontiguousarray(frame.depth_m),
        np.ascontiguousarray(mask),
        (rows.start, rows.stop, columns.start, columns.stop),
        kept_px,
        (camera.fx, camera.fy, camera.cx, camera.cy),
        np.ascontiguousarray(T_box_camera.rotation),
        T_box_camera.translation_m,
        half_m,
        tolerance_m,
        _BESIDE,
        _FARTHEST_BESIDE,
    )
    rejected_share = rejected / max(measured, 1)
    left_out = rejected_share if rejected_share > _MAX_REJECTED_SHARE else 0.0
    if len(beside) >= max(1, _MIN_BESIDE_SHARE * measured):
        left_out = max(left_out, percentile(beside, 90))
    return left_out


def _unseen_limit_m(whole: _Whole) -> float:
    """How much of an object may not be seen from below before its foot counts as not seen."""
    share_m = whole.body.top_m * (_ROUND_UNSEEN if whole.round_below else _FOOT_UNSEEN)
    return min(share_m, _foot_unseen_m(float(whole.box.T_camera_box.translation_m[2])))


def _foot_unseen_m(depth_m: float) -> float:
    """How much of an object so far away may not be seen from below, whatever its height."""
    return _FOOT_UNSEEN_M * max(1.0, depth_m)


def _completed(
    fitted: _Fitted,
    surface: KeptPoints,
    frame: RgbdFrame,
    mask: NDArray[np.bool_],
    covered_m: NDArray[np.float64],
    partly_seen: bool,
) -> _Whole:
    """The object from its plane up to its top.

    Its solid is a body of revolution about the plane's normal, where the surface is one; otherwise, or where that is
    doubted, that of columns from the plane up to the surface.

    Args:
        covered_m: (K, 3) points of its top that what stands on it hides.
        partly_seen: whether something hides a part of it.
    """
    standing, body, plane = fitted.standing, fitted.body, fitted.plane
    flush, points_m = standing.flush, standing.points_m
    local_m, top_m, rotation, origin_m = body.points_m, body.top_m, body.basis, body.origin_m
    outline_m = local_m[:, :2]
    if len(surface.rim_m):
        rim_m = (surface.rim_m - origin_m) @ rotation
        outline_m = np.concatenate([outline_m, rim_m[rim_m[:, 2] > max(standing.least_m, 0.0), :2]])
    if len(covered_m) and np.count_nonzero(body.normals[:, 2] > _LEVEL) < _TOP_SEEN * len(body.normals):
        outline_m = np.concatenate([outline_m, (covered_m - origin_m) @ rotation[:, :2]])
    unseen_m, front_only, ends = 0.0, False, None
    solid: Revolution | Columns
    if fitted.revolution is not None:
        solid = fitted.revolution
        round_below = bool(solid.radii_m[0] < _ROUND_BELOW * solid.radii_m.max())
        axes, low_m, high_m = _rectangle_of_round(np.concatenate([outline_m, solid.outline_m()]), body)
        if partly_seen:
            ends = likely_ends(body, axes, low_m, high_m, frame, mask, True, fitted.is_ball or len(covered_m) > 0)
    else:
        rectangle = rectangle_around(outline_m, body)
        axes, low_m, high_m = rectangle.axes, rectangle.low_m, rectangle.high_m
        if not rectangle.by_faces and _is_circle(outline_m, axes, high_m - low_m):  # such as the top of a can
            axes, low_m, high_m = _rectangle_of_round(outline_m, body)
        far_m = np.zeros((0, 3))
        if not has_flat_top(body):
            far_m = far_side_of_round_body(points_m, plane, frame, rotation[:, :2] @ axes[0])
        if len(far_m):
            far_m = (far_m - origin_m) @ rotation
            whole_m = np.concatenate([local_m, far_m])
            axes, low_m, high_m = smallest_rectangle(np.concatenate([outline_m, far_m[:, :2]]))
            body = Body(whole_m, np.concatenate([body.normals, np.zeros_like(far_m)]), top_m, rotation, origin_m)
            underside = Underside.ROUND
        else:
            underside = Underside.TURNED if leans(body) else Underside.FLAT
            if underside is Underside.TURNED:
                unseen_m = top_m
            elif top_m / 2 > _foot_unseen_m(standing.depth_m) and _is_tilted(body):
                unseen_m = top_m / 2
        thin = high_m[1] - low_m[1] < _FRONT_ASPECT * (high_m[0] - low_m[0])
        top_seen = np.count_nonzero(body.normals[:, 2] > _UPWARDS) > _TOP_OF_FRONT * len(body.normals)
        front_only = bool(thin and not top_seen and not flush)
        # The box stays a lower bound; the volume goes on where it most likely does.
        bounds_m = low_m, high_m
        if partly_seen or front_only:
            ends = likely_ends(body, axes, low_m, high_m, frame, mask, False, len(covered_m) > 0, front_only)
            bounds_m = ends.low_m, ends.high_m
        solid = fill_columns(body, axes, *bounds_m, frame, mask, underside)
        round_below = underside is Underside.ROUND
    middle_m = np.array([*((low_m + high_m) / 2 @ axes), top_m / 2])
    pose = _box_pose(rotation[:, :2] @ axes[0], plane.normal, body.in_camera(middle_m))
    box = OrientedBox(pose, np.array([*(high_m - low_m), top_m]))
    return _Whole(box, solid, body, front_only, flush, round_below, unseen_m, ends, fitted.if_hidden_m)


def _rectangle_of_round(
    outline_m: NDArray[np.float64], body: Body
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The rectangle around the outline (N, 2) of what is round seen from above; see `smallest_rectangle`.

    Around a circle all are alike, and the smallest would turn with the last bit of a sum. It lies along the line of
    sight then, so that box and likely centre stay from frame to frame; not where something, such as a handle, sticks
    out. Seen from straight above there is no such line, and it lies along the image's rows.
    """
    smallest = axes, low_m, high_m = smallest_rectangle(outline_m)
    camera_m = -(body.origin_m @ body.basis)
    away_m = (low_m + high_m) / 2 @ axes - camera_m[:2]
    if np.hypot(*away_m) < _OVERHEAD * (camera_m[2] - body.top_m):
        away_m = body.basis[0, :2]
    along_sight = smallest_rectangle(outline_m, math.atan2(away_m[1], away_m[0]))
    area_m2 = np.prod(along_sight[2] - along_sight[1])
    return along_sight if area_m2 < _AS_SMALL * np.prod(high_m - low_m) else smallest


def _is_circle(outline_m: NDArray[np.float64], axes: NDArray[np.float64], size_m: NDArray[np.float64]) -> bool:
    """Whether a smallest rectangle around an outline (N, 2) is a square that may be turned as one likes."""
    if size_m[0] > _AS_SMALL * size_m[1]:
        return False
    _, low_m, high_m = smallest_rectangle(outline_m, math.atan2(axes[0, 1], axes[0, 0]) + math.pi / 4)
    return bool(np.prod(high_m - low_m) < _AS_SMALL * np.prod(size_m))


def _is_tilted(body: Body) -> bool:
    """Whether most of what is seen of a body is neither its top nor upright sides, and so overhangs what lies below."""
    upwards = body.normals[body.normals.any(axis=1), 2]  # normals that are not known are zeros
    tilted = int(np.count_nonzero((upwards > _TILTED[0]) & (upwards < _TILTED[1])))
    return tilted > _TILTED_SHARE * len(upwards) and not has_flat_top(body)


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
        _box_pose(basis[:, :2] @ axes[0], z_axis, centre_m), np.array([*(high_m - low_m), top_m - bottom_m])
    )


def _box_pose(x_axis: NDArray[np.float64], z_axis: NDArray[np.float64], centre_m: NDArray[np.float64]) -> Transform:
    """A pose from two orthogonal axes; of the two signs of x, the one that points to the right of the image."""
    x_axis = x_axis if x_axis[0] >= 0 else -x_axis
    rotation = np.empty((3, 3))
    rotation[:, 0], rotation[:, 1], rotation[:, 2] = x_axis, cross(z_axis, x_axis), z_axis
    return Transform(rotation, centre_m)
