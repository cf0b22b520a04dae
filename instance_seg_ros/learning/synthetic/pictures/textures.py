"""Procedural textures, painted from the seed of a look.

A texture is a small image with mip levels. It covers its shape in one of three layouts: repeated in metres on the plane
that the surface faces most (``tile``), one cell of the image for each side of the bounding box (``faces``), once
around the z axis (``wrap``), or once over the bounding box as seen from above (``top``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.learning.synthetic.pictures import packaging
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance, sample_color

Float32Array = npt.NDArray[np.float32]
Painter = Callable[[np.random.Generator, Float32Array, int], Float32Array]

_NOISE_SIZE = 256


@dataclass(frozen=True, eq=False)
class Texture:
    """Pixels of an :class:`Appearance` and how they reflect.

    Attributes:
        levels_rgb: (H, W, 3) uint8 images, each half as wide and high as the one before; sides are powers of 2.
        gloss: share in [0, 1] of light that is mirrored when looking straight at the surface.
        shininess: exponent of the highlight after Phong.
        turn: angle of the ``tile`` layout on the surface, radians.
    """

    levels_rgb: tuple[npt.NDArray[np.uint8], ...]
    gloss: float
    shininess: float
    turn: float

    @cached_property
    def texels(self) -> npt.NDArray[np.uint32]:
        """(T,) texels of all levels, row by row: one byte for each channel, and one that is not used."""
        levels = [cv2.cvtColor(level, cv2.COLOR_RGB2RGBA).reshape(-1, 4) for level in self.levels_rgb]
        return np.concatenate(levels).view(np.uint32).ravel()


TEXTURES: dict[str, Painter] = {}
# Share of mirrored light (low, high) by kind, where it is not the usual one.
_GLOSS = {
    "chrome": (0.85, 0.95),
    "glass": (0.04, 0.08),
    "metal": (0.25, 0.7),
    "print": (0.0, 0.12),
    "package": (0.0, 0.14),
    "carton": (0.0, 0.01),
    "marble": (0.02, 0.15),
    "tiles": (0.0, 0.12),
} | {
    "carpet": (0.0, 0.0),
    "cloth": (0.0, 0.01),
    "posters": (0.0, 0.03),
    "page": (0.0, 0.02),
    "wood": (0.0, 0.06),
}
_USUAL_GLOSS = (0.0, 0.1)


def _texture(painter: Painter) -> Painter:
    """Register a painter, (rng, base colour, size) to a (size, size or 2 size, 3) image in [0, 1], by name."""
    TEXTURES[painter.__name__.removeprefix("_paint_")] = painter
    return painter


@lru_cache(maxsize=128)
def texture_of(look: Appearance) -> Texture:
    """The texture of a look.

    Raises:
        KeyError: the kind is not one of :data:`TEXTURES`.
    """
    rng = np.random.default_rng(look.seed)
    base = np.array(look.base_rgb, np.float32)
    painter = _PAINT_FITTED.get((look.kind, look.layout)) or TEXTURES[look.kind]
    image = painter(rng, base, look.size)
    image *= np.float32(255.0)
    image += np.float32(0.5)
    level = np.clip(image, 0.0, 255.0, out=image).astype(np.uint8)
    levels = [level]
    while min(level.shape[:2]) > 8:
        level = np.asarray(cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        levels.append(level)
    gloss = rng.uniform(*_GLOSS.get(look.kind, _USUAL_GLOSS)) * (rng.random() < 0.7 or look.is_clear or look.is_mirror)
    turn = float(rng.choice([0.0, np.pi / 2, rng.uniform(-np.pi, np.pi)]))
    return Texture(tuple(levels), float(gloss), float(np.exp(rng.uniform(np.log(4), np.log(120)))), turn)


@lru_cache(maxsize=1)
def _noises() -> Float32Array:
    """(K, 512, 512) noise in about [0, 1] with a period of 256, from smooth to fine; the last two are streaks along the
    rows."""
    rng = np.random.default_rng(77)
    fy, fx = np.meshgrid(np.fft.fftfreq(_NOISE_SIZE), np.fft.rfftfreq(_NOISE_SIZE), indexing="ij")
    found = []
    for power, squash in ((2.2, 1.0), (1.7, 1.0), (1.3, 1.0), (0.9, 1.0), (0.3, 1.0), (1.4, 14.0), (0.6, 30.0)):
        frequency = np.hypot(fx * squash, fy) * _NOISE_SIZE
        frequency[0, 0] = np.inf
        spectrum = np.fft.rfft2(rng.normal(0.0, 1.0, (_NOISE_SIZE, _NOISE_SIZE))) / np.maximum(frequency, 1.0) ** power
        noise = np.fft.irfft2(spectrum, s=(_NOISE_SIZE, _NOISE_SIZE))
        found.append(np.clip(0.5 + 0.22 * noise / noise.std(), 0.0, 1.0))
    return np.tile(np.stack(found).astype(np.float32), (1, 2, 2))


_SMOOTH, _CLOUDS, _ROUGH, _FINE, _GRAINY, _STREAKS, _FINE_STREAKS = range(7)


def _noise(rng: np.random.Generator, which: int, size: int) -> Float32Array:
    """(size, size) tileable noise, rolled and flipped at random; smaller sizes see it coarser. Not to be written to."""
    down, right = (int(v) for v in rng.integers(_NOISE_SIZE, size=2))
    step = _NOISE_SIZE // size
    noise = _noises()[which, down : down + _NOISE_SIZE : step, right : right + _NOISE_SIZE : step]
    return noise[::-1] if rng.random() < 0.5 else noise


def _second_color(rng: np.random.Generator, base: Float32Array) -> Float32Array:
    """Darker, lighter, of similar hue, or unlike ``base``."""
    kind = rng.random()
    if kind < 0.45:
        return np.clip(base * rng.uniform(0.45, 1.5) + rng.normal(0.0, 0.02, 3), 0.0, 1.0).astype(np.float32)
    if kind < 0.65:
        return np.clip(base * (1.0 + 0.25 * rng.normal(0.0, 1.0, 3)), 0.0, 1.0).astype(np.float32)
    return np.array(sample_color(rng), np.float32)


def _mix(low: Float32Array, high: Float32Array, share: Float32Array) -> Float32Array:
    """Between two colours, or images, as (size, size) shares say."""
    # Channel by channel: NumPy is slow along an axis of three.
    channels = [low[..., k] + share * (high[..., k] - low[..., k]) for k in range(3)]
    return np.asarray(cv2.merge(channels), np.float32)


def _shaded(image: Float32Array, noise: Float32Array, strength: float) -> Float32Array:
    """A colour, or an image, made lighter and darker by (size, size) noise."""
    factor = 1.0 + strength * 2.0 * (noise - 0.5)
    return np.asarray(cv2.merge([image[..., k] * factor for k in range(3)]), np.float32)


def _edge(share: Float32Array, at: float, width: float) -> Float32Array:
    """A soft threshold."""
    return np.asarray(np.clip((share - at) / max(width, 1e-3) + 0.5, 0.0, 1.0), np.float32)


def _flat(color: Float32Array, size: int) -> Float32Array:
    return np.broadcast_to(color, (size, size, 3)).astype(np.float32, order="C")


@_texture
def _paint_plain(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    return _shaded(base, _noise(rng, _CLOUDS, size), rng.uniform(0.0, 0.08))


@_texture
def _paint_noise(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    share = _noise(rng, int(rng.integers(_SMOOTH, _GRAINY)), size)
    return _mix(base, _second_color(rng, base), _edge(share, rng.uniform(0.35, 0.65), rng.uniform(0.05, 1.0)))


@_texture
def _paint_wood(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    rows = np.linspace(0.0, 1.0, size, endpoint=False, dtype=np.float32)[:, None]
    wave = rng.integers(1, 9) * rows + rng.uniform(0.5, 2.5) * _noise(rng, _STREAKS, size)
    share = _edge(
        (0.5 + 0.5 * np.sin(2 * np.pi * wave)).astype(np.float32), rng.uniform(0.4, 0.8), rng.uniform(0.4, 1.2)
    )
    dark = np.asarray(base * rng.uniform(0.45, 0.9, 1) * np.array([1.0, 0.96, 0.9]), np.float32)
    return _shaded(_mix(base, dark, share), _noise(rng, _FINE_STREAKS, size), rng.uniform(0.02, 0.25))


@_texture
def _paint_marble(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    vein = np.abs(_noise(rng, _CLOUDS, size) + 0.3 * _noise(rng, _ROUGH, size) - 0.65)
    share = 1.0 - _edge(vein, rng.uniform(0.02, 0.06), rng.uniform(0.04, 0.12))
    return _shaded(_mix(base, _second_color(rng, base), share), _noise(rng, _SMOOTH, size), rng.uniform(0.0, 0.3))


@_texture
def _paint_stripes(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    colors = np.stack([base, *(_second_color(rng, base) for _ in range(int(rng.integers(1, 4))))])
    cuts = np.sort(rng.integers(0, size, int(rng.integers(2, 24))))
    index = np.searchsorted(cuts, np.arange(size), side="right") % len(colors)
    return np.repeat(colors[index][:, None], size, axis=1)


@_texture
def _paint_checks(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    step = np.arange(size) // (size // int(2 ** rng.integers(1, 5)))
    share = (step[:, None] + step[None]) % 2 if rng.random() < 0.6 else 0.5 * (step[:, None] % 2 + step[None] % 2)
    return _mix(base, _second_color(rng, base), share.astype(np.float32))


@_texture
def _paint_dots(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    image = _flat(base, size)
    color = _second_color(rng, base).tolist()
    cells = int(2 ** rng.integers(1, 4))
    cell = size // cells
    radius = max(1, round(cell * rng.uniform(0.12, 0.4)))
    for row in range(cells):
        for column in range(cells):
            centre = (int((column + 0.5) * cell), int((row + 0.5) * cell))
            cv2.circle(image, centre, radius, color, -1)
    return image


@_texture
def _paint_gradient(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    rows = np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None]
    share = np.broadcast_to(_edge(rows, rng.uniform(0.3, 0.7), rng.uniform(0.3, 1.0)), (size, size))
    return _mix(base, _second_color(rng, base), share)


@_texture
def _paint_speckle(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    image = base
    for which in (_GRAINY, _FINE):
        share = _edge(_noise(rng, which, size), rng.uniform(0.6, 0.8), 0.06)
        image = _mix(image, _second_color(rng, base), share)
    return image


@_texture
def _paint_cloth(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    step = np.arange(size)
    weave = 0.5 + 0.25 * np.sin(np.pi * step / 2)[:, None] + 0.25 * np.sin(np.pi * step / 2 + np.pi / 2)[None]
    image = _paint_checks(rng, base, size) if rng.random() < 0.25 else base
    image = _shaded(image, weave.astype(np.float32), rng.uniform(0.05, 0.4))
    return _shaded(image, _noise(rng, _FINE, size), rng.uniform(0.0, 0.3))


@_texture
def _paint_carpet(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    image = _mix(base, _second_color(rng, base), _noise(rng, _SMOOTH, size) * rng.uniform(0.0, 1.0))
    return _shaded(image, _noise(rng, _GRAINY, size), rng.uniform(0.2, 0.7))


@_texture
def _paint_metal(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    grey = np.asarray(base.mean() + rng.uniform(0.05, 0.4) * (base - base.mean()), np.float32)
    return _shaded(np.clip(grey, 0.2, 0.8), _noise(rng, _FINE_STREAKS, size), rng.uniform(0.05, 0.3))


@_texture
def _paint_chrome(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    return _flat(base, size)


@_texture
def _paint_glass(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    return _flat(base, size)


def _cells(rng: np.random.Generator, size: int, rows: int, columns: int, offset: bool) -> tuple[Float32Array, ...]:
    """A wall of bricks: a random value in [0, 1] for each brick, and the distance in texels to its edge."""
    y = np.arange(size)[:, None] * np.ones(size, int)[None]
    x = np.ones(size, int)[:, None] * np.arange(size)[None]
    height, width = size // rows, size // columns
    row = y // height
    x = (x + (row * (width // 2) if offset else 0)) % size
    value = rng.random((rows, columns)).astype(np.float32)[row, x // width]
    edge = np.minimum(np.minimum(y % height, height - 1 - y % height), np.minimum(x % width, width - 1 - x % width))
    return value, edge.astype(np.float32)


@_texture
def _paint_tiles(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    rows = int(2 ** rng.integers(1, 4))
    value, edge = _cells(rng, size, rows, max(1, rows // int(rng.integers(1, 3))), bool(rng.random() < 0.4))
    which = int(rng.integers(_SMOOTH, _GRAINY))
    image = _shaded(_shaded(base, value, rng.uniform(0.0, 0.25)), _noise(rng, which, size), 0.15)
    grout = (edge < rng.integers(1, 4)).astype(np.float32)
    return _mix(image, np.asarray(base * rng.uniform(0.4, 1.3), np.float32), grout)


@_texture
def _paint_planks(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    value, edge = _cells(rng, size, int(2 ** rng.integers(1, 4)), int(rng.integers(1, 3)), True)
    image = _shaded(_paint_wood(rng, base, size), value, rng.uniform(0.05, 0.35))
    return _mix(image, base * np.float32(0.35), (edge < 1).astype(np.float32))


def _draw_print(rng: np.random.Generator, image: Float32Array, base: Float32Array) -> None:
    """Draw a label onto an image: blocks, bars, circles, lettering and lines of pseudo-text."""
    canvas = np.ascontiguousarray(np.clip(image * 255.0, 0.0, 255.0).astype(np.uint8))
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(1, 8))):
        drawn = _second_color(rng, base) if rng.random() < 0.4 else np.array(sample_color(rng))
        color = (drawn * 255.0).tolist()
        x, y = (int(v) for v in rng.uniform(-0.1, 0.9, 2) * (width, height))
        w, h = (max(2, int(v)) for v in rng.uniform(0.08, 0.7, 2) * (width, height))
        kind = rng.random()
        if kind < 0.35:
            cv2.rectangle(canvas, (x, y), (x + w, y + h), color, -1)
        elif kind < 0.45:
            cv2.rectangle(canvas, (0, y), (width, y + h // 3), color, -1)
        elif kind < 0.6:
            cv2.ellipse(canvas, (x, y), (w // 2, h // 2), rng.uniform(0, 180), 0, 360, color, -1, cv2.LINE_AA)
        elif kind < 0.65:
            corners = rng.uniform(0, 1, (3, 2)) * (width, height)
            cv2.fillPoly(canvas, [corners.astype(np.int32)], color, cv2.LINE_AA)
        elif kind < 0.8:
            _draw_letters(rng, canvas, (x, y + h // 2), color)
        else:
            pitch = int(rng.integers(3, 7))
            for row in range(y, min(y + h, height), pitch):
                for word in np.flatnonzero(rng.random(8) < 0.75):
                    left = x + int(word * w / 8)
                    cv2.rectangle(canvas, (left, row), (left + max(1, w // 10), row + pitch // 3), color, -1)
    image[:] = canvas.astype(np.float32) / np.float32(255.0)


def _draw_letters(
    rng: np.random.Generator, canvas: npt.NDArray[np.uint8], at: tuple[int, int], color: list[float]
) -> None:
    letters = "".join(chr(65 + int(k)) for k in rng.integers(0, 26, int(rng.integers(2, 8))))
    scale = canvas.shape[0] / 64 * rng.uniform(0.3, 1.3)
    cv2.putText(canvas, letters, at, int(rng.integers(0, 5)), scale, color, 1 + int(scale), cv2.LINE_AA)


@_texture
def _paint_print(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """Six cells, (axis, sign) in three columns and two rows of (size / 2) texels."""
    image = np.empty((size, 2 * size, 3), np.float32)
    image[:] = base
    cell = size // 2
    same_pair = rng.random() < 0.6
    for column in range(3):
        for row in range(2):
            here = image[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            if row == 1 and same_pair:
                here[:] = image[:cell, column * cell : (column + 1) * cell]
            elif rng.random() < 0.85:
                _draw_print(rng, here, base)
    return image


def _paint_label(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """A wrapped label: (size, 2 size) texels, columns go around, rows from the top to the bottom."""
    image = np.empty((size, 2 * size, 3), np.float32)
    image[:] = base
    top, bottom = (0, size) if rng.random() < 0.3 else (int(v) for v in (rng.uniform(0, 0.5, 2) * size + (0, size / 2)))
    label = image[top : max(bottom, top + 8)]
    ground = np.array(sample_color(rng), np.float32) if rng.random() < 0.7 else base
    label[:] = ground
    for left in (0, size):
        _draw_print(rng, label[:, left : left + size], ground)
    image[:2] = image[-2:] = base * np.float32(rng.uniform(0.7, 1.2))
    return image


# Sides whose horizontal axis runs from right to left when they are looked at: (column, row) of their cells.
_MIRRORED_CELLS = ((0, 0), (1, 1), (2, 0))


def _on_six_sides(size: int, paint: Callable[[packaging.Image, int], None]) -> Float32Array:
    """An image of six cells, each painted as it is to be seen; the painter gets the cell and its column."""
    cell = size // 2
    image = np.zeros((size, 2 * size, 3), np.uint8)
    for column in range(3):
        for row in range(2):
            side = np.zeros((cell, cell, 3), np.uint8)
            paint(side, column)
            place = image[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            place[:] = side[:, ::-1] if (column, row) in _MIRRORED_CELLS else side
    return np.asarray(image.astype(np.float32) / np.float32(255.0))


@_texture
def _paint_package(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """A package: fronts with a brand, panels and pictures on one or two pairs of sides, small print on the others."""
    brand = packaging.sample_brand(rng, base.tolist())
    fronts = {int(rng.integers(3)), int(rng.integers(3))}

    def paint(side: packaging.Image, column: int) -> None:
        if column in fronts:
            packaging.paint_front(rng, side, brand, _paint_picture)
        else:
            packaging.paint_side(rng, side, brand)

    return _on_six_sides(size, paint)


def _paint_wrapped_package(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """A round package: (size, 2 size) texels, a front and a side around it, with rims above and below."""
    brand = packaging.sample_brand(rng, base.tolist())
    image = np.zeros((size, 2 * size, 3), np.uint8)
    packaging.paint_front(rng, image[:, :size], brand, _paint_picture)
    packaging.paint_side(rng, image[:, size:], brand)
    rim = int(rng.uniform(0.0, 0.12) * size)
    image[:rim], image[size - rim :] = brand.second, brand.second
    result = np.asarray(image.astype(np.float32) / np.float32(255.0))
    result[:2] = result[-2:] = base * np.float32(rng.uniform(0.7, 1.2))
    return result


def _paint_picture(rng: np.random.Generator, size: int) -> Float32Array:
    """A picture on a package: things in light and shadow, or a landscape, food or fabric of noise in a few colours."""
    base = np.array(sample_color(rng), np.float32)
    if rng.random() < 0.5:
        return _paint_photo(rng, base, size)
    image = _mix(base, np.array(sample_color(rng), np.float32), _edge(_noise(rng, _CLOUDS, size), 0.5, 0.4))
    for which in (_ROUGH, _FINE)[: int(rng.integers(1, 3))]:
        share = _edge(_noise(rng, which, size), rng.uniform(0.4, 0.7), rng.uniform(0.05, 0.4))
        image = _mix(image, np.array(sample_color(rng), np.float32), share)
    return _shaded(image, _noise(rng, _GRAINY, size), 0.2)


@_texture
def _paint_carton(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """A cardboard box with tape, labels and symbols."""
    tone = np.array([178, 140, 98]) * rng.uniform(0.7, 1.25) * rng.normal(1.0, 0.04, 3)
    red, green, blue = (int(c) for c in np.clip(tone if rng.random() < 0.85 else 255 * base, 0, 255))
    return _on_six_sides(
        size, lambda side, column: packaging.paint_carton(rng, side, (red, green, blue), is_top=column == 2)
    )


@_texture
def _paint_plaid(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """Crossed stripes of several widths and colours, as on tablecloths, blankets and towels."""
    image = _flat(base, size)
    period = size // int(2 ** rng.integers(0, 4))
    for _ in range(int(rng.integers(1, 4))):
        color, opacity = np.array(sample_color(rng), np.float32), np.float32(rng.uniform(0.35, 0.75))
        first, wide = rng.integers(0, period), max(1, int(period * rng.uniform(0.05, 0.5)))
        stripe = opacity * ((np.arange(size) - first) % period < wide).astype(np.float32)
        image = _mix(image, color, np.broadcast_to(stripe[:, None], (size, size)))
        if rng.random() < 0.85:
            image = _mix(image, color, np.broadcast_to(stripe[None], (size, size)))
    return image


@_texture
def _paint_floral(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """Flowers, leaves, fruit or shapes scattered over cloth or paper."""
    image = _flat(base, size)
    palette = [np.array(sample_color(rng)).tolist() for _ in range(int(rng.integers(2, 5)))]
    petals, scale = int(rng.integers(1, 8)), size * rng.uniform(0.02, 0.09)
    for _ in range(int(rng.integers(8, 40))):
        centre, turn, own = rng.uniform(0.0, size, 2), rng.uniform(0.0, 360.0), scale * rng.uniform(0.6, 1.5)
        color = palette[int(rng.integers(len(palette)))]
        for k in range(petals):
            angle = turn + 360.0 * k / petals
            middle = centre + own * np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]) * (petals > 1)
            axes = (max(1, int(own)), max(1, int(own * 0.5)))
            cv2.ellipse(image, (int(middle[0]), int(middle[1])), axes, angle, 0, 360, color, -1, cv2.LINE_AA)
        if petals > 2:
            cv2.circle(image, (int(centre[0]), int(centre[1])), max(1, int(0.4 * own)), palette[0], -1, cv2.LINE_AA)
    return image


@_texture
def _paint_bands(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """Horizontal bands, such as a lid and a belly of other colours."""
    return _paint_stripes(rng, base, size)


@_texture
def _paint_posters(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    image = _paint_plain(rng, base, size)
    for _ in range(int(rng.integers(1, 7))):
        x, y = (int(v) for v in rng.integers(0, size - 16, 2))
        w, h = (int(v) for v in rng.integers(12, size // 2, 2))
        patch = image[y : y + h, x : x + w]
        patch[:] = sample_color(rng)
        _draw_print(rng, patch, patch[0, 0].copy())
    return image


@_texture
def _paint_page(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """Printed paper: columns of lines of words, a heading, and a figure now and then, all in a dark ink."""
    paper = np.asarray(1.0 - rng.uniform(0.0, 0.35) * (1.0 - base) * (rng.random() < 0.6), np.float32)
    image = _flat(np.clip(paper * rng.uniform(0.75, 1.0), 0.0, 1.0), size)
    ink = (0.35 * rng.random() * np.array(sample_color(rng))).tolist()
    margin, gap = int(size * rng.uniform(0.03, 0.12)), max(2, size // 40)
    columns = int(rng.integers(1, 4))
    width = (size - 2 * margin - gap * (columns - 1)) // columns
    pitch = int(rng.integers(4, 14))
    head = margin
    if rng.random() < 0.6:
        tall = int(size * rng.uniform(0.04, 0.12))
        cv2.rectangle(image, (margin, margin), (int(size * rng.uniform(0.4, 0.9)), margin + tall), ink, -1)
        head = margin + tall + gap
    for column in range(columns):
        left = margin + column * (width + gap)
        for row in range(head, size - margin - pitch, pitch):
            # Words and the gaps between them; a line that ends early ends a paragraph.
            at, end = left, left + int(width * (1.0 if rng.random() < 0.85 else rng.uniform(0.2, 0.9)))
            while at < end:
                word = int(pitch * rng.uniform(0.5, 4.0))
                cv2.rectangle(image, (at, row), (min(at + word, end), row + max(1, pitch // 2 - 1)), ink, -1)
                at += word + max(2, pitch // 2)
    for _ in range(int(rng.integers(0, 3))):
        x, y = (int(v) for v in rng.integers(margin, size // 2, 2))
        w, h = (int(v) for v in rng.integers(size // 8, size // 2 - margin, 2))
        patch = image[y : y + h, x : x + w]
        patch[:] = cv2.resize(_paint_photo(rng, np.array(sample_color(rng), np.float32), 64), (w, h))
    return image


@_texture
def _paint_cover(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """A cover, a poster or a placemat: large lettering and blocks, a picture or a pattern, maybe with a border."""
    if rng.random() < 0.4:
        image = _paint_photo(rng, base, size)
    elif rng.random() < 0.5:
        image = _paint_noise(rng, base, size)
    else:
        image = _flat(base, size)
    _draw_print(rng, image, base)
    if rng.random() < 0.5:
        _draw_print(rng, image, _second_color(rng, base))
    if rng.random() < 0.4:
        cv2.rectangle(image, (0, 0), (size - 1, size - 1), _second_color(rng, base).tolist(), int(rng.integers(4, 28)))
    return image


@_texture
def _paint_photo(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """A picture of things: shaded discs, boxes and bars with shadows, on a ground that changes from top to bottom."""
    rows = np.broadcast_to(np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None], (size, size))
    channels = list(cv2.split(_mix(base, _second_color(rng, base), rows)))
    slope_x, slope_y = rng.uniform(-1.0, 1.0, 2)
    for _ in range(int(rng.integers(1, 8))):
        centre = tuple(int(v) for v in rng.uniform(0.0, size, 2))
        axes = tuple(max(2, int(v)) for v in size * rng.uniform(0.03, 0.3, 2))
        angle, square = float(rng.uniform(0.0, 180.0)), rng.random() < 0.5
        mask = np.zeros((size, size), np.float32)
        if square:
            corners = cv2.boxPoints((centre, (2 * axes[0], 2 * axes[1]), angle))
            cv2.fillConvexPoly(mask, corners.astype(np.int32), 1.0, cv2.LINE_AA)
        else:
            cv2.ellipse(mask, centre, axes, angle, 0, 360, 1.0, -1, cv2.LINE_AA)
        shadow = cv2.blur(mask, (size // 16 + 1, size // 16 + 1))
        moved = np.roll(shadow, (int(size * 0.06 * slope_y), int(size * 0.06 * slope_x)), (0, 1))
        lit = 1.0 - rng.uniform(0.2, 0.7) * moved
        columns = np.linspace(-0.5, 0.5, size, dtype=np.float32)
        light = 1.0 + 0.9 * (slope_x * (columns[None] - centre[0] / size + 0.5) + slope_y * (rows - centre[1] / size))
        for channel, tone in zip(channels, np.array(sample_color(rng), np.float32), strict=True):
            channel *= lit
            channel += mask * (tone * light - channel)
    return np.asarray(cv2.merge([np.clip(channel, 0.0, 1.0) for channel in channels]), np.float32)


@_texture
def _paint_chart(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """A calibration board, a colour chart, a keypad or a grid of dots, inside a margin."""
    image = _flat(base if rng.random() < 0.4 else np.full(3, rng.choice([0.05, 0.95]), np.float32), size)
    rows, columns = (int(n) for n in rng.integers(2, 13, 2))
    kind = int(rng.integers(4))
    ink = _second_color(rng, image[0, 0]) if kind == 0 else np.array(sample_color(rng), np.float32)
    if rng.random() < 0.5:
        ink = np.asarray(1.0 - image[0, 0], np.float32)
    cell = np.array([1.0 / columns, 1.0 / rows]) * (1.0 - 2.0 * (margin := rng.uniform(0.0, 0.1))) * size
    fill = 1.0 if kind == 0 else float(rng.uniform(0.4, 0.95))
    for row in range(rows):
        for column in range(columns):
            if kind == 0 and (row + column) % 2:
                continue
            middle = (np.array([column, row]) + 0.5) * cell + margin * size
            low, high = (tuple(int(v) for v in middle + s * fill * cell / 2) for s in (-1, 1))
            color = (np.array(sample_color(rng)) if kind == 1 else ink).tolist()
            if kind == 3:
                cv2.circle(image, tuple(int(v) for v in middle), max(1, int(fill * cell.min() / 2)), color, -1)
            else:
                cv2.rectangle(image, low, high, color, -1)
    return image


@_texture
def _paint_target(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    """Rings about the middle, as on coasters, discs and logos; or a square code of black and white cells."""
    image = _flat(base, size)
    if rng.random() < 0.5:
        cells = int(rng.integers(4, 24))
        code = (rng.random((cells, cells)) < 0.5).astype(np.float32)
        code[[0, -1]] = code[:, [0, -1]] = 0.0
        code = cv2.resize(code, (size, size), interpolation=cv2.INTER_NEAREST)
        return _mix(np.full(3, 0.05, np.float32), np.full(3, 0.95, np.float32), code)
    for radius in np.sort(rng.uniform(0.02, 0.5, int(rng.integers(1, 6))))[::-1]:
        cv2.circle(
            image, (size // 2, size // 2), int(radius * size), _second_color(rng, base).tolist(), -1, cv2.LINE_AA
        )
    return image


_PAINT_FITTED = {("print", "wrap"): _paint_label, ("package", "wrap"): _paint_wrapped_package}
