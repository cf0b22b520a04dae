"""What is printed on packages: brands, panels, pictures, lettering, tables, bar codes, tape and stickers.

Faces of one package share a few colours and a name; each is a small picture that :mod:`.textures` puts onto its side.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Color = tuple[int, int, int]
PicturePainter = Callable[[np.random.Generator, int], npt.NDArray[np.float32]]

_FONTS = (0, 1, 2, 3, 4, 5, 6, 7)
_WHITE, _BLACK = (250, 250, 248), (18, 18, 20)


@dataclass(frozen=True)
class Brand:
    """What the faces of a package have in common.

    Attributes:
        ground: the main colour.
        second: of panels.
        ink: of lettering, well apart from the ground.
        name: in large letters.
        font: of OpenCV.
        panels: how faces are divided, 0 to 5.
    """

    ground: Color
    second: Color
    ink: Color
    name: str
    font: int
    panels: int


def sample_brand(rng: np.random.Generator, base_rgb: Sequence[float]) -> Brand:
    """A brand, three times in four of strong colours, else around a given colour in [0, 1]."""
    hue = rng.random()
    if rng.random() < 0.75:
        ground = _hsv(hue, rng.uniform(0.55, 1.0), rng.uniform(0.45, 1.0))
    else:
        ground = tuple(int(255 * c) for c in base_rgb)  # type: ignore[assignment]
    kind = rng.random()
    if kind < 0.3:
        second = _WHITE if rng.random() < 0.7 else _BLACK
    elif kind < 0.6:
        second = _hsv(hue + rng.choice([0.08, -0.08, 0.5, 0.33]), rng.uniform(0.5, 1.0), rng.uniform(0.4, 1.0))
    else:
        second = _hsv(hue + rng.normal(0, 0.02), rng.uniform(0.2, 1.0), rng.uniform(0.15, 1.0))
    ink = _WHITE if sum(ground) < 380 else _BLACK
    if rng.random() < 0.35:
        ink = _hsv(rng.random(), rng.uniform(0.6, 1.0), 1.0 if sum(ground) < 380 else 0.4)
    return Brand(ground, second, ink, _word(rng, 3, 9), int(rng.choice(_FONTS)), int(rng.integers(6)))


def paint_front(rng: np.random.Generator, image: Image, brand: Brand, picture: PicturePainter) -> None:
    """Draw a front in place: panels, mostly a picture, the name, some small print."""
    height, width = image.shape[:2]
    _panels(rng, image, brand)
    if rng.random() < 0.75:
        h, w = int(height * rng.uniform(0.3, 0.85)), int(width * rng.uniform(0.35, 1.0))
        x, y = int(rng.uniform(0, width - w + 1)), int(rng.uniform(0, 1) ** 0.6 * (height - h))
        photo = cv2.resize(np.clip(picture(rng, 64) * 255, 0, 255).astype(np.uint8), (w, h))
        if rng.random() < 0.5:
            mask = np.zeros((h, w, 1), np.uint8)
            cv2.ellipse(mask, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 1, -1)
            image[y : y + h, x : x + w] = np.where(mask > 0, photo, image[y : y + h, x : x + w])
        else:
            image[y : y + h, x : x + w] = photo
    at_y = rng.uniform(0.12, 0.4) if rng.random() < 0.75 else rng.uniform(0.5, 0.9)
    if rng.random() < 0.4:
        tall = int(height * rng.uniform(0.07, 0.16))
        middle = int(at_y * height) - tall // 3
        cv2.ellipse(image, (width // 2, middle), (int(0.48 * width), tall), 0, 0, 360, brand.second, -1, cv2.LINE_AA)
        ink = _WHITE if sum(brand.second) < 380 else _BLACK
    else:
        ink = brand.ink
    _letters(image, brand.name, at_y, rng.uniform(0.6, 0.95), brand.font, ink)
    for _ in range(int(rng.integers(0, 4))):
        _letters(image, _word(rng, 4, 14), rng.uniform(0.3, 0.97), rng.uniform(0.25, 0.7), int(rng.choice(_FONTS)), ink)
    if rng.random() < 0.35:  # a bright badge: "new", "20 % more"
        r = int(min(height, width) * rng.uniform(0.08, 0.18))
        centre = (int(rng.uniform(0.15, 0.85) * width), int(rng.uniform(0.15, 0.85) * height))
        cv2.circle(image, centre, r, _hsv(rng.random(), 0.9, 1.0), -1, cv2.LINE_AA)
        cv2.putText(
            image, _word(rng, 2, 3), (centre[0] - r // 2, centre[1] + r // 4), 0, r / 32, _WHITE, 1, cv2.LINE_AA
        )


def paint_side(rng: np.random.Generator, image: Image, brand: Brand) -> None:
    """Draw a narrow or a rear side in place: plain or panels, then small print, a table, a bar code, a name."""
    height, width = image.shape[:2]
    if rng.random() < 0.45:
        _panels(rng, image, brand)
    else:
        image[:] = brand.ground if rng.random() < 0.7 else brand.second
    kind = rng.random()
    if kind < 0.35:
        _letters(image, brand.name, rng.uniform(0.2, 0.8), rng.uniform(0.4, 0.95), brand.font, brand.ink)
    elif kind < 0.6:
        w, h = int(width * rng.uniform(0.35, 0.8)), int(height * rng.uniform(0.3, 0.8))
        x, y = int(rng.uniform(0.05, 0.95) * (width - w)), int(rng.uniform(0.05, 0.95) * (height - h))
        cv2.rectangle(image, (x, y), (x + w, y + h), _WHITE, -1)
        pitch = int(rng.integers(4, 9))
        for row in range(y + 3, y + h - 2, pitch):
            cv2.line(image, (x + 3, row), (x + int(w * rng.uniform(0.4, 0.75)), row), _BLACK, 1)
            cv2.line(image, (x + int(0.85 * w), row), (x + w - 3, row), _BLACK, 1)
    elif kind < 0.85:
        pitch = int(rng.integers(4, 8))
        left, right = int(0.08 * width), int(0.92 * width)
        for row in range(int(rng.uniform(0.05, 0.5) * height), int(rng.uniform(0.6, 0.95) * height), pitch):
            cv2.line(image, (left, row), (int(right * rng.uniform(0.5, 1.0)), row), brand.ink, max(1, pitch // 4))
    if rng.random() < 0.3:
        bar_code(rng, image)


def paint_carton(rng: np.random.Generator, image: Image, brown: Color, is_top: bool) -> None:
    """Draw corrugated cardboard in place, with tape, a label, symbols; the top has the flaps' seam."""
    height, width = image.shape[:2]
    image[:] = brown
    image[:: int(rng.integers(2, 5))] = [int(0.96 * c) for c in brown]
    if is_top:
        tape = [int(c) for c in np.clip(np.array(brown) * rng.uniform(0.8, 1.3), 0, 255)]
        wide = int(rng.uniform(0.08, 0.2) * height)
        if rng.random() < 0.75:
            cv2.rectangle(image, (0, height // 2 - wide), (width, height // 2 + wide), tape, -1)
        cv2.line(image, (0, height // 2), (width, height // 2), [int(0.5 * c) for c in brown], 1)
    if rng.random() < 0.5:
        w, h = int(width * rng.uniform(0.25, 0.55)), int(height * rng.uniform(0.25, 0.55))
        x, y = int(rng.uniform(0, 1) * (width - w)), int(rng.uniform(0, 1) * (height - h))
        label = image[y : y + h, x : x + w]
        label[:] = _WHITE
        for row in range(4, h // 2, 5):
            cv2.line(label, (3, row), (int(w * rng.uniform(0.3, 0.9)), row), _BLACK, 1)
        bar_code(rng, label)
    if rng.random() < 0.4:
        _letters(image, _word(rng, 3, 8), rng.uniform(0.2, 0.9), rng.uniform(0.3, 0.8), 2, _dark(rng))
    if rng.random() < 0.3:
        size = int(0.12 * min(height, width)) + 2
        x, y = int(rng.uniform(0.1, 0.8) * width), int(rng.uniform(0.1, 0.8) * height)
        cv2.rectangle(image, (x, y), (x + size, y + size), _dark(rng), 1)
        cv2.arrowedLine(image, (x + size // 2, y + size - 2), (x + size // 2, y + 2), _dark(rng), 1)


def bar_code(rng: np.random.Generator, image: Image) -> None:
    """Draw a bar code on white somewhere, in place."""
    height, width = image.shape[:2]
    w, h = max(8, int(width * rng.uniform(0.3, 0.5))), max(5, int(height * rng.uniform(0.15, 0.3)))
    if w >= width or h >= height:
        return
    x, y = int(rng.integers(0, width - w)), int(rng.integers(height // 3, max(height - h, height // 3 + 1)))
    part = image[y : y + h, x : x + w]
    part[:] = _WHITE
    bars = np.flatnonzero(rng.random(w) < 0.5)
    part[1:-1, bars[(bars > 1) & (bars < w - 2)]] = _BLACK


def _panels(rng: np.random.Generator, image: Image, brand: Brand) -> None:
    """Divide a face as the brand does."""
    height, width = image.shape[:2]
    image[:] = brand.ground
    at = rng.uniform(0.3, 0.7)
    if brand.panels == 1:
        image[int(at * height) :] = brand.second
    elif brand.panels == 2:
        image[:, : int(at * width)] = brand.second
    elif brand.panels == 3:
        slope = rng.uniform(-0.4, 0.4) * height
        corners = [(0, at * height - slope), (width, at * height + slope), (width, height), (0, height)]
        cv2.fillPoly(image, [np.array(corners, np.int32)], brand.second, cv2.LINE_AA)
    elif brand.panels == 4:
        wide = rng.uniform(0.08, 0.2)
        image[int((at - wide) * height) : int((at + wide) * height)] = brand.second
    elif brand.panels == 5:
        share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        image[:] = (share * np.array(brand.second) + (1 - share) * np.array(brand.ground)).astype(np.uint8)


def _letters(image: Image, text: str, at_y: float, share: float, font: int, color: Color) -> None:
    """A line of text that takes a share of the width, centred."""
    height, width = image.shape[:2]
    (wide, tall), _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = min(share * width / max(wide, 1), 0.35 * height / max(tall, 1))
    thick = max(1, round(1.6 * scale))
    origin = (int((width - scale * wide) / 2), int(np.clip(at_y * height, scale * tall + 1, height - 2)))
    cv2.putText(image, text, origin, font, scale, color, thick, cv2.LINE_AA)


def _word(rng: np.random.Generator, low: int, high: int) -> str:
    """Letters that may be said: consonants and vowels by turns, capital or not."""
    letters = ["BCDFGKLMNPRSTVZ", "AEIOU"]
    word = "".join(letters[k % 2][int(rng.integers(len(letters[k % 2])))] for k in range(int(rng.integers(low, high))))
    return word if rng.random() < 0.6 else word.capitalize()


def _hsv(hue: float, saturation: float, value: float) -> Color:
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(255 * r), int(255 * g), int(255 * b)


def _dark(rng: np.random.Generator) -> Color:
    return _hsv(rng.random(), 0.8 * rng.random(), rng.uniform(0.05, 0.35))
