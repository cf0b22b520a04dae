"""SAM, SAM 2 and SAM 3's tracker from folders: the masks of transformers' own post-processing, one look at an image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelError
from instance_seg_ros.segmentation.prompts import Detections, Prompts, load_prompt_models
from instance_seg_ros.segmentation.runtimes.prompt_network import SamNetwork

SIZES_WH = [(161, 121), (97, 130), (321, 239)]
POINTS = np.array([[30, 40], [80, 90.5], [0, 0]], dtype=np.float32)
BOXES = np.array([[20, 20, 80, 90], [0, 5, 60, 119]], dtype=np.float32)


def image_of(size_wh: tuple[int, int], seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (16, 20, 3)).astype(np.uint8)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_LINEAR)


def frame_of(color_rgb: np.ndarray | None, size_wh: tuple[int, int]) -> RgbdFrame:
    width, height = size_wh
    return RgbdFrame(color_rgb, np.ones((height, width), np.float32), Intrinsics(width, height, 300.0, 300.0, 80, 60))


def network_image(name: str, color_rgb: np.ndarray, side: int) -> tuple[torch.Tensor, tuple[float, float]]:
    """The network's image by the definition, and by how much x and y grow: the original's longest side, padded."""
    height, width = color_rgb.shape[:2]
    if name == "sam":
        ratio = side / max(height, width)
        size_wh = int(width * ratio + 0.5), int(height * ratio + 0.5)
    else:
        size_wh = side, side
    resized = cv2.resize(color_rgb, size_wh, interpolation=cv2.INTER_LINEAR)
    normalised = torch.from_numpy(resized).permute(2, 0, 1) / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    normalised = normalised / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    padded = torch.zeros(1, 3, side, side)
    padded[0, :, : size_wh[1], : size_wh[0]] = normalised
    return padded, (size_wh[0] / width, size_wh[1] / height)


def post_processed(name: str, masks: torch.Tensor, size_wh: tuple[int, int], side: int) -> torch.Tensor:
    """Logits (N, H, W) of masks (N, h, w): by transformers' own post-processing, or its definition for those whose
    processors need torchvision."""
    width, height = size_wh
    if name != "sam":
        return F.interpolate(masks[None], (height, width), mode="bilinear", align_corners=False)[0]
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    ratio = side / max(size_wh)
    inner_hw = int(height * ratio + 0.5), int(width * ratio + 0.5)
    (logits,) = SamImageProcessorPil().post_process_masks(
        [masks[:, None]], [(height, width)], [inner_hw], binarize=False, pad_size={"height": side, "width": side}
    )
    return logits[:, 0]


@pytest.mark.parametrize("name", ["sam", "sam2", "sam3"])
@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_masks_are_those_of_transformers(
    name: str, size_wh: tuple[int, int], saved: Callable[[str], tuple[Path, nn.Module]]
) -> None:
    folder, model = saved(name)
    network, color_rgb = SamNetwork(folder, 1), image_of(size_wh)
    side = network._network_wh[0]
    image, gain = network_image(name, color_rgb, side)
    with torch.no_grad():
        at_points = model(
            pixel_values=image,
            input_points=torch.from_numpy(POINTS * np.float32(gain))[None, :, None],
            input_labels=torch.ones(1, len(POINTS), 1, dtype=torch.int32),
        )
        in_boxes = model(
            pixel_values=image,
            input_boxes=torch.from_numpy(BOXES * np.tile(np.float32(gain), 2))[None],
            multimask_output=False,
        )
    best = at_points.iou_scores[0].argmax(dim=1)
    assert at_points.iou_scores.shape[2] == 3
    low = torch.cat([at_points.pred_masks[0, range(len(POINTS)), best], in_boxes.pred_masks[0, :, 0]])
    scores = torch.cat([at_points.iou_scores[0, range(len(POINTS)), best], in_boxes.iou_scores[0, :, 0]])
    expected = post_processed(name, low, size_wh, side).numpy()

    found = network(color_rgb, POINTS, BOXES)

    assert found.scores == pytest.approx(scores.numpy(), abs=1e-3)
    settings = SegmentationSettings(prompt_model_path=str(folder), min_mask_pixels=1)
    models, nothing = load_prompt_models(settings), Detections(np.zeros((0, 4), np.float32), *np.zeros((2, 0)))
    for row, logits in enumerate(expected):
        prompts = (
            Prompts(points_xy=(tuple(POINTS[row]),))
            if row < len(POINTS)
            else Prompts(boxes_xyxy=(tuple(BOXES[row - len(POINTS)].astype(int).tolist()),))
        )
        (mask,) = models.segmented(frame_of(color_rgb, size_wh), prompts, nothing).masks
        wanted = logits > 0
        assert 50 < wanted.sum() < wanted.size
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.99
        # They differ where the logit is next to 0 alone.
        assert np.abs(logits[mask != wanted]).max(initial=0) < 0.05 * np.abs(logits).max()


@pytest.mark.parametrize("name", ["sam", "sam2", "sam3"])
def test_an_image_is_looked_at_once_however_many_prompts_follow(
    name: str, saved: Callable[[str], tuple[Path, nn.Module]], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, looks = SamNetwork(saved(name)[0], 1), []
    encode = network.model.get_image_embeddings
    monkeypatch.setattr(network.model, "get_image_embeddings", lambda image: looks.append(1) or encode(image))
    first, second = image_of((161, 121)), image_of((161, 121), seed=1)

    before = network(first, POINTS, BOXES)
    again = [network(first.copy(), POINTS[[row]], BOXES[:0]) for row in range(3)]
    assert len(looks) == 1
    assert np.allclose([one.scores[0] for one in again], before.scores[:3], atol=1e-5)
    assert np.allclose(np.concatenate([one.masks for one in again]), before.masks[:3], atol=1e-4)

    after = network(second, POINTS, BOXES)
    assert len(looks) == 2
    assert not np.allclose(after.masks, before.masks, atol=1e-2)
    first[:] = second  # in the same memory
    assert np.allclose(network(first, POINTS, BOXES).masks, after.masks)
    assert len(looks) == 2


@pytest.mark.parametrize(
    ("prompts", "count"),
    [
        (Prompts(), 0),
        (Prompts(points_xy=((np.nan, 3.0), (np.inf, 0.0), (-0.6, 0.0), (160.5, 3.0), (3.0, 1e30))), 0),
        (Prompts(boxes_xyxy=((200, 10, 300, 50), (20, 30, 20, 80), (60, 80, 20, 30))), 0),
        (Prompts(points_xy=((30.0, 40.0), (30.0, 40.0))), 1),  # one object, asked for twice
        (Prompts(boxes_xyxy=((-50, -50, 4_000_000_000, 4_000_000_000),)), 1),
    ],
)
def test_odd_prompts(prompts: Prompts, count: int, saved: Callable[[str], tuple[Path, nn.Module]]) -> None:
    models = load_prompt_models(SegmentationSettings(prompt_model_path=str(saved("sam2")[0]), min_mask_pixels=1))
    frame = frame_of(image_of((161, 121)), (161, 121))
    instances = models.segmented(frame, prompts, models.detected(frame, ()))
    assert len(instances) == count
    assert instances.class_names == ("object",)


def test_what_words_found_keeps_its_score_and_class(saved: Callable[[str], tuple[Path, nn.Module]]) -> None:
    models = load_prompt_models(SegmentationSettings(prompt_model_path=str(saved("sam2")[0]), min_mask_pixels=1))
    detections = Detections(BOXES[:1], np.array([0.25], np.float32), np.array([1]))
    frame = frame_of(image_of((161, 121)), (161, 121))
    instances = models.segmented(frame, Prompts(phrases=("cup", "red mug")), detections)
    assert instances.scores.tolist() == [0.25]
    assert list(instances.names()) == ["red mug"]


def test_a_camera_without_colour_is_refused(saved: Callable[[str], tuple[Path, nn.Module]]) -> None:
    models = load_prompt_models(SegmentationSettings(prompt_model_path=str(saved("sam2")[0])))
    frame = frame_of(None, (161, 121))
    with pytest.raises(ModelError, match="sees colour only"):
        models.segmented(frame, Prompts(points_xy=((3.0, 4.0),)), models.detected(frame, ()))


def of_another_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "detr"}))


def with_a_kernel_of_the_hub(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["attn_implementation"] = "someone/attention"
    (folder / "config.json").write_text(json.dumps(config))


def without_padding(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"size": {"longest_edge": 256}}')


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (of_another_type, "'detr', which takes no points; known are sam, sam2"),
        (with_a_kernel_of_the_hub, "wants someone/attention of the Hugging Face hub .* which is code"),
        (without_padding, "pad_size must have height and width"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "model.bin"), "model.bin can run code"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "transformers cannot load"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    spoil: Callable[[Path], object], reason: str, folders: ModuleType, tmp_path: Path
) -> None:
    folders.save_promptable("sam", tmp_path)
    spoil(tmp_path)
    with pytest.raises(ModelError, match=reason):
        load_prompt_models(SegmentationSettings(prompt_model_path=str(tmp_path)))


@pytest.mark.parametrize(
    "name", ["shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding"]
)
def test_a_buffer_that_would_be_random_is_missed(name: str, folders: ModuleType, tmp_path: Path) -> None:
    """Of SAM 2, where they are no parameters: the same prompt would mean another place in each process."""
    folders.save_promptable("sam2", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"no weights for 1 parts of a Sam2Model, such as {name}"):
        load_prompt_models(SegmentationSettings(prompt_model_path=str(tmp_path)))
