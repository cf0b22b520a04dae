"""Points, words and rectangles in calls of `segment`, on real DDS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Point, PointStamped
from sensor_msgs.msg import RegionOfInterest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import PipelineSettings
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.ros.outputs import Outputs
from instance_seg_ros.segmentation import ModelError, ModelInfo
from instance_seg_ros.segmentation.prompts import PromptModels
from instance_seg_ros.srv import Segment
from instance_seg_ros.tracking.tracker import Tracker

MakeFrame = Callable[..., RgbdFrame]


@pytest.fixture
def ask(stage: Any, make_frame: MakeFrame) -> Callable[[Segment.Request], Segment.Response]:
    """Calls `segment`, and sends frames until it is answered."""

    return lambda request: stage.segment(request, make_frame())


def box(x0: int, y0: int, x1: int, y1: int) -> RegionOfInterest:
    return RegionOfInterest(x_offset=x0, y_offset=y0, width=x1 - x0, height=y1 - y0)


@pytest.mark.parametrize(
    ("request_", "lefts"),
    [
        (Segment.Request(points=[Point(x=40.0, y=50.0)]), [20]),
        (Segment.Request(points=[Point(x=100.0, y=50.0), Point(x=0.0, y=0.0)]), [90]),
        (Segment.Request(points=[Point(x=0.0, y=0.0)]), []),
        (Segment.Request(text="any object please"), [20, 90]),
        (Segment.Request(text="cup"), []),
    ],
)
def test_points_and_words_select_among_what_the_network_found(
    request_: Segment.Request, lefts: list[int], ask: Callable[[Segment.Request], Segment.Response]
) -> None:
    response = ask(request_)
    assert response.success
    assert sorted(instance.region.x_offset for instance in response.result.instances) == lefts


def test_a_rectangle_cuts_an_object_out_that_has_everything_but_a_track(
    ask: Callable[[Segment.Request], Segment.Response],
) -> None:
    response = ask(Segment.Request(boxes=[box(10, 20, 70, 90), box(0, 0, 15, 25)]))
    assert response.success
    (instance,) = response.result.instances  # nothing stands out in the second rectangle
    assert (instance.class_name, instance.score, instance.track_id, instance.label) == ("object", 1.0, 0, 1)
    sides = instance.region.x_offset, instance.region.y_offset, instance.region.width, instance.region.height
    assert np.abs(np.array(sides) - (20, 30, 40, 50)).max() <= 1
    center = instance.centroid.x, instance.centroid.y, instance.centroid.z
    assert np.allclose(center, (-0.184, -0.021, 0.75), atol=0.01)
    assert instance.points_kept > 1000


@pytest.fixture
def prompting_stage(make_stage: Callable[..., Any], prompt_models: PromptModels) -> Any:
    """A node with models that answer prompts."""

    def build(settings: PipelineSettings, model_path: Path | None) -> Pipeline:
        return Pipeline(
            BlindSegmenter(),
            Lifter(settings.lifting),
            GraspSampler(settings.grasping, settings.gripper),
            Tracker(settings.tracking),
            prompt_models,
        )

    stage = make_stage(build)
    stage.start()
    stage.probe.listen("selected", InstanceArray)
    return stage


class BlindSegmenter:
    """A segmenter that finds nothing: what is answered comes from prompts."""

    info = ModelInfo("blind", "1", ("object",), 0.5, 0.5, "f" * 64)
    backend = "by hand"

    def segment(self, frame: RgbdFrame) -> Instances:
        return Instances.empty(*frame.depth_m.shape, self.info.class_names)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Segment.Request(points=[Point(x=40.0, y=50.0)]), [(20, "object", 0.75)]),
        (Segment.Request(points=[Point(x=40.0, y=50.0)], boxes=[box(80, 30, 140, 75)]),
         [(20, "object", 0.75), (90, "object", 0.75)]),
        (Segment.Request(text="a cup, Blue  block."), [(90, "blue block", 0.6)]),
        (Segment.Request(text="cup"), []),
        (Segment.Request(text="blue block", points=[Point(x=40.0, y=50.0)], class_names=["object"]),
         [(20, "object", 0.75)]),
        (Segment.Request(boxes=[box(10, 20, 70, 90), box(80, 30, 140, 75)], region=box(80, 0, 160, 120)),
         [(90, "object", 0.75)]),
        (Segment.Request(points=[Point(x=float("nan"), y=1e30)]), []),
    ],
)  # fmt: skip
def test_models_for_prompts_answer_points_rectangles_and_words(
    request_: Segment.Request, expected: list[tuple[int, str, float]], prompting_stage: Any, make_frame: MakeFrame
) -> None:
    response = prompting_stage.segment(request_, make_frame())
    assert response.success
    found = [(one.region.x_offset, one.class_name, pytest.approx(one.score)) for one in response.result.instances]
    assert found == expected
    assert all(one.points_kept > 500 and one.track_id == 0 for one in response.result.instances)


def click_once(prompting_stage: Any) -> None:
    """At pixel (41, 55)."""
    publisher = prompting_stage.probe.create_publisher(PointStamped, "/clicked_point", 5)
    prompting_stage.wait(lambda: publisher.get_subscription_count() > 0, "the node to listen to clicks")
    prompting_stage.wait(
        lambda: prompting_stage.node.count_subscribers("/instance_seg/selected") > 0, "the probe to listen"
    )
    click = PointStamped()
    click.header.frame_id = "camera_color_optical_frame"
    click.point.x, click.point.y, click.point.z = -0.18, -0.02, 0.7
    publisher.publish(click)
    prompting_stage.wait(lambda: prompting_stage.node._clicks._latest is not None, "the click")


def test_a_click_is_answered_by_the_promptable_model(prompting_stage: Any, make_frame: MakeFrame) -> None:
    click_once(prompting_stage)
    answer = prompting_stage.answer_to(prompting_stage.send_frame(make_frame()))
    prompting_stage.wait(lambda: prompting_stage.probe.received["selected"], "the selection")
    (chosen,) = prompting_stage.probe.received["selected"]
    assert not answer.instances
    assert [one.region.x_offset for one in chosen.instances] == [20]
    assert chosen.header == answer.header


def test_a_click_that_the_model_cannot_answer_is_no_empty_place(
    prompting_stage: Any, make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise ModelError("the model sam sees colour only, and this camera gives depth alone")

    monkeypatch.setattr(Pipeline, "cut_out", refuse)
    click_once(prompting_stage)
    prompting_stage.send_frame(make_frame())
    prompting_stage.wait(lambda: prompting_stage.log_lines("clicked at pixel"), "the line in the log")
    assert prompting_stage.log_lines("clicked at pixel (41, 55): the model sam sees colour only")
    assert not prompting_stage.log_lines("no object there")


def test_a_call_of_a_camera_without_colour_is_answered_with_the_reason(
    ask: Callable[[Segment.Request], Segment.Response], stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise ModelError("the model sam sees colour only, and this camera gives depth alone")

    monkeypatch.setattr(Pipeline, "cut_out", refuse)
    response = ask(Segment.Request(boxes=[box(10, 20, 70, 90)]))
    assert not response.success
    assert response.message == "the model sam sees colour only, and this camera gives depth alone"
    stage.wait(lambda: stage.log_lines("prompt cannot be answered"), "the log")


def test_a_call_is_answered_although_a_picture_cannot_be_drawn(
    ask: Callable[[Segment.Request], Segment.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outputs, "publish_pictures", lambda *arguments: 1 / 0)
    response = ask(Segment.Request())
    assert response.success
    assert len(response.result.instances) == 2


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Segment.Request(points=[Point()] * 101), "101 points are more than the 100 of a call; split it"),
        (Segment.Request(boxes=[box(0, 0, 9, 9)] * 101), "101 boxes are more than the 100 of a call; split it"),
        (Segment.Request(text=",".join(f"cup {number}" for number in range(101))),
         "101 phrases are more than the 100 of a call; split it"),
    ],
)  # fmt: skip
def test_a_call_with_too_many_prompts_is_refused_at_once(
    request_: Segment.Request, message: str, prompting_stage: Any
) -> None:
    response = prompting_stage.call(Segment, "segment", request_)
    assert not response.success
    assert response.message == message


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Segment.Request(boxes=[box(0, 0, 9, 9)], text="cup"), "words take segmentation.text_model_path; set it, or"),
        (Segment.Request(boxes=[box(0, 0, 9, 9)], points=[Point()], text="cup"), "points take segmentation.prompt_m"),
        (Segment.Request(boxes=[box(0, 0, 9, 9)], track_ids=[1]), "has no track_id; leave track_ids empty beside them"),
        (Segment.Request(boxes=[box(0, 0, 9, 9), box(3, 2, 3, 7)]), "(3, 2) holds no pixel: it is 0 px wide and 5 px"),
    ],
)
def test_what_no_model_answers_is_refused_beside_other_prompts(
    request_: Segment.Request, message: str, stage: Any
) -> None:
    response = stage.call(Segment, "segment", request_)
    assert not response.success
    assert message in response.message


def test_a_rectangle_that_cannot_be_worked_on_is_answered_with_the_reason(
    ask: Callable[[Segment.Request], Segment.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pipeline, "cut_out", lambda *arguments: 1 / 0)
    response = ask(Segment.Request(boxes=[box(10, 20, 70, 90)]))
    assert not response.success
    assert "ZeroDivisionError" in response.message
