"""Network outputs to instances: mask resampling, disputed pixels, thresholds."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.segmentation.mask_kernels import upsampled
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, stuff_image, to_instances


def output(masks: list[np.ndarray], boxes: list[tuple[float, ...]], scores: list[float], scale: float = 1.0):
    return NetworkOutput(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(scores, dtype=np.float32),
        np.zeros(len(scores), dtype=np.int64),
        np.array(masks, dtype=np.float16),
        np.array([scale, scale], dtype=np.float32),
    )


def instances_of(network_output: NetworkOutput, size_wh=(8, 6), **overrides):
    settings = {"score_threshold": 0.5, "mask_threshold": 0.5, "max_instances": 50, "min_mask_pixels": 1} | overrides
    return to_instances(network_output, size_wh, ("object",), **settings)


def rectangle(x0: int, y0: int, x1: int, y1: int, probability: float = 0.9, size_wh=(8, 6)) -> np.ndarray:
    mask = np.zeros(size_wh[::-1])
    mask[y0:y1, x0:x1] = probability
    return mask


def test_a_mask_on_the_camera_grid_comes_out_as_it_went_in() -> None:
    instances = instances_of(output([rectangle(2, 1, 5, 4)], [(2, 1, 5, 4)], [0.8]))
    assert instances.label_image().tolist() == rectangle(2, 1, 5, 4, 1).tolist()
    assert instances.boxes_xyxy.tolist() == [[2, 1, 5, 4]]
    assert instances.scores.tolist() == [pytest.approx(0.8)]


def test_a_mask_offset_moves_the_mask() -> None:
    moved = replace(
        output([rectangle(2, 1, 5, 4)], [(2, 1, 5, 4)], [0.8]), mask_offset=np.array([-1, 1], dtype=np.float32)
    )
    assert instances_of(moved).label_image().tolist() == rectangle(3, 0, 6, 3, 1).tolist()


def test_a_mask_at_half_resolution_is_resampled_at_pixel_centres() -> None:
    coarse = np.zeros((4, 4))
    coarse[:, :2] = 1  # the left half: columns 0..3 of 8
    instances = instances_of(output([coarse], [(0, 0, 4, 8)], [0.9], scale=0.5), size_wh=(8, 8))
    assert instances.masks[0].tolist() == np.repeat([[True] * 4 + [False] * 4], 8, axis=0).tolist()


@pytest.mark.parametrize("box", [(0, 0, 8, 8), (4, 2, 6, 4)])
def test_a_mask_is_upsampled_by_the_weights_of_its_neighbours(box: tuple[int, ...]) -> None:
    coarse = np.zeros((4, 4))
    coarse[1, 2] = 1  # fine rows 2 and 3, fine columns 4 and 5
    weights = np.zeros((9, 2, 2, 4, 4), dtype=np.float16)
    weights[4] = 1
    weights[:, 0, 0, 2, 2] = np.eye(9)[1]  # fine pixel (4, 4) takes the cell above its own
    finer = replace(output([coarse], [box], [0.9]), mask_upsampling=weights)
    expected = rectangle(4, 2, 6, 4, 1, (8, 8)) + rectangle(4, 4, 5, 5, 1, (8, 8))
    assert instances_of(finer, size_wh=(8, 8)).label_image().tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((0, 0, 10, 6), [0, 0, 13, 6]),  # 10 + a tenth of 10 + two cells
        ((10, 0, 20, 6), [7, 0, 23, 6]),
        ((10.4, 0, 19.6, 6), [7, 0, 23, 6]),  # 7.48 to 22.52
    ],
)
def test_a_mask_far_outside_its_box_is_cut(box: tuple[float, ...], kept: list[int]) -> None:
    everywhere = np.full((6, 40), 0.9)
    instances = instances_of(output([everywhere], [box], [0.9]), size_wh=(40, 6))
    assert instances.boxes_xyxy[0].tolist() == kept


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (2.3, -1.6), (30.0, 0.0), (0.0, -30.0)])
@pytest.mark.parametrize("box", [(0, 0, 18, 14), (6, 4, 9, 6), (16, 12, 17, 13), (9, 0, 18, 6)])
def test_a_mask_that_is_upsampled_around_its_box_is_there_as_if_it_were_whole(
    box: tuple[int, ...], offset: tuple[float, float], scale: float
) -> None:
    rng = np.random.default_rng(2)
    coarse = rng.random((6, 8)).astype(np.float16)
    weights = rng.random((9, 2, 2, 6, 8)).astype(np.float32)
    weights /= weights.sum(axis=0)
    whole = replace(
        output([upsampled(coarse.astype(np.float32), weights, 0, 0, *coarse.shape[::-1])], [box], [0.9], scale),
        mask_offset=np.array(offset, np.float32),
    )
    around = replace(whole, masks=coarse[None], mask_upsampling=weights)
    found, expected = (
        instances_of(each, (18, 14), mask_threshold=0.45, overlapping=True).masks for each in (around, whole)
    )
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("weights", "fits"),
    [
        ((9, 2, 2, 6, 8), True),
        ((9, 2, 2, 5, 8), False),
        ((9, 2, 2, 12, 16), False),
        ((9, 2, 3, 6, 8), False),
        ((4, 2, 2, 6, 8), False),
        ((9,), False),
    ],
)
def test_weights_that_are_not_of_the_masks_grid_are_refused(weights: tuple[int, ...], fits: bool) -> None:
    masks = output([rectangle(2, 1, 5, 4)], [(2, 1, 5, 4)], [0.8])
    with nullcontext() if fits else pytest.raises(ModelError, match="does not fit its masks"):
        replace(masks, mask_upsampling=np.zeros(weights, np.float16))


def test_the_higher_probability_wins_a_disputed_pixel() -> None:
    masks = [rectangle(0, 0, 5, 6, 0.7), rectangle(3, 0, 8, 6, 0.9)]
    instances = instances_of(output(masks, [(0, 0, 5, 6), (3, 0, 8, 6)], [0.9, 0.6]))
    assert instances.label_image()[0].tolist() == [1, 1, 1, 2, 2, 2, 2, 2]


def test_bounds_are_those_of_what_a_mask_keeps() -> None:
    masks = [rectangle(0, 1, 5, 6, 0.7), rectangle(3, 0, 8, 4, 0.9), rectangle(0, 0, 3, 6, 0.6)]
    instances = instances_of(output(masks, [(0, 1, 5, 6), (3, 0, 8, 4), (0, 0, 3, 6)], [0.9, 0.8, 0.7]))
    assert instances.bounds == ((0, 1, 5, 5), (3, 0, 5, 4)) == replace(instances, bounds_xywh=None).bounds
    assert instances_of(output(masks, [(0, 1, 5, 6)] * 3, [0.1] * 3)).bounds == ()


def test_an_instance_that_loses_most_of_its_pixels_is_a_duplicate() -> None:
    masks = [rectangle(0, 0, 6, 6, 0.9), rectangle(0, 0, 5, 6, 0.8)]
    instances = instances_of(output(masks, [(0, 0, 6, 6), (0, 0, 5, 6)], [0.9, 0.8]))
    assert instances.scores.tolist() == [pytest.approx(0.9)]


@pytest.mark.parametrize(("lost_columns", "kept"), [(4, 2), (5, 2), (6, 1), (7, 1)])
def test_an_instance_that_keeps_two_fifths_of_its_pixels_or_fewer_is_a_duplicate(lost_columns: int, kept: int) -> None:
    """Of ten columns."""
    masks = [rectangle(0, 0, lost_columns, 6, 0.9, (10, 6)), rectangle(0, 0, 10, 6, 0.8, (10, 6))]
    instances = instances_of(output(masks, [(0, 0, lost_columns, 6), (0, 0, 10, 6)], [0.9, 0.8]), size_wh=(10, 6))
    assert len(instances) == kept


def test_overlapping_masks_keep_all_that_they_claim() -> None:
    masks = [rectangle(0, 0, 6, 6, 0.9), rectangle(0, 0, 5, 6, 0.8)]
    instances = instances_of(output(masks, [(0, 0, 6, 6), (0, 0, 5, 6)], [0.9, 0.8]), overlapping=True)
    assert [int(mask.sum()) for mask in instances.masks] == [36, 30]
    assert instances.boxes_xyxy.tolist() == [[0, 0, 6, 6], [0, 0, 5, 6]]


@pytest.mark.parametrize(
    ("scores", "settings", "kept"),
    [
        ([0.9, 0.49], {}, 1),
        ([0.9, 0.49], {"score_threshold": 0.4}, 2),
        ([0.9, 0.0], {"score_threshold": 0.0}, 1),
        ([0.9, 0.8], {"max_instances": 1}, 1),
        ([0.9, 0.8], {"min_mask_pixels": 13}, 0),
        ([0.0, 0.0], {}, 0),
    ],
)
def test_thresholds(scores: list[float], settings: dict, kept: int) -> None:
    masks, boxes = [rectangle(0, 0, 4, 3), rectangle(4, 3, 8, 6)], [(0, 0, 4, 3), (4, 3, 8, 6)]
    assert len(instances_of(output(masks, boxes, scores), **settings)) == kept


@pytest.mark.parametrize(
    ("scores", "threshold", "seen"),
    [([0.9, 0.4], 0.5, {-1, 0}), ([0.9, 0.4], 0.3, {-1, 0, 1}), ([0.9, 0.0], 0.0, {-1, 0})],
)
def test_stuff_has_the_pixels_of_rows_that_mean_anything(scores: list[float], threshold: float, seen: set[int]) -> None:
    found = output([rectangle(0, 0, 4, 3), rectangle(4, 3, 8, 6)], [(0, 0, 4, 3), (4, 3, 8, 6)], scores)
    found = replace(found, class_ids=np.array([0, 1]))
    assert set(np.unique(stuff_image(found, (8, 6), (0, 1), threshold, 0.5)).tolist()) == seen


@pytest.mark.parametrize("box", [(-9, -9, -5, -5), (100, 100, 200, 200), (3, 3, 3, 3), (-1e6, -1e6, 1e6, 1e6)])
def test_a_box_anywhere_never_raises(box: tuple[float, ...]) -> None:
    instances_of(output([rectangle(0, 0, 8, 6)], [box], [0.9]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", ["scores", "boxes", "masks"])
def test_what_is_not_finite_is_an_error_and_not_an_empty_result(what: str, value: float) -> None:
    mask, box, score = rectangle(0, 0, 4, 3), [0.0, 0.0, 4.0, 3.0], 0.9
    mask[1, 1] = value if what == "masks" else mask[1, 1]
    box[2] = value if what == "boxes" else box[2]
    with pytest.raises(ModelError, match=f"the network's {what} are not finite.*another precision or backend"):
        instances_of(output([mask], [tuple(box)], [value if what == "scores" else score]))


def test_a_mask_offset_moves_an_upsampled_mask_however_far() -> None:
    coarse = np.zeros((4, 8))
    coarse[1, 6] = 1  # fine rows 2 and 3, fine columns 12 and 13
    weights = np.zeros((9, 2, 2, 4, 8), dtype=np.float16)
    weights[4] = 1
    moved = replace(
        output([coarse], [(2, 2, 4, 4)], [0.9]),
        mask_offset=np.array([10, 0], dtype=np.float32),
        mask_upsampling=weights,
    )
    assert instances_of(moved, size_wh=(6, 8)).label_image().tolist() == rectangle(2, 2, 4, 4, 1, (6, 8)).tolist()


def test_more_instances_than_a_byte_can_number_keep_their_own_pixels() -> None:
    masks = np.zeros((300, 30, 40), dtype=np.float32)
    for index in range(300):
        row, column = 2 * (index // 40), index % 40
        masks[index, row : row + 2, column] = 1
    boxes_xyxy = np.tile(np.array([0, 0, 40, 30], dtype=np.float32), (300, 1))
    scores, class_ids = np.linspace(0.9, 0.5, 300, dtype=np.float32), np.zeros(300, dtype=np.int64)
    output = NetworkOutput(boxes_xyxy, scores, class_ids, masks, np.ones(2, dtype=np.float32))
    found = to_instances(output, (40, 30), ("object",), 0.1, 0.5, 1000, 1)
    np.testing.assert_array_equal(found.masks, masks > 0)
