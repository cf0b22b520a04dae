"""The pipeline and the Scene that it makes: what the stages of a frame hand on, and what they must agree on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Box, Cylinder, look_at, upright
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import GraspingSettings, GripperSettings, LiftingSettings, TrackingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import InstanceGrasps, Rejection
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.segmentation import ModelError, ModelInfo
from instance_seg_ros.segmentation.prompts import PromptModels, Prompts
from instance_seg_ros.tracking import TimeStep, Tracker, TrackRecord


def scene() -> Scene:
    """Two squares on a flat wall."""
    labels = np.zeros((48, 64), dtype=np.uint16)
    labels[5:20, 5:20], labels[25:40, 25:40] = 1, 2
    frame = RgbdFrame(None, np.full((48, 64), 0.8, np.float32), Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5))
    instances = Instances.from_labels(labels)
    lifted = Lifter(LiftingSettings(min_points=20)).lift(frame, instances)
    nothing = InstanceGrasps((), Status.GRASPING_DISABLED)
    model = ModelInfo("a", "1", ("object",), 0.5, 0.5, "0")
    return Scene(frame, instances, lifted, (nothing, nothing), (1, 2), model, {"segment": 0.0})


def test_a_scene_has_one_record_an_object() -> None:
    assert [(each.label, each.track_id, each.status) for each in scene().objects()] == [
        (1, 1, Status.GRASPING_DISABLED | Status.FLUSH),
        (2, 2, Status.GRASPING_DISABLED | Status.FLUSH),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"track_ids": (1,)}, "one entry for each instance, not .*'track_ids': 1"),
        ({"grasps": ()}, "'grasps': 0"),
        ({"track_ids": (1, 1)}, "must be above 0 and differ"),
        ({"track_ids": (0, 1)}, "must be above 0 and differ"),
        ({"instances": Instances.from_labels(np.eye(3, dtype=np.uint16) * [1, 2, 0])}, r"masks are \(3, 3\) but"),
    ],
)
def test_stages_that_disagree_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(scene(), **change)


class Blocks:
    """A segmenter that knows where the blocks of `make_scene` are."""

    backend = "by hand"

    def __init__(self, scene: Scene) -> None:
        self.info, self._instances = scene.model, scene.instances

    def segment(self, frame: RgbdFrame) -> Instances:
        return self._instances


def test_a_frame_goes_through_all_stages_in_their_order(make_scene: Callable[..., Scene]) -> None:
    expected = make_scene()
    gripper = GripperSettings(max_opening_m=0.3)
    pipeline = Pipeline(
        Blocks(expected),
        Lifter(LiftingSettings()),
        GraspSampler(GraspingSettings(), gripper),
        Tracker(TrackingSettings()),
    )

    before_s = time.perf_counter()
    made = pipeline.run(expected.frame)
    longest_s = time.perf_counter() - before_s

    assert (made.frame, made.model, made.instances) == (expected.frame, expected.model, expected.instances)
    assert list(made.stage_times_s) == ["segment", "lift", "grasp", "track"]
    assert all(0 <= time_s <= longest_s for time_s in made.stage_times_s.values())
    assert sum(made.stage_times_s.values()) <= longest_s
    assert [each.lifted.centroid_m is not None for each in made.objects()] == [True, True]
    assert any(each.grasps for each in made.objects())
    assert (made.track_ids, made.time_step) == ((1, 2), TimeStep.FORWARD)
    assert pipeline.run(expected.frame).time_step is TimeStep.REPEATED


def test_what_is_cut_out_says_which_gripper_its_grasps_are_for(make_scene: Callable[..., Scene]) -> None:
    scene, gripper = make_scene(), GripperSettings(preset="franka_hand")
    pipeline = Pipeline(
        Blocks(scene), Lifter(LiftingSettings()), GraspSampler(GraspingSettings(), gripper), Tracker(TrackingSettings())
    )
    assert pipeline.cut_out(scene, Prompts()).gripper == gripper


def cut_out_of_a_stack(found: tuple[int, ...], asked: int) -> Scene:
    """A rectangle around one of a box (1) and the can on it (2), some of which the network finds."""
    camera = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
    stack = [Box((0.14, 0.14, 0.1), upright(0, 0, 0.05)), Cylinder(0.03, 0.1, upright(0, 0, 0.15))]
    frame, labels = AnalyticScene(stack, look_at((0, 0, 0), 0.9, 50), intrinsics=camera).render(0.001)
    instances = Instances.from_labels(np.where(np.isin(labels, found), labels, 0))
    # The rectangle around the box would hold the can, too.
    below_row = np.nonzero(labels == 2)[0].max() if asked == 1 else 0
    segmenter = Blocks(scene())
    segmenter._instances = instances
    pipeline = Pipeline(
        segmenter,
        Lifter(LiftingSettings()),
        GraspSampler(GraspingSettings(), GripperSettings()),
        Tracker(TrackingSettings()),
    )
    rows, columns = np.nonzero((labels == asked) & (np.arange(240)[:, None] > below_row))
    box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    return pipeline.cut_out(pipeline.run(frame), Prompts(boxes_xyxy=(box,)))


@pytest.mark.parametrize("found", [(1,), (1, 2)], ids=["the lower one", "both"])
def test_what_is_cut_out_of_a_stack_ends_where_the_object_below_it_begins(found: tuple[int, ...]) -> None:
    (can,) = cut_out_of_a_stack(found, asked=2).objects()

    assert can.lifted.box is not None
    assert can.lifted.box.size_m[2] == pytest.approx(0.1, abs=0.005)
    assert can.lifted.support.instance is None


def test_what_is_cut_out_from_below_an_object_is_taken_away_after_it() -> None:
    assert cut_out_of_a_stack((1, 2), asked=1).lifted.removal_order.steps == (2,)
    assert cut_out_of_a_stack((1, 2), asked=2).lifted.removal_order.steps == (1,)


RED, BLUE = (20, 30, 60, 80), (90, 40, 130, 70)
AT_RED = (40.0, 50.0)


@pytest.mark.parametrize(
    ("answered", "prompts", "expected", "model"),
    [
        ("mw", Prompts(points_xy=(AT_RED,)), [(RED, "object", 0.75)], "colors"),
        ("mw", Prompts(points_xy=(AT_RED,), boxes_xyxy=((80, 30, 140, 75),)),
         [(RED, "object", 0.75), (BLUE, "object", 0.75)], "colors"),
        ("mw", Prompts(phrases=("cup", "blue block")), [(BLUE, "blue block", 0.6)], "words + colors"),
        ("mw", Prompts(points_xy=(AT_RED,), phrases=("blue block",)),
         [(RED, "object", 0.75), (BLUE, "blue block", 0.6)], "words + colors"),
        ("mw", Prompts(points_xy=((500.0, 3.0),)), [], "colors"),
        ("w", Prompts(phrases=("blue block", "red block")),
         [(BLUE, "blue block", 0.6), (RED, "red block", 0.6)], "words"),
        ("w", Prompts(boxes_xyxy=((10, 20, 70, 90),), phrases=("blue block",)),
         [(RED, "object", 1.0), (BLUE, "blue block", 0.6)], "words"),
        ("w", Prompts(phrases=("cup",)), [], "words"),
        ("", Prompts(boxes_xyxy=((10, 20, 70, 90),)), [(RED, "object", 1.0)], "by_hand"),
    ],
)  # fmt: skip
def test_prompts_are_answered_by_the_models_that_there_are_and_else_by_the_depth(
    answered: str,
    prompts: Prompts,
    expected: list[tuple[tuple[int, ...], str, float]],
    model: str,
    prompt_models: PromptModels,
    make_scene: Callable[..., Scene],
) -> None:
    models = PromptModels(
        prompt_models.masks if "m" in answered else None, prompt_models.words if "w" in answered else None
    )
    assert models.taken(prompts) == prompts
    cut = prompting_pipeline(make_scene(), models).cut_out(make_scene(), prompts)

    assert cut.model.name == model
    assert [(one.class_name, pytest.approx(one.score)) for one in cut.objects()] == [each[1:] for each in expected]
    boxes = cut.instances.boxes_xyxy.reshape(-1, 4)
    assert np.abs(boxes - np.array([each[0] for each in expected]).reshape(-1, 4)).max(initial=0) <= 2
    assert all(one.lifted.box is not None for one in cut.objects())


def prompting_pipeline(scene: Scene, models: PromptModels) -> Pipeline:
    return Pipeline(
        Blocks(scene),
        Lifter(LiftingSettings()),
        GraspSampler(GraspingSettings(), GripperSettings()),
        Tracker(TrackingSettings()),
        models,
    )


def test_what_no_model_answers_is_not_taken_for_a_prompt_and_refused_where_it_is_asked_for(
    make_scene: Callable[..., Scene], prompt_models: PromptModels
) -> None:
    asked = Prompts(points_xy=(AT_RED,), boxes_xyxy=(RED,), phrases=("red block",))
    assert PromptModels().taken(asked) == Prompts(boxes_xyxy=(RED,))
    pipeline = prompting_pipeline(make_scene(), PromptModels())
    with pytest.raises(ModelError, match="set segmentation.prompt_model_path"):
        pipeline.cut_out(make_scene(), Prompts(points_xy=(AT_RED,)))
    with pytest.raises(ModelError, match="set segmentation.text_model_path"):
        pipeline.cut_out(make_scene(), Prompts(phrases=("red block",)))
    blind = prompting_pipeline(make_scene(color=False), prompt_models)
    with pytest.raises(ModelError, match="sees colour only"):
        blind.cut_out(make_scene(color=False), Prompts(points_xy=(AT_RED,)))


def test_the_pose_of_the_camera_reaches_the_tracks(make_scene: Callable[..., Scene]) -> None:
    """A camera that moved by a metre and sees the same picture sees other objects."""
    scene = make_scene()
    pipeline = Pipeline(
        Blocks(scene),
        Lifter(LiftingSettings()),
        GraspSampler(GraspingSettings(), GripperSettings()),
        Tracker(TrackingSettings()),
    )
    poses = (0.0, 0.0, 1.0)

    ids = [
        pipeline.run(make_scene(stamp_ns=step).frame, Transform(np.eye(3), np.array([x_m, 0.0, 0.0]))).track_ids
        for step, x_m in enumerate(poses, start=1)
    ]

    assert ids == [(1, 2), (1, 2), (3, 4)]


def test_a_scene_tells_how_often_its_objects_were_seen_but_not_of_what_was_cut_out(
    make_scene: Callable[..., Scene],
) -> None:
    scene = make_scene()
    stages = Blocks(scene), Lifter(LiftingSettings()), GraspSampler(GraspingSettings(), GripperSettings())
    pipeline = Pipeline(*stages, Tracker(TrackingSettings()))
    pipeline.run(make_scene(stamp_ns=10).frame)
    second = pipeline.run(make_scene(stamp_ns=20).frame)
    assert second.tracks == dict.fromkeys((1, 2), TrackRecord(2, first_seen_ns=10, last_seen_ns=20, seen_empty=0))
    assert pipeline.cut_out(second, Prompts(boxes_xyxy=((15, 25, 65, 85),))).tracks == {}


def test_what_of_a_frames_pose_is_given_as_a_function_is_asked_for_when_a_stage_needs_it(
    make_scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, done, upward = make_scene(), [], np.array([0.0, 0.0, -1.0])
    stages = Blocks(scene), Lifter(LiftingSettings()), GraspSampler(GraspingSettings(), GripperSettings())
    for stage, name in zip(stages, ("segment", "lift", "sample"), strict=True):
        work = getattr(stage, name)
        monkeypatch.setattr(stage, name, lambda *of, work=work, name=name: done.append(name) or work(*of))
    pipeline = Pipeline(*stages, Tracker(TrackingSettings()))

    made = pipeline.run(
        scene.frame, lambda: done.append("pose") or Transform.identity(), lambda: done.append("up") or upward
    )

    assert done == ["segment", "up", "lift", "sample", "pose"]
    np.testing.assert_array_equal(made.frame.up, upward)

    def unknown() -> Transform:
        raise ValueError("not known")

    with pytest.raises(ValueError, match="not known"):
        pipeline.run(scene.frame, unknown)
    assert pipeline.run(scene.frame, Transform.identity()).track_ids == made.track_ids


def test_a_tracker_that_failed_over_what_it_remembers_begins_anew(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    tracker = Tracker(TrackingSettings())
    pipeline = Pipeline(
        Blocks(scene), Lifter(LiftingSettings()), GraspSampler(GraspingSettings(), GripperSettings()), tracker
    )
    assert pipeline.run(scene.frame).track_ids == (1, 2)
    assert tracker._tracks is not None
    tracker._tracks = replace(tracker._tracks, maps=np.zeros((0, 1), dtype=np.int64))  # as no tracker leaves them

    with pytest.raises((ValueError, IndexError)):
        pipeline.run(scene.frame)

    assert pipeline.run(scene.frame).track_ids == (3, 4)


def test_a_scene_tells_of_each_object_what_all_stages_say(make_scene: Callable[..., Scene]) -> None:
    block, unknown = make_scene().objects()

    assert (block.label, block.track_id, block.class_id, block.class_name) == (1, 5, 0, "object")
    assert (unknown.label, unknown.track_id) == (2, 6)
    assert [grasp.quality for grasp in block.grasps] == [0.9, 0.4]
    assert unknown.status == Status.TOO_FEW_POINTS | Status.NO_GRASP_CANDIDATE


@pytest.mark.parametrize(
    ("has_grasps", "rejected", "reason"),
    [
        (True, {}, ""),
        (True, {Rejection.FIT: 3}, ""),
        (False, {}, "no two facing surface points fit the gripper"),
        (
            False,
            {Rejection.SCENE: 3, Rejection.QUALITY: 1},
            "no two facing surface points fit the gripper (tried grasps: 3 something else in the way, 1 less likely to "
            "hold than grasping.min_quality)",
        ),
    ],
)
def test_where_tried_grasps_failed_is_said_only_where_none_is_left(
    has_grasps: bool, rejected: dict[Rejection, int], reason: str, make_scene: Callable[..., Scene]
) -> None:
    block, _ = make_scene().objects()
    status = Status.OK if has_grasps else Status.NO_GRASP_CANDIDATE
    record = replace(block, grasps=block.grasps if has_grasps else (), status=status, rejected=rejected)
    assert record.reason == reason
