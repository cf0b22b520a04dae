"""The device of a training, and the other processes that train the same network, as `torchrun` starts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process among those of a training.

    Attributes:
        device: that this process computes on.
        rank: 0 for the first one, which alone writes files.
        count: of all machines.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share_of(self, batch_size: int) -> range:
        """The slots of a batch that this process prepares and learns from.

        Raises:
            ValueError: the batch cannot be shared evenly.
        """
        if batch_size % self.count:
            raise ValueError(f"a batch of {batch_size} images cannot be shared by {self.count} processes evenly")
        size = batch_size // self.count
        return range(self.rank * size, (self.rank + 1) * size)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, the same in each of them; no gradient passes."""
        values = values.detach().clone()
        if self.count > 1:
            dist.all_reduce(values)
        return values / self.count

    def from_first(self, value: float) -> float:
        """The first process's value, in each of them."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return float(shared)


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """This process among those that torchrun started; alone where nothing did.

    Args:
        device: "cpu", "cuda", or "auto" for CUDA where there is a GPU. Processes of one machine take its GPUs in order.

    Raises:
        ValueError: there are fewer GPUs than processes, or torch has no CUDA.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if count == 1:
        yield Processes(chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(chosen, rank, count)
    finally:
        dist.destroy_process_group()


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Takes numbers that are too small for all the digits of their type for 0, as a CPU is slow at arithmetic on them.

    It holds for this thread and for those that it starts meanwhile, whatever they compute.
    """
    before = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _device(name: str, local_rank: int) -> torch.device:
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not available):
        return torch.device("cpu")
    if not available:
        raise ValueError("--device cuda, but torch finds no NVIDIA GPU; install a CUDA build of torch, or take cpu")
    if local_rank >= available:
        raise ValueError(f"process {local_rank} of this machine has no GPU: there are {available}; start fewer")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
