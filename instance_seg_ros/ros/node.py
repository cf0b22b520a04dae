"""The lifecycle node: RGB-D in, instances with 3D poses and grasps out.

Inputs below the node's name: color/image_raw, color/camera_info, depth/image_raw, and depth/camera_info where depth is
not registered to colour. Outputs: instances, those of `outputs` that somebody subscribes to, selected, and
/diagnostics. Services: segment, record, set_enabled. The node subscribes while it is active. It answers every frame
that it processes with one InstanceArray, which has the stamp of the colour image, even if the frame cannot be used.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle, InvalidParameterTypeException, ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor, TimeoutException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future

from instance_seg_ros.core.compiled import compile_kernels
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import PipelineSettings
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.messages.incoming import CameraInfos, RgbdMessages, latest_of_each
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.ros.answers import Answers
from instance_seg_ros.ros.clicks import Clicks
from instance_seg_ros.ros.concurrent_group import ConcurrentGroup
from instance_seg_ros.ros.diagnostics import DiagnosticsPublisher, NodeState
from instance_seg_ros.ros.event_group import EventGroup
from instance_seg_ros.ros.health import (
    ANSWERED,
    GIVEN_UP,
    IGNORED,
    NEWER,
    RECEIVED,
    STOPPED,
    UNUSABLE,
    Health,
)
from instance_seg_ros.ros.inputs import COLOR, COLOR_INFO, DEPTH, DEPTH_INFO, Inputs
from instance_seg_ros.ros.memory import give_back
from instance_seg_ros.ros.outputs import Outputs
from instance_seg_ros.ros.overrides import foreign_file_text, parameter_files
from instance_seg_ros.ros.params import Configuration, NodeParameters, changed
from instance_seg_ros.ros.problem_log import ProblemLog
from instance_seg_ros.ros.recorder import Recorder
from instance_seg_ros.ros.requests import PendingRequests
from instance_seg_ros.ros.services import Services
from instance_seg_ros.ros.settings import all_parameters
from instance_seg_ros.ros.transforms import NoTf, transforms_of
from instance_seg_ros.ros.worker import NewestOnlyWorker
from instance_seg_ros.segmentation.prompts import Prompts
from instance_seg_ros.tracking.tracker import Tracker

if TYPE_CHECKING:
    from instance_seg_ros.bags.recording import RecordedSettings

NODE_NAME = "instance_seg"
DIAGNOSTICS_PERIOD_S = 1.0
STOP_TIMEOUT_S = 10.0
LAST_DOMAIN = 232
END_TIMEOUT_S = 0.8
"""When the process ends, a transition and a frame at work are each waited for no longer."""

BuildPipeline = Callable[[PipelineSettings, "Path | None"], Pipeline]


@dataclass(eq=False)
class _Job:
    """A matched set of messages, when it was complete (monotonic clock), and whether its fate is counted."""

    messages: RgbdMessages
    arrived_s: float
    settled: bool = False


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
        self._processing = threading.Lock()  # of the pipeline, whose stages work for one caller at a time
        self._changing = threading.Lock()
        self._settling = threading.Lock()
        self._transition_under_way = threading.Lock()
        self._closing = False
        try:
            self._settings = NodeParameters(self, self.state_label, self._on_configuration)
        except Exception:
            self.destroy_node()  # a half-made node would stay in the graph
            raise
        self._recorder = Recorder(lambda: self._settings.current.node)
        self._clicks = Clicks(self, self._transforms, self._problems.report)
        self._answers = Answers(
            self, self._settings, self._transforms, self._health, self._problems, self._recorder.take_pose
        )
        # Steady, so that diagnostics come and calls end even while a simulated time stands still.
        steady_clock, concurrent = Clock(clock_type=ClockType.STEADY_TIME), ConcurrentGroup()
        Services(self, self._requests, self._state, self._write_recording, concurrent, steady_clock)
        self._events = EventGroup(self)
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
        # Out of the default group, whose other callbacks would wait for the transition's end.
        self._service_change_state.callback_group = concurrent
        concurrent.add_entity(self._service_change_state)

    def subscribers(self) -> dict[str, int]:
        """How many subscribers each output is connected to, by its full topic name; empty while unconfigured."""
        outputs = self._outputs
        return {} if outputs is None else outputs.subscribers()

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
        try:
            with self._transition_under_way:
                if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                    self.trigger_activate()
        except Exception:
            self._problems.unexpected("could not start")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and creates the publishers; FAILURE, with the reason logged, leaves the node unconfigured."""
        return self._transition("configure", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts the worker and subscribes to the inputs."""
        return self._transition("activate", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes, and stops the worker after its present frame."""
        return self._transition("deactivate", lambda: self._deactivate(STOP_TIMEOUT_S))

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Releases the model and the publishers."""
        return self._transition("clean up", self._cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops everything from any state."""
        return self._transition("shut down", lambda: self._give_back(STOP_TIMEOUT_S))

    def close(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Unsubscribes, stops the worker and gives everything back; may be called more than once.

        Args:
            timeout_s: a transition under way, and then the frame at work, are waited for no longer.
        """
        self._closing = True
        waited_for = self._transition_under_way.acquire(timeout=timeout_s)
        self._give_back(timeout_s)
        if waited_for:
            self._transition_under_way.release()

    def _give_back(self, timeout_s: float) -> None:
        self._deactivate(timeout_s)
        self._cleanup()

    def _transition(self, name: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        if self._closing and name in ("configure", "activate"):
            return TransitionCallbackReturn.FAILURE  # the process ends
        # rclpy turns an exception of a transition into a silent error.
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
        self._configure_failure = None
        try:
            current = self._settings.read_again()
            self._require_tf("fixed_frame", current.node.fixed_frame, "a camera that stands still")
            self._require_tf("level_frame", current.node.level_frame, "supports that are found without it")
            compile_kernels(self.get_logger().info)
            model_path = Path(current.node.model_path).expanduser() if current.node.model_path else None
            pipeline = self._build_pipeline(current.pipeline, model_path)
        except Exception as error:
            expected = isinstance(error, (InputError, ValueError))
            self._configure_failure = (
                str(error) if expected else "configure failed with an unexpected error; see the log"
            )
            raise
        # Ids are never used twice while the node lives.
        if self._tracker is not None:
            pipeline.tracker = self._tracker.successor(current.pipeline.tracking)
        self._tracker = pipeline.tracker
        self._processing = threading.Lock()  # a frame that never ended keeps the old one
        self._outputs = Outputs(self, self._problems.report, self._longest_gap_s)
        with self._changing:
            latest = self._settings.current.pipeline  # parameters may have changed while the model was loaded
            self._pipeline = pipeline if latest == current.pipeline else _with_settings(pipeline, latest)
        self._configure_failure = None
        give_back()  # what the runtimes held that were measured and not taken
        info = pipeline.segmenter.info
        self.get_logger().info(
            f"model {info.name} {info.version} ({info.digest[:12]}), {len(info.class_names)} class(es)"
        )

    def _longest_gap_s(self) -> float:
        return self._settings.current.node.longest_gap_s

    def _require_tf(self, parameter: str, frame_id: str, without: str) -> None:
        if not frame_id:
            return
        if isinstance(self._transforms, NoTf):
            raise ValueError(
                f"{parameter} is {frame_id!r} but {self._transforms.reason}; leave {parameter} empty for {without}"
            )
        self._transforms.start()

    def _call_in_executor(self, function: Callable[[], None]) -> None:
        executor = self.executor
        assert executor is not None, "frames come through an executor"
        executor.create_task(function)

    def _activate(self) -> None:
        self._health.activated()
        self._answers.forget_camera()
        self._worker = NewestOnlyWorker(self._process, name="pipeline")  # first: frames may come at once
        self._inputs = Inputs(
            self,
            self._settings.current.node,
            self._health,
            self._on_messages,
            self._problems.report,
            self._problems.guarded,
            self._camera_infos,
            self._recorder.take,
        )

    def _deactivate(self, timeout_s: float) -> None:
        inputs, worker = self._inputs, self._worker
        self._inputs = None
        if inputs is not None:
            inputs.close()
        if worker is not None:
            at_work = None if worker.stop(timeout_s) else worker.at_work
            if at_work is not None:
                self._settle(at_work[0], GIVEN_UP)
                self.get_logger().error(
                    f"the frame at work did not end within {timeout_s:g} s and is given up; clean up and configure to "
                    "have frames processed again"
                )
            self._worker = None
            self._health.counted(NEWER, worker.dropped)
            self._health.counted(STOPPED, worker.left)
        outputs = self._outputs
        if outputs is not None and self.context.ok():  # a signal has shut down what would publish
            outputs.take_markers_away()
        self._requests.cancel_all()

    def _cleanup(self) -> None:
        outputs, self._outputs = self._outputs, None
        with self._changing:  # a change of parameters would put back what it found
            self._pipeline = None
        self._camera_infos = CameraInfos()  # another camera may be there when the node is configured again
        if outputs is not None:
            outputs.close()
        give_back()

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        """The transition, in a thread of its own: loading a model takes seconds, in which calls are answered."""
        label = request.transition.label or request.transition.id
        if self._closing or not self._transition_under_way.acquire(blocking=False):
            self.get_logger().warning(f"transition {label} is refused: another one is under way")
            response.success = False
            return response
        executor = self.executor
        assert executor is not None, "a service is called by an executor"
        done = Future()
        done.add_done_callback(lambda _: executor.wake())

        def change() -> None:
            try:
                if self._is_possible(request.transition):
                    self._change_state(request, response)
                else:
                    self.get_logger().warning(f"transition {label} is not possible while {self.state_label()}")
                    response.success = False
            except Exception as error:  # rclpy's RCLError has no public name
                self.get_logger().error(f"transition {label} failed while {self.state_label()}: {error}")
                response.success = False
            finally:
                self._transition_under_way.release()
                done.set_result(None)

        threading.Thread(target=change, name="transition", daemon=True).start()
        await done
        return response

    def _is_possible(self, transition: Transition) -> bool:
        """Whether a transition begins in this state: of one that does not, Jazzy's rclpy raises and Kilted's logs."""
        begin_now = [(each[0], each[1]) for each in self._state_machine.available_transitions]
        if transition.label:
            return any(label == transition.label for _, label in begin_now)
        return any(number == transition.id for number, _ in begin_now)

    def _on_configuration(self, old: Configuration, new: Configuration) -> None:
        with self._changing:
            if self._pipeline is not None and old.pipeline != new.pipeline:
                self._pipeline = _with_settings(self._pipeline, new.pipeline)
        self._recorder.take_change(changed(old, new))
        if old.node.depth_camera_pose != new.node.depth_camera_pose:
            self._answers.forget_camera()  # what was judged was the depth as the old pose registered it
        outputs = self._outputs
        if outputs is not None and old.node.enabled and not new.node.enabled:
            outputs.take_markers_away()

    # ---- Frames ----

    def _on_messages(self, rgbd: RgbdMessages) -> None:
        self._events.frame_came()
        self._health.counted(RECEIVED)
        worker = self._worker
        if not (self._settings.current.node.enabled or self._requests):
            self._health.counted(IGNORED)
        elif worker is None or not worker.submit(_Job(rgbd, time.monotonic())):
            self._health.counted(STOPPED)

    def _process(self, job: _Job) -> None:
        """One frame, in the worker's thread; no exception leaves it."""
        # A frame that outlived its worker's stop is waited for, until the node is configured anew.
        processing = self._processing
        with processing:
            pipeline = self._pipeline
            if pipeline is None or processing is not self._processing:
                self._settle(job, STOPPED)
                return  # the node was cleaned up meanwhile
            try:
                answer, scene = self._answers.answer(job.messages, pipeline)
                enabled = self._settings.current.node.enabled
                if not (enabled or self._requests):
                    self._settle(job, IGNORED)  # disabled since the frame came: nobody hears of it
                elif self._settle(job, UNUSABLE if scene is None else ANSWERED):
                    cut_out = None if scene is None else partial(self._answers.cut_out, scene, pipeline=pipeline)
                    try:
                        if enabled:
                            self._publish(answer, scene, cut_out if pipeline.prompt_models.masks else None)
                    finally:  # a picture that cannot be drawn costs no call its answer
                        self._requests.answer(answer, job.arrived_s, cut_out)
                    if scene is not None:
                        self._answers.check(job.messages, scene, answer.frame_age_s)
            except Exception:
                self._problems.unexpected("could not answer a frame")
                self._settle(job, UNUSABLE)  # unless it was answered, and what failed came after

    def _settle(self, job: _Job, fate: str) -> bool:
        """Counts what became of a frame, once.

        Returns:
            Whether this is its fate: not for one that was given up before.
        """
        with self._settling:
            if job.settled:
                return False
            job.settled = True
        self._health.counted(fate)
        return True

    def _publish(
        self, answer: InstanceArray, scene: Scene | None, at_clicks: Callable[[Prompts], InstanceArray] | None
    ) -> None:
        outputs = self._outputs
        if outputs is None:
            return
        outputs.publish_answer(answer)
        self._recorder.take(self.resolve_topic_name("~/instances"), answer)
        if scene is None:
            outputs.take_markers_away()
            return
        self._clicks.answer(answer, scene, at_clicks)
        outputs.publish_pictures(scene, self._settings.current.pipeline.grasping)
        if not self._settings.current.node.enabled:  # disabled while they were drawn
            outputs.take_markers_away()

    def _each_second(self) -> None:
        self._events.look()
        inputs, worker = self._inputs, self._worker
        if inputs is not None:
            inputs.follow_publishers()
        at_work = worker.at_work if worker is not None else None
        if at_work is not None and at_work[1] > self._settings.current.node.frame_timeout_s:
            self._problems.report(
                "frame at work",
                f"a frame has been at work for {at_work[1]:.0f} s, and no other is processed meanwhile; where it never "
                "ends, deactivate, clean up and configure the node, which gives it up",
            )
        own_name = self.get_name(), self.get_namespace()
        if self.get_node_names_and_namespaces().count(own_name) > 1:
            self._problems.report(
                "two nodes of one name",
                f"another node is called {self.get_fully_qualified_name()}, too, or was until a moment ago: services "
                "and parameters reach either of them; start one in another namespace or with another name",
            )
        self._diagnostics.publish()

    def report_unexpected(self) -> None:
        """For an except clause around the executor: logs and counts what escaped from a callback."""
        self._problems.unexpected("a callback failed")

    def _write_recording(self) -> tuple[Path, float]:
        """Writes the latest inputs and results; the file, and how many seconds it holds. Raises as `Recorder.write`."""
        inputs, infos = self._inputs, self._camera_infos
        names = dict(inputs.names) if inputs is not None else {}
        standing = [
            (names[name], info)
            for name, came in ((COLOR_INFO, infos.color), (DEPTH_INFO, infos.depth))
            if name in names
            for info in latest_of_each(came)
        ]
        depth_camera = self._answers.registration.pose
        return self._recorder.write(self, self._recorded_settings(names).text(), standing, depth_camera)

    def _recorded_settings(self, topics: Mapping[str, str]) -> RecordedSettings:
        from instance_seg_ros.bags.recording import RecordedSettings

        pipeline = self._pipeline
        model = {}
        if pipeline is not None:
            info = pipeline.segmenter.info
            model = {
                "name": info.name,
                "version": info.version,
                "digest": info.digest,
                "backend": pipeline.segmenter.backend,
            }
        names = {COLOR: "color", DEPTH: "depth", COLOR_INFO: "color_info", DEPTH_INFO: "depth_info"}
        # What the gripper's file said, which may say something else when the recording is replayed.
        of_file = {f"gripper.{name}": value for name, value in self._settings.current.pipeline.gripper.filled.items()}
        parameters = {name: self.get_parameter(name).value for name in all_parameters()} | of_file
        inputs = {names[name]: topic for name, topic in topics.items()}
        return RecordedSettings(inputs, parameters, model, self._recorder.changed())

    def _frames(self) -> dict[str, int]:
        """How many frames were received and what became of them."""
        frames, worker = self._health.frames(), self._worker
        if worker is not None:
            frames[NEWER] += worker.dropped
            frames[STOPPED] += worker.left
        return frames

    def _state(self) -> NodeState:
        return NodeState(
            label=self.state_label(),
            settings=self._settings.current.node,
            inputs=self._inputs,
            pipeline=self._pipeline,
            configure_failure=self._configure_failure,
            frames=self._frames(),
            registration=self._answers.registration.text,
            corrected=self._answers.corrected,
            subscribers=self.subscribers(),
        )


def _with_settings(pipeline: Pipeline, settings: PipelineSettings) -> Pipeline:
    """The pipeline that the next frame takes: new stages, but for the networks and the tracker, whose ids stay."""
    pipeline.tracker.settings = settings.tracking
    return Pipeline(
        pipeline.segmenter,
        Lifter(settings.lifting),
        GraspSampler(settings.grasping, settings.gripper),
        pipeline.tracker,
        pipeline.prompt_models,
    )


class NodeExecutor(SingleThreadedExecutor):
    """rclpy's, for entities that other threads destroy.

    rclpy passes over an event's handler that is destroyed when it begins to wait, and then waits for it all the same.
    """

    def wait_for_ready_callbacks(self, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's; where something goes under it while it begins to wait, this turn of the executor ends."""
        try:
            return super().wait_for_ready_callbacks(*args, **kwargs)
        except InvalidHandle as error:
            raise TimeoutException from error


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
        return _run(args)
    except KeyboardInterrupt:  # before there was anything to close
        _ignore_signals()
        return 0


def _run(args: list[str] | None) -> int:
    domain = os.environ.get("ROS_DOMAIN_ID", "")
    if domain.isdecimal() and int(domain) > LAST_DOMAIN:  # DDS would end the process with a text about ports
        return _refused(ValueError(f"ROS_DOMAIN_ID is {domain}, but domains are 0 to {LAST_DOMAIN}"))
    try:
        rclpy.init(args=args)
    except (RuntimeError, ValueError) as error:  # rcl's errors are RuntimeErrors
        return _refused(error)
    try:
        node = InstanceSegNode()
        foreign = [foreign_file_text(path, node.get_fully_qualified_name()) for path in parameter_files(args)]
        if any(foreign):
            node.destroy_node()
            raise ValueError("; ".join(filter(None, foreign)))
    except (ValueError, ParameterException, RuntimeError) as error:
        was_stopped = not rclpy.ok()  # by a signal, which shuts ROS down under whatever is at work
        rclpy.try_shutdown()
        return 0 if was_stopped else _refused(error)
    cv2.setNumThreads(1)  # of so small images its threads take more of the CPU's time than they save
    gc.freeze()  # what is imported stays: Python's collections of garbage, every 800 frames, take 5 ms instead of 50
    executor = NodeExecutor()
    executor.add_node(node)
    # Beside the executor, so that calls are answered while the model is loaded.
    threading.Thread(target=node.autostart, name="autostart", daemon=True).start()
    try:
        spin(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the usual end; what follows is the same for every end
    except Exception:
        if executor.context.ok():
            raise
        # otherwise a signal shut the context down during a call
    finally:
        _ignore_signals()
        node.close(END_TIMEOUT_S)
        node.destroy_node()
        rclpy.try_shutdown()
        _ignore_signals()  # again: ROS has put back the handlers that it found
    return 0


def _ignore_signals() -> None:
    """When the end is under way, another signal would only cut it short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _refused(error: Exception) -> int:
    """Says on one line why the node cannot start; the exit status."""
    text = " ".join(str(error).split())
    if isinstance(error, InvalidParameterTypeException) and "type 'BOOL', expecting type 'STRING'" in text:
        text += (
            '; without quotes YAML takes y, n, yes, no, on and off for true and false: write "y", in a shell \'"y"\''
        )
    print(f"{NODE_NAME}: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":  # not under this name: memory is to be set up before NumPy is imported
    os.execv(sys.executable, [sys.executable, "-m", "instance_seg_ros.ros", *sys.argv[1:]])
