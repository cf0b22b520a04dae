"""Small layers that several parts of the network share."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
"""Makes a normalisation layer for a number of channels."""


class ConvNormRelu(nn.Sequential):
    """3x3 convolution without bias, normalisation, ReLU: (B, Cin, H, W) -> (B, Cout, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False), norm(out_channels), nn.ReLU(inplace=True)
        )


def aligned_upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear upsampling whose sample o reads input position (o - factor // 2) / factor (Tian et al., ECCV 2020).

    Args:
        x: (B, C, H, W).
        factor: integer >= 1.

    Returns:
        (B, C, factor * H, factor * W).
    """
    if factor == 1:
        return x
    height, width = x.shape[2], x.shape[3]
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    x = F.interpolate(x, size=(factor * height + 1, factor * width + 1), mode="bilinear", align_corners=True)
    x = F.pad(x, (factor // 2, 0, factor // 2, 0), mode="replicate")
    return x[:, :, : factor * height, : factor * width]
