"""Small layers that several parts of the network share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
    if torch.onnx.is_in_onnx_export():
        return _aligned(x, factor)
    upsampled: Tensor = _AlignedUpsample.apply(x, factor)
    return upsampled


def _aligned(x: Tensor, factor: int) -> Tensor:
    height, width = x.shape[2], x.shape[3]
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    x = F.interpolate(x, size=(factor * height + 1, factor * width + 1), mode="bilinear", align_corners=True)
    x = F.pad(x, (factor // 2, 0, factor // 2, 0), mode="replicate")
    return x[:, :, : factor * height, : factor * width]


class _AlignedUpsample(torch.autograd.Function):
    """`_aligned` with a gradient of two matrix products, where autograd's walks five times through memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: int) -> Tensor:
        ctx.factor, ctx.dtype = factor, x.dtype
        return _aligned(x, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None]:
        batch, channels, fine_height, fine_width = slopes.shape
        height, width = fine_height // ctx.factor, fine_width // ctx.factor
        last = slopes.permute(0, 2, 3, 1)
        by_rows = _shares(height, ctx.factor, slopes).T @ last.reshape(batch, fine_height, fine_width * channels)
        by_columns = _shares(width, ctx.factor, slopes).T @ by_rows.view(batch * height, fine_width, channels)
        return by_columns.view(batch, height, width, channels).permute(0, 3, 1, 2).to(ctx.dtype), None


def _shares(length: int, factor: int, like: Tensor) -> Tensor:
    """(factor * length, length), how much of each input position is in a sample; dtype and device of `like`."""
    # Positions in float32: bfloat16 holds integers up to 256 only.
    samples = torch.arange(factor * length, dtype=torch.float32, device=like.device)
    positions = ((samples - factor // 2) / factor).clamp(0, length - 1)
    inputs = torch.arange(length, dtype=torch.float32, device=like.device)
    return (1 - (positions[:, None] - inputs).abs()).clamp(min=0).to(like.dtype)


def image_by_image(function: Callable[..., tuple[Tensor, ...]], *batches: Tensor) -> tuple[Tensor, ...]:
    """What a function of batches gives, on a CPU for one image after the other: what it computes stays in a cache.

    Args:
        function: of tensors (B, ...) to tensors (B, ...), whose images have nothing to do with each other.
        batches: what it takes, at least one image.
    """
    if len(batches[0]) == 1 or batches[0].device.type != "cpu":
        return function(*batches)
    images = zip(*(values.split(1) for values in batches), strict=True)
    return tuple(torch.cat(parts) for parts in zip(*(function(*image) for image in images), strict=True))
