"""Who chooses the grasp to try next: the pipeline's best one, or a grasp from straight above across the box."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import GripperSettings, PipelineSettings
from instance_seg_ros.grasping.grasp import Grasp
from instance_seg_ros.grasping.picking import picking_order
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import LiftedFrame, Lifter
from instance_seg_ros.segmentation import Segmenter

_CLEARANCE_M = 0.004


@dataclass(frozen=True)
class Proposal:
    """A grasp to try.

    Attributes:
        label: 1 + index of the instance that it is for.
        T_camera_grasp: as of `Grasp`.
        width_m: between the contacts.
        opening_m: between the fingers on the approach.
        approach_m: length of the straight way in.
        quality: in [0, 1]; None for the planner that has none.
        marks: what the quality was computed from, as of `Grasp`; empty likewise.
    """

    label: int
    T_camera_grasp: Transform
    width_m: float
    opening_m: float
    approach_m: float
    quality: float | None
    marks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What is known of a frame before a grasp is chosen."""

    instances: Instances
    lifted: LiftedFrame


class Perception:
    """Frames to instances in 3D.

    Args:
        settings: of lifting.
        segmenter: None takes the true masks.
    """

    def __init__(self, settings: PipelineSettings, segmenter: Segmenter | None) -> None:
        self._lifter = Lifter(settings.lifting)
        self._segmenter = segmenter

    def see(self, frame: RgbdFrame, true_labels: NDArray[np.uint8]) -> Seen:
        """The instances of a frame.

        Args:
            true_labels: (H, W); only looked at where there is no segmenter.
        """
        truth = Instances.from_labels(true_labels)
        instances = truth if self._segmenter is None else self._segmenter.segment(frame)
        return Seen(instances, self._lifter.lift(frame, instances))


Planner = Callable[[RgbdFrame, Seen], Proposal | None]


def best_of_pipeline(settings: PipelineSettings) -> Planner:
    """The grasp of the highest quality of all instances; nothing else decides."""
    sampler = GraspSampler(settings.grasping, settings.gripper)

    def plan(frame: RgbdFrame, seen: Seen) -> Proposal | None:
        proposals = _proposals(sampler, frame, seen)
        return max(proposals, key=lambda proposal: proposal.quality or 0.0, default=None)

    return plan


def first_in_order(settings: PipelineSettings) -> Planner:
    """The best grasp of the object that comes first in the order of picking: what carries others waits."""
    sampler = GraspSampler(settings.grasping, settings.gripper)

    def plan(frame: RgbdFrame, seen: Seen) -> Proposal | None:
        grasps = sampler.sample(frame, seen.lifted, seen.instances)
        order = picking_order(seen.lifted.instances, grasps)
        return _proposal(order[0] + 1, grasps[order[0]].grasps[0]) if order else None

    return plan


def any_of_pipeline(settings: PipelineSettings) -> Planner:
    """Any grasp of all instances, the last ones as often as the best: what a calibration learns from."""
    sampler = GraspSampler(settings.grasping, settings.gripper)

    def plan(frame: RgbdFrame, seen: Seen) -> Proposal | None:
        proposals = _proposals(sampler, frame, seen)
        draw = np.random.default_rng(zlib.crc32(frame.depth_m.tobytes()))  # the same in the same place
        return proposals[int(draw.integers(len(proposals)))] if proposals else None

    return plan


def _proposals(sampler: GraspSampler, frame: RgbdFrame, seen: Seen) -> list[Proposal]:
    """Every grasp of the pipeline."""
    return [
        _proposal(label, grasp)
        for label, own in enumerate(sampler.sample(frame, seen.lifted, seen.instances), start=1)
        for grasp in own.grasps
    ]


def _proposal(label: int, grasp: Grasp) -> Proposal:
    return Proposal(
        label,
        grasp.T_camera_grasp,
        grasp.width_m,
        grasp.opening_m,
        grasp.approach_distance_m,
        grasp.quality,
        grasp.marks,
    )


def top_down(settings: PipelineSettings) -> Planner:
    """The plain recipe: from straight above across the box's narrower side, the highest object first, unchecked."""

    def plan(frame: RgbdFrame, seen: Seen) -> Proposal | None:
        proposals = []
        for label, instance in enumerate(seen.lifted.instances, start=1):
            if instance.box is None or seen.lifted.support_plane is None:
                continue
            proposal = across_box(label, instance.box.T_camera_box, instance.box.size_m, settings.gripper)
            if proposal is not None:
                top_m = float(seen.lifted.support_plane.height_m(instance.box.corners_m).max())
                proposals.append((top_m, label, proposal))
        return max(proposals)[2] if proposals else None

    def across_box(
        label: int, T_camera_box: Transform, size_m: NDArray[np.float64], gripper: GripperSettings
    ) -> Proposal | None:
        narrow = int(np.argmin(size_m[:2]))
        if size_m[narrow] > gripper.max_opening_m:
            return None
        closing, approach = T_camera_box.rotation[:, narrow], -T_camera_box.rotation[:, 2]
        # As deep as the fingers are long, but not into the table.
        above_bottom_m = max(_CLEARANCE_M, float(size_m[2]) - gripper.finger_length_m + _CLEARANCE_M)
        origin_m = T_camera_box.translation_m - approach * (above_bottom_m - size_m[2] / 2)
        rotation = np.stack([closing, np.cross(approach, closing), approach], axis=1)
        T_camera_grasp = Transform(rotation, origin_m)
        approach_m = settings.grasping.approach_distance_m
        return Proposal(label, T_camera_grasp, float(size_m[narrow]), gripper.max_opening_m, approach_m, None)

    return plan
