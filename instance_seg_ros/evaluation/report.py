"""The evaluation as a table, as JSON and as pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.drawing import color_of_track, depth_picture
from instance_seg_ros.evaluation.evaluate import FrameResult
from instance_seg_ros.storage.captures import write_image
from instance_seg_ros.storage.files import write_atomically

_WHITE = (255, 255, 255)


def frame_table(results: list[FrameResult]) -> str:
    """One line a frame: labelled, found (IoU > 0.5), share, predictions that counted, F values, time."""
    rows = [
        (
            r.source.name,
            r.metrics.labelled,
            r.metrics.found,
            f"{100 * r.metrics.found_share:.0f}%",
            r.metrics.predicted,
            100 * r.metrics.overlap.f,
            100 * r.metrics.boundary.f,
            100 * r.metrics.good_share,
            r.segment_ms,
        )
        for r in results
    ]
    headers = ("frame", "labelled", "found", "share", "predicted", "overlap F", "boundary F", "%75", "ms")
    return tabulate(rows, headers=headers, floatfmt=".1f")


def summary_lines(summary: dict[str, Any]) -> str:
    """The summary for a terminal."""
    lines = [
        f"frames with at least two thirds found: {summary['frames_with_two_thirds_found']} of "
        f"{summary['frames_with_labels']}",
        f"objects found: {summary['objects_found']} of {summary['objects']}; by share of the image: "
        + ", ".join(f"{name}: {c['found']} of {c['objects']}" for name, c in summary["found_by_size"].items()),
        "overlap P/R/F {overlap_p:.1f} / {overlap_r:.1f} / {overlap_f:.1f}, boundary P/R/F {boundary_p:.1f} / "
        "{boundary_r:.1f} / {boundary_f:.1f}, %75 {share_f_above_75:.1f}".format(**summary),
    ]
    if "mask_ap" in summary:
        lines.append(
            "mask AP {:.1f}, AP50 {:.1f}, AP75 {:.1f}, AR100 {:.1f}".format(
                *(100 * summary[f"mask_{name}"] for name in ("ap", "ap50", "ap75", "ar100"))
            )
        )
    lines.append(f"median time of the segmenter: {summary['median_segment_ms']:.1f} ms")
    return "\n".join(lines)


def write_json(path: Path, summary: dict[str, Any], results: list[FrameResult]) -> None:
    """Summary and frames as JSON; what is not a number becomes null."""
    frames = [
        {
            "name": r.source.name,
            "labelled": r.metrics.labelled,
            "found": r.metrics.found,
            "predicted": r.metrics.predicted,
            "overlap_f": r.metrics.overlap.f,
            "boundary_f": r.metrics.boundary.f,
            "share_f_above_75": r.metrics.good_share,
            "segment_ms": r.segment_ms,
        }
        for r in results
    ]
    clean = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in summary.items()}
    write_atomically(path, (json.dumps({"summary": clean, "frames": frames}, indent=1) + "\n").encode())


def write_gallery(path: Path, results: list[FrameResult], count: int) -> None:
    """A picture of the worst frames by overlap F, one a row: depth, the objects, the predictions with their scores.

    Predictions that did not count (elsewhere than the labelled objects) are outlined only.
    """
    worst = sorted(results, key=lambda r: r.metrics.overlap.f)[:count]
    if worst:
        write_image(path, cv2.cvtColor(np.vstack([_row(result) for result in worst]), cv2.COLOR_RGB2BGR))


def _row(result: FrameResult, width: int = 480) -> NDArray[np.uint8]:
    frame = result.source.frame
    depth = depth_picture(frame.depth_m)
    base = depth if frame.color_rgb is None else frame.color_rgb
    truth = _painted(base, result.source.truth, np.ones(len(result.source.truth), dtype=bool))
    predicted = _painted(base, result.instances.masks, result.counted)
    height = round(width * depth.shape[0] / depth.shape[1])
    tiles = [cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA) for tile in (depth, truth, predicted)]
    scale = width / depth.shape[1]
    for box, score in zip(result.instances.boxes_xyxy, result.instances.scores, strict=True):
        origin = int(box[0] * scale) + 2, int(box[1] * scale) + 12
        cv2.putText(tiles[2], f"{score:.2f}", origin, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _WHITE, 1, cv2.LINE_AA)
    caption = (
        f"{result.source.name}: {result.metrics.found}/{result.metrics.labelled}, F {result.metrics.overlap.f:.2f}"
    )
    cv2.putText(tiles[0], caption, (6, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _WHITE, 1, cv2.LINE_AA)
    return np.hstack(tiles).astype(np.uint8)


def _painted(picture: NDArray[np.uint8], masks: NDArray[np.bool_], filled: NDArray[np.bool_]) -> NDArray[np.uint8]:
    canvas = picture.copy()
    for index, (mask, fill) in enumerate(zip(masks, filled, strict=True)):
        color = np.array(color_of_track(index), dtype=np.uint8)
        if fill:
            canvas[mask] = canvas[mask] // 2 + color // 2
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, contours, -1, color.tolist(), 2)
    return canvas
