"""The exported graph as an nn.Module: pre-processing, network, top-K, suppression and masks.

Only the camera image's size is dynamic; every shape behind the resampling is static.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from instance_seg_ros.core.settings import Settings, setting
from instance_seg_ros.learning.models.condinst import CondInst


@dataclass(frozen=True)
class DecodingSettings(Settings):
    """How dense predictions become instances."""

    candidates: int = setting(
        64, "At most this many locations are looked at, the best ones, see `preference`.", minimum=1, maximum=10_000
    )
    max_instances: int = setting(64, "Rows of the outputs (K); no more than candidates.", minimum=1, maximum=10_000)
    overlap_threshold: float = setting(
        0.5,
        "A candidate is suppressed if its mask overlaps that of a better, kept one by more than this (IoU).",
        minimum=0.0,
        maximum=1.0,
    )
    containment_threshold: float = setting(
        0.8,
        "A candidate is suppressed if a larger share of its mask than this lies inside that of a better, kept one.",
        minimum=0.0,
        maximum=1.0,
    )
    min_score: float = setting(
        0.05, "Candidates below this leave the graph with a score of 0.", minimum=0.0, maximum=1.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_instances > self.candidates:
            raise ValueError(f"max_instances must not exceed candidates, but {self.max_instances} > {self.candidates}")


def preference(quality: Tensor, sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
    """The value that candidates are chosen by: the quality, halved where one of the eight locations around is better.

    An object has several good locations side by side. Those that are the best around come first (CenterNet, Zhou et
    al., 2019, drops all others), so that few candidates reach many objects. The others follow, since the best location
    does not always have the best mask.

    Args:
        quality: (L,) float32 of the levels' locations, row by row, finest level first.
        sizes_hw: rows and columns of each level.

    Returns:
        (L,) float32.
    """
    preferences = []
    first = 0
    for height, width in sizes_hw:
        grid = quality[first : first + height * width].reshape(1, 1, height, width)
        first += height * width
        is_best = grid >= functional.max_pool2d(grid, 3, stride=1, padding=1)
        preferences.append(torch.where(is_best, grid, grid / 2).flatten())
    return torch.cat(preferences)


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
    all_kept = torch.ones(1, count, dtype=overlaps.dtype)
    keep = all_kept
    for _ in range(count - 1):
        # The product counts a candidate's kept suppressors: 1 - count is 1 without any and at most 0 otherwise. As
        # addmm and relu it is one operation of ONNX Runtime.
        keep = torch.relu(torch.addmm(all_kept, keep, suppressors, alpha=-1))
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


_ONE_SURFACE = 1.01
"""Neighbouring depths up to this factor apart are taken for one surface."""


class NetworkGrid(nn.Module):
    """Resampling of camera images of any size onto the network's grid, padded right and bottom with 0.

    Both take the mean of the four pixels around a cell's middle, which for a camera of twice the grid's size is exact:
    one pixel alone would lie half a camera pixel beside it. Of depth, only what was measured on the nearest surface of
    the four counts, so no depth comes out that lies between two surfaces.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def scale(self, image: Tensor) -> Tensor:
        """From camera to grid pixels, (), for an image (H, W, ...)."""
        height, width = image.shape[0], image.shape[1]
        size = torch.stack((torch.as_tensor(height), torch.as_tensor(width))).to(torch.float32)
        return torch.minimum(self.height / size[0], self.width / size[1])

    def depth(self, depth_m: Tensor) -> Tensor:
        """(H, W) float32 metres -> (1, 1, height, width)."""
        rows, columns = self._places(depth_m)
        by_rows = [depth_m.index_select(0, rows[part::2]) for part in (0, 1)]
        four = [half.index_select(1, columns[part::2]) for half in by_rows for part in (0, 1)]
        measured = [torch.where(one > 0, one, torch.inf) for one in four]
        limit = _ONE_SURFACE * reduce(torch.minimum, measured)
        weights = [(one <= limit).to(torch.float32) for one in measured]
        total = sum(one * weight for one, weight in zip(four, weights, strict=True))
        mean = total / sum(weights)
        inside_rows, inside_columns = self._inside(depth_m)
        return (mean * inside_rows.unsqueeze(1) * inside_columns)[None, None]

    def color(self, color_rgb: Tensor) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, height, width) float32 in [0, 255]."""
        rows, columns = self._places(color_rgb)
        # Sums of neighbours: a pooling would turn the three channels into planes of twice the grid's size first.
        by_rows = _sum_of_pairs(color_rgb, 0, rows)
        means = _sum_of_pairs(by_rows, 1, columns) / 4
        # ONNX Runtime moves a transposition behind what follows it, where it can, and computes slowly on triples: so
        # the product comes first, on rows of 3 * width numbers, and a reshape keeps the transposition where it is.
        inside_rows, inside_columns = self._inside(color_rgb)
        inside = inside_rows.unsqueeze(1) * inside_columns.unsqueeze(1).expand(-1, 3).reshape(1, -1)
        means = means.reshape(self.height, -1) * inside
        return means.reshape(-1, 3).transpose(0, 1).reshape(1, 3, self.height, self.width)

    def intrinsics(self, intrinsics: Tensor, scale: Tensor) -> Tensor:
        """(4,) float32 fx, fy, cx, cy of the camera -> (1, 4) of the grid."""
        return torch.cat((intrinsics[:2] * scale, (intrinsics[2:] + 0.5) * scale - 0.5))[None]

    def _places(self, image: Tensor) -> list[Tensor]:
        """Nearest rows and columns of an image (H, W, ...) for a grid twice as fine as the network's.

        Beyond its border they are the border's.
        """
        scale = self.scale(image) * 2
        places = []
        for axis, length in enumerate((self.height, self.width)):
            nearest = ((torch.arange(2 * length, dtype=torch.float32) + 0.5) / scale).floor()
            last = torch.as_tensor(image.shape[axis]).to(torch.float32) - 1
            places.append(torch.minimum(nearest, last).to(torch.int64))
        return places

    def _inside(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(height,) and (width,) float32: 1 for rows and columns whose middle is in the image, 0 for padding."""
        scale = self.scale(image)
        rows, columns = (
            ((torch.arange(length, dtype=torch.float32) + 0.5) / scale < image.shape[axis]).to(torch.float32)
            for axis, length in enumerate((self.height, self.width))
        )
        return rows, columns


def _sum_of_pairs(image: Tensor, axis: int, places: Tensor) -> Tensor:
    """Float32 sums of the first and second, third and fourth, ... of these places along an axis."""
    first, second = (image.index_select(axis, places[part::2]).to(torch.float32) for part in (0, 1))
    return first + second


class ExportedModel(nn.Module):
    """A camera's frame to the outputs of the model file's contract."""

    def __init__(self, model: CondInst, settings: DecodingSettings) -> None:
        super().__init__()
        self.model = model.eval()
        self.settings = settings
        self.grid = NetworkGrid(*model.config.input_hw)

    def forward(self, depth_m: Tensor, intrinsics: Tensor, color_rgb: Tensor | None = None) -> tuple[Tensor, ...]:
        """
        Args:
            depth_m: (H, W) float32 metres, 0 = no measurement.
            intrinsics: (4,) float32 fx, fy, cx, cy, pixels.
            color_rgb: (H, W, 3) uint8, black throughout where there is no colour; None for a network of depth alone.

        Returns:
            boxes_xyxy (K, 4) float32 camera pixels; scores (K,) float32, best first, 0 for empty rows; class_ids (K,)
            int64; masks (K, h, w) float16 probabilities; mask_scale (2,) float32, of the upsampled masks;
            mask_upsampling (9, 2, 2, h, w) float16, see `models.mask_upsampling`.
        """
        settings, model = self.settings, self.model
        scale = self.grid.scale(depth_m)
        color = None if color_rgb is None else self.grid.color(color_rgb)
        output = model(self.grid.depth(depth_m), self.grid.intrinsics(intrinsics, scale), color)

        probabilities, classes = output.class_logits[0].sigmoid().max(dim=1)
        quality = (probabilities * output.centerness_logits[0].sigmoid()).sqrt()
        sizes_hw = [self._size_hw(stride) for stride in model.config.head_strides]
        chosen = preference(quality, sizes_hw).topk(settings.candidates).indices
        quality = quality[chosen]
        parameters = model.parameters_at(output.parameter_features, chosen)
        boxes = model.boxes_xyxy(output.ltrb_px[0])[chosen]
        masks = model.masks(output.mask_features[0], parameters, chosen, boxes).flatten(1)
        binary = (masks > 0.5).to(masks.dtype)
        # How sure the mask is of its own pixels: what a phantom on bare table lacks (Wang et al., SOLO, ECCV 2020).
        certainty = (masks * binary).sum(dim=1) / binary.sum(dim=1).clamp(min=1.0)

        scores, order = (quality * certainty).topk(settings.candidates)
        overlaps = mask_overlaps(binary, settings.overlap_threshold, settings.containment_threshold)
        keep = suppress(overlaps[order][:, order])
        scores = scores * keep * (scores >= settings.min_score).to(scores.dtype)

        scores, best = scores.topk(settings.max_instances)
        rows = order[best]
        height, width = self._size_hw(model.config.stage_strides[0])
        masks = masks[rows].reshape(settings.max_instances, height, width).to(torch.float16)
        boxes = boxes[rows] / scale
        limit = torch.stack((torch.as_tensor(depth_m.shape[1]), torch.as_tensor(depth_m.shape[0]))).to(boxes.dtype)
        boxes = torch.minimum(boxes.clamp(min=0.0), torch.cat((limit, limit)))
        mask_scale = (scale / model.config.mask_stride).expand(2)
        return boxes, scores, classes[chosen[rows]], masks, mask_scale, output.mask_upsampling[0].to(torch.float16)

    def _size_hw(self, stride: int) -> tuple[int, int]:
        """Of the network's maps at a stride, as numbers: not every runtime infers them through the selections."""
        height, width = (-(-side // stride) for side in self.model.config.input_hw)
        return height, width
