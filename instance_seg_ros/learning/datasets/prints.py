"""Random prints painted over colour pictures: what is printed on a surface does not end an object.

Rendered surfaces are plain beside packages, books and toys. A network that sees only those takes a change of colour for
the end of an object. So patches, stripes and words in random colours are painted inside objects and across the
background, cut off at their outlines, as if they were printed there.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint8]

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)


@dataclass(frozen=True)
class PrintSettings:
    """How much is painted; zeros paint nothing.

    Attributes:
        probability: of an image that anything is painted.
        object_probability: of an object in it that it is printed.
        background_probability: of an image that the background is, too.
        object_prints: (low, high) prints on an object.
        background_prints: (low, high) prints on the background.
        opacity: (low, high) of each print.
    """

    probability: float = 0.67
    object_probability: float = 0.6
    background_probability: float = 0.6
    object_prints: tuple[int, int] = (1, 4)
    background_prints: tuple[int, int] = (1, 6)
    opacity: tuple[float, float] = (0.5, 1.0)


def paint_prints(color_rgb: Image, ids: Ids, rng: np.random.Generator, settings: PrintSettings) -> Image:
    """A picture with random prints on its objects and its background.

    Args:
        color_rgb: (H, W, 3) uint8 RGB; not changed.
        ids: (H, W) uint8, 0 = background; each other value is a region that prints end at.
        rng: source of all randomness.
        settings: how much.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if rng.random() >= settings.probability:
        return color_rgb
    painted = color_rgb.copy()
    height, width = ids.shape
    if rng.random() < settings.background_probability:
        _print_on(painted, ids == 0, (0, 0, width, height), rng, settings.background_prints, settings.opacity)
    for value in np.flatnonzero(np.bincount(ids.ravel(), minlength=256)[1:]) + 1:
        if rng.random() < settings.object_probability:
            region = ids == value
            box = cv2.boundingRect(region.astype(np.uint8))
            _print_on(painted, region, tuple(box), rng, settings.object_prints, settings.opacity)
    return painted


def _print_on(
    painted: Image,
    region: npt.NDArray[np.bool_],
    box_xywh: tuple[int, ...],
    rng: np.random.Generator,
    count: tuple[int, int],
    opacity: tuple[float, float],
) -> None:
    """Paints a few prints on a region (H, W) inside its box, in place."""
    left, top, width, height = box_xywh
    window = painted[top : top + height, left : left + width]
    inside = region[top : top + height, left : left + width]
    for _ in range(rng.integers(count[0], count[1] + 1)):
        shape = _shape(rng, height, width) & inside
        share = np.float32(rng.uniform(*opacity))
        color = rng.integers(0, 256, 3).astype(np.float32)
        window[shape] = ((1 - share) * window[shape] + share * color).astype(np.uint8)


def _shape(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.bool_]:
    """(height, width) bool: a random rectangle, ellipse, half plane, set of stripes, or word."""
    canvas = np.zeros((height, width), np.uint8)
    kind = rng.integers(5)
    center = (int(rng.integers(width)), int(rng.integers(height)))
    size = (float(rng.uniform(0.1, 0.8) * width) + 2, float(rng.uniform(0.1, 0.8) * height) + 2)
    angle_deg = float(rng.uniform(0, 180))
    if kind == 0:
        corners = cv2.boxPoints((center, size, angle_deg if rng.random() < 0.5 else 0.0))
        cv2.fillConvexPoly(canvas, np.rint(corners).astype(np.int32), 1)
    elif kind == 1:
        cv2.ellipse(canvas, (center, size, angle_deg), 1, -1)
    elif kind == 4:
        word = "".join(rng.choice(list(string.ascii_letters + string.digits), rng.integers(2, 9)))
        scale = float(rng.uniform(0.2, 0.8)) * max(height, 12) / 22
        origin = (int(rng.integers(-width // 4, max(width // 2, 1))), int(rng.integers(height // 4, height + 1)))
        cv2.putText(canvas, word, origin, int(rng.choice(_FONTS)), scale, 1, int(rng.integers(1, 3)))
    else:
        turn = np.deg2rad(angle_deg)
        along = (np.arange(width)[None] - center[0]) * np.cos(turn) + (np.arange(height)[:, None] - center[1]) * np.sin(
            turn
        )
        if kind == 2:
            return along > 0
        period_px = float(rng.uniform(3, max(width, height, 8) / 2))
        return (along % period_px) < period_px * rng.uniform(0.2, 0.8)
    return canvas > 0
