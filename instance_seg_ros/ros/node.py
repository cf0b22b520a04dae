"""The lifecycle node: RGB-D in, instances with 3D poses and grasps out.

Inputs below the node's name: color/image_raw, color/camera_info, depth/image_raw, and depth/camera_info where depth is
not registered to colour. Outputs: instances, label_image, overlay, cloud, markers, and /diagnostics. Services: segment,
set_enabled. The node subscribes while it is active; it answers every frame that it processes with one InstanceArray of
the stamp of the colour image, also when the frame cannot be used.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from instance_seg_ros.camera import RgbdFrame
from instance_seg_ros.config import PipelineSettings
from instance_seg_ros.errors import InputError
from instance_seg_ros.geometry import Transform
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.incoming import RgbdMessages, frame_of, is_distorted
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.diagnostics import ERROR, OK, WARN, Health, model_status, silence_faults, status
from instance_seg_ros.ros.inputs import Inputs
from instance_seg_ros.ros.outputs import Outputs
from instance_seg_ros.ros.params import Configuration, NodeParameters
from instance_seg_ros.ros.requests import DEFAULT_TIMEOUT_S, PendingRequests, selected
from instance_seg_ros.ros.transforms import NoTf, transforms_of
from instance_seg_ros.ros.worker import NewestOnlyWorker
from instance_seg_ros.srv import Segment
from instance_seg_ros.tracking import Tracker

NODE_NAME = "instance_seg"
DIAGNOSTICS_PERIOD_S = 1.0
STOP_TIMEOUT_S = 10.0
PLAUSIBLE_AGE_S = 10.0
BACKEND_LOG_PERIOD_S = 10.0

ACTIVE = "active"

BuildPipeline = Callable[[PipelineSettings, "Path | None"], Pipeline]


@dataclass(frozen=True)
class _Job:
    """A matched set of messages and when it was complete (monotonic clock)."""

    messages: RgbdMessages
    arrived_s: float


class InstanceSegNode(LifecycleNode):
    """See the module. The work is done in one thread of its own; callbacks only collect, so any executor serves.

    Args:
        build_pipeline: makes the pipeline at configure; may raise InputError, such as ModelError.
        node_options: those of `rclpy.lifecycle.LifecycleNode`, such as parameter_overrides.

    Raises:
        ValueError: for a parameter that is out of its range at start, naming it.
    """

    def __init__(self, build_pipeline: BuildPipeline = Pipeline.from_settings, **node_options: Any) -> None:
        super().__init__(NODE_NAME, **node_options)
        self._build_pipeline = build_pipeline
        self._health = Health()
        self._requests = PendingRequests()
        self._pipeline: Pipeline | None = None
        self._outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self._worker: NewestOnlyWorker[_Job] | None = None
        self._transforms = transforms_of(self, self._call_in_executor)
        self._configure_failure: str | None = None
        self._dropped = 0
        self._logged_backend = ""
        try:
            self._settings = NodeParameters(self, self.state_label, self._on_configuration)
        except Exception:
            self.destroy_node()  # what is half made would stay in the graph
            raise
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._concurrent = ReentrantCallbackGroup()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(Segment, "~/segment", self._on_segment, callback_group=self._concurrent)
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        # A steady clock: diagnostics come also while a simulated time stands still.
        self.create_timer(
            DIAGNOSTICS_PERIOD_S,
            self._guarded(self._on_diagnostics_timer),
            callback_group=self._concurrent,
            clock=self._steady_clock,
        )
        # rclpy lets an impossible transition raise out of its own service and so end the executor.
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state

    def subscribers(self) -> dict[str, int]:
        """How many subscribers each output is connected to, by its full topic name; empty while unconfigured."""
        return {} if self._outputs is None else self._outputs.subscribers()

    def waits_for_a_frame(self) -> bool:
        """Whether a call of `segment` waits for its frame."""
        return bool(self._requests)

    # ---- Lifecycle ----

    def state_label(self) -> str:
        """The lifecycle state: unconfigured, inactive, active, finalized or a transition between them."""
        return str(self._state_machine.current_state[1])

    def autostart(self) -> None:
        """Configures and activates, if the parameter `autostart` says so; a configure that fails is logged."""
        if not self._settings.current.node.autostart:
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and creates the publishers; FAILURE, with the reason logged, leaves the node unconfigured."""
        return self._transition("configure", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts the worker and subscribes to the inputs."""
        return self._transition("activate", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes and stops the worker after the frame at work."""
        return self._transition("deactivate", self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Gives model and publishers back."""
        return self._transition("clean up", self._cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops everything from any state."""
        return self._transition("shut down", self.close)

    def close(self) -> None:
        """Unsubscribes, stops the worker and gives everything back; may be called more than once."""
        self._deactivate()
        self._cleanup()

    def _transition(self, name: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        # rclpy turns an exception of a transition into a silent error.
        try:
            action()
        except (InputError, ValueError) as error:
            self.get_logger().error(f"cannot {name}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self._unexpected(f"cannot {name}")
            return TransitionCallbackReturn.FAILURE
        self.get_logger().info(f"{name}: done")
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        current = self._settings.current
        self._configure_failure = "configure failed with an unexpected error; see the log"
        try:
            self._require_tf(current.node.fixed_frame)
            model_path = Path(current.node.model_path).expanduser() if current.node.model_path else None
            pipeline = self._build_pipeline(current.pipeline, model_path)
        except (InputError, ValueError) as error:
            self._configure_failure = str(error)
            raise
        self._outputs = Outputs(self, self._report)
        self._pipeline = pipeline
        self._configure_failure = None
        info = pipeline.segmenter.info
        self.get_logger().info(
            f"model {info.name} {info.version} ({info.digest[:12]}), {len(info.class_names)} class(es)"
        )

    def _require_tf(self, fixed_frame: str) -> None:
        if not fixed_frame:
            return
        if isinstance(self._transforms, NoTf):
            raise ValueError(
                f"fixed_frame is {fixed_frame!r} but {self._transforms.reason}; leave fixed_frame empty for a camera "
                "that stands still"
            )
        self._transforms.start()

    def _call_in_executor(self, function: Callable[[], None]) -> None:
        executor = self.executor
        assert executor is not None, "frames come through an executor"
        executor.create_task(function)

    def _activate(self) -> None:
        self._health.activated()
        self._inputs = Inputs(
            self, self._settings.current.node, self._health, self._on_messages, self._report, self._guarded
        )
        self._worker = NewestOnlyWorker(self._process, name="pipeline")

    def _deactivate(self) -> None:
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._worker is not None:
            if not self._worker.stop(STOP_TIMEOUT_S):
                self.get_logger().error(f"the frame at work did not end within {STOP_TIMEOUT_S:g} s")
            self._dropped += self._worker.dropped
            self._worker = None
        self._requests.cancel_all()

    def _cleanup(self) -> None:
        if self._outputs is not None:
            self._outputs.close()
            self._outputs = None
        self._pipeline = None

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return self._change_state(request, response)
        except Exception as error:  # rclpy's RCLError has no public name
            transition = request.transition.label or request.transition.id
            self.get_logger().warning(f"transition {transition} is not possible while {self.state_label()}: {error}")
            response.success = False
            return response

    def _on_configuration(self, old: Configuration, new: Configuration) -> None:
        if self._pipeline is None or old.pipeline == new.pipeline:
            return
        # The next frame takes the new stages; ids survive unless it is the tracking that changes.
        settings = new.pipeline
        keeps_ids = settings.tracking == old.pipeline.tracking
        self._pipeline = Pipeline(
            self._pipeline.segmenter,
            Lifter(settings.lifting),
            GraspSampler(settings.grasping, settings.gripper),
            self._pipeline.tracker if keeps_ids else Tracker(settings.tracking),
        )

    # ---- Frames ----

    def _on_messages(self, rgbd: RgbdMessages) -> None:
        if self._worker is not None and (self._settings.current.node.enabled or self._requests):
            self._worker.submit(_Job(rgbd, time.monotonic()))

    def _process(self, job: _Job) -> None:
        """One frame, in the worker's thread; no exception leaves it."""
        try:
            answer, scene = self._answer(job.messages)
            self._publish(answer, scene)
            self._requests.answer(answer, job.arrived_s)
        except Exception:
            self._unexpected("could not answer a frame")

    def _answer(self, rgbd: RgbdMessages) -> tuple[InstanceArray, Scene | None]:
        assert self._pipeline is not None, "frames come only while configured"
        pipeline, current = self._pipeline, self._settings.current
        try:
            frame = frame_of(rgbd, self._pose_of_depth_camera)
            T_fixed_camera = self._pose_in_fixed_frame(frame)
        except ValueError as error:
            self._report("unusable frame", str(error))
            return self._refusal(rgbd, pipeline, str(error)), None
        try:
            scene = pipeline.run(frame, T_fixed_camera)
        except Exception as error:
            self._unexpected("could not process a frame")
            return self._refusal(rgbd, pipeline, f"internal error: {error!r}; see the node's log"), None
        age_s = self._age_s(rgbd.stamp_ns)
        self._check(rgbd, scene, age_s)
        self._health.processed(age_s, scene.stage_times_s)
        answer = outgoing.instance_array(
            make_message,
            scene,
            grasping=current.pipeline.grasping,
            frame_age_s=age_s,
            include_clouds=current.node.instance_clouds,
        )
        return answer, scene

    def _refusal(self, rgbd: RgbdMessages, pipeline: Pipeline, reason: str) -> InstanceArray:
        answer = outgoing.invalid_instance_array(
            make_message, rgbd.stamp_ns, rgbd.color.header.frame_id, pipeline.segmenter.info, reason
        )
        answer.frame_age_s = self._age_s(rgbd.stamp_ns)
        return answer

    def _publish(self, answer: InstanceArray, scene: Scene | None) -> None:
        current = self._settings.current
        if self._outputs is None or not current.node.enabled:
            return
        self._outputs.publish_answer(answer)
        if scene is not None:
            self._outputs.publish_pictures(scene, current.pipeline.gripper)

    def _check(self, rgbd: RgbdMessages, scene: Scene, age_s: float) -> None:
        """Reports what is odd about a frame though it was processed."""
        if not -PLAUSIBLE_AGE_S <= age_s <= PLAUSIBLE_AGE_S:
            self._report(
                "clocks apart",
                f"the frame's stamp is {age_s:.1f} s behind the node's clock; synchronise the machines' clocks, or set "
                "use_sim_time for a recording that is played with its clock",
            )
        if not scene.frame.depth_m.any():
            self._report("no depth", "the depth image holds no measurement; is the camera's depth stream on?")
        if rgbd.color_info is not None and is_distorted(rgbd.color_info):
            self._report(
                "lens distortion",
                "the CameraInfo has distortion coefficients, which are not corrected here; positions near the image's "
                "border are off: subscribe to the rectified image (image_proc)",
            )

    def _age_s(self, stamp_ns: int) -> float:
        return (self.get_clock().now().nanoseconds - stamp_ns) / outgoing.NS_PER_S

    def _pose_of_depth_camera(self, color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
        from_parameter = self._settings.current.node.T_color_depth
        if from_parameter is not None:
            return from_parameter
        if color_frame == depth_frame:
            return Transform.identity()
        return self._transforms.lookup(color_frame, depth_frame, stamp_ns)

    def _pose_in_fixed_frame(self, frame: RgbdFrame) -> Transform | None:
        fixed_frame = self._settings.current.node.fixed_frame
        if not fixed_frame:
            return None
        return self._transforms.lookup(fixed_frame, frame.frame_id, frame.stamp_ns)

    # ---- Services ----

    async def _on_segment(self, request: Segment.Request, response: Segment.Response) -> Segment.Response:
        if self.state_label() != ACTIVE:
            response.message = f"the node is {self.state_label()}; activate it first"
            return response
        timeout_s = request.timeout_s if request.timeout_s > 0 else DEFAULT_TIMEOUT_S
        executor = self.executor
        assert executor is not None, "a service is called by an executor"
        future = self._requests.add(executor.wake)
        deadline = self.create_timer(
            timeout_s,
            lambda: self._requests.cancel(future),
            callback_group=self._concurrent,
            clock=self._steady_clock,
        )
        try:
            answer = await future
        finally:
            self.destroy_timer(deadline)
        if answer is None and self.state_label() != ACTIVE:
            response.message = f"the node became {self.state_label()} before a frame came"
        elif answer is None:
            faults = self._input_faults()
            response.message = f"no frame within {timeout_s:g} s: {'; '.join(faults) or 'the pipeline is too slow'}"
        elif answer.status == outgoing.FRAME_INVALID_INPUT:
            response.message = answer.status_text
        else:
            response.success = True
            response.result = selected(answer, request)
        return response

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        result = self.set_parameters_atomically([Parameter("enabled", value=bool(request.data))])
        response.success = result.successful
        response.message = result.reason or ("enabled" if request.data else "disabled")
        return response

    # ---- Health ----

    def _report(self, cause: str, text: str) -> None:
        if self._health.problem(cause, text):
            self.get_logger().warning(f"{cause}: {text}")

    def _unexpected(self, what: str) -> None:
        """For an except clause: logs the traceback and counts it."""
        if not self.context.ok():
            return  # a signal shut the context down under a call that was at work: no fault of that call
        error = sys.exc_info()[1]
        if self._health.problem(f"unexpected {type(error).__name__}", f"{what}: {error!r}", ERROR):
            self.get_logger().error(f"{what}:\n{traceback.format_exc()}")

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """The callback with its exceptions logged and counted instead of ending the executor."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception:
                self._unexpected("a callback failed")

        return guarded

    def report_unexpected(self) -> None:
        """For an except clause around the executor: logs and counts what escaped from a callback."""
        self._unexpected("a callback failed")

    def _input_faults(self) -> list[str]:
        """Why no frame comes, in the order in which to look; empty when frames come."""
        if self._inputs is None:
            return []
        timeout_s = self._settings.current.node.input_timeout_s
        faults = silence_faults(self._inputs.reports().values(), timeout_s)
        offset_s = self._inputs.matcher.pairer.nearest_offset_s
        if offset_s is not None and abs(offset_s) > self._settings.current.node.sync_tolerance_s:
            faults.append(
                f"colour and depth do not meet: the nearest stamps are {abs(offset_s):.3f} s apart (depth is "
                f"{'later' if offset_s > 0 else 'earlier'}) and sync_tolerance_s is "
                f"{self._settings.current.node.sync_tolerance_s:g}; let the driver synchronise them, or raise it"
            )
        return faults

    def _log_backend(self) -> None:
        """Says once what runs the network, and again when that changes, as when an engine has been built meanwhile."""
        backend = self._pipeline.segmenter.backend if self._pipeline is not None else ""
        if backend in ("", self._logged_backend):
            return
        if self.get_logger().info(f"backend: {backend}", throttle_duration_sec=BACKEND_LOG_PERIOD_S):
            self._logged_backend = backend

    def _on_diagnostics_timer(self) -> None:
        self._log_backend()
        statuses = [self._input_status(), self._processing_status(), self._output_status(), self._model_status()]
        array = DiagnosticArray(status=statuses)
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _input_status(self) -> DiagnosticStatus:
        name, hardware_id = f"{self.get_name()}: inputs", self.get_fully_qualified_name()
        if self._inputs is None:
            return status(name, hardware_id, OK, f"not subscribed while {self.state_label()}", {})
        faults = self._input_faults()
        if faults:
            self._report("no frames", "; ".join(faults))
        facts: dict[str, object] = {}
        for input_name, report in self._inputs.reports().items():
            facts[f"{input_name}: topic"] = report.topic
            facts[f"{input_name}: publishers"] = report.publishers
            facts[f"{input_name}: received"] = report.received
            facts[f"{input_name}: rate_hz"] = f"{self._health.rate_hz(input_name):.1f}"
        pairer = self._inputs.matcher.pairer
        facts |= {
            "pairs": pairer.pairs,
            "unpaired colour images": pairer.unpaired_colors,
            "unpaired depth images": pairer.unpaired_depths,
        }
        return status(name, hardware_id, WARN if faults else OK, "; ".join(faults) or "receiving", facts)

    def _processing_status(self) -> DiagnosticStatus:
        dropped = self._dropped + (self._worker.dropped if self._worker is not None else 0)
        enabled = self._settings.current.node.enabled
        return self._health.processing_status(
            f"{self.get_name()}: processing",
            self.get_fully_qualified_name(),
            {"state": self.state_label(), "enabled": enabled, "dropped for a newer frame": dropped},
        )

    def _output_status(self) -> DiagnosticStatus:
        name, hardware_id = f"{self.get_name()}: outputs", self.get_fully_qualified_name()
        return status(name, hardware_id, OK, "subscribers by topic", self.subscribers())

    def _model_status(self) -> DiagnosticStatus:
        segmenter = self._pipeline.segmenter if self._pipeline is not None else None
        return model_status(
            f"{self.get_name()}: model",
            self.get_fully_qualified_name(),
            self.state_label(),
            segmenter.info if segmenter is not None else None,
            self._configure_failure,
            segmenter.backend if segmenter is not None else "",
        )


def spin(node: InstanceSegNode, executor: Executor) -> None:
    """Executes callbacks until the context shuts down; what escapes from one is logged, and the next is executed."""
    while executor.context.ok():
        try:
            executor.spin_once()
        except ExternalShutdownException:
            return
        except Exception:
            node.report_unexpected()


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM.

    Returns:
        0 after a signal, 1 when a parameter at start cannot be used.
    """
    rclpy.init(args=args)
    try:
        node = InstanceSegNode()
    except (ValueError, ParameterException) as error:
        print(f"{NODE_NAME}: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        node.autostart()
        spin(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the usual end; what follows is the same for every end
    except Exception:
        if executor.context.ok():
            raise
        # else a signal shut the context down under a call that was at work
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
