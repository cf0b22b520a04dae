"""The lifecycle node: RGB-D in, instances with 3D poses and grasps out.

Inputs below the node's name: color/image_raw, color/camera_info, depth/image_raw, and depth/camera_info where depth is
not registered to colour. Outputs: instances, label_image, overlay, cloud, markers, and /diagnostics. Services: segment,
set_enabled. The node subscribes while it is active. It answers every frame that it processes with one InstanceArray,
which has the stamp of the colour image, even if the frame cannot be used.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from instance_seg_ros.core.config import PipelineSettings
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.messages.incoming import CameraInfos, RgbdMessages
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.ros.answers import Answers
from instance_seg_ros.ros.diagnostics import DiagnosticsPublisher, NodeState
from instance_seg_ros.ros.health import Health
from instance_seg_ros.ros.inputs import Inputs
from instance_seg_ros.ros.outputs import Outputs
from instance_seg_ros.ros.overrides import foreign_file_text, parameter_files
from instance_seg_ros.ros.params import Configuration, NodeParameters
from instance_seg_ros.ros.problem_log import ProblemLog
from instance_seg_ros.ros.requests import PendingRequests
from instance_seg_ros.ros.services import Services
from instance_seg_ros.ros.transforms import NoTf, transforms_of
from instance_seg_ros.ros.worker import NewestOnlyWorker
from instance_seg_ros.tracking.tracker import Tracker

NODE_NAME = "instance_seg"
DIAGNOSTICS_PERIOD_S = 1.0
STOP_TIMEOUT_S = 10.0

BuildPipeline = Callable[[PipelineSettings, "Path | None"], Pipeline]


@dataclass(frozen=True)
class _Job:
    """A matched set of messages and when it was complete (monotonic clock)."""

    messages: RgbdMessages
    arrived_s: float


class InstanceSegNode(LifecycleNode):
    """See the module. The work is done in a separate thread; callbacks only collect, so any executor will do.

    Args:
        build_pipeline: makes the pipeline at configure; may raise InputError, such as ModelError.
        node_options: those of `rclpy.lifecycle.LifecycleNode`, such as parameter_overrides.

    Raises:
        ValueError: naming a parameter that is out of its range at startup, or that no setting reads.
    """

    def __init__(self, build_pipeline: BuildPipeline = Pipeline.from_settings, **node_options: Any) -> None:
        super().__init__(NODE_NAME, **node_options)
        self._build_pipeline = build_pipeline
        self._health = Health()
        self._problems = ProblemLog(self, self._health)
        self._requests = PendingRequests()
        self._pipeline: Pipeline | None = None
        self._tracker: Tracker | None = None
        self._outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self._worker: NewestOnlyWorker[_Job] | None = None
        self._transforms = transforms_of(self, self._call_in_executor)
        self._configure_failure: str | None = None
        self._camera_infos = CameraInfos()  # which a camera may publish once, before the node was last activated
        self._dropped = 0
        self._processing = threading.Lock()
        try:
            self._settings = NodeParameters(self, self.state_label, self._on_configuration)
        except Exception:
            self.destroy_node()  # a half-made node would stay in the graph
            raise
        self._answers = Answers(self, self._settings, self._transforms, self._health, self._problems)
        # Steady, so that diagnostics come and calls end even while a simulated time stands still.
        steady_clock, concurrent = Clock(clock_type=ClockType.STEADY_TIME), ReentrantCallbackGroup()
        Services(self, self._requests, self._state, concurrent, steady_clock)
        self._diagnostics = DiagnosticsPublisher(self, self._state, self._health, self._problems)
        self.create_timer(
            DIAGNOSTICS_PERIOD_S,
            self._problems.guarded(self._each_second),
            callback_group=concurrent,
            clock=steady_clock,
        )
        # In rclpy an impossible transition raises an exception from its own service, which would end the executor.
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state

    def subscribers(self) -> dict[str, int]:
        """How many subscribers each output is connected to, by its full topic name; empty while unconfigured."""
        return {} if self._outputs is None else self._outputs.subscribers()

    def waits_for_a_frame(self) -> bool:
        """Whether a call of `segment` waits for its frame."""
        return bool(self._requests)

    def knows_the_camera(self) -> bool:
        """Whether a CameraInfo of the colour images has arrived."""
        return bool(self._camera_infos.color)

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As in rclpy, but an unknown name is refused with the nearest known one, and setting a read-only parameter to
        the value that it has is no change, so that the node's own dump can be loaded."""
        unknown = self._settings.unknown_text(each.name for each in parameter_list if not self.has_parameter(each.name))
        if unknown:
            return SetParametersResult(successful=False, reason=unknown)
        changes = [
            parameter
            for parameter in parameter_list
            if not self.describe_parameter(parameter.name).read_only
            or parameter.value != self.get_parameter(parameter.name).value
        ]
        return super().set_parameters_atomically(changes)

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
        """Unsubscribes, and stops the worker after its present frame."""
        return self._transition("deactivate", self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Releases the model and the publishers."""
        return self._transition("clean up", self._cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops everything from any state."""
        return self._transition("shut down", self.close)

    def close(self) -> None:
        """Unsubscribes, stops the worker and releases everything; may be called more than once."""
        self._deactivate()
        self._cleanup()

    def _transition(self, name: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        # rclpy would turn an exception in a transition into a silent error.
        try:
            action()
        except (InputError, ValueError) as error:
            self.get_logger().error(f"cannot {name}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self._problems.unexpected(f"cannot {name}")
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
        # Ids are never used twice while the node lives.
        if self._tracker is not None:
            pipeline.tracker = self._tracker.successor(current.pipeline.tracking)
        self._tracker = pipeline.tracker
        self._outputs = Outputs(self, self._problems.report)
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
            self,
            self._settings.current.node,
            self._health,
            self._on_messages,
            self._problems.report,
            self._problems.guarded,
            self._camera_infos,
        )
        self._worker = NewestOnlyWorker(self._process, name="pipeline")

    def _deactivate(self) -> None:
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._worker is not None:
            if not self._worker.stop(STOP_TIMEOUT_S):
                self.get_logger().error(f"the worker did not finish its frame within {STOP_TIMEOUT_S:g} s")
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
        # The next frame uses the new stages; the tracker stays, and so do its ids.
        settings, tracker = new.pipeline, self._pipeline.tracker
        tracker.settings = settings.tracking
        self._pipeline = Pipeline(
            self._pipeline.segmenter,
            Lifter(settings.lifting),
            GraspSampler(settings.grasping, settings.gripper),
            tracker,
        )

    # ---- Frames ----

    def _on_messages(self, rgbd: RgbdMessages) -> None:
        if self._worker is not None and (self._settings.current.node.enabled or self._requests):
            self._worker.submit(_Job(rgbd, time.monotonic()))

    def _process(self, job: _Job) -> None:
        """One frame, in the worker's thread; no exception leaves it."""
        # A frame that outlived its worker's stop is waited for: the stages work for one caller at a time.
        with self._processing:
            pipeline = self._pipeline
            if pipeline is None:
                return  # the node was cleaned up meanwhile
            try:
                answer, scene = self._answers.answer(job.messages, pipeline)
                self._publish(answer, scene)
                self._requests.answer(answer, job.arrived_s)
            except Exception:
                self._problems.unexpected("could not answer a frame")

    def _publish(self, answer: InstanceArray, scene: Scene | None) -> None:
        current = self._settings.current
        if self._outputs is None or not current.node.enabled:
            return
        self._outputs.publish_answer(answer)
        if scene is not None:
            self._outputs.publish_pictures(scene)

    def _each_second(self) -> None:
        inputs = self._inputs
        if inputs is not None:
            inputs.follow_publishers()
        self._diagnostics.publish()

    def report_unexpected(self) -> None:
        """For an except clause around the executor: logs and counts what escaped from a callback."""
        self._problems.unexpected("a callback failed")

    def _state(self) -> NodeState:
        return NodeState(
            label=self.state_label(),
            settings=self._settings.current.node,
            inputs=self._inputs,
            pipeline=self._pipeline,
            configure_failure=self._configure_failure,
            dropped=self._dropped + (self._worker.dropped if self._worker is not None else 0),
            subscribers=self.subscribers(),
        )


def spin(node: InstanceSegNode, executor: Executor) -> None:
    """Executes callbacks until the context shuts down; an exception that escapes from one is logged, and it goes on."""
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
        0 after a signal, 1 if an argument, a parameter or its file, or an environment variable cannot be used.
    """
    try:
        rclpy.init(args=args)
        node = InstanceSegNode()
        foreign = [foreign_file_text(path, node.get_fully_qualified_name()) for path in parameter_files(args)]
        if any(foreign):
            node.destroy_node()
            raise ValueError("; ".join(filter(None, foreign)))
    except (ValueError, ParameterException, RuntimeError) as error:  # rcl's errors are RuntimeErrors
        print(f"{NODE_NAME}: {' '.join(str(error).split())}", file=sys.stderr)
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
        # otherwise a signal shut the context down during a call
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
