"""Collecting the background of a scene."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, Vector, box_geom, box_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance, background_appearance
from instance_seg_ros.learning.synthetic.poses import pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.world import Placed

Fixture = Callable[["Room", Transform], None]


class Room:
    """Collects background parts while a support is being built.

    Args:
        rng: source of all randomness, for those who add parts as well.
        with_prints: see the attribute.

    Attributes:
        with_prints: whether flat things lie on the floor and on the walls (see :mod:`.prints`).
        solid: parts that objects collide with.
        surroundings: parts that are only seen.
    """

    def __init__(self, rng: np.random.Generator, with_prints: bool = False) -> None:
        self.rng = rng
        self.with_prints = with_prints
        self.solid: list[Placed] = []
        self.surroundings: list[Placed] = []
        self._looks: dict[str, Appearance] | None = None

    def add_box(
        self,
        half_m: Vector,
        centre_m: Vector,
        solid: bool = False,
        yaw: float = 0.0,
        surface: str = "furniture",
    ) -> None:
        """Add a cuboid of the given half sizes, turned about z by ``yaw`` radians; see :meth:`add`."""
        shape = ObjectShape("part", box_mesh(half_m), (box_geom(half_m),))
        self.add(shape, pose(centre_m, yaw_rotation(yaw)), solid, surface)

    def add(
        self, shape: ObjectShape, T_world_shape: Transform, solid: bool = False, surface: str = "furniture"
    ) -> None:
        """Add a shape, solid or only to be seen, that looks like a ``surface`` (one of ``appearance.SURFACES``)."""
        look = self._look(surface)
        (self.solid if solid else self.surroundings).append(Placed(shape, T_world_shape, 0, look))

    def _look(self, surface: str) -> Appearance:
        if self._looks is None:
            return background_appearance(self.rng, surface)
        if surface not in self._looks or self.rng.random() < 0.15:
            self._looks[surface] = background_appearance(self.rng, surface)
        return self._looks[surface]

    def add_fixture(self, fixture: Fixture, T_world_fixture: Transform) -> None:
        """Add a fixture, most parts of which look the same."""
        self._looks = {}
        fixture(self, T_world_fixture)
        self._looks = None
