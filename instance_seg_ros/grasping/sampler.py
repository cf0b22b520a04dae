"""The grasp sampler: candidates, their collision check and ranking, for every instance of a frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import GraspingSettings, GripperSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping import pose_kernels
from instance_seg_ros.grasping.candidates import Poses, contact_pairs, poses_from_pairs
from instance_seg_ros.grasping.closing import Closed, close_on, deepest_m, stays_above
from instance_seg_ros.grasping.collision import Obstacles, palm_beyond_border, rays_of_holes, sight_of, unmeasured_parts
from instance_seg_ros.grasping.grasp import Grasp, InstanceGrasps, Rejection
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.object_body import Body
from instance_seg_ros.grasping.quality import marks_of, quality_of
from instance_seg_ros.lifting import Instance3D, LiftedFrame
from instance_seg_ros.lifting.masks import bounds_of, crop_around

FloatArray = NDArray[np.float64]

_ENOUGH = 3
"""With fewer grasps, poses are tried in more ways."""
_LESS_DEEP_M = 0.018
_SAME_PLACE_M = 0.001
_LEFT = 0.5
"""Centred between the contacts, the gripper may come nearer to what is below, but keeps so much of the clearance."""
_NARROW_ROOM_M = 0.012
"""Beside each contact, where the gripper does not fit in fully opened."""


class _Chosen(NamedTuple):
    """The grasps of one instance, best first, in its body's frame, and why other poses are none.

    Attributes:
        marks: (K, len(MARKS)).
        quality: (K,).
    """

    body: Body
    poses: Poses
    closed: Closed
    marks: FloatArray
    quality: FloatArray
    rejected: Counter[Rejection]


class GraspSampler:
    """Parallel-jaw grasps for the objects of a frame. A function of its input: no memory, no draws."""

    def __init__(self, settings: GraspingSettings, gripper: GripperSettings) -> None:
        self.settings = settings
        self.gripper_settings = gripper
        self.gripper = Gripper.from_settings(gripper, settings.approach_distance_m)
        self.friction = settings.friction or gripper.pad_friction

    def sample(
        self, frame: RgbdFrame, lifted: LiftedFrame, instances: Instances | None = None
    ) -> tuple[InstanceGrasps, ...]:
        """The grasps of each instance, best first; an empty result has its reason.

        Contacts are pairs of points that close by friction, on the measured surface, its completed hidden side and the
        outline of both at several heights. From each, the gripper goes as deep as palm and support allow, opened fully
        where it fits in so, and is closed in thought: the surface that the fingers meet first gives the contacts. The
        opened gripper is checked on its straight way in and while it closes: against all measured points of the frame
        and the completed sides of the other objects, with `clearance_m`; against what hides behind measured points that
        are no instance's, such as the rest of a wall; against the half space below the support plane, the scene's where
        the object has none; and against the object itself, with all places that were not seen to be free of it and that
        the bounds of its box leave open. What others that the border cuts may reach to is in the way, too. No finger
        goes beyond the image's border, nor, below the highest thing around, the palm; none goes under a measured
        surface that is no instance's, or, by more than a twentieth of its volume while it closes, where the object's
        mask has no depth, or behind an object that is cut where it is not seen above that it ends. Other space that the
        camera did not see counts as free, but costs quality where something else hides it.

        Args:
            lifted: of the same frame.
            instances: the masks that `lifted` was made from; without them the pixels that lifting kept are taken.

        Returns:
            One for each instance, in their order.
        """
        if not self.settings.enabled:
            return tuple(InstanceGrasps((), Status.GRASPING_DISABLED) for _ in lifted.instances)
        results = [InstanceGrasps((), Status.NO_GRASP_CANDIDATE)] * len(lifted.instances)
        masks = _masks(frame, lifted.instances) if instances is None else np.ascontiguousarray(instances.masks)
        if not frame.depth_m.flags.c_contiguous:
            frame = replace(frame, depth_m=np.ascontiguousarray(frame.depth_m))
        bounds = [bounds_of(mask) for mask in masks] if instances is None else instances.bounds
        made = (
            Body.of_instance(label, instance, frame, masks[label - 1], bounds[label - 1], lifted.support_plane)
            for label, instance in enumerate(lifted.instances, start=1)
            if instance.shape is not None
        )
        bodies = [body for body in made if body is not None]
        tried = [(body, *self._tries(body)) for body in bodies]
        if not any(len(tries) for _, tries, _ in tried):
            return tuple(results)  # what is around the objects is asked for by nobody
        labels = _labels(frame, lifted.instances)
        for label, (mask, own) in enumerate(zip(masks, bounds, strict=True), start=1):
            crop = crop_around(own, labels.shape, 0)
            np.copyto(labels[crop], label, where=mask[crop] & (labels[crop] == 0))
        hidden_m = {body.label: body.hidden_m for body in bodies}
        # What stands on a lower level may have a higher one beside it, or above.
        plane = lifted.support_plane
        above_all = plane if all(body.is_above(plane) for body in bodies) else None
        obstacles = Obstacles.of_frame(frame, labels, above_all, hidden_m)
        unmeasured = unmeasured_parts(frame, masks, bounds)
        found = []
        for body, tries, widths_m in tried:
            if len(tries):
                holes = rays_of_holes(frame, unmeasured, bounds[body.label - 1], body.label, body.T_camera_body)
                found.append(self._chosen(frame, body, tries, widths_m, obstacles, unmeasured, holes))
        for chosen, grasps in zip(found, self._as_grasps(found), strict=True):
            counts = {why: chosen.rejected[why] for why in Rejection if chosen.rejected[why]}
            results[chosen.body.label - 1] = InstanceGrasps(grasps, status_of(grasps, chosen.rejected), counts)
        return tuple(results)

    def _tries(self, body: Body) -> tuple[Poses, FloatArray]:
        """The poses to be tried on one instance, and the widths (C,) of their pairs of contacts."""
        pairs = contact_pairs(body, self.friction, self.gripper.max_opening_m)
        return poses_from_pairs(pairs, _up(body), self.gripper.max_opening_m, self.settings.approach_cone_deg)

    def _chosen(
        self,
        frame: RgbdFrame,
        body: Body,
        tries: Poses,
        widths_m: FloatArray,
        obstacles: Obstacles,
        unmeasured: NDArray[np.int16],
        holes: FloatArray,
    ) -> _Chosen:
        """The grasps of one instance, best first.

        Args:
            tries, widths_m: of `_tries`, at least one.
            unmeasured: (H, W) int16, of `unmeasured_parts`.
            holes: (L, 3), of `rays_of_holes`, in the body's frame.
        """
        settings, gripper, up = self.settings, self.gripper, _up(body)
        radius_m = gripper.reach_m + settings.clearance_m + float(np.linalg.norm(body.size_m)) / 2
        centre_m = np.asarray(body.T_camera_body.apply(body.centre_m), dtype=np.float64)
        T_body_camera = body.T_camera_body.inverse()
        others_m = obstacles.others_near(centre_m, radius_m, body.label, body.above, T_body_camera)
        palm_m = float(np.linalg.norm(gripper.palm_corners_m[0])) + float(np.linalg.norm(body.size_m)) / 2
        highest_m = -np.inf
        if not is_well_inside(frame, centre_m, palm_m):
            highest_m = max(float((points_m @ up).max(initial=-np.inf)) for points_m in (others_m, body.points_m))
        deep_m = deepest_m(tries, body, gripper, settings.clearance_m)
        narrow_m = np.minimum(widths_m + 2 * _NARROW_ROOM_M, gripper.max_opening_m)
        failed = Counter({Rejection.REACH: int(np.count_nonzero(deep_m == -np.inf))})
        rejected: Counter[Rejection] = Counter()
        found: list[tuple[Poses, Closed]] = []
        for thorough in (False, True):
            # Less deep and opened less where opened fully fits: in a heap there may be room for nothing else.
            depth_m = deep_m - _LESS_DEEP_M if thorough else deep_m
            poses, closed, unfit, slip = close_on(body, tries, depth_m, narrow_m, gripper, self.friction)
            failed[Rejection.FIT] += unfit
            failed[Rejection.SLIP] += slip
            way_m = settings.approach_distance_m
            above = stays_above(poses, body, gripper, way_m, _LEFT * settings.clearance_m)
            failed[Rejection.REACH] += int(np.count_nonzero(~above))
            poses, closed = poses[above], closed[above]
            rejected = Counter(failed)
            found.append((poses, closed))
            if thorough:
                poses, closed = _opened_less(found[0][0].joined(poses), found[0][1].joined(closed))
            sight = sight_of(
                poses,
                closed.width_m,
                gripper,
                frame,
                body.T_camera_body,
                obstacles.owner_image,
                unmeasured,
                holes,
                body.label,
                up,
            )
            known = ~sight.unknown
            if highest_m > -np.inf:
                known &= ~palm_beyond_border(poses, gripper, frame, body.T_camera_body, up, highest_m)
            if body.cut:  # where its outline was not seen, its far side may be farther than what completes it
                known &= ~sight.below_unseen
            rejected[Rejection.UNKNOWN] += int((~known).sum())
            rejected[Rejection.SCENE] += int((known & sight.under).sum())
            known &= ~sight.under
            marks = marks_of(poses, closed, body, sight, up, self.friction, gripper.max_opening_m)
            quality = quality_of(marks)
            chosen = self._best_free(body, poses, closed, known, quality, others_m, rejected)
            if len(chosen) >= min(_ENOUGH, settings.max_grasps):
                break
        return _Chosen(body, poses[chosen], closed[chosen], marks[chosen], quality[chosen], rejected)

    def _best_free(
        self,
        body: Body,
        poses: Poses,
        closed: Closed,
        known: NDArray[np.bool_],
        quality: FloatArray,
        others_m: FloatArray,
        rejected: Counter[Rejection],
    ) -> NDArray[np.int64]:
        """Indices of up to `max_grasps` collision-free grasps, those of the highest quality first, no two nearly alike.

        Args:
            known: (C,) those that may be taken.
        """
        wanted = known & (quality >= self.settings.min_quality)
        rejected[Rejection.QUALITY] += int(np.count_nonzero(known) - np.count_nonzero(wanted))
        candidates = np.flatnonzero(wanted)
        # Centred between the contacts, the fingers may come down elsewhere than where the pose was tried.
        moved = np.abs(closed.low_m + closed.high_m) > 2 * _SAME_PLACE_M
        chosen, met, unfit, unsure = pose_kernels.best_free(
            poses.rotations,
            poses.origins_m,
            poses.openings_m,
            candidates[np.argsort(-quality[candidates], kind="stable")],
            moved,
            others_m,
            body.points_m,
            body.doubtful_m,
            self.gripper.ways_m,
            self.settings.clearance_m,
            self.settings.max_grasps,
        )
        rejected[Rejection.SCENE] += met
        rejected[Rejection.FIT] += unfit
        rejected[Rejection.UNKNOWN] += unsure
        return chosen

    def _as_grasps(self, chosen: Sequence[_Chosen]) -> list[tuple[Grasp, ...]]:
        """What is given out of each instance; made for all together, as arrays so small take the time of the calls."""
        counts = [len(own.poses) for own in chosen]
        if not sum(counts):
            return [()] * len(chosen)
        of_bodies = [own.body.T_camera_body for own in chosen]
        turns = np.repeat([pose.rotation for pose in of_bodies], counts, axis=0)
        places_m = np.repeat([pose.translation_m for pose in of_bodies], counts, axis=0)
        first, *others = chosen
        poses = first.poses.joined(*(own.poses for own in others))
        closed = first.closed.joined(*(own.closed for own in others))
        rotations = turns @ poses.rotations
        origins_m = (turns @ poses.origins_m[..., None])[..., 0] + places_m
        half_m = closed.width_m / 2
        # Both contacts at one height, so that they face each other along the closing axis.
        contacts_m = np.repeat((closed.contacts_m[:, :1] + closed.contacts_m[:, 1:]) / 2, 2, axis=1)
        contacts_m[:, 0, 0], contacts_m[:, 1, 0] = -half_m, half_m
        contacts_m = contacts_m @ np.swapaxes(rotations, 1, 2) + origins_m[:, None]
        columns = (
            Transform.each(rotations, origins_m),
            (2 * half_m).tolist(),
            poses.openings_m.tolist(),
            np.concatenate([own.quality for own in chosen]).tolist(),
            contacts_m,
            np.concatenate([own.marks for own in chosen]).tolist(),
        )
        grasps = iter(
            Grasp(
                T_camera_grasp=pose,
                width_m=width_m,
                opening_m=opening_m,
                quality=quality,
                contacts_m=own_contacts_m,
                approach_distance_m=self.settings.approach_distance_m,
                lift_distance_m=self.settings.lift_distance_m,
                checked_against_scene=True,
                marks=tuple(marks),
            )
            for pose, width_m, opening_m, quality, own_contacts_m, marks in zip(*columns, strict=True)
        )
        return [tuple(islice(grasps, count)) for count in counts]


def is_well_inside(frame: RgbdFrame, centre_m: FloatArray, radius_m: float) -> bool:
    """Whether the image holds all of a ball, camera optical frame; not where it comes near to the camera."""
    x_m, y_m, z_m = centre_m.tolist()
    camera, nearest_m = frame.intrinsics, z_m - radius_m
    if nearest_m <= 0:
        return False
    x_px, y_px, aside = camera.fx * x_m / z_m + camera.cx, camera.fy * y_m / z_m + camera.cy, radius_m / nearest_m
    # Of what is `aside` nearer and farther out, seen from beside the axis.
    x_reach_px = aside * (camera.fx + abs(x_px - camera.cx))
    y_reach_px = aside * (camera.fy + abs(y_px - camera.cy))
    return x_reach_px <= x_px <= camera.width - 1 - x_reach_px and y_reach_px <= y_px <= camera.height - 1 - y_reach_px


def _up(body: Body) -> FloatArray:
    """(3,) the direction that the gripper is to come from, body frame: without a support, where the camera is."""
    if body.supported:
        return np.array([0.0, 0.0, 1.0])
    towards_m = body.camera_m - body.centre_m
    return np.asarray(towards_m / np.linalg.norm(towards_m))


def _opened_less(poses: Poses, closed: Closed) -> tuple[Poses, Closed]:
    """The same, and behind them those that leave much room, opened less: nothing of the object is in their way."""
    openings_m = closed.width_m + 2 * _NARROW_ROOM_M
    narrow = openings_m < poses.openings_m - _NARROW_ROOM_M
    less = Poses(poses.origins_m, poses.rotations, openings_m)
    return poses.joined(less[narrow]), closed.joined(closed[narrow])


def status_of(grasps: Sequence[Grasp], rejected: Counter[Rejection]) -> Status:
    """Whether there are grasps, or the object itself leaves none, or what is around it does."""
    if grasps:
        return Status.OK
    around = sum(rejected[why] for why in (Rejection.REACH, Rejection.UNKNOWN, Rejection.SCENE))
    itself = sum(rejected[why] for why in (Rejection.FIT, Rejection.SLIP))
    last = rejected[Rejection.UNKNOWN] + rejected[Rejection.SCENE]
    return Status.NO_COLLISION_FREE_GRASP if last or around > itself else Status.NO_GRASP_CANDIDATE


def _labels(frame: RgbdFrame, instances: Sequence[Instance3D]) -> NDArray[np.int16]:
    """(H, W) 1 + index of the instance that lifting kept a pixel for; 0 for none."""
    labels = np.zeros(frame.depth_m.shape, dtype=np.int16)
    for label, instance in enumerate(instances, start=1):
        labels.reshape(-1)[instance.pixels] = label
    return labels


def _masks(frame: RgbdFrame, instances: Sequence[Instance3D]) -> NDArray[np.bool_]:
    """(N, H, W) the pixels that lifting kept of each instance."""
    return _labels(frame, instances) == np.arange(1, len(instances) + 1, dtype=np.int16)[:, None, None]
