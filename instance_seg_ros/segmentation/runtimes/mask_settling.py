"""Which instance gets each pixel, in PyTorch: `postprocessing.to_instances` up to its last step, where the masks are.

All rows at once and with fixed shapes, without reading a value on the host, so it can be part of a CUDA graph. What
comes down from a GPU in the end is one image of 8 bits and some numbers for each row, and no mask.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from instance_seg_ros.segmentation.postprocessing import MARGIN_CELLS, MARGIN_SHARE, Selection

SELECTION = "selection"
"""Name of the input, `selection_array`."""
NETWORK_OUTPUTS = frozenset(("boxes_xyxy", "scores", "class_ids", "masks", "mask_scale"))
"""Names of the outputs that are needed."""
PREFIX = "settled."
"""Of the names of the outputs; behind it come `SettledMasks`' attributes."""


def selection_array(selection: Selection) -> NDArray[np.float32]:
    """(3,) float32, what `settle` takes."""
    values = selection.score_threshold, selection.mask_threshold, selection.max_instances
    return np.array(values, dtype=np.float32)


def settle(output: Mapping[str, Tensor], selection: Tensor, image_size_wh: tuple[int, int]) -> dict[str, Tensor]:
    """The settled masks by `PREFIX` and attribute, for the outputs of a model file by name.

    Args:
        output: `NetworkOutput`'s attributes, on one device.
        selection: as `selection_array` gives it, there too.
    """
    order = output["scores"].sort(descending=True, stable=True).indices
    scores, boxes_xyxy = output["scores"][order], output["boxes_xyxy"][order]
    count, device = len(order), order.device
    ranks = torch.arange(count, device=device)
    is_active = (scores >= selection[0]) & (scores > 0) & (ranks < selection[2])

    masks, offset = output["masks"][order].float(), output.get("mask_offset")
    upsampling = output.get("mask_upsampling")
    if upsampling is not None:
        masks = _upsampled(masks, upsampling.float())
    inside = _inside(boxes_xyxy, output["mask_scale"], image_size_wh) & is_active[:, None, None]
    probability = _resampled(masks, output["mask_scale"], offset, image_size_wh)
    claims = inside & (probability > selection[1])

    best, owner = torch.where(claims, probability, -1.0).max(dim=0)
    owner = torch.where(best < 0, count, owner)
    own = owner[None] == ranks[:, None, None]
    values = {
        "owner": owner.to(torch.uint8 if count < 256 else torch.int16),
        "claimed_px": claims.sum(dim=(1, 2), dtype=torch.int32),
        "own_px": own.sum(dim=(1, 2), dtype=torch.int32),
        "own_boxes_xyxy": _bounds(own),
        "scores": scores,
        "class_ids": output["class_ids"][order],
        "boxes_xyxy": boxes_xyxy,
        "masks_are_finite": (torch.isfinite(probability) | ~inside).all().reshape(1),
    }
    return {PREFIX + name: value for name, value in values.items()}


def _upsampled(masks: Tensor, weights: Tensor) -> Tensor:
    """(K, h, w) and (9, f, f, h, w) -> (K, f h, f w): sums of neighbours, as `NetworkOutput.mask_upsampling` says."""
    count, height, width = masks.shape
    factor = weights.shape[1]
    padded = F.pad(masks[None], (1, 1, 1, 1), mode="replicate")[0]
    fine = torch.zeros((), dtype=masks.dtype, device=masks.device)
    for neighbour, share in enumerate(weights):
        row, column = divmod(neighbour, 3)
        fine = fine + share * padded[:, None, None, row : row + height, column : column + width]
    return fine.permute(0, 3, 1, 4, 2).reshape(count, factor * height, factor * width)


def _inside(boxes_xyxy: Tensor, mask_scale: Tensor, image_size_wh: tuple[int, int]) -> Tensor:
    """(K, H, W) bool, the pixels in which each row's mask is looked at."""
    size_wh = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    margin = MARGIN_SHARE * size_wh + MARGIN_CELLS / mask_scale
    first, last = (boxes_xyxy[:, :2] - margin).floor(), (boxes_xyxy[:, 2:] + margin).ceil()
    x, y = (
        (torch.arange(length, device=first.device) >= first[:, axis, None])
        & (torch.arange(length, device=first.device) < last[:, axis, None])
        for axis, length in enumerate(image_size_wh)
    )
    return y[:, :, None] & x[:, None]


def _resampled(masks: Tensor, mask_scale: Tensor, mask_offset: Tensor | None, image_size_wh: tuple[int, int]) -> Tensor:
    """(K, h, w) on the masks' grid -> (K, H, W) at the camera's pixels, bilinear, replicated beyond the border."""
    for axis, length in ((1, image_size_wh[1]), (2, image_size_wh[0])):
        offset = 0.0 if mask_offset is None else mask_offset[2 - axis].double()
        lower, upper, share = _places(length, mask_scale[2 - axis].double(), offset, masks.shape[axis])
        share = share[:, None] if axis == 1 else share
        masks = masks.index_select(axis, lower) * (1 - share) + masks.index_select(axis, upper) * share
    return masks


def _places(length: int, scale: Tensor, offset: Tensor | float, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells that each pixel of an axis lies between, and how far towards the second."""
    pixels = torch.arange(length, device=scale.device, dtype=torch.float64)
    places = (pixels + 0.5) * scale - 0.5 + offset
    lower = places.floor()
    share = (places - lower).float()
    cell = lower.long()
    return cell.clamp(0, cells - 1), (cell + 1).clamp(0, cells - 1), share


def _bounds(masks: Tensor) -> Tensor:
    """(K, H, W) bool -> (K, 4) int32 x0, y0, x1, y1, without meaning for empty ones."""
    ends = []
    for axis in (1, 2):
        is_there = masks.any(dim=axis)
        places = torch.arange(is_there.shape[1], dtype=torch.int32, device=masks.device)
        ends.append(torch.where(is_there, places, is_there.shape[1]).amin(dim=1))
        ends.append(torch.where(is_there, places + 1, 0).amax(dim=1))
    return torch.stack((ends[0], ends[2], ends[1], ends[3]), dim=1)
