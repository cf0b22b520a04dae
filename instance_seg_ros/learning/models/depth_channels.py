"""Depth and intrinsics to the network's input channels, in plain torch operations that export to ONNX.

The same module runs in training and inside the exported model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VALIDITY_CHANNEL = 7
"""The last one: 1 where depth was measured, else 0."""

_XYZ_SCALE_M = 0.3
_XYZ_CLAMP = 5.0
_RELIEF_SCALE_M = 0.02
_RELIEF_CLAMP = 3.0
_MEDIAN_STEP_PX = 8
_PYRAMID_LEVELS = 4
_EMPTY_DEPTH_M = 1.0
_MIN_DEPTH_M = 0.05


def _weighted_mean(values: Tensor, weights: Tensor, kernel: int, stride: int) -> tuple[Tensor, Tensor]:
    """Box means of `values` counted by `weights`, both (B, 1, H, W); returns means (0 where no weight) and weights."""
    padding = kernel // 2 if stride == 1 else 0
    total = F.avg_pool2d(values * weights, kernel, stride, padding)
    weight = F.avg_pool2d(weights, kernel, stride, padding)
    return total / weight.clamp(min=1e-6), weight


def fill_holes(depth_m: Tensor, valid: Tensor) -> Tensor:
    """Replaces invalid depth by an average of its surroundings on the finest grid that has any (pull and push).

    Args:
        depth_m: (B, 1, H, W) float32; H and W divisible by 16.
        valid: (B, 1, H, W) float32, 1 where depth is measured.

    Returns:
        (B, 1, H, W) float32, positive everywhere; 1 m everywhere for an image with no measurement.
    """
    levels = [(depth_m, valid)]
    for _ in range(_PYRAMID_LEVELS):
        means, weights = _weighted_mean(*levels[-1], kernel=2, stride=2)
        levels.append((means, (weights > 0).to(depth_m.dtype)))
    coarse_m, coarse_valid = levels[-1]
    count = coarse_valid.sum(dim=(2, 3), keepdim=True)
    mean_m = (coarse_m * coarse_valid).sum(dim=(2, 3), keepdim=True) / count.clamp(min=1.0)
    fallback_m = torch.where(count > 0, mean_m, torch.full_like(mean_m, _EMPTY_DEPTH_M))
    filled_m = coarse_valid * coarse_m + (1 - coarse_valid) * fallback_m
    for means, weights in reversed(levels[:-1]):
        upsampled_m = F.interpolate(filled_m, scale_factor=2.0, mode="bilinear", align_corners=False)
        filled_m = weights * means + (1 - weights) * upsampled_m
    return filled_m


def masked_median(values: Tensor, valid: Tensor) -> Tensor:
    """Lower median of the valid values of each row.

    Args:
        values: (B, C, N) float32.
        valid: (B, 1, N) float32, 1 where a value counts.

    Returns:
        (B, C, 1) float32; 0 for a row without valid values.
    """
    count = valid.sum(dim=2, keepdim=True)
    ordered = torch.where(valid > 0, values, torch.full_like(values, 1e6)).sort(dim=2).values
    middle = ((count - 1) / 2).floor().clamp(min=0).long().expand(-1, values.shape[1], -1)
    return torch.where(count > 0, ordered.gather(2, middle), torch.zeros_like(ordered[:, :, :1]))


def _rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Rays (B, 2, H, W): x / z and y / z of every pixel, from intrinsics (B, 4) fx fy cx cy."""
    fx, fy, cx, cy = (intrinsics[:, i].view(-1, 1, 1) for i in range(4))
    columns = torch.arange(width, dtype=intrinsics.dtype, device=intrinsics.device).view(1, 1, -1)
    rows = torch.arange(height, dtype=intrinsics.dtype, device=intrinsics.device).view(1, -1, 1)
    x = ((columns - cx) / fx).expand(-1, height, -1)
    y = ((rows - cy) / fy).expand(-1, -1, width)
    return torch.stack((x, y), dim=1)


def _central_difference(xyz: Tensor, dim: int) -> Tensor:
    """Difference of the two neighbours along `dim`, the border replicated; same shape as `xyz`."""
    length = xyz.shape[dim]
    first, last = xyz.narrow(dim, 0, 1), xyz.narrow(dim, length - 1, 1)
    padded = torch.cat((first, xyz, last), dim=dim)
    return padded.narrow(dim, 2, length) - padded.narrow(dim, 0, length)


def surface_normals(xyz: Tensor) -> Tensor:
    """Unit normals (B, 3, H, W) of an organised cloud (B, 3, H, W), pointing towards the camera (negative z)."""
    du, dv = _central_difference(xyz, 3), _central_difference(xyz, 2)
    x = dv[:, 1] * du[:, 2] - dv[:, 2] * du[:, 1]
    y = dv[:, 2] * du[:, 0] - dv[:, 0] * du[:, 2]
    z = dv[:, 0] * du[:, 1] - dv[:, 1] * du[:, 0]
    cross = torch.stack((x, y, z), dim=1)
    length = (cross * cross).sum(dim=1, keepdim=True).clamp(min=1e-20).sqrt()
    return cross / length


def local_relief(depth_m: Tensor) -> Tensor:
    """How far a pixel stands out towards the camera from its surroundings (28 px wide), in metres.

    Inverse depth of a plane is affine in the pixel, so its mean over a window equals the centre's: the relief of any
    plane, however tilted, is zero, and a pen or a book on it stands out.

    Args:
        depth_m: (B, 1, H, W) float32, positive everywhere; H and W divisible by 4.

    Returns:
        (B, 1, H, W) float32, positive for what is nearer than its surroundings.
    """
    inverse = 1.0 / depth_m
    coarse = F.avg_pool2d(inverse, 4)
    around = F.avg_pool2d(coarse, 7, 1, 3, count_include_pad=False)
    around = F.interpolate(around, scale_factor=4.0, mode="bilinear", align_corners=False)
    return (inverse - around) * depth_m * depth_m


class DepthChannels(nn.Module):
    """Depth image to eight channels: XYZ, normals, relief, validity.

    XYZ of the filled depth less the median over the valid pixels, in units of 0.3 m, clamped; normals of the smoothed
    and filled depth; `local_relief` in units of 2 cm, clamped; 1 where depth was measured. Finite for every input,
    all-invalid depth and NaN included.
    """

    def forward(self, depth_m: Tensor, intrinsics: Tensor) -> Tensor:
        """
        Args:
            depth_m: (B, 1, H, W) float32 metres along z, 0 = no measurement; H and W divisible by 16.
            intrinsics: (B, 4) float32 fx, fy, cx, cy of that image, in pixels.

        Returns:
            (B, 8, H, W) float32.
        """
        height, width = depth_m.shape[2], depth_m.shape[3]
        measured = (depth_m > _MIN_DEPTH_M) & (depth_m < 1e3)
        depth_m = torch.where(measured, depth_m, torch.zeros_like(depth_m))
        valid = measured.to(depth_m.dtype)
        rays = _rays(intrinsics, height, width)

        filled_m = fill_holes(depth_m, valid)
        xyz = torch.cat((rays * filled_m, filled_m), dim=1)
        samples = xyz[:, :, ::_MEDIAN_STEP_PX, ::_MEDIAN_STEP_PX].flatten(2)
        sample_valid = valid[:, :, ::_MEDIAN_STEP_PX, ::_MEDIAN_STEP_PX].flatten(2)
        median = masked_median(samples, sample_valid).unsqueeze(3)
        centred = ((xyz - median) / _XYZ_SCALE_M).clamp(-_XYZ_CLAMP, _XYZ_CLAMP)

        smooth_m = F.avg_pool2d(F.pad(filled_m, (2, 2, 2, 2), mode="replicate"), 5, 1)
        normals = surface_normals(torch.cat((rays * smooth_m, smooth_m), dim=1))
        relief = (local_relief(filled_m) / _RELIEF_SCALE_M).clamp(-_RELIEF_CLAMP, _RELIEF_CLAMP)
        return torch.cat((centred, normals, relief, valid), dim=1)
