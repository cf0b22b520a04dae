"""Greedy suppression as one Triton kernel. Imports Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _suppress(
    overlaps: tl.tensor, kept_out: tl.tensor, COUNT: tl.constexpr, BLOCK: tl.constexpr, UNROLL: tl.constexpr
) -> None:
    """One program holds all candidates, goes through them best first, and drops what a kept one suppresses."""
    columns = tl.arange(0, BLOCK)
    is_candidate = columns < COUNT
    kept = tl.where(is_candidate, 1, 0)
    # Loads do not depend on what is kept, so unrolled rounds wait for memory together.
    for row in tl.range(0, COUNT, loop_unroll_factor=UNROLL):
        suppresses = tl.load(overlaps + row * COUNT + columns, mask=is_candidate, other=0.0)
        is_kept = tl.max(tl.where(columns == row, kept, 0), axis=0)
        kept = tl.where((suppresses > 0) & (columns > row) & (is_kept > 0), 0, kept)
    tl.store(kept_out + columns, kept.to(tl.float32), mask=is_candidate)


def suppress(overlaps: Tensor) -> Tensor:
    """`greedy_suppression` on a GPU, or on a CPU in Triton's interpreter.

    Args:
        overlaps: (N, N) float32.

    Returns:
        (1, N) float32.
    """
    count = len(overlaps)
    kept = torch.empty((1, count), dtype=torch.float32, device=overlaps.device)
    block = triton.next_power_of_2(max(count, 1))
    # One warp, where it can hold them all: what one candidate tells the others then needs no barrier.
    warps = max(1, min(8, block // 256))
    _suppress[(1,)](overlaps.contiguous(), kept, COUNT=count, BLOCK=block, UNROLL=16, num_warps=warps)
    return kept
