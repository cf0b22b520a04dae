"""The mask branch: features that the masks of all instances are made of (Tian et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from instance_seg_ros.learning.models.coordinates import Coordinates
from instance_seg_ros.learning.models.layers import ConvNormRelu, Norm, aligned_upsample


class _PyramidMerge(nn.Module):
    """Pyramid levels refined, brought to the finest level's size and summed, and the layer that reduces them."""

    def __init__(
        self, in_channels: int, channels: int, out_channels: int, levels: int, depth: int, norm: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.refine = nn.ModuleList(ConvNormRelu(in_channels, channels, norm=norm) for _ in range(levels))
        self.tower = nn.Sequential(*(ConvNormRelu(channels, channels, norm=norm) for _ in range(depth)))
        self.features = nn.Conv2d(channels, out_channels, 1)

        self.coordinates: Coordinates | None = None

    def merged(self, pyramid: Sequence[Tensor], addition: Tensor | None = None) -> Tensor:
        """(B, Cin, H_i, W_i), finest first -> (B, channels, H_0, W_0), what the tower makes of all levels.

        `addition`, (B, channels, H_0, W_0), joins the levels' sum.
        """
        total = self.refine[0](pyramid[0])
        if addition is not None:
            total = total + addition
        height, width = total.shape[2], total.shape[3]
        for level, refine in enumerate(self.refine):
            if level > 0:
                total = total + aligned_upsample(refine(pyramid[level]), 2**level)[:, :, :height, :width]
        return self.tower(total if self.coordinates is None else self.coordinates(total))


class MaskFeatures(_PyramidMerge):
    """The mask branch of the paper: a few channels at the finest level."""

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """(B, Cin, H_i, W_i), finest first -> (B, out_channels, H_0, W_0), which the dynamic heads read."""
        return self.features(self.merged(pyramid))


class MaskBranch(_PyramidMerge):
    """Mask features, what they were made of, and, for training, `foreground`: logits of "some object is here"."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        levels: int,
        depth: int,
        norm: Norm = nn.BatchNorm2d,
        sees_coordinates: bool = False,
    ) -> None:
        """With `sees_coordinates`, the levels' sum is told where in the image its pixels lie."""
        super().__init__(in_channels, channels, out_channels, levels, depth, norm)
        self.foreground = nn.Conv2d(channels, 1, 1)
        if sees_coordinates:
            self.coordinates = Coordinates(channels)

    def forward(self, pyramid: Sequence[Tensor], addition: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, out_channels, H_0, W_0), foreground logits (B, 1, H_0, W_0) and the tower's output.

        Args:
            pyramid: (B, Cin, H_i, W_i), finest first.
            addition: (B, channels, H_0, W_0) of another encoder, or None.
        """
        merged = self.merged(pyramid, addition)
        return self.features(merged), self.foreground(merged), merged
