"""Colour features beside the depth network: late fusion, and silent where there is no colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from instance_seg_ros.learning.models.backbone import BasicBlock
from instance_seg_ros.learning.models.layers import ConvNormRelu, image_by_image

COLOR_STRIDES = (2, 4, 8)
_MISSING_SHARE_IN_FULL = 0.25


class ColorEncoder(nn.Module):
    """An RGB image to features at strides 2, 4 and 8, which are zero for an image that is black throughout.

    Each image is shifted and scaled to mean 0 and deviation 1 per channel, so that exposure and white balance matter
    little.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        if len(channels) != len(COLOR_STRIDES):
            raise ValueError(f"color_channels needs one entry for each of the strides {COLOR_STRIDES}, not {channels}")
        finest, middle, coarsest = channels
        self.stem = ConvNormRelu(3, finest, 2)
        self.middle = BasicBlock(finest, middle, 2)
        self.coarsest = BasicBlock(middle, coarsest, 2)

    def forward(self, color_rgb: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float32 or uint8 in [0, 255] -> (B, channels[i], H / s, W / s) for s in 2, 4, 8."""
        normalised, present = image_by_image(normalised_color, color_rgb)
        finest = self.stem(normalised)
        middle = self.middle(finest)
        if finest.dtype != present.dtype:  # the product, too, is to be of few bits
            present = present.to(finest.dtype)
        return [features * present for features in (finest, middle, self.coarsest(middle))]


def color_gates(valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How much colour counts beside the depth, by the share of the depth that is missing within 12 px.

    A print on a smooth, measured surface must not split what the depth holds together; where depth is missing, colour
    is all there is. In the mask branch and the masks' upsampling, which draw outlines, colour counts in full from a
    missing quarter on: the shadow that a sensor leaves along an object's edge.

    Args:
        valid: (B, 1, H, W) float32, 1 where depth was measured; H and W divisible by 8.

    Returns:
        For strides 2, 4 and 8, that is the upsampling, the mask branch and the backbone: (B, 1, H / stride, W / stride)
        in [0, 1], 0 where all of the depth was measured.
    """
    missing = F.avg_pool2d(1 - valid, COLOR_STRIDES[-1])
    around = F.avg_pool2d(missing, 3, 1, 1, count_include_pad=False)
    finer = [
        (F.interpolate(around, scale_factor=factor, mode="bilinear", align_corners=False) / _MISSING_SHARE_IN_FULL)
        for factor in (4.0, 2.0)
    ]
    return finer[0].clamp(max=1.0), finer[1].clamp(max=1.0), around


def normalised_color(color_rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Mean 0 and deviation 1 in each channel of each image.

    Args:
        color_rgb: (B, 3, H, W) float32 or uint8 in [0, 255].

    Returns:
        (B, 3, H, W) float32, and (B, 1, 1, 1) float32: 0 for an image that is black throughout, else 1.
    """
    values = color_rgb.to(torch.float32) / 255.0
    present = (values.amax(dim=(1, 2, 3), keepdim=True) > 0).to(torch.float32)
    centred = values - values.mean(dim=(2, 3), keepdim=True)
    # The floor keeps the noise of a nearly uniform image small.
    deviation = (centred * centred).mean(dim=(2, 3), keepdim=True).sqrt().clamp(min=0.05)
    return (centred / deviation).clamp(-4.0, 4.0), present
