"""Models of transformers from folders: the same as their exported graphs, and folders that lack something."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
import transformers

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelError, load_segmenter

SETTINGS = SegmentationSettings(backend="onnxruntime", min_mask_pixels=1)
OUTPUTS = {
    "mask2former": ("class_queries_logits", "masks_queries_logits"),
    "maskformer": ("class_queries_logits", "masks_queries_logits"),
    "detr": ("logits", "pred_boxes", "pred_masks"),
    "rf_detr": ("dets", "labels", "masks"),
}
SIZES_HW = {"rf_detr": (112, 112)}


@pytest.fixture(scope="module")
def networks() -> ModuleType:
    """Small models with random weights."""
    path = Path(__file__).parents[1] / "families" / "exported_networks.py"
    spec = importlib.util.spec_from_file_location("exported_networks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
    return RgbdFrame(color, np.ones((height, width), np.float32), Intrinsics(width, height, 300.0, 300.0, 80.0, 60.0))


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


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def of_another_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))


def without_masks(folder: Path) -> None:
    transformers.DetrForObjectDetection.from_pretrained(folder).save_pretrained(folder)


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
