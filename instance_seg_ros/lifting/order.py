"""In which order a pile may be taken apart: what stands on something goes before it."""

from __future__ import annotations

from collections.abc import Sequence

from instance_seg_ros.lifting.support import ObjectSupport


def levels_below(objects: Sequence[ObjectSupport]) -> list[int]:
    """On how many other objects each one stands, one on the other; no more than there are, should they go round."""
    levels = []
    for own in objects:
        level, below = 0, own.instance
        while below is not None and level < len(objects):
            level, below = level + 1, objects[below].instance
        levels.append(level)
    return levels


def removal_order(objects: Sequence[ObjectSupport]) -> list[int]:
    """For each object the step, from 1, at which it may be taken away: after all that stands or leans on it.

    Step 1 is for objects with nothing on them, step 2 for those that carry only such, and so on. Objects that seem to
    stand on each other in a ring come last, with what lies below them.
    """
    steps = [0] * len(objects)
    left = set(range(len(objects)))
    step = 0
    while left:
        step += 1
        carrying = {below for index in left for below in (objects[index].instance, *objects[index].leans_on)}
        free = {index for index in left if index not in carrying} or set(left)
        for index in free:
            steps[index] = step
        left -= free
    return steps
