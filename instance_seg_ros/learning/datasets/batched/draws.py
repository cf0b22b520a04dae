"""Random numbers for a batch, all from one generator on the batch's device."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Draws for B images; a scalar for each image comes as (B, 1, 1), so that it meets pictures (B, H, W).

    Args:
        count: B.
        generator: of the device that the numbers are made on; the same state gives the same numbers on it.
    """

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count = count
        self.generator = generator

    def uniform(self, low: float | Tensor = 0.0, high: float | Tensor = 1.0, *size: int) -> Tensor:
        """(B, *size), by default (B, 1, 1), between the limits."""
        shape = (self.count, *(size or (1, 1)))
        values = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return values * (high - low) + low

    def normal(self, *size: int) -> Tensor:
        """(B, *size), by default (B, 1, 1), of mean 0 and deviation 1."""
        shape = (self.count, *(size or (1, 1)))
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def happens(self, probability: float | Tensor, *size: int) -> Tensor:
        """(B, *size) bool, by default (B, 1, 1)."""
        return self.uniform(0.0, 1.0, *size) < probability

    def integers(self, count: int | Tensor, *size: int) -> Tensor:
        """(B, *size) int64 from 0 to below `count`, by default (B, 1, 1)."""
        values = self.uniform(0.0, 1.0, *size) * count
        return values.long().clamp(min=0)

    def poisson(self, mean: Tensor) -> Tensor:
        """Counts of these means, of the same shape, float32."""
        return torch.poisson(mean, generator=self.generator)

    def coarse_noise(self, cell_px: float | Tensor, least_cell_px: float, size_hw: tuple[int, int]) -> Tensor:
        """Smooth noise (B, H, W): normal values at the nodes of a grid, interpolated between them.

        Args:
            cell_px: between nodes, for all images or (B, 1, 1).
            least_cell_px: `cell_px` is nowhere smaller.
            size_hw: H and W.
        """
        nodes_h, nodes_w = (int(side / least_cell_px) + 2 for side in size_hw)
        nodes = self.normal(nodes_h, nodes_w)
        rows = _hats(size_hw[0], nodes_h, cell_px, nodes)
        columns = _hats(size_hw[1], nodes_w, cell_px, nodes)
        return rows.expand(self.count, -1, -1) @ nodes @ columns.expand(self.count, -1, -1).transpose(1, 2)


def _hats(length: int, nodes: int, cell_px: float | Tensor, like: Tensor) -> Tensor:
    """(1 or B, length, nodes): the weight of each node at each pixel, linear between the nodes."""
    pixels = torch.arange(length, device=like.device, dtype=like.dtype).view(1, -1, 1) / cell_px
    places = torch.arange(nodes, device=like.device, dtype=like.dtype).view(1, 1, -1)
    return (1 - (pixels - places).abs()).clamp(min=0.0)


def masked_quantile(values: Tensor, counts: Tensor, share: Tensor, every: int = 4) -> Tensor:
    """A quantile of the pixels that count, from every 4th row and column.

    Args:
        values: (B, H, W) float32.
        counts: (B, H, W) bool.
        share: (B, 1, 1) in [0, 1].
        every: step between the pixels that are looked at.

    Returns:
        (B, 1, 1) float32; infinite for an image without such a pixel.
    """
    taken = torch.where(counts, values, torch.inf)[:, ::every, ::every].flatten(1).sort(dim=1).values
    last = (counts[:, ::every, ::every].flatten(1).sum(dim=1, keepdim=True) - 1).clamp(min=0)
    return taken.gather(1, (share.flatten(1) * last).long()).unsqueeze(2)
