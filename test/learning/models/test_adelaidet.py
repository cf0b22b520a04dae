"""AdelaiDet's CondInst: pre-processing, candidates, suppression, masks, each against the plain way to compute it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from instance_seg_ros.learning.models.adelaidet import AdelaiDetCondInst, AdelaiDetConfig, Locations, locations_of
from instance_seg_ros.learning.models.adelaidet_inference import (
    Candidates,
    Detector,
    ImageInput,
    InferenceSettings,
    candidates_of,
    full_masks,
    level_sizes,
    padded_size,
    resampling_matrix,
    resized_size,
    suppress_greedily,
    to_adelaidet_instances,
)
from instance_seg_ros.learning.models.fcos_head import LevelOutput
from instance_seg_ros.segmentation.families.coco import COCO_CLASS_NAMES


@pytest.fixture(scope="module")
def model() -> AdelaiDetCondInst:
    torch.manual_seed(0)
    return AdelaiDetCondInst(AdelaiDetConfig(num_classes=3)).eval()


def test_coco_has_eighty_names() -> None:
    assert len(set(COCO_CLASS_NAMES)) == 80
    assert [COCO_CLASS_NAMES[i] for i in (0, 39, 73, 79)] == ["person", "bottle", "book", "toothbrush"]


@pytest.mark.parametrize(
    ("size_wh", "resized_wh", "padded_wh"),
    [
        ((640, 480), (1067, 800), (1088, 800)),
        ((480, 640), (800, 1067), (800, 1088)),
        ((1280, 720), (1333, 750), (1344, 768)),
        ((1920, 1080), (1333, 750), (1344, 768)),
        ((800, 800), (800, 800), (800, 800)),
    ],
)
def test_images_are_resized_to_adelaidets_size(size_wh, resized_wh, padded_wh) -> None:
    assert resized_size(*size_wh) == resized_wh
    assert padded_size(*resized_wh) == padded_wh


@pytest.mark.parametrize(("in_size", "out_size"), [(7, 12), (12, 12), (31, 12), (640, 1067), (1920, 1333)])
def test_resampling_is_bilinear_without_aliasing(in_size: int, out_size: int) -> None:
    line = torch.rand(1, 1, 1, in_size, generator=torch.Generator().manual_seed(1)) * 255
    expected = F.interpolate(line.double(), size=(1, out_size), mode="bilinear", antialias=True, align_corners=False)
    found = resampling_matrix(in_size, out_size) @ line.flatten()
    torch.testing.assert_close(found, expected.flatten().float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("size_wh", [(64, 48), (1200, 900)])
def test_the_resized_image_is_the_one_of_an_image_library(size_wh: tuple[int, int]) -> None:
    image_module = pytest.importorskip("PIL.Image")
    color_rgb = np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    picture = image_module.fromarray(color_rgb).resize((107, 80), image_module.BILINEAR)
    config = AdelaiDetConfig(style="torchvision")
    image_input = ImageInput(config, size_wh, (107, 80))
    levels = image_input(torch.from_numpy(color_rgb))[0, :, :80, :107] * image_input.std + image_input.mean
    difference = np.abs(levels.round().permute(1, 2, 0).numpy() - np.asarray(picture, dtype=np.float32))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("caffe", [30 - 103.53, 20 - 116.28, 10 - 123.675]),
        ("torchvision", [(10 - 123.675) / 58.395, (20 - 116.28) / 57.12, (30 - 103.53) / 57.375]),
    ],
)
def test_colour_is_ordered_normalised_and_padded_with_zero(style: str, expected: list[float]) -> None:
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(40, 50, 3)
    network_input = ImageInput(AdelaiDetConfig(style=style), (50, 40), (50, 40))(image)
    assert network_input.shape == (1, 3, 64, 64)
    torch.testing.assert_close(network_input[0, :, :40, :50], torch.tensor(expected).view(3, 1, 1).expand(3, 40, 50))
    assert not network_input[..., 40:, :].any()
    assert not network_input[..., 50:].any()


@pytest.mark.parametrize(
    "overrides", [{"depth": 34}, {"style": "keras"}, {"num_classes": 0}, {"semantic_blocks": -1}], ids=str
)
def test_a_configuration_that_cannot_be_is_refused(overrides: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(overrides))):
        AdelaiDetConfig(**overrides)


def test_levels_have_the_sizes_that_the_network_gives(model: AdelaiDetCondInst) -> None:
    with torch.inference_mode():
        features = model(torch.zeros(1, 3, 96, 160))
    assert [tuple(x.shape[2:]) for x in features.pyramid] == level_sizes(160, 96)
    assert features.mask_features.shape == (1, 8, 12, 20)


def test_the_controller_at_chosen_locations_equals_the_controller_everywhere(model: AdelaiDetCondInst) -> None:
    generator = torch.Generator().manual_seed(2)
    sizes = [(6, 10), (3, 5), (2, 3), (1, 2), (1, 1)]
    levels = [
        LevelOutput(torch.empty(0), torch.empty(0), torch.empty(0), torch.randn(1, 256, h, w, generator=generator))
        for h, w in sizes
    ]
    with torch.inference_mode():
        everywhere = torch.cat([model.controller(level.box_features)[0].flatten(1) for level in levels], dim=1)
        chosen = torch.tensor([0, 9, 59, 60, 74, 75, 82, 83, 80])
        torch.testing.assert_close(model.parameters_at(levels, chosen), everywhere[:, chosen].T, rtol=1e-4, atol=1e-5)


def test_candidates_are_the_best_of_each_level_in_input_pixels() -> None:
    quiet = torch.full((1, 2, 2, 3), -20.0)
    loud = quiet.clone()
    loud[0, 1, 1, 2] = 20.0  # class 1 in the last cell of the level at stride 16
    ltrb = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1).expand(1, 4, 2, 3)
    levels = [LevelOutput(x, ltrb, torch.zeros(1, 1, 2, 3), torch.empty(0)) for x in (quiet, loud, quiet, quiet, quiet)]
    found = candidates_of(levels, locations_of([(2, 3)] * 5), InferenceSettings(candidates_per_level=4))
    row = int(found.scores.argmax())
    assert len(found.scores) == 20
    assert found.scores.count_nonzero() == 1
    assert found.scores[row] == pytest.approx(0.5)
    assert (int(found.class_ids[row]), int(found.location_index[row])) == (1, 11)
    # The cell's centre is (2 * 16 + 8, 1 * 16 + 8).
    assert found.boxes_xyxy[row].tolist() == [40 - 16, 24 - 32, 40 + 48, 24 + 64]


def greedy_in_words(candidates: Candidates, overlap_threshold: float, count: int) -> list[int]:
    """The textbook's loop over the sorted candidates."""
    boxes, classes = candidates.boxes_xyxy.double().numpy(), candidates.class_ids.numpy()
    kept: list[int] = []
    for index in np.argsort(-candidates.scores.numpy(), kind="stable"):
        overlaps = []
        for other in kept:
            corner, far = np.maximum(boxes[index, :2], boxes[other, :2]), np.minimum(boxes[index, 2:], boxes[other, 2:])
            shared = np.prod(np.clip(far - corner, 0, None))
            areas = [np.prod(boxes[i, 2:] - boxes[i, :2]) for i in (index, other)]
            overlaps.append(shared / (sum(areas) - shared) if classes[index] == classes[other] else 0)
        if candidates.scores[index] > 0 and max(overlaps, default=0) <= overlap_threshold:
            kept.append(int(index))
    return kept[:count]


@pytest.mark.parametrize("seed", range(5))
def test_suppression_equals_the_greedy_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-20, 60, (200, 2))
    boxes = torch.from_numpy(np.hstack([corner, corner + rng.uniform(5, 60, (200, 2))]).astype(np.float32))
    scores = torch.from_numpy(np.where(rng.random(200) < 0.2, 0, rng.random(200)).astype(np.float32))
    candidates = Candidates(boxes, scores, torch.from_numpy(rng.integers(0, 2, 200)), torch.arange(200))
    expected = greedy_in_words(candidates, 0.4, 150)
    index, kept_scores = suppress_greedily(candidates, 0.4, 150)
    found = index[kept_scores > 0].tolist()
    assert found == expected
    assert 30 < len(found) < 150
    assert kept_scores.tolist() == pytest.approx([*scores[expected].tolist(), *[0] * (150 - len(expected))])


def test_a_box_without_area_is_kept_once() -> None:
    boxes = torch.tensor([[5.0, 5, 5, 5], [0, 0, 9, 9]])
    candidates = Candidates(boxes, torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64), torch.arange(2))
    index, scores = suppress_greedily(candidates, 0.6, 3)
    assert index[:2].tolist() == [0, 1]
    assert scores.tolist() == pytest.approx([0.9, 0.8, 0])


def test_full_masks_crop_the_padding_and_fit_the_output() -> None:
    probabilities = torch.zeros(1, 16, 16)
    probabilities[:, :, 8:] = 1  # from input pixel 32 on
    masks = full_masks(probabilities, resized_wh=(50, 40), output_wh=(100, 80)) > 0.5
    assert masks.shape == (1, 80, 100)
    columns = masks[0].all(dim=0).nonzero().flatten()
    # Sample 8 stands for input pixel 34, sample 7 for 30: half way is pixel 32, where the doubled output is just 0.5.
    assert columns.tolist() == list(range(65, 100))


def test_a_detector_gives_its_rows_in_camera_pixels(model: AdelaiDetCondInst) -> None:
    settings = InferenceSettings(min_score=0.0, max_instances=5, candidates_per_level=20)
    detector = Detector(model, (50, 40), (100, 80), settings)
    image = torch.randint(0, 255, (40, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        boxes, scores, classes, masks = detector(image)
        instances = to_adelaidet_instances(boxes, scores, classes, masks, detector, (25, 20))
    assert boxes.shape == (5, 4)
    assert ((boxes >= 0) & (boxes <= torch.tensor([50, 40, 50, 40]))).all()
    assert (scores[:-1] >= scores[1:]).all()
    assert masks.shape == (5, 24, 32)  # 80x100 padded to 96x128, at stride 4
    assert instances.masks.shape == (int((scores > 0).sum()), 20, 25)
    torch.testing.assert_close(instances.boxes_xyxy, boxes[scores > 0] / 2)


def test_a_network_that_overflows_says_so_instead_of_finding_nothing(model: AdelaiDetCondInst) -> None:
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.head.class_tower.convs[0].weight.fill_(torch.inf)
    detector = Detector(broken, (50, 40), (100, 80), InferenceSettings(max_instances=3, candidates_per_level=20))
    with torch.inference_mode():
        scores = detector(torch.zeros(40, 50, 3, dtype=torch.uint8))[1]
    assert scores.isnan().any()


def test_locations_know_their_level() -> None:
    locations = locations_of([(1, 2), (1, 1), (1, 1), (1, 1), (1, 1)])
    assert isinstance(locations, Locations)
    assert locations.xy.tolist() == [[4, 4], [12, 4], [8, 8], [16, 16], [32, 32], [64, 64]]
    assert locations.stride.tolist() == [8, 8, 16, 32, 64, 128]
    assert locations.size_px.tolist() == [64, 64, 128, 256, 512, 1024]
