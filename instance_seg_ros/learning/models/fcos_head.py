"""FCOS detection head (Tian et al., ICCV 2019): per location a class, a box and a centre-ness."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LevelNorm = Callable[[int, int], nn.Module]
"""Makes a normalisation (channels, levels) whose forward takes (x, level)."""


class BatchNormPerLevel(nn.Module):
    """One batch normalisation per pyramid level, for convolutions that the levels share.

    The levels' statistics differ; a shared running mean would fit none of them at inference.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(levels))

    def forward(self, x: Tensor, level: int) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.norms[level](x)


class Tower(nn.Module):
    """Shared 3x3 convolutions, each followed by a normalisation and ReLU."""

    def __init__(self, channels: int, depth: int, levels: int, norm: LevelNorm, bias: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1, bias=bias) for _ in range(depth))
        self.norms = nn.ModuleList(norm(channels, levels) for _ in range(depth))
        for parameter in self.convs.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")

    def forward(self, x: Tensor, level: int) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu_(norm(conv(x), level))
        return x


@dataclass(frozen=True)
class LevelOutput:
    """The head's outputs on one level.

    Attributes:
        class_logits: (B, classes, H, W).
        ltrb: (B, 4, H, W) distances to left, top, right, bottom, >= 0, in units of the stride.
        centerness_logits: (B, 1, H, W).
        box_features: (B, C, H, W), the box tower's output, which the controller reads.
    """

    class_logits: Tensor
    ltrb: Tensor
    centerness_logits: Tensor
    box_features: Tensor


class FcosHead(nn.Module):
    """Two towers, shared by the levels, and three predictions."""

    def __init__(
        self,
        channels: int,
        num_classes: int,
        depth: int,
        levels: int,
        norm: LevelNorm = BatchNormPerLevel,
        tower_bias: bool = False,
    ) -> None:
        super().__init__()
        self.class_tower = Tower(channels, depth, levels, norm, tower_bias)
        self.box_tower = Tower(channels, depth, levels, norm, tower_bias)
        self.class_logits = nn.Conv2d(channels, num_classes, 3, 1, 1)
        self.ltrb = nn.Conv2d(channels, 4, 3, 1, 1)
        self.centerness = nn.Conv2d(channels, 1, 3, 1, 1)
        self.scales = nn.Parameter(torch.ones(levels))
        # Rare positives: start at a probability of 0.01 (Lin et al., ICCV 2017). Boxes start two strides wide to each
        # side, so that the ReLU passes a gradient everywhere.
        _initialise(self.class_logits, bias=-math.log(99.0))
        _initialise(self.ltrb, bias=2.0)
        _initialise(self.centerness, bias=0.0)

    def forward(self, features: Sequence[Tensor]) -> list[LevelOutput]:
        """(B, C, H_i, W_i) per level -> one LevelOutput per level."""
        outputs = []
        for level, x in enumerate(features):
            box_features = self.box_tower(x, level)
            outputs.append(
                LevelOutput(
                    class_logits=self.class_logits(self.class_tower(x, level)),
                    ltrb=torch.relu(self.ltrb(box_features) * self.scales[level]),
                    centerness_logits=self.centerness(box_features),
                    box_features=box_features,
                )
            )
        return outputs


def _initialise(conv: nn.Conv2d, bias: float) -> None:
    assert conv.bias is not None
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.constant_(conv.bias, bias)


def level_locations(height: int, width: int, stride: int) -> Tensor:
    """Centres (H * W, 2) float32 x, y of a level's cells in input pixels, row by row: i * stride + stride // 2."""
    rows = torch.arange(height, dtype=torch.float32) * stride + stride // 2
    columns = torch.arange(width, dtype=torch.float32) * stride + stride // 2
    grid_y, grid_x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((grid_x.reshape(-1), grid_y.reshape(-1)), dim=1)
