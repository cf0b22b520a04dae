"""The network: CondInst (Tian, Shen, Chen: Conditional Convolutions for Instance Segmentation, ECCV 2020).

The trunk takes other mask heads as well, see `mask_heads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from instance_seg_ros.learning.models.backbone import Backbone
from instance_seg_ros.learning.models.color_encoder import ColorEncoder, color_gates
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.models.controller import Controller, patch_places
from instance_seg_ros.learning.models.depth_channels import VALIDITY_CHANNEL, DepthChannels
from instance_seg_ros.learning.models.fcos_head import FcosHead, level_locations
from instance_seg_ros.learning.models.fpn import FeaturePyramid
from instance_seg_ros.learning.models.layers import image_by_image
from instance_seg_ros.learning.models.mask_branch import MaskBranch
from instance_seg_ros.learning.models.mask_heads.by_name import make_mask_head
from instance_seg_ros.learning.models.mask_heads.interface import MaskPlaces
from instance_seg_ros.learning.models.mask_upsampling import MaskUpsampling, upsample_masks, upsample_masks_of_batch


@dataclass(frozen=True)
class DenseOutput:
    """Everything the network says, all levels joined: L = 1600 locations for 240x320 and strides 8, 16, 32.

    Attributes:
        class_logits: (B, L, classes) float32.
        ltrb_px: (B, L, 4) float32, distances to left, top, right, bottom in input pixels.
        centerness_logits: (B, L) float32.
        parameter_features: (B, C, H_i, W_i) per level, what the controller reads, see `parameters_at`.
        mask_features: (B, F, H / 4, W / 4) float32; F is the mask head's, 8 for CondInst's.
        foreground_logits: (B, 1, H / 4, W / 4) float32.
        mask_upsampling: (B, 9, 2, 2, H / 4, W / 4) float32, see `upsample_masks`.
    """

    class_logits: Tensor
    ltrb_px: Tensor
    centerness_logits: Tensor
    parameter_features: tuple[Tensor, ...]
    mask_features: Tensor
    foreground_logits: Tensor
    mask_upsampling: Tensor

    def by_image(self) -> list[DenseOutput]:
        """The same as B batches of one image."""
        own = {name: value.split(1) for name, value in vars(self).items() if name != "parameter_features"}
        levels = zip(*(level.split(1) for level in self.parameter_features), strict=True)
        return [
            DenseOutput(parameter_features=features, **{name: parts[image] for name, parts in own.items()})
            for image, features in enumerate(levels)
        ]


def _join(maps: list[Tensor]) -> Tensor:
    """(B, C, H_i, W_i) per level -> (B, L, C) float32."""
    return torch.cat([x.flatten(2).transpose(1, 2).float() for x in maps], dim=1)


_COLOR_STAGE = 1
"""Index of the backbone's stage at stride 8."""


def _silent_projection(in_channels: int, out_channels: int) -> nn.Conv2d:
    """1x1 convolution of zeros: a network that learned from depth starts from what it knows."""
    projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    nn.init.zeros_(projection.weight)
    return projection


class CondInst(nn.Module):
    """Depth, intrinsics and colour to dense predictions; `masks` turns chosen locations into masks.

    Colour joins late: at stride 8, behind the depth backbone's stage there, in the mask branch and in the masks'
    upsampling, each gated by missing depth if the configuration says so: it must not split what a measured surface
    holds together. Where colour is missing, the network is one of depth alone.
    """

    locations_xy: Tensor
    location_level: Tensor
    location_stride: Tensor
    location_size_px: Tensor
    location_patch: Tensor
    level_limits_px: Tensor

    def __init__(self, config: CondInstConfig) -> None:
        super().__init__()
        self.config = config
        levels = len(config.stage_channels)
        self.depth_channels = DepthChannels()
        self.backbone = Backbone(
            config.input_channels, config.stem_channels, config.stage_channels, config.stage_blocks
        )
        self.fpn = FeaturePyramid(config.stage_channels, config.fpn_channels)
        self.head = FcosHead(config.fpn_channels, config.num_classes, config.head_depth, len(config.head_strides))
        self.mask_head = make_mask_head(config)
        self.controller = Controller(config.fpn_channels, self.mask_head.parameter_count)
        self.mask_branch = MaskBranch(
            config.fpn_channels,
            config.mask_channels,
            self.mask_head.feature_channels,
            levels,
            config.mask_depth,
            sees_coordinates=self.mask_head.sees_coordinates,
        )
        finest, middle, coarsest = config.color_channels or (0, 0, 0)
        self.mask_upsampling = MaskUpsampling(config.stem_channels, finest, config.mask_channels)
        if config.color_channels:
            self.color_encoder = ColorEncoder(config.color_channels)
            self.color_to_backbone = _silent_projection(coarsest, config.stage_channels[_COLOR_STAGE])
            self.color_to_masks = _silent_projection(middle, config.mask_channels)
        self._register_locations()

    def _register_locations(self) -> None:
        config = self.config
        height, width = config.input_hw
        locations, levels, sizes_hw = [], [], []
        for level, stride in enumerate(config.head_strides):
            size_hw = (-(-height // stride), -(-width // stride))
            points = level_locations(*size_hw, stride)
            locations.append(points)
            levels.append(torch.full((len(points),), level, dtype=torch.long))
            sizes_hw.append(size_hw)
        level_of = torch.cat(levels)
        self.register_buffer("locations_xy", torch.cat(locations), persistent=False)
        self.register_buffer("location_level", level_of, persistent=False)
        strides = torch.tensor(config.head_strides, dtype=torch.float32)
        self.register_buffer("location_stride", strides[level_of], persistent=False)
        sizes = torch.tensor(config.sizes_of_interest_px, dtype=torch.float32)
        self.register_buffer("location_size_px", sizes[level_of], persistent=False)
        self.register_buffer("location_patch", patch_places(sizes_hw), persistent=False)
        limits = torch.tensor((0.0, *config.regression_limits_px), dtype=torch.float32)
        self.register_buffer("level_limits_px", limits, persistent=False)

    def forward(self, depth_m: Tensor, intrinsics: Tensor, color_rgb: Tensor | None = None) -> DenseOutput:
        """
        Args:
            depth_m: (B, 1, H, W) float32 metres, 0 = no measurement, H and W as `config.input_hw`.
            intrinsics: (B, 4) float32 fx, fy, cx, cy of that grid.
            color_rgb: (B, 3, H, W) uint8 or float32 in [0, 255]; an image that is black throughout counts as missing.
                None where no image has colour, and for a network of depth alone.

        Returns:
            DenseOutput.
        """
        if not self.config.reads_depth:
            depth_m = torch.zeros_like(depth_m)
        # Depth is processed in float32 whatever the autocast: bf16 has steps of 4 mm at one metre.
        with torch.autocast(device_type=depth_m.device.type, enabled=False):
            channels, to_upsampling, to_masks, to_backbone = image_by_image(self._depth_inputs, depth_m, intrinsics)
        finest, for_backbone, for_masks = None, None, None
        if self.config.color_channels and color_rgb is not None:
            finest, middle, coarsest = self.color_encoder(color_rgb)
            if self.config.gates_upsampling:
                finest = finest * to_upsampling.to(finest.dtype)
            additions = self.color_to_backbone(coarsest), self.color_to_masks(middle)
            if self.config.gates_color:
                gates = to_backbone, to_masks
                additions = tuple(x * gate.to(x.dtype) for x, gate in zip(additions, gates, strict=True))
            for_backbone, for_masks = {_COLOR_STAGE: additions[0]}, additions[1]
        stem, stages = self.backbone(channels, for_backbone)
        pyramid = self.fpn(stages)
        first = self.config.stage_strides.index(self.config.head_strides[0])
        levels = self.head(pyramid[first : first + len(self.config.head_strides)])
        mask_features, foreground, merged = self.mask_branch(pyramid, for_masks)
        return DenseOutput(
            class_logits=_join([level.class_logits for level in levels]),
            ltrb_px=_join([level.ltrb for level in levels]) * self.location_stride.view(1, -1, 1),
            centerness_logits=_join([level.centerness_logits for level in levels]).squeeze(2),
            parameter_features=self.mask_head.parameter_features([level.box_features for level in levels]),
            mask_features=mask_features.float(),
            foreground_logits=foreground.float(),
            mask_upsampling=self.mask_upsampling(stem, finest, merged),
        )

    def _depth_inputs(self, depth_m: Tensor, intrinsics: Tensor) -> tuple[Tensor, ...]:
        """The backbone's channels, and the gates of colour: see `DepthChannels` and `color_gates`."""
        channels = self.depth_channels(depth_m, intrinsics)
        return channels.contiguous(memory_format=torch.channels_last), *color_gates(channels[:, VALIDITY_CHANNEL:])

    def boxes_xyxy(self, ltrb_px: Tensor) -> Tensor:
        """Distances (..., L, 4) at all locations to boxes (..., L, 4) in input pixels."""
        return torch.cat((self.locations_xy - ltrb_px[..., :2], self.locations_xy + ltrb_px[..., 2:]), dim=-1)

    def parameters_at(self, parameter_features: Sequence[Tensor], location_index: Tensor) -> Tensor:
        """The mask head's parameters of chosen locations of one image, without computing those of all.

        Args:
            parameter_features: (1, C, H_i, W_i) per level.
            location_index: (K,) int64 into the L locations.

        Returns:
            (K, P) float32.
        """
        return self.controller.at(parameter_features, self.location_patch[location_index]).float()

    def mask_probabilities(self, output: DenseOutput, location_index: Tensor, boxes_xyxy: Tensor) -> Tensor:
        """Masks of chosen locations of a batch, upsampled.

        Args:
            output: of the batch.
            location_index: (K,) int64, image * L + location.
            boxes_xyxy: (K, 4) float32 of their instances, in input pixels.

        Returns:
            (K, H / 2, W / 2) float32.
        """
        image = location_index // len(self.locations_xy)
        location = location_index % len(self.locations_xy)
        parameters = self.controller.at_locations(output.parameter_features, image, self.location_patch[location])
        places = self._places(location, boxes_xyxy)
        if len(output.mask_features) == 1:  # which no mask needs a copy of
            coarse = self.mask_head.masks(output.mask_features[0], parameters, places)
            return upsample_masks(coarse, output.mask_upsampling[0])
        coarse = self.mask_head.masks_of_batch(output.mask_features, parameters, image, places)
        return upsample_masks_of_batch(coarse, output.mask_upsampling, image)

    def masks(self, mask_features: Tensor, parameters: Tensor, location_index: Tensor, boxes_xyxy: Tensor) -> Tensor:
        """Masks of chosen locations of one image, at the mask branch's stride.

        Args:
            mask_features: (F, H / 4, W / 4) float32.
            parameters: (K, P) float32 of those locations.
            location_index: (K,) int64 into the L locations.
            boxes_xyxy: (K, 4) float32 of their instances, in input pixels.

        Returns:
            (K, H / 4, W / 4) float32 probabilities.
        """
        return self.mask_head.masks(mask_features, parameters, self._places(location_index, boxes_xyxy))

    def _places(self, location: Tensor, boxes_xyxy: Tensor) -> MaskPlaces:
        stride = self.config.stage_strides[0]
        return MaskPlaces(self.locations_xy[location], self.location_size_px[location], boxes_xyxy, stride)
