"""What surfaces look like, and the drawing of random looks.

A look is a recipe of a few numbers: its texture is painted when a picture needs it (:mod:`.textures`).
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, point

Color = tuple[float, float, float]
Point = tuple[float, float, float]

# Textures that are fitted to a shape instead of repeated: one cell for each side, around it, or on its top alone.
_ON_SIDES = ("print", "package", "carton")
_FITTED = (*_ON_SIDES, "bands", "gradient")
_PICTURES = ("page", "cover", "photo", "chart", "target")


@dataclass(frozen=True)
class Appearance:
    """The look of a part; everything that is not named here follows from ``seed``.

    Attributes:
        kind: one of :data:`.textures.TEXTURES`.
        base_rgb: main colour in [0, 1].
        seed: of the texture's details.
        tile_m: length of one image width in the ``tile`` layout.
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
    low_m: Point = (0.0, 0.0, 0.0)
    high_m: Point = (1.0, 1.0, 1.0)
    is_round: bool = False

    @property
    def layout(self) -> str:
        """``tile``, ``faces``, ``wrap`` or ``top``."""
        if self.kind in _PICTURES:
            return "top"
        if self.kind not in _FITTED:
            return "tile"
        return "faces" if self.kind in _ON_SIDES and not self.is_round else "wrap"

    @property
    def is_clear(self) -> bool:
        """Whether light passes through, so that depth cameras measure what is behind it, or nothing."""
        return self.kind == "glass"

    @property
    def is_mirror(self) -> bool:
        """Whether it mirrors its surroundings, so that depth cameras hardly measure it."""
        return self.kind == "chrome"


def plain(rgb: Color) -> Appearance:
    """A surface of one colour."""
    return Appearance("plain", rgb)


SURFACES = ("floor", "wall", "top", "furniture", "sheet", "tote", "flat", "robot")
# How often each texture is drawn, by surface and for objects.
SHARES: dict[str, dict[str, float]] = {
    "floor": {"planks": 3, "tiles": 3, "carpet": 2, "speckle": 1, "noise": 2, "plain": 1, "checks": 1, "marble": 0.5},
    "wall": {
        "plain": 3,
        "noise": 2,
        "posters": 3,
        "tiles": 1,
        "stripes": 0.5,
        "planks": 0.5,
        "dots": 0.3,
        "floral": 0.4,
    },
    "top": {"wood": 4, "plain": 2.5, "noise": 1.5, "marble": 1, "speckle": 1, "cloth": 1.2, "planks": 1, "metal": 0.6}
    | {"stripes": 0.6, "checks": 0.6, "dots": 0.4, "tiles": 0.5, "posters": 0.4, "plaid": 0.9, "floral": 0.9},
    "furniture": {"plain": 4, "wood": 3, "noise": 1, "metal": 1, "cloth": 1.5, "stripes": 0.5, "print": 0.7}
    | {"carton": 0.5, "package": 0.3, "plaid": 0.2},
    "sheet": {
        "print": 3,
        "plain": 2,
        "cloth": 2,
        "checks": 0.7,
        "stripes": 0.7,
        "dots": 0.5,
        "plaid": 1.5,
        "floral": 1.5,
    },
    "tote": {"plain": 4, "noise": 2, "metal": 0.7, "wood": 0.7},
    "flat": {"page": 3, "cover": 3, "photo": 3, "chart": 1.5, "target": 1, "plain": 4, "cloth": 1, "checks": 0.7}
    | {"stripes": 0.7, "dots": 0.5, "gradient": 0.5, "noise": 0.7},
    "robot": {"plain": 6, "metal": 2, "noise": 0.3, "bands": 0.4, "print": 0.4},
    # Boxes, cans, bottles and bags are mostly packages.
    "package": {"package": 7, "carton": 1.5, "plain": 2.5, "print": 2, "noise": 0.5, "wood": 0.5, "bands": 0.3}
    | {"stripes": 0.3, "gradient": 0.3},
    "object": {
        "plain": 3,
        "print": 3,
        "package": 1.5,
        "noise": 1.3,
        "plaid": 0.4,
        "floral": 0.5,
        "wood": 1,
        "metal": 0.9,
        "gradient": 0.8,
        "stripes": 0.8,
    }
    | {"bands": 0.8, "speckle": 0.6, "checks": 0.5, "dots": 0.5, "cloth": 0.5, "marble": 0.4},
}
# How often objects of a family are clear and mirroring. With all families equally frequent, 8 objects in 100 are.
_USUAL_CLEAR_MIRROR = (0.006, 0.006)
_CLEAR_MIRROR = {"wine_glass": (0.6, 0.0), "bottle": (0.3, 0.03), "cup": (0.25, 0.05), "bowl": (0.15, 0.08)} | {
    "spray_bottle": (0.25, 0.0),
    "mug": (0.1, 0.03),
    "lathe": (0.12, 0.05),
    "plate": (0.08, 0.05),
    "tube": (0.1, 0.05),
    "can": (0.02, 0.2),
    "tray": (0.05, 0.15),
    "teapot": (0.05, 0.15),
    "spoon": (0.01, 0.25),
    "fork": (0.0, 0.25),
    "knife": (0.0, 0.25),
    "wrench": (0.0, 0.12),
    "scissors": (0.0, 0.1),
}
_TILE_M = {"floor": (0.5, 2.0), "wall": (1.0, 3.0), "top": (0.3, 1.2), "furniture": (0.2, 0.8)}
_PACKAGES = (
    "box",
    "carton",
    "small_box",
    "book",
    "large_box",
    "game_box",
    "can",
    "cylinder",
    "bottle",
    "jar",
    "pouch",
    "tube",
    "paper_bag",
    "pump_bottle",
    "spray_bottle",
    "open_box",
)
# Families whose bodies mostly differ in colour, and how often those of these and of all others do.
_COLORFUL = (
    "toy_car",
    "toy_figure",
    "toy_animal",
    "ring_tower",
    "power_drill",
    "remote",
    "pump_bottle",
    "brush",
    "stapler",
    "turner",
    "jar",
    "game_box",
    "torch",
    "screwdriver",
    "spray_bottle",
    "composition",
    "soft_toy",
    "camera",
)
_BODIES_STREAM = 1
_COLORFUL_SHARE, _TWO_TONE_SHARE = 0.8, 0.4
_BODY_SHARES = {"plain": 6, "metal": 1, "noise": 0.7, "print": 1.5, "stripes": 0.5, "gradient": 0.4, "speckle": 0.4}
_LOOKS_LIKE_OTHER = 0.12
_COLOR_OF_OTHER = 0.15


def background_appearance(rng: np.random.Generator, surface: str) -> Appearance:
    """The look of a part of the background.

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
        kind=_choice(rng, SHARES[surface]),
        base_rgb=_background_color(rng) if surface not in ("tote", "flat") else sample_color(rng),
        seed=int(rng.integers(2**62)),
        tile_m=float(np.exp(rng.uniform(np.log(low), np.log(high)))),
        size=256 if surface in ("floor", "wall", "top", "flat") else 128,
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
    kind = _choice(rng, SHARES["package" if shape.family in _PACKAGES else "object"])
    look = Appearance(
        kind=kind,
        base_rgb=sample_color(rng),
        seed=int(rng.integers(2**62)),
        tile_m=float(np.clip(np.ptp(vertices, axis=0).max() * rng.uniform(0.3, 1.5), 0.02, 0.6)),
        size=256 if kind in ("package", "carton") else 128,
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
    return replace(look, kind=other.kind, base_rgb=base_rgb, seed=other.seed, tile_m=other.tile_m, size=other.size)


def body_appearances(shape: ObjectShape, look: Appearance) -> tuple[Appearance, ...]:
    """Looks of the bodies of a shape, two to four of them; empty where all bodies look the same.

    Bodies of the same size, such as wheels, look the same.

    Args:
        shape: an object.
        look: of its largest body, and of all of it where bodies do not differ; its seed is that of the others, too.
    """
    rng = np.random.default_rng([look.seed, _BODIES_STREAM])
    share = _COLORFUL_SHARE if shape.family in _COLORFUL else _TWO_TONE_SHARE
    if len(shape.bodies) == 1 or rng.random() > share:
        return ()
    sizes = [np.sort(mesh.extents) for mesh in shape.bodies]
    largest = max(range(len(sizes)), key=lambda k: float(np.prod(sizes[k])))
    palette = [look.base_rgb, *(sample_color(rng) for _ in range(int(rng.integers(1, 4))))]
    by_size: dict[tuple[float, ...], Appearance] = {}
    for k in (largest, *range(len(sizes))):
        size = tuple(np.round(sizes[k], 4).tolist())
        if size in by_size:
            continue
        kind = look.kind if k == largest else _choice(rng, _BODY_SHARES)
        base = look.base_rgb if k == largest else palette[int(rng.integers(len(palette)))]
        by_size[size] = replace(look, kind=kind, base_rgb=base, seed=int(rng.integers(2**62)))
    looks = []
    for size_m, mesh in zip(sizes, shape.bodies, strict=True):
        vertices = np.asarray(mesh.vertices)
        low, high = point(vertices.min(axis=0)), point(vertices.max(axis=0))
        own = by_size[tuple(np.round(size_m, 4).tolist())]
        looks.append(replace(own, low_m=low, high_m=high, is_round=_is_round(vertices)))
    return tuple(looks)


def sample_material(rng: np.random.Generator, look: Appearance, family: str) -> Appearance:
    """The look, or instead one of glass, clear plastic or polished metal, if objects of the family may have that.

    Args:
        rng: source of randomness; always moves on by as much, whatever is drawn.
        look: of an object.
        family: of its shape.
    """
    rng = np.random.default_rng(int(rng.integers(2**62)))
    clear, mirror = _CLEAR_MIRROR.get(family, _USUAL_CLEAR_MIRROR)
    chance = rng.random()
    if chance > clear + mirror:
        return look
    hue, saturation = rng.random(), rng.random()
    if chance > clear:  # steel mostly, else brass, copper and coloured foil
        tone = colorsys.hsv_to_rgb(0.03 + 0.12 * hue, 0.15 + 0.4 * saturation, 0.9)
        return replace(look, kind="chrome", base_rgb=tone if rng.random() < 0.2 else (0.88, 0.89, 0.9))
    if rng.random() < 0.65:
        return replace(look, kind="glass", base_rgb=colorsys.hsv_to_rgb(0.3 + 0.3 * hue, 0.06 * saturation, 0.98))
    return replace(look, kind="glass", base_rgb=colorsys.hsv_to_rgb(hue, 0.15 + 0.6 * saturation, 0.9))


def robot_color(rng: np.random.Generator) -> Color:
    """White, grey, black, silver, or the orange, yellow, red and blue of industrial arms."""
    rng = np.random.default_rng(int(rng.integers(2**62)))
    kind, a, b = rng.random(3)
    if kind < 0.35:
        return colorsys.hsv_to_rgb(a, 0.04 * a, 0.78 + 0.2 * b)
    if kind < 0.75:
        return colorsys.hsv_to_rgb(0.6, 0.12 * a, 0.04 + 0.5 * b)
    hue = (0.06, 0.13, 0.0, 0.58)[int(4 * a)]
    return colorsys.hsv_to_rgb(hue, 0.7 + 0.3 * b, 0.5 + 0.5 * b)


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
    if kind < 0.68:
        return colorsys.hsv_to_rgb(hue, 0.25 * a, 0.12 + 0.6 * b)
    if kind < 0.82:
        return colorsys.hsv_to_rgb(hue, 0.5 + 0.5 * a, 0.5 + 0.5 * b)
    return sample_color(rng)
