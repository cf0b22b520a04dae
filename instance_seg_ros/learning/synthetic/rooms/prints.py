"""Flat things that are not objects: sheets, prints, mats, stickers, tape, stains and drawn lines.

They lie on a support, a floor or a wall and have no thickness to grasp: no more than two millimetres of depth, but the
outlines, pictures and contrasts by which a network that sees colour could mistake them for objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, join, make_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import background_appearance
from instance_seg_ros.learning.synthetic.poses import pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.room import Room
from instance_seg_ros.learning.synthetic.rooms.world import Placed

FloatArray = npt.NDArray[np.float64]
Outline = Callable[[np.random.Generator], FloatArray]

# Each lies this much higher than the one before: rays distinguish them, depth cameras do not.
_LIFT_M = 1e-4


def lay_prints(room: Room, T_world_plane: Transform, half_wh_m: tuple[float, float], count: int, scale: float) -> None:
    """Lay flat things onto a plane; later ones may cover earlier ones.

    Args:
        room: takes the parts, and gives the randomness.
        T_world_plane: pose of the plane's frame; its z axis points away from the surface.
        half_wh_m: half extents of the area in x and y, which nothing leaves.
        count: how many.
        scale: size against things on a table; those on floors and walls are larger.
    """
    rng = room.rng
    shares = np.array([kind.share for kind in _KINDS])
    for index in range(count):
        kind = _KINDS[int(rng.choice(len(_KINDS), p=shares / shares.sum()))]
        square = rng.random() < 0.5
        yaw = float(np.pi / 2 * rng.integers(4) + rng.normal(0.0, 0.03) if square else rng.uniform(-np.pi, np.pi))
        mesh = kind.sample(rng, scale)
        reach = np.abs(np.asarray(mesh.vertices)[:, :2] @ yaw_rotation(yaw)[:2, :2].T).max(axis=0)
        shrink = float(min(1.0, *(np.asarray(half_wh_m) / reach)))
        mesh.apply_scale(shrink)
        x, y = rng.uniform(-1.0, 1.0, 2) * (np.asarray(half_wh_m) - shrink * reach)
        T = T_world_plane @ pose((x, y, _LIFT_M * (index + 2)), yaw_rotation(yaw))
        half_x, half_y, _ = np.abs(np.asarray(mesh.vertices)).max(axis=0)
        look = background_appearance(rng, "flat")
        look = replace(look, low_m=(-half_x, -half_y, -1.0), high_m=(half_x, half_y, 1.0), tile_m=look.tile_m * scale)
        room.surroundings.append(Placed(ObjectShape("part", mesh, ()), T, 0, look))


@dataclass(frozen=True)
class _Kind:
    """A sort of flat thing.

    Attributes:
        share: how often it is drawn, relative to others.
        outline: draws an (N, 2) outline within [-1, 1] that is seen whole from the origin.
        long_m: longer side (low, high), metres.
        aspect: shorter side over longer side (low, high).
        copies: largest number of them along each side of a group.
    """

    share: float
    outline: Outline
    long_m: tuple[float, float]
    aspect: tuple[float, float]
    copies: int = 1

    def sample(self, rng: np.random.Generator, scale: float) -> trimesh.Trimesh:
        """A flat mesh about the origin, at z = 0."""
        long_m = scale * float(np.exp(rng.uniform(*np.log(self.long_m))))
        size = 0.5 * long_m * np.array([1.0, rng.uniform(*self.aspect)])
        outline = self.outline(rng) * size
        if self.copies == 1:
            return _fan(outline)
        columns, rows = (int(n) for n in rng.integers(1, self.copies + 1, 2))
        pitch = 2.0 * size * rng.uniform(1.15, 3.0)
        places = [
            (pitch * ((column, row) - np.array([columns - 1, rows - 1]) / 2.0) + rng.normal(0.0, 0.1, 2) * size)
            for column in range(columns)
            for row in range(rows)
            if rng.random() < 0.85
        ]
        return join([_fan(outline + place) for place in places or [np.zeros(2)]])


def _fan(outline_m: FloatArray) -> trimesh.Trimesh:
    """Triangles from the mean of an (N, 2) outline to its sides."""
    vertices = np.zeros((len(outline_m) + 1, 3))
    vertices[:-1, :2] = outline_m
    vertices[-1, :2] = outline_m.mean(axis=0)
    corner = np.arange(len(outline_m))
    return make_mesh(
        vertices, np.stack([corner, (corner + 1) % len(corner), np.full(len(corner), len(corner))], axis=1)
    )


def _rectangle(rng: np.random.Generator) -> FloatArray:
    return np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def _rounded(rng: np.random.Generator) -> FloatArray:
    """A superellipse, from an ellipse to nearly a rectangle."""
    angle = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    point = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.sign(point) * np.abs(point) ** (1.0 if rng.random() < 0.6 else rng.uniform(0.2, 0.5))


def _stain(rng: np.random.Generator) -> FloatArray:
    """A spill, a torn scrap or a shadow: a wavy or ragged circle."""
    angle = np.linspace(0.0, 2.0 * np.pi, 36, endpoint=False)
    radius = np.ones(len(angle))
    for wave in range(2, 6):
        radius += rng.normal(0.0, 0.18 / wave**0.5) * np.cos(wave * angle + rng.uniform(0.0, 2.0 * np.pi))
    if rng.random() < 0.3:
        radius += rng.normal(0.0, 0.05, len(angle))
    radius = np.maximum(radius, 0.2)
    return np.column_stack([np.cos(angle), np.sin(angle)]) * (radius / radius.max())[:, None]


def _polygon(rng: np.random.Generator) -> FloatArray:
    """A triangle to a hexagon with uneven corners."""
    count = int(rng.integers(3, 7))
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False) + rng.uniform(-0.3, 0.3, count)
    return np.column_stack([np.cos(angle), np.sin(angle)]) * rng.uniform(0.6, 1.0, (count, 1))


_KINDS = (
    _Kind(4.0, _rectangle, (0.12, 0.35), (0.6, 0.85)),  # paper, magazines, flyers
    _Kind(1.5, _rectangle, (0.05, 0.12), (0.5, 1.0)),  # cards, notes
    _Kind(1.5, _rectangle, (0.3, 0.6), (0.5, 1.0)),  # mats, posters
    _Kind(1.5, _rounded, (0.2, 0.45), (0.6, 1.0)),  # placemats
    _Kind(2.0, _rounded, (0.03, 0.12), (0.6, 1.0)),  # coasters, stickers
    _Kind(1.5, _rounded, (0.008, 0.03), (0.8, 1.0), 4),  # dots
    _Kind(1.5, _rectangle, (0.015, 0.06), (0.3, 1.0), 4),  # patches
    _Kind(1.5, _rectangle, (0.08, 0.6), (0.03, 0.15)),  # tape, lines
    _Kind(1.5, _stain, (0.03, 0.25), (0.5, 1.0)),
    _Kind(1.0, _polygon, (0.04, 0.2), (0.5, 1.0)),
)
