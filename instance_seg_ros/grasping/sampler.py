"""The grasp sampler: candidates, their collision check and ranking, for every instance of a frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import GraspingSettings, GripperSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.candidates import Poses, contact_pairs, poses_from_pairs
from instance_seg_ros.grasping.closing import Closed, Column, close_on, deepest_m, in_grasp_frames
from instance_seg_ros.grasping.collision import Obstacles, Sight, free_of_scene, rows_of, sight_of, unmeasured_parts
from instance_seg_ros.grasping.grasp import Grasp, InstanceGrasps, Rejection
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.object_body import Body
from instance_seg_ros.grasping.quality import marks_of, nearly_same, quality_of
from instance_seg_ros.lifting import Instance3D, LiftedFrame

FloatArray = NDArray[np.float64]

_ENOUGH = 3
"""With fewer grasps, poses are tried in more ways."""
_LESS_DEEP_M = 0.018
_MAX_CHECKED = 100
"""So many of the grasps that promise most are checked against the scene."""
_SAME_PLACE_M = 0.001
_NARROW_ROOM_M = 0.012
"""Beside each contact, where the gripper does not fit in fully opened."""
_CHECKED_AT_ONCE = 60
"""So many of them at a time, before it is asked whether that was enough."""


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
        and the completed sides of the other objects, with `clearance_m`; against the half space below the support
        plane; and against the object itself. No finger goes beyond the image's border, or where the object's mask has
        no depth. Other space that the camera did not see counts as free, but costs quality where something else hides
        it.

        Args:
            lifted: of the same frame.
            instances: the masks that `lifted` was made from; without them the pixels that lifting kept are taken.

        Returns:
            One for each instance, in their order.
        """
        if not self.settings.enabled:
            return tuple(InstanceGrasps((), Status.GRASPING_DISABLED) for _ in lifted.instances)
        results = [InstanceGrasps((), Status.NO_GRASP_CANDIDATE)] * len(lifted.instances)
        labels = np.zeros(frame.depth_m.shape, dtype=np.int16)
        for label, instance in enumerate(lifted.instances, start=1):
            labels.reshape(-1)[instance.pixels] = label
        masks = _masks(labels, lifted.instances) if instances is None else instances.masks
        made = (
            Body.of_instance(label, instance, frame, labels, masks[label - 1])
            for label, instance in enumerate(lifted.instances, start=1)
            if instance.box is not None
        )
        bodies = [body for body in made if body is not None]
        if not bodies:
            return tuple(results)
        for label, mask in enumerate(masks, start=1):
            rows = rows_of(mask)
            np.copyto(labels[rows], label, where=mask[rows] & (labels[rows] == 0))
        obstacles = Obstacles.of_frame(frame, labels, lifted.support_plane)
        for body in bodies:
            obstacles = obstacles.with_hidden_side(body.label, body.hidden_m)
        obstacles = obstacles.thinned()
        unmeasured = unmeasured_parts(frame, masks)
        for body in bodies:
            results[body.label - 1] = self._grasps(frame, body, obstacles, unmeasured)
        return tuple(results)

    def _grasps(
        self, frame: RgbdFrame, body: Body, obstacles: Obstacles, unmeasured: NDArray[np.int16]
    ) -> InstanceGrasps:
        """The grasps of one instance."""
        settings, gripper = self.settings, self.gripper
        pairs = contact_pairs(body, self.friction, gripper.max_opening_m)
        if not len(pairs):
            return InstanceGrasps((), Status.NO_GRASP_CANDIDATE)
        up = np.array([0.0, 0.0, 1.0])
        if not body.supported:
            up = (body.camera_m - body.centre_m) / np.linalg.norm(body.camera_m - body.centre_m)
        tries, widths_m = poses_from_pairs(pairs, up, gripper.max_opening_m, settings.approach_cone_deg)
        radius_m = gripper.reach_m + settings.clearance_m + float(np.linalg.norm(body.size_m)) / 2
        centre_m = np.asarray(body.T_camera_body.apply(body.centre_m), dtype=np.float64)
        others_m = obstacles.others_near(centre_m, radius_m, body.label, body.support).astype(np.float64)
        others_m = np.asarray(body.T_camera_body.inverse().apply(others_m))
        if not len(tries):
            return InstanceGrasps((), Status.NO_GRASP_CANDIDATE)
        local_m = in_grasp_frames(tries, body.points_m)
        deep_m = deepest_m(tries, local_m, body, gripper, settings.clearance_m)
        column = Column.of(local_m, gripper)
        unfit = Counter({Rejection.REACH: int(np.isneginf(deep_m).sum())})
        rejected: Counter[Rejection] = Counter()
        found: list[tuple[Poses, Closed]] = []
        grasps: tuple[Grasp, ...] = ()
        for thorough in (False, True):
            if len(grasps) >= min(_ENOUGH, settings.max_grasps):
                break
            # Less deep and opened less where opened fully fits: in a heap there may be room for nothing else.
            depth_m = deep_m - _LESS_DEEP_M if thorough else deep_m
            found.extend(self._closed_at(body, tries, widths_m, column, depth_m, unfit))
            rejected = Counter(unfit)
            poses, closed = self._that_hold(found, rejected)
            if thorough:
                poses, closed = _opened_less(poses, closed)
            sight = self._sight(frame, body, poses, closed, obstacles, unmeasured)
            known = ~sight.unknown
            if body.cut:  # its far side may be farther than what completes it, so fingers go only where it is seen free
                known &= sight.shadowed == 0
            rejected[Rejection.UNKNOWN] += int((~known).sum())
            poses, closed, sight = poses[known], closed[known], sight[known]
            marks = marks_of(poses, closed, body, sight, up, self.friction, gripper.max_opening_m)
            order = np.argsort(-quality_of(marks), kind="stable")[:_MAX_CHECKED]
            grasps = self._best_free(body, poses[order], closed[order], marks[order], others_m, rejected)
        counts = {why: rejected[why] for why in Rejection if rejected[why]}
        return InstanceGrasps(grasps, status_of(grasps, rejected), counts)

    def _closed_at(
        self,
        body: Body,
        poses: Poses,
        widths_m: FloatArray,
        column: Column,
        depth_m: FloatArray,
        rejected: Counter[Rejection],
    ) -> list[tuple[Poses, Closed]]:
        """The poses moved in, and what closing meets there; those that fit: fully opened, and where not, opened less.

        Args:
            widths_m: (C,) distance of the contacts that the poses were made for.
            column: of the poses.
            depth_m: (C,) how far they move in.
            rejected: is added to.
        """
        gripper = self.gripper
        # Less than no depth is farther out than the contacts that the pose was made for: closing finds others.
        which = np.flatnonzero(depth_m >= -gripper.finger_length_m)
        moved = column.of_poses(which).moved(depth_m[which])
        origins_m = poses.origins_m[which] + depth_m[which, None] * poses.rotations[which, :, 2]
        own = Poses(origins_m, poses.rotations[which], poses.openings_m[which])
        closed = close_on(body, moved, own, gripper)
        tight = np.flatnonzero(~closed.free)
        openings_m = np.minimum(widths_m[which[tight]] + 2 * _NARROW_ROOM_M, gripper.max_opening_m)
        narrow = openings_m < gripper.max_opening_m
        less = Poses(own.origins_m[tight[narrow]], own.rotations[tight[narrow]], openings_m[narrow])
        closed_less = close_on(body, moved.of_poses(tight[narrow]), less, gripper)
        rejected[Rejection.FIT] += len(tight) - int(closed_less.free.sum())
        return [(own[closed.free], closed[closed.free]), (less[closed_less.free], closed_less[closed_less.free])]

    def _that_hold(self, found: Sequence[tuple[Poses, Closed]], rejected: Counter[Rejection]) -> tuple[Poses, Closed]:
        """All that was found on which the fingers do not slip, centred between the contacts; `rejected` is added to."""
        poses = found[0][0].joined(*(own for own, _ in found[1:]))
        closed = found[0][1].joined(*(own for _, own in found[1:]))
        holds = (closed.cosine > 0) & (1 - closed.cosine**2 <= (self.friction * closed.cosine) ** 2)
        rejected[Rejection.SLIP] += int((~holds).sum())
        poses, closed = poses[holds], closed[holds]
        middle_m = (closed.low_m + closed.high_m)[:, None] / 2 * poses.rotations[:, :, 0]
        return Poses(poses.origins_m + middle_m, poses.rotations, poses.openings_m), closed

    def _sight(
        self,
        frame: RgbdFrame,
        body: Body,
        poses: Poses,
        closed: Closed,
        obstacles: Obstacles,
        unmeasured: NDArray[np.int16],
    ) -> Sight:
        """What the camera saw where the fingers go: at their tips and along them, closed and opened."""
        thick_m, length_m = self.gripper.finger_thickness_m, self.gripper.finger_length_m
        closed_x, opened_x = closed.width_m / 2 + thick_m / 2, poses.openings_m / 2 + thick_m / 2
        x_m = np.stack([-opened_x, -closed_x, closed_x, opened_x], axis=1)
        tips_m = poses.origins_m[:, None] + x_m[..., None] * poses.rotations[:, None, :, 0]
        backwards = -length_m * poses.rotations[:, None, :, 2]
        places_m = np.concatenate([tips_m, tips_m + backwards / 3, tips_m + backwards * 2 / 3], axis=1)
        camera_m = np.asarray(body.T_camera_body.apply(places_m), dtype=np.float64)
        return sight_of(camera_m, frame, obstacles.owner_image, unmeasured, body.label)

    def _best_free(
        self,
        body: Body,
        poses: Poses,
        closed: Closed,
        marks: FloatArray,
        others_m: FloatArray,
        rejected: Counter[Rejection],
    ) -> tuple[Grasp, ...]:
        """Up to `max_grasps` collision-free grasps in the order of their marks, no two nearly alike."""
        quality = quality_of(marks)
        chosen: list[int] = []
        wanted = quality >= self.settings.min_quality
        rejected[Rejection.QUALITY] += int((~wanted).sum())
        for start in range(0, len(poses), _CHECKED_AT_ONCE):
            batch = start + np.flatnonzero(wanted[start : start + _CHECKED_AT_ONCE])
            if not len(batch):
                continue
            own = poses[batch]
            free = free_of_scene(
                in_grasp_frames(own, others_m), own.openings_m, self.gripper, self.settings.clearance_m
            )
            rejected[Rejection.SCENE] += int((~free).sum())
            batch, own = batch[free], own[free]
            # Centred between the contacts, the fingers may come down elsewhere than where the pose was tried.
            free = np.ones(len(batch), dtype=bool)
            moved = np.flatnonzero(np.abs(closed.low_m[batch] + closed.high_m[batch]) > 2 * _SAME_PLACE_M)
            shifted = own[moved]
            column = Column.of(in_grasp_frames(shifted, body.points_m), self.gripper)
            free[moved] = close_on(body, column, shifted, self.gripper).free
            rejected[Rejection.FIT] += int((~free).sum())
            for index in batch[free].tolist():
                if wanted[index]:
                    chosen.append(index)
                    wanted &= ~nearly_same(poses, index)
                    if len(chosen) == self.settings.max_grasps:
                        break
            if len(chosen) == self.settings.max_grasps:
                break
        return tuple(self._grasp(body, poses, closed, marks, float(quality[index]), index) for index in chosen)

    def _grasp(self, body: Body, poses: Poses, closed: Closed, marks: FloatArray, quality: float, index: int) -> Grasp:
        half_m = float(closed.width_m[index]) / 2
        turn, origin_m = body.T_camera_body.rotation, body.T_camera_body.apply(poses.origins_m[index])
        T_camera_grasp = Transform(turn @ poses.rotations[index], np.asarray(origin_m, dtype=np.float64))
        contacts_m = np.array(closed.contacts_m[index])
        contacts_m[:, 0] = -half_m, half_m
        contacts_m[:, 1:] = contacts_m[:, 1:].mean(axis=0)  # so that they face each other along the closing axis
        return Grasp(
            T_camera_grasp=T_camera_grasp,
            width_m=2 * half_m,
            opening_m=float(poses.openings_m[index]),
            quality=quality,
            contacts_m=np.asarray(T_camera_grasp.apply(contacts_m)),
            approach_distance_m=self.settings.approach_distance_m,
            lift_distance_m=self.settings.lift_distance_m,
            checked_against_scene=True,
            marks=tuple(marks[index].tolist()),
        )


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


def _masks(labels: NDArray[np.int16], instances: Sequence[Instance3D]) -> NDArray[np.bool_]:
    """(N, H, W) the pixels that lifting kept of each instance."""
    return labels == np.arange(1, len(instances) + 1, dtype=np.int16)[:, None, None]
