"""What each location should predict: FCOS assignment by visible pixels, and the locations that the mask loss looks at.

FCOS (Tian et al., ICCV 2019) samples around the box's centre, CondInst around the mask's centroid, and both give a
contested location to the smallest box. Where something stands in front of an object's middle, that leaves the object
behind without a location. Here a location can only be that of the object whose pixel it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID
from instance_seg_ros.learning.models.condinst import CondInst

BACKGROUND = -1
IGNORED = -2
CENTER_RADIUS = 1.5
"""Largest distance of a positive location from its object's anchor along rows and columns, in strides."""


@dataclass(frozen=True)
class Assignment:
    """Targets of the L locations of B images.

    Attributes:
        instance: (B, L) int64, the instance's row, or BACKGROUND or IGNORED.
        ltrb_px: (B, L, 4) float32, distances to the instance's box; only rows with an instance mean anything.
        quality: (B, L) float32 in (0, 1], how near the location lies to the instance's anchor; only rows with an
            instance mean anything.
    """

    instance: Tensor
    ltrb_px: Tensor
    quality: Tensor


def assign_locations(model: CondInst, ids: Tensor, boxes_xyxy: Tensor, anchors_xy: Tensor) -> Assignment:
    """Which instance each location is to find.

    A location is positive for the instance whose visible pixel it lies on, if it is within 1.5 strides of the
    instance's anchor and the box's largest distance falls in the level's range. An instance that no location qualifies
    for (smaller than the finest grid) gets the location nearest to its anchor. The quality falls with the distance to
    the anchor, as a Gaussian of one stride; it takes the place of FCOS's centre-ness, which the middle of the box has.

    Args:
        model: for its locations and level limits.
        ids: (B, H, W) uint8, 0 background, 1..N the rows of the boxes, 255 ignored: locations there count neither as
            object nor as background.
        boxes_xyxy: (B, N, 4) float32, pixels of the network grid; rows without an instance are 0.
        anchors_xy: (B, N, 2) float32, see `training_samples.Labels`.
    """
    locations, strides = model.locations_xy, model.location_stride
    height, width = ids.shape[1:]
    rows = locations[:, 1].long().clamp(0, height - 1)
    columns = locations[:, 0].long().clamp(0, width - 1)
    seen = ids[:, rows, columns].long()
    instance = torch.where(seen == IGNORE_ID, IGNORED, BACKGROUND)
    if boxes_xyxy.shape[1] == 0:
        nothing = locations.new_zeros(*instance.shape, 4)
        return Assignment(instance, nothing, nothing[..., 0])
    is_object = (seen > 0) & (seen != IGNORE_ID)
    own = torch.where(is_object, seen - 1, 0)
    limits = model.level_limits_px
    longest = _ltrb(locations, _rows(boxes_xyxy, own)).amax(dim=2)
    level = model.location_level
    fits_level = (longest > limits[level]) & (longest <= limits[level + 1])
    offset = (locations - _rows(anchors_xy, own)).abs().amax(dim=2)
    positive = is_object & fits_level & (offset < CENTER_RADIUS * strides)
    instance = torch.where(positive, own, instance)

    size = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    counts = torch.zeros_like(size[..., 0]).scatter_add(1, own, positive.float())
    is_orphan = (counts == 0) & (size.amin(dim=2) > 0)
    own_level = (size.amax(dim=2, keepdim=True) / 2 > limits[1:-1]).sum(dim=2, keepdim=True)
    # Not by cdist, whose matrix product rounds differently on every device.
    squared = (anchors_xy[:, :, None] - locations).square().sum(dim=3)
    nearest = torch.where(level == own_level, squared, torch.inf).argmin(dim=2)
    # A column beyond the locations takes what is no orphan; of two orphans at one location, the one of the higher row
    # has it on every device.
    orphans = torch.full_like(instance[:, :1], BACKGROUND).repeat(1, len(locations) + 1)
    places = torch.where(is_orphan, nearest, len(locations))
    ranks = torch.arange(is_orphan.shape[1], device=ids.device).expand_as(places)
    orphans = orphans.scatter_reduce(1, places, ranks, "amax")[:, :-1]
    instance = torch.where(orphans >= 0, orphans, instance)

    own = instance.clamp(min=0)
    # An orphan's location may lie just outside its box; a distance cannot be negative.
    ltrb = _ltrb(locations, _rows(boxes_xyxy, own)).clamp(min=0.5)
    distance = (locations - _rows(anchors_xy, own)).norm(dim=2) / strides
    return Assignment(instance, ltrb, torch.exp(-0.5 * distance * distance))


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows (B, L, C) of (B, N, C) by an index (B, L)."""
    return values.gather(1, index.unsqueeze(2).expand(-1, -1, values.shape[2]))


def _ltrb(locations: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Distances (B, L, 4) of locations (L, 2) to boxes (B, L, 4)."""
    return torch.cat((locations - boxes_xyxy[..., :2], boxes_xyxy[..., 2:] - locations), dim=2)


def sample_positives(instance: Tensor, per_instance: int, limit: int, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Random positive locations for the mask loss, the same number for each instance.

    Their number is fixed, and no value leaves the device, so that a GPU need not wait and can repeat it as a graph.

    Args:
        instance: (B, L) int64 of an Assignment.
        per_instance: at most this many of each instance.
        limit: at most this many of an image.
        seeds: (B,) int64, of each image's draws, which are the same on every device.

    Returns:
        Locations (B, K) int64, K = min(limit, L), and whether each of them counts, (B, K) bool; those that do come
        first.
    """
    count = instance.shape[1]
    positive = instance >= 0
    drawn = _uniform(seeds, count)
    ordered, order = torch.where(positive, instance + drawn, torch.inf).sort(dim=1)
    # The place among the instance's own: the distance from where its locations begin.
    group = ordered.floor()
    places = torch.arange(count, device=instance.device).expand_as(order)
    begins = torch.ones_like(positive)
    begins[:, 1:] = group[:, 1:] != group[:, :-1]
    rank = torch.zeros_like(order).scatter(1, order, places - torch.where(begins, places, 0).cummax(dim=1).values)
    preferred = torch.where(positive & (rank < per_instance), rank + drawn, torch.inf)
    values, chosen = preferred.topk(min(limit, count), dim=1, largest=False)
    return chosen, values < torch.inf


def _uniform(seeds: Tensor, count: int) -> Tensor:
    """(B, count) float64 in [0, 1) from seeds (B,) int64, by integers alone: equal on every device.

    The mixing is "lowbias32" (Wellons, Prospecting for Hash Functions, 2018), in 64 bits, whose sign never matters.
    """
    places = torch.arange(count, device=seeds.device)
    mixed = _mix32(seeds & _MASK32) ^ ((seeds >> 32) & _MASK32)
    return _mix32(_mix32(mixed)[:, None] ^ _mix32(places + 1)[None]).double() / 2.0**32


_MASK32 = 0xFFFFFFFF


def _mix32(values: Tensor) -> Tensor:
    """A bijection of 32-bit numbers, held in int64, that looks random."""
    values = ((values ^ (values >> 16)) * 0x7FEB352D) & _MASK32
    values = ((values ^ (values >> 15)) * 0x846CA68B) & _MASK32
    return values ^ (values >> 16)
