"""The grasp sampler: candidates, their collision check and ranking, for every instance of a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.camera import RgbdFrame
from instance_seg_ros.config import GraspingSettings, GripperSettings
from instance_seg_ros.geometry import OrientedBox, Transform
from instance_seg_ros.grasping.candidates import (
    Candidates,
    ContactPairs,
    ContactSurface,
    antipodal_pairs,
    box_pairs,
    candidates_from_pairs,
    concatenated,
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
from instance_seg_ros.lifting import Completion, Instance3D, LiftedFrame, Status

_MAX_CHECKED = 240
"""So many of the candidates that promise most are checked against the object itself and the scene."""
_BATCH = 40
"""The check against the scene goes through them in steps of this, and ends when enough grasps are found."""


class GraspSampler:
    """Parallel-jaw grasps for the objects of a frame. A function of its input: no memory, seeded draws."""

    def __init__(self, settings: GraspingSettings, gripper: GripperSettings) -> None:
        self.settings = settings
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
        surfaces = [contact_surface(frame, instance) for instance in lifted.instances]
        obstacles = Obstacles.of_frame(frame, lifted, surfaces)
        return tuple(
            self._instance(frame, label, instance, surface, obstacles)
            for label, (instance, surface) in enumerate(zip(lifted.instances, surfaces, strict=True), start=1)
        )

    def _instance(
        self, frame: RgbdFrame, label: int, instance: Instance3D, surface: ContactSurface, obstacles: Obstacles
    ) -> InstanceGrasps:
        if instance.box is None:
            return InstanceGrasps((), Status.NO_GRASP_CANDIDATE)
        on_plane = instance.completion is Completion.SUPPORT_PLANE
        box_z, centre_m = instance.box.T_camera_box.rotation[:, 2], instance.box.T_camera_box.translation_m
        up = box_z if on_plane else -centre_m / np.linalg.norm(centre_m)
        candidates = candidates_from_pairs(self._pairs(instance.box, on_plane, surface), up)
        if not len(candidates):
            return InstanceGrasps((), Status.NO_GRASP_CANDIDATE)
        if obstacles.plane is not None:
            candidates = candidates[above_plane(candidates, self.gripper, obstacles.plane, self.settings.clearance_m)]
        limits = (self.settings.friction, self.gripper.max_opening_m)
        unseen = share_out_of_sight(candidates, self.gripper, frame, obstacles, label)
        promise = quality(candidates, instance.box, up, np.inf, unseen, *limits)
        best = np.argsort(-promise, kind="stable")[:_MAX_CHECKED]
        candidates, unseen = candidates[best], unseen[best]
        free, pad_depth_m = free_of_own_object(candidates, self.gripper, surface.points_m)
        candidates = candidates[free]
        marks = quality(candidates, instance.box, up, pad_depth_m[free], unseen[free], *limits)
        order = np.argsort(-marks, kind="stable")
        reach_m = self.gripper.reach_m + float(np.linalg.norm(instance.box.size_m)) / 2 + self.settings.clearance_m
        others_m = obstacles.others_near(label, centre_m, reach_m)
        grasps = self._best_free(candidates[order], marks[order], others_m)
        return InstanceGrasps(grasps, Status.OK if grasps else Status.NO_COLLISION_FREE_GRASP)

    def _pairs(self, box: OrientedBox, on_plane: bool, surface: ContactSurface) -> ContactPairs:
        rng = np.random.default_rng(0)
        antipodal = antipodal_pairs(surface, self.settings.friction, self.gripper.max_opening_m, rng)
        lowest_m = self.settings.clearance_m if on_plane else 0.0
        faces = box_pairs(box, lowest_m, self.gripper.finger_length_m, self.gripper.max_opening_m)
        return concatenated(antipodal, faces)

    def _best_free(
        self, candidates: Candidates, marks: NDArray[np.float64], others_m: NDArray[np.float32]
    ) -> tuple[Grasp, ...]:
        """Up to `max_grasps` collision-free grasps of candidates in the order of their marks, no two nearly alike."""
        grasps: list[Grasp] = []
        wanted = np.ones(len(candidates), dtype=bool)
        for start in range(0, len(candidates), _BATCH):
            batch = start + np.flatnonzero(wanted[start : start + _BATCH])
            free = free_of_scene(candidates[batch], self.gripper, others_m, self.settings.clearance_m)
            for index in batch[free]:
                if wanted[index]:
                    wanted &= ~nearly_same(candidates, index)
                    grasps.append(self._grasp(candidates, index, float(marks[index])))
                    if len(grasps) == self.settings.max_grasps:
                        return tuple(grasps)
        return tuple(grasps)

    def _grasp(self, candidates: Candidates, index: int, mark: float) -> Grasp:
        pair = candidates.pair[index]
        contacts_m = np.stack([candidates.pairs.first_m[pair], candidates.pairs.second_m[pair]])
        return Grasp(
            T_camera_grasp=Transform(candidates.rotations[index], contacts_m.mean(axis=0)),
            width_m=float(np.linalg.norm(contacts_m[1] - contacts_m[0])),
            quality=mark,
            contacts_m=contacts_m,
            approach_distance_m=self.settings.approach_distance_m,
            lift_distance_m=self.settings.lift_distance_m,
            checked_against_scene=True,
        )
