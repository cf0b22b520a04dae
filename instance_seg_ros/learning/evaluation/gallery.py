"""The evaluation as a web page: the tables, the precision-recall plot and pictures of the worst frames."""

from __future__ import annotations

import heapq
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.files.captures import write_image
from instance_seg_ros.learning.evaluation.average_precision import AveragePrecision
from instance_seg_ros.learning.evaluation.breakdown import Summary
from instance_seg_ros.learning.evaluation.evaluate import FrameResult, Prediction
from instance_seg_ros.learning.evaluation.report import BREAKDOWN_HEADERS, breakdown_cells, summary_lines
from instance_seg_ros.results.drawing import color_of_track, depth_picture, draw_outline, fill_mask

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_TILE_WIDTH = 480

_DEFINITIONS = (
    ("found, IoU > .75, mean IoU", "objects whose best mask IoU with a prediction is above 0.5, above 0.75; its mean"),
    ("overlap F, boundary F, %75", "as unseen-object segmentation has them, one-to-one matches, means over frames"),
    (
        "AP, AP50, AP75, boundary AP",
        "COCO's mask AP, all classes as one except in rows of a category; by the smaller of mask and boundary IoU",
    ),
    ("phantoms", "predictions per frame on no object; where only some objects are labelled: on bare flat surface"),
    ("distance, hidden outline", "median depth of an object; share of its outline beside which something is nearer"),
)

_STYLE = """
body { font-family: system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
pre { background: #f5f5f5; padding: 0.8rem; white-space: pre-wrap; }
dl { font-size: 0.85rem; display: grid; grid-template-columns: max-content auto; gap: 0.1rem 1rem; }
dd { margin: 0; }
figure { margin: 1.5rem 0; }
figure div { display: flex; flex-wrap: wrap; gap: 4px; }
figure img { width: 24%; min-width: 240px; }
figcaption { margin-bottom: 0.3rem; }
"""


@dataclass
class WorstFrames:
    """Keeps the frames with the lowest overlap F (and, where equal, the most phantoms), so that all need not be kept.

    Args:
        count: how many.
    """

    count: int
    _heap: list[tuple[tuple[float, int], int, FrameResult, Prediction]] = field(default_factory=list)
    _seen: int = 0

    def add(self, result: FrameResult, prediction: Prediction) -> None:
        """Keeps a frame if it is among the worst so far."""
        badness = (-result.metrics.overlap.f, result.phantoms.count)
        self._seen += 1  # decides between equals, because frames cannot be compared
        heapq.heappush(self._heap, (badness, -self._seen, result, prediction))
        if len(self._heap) > self.count:
            heapq.heappop(self._heap)

    def frames(self) -> list[tuple[FrameResult, Prediction]]:
        """The kept frames, the worst first."""
        ordered = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return [(result, prediction) for _, _, result, prediction in ordered]


def write_page(folder: Path, title: str, summary: Summary, worst: Sequence[tuple[FrameResult, Prediction]]) -> None:
    """Writes index.html, precision_recall.png (where there is average precision) and the pictures into `folder`.

    The page names its images relative to itself, so the folder can be moved as a whole.
    """
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    plot = ""
    if summary.precision is not None and summary.precision.curves:
        plot_precision_recall(summary.precision, folder / "precision_recall.png")
        plot = '<img src="precision_recall.png" alt="precision over recall">'
    figures = [_figure(folder, result, prediction) for result, prediction in worst]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"<pre>{html.escape(summary_lines(summary))}</pre>{_table(summary)}"
        f"{_definitions()}{plot}"
        "<h2>Worst frames by overlap F</h2>"
        "<p>Predictions with their scores; those that are outlined only do not count.</p>"
        f"{''.join(figures)}</body></html>\n"
    )
    write_atomically(folder / "index.html", page.encode())


def _table(summary: Summary) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in BREAKDOWN_HEADERS)
    rows = (
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells in breakdown_cells(summary.rows)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _definitions() -> str:
    items = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in _DEFINITIONS)
    return f"<dl>{''.join(items)}</dl>"


def _figure(folder: Path, result: FrameResult, prediction: Prediction) -> str:
    """Writes the pictures of a frame; returns its part of the page."""
    stem = "_".join(part for part in (result.name, result.sensor, result.condition) if part)
    images = []
    for kind, picture in pictures(prediction).items():
        path = folder / "frames" / f"{stem}_{kind}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)  # a name may have folders
        write_image(path, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        name = html.escape(quote(path.relative_to(folder).as_posix()))
        images.append(f'<a href="{name}"><img src="{name}" alt="{kind}" title="{kind}"></a>')
    m = result.metrics
    caption = (
        f"<b>{html.escape(stem)}</b>: {m.found} of {m.labelled} found, overlap F {100 * m.overlap.f:.1f}, boundary F "
        f"{100 * m.boundary.f:.1f}, {result.phantoms.count} phantoms"
    )
    return f"<figure><figcaption>{caption}</figcaption><div>{''.join(images)}</div></figure>"


def pictures(prediction: Prediction) -> dict[str, NDArray[np.uint8]]:
    """Colour (where there is any), depth, truth and prediction of a frame, each (H', W', 3) uint8 RGB of one size."""
    frame = prediction.source.frame
    depth = depth_picture(frame.depth_m)
    base = depth if frame.color_rgb is None else frame.color_rgb
    truth = prediction.source.truth.masks
    tiles = {} if frame.color_rgb is None else {"color": frame.color_rgb}
    tiles |= {
        "depth": depth,
        "truth": _painted(base, truth, np.ones(len(truth), dtype=bool)),
        "prediction": _painted(base, prediction.instances.masks, prediction.counted),
    }
    scale = _TILE_WIDTH / depth.shape[1]
    size_wh = (_TILE_WIDTH, round(scale * depth.shape[0]))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = {kind: np.asarray(cv2.resize(tile, size_wh, interpolation=way), np.uint8) for kind, tile in tiles.items()}
    instances = prediction.instances
    for box, score, phantom in zip(instances.boxes_xyxy, instances.scores, prediction.phantom, strict=True):
        text = f"{score:.2f} phantom" if phantom else f"{score:.2f}"
        origin = int(box[0] * scale) + 2, int(box[1] * scale) + 12
        for ink, thickness in ((_BLACK, 3), (_WHITE, 1)):  # white with a dark rim reads on light and on dark
            cv2.putText(scaled["prediction"], text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, thickness, cv2.LINE_AA)
    return scaled


def _painted(picture: NDArray[np.uint8], masks: NDArray[np.bool_], filled: NDArray[np.bool_]) -> NDArray[np.uint8]:
    canvas = picture.copy()
    for index, (mask, fill) in enumerate(zip(masks, filled, strict=True)):
        if fill:
            fill_mask(canvas, mask, color_of_track(index))
        draw_outline(canvas, mask, color_of_track(index))
    return canvas


def plot_precision_recall(precision: AveragePrecision, path: Path) -> None:
    """Draws precision over recall at each IoU threshold."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for iou, values in precision.curves.items():
        area = 100 * float(np.mean(values))
        axes.plot(np.linspace(0, 1, len(values)), values, label=f"mask IoU > {iou:g} (AP {area:.1f})", linewidth=1.4)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision, interpolated")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    plt.close(figure)
    write_atomically(path, content.getvalue())
