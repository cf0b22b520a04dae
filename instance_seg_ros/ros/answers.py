"""From the messages of one moment to the node's answer: an InstanceArray, even if the frame cannot be used."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.depth import scale_fault
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.incoming import MAX_FRAME_ID, RgbdMessages, distortion_of, frame_of
from instance_seg_ros.messages.lens import centre_fault
from instance_seg_ros.messages.registration import Registration
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.ros.clocks import NO_CLOCK_TEXT, clock_stands
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.frame_ids import frame_id_fault
from instance_seg_ros.ros.health import Health
from instance_seg_ros.ros.params import NodeParameters
from instance_seg_ros.ros.problem_log import ProblemLog
from instance_seg_ros.ros.transforms import NoTf, Tf
from instance_seg_ros.segmentation.prompts import Prompts
from instance_seg_ros.tracking.tracker import TimeStep

PLAUSIBLE_AGE_S = 10.0
LONGEST_TEXT = 1000
INTERNAL_ERROR = "internal error: "
"""How the status of an answer begins whose frame was all right: a fault of this package."""

_TIME_PROBLEMS = {
    TimeStep.UNKNOWN: (
        "no stamp",
        "the colour image's stamp is 0, so frames have no time: tracks count frames instead, and neither the age of a "
        "result nor a pose from tf can be right; have the driver fill in header.stamp",
    ),
    TimeStep.REPEATED: (
        "repeated stamp",
        "a frame has the same stamp as the one before, so that no track ages by it; have the driver stamp every image",
    ),
    TimeStep.LATE: (
        "late frame",
        "a frame is older than one before it, so that no track ages by it; does the driver publish in order, was "
        "the clock set back, or do two cameras publish on one topic?",
    ),
    TimeStep.RESET: (
        "time went back",
        "a frame is much older than the one before, as when a recording loops or a simulator restarts: all tracks were "
        "forgotten, and new ids continue the count",
    ),
}


class UnusableFrameError(ValueError):
    """The messages of a frame cannot be used; the text names which and why."""


def shortened(text: str) -> str:
    """A text that quotes messages, cut to what a log line and a status can carry."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}... ({len(text)} characters)"


class Answers:
    """Answers frames, in the worker's thread.

    Args:
        node: its clock is the one that ages are measured by.
        settings: as they are when a frame is answered.
        transforms: poses of frames in each other.
        health: counts frames and times.
        problems: gets a report of each frame that is odd or cannot be used.
        note_pose: gets the stamp, the frames (parent, child) and the pose of each that a frame was answered with.

    Attributes:
        registration: how depth came to lie on colour since the node was activated.
        corrected: the images of the latest frame that lens distortion was taken out of, in words; empty for none.
    """

    def __init__(
        self,
        node: Node,
        settings: NodeParameters,
        transforms: Tf | NoTf,
        health: Health,
        problems: ProblemLog,
        note_pose: Callable[[int, tuple[str, str], Transform], None],
    ) -> None:
        self._node = node
        self._settings = settings
        self._transforms = transforms
        self._health = health
        self._problems = problems
        self._note_pose = note_pose
        self._logged_registration = ""
        self.corrected = ""
        self.registration = Registration()

    def forget_camera(self) -> None:
        """Judges the registration of depth anew: another camera, or another driver, may publish from now on."""
        self.registration = Registration()

    def answer(self, rgbd: RgbdMessages, pipeline: Pipeline) -> tuple[InstanceArray, Scene | None]:
        """The answer, and the scene behind it; no scene, and the reason in the answer, where there can be none."""
        try:
            return self._processed(rgbd, pipeline)
        except UnusableFrameError as error:
            self._problems.report("unusable frame", str(error))
            reason = str(error)
        except InputError as error:
            reason = shortened(str(error))
            self._problems.report("frame cannot be processed", reason)
        except Exception as error:  # of any kind: what a message says can overflow whatever computes with it
            self._problems.unexpected("could not process a frame")
            reason = shortened(f"{INTERNAL_ERROR}{error!r}; see the node's log")
        return self._refusal(rgbd, pipeline, reason), None

    def _processed(self, rgbd: RgbdMessages, pipeline: Pipeline) -> tuple[InstanceArray, Scene]:
        current = self._settings.current
        try:
            frame = frame_of(
                rgbd,
                self._pose_of_depth_camera,
                current.node.T_color_depth,
                self.registration,
                current.node.max_image_pixels,
            )
        except ValueError as error:
            raise UnusableFrameError(shortened(str(error))) from error
        # Poses arrive a little later than images; each is asked for when it is needed, and mostly it is there by then.
        fixed, level = current.node.fixed_frame, current.node.level_frame
        scene = pipeline.run(
            frame,
            partial(self._pose_in_fixed_frame, frame, fixed) if fixed else None,
            partial(self._up, frame, level) if level else None,
        )
        age_s = self._age_s(rgbd.stamp_ns)
        answer = outgoing.instance_array(
            make_message,
            scene,
            grasping=current.pipeline.grasping,
            frame_age_s=age_s,
            include_clouds=current.node.instance_clouds,
        )
        self._health.processed(age_s, scene.stage_times_s)
        self._health.aligned(scene.instances.color_moved_px)
        self._health.placed(scene.lifted.instances)
        self._health.grasped(scene.grasps)
        return answer, scene

    def cut_out(self, scene: Scene, prompts: Prompts, pipeline: Pipeline) -> InstanceArray:
        """What is asked for in a frame that was answered; the ids are no tracks."""
        try:
            return self._cut_out(scene, prompts, pipeline)
        except InputError as error:
            reason = shortened(str(error))
            self._problems.report("prompt cannot be answered", reason)
        except Exception as error:  # the other calls that wait must have their answers
            self._problems.unexpected("could not cut out what was asked for")
            reason = shortened(f"{INTERNAL_ERROR}{error!r}; see the node's log")
        info, frame = pipeline.segmenter.info, scene.frame
        refusal: InstanceArray = outgoing.invalid_instance_array(
            make_message, frame.stamp_ns, frame.frame_id, info, reason
        )
        return refusal

    def _cut_out(self, scene: Scene, prompts: Prompts, pipeline: Pipeline) -> InstanceArray:
        current = self._settings.current
        cut = pipeline.cut_out(scene, prompts)
        answer = outgoing.instance_array(
            make_message,
            cut,
            grasping=current.pipeline.grasping,
            frame_age_s=self._age_s(scene.frame.stamp_ns),
            include_clouds=current.node.instance_clouds,
        )
        for instance in answer.instances:
            instance.track_id = 0
        return answer

    def _refusal(self, rgbd: RgbdMessages, pipeline: Pipeline, reason: str) -> InstanceArray:
        answer = outgoing.invalid_instance_array(make_message, 0, "", pipeline.segmenter.info, reason)
        # As it came, whatever it is: whoever waits for this frame knows it by its stamp.
        answer.header.stamp = rgbd.color.header.stamp
        answer.header.frame_id = rgbd.color.header.frame_id[:MAX_FRAME_ID]
        answer.frame_age_s = self._age_s(rgbd.stamp_ns)
        return answer

    def check(self, rgbd: RgbdMessages, scene: Scene, age_s: float) -> None:
        """Reports what is odd about a frame that was processed nevertheless; nobody need wait for that.

        Args:
            age_s: of the frame in its answer.
        """
        if scene.time_step in _TIME_PROBLEMS:
            self._problems.report(*_TIME_PROBLEMS[scene.time_step])
        if clock_stands(self._node.get_clock()):
            self._problems.report("no clock", NO_CLOCK_TEXT)
        elif scene.time_step is not TimeStep.UNKNOWN and not -PLAUSIBLE_AGE_S <= age_s <= PLAUSIBLE_AGE_S:
            self._problems.report(
                "clocks apart",
                f"the frame's stamp is {age_s:.1f} s behind the node's clock; synchronise the machines' clocks, or set "
                "use_sim_time for a recording that is played with its clock",
            )
        if not scene.frame.depth_m.any():
            self._problems.report("no depth", outgoing.NO_DEPTH_TEXT)
        scale = scale_fault(scene.frame.depth_m, scene.gripper.max_opening_m)
        if scale:
            self._problems.report("depth's unit", scale)
        current = self._settings.current
        is_sought = current.pipeline.lifting.use_support_plane and any(
            each.centroid_m is not None for each in scene.lifted.instances
        )
        if is_sought and scene.frame.up is not None and scene.lifted.support_plane is None:
            self._problems.report(
                "level_frame",
                f"nothing level enough to stand on was found below the objects; is the z axis of level_frame "
                f"{current.node.level_frame!r} up?",
            )
        self._tell_registration()
        for what, image in (("the colour image", rgbd.color), ("the depth image", rgbd.depth)):
            fault = frame_id_fault(what, image.header.frame_id)
            if fault is not None:
                self._problems.report("frame_id", fault)
                break
        fault = centre_fault({"colour": rgbd.color_info, "depth": rgbd.depth_info})
        if fault:
            self._problems.report("camera_info", fault)
        distortion = distortion_of(rgbd)
        fault = distortion.fault(self._node.resolve_topic_name("~/color/image_raw"), "rectified_inputs")
        if fault:
            self._problems.report("lens distortion", fault)
        if distortion.corrected and not self.corrected:
            self._node.get_logger().info(
                f"the lens distortion of {distortion.corrected} is taken out: results are in the rectified image, "
                "whose camera is published on ~/camera_info"
            )
        self.corrected = distortion.corrected

    def _tell_registration(self) -> None:
        text = self.registration.text
        if self.registration.fault:
            self._problems.report("depth's registration", self.registration.fault)
        # A pose from tf may move with every frame, which the diagnostics show; the log has it once.
        if text and not self._logged_registration:
            self._node.get_logger().info(f"depth is registered to colour here: {text}")
        self._logged_registration = text

    def _age_s(self, stamp_ns: int) -> float:
        """Of a frame; NaN while the clock that it would be measured by stands still at 0."""
        if clock_stands(self._node.get_clock()):
            return math.nan
        return (self._node.get_clock().now().nanoseconds - stamp_ns) / outgoing.NS_PER_S

    def _pose_of_depth_camera(self, color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
        if color_frame == depth_frame:
            return Transform.identity()
        return self._transforms.lookup(color_frame, depth_frame, stamp_ns)

    def _pose_in_fixed_frame(self, frame: RgbdFrame, fixed_frame: str) -> Transform:
        try:
            T_fixed_camera = self._transforms.lookup(fixed_frame, frame.frame_id, frame.stamp_ns)
        except ValueError as error:
            raise UnusableFrameError(shortened(str(error))) from error
        self._note_pose(frame.stamp_ns, (fixed_frame, frame.frame_id), T_fixed_camera)
        return T_fixed_camera

    def _up(self, frame: RgbdFrame, level_frame: str) -> NDArray[np.float64] | None:
        """The way up, where `level_frame` knows it; None while tf does not, which is told."""
        try:
            T_level_camera = self._transforms.lookup(level_frame, frame.frame_id, frame.stamp_ns)
        except ValueError as error:
            self._problems.report("level_frame", f"{shortened(str(error))}; supports are found without the way up")
            return None
        # As a child of the camera: that has another parent where it is told in the fixed frame, too.
        self._note_pose(frame.stamp_ns, (frame.frame_id, level_frame), T_level_camera.inverse())
        return T_level_camera.rotation[2]
