"""The service `record`: the last seconds as one file, which `instance-seg bag` replays to the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from geometry_msgs.msg import Point32
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from instance_seg_ros.bags.recording import read_settings
from instance_seg_ros.bags.storage import opened_bag
from instance_seg_ros.commands.main import main
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.gripper_files import PRESET_FOLDER
from instance_seg_ros.core.settings import SettingValue
from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.messages.types import load_typestore
from instance_seg_ros.msg import Grasp, Instance, InstanceArray, Shape
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.ros.node import InstanceSegNode
from instance_seg_ros.ros.params import Configuration, changed
from instance_seg_ros.ros.recorder import Recorder
from instance_seg_ros.ros.settings import NodeSettings, settings_of
from instance_seg_ros.ros.transforms import NoTf, TransformError

MakeFrame = Callable[..., RgbdFrame]
FRAMES = 3


def messages_on(path: Path, topic: str) -> list[Any]:
    typestore = load_typestore()
    with opened_bag(path) as bag:
        return [typestore.deserialize_cdr(message.raw, message.connection.msgtype) for message in bag.messages({topic})]


def numbers(answer: Any) -> list[Any]:
    """All that a frame's instances are, but for their identities and the time that it took."""
    return [
        (
            instance.label,
            instance.score,
            bytes(memoryview(instance.mask.data)),
            repr(instance.centroid),
            repr(instance.box),
            repr(instance.grasps),
            instance.status,
        )
        for instance in answer.instances
    ]


@pytest.fixture
def recorded(make_stage: Callable[..., Any], make_frame: MakeFrame, block_model_path: Path, tmp_path: Path) -> Path:
    """What the node of a small network wrote after a few frames, set in an unusual way."""
    stage = make_stage(
        Pipeline.from_settings,
        model_path=str(block_model_path),
        record_folder=str(tmp_path / "recordings"),
        segmentation__backend="onnxruntime",  # which one is the fastest may change between a recording and its replay
        lifting__mask_erosion_px=1,
        gripper__max_opening_m=0.2,
        depth_camera_pose="0 0 0 0 0 0 1",
    )
    stage.start()
    for _ in range(FRAMES):
        stage.probe.send("depth_info", camera_info_of(stage, make_frame()))
        stage.answer_to(stage.send_frame(make_frame()))
    answer = stage.call(Trigger, "record", Trigger.Request())
    assert answer.success, answer.message
    [path] = (tmp_path / "recordings").iterdir()
    assert answer.message.startswith(str(path)) and path.suffix == ".mcap"
    assert stage.log_lines(f"record: {path}")
    return path


def camera_info_of(stage: Any, frame: RgbdFrame) -> Any:
    from instance_seg_ros.messages.camera import camera_info
    from instance_seg_ros.messages.outgoing import header
    from instance_seg_ros.ros.convert import make_message

    return camera_info(make_message, header(make_message, stage.stamp_ns(), frame.frame_id), frame.intrinsics)


def test_a_recording_is_replayed_to_the_same_numbers(
    recorded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["bag", str(recorded), "--out", str(tmp_path / "again"), "--as-recorded"]) == 0

    told = capfd.readouterr().out
    assert "settings as recorded\n" in told
    then = messages_on(recorded, "/instance_seg/instances")
    now = messages_on(tmp_path / "again", "/instance_seg/instances")
    assert [answer.header.stamp for answer in now] == [answer.header.stamp for answer in then]
    assert len(then) == FRAMES and all(len(answer.instances) == 2 for answer in then)
    assert [numbers(answer) for answer in now] == [numbers(answer) for answer in then]


@pytest.mark.parametrize("level_frame", ["base", "map"])
def test_a_recording_holds_the_poses_that_its_frames_were_answered_with(
    level_frame: str,
    make_stage: Callable[..., Any],
    make_frame: MakeFrame,
    block_model_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The camera looks at a wall, which supports nothing where the way up is known, and moves by 2 cm a frame."""
    asked: list[tuple[str, int]] = []

    def lookup(self: NoTf, target: str, source: str, stamp_ns: int) -> Transform:
        asked.append((target, stamp_ns))
        moved_m = 0.02 * len({stamp for _, stamp in asked})
        return Transform(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.0, moved_m, 0.5]))

    monkeypatch.setattr(NoTf, "lookup", lookup)
    monkeypatch.setattr(InstanceSegNode, "_require_tf", lambda *_: None)
    stage = make_stage(
        Pipeline.from_settings,
        model_path=str(block_model_path),
        record_folder=str(tmp_path / "recordings"),
        segmentation__backend="onnxruntime",
        fixed_frame="map",
        level_frame=level_frame,
    )
    stage.start()
    for _ in range(FRAMES):
        stage.answer_to(stage.send_frame(make_frame()))
    assert stage.call(Trigger, "record", Trigger.Request()).success
    [path] = (tmp_path / "recordings").iterdir()
    assert main(["bag", str(path), "--out", str(tmp_path / "again"), "--as-recorded"]) == 0
    assert "settings as recorded\n" in capfd.readouterr().out
    then, now = (messages_on(file, "/instance_seg/instances") for file in (path, tmp_path / "again"))
    assert [[each.status for each in answer.instances] for answer in now] == [
        [each.status for each in answer.instances] for answer in then
    ]
    assert all(each.status & each.STATUS_NO_SUPPORT_PLANE for answer in then for each in answer.instances)
    tracks = [[each.track_id for each in answer.instances] for answer in then]
    assert [[each.track_id for each in answer.instances] for answer in now] == tracks
    transforms = [transform for message in messages_on(path, "/tf") for transform in message.transforms]
    level = [] if level_frame == "map" else [("camera_color_optical_frame", level_frame)]
    assert [(each.header.frame_id, each.child_frame_id) for each in transforms] == [
        *level,
        ("map", "camera_color_optical_frame"),
    ] * FRAMES
    assert sorted({stamp_ns_of(each.header) for each in transforms}) == sorted({stamp_ns for _, stamp_ns in asked})


def test_a_replay_answers_the_frames_that_the_node_answered(
    make_stage: Callable[..., Any],
    make_frame: MakeFrame,
    block_model_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """tf did not know the pose of the second of four."""
    stamps_ns: list[int] = []

    def lookup(self: NoTf, target: str, source: str, stamp_ns: int) -> Transform:
        stamps_ns.append(stamp_ns)
        if len(stamps_ns) == 2:
            raise TransformError("not known yet")
        return Transform.identity()

    monkeypatch.setattr(NoTf, "lookup", lookup)
    monkeypatch.setattr(InstanceSegNode, "_require_tf", lambda *_: None)
    stage = make_stage(
        Pipeline.from_settings,
        model_path=str(block_model_path),
        record_folder=str(tmp_path / "recordings"),
        segmentation__backend="onnxruntime",
        fixed_frame="map",
    )
    stage.start()
    for _ in range(4):
        stage.answer_to(stage.send_frame(make_frame()))
    assert stage.call(Trigger, "record", Trigger.Request()).success
    [path] = (tmp_path / "recordings").iterdir()
    assert main(["bag", str(path), "--out", str(tmp_path / "again"), "--as-recorded"]) == 0
    assert "lost 1 frame(s): the pose of 'camera_color_optical_frame' in 'map'" in capfd.readouterr().out
    answers = messages_on(tmp_path / "again", "/instance_seg/instances")
    assert [stamp_ns_of(answer.header) for answer in answers] == [stamps_ns[index] for index in (0, 2, 3)]


def test_a_recording_holds_the_values_of_the_gripper_s_file_of_then(
    make_stage: Callable[..., Any], make_frame: MakeFrame, tmp_path: Path
) -> None:
    gripper, shipped = tmp_path / "mine.yaml", (PRESET_FOLDER / "parallel_80mm.yaml").read_text()
    gripper.write_text(shipped)
    stage = make_stage(record_folder=str(tmp_path / "recordings"), gripper__preset=str(gripper), gripper__force_n=7.0)
    stage.start()
    stage.answer_to(stage.send_frame(make_frame()))
    for transition in (stage.node.trigger_deactivate, stage.node.trigger_cleanup):
        assert transition() == TransitionCallbackReturn.SUCCESS
    gripper.write_text(shipped.replace("max_opening_m: 0.08", "max_opening_m: 0.0612"))
    stage.start()
    assert stage.call(Trigger, "record", Trigger.Request()).success
    [path] = (tmp_path / "recordings").iterdir()
    settings = read_settings(path)
    assert settings is not None
    assert settings.parameters["gripper.max_opening_m"] == 0.0612
    assert settings.parameters["gripper.force_n"] == 7.0
    assert settings.changed == {"gripper.max_opening_m": [0.08]}


def test_without_the_recorded_settings_that_is_said(
    recorded: Path, tmp_path: Path, block_model_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path / "other"), "--model", str(block_model_path)]
    assert main(["bag", str(recorded), *options]) == 0
    assert "--as-recorded takes them in place of the options" in capfd.readouterr().out


def test_of_a_node_that_knew_the_way_up_other_numbers_are_announced(
    recorded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(recorded)
    assert settings is not None
    levelled = replace(settings, parameters={**settings.parameters, "level_frame": "base_link"})
    monkeypatch.setattr("instance_seg_ros.commands.bag.read_settings", lambda path: levelled)
    assert main(["bag", str(recorded), "--out", str(tmp_path / "again"), "--as-recorded"]) == 0
    assert "numbers may differ: the camera's poses in level_frame 'base_link' are not in IN" in capfd.readouterr().out


def test_settings_that_changed_within_a_recording_are_announced(
    make_stage: Callable[..., Any],
    make_frame: MakeFrame,
    block_model_path: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stage = make_stage(
        Pipeline.from_settings,
        model_path=str(block_model_path),
        record_folder=str(tmp_path / "recordings"),
        segmentation__backend="onnxruntime",
    )
    stage.start()
    for pixels in (1, 3, 0):
        stage.answer_to(stage.send_frame(make_frame()))
        assert stage.node.set_parameters_atomically([Parameter("lifting.mask_erosion_px", value=pixels)]).successful
    assert stage.call(Trigger, "record", Trigger.Request()).success
    [path] = (tmp_path / "recordings").iterdir()
    capfd.readouterr()
    assert main(["bag", str(path), "--out", str(tmp_path / "again"), "--as-recorded"]) == 0
    assert (
        "numbers may differ: lifting.mask_erosion_px was 2, then 1, then 3 in earlier frames of IN, is 0"
        in capfd.readouterr().out
    )


@pytest.mark.parametrize(
    ("name", "value", "before"),
    [
        ("model_path", "other.onnx", ""),
        ("fixed_frame", "map", ""),
        ("level_frame", "map", ""),
        ("rectified_inputs", True, False),
        ("sync_tolerance_s", 0.5, 0.025),
        ("depth_camera_pose", "0 0 0 0 0 0 1", ""),
        ("lifting.mask_erosion_px", 3, 2),
        ("input_timeout_s", 9.0, None),
        ("record_seconds", 9.0, None),
    ],
)
def test_settings_that_change_while_a_node_rests_are_named_where_they_change_numbers(
    name: str, value: SettingValue, before: SettingValue | None
) -> None:
    named = changed(Configuration(*settings_of({})), Configuration(*settings_of({name: value})))
    assert named == ({} if before is None else {name: before})


def test_settings_that_changed_before_a_recording_begins_are_not_of_it() -> None:
    seconds = 60.0
    recorder = Recorder(lambda: NodeSettings(record_seconds=seconds))
    recorder.take_change({"lifting.min_points": 10})
    recorder.take("/image", SimpleNamespace(data=bytes(1000)))
    assert recorder.changed() == {}
    recorder.take_change({"lifting.min_points": 20})
    assert recorder.changed() == {"lifting.min_points": [20]}
    seconds = 0.0
    recorder.take("/image", SimpleNamespace(data=bytes(1000)))
    assert recorder.changed() == {}


@pytest.mark.parametrize(
    ("fixed", "level", "told"),
    [
        ("map", "base", {("map", "camera"), ("camera", "base")}),
        ("odom", "", {("odom", "camera")}),
        ("base", "base", {("base", "camera")}),
        ("", "base", {("camera", "base")}),
        ("", "", set()),
    ],
)
def test_a_recording_holds_poses_in_the_frames_of_now_and_each_frame_has_one_parent(
    fixed: str, level: str, told: set[tuple[str, str]], tmp_path: Path
) -> None:
    settings = NodeSettings(record_folder=str(tmp_path), fixed_frame=fixed, level_frame=level)
    recorder = Recorder(lambda: settings)
    recorder.take("/image", Image())
    pairs = [("map", "camera"), ("odom", "camera"), ("base", "camera"), ("camera", "base"), ("camera", "camera")]
    for frames in pairs:
        recorder.take_pose(0, frames, Transform.identity())
    path, _ = recorder.write(SimpleNamespace(get_name=lambda: "node"), "", (), None)
    transforms = [transform for message in messages_on(path, "/tf") for transform in message.transforms]
    assert {(each.header.frame_id, each.child_frame_id) for each in transforms} == told


def test_a_recording_holds_the_poses_of_a_whole_minute(tmp_path: Path) -> None:
    recorder = Recorder(lambda: NodeSettings(record_folder=str(tmp_path), record_seconds=60.0, fixed_frame="map"))
    recorder.take("/image", Image())
    for stamp_ns in range(30 * 60):
        recorder.take_pose(stamp_ns, ("map", "camera"), Transform.identity())
    path, _ = recorder.write(SimpleNamespace(get_name=lambda: "node"), "", (), None)
    assert len(messages_on(path, "/tf")) == 30 * 60


@pytest.mark.parametrize("during", [False, True], ids=["both before", "the other one goes on"])
def test_a_recording_holds_the_camera_info_of_each_camera_that_sent_it_before(
    make_stage: Callable[..., Any],
    make_frame: MakeFrame,
    messages_of: Callable[..., Any],
    tmp_path: Path,
    during: bool,
) -> None:
    stage = make_stage(record_folder=str(tmp_path), record_seconds=0.0)
    stage.start()
    own = camera_info_of(stage, make_frame())
    other = camera_info_of(stage, replace(make_frame(), frame_id="another_camera"))
    stage.probe.send("color_info", own)
    stage.probe.send("color_info", other)
    stage.wait(lambda: len(stage.node._camera_infos.color) == 2, "both infos")
    assert stage.node.set_parameters_atomically([Parameter("record_seconds", value=60.0)]).successful
    if during:
        stage.probe.send("color_info", other)
    frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
    _, color, depth = messages_of(frame)
    stage.probe.send("color", color)
    stage.probe.send("depth", depth)
    assert len(stage.answer_to(frame.stamp_ns).instances) == 2
    assert stage.call(Trigger, "record", Trigger.Request()).success
    [path] = tmp_path.glob("*.mcap")
    infos = messages_on(path, "/instance_seg/color/camera_info")
    assert sorted(info.header.frame_id for info in infos) == sorted(["another_camera", frame.frame_id])


def test_a_recording_names_every_parameter_and_the_model(recorded: Path, block_model_path: Path) -> None:
    settings = read_settings(recorded)
    assert settings is not None
    assert settings.parameters["model_path"] == str(block_model_path)
    assert (settings.pipeline.lifting.mask_erosion_px, settings.pipeline.gripper.max_opening_m) == (1, 0.2)
    assert settings.inputs["color"] == "/instance_seg/color/image_raw"
    assert set(settings.model) == {"name", "version", "digest", "backend"}


def test_nothing_to_write_is_said(make_stage: Callable[..., Any], tmp_path: Path) -> None:
    stage = make_stage(record_folder=str(tmp_path))
    answer = stage.call(Trigger, "record", Trigger.Request())
    assert (answer.success, list(tmp_path.iterdir())) == (False, [])
    assert "no message came in the last seconds" in answer.message


def test_a_folder_that_cannot_be_written_is_said(
    make_stage: Callable[..., Any], make_frame: MakeFrame, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    stage = make_stage(record_folder=str(tmp_path / "file" / "in_it"))
    stage.start()
    stage.answer_to(stage.send_frame(make_frame()))
    answer = stage.call(Trigger, "record", Trigger.Request())
    assert not answer.success
    assert "nothing was written" in answer.message and "file" in answer.message


@pytest.mark.parametrize(("megabytes", "kept"), [(10, 6), (3, 2), (0, 0)])
def test_the_oldest_messages_are_let_go_beyond_the_limit_of_memory(megabytes: int, kept: int) -> None:
    recorder = Recorder(lambda: NodeSettings(record_megabytes=megabytes))
    for _ in range(6):
        recorder.take("/image", SimpleNamespace(data=bytes(1_200_000)))
    assert recorder.megabytes == pytest.approx(1.202 * kept, abs=0.01)


def test_grasps_and_shapes_count_for_the_limit_of_memory() -> None:
    recorder = Recorder(NodeSettings)
    shape = Shape(vertices=[Point32()] * 1000)
    instances = [Instance(grasps=[Grasp()] * 9, shape=shape) for _ in range(10)]
    recorder.take("/instances", InstanceArray(instances=instances))
    assert recorder.megabytes == pytest.approx(101 * 0.002 + 10 * 1000 * 130e-6)


def test_the_oldest_messages_are_let_go_after_their_time_also_where_the_computers_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock_ns, steady_ns = 1_700_000_000_000_000_000, 5_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: clock_ns)
    monkeypatch.setattr("time.monotonic_ns", lambda: steady_ns)
    recorder = Recorder(lambda: NodeSettings(record_seconds=5.0))
    for _ in range(60):
        recorder.take("/image", SimpleNamespace(data=bytes(1000)))
        steady_ns += 1_000_000_000
        clock_ns -= 60_000_000_000
    assert recorder.megabytes == pytest.approx(5 * 0.003)


def test_the_oldest_messages_are_let_go_after_their_time() -> None:
    seconds = 60.0
    recorder = Recorder(lambda: NodeSettings(record_seconds=seconds))
    for _ in range(6):
        recorder.take("/image", SimpleNamespace(data=bytes(1000)))
    seconds = 0.0
    recorder.take("/image", SimpleNamespace(data=bytes(1000)))
    assert recorder.megabytes == 0
