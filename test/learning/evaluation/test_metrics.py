from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.learning.evaluation.metrics import (
    PrecisionRecall,
    boundary,
    boundary_tolerance_px,
    image_metrics,
    match,
)


def masks(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """(N, H, W) masks of rectangles x0 y0 x1 y1."""
    result = np.zeros((len(boxes), *size), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(result, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return result


def test_a_perfect_prediction_scores_1_everywhere() -> None:
    truth = masks((5, 5, 20, 20), (30, 10, 50, 30))
    metrics = image_metrics(truth, truth[::-1])
    assert (metrics.overlap.f, metrics.boundary.f, metrics.good_share, metrics.found_share) == (1, 1, 1, 1)


def test_overlap_by_hand() -> None:
    # 10x10 object; the prediction covers its left half and as much beside it: F = 2 * 50 / 200.
    metrics = image_metrics(masks((10, 10, 20, 20)), masks((5, 10, 15, 20)))
    assert metrics.overlap == PrecisionRecall(0.5, 0.5)
    assert metrics.good_share == 0
    assert metrics.found == 0


def test_false_predictions_lower_precision_only() -> None:
    metrics = image_metrics(masks((5, 5, 15, 15)), masks((5, 5, 15, 15), (25, 5, 35, 15)))
    assert metrics.overlap == PrecisionRecall(0.5, 1.0)
    assert metrics.boundary.precision == pytest.approx(0.5)
    assert metrics.boundary.recall == 1


def test_one_prediction_is_matched_to_one_object_only() -> None:
    # One mask over two objects: only the larger overlap counts.
    metrics = image_metrics(masks((0, 0, 10, 10), (10, 0, 20, 10)), masks((0, 0, 20, 10)))
    assert metrics.overlap == PrecisionRecall(0.5, 0.5)
    assert metrics.found == 0


def test_an_object_is_found_above_an_iou_of_one_half() -> None:
    truth = masks((0, 0, 10, 10))
    assert image_metrics(truth, masks((0, 0, 10, 5))).found == 0
    assert image_metrics(truth, masks((0, 0, 10, 6))).found == 1


@pytest.mark.parametrize(
    ("truth", "predicted", "share"),
    [(masks((0, 0, 9, 9), (20, 0, 29, 9)), masks((0, 0, 9, 9)), 0.5), (masks(), masks((0, 0, 9, 9)), 1.0)],
    ids=["one of two", "none of none"],
)
def test_the_share_of_the_objects_that_were_found_is_1_where_there_are_none(
    truth: np.ndarray, predicted: np.ndarray, share: float
) -> None:
    assert image_metrics(truth, predicted).found_share == share


def test_what_is_neither_precise_nor_complete_has_f_0() -> None:
    assert PrecisionRecall(0.0, 0.0).f == 0


def test_the_matching_maximises_the_sum_not_the_first_choice() -> None:
    rows, columns = match(np.array([[0.9, 0.8], [0.7, 0.0]]))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("truth_count", "predicted_count", "expected"),
    [(1, 0, (1.0, 0.0, 0.0)), (0, 1, (0.0, 1.0, 0.0)), (0, 0, (1.0, 1.0, 1.0))],
)
def test_images_without_objects_or_predictions(
    truth_count: int, predicted_count: int, expected: tuple[float, float, float]
) -> None:
    box = (0, 0, 10, 10)
    metrics = image_metrics(masks(*[box] * truth_count), masks(*[box] * predicted_count))
    for value in (metrics.overlap, metrics.boundary):
        assert (value.precision, value.recall, value.f) == expected
    assert metrics.good_share == expected[2]


@pytest.mark.parametrize(("size", "tolerance"), [((480, 640), 3), ((240, 320), 2), ((720, 1280), 5)])
def test_the_boundary_tolerance_follows_the_diagonal(size: tuple[int, int], tolerance: int) -> None:
    assert boundary_tolerance_px(*size) == tolerance


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0)])
def test_a_shift_within_the_tolerance_keeps_the_boundary(shift: int, expected: float) -> None:
    truth, predicted = masks((10, 10, 30, 30)), masks((10 + shift, 10, 30 + shift, 30))
    assert image_metrics(truth, predicted).boundary.f == pytest.approx(expected)


def test_a_shift_beyond_the_tolerance_loses_the_two_sides() -> None:
    # 40x60: tolerance 1. A 20 px square shifted by 3 keeps the rows above and below only.
    result = image_metrics(masks((10, 10, 30, 30)), masks((13, 10, 33, 30))).boundary
    kept = 2 * 18 / (4 * 19)
    assert result.precision == pytest.approx(kept, abs=0.03)
    assert result.recall == pytest.approx(kept, abs=0.03)


@pytest.mark.parametrize(("offset_xy", "is_near"), [((3, 0), 1), ((0, -3), 1), ((2, 2), 1), ((3, 1), 0), ((-4, 0), 0)])
def test_the_boundary_is_right_within_a_circle_around_the_true_one(offset_xy: tuple[int, int], is_near: int) -> None:
    x, y = 50 + offset_xy[0], 40 + offset_xy[1]
    # A speck of one pixel, which a mask over it and another one far away are matched by.
    truth = masks((50, 40, 51, 41), (0, 0, 1, 1), size=(480, 640))
    predicted = masks((x, y, x + 1, y + 1), (0, 0, 1, 1), size=(480, 640))
    truth[0, 100:110, 100:110] = predicted[0, 200:210, 200:210] = True
    truth[0, 300, 300] = predicted[0, 300, 300] = True
    assert image_metrics(truth, predicted).boundary == PrecisionRecall((is_near + 2) / 39, (is_near + 2) / 39)


def test_the_boundary_is_one_pixel_wide_and_inside() -> None:
    mask = masks((10, 10, 15, 15))[0]
    edge = boundary(mask)
    assert edge.sum() == 16
    assert not (edge & ~mask).any()


def test_the_boundary_has_the_images_border_but_no_holes() -> None:
    cut_off, with_hole = masks((0, 0, 5, 5))[0], masks((10, 10, 17, 17))[0]
    with_hole[13, 13] = False
    assert (boundary(cut_off).sum(), boundary(with_hole).sum()) == (16, 24)
    assert boundary(cut_off)[0, 2]
    assert not boundary(np.zeros_like(cut_off)).any()


def test_an_object_is_split_where_several_predictions_lie_mostly_on_it() -> None:
    truth = masks((0, 0, 20, 10), (30, 0, 40, 10))
    cases = {
        "halves": (masks((0, 0, 10, 10), (10, 0, 20, 10)), (True, False)),
        "a piece below a tenth": (masks((0, 0, 19, 10), (19, 0, 20, 10)), (False, False)),
        "a piece that lies mostly elsewhere": (masks((0, 0, 15, 10), (15, 0, 29, 10)), (False, False)),
        "one each": (truth, (False, False)),
    }
    for name, (predicted, split) in cases.items():
        found = image_metrics(truth, predicted)
        assert (name, found.objects_split) == (name, split)
        assert found.objects_merged == (False, False)


def test_objects_are_merged_where_one_prediction_takes_most_of_both() -> None:
    truth = masks((0, 0, 20, 10), (20, 0, 40, 10), (50, 0, 60, 10))
    assert image_metrics(truth, masks((0, 0, 40, 10), (50, 0, 60, 10))).objects_merged == (True, True, False)
    assert image_metrics(truth, masks((0, 0, 29, 10), (50, 0, 60, 10))).objects_merged == (False, False, False)
    assert image_metrics(truth, masks()).objects_merged == (False, False, False)
