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

from instance_seg_ros.core.settings import Settings, setting

Image = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint8]

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)


@dataclass(frozen=True)
class PrintSettings(Settings):
    """How much is painted; probabilities of 0 paint nothing."""

    probability: float = setting(0.67, "Probability that an image has prints at all.", minimum=0.0, maximum=1.0)
    object_probability: float = setting(
        0.6, "Probability that an object in such an image is printed.", minimum=0.0, maximum=1.0
    )
    background_probability: float = setting(
        0.6, "Probability that the background of such an image is printed.", minimum=0.0, maximum=1.0
    )
    object_prints_min: int = setting(1, "Least number of prints on an object.", minimum=0, maximum=100)
    object_prints_max: int = setting(4, "Greatest number of prints on an object.", minimum=0, maximum=100)
    background_prints_min: int = setting(1, "Least number of prints on the background.", minimum=0, maximum=100)
    background_prints_max: int = setting(6, "Greatest number of prints on the background.", minimum=0, maximum=100)
    opacity_min: float = setting(0.5, "Least opacity of a print.", minimum=0.0, maximum=1.0)
    opacity_max: float = setting(1.0, "Greatest opacity of a print.", minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("object_prints", "background_prints", "opacity"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if low > high:
                raise ValueError(f"{name}_min must not exceed {name}_max, but {low} > {high}")


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
    opacity = settings.opacity_min, settings.opacity_max
    if rng.random() < settings.background_probability:
        count = int(rng.integers(settings.background_prints_min, settings.background_prints_max + 1))
        _print_on(painted, ids == 0, (0, 0, width, height), rng, count, opacity)
    for value in np.flatnonzero(np.bincount(ids.ravel(), minlength=256)[1:]) + 1:
        if rng.random() < settings.object_probability:
            region = ids == value
            box = cv2.boundingRect(region.astype(np.uint8))
            count = int(rng.integers(settings.object_prints_min, settings.object_prints_max + 1))
            _print_on(painted, region, tuple(box), rng, count, opacity)
    return painted


def _print_on(
    painted: Image,
    region: npt.NDArray[np.bool_],
    box_xywh: tuple[int, ...],
    rng: np.random.Generator,
    count: int,
    opacity: tuple[float, float],
) -> None:
    """Paints a few prints on a region (H, W) inside its box, in place."""
    left, top, width, height = box_xywh
    window = painted[top : top + height, left : left + width]
    inside = region[top : top + height, left : left + width]
    for _ in range(count):
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
        cv2.putText(canvas, word, origin, int(rng.choice(FONTS)), scale, 1, int(rng.integers(1, 3)))
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
