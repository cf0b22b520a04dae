"""The grasp sampler: candidates, their collision check and ranking, for every instance of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.compute import Array, Compute, ComputeChoice, FrameArrays
from instance_seg_ros.compute.arrays import cast
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.config import GraspingSettings, GripperSettings
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.candidates import (
    Candidates,
    ContactPairs,
    ContactSurface,
    Targets,
    antipodal_pairs,
    box_pairs,
    candidates_from_pairs,
    contact_surfaces,
)
from instance_seg_ros.grasping.collision import (
    Obstacles,
    above_plane,
    free_of_own_object,
    free_of_scene,
    share_out_of_sight,
)
from instance_seg_ros.grasping.grasp import Grasp, InstanceGrasps
from instance_seg_ros.grasping.gripper import Gripper
from instance_seg_ros.grasping.ranking import nearly_same, quality
from instance_seg_ros.lifting import LiftedFrame

_MAX_CHECKED = 240
"""So many of the candidates that promise most are checked against the object itself and the scene."""

_MAX_POINT_CHECKS = 2**24
"""So many points are checked against grasps at a time, for memory's sake: 200 MB of coordinates."""


class GraspSampler:
    """Parallel-jaw grasps for the objects of a frame. A function of its input: no memory, seeded draws.

    Args:
        compute: does the work. The grasps are the same but for rounding, which decides only for a candidate at a limit.
            Default: NumPy.
    """

    def __init__(
        self, settings: GraspingSettings, gripper: GripperSettings, compute: ComputeChoice | None = None
    ) -> None:
        self.settings = settings
        self.gripper = Gripper.from_settings(gripper, settings.approach_distance_m)
        self.compute = ComputeChoice() if compute is None else compute

    def sample(self, frame: RgbdFrame, lifted: LiftedFrame) -> tuple[InstanceGrasps, ...]:
        """The grasps of each instance, best first; an empty result has its reason.

        Contacts are pairs of surface points that close by friction, on the measured surface and its completed hidden
        side, and pairs on the faces of the oriented box. The opened gripper is checked on its straight way in and while
        it closes: against all measured points of the frame and the completed hidden sides of the other objects, with
        `clearance_m`; against the half space below the support plane; and against the object itself but for what is
        between the fingers. Other space that the camera did not see counts as free,
        but costs quality where something else hides it.

        Args:
            lifted: of the same frame.

        Returns:
            One for each instance, in their order.
        """
        if not self.settings.enabled:
            return tuple(InstanceGrasps((), Status.GRASPING_DISABLED) for _ in lifted.instances)
        results = [InstanceGrasps((), Status.NO_GRASP_CANDIDATE)] * len(lifted.instances)
        boxed = [index for index, instance in enumerate(lifted.instances) if instance.box is not None]
        if boxed:
            for index, result in zip(boxed, self.compute.run(partial(self._boxed, frame, lifted, boxed)), strict=True):
                results[index] = result
        return tuple(results)

    def _boxed(
        self, host_frame: RgbdFrame, lifted: LiftedFrame, boxed: Sequence[int], compute: Compute
    ) -> list[InstanceGrasps]:
        """The grasps of the instances at these indices, which have boxes."""
        frame = compute.frame(host_frame)
        kept = np.zeros((frame.intrinsics.height, frame.intrinsics.width), dtype=np.int16)
        for label, instance in enumerate(lifted.instances, start=1):
            kept.reshape(-1)[instance.pixels] = label
        labels = compute.array(kept)
        obstacles = Obstacles.of_frame(frame, labels, lifted.support_plane, compute)
        batches = []
        for start in range(0, len(boxed), compute.instances_at_once):
            indices = boxed[start : start + compute.instances_at_once]
            instances = [lifted.instances[index] for index in indices]
            targets = Targets.of_instances([1 + index for index in indices], instances)
            arrays = targets.on(compute)
            surface = contact_surfaces(frame, labels, arrays, instances, compute)
            obstacles = obstacles.with_hidden_sides(arrays, surface, compute)
            batches.append((targets, arrays, surface))
        return [
            grasps
            for targets, arrays, surface in batches
            for grasps in self._batch(frame, targets, arrays, surface, obstacles, compute)
        ]

    def _batch(
        self,
        frame: FrameArrays,
        targets: Targets,
        boxes: Targets,
        surface: ContactSurface,
        obstacles: Obstacles,
        compute: Compute,
    ) -> list[InstanceGrasps]:
        """The grasps of a batch of instances.

        Args:
            targets, boxes: the same, as arrays of NumPy and as `compute` has them.
        """
        candidates = candidates_from_pairs(self._pairs(targets, surface, compute), boxes.up)
        some = compute.host(candidates.valid.any(axis=1))
        if obstacles.plane is not None:
            candidates = candidates.where(
                above_plane(candidates, self.gripper, obstacles.plane, self.settings.clearance_m)
            )
        limits = (self.settings.friction, self.gripper.max_opening_m)
        unseen = share_out_of_sight(candidates, self.gripper, frame, obstacles.owner_image, boxes.label[..., None])
        promise = quality(candidates, boxes, np.inf, unseen, *limits)
        best = _best_first(candidates, promise, compute)[:, :_MAX_CHECKED]
        candidates, unseen = candidates.taken(compute, best), compute.rows(unseen, best)
        free, pad_depth_m = free_of_own_object(candidates, self.gripper, surface)
        candidates = candidates.where(free)
        marks = quality(candidates, boxes, cast(pad_depth_m, "float64"), unseen, *limits)
        best = _best_first(candidates, marks, compute)
        candidates, marks = candidates.taken(compute, best), compute.host(compute.rows(marks, best))
        half_diagonal_m = np.linalg.norm(targets.size_m, axis=1, keepdims=True) / 2
        radius_m = (self.gripper.reach_m + self.settings.clearance_m + half_diagonal_m).astype(np.float32)
        others_m = obstacles.others_near(boxes, compute.array(radius_m), compute)
        grasps = self._best_free(candidates, marks, others_m, compute)
        return [
            InstanceGrasps(
                own, Status.OK if own else Status.NO_COLLISION_FREE_GRASP if any_ else Status.NO_GRASP_CANDIDATE
            )
            for own, any_ in zip(grasps, some, strict=True)
        ]

    def _pairs(self, targets: Targets, surface: ContactSurface, compute: Compute) -> ContactPairs:
        opening_m = self.gripper.max_opening_m
        antipodal = antipodal_pairs(surface, self.settings.friction, opening_m, compute)
        faces = box_pairs(targets, self.settings.clearance_m, self.gripper.finger_length_m, opening_m)
        return antipodal.joined([faces.on(compute)])

    def _best_free(
        self, candidates: Candidates, marks: NDArray[np.float64], others_m: Array, compute: Compute
    ) -> list[tuple[Grasp, ...]]:
        """For each instance up to `max_grasps` collision-free grasps in the order of marks, no two nearly alike."""
        host = candidates.on_host(compute)
        choices = [_Choice(own, self.settings.max_grasps) for own in host]
        pairs_of_point_and_grasp = max(1, others_m.shape[0] * others_m.shape[1])
        step = max(1, min(compute.grasps_at_once, _MAX_POINT_CHECKS // pairs_of_point_and_grasp))
        for start in range(0, marks.shape[1], step):
            wanted = np.any([choice.wanted[start : start + step] for choice in choices], axis=0)
            if not wanted.any():
                continue
            batch = start + np.flatnonzero(wanted)
            index = compute.array(np.tile(batch, (len(choices), 1)))
            free = free_of_scene(candidates.taken(compute, index), self.gripper, others_m, self.settings.clearance_m)
            for choice, own in zip(choices, compute.host(free), strict=True):
                choice.add(batch[own])
        return [
            tuple(self._grasp(own, index, float(marks_[index])) for index in choice.chosen)
            for choice, own, marks_ in zip(choices, host, marks, strict=True)
        ]

    def _grasp(self, candidates: Candidates, index: int, mark: float) -> Grasp:
        contacts_m = np.stack([candidates.pairs.first_m[index], candidates.pairs.second_m[index]])
        return Grasp(
            T_camera_grasp=Transform(candidates.rotations[index], contacts_m.mean(axis=0)),
            width_m=float(np.linalg.norm(contacts_m[1] - contacts_m[0])),
            quality=mark,
            contacts_m=contacts_m,
            approach_distance_m=self.settings.approach_distance_m,
            lift_distance_m=self.settings.lift_distance_m,
            checked_against_scene=True,
        )


def _best_first(candidates: Candidates, marks: Array, compute: Compute) -> Array:
    """(B, C) int64: the candidates that there are in the order of their marks (B, C), then the others."""
    return compute.stable_order(-marks - 2 * cast(candidates.valid, "float64"))


class _Choice:
    """The grasps of one instance, chosen one after the other.

    Attributes:
        chosen: indices, in the order in which they were added.
        wanted: (C,) bool, which of the candidates would still be added.
    """

    def __init__(self, candidates: Candidates, most: int) -> None:
        self.chosen: list[int] = []
        self.wanted = np.array(candidates.valid)
        self._candidates = candidates
        self._most = most

    def add(self, indices: NDArray[np.int64]) -> None:
        """Adds those of the candidates at these indices, in their order, that are unlike all that were added."""
        for index in indices:
            if self.wanted[index]:
                self.chosen.append(int(index))
                self.wanted &= ~nearly_same(self._candidates, index)
                if len(self.chosen) == self._most:
                    self.wanted[:] = False
