"""The grasp sampler: candidates, their collision check and ranking, for every instance of a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.config import GraspingSettings, GripperSettings
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.candidates import (
    Candidates,
    ContactPairs,
    ContactSurface,
    Target,
    antipodal_pairs,
    box_pairs,
    candidates_from_pairs,
    contact_surface,
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
_CHECKED_AT_ONCE = 40
"""So many of them are checked against the scene before it is asked whether that was enough."""
_MAX_POINT_CHECKS = 2**24
"""So many points are checked against grasps at a time, for memory's sake: 200 MB of coordinates."""


class GraspSampler:
    """Parallel-jaw grasps for the objects of a frame. A function of its input: no memory, seeded draws."""

    def __init__(self, settings: GraspingSettings, gripper: GripperSettings) -> None:
        self.settings = settings
        self.gripper_settings = gripper
        self.gripper = Gripper.from_settings(gripper, settings.approach_distance_m)

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
        labels = np.zeros(frame.depth_m.shape, dtype=np.int16)
        for label, instance in enumerate(lifted.instances, start=1):
            labels.reshape(-1)[instance.pixels] = label
        targets = [
            Target.of_instance(label, instance)
            for label, instance in enumerate(lifted.instances, start=1)
            if instance.box is not None
        ]
        if not targets:
            return tuple(results)
        surfaces = [contact_surface(frame, labels, target, lifted.instances[target.label - 1]) for target in targets]
        obstacles = Obstacles.of_frame(frame, labels, lifted.support_plane)
        for target, surface in zip(targets, surfaces, strict=True):
            obstacles = obstacles.with_hidden_side(target.label, surface)
        for target, surface in zip(targets, surfaces, strict=True):
            results[target.label - 1] = self._grasps(frame, target, surface, obstacles)
        return tuple(results)

    def _grasps(
        self,
        frame: RgbdFrame,
        target: Target,
        surface: ContactSurface,
        obstacles: Obstacles,
    ) -> InstanceGrasps:
        """The grasps of one instance."""
        settings, limits = self.settings, (self.settings.friction, self.gripper.max_opening_m)
        candidates = candidates_from_pairs(self._pairs(target, surface), target.up)
        if not len(candidates):
            return InstanceGrasps((), Status.NO_GRASP_CANDIDATE)
        if obstacles.plane is not None:
            candidates = candidates[above_plane(candidates, self.gripper, obstacles.plane, settings.clearance_m)]
        unseen = share_out_of_sight(candidates, self.gripper, frame, obstacles.owner_image, target.label)
        best = _best_first(quality(candidates, target, np.inf, unseen, *limits))[:_MAX_CHECKED]
        candidates, unseen = candidates[best], unseen[best]
        free, pad_depth_m = free_of_own_object(candidates, self.gripper, surface)
        candidates = candidates[free]
        marks = quality(candidates, target, pad_depth_m[free].astype(np.float64), unseen[free], *limits)
        best = _best_first(marks)
        candidates, marks = candidates[best], marks[best]
        radius_m = self.gripper.reach_m + settings.clearance_m + float(np.linalg.norm(target.size_m)) / 2
        grasps = self._best_free(candidates, marks, obstacles.others_near(target, radius_m))
        return InstanceGrasps(grasps, Status.OK if grasps else Status.NO_COLLISION_FREE_GRASP)

    def _pairs(self, target: Target, surface: ContactSurface) -> ContactPairs:
        opening_m = self.gripper.max_opening_m
        return antipodal_pairs(surface, self.settings.friction, opening_m).joined(
            box_pairs(target, self.settings.clearance_m, self.gripper.finger_length_m, opening_m)
        )

    def _best_free(
        self, candidates: Candidates, marks: NDArray[np.float64], others_m: NDArray[np.float32]
    ) -> tuple[Grasp, ...]:
        """Up to `max_grasps` collision-free grasps in the order of marks, no two nearly alike."""
        chosen: list[int] = []
        wanted = np.ones(len(candidates), dtype=bool)
        step = max(1, min(_CHECKED_AT_ONCE, _MAX_POINT_CHECKS // max(1, len(others_m))))
        for start in range(0, len(candidates), step):
            batch = start + np.flatnonzero(wanted[start : start + step])
            if not len(batch):
                continue
            free = free_of_scene(candidates[batch], self.gripper, others_m, self.settings.clearance_m)
            for index in batch[free].tolist():
                if wanted[index]:
                    chosen.append(index)
                    wanted &= ~nearly_same(candidates, index)
                    if len(chosen) == self.settings.max_grasps:
                        return tuple(self._grasp(candidates, index, float(marks[index])) for index in chosen)
        return tuple(self._grasp(candidates, index, float(marks[index])) for index in chosen)

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


def _best_first(marks: NDArray[np.float64]) -> NDArray[np.int64]:
    """(C,) int64: indices in the order of marks (C,); equals keep their order."""
    return np.argsort(-marks, kind="stable")
