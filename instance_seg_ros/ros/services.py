"""The node's services: `segment`, which answers with the next frame, `record` and `set_enabled`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from instance_seg_ros.messages import outgoing
from instance_seg_ros.ros.diagnostics import NodeState, input_faults
from instance_seg_ros.ros.params import ACTIVE
from instance_seg_ros.ros.requests import (
    DEFAULT_TIMEOUT_S,
    LONGEST_TIMEOUT_S,
    MOST_PROMPTS,
    MOST_WAITING,
    PendingRequests,
    prompts_of,
    selected,
    selected_beside_prompts,
    unanswered_text,
)
from instance_seg_ros.srv import Segment

SERVICE_QOS = QoSProfile(depth=2 * MOST_WAITING)
"""Calls that come at once, or while one callback takes long, wait for their turn; ROS' default loses all but ten."""


class Services:
    """Offers the services while the node lives.

    Args:
        node: the node.
        requests: where calls of `segment` wait for a frame.
        state: gives the node's state.
        write_recording: writes the latest inputs and results; the file, and how many seconds it holds.
        group: lets a call wait while other callbacks run.
        steady_clock: measures how long a call waits, even while a simulated time stands still.
    """

    def __init__(
        self,
        node: Node,
        requests: PendingRequests,
        state: Callable[[], NodeState],
        write_recording: Callable[[], tuple[Path, float]],
        group: CallbackGroup,
        steady_clock: Clock,
    ) -> None:
        self._node = node
        self._requests = requests
        self._state = state
        self._write_recording = write_recording
        self._recording = threading.Lock()
        self._group = group
        self._steady_clock = steady_clock
        node.create_service(Segment, "~/segment", self._on_segment, qos_profile=SERVICE_QOS, callback_group=group)
        node.create_service(Trigger, "~/record", self._on_record, callback_group=group)
        node.create_service(SetBool, "~/set_enabled", self._on_set_enabled, qos_profile=SERVICE_QOS)

    async def _on_segment(self, request: Segment.Request, response: Segment.Response) -> Segment.Response:
        state = self._state()
        if state.label != ACTIVE or state.pipeline is None:
            response.message = f"the node is {state.label}; activate it first"
            return response
        wanted = prompts_of(request)
        prompts = state.pipeline.prompt_models.taken(wanted)
        unanswered = unanswered_text(wanted, prompts, request.track_ids)
        if unanswered:
            response.message = unanswered
            return response
        for what, asked in (
            ("points", prompts.points_xy),
            ("boxes", prompts.boxes_xyxy),
            ("phrases", prompts.phrases),
        ):
            if len(asked) > MOST_PROMPTS:
                response.message = f"{len(asked)} {what} are more than the {MOST_PROMPTS} of a call; split it"
                return response
        timeout_s = min(request.timeout_s, LONGEST_TIMEOUT_S) if request.timeout_s > 0 else DEFAULT_TIMEOUT_S
        executor = self._node.executor
        assert executor is not None, "a service is called by an executor"
        future = self._requests.add(executor.wake, prompts)
        if future is None:
            response.message = f"{MOST_WAITING} calls wait for a frame already; call again when some were answered"
            return response
        deadline = self._node.create_timer(
            timeout_s, lambda: self._requests.cancel(future), callback_group=self._group, clock=self._steady_clock
        )
        try:
            answer = await future
        finally:
            self._node.destroy_timer(deadline)
        state = self._state()
        if answer is None and state.label != ACTIVE:
            response.message = "the node was deactivated before a frame came"
        elif answer is None:
            faults = input_faults(state)
            response.message = f"no frame within {timeout_s:g} s: {'; '.join(faults) or 'the pipeline is too slow'}"
        elif answer.status == outgoing.FRAME_INVALID_INPUT:
            response.message = answer.status_text
        else:
            response.success = True
            response.result = (selected_beside_prompts if prompts else selected)(answer, request)
        return response

    async def _on_record(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Writes in a thread of its own: it takes a second, in which frames go on."""
        if not self._recording.acquire(blocking=False):
            response.message = "a recording is being written already"
            return response
        executor = self._node.executor
        assert executor is not None, "a service is called by an executor"
        done = Future()
        done.add_done_callback(lambda _: executor.wake())

        def write() -> None:
            try:
                path, seconds = self._write_recording()
                response.success = True
                response.message = f"{path} ({seconds:.1f} s)"
            except ModuleNotFoundError as error:
                response.message = f"recording needs the module {error.name}: pip install rosbags"
            except (OSError, ValueError) as error:
                response.message = f"nothing was written: {error}"
            except Exception as error:  # whoever calls must get an answer
                response.message = f"nothing was written: unexpected {error!r}"
            finally:
                self._recording.release()
                done.set_result(None)

        threading.Thread(target=write, name="record", daemon=True).start()
        await done
        self._node.get_logger().info(f"record: {response.message}")
        return response

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        result = self._node.set_parameters_atomically([Parameter("enabled", value=bool(request.data))])
        response.success = result.successful
        response.message = result.reason or ("enabled" if request.data else "disabled")
        return response
