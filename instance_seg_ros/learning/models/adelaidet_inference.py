"""From a camera's image to instances with a `AdelaiDetCondInst`: what comes before and after the network.

All shapes are functions of the image's size, so the same functions run eagerly and inside an exported graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from instance_seg_ros.core.settings import Settings, setting
from instance_seg_ros.learning.models.adelaidet import (
    MASK_STRIDE,
    SIZE_DIVISOR,
    STYLES,
    AdelaiDetCondInst,
    AdelaiDetConfig,
    Locations,
    locations_of,
)
from instance_seg_ros.learning.models.fcos_head import LevelOutput
from instance_seg_ros.learning.models.layers import aligned_upsample

_SHORTER_SIDE_PX = 800
_LONGER_SIDE_PX = 1333
_INSTANCES_AT_ONCE = 16


@dataclass(frozen=True)
class InferenceSettings(Settings):
    """AdelaiDet's thresholds."""

    min_score: float = setting(
        0.05, "Candidates have class x centre-ness above this (before the square root).", minimum=0.0, maximum=1.0
    )
    candidates_per_level: int = setting(
        1000, "Suppression looks at this many candidates of each level, the best ones.", minimum=1, maximum=100_000
    )
    overlap_threshold: float = setting(
        0.6,
        "A candidate is suppressed by a better one of its class above this intersection over union.",
        minimum=0.0,
        maximum=1.0,
    )
    max_instances: int = setting(100, "Rows of the result (K).", minimum=1, maximum=10_000)
    mask_threshold: float = setting(
        0.5, "A pixel belongs to the instance above this probability.", minimum=0.0, maximum=1.0
    )


def resized_size(width: int, height: int) -> tuple[int, int]:
    """Width and height that AdelaiDet's networks see an image at: shorter side 800, longer side at most 1333."""
    scale = _SHORTER_SIDE_PX / min(width, height)
    scale = min(scale, _LONGER_SIDE_PX / max(width, height))
    return int(width * scale + 0.5), int(height * scale + 0.5)


def padded_size(width: int, height: int) -> tuple[int, int]:
    """Width and height rounded up to what the network takes."""
    return -(-width // SIZE_DIVISOR) * SIZE_DIVISOR, -(-height // SIZE_DIVISOR) * SIZE_DIVISOR


def resampling_matrix(in_size: int, out_size: int) -> Tensor:
    """Bilinear resampling of one axis as a matrix (out_size, in_size) float32, rows summing to 1.

    The triangle filter is widened when the image shrinks, so that every input pixel counts (no aliasing).
    """
    scale = in_size / out_size
    support = max(scale, 1.0)
    centres = (torch.arange(out_size, dtype=torch.float64).unsqueeze(1) + 0.5) * scale - 0.5
    weights = (1 - (torch.arange(in_size, dtype=torch.float64) - centres).abs() / support).clamp(min=0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


class ImageInput(nn.Module):
    """A camera's colour image to the network's input: resized, normalised, padded right and bottom with 0.

    Args:
        config: of the network.
        camera_wh: size of the images.
        resized_wh: size that the network sees them at.
    """

    horizontal: Tensor
    vertical: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: AdelaiDetConfig, camera_wh: tuple[int, int], resized_wh: tuple[int, int]) -> None:
        super().__init__()
        style = STYLES[config.style]
        self.flip = style.channel_order == "BGR"
        self.resize = camera_wh != resized_wh
        padded = padded_size(*resized_wh)
        self.padding = (0, padded[0] - resized_wh[0], 0, padded[1] - resized_wh[1])
        if self.resize:
            self.register_buffer("horizontal", resampling_matrix(camera_wh[0], resized_wh[0]).T.contiguous())
            self.register_buffer("vertical", resampling_matrix(camera_wh[1], resized_wh[1]))
        self.register_buffer("mean", torch.tensor(style.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(style.std).view(3, 1, 1))

    def forward(self, color_rgb: Tensor) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, Hp, Wp) float32."""
        image = color_rgb.float().permute(2, 0, 1)  # in this order: TensorRT takes bytes only to convert them
        if self.flip:
            image = image.flip(0)
        if self.resize:
            # To whole levels after each axis, as an image library's resize of 8-bit pixels does.
            image = torch.floor(image @ self.horizontal + 0.5)
            image = torch.floor(self.vertical @ image + 0.5)
        return F.pad((image - self.mean) / self.std, self.padding).unsqueeze(0)


@dataclass(frozen=True)
class Candidates:
    """Locations that may be instances, the best of each level.

    Attributes:
        boxes_xyxy: (N, 4) float32 input pixels, unclipped.
        scores: (N,) float32 class x centre-ness; 0 where it does not reach the threshold.
        class_ids: (N,) int64.
        location_index: (N,) int64 into the locations of all levels.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    class_ids: Tensor
    location_index: Tensor


def candidates_of(levels: Sequence[LevelOutput], locations: Locations, settings: InferenceSettings) -> Candidates:
    """The candidates of the first image of a batch."""
    scores, classes, indices, boxes = [], [], [], []
    first = 0
    for level in levels:
        class_logits = level.class_logits[0].flatten(1)
        centerness = level.centerness_logits[0].flatten(1).sigmoid()
        cells = class_logits.shape[1]
        quality = (class_logits.sigmoid() * centerness).flatten()
        best, order = quality.topk(min(settings.candidates_per_level, quality.shape[0]))
        cell = order % cells
        index = cell + first
        ltrb_px = level.ltrb[0].flatten(1).index_select(1, cell).T * locations.stride[index].unsqueeze(1)
        centre = locations.xy[index]
        scores.append(best)
        classes.append(torch.div(order, cells, rounding_mode="floor"))
        indices.append(index)
        boxes.append(torch.cat((centre - ltrb_px[:, :2], centre + ltrb_px[:, 2:]), dim=1))
        first += cells
    score = torch.cat(scores)
    # In this order, so that what is not a number is not taken for a low score.
    score = torch.where(score <= settings.min_score, torch.zeros_like(score), score)
    return Candidates(torch.cat(boxes), score, torch.cat(classes), torch.cat(indices))


def suppress_greedily(candidates: Candidates, overlap_threshold: float, count: int) -> tuple[Tensor, Tensor]:
    """Greedy suppression among equal classes: the best candidate is kept and what it covers discarded, `count` times.

    A fixed number of steps of a few operations on all N candidates, so no shape depends on the data.

    Returns:
        Index (count,) int64 of the kept, best first, and their scores (count,) float32: 0 once none is left.
    """
    boxes, classes = candidates.boxes_xyxy.T, candidates.class_ids.to(candidates.boxes_xyxy.dtype)[None]
    # The class as a third axis, an interval of length 1: boxes of different classes do not meet.
    first, last = torch.cat((boxes[:2], classes)), torch.cat((boxes[2:], classes + 1))
    # With t / (1 + t) of each area, intersection > t * union becomes intersection > share + share of the other.
    share = (boxes[2:] - boxes[:2]).prod(dim=0, keepdim=True) * (overlap_threshold / (1 + overlap_threshold))
    facts = torch.cat((first, last, share))
    positions = torch.arange(len(candidates.scores), device=boxes.device)
    remaining = candidates.scores
    kept, kept_scores = [], []
    for _ in range(count):
        best = remaining[None].argmax(dim=1)  # of a row, since TensorRT's ArgMax takes no vectors
        of_best = facts.index_select(1, best)
        common = torch.minimum(last, of_best[3:6]) - torch.maximum(first, of_best[:3])
        covered = common.clamp(min=0).prod(dim=0) > share[0] + of_best[6]
        kept.append(best)
        kept_scores.append(remaining[best])
        remaining = torch.where(covered | (positions == best), torch.zeros_like(remaining), remaining)
    return torch.cat(kept), torch.cat(kept_scores)


class Detector(nn.Module):
    """A `AdelaiDetCondInst` for one camera: colour image in, K rows out, every shape fixed.

    Args:
        model: in evaluation mode.
        camera_wh: size of the images.
        resized_wh: size that the network sees them at; None for AdelaiDet's rule, `resized_size`.
        settings: the thresholds.
    """

    locations_xy: Tensor
    location_stride: Tensor
    location_size_px: Tensor
    camera_scale: Tensor
    limit: Tensor

    def __init__(
        self,
        model: AdelaiDetCondInst,
        camera_wh: tuple[int, int],
        resized_wh: tuple[int, int] | None = None,
        settings: InferenceSettings | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings or InferenceSettings()
        self.camera_wh = camera_wh
        self.resized_wh = resized_size(*camera_wh) if resized_wh is None else resized_wh
        self.image_input = ImageInput(model.config, camera_wh, self.resized_wh)
        locations = locations_of(level_sizes(*padded_size(*self.resized_wh)))
        self.register_buffer("locations_xy", locations.xy, persistent=False)
        self.register_buffer("location_stride", locations.stride, persistent=False)
        self.register_buffer("location_size_px", locations.size_px, persistent=False)
        scale = torch.tensor([camera / seen for camera, seen in zip(camera_wh, self.resized_wh, strict=True)])
        self.register_buffer("camera_scale", scale.repeat(2), persistent=False)
        self.register_buffer("limit", torch.tensor(camera_wh, dtype=torch.float32).repeat(2), persistent=False)

    def forward(self, color_rgb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """
        Args:
            color_rgb: (H, W, 3) uint8 of the camera's size.

        Returns:
            boxes_xyxy (K, 4) float32 camera pixels, inside the image; scores (K,) float32, best first, 0 for empty
            rows; class_ids (K,) int64; masks (K, Hp / 4, Wp / 4) float32 probabilities.
        """
        features = self.model(self.image_input(color_rgb))
        locations = Locations(self.locations_xy, self.location_stride, self.location_size_px)
        candidates = candidates_of(features.levels, locations, self.settings)
        kept, quality = suppress_greedily(candidates, self.settings.overlap_threshold, self.settings.max_instances)
        index = candidates.location_index[kept]
        parameters = self.model.parameters_at(features.levels, index)
        masks = self.model.masks(features.mask_features[0], parameters, locations.xy[index], locations.size_px[index])
        boxes = candidates.boxes_xyxy[kept] * self.camera_scale
        boxes = torch.minimum(boxes.clamp(min=0), self.limit)
        visible = (boxes[:, 2:] > boxes[:, :2]).all(dim=1).to(quality.dtype)
        return boxes, quality.sqrt() * visible, candidates.class_ids[kept], masks


def level_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """(height, width) of P3 to P7 for a padded input size."""
    sizes = [(height // 8, width // 8), (height // 16, width // 16), (height // 32, width // 32)]
    for _ in range(2):  # P6 and P7 come from convolutions of stride 2
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


@dataclass(frozen=True)
class AdelaiDetInstances:
    """N instances as AdelaiDet's inference gives them: masks may overlap and reach beyond their boxes.

    Attributes:
        boxes_xyxy: (N, 4) float32, output pixels.
        scores: (N,) float32, best first.
        class_ids: (N,) int64.
        masks: (N, H, W) bool.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    class_ids: Tensor
    masks: Tensor


def to_adelaidet_instances(
    boxes_xyxy: Tensor,
    scores: Tensor,
    class_ids: Tensor,
    mask_probabilities: Tensor,
    detector: Detector,
    output_wh: tuple[int, int],
) -> AdelaiDetInstances:
    """The rows of a detector, or of its exported graph, that mean something, in an output image of any size.

    Args:
        boxes_xyxy, scores, class_ids, mask_probabilities: as `Detector.forward` returns.
        detector: that they came from.
        output_wh: size of the output.
    """
    rows = scores > 0
    scale = torch.tensor([out / camera for out, camera in zip(output_wh, detector.camera_wh, strict=True)])
    masks = [
        full_masks(chunk.float(), detector.resized_wh, output_wh) > detector.settings.mask_threshold
        for chunk in _chunks(mask_probabilities[rows])
    ]
    return AdelaiDetInstances(
        boxes_xyxy[rows] * scale.repeat(2).to(boxes_xyxy.device),
        scores[rows],
        class_ids[rows],
        torch.cat(masks) if masks else torch.zeros((0, output_wh[1], output_wh[0]), dtype=torch.bool),
    )


def _chunks(masks: Tensor) -> Iterable[Tensor]:
    return torch.split(masks, _INSTANCES_AT_ONCE) if len(masks) else ()


def full_masks(probabilities: Tensor, resized_wh: tuple[int, int], output_wh: tuple[int, int]) -> Tensor:
    """Mask probabilities (K, h, w) at `MASK_STRIDE` to (K, H, W) of the output: up x4, padding cropped, bilinear."""
    pixels = aligned_upsample(probabilities.unsqueeze(1), MASK_STRIDE)[:, :, : resized_wh[1], : resized_wh[0]]
    size_hw = (output_wh[1], output_wh[0])
    return F.interpolate(pixels, size=size_hw, mode="bilinear", align_corners=False).squeeze(1)
