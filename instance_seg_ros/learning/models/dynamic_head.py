"""The dynamic mask head: three 1x1 layers whose weights the controller predicted, as batched matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from instance_seg_ros.learning.models.configuration import DYNAMIC_CHANNELS, RELATIVE_COORDINATES


def split_parameters(parameters: Tensor, channels: int = DYNAMIC_CHANNELS) -> tuple[list[Tensor], list[Tensor]]:
    """Controller outputs to layers.

    Args:
        parameters: (K, 169) in the order w0 w1 w2 b0 b1 b2, weights [out, in] row-major.
        channels: width of the dynamic layers.

    Returns:
        Weights [(K, 8, 10), (K, 8, 8), (K, 1, 8)] and biases [(K, 8, 1), (K, 8, 1), (K, 1, 1)].
    """
    shapes = [(channels, channels + RELATIVE_COORDINATES), (channels, channels), (1, channels)]
    sizes = [rows * columns for rows, columns in shapes] + [rows for rows, _ in shapes]
    parts = torch.split(parameters, sizes, dim=1)
    weights = [part.reshape(-1, *shape) for part, shape in zip(parts[:3], shapes, strict=True)]
    return weights, [part.unsqueeze(2) for part in parts[3:]]


def dynamic_masks(features: Tensor, parameters: Tensor, locations_xy: Tensor, sizes_px: Tensor, stride: int) -> Tensor:
    """Mask logits of K instances of one image.

    Each instance sees [relative x, relative y, features], relative = (its location - the pixel's location) / its size
    of interest. The first layer is affine in the pixel, so the relative coordinates are folded into its weights and one
    matrix product serves all instances, without K copies of the features. It also hands on a channel of ones, by which
    the second layer's product adds its bias.

    Args:
        features: (8, h, w) float32 of the mask branch.
        parameters: (K, 169) float32 of the controller.
        locations_xy: (K, 2) float32, in input pixels.
        sizes_px: (K,) float32.
        stride: of the features.

    Returns:
        (K, h, w) float32 logits.
    """
    channels, height, width = features.shape
    inputs = torch.cat((_plane(features, stride), features.reshape(channels, height * width)))
    affine, second, third, bias_third = _layers(parameters, locations_xy, sizes_px, channels)
    hidden = torch.relu(affine.reshape(-1, len(inputs)) @ inputs).reshape(-1, channels + 1, height * width)
    hidden = torch.relu(torch.bmm(second, hidden))
    return (torch.bmm(third, hidden) + bias_third).reshape(-1, height, width)


def dynamic_masks_of_batch(
    features: Tensor, parameters: Tensor, image: Tensor, locations_xy: Tensor, sizes_px: Tensor, stride: int
) -> Tensor:
    """`dynamic_masks` of K instances of B images.

    Args:
        features: (B, 8, h, w) float32 of the mask branch.
        image: (K,) int64, the image of each instance.
        parameters, locations_xy, sizes_px, stride: as in `dynamic_masks`.

    Returns:
        (K, h, w) float32 logits.
    """
    channels, height, width = features.shape[1:]
    affine, second, third, bias_third = _layers(parameters, locations_xy, sizes_px, channels)
    plane = _plane(features, stride)
    where, what = affine.split((len(plane), channels), dim=2)
    hidden = (where.reshape(-1, len(plane)) @ plane).reshape(-1, channels + 1, height * width)
    hidden = torch.relu(torch.baddbmm(hidden, what, features.flatten(2).index_select(0, image)))
    hidden = torch.relu(torch.bmm(second, hidden))
    return torch.baddbmm(bias_third, third, hidden).reshape(-1, height, width)


def _plane(features: Tensor, stride: int) -> Tensor:
    """Columns, rows and ones (3, h * w) of the pixels of features (..., h, w), in input pixels."""
    height, width = features.shape[-2:]
    rows = torch.arange(height, dtype=features.dtype, device=features.device) * stride + stride // 2
    columns = torch.arange(width, dtype=features.dtype, device=features.device) * stride + stride // 2
    return torch.stack(
        (
            columns.view(1, -1).expand(height, width).reshape(-1),
            rows.view(-1, 1).expand(height, width).reshape(-1),
            torch.ones(height * width, dtype=features.dtype, device=features.device),
        )
    )


def _layers(
    parameters: Tensor, locations_xy: Tensor, sizes_px: Tensor, channels: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The layers on [columns, rows, ones, features]: (K, 9, 11), (K, 8, 9), (K, 1, 8), and the last bias (K, 1, 1)."""
    (first, second, third), (bias_first, bias_second, bias_third) = split_parameters(parameters, channels)
    relative = first[:, :, :RELATIVE_COORDINATES] / sizes_px.view(-1, 1, 1)
    constant = (relative * locations_xy.unsqueeze(1)).sum(dim=2, keepdim=True) + bias_first
    affine = torch.cat((-relative, constant, first[:, :, RELATIVE_COORDINATES:]), dim=2)
    inputs = RELATIVE_COORDINATES + 1 + channels
    ones = torch.eye(inputs, dtype=parameters.dtype, device=parameters.device)[RELATIVE_COORDINATES]
    affine = torch.cat((affine, ones.expand(len(affine), 1, -1)), dim=1)
    return affine, torch.cat((second, bias_second), dim=2), third, bias_third
