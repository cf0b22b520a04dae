"""torchvision's Mask R-CNN from safetensors: what torchvision itself gives, and files that are something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))  # the latter beside another PyTorch

import torch
import torchvision
from safetensors.torch import save_file

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelError, load_segmenter
from instance_seg_ros.segmentation.runtimes.torchvision_backend import TorchvisionNetwork

SETTINGS = SegmentationSettings(min_mask_pixels=1, threads=1)
BUILDERS = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")


@pytest.fixture(scope="module", params=BUILDERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A file of random weights that find something, with the names of its classes, and the network."""
    torch.manual_seed(2)
    model = getattr(torchvision.models.detection, request.param)(weights=None, weights_backbone=None, num_classes=4)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight.mul_(30)
        model.roi_heads.mask_predictor.mask_fcn_logits.weight.mul_(30)
    path = tmp_path_factory.mktemp(request.param) / "mine.safetensors"
    save_file(model.state_dict(), path)
    path.with_suffix(".yaml").write_text("class_names: [background, nut, bolt, cup]\nscore_threshold: 0.2\n")
    return path, model.eval()


def test_a_file_gives_what_torchvision_gives(saved: tuple[Path, torch.nn.Module]) -> None:
    (path, model), (width, height) = saved, (161, 121)
    color_rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    frame = RgbdFrame(color_rgb, np.ones((height, width), np.float32), Intrinsics(width, height, 300.0, 300.0, 80, 60))
    segmenter = load_segmenter(path, SETTINGS)  # sets the threads, on which the last digits depend
    with torch.inference_mode():
        (theirs,) = model([torch.from_numpy(color_rgb).permute(2, 0, 1) / 255])
    found = segmenter.ranked(frame)
    masks, kept = theirs["masks"][:, 0].numpy() > 0.5, theirs["scores"].numpy() >= 0.05
    kept &= masks.any(axis=(1, 2))
    assert segmenter.info.class_names == ("background", "nut", "bolt", "cup")
    assert segmenter.info.score_threshold == 0.2
    assert segmenter.backend.startswith("torchvision ")
    assert len(found) == kept.sum() > 2
    left = list(range(len(found)))  # random weights give scores that are nearly equal, whose order may differ
    for score, label, wanted in zip(theirs["scores"][kept], theirs["labels"][kept], masks[kept], strict=True):
        same = [
            row
            for row in left
            if abs(found.scores[row] - float(score)) < 1e-3
            and found.class_ids[row] == int(label)
            and (found.masks[row] & wanted).sum() / (found.masks[row] | wanted).sum() > 0.99
        ]
        assert same, (float(score), int(label))
        left.remove(same[0])


def test_frozen_normalisations_are_those_of_weights_trained_on_coco(tmp_path: Path) -> None:
    """Of channels that hardly vary, where an epsilon of 1e-5 would say something else."""
    body = torchvision.models.resnet50(weights=None, norm_layer=torchvision.ops.misc.FrozenBatchNorm2d)
    backbone = torchvision.models.detection.backbone_utils._resnet_fpn_extractor(body, 3)
    model = torchvision.models.detection.MaskRCNN(backbone, num_classes=4).eval()
    for module in model.modules():
        if isinstance(module, torchvision.ops.misc.FrozenBatchNorm2d):
            module.eps = 0.0
            module.running_var.uniform_(1e-6, 1e-4)
            module.weight.uniform_(1e-3, 2e-3)
    save_file(model.state_dict(), tmp_path / "mine.safetensors")
    (tmp_path / "mine.yaml").write_text("class_names: [background, nut, bolt, cup]\n")
    loaded = TorchvisionNetwork(tmp_path / "mine.safetensors", 1)
    image = torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        wanted, found = model.backbone(image), loaded._model.backbone(image)
    for level, features in wanted.items():
        assert torch.allclose(found[level], features, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "is no safetensors file or was cut short"),
        (lambda path: save_file({"a.weight": torch.zeros(3)}, path), "it has no roi_heads.*; it begins with a.weight"),
        (lambda path: path.with_suffix(".yaml").write_text("class_names: [a]"), "1 class names, and the network has 4"),
        (lambda path: path.with_suffix(".yaml").write_text("nms_iou: 0.5"), "class_names and score_threshold alone"),
        (lambda path: path.with_suffix(".yaml").write_text("score_threshold: 2"), r"must be in \[0, 1\]"),
        (lambda path: path.unlink(), "does not exist"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    spoil: Callable[[Path], object], reason: str, saved: tuple[Path, torch.nn.Module], tmp_path: Path
) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(saved[0].read_bytes())
    path.with_suffix(".yaml").write_text("class_names: [background, nut, bolt, cup]\n")
    spoil(path)
    with pytest.raises(ModelError, match=reason):
        load_segmenter(path, SETTINGS)
