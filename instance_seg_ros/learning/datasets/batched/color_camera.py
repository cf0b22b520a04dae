"""Prints, misregistration and a colour camera's faults for a batch of clean pictures, in torch operations.

They are those of `datasets.prints`, `datasets.misregistration` and `datasets.photometric`, with the same settings; the
words there explain them.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from instance_seg_ros.learning.datasets.batched.draws import Draws
from instance_seg_ros.learning.datasets.misregistration import SETTLED_SHARE, WINDOW_SHARE, MisregistrationSettings
from instance_seg_ros.learning.datasets.photometric import LUMA, PhotometricSettings
from instance_seg_ros.learning.datasets.prints import FONTS, PrintSettings
from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID

_WORDS = 64
_WORD_HW = (36, 224)
_WORD_BASELINE = 26
_RECTANGLE, _ELLIPSE, _HALF_PLANE, _STRIPES, _WORD = range(5)


_LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""The quantisation of brightness in ITU-T T.81, annex K.1, at a quality of 50."""
_CHROMA_STEPS = (
    (17, 18, 24, 47, *(99,) * 4),
    (18, 21, 26, 66, *(99,) * 4),
    (24, 26, 56, *(99,) * 5),
    (47, 66, *(99,) * 6),
    *((99,) * 8 for _ in range(4)),
)
"""That of colour, annex K.2."""
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_GREY_AXIS_TURN = ((0.0, -1.0, 1.0), (1.0, 0.0, -1.0), (-1.0, 1.0, 0.0))
"""The cross product with (1, 1, 1)."""


@dataclass(frozen=True)
class _Constants:
    """Numbers on a device, brought there once: a GPU would be waited for at each copy.

    Attributes:
        words: (words, height, width) uint8: words of letters 22 px high, 1 where they are printed.
        neighbours: (3, 1, 3, 3), the weights that a colour filter array's gaps are filled by.
        turn, grey: (3, 3).
        luma_steps, chroma_steps, cosines: (8, 8), of JPEG.
        to_ycc, from_ycc: (3, 3).
    """

    words: Tensor
    neighbours: Tensor
    turn: Tensor
    grey: Tensor
    luma_steps: Tensor
    chroma_steps: Tensor
    cosines: Tensor
    to_ycc: Tensor
    from_ycc: Tensor


@lru_cache(maxsize=2)
def _constants(device: torch.device) -> _Constants:
    rng = np.random.default_rng(6)
    words = np.zeros((_WORDS, *_WORD_HW), np.uint8)
    for picture in words:
        word = "".join(rng.choice(list(string.ascii_letters + string.digits), rng.integers(2, 9)))
        cv2.putText(picture, word, (2, _WORD_BASELINE), int(rng.choice(FONTS)), 1.0, 1, int(rng.integers(1, 4)))
    hat = np.array([1.0, 2.0, 1.0]) / 2
    places = np.arange(8)
    cosines = np.cos((2 * places[None] + 1) * places[:, None] * (np.pi / 16)) / 2
    cosines[0] /= 2**0.5
    values = {
        "neighbours": np.broadcast_to(np.outer(hat, hat), (3, 1, 3, 3)),
        "turn": np.array(_GREY_AXIS_TURN) / 3**0.5,
        "grey": np.tile(LUMA, (3, 1)),
        "luma_steps": _LUMA_STEPS,
        "chroma_steps": _CHROMA_STEPS,
        "cosines": cosines,
        "to_ycc": _TO_YCC,
        "from_ycc": np.linalg.inv(_TO_YCC),
    }
    tensors = {name: torch.from_numpy(np.array(value, np.float32)).to(device) for name, value in values.items()}
    return _Constants(words=torch.from_numpy(words).to(device), **tensors)


def printed(color: Tensor, ids: Tensor, boxes_xyxy: Tensor, draws: Draws, settings: PrintSettings) -> Tensor:
    """Pictures with random prints on objects and background, which end at their outlines.

    Every region, that is an instance or the background, has prints of its own, which are painted layer by layer: each
    pixel looks up those of its region.

    Args:
        color: (B, 3, H, W) float32 in [0, 255].
        ids: (B, H, W) uint8: 0 background, 1..N instances, 255 neither: nothing is printed there.
        boxes_xyxy: (B, N, 4) float32.
        draws: source of all randomness.
        settings: how much.
    """
    images, height, width = ids.shape
    whole = F.pad(boxes_xyxy.new_zeros(images, 1, 2), (0, 1), value=width)
    whole = F.pad(whole, (0, 1), value=height)
    boxes = torch.cat((whole, boxes_xyxy), dim=1)
    regions = boxes.shape[1]
    background = torch.arange(regions, device=ids.device).view(1, -1) == 0
    probability = torch.where(background, settings.background_probability, settings.object_probability)
    least = torch.where(background, settings.background_prints_min, settings.object_prints_min)
    most = torch.where(background, settings.background_prints_max, settings.object_prints_max)
    counts = least + draws.integers(most - least + 1, regions)
    is_printed = draws.happens(probability, regions) & draws.happens(settings.probability, 1)
    counts = torch.where(is_printed, counts, 0)
    region = torch.where(ids == IGNORE_ID, regions, ids.long()).clamp(max=regions).flatten(1)
    rows = torch.arange(height, device=ids.device, dtype=color.dtype).view(1, -1, 1)
    columns = torch.arange(width, device=ids.device, dtype=color.dtype).view(1, 1, -1)
    for layer in range(max(settings.object_prints_max, settings.background_prints_max)):
        table = _prints(boxes, draws, settings)
        table = torch.where((layer < counts).unsqueeze(2), table, 0.0)  # an opacity of 0 among the rest
        table = F.pad(table, (0, 0, 0, 1))  # of what is no region
        index = region.unsqueeze(2).expand(-1, -1, table.shape[2])
        own = table.gather(1, index).view(images, height, width, -1)
        share = own[..., -1] * _inside(rows, columns, own)
        color = torch.lerp(color, own[..., -4:-1].permute(0, 3, 1, 2), share[:, None])
    return color.floor()


def _prints(boxes_xyxy: Tensor, draws: Draws, settings: PrintSettings) -> Tensor:
    """(B, regions, 13), a random print for each box: kind, x, y, cosine, sine, width, height, period, duty, RGB and
    opacity."""
    regions = boxes_xyxy.shape[1]
    left, top, right, bottom = boxes_xyxy.unbind(dim=2)
    width, height = (right - left).clamp(min=1.0), (bottom - top).clamp(min=1.0)
    kind = draws.integers(5, regions)
    angle = draws.uniform(0.0, torch.pi, regions)
    straight = ((kind == _RECTANGLE) & draws.happens(0.5, regions)) | (kind == _WORD)
    angle = torch.where(straight, 0.0, angle)
    x, y = left + draws.uniform(0.0, 1.0, regions) * width, top + draws.uniform(0.0, 1.0, regions) * height
    size_x = draws.uniform(0.1, 0.8, regions) * width + 2
    size_y = draws.uniform(0.1, 0.8, regions) * height + 2
    # The beginning of a word lies farther left, and its letters are as high as a share of the box.
    is_word = kind == _WORD
    x = torch.where(is_word, left + draws.uniform(-0.25, 0.5, regions) * width, x)
    size_y = torch.where(is_word, draws.uniform(0.2, 0.8, regions) * height.clamp(min=12.0), size_y)
    size_x = torch.where(is_word, draws.integers(_WORDS, regions).to(size_x.dtype), size_x)
    period = draws.uniform(0.0, 1.0, regions) * (torch.maximum(width, height).clamp(min=8.0) / 2 - 3) + 3
    duty = draws.uniform(0.2, 0.8, regions)
    rgb = draws.integers(256, regions, 3).to(x.dtype)
    opacity = draws.uniform(settings.opacity_min, settings.opacity_max, regions)
    one = (kind.to(x.dtype), x, y, angle.cos(), angle.sin(), size_x, size_y, period, duty)
    return torch.cat((torch.stack(one, dim=2), rgb, opacity.unsqueeze(2)), dim=2)


def _inside(rows: Tensor, columns: Tensor, prints: Tensor) -> Tensor:
    """(B, H, W) bool: whether a pixel lies on the print that it looks up in (B, H, W, 13)."""
    kind, x, y, cosine, sine, size_x, size_y, period, duty = prints[..., :9].unbind(dim=3)
    right, down = columns - x, rows - y
    along, across = right * cosine + down * sine, down * cosine - right * sine
    rectangle = (2 * along.abs() < size_x) & (2 * across.abs() < size_y)
    ellipse = (2 * along / size_x).square() + (2 * across / size_y).square() < 1
    stripes = torch.remainder(along, period.clamp(min=1.0)) < period * duty
    letter_px = size_y.clamp(min=1.0) / 22
    column, row = (right / letter_px).floor(), (down / letter_px + _WORD_BASELINE).floor()
    on_word = (column >= 0) & (column < _WORD_HW[1]) & (row >= 0) & (row < _WORD_HW[0])
    words = _constants(prints.device).words.view(-1)
    place = (size_x * _WORD_HW[0] + row) * _WORD_HW[1] + column
    word = on_word & (words[torch.where(on_word & (kind == _WORD), place, 0.0).long()] > 0)
    result = torch.where(kind == _RECTANGLE, rectangle, ellipse)
    result = torch.where(kind == _HALF_PLANE, along > 0, result)
    result = torch.where(kind == _STRIPES, stripes, result)
    return torch.where(kind == _WORD, word, result)


def misregistered(color: Tensor, measured: Tensor, draws: Draws, settings: MisregistrationSettings) -> Tensor:
    """Pictures moved against the depth, but not where depth is missing.

    Args:
        color: (B, 3, H, W) float32.
        measured: (B, H, W) bool, where there is depth; pictures without any stay.
        draws: source of all randomness.
        settings: how often and how far.
    """
    height, width = measured.shape[1:]
    radius = max(round(WINDOW_SHARE * width), 1) // 2
    missing = 1 - measured.float()[:, None]
    for kernel, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        missing = F.avg_pool2d(missing, kernel, 1, padding, count_include_pad=False)
    amount = (1 - missing[:, 0] / SETTLED_SHARE).clamp(0.0, 1.0)
    moves = draws.happens(settings.probability) & measured.any(dim=2, keepdim=True).any(dim=1, keepdim=True)
    limit_px = settings.largest_share * width * moves
    x = torch.arange(width, device=color.device).view(1, 1, -1) - draws.uniform(-limit_px, limit_px) * amount
    y = torch.arange(height, device=color.device).view(1, -1, 1) - draws.uniform(-limit_px, limit_px) * amount
    grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=3)
    return F.grid_sample(color, grid, mode="bilinear", padding_mode="border", align_corners=True)


def degraded(color: Tensor, draws: Draws, settings: PhotometricSettings) -> Tensor:
    """Pictures as real cameras would have taken them: (B, 3, H, W) float32 in [0, 255], whole numbers.

    Args:
        color: (B, 3, H, W) float32 in [0, 255], clean and sharp.
        draws: source of all randomness.
        settings: what to do.
    """
    height, width = color.shape[2:]
    x, y = torch.linspace(-1, 1, width, device=color.device), torch.linspace(-1, 1, height, device=color.device)
    dark = settings.vignette * draws.uniform() * draws.happens(settings.vignette_probability)
    color = color * (1 - dark / 2 * (y.view(1, -1, 1).square() + x.view(1, 1, -1).square()))[:, None]
    color = _filtered(color, _blur_kernels(draws, settings))
    deviation_2 = (settings.read_noise * draws.uniform().square()).square()
    deviation_2 = deviation_2 + (settings.shot_noise * draws.uniform().square()).square() * color.mean(1) / 255
    deviation = deviation_2.clamp(min=0.0).sqrt() * draws.happens(settings.noise_probability)
    color = (color + deviation[:, None] * draws.normal(3, height, width)).round().clamp(0, 255)
    color = torch.where(draws.happens(settings.bayer_probability, 1, 1, 1), _through_filter_array(color), color)
    color = _recolored(_toned(color, draws, settings), draws, settings)
    amount = settings.sharpen * draws.uniform(0.0, 1.0, 1, 1, 1)
    amount = amount * draws.happens(settings.sharpen_probability, 1, 1, 1)
    color = (
        color + amount * (color - _filtered(color, _gaussian(color.new_full((draws.count, 1, 1), 0.8), 1)))
    ).round()
    color = color.clamp(0, 255)
    quality = draws.uniform(settings.jpeg_quality_min, settings.jpeg_quality_max, 1, 1, 1).floor()
    return torch.where(draws.happens(settings.jpeg_probability, 1, 1, 1), _compressed(color, quality), color)


def _filtered(color: Tensor, kernels: Tensor) -> Tensor:
    """Each picture (3, H, W) by its own kernel (k, k); borders are repeated."""
    images, channels, height = color.shape[:3]
    radius = kernels.shape[1] // 2
    padded = F.pad(color, (radius,) * 4, mode="replicate").reshape(1, images * channels, height + 2 * radius, -1)
    weights = kernels.repeat_interleave(channels, dim=0)[:, None]
    return F.conv2d(padded, weights, groups=images * channels).reshape(color.shape)


def _gaussian(sigma_px: Tensor, radius: int) -> Tensor:
    """(B, k, k) for deviations (B, 1, 1)."""
    steps = torch.arange(-radius, radius + 1, device=sigma_px.device, dtype=sigma_px.dtype)
    kernel = torch.exp(-0.5 * (steps.view(1, 1, -1).square() + steps.view(1, -1, 1).square()) / sigma_px.square())
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def _blur_kernels(draws: Draws, settings: PhotometricSettings) -> Tensor:
    """(B, 9, 9): of a lens, out of focus, by motion, or none."""
    sigma = draws.uniform(settings.blur_sigma_min_px, settings.blur_sigma_max_px)
    kind, angle = draws.uniform(), draws.uniform(0.0, torch.pi)
    steps = torch.arange(-4, 5, device=sigma.device, dtype=sigma.dtype)
    x, y = steps.view(1, 1, -1), steps.view(1, -1, 1)
    disk = (2 * sigma + 0.5 - (x.square() + y.square()).sqrt()).clamp(0.0, 1.0)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    line = (3**0.5 * sigma + 0.5 - along.abs()).clamp(0.0, 1.0) * (1 - across.abs()).clamp(min=0.0)
    kernel = torch.where(kind < 0.6, _gaussian(sigma, 4), torch.where(kind < 0.8, disk, line))
    nothing = ((x == 0) & (y == 0)).to(kernel.dtype)
    kernel = torch.where(draws.happens(settings.blur_probability), kernel, nothing)
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def _through_filter_array(color: Tensor) -> Tensor:
    """One channel at each pixel, red at the origin, and the others interpolated from their neighbours."""
    height, width = color.shape[2:]
    even_row = (torch.arange(height, device=color.device) % 2 == 0).view(-1, 1)
    even_column = (torch.arange(width, device=color.device) % 2 == 0).view(1, -1)
    is_seen = torch.stack((even_row & even_column, even_row ^ even_column, ~even_row & ~even_column))
    seen = is_seen.to(color.dtype)
    weights = _constants(color.device).neighbours
    total = F.conv2d(color * seen, weights, padding=1, groups=3)
    return torch.where(is_seen, color, (total / F.conv2d(seen[None], weights, padding=1, groups=3)).round())


def _toned(color: Tensor, draws: Draws, settings: PhotometricSettings) -> Tensor:
    """Exposure, gamma, contrast and white balance; what is too bright is cut off."""
    gain = torch.exp2(settings.exposure * draws.normal(1, 1, 1))
    gains = gain * torch.exp(settings.white_balance * draws.normal(3, 1, 1))
    gamma = torch.exp(settings.gamma * draws.normal(1, 1, 1))
    contrast = torch.exp(settings.contrast * draws.normal(1, 1, 1))
    level = 0.5 + contrast * ((color / 255 * gains) ** gamma - 0.5)
    return (255 * level.clamp(0.0, 1.0)).round()


def _recolored(color: Tensor, draws: Draws, settings: PhotometricSettings) -> Tensor:
    """Hue turned, saturation scaled, channels exchanged, all by one matrix."""
    turn = settings.hue * draws.normal()
    share = torch.exp(settings.saturation * draws.normal()) * ~draws.happens(settings.grey_probability)
    identity = torch.eye(3, device=color.device)
    cross, grey = _constants(color.device).turn, _constants(color.device).grey
    rotation = identity + turn.sin() * cross + (1 - turn.cos()) * (cross @ cross)
    matrix = (share * (identity - grey) + grey) @ rotation
    order = draws.uniform(0.0, 1.0, 3).argsort(dim=1)
    order = torch.where(draws.happens(settings.shuffle_probability, 1), order, torch.arange(3, device=color.device))
    matrix = matrix.gather(1, order.unsqueeze(2).expand(-1, -1, 3))
    return (matrix @ color.flatten(2)).reshape(color.shape).round().clamp(0, 255)


def _compressed(color: Tensor, quality: Tensor) -> Tensor:
    """What JPEG (ITU-T T.81) leaves at these qualities (B, 1, 1, 1): colour at half the resolution, blocks of 8 x 8
    rounded in frequency; H and W divisible by 16."""
    constants = _constants(color.device)
    ycc = (constants.to_ycc @ color.flatten(2)).reshape(color.shape)
    factor = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    luma = _rounded_blocks(ycc[:, :1] - 128, (factor * constants.luma_steps).round().clamp(1, 255)) + 128
    chroma = _rounded_blocks(F.avg_pool2d(ycc[:, 1:], 2), (factor * constants.chroma_steps).round().clamp(1, 255))
    chroma = F.interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False)
    restored = torch.cat((luma, chroma), dim=1)
    return (constants.from_ycc @ restored.flatten(2)).reshape(color.shape).round().clamp(0, 255)


def _rounded_blocks(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes (B, C, H, W) whose 8 x 8 cosine transforms are rounded to multiples of (B, 1, 8, 8)."""
    images, channels, height, width = planes.shape
    basis = _constants(planes.device).cosines
    blocks = planes.reshape(images, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = steps[:, :, None, None]
    rounded = ((basis @ blocks @ basis.T) / steps).round() * steps
    return (basis.T @ rounded @ basis).transpose(3, 4).reshape(planes.shape)
