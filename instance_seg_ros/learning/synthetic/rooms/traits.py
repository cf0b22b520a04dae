"""What evaluation wants to know of the objects of a scene besides where they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from instance_seg_ros.learning.synthetic.rooms.world import Placed
from instance_seg_ros.learning.synthetic.store import FLAT, FLUSH, PARTS, STACKED

FloatArray = npt.NDArray[np.float64]

_REST_M = 0.006
_GAP_M = (-0.003, 0.004)
_ALONG = 0.997  # cosine: two sides that lie along each other are within four degrees
_COMMON_SHARE = 0.4
_SECOND_BODY_SHARE = 0.05
_LOW_M, _WIDE_M = 0.03, 0.07


def object_traits(objects: Sequence[Placed]) -> npt.NDArray[np.uint8]:
    """(256,) uint8, sums of :data:`.store.TRAITS` by instance id."""
    traits = np.zeros(256, np.uint8)
    solids = [_Solid(item) for item in objects]
    for solid in solids:
        traits[solid.item.instance_id] |= PARTS * solid.has_parts | FLAT * solid.is_flat
    for index, first in enumerate(solids):
        for second in solids[index + 1 :]:
            if not (first.low < second.high + 0.01).all() or not (second.low < first.high + 0.01).all():
                continue
            ids = [first.item.instance_id, second.item.instance_id]
            if first.carries(second) or second.carries(first):
                traits[ids] |= STACKED
            if first.is_cuboid and second.is_cuboid and first.is_along(second):
                traits[ids] |= FLUSH
    return traits


@dataclass(frozen=True, eq=False)
class _Solid:
    """An object with its extents in the world."""

    item: Placed

    @cached_property
    def points(self) -> FloatArray:
        return np.asarray(self.item.T_world_shape.apply(np.asarray(self.item.shape.mesh.vertices)))

    @cached_property
    def low(self) -> FloatArray:
        return np.asarray(self.points.min(axis=0))

    @cached_property
    def high(self) -> FloatArray:
        return np.asarray(self.points.max(axis=0))

    @property
    def is_cuboid(self) -> bool:
        """Whether it is a box, or a box with a lid."""
        bodies = self.item.shape.bodies
        return len(bodies) <= 2 and all(len(body.vertices) == 8 for body in bodies)

    @property
    def has_parts(self) -> bool:
        bodies = self.item.shape.bodies
        if len(bodies) == 1:
            return False
        sizes = sorted(float(np.prod(np.ptp(np.asarray(body.vertices), axis=0))) for body in bodies)
        return sizes[-2] > _SECOND_BODY_SHARE * sizes[-1]

    @property
    def is_flat(self) -> bool:
        x, y, z = self.high - self.low
        return bool(z < _LOW_M and min(x, y) > _WIDE_M)

    def carries(self, other: _Solid) -> bool:
        """Whether the other rests on top of this."""
        middle = (other.low + other.high)[:2] / 2
        over = (middle > self.low[:2]).all() and (middle < self.high[:2]).all()
        return bool(over and abs(other.low[2] - self.high[2]) < _REST_M)

    def is_along(self, other: _Solid) -> bool:
        """Whether a side of this box lies along a side of the other."""
        relative = self.item.T_world_shape.inverse() @ other.item.T_world_shape
        if np.abs(relative.rotation).max(axis=0).min() < _ALONG:
            return False
        own, theirs = (
            np.asarray(self.item.shape.mesh.vertices),
            relative.apply(np.asarray(other.item.shape.mesh.vertices)),
        )
        low, high = np.maximum(own.min(axis=0), theirs.min(axis=0)), np.minimum(own.max(axis=0), theirs.max(axis=0))
        common = high - low  # below 0 across the gap
        least = _COMMON_SHARE * np.minimum(np.ptp(own, axis=0), np.ptp(theirs, axis=0))
        for axis in range(3):
            others = [k for k in range(3) if k != axis]
            sideways = abs(self.item.T_world_shape.rotation[2, axis]) < 0.5  # on top is stacked, not flush
            if sideways and -_GAP_M[1] < common[axis] < -_GAP_M[0] and (common[others] > least[others]).all():
                return True
        return False
