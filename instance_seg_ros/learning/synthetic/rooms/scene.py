"""Random scenes: a support with its surroundings, and objects that were placed or dropped on it and came to rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.learning.synthetic.rooms import fixtures
from instance_seg_ros.learning.synthetic.rooms.physics import settle
from instance_seg_ros.learning.synthetic.rooms.placing import place_objects, sample_arrangement, sample_shapes
from instance_seg_ros.learning.synthetic.rooms.robots import add_arm
from instance_seg_ros.learning.synthetic.rooms.room import Room
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.themes import sample_theme
from instance_seg_ros.learning.synthetic.rooms.world import SUPPORTS, Placed, Scene, Support

_SUPPORT_SHARES = (0.32, 0.14, 0.12, 0.12, 0.22, 0.08)
_EMPTY_SHARE = 0.05
_PRINTS_SHARE = 0.4
_ARM_SHARE = 0.38


def sample_scene(
    rng: np.random.Generator,
    families: Sequence[str] | None = None,
    max_objects: int = 25,
    support_kind: str | None = None,
) -> Scene:
    """A random settled scene.

    Args:
        rng: source of all randomness; the same state gives the same scene.
        families: object families to draw from, all when None.
        max_objects: bodies at most; some scenes have none at all.
        support_kind: one of :data:`SUPPORTS`, random when None.
    """
    kind = support_kind or str(rng.choice(SUPPORTS, p=_SUPPORT_SHARES))
    count = _random_count(rng, kind, max_objects)
    # Scenes without objects always have prints, which could be taken for objects.
    support = sample_support(rng, kind, with_prints=bool(rng.random() < _PRINTS_SHARE or count == 0))
    names = sample_theme(rng, tuple(families or FAMILIES))
    arrangement = sample_arrangement(rng, kind)
    shapes = sample_shapes(rng, names, count, arrangement)
    objects_at_rest = settle(support, place_objects(rng, shapes, support, arrangement))
    if kind not in ("tote", "shelf") and rng.random() < 0.12:
        support = _with_folds(rng, support, objects_at_rest)
    if rng.random() < _ARM_SHARE:
        support = add_arm(rng, support, objects_at_rest)
    return Scene(support, objects_at_rest)


def _random_count(rng: np.random.Generator, kind: str, max_objects: int) -> int:
    """Number of bodies to place: mostly many, sometimes few or none."""
    if rng.random() < _EMPTY_SHARE:
        return 0
    crowd = rng.random() < (0.8 if kind == "tote" else 0.55)
    low, high = (9, 25) if crowd else (1, 9)
    if kind in ("small_table", "shelf"):
        low, high = min(low, 6), min(high, 12)
    return int(rng.integers(min(low, max_objects), min(high, max_objects) + 1))


def _with_folds(rng: np.random.Generator, support: Support, bodies: Sequence[Placed]) -> Support:
    """The support with a rumpled cloth or paper around what lies on it."""
    near = []
    for body in bodies:
        points = body.T_world_shape.apply(np.asarray(body.shape.mesh.vertices))
        near.append(points[points[:, 2] < 0.05][:, :2])
    room = Room(rng)
    half_w, half_d = (half * float(rng.uniform(0.5, 0.98)) for half in support.half_wh_m)
    fixtures.folds(room, half_w, half_d, np.concatenate(near) if near else np.zeros((0, 2)))
    return replace(support, surroundings=(*support.surroundings, *room.surroundings))
