"""Runs a segmenter over labelled frames and measures each."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.masks import mask_areas
from instance_seg_ros.learning.datasets.labelled_frames import LabelledFrame
from instance_seg_ros.learning.evaluation import semantic_iou
from instance_seg_ros.learning.evaluation.average_precision import EncodedImage, encode
from instance_seg_ros.learning.evaluation.classes import class_ids_in, in_classes
from instance_seg_ros.learning.evaluation.metrics import ImageMetrics, image_metrics
from instance_seg_ros.learning.evaluation.objects import ObjectFacts, object_facts
from instance_seg_ros.learning.evaluation.panoptic_quality import PanopticCounts, count_things
from instance_seg_ros.learning.evaluation.phantoms import BareSurfaces, Surface, moved_to_bare_surface, on_no_object
from instance_seg_ros.learning.evaluation.semantic_iou import SemanticCounts
from instance_seg_ros.segmentation.segmenter import Segmenter


@dataclass(frozen=True)
class Phantoms:
    """Predictions away from the labelled objects of a frame.

    Attributes:
        away: all of them. Where every object is labelled, each is a phantom.
        bare: those on bare surface, by the depth. Where only some objects are labelled, these are the phantoms.
        unmeasured: those whose depth is missing, so that nothing can be said.
        complete: every object is labelled.
        on_robot: those of which more than half lies on a robot.
    """

    away: int
    bare: int
    unmeasured: int
    complete: bool
    on_robot: int = 0

    @property
    def count(self) -> int:
        """The frame's phantoms."""
        return self.away if self.complete else self.bare


@dataclass(frozen=True)
class RuleCheck:
    """How the depth judged an object of a frame, and its mask when moved to bare surface; None where it could not."""

    object_is_bare: bool | None
    bare_is_bare: bool | None


@dataclass(frozen=True, eq=False)
class FrameResult:
    """How good the prediction of one frame is.

    Attributes:
        name, sensor, condition, view: of the frame.
        metrics: of the frame.
        group: of the frame.
        objects: facts of each labelled object, in the order of the metrics.
        class_ids: the class of each labelled object.
        named: for each labelled object, whether the prediction that overlaps it most is of a class of the same name.
        encoded: for average precision; None where faster-coco-eval is not installed.
        phantoms: predictions away from labelled objects.
        rule_check: for generated scenes, what the rule behind `phantoms.bare` makes of known cases.
        segment_ms: time of the segmenter.
        robot_share: share of the image that sees a robot, 0 where that is unknown.
        panoptic, panoptic_by_class: counts of panoptic quality, of all things as one class and by class.
        semantic, semantic_by_class: counts of the IoU over pixels, in the same two ways.
    """

    name: str
    sensor: str
    condition: str
    view: str
    group: str
    metrics: ImageMetrics
    objects: tuple[ObjectFacts, ...]
    class_ids: tuple[int, ...]
    named: tuple[bool, ...]
    encoded: EncodedImage | None
    phantoms: Phantoms
    rule_check: RuleCheck
    segment_ms: float
    robot_share: float = 0.0
    panoptic: PanopticCounts = dataclasses.field(default_factory=PanopticCounts)
    panoptic_by_class: PanopticCounts = dataclasses.field(default_factory=PanopticCounts)
    semantic: SemanticCounts = dataclasses.field(default_factory=SemanticCounts)
    semantic_by_class: SemanticCounts = dataclasses.field(default_factory=SemanticCounts)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a segmenter gave for a frame, to draw pictures of.

    Attributes:
        source: the frame.
        instances: everything the segmenter gave.
        counted: (M,) bool, the predictions that the metrics look at.
        phantom: (M,) bool, the predictions that are phantoms.
    """

    source: LabelledFrame
    instances: Instances
    counted: NDArray[np.bool_]
    phantom: NDArray[np.bool_]


class RankingSegmenter(Segmenter, Protocol):
    """A segmenter that also gives everything that it considers."""

    def ranked(self, frame: RgbdFrame) -> Instances:
        """Instances of any score, best first; masks may overlap."""


def evaluate_frame(segmenter: RankingSegmenter, source: LabelledFrame) -> tuple[FrameResult, Prediction]:
    """Segments a frame and measures the result.

    A prediction does not count if most of it lies on ignored objects or, where only some objects are labelled, if less
    than a tenth of it lies on labelled ones.

    Args:
        segmenter: all but average precision is measured on what it gives; average precision, which looks at all
            thresholds and judges each mask by itself, on what it ranks, as COCO does.
        source: the frame.
    """
    start = time.perf_counter()
    instances = segmenter.segment(source.frame)
    segment_ms = 1000 * (time.perf_counter() - start)
    masks = instances.masks
    counted = counted_predictions(source, masks)
    away = on_no_object(source.objects, masks)
    surfaces = BareSurfaces(source.frame, ~(masks.any(axis=0) | source.objects))
    judged = [surfaces.judge(mask) if lonely else None for mask, lonely in zip(masks, away, strict=True)]
    bare = np.array([surface is Surface.BARE for surface in judged], dtype=bool)
    robot = np.zeros(masks.shape[1:], dtype=bool) if source.robot is None else source.robot
    on_robot = away & (mask_areas(masks & robot) > 0.5 * mask_areas(masks))
    phantoms = Phantoms(
        int(away.sum()), int(bare.sum()), judged.count(Surface.UNMEASURED), source.complete, int(on_robot.sum())
    )
    encoded = None
    if importlib.util.find_spec("faster_coco_eval") is not None:
        ranked = segmenter.ranked(source.frame)
        ranked = ranked[counted_predictions(source, ranked.masks)]
        encoded = encode(source.truth, ranked)
    void = source.ignored if source.complete else ~np.any(source.truth.masks, axis=0)
    as_one = _as_one_class(source.truth), _as_one_class(instances), np.zeros(len(instances), np.int64), void
    known = in_classes(instances, source.truth.class_names)
    by_class = source.truth, known, known.class_ids, void
    metrics = image_metrics(source.truth.masks, masks[counted])
    class_ids = class_ids_in(instances[counted], source.truth.class_names)
    result = FrameResult(
        name=source.name,
        sensor=source.sensor,
        condition=source.condition,
        view=source.view,
        group=source.group,
        metrics=metrics,
        class_ids=tuple(source.truth.class_ids.tolist()),
        named=tuple(
            best is not None and bool(class_ids[best] == own)
            for best, own in zip(metrics.objects_best, source.truth.class_ids, strict=True)
        ),
        objects=object_facts(source.truth.masks, source.frame.depth_m, source.clean_depth_m, source.traits),
        encoded=encoded,
        phantoms=phantoms,
        rule_check=_rule_check(source),
        segment_ms=segment_ms,
        robot_share=float(robot.mean()),
        panoptic=count_things(*as_one),
        panoptic_by_class=count_things(*by_class),
        semantic=semantic_iou.count_things(*as_one),
        semantic_by_class=semantic_iou.count_things(*by_class),
    )
    return result, Prediction(source, instances, counted, away if source.complete else bare)


def _as_one_class(instances: Instances) -> Instances:
    """The things alone, whatever they are."""
    return dataclasses.replace(instances, class_ids=np.zeros_like(instances.class_ids), stuff=None)


def counted_predictions(source: LabelledFrame, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which predictions (M, H, W) the metrics look at, (M,) bool."""
    counted: NDArray[np.bool_] = mask_areas(masks & source.ignored) <= 0.5 * mask_areas(masks)
    return counted if source.complete else counted & ~on_no_object(source.objects, masks)


def _rule_check(source: LabelledFrame) -> RuleCheck:
    """Lets `BareSurfaces` judge a random object of a generated scene, and its mask on bare surface beside it."""
    if source.clean_depth_m is None or not len(source.truth):
        return RuleCheck(None, None)
    rng = np.random.default_rng(zlib.crc32(source.name.encode()))
    mask = source.truth.masks[rng.integers(len(source.truth))]
    surfaces = BareSurfaces(source.frame, ~source.objects)
    clean = RgbdFrame(None, source.clean_depth_m, source.frame.intrinsics)
    moved = moved_to_bare_surface(mask, clean, ~source.objects, rng)
    judged = [None if m is None else surfaces.judge(m) for m in (mask, moved)]
    return RuleCheck(*(None if j in (None, Surface.UNMEASURED) else j is Surface.BARE for j in judged))
