"""Evaluation results in figures: over all frames, and by classes of frames and of objects."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from instance_seg_ros.learning.evaluation.average_precision import (
    AveragePrecision,
    ClassPrecision,
    EncodedImage,
    average_precision,
    class_precisions,
    mean_over_classes,
)
from instance_seg_ros.learning.evaluation.evaluate import FrameResult
from instance_seg_ros.learning.evaluation.metrics import FOUND_IOU, ImageMetrics
from instance_seg_ros.learning.evaluation.objects import ObjectFacts
from instance_seg_ros.learning.evaluation.panoptic_quality import PanopticCounts, PanopticQuality
from instance_seg_ros.learning.evaluation.semantic_iou import SemanticCounts, SemanticQuality
from instance_seg_ros.learning.synthetic.store import FLAT, FLUSH, PARTS, STACKED

ENOUGH_FOUND = 2 / 3
GOOD_IOU = 0.75

COUNT_LIMITS = (0, 1, 6, 11)
"""Lower limits of the classes by labelled objects in the frame: none, 1 to 5, 6 to 10, more than 10."""
SIZE_LIMITS = (0.0, 0.002, 0.005, 0.015, 1.0)
"""Limits of the size classes: shares of the image (0.002 is 154 px of 320x240, 614 px of 640x480)."""
DISTANCE_LIMITS_M = (0.0, 0.6, 0.9, 1.3, float("inf"))
"""Limits of the distance classes: median depth of the object's pixels."""
OCCLUSION_LIMITS = (-1.0, 0.05, 0.3, 1.0)
"""Limits of the occlusion classes: see `objects.occlusion`; up to 5 % counts as free."""

ROBOT_SHARE = 0.01
"""Share of the image from which on a robot counts as in view."""

_UNCHANGED = "unchanged"
"""Name of the condition of frames to which nothing was done."""

Classes = list[tuple[str, Callable[[ObjectFacts], bool]]]

SUBSETS: Classes = [
    ("split: in two pieces or more", lambda facts: facts.pieces > 1),
    ("behind: large, partly hidden", lambda facts: facts.image_share > 0.03 and facts.occlusion > 0.2),
    ("small: below 0.5 %", lambda facts: facts.image_share < 0.005),
    ("thin: below 2 % of the width", lambda facts: facts.thickness_share < 0.02),
    ("far: beyond 1.2 m", lambda facts: facts.distance_m > 1.2),
    ("stacked: on or below another", lambda facts: bool(facts.traits & STACKED)),
    ("flush: box along a box", lambda facts: bool(facts.traits & FLUSH)),
    ("flat: lies low", lambda facts: bool(facts.traits & FLAT)),
    ("parts: of several bodies", lambda facts: bool(facts.traits & PARTS)),
]
"""Objects of the kinds that users lose, by name; they overlap. Only stores tell the last four."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Classes of frames (group of captures, objects in it, sensor, condition, view, robot) have every figure. Classes
    of objects (subset, size, distance, occlusion) have only those that need no predictions but the ones found for each
    object: to which class a false prediction belongs is not known. Categories, where classes count, also have the
    average precision of the predictions of that class; found and IoU are those of masks of any class.

    Attributes:
        by: what the class is of: a key of `report.KINDS`.
        name: of the class.
        frames: number of frames, None for a class of objects.
        objects: labelled objects.
        found, found_75: share of the objects whose best mask IoU with a prediction is above 0.5, above 0.75.
        mean_iou: mean of the objects' best mask IoU.
        splits, merges: share of the objects that are several predictions, and that one prediction takes together with
            another object, see `ImageMetrics`.
        overlap_f, boundary_f, good_share: see `metrics`, means over frames.
        ap, ap50, ap75, boundary_ap: see `average_precision`, over all predictions of the frames together that count.
        phantoms: per frame, see `Phantoms`.
    """

    by: str
    name: str
    frames: int | None
    objects: int
    found: float
    found_75: float
    mean_iou: float
    splits: float
    merges: float
    overlap_f: float | None = None
    boundary_f: float | None = None
    good_share: float | None = None
    ap: float | None = None
    ap50: float | None = None
    ap75: float | None = None
    boundary_ap: float | None = None
    phantoms: float | None = None


@dataclass(frozen=True)
class RuleAgreement:
    """How the rule that recognises bare surface by depth judged known cases; all 0 for real frames.

    Attributes:
        objects, objects_called_bare: objects that had depth, and those that it took for bare surface.
        bare, bare_called_bare: masks on bare surface that had depth, and those that it took for that.
    """

    objects: int
    objects_called_bare: int
    bare: int
    bare_called_bare: int


@dataclass(frozen=True)
class ClassSummary:
    """Figures that count a prediction of another class than the object's as wrong.

    Attributes:
        precision: mean over the classes that have objects; None without faster-coco-eval.
        classes: number of classes that have objects.
        found: objects whose best mask IoU with a prediction is above 0.5.
        named: of those, the ones that this prediction calls by their class.
        panoptic: panoptic quality, mean over the classes that have segments.
        semantic: mean IoU of the classes that have pixels.
    """

    precision: ClassPrecision | None
    classes: int
    found: int
    named: int
    panoptic: PanopticQuality
    semantic: SemanticQuality


@dataclass(frozen=True, eq=False)
class Summary:
    """All figures of a model on some frames.

    Attributes:
        rows: over all frames first, then by class.
        overlap, boundary: mean (precision, recall, F) over the frames.
        precision: average precision over all frames, whatever the classes; None without faster-coco-eval.
        classes: the figures when classes count; None where the model knows no class of the data.
        frames_with_labels: number of frames with a labelled object.
        frames_with_two_thirds_found: of those, the ones with two thirds of the objects found.
        empty_frames: number of frames without a labelled object.
        clean_empty_frames: of those, the ones without a prediction that counts.
        with_objects: mean (overlap F, boundary F, %75) over the other frames; NaN where there is none.
        phantom_frames: names of the frames with phantoms and how many, most first.
        phantoms_on_bare_surface: how many phantoms lie on bare table, floor or wall, judged by depth; all of them where
            only some objects are labelled.
        unmeasured: predictions away from labelled objects whose depth is missing.
        robot_frames: frames of which a robot is at least a hundredth.
        robot_phantoms: phantoms in them that lie mostly on it.
        rule: how often the rule behind phantoms on bare surface is right.
        median_segment_ms: time of the segmenter.
        panoptic: panoptic quality of all things as one class.
        semantic: IoU of all things as one class, over pixels.
    """

    rows: tuple[Row, ...]
    overlap: tuple[float, float, float]
    boundary: tuple[float, float, float]
    precision: AveragePrecision | None
    classes: ClassSummary | None
    frames_with_labels: int
    frames_with_two_thirds_found: int
    empty_frames: int
    clean_empty_frames: int
    with_objects: tuple[float, float, float]
    phantom_frames: tuple[tuple[str, int], ...]
    phantoms_on_bare_surface: int
    unmeasured: int
    robot_frames: int
    robot_phantoms: int
    rule: RuleAgreement
    median_segment_ms: float
    panoptic: PanopticQuality
    semantic: SemanticQuality

    @property
    def all(self) -> Row:
        """The row over all frames."""
        return self.rows[0]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; what is not a number is null."""
        facts = asdict(self)
        curves = {} if self.precision is None else {str(k): v for k, v in self.precision.curves.items()}
        facts["precision"] = None if self.precision is None else {**self.precision.values(), "curves": curves}
        result: dict[str, Any] = without_nan(facts)
        return result


def without_nan(value: Any) -> Any:
    """The same structure of dicts, lists and values with null in place of NaN and infinity."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def summarise(results: Sequence[FrameResult], class_names: Sequence[str] = ()) -> Summary:
    """Figures over all frames and by class.

    Args:
        results: of the frames.
        class_names: of the data, by class index, where classes are to count; without names, they do not.

    Means of overlap, boundary and %75 are over all frames, as in the published evaluation (see `metrics`), which gives
    a frame without a labelled object F 1 without predictions and else 0, however small the one false prediction is.
    That weighs as much as a scene of twenty objects that are all missed, so the means over the frames with objects, and
    how many frames without any stay without a prediction, are given beside them.

    Raises:
        ValueError: there is no frame.
    """
    if not results:
        raise ValueError("there is no frame to summarise")
    metrics = [result.metrics for result in results]
    labelled = [m for m in metrics if m.labelled]
    empty = [m for m in metrics if not m.labelled]
    counts = sorted(((_title(r), r.phantoms.count) for r in results if r.phantoms.count), key=lambda item: -item[1])
    with_robot = [result for result in results if _has_robot(result)]
    precision = _precision(results)
    by_class = _class_precisions(results, len(class_names)) if class_names else None
    return Summary(
        rows=(
            _frame_row("all", "all", results, precision),
            *_frame_rows(results),
            *_category_rows(results, class_names, by_class),
            *_object_rows(results),
        ),
        overlap=_mean([(m.overlap.precision, m.overlap.recall, m.overlap.f) for m in metrics]),
        boundary=_mean([(m.boundary.precision, m.boundary.recall, m.boundary.f) for m in metrics]),
        precision=precision,
        classes=_class_summary(results, by_class) if class_names else None,
        frames_with_labels=len(labelled),
        frames_with_two_thirds_found=sum(m.found_share >= ENOUGH_FOUND - 1e-9 for m in labelled),
        empty_frames=len(empty),
        clean_empty_frames=sum(m.predicted == 0 for m in empty),
        with_objects=_mean_f(labelled),
        phantom_frames=tuple(counts),
        phantoms_on_bare_surface=sum(result.phantoms.bare for result in results),
        unmeasured=sum(result.phantoms.unmeasured for result in results),
        robot_frames=len(with_robot),
        robot_phantoms=sum(result.phantoms.on_robot for result in with_robot),
        rule=_rule_agreement(results),
        median_segment_ms=float(np.median([result.segment_ms for result in results])),
        panoptic=sum((result.panoptic for result in results), PanopticCounts()).quality(),
        semantic=sum((result.semantic for result in results), SemanticCounts()).quality(),
    )


def _rule_agreement(results: Sequence[FrameResult]) -> RuleAgreement:
    checks = [result.rule_check for result in results]
    objects = [check.object_is_bare for check in checks if check.object_is_bare is not None]
    bare = [check.bare_is_bare for check in checks if check.bare_is_bare is not None]
    return RuleAgreement(len(objects), sum(objects), len(bare), sum(bare))


def _title(result: FrameResult) -> str:
    seen = ", ".join(text for text in (result.sensor, result.condition) if text)
    return f"{result.name} ({seen})" if seen else result.name


def _mean(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """By column; NaN without rows."""
    if not rows:
        return (float("nan"),) * 3
    first, second, third = np.mean(rows, axis=0).tolist()
    return first, second, third


def _precision(results: Sequence[FrameResult]) -> AveragePrecision | None:
    encoded = _encoded(results)
    return None if encoded is None else average_precision(encoded)


def _mean_f(metrics: Sequence[ImageMetrics]) -> tuple[float, float, float]:
    """Overlap F, boundary F and %75."""
    return _mean([(m.overlap.f, m.boundary.f, m.good_share) for m in metrics])


def _class_precisions(results: Sequence[FrameResult], classes: int) -> list[ClassPrecision] | None:
    encoded = _encoded(results)
    return None if encoded is None else class_precisions(encoded, classes)


def _encoded(results: Sequence[FrameResult]) -> list[EncodedImage] | None:
    encoded = [result.encoded for result in results if result.encoded is not None]
    return encoded if len(encoded) == len(results) else None


def _class_summary(results: Sequence[FrameResult], precisions: list[ClassPrecision] | None) -> ClassSummary:
    found = [
        named
        for result in results
        for named, iou in zip(result.named, result.metrics.objects_iou, strict=True)
        if iou > FOUND_IOU
    ]
    return ClassSummary(
        precision=None if precisions is None else mean_over_classes(precisions),
        classes=len({class_id for result in results for class_id in result.class_ids}),
        found=len(found),
        named=sum(found),
        panoptic=sum((result.panoptic_by_class for result in results), PanopticCounts()).quality(),
        semantic=sum((result.semantic_by_class for result in results), SemanticCounts()).quality(),
    )


def _category_rows(
    results: Sequence[FrameResult], names: Sequence[str], precisions: list[ClassPrecision] | None
) -> list[Row]:
    """One row for each class that has objects."""
    pairs = [pair for r in results for pair in zip(r.class_ids, _judged(r), strict=True)]
    rows = []
    for index, name in enumerate(names):
        objects = [judged for class_id, judged in pairs if class_id == index]
        if objects:
            figures = {} if precisions is None else asdict(precisions[index])
            rows.append(Row("category", name, None, *_objects_found(objects), **figures))
    return rows


def _frame_row(by: str, name: str, results: Sequence[FrameResult], precision: AveragePrecision | None) -> Row:
    metrics = [result.metrics for result in results]
    overlap_f, boundary_f, good_share = _mean_f(metrics)
    return Row(
        by,
        name,
        len(results),
        *_objects_found([judged for result in results for judged in _judged(result)]),
        overlap_f=overlap_f,
        boundary_f=boundary_f,
        good_share=good_share,
        ap=None if precision is None else precision.ap,
        ap50=None if precision is None else precision.ap50,
        ap75=None if precision is None else precision.ap75,
        boundary_ap=None if precision is None else precision.boundary_ap,
        phantoms=float(np.mean([result.phantoms.count for result in results])),
    )


@dataclass(frozen=True)
class _Judged:
    """What became of one object: its best mask IoU, and whether it was split or merged."""

    iou: float
    split: bool
    merged: bool


def _judged(result: FrameResult) -> list[_Judged]:
    """The objects of a frame."""
    metrics = result.metrics
    return [
        _Judged(*values)
        for values in zip(metrics.objects_iou, metrics.objects_split, metrics.objects_merged, strict=True)
    ]


def _objects_found(objects: Sequence[_Judged]) -> tuple[int, float, float, float, float, float]:
    """Number of objects, share found, share found well, mean IoU, shares split and merged; NaN without objects."""
    if not objects:
        nan = float("nan")
        return 0, nan, nan, nan, nan, nan
    ious = np.array([judged.iou for judged in objects])
    return (
        len(objects),
        float((ious > FOUND_IOU).mean()),
        float((ious > GOOD_IOU).mean()),
        float(ious.mean()),
        float(np.mean([judged.split for judged in objects])),
        float(np.mean([judged.merged for judged in objects])),
    )


def _frame_rows(results: Sequence[FrameResult]) -> list[Row]:
    """By group of captures, labelled objects, sensor, condition and view, where there are at least two classes."""
    rows: list[Row] = []
    if not any(result.sensor for result in results):
        names = [result.group for result in results]
        if len(set(names)) < len(results):
            rows += _rows_by("group", names, list(dict.fromkeys(names)), results)
    count_names = [_count_class(limit) for limit in COUNT_LIMITS]
    classes = [count_names[int(np.searchsorted(COUNT_LIMITS, r.metrics.labelled, "right")) - 1] for r in results]
    rows += _rows_by("objects", classes, count_names, results)
    sensors = [result.sensor for result in results]
    rows += _rows_by("sensor", sensors, list(dict.fromkeys(sensors)), results)
    conditions = [result.condition or _UNCHANGED for result in results]
    rows += _rows_by("condition", conditions, list(dict.fromkeys(conditions)), results)
    views = [result.view for result in results]
    rows += _rows_by("view", views, sorted(set(views)), results)
    robots = ["in view" if _has_robot(result) else "not in view" for result in results]
    return rows + _rows_by("robot", robots, ["in view", "not in view"], results)


def _has_robot(result: FrameResult) -> bool:
    return result.robot_share >= ROBOT_SHARE


def _count_class(lowest: int) -> str:
    position = COUNT_LIMITS.index(lowest)
    if position == len(COUNT_LIMITS) - 1:
        return f"more than {lowest - 1}"
    highest = COUNT_LIMITS[position + 1] - 1
    return f"{lowest} to {highest}" if highest > lowest else f"{lowest}"


def _rows_by(by: str, classes: Sequence[str], names: Sequence[str], results: Sequence[FrameResult]) -> list[Row]:
    used = [name for name in names if name in classes]
    if len(used) < 2:
        return []
    members = {name: [r for r, own in zip(results, classes, strict=True) if own == name] for name in used}
    return [_frame_row(by, name, members[name], _precision(members[name])) for name in used]


def _between(attribute: str, low: float, high: float) -> Callable[[ObjectFacts], bool]:
    return lambda facts: low < getattr(facts, attribute) <= high


def object_classes() -> dict[str, Classes]:
    """The classes of objects: for each kind the names, and which objects belong to them; NaN belongs to none."""
    size = [
        (f"{100 * low:g} to {100 * high:g} %", _between("image_share", low, high))
        for low, high in itertools.pairwise(SIZE_LIMITS)
    ]
    distance = [
        (f"{low:g} to {high:g} m" if high < np.inf else f"above {low:g} m", _between("distance_m", low, high))
        for low, high in itertools.pairwise(DISTANCE_LIMITS_M)
    ]
    occlusion = [
        (f"{100 * max(low, 0):g} to {100 * high:g} %", _between("occlusion", low, high))
        for low, high in itertools.pairwise(OCCLUSION_LIMITS)
    ]
    return {"subset": SUBSETS, "size": size, "distance": distance, "occlusion": occlusion}


def _object_rows(results: Sequence[FrameResult]) -> list[Row]:
    pairs = [pair for r in results for pair in zip(r.objects, _judged(r), strict=True)]
    rows = []
    for by, classes in object_classes().items():
        for name, belongs in classes:
            objects = [judged for facts, judged in pairs if belongs(facts)]
            if objects:
                rows.append(Row(by, name, None, *_objects_found(objects)))
    return rows
