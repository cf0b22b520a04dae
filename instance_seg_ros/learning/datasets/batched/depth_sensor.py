"""`synthetic.sensors.sensor.simulate_depth` for a batch of clean depth pictures, in torch operations.

Each image has its own camera (`SensorSettings`), drawn where the frame is read. The defects, their order and their
strengths are those of the module named above, whose words explain them; two are approximated, because their originals
walk from pixel to pixel: the median filter is taken along rows, then columns, and a surface that loses returns is an
instance, or what lies in one plane of the background, rather than what a flood fill reaches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from instance_seg_ros.learning.datasets.batched.draws import Draws, masked_quantile
from instance_seg_ros.learning.synthetic.sensors.sensor import CAMERA_FIELDS, NOTHING_M, REFERENCE_WIDTH

_NOTHING_M = float(NOTHING_M)
_MOST_SURFACES = 4
_MOST_ELLIPSES = 24
_LARGEST_ELLIPSE_PX = 12
_LARGEST_HOLE_PX = 8
_COPLANAR = 0.01


def measured_depth(
    depth_m: Tensor, behind_m: Tensor, ids: Tensor, focal_px: Tensor, cameras: Tensor, draws: Draws
) -> Tensor:
    """Depth as real cameras would have measured it.

    Args:
        depth_m: (B, H, W) float32 clean z-depth in metres, 0 = nothing hit.
        behind_m: (B, H, W) float, 0 for ordinary surfaces, otherwise the depth of what is seen through the surface,
            infinite for nothing.
        ids: (B, H, W) uint8, 0 = background.
        focal_px: (B,) float32 along the rows.
        cameras: (B, fields) float32, the rows of `camera_vector`.
        draws: source of all randomness.

    Returns:
        (B, H, W) float32 metres, 0 = no measurement.
    """
    size_hw = (depth_m.shape[1], depth_m.shape[2])
    scale = size_hw[1] / REFERENCE_WIDTH
    camera = {name: cameras[:, index].view(-1, 1, 1) for index, name in enumerate(CAMERA_FIELDS)}
    z = _seen_through(depth_m, behind_m.to(depth_m.dtype), camera["see_through"], scale, draws)
    z = torch.where(draws.happens(camera["smooth_probability"]), _median(z), z)
    lost = z <= 0
    z = _fattened(z, camera["fattening_px"] * scale, camera["edge_step"], scale, draws)
    lost |= (camera["max_range_m"] > 0) & (z > camera["max_range_m"])
    lost |= _projector_shadow(z, focal_px.view(-1, 1, 1) * camera["baseline_m"])
    filled = torch.where(z > 0, z, _NOTHING_M)
    near, far = -_largest(-filled), _largest(filled)
    step = _steps(z, near, far, camera["edge_step"])
    limit_tan = torch.where(camera["grazing_tan"] > 0, camera["grazing_tan"], torch.inf)
    limit_tan = limit_tan * torch.exp(0.25 * draws.coarse_noise(6 * scale, 6 * scale, size_hw))
    lost |= ((far - near) * (0.5 * focal_px.view(-1, 1, 1)) / near > limit_tan) & ~step
    width_px = camera["edge_hole_px"] * scale * (0.5 + 0.8 * draws.coarse_noise(8 * scale, 8 * scale, size_hw))
    lost |= _distance(step, round(_LARGEST_HOLE_PX * scale)) + 0.5 < width_px
    lost |= _lossy_surfaces(z, ids, camera["surface_losses"], scale, draws)
    lost |= _ellipses(size_hw, camera["ellipse_losses"], scale, draws)
    lost |= _patches(size_hw, camera["patch_losses"], scale, draws)
    lost |= draws.happens(camera["speckle"], *size_hw)
    flies = step & (far < _NOTHING_M) & draws.happens(camera["flying_probability"], *size_hw)
    z = torch.where(flies, torch.lerp(near, far, draws.uniform(0.0, 1.0, *size_hw)), z)
    z = torch.where(lost, 0.0, _noisy(z, camera, scale, draws))
    z = _warped(z, camera, scale, draws)
    return torch.where(draws.happens(camera["crop_probability"]) & _cropped(z, draws), 0.0, z)


def _seen_through(z: Tensor, behind_m: Tensor, most: Tensor, scale: float, draws: Draws) -> Tensor:
    clear = (behind_m > 0) & (most > 0)
    size_hw = (z.shape[1], z.shape[2])
    shares = draws.uniform(0.3, 1.0) * most, draws.uniform()
    below = []
    for share in shares:
        noise = draws.coarse_noise(draws.uniform(4 * scale, 25 * scale), 4 * scale, size_hw)
        noise = noise + 0.4 * draws.normal(*size_hw)
        below.append(clear & (noise < masked_quantile(noise, clear, share)))
    gone, through = below
    other_m = torch.where(through & behind_m.isfinite(), behind_m, 0.0)
    return torch.where(gone, other_m, z)


def _median(z: Tensor) -> Tensor:
    """Of five along the rows, then of five along the columns; borders are repeated."""
    for dim in (2, 1):
        padding = (2, 2, 0, 0) if dim == 2 else (0, 0, 2, 2)
        padded = F.pad(z[:, None], padding, mode="replicate")[:, 0]
        a, b, c, d, e = (padded.narrow(dim, index, z.shape[dim]) for index in range(5))
        low = torch.maximum(torch.minimum(a, b), torch.minimum(d, e))
        high = torch.minimum(torch.maximum(a, b), torch.maximum(d, e))
        z = torch.maximum(torch.minimum(low, high), torch.minimum(torch.maximum(low, high), c))
    return z


def _fattened(z: Tensor, mean_px: Tensor, edge_step: Tensor, scale: float, draws: Draws) -> Tensor:
    nearest = torch.where(z > 0, z, _NOTHING_M)
    for dim in (1, 2):
        length = z.shape[dim]
        least = nearest
        for towards_end in (False, True):
            width_px = (draws.uniform(0.0, 2 * mean_px) + draws.uniform()).floor()
            for shift in range(1, int(4 * scale) + 1):
                moved = nearest.narrow(dim, shift if towards_end else 0, length - shift)
                moved = torch.where(width_px >= shift, moved, _NOTHING_M)
                kept = least.narrow(dim, 0 if towards_end else shift, length - shift)
                rest = least.narrow(dim, length - shift if towards_end else 0, shift)
                parts = (torch.minimum(kept, moved), rest) if towards_end else (rest, torch.minimum(kept, moved))
                least = torch.cat(parts, dim=dim)
        nearest = least
    return torch.where(nearest * (1 + edge_step) < z, nearest, z)


def _projector_shadow(z: Tensor, focal_baseline: Tensor) -> Tensor:
    mirrored = focal_baseline < 0
    z = torch.where(mirrored, z.flip(2), z)
    columns = torch.arange(z.shape[2], device=z.device, dtype=z.dtype)
    place = columns - focal_baseline.abs() / torch.where(z > 0, z, _NOTHING_M)
    nearest = place.flip(2).cummin(dim=2).values.flip(2)
    lost = place > nearest + 0.5
    return torch.where(mirrored, lost.flip(2), lost)


def _largest(values: Tensor) -> Tensor:
    """Of each 3 x 3 neighbourhood."""
    return F.max_pool2d(values[:, None], 3, 1, 1)[:, 0]


def _steps(z: Tensor, near: Tensor, far: Tensor, edge_step: Tensor) -> Tensor:
    middle = ((z - 0.5 * (near + far)).abs() <= 0.2 * (far - near)) & (z > 0)
    step = (far > (1 + edge_step) * near) & ~middle
    step[:, 0], step[:, -1] = step[:, 1], step[:, -2]
    step[:, :, 0], step[:, :, -1] = step[:, :, 1], step[:, :, -2]
    return step


def _distance(marked: Tensor, most: int) -> Tensor:
    """Steps to the nearest marked pixel, along rows and columns and every other time diagonally; at most `most`."""
    reached = marked[:, None].float()
    distance = 1 - reached
    for index in range(1, most):
        if index % 2:
            reached = torch.maximum(F.max_pool2d(reached, (3, 1), 1, (1, 0)), F.max_pool2d(reached, (1, 3), 1, (0, 1)))
        else:
            reached = F.max_pool2d(reached, 3, 1, 1)
        distance = distance + 1 - reached
    return distance[:, 0]


def _lossy_surfaces(z: Tensor, ids: Tensor, mean_count: Tensor, scale: float, draws: Draws) -> Tensor:
    images, height, width = z.shape
    number = draws.poisson(mean_count)
    image = torch.arange(images, device=z.device).view(-1, 1, 1)
    rows = torch.arange(height, device=z.device).view(1, -1, 1)
    columns = torch.arange(width, device=z.device).view(1, 1, -1)
    inverse = 1 / z.clamp(min=0.05)
    reach = 4
    lost = torch.zeros_like(z, dtype=torch.bool)
    for index in range(_MOST_SURFACES):
        row = reach + draws.integers(height - 2 * reach)
        column = reach + draws.integers(width - 2 * reach)
        own = ids[image, row, column]
        along_row = (inverse[image, row, column + reach] - inverse[image, row, column - reach]) / (2 * reach)
        along_column = (inverse[image, row + reach, column] - inverse[image, row - reach, column]) / (2 * reach)
        plane = inverse[image, row, column] + along_row * (columns - column) + along_column * (rows - row)
        coplanar = (inverse - plane).abs() < _COPLANAR * plane
        here = (ids == own) & ((own > 0) | coplanar) & (z > 0)
        noise = draws.coarse_noise(draws.uniform(15 * scale, 50 * scale), 15 * scale, (height, width))
        noise = noise + 0.7 * draws.coarse_noise(4 * scale, 4 * scale, (height, width))
        level = 0.6 * draws.normal() - 0.4 + 3 * here.float().mean(dim=(1, 2), keepdim=True)
        lost |= (index < number) & here & (noise > level)
    return lost


def _ellipses(size_hw: Sequence[int], mean_count: Tensor, scale: float, draws: Draws) -> Tensor:
    height, width = size_hw
    number = draws.poisson(mean_count).view(-1, 1, 1)
    radii_px = [
        (
            -1.5
            * scale
            * torch.log(draws.uniform(1e-6, 1.0, _MOST_ELLIPSES, 1) * draws.uniform(1e-6, 1.0, _MOST_ELLIPSES, 1))
        )
        .ceil()
        .clamp(1, _LARGEST_ELLIPSE_PX)
        for _ in range(2)
    ]
    angle = draws.uniform(0.0, torch.pi, _MOST_ELLIPSES, 1)
    row, column = draws.integers(height, _MOST_ELLIPSES, 1), draws.integers(width, _MOST_ELLIPSES, 1)
    steps = torch.arange(-_LARGEST_ELLIPSE_PX, _LARGEST_ELLIPSE_PX + 1, device=angle.device)
    down, right = (offsets.reshape(1, 1, -1) for offsets in torch.meshgrid(steps, steps, indexing="ij"))
    along = (right * angle.cos() + down * angle.sin()) / radii_px[0]
    across = (down * angle.cos() - right * angle.sin()) / radii_px[1]
    wanted = torch.arange(_MOST_ELLIPSES, device=angle.device).view(1, -1, 1) < number
    inside = (along.square() + across.square() <= 1) & wanted
    rows, columns = row + down, column + right
    inside &= (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = torch.where(inside, rows * width + columns, height * width)
    lost = torch.zeros(draws.count, height * width + 1, device=angle.device)
    lost.scatter_(1, places.flatten(1), 1.0)
    return lost[:, :-1].view(-1, height, width) > 0


def _patches(size_hw: tuple[int, int], mean_share: Tensor, scale: float, draws: Draws) -> Tensor:
    share = (-mean_share * torch.log(draws.uniform(1e-6, 1.0))).clamp(max=0.6)
    noise = draws.coarse_noise(draws.uniform(10 * scale, 50 * scale), 10 * scale, size_hw)
    noise = noise + 0.5 * draws.coarse_noise(5 * scale, 5 * scale, size_hw)
    return (mean_share > 0) & (noise > masked_quantile(noise, torch.ones_like(noise, dtype=torch.bool), 1 - share))


def _noisy(z: Tensor, camera: dict[str, Tensor], scale: float, draws: Draws) -> Tensor:
    size_hw = (z.shape[1], z.shape[2])
    noise = camera["smooth_noise"] * draws.coarse_noise(draws.uniform(8 * scale, 40 * scale), 8 * scale, size_hw)
    noise = noise + camera["white_noise"] * draws.normal(*size_hw)
    z = z * (1 + noise * z)
    quantum = camera["quantum"].clamp(min=1e-9)
    disparity = (1 / (quantum * z.clamp(min=0.05))).round().clamp(min=1.0)
    z = torch.where(camera["quantum"] > 0, 1 / (quantum * disparity), z)
    return z * (1 + camera["scale_error"] * draws.normal())


def _warped(z: Tensor, camera: dict[str, Tensor], scale: float, draws: Draws) -> Tensor:
    """Depths are picked, never mixed."""
    images, height, width = z.shape
    places = []
    for length, shape in ((height, (1, -1, 1)), (width, (1, 1, -1))):
        flow = camera["warp_px"] * scale * draws.coarse_noise(24 * scale, 24 * scale, (height, width))
        flow = flow + camera["jitter_px"] * scale * draws.coarse_noise(4 * scale, 4 * scale, (height, width))
        flow = flow + camera["shift_px"] * scale * draws.normal()
        own = torch.arange(length, device=z.device, dtype=z.dtype).view(*shape)
        places.append((own + flow).round().clamp(0, length - 1).long())
    return z.view(images, -1).gather(1, (places[0] * width + places[1]).flatten(1)).view_as(z)


def _cropped(z: Tensor, draws: Draws) -> Tensor:
    """Depth beyond a distance, or outside a slanted rectangle, or both."""
    height, width = z.shape[1:]
    kind = draws.integers(3)
    beyond = (kind != 1) & (z > masked_quantile(z, z > 0, draws.uniform(0.7, 1.0)))
    inset = draws.uniform(0.0, 0.16, 4, 2)
    corners = torch.stack(
        (
            torch.stack((inset[:, 0, 0] * width, inset[:, 0, 1] * height), dim=1),
            torch.stack(((1 - inset[:, 1, 0]) * width, inset[:, 1, 1] * height), dim=1),
            torch.stack(((1 - inset[:, 2, 0]) * width, (1 - inset[:, 2, 1]) * height), dim=1),
            torch.stack((inset[:, 3, 0] * width, (1 - inset[:, 3, 1]) * height), dim=1),
        ),
        dim=1,
    )
    rows = torch.arange(height, device=z.device, dtype=z.dtype).view(1, -1, 1)
    columns = torch.arange(width, device=z.device, dtype=z.dtype).view(1, 1, -1)
    outside = torch.zeros_like(z, dtype=torch.bool)
    for index in range(4):
        x, y = (corners[:, index, axis].view(-1, 1, 1) for axis in (0, 1))
        next_x, next_y = (corners[:, (index + 1) % 4, axis].view(-1, 1, 1) for axis in (0, 1))
        outside |= (next_x - x) * (rows - y) - (next_y - y) * (columns - x) < 0
    return beyond | ((kind != 0) & outside)
