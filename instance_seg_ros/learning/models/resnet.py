"""ResNet-50 and ResNet-101 with bottleneck blocks (He et al., CVPR 2016), in both common variants."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGE_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks of the stages at strides 4, 8, 16, 32, by the network's depth."""

_STEM_CHANNELS = 64
_EXPANSION = 4


class FrozenBatchNorm(nn.Module):
    """Batch normalisation with fixed statistics: (B, C, H, W) -> (B, C, H, W). Only buffers, nothing to train."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class FrozenConv(nn.Module):
    """Convolution without bias and frozen batch normalisation, padded so that stride alone sets the size."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.norm = FrozenBatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, Cout, ceil(H / stride), ceil(W / stride))."""
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution and a shortcut: (B, Cin, H, W) -> (B, 4 * width, H / stride, W / stride)."""

    def __init__(self, in_channels: int, width: int, stride: int, stride_in_1x1: bool) -> None:
        super().__init__()
        out_channels = _EXPANSION * width
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = FrozenConv(in_channels, width, 1, first)
        self.conv2 = FrozenConv(width, width, 3, second)
        self.conv3 = FrozenConv(width, out_channels, 1)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = FrozenConv(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, 4 * width, ceil(H / stride), ceil(W / stride))."""
        hidden = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return torch.relu(self.conv3(hidden) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem (7x7 and max pooling, stride 4), then four stages.

    Args:
        depth: 50 or 101.
        stride_in_1x1: where a stage strides: in its first 1x1 convolution (the original, caffe) or in its first 3x3
            (torchvision).

    Raises:
        ValueError: another depth.
    """

    def __init__(self, depth: int, stride_in_1x1: bool) -> None:
        super().__init__()
        if depth not in STAGE_BLOCKS:
            raise ValueError(f"depth must be one of {sorted(STAGE_BLOCKS)}, not {depth}")
        self.stem = FrozenConv(3, _STEM_CHANNELS, 7, 2)
        stages: list[nn.Module] = []
        self.stage_channels: list[int] = []
        channels = _STEM_CHANNELS
        for index, blocks in enumerate(STAGE_BLOCKS[depth]):
            width = _STEM_CHANNELS * 2**index
            layers = []
            for block in range(blocks):
                stride = 2 if block == 0 and index > 0 else 1
                layers.append(Bottleneck(channels, width, stride, stride_in_1x1))
                channels = _EXPANSION * width
            stages.append(nn.Sequential(*layers))
            self.stage_channels.append(channels)
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, 256, H/4, W/4), (B, 512, H/8, W/8), (B, 1024, H/16, W/16), (B, 2048, H/32, W/32)."""
        x = F.max_pool2d(torch.relu(self.stem(x)), 3, 2, 1)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs
