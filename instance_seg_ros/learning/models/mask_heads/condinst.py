"""CondInst's head: a small network for each instance, which sees where a pixel lies relative to it."""

from __future__ import annotations

from torch import Tensor

from instance_seg_ros.learning.models.configuration import DYNAMIC_CHANNELS, dynamic_parameter_count
from instance_seg_ros.learning.models.dynamic_head import dynamic_masks, dynamic_masks_of_batch
from instance_seg_ros.learning.models.mask_heads.interface import MaskHead, MaskPlaces


class CondInstHead(MaskHead):
    """Three dynamic 1x1 layers on 8 features and relative coordinates (Tian, Shen, Chen, ECCV 2020)."""

    feature_channels = DYNAMIC_CHANNELS
    parameter_count = dynamic_parameter_count()

    def masks(self, features: Tensor, parameters: Tensor, places: MaskPlaces) -> Tensor:
        """See `MaskHead.masks`."""
        logits = dynamic_masks(features, parameters, places.locations_xy, places.sizes_px, places.stride)
        return logits.sigmoid()

    def masks_of_batch(self, features: Tensor, parameters: Tensor, image: Tensor, places: MaskPlaces) -> Tensor:
        """See `MaskHead.masks_of_batch`."""
        return dynamic_masks_of_batch(
            features, parameters, image, places.locations_xy, places.sizes_px, places.stride
        ).sigmoid()
