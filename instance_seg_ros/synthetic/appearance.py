"""What surfaces look like: procedural textures in the shape's own frame, and the drawing of random ones."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from instance_seg_ros.synthetic.objects import ObjectShape

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Appearance:
    """Two colours and a pattern in the shape's own frame.

    Attributes:
        colors_rgb: (2, 3) in [0, 1].
        pattern: ``plain``, ``stripes``, ``checks``, ``grain`` (wood) or ``band`` (a label around the middle).
        scale_m: size of the pattern.
    """

    colors_rgb: FloatArray
    pattern: str
    scale_m: float

    def albedo(self, points_m: FloatArray) -> npt.NDArray[np.float32]:
        """(N, 3) colour in [0, 1] at (N, 3) points of the shape's frame."""
        p = points_m / self.scale_m
        if self.pattern == "stripes":
            share = (np.floor(p[:, 0] + 0.3 * p[:, 1]) % 2).astype(np.float32)
        elif self.pattern == "checks":
            share = (np.floor(p + 1e-4).sum(axis=1) % 2).astype(np.float32)
        elif self.pattern == "grain":
            wave = np.sin(p[:, 0] * 3.0 + 1.5 * np.sin(p[:, 1] * 0.7) + 0.4 * np.sin(p[:, 1] * 5.0))
            share = (0.5 + 0.5 * wave).astype(np.float32)
        elif self.pattern == "band":
            share = (np.abs(p[:, 2]) < 0.5).astype(np.float32)
        else:
            share = np.zeros(len(p), np.float32)
        low, high = self.colors_rgb.astype(np.float32)
        return low + share[:, None] * (high - low)


def sample_appearance(
    rng: np.random.Generator, patterns: Sequence[str], scale_m: float, saturation: tuple[float, float] = (0.02, 0.35)
) -> Appearance:
    """Two random colours of similar hue, muted unless ``saturation`` says otherwise, and one of ``patterns``."""
    hue, vivid, bright = rng.uniform(0.08, 0.95, 3)
    first = _rgb((hue - 0.08) / 0.87, saturation[0] + (saturation[1] - saturation[0]) * vivid, 0.35 + 0.6 * bright)
    second = np.clip(first * (1.0 + 0.25 * rng.normal(0.0, 1.0, 3)), 0.03, 1.0)
    return Appearance(np.stack([first, second]), str(rng.choice(patterns)), scale_m)


def _rgb(hue: float, saturation: float, value: float) -> FloatArray:
    """RGB in [0, 1] of a colour given by hue, saturation and value in [0, 1]."""
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


SURFACES = ("floor", "wall", "top", "furniture", "sheet", "tote")


def background_appearance(rng: np.random.Generator, surface: str) -> Appearance:
    """The look of a part that is no object: one of :data:`SURFACES`."""
    return sample_appearance(rng, ("plain", "grain", "stripes", "checks"), float(rng.uniform(0.02, 0.3)))


def object_appearance(rng: np.random.Generator, shape: ObjectShape, others: Sequence[Appearance] = ()) -> Appearance:
    """Vivid colours and a pattern that suits the shape's size."""
    pattern = ("plain", "plain", "band", "stripes", "checks")
    return sample_appearance(rng, pattern, max(0.6 * shape.height_m, 0.02), saturation=(0.35, 0.95))
