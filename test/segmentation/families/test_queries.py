"""RF-DETR-Seg, Mask2Former, MaskFormer and DETR: their outputs, held against references from the definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from instance_seg_ros.segmentation.families.family import Family, Reading
from instance_seg_ros.segmentation.families.mask_queries import DETR, MASK2FORMER, MASKFORMER
from instance_seg_ros.segmentation.families.rf_detr import RF_DETR_SEG
from instance_seg_ros.segmentation.postprocessing import NotFiniteError

NETWORK_WH = (192, 128)
CLASSES = 4


def random_queries(count: int, classes: int, blobs: Callable[..., np.ndarray]) -> dict[str, np.ndarray]:
    """Logits, normalised boxes and masks of queries; with 12 of them, some are sure and some find nothing."""
    rng = np.random.default_rng(count)
    return {
        "logits": rng.normal(0, 3, (1, count, classes)).astype(np.float32),
        "boxes": rng.uniform(0.2, 0.8, (1, count, 4)).astype(np.float32),
        "masks": blobs(count, NETWORK_WH[1] // 4, NETWORK_WH[0] // 4, sigma=2.0)[None] - 0.5,
    }


def reading_for(family: Family, camera) -> Reading:
    return Reading(family.image.placement(camera.size_wh, NETWORK_WH), CLASSES, 0.7)


def box_of(outputs: dict[str, np.ndarray], query: int, camera) -> np.ndarray:
    x, y, width, height = outputs["boxes"][0, query].astype(float) * np.tile(NETWORK_WH, 2)
    return camera.box(np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]))


@pytest.mark.parametrize("count", [0, 1, 12])
@pytest.mark.parametrize("spare", [0, 1])
def test_rf_detr_takes_the_best_pairs_of_query_and_class(
    count: int, spare: int, size_wh, camera_in, blobs, found, check: Callable
) -> None:
    camera = camera_in(size_wh, NETWORK_WH, "stretch")
    outputs = random_queries(count, CLASSES + spare, blobs)
    probabilities = torch.sigmoid(torch.tensor(outputs["logits"][0, :, :CLASSES])).flatten()
    expected = []
    for pair in torch.argsort(probabilities, descending=True).tolist():
        if probabilities[pair] >= 0.05:
            query, class_id = divmod(pair, CLASSES)
            mask = camera.sampled(outputs["masks"][0, query]) > 0
            expected.append(found(box_of(outputs, query, camera), float(probabilities[pair]), class_id, mask))
    check(RF_DETR_SEG, outputs, reading_for(RF_DETR_SEG, camera), expected)


@pytest.mark.parametrize("count", [0, 1, 12])
@pytest.mark.parametrize(("family", "grid_hw"), [(MASK2FORMER, (384, 384)), (MASKFORMER, (32, 48))])
def test_classes_are_weighed_by_their_masks(
    family: Family, grid_hw: tuple[int, int], count: int, size_wh, camera_in, blobs, found, check: Callable
) -> None:
    camera = camera_in(size_wh, NETWORK_WH, "stretch")
    outputs = random_queries(count, CLASSES + 1, blobs)
    probabilities = torch.softmax(torch.tensor(outputs["logits"][0]), dim=1)[:, :-1].flatten()
    expected = []
    for pair in torch.argsort(probabilities, descending=True).tolist()[:count]:
        query, class_id = divmod(pair, CLASSES)
        logits = torch.tensor(outputs["masks"][:, query : query + 1])
        fine = F.interpolate(logits, size=grid_hw, mode="bilinear", align_corners=False)
        certainty = torch.sigmoid(fine[fine > 0]).mean() if (fine > 0).any() else torch.zeros(())
        score = float(probabilities[pair] * certainty)
        if score >= 0.05:
            mask = camera.sampled(outputs["masks"][0, query]) > 0
            expected.append(found(np.zeros(4), score, class_id, mask))
    expected.sort(key=lambda one: -one.score)
    check(family, outputs, reading_for(family, camera), expected, box_of_mask=True)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (200, 334), (334, 200), (24, 32), (384, 384), (400, 500)])
def test_small_masks_of_mask2former_are_weighed_on_the_grid_of_transformers_at_every_size(
    height: int, width: int
) -> None:
    rows, columns = np.mgrid[:height, :width]
    places = [(0.0, 0.0), (height / 2, width / 3), (height - 1.0, width - 1.5), (height / 4, width - 6.0)]
    masks = np.stack(
        [radius - np.hypot(rows - y, columns - x) for radius in (0.8, 2.0, 5.0) for y, x in places]
    ).astype(np.float32)
    logits = np.tile(np.array([9, 0, 0, 0, 0], dtype=np.float32), (len(masks), 1))
    fine = F.interpolate(torch.tensor(masks)[None], size=(384, 384), mode="bilinear", align_corners=False)[0]
    certain = torch.softmax(torch.tensor(logits), dim=1)[:, 0]
    above = (fine > 0).float()
    expected = certain * (fine.sigmoid() * above).sum(dim=(1, 2)) / (above.sum(dim=(1, 2)) + 1e-6)
    placement = MASK2FORMER.image.placement((64, 48), (4 * width, 4 * height))
    read = MASK2FORMER.decode({"logits": logits[None], "masks": masks[None]}, Reading(placement, CLASSES, 0.7))
    assert np.sort(read.scores) == pytest.approx(np.sort(expected[expected >= 0.05].numpy()), abs=1e-4)


@pytest.mark.parametrize("count", [0, 1, 12])
def test_detr_takes_the_best_class_of_each_query(count: int, size_wh, camera_in, blobs, found, check: Callable) -> None:
    camera = camera_in(size_wh, NETWORK_WH, "stretch")
    outputs = random_queries(count, CLASSES + 1, blobs)
    expected = []
    for query, logits in enumerate(torch.tensor(outputs["logits"][0])):
        probability, class_id = torch.softmax(logits, dim=0).max(dim=0)
        if class_id < CLASSES and probability >= 0.05:
            mask = camera.sampled(outputs["masks"][0, query]) > 0
            expected.append(found(box_of(outputs, query, camera), float(probability), int(class_id), mask))
    expected.sort(key=lambda one: -one.score)
    check(DETR, outputs, reading_for(DETR, camera), expected)


def test_masks_that_claim_nothing_or_everything_are_kept_apart(camera_in, found, check: Callable) -> None:
    camera = camera_in((64, 48), NETWORK_WH, "stretch")
    outputs = {
        "logits": np.array([[[9, 0, 0, 0], [0, 9, 0, 0]]], dtype=np.float32),
        "boxes": np.full((1, 2, 4), 0.5, dtype=np.float32),
        "masks": np.stack([np.full((32, 48), -1), np.ones((32, 48))])[None].astype(np.float32),
    }
    output = RF_DETR_SEG.decode(outputs, reading_for(RF_DETR_SEG, camera))
    regions = output.mask_regions_xyxy[np.argsort(output.class_ids[:2])]
    assert regions.tolist() == [[0, 0, 0, 0], [0, 0, 64, 48]]


@pytest.mark.parametrize(
    ("family", "role"),
    [
        (RF_DETR_SEG, "logits"),
        (RF_DETR_SEG, "boxes"),
        (MASK2FORMER, "logits"),
        (DETR, "logits"),
        (DETR, "boxes"),
    ],
)
def test_numbers_that_are_none_are_refused(family: Family, role: str, camera_in, blobs) -> None:
    outputs = random_queries(3, CLASSES + 1, blobs)
    outputs["logits"][:] = [9, 0, 0, 0, 0]
    outputs[role][0, 1, 2] = np.nan
    with pytest.raises(NotFiniteError):
        family.decode(outputs, reading_for(family, camera_in((64, 48), NETWORK_WH, "stretch")))


@pytest.mark.parametrize("family", [MASK2FORMER, MASKFORMER, DETR])
@pytest.mark.parametrize("values", [[np.nan, 0, 0, 0, 0], [np.inf, 0, 0, 0, 0], [-np.inf] * 5])
def test_class_logits_without_a_meaning_are_called_so(family: Family, values: list[float], camera_in, blobs) -> None:
    outputs = random_queries(3, CLASSES + 1, blobs)
    outputs["logits"][0, 1] = values
    with pytest.raises(NotFiniteError, match="the network's class logits are not finite"):
        family.decode(outputs, reading_for(family, camera_in((64, 48), NETWORK_WH, "stretch")))
