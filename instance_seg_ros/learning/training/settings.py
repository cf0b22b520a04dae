"""The settings of a training. Needs no PyTorch, so that the command line shows them without."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from instance_seg_ros.core.settings import Settings, setting


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """The recipe. Exactly one of `steps` and `minutes` ends the training, and the learning rate follows it."""

    steps: int = setting(0, "Optimiser steps; 0: the training ends by minutes.", minimum=0, maximum=1_000_000_000)
    minutes: float = setting(
        0.0,
        "Wall-clock time in the training loop, over all resumed runs; 0: the training ends by steps. The schedule then "
        "follows the clock, so no run repeats another exactly.",
        minimum=0.0,
        maximum=1e6,
    )
    batch_size: int = setting(16, "Images in a step, over all processes.", minimum=1, maximum=65536)
    learning_rate: float = setting(2e-3, "Learning rate after the warm-up.", minimum=1e-9, maximum=100.0)
    warmup_steps: int = setting(
        150,
        "Steps in which the learning rate rises linearly; at most a quarter of steps.",
        minimum=0,
        maximum=1_000_000,
    )
    weight_decay: float = setting(
        0.02, "Weight decay of AdamW, on weights only, not on biases and norms.", minimum=0.0, maximum=1.0
    )
    clip_norm: float = setting(
        5.0, "A gradient with a larger norm than this is scaled down to it.", minimum=1e-6, maximum=1e6
    )
    average_decay: float = setting(
        0.998, "Decay of the exponential moving average of the weights, per step.", minimum=0.0, maximum=1.0
    )
    seed: int = setting(
        0, "Seed of initial weights, frame order, noise and augmentation.", minimum=0, maximum=2**31 - 1
    )
    workers: int = setting(
        -1,
        "Processes that prepare batches, for each process that trains; -1: 1 on a CPU, and for a GPU all cores but 2.",
        minimum=-1,
        maximum=256,
    )
    threads: int = setting(2, "CPU threads of the network, for each process that trains.", minimum=1, maximum=256)
    checkpoint_minutes: float = setting(3.0, "Time between checkpoints, in minutes.", minimum=1e-3, maximum=1e5)
    bf16: bool = setting(True, "Compute in bfloat16 where that is accurate enough (autocast).")
    batch_statistics: str = setting(
        "auto",
        "Statistics of batch normalisation: learned from the frames, or fixed as the starting weights have them. auto "
        "fixes them where a training starts from weights and more than a tenth of the frames lack depth or colour: the "
        "statistics of missing depth or colour fit none that is there.",
        choices=("auto", "learned", "fixed"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps == 0 and self.minutes == 0:
            raise ValueError("how long is the training to last? Give either steps (400 for a first look) or minutes")
        if self.steps > 0 and self.minutes > 0:
            raise ValueError(f"give either steps or minutes, not steps={self.steps} and minutes={self.minutes}")

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the training that is done, 0 to 1."""
        share = step / self.steps if self.steps else elapsed_s / (60 * self.minutes)
        return min(share, 1.0)

    def loader_processes(self, on_gpu: bool) -> int:
        """Processes that prepare batches."""
        if self.workers >= 0:
            return self.workers
        return max(len(os.sched_getaffinity(0)) - 2, 1) if on_gpu else 1

    def rate(self, step: int, progress: float) -> float:
        """Learning rate: linear warm-up, then a cosine down to 1 % of the peak."""
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))
        warmup = min(self.warmup_steps, self.steps // 4) if self.steps else self.warmup_steps
        return self.learning_rate * cosine * min(1.0, (step + 1) / max(warmup, 1))


@dataclass(frozen=True)
class ObjectiveSettings(Settings):
    """Weights of the losses, and how many locations the mask loss looks at."""

    mask_cross_entropy_weight: float = setting(
        2.0, "Weight of the mask's cross-entropy relative to its dice loss.", minimum=0.0, maximum=1000.0
    )
    boundary_weight: float = setting(
        4.0,
        "Weight of cells near a mask's boundary in its cross-entropy, where other cells weigh 1.",
        minimum=0.0,
        maximum=1000.0,
    )
    neighbour_weight: float = setting(
        0.25,
        "Weight of the loss of masks that cover other objects: more of it gives fewer merges and more splits.",
        minimum=0.0,
        maximum=1000.0,
    )
    foreground_weight: float = setting(1.0, "Weight of the auxiliary foreground loss.", minimum=0.0, maximum=1000.0)
    masks_per_instance: int = setting(
        2, "Positive locations of each instance in the mask loss.", minimum=1, maximum=1000
    )
    masks_per_image: int = setting(
        24, "At most this many locations of an image are in the mask loss.", minimum=1, maximum=10_000
    )
