"""Features that know where in the image they lie."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Coordinates(nn.Module):
    """Adds learned multiples of a pixel's coordinates to its features: (B, C, H, W) -> (B, C, H, W).

    Columns and rows run from -1 to 1. To a convolution behind it, that is what appending the two coordinates to its
    input is (Liu et al., CoordConv, NeurIPS 2018), whose weights for them are then products. Being sums of a row and a
    column, they are a few numbers in an exported graph.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 2))
        nn.init.uniform_(self.weight, -(0.5**0.5), 0.5**0.5)  # as a convolution of two inputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        height, width = x.shape[2:]
        columns = torch.linspace(-1, 1, width, device=x.device)
        rows = torch.linspace(-1, 1, height, device=x.device)
        along_columns = (self.weight[:, :1] * columns).view(1, -1, 1, width)
        along_rows = (self.weight[:, 1:] * rows).view(1, -1, height, 1)
        return x + along_columns.to(x.dtype) + along_rows.to(x.dtype)
