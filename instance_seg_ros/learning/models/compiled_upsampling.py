"""`upsample_masks` on the CPU, by loops along rows: tensor operations would pass 27 times through memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from instance_seg_ros.core.compiled import kernel


class CompiledUpsampling(torch.autograd.Function):
    """Padded masks (K, h + 2, w + 2) and weights (9, 4, h, w) of one image to (K, 2 h, 2 w), all float32 on the CPU."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, weights: Tensor) -> Tensor:
        padded, weights = padded.contiguous(), weights.contiguous()
        ctx.save_for_backward(padded, weights)
        height, width = weights.shape[2:]
        fine = padded.new_empty(len(padded), 2 * height, 2 * width)
        _upsample(padded.numpy(), weights.numpy(), fine.numpy())
        return fine

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, Tensor]:
        padded, weights = ctx.saved_tensors
        of_padded, of_weights = torch.zeros_like(padded), torch.zeros_like(weights)
        _slopes(padded.numpy(), weights.numpy(), slopes.contiguous().numpy(), of_padded.numpy(), of_weights.numpy())
        return of_padded, of_weights


@kernel("float32[:, :, ::1]", "float32[:, :, :, ::1]", "float32[:, :, ::1]", writes=("fine",))
def _upsample(padded: NDArray[np.float32], weights: NDArray[np.float32], fine: NDArray[np.float32]) -> None:
    count, height, width = len(padded), weights.shape[2], weights.shape[3]
    even, odd = np.empty(width, dtype=np.float32), np.empty(width, dtype=np.float32)
    for row in range(height):
        for mask in range(count):
            for inside in range(2):
                even[:], odd[:] = 0, 0
                for neighbour in range(9):
                    source = padded[mask, row + neighbour // 3, neighbour % 3 :]
                    to_even = weights[neighbour, 2 * inside, row]
                    to_odd = weights[neighbour, 2 * inside + 1, row]
                    for column in range(width):
                        even[column] += to_even[column] * source[column]
                        odd[column] += to_odd[column] * source[column]
                out = fine[mask, 2 * row + inside]
                for column in range(width):
                    out[2 * column] = even[column]
                    out[2 * column + 1] = odd[column]


@kernel(
    "float32[:, :, ::1]",
    "float32[:, :, :, ::1]",
    "float32[:, :, ::1]",
    "float32[:, :, ::1]",
    "float32[:, :, :, ::1]",
    writes=("of_padded", "of_weights"),
)
def _slopes(
    padded: NDArray[np.float32],
    weights: NDArray[np.float32],
    slopes: NDArray[np.float32],
    of_padded: NDArray[np.float32],
    of_weights: NDArray[np.float32],
) -> None:
    """Adds to `of_padded` and `of_weights` what `slopes` of the fine masks are for them."""
    count, height, width = len(padded), weights.shape[2], weights.shape[3]
    even, odd = np.empty(width, dtype=np.float32), np.empty(width, dtype=np.float32)
    for row in range(height):
        for mask in range(count):
            for inside in range(2):
                own = slopes[mask, 2 * row + inside]
                for column in range(width):
                    even[column] = own[2 * column]
                    odd[column] = own[2 * column + 1]
                for neighbour in range(9):
                    source = padded[mask, row + neighbour // 3, neighbour % 3 :]
                    of_source = of_padded[mask, row + neighbour // 3, neighbour % 3 :]
                    to_even = weights[neighbour, 2 * inside, row]
                    to_odd = weights[neighbour, 2 * inside + 1, row]
                    of_even = of_weights[neighbour, 2 * inside, row]
                    of_odd = of_weights[neighbour, 2 * inside + 1, row]
                    for column in range(width):
                        of_source[column] += to_even[column] * even[column] + to_odd[column] * odd[column]
                    for column in range(width):
                        of_even[column] += source[column] * even[column]
                        of_odd[column] += source[column] * odd[column]
