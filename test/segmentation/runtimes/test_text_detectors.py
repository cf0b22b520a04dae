"""Detectors that find what words name: equal to transformers' own post-processing, and folders that lack something."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
import transformers
from torch import nn

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelError
from instance_seg_ros.segmentation.prompts import Detections, load_prompt_models, phrases_of
from instance_seg_ros.segmentation.runtimes.text_detectors import load_text_detector

PHRASES = ("red mug", "cup")


def image_of(size_wh: tuple[int, int]) -> np.ndarray:
    width, height = size_wh
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def network_image(name: str, color_rgb: np.ndarray) -> torch.Tensor:
    """By the definition of each: stretched, or a square with black beside the image, or with the sides' ratio kept."""
    height, width = color_rgb.shape[:2]
    image = color_rgb
    if name == "owlv2":
        scale = 96 / max(height, width)
        inner = cv2.resize(image, (round(width * scale), round(height * scale)))
        image = np.zeros((96, 96, 3), np.uint8)
        image[: inner.shape[0], : inner.shape[1]] = inner
    elif name.endswith("grounding-dino"):
        image = cv2.resize(image, (128, 96))
    elif name == "sam3_words":
        image = cv2.resize(image, (112, 112))
    else:
        image = cv2.resize(image, (96, 96))
    values = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    if name.startswith("rt_detr"):
        return values
    mean, std = (torch.tensor(three)[:, None, None] for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (values - mean) / std


def theirs(name: str, folder: Path, model: nn.Module, color_rgb: np.ndarray) -> dict[str, Any]:
    """Scores, boxes and labels by transformers' own post-processing, of all queries."""
    target, image = [color_rgb.shape[:2]], network_image(name, color_rgb)
    with torch.no_grad():
        if name.startswith("rt_detr"):
            outputs = model(pixel_values=image)
            process = transformers.models.rt_detr.image_processing_pil_rt_detr.RTDetrImageProcessorPil()
            return process.post_process_object_detection(outputs, threshold=0.0, target_sizes=target)[0]
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        if name.endswith("grounding-dino"):
            from transformers.models.grounding_dino.processing_grounding_dino import GroundingDinoProcessor

            encoded = tokenizer(["red mug. cup."], return_tensors="pt")
            outputs = model(pixel_values=image, **encoded)
            stand_in = SimpleNamespace(batch_decode=tokenizer.batch_decode)  # the rest of a processor takes torchvision
            found = GroundingDinoProcessor.post_process_grounded_object_detection(
                stand_in, outputs, encoded["input_ids"], 0.0, 0.0, target
            )[0]
            return {**found, "tokens": outputs.logits[0].sigmoid().numpy()}
        texts = [f"a photo of a {phrase}" for phrase in PHRASES]
        encoded = tokenizer(texts, padding="max_length", max_length=40, return_tensors="pt")
        outputs = model(pixel_values=image, **encoded)
        module = getattr(transformers.models, name)
        process = getattr(module, f"image_processing_pil_{name}")
        kind = process.OwlViTImageProcessorPil if name == "owlvit" else process.Owlv2ImageProcessorPil
        return kind().post_process_object_detection(outputs, threshold=0.0, target_sizes=target)[0]


def theirs_and_ours(
    name: str, size_wh: tuple[int, int], folder: Path, model: nn.Module
) -> tuple[dict[str, Any], np.ndarray, Detections]:
    """What transformers finds, its boxes inside the image, and what the detector finds."""
    color_rgb = image_of(size_wh)
    expected = theirs(name, folder, model, color_rgb)
    boxes = np.clip(expected["boxes"].numpy(), 0, [*size_wh, *size_wh])
    return expected, boxes, load_text_detector(folder, 1)(color_rgb, PHRASES)


@pytest.mark.parametrize("name", ["owlvit", "owlv2"])
@pytest.mark.parametrize("size_wh", [(160, 120), (161, 121)])
def test_rectangles_are_those_of_transformers(
    name: str, size_wh: tuple[int, int], saved: Callable[[str], tuple[Path, nn.Module]]
) -> None:
    expected, boxes, found = theirs_and_ours(name, size_wh, *saved(name))

    assert len(found.scores) == len(boxes) >= 20
    assert found.scores == pytest.approx(expected["scores"].numpy(), abs=1e-3)
    assert np.abs(found.boxes_xyxy - boxes).max() < 0.5
    assert found.phrase_ids.tolist() == expected["labels"].tolist()
    assert set(found.phrase_ids.tolist()) == {0, 1}


def test_sam_3_is_asked_one_phrase_after_another_and_looks_once(
    saved: Callable[[str], tuple[Path, nn.Module]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the definition of its post-processing, whose class needs torchvision."""
    folder, model = saved("sam3_words")
    color_rgb = image_of((161, 121))
    pixels = network_image("sam3_words", color_rgb)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    scores, boxes = [], []
    for phrase in PHRASES:
        encoded = tokenizer([phrase], padding="max_length", max_length=40, return_tensors="pt")
        with torch.no_grad():
            outputs = model(
                pixel_values=pixels, input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
            )
        scores.append((outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid())[0].numpy())
        boxes.append(np.clip(outputs.pred_boxes[0].numpy() * [161, 121, 161, 121], 0, [161, 121, 161, 121]))
    assert not np.allclose(scores[0], scores[1], atol=1e-2)

    detector, looks = load_text_detector(folder, 1), []
    encode = detector.model.get_vision_features
    monkeypatch.setattr(detector.model, "get_vision_features", lambda image: looks.append(1) or encode(image))
    found = detector(color_rgb, PHRASES)

    assert found.scores == pytest.approx(np.concatenate(scores), abs=1e-3)
    assert found.phrase_ids.tolist() == [0] * 20 + [1] * 20
    assert np.abs(found.boxes_xyxy - np.concatenate(boxes)).max() < 0.5
    assert len(looks) == 1


def test_the_two_parts_of_sam_3_hold_one_copy_of_the_encoder_that_they_share(
    saved: Callable[[str], tuple[Path, nn.Module]], folders: ModuleType, tmp_path: Path
) -> None:
    (tracker_folder, tracker), words = saved("sam3"), folders.save("sam3_words", tmp_path)
    encoder = {name: weight for name, weight in tracker.state_dict().items() if ".backbone." in name}
    words.load_state_dict({**words.state_dict(), **encoder})
    words.save_pretrained(tmp_path)
    alone = load_text_detector(tmp_path, 1)(image_of((161, 121)), PHRASES)
    settings = SegmentationSettings(prompt_model_path=str(tracker_folder), text_model_path=str(tmp_path))

    both = load_prompt_models(settings)

    where = [
        {name: weight.data_ptr() for name, weight in one.model.named_parameters()} for one in (both.masks, both.words)
    ]
    shared = {name for name, place in where[0].items() if where[1].get(name) == place}
    assert 20 < len(encoder.keys() & where[0].keys() & shared) == len(encoder.keys() & where[0].keys())
    assert shared < where[0].keys()  # such as the part for points
    together = both.words(image_of((161, 121)), PHRASES)
    assert np.array_equal(together.scores, alone.scores)
    assert np.array_equal(together.boxes_xyxy, alone.boxes_xyxy)


@pytest.mark.parametrize("name", ["grounding-dino", "mm-grounding-dino"])
@pytest.mark.parametrize("size_wh", [(160, 120), (161, 121)])
def test_the_score_of_a_phrase_in_a_text_is_that_of_its_own_tokens(
    name: str, size_wh: tuple[int, int], saved: Callable[[str], tuple[Path, nn.Module]]
) -> None:
    """Grounding DINO: transformers' boxes, and its scores where the best of all tokens is a phrase's."""
    expected, boxes, found = theirs_and_ours(name, size_wh, *saved(name))
    tokens = expected["tokens"]  # [CLS] r e d m u g . c u p . [SEP]
    of_phrase = np.stack([tokens[:, 1:7].max(axis=1), tokens[:, 8:11].max(axis=1)], axis=1)

    assert len(found.scores) == len(boxes) >= 20
    assert np.abs(found.boxes_xyxy - boxes).max() < 0.5
    assert found.scores == pytest.approx(of_phrase.max(axis=1), abs=1e-3)
    assert found.phrase_ids.tolist() == of_phrase.argmax(axis=1).tolist()
    assert set(found.phrase_ids.tolist()) == {0, 1}
    own = of_phrase.max(axis=1) == tokens.max(axis=1)
    assert 0 < own.sum() < len(own)
    assert found.scores[own] == pytest.approx(expected["scores"].numpy()[own], abs=1e-3)


def test_words_in_a_text_that_the_tokenizer_does_not_know_are_refused(
    saved: Callable[[str], tuple[Path, nn.Module]],
) -> None:
    detector = load_text_detector(saved("grounding-dino")[0], 1)
    with pytest.raises(ModelError, match="knows no word of '\u6273\u624b'"):
        detector(image_of((161, 121)), ("cup", "\u6273\u624b"))


def test_a_full_stop_in_a_phrase_shifts_no_other_phrase(saved: Callable[[str], tuple[Path, nn.Module]]) -> None:
    detector, color_rgb = load_text_detector(saved("grounding-dino")[0], 1), image_of((161, 121))
    stopped, spaced = detector(color_rgb, ("a.b", "cup")), detector(color_rgb, ("a b", "cup"))
    assert stopped.phrase_ids.tolist() == spaced.phrase_ids.tolist()
    assert stopped.scores == pytest.approx(spaced.scores)


@pytest.mark.parametrize("name", ["rt_detr", "rt_detr_v2"])
def test_classes_are_found_by_words_of_their_names(name: str, saved: Callable[[str], tuple[Path, nn.Module]]) -> None:
    """RT-DETR's: transformers gives the best pairs of query and class, of which each phrase has some."""
    folder, model = saved(name)
    color_rgb = image_of((161, 121))
    with torch.no_grad():
        outputs = model(pixel_values=network_image(name, color_rgb))
    probabilities = outputs.logits[0].sigmoid().numpy()

    found = load_text_detector(folder, 1)(color_rgb, ("mug", "cup"))

    mugs, cups = probabilities[:, 1:].max(axis=1), probabilities[:, 0]  # "mug" is in two names
    assert found.scores == pytest.approx(np.maximum(mugs, cups), abs=1e-3)
    assert found.phrase_ids.tolist() == (cups > mugs).astype(int).tolist()
    expected = theirs(name, folder, model, color_rgb)
    best = int(np.argmax(found.scores))
    assert found.scores[best] == pytest.approx(float(expected["scores"][0]), abs=1e-3)
    clipped = np.clip(expected["boxes"][0].numpy(), 0, [161, 121, 161, 121])
    assert np.abs(found.boxes_xyxy[best] - clipped).max() < 0.5
    with pytest.raises(ModelError, match="knows no class 'spoon', but 3 such as cup, red mug, mug"):
        load_text_detector(folder, 1)(color_rgb, ("mug", "spoon"))


@pytest.mark.parametrize(("name", "reason"), [("owlv2", "use fewer words"), ("grounding-dino", "use fewer words")])
def test_words_that_are_too_many_are_refused(
    name: str, reason: str, saved: Callable[[str], tuple[Path, nn.Module]]
) -> None:
    with pytest.raises(ModelError, match=reason):
        load_text_detector(saved(name)[0], 1)(image_of((161, 121)), ("cup", "very " * 40 + "long"))


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("", ()),
        (" ,. ", ()),
        ("Red  mug", ("red mug",)),
        ("a red mug, bolt. bolt,nut.", ("a red mug", "bolt", "nut")),
        ("0.5 l bottle, M2.5 screw.", ("0.5 l bottle", "m2.5 screw")),
    ],
)
def test_commas_and_full_stops_separate_phrases(text: str, phrases: tuple[str, ...]) -> None:
    assert phrases_of(text) == phrases


@pytest.mark.parametrize(
    ("threshold", "most", "rows"), [(0.5, 9, [1, 3]), (0.0, 9, [1, 3, 2]), (0.0, 1, [1]), (0.95, 9, [])]
)
def test_the_best_rectangle_of_those_around_one_thing_is_kept(threshold: float, most: int, rows: list[int]) -> None:
    boxes = np.array([[0, 0, 100, 100], [2, 0, 102, 100], [0, 0, 60, 60], [200, 0, 220, 30]], dtype=np.float32)
    detections = Detections(boxes, np.array([0.7, 0.9, 0.4, 0.6], np.float32), np.array([0, 1, 0, 1]))
    kept = detections.best(threshold, most)
    assert kept.boxes_xyxy.tolist() == boxes[rows].tolist()
    assert kept.scores == pytest.approx(detections.scores[rows])
    assert kept.phrase_ids.tolist() == detections.phrase_ids[rows].tolist()


def test_the_settings_thresholds_go_before_the_models(saved: Callable[[str], tuple[Path, nn.Module]]) -> None:
    path = str(saved("owlv2")[0])
    color_rgb = image_of((161, 121))
    frame = RgbdFrame(color_rgb, np.ones((121, 161), np.float32), Intrinsics(161, 121, 300.0, 300.0, 80.0, 60.0))
    own = load_prompt_models(SegmentationSettings(text_model_path=path)).detected(frame, PHRASES)
    higher = load_prompt_models(SegmentationSettings(text_model_path=path, text_score_threshold=0.6))
    assert own.scores.min() >= 0.1
    strict = higher.detected(frame, PHRASES)
    assert strict.scores.min() >= 0.6
    assert len(strict.scores) == (own.scores >= 0.6).sum()


def test_no_code_of_a_folder_is_run(folders: ModuleType, tmp_path: Path) -> None:
    folder, ran = tmp_path / "folder", tmp_path / "ran"
    folder.mkdir()
    folders.save_detector("owlv2", folder)
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    for name, own in (("config.json", "own.Own"), ("tokenizer_config.json", ["own.Own", None])):
        said = json.loads((folder / name).read_text())
        said["auto_map"] = {"AutoConfig": own, "AutoTokenizer": own}
        (folder / name).write_text(json.dumps({**said, **({"tokenizer_class": "Own"} if "tok" in name else {})}))
    load_text_detector(folder, 1)
    assert not ran.exists()


def of_another_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "sam"}))


def without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (of_another_type, "'sam', which finds nothing for words; known are owlvit, owlv2, sam3"),
        (without_tokenizer, "has no tokenizer, which words need"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "transformers cannot load"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    spoil: Callable[[Path], object], reason: str, folders: ModuleType, tmp_path: Path
) -> None:
    folders.save_detector("owlv2", tmp_path)
    spoil(tmp_path)
    with pytest.raises(ModelError, match=reason):
        load_prompt_models(SegmentationSettings(text_model_path=str(tmp_path)))
