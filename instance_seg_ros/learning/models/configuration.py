"""Sizes of the network, each defined once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

DYNAMIC_CHANNELS = 8
"""Channels of the mask features and of the dynamic layers (Tian et al., ECCV 2020)."""

MASK_UPSAMPLING = 2
"""How much finer the final masks are than the mask features."""

GRID_MULTIPLE = 16
"""Sides of the network's grid are multiples of this, so that the cells of all levels but the coarsest tile it."""

MASK_HEADS = ("condinst", "prototypes", "kernels")
"""Ways to masks, see `models.mask_heads`: CondInst's dynamic filters, YOLACT's prototypes, SOLOv2's dynamic kernels."""

RELATIVE_COORDINATES = 2
"""Channels that tell a dynamic layer where a pixel lies relative to its instance."""


def dynamic_parameter_count(channels: int = DYNAMIC_CHANNELS) -> int:
    """Number of weights and biases of the three dynamic layers: 169 for 8 channels."""
    weights = (channels + RELATIVE_COORDINATES) * channels + channels * channels + channels
    return weights + channels + channels + 1


@dataclass(frozen=True)
class CondInstConfig:
    """Named sizes of the network.

    What a stage or the colour encoder strides over (`stem_channels`, all but the last of `stage_channels` and
    `color_channels`) has 16 channels at least where it is trained on a CPU at full size: with fewer, PyTorch 2.13
    corrupts the heap in the gradient of a 1x1 convolution of stride 2 whose layout is channels-last.

    Attributes:
        input_hw: height and width of the network's grid, multiples of `GRID_MULTIPLE`.
        input_channels: what `DepthChannels` gives.
        num_classes: object classes; 1 is class-agnostic.
        stem_channels: channels at stride 2.
        stage_channels: channels at strides 4, 8, 16, 32.
        stage_blocks: residual blocks of each stage.
        fpn_channels: channels of every pyramid level.
        head_strides: strides of the pyramid levels that detect.
        head_depth: 3x3 convolutions of each tower.
        regression_limits_px: upper limit of max(l, t, r, b) of each detecting level; the last is unbounded.
        sizes_of_interest_px: what the relative coordinates are divided by, per detecting level.
        mask_channels: channels inside the mask branch.
        mask_depth: 3x3 convolutions of the mask branch's tower.
        color_channels: channels of the colour encoder at strides 2, 4 and 8; empty for a network of depth alone.
        reads_depth: False for a network of colour alone, which treats depth as missing whatever it is given.
        gates_color: colour counts by the share of the depth that is missing around, see `color_encoder.color_gates`;
            False for networks from before there was a gate.
        gates_upsampling: the same for the colour that the masks' upsampling reads, which costs sharp outlines.
        mask_head: one of `MASK_HEADS`.
    """

    input_hw: tuple[int, int] = (240, 320)
    input_channels: int = 8
    num_classes: int = 1
    stem_channels: int = 24
    stage_channels: tuple[int, ...] = (48, 64, 128, 192)
    stage_blocks: tuple[int, ...] = (2, 2, 2, 2)
    fpn_channels: int = 64
    head_strides: tuple[int, ...] = (8, 16, 32)
    head_depth: int = 3
    regression_limits_px: tuple[float, ...] = (32.0, 80.0, 1e8)
    sizes_of_interest_px: tuple[float, ...] = (32.0, 64.0, 128.0)
    mask_channels: int = 48
    mask_depth: int = 3
    color_channels: tuple[int, ...] = (16, 32, 64)
    reads_depth: bool = True
    gates_color: bool = False
    gates_upsampling: bool = False
    mask_head: str = "condinst"

    def __post_init__(self) -> None:
        if any(side <= 0 or side % GRID_MULTIPLE for side in self.input_hw):
            height, width = self.input_hw
            raise ValueError(f"the sides of a grid must be multiples of {GRID_MULTIPLE}, not {width}x{height}")
        levels = len(self.head_strides)
        for name in ("regression_limits_px", "sizes_of_interest_px"):
            if len(getattr(self, name)) != levels:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries, but head_strides has {levels}")
        if len(self.stage_blocks) != len(self.stage_channels):
            raise ValueError(
                f"stage_blocks has {len(self.stage_blocks)} entries, but stage_channels {len(self.stage_channels)}"
            )
        if self.mask_head not in MASK_HEADS:
            raise ValueError(f"mask_head must be one of {', '.join(MASK_HEADS)}, not {self.mask_head!r}")
        if not (self.reads_depth or self.color_channels):
            raise ValueError("a network that does not read depth needs color_channels")
        strides = self.stage_strides
        if not set(self.head_strides) <= set(strides):
            raise ValueError(f"head_strides {self.head_strides} are not among the backbone's strides {strides}")

    @property
    def stage_strides(self) -> tuple[int, ...]:
        """Stride of each backbone stage: 4, 8, 16, ..."""
        return tuple(4 * 2**i for i in range(len(self.stage_channels)))

    @property
    def mask_stride(self) -> int:
        """Stride of the upsampled masks: half of the mask branch's."""
        return self.stage_strides[0] // MASK_UPSAMPLING

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CondInstConfig:
        """The inverse of `to_dict`; lists become tuples.

        Raises:
            TypeError: a name is unknown.
        """
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)


SIZES: dict[str, CondInstConfig] = {
    "standard": CondInstConfig(stage_blocks=(2, 2, 3, 3), gates_color=True),
    "small": CondInstConfig(
        stem_channels=16,
        stage_channels=(32, 48, 96, 128),
        fpn_channels=48,
        head_depth=2,
        mask_channels=32,
        mask_depth=2,
        color_channels=(16, 16, 48),
        gates_color=True,
    ),
}
"""Networks by name: what `make model` trains, and one with half of its weights or fewer."""
