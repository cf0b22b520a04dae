"""SOLOv2's head: one convolution for each instance, over features that know where in the image a pixel lies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from instance_seg_ros.learning.models.coordinates import Coordinates
from instance_seg_ros.learning.models.fcos_head import BatchNormPerLevel, Tower
from instance_seg_ros.learning.models.mask_heads.interface import MaskHead, MaskPlaces, combined, combined_of_batch


class KernelHead(MaskHead):
    """A dynamic 1x1 convolution without bias (Wang et al., SOLOv2, NeurIPS 2020).

    Nothing tells it where a pixel lies relative to the instance. What tells instances apart are the coordinates in the
    image, which join the features of the mask branch and those that the kernels are made of.
    """

    feature_channels = 64
    parameter_count = 64
    sees_coordinates = True

    def __init__(self, channels: int, levels: int) -> None:
        """`channels` of the box tower's output, on each of the `levels`."""
        super().__init__()
        self.coordinates = Coordinates(channels)
        self.tower = Tower(channels, 1, levels, BatchNormPerLevel, bias=False)

    def parameter_features(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See `MaskHead.parameter_features`."""
        return tuple(self.tower(self.coordinates(x), level) for level, x in enumerate(levels))

    def masks(self, features: Tensor, parameters: Tensor, places: MaskPlaces) -> Tensor:
        """See `MaskHead.masks`."""
        del places
        return combined(torch.relu(features), parameters).sigmoid()

    def masks_of_batch(self, features: Tensor, parameters: Tensor, image: Tensor, places: MaskPlaces) -> Tensor:
        """See `MaskHead.masks_of_batch`."""
        del places
        return combined_of_batch(torch.relu(features), parameters, image).sigmoid()
