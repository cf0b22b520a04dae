"""A small Mask R-CNN of torchvision with random weights; run by itself, exports it into a file for tests without it.

    python test/segmentation/families/torchvision_network.py test/segmentation/runtimes/mask_rcnn_of_torchvision.onnx

The file there was written with PyTorch 2.13.0 and torchvision 0.28.0.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

EXPORTED_WH = (160, 120)
NAMES = ("background", "nut", "bolt", "cup")
OF_ANY_SIZE: Mapping[str, Any] = {
    "input_names": ["image"],
    "output_names": ["boxes", "labels", "scores", "masks"],
    "dynamic_axes": {"image": {1: "height", 2: "width"}},
}
_CHANNELS, _HIDDEN, _LEVELS = 8, 16, ("0", "1", "2", "3")


class Pyramid(nn.Module):
    """A body of four levels, with the fifth that torchvision adds."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = _CHANNELS
        self.steps = nn.ModuleList(
            nn.Conv2d(3 if level == "0" else _CHANNELS, _CHANNELS, 5, 4 if level == "0" else 2, 2) for level in _LEVELS
        )
        self.fpn = FeaturePyramidNetwork([_CHANNELS] * len(_LEVELS), _CHANNELS, LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The features by level."""
        features, levels = images, {}
        for level, step in zip(_LEVELS, self.steps, strict=True):
            features = levels[level] = torch.relu(step(features))
        pyramid: dict[str, Tensor] = self.fpn(levels)
        return pyramid


def small_network() -> MaskRCNN:
    """With random weights that find some 20 objects in every image, as many as it may."""
    torch.manual_seed(2)
    model = MaskRCNN(
        Pyramid(),
        min_size=96,
        max_size=160,
        rpn_anchor_generator=AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 5),
        rpn_pre_nms_top_n_test=60,
        rpn_post_nms_top_n_test=80,
        box_roi_pool=MultiScaleRoIAlign(list(_LEVELS), 7, 2),
        box_head=TwoMLPHead(_CHANNELS * 7 * 7, _HIDDEN),
        box_predictor=FastRCNNPredictor(_HIDDEN, len(NAMES)),
        box_detections_per_img=20,
        mask_roi_pool=MultiScaleRoIAlign(list(_LEVELS), 14, 2),
        mask_head=MaskRCNNHeads(_CHANNELS, (_CHANNELS,), 1),
        mask_predictor=MaskRCNNPredictor(_CHANNELS, _CHANNELS, len(NAMES)),
    )
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight.mul_(30)
        model.roi_heads.mask_predictor.mask_fcn_logits.weight.mul_(30)
    return model.eval()


def export(model: nn.Module, path: Path, **options: Any) -> None:
    """Writes it as its users do."""
    width, height = EXPORTED_WH
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, and of this exporter's age
        torch.onnx.export(model, ([torch.rand(3, height, width)],), path, dynamo=False, **options)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    export(small_network(), file, **OF_ANY_SIZE)
    proto = onnx.load(file)
    for node in proto.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    del proto.graph.value_info[:]
    onnx.save(proto, file)
