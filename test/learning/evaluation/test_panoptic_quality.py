"""Panoptic quality on small label images, and beside panopticapi's own code where that is installed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.learning.evaluation.panoptic_quality import (
    ClassCounts,
    PanopticCounts,
    count_segments,
    count_things,
)


def row(*segments: tuple[int, int]) -> np.ndarray:
    """A label image of one row: (segment, pixels) after one another."""
    return np.concatenate([np.full(pixels, segment) for segment, pixels in segments])[None]


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        (row((1, 10)), row((1, 10)), {0: ClassCounts(1.0, 1)}),
        (row((1, 10)), row((7, 8), (0, 2)), {0: ClassCounts(0.8, 1)}),
        (row((1, 10)), row((7, 5), (0, 5)), {0: ClassCounts(missed=1, wrong=1)}),  # an IoU of 0.5 is no match
        (row((1, 10)), row((0, 10)), {0: ClassCounts(missed=1)}),
        (row((1, 5), (2, 5)), row((7, 10)), {0: ClassCounts(missed=2, wrong=1)}),
        (row((0, 6), (1, 4)), row((7, 10)), {0: ClassCounts(1.0, 1)}),  # void counts for nobody
        (row((0, 6), (1, 4)), row((7, 6), (0, 4)), {0: ClassCounts(missed=1)}),  # mostly void: not wrong
        (row((0, 5), (1, 5)), row((7, 10)), {0: ClassCounts(1.0, 1)}),
        (row((1, 10)), row((8, 10)), {0: ClassCounts(missed=1), 1: ClassCounts(wrong=1)}),  # 8 is of class 1
    ],
)
def test_segments_are_counted(truth: np.ndarray, predicted: np.ndarray, expected: dict[int, ClassCounts]) -> None:
    counts = count_segments(truth, {1: 0, 2: 0}, predicted, {1: 0, 7: 0, 8: 1})
    assert counts.by_class == expected


def test_quality_is_the_mean_over_classes_that_have_segments() -> None:
    counts = PanopticCounts({0: ClassCounts(1.6, 2, 1, 1), 1: ClassCounts(missed=1), 2: ClassCounts()})
    quality = (counts + PanopticCounts({0: ClassCounts()})).quality()
    assert (quality.pq, quality.sq, quality.rq, quality.classes) == pytest.approx((1.6 / 3 / 2, 0.4, 2 / 3 / 2, 2))
    assert math.isnan(PanopticCounts().quality().pq)


@pytest.mark.parametrize(("is_void", "wrong"), [(False, 1), (True, 0)])
def test_a_thing_on_the_background_is_wrong_where_that_is_known(is_void: bool, wrong: int) -> None:
    truth = Instances.from_labels(np.array([[1, 1, 0, 0, 0, 0]]))
    predicted = Instances.from_labels(np.array([[1, 1, 0, 2, 2, 0]]))
    void = np.full((1, 6), is_void)
    counts = count_things(truth, predicted, np.zeros(2, dtype=np.int64), void)
    assert counts.by_class == {0: ClassCounts(1.0, 1, wrong)}


def test_stuff_is_one_segment_of_its_class() -> None:
    """Class 1 is stuff in two parts; what is predicted of it beside the labels' part is one wrong segment with it."""
    truth = replace(in_row([1, 1, 0, 0, 0, 0, 0, 0]), stuff=stuff_row([-1, -1, 1, 1, 1, -1, 1, -1]))
    predicted = replace(in_row([1, 1, 0, 0, 0, 0, 0, 0]), stuff=stuff_row([-1, -1, 1, 1, -1, -1, 1, 1]))
    counts = count_things(truth, predicted, np.zeros(1, dtype=np.int64), np.zeros((1, 8), bool))
    assert counts.by_class == {0: ClassCounts(1.0, 1), 1: ClassCounts(0.6, 1)}
    nothing = replace(predicted, stuff=None)
    counts = count_things(truth, nothing, np.zeros(1, dtype=np.int64), np.zeros((1, 8), bool))
    assert counts.by_class == {0: ClassCounts(1.0, 1), 1: ClassCounts(missed=1)}
    counts = count_things(replace(truth, stuff=None), predicted, np.zeros(1, dtype=np.int64), np.zeros((1, 8), bool))
    assert counts.by_class == {0: ClassCounts(1.0, 1), 1: ClassCounts(wrong=1)}


def in_row(labels: list[int]) -> Instances:
    return replace(Instances.from_labels(np.array([labels])), class_names=("cup", "wall"))


def stuff_row(classes: list[int]) -> np.ndarray:
    return np.array([classes], dtype=np.int32)


def test_panopticapi_counts_the_same(tmp_path: Path) -> None:
    """The original's code, from `pip install --no-deps panopticapi-lite`, which asks for an older NumPy."""
    evaluation = pytest.importorskip("panopticapi.evaluation")
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    categories = {index: {"id": index, "isthing": 1} for index in range(3)}
    counts, annotations = PanopticCounts(), []
    for name in ("a", "b", "c"):
        truth, predicted = (np.zeros((40, 50), dtype=np.int64) for _ in range(2))
        for segment in range(1, 9):
            y, x = rng.integers(0, 30), rng.integers(0, 40)
            truth[y : y + 12, x : x + 12] = segment
            y, x = y + rng.integers(-2, 3), x + rng.integers(-2, 3)
            predicted[max(y, 0) : y + 12, max(x, 0) : x + 12] = segment
        classes = [
            {int(segment): int(rng.integers(0, 3)) if rng.random() < 0.3 else int(segment) % 3 for segment in labels}
            for labels in (np.unique(truth[truth > 0]), np.unique(predicted[predicted > 0]))
        ]
        counts += count_segments(truth, classes[0], predicted, classes[1])
        sides = []
        for folder, labels, of in (("truth", truth, classes[0]), ("predicted", predicted, classes[1])):
            (tmp_path / folder).mkdir(exist_ok=True)
            rgb = np.stack([labels % 256, labels // 256, labels * 0], axis=-1).astype(np.uint8)
            image.fromarray(rgb).save(tmp_path / folder / f"{name}.png")
            areas = {segment: int((labels == segment).sum()) for segment in of}
            segments = [
                {"id": segment, "category_id": of[segment], "iscrowd": 0, "area": areas[segment]} for segment in of
            ]
            sides.append({"image_id": name, "file_name": f"{name}.png", "segments_info": segments})
        annotations.append(tuple(json.loads(json.dumps(side)) for side in sides))
    stat = evaluation.pq_compute_single_core(
        0, annotations, str(tmp_path / "truth"), str(tmp_path / "predicted"), categories
    )
    theirs, _ = stat.pq_average(categories, isthing=True)
    ours = counts.quality()
    assert (ours.pq, ours.sq, ours.rq, ours.classes) == pytest.approx(
        (theirs["pq"], theirs["sq"], theirs["rq"], theirs["n"])
    )
    assert 0.1 < ours.pq < 0.9
