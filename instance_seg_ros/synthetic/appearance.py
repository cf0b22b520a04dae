"""What surfaces look like: procedural textures, drawn lazily from a seed, and how they lie on a shape.

A texture is a small image with mip levels. It covers its shape in one of three layouts: repeated in metres on the plane
that the surface faces most (``tile``), one cell of the image for each side of the bounding box (``faces``), or once
around the z axis (``wrap``).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.synthetic.shapes import ObjectShape

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
Color = tuple[float, float, float]

_NOISE_SIZE = 256


@dataclass(frozen=True)
class Appearance:
    """The look of one part; everything that it leaves open follows from ``seed``.

    Attributes:
        kind: one of :data:`TEXTURES`.
        base_rgb: main colour in [0, 1].
        seed: of the texture's details.
        tile_m: what one image width measures in the ``tile`` layout.
        size: image width in texels, a power of 2.
        low_m: lower corner of the shape's bounding box in its own frame; used where a texture is fitted to the shape.
        high_m: upper corner.
        is_round: whether a fitted texture goes around the z axis.
    """

    kind: str
    base_rgb: Color
    seed: int = 0
    tile_m: float = 0.2
    size: int = 128
    low_m: Color = (0.0, 0.0, 0.0)
    high_m: Color = (1.0, 1.0, 1.0)
    is_round: bool = False

    @property
    def layout(self) -> str:
        """``tile``, ``faces`` or ``wrap``."""
        if self.kind not in _FITTED:
            return "tile"
        return "faces" if self.kind == "print" and not self.is_round else "wrap"


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


def plain(rgb: Color) -> Appearance:
    """A surface of one colour."""
    return Appearance("plain", rgb)


# ---------------------------------------------------------------------------------------------------------------------
# Drawing of random looks


SURFACES = ("floor", "wall", "top", "furniture", "sheet", "tote")
_SHARES: dict[str, dict[str, float]] = {
    "floor": {"planks": 3, "tiles": 3, "carpet": 2, "speckle": 1, "noise": 2, "plain": 1, "checks": 1, "marble": 0.5},
    "wall": {"plain": 3, "noise": 2, "posters": 3, "tiles": 1, "stripes": 0.5, "planks": 0.5, "dots": 0.3},
    "top": {"wood": 4, "plain": 2.5, "noise": 1.5, "marble": 1, "speckle": 1, "cloth": 1.2, "planks": 1, "metal": 0.6}
    | {"stripes": 0.6, "checks": 0.6, "dots": 0.4, "tiles": 0.5, "posters": 0.4},
    "furniture": {"plain": 4, "wood": 3, "noise": 1, "metal": 1, "cloth": 1.5, "stripes": 0.5, "print": 0.7},
    "sheet": {"print": 4, "plain": 2, "cloth": 2, "checks": 0.7, "stripes": 0.7, "dots": 0.5},
    "tote": {"plain": 4, "noise": 2, "metal": 0.7, "wood": 0.7},
    "object": {"plain": 3, "print": 4.5, "noise": 1.5, "wood": 1, "metal": 0.9, "gradient": 0.8, "stripes": 0.8}
    | {"bands": 0.8, "speckle": 0.6, "checks": 0.5, "dots": 0.5, "cloth": 0.5, "marble": 0.4},
}
_TILE_M = {"floor": (0.5, 2.0), "wall": (1.0, 3.0), "top": (0.3, 1.2), "furniture": (0.2, 0.8)}
_LOOKS_LIKE_OTHER = 0.12
_COLOR_OF_OTHER = 0.15


def background_appearance(rng: np.random.Generator, surface: str) -> Appearance:
    """The look of a part that is no object.

    Args:
        rng: source of randomness; always moves on by as much, whatever is drawn.
        surface: one of :data:`SURFACES`.

    Raises:
        ValueError: the surface is unknown.
    """
    if surface not in SURFACES:
        raise ValueError(f"no surface named {surface!r}; choose one of {', '.join(SURFACES)}")
    rng = np.random.default_rng(int(rng.integers(2**62)))
    low, high = _TILE_M.get(surface, (0.1, 0.4))
    return Appearance(
        kind=_choice(rng, _SHARES[surface]),
        base_rgb=_background_color(rng) if surface != "tote" else sample_color(rng),
        seed=int(rng.integers(2**62)),
        tile_m=float(np.exp(rng.uniform(np.log(low), np.log(high)))),
        size=256 if surface in ("floor", "wall", "top") else 128,
        low_m=(-0.3, -0.3, -0.3),
        high_m=(0.3, 0.3, 0.3),
    )


def object_appearance(rng: np.random.Generator, shape: ObjectShape, others: Sequence[Appearance] = ()) -> Appearance:
    """The look of an object, sometimes much like one of ``others``.

    Args:
        rng: source of randomness; always moves on by as much, whatever is drawn.
        shape: what the texture is for.
        others: looks of the support and of objects that are there already.
    """
    rng = np.random.default_rng(int(rng.integers(2**62)))
    vertices = np.asarray(shape.mesh.vertices)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    look = Appearance(
        kind=_choice(rng, _SHARES["object"]),
        base_rgb=sample_color(rng),
        seed=int(rng.integers(2**62)),
        tile_m=float(np.clip(np.ptp(vertices, axis=0).max() * rng.uniform(0.3, 1.5), 0.02, 0.6)),
        low_m=(float(low[0]), float(low[1]), float(low[2])),
        high_m=(float(high[0]), float(high[1]), float(high[2])),
        is_round=_is_round(vertices),
    )
    chance = rng.random()
    if not others or chance > _LOOKS_LIKE_OTHER + _COLOR_OF_OTHER:
        return look
    other = others[int(rng.integers(len(others)))]
    near = np.clip(np.asarray(other.base_rgb) * rng.normal(1.0, 0.06) + rng.normal(0.0, 0.015, 3), 0.0, 1.0)
    base_rgb = (float(near[0]), float(near[1]), float(near[2]))
    if chance > _LOOKS_LIKE_OTHER:
        return replace(look, base_rgb=base_rgb)
    return replace(look, kind=other.kind, base_rgb=base_rgb, seed=other.seed, tile_m=other.tile_m)


def _choice(rng: np.random.Generator, shares: dict[str, float]) -> str:
    weights = np.array(list(shares.values()), float)
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def _is_round(vertices_m: npt.NDArray[np.floating]) -> bool:
    """Whether the widest part is a circle about z: its vertices lie in all directions."""
    radius = np.hypot(vertices_m[:, 0], vertices_m[:, 1])
    outer = vertices_m[radius > 0.97 * radius.max()]
    directions = np.unique(np.round(np.arctan2(outer[:, 1], outer[:, 0]) * (8.0 / np.pi)))
    return len(directions) >= 14


def sample_color(rng: np.random.Generator) -> Color:
    """A colour of an object: white, black, grey, brown, muted or saturated."""
    kind = rng.random()
    hue, a, b = rng.uniform(0.0, 1.0, 3)
    if kind < 0.16:
        return colorsys.hsv_to_rgb(hue, 0.08 * a, 0.82 + 0.18 * b)
    if kind < 0.30:
        return colorsys.hsv_to_rgb(hue, 0.4 * a, 0.02 + 0.13 * b)
    if kind < 0.42:
        return colorsys.hsv_to_rgb(hue, 0.1 * a, 0.15 + 0.65 * b)
    if kind < 0.54:
        return colorsys.hsv_to_rgb(0.03 + 0.1 * hue, 0.25 + 0.45 * a, 0.2 + 0.6 * b)
    if kind < 0.72:
        return colorsys.hsv_to_rgb(hue, 0.1 + 0.4 * a, 0.25 + 0.65 * b)
    return colorsys.hsv_to_rgb(hue, 0.6 + 0.4 * a, 0.35 + 0.65 * b)


def _background_color(rng: np.random.Generator) -> Color:
    """Mostly white, grey, brown and muted colours, sometimes any."""
    kind = rng.random()
    hue, a, b = rng.uniform(0.0, 1.0, 3)
    if kind < 0.3:
        return colorsys.hsv_to_rgb(hue, 0.1 * a, 0.7 + 0.28 * b)
    if kind < 0.5:
        return colorsys.hsv_to_rgb(0.05 + 0.07 * hue, 0.25 + 0.4 * a, 0.25 + 0.55 * b)
    if kind < 0.75:
        return colorsys.hsv_to_rgb(hue, 0.25 * a, 0.12 + 0.6 * b)
    return sample_color(rng)


def _second_color(rng: np.random.Generator, base: Float32Array) -> Float32Array:
    """Darker, lighter, of similar hue, or unlike ``base``."""
    kind = rng.random()
    if kind < 0.45:
        return np.clip(base * rng.uniform(0.45, 1.5) + rng.normal(0.0, 0.02, 3), 0.0, 1.0).astype(np.float32)
    if kind < 0.65:
        return np.clip(base * (1.0 + 0.25 * rng.normal(0.0, 1.0, 3)), 0.0, 1.0).astype(np.float32)
    return np.array(sample_color(rng), np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Textures


Painter = Callable[[np.random.Generator, Float32Array, int], Float32Array]
TEXTURES: dict[str, Painter] = {}
_FITTED = ("print", "bands", "gradient")
# Share of mirrored light (low, high) by kind, where it is not the usual one.
_GLOSS = {"metal": (0.25, 0.7), "print": (0.0, 0.12), "marble": (0.02, 0.15), "tiles": (0.0, 0.12)} | {
    "carpet": (0.0, 0.0),
    "cloth": (0.0, 0.01),
    "posters": (0.0, 0.03),
    "wood": (0.0, 0.06),
}
_USUAL_GLOSS = (0.0, 0.1)


def _texture(painter: Painter) -> Painter:
    """Register a painter, (rng, base colour, size) to a (size or size / 2, size, 3) image in [0, 1], by its name."""
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
    level = np.clip(image * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    levels = [level]
    while min(level.shape[:2]) > 8:
        level = np.asarray(cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        levels.append(level)
    gloss = rng.uniform(*_GLOSS.get(look.kind, _USUAL_GLOSS)) * (rng.random() < 0.7)
    turn = float(rng.choice([0.0, np.pi / 2, rng.uniform(-np.pi, np.pi)]))
    return Texture(tuple(levels), float(gloss), float(np.exp(rng.uniform(np.log(4), np.log(120)))), turn)


@lru_cache(maxsize=1)
def _noises() -> Float32Array:
    """(K, 256, 256) tileable noise in about [0, 1], from smooth to fine; the last two are streaks along the rows."""
    rng = np.random.default_rng(77)
    fy, fx = np.meshgrid(np.fft.fftfreq(_NOISE_SIZE), np.fft.rfftfreq(_NOISE_SIZE), indexing="ij")
    found = []
    for power, squash in ((2.2, 1.0), (1.7, 1.0), (1.3, 1.0), (0.9, 1.0), (0.3, 1.0), (1.4, 14.0), (0.6, 30.0)):
        frequency = np.hypot(fx * squash, fy) * _NOISE_SIZE
        frequency[0, 0] = np.inf
        spectrum = np.fft.rfft2(rng.normal(0.0, 1.0, (_NOISE_SIZE, _NOISE_SIZE))) / np.maximum(frequency, 1.0) ** power
        noise = np.fft.irfft2(spectrum, s=(_NOISE_SIZE, _NOISE_SIZE))
        found.append(np.clip(0.5 + 0.22 * noise / noise.std(), 0.0, 1.0))
    return np.stack(found).astype(np.float32)


_SMOOTH, _CLOUDS, _ROUGH, _FINE, _GRAINY, _STREAKS, _FINE_STREAKS = range(7)


def _noise(rng: np.random.Generator, which: int, size: int, repeat: int = 1) -> Float32Array:
    """(size, size) tileable noise, rolled and flipped at random; smaller sizes see it coarser, repeats finer."""
    whole = _noises()[which]
    down, right = (int(v) for v in rng.integers(_NOISE_SIZE, size=2))
    step = _NOISE_SIZE // size * repeat
    rows = (np.arange(size) * step + down) % _NOISE_SIZE
    columns = (np.arange(size) * step + right) % _NOISE_SIZE
    noise = whole[rows[:, None], columns[None]]
    return noise[::-1] if rng.random() < 0.5 else noise


def _mix(low: Float32Array, high: Float32Array, share: Float32Array) -> Float32Array:
    return np.asarray(low + share[..., None] * (high - low), np.float32)


def _shaded(image: Float32Array, noise: Float32Array, strength: float) -> Float32Array:
    return np.asarray(image * (1.0 + strength * 2.0 * (noise[..., None] - 0.5)), np.float32)


def _edge(share: Float32Array, at: float, width: float) -> Float32Array:
    """A soft threshold."""
    return np.asarray(np.clip((share - at) / max(width, 1e-3) + 0.5, 0.0, 1.0), np.float32)


def _flat(color: Float32Array, size: int) -> Float32Array:
    return np.broadcast_to(color, (size, size, 3)).astype(np.float32, order="C")


@_texture
def _paint_plain(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    return _shaded(_flat(base, size), _noise(rng, _CLOUDS, size), rng.uniform(0.0, 0.08))


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
    image = _flat(base, size)
    for which in (_GRAINY, _FINE):
        share = _edge(_noise(rng, which, size), rng.uniform(0.6, 0.8), 0.06)
        image = _mix(image, _second_color(rng, base), share)
    return image


@_texture
def _paint_cloth(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    step = np.arange(size)
    weave = 0.5 + 0.25 * np.sin(np.pi * step / 2)[:, None] + 0.25 * np.sin(np.pi * step / 2 + np.pi / 2)[None]
    image = _paint_checks(rng, base, size) if rng.random() < 0.25 else _flat(base, size)
    image = _shaded(image, weave.astype(np.float32), rng.uniform(0.05, 0.4))
    return _shaded(image, _noise(rng, _FINE, size), rng.uniform(0.0, 0.3))


@_texture
def _paint_carpet(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    image = _mix(base, _second_color(rng, base), _noise(rng, _SMOOTH, size) * rng.uniform(0.0, 1.0))
    return _shaded(image, _noise(rng, _GRAINY, size), rng.uniform(0.2, 0.7))


@_texture
def _paint_metal(rng: np.random.Generator, base: Float32Array, size: int) -> Float32Array:
    grey = np.asarray(base.mean() + rng.uniform(0.05, 0.4) * (base - base.mean()), np.float32)
    return _shaded(_flat(np.clip(grey, 0.2, 0.8), size), _noise(rng, _FINE_STREAKS, size), rng.uniform(0.05, 0.3))


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
    image = _shaded(_shaded(_flat(base, size), value, rng.uniform(0.0, 0.25)), _noise(rng, which, size), 0.15)
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


_PAINT_FITTED = {("print", "wrap"): _paint_label}


# ---------------------------------------------------------------------------------------------------------------------
# Looking up


def main_axis(normals: Float32Array) -> npt.NDArray[np.intp]:
    """(N,) index of the largest component of (3, N) vectors, by magnitude."""
    x, y, z = np.abs(normals)
    return np.where(z >= np.maximum(x, y), 2, np.where(y > x, 1, 0))


class TextureTable:
    """Textures of several looks, packed to be read at many points at once.

    Args:
        looks: in the order of the indices that :meth:`albedo` takes.
    """

    def __init__(self, looks: Sequence[Appearance]) -> None:
        textures = [texture_of(look) for look in looks]
        self.gloss = np.array([t.gloss for t in textures], np.float32)
        self.shininess = np.array([t.shininess for t in textures], np.float32)
        self._fitted = np.array([look.layout != "tile" for look in looks])
        self._wrap = np.array([look.layout == "wrap" for look in looks])
        self._low = np.array([look.low_m for look in looks], np.float32).T
        self._extent = np.maximum(np.array([look.high_m for look in looks], np.float32).T - self._low, 1e-4)
        self._texels_per_m = np.array([self._density(look) for look in looks], np.float32)
        turn = np.array([t.turn for t in textures])
        self._cos_sin = np.stack([np.cos(turn), np.sin(turn)]).astype(np.float32)
        self._size_wh = np.array([t.levels_rgb[0].shape[1::-1] for t in textures], np.int32).T
        self._last_level = np.array([len(t.levels_rgb) - 1 for t in textures], np.int32)
        images = [image for t in textures for image in t.levels_rgb]
        starts = np.cumsum([0] + [image.shape[0] * image.shape[1] for image in images[:-1]])
        self._start = np.zeros((len(looks), int(self._last_level.max()) + 1), np.int32)
        first = 0
        for row, last in enumerate(self._last_level):
            self._start[row, : last + 1] = starts[first : first + last + 1]
            first += last + 1
        self._texels = np.ascontiguousarray(np.concatenate([image.reshape(-1, 3) for image in images]).T)

    def _density(self, look: Appearance) -> float:
        if look.layout == "tile":
            return look.size / look.tile_m
        return look.size / 2 / max(float(np.mean(np.subtract(look.high_m, look.low_m))), 1e-3)

    def albedo(
        self, index: npt.NDArray[np.integer], points_m: Float32Array, normals: Float32Array, footprint_m: Float32Array
    ) -> Float32Array:
        """(3, N) colour in [0, 1].

        Args:
            index: (N,) which look.
            points_m: (3, N) points in the frame of their shape.
            normals: (3, N) normals there.
            footprint_m: (N,) width of what one pixel sees, which picks the level of detail.
        """
        axis = main_axis(normals)
        a = np.where(axis == 0, points_m[1], points_m[0])
        b = np.where(axis == 2, points_m[1], points_m[2])
        cos, sin = self._cos_sin[0][index], self._cos_sin[1][index]
        density = self._texels_per_m[index]
        x = (cos * a - sin * b) * density + 37.0 * axis
        y = (sin * a + cos * b) * density
        fitted = np.flatnonzero(self._fitted[index])
        if len(fitted):
            x[fitted], y[fitted] = self._fit(index[fitted], points_m[:, fitted], normals[:, fitted], axis[fitted])
        detail = np.rint(np.log2(footprint_m * density))
        level = np.clip(detail, 0, self._last_level[index]).astype(np.int32)
        return self._read(index, level, x, y)

    def _fit(
        self,
        index: npt.NDArray[np.integer],
        points_m: Float32Array,
        normals: Float32Array,
        axis: npt.NDArray[np.intp],
    ) -> tuple[Float32Array, Float32Array]:
        """Texel coordinates in the ``faces`` and ``wrap`` layouts."""
        width, height = (side[index].astype(np.float32) for side in self._size_wh)
        unit = np.clip((points_m - self._low[:, index]) / self._extent[:, index], 0.01, 0.99)
        u, v = np.where(axis == 0, unit[1], unit[0]), 1.0 - np.where(axis == 2, unit[1], unit[2])
        cell = height / 2
        x, y = (axis + u) * cell, ((np.choose(axis, normals) > 0) + v) * cell
        wrap = self._wrap[index]
        around = np.arctan2(points_m[1], points_m[0]) / (2 * np.pi) + 0.5
        cap = np.abs(normals[2]) > 0.8
        x = np.where(wrap, around * width, x)
        y = np.where(wrap, np.where(cap, 0.0, (1.0 - unit[2]) * height), y)
        return x.astype(np.float32), y.astype(np.float32)

    def _read(self, index: npt.NDArray[np.integer], level: IntArray, x: Float32Array, y: Float32Array) -> Float32Array:
        """Bilinear look-up at texel coordinates of level 0, whose first texel's centre is at 0.5."""
        width, height = (side[index] >> level for side in self._size_wh)
        start = self._start[index, level]
        scale = np.ldexp(np.float32(1.0), -level)
        x, y = x * scale - np.float32(0.5), y * scale - np.float32(0.5)
        left, top = np.floor(x), np.floor(y)
        dx, dy = (x - left).astype(np.float32), (y - top).astype(np.float32)
        x0, y0 = left.astype(np.int32) & (width - 1), top.astype(np.int32) & (height - 1)
        x1, y1 = (x0 + 1) & (width - 1), (y0 + 1) & (height - 1)
        color = np.zeros((3, len(x)), np.float32)
        for column, share_x in ((x0, 1.0 - dx), (x1, dx)):
            for row, share_y in ((y0, 1.0 - dy), (y1, dy)):
                texel, share = start + row * width + column, share_x * share_y
                for channel, texels in zip(color, self._texels, strict=True):
                    channel += texels[texel] * share
        return color * np.float32(1.0 / 255.0)
