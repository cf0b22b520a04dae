"""MoveIt's planning scene is kept in step: the process itself, real messages, and a stand-in for move_group.

With objects, that does as the PlanningScene of moveit_core: adding replaces, adding in an unknown frame fails, so does
removing what is not there, and what is attached may be added to the world once more.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("moveit_msgs")

import rclpy
from moveit_msgs.msg import AttachedCollisionObject, CollisionObject, PlanningScene
from moveit_msgs.srv import ApplyPlanningScene, GetPlanningScene
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.messages import outgoing
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.tracking import TrackRecord

TIMEOUT_S = 40.0


class MoveGroup(Node):
    """A scene that others change by its services, and a publisher of answers."""

    def __init__(self, namespace: str, context: rclpy.Context) -> None:
        super().__init__("move_group", namespace=namespace, context=context)
        self.world: dict[str, CollisionObject] = {}
        self.attached: set[str] = set()
        self.known_frames = {"base_link", "camera_color_optical_frame"}
        self.applied: list[PlanningScene] = []
        self.held: Future | None = None
        self.in_step: list[Header] = []
        self.answers = self.create_publisher(InstanceArray, "instance_seg/instances", 5)
        self.create_service(GetPlanningScene, "get_planning_scene", self._get)
        held = ReentrantCallbackGroup()  # while a change is held, all else goes on
        self.create_service(ApplyPlanningScene, "apply_planning_scene", self._apply, callback_group=held)
        latest = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Header, "planning_scene/in_step", self.in_step.append, latest)
        self.enable = self.create_client(SetBool, "planning_scene/set_enabled")

    def _get(self, request: GetPlanningScene.Request, response: GetPlanningScene.Response) -> Any:
        if request.components.components & 8:
            response.scene.world.collision_objects = [CollisionObject(id=name) for name in self.world]
        if request.components.components & 4:
            response.scene.robot_state.attached_collision_objects = [
                AttachedCollisionObject(object=CollisionObject(id=name)) for name in self.attached
            ]
        return response

    async def _apply(self, request: ApplyPlanningScene.Request, response: ApplyPlanningScene.Response) -> Any:
        assert request.scene.is_diff
        self.applied.append(request.scene)
        if self.held is not None:
            await self.held
        succeeded = [self._change(each) for each in request.scene.world.collision_objects]
        response.success = all(succeeded)
        return response

    def _change(self, change: CollisionObject) -> bool:
        if change.operation == CollisionObject.REMOVE:
            return self.world.pop(change.id, None) is not None
        shapes = len(change.primitives) + len(change.meshes)
        if change.header.frame_id not in self.known_frames or not shapes:
            return False
        self.world[change.id] = change
        return True


class Theatre:
    """The stand-in, and the process under test."""

    def __init__(self, **parameters: str) -> None:
        namespace = f"/t{uuid.uuid4().hex}"  # of this test alone, whatever else runs on the machine
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.move_group = MoveGroup(namespace, self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.move_group)
        set_to = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "instance_seg_ros.ros.planning_scene"),
                *("--ros-args", "-r", f"__ns:={namespace}", *set_to),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, condition: Callable[[], object], answer: InstanceArray | None = None) -> None:
        """Shows an answer again and again until the condition holds."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"in vain; the scene holds {sorted(self.move_group.world)}"
            if answer is not None:
                self.move_group.answers.publish(answer)
            self.executor.spin_once(timeout_sec=0.05)
            self.executor.spin_once(timeout_sec=0.05)

    def until_refused(self, answer: InstanceArray) -> None:
        """Shows an answer until move_group refused it twice for its frame, which it knows from then on."""
        self.move_group.known_frames.clear()
        self.until(lambda: len(self.move_group.applied) > 1, answer)
        self.move_group.known_frames.add(answer.header.frame_id)

    def enable(self, enabled: bool) -> SetBool.Response:
        future = self.move_group.enable.call_async(SetBool.Request(data=enabled))
        self.until(future.done)
        return future.result()

    def close(self) -> str:
        """Ends all, and gives what the process logged."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        assert self.process.stderr is not None
        logged = self.process.stderr.read()
        self.process.wait(10)
        self.executor.shutdown()
        self.move_group.destroy_node()
        rclpy.shutdown(context=self.context)
        return logged


@pytest.fixture
def make_theatre() -> Iterator[Callable[..., Theatre]]:
    theatres: list[Theatre] = []

    def make(**parameters: str) -> Theatre:
        theatres.append(Theatre(**parameters))
        return theatres[-1]

    yield make
    for theatre in theatres:
        if theatre.process.poll() is None:
            theatre.close()


def answer_of(scene: Scene, x_m: float = 0.0, **tracks: TrackRecord) -> InstanceArray:
    """One object of track 5, moved along x, and what else is remembered, by `t` and the id."""
    block, unknown = scene.lifted.instances
    box = OrientedBox(Transform(np.eye(3), np.array([x_m, 0.0, 0.75])), np.array([0.06, 0.04, 0.1]))
    records = {5: TrackRecord(9, 1, 2, 0), **{int(name[1:]): record for name, record in tracks.items()}}
    lifted = replace(scene.lifted, instances=(replace(block, outer_box=box), unknown))
    return outgoing.instance_array(make_message, replace(scene, lifted=lifted, tracks=records))


def test_objects_come_move_rest_while_hidden_and_go(
    make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]
) -> None:
    theatre, scene = make_theatre(), make_scene()
    world = theatre.move_group.world
    world["bench"] = world["object_7"] = CollisionObject()
    theatre.until(lambda: "object_5" in world, answer_of(scene, t7=TrackRecord(9, 1, 2, 0)))
    assert set(world) == {"bench", "object_5", "object_7"}
    assert world["object_5"].header.frame_id == scene.frame.frame_id
    theatre.until(lambda: world["object_5"].pose.position.x == 0.1, answer_of(scene, 0.1, t7=TrackRecord(9, 1, 2, 0)))
    theatre.until(lambda: "object_7" not in world, answer_of(scene, 0.1, t7=TrackRecord(9, 1, 2, 3)))
    assert set(world) == {"bench", "object_5"}


def test_what_the_robot_carries_is_left_alone_until_it_is_set_down(
    make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]
) -> None:
    theatre, scene = make_theatre(), make_scene()
    move_group = theatre.move_group
    theatre.until(lambda: "object_5" in move_group.world, answer_of(scene))
    assert theatre.enable(False).success
    taken = move_group.world.pop("object_5")
    move_group.attached.add("object_5")
    assert theatre.enable(True).success
    move_group.world["object_8"] = CollisionObject()
    theatre.until(lambda: "object_8" not in move_group.world, answer_of(scene, 0.2))  # so the answer was taken over
    assert "object_5" not in move_group.world
    move_group.attached.clear()
    move_group.world["object_5"] = taken
    theatre.until(lambda: move_group.world["object_5"].pose.position.x == 0.3, answer_of(scene, 0.3))


def test_nothing_changes_while_it_rests(make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]) -> None:
    theatre, scene = make_theatre(), make_scene()
    move_group = theatre.move_group
    theatre.until(lambda: "object_5" in move_group.world, answer_of(scene))
    assert theatre.enable(False).success
    count, end_s = len(move_group.applied), time.monotonic() + 1.0
    theatre.until(lambda: time.monotonic() > end_s, answer_of(scene, 0.2))
    assert len(move_group.applied) == count
    assert theatre.enable(True).success
    theatre.until(lambda: move_group.world["object_5"].pose.position.x == 0.2, answer_of(scene, 0.2))


def test_a_move_group_that_begins_anew_or_refuses_is_filled_again(
    make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]
) -> None:
    theatre, answer = make_theatre(), answer_of(make_scene())
    move_group = theatre.move_group
    theatre.until_refused(answer)
    assert not move_group.world
    theatre.until(lambda: "object_5" in move_group.world, answer)
    move_group.world.clear()
    theatre.until(lambda: "object_5" in move_group.world, answer)
    assert "refused a part of this: placed: object_5" in theatre.close()


def test_it_tells_which_answer_the_scene_agrees_with(
    make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]
) -> None:
    """Not one that was refused, nor one whose frame could not be processed; one that changes nothing, too."""
    theatre, answer = make_theatre(), answer_of(make_scene())
    move_group = theatre.move_group
    theatre.until_refused(answer)
    assert not move_group.in_step
    theatre.until(lambda: move_group.in_step, answer)
    assert "object_5" in move_group.world
    later = answer_of(make_scene(stamp_ns=1_700_000_009_000_000_000))
    invalid = answer_of(make_scene(stamp_ns=1_700_000_010_000_000_000))
    invalid.status = InstanceArray.STATUS_INVALID_INPUT
    theatre.until(lambda: move_group.in_step[-1] == later.header, later)
    end_s = time.monotonic() + 1.0
    theatre.until(lambda: time.monotonic() > end_s, invalid)
    assert move_group.in_step[-1] == later.header


def test_while_a_slow_move_group_may_still_make_a_change_it_does_not_say_that_it_rests(
    make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]
) -> None:
    theatre, answer = make_theatre(), answer_of(make_scene())
    move_group = theatre.move_group
    move_group.held = Future()
    theatre.until(lambda: move_group.applied, answer)
    refused = theatre.enable(False)
    assert not refused.success
    assert "has not answered the latest change" in refused.message
    assert not theatre.enable(False).success
    move_group.held.set_result(None)
    theatre.until(lambda: theatre.enable(False).success)
    assert "object_5" in move_group.world


def test_what_was_set_down_while_it_rested_is_placed_as_it_is_seen(
    make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]
) -> None:
    """Where it was before, but for where the scene has it since."""
    theatre, answer = make_theatre(), answer_of(make_scene())
    world = theatre.move_group.world
    theatre.until(lambda: "object_5" in world, answer)
    assert theatre.enable(False).success
    world["object_5"] = set_down = CollisionObject(id="object_5")
    assert theatre.enable(True).success
    theatre.until(lambda: world["object_5"] is not set_down, answer)


def test_it_warns_while_no_answers_come(make_theatre: Callable[..., Theatre]) -> None:
    theatre = make_theatre()
    theatre.until(lambda: theatre.move_group.answers.get_subscription_count() > 0)
    end_s = time.monotonic() + 8.0
    theatre.until(lambda: time.monotonic() > end_s)
    topic = theatre.move_group.answers.topic_name
    logged = theatre.close()
    assert f"no answer on {topic} for" in logged
    assert "planning_frame is not set" in logged


def test_without_the_cameras_pose_nothing_is_placed_and_that_is_told(
    make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]
) -> None:
    theatre = make_theatre(planning_frame="base_link")
    theatre.until(lambda: theatre.move_group.answers.get_subscription_count() > 0)
    end_s = time.monotonic() + 3.0
    theatre.until(lambda: time.monotonic() > end_s, answer_of(make_scene()))
    assert not theatre.move_group.applied
    assert "the pose of 'camera_color_optical_frame' in 'base_link'" in theatre.close()


def test_bodies_are_where_tf_says_the_camera_was_at_the_frames_stamp(
    make_theatre: Callable[..., Theatre], make_scene: Callable[..., Scene]
) -> None:
    """The camera moves by half a metre a second, and the answer comes later: MoveIt would take its latest pose."""
    pytest.importorskip("tf2_ros")
    from geometry_msgs.msg import TransformStamped
    from tf2_msgs.msg import TFMessage

    theatre, answer = make_theatre(planning_frame="base_link"), answer_of(make_scene())
    stamp = answer.header.stamp
    publisher = theatre.move_group.create_publisher(TFMessage, "/tf", 10)
    poses = []
    for seconds in range(-1, 3):
        pose = TransformStamped(child_frame_id=answer.header.frame_id)
        pose.header.frame_id = "base_link"
        pose.header.stamp.sec, pose.header.stamp.nanosec = stamp.sec + seconds, stamp.nanosec
        pose.transform.translation.x, pose.transform.rotation.w = 0.5 * seconds + 2.0, 1.0
        poses.append(pose)

    def placed() -> bool:
        publisher.publish(TFMessage(transforms=poses))
        return "object_5" in theatre.move_group.world

    theatre.until(placed, answer)
    box = theatre.move_group.world["object_5"]
    assert (box.header.frame_id, box.pose.position.x) == ("base_link", pytest.approx(2.0))
