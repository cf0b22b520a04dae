"""The mask branch: features that every instance's dynamic head reads (Tian et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from instance_seg_ros.models.layers import ConvNormRelu, Norm, aligned_upsample


class MaskBranch(nn.Module):
    """Pyramid levels refined, brought to the finest level's size, summed, and reduced to a few channels.

    `features` are what the dynamic heads read; `foreground` (logits of "some object is here") is an auxiliary output for training.
    """

    def __init__(
        self, in_channels: int, channels: int, out_channels: int, levels: int, depth: int, norm: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.refine = nn.ModuleList(ConvNormRelu(in_channels, channels, norm=norm) for _ in range(levels))
        self.tower = nn.Sequential(*(ConvNormRelu(channels, channels, norm=norm) for _ in range(depth)))
        self.features = nn.Conv2d(channels, out_channels, 1)
        self.foreground = nn.Conv2d(channels, 1, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(B, Cin, H_i, W_i), finest first -> (B, out_channels, H_0, W_0) and foreground logits (B, 1, H_0, W_0)."""
        total = self.refine[0](pyramid[0])
        height, width = total.shape[2], total.shape[3]
        for level, refine in enumerate(self.refine):
            if level > 0:
                total = total + aligned_upsample(refine(pyramid[level]), 2**level)[:, :, :height, :width]
        total = self.tower(total)
        return self.features(total), self.foreground(total)
