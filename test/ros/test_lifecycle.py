"""Lifecycle, parameters and services of the node, through real services."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy import parameter
from sensor_msgs.msg import CompressedImage, RegionOfInterest
from std_srvs.srv import SetBool
from visualization_msgs.msg import Marker

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.gripper_files import PRESET_FOLDER
from instance_seg_ros.core.parameters import PipelineSettings
from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.srv import Segment

MakeStage = Callable[..., Any]
MakeFrame = Callable[..., RgbdFrame]


def change(stage: Any, transition: int) -> bool:
    """Asks for a transition over its service."""
    request = ChangeState.Request(transition=Transition(id=transition))
    return stage.call(ChangeState, "change_state", request).success


def state(stage: Any) -> str:
    """The state that the node's service tells."""
    return stage.call(GetState, "get_state", GetState.Request()).current_state.label


def set_parameter(stage: Any, name: str, value: ParameterValue) -> Any:
    """Sets a parameter over its service."""
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    return stage.call(SetParameters, "set_parameters", request).results[0]


def double(value: float) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)


def text(value: str) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)


def boolean(value: bool) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)


def integer(value: int) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)


def test_a_node_that_is_deactivated_takes_its_markers_away(stage: Any, make_frame: MakeFrame) -> None:
    markers = stage.probe.received["markers"]
    stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: markers, "markers of the frame")
    assert len(markers[-1].markers) > 1
    change(stage, Transition.TRANSITION_DEACTIVATE)
    stage.wait(lambda: len(markers[-1].markers) == 1, "markers that take those of the frame away")
    assert markers[-1].markers[0].action == Marker.DELETEALL


def test_markers_live_until_a_silent_input_and_a_frame_at_work_are_reported(stage: Any, make_frame: MakeFrame) -> None:
    markers = stage.probe.received["markers"]
    for seconds in (2.0, 31.5):
        assert set_parameter(stage, "input_timeout_s", double(seconds)).successful
        known = len(markers)
        stage.answer_to(stage.send_frame(make_frame()))
        stage.wait(lambda known=known: len(markers) > known, "markers of the frame")
        assert markers[-1].markers[1].lifetime.sec + markers[-1].markers[1].lifetime.nanosec / 1e9 == seconds + 5


def test_a_node_that_is_disabled_takes_its_markers_away(stage: Any, make_frame: MakeFrame) -> None:
    markers = stage.probe.received["markers"]
    stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: markers, "markers of the frame")
    assert stage.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
    stage.wait(
        lambda: [each.action for each in markers[-1].markers] == [Marker.DELETEALL], "markers that take those away"
    )


def test_a_node_that_is_disabled_while_a_frame_is_drawn_takes_its_markers_away(
    stage: Any, make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    markers, outputs = stage.probe.received["markers"], stage.node._outputs
    draw = outputs.publish_pictures

    def draw_after_all(*scene: Any) -> None:
        disabled = parameter.Parameter("enabled", value=False)
        assert stage.node.set_parameters_atomically([disabled]).successful
        draw(*scene)

    monkeypatch.setattr(outputs, "publish_pictures", draw_after_all)
    stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: len(markers) == 3, "markers of the frame, between those that take markers away")
    assert [len(each.markers) > 1 for each in markers] == [False, True, False]


def test_a_frame_that_cannot_be_used_takes_the_markers_of_the_one_before_away(
    stage: Any, make_frame: MakeFrame, messages_of: Any
) -> None:
    markers = stage.probe.received["markers"]
    stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: markers, "markers of the frame")
    info, color, depth = messages_of(replace(make_frame(), stamp_ns=stage.stamp_ns()))
    color.data = color.data[:100]
    for name, message in (("color_info", info), ("color", color), ("depth", depth)):
        stage.probe.send(name, message)
    assert not stage.answer_to(stamp_ns_of(color.header)).instances
    stage.wait(
        lambda: [each.action for each in markers[-1].markers] == [Marker.DELETEALL], "markers that take those away"
    )


def test_the_node_goes_through_its_whole_life_twice(make_stage: MakeStage, make_frame: MakeFrame) -> None:
    stage = make_stage()
    assert state(stage) == "unconfigured"
    for _ in range(2):
        assert change(stage, Transition.TRANSITION_CONFIGURE)
        assert state(stage) == "inactive"
        assert stage.node.count_subscribers("/instance_seg/color/image_raw") == 0
        assert change(stage, Transition.TRANSITION_ACTIVATE)
        stage.wait(lambda: stage.connected(), "the connections")
        assert len(stage.answer_to(stage.send_frame(make_frame())).instances) == 2
        assert change(stage, Transition.TRANSITION_DEACTIVATE)
        assert stage.node.count_subscribers("/instance_seg/color/image_raw") == 0
        assert change(stage, Transition.TRANSITION_CLEANUP)
    assert change(stage, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert state(stage) == "finalized"


def test_a_gripper_s_file_is_read_again_when_the_node_is_configured_anew(
    make_stage: MakeStage, blob_pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    path, shipped = tmp_path / "mine.yaml", (PRESET_FOLDER / "parallel_80mm.yaml").read_text()
    built: list[float] = []

    def build(settings: PipelineSettings, *args: Any) -> Pipeline:
        built.append(settings.gripper.max_opening_m)
        return blob_pipeline(settings, *args)

    path.write_text(shipped)
    stage = make_stage(build, gripper__preset=str(path))
    assert change(stage, Transition.TRANSITION_CONFIGURE)
    assert change(stage, Transition.TRANSITION_CLEANUP)
    path.write_text(shipped.replace("max_opening_m: 0.08", "max_opening_m: 0.0612"))
    assert change(stage, Transition.TRANSITION_CONFIGURE)
    assert built == [0.08, 0.0612]
    assert change(stage, Transition.TRANSITION_CLEANUP)
    path.write_text("no gripper")
    assert not change(stage, Transition.TRANSITION_CONFIGURE)
    assert stage.log_lines(f"cannot configure: the gripper file {path} must have exactly")


def test_a_node_that_ends_is_not_configured_any_more(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.node.close()
    assert stage.node.trigger_configure().name == "FAILURE"


def test_shutdown_while_active_ends_everything(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.start()

    assert change(stage, Transition.TRANSITION_ACTIVE_SHUTDOWN)

    assert state(stage) == "finalized"
    assert stage.node.count_subscribers("/instance_seg/color/image_raw") == 0


@pytest.mark.parametrize(
    "transition", [Transition(id=Transition.TRANSITION_ACTIVATE), Transition(label="activate"), Transition(id=200)]
)
def test_an_impossible_transition_is_refused_and_the_node_lives_on(
    transition: Transition, make_stage: MakeStage
) -> None:
    stage = make_stage()

    assert not stage.call(ChangeState, "change_state", ChangeState.Request(transition=transition)).success

    named = transition.label or transition.id
    assert stage.log_lines(f"transition {named} is not possible while unconfigured")
    assert change(stage, Transition.TRANSITION_CONFIGURE)


def test_a_missing_model_is_a_clear_error_and_the_node_stays_unconfigured(
    make_stage: MakeStage, tmp_path: Path
) -> None:
    absent = tmp_path / "absent.onnx"
    stage = make_stage(Pipeline.from_settings, model_path=str(absent))

    assert not change(stage, Transition.TRANSITION_CONFIGURE)

    assert state(stage) == "unconfigured"
    assert stage.log_lines(f"cannot configure: cannot read the model file {absent}")
    stage.wait(lambda: stage.probe.status("model"), "the diagnostics")
    status = stage.probe.status("model")
    assert status.level == DiagnosticStatus.ERROR
    assert str(absent) in status.message


def test_a_damaged_model_is_refused_and_a_whole_one_taken_afterwards(
    make_stage: MakeStage, make_frame: MakeFrame, block_model_path: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(block_model_path.read_bytes()[:-20])
    stage = make_stage(Pipeline.from_settings, model_path=str(damaged))

    assert not change(stage, Transition.TRANSITION_CONFIGURE)
    assert state(stage) == "unconfigured"
    assert stage.log_lines("cannot configure")

    assert set_parameter(stage, "model_path", text(str(block_model_path))).successful
    stage.start()
    assert len(stage.answer_to(stage.send_frame(make_frame())).instances) == 2


def test_autostart_activates(make_stage: MakeStage, make_frame: MakeFrame) -> None:
    stage = make_stage()

    stage.node.autostart()

    assert state(stage) == "active"


def test_without_autostart_the_node_waits_for_its_manager(make_stage: MakeStage) -> None:
    stage = make_stage(autostart=False)

    stage.node.autostart()

    assert state(stage) == "unconfigured"


def test_a_fixed_frame_without_tf_is_refused_at_configure(make_stage: MakeStage) -> None:
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        stage = make_stage(fixed_frame="map")
        assert not change(stage, Transition.TRANSITION_CONFIGURE)
        assert stage.log_lines("fixed_frame is 'map' but tf2_ros is not installed")
    else:
        pytest.skip("tf2_ros is installed here")


# ---- Parameters ----


def test_a_parameter_takes_effect_on_the_next_frame(stage: Any, make_frame: MakeFrame) -> None:
    assert stage.answer_to(stage.send_frame(make_frame())).instances[0].points_kept > 100
    track_ids = [instance.track_id for instance in stage.probe.answers[0].instances]

    assert set_parameter(stage, "lifting.min_points", integer(100_000)).successful

    answer = stage.answer_to(stage.send_frame(make_frame()))
    assert all(instance.status_text for instance in answer.instances)
    assert [instance.track_id for instance in answer.instances] == track_ids


def ids_of(stage: Any, make_frame: MakeFrame) -> list[int]:
    return [instance.track_id for instance in stage.answer_to(stage.send_frame(make_frame())).instances]


def test_ids_survive_a_change_of_the_tracking_settings(stage: Any, make_frame: MakeFrame) -> None:
    before = ids_of(stage, make_frame)

    assert set_parameter(stage, "tracking.max_missed_frames", integer(3)).successful

    assert ids_of(stage, make_frame) == before


def test_a_node_that_was_configured_anew_uses_no_id_twice(stage: Any, make_frame: MakeFrame) -> None:
    before = ids_of(stage, make_frame)

    assert change(stage, Transition.TRANSITION_DEACTIVATE)
    assert change(stage, Transition.TRANSITION_CLEANUP)
    stage.start()

    assert set(ids_of(stage, make_frame)).isdisjoint(before)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("grasping.friction", double(9.0), "grasping.friction"),
        ("grasping.closing_axis", text("z"), "closing_axis must be one of x, y, not 'z'"),
        ("depth_camera_pose", text("1 2 3"), "depth_camera_pose must be 'x y z qx qy qz qw'"),
        ("model_path", text("other.onnx"), "model_path takes effect at configure and the node is active"),
        ("fixed_frame", text("map"), "fixed_frame takes effect at configure and the node is active"),
        ("segmentation.threads", integer(2), "segmentation.threads takes effect at configure"),
        ("color_transport", text("compressed"), "color_transport takes effect at activate and the node is active"),
        ("depth_transport", text("compressedDepth"), "depth_transport takes effect at activate"),
        ("input_reliability", text("reliable"), "input_reliability takes effect at activate"),
        ("rectified_inputs", boolean(True), "rectified_inputs takes effect at activate"),
        ("sync_tolerance_s", double(0.1), "sync_tolerance_s takes effect at activate and the node is active"),
        ("autostart", boolean(False), "read-only"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_with_the_reason(
    stage: Any, name: str, value: ParameterValue, reason: str
) -> None:
    result = set_parameter(stage, name, value)

    assert not result.successful
    assert reason in result.reason


def test_every_parameter_describes_itself_with_its_range(make_stage: MakeStage) -> None:
    stage = make_stage()
    names = ["lifting.min_points", "grasping.friction"]

    described = stage.call(DescribeParameters, "describe_parameters", DescribeParameters.Request(names=names))

    points, friction = described.descriptors
    assert "without a 3D position" in points.description
    assert (points.integer_range[0].from_value, points.integer_range[0].to_value) == (10, 100_000)
    assert friction.floating_point_range[0].to_value == 2.0


def test_a_start_value_out_of_range_is_refused_with_its_name(make_stage: MakeStage) -> None:
    with pytest.raises(Exception, match="sync_tolerance_s"):
        make_stage(sync_tolerance_s=-1.0)


def test_compressed_inputs(make_stage: MakeStage, make_frame: MakeFrame, compressed_messages_of: Any) -> None:
    stage = make_stage(color_transport="compressed", depth_transport="compressedDepth")
    stage.start(color=CompressedImage, depth=CompressedImage)

    stamp_ns, messages = compressed_messages_of(make_frame(), stage.stamp_ns())
    for name, message in messages:
        stage.probe.send(name, message)

    assert len(stage.answer_to(stamp_ns).instances) == 2


def test_depth_as_a_plain_png_on_the_compressed_topic(
    make_stage: MakeStage, make_frame: MakeFrame, compressed_messages_of: Any
) -> None:
    stage = make_stage(color_transport="compressed", depth_transport="compressed")
    camera = stage.probe.create_publisher(CompressedImage, "/instance_seg/depth/image_raw/compressed", 10)
    stage.start(color=CompressedImage, depth=None)
    stage.wait(camera.get_subscription_count, "the subscription to depth")

    stamp_ns, (info, color, (_, depth)) = compressed_messages_of(make_frame(), stage.stamp_ns())
    for name, message in (info, color):
        stage.probe.send(name, message)
    camera.publish(CompressedImage(header=depth.header, format="png", data=bytes(depth.data[12:])))

    assert len(stage.answer_to(stamp_ns).instances) == 2


# ---- Services ----


def test_disabled_means_no_answers_until_enabled_again(stage: Any, make_frame: MakeFrame) -> None:
    assert stage.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
    ignored_ns = stage.send_frame(make_frame())
    # The pair is complete in the node before it is asked for its state again: one executor serves both in order.
    stage.wait(lambda: stage.pairs() == 1, "the pair")
    assert stage.call(SetBool, "set_enabled", SetBool.Request(data=True)).success

    stage.answer_to(stage.send_frame(make_frame()))
    assert stage.probe.answer(ignored_ns) is None


def segment_while_sending(stage: Any, make_frame: MakeFrame, request: Segment.Request) -> Segment.Response:
    """Calls `segment` and sends frames until it answers."""
    client = stage.probe.create_client(Segment, "/instance_seg/segment")
    stage.wait(client.service_is_ready, "the service")
    future = client.call_async(request)

    def done() -> bool:
        if stage.waits_for_a_frame():
            stage.send_frame(make_frame())
        return future.done()

    stage.wait(done, "the answer of segment")
    return future.result()


def test_segment_answers_with_the_next_frame_also_while_disabled(stage: Any, make_frame: MakeFrame) -> None:
    assert stage.call(SetBool, "set_enabled", SetBool.Request(data=False)).success

    response = segment_while_sending(stage, make_frame, Segment.Request())

    assert response.success, response.message
    assert len(response.result.instances) == 2
    assert not stage.probe.answers


def test_a_frame_that_was_at_work_before_the_call_does_not_answer_it(
    make_stage: MakeStage, make_frame: MakeFrame, blob_pipeline: Callable[..., Pipeline]
) -> None:
    at_work, may_go_on = threading.Event(), threading.Event()

    class Held:
        """Segments when it may."""

        def __init__(self, segmenter: Any) -> None:
            self.segmenter, self.info, self.backend = segmenter, segmenter.info, segmenter.backend

        def segment(self, frame: RgbdFrame) -> Any:
            at_work.set()
            assert may_go_on.wait(60.0)
            return self.segmenter.segment(frame)

    def build(settings: Any, model_path: Path | None) -> Pipeline:
        pipeline = blob_pipeline(settings, model_path)
        pipeline.segmenter = Held(pipeline.segmenter)
        return pipeline

    stage = make_stage(build)
    stage.start()
    older_ns = stage.send_frame(make_frame())
    stage.wait(at_work.is_set, "the frame to be at work")
    client = stage.probe.create_client(Segment, "/instance_seg/segment")
    stage.wait(client.service_is_ready, "the service")
    future = client.call_async(Segment.Request(timeout_s=60.0))
    stage.wait(stage.waits_for_a_frame, "the call")

    may_go_on.set()
    stage.answer_to(older_ns)
    assert stage.waits_for_a_frame()
    newer_ns = stage.send_frame(make_frame())
    stage.wait(future.done, "the answer of segment")

    assert stamp_ns_of(future.result().result.header) == newer_ns


def test_segment_filters_by_region_class_and_id(stage: Any, make_frame: MakeFrame) -> None:
    left = RegionOfInterest(x_offset=0, y_offset=0, width=80, height=120)

    of_region = segment_while_sending(stage, make_frame, Segment.Request(region=left)).result.instances
    of_class = segment_while_sending(stage, make_frame, Segment.Request(class_names=["mug"]))
    of_id = segment_while_sending(stage, make_frame, Segment.Request(track_ids=[of_region[0].track_id]))

    assert [instance.region.x_offset < 80 for instance in of_region] == [True]
    assert of_class.success
    assert not of_class.result.instances
    assert [instance.track_id for instance in of_id.result.instances] == [of_region[0].track_id]


def test_segment_without_a_camera_ends_with_the_reason(stage: Any) -> None:
    response = stage.call(Segment, "segment", Segment.Request(timeout_s=0.3))

    assert not response.success
    assert response.message.startswith("no frame within 0.3 s")


def test_segment_waits_for_a_frame_also_without_an_end(stage: Any, make_frame: MakeFrame) -> None:
    response = segment_while_sending(stage, make_frame, Segment.Request(timeout_s=float("inf")))

    assert response.success, response.message


def test_segment_while_inactive_says_so(make_stage: MakeStage) -> None:
    response = make_stage().call(Segment, "segment", Segment.Request())

    assert (response.success, response.message) == (False, "the node is unconfigured; activate it first")


def test_deactivating_ends_a_waiting_segment_call(stage: Any) -> None:
    client = stage.probe.create_client(Segment, "/instance_seg/segment")
    stage.wait(client.service_is_ready, "the service")
    future = client.call_async(Segment.Request(timeout_s=60.0))
    stage.wait(stage.waits_for_a_frame, "the call")

    assert change(stage, Transition.TRANSITION_DEACTIVATE)

    stage.wait(future.done, "the answer of segment")
    assert not future.result().success
    assert future.result().message == "the node was deactivated before a frame came"


@pytest.mark.parametrize(("asked", "reliability"), [("best_effort", "BEST_EFFORT"), ("reliable", "RELIABLE")])
def test_inputs_keep_the_reliability_that_was_asked_for(make_stage: MakeStage, asked: str, reliability: str) -> None:
    stage = make_stage(input_reliability=asked)
    stage.start()
    stage.wait(lambda: stage.probe.status("inputs"), "the first diagnostics, with which publishers are looked at")
    for topic in ("color/image_raw", "depth/image_raw"):
        (subscription,) = stage.node.get_subscriptions_info_by_topic(f"/instance_seg/{topic}")
        assert subscription.qos_profile.reliability.name == reliability
