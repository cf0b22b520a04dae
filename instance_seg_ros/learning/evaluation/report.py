"""The evaluation as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.learning.evaluation.breakdown import Row, Summary, without_nan
from instance_seg_ros.learning.evaluation.evaluate import FrameResult
from instance_seg_ros.learning.evaluation.panoptic_quality import PanopticQuality

KINDS = {
    "all": "",
    "group": "group",
    "objects": "objects",
    "sensor": "sensor",
    "condition": "condition",
    "view": "view",
    "robot": "robot",
    "subset": "subset",
    "size": "share of image",
    "distance": "distance",
    "occlusion": "hidden outline",
    "category": "category",
}
BREAKDOWN_HEADERS = (
    "by",
    "class",
    "frames",
    "objects",
    "found",
    "IoU\n>.75",
    "mean\nIoU",
    "splits",
    "merges",
    "overlap\nF",
    "boundary\nF",
    "%75",
    "AP",
    "AP50",
    "AP75",
    "boundary\nAP",
    "phantoms",
)
_MOST_PHANTOM_FRAMES = 5


def frame_table(results: Sequence[FrameResult]) -> str:
    """One line a frame: labelled, found (IoU > 0.5), share, predictions that counted, F values, phantoms, time."""
    rows = [
        (
            r.name,
            r.metrics.labelled,
            r.metrics.found,
            f"{100 * r.metrics.found_share:.0f}%",
            r.metrics.predicted,
            100 * r.metrics.overlap.f,
            100 * r.metrics.boundary.f,
            100 * r.metrics.good_share,
            r.phantoms.count,
            r.segment_ms,
        )
        for r in results
    ]
    headers = ("frame", "labelled", "found", "share", "predicted", "overlap F", "boundary F", "%75", "phantoms", "ms")
    return tabulate(rows, headers=headers, floatfmt=".1f")


def breakdown_cells(rows: Sequence[Row]) -> list[list[str]]:
    """The rows under BREAKDOWN_HEADERS as text: shares, F values and AP in per cent, phantoms per frame."""
    return [
        [
            KINDS[row.by],
            row.name or "(numbers only)",
            "" if row.frames is None else str(row.frames),
            str(row.objects),
            *(_percent(value) for value in (row.found, row.found_75, row.mean_iou, row.splits, row.merges)),
            *(_percent(value) for value in (row.overlap_f, row.boundary_f, row.good_share)),
            *(_percent(value) for value in (row.ap, row.ap50, row.ap75, row.boundary_ap)),
            "" if row.phantoms is None else f"{row.phantoms:.2f}",
        ]
        for row in rows
    ]


def _percent(value: float | None) -> str:
    """One decimal; nothing where the class has no such figure, a dash where it cannot be computed."""
    if value is None:
        return ""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def breakdown_table(summary: Summary) -> str:
    """The whole breakdown for a terminal."""
    align = ("left", "left", *["right"] * (len(BREAKDOWN_HEADERS) - 2))
    cells = breakdown_cells(summary.rows)
    return tabulate(cells, headers=BREAKDOWN_HEADERS, colalign=align, disable_numparse=True)


def summary_lines(summary: Summary) -> str:
    """Figures beside the breakdown, for a terminal."""
    everything = summary.all
    lines = [
        f"frames with at least two thirds found: {summary.frames_with_two_thirds_found} of "
        f"{summary.frames_with_labels}",
        f"objects found: {round(everything.found * everything.objects) if everything.objects else 0} of "
        f"{everything.objects}",
        f"overlap P/R/F {_triple(summary.overlap)}, boundary P/R/F {_triple(summary.boundary)}",
    ]
    if summary.empty_frames:
        counts = f"{summary.empty_frames}, {summary.clean_empty_frames} of them without a prediction"
        line = f"frames without an object: {counts}"
        if summary.frames_with_labels:
            line += f"; the others alone: overlap F / boundary F / %75 {_triple(summary.with_objects)}"
        lines.append(line)
    precision = summary.precision
    if precision is not None:
        lines += [
            f"mask AP {_percent(precision.ap)}, AP50 {_percent(precision.ap50)}, AP75 {_percent(precision.ap75)}, "
            f"AR100 {_percent(precision.ar100)}; small {_percent(precision.ap_small)}, medium "
            f"{_percent(precision.ap_medium)}, large {_percent(precision.ap_large)}",
            f"boundary AP {_percent(precision.boundary_ap)}, AP50 {_percent(precision.boundary_ap50)}, AP75 "
            f"{_percent(precision.boundary_ap75)}",
        ]
    lines.append(
        f"panoptic quality of things: {_panoptic(summary.panoptic)}; IoU of their pixels "
        f"{_percent(summary.semantic.mean_iou)}"
    )
    lines += _class_lines(summary)
    return "\n".join([*lines, *_phantom_lines(summary), f"median time of the segmenter: {_time(summary)} ms"])


def _class_lines(summary: Summary) -> list[str]:
    classes = summary.classes
    if classes is None:
        return []
    lines = [f"objects found and called by their class: {classes.named} of {classes.found} found"]
    if classes.precision is not None:
        mean = classes.precision
        lines.append(
            f"mean over {classes.classes} classes: mask AP {_percent(mean.ap)}, AP50 {_percent(mean.ap50)}, "
            f"AP75 {_percent(mean.ap75)}, boundary AP {_percent(mean.boundary_ap)}"
        )
    lines.append(f"panoptic quality, mean over {classes.panoptic.classes} classes: {_panoptic(classes.panoptic)}")
    lines.append(f"mIoU, mean over {classes.semantic.classes} classes: {_percent(classes.semantic.mean_iou)}")
    return lines


def _panoptic(quality: PanopticQuality) -> str:
    return f"PQ {_percent(quality.pq)}, SQ {_percent(quality.sq)}, RQ {_percent(quality.rq)}"


def _triple(values: tuple[float, float, float]) -> str:
    return " / ".join(f"{100 * value:.1f}" for value in values)


def _time(summary: Summary) -> str:
    return f"{summary.median_segment_ms:.1f}"


def _phantom_lines(summary: Summary) -> list[str]:
    total = sum(count for _, count in summary.phantom_frames)
    line = f"phantoms: {total} in {summary.all.frames} frames"
    if summary.phantoms_on_bare_surface < total:
        line += f", {summary.phantoms_on_bare_surface} of them on bare surface, judged by depth"
    if total:
        most = ", ".join(f"{name}: {count}" for name, count in summary.phantom_frames[:_MOST_PHANTOM_FRAMES])
        line += f"; most in {most}"
    lines = [line]
    if summary.unmeasured:
        lines.append(f"predictions away from labelled objects that have no depth to judge: {summary.unmeasured}")
    if summary.robot_frames:
        lines.append(f"phantoms on a robot: {summary.robot_phantoms} in {summary.robot_frames} frames with one in view")
    rule = summary.rule
    if rule.objects and rule.bare:
        lines.append(
            f"the rule that recognises bare surface by depth calls {rule.objects_called_bare} of {rule.objects} "
            f"objects bare, and {rule.bare_called_bare} of {rule.bare} masks moved to bare surface"
        )
    return lines


def write_json(
    path: Path,
    model: dict[str, str],
    options: dict[str, object],
    summary: Summary,
    results: Sequence[FrameResult],
) -> None:
    """Model, the run's options, summary and frames as JSON; what is not a number becomes null."""
    frames = [
        {
            "name": r.name,
            "sensor": r.sensor,
            "condition": r.condition,
            "view": r.view,
            "labelled": r.metrics.labelled,
            "found": r.metrics.found,
            "predicted": r.metrics.predicted,
            "overlap_f": r.metrics.overlap.f,
            "boundary_f": r.metrics.boundary.f,
            "good_share": r.metrics.good_share,
            "phantoms": r.phantoms.count,
            "segment_ms": r.segment_ms,
            "objects": [
                {"iou": iou, **vars(facts)} for facts, iou in zip(r.objects, r.metrics.objects_iou, strict=True)
            ],
        }
        for r in results
    ]
    content = {"model": model, "options": options, "summary": summary.as_json(), "frames": without_nan(frames)}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
