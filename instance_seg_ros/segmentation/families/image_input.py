"""From the camera's colour image to a network's input, and from the network's pixels back to the camera's."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

RESIZE_RULES = ("stretch", "fit", "letterbox")
"""To the network's size: each side by itself; with the sides' ratio kept, at the top left or in the middle."""
CHANNEL_ORDERS = ("rgb", "bgr")

Sides = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class Placement:
    """Where the camera's image lies in the network's: x_network = x_camera * gain + offset, x right from the left edge.

    Attributes:
        camera_wh, network_wh: sizes of both.
        gain_xy, offset_xy: offset in the network's pixels.
    """

    camera_wh: Sides
    network_wh: Sides
    gain_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    @property
    def inner_wh(self) -> Sides:
        """Size of the camera's image in the network's."""
        width, height = (round(side * gain) for side, gain in zip(self.camera_wh, self.gain_xy, strict=True))
        return width, height

    @property
    def inner_xy(self) -> Sides:
        """Its upper left pixel there."""
        return round(self.offset_xy[0]), round(self.offset_xy[1])

    def boxes_in_camera(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Boxes (K, 4) in the network's pixels, in the camera's; they may reach beyond its image."""
        gain, offset = (np.tile(np.array(pair, dtype=np.float32), 2) for pair in (self.gain_xy, self.offset_xy))
        return ((boxes_xyxy - offset) / gain).astype(np.float32, copy=False)

    def mask_scale_and_offset(self, mask_wh: Sides) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`mask_scale` and `mask_offset` of NetworkOutput, for masks that cover the network's image."""
        cells = np.array(mask_wh, dtype=np.float64) / self.network_wh
        return (cells * self.gain_xy).astype(np.float32), (cells * self.offset_xy).astype(np.float32)


@dataclass(frozen=True)
class ImageInput:
    """How a network wants its image: (pixel * scale - mean) / std in the given order of channels.

    Attributes:
        size_wh: for graphs that take any size; None: the camera's.
        resize: one of RESIZE_RULES.
        channels: one of CHANNEL_ORDERS.
        scale: of pixels, which are 0 to 255; 1 / 255 for networks that want 0 to 1.
        mean, std: by channel, in the network's order.
        fill: value of pixels beside the image, as the camera's 0 to 255; None where a network is fed 0 there, after
            normalisation.
        multiple: each side of `size_wh` is a multiple of this where it is the camera's.
    """

    size_wh: Sides | None
    resize: str
    channels: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fill: float | None = 0.0
    multiple: int = 1

    def network_wh(self, camera_wh: Sides, sides: tuple[int | None, int | None]) -> Sides:
        """The size of the network's image, of a graph whose image has these sides, None for any."""
        free = self.size_wh
        if free is None:
            free = tuple(-(-side // self.multiple) * self.multiple for side in camera_wh)  # type: ignore[assignment]
        width, height = (
            wanted if side is None else side
            for side, wanted in zip(sides, free, strict=True)  # type: ignore[arg-type]
        )
        return width, height

    def placement(self, camera_wh: Sides, network_wh: Sides) -> Placement:
        """Where an image of the camera's size goes."""
        inner_wh = _resized_wh(self.resize, camera_wh, network_wh)
        gain_x, gain_y = (new / old for new, old in zip(inner_wh, camera_wh, strict=True))
        left, top = _margins(self.resize, inner_wh, network_wh)
        return Placement(camera_wh, network_wh, (gain_x, gain_y), (left, top))

    def fed(self, color_rgb: NDArray[np.uint8], placement: Placement, kind: DTypeLike) -> NDArray:
        """The network's image (3, H, W); for a graph of bytes the pixels themselves, 0 to 255."""
        (width, height), (left, top), inner_wh = placement.network_wh, placement.inner_xy, placement.inner_wh
        image = color_rgb
        if inner_wh != placement.camera_wh:
            image = cv2.resize(image, inner_wh, interpolation=cv2.INTER_LINEAR)
        if inner_wh != placement.network_wh:
            right, bottom = width - left - inner_wh[0], height - top - inner_wh[1]
            color = (0.0 if self.fill is None else self.fill,) * 3
            image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=color)
        if self.channels == "bgr":
            image = image[..., ::-1]
        planes = image.transpose(2, 0, 1)
        if np.dtype(kind) == np.uint8:
            return np.ascontiguousarray(planes)
        mean, std = (np.array(values, dtype=np.float32)[:, None, None] for values in (self.mean, self.std))
        out = np.multiply(planes, np.float32(self.scale) / std, dtype=np.float32)
        out -= mean / std
        if self.fill is None:
            out[:, :top], out[:, top + inner_wh[1] :] = 0, 0
            out[:, :, :left], out[:, :, left + inner_wh[0] :] = 0, 0
        return out.astype(kind, copy=False)


def _resized_wh(rule: str, camera_wh: Sides, network_wh: Sides) -> Sides:
    if rule == "stretch":
        return network_wh
    ratio = min(new / old for new, old in zip(network_wh, camera_wh, strict=True))
    width, height = (min(max(round(old * ratio), 1), limit) for old, limit in zip(camera_wh, network_wh, strict=True))
    return width, height


def _margins(rule: str, inner_wh: Sides, network_wh: Sides) -> tuple[int, int]:
    """To the left and at the top; an odd pixel goes to the right and to the bottom."""
    if rule != "letterbox":
        return 0, 0
    left, top = ((outer - inner) // 2 for inner, outer in zip(inner_wh, network_wh, strict=True))
    return left, top
