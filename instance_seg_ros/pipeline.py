"""The pipeline: from a frame to instances, their 3D geometry, grasps and tracks, as one immutable Scene."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import compile_kernels
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances, boxes_of_masks
from instance_seg_ros.core.parameters import GripperSettings, PipelineSettings
from instance_seg_ros.core.status import Status, reason_of
from instance_seg_ros.grasping.grasp import Grasp, InstanceGrasps, Rejection
from instance_seg_ros.grasping.picking import picking_order
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Instance3D, LiftedFrame, Lifter
from instance_seg_ros.lifting.box_prompt import cut_out
from instance_seg_ros.segmentation import ModelInfo, Segmenter, load_segmenter
from instance_seg_ros.segmentation.postprocessing import MIN_KEPT_SHARE
from instance_seg_ros.segmentation.prompts import OBJECT, Box, Detections, PromptModels, Prompts, load_prompt_models
from instance_seg_ros.tracking import TimeStep, Tracker, TrackRecord

Result = TypeVar("Result")

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object of a scene, as every consumer reads it.

    Attributes:
        label: value in the label image, 1..N.
        track_id: stable id over frames, > 0.
        class_name: from the model file.
        class_id: its index in the model's list of classes.
        score: of the network, in [0, 1].
        lifted: the object in 3D: points, centres, box.
        grasps: best first.
        status: the flags of all stages; `reason_of` says them in words.
        rejected: how many tried grasps failed at which step.
    """

    label: int
    track_id: int
    class_name: str
    class_id: int
    score: float
    lifted: Instance3D
    grasps: tuple[Grasp, ...]
    status: Status
    rejected: Mapping[Rejection, int] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The status in words and, where there is no grasp, at which steps the tried ones failed; "" for nothing."""
        words = reason_of(self.status)
        if self.grasps or not self.rejected:
            return words
        steps = ", ".join(f"{count} {why.value}" for why, count in self.rejected.items())
        return f"{words} (tried grasps: {steps})"


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that one frame became. All arrays are in instance order, poses in the frame's optical frame.

    Attributes:
        frame: that all this was computed from.
        instances: masks, boxes, scores and classes.
        lifted: the instances in 3D, and the support plane.
        grasps: of each instance.
        track_ids: of each instance, > 0; they stay with an object from frame to frame.
        model: that found the instances.
        stage_times_s: seconds of each stage, by its name: segment, lift, grasp, track.
        time_step: how the frame's stamp follows those before it.
        gripper: that the grasps are for.
        tracks: how often and since when each remembered object was seen, by its track id, also of those that the frame
            does not show; empty for instances that are no tracks.

    Raises:
        ValueError: the stages disagree on the number of instances or on the image's size, or the track ids are not
            different numbers above 0.
    """

    frame: RgbdFrame
    instances: Instances
    lifted: LiftedFrame
    grasps: tuple[InstanceGrasps, ...]
    track_ids: tuple[int, ...]
    model: ModelInfo
    stage_times_s: Mapping[str, float]
    time_step: TimeStep = TimeStep.FORWARD
    gripper: GripperSettings = GripperSettings()  # noqa: RUF009 - immutable
    tracks: Mapping[int, TrackRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = {
            "instances": len(self.instances),
            "lifted": len(self.lifted.instances),
            "grasps": len(self.grasps),
            "track_ids": len(self.track_ids),
        }
        if len(set(counts.values())) > 1:
            raise ValueError(f"every stage must give one entry for each instance, not {counts}")
        masks_hw, frame_hw = self.instances.masks.shape[1:], self.frame.depth_m.shape
        if masks_hw != frame_hw:
            raise ValueError(f"masks are {masks_hw} but the frame is {frame_hw} (rows, columns)")
        if len(set(self.track_ids)) < len(self.track_ids) or any(track_id <= 0 for track_id in self.track_ids):
            raise ValueError(f"track_ids must be above 0 and differ, not {self.track_ids}")

    def objects(self) -> tuple[SceneObject, ...]:
        """The scene as one record for each object."""
        return tuple(
            SceneObject(
                label=index + 1,
                track_id=self.track_ids[index],
                class_name=name,
                class_id=int(self.instances.class_ids[index]),
                score=float(self.instances.scores[index]),
                lifted=self.lifted.instances[index],
                grasps=self.grasps[index].grasps,
                status=self.lifted.instances[index].status | self.grasps[index].status,
                rejected=self.grasps[index].rejected,
            )
            for index, name in enumerate(self.instances.names())
        )

    def objects_in_order(self, instance_order: str) -> tuple[SceneObject, ...]:
        """The same records in the order of the setting `grasping.instance_order`; their labels stay what they are."""
        objects = self.objects()
        if instance_order != "picking":
            return objects
        first = picking_order(self.lifted.instances, self.grasps)
        return tuple(objects[index] for index in (*first, *sorted(set(range(len(objects))) - set(first))))


class Pipeline:
    """The stages in their order: segment, lift, grasp, track. For one caller at a time.

    Apart from the tracker's memory, which `tracker.reset()` clears, `run` is a function of the frame.

    Args:
        prompt_models: answer prompts; without any, `cut_out` takes rectangles alone.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        lifter: Lifter,
        grasp_sampler: GraspSampler,
        tracker: Tracker,
        prompt_models: PromptModels | None = None,
    ) -> None:
        self.segmenter = segmenter
        self.lifter = lifter
        self.grasp_sampler = grasp_sampler
        self.tracker = tracker
        self.prompt_models = prompt_models or PromptModels()

    @classmethod
    def from_settings(cls, settings: PipelineSettings | None = None, model_path: Path | None = None) -> Pipeline:
        """The pipeline with these settings or the defaults, and with the model at `model_path` or the shipped one.

        The first time on a machine this compiles the kernels and logs a warning of it.

        Raises:
            ModelError: when a model is missing, damaged or of no known family.
        """
        compile_kernels(_LOGGER.warning)
        settings = settings or PipelineSettings()
        return cls(
            load_segmenter(model_path, settings.segmentation),
            Lifter(settings.lifting),
            GraspSampler(settings.grasping, settings.gripper),
            Tracker(settings.tracking),
            load_prompt_models(settings.segmentation),
        )

    def run(
        self,
        frame: RgbdFrame,
        T_fixed_camera: Transform | Callable[[], Transform] | None = None,
        up: Callable[[], NDArray[np.float64] | None] | None = None,
    ) -> Scene:
        """One frame through all stages.

        What is not known yet when a frame comes, as poses that arrive later than images, may be given as a function,
        which is called when a stage begins to need it. What it raises leaves `run`, and the tracks never saw the frame.

        Args:
            frame: of the camera.
            T_fixed_camera: pose of the camera in a frame that does not move, for the tracks, which come last; None:
                they tell it by the objects' common motion.
            up: gives what lifting takes for `frame.up`; None: that of the frame.

        Returns:
            Everything that became of it; empty, not an error, where nothing was found.

        Raises:
            ModelError: the model takes images of another size.
        """
        times_s: dict[str, float] = {}
        instances = _timed(times_s, "segment", self.segmenter.segment, frame)
        if T_fixed_camera is None:
            self.tracker.look_at(frame)  # the network needs all cores, what follows needs one
        if up is not None:
            frame = dataclasses.replace(frame, up=up())
        lifted = _timed(times_s, "lift", self.lifter.lift, frame, instances)
        grasps = _timed(times_s, "grasp", self.grasp_sampler.sample, frame, lifted, instances)
        pose = T_fixed_camera() if callable(T_fixed_camera) else T_fixed_camera
        try:
            track_ids = _timed(times_s, "track", self.tracker.update, frame, instances, lifted, pose)
        except Exception:
            self.tracker.reset()  # what it remembers may be why, and would cost every frame from now on
            raise
        return Scene(
            frame,
            instances,
            lifted,
            grasps,
            track_ids,
            self.segmenter.info,
            times_s,
            self.tracker.time_step,
            self.grasp_sampler.gripper_settings,
            self.tracker.records,
        )

    def cut_out(self, scene: Scene, prompts: Prompts) -> Scene:
        """What is asked for in a scene's image, as a scene of its own.

        A promptable model answers points and rectangles, and without one the depth alone answers rectangles. A model
        that takes words finds rectangles for them, which are then answered in the same way.

        Args:
            scene: whose supports are known.
            prompts: `prompt_models.taken` tells which can be answered.

        Returns:
            An object for each prompt where there is one and no better or earlier prompt means the same; of the class
            `object` or the phrase, with ids that are no tracks. Its score is a phrase's certainty, else the mask's
            quality as the model sees it, or 1 by the depth alone. One that stands on an object of the scene ends there,
            but names it no more than what hides it; and one that carries objects of the scene is taken after these.

        Raises:
            ModelError: no model answers a prompt, or the camera has no colour for it.
        """
        frame = scene.frame
        detections = self.prompt_models.detected(frame, prompts.phrases)
        if prompts.points_xy or self.prompt_models.masks is not None:
            instances = self.prompt_models.segmented(frame, prompts, detections)
        else:
            instances = self._by_depth(scene, prompts, detections)
        masks, count = instances.masks, len(instances)
        # What was segmented may be what these stand on; what is mostly the same object may not.
        rest = scene.instances.masks & ~masks.any(axis=0)
        others = rest[2 * rest.sum(axis=(1, 2)) > scene.instances.masks.sum(axis=(1, 2))]
        lifted = self.lifter.lift(frame, _plain_objects(np.concatenate([masks, others]))).first(count)
        grasps = self.grasp_sampler.sample(frame, lifted, instances)
        return dataclasses.replace(
            scene,
            instances=instances,
            lifted=lifted,
            grasps=grasps,
            track_ids=tuple(range(1, count + 1)),
            tracks={},
            gripper=self.grasp_sampler.gripper_settings,
            model=self.prompt_models.info(prompts) or scene.model,
        )

    def _by_depth(self, scene: Scene, prompts: Prompts, detections: Detections) -> Instances:
        """What stands out in rectangles, and in those that were found for phrases, in this order."""
        frame = scene.frame
        planes = [surface.plane for surface in scene.lifted.surfaces]
        if scene.lifted.support_plane is not None:
            planes.append(scene.lifted.support_plane)
        own = len(prompts.boxes_xyxy)
        scores = np.concatenate([np.ones(own, np.float32), detections.scores])
        class_ids = np.concatenate([np.zeros(own, np.int64), 1 + detections.phrase_ids])
        masks = np.zeros((0, *frame.depth_m.shape), dtype=bool)
        rows = []
        for row, box in enumerate([*prompts.boxes_xyxy, *map(_whole_pixels, detections.boxes_xyxy)]):
            mask = cut_out(frame, box, planes, self.lifter.settings)
            rest = mask & ~masks.any(axis=0)
            # Two rectangles that words found may be around one object, of which a rim would be left.
            if rest.sum() > (0 if row < own else MIN_KEPT_SHARE * mask.sum()):
                masks = np.concatenate([masks, rest[None]])
                rows.append(row)
        return Instances(masks, boxes_of_masks(masks), scores[rows], class_ids[rows], (OBJECT, *prompts.phrases))


def _whole_pixels(box_xyxy: NDArray[np.float32]) -> Box:
    """The pixels that a box touches."""
    x0, y0 = np.floor(box_xyxy[:2]).astype(int).tolist()
    x1, y1 = np.ceil(box_xyxy[2:]).astype(int).tolist()
    return x0, y0, x1, y1


def _plain_objects(masks: NDArray[np.bool_]) -> Instances:
    """Masks (N, H, W) as instances of the class `object` and the score 1."""
    count = len(masks)
    return Instances(masks, boxes_of_masks(masks), np.ones(count, np.float32), np.zeros(count, np.int64), (OBJECT,))


def _timed(times_s: dict[str, float], stage: str, function: Callable[..., Result], *arguments: object) -> Result:
    start = time.perf_counter()
    result = function(*arguments)
    times_s[stage] = time.perf_counter() - start
    return result
