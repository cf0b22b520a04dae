"""How well outlines lie on the edges of the colour image: the labels', and the model's.

python -m instance_seg_ros.learning.evaluation.outlines CAPTURES [--model FILE]

Labels that were made from poses or from depth lie beside the edges of the image where these are registered badly, and a
model that takes outlines from colour loses boundary F there. This distinguishes the two.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.masks import Masks, mask_ious
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.learning.datasets.labelled_frames import LabelledFrame, captures
from instance_seg_ros.learning.evaluation.metrics import boundary, image_metrics
from instance_seg_ros.learning.evaluation.phantoms import on_no_object
from instance_seg_ros.segmentation import load_segmenter

MAX_SHIFT_PX = 4
_SAME_OBJECT_IOU = 0.75

COLUMNS = (
    "group",
    "objects",
    "edge under labels",
    "edge under masks",
    "masks higher %",
    "labels moved px (x, y)",
    "boundary F",
    "with labels moved",
)


@dataclass(frozen=True)
class FrameOutlines:
    """One frame.

    Attributes:
        label_edges, mask_edges: mean strength of the image's edges under the outlines of each object that was found
            well, as labelled and as predicted.
        shifts_xy: of these objects, how the label is moved onto the strongest edges, pixels.
        boundary_f: against the labels as they are.
        moved_boundary_f: against each label moved in this way, which looks at the image alone and not at the masks.
    """

    label_edges: tuple[float, ...]
    mask_edges: tuple[float, ...]
    shifts_xy: tuple[tuple[int, int], ...]
    boundary_f: float
    moved_boundary_f: float


def edge_strength(color_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) float32, the length of the colour gradient in CIELAB, from an image (H, W, 3)."""
    smooth = cv2.GaussianBlur(color_rgb, (3, 3), 0)
    lab = cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    gradients = [cv2.Sobel(lab, cv2.CV_32F, *direction) for direction in ((1, 0), (0, 1))]
    length: NDArray[np.float32] = np.sqrt(sum(np.square(gradient).sum(axis=2) for gradient in gradients))
    return length


def moved(mask: NDArray[np.bool_], x_px: int, y_px: int) -> NDArray[np.bool_]:
    """A mask (H, W) moved to the right and down; what comes from outside the image is empty."""
    to_place = np.array([[1, 0, x_px], [0, 1, y_px]], dtype=np.float64)
    size_wh = (mask.shape[1], mask.shape[0])
    result: NDArray[np.bool_] = cv2.warpAffine(mask.astype(np.uint8), to_place, size_wh, flags=cv2.INTER_NEAREST) > 0
    return result


def shift_onto_edges(mask: NDArray[np.bool_], strength: NDArray[np.float32]) -> tuple[int, int]:
    """The shift (x, y) in pixels, up to 4 either way, by which a mask's outline comes to lie on the strongest edges."""
    rows, columns = np.nonzero(boundary(mask))
    steps = range(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1)
    padded = np.pad(strength, MAX_SHIFT_PX, mode="edge")

    def under(shift_xy: tuple[int, int]) -> float:
        return float(padded[rows + MAX_SHIFT_PX + shift_xy[1], columns + MAX_SHIFT_PX + shift_xy[0]].mean())

    # Of equally good shifts, the shortest.
    return max(itertools.product(steps, steps), key=lambda xy: (under(xy), -(xy[0] ** 2 + xy[1] ** 2)))


def frame_outlines(color_rgb: NDArray[np.uint8], truth: Masks, predicted: Masks) -> FrameOutlines:
    """Measures one frame, of masks (N, H, W) and (M, H, W)."""
    strength = edge_strength(color_rgb)
    shifts_xy = [shift_onto_edges(mask, strength) for mask in truth]
    moved_truth = np.zeros_like(truth)
    for index, shift in enumerate(shifts_xy):
        moved_truth[index] = moved(truth[index], *shift)
    edges, kept = [], []
    for mask, shift, ious in zip(truth, shifts_xy, mask_ious(truth, predicted), strict=True):
        if ious.max(initial=0) >= _SAME_OBJECT_IOU:
            outlines = (boundary(mask), boundary(predicted[int(np.argmax(ious))]))
            edges.append([float(strength[outline].mean()) for outline in outlines])
            kept.append(shift)
    return FrameOutlines(
        tuple(of_label for of_label, _ in edges),
        tuple(of_mask for _, of_mask in edges),
        tuple(kept),
        image_metrics(truth, predicted).boundary.f,
        image_metrics(moved_truth, predicted).boundary.f,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each group of captures.

    Raises:
        SystemExit: with the reason, for captures or a model that cannot be used.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("captures", type=Path, help="folder of labelled captures with colour")
    parser.add_argument("--model", type=Path, metavar="FILE", help="model file (default: the shipped one)")
    options = parser.parse_args(arguments)
    try:
        segmenter = load_segmenter(options.model, SegmentationSettings(backend="onnxruntime"))
        measured: dict[str, list[FrameOutlines]] = {}
        for source in captures(options.captures):
            predicted = segmenter.segment(source.frame).masks
            predicted = predicted[~on_no_object(source.objects, predicted)]
            measured.setdefault(source.group, []).append(frame_outlines(_color(source), source.truth.masks, predicted))
    except (InputError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    print(tabulate([_row(group, frames) for group, frames in measured.items()], COLUMNS))


def _color(source: LabelledFrame) -> NDArray[np.uint8]:
    if source.frame.color_rgb is None:
        raise InputError(f"{source.name} has no colour, and outlines are compared with the edges of colour")
    return source.frame.color_rgb


def _row(group: str, frames: Sequence[FrameOutlines]) -> list[str]:
    labels = np.array([value for frame in frames for value in frame.label_edges])
    masks = np.array([value for frame in frames for value in frame.mask_edges])
    shifts = np.array([shift for frame in frames for shift in frame.shifts_xy]).reshape(-1, 2)
    means = [100 * float(np.mean([getattr(f, name) for f in frames])) for name in ("boundary_f", "moved_boundary_f")]
    if not len(labels):
        return [group, "0", "", "", "", "", *(f"{mean:.1f}" for mean in means)]
    return [
        group,
        str(len(labels)),
        f"{labels.mean():.1f}",
        f"{masks.mean():.1f}",
        f"{100 * np.mean(masks > labels):.0f}",
        "{:.1f}, {:.1f}".format(*shifts.mean(axis=0)),
        *(f"{mean:.1f}" for mean in means),
    ]


if __name__ == "__main__":
    main()
