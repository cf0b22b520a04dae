"""The controller: the parameters of each location's own mask head (Tian et al., ECCV 2020)."""

from __future__ import annotations

from torch import Tensor, nn

from instance_seg_ros.models.configuration import dynamic_parameter_count


class Controller(nn.Conv2d):
    """3x3 convolution on the box tower: (B, C, H, W) -> (B, 169, H, W) in the order w0 w1 w2 b0 b1 b2."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, dynamic_parameter_count(), 3, 1, 1)
        nn.init.normal_(self.weight, std=0.01)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 169, H, W)."""
        return super().forward(x)
