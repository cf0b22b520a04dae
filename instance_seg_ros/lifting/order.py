"""In which order a pile may be taken apart: what stands on something goes before it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from instance_seg_ros.lifting.support import ObjectSupport


@dataclass(frozen=True)
class RemovalOrder:
    """In which order the objects of a frame may be taken away.

    Attributes:
        steps: for each object the step, from 1, at which it may be taken: 1 is for objects with nothing on them, 2 for
            those that carry only such, and so on.
        in_ring: for each one whether it seems to lie on what lies on it, in a ring, so that its step is a guess.
    """

    steps: tuple[int, ...]
    in_ring: tuple[bool, ...]


def levels_below(objects: Sequence[ObjectSupport]) -> list[int]:
    """On how many other objects each one stands, one on the other; no more than there are, should they go round."""
    levels = []
    for own in objects:
        level, below = 0, own.instance
        while below is not None and level < len(objects):
            level, below = level + 1, objects[below].instance
        levels.append(level)
    return levels


def removal_order(objects: Sequence[ObjectSupport]) -> RemovalOrder:
    """The order in which objects may be taken away: each after all that stands or leans on it.

    In a heap objects may seem to lie on each other in a ring. Then one of those goes first on which others of the ring
    only lean, if there are such, the highest of them; the rest of the ring follows as if that one had been free.
    """
    below = [tuple(dict.fromkeys((*_stands_on(own), *own.leans_on))) for own in objects]
    steps, in_ring = [0] * len(objects), [False] * len(objects)
    left = set(range(len(objects)))
    step = 0
    while left:
        step += 1
        free = left - {other for index in left for other in below[index]}
        if not free:
            ring = _topmost_ring(below, left)
            for index in ring:
                in_ring[index] = True
            stood_on = {other for index in ring for other in _stands_on(objects[index])}
            free = {max((ring - stood_on) or ring, key=lambda index: (objects[index].top_m, -index))}
        for index in free:
            steps[index] = step
        left -= free
    return RemovalOrder(tuple(steps), tuple(in_ring))


def _stands_on(own: ObjectSupport) -> tuple[int, ...]:
    return () if own.instance is None else (own.instance,)


def _topmost_ring(below: Sequence[Sequence[int]], left: Collection[int]) -> set[int]:
    """Those of what is left that lie on each other in a ring on which nothing else lies; there must be one.

    The smallest of several: rings are the strongly connected components, found in time linear in what lies on what.
    """
    own = sorted(left)
    place = {index: row for row, index in enumerate(own)}
    pairs = [(place[index], place[other]) for index in own for other in below[index] if other in place]
    upper, lower = np.array(pairs).T
    graph = coo_matrix((np.ones(len(pairs)), (upper, lower)), shape=(len(own), len(own)))
    count, ring_of = connected_components(graph, connection="strong")
    sizes = np.bincount(ring_of, minlength=count)
    carries = np.zeros(count, dtype=bool)
    carries[ring_of[lower[ring_of[upper] != ring_of[lower]]]] = True
    topmost = ~carries[ring_of]
    smallest = ring_of[np.argmin(np.where(topmost, sizes[ring_of], len(own) + 1))]
    return {own[row] for row in np.flatnonzero(ring_of == smallest)}
