"""Learned convex upsampling of masks (Teed & Deng, RAFT, ECCV 2020, section 3.3).

A fine pixel is a weighted mean of its coarse cell's 3 x 3 neighbourhood. The weights come from fine features of depth
and colour and are the same for every instance: where the image has an edge, so does every mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from instance_seg_ros.learning.models.configuration import MASK_UPSAMPLING
from instance_seg_ros.learning.models.layers import ConvNormRelu

NEIGHBOURS = 9
_GUIDE_CHANNELS = 12
_HIDDEN_CHANNELS = 48


class MaskUpsampling(nn.Module):
    """Predicts the weights; those of a new network are `aligned_upsample`'s bilinear ones."""

    def __init__(self, stem_channels: int, color_channels: int, mask_channels: int) -> None:
        """`color_channels` is 0 for a network without colour."""
        super().__init__()
        self.depth_guide = nn.Conv2d(stem_channels, _GUIDE_CHANNELS, 1)
        self.color_guide = nn.Conv2d(color_channels, _GUIDE_CHANNELS, 1, bias=False) if color_channels else None
        self.mix = ConvNormRelu(_GUIDE_CHANNELS * MASK_UPSAMPLING**2 + mask_channels, _HIDDEN_CHANNELS)
        self.weights = nn.Conv2d(_HIDDEN_CHANNELS, NEIGHBOURS * MASK_UPSAMPLING**2, 1)
        nn.init.zeros_(self.weights.weight)
        with torch.no_grad():
            self.weights.get_parameter("bias").copy_(torch.log(_bilinear_weights() + 1e-3).flatten())

    def forward(self, stem: Tensor, color: Tensor | None, mask_features: Tensor) -> Tensor:
        """
        Args:
            stem: (B, stem_channels, 2 h, 2 w) of the depth network.
            color: (B, color_channels, 2 h, 2 w) or None.
            mask_features: (B, mask_channels, h, w) inside the mask branch.

        Returns:
            (B, 9, 2, 2, h, w) float32, the weights of neighbour (row by row), row and column inside the cell; they
            are positive and sum to 1 over the neighbours.
        """
        guide = self.depth_guide(stem)
        if self.color_guide is not None and color is not None:
            guide = guide + self.color_guide(color)
        logits = self.weights(self.mix(torch.cat((_cells(torch.relu(guide)), mask_features), dim=1)))
        # The masks read it neighbour by neighbour.
        logits = logits.to(torch.float32, memory_format=torch.contiguous_format)
        batch, _, height, width = logits.shape
        logits = logits.view(batch, NEIGHBOURS, MASK_UPSAMPLING, MASK_UPSAMPLING, height, width)
        if not torch.onnx.is_in_onnx_export():
            return logits.softmax(dim=1)
        # By hand: ONNX runtimes transpose for one whose axis is not the last.
        shares = (logits - logits.amax(dim=1, keepdim=True)).exp()
        return shares / shares.sum(dim=1, keepdim=True)


def _cells(fine: Tensor) -> Tensor:
    """`F.pixel_unshuffle`, whose ONNX graph is a slow transposition: (B, C, 2 h, 2 w) -> (B, 4 C, h, w)."""
    if not torch.onnx.is_in_onnx_export():
        return F.pixel_unshuffle(fine, MASK_UPSAMPLING)
    steps = range(MASK_UPSAMPLING)
    parts = [fine[:, :, row::MASK_UPSAMPLING, column::MASK_UPSAMPLING] for row in steps for column in steps]
    return torch.stack(parts, dim=2).flatten(1, 2)


def _bilinear_weights() -> Tensor:
    """(9, 2, 2): fine sample o reads coarse position (o - 1) / 2, as `aligned_upsample` does."""
    along = torch.tensor([[0.5, 0.0], [0.5, 1.0], [0.0, 0.0]])
    return torch.einsum("ia,jb->ijab", along, along).reshape(NEIGHBOURS, MASK_UPSAMPLING, MASK_UPSAMPLING)


def upsample_masks(masks: Tensor, weights: Tensor) -> Tensor:
    """Masks of one image at twice the resolution.

    Args:
        masks: (K, h, w) probabilities.
        weights: (9, 2, 2, h, w) of `MaskUpsampling`.

    Returns:
        (K, 2 h, 2 w) probabilities.
    """
    if masks.device.type == "cpu" and masks.dtype == torch.float32:
        from instance_seg_ros.learning.models.compiled_upsampling import CompiledUpsampling

        upsampled: Tensor = CompiledUpsampling.apply(_padded(masks), weights.flatten(1, 2))
        return upsampled
    return _upsampled(masks, weights.flatten(1, 2).unbind(0))


def upsample_masks_of_batch(masks: Tensor, weights: Tensor, image: Tensor) -> Tensor:
    """Masks of several images at twice the resolution.

    Args:
        masks: (K, h, w) probabilities.
        weights: (B, 9, 2, 2, h, w) of `MaskUpsampling`.
        image: (K,) int64, the image of each mask.

    Returns:
        (K, 2 h, 2 w) probabilities.
    """
    return _upsampled(masks, [own.index_select(0, image) for own in weights.flatten(2, 3).unbind(1)])


def _upsampled(masks: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Masks (K, h, w) to (K, 2 h, 2 w) by weights (4, h, w) or (K, 4, h, w) of each neighbour."""
    count, height, width = masks.shape
    padded = _padded(masks)
    fine = masks.new_zeros(count, MASK_UPSAMPLING * MASK_UPSAMPLING, height, width)
    for neighbour, own in enumerate(weights):
        row, column = divmod(neighbour, 3)
        shifted = padded[:, None, row : row + height, column : column + width]
        fine = torch.addcmul(fine, shifted, own)
    # Not by pixel_shuffle, whose gradient fails where an image has no instance.
    cells = fine.view(count, MASK_UPSAMPLING, MASK_UPSAMPLING, height, width).permute(0, 3, 1, 4, 2)
    return cells.reshape(count, MASK_UPSAMPLING * height, MASK_UPSAMPLING * width)


def _padded(masks: Tensor) -> Tensor:
    """(K, h, w) -> (K, h + 2, w + 2), the border repeated."""
    return F.pad(masks.unsqueeze(1), (1, 1, 1, 1), mode="replicate").squeeze(1)
