"""Residual backbone (He et al., CVPR 2016), basic blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from instance_seg_ros.learning.models.layers import ConvNormRelu, Norm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (B, Cin, H, W) -> (B, Cout, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1 = ConvNormRelu(in_channels, out_channels, stride, norm)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = norm(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), norm(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, Cout, H / stride, W / stride)."""
        return torch.relu_(self.norm2(self.conv2(self.conv1(x))) + self.shortcut(x))


class Backbone(nn.Module):
    """Stem at stride 2, then one stage of residual blocks per stride 4, 8, 16, ..."""

    def __init__(
        self,
        in_channels: int,
        stem_channels: int,
        stage_channels: Sequence[int],
        stage_blocks: Sequence[int],
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.stem = ConvNormRelu(in_channels, stem_channels, 2, norm)
        stages = []
        previous = stem_channels
        for channels, blocks in zip(stage_channels, stage_blocks, strict=True):
            layers = [BasicBlock(previous, channels, 2, norm)]
            layers += [BasicBlock(channels, channels, 1, norm) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*layers))
            previous = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor, additions: Mapping[int, Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """
        Args:
            x: (B, Cin, H, W).
            additions: by index of a stage, what is added to its output, of the same shape.

        Returns:
            The stem's (B, stem_channels, H / 2, W / 2), and one (B, stage_channels[i], ceil(H / 2**(i + 2)),
            ceil(W / 2**(i + 2))) per stage.
        """
        stem = x = self.stem(x)
        outputs = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if additions is not None and index in additions:
                x = x + additions[index]
            outputs.append(x)
        return stem, outputs
