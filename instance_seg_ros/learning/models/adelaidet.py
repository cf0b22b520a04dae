"""CondInst as in AdelaiDet (Tian, Shen, Chen, ECCV 2020): ResNet-FPN, P3 to P7, GroupNorm heads, masks from colour."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from instance_seg_ros.learning.models.configuration import DYNAMIC_CHANNELS, dynamic_parameter_count
from instance_seg_ros.learning.models.controller import Controller
from instance_seg_ros.learning.models.dynamic_head import dynamic_masks
from instance_seg_ros.learning.models.fcos_head import FcosHead, LevelOutput, level_locations
from instance_seg_ros.learning.models.fpn import FeaturePyramid
from instance_seg_ros.learning.models.layers import ConvNormRelu, aligned_upsample
from instance_seg_ros.learning.models.mask_branch import MaskFeatures
from instance_seg_ros.learning.models.resnet import STAGE_BLOCKS, ResNet

STRIDES = (8, 16, 32, 64, 128)
"""Of P3 to P7."""

SIZES_OF_INTEREST_PX = (64.0, 128.0, 256.0, 512.0, 1024.0)
"""What the relative coordinates of an instance found on P3 to P7 are divided by."""

SIZE_DIVISOR = 32
"""The input's height and width are multiples of this."""

MASK_STRIDE = 4
"""Of the mask probabilities."""

_FPN_CHANNELS = 256
_HEAD_DEPTH = 4
_HEAD_GROUPS = 32
_MASK_CHANNELS = 128
_MASK_DEPTH = 4
_MASK_LEVELS = 3


@dataclass(frozen=True)
class BackboneStyle:
    """What a pre-trained ResNet expects; the two styles have the same names and shapes of weights.

    Attributes:
        stride_in_1x1: where a stage strides.
        channel_order: of the input, "BGR" or "RGB".
        mean, std: of its channels, in that order, on the scale 0 to 255.
    """

    stride_in_1x1: bool
    channel_order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


STYLES = {
    "caffe": BackboneStyle(True, "BGR", (103.53, 116.28, 123.675), (1.0, 1.0, 1.0)),
    "torchvision": BackboneStyle(False, "RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}


@dataclass(frozen=True)
class AdelaiDetConfig:
    """Which of AdelaiDet's networks.

    Attributes:
        depth: of the ResNet, 50 or 101.
        style: "caffe" or "torchvision", a key of `STYLES`.
        num_classes: object classes.
        semantic_blocks: convolutions of the semantic branch, an auxiliary output of training; 0 = trained without one.

    Raises:
        ValueError: naming the value that is out of range.
    """

    depth: int = 50
    style: str = "caffe"
    num_classes: int = 80
    semantic_blocks: int = 0

    def __post_init__(self) -> None:
        if self.depth not in STAGE_BLOCKS:
            raise ValueError(f"depth must be one of {sorted(STAGE_BLOCKS)}, not {self.depth}")
        if self.style not in STYLES:
            raise ValueError(f"style must be one of {sorted(STYLES)}, not {self.style!r}")
        if self.num_classes < 1 or self.semantic_blocks < 0:
            raise ValueError(
                f"num_classes must be >= 1 and semantic_blocks >= 0, not {self.num_classes} and {self.semantic_blocks}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)


class SharedGroupNorm(nn.GroupNorm):
    """Group normalisation in 32 groups, one for all levels."""

    def __init__(self, channels: int, levels: int) -> None:
        del levels  # its statistics are of the input, so one serves them all
        super().__init__(_HEAD_GROUPS, channels)

    def forward(self, x: Tensor, level: int = 0) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the same on every level."""
        return super().forward(x)


class SemanticBranch(nn.Module):
    """Logits of every class on P3, an auxiliary task of training: (B, 256, H, W) -> (B, classes, H, W)."""

    def __init__(self, blocks: int, num_classes: int) -> None:
        super().__init__()
        channels = [_FPN_CHANNELS] + [_MASK_CHANNELS] * blocks
        self.tower = nn.Sequential(*(ConvNormRelu(channels[i], channels[i + 1]) for i in range(blocks)))
        self.logits = nn.Conv2d(channels[-1], num_classes, 1)

    def forward(self, finest: Tensor) -> Tensor:
        """(B, 256, H, W) -> (B, classes, H, W)."""
        return self.logits(self.tower(finest))


@dataclass(frozen=True)
class Features:
    """Everything that the network computes before instances are chosen.

    Attributes:
        pyramid: P3 to P7, (B, 256, H_i, W_i).
        levels: what the head says on each.
        mask_features: (B, 8, H / 8, W / 8).
    """

    pyramid: list[Tensor]
    levels: list[LevelOutput]
    mask_features: Tensor


class AdelaiDetCondInst(nn.Module):
    """Normalised colour image to `Features`; `parameters_at` and `masks` turn chosen locations into masks."""

    def __init__(self, config: AdelaiDetConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet(config.depth, STYLES[config.style].stride_in_1x1)
        self.fpn = FeaturePyramid(self.backbone.stage_channels[1:], _FPN_CHANNELS)
        self.p6 = nn.Conv2d(_FPN_CHANNELS, _FPN_CHANNELS, 3, 2, 1)
        self.p7 = nn.Conv2d(_FPN_CHANNELS, _FPN_CHANNELS, 3, 2, 1)
        self.head = FcosHead(
            _FPN_CHANNELS, config.num_classes, _HEAD_DEPTH, len(STRIDES), norm=SharedGroupNorm, tower_bias=True
        )
        self.controller = Controller(_FPN_CHANNELS, dynamic_parameter_count())
        self.mask_branch = MaskFeatures(_FPN_CHANNELS, _MASK_CHANNELS, DYNAMIC_CHANNELS, _MASK_LEVELS, _MASK_DEPTH)
        self.semantic: SemanticBranch | None = None
        if config.semantic_blocks:
            self.semantic = SemanticBranch(config.semantic_blocks, config.num_classes)

    def forward(self, image: Tensor) -> Features:
        """
        Args:
            image: (B, 3, H, W) float32, normalised and padded, H and W multiples of 32.

        Returns:
            Features.
        """
        pyramid = self.fpn(self.backbone(image)[1:])
        pyramid.append(self.p6(pyramid[-1]))
        pyramid.append(self.p7(torch.relu(pyramid[-1])))
        return Features(pyramid, self.head(pyramid), self.mask_branch(pyramid[:_MASK_LEVELS]))

    def parameters_at(self, levels: Sequence[LevelOutput], location_index: Tensor) -> Tensor:
        """What the controller says at K locations of the first image of a batch; it is not computed elsewhere.

        Args:
            levels: of `Features`.
            location_index: (K,) int64 into the locations of all levels, row by row, P3 first.

        Returns:
            (K, 169).
        """
        maps = [level.box_features[0] for level in levels]
        padded = torch.cat([F.pad(x, (1, 1, 1, 1)).flatten(1) for x in maps], dim=1)
        index = _window_index([(x.shape[1], x.shape[2]) for x in maps]).to(padded.device)[location_index]
        windows = padded.index_select(1, index.reshape(-1)).reshape(padded.shape[0], -1, index.shape[1])
        flat = windows.transpose(0, 1).reshape(-1, padded.shape[0] * index.shape[1])
        return F.linear(flat, self.controller.weight.flatten(1), self.controller.bias)

    @staticmethod
    def masks(mask_features: Tensor, parameters: Tensor, locations_xy: Tensor, sizes_px: Tensor) -> Tensor:
        """Mask probabilities of K instances of one image at `MASK_STRIDE`.

        Args:
            mask_features: (8, H / 8, W / 8).
            parameters: (K, 169) of the controller.
            locations_xy: (K, 2) input pixels, where the instances were found.
            sizes_px: (K,) size of interest of the level that each was found on.

        Returns:
            (K, H / 4, W / 4) in [0, 1].
        """
        logits = dynamic_masks(mask_features, parameters, locations_xy, sizes_px, STRIDES[0])
        return aligned_upsample(logits.unsqueeze(1), STRIDES[0] // MASK_STRIDE).squeeze(1).sigmoid()


def _window_index(sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
    """(L, 9) int64: where the 3x3 windows of all locations lie in the joined maps, each padded by one on every side."""
    windows, first = [], 0
    for height, width in sizes_hw:
        corners = torch.arange(height).view(-1, 1) * (width + 2) + torch.arange(width)
        offsets = torch.arange(3).view(-1, 1) * (width + 2) + torch.arange(3)
        windows.append(first + corners.reshape(-1, 1) + offsets.reshape(1, -1))
        first += (height + 2) * (width + 2)
    return torch.cat(windows)


@dataclass(frozen=True)
class Locations:
    """All locations of P3 to P7 for one input size, row by row.

    Attributes:
        xy: (L, 2) float32 input pixels.
        stride: (L,) float32 of the location's level.
        size_px: (L,) float32 size of interest of the location's level.
    """

    xy: Tensor
    stride: Tensor
    size_px: Tensor


def locations_of(sizes_hw: Sequence[tuple[int, int]]) -> Locations:
    """The locations of levels of these sizes."""
    points = [level_locations(h, w, stride) for (h, w), stride in zip(sizes_hw, STRIDES, strict=True)]
    counts = torch.tensor([len(x) for x in points])
    return Locations(
        torch.cat(points),
        torch.repeat_interleave(torch.tensor(STRIDES, dtype=torch.float32), counts),
        torch.repeat_interleave(torch.tensor(SIZES_OF_INTEREST_PX), counts),
    )
