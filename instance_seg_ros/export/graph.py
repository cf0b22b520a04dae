"""The exported graph as an nn.Module: pre-processing, network, top-K, suppression and masks.

Only the camera image's size is dynamic; every shape behind the resampling is static.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from instance_seg_ros.models.condinst import CondInst


@dataclass(frozen=True)
class DecodingSettings:
    """How dense predictions become instances.

    Attributes:
        candidates: best locations that are looked at.
        max_instances: rows of the outputs (K).
        overlap_threshold: a candidate whose mask overlaps that of a better, kept one by more (IoU) is suppressed.
        containment_threshold: likewise, one with a larger share of its own mask inside that of a better one.
        min_score: candidates below it leave the graph with score 0.
    """

    candidates: int = 100
    max_instances: int = 64
    overlap_threshold: float = 0.5
    containment_threshold: float = 0.8
    min_score: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.max_instances <= self.candidates:
            raise ValueError(
                f"max_instances must be in [1, candidates], not {self.max_instances} with {self.candidates} candidates"
            )
        for name in ("overlap_threshold", "containment_threshold", "min_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], not {getattr(self, name)}")


def suppress(overlaps: Tensor) -> Tensor:
    """Greedy suppression as a fixed number of matrix products (Cluster-NMS, Zheng et al., T-Cyb 2021).

    keep <- [no kept, better candidate suppresses it], N - 1 times from all ones. After t rounds the t + 1 best
    candidates have their greedy result, whatever the overlaps: N - 1 rounds are exactly greedy suppression.

    Args:
        overlaps: (N, N) float32 of 0 and 1, candidates ordered best first: whether the row's suppresses the column's.

    Returns:
        (N,) float32 of 0 and 1.
    """
    count = overlaps.shape[0]
    suppressors = torch.triu(overlaps, diagonal=1)
    keep = torch.ones(1, count, dtype=overlaps.dtype)
    for _ in range(count - 1):
        # The product counts a candidate's kept suppressors: 1 - count is 1 without any and at most 0 otherwise.
        keep = torch.relu(1.0 - keep @ suppressors)
    return keep[0]


def mask_overlaps(masks: Tensor, overlap_threshold: float, containment_threshold: float) -> Tensor:
    """Which of N binary masks would suppress which.

    Args:
        masks: (N, P) float32 of 0 and 1.
        overlap_threshold: of the intersection over union.
        containment_threshold: of the intersection over the suppressed mask.

    Returns:
        (N, N) float32 of 0 and 1: whether row i, if better, suppresses column j.
    """
    intersection = masks @ masks.transpose(0, 1)
    area = masks.sum(dim=1)
    union = area[:, None] + area[None] - intersection
    overlap = intersection > overlap_threshold * union
    contained = intersection > containment_threshold * area[None]
    return torch.logical_or(overlap, contained).to(masks.dtype)


class NetworkGrid(nn.Module):
    """Nearest resampling of a camera image of any size onto the network's grid, padded right and bottom with 0."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, depth_m: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Args:
            depth_m: (H, W) float32 metres.
            intrinsics: (4,) float32 fx, fy, cx, cy.

        Returns:
            Depth (1, 1, height, width), intrinsics (1, 4) of the grid, and the scale () from camera to grid pixels.
        """
        camera_h, camera_w = depth_m.shape[0], depth_m.shape[1]
        size = torch.stack((torch.as_tensor(camera_h), torch.as_tensor(camera_w))).to(torch.float32)
        scale = torch.minimum(self.height / size[0], self.width / size[1])
        rows = ((torch.arange(self.height, dtype=torch.float32) + 0.5) / scale).floor()
        columns = ((torch.arange(self.width, dtype=torch.float32) + 0.5) / scale).floor()
        row_index = torch.minimum(rows, size[0] - 1).to(torch.int64)
        column_index = torch.minimum(columns, size[1] - 1).to(torch.int64)
        inside = (rows < size[0]).unsqueeze(1) & (columns < size[1]).unsqueeze(0)
        sampled = depth_m.index_select(0, row_index).index_select(1, column_index)
        grid = torch.where(inside, sampled, torch.zeros_like(sampled))
        focal, centre = intrinsics[:2] * scale, (intrinsics[2:] + 0.5) * scale - 0.5
        return grid[None, None], torch.cat((focal, centre))[None], scale


class ExportedModel(nn.Module):
    """Camera depth and intrinsics to the outputs of the model file's contract."""

    def __init__(self, model: CondInst, settings: DecodingSettings) -> None:
        super().__init__()
        self.model = model.eval()
        self.settings = settings
        self.grid = NetworkGrid(*model.config.input_hw)

    def forward(self, depth_m: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """
        Args:
            depth_m: (H, W) float32 metres, 0 = no measurement.
            intrinsics: (4,) float32 fx, fy, cx, cy, pixels.

        Returns:
            boxes_xyxy (K, 4) float32 camera pixels; scores (K,) float32, best first, 0 for empty rows; class_ids (K,)
            int64; masks (K, h, w) float16 probabilities; mask_scale (2,) float32.
        """
        settings, model = self.settings, self.model
        grid_depth_m, grid_intrinsics, scale = self.grid(depth_m, intrinsics)
        output = model(grid_depth_m, grid_intrinsics)

        probabilities, classes = output.class_logits[0].sigmoid().max(dim=1)
        quality = (probabilities * output.centerness_logits[0].sigmoid()).sqrt()
        quality, chosen = quality.topk(settings.candidates)
        coarse = model.masks(output.mask_features[0], output.parameters[0, chosen], chosen)
        soft = coarse.flatten(1).sigmoid()
        binary = (soft > 0.5).to(soft.dtype)
        # How sure the mask is of its own pixels: what a phantom on bare table lacks (Wang et al., SOLO, ECCV 2020).
        certainty = (soft * binary).sum(dim=1) / binary.sum(dim=1).clamp(min=1.0)
        scores = quality * certainty

        scores, order = scores.topk(settings.candidates)
        chosen, coarse, binary = chosen[order], coarse[order], binary[order]
        keep = suppress(mask_overlaps(binary, settings.overlap_threshold, settings.containment_threshold))
        scores = scores * keep * (scores >= settings.min_score).to(scores.dtype)

        scores, best = scores.topk(settings.max_instances)
        # Sizes as numbers: not every runtime infers them through the selections, and would resize by computed ones.
        height, width = (-(-side // model.config.stage_strides[0]) for side in model.config.input_hw)
        chosen, coarse = chosen[best], coarse[best].reshape(settings.max_instances, height, width)
        boxes = model.boxes_xyxy(output.ltrb_px[0])[chosen] / scale
        limit = torch.stack((torch.as_tensor(depth_m.shape[1]), torch.as_tensor(depth_m.shape[0]))).to(boxes.dtype)
        boxes = torch.minimum(boxes.clamp(min=0.0), torch.cat((limit, limit)))
        masks = model.refine_masks(coarse).sigmoid().to(torch.float16)
        mask_scale = (scale / model.config.mask_stride).expand(2)
        return boxes, scores, classes[chosen], masks, mask_scale
