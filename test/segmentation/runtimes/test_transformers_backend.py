"""Models of transformers from folders: the same as their exported graphs, and folders that lack something."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
import transformers
from safetensors.torch import load_file, save_file

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelError, load_segmenter
from instance_seg_ros.segmentation.runtimes.transformers_backend import TransformersNetwork
from instance_seg_ros.segmentation.runtimes.transformers_folder import class_names_of

SETTINGS = SegmentationSettings(backend="onnxruntime", min_mask_pixels=1)
OUTPUTS = {
    "mask2former": ("class_queries_logits", "masks_queries_logits"),
    "maskformer": ("class_queries_logits", "masks_queries_logits"),
    "detr": ("logits", "pred_boxes", "pred_masks"),
    "rf_detr": ("dets", "labels", "masks"),
}
SIZES_HW = {"rf_detr": (112, 112)}


@pytest.fixture
def save(networks: ModuleType, tmp_path: Path) -> Callable[..., tuple[Path, torch.nn.Module]]:
    """Saves a model as its project does, with the size of its images."""

    def make(name: str, size: dict[str, int] | None = None) -> tuple[Path, torch.nn.Module]:
        torch.manual_seed(1)
        wrapped = getattr(networks, name)()
        folder = tmp_path / name
        wrapped.model.save_pretrained(folder)
        height, width = SIZES_HW.get(name, networks.IMAGE_HW)
        said = {"size": size or {"height": height, "width": width}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
        (folder / "preprocessor_config.json").write_text(json.dumps(said))
        return folder, wrapped

    return make


def frame_of(size_wh: tuple[int, int]) -> RgbdFrame:
    width, height = size_wh
    color = np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return RgbdFrame(
        color, np.ones((height, width), np.float32), Intrinsics(width, height, 300.0, 300.0, width / 2, height / 2)
    )


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_folder_gives_what_its_exported_graph_gives(
    name: str, save: Callable[..., tuple[Path, torch.nn.Module]], networks: ModuleType, tmp_path: Path
) -> None:
    folder, wrapped = save(name)
    path = tmp_path / "model.onnx"
    with torch.no_grad():
        networks.export(wrapped, path, OUTPUTS[name], (1, 3, *SIZES_HW.get(name, networks.IMAGE_HW)))
    path.with_suffix(".yaml").write_text("input: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n")
    loaded, exported = load_segmenter(folder, SETTINGS), load_segmenter(path, SETTINGS)
    frame = frame_of((161, 121))
    found, expected = loaded.ranked(frame), exported.ranked(frame)
    assert len(found) == len(expected) > 2
    assert found.scores == pytest.approx(expected.scores, abs=1e-3)
    assert np.mean(found.masks == expected.masks) > 0.999
    assert loaded.info.class_names == tuple(f"LABEL_{index}" for index in range(5))
    assert loaded.backend.startswith("transformers ")
    assert loaded.info.needs_color


def require_equal(found: Instances, expected: list[tuple[float, int, np.ndarray]], tolerance: float) -> None:
    """For each expected score, class and mask there is one; of nearly equal scores the order may differ."""
    assert len(found) == len(expected) > 2
    left = list(range(len(found)))
    for score, class_id, wanted in expected:
        same = [
            row
            for row in left
            if abs(found.scores[row] - score) < tolerance
            and found.class_ids[row] == class_id
            and (found.masks[row] & wanted).sum() / (found.masks[row] | wanted).sum() > 0.99
        ]
        assert same, (score, class_id)
        left.remove(same[0])


def test_oneformer_is_told_its_task_and_gives_the_classes_of_its_package(
    networks: ModuleType, folders: ModuleType, tmp_path: Path
) -> None:
    """Scores of the package are those of the classes alone; by the definition of Mask2Former the mask's is a factor."""
    from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil

    torch.manual_seed(1)
    model = networks.oneformer().model.eval()
    model.save_pretrained(tmp_path)
    folders.save_clip_tokenizer(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"height": 96, "width": 128}}')
    frame = frame_of((32, 24))  # masks stay on their grid
    found = load_segmenter(tmp_path, SETTINGS).ranked(frame)

    ids = transformers.AutoTokenizer.from_pretrained(tmp_path)("the task is instance")["input_ids"]
    image = torch.from_numpy(cv2.resize(frame.color_rgb, (128, 96))).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(three)[:, None, None] for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        outputs = model(pixel_values=(image - mean) / std, task_inputs=torch.tensor([ids + [0] * (77 - len(ids))]))
    probabilities = outputs.class_queries_logits[0].softmax(dim=-1)[:, :-1].flatten()
    best, expected = probabilities.topk(12).indices, []
    for pair in best.tolist():
        logits = outputs.masks_queries_logits[0, pair // 5]
        if (logits > 0).any():
            certainty = float(logits.sigmoid()[logits > 0].mean())
            expected.append((float(probabilities[pair]) * certainty, pair % 5, (logits > 0).numpy()))
    theirs = OneFormerImageProcessorPil.post_process_instance_segmentation(
        SimpleNamespace(class_info_file="coco"),
        SimpleNamespace(
            class_queries_logits=outputs.class_queries_logits,
            masks_queries_logits=torch.full((1, 12, 24, 32), 5.0),
        ),
        threshold=0.0,
        overlap_mask_area_threshold=0.0,
    )
    # Of masks that are everywhere the package keeps the best one.
    assert theirs[0]["segments_info"][0]["label_id"] == int(best[0]) % 5
    assert theirs[0]["segments_info"][0]["score"] == pytest.approx(float(probabilities.max()), abs=1e-3)
    require_equal(found, [one for one in expected if one[0] >= 0.05], 1e-3)


@pytest.mark.parametrize(
    ("size_wh", "upscale_blocks"), [((161, 121), 2), ((120, 160), 2), ((128, 128), 2), ((128, 128), 1), ((120, 160), 3)]
)
def test_eomt_gives_what_its_package_gives(
    size_wh: tuple[int, int], upscale_blocks: int, networks: ModuleType, tmp_path: Path
) -> None:
    """One query at a time: asked for all, the package would give each pixel to the last one."""
    from transformers.models.eomt.image_processing_pil_eomt import EomtImageProcessorPil

    torch.manual_seed(1)
    model = networks.eomt(upscale_blocks).model.eval()
    model.save_pretrained(tmp_path)
    said = {"size": {"shortest_edge": 128, "longest_edge": 128}, "do_pad": True, "do_split_image": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    frame = frame_of(size_wh)
    found = load_segmenter(tmp_path, SETTINGS).ranked(frame)

    ratio = 128 / max(size_wh)
    inner = cv2.resize(frame.color_rgb, (round(size_wh[0] * ratio), round(size_wh[1] * ratio)))
    square = np.zeros((128, 128, 3), np.uint8)
    square[: inner.shape[0], : inner.shape[1]] = inner
    image = torch.from_numpy(square).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(three)[:, None, None] for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        outputs = model(pixel_values=(image - mean) / std)
    expected = []
    for query in range(12):
        one = SimpleNamespace(
            class_queries_logits=outputs.class_queries_logits[:, query : query + 1],
            masks_queries_logits=outputs.masks_queries_logits[:, query : query + 1],
        )
        (result,) = EomtImageProcessorPil().post_process_instance_segmentation(
            one, target_sizes=[size_wh[::-1]], threshold=0.05, size=said["size"]
        )
        mask = result["segmentation"].numpy() == 0
        expected += [(segment["score"], segment["label_id"], mask) for segment in result["segments_info"]]
    require_equal(found, expected, 1e-3)


def test_an_eomt_for_semantic_segmentation_is_refused(networks: ModuleType, tmp_path: Path) -> None:
    networks.eomt().model.save_pretrained(tmp_path)
    said = {"size": {"shortest_edge": 128}, "do_split_image": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match="semantic segmentation .* tells no objects apart"):
        load_segmenter(tmp_path, SETTINGS)


def test_the_size_may_follow_the_cameras(save: Callable[..., tuple[Path, torch.nn.Module]]) -> None:
    folder, _ = save("detr", {"shortest_edge": 64, "longest_edge": 80})
    assert load_segmenter(folder, SETTINGS).segment(frame_of((320, 120))).image_size_wh == (320, 120)


def test_images_are_not_normalised_where_the_folder_says_so(
    save: Callable[..., tuple[Path, torch.nn.Module]],
) -> None:
    folder, _ = save("maskformer")
    path, frame = folder / "preprocessor_config.json", frame_of((161, 121))
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "do_normalize": False}))
    plain = load_segmenter(folder, SETTINGS).ranked(frame)
    path.write_text(json.dumps({**said, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}))
    unchanged = load_segmenter(folder, SETTINGS).ranked(frame)
    path.write_text(json.dumps(said))
    normalised = load_segmenter(folder, SETTINGS).ranked(frame)
    assert np.array_equal(plain.scores, unchanged.scores)
    assert not np.array_equal(plain.scores, normalised.scores)


def test_what_only_a_training_reads_may_be_missing(save: Callable[..., tuple[Path, torch.nn.Module]]) -> None:
    folder, _ = save("mask2former")
    weights = load_file(folder / "model.safetensors")
    del weights["criterion.empty_weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_segmenter(folder, SETTINGS).info.name == folder.name


FIELDS = {
    "logits": ("class_queries_logits", "logits"),
    "masks": ("masks_queries_logits", "pred_masks"),
    "boxes": ("pred_boxes",),
}
HOSTILE = [
    *((name, kind) for name in ("mask2former", "maskformer", "oneformer", "eomt") for kind in ("logits", "masks")),
    *((name, kind) for name in ("detr", "rf_detr") for kind in FIELDS),
]


@pytest.mark.parametrize(("name", "kind"), HOSTILE)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_fail_the_start_or_the_frame(
    name: str, kind: str, value: float, loaded_family: Callable[..., Path]
) -> None:
    def spoil(outputs: dict[str, torch.Tensor]) -> None:
        (field,) = (field for field in FIELDS[kind] if field in outputs)
        outputs[field][0, 0] = value

    folder = loaded_family(name, spoil)
    with pytest.raises(ModelError, match="are not finite"):
        load_segmenter(folder, SETTINGS).segment(frame_of((160, 120)))


def test_a_panoptic_oneformer_is_asked_for_stuff_too(loaded_family: Callable[..., Path]) -> None:
    folder = loaded_family("oneformer")
    wanted = transformers.AutoTokenizer.from_pretrained(folder)("the task is panoptic")["input_ids"]
    tokens = TransformersNetwork(folder, 1)._task["task_inputs"][0]
    assert tokens[: len(wanted)].tolist() == wanted


@pytest.mark.parametrize("count", [0, 65_536])
def test_no_class_and_more_than_messages_can_number_are_refused(count: int) -> None:
    with pytest.raises(ModelError, match="id2label must number 1 to 65535 classes from 0"):
        class_names_of(Path("folder"), dict.fromkeys(range(count), "a"))
    assert len(class_names_of(Path("folder"), dict.fromkeys(range(65_535), "a"))) == 65_535


def test_more_instances_than_can_be_labelled_are_cut_to_the_best(loaded_family: Callable[..., Path]) -> None:
    def repeat(outputs: dict[str, torch.Tensor]) -> None:
        for field, values in outputs.items():
            outputs[field] = values[:, :1].repeat(1, 3000, *[1] * (values.ndim - 2))

    segmenter = load_segmenter(loaded_family("mask2former", repeat), SETTINGS)
    assert len(segmenter.ranked(frame_of((160, 120)))) == 1000
    assert len(segmenter.segment(frame_of((160, 120)))) == 1


def test_the_digest_is_of_all_that_loading_reads(save: Callable[..., tuple[Path, torch.nn.Module]]) -> None:
    folder, _ = save("maskformer")
    digests = [load_segmenter(folder, SETTINGS).info.digest]
    said = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**said, "image_mean": [0.4] * 3}))
    digests.append(load_segmenter(folder, SETTINGS).info.digest)
    (folder / "tokenizer.json").write_text("{}")
    digests.append(load_segmenter(folder, SETTINGS).info.digest)
    (folder / "README.md").write_text("of no account")
    assert load_segmenter(folder, SETTINGS).info.digest == digests[-1]
    assert len(set(digests)) == 3


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def of_another_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))


def without_masks(folder: Path) -> None:
    transformers.DetrForObjectDetection.from_pretrained(folder).save_pretrained(folder)


def as_pointer(folder: Path) -> None:
    """As a clone without Git LFS leaves it."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (folder / "model.safetensors").write_bytes(pointer)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot read .*config.json"),
        (lambda folder: (folder / "config.json").write_text("[]"), "holds no facts"),
        (of_another_type, "a model of the type 'bert'; known are mask2former"),
        (without_weights, "no weights as safetensors"),
        (without_masks, "no weights for .* DetrForSegmentation, such as .*; is it a model without masks"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "transformers cannot load"),
        (as_pointer, r"model\.safetensors is a Git LFS pointer of 70 bytes in place of the model; `git lfs pull`"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "it has no preprocessor_config.json"),
        (lambda folder: (folder / "preprocessor_config.json").write_text('{"size": {}}'), "size must have height"),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text('{"size": 64, "image_mean": [1]}'),
            "cannot be used",
        ),
    ],
)
def test_a_folder_that_lacks_something_is_refused(
    spoil: Callable[[Path], object], reason: str, save: Callable[..., tuple[Path, torch.nn.Module]]
) -> None:
    folder, _ = save("detr")
    spoil(folder)
    with pytest.raises(ModelError, match=reason):
        load_segmenter(folder, SETTINGS)
