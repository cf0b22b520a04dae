"""Bad input: a log line and a diagnostics entry that name the cause, an answer with the reason, the next good frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("rclpy")

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.messages.camera import camera_info, depth_image
from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros import node as node_module
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.health import Health
from instance_seg_ros.ros.inputs import Inputs
from instance_seg_ros.ros.settings import NodeSettings

MakeFrame = Callable[..., RgbdFrame]
Messages = tuple[CameraInfo, Image, Image]


def half_size_depth(messages: Messages, frame: RgbdFrame) -> Messages:
    info, color, depth = messages
    return info, color, depth_image(make_message, depth.header, np.ascontiguousarray(frame.depth_m[::2, ::2]))


def unknown_color_encoding(messages: Messages, frame: RgbdFrame) -> Messages:
    messages[1].encoding = "yuv444_planar"
    return messages


def unknown_depth_encoding(messages: Messages, frame: RgbdFrame) -> Messages:
    messages[2].encoding = "64FC1"
    return messages


def intrinsics_of_zeros(messages: Messages, frame: RgbdFrame) -> Messages:
    messages[0].k = [0.0] * 9
    return messages


def truncated_color(messages: Messages, frame: RgbdFrame) -> Messages:
    messages[1].data = messages[1].data[:-100]
    return messages


def truncated_depth(messages: Messages, frame: RgbdFrame) -> Messages:
    messages[2].data = messages[2].data[:-100]
    return messages


def no_data(messages: Messages, frame: RgbdFrame) -> Messages:
    messages[1].data = messages[1].data[:0]
    return messages


def info_of_another_size(messages: Messages, frame: RgbdFrame) -> Messages:
    smaller = Intrinsics(320, 240, 300.0, 300.0, 160.0, 120.0)
    return camera_info(make_message, messages[0].header, smaller), messages[1], messages[2]


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (half_size_depth, "depth is 80x60"),
        (unknown_color_encoding, "unknown colour encoding 'yuv444_planar'"),
        (unknown_depth_encoding, "unknown depth encoding '64FC1'"),
        (intrinsics_of_zeros, "is the camera's CameraInfo filled in?"),
        (truncated_color, "colour image: data are truncated"),
        (truncated_depth, "depth image: data are truncated"),
        (no_data, "colour image: data are truncated: 0 bytes"),
        (info_of_another_size, "the colour image is 160x120 but its CameraInfo says 320x240"),
    ],
)
def test_an_unusable_frame_is_refused_with_its_cause_and_the_next_one_processed(
    stage: Any, make_frame: MakeFrame, messages_of: Callable[[RgbdFrame], Messages], spoil: Any, cause: str
) -> None:
    frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
    for name, message in zip(("color_info", "color", "depth"), spoil(messages_of(frame), frame), strict=True):
        stage.probe.send(name, message)

    refusal = stage.answer_to(frame.stamp_ns)
    assert refusal.status == InstanceArray.STATUS_INVALID_INPUT
    assert cause in refusal.status_text
    assert not refusal.instances
    stage.wait(lambda: stage.log_lines(cause), "the log line")
    stage.wait(lambda: has_warned(stage, cause), "the diagnostics")

    assert len(stage.answer_to(stage.send_frame(make_frame())).instances) == 2


def test_a_repeated_cause_is_logged_once_in_a_while_and_counted_always(
    stage: Any, make_frame: MakeFrame, messages_of: Callable[[RgbdFrame], Messages]
) -> None:
    for _ in range(5):
        frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
        for name, message in zip(
            ("color_info", "color", "depth"), truncated_depth(messages_of(frame), frame), strict=True
        ):
            stage.probe.send(name, message)
        stage.answer_to(frame.stamp_ns)

    stage.wait(lambda: values_of(stage).get("unusable frame: count") == "5", "five refusals in the diagnostics")
    assert len(stage.log_lines("truncated")) == 1


def test_depth_without_a_measurement_is_answered_and_named(stage: Any, make_frame: MakeFrame) -> None:
    frame = make_frame()
    blind = RgbdFrame(frame.color_rgb, np.zeros_like(frame.depth_m), frame.intrinsics, frame_id=frame.frame_id)

    answer = stage.answer_to(stage.send_frame(blind))

    assert (answer.status, len(answer.instances)) == (InstanceArray.STATUS_NO_DEPTH, 0)
    assert "no measurement" in answer.status_text
    stage.wait(lambda: stage.log_lines("no measurement"), "the log line")
    stage.wait(lambda: has_warned(stage, "no measurement"), "the diagnostics")
    assert len(stage.answer_to(stage.send_frame(make_frame())).instances) == 2


def test_stamps_that_never_meet_are_named_with_their_distance(
    stage: Any, make_frame: MakeFrame, messages_of: Callable[[RgbdFrame], Messages]
) -> None:
    start_ns = stage.stamp_ns()
    for index in range(4):
        early = replace(make_frame(), stamp_ns=start_ns + index * 1_000_000_000)
        late = replace(early, stamp_ns=early.stamp_ns + 400_000_000)
        info, color, _ = messages_of(early)
        _, _, depth = messages_of(late)
        for name, message in (("color_info", info), ("color", color), ("depth", depth)):
            stage.probe.send(name, message)

    stage.wait(lambda: stage.log_lines("0.400 s apart"), "the log line")
    stage.wait(lambda: inputs_warn_of(stage, "colour and depth do not meet"), "the diagnostics")
    assert not stage.probe.answers

    assert len(stage.answer_to(stage.send_frame(make_frame())).instances) == 2


def test_a_frame_before_any_camera_info_is_refused_with_that_reason(
    stage: Any, make_frame: MakeFrame, messages_of: Callable[[RgbdFrame], Messages]
) -> None:
    frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
    _, color, depth = messages_of(frame)
    stage.probe.send("color", color)
    stage.probe.send("depth", depth)

    assert "no CameraInfo of the colour camera" in stage.answer_to(frame.stamp_ns).status_text


def test_an_input_without_a_publisher_is_named_with_its_topic(make_stage: Callable[..., Any]) -> None:
    stage = make_stage(input_timeout_s=0.2)
    stage.start()
    for publisher in stage.probe.input_publishers("depth"):
        stage.probe.destroy_publisher(publisher)

    stage.wait(lambda: stage.log_lines("nothing publishes on /instance_seg/depth/image_raw"), "the log line", 30.0)
    stage.wait(lambda: inputs_warn_of(stage, "/instance_seg/depth/image_raw"), "the diagnostics")


def test_inputs_that_were_just_closed_can_still_be_asked_for_their_state(ros: None) -> None:
    """With an executor of several threads, diagnostics and a deactivation come at the same time."""
    node = Node("closing")
    inputs = Inputs(node, NodeSettings(), Health(), lambda messages: None, lambda cause, text: None, lambda call: call)
    inputs.close()
    assert inputs.reports()["depth"].topic == "/closing/depth/image_raw"
    node.destroy_node()


def test_a_best_effort_camera_and_reliable_inputs_are_named_as_incompatible(make_stage: Callable[..., Any]) -> None:
    stage = make_stage(input_reliability="reliable")
    stage.start()
    stage.probe.create_publisher(Image, "/instance_seg/color/image_raw", qos_profile_sensor_data)

    stage.wait(lambda: stage.log_lines("incompatible QoS: a publisher on"), "the log line")
    assert "set input_reliability to auto" in stage.log_lines("incompatible QoS: a publisher on")[0]


def reliability_of_inputs(stage: Any, topic: str) -> list[ReliabilityPolicy]:
    """As the node's subscriptions to a topic have it."""
    subscriptions = stage.probe.get_subscriptions_info_by_topic(f"/instance_seg/{topic}")
    return [each.qos_profile.reliability for each in subscriptions if each.node_name == "instance_seg"]


def test_inputs_are_subscribed_to_reliably_as_long_as_every_publisher_is_reliable(
    make_stage: Callable[..., Any], make_frame: MakeFrame, messages_of: Callable[[RgbdFrame], Messages]
) -> None:
    stage = make_stage()
    stage.start()
    reliable, best_effort = [ReliabilityPolicy.RELIABLE], [ReliabilityPolicy.BEST_EFFORT]
    for topic in ("color/image_raw", "depth/image_raw", "color/camera_info"):
        stage.wait(lambda topic=topic: reliability_of_inputs(stage, topic) == reliable, f"a reliable {topic}")
    driver = stage.probe.create_publisher(Image, "/instance_seg/color/image_raw", qos_profile_sensor_data)
    stage.wait(lambda: reliability_of_inputs(stage, "color/image_raw") == best_effort, "a subscription to the driver")
    assert reliability_of_inputs(stage, "depth/image_raw") == reliable
    frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
    info, color, depth = messages_of(frame)
    stage.wait(lambda: driver.get_subscription_count() and stage.connected(), "the connections")
    stage.probe.send("color_info", info)
    driver.publish(color)
    stage.probe.send("depth", depth)
    assert stage.answer_to(frame.stamp_ns).status == InstanceArray.STATUS_OK
    stage.probe.destroy_publisher(driver)
    stage.wait(lambda: reliability_of_inputs(stage, "color/image_raw") == reliable, "a reliable subscription again")


def test_depth_of_another_size_is_registered_when_its_camera_is_known(
    stage: Any, make_frame: MakeFrame, messages_of: Callable[[RgbdFrame], Messages]
) -> None:
    frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
    info, color, _ = messages_of(frame)
    stamped = header(make_message, frame.stamp_ns, frame.frame_id)
    small = frame.intrinsics.resized(80, 60)
    stage.wait(lambda: stage.probe.subscribers("depth_info", CameraInfo), "the depth camera's subscription")
    stage.probe.send("color_info", info)
    stage.probe.send("depth_info", camera_info(make_message, stamped, small))
    stage.probe.send("color", color)
    stage.probe.send("depth", depth_image(make_message, stamped, np.ascontiguousarray(frame.depth_m[::2, ::2])))

    answer = stage.answer_to(frame.stamp_ns)

    assert answer.status == InstanceArray.STATUS_OK, answer.status_text
    assert len(answer.instances) == 2


@pytest.mark.parametrize(
    ("model", "corrected", "told"),
    [
        ("plumb_bob", "colour (plumb_bob)", "the lens distortion of colour (plumb_bob) is taken out"),
        ("scaramuzza", "none", "the lens distortion of colour (scaramuzza) is of a kind that is not known here"),
    ],
)
def test_lens_distortion_is_taken_out_or_reported(
    stage: Any,
    make_frame: MakeFrame,
    messages_of: Callable[[RgbdFrame], Messages],
    model: str,
    corrected: str,
    told: str,
) -> None:
    stage.probe.listen("camera_info", CameraInfo)
    stage.wait(stage.connected, "the new subscription")
    frame = replace(make_frame(), stamp_ns=stage.stamp_ns())
    info, color, depth = messages_of(frame)
    info.distortion_model, info.d = model, [0.1, 0.0, 0.0, 0.0, 0.0]
    info.p[0] = info.p[5] = 0.9 * info.k[0]  # of the rectified images
    for name, message in (("color_info", info), ("color", color), ("depth", depth)):
        stage.probe.send(name, message)

    answer = stage.answer_to(frame.stamp_ns)
    assert len(answer.instances) == 2
    assert answer.fx == (info.k[0] if corrected == "none" else info.p[0])
    stage.wait(lambda: stage.probe.received["camera_info"], "the camera of the label image")
    camera = stage.probe.received["camera_info"][0]
    assert (camera.k[0], list(camera.d), camera.header.stamp) == (answer.fx, [0.0] * 5, answer.header.stamp)
    stage.wait(lambda: stage.log_lines(told), "the log line")
    stage.probe.received["diagnostics"].clear()
    stage.wait(lambda: stage.probe.status("inputs"), "the diagnostics")
    facts = {value.key: value.value for value in stage.probe.status("inputs").values}
    assert facts["lens distortion taken out"] == corrected


def test_stamps_of_another_clock_are_reported(
    stage: Any, make_frame: MakeFrame, messages_of: Callable[[RgbdFrame], Messages]
) -> None:
    frame = make_frame(stamp_ns=1_000_000_000)
    for name, message in zip(("color_info", "color", "depth"), messages_of(frame), strict=True):
        stage.probe.send(name, message)

    assert len(stage.answer_to(frame.stamp_ns).instances) == 2
    stage.wait(lambda: stage.log_lines("clocks apart"), "the log line")
    assert "use_sim_time" in stage.log_lines("clocks apart")[0]


def test_an_exception_in_the_pipeline_is_reported_and_the_next_frame_processed(
    make_stage: Callable[..., Any], make_frame: MakeFrame, blob_pipeline: Callable[..., Any]
) -> None:
    class FailsOnce:
        """Raises on its first frame."""

        def __init__(self, segmenter: Any) -> None:
            self.info, self.backend = segmenter.info, segmenter.backend
            self.segmenter = segmenter
            self.failed = False

        def segment(self, frame: RgbdFrame) -> Any:
            if not self.failed:
                self.failed = True
                raise RuntimeError("a fault in a stage")
            return self.segmenter.segment(frame)

    def build(*arguments: Any) -> Any:
        pipeline = blob_pipeline(*arguments)
        pipeline.segmenter = FailsOnce(pipeline.segmenter)
        return pipeline

    stage = make_stage(build)
    stage.start()

    assert "a fault in a stage" in stage.answer_to(stage.send_frame(make_frame())).status_text
    stage.wait(lambda: stage.log_lines("Traceback"), "the traceback in the log")
    stage.wait(lambda: level_of(stage) == DiagnosticStatus.ERROR, "ERROR in the diagnostics")
    assert len(stage.answer_to(stage.send_frame(make_frame())).instances) == 2


@pytest.mark.parametrize(
    ("stamps_ns", "cause", "cure"),
    [
        ((0,), "no stamp", "header.stamp"),
        ((5_000_000_000, 5_000_000_000), "repeated stamp", "stamp every image"),
        ((5_000_000_000, 4_900_000_000), "late frame", "publish in order"),
        ((5_000_000_000, 1_000_000_000), "time went back", "all tracks were forgotten"),
    ],
)
def test_stamps_that_do_not_go_forward_are_answered_counted_and_named_in_the_log(
    stage: Any,
    make_frame: MakeFrame,
    messages_of: Callable[[RgbdFrame], Messages],
    stamps_ns: tuple[int, ...],
    cause: str,
    cure: str,
) -> None:
    for count, stamp_ns in enumerate(stamps_ns, start=1):
        messages = messages_of(make_frame(stamp_ns=stamp_ns))
        for name, message in zip(("color_info", "color", "depth"), messages, strict=True):
            stage.probe.send(name, message)
        stage.wait(lambda count=count: len(stage.probe.answers) == count, "an answer to each frame")
        assert stamp_ns_of(stage.probe.answers[-1].header) == stamp_ns
        assert len(stage.probe.answers[-1].instances) == 2
    stage.wait(lambda: stage.log_lines(f"{cause}: "), "the log line")
    assert cure in stage.log_lines(f"{cause}: ")[0]
    stage.wait(lambda: values_of(stage).get(f"{cause}: count") == "1", "the count in the diagnostics")


def test_what_a_stage_says_of_wrong_input_is_told_without_a_traceback(
    make_stage: Callable[..., Any], make_frame: MakeFrame, blob_pipeline: Callable[..., Any]
) -> None:
    class Refuses:
        """Was made for another camera."""

        def __init__(self, segmenter: Any) -> None:
            self.info, self.backend = segmenter.info, segmenter.backend

        def segment(self, frame: RgbdFrame) -> Any:
            raise InputError("the model is for another camera; export it for this one")

    def build(*arguments: Any) -> Any:
        pipeline = blob_pipeline(*arguments)
        pipeline.segmenter = Refuses(pipeline.segmenter)
        return pipeline

    stage = make_stage(build)
    stage.start()

    answer = stage.answer_to(stage.send_frame(make_frame()))
    assert answer.status_text == "the model is for another camera; export it for this one"
    stage.wait(lambda: stage.log_lines("frame cannot be processed: the model"), "the log line")
    assert not stage.log_lines("Traceback")


def test_a_frame_that_outlives_its_worker_is_alone_in_the_pipeline(
    make_stage: Callable[..., Any],
    make_frame: MakeFrame,
    blob_pipeline: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stages serve one caller at a time, also when the node is activated again while a frame is still at work."""
    monkeypatch.setattr(node_module, "STOP_TIMEOUT_S", 0.01)
    working, release = threading.Event(), threading.Event()
    inside: list[int] = []
    most: list[int] = []

    def build(*arguments: Any) -> Any:
        pipeline = blob_pipeline(*arguments)
        segment = pipeline.segmenter.segment

        class Slow:
            """Holds frames until they are released, and counts those inside."""

            info, backend = pipeline.segmenter.info, pipeline.segmenter.backend

            def segment(self, frame: RgbdFrame) -> Any:
                inside.append(1)
                most.append(len(inside))
                working.set()
                release.wait(20)
                inside.pop()
                return segment(frame)

        pipeline.segmenter = Slow()
        return pipeline

    stage = make_stage(build)
    stage.start()
    stage.send_frame(make_frame())
    stage.wait(working.is_set, "work on the first frame")
    assert stage.node.trigger_deactivate().name == "SUCCESS"
    assert stage.node.trigger_activate().name == "SUCCESS"
    stage.wait(lambda: stage.connected(), "the connections")
    second_ns = stage.send_frame(make_frame())
    stage.wait(lambda: stage.pairs() == 1, "the second frame")
    release.set()
    stage.answer_to(second_ns)
    assert most == [1, 1]


def test_the_newest_frame_is_processed_and_the_others_counted_as_dropped(
    make_stage: Callable[..., Any], make_frame: MakeFrame, blob_pipeline: Callable[..., Any]
) -> None:
    working, release = threading.Event(), threading.Event()

    def build(*arguments: Any) -> Any:
        pipeline = blob_pipeline(*arguments)
        segment = pipeline.segmenter.segment

        class Waits:
            """Holds every frame until it is released."""

            info, backend = pipeline.segmenter.info, pipeline.segmenter.backend

            def segment(self, frame: RgbdFrame) -> Any:
                working.set()
                release.wait(20)
                return segment(frame)

        pipeline.segmenter = Waits()
        return pipeline

    stage = make_stage(build)
    stage.start()
    stamps_ns = [stage.send_frame(make_frame())]
    stage.wait(working.is_set, "work on the first frame")
    stamps_ns += [stage.send_frame(make_frame()) for _ in range(3)]
    stage.wait(lambda: values_of(stage).get("dropped for a newer frame") == "2", "two dropped frames")
    release.set()

    stage.answer_to(stamps_ns[0])
    stage.answer_to(stamps_ns[3])
    assert [stage.probe.answer(stamp_ns) is None for stamp_ns in stamps_ns] == [False, True, True, False]


def has_warned(stage: Any, cause: str) -> bool:
    """Whether the processing diagnostics are not OK and name the cause."""
    status = stage.probe.status("processing")
    return status is not None and status.level != DiagnosticStatus.OK and cause in status.message


def inputs_warn_of(stage: Any, cause: str) -> bool:
    """Whether the inputs' diagnostics are WARN and name the cause."""
    status = stage.probe.status("inputs")
    return status is not None and status.level == DiagnosticStatus.WARN and cause in status.message


def values_of(stage: Any) -> dict[str, str]:
    """The processing diagnostics' values."""
    status = stage.probe.status("processing")
    return {} if status is None else {value.key: value.value for value in status.values}


def level_of(stage: Any) -> bytes | None:
    """The processing diagnostics' level."""
    status = stage.probe.status("processing")
    return None if status is None else status.level
