"""Poses through tf: with a stand-in of tf2_ros's three names, without tf at all, and by the real one where it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy")

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.lifting import LiftedFrame, Lifter
from instance_seg_ros.messages.camera import camera_info, depth_image
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.transforms import NoTf, Tf, TransformError, transforms_of

MakeFrame = Callable[..., RgbdFrame]


class StandInBuffer:
    """Knows static poses: 'depth_frame' lies 0.1 m to the right of 'camera_color_optical_frame', whose optical axis is
    the z axis of 'ahead', and the opposite of that of 'behind', and which lies askew in 'askew'; and where that is in
    'room', which tests change."""

    camera_in_room_x_m = 0.0

    def __init__(self, node: Any) -> None:
        self.node = node

    def lookup_transform(self, target_frame: str, source_frame: str, time: Any, timeout: Any) -> TransformStamped:
        stamped = TransformStamped()
        if (target_frame, source_frame) == ("ahead", "camera_color_optical_frame"):
            stamped.transform.rotation.w = 1.0
            return stamped
        if (target_frame, source_frame) == ("room", "camera_color_optical_frame"):
            stamped.transform.translation.x, stamped.transform.rotation.w = self.camera_in_room_x_m, 1.0
            return stamped
        if (target_frame, source_frame) == ("askew", "camera_color_optical_frame"):
            turn = stamped.transform.rotation
            turn.x, turn.y, turn.z, turn.w = 2 / 9, 4 / 9, 5 / 9, 6 / 9
            return stamped
        if (target_frame, source_frame) == ("behind", "camera_color_optical_frame"):
            stamped.transform.rotation.x, stamped.transform.rotation.w = 1.0, 0.0
            return stamped
        if (target_frame, source_frame) != ("camera_color_optical_frame", "depth_frame"):
            raise StandInError("no such frame")
        stamped.transform.translation.x = 0.1
        stamped.transform.rotation.w = 1.0
        return stamped


class KeepingBuffer:
    """Keeps poses as tf's buffer does, whose rule is in tf2/src/time_cache.cpp: what is ten seconds older than the
    latest is ignored, and what is asked for must lie between the oldest and the latest. x is the time in seconds."""

    def __init__(self, node: Any) -> None:
        self.stamps_s: list[float] = []

    def came(self, stamp_s: float) -> None:
        if not self.stamps_s or stamp_s > max(self.stamps_s) - 10:
            self.stamps_s = [each for each in (*self.stamps_s, stamp_s) if each >= stamp_s - 10]

    def clear(self) -> None:
        self.stamps_s = []

    def lookup_transform(self, target_frame: str, source_frame: str, time: Any, timeout: Any) -> TransformStamped:
        stamp_s = time.nanoseconds / 1e9
        if not self.stamps_s or not min(self.stamps_s) <= stamp_s <= max(self.stamps_s):
            raise StandInError("extrapolation")
        stamped = TransformStamped()
        stamped.transform.translation.x, stamped.transform.rotation.w = stamp_s, 1.0
        return stamped


class StandInListener:
    """Counts who listens."""

    listening = 0

    def __init__(self, buffer: Any, node: Any) -> None:
        StandInListener.listening += 1


class StandInError(Exception):
    """tf2_ros.TransformException."""


@pytest.fixture
def tf2_ros(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in, in the place of the module."""
    module = ModuleType("tf2_ros")
    names = {"Buffer": StandInBuffer, "TransformListener": StandInListener, "TransformException": StandInError}
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    monkeypatch.setattr(StandInListener, "listening", 0)
    return module


@pytest.fixture
def started(tf2_ros: ModuleType) -> Tf:
    """A source that listens."""
    tf = Tf(node=None, call_in_executor=lambda function: function())
    tf.start()
    return tf


def test_tf_is_listened_to_from_the_first_question_on(tf2_ros: ModuleType) -> None:
    tf = Tf(node=None, call_in_executor=lambda function: function())
    assert StandInListener.listening == 0

    with pytest.raises(TransformError, match="'depth_frame' in 'camera_color_optical_frame' is not known yet"):
        tf.lookup("camera_color_optical_frame", "depth_frame", 5)
    pose = tf.lookup("camera_color_optical_frame", "depth_frame", 5)

    np.testing.assert_allclose(pose.translation_m, [0.1, 0, 0])
    assert StandInListener.listening == 1


def test_a_pose_is_asked_for_at_the_time_of_the_frame(started: Tf, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, int]] = []
    monkeypatch.setattr(
        StandInBuffer,
        "lookup_transform",
        lambda self, target, source, time, timeout: (
            asked.append((target, source, time.nanoseconds)) or TransformStamped()
        ),
    )
    started.lookup("camera_color_optical_frame", "depth_frame", 1_700_000_000_123_456_789)
    assert asked == [("camera_color_optical_frame", "depth_frame", 1_700_000_000_123_456_789)]


class StandInNode:
    """A node whose clock is that of the computer, or, where a time is given, a simulator's."""

    def __init__(self, simulated_s: float | None = None) -> None:
        self.simulated_s = simulated_s

    def get_clock(self) -> Any:
        now = Time(nanoseconds=round((self.simulated_s or 0.0) * 1e9))
        return SimpleNamespace(ros_time_is_active=self.simulated_s is not None, now=lambda: now)


@pytest.mark.parametrize(
    ("simulated", "lost"),
    [
        ("no", 1),  # the frame at which it is seen
        ("never set", 1),
        ("set back before the poses come", 0),  # tf's buffer empties itself then
    ],
)
def test_poses_are_known_again_when_a_recording_loops(
    simulated: str, lost: int, tf2_ros: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers: list[KeepingBuffer] = []
    monkeypatch.setattr(
        tf2_ros, "Buffer", lambda node: buffers.append(KeepingBuffer(node)) or buffers[-1], raising=True
    )
    node: Any = StandInNode(None if simulated == "no" else 0.0)
    tf = Tf(node, call_in_executor=lambda function: function())
    tf.start()
    known, clocked = [], simulated.startswith("set back")
    for stamp_s in [*range(100, 160), *range(100, 160)]:
        if clocked and node.simulated_s > stamp_s:
            buffers[0].clear()
        node.simulated_s = stamp_s if clocked else node.simulated_s
        for early_s in (0.0, 0.5):
            buffers[0].came(stamp_s + early_s)
        try:
            known.append(tf.lookup("map", "camera", round(stamp_s * 1e9) + 200_000_000).translation_m[0])
        except TransformError:
            known.append(None)
    assert known.count(None) == lost
    assert known[60 + lost :] == [stamp_s + 0.2 for stamp_s in range(100 + lost, 160)]


@pytest.mark.parametrize("late_ns", [-400_000_000, 0, 40_000_000])
def test_poses_are_kept_where_frames_come_a_little_out_of_order(
    started: Tf, monkeypatch: pytest.MonkeyPatch, late_ns: int
) -> None:
    monkeypatch.setattr(StandInBuffer, "clear", lambda self: pytest.fail("the poses are still needed"), raising=False)
    for stamp_ns in (100_000_000_000, 100_000_000_000 + late_ns, 0, 100_000_000_000):
        started.lookup("camera_color_optical_frame", "depth_frame", stamp_ns)


def test_a_pose_that_tf_does_not_know_is_named_with_tf_s_reason(started: Tf) -> None:
    with pytest.raises(TransformError, match="tf does not know the pose of 'a' in 'b': no such frame"):
        started.lookup("b", "a", 0)


def test_without_tf_the_reason_is_that_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)

    source = transforms_of(node=None, call_in_executor=lambda function: function())

    assert isinstance(source, NoTf)
    with pytest.raises(TransformError, match="tf2_ros is not installed"):
        source.lookup("a", "b", 0)


def send_with_depth_frame(stage: Any, frame: RgbdFrame, messages_of: Any) -> int:
    """Sends a frame whose depth comes in 'depth_frame', with the depth camera's CameraInfo."""
    frame = replace(frame, stamp_ns=stage.stamp_ns())
    info, color, _ = messages_of(frame)
    stamped = header(make_message, frame.stamp_ns, "depth_frame")
    for name, message in (
        ("color_info", info),
        ("depth_info", camera_info(make_message, stamped, frame.intrinsics)),
        ("color", color),
        ("depth", depth_image(make_message, stamped, frame.depth_m)),
    ):
        stage.probe.send(name, message)
    return frame.stamp_ns


def test_depth_in_another_frame_is_registered_through_tf(
    tf2_ros: ModuleType, make_stage: Callable[..., Any], make_frame: MakeFrame, messages_of: Any
) -> None:
    stage = make_stage()
    stage.start()
    stage.wait(lambda: stage.probe.subscribers("depth_info", CameraInfo), "the depth camera's subscription")

    first = stage.answer_to(send_with_depth_frame(stage, make_frame(), messages_of))
    assert "tf is listened to from now on" in first.status_text
    stage.wait(lambda: StandInListener.listening, "the listener")
    second = stage.answer_to(send_with_depth_frame(stage, make_frame(), messages_of))

    assert second.status == second.STATUS_OK, second.status_text
    assert second.instances


def test_depth_in_another_frame_without_tf_is_refused_with_the_cures(
    monkeypatch: pytest.MonkeyPatch, make_stage: Callable[..., Any], make_frame: MakeFrame, messages_of: Any
) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    stage = make_stage()
    stage.start()
    stage.wait(lambda: stage.probe.subscribers("depth_info", CameraInfo), "the depth camera's subscription")

    answer = stage.answer_to(send_with_depth_frame(stage, make_frame(), messages_of))

    assert "'depth_frame'" in answer.status_text
    assert "tf2_ros is not installed" in answer.status_text
    assert "align depth to colour" in answer.status_text


def test_depth_in_another_frame_is_registered_with_the_pose_of_the_parameter(
    make_stage: Callable[..., Any], make_frame: MakeFrame, messages_of: Any
) -> None:
    stage = make_stage(depth_camera_pose="0 0 0 0 0 0 1")
    stage.start()
    stage.wait(lambda: stage.probe.subscribers("depth_info", CameraInfo), "the depth camera's subscription")

    answer = stage.answer_to(send_with_depth_frame(stage, make_frame(), messages_of))

    assert len(answer.instances) == 2


def test_ids_are_kept_in_the_fixed_frame(
    tf2_ros: ModuleType, make_stage: Callable[..., Any], make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same picture from elsewhere is of other objects."""
    stage = make_stage(fixed_frame="room")
    stage.start()

    ids = []
    for x_m in (0.0, 0.0, 1.0, 1.0, 0.0):
        monkeypatch.setattr(StandInBuffer, "camera_in_room_x_m", x_m)
        answer = stage.answer_to(stage.send_frame(make_frame()))
        assert answer.status == answer.STATUS_OK, answer.status_text
        ids.append([each.track_id for each in answer.instances])

    assert ids == [[1, 2], [1, 2], [3, 4], [3, 4], [1, 2]]


@pytest.mark.parametrize(
    ("parameter", "frame_id", "part", "work"),
    [("fixed_frame", "room", "grasp_sampler", "sample"), ("level_frame", "behind", "segmenter", "segment")],
)
def test_a_pose_that_arrives_while_the_frame_is_at_work_is_in_time(
    parameter: str,
    frame_id: str,
    part: str,
    work: str,
    tf2_ros: ModuleType,
    make_stage: Callable[..., Any],
    make_frame: MakeFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = make_stage(**{parameter: frame_id})
    stage.start()
    worker, arrived = getattr(stage.node._pipeline, part), []
    do, look = getattr(worker, work), StandInBuffer.lookup_transform
    monkeypatch.setattr(worker, work, lambda *of: arrived.append(True) or do(*of))

    def late(*asked: Any) -> TransformStamped:
        if not arrived:
            raise StandInError("extrapolation into the future")
        return look(*asked)

    monkeypatch.setattr(StandInBuffer, "lookup_transform", late)

    answer = stage.answer_to(stage.send_frame(make_frame()))

    assert answer.status == answer.STATUS_OK, answer.status_text
    assert len(answer.instances) == 2 and answer.has_support_plane
    assert not stage.log_lines("extrapolation")


def test_a_frame_without_its_pose_in_the_fixed_frame_is_refused(
    tf2_ros: ModuleType, make_stage: Callable[..., Any], make_frame: MakeFrame
) -> None:
    stage = make_stage(fixed_frame="map")
    stage.start()

    answer = stage.answer_to(stage.send_frame(make_frame()))

    assert "tf does not know the pose of 'camera_color_optical_frame' in 'map'" in answer.status_text


def test_aligned_depth_that_names_the_depth_cameras_frame_is_not_registered_a_second_time(
    make_stage: Callable[..., Any], make_frame: MakeFrame, messages_of: Any
) -> None:
    pytest.importorskip("tf2_ros")  # the real one
    from tf2_msgs.msg import TFMessage

    stage = make_stage()
    stage.start()
    aside = TransformStamped(header=Header(frame_id="camera_color_optical_frame"), child_frame_id="depth_frame")
    aside.transform.translation.x, aside.transform.rotation.w = 0.05, 1.0
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    stage.probe.create_publisher(TFMessage, "/tf_static", latched).publish(TFMessage(transforms=[aside]))
    stage.wait(lambda: stage.probe.subscribers("depth_info", CameraInfo), "the depth camera's subscription")
    right = stage.answer_to(stage.send_frame(make_frame()))

    answers = []

    def is_answered() -> bool:
        answers.append(stage.answer_to(send_with_depth_frame(stage, make_frame(), messages_of)))
        return bool(answers[-1].status == answers[-1].STATUS_OK)

    stage.wait(is_answered, "the pose from tf")

    x_m, right_x_m = ([each.surface_centroid.x for each in answer.instances] for answer in (answers[-1], right))
    assert len(x_m) == 2 and x_m == pytest.approx(right_x_m, abs=1e-4)
    stage.wait(lambda: stage.log_lines("it was aligned to colour already"), "the log line")


@pytest.mark.parametrize(
    ("level_frame", "on_plane", "told"),
    [
        ("behind", True, None),  # the table faces the camera
        ("ahead", False, "is the z axis of level_frame 'ahead' up?"),
        ("nowhere", True, "no such frame; supports are found without the way up"),
    ],
)
def test_supports_are_level_by_the_level_frame_and_what_cannot_be_is_told(
    tf2_ros: ModuleType,
    make_stage: Callable[..., Any],
    make_frame: MakeFrame,
    level_frame: str,
    on_plane: bool,
    told: str | None,
) -> None:
    stage = make_stage(level_frame=level_frame)
    stage.start()

    answer = stage.answer_to(stage.send_frame(make_frame()))

    assert answer.status == answer.STATUS_OK, answer.status_text
    assert answer.has_support_plane is on_plane
    if told is None:
        assert not stage.log_lines("level_frame")
    else:
        stage.wait(lambda: stage.log_lines(told), "what the log says of it")


def test_up_is_the_z_axis_of_the_level_frame_as_the_camera_sees_it(
    tf2_ros: ModuleType, make_stage: Callable[..., Any], make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    up, lift = [], Lifter.lift

    def noted(self: Lifter, frame: RgbdFrame, *instances: Any) -> LiftedFrame:
        up.append(frame.up)
        return lift(self, frame, *instances)

    monkeypatch.setattr(Lifter, "lift", noted)
    stage = make_stage(level_frame="askew")
    stage.start()
    stage.answer_to(stage.send_frame(make_frame()))
    # The last row of the camera's turn in that frame; its last column would be the optical axis there.
    np.testing.assert_allclose(up, [np.array([-28, 64, 41]) / 81], atol=1e-12)


def test_no_level_frame_is_doubted_where_supports_are_not_looked_for(
    tf2_ros: ModuleType, make_stage: Callable[..., Any], make_frame: MakeFrame
) -> None:
    stage = make_stage(level_frame="behind", lifting__use_support_plane=False)
    stage.start()

    for _ in range(2):  # what is odd of a frame is told after its answer, and before the next one
        answer = stage.answer_to(stage.send_frame(make_frame()))

    assert answer.instances and not answer.has_support_plane
    assert not stage.log_lines("level_frame")
