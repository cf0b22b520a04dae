"""CondInst assembled (Tian, Shen, Chen: Conditional Convolutions for Instance Segmentation, ECCV 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from instance_seg_ros.models.backbone import Backbone
from instance_seg_ros.models.configuration import DYNAMIC_CHANNELS, CondInstConfig
from instance_seg_ros.models.controller import Controller
from instance_seg_ros.models.dynamic_head import dynamic_masks
from instance_seg_ros.models.fcos_head import FcosHead, level_locations
from instance_seg_ros.models.fpn import FeaturePyramid
from instance_seg_ros.models.geometry_input import GeometryInput
from instance_seg_ros.models.layers import aligned_upsample
from instance_seg_ros.models.mask_branch import MaskBranch


@dataclass(frozen=True)
class DenseOutput:
    """Everything the network says, all levels joined: L = 1600 locations for 240x320 and strides 8, 16, 32.

    Attributes:
        class_logits: (B, L, classes) float32.
        ltrb_px: (B, L, 4) float32, distances to left, top, right, bottom in input pixels.
        centerness_logits: (B, L) float32.
        parameters: (B, L, 169) float32 of the dynamic heads.
        mask_features: (B, 8, H / 4, W / 4) float32.
        foreground_logits: (B, 1, H / 4, W / 4) float32.
    """

    class_logits: Tensor
    ltrb_px: Tensor
    centerness_logits: Tensor
    parameters: Tensor
    mask_features: Tensor
    foreground_logits: Tensor


def _join(maps: list[Tensor]) -> Tensor:
    """(B, C, H_i, W_i) per level -> (B, L, C) float32."""
    return torch.cat([x.flatten(2).transpose(1, 2).float() for x in maps], dim=1)


class CondInst(nn.Module):
    """Depth and intrinsics to dense predictions; `masks` turns chosen locations into mask logits."""

    locations_xy: Tensor
    location_level: Tensor
    location_stride: Tensor
    location_size_px: Tensor

    def __init__(self, config: CondInstConfig) -> None:
        super().__init__()
        self.config = config
        levels = len(config.stage_channels)
        self.geometry = GeometryInput()
        self.backbone = Backbone(
            config.input_channels, config.stem_channels, config.stage_channels, config.stage_blocks
        )
        self.fpn = FeaturePyramid(config.stage_channels, config.fpn_channels)
        self.head = FcosHead(config.fpn_channels, config.num_classes, config.head_depth, len(config.head_strides))
        self.controller = Controller(config.fpn_channels)
        self.mask_branch = MaskBranch(
            config.fpn_channels, config.mask_channels, DYNAMIC_CHANNELS, levels, config.mask_depth
        )
        self._register_locations()

    def _register_locations(self) -> None:
        config = self.config
        height, width = config.input_hw
        locations, levels = [], []
        for level, stride in enumerate(config.head_strides):
            points = level_locations(-(-height // stride), -(-width // stride), stride)
            locations.append(points)
            levels.append(torch.full((len(points),), level, dtype=torch.long))
        level_of = torch.cat(levels)
        self.register_buffer("locations_xy", torch.cat(locations), persistent=False)
        self.register_buffer("location_level", level_of, persistent=False)
        strides = torch.tensor(config.head_strides, dtype=torch.float32)
        self.register_buffer("location_stride", strides[level_of], persistent=False)
        sizes = torch.tensor(config.sizes_of_interest_px, dtype=torch.float32)
        self.register_buffer("location_size_px", sizes[level_of], persistent=False)

    def forward(self, depth_m: Tensor, intrinsics: Tensor) -> DenseOutput:
        """
        Args:
            depth_m: (B, 1, H, W) float32 metres, 0 = no measurement, H and W as `config.input_hw`.
            intrinsics: (B, 4) float32 fx, fy, cx, cy of that grid.

        Returns:
            DenseOutput.
        """
        # The geometry is computed in float32 whatever the autocast: bf16 has 4 mm steps at one metre.
        with torch.autocast(device_type=depth_m.device.type, enabled=False):
            channels = self.geometry(depth_m, intrinsics)
        pyramid = self.fpn(self.backbone(channels.contiguous(memory_format=torch.channels_last)))
        first = self.config.stage_strides.index(self.config.head_strides[0])
        levels = self.head(pyramid[first : first + len(self.config.head_strides)])
        mask_features, foreground = self.mask_branch(pyramid)
        return DenseOutput(
            class_logits=_join([level.class_logits for level in levels]),
            ltrb_px=_join([level.ltrb for level in levels]) * self.location_stride.view(1, -1, 1),
            centerness_logits=_join([level.centerness_logits for level in levels]).squeeze(2),
            parameters=_join([self.controller(level.box_features) for level in levels]),
            mask_features=mask_features.float(),
            foreground_logits=foreground.float(),
        )

    def boxes_xyxy(self, ltrb_px: Tensor) -> Tensor:
        """Distances (..., L, 4) at all locations to boxes (..., L, 4) in input pixels."""
        return torch.cat((self.locations_xy - ltrb_px[..., :2], self.locations_xy + ltrb_px[..., 2:]), dim=-1)

    def masks(self, mask_features: Tensor, parameters: Tensor, location_index: Tensor) -> Tensor:
        """Mask logits of chosen locations of one image, at the mask branch's stride.

        Args:
            mask_features: (8, H / 4, W / 4) float32.
            parameters: (K, 169) float32 of those locations.
            location_index: (K,) int64 into the L locations.

        Returns:
            (K, H / 4, W / 4) float32.
        """
        return dynamic_masks(
            mask_features,
            parameters,
            self.locations_xy[location_index],
            self.location_size_px[location_index],
            self.config.stage_strides[0],
        )

    @staticmethod
    def refine_masks(logits: Tensor) -> Tensor:
        """Aligned upsampling of mask logits (K, h, w) to (K, 2h, 2w), the finest mask stride."""
        return aligned_upsample(logits.unsqueeze(1), 2)[:, 0]
