"""Keeps MoveIt's planning scene in step with what the segmentation node sees; a process of its own, beside both.

    ros2 run instance_seg_ros planning_scene --ros-args -p planning_frame:=base_link

Each new answer on `instance_seg/instances` is compared with what move_group holds (service `get_planning_scene`), and
the difference goes there by `apply_planning_scene`, which says whether it arrived. So nothing gets lost, whoever else
changes the scene or restarts. What the robot carries is left alone. `~/in_step` has the header of the latest answer
that the scene agrees with. `~/set_enabled` stops and resumes that: when it has answered with success, nothing is under
way.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.messages.planning_scene import PACKAGE, Body, Contents, PlanningSceneKeeper, planning_scene_diff
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros.convert import has_package, make_message, message_class
from instance_seg_ros.ros.transforms import Tf, TransformError, transforms_of
from instance_seg_ros.ros.worker import NewestOnlyWorker

NODE_NAME = "planning_scene"
CALL_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 1.0
WARN_EVERY_S = 5.0
ATTACHED, NAMES = 4, 8
"""ROBOT_STATE_ATTACHED_OBJECTS and WORLD_OBJECT_NAMES of moveit_msgs/PlanningSceneComponents."""


class MoveGroupError(RuntimeError):
    """move_group does not answer, or refused; the message says which and what helps."""


class PlanningSceneNode(Node):
    """See the module. Calls of move_group are made in a thread of its own: the executor needs two threads.

    Args:
        node_options: those of `rclpy.node.Node`, such as parameter_overrides.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__(NODE_NAME, **node_options)
        self._planning_frame = str(
            self.declare_parameter(
                "planning_frame",
                "",
                _described(
                    "Frame that bodies are given in, by tf at the stamp of the frame that showed them: one that does "
                    "not move. MoveIt itself takes the latest pose of a camera, whatever the stamp says. Empty: the "
                    "camera's own, for one that never moves."
                ),
            ).value
        )
        fewest = self.declare_parameter(
            "fewest_frames",
            3,
            _described(
                "So many frames must show an object for it to be added, and its place empty for it to be removed.",
                integer_range=[IntegerRange(from_value=1, to_value=1000)],
            ),
        ).value
        least_m = self.declare_parameter(
            "least_change_m",
            0.005,
            _described(
                "What is there already is replaced once a corner of it has moved by more metres.",
                floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1.0)],
            ),
        ).value
        if not self._planning_frame:
            self.get_logger().warning(
                "planning_frame is not set: bodies are given in the camera's own frame and move with it, which is "
                "right only for a camera that never moves"
            )
        self._keeper = PlanningSceneKeeper(int(fewest), float(least_m))
        self._transforms = transforms_of(self, lambda start: start())
        if self._planning_frame and isinstance(self._transforms, Tf):
            self._transforms.start()
        calls = ReentrantCallbackGroup()
        self._get = self._client("GetPlanningScene", "get_planning_scene", calls)
        self._apply = self._client("ApplyPlanningScene", "apply_planning_scene", calls)
        latest = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._in_step = self.create_publisher(Header, "~/in_step", latest)
        self._late: dict[Client, Future] = {}  # the latest call of each service, if that was not answered in time
        self._enabled = True
        self._at_work = threading.Lock()
        self._worker = NewestOnlyWorker(self._process, name="planning scene")
        own = MutuallyExclusiveCallbackGroup()
        self._answers = self.create_subscription(
            InstanceArray, "instance_seg/instances", self._take, 1, callback_group=calls
        )
        self._came_s = time.monotonic()
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # a simulator may stand still
        self.create_timer(1.0, self._warn_of_silence, callback_group=calls, clock=steady)
        self.create_service(SetBool, "~/set_enabled", self._set_enabled, callback_group=own)

    def close(self) -> None:
        """Ends the thread."""
        self._worker.stop(STOP_TIMEOUT_S)

    def _client(self, kind: str, name: str, group: ReentrantCallbackGroup) -> Client:
        return self.create_client(message_class(f"{PACKAGE}/srv/{kind}"), name, callback_group=group)

    def _take(self, answer: InstanceArray) -> None:
        self._came_s = time.monotonic()
        self._worker.submit(answer)

    def _warn_of_silence(self) -> None:
        silent_s = time.monotonic() - self._came_s
        if self._enabled and silent_s > WARN_EVERY_S:
            self.get_logger().warning(
                f"no answer on {self._answers.topic_name} for {silent_s:.0f} s: the planning scene stays as it is; "
                "does the segmentation node run, is it active, and has it frames?",
                throttle_duration_sec=WARN_EVERY_S,
            )

    def _set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        with self._at_work:  # what is under way ends first
            if request.data:
                self._keeper.forget()  # others may have changed the scene while this rested
            change = self._late.get(self._apply)
            ended = change is None or change.done() or not self._apply.service_is_ready()
        response.success = request.data or ended
        response.message = "follows what is seen" if request.data else "rests"
        if not response.success:
            response.message += ", but move_group has not answered the latest change, and may still make it: ask again"
        return response

    def _process(self, answer: InstanceArray) -> None:
        with self._at_work:
            if not self._enabled:
                return
            try:
                self._update(answer)
            except (MoveGroupError, TransformError) as error:
                self.get_logger().warning(str(error), throttle_duration_sec=WARN_EVERY_S)
            except Exception:  # the next answer must have its turn
                if self.context.ok():
                    self.get_logger().error(f"could not take an answer over:\n{traceback.format_exc()}")

    def _update(self, answer: InstanceArray) -> None:
        frame_id = self._planning_frame or answer.header.frame_id
        T_scene_camera = Transform.identity()
        if self._planning_frame and answer.status == InstanceArray.STATUS_OK:
            T_scene_camera = self._transforms.lookup(frame_id, answer.header.frame_id, stamp_ns_of(answer.header))
        changes = self._keeper.changes(answer, T_scene_camera, self._contents())
        if changes:
            self._make(changes, answer, frame_id)
        if answer.status == InstanceArray.STATUS_OK:
            self._in_step.publish(answer.header)

    def _make(self, changes: dict[str, Body | None], answer: InstanceArray, frame_id: str) -> None:
        """Has move_group make the changes."""
        stamped = header(make_message, stamp_ns_of(answer.header), frame_id)
        request = self._apply.srv_type.Request(scene=planning_scene_diff(make_message, stamped, changes))
        try:
            arrived = self._call(self._apply, request).success
        except MoveGroupError:
            self._keeper.did_not_arrive()
            raise
        if not arrived:
            self._keeper.did_not_arrive()
            raise MoveGroupError(
                f"move_group refused a part of this: {_in_words(changes)}; does it know the frame {frame_id!r}?"
            )
        self.get_logger().debug(_in_words(changes))

    def _contents(self) -> Contents:
        """What move_group holds now."""
        request = self._get.srv_type.Request()
        request.components.components = ATTACHED | NAMES
        scene = self._call(self._get, request).scene
        return Contents(
            world={each.id for each in scene.world.collision_objects},
            attached={each.object.id for each in scene.robot_state.attached_collision_objects},
        )

    def _call(self, client: Client, request: Any) -> Any:
        """The response; not in the executor's thread."""
        if not client.service_is_ready():
            raise MoveGroupError(f"nobody answers {client.srv_name}: does move_group run?")
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        in_time = answered.wait(CALL_TIMEOUT_S)
        if client in self._late:
            client.remove_pending_request(self._late.pop(client))
        if not in_time:
            self._late[client] = future
            raise MoveGroupError(f"{client.srv_name} was not answered within {CALL_TIMEOUT_S:g} s")
        return future.result()


def _described(text: str, **ranges: Any) -> ParameterDescriptor:
    return ParameterDescriptor(description=text, read_only=True, **ranges)


def _in_words(changes: dict[str, Body | None]) -> str:
    removed = [name for name, body in changes.items() if body is None]
    placed = [name for name, body in changes.items() if body is not None]
    return f"placed: {', '.join(placed) or 'nothing'}; removed: {', '.join(removed) or 'nothing'}"


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM.

    Returns:
        0 after a signal, 1 where moveit_msgs is not installed or a parameter cannot be used.
    """
    if not has_package(PACKAGE):
        print(f"{PACKAGE} is not installed (apt install ros-$ROS_DISTRO-moveit-msgs)", file=sys.stderr)
        return 1
    rclpy.init(args=args)
    try:
        node = PlanningSceneNode()
    except (ValueError, ParameterException) as error:
        rclpy.try_shutdown()
        print(error, file=sys.stderr)
        return 1
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
