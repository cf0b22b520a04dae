"""YOLACT's head: prototype masks of the whole image, mixed by an instance's coefficients and cut out by its box."""

from __future__ import annotations

import torch
from torch import Tensor

from instance_seg_ros.learning.models.mask_heads.interface import MaskHead, MaskPlaces, combined, combined_of_batch

_MARGIN_CELLS = 1
"""Of a crop around the box, as in YOLACT's own code."""


class PrototypeHead(MaskHead):
    """sigmoid(P C^T) of prototypes P >= 0 and coefficients |C| < 1, cropped (Bolya et al., YOLACT, ICCV 2019)."""

    feature_channels = 32
    parameter_count = 32

    def masks(self, features: Tensor, parameters: Tensor, places: MaskPlaces) -> Tensor:
        """See `MaskHead.masks`."""
        return cropped(combined(torch.relu(features), torch.tanh(parameters)).sigmoid(), places)

    def masks_of_batch(self, features: Tensor, parameters: Tensor, image: Tensor, places: MaskPlaces) -> Tensor:
        """See `MaskHead.masks_of_batch`."""
        return cropped(combined_of_batch(torch.relu(features), torch.tanh(parameters), image).sigmoid(), places)


def cropped(masks: Tensor, places: MaskPlaces) -> Tensor:
    """Masks (K, h, w) with 0 in all cells outside of the boxes, which are widened by one cell."""
    height, width = masks.shape[1:]
    boxes = places.boxes_xyxy / places.stride
    first, last = boxes[:, :2] - _MARGIN_CELLS, boxes[:, 2:] + _MARGIN_CELLS
    columns = torch.arange(width, dtype=boxes.dtype, device=boxes.device)
    rows = torch.arange(height, dtype=boxes.dtype, device=boxes.device)
    in_columns = torch.logical_and(columns >= first[:, :1], columns < last[:, :1])
    in_rows = torch.logical_and(rows >= first[:, 1:], rows < last[:, 1:])
    return masks * in_rows.to(masks.dtype).unsqueeze(2) * in_columns.to(masks.dtype).unsqueeze(1)
