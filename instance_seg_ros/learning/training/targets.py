"""What each location should predict: FCOS assignment with centre sampling around the masks' centroids."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from instance_seg_ros.learning.models.condinst import CondInst

BACKGROUND = -1
IGNORED = -2
CENTER_RADIUS = 1.5


@dataclass(frozen=True)
class Assignment:
    """Targets of the L locations of one image.

    Attributes:
        instance: (L,) int64, the instance's row, or BACKGROUND or IGNORED.
        ltrb_px: (L, 4) float32, distances to the instance's box; only rows with an instance mean anything.
    """

    instance: Tensor
    ltrb_px: Tensor


def assign_locations(model: CondInst, boxes_xyxy: Tensor, centroids_xy: Tensor, ignored: Tensor) -> Assignment:
    """FCOS assignment.

    A location is positive for an instance if it lies in its box, within 1.5 strides of its mask's centroid, and the
    box's largest distance falls in the level's range; of several instances the smallest box wins. An instance that no
    location qualifies for (smaller than the finest grid) gets the location nearest to its centroid.

    Args:
        model: for its locations and level limits.
        boxes_xyxy: (N, 4) float32, pixels of the network grid.
        centroids_xy: (N, 2) float32, mask centroids.
        ignored: (H, W) bool, pixels whose locations count neither as object nor as background.

    Returns:
        Assignment.
    """
    locations = model.locations_xy
    height, width = ignored.shape
    rows = locations[:, 1].long().clamp(0, height - 1)
    columns = locations[:, 0].long().clamp(0, width - 1)
    instance = torch.where(ignored[rows, columns], IGNORED, BACKGROUND)
    if len(boxes_xyxy) == 0:
        return Assignment(instance, locations.new_zeros(len(locations), 4))
    ltrb = torch.cat(
        (locations[:, None] - boxes_xyxy[None, :, :2], boxes_xyxy[None, :, 2:] - locations[:, None]), dim=2
    )
    offset = (locations[:, None] - centroids_xy[None]).abs().amax(dim=2)
    longest = ltrb.amax(dim=2)
    limits = locations.new_tensor((0.0, *model.config.regression_limits_px))
    lower, upper = limits[model.location_level], limits[model.location_level + 1]
    fits_level = (longest > lower[:, None]) & (longest <= upper[:, None])
    positive = (ltrb.amin(dim=2) > 0) & (offset < CENTER_RADIUS * model.location_stride[:, None]) & fits_level

    size = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    area = size.prod(dim=1)
    for orphan in (~positive.any(dim=0)).nonzero().flatten().tolist():
        level = int((size[orphan].max() / 2 > limits[1:-1]).sum())
        distance = (locations - centroids_xy[orphan]).norm(dim=1)
        positive[torch.where(model.location_level == level, distance, torch.inf).argmin(), orphan] = True

    cost = torch.where(positive, area[None], torch.inf)
    smallest, winner = cost.min(dim=1)
    instance = torch.where(smallest.isfinite(), winner, instance)
    # An orphan's location may lie just outside its box; a distance cannot be negative.
    chosen = ltrb[torch.arange(len(locations), device=winner.device), winner].clamp(min=0.5)
    return Assignment(instance, chosen)


def sample_positives(instance: Tensor, per_instance: int, limit: int, generator: torch.Generator) -> Tensor:
    """Random positive locations for the mask loss, the same number for each instance.

    Args:
        instance: (L,) int64 of an Assignment.
        per_instance: at most so many of each instance.
        limit: at most so many altogether.
        generator: of the randomness, on the CPU: the draws are the same on every device.

    Returns:
        (K,) int64 location indices, K <= limit.
    """
    positives = (instance >= 0).nonzero().flatten()
    shuffled = torch.randperm(len(positives), generator=generator, device="cpu")
    positives = positives[shuffled.to(positives.device)]
    owners = instance[positives]
    same_before = (owners[:, None] == owners[None]).tril(-1).sum(dim=1)
    order = torch.argsort(same_before, stable=True)
    chosen = positives[order[same_before[order] < per_instance]]
    return chosen[:limit]
