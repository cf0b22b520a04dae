"""Feature pyramid (Lin et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Lateral 1x1 convolutions, top-down sums (nearest), 3x3 output convolutions; all with bias, no normalisation."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in in_channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """(B, in_channels[i], H_i, W_i) finest first -> (B, channels, H_i, W_i), the same order and sizes."""
        laterals = [conv(x) for conv, x in zip(self.lateral, features, strict=True)]
        top = laterals[-1]
        merged = [top]
        for lateral in reversed(laterals[:-1]):
            # Odd sizes (15 rows above 8) make the doubled map one line too long: size, not scale, keeps them in step.
            top = lateral + F.interpolate(top, size=lateral.shape[2:], mode="nearest")
            merged.insert(0, top)
        return [conv(x) for conv, x in zip(self.output, merged, strict=True)]
