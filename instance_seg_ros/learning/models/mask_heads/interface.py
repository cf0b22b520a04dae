"""What every mask head is to the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class MaskPlaces:
    """Where K instances were found, in pixels of the network's grid.

    Attributes:
        locations_xy: (K, 2) float32, of the locations that found them.
        sizes_px: (K,) float32, size of interest of each location's level.
        boxes_xyxy: (K, 4) float32: in a training those of the objects, else those of the network.
        stride: of the mask features.
    """

    locations_xy: Tensor
    sizes_px: Tensor
    boxes_xyxy: Tensor
    stride: int


class MaskHead(nn.Module, ABC):
    """Makes masks of features that all instances share and of parameters that each location has for itself.

    The network computes `feature_channels` mask features, one 1x1 convolution behind its mask branch, and
    `parameter_count` parameters of a location, one 3x3 convolution (`Controller`) behind `parameter_features`.

    Attributes:
        feature_channels: C, of the mask features.
        parameter_count: P, of a location.
        sees_coordinates: whether the mask branch is told where in the image a pixel lies.
    """

    feature_channels: ClassVar[int]
    parameter_count: ClassVar[int]
    sees_coordinates: ClassVar[bool] = False

    def parameter_features(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the parameters are made of: (B, Cin, H_i, W_i) of the box tower on each level -> the same shapes."""
        return tuple(levels)

    @abstractmethod
    def masks(self, features: Tensor, parameters: Tensor, places: MaskPlaces) -> Tensor:
        """Masks of K instances of one image.

        Args:
            features: (C, h, w) float32.
            parameters: (K, P) float32.
            places: of the K instances.

        Returns:
            (K, h, w) float32 probabilities.
        """

    @abstractmethod
    def masks_of_batch(self, features: Tensor, parameters: Tensor, image: Tensor, places: MaskPlaces) -> Tensor:
        """`masks` of K instances of B images.

        Args:
            features: (B, C, h, w) float32.
            parameters: (K, P) float32.
            image: (K,) int64, the image of each instance.
            places: of the K instances.

        Returns:
            (K, h, w) float32 probabilities.
        """


def combined(features: Tensor, weights: Tensor) -> Tensor:
    """Linear combinations of the features of one image: (C, h, w) and weights (K, C) -> (K, h, w).

    A dynamic 1x1 convolution with one output and no bias is the same.
    """
    return (weights @ features.flatten(1)).view(-1, *features.shape[1:])


def combined_of_batch(features: Tensor, weights: Tensor, image: Tensor) -> Tensor:
    """`combined` of K instances of B images: (B, C, h, w), (K, C) and the images (K,) int64 -> (K, h, w).

    One product with the weights of all other images set to 0: it reads the features as they are, where a product for
    each instance would need a copy of its image's.
    """
    own = image[:, None] == torch.arange(len(features), device=image.device)
    spread = weights[:, None, :] * own[:, :, None].to(weights.dtype)
    return combined(features.flatten(0, 1), spread.flatten(1))
