"""The controller: the parameters that a mask head has for each location (Tian et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Controller(nn.Conv2d):
    """3x3 convolution: (B, C, H, W) -> (B, P, H, W); CondInst's P = 169 in the order w0 w1 w2 b0 b1 b2."""

    def __init__(self, channels: int, parameter_count: int) -> None:
        super().__init__(channels, parameter_count, 3, 1, 1)
        nn.init.normal_(self.weight, std=0.01)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        """(B, C, H, W) -> (B, P, H, W), or fewer locations by another stride and padding."""
        return F.conv2d(x, self.weight, self.bias, stride, padding)

    def at(self, features: Sequence[Tensor], places: Tensor) -> Tensor:
        """What `forward` gives at a few locations of one image, computed there alone.

        Args:
            features: (1, C, H_i, W_i) of each level.
            places: (K, 3, 3) int32, the rows of `patch_places` at those locations.

        Returns:
            (K, P).
        """
        padded = torch.cat([F.pad(level, (1, 1, 1, 1)).flatten(2) for level in features], dim=2)
        # The patches side by side make an image that a stride of 3 walks from patch to patch.
        patches = padded.index_select(2, places.transpose(0, 1).flatten()).reshape(1, self.in_channels, 3, -1)
        return self(patches, stride=3, padding=0)[0, :, 0].transpose(0, 1)

    def at_locations(self, features: Sequence[Tensor], image: Tensor, places: Tensor) -> Tensor:
        """What `forward` gives at a few locations of a batch, in float32; cheap, and cheap to take the gradient of.

        Args:
            features: (B, C, H_i, W_i) of each level.
            image: (K,) int64, the image of each location.
            places: (K, 3, 3) int32, the rows of `patch_places` at those locations.

        Returns:
            (K, P).
        """
        padded = torch.cat([F.pad(level, (1, 1, 1, 1)).flatten(2) for level in features], dim=2)
        count = padded.shape[2]
        pixels = padded.transpose(1, 2).reshape(-1, self.in_channels)
        index = (image.view(-1, 1) * count + places.flatten(1)).flatten()
        patches = pixels.index_select(0, index).view(len(image), 9 * self.in_channels).float()
        # From (P, C, 3, 3) to the order of the patches: place by place, and channel by channel there.
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(patches, weight, self.bias)


def patch_places(sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
    """Where the 3 x 3 neighbours of each location lie among the pixels of all levels.

    Args:
        sizes_hw: rows and columns of each level.

    Returns:
        (L, 3, 3) int32, of the levels' locations row by row, into their pixels, padded by 1, row by row.
    """
    places = []
    first = 0
    for height, width in sizes_hw:
        pixels = torch.arange(first, first + (height + 2) * (width + 2)).view(height + 2, width + 2)
        places.append(pixels.unfold(0, 3, 1).unfold(1, 3, 1).reshape(-1, 3, 3))
        first += pixels.numel()
    return torch.cat(places).int()
