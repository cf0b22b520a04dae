from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.instances import Instances, boxes_of_masks
from instance_seg_ros.learning.evaluation.average_precision import (
    EncodedImage,
    average_precision,
    class_precisions,
    encode,
    mean_over_classes,
)

pytest.importorskip("faster_coco_eval")


def masks(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """(N, H, W) masks of rectangles x0 y0 x1 y1."""
    result = np.zeros((len(boxes), *size), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(result, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return result


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def instances(masks_: np.ndarray, scores_: np.ndarray, *names: str) -> Instances:
    """With a class name each; "a" where none is named."""
    known = ("a", "b", "c")
    ids = np.array([known.index(name) for name in names or len(masks_) * "a"], dtype=np.int64)
    return Instances(masks_, boxes_of_masks(masks_), scores_, ids, known)


def encoded(truth: np.ndarray, predicted: np.ndarray, scores_: np.ndarray) -> EncodedImage:
    """All of one class."""
    return encode(instances(truth, np.ones(len(truth), np.float32)), instances(predicted, scores_))


def test_a_perfect_prediction_has_1_everywhere() -> None:
    truth = masks((0, 0, 50, 50), (100, 0, 150, 50))
    result = average_precision([encoded(truth, truth, scores(0.9, 0.8))])
    assert result.ap == result.ap75 == result.boundary_ap == pytest.approx(1)
    assert result.curves[0.5] == pytest.approx((1.0,) * 101)


def test_one_of_two_objects_found_is_precision_1_up_to_a_recall_of_one_half() -> None:
    truth = masks((0, 0, 50, 50), (100, 0, 150, 50))
    result = average_precision([encoded(truth, truth[:1], scores(0.9))])
    assert result.ap50 == pytest.approx(51 / 101)
    assert sum(result.curves[0.75]) == pytest.approx(51)
    assert result.ar100 == pytest.approx(0.5)


def test_a_false_prediction_with_the_best_score_halves_the_precision() -> None:
    truth = masks((0, 0, 50, 50))
    predicted = masks((200, 0, 250, 50), (0, 0, 50, 50))
    assert average_precision([encoded(truth, predicted, scores(0.9, 0.5))]).ap50 == pytest.approx(0.5)


def test_images_count_together() -> None:
    truth = masks((0, 0, 50, 50))
    found, missed = encoded(truth, truth, scores(0.9)), encoded(truth, truth[:0], scores())
    assert average_precision([found, missed]).ap50 == pytest.approx(51 / 101)
    empty = encoded(truth[:0], truth[:0], scores())
    assert average_precision([empty, found]).curves == average_precision([found]).curves != {}


def test_nothing_predicted_is_0_and_nothing_to_find_is_not_a_number() -> None:
    truth = masks((0, 0, 50, 50))
    missed = average_precision([encoded(truth, truth[:0], scores())])
    assert (missed.ap, missed.ap_large, missed.ar100, missed.boundary_ap) == (0, 0, 0, 0)
    assert np.isnan([missed.ap_small, missed.ap_medium]).all()
    assert missed.curves[0.5] == (0.0,) * 101
    for predicted, scores_ in ((truth, scores(0.9)), (truth[:0], scores())):
        nothing = average_precision([encoded(truth[:0], predicted, scores_)])
        assert np.isnan(list(nothing.values().values())).all()
        assert nothing.curves == {}


@pytest.mark.parametrize(
    ("side_px", "size"), [(15, "small"), (17, "medium"), (47, "medium"), (49, "large")]
)  # 320x240: half of COCO's 32 and 96 px
def test_sizes_are_those_of_an_image_of_640x480(side_px: int, size: str) -> None:
    truth = masks((0, 0, side_px, side_px))
    values = average_precision([encoded(truth, truth, scores(0.9))]).values()
    for name in ("small", "medium", "large"):
        assert np.isnan(values[f"ap_{name}"]) == (name != size)


def test_boundary_ap_by_hand() -> None:
    # 100x100 object, predicted 4 px too small on each side. Mask IoU: 92^2 / 100^2 = 0.846. Bands of 8 px: 4 px in
    # common, (92^2 - 84^2) / (100^2 - 84^2 + 92^2 - 76^2 - (92^2 - 84^2)) = 1408 / 4224 = 0.333.
    truth, predicted = masks((100, 100, 200, 200)), masks((104, 104, 196, 196))
    result = average_precision([encoded(truth, predicted, scores(0.9))])
    assert result.ap == pytest.approx(0.7)  # right at 0.5, 0.55, ... 0.8
    assert result.boundary_ap50 == 0
    # 2 px too small: mask IoU 0.92; bands have 6 px in common: (96^2 - 84^2) / (100^2 - 80^2) = 0.6.
    result = average_precision([encoded(truth, masks((102, 102, 198, 198)), scores(0.9))])
    assert (result.boundary_ap50, result.boundary_ap75) == (pytest.approx(1), 0)
    assert result.boundary_ap == pytest.approx(0.3)  # at 0.5, 0.55 and 0.6


def test_an_inner_mask_is_judged_by_its_mask_iou_where_that_is_smaller() -> None:
    # Thin objects are all boundary: both IoUs are the same.
    truth, predicted = masks((0, 0, 100, 4)), masks((0, 0, 60, 4))
    result = average_precision([encoded(truth, predicted, scores(0.9))])
    assert (result.ap50, result.boundary_ap50) == (pytest.approx(1), pytest.approx(1))
    assert result.ap == result.boundary_ap == pytest.approx(0.3)


LEFT, MIDDLE, RIGHT = (0, 0, 50, 50), (100, 0, 150, 50), (200, 0, 250, 50)


def by_class(truth: str, predicted: str) -> list[float]:
    """AP50 of the classes a, b and c for objects left, in the middle and right, all found, with these names."""
    boxes = masks(*(LEFT, MIDDLE, RIGHT)[: len(truth)])
    image = encode(
        instances(boxes, np.ones(len(boxes), np.float32), *truth),
        instances(boxes[: len(predicted)], scores(0.9, 0.8, 0.7)[: len(predicted)], *predicted),
    )
    assert predicted == "" or average_precision([image]).ap50 == pytest.approx(1), "names do not count there"
    return [each.ap50 for each in class_precisions([image], 3)]


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ("aab", "aab", [1, 1, np.nan]),
        ("aab", "abb", [51 / 101, 0.5, np.nan]),  # one of two a found; a false b with the better score
        ("ab", "cc", [0, 0, np.nan]),
        ("abc", "", [0, 0, 0]),
    ],
)
def test_a_prediction_of_another_class_is_wrong_by_class(truth: str, predicted: str, expected: list[float]) -> None:
    np.testing.assert_allclose(by_class(truth, predicted), expected)


def test_predictions_of_a_class_that_the_data_do_not_know_are_left_out_by_class() -> None:
    truth = Instances(masks(LEFT), boxes_of_masks(masks(LEFT)), scores(1), np.zeros(1, np.int64), ("b",))
    image = encode(truth, instances(masks(RIGHT, LEFT), scores(0.9, 0.5), "a", "b"))
    (precision,) = class_precisions([image], 1)
    assert (precision.ap, precision.ap75, precision.boundary_ap) == pytest.approx((1, 1, 1))
    assert average_precision([image]).ap50 == pytest.approx(0.5)


def test_the_mean_over_classes_is_that_of_classes_with_objects() -> None:
    image = encode(instances(masks(LEFT, RIGHT), scores(1, 1), "a", "b"), instances(masks(LEFT), scores(0.9), "a"))
    assert mean_over_classes(class_precisions([image], 3)).ap == pytest.approx(0.5)
    assert np.isnan(mean_over_classes([]).ap)


def test_mask_ap_is_that_of_pycocotools() -> None:
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(0)
    images = []
    truths: list[dict] = []
    predictions: list[dict] = []
    for image_id in range(1, 9):
        corners = list(zip(rng.integers(6, 250, 4), rng.integers(0, 180, 4), rng.integers(-6, 7, 4), strict=True))
        truth = masks(*((x, y, x + 40, y + 30) for x, y, _ in corners))
        predicted = masks(*((x + shift, y, x + 44, y + 30) for x, y, shift in corners))
        ranks = rng.random(4).astype(np.float32)
        images.append(encoded(truth, predicted, ranks))
        for entries, regions in ((truths, images[-1].truth), (predictions, images[-1].predicted)):
            for region, score in zip(regions, ranks.tolist(), strict=True):
                facts = {"image_id": image_id, "category_id": 1, "iscrowd": 0, "area": 4800, "score": score}
                entries.append({"id": len(entries) + 1, "segmentation": region, **facts})

    def dataset(annotations: list[dict]) -> object:
        result = coco.COCO()
        sizes = [{"id": image_id, "height": 240, "width": 320} for image_id in range(1, 9)]
        result.dataset = {"images": sizes, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
        result.createIndex()
        return result

    judge = cocoeval.COCOeval(dataset(truths), dataset(predictions), "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    found = average_precision(images)
    assert 0.1 < found.ap < 0.9
    expected = (*judge.stats[:3], judge.stats[8])
    assert (found.ap, found.ap50, found.ap75, found.ar100) == pytest.approx(expected, abs=1e-9)
